use super::*;
use crate::rerank::FullVectors;
use proptest::prelude::*;
use scant_tensor_core::file::File;
use scant_tensor_core::retrieve::{Bitmap, Column, Filter, Hit, TopK, Value};
use scant_tensor_core::rng::Rng;

const DIM: usize = 24;

/// Clusters with falling variances, and queries near them.
fn rows(n: usize, seed: u64) -> Array2<f32> {
    let mut rng = Rng::new(7);
    let centres = Array2::from_shape_simple_fn((20, DIM), || 2.0 * rng.normal());
    let mut rng = Rng::new(seed);
    let mut x = Array2::zeros((n, DIM));
    for mut row in x.rows_mut() {
        let centre = rng.below(20);
        row.iter_mut().enumerate().for_each(|(j, v)| *v = centres[(centre, j)] + rng.normal() * 0.9f32.powi(j as i32));
    }
    x
}

fn attributes(n: usize) -> Columns {
    let mut rng = Rng::new(3);
    let mut uniform = || (0..n).map(|_| rng.uniform()).collect::<Vec<f32>>();
    let named = [("a", Column::F32(uniform())), ("b", Column::F32(uniform()))];
    let whole = Column::I64((0..n as i64).map(|i| i % 1000).collect());
    Columns::from(named.into_iter().chain([("c", whole)])).unwrap()
}

fn ids(n: usize) -> Vec<u64> {
    (0..n as u64).collect()
}

/// A filter that about this share of rows passes.
fn share(eta: f32) -> Filter {
    let side = Value::F32(eta.sqrt());
    Filter::And(vec![Filter::at_most("a", side), Filter::at_most("b", side)])
}

fn brute(metric: Metric, x: &Array2<f32>, q: &Array2<f32>, rows: &Bitmap, k: usize) -> Vec<Vec<Hit>> {
    let vectors = FullVectors::new(x);
    let ids: Vec<u64> = rows.iter().map(|row| row as u64).collect();
    let of_query = |q: ndarray::ArrayView1<'_, f32>| {
        let mut scores = vec![0.0; ids.len()];
        crate::rerank::Reranker::score(&vectors, metric, q, &ids, &mut scores).unwrap();
        let mut best = TopK::new(k);
        ids.iter().zip(&scores).for_each(|(id, score)| best.push(metric.order().key(*score), *id));
        best.into_sorted().into_iter().map(|(key, id)| Hit { id, score: metric.order().key(key) }).collect()
    };
    q.rows().into_iter().map(of_query).collect()
}

fn recall(found: &[Vec<Hit>], truth: &[Vec<Hit>]) -> f64 {
    let both = |(f, t): (&Vec<Hit>, &Vec<Hit>)| f.iter().filter(|f| t.iter().any(|t| t.id == f.id)).count();
    found.iter().zip(truth).map(both).sum::<usize>() as f64 / truth.iter().map(Vec::len).sum::<usize>() as f64
}

