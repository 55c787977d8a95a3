use super::*;
use crate::metric::Metric;
use ndarray::{Array1, Array2};
use proptest::prelude::*;
use scant_tensor_core::file::File;
use scant_tensor_core::rng::Rng;

fn random_codes(n: usize, m: usize, planes: u32, seed: u64) -> BinaryCodes {
    let mut rng = Rng::new(seed);
    BinaryCodes::new(m, planes, "test", (0..n * m).map(|_| rng.below(1 << planes) as u8).collect()).unwrap()
}

fn vectors(n: usize, dim: usize, seed: u64) -> Array2<f32> {
    let mut rng = Rng::new(seed);
    Array2::from_shape_fn((n, dim), |(_, j)| rng.normal() * 0.95f32.powi(j as i32))
}

fn ids(n: usize) -> Vec<u64> {
    (0..n as u64).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn every_way_of_comparing_codes_is_the_product_of_what_they_stand_for(
        m in prop_oneof![1usize..300, Just(1024)],
        planes in 1u32..=8,
        n in 1usize..140,
        seed in any::<u64>(),
    ) {
        let (codes, query) = (random_codes(n, m, planes, seed), random_codes(1, m, planes, seed ^ 1));
        let mut rng = Rng::new(seed);
        let allow = Bitmap::from_fn(n, |_| rng.below(3) > 0);
        let stores = [
            Store::Planes(vec![vec![]; planes as usize]),
            Store::Levels(vec![]),
            Store::new(Scoring::Asymmetric, m, planes),
        ];
        for mut store in stores {
            (0..n).for_each(|row| store.push(row, codes.row(row), planes).unwrap());
            let mut found = vec![];
            store.products(&store.prepare(&query, 0).unwrap(), m, planes, n, Some(&allow), |row, sum| found.push((row, sum)));
            prop_assert_eq!(found.iter().map(|(row, _)| *row).collect::<Vec<_>>(), allow.iter().collect::<Vec<_>>());
            for (row, sum) in found {
                let decoded: f64 = query.levels(0).zip(codes.levels(row)).map(|(a, b)| f64::from(a) * f64::from(b)).sum();
                prop_assert_eq!(decoded, query.product(0, &codes, row) as f64);
                // Tables add in f32, which is exact up to 2^24.
                let exact = m << (2 * planes) <= 1 << 24 || !matches!(store, Store::Tables(_));
                let slack = if exact { 0.0 } else { 1e-6 * (m << (2 * planes)) as f64 };
                prop_assert!((sum - decoded).abs() <= slack, "{sum} for {decoded}");
            }
        }
    }

    #[test]
    fn words_are_ranked_by_the_bits_that_differ(bytes in 1usize..40, n in 1usize..200, k in 1usize..30, seed in any::<u64>()) {
        let mut rng = Rng::new(seed);
        let mut packed = |n: usize| (0..n * bytes).map(|_| rng.next_u64() as u8).collect::<Vec<u8>>();
        let (base, queries) = (packed(n), packed(6));
        let mut index = BinaryIndex::of_words(bytes, "w").unwrap();
        index.add(&ids(n), &BinaryCodes::from_packed(bytes, "w", &base).unwrap()).unwrap();
        let codes = BinaryCodes::from_packed(bytes, "w", &queries).unwrap();
        let allow = Bitmap::from_fn(n, |row| row % 5 != 2);
        let hits = index.search_hamming(&codes, k, Some(&allow)).unwrap();
        for (q, hits) in queries.chunks(bytes).zip(&hits) {
            let mut want: Vec<(u32, u64)> = (0..n).filter(|row| allow.contains(*row)).map(|row| {
                let differ = q.iter().zip(&base[row * bytes..][..bytes]).map(|(a, b)| (a ^ b).count_ones()).sum();
                (differ, row as u64)
            }).collect();
            want.sort_unstable();
            want.truncate(k);
            prop_assert_eq!(hits.iter().map(|h| (h.score as u32, h.id)).collect::<Vec<_>>(), want);
        }
        // The cosine orders the same way.
        let cosines = index.search(&codes, k, Some(&allow)).unwrap();
        prop_assert_eq!(cosines.iter().flatten().map(|h| h.id).collect::<Vec<_>>(), hits.iter().flatten().map(|h| h.id).collect::<Vec<_>>());
    }
}

fn recall(hits: &[Vec<Hit>], truth: &Array2<u64>) -> f64 {
    let both = hits.iter().zip(truth.rows()).map(|(h, t)| h.iter().filter(|h| t.iter().any(|id| *id == h.id)).count()).sum::<usize>();
    both as f64 / truth.len() as f64
}

