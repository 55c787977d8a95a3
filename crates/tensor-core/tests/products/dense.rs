//! Matrices of f32, f16 and bf16.

use crate::{MODES, assert_same, check_doubles, check_not_finite, check_one_result, check_other_views, dense, random};
use ndarray::Array2;
use proptest::prelude::*;
use scant_tensor_core::format::{Dense, DenseType};
use scant_tensor_core::rng::Rng;
use scant_tensor_core::{LinearOp, Mode};
use scant_testkit::bounds::assert_gemv;

const TYPES: [DenseType; 3] = [DenseType::F32, DenseType::F16, DenseType::Bf16];

#[track_caller]
fn check(w: &Dense, tokens: usize, rng: &mut Rng, what: &str) {
    let x = random(rng, (tokens, w.shape()[1]));
    let numbers = dense(w);
    for mode in MODES {
        let y = check_one_result(w, mode, x.view(), what);
        check_doubles(w, mode, x.view(), y.view(), what);
        for (y, x) in y.rows().into_iter().zip(x.rows()) {
            assert_gemv(&y.to_vec(), numbers.as_slice().unwrap(), &x.to_vec());
        }
    }
    // There is nothing to round: Fast is Exact.
    let [exact, fast] = MODES.map(|mode| check_one_result(w, mode, x.view(), what));
    assert_same(exact.view(), fast.view(), what);
}

#[test]
fn every_type_and_length_is_a_product() {
    let mut rng = Rng::new(1);
    let mut tokens = 0;
    for n in (1..=70).chain([100, 127, 128, 129, 255, 576, 1023]) {
        for kind in TYPES {
            tokens = tokens % 9 + 1;
            let w = Dense::new(random(&mut rng, (1 + n % 35, n)).view(), kind).unwrap();
            check(&w, tokens, &mut rng, &format!("{kind:?}, {n} columns, {tokens} tokens"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_shape_is_a_product((m, n, tokens, kind, seed) in (1usize..70, 1usize..700, 1usize..20, 0usize..3, any::<u64>())) {
        let mut rng = Rng::new(seed);
        let w = Dense::new(random(&mut rng, (m, n)).view(), TYPES[kind]).unwrap();
        check(&w, tokens, &mut rng, "random shape");
    }
}

#[test]
fn zeros_constants_and_a_huge_entry() {
    let mut rng = Rng::new(2);
    let x = random(&mut rng, (5, 100));
    for kind in TYPES {
        let zero = Dense::new(Array2::zeros((20, 100)).view(), kind).unwrap();
        assert!(check_one_result(&zero, Mode::Exact, x.view(), "zero").iter().all(|y| *y == 0.0));
        check(&Dense::new(Array2::from_elem((20, 100), 0.3).view(), kind).unwrap(), 5, &mut rng, "constant");
        let mut w = random(&mut rng, (20, 100));
        w[[3, 97]] = if kind == DenseType::F16 { 65_504.0 } else { 1e30 };
        check(&Dense::new(w.view(), kind).unwrap(), 5, &mut rng, "a huge weight");
    }
}

#[test]
fn what_is_not_finite_is_answered_so() {
    let mut rng = Rng::new(3);
    for kind in TYPES {
        check_not_finite(&Dense::new(random(&mut rng, (17, 100)).view(), kind).unwrap(), &mut rng, "normal");
        check_not_finite(&Dense::new(Array2::zeros((17, 100)).view(), kind).unwrap(), &mut rng, "zeros");
    }
}

#[test]
fn rows_adjoints_sums_and_footprints() {
    let mut rng = Rng::new(4);
    for (kind, bytes) in TYPES.into_iter().zip([4, 2, 2]) {
        let w = Dense::new(random(&mut rng, (150, 33)).view(), kind).unwrap();
        check_other_views(&w, &mut rng, &format!("{kind:?}"));
        assert_eq!((w.footprint().values, w.footprint().total()), (150 * 33 * bytes, 150 * 33 * bytes));
    }
}

#[test]
fn halves_are_rounded_to_nearest_even() {
    let w = ndarray::array![[1.0 + 1.0 / 2048.0, 1.0 + 3.0 / 2048.0, -0.1]];
    let half = dense(&Dense::new(w.view(), DenseType::F16).unwrap());
    assert_eq!(half, ndarray::array![[1.0, 1.0 + 4.0 / 2048.0, -0.099_975_586]]);
    let too_large = ndarray::array![[1.0, 70_000.0]];
    let err = Dense::new(too_large.view(), DenseType::F16).unwrap_err().to_string();
    assert!(err.contains("row 0, column 1"), "{err}");
}
