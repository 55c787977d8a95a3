//! A tiny random BERT against a naive reference, and against itself run in other ways.

use super::*;
use scant_quant::{Gptq, Rtn};
use scant_tensor_core::compress::Compress;
use scant_tensor_core::file::{Dtype, Writer};
use scant_tensor_core::rng::Rng;
use scant_transformer::encoder::{Batch, Encoder, EncoderPart, EncoderPlan, EncoderSite, SparseVector, Workspace};
use serde_json::json;
use std::collections::BTreeMap;

const HIDDEN: usize = 24;
const FFN: usize = 40;
const HEADS: usize = 2;
const VOCABULARY: usize = 60;
const POSITIONS: usize = 300;
const PIECES: [&str; 9] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "wing", "##s", "cafe"];

/// A checkpoint: tensors by name, without a prefix.
struct Tiny(BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Tiny {
    fn new(head: bool) -> Tiny {
        let mut tiny = Tiny(BTreeMap::new());
        let mut rng = Rng::new(3);
        let mut add = |name: String, shape: &[usize], centre: f32| {
            let values = (0..shape.iter().product()).map(|_| 0.3 * rng.normal() + centre).collect();
            tiny.0.insert(name, (shape.to_vec(), values));
        };
        add("embeddings.word_embeddings.weight".to_owned(), &[VOCABULARY, HIDDEN], 0.0);
        add("embeddings.position_embeddings.weight".to_owned(), &[POSITIONS, HIDDEN], 0.0);
        add("embeddings.token_type_embeddings.weight".to_owned(), &[2, HIDDEN], 0.0);
        let mut norms = vec!["embeddings.LayerNorm".to_owned()];
        for layer in 0..2 {
            let name = |part: &str| format!("encoder.layer.{layer}.{part}");
            for (part, rows, columns) in [
                ("attention.self.query", HIDDEN, HIDDEN),
                ("attention.self.key", HIDDEN, HIDDEN),
                ("attention.self.value", HIDDEN, HIDDEN),
                ("attention.output.dense", HIDDEN, HIDDEN),
                ("intermediate.dense", FFN, HIDDEN),
                ("output.dense", HIDDEN, FFN),
            ] {
                add(format!("{}.weight", name(part)), &[rows, columns], 0.0);
                add(format!("{}.bias", name(part)), &[rows], 0.0);
            }
            norms.extend([name("attention.output.LayerNorm"), name("output.LayerNorm")]);
        }
        if head {
            add("cls.predictions.transform.dense.weight".to_owned(), &[HIDDEN, HIDDEN], 0.0);
            add("cls.predictions.transform.dense.bias".to_owned(), &[HIDDEN], 0.0);
            add("cls.predictions.bias".to_owned(), &[VOCABULARY], -0.5);
            norms.push("cls.predictions.transform.LayerNorm".to_owned());
        }
        for norm in norms {
            add(format!("{norm}.weight"), &[HIDDEN], 1.0);
            add(format!("{norm}.bias"), &[HIDDEN], 0.0);
        }
        tiny
    }

    fn config() -> serde_json::Value {
        json!({
            "model_type": "bert", "hidden_size": HIDDEN, "intermediate_size": FFN, "num_hidden_layers": 2, "num_attention_heads": HEADS,
            "vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
            "hidden_act": "gelu",
        })
    }

    /// With the names that `rename` makes of those without a prefix.
    fn folder(&self, config: &serde_json::Value, rename: impl Fn(&str) -> String) -> Folder {
        let folder = Folder::new();
        folder.write("config.json", &serde_json::to_vec(config).unwrap());
        let pieces: Vec<String> = (0..VOCABULARY).map(|i| PIECES.get(i).map_or(format!("[unused{i}]"), |p| (*p).to_owned())).collect();
        folder.write("vocab.txt", pieces.join("\n").as_bytes());
        let mut writer = Writer::new("tiny", 1);
        for (name, (shape, values)) in &self.0 {
            writer.add_elements(rename(name), shape.as_slice(), &values[..]).unwrap();
        }
        folder.write("model.safetensors", &writer.to_bytes().unwrap());
        folder
    }

    fn open(head: bool) -> Encoder {
        Encoder::open(Tiny::new(head).folder(&Tiny::config(), str::to_owned).path()).unwrap()
    }

    fn at(&self, name: &str, i: usize) -> f64 {
        f64::from(self.0[name].1[i])
    }

    fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let rows = self.0[&format!("{name}.bias")].1.len();
        let weight = |row, column| self.at(&format!("{name}.weight"), row * x.len() + column);
        let row = |row| self.at(&format!("{name}.bias"), row) + x.iter().enumerate().map(|(j, x)| x * weight(row, j)).sum::<f64>();
        (0..rows).map(row).collect()
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let one = |(i, x): (usize, &f64)| {
            (x - mean) / (variance + 1e-12).sqrt() * self.at(&format!("{name}.weight"), i) + self.at(&format!("{name}.bias"), i)
        };
        x.iter().enumerate().map(one).collect()
    }

    /// Hidden states of one sequence, written down from the paper in f64.
    fn hidden(&self, ids: &[u32]) -> Vec<Vec<f64>> {
        let sum = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>();
        let embed = |(position, id): (usize, &u32)| {
            let word = |j| self.at("embeddings.word_embeddings.weight", *id as usize * HIDDEN + j);
            let place = |j| self.at("embeddings.position_embeddings.weight", position * HIDDEN + j);
            let x: Vec<f64> = (0..HIDDEN).map(|j| word(j) + place(j) + self.at("embeddings.token_type_embeddings.weight", j)).collect();
            self.norm("embeddings.LayerNorm", &x)
        };
        let mut x: Vec<Vec<f64>> = ids.iter().enumerate().map(embed).collect();
        for layer in 0..2 {
            let name = |part: &str| format!("encoder.layer.{layer}.{part}");
            let [q, k, v] = ["query", "key", "value"]
                .map(|p| x.iter().map(|x| self.linear(&name(&format!("attention.self.{p}")), x)).collect::<Vec<_>>());
            let dim = HIDDEN / HEADS;
            for (row, x) in x.iter_mut().enumerate() {
                let mut seen = vec![0.0; HIDDEN];
                for head in (0..HEADS).map(|h| h * dim..(h + 1) * dim) {
                    let dot = |k: &Vec<f64>| head.clone().map(|j| q[row][j] * k[j]).sum::<f64>() / (dim as f64).sqrt();
                    let weights: Vec<f64> = k.iter().map(|k| dot(k).exp()).collect();
                    let total: f64 = weights.iter().sum();
                    head.clone().for_each(|j| seen[j] = weights.iter().zip(&v).map(|(w, v)| w * v[j]).sum::<f64>() / total);
                }
                let out = self.linear(&name("attention.output.dense"), &seen);
                *x = self.norm(&name("attention.output.LayerNorm"), &sum(x, &out));
                let inner: Vec<f64> = self.linear(&name("intermediate.dense"), x).into_iter().map(gelu).collect();
                *x = self.norm(&name("output.LayerNorm"), &sum(x, &self.linear(&name("output.dense"), &inner)));
            }
        }
        x
    }

    /// Weights of all terms.
    fn splade(&self, ids: &[u32]) -> Vec<f64> {
        let mut most = vec![f64::NEG_INFINITY; VOCABULARY];
        for x in self.hidden(ids) {
            let x: Vec<f64> = self.linear("cls.predictions.transform.dense", &x).into_iter().map(gelu).collect();
            let x = self.norm("cls.predictions.transform.LayerNorm", &x);
            for (term, most) in most.iter_mut().enumerate() {
                let word = |j| self.at("embeddings.word_embeddings.weight", term * HIDDEN + j);
                *most = most.max((0..HIDDEN).map(|j| x[j] * word(j)).sum::<f64>() + self.at("cls.predictions.bias", term));
            }
        }
        most.into_iter().map(|x| x.max(0.0).ln_1p()).collect()
    }
}

