//! Who stays: policies that keep a number of entries for each head, by the attention that they were paid.

mod merge;

use crate::{Error, Geometry};
use ndarray::{Array2, Axis};
use scant_tensor_core::rng::Rng;
use std::sync::Arc;

/// Tokens at the end that always stay, and whose queries make the local score.
pub(crate) const WINDOW: usize = 32;
/// Tokens at the start that always stay, where a method protects them.
const SINKS: usize = 4;
/// What a head gets at least of an even share, where heads compete (Feng et al. 2024).
const FLOOR: f64 = 0.2;
/// Scores are averaged over so many neighbours (Li et al. 2024).
const POOL: usize = 5;
/// The first layer of a pyramid has so many times the last one's entries, roughly (Cai et al. 2024).
const SLOPE: f64 = 20.0;

/// An entry of a head beside its key and value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    /// Of the token, or of the centre of those that were merged.
    pub(crate) position: u32,
    /// Tokens that it stands for.
    pub(crate) count: u32,
    /// Attention paid to it since it came.
    pub(crate) global: f32,
    /// The same by the last queries.
    pub(crate) local: f32,
}

impl Entry {
    pub(crate) fn new(position: u32) -> Entry {
        Entry { position, count: 1, global: 0.0, local: 0.0 }
    }
}

/// All of one head, in the order of positions.
#[derive(Clone, Debug)]
pub(crate) struct HeadState {
    /// `[entries, key_dim]`
    pub(crate) keys: Array2<f32>,
    /// `[entries, value_dim]`
    pub(crate) values: Array2<f32>,
    pub(crate) entries: Vec<Entry>,
}

/// Which layer of a model it is, and how its keys are rotated.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) layer: usize,
    pub(crate) layers: usize,
    /// Radians a token, `[key_dim / 2]`; empty for keys without positions.
    pub(crate) frequencies: Arc<[f32]>,
}

/// What becomes of keys that are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MergeKeys {
    /// They are moved to the position of the centre first.
    Aligned,
    /// They are averaged as they are stored.
    Stored,
    /// The centre's stays.
    Kept,
    /// Nothing is merged.
    Never,
}

/// A rule for who stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// The first 4 and the last entries (StreamingLLM, Xiao et al. 2023).
    Streaming,
    /// Drawn at random, between the first 4 and the last 32: what a score must beat.
    Random,
    /// Half for the last entries, half for those that got most attention in all (Zhang et al. 2023).
    H2o,
    /// Those that the last 32 queries attend to most, and their neighbours (Li et al. 2024).
    SnapKv,
    /// The same with more entries in the first layers (Cai et al. 2024).
    Pyramid,
    /// The same with the entries of a layer shared out over its heads (Feng et al. 2024).
    AdaKv,
    /// As `H2o`, and the value of each entry that leaves is added to the next 32 that stay, as far as its attention compares to theirs (Zhang et
    /// al. 2024; the expectation in place of a draw).
    Cam,
    /// As `H2o`, and an entry that leaves is merged with the most similar that stays, if they are alike enough (Wan et al. 2024; weights made to
    /// add up to one, the same budget for each layer).
    D2o,
    /// The better of a local and a global score; clearly useless entries leave, near-duplicates are merged (Li et al. 2024, EMS).
    Ems {
        /// What becomes of merged keys.
        keys: MergeKeys,
        /// Whether an entry counts for as many tokens as were merged into it.
        mass: bool,
    },
}

/// A method and the entries that it may keep.
///
/// ```
/// use scant_kvcache::{Method, Policy};
/// assert_eq!("snapkv:256".parse(), Ok(Policy { method: Method::SnapKv, budget: 256 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// The rule.
    pub method: Method,
    /// Entries of a key/value head, on average over the heads of the model.
    pub budget: usize,
}

