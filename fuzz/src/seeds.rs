//! Small valid files of every kind, made here from nothing.

use ndarray::Array2;
use scant_pq_index::quantizer::QuantizerKind;
use scant_pq_index::{IndexBuilder, Metric, RotationKind, faiss};
use scant_quant::gguf::{BlockType, Writer};
use scant_quant::imatrix::{Imatrix, InputSums};
use scant_tensor_core::file::{self, Dtype};

const HIDDEN: usize = 32;
const HEAD: usize = 2;
const FFN: usize = 2;
const PIECES: usize = 40;
/// Rows of the embedding where there is no vocabulary.
const ROWS: usize = 20;

/// Weights that are neither zero nor alike.
fn weights(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * 0.37).sin() * 0.2).collect()
}

/// The matrices of a block: names in a GGUF and in a folder, rows and columns.
const MATRICES: [(&str, &str, [usize; 2]); 7] = [
    ("attn_q", "self_attn.q_proj", [HEAD, HIDDEN]),
    ("attn_k", "self_attn.k_proj", [HEAD, HIDDEN]),
    ("attn_v", "self_attn.v_proj", [HEAD, HIDDEN]),
    ("attn_output", "self_attn.o_proj", [HIDDEN, HEAD]),
    ("ffn_gate", "mlp.gate_proj", [FFN, HIDDEN]),
    ("ffn_up", "mlp.up_proj", [FFN, HIDDEN]),
    ("ffn_down", "mlp.down_proj", [HIDDEN, FFN]),
];

/// A Llama of one block without a vocabulary. Rows too short for a block of `ty` are half floats.
pub fn gguf(ty: BlockType) -> Vec<u8> {
    let mut w = Writer::new("llama", ty);
    let counts = [("context_length", 64), ("embedding_length", HIDDEN), ("block_count", 1), ("feed_forward_length", FFN)];
    let heads = [("attention.head_count", 1), ("attention.head_count_kv", 1), ("attention.key_length", HEAD)];
    let value = [("attention.value_length", HEAD), ("rope.dimension_count", HEAD)];
    for (key, value) in counts.into_iter().chain(heads).chain(value) {
        w.set(&format!("llama.{key}"), value as u32).expect("a new key");
    }
    w.set("llama.attention.layer_norm_rms_epsilon", 1e-5f32).expect("a new key");
    let mut add = |name: &str, ty, dims: &[usize]| {
        w.encode(name, ty, dims, &weights(dims.iter().product())).expect("finite weights in whole blocks");
    };
    add("token_embd.weight", ty, &[HIDDEN, ROWS]);
    for (name, _, [rows, columns]) in MATRICES {
        add(&format!("blk.0.{name}.weight"), if columns == HIDDEN { ty } else { BlockType::F16 }, &[columns, rows]);
    }
    for name in ["blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"] {
        add(name, BlockType::F32, &[HIDDEN]);
    }
    w.to_bytes()
}

/// A vocabulary without a model: `llama` for pieces with scores, `gpt2` for merges.
pub fn gguf_vocabulary(model: &str) -> Vec<u8> {
    let mut w = Writer::new("llama", BlockType::F32);
    let mut pieces: Vec<String> = ["<unk>", "<s>", "</s>", "\u{2581}", "\u{120}"].map(str::to_owned).to_vec();
    pieces.extend(('a'..='z').map(String::from));
    pieces.extend((0..PIECES - pieces.len()).map(|i| format!("{}{}", (b'a' + i as u8) as char, (b'b' + i as u8) as char)));
    let mut kinds = vec![1i32; PIECES];
    kinds[..3].copy_from_slice(&[2, 3, 3]);
    kinds[PIECES - 1] = 4;
    w.set("tokenizer.ggml.model", model).expect("a new key");
    w.set("tokenizer.ggml.tokens", &pieces[..]).expect("a new key");
    w.set("tokenizer.ggml.token_type", &kinds[..]).expect("a new key");
    if model == "gpt2" {
        let merges: Vec<String> = pieces[31..].iter().map(|p| format!("{} {}", &p[..1], &p[1..])).collect();
        w.set("tokenizer.ggml.pre", "gpt-2").expect("a new key");
        w.set("tokenizer.ggml.merges", &merges[..]).expect("a new key");
    } else {
        let scores: Vec<f32> = (0..PIECES).map(|i| -(i as f32)).collect();
        w.set("tokenizer.ggml.scores", &scores[..]).expect("a new key");
    }
    w.set("tokenizer.ggml.bos_token_id", 1u32).expect("a new key");
    w.set("tokenizer.ggml.eos_token_id", 2u32).expect("a new key");
    w.set("tokenizer.ggml.add_bos_token", true).expect("a new key");
    w.to_bytes()
}

