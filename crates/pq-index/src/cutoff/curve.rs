//! What a cut is worth on judged lists: precision, recall, and how much it takes away.

use super::{Cutoff, Judged};
use crate::error::Error;

/// What a threshold is chosen for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// The tightest cut that keeps this share of what is relevant in the uncut lists.
    Recall(f64),
    /// The loosest cut whose kept candidates are relevant in this share.
    Precision(f64),
}

/// What a cut does to judged lists. Candidates of all lists are pooled; a graded label counts as that share of a relevant candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Area under the precision-recall curve of all thresholds: see [`pr_auc`].
    pub pr_auc: f64,
    /// Share of the relevant candidates that is kept.
    pub recall: f64,
    /// Share of the kept candidates that is relevant; 1 if none is kept.
    pub precision: f64,
    /// Share of the candidates that is removed.
    pub filtered: f64,
    /// Share of the queries that are left with nothing.
    pub empty: f64,
    /// Expected calibration error of an adapter's probabilities over ten equal bins; `None` for other cuts, which have none.
    pub calibration: Option<f64>,
}

/// The area under the precision-recall curve of pooled `(score, label)`: the sum of precision times the step in recall over the distinct scores
/// (average precision, equal scores taken together). Labels lie in 0 to 1. NaN without a relevant candidate.
///
/// ```
/// use scant_pq_index::cutoff::pr_auc;
/// assert_eq!(pr_auc(&[(0.9, 1.0), (0.5, 0.0), (0.1, 1.0)]), 0.5 + 0.5 * 2.0 / 3.0);
/// assert_eq!(pr_auc(&[(0.5, 1.0), (0.5, 0.0)]), 0.5);
/// ```
pub fn pr_auc(pairs: &[(f64, f32)]) -> f64 {
    let all: f64 = pairs.iter().map(|(_, label)| f64::from(*label)).sum();
    thresholds(pairs)
        .into_iter()
        .fold((0.0, 0.0), |(area, before), at| (area + at.precision() * (at.relevant - before) / all, at.relevant))
        .0
}

/// What is kept at a threshold.
struct At {
    threshold: f64,
    relevant: f64,
    kept: f64,
}

impl At {
    fn precision(&self) -> f64 {
        self.relevant / self.kept
    }
}

/// Every distinct score as a threshold, the highest first.
fn thresholds(pairs: &[(f64, f32)]) -> Vec<At> {
    let mut sorted = pairs.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut sums: Vec<At> = vec![];
    let (mut relevant, mut kept) = (0.0, 0.0);
    for (threshold, label) in sorted {
        relevant += f64::from(label);
        kept += 1.0;
        match sums.last_mut().filter(|last| last.threshold == threshold) {
            Some(last) => *last = At { threshold, relevant, kept },
            None => sums.push(At { threshold, relevant, kept }),
        }
    }
    sums
}

/// The threshold for a target; of precision, infinite if no threshold reaches it.
pub(super) fn choose(pairs: &[(f64, f32)], target: Target) -> Result<f64, Error> {
    let (Target::Recall(share) | Target::Precision(share)) = target;
    if !(share > 0.0 && share <= 1.0) {
        return Err(Error::OutOfRange { what: "the share to reach", value: share, range: "above 0, at most 1" });
    }
    let sums = thresholds(pairs);
    let all = sums.last().map_or(0.0, |last| last.relevant);
    if all == 0.0 {
        return Err(Error::MissingClass { class: "relevant" });
    }
    let found = match target {
        // Sums of labels round: a share of 1 must not ask for more than all.
        Target::Recall(share) => sums.iter().find(|at| at.relevant >= share * all * (1.0 - 1e-12)),
        Target::Precision(share) => sums.iter().rev().find(|at| at.precision() >= share),
    };
    Ok(found.map_or(f64::INFINITY, |at| at.threshold))
}

impl Cutoff {
    /// What the cut does to judged lists.
    ///
    /// # Errors
    /// As [`Cutoff::apply`]; [`Error::MissingClass`] without a relevant candidate.
    pub fn report(&self, lists: &[Judged]) -> Result<Report, Error> {
        let pairs = self.pairs(lists)?;
        let all: f64 = pairs.iter().map(|(_, label)| f64::from(*label)).sum();
        if all == 0.0 {
            return Err(Error::MissingClass { class: "relevant" });
        }
        let (mut relevant, mut kept, mut empty) = (0.0, 0usize, 0usize);
        for list in lists {
            let keep = self.kept(list)?;
            relevant += list.labels[..keep].iter().map(|l| f64::from(*l)).sum::<f64>();
            kept += keep;
            empty += usize::from(keep == 0);
        }
        Ok(Report {
            pr_auc: pr_auc(&pairs),
            recall: relevant / all,
            precision: if kept == 0 { 1.0 } else { relevant / kept as f64 },
            filtered: 1.0 - kept as f64 / pairs.len() as f64,
            empty: empty as f64 / lists.len() as f64,
            calibration: matches!(self, Cutoff::Adapter(_)).then(|| calibration_error(&pairs)),
        })
    }
}

/// Mean distance of label and probability over ten bins of probability; `pairs` hold logits.
fn calibration_error(pairs: &[(f64, f32)]) -> f64 {
    let mut bins = [(0.0, 0.0); 10];
    for (logit, label) in pairs {
        let p = super::map::sigmoid(*logit);
        let bin = &mut bins[((10.0 * p) as usize).min(9)];
        *bin = (bin.0 + p, bin.1 + f64::from(*label));
    }
    bins.iter().map(|(p, label)| (p - label).abs()).sum::<f64>() / pairs.len() as f64
}
