//! Results of parts become the result of the whole.

use super::TopK;

/// A found item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The caller's id.
    pub id: u64,
    /// The measure's own number, with its natural sign: a squared distance, or a similarity.
    pub score: f32,
}

/// Which scores are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Distances.
    SmallerFirst,
    /// Similarities.
    LargerFirst,
}

impl Order {
    /// The key of a score, smaller is better; the same turns a key into its score.
    #[inline]
    pub fn key(self, score: f32) -> f32 {
        match self {
            Order::SmallerFirst => score,
            Order::LargerFirst => -score,
        }
    }
}

/// The best `k` of the hits of several parts: exactly what one search over all of them would have returned, if each part gave its own best
/// `k` (or all it has) and no id lies in two parts. Pure: the order of the parts does not matter.
///
/// ```
/// use scant_tensor_core::retrieve::{Hit, Order, merge};
/// let hit = |id, score| Hit { id, score };
/// let (a, b) = ([hit(7, 0.9), hit(2, 0.5)], [hit(1, 0.9)]);
/// let best = merge([&a[..], &b[..]], 2, Order::LargerFirst);
/// assert_eq!(best, [hit(1, 0.9), hit(7, 0.9)]); // a tie: the smaller id first
/// ```
pub fn merge<'a>(parts: impl IntoIterator<Item = &'a [Hit]>, k: usize, order: Order) -> Vec<Hit> {
    let mut best = TopK::new(k);
    for hit in parts.into_iter().flatten() {
        best.push(order.key(hit.score), hit.id);
    }
    best.into_sorted().into_iter().map(|(key, id)| Hit { id, score: order.key(key) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_cut_into_parts_gives_the_whole(
            scores in prop::collection::vec(-3i8..3, 0..100),
            cuts in prop::collection::vec(0usize..4, 100),
            k in 1usize..20,
        ) {
            for order in [Order::SmallerFirst, Order::LargerFirst] {
                let hits: Vec<Hit> = scores.iter().zip(0..).map(|(s, id)| Hit { id, score: f32::from(*s) }).collect();
                let whole = merge([&hits[..]], k, order);
                let mut parts = vec![vec![]; 4];
                hits.iter().zip(&cuts).for_each(|(hit, cut)| parts[*cut].push(*hit));
                let parts: Vec<_> = parts.iter().map(|p| merge([&p[..]], k, order)).collect();
                prop_assert_eq!(&merge(parts.iter().map(|p| &p[..]), k, order), &whole);
                // Associative: two and two.
                let two = |i: usize| merge([&parts[i][..], &parts[i + 1][..]], k, order);
                prop_assert_eq!(&merge([&two(2)[..], &two(0)[..]], k, order), &whole);
                prop_assert_eq!(whole.len(), k.min(hits.len()));
            }
        }
    }
}
