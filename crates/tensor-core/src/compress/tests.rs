use super::*;
use crate::format::{Dense, DenseType};
use crate::progress::Progress;
use crate::rng::Rng;
use crate::stats::Statistic;
use crate::transform::{Hadamard, Step};
use crate::{Ctx, Error, Mode, Workspace, isa::Isa, team::Team};
use ndarray::Array2;

/// Rounds what is left to multiples of a step, as a dense term.
struct Steps(f32);

impl Compress for Steps {
    fn name(&self) -> String {
        format!("steps-{}", self.0)
    }
    fn fit(&self, site: &mut SiteFit, _: &dyn Progress) -> Result<(), FitError> {
        for matrix in site.matrices_mut() {
            let rounded = matrix.residual().mapv(|w| (w / self.0).round() * self.0);
            matrix.push(Dense::new(rounded.view(), DenseType::F32).map_err(FitError::at(matrix.name()))?)?;
        }
        Ok(())
    }
}

/// Only a Pre.
struct Before(Step);

impl Compress for Before {
    fn name(&self) -> String {
        "before".to_owned()
    }
    fn needs(&self) -> StatSet {
        Statistic::MeanAbs.into()
    }
    fn pre(&self, _: &[ArrayView2<'_, f32>], _: &SiteStats) -> Result<Option<Pre>, FitError> {
        Ok(Some(Pre::new(vec![self.0.clone()]).unwrap()))
    }
    fn fit(&self, _: &mut SiteFit, _: &dyn Progress) -> Result<(), FitError> {
        Ok(())
    }
}

const N: usize = 24;

fn case() -> (Vec<Weights>, Array2<f32>, SiteStats) {
    let mut rng = Rng::new(31);
    let mut matrix = |name: &str, m: usize| Weights::new(name, Array2::from_shape_fn((m, N), |_| rng.normal()));
    let matrices = vec![matrix("q", 70), matrix("k", 5).bias(vec![0.25; 5])];
    let x = Array2::from_shape_fn((90, N), |(_, j)| rng.normal() * (1.0 + j as f32 / 9.0) + 0.8);
    let mut stats = SiteStats::new(N, Statistic::Gram.into()).unwrap();
    stats.observe(x.view()).unwrap();
    (matrices, x, stats)
}

fn outputs(site: &Site, x: &Array2<f32>) -> Array2<f32> {
    let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &Team::new(1) };
    let mut y = Array2::zeros((x.nrows(), site.outputs()));
    site.forward(&ctx, x.view(), &mut Workspace::default(), y.view_mut()).unwrap();
    y
}

fn wanted(matrices: &[Weights], x: &Array2<f32>) -> Array2<f32> {
    let parts: Vec<_> = matrices
        .iter()
        .map(|w| x.dot(&w.weights.t()) + &ndarray::Array1::from(w.bias.clone().unwrap_or(vec![0.0; w.weights.nrows()])))
        .collect();
    ndarray::concatenate(ndarray::Axis(1), &parts.iter().map(|p| p.view()).collect::<Vec<_>>()).unwrap()
}

/// The mean over inputs of the squared error of the outputs of one matrix.
fn mean_error(got: &Array2<f32>, want: &Array2<f32>, columns: std::ops::Range<usize>) -> f64 {
    let d = (got - want).slice(ndarray::s![.., columns]).mapv(f64::from);
    (&d * &d).sum() / d.nrows() as f64
}

