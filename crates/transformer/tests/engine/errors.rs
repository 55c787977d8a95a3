//! Damaged, incomplete and foreign checkpoints; calls that cannot be answered.

use super::*;
use scant_quant::gguf::BlockType;
use scant_tensor_core::file::Dtype;
use scant_transformer::{Error, Scratch};
use serde_json::json;

fn gguf_error(bytes: &[u8]) -> Error {
    open(Folder::new().write("tiny.gguf", bytes)).unwrap_err()
}

#[test]
fn a_missing_tensor_is_named_in_both_forms() {
    for (_, tiny) in models() {
        for name in tiny.tensors.keys().filter(|n| n.ends_with("weight") && !n.contains("lm_head")) {
            let mut without = tiny.clone();
            without.tensors.remove(name);
            let error = open(without.folder(Dtype::F32, 1).path()).unwrap_err();
            assert!(matches!(&error, Error::MissingTensor { name: n } if n == name), "{error}");
            let error = gguf_error(&without.gguf(BlockType::F32));
            assert!(matches!(&error, Error::MissingTensor { name: n } if *n == tiny.gguf_name(name)), "{error}");
        }
    }
}

#[test]
fn a_wrong_shape_is_named_with_both() {
    let tiny = Tiny::llama_with_biases();
    for name in tiny.tensors.keys() {
        let mut wrong = tiny.clone();
        let (shape, values) = wrong.tensors.get_mut(name).unwrap();
        let last = shape.len() - 1;
        let want = shape.clone();
        shape[last] /= 2;
        values.truncate(shape.iter().product());
        let got = shape.clone();
        let check = |error: Error, name: &str| match error {
            Error::TensorShape { name: n, want: w, got: g } => assert_eq!((n.as_str(), w, g), (name, want.clone(), got.clone())),
            other => panic!("{name}: {other}"),
        };
        check(open(wrong.folder(Dtype::F32, 1).path()).unwrap_err(), name);
        check(gguf_error(&wrong.gguf(BlockType::F32)), &tiny.gguf_name(name));
    }
}

#[test]
fn numbers_that_are_none_are_named() {
    let tiny = Tiny::gemma();
    for name in tiny.tensors.keys() {
        let mut bad = tiny.clone();
        bad.tensors.get_mut(name).unwrap().1[5] = f32::NAN;
        let message = open(bad.folder(Dtype::F16, 1).path()).unwrap_err().to_string();
        assert!(message.contains(name) && message.contains("NaN"), "{message}");
        let message = gguf_error(&bad.gguf(BlockType::F32)).to_string();
        assert!(message.contains(&tiny.gguf_name(name)) && message.contains("NaN"), "{message}");
    }
    // The scale of a quantized block, in a file like the one of the tiny model but for that.
    let bytes = tiny.gguf(BlockType::Q8_0);
    let file = scant_quant::gguf::File::from_bytes(bytes).unwrap();
    let mut writer = scant_quant::gguf::Writer::like(&file).unwrap();
    for tensor in file.tensors() {
        let mut bytes = tensor.bytes().to_vec();
        if tensor.name() == "blk.2.ffn_up.weight" {
            bytes[34 * 7..][..2].fill(0x7f); // f16 NaN
        }
        writer.tensor(tensor.name(), tensor.block_type().unwrap(), tensor.dims(), bytes).unwrap();
    }
    let message = gguf_error(&writer.to_bytes()).to_string();
    assert!(message.contains("blk.2.ffn_up.weight") && message.contains("NaN at row 7"), "{message}");
}

#[test]
fn other_types_are_named() {
    let folder = Tiny::llama().folder(Dtype::F32, 1);
    let mut writer = scant_tensor_core::file::Writer::new("tiny", 1);
    for (name, (shape, values)) in &Tiny::llama().tensors {
        let ints: Vec<u8> = values.iter().flat_map(|x| (*x as i32).to_le_bytes()).collect();
        writer.add(name, Dtype::I32, shape.as_slice(), ints).unwrap();
    }
    folder.write("model.safetensors", &writer.to_bytes().unwrap());
    let message = open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("i32") && message.contains("BF16"), "{message}");
}

#[test]
fn descriptions_are_checked_key_by_key() {
    let with = |key: &str, value: serde_json::Value| {
        let mut tiny = Tiny::gemma();
        tiny.config[key] = value;
        if key == "num_hidden_layers" {
            tiny.config["layer_types"] = json!(null);
        }
        open(tiny.folder(Dtype::F32, 1).path()).unwrap_err().to_string()
    };
    for (key, value, words) in [
        ("architectures", json!(["BertModel"]), ["BertModel", "llama, qwen2 and gemma3"]),
        ("hidden_size", json!(null), ["lacks", "hidden_size"]),
        ("hidden_size", json!("wide"), ["hidden_size", "\"wide\""]),
        ("num_hidden_layers", json!(0), ["num_hidden_layers", "= 0"]),
        ("num_hidden_layers", json!(1u64 << 40), ["num_hidden_layers", "above 0"]),
        ("num_key_value_heads", json!(2), ["num_key_value_heads", "3"]),
        ("head_dim", json!(15), ["head_dim", "15"]),
        ("rms_norm_eps", json!(-1.0), ["rms_norm_eps", "-1"]),
        ("sliding_window", json!(0), ["sliding_window", "= 0"]),
        ("layer_types", json!(["full_attention"]), ["layer_types", "4 names"]),
        ("hidden_activation", json!("relu"), ["hidden_activation", "`relu`"]),
        ("rope_scaling", json!({"rope_type": "yarn"}), ["rope_type", "`yarn`"]),
        ("rope_scaling", json!("linear"), ["rope_scaling", "an object"]),
        ("rope_scaling", json!({"rope_type": "linear", "factor": 0}), ["rope_scaling", "= 0"]),
        ("rope_scaling", json!({"rope_type": "linear", "factor": 1e39}), ["rope_scaling", "inf"]),
        ("partial_rotary_factor", json!(0.5), ["partial_rotary_factor", "0.5"]),
        ("quantization_config", json!({"quant_method": "fp8"}), ["quant_method fp8", "gptq, awq"]),
        ("attn_logit_softcapping", json!(1e-40), ["attn_logit_softcapping", "above 0"]),
        ("final_logit_softcapping", json!(0.0), ["final_logit_softcapping", "= 0"]),
        ("query_pre_attn_scalar", json!(-4.0), ["query_pre_attn_scalar", "NaN"]),
    ] {
        let message = with(key, value);
        assert!(words.iter().all(|w| message.contains(w)), "{key}: {message}");
    }
    let mut writer = scant_quant::gguf::Writer::new("mamba", BlockType::F32);
    assert!(gguf_error(&writer.to_bytes()).to_string().contains("`mamba`"));
    writer.set("general.architecture", "llama").unwrap();
    assert!(matches!(gguf_error(&writer.to_bytes()), Error::MissingKey { key } if key == "llama.embedding_length"));
}

