//! The best k of many keys.

use std::cmp::Ordering;

/// Keeps the `k` entries with the smallest keys; of equal keys, those with the smaller ids. NaN never enters.
///
/// Entries are gathered in a buffer of `2 k` (at least 24) and selected when it is full: O(1) amortised a push, in whatever order they come.
///
/// ```
/// use scant_tensor_core::retrieve::TopK;
/// let mut best = TopK::new(2);
/// for (key, id) in [(3.0, 1), (1.0, 9), (f32::NAN, 2), (1.0, 4)] {
///     best.push(key, id);
/// }
/// best.tighten();
/// assert_eq!(best.worst(), 1.0);
/// assert_eq!(best.into_sorted(), [(1.0, 4), (1.0, 9)]);
/// ```
#[derive(Clone, Debug)]
pub struct TopK {
    k: usize,
    entries: Vec<(f32, u64)>,
    /// No key above it can be among the best: the k-th best when the buffer was last selected.
    worst: f32,
}

impl TopK {
    /// For the best `k`. A `k` of 0 keeps nothing.
    pub fn new(k: usize) -> TopK {
        let worst = if k == 0 { f32::NEG_INFINITY } else { f32::INFINITY };
        TopK { k, entries: Vec::with_capacity(TopK::capacity(k).min(4096)), worst }
    }

    fn capacity(k: usize) -> usize {
        k.saturating_mul(2).max(24)
    }

    /// Offers an entry.
    #[inline]
    pub fn push(&mut self, key: f32, id: u64) {
        // Equal keys must pass: the id may decide. NaN compares false.
        if key <= self.worst && self.k > 0 {
            self.entries.push((key, id));
            // A buffer that has just become k long gives the first bound; from then on one selection for every k entries.
            if self.entries.len() == self.k || self.entries.len() >= TopK::capacity(self.k) {
                self.select();
            }
        }
    }

    /// A bound of what can still enter: keys above it are refused. Infinite until k entries are there; never rises.
    #[inline]
    pub fn worst(&self) -> f32 {
        self.worst
    }

    /// Lowers the bound to the k-th best of what was pushed so far.
    pub fn tighten(&mut self) {
        if self.entries.len() > self.k {
            self.select();
        }
    }

    /// For the best `k` of the keys that are at most `bound`.
    pub fn below(k: usize, bound: f32) -> TopK {
        let new = TopK::new(k);
        TopK { worst: new.worst.min(bound), ..new }
    }

    /// Without entries, but with the bound: for a part of what is left to look at.
    pub fn as_empty(&self) -> TopK {
        TopK::below(self.k, self.worst)
    }

    /// Takes over the entries of a part.
    pub fn take(&mut self, part: TopK) {
        part.entries.into_iter().for_each(|(key, id)| self.push(key, id));
    }

    fn select(&mut self) {
        if let Some(last) = self.k.checked_sub(1).filter(|last| *last < self.entries.len()) {
            let (_, kth, _) = self.entries.select_nth_unstable_by(last, order);
            self.worst = kth.0;
            self.entries.truncate(self.k);
        }
    }

    /// The best, in order: at most k.
    pub fn into_sorted(mut self) -> Vec<(f32, u64)> {
        self.select();
        self.entries.sort_unstable_by(order);
        self.entries
    }
}

fn order(a: &(f32, u64), b: &(f32, u64)) -> Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_sorting(keys: &[f32], k: usize) -> Vec<(f32, u64)> {
        let mut all: Vec<_> = keys.iter().zip(0..).filter(|(key, _)| !key.is_nan()).map(|(key, id)| (*key, id)).collect();
        all.sort_by(order);
        all.truncate(k);
        all
    }

    proptest! {
        #[test]
        fn it_is_sorting_and_cutting_for_any_order_of_pushes(
            // Few distinct keys: ties decide.
            keys in prop::collection::vec(prop_oneof![(-4i8..4).prop_map(f32::from), Just(f32::NAN), Just(f32::INFINITY), Just(-0.0)], 0..400),
            k in 0usize..80,
            seed in any::<u64>(),
        ) {
            let mut order: Vec<usize> = (0..keys.len()).collect();
            crate::rng::Rng::new(seed).shuffle(&mut order);
            let mut best = TopK::new(k);
            let mut bound = f32::INFINITY;
            for i in order {
                best.push(keys[i], i as u64);
                prop_assert!(best.worst() <= bound);
                bound = best.worst();
            }
            let bits = |v: Vec<(f32, u64)>| v.into_iter().map(|(key, id)| (key.to_bits(), id)).collect::<Vec<_>>();
            prop_assert_eq!(bits(best.into_sorted()), bits(by_sorting(&keys, k)));
        }
    }

    #[test]
    fn the_bound_is_there_with_the_kth_entry() {
        let mut best = TopK::new(100);
        (0..99).for_each(|i| best.push(i as f32, i));
        assert_eq!(best.worst(), f32::INFINITY);
        best.push(200.0, 99);
        assert_eq!(best.worst(), 200.0);
        best.push(50.0, 100);
        best.tighten();
        assert_eq!(best.worst(), 98.0);
    }
}
