//! HQQ.

use crate::{fit, float_zero, grid, mean_abs_error, unseen, weights};
use ndarray::Array2;
use scant_quant::{Error, Hqq, Rtn};

#[test]
fn its_mean_error_is_below_that_of_rounding() {
    let w = weights(1, 64);
    for bits in [2, 3, 4] {
        let (term, pre, report) = fit(Hqq::new(bits, 64), &w, &unseen());
        assert!(pre.is_none());
        assert_eq!(report.bits_per_weight, f64::from(bits) + 32.0 / 64.0);
        let [hqq, float, whole] = [
            mean_abs_error(&w, &term),
            mean_abs_error(&w, &fit(float_zero(bits, 64), &w, &unseen()).0),
            mean_abs_error(&w, &fit(Rtn::new(bits, 64), &w, &unseen()).0),
        ];
        assert!(hqq < 0.99 * float && hqq < 0.99 * whole, "{bits} bits: {hqq}, {float} with float, {whole} with integer zeros");
    }
}

#[test]
fn groups_of_one_value_are_exact_to_half_precision() {
    let mut w = weights(2, 16);
    for (row, value) in [(3, 0.0), (4, 0.25), (5, -0.75)] {
        w.row_mut(row).fill(value);
    }
    let (term, ..) = fit(Hqq::new(2, 64), &w, &unseen());
    let read = grid(&term).to_dense();
    for row in [3, 4, 5] {
        assert_eq!(read.row(row), w.row(row));
    }
}

#[test]
fn every_row_stands_alone() {
    let w = weights(3, 48);
    let reversed = Array2::from_shape_fn(w.dim(), |(i, j)| w[[47 - i, j]]);
    let [a, b] = [&w, &reversed].map(|w| grid(&fit(Hqq::new(3, 32), w, &unseen()).0).to_dense());
    assert!((0..48).all(|i| a.row(i) == b.row(47 - i)));
}

#[test]
fn names_parse_back() {
    for name in ["hqq-4-g64", "hqq-2-row"] {
        assert_eq!(name.parse::<Hqq>().unwrap().to_string(), name);
    }
    for name in ["hqq-4", "hqq-4-g64-min", "hqq-4-g64-shrink", "rtn-4-g64"] {
        assert!(matches!(name.parse::<Hqq>(), Err(Error::MethodName { .. })), "{name}");
    }
}
