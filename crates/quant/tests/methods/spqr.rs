//! SpQR against its definition.

use crate::{INPUTS, stats, weights};
use half::f16;
use ndarray::Array2;
use scant_quant::{Gptq, Rtn, Spqr};
use scant_tensor_core::compress::{Compress, LayerReport, SiteFit, Weights, compress};
use scant_tensor_core::format::{Csr, Grid};
use scant_tensor_core::progress::Progress;
use scant_tensor_core::stats::{SiteStats, StatSet};
use scant_tensor_core::{Linear, Term};

fn fit(methods: &[Box<dyn Compress>], w: &Array2<f32>) -> (Linear, Vec<LayerReport>) {
    let (site, reports) = compress("site", vec![Weights::new("w", w.clone())], &stats(), methods, &()).unwrap();
    (site.linears()[0].clone(), reports)
}

fn one(method: impl Compress + 'static, w: &Array2<f32>) -> (Linear, LayerReport) {
    let (linear, mut reports) = fit(&[Box::new(method)], w);
    (linear, reports.remove(0))
}

fn parts(linear: &Linear) -> (&Grid, Option<&Csr>) {
    match linear.terms() {
        [Term::Grid(grid)] => (grid, None),
        [Term::Grid(grid), Term::Csr(csr)] => (grid, Some(csr)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bytes_are_those_of_the_formula_and_the_share_is_the_one_asked_for() {
    let (m, n) = (192, INPUTS);
    let w = weights(5, m);
    for (bits, share) in [(3, 0.0), (3, 0.01), (4, 0.005), (2, 0.03)] {
        let (linear, report) = one(Spqr::new(bits).outliers(share), &w);
        let kept = parts(&linear).1.map_or(0, |csr| csr.values().len()) as f64 / (m * n) as f64;
        assert!((kept - f64::from(share)).abs() <= 0.1 * f64::from(share) + 1e-4, "{kept} of {share}");
        let pointers = if share > 0.0 { 32.0 * (m + 1) as f64 / (m * n) as f64 } else { 0.0 };
        let want = f64::from(bits) + 6.0 / 16.0 + 64.0 / 256.0 + 32.0 * kept + pointers;
        assert!((report.bits_per_weight - want).abs() < 1e-9, "{} and {want}", report.bits_per_weight);
        assert!(report.notes.get("outliers").is_some_and(|o| (o - kept).abs() < 1e-9));
    }
}

#[test]
fn outliers_come_back_and_more_of_them_lose_less() {
    let w = weights(6, 128);
    let mut last = f64::INFINITY;
    for share in [0.0, 0.002, 0.005, 0.01, 0.02] {
        let (linear, report) = one(Spqr::new(3).outliers(share), &w);
        let loss = report.loss.unwrap();
        assert!(loss <= last, "{share}: {loss} after {last}");
        last = loss;
        let (grid, csr) = parts(&linear);
        if let Some(csr) = csr {
            let mut sum = grid.to_dense();
            let base = sum.clone();
            scant_tensor_core::LinearOp::add_to(csr, sum.view_mut());
            // What is stored beside the grid is a half, added once.
            for (at, base) in base.indexed_iter() {
                let rest = sum[at] - base;
                assert!((f16::from_f32(rest).to_f32() - rest).abs() <= 1e-3 * rest.abs() + 1e-6);
            }
        }
    }
}

/// Removes the elements of largest magnitude, or of a fixed pattern.
struct Apart {
    count: usize,
    by_size: bool,
}

impl Compress for Apart {
    fn name(&self) -> String {
        "apart".to_owned()
    }
    fn fit(&self, site: &mut SiteFit, _: &dyn Progress) -> Result<(), scant_tensor_core::compress::FitError> {
        for matrix in site.matrices_mut() {
            let w = matrix.residual().to_owned();
            let mut order: Vec<usize> = (0..w.len()).collect();
            let mut rng = scant_tensor_core::rng::Rng::new(1);
            rng.shuffle(&mut order);
            let flat = w.as_slice().unwrap();
            if self.by_size {
                order.sort_by(|a, b| flat[*b].abs().total_cmp(&flat[*a].abs()));
            }
            let mut kept = Array2::zeros(w.dim());
            order[..self.count].iter().for_each(|i| kept.as_slice_mut().unwrap()[*i] = flat[*i]);
            matrix.push(Csr::from_dense(kept.view()).unwrap())?;
        }
        Ok(())
    }
}

#[test]
fn sensitivity_chooses_better_than_size_and_size_better_than_chance() {
    let w = weights(7, 128);
    let (linear, ours) = one(Spqr::new(3).outliers(0.01), &w);
    let count = parts(&linear).1.unwrap().values().len();
    let apart = |by_size| {
        let methods: [Box<dyn Compress>; 2] = [Box::new(Apart { count, by_size }), Box::new(Spqr::new(3).outliers(0.0))];
        fit(&methods, &w).1[1].loss.unwrap()
    };
    let (ours, size, chance) = (ours.loss.unwrap(), apart(true), apart(false));
    assert!(ours < size && size < chance, "{ours}, {size}, {chance}");
}

#[test]
fn at_equal_bits_it_loses_less_than_gptq_and_that_less_than_rounding() {
    let w = weights(8, 256);
    let (_, spqr) = one(Spqr::new(3).outliers(0.008), &w);
    // Rows of 128 pay dearly for their pointers: a quarter of a bit.
    let (_, gptq) = one(Gptq::new(3, 16), &w);
    let (_, rtn) = one(Rtn::new(3, 16), &w);
    assert!(spqr.bits_per_weight < gptq.bits_per_weight);
    assert!(spqr.loss < gptq.loss && gptq.loss < rtn.loss, "{:?} {:?} {:?}", spqr.loss, gptq.loss, rtn.loss);
}

#[test]
fn doubled_weights_give_doubled_weights() {
    let w = weights(9, 48);
    let dense = |linear: &Linear| {
        let mut sum = Array2::zeros(w.dim());
        linear.terms().iter().for_each(|t| t.op().add_to(sum.view_mut()));
        sum
    };
    let once = dense(&one(Spqr::new(3), &w).0);
    let twice = dense(&one(Spqr::new(3), &(&w * 2.0)).0);
    assert_eq!(once * 2.0, twice);
}

#[test]
fn rows_of_zeros_and_odd_shapes_work() {
    let mut w = weights(10, 37);
    w.row_mut(3).fill(0.0);
    w.row_mut(4).fill(0.25);
    w.slice_mut(ndarray::s![16..32, 32..48]).fill(0.0);
    let (_, report) = one(Spqr::new(3), &w);
    assert!(report.relative_loss.unwrap() < 0.1);
    assert!(one(Spqr::new(2), &Array2::zeros((5, INPUTS))).1.max_error == 0.0);
}

#[test]
fn names_come_back_and_what_cannot_be_is_named() {
    for name in ["spqr-3-g16-o1", "spqr-4-g32-o0.5-act-damp1", "spqr-2-row-o0"] {
        assert_eq!(name.parse::<Spqr>().unwrap().to_string(), name);
    }
    for (name, says) in [("spqr-5", "5 bits"), ("spqr-3-g10", "groups of 10"), ("spqr-3-o7", "7 %"), ("spqr-3-x", "`x` is no option")] {
        let error = name.parse::<Spqr>().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let run = |method: Spqr, stats: &SiteStats| {
        compress("site", vec![Weights::new("w", weights(1, 16))], stats, &[Box::new(method) as Box<dyn Compress>], &())
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    assert!(run(Spqr::new(3).outliers(0.2), &stats()).contains("share of outliers is 0.2"));
    assert!(run(Spqr::new(7), &stats()).contains("7 bits: choose one of [2, 3, 4]"));
    assert!(run(Spqr::new(3), &SiteStats::new(INPUTS, StatSet::NONE).unwrap()).contains("needs the statistic gram"));
}
