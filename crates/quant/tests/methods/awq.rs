//! AWQ.

use crate::{INPUTS, fit, grid, stats, unseen, weights};
use ndarray::Array2;
use scant_quant::{Awq, Rtn};
use scant_tensor_core::compress::{Compress, FitError, SiteFit, Weights};
use scant_tensor_core::stats::{SiteStats, Statistic};

/// Inputs of one magnitude, independent of each other.
fn even() -> SiteStats {
    let mut stats = SiteStats::new(INPUTS, Statistic::Gram.into()).unwrap();
    stats.observe(Array2::eye(INPUTS).view()).unwrap();
    stats
}

#[test]
fn inputs_that_are_alike_leave_rounding_as_it_is() {
    let w = weights(1, 48);
    let (awq, pre, _) = fit(Awq::new(4, 32).without_clipping(), &w, &even());
    assert!(pre.is_none());
    assert_eq!(grid(&awq), grid(&fit(Rtn::new(4, 32), &w, &even()).0));
}

#[test]
fn its_loss_is_far_below_that_of_rounding() {
    let w = weights(2, 96);
    for bits in [3, 4] {
        let loss = |report: scant_tensor_core::compress::LayerReport| report.loss.unwrap();
        let rtn = loss(fit(Rtn::new(bits, 64), &w, &stats()).2);
        let (_, pre, scaled) = fit(Awq::new(bits, 64).without_clipping(), &w, &stats());
        let scaled = loss(scaled);
        assert_eq!(pre.steps().len(), 1);
        assert!(scaled < 0.7 * rtn, "{bits} bits: {scaled} scaled, {rtn} rounded");
        let clipped = loss(fit(Awq::new(bits, 64), &w, &stats()).2);
        assert!(clipped < scaled, "{bits} bits: {clipped} clipped, {scaled} scaled");
    }
}

#[test]
fn clipping_alone_lowers_the_error_of_independent_inputs() {
    let w = weights(3, 64);
    let loss = |clip: bool| fit(Awq { clip, ..Awq::new(3, 64) }, &w, &even()).2.loss.unwrap();
    // Groups are independent here, so what each gains adds up.
    assert!(loss(true) < 0.95 * loss(false), "{} {}", loss(true), loss(false));
}

#[test]
fn it_needs_the_statistics_that_it_names() {
    let methods: Vec<Box<dyn Compress>> = vec![Box::new(Awq::new(4, 64))];
    let error = SiteFit::new("site", vec![Weights::new("w", weights(4, 16))], &unseen(), &methods).unwrap_err();
    assert!(matches!(error, FitError::MissingStat { .. }), "{error}");
}

#[test]
fn names_parse_back() {
    for name in ["awq-4-g64", "awq-3-row-sym", "awq-4-g32-min-noclip"] {
        assert_eq!(name.parse::<Awq>().unwrap().to_string(), name);
    }
    assert!("awq-4-g64-act".parse::<Awq>().is_err());
}