#[test]
fn methods_apply_to_what_is_left_and_the_reported_loss_is_the_error_of_the_outputs() {
    let (matrices, x, stats) = case();
    let scale: Vec<f32> = (0..N).map(|j| 0.5 + j as f32 / 10.0).collect();
    let methods: Vec<Box<dyn Compress>> = vec![
        Box::new(Before(Step::Scale(scale.into()))),
        Box::new(Before(Step::Permute((0..24).rev().collect()))),
        Box::new(Steps(0.5)),
        Box::new(Steps(0.1)),
        Box::new(BiasFix),
    ];
    let want = wanted(&matrices, &x);
    for count in 3..=5 {
        let (site, reports) = compress("site", matrices.clone(), &stats, &methods[..count], &()).unwrap();
        assert_eq!(reports.len(), 2 * count);
        assert_eq!(site.pre().steps().len(), 2);
        let got = outputs(&site, &x);
        for (report, columns) in reports[2 * count - 2..].iter().zip([0..70, 70..75]) {
            let measured = mean_error(&got, &want, columns);
            let loss = report.loss.unwrap();
            assert!((loss / measured - 1.0).abs() < 2e-3, "{} {}: {loss}, measured {measured}", report.name, report.method);
        }
    }
    let (_, reports) = compress("site", matrices.clone(), &stats, &methods, &()).unwrap();
    for name in ["q", "k"] {
        let r: Vec<_> = reports.iter().filter(|r| r.name == name).collect();
        assert!(r.windows(2).all(|w| w[1].loss_before == w[0].loss));
        // Nothing is fitted yet: all of the matrix is left.
        assert_eq!((r[1].relative_loss, r[1].bits_per_weight - if name == "k" { 32.0 / N as f64 } else { 0.0 }), (Some(1.0), 0.0));
        assert!((r[1].relative_error - 1.0).abs() < 1e-6);
        // A fifth of the step is a twenty-fifth of the loss.
        let ratio = r[2].loss.unwrap() / r[3].loss.unwrap();
        assert!((18.0..35.0).contains(&ratio), "{ratio}");
        assert!(r[4].loss < r[3].loss);
        // 64 bits a weight by then; a bias of 4 bytes a row, which one of them had already.
        assert_eq!(r[4].footprint.bias, 4 * r[4].m as u64);
        assert_eq!(r[3].footprint.bias, if name == "k" { 20 } else { 0 });
        assert!(f64::from(r[3].max_error) <= 0.05 / 0.5 * 24.0, "{}", r[3].max_error);
    }
    let line = serde_json::to_string(&reports[0]).unwrap();
    let back: LayerReport = serde_json::from_str(&line).unwrap();
    // The last bit of a number may be lost on the way.
    assert!((back.loss.unwrap() / reports[0].loss.unwrap() - 1.0).abs() < 1e-15);
    assert_eq!(
        (&back.name, &back.method, back.footprint, &back.notes),
        (&reports[0].name, &reports[0].method, reports[0].footprint, &reports[0].notes)
    );
}

#[test]
fn errors_of_weights_are_reported_in_front_of_pre() {
    let (matrices, _, stats) = case();
    let fit = |step: Step| {
        let methods: [Box<dyn Compress>; 2] = [Box::new(Before(step)), Box::new(Steps(0.25))];
        let (site, reports) = compress("site", matrices.clone(), &stats, &methods, &()).unwrap();
        let mut dense = Array2::zeros((70, N));
        site.linears()[0].terms()[0].op().add_to(dense.view_mut());
        site.pre().out_of_weights(dense.view_mut()).unwrap();
        let error = dense - &matrices[0].weights;
        let norm = |w: &Array2<f32>| w.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>().sqrt();
        let report = &reports[2];
        assert!((report.relative_error - norm(&error) / norm(&matrices[0].weights)).abs() < 1e-5);
        assert!((report.max_error - error.iter().fold(0.0f32, |m, e| m.max(e.abs()))).abs() < 1e-5);
    };
    fit(Step::Scale((0..N).map(|j| 2.0 + j as f32).collect()));
    fit(Step::Hadamard(Hadamard::random(N, 2)));
}

