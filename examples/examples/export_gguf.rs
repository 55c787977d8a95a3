//! A model as a GGUF file that llama.cpp runs.
//!
//! ```text
//! cargo run --release -p scant-examples --example export_gguf -- --out model.gguf
//! cargo run --release -p scant-examples --example export_gguf -- model.safetensors --type q4_k --imatrix imatrix.gguf --out model-q4_k.gguf
//! cargo run --release -p scant-examples --example export_gguf -- model.gguf --type q3_k --text calibration.txt --save-imatrix ours.gguf \
//!     --out model-q3_k.gguf
//! ```
#![expect(clippy::print_stdout, reason = "a program that says what it wrote")]

use scant_eval::stories::CALIBRATION_SEEDS;
use scant_examples::args::{Args, Opt};
use scant_examples::bar::Bar;
use scant_examples::data::shown;
use scant_examples::{data, program, sequences};
use scant_quant::Imatrix;
use scant_quant::gguf::{BlockType, File};
use scant_tensor_core::stats::Statistic;
use scant_tensor_core::team::Team;
use scant_transformer::{GgufExport, Model, calibrate};
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const OPTIONS: &[Opt] = &[
    Opt { name: "out", value: "FILE", help: "where it goes" },
    Opt { name: "type", value: "TYPE", help: "of the matrices: f16 (the default), q8_0, q4_0, q4_k and so on" },
    Opt { name: "like", value: "FILE", help: "a GGUF file whose tokenizer is copied (default: the model, if it is one)" },
    Opt { name: "off-grid", value: "", help: "first move the weights off the grid they were stored on" },
    Opt { name: "imatrix", value: "FILE", help: "importance of the inputs, of either form" },
    Opt { name: "text", value: "FILE", help: "gathers the importance from this text instead" },
    Opt { name: "stories", value: "", help: "gathers it from generated stories" },
    Opt { name: "sequences", value: "N", help: "sequences of 512 tokens it is gathered from (default 32)" },
    Opt {
        name: "save-imatrix",
        value: "FILE",
        help: "writes the importance that was gathered; as the older form if the name ends in .dat",
    },
];

fn main() -> std::process::ExitCode {
    program::run(export)
}

fn export() -> Result<()> {
    let args = Args::parse("export_gguf [MODEL]: a model (default: the embedded one) as a GGUF file", OPTIONS);
    let path = args.word()?.map_or_else(data::embedded_model, PathBuf::from);
    let out = args.value("out").ok_or("--out is missing: the file to write")?;
    let ty = args.get("type", BlockType::F16)?;
    let like = args.value("like").map(PathBuf::from).or_else(|| path.extension().is_some_and(|e| e == "gguf").then(|| path.clone()));
    let like = like.map(File::read).transpose()?;
    let mut model = data::open(&path)?;
    if args.flag("off-grid") {
        model = model.off_grid(1)?;
    }

    let importance = match (args.value("imatrix"), args.flag("text") || args.flag("stories")) {
        (Some(_), true) => return Err("the importance is read (--imatrix) or gathered (--text, --stories), not both".into()),
        (Some(file), false) => Some(Imatrix::read(file)?),
        (None, true) => Some(gather(&model, &args)?),
        (None, false) => None,
    };
    if let Some(file) = args.value("save-imatrix") {
        let importance = importance.as_ref().ok_or("--save-imatrix needs an importance: --text, --stories or --imatrix")?;
        if Path::new(file).extension().is_some_and(|e| e == "dat") {
            std::fs::write(file, importance.to_dat()?).map_err(|e| format!("cannot write {file}: {e}"))?;
        } else {
            importance.save(file)?;
        }
        println!("{}: importance of the inputs of {} matrices", shown(Path::new(file)), importance.iter().len());
    }

    let mut export = GgufExport::new(ty);
    if let Some(like) = &like {
        export = export.like(like);
    }
    if let Some(importance) = &importance {
        export = export.importance(importance);
    }
    export.save(&model, out)?;
    println!("{}: {ty}, {:.2} MB", shown(Path::new(out)), std::fs::metadata(out)?.len() as f64 / 1e6);
    Ok(())
}

/// Mean squares of the inputs over a text or stories.
fn gather(model: &Model, args: &Args) -> Result<Imatrix> {
    let (tokenizer, count) = (model.tokenizer()?, args.get("sequences", 32)?);
    let sequences = match args.value("text") {
        Some(file) => sequences::of_text(tokenizer, &program::text(file)?, count, 512).map_err(|e| format!("--text {file}: {e}"))?,
        None => sequences::of_stories(tokenizer, CALIBRATION_SEEDS, count, 512)?,
    };
    let team = Team::new(std::thread::available_parallelism()?.get());
    let stats = calibrate(model, &sequences, Statistic::MeanSq.into(), &team, &Bar::new("importance"))?;
    let mut importance = model.imatrix(&stats)?;
    importance.datasets.extend(args.value("text").map(str::to_owned));
    Ok(importance)
}
