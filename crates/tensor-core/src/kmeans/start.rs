//! Where Lloyd's iterations begin.

use crate::rng::Rng;
use ndarray::{Array2, ArrayView2, Axis};
use std::collections::HashSet;

/// Up to this many centroids are drawn one after the other, each far from those before.
const PLUS_PLUS: usize = 1024;

/// `k` rows of `x`, in the order they were drawn, which is at random.
pub(super) fn start(x: ArrayView2<'_, f32>, k: usize, rng: &mut Rng) -> Array2<f32> {
    let rows = if k <= PLUS_PLUS {
        let sample = sample(x.nrows(), 32 * k, rng);
        plus_plus(x.select(Axis(0), &sample).view(), k, rng).into_iter().map(|i| sample[i]).collect()
    } else {
        distinct(x, k, rng)
    };
    x.select(Axis(0), &rows)
}

/// `count` different numbers below `n`, or all, ascending, so that reading is sequential.
pub(super) fn sample(n: usize, count: usize, rng: &mut Rng) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..n).collect();
    if count < n {
        rng.shuffle(&mut rows);
        rows.truncate(count);
        rows.sort_unstable();
    }
    rows
}

/// k-means++ (Arthur and Vassilvitskii 2007): each with probability proportional to the squared distance from those before.
fn plus_plus(x: ArrayView2<'_, f32>, k: usize, rng: &mut Rng) -> Vec<usize> {
    let n = x.nrows();
    // Columns beside each other: one centroid against all rows runs over contiguous values.
    let columns = x.t().as_standard_layout().into_owned();
    let mut chosen = vec![rng.below(n)];
    let (mut distance, mut fresh) = (vec![f32::INFINITY; n], vec![0.0; n]);
    while chosen.len() < k {
        let last = chosen[chosen.len() - 1];
        fresh.fill(0.0);
        for column in columns.axis_iter(Axis(0)) {
            let at = column[last];
            fresh.iter_mut().zip(column).for_each(|(sum, v)| *sum += (v - at) * (v - at));
        }
        distance.iter_mut().zip(&fresh).for_each(|(d, new)| *d = d.min(*new));
        let total: f64 = distance.iter().map(|d| f64::from(*d)).sum();
        // Without a row that is away from all centroids, any will do: it repeats one.
        let row = if total > 0.0 && total.is_finite() { draw(&distance, total, rng) } else { rng.below(n) };
        chosen.push(row);
    }
    chosen
}

fn draw(weights: &[f32], total: f64, rng: &mut Rng) -> usize {
    let mut rest = f64::from(rng.uniform()) * total;
    for (i, weight) in weights.iter().enumerate() {
        rest -= f64::from(*weight);
        if rest < 0.0 {
            return i;
        }
    }
    // Rounding only: the last that can be drawn at all.
    weights.iter().rposition(|w| *w > 0.0).unwrap_or(0)
}

/// Random rows without repetition as long as different ones are left.
fn distinct(x: ArrayView2<'_, f32>, k: usize, rng: &mut Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..x.nrows()).collect();
    rng.shuffle(&mut order);
    let mut seen = HashSet::new();
    let mut rows = vec![];
    let mut repeats = vec![];
    for row in order {
        if rows.len() == k {
            break;
        }
        let bits: Vec<u32> = x.row(row).iter().map(|v| (v + 0.0).to_bits()).collect();
        if seen.insert(bits) { rows.push(row) } else { repeats.push(row) }
    }
    rows.extend(repeats.into_iter().take(k - rows.len()));
    rows
}
