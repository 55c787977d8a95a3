//! The specification's properties (section 9), for every quantizer and metric.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use ndarray::{Array2, ArrayView2, Axis, concatenate, s};
use proptest::prelude::*;
use scant_pq_index::cutoff::Cutoff;
use scant_pq_index::quantizer::{Levels, QuantizerKind};
use scant_pq_index::{CodeScores, Error, Index, IndexBuilder, Metric, RotationKind, SearchOptions, Shards, exact, rescore};
use scant_tensor_core::file::File;
use scant_tensor_core::retrieve::{Column, Columns, Filter, Hit, Value};
use scant_tensor_core::rng::Rng as Seeded;

const METRICS: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];

/// Clusters with unequal variances.
fn vectors(n: usize, d: usize, seed: u64) -> Array2<f32> {
    let mut rng = Seeded::new(seed);
    let mut centres = Seeded::new(77);
    let c = Array2::from_shape_fn((20, d), |(_, j)| 2.0 * centres.normal() / (1.0 + j as f32).sqrt());
    Array2::from_shape_fn((n, d), |(i, j)| c[(i % 20, j)] + rng.normal() / (1.0 + j as f32).sqrt())
}

/// Every quantizer, plain and with what can be put around it.
fn builders(metric: Metric) -> Vec<(&'static str, IndexBuilder)> {
    let b = |q| IndexBuilder::new(metric).quantizer(q);
    let product = |m, bits| QuantizerKind::Product { m, bits };
    let rotated = |bits, levels| QuantizerKind::Rotated { bits, levels };
    vec![
        ("full", b(QuantizerKind::Full)),
        ("full in lists", b(QuantizerKind::Full).lists(5)),
        ("pq8", b(product(5, 8))),
        ("pq4, odd m", b(product(5, 4))),
        ("pq4 + factor", b(product(6, 4)).norm_factor()),
        ("pq4 residual", b(product(6, 4)).residual()),
        ("pq4 residual in lists", b(product(6, 4)).residual().lists(6)),
        ("pq4 residual in lists + factor", b(product(6, 4)).residual().lists(6).norm_factor()),
        ("pq8 direct in lists", b(product(4, 8)).lists(6)),
        ("opq4", b(product(4, 4)).rotation(RotationKind::Opq)),
        ("sq4", b(QuantizerKind::Scalar { bits: 4 })),
        ("sq6", b(QuantizerKind::Scalar { bits: 6 })),
        ("sq8 in lists", b(QuantizerKind::Scalar { bits: 8 }).lists(6)),
        ("sq8 residual", b(QuantizerKind::Scalar { bits: 8 }).lists(3).residual()),
        ("anisotropic", b(QuantizerKind::Anisotropic { m: 6, bits: 4, eta: 4 })),
        ("lvq8", b(QuantizerKind::Lvq { bits: 8 }).residual()),
        ("lvq4 in lists", b(QuantizerKind::Lvq { bits: 4 }).residual().lists(4)),
        ("osq", b(QuantizerKind::Osq { bits: 37 })),
        ("osq residual in lists + factor", b(QuantizerKind::Osq { bits: 30 }).residual().lists(4).norm_factor()),
        ("rq", b(QuantizerKind::Residual { m: 2 })),
        ("rotated 1", b(rotated(1, Levels::LloydMax)).rotation(RotationKind::Hadamard)),
        ("rotated 2", b(rotated(2, Levels::LloydMax)).rotation(RotationKind::Random).residual()),
        ("rotated 3", b(rotated(3, Levels::Uniform)).rotation(RotationKind::Hadamard)),
        ("rotated 4", b(rotated(4, Levels::LloydMax)).rotation(RotationKind::Hadamard)),
        ("rotated 8 in lists", b(rotated(8, Levels::Uniform)).rotation(RotationKind::Hadamard).residual().lists(4)),
    ]
}

fn built(builder: &IndexBuilder, x: &Array2<f32>) -> Index {
    let mut trained = builder.train(&vectors(600, x.ncols(), 1)).unwrap();
    trained.add_source(x).unwrap();
    trained.finish()
}

fn all_lists<'a>() -> SearchOptions<'a> {
    SearchOptions { nprobe: Some(usize::MAX), ..Default::default() }
}