/// By the midpoint rule from -12 on.
fn gelu(x: f64) -> f64 {
    let (steps, width) = (4000, (x + 12.0) / 4000.0);
    let density = |i: i32| (-0.5 * (-12.0 + (f64::from(i) + 0.5) * width).powi(2)).exp();
    x * (0..steps).map(density).sum::<f64>() * width / std::f64::consts::TAU.sqrt()
}

/// Three sequences of different lengths.
fn sequences() -> Vec<Vec<u32>> {
    [5, 1, 37].map(|len| (0..len).map(|i| (i * i + 7 * i + len) % 60).collect()).to_vec()
}

fn rows(x: &Array2<f32>, range: std::ops::Range<usize>) -> Array2<f32> {
    x.slice(ndarray::s![range, ..]).to_owned()
}

#[test]
fn hidden_states_and_means_are_those_of_a_naive_reference() {
    let (tiny, encoder, team) = (Tiny::new(false), Tiny::open(false), Team::new(1));
    let want: Vec<Vec<Vec<f64>>> = sequences().iter().map(|ids| tiny.hidden(ids)).collect();
    let batch = Batch::new(&sequences()).unwrap();
    for path in [Path::Dense, Path::Panel] {
        let got = encoder.encode(&exact(&team), path, &batch, &mut Workspace::default()).unwrap();
        for (got, want) in got.iter().zip(want.iter().flatten().flatten()) {
            assert!((f64::from(*got) - want).abs() < 1e-5, "{path}: {got}, not {want}");
        }
        let means = encoder.embed(&exact(&team), path, &batch, &mut Workspace::default()).unwrap();
        for (mean, states) in means.rows().into_iter().zip(&want) {
            let sum: Vec<f64> = (0..HIDDEN).map(|j| states.iter().map(|s| s[j]).sum()).collect();
            let length = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
            assert!(mean.iter().zip(&sum).all(|(got, want)| (f64::from(*got) - want / length).abs() < 1e-5), "{path}");
        }
    }
}

