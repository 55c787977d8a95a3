use super::bytes::{Header, Output, Reader};
use super::lists::Blocks;
use super::*;
use crate::builder::IndexBuilder;
use crate::metric::Metric;
use crate::quantizer::QuantizerKind;
use crate::rotation::RotationKind;
use crate::search::SearchOptions;
use ndarray::{Array2, Axis};
use scant_tensor_core::retrieve::Hit;
use scant_tensor_core::rng::Rng;

const DIM: usize = 6;

fn vectors(rows: usize, seed: u64) -> Array2<f32> {
    let mut rng = Rng::new(seed);
    Array2::from_shape_simple_fn((rows, DIM), || rng.normal())
}

fn built(builder: &IndexBuilder, rows: usize) -> Index {
    let mut trained = builder.train(&vectors(300, 1)).unwrap();
    trained.add_source(&vectors(rows, 2)).unwrap();
    trained.finish()
}

fn search(index: &Index) -> Vec<Vec<Hit>> {
    index.search(vectors(10, 3).view(), 7, &SearchOptions::default()).unwrap()
}

/// Every builder whose index FAISS has a form for.
fn builders() -> Vec<(&'static [u8; 4], IndexBuilder)> {
    let mut all = vec![];
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        let new = || IndexBuilder::new(metric);
        let product = |bits| QuantizerKind::Product { m: 3, bits };
        all.push((if metric == Metric::L2 { b"IxF2" } else { b"IxFI" }, new()));
        all.push((b"IwFl", new().lists(5).nprobe(2)));
        for bits in [4, 8] {
            all.push((b"IxPq", new().quantizer(product(bits))));
            all.push((b"IwPQ", new().quantizer(product(bits)).lists(5).residual()));
            all.push((b"IwPQ", new().quantizer(product(bits)).residual())); // the mean as the only list
            all.push((b"IwPQ", new().quantizer(product(bits)).lists(4).rotation(RotationKind::Opq)));
        }
        for bits in [4, 6, 8] {
            let scalar = QuantizerKind::Scalar { bits };
            all.push((b"IxSQ", new().quantizer(scalar).rotation(RotationKind::Hadamard)));
            all.push((b"IwSq", new().quantizer(scalar).lists(5).residual()));
        }
    }
    all
}

/// The code of the innermost index, behind maps and transforms.
fn innermost(file: &[u8], name: &[u8; 4]) -> bool {
    file.windows(4).any(|w| w == name)
}

#[test]
fn what_is_written_is_read_again() {
    for (name, builder) in builders() {
        let index = built(&builder, 90);
        let file = write(&index).unwrap();
        assert!(innermost(&file, name), "{builder:?}");
        let again = read(&file).unwrap();
        assert_eq!((again.len(), again.dim(), again.metric(), again.lists()), (90, DIM, index.metric(), index.lists()));
        for (a, b) in search(&index).iter().flatten().zip(search(&again).iter().flatten()) {
            // Ranges of scalar quantizers are rounded on the way.
            assert!(a.id == b.id && (a.score - b.score).abs() <= 1e-5 * a.score.abs().max(1.0), "{builder:?}: {a:?} and {b:?}");
        }
        // And our own file of what was read, which has its sides and its shift.
        let saved = scant_tensor_core::file::File::from_bytes(again.to_bytes().unwrap()).unwrap();
        assert_eq!(search(&Index::from_file(&saved).unwrap()), search(&again));
    }
}

#[test]
fn ids_are_kept_and_removed_vectors_left_out() {
    for builder in [IndexBuilder::new(Metric::L2), IndexBuilder::new(Metric::InnerProduct).lists(4).nprobe(4)] {
        let (x, ids) = (vectors(50, 2), (0..50).map(|i| 9 * i + 5).collect::<Vec<u64>>());
        let mut trained = builder.train(&x).unwrap();
        trained.add(&ids, x.view()).unwrap();
        let mut index = trained.finish();
        index.remove(&ids[10..30]).unwrap();
        let mut again = read(&write(&index).unwrap()).unwrap();
        assert_eq!(again.len(), 30);
        assert_eq!(search(&again), search(&index));
        assert!(again.contains(5) && !again.contains(9 * 10 + 5));
    }
}

