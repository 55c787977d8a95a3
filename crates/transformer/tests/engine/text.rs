//! Tokenizers as GGUF files and folders carry them, and text as it is generated.

use super::*;
use scant_quant::gguf::{Array, BlockType, File, Value, Writer};
use scant_tensor_core::file::Dtype;
use scant_transformer::{Error, Sampler, Sampling, Tokenizer};

/// How byte-level vocabularies write a byte.
fn letter(byte: u8) -> char {
    let shown = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if shown(byte) { char::from(byte) } else { char::from_u32(256 + (0..byte).filter(|b| !shown(*b)).count() as u32).unwrap() }
}

/// Bytes, the merges of a few words, and a special token.
pub(crate) fn byte_level(pre: &str) -> Writer<'static> {
    let merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "1 2", "12 3"];
    let mut tokens: Vec<String> = (0..=255).map(|b| letter(b).to_string()).collect();
    tokens.extend(merges.iter().map(|m| m.replace(' ', "")));
    tokens.push("<|end|>".to_owned());
    let mut types = vec![1i32; tokens.len()];
    *types.last_mut().unwrap() = 3;
    let mut writer = Writer::new("llama", BlockType::F32);
    writer.set("tokenizer.ggml.model", "gpt2").unwrap();
    writer.set("tokenizer.ggml.pre", pre).unwrap();
    writer.set("tokenizer.ggml.tokens", &tokens[..]).unwrap();
    writer.set("tokenizer.ggml.token_type", &types[..]).unwrap();
    writer.set("tokenizer.ggml.merges", &merges[..]).unwrap();
    writer.set("tokenizer.ggml.eos_token_id", 263u32).unwrap();
    writer.set("tokenizer.ggml.bos_token_id", 263u32).unwrap();
    writer
}

/// Pieces with scores; characters without a piece are bytes.
pub(crate) fn sentence_piece() -> Writer<'static> {
    let mut tokens = vec!["<unk>".to_owned(), "<s>".to_owned(), "</s>".to_owned()];
    tokens.extend((0..=255).map(|b| format!("<0x{b:02X}>")));
    let pieces = ["▁", "h", "e", "l", "o", "w", "he", "ll", "hell", "hello", "▁hello", "ow", "low", "▁▁"];
    tokens.extend(pieces.map(str::to_owned));
    let mut types = vec![1i32; tokens.len()];
    types[..3].copy_from_slice(&[2, 3, 3]);
    types[3..259].fill(6);
    let mut scores = vec![0.0f32; 259];
    // "ow" and "low" before "ll": what scores higher is joined first.
    scores.extend([-20.0, -21.0, -22.0, -23.0, -24.0, -25.0, -3.0, -9.0, -10.0, -11.0, -12.0, -5.0, -6.0, -2.0]);
    let mut writer = Writer::new("llama", BlockType::F32);
    writer.set("tokenizer.ggml.model", "llama").unwrap();
    writer.set("tokenizer.ggml.tokens", &tokens[..]).unwrap();
    writer.set("tokenizer.ggml.token_type", &types[..]).unwrap();
    writer.set("tokenizer.ggml.scores", &scores[..]).unwrap();
    writer.set("tokenizer.ggml.bos_token_id", 1u32).unwrap();
    writer.set("tokenizer.ggml.eos_token_id", 2u32).unwrap();
    writer
}

fn tokenizer(writer: &Writer<'_>) -> Result<Tokenizer, Error> {
    Tokenizer::from_gguf(&File::from_bytes(writer.to_bytes()).unwrap())
}

#[test]
fn byte_level_vocabularies_merge_and_round_trip() {
    let t = tokenizer(&byte_level("smollm")).unwrap();
    assert_eq!(t.encode("hello").unwrap(), [259]);
    assert_eq!(t.encode("hello world").unwrap(), [259, 260, 111, 114, 108, 100]); // " w" o r l d
    assert_eq!(t.encode("a<|end|>").unwrap(), [97, 263]);
    assert_eq!((t.bos(), t.eos()), (Some(263), &[263][..]));
    assert_eq!(t.encode_prompt("a").unwrap(), [97]); // the file does not ask for a beginning
    for text in ["", " ", "  hello\n\n wörld… 你好 \t", "1234567", "don't\r\n", "a\u{0}b"] {
        assert_eq!(t.decode(&t.encode(text).unwrap()).unwrap(), text);
    }
}

#[test]
fn each_kind_splits_digits_its_own_way() {
    // Merges exist for 123: they apply only where the digits stay together.
    for (pre, want) in [("smollm", 6), ("llama-bpe", 4), ("gpt-2", 4), ("qwen2", 6), ("default", 4)] {
        let t = tokenizer(&byte_level(pre)).unwrap();
        assert_eq!(t.encode("123456").unwrap().len(), want, "{pre}");
    }
    let message = tokenizer(&byte_level("klingon")).unwrap_err().to_string();
    assert!(message.contains("`klingon`") && message.contains("smollm"), "{message}");
}

