use super::*;
use crate::metric::Metric;
use proptest::prelude::*;
use scant_tensor_core::retrieve::TopK;
use scant_tensor_core::rng::Rng;
use scant_tensor_core::scan::CodeBlocks;

/// Correlated rows with falling variances around a mean.
fn rows(n: usize, dim: usize, seed: u64) -> Array2<f32> {
    let mut rng = Rng::new(seed);
    let mix = Array2::from_shape_simple_fn((dim, dim), || rng.normal());
    let z = Array2::from_shape_fn((n, dim), |(_, j)| rng.normal() * 0.8f32.powi(j as i32));
    z.dot(&mix) + 3.0
}

fn error(osq: &Osq, x: ArrayView2<'_, f32>) -> f64 {
    let mut codes = vec![0; x.nrows() * osq.layout().tables];
    osq.encode(x, &mut codes);
    let mut g = vec![0.0; x.ncols()];
    let of_row = |(row, codes): (ndarray::ArrayView1<'_, f32>, &[u8])| {
        osq.decode(codes, &mut g);
        row.iter().zip(&g).map(|(x, g)| f64::from(x - g).powi(2)).sum::<f64>()
    };
    x.rows().into_iter().zip(codes.chunks(osq.layout().tables)).map(of_row).sum()
}

/// An Osq with the same axes and these bits.
fn with_bits(osq: &Osq, bits: Vec<u8>, x: ArrayView2<'_, f32>) -> Osq {
    let y = osq.transformed(x);
    let cells = (0..bits.len()).map(|j| Cells::fit(y.column(j).to_vec(), 1 << bits[j])).collect();
    Osq { klt: osq.klt.clone(), places: places(&bits), bits, cells, radius: osq.radius }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn distances_lie_between_the_bounds(n in 2usize..60, dim in 1usize..9, spend in 1usize..200, seed in any::<u64>(), far in 0.0f32..20.0) {
        let x = rows(n, dim, seed);
        let budget = 1 + spend % (8 * dim);
        let osq = Osq::train(x.view(), budget).unwrap();
        prop_assert_eq!(osq.bits().iter().map(|b| usize::from(*b)).sum::<usize>(), budget);
        prop_assert!(osq.bits().windows(2).all(|w| w[0] >= w[1]), "{:?}", osq.bits());
        let mut codes = vec![0; n * osq.layout().tables];
        osq.encode(x.view(), &mut codes);
        let mut blocks = CodeBlocks::new(osq.layout().columns());
        codes.chunks(osq.layout().tables).for_each(|code| blocks.push(code).unwrap());
        let mut rng = Rng::new(seed ^ 1);
        let q: Vec<f32> = (0..dim).map(|_| far * rng.normal()).collect();
        let (lut, bounds) = (osq.lut(&q).unwrap(), osq.bounds(&q).unwrap());
        let mut products = vec![0.0; codes.len() / n * 256];
        osq.products(&q, &mut products);
        let mut g = vec![0.0; dim];
        for (i, row) in x.rows().into_iter().enumerate() {
            let exact: f64 = row.iter().zip(&q).map(|(x, q)| f64::from(x - q).powi(2)).sum();
            prop_assert!(f64::from(bounds.least.score(&blocks, i) - bounds.slack) <= exact);
            prop_assert!(exact <= f64::from(bounds.most.score(&blocks, i) + bounds.slack));
            // Sums of look-ups are the distance to, and the product with, what is decoded.
            let code = &codes[i * osq.layout().tables..][..osq.layout().tables];
            osq.decode(code, &mut g);
            let decoded: f64 = g.iter().zip(&q).map(|(g, q)| f64::from(g - q).powi(2)).sum();
            let size = f64::from(osq.radius).powi(2) + q.iter().map(|q| f64::from(q * q)).sum::<f64>() + 9.0 * dim as f64;
            prop_assert!((f64::from(lut.score(&blocks, i)) - decoded).abs() <= 1e-5 * size);
            let product: f64 = g.iter().zip(&q).map(|(g, q)| f64::from(g * q)).sum();
            let looked_up: f32 = code.iter().enumerate().map(|(t, c)| products[256 * t + usize::from(*c)]).sum();
            prop_assert!((f64::from(looked_up) - product).abs() <= 1e-5 * size);
        }
    }
}

#[test]
fn bits_by_variance_beat_equal_bits_and_none_are_lost_when_packed() {
    for dim in [16, 31, 50] {
        let x = rows(3000, dim, dim as u64);
        for per_dim in [2, 4] {
            let osq = Osq::train(x.view(), per_dim * dim).unwrap();
            // Without padding when packed, and the same after it.
            assert_eq!(osq.packed_bytes(), (per_dim * dim).div_ceil(8));
            let mut codes = vec![0; 64 * osq.layout().columns()];
            osq.encode(x.slice_axis(Axis(0), (0..64).into()), &mut codes);
            let (mut packed, mut blocks, mut again) = (vec![0; osq.packed_bytes()], CodeBlocks::new(osq.packed_bytes()), vec![]);
            for code in codes.chunks(osq.layout().columns()) {
                osq.pack(code, &mut packed);
                blocks.push(&packed).unwrap();
            }
            osq.unpack(blocks.block(0), &mut again);
            assert!(codes.iter().enumerate().all(|(i, c)| again[i % osq.layout().columns()][i / osq.layout().columns()] == *c));
            let equal = with_bits(&osq, vec![per_dim as u8; dim], x.view());
            assert!(error(&osq, x.view()) <= error(&equal, x.view()), "{dim} dimensions, {per_dim} bits");
        }
    }
}