/// A tensor of every type that is read only in blocks of its own, in one file without a model.
pub fn gguf_types() -> Vec<u8> {
    let mut w = Writer::new("seed", BlockType::F32);
    for ty in [BlockType::Q2_K, BlockType::Q3_K, BlockType::Q4_K, BlockType::Q5_K, BlockType::Q6_K, BlockType::Q8_0, BlockType::BF16] {
        w.encode(&ty.to_string(), ty, &[256], &weights(256)).expect("finite weights in whole blocks");
    }
    w.to_bytes()
}

/// The description of [`safetensors`] as a folder has it.
pub fn config() -> Vec<u8> {
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": HIDDEN, "intermediate_size": FFN, "num_hidden_layers": 1,
        "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": HEAD, "vocab_size": ROWS, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
    });
    config.to_string().into_bytes()
}

/// A Llama of one block by Hugging Face's names, with our checksums: most damage is noticed at once.
pub fn safetensors() -> Vec<u8> {
    let mut w = file::Writer::new("seed", 1);
    let mut add = |name: &str, shape: &[usize]| {
        let bytes: Vec<u8> = weights(shape.iter().product()).into_iter().flat_map(f32::to_le_bytes).collect();
        w.add(name, Dtype::F32, shape, bytes).expect("a new name");
    };
    add("model.embed_tokens.weight", &[ROWS, HIDDEN]);
    for (_, name, shape) in MATRICES {
        add(&format!("model.layers.0.{name}.weight"), &shape);
    }
    for name in ["model.layers.0.input_layernorm.weight", "model.layers.0.post_attention_layernorm.weight", "model.norm.weight"] {
        add(name, &[HIDDEN]);
    }
    w.to_bytes().expect("few tensors").to_vec()
}

