//! Writes the seeds of every target below `corpus/`.

use scant_fuzz::{seeds, two_files};
use scant_quant::gguf::BlockType;
use scant_tensor_core::file::{Bytes, File};
use scant_transformer::{Tokenizer, open_hugging_face};
use std::fs;

/// Whether what is inside can be used: damage to a seed that does not open teaches nothing.
fn opens(target: &str, bytes: &[u8]) -> bool {
    let config = || serde_json::from_slice(two_files(bytes)?.0).ok();
    let file = || File::from_bytes(Bytes::from(two_files(bytes)?.1)).inspect_err(|e| eprintln!("{e}")).ok();
    match target {
        "hugging_face" => {
            config().zip(file()).is_some_and(|(c, f)| open_hugging_face(&c, vec![f], None).inspect_err(|e| eprintln!("{e}")).is_ok())
        }
        "gguf_vocabulary" => two_files(bytes).is_some_and(|(_, f)| {
            let file = scant_quant::gguf::File::from_bytes(Bytes::from(f));
            file.is_ok_and(|f| Tokenizer::from_gguf(&f).and_then(|t| t.encode("ab")).is_ok())
        }),
        "tokenizer" => two_files(bytes).is_some_and(|(v, text)| {
            let tokenizer = if v[0] == b'{' { Tokenizer::from_json(v, None, vec![]) } else { Tokenizer::from_vocab_txt(v, true) };
            let text = String::from_utf8_lossy(text);
            let decoded = tokenizer.and_then(|t| t.encode_prompt(&text).and_then(|ids| t.decode(&ids)));
            decoded.inspect_err(|e| eprintln!("{e}")).is_ok()
        }),
        // Made by opening and saving.
        _ => true,
    }
}

fn main() -> std::io::Result<()> {
    let [gguf_imatrix, dat] = seeds::imatrix();
    let tensors = seeds::foreign(seeds::safetensors());
    let mut all: Vec<(&str, &str, Vec<u8>)> = vec![
        ("gguf", "q4_0", seeds::gguf(BlockType::Q4_0)),
        ("gguf", "q5_1", seeds::gguf(BlockType::Q5_1)),
        ("gguf", "f16", seeds::gguf(BlockType::F16)),
        ("gguf", "types", seeds::gguf_types()),
        ("gguf_vocabulary", "pieces", seeds::join(b"ab c <s>", &seeds::gguf_vocabulary("llama"))),
        ("gguf_vocabulary", "merges", seeds::join(b"ab c <s>", &seeds::gguf_vocabulary("gpt2"))),
        ("safetensors", "ours", seeds::safetensors()),
        ("safetensors", "foreign", tensors.clone()),
        ("saved", "q4_0", seeds::saved(seeds::gguf(BlockType::Q4_0))),
        ("saved", "f16", seeds::saved(seeds::gguf(BlockType::F16))),
        ("imatrix", "gguf", gguf_imatrix),
        ("imatrix", "dat", dat),
        ("hugging_face", "llama", seeds::join(&seeds::config(), &tensors)),
        ("tokenizer", "vocab", seeds::join(b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\n", b"ab a b")),
    ];
    all.extend(seeds::faiss().into_iter().map(|(name, file)| ("faiss", name, file)));
    all.extend(seeds::tokenizers().map(|(name, json)| ("tokenizer", name, seeds::join(&json, b"abab <s> ba 1.\xc3\xa9"))));
    for (target, name, bytes) in all {
        assert!(opens(target, &bytes), "{target}/{name} does not open");
        println!("{target}/{name}: {} bytes", bytes.len());
        let folder = format!("corpus/{target}");
        fs::create_dir_all(&folder)?;
        fs::write(format!("{folder}/{name}"), bytes)?;
    }
    Ok(())
}