#[test]
fn the_bias_takes_the_mean_error_away_and_starts_from_the_original_again() {
    let (matrices, x, stats) = case();
    let want = wanted(&matrices, &x);
    let methods: [Box<dyn Compress>; 2] = [Box::new(Steps(0.7)), Box::new(BiasFix)];
    let (site, _) = compress("site", matrices.clone(), &stats, &methods, &()).unwrap();
    let mean = (outputs(&site, &x) - &want).mean_axis(ndarray::Axis(0)).unwrap();
    assert!(mean.iter().all(|e| e.abs() < 1e-4), "{mean}");
    // A term after it, then the bias again: as if there had been one fix at the end.
    let again: [Box<dyn Compress>; 4] = [Box::new(Steps(0.7)), Box::new(BiasFix), Box::new(Steps(0.3)), Box::new(BiasFix)];
    let once: [Box<dyn Compress>; 3] = [Box::new(Steps(0.7)), Box::new(Steps(0.3)), Box::new(BiasFix)];
    let (again, _) = compress("site", matrices.clone(), &stats, &again, &()).unwrap();
    let (once, _) = compress("site", matrices, &stats, &once, &()).unwrap();
    assert_eq!(again.linears()[1].bias(), once.linears()[1].bias());
}

#[test]
fn a_site_keeps_one_inverse_factor() {
    let (matrices, _, stats) = case();
    let mut fit = SiteFit::new("site", matrices, &stats, &[]).unwrap();
    let first = fit.inverse_factor(0.01).unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &fit.inverse_factor(0.01).unwrap()));
    assert!(!std::sync::Arc::ptr_eq(&first, &fit.inverse_factor(0.1).unwrap()));
}

#[test]
fn what_is_missing_or_does_not_fit_is_named() {
    let (matrices, _, stats) = case();
    let none = SiteStats::new(N, StatSet::NONE).unwrap();
    let message = |matrices: Vec<Weights>, stats: &SiteStats, methods: Vec<Box<dyn Compress>>| {
        compress("site 3", matrices, stats, &methods, &()).map(|_| ()).unwrap_err().to_string()
    };
    let fix = || -> Vec<Box<dyn Compress>> { vec![Box::new(BiasFix)] };
    assert_eq!(message(matrices.clone(), &none, fix()), "bias at site 3 needs the statistic mean; there is none");
    assert_eq!(message(matrices.clone(), &stats, fix()), "`q` has no term: apply a method that fits one");
    // A rotation takes away what a later method needs.
    let rotate = Step::Hadamard(Hadamard::random(N, 1));
    let lost: Vec<Box<dyn Compress>> = vec![Box::new(Before(rotate.clone())), Box::new(Before(rotate))];
    assert!(message(matrices.clone(), &stats, lost).contains("needs the statistic mean_abs; there is gram, mean, mean_sq"));
    let other = SiteStats::new(N + 1, StatSet::NONE).unwrap();
    assert_eq!(message(matrices.clone(), &other, vec![]), "`q` has 24 inputs, the statistics of its site are of 25");
    let mut bad = matrices.clone();
    bad[1].weights[[2, 3]] = f32::NAN;
    assert_eq!(message(bad, &stats, vec![]), "`k`: weights: NaN at row 2, column 3 is not finite");
    let mut bad = matrices.clone();
    bad[1].bias = Some(vec![0.0; 4]);
    assert_eq!(message(bad, &stats, vec![]), "`k`: bias: want [5], got [4]");
    let empty = vec![Weights::new("e", Array2::zeros((0, N)))];
    assert!(message(empty, &stats, vec![]).contains("no elements"));
    assert!(message(vec![], &stats, vec![]).contains("no elements"));
    let mut fit = SiteFit::new("site", matrices.clone(), &none, &[]).unwrap();
    assert_eq!(fit.apply(&BiasFix, &()).unwrap_err().to_string(), "bias at site needs the statistic mean; there is none");
    let mut fit = SiteFit::new("site", matrices, &stats, &[]).unwrap();
    let wrong = Dense::new(Array2::ones((3, N)).view(), DenseType::F32).unwrap();
    assert!(matches!(fit.matrices_mut()[0].push(wrong), Err(FitError::At { source: Error::Shape { .. }, .. })));
}

#[test]
fn a_cancelled_fit_stops() {
    struct Stop;
    impl Progress for Stop {
        fn cancelled(&self) -> bool {
            true
        }
    }
    let (matrices, _, stats) = case();
    let methods: [Box<dyn Compress>; 1] = [Box::new(Keep(DenseType::F16))];
    assert!(matches!(compress("site", matrices, &stats, &methods, &Stop), Err(FitError::Cancelled { .. })));
}
