//! How many bytes does a vector need? Recall, speed and size of several kinds of codes over the same vectors.
//!
//! ```text
//! cargo run --release -p scant-examples --example vector_search
//! cargo run --release -p scant-examples --example vector_search -- base.npy --queries query.npy --metric cosine --svg recall.svg
//! ```
//!
//! Without a file, the vectors are made here: clusters with a decaying spectrum, neither isolated blobs nor white noise.
#![expect(clippy::print_stdout, reason = "a program that prints a table")]

mod clustered;
mod configurations;

use clustered::Clustered;
use configurations::{Configuration, configurations};
use ndarray::{Array2, Axis};
use scant_examples::args::{Args, Opt};
use scant_examples::bar::Bar;
use scant_examples::program;
use scant_examples::svg::{Plot, Scale, Series};
use scant_examples::table::Table;
use scant_pq_index::source::{open, read_rows};
use scant_pq_index::{FullVectors, Index, Metric, Rerank, SearchOptions, exact};
use scant_tensor_core::retrieve::Hit;
use scant_tensor_core::rng::Rng;
use std::time::Instant;

const OPTIONS: &[Opt] = &[
    Opt { name: "queries", value: "FILE", help: "queries, npy or fvecs (default: rows taken out of the base)" },
    Opt { name: "metric", value: "METRIC", help: "l2 (the default), ip or cosine" },
    Opt { name: "rows", value: "N", help: "vectors (default 50000, or the whole file)" },
    Opt { name: "dim", value: "D", help: "dimensions of vectors made here (default 96)" },
    Opt { name: "count", value: "N", help: "queries taken out (default 500)" },
    Opt { name: "lists", value: "N", help: "lists of the inverted files (default: four times the root of the rows)" },
    Opt { name: "only", value: "TEXT", help: "only configurations whose name contains it" },
    Opt { name: "seed", value: "N", help: "the same seed gives the same table, but for the speed (default 1)" },
    Opt { name: "svg", value: "FILE", help: "also writes a plot of recall against speed" },
    Opt { name: "quick", value: "", help: "a short run, for checks" },
];

/// What is compared.
const K: usize = 10;

fn main() -> std::process::ExitCode {
    program::run(vector_search)
}

fn vector_search() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let args = Args::parse("vector_search [FILE]: recall, speed and size of codes over vectors of a npy, fvecs or bvecs file", OPTIONS);
    let metric: Metric = args.get("metric", Metric::L2)?;
    let seed = args.get("seed", 1)?;
    let quick = args.flag("quick");
    let count = args.get("count", if quick { 50 } else { 500 })?;
    let (base, queries) = vectors(&args, count, seed, quick)?;
    let (n, dim) = base.dim();
    println!("{n} vectors of {dim} dimensions, {} queries, {metric}, recall@{K}\n", queries.nrows());

    // The truth: every distance, in f32.
    let truth = exact(metric, base.view(), queries.view(), K)?;
    let lists = args.get("lists", (4.0 * (n as f64).sqrt()) as usize)?.clamp(1, n);
    let only = args.value("only").unwrap_or("");
    let chosen: Vec<Configuration> = configurations(metric, dim, n, lists).into_iter().filter(|c| c.name.contains(only)).collect();

    let mut table = Table::new(["codes", "recall", "queries/s", "bytes", "with ids", "trained s", "added s"]);
    let mut series = vec![];
    let bar = Bar::new("configurations");
    for (i, configuration) in chosen.iter().enumerate() {
        let start = Instant::now();
        let mut trained = configuration.builder.clone().seed(seed).train(&base)?;
        let trained_in = start.elapsed().as_secs_f64();
        let start = Instant::now();
        trained.add_source(&base)?;
        let added_in = start.elapsed().as_secs_f64();
        let index = trained.finish();
        let mut points = vec![];
        for stage in configuration.stages(&index) {
            let full = FullVectors::new(&base);
            let rerank = stage.candidates.map(|candidates| Rerank { reranker: &full, candidates });
            let options = SearchOptions { nprobe: stage.nprobe, rerank, ..Default::default() };
            let (recall, speed) = measure(&index, &queries, &truth, &options)?;
            let bytes = index.bytes_per_vector();
            let payload = bytes.codes + bytes.sides;
            let name = format!("{}{}", configuration.name, stage.name());
            table.row([
                name,
                format!("{recall:.3}"),
                format!("{speed:.0}"),
                format!("{payload:.1}"),
                format!("{:.1}", bytes.total()),
                format!("{trained_in:.2}"),
                format!("{added_in:.2}"),
            ]);
            points.push((recall, speed, stage.name()));
        }
        series.push(Series { name: configuration.name.clone(), points });
        scant_tensor_core::progress::Progress::step(&bar, i as u64 + 1, chosen.len() as u64, &configuration.name);
    }
    drop(bar);
    println!("{table}");
    println!("bytes: codes and the numbers beside them; with ids: all that grows with the number of vectors.");
    if let Some(path) = args.value("svg") {
        let plot = Plot {
            title: format!("{n} vectors of {dim} dimensions, {metric}"),
            x: format!("recall@{K}"),
            y: "queries a second".to_owned(),
            scales: (Scale::Linear, Scale::Log),
            series,
        };
        std::fs::write(path, plot.svg()).map_err(|e| format!("{path}: {e}"))?;
    }
    Ok(())
}

/// The base and the queries.
fn vectors(
    args: &Args,
    count: usize,
    seed: u64,
    quick: bool,
) -> Result<(Array2<f32>, Array2<f32>), Box<dyn std::error::Error + Send + Sync>> {
    let Some(path) = args.word()? else {
        let n = args.get("rows", if quick { 3000 } else { 50_000 })?;
        let clusters = Clustered::new(args.get("dim", 96)?, 7);
        return Ok((clusters.rows(n, seed), clusters.rows(count, seed + 1)));
    };
    let source = open(path)?;
    let all = read_rows(&*source, 0..source.len())?;
    let rows = args.get("rows", all.nrows())?;
    if let Some(path) = args.value("queries") {
        let source = open(path)?;
        let queries = read_rows(&*source, 0..source.len().min(count))?;
        return Ok((all.slice_axis(Axis(0), (0..rows.min(all.nrows())).into()).to_owned(), queries));
    }
    // Queries are drawn over the whole file, since files are often sorted, and taken out of the base.
    if all.nrows() <= count {
        return Err(format!("{path}: {} rows are too few to take {count} queries out of", all.nrows()).into());
    }
    let mut order: Vec<usize> = (0..all.nrows()).collect();
    Rng::new(seed).shuffle(&mut order);
    let queries = all.select(Axis(0), &order[..count]);
    let end = count.saturating_add(rows).min(order.len());
    Ok((all.select(Axis(0), &order[count..end]), queries))
}

/// Recall@k, and queries a second of the fastest of three runs over all queries.
fn measure(
    index: &Index,
    queries: &Array2<f32>,
    truth: &Array2<u64>,
    options: &SearchOptions<'_>,
) -> Result<(f64, f64), scant_pq_index::Error> {
    let mut best = f64::INFINITY;
    let mut hits: Vec<Vec<Hit>> = vec![];
    for _ in 0..3 {
        let start = Instant::now();
        hits = index.search(queries.view(), K, options)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    let found = |(hits, truth): (&Vec<Hit>, ndarray::ArrayView1<'_, u64>)| hits.iter().filter(|h| truth.iter().any(|t| *t == h.id)).count();
    let found: usize = hits.iter().zip(truth.rows()).map(found).sum();
    Ok((found as f64 / truth.len().max(1) as f64, queries.nrows() as f64 / best))
}
