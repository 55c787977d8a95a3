//! Cells of one dimension: which cell a number lies in, and how far a query is from all that lies there.

/// Rounds of Lloyd's iteration at most, and the relative gain below which it stops.
const ROUNDS: usize = 250;
const TOLERANCE: f64 = 1e-4;

/// Ascending cells. Cell `c` holds the values with `bounds[c] <= v < bounds[c + 1]`; the last one holds its upper bound too.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cells {
    bounds: Vec<f32>,
    /// The mean of the training values of each cell.
    centroids: Vec<f32>,
}

impl Cells {
    /// At most `count` cells, 1 to 256, for finite values, at least one; fewer if not so many differ. Exact Lloyd's iteration from quantiles of
    /// equal count: values are sorted once, and a round costs O(cells log n) with sums over prefixes.
    pub(crate) fn fit(mut values: Vec<f32>, count: usize) -> Cells {
        values.sort_unstable_by(f32::total_cmp);
        let n = values.len();
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n as f64;
        // Of centred values, so that the error below is not a difference of large numbers.
        let (mut sums, mut squares) = (vec![0.0f64; n + 1], 0.0f64);
        for (i, v) in values.iter().enumerate() {
            let v = f64::from(*v) - mean;
            sums[i + 1] = sums[i] + v;
            squares += v * v;
        }
        let mut inner: Vec<f32> = (1..count).map(|c| values[c * n / count]).collect();
        let (mut last, mut round) = (f64::INFINITY, 0);
        loop {
            // A bound below which nothing new lies would make an empty cell: equal quantiles merge here.
            let mut begin = 0;
            let mut ends = vec![];
            inner.retain(|bound| {
                let end = values.partition_point(|v| v < bound);
                let parts = end > begin && end < n;
                if parts {
                    ends.push(end);
                    begin = end;
                }
                parts
            });
            ends.push(n);
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let cells: Vec<(f64, f64)> = starts.zip(&ends).map(|(b, e)| (sums[*e] - sums[b], (e - b) as f64)).collect();
            let error = squares - cells.iter().map(|(sum, n)| sum * sum / n).sum::<f64>();
            let centroids: Vec<f32> = cells.iter().map(|(sum, n)| (mean + sum / n) as f32).collect();
            if round == ROUNDS || round > 0 && last - error <= TOLERANCE * last {
                let bounds = std::iter::once(values[0]).chain(inner).chain([values[n - 1]]).collect();
                return Cells { bounds, centroids };
            }
            (last, round) = (error, round + 1);
            inner = centroids.windows(2).map(|pair| pair[0] / 2.0 + pair[1] / 2.0).collect();
        }
    }

    /// Cells that were saved; `None` if they are none.
    pub(crate) fn from_parts(bounds: Vec<f32>, centroids: Vec<f32>) -> Option<Cells> {
        let ordered = bounds.windows(2).all(|w| w[0] <= w[1]) && bounds.iter().chain(&centroids).all(|v| v.is_finite());
        let counted = (1..=256).contains(&centroids.len()) && bounds.len() == centroids.len() + 1;
        (ordered && counted).then_some(Cells { bounds, centroids })
    }

    pub(crate) fn bounds(&self) -> &[f32] {
        &self.bounds
    }

    pub(crate) fn centroids(&self) -> &[f32] {
        &self.centroids
    }

    /// Cells.
    pub(crate) fn len(&self) -> usize {
        self.centroids.len()
    }

    /// Makes the outer cells reach `v`.
    pub(crate) fn cover(&mut self, v: f32) {
        let last = self.bounds.len() - 1;
        self.bounds[0] = self.bounds[0].min(v);
        self.bounds[last] = self.bounds[last].max(v);
    }

    /// The cell of a value; values outside lie in an outer one.
    pub(crate) fn code(&self, v: f32) -> u8 {
        self.bounds[1..self.len()].partition_point(|bound| *bound <= v) as u8
    }

    /// The squared distance to the centroid of a cell.
    pub(crate) fn distance(&self, q: f32, cell: usize) -> f32 {
        (q - self.centroids[cell]).powi(2)
    }

    /// The squared distance to the nearest point of a cell.
    pub(crate) fn least(&self, q: f32, cell: usize) -> f32 {
        (self.bounds[cell] - q).max(q - self.bounds[cell + 1]).max(0.0).powi(2)
    }

    /// The squared distance to the farthest point of a cell.
    pub(crate) fn most(&self, q: f32, cell: usize) -> f32 {
        (q - self.bounds[cell]).abs().max((q - self.bounds[cell + 1]).abs()).powi(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use scant_tensor_core::rng::Rng;

    proptest! {
        #[test]
        fn a_value_lies_between_the_bounds_of_its_cell(
            values in prop::collection::vec(prop_oneof![(-3i8..3).prop_map(f32::from), -2.0f32..2.0], 1..60),
            bits in 0u32..9,
            q in -5.0f32..5.0,
        ) {
            let cells = Cells::fit(values.clone(), 1 << bits);
            prop_assert!(cells.len() <= 1 << bits);
            prop_assert_eq!(Cells::from_parts(cells.bounds.clone(), cells.centroids.clone()), Some(cells.clone()));
            for v in values {
                let c = usize::from(cells.code(v));
                prop_assert!(cells.bounds[c] <= v && v <= cells.bounds[c + 1]);
                let distance = (q - v).powi(2);
                prop_assert!(cells.least(q, c) <= distance && distance <= cells.most(q, c));
            }
        }
    }

    #[test]
    fn few_different_values_are_exact_and_a_gaussian_costs_what_it_must() {
        let cells = Cells::fit(vec![5.0, 1.0, 5.0, 5.0, 2.0], 16);
        assert_eq!(cells.centroids(), [1.0, 2.0, 5.0]);
        let mut rng = Rng::new(1);
        let values: Vec<f32> = (0..100_000).map(|_| rng.normal()).collect();
        // Lloyd and Max (1960) for 1 to 4 bits.
        for (bits, want) in [(1, 0.3634), (2, 0.1175), (3, 0.03454), (4, 0.009497)] {
            let cells = Cells::fit(values.clone(), 1 << bits);
            let error = values.iter().map(|v| f64::from(cells.distance(*v, cells.code(*v).into()))).sum::<f64>() / values.len() as f64;
            assert!((error / want - 1.0).abs() < 0.03, "{bits} bits: {error}");
        }
    }
}
