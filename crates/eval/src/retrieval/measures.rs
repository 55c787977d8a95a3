//! What one ranking is worth.

use std::collections::HashMap;

/// What a relevant document is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Gain {
    /// 1, whatever its grade.
    #[default]
    Binary,
    /// Its grade, as `trec_eval` has it.
    Linear,
    /// `2^grade - 1` (Burges et al., 2005).
    Exponential,
}

impl Gain {
    fn of(self, grade: i32) -> f64 {
        match self {
            _ if grade <= 0 => 0.0,
            Gain::Binary => 1.0,
            Gain::Linear => f64::from(grade),
            Gain::Exponential => f64::from(grade).exp2() - 1.0,
        }
    }
}

impl std::fmt::Display for Gain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Gain::Binary => "binary",
            Gain::Linear => "linear",
            Gain::Exponential => "exponential",
        })
    }
}

impl std::str::FromStr for Gain {
    type Err = String;
    fn from_str(text: &str) -> Result<Gain, String> {
        let all = [Gain::Binary, Gain::Linear, Gain::Exponential];
        let unknown = || format!("gain `{text}` is unknown: choose binary, linear or exponential");
        all.into_iter().find(|g| g.to_string() == text).ok_or_else(unknown)
    }
}

/// Discounted gains of the first `k` over those of the best order of all judged documents; `None` if nothing is relevant. The gain at rank `r`,
/// from 1, is divided by `log2(r + 1)`.
///
/// ```
/// use scant_eval::retrieval::{Gain, ndcg_at};
/// let judged = [(4, 1), (9, 2)].into();
/// assert_eq!(ndcg_at(10, &[9, 4], &judged, Gain::Linear), Some(1.0));
/// let swapped = ndcg_at(10, &[4, 9], &judged, Gain::Linear).unwrap();
/// assert!((swapped - (1.0 + 2.0 / 3f64.log2()) / (2.0 + 1.0 / 3f64.log2())).abs() < 1e-12);
/// ```
pub fn ndcg_at(k: usize, ranked: &[usize], judged: &HashMap<usize, i32>, gain: Gain) -> Option<f64> {
    let sum = |gains: &mut dyn Iterator<Item = f64>| gains.take(k).zip(2..).map(|(g, r)| g / f64::from(r).log2()).sum::<f64>();
    let mut best: Vec<f64> = judged.values().map(|grade| gain.of(*grade)).collect();
    best.sort_by(|a, b| b.total_cmp(a));
    let ideal = sum(&mut best.into_iter());
    let mut gains = ranked.iter().map(|d| gain.of(judged.get(d).copied().unwrap_or(0)));
    (ideal > 0.0).then(|| sum(&mut gains) / ideal)
}

/// The share of relevant documents among the first `k`; `None` if nothing is relevant.
pub fn recall_at(k: usize, ranked: &[usize], judged: &HashMap<usize, i32>) -> Option<f64> {
    let all = judged.values().filter(|grade| **grade > 0).count();
    let found = ranked.iter().take(k).filter(|d| judged.get(d).is_some_and(|grade| *grade > 0)).count();
    (all > 0).then(|| found as f64 / all as f64)
}

/// 1 over the rank of the first relevant document if it is among the first `k`, else 0; `None` if nothing is relevant.
pub fn reciprocal_rank(k: usize, ranked: &[usize], judged: &HashMap<usize, i32>) -> Option<f64> {
    judged.values().find(|grade| **grade > 0)?;
    let rank = ranked.iter().take(k).position(|d| judged.get(d).is_some_and(|grade| *grade > 0));
    Some(rank.map_or(0.0, |r| 1.0 / (r + 1) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_round_trip_and_weigh_grades() {
        for (gain, of_two) in [(Gain::Binary, 1.0), (Gain::Linear, 2.0), (Gain::Exponential, 3.0)] {
            assert_eq!(gain.to_string().parse(), Ok(gain));
            assert_eq!((gain.of(2), gain.of(1), gain.of(0), gain.of(-1)), (of_two, 1.0, 0.0, 0.0));
        }
        assert!("none".parse::<Gain>().unwrap_err().contains("none"));
    }

    #[test]
    fn measures_of_a_worked_example() {
        let judged: HashMap<usize, i32> = [(1, 1), (3, 3), (5, 0), (8, 1)].into();
        let ranked = [5, 3, 2, 1, 7];
        let ndcg = (1.0 / 3f64.log2() + 1.0 / 5f64.log2()) / (1.0 + 1.0 / 3f64.log2() + 0.5);
        assert!((ndcg_at(10, &ranked, &judged, Gain::Binary).unwrap() - ndcg).abs() < 1e-12);
        assert_eq!(ndcg_at(1, &ranked, &judged, Gain::Binary), Some(0.0));
        assert_eq!((recall_at(2, &ranked, &judged), recall_at(5, &ranked, &judged)), (Some(1.0 / 3.0), Some(2.0 / 3.0)));
        assert_eq!((reciprocal_rank(5, &ranked, &judged), reciprocal_rank(1, &ranked, &judged)), (Some(0.5), Some(0.0)));
        let nothing = HashMap::from([(5, 0)]);
        assert_eq!((ndcg_at(5, &ranked, &nothing, Gain::Linear), recall_at(5, &ranked, &nothing)), (None, None));
        assert_eq!(reciprocal_rank(5, &ranked, &nothing), None);
    }
}
