//! The container against damage, lies and foreign files.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use half::f16;
use proptest::prelude::*;
use scant_tensor_core::file::{Bytes, Dtype, File, FileError, Writer, replace};
use scant_testkit::alloc::{CountingAllocator, measure};
use scant_testkit::corrupt;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// A folder of its own, removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("scant-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Some 2 KiB with everything in it: several types, an empty tensor, a scalar, odd names, foreign metadata.
fn fixture() -> Bytes {
    let mut writer = Writer::new("fixture", 3)
        .parameters(&serde_json::json!({ "bits": 4, "group_size": 32, "name": "naïve \"grid\"" }))
        .unwrap()
        .metadata("format", "pt")
        .unwrap();
    let codes: Vec<u8> = (0..=255).collect();
    let scales: Vec<f16> = (0..16).map(|i| f16::from_f32(i as f32 - 7.5)).collect();
    writer
        .add_elements("0.grid.bias", [3], &[1.0f32, -2.0, 0.5])
        .unwrap();
    writer
        .add("0.grid.codes", Dtype::U8, [16, 16], codes)
        .unwrap();
    writer.add_elements("0.grid.scales", [16], &scales).unwrap();
    writer
        .add("0.csr.values", Dtype::F16, [0, 4], vec![])
        .unwrap();
    writer.add("empty too", Dtype::I64, [2, 0], vec![]).unwrap();
    writer
        .add("mask", Dtype::Bool, [5], vec![1, 0, 1, 1, 0])
        .unwrap();
    writer.add_elements("größe\n", [], &[42u64]).unwrap();
    writer.to_bytes().unwrap()
}

/// All that a file says, for comparison.
#[derive(Debug, PartialEq)]
struct Content {
    description: Option<(String, u32, serde_json::Value)>,
    metadata: BTreeMap<String, String>,
    tensors: Vec<(String, Dtype, Vec<usize>, Bytes)>,
}

fn content(file: &File) -> Content {
    let tensor = |name| {
        let view = file.tensor(name).unwrap();
        (view.name, view.dtype, view.shape, view.bytes)
    };
    Content {
        description: file
            .description()
            .map(|d| (d.kind().to_owned(), d.version(), d.parameters().unwrap())),
        metadata: file.metadata().clone(),
        tensors: file.names().map(tensor).collect(),
    }
}

/// A safetensors file with this JSON and these data.
fn raw(json: &str, data: &[u8]) -> Bytes {
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(json.as_bytes());
    file.extend_from_slice(data);
    file.into()
}

#[test]
fn every_cut_and_every_flipped_bit_is_an_error_or_the_same_data() {
    let bytes = fixture();
    assert!((1000..4000).contains(&bytes.len()), "{}", bytes.len());
    let want = content(&File::from_bytes(bytes.clone()).unwrap());
    let (mut errors, mut same) = (0, 0);
    for (damage, damaged) in corrupt::every_way(&bytes) {
        match File::from_bytes(damaged.into()) {
            Err(error) => {
                assert!(!error.to_string().is_empty());
                errors += 1;
            }
            Ok(file) => {
                assert_eq!(content(&file), want, "{damage}");
                same += 1;
            }
        }
    }
    // What may pass: the case of hexadecimal digits in two kinds of checksum, and nothing that comes in numbers.
    assert!(
        same < 80 && errors > 9 * bytes.len() - 80,
        "{errors} errors, {same} the same"
    );
}

#[test]
fn damage_to_the_header_is_seen_without_reading_the_tensors() {
    let folder = Folder::new("header");
    let bytes = fixture();
    let file = File::from_bytes(bytes.clone()).unwrap();
    let want = content(&file);
    let data = bytes.len()
        - file
            .names()
            .map(|n| file.tensor(n).unwrap().bytes.len())
            .sum::<usize>();
    let path = folder.path("damaged");
    fs::write(&path, &bytes[..]).unwrap();
    let mut on_disk = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let mut put = |at: usize, byte: u8| {
        on_disk.seek(SeekFrom::Start(at as u64)).unwrap();
        on_disk.write_all(&[byte]).unwrap();
    };
    for at in 0..data {
        for bit in 0..8 {
            put(at, bytes[at] ^ (1 << bit));
            // SAFETY: the file is written again only after the map is gone.
            #[expect(unsafe_code, reason = "maps a file of its own")]
            let mapped = unsafe { File::map(&path) };
            if let Ok(file) = mapped {
                assert_eq!(content(&file), want, "bit {bit} of byte {at}");
            }
        }
        put(at, bytes[at]);
    }
}

