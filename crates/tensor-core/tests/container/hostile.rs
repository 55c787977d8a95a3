//! Files that were never right: lies about lengths, claims of gigabytes, headers that want memory.

use scant_tensor_core::file::{Bytes, Crc32c, File};
use scant_testkit::alloc::measure;

use super::raw;

/// A header of nothing but this description, with the checksum it needs.
fn sealed(description: &str) -> String {
    let sum = Crc32c::of(description.as_bytes()).append(&[0]);
    let metadata = serde_json::json!({ "scant": description, "scant_crc32c": sum });
    format!(r#"{{"__metadata__":{metadata}}}"#)
}

#[test]
fn lies_are_named() {
    let entry =
        |dtype: &str, shape: &str, offsets: &str| format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#);
    let cases: &[(&str, &str)] = &[
        ("", "header: EOF"),
        ("{", "header: EOF"),
        ("[]", "header: invalid type: sequence"),
        (r#"{"a":{}}"#, "header: tensor `a`: missing field"),
        (r#"{"a":1}"#, "header: tensor `a`: invalid type"),
        (&entry("F8_E4M3", "[4]", "[0,4]"), "dtype `F8_E4M3` is none this build reads"),
        (&entry("U8", "[5]", "[0,4]"), "tensor `a`: u8 [5] takes 5 bytes, given are 4"),
        (&entry("U8", "[-1]", "[0,4]"), "header: tensor `a`: invalid value: integer `-1`"),
        (&entry("U8", "[4.0]", "[0,4]"), "header: tensor `a`: invalid type: floating point"),
        (&entry("U8", "[4]", "[1,5]"), "tensor `a`: bytes 1 to 5 where byte 0 should be next"),
        (&entry("U8", "[4]", "[4,0]"), "tensor `a`: bytes 4 to 0 where byte 0 should be next"),
        (&entry("U8", "[4]", "[0,4,8]"), "header: tensor `a`: "),
        (&entry("U8", "[3]", "[0,3]"), "tensors of 3 bytes in a data section of 4 bytes"),
        (&entry("U8", "[1099511627776]", "[0,1099511627776]"), "tensors of 1099511627776 bytes in a data section of 4"),
        (&entry("F64", "[4611686018427387904]", "[0,4]"), "takes more bytes than can be counted, given are 4"),
        (&entry("U8", "[4294967296,4294967296,4294967296]", "[0,4]"), "takes more bytes than can be counted"),
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
        (r#"{"__metadata__":{"a":1}}"#, "header: invalid type: integer"),
        (r#"{"__metadata__":{"a":"1","a":"2"}}"#, "header: `a` stands twice"),
        (r#"{"__metadata__":{},"__metadata__":{}}"#, "header: `__metadata__` stands twice"),
        (r#"{"__metadata__":{"scant":"{}"}}"#, "metadata has `scant` but not `scant_crc32c`"),
        (r#"{"__metadata__":{"scant_crc32c":"00000000"}}"#, "metadata has `scant_crc32c` but not `scant`"),
    ];
    for (json, want) in cases {
        let data = if json.contains("scant") { &[][..] } else { &[0; 4] };
        let error = File::from_bytes(raw(json, data)).unwrap_err().to_string();
        assert!(error.contains(want), "{json}: {error}");
    }
    let rank = format!("[{}1]", "1,".repeat(64));
    let error = File::from_bytes(raw(&entry("U8", &rank, "[0,1]"), &[0])).unwrap_err().to_string();
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
    let list = |n: usize, entry: &dyn Fn(usize) -> String| format!("{{{}}}", (0..n).map(entry).collect::<Vec<_>>().join(","));
    let long = "x".repeat(200_000);
    let shape = |rank: usize| format!("[{}0]", "1,".repeat(rank - 1));
    let checksums = list(10_000, &|i| format!(r#""{i:x}":"00000000""#));
    let cases: Vec<(&str, String)> = vec![
        ("many tensors", list(20_000, &|i| format!(r#""{i:x}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))),
        ("scalars", list(20_000, &|i| format!(r#""{i:x}":{{"dtype":"U8","shape":[],"data_offsets":[{i},{}]}}"#, i + 1))),
        ("33 dimensions", list(2_000, &|i| format!(r#""{i:x}":{{"dtype":"U8","shape":{},"data_offsets":[0,0]}}"#, shape(33)))),
        ("64 dimensions", list(2_000, &|i| format!(r#""{i:x}":{{"dtype":"U8","shape":{},"data_offsets":[0,0]}}"#, shape(64)))),
        ("endless shape", format!(r#"{{"a":{{"dtype":"U8","shape":{},"data_offsets":[0,0]}}}}"#, shape(100_000))),
        ("much metadata", format!(r#"{{"__metadata__":{}}}"#, list(20_000, &|i| format!(r#""{i:x}":"""#)))),
        ("unknown field", format!(r#"{{"a":{{"dtype":"U8","shape":[0],"data_offsets":[0,0],"b":[{}0]}}}}"#, "0,".repeat(100_000))),
        ("deep", format!(r#"{{"a":{}"#, "[".repeat(100_000))),
        ("long name, wrong length", format!(r#"{{"{long}":{{"dtype":"U8","shape":[1],"data_offsets":[0,0]}}}}"#)),
        ("long name, wrong type", format!(r#"{{"{long}":{{"dtype":"{long}","shape":[1],"data_offsets":[0,0]}}}}"#)),
        ("long name twice", format!(r#"{{"__metadata__":{{"{long}":"","{long}":""}}}}"#)),
        ("escaped", format!(r#"{{"__metadata__":{{"a":"{}"}}}}"#, r"\n".repeat(100_000))),
        ("description", {
            let parameters = format!("[{}0]", "0,".repeat(100_000));
            sealed(&format!(r#"{{"kind":"k","version":1,"parameters":{parameters},"crc32c":{{}}}}"#))
        }),
        ("checksums", sealed(&format!(r#"{{"kind":"k","version":1,"parameters":0,"crc32c":{checksums}}}"#))),
    ];
    for (name, json) in cases {
        let file = raw(&json, &[]);
        let (answer, heap) = measure(|| File::from_bytes(file).map(|_| ()));
        assert!(heap.peak < 16 * json.len() + 4096, "{name}: {} bytes, {heap:?}, {:?}", json.len(), answer.is_ok());
    }
}

#[test]
fn descriptions_that_do_not_fit_are_refused() {
    let cases = [
        ("nonsense", "description: expected ident"),
        ("{}", "description: missing field `kind`"),
        (r#"{"kind":"k","version":1,"crc32c":{}}"#, "description: missing field `parameters`"),
        (r#"{"kind":"k","version":-1,"parameters":{},"crc32c":{}}"#, "description: invalid value"),
        (r#"{"kind":"k","version":1,"parameters":{},"crc32c":{"a":"0"}}"#, "description: a checksum is eight hexadecimal"),
        (r#"{"kind":"k","version":1,"parameters":{},"crc32c":{"a":"00000000"}}"#, "tensor `a` is in its description but not in the file"),
        (r#"{"kind":"k","version":1,"parameters":{},"crc32c":{"a":"00000000","a":"00000000"}}"#, "description: `a` stands twice"),
    ];
    for (text, want) in cases {
        let error = File::from_bytes(raw(&sealed(text), &[])).unwrap_err().to_string();
        assert!(error.starts_with(want), "{text}: {error}");
    }
    let newer = r#"{"kind":"k","version":7,"parameters":{"x":1},"crc32c":{},"from the future":[]}"#;
    let file = File::from_bytes(raw(&sealed(newer), &[])).unwrap();
    assert_eq!(file.require_kind("k", 6).unwrap_err().to_string(), "k file of version 7: this build reads 1 to 6");
    assert_eq!(file.require_kind("l", 7).unwrap_err().to_string(), "want a l file, this is a k file");
    assert!(file.require_kind("k", 7).unwrap().parameters::<Vec<u8>>().is_err());
}
