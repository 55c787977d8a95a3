//! Runs any model that can be opened, and prints its text as it comes.
//!
//! ```text
//! cargo run --release -p scant-examples --example generate
//! cargo run --release -p scant-examples --example generate -- model.gguf --prompt "The sea" --temperature 0.8 --mode fast
//! ```
#![expect(clippy::print_stdout, reason = "a program that prints text")]

use scant_examples::args::{Args, Opt};
use scant_examples::{data, program};
use scant_tensor_core::{Ctx, Mode, isa::Isa, team::Team};
use scant_transformer::{Options, Path, Sampler, Sampling, Session};
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

const OPTIONS: &[Opt] = &[
    Opt { name: "prompt", value: "TEXT", help: "what the text begins with" },
    Opt { name: "tokens", value: "N", help: "tokens to add at most (default 120)" },
    Opt { name: "mode", value: "MODE", help: "exact (f32 activations) or fast (8-bit activations, the default)" },
    Opt { name: "path", value: "PATH", help: "products over the prompt: panel (the default) or dense" },
    Opt { name: "kv", value: "TYPE", help: "cache of f16 (the default), f32, or compressed: q8_0, gear4, snapkv:256+q8_0" },
    Opt { name: "threads", value: "N", help: "threads (default: all)" },
    Opt { name: "temperature", value: "T", help: "0 for the most likely token always (the default)" },
    Opt { name: "top-k", value: "K", help: "choose among the K most likely tokens; 0 for all (the default)" },
    Opt { name: "top-p", value: "P", help: "choose among the tokens that make up this probability (default 1)" },
    Opt { name: "seed", value: "N", help: "the same seed gives the same text (default 0)" },
    Opt { name: "quick", value: "", help: "a short run, for checks" },
];

fn main() -> std::process::ExitCode {
    program::run(generate)
}

fn generate() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let args = Args::parse("generate [MODEL]: text from a GGUF file or a Hugging Face folder (default: the embedded model)", OPTIONS);
    let path = args.word()?.map_or_else(data::embedded_model, PathBuf::from);
    let limit = args.get("tokens", if args.flag("quick") { 20 } else { 120 })?;
    let sampling = Sampling {
        temperature: args.get("temperature", 0.0)?,
        top_k: args.get("top-k", 0)?,
        top_p: args.get("top-p", 1.0)?,
        seed: args.get("seed", 0)?,
    };
    let team = Team::new(args.get("threads", std::thread::available_parallelism()?.get())?);
    let ctx = Ctx { isa: Isa::best(), mode: args.get("mode", Mode::Fast)?, team: &team };
    let options = Options { path: args.get("path", Path::Panel)?, kv: args.get("kv", Default::default())?, ..Options::default() };

    let start = Instant::now();
    let model = data::open(&path)?;
    let (parameters, megabytes) = (model.parameters() as f64 / 1e6, model.footprint().total() as f64 / 1e6);
    eprintln!("{}: {parameters:.1} M parameters in {megabytes:.1} MB, opened in {:.2?}", data::shown(&path), start.elapsed());

    // The prompt first, on its own, so that its speed can be told from that of the tokens after it.
    let prompt = args.value("prompt").unwrap_or(if args.words.is_empty() { data::PROMPT } else { "Once upon a time" });
    let tokenizer = model.tokenizer()?;
    let tokens = tokenizer.encode_prompt(prompt)?;
    let mut session = Session::new(&model, ctx, options)?;
    let start = Instant::now();
    let mut generated = session.generate(&tokens, Sampler::new(sampling)?, limit)?;
    let prefill = start.elapsed();

    print!("{prompt}");
    let mut stream = tokenizer.stream();
    stream.push(*tokens.last().ok_or("the prompt has no tokens")?)?;
    let (start, mut count) = (Instant::now(), 0);
    for token in &mut generated {
        print!("{}", stream.push(token?)?);
        std::io::stdout().flush()?;
        count += 1;
    }
    println!("{}", stream.finish()?);
    let rate = |n: usize, time: std::time::Duration| n as f64 / time.as_secs_f64();
    eprintln!(
        "{} mode on {}, {} threads: prefill of {} tokens at {:.0} tokens/s, decode of {count} at {:.0} tokens/s; cache {:.1} MB",
        ctx.mode,
        ctx.isa,
        team.threads(),
        tokens.len(),
        rate(tokens.len(), prefill),
        rate(count, start.elapsed()),
        session.cache_bytes().total() as f64 / 1e6,
    );
    Ok(())
}
