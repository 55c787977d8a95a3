//! Searching: choose lists, scan them for groups of queries, perhaps score the best again.

use crate::cutoff::Cutoff;
use crate::error::Error;
use crate::flat::keys;
use crate::index::Index;
use crate::metric::Metric;
use crate::model::Model;
use crate::rerank::{Reranker, rescore};
use crate::scan::{Prepared, Rows, Visit, Worth};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;
use scant_tensor_core::retrieve::{Bitmap, Filter, Hit, TopK};
use scant_tensor_core::scan::{BLOCK, Lut, Tables, Weights};
use std::borrow::Cow;
use std::sync::OnceLock;

/// Bytes of the tables of queries that are scanned for together: they stay in the second-level cache.
const GROUP_BYTES: usize = 128 << 10;
/// Queries that are scanned for together at most.
const GROUP: usize = 32;
/// Bytes of the tables of queries that take their turns at lists: the more of them meet at a list, the fewer times it is fetched.
const ROUND_BYTES: usize = 512 << 10;
/// Blocks that are worth a task of their own.
const TASK: usize = 512;
/// With a reranker, so few matching rows are all scored by it, and by nothing else.
const FEW: usize = 4096;

/// How to search; the default is the index's own number of lists, without filter and re-ranking.
#[derive(Clone, Copy, Default)]
pub struct SearchOptions<'a> {
    /// Lists to read; with a filter more, until there are enough matching rows.
    pub nprobe: Option<usize>,
    /// Only rows for which it holds.
    pub filter: Option<&'a Filter>,
    /// Scores the best candidates again.
    pub rerank: Option<Rerank<'a>>,
    /// Shortens the list of results. Without a reranker the scan looks for nothing beyond the cut.
    pub cutoff: Option<&'a Cutoff>,
}

impl SearchOptions<'_> {
    /// Shortens the hits of each query.
    pub(crate) fn cut(&self, q: ArrayView2<'_, f32>, hits: &mut [Vec<Hit>]) -> Result<(), Error> {
        let Some(cutoff) = self.cutoff else { return Ok(()) };
        q.rows().into_iter().zip(hits).try_for_each(|(q, hits)| cutoff.apply(q, hits).map(|_| ()))
    }
}

/// The second stage of a search.
#[derive(Clone, Copy)]
pub struct Rerank<'a> {
    /// Who scores.
    pub reranker: &'a dyn Reranker,
    /// How many are scored; at least k.
    pub candidates: usize,
}

/// A list that a query visits, and the part of the key that is the same for all rows of it.
type Stop = (usize, f32);

impl Index {
    /// The best `k` of each row of `q` `[queries, dim]`, or all if there are fewer: keys by [`f32::total_cmp`], then ids. The scores of codes
    /// are sums of f32 look-ups in a fixed order. Queries run in groups and in parallel; nothing depends on how many do.
    ///
    /// # Errors
    /// [`Error::KZero`]; [`Error::DimMismatch`], [`Error::NonFinite`] or [`Error::ZeroVector`] for a query, [`Error::Core`] for one so large that its
    /// products overflow; [`Error::Filter`]; what the reranker says.
    pub fn search(&self, q: ArrayView2<'_, f32>, k: usize, options: &SearchOptions<'_>) -> Result<Vec<Vec<Hit>>, Error> {
        let mut hits = self.search_uncut(q, k, options)?;
        options.cut(q, &mut hits)?;
        Ok(hits)
    }

    /// As [`search`](Self::search), with the hits that the cut-off is yet to take away: where it falls may depend on those of other shards.
    pub(crate) fn search_uncut(&self, q: ArrayView2<'_, f32>, k: usize, options: &SearchOptions<'_>) -> Result<Vec<Vec<Hit>>, Error> {
        if k == 0 {
            return Err(Error::KZero);
        }
        let mut rotated = q.as_standard_layout().into_owned();
        self.model.admit(rotated.view_mut(), 0)?;
        let allowed = self.allowed(options.filter)?;
        let order = self.metric().order();
        if options.cutoff.is_some() && self.metric() == Metric::L2 {
            return Err(Error::Combination { what: "a cut-off, which takes similarities,", with: "squared distances" });
        }
        if let (Some(r), Some(allowed)) = (options.rerank, allowed.as_ref().filter(|a| a.count() <= FEW)) {
            let hits: Vec<Hit> = allowed.iter().map(|row| Hit { id: self.ids[row], score: 0.0 }).collect();
            return (0..q.nrows()).into_par_iter().map(|i| rescore(r.reranker, self.metric(), q.row(i), &hits, k)).collect();
        }
        let stage = options.rerank.map_or(k, |r| r.candidates.max(k));
        let bounds: Vec<f32> = match options.cutoff.filter(|_| options.rerank.is_none()) {
            Some(cutoff) => q.rows().into_iter().map(|q| Ok(order.key(cutoff.radius(q)?))).collect::<Result<_, Error>>()?,
            None => vec![f32::INFINITY; q.nrows()],
        };
        let best = self.best(rotated.view(), &bounds, stage, options, allowed.as_ref())?;
        let finish = |(i, best): (usize, TopK)| {
            let hits: Vec<Hit> = best.into_sorted().into_iter().map(|(key, id)| Hit { id, score: order.key(key) }).collect();
            match options.rerank {
                None => Ok(hits),
                Some(r) => rescore(r.reranker, self.metric(), q.row(i), &hits, k),
            }
        };
        if options.rerank.is_none() {
            return best.into_iter().enumerate().map(finish).collect();
        }
        best.into_par_iter().enumerate().map(finish).collect()
    }

