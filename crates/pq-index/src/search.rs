//! Searching: choose lists, look the codes up, keep the best.

use crate::error::Error;
use crate::flat::keys;
use crate::index::Index;
use crate::list::List;
use crate::metric::Metric;
use crate::model::Model;
use crate::rerank::{Reranker, rerank};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;
use scant_tensor_core::retrieve::{Bitmap, Filter, Hit, TopK};
use scant_tensor_core::scan::{BLOCK, Lut};

/// How to search; the default is the index's own number of lists, without filter and re-ranking.
#[derive(Clone, Copy, Default)]
pub struct SearchOptions<'a> {
    /// Lists to read; with a filter more, until there are enough matching rows.
    pub nprobe: Option<usize>,
    /// Only rows for which it holds.
    pub filter: Option<&'a Filter>,
    /// Scores the best candidates again.
    pub rerank: Option<Rerank<'a>>,
}

/// The second stage of a search.
#[derive(Clone, Copy)]
pub struct Rerank<'a> {
    /// Who scores.
    pub reranker: &'a dyn Reranker,
    /// How many are scored; at least k.
    pub candidates: usize,
}

/// What a query needs for every list.
struct Prepared<'a> {
    q: ArrayView1<'a, f32>,
    /// Entries that add up to the key, less what is the list's. None if vectors are kept as they are.
    lut: Option<Lut>,
    /// Times the shift of a vector.
    sum: f32,
    /// What is the same for all.
    base: f32,
}

