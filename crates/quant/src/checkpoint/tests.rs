use super::*;
use half::f16;
use ndarray::Array2;
use scant_tensor_core::file::{File, Writer};
use scant_tensor_core::rng::Rng;
use serde_json::json;

fn file(parts: Vec<Packed>) -> File {
    let mut writer = Writer::new("test", 1);
    parts.into_iter().for_each(|p| writer.add(format!("m.{}", p.part), p.dtype, p.shape, p.bytes).unwrap());
    File::from_bytes(writer.to_bytes().unwrap()).unwrap()
}

fn read(q: &Quantization, shape: [usize; 2], parts: Vec<Packed>) -> Result<Matrix, Error> {
    let file = file(parts);
    q.read("m", shape, &|name| file.tensor(name).ok())
}

fn halves(len: usize) -> Vec<f16> {
    vec![f16::ONE; len]
}

#[test]
fn words_made_by_hand_are_read() {
    // 4 bits, 8 outputs, 32 inputs: input j of output i has the code (i + j) % 16; zero points 8, which the first version stores as 7.
    let word = |i: usize, w: usize| (0..8).map(|k| (((i + 8 * w + k) % 16) as u32) << (4 * k)).sum::<u32>().cast_signed();
    let qweight: Vec<i32> = (0..4).flat_map(|w| (0..8).map(move |i| word(i, w))).collect();
    let q = Quantization::parse(&json!({ "bits": 4, "group_size": 32, "sym": true })).unwrap();
    let zeros = [0x7777_7777i32];
    let parts = |g_idx: Vec<i32>| {
        vec![
            Packed::new("qweight", &[4, 8], &qweight),
            Packed::new("qzeros", &[1, 1], &zeros),
            Packed::new("scales", &[1, 8], &halves(8)),
            Packed::new("g_idx", &[32], &g_idx),
        ]
    };
    let matrix = read(&q, [8, 32], parts(vec![0; 32])).unwrap();
    assert_eq!(matrix.order, None);
    assert_eq!(matrix.grid.to_dense(), Array2::from_shape_fn((8, 32), |(i, j)| ((i + j) % 16) as f32 - 8.0));

    // AWQ: the least nibble is output 0, the next output 2; no 1 is taken away.
    let awq = Quantization::parse(&json!({ "quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm" })).unwrap();
    let parts = vec![
        Packed::new("qweight", &[32, 1], &[0x7531_6420u32.cast_signed(); 32]),
        Packed::new("qzeros", &[1, 1], &[0i32]),
        Packed::new("scales", &[1, 8], &halves(8)),
    ];
    assert_eq!(read(&awq, [8, 32], parts).unwrap().grid.to_dense(), Array2::from_shape_fn((8, 32), |(i, _)| i as f32));
}

#[test]
fn act_order_becomes_a_permutation() {
    let q = Quantization::parse(&json!({ "bits": 4, "group_size": 16, "desc_act": true, "sym": false })).unwrap();
    // Inputs take turns between two groups; scales tell the groups apart.
    let g_idx: Vec<i32> = (0..32).map(|j| j % 2).collect();
    let scales: Vec<f16> = [1.0, 4.0].into_iter().flat_map(|s| [f16::from_f32(s); 32]).collect();
    let one = |g_idx: &[i32]| {
        vec![
            Packed::new("qweight", &[4, 32], &[0x2222_2222i32; 128]),
            Packed::new("qzeros", &[2, 4], &[0i32; 8]),
            Packed::new("scales", &[2, 32], &scales),
            Packed::new("g_idx", &[32], g_idx),
        ]
    };
    let matrix = read(&q, [32, 32], one(&g_idx)).unwrap();
    let order = matrix.order.unwrap();
    assert_eq!(order[..17], [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 1]);
    let dense = matrix.grid.to_dense();
    for (j, input) in order.iter().enumerate() {
        assert_eq!(dense[[3, j]], if input % 2 == 0 { 1.0 } else { 4.0 });
    }
    let error = read(&q, [32, 32], one(&[0; 32])).unwrap_err().to_string();
    assert!(error.contains("m.g_idx") && error.contains("group 0"), "{error}");
}

/// A grid as a quantizer makes it.
fn grid(rng: &mut Rng, bits: u32, group_size: usize, symmetric: bool) -> Grid {
    let spec = GridSpec::new([64, 96], bits, group_size).unwrap();
    let groups = (64, spec.groups());
    let codes = Array2::from_shape_simple_fn((64, 96), || rng.below(1 << bits) as u8);
    let scale = RowStat::F16(Array2::from_shape_simple_fn(groups, || f16::from_f32(rng.uniform() + 0.1)));
    let zeros = Array2::from_shape_simple_fn(groups, || 1 + rng.below((1 << bits) - 1) as u8);
    let offset = if symmetric { RowOffset::Symmetric } else { RowOffset::Zero(RowStat::Codes { bits, codes: zeros }) };
    Grid::pack(spec, codes.view(), &scale, &offset).unwrap()
}

