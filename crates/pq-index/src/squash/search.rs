//! The stages of a search: filter, partitions, signs, look-ups, whole vectors.

use super::Squash;
use super::signs::Coarse;
use crate::error::Error;
use crate::metric::Metric;
use crate::osq::Bounds;
use crate::rerank::Reranker;
use ndarray::{ArrayView1, ArrayView2};
use rayon::prelude::*;
use scant_tensor_core::retrieve::{Bitmap, Filter, Hit, TopK};
use scant_tensor_core::scan::BLOCK;
use std::iter::Sum;
use std::ops::Add;

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct SquashOptions<'a> {
    /// Only rows for which it holds.
    pub filter: Option<&'a Filter>,
    /// Partitions are visited whose centroid is at most this many times as far as the nearest one, and more until there are `10 k` times
    /// `refine` matching rows. 1.15 by default, as published; what it reaches depends on the data.
    pub stretch: f32,
    /// How signs are compared.
    pub coarse: Coarse,
    /// The share of matching rows that the signs let pass, in each partition, but at least `10 k` times `refine` rows.
    pub share: f32,
    /// So many times k whole vectors are read for each visited partition.
    pub refine: usize,
    /// Reads vectors in the order of what their codes bound their distances by, in all partitions, until no other can be nearer: the result is
    /// that of an exhaustive search (the VA-file of Weber, Schek and Blott 1998). The settings above but the filter do not matter then.
    pub exact: bool,
}

impl Default for SquashOptions<'_> {
    fn default() -> Self {
        SquashOptions { filter: None, stretch: 1.15, coarse: Coarse::default(), share: 0.1, refine: 2, exact: false }
    }
}

/// What went into a stage and what came out, over all queries of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageReport {
    /// Rows it chose from.
    pub rows_in: u64,
    /// Rows it passed on.
    pub rows_out: u64,
    /// Bytes of rows that it looked at.
    pub bytes: u64,
}

/// A report for each stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// The predicate, once for all queries.
    pub filter: StageReport,
    /// Choosing partitions.
    pub partitions: StageReport,
    /// Signs.
    pub coarse: StageReport,
    /// Sums of look-ups by codes.
    pub look_up: StageReport,
    /// Whole vectors; the bytes are those of the vectors, whatever reading them took.
    pub refine: StageReport,
}

impl Add for StageReport {
    type Output = StageReport;
    fn add(self, other: StageReport) -> StageReport {
        StageReport { rows_in: self.rows_in + other.rows_in, rows_out: self.rows_out + other.rows_out, bytes: self.bytes + other.bytes }
    }
}

impl Sum for Stages {
    fn sum<I: Iterator<Item = Stages>>(iter: I) -> Stages {
        iter.fold(Stages::default(), |a, b| Stages {
            filter: a.filter + b.filter,
            partitions: a.partitions + b.partitions,
            coarse: a.coarse + b.coarse,
            look_up: a.look_up + b.look_up,
            refine: a.refine + b.refine,
        })
    }
}

fn report(rows_in: usize, rows_out: usize, bytes: u64) -> StageReport {
    StageReport { rows_in: rows_in as u64, rows_out: rows_out as u64, bytes }
}

/// One query on its way.
struct Query<'a> {
    /// As the caller gave it.
    raw: ArrayView1<'a, f32>,
    /// Normalised under cosine.
    q: Vec<f32>,
    k: usize,
    /// The allowed places of each partition, and how many.
    allowed: &'a [(Bitmap, usize)],
    vectors: &'a dyn Reranker,
}

