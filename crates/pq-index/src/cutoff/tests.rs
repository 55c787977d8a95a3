use super::*;
use proptest::prelude::*;
use scant_tensor_core::rng::Rng;

/// Queries whose relevant candidates lie above a cosine that is a function of the query, 40 candidates each.
fn lists(n: usize, seed: u64) -> Vec<Judged> {
    let mut rng = Rng::new(seed);
    (0..n)
        .map(|_| {
            let query: Vec<f32> = (0..12).map(|_| rng.normal()).collect();
            let norm = query.iter().map(|v| v * v).sum::<f32>().sqrt();
            let boundary = 0.4 + 0.3 * query[0] / norm;
            let candidates = (0..40).map(|_| {
                let score = 0.9 * rng.uniform();
                (score, f32::from(u8::from(score + 0.05 * rng.normal() > boundary + 0.15)))
            });
            Judged::new(&query, candidates.collect()).unwrap()
        })
        .collect()
}

fn adapter(map: Map, features: bool, epochs: usize) -> Adapter {
    let params = AdapterParams::new(map, "e").epochs(epochs).rate(3e-3);
    let params = if features { params.features() } else { params };
    params.fit(&lists(300, 1), &lists(100, 2)).unwrap()
}

fn as_cutoff(adapter: Adapter) -> Cutoff {
    Cutoff::Adapter(Box::new(adapter))
}

fn hits(list: &Judged) -> Vec<Hit> {
    list.scores.iter().zip(0..).map(|(score, id)| Hit { id, score: *score }).collect()
}

#[test]
fn training_beats_every_rule_without_the_query() {
    let (dev, test) = (lists(100, 2), lists(200, 3));
    let area = |cutoff: &Cutoff| cutoff.report(&test).unwrap().pr_auc;
    let rules = [Cutoff::Global(0.0), Cutoff::Relative(0.0), Cutoff::Gap].map(|c| area(&c));
    for map in Map::ALL {
        for features in [false, true] {
            let trained = as_cutoff(adapter(map, features, 60)).tuned(&dev, Target::Recall(0.95)).unwrap();
            let report = trained.report(&test).unwrap();
            assert!(rules.iter().all(|rule| report.pr_auc > rule + 0.02), "{map:?} {features}: {report:?} {rules:?}");
            assert!((report.recall - 0.95).abs() < 0.03, "{map:?}: {report:?}");
            assert!(report.calibration.unwrap() < 0.1, "{map:?}: {report:?}");
        }
    }
}

#[test]
fn before_training_it_is_the_global_cutoff_bit_for_bit() {
    let (dev, test) = (lists(100, 2), lists(50, 3));
    for map in Map::ALL {
        for features in [false, true] {
            let start = as_cutoff(adapter(map, features, 0));
            for target in [Target::Recall(0.95), Target::Recall(0.5), Target::Precision(0.9)] {
                let (start, global) = (start.tuned(&dev, target).unwrap(), Cutoff::Global(0.0).tuned(&dev, target).unwrap());
                for list in &test {
                    assert_eq!(start.kept(list).unwrap(), global.kept(list).unwrap());
                    let q = ndarray::aview1(&list.query);
                    if !features {
                        assert_eq!(start.radius(q).unwrap(), global.radius(q).unwrap(), "{map:?}");
                    }
                }
                let (mut a, mut b) = (start.report(&test).unwrap(), global.report(&test).unwrap());
                assert!((a.pr_auc - b.pr_auc).abs() < 1e-12);
                (a.calibration, a.pr_auc, b.pr_auc) = (None, 0.0, 0.0);
                assert_eq!(a, b);
            }
        }
    }
}

#[test]
fn a_scan_that_starts_at_the_radius_returns_what_is_cut_later() {
    let cutoff = as_cutoff(adapter(Map::Power, false, 5)).tuned(&lists(100, 2), Target::Recall(0.6)).unwrap();
    let mut empty = 0;
    for list in lists(200, 9) {
        let q = ndarray::aview1(&list.query);
        let (all, radius) = (hits(&list), cutoff.radius(q).unwrap());
        for k in [1, 10, 40] {
            let mut pushed: Vec<Hit> = all.iter().copied().filter(|hit| hit.score >= radius).take(k).collect();
            let mut cut: Vec<Hit> = all.iter().copied().take(k).collect();
            let what = cutoff.apply(q, &mut cut).unwrap();
            assert_eq!(cut, pushed);
            assert_eq!((what.best, what.removed), (Some(all[0].score), k - cut.len()));
            cutoff.apply(q, &mut pushed).unwrap();
            assert_eq!(cut, pushed, "cut twice");
            empty += usize::from(cut.is_empty());
        }
    }
    let mut none = vec![];
    assert_eq!(cutoff.apply(ndarray::aview1(&[1.0; 12]), &mut none).unwrap(), Cut { best: None, removed: 0 });
    assert!(empty < 600);
}

