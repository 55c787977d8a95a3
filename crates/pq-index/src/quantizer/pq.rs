//! Product quantization (Jégou, Douze, Schmid 2011): a codebook for each part of the vector.

use super::{Layout, Quantizer, check_bits};
use crate::error::Error;
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use scant_tensor_core::file::{File, Writer};
use scant_tensor_core::isa::Isa;
use scant_tensor_core::kmeans::{KMeans, Nearest};
use scant_tensor_core::simd::{Simd, WithSimd};

/// Codebooks of 256 are good enough once an iteration lowers the error by less than this share: what is left to gain is below 1 %. Those of 16
/// cost little, and go on.
const TOLERANCE: [f64; 2] = [5e-3, 1e-4];
/// Rows that are encoded at a time: all their parts are read while they are in the cache.
const ENCODED: usize = 256;

/// `m` codebooks of 256 (8 bits) or 16 (4 bits) centroids. Where `m` does not divide the dimension, the first parts are one longer.
///
/// ```
/// use ndarray::Array2;
/// use scant_pq_index::quantizer::{ProductQuantizer, Quantizer};
/// // Points of a small lattice: as many different parts as there are centroids.
/// let x = Array2::from_shape_fn((64, 3), |(i, j)| (i >> (2 * j) & 3) as f32);
/// let pq = ProductQuantizer::train(x.view(), 2, 4, 1)?; // parts of 2 and 1 dimensions
/// let mut codes = vec![0; 64 * 2];
/// pq.encode(x.view(), &mut codes);
/// let mut g = [0.0; 3];
/// pq.decode(&codes[2 * 27..2 * 28], &mut g);
/// assert_eq!(g, [3.0, 2.0, 1.0]);
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProductQuantizer {
    dim: usize,
    bits: u32,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    begin: usize,
    nearest: Nearest,
    centroids: Array2<f32>,
    /// `[dimensions, entries]`: a query's component meets all centroids at once.
    columns: Array2<f32>,
}

impl Part {
    fn new(begin: usize, centroids: Array2<f32>) -> Part {
        Part { begin, nearest: Nearest::new(centroids.view()), columns: centroids.t().as_standard_layout().into_owned(), centroids }
    }

    fn len(&self) -> usize {
        self.columns.nrows()
    }
}

impl ProductQuantizer {
    /// Trains on the rows of `x` with k-means in each subspace, in parallel.
    ///
    /// # Errors
    /// [`Error::BitsUnsupported`], [`Error::SubspacesDoNotFit`]; [`Error::TooFewVectors`] if there are fewer rows than centroids.
    pub fn train(x: ArrayView2<'_, f32>, m: usize, bits: u32, seed: u64) -> Result<ProductQuantizer, Error> {
        ProductQuantizer::fit(x, m, bits, seed, 25, None)
    }

    /// With a number of iterations, starting from another one's codebooks.
    pub(crate) fn fit(
        x: ArrayView2<'_, f32>,
        m: usize,
        bits: u32,
        seed: u64,
        iters: usize,
        start: Option<&ProductQuantizer>,
    ) -> Result<ProductQuantizer, Error> {
        check_bits(bits, &[4, 8])?;
        let dim = x.ncols();
        if m == 0 || m > dim {
            return Err(Error::SubspacesDoNotFit { dim, m });
        }
        let k = 1usize << bits;
        if x.nrows() < k {
            return Err(Error::TooFewVectors { have: x.nrows(), need: k });
        }
        let parts = splits(dim, m).into_par_iter().enumerate().map(|(j, (begin, end))| {
            let kmeans = KMeans::new(k).seed(seed.wrapping_add(j as u64)).iters(iters).tolerance(TOLERANCE[usize::from(bits == 4)]);
            let x = x.slice_axis(Axis(1), (begin..end).into());
            let clusters = match start {
                Some(start) => kmeans.fit_from(x, start.parts[j].centroids.view())?,
                None => kmeans.fit(x)?,
            };
            Ok(Part::new(begin, clusters.centroids))
        });
        Ok(ProductQuantizer { dim, bits, parts: parts.collect::<Result<_, Error>>()? })
    }

    /// Codebooks that were learned elsewhere: `[m, 2^bits, dim / m]`, flat; with unequal parts, one after the other.
    ///
    /// # Errors
    /// [`Error::BitsUnsupported`], [`Error::SubspacesDoNotFit`]; [`Error::LengthMismatch`], [`Error::NonFinite`].
    pub fn from_codebooks(dim: usize, m: usize, bits: u32, codebooks: &[f32]) -> Result<ProductQuantizer, Error> {
        check_bits(bits, &[4, 8])?;
        if m == 0 || m > dim {
            return Err(Error::SubspacesDoNotFit { dim, m });
        }
        let k = 1usize << bits;
        Error::check_len("numbers in the codebooks", k.saturating_mul(dim), codebooks.len())?;
        Error::check_finite(ndarray::aview1(codebooks).insert_axis(Axis(0)), 0)?;
        let part = |(begin, end): (usize, usize)| {
            Part::new(begin, Array2::from_shape_fn((k, end - begin), |(c, i)| codebooks[k * begin + c * (end - begin) + i]))
        };
        Ok(ProductQuantizer { dim, bits, parts: splits(dim, m).into_iter().map(part).collect() })
    }