fn bits(hits: &[Vec<Hit>]) -> Vec<Vec<(u64, u32)>> {
    hits.iter().map(|hits| hits.iter().map(|h| (h.id, h.score.to_bits())).collect()).collect()
}

fn search(index: &Index, q: ArrayView2<'_, f32>, k: usize) -> Vec<Vec<Hit>> {
    index.search(q, k, &all_lists()).unwrap()
}

/// A stage that scores candidates by codes gives what a search of the same codes gives, also for ids that a search would not have found.
#[test]
fn codes_score_candidates_as_a_search_does() {
    let (x, q) = (vectors(300, 13, 2), vectors(3, 13, 3));
    for metric in METRICS {
        for (name, builder) in builders(metric) {
            let mut index = built(&builder, &x);
            index.remove(&[5]).unwrap();
            let hits = search(&index, q.view(), 300);
            let scores = CodeScores::new(&index);
            for (q, hits) in q.rows().into_iter().zip(hits) {
                let shuffled: Vec<Hit> = hits.iter().rev().map(|hit| Hit { score: 0.0, ..*hit }).collect();
                assert_eq!(bits(&[rescore(&scores, metric, q, &shuffled, 300).unwrap()]), bits(&[hits]), "{name}, {metric}");
                assert!(matches!(rescore(&scores, metric, q, &[Hit { id: 5, score: 0.0 }], 1), Err(Error::UnknownId { id: 5 })));
            }
            let other = METRICS.into_iter().find(|m| *m != metric).unwrap();
            assert!(matches!(rescore(&scores, other, q.row(0), &[], 1), Err(Error::MetricMismatch { .. })));
        }
    }
}

/// P2 and P3: a score is the measure of the query and the decoded vector, and the hits are all rows sorted by it.
#[test]
fn scores_are_those_of_the_decoded_vectors() {
    let (x, q) = (vectors(300, 13, 2), vectors(7, 13, 3));
    for metric in METRICS {
        for (name, builder) in builders(metric) {
            let index = built(&builder, &x);
            let hits = search(&index, q.view(), 300);
            for (q, hits) in q.rows().into_iter().zip(&hits) {
                assert_eq!(hits.len(), 300, "{name}");
                let order = metric.order();
                assert!(hits.windows(2).all(|w| (order.key(w[0].score), w[0].id) < (order.key(w[1].score), w[1].id)), "{name}");
                // Under L2 a factor takes the true length for the decoded one's, which is the point of it.
                if metric == Metric::L2 && (name.contains("factor") || name.contains("rotated")) {
                    continue;
                }
                let q = if metric == Metric::Cosine { &q / q.dot(&q).sqrt() } else { q.to_owned() };
                for hit in hits.iter().step_by(17) {
                    let g = ndarray::Array1::from(index.reconstruct(hit.id).unwrap());
                    let want = if metric == Metric::L2 { (&q - &g).mapv(|v| v * v).sum() } else { q.dot(&g) };
                    assert!((want - hit.score).abs() < 2e-4 * (1.0 + q.dot(&q) + g.dot(&g)), "{name} {metric}: {want} {}", hit.score);
                }
            }
        }
    }
}

/// Codes are worth their bytes: recall against exact neighbours, and never worse with more bits.
#[test]
fn recall_has_a_floor_for_every_quantizer() {
    let (x, q) = (vectors(1500, 13, 2), vectors(60, 13, 3));
    let mut low = vec![];
    for metric in METRICS {
        let truth = exact(metric, x.view(), q.view(), 10).unwrap();
        for (name, builder) in builders(metric) {
            let hits = search(&built(&builder, &x), q.view(), 10);
            let found: usize = hits.iter().zip(truth.rows()).map(|(h, t)| h.iter().filter(|h| t.iter().any(|t| *t == h.id)).count()).sum();
            let recall = found as f64 / truth.len() as f64;
            let floor = match name {
                _ if name.starts_with("full") => 1.0,
                "sq8 in lists" | "sq8 residual" | "lvq8" | "rotated 8 in lists" => 0.9,
                "sq6" => 0.8,
                "rotated 1" => 0.12,
                "rotated 2" | "rq" | "pq4, odd m" | "opq4" => 0.2,
                _ => 0.25,
            };
            if recall < floor {
                low.push(format!("{name} {metric}: {recall:.3} below {floor}"));
            }
        }
    }
    assert!(low.is_empty(), "{low:#?}");
}

