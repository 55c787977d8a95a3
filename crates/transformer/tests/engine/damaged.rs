//! Vocabularies that fit nothing: an error each, from reading or from the first text, and never a panic.

use scant_transformer::{Error, Tokenizer};
use serde_json::{Value, json};

/// Two letters that join, between steps that do nothing.
fn whole() -> Value {
    json!({"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "truncation": null, "padding": null, "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}})
}

fn read(file: &Value) -> Result<Tokenizer, Error> {
    Tokenizer::from_json(file.to_string().as_bytes(), None, vec![])
}

/// The message of a [`whole`] file with `value` at `key`.
fn refused(key: &str, value: Value) -> String {
    let mut file = whole();
    *file.pointer_mut(key).unwrap() = value;
    match read(&file).and_then(|t| t.encode("ab").and_then(|ids| t.decode(&ids))) {
        Err(Error::Tokenizer { detail }) => detail,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let mut file = whole();
    file["decoder"] = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    assert_eq!(read(&file).unwrap().encode("aba").unwrap(), [2, 0]);
    let text = file.to_string();
    for len in 0..text.len() {
        let cut = Tokenizer::from_json(&text.as_bytes()[..len], None, vec![]);
        assert!(matches!(cut, Err(Error::Tokenizer { .. })), "{len}");
    }
}

#[test]
fn merges_without_a_union_are_an_error() {
    // The union is longer than every piece.
    let message = refused("/model/merges", json!([["a", "b"], ["ab", "ab"]]));
    assert!(message.contains("the vocabulary is damaged"), "{message}");
}

#[test]
fn pieces_are_cut_only_where_their_prefix_ends() {
    let model = |merge: Value| json!({"type": "BPE", "continuing_subword_prefix": "##", "vocab": {"a": 0, "##b": 1, "ab": 2, "\u{e9}\u{e9}": 3}, "merges": [merge]});
    for merge in [json!(["a", "\u{e9}\u{e9}"]), json!("a \u{e9}\u{e9}"), json!(["##b", "a"])] {
        let message = refused("/model", model(merge));
        assert!(message.contains("does not begin with the prefix `##`"), "{message}");
    }
    let mut file = whole();
    file["model"] = model(json!(["a", "##b"]));
    assert_eq!(read(&file).unwrap().encode("ab").unwrap(), [2]);
}

#[test]
fn what_would_take_for_ever_is_refused() {
    let message = refused("/model/vocab/ab", json!(4_000_000_000u32));
    assert_eq!(message, "piece `ab` has the id 4000000000; ids are below 16777216");

    let words = |longest: usize| {
        json!({"type": "WordPiece", "unk_token": "a", "continuing_subword_prefix": "##", "max_input_chars_per_word": longest,
            "vocab": {"a": 0, "##b": 1}})
    };
    let message = refused("/model", words(1_000_000));
    assert_eq!(message, "`max_input_chars_per_word` is 1000000; words of at most 1024 characters are looked at");
    let mut file = whole();
    file["model"] = words(100);
    assert_eq!(read(&file).unwrap().encode("abb").unwrap(), [0, 1, 1]);

    // Sixteen letters for each, four times over: 65,536 for the first.
    let sixteen = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "a".repeat(16)});
    let steps = |n| json!({"type": "Sequence", "normalizers": vec![&sixteen; n]});
    let message = refused("/normalizer", steps(4));
    assert_eq!(message, "the steps of `normalizer` can make a text more than 4096 times longer");
    file["normalizer"] = steps(2);
    assert_eq!(read(&file).unwrap().encode("a").unwrap(), [0]);
}