    /// Rows that may be found; `None` if all may.
    fn allowed(&self, filter: Option<&Filter>) -> Result<Option<Bitmap>, Error> {
        let mut rows = match filter {
            Some(filter) => filter.rows(&self.columns, &self.ids)?,
            None if self.live.count() == self.ids.len() => return Ok(None),
            None => return Ok(Some(self.live.clone())),
        };
        rows.intersect(&self.live);
        Ok(Some(rows))
    }

    /// The best `k` of each admitted query, of keys up to its bound.
    fn best(
        &self,
        q: ArrayView2<'_, f32>,
        bounds: &[f32],
        k: usize,
        options: &SearchOptions<'_>,
        allowed: Option<&Bitmap>,
    ) -> Result<Vec<TopK>, Error> {
        let words = Words { index: self, allowed, lists: allowed.map_or(vec![], |_| self.lists.iter().map(|_| OnceLock::new()).collect()) };
        let threads = rayon::current_num_threads();
        let most = if self.lists.len() > 1 { self.queries_within(ROUND_BYTES) } else { self.together() };
        let group = most.min(q.nrows().div_ceil(threads)).max(1);
        let run = |(queries, bounds): (ArrayView2<'_, f32>, &[f32])| {
            let best = bounds.iter().map(|bound| TopK::below(k, *bound)).collect();
            self.group(queries, best, k, options, &words)
        };
        if q.nrows() <= group {
            return run((q, bounds));
        }
        let groups: Vec<_> = q.axis_chunks_iter(Axis(0), group).zip(bounds.chunks(group)).collect();
        let found: Result<Vec<Vec<TopK>>, Error> = groups.into_par_iter().map(run).collect();
        Ok(found?.into_iter().flatten().collect())
    }

    /// Queries whose tables fit.
    fn queries_within(&self, bytes: usize) -> usize {
        (bytes / self.model.coder.as_ref().map_or(self.model.dim * 4, |c| c.layout().query_bytes()).max(1)).max(1)
    }

    /// Queries that are scanned for together.
    fn together(&self) -> usize {
        self.queries_within(GROUP_BYTES).min(GROUP)
    }

