//! A language model compressed, judged and saved, in one command.
//!
//! ```text
//! cargo run --release -p scant-examples --example compress_model
//! cargo run --release -p scant-examples --example compress_model -- --quick
//! cargo run --release -p scant-examples --example compress_model -- model.gguf --off-grid --method gptq-3-g64-act,rtn-3-g64 \
//!     --text calibration.txt --test test.txt
//! ```
//!
//! Without arguments it takes the model of this repository and generated stories. Every method starts from the same model; a table and a plot
//! show what is lost for how many bytes, and the chosen one is saved, opened again and asked a question.
#![expect(clippy::print_stdout, reason = "a program that prints a table")]

mod results;

use results::{Result, Row, beside_rtn, plot, table};
use scant_eval::stories::{CALIBRATION_SEEDS, HELD_OUT_SEEDS};
use scant_examples::args::{Args, Opt};
use scant_examples::bar::Bar;
use scant_examples::data::shown;
use scant_examples::judge::{Judged, judge, speed};
use scant_examples::method::{DEFAULT, methods};
use scant_examples::{data, program, sequences};
use scant_tensor_core::isa::Isa;
use scant_tensor_core::team::Team;
use scant_tensor_core::{Ctx, Mode};
use scant_transformer::{CompressPlan, Model, Options, Propagation, Sampler, Sampling, Session, compress};
use std::path::{Path, PathBuf};
use std::time::Instant;

const OPTIONS: &[Opt] = &[
    Opt {
        name: "method",
        value: "LIST",
        help: "methods, by comma: rtn-4-g64, gptq-3-g128-act, rtn-3-g64+eora-b0.25 (default: 8, 4, 3 and 2 bits)",
    },
    Opt { name: "save", value: "METHOD", help: "the one that is saved (default gptq-4-g64, or the last of the list)" },
    Opt {
        name: "also",
        value: "FILES",
        help: "models compressed elsewhere, by comma, to be judged beside: such as GGUF files of the same model",
    },
    Opt { name: "head", value: "METHOD", help: "compresses the head and embedding too, for instance by rtn-8-g64 (default: kept)" },
    Opt { name: "propagation", value: "ORDER", help: "sequential (the default) or from-float" },
    Opt { name: "off-grid", value: "", help: "first move the weights off the grid they were stored on, as comparisons on GGUF files need" },
    Opt { name: "text", value: "FILE", help: "calibration text (default: generated stories)" },
    Opt { name: "test", value: "FILE", help: "text that quality is measured on (default: other stories)" },
    Opt { name: "sequences", value: "N", help: "calibration sequences (default 128)" },
    Opt { name: "windows", value: "N", help: "windows of test text (default 200)" },
    Opt { name: "window", value: "N", help: "tokens of a sequence and a window (default 512)" },
    Opt { name: "threads", value: "N", help: "threads (default: all)" },
    Opt {
        name: "resume",
        value: "FOLDER",
        help: "keeps finished blocks there, a folder for each method; the same command again goes on from them",
    },
    Opt { name: "out", value: "FOLDER", help: "where model and plot go (default: target/compress_model)" },
    Opt { name: "quick", value: "", help: "three methods and few windows, in seconds" },
];

fn main() -> std::process::ExitCode {
    program::run(compress_model)
}

