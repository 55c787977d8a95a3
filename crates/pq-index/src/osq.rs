//! Optimized scalar quantization, OSQ: principal axes, each with as many bits as its variance earns (SQUASH, Ding and others 2025).

use crate::cells::Cells;
use crate::error::Error;
use crate::klt::Klt;
use crate::quantizer::{Layout, Quantizer, put_bits};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use scant_tensor_core::file::{Dtype, File, Writer};
use scant_tensor_core::scan::{BLOCK, Lut, Width};

/// Bits of a dimension at most.
const MOST: u8 = 8;
/// Rows that axes and cells are fitted to at most; what the cells must reach is taken from all of them.
const ROWS: usize = 1 << 16;
/// Rows that one task transforms.
const TILE: usize = 1024;

/// Where the code of a dimension lies in its byte.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    dimension: usize,
    shift: u8,
}

/// A quantizer of unequal bits: a budget for each vector is shared out over the principal axes by variance, and every axis has cells of its own.
///
/// The codes of several axes share a byte, so that a byte selects an entry of a table of sums, and OSQ is scanned like a product quantizer of
/// `8` bits. There axes do not straddle bytes; what that leaves empty is [`padding`](Self::padding), up to 3 bits beside each axis where most have
/// 5 to 7. A [`Squash`](crate::Squash) index stores the bits without it and takes them apart again for 64 vectors at a time.
///
/// The squared distance of a query to everything in a code's cells is bounded from both sides, see [`bounds`](Self::bounds).
///
/// ```
/// use ndarray::Array2;
/// use scant_pq_index::Osq;
/// use scant_pq_index::quantizer::Quantizer;
/// let x = Array2::from_shape_fn((500, 4), |(i, j)| ((i * (j + 2)) as f32).sin() * [8.0, 4.0, 2.0, 0.1][j]);
/// let osq = Osq::train(x.view(), 12)?;
/// assert_eq!(osq.bits().iter().map(|b| usize::from(*b)).sum::<usize>(), 12);
/// assert!(osq.bits()[0] > osq.bits()[3]);
/// assert_eq!((osq.layout().columns(), osq.padding()), (2, 4)); // 12 bits in 2 bytes
/// let mut codes = vec![0; 2 * x.nrows()];
/// osq.encode(x.view(), &mut codes);
/// let mut g = [0.0; 4];
/// osq.decode(&codes[..2], &mut g);
/// assert!(x.row(0).iter().zip(&g).all(|(x, g)| (x - g).abs() < 1.5));
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Osq {
    klt: Klt,
    bits: Vec<u8>,
    cells: Vec<Cells>,
    /// The dimensions of each byte.
    places: Vec<Vec<Place>>,
    /// The largest distance of a training row to the mean.
    radius: f32,
}

/// What a query's distances are at least and at most, as tables for the codes of an [`Osq`].
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Sums of at most the squared distance.
    pub least: Lut,
    /// Sums of at least the squared distance.
    pub most: Lut,
    /// What rounding may add to the one and take from the other: a bound of the errors of the transform and of the sums in f32.
    pub slack: f32,
}

impl Osq {
    /// Finds axes, bits and cells for `budget` bits a vector on the rows of `x` `[n, d]`. O(n d^2) for the axes, O(n d log n) for the cells.
    ///
    /// # Errors
    /// [`Error::TooFewVectors`] for fewer than two rows, [`Error::EmptyTraining`] without columns, [`Error::BitBudget`] unless `budget` is 1 to
    /// 8 bits for each dimension, [`Error::NonFinite`] also where the length of a row is not finite.
    pub fn train(x: ArrayView2<'_, f32>, budget: usize) -> Result<Osq, Error> {
        let (n, dim) = x.dim();
        if dim == 0 {
            return Err(Error::EmptyTraining);
        }
        if n < 2 {
            return Err(Error::TooFewVectors { have: n, need: 2 });
        }
        let most = dim * usize::from(MOST);
        if !(1..=most).contains(&budget) {
            return Err(Error::BitBudget { asked: budget, most });
        }
        Error::check_finite(x, 0)?;
        let rows: Vec<usize> = (0..n.min(ROWS)).map(|i| i * n / n.min(ROWS)).collect();
        let sample = x.select(Axis(0), &rows);
        let (klt, variances) = Klt::fit(sample.view());
        let bits = allocate(&variances, budget);
        let mut osq = Osq { klt, places: places(&bits), bits, cells: vec![], radius: 0.0 };
        let y = osq.transformed(sample.view());
        Error::check_finite(y.view(), 0)?;
        osq.cells = (0..dim).into_par_iter().map(|j| Cells::fit(y.column(j).to_vec(), 1 << osq.bits[j])).collect();
        for begin in (0..n).step_by(ROWS) {
            let y = osq.transformed(x.slice_axis(Axis(0), (begin..n.min(begin + ROWS)).into()));
            Error::check_finite(y.view(), begin)?;
            for (i, row) in y.rows().into_iter().enumerate() {
                let value = row.dot(&row).sqrt();
                if !value.is_finite() {
                    return Err(Error::NonFinite { row: begin + i, column: 0, value });
                }
                osq.radius = osq.radius.max(value);
                osq.cells.iter_mut().zip(row).for_each(|(cells, v)| cells.cover(*v));
            }
        }
        Ok(osq)
    }