#[test]
fn planes_are_worth_more_than_width_and_unencoded_queries_more_than_encoded_ones() {
    let (x, q) = (vectors(2000, 32, 1), vectors(50, 32, 2));
    let truth = crate::search::exact(Metric::Cosine, x.view(), q.view(), 10).unwrap();
    let measure = |m: usize, planes: u32| {
        let encoder = BinaryEncoder::frame(32, m, planes, 5).unwrap();
        let codes = encoder.encode(x.view()).unwrap();
        let both = [Scoring::Symmetric, Scoring::Asymmetric].map(|scoring| {
            let mut index = BinaryIndex::new(&encoder, scoring);
            index.add(&ids(2000), &codes).unwrap();
            index
        });
        let symmetric = both[0].search(&encoder.encode(q.view()).unwrap(), 10, None).unwrap();
        let asymmetric = both[1].search_vectors(&encoder, q.view(), 10, None).unwrap();
        (recall(&symmetric, &truth), recall(&asymmetric, &truth))
    };
    let (narrow, wide) = (measure(32, 4), measure(128, 1));
    assert!(narrow.0 > wide.0 + 0.1, "{narrow:?} {wide:?}");
    let (one, two) = (measure(32, 1), measure(32, 2));
    assert!(one.1 > one.0 && two.1 > two.0 && narrow.1 > narrow.0 - 0.01, "{one:?} {two:?} {narrow:?}");
    assert!(narrow.1 > 0.8, "{narrow:?}");
}

#[test]
fn frames_are_tight() {
    for (dim, m) in [(5, 5), (40, 64), (64, 40), (1, 9)] {
        let eye = Array2::<f32>::eye(dim);
        let z = BinaryEncoder::frame(dim, m, 1, 3).unwrap().project(eye.view()).unwrap();
        // Rows of z are columns of the frame.
        let gram = if m >= dim { z.dot(&z.t()) } else { z.t().dot(&z) };
        for ((i, j), v) in gram.indexed_iter() {
            assert!((v - f32::from(u8::from(i == j))).abs() < 1e-4, "{dim} {m}: {v}");
        }
    }
}

/// A network whose planes are the frame and its reconstruction its transpose: without learning, the recursion is the same as the frame's.
#[test]
fn a_network_of_a_frame_takes_the_signs_of_what_is_left() {
    let (dim, m) = (12, 16);
    let frame = BinaryEncoder::frame(dim, m, 1, 3).unwrap().project(Array2::eye(dim).view()).unwrap(); // [dim, m]
    let linear = |w: Array2<f32>| Mlp::new(vec![(w.clone(), Array1::zeros(w.nrows()))]).unwrap();
    let (down, up) = (linear(frame.t().to_owned()), linear(frame.clone()));
    let encoder = BinaryEncoder::network(vec![down.clone(), down.clone(), down], vec![up.clone(), up]).unwrap();
    assert_eq!((encoder.dim(), encoder.m(), encoder.planes()), (dim, m, 3));
    let x = vectors(50, dim, 8);
    let codes = encoder.encode(x.view()).unwrap();
    let unit = |mut v: Array1<f32>| {
        v /= v.dot(&v).sqrt();
        v
    };
    for (i, x) in x.rows().into_iter().enumerate() {
        let f = unit(x.to_owned());
        let sign = |v: Array1<f32>| v.mapv(|v| if v >= 0.0 { 1.0f32 } else { -1.0 });
        let mut b = sign(frame.t().dot(&f));
        for t in 1..3 {
            b = &b + &(sign(frame.t().dot(&(&f - &unit(frame.dot(&b))))) * 0.5f32.powi(t));
        }
        assert_eq!(codes.levels(i).map(|l| l as f32 / 4.0).collect::<Vec<_>>(), b.to_vec());
    }
    // Saved and read: the same encoder, by id and by codes.
    let read = BinaryEncoder::from_file(&File::from_bytes(encoder.to_bytes().unwrap()).unwrap()).unwrap();
    assert_eq!((read.id(), read.encode(x.view()).unwrap()), (encoder.id(), codes));
    assert!(matches!(encoder.project(x.view()), Err(Error::Combination { .. })));
}

