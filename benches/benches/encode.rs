//! Texts a second of MiniLM and SPLADE-tiny, f32 and int8, with one thread; beside ONNX Runtime where that is at hand, run by run in turn.
//!
//! ```text
//! SCANT_DATA=folder SCANT_PYTHON=python3 cargo bench -p scant-benches --bench encode [-- RUNS WORDS]
//! ```
//!
//! `SCANT_DATA` holds `models/minilm/` and `models/splade-tiny/`; without it a random encoder of MiniLM's shape is timed alone. `SCANT_PYTHON` names an
//! interpreter with numpy, onnx, onnxruntime and safetensors. Time is that of the CPU, since others may use it. Words filter: `minilm`, `splade-tiny`, `f32`, `int8`.
#![expect(clippy::print_stdout, reason = "a program that prints figures")]

use scant_quant::Rtn;
use scant_quant::grid::{GridParams, Zero};
use scant_tensor_core::compress::Compress;
use scant_tensor_core::file::{Dtype, Writer};
use scant_tensor_core::rng::Rng;
use scant_tensor_core::{Ctx, Mode, isa::Isa, team::Team};
use scant_transformer::Path;
use scant_transformer::encoder::{Batch, Encoder, EncoderConfig, EncoderPlan, Workspace};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path as FilePath, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const TEXTS: usize = 8;
const TOKENS: usize = 128;
const WIDTH: usize = 384;

fn main() -> Result<()> {
    let runs = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(10);
    println!("{TEXTS} texts of {TOKENS} tokens, one thread, {}; texts per second of CPU time: best, median of {runs}", Isa::best());
    let Some(data) = std::env::var_os("SCANT_DATA") else { return compare("random", &random()?, None, runs) };
    for name in ["minilm", "splade-tiny"] {
        let folder = PathBuf::from(&data).join("models").join(name);
        compare(name, &Encoder::open(&folder)?, Some(&folder), runs)?;
    }
    Ok(())
}

/// One encoder in f32 and int8, and ONNX Runtime on the same weights. With a masked-language head the texts' sparse vectors are made.
fn compare(name: &str, encoder: &Encoder, folder: Option<&FilePath>, runs: usize) -> Result<()> {
    let team = Team::new(1);
    let rtn = || vec![Box::new(Rtn::from(GridParams::new(8, 128).zero(Zero::Symmetric))) as Box<dyn Compress>];
    let (int8, _) = encoder.compress(None, &EncoderPlan { methods: rtn(), tables: rtn() }, &team, &())?;
    let sequence = |t: u32| (0..TOKENS as u64 as u32).map(|i| (1000 + 7 * i + 13 * t) % 30000).collect();
    let batch = Batch::new(&(0..TEXTS as u64 as u32).map(sequence).collect::<Vec<Vec<u32>>>())?;
    let python = std::env::var("SCANT_PYTHON").ok();
    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-') && a.parse::<usize>().is_err()).collect();
    for (kind, encoder, mode, path) in [("f32", encoder, Mode::Exact, Path::Dense), ("int8", &int8, Mode::Fast, Path::Panel)] {
        if !words.iter().all(|w| [name, kind].contains(&w.as_str())) {
            continue;
        }
        let mut other = match (&python, folder) {
            (Some(python), Some(folder)) => Some(Onnx::start(python, folder, kind)?),
            _ => None,
        };
        let ctx = Ctx { isa: Isa::best(), mode, team: &team };
        let mut ws = Workspace::default();
        let (mut ours, mut theirs) = (vec![], vec![]);
        for run in 0..=runs {
            let start = Clock::now();
            if encoder.has_head() {
                std::hint::black_box(encoder.splade(&ctx, path, &batch, &mut ws)?);
            } else {
                std::hint::black_box(encoder.embed(&ctx, path, &batch, &mut ws)?);
            }
            let seconds = start.elapsed();
            let beside = other.as_mut().map(Onnx::run).transpose()?;
            // The first run finds cold caches and empty buffers.
            if run > 0 {
                ours.push(seconds);
                theirs.extend(beside);
            }
        }
        let (best, median) = rates(ours);
        println!("{name:11} {kind:5} scant         {best:8.1} {median:8.1}");
        if !theirs.is_empty() {
            let (their_best, their_median) = rates(theirs);
            println!(
                "{name:11} {kind:5} onnxruntime   {their_best:8.1} {their_median:8.1}   ours over theirs {:.2}",
                median / their_median
            );
        }
    }
    Ok(())
}

