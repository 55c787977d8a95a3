//! Models saved and opened again, whole and damaged.

use super::*;
use scant_quant::gguf::{BlockType, File as Gguf};
use scant_tensor_core::file::{Bytes, File, Writer};
use scant_tensor_core::{Hadamard, Linear, LinearOp, Pre, Prepared, Site, Step, Term};
use scant_transformer::{Error, SiteId, open_gguf};
use std::ops::Range;
use std::sync::Arc;

fn reopened(model: &Model) -> Model {
    let bytes = model.to_bytes().unwrap();
    let again = Model::from_file(&File::from_bytes(bytes.clone()).unwrap()).unwrap();
    assert!(again.to_bytes().unwrap() == bytes, "saved again, the file differs");
    again
}

#[test]
fn a_saved_model_opens_as_the_same_model() {
    let team = Team::new(1);
    for (name, tiny) in models() {
        for ty in [BlockType::F32, BlockType::F16, BlockType::Q8_0, BlockType::Q4_1, BlockType::Q5_0] {
            let model = from_gguf(&tiny.gguf(ty));
            let again = reopened(&model);
            assert_eq!(again.config(), model.config(), "{name} {ty}");
            assert_eq!(again.footprint(), model.footprint(), "{name} {ty}");
            let [a, b] = [&model, &again].map(|m| logits(m, exact(&team), PANEL, &tokens()));
            assert_eq!(a, b, "{name} {ty}");
        }
    }
}

#[test]
fn a_file_is_opened_by_its_content() {
    let model = from_gguf(&Tiny::gemma().gguf(BlockType::Q8_0));
    let folder = Folder::new();
    for name in ["tiny.safetensors", "tiny"] {
        let path = folder.path().join(name);
        model.save(&path).unwrap();
        assert!(open(&path).unwrap().to_bytes().unwrap() == model.to_bytes().unwrap());
    }
    let foreign = Writer::new("stats", 1).to_bytes().unwrap();
    let message = open(folder.write("foreign", &foreign)).unwrap_err().to_string();
    assert!(message.contains("model") && message.contains("stats"), "{message}");
}

#[test]
fn tokenizers_are_saved_whatever_they_came_from() {
    for mut writer in [text::byte_level("smollm"), text::byte_level("llama-bpe"), text::sentence_piece()] {
        Tiny::llama().fill_gguf(&mut writer);
        let model = open_gguf(Gguf::from_bytes(writer.to_bytes()).unwrap()).unwrap();
        let again = reopened(&model);
        let [a, b] = [&model, &again].map(|m| m.tokenizer().unwrap());
        assert_eq!((a.bos(), a.eos()), (b.bos(), b.eos()));
        for text in ["hello world 123456", "  hellow é\n你<|end|>", ""] {
            let tokens = a.encode_prompt(text).unwrap();
            assert_eq!(tokens, b.encode_prompt(text).unwrap());
            assert_eq!(a.decode(&tokens).unwrap(), b.decode(&tokens).unwrap());
        }
    }
    let without = reopened(&from_gguf(&Tiny::llama().gguf(BlockType::F32)));
    assert!(without.tokenizer().unwrap_err().to_string().contains("tokenizer.ggml.model"));
}

#[test]
fn transformed_sites_are_saved() {
    let team = Team::new(1);
    let mut model = from_gguf(&Tiny::llama_with_biases().gguf(BlockType::F32));
    for id in model.sites().collect::<Vec<_>>() {
        let old = model.site(id);
        let n = old.inputs();
        let pre = vec![Step::Hadamard(Hadamard::random(n, 3)), Step::Permute((0..n as u32).rev().collect())];
        let site = Site::new(Pre::new(pre).unwrap(), old.linears().to_vec()).unwrap();
        model.set_site(id, site).unwrap();
    }
    let again = reopened(&model);
    let [a, b] = [&model, &again].map(|m| logits(m, exact(&team), PANEL, &tokens()));
    assert_eq!(a, b);
}

struct Own([usize; 2]);