    /// The same for queries that take their turns, list by list.
    fn group(
        &self,
        q: ArrayView2<'_, f32>,
        mut best: Vec<TopK>,
        k: usize,
        options: &SearchOptions<'_>,
        words: &Words<'_>,
    ) -> Result<Vec<TopK>, Error> {
        let prepared: Vec<Prepared<'_>> =
            q.as_slice().unwrap_or_default().chunks_exact(self.model.dim).map(|q| self.prepare(q)).collect::<Result<_, _>>()?;
        let mut stops: Vec<(bool, usize, usize, f32)> = vec![];
        let keys = self.model.list_keys(&prepared.iter().map(|query| query.q).collect::<Vec<_>>());
        for (i, (query, keys)) in prepared.iter().zip(keys).enumerate() {
            let route = self.route(query, keys, k, options, words);
            // First everyone's nearest list, which brings the k-th key down for all others.
            stops.extend(route.into_iter().enumerate().map(|(rank, (list, base))| (rank > 0, list, i, base)));
        }
        stops.sort_unstable_by_key(|(later, list, query, _)| (*later, *list, *query));
        for visits in stops.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let list = visits[0].1;
            let mut of_list: Vec<Visit<'_>> = vec![];
            let mut rest = best.iter_mut().enumerate();
            for (.., query, base) in visits {
                // Queries come in ascending order.
                let Some((_, best)) = rest.find(|(i, _)| i == query) else { break };
                of_list.push(Visit { query: &prepared[*query], base: *base, best });
            }
            of_list.chunks_mut(self.together()).for_each(|visits| self.scan(list, words.of(list), visits));
        }
        Ok(best)
    }

    /// The lists that a query visits, the nearest first. With a filter more than `nprobe`, until there are enough matching rows.
    fn route(&self, query: &Prepared<'_>, keys: Vec<f32>, k: usize, options: &SearchOptions<'_>, words: &Words<'_>) -> Vec<Stop> {
        let model = &*self.model;
        let found = keys.into_iter().enumerate();
        let mut order: Vec<Stop> = found.filter(|(l, _)| self.lists[*l].len() > 0).collect();
        let nearest = |a: &Stop, b: &Stop| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0));
        let nprobe = options.nprobe.unwrap_or(model.config.nprobe).max(1);
        if options.filter.is_none() {
            if nprobe < order.len() {
                order.select_nth_unstable_by(nprobe, nearest);
                order.truncate(nprobe);
            }
            order.sort_unstable_by(nearest);
        } else {
            order.sort_unstable_by(nearest);
            let (enough, mut matched) = (k.saturating_mul(4), 0usize);
            let mut probed = 0;
            order.retain(|(list, _)| {
                let visited = probed < nprobe || matched < enough;
                if visited {
                    matched += words.count(*list);
                    probed += 1;
                }
                visited
            });
        }
        if !self.adds_list() {
            order.iter_mut().for_each(|(_, base)| *base = query.base);
        }
        order
    }

    fn prepare<'a>(&self, q: &'a [f32]) -> Result<Prepared<'a>, Error> {
        let model = &*self.model;
        let mut prepared = Prepared { q, worth: Worth::Whole, sum: 0.0, base: 0.0 };
        let Some(coder) = &model.coder else { return Ok(prepared) };
        let (quantizer, layout) = (coder.quantizer(), coder.layout());
        let mut query = q.to_vec();
        if model.relative() {
            query.iter_mut().zip(model.centroids.row(0)).for_each(|(q, c)| *q -= c);
        }
        let mut values = vec![0.0; if layout.linear { layout.columns() } else { layout.tables * layout.entries() }];
        let by_distance = Model::by_distance(&model.config, coder) && quantizer.distances(&query, &mut values);
        if !by_distance {
            let l2 = model.config.metric == Metric::L2;
            if l2 && !model.config.residual {
                prepared.base = query.iter().map(|v| v * v).sum();
            }
            query.iter_mut().for_each(|v| *v *= if l2 { -2.0 } else { -1.0 });
            prepared.sum = query.iter().sum();
        }
        if layout.linear {
            let base = quantizer.weights(&query, &mut values[..layout.tables]);
            prepared.worth = Worth::Linear(Weights::new(base, &values)?);
            return Ok(prepared);
        }
        if !by_distance {
            quantizer.products(&query, &mut values);
        }
        let lut = Lut::new(layout.width(), values)?;
        let tables = Tables::spanning(&lut);
        prepared.worth = Worth::Tables(lut, tables);
        Ok(prepared)
    }

    /// Offers the rows of a list to its visitors. A few of them share a long list's blocks out to threads.
    fn scan(&self, list: usize, allow: Option<&[u64]>, visits: &mut [Visit<'_>]) {
        let list = &self.lists[list];
        let blocks = list.len().div_ceil(BLOCK);
        let rows = Rows { list, ids: &self.ids, allow: allow.map(Cow::Borrowed), blocks: 0..blocks };
        let tasks = if self.lists.len() == 1 && visits.len() < rayon::current_num_threads() { blocks / TASK } else { 0 };
        if tasks < 2 {
            return self.scan_rows(&rows, visits);
        }
        let rows = if self.model.coder.is_some() { rows.sampled(visits) } else { rows };
        let size = blocks.div_ceil(tasks.min(4 * rayon::current_num_threads()));
        let parts: Vec<_> = (0..blocks).step_by(size).map(|at| at..(at + size).min(blocks)).collect();
        let shared: &[Visit<'_>] = visits;
        let found: Vec<Vec<TopK>> = parts
            .into_par_iter()
            .map(|blocks| {
                let mut best: Vec<TopK> = shared.iter().map(|v| v.best.as_empty()).collect();
                let own = shared.iter().zip(&mut best).map(|(v, best)| Visit { query: v.query, base: v.base, best });
                self.scan_rows(&rows.within(blocks), &mut own.collect::<Vec<_>>());
                best
            })
            .collect();
        for part in found {
            visits.iter_mut().zip(part).for_each(|(visit, part)| visit.best.take(part));
        }
    }

    fn scan_rows(&self, rows: &Rows<'_>, visits: &mut [Visit<'_>]) {
        if self.model.coder.is_some() {
            return rows.scan(visits);
        }
        let (dim, list) = (self.model.dim, rows.list);
        for block in rows.blocks.clone() {
            let places = BLOCK * block..(BLOCK * block + BLOCK).min(list.len());
            let word = rows.allow.as_deref().map_or(u64::MAX, |allow| allow[block]) & u64::MAX >> (BLOCK - places.len());
            if word == 0 {
                continue;
            }
            let x = &list.full[places.start * dim..places.end * dim];
            for visit in &mut *visits {
                let mut found = [0.0; BLOCK];
                keys(self.metric(), visit.query.q, x, &mut found);
                for (lane, place) in places.clone().enumerate() {
                    if word >> lane & 1 == 1 && found[lane] <= visit.best.worst() {
                        visit.best.push(found[lane], self.ids[list.rows[place] as usize]);
                    }
                }
            }
        }
    }

    /// The keys of rows, each a list and a place in it.
    pub(crate) fn keys_at(&self, q: ArrayView1<'_, f32>, places: &[(u32, u32)]) -> Result<Vec<f32>, Error> {
        let mut rotated = q.to_owned().insert_axis(Axis(0));
        self.model.admit(rotated.view_mut(), 0)?;
        let q = rotated.as_slice().unwrap_or_default();
        let query = self.prepare(q)?;
        let bases = if self.adds_list() { self.model.list_keys(&[q]).concat() } else { vec![query.base; self.lists.len()] };
        let key = |(list, place): &(u32, u32)| {
            let (base, list, place) = (bases[*list as usize], &self.lists[*list as usize], *place as usize);
            let worth = match &query.worth {
                Worth::Whole => {
                    let mut key = [0.0];
                    keys(self.metric(), q, &list.full[place * self.model.dim..][..self.model.dim], &mut key);
                    return key[0];
                }
                Worth::Tables(lut, _) => lut.score(&list.codes, place),
                Worth::Linear(weights) => weights.score(&list.codes, place),
            };
            list.key(place, worth, query.sum, base)
        };
        Ok(places.iter().map(key).collect())
    }

    /// Whether a list's own key is part of the keys of its rows.
    fn adds_list(&self) -> bool {
        let model = &*self.model;
        model.coder.as_ref().is_some_and(|c| model.config.residual && !Model::by_distance(&model.config, c))
    }

    /// The centroids' keys are a search too: how balanced lists are, as [`imbalance`](scant_tensor_core::kmeans::Clusters::imbalance).
    pub fn imbalance(&self) -> f64 {
        let n: f64 = self.ids.len() as f64;
        self.lists.len() as f64 * self.lists.iter().map(|l| (l.len() as f64).powi(2)).sum::<f64>() / (n * n).max(1.0)
    }
}

