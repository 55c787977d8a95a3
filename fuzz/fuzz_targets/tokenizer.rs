//! A vocabulary of a folder, and a text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scant_transformer::Tokenizer;
use std::path::PathBuf;
use std::sync::LazyLock;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("scant-fuzz-tokenizer-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the input");
    folder
});

fuzz_target!(|data: &[u8]| {
    let Some((len, rest)) = data.split_first_chunk() else { return };
    let Some((vocabulary, text)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len))) else { return };
    let is_json = vocabulary.first() == Some(&b'{');
    let (here, gone) = if is_json { ("tokenizer.json", "vocab.txt") } else { ("vocab.txt", "tokenizer.json") };
    let _ = std::fs::remove_file(FOLDER.join(gone));
    std::fs::write(FOLDER.join(here), vocabulary).expect("room for the vocabulary");
    let Ok(tokenizer) = Tokenizer::from_folder(&*FOLDER) else { return };
    let text = String::from_utf8_lossy(text);
    if let Ok(tokens) = tokenizer.encode_prompt(&text) {
        let _ = tokenizer.decode(&tokens);
    }
});