#[test]
fn it_ranks_as_what_it_decodes_in_an_index_too() {
    let x = rows(2000, 12, 5);
    let q = rows(20, 12, 6);
    let osq = Osq::train(x.view(), 72).unwrap();
    let truth = crate::search::exact(Metric::L2, x.view(), q.view(), 10).unwrap();
    let mut codes = vec![0; x.nrows() * osq.layout().tables];
    osq.encode(x.view(), &mut codes);
    let mut blocks = CodeBlocks::new(osq.layout().columns());
    codes.chunks(osq.layout().tables).for_each(|code| blocks.push(code).unwrap());
    let of_query = |q: ndarray::ArrayView1<'_, f32>| {
        let (lut, mut best) = (osq.lut(&q.to_vec()).unwrap(), TopK::new(10));
        (0..x.nrows()).for_each(|row| best.push(lut.score(&blocks, row), row as u64));
        best.into_sorted()
    };
    let found: Vec<_> = q.rows().into_iter().map(of_query).collect();
    let hits: usize = found.iter().zip(truth.rows()).map(|(f, t)| f.iter().filter(|(_, row)| t.iter().any(|id| id == row)).count()).sum();
    assert!(hits > 160, "{hits} of 200 at 6 bits a dimension");
    // As a quantizer of an index, by distances and by products.
    for metric in [Metric::L2, Metric::Cosine] {
        let builder = crate::IndexBuilder::new(metric).quantizer(crate::quantizer::QuantizerKind::Osq { bits: 72 });
        let mut trained = builder.train(&x).unwrap();
        trained.add_source(&x).unwrap();
        let index = trained.finish();
        let index = crate::Index::from_file(&File::from_bytes(index.to_bytes().unwrap()).unwrap()).unwrap();
        let again = index.search(q.view(), 10, &Default::default()).unwrap();
        let truth = crate::search::exact(metric, x.view(), q.view(), 10).unwrap();
        let hits: usize = again.iter().zip(truth.rows()).map(|(f, t)| f.iter().filter(|f| t.iter().any(|id| *id == f.id)).count()).sum();
        assert!(hits > 150, "{metric}: {hits} of 200");
    }
}

#[test]
fn equal_rows_constant_dimensions_and_bad_input() {
    let same = Array2::from_elem((10, 3), 2.5f32);
    let osq = Osq::train(same.view(), 5).unwrap();
    assert!(error(&osq, same.view()) < 1e-9);
    let one = Array2::<f32>::zeros((1, 3));
    assert!(matches!(Osq::train(one.view(), 5), Err(Error::TooFewVectors { have: 1, need: 2 })));
    assert!(matches!(Osq::train(same.view(), 25), Err(Error::BitBudget { asked: 25, most: 24 })));
    assert!(matches!(Osq::train(same.view(), 0), Err(Error::BitBudget { .. })));
    assert!(matches!(Osq::train(Array2::zeros((4, 0)).view(), 1), Err(Error::EmptyTraining)));
    let mut bad = same.clone();
    bad[(3, 1)] = f32::NAN;
    assert!(matches!(Osq::train(bad.view(), 5), Err(Error::NonFinite { row: 3, column: 1, .. })));
    assert!(matches!(osq.lut(&[0.0; 2]), Err(Error::DimMismatch { want: 3, got: 2, .. })));
    let huge = Array2::from_shape_fn((10, 2), |(i, j)| if (i + j) % 2 == 0 { 3e38 } else { -3e38 });
    assert!(Osq::train(huge.view(), 4).is_err());
}

#[test]
fn what_is_saved_is_read_back_and_damage_is_an_error() {
    let x = rows(300, 6, 9);
    let osq = Osq::train(x.view(), 20).unwrap();
    let write = |osq: &Osq| {
        let mut writer = Writer::new("test", 1);
        osq.save("osq.", &mut writer).unwrap();
        writer.to_bytes().unwrap()
    };
    let bytes = write(&osq);
    let file = File::from_bytes(bytes.clone()).unwrap();
    let read = Osq::load("osq.", &file, 6).unwrap();
    assert_eq!(write(&read)[..], bytes[..]);
    assert!(Osq::load("osq.", &file, 7).is_err());
    let mut wrong = osq.clone();
    wrong.bits[0] = 9;
    assert!(matches!(Osq::load("osq.", &File::from_bytes(write(&wrong)).unwrap(), 6), Err(Error::Corrupt { .. })));
}
