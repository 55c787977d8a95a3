//! Results of several retrievers, sparse and dense, become one list.

use crate::error::Error;
use scant_tensor_core::retrieve::{Hit, TopK};
use std::collections::HashMap;

/// How lists are fused. A document that a list lacks gets nothing from it.
#[derive(Clone, Debug, PartialEq)]
pub enum Fusion {
    /// Reciprocal ranks (Cormack, Clarke, Büttcher 2009): the sum of `1 / (c + rank)`, ranks from 1; 60 is usual.
    Ranks {
        /// Larger values care less about who is first.
        c: f32,
    },
    /// Scores of each list moved to 0..1 by its smallest and largest, times the list's weight.
    MinMax {
        /// One for each list.
        weights: Vec<f32>,
    },
}

/// The best `k` of several lists of hits, each with the best first and larger scores better.
///
/// ```
/// use scant_sparse_index::{Fusion, fuse};
/// use scant_tensor_core::retrieve::Hit;
/// let hit = |id, score| Hit { id, score };
/// let (sparse, dense) = ([hit(1, 9.0), hit(2, 5.0)], [hit(2, 0.8), hit(3, 0.7), hit(1, 0.6)]);
/// let best = fuse(&[&sparse, &dense], &Fusion::Ranks { c: 60.0 }, 2)?;
/// assert_eq!((best[0].id, best[1].id), (2, 1));
/// # Ok::<(), scant_sparse_index::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] unless there is a weight for each list.
pub fn fuse(lists: &[&[Hit]], fusion: &Fusion, k: usize) -> Result<Vec<Hit>, Error> {
    let mut sums: HashMap<u64, f32> = HashMap::new();
    match fusion {
        Fusion::Ranks { c } => {
            for (hit, rank) in lists.iter().flat_map(|list| list.iter().zip(1u32..)) {
                *sums.entry(hit.id).or_default() += 1.0 / (c + rank as f32);
            }
        }
        Fusion::MinMax { weights } => {
            Error::check_len("weights of the lists", lists.len(), weights.len())?;
            for (list, weight) in lists.iter().zip(weights) {
                let scores: Vec<f32> = list.iter().map(|hit| hit.score).collect();
                for (hit, score) in list.iter().zip(min_max(&scores)) {
                    *sums.entry(hit.id).or_default() += weight * score;
                }
            }
        }
    }
    let mut best = TopK::new(k.min(sums.len()));
    sums.into_iter().for_each(|(id, score)| best.push(-score, id));
    Ok(best.into_sorted().into_iter().map(|(key, id)| Hit { id, score: -key }).collect())
}

/// Scores moved to 0..1; all 0 if they are equal.
fn min_max(scores: &[f32]) -> Vec<f32> {
    let (low, high) = scores.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), s| (low.min(*s), high.max(*s)));
    scores.iter().map(|s| (s - low) / (high - low + 1e-6)).collect()
}