impl Index {
    /// The best `k` of each row of `q` `[queries, dim]`, or all if there are fewer: keys by [`f32::total_cmp`], then ids. The scores of codes
    /// are sums of f32 look-ups in a fixed order. Queries run in parallel; nothing depends on how many do.
    ///
    /// # Errors
    /// [`Error::KZero`]; [`Error::DimMismatch`], [`Error::NonFinite`] or [`Error::ZeroVector`] for a query, [`Error::Core`] for one so large that its
    /// products overflow; [`Error::Filter`]; what the reranker says.
    pub fn search(&self, q: ArrayView2<'_, f32>, k: usize, options: &SearchOptions<'_>) -> Result<Vec<Vec<Hit>>, Error> {
        if k == 0 {
            return Err(Error::KZero);
        }
        let mut rotated = q.as_standard_layout().into_owned();
        self.model.admit(rotated.view_mut(), 0)?;
        let allowed = self.allowed(options.filter)?;
        let one = |i: usize| {
            let stage = options.rerank.map_or(k, |r| r.candidates.max(k));
            let best = self.search_one(rotated.row(i), stage, options, allowed.as_ref())?;
            let order = self.metric().order();
            let hits: Vec<Hit> = best.into_sorted().into_iter().map(|(key, id)| Hit { id, score: order.key(key) }).collect();
            match options.rerank {
                None => Ok(hits),
                Some(r) => rerank(r.reranker, self.metric(), q.row(i), &hits, k),
            }
        };
        // A single query does not pay for a task.
        if q.nrows() == 1 {
            return Ok(vec![one(0)?]);
        }
        (0..q.nrows()).into_par_iter().map(one).collect()
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

    fn search_one(&self, q: ArrayView1<'_, f32>, k: usize, options: &SearchOptions<'_>, allowed: Option<&Bitmap>) -> Result<TopK, Error> {
        let mut best = TopK::new(k);
        let prepared = self.prepare(q)?;
        let nprobe = options.nprobe.unwrap_or(self.model.config.nprobe).max(1);
        let enough = if options.filter.is_some() { k.saturating_mul(4) } else { 0 };
        let mut matched = 0;
        for (probed, (key, l)) in self.probe_order(q).into_iter().enumerate() {
            if probed >= nprobe && (matched >= enough || options.filter.is_none()) {
                break;
            }
            matched += self.scan(&self.lists[l], key, &prepared, allowed, &mut best);
        }
        Ok(best)
    }

    /// Lists that hold anything, the nearest first, with their keys.
    fn probe_order(&self, q: ArrayView1<'_, f32>) -> Vec<(f32, usize)> {
        let lists = (0..self.lists.len()).filter(|l| self.lists[*l].len() > 0);
        let mut order: Vec<(f32, usize)> = lists.map(|l| (self.model.list_key(q, l), l)).collect();
        order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        order
    }

    fn prepare<'a>(&self, q: ArrayView1<'a, f32>) -> Result<Prepared<'a>, Error> {
        let model = &*self.model;
        let mut prepared = Prepared { q, lut: None, sum: 0.0, base: 0.0 };
        let Some(coder) = &model.coder else { return Ok(prepared) };
        let (quantizer, layout) = (coder.quantizer(), coder.layout());
        let mut query = q.to_vec();
        if model.relative() {
            query.iter_mut().zip(model.centroids.row(0)).for_each(|(q, c)| *q -= c);
        }
        let mut tables = vec![0.0; layout.tables * layout.entries()];
        if Model::by_distance(&model.config, coder) && quantizer.distances(&query, &mut tables) {
            prepared.lut = Some(Lut::new(layout.width(), tables)?);
            return Ok(prepared);
        }
        if model.config.metric == Metric::L2 && !model.config.residual {
            prepared.base = query.iter().map(|v| v * v).sum();
        }
        let times = if model.config.metric == Metric::L2 { -2.0 } else { -1.0 };
        query.iter_mut().for_each(|v| *v *= times);
        prepared.sum = query.iter().sum();
        quantizer.products(&query, &mut tables);
        prepared.lut = Some(Lut::new(layout.width(), tables)?);
        Ok(prepared)
    }

    /// Offers the rows of a list; returns how many may be found.
    fn scan(&self, list: &List, list_key: f32, prepared: &Prepared<'_>, allowed: Option<&Bitmap>, best: &mut TopK) -> usize {
        let model = &*self.model;
        let (Some(coder), Some(lut)) = (&model.coder, &prepared.lut) else {
            return self.scan_full(list, prepared, allowed, best);
        };
        let adds_list = model.config.residual && !Model::by_distance(&model.config, coder);
        let base = if adds_list { list_key } else { prepared.base };
        let mut matched = 0;
        for b in 0..list.codes.blocks() {
            let word = self.word(list, b, allowed);
            if word == 0 {
                continue;
            }
            matched += word.count_ones() as usize;
            let mut keys = lut.sums(list.codes.block(b));
            let lanes = (list.len() - b * BLOCK).min(BLOCK);
            for (lane, key) in keys.iter_mut().enumerate().take(lanes) {
                let place = b * BLOCK + lane;
                if let Some(factor) = &list.factor {
                    *key *= factor.get(place);
                }
                if let Some(shift) = &list.shift {
                    *key += shift.get(place) * prepared.sum;
                }
                if let Some(norm) = &list.norm {
                    *key += norm.get(place);
                }
                *key += base;
            }
            self.offer(list, b, word, &keys, best);
        }
        matched
    }

    fn scan_full(&self, list: &List, prepared: &Prepared<'_>, allowed: Option<&Bitmap>, best: &mut TopK) -> usize {
        let (dim, mut matched) = (self.model.dim, 0);
        let q = prepared.q.as_slice().unwrap_or_default();
        for (b, rows) in list.full.chunks(BLOCK * dim).enumerate() {
            let word = self.word(list, b, allowed);
            if word != 0 {
                matched += word.count_ones() as usize;
                let mut found = [0.0; BLOCK];
                keys(self.metric(), q, rows, &mut found);
                self.offer(list, b, word, &found, best);
            }
        }
        matched
    }

    fn offer(&self, list: &List, block: usize, word: u64, keys: &[f32; BLOCK], best: &mut TopK) {
        let mut rest = word;
        while rest != 0 {
            let lane = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            if keys[lane] <= best.worst() {
                best.push(keys[lane], self.ids[list.rows[block * BLOCK + lane] as usize]);
            }
        }
    }

    /// The rows of a block that may be found, a bit each.
    fn word(&self, list: &List, block: usize, allowed: Option<&Bitmap>) -> u64 {
        let rows = &list.rows[block * BLOCK..(block * BLOCK + BLOCK).min(list.len())];
        match allowed {
            None => u64::MAX >> (BLOCK - rows.len()),
            // In a flat index the place is the row.
            Some(allowed) if self.lists.len() == 1 => allowed.words()[block],
            Some(allowed) => rows.iter().rev().fold(0, |word, row| word << 1 | u64::from(allowed.contains(*row as usize))),
        }
    }

    /// The centroids' keys are a search too: how balanced lists are, as [`imbalance`](scant_tensor_core::kmeans::Clusters::imbalance).
    pub fn imbalance(&self) -> f64 {
        let n: f64 = self.ids.len() as f64;
        self.lists.len() as f64 * self.lists.iter().map(|l| (l.len() as f64).powi(2)).sum::<f64>() / (n * n).max(1.0)
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