const METHODS: &[(&str, Method)] = &[
    ("streaming", Method::Streaming),
    ("random", Method::Random),
    ("h2o", Method::H2o),
    ("snapkv", Method::SnapKv),
    ("pyramid", Method::Pyramid),
    ("adakv", Method::AdaKv),
    ("cam", Method::Cam),
    ("d2o", Method::D2o),
    // The reading that was nearest to the full cache (docs/results.md).
    ("ems", Method::Ems { keys: MergeKeys::Kept, mass: true }),
    ("ems-aligned", Method::Ems { keys: MergeKeys::Aligned, mass: false }),
    ("ems-aligned-mass", Method::Ems { keys: MergeKeys::Aligned, mass: true }),
    ("ems-stored", Method::Ems { keys: MergeKeys::Stored, mass: false }),
    ("ems-stored-mass", Method::Ems { keys: MergeKeys::Stored, mass: true }),
    ("ems-kept", Method::Ems { keys: MergeKeys::Kept, mass: false }),
    ("ems-evict", Method::Ems { keys: MergeKeys::Never, mass: false }),
];

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = METHODS.iter().find(|(_, m)| *m == self.method).map_or("ems-evict", |(name, _)| name);
        f.pad(&format!("{name}:{}", self.budget))
    }
}

impl std::str::FromStr for Policy {
    type Err = String;
    fn from_str(s: &str) -> Result<Policy, String> {
        let names = || METHODS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let (name, budget) = s.split_once(':').ok_or_else(|| format!("cache policy `{s}` has no budget: write it as snapkv:256"))?;
        let method = METHODS.iter().find(|(known, _)| *known == name).map(|(_, method)| *method);
        let method = method.ok_or_else(|| format!("cache policy `{name}` is unknown: choose {}", names()))?;
        let budget = budget.parse().map_err(|_| format!("cache policy `{s}`: `{budget}` is not a number of entries"))?;
        Ok(Policy { method, budget })
    }
}

impl Policy {
    pub(crate) fn check(self, g: &Geometry) -> Result<(), Error> {
        let needed = SINKS + WINDOW + 1;
        if self.budget < needed {
            return Err(Error::BudgetTooSmall { budget: self.budget, needed });
        }
        match g.window {
            Some(window) => Err(Error::Windowed { window }),
            None => Ok(()),
        }
    }

    pub(crate) fn wants_scores(self) -> bool {
        !matches!(self.method, Method::Streaming | Method::Random)
    }

    pub(crate) fn counts_mass(self) -> bool {
        matches!(self.method, Method::Ems { mass: true, .. })
    }

    /// Thins out the heads of a layer; returns whether anything changed.
    pub(crate) fn apply(self, heads: &mut [HeadState], place: &Place) -> bool {
        let entries = heads.iter().map(|h| h.entries.len()).max().unwrap_or(0);
        let budget = match self.method {
            Method::Pyramid => pyramid(self.budget, entries, place),
            _ => self.budget,
        };
        if heads.iter().map(|h| h.entries.len()).sum::<usize>() <= budget * heads.len() {
            return false;
        }
        let scores: Vec<Vec<f32>> = heads.iter().map(|h| self.scores(&h.entries, place.layer as u64)).collect();
        let (first, last) = self.verbatim(budget);
        let budgets = match self.method {
            Method::AdaKv => compete(&scores, budget, first, last),
            Method::Ems { .. } => by_spread(&scores, budget, first, last),
            _ => vec![budget; heads.len()],
        };
        for ((head, scores), budget) in heads.iter_mut().zip(&scores).zip(budgets) {
            let n = head.entries.len();
            if n <= budget {
                continue;
            }
            let middle = first.min(n)..n - last.min(n - first.min(n));
            let chosen = best(scores, middle.clone(), budget - first - last);
            let mut kept: Vec<usize> = (0..middle.start).chain(chosen).chain(middle.end..n).collect();
            kept.sort_unstable();
            match self.method {
                Method::Cam => merge::cam(head, &kept),
                Method::D2o => merge::d2o(head, &kept),
                Method::Ems { keys, .. } if keys != MergeKeys::Never => merge::ems(head, &kept, scores, middle, keys, place),
                _ => {}
            }
            head.keys = head.keys.select(Axis(0), &kept);
            head.values = head.values.select(Axis(0), &kept);
            head.entries = kept.iter().map(|i| head.entries[*i]).collect();
        }
        true
    }

    /// Entries at the start and at the end that stay whatever their score.
    fn verbatim(self, budget: usize) -> (usize, usize) {
        match self.method {
            Method::Streaming => (SINKS, budget - SINKS),
            Method::H2o | Method::Cam | Method::D2o => (if self.method == Method::D2o { SINKS } else { 0 }, budget / 2),
            Method::SnapKv | Method::Pyramid | Method::AdaKv => (0, WINDOW),
            Method::Random | Method::Ems { .. } => (SINKS, WINDOW),
        }
    }

