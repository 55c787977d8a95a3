//! Whole searches beside faiss-cpu and turbovec, in turn: queries per CPU second of one thread, recall, training and adding.
//!
//! ```text
//! SCANT_PYTHON=python3 cargo bench -p scant-benches --bench search [-- FOLDER] [-- WORDS]
//! ```
//!
//! `FOLDER` holds `base.npy` and `query.npy`; without it, 200,000 clustered vectors of 128 dimensions are made. `SCANT_PYTHON` names an interpreter
//! with numpy, faiss-cpu and turbovec; without it, ours is timed alone. Words filter by name; `ip` takes the inner product.
#![expect(clippy::print_stdout, reason = "a program that prints figures")]

#[path = "../../examples/examples/vector_search/clustered.rs"]
mod clustered;

use clustered::Clustered;
use ndarray::{Array2, Axis};
use scant_pq_index::quantizer::{Levels, QuantizerKind};
use scant_pq_index::source::{open, read_rows};
use scant_pq_index::{Index, IndexBuilder, Metric, RotationKind, SearchOptions, exact};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const K: usize = 10;
const ROUNDS: usize = 5;
const SINGLE: usize = 50;

/// A name, ours, theirs (with `@nprobe`), lists to read.
fn pairs(metric: Metric, dim: usize) -> Vec<(String, IndexBuilder, String, usize)> {
    let b = |q| IndexBuilder::new(metric).quantizer(q);
    let product = |m, bits| QuantizerKind::Product { m, bits };
    let mut pairs = vec![];
    for m in [dim / 8, dim / 4, dim / 2] {
        pairs.push((format!("pq{m}x8"), b(product(m, 8)), format!("PQ{m}"), 1));
    }
    for m in [dim / 8, dim / 4, dim / 2] {
        pairs.push((format!("pq{m}x4"), b(product(m, 4)), format!("PQ{m}x4fs"), 1));
    }
    pairs.push((format!("pq{}x4+factor", dim / 4), b(product(dim / 4, 4)).norm_factor(), format!("PQ{}x4fs", dim / 4), 1));
    pairs.push(("sq8".to_owned(), b(QuantizerKind::Scalar { bits: 8 }), "SQ8".to_owned(), 1));
    for bits in [1, 2, 4] {
        let ours = b(QuantizerKind::Rotated { bits, levels: Levels::LloydMax }).rotation(RotationKind::Hadamard).residual();
        let name = if bits == 1 { "RaBitQ".to_owned() } else { format!("RaBitQ{bits}") };
        pairs.push((format!("rotated{bits}"), ours.clone(), name, 1));
        if bits > 1 && metric != Metric::L2 {
            pairs.push((format!("rotated{bits}-turbovec"), ours, format!("turbovec{bits}"), 1));
        }
    }
    for nprobe in [4, 16, 64] {
        let ours = b(QuantizerKind::Scalar { bits: 8 }).lists(1024);
        pairs.push((format!("ivf1024-sq8@{nprobe}"), ours, format!("IVF1024,SQ8@{nprobe}"), nprobe));
    }
    pairs
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let folder = args.iter().map(PathBuf::from).find(|a| a.join("base.npy").exists());
    let words: Vec<&String> = args.iter().filter(|a| *a != "ip" && Some(Path::new(a)) != folder.as_deref()).collect();
    let metric = if args.iter().any(|a| a == "ip") { Metric::InnerProduct } else { Metric::L2 };
    let (base, query) = match &folder {
        Some(folder) => {
            let rows = |name: &str| -> Result<Array2<f32>> {
                let source = open(folder.join(name))?;
                Ok(read_rows(&*source, 0..source.len())?)
            };
            (rows("base.npy")?, rows("query.npy")?)
        }
        None => {
            let clusters = Clustered::new(128, 7);
            (clusters.rows(200_000, 1), clusters.rows(1000, 2))
        }
    };
    let query = query.slice_axis(Axis(0), (..query.nrows().min(1000)).into()).to_owned();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    pool.install(|| compare(metric, &base, &query, &words))
}

