//! Where to cut a list of results: a search for k returns k, relevant or not.
//!
//! A threshold on the cosine does not carry over from one query to the next, since encoders are trained for the order within a query only. The
//! Cosine Adapter (Rossi, Lin, Liu, Yang, Lee, Magnani, Liao: Relevance Filtering for Embedding-based Retrieval, CIKM 2024) predicts from the
//! query a monotone map of its cosines to a logit, so that one global threshold on the logit cuts every query at its own cosine. The order of
//! results never changes, and the cosine of the cut is known before the scan.

mod adapter;
mod curve;
mod fit;
mod map;
mod network;

pub use adapter::Adapter;
pub use curve::{Report, Target, pr_auc};
pub use fit::AdapterParams;
pub use map::Map;

use crate::error::Error;
use ndarray::ArrayView1;
use scant_tensor_core::retrieve::Hit;

/// A rule that shortens lists of results. Scores are similarities, larger is better: cosines, for an adapter.
///
/// ```
/// use scant_pq_index::cutoff::Cutoff;
/// use scant_tensor_core::retrieve::Hit;
/// let mut hits = vec![Hit { id: 4, score: 0.9 }, Hit { id: 1, score: 0.8 }, Hit { id: 7, score: 0.3 }];
/// let cut = Cutoff::Global(0.5).apply(ndarray::aview1(&[1.0, 0.0]), &mut hits)?;
/// assert_eq!((hits.len(), cut.removed, cut.best), (2, 1, Some(0.9)));
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Cutoff {
    /// Keeps scores of at least this.
    Global(f32),
    /// Keeps scores of at least this share, 0 to 1, of the best one; nothing if that is negative.
    Relative(f32),
    /// Keeps what comes before the largest drop between neighbours.
    Gap,
    /// Keeps what the query's own map lifts over the adapter's threshold.
    Adapter(Box<Adapter>),
}

/// What [`Cutoff::apply`] did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// The best score before the cut: what a caller who is left with nothing may want to see. `None` if there were no hits.
    pub best: Option<f32>,
    /// Hits taken away.
    pub removed: usize,
}

/// A query with the scores of its candidates and what they are worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    query: Vec<f32>,
    /// Falling.
    scores: Vec<f32>,
    labels: Vec<f32>,
}

impl Judged {
    /// Candidates `(score, label)` in any order; labels from 0, irrelevant, to 1. Give those that a search returns, and judged ones besides, so
    /// that what is learned is what will be met.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for a score or a component of the query, [`Error::OutOfRange`] for a label.
    pub fn new(query: &[f32], mut candidates: Vec<(f32, f32)>) -> Result<Judged, Error> {
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (scores, labels): (Vec<f32>, Vec<f32>) = candidates.into_iter().unzip();
        Error::check_finite(ndarray::aview1(query).insert_axis(ndarray::Axis(0)), 0)?;
        Error::check_finite(ndarray::aview1(&scores).insert_axis(ndarray::Axis(0)), 0)?;
        match labels.iter().find(|l| !(0.0..=1.0).contains(*l)) {
            Some(label) => Err(Error::OutOfRange { what: "a label", value: f64::from(*label), range: "0 to 1" }),
            None => Ok(Judged { query: query.to_vec(), scores, labels }),
        }
    }
}

impl Cutoff {
    /// Removes the tail of `hits`, which are in the order of a search. The result may be empty.
    ///
    /// # Errors
    /// Of an adapter: [`Error::DimMismatch`], [`Error::NonFinite`] or [`Error::ZeroVector`] for the query.
    pub fn apply(&self, q: ArrayView1<'_, f32>, hits: &mut Vec<Hit>) -> Result<Cut, Error> {
        let scores: Vec<f32> = hits.iter().map(|hit| hit.score).collect();
        let keep = self.keep(&q.to_vec(), &scores)?;
        hits.truncate(keep);
        Ok(Cut { best: scores.first().copied(), removed: scores.len() - keep })
    }

