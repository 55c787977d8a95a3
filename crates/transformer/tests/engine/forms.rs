//! What is opened is what was stored, in every form.

use super::*;
use scant_quant::gguf::{BlockType, File, rope};
use scant_tensor_core::file::Dtype;
use scant_tensor_core::rng::Rng;
use scant_transformer::{SiteId, SiteKind, Tokenizer, open_hugging_face};

#[test]
fn logits_are_those_of_the_naive_reference() {
    let team = Team::new(1);
    for (name, tiny) in models() {
        let want = reference::logits(&tiny, &tokens());
        let got = logits(&from_gguf(&tiny.gguf(BlockType::F32)), exact(&team), PANEL, &tokens());
        let spread = want.iter().flatten().fold(0.0f64, |m, x| m.max(x.abs()));
        for (row, want) in got.rows().into_iter().zip(&want) {
            for (got, want) in row.iter().zip(want) {
                assert!((f64::from(*got) - want).abs() < 2e-5 * spread, "{name}: {got}, not {want}");
            }
        }
    }
}

#[test]
fn both_forms_and_every_float_type_give_the_same_bits() {
    let team = Team::new(1);
    for (name, tiny) in models() {
        let want = logits(&from_gguf(&tiny.gguf(BlockType::F32)), exact(&team), PANEL, &tokens());
        for ty in [BlockType::F16, BlockType::BF16] {
            assert_eq!(logits(&from_gguf(&tiny.gguf(ty)), exact(&team), PANEL, &tokens()), want, "{name} as {ty}");
        }
        for (dtype, shards) in [(Dtype::F32, 1), (Dtype::F16, 1), (Dtype::Bf16, 1), (Dtype::F32, 3)] {
            let model = open(tiny.folder(dtype, shards).path()).unwrap();
            assert_eq!(logits(&model, exact(&team), PANEL, &tokens()), want, "{name} as {dtype} in {shards} files");
        }
    }
}