#[test]
fn a_mapped_file_is_verified_on_request() {
    let folder = Folder::new("map");
    let path = folder.path("file");
    let bytes = fixture();
    fs::write(&path, &bytes[..]).unwrap();
    // SAFETY: `save` below replaces the file by a rename, which leaves the map its old one.
    #[expect(unsafe_code, reason = "maps a file of its own")]
    let file = unsafe { File::map(&path) }.unwrap();
    file.verify().unwrap();
    let codes = file.expect("0.grid.codes", Dtype::U8, [16, 16]).unwrap();
    assert!(codes.is_mapped());
    assert_eq!(codes.as_ptr().addr() % 64, 0);
    #[cfg(unix)]
    {
        Writer::new("other", 1).save(&path).unwrap();
        assert_eq!(codes[255], 255);
        assert_eq!(File::read(&path).unwrap().names().len(), 0);
    }

    let last = bytes.len() - 1;
    let flip = corrupt::Damage::Flip { byte: last, bit: 0 };
    let other = folder.path("damaged");
    fs::write(&other, flip.apply(&bytes)).unwrap();
    // SAFETY: nobody else knows the file.
    #[expect(unsafe_code, reason = "maps a file of its own")]
    let file = unsafe { File::map(&other) }.unwrap();
    let error = file.verify().unwrap_err();
    assert!(matches!(error, FileError::Checksum { .. }), "{error}");
    let error = File::read(&other).unwrap_err();
    assert!(matches!(error, FileError::Checksum { .. }), "{error}");
}