#[test]
fn rules_without_training_cut_where_they_say() {
    let list = [0.9, 0.8, 0.4, 0.3, 0.1].map(|s| (s, 0.0)).to_vec();
    let list = Judged::new(&[1.0], list).unwrap();
    let kept = |c: Cutoff| c.kept(&list).unwrap();
    assert_eq!([kept(Cutoff::Global(0.3)), kept(Cutoff::Global(1.0)), kept(Cutoff::Relative(0.5)), kept(Cutoff::Gap)], [4, 0, 2, 2]);
    let one = Judged::new(&[1.0], vec![(-0.2, 0.0)]).unwrap();
    assert_eq!((Cutoff::Gap.kept(&one).unwrap(), Cutoff::Relative(0.1).kept(&one).unwrap()), (1, 0));
}

#[test]
fn thresholds_meet_their_targets() {
    let dev = lists(100, 2);
    for share in [0.1, 0.5, 0.95, 1.0] {
        let report = |target| Cutoff::Global(0.0).tuned(&dev, target).unwrap().report(&dev).unwrap();
        let recall = report(Target::Recall(share)).recall;
        assert!((share..share + 0.01).contains(&(recall + 1e-12)), "{recall} {share}");
        let precision = report(Target::Precision(share));
        assert!(precision.precision >= share && (precision.recall > 0.0 || precision.empty == 1.0), "{precision:?}");
    }
    assert!(matches!(Cutoff::Gap.tuned(&dev, Target::Recall(1.5)), Err(Error::OutOfRange { .. })));
}

#[test]
fn saved_it_is_the_same_and_only_for_its_encoder() {
    for features in [false, true] {
        let adapter = adapter(Map::Power, features, 2);
        let bytes = adapter.to_bytes().unwrap();
        let file = scant_tensor_core::file::File::from_bytes(bytes).unwrap();
        assert_eq!(Adapter::from_file(&file, "e").unwrap(), adapter);
        let error = Adapter::from_file(&file, "f").unwrap_err();
        assert!(matches!(error, Error::EncoderMismatch { .. }), "{error}");
    }
}

#[test]
fn bad_lists_are_refused_by_name() {
    assert!(matches!(Judged::new(&[1.0], vec![(f32::NAN, 0.0)]), Err(Error::NonFinite { .. })));
    assert!(matches!(Judged::new(&[1.0], vec![(0.1, 1.5)]), Err(Error::OutOfRange { .. })));
    let one = |label| vec![Judged::new(&[1.0, 0.0], vec![(0.5, label)]).unwrap()];
    let fit = |train: &[Judged]| AdapterParams::new(Map::Linear, "e").fit(train, train).unwrap_err().to_string();
    assert!(fit(&one(0.0)).contains("no relevant"), "{}", fit(&one(0.0)));
    assert!(fit(&one(1.0)).contains("no irrelevant"), "{}", fit(&one(1.0)));
    assert!(matches!(AdapterParams::new(Map::Linear, "e").fit(&[], &[]), Err(Error::EmptyTraining)));
    let trained = as_cutoff(adapter(Map::Linear, false, 0));
    let mut list = hits(&lists(1, 5)[0]);
    assert!(matches!(trained.apply(ndarray::aview1(&[1.0; 3]), &mut list), Err(Error::DimMismatch { .. })));
    assert!(matches!(trained.apply(ndarray::aview1(&[0.0; 12]), &mut list), Err(Error::ZeroVector { .. })));
    assert_eq!(list.len(), 40);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn order_stays_and_slopes_rise(seed in any::<u64>(), map in 0usize..4) {
        let mut adapter = AdapterParams::new(Map::ALL[map], "e").epochs(0).fit(&lists(20, 1), &lists(20, 2)).unwrap();
        let mut rng = Rng::new(seed);
        adapter.network.weights.iter_mut().for_each(|w| *w += rng.normal());
        let list = &lists(1, seed)[0];
        prop_assert!(adapter.theta(&adapter.network.forward(&adapter.input(&list.query, &list.scores).unwrap()).1).a > 0.0);
        let logits = adapter.logits(&list.query, &list.scores).unwrap();
        prop_assert!(logits.windows(2).all(|w| w[0] >= w[1]));
        let all = hits(list);
        let mut cut = all.clone();
        as_cutoff(adapter).apply(ndarray::aview1(&list.query), &mut cut).unwrap();
        prop_assert_eq!(&all[..cut.len()], &cut[..]);
    }
}