#[test]
fn a_read_index_takes_more_vectors_and_gives_back_those_it_has() {
    for (_, builder) in builders() {
        let (index, x) = (built(&builder, 40), vectors(60, 2));
        let mut again = read(&write(&index).unwrap()).unwrap();
        for (a, b) in index.reconstruct(7).unwrap().iter().zip(again.reconstruct(7).unwrap()) {
            assert!((a - b).abs() < 1e-5, "{a} and {b}");
        }
        let ids: Vec<u64> = (40..60).collect();
        again.add(&ids, x.slice_axis(Axis(0), (40..).into())).unwrap();
        let mut whole = index;
        whole.add(&ids, x.slice_axis(Axis(0), (40..).into())).unwrap();
        let (a, b) = (whole.reconstruct(50).unwrap(), again.reconstruct(50).unwrap());
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5), "{builder:?}");
    }
}

#[test]
fn cells_of_a_scalar_quantizer_are_read_in_their_middles() {
    // 8 bits, vmin -1 and 2, vdiff 510 and 0: code 3 stands for -1 + 510 * 3.5 / 255 = 6.
    let mut out = Output::default();
    out.fourcc(b"IxSQ");
    out.header(Header { dim: 2, rows: 1, metric: Metric::L2 }).unwrap();
    for v in [0, 0, 0] {
        out.i32(v);
    }
    out.u64(2);
    out.u64(2);
    out.floats(&[-1.0, 2.0, 510.0, 0.0]);
    out.u64(2);
    out.put([3, 0]);
    assert_eq!(read(&out.0).unwrap().reconstruct(0).unwrap(), [6.0, 2.0]);
}

#[test]
fn blocks_of_fast_scans_are_unpacked() {
    // Packed by the definition: vector v of 32 is in the low nibble of byte t where v = p(t), in the high one where v = p(t) + 16.
    let (rows, m, block) = (70, 5, 64);
    let code = |row: usize, j: usize| if j < m && row < rows { ((row * 7 + j * 5) % 16) as u8 } else { 0 };
    let mut packed = vec![];
    for first in (0..128).step_by(block) {
        for j in (0..6).step_by(2) {
            for group in (0..block).step_by(32) {
                for j in [j, j + 1] {
                    for t in 0..16 {
                        let row = first + group + if t % 2 == 0 { t / 2 } else { t / 2 + 8 };
                        packed.push(code(row, j) | code(row + 16, j) << 4);
                    }
                }
            }
        }
    }
    let mut out = Output::default();
    out.fourcc(b"IPfs");
    out.header(Header { dim: 10, rows, metric: Metric::L2 }).unwrap();
    for v in [10, m, 4] {
        out.u64(v);
    }
    let book: Vec<f32> = (0..160).map(|i| (i / 2 % 16) as f32 + 0.25 * (i / 32) as f32).collect();
    out.floats(&book);
    for v in [0, block as i32, 0] {
        out.i32(v);
    }
    out.u64(128);
    out.u64(6);
    out.u64(packed.len());
    out.0.extend_from_slice(&packed);
    let index = read(&out.0).unwrap();
    for row in 0..rows {
        let want: Vec<f32> = (0..10).map(|i| f32::from(code(row, i / 2)) + 0.25 * (i / 2) as f32).collect();
        assert_eq!(index.reconstruct(row as u64).unwrap(), want, "row {row}");
    }
    let r = Reader::new(NAMELESS.as_ref(), &[]);
    assert!(Blocks::new(&r, 48, 5, 6).is_err() && Blocks::new(&r, 32, 5, 5).is_err());
}

