//! The palette: `w = scale * value[q]` with 4-bit codes `q` into 16 small integers, and a scale per row and group of columns.

use super::{Grid, GridSpec, Offset, RowOffset, RowStat, Stat};
use crate::error::Error;
use crate::file::Bytes;
use ndarray::{Array2, ArrayView2};

/// Bits of a code.
pub(super) const BITS: u32 = 4;

/// A matrix of 4-bit codes into one palette of 16 signed bytes, with a scale per group, in the panels of a [`Grid`].
///
/// For weights that are not equally spaced: GGUF's IQ4_NL and IQ4_XS, the 4-bit floats of MXFP4, clustered weights. After one look-up per
/// code, products are those of an 8-bit grid.
///
/// ```
/// use ndarray::array;
/// use scant_tensor_core::format::{Palette, RowStat};
/// let values = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
/// let palette = Palette::pack(values, array![[1, 7, 15]].view(), 3, &RowStat::F32(array![[0.5]]))?;
/// assert_eq!(palette.to_dense(), array![[0.5, 6.0, -6.0]]);
/// # Ok::<(), scant_tensor_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Palette {
    /// Codes and scales; its offset is not used.
    grid: Grid,
    values: [i8; 16],
}

impl Palette {
    /// Packs row-major codes `[m, n]` and scales `[m, groups]`, as [`Grid::pack`] does.
    ///
    /// # Errors
    /// [`Error`] if shapes disagree, a code is above 15 or a scale not finite.
    pub fn pack(values: [i8; 16], codes: ArrayView2<'_, u8>, group_size: usize, scale: &RowStat) -> Result<Palette, Error> {
        let (m, n) = codes.dim();
        let spec = GridSpec::new([m, n], BITS, group_size)?;
        Ok(Palette { grid: Grid::pack(spec, codes, scale, &RowOffset::Symmetric)?, values })
    }

    /// Takes panels as [`Palette::packed_codes`] and [`Palette::scale`] give them, without a copy.
    ///
    /// # Errors
    /// [`Error`] if a length differs from what shape and group size say or a scale is not finite.
    pub fn from_panels(values: [i8; 16], shape: [usize; 2], group_size: usize, codes: Bytes, scale: Stat) -> Result<Palette, Error> {
        let spec = GridSpec::new(shape, BITS, group_size)?;
        Ok(Palette { grid: Grid::from_panels(spec, codes, scale, Offset::Symmetric)?, values })
    }

    /// Shape, bits and group size.
    pub fn spec(&self) -> GridSpec {
        self.grid.spec()
    }

    /// What the codes stand for.
    pub fn values(&self) -> &[i8; 16] {
        &self.values
    }

    /// The codes in panels.
    pub fn packed_codes(&self) -> &Bytes {
        self.grid.packed_codes()
    }

    /// The scales in panels.
    pub fn scale(&self) -> &Stat {
        self.grid.scale()
    }

    /// The codes, row-major `[m, n]`.
    pub fn codes(&self) -> Array2<u8> {
        self.grid.codes()
    }

    /// The matrix as f32 `[m, n]`.
    pub fn to_dense(&self) -> Array2<f32> {
        let mut w = Array2::zeros((self.spec().m, self.spec().n));
        crate::linear::LinearOp::add_to(self, w.view_mut());
        w
    }

    /// Shows `f` each stretch of memory that holds it, to be put elsewhere.
    pub(crate) fn each_bytes(&mut self, f: &mut dyn FnMut(&mut Bytes)) {
        self.grid.each_bytes(f);
    }

    /// Codes and scales as a grid.
    pub(crate) fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The values as codes of an 8-bit grid: 128 more.
    pub(crate) fn table(&self) -> [u8; 16] {
        self.values.map(|v| v.cast_unsigned() ^ 0x80)
    }
}