#[test]
fn a_budget_is_kept_and_more_of_it_is_not_worse() {
    for metric in METRICS {
        for dim in [5, 24, 128] {
            let (x, q) = (vectors(900, dim, 2), vectors(60, dim, 3));
            let truth = exact(metric, x.view(), q.view(), 10).unwrap();
            let mut before = 0.0;
            for bytes in [3, 5, 8, 16, 24, 40, 70, 140, 520] {
                let index = built(&IndexBuilder::for_budget(metric, dim, bytes).unwrap(), &x);
                let weight = index.bytes_per_vector();
                assert!(weight.codes + weight.sides <= bytes as f64, "{metric}, {dim} dimensions, {bytes} bytes: {weight:?}");
                let hits = search(&index, q.view(), 10);
                let found: usize =
                    hits.iter().zip(truth.rows()).map(|(h, t)| h.iter().filter(|h| t.iter().any(|t| *t == h.id)).count()).sum();
                let recall = found as f64 / truth.len() as f64;
                assert!(recall >= before - 0.03, "{metric}, {dim} dimensions, {bytes} bytes: {recall:.3} after {before:.3}");
                before = recall;
            }
            assert_eq!(before, 1.0);
        }
        assert!(IndexBuilder::for_budget(metric, 100, 0).is_err());
    }
}

/// P9, and P8 for threads: saved, opened and saved again the bytes are the same, and so are the results on any number of threads.
#[test]
fn opened_indexes_are_the_saved_ones_and_threads_change_nothing() {
    let (x, q) = (vectors(200, 13, 2), vectors(9, 13, 3));
    for metric in METRICS {
        for (name, builder) in builders(metric) {
            let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            let index = pool(1).install(|| built(&builder, &x));
            let bytes = index.to_bytes().unwrap();
            assert!(pool(3).install(|| built(&builder, &x)).to_bytes().unwrap() == bytes, "{name}");
            let opened = Index::from_file(&File::from_bytes(bytes.clone()).unwrap()).unwrap();
            assert!(opened.to_bytes().unwrap() == bytes, "{name}");
            assert_eq!(opened.digest(), index.digest());
            let want = bits(&search(&index, q.view(), 11));
            assert_eq!(bits(&pool(3).install(|| search(&opened, q.view(), 11))), want, "{name}");
            // One query at a time, and fewer neighbours, which are the first ones (P6).
            for (i, want) in want.iter().enumerate() {
                assert_eq!(bits(&search(&opened, q.slice(s![i..=i, ..]), 5))[0], want[..5], "{name}");
            }
        }
    }
}

