//! Models exported as GGUF and opened again.

use super::*;
use scant_quant::gguf::{BlockType, File};
use scant_tensor_core::file::Dtype;
use scant_tensor_core::format::{Grid, GridSpec, RowOffset, RowStat};
use scant_tensor_core::rng::Rng;
use scant_tensor_core::stats::StatSet;
use scant_tensor_core::{Linear, Pre, Site, Step};
use scant_transformer::{GgufExport, SiteId, SiteKind, calibrate, open_gguf};

fn exported(model: &Model, ty: BlockType, like: Option<&File>) -> (Folder, Model) {
    let folder = Folder::new();
    let path = folder.path().join("out.gguf");
    model.export_gguf(&path, ty, like).unwrap();
    let again = open(&path).unwrap();
    (folder, again)
}

#[test]
fn float_exports_compute_the_same_bits() {
    let team = Team::new(1);
    for (name, tiny) in models() {
        // Every number of these models is an f16.
        for ty in [BlockType::F32, BlockType::F16] {
            for model in [from_gguf(&tiny.gguf(BlockType::F32)), open(tiny.folder(Dtype::Bf16, 1).path()).unwrap()] {
                let (_folder, again) = exported(&model, ty, None);
                assert_eq!(again.config(), model.config(), "{name} {ty}");
                let [a, b] = [&model, &again].map(|m| logits(m, exact(&team), PANEL, &tokens()));
                assert_eq!(a, b, "{name} {ty}");
            }
        }
    }
}

#[test]
fn quantized_models_keep_every_code() {
    for (name, tiny) in models() {
        for ty in [BlockType::Q8_0, BlockType::Q4_0, BlockType::Q4_1] {
            let bytes = tiny.gguf(ty);
            let (folder, again) = exported(&from_gguf(&bytes), ty, None);
            let (old, new) = (File::from_bytes(bytes).unwrap(), File::read(folder.path().join("out.gguf")).unwrap());
            let mut compared = 0;
            for tensor in old.tensors().filter(|t| t.block_type().unwrap() == ty) {
                assert_eq!(new.tensor(tensor.name()).unwrap().bytes(), tensor.bytes(), "{name} {ty} {}", tensor.name());
                compared += 1;
            }
            assert!(compared > 10);
            // Exported again, the file is the same.
            let (twice, _) = exported(&again, ty, None);
            let [once, twice] = [folder, twice].map(|f| std::fs::read(f.path().join("out.gguf")).unwrap());
            assert!(once == twice, "{name} {ty}");
        }
    }
}

/// A grid whose codes do not reach the ends of their range, so that fitting it anew would move its weights.
fn grid(bits: u32, zero: Option<u8>, group_size: usize, shape: [usize; 2]) -> Grid {
    let spec = GridSpec::new(shape, bits, group_size).unwrap();
    let mut rng = Rng::new(5);
    let top = (1u64 << bits) - 1;
    let codes = Array2::from_shape_simple_fn(shape, || (1 + rng.next_u64() % (top - 1)) as u8);
    let scale = RowStat::F16(Array2::from_shape_fn((shape[0], spec.groups()), |(i, g)| half::f16::from_f32((1 + i + g) as f32 / 512.0)));
    let offset = match zero {
        None => RowOffset::Symmetric,
        Some(zero) => RowOffset::Zero(RowStat::Codes { bits, codes: Array2::from_elem((shape[0], spec.groups()), zero) }),
    };
    Grid::pack(spec, codes.view(), &scale, &offset).unwrap()
}

#[test]
fn grids_of_other_kinds_become_the_blocks_that_hold_them() {
    let id = SiteId::Block { layer: 0, kind: SiteKind::Output };
    for (grid, ty) in [
        (grid(4, None, 32, [32, 32]), BlockType::Q4_0),
        (grid(3, None, 32, [32, 32]), BlockType::Q4_0),
        (grid(4, None, 32, [32, 32]), BlockType::Q4_1),
        (grid(4, Some(6), 32, [32, 32]), BlockType::Q4_1),
        (grid(4, Some(6), 32, [32, 32]), BlockType::Q8_0),
        (grid(8, None, 32, [32, 32]), BlockType::Q8_0),
    ] {
        let want = grid.to_dense();
        let mut model = from_gguf(&Tiny::llama().gguf(BlockType::F32));
        model.set_site(id, Site::new(Pre::none(), vec![Linear::from_term(grid).unwrap()]).unwrap()).unwrap();
        let (_folder, again) = exported(&model, ty, None);
        let mut got = Array2::zeros((32, 32));
        again.site(id).linears()[0].terms()[0].op().add_to(got.view_mut());
        assert_eq!(got, want, "{ty}");
    }
}

