//! Files written and read again, and files of older versions.

use scant_quant::Error;
use scant_quant::gguf::{Array, BlockType, File, Value, Writer};

/// A file with every kind of value, and a tensor of each type that can be encoded.
pub(crate) fn fixture() -> Vec<u8> {
    let mut writer = Writer::new("llama", BlockType::Q4_0);
    writer.set("test.u8", 200u8).unwrap();
    writer.set("test.i8", -3i8).unwrap();
    writer.set("test.u16", 60_000u16).unwrap();
    writer.set("test.i16", -30_000i16).unwrap();
    writer.set("test.u32", 4_000_000_000u32).unwrap();
    writer.set("test.i32", -7i32).unwrap();
    writer.set("test.f32", 1e-5f32).unwrap();
    writer.set("test.bool", true).unwrap();
    writer.set("test.text", "längliche Zeichenkette").unwrap();
    writer.set("test.u64", 1u64 << 40).unwrap();
    writer.set("test.i64", -(1i64 << 40)).unwrap();
    writer.set("test.f64", 0.1f64).unwrap();
    writer.set("test.scores", &[0.5f32, -1.0, 2.0][..]).unwrap();
    writer.set("test.tokens", &["a", "", "▁the"][..]).unwrap();
    writer.set("test.flags", &[true, false][..]).unwrap();
    writer.set("test.none", &[0u32; 0][..]).unwrap();
    let weights: Vec<f32> = (0..512).map(|i| (i as f32 * 0.37).sin()).collect();
    for ty in scant_quant::gguf::blocks::ENCODED {
        let name = format!("blk.0.{ty}.weight");
        let n = ty.block_size().max(32);
        writer.encode(&name, ty, &[n, 2], &weights[..2 * n]).unwrap();
    }
    // Not a multiple of the alignment.
    writer.encode("norm.weight", BlockType::F32, &[5], &weights[..5]).unwrap();
    writer.to_bytes()
}

#[test]
fn values_come_back_with_their_types() {
    let file = File::from_bytes(fixture()).unwrap();
    assert_eq!((file.version(), file.alignment()), (3, 32));
    assert_eq!(file.get::<&str>("general.architecture").unwrap(), "llama");
    assert_eq!(file.get::<u32>("general.quantization_version").unwrap(), 2);
    assert_eq!(file.get::<u32>("general.file_type").unwrap(), 2);
    assert_eq!(file.get::<u8>("test.u8").unwrap(), 200);
    assert_eq!(file.get::<i8>("test.i8").unwrap(), -3);
    assert_eq!(file.get::<u16>("test.u16").unwrap(), 60_000);
    assert_eq!(file.get::<i16>("test.i16").unwrap(), -30_000);
    assert_eq!(file.get::<u32>("test.u32").unwrap(), 4_000_000_000);
    assert_eq!(file.get::<i32>("test.i32").unwrap(), -7);
    assert_eq!(file.get::<f32>("test.f32").unwrap(), 1e-5);
    assert!(file.get::<bool>("test.bool").unwrap());
    assert_eq!(file.get::<String>("test.text").unwrap(), "längliche Zeichenkette");
    assert_eq!(file.get::<u64>("test.u64").unwrap(), 1 << 40);
    assert_eq!(file.get::<i64>("test.i64").unwrap(), -(1 << 40));
    assert_eq!(file.value("test.f64").unwrap(), Some(Value::F64(0.1)));
    assert_eq!(file.get::<Vec<f32>>("test.scores").unwrap(), [0.5, -1.0, 2.0]);
    assert_eq!(file.get::<Vec<&str>>("test.tokens").unwrap(), ["a", "", "▁the"]);
    assert_eq!(file.get::<Vec<bool>>("test.flags").unwrap(), [true, false]);
    assert!(file.get::<Array>("test.none").unwrap().is_empty());
    assert_eq!(file.get_optional::<u32>("test.absent").unwrap(), None);
    // Integers fit where their value does.
    assert_eq!(file.get::<usize>("test.u8").unwrap(), 200);
    assert_eq!(file.keys().len(), 19);
}

#[test]
fn wrong_types_name_the_key_and_both_types() {
    let file = File::from_bytes(fixture()).unwrap();
    let message = |error: Error| error.to_string();
    assert_eq!(message(file.get::<u32>("test.f32").unwrap_err()), "metadata key `test.f32` should be u32, found f32 0.00001");
    assert_eq!(message(file.get::<u8>("test.i8").unwrap_err()), "metadata key `test.i8` should be u8, found i8 -3");
    assert_eq!(
        message(file.get::<Vec<f32>>("test.tokens").unwrap_err()),
        "metadata key `test.tokens` should be an array of f32, found array of 3 string"
    );
    assert_eq!(message(file.get::<&str>("llama.block_count").unwrap_err()), "no metadata key `llama.block_count`");
    assert_eq!(message(file.tensor("x").unwrap_err()), "no tensor `x`");
}

#[test]
fn tensors_come_back_with_names_shapes_and_bytes() {
    let file = File::from_bytes(fixture()).unwrap();
    let names: Vec<&str> = file.tensors().map(|t| t.name()).collect();
    assert_eq!((names.len(), names[0], names[13]), (14, "blk.0.F32.weight", "norm.weight"));
    for tensor in file.tensors().take(13) {
        let ty = tensor.block_type().unwrap();
        let n = ty.block_size().max(32);
        assert_eq!((tensor.rows(), tensor.columns(), tensor.dims()), (2, n, &[n, 2][..]));
        assert_eq!(tensor.bytes().len(), 2 * ty.row_bytes(n).unwrap());
        assert_eq!(tensor.shared_bytes()[..], *tensor.bytes());
        let all = tensor.to_f32().unwrap();
        let close = |(i, w): (usize, &f32)| (w - (i as f32 * 0.37).sin()).abs() < if ty == BlockType::Q2_K { 0.4 } else { 0.2 };
        assert!(all.iter().enumerate().all(close), "{ty}");
        let mut row = vec![0.0; n];
        tensor.decode_row(1, &mut row).unwrap();
        assert_eq!(row, all[n..]);
    }
    assert_eq!(file.tensor("norm.weight").unwrap().dims(), [5]);
}