#[test]
fn a_folder_in_memory_is_the_folder() {
    let team = Team::new(1);
    let folder = Tiny::gemma().folder(Dtype::F16, 1);
    let want = logits(&open(folder.path()).unwrap(), exact(&team), PANEL, &tokens());
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let config = serde_json::from_slice(&read("config.json")).unwrap();
    let tensors = || vec![scant_tensor_core::file::File::from_bytes(read("model.safetensors").into()).unwrap()];
    let model = open_hugging_face(&config, tensors(), None).unwrap();
    assert_eq!(logits(&model, exact(&team), PANEL, &tokens()), want);
    assert!(model.tokenizer().unwrap_err().to_string().contains("none was given"));

    let tokenizer = Tokenizer::from_vocab_txt(b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b\n", true).unwrap();
    let model = open_hugging_face(&config, tensors(), Some(tokenizer)).unwrap();
    assert_eq!(model.tokenizer().unwrap().encode("Ab").unwrap(), [4, 5]);
}

/// One block of 256 columns, so that the K types fit.
fn wide() -> Tiny {
    let mut tiny = Tiny::llama();
    for (key, value) in [("hidden_size", 256), ("intermediate_size", 256), ("num_hidden_layers", 1), ("vocab_size", 32)] {
        tiny.config[key] = value.into();
    }
    tiny
}

#[test]
fn quantized_tensors_are_held_without_loss() {
    let tiny = wide();
    let mut rng = Rng::new(5);
    for ty in BlockType::ALL {
        let mut writer = tiny.gguf_head(ty);
        let ones = [1.0; 256];
        for norm in ["output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight"] {
            writer.encode(norm, BlockType::F32, &[256], &ones).unwrap();
        }
        let shapes = [
            ("attn_q", 256),
            ("attn_k", 128),
            ("attn_v", 128),
            ("attn_output", 256),
            ("ffn_gate", 256),
            ("ffn_up", 256),
            ("ffn_down", 256),
        ];
        let shapes = shapes.map(|(name, rows)| (format!("blk.0.{name}.weight"), rows));
        for (name, rows) in shapes.iter().cloned().chain([("token_embd.weight".to_owned(), 32)]) {
            let mut bytes: Vec<u8> = (0..rows * ty.row_bytes(256).unwrap()).map(|_| rng.next_u64() as u8).collect();
            finite(ty, &mut bytes);
            writer.tensor(&name, ty, &[256, rows], bytes).unwrap();
        }
        let bytes = writer.to_bytes();
        let (model, file) = (from_gguf(&bytes), File::from_bytes(bytes).unwrap());
        let sites = SiteKind::ALL.map(|kind| SiteId::Block { layer: 0, kind });
        let linears = sites.iter().flat_map(|id| model.site(*id).linears()).chain(model.site(SiteId::Head).linears());
        for (linear, (name, rows)) in linears.zip(shapes.iter().cloned().chain([("token_embd.weight".to_owned(), 32)])) {
            let mut got = Array2::<f32>::zeros((rows, 256));
            linear.terms()[0].op().add_to(got.view_mut());
            let want = file.tensor(&name).unwrap().to_f32().unwrap();
            for (row, got) in got.rows().into_iter().enumerate() {
                let paired = name.contains("attn_q") || name.contains("attn_k");
                let stored = if paired { rope::interleaved_row(row, 64) } else { row };
                let same = got.iter().zip(&want[stored * 256..]).all(|(a, b)| a == b);
                assert!(same, "{ty} {name} row {row}");
            }
        }
    }
}

/// Takes the largest exponents out of random bytes where they are numbers.
fn finite(ty: BlockType, bytes: &mut [u8]) {
    let highs: &[usize] = match ty {
        BlockType::F32 => &[3],
        BlockType::Q2_K => &[81, 83],
        BlockType::Q3_K => &[109],
        BlockType::TQ1_0 => &[53],
        BlockType::TQ2_0 => &[65],
        BlockType::MXFP4 => &[0],
        BlockType::Q6_K => &[209],
        BlockType::Q4_1 | BlockType::Q5_1 | BlockType::Q4_K | BlockType::Q5_K => &[1, 3],
        _ => &[1],
    };
    for block in bytes.chunks_exact_mut(ty.block_bytes()) {
        highs.iter().for_each(|at| block[*at] &= 0xbf);
    }
}

#[test]
fn a_quantized_file_weighs_what_its_blocks_weigh() {
    // Rows are multiples of 16 throughout, so panels pad nothing.
    for (ty, bits) in [(BlockType::Q4_0, 4.5), (BlockType::Q4_1, 5.0), (BlockType::Q8_0, 8.5)] {
        let mut tiny = Tiny::llama();
        tiny.tensors.retain(|name, _| !name.contains("down_proj"));
        for layer in 0..2 {
            tiny.tensors.insert(format!("model.layers.{layer}.mlp.down_proj.weight"), (vec![32, 64], vec![0.5; 32 * 64]));
            for name in ["gate", "up"] {
                tiny.tensors.insert(format!("model.layers.{layer}.mlp.{name}_proj.weight"), (vec![64, 32], vec![0.25; 32 * 64]));
            }
        }
        tiny.config["intermediate_size"] = 64.into();
        let model = from_gguf(&tiny.gguf(ty));
        let site = model.site(SiteId::Block { layer: 1, kind: SiteKind::GateUp });
        assert_eq!(site.footprint().bits_per_weight([128, 32]), bits, "{ty}");
    }
}

#[test]
fn names_are_those_of_the_checkpoint() {
    for (_, tiny) in models() {
        let model = from_gguf(&tiny.gguf(BlockType::F32));
        let names: Vec<String> = model.sites().flat_map(|id| model.matrix_names(id)).collect();
        for name in &names {
            assert!(tiny.tensors.contains_key(&format!("{name}.weight")), "{name}");
        }
        let weights: usize = tiny.tensors.iter().filter(|(n, _)| n.ends_with("weight")).map(|(_, (_, v))| v.len()).sum();
        assert_eq!(model.parameters(), weights as u64);
    }
}

#[test]
fn qwen2_has_its_biases_and_its_window_only_where_it_is_used() {
    let mut tiny = Tiny::qwen2();
    let windows = |tiny: &Tiny| {
        let model = open(tiny.folder(Dtype::F32, 1).path()).unwrap();
        model.config().layers.iter().map(|l| l.window).collect::<Vec<_>>()
    };
    assert_eq!(windows(&tiny), [None, None]);
    tiny.config["use_sliding_window"] = serde_json::json!(true);
    assert_eq!(windows(&tiny), [None, Some(4)]);
    tiny.tensors.remove("model.layers.1.self_attn.k_proj.bias");
    let e = open(tiny.folder(Dtype::F32, 1).path()).unwrap_err().to_string();
    assert!(e.contains("model.layers.1.self_attn.k_proj.bias"), "{e}");
    let e = open(Folder::new().write("tiny.gguf", &tiny.gguf(BlockType::F32))).unwrap_err().to_string();
    assert!(e.contains("blk.1.attn_k.bias"), "{e}");
}