    fn scores(self, entries: &[Entry], seed: u64) -> Vec<f32> {
        let of = |f: fn(&Entry) -> f32| entries.iter().map(f).collect::<Vec<_>>();
        match self.method {
            Method::Streaming => vec![0.0; entries.len()],
            Method::Random => {
                let mut rng = Rng::new(seed);
                entries.iter().map(|_| rng.uniform()).collect()
            }
            Method::H2o | Method::Cam | Method::D2o => of(|e| e.global),
            Method::SnapKv | Method::Pyramid | Method::AdaKv => pooled(&of(|e| e.local)),
            Method::Ems { .. } => {
                let middle = SINKS.min(entries.len())..entries.len().saturating_sub(WINDOW).max(SINKS.min(entries.len()));
                let sum = |f: fn(&Entry) -> f32| entries[middle.clone()].iter().map(f).sum::<f32>();
                let align = sum(|e| e.local) / sum(|e| e.global).max(f32::MIN_POSITIVE);
                entries.iter().map(|e| e.local.max(align * e.global)).collect()
            }
        }
    }
}

/// Averages over neighbours; those beyond the ends count as 0.
fn pooled(x: &[f32]) -> Vec<f32> {
    let half = POOL / 2;
    (0..x.len()).map(|i| x[i.saturating_sub(half)..(i + half + 1).min(x.len())].iter().sum::<f32>() / POOL as f32).collect()
}

/// Indices of the `count` highest scores within a range; ties go to the lower index.
fn best(scores: &[f32], range: std::ops::Range<usize>, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = range.collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    order.truncate(count);
    order
}

/// The budget of a layer of a pyramid whose mean is `budget`.
fn pyramid(budget: usize, entries: usize, place: &Place) -> usize {
    let (c, t) = ((budget - WINDOW) as f64, entries as f64);
    if place.layers < 2 || t < 2.0 * c {
        return budget;
    }
    let mut least = c / SLOPE;
    let mut most = 2.0 * c - least;
    if most >= t - WINDOW as f64 {
        most = t - WINDOW as f64;
        least = 2.0 * c - most;
    }
    let step = (most - least) / (place.layers - 1) as f64;
    WINDOW + (most - step * place.layer as f64).round().max(1.0) as usize
}

/// Budgets from the best entries of all heads together, none below the floor.
fn compete(scores: &[Vec<f32>], budget: usize, first: usize, last: usize) -> Vec<usize> {
    let free = budget - first - last;
    let floor = (FLOOR * free as f64) as usize;
    let mut rest = vec![];
    for (head, scores) in scores.iter().enumerate() {
        let middle = first.min(scores.len())..scores.len().saturating_sub(last).max(first.min(scores.len()));
        rest.extend(best(scores, middle, usize::MAX).into_iter().skip(floor).map(|i| (scores[i], head, i)));
    }
    rest.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut budgets = vec![first + last + floor; scores.len()];
    rest.iter().take((free - floor) * scores.len()).for_each(|(_, head, _)| budgets[*head] += 1);
    budgets
}

/// Budgets in proportion to the entries that it takes to gather 95 % of a head's score, none below the floor.
fn by_spread(scores: &[Vec<f32>], budget: usize, first: usize, last: usize) -> Vec<usize> {
    let spread: Vec<usize> = scores.iter().map(|s| spread(s, first, last)).collect();
    let free = budget - first - last;
    let floor = (FLOOR * free as f64) as usize;
    let total = (free - floor) * scores.len();
    let all = spread.iter().sum::<usize>().max(1);
    let mut budgets: Vec<usize> = spread.iter().map(|n| first + last + floor + total * n / all).collect();
    // What rounding left over goes to the first heads.
    let left = budget * scores.len() - budgets.iter().sum::<usize>();
    budgets.iter_mut().take(left).for_each(|b| *b += 1);
    budgets
}

/// The least number of entries between the verbatim ones that make up 95 % of their score.
fn spread(scores: &[f32], first: usize, last: usize) -> usize {
    let middle = first.min(scores.len())..scores.len().saturating_sub(last).max(first.min(scores.len()));
    let total: f64 = scores[middle.clone()].iter().map(|s| f64::from(*s)).sum();
    let mut sum = 0.0;
    let order = best(scores, middle, usize::MAX);
    let reached = order.iter().position(|i| {
        sum += f64::from(scores[*i]);
        sum >= 0.95 * total
    });
    reached.map_or(order.len(), |n| n + 1).max(1)
}

#[cfg(test)]
mod tests;