#[test]
fn a_file_written_from_a_file_is_that_file() {
    let bytes = fixture();
    let file = File::from_bytes(bytes.clone()).unwrap();
    assert_eq!(copy(&file).to_bytes(), bytes);

    let path = std::env::temp_dir().join(format!("scant-gguf-{}.gguf", std::process::id()));
    copy(&file).save(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(File::read(&path).unwrap().keys().len(), file.keys().len());
    std::fs::remove_file(&path).unwrap();
}

fn copy(file: &File) -> Writer<'_> {
    let mut writer = Writer::like(file).unwrap();
    for tensor in file.tensors() {
        let ty = tensor.block_type().unwrap();
        writer.tensor(tensor.name(), ty, tensor.dims(), tensor.bytes()).unwrap();
    }
    writer
}

/// A small file by hand, in the widths of any version: two keys, one tensor of four f32.
pub(crate) fn by_hand(version: u32) -> Vec<u8> {
    let count = |n: u64| match version {
        1 => (n as u32).to_le_bytes().to_vec(),
        _ => n.to_le_bytes().to_vec(),
    };
    let text = |s: &str| [count(s.len() as u64), s.as_bytes().to_vec()].concat();
    let u32 = |v: u32| v.to_le_bytes().to_vec();
    let mut file = [
        b"GGUF".to_vec(),
        u32(version),
        count(1),
        count(2),
        [text("general.architecture"), u32(8), text("llama")].concat(),
        [text("tokens"), u32(9), u32(8), count(2), text("x"), text("yz")].concat(),
        [text("w"), u32(2), count(2), count(2), u32(0), 0u64.to_le_bytes().to_vec()].concat(),
    ]
    .concat();
    file.resize(file.len().next_multiple_of(32), 0);
    for w in [1f32, 2.0, 3.0, 4.0] {
        file.extend(w.to_le_bytes());
    }
    file
}

#[test]
fn versions_1_to_3_read_alike_and_are_written_as_3() {
    let newest = File::from_bytes(by_hand(3)).unwrap();
    for version in 1..=3 {
        let file = File::from_bytes(by_hand(version)).unwrap();
        assert_eq!(file.version(), version);
        assert_eq!(file.get::<Vec<String>>("tokens").unwrap(), ["x", "yz"]);
        assert_eq!(file.value("tokens").unwrap(), newest.value("tokens").unwrap());
        assert_eq!(file.tensor("w").unwrap().to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(copy(&file).to_bytes(), copy(&newest).to_bytes());

        let again = File::from_bytes(copy(&file).to_bytes()).unwrap();
        assert_eq!(again.value("tokens").unwrap(), file.value("tokens").unwrap());
        // What readers need was added.
        assert_eq!(again.get::<u32>("general.quantization_version").unwrap(), 2);
        assert_eq!(again.get::<u32>("general.file_type").unwrap(), 0);
    }
}

#[test]
fn the_writer_refuses_what_the_format_cannot_say() {
    let mut writer = Writer::new("llama", BlockType::F32);
    let one = [1f32; 32];
    writer.encode("w", BlockType::F32, &[32], &one).unwrap();
    let error = writer.encode("w", BlockType::F32, &[32], &one).unwrap_err();
    assert!(matches!(error, Error::Duplicate { .. }), "{error}");
    for (name, dims) in [("", &[32][..]), (&"n".repeat(64), &[32]), ("a", &[]), ("a", &[0]), ("a", &[1; 5])] {
        let error = writer.encode(name, BlockType::F32, dims, &one).unwrap_err();
        assert!(matches!(error, Error::Unwritable { .. }), "{error}");
    }
    let error = writer.encode("a", BlockType::F32, &[31], &one).unwrap_err();
    assert!(matches!(error, Error::ShapeMismatch { want: 31, got: 32, .. }), "{error}");
    let error = writer.tensor("a", BlockType::Q8_0, &[32], vec![0; 33]).unwrap_err();
    assert!(matches!(error, Error::ShapeMismatch { want: 34, got: 33, .. }), "{error}");
    let error = writer.tensor("a", BlockType::F32, &[usize::MAX, 2], vec![]).unwrap_err();
    assert!(matches!(error, Error::Overflow { .. }), "{error}");
    let mut nan = one;
    nan[3] = f32::NAN;
    let error = writer.encode("a", BlockType::Q8_0, &[32], &nan).unwrap_err().to_string();
    assert!(error.contains("`a`") && error.contains("weight 3"), "{error}");
    for key in ["", "general.alignment", &"k".repeat(70_000)] {
        let error = writer.set(key, 64u32).unwrap_err();
        assert!(matches!(error, Error::Unwritable { .. }), "{error}");
    }
    // A value may be changed.
    writer.set("general.file_type", 7u32).unwrap();
    let file = File::from_bytes(writer.to_bytes()).unwrap();
    assert_eq!(file.get::<u32>("general.file_type").unwrap(), 7);
    assert_eq!((file.keys().len(), file.tensors().len()), (3, 1));
}
