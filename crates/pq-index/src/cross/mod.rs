//! Search with a scorer that cannot be split into vectors: a cross-encoder, late interaction, a compressor.
//!
//! ANNCUR (Yadav, Monath, Angell, Zaheer, McCallum: Efficient Nearest Neighbor Search for Cross-Encoder Models using Matrix Factorization, EMNLP
//! 2022): some anchor queries are scored with all items once. A new query is scored with a few anchor items; the row of anchor scores that
//! explains those best predicts all the others, and the best of them are scored. ADACUR (Yadav, Monath, Zaheer, McCallum 2023, arXiv 2305.02996)
//! spends the same calls in rounds, each of which learns from all before it.
//!
//! Different from the papers: a ridge takes the place of the pseudo-inverse, which fails where there are about as many anchor items as anchor
//! queries, and scores are centred by item and by query.

mod anchors;
mod factor;
mod persist;

pub use anchors::AnchorItems;

use crate::error::Error;
use factor::Factor;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use scant_tensor_core::linalg::matmul;
use scant_tensor_core::retrieve::{Bitmap, Hit, Order, TopK};
use std::fmt;
use std::time::Duration;

/// The constant column's square in units of a mean column's: so large that the ridge does not hold the query's mean back.
const CONSTANT: f64 = 100.0;
/// From which [`Cur::choose_ridge`] chooses.
const RIDGES: [f64; 7] = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];
/// Items on which ridges are compared, at most.
const SAMPLE: usize = 1024;

/// What a scorer says when it fails.
pub type ScorerError = Box<dyn std::error::Error + Send + Sync>;

/// Settings of a [`Cur`].
#[derive(Clone, Debug)]
pub struct CurParams {
    anchors: AnchorItems,
    ridge: f64,
    seed: u64,
}

impl Default for CurParams {
    fn default() -> CurParams {
        CurParams { anchors: AnchorItems::Random, ridge: 0.1, seed: 1234 }
    }
}

impl CurParams {
    /// How anchor items are chosen; at random by default.
    pub fn anchors(mut self, anchors: AnchorItems) -> Self {
        self.anchors = anchors;
        self
    }

    /// The ridge, in units of the mean eigenvalue of the anchors' Gram matrix; 0.1 by default, 0.3 to 1 for noisy scores.
    pub fn ridge(mut self, ridge: f64) -> Self {
        self.ridge = ridge;
        self
    }

    /// The seed of the anchors.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Takes the scores of the anchor queries with all items, `[anchor queries, items]`, larger is better. Scores near saturation (outputs of a
    /// sigmoid) are far from low rank: give logits.
    ///
    /// # Errors
    /// [`Error::EmptyTraining`] without scores, [`Error::NonFinite`], [`Error::TooManyRows`], [`Error::OutOfRange`] for a ridge that is not above 0.
    pub fn fit(&self, mut scores: Array2<f32>) -> Result<Cur, Error> {
        if scores.is_empty() {
            return Err(Error::EmptyTraining);
        }
        if u32::try_from(scores.ncols()).is_err() {
            return Err(Error::TooManyRows { rows: scores.ncols() });
        }
        if !(self.ridge > 0.0 && self.ridge.is_finite()) {
            return Err(Error::OutOfRange { what: "the ridge", value: self.ridge, range: "above 0" });
        }
        Error::check_finite(scores.view(), 0)?;
        let queries = scores.nrows() as f64;
        let mean = scores.map_axis(Axis(0), |column| (column.iter().map(|v| f64::from(*v)).sum::<f64>() / queries) as f32);
        scores -= &mean;
        let anchors = anchors::order(self.anchors, scores.view(), self.seed)?;
        Ok(Cur::from_parts(scores.as_standard_layout().into_owned(), mean.to_vec(), anchors, self.ridge))
    }
}

