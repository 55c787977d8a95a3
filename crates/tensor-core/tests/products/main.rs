//! Products of every format against an f64 reference: on every tier, in both modes, for one token and many.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

mod codebook;
mod csr;
mod dense;
mod grid;
mod low_rank;
mod palette;
mod sample;
mod site;
mod transforms;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use scant_tensor_core::isa::{Isa, Level};
use scant_tensor_core::rng::Rng;
use scant_tensor_core::{LinearOp, Mode, Pre, Prepared};
use std::ops::Range;

const MODES: [Mode; 2] = [Mode::Exact, Mode::Fast];

/// Normal values.
fn random(rng: &mut Rng, shape: (usize, usize)) -> Array2<f32> {
    Array2::from_shape_simple_fn(shape, || rng.normal())
}

/// `y[.., rows] += x W[rows]^T`.
fn accumulate(w: &dyn LinearOp, isa: Isa, mode: Mode, x: ArrayView2<'_, f32>, rows: Range<usize>, y: ArrayViewMut2<'_, f32>) {
    let mut prepared = Prepared::new();
    prepared.fill(isa, mode, &Pre::none(), w.wants(), x).unwrap();
    let mut staged = Array2::zeros((x.nrows(), w.staged_len()));
    // In pieces, as a site may.
    for start in (0..w.staged_len()).step_by(32) {
        let part = start..(start + 32).min(w.staged_len());
        w.stage(&prepared, part.clone(), staged.slice_mut(s![.., part]));
    }
    let mut second = Prepared::new();
    if w.staged_len() > 0 {
        second.fill(isa, mode, &Pre::none(), w.staged_wants(), staged.view()).unwrap();
    }
    w.accumulate(&prepared, &second, rows, y);
}

/// `x W^T`.
fn product(w: &dyn LinearOp, isa: Isa, mode: Mode, x: ArrayView2<'_, f32>) -> Array2<f32> {
    let m = w.shape()[0];
    let mut y = Array2::zeros((x.nrows(), m));
    accumulate(w, isa, mode, x, 0..m, y.view_mut());
    y
}

/// The matrix itself.
fn dense(w: &dyn LinearOp) -> Array2<f32> {
    let mut dense = Array2::zeros((w.shape()[0], w.shape()[1]));
    w.add_to(dense.view_mut());
    dense
}

/// The same bits; any NaN is like any other.
#[track_caller]
fn assert_same(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, what: &str) {
    assert_eq!(a.dim(), b.dim(), "{what}");
    for ((at, a), b) in a.indexed_iter().zip(b) {
        assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{what} at {at:?}: {a} and {b}");
    }
}

/// What holds for every format: tiers agree bit for bit, and so do a batch and its tokens alone, the whole and its panels.
/// Returns the product.
#[track_caller]
fn check_one_result(w: &dyn LinearOp, mode: Mode, x: ArrayView2<'_, f32>, what: &str) -> Array2<f32> {
    let m = w.shape()[0];
    let scalar = Isa::best().lower(Level::Scalar).unwrap();
    let want = product(w, scalar, mode, x);
    for isa in Isa::available() {
        let what = format!("{what}, {mode} on {isa}");
        assert_same(product(w, isa, mode, x).view(), want.view(), &what);
        for t in 0..x.nrows() {
            let one = s![t..t + 1, ..];
            assert_same(product(w, isa, mode, x.slice(one)).view(), want.slice(one), &format!("{what}, token {t} alone"));
        }
        let mut y = Array2::from_elem((x.nrows(), m), 1.0);
        for start in (0..m).step_by(32) {
            let rows = start..(start + 32).min(m);
            accumulate(w, isa, mode, x, rows.clone(), y.slice_mut(s![.., rows]));
        }
        assert_same(y.view(), (&want + 1.0).view(), &format!("{what}, by panels, onto ones"));
    }
    want
}

/// A product of numbers that do not underflow: doubling the input doubles the output, to the bit.
#[track_caller]
fn check_doubles(w: &dyn LinearOp, mode: Mode, x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>, what: &str) {
    for isa in Isa::available() {
        let doubled = product(w, isa, mode, x.mapv(|x| 2.0 * x).view());
        assert_same(doubled.mapv(|y| 0.5 * y).view(), y, &format!("{what}, {mode} on {isa}, doubled"));
    }
}

/// The adjoint, a row alone, and a matrix added onto another.
#[track_caller]
fn check_other_views(w: &dyn LinearOp, rng: &mut Rng, what: &str) {
    let [m, n] = w.shape();
    let all = dense(w);
    for i in [0, m / 2, m - 1] {
        let mut row = Array2::zeros((1, n));
        w.add_row(i, row.row_mut(0));
        assert_same(row.view(), all.slice(s![i..i + 1, ..]), &format!("{what}, row {i}"));
    }
    let mut onto = Array2::ones((m, n));
    w.add_to(onto.view_mut());
    assert_same(onto.view(), (&all + 1.0).view(), &format!("{what}, onto ones"));

    let (x, g) = (random(rng, (3, n)), random(rng, (3, m)));
    let mut dx = Array2::ones((3, n));
    w.accumulate_t(g.view(), dx.view_mut());
    for t in 0..3 {
        // <W x, g> = <x, W^T g>, both sums of the same m n products.
        let (mut forward, mut size) = (0.0, 0.0);
        for ((i, j), w) in all.indexed_iter() {
            let term = f64::from(g[[t, i]]) * f64::from(*w) * f64::from(x[[t, j]]);
            forward += term;
            size += term.abs() + f64::from(x[[t, j]]).abs();
        }
        let back: f64 = (0..n).map(|j| f64::from(x[[t, j]]) * (f64::from(dx[[t, j]]) - 1.0)).sum();
        let bound = (m + 2) as f64 * f64::from(f32::EPSILON) * size;
        assert!((forward - back).abs() <= bound, "{what}: <Wx, g> = {forward}, <x, W'g> = {back}, bound {bound:e}");
    }
}

/// A NaN or an infinity among the inputs of one token shows in all its outputs, and in no other token's.
#[track_caller]
fn check_not_finite(w: &dyn LinearOp, rng: &mut Rng, what: &str) {
    let [m, n] = w.shape();
    let x = random(rng, (9, n));
    for bad in scant_testkit::floats::not_finite() {
        for (token, column) in [(0, 0), (3, n / 2), (8, n - 1)] {
            let mut x = x.clone();
            x[[token, column]] = bad;
            for (isa, mode) in Isa::available().into_iter().flat_map(|isa| MODES.map(|mode| (isa, mode))) {
                let y = product(w, isa, mode, x.view());
                for ((t, i), y) in y.indexed_iter() {
                    assert_eq!(
                        y.is_finite(),
                        t != token,
                        "{what}, {mode} on {isa}: {bad} at [{token}, {column}] of {m} x {n}: y[{t}, {i}] is {y}"
                    );
                }
            }
        }
    }
}
