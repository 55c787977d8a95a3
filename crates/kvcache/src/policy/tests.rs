//! Who stays and what is merged, on heads made here.

use super::*;
use ndarray::Array1;

fn heads(seed: u64, n: usize, count: usize) -> Vec<HeadState> {
    let mut rng = Rng::new(seed);
    (0..count)
        .map(|h| HeadState {
            keys: Array2::from_shape_simple_fn((n, 8), || rng.normal()),
            values: Array2::from_shape_simple_fn((n, 6), || rng.normal()),
            entries: (0..n as u32)
                .map(|p| Entry { position: p, count: 1, global: rng.uniform().powi(1 + 8 * h as i32), local: rng.uniform() })
                .collect(),
        })
        .collect()
}

fn place() -> Place {
    Place { layer: 0, layers: 4, frequencies: vec![1.0, 0.3, 0.1, 0.01].into() }
}

fn policy(name: &str, budget: usize) -> Policy {
    format!("{name}:{budget}").parse().expect("a known policy")
}

#[test]
fn as_many_stay_as_there_are_places() {
    for (name, method) in METHODS {
        let before = heads(1, 300, 3);
        let mut after = before.clone();
        assert!(policy(name, 64).apply(&mut after, &place()), "{name}");
        let all: usize = after.iter().map(|h| h.entries.len()).sum();
        if *method != Method::Pyramid {
            assert_eq!(all, 3 * 64, "{name}");
        }
        for head in &after {
            assert_eq!((head.keys.nrows(), head.values.nrows()), (head.entries.len(), head.entries.len()), "{name}");
            assert!(head.entries.windows(2).all(|p| p[0].position < p[1].position), "{name}");
            assert!(head.entries[head.entries.len() - 16..].iter().map(|e| e.position).eq(284..300), "{name}: the last stay");
            if matches!(method, Method::Streaming | Method::Random | Method::D2o | Method::Ems { .. }) {
                assert!(head.entries[..4].iter().map(|e| e.position).eq(0..4), "{name}: the first stay");
            }
            assert!(head.keys.iter().chain(&head.values).all(|x| x.is_finite()), "{name}");
        }
        assert!(!policy(name, 64).apply(&mut heads(1, 60, 2), &place()), "{name}: nothing to do");
    }
}

#[test]
fn pyramids_have_the_budget_on_average() {
    for (budget, entries) in [(256, 4096), (128, 900), (64, 400)] {
        let of = |layer| pyramid(budget, entries, &Place { layer, layers: 30, ..Place::default() });
        let all: Vec<usize> = (0..30).map(of).collect();
        assert!(all.windows(2).all(|p| p[0] >= p[1]) && all[0] > all[29], "{all:?}");
        let mean = all.iter().sum::<usize>() as f64 / 30.0;
        assert!((mean - budget as f64).abs() < 1.0, "{mean} {budget}");
    }
    assert_eq!(pyramid(256, 300, &Place { layers: 30, ..Place::default() }), 256);
}

#[test]
fn without_merging_the_best_stay() {
    let before = heads(2, 200, 1);
    let mut after = before.clone();
    policy("ems-evict", 64).apply(&mut after, &place());
    let scores = policy("ems-evict", 64).scores(&before[0].entries, 0);
    let mut want = best(&scores, 4..168, 64 - 36);
    want.extend((0..4).chain(168..200));
    want.sort_unstable();
    assert!(after[0].entries.iter().map(|e| e.position as usize).eq(want));
}

#[test]
fn heads_that_spread_get_more() {
    let before = heads(3, 400, 2); // the second head's scores are concentrated
    for name in ["ems-aligned", "ems-evict"] {
        let mut after = before.clone();
        after.iter_mut().for_each(|h| h.entries.iter_mut().for_each(|e| e.local = e.global));
        policy(name, 80).apply(&mut after, &place());
        assert!(after[0].entries.len() > after[1].entries.len(), "{name}");
        assert!(after[1].entries.len() >= 36 + 8, "{name}: the floor");
    }
}

#[test]
fn merging_keeps_count_and_score() {
    // Keys and values of four kinds, so that all that is considered is merged.
    let mut before = heads(4, 240, 1);
    for i in 0..240 {
        for c in 0..8 {
            before[0].keys[[i, c]] = if c == i % 4 { 2.0 } else { 0.0 };
        }
        for c in 0..6 {
            before[0].values[[i, c]] = if c == i % 4 { 1.0 } else { 0.0 };
        }
        before[0].entries[i].local = 1.0;
        before[0].entries[i].global = 1.0;
    }
    let total = |h: &HeadState| (h.entries.iter().map(|e| e.count).sum::<u32>(), h.entries.iter().map(|e| e.global).sum::<f32>());
    for name in ["ems-stored", "ems-kept"] {
        let mut after = before.clone();
        policy(name, 64).apply(&mut after, &place());
        let (count, score) = total(&after[0]);
        // Of 204 candidates 194 make up 95 % of the score; the others are dropped.
        assert_eq!(count, 230, "{name}");
        assert!((score - 230.0).abs() < 1e-3, "{name}");
        // Merging what is alike changes nothing.
        for (i, e) in after[0].entries.iter().enumerate() {
            assert_eq!(after[0].keys.row(i), before[0].keys.row(e.position as usize), "{name}");
            assert!((&after[0].values.row(i) - &before[0].values.row(e.position as usize)).iter().all(|d| d.abs() < 1e-6), "{name}");
        }
    }
}

#[test]
fn aligned_keys_of_one_content_are_that_content() {
    let frequencies = place().frequencies;
    let content = Array1::from(vec![1.0, -0.5, 2.0, 0.25, 0.5, 1.5, -1.0, 0.75]);
    let at = |p: f64| {
        let mut key = content.clone();
        merge::turn(&mut key, p, &frequencies);
        key
    };
    // Back and forth is where it was.
    let mut back = at(37.0);
    merge::turn(&mut back, -37.0, &frequencies);
    assert!((&back - &content).iter().all(|d| d.abs() < 1e-5));
    // Low frequencies alone, so that stored keys are alike enough to be merged.
    let slow: Arc<[f32]> = vec![1e-3; 4].into();
    let mut head = heads(5, 120, 1);
    for i in 0..120 {
        let mut key = content.clone();
        merge::turn(&mut key, i as f64, &slow);
        head[0].keys.row_mut(i).assign(&key);
        head[0].values.row_mut(i).fill(1.0);
    }
    policy("ems-aligned", 40).apply(&mut head, &Place { frequencies: slow.clone(), ..place() });
    assert!(head[0].entries.iter().any(|e| e.count > 1));
    for (i, e) in head[0].entries.iter().enumerate() {
        let mut want = content.clone();
        merge::turn(&mut want, f64::from(e.position), &slow);
        assert!((&head[0].keys.row(i) - &want).iter().all(|d| d.abs() < 1e-4), "{e:?}");
    }
}

#[test]
fn names_come_back() {
    for (name, _) in METHODS {
        assert_eq!(policy(name, 99).to_string(), format!("{name}:99"));
    }
}
