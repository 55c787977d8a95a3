//! A vocabulary of a folder, and a text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scant_fuzz::{MOST_TEXT, let_tokenizers_panic, one_thread, two_files};
use scant_transformer::Tokenizer;

fuzz_target!(
    init: {
        one_thread();
        let_tokenizers_panic();
    },
    |data: &[u8]| {
        let Some((vocabulary, text)) = two_files(data) else { return };
        let is_json = vocabulary.first() == Some(&b'{');
        let tokenizer =
            if is_json { Tokenizer::from_json(vocabulary, None, vec![]) } else { Tokenizer::from_vocab_txt(vocabulary, true) };
        let Ok(tokenizer) = tokenizer else { return };
        if let Ok(tokens) = tokenizer.encode_prompt(&String::from_utf8_lossy(&text[..text.len().min(MOST_TEXT)])) {
            let _ = tokenizer.decode(&tokens);
        }
    }
);
