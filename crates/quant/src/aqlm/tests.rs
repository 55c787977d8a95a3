use super::*;
use crate::Gptq;
use scant_tensor_core::compress::{Weights, compress};
use scant_tensor_core::rng::Rng;
use scant_tensor_core::stats::SiteStats;

fn normal(seed: u64, shape: (usize, usize)) -> Array2<f32> {
    let mut rng = Rng::new(seed);
    Array2::from_shape_simple_fn(shape, || rng.normal())
}

/// Inputs that depend on each other.
fn inputs(n: usize) -> Array2<f32> {
    let mix = normal(3, (n, n)) / (n as f32).sqrt();
    let mut x = normal(4, (4 * n, n)).dot(&mix);
    x.columns_mut().into_iter().enumerate().for_each(|(j, mut column)| column *= 0.3 + (j % 7) as f32 / 3.0);
    x
}

fn loss(state: &State<'_>) -> f64 {
    let sum = |first| {
        let [rest, times] = state.rest(first);
        rest.iter().zip(&times).map(|(r, t)| f64::from(*r) * f64::from(*t)).sum::<f64>()
    };
    state.chunks().into_iter().map(sum).sum()
}

#[test]
fn no_step_raises_the_loss() {
    let (w, x) = (normal(1, (96, 64)), inputs(64));
    let gram = x.t().dot(&x) / x.nrows() as f32;
    for (books, bits, group_size) in [(2, 5, 8), (1, 6, 4), (3, 4, 16)] {
        let spec = CodebookSpec::new([96, 64], books, bits, group_size).unwrap();
        let mut state = State::start(w.view(), &gram, spec).unwrap();
        let first = loss(&state);
        let mut last = first;
        for _ in 0..3 {
            for step in [search::sweep as fn(&mut State<'_>), update::codebooks, |state| {
                let _ = update::scales(state);
            }] {
                step(&mut state);
                let now = loss(&state);
                assert!(now <= last * (1.0 + 1e-6), "{now} after {last}");
                last = now;
            }
        }
        let told = update::scales(&mut state);
        assert!((told / loss(&state) - 1.0).abs() < 1e-3, "{told}");
        assert!(last < 0.8 * first, "{last} of {first}");
    }
}

#[test]
fn normal_numbers_have_the_known_error_at_two_bits() {
    // 2x8 in groups of 8; the inputs are independent, so the loss is the squared error.
    let (m, n) = (512, 64);
    let gram = Array2::eye(n);
    let w = normal(7, (m, n));
    let spec = CodebookSpec::new([m, n], 2, 8, 8).unwrap();
    let mut state = State::start(w.view(), &gram, spec).unwrap();
    let start = loss(&state) / (m * n) as f64;
    for _ in 0..6 {
        search::sweep(&mut state);
        update::codebooks(&mut state);
        update::scales(&mut state);
    }
    let end = loss(&state) / (m * n) as f64;
    assert!(start < 0.105 && end < 0.095 && end < start, "{start}, {end}");
}

#[test]
fn it_beats_gptq_at_two_bits_and_is_the_same_on_any_number_of_threads() {
    let (w, x) = (normal(1, (256, 128)), inputs(128));
    let mut stats = SiteStats::new(128, Statistic::Gram.into()).unwrap();
    stats.observe(x.view()).unwrap();
    let fit = |method: Box<dyn Compress>| {
        let (site, reports) = compress("site", vec![Weights::new("w", w.clone())], &stats, &[method], &()).unwrap();
        let mut dense = Array2::zeros(w.dim());
        site.linears()[0].terms()[0].op().add_to(dense.view_mut());
        (dense, reports[0].loss.unwrap())
    };
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let (one, loss) = pool(1).install(|| fit(Box::new(Aqlm::new(1, 8, 4))));
    let (three, _) = pool(3).install(|| fit(Box::new(Aqlm::new(1, 8, 4))));
    assert_eq!(one, three);
    let (_, gptq) = fit(Box::new(Gptq::new(2, 64)));
    assert!(loss < gptq, "{loss} and {gptq}");
}

#[test]
fn names_come_back_and_what_cannot_be_is_named() {
    for name in ["aqlm-2x8-g8", "aqlm-1x8-g4-r2", "aqlm-8x4-g16"] {
        assert_eq!(name.parse::<Aqlm>().unwrap().to_string(), name);
    }
    for (name, says) in [("aqlm-2x9", "2 codebooks of 9 bits"), ("aqlm-x", "`x` stands where"), ("aqlm-2x8-g5", "codewords of 5")] {
        let error = name.parse::<Aqlm>().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let mut stats = SiteStats::new(20, Statistic::Gram.into()).unwrap();
    stats.observe(normal(1, (40, 20)).view()).unwrap();
    let run = |method: Aqlm| {
        let methods: [Box<dyn Compress>; 1] = [Box::new(method)];
        compress("site", vec![Weights::new("w", normal(2, (8, 20)))], &stats, &methods, &()).map(drop).unwrap_err().to_string()
    };
    assert!(run(Aqlm::new(1, 4, 8)).contains("codewords of 8 weights for rows of 20"));
    assert!(run(Aqlm::new(1, 8, 4)).contains("40 rows, and at least 256 are needed"));
    assert!(run(Aqlm::new(1, 16, 4)).contains("16 bits"));
    let zeros = vec![Weights::new("w", Array2::zeros((64, 20)))];
    let methods: [Box<dyn Compress>; 1] = [Box::new(Aqlm::new(1, 4, 4))];
    assert_eq!(compress("site", zeros, &stats, &methods, &()).unwrap().1[0].max_error, 0.0);
}
