//! Methods against each other and against their definitions, on generated sites.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

mod awq;
mod blocks;
mod hqq;
mod spqr;

use ndarray::Array2;
use scant_quant::Rtn;
use scant_quant::grid::{GridParams, Zero};
use scant_tensor_core::compress::{Compress, LayerReport, SiteFit, Weights};
use scant_tensor_core::format::Grid;
use scant_tensor_core::rng::Rng;
use scant_tensor_core::stats::{SiteStats, StatSet, Statistic};
use scant_tensor_core::{Pre, Term};

const INPUTS: usize = 128;

fn weights(seed: u64, rows: usize) -> Array2<f32> {
    let mut rng = Rng::new(seed);
    // Tails heavier than a bell's, as weights have them.
    Array2::from_shape_simple_fn((rows, INPUTS), || rng.normal() * (0.5 * rng.normal()).exp())
}

/// Inputs that depend on each other, some of them much larger than the rest.
fn stats() -> SiteStats {
    let mut rng = Rng::new(3);
    let mix = Array2::from_shape_simple_fn((INPUTS, INPUTS), || rng.normal() / (INPUTS as f32).sqrt());
    let mut x = Array2::from_shape_simple_fn((4 * INPUTS, INPUTS), || rng.normal()).dot(&mix);
    for (j, mut column) in x.columns_mut().into_iter().enumerate() {
        column *= if j % 16 == 5 { 12.0 } else { 0.3 + (j % 7) as f32 / 4.0 };
    }
    let mut stats = SiteStats::new(INPUTS, Statistic::Gram.into()).unwrap();
    stats.observe(x.view()).unwrap();
    stats
}

fn unseen() -> SiteStats {
    SiteStats::new(INPUTS, StatSet::NONE).unwrap()
}

/// The term that a method makes of one matrix, what comes before it, and the report.
fn fit(method: impl Compress + 'static, w: &Array2<f32>, stats: &SiteStats) -> (Term, Pre, LayerReport) {
    let methods: Vec<Box<dyn Compress>> = vec![Box::new(method)];
    let mut site = SiteFit::new("site", vec![Weights::new("w", w.clone())], stats, &methods).unwrap();
    site.apply(&*methods[0], &()).unwrap();
    let pre = site.pre().clone();
    let (site, mut reports) = site.finish().unwrap();
    (site.linears()[0].terms()[0].clone(), pre, reports.remove(0))
}

fn grid(term: &Term) -> &Grid {
    match term {
        Term::Grid(grid) => grid,
        other => panic!("{other:?} is no grid"),
    }
}

fn dense(term: &Term) -> Array2<f32> {
    let [m, n] = term.op().shape();
    let mut w = Array2::zeros((m, n));
    term.op().add_to(w.view_mut());
    w
}

fn mean_abs_error(w: &Array2<f32>, term: &Term) -> f64 {
    (w - &dense(term)).iter().map(|e| f64::from(e.abs())).sum::<f64>() / w.len() as f64
}

fn float_zero(bits: u32, group: usize) -> Rtn {
    GridParams::new(bits, group).zero(Zero::Min).into()
}