    /// The bits of each axis, the one of the largest variance first.
    pub fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// Bits of a code that are always 0, where it is scanned.
    pub fn padding(&self) -> usize {
        8 * self.places.len() - self.bits.iter().map(|b| usize::from(*b)).sum::<usize>()
    }

    /// Bytes of a code without padding but for the last byte.
    pub fn packed_bytes(&self) -> usize {
        self.bits.iter().map(|b| usize::from(*b)).sum::<usize>().div_ceil(8)
    }

    /// The bits in use of each byte of a code, with where they begin in a packed code.
    fn used(&self) -> impl Iterator<Item = (usize, usize)> {
        self.places.iter().scan(0, |begin, places| {
            let bits = places.iter().map(|p| usize::from(self.bits[p.dimension])).sum::<usize>();
            *begin += bits;
            Some((*begin - bits, bits))
        })
    }

    /// A code without padding.
    pub(crate) fn pack(&self, code: &[u8], packed: &mut [u8]) {
        packed.fill(0);
        self.used().zip(code).for_each(|((at, bits), code)| put_bits(packed, at, bits, *code));
    }

    /// Undoes [`pack`](Self::pack) for the 64 codes of a block, column by column.
    pub(crate) fn unpack(&self, packed: &[[u8; BLOCK]], codes: &mut Vec<[u8; BLOCK]>) {
        codes.resize(self.places.len(), [0; BLOCK]);
        for ((at, bits), out) in self.used().zip(codes) {
            let (byte, shift, mask) = (at / 8, at % 8, ((1u16 << bits) - 1) as u8);
            let low = &packed[byte];
            if shift + bits <= 8 {
                out.iter_mut().zip(low).for_each(|(out, low)| *out = low >> shift & mask);
            } else {
                let both = low.iter().zip(&packed[byte + 1]);
                out.iter_mut().zip(both).for_each(|(out, (low, high))| *out = (low >> shift | high << (8 - shift)) & mask);
            }
        }
    }

    /// Bytes of everything but codes: axes, bounds of cells and centroids.
    pub fn table_bytes(&self) -> usize {
        let dim = self.bits.len();
        4 * (dim * dim + dim) + self.cells.iter().map(|c| 4 * (2 * c.len() + 1)).sum::<usize>()
    }

    /// Squared distances to the centroids of the cells, for ranking.
    ///
    /// # Errors
    /// [`Error::DimMismatch`], [`Error::NonFinite`]; [`Error::Core`] for a query so large that its distances overflow.
    pub fn lut(&self, q: &[f32]) -> Result<Lut, Error> {
        let y = self.query(q)?;
        self.lut_of(&y)
    }

    /// Bounds of the squared distances from `q` to the rows that were trained on, for pruning and exact search. A row that was not, and lies
    /// outside the outer cells, may be nearer or farther.
    ///
    /// # Errors
    /// As [`lut`](Self::lut).
    pub fn bounds(&self, q: &[f32]) -> Result<Bounds, Error> {
        let y = self.query(q)?;
        self.bounds_of(&y)
    }

    pub(crate) fn query(&self, q: &[f32]) -> Result<Vec<f32>, Error> {
        Error::check_dim("query", self.bits.len(), q.len())?;
        let mut y = ndarray::aview1(q).insert_axis(Axis(0)).to_owned();
        Error::check_finite(y.view(), 0)?;
        self.klt.apply(y.view_mut());
        Ok(y.into_raw_vec_and_offset().0)
    }

    pub(crate) fn lut_of(&self, y: &[f32]) -> Result<Lut, Error> {
        Ok(Lut::new(Width::Eight, self.tables(|j, c| self.cells[j].distance(y[j], c)))?)
    }

