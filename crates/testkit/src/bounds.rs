//! What rounding may do to a sum of products, and nothing more.
//!
//! A sum of `n` products in f32, in any order and with or without fused steps, differs from the exact one by at most
//! `gamma_n * sum |a_i b_i|`, `gamma_n = n u / (1 - n u)`, `u = 2^-24` (Higham 2002, section 3.1). A relative bound on the
//! result itself does not exist: the sum may cancel. A kernel that skips or repeats an element misses this bound by far.

/// The bound on the error of the f32 dot product of `a` and `b`: `n * eps * sum |a_i b_i|`, with `eps = 2^-23`.
///
/// This is twice Higham's, which leaves room for a last step (`y += `) and for `n u` that is not small. Products that
/// underflow add up to one subnormal each.
///
/// # Panics
/// If the lengths differ.
pub fn dot_bound(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "dot_bound: lengths differ");
    let size: f64 = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) * f64::from(b)).abs()).sum();
    let n = a.len() as f64;
    n * (f64::from(f32::EPSILON) * size + f64::from(f32::from_bits(1)))
}

/// The dot product in f64, in order.
///
/// # Panics
/// If the lengths differ.
pub fn dot_f64(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "dot_f64: lengths differ");
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// Asserts that `got` is the dot product of `a` and `b` within [`dot_bound`].
///
/// # Panics
/// If it is not, or the lengths differ.
#[track_caller]
pub fn assert_dot(got: f32, a: &[f32], b: &[f32]) {
    assert_within(f64::from(got), dot_f64(a, b), dot_bound(a, b));
}

/// Asserts that `y` (`[m]`) is `W x`, `W` row by row (`[m, n]`), each row within [`dot_bound`].
///
/// # Panics
/// If it is not, or the shapes do not fit.
#[track_caller]
pub fn assert_gemv(y: &[f32], w: &[f32], x: &[f32]) {
    assert_eq!(w.len(), y.len() * x.len(), "assert_gemv: shapes do not fit");
    for (i, &got) in y.iter().enumerate() {
        let row = &w[i * x.len()..(i + 1) * x.len()];
        let (want, bound) = (dot_f64(row, x), dot_bound(row, x));
        assert!((f64::from(got) - want).abs() <= bound, "row {i}: {got} is {want} by more than {bound:e}");
    }
}

/// Asserts `|got - want| <= bound`; a NaN fails.
///
/// # Panics
/// If it is not so.
#[track_caller]
pub fn assert_within(got: f64, want: f64, bound: f64) {
    assert!((got - want).abs() <= bound, "{got} differs from {want} by {:e}, more than {bound:e}", (got - want).abs());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floats::normals;

    fn dot(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn honest_sums_pass_in_any_order() {
        for n in [0, 1, 7, 1000] {
            let (mut a, mut b) = (normals(1, n), normals(2, n));
            assert_dot(dot(&a, &b), &a, &b);
            a.reverse();
            b.reverse();
            assert_gemv(&[dot(&a, &b)], &a, &b);
        }
    }

    #[test]
    fn a_lost_element_fails() {
        let (a, b) = (normals(1, 1000), normals(2, 1000));
        let short = dot(&a[..999], &b[..999]);
        assert!((f64::from(short) - dot_f64(&a, &b)).abs() > dot_bound(&a, &b));
    }

    #[test]
    #[should_panic(expected = "more than")]
    fn nan_fails() {
        assert_within(f64::NAN, 0.0, 1.0);
    }
}