#[test]
fn filtered_recall_is_high_and_the_paper_coarse_stage_is_the_weak_link() {
    let (n, k) = (6000, 10);
    let (x, q, columns) = (rows(n, 1), rows(50, 2), attributes(n));
    let squash = SquashBuilder::new(6, 4 * DIM).build(&ids(n), &x, &columns).unwrap();
    let vectors = FullVectors::new(&x);
    for eta in [1.0, 0.5, 0.08, 0.01] {
        let filter = share(eta);
        let matching = filter.rows(&columns, &ids(n)).unwrap();
        let truth = brute(Metric::L2, &x, &q, &matching, k);
        let options = SquashOptions { filter: Some(&filter), ..Default::default() };
        let (hits, stages) = squash.search(q.view(), k, &vectors, &options).unwrap();
        assert!(hits.iter().flatten().all(|hit| matching.contains(hit.id as usize)), "only rows that match");
        assert!(hits.iter().all(|hits| hits.len() == k.min(matching.count())));
        assert!(recall(&hits, &truth) >= 0.95, "{eta}: {}", recall(&hits, &truth));
        assert_eq!(stages.filter.rows_out, matching.count() as u64);
        assert_eq!((stages.partitions.rows_out, stages.coarse.rows_out), (stages.coarse.rows_in, stages.look_up.rows_in));
        assert_eq!(stages.refine.rows_in * 4 * DIM as u64, stages.refine.bytes);
    }
    // Hardly any candidates: signs of the query lose more than the query itself.
    let narrow = |coarse| SquashOptions { coarse, share: 0.0, refine: 1, stretch: 10.0, ..Default::default() };
    let truth = brute(Metric::L2, &x, &q, &Bitmap::all(n), k);
    let [paper, ours] = [Coarse::Hamming, Coarse::Asymmetric].map(|coarse| {
        let (hits, _) = squash.search(q.view(), k, &vectors, &narrow(coarse)).unwrap();
        recall(&hits, &truth)
    });
    assert!(ours > paper + 0.02, "{ours} and {paper}");
}

#[test]
fn exact_mode_is_filtered_brute_force_bit_for_bit() {
    let n = 3000;
    let (mut x, columns) = (rows(n, 1), attributes(n));
    // Ties: some rows are there twice.
    for i in 0..100 {
        let row = x.row(i).to_owned();
        x.row_mut(n - 1 - i).assign(&row);
    }
    let q = rows(20, 2);
    for metric in [Metric::L2, Metric::Cosine] {
        let squash = SquashBuilder::new(5, 3 * DIM).metric(metric).build(&ids(n), &x, &columns).unwrap();
        for eta in [1.0, 0.1, 0.001] {
            let filter = share(eta);
            let matching = filter.rows(&columns, &ids(n)).unwrap();
            let options = SquashOptions { filter: Some(&filter), exact: true, ..Default::default() };
            let (hits, stages) = squash.search(q.view(), 10, &FullVectors::new(&x), &options).unwrap();
            assert_eq!(hits, brute(metric, &x, &q, &matching, 10), "{metric} {eta}");
            assert!(eta < 1.0 || stages.refine.rows_in < 20 * 300, "{} vectors read of 20 queries", stages.refine.rows_in);
        }
    }
}

#[test]
fn every_query_gets_all_there_is() {
    let n = 500;
    let (x, columns) = (rows(n, 1), attributes(n));
    let squash = SquashBuilder::new(8, 2 * DIM).build(&ids(n), &x, &columns).unwrap();
    for last in [0, 1, 7, 40] {
        let filter = Filter::at_most("c", Value::I64(last));
        for exact in [false, true] {
            let options = SquashOptions { filter: Some(&filter), stretch: 1.0, exact, ..Default::default() };
            let (hits, _) = squash.search(x.view(), 20, &FullVectors::new(&x), &options).unwrap();
            assert!(hits.iter().all(|hits| hits.len() == 20.min(last as usize + 1) && hits.iter().all(|h| h.id <= last as u64)));
        }
    }
    let nothing = Filter::at_most("c", Value::I64(-1));
    let options = SquashOptions { filter: Some(&nothing), ..Default::default() };
    assert_eq!(squash.search(x.view(), 3, &FullVectors::new(&x), &options).unwrap().0, vec![vec![]; n]);
    // More than there are: all of them.
    let (hits, _) = squash.search(x.view(), 9999, &FullVectors::new(&x), &SquashOptions::default()).unwrap();
    assert!(hits.iter().all(|hits| hits.len() == n));
}

