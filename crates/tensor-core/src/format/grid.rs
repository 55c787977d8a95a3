//! The grid: `w = scale * q + offset` with small codes `q`, and a scale and an offset per row and group of columns.

use super::codes::{block_bytes, get, put};
use super::{BLOCK, PANEL, RowStat, Stat};
use crate::error::Error;
use crate::file::{Bytes, OwnedBytes};
use crate::simd::Scalar;
use ndarray::{Array2, ArrayView2};

/// What a grid adds, as an encoder makes it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RowOffset {
    /// `scale * (q - 2^(bits-1))`
    Symmetric,
    /// `scale * (q - zero)`
    Zero(RowStat),
    /// `scale * q + min`
    Min(RowStat),
}

/// What a grid adds, in panels.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Offset {
    /// `scale * (q - 2^(bits-1))`
    Symmetric,
    /// `scale * (q - zero)`
    Zero(Stat),
    /// `scale * q + min`
    Min(Stat),
}

/// The parameters of a [`Grid`] that do not depend on the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct GridSpec {
    /// Rows.
    pub m: usize,
    /// Columns.
    pub n: usize,
    /// Bits of a code, 1 to 8.
    pub bits: u32,
    /// Consecutive columns that share a scale; the last group of a row may be shorter.
    pub group_size: usize,
}

impl GridSpec {
    /// Checks the parameters; a group longer than a row becomes one group per row.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Bits`] or [`Error::GroupSize`].
    pub fn new(shape: [usize; 2], bits: u32, group_size: usize) -> Result<GridSpec, Error> {
        let [m, n] = shape;
        if m == 0 || n == 0 {
            return Err(Error::Empty { what: "grid".to_owned(), shape });
        }
        if !(1..=8).contains(&bits) {
            return Err(Error::Bits { what: "grid".to_owned(), bits });
        }
        let whole = n.next_multiple_of(BLOCK);
        if group_size == 0 || (group_size < n && !group_size.is_multiple_of(16)) {
            return Err(Error::GroupSize { group_size, columns: n });
        }
        Ok(GridSpec { m, n, bits, group_size: if group_size >= n { whole } else { group_size } })
    }

    /// Groups of a row.
    pub fn groups(&self) -> usize {
        self.n.div_ceil(self.group_size)
    }

    /// Panels of 16 rows.
    pub fn panels(&self) -> usize {
        self.m.div_ceil(PANEL)
    }

    /// Blocks of 32 columns.
    pub(crate) fn blocks(&self) -> usize {
        self.n.div_ceil(BLOCK)
    }

    /// Bytes of the codes of one panel.
    pub(crate) fn panel_bytes(&self) -> usize {
        self.blocks() * block_bytes(self.bits)
    }
}

/// A matrix of `b`-bit codes with a scale and an offset per group, in panels of 16 rows (see `docs/formats.md`).
///
/// Filled by RTN, GPTQ, AWQ, HQQ and PEQA, and by every GGUF block type whose weights are equally spaced.
///
/// In a [`Site`](crate::Site) it is a [`Term`](crate::Term) of a matrix: `Term::Grid(grid) = &site.linears()[0].terms()[0]`. Its columns are then
/// those behind the site's [`Pre`](crate::Pre), so in the order of activation if a method chose that: the example of `Site` takes them back.
///
/// ```
/// use ndarray::array;
/// use scant_tensor_core::format::{Grid, GridSpec, RowOffset, RowStat};
/// let spec = GridSpec::new([2, 3], 4, 3)?;
/// let codes = array![[0, 8, 15], [7, 8, 9]];
/// let scale = RowStat::F32(array![[0.5], [2.0]]);
/// let grid = Grid::pack(spec, codes.view(), &scale, &RowOffset::Symmetric)?;
/// assert_eq!(grid.to_dense(), array![[-4.0, 0.0, 3.5], [-2.0, 0.0, 2.0]]);
/// # Ok::<(), scant_tensor_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    spec: GridSpec,
    codes: Bytes,
    scale: Stat,
    offset: Offset,
}

impl Grid {
    /// Packs row-major codes `[m, n]` and statistics `[m, groups]` into panels.
    ///
    /// # Errors
    /// [`Error`] if a shape differs from what `spec` says, a code does not fit or a statistic is not finite.
    pub fn pack(spec: GridSpec, codes: ArrayView2<'_, u8>, scale: &RowStat, offset: &RowOffset) -> Result<Grid, Error> {
        let spec = GridSpec::new([spec.m, spec.n], spec.bits, spec.group_size)?;
        Error::check_shape("grid codes", &[spec.m, spec.n], codes.shape())?;
        let check = |what: &str, stat: &RowStat| {
            let (m, groups) = stat.dim();
            Error::check_shape(what, &[spec.m, spec.groups()], &[m, groups])?;
            stat.pack(what)
        };
        let scale = check("grid scales", scale)?;
        let offset = match offset {
            RowOffset::Symmetric => Offset::Symmetric,
            RowOffset::Zero(z) => Offset::Zero(check("grid zero points", z)?),
            RowOffset::Min(m) => Offset::Min(check("grid minima", m)?),
        };
        let mut packed = OwnedBytes::zeroed(spec.panels() * spec.panel_bytes());
        for (panel, rows) in packed.chunks_exact_mut(spec.panel_bytes()).zip(0..) {
            for r in 0..PANEL.min(spec.m - rows * PANEL) {
                for (column, code) in codes.row(rows * PANEL + r).iter().enumerate() {
                    if u32::from(*code) >> spec.bits != 0 {
                        let row = rows * PANEL + r;
                        return Err(Error::Code { what: "grid codes".to_owned(), code: *code, row, column, bits: spec.bits });
                    }
                    put(panel, spec.bits, r, column, *code);
                }
            }
        }
        Ok(Grid { spec, codes: packed.freeze(), scale, offset })
    }