#[test]
fn sparse_vectors_are_those_of_a_naive_reference_without_the_bounds() {
    let (tiny, encoder, team) = (Tiny::new(true), Tiny::open(true), Team::new(2));
    let batch = Batch::new(&sequences()).unwrap();
    for path in [Path::Dense, Path::Panel] {
        let got = encoder.splade(&exact(&team), path, &batch, &mut Workspace::default()).unwrap();
        for (ids, SparseVector { terms, weights }) in sequences().iter().zip(got) {
            let want = tiny.splade(ids);
            assert!(terms.is_sorted() && terms.len() > 5 && terms.iter().all(|t| *t != 2 && *t != 3), "{terms:?}");
            for (term, want) in want.iter().enumerate().filter(|(term, _)| *term != 2 && *term != 3) {
                let got = terms.iter().position(|t| *t as usize == term).map_or(0.0, |i| f64::from(weights[i]));
                assert!((got - want).abs() < 1e-5, "{path}, term {term}: {got}, not {want}");
            }
        }
    }
    let e = Tiny::open(false).splade(&exact(&team), Path::Dense, &batch, &mut Workspace::default()).unwrap_err();
    assert!(e.to_string().contains("cls.predictions.transform.dense.weight"), "{e}");
}

#[test]
fn a_sequence_gets_the_same_bits_alone_in_any_batch_and_on_any_team() {
    let encoder = Tiny::open(true);
    // Groups are cut after 256 tokens, so some of these share one and some do not; the longest has two blocks of keys.
    let mut long = sequences();
    long.extend([200, 90, 280].map(|len| (0..len).map(|i| (i * 11 + len) % 60).collect::<Vec<u32>>()));
    let batch = Batch::new(&long).unwrap();
    let (one, two) = (Team::new(1), Team::new(2));
    for mode in [Mode::Exact, Mode::Fast] {
        let ctx = Ctx { isa: Isa::best(), mode, team: &one };
        let mut ws = Workspace::default();
        let all = encoder.encode(&ctx, Path::Panel, &batch, &mut ws).unwrap();
        assert_eq!(all, encoder.encode(&Ctx { team: &two, ..ctx }, Path::Panel, &batch, &mut Workspace::default()).unwrap());
        let sparse = encoder.splade(&ctx, Path::Panel, &batch, &mut ws).unwrap();
        for (i, range) in batch.rows().enumerate() {
            let alone = Batch::new(&long[i..=i]).unwrap();
            assert_eq!(encoder.encode(&ctx, Path::Panel, &alone, &mut ws).unwrap(), rows(&all, range), "sequence {i}, {mode}");
            assert_eq!(encoder.splade(&ctx, Path::Panel, &alone, &mut ws).unwrap(), sparse[i..=i], "sequence {i}, {mode}");
        }
    }
}

