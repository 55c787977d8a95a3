//! Whole models: decode of one token, the matrices of that token alone, and prefill of 512 tokens.
//!
//! ```text
//! SCANT_DATA=folder cargo bench -p scant-benches --bench engine -- smollm2
//! SCANT_DATA=folder SCANT_LLAMA_BENCH=path/to/llama-bench cargo bench -p scant-benches --bench engine
//! ```
//!
//! Without `SCANT_DATA` the embedded model runs alone. Rounds take all measurements in turn, so that whatever else the machine does falls on each
//! alike, and figures are medians over the rounds: tokens per second, and for decode its share of what the matrices alone would allow. With
//! `SCANT_LLAMA_BENCH` llama.cpp runs the same file within the same rounds. An argument filters by model; `--quick` makes 3 rounds of 11.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the table is the point")]

use ndarray::Array2;
use scant_benches::bandwidth;
use scant_benches::models::{Opened, all};
use scant_tensor_core::isa::Isa;
use scant_tensor_core::team::Team;
use scant_tensor_core::{Ctx, Mode, Workspace};
use scant_transformer::{Model, Options, Path, Session};
use std::collections::BTreeMap;
use std::error::Error;
use std::process::Command;
use std::time::Instant;

/// Tokens of a prompt, where the model's context has room for them and those behind.
const PROMPT: usize = 512;
/// Tokens decoded behind the prompt's first 16.
const DECODED: usize = 64;

/// Tokens per second, all rounds.
type Figures = BTreeMap<String, Vec<f64>>;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let rounds = if words.iter().any(|w| w == "--quick") { 3 } else { 11 };
    let filter: Vec<&String> = words.iter().filter(|w| !w.starts_with('-')).collect();
    let llama = std::env::var("SCANT_LLAMA_BENCH").ok();
    let memory = bandwidth::buffer(288 << 20);
    for opened in all()?.iter().filter(|o| filter.is_empty() || filter.iter().any(|f| o.name.contains(*f))) {
        let bytes = opened.model.footprint().total() as f64;
        println!("\n{}: {:.1} MB of matrices\n", opened.name, bytes / 1e6);
        println!(
            "{:<8} {:<6} {:>10} {:>12} {:>7} {:>11} {:>7} {:>9}",
            "threads", "mode", "decode/s", "matrices/s", "share", "of memory", "GB/s", "prefill/s"
        );
        for threads in [1, 2] {
            let team = Team::new(threads);
            let mut figures = Figures::new();
            let mut reads = vec![];
            for _ in 0..rounds {
                reads.push(bandwidth::read(Isa::best(), &team, &memory, 1));
                for mode in [Mode::Fast, Mode::Exact] {
                    measure(&opened.model, Ctx { isa: Isa::best(), mode, team: &team }, &mut figures)?;
                }
                if let Some(llama) = &llama
                    && opened.path.is_file()
                {
                    peer(llama, opened, threads, &mut figures)?;
                }
            }
            let reads = median(&mut reads);
            for who in ["fast", "exact", "llama.cpp"] {
                let mut figure = |what: &str| figures.get_mut(&format!("{who} {what}")).map(|f| median(f));
                let Some(decode) = figure("decode") else { continue };
                let matrices = figure("matrices").map_or([f64::NAN; 3], |m| [m, 100.0 * decode / m, m * bytes / 1e9]);
                println!(
                    "{threads:<8} {who:<9} {decode:>7.1} {:>12.1} {:>6.0}% {:>10.0}% {:>7.1} {:>9.0}",
                    matrices[0],
                    matrices[1],
                    100e9 * matrices[2] / reads,
                    matrices[2],
                    figure("prefill").unwrap_or(f64::NAN),
                );
            }
        }
    }
    Ok(())
}

/// One round of ours.
fn measure(model: &Model, ctx: Ctx<'_>, figures: &mut Figures) -> Result<(), Box<dyn Error>> {
    let config = model.config();
    let tokens: Vec<u32> = (0..PROMPT.min(config.context)).map(|i| (i * 7919 % config.vocabulary) as u32).collect();
    let path = if ctx.mode == Mode::Fast { Path::Panel } else { Path::Dense };
    let mut session = Session::new(model, ctx, Options { path, ..Options::default() })?;
    session.reserve(PROMPT);
    let mut note = |what: &str, tokens: usize, start: Instant| {
        figures.entry(format!("{} {what}", ctx.mode)).or_default().push(tokens as f64 / start.elapsed().as_secs_f64());
    };

    let start = Instant::now();
    session.prefill(&tokens)?;
    note("prefill", tokens.len(), start);

    session.truncate(0)?;
    session.prefill(&tokens[..16])?;
    let start = Instant::now();
    for token in tokens.iter().cycle().take(DECODED) {
        session.decode(*token)?;
    }
    note("decode", DECODED, start);

    let sites: Vec<_> = model.sites().map(|id| model.site(id)).collect();
    let mut buffers: Vec<_> = sites.iter().map(|s| (Array2::from_elem((1, s.inputs()), 0.5), Array2::zeros((1, s.outputs())))).collect();
    let mut ws = Workspace::default();
    let start = Instant::now();
    for _ in 0..DECODED {
        for (site, (x, y)) in sites.iter().zip(&mut buffers) {
            site.forward(&ctx, x.view(), &mut ws, y.view_mut())?;
        }
    }
    note("matrices", DECODED, start);
    Ok(())
}

/// One round of llama.cpp's own bench on the same file.
fn peer(program: &str, opened: &Opened, threads: usize, figures: &mut Figures) -> Result<(), Box<dyn Error>> {
    let numbers = [threads, PROMPT, DECODED].map(|n| n.to_string());
    let mut command = Command::new(program);
    command.arg("-m").arg(&opened.path).args(["-t", &numbers[0], "-p", &numbers[1], "-n", &numbers[2], "-r", "1", "-o", "csv"]);
    let out = command.output()?;
    let text = String::from_utf8(out.stdout)?;
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').map(|c| c.trim_matches('"')).collect()).collect();
    let column =
        |name: &str| rows.first().and_then(|head| head.iter().position(|c| *c == name)).ok_or(format!("{program}: no column {name}"));
    let (generated, speed) = (column("n_gen")?, column("avg_ts")?);
    for row in &rows[1..] {
        let what = if row[generated] == "0" { "prefill" } else { "decode" };
        figures.entry(format!("llama.cpp {what}")).or_default().push(row[speed].parse()?);
    }
    Ok(())
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