/// P7, P19, 5.8: removing, updating, packing, merging and cutting into shards, against an index that was built of the remaining rows.
#[test]
fn what_is_removed_never_appears_and_parts_make_the_whole() {
    let (x, q) = (vectors(200, 13, 2), vectors(9, 13, 3));
    for metric in METRICS {
        for (name, builder) in builders(metric) {
            let trained = builder.train(&vectors(600, 13, 1)).unwrap();
            let of = |ids: &[u64]| {
                let mut t = trained.clone();
                let rows: Vec<usize> = ids.iter().map(|id| *id as usize).collect();
                t.add(ids, x.select(Axis(0), &rows).view()).unwrap();
                t.finish()
            };
            let kept: Vec<u64> = (0..200).filter(|id| id % 3 != 0).collect();
            let gone: Vec<u64> = (0..200).filter(|id| id % 3 == 0).collect();
            let want = bits(&search(&of(&kept), q.view(), 150));
            assert_eq!(want[0].len(), kept.len(), "k above n gives n");

            let mut index = of(&(0..200).collect::<Vec<_>>());
            index.remove(&gone).unwrap();
            assert_eq!(bits(&search(&index, q.view(), 150)), want, "{name} removed");
            let saved = Index::from_file(&File::from_bytes(index.to_bytes().unwrap()).unwrap()).unwrap();
            assert_eq!(bits(&search(&saved, q.view(), 150)), want, "{name} removed and saved");
            index.compact();
            assert_eq!(bits(&search(&index, q.view(), 150)), want, "{name} packed");
            assert!(matches!(index.remove(&gone[..1]), Err(Error::UnknownId { id: 0 })));

            let (a, b) = kept.split_at(40);
            let mut merged = of(a);
            merged.merge(&of(b)).unwrap();
            assert_eq!(bits(&search(&merged, q.view(), 150)), want, "{name} merged");
            assert!(matches!(merged.merge(&of(b)), Err(Error::DuplicateId { .. })));
            let shards = Shards::new(vec![of(b), of(&[]), of(a)]).unwrap();
            assert_eq!(bits(&shards.search(q.view(), 150, &all_lists()).unwrap()), want, "{name} shards");

            let mut updated = of(&kept);
            let moved = concatenate![Axis(0), x.slice(s![5..6, ..]), x.slice(s![4..5, ..])];
            updated.update(&[4, 5], moved.view()).unwrap();
            let swap = |id: u64| {
                if id == 4 {
                    5
                } else if id == 5 {
                    4
                } else {
                    id
                }
            };
            let mut swapped: Vec<Vec<(u64, u32)>> = want.clone();
            swapped.iter_mut().flatten().for_each(|(id, _)| *id = swap(*id));
            let sets =
                |v: &[Vec<(u64, u32)>]| v.iter().map(|v| v.iter().copied().collect::<std::collections::BTreeSet<_>>()).collect::<Vec<_>>();
            assert_eq!(sets(&bits(&search(&updated, q.view(), 150))), sets(&swapped), "{name} updated");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// W39: a filtered search is the whole search without the rows that do not match, from none to all.
    #[test]
    fn a_filter_gives_the_matching_rows_neighbours(cut in 0i64..101, which in 0usize..24, metric in 0usize..3, removed in 0u64..150) {
        let (name, builder) = builders(METRICS[metric]).swap_remove(which);
        let x = vectors(150, 13, 2);
        let columns = Columns::from([("a", Column::I64((0..150).map(|i| i * 37 % 100).collect()))]).unwrap();
        let mut trained = builder.train(&vectors(600, 13, 1)).unwrap();
        trained.add_with(&(0..150).collect::<Vec<_>>(), x.view(), &columns).unwrap();
        let mut index = trained.finish();
        index.remove(&[removed]).unwrap();
        let q = vectors(3, 13, 3);
        let matching = |id: u64| (id as i64 * 37 % 100) < cut;
        let mut want = search(&index, q.view(), 150);
        want.iter_mut().for_each(|hits| {
            hits.retain(|h| matching(h.id));
            hits.truncate(10);
        });
        let filter = Filter::Not(Box::new(Filter::at_least("a", Value::I64(cut))));
        // One list is asked for: probing goes on until there are enough matching rows, which at few matches is all lists.
        let hits = index.search(q.view(), 10, &SearchOptions { nprobe: Some(usize::MAX), filter: Some(&filter), ..Default::default() }).unwrap();
        prop_assert_eq!(bits(&hits), bits(&want), "{}", name);
        let few = index.search(q.view(), 10, &SearchOptions { nprobe: Some(1), filter: Some(&filter), ..Default::default() }).unwrap();
        let matches = (0..150).filter(|id| *id != removed && matching(*id)).count();
        for hits in few {
            prop_assert_eq!(hits.len(), matches.min(10));
            prop_assert!(hits.iter().all(|h| matching(h.id) && h.id != removed));
        }
    }
}

/// P10: rows scaled by c give squared distances scaled by c^2, in the same order.
#[test]
fn scaling_everything_scales_the_distances() {
    let (x, q) = (vectors(200, 13, 2), vectors(5, 13, 3));
    for (name, builder) in builders(Metric::L2) {
        let hits = |c: f32| {
            let mut t = builder.train(&(c * &vectors(600, 13, 1))).unwrap();
            t.add_source(&(c * &x)).unwrap();
            search(&t.finish(), (c * &q).view(), 10)
        };
        // A power of two: every rounding is the same.
        for (a, b) in hits(1.0).into_iter().flatten().zip(hits(4.0).into_iter().flatten()) {
            assert!((16.0 * a.score - b.score).abs() <= 1e-3 * b.score.abs() + 1e-3, "{name}: {a:?} {b:?}");
        }
    }
}

/// P18 and the table of bad input.
#[test]
fn sizes_at_the_edges_and_bad_input_have_an_answer() {
    let q = vectors(2, 13, 3);
    for metric in METRICS {
        for (name, builder) in builders(metric) {
            for n in [0, 1, 63, 64, 65, 129] {
                let index = built(&builder, &vectors(n, 13, 2));
                let hits = search(&index, q.view(), 1000);
                assert!(hits.iter().all(|h| h.len() == n), "{name}: {n}");
                assert_eq!(index.len(), n);
            }
            let mut index = built(&builder, &vectors(10, 13, 2));
            let before = index.to_bytes().unwrap();
            assert!(matches!(index.search(q.view(), 0, &all_lists()), Err(Error::KZero)));
            assert!(matches!(index.search(q.slice(s![.., ..12]), 1, &all_lists()), Err(Error::DimMismatch { want: 13, got: 12, .. })));
            let mut bad = vectors(4, 13, 5);
            bad[(2, 7)] = f32::NAN;
            assert!(matches!(index.search(bad.view(), 1, &all_lists()), Err(Error::NonFinite { row: 2, column: 7, .. })));
            assert!(matches!(index.add(&[20, 21, 22, 23], bad.view()), Err(Error::NonFinite { row: 2, column: 7, .. })));
            assert!(builder.train(&bad).is_err());
            let zero = Array2::zeros((1, 13));
            if metric == Metric::Cosine {
                assert!(matches!(index.add(&[20], zero.view()), Err(Error::ZeroVector { row: 0 })));
                assert!(matches!(index.search(zero.view(), 1, &all_lists()), Err(Error::ZeroVector { row: 0 })));
            } else {
                assert_eq!(index.search(zero.view(), 3, &all_lists()).unwrap()[0].len(), 3);
            }
            assert!(matches!(index.add(&[3], q.slice(s![..1, ..])), Err(Error::DuplicateId { id: 3 })));
            assert!(matches!(index.add(&[30, 30], q.view()), Err(Error::DuplicateId { id: 30 })));
            assert!(matches!(index.add(&[30], q.view()), Err(Error::LengthMismatch { want: 2, got: 1, .. })));
            assert!(index.update(&[3, 99], q.view()).is_err() && index.update(&[3, 4], bad.slice(s![1..3, ..])).is_err());
            assert!(index.to_bytes().unwrap() == before, "{name}: what failed has changed nothing");
            assert!(index.contains(3) && !index.contains(99));
        }
    }
}

#[test]
fn settings_that_have_no_meaning_are_refused_and_shards_must_fit() {
    let x = vectors(300, 8, 1);
    let train = |b: IndexBuilder| b.train(&x).map(|_| ());
    let l2 = || IndexBuilder::new(Metric::L2);
    assert!(matches!(train(l2().quantizer(QuantizerKind::Product { m: 9, bits: 8 })), Err(Error::SubspacesDoNotFit { dim: 8, m: 9 })));
    assert!(matches!(train(l2().quantizer(QuantizerKind::Product { m: 0, bits: 8 })), Err(Error::SubspacesDoNotFit { .. })));
    assert!(matches!(train(l2().quantizer(QuantizerKind::Product { m: 4, bits: 6 })), Err(Error::BitsUnsupported { bits: 6, .. })));
    assert!(matches!(train(l2().quantizer(QuantizerKind::Scalar { bits: 5 })), Err(Error::BitsUnsupported { bits: 5, .. })));
    assert!(matches!(train(l2().lists(301)), Err(Error::TooFewVectors { have: 300, need: 301 })));
    assert!(matches!(train(l2().rotation(RotationKind::Hadamard)), Err(Error::Combination { .. })));
    assert!(matches!(train(l2().quantizer(QuantizerKind::Scalar { bits: 8 }).rotation(RotationKind::Opq)), Err(Error::Combination { .. })));
    let few = x.slice(s![..200, ..]).to_owned();
    let pq8 = l2().quantizer(QuantizerKind::Product { m: 4, bits: 8 });
    assert!(matches!(pq8.train(&few), Err(Error::TooFewVectors { have: 200, need: 256 })));
    assert!(matches!(pq8.train(&Array2::<f32>::zeros((0, 4))), Err(Error::EmptyTraining)));

    let (a, b) = (pq8.train(&x).unwrap().finish(), pq8.clone().seed(5).train(&x).unwrap().finish());
    assert!(matches!(Shards::new(vec![a.clone(), b.clone()]), Err(Error::QuantizerMismatch { .. })));
    assert!(matches!(a.clone().merge(&b), Err(Error::QuantizerMismatch { .. })));
}

/// Equal rows, constant dimensions: exact where the code can be, ties by id.
#[test]
fn equal_rows_and_constant_dimensions_work() {
    let mut x = Array2::from_elem((300, 6), 2.5f32);
    for metric in METRICS {
        for (name, builder) in builders(metric) {
            let mut t = builder.train(&x).unwrap_or_else(|e| panic!("{name}: {e}"));
            t.add_source(&x).unwrap();
            let hits = search(&t.finish(), x.slice(s![..1, ..]), 5);
            assert_eq!(hits[0].iter().map(|h| h.id).collect::<Vec<_>>(), [0, 1, 2, 3, 4], "{name} {metric}");
        }
    }
    x.slice_mut(s![.., 0]).iter_mut().zip(0u16..).for_each(|(x, i)| *x = f32::from(i % 16));
    let mut t = IndexBuilder::new(Metric::L2).quantizer(QuantizerKind::Scalar { bits: 4 }).train(&x).unwrap();
    t.add_source(&x).unwrap();
    let hits = search(&t.finish(), x.slice(s![3..4, ..]), 1);
    assert_eq!(hits[0][0], Hit { id: 3, score: 0.0 });
}

/// W44 for our own files: any cut and any flipped bit gives an error, never a panic.
#[test]
fn damaged_files_are_errors() {
    let x = vectors(70, 5, 2);
    let columns = Columns::from([("t", Column::Tags((0..70).map(|i| vec![i % 3; (i % 4) as usize]).collect()))]).unwrap();
    let builder = IndexBuilder::new(Metric::L2).quantizer(QuantizerKind::Product { m: 2, bits: 4 }).residual().lists(3).norm_factor();
    let mut t = builder.train(&vectors(600, 5, 1)).unwrap();
    t.add_with(&(0..70).collect::<Vec<_>>(), x.view(), &columns).unwrap();
    let bytes = t.finish().to_bytes().unwrap();
    let open = |bytes: Vec<u8>| File::from_bytes(bytes.into()).map_err(Error::from).and_then(|f| Index::from_file(&f));
    assert!(open(bytes.to_vec()).is_ok());
    for len in (0..bytes.len()).step_by(7) {
        assert!(open(bytes[..len].to_vec()).is_err(), "{len}");
    }
    for at in (0..bytes.len()).step_by(5) {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 1 << (at % 8);
        if let Ok(index) = open(damaged) {
            // Padding between tensors is nobody's.
            assert!(index.to_bytes().unwrap() == bytes, "{at}");
        }
    }
}

#[test]
fn a_cut_in_the_scan_is_the_cut_after_it() {
    let x = vectors(500, 12, 3);
    for (name, builder) in builders(Metric::Cosine) {
        let trained = builder.train(&vectors(600, 12, 1)).unwrap();
        let part = |rows: std::ops::Range<usize>| {
            let mut part = trained.clone();
            part.add(&rows.clone().map(|i| i as u64).collect::<Vec<_>>(), x.slice(s![rows, ..])).unwrap();
            part.finish()
        };
        let (index, shards) = (part(0..500), Shards::new(vec![part(0..300), part(300..500)]).unwrap());
        let all = index.search(x.slice(s![..20, ..]), 50, &all_lists()).unwrap();
        for cutoff in [Cutoff::Global(0.8), Cutoff::Relative(0.9), Cutoff::Gap, Cutoff::Global(2.0)] {
            let options = SearchOptions { cutoff: Some(&cutoff), ..all_lists() };
            let got = index.search(x.slice(s![..20, ..]), 50, &options).unwrap();
            let mut want = all.clone();
            for (q, hits) in x.rows().into_iter().zip(&mut want) {
                cutoff.apply(q, hits).unwrap();
            }
            assert_eq!(bits(&got), bits(&want), "{name}, {cutoff:?}");
            let got = shards.search(x.slice(s![..20, ..]), 50, &options).unwrap();
            assert_eq!(bits(&got), bits(&want), "{name} in shards, {cutoff:?}");
        }
    }
    let index = built(&IndexBuilder::new(Metric::L2), &x);
    let refused = index.search(x.view(), 5, &SearchOptions { cutoff: Some(&Cutoff::Gap), ..Default::default() }).unwrap_err();
    assert!(refused.to_string().contains("cut-off"), "{refused}");
}