#[test]
fn transforms_are_multiplied_out() {
    let mut model = from_gguf(&Tiny::llama().gguf(BlockType::F32));
    let before = logits(&model, exact(&Team::new(1)), PANEL, &tokens());
    // Scales that are powers of two, so that undoing them is exact.
    for id in model.sites().filter(|id| *id != SiteId::Head).collect::<Vec<_>>() {
        let n = model.site(id).inputs();
        let order = Step::Permute((0..n as u32).rev().collect());
        let pre = Pre::new(vec![Step::Scale((0..n).map(|j| if j % 3 == 0 { 4.0 } else { 0.5 }).collect()), order]).unwrap();
        let linears = model.site(id).linears().iter().map(|l| {
            let mut w = Array2::zeros((l.shape()[0], n));
            l.terms()[0].op().add_to(w.view_mut());
            pre.into_weights(w.view_mut()).unwrap();
            let w = scant_tensor_core::format::Dense::new(w.view(), scant_tensor_core::format::DenseType::F32).unwrap();
            Linear::from_term(w).unwrap()
        });
        let site = Site::new(pre.clone(), linears.collect()).unwrap();
        model.set_site(id, site).unwrap();
    }
    let (_folder, again) = exported(&model, BlockType::F32, None);
    assert_eq!(logits(&again, exact(&Team::new(1)), PANEL, &tokens()), before);
}

#[test]
fn vocabularies_are_written_or_copied() {
    for (mut writer, own) in [(text::byte_level("smollm"), true), (text::byte_level("llama-bpe"), true), (text::sentence_piece(), false)] {
        let mut tiny = Tiny::llama();
        let pieces = File::from_bytes(writer.to_bytes()).unwrap().get::<Vec<&str>>("tokenizer.ggml.tokens").unwrap().len();
        tiny.tensors.insert("model.embed_tokens.weight".to_owned(), (vec![pieces, 32], vec![0.25; pieces * 32]));
        tiny.fill_gguf(&mut writer);
        let file = File::from_bytes(writer.to_bytes()).unwrap();
        let model = open_gguf(File::from_bytes(writer.to_bytes()).unwrap()).unwrap();
        let (copied, again) = exported(&model, BlockType::F16, Some(&file));
        let new = File::read(copied.path().join("out.gguf")).unwrap();
        for key in file.keys().filter(|k| k.starts_with("tokenizer.")) {
            assert_eq!(new.value(key).unwrap(), file.value(key).unwrap(), "{key}");
        }
        let mut others = vec![again];
        if own {
            others.push(exported(&model, BlockType::F16, None).1);
        } else {
            let error = model.export_gguf(copied.path().join("no.gguf"), BlockType::F16, None).unwrap_err().to_string();
            assert!(error.contains("only byte-level BPE"), "{error}");
        }
        for other in others {
            let [a, b] = [&model, &other].map(|m| m.tokenizer().unwrap());
            assert_eq!((a.bos(), a.eos()), (b.bos(), b.eos()));
            for text in ["hello world 123456", "  hellow é\n你<|end|>", ""] {
                assert_eq!(a.encode_prompt(text).unwrap(), b.encode_prompt(text).unwrap());
            }
        }
    }
    let bytes = text::byte_level("gpt-2").to_bytes();
    let error =
        from_gguf(&Tiny::llama().gguf(BlockType::F32)).export_gguf("never", BlockType::F32, Some(&File::from_bytes(bytes).unwrap()));
    let message = error.unwrap_err().to_string();
    assert!(message.contains("264 pieces") && message.contains("50 pieces"), "{message}");
}

#[test]
fn an_importance_changes_what_is_encoded() {
    let team = Team::new(1);
    for (name, tiny) in models() {
        let model = from_gguf(&tiny.gguf(BlockType::F32));
        let stats = calibrate(&model, &[tokens()], StatSet::NONE, &team, &()).unwrap();
        let imatrix = model.imatrix(&stats).unwrap();
        let folder = Folder::new();
        let path = folder.path().join("weighted.gguf");
        GgufExport::new(BlockType::Q4_K).importance(&imatrix).save(&model, &path).unwrap();
        let weighted = File::read(&path).unwrap();
        let (plain, _) = exported(&model, BlockType::Q4_K, None);
        let plain = File::read(plain.path().join("out.gguf")).unwrap();
        let source = File::from_bytes(tiny.gguf(BlockType::F32)).unwrap();
        let mut compared = 0;
        for (tensor, sums) in imatrix.iter() {
            let mean_sq = sums.mean_sq();
            assert_eq!(sums.counts(), [tokens().len() as f32], "{name} {tensor}");
            let [original, plain, weighted] = [&source, &plain, &weighted].map(|file| file.tensor(tensor).unwrap().to_f32().unwrap());
            let error = |read: &[f32]| -> f32 {
                let square = |(i, (a, b)): (usize, (&f32, &f32))| mean_sq[i % mean_sq.len()] * (a - b) * (a - b);
                read.iter().zip(&original).enumerate().map(square).sum()
            };
            // Rows of these models are no whole blocks of Q4_K, and some none of 32.
            let ty = BlockType::Q4_K.for_rows_of(source.tensor(tensor).unwrap().columns());
            if ty != BlockType::F16 {
                assert!(error(&weighted) < error(&plain), "{name} {tensor}");
                compared += 1;
            }
        }
        assert!(compared > 10, "{name}: {compared}");
    }
}