#[test]
fn paths_without_a_model_say_so() {
    let folder = Folder::new();
    assert!(open(folder.path()).unwrap_err().to_string().contains("config.json"));
    folder.write("config.json", &serde_json::to_vec(&Tiny::llama().config).unwrap());
    assert!(open(folder.path()).unwrap_err().to_string().contains("model.safetensors"));
    assert!(open(folder.path().join("none.gguf")).unwrap_err().to_string().contains("there is nothing"));
    assert!(matches!(open(folder.write("text.gguf", b"not a model at all, only words")), Err(Error::Gguf(_))));
    folder.write("config.json", b"{");
    assert!(matches!(open(folder.path()), Err(Error::Json { .. })));
    // An index that leads elsewhere.
    let folder = Tiny::llama().folder(Dtype::F32, 2);
    folder.write("model.safetensors.index.json", br#"{"weight_map": {"model.norm.weight": "../model.safetensors"}}"#);
    assert!(open(folder.path()).unwrap_err().to_string().contains("weight_map"));
}

#[test]
fn damaged_files_are_errors_or_models() {
    let mut tiny = Tiny::llama();
    tiny.config["num_hidden_layers"] = 1.into();
    tiny.tensors.retain(|name, _| !name.contains("layers.1"));
    let bytes = tiny.gguf(BlockType::Q8_0);
    let head = bytes.len() - 8000;
    for cut in (0..bytes.len()).step_by(97) {
        let _ = open_bytes(&bytes[..cut]).unwrap_err();
    }
    for bit in (0..8 * head.min(2500)).step_by(3) {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok(model) = open_bytes(&bad) {
            // Whatever it has become, it runs or says why not.
            let team = Team::new(1);
            let _ = Session::new(&model, exact(&team), PANEL).and_then(|mut s| s.prefill(&[1, 2, 3]).map(<[f32]>::len));
        }
    }
}

fn open_bytes(bytes: &[u8]) -> Result<Model, Error> {
    scant_transformer::open_gguf(scant_quant::gguf::File::from_bytes(bytes.to_vec())?)
}

#[test]
fn calls_that_cannot_be_answered_leave_the_session_as_it_was() {
    let team = Team::new(1);
    let model = from_gguf(&Tiny::llama().gguf(BlockType::F32));
    let mut session = Session::new(&model, exact(&team), PANEL).unwrap();
    session.prefill(&tokens()).unwrap();
    assert!(matches!(session.prefill(&[]), Err(Error::NoTokens)));
    assert!(matches!(session.decode(50), Err(Error::Token { token: 50, vocabulary: 50 })));
    assert!(matches!(session.prefill(&[1, 2, 99, 3]), Err(Error::Token { token: 99, .. })));
    assert!(matches!(session.prefill(&[0; 35]), Err(Error::Context { tokens: 65, context: 64 })));
    assert!(matches!(session.truncate(31), Err(Error::Cache(_))));
    assert_eq!(session.len(), 30);
    let mut all = tokens();
    all.push(9);
    assert_eq!(session.decode(9).unwrap(), logits(&model, exact(&team), PANEL, &all).row(30).to_slice().unwrap());

    // A window of 6 gives up what it has seen.
    let model = from_gguf(&Tiny::gemma().gguf(BlockType::F32));
    let mut session = Session::new(&model, exact(&team), Options { chunk: 4, ..PANEL }).unwrap();
    session.prefill(&tokens()).unwrap();
    let mut late = tokens();
    late[29] = 99;
    assert!(matches!(session.prefill(&late), Err(Error::Token { token: 99, .. })));
    assert_eq!(session.len(), 30);

    let model = from_gguf(&Tiny::llama().gguf(BlockType::F32));
    let mut scratch = Scratch::default();
    let mut block = |rows, width, lengths: &[usize]| {
        model
            .block(&exact(&team), Path::Panel, 0, Array2::zeros((rows, width)).view_mut(), lengths, &mut scratch, &mut |_, _| ())
            .unwrap_err()
    };
    assert!(matches!(block(10, 32, &[4, 5]), Error::Lengths { lengths: 9, rows: 10 }));
    assert!(matches!(block(70, 32, &[70]), Error::Context { tokens: 70, context: 64 }));
    assert!(matches!(block(4, 31, &[4]), Error::Site { .. }));
    assert!(matches!(block(4, 32, &[usize::MAX, 5]), Error::Lengths { rows: 4, .. }));
    let message = model.tokenizer().unwrap_err().to_string();
    assert!(message.contains("tokenizer.ggml.model"), "{message}");
}