#[test]
fn threads_and_files_change_nothing() {
    let n = 1500;
    let (x, columns) = (rows(n, 1), attributes(n));
    let build = || SquashBuilder::new(4, 70).build(&ids(n), &x, &columns).unwrap();
    let bytes = build().to_bytes().unwrap();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| build().to_bytes().unwrap())[..], bytes[..]);
    }
    let opened = Squash::from_file(&File::from_bytes(bytes.clone()).unwrap()).unwrap();
    assert_eq!(opened.to_bytes().unwrap()[..], bytes[..]);
    let filter = share(0.3);
    let options = SquashOptions { filter: Some(&filter), ..Default::default() };
    let search = |squash: &Squash| squash.search(x.view(), 5, &FullVectors::new(&x), &options).unwrap();
    assert_eq!(search(&opened), search(&build()));
    for cut in (0..bytes.len()).step_by(997) {
        assert!(File::from_bytes(bytes.slice(..cut)).and_then(|f| f.verify().map(|()| f)).is_err());
    }
}

#[test]
fn small_and_bad_input() {
    let x = rows(40, 1);
    let none = Columns::default();
    let build = |builder: SquashBuilder, x: &Array2<f32>| builder.build(&ids(x.nrows()), x, &none);
    // Forty rows in thirty partitions: those of one row are dissolved.
    let squash = build(SquashBuilder::new(30, 12), &x).unwrap();
    assert!(squash.sizes().iter().all(|size| *size >= 2) && squash.sizes().iter().sum::<usize>() == 40);
    let same = Array2::from_elem((20, 3), 1.5f32);
    let (hits, _) = build(SquashBuilder::new(4, 6), &same)
        .unwrap()
        .search(same.view(), 3, &FullVectors::new(&same), &SquashOptions::default())
        .unwrap();
    assert!(hits.iter().all(|hits| hits.iter().map(|h| h.id).eq([0, 1, 2])), "ties by id");
    assert!(matches!(build(SquashBuilder::new(41, 12), &x), Err(Error::TooFewVectors { have: 40, need: 41 })));
    assert!(matches!(build(SquashBuilder::new(0, 12), &x), Err(Error::TooFewVectors { .. })));
    assert!(matches!(build(SquashBuilder::new(2, 0), &x), Err(Error::BitBudget { .. })));
    assert!(matches!(build(SquashBuilder::new(2, 9).metric(Metric::InnerProduct), &x), Err(Error::Combination { .. })));
    assert!(matches!(SquashBuilder::new(2, 9).build(&[1; 40], &x, &none), Err(Error::DuplicateId { id: 1 })));
    assert!(matches!(SquashBuilder::new(2, 9).build(&[1; 39], &x, &none), Err(Error::LengthMismatch { .. })));
    let mut bad = x.clone();
    bad[(5, 2)] = f32::INFINITY;
    assert!(matches!(build(SquashBuilder::new(2, 9), &bad), Err(Error::NonFinite { row: 5, column: 2, .. })));
    let vectors = FullVectors::new(&x);
    assert!(matches!(squash.search(x.view(), 0, &vectors, &SquashOptions::default()), Err(Error::KZero)));
    assert!(matches!(squash.search(same.view(), 1, &vectors, &SquashOptions::default()), Err(Error::DimMismatch { .. })));
    let unknown = Filter::at_most("z", Value::I64(1));
    let options = SquashOptions { filter: Some(&unknown), ..Default::default() };
    assert!(matches!(squash.search(x.view(), 1, &vectors, &options), Err(Error::Filter(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn a_longer_list_starts_with_the_shorter_one_in_exact_mode(seed in any::<u64>(), k in 1usize..20) {
        let x = rows(300, seed);
        let squash = SquashBuilder::new(3, 40).build(&ids(300), &x, &Columns::default()).unwrap();
        let options = SquashOptions { exact: true, ..Default::default() };
        let search = |k| squash.search(x.slice_axis(Axis(0), (0..10).into()), k, &FullVectors::new(&x), &options).unwrap().0;
        for (short, long) in search(k).iter().zip(search(k + 1)) {
            prop_assert_eq!(&short[..], &long[..k]);
        }
    }
}
