//! Candidates scored again, with better vectors than the codes: in memory, or in a file.

use crate::error::Error;
use crate::flat::keys;
use crate::metric::Metric;
use crate::source::{VectorSource, read_rows};
use ndarray::ArrayView1;
use scant_tensor_core::retrieve::{Hit, TopK};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Rows this close are read together: a request costs as much as 16 KiB.
const GAP_BYTES: usize = 16 << 10;

/// Scores candidates.
pub trait Reranker: Sync {
    /// Fills `scores` for `ids`, with the sign of `metric`; `q` is the query as the caller gave it.
    ///
    /// # Errors
    /// [`Error`] if a candidate cannot be scored.
    fn score(&self, metric: Metric, q: ArrayView1<'_, f32>, ids: &[u64], scores: &mut [f32]) -> Result<(), Error>;
}

/// The best `k` by the reranker's scores.
pub(crate) fn rerank(r: &dyn Reranker, metric: Metric, q: ArrayView1<'_, f32>, hits: &[Hit], k: usize) -> Result<Vec<Hit>, Error> {
    let ids: Vec<u64> = hits.iter().map(|hit| hit.id).collect();
    let mut scores = vec![0.0; ids.len()];
    r.score(metric, q, &ids, &mut scores)?;
    let mut best = TopK::new(k);
    let order = metric.order();
    ids.iter().zip(&scores).for_each(|(id, score)| best.push(order.key(*score), *id));
    Ok(best.into_sorted().into_iter().map(|(key, id)| Hit { id, score: order.key(key) }).collect())
}

/// Full vectors from a source, where the id is the row number: an array, or a file of f32 or f16 rows of which only candidates are read.
///
/// ```
/// use ndarray::Array2;
/// use scant_pq_index::quantizer::QuantizerKind;
/// use scant_pq_index::{FullVectors, IndexBuilder, Metric, Rerank, SearchOptions};
/// let x = Array2::from_shape_fn((500, 8), |(i, j)| ((i * (j + 2)) as f32).sin());
/// let mut trained = IndexBuilder::new(Metric::L2).quantizer(QuantizerKind::Product { m: 2, bits: 4 }).train(&x)?;
/// trained.add_source(&x)?;
/// let full = FullVectors::new(&x);
/// let options = SearchOptions { rerank: Some(Rerank { reranker: &full, candidates: 200 }), ..Default::default() };
/// let hits = trained.finish().search(x.view(), 1, &options)?;
/// let found = hits.iter().zip(0..).filter(|(hits, row)| hits[0].id == *row).count();
/// assert!(found > 480, "{found} of 500 find themselves");
/// assert!(full.stats().bytes >= 500 * 200 * 8 * 4);
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
pub struct FullVectors<'a> {
    source: &'a dyn VectorSource,
    requests: AtomicU64,
    useful: AtomicU64,
    bytes: AtomicU64,
}

/// What was read, as f32 bytes, since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadStats {
    /// Reads.
    pub requests: u64,
    /// Bytes of candidates.
    pub useful: u64,
    /// Bytes read, gaps between candidates included.
    pub bytes: u64,
}

impl<'a> FullVectors<'a> {
    /// Over a source.
    pub fn new(source: &'a dyn VectorSource) -> Self {
        FullVectors { source, requests: AtomicU64::new(0), useful: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// What was read so far, by all threads.
    pub fn stats(&self) -> ReadStats {
        ReadStats { requests: self.requests.load(Relaxed), useful: self.useful.load(Relaxed), bytes: self.bytes.load(Relaxed) }
    }
}

impl Reranker for FullVectors<'_> {
    fn score(&self, metric: Metric, q: ArrayView1<'_, f32>, ids: &[u64], scores: &mut [f32]) -> Result<(), Error> {
        let dim = self.source.dim();
        Error::check_dim("vectors for re-ranking", q.len(), dim)?;
        let rows = self.source.len() as u64;
        if let Some(id) = ids.iter().find(|id| **id >= rows) {
            return Err(Error::UnknownId { id: *id });
        }
        let mut q = q.to_vec();
        metric.admit(0, &mut q)?;
        let mut order: Vec<(usize, usize)> = ids.iter().enumerate().map(|(place, id)| (*id as usize, place)).collect();
        order.sort_unstable();
        let gap = (GAP_BYTES / (4 * dim.max(1))).max(1);
        let mut at = 0;
        while at < order.len() {
            let run = 1 + order[at..].windows(2).take_while(|pair| pair[1].0 - pair[0].0 <= gap).count();
            let (first, last) = (order[at].0, order[at + run - 1].0);
            let part = read_rows(self.source, first..last + 1)?;
            self.requests.fetch_add(1, Relaxed);
            self.useful.fetch_add((run * dim * 4) as u64, Relaxed);
            self.bytes.fetch_add((part.len() * 4) as u64, Relaxed);
            for (row, place) in &order[at..at + run] {
                let mut x = part.row(row - first).to_vec();
                metric.admit(*row, &mut x)?;
                let mut key = [0.0];
                keys(metric, &q, &x, &mut key);
                scores[*place] = metric.order().key(key[0]);
            }
            at += run;
        }
        Ok(())
    }
}