#[test]
fn what_is_written_is_read_with_the_same_weights() {
    let mut rng = Rng::new(1);
    for bits in [2, 3, 4, 8] {
        for (group_size, symmetric) in [(Some(32), true), (Some(32), false), (None, true), (None, false)] {
            let grid = grid(&mut rng, bits, group_size.unwrap_or(96), symmetric);
            for format in [Format::Gptq { v2: false }, Format::Gptq { v2: true }, Format::Awq, Format::Packed { dense: None }] {
                if format == Format::Awq && bits != 4 {
                    continue;
                }
                let q = Quantization { format, bits, group_size, symmetric };
                let again = Quantization::parse(&q.to_json()).unwrap();
                let parts = q.write("m", &grid).unwrap();
                let back = read(&again, [64, 96], parts.clone()).unwrap();
                assert_eq!(back.grid.to_dense(), grid.to_dense(), "{q:?}");
                assert!(again.write("m", &back.grid).unwrap() == parts, "{q:?}: written again, it differs");
            }
        }
    }
}

#[test]
fn words_of_whole_codes_are_told_by_their_number() {
    // 3 bits, 10 in a word: 32 codes take 4 words, in a stream 3.
    let q = |version: Option<&str>| {
        let weights = json!({ "num_bits": 3, "type": "int", "symmetric": true, "strategy": "channel" });
        let mut config =
            json!({ "quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": { "a": { "weights": weights } } });
        if let Some(version) = version {
            config["version"] = json!(version);
        }
        Quantization::parse(&config).unwrap()
    };
    let codes: Vec<u8> = (0..32).map(|j| (j % 8) as u8).collect();
    let mut old = vec![0i32; 4];
    codes.iter().enumerate().for_each(|(j, c)| old[j / 10] |= i32::from(*c) << (3 * (j % 10)));
    let parts = |words: &[i32], n: usize| {
        vec![
            Packed::new("weight_packed", &[1, words.len()], words),
            Packed::new("weight_scale", &[1, 1], &halves(1)),
            Packed::new("weight_shape", &[2], &[1i64, n as i64]),
        ]
    };
    let want = Array2::from_shape_fn((1, 32), |(_, j)| (j % 8) as f32 - 4.0);
    assert_eq!(read(&q(None), [1, 32], parts(&old, 32)).unwrap().grid.to_dense(), want);
    let mut dense = vec![0i32; 3];
    codes.iter().enumerate().for_each(|(j, c)| words::put(&mut dense, |w| w, 3, j, *c));
    assert_eq!(read(&q(None), [1, 32], parts(&dense, 32)).unwrap().grid.to_dense(), want);
    // Eight codes take a word either way.
    let few = parts(&[0o7654_3210], 8);
    assert!(read(&q(None), [1, 8], few.clone()).unwrap_err().to_string().contains("both packings"));
    assert!(read(&q(Some("0.20.1")), [1, 8], few).is_ok());
    assert!(read(&q(None), [1, 32], parts(&old[..2], 32)).unwrap_err().to_string().contains("2 words for 32 codes of 3 bits: want 3 or 4"));
    assert!(read(&q(None), [1, 32], parts(&old, 31)).unwrap_err().to_string().contains("want [1, 32], got [1, 31]"));
}

#[test]
fn bytes_of_eight_bits_are_read() {
    let weights = json!({ "num_bits": 8, "symmetric": false, "strategy": "channel" });
    let config =
        json!({ "quant_method": "compressed-tensors", "format": "int-quantized", "config_groups": { "a": { "weights": weights } } });
    let q = Quantization::parse(&config).unwrap();
    let parts = vec![
        Packed::new("weight", &[1, 4], &[-128i8, -1, 0, 127]),
        Packed::new("weight_scale", &[1, 1], &[0.5f32]),
        Packed::new("weight_zero_point", &[1, 1], &[-3i8]),
    ];
    assert_eq!(read(&q, [1, 4], parts).unwrap().grid.to_dense(), ndarray::array![[-62.5, 1.0, 1.5, 65.0]]);
}

#[test]
fn what_is_not_read_is_named() {
    for (config, says) in [
        (json!({ "quant_method": "gptq", "bits": 5 }), "5 bits"),
        (json!({ "quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin" }), "marlin"),
        (json!({ "quant_method": "awq", "bits": 4, "version": "gemv" }), "gemv"),
        (json!({ "quant_method": "bitsandbytes" }), "bitsandbytes"),
        (json!({ "quant_method": "gptq", "bits": 4, "group_size": 0 }), "group_size 0"),
        (json!({ "quant_method": "compressed-tensors", "format": "float-quantized" }), "float-quantized"),
        (json!({ "quant_method": "compressed-tensors", "format": "pack-quantized" }), "config_groups"),
    ] {
        let error = Quantization::parse(&config).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let q = Quantization { format: Format::Gptq { v2: false }, bits: 4, group_size: Some(32), symmetric: true };
    let error = |parts: Vec<Packed>| read(&q, [32, 64], parts).unwrap_err().to_string();
    assert!(error(vec![]).contains("m.qweight"));
    assert!(error(vec![Packed::new("qweight", &[8, 31], &[0i32; 8 * 31])]).contains("want shape [8, 32], got [8, 31]"));
    let wide = grid(&mut Rng::new(1), 3, 32, true);
    assert!(q.write("m", &wide).unwrap_err().to_string().contains("it has 3 bits in groups of 32"));
}