fn compare(metric: Metric, base: &Array2<f32>, query: &Array2<f32>, words: &[&String]) -> Result<()> {
    println!(
        "{} vectors of {} dimensions, {} queries, {metric}, k = {K}, one thread; medians of {ROUNDS} rounds in turn",
        base.nrows(),
        base.ncols(),
        query.nrows()
    );
    println!("{:24} {:>7} {:>9} {:>9} {:>7} {:>10} {:>8}", "", "recall", "batch/s", "single/s", "train s", "add/s", "bytes");
    let truth = exact(metric, base.view(), query.view(), K)?;
    let mut other = std::env::var("SCANT_PYTHON").ok().map(|python| Peer::start(&python, metric, base, query)).transpose()?;
    let recall = |found: &dyn Fn(usize, u64) -> bool| {
        let hits: usize = truth.outer_iter().enumerate().map(|(i, row)| row.iter().filter(|id| found(i, **id)).count()).sum();
        hits as f64 / truth.len() as f64
    };
    for (name, builder, theirs, nprobe) in pairs(metric, base.ncols()) {
        if !words.iter().all(|w| name.contains(w.as_str())) {
            continue;
        }
        let start = Instant::now();
        let mut trained = builder.train(base)?;
        let train = start.elapsed().as_secs_f64();
        let start = Instant::now();
        trained.add_source(base)?;
        let add = base.nrows() as f64 / start.elapsed().as_secs_f64();
        let index = trained.finish();
        let built = other.as_mut().map(|o| o.build(&theirs)).transpose()?;
        let (mut ours, mut beside) = ([vec![], vec![]], [vec![], vec![]]);
        for _ in 0..ROUNDS {
            let [batch, single] = time(&index, query, nprobe)?;
            ours[0].push(batch);
            ours[1].push(single);
            if let Some(other) = &mut other {
                beside[0].push(query.nrows() as f64 / other.seconds("batch")?);
                beside[1].push(SINGLE as f64 / other.seconds(&format!("single {SINGLE}"))?);
            }
        }
        let options = SearchOptions { nprobe: Some(nprobe), ..Default::default() };
        let hits = index.search(query.view(), K, &options)?;
        let r = recall(&|i, id| hits[i].iter().any(|h| h.id == id));
        let per = index.bytes_per_vector();
        let [batch, single] = ours.map(median);
        println!("{name:24} {r:7.4} {batch:9.0} {single:9.0} {train:7.2} {add:10.0} {:8.1}", per.codes + per.sides);
        if let (Some(other), Some([their_train, their_add, bytes])) = (&mut other, built) {
            let found = other.found()?;
            let r = recall(&|i, id| found[i * K..][..K].contains(&(id as i64)));
            let [their_batch, their_single] = beside.map(median);
            let their_add = base.nrows() as f64 / their_add;
            println!("  {theirs:22} {r:7.4} {their_batch:9.0} {their_single:9.0} {their_train:7.2} {their_add:10.0} {bytes:8.1}");
            println!(
                "  {:22} {:7} {:9.2} {:9.2} {:7.2} {:10.2}",
                "ours over theirs",
                "",
                batch / their_batch,
                single / their_single,
                their_train / train,
                add / their_add
            );
        }
    }
    Ok(())
}

/// Queries a second, all at once and one by one.
fn time(index: &Index, query: &Array2<f32>, nprobe: usize) -> Result<[f64; 2]> {
    let options = SearchOptions { nprobe: Some(nprobe), ..Default::default() };
    let start = Instant::now();
    std::hint::black_box(index.search(query.view(), K, &options)?);
    let batch = query.nrows() as f64 / start.elapsed().as_secs_f64();
    let start = Instant::now();
    for row in query.rows().into_iter().take(SINGLE) {
        std::hint::black_box(index.search(row.insert_axis(Axis(0)), K, &options)?);
    }
    Ok([batch, SINGLE as f64 / start.elapsed().as_secs_f64()])
}

fn median(mut x: Vec<f64>) -> f64 {
    x.sort_by(f64::total_cmp);
    x.get(x.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A child process that holds other indexes.
struct Peer {
    child: Child,
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
    folder: PathBuf,
}

impl Peer {
    fn start(python: &str, metric: Metric, base: &Array2<f32>, query: &Array2<f32>) -> Result<Peer> {
        let folder = std::env::temp_dir().join(format!("scant-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        for (name, rows) in [("base", base), ("query", query)] {
            std::fs::write(folder.join(name), bytemuck::cast_slice(rows.as_slice().ok_or("rows in order")?))?;
        }
        let mut command = Command::new(python);
        command.arg("-c").arg(include_str!("search.py")).args([folder.join("base"), folder.join("query")]);
        command.args([base.ncols().to_string(), metric.to_string(), K.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (ask, answer) = (child.stdin.take().ok_or("no input")?, BufReader::new(child.stdout.take().ok_or("no output")?));
        Ok(Peer { child, ask, answer, folder })
    }

    fn numbers<T: std::str::FromStr>(&mut self, ask: &str) -> Result<Vec<T>> {
        writeln!(self.ask, "{ask}")?;
        let mut line = String::new();
        self.answer.read_line(&mut line)?;
        line.split_whitespace().map(|w| w.parse().map_err(|_| format!("`{ask}` was answered by `{line}`").into())).collect()
    }

    /// Seconds of training and adding, bytes of a vector.
    fn build(&mut self, kind: &str) -> Result<[f64; 3]> {
        self.numbers(&format!("build {kind}"))?.try_into().map_err(|_| format!("{kind} was not built").into())
    }

    fn seconds(&mut self, ask: &str) -> Result<f64> {
        Ok(*self.numbers(ask)?.first().ok_or("the interpreter gave no answer")?)
    }

    fn found(&mut self) -> Result<Vec<i64>> {
        self.numbers("found")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
