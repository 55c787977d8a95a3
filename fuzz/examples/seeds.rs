//! Writes the seeds of every target below `corpus/`.

use scant_fuzz::seeds;
use scant_quant::gguf::BlockType;
use std::fs;

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
    all.extend(seeds::tokenizers().map(|(name, json)| ("tokenizer", name, seeds::join(&json, b"abab <s> ba 1.\xc3\xa9"))));
    for (target, name, bytes) in all {
        println!("{target}/{name}: {} bytes", bytes.len());
        let folder = format!("corpus/{target}");
        fs::create_dir_all(&folder)?;
        fs::write(format!("{folder}/{name}"), bytes)?;
    }
    Ok(())
}
