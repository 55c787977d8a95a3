use super::*;
use scant_tensor_core::rng::Rng;

/// Logits of low rank that saturate, an offset for each item and noise: what cross-encoders give, `[queries, items]`.
fn saturated(queries: usize, items: usize, seed: u64) -> Array2<f32> {
    const RANK: usize = 12;
    let mut rng = Rng::new(seed);
    let mut draw = |rows| Array2::from_shape_simple_fn((rows, RANK), || rng.normal());
    let (u, v) = (draw(queries), draw(items));
    let offset: Vec<f32> = (0..items).map(|_| 0.5 * rng.normal()).collect();
    let mut scores = u.dot(&v.t());
    scores.indexed_iter_mut().for_each(|((_, i), s)| *s = 2.0 * (*s / 4.0).tanh() + offset[i] + 0.1 * rng.normal());
    scores
}

fn no_noise(queries: usize, items: usize, rank: usize, seed: u64) -> Array2<f32> {
    let mut rng = Rng::new(seed);
    let mut draw = |rows, columns| Array2::from_shape_simple_fn((rows, columns), || rng.normal());
    draw(queries, rank).dot(&draw(rank, items))
}

/// Recall at `k` and mean calls over the queries of `test`.
fn recall(cur: &Cur, test: ArrayView2<'_, f32>, k: usize, how: &CurSearch<'_>) -> f64 {
    let mut found = 0;
    for q in test.rows() {
        let mut calls = 0;
        let got = cur.search(
            &mut |item| {
                calls += 1;
                Ok(q[item as usize])
            },
            k,
            how,
        );
        let got = got.unwrap();
        assert_eq!((calls, got.calls), (how.budget, how.budget));
        let mut best = TopK::new(k);
        q.iter().zip(0..).for_each(|(s, i)| best.push(-s, i));
        let best: Vec<u64> = best.into_sorted().into_iter().map(|e| e.1).collect();
        found += got.hits.iter().filter(|h| best.contains(&h.id)).count();
    }
    found as f64 / (k * test.nrows()) as f64
}

fn split(scores: &Array2<f32>, anchors: usize) -> (Array2<f32>, ArrayView2<'_, f32>) {
    let (train, test) = scores.view().split_at(Axis(0), anchors);
    (train.to_owned(), test)
}

#[test]
fn the_ridge_holds_where_the_pseudo_inverse_breaks() {
    let scores = saturated(120 + 30, 1500, 1);
    let (train, test) = split(&scores, 120);
    let fit = |ridge| CurParams::default().ridge(ridge).fit(train.clone()).unwrap();
    // A ridge of next to nothing is the pseudo-inverse.
    let (ridge, pinv) = (fit(0.1), fit(1e-9));
    let at = |cur: &Cur, anchors| recall(cur, test, 10, &CurSearch::new(anchors + 60).anchors(anchors));
    let of_ridge: Vec<f64> = [30, 60, 120, 240].into_iter().map(|anchors| at(&ridge, anchors)).collect();
    let of_pinv: Vec<f64> = [30, 60, 120, 240].into_iter().map(|anchors| at(&pinv, anchors)).collect();
    println!("ridge {of_ridge:?}, pseudo-inverse {of_pinv:?}");
    assert!(of_ridge.iter().all(|r| *r >= 0.8), "{of_ridge:?}");
    assert!(of_pinv[2] <= 0.4, "{of_pinv:?}");
    assert!(of_ridge.iter().zip(&of_pinv).all(|(r, p)| r >= p), "{of_ridge:?} {of_pinv:?}");
}