    /// Takes panels as [`Grid::packed_codes`], [`Grid::scale`] and [`Grid::offset`] give them, without a copy.
    ///
    /// Codes have no wrong values. What stands in rows and columns of padding does not matter.
    ///
    /// # Errors
    /// [`Error`] if a length differs from what `spec` says or a statistic is not finite.
    pub fn from_panels(spec: GridSpec, codes: Bytes, scale: Stat, offset: Offset) -> Result<Grid, Error> {
        let spec = GridSpec::new([spec.m, spec.n], spec.bits, spec.group_size)?;
        let want = spec.blocks().checked_mul(block_bytes(spec.bits)).and_then(|b| b.checked_mul(spec.panels()));
        Error::check_shape("bytes of grid codes", &[want.unwrap_or(usize::MAX)], &[codes.len()])?;
        scale.check("grid scales", spec.panels(), spec.groups())?;
        match &offset {
            Offset::Symmetric => {}
            Offset::Zero(zero) => zero.check("grid zero points", spec.panels(), spec.groups())?,
            Offset::Min(min) => min.check("grid minima", spec.panels(), spec.groups())?,
        }
        Ok(Grid { spec, codes, scale, offset })
    }

    /// Shape, bits and group size.
    pub fn spec(&self) -> GridSpec {
        self.spec
    }

    /// The codes in panels.
    pub fn packed_codes(&self) -> &Bytes {
        &self.codes
    }

    /// The scales in panels.
    pub fn scale(&self) -> &Stat {
        &self.scale
    }

    /// The offsets in panels.
    pub fn offset(&self) -> &Offset {
        &self.offset
    }

    /// The codes, row-major `[m, n]`.
    pub fn codes(&self) -> Array2<u8> {
        let bytes = self.spec.panel_bytes();
        Array2::from_shape_fn((self.spec.m, self.spec.n), |(i, j)| {
            get(&self.codes[i / PANEL * bytes..][..bytes], self.spec.bits, i % PANEL, j)
        })
    }

    /// Scales, zero points and minima, each `[m, groups]`: `w = scale * (q - zero) + min`.
    pub fn statistics(&self) -> [Array2<f32>; 3] {
        let mut out = [(); 3].map(|()| Array2::zeros((self.spec.m, self.spec.groups())));
        for panel in 0..self.spec.panels() {
            for g in 0..self.spec.groups() {
                for (out, lanes) in out.iter_mut().zip(self.plain(panel, g)) {
                    for (r, lane) in (panel * PANEL..self.spec.m).zip(lanes) {
                        out[[r, g]] = lane;
                    }
                }
            }
        }
        out
    }

    /// The matrix as f32 `[m, n]`.
    pub fn to_dense(&self) -> Array2<f32> {
        let mut w = Array2::zeros((self.spec.m, self.spec.n));
        crate::linear::LinearOp::add_to(self, w.view_mut());
        w
    }

    /// Shows `f` each stretch of memory that holds it, to be put elsewhere.
    pub(crate) fn each_bytes(&mut self, f: &mut dyn FnMut(&mut Bytes)) {
        f(&mut self.codes);
        self.scale.each_bytes(f);
        match &mut self.offset {
            Offset::Symmetric => {}
            Offset::Zero(stat) | Offset::Min(stat) => stat.each_bytes(f),
        }
    }

    /// Bytes of the offsets.
    pub(crate) fn offset_bytes(&self) -> u64 {
        match &self.offset {
            Offset::Symmetric => 0,
            Offset::Zero(s) | Offset::Min(s) => s.bytes(),
        }
    }

    /// Code bytes of `panel`.
    #[inline(always)]
    pub(crate) fn panel(&self, panel: usize) -> &[u8] {
        let bytes = self.spec.panel_bytes();
        &self.codes[panel * bytes..][..bytes]
    }

    /// Scales, zero points and minima of group `g`, for codes as they are stored.
    fn plain(&self, panel: usize, g: usize) -> [[f32; PANEL]; 3] {
        let one = |stat: &Stat| {
            let mut out = [[0.0; PANEL]];
            stat.decode(Scalar, self.spec.groups(), panel, g..g + 1, &mut out);
            out[0]
        };
        let (zero, min) = match &self.offset {
            Offset::Symmetric => ([(1u32 << (self.spec.bits - 1)) as f32; PANEL], [0.0; PANEL]),
            Offset::Zero(zero) => (one(zero), [0.0; PANEL]),
            Offset::Min(min) => ([0.0; PANEL], one(min)),
        };
        [one(&self.scale), zero, min]
    }

    /// Calls `f(row, column, w)` for the rows of a panel that exist. With a palette, its value of a code stands for `q - zero`.
    pub(crate) fn each(
        &self,
        panel: usize,
        rows: std::ops::Range<usize>,
        palette: Option<&[i8; 16]>,
        mut f: impl FnMut(usize, usize, f32),
    ) {
        let codes = self.panel(panel);
        let rows = rows.start..rows.end.min(self.spec.m - panel * PANEL);
        for g in 0..self.spec.groups() {
            let [scale, zero, min] = self.plain(panel, g);
            let columns = g * self.spec.group_size..((g + 1) * self.spec.group_size).min(self.spec.n);
            for r in rows.clone() {
                for j in columns.clone() {
                    let q = get(codes, self.spec.bits, r, j);
                    let level = match palette {
                        None => f32::from(q) - zero[r],
                        Some(values) => f32::from(values[usize::from(q)]),
                    };
                    f(r, j, scale[r] * level + min[r]);
                }
            }
        }
    }
}
