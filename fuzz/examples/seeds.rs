//! Writes the seeds of every target below `corpus/`.

use scant_fuzz::seeds;
use scant_quant::gguf::BlockType;
use std::fs;

fn main() -> std::io::Result<()> {
    let [gguf_imatrix, dat] = seeds::imatrix();
    let all: [(&str, &str, Vec<u8>); 9] = [
        ("gguf", "pieces", seeds::gguf("llama", BlockType::Q4_0)),
        ("gguf", "merges", seeds::gguf("gpt2", BlockType::Q5_1)),
        ("gguf", "types", seeds::gguf_types()),
        ("safetensors", "model", seeds::safetensors()),
        ("imatrix", "gguf", gguf_imatrix),
        ("imatrix", "dat", dat),
        ("hugging_face", "llama", seeds::join(&seeds::config(), &seeds::safetensors())),
        ("tokenizer", "json", seeds::join(&seeds::tokenizer(), b"abab <s> ba")),
        ("tokenizer", "vocab", seeds::join(b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\n", b"ab a b")),
    ];
    for (target, name, bytes) in all {
        let folder = format!("corpus/{target}");
        fs::create_dir_all(&folder)?;
        fs::write(format!("{folder}/{name}"), bytes)?;
    }
    Ok(())
}
