//! Which items every query is scored with first.

use crate::error::Error;
use ndarray::{Array2, ArrayView2, Axis};
use scant_tensor_core::kmeans::KMeans;
use scant_tensor_core::linalg::matmul;
use scant_tensor_core::retrieve::Bitmap;
use scant_tensor_core::rng::Rng;

/// How anchor items are chosen; after `count` of them, and from the start for the first kind, in a seeded random order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnchorItems {
    /// At random, as in the paper.
    Random,
    /// The columns that a QR decomposition with pivoting takes first: each is the one that the others explain least. O(count k_q n).
    Pivoted {
        /// At most the number of anchor queries.
        count: usize,
    },
    /// The items nearest to the centroids of so many clusters of columns, the largest cluster first.
    KMeans {
        /// Clusters.
        count: usize,
    },
}

/// All items, the chosen ones first. `scores` are centred, `[k_q, n]`.
pub(super) fn order(kind: AnchorItems, scores: ArrayView2<'_, f32>, seed: u64) -> Result<Vec<u32>, Error> {
    let n = scores.ncols();
    let mut rest: Vec<u32> = (0..n as u32).collect();
    Rng::new(seed).shuffle(&mut rest);
    let chosen = match kind {
        AnchorItems::Random => return Ok(rest),
        AnchorItems::Pivoted { count } => pivots(scores, count.min(n)),
        AnchorItems::KMeans { count } => centres(scores, count.clamp(1, n), seed)?,
    };
    let mut taken = Bitmap::none(n);
    chosen.iter().for_each(|item| taken.insert(*item as usize));
    Ok(chosen.into_iter().chain(rest.into_iter().filter(|item| !taken.contains(*item as usize))).collect())
}

/// Pivots of `R`, by the Cholesky factor of `R^T R` with pivoting, of which only the rows of pivots are ever computed.
fn pivots(scores: ArrayView2<'_, f32>, count: usize) -> Vec<u32> {
    let norms = scores.map_axis(Axis(0), |column| column.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>());
    let mut left: Vec<f64> = norms.to_vec();
    let least = 1e-6 * left.iter().fold(0.0, |max: f64, v| max.max(*v));
    let (mut chosen, mut rows): (Vec<u32>, Vec<Vec<f64>>) = (vec![], vec![]);
    while chosen.len() < count {
        // The first of equal ones.
        let Some((pivot, most)) = left.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1)).map(|(i, v)| (i, *v)) else { break };
        if most <= least {
            break; // what is left is rounding
        }
        let mut row = Array2::<f32>::zeros((1, scores.ncols()));
        matmul(1.0, scores.slice_axis(Axis(1), (pivot..pivot + 1).into()).t(), scores, false, row.view_mut());
        let mut row: Vec<f64> = row.iter().map(|v| f64::from(*v)).collect();
        for known in &rows {
            let times = known[pivot];
            row.iter_mut().zip(known).for_each(|(v, k)| *v -= times * k);
        }
        let root = most.sqrt();
        row.iter_mut().for_each(|v| *v /= root);
        left.iter_mut().zip(&row).for_each(|(left, v)| *left -= v * v);
        left[pivot] = f64::NEG_INFINITY;
        rows.push(row);
        chosen.push(pivot as u32);
    }
    chosen
}

fn centres(scores: ArrayView2<'_, f32>, count: usize, seed: u64) -> Result<Vec<u32>, Error> {
    let items = scores.t().as_standard_layout().into_owned();
    let clusters = KMeans::new(count).seed(seed).fit(items.view())?;
    let mut by_size: Vec<usize> = (0..count).collect();
    by_size.sort_by_key(|c| (std::cmp::Reverse(clusters.sizes[*c]), *c));
    let mut products = Array2::<f32>::zeros((count, items.nrows()));
    matmul(1.0, clusters.centroids.view(), scores, false, products.view_mut());
    let norms = items.map_axis(Axis(1), |row| row.iter().map(|v| v * v).sum::<f32>());
    let mut taken = Bitmap::none(items.nrows());
    let mut chosen = vec![];
    for c in by_size {
        let distance = |i: usize| norms[i] - 2.0 * products[(c, i)];
        let free = (0..items.nrows()).filter(|i| !taken.contains(*i));
        if let Some(item) = free.min_by(|a, b| distance(*a).total_cmp(&distance(*b))) {
            taken.insert(item);
            chosen.push(item as u32);
        }
    }
    Ok(chosen)
}
