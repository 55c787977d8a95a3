//! Whatever the bytes, the answer is an error or a well-formed file; the heap stays within a small multiple of them.

use crate::round_trip::{by_hand, fixture};
use scant_quant::Error;
use scant_quant::gguf::{Array, File};
use scant_tensor_core::file::Bytes;
use scant_testkit::alloc::measure;
use scant_testkit::corrupt;

/// Opens `bytes` and, if that works, reads all there is.
fn read_all(bytes: &[u8]) -> Result<(), Error> {
    // The file itself is not counted: it may be mapped.
    let bytes = Bytes::from(bytes);
    let size = bytes.len();
    let (file, heap) = measure(|| File::from_bytes(bytes));
    // An error message is the rest.
    assert!(heap.peak <= 5 * size + 1024, "{} bytes of heap for a file of {size}", heap.peak);
    let file = file?;
    assert!(heap.peak > 0, "the allocator counts");
    for key in file.keys() {
        let value = file.value(key)?.expect("a listed key has a value");
        value.to_string();
        if let Ok(array) = file.get::<Array>(key) {
            assert_eq!(array.iter().count(), array.len());
        }
        let (_, heap) = measure(|| file.get::<Vec<&str>>(key).is_ok());
        assert!(heap.peak <= 5 * size + 1024);
    }
    for tensor in file.tensors() {
        assert!(tensor.rows() > 0 && tensor.columns() > 0);
        match tensor.to_f32() {
            Ok(weights) => assert_eq!(weights.len(), tensor.rows() * tensor.columns()),
            Err(error) => assert!(matches!(error, Error::UnknownGgmlType { .. }), "{error}"),
        }
        assert!(file.tensor(tensor.name()).is_ok());
    }
    Ok(())
}

#[test]
fn every_cut_is_an_error() {
    for whole in [fixture(), by_hand(1), by_hand(2)] {
        read_all(&whole).unwrap();
        // The last tensor ends before the padding at the end of the file.
        let end = whole.len() - if whole.len() > 1000 { 12 } else { 0 };
        for (damage, bytes) in corrupt::cuts(&whole) {
            assert_eq!(read_all(&bytes).is_err(), bytes.len() < end, "{damage} of {}", whole.len());
        }
    }
}

#[test]
fn every_flipped_bit_is_an_error_or_a_file() {
    for whole in [fixture(), by_hand(1), by_hand(2)] {
        for (_, bytes) in corrupt::flips(&whole) {
            // Names, values and weights have no checksum.
            let _ = read_all(&bytes);
        }
    }
}

fn patched(version: u32, at: usize, bytes: &[u8]) -> Result<(), Error> {
    let mut file = by_hand(version);
    file[at..][..bytes.len()].copy_from_slice(bytes);
    read_all(&file)
}

#[test]
fn counts_beyond_the_file_are_refused_without_allocating() {
    for version in 1..=3 {
        let (width, huge) = match version {
            1 => (4, &[0xff; 4][..]),
            _ => (8, &[0xff; 8][..]),
        };
        for at in [8, 8 + width, 8 + 2 * width] {
            let error = patched(version, at, huge).unwrap_err();
            assert!(matches!(error, Error::Limit { .. }), "{error}");
            // Within the limit, and still more than the file has.
            let mut many = huge.to_vec();
            many.fill(0);
            many[2] = 1;
            let error = patched(version, at, &many).unwrap_err();
            assert!(matches!(error, Error::Truncated { .. } | Error::Limit { .. }), "{error}");
        }
    }
}

/// As many of the smallest keys and tensors as fit.
#[test]
fn heap_is_bounded_for_the_densest_files() {
    let text = |i: u32| {
        let digits = format!("{i}");
        [(digits.len() as u32).to_le_bytes().to_vec(), digits.into_bytes()].concat()
    };
    let n = 10_000u32;
    let mut keys = [b"GGUF".to_vec(), 1u32.to_le_bytes().to_vec(), 0u32.to_le_bytes().to_vec()].concat();
    keys.extend(n.to_le_bytes());
    for i in 0..n {
        keys.extend([text(i), 0u32.to_le_bytes().to_vec(), vec![1]].concat());
    }
    read_all(&keys).unwrap();

    let mut tensors = [b"GGUF".to_vec(), 1u32.to_le_bytes().to_vec(), n.to_le_bytes().to_vec()].concat();
    tensors.extend(0u32.to_le_bytes());
    for i in 0..n {
        let one = 1u32.to_le_bytes();
        let offset = u64::from(i) * 32;
        tensors.extend([text(i), [one, one, [30, 0, 0, 0]].concat(), offset.to_le_bytes().to_vec()].concat());
    }
    tensors.resize(tensors.len().next_multiple_of(32) + n as usize * 32, 0);
    read_all(&tensors).unwrap();
    // All of them without their data: an error.
    tensors.truncate(tensors.len() - n as usize * 32);
    assert!(matches!(read_all(&tensors).unwrap_err(), Error::Truncated { .. }));

    // One string array of empty strings is almost all of the file.
    let mut strings = [b"GGUF".to_vec(), 1u32.to_le_bytes().to_vec(), 0u32.to_le_bytes().to_vec()].concat();
    strings.extend([1u32.to_le_bytes(), 1u32.to_le_bytes()].concat());
    strings.push(b'k');
    strings.extend([9u32, 8, n].map(u32::to_le_bytes).concat());
    strings.extend(vec![0; 4 * n as usize]);
    read_all(&strings).unwrap();
}

