//! Ten million vectors on disk become an index, and are searched, in little memory.

#[path = "../vector_search/clustered.rs"]
mod clustered;

use crate::Result;
use crate::cost::peak_bytes;
use clustered::Clustered;
use ndarray::{Array2, Axis};
use scant_examples::bar::Bar;
use scant_pq_index::quantizer::QuantizerKind;
use scant_pq_index::source::{VectorSource, open, read_rows};
use scant_pq_index::{Index, IndexBuilder, Metric, SearchOptions, exact};
use scant_tensor_core::progress::Progress;
use scant_tensor_core::retrieve::{Hit, Order, merge};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

const ROWS: usize = 10_000_000;
/// Rows that are compared with an index built from memory.
const SOME: usize = 1_000_000;
const DIM: usize = 128;
const PART: usize = 100_000;
const QUERIES: usize = 200;
const K: usize = 10;
const NPROBE: usize = 32;
const MOST_BYTES: u64 = 3 << 30;
const MOST_SECONDS: f64 = 600.0;

pub(crate) fn run() -> Result<()> {
    let file = Temporary::new();
    let clusters = Clustered::new(DIM, 7);
    write(&clusters, &file.0)?;
    let source = open(&file.0)?;
    let query = clusters.rows(QUERIES, 2);

    // Of the file and of memory: the same bytes.
    let memory = read_rows(&*source, 0..SOME)?;
    let (a, b) = (build(&First(&*source), 1024)?, build(&memory, 1024)?);
    if a.to_bytes()?[..] != b.to_bytes()?[..] {
        return Err(format!("the indexes of {SOME} vectors from a file and from memory differ").into());
    }
    drop((a, b, memory));

    let start = Instant::now();
    let index = build(&*source, 4096)?;
    let seconds = start.elapsed().as_secs_f64();
    let options = SearchOptions { nprobe: Some(NPROBE), ..Default::default() };
    let start = Instant::now();
    let found = index.search(query.view(), K, &options)?;
    let rate = QUERIES as f64 / start.elapsed().as_secs_f64();
    let peak = peak_bytes()?;
    let recall = recall(&*source, &query, &found)?;
    let per = index.bytes_per_vector();
    println!(
        "   {ROWS} x {DIM}, IVF4096/PQ16, {:.1} bytes a vector: built in {seconds:.0} s with {} threads, peak memory {:.2} GiB; recall@10 at nprobe {NPROBE} \
         {recall:.4}, {rate:.0} queries/s",
        per.total(),
        std::thread::available_parallelism()?,
        peak as f64 / (1u64 << 30) as f64,
    );
    if peak > MOST_BYTES {
        return Err(format!("peak memory was {peak} bytes, at most {MOST_BYTES} are stated").into());
    }
    if seconds > MOST_SECONDS {
        return Err(format!("building took {seconds:.0} s, at most {MOST_SECONDS:.0} s are stated").into());
    }
    Ok(())
}

fn build(source: &dyn VectorSource, lists: usize) -> Result<Index> {
    let builder = IndexBuilder::new(Metric::L2).lists(lists).quantizer(QuantizerKind::Product { m: 16, bits: 8 });
    let mut trained = builder.train(source)?;
    trained.add_source_with(source, 0, &Bar::new(format!("adding to {lists} lists")))?;
    Ok(trained.finish())
}

fn write(clusters: &Clustered, path: &Path) -> Result<()> {
    let bar = Bar::new("writing vectors");
    let mut out = BufWriter::new(std::fs::File::create(path)?);
    for part in 0..ROWS / PART {
        for row in clusters.rows(PART, 1000 + part as u64).rows() {
            out.write_all(&(DIM as i32).to_le_bytes())?;
            row.iter().try_for_each(|v| out.write_all(&v.to_le_bytes()))?;
        }
        bar.step(((part + 1) * PART) as u64, ROWS as u64, "vectors");
    }
    Ok(out.flush()?)
}

/// Against all distances, a part of the file at a time.
fn recall(source: &dyn VectorSource, query: &Array2<f32>, found: &[Vec<Hit>]) -> Result<f64> {
    let mut best: Vec<Vec<Hit>> = vec![vec![]; query.nrows()];
    for begin in (0..ROWS).step_by(PART) {
        let x = read_rows(source, begin..begin + PART)?;
        let near = exact(Metric::L2, x.view(), query.view(), K)?;
        for ((best, near), q) in best.iter_mut().zip(near.axis_iter(Axis(0))).zip(query.rows()) {
            let distance = |row: u64| (&x.row(row as usize) - &q).mapv(|d| d * d).sum();
            let part: Vec<Hit> = near.iter().map(|row| Hit { id: begin as u64 + row, score: distance(*row) }).collect();
            *best = merge([&best[..], &part], K, Order::SmallerFirst);
        }
    }
    let hits = |(found, best): (&Vec<Hit>, &Vec<Hit>)| found.iter().filter(|hit| best.iter().any(|b| b.id == hit.id)).count();
    Ok(found.iter().zip(&best).map(hits).sum::<usize>() as f64 / (K * best.len()) as f64)
}

/// The first rows of a source.
struct First<'a>(&'a dyn VectorSource);

impl VectorSource for First<'_> {
    fn len(&self) -> usize {
        SOME
    }

    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn read(&self, rows: std::ops::Range<usize>, out: ndarray::ArrayViewMut2<'_, f32>) -> std::result::Result<(), scant_pq_index::Error> {
        self.0.read(rows, out)
    }
}

/// A file that goes away with it.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Temporary {
        Temporary(std::env::temp_dir().join(format!("scant-ten-million-{}.fvecs", std::process::id())))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = std::fs::remove_file(&self.0);
    }
}