/// Items that can be searched with few calls of a scorer.
///
/// ```
/// use ndarray::Array2;
/// use scant_pq_index::cross::{CurParams, CurSearch};
/// // A scorer of which only its values are known.
/// let wave = |query: usize, item: usize, q: f32, i: f32| (query as f32 * q).sin() * (item as f32 * i).cos();
/// let score = |query: usize, item: usize| (wave(query, item, 0.7, 0.37) + wave(query, item, 1.3, 0.11)).tanh();
/// let anchors = Array2::from_shape_fn((40, 500), |(query, item)| score(query, item));
/// let cur = CurParams::default().fit(anchors)?;
/// let mut calls = 0;
/// let found = cur.search(
///     &mut |item| {
///         calls += 1;
///         Ok(score(90, item as usize))
///     },
///     3,
///     &CurSearch::new(60),
/// )?;
/// let best = (0..500).max_by(|a, b| score(90, *a).total_cmp(&score(90, *b))).unwrap();
/// assert_eq!((found.hits[0].id, calls), (best as u64, 60));
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Cur {
    /// Less the item's mean, `[anchor queries, items]`.
    scores: Array2<f32>,
    mean: Vec<f32>,
    /// All items, the best anchors first.
    anchors: Vec<u32>,
    ridge: f64,
    /// The mean squared length of a column.
    energy: f64,
}

/// How a query spends its calls.
#[derive(Clone, Copy, Debug)]
pub struct CurSearch<'a> {
    budget: usize,
    rounds: Rounds,
    start: &'a [u32],
}

#[derive(Clone, Copy, Debug)]
enum Rounds {
    Once { anchors: usize },
    Adaptive { rounds: usize },
}

impl<'a> CurSearch<'a> {
    /// So many calls: a quarter for anchors, the rest for the items that these let expect the best scores.
    pub fn new(budget: usize) -> CurSearch<'a> {
        CurSearch { budget, rounds: Rounds::Once { anchors: budget.div_ceil(4) }, start: &[] }
    }

    /// Calls for anchors, in place of a quarter.
    pub fn anchors(mut self, anchors: usize) -> Self {
        self.rounds = Rounds::Once { anchors };
        self
    }

    /// ADACUR: rounds of equally many calls. Better for few calls and small k.
    pub fn adaptive(mut self, rounds: usize) -> Self {
        self.rounds = Rounds::Adaptive { rounds };
        self
    }

    /// Items to score before the anchors, such as the best of a cheap index.
    pub fn start(mut self, items: &'a [u32]) -> Self {
        self.start = items;
        self
    }

    /// Calls of each round.
    fn sizes(&self, budget: usize) -> Vec<usize> {
        match self.rounds {
            Rounds::Once { anchors } => {
                let anchors = anchors.clamp(1, budget);
                vec![anchors, budget - anchors]
            }
            Rounds::Adaptive { rounds } => {
                let rounds = rounds.clamp(1, budget);
                (0..rounds).map(|r| (r + 1) * budget / rounds - r * budget / rounds).collect()
            }
        }
    }
}

/// What [`Cur::search`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct CurHits {
    /// The best of all scored items, with the scorer's own scores; ids are item numbers.
    pub hits: Vec<Hit>,
    /// Calls of the scorer.
    pub calls: usize,
    /// Share of the anchors' scores, as a length, that the prediction did not explain: near 1 for a query unlike the anchor queries, whose results
    /// are then little better than chance. 0 if no prediction was needed.
    pub residual: f32,
}

impl Cur {
    fn from_parts(scores: Array2<f32>, mean: Vec<f32>, anchors: Vec<u32>, ridge: f64) -> Cur {
        let sum: f64 = scores.iter().map(|v| f64::from(*v).powi(2)).sum();
        // All scores equal: any unit will do.
        let energy = if sum > 0.0 { sum / scores.ncols() as f64 } else { 1.0 };
        Cur { scores, mean, anchors, ridge, energy }
    }

    /// Items.
    pub fn len(&self) -> usize {
        self.mean.len()
    }

    /// Never: there is at least one item.
    pub fn is_empty(&self) -> bool {
        self.mean.is_empty()
    }

    /// Anchor queries.
    pub fn anchor_queries(&self) -> usize {
        self.scores.nrows()
    }

    /// The ridge.
    pub fn ridge(&self) -> f64 {
        self.ridge
    }

    /// The ridge that predicts each anchor query best from the others, for searches with so many anchor items.
    ///
    /// A leave-one-out error needs no refitting: the residual of a query divided by 1 less its leverage. O(k_q^2 items) for each ridge tried.
    pub fn choose_ridge(mut self, anchors: usize) -> Cur {
        let anchors = self.anchors[..anchors.clamp(1, self.len())].to_vec();
        let stride = self.len().div_ceil(SAMPLE);
        let sample: Vec<usize> = (0..self.len()).step_by(stride).collect();
        let sample = self.scores.select(Axis(1), &sample);
        let error = |ridge: f64| Cur { ridge, ..self.clone() }.leave_one_out(&anchors, sample.view());
        // The first of equal ones.
        let best = RIDGES.into_iter().map(|ridge| (error(ridge), ridge)).min_by(|a, b| a.0.total_cmp(&b.0));
        self.ridge = best.map_or(self.ridge, |best| best.1);
        self
    }