#[test]
fn another_encoder_is_an_error_unless_it_is_compatible() {
    let x = vectors(100, 8, 1);
    let [old, new] = [1, 2].map(|seed| BinaryEncoder::frame(8, 16, 2, seed).unwrap());
    assert_ne!(old.id(), new.id());
    let mut index = BinaryIndex::new(&old, Scoring::Asymmetric);
    index.add(&ids(100), &old.encode(x.view()).unwrap()).unwrap();
    let query = new.encode(x.view()).unwrap();
    let refused = index.search(&query, 3, None).unwrap_err();
    assert!(matches!(&refused, Error::EncoderMismatch { index, query } if index == old.id() && query == new.id()), "{refused}");
    assert!(matches!(index.search_vectors(&new, x.view(), 3, None), Err(Error::EncoderMismatch { .. })));
    index.accept(new.id());
    assert_eq!(index.search(&query, 3, None).unwrap().len(), 100);
    // Codes of it are still not the index's.
    assert!(matches!(index.add(&[1000], &query), Err(Error::EncoderMismatch { .. })));
    // The list is in the file.
    let opened = BinaryIndex::from_file(&File::from_bytes(index.to_bytes().unwrap()).unwrap()).unwrap();
    assert_eq!(opened.search(&query, 3, None).unwrap(), index.search(&query, 3, None).unwrap());
    assert_eq!(opened.to_bytes().unwrap()[..], index.to_bytes().unwrap()[..]);
}

#[test]
fn files_hold_every_layout_and_damage_is_an_error() {
    let x = vectors(130, 10, 4);
    for planes in 1..=8 {
        for scoring in [Scoring::Symmetric, Scoring::Asymmetric] {
            let encoder = BinaryEncoder::frame(10, 70, planes, 9).unwrap();
            let encoder = BinaryEncoder::from_file(&File::from_bytes(encoder.to_bytes().unwrap()).unwrap()).unwrap();
            let codes = encoder.encode(x.view()).unwrap();
            let mut index = BinaryIndex::new(&encoder, scoring);
            index.add(&ids(130), &codes).unwrap();
            let bytes = index.to_bytes().unwrap();
            let opened = BinaryIndex::from_file(&File::from_bytes(bytes.clone()).unwrap()).unwrap();
            assert_eq!(opened.search(&codes, 4, None).unwrap(), index.search(&codes, 4, None).unwrap());
            assert_eq!(opened.to_bytes().unwrap()[..], bytes[..]);
            for cut in (0..bytes.len()).step_by(499) {
                assert!(File::from_bytes(bytes.slice(..cut)).map_err(Error::from).and_then(|f| BinaryIndex::from_file(&f)).is_err());
            }
        }
    }
}

#[test]
fn bad_input_is_an_error() {
    assert!(matches!(BinaryEncoder::frame(4, 8, 9, 1), Err(Error::BitsUnsupported { bits: 9, .. })));
    assert!(matches!(BinaryEncoder::frame(4, 0, 2, 1), Err(Error::BitBudget { asked: 0, .. })));
    assert!(matches!(BinaryEncoder::frame(0, 4, 2, 1), Err(Error::EmptyTraining)));
    assert!(matches!(BinaryCodes::new(4, 1, "x", vec![0, 1, 2, 0]), Err(Error::Combination { .. })));
    assert!(matches!(BinaryCodes::new(4, 1, "x", vec![0; 6]), Err(Error::LengthMismatch { .. })));
    let encoder = BinaryEncoder::frame(4, 8, 1, 1).unwrap();
    assert!(matches!(encoder.encode(Array2::zeros((2, 4)).view()), Err(Error::ZeroVector { row: 0 })));
    assert!(matches!(encoder.encode(Array2::ones((2, 5)).view()), Err(Error::DimMismatch { .. })));
    let mut index = BinaryIndex::new(&encoder, Scoring::Symmetric);
    let codes = encoder.encode(Array2::ones((2, 4)).view()).unwrap();
    assert_eq!(index.search(&codes, 3, None).unwrap(), [vec![], vec![]]);
    assert!(matches!(index.add(&[1, 1], &codes), Err(Error::DuplicateId { id: 1 })));
    assert!(index.is_empty());
    index.add(&[1, 2], &codes).unwrap();
    assert!(matches!(index.search(&codes, 0, None), Err(Error::KZero)));
    assert!(matches!(index.search(&codes, 1, Some(&Bitmap::all(3))), Err(Error::LengthMismatch { .. })));
    assert!(matches!(index.search_vectors(&encoder, Array2::ones((1, 4)).view(), 1, None), Err(Error::Combination { .. })));
    // Equal codes: ties by id, and all there are.
    assert_eq!(index.search(&codes, 9, None).unwrap()[0].iter().map(|h| h.id).collect::<Vec<_>>(), [1, 2]);
}