/// Texts a second of the best and of the median run.
fn rates(mut seconds: Vec<f64>) -> (f64, f64) {
    seconds.sort_by(f64::total_cmp);
    (TEXTS as f64 / seconds[0], TEXTS as f64 / seconds[seconds.len() / 2])
}

/// Time that this thread has run, where the system tells; else what has passed.
struct Clock(Instant, Option<f64>);

impl Clock {
    fn now() -> Clock {
        Clock(Instant::now(), ran())
    }

    fn elapsed(&self) -> f64 {
        self.1.and_then(|then| Some(ran()? - then)).unwrap_or_else(|| self.0.elapsed().as_secs_f64())
    }
}

fn ran() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(1e-9 * text.split_whitespace().next()?.parse::<f64>().ok()?)
}

/// A child process that runs a model whenever it is asked.
struct Onnx {
    child: Child,
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
}

impl Onnx {
    fn start(python: &str, folder: &FilePath, kind: &str) -> Result<Onnx> {
        let mut command = Command::new(python);
        command.arg("-c").arg(include_str!("encode.py")).arg(folder).arg(kind).args([TEXTS, TOKENS].map(|n| n.to_string()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (ask, answer) = (child.stdin.take().ok_or("no input")?, BufReader::new(child.stdout.take().ok_or("no output")?));
        Ok(Onnx { child, ask, answer })
    }

    /// CPU seconds of a run.
    fn run(&mut self) -> Result<f64> {
        writeln!(self.ask, "run")?;
        let mut line = String::new();
        self.answer.read_line(&mut line)?;
        Ok(line.split_whitespace().next().ok_or("the interpreter gave no answer")?.parse()?)
    }
}

impl Drop for Onnx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// MiniLM's shape with random numbers.
fn random() -> Result<Encoder> {
    let config = serde_json::json!({
        "model_type": "bert", "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": 6, "num_attention_heads": 12,
        "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
    });
    let c = EncoderConfig::from_hugging_face(&config)?;
    let folder = std::env::temp_dir().join(format!("scant-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("config.json"), serde_json::to_vec(&config)?)?;
    let mut rng = Rng::new(1);
    let mut writer = Writer::new("random", 1);
    let mut add = |name: &str, shape: &[usize]| {
        let bytes: Vec<u8> = (0..shape.iter().product()).flat_map(|_| (0.05 * rng.normal()).to_le_bytes()).collect();
        writer.add(name, Dtype::F32, shape, bytes)
    };
    for (name, rows) in [("word", c.vocabulary), ("position", c.positions), ("token_type", c.types)] {
        add(&format!("embeddings.{name}_embeddings.weight"), &[rows, WIDTH])?;
    }
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in 0..c.layers {
        let part = |name: &str| format!("encoder.layer.{layer}.{name}");
        let square = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"];
        let all = square
            .map(|name| (name, WIDTH, WIDTH))
            .into_iter()
            .chain([("intermediate.dense", 4 * WIDTH, WIDTH), ("output.dense", WIDTH, 4 * WIDTH)]);
        for (name, rows, columns) in all {
            add(&format!("{}.weight", part(name)), &[rows, columns])?;
            add(&format!("{}.bias", part(name)), &[rows])?;
        }
        norms.extend([part("attention.output.LayerNorm"), part("output.LayerNorm")]);
    }
    for name in norms {
        add(&format!("{name}.weight"), &[WIDTH])?;
        add(&format!("{name}.bias"), &[WIDTH])?;
    }
    writer.save(folder.join("model.safetensors"))?;
    let encoder = Encoder::open(&folder);
    std::fs::remove_dir_all(&folder)?;
    Ok(encoder?)
}