    /// The sum of squared errors on the columns `sample` when each anchor query in turn is predicted from the others.
    fn leave_one_out(&self, anchors: &[u32], sample: ArrayView2<'_, f32>) -> f64 {
        let mut known = Known::new(self, anchors.len());
        anchors.iter().for_each(|item| known.push(*item));
        let queries = self.anchor_queries();
        let mut weights = Array2::<f32>::zeros((queries, queries));
        let mut rest = vec![(0.0, 0.0); queries];
        for q in 0..queries {
            let c: Vec<f64> = known.columns.iter().map(|column| column[q]).collect();
            let v = known.factor.solve(c.clone());
            let leverage: f64 = v.iter().zip(&c).map(|(v, c)| v * c).sum();
            let (row, constant) = known.weights(&v);
            weights.row_mut(q).assign(&row);
            rest[q] = (constant, 1.0 - leverage);
        }
        let mut fitted = Array2::<f32>::zeros(sample.dim());
        matmul(1.0, weights.view(), sample, false, fitted.view_mut());
        let errors = fitted.indexed_iter().map(|((q, i), fitted)| {
            let (constant, left) = rest[q];
            ((f64::from(sample[(q, i)]) - f64::from(*fitted) - constant) / left).powi(2)
        });
        errors.sum()
    }

    /// The best `k` of the items that were scored: exactly `min(budget, items)` calls.
    ///
    /// # Errors
    /// [`Error::KZero`]; [`Error::BudgetTooSmall`] for fewer calls than `k`; [`Error::UnknownId`] for an item to start with that does not exist;
    /// [`Error::Scorer`], with the item, if the scorer fails or its score is not finite.
    pub fn search(&self, scorer: &mut dyn FnMut(u32) -> Result<f32, ScorerError>, k: usize, how: &CurSearch<'_>) -> Result<CurHits, Error> {
        if k == 0 {
            return Err(Error::KZero);
        }
        let budget = how.budget.min(self.len());
        if budget < k.min(self.len()) || budget == 0 {
            return Err(Error::BudgetTooSmall { asked: how.budget, least: k.min(self.len()) });
        }
        if let Some(item) = how.start.iter().find(|item| **item as usize >= self.len()) {
            return Err(Error::UnknownId { id: u64::from(*item) });
        }
        let sizes = how.sizes(budget);
        let order = Order::LargerFirst;
        let mut best = TopK::new(k);
        let mut taken = Bitmap::none(self.len());
        let mut known = Known::new(self, budget - sizes.last().copied().unwrap_or(0));
        // Scores of the known items, less their means.
        let mut seen: Vec<f64> = vec![];
        let (mut calls, mut residual) = (0, 0.0);
        for (round, size) in sizes.iter().enumerate() {
            let picks = if round == 0 {
                let mut picks = vec![];
                for item in how.start.iter().chain(&self.anchors) {
                    if picks.len() < *size && !taken.contains(*item as usize) {
                        taken.insert(*item as usize);
                        picks.push(*item);
                    }
                }
                picks
            } else {
                let expected;
                (expected, residual) = known.predict(&seen);
                let mut picks = TopK::new(*size);
                let free = expected.iter().enumerate().filter(|(item, _)| !taken.contains(*item));
                free.for_each(|(item, score)| picks.push(order.key(*score), item as u64));
                let picks: Vec<u32> = picks.into_sorted().into_iter().map(|(_, item)| item as u32).collect();
                picks.iter().for_each(|item| taken.insert(*item as usize));
                picks
            };
            for item in picks {
                calls += 1;
                let failed = |source| Error::Scorer { item: u64::from(item), source };
                let score = scorer(item).map_err(failed)?;
                if !score.is_finite() {
                    return Err(failed(format!("the score is {score}").into()));
                }
                best.push(order.key(score), u64::from(item));
                if round + 1 < sizes.len() {
                    known.push(item);
                    seen.push(f64::from(score) - f64::from(self.mean[item as usize]));
                }
            }
        }
        let hits = best.into_sorted().into_iter().map(|(key, id)| Hit { id, score: order.key(key) }).collect();
        Ok(CurHits { hits, calls, residual })
    }
}