/// The bytes of a RaBitQ index of one row, made from its definition.
fn rabitq(metric: Metric, bits: usize, x: &[f32], c: &[f32]) -> Vec<u8> {
    let dim = x.len();
    let r: Vec<f32> = x.iter().zip(c).map(|(x, c)| x - c).collect();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    // Levels of 2^(bits - 1) steps on either side of 0, of the size 1.
    let half = (1i32 << (bits - 1)) as f32;
    let level: Vec<f32> = r.iter().map(|r| (r.abs() * 2.0).floor().min(half - 1.0) + 0.5).collect();
    let g: Vec<f32> = level.iter().zip(&r).map(|(l, r)| if *r > 0.0 { *l } else { -l }).collect();
    let factor = dot(&r, &r) / dot(&r, &g);
    let mut row = vec![0u8; dim.div_ceil(8)];
    r.iter().enumerate().for_each(|(i, r)| row[i / 8] |= u8::from(*r > 0.0) << (i % 8));
    let mut put = |v: f32| row.extend_from_slice(&v.to_le_bytes());
    let l2 = metric == Metric::L2;
    put(if l2 { dot(&r, &r) } else { dot(&r, &r) - dot(x, x) });
    // With one bit, |r| over the cosine of r and its signs; that is the factor times half the root of the dimension.
    put(factor * (dim as f32).sqrt() / 2.0);
    if bits > 1 {
        put(0.0);
        let mut more = vec![0u8; (dim * (bits - 1)).div_ceil(8)];
        for (i, g) in g.iter().enumerate() {
            let code = (g + half - 0.5) as usize;
            for k in 0..bits - 1 {
                let at = i * (bits - 1) + k;
                more[at / 8] |= ((code >> k & 1) as u8) << (at % 8);
            }
        }
        row.extend_from_slice(&more);
        let mut put = |v: f32| row.extend_from_slice(&v.to_le_bytes());
        put(if l2 { dot(&r, &r) } else { dot(c, &r) });
        put(if l2 { -2.0 * factor } else { factor });
    }
    let mut out = Output::default();
    out.fourcc(if bits == 1 { b"Ixrq" } else { b"Ixrr" });
    out.header(Header { dim, rows: 1, metric }).unwrap();
    out.u64(dim);
    out.u64(row.len());
    out.i32(i32::from(l2));
    if bits > 1 {
        out.u64(bits);
    }
    out.u64(row.len());
    out.0.extend_from_slice(&row);
    out.floats(c);
    out.put([0]);
    out.0
}

#[test]
fn rabitq_estimates_as_it_is_defined() {
    let (x, c) = (vectors(1, 5).row(0).to_vec(), vectors(1, 6).row(0).mapv(|v| 0.3 * v).to_vec());
    let q = vectors(4, 7);
    for metric in [Metric::L2, Metric::InnerProduct] {
        for bits in [1, 2, 3, 5, 8] {
            let file = rabitq(metric, bits, &x, &c);
            let index = read(&file).unwrap();
            let shown = index.reconstruct(0).unwrap();
            for (q, hits) in q.rows().into_iter().zip(index.search(q.view(), 1, &SearchOptions::default()).unwrap()) {
                // <q - c, F g> in the place of <q - c, r>, and all else as it is.
                let r_hat: Vec<f32> = shown.iter().zip(&c).map(|(x, c)| x - c).collect();
                let (mut l2, mut ip) = (0.0f32, 0.0f32);
                for i in 0..DIM {
                    let (r, from_c) = (x[i] - c[i], q[i] - c[i]);
                    l2 += r * r + from_c * from_c - 2.0 * from_c * r_hat[i];
                    ip += q[i] * c[i] + c[i] * r + from_c * r_hat[i];
                }
                let want = if metric == Metric::L2 { l2 } else { ip };
                assert!((hits[0].score - want).abs() < 1e-4, "{metric}, {bits} bits: {} and {want}", hits[0].score);
            }
            let saved = scant_tensor_core::file::File::from_bytes(index.to_bytes().unwrap()).unwrap();
            assert_eq!(Index::from_file(&saved).unwrap().search(q.view(), 1, &SearchOptions::default()).unwrap().len(), 4);
            damaged(&file);
        }
    }
}

