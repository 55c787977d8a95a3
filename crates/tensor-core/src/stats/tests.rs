use super::*;
use crate::file::{Bytes, File, FileError, Writer};
use crate::rng::Rng;
use crate::transform::Hadamard;
use scant_testkit::corrupt;
use std::slice::from_ref;

fn inputs(tokens: usize, n: usize, seed: u64) -> Array2<f32> {
    let mut rng = Rng::new(seed);
    Array2::from_shape_fn((tokens, n), |(_, j)| rng.normal() * (1.0 + j as f32 / 8.0) + 0.5)
}

fn observed(sequences: &[Array2<f32>]) -> SiteStats {
    let mut stats = SiteStats::new(sequences[0].ncols(), Statistic::Gram.into()).unwrap();
    sequences.iter().for_each(|x| stats.observe(x.view()).unwrap());
    stats
}

fn close(got: &[f32], want: impl IntoIterator<Item = f64>, tolerance: f64) {
    for (j, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(*got) - want).abs() <= tolerance * want.abs().max(1e-3), "{j}: {got}, want {want}");
    }
}

#[test]
fn sums_are_those_of_the_definitions() {
    // More inputs than one task, a sequence longer than one chunk, a short one.
    let sequences = [inputs(4099, 100, 1), inputs(3, 100, 2)];
    let stats = observed(&sequences);
    let tokens = 4102.0;
    assert_eq!((stats.tokens(), stats.sequences(), stats.inputs()), (tokens, 2.0, 100));
    let all: Vec<_> = sequences.iter().flat_map(|x| x.rows()).collect();
    let mean = |f: &dyn Fn(f64) -> f64, j: usize| all.iter().map(|row| f(f64::from(row[j]))).sum::<f64>() / tokens;
    close(&stats.mean().unwrap(), (0..100).map(|j| mean(&|x| x, j)), 1e-5);
    close(&stats.mean_abs().unwrap(), (0..100).map(|j| mean(&f64::abs, j)), 1e-6);
    close(&stats.mean_sq().unwrap(), (0..100).map(|j| mean(&|x| x * x, j)), 1e-6);
    let norm = |x: &Array2<f32>, j: usize| x.column(j).iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    close(&stats.seq_norm().unwrap(), (0..100).map(|j| (norm(&sequences[0], j) + norm(&sequences[1], j)) / 2.0), 1e-6);
    let gram = stats.gram().unwrap();
    for (i, j) in [(0, 0), (63, 64), (64, 63), (99, 1), (70, 70)] {
        let want = all.iter().map(|row| f64::from(row[i]) * f64::from(row[j])).sum::<f64>() / tokens;
        close(&[gram[[i, j]]], [want], 1e-5);
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let sequences = [inputs(700, 200, 3), inputs(17, 200, 4)];
    let run = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| observed(&sequences));
    assert_eq!(run(1), run(2));
    assert_eq!(run(1), run(3));
}

#[test]
fn merging_shards_is_one_pass_and_weights_count_tokens() {
    let (a, b) = (inputs(50, 9, 5), inputs(20, 9, 6));
    let whole = observed(&[a.clone(), b.clone()]);
    let mut merged = observed(from_ref(&a));
    merged.merge(&observed(from_ref(&b)), 1.0).unwrap();
    assert_eq!(merged.tokens(), whole.tokens());
    for (got, want) in merged.gram().unwrap().iter().zip(&whole.gram().unwrap()) {
        close(&[*got], [f64::from(*want)], 1e-6);
    }
    let mut thrice = observed(from_ref(&a));
    thrice.merge(&observed(from_ref(&b)), 3.0).unwrap();
    let repeated = observed(&[a.clone(), b.clone(), b.clone(), b]);
    assert_eq!(thrice.tokens(), 110.0);
    close(&thrice.mean().unwrap(), repeated.mean().unwrap().into_iter().map(f64::from), 1e-6);
    close(&thrice.seq_norm().unwrap(), repeated.seq_norm().unwrap().into_iter().map(f64::from), 1e-6);

    let without = SiteStats::new(9, StatSet::NONE).unwrap();
    thrice.merge(&without, 1.0).unwrap();
    assert!(!thrice.has().contains(Statistic::Gram));
    assert!(thrice.merge(&SiteStats::new(8, StatSet::NONE).unwrap(), 1.0).is_err());
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(thrice.merge(&without, weight).is_err(), "{weight}");
    }
}