#[test]
fn pieces_join_by_their_scores() {
    let t = tokenizer(&sentence_piece()).unwrap();
    let piece = |i: u32| 259 + i;
    assert_eq!(t.encode("hello").unwrap(), [piece(10)]); // ▁hello
    assert_eq!(t.encode_prompt("hello").unwrap(), [1, piece(10)]);
    // he + llow: "ow" scores above "ll", then "low" above it.
    assert_eq!(t.encode("hellow").unwrap(), [piece(0), piece(6), piece(3), piece(12)]);
    assert_eq!(t.encode("h\n").unwrap(), [piece(0), piece(1), 3 + 10]); // a byte
    assert_eq!(t.encode("é").unwrap(), [piece(0), 3 + 0xc3, 3 + 0xa9]);
    for text in ["hello", " hello", "hellow  hello é\n你", ""] {
        assert_eq!(t.decode(&t.encode(text).unwrap()).unwrap(), text);
    }
    let mut plain = sentence_piece();
    plain.set("tokenizer.ggml.add_space_prefix", false).unwrap();
    plain.set("tokenizer.ggml.add_bos_token", false).unwrap();
    let t = tokenizer(&plain).unwrap();
    assert_eq!(t.encode_prompt("hello").unwrap(), [piece(9)]);
    assert_eq!(t.decode(&t.encode(" hello  o").unwrap()).unwrap(), " hello  o");
}

#[test]
fn any_name_of_the_first_token_will_do() {
    for name in ["$A", "$B", "$", "<|begin:of|>", ":1"] {
        let mut writer = sentence_piece();
        let file = File::from_bytes(writer.to_bytes()).unwrap();
        let tokens = file.get::<Array<'_>>("tokenizer.ggml.tokens").unwrap();
        let text = |v: Value<'_>| if let Value::String(s) = v { s.to_owned() } else { panic!("{v}") };
        let mut tokens: Vec<String> = tokens.iter().map(text).collect();
        tokens[1] = name.to_owned();
        writer.set("tokenizer.ggml.tokens", &tokens[..]).unwrap();
        assert_eq!(tokenizer(&writer).unwrap().encode_prompt("hello").unwrap(), [1, 269], "{name}");
        tokens[260] = "h".repeat(600_000);
        writer.set("tokenizer.ggml.tokens", &tokens[..]).unwrap();
        assert!(tokenizer(&writer).unwrap_err().to_string().contains("600000 bytes"));
    }
}

#[test]
fn streams_give_whole_characters_and_all_of_them() {
    for writer in [byte_level("gpt-2"), sentence_piece()] {
        let t = tokenizer(&writer).unwrap();
        for text in ["hello 你好, wörld 🙂!", "🙂🙂", "a"] {
            let tokens = t.encode(text).unwrap();
            let mut stream = t.stream();
            let mut all = String::new();
            for token in &tokens {
                let piece = stream.push(*token).unwrap();
                assert!(!piece.contains('\u{fffd}'), "{piece:?}");
                all += &piece;
            }
            all += &stream.finish().unwrap();
            assert_eq!(all, text);
        }
        // Half a character: held back, and told at the end.
        let tokens = t.encode("a🙂").unwrap();
        let mut stream = t.stream();
        let told: String = tokens[..tokens.len() - 1].iter().map(|t| stream.push(*t).unwrap()).collect();
        assert_eq!(told, "a");
        assert!(stream.finish().unwrap().starts_with('\u{fffd}'));
    }
}

#[test]
fn vocabularies_that_do_not_fit_are_refused() {
    let refused = |key: &str, set: &dyn Fn(&mut Writer<'static>)| {
        let mut writer = sentence_piece();
        set(&mut writer);
        let message = tokenizer(&writer).unwrap_err().to_string();
        assert!(message.contains(key), "{message}");
    };
    refused("scores", &|w| w.set("tokenizer.ggml.scores", &[1.0f32, 2.0][..]).unwrap());
    refused("token_type", &|w| w.set("tokenizer.ggml.token_type", &[1i32][..]).unwrap());
    refused("bos_token_id` is 5000", &|w| w.set("tokenizer.ggml.bos_token_id", 5000u32).unwrap());
    refused("`unigram`", &|w| w.set("tokenizer.ggml.model", "unigram").unwrap());
    let mut writer = byte_level("gpt-2");
    writer.set("tokenizer.ggml.merges", &["x"][..]).unwrap();
    assert!(tokenizer(&writer).unwrap_err().to_string().contains("merge `x`"));
    writer.set("tokenizer.ggml.merges", &["h zzz"][..]).unwrap();
    assert!(tokenizer(&writer).unwrap_err().to_string().contains("zzz"));
    // Pieces both, and longer together than any piece.
    writer.set("tokenizer.ggml.merges", &["hello <|end|>"][..]).unwrap();
    assert!(tokenizer(&writer).unwrap_err().to_string().contains("the vocabulary is damaged"));
}