#[test]
fn other_files_are_told_apart() {
    let error = patched(3, 0, b"GGML").unwrap_err();
    assert_eq!(error.to_string(), "not a GGUF file: it starts with \"GGML\" instead of \"GGUF\"");
    let error = patched(3, 4, &3u32.to_be_bytes()).unwrap_err();
    assert!(matches!(error, Error::BigEndian { version: 3 }), "{error}");
    for version in [0, 4, 0x0102_0304] {
        let error = patched(3, 4, &u32::to_le_bytes(version)).unwrap_err();
        assert!(matches!(error, Error::UnsupportedVersion { .. }), "{error}");
    }
    assert!(matches!(read_all(&[]).unwrap_err(), Error::Truncated { .. }));
}

/// Offsets of the tensor's fields in `by_hand(3)`.
struct Fields {
    name: usize,
    n_dims: usize,
    dims: usize,
    ty: usize,
    offset: usize,
}

fn fields() -> Fields {
    let bytes = by_hand(3);
    let needle = [&1u64.to_le_bytes()[..], b"w", &2u32.to_le_bytes()].concat();
    let at = bytes.windows(needle.len()).position(|w| w == needle).unwrap();
    Fields { name: at, n_dims: at + 9, dims: at + 13, ty: at + 29, offset: at + 33 }
}

#[test]
fn tensor_infos_are_checked() {
    let Fields { name, n_dims, dims, ty, offset } = fields();
    let limit = |at, value: u64| {
        let error = patched(3, at, &value.to_le_bytes()).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
    };
    limit(name, 64);
    let error = patched(3, n_dims, &5u32.to_le_bytes()).unwrap_err();
    assert!(matches!(error, Error::Limit { value: 5, limit: 4, .. }), "{error}");
    assert!(matches!(patched(3, n_dims, &[0]).unwrap_err(), Error::Corrupt { .. }));
    assert!(matches!(patched(3, dims, &[0]).unwrap_err(), Error::Corrupt { .. }));
    let error = patched(3, dims, &[0xff; 16]).unwrap_err();
    assert!(matches!(error, Error::Overflow { .. }), "{error}");
    let error = patched(3, dims + 8, &(1u64 << 61).to_le_bytes()).unwrap_err();
    assert!(matches!(error, Error::Overflow { .. }), "{error}");
    assert!(matches!(patched(3, dims, &[3]).unwrap_err(), Error::Truncated { .. }));
    for bad in [1, 16, 33] {
        let error = patched(3, offset, &[bad]).unwrap_err();
        assert!(error.to_string().contains("alignment, 32"), "{error}");
    }
    assert!(matches!(patched(3, offset, &[32]).unwrap_err(), Error::Truncated { .. }));
    assert!(patched(3, offset, &[0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err());
    // Rows of two do not split into blocks of 32.
    let error = patched(3, ty, &[2]).unwrap_err();
    assert!(error.to_string().contains("Q4_0 blocks of 32"), "{error}");
}

#[test]
fn a_tensor_of_unknown_type_is_an_error_only_when_decoded() {
    let mut bytes = by_hand(3);
    bytes[fields().ty] = 38;
    let file = File::from_bytes(bytes).unwrap();
    assert_eq!(file.get::<&str>("general.architecture").unwrap(), "llama");
    let tensor = file.tensor("w").unwrap();
    assert_eq!((tensor.type_id(), tensor.dims()), (38, &[2, 2][..]));
    let error = tensor.to_f32().unwrap_err().to_string();
    assert!(error.contains("`w`") && error.contains("38") && error.contains("Q6_K 14"), "{error}");
}

#[test]
fn duplicates_and_disorder_are_refused() {
    let bytes = fixture();
    let find = |needle: &[u8]| bytes.windows(needle.len()).position(|w| w == needle).unwrap();
    let patch = |at: usize, new: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..][..new.len()].copy_from_slice(new);
        read_all(&bytes).unwrap_err()
    };
    let error = patch(find(b"blk.0.Q4_0.weight"), b"blk.0.Q4_1.weight");
    assert_eq!(error.to_string(), "tensor `blk.0.Q4_1.weight` appears twice");
    let error = patch(find(b"test.u16"), b"test.u32");
    assert_eq!(error.to_string(), "metadata key `test.u32` appears twice");
    // The second tensor at the place of the first.
    let offset = find(b"blk.0.F16.weight") + 16 + 4 + 16 + 4;
    let error = patch(offset, &0u64.to_le_bytes());
    assert!(error.to_string().contains("what lies before it ends at"), "{error}");
    // Text that is none, and a bool that is neither.
    let error = patch(find("längliche".as_bytes()) + 1, &[0xff]);
    assert!(error.to_string().contains("`test.text`: not UTF-8 after 1 bytes"), "{error}");
    let error = patch(find(b"test.bool") + 9 + 4, &[2]);
    assert!(error.to_string().contains("bool is 2"), "{error}");
    let error = patch(find(b"test.bool") + 9, &[13]);
    assert!(error.to_string().contains("value type 13 is unknown"), "{error}");
    // An array of arrays.
    let error = patch(find(b"test.none") + 9 + 4, &[9]);
    assert!(error.to_string().contains("array of arrays"), "{error}");
}
