//! The statements of the closed form: losses are eigenvalue tails, nothing of the rank is better, forms agree, names parse back.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use ndarray::{Array2, ArrayView2, s};
use proptest::prelude::*;
use scant_lowrank::{Factorize, Factors, Fit, Size, Storage, Weight, Weighting};
use scant_tensor_core::Term;
use scant_tensor_core::compress::{BiasFix, Compress, FitError, Weights, compress};
use scant_tensor_core::format::DenseType;
use scant_tensor_core::rng::Rng;
use scant_tensor_core::stats::{SiteStats, StatSet, Statistic};

fn random(rng: &mut Rng, m: usize, n: usize) -> Array2<f32> {
    Array2::from_shape_simple_fn((m, n), || rng.normal())
}

/// Inputs with a mean and a falling spectrum.
fn inputs(rng: &mut Rng, tokens: usize, n: usize) -> Array2<f32> {
    let mix = random(rng, n, n);
    let z = Array2::from_shape_fn((tokens, n), |(_, j)| rng.normal() / (1.0 + j as f32).sqrt());
    z.dot(&mix) + 0.7
}

fn stats(x: &Array2<f32>) -> SiteStats {
    let mut stats = SiteStats::new(x.ncols(), StatSet::from(Statistic::Gram).with(Statistic::MeanAbs)).unwrap();
    stats.observe(x.view()).unwrap();
    stats
}

fn dense(term: &Term) -> Array2<f64> {
    let [m, n] = term.op().shape();
    let mut w = Array2::zeros((m, n));
    term.op().add_to(w.view_mut());
    w.mapv(f64::from)
}

/// `tr(D C D^T)` of a moment, drawn towards the identity as the weighting draws it.
fn loss(d: &Array2<f64>, gram: ArrayView2<'_, f32>, tokens: f64) -> f64 {
    let n = gram.nrows() as f64;
    let share = (n / (n + tokens)).clamp(0.01, 0.3);
    let mut c = gram.mapv(f64::from);
    let level = share * c.diag().sum() / n;
    c *= 1.0 - share;
    c.diag_mut().iter_mut().for_each(|v| *v += level);
    (d.dot(&c) * d).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_loss_is_the_tail_and_nothing_of_the_rank_is_better(m in 1usize..40, n in 1usize..40, share in 0.0f64..1.0, seed: u64) {
        let mut rng = Rng::new(seed);
        let (w, x) = (random(&mut rng, m, n), inputs(&mut rng, 80, n));
        let stats = stats(&x);
        let gram = stats.gram().unwrap();
        let weighting = Weighting::moment(gram.view(), stats.tokens()).unwrap();
        let fit = Fit::new(w.view(), &weighting).unwrap();
        prop_assert_eq!(fit.max_rank(), m.min(n));
        let all = loss(&w.mapv(f64::from), gram.view(), stats.tokens());
        let r = 1 + (share * (m.min(n) - 1) as f64) as usize;
        let (a, b) = fit.factors(r).unwrap();
        let left = loss(&(w.mapv(f64::from) - a.dot(&b)), gram.view(), stats.tokens());
        prop_assert!((left - fit.loss(r)).abs() <= 1e-6 * all, "{left} and {} of {all}", fit.loss(r));
        prop_assert!(fit.loss(m.min(n)) <= 1e-9 * all);
        for _ in 0..8 {
            let step = 10f64.powf(-4.0 * f64::from(rng.uniform()));
            let (a, b) = (&a + &random(&mut rng, m, r).mapv(|v| step * f64::from(v)), &b + &random(&mut rng, r, n).mapv(|v| step * f64::from(v)));
            let moved = loss(&(w.mapv(f64::from) - a.dot(&b)), gram.view(), stats.tokens());
            prop_assert!(moved >= left - 1e-9 * all, "{moved} is below {left}");
        }
        // Neither weighed by nothing nor by the diagonal can it be better.
        let (mean_abs, identity) = (Weighting::diagonal(&stats.mean_abs().unwrap()), Weighting::identity(n));
        for other in [mean_abs, identity] {
            let (a, b) = Fit::new(w.view(), &other).unwrap().factors(r).unwrap_or((Array2::zeros((m, 1)), Array2::zeros((1, n))));
            prop_assert!(loss(&(w.mapv(f64::from) - a.dot(&b)), gram.view(), stats.tokens()) >= left - 1e-9 * all);
        }
    }
}

#[test]
fn forms_of_a_term_agree_and_weigh_what_they_should() {
    let mut rng = Rng::new(3);
    for (m, n, r) in [(48, 32, 16), (32, 48, 20), (70, 64, 33), (16, 16, 15)] {
        let (w, x) = (random(&mut rng, m, n), inputs(&mut rng, 300, n));
        let stats = stats(&x);
        let gram = stats.gram().unwrap();
        let weighting = Weighting::moment(gram.view(), stats.tokens()).unwrap();
        let fit = Fit::new(w.view(), &weighting).unwrap();
        let of = |factors, storage| fit.term(r, &weighting, factors, storage).unwrap();
        let single = Factors::Dense(DenseType::F32);
        let (plain, pivoted) = (of(single, Storage::Plain), of(single, Storage::Pivoted));
        let (a, b) = (dense(&plain), dense(&pivoted));
        let size = a.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        assert!((&a - &b).iter().all(|d| d.abs() < 1e-4 * size), "{m} x {n}, rank {r}");
        assert_eq!(plain.op().footprint().total() as usize, 4 * r * (m + n));
        assert_eq!(pivoted.op().footprint().total() as usize, 4 * r * (m + n - r) + 8 * m.div_ceil(64));

        // What rounding costs is little in eight bits, more in four, and never more than the fit was worth.
        let lost = |factors, storage| loss(&(w.mapv(f64::from) - dense(&of(factors, storage))), gram.view(), stats.tokens());
        let (exact, half) = (fit.loss(r), lost(Factors::Dense(DenseType::F16), Storage::Pivoted));
        let (eight, four) = (lost(Factors::Grid(8), Storage::Plain), lost(Factors::Grid(4), Storage::Plain));
        assert!(half < 1.01 * exact + 1e-5 * fit.loss(0), "{half} of {exact}");
        assert!(
            eight < 1.1 * exact + 1e-4 * fit.loss(0) && eight < four && four < 0.5 * fit.loss(0),
            "{exact}, {eight}, {four} of {}",
            fit.loss(0)
        );
    }
}