/// Which rows of each list may be found, a word for each block; made when a list is first visited.
struct Words<'a> {
    index: &'a Index,
    allowed: Option<&'a Bitmap>,
    lists: Vec<OnceLock<Vec<u64>>>,
}

impl Words<'_> {
    fn of(&self, list: usize) -> Option<&[u64]> {
        let allowed = self.allowed?;
        // In a flat index the place is the row.
        if self.lists.len() == 1 {
            return Some(allowed.words());
        }
        let word = |rows: &[u32]| rows.iter().rev().fold(0, |word, row| word << 1 | u64::from(allowed.contains(*row as usize)));
        Some(self.lists[list].get_or_init(|| self.index.lists[list].rows.chunks(BLOCK).map(word).collect()))
    }

    fn count(&self, list: usize) -> usize {
        self.of(list).map_or(self.index.lists[list].len(), |words| words.iter().map(|w| w.count_ones() as usize).sum())
    }
}

/// Exact neighbours, by brute force over f32 vectors: what recall is measured against. `[queries, k]` row numbers, in order.
///
/// # Errors
/// As [`Index::search`].
pub fn exact(metric: Metric, base: ArrayView2<'_, f32>, q: ArrayView2<'_, f32>, k: usize) -> Result<Array2<u64>, Error> {
    let mut trained = crate::builder::IndexBuilder::new(metric).train(&base)?;
    trained.add_source(&base)?;
    let hits = trained.finish().search(q, k, &SearchOptions::default())?;
    let k = k.min(base.len_of(Axis(0)));
    Ok(Array2::from_shape_fn((q.nrows(), k), |(i, j)| hits[i][j].id))
}