/// Items whose scores are known, and the factor of their Gram matrix with the ridge.
struct Known<'a> {
    cur: &'a Cur,
    ridge: f64,
    constant: f64,
    columns: Vec<Vec<f64>>,
    factor: Factor,
}

impl<'a> Known<'a> {
    /// For `count` items in the end: the ridge is the same from the start, so that the factor can grow.
    fn new(cur: &'a Cur, count: usize) -> Known<'a> {
        let crowded = (count as f64 / cur.anchor_queries() as f64).max(1.0);
        let (ridge, constant) = (cur.ridge * cur.energy * crowded, CONSTANT * cur.energy);
        Known { cur, ridge, constant, columns: vec![], factor: Factor::default() }
    }

    fn push(&mut self, item: u32) {
        let column: Vec<f64> = self.cur.scores.column(item as usize).iter().map(|v| f64::from(*v)).collect();
        let product = |other: &[f64]| self.constant + column.iter().zip(other).map(|(a, b)| a * b).sum::<f64>();
        let left = self.columns.iter().map(|other| product(other)).collect();
        let diagonal = product(&column) + self.ridge;
        self.factor.push(left, diagonal);
        self.columns.push(column);
    }

    /// What weights of items mean for the anchor queries: their weights, and the constant.
    fn weights(&self, v: &[f64]) -> (Array1<f32>, f64) {
        let mut sum = vec![0.0; self.cur.anchor_queries()];
        for (column, v) in self.columns.iter().zip(v) {
            sum.iter_mut().zip(column).for_each(|(sum, x)| *sum += v * x);
        }
        (sum.into_iter().map(|v| v as f32).collect(), self.constant * v.iter().sum::<f64>())
    }

    /// The expected score of every item, and the share of `seen` that is left unexplained.
    fn predict(&self, seen: &[f64]) -> (Vec<f32>, f32) {
        let v = self.factor.solve(seen.to_vec());
        let (weights, constant) = self.weights(&v);
        let mut expected = Array2::<f32>::zeros((1, self.cur.len()));
        matmul(1.0, weights.view().insert_axis(Axis(0)), self.cur.scores.view(), false, expected.view_mut());
        let expected = expected.iter().zip(&self.cur.mean).map(|(e, mean)| e + mean + constant as f32).collect();
        // (K + ridge) v = seen, so what the fit misses is ridge v.
        let mean = seen.iter().sum::<f64>() / seen.len().max(1) as f64;
        let length = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
        let all = length(&mut seen.iter().map(|s| s - mean));
        let missed = length(&mut v.iter().map(|v| self.ridge * v));
        (expected, if all > 0.0 { (missed / all) as f32 } else { 0.0 })
    }
}

/// What an index for an expensive scorer costs, before it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurPlan {
    /// Calls of the scorer to build: anchor queries times items.
    pub build_calls: u128,
    /// Their time.
    pub build_time: Duration,
    /// Time of the calls of one query.
    pub query_time: Duration,
    /// Bytes of the anchor scores.
    pub bytes: u128,
}

/// Counts the calls: `anchor_queries` times `items` once, `budget` for each query, `per_call` each. The rows of scores are independent of one
/// another, so a build can stop and go on by row.
///
/// ```
/// use scant_pq_index::cross::plan;
/// let plan = plan(500, 10_000, 200, std::time::Duration::from_millis(5));
/// assert_eq!(plan.to_string(), "5000000 calls to build, 6.9 h; 1.00 s of calls a query; 20.0 MB of anchor scores");
/// ```
pub fn plan(anchor_queries: usize, items: usize, budget: usize, per_call: Duration) -> CurPlan {
    let build_calls = anchor_queries as u128 * items as u128;
    let time = |calls: u128| {
        let nanoseconds = calls.saturating_mul(per_call.as_nanos());
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    };
    CurPlan { build_calls, build_time: time(build_calls), query_time: time(budget.min(items) as u128), bytes: 4 * build_calls }
}

impl fmt::Display for CurPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (build, query) = (self.build_time.as_secs_f64() / 3600.0, self.query_time.as_secs_f64());
        let megabytes = self.bytes as f64 / 1e6;
        write!(f, "{} calls to build, {build:.1} h; {query:.2} s of calls a query; {megabytes:.1} MB of anchor scores", self.build_calls)
    }
}

#[cfg(test)]
mod tests;
