//! Sparse rows.

use crate::{MODES, check_doubles, check_one_result, check_other_views, random};
use half::f16;
use ndarray::{Array2, array};
use proptest::prelude::*;
use scant_tensor_core::LinearOp;
use scant_tensor_core::file::Typed;
use scant_tensor_core::format::{Columns, Csr};
use scant_tensor_core::rng::Rng;

/// A share of the elements, in f16; the first row is full and the last one empty.
fn sparse(rng: &mut Rng, (m, n): (usize, usize), share: f32) -> Array2<f32> {
    Array2::from_shape_fn((m, n), |(i, _)| {
        let kept = i == 0 || i + 1 < m && rng.uniform() < share;
        if kept { f16::from_f32(rng.normal()).to_f32() } else { 0.0 }
    })
}

fn check(rng: &mut Rng, shape: (usize, usize), share: f32, tokens: usize) {
    let w = sparse(rng, shape, share);
    let csr = Csr::from_dense(w.view()).unwrap();
    let mut dense = Array2::zeros(shape);
    csr.add_to(dense.view_mut());
    assert_eq!(dense, w);
    let x = random(rng, (tokens, shape.1));
    let (w, x64) = (w.mapv(f64::from), x.mapv(f64::from));
    let (want, size) = (x64.dot(&w.t()), x64.mapv(f64::abs).dot(&w.mapv(f64::abs).t()));
    for mode in MODES {
        let y = check_one_result(&csr, mode, x.view(), "csr");
        check_doubles(&csr, mode, x.view(), y.view(), "csr");
        for (at, y) in y.indexed_iter() {
            let bound = (shape.1 + 8) as f64 * f64::from(f32::EPSILON) * size[at];
            assert!((f64::from(*y) - want[at]).abs() <= bound, "{mode}: y{at:?} = {y}, not {}", want[at]);
        }
    }
}

#[test]
fn products_and_other_views() {
    let mut rng = Rng::new(1);
    for (i, shape) in [(1, 1), (2, 15), (17, 16), (40, 300), (33, 1000)].into_iter().enumerate() {
        for share in [0.0, 0.01, 0.2, 1.0] {
            check(&mut rng, shape, share, 1 + 2 * i);
        }
    }
    let csr = Csr::from_dense(sparse(&mut rng, (37, 100), 0.1).view()).unwrap();
    check_other_views(&csr, &mut rng, "csr");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_sparse_matrix_is_a_product((m, n, tokens) in (1usize..40, 1usize..200, 1usize..5), share in 0f32..1.0, seed in any::<u64>()) {
        check(&mut Rng::new(seed), (m, n), share, tokens);
    }
}

#[test]
fn wide_matrices_have_columns_of_32_bits() {
    let mut w = Array2::zeros((2, 70_000));
    (w[[0, 69_999]], w[[1, 65_536]]) = (2.0, 3.0);
    let csr = Csr::from_dense(w.view()).unwrap();
    assert!(matches!(csr.columns(), Columns::U32(_)));
    assert_eq!(csr.footprint().indices, 3 * 4 + 2 * 4);
    let mut x = Array2::zeros((1, 70_000));
    (x[[0, 69_999]], x[[0, 65_536]]) = (5.0, 7.0);
    assert_eq!(crate::product(&csr, scant_tensor_core::isa::Isa::best(), MODES[0], x.view()), array![[10.0, 21.0]]);
}

#[test]
fn arrays_that_lie_are_refused_by_name() {
    let csr = |starts: &[u32], columns: &[u16], values: &[f32]| {
        let values: Typed<f16> = values.iter().map(|v| f16::from_f32(*v)).collect();
        Csr::from_parts([2, 8], starts.into(), Columns::U16(columns.into()), values).map(drop).map_err(|e| e.to_string())
    };
    assert!(csr(&[0, 1, 3], &[7, 0, 1], &[1.0, 2.0, 3.0]).is_ok());
    for (starts, columns, values, says) in [
        (&[0, 1][..], &[7, 0, 1][..], &[1.0, 2.0, 3.0][..], "starts of sparse rows: want [3], got [2]"),
        (&[0, 1, 2], &[7, 0, 1], &[1.0, 2.0, 3.0], "first and last start of sparse rows: want [0, 3], got [0, 2]"),
        (&[1, 1, 3], &[7, 0, 1], &[1.0, 2.0, 3.0], "want [0, 3], got [1, 3]"),
        (&[0, 4, 3], &[7, 0, 1], &[1.0, 2.0, 3.0], "sparse row 0"),
        (&[0, 1, 3], &[8, 0, 1], &[1.0, 2.0, 3.0], "column in sparse row 0: index 8 is not below 8"),
        (&[0, 1, 3], &[7, 1, 1], &[1.0, 2.0, 3.0], "columns of sparse row 1"),
        (&[0, 1, 3], &[7, 0], &[1.0, 2.0, 3.0], "columns of sparse elements: want [3], got [2]"),
        (&[0, 1, 3], &[7, 0, 1], &[1.0, f32::NAN, 3.0], "NaN at row 1, column 0"),
    ] {
        let error = csr(starts, columns, values).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    assert!(Csr::from_dense(array![[1e6]].view()).unwrap_err().to_string().contains("not finite"));
    assert!(Csr::from_dense(Array2::zeros((0, 3)).view()).is_err());
}