#[test]
fn old_and_new_names_tied_and_own_heads_are_the_same_encoder() {
    let tiny = Tiny::new(true);
    let old = |name: &str| {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        if name.starts_with("cls.") { name } else { format!("bert.{name}") }
    };
    let mut own = Tiny::new(true);
    let words = own.0["embeddings.word_embeddings.weight"].clone();
    own.0.insert("cls.predictions.decoder.weight".to_owned(), words);
    let mut untied = Tiny::config();
    untied["tie_word_embeddings"] = json!(false);
    let (team, batch) = (Team::new(1), Batch::new(&sequences()).unwrap());
    let run = |folder: Folder| {
        let encoder = Encoder::open(folder.path()).unwrap();
        let (ctx, mut ws) = (exact(&team), Workspace::default());
        let states = encoder.encode(&ctx, Path::Dense, &batch, &mut ws).unwrap();
        (encoder.sites().len(), states, encoder.splade(&ctx, Path::Dense, &batch, &mut ws).unwrap())
    };
    let new = run(tiny.folder(&Tiny::config(), str::to_owned));
    assert_eq!(new, run(tiny.folder(&Tiny::config(), old)));
    let own = run(own.folder(&untied, str::to_owned));
    assert_eq!((new.0 + 1, new.1, new.2), own);
}

#[test]
fn texts_become_pieces_between_the_bounds_cut_to_length() {
    let encoder = Tiny::open(true);
    let batch = encoder.batch(&["The WINGS, café", "", "the the the the"], 5).unwrap();
    // A comma is no piece; accents go with the capitals.
    assert_eq!(batch.sequence(0), [2, 5, 6, 7, 3]);
    assert_eq!((batch.sequence(1), batch.sequence(2)), (&[2, 3][..], &[2, 5, 5, 5, 3][..]));
    assert_eq!(encoder.batch(&["wing, café"], 10).unwrap().sequence(0), [2, 6, 1, 8, 3]);
    assert_eq!(encoder.tokenizer().unwrap().piece(7).unwrap(), "##s");
    let e = encoder.batch(&["a"], POSITIONS + 1).unwrap_err();
    assert!(e.to_string().contains("301") && e.to_string().contains("300"), "{e}");
}

fn methods(method: impl Compress + 'static) -> Vec<Box<dyn Compress>> {
    vec![Box::new(method)]
}

#[test]
fn a_compressed_encoder_is_small_close_and_saved_bit_by_bit() {
    let (encoder, team, batch) = (Tiny::open(true), Team::new(2), Batch::new(&sequences()).unwrap());
    let ctx = exact(&team);
    let mut ws = Workspace::default();
    let want = encoder.encode(&ctx, Path::Panel, &batch, &mut ws).unwrap();
    let error = |encoder: &Encoder| {
        let got = encoder.encode(&ctx, Path::Panel, &batch, &mut Workspace::default()).unwrap();
        got.iter().zip(&want).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / want.len() as f64
    };
    let plan = EncoderPlan { methods: methods(Rtn::new(8, 32)), tables: methods(Rtn::new(8, 32)) };
    let (int8, reports) = encoder.compress(None, &plan, &team, &()).unwrap();
    // Query, key, value, output, intermediate, down of two blocks; two tables and the transform.
    assert_eq!(reports.len(), 15);
    assert!(2 * int8.footprint().total() < encoder.footprint().total());
    assert!(error(&int8) > 0.0 && error(&int8) < 1e-3, "{}", error(&int8));

    let three = |method| EncoderPlan { methods: method, tables: vec![] };
    let (rtn, _) = encoder.compress(None, &three(methods(Rtn::new(3, 32))), &team, &()).unwrap();
    let (gptq, _) = encoder.compress(Some(&batch), &three(methods(Gptq::new(3, 32))), &team, &()).unwrap();
    assert!(error(&gptq) < error(&rtn), "GPTQ {}, RTN {}", error(&gptq), error(&rtn));
    let e = encoder.compress(None, &three(methods(Gptq::new(3, 32))), &team, &()).unwrap_err();
    assert!(e.to_string().contains("0.qkv"), "{e}");

    for encoder in [&int8, &gptq, &Tiny::open(false)] {
        let folder = Folder::new();
        let path = folder.path().join("encoder.safetensors");
        encoder.save(&path).unwrap();
        let again = Encoder::open(&path).unwrap();
        assert_eq!(&encoder.to_bytes().unwrap()[..], &again.to_bytes().unwrap()[..]);
        let run = |encoder: &Encoder| encoder.encode(&ctx, Path::Panel, &batch, &mut Workspace::default()).unwrap();
        assert_eq!(run(encoder), run(&again));
        assert_eq!((again.parameters(), again.footprint()), (encoder.parameters(), encoder.footprint()));
        assert_eq!(again.batch(&["the wings"], 9).unwrap(), encoder.batch(&["the wings"], 9).unwrap());
    }
}