#[test]
fn lies_are_named() {
    let entry = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    let cases: &[(&str, &str)] = &[
        ("", "header: EOF"),
        ("{", "header: EOF"),
        ("[]", "header: invalid type: sequence"),
        (r#"{"a":{}}"#, "header: tensor `a`: missing field"),
        (r#"{"a":1}"#, "header: tensor `a`: invalid type"),
        (
            &entry("F8_E4M3", "[4]", "[0,4]"),
            "dtype `F8_E4M3` is none this build reads",
        ),
        (
            &entry("U8", "[5]", "[0,4]"),
            "tensor `a`: u8 [5] takes 5 bytes, given are 4",
        ),
        (
            &entry("U8", "[-1]", "[0,4]"),
            "header: tensor `a`: invalid value: integer `-1`",
        ),
        (
            &entry("U8", "[4.0]", "[0,4]"),
            "header: tensor `a`: invalid type: floating point",
        ),
        (
            &entry("U8", "[4]", "[1,5]"),
            "tensor `a`: bytes 1 to 5 where byte 0 should be next",
        ),
        (
            &entry("U8", "[4]", "[4,0]"),
            "tensor `a`: bytes 4 to 0 where byte 0 should be next",
        ),
        (&entry("U8", "[4]", "[0,4,8]"), "header: tensor `a`: "),
        (
            &entry("U8", "[3]", "[0,3]"),
            "tensors of 3 bytes in a data section of 4 bytes",
        ),
        (
            &entry("U8", "[1099511627776]", "[0,1099511627776]"),
            "tensors of 1099511627776 bytes in a data section of 4",
        ),
        (
            &entry("F64", "[4611686018427387904]", "[0,4]"),
            "takes more bytes than can be counted, given are 4",
        ),
        (
            &entry("U8", "[4294967296,4294967296,4294967296]", "[0,4]"),
            "takes more bytes than can be counted",
        ),
        (
            r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#,
            "header: `a` stands twice",
        ),
        (
            r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}"#,
            "tensor `b`: bytes 2 to 4 where byte 4 should be next",
        ),
        (
            r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}"#,
            "tensor `b`: bytes 2 to 4 where byte 1 should be next",
        ),
        (
            r#"{"__metadata__":{"a":1}}"#,
            "header: invalid type: integer",
        ),
        (
            r#"{"__metadata__":{"a":"1","a":"2"}}"#,
            "header: `a` stands twice",
        ),
        (
            r#"{"__metadata__":{},"__metadata__":{}}"#,
            "header: `__metadata__` stands twice",
        ),
        (
            r#"{"__metadata__":{"scant":"{}"}}"#,
            "metadata has `scant` but not `scant_crc32c`",
        ),
        (
            r#"{"__metadata__":{"scant_crc32c":"00000000"}}"#,
            "metadata has `scant_crc32c` but not `scant`",
        ),
    ];
    for (json, want) in cases {
        let data = if json.contains("scant") {
            &[][..]
        } else {
            &[0; 4]
        };
        let error = File::from_bytes(raw(json, data)).unwrap_err().to_string();
        assert!(error.contains(want), "{json}: {error}");
    }
    let rank = format!("[{}1]", "1,".repeat(64));
    let error = File::from_bytes(raw(&entry("U8", &rank, "[0,1]"), &[0]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("expected at most 64 dimensions"), "{error}");
}

#[test]
fn claims_of_gigabytes_take_no_memory() {
    for claim in [u64::MAX, 1 << 40, 100_000_001, 100_000_000, 1 << 20] {
        let mut file = claim.to_le_bytes().to_vec();
        file.extend_from_slice(b"{}");
        let file = Bytes::from(file);
        let (error, heap) = measure(|| File::from_bytes(file).unwrap_err());
        assert!(heap.peak < 4096, "{claim}: {heap:?}");
        assert!(error.to_string().starts_with("header of "), "{error}");
    }
}

/// "Less than 16 times the header": with the shortest names, the longest shapes, the deepest JSON, the largest errors.
#[test]
fn hostile_headers_take_a_small_multiple_of_their_length() {
    let list = |n: usize, entry: &dyn Fn(usize) -> String| {
        format!("{{{}}}", (0..n).map(entry).collect::<Vec<_>>().join(","))
    };
    let long = "x".repeat(200_000);
    let shape = |rank: usize| format!("[{}0]", "1,".repeat(rank - 1));
    let checksums = list(10_000, &|i| format!(r#""{i:x}":"00000000""#));
    let cases: Vec<(&str, String)> = vec![
        (
            "many tensors",
            list(20_000, &|i| {
                format!(r#""{i:x}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#)
            }),
        ),
        (
            "scalars",
            list(20_000, &|i| {
                format!(
                    r#""{i:x}":{{"dtype":"U8","shape":[],"data_offsets":[{i},{}]}}"#,
                    i + 1
                )
            }),
        ),
        (
            "33 dimensions",
            list(2_000, &|i| {
                format!(
                    r#""{i:x}":{{"dtype":"U8","shape":{},"data_offsets":[0,0]}}"#,
                    shape(33)
                )
            }),
        ),
        (
            "64 dimensions",
            list(2_000, &|i| {
                format!(
                    r#""{i:x}":{{"dtype":"U8","shape":{},"data_offsets":[0,0]}}"#,
                    shape(64)
                )
            }),
        ),
        (
            "endless shape",
            format!(
                r#"{{"a":{{"dtype":"U8","shape":{},"data_offsets":[0,0]}}}}"#,
                shape(100_000)
            ),
        ),
        (
            "much metadata",
            format!(
                r#"{{"__metadata__":{}}}"#,
                list(20_000, &|i| format!(r#""{i:x}":"""#))
            ),
        ),
        (
            "unknown field",
            format!(
                r#"{{"a":{{"dtype":"U8","shape":[0],"data_offsets":[0,0],"b":[{}0]}}}}"#,
                "0,".repeat(100_000)
            ),
        ),
        ("deep", format!(r#"{{"a":{}"#, "[".repeat(100_000))),
        (
            "long name, wrong length",
            format!(r#"{{"{long}":{{"dtype":"U8","shape":[1],"data_offsets":[0,0]}}}}"#),
        ),
        (
            "long name, wrong type",
            format!(r#"{{"{long}":{{"dtype":"{long}","shape":[1],"data_offsets":[0,0]}}}}"#),
        ),
        (
            "long name twice",
            format!(r#"{{"__metadata__":{{"{long}":"","{long}":""}}}}"#),
        ),
        (
            "escaped",
            format!(r#"{{"__metadata__":{{"a":"{}"}}}}"#, r"\n".repeat(100_000)),
        ),
        ("description", {
            let parameters = format!("[{}0]", "0,".repeat(100_000));
            sealed(&format!(
                r#"{{"kind":"k","version":1,"parameters":{parameters},"crc32c":{{}}}}"#
            ))
        }),
        (
            "checksums",
            sealed(&format!(
                r#"{{"kind":"k","version":1,"parameters":0,"crc32c":{checksums}}}"#
            )),
        ),
    ];
    for (name, json) in cases {
        let file = raw(&json, &[]);
        let (answer, heap) = measure(|| File::from_bytes(file).map(|_| ()));
        assert!(
            heap.peak < 16 * json.len() + 4096,
            "{name}: {} bytes, {heap:?}, {:?}",
            json.len(),
            answer.is_ok()
        );
    }
}

/// A header of nothing but this description, with the checksum it needs.
fn sealed(description: &str) -> String {
    let sum = scant_tensor_core::file::Crc32c::of(description.as_bytes()).append(&[0]);
    let metadata = serde_json::json!({ "scant": description, "scant_crc32c": sum });
    format!(r#"{{"__metadata__":{metadata}}}"#)
}

#[test]
fn descriptions_that_do_not_fit_are_refused() {
    let cases = [
        ("nonsense", "description: expected ident"),
        ("{}", "description: missing field `kind`"),
        (
            r#"{"kind":"k","version":1,"crc32c":{}}"#,
            "description: missing field `parameters`",
        ),
        (
            r#"{"kind":"k","version":-1,"parameters":{},"crc32c":{}}"#,
            "description: invalid value",
        ),
        (
            r#"{"kind":"k","version":1,"parameters":{},"crc32c":{"a":"0"}}"#,
            "description: a checksum is eight hexadecimal",
        ),
        (
            r#"{"kind":"k","version":1,"parameters":{},"crc32c":{"a":"00000000"}}"#,
            "tensor `a` is in its description but not in the file",
        ),
        (
            r#"{"kind":"k","version":1,"parameters":{},"crc32c":{"a":"00000000","a":"00000000"}}"#,
            "description: `a` stands twice",
        ),
    ];
    for (text, want) in cases {
        let error = File::from_bytes(raw(&sealed(text), &[]))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(want), "{text}: {error}");
    }
    let newer = r#"{"kind":"k","version":7,"parameters":{"x":1},"crc32c":{},"from the future":[]}"#;
    let file = File::from_bytes(raw(&sealed(newer), &[])).unwrap();
    assert_eq!(
        file.require_kind("k", 6).unwrap_err().to_string(),
        "k file of version 7: this build reads 1 to 6"
    );
    assert_eq!(
        file.require_kind("l", 7).unwrap_err().to_string(),
        "want a l file, this is a k file"
    );
    assert!(
        file.require_kind("k", 7)
            .unwrap()
            .parameters::<Vec<u8>>()
            .is_err()
    );
}

#[test]
fn foreign_files_open_at_any_alignment() {
    // One byte first, so that every float after it lies askew; a hole-free file as others write it.
    let values: Vec<f32> = vec![1.5, -2.0, f32::MIN_POSITIVE];
    let mut data = vec![7u8];
    values.iter().for_each(|x| data.extend(x.to_le_bytes()));
    let halves = [0x3c00u16, 0xc000].map(u16::to_le_bytes).concat();
    data.extend(&halves);
    for padding in 0..8 {
        let json = format!(
            r#"{{"byte":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}},"f":{{"dtype":"F32","shape":[3,1],"data_offsets":[1,13]}},"h":{{"dtype":"BF16","shape":[2],"data_offsets":[13,17],"more":null}}}}{}"#,
            " ".repeat(padding)
        );
        let file = File::from_bytes(raw(&json, &data)).unwrap();
        assert!(file.description().is_none());
        file.verify().unwrap();
        assert_eq!(file.typed::<f32>("f", [3, 1]).unwrap()[..], values);
        assert_eq!(file.tensor("f").unwrap().to_f32().unwrap(), values);
        assert_eq!(
            file.tensor("h").unwrap().to_f32().unwrap(),
            [0.0078125, -2.0]
        );
        let error = file.require_kind("model", 1).unwrap_err().to_string();
        assert_eq!(
            error,
            "want a model file, this is a file without description"
        );
        let error = file.tensor("g").unwrap_err().to_string();
        assert_eq!(error, "tensor `g` is missing");
        let error = file
            .tensor("byte")
            .unwrap()
            .to_f32()
            .unwrap_err()
            .to_string();
        assert_eq!(error, "tensor `byte`: u8 does not convert to f32");
        assert!(file.tensor("byte").unwrap().typed::<i8>().is_err());
    }
    let null = File::from_bytes(raw(r#"{"__metadata__":null}"#, &[])).unwrap();
    assert_eq!((null.names().len(), null.metadata().len()), (0, 0));
}

#[test]
fn a_failed_save_leaves_the_old_file_whole() {
    let folder = Folder::new("save");
    let path = folder.path("model");
    Writer::new("old", 1).save(&path).unwrap();
    let old = fs::read(&path).unwrap();

    // The disk is full after some bytes.
    let error = replace(&path, |out| {
        out.write_all(&[0; 100_000])?;
        Err(std::io::ErrorKind::StorageFull.into())
    });
    assert!(error.unwrap_err().to_string().starts_with("cannot write "));
    assert_eq!(fs::read(&path).unwrap(), old);
    assert_eq!(folder.names(), ["model"]);

    // The name cannot be taken: it is a folder with something in it.
    let taken = folder.path("taken");
    fs::create_dir_all(taken.join("inner")).unwrap();
    assert!(Writer::new("new", 1).save(&taken).is_err());
    assert!(taken.join("inner").is_dir());
    assert_eq!(folder.names().len(), 2);

    // There is nowhere to write.
    assert!(
        Writer::new("new", 1)
            .save(folder.path("no/such/folder"))
            .is_err()
    );
    assert!(Writer::new("new", 1).save("/").is_err());

    Writer::new("new", 1).save(&path).unwrap();
    assert_eq!(
        File::read(&path).unwrap().description().unwrap().kind(),
        "new"
    );
}

#[test]
fn the_writer_refuses_what_does_not_fit() {
    let mut writer = Writer::new("k", 1);
    let error = writer
        .add("a", Dtype::F16, [4, 8], vec![0; 60])
        .unwrap_err()
        .to_string();
    assert_eq!(error, "tensor `a`: f16 [4, 8] takes 64 bytes, given are 60");
    writer.add("a", Dtype::U8, [1], vec![0]).unwrap();
    let error = writer
        .add("a", Dtype::U8, [1], vec![0])
        .unwrap_err()
        .to_string();
    assert_eq!(error, "`a` is already in the file");
    assert!(writer.add("__metadata__", Dtype::U8, [1], vec![0]).is_err());
    for key in ["scant", "scant_crc32c", "format"] {
        let writer = Writer::new("k", 1).metadata("format", "pt").unwrap();
        assert!(writer.metadata(key, "").is_err(), "{key}");
    }
}

/// The bytes of version 1 of the container, forever: what a released build wrote must open, and be written again.
#[test]
fn the_first_version_is_read_and_written_as_it_was() {
    let golden = include_bytes!("data/container-1.safetensors");
    let file = File::from_bytes(Bytes::from_static(golden)).unwrap();
    assert_eq!(file.typed::<u64>("größe\n", []).unwrap()[..], [42]);
    assert_eq!(fixture()[..], golden[..]);
}

fn tensors() -> impl Strategy<Value = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>> {
    let tensor = (
        prop::sample::select(&Dtype::ALL[..]),
        prop::collection::vec(0usize..9, 0..4),
        any::<u8>(),
    );
    prop::collection::btree_map(any::<String>(), tensor, 0..12).prop_map(|tensors| {
        tensors
            .into_iter()
            .map(|(name, (dtype, shape, start))| {
                let len = dtype.byte_len(&shape).unwrap();
                let data = (0..len).map(|i| start.wrapping_add(i as u8)).collect();
                (name, (dtype, shape, data))
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(tensors in tensors(), kind in any::<String>(), version in any::<u32>(), parameter in any::<String>()) {
        let mut writer = Writer::new(&kind, version).parameters(&[&parameter]).unwrap();
        for (name, (dtype, shape, data)) in &tensors {
            writer.add(name, *dtype, shape, &data[..]).unwrap();
        }
        let bytes = writer.to_bytes().unwrap();
        prop_assert_eq!(&bytes, &writer.to_bytes().unwrap());
        let file = File::from_bytes(bytes.clone()).unwrap();
        let description = file.description().unwrap();
        prop_assert_eq!((description.kind(), description.version()), (&kind[..], version));
        prop_assert_eq!(description.parameters::<[String; 1]>().unwrap(), [parameter]);
        prop_assert_eq!(file.names().collect::<Vec<_>>(), tensors.keys().collect::<Vec<_>>());
        for (name, (dtype, shape, data)) in &tensors {
            let stored = file.expect(name, *dtype, shape).unwrap();
            prop_assert_eq!(&stored[..], &data[..]);
            let offset = stored.as_ptr().addr() - bytes.as_ptr().addr();
            let alignment = if data.len().is_multiple_of(64) { 64 } else { dtype.size() };
            prop_assert_eq!(offset % alignment, 0);
        }
    }

    #[test]
    fn noise_is_never_a_panic(noise in prop::collection::vec(any::<u8>(), 0..200), json in "[\\[\\]{}\":,0-9a-zA-Z_ ]{0,80}") {
        let _ = File::from_bytes(noise.clone().into());
        let _ = File::from_bytes(raw(&json, &noise));
    }

    #[test]
    fn several_flips_are_an_error_or_the_same_data(flips in prop::collection::vec((0usize..2000, 0u32..8), 2..5)) {
        let bytes = fixture();
        let mut damaged = bytes.to_vec();
        for (byte, bit) in flips {
            let byte = byte % damaged.len();
            damaged[byte] ^= 1 << bit;
        }
        if let Ok(file) = File::from_bytes(damaged.into()) {
            prop_assert_eq!(content(&file), content(&File::from_bytes(bytes).unwrap()));
        }
    }
}