#[test]
fn behind_pre_they_are_the_statistics_of_what_pre_gives() {
    let n = 24;
    let mut order: Vec<u32> = (0..24).collect();
    let mut rng = Rng::new(7);
    rng.shuffle(&mut order);
    let scale: Vec<f32> = (0..n).map(|_| rng.uniform() - 1.5).collect();
    let steps = [Step::Scale(scale.into()), Step::Permute(order.into()), Step::Hadamard(Hadamard::random(n, 1))];
    let x = inputs(60, n, 8);
    for count in 0..=3 {
        let pre = Pre::new(steps[..count].to_vec()).unwrap();
        let mut moved = x.clone();
        moved.rows_mut().into_iter().for_each(|mut row| {
            let out = pre.vector(&row.to_vec()).unwrap();
            row.iter_mut().zip(out).for_each(|(x, y)| *x = y);
        });
        let (got, want) = (observed(from_ref(&x)).behind(&pre).unwrap(), observed(&[moved]));
        close(&got.mean().unwrap(), want.mean().unwrap().into_iter().map(f64::from), 1e-4);
        close(&got.mean_sq().unwrap(), want.mean_sq().unwrap().into_iter().map(f64::from), 1e-4);
        for (got, want) in got.gram().unwrap().iter().zip(&want.gram().unwrap()) {
            assert!((got - want).abs() < 1e-3, "{count} steps: {got}, want {want}");
        }
        assert_eq!(got.mean_abs().is_some(), count < 3, "magnitudes do not survive a rotation");
        if count < 3 {
            close(&got.mean_abs().unwrap(), want.mean_abs().unwrap().into_iter().map(f64::from), 1e-4);
            close(&got.seq_norm().unwrap(), want.seq_norm().unwrap().into_iter().map(f64::from), 1e-4);
        }
    }
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let mut stats = observed(&[inputs(5, 3, 9)]);
    let before = stats.clone();
    assert!(stats.observe(Array2::zeros((4, 2)).view()).is_err());
    for bad in [f32::NAN, f32::INFINITY] {
        let mut x = inputs(5, 3, 10);
        x[[4, 1]] = bad;
        let error = stats.observe(x.view()).unwrap_err().to_string();
        assert!(error.starts_with("observed inputs: ") && error.ends_with("at row 4, column 1 is not finite"), "{error}");
    }
    stats.observe(Array2::zeros((0, 3)).view()).unwrap();
    assert_eq!(stats, before);
    assert!(SiteStats::new(0, StatSet::NONE).is_err());
    assert_eq!(SiteStats::new(3, Statistic::Gram.into()).unwrap().has(), StatSet::NONE);
}

/// The bytes of a file with the statistics of two sites, one of them behind a rotation.
fn fixture() -> Vec<u8> {
    let mut all = ActivationStats::default();
    all.about.insert("propagation".to_owned(), "from-float".to_owned());
    let site = observed(&[inputs(4, 3, 11)]);
    let rotated = SiteStats::new(2, StatSet::NONE).unwrap();
    let mut rotated = rotated.behind(&Pre::new(vec![Step::Hadamard(Hadamard::random(2, 1))]).unwrap()).unwrap();
    rotated.observe(inputs(2, 2, 12).view()).unwrap();
    all.sites.insert("a".to_owned(), site);
    all.sites.insert("b".to_owned(), rotated);
    let path = std::env::temp_dir().join(format!("scant-stats-fixture-{}-{:?}", std::process::id(), std::thread::current().id()));
    all.save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(ActivationStats::open(&path).unwrap(), all);
    std::fs::remove_file(&path).unwrap();
    bytes
}

#[test]
fn saved_statistics_open_as_they_were_and_damage_is_noticed() {
    let file = fixture();
    let whole = ActivationStats::from_file(&File::from_bytes(Bytes::from(file.clone())).unwrap()).unwrap();
    for (damage, bytes) in corrupt::every_way(&file) {
        let opened = File::from_bytes(Bytes::from(bytes)).map_err(Error::from).and_then(|f| ActivationStats::from_file(&f));
        // Spaces of the header may become others.
        assert!(opened.is_err() || opened.is_ok_and(|opened| opened == whole), "{damage}");
    }
}

#[test]
fn statistics_that_no_pass_can_have_gathered_are_refused() {
    let write = |inputs: usize, gram: Vec<f32>, sq: Vec<f64>| {
        let site = serde_json::json!({ "inputs": inputs, "gram": true, "abs": false, "sq": true, "norm": false });
        let mut w = Writer::new("stats", 1).parameters(&serde_json::json!({ "about": {}, "sites": { "a": site } })).unwrap();
        w.add_elements("a.counts", [2], &[1.0, 1.0]).unwrap();
        w.add_elements("a.sum", [2], &[1.0, 1.0]).unwrap();
        w.add_elements("a.sq", [sq.len()], &sq).unwrap();
        w.add_elements("a.gram", [gram.len()], &gram).unwrap();
        ActivationStats::from_file(&File::from_bytes(w.to_bytes().unwrap()).unwrap())
    };
    assert!(write(2, vec![1.0, 0.5, 1.0], vec![1.0, 1.0]).is_ok());
    assert!(matches!(write(2, vec![1.0, 0.5, -1.0], vec![1.0, 1.0]), Err(Error::File(FileError::Value { at: 2, .. }))));
    assert!(matches!(write(2, vec![1.0, f32::NAN, 1.0], vec![1.0, 1.0]), Err(Error::File(FileError::Value { at: 1, .. }))));
    assert!(matches!(write(2, vec![1.0, 0.5, 1.0], vec![1.0, -1.0]), Err(Error::File(FileError::Value { at: 1, .. }))));
    assert!(matches!(write(2, vec![1.0, 0.5], vec![1.0, 1.0]), Err(Error::File(FileError::Unexpected { .. }))));
    for inputs in [0, 3, 1 << 31, usize::MAX] {
        assert!(write(inputs, vec![1.0, 0.5, 1.0], vec![1.0, 1.0]).is_err(), "{inputs}");
    }
}
