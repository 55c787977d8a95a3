//! An index with the full vectors that score its candidates again.

use super::bytes::Reader;
use crate::error::Error;
use crate::index::Index;
use crate::metric::Metric;
use crate::rerank::{FullVectors, Reranker};
use crate::search::{Rerank, SearchOptions};
use ndarray::{Array2, ArrayView1, ArrayView2};
use scant_tensor_core::retrieve::Hit;
use std::collections::HashMap;
use std::path::Path;

/// `IxRF`: an index, and flat vectors behind it.
///
/// It is a [`Reranker`] too, for searches with other options than its own.
#[derive(Clone, Debug)]
pub struct Refined {
    /// The index in front.
    pub index: Index,
    /// `[n, dim]`.
    pub vectors: Array2<f32>,
    /// How many candidates are scored for each neighbour that is asked for.
    pub k_factor: f32,
    /// The row of `vectors` of each id.
    row: HashMap<u64, u64>,
}

impl Refined {
    pub(super) fn read(file: &Path, bytes: &[u8]) -> Result<Refined, Error> {
        let (index, refine) = super::any(file, bytes)?;
        let Some(refine) = refine else {
            return Err(Reader::new(file, bytes).unsupported("index", "one that is not refined", "IxRF"));
        };
        let row = refine.ids.into_iter().zip(0..).collect();
        Ok(Refined { index, vectors: refine.vectors, k_factor: refine.k_factor, row })
    }

    /// The best `k` of each row of `q` among the best `k * k_factor` of the index.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn search(&self, q: ArrayView2<'_, f32>, k: usize) -> Result<Vec<Vec<Hit>>, Error> {
        let candidates = (k as f64 * f64::from(self.k_factor)) as usize;
        let rerank = Some(Rerank { reranker: self, candidates });
        self.index.search(q, k, &SearchOptions { rerank, ..SearchOptions::default() })
    }
}

impl Reranker for Refined {
    fn score(&self, metric: Metric, q: ArrayView1<'_, f32>, ids: &[u64], scores: &mut [f32]) -> Result<(), Error> {
        let rows: Result<Vec<u64>, Error> = ids.iter().map(|id| self.row.get(id).copied().ok_or(Error::UnknownId { id: *id })).collect();
        FullVectors::new(&self.vectors).score(metric, q, &rows?, scores)
    }
}