impl Squash {
    /// The best `k` of each row of `q` `[queries, d]` among the rows that match, with their scores by whole vectors, which `vectors` gives by id.
    /// Fewer only if fewer match. Queries run in parallel; nothing depends on how many do.
    ///
    /// # Errors
    /// [`Error::KZero`]; [`Error::DimMismatch`], [`Error::NonFinite`] or [`Error::ZeroVector`] for a query, [`Error::Core`] for one so large
    /// that distances overflow; [`Error::Filter`]; what `vectors` says.
    pub fn search(
        &self,
        q: ArrayView2<'_, f32>,
        k: usize,
        vectors: &dyn Reranker,
        options: &SquashOptions<'_>,
    ) -> Result<(Vec<Vec<Hit>>, Stages), Error> {
        if k == 0 {
            return Err(Error::KZero);
        }
        Error::check_dim("queries", self.dim(), q.ncols())?;
        Error::check_finite(q, 0)?;
        let n = self.len();
        let mut bytes = 0;
        let rows = match options.filter {
            Some(filter) => self.attributes.rows(filter, &self.ids, &mut bytes)?,
            None => Bitmap::all(n),
        };
        let allowed: Vec<(Bitmap, usize)> = self
            .partitions
            .iter()
            .map(|p| {
                let places = p.allowed(&rows);
                let count = places.count();
                (places, count)
            })
            .collect();
        let one = |i: usize| {
            let raw = q.row(i);
            let mut admitted = raw.to_vec();
            self.metric.admit(i, &mut admitted)?;
            let query = Query { raw, q: admitted, k: k.min(n), allowed: &allowed, vectors };
            if options.exact { self.exact(&query) } else { self.staged(&query, options) }
        };
        let found: Vec<(Vec<Hit>, Stages)> = (0..q.nrows()).into_par_iter().map(one).collect::<Result<_, Error>>()?;
        let mut stages: Stages = found.iter().map(|(_, stages)| *stages).sum();
        stages.filter = report(n, rows.count(), bytes);
        Ok((found.into_iter().map(|(hits, _)| hits).collect(), stages))
    }

    fn staged(&self, query: &Query<'_>, options: &SquashOptions<'_>) -> Result<(Vec<Hit>, Stages), Error> {
        let keep = query.k.saturating_mul(options.refine.max(1));
        // So few rows cost little, and under a strict filter the nearest may lie anywhere.
        let few = keep.saturating_mul(10);
        let (visited, matching) = self.choose(query, options.stretch, few);
        let all = query.allowed.iter().map(|(_, count)| count).sum();
        let row_bytes = 4 * self.dim() as u64;
        let mut stages = Stages { partitions: report(all, matching, self.partitions.len() as u64 * row_bytes), ..Stages::default() };
        let mut ids = vec![];
        for p in visited {
            let (partition, (allowed, count)) = (&self.partitions[p], &query.allowed[p]);
            let y = partition.osq.query(&query.q)?;
            let pass = ((*count as f64 * f64::from(options.share)) as usize).max(few);
            let (places, bytes) = partition.coarse(&y, options.coarse, allowed, pass)?;
            stages.coarse = stages.coarse + report(*count, places.len(), bytes);
            let pass = places.len();
            let best = partition.look_up(&y, places, keep)?;
            stages.look_up = stages.look_up + report(pass, best.len(), (pass * partition.codes.columns()) as u64);
            ids.extend(best.into_iter().map(|(_, place)| self.ids[partition.rows[place as usize] as usize]));
        }
        let mut best = TopK::new(query.k);
        self.refine(query, &ids, &mut best)?;
        let hits = self.hits(best);
        stages.refine = report(ids.len(), hits.len(), ids.len() as u64 * row_bytes);
        Ok((hits, stages))
    }

    /// The partitions to visit, the nearest first, with at least `few` matching rows if there are so many, and how many there are.
    fn choose(&self, query: &Query<'_>, stretch: f32, few: usize) -> (Vec<usize>, usize) {
        let distance = |p: usize| self.centroids.row(p).iter().zip(&query.q).map(|(c, q)| (c - q) * (c - q)).sum::<f32>().sqrt();
        let mut order: Vec<(f32, usize)> = (0..self.partitions.len()).map(|p| (distance(p), p)).collect();
        order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let limit = stretch * order.first().map_or(0.0, |first| first.0);
        let (mut visited, mut matching) = (vec![], 0);
        for (distance, p) in order {
            if distance > limit && matching >= few {
                break;
            }
            if query.allowed[p].1 > 0 {
                visited.push(p);
                matching += query.allowed[p].1;
            }
        }
        (visited, matching)
    }

