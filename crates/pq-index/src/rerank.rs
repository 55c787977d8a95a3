//! Candidates scored again, with better vectors than the codes: in memory, or in a file.

use crate::error::Error;
use crate::flat::keys;
use crate::index::Index;
use crate::metric::Metric;
use crate::source::{VectorSource, read_rows};
use ndarray::ArrayView1;
use scant_tensor_core::retrieve::{Hit, TopK};
use std::collections::HashMap;
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

/// The best `k` of `hits` by the reranker's scores: a stage between a coarse search and a finer one. [`SearchOptions`](crate::SearchOptions) does the
/// same within a search.
///
/// Binary codes choose a thousand, product codes fifty of them, and full vectors, which may lie in a file, ten:
///
/// ```
/// use ndarray::Array2;
/// use scant_pq_index::quantizer::QuantizerKind;
/// use scant_pq_index::{BinaryEncoder, BinaryIndex, CodeScores, FullVectors, IndexBuilder, Metric, Scoring, rescore};
/// let x = Array2::from_shape_fn((2000, 16), |(i, j)| ((i * (j + 2)) as f32).sin());
/// let ids: Vec<u64> = (0..2000).collect();
/// let encoder = BinaryEncoder::frame(16, 64, 1, 1)?;
/// let mut coarse = BinaryIndex::new(&encoder, Scoring::Symmetric);
/// coarse.add(&ids, &encoder.encode(x.view())?)?;
/// let mut trained = IndexBuilder::new(Metric::Cosine).quantizer(QuantizerKind::Product { m: 8, bits: 8 }).train(&x)?;
/// trained.add(&ids, x.view())?;
/// let fine = trained.finish();
/// let (codes, full) = (CodeScores::new(&fine), FullVectors::new(&x));
///
/// let q = x.row(7);
/// let hits = &coarse.search(&encoder.encode(x.slice(ndarray::s![7..8, ..]))?, 1000, None)?[0];
/// let hits = rescore(&codes, Metric::Cosine, q, hits, 50)?;
/// let hits = rescore(&full, Metric::Cosine, q, &hits, 10)?;
/// assert_eq!((hits.len(), hits[0].id), (10, 7));
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
///
/// # Errors
/// What the reranker says.
pub fn rescore(r: &dyn Reranker, metric: Metric, q: ArrayView1<'_, f32>, hits: &[Hit], k: usize) -> Result<Vec<Hit>, Error> {
    let ids: Vec<u64> = hits.iter().map(|hit| hit.id).collect();
    let mut scores = vec![0.0; ids.len()];
    r.score(metric, q, &ids, &mut scores)?;
    let mut best = TopK::new(k);
    let order = metric.order();
    ids.iter().zip(&scores).for_each(|(id, score)| best.push(order.key(*score), *id));
    Ok(best.into_sorted().into_iter().map(|(key, id)| Hit { id, score: order.key(key) }).collect())
}

/// The codes of an index as a reranker: each candidate's score is what a search of the index would give it.
pub struct CodeScores<'a> {
    index: &'a Index,
    /// List and place of each id.
    places: HashMap<u64, (u32, u32)>,
}

impl<'a> CodeScores<'a> {
    /// Looks up where each row lies, once. O(rows).
    pub fn new(index: &'a Index) -> CodeScores<'a> {
        let mut places = HashMap::with_capacity(index.len());
        for (l, list) in index.lists.iter().enumerate() {
            for (place, row) in list.rows.iter().enumerate().filter(|(_, row)| index.live.contains(**row as usize)) {
                places.insert(index.ids[*row as usize], (l as u32, place as u32));
            }
        }
        CodeScores { index, places }
    }
}

impl Reranker for CodeScores<'_> {
    fn score(&self, metric: Metric, q: ArrayView1<'_, f32>, ids: &[u64], scores: &mut [f32]) -> Result<(), Error> {
        if metric != self.index.metric() {
            return Err(Error::MetricMismatch { index: self.index.metric(), asked: metric });
        }
        let of = |id: &u64| self.places.get(id).copied().ok_or(Error::UnknownId { id: *id });
        let places: Vec<(u32, u32)> = ids.iter().map(of).collect::<Result<_, _>>()?;
        let keys = self.index.keys_at(q, &places)?;
        scores.iter_mut().zip(keys).for_each(|(score, key)| *score = metric.order().key(key));
        Ok(())
    }
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
