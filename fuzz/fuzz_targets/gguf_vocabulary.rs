//! The vocabulary in a GGUF file, and a text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scant_fuzz::{MOST_TEXT, let_tokenizers_panic, one_thread, two_files};
use scant_quant::gguf::File;
use scant_tensor_core::file::Bytes;
use scant_transformer::Tokenizer;

fuzz_target!(
    init: {
        one_thread();
        let_tokenizers_panic();
    },
    |data: &[u8]| {
        let Some((text, file)) = two_files(data) else { return };
        let Ok(file) = File::from_bytes(Bytes::from(file)) else { return };
        let Ok(tokenizer) = Tokenizer::from_gguf(&file) else { return };
        if let Ok(tokens) = tokenizer.encode_prompt(&String::from_utf8_lossy(&text[..text.len().min(MOST_TEXT)])) {
            let _ = tokenizer.decode(&tokens);
        }
    }
);
