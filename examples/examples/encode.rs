//! What an encoder makes of texts: which of them are near each other, and which words a sparse vector says they are about.
//!
//! ```text
//! cargo run --release -p scant-examples --example encode -- FOLDER "a cat sleeps" "the kitten naps" "stocks fell"
//! cargo run --release -p scant-examples --example encode -- FOLDER --file lines.txt --bits 8
//! ```
//!
//! `FOLDER` holds a BERT encoder as Hugging Face has it (all-MiniLM-L6-v2, a SPLADE model), or is a file that `--save` wrote.
#![expect(clippy::print_stdout, reason = "a program that prints what it finds")]

use scant_examples::args::{Args, Opt};
use scant_examples::method::methods;
use scant_tensor_core::{Ctx, Mode, isa::Isa, team::Team};
use scant_transformer::Path;
use scant_transformer::encoder::{Encoder, EncoderPlan, Workspace};
use std::time::Instant;

const OPTIONS: &[Opt] = &[
    Opt { name: "file", value: "FILE", help: "encode the lines of a file instead of the words given" },
    Opt { name: "bits", value: "N", help: "round every matrix to N bits first, in groups of 32, and run with 8-bit activations" },
    Opt { name: "tokens", value: "N", help: "cut texts to N tokens (default 128)" },
    Opt { name: "top", value: "N", help: "pairs and terms to print (default 5)" },
    Opt { name: "save", value: "FILE", help: "save the encoder as it was run" },
    Opt { name: "threads", value: "N", help: "threads (default: all)" },
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse("encode MODEL [TEXT]...: nearest pairs of texts, and the terms of sparse vectors", OPTIONS);
    let Some((model, words)) = args.words.split_first() else {
        return Err("give the folder of an encoder, then texts; --help says more".into());
    };
    let texts: Vec<String> = match args.value("file") {
        Some(file) => std::fs::read_to_string(file)?.lines().filter(|l| !l.trim().is_empty()).map(str::to_owned).collect(),
        None => words.to_vec(),
    };
    let top = args.get("top", 5)?;
    let team = Team::new(args.get("threads", std::thread::available_parallelism()?.get())?);

    // An encoder is its matrices and a description. A compressed one is the same encoder with other matrices, so from here on nothing asks
    // which it is; only the kernels differ: f32 products for f32 weights, integer products for codes.
    let mut encoder = Encoder::open(model)?;
    let (mut mode, mut path) = (Mode::Exact, Path::Dense);
    if let Some(bits) = args.value("bits") {
        let before = encoder.footprint().total();
        let rtn = || methods(&format!("rtn-{bits}-g32"));
        (encoder, _) = encoder.compress(None, &EncoderPlan { methods: rtn()?, tables: rtn()? }, &team, &())?;
        println!("{:.1} MB became {:.1} MB", before as f64 / 1e6, encoder.footprint().total() as f64 / 1e6);
        (mode, path) = (Mode::Fast, Path::Panel);
    }
    if let Some(file) = args.value("save") {
        encoder.save(file)?;
    }

    // Texts become one batch of token ids, laid one after another: nothing is computed for padding, because there is none.
    let ctx = Ctx { isa: Isa::best(), mode, team: &team };
    let batch = encoder.batch(&texts, args.get("tokens", encoder.config().positions.min(128))?)?;
    let mut ws = Workspace::default();
    let start = Instant::now();
    if encoder.has_head() {
        // A masked-language head makes a SPLADE vector: weights of terms, many of which the text does not contain.
        let vectors = encoder.splade(&ctx, path, &batch, &mut ws)?;
        let seconds = start.elapsed().as_secs_f64();
        let tokenizer = encoder.tokenizer()?;
        for (text, vector) in texts.iter().zip(&vectors) {
            let mut terms: Vec<(f32, u32)> = vector.weights.iter().copied().zip(vector.terms.iter().copied()).collect();
            terms.sort_by(|a, b| b.0.total_cmp(&a.0));
            let named = terms.iter().take(top).filter_map(|(w, term)| Some(format!("{} {w:.2}", tokenizer.piece(*term)?)));
            println!("{text}\n    {} of {} terms: {}", top.min(terms.len()), terms.len(), named.collect::<Vec<_>>().join(", "));
        }
        pairs(&texts, top, |i, j| vectors[i].dot(&vectors[j]));
        eprintln!("{} texts, {} tokens: {:.0} texts/s", batch.len(), batch.tokens(), batch.len() as f64 / seconds);
    } else {
        // Otherwise the mean of the hidden states, at length 1, so that dot products are cosines.
        let vectors = encoder.embed(&ctx, path, &batch, &mut ws)?;
        let seconds = start.elapsed().as_secs_f64();
        pairs(&texts, top, |i, j| vectors.row(i).dot(&vectors.row(j)));
        eprintln!("{} texts, {} tokens: {:.0} texts/s", batch.len(), batch.tokens(), batch.len() as f64 / seconds);
    }
    Ok(())
}

/// The pairs with the highest scores.
fn pairs(texts: &[String], top: usize, score: impl Fn(usize, usize) -> f32) {
    let all = (0..texts.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
    let mut scored: Vec<_> = all.map(|(i, j)| (score(i, j), i, j)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (score, i, j) in scored.into_iter().take(top) {
        println!("{score:8.3}  {} | {}", texts[i], texts[j]);
    }
}