#[test]
fn an_exact_low_rank_is_found_exactly() {
    let scores = no_noise(60, 400, 8, 2);
    let (train, test) = split(&scores, 40);
    for kind in [AnchorItems::Random, AnchorItems::Pivoted { count: 20 }, AnchorItems::KMeans { count: 20 }] {
        let cur = CurParams::default().ridge(1e-7).anchors(kind).fit(train.clone()).unwrap();
        for q in test.rows() {
            let mut known = Known::new(&cur, 20);
            let mut seen = vec![];
            for item in &cur.anchors[..20] {
                known.push(*item);
                seen.push(f64::from(q[*item as usize] - cur.mean[*item as usize]));
            }
            let (expected, residual) = known.predict(&seen);
            let worst = expected.iter().zip(q).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-3 * 10.0 && residual < 1e-4, "{kind:?}: {worst} {residual}");
        }
        assert_eq!(recall(&cur, test, 1, &CurSearch::new(30).anchors(20)), 1.0);
    }
}

#[test]
fn rounds_pay_for_few_calls_and_a_quarter_for_anchors_beats_half() {
    let scores = saturated(150 + 60, 2000, 3);
    let (train, test) = split(&scores, 150);
    let cur = CurParams::default().fit(train.clone()).unwrap();
    let pinv = CurParams::default().ridge(1e-9).fit(train).unwrap();
    let once = recall(&cur, test, 1, &CurSearch::new(60));
    let rounds = recall(&cur, test, 1, &CurSearch::new(60).adaptive(10));
    assert!(rounds >= once && once >= recall(&pinv, test, 1, &CurSearch::new(60)) - 0.02, "{rounds} {once}");
    let quarter = recall(&cur, test, 10, &CurSearch::new(200));
    let half = recall(&pinv, test, 10, &CurSearch::new(200).anchors(100));
    let chance = 0.1;
    println!("1 of 60: rounds {rounds}, once {once}; 10 of 200: {quarter}, {half}");
    assert!(quarter >= half && half > 3.0 * chance, "{quarter} {half}");
}

#[test]
fn leave_one_out_finds_more_ridge_for_more_noise() {
    let clean = no_noise(80, 600, 10, 4);
    let mut rng = Rng::new(5);
    let noisy = clean.mapv(|s| s + 4.0 * rng.normal());
    let ridge = |scores: &Array2<f32>| CurParams::default().fit(scores.clone()).unwrap().choose_ridge(60).ridge();
    assert!(ridge(&clean) < ridge(&noisy), "{} {}", ridge(&clean), ridge(&noisy));

    // The shortcut is what leaving out does: the residual of a query that the factor never saw.
    let cur = CurParams::default().fit(noisy.clone()).unwrap();
    let anchors: Vec<u32> = cur.anchors[..30].to_vec();
    let quick = cur.leave_one_out(&anchors, cur.scores.view());
    let mut slow = 0.0;
    for q in 0..80 {
        let rest: Vec<usize> = (0..80).filter(|r| *r != q).collect();
        // The same means and the same ridge, so that only the row is left out.
        let without = Cur { scores: cur.scores.select(Axis(0), &rest), mean: vec![0.0; 600], ..cur.clone() };
        let mut known = Known::new(&without, 30);
        anchors.iter().for_each(|item| known.push(*item));
        let seen: Vec<f64> = anchors.iter().map(|i| f64::from(cur.scores[(q, *i as usize)])).collect();
        let (expected, _) = known.predict(&seen);
        slow += expected.iter().zip(cur.scores.row(q)).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    }
    assert!((quick / slow - 1.0).abs() < 1e-3, "{quick} {slow}");
}

#[test]
fn an_unlike_query_shows_in_the_residual() {
    let scores = no_noise(60, 400, 8, 2);
    let cur = CurParams::default().fit(scores.slice_axis(Axis(0), (..40).into()).to_owned()).unwrap();
    let mut rng = Rng::new(6);
    let noise: Vec<f32> = (0..400).map(|_| rng.normal()).collect();
    let residual = |q: &dyn Fn(u32) -> f32| cur.search(&mut |i| Ok(q(i)), 1, &CurSearch::new(120)).unwrap().residual;
    let (like, unlike) = (residual(&|i| scores[(50, i as usize)]), residual(&|i| noise[i as usize]));
    assert!(like < 0.15 && unlike > 0.5, "{like} {unlike}");
}