    pub(crate) fn bounds_of(&self, y: &[f32]) -> Result<Bounds, Error> {
        let least = Lut::new(Width::Eight, self.tables(|j, c| self.cells[j].least(y[j], c)))?;
        let most = Lut::new(Width::Eight, self.tables(|j, c| self.cells[j].most(y[j], c)))?;
        let reach = self.radius + y.iter().map(|v| v * v).sum::<f32>().sqrt();
        // A component of a transformed vector errs by some units of f32 of the vector's length, and so does the distance.
        Ok(Bounds { least, most, slack: 2e-5 * reach * reach })
    }

    /// Rows in the coordinates of the axes.
    pub(crate) fn transformed(&self, x: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut y = x.as_standard_layout().into_owned();
        let tiles: Vec<_> = y.axis_chunks_iter_mut(Axis(0), TILE).collect();
        tiles.into_par_iter().for_each(|tile| self.klt.apply(tile));
        y
    }

    /// The codes of a transformed row.
    pub(crate) fn encode_transformed(&self, y: &[f32], codes: &mut [u8]) {
        for (code, places) in codes.iter_mut().zip(&self.places) {
            *code = places.iter().fold(0, |code, p| code | self.cells[p.dimension].code(y[p.dimension]) << p.shift);
        }
    }

    /// The cell of each dimension of a byte of code.
    fn cells_of(&self, column: usize, code: u8) -> impl Iterator<Item = (usize, usize)> {
        self.places[column].iter().map(move |p| {
            let mask = ((1u16 << self.bits[p.dimension]) - 1) as u8;
            // Codes from a file may name cells that merged.
            (p.dimension, usize::from(code >> p.shift & mask).min(self.cells[p.dimension].len() - 1))
        })
    }

    /// Tables whose selected entries add up to the sum over all dimensions of `term(dimension, cell)`.
    fn tables(&self, term: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let terms: Vec<Vec<f32>> = (0..self.bits.len()).map(|j| (0..self.cells[j].len()).map(|c| term(j, c)).collect()).collect();
        let mut tables = Vec::with_capacity(256 * self.places.len());
        for column in 0..self.places.len() {
            tables.extend((0..=255).map(|code| self.cells_of(column, code).map(|(j, c)| terms[j][c]).sum::<f32>()));
        }
        // Dimensions without bits are the same for all: into the first table, of which every code selects an entry.
        let same: f32 = (0..terms.len()).filter(|j| self.bits[*j] == 0).map(|j| terms[j][0]).sum();
        tables[..256].iter_mut().for_each(|t| *t += same);
        tables
    }

    pub(crate) fn save(&self, prefix: &str, writer: &mut Writer<'_>) -> Result<(), Error> {
        self.klt.save(prefix, writer)?;
        writer.add(format!("{prefix}bits"), Dtype::U8, [self.bits.len()], self.bits.clone())?;
        let counts: Vec<u32> = self.cells.iter().map(|c| c.len() as u32).collect();
        writer.add(format!("{prefix}cells"), Dtype::U32, [counts.len()], bytemuck::cast_slice(&counts).to_vec())?;
        let bounds: Vec<f32> = self.cells.iter().flat_map(|c| c.bounds().to_vec()).collect();
        let centroids: Vec<f32> = self.cells.iter().flat_map(|c| c.centroids().to_vec()).collect();
        for (name, values) in [("bounds", &bounds), ("centroids", &centroids), ("radius", &vec![self.radius])] {
            writer.add(format!("{prefix}{name}"), Dtype::F32, [values.len()], bytemuck::cast_slice(values).to_vec())?;
        }
        Ok(())
    }

