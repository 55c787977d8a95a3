//! Files of vectors: read in parts, and refused when they contradict themselves.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use ndarray::{Array2, array};
use scant_pq_index::Error;
use scant_pq_index::source::{Npy, Tensor, Vecs, VectorSource, open, read_ivecs, read_rows};
use scant_tensor_core::file::{File, Writer};
use std::path::PathBuf;

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("scant-sources-{}-{name}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    path
}

fn npy(descr: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn npy_of_every_type_is_read_and_others_are_named() {
    let want = array![[1.0, 2.0, -3.0], [4.0, 5.0, 6.0]];
    let values = [1.0f32, 2.0, -3.0, 4.0, 5.0, 6.0];
    let half: Vec<u8> = values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
    let double: Vec<u8> = values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect();
    let bytes: Vec<u8> = values.iter().map(|v| *v as i8 as u8).collect();
    for (descr, data) in [("<f4", floats(&values)), ("<f2", half), ("<f8", double), ("|i1", bytes)] {
        let path = file("a.npy", &npy(descr, "False", "(2, 3)", &data));
        let source = open(&path).unwrap();
        assert_eq!((source.len(), source.dim()), (2, 3));
        assert_eq!(read_rows(&*source, 0..2).unwrap(), want, "{descr}");
        assert_eq!(read_rows(&*source, 1..2).unwrap(), want.slice(ndarray::s![1..2, ..]));
        assert!(matches!(read_rows(&*source, 1..3), Err(Error::LengthMismatch { want: 3, got: 2, .. })));
        let cut = file("b.npy", &npy(descr, "False", "(2, 3)", &data[..data.len() - 1]));
        assert!(matches!(Npy::open(&cut), Err(Error::Truncated { .. })));
    }
    for (descr, order, shape) in
        [("<i4", "False", "(2, 3)"), ("<f4", "True", "(2, 3)"), ("<f4", "False", "(6,)"), ("<f4", "False", "(2, x)")]
    {
        let path = file("c.npy", &npy(descr, order, shape, &floats(&values)));
        assert!(matches!(Npy::open(&path), Err(Error::Corrupt { .. })), "{descr} {order} {shape}");
    }
    let whole = npy("<f4", "False", "(2, 3)", &floats(&values));
    for len in 0..whole.len() {
        assert!(Npy::open(file("d.npy", &whole[..len])).is_err(), "{len}");
    }
    assert!(matches!(open("x.txt"), Err(Error::Corrupt { .. })));
    assert!(matches!(Npy::open("no such file.npy"), Err(Error::Io { .. })));
}

#[test]
fn vecs_files_are_read_and_checked_row_by_row() {
    let row = |len: i32, values: &[u8]| [&len.to_le_bytes()[..], values].concat();
    let f = [row(2, &floats(&[1.0, 2.0])), row(2, &floats(&[3.0, f32::INFINITY]))].concat();
    let source = Vecs::open(file("a.fvecs", &f)).unwrap();
    assert_eq!(read_rows(&source, 0..1).unwrap(), array![[1.0, 2.0]]);
    assert!(matches!(read_rows(&source, 0..2), Err(Error::NonFinite { row: 1, column: 1, .. })));
    let b = [row(3, &[1, 2, 255]), row(3, &[0, 0, 7])].concat();
    assert_eq!(read_rows(&Vecs::open(file("a.bvecs", &b)).unwrap(), 0..2).unwrap(), array![[1.0, 2.0, 255.0], [0.0, 0.0, 7.0]]);
    let i = [row(1, &5i32.to_le_bytes()), row(1, &(-1i32).to_le_bytes())].concat();
    assert_eq!(read_ivecs(file("a.ivecs", &i)).unwrap(), array![[5], [-1]]);

    assert!(matches!(Vecs::open(file("b.fvecs", &f[..f.len() - 1])), Err(Error::Truncated { .. })));
    let uneven = [row(2, &floats(&[1.0, 2.0])), row(1, &floats(&[1.0, 2.0]))].concat();
    assert!(matches!(Vecs::open(file("c.fvecs", &uneven)), Err(Error::Corrupt { .. })));
    assert!(matches!(Vecs::open(file("d.fvecs", &row(-1, &[0; 8]))), Err(Error::Corrupt { .. })));
    assert!(matches!(Vecs::open(file("e.fvecs", &[1, 2])), Err(Error::Truncated { .. })));
    assert_eq!(Vecs::open(file("f.fvecs", &[])).unwrap().len(), 0);
}

#[test]
fn a_tensor_is_a_source() {
    let x = Array2::from_shape_fn((5, 3), |(i, j)| (3 * i + j) as f32);
    let mut writer = Writer::new("example", 1);
    writer.add_elements("x", [5, 3], x.as_slice().unwrap()).unwrap();
    writer.add_elements("codes", [5, 3], &[0u8; 15]).unwrap();
    let file = File::from_bytes(writer.to_bytes().unwrap()).unwrap();
    let source = Tensor::open(&file, "x").unwrap();
    assert_eq!(read_rows(&source, 2..4).unwrap(), x.slice(ndarray::s![2..4, ..]));
    assert!(Tensor::open(&file, "codes").is_err() && Tensor::open(&file, "y").is_err());
}
