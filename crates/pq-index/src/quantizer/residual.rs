//! Residual quantization (Chen, Guan, Wang 2010): each codebook describes what the ones before have left.

use super::{Layout, Quantizer};
use crate::error::Error;
use ndarray::{Array2, ArrayView2, Axis};
use scant_tensor_core::file::{Dtype, File, Writer};
use scant_tensor_core::kmeans::KMeans;
use scant_tensor_core::linalg::matmul;

const K: usize = 256;
/// Prefixes that encoding keeps.
const BEAM: usize = 5;

/// `m` codebooks of 256 centroids of the full dimension; encoded with a beam of 5. Training is stage by stage, without joint refinement.
#[derive(Clone, Debug)]
pub struct ResidualQuantizer {
    /// `[256, dim]` each.
    books: Vec<Array2<f32>>,
    dim: usize,
}

impl ResidualQuantizer {
    /// Trains on the rows of `x`.
    ///
    /// # Errors
    /// [`Error::SubspacesDoNotFit`] for no codebooks, [`Error::TooFewVectors`] for fewer than 256 rows.
    pub fn train(x: ArrayView2<'_, f32>, m: usize, seed: u64) -> Result<ResidualQuantizer, Error> {
        if m == 0 {
            return Err(Error::SubspacesDoNotFit { dim: x.ncols(), m });
        }
        if x.nrows() < K {
            return Err(Error::TooFewVectors { have: x.nrows(), need: K });
        }
        let mut rq = ResidualQuantizer { books: vec![], dim: x.ncols() };
        let mut left = x.to_owned();
        for stage in 0..m {
            let book = KMeans::new(K).seed(seed.wrapping_add(stage as u64)).fit(left.view())?.centroids;
            rq.books.push(book.as_standard_layout().into_owned());
            // What the encoder will really leave, not what the nearest centroid of each stage would.
            let mut codes = vec![0; x.nrows() * rq.books.len()];
            rq.encode(x, &mut codes);
            let mut g = vec![0.0; rq.dim];
            for ((mut left, row), codes) in left.rows_mut().into_iter().zip(x.rows()).zip(codes.chunks_exact(rq.books.len())) {
                rq.decode(codes, &mut g);
                left.iter_mut().zip(row).zip(&g).for_each(|((left, x), g)| *left = x - g);
            }
        }
        Ok(rq)
    }

    /// Squared lengths, which turn products into distances.
    fn norms(book: &Array2<f32>) -> Vec<f32> {
        book.rows().into_iter().map(|c| c.iter().map(|v| v * v).sum()).collect()
    }

    pub(super) fn save(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
        let all: Vec<f32> = self.books.iter().flat_map(|b| b.iter().copied()).collect();
        Ok(writer.add("rq.codebooks", Dtype::F32, [self.books.len(), K, self.dim], bytemuck::cast_slice(&all).to_vec())?)
    }

    pub(super) fn load(file: &File, dim: usize, m: usize) -> Result<ResidualQuantizer, Error> {
        if m == 0 || dim == 0 {
            return Err(Error::SubspacesDoNotFit { dim, m });
        }
        let all = file.typed::<f32>("rq.codebooks", [m, K, dim])?;
        Error::check_finite(ndarray::aview1(&all[..]).insert_axis(Axis(0)), 0)?;
        let book = |book: &[f32]| Array2::from_shape_fn((K, dim), |(c, i)| book[c * dim + i]);
        Ok(ResidualQuantizer { books: all.chunks_exact(K * dim).map(book).collect(), dim })
    }
}

/// A prefix of codes and what it leaves.
#[derive(Clone)]
struct Prefix {
    codes: Vec<u8>,
    left: Vec<f32>,
    error: f32,
}

impl Quantizer for ResidualQuantizer {
    fn dim(&self) -> usize {
        self.dim
    }

    fn layout(&self) -> Layout {
        Layout { tables: self.books.len(), bits: 8, linear: false }
    }

    fn encode(&self, x: ArrayView2<'_, f32>, codes: &mut [u8]) {
        let norms: Vec<_> = self.books.iter().map(Self::norms).collect();
        for (row, out) in x.rows().into_iter().zip(codes.chunks_exact_mut(self.books.len())) {
            let left = row.to_vec();
            let error = left.iter().map(|v| v * v).sum();
            let mut beam = vec![Prefix { codes: vec![], left, error }];
            for (book, norms) in self.books.iter().zip(&norms) {
                let mut products = Array2::<f32>::zeros((beam.len(), K));
                let left = Array2::from_shape_fn((beam.len(), self.dim), |(p, i)| beam[p].left[i]);
                matmul(1.0, left.view(), book.t(), false, products.view_mut());
                // |left - c|^2 for every prefix and centroid; of equal ones the earlier prefix, then the lower code.
                let mut next: Vec<(f32, usize, usize)> =
                    products.indexed_iter().map(|((p, c), product)| (beam[p].error - 2.0 * product + norms[c], p, c)).collect();
                let keep = BEAM.min(next.len());
                next.select_nth_unstable_by(keep - 1, |a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
                next.truncate(keep);
                next.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
                let extend = |(_, p, c): &(f32, usize, usize)| {
                    let mut prefix: Prefix = beam[*p].clone();
                    prefix.codes.push(*c as u8);
                    prefix.left.iter_mut().zip(book.row(*c)).for_each(|(left, v)| *left -= v);
                    prefix.error = prefix.left.iter().map(|v| v * v).sum();
                    prefix
                };
                beam = next.iter().map(extend).collect();
            }
            if let Some(best) = beam.iter().min_by(|a, b| a.error.total_cmp(&b.error)) {
                out.copy_from_slice(&best.codes);
            }
        }
    }

    fn decode(&self, codes: &[u8], g: &mut [f32]) {
        g.fill(0.0);
        for (book, code) in self.books.iter().zip(codes) {
            g.iter_mut().zip(book.row(usize::from(*code))).for_each(|(g, c)| *g += c);
        }
    }

    fn products(&self, q: &[f32], tables: &mut [f32]) {
        let q = ndarray::aview1(q);
        for (book, table) in self.books.iter().zip(tables.chunks_exact_mut(K)) {
            let q = q.insert_axis(Axis(1));
            let out = ndarray::aview_mut1(table).insert_axis(Axis(1));
            matmul(1.0, book.view(), q, false, out);
        }
    }
}