    /// The codebooks, as [`from_codebooks`](Self::from_codebooks) takes them.
    pub fn codebooks(&self) -> Vec<f32> {
        self.parts.iter().flat_map(|part| part.centroids.iter().copied()).collect()
    }

    /// Where part `j` begins and ends.
    pub(super) fn range(&self, j: usize) -> (usize, usize) {
        (self.parts[j].begin, self.parts[j].begin + self.parts[j].len())
    }

    /// Centroids of a part.
    pub(super) fn entries(&self) -> usize {
        1 << self.bits
    }

    /// A centroid of part `j`.
    pub(super) fn centroid(&self, j: usize, code: u8) -> &[f32] {
        let (part, len) = (&self.parts[j], self.parts[j].len());
        &part.centroids.as_slice().unwrap_or_default()[usize::from(code) * len..][..len]
    }

    pub(super) fn save(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
        let codebooks = self.codebooks();
        Ok(writer.add("pq.codebooks", scant_tensor_core::file::Dtype::F32, [codebooks.len()], bytemuck::cast_slice(&codebooks).to_vec())?)
    }

    pub(super) fn load(file: &File, dim: usize, m: usize, bits: u32) -> Result<ProductQuantizer, Error> {
        check_bits(bits, &[4, 8])?;
        let codebooks = file.typed::<f32>("pq.codebooks", [dim.saturating_mul(1 << bits)])?;
        ProductQuantizer::from_codebooks(dim, m, bits, &codebooks)
    }
}

/// Where the parts begin and end.
fn splits(dim: usize, m: usize) -> Vec<(usize, usize)> {
    let (short, longer) = (dim / m, dim % m);
    let begin = |j: usize| j * short + j.min(longer);
    (0..m).map(|j| (begin(j), begin(j + 1))).collect()
}

impl Quantizer for ProductQuantizer {
    fn dim(&self) -> usize {
        self.dim
    }

    fn layout(&self) -> Layout {
        Layout { tables: self.parts.len(), bits: self.bits, linear: false }
    }

    fn encode(&self, x: ArrayView2<'_, f32>, codes: &mut [u8]) {
        let m = self.parts.len();
        codes.par_chunks_mut(ENCODED * m).zip(x.axis_chunks_iter(Axis(0), ENCODED).collect::<Vec<_>>()).for_each(|(codes, x)| {
            let mut cells = [0; ENCODED];
            let cells = &mut cells[..x.nrows()];
            for (j, part) in self.parts.iter().enumerate() {
                part.nearest.assign(x.slice_axis(Axis(1), (part.begin..part.begin + part.len()).into()), cells);
                codes.iter_mut().skip(j).step_by(m).zip(&*cells).for_each(|(code, cell)| *code = *cell as u8);
            }
        });
    }

    fn decode(&self, codes: &[u8], g: &mut [f32]) {
        for (part, code) in self.parts.iter().zip(codes) {
            let centroid = part.centroids.row(usize::from(*code));
            g[part.begin..].iter_mut().zip(centroid).for_each(|(g, c)| *g = *c);
        }
    }

    fn products(&self, q: &[f32], tables: &mut [f32]) {
        Isa::best().run(Fill::<false> { pq: self, q, tables });
    }

    fn distances(&self, q: &[f32], tables: &mut [f32]) -> bool {
        Isa::best().run(Fill::<true> { pq: self, q, tables });
        true
    }
}

struct Fill<'a, const DISTANCE: bool> {
    pq: &'a ProductQuantizer,
    q: &'a [f32],
    tables: &'a mut [f32],
}

impl<const DISTANCE: bool> WithSimd for Fill<'_, DISTANCE> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (part, table) in self.pq.parts.iter().zip(self.tables.chunks_exact_mut(1 << self.pq.bits)) {
            let q = &self.q[part.begin..part.begin + part.len()];
            let columns = part.columns.as_slice().unwrap_or_default();
            let stride = table.len();
            for (b, out) in table.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                let mut sum = s.splat(0.0);
                for (q, column) in q.iter().zip(columns.chunks_exact(stride)) {
                    let c = s.load(&column.as_chunks::<16>().0[b]);
                    let q = s.splat(*q);
                    sum = if DISTANCE {
                        let r = s.sub(q, c);
                        s.mul_add(r, r, sum)
                    } else {
                        s.mul_add(q, c, sum)
                    };
                }
                s.store(sum, out);
            }
        }
    }
}
