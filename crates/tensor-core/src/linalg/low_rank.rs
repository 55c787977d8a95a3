//! A few directions of a matrix by power iteration.

use super::matmul;
use crate::rng::Rng;
use ndarray::{Array2, ArrayView2, Axis};

/// `a [m, rank]` with orthonormal columns and `b [n, rank]` with `a b^T` near `x [m, n]`: power iteration from a random start, as GEAR
/// (Kang et al. 2024) does.
///
/// As `b = x^T a`, the product is an orthogonal projection of `x`: its error is `|x|^2 - |b|^2`, never more than `|x|^2`. Where `x` has a lower
/// rank, the columns beyond it are 0. O(loops m n rank).
///
/// ```
/// use ndarray::array;
/// use scant_tensor_core::linalg::low_rank;
/// let x = array![[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]; // of rank 1
/// let (a, b) = low_rank(x.view(), 1, 2, 7);
/// assert!((a.dot(&b.t()) - x).iter().all(|d: &f32| d.abs() < 1e-5));
/// ```
///
/// # Panics
/// If `rank` exceeds a side of `x`.
pub fn low_rank(x: ArrayView2<'_, f32>, rank: usize, loops: usize, seed: u64) -> (Array2<f32>, Array2<f32>) {
    let (m, n) = x.dim();
    assert!(rank <= m.min(n), "low_rank: rank {rank} of a matrix of {m} x {n}");
    let mut rng = Rng::new(seed);
    let mut b = Array2::from_shape_simple_fn((n, rank), || rng.normal());
    let mut a = Array2::zeros((m, rank));
    for _ in 0..loops.max(1) {
        orthonormal(&mut b);
        matmul(1.0, x, b.view(), false, a.view_mut());
        orthonormal(&mut a);
        matmul(1.0, x.t(), a.view(), false, b.view_mut());
    }
    (a, b)
}

/// Gram and Schmidt over the columns, twice; a column that depends on those before becomes 0.
fn orthonormal(x: &mut Array2<f32>) {
    for j in 0..x.ncols() {
        let (done, mut rest) = x.view_mut().split_at(Axis(1), j);
        let mut column = rest.column_mut(0);
        let before = column.dot(&column).sqrt();
        for _ in 0..2 {
            for other in done.columns() {
                let along = other.dot(&column);
                column.scaled_add(-along, &other);
            }
        }
        let norm = column.dot(&column).sqrt();
        let keep = norm.is_finite() && norm > 1e-6 * before;
        column.mapv_inplace(|v| if keep { v / norm } else { 0.0 });
    }
}