#[test]
fn items_to_start_with_are_scored_first_and_duplicates_do_no_harm() {
    let mut scores = no_noise(30, 100, 3, 7);
    for i in 0..50 {
        let column = scores.column(i).to_owned();
        scores.column_mut(i + 50).assign(&column);
    }
    let cur = CurParams::default().ridge(1e-6).anchors(AnchorItems::Pivoted { count: 30 }).fit(scores.clone()).unwrap();
    let mut order = vec![];
    let how = CurSearch::new(40).anchors(20).start(&[7, 57, 7, 3]);
    let found = cur.search(
        &mut |item| {
            order.push(item);
            Ok(scores[(4, item as usize)])
        },
        2,
        &how,
    );
    let best = scores.row(4).iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let found = found.unwrap();
    assert_eq!(&order[..3], [7, 57, 3]);
    assert_eq!(order.iter().collect::<std::collections::HashSet<_>>().len(), 40);
    assert_eq!((found.hits[0].score, found.hits[1].score, found.hits[1].id), (best, best, found.hits[0].id + 50));
    // Everything equal, and more calls than items.
    let flat = CurParams::default().fit(Array2::zeros((3, 5))).unwrap();
    let found = flat.search(&mut |_| Ok(0.0), 9, &CurSearch::new(100).adaptive(3)).unwrap();
    assert_eq!((found.hits.iter().map(|h| h.id).collect::<Vec<_>>(), found.calls), (vec![0, 1, 2, 3, 4], 5));
}

#[test]
fn failures_name_the_item_and_bad_settings_both_values() {
    let cur = CurParams::default().fit(no_noise(10, 50, 3, 8)).unwrap();
    let item = u64::from(cur.anchors[2]);
    for bad in [f32::NAN, f32::INFINITY] {
        let mut calls = 0;
        let error = cur.search(
            &mut |i| {
                calls += 1;
                Ok(if u64::from(i) == item { bad } else { 1.0 })
            },
            1,
            &CurSearch::new(20),
        );
        assert!(matches!(error, Err(Error::Scorer { item: i, .. }) if i == item));
        assert_eq!(calls, 3, "nothing is scored after the failure");
    }
    let error = cur.search(&mut |_| Err("out of memory".into()), 1, &CurSearch::new(20)).unwrap_err();
    assert!(error.to_string().ends_with("could not be scored: out of memory"), "{error}");
    let ask = |k, how: CurSearch<'_>| cur.search(&mut |_| Ok(0.0), k, &how).unwrap_err();
    assert!(matches!(ask(0, CurSearch::new(5)), Error::KZero));
    assert!(matches!(ask(6, CurSearch::new(5)), Error::BudgetTooSmall { asked: 5, least: 6 }));
    assert!(matches!(ask(1, CurSearch::new(0)), Error::BudgetTooSmall { asked: 0, least: 1 }));
    assert!(matches!(ask(1, CurSearch::new(5).start(&[50])), Error::UnknownId { id: 50 }));
    assert!(matches!(CurParams::default().fit(Array2::zeros((0, 5))), Err(Error::EmptyTraining)));
    assert!(matches!(CurParams::default().ridge(0.0).fit(Array2::zeros((1, 5))), Err(Error::OutOfRange { .. })));
    let nan = Array2::from_elem((2, 2), f32::NAN);
    assert!(matches!(CurParams::default().fit(nan), Err(Error::NonFinite { .. })));
}

#[test]
fn saved_it_is_the_same() {
    let cur = CurParams::default().anchors(AnchorItems::KMeans { count: 5 }).fit(no_noise(10, 50, 3, 9)).unwrap();
    let bytes = cur.to_bytes().unwrap();
    let again = Cur::from_file(&scant_tensor_core::file::File::from_bytes(bytes.clone()).unwrap()).unwrap();
    assert_eq!(again, cur);
    assert_eq!(&again.to_bytes().unwrap()[..], &bytes[..]);
}