#[test]
fn what_is_wrong_is_said_by_name() {
    let says = |e: scant_transformer::Error, words: &[&str]| {
        let text = e.to_string();
        assert!(words.iter().all(|w| text.contains(w)), "{text} lacks one of {words:?}");
    };
    let open = |tiny: &Tiny, config: &serde_json::Value| Encoder::open(tiny.folder(config, str::to_owned).path()).unwrap_err();
    let mut tiny = Tiny::new(false);
    tiny.0.remove("encoder.layer.1.output.dense.bias");
    says(open(&tiny, &Tiny::config()), &["encoder.layer.1.output.dense.bias", "missing"]);
    let mut tiny = Tiny::new(false);
    tiny.0.insert("encoder.layer.0.intermediate.dense.weight".to_owned(), (vec![FFN, 23], vec![0.0; FFN * 23]));
    says(open(&tiny, &Tiny::config()), &["encoder.layer.0.intermediate.dense.weight", "[40, 24]", "[40, 23]"]);
    for (key, value, words) in [
        ("model_type", json!("llama"), ["llama", "bert"]),
        ("hidden_act", json!("relu"), ["hidden_act", "relu"]),
        ("num_attention_heads", json!(5), ["num_attention_heads", "24"]),
        ("num_hidden_layers", json!(0), ["num_hidden_layers", "0"]),
    ] {
        let mut config = Tiny::config();
        config[key] = value;
        says(open(&Tiny::new(false), &config), &words);
    }
    says(Encoder::open("nowhere").unwrap_err(), &["nowhere"]);

    let (mut encoder, team) = (Tiny::open(false), Team::new(1));
    let run = |encoder: &Encoder, ids: Vec<u32>| {
        let batch = Batch::new(&[vec![5], ids]).unwrap();
        encoder.encode(&exact(&team), Path::Dense, &batch, &mut Workspace::default()).unwrap_err()
    };
    says(run(&encoder, vec![5, 60]), &["60"]);
    says(run(&encoder, vec![5; 301]), &["301", "300"]);
    says(Batch::new(&[]).unwrap_err(), &["no tokens"]);
    says(Batch::new(&[vec![1], vec![]]).unwrap_err(), &["sequence 1"]);
    let ids = ndarray::array![[1u32, 2, 3], [4, 5, 6]];
    says(Batch::padded(ids.view(), ndarray::array![[1, 1, 0], [1, 0, 1]].view()).unwrap_err(), &["row 1", "column 1", "at 2"]);
    says(Batch::padded(ids.view(), ndarray::array![[1, 1], [1, 0]].view()).unwrap_err(), &["[2, 3]", "[2, 2]"]);
    let down = encoder.site(EncoderSite::Block { layer: 0, part: EncoderPart::Down }).unwrap().clone();
    says(encoder.set_site(EncoderSite::Words, down.clone()).unwrap_err(), &["words", "[60, 24]", "[24, 40]"]);
    says(encoder.set_site(EncoderSite::Block { layer: 2, part: EncoderPart::Down }, down).unwrap_err(), &["2.down"]);

    // Another kind of file, and a file cut short.
    let bytes = encoder.to_bytes().unwrap();
    let folder = Folder::new();
    says(open_model(&folder, &bytes), &["encoder", "model"]);
    assert!(Encoder::open(folder.write("cut.safetensors", &bytes[..bytes.len() - 1])).is_err());
    let mut writer = Writer::new("encoder", 1);
    writer.add("x", Dtype::U8, [1], vec![0u8]).unwrap();
    let other = writer.parameters(&json!({"config": 1})).unwrap().to_bytes().unwrap();
    assert!(Encoder::open(folder.write("other.safetensors", &other)).is_err());
}

fn open_model(folder: &Folder, bytes: &[u8]) -> scant_transformer::Error {
    scant_transformer::open(folder.write("encoder.safetensors", bytes)).unwrap_err()
}