    pub(crate) fn load(prefix: &str, file: &File, dim: usize) -> Result<Osq, Error> {
        let corrupt =
            |field, want: &str| Error::Corrupt { file: "osq".into(), field, want: want.to_owned(), got: "other numbers".to_owned() };
        let klt = Klt::load(prefix, file, dim)?;
        let bits = file.expect(&format!("{prefix}bits"), Dtype::U8, [dim])?.to_vec();
        if bits.iter().any(|b| *b > MOST) || bits.iter().all(|b| *b == 0) {
            return Err(corrupt("bits of dimensions", "0 to 8, not all 0"));
        }
        let counts = file.typed::<u32>(&format!("{prefix}cells"), [dim])?;
        if counts.iter().zip(&bits).any(|(count, bits)| !(1..=1 << bits).contains(count)) {
            return Err(corrupt("cells of dimensions", "1 to 2^bits"));
        }
        let total = counts.iter().map(|c| *c as usize).sum::<usize>();
        let bounds = file.typed::<f32>(&format!("{prefix}bounds"), [total + dim])?;
        let centroids = file.typed::<f32>(&format!("{prefix}centroids"), [total])?;
        let radius = file.typed::<f32>(&format!("{prefix}radius"), [1])?[0];
        if !(radius >= 0.0 && radius.is_finite()) {
            return Err(corrupt("radius", "a finite number, 0 or more"));
        }
        let mut begin = 0;
        let cells = counts.iter().enumerate().map(|(j, count)| {
            let end = begin + *count as usize;
            let cells = Cells::from_parts(bounds[begin + j..end + j + 1].to_vec(), centroids[begin..end].to_vec());
            begin = end;
            cells.ok_or_else(|| corrupt("bounds of cells", "ascending"))
        });
        let cells = cells.collect::<Result<_, _>>()?;
        Ok(Osq { klt, places: places(&bits), bits, cells, radius })
    }
}

impl Quantizer for Osq {
    fn dim(&self) -> usize {
        self.bits.len()
    }

    fn layout(&self) -> Layout {
        Layout { tables: self.places.len(), bits: 8, linear: false }
    }

    fn encode(&self, x: ArrayView2<'_, f32>, codes: &mut [u8]) {
        let y = self.transformed(x);
        for (row, codes) in y.rows().into_iter().zip(codes.chunks_exact_mut(self.places.len())) {
            self.encode_transformed(row.as_slice().unwrap_or_default(), codes);
        }
    }

    fn decode(&self, codes: &[u8], g: &mut [f32]) {
        let mut y: Vec<f32> = self.cells.iter().map(|cells| cells.centroids()[0]).collect();
        for (column, code) in codes.iter().enumerate() {
            self.cells_of(column, *code).for_each(|(j, c)| y[j] = self.cells[j].centroids()[c]);
        }
        let mut y = ndarray::aview_mut1(&mut y).insert_axis(Axis(0)).to_owned();
        self.klt.undo(y.view_mut());
        g.iter_mut().zip(&y).for_each(|(g, y)| *g = *y);
    }

    fn products(&self, q: &[f32], tables: &mut [f32]) {
        let mut turned = ndarray::aview1(q).insert_axis(Axis(0)).to_owned();
        self.klt.turn(turned.view_mut());
        tables.copy_from_slice(&self.tables(|j, c| turned[(0, j)] * self.cells[j].centroids()[c]));
        let base = self.klt.along_mean(q);
        tables[..256].iter_mut().for_each(|t| *t += base);
    }

    fn distances(&self, q: &[f32], tables: &mut [f32]) -> bool {
        let mut y = ndarray::aview1(q).insert_axis(Axis(0)).to_owned();
        self.klt.apply(y.view_mut());
        tables.copy_from_slice(&self.tables(|j, c| self.cells[j].distance(y[(0, j)], c)));
        true
    }
}

/// One bit after the other to the dimension with the largest share of the error, which a bit quarters.
fn allocate(variances: &[f64], budget: usize) -> Vec<u8> {
    let mut bits = vec![0u8; variances.len()];
    let mut left = variances.to_vec();
    for _ in 0..budget {
        let open = (0..left.len()).filter(|j| bits[*j] < MOST);
        // Of equal ones the first: `max_by` would take the last.
        let Some(j) = open.reduce(|a, b| if left[b] > left[a] { b } else { a }) else { break };
        bits[j] += 1;
        left[j] /= 4.0;
    }
    bits
}

/// Dimensions into bytes: the widest first, each into the first byte with room.
fn places(bits: &[u8]) -> Vec<Vec<Place>> {
    let mut order: Vec<usize> = (0..bits.len()).filter(|j| bits[*j] > 0).collect();
    order.sort_by_key(|j| std::cmp::Reverse(bits[*j]));
    let (mut places, mut used): (Vec<Vec<Place>>, Vec<u8>) = (vec![], vec![]);
    for dimension in order {
        let column = used.iter().position(|used| used + bits[dimension] <= 8).unwrap_or_else(|| {
            places.push(vec![]);
            used.push(0);
            used.len() - 1
        });
        places[column].push(Place { dimension, shift: used[column] });
        used[column] += bits[dimension];
    }
    places
}

#[cfg(test)]
mod tests;
