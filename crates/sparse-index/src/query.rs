//! A query in whole numbers.

use crate::vector::SparseVec;

/// The integer weights of a query add up to at most this, so that a score, 255 times as much, is exact in f32.
const CEILING: u32 = 65_535;

/// A query over an index's scales. **The score of an index of 8-bit impacts is the integer sum of code times weight**; every way of searching
/// gives this number, and [`factor`](Self::factor) turns it into the units of the vectors.
#[derive(Debug)]
pub(crate) struct Query {
    /// Terms with integer weights, the heaviest first; of equal weights the smaller term.
    pub(crate) terms: Vec<(u32, u32)>,
    pub(crate) factor: f32,
    /// Half of a code's step for every term: how far scores can lie from those of the f32 vectors.
    pub(crate) bound: f32,
}

impl Query {
    pub(crate) fn new(q: SparseVec<'_>, scale: &[f32]) -> Query {
        let scaled = |term: u32, weight: f32| f64::from(weight) * f64::from(scale.get(term as usize).copied().unwrap_or(0.0));
        let total: f64 = q.iter().map(|(term, weight)| scaled(term, weight)).sum();
        let mut terms = vec![];
        if total > 0.0 {
            let unit = f64::from(CEILING) / total;
            let weights = q.iter().map(|(term, weight)| (term, (scaled(term, weight) * unit).round() as u32));
            terms.extend(weights.filter(|(_, weight)| *weight > 0));
        }
        terms.sort_by_key(|(term, weight)| (std::cmp::Reverse(*weight), *term));
        // Rounding may have gone up: by less than one for every second term.
        let excess = terms.iter().map(|(_, weight)| u64::from(*weight)).sum::<u64>().saturating_sub(u64::from(CEILING));
        terms.iter_mut().take(excess as usize).for_each(|(_, weight)| *weight -= 1);
        terms.sort_by_key(|(term, weight)| (std::cmp::Reverse(*weight), *term));
        terms.retain(|(_, weight)| *weight > 0);
        // A code is half a step from its weight at most; an integer weight half a unit from its own, times 255.
        let rounding = 0.5 * 255.0 * q.len() as f64 * total / f64::from(CEILING);
        Query { terms, factor: (total / f64::from(CEILING)) as f32, bound: (0.5 * total + rounding) as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_fill_the_ceiling_and_never_pass_it() -> Result<(), crate::Error> {
        for n in [1usize, 2, 3, 7, 100, 2_000, 70_000] {
            let terms: Vec<u32> = (0..n as u32).collect();
            let weights: Vec<f32> = terms.iter().map(|t| 10f32.powi((t % 10) as i32 - 6)).collect();
            let q = Query::new(SparseVec::new(&terms, &weights)?, &vec![0.01; n]);
            let sum: u64 = q.terms.iter().map(|(_, w)| u64::from(*w)).sum();
            assert!(sum <= 65_535, "{n} terms add up to {sum}");
            assert!(q.terms.is_sorted_by_key(|(_, w)| std::cmp::Reverse(*w)));
        }
        assert!(Query::new(SparseVec::default(), &[]).terms.is_empty());
        Ok(())
    }
}