fn compress_model() -> Result<()> {
    let args = Args::parse("compress_model [MODEL]: a GGUF file, a Hugging Face folder or a saved model, compressed and judged", OPTIONS);
    let quick = args.flag("quick");
    let threads = args.get("threads", std::thread::available_parallelism()?.get())?;
    let team = Team::new(threads);
    let fast = Ctx { isa: Isa::best(), mode: Mode::Fast, team: &team };
    let names = names(&args, quick)?;
    args.value("head").map(methods).transpose()?;
    let chosen = match args.value("save") {
        Some(name) => names.iter().position(|n| n == name).ok_or_else(|| format!("--save {name} is not among {}", names.join(", ")))?,
        None => names.iter().position(|n| n == "gptq-4-g64").unwrap_or(names.len() - 1),
    };

    let path = args.word()?.map_or_else(data::embedded_model, PathBuf::from);
    let propagation = args.get("propagation", Propagation::Sequential)?;
    let folder = args.value("out").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/compress_model"), PathBuf::from);
    std::fs::create_dir_all(&folder).map_err(|e| format!("cannot make the folder {}: {e}", folder.display()))?;
    let folder = folder.canonicalize()?;
    let file = folder.join(format!("{}.safetensors", names[chosen]));
    if path.canonicalize().is_ok_and(|input| input == file) {
        return Err(format!("{} would be written over while it is compressed: choose another --out", shown(&file)).into());
    }
    let mut model = data::open(&path)?;
    if args.flag("off-grid") {
        model = model.off_grid(1)?;
    }
    let window: usize = args.get("window", 512)?;
    let (count, windows) = (args.get("sequences", if quick { 32 } else { 128 })?, args.get("windows", if quick { 16 } else { 200 })?);
    let tokenizer = model.tokenizer()?;
    let read = |option: &str, seeds, count| -> Result<Vec<Vec<u32>>> {
        Ok(match args.value(option) {
            Some(file) => sequences::of_text(tokenizer, &program::text(file)?, count, window)
                .map_err(|e| format!("--{option} {file}: {e}; a window has {window} tokens (see --window)"))?,
            None => sequences::of_stories(tokenizer, seeds, count, window)?,
        })
    };
    let (calibration, test) = (read("text", CALIBRATION_SEEDS, count)?, read("test", HELD_OUT_SEEDS, windows)?);
    println!(
        "{}: {:.2} M parameters. Calibration on {} x {window} tokens, test on {} x {window} others; {threads} threads, {}.\n",
        shown(&path),
        model.parameters() as f64 / 1e6,
        calibration.len(),
        test.len(),
        fast.isa,
    );

    // Every method begins with the model as it was opened.
    let plan = |name: &str| -> Result<CompressPlan> {
        let mut plan = CompressPlan::new(methods(name)?);
        plan.propagation = propagation;
        plan.head = args.value("head").map(methods).transpose()?.unwrap_or_default();
        plan.resume = args.value("resume").map(|folder| Path::new(folder).join(name));
        Ok(plan)
    };
    let reference = if args.words.is_empty() && !args.flag("off-grid") { "reference, f16" } else { "reference" };
    let mut rows = vec![Row::new(reference.to_owned(), model, 0.0)?];
    for name in &names {
        let start = Instant::now();
        let (compressed, _) = compress(&rows[0].model, &calibration, &plan(name)?, &team, &Bar::new(name.clone()))?;
        rows.push(Row::new(name.clone(), compressed, start.elapsed().as_secs_f64())?);
    }

    for file in args.value("also").into_iter().flat_map(|list| list.split(',')) {
        let other = data::open(Path::new(file.trim()))?;
        rows.push(Row::new(
            Path::new(file.trim()).file_stem().map_or(file.into(), |stem| stem.to_string_lossy()).into_owned(),
            other,
            0.0,
        )?);
    }

    // Quality in Exact mode, all models over the same windows so that the reference is computed once; the chosen one in Fast mode beside them.
    let mut judged: Vec<_> = rows.iter().skip(1).map(|row| Judged::exact(&row.model)).collect();
    judged.push(Judged { model: &rows[chosen + 1].model, mode: Mode::Fast });
    let mut measured = judge(Judged::exact(&rows[0].model), &judged, &test, threads, &Bar::new("quality"))?;
    let in_fast = measured.pop().ok_or("no model was judged")?;
    for (row, comparison) in rows.iter_mut().skip(1).zip(measured) {
        row.quality = Some(comparison);
    }
    let (prompt, behind) = (&test[0], &test[test.len() - 1][..window.min(128)]);
    let room = rows[0].model.config().context;
    let (prompt, behind) = (&prompt[..prompt.len().min(room - behind.len())], behind);
    for row in &mut rows {
        row.speed = Some(speed(&row.model, fast, prompt, behind, if quick { 1 } else { 3 })?);
    }

    let saved = &rows[chosen + 1];
    print!("{}", table(&rows));
    println!(
        "\nQuality in Exact mode (f32 activations), KL from the reference in nats a token with its 95 % interval. Speed in Fast mode (8-bit activations),\n\
         {} tokens of prompt, {} decoded. {} in Fast mode: KL {:.5}, perplexity {:.3}, against {:.5} and {:.3} in Exact.",
        prompt.len(),
        behind.len(),
        saved.name,
        in_fast.kl().mean,
        in_fast.perplexity(),
        saved.quality.as_ref().map_or(f64::NAN, |q| q.kl().mean),
        saved.quality.as_ref().map_or(f64::NAN, |q| q.perplexity()),
    );

    let pairs = beside_rtn(&rows);
    if !pairs.is_empty() {
        println!("\nDifference of KL from rounding at the same bits and groups, paired window by window, with its 95 % interval:\n{pairs}");
    }

    let picture = folder.join("compress_model.svg");
    std::fs::write(&picture, plot(&rows).svg())?;
    saved.model.save(&file)?;
    println!(
        "\nPlot: {}\nModel ({}): {}, {:.2} MB",
        shown(&picture),
        saved.name,
        shown(&file),
        std::fs::metadata(&file)?.len() as f64 / 1e6
    );
    answer(&data::open(&file)?, fast)?;
    println!(
        "\nGo on with it:\n  cargo run --release -p scant-examples --example generate -- {} --prompt \"{}\"",
        shown(&file),
        data::PROMPT
    );
    Ok(())
}

/// The methods asked for.
fn names(args: &Args, quick: bool) -> Result<Vec<String>> {
    let given = args.value("method").map(|list| list.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>());
    let names = given.unwrap_or_else(|| {
        let some: &[&str] = if quick { &["rtn-4-g64", "gptq-4-g64", "gptq-3-g64"] } else { &DEFAULT };
        some.iter().map(|name| (*name).to_owned()).collect()
    });
    if let Some(name) = names.iter().enumerate().find_map(|(i, n)| names[..i].contains(n).then_some(n)) {
        return Err(format!("--method has {name} twice").into());
    }
    // A name that is wrong is known before minutes are spent.
    names.iter().try_for_each(|name| methods(name).map(drop))?;
    Ok(names)
}

/// What the saved model, opened again, answers.
fn answer(model: &Model, ctx: Ctx<'_>) -> Result<()> {
    let mut session = Session::new(model, ctx, Options::default())?;
    let text = session.generate_text(data::PROMPT, Sampler::new(Sampling::greedy())?, 5)?;
    let text: String = text.collect::<std::result::Result<_, _>>()?;
    println!("Opened again, it is told \"{}\" and goes on: {}", data::PROMPT, text.trim());
    Ok(())
}