impl LinearOp for Own {
    fn shape(&self) -> [usize; 2] {
        self.0
    }
    fn footprint(&self) -> scant_tensor_core::Footprint {
        scant_tensor_core::Footprint::default()
    }
    fn accumulate(&self, _: &Prepared, _: &Prepared, _: Range<usize>, _: ndarray::ArrayViewMut2<'_, f32>) {}
    fn add_rows(&self, _: Range<usize>, _: ndarray::ArrayViewMut2<'_, f32>) {}
}

#[test]
fn the_callers_own_terms_are_refused_by_name() {
    let mut model = from_gguf(&Tiny::llama().gguf(BlockType::F32));
    let down: SiteId = "1.down".parse().unwrap();
    let shape = model.site(down).linears()[0].shape();
    let own = Linear::from_term(Term::Other(Arc::new(Own(shape)))).unwrap();
    model.set_site(down, Site::new(Pre::none(), vec![own]).unwrap()).unwrap();
    let error = model.to_bytes().unwrap_err();
    assert!(matches!(error, Error::Site { site, .. } if site == down));
    assert!(error.to_string().contains("model.layers.1.mlp.down_proj"), "{error}");
}

/// One block of 4-bit grids: a file of some KiB.
fn small() -> Bytes {
    let mut tiny = Tiny::llama();
    tiny.config["num_hidden_layers"] = 1.into();
    from_gguf(&tiny.gguf(BlockType::Q4_1)).to_bytes().unwrap()
}

fn read(bytes: &[u8]) -> Result<Bytes, Error> {
    Model::from_file(&File::from_bytes(Bytes::from(bytes))?)?.to_bytes()
}

#[test]
fn a_cut_file_is_refused_at_every_length() {
    let whole = small();
    assert!(whole.len() < 32 << 10, "{}", whole.len());
    for len in 0..whole.len() {
        assert!(read(&whole[..len]).is_err(), "{len} of {} bytes", whole.len());
    }
}

#[test]
fn a_flipped_bit_is_refused_or_changes_nothing() {
    let whole = small();
    let mut bytes = whole.to_vec();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            if let Ok(again) = read(&bytes) {
                assert!(again == whole, "bit {bit} of byte {at}");
            }
            bytes[at] ^= 1 << bit;
        }
    }
}

/// The description with one text in the place of another, and checksums that agree.
fn resealed(bytes: &Bytes, from: &str, to: &str) -> Result<Bytes, Error> {
    let file = File::from_bytes(bytes.clone()).unwrap();
    let parameters: serde_json::Value = file.description().unwrap().parameters().unwrap();
    let text = parameters.to_string();
    assert!(text.contains(from), "{from}: {text}");
    let changed: serde_json::Value = serde_json::from_str(&text.replace(from, to)).unwrap();
    let mut writer = Writer::new("model", 1).parameters(&changed).unwrap();
    for name in file.names() {
        let tensor = file.tensor(name).unwrap();
        writer.add(name, tensor.dtype, &tensor.shape, tensor.bytes).unwrap();
    }
    read(&writer.to_bytes().unwrap())
}

#[test]
fn a_description_that_lies_is_refused() {
    let whole = small();
    for (from, to) in [
        ("\"head_dim\":8", "\"head_dim\":16"),
        ("\"head_dim\":8", "\"head_dim\":18446744073709551614"),
        ("\"hidden\":32", "\"hidden\":0"),
        ("\"vocabulary\":50", "\"vocabulary\":51"),
        ("\"tied\":true", "\"tied\":false"),
        ("\"rope\":0", "\"rope\":1"),
        ("\"scaling\":\"none\"", "\"scaling\":{\"divisors\":[1.0]}"),
        ("\"shape\":[50,32]", "\"shape\":[18446744073709551615,18446744073709551615]"),
        ("\"bits\":4", "\"bits\":4294967295"),
        ("\"bits\":4", "\"bits\":5"),
        ("\"group_size\":32", "\"group_size\":0"),
        ("\"kind\":\"f16\"", "\"kind\":\"f32\""),
        ("\"kind\":\"f16\"", "\"base\":false,\"bits\":6,\"centre\":0,\"kind\":\"levels\",\"per\":0"),
        ("\"name\":\"model.layers.0.self_attn.k_proj\"", "\"name\":\"model.layers.0.self_attn.q_proj\""),
        ("\"bias\":false", "\"bias\":true"),
        ("\"pre\":[]", "\"pre\":[\"hadamard\"]"),
        ("\"layers\":[", "\"layers\":[{\"rope\":0,\"window\":null},"),
    ] {
        let error = resealed(&whole, from, to).expect_err(to);
        assert!(!error.to_string().is_empty());
    }
    assert!(resealed(&whole, "\"bits\":4", "\"bits\":4").unwrap().len() == whole.len());
}