#[test]
fn refined_indexes_score_candidates_with_full_vectors() {
    let (index, x) = (built(&IndexBuilder::new(Metric::L2).quantizer(QuantizerKind::Product { m: 2, bits: 4 }), 60), vectors(60, 2));
    let mut out = Output::default();
    let header = Header { dim: DIM, rows: 60, metric: Metric::L2 };
    let ids = (0..60u64).rev();
    out.fourcc(b"IxMp");
    out.header(header).unwrap();
    out.fourcc(b"IxRF");
    out.header(header).unwrap();
    out.0.extend(write(&index).unwrap());
    let mut flat = IndexBuilder::new(Metric::L2).train(&x).unwrap();
    flat.add_source(&x).unwrap();
    out.0.extend(write(&flat.finish()).unwrap());
    out.put(6.0f32.to_le_bytes());
    out.words(ids.clone().collect::<Vec<_>>().into_iter());
    let refined = read_refined(&out.0).unwrap();
    assert_eq!((refined.k_factor, refined.vectors.clone()), (6.0, x.clone()));
    let found = refined.search(x.view(), 10).unwrap(); // all 60 are candidates
    assert!(found.iter().zip(ids).all(|(hits, id)| hits[0] == Hit { id, score: 0.0 }));
    assert!(matches!(read(&out.0), Err(Error::Unsupported { .. })));
    assert!(matches!(read_refined(&write(&index).unwrap()), Err(Error::Unsupported { .. })));
    damaged_by(&out.0, |bytes| read_refined(bytes).map(|r| r.search(vectors(1, 3).view(), 3)).is_ok());
}

#[test]
fn binary_vectors_are_read_and_written() {
    for ids in [vec![0, 1, 2], vec![7, 5, 6]] {
        let vectors = BinaryVectors { dim: 16, ids, bits: vec![1, 2, 3, 4, 5, 6] };
        let file = write_binary(&vectors).unwrap();
        assert_eq!(read_binary(&file).unwrap(), vectors);
        damaged_by(&file, |bytes| read_binary(bytes).is_ok());
    }
    // An inverted file of two lists, the first of which is empty.
    let mut out = Output::default();
    let header = |out: &mut Output, rows: usize| {
        out.i32(8);
        out.i32(1);
        out.u64(rows);
        out.put([1]);
        out.i32(1);
    };
    out.fourcc(b"IBwF");
    header(&mut out, 2);
    out.u64(2);
    out.u64(1);
    out.fourcc(b"IBxF");
    header(&mut out, 2);
    out.u64(2);
    out.put([0, 255]);
    out.put([0]);
    out.u64(0);
    out.fourcc(b"ilar");
    out.u64(2);
    out.u64(1);
    out.fourcc(b"sprs");
    out.words([1, 2].into_iter());
    out.put([9, 8]);
    out.put(4u64.to_le_bytes());
    out.put(3u64.to_le_bytes());
    assert_eq!(read_binary(&out.0).unwrap(), BinaryVectors { dim: 8, ids: vec![4, 3], bits: vec![9, 8] });
    damaged_by(&out.0, |bytes| read_binary(bytes).is_ok());
}

#[test]
fn what_has_no_form_is_refused() {
    let product = QuantizerKind::Product { m: 3, bits: 4 };
    let uneven = QuantizerKind::Product { m: 4, bits: 4 };
    for builder in [
        IndexBuilder::new(Metric::Cosine).quantizer(product).norm_factor(),
        IndexBuilder::new(Metric::L2).quantizer(uneven),
        IndexBuilder::new(Metric::L2).quantizer(QuantizerKind::Lvq { bits: 8 }),
    ] {
        assert!(matches!(write(&built(&builder, 10)), Err(Error::NoFaissForm { .. })));
    }
    let mut index = built(&IndexBuilder::new(Metric::L2), 10);
    index.add(&[u64::MAX], vectors(1, 4).view()).unwrap();
    assert!(matches!(write(&index), Err(Error::LimitExceeded { .. })));
}