/// A model with the vocabulary of [`byte_level`], as a folder and as a file.
fn with_vocabulary() -> (Folder, Vec<u8>) {
    let mut tiny = Tiny::llama();
    tiny.config["vocab_size"] = 264.into();
    let rows = &tiny.tensors["model.embed_tokens.weight"].1;
    let more: Vec<f32> = (0..264 * 32).map(|i| rows[(i * 7 + i / 50) % rows.len()]).collect();
    tiny.tensors.insert("model.embed_tokens.weight".to_owned(), (vec![264, 32], more));
    let folder = tiny.folder(Dtype::F32, 1);
    folder.write("generation_config.json", br#"{"bos_token_id": 0, "eos_token_id": [263, 7]}"#);
    let head = File::from_bytes(byte_level("gpt-2").to_bytes()).unwrap();
    let whole = File::from_bytes(tiny.gguf(BlockType::F32)).unwrap();
    let mut writer = Writer::like(&whole).unwrap();
    for key in head.keys().filter(|k| k.starts_with("tokenizer")) {
        writer.set(key, head.value(key).unwrap().unwrap()).unwrap();
    }
    for tensor in whole.tensors() {
        writer.tensor(tensor.name(), tensor.block_type().unwrap(), tensor.dims(), tensor.bytes()).unwrap();
    }
    (folder, writer.to_bytes())
}

#[test]
fn generated_text_is_the_text_of_the_tokens() {
    let (folder, bytes) = with_vocabulary();
    let team = Team::new(1);
    let model = from_gguf(&bytes);
    let tokenizer = model.tokenizer().unwrap();
    let sampler = Sampler::new(Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, seed: 3 }).unwrap();
    let prompt = tokenizer.encode_prompt("hello w").unwrap();
    let run = |text: bool| -> String {
        let mut session = Session::new(&model, exact(&team), PANEL).unwrap();
        if text {
            session.generate_text("hello w", sampler.clone(), 30).unwrap().map(Result::unwrap).collect()
        } else {
            let tokens: Vec<u32> = session.generate(&prompt, sampler.clone(), 30).unwrap().map(Result::unwrap).collect();
            tokenizer.decode(&tokens).unwrap()
        }
    };
    assert_eq!(run(true), run(false));

    // The folder has no tokenizer.json: ids work, text does not.
    let model = open(folder.path()).unwrap();
    let mut session = Session::new(&model, exact(&team), PANEL).unwrap();
    assert_eq!(session.generate(&prompt, sampler.clone(), 5).unwrap().filter(Result::is_ok).count(), 5);
    let message = session.generate_text("hello", sampler, 5).unwrap_err().to_string();
    assert!(message.contains("tokenizer.json") && message.contains("token ids still work"), "{message}");
}

#[test]
fn a_folder_names_the_tokens_that_begin_and_end_a_text() {
    let (folder, _) = with_vocabulary();
    let json = r#"{"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "truncation": null, "padding": null, "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}"#;
    folder.write("tokenizer.json", json.as_bytes());
    let model = open(folder.path()).unwrap();
    let t = model.tokenizer().unwrap();
    assert_eq!((t.encode("aba").unwrap(), t.bos(), t.eos()), (vec![2, 0], Some(0), &[263, 7][..]));
    // What a file says about cutting and padding was for training.
    let cut = json.replace(
        r#""truncation": null"#,
        r#""truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 4}"#,
    );
    let cut = cut.replace(r#""padding": null"#, r#""padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "a"}"#);
    folder.write("tokenizer.json", cut.as_bytes());
    assert_eq!(open(folder.path()).unwrap().tokenizer().unwrap().encode("abababababa").unwrap(), [2, 2, 2, 2, 2, 0]);
    folder.write("tokenizer.json", b"{}");
    assert!(matches!(open(folder.path()), Err(Error::Tokenizer { .. })));
}

#[test]
fn a_token_that_ends_texts_ends_the_generation() {
    let (_, bytes) = with_vocabulary();
    let team = Team::new(1);
    let model = from_gguf(&bytes);
    // Find what comes fourth, and call it the end.
    let greedy = Sampler::new(Sampling::greedy()).unwrap();
    let mut session = Session::new(&model, exact(&team), PANEL).unwrap();
    let tokens: Vec<u32> = session.generate(&[5, 6], greedy.clone(), 4).unwrap().map(Result::unwrap).collect();
    let file = File::from_bytes(bytes).unwrap();
    let mut writer = Writer::like(&file).unwrap();
    writer.set("tokenizer.ggml.eos_token_id", tokens[3]).unwrap();
    for tensor in file.tensors() {
        writer.tensor(tensor.name(), tensor.block_type().unwrap(), tensor.dims(), tensor.bytes()).unwrap();
    }
    let model = from_gguf(&writer.to_bytes());
    let mut session = Session::new(&model, exact(&team), PANEL).unwrap();
    let again: Vec<u32> = session.generate(&[5, 6], greedy, 20).unwrap().map(Result::unwrap).collect();
    let first_end = tokens.iter().position(|t| *t == tokens[3]).unwrap();
    assert_eq!(again, tokens[..first_end]);
}