#[test]
fn what_is_left_of_anything_gets_smaller_and_the_mean_is_kept() {
    let mut rng = Rng::new(5);
    let (m, n) = (64, 96);
    let (w, x) = (random(&mut rng, m, n), inputs(&mut rng, 600, n));
    let stats = stats(&x);
    let run = |names: &[&str]| {
        let methods: Vec<Box<dyn Compress>> = names
            .iter()
            .map(|name| if *name == "bias" { Box::new(BiasFix) as Box<dyn Compress> } else { Box::new(name.parse::<Factorize>().unwrap()) })
            .collect();
        compress("site", vec![Weights::new("w", w.clone())], &stats, &methods, &()).unwrap()
    };
    let loss = |names: &[&str]| run(names).1.last().unwrap().relative_loss.unwrap();
    assert!(loss(&["svdllm-p0.5"]) < loss(&["asvd-p0.5"]) && loss(&["asvd-p0.5"]) < loss(&["svd-p0.5"]));
    assert!(loss(&["svdllm-p0.75"]) < loss(&["svdllm-p0.75-plain"]));
    assert!(loss(&["svdllm-p0.5", "eora-r16"]) < loss(&["svdllm-p0.5"]));
    assert!(loss(&["lord-p0.5"]) <= loss(&["svdllm-p0.5", "bias"]) * 1.01);
    // The mean of the outputs is that of the original.
    let (site, _) = run(&["lord-p0.3"]);
    let [linear] = site.linears() else { panic!("one matrix") };
    let mean = x.mean_axis(ndarray::Axis(0)).unwrap();
    let got = dense(&linear.terms()[0]).mapv(|v| v as f32).dot(&mean) + &ndarray::arr1(linear.bias().unwrap());
    assert!((&got - &w.dot(&mean)).iter().all(|d| d.abs() < 1e-2), "{:?}", &got - &w.dot(&mean));
    // Shares are kept.
    for (name, share) in [("svdllm-p0.9", 0.9), ("svdllm-p0.5-plain", 0.5), ("lord-p0.4", 0.4)] {
        let bytes = run(&[name]).0.linears()[0].terms()[0].op().footprint().total();
        assert!(bytes as f64 <= share * (2 * m * n) as f64 + 8.0, "{name}: {bytes}");
    }
}

#[test]
fn names_parse_back_and_mistakes_say_what_to_write() {
    for name in ["svd-r16", "asvd-b0.5-plain", "svdllm-p0.75-bf16", "eora-b0.25", "eora-r32-f16", "lord-p0.5-8", "eora-r16-3"] {
        assert_eq!(name.parse::<Factorize>().unwrap().to_string(), name);
    }
    assert_eq!("eora-r16-4".parse::<Factorize>().unwrap(), Factorize::new(Weight::Residual, Size::Rank(16)));
    for (name, says) in [("svq-r1", "svq"), ("svd", "size"), ("svd-16", "16"), ("svd-r16-9", "9"), ("svd-pNaN", "pNaN")] {
        let text = name.parse::<Factorize>().unwrap_err().to_string();
        assert!(text.contains(name) && text.contains(says), "{text}");
    }
    let mut rng = Rng::new(6);
    let (w, x) = (random(&mut rng, 20, 30), inputs(&mut rng, 100, 30));
    let run = |name: &str, stats: &SiteStats, w: &Array2<f32>| {
        let methods: [Box<dyn Compress>; 1] = [Box::new(name.parse::<Factorize>().unwrap())];
        compress("site", vec![Weights::new("w", w.clone())], stats, &methods, &()).map(|_| ())
    };
    let all = stats(&x);
    for (name, says) in [("svd-r21", "20"), ("svd-r0", "0"), ("svd-p1.5", "1.5"), ("svd-b0", "0")] {
        let text = run(name, &all, &w).unwrap_err().to_string();
        assert!(text.contains(says), "{text}");
    }
    assert!(matches!(run("eora-r4", &SiteStats::new(30, StatSet::NONE).unwrap(), &w), Err(FitError::MissingStat { .. })));
    let few = stats(&x.slice(s![..5, ..]).to_owned());
    assert!(matches!(run("eora-r4", &few, &w), Err(FitError::TooFewSamples { .. })));
    let mut bad = w.clone();
    bad[[3, 4]] = f32::NAN;
    let text = run("svd-r4", &all, &bad).unwrap_err().to_string();
    assert!(text.contains("row 3, column 4"), "{text}");
    // One row, one column, zeros.
    for w in [random(&mut rng, 1, 30), Array2::zeros((20, 30)), Array2::zeros((50, 30))] {
        run("svdllm-p0.5", &all, &w).unwrap();
    }
    run("svd-r1", &stats(&inputs(&mut rng, 100, 1)), &random(&mut rng, 20, 1)).unwrap();
}
