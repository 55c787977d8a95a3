//! The container against damage, lies and foreign files.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

mod damage;
mod hostile;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use half::f16;
use proptest::prelude::*;
use scant_tensor_core::file::{Bytes, Dtype, File, Writer, replace};
use scant_testkit::alloc::CountingAllocator;

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
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
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
    writer.add_elements("0.grid.bias", [3], &[1.0f32, -2.0, 0.5]).unwrap();
    writer.add("0.grid.codes", Dtype::U8, [16, 16], codes).unwrap();
    writer.add_elements("0.grid.scales", [16], &scales).unwrap();
    writer.add("0.csr.values", Dtype::F16, [0, 4], vec![]).unwrap();
    writer.add("empty too", Dtype::I64, [2, 0], vec![]).unwrap();
    writer.add("mask", Dtype::Bool, [5], vec![1, 0, 1, 1, 0]).unwrap();
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
        description: file.description().map(|d| (d.kind().to_owned(), d.version(), d.parameters().unwrap())),
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
        assert_eq!(file.tensor("h").unwrap().to_f32().unwrap(), [0.0078125, -2.0]);
        let error = file.require_kind("model", 1).unwrap_err().to_string();
        assert_eq!(error, "want a model file, this is a file without description");
        let error = file.tensor("g").unwrap_err().to_string();
        assert_eq!(error, "tensor `g` is missing");
        let error = file.tensor("byte").unwrap().to_f32().unwrap_err().to_string();
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
    assert!(Writer::new("new", 1).save(folder.path("no/such/folder")).is_err());
    assert!(Writer::new("new", 1).save("/").is_err());

    Writer::new("new", 1).save(&path).unwrap();
    assert_eq!(File::read(&path).unwrap().description().unwrap().kind(), "new");
}

#[test]
#[cfg(unix)]
fn only_files_that_may_be_written_are_replaced() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    let folder = Folder::new("replaced");
    let (file, link, socket) = (folder.path("file"), folder.path("link"), folder.path("socket"));
    Writer::new("old", 1).save(&file).unwrap();
    symlink(&file, &link).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    Writer::new("new", 1).save(&link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(File::read(&file).unwrap().description().unwrap().kind(), "new");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);

    fs::set_permissions(&file, fs::Permissions::from_mode(0o440)).unwrap();
    assert!(Writer::new("newer", 1).save(&file).is_err());
    let _listener = UnixListener::bind(&socket).unwrap();
    let error = Writer::new("new", 1).save(&socket).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("not a regular file"));
    symlink(folder.path("nothing"), folder.path("dangling")).unwrap();
    assert!(Writer::new("new", 1).save(folder.path("dangling")).is_err());
}

#[test]
fn the_writer_refuses_what_does_not_fit() {
    let mut writer = Writer::new("k", 1);
    let error = writer.add("a", Dtype::F16, [4, 8], vec![0; 60]).unwrap_err().to_string();
    assert_eq!(error, "tensor `a`: f16 [4, 8] takes 64 bytes, given are 60");
    writer.add("a", Dtype::U8, [1], vec![0]).unwrap();
    let error = writer.add("a", Dtype::U8, [1], vec![0]).unwrap_err().to_string();
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
    let golden = include_bytes!("../data/container-1.safetensors");
    let file = File::from_bytes(Bytes::from_static(golden)).unwrap();
    assert_eq!(file.typed::<u64>("größe\n", []).unwrap()[..], [42]);
    assert_eq!(fixture()[..], golden[..]);
}

fn tensors() -> impl Strategy<Value = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>> {
    let tensor = (prop::sample::select(&Dtype::ALL[..]), prop::collection::vec(0usize..9, 0..4), any::<u8>());
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