#[test]
fn errors_name_what_is_not_read() {
    let file = write(&built(&IndexBuilder::new(Metric::L2).quantizer(QuantizerKind::Product { m: 3, bits: 4 }), 10)).unwrap();
    // A header takes 33 bytes, behind the name; the last five are `is_trained` and the metric.
    let changed = |at: usize, byte: u8| {
        let mut file = file.clone();
        file[at] = byte;
        read(&file).unwrap_err()
    };
    assert!(matches!(changed(0, b'J'), Error::Unsupported { what: "index", got, .. } if got == "JxPq"));
    assert!(matches!(changed(33, 4), Error::Unsupported { what: "metric", got, .. } if got == "4"));
    assert!(matches!(changed(32, 0), Error::NotTrained { .. }));
    assert!(matches!(changed(32, 2), Error::Corrupt { field: "is_trained", .. }));
    assert!(matches!(changed(6, 1), Error::LimitExceeded { what: "dimensions", .. }));
    assert!(matches!(changed(37 + 16, 6), Error::BitsUnsupported { bits: 6, .. }));
    assert!(matches!(changed(4 + 4 + 7, 1), Error::LimitExceeded { what: "vectors", .. }));
    assert!(matches!(read(&file[..file.len() - 9]), Err(Error::Truncated { .. })));
    // A map that names an id twice, or one below 0.
    let index = built(&IndexBuilder::new(Metric::L2), 2);
    for (id, want_twice) in [(0i64, true), (-1, false)] {
        let mut out = Output::default();
        out.fourcc(b"IxMp");
        out.header(Header { dim: DIM, rows: 2, metric: Metric::L2 }).unwrap();
        out.0.extend(write(&index).unwrap());
        out.words([0, id as u64].into_iter());
        let error = read(&out.0).unwrap_err();
        assert!(if want_twice { matches!(error, Error::DuplicateId { id: 0 }) } else { matches!(error, Error::Corrupt { .. }) }, "{error}");
    }
}

/// Cut at every byte and with every bit of the first 300 bytes and of some later ones turned over, a file gives an error or an index that can be
/// searched.
fn damaged(file: &[u8]) {
    damaged_by(file, |bytes| {
        let Ok(index) = read(bytes) else { return false };
        // Numbers so large that products overflow are an error of the search.
        let _ = index.search(Array2::ones((1, index.dim())).view(), 3, &SearchOptions::default());
        true
    });
}

fn damaged_by(file: &[u8], read: impl Fn(&[u8]) -> bool) {
    assert!(read(file));
    (0..file.len()).for_each(|end| assert!(!read(&file[..end]), "cut at {end} of {}", file.len()));
    let mut bytes = file.to_vec();
    let places = (0..file.len().min(300)).chain((300..file.len()).step_by(13)).chain(file.len().saturating_sub(100)..file.len());
    for at in places {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            read(&bytes);
            bytes[at] ^= 1 << bit;
        }
    }
}

#[test]
fn damage_is_an_error_or_a_valid_index() {
    for (_, builder) in builders() {
        // Few rows, and lists that are empty.
        let index = built(&builder, 4);
        if index.metric() == Metric::InnerProduct {
            continue; // as the two others, without what is in front of cosine
        }
        let file = write(&index).unwrap();
        if file.len() < 20_000 {
            damaged(&file);
        }
    }
}

#[test]
fn small_files_do_not_ask_for_much() {
    // Without vectors, what is allocated is bounded by the dimensions.
    let mut out = Output::default();
    out.fourcc(b"IxF2");
    out.header(Header { dim: 1 << 16, rows: 0, metric: Metric::L2 }).unwrap();
    out.u64(0);
    assert_eq!(read(&out.0).unwrap().dim(), 1 << 16);
    // Counts that no file can have.
    for rows in [u64::MAX, 1 << 39, 1 << 31] {
        let mut file = out.0.clone();
        file[8..16].copy_from_slice(&rows.to_le_bytes());
        let end = file.len() - 8;
        file[end..].copy_from_slice(&(rows << 16).to_le_bytes());
        assert!(read(&file).is_err());
    }
}
