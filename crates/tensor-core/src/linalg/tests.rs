use super::*;
use crate::rng::Rng;

/// A Gram matrix with eigenvalues that fall as `1 / j^2` over three decades, as activations have.
fn gram(n: usize, seed: u64) -> Array2<f32> {
    let mut rng = Rng::new(seed);
    let mut x = Array2::from_shape_fn((4 * n, n), |_| rng.normal());
    for (j, mut column) in x.columns_mut().into_iter().enumerate() {
        let scale = 1.0 / (1.0 + j as f32 * 30.0 / n as f32);
        column *= scale;
    }
    // A common part, so that columns are correlated.
    let common = x.column(0).to_owned();
    x.columns_mut().into_iter().skip(1).for_each(|mut c| c.scaled_add(0.3, &common));
    x.t().dot(&x) / (4 * n) as f32
}

/// Upper `U` with `a^-1 = U^T U` in f64, by the textbook: factor, invert, factor.
fn reference(a: &Array2<f32>) -> Vec<Vec<f64>> {
    let n = a.nrows();
    let lower = |a: &dyn Fn(usize, usize) -> f64| {
        let mut l = vec![vec![0.0; n]; n];
        for j in 0..n {
            for i in j..n {
                let s = a(i, j) - (0..j).map(|k| l[i][k] * l[j][k]).sum::<f64>();
                l[i][j] = if i == j { s.sqrt() } else { s / l[j][j] };
            }
        }
        l
    };
    let l = lower(&|i, j| f64::from(a[[i, j]]));
    let mut inverse = vec![vec![0.0; n]; n];
    #[expect(clippy::needless_range_loop, reason = "a column of the inverse, by its index as in the formula")]
    for c in 0..n {
        let mut y = vec![0.0; n];
        for i in 0..n {
            let s = f64::from(u8::from(i == c)) - (0..i).map(|k| l[i][k] * y[k]).sum::<f64>();
            y[i] = s / l[i][i];
        }
        for i in (0..n).rev() {
            let s = y[i] - (i + 1..n).map(|k| l[k][i] * inverse[k][c]).sum::<f64>();
            inverse[i][c] = s / l[i][i];
        }
    }
    let l = lower(&|i, j| inverse[i][j]);
    (0..n).map(|i| (0..n).map(|j| l[j][i]).collect()).collect()
}

#[test]
fn factors_in_f32_agree_with_f64() {
    for n in [1, 2, 33, 130] {
        let mut a = gram(n, 5);
        let mean = a.diag().mean().unwrap();
        a.diag_mut().iter_mut().for_each(|x| *x += 0.01 * mean);
        let (u, want) = (inverse_factor(a.view()).unwrap(), reference(&a));
        let largest = want.iter().flatten().fold(0.0f64, |m, x| m.max(x.abs()));
        for ((i, j), u) in u.indexed_iter() {
            let error = (f64::from(*u) - want[i][j]).abs();
            assert!(error < 2e-4 * largest, "n = {n}, ({i}, {j}): {u}, in f64 {}", want[i][j]);
            assert!(j >= i || *u == 0.0);
        }
        let identity = spd_inverse(a.view()).unwrap().dot(&a);
        let back = cholesky(a.view()).unwrap();
        let back = back.dot(&back.t());
        for ((i, j), x) in identity.indexed_iter() {
            assert!((x - f32::from(u8::from(i == j))).abs() < 2e-3, "n = {n}, ({i}, {j}): {x}");
            assert!((back[[i, j]] - a[[i, j]]).abs() < 1e-5 * mean * 10.0, "n = {n}, ({i}, {j}): {}", back[[i, j]]);
        }
    }
}

#[test]
fn a_multiple_of_the_identity_has_an_exact_factor() {
    let u = inverse_factor((Array2::eye(70) * 4.0).view()).unwrap();
    assert_eq!(u, Array2::<f32>::eye(70) * 0.5);
}

#[test]
fn what_has_no_factor_is_an_error() {
    let cases = [ndarray::array![[1.0, 2.0], [2.0, 1.0]], Array2::zeros((3, 3)), Array2::from_elem((2, 2), f32::NAN)];
    for a in cases {
        for result in [cholesky(a.view()), inverse_factor(a.view()), spd_inverse(a.view())] {
            assert!(matches!(result, Err(Error::NotPositiveDefinite { .. })), "{result:?}");
        }
    }
    let error = cholesky(Array2::zeros((2, 3)).view()).unwrap_err();
    assert_eq!(error.to_string(), "matrix to be factored: want [2, 2], got [2, 3]");
    assert!(inverse_factor(Array2::zeros((0, 0)).view()).unwrap().is_empty());
}