/// The tensors of a file as somebody else would save them, without checksums.
pub fn foreign(ours: Vec<u8>) -> Vec<u8> {
    let ours = file::File::from_bytes(ours.into()).expect("a file of ours");
    let (mut header, mut data) = (serde_json::Map::new(), vec![]);
    for name in ours.names() {
        let tensor = ours.tensor(name).expect("a name of the file");
        let (begin, end) = (data.len(), data.len() + tensor.bytes.len());
        data.extend_from_slice(&tensor.bytes);
        let entry = serde_json::json!({"dtype": tensor.dtype.code(), "shape": tensor.shape, "data_offsets": [begin, end]});
        header.insert(name.to_owned(), entry);
    }
    let header = serde_json::Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

/// A saved model taken apart: its description, and its tensors without checksums.
pub fn saved(gguf: Vec<u8>) -> Vec<u8> {
    let file = scant_quant::gguf::File::from_bytes(gguf).expect("a seed");
    let bytes = scant_transformer::open_gguf(file).expect("a seed").to_bytes().expect("a model");
    let file = file::File::from_bytes(bytes.clone()).expect("a file of ours");
    let description: serde_json::Value = file.description().expect("ours").parameters().expect("a model's");
    join(description.to_string().as_bytes(), &foreign(bytes.to_vec()))
}

/// An importance matrix of two entries, in both forms.
pub fn imatrix() -> [Vec<u8>; 2] {
    let mut imatrix = Imatrix::new(512);
    for name in ["blk.0.attn_q.weight", "blk.0.ffn_down.weight"] {
        let squares: Vec<f32> = weights(HIDDEN).iter().map(|w| w * w).collect();
        imatrix.insert(name, InputSums::from_mean_sq(&squares, 512.0).expect("squares"));
    }
    [imatrix.to_gguf().expect("two entries"), imatrix.to_dat().expect("two entries")]
}

/// Files `tokenizer.json` of a few pieces and of every kind of model, which have most kinds of steps among them.
pub fn tokenizers() -> [(&'static str, Vec<u8>); 5] {
    use serde_json::{Value, json};
    let special =
        json!([{"id": 3, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": true, "normalized": false, "special": true}]);
    let file = |steps: Value, model: Value| {
        let mut file = json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": special,
            "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null, "model": model});
        for (key, step) in steps.as_object().expect("steps by name") {
            file[key] = step.clone();
        }
        file.to_string().into_bytes()
    };
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let template = json!({"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}}});
    let meta = json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true});
    [
        (
            "bytes",
            file(
                json!({"normalizer": {"type": "NFC"}, "pre_tokenizer": bytes, "decoder": bytes, "post_processor": bytes}),
                json!({"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
                    "fuse_unk": false, "byte_fallback": false, "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}),
            ),
        ),
        (
            "split",
            file(
                json!({
                    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                        {"type": "Split", "pattern": {"Regex": "a+|b(?!a)"}, "behavior": "Isolated", "invert": false},
                        {"type": "Digits", "individual_digits": true}, {"type": "Punctuation", "behavior": "Contiguous"}]},
                    "decoder": {"type": "BPEDecoder", "suffix": "</w>"}, "post_processor": template}),
                json!({"type": "BPE", "dropout": null, "unk_token": "a", "continuing_subword_prefix": "##", "end_of_word_suffix": "</w>",
                    "fuse_unk": true, "byte_fallback": false, "ignore_merges": true,
                    "vocab": {"a": 0, "##b": 1, "ab": 2, "b</w>": 4}, "merges": [["a", "##b"]]}),
            ),
        ),
        (
            "unigram",
            file(
                json!({
                    "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u{2581}"},
                        {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"}, {"type": "NFKC"},
                        {"type": "Strip", "strip_left": true, "strip_right": true}]},
                    "pre_tokenizer": meta,
                    "decoder": {"type": "Sequence", "decoders": [
                        {"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "}, {"type": "ByteFallback"},
                        {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
                    "post_processor": template}),
                json!({"type": "Unigram", "unk_id": 0, "byte_fallback": true,
                    "vocab": [["<unk>", 0.0], ["\u{2581}", -1.0], ["a", -2.0], ["<0x62>", -3.0]]}),
            ),
        ),
        (
            "words",
            file(
                json!({
                    "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
                        "lowercase": true},
                    "pre_tokenizer": {"type": "BertPreTokenizer"},
                    "post_processor": {"type": "BertProcessing", "sep": ["b", 1], "cls": ["<s>", 3]},
                    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true}}),
                json!({"type": "WordPiece", "unk_token": "b", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                    "vocab": {"a": 0, "b": 1, "##b": 2}}),
            ),
        ),
        (
            "levels",
            file(
                json!({
                    "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
                    "post_processor": {"type": "RobertaProcessing", "sep": ["b", 1], "cls": ["<s>", 3], "trim_offsets": true,
                        "add_prefix_space": true},
                    "decoder": {"type": "CTC", "pad_token": "a", "word_delimiter_token": "|", "cleanup": true}}),
                json!({"type": "WordLevel", "unk_token": "b", "vocab": {"a": 0, "b": 1}}),
            ),
        ),
    ]
}

/// Two files in one input, as [`two_files`](crate::two_files) takes it apart: the length of the first in two bytes, then both.
pub fn join(first: &[u8], second: &[u8]) -> Vec<u8> {
    let len = u16::try_from(first.len()).expect("a short first file");
    [&len.to_le_bytes(), first, second].concat()
}

/// Files of FAISS: flat and in lists, whole and coded, with ids and transforms, and of bits.
pub fn faiss() -> Vec<(&'static str, Vec<u8>)> {
    let x = Array2::from_shape_fn((40, 4), |(i, j)| ((i * (2 * j + 1)) as f32 * 0.7).sin());
    let product = QuantizerKind::Product { m: 2, bits: 4 };
    let builders = [
        ("flat", IndexBuilder::new(Metric::L2)),
        ("pq", IndexBuilder::new(Metric::Cosine).quantizer(product).rotation(RotationKind::Opq)),
        ("ivf_pq", IndexBuilder::new(Metric::L2).quantizer(product).lists(3).residual()),
        ("sq", IndexBuilder::new(Metric::InnerProduct).quantizer(QuantizerKind::Scalar { bits: 6 })),
        ("ivf_sq", IndexBuilder::new(Metric::L2).quantizer(QuantizerKind::Scalar { bits: 8 }).lists(3)),
    ];
    let mut files = vec![];
    for (name, builder) in builders {
        let mut trained = builder.train(&x).expect("enough vectors");
        trained.add(&[7, 5, 6], x.slice(ndarray::s![..3, ..])).expect("new ids");
        files.push((name, faiss::write(&trained.finish()).expect("a form of FAISS")));
    }
    let bits = faiss::BinaryVectors { dim: 16, ids: vec![3, 1], bits: vec![1, 2, 3, 4] };
    files.push(("bits", faiss::write_binary(&bits).expect("whole bytes")));
    files
}