    /// The score below which nothing is kept, as far as the query alone decides it: minus infinity where the other scores have a say
    /// ([`Relative`](Self::Relative), [`Gap`](Self::Gap), an adapter of features). A scan that starts with it as its threshold and is cut afterwards
    /// returns exactly what a scan without it does.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn radius(&self, q: ArrayView1<'_, f32>) -> Result<f32, Error> {
        match self {
            Cutoff::Global(score) => Ok(*score),
            Cutoff::Relative(_) | Cutoff::Gap => Ok(f32::NEG_INFINITY),
            Cutoff::Adapter(adapter) if adapter.needs_scores() => Ok(f32::NEG_INFINITY),
            Cutoff::Adapter(adapter) => adapter.radius(&q.to_vec(), &[]),
        }
    }

    /// The same rule with the threshold that meets a target on judged lists, which should not be those an adapter was trained on.
    /// [`Gap`](Self::Gap) has none and stays as it is.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for the target; [`Error::MissingClass`] without a relevant candidate; as [`apply`](Self::apply).
    pub fn tuned(&self, lists: &[Judged], target: Target) -> Result<Cutoff, Error> {
        let threshold = curve::choose(&self.pairs(lists)?, target)?;
        // Rounded down: the candidate that gave the threshold stays.
        let down = |t: f64| {
            let near = t as f32;
            if f64::from(near) > t { near.next_down() } else { near }
        };
        Ok(match self {
            Cutoff::Global(_) => Cutoff::Global(down(threshold)),
            Cutoff::Relative(_) => Cutoff::Relative(down(threshold)),
            Cutoff::Gap => Cutoff::Gap,
            Cutoff::Adapter(adapter) => Cutoff::Adapter(Box::new(adapter.with_threshold(threshold))),
        })
    }

    /// How many of the scores stay.
    fn keep(&self, q: &[f32], scores: &[f32]) -> Result<usize, Error> {
        let Some(best) = scores.first() else { return Ok(0) };
        let at_least = |radius: f32| scores.partition_point(|score| *score >= radius);
        Ok(match self {
            Cutoff::Global(score) => at_least(*score),
            Cutoff::Relative(share) => scores.partition_point(|score| ratio(*score, *best) >= f64::from(*share)),
            Cutoff::Gap => before_the_gap(scores),
            Cutoff::Adapter(adapter) => at_least(adapter.radius(q, scores)?),
        })
    }

    fn kept(&self, list: &Judged) -> Result<usize, Error> {
        self.keep(&list.query, &list.scores)
    }

    /// What the rule compares with its threshold, and the label, for each candidate: the ranking that [`pr_auc`] sees when lists are pooled.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn ranking(&self, list: &Judged) -> Result<Vec<(f64, f32)>, Error> {
        let values: Vec<f64> = match self {
            Cutoff::Global(_) => list.scores.iter().map(|s| f64::from(*s)).collect(),
            Cutoff::Relative(_) => list.scores.iter().map(|s| ratio(*s, list.scores[0])).collect(),
            Cutoff::Gap => {
                let keep = before_the_gap(&list.scores);
                (0..list.scores.len()).map(|place| f64::from(u8::from(place < keep))).collect()
            }
            Cutoff::Adapter(adapter) => adapter.logits(&list.query, &list.scores)?,
        };
        Ok(values.into_iter().zip(list.labels.iter().copied()).collect())
    }

    fn pairs(&self, lists: &[Judged]) -> Result<Vec<(f64, f32)>, Error> {
        let rankings: Vec<_> = lists.iter().map(|list| self.ranking(list)).collect::<Result<_, _>>()?;
        Ok(rankings.concat())
    }
}

/// A score as a share of the best one; of a best one that is not positive, nothing is near enough.
fn ratio(score: f32, best: f32) -> f64 {
    if best > 0.0 { f64::from(score) / f64::from(best) } else { f64::NEG_INFINITY }
}

/// Places before the largest drop; the first of equal ones.
fn before_the_gap(scores: &[f32]) -> usize {
    let mut gap = (scores.len(), 0.0);
    for (place, pair) in scores.windows(2).enumerate() {
        if pair[0] - pair[1] > gap.1 {
            gap = (place + 1, pair[0] - pair[1]);
        }
    }
    gap.0
}

#[cfg(test)]
mod tests;