    /// Scores whole vectors.
    fn refine(&self, query: &Query<'_>, ids: &[u64], best: &mut TopK) -> Result<(), Error> {
        let mut scores = vec![0.0; ids.len()];
        query.vectors.score(self.metric, query.raw, ids, &mut scores)?;
        ids.iter().zip(&scores).for_each(|(id, score)| best.push(self.metric.order().key(*score), *id));
        best.tighten();
        Ok(())
    }

    fn hits(&self, best: TopK) -> Vec<Hit> {
        let order = self.metric.order();
        best.into_sorted().into_iter().map(|(key, id)| Hit { id, score: order.key(key) }).collect()
    }

    fn exact(&self, query: &Query<'_>) -> Result<(Vec<Hit>, Stages), Error> {
        let all = query.allowed.iter().map(|(_, count)| count).sum();
        let bounds = self.partitions.iter().map(|p| p.osq.bounds_of(&p.osq.query(&query.q)?)).collect::<Result<Vec<Bounds>, Error>>()?;
        // The k-th smallest upper bound: k rows are no farther.
        let mut most = TopK::new(query.k);
        self.sums(query, |p, block| bounds[p].most.sums(block), |p, sum, id| most.push(sum + bounds[p].slack, id));
        let most = most.into_sorted();
        let limit = if most.len() == query.k { most[query.k - 1].0 } else { f32::INFINITY };
        let mut candidates = vec![];
        let keep = |p: usize, sum: f32, id: u64| {
            let least = sum - bounds[p].slack;
            if least <= limit {
                candidates.push((least, id));
            }
        };
        self.sums(query, |p, block| bounds[p].least.sums(block), keep);
        candidates.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (mut best, mut read) = (TopK::new(query.k), 0);
        while read < candidates.len() {
            // The squared distance of the k-th so far.
            let worst = if self.metric == Metric::Cosine { 2.0 + 2.0 * best.worst() } else { best.worst() };
            let part = &candidates[read..candidates.len().min(read + query.k)];
            let ids: Vec<u64> = part.iter().take_while(|(least, _)| *least <= worst).map(|(_, id)| *id).collect();
            if ids.is_empty() {
                break;
            }
            self.refine(query, &ids, &mut best)?;
            read += ids.len();
        }
        let hits = self.hits(best);
        let code_bytes: usize = self.partitions.iter().zip(query.allowed).map(|(p, (_, count))| 2 * count * p.codes.columns()).sum();
        let stages = Stages {
            partitions: report(all, all, 0),
            look_up: report(all, candidates.len(), code_bytes as u64),
            refine: report(read, hits.len(), (read * 4 * self.dim()) as u64),
            ..Stages::default()
        };
        Ok((hits, stages))
    }

    /// Gives `take` the partition, sum and id of every allowed row.
    fn sums(&self, query: &Query<'_>, sums: impl Fn(usize, &[[u8; BLOCK]]) -> [f32; BLOCK], mut take: impl FnMut(usize, f32, u64)) {
        let mut block = vec![];
        for (p, (partition, (allowed, _))) in self.partitions.iter().zip(query.allowed).enumerate() {
            for (b, word) in allowed.words().iter().enumerate().filter(|(_, word)| **word != 0) {
                partition.osq.unpack(partition.codes.block(b), &mut block);
                let sums = sums(p, &block);
                for lane in (0..BLOCK).filter(|lane| word >> lane & 1 == 1) {
                    take(p, sums[lane], self.ids[partition.rows[b * BLOCK + lane] as usize]);
                }
            }
        }
    }
}
