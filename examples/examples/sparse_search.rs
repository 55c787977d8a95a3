//! Learned sparse search over your own vectors: exact, by cuts, and what each costs.
//!
//! ```text
//! cargo run --release -p scant-examples --example sparse_search                                    # documents it makes up
//! cargo run --release -p scant-examples --example sparse_search -- documents.jsonl queries.jsonl
//! cargo run --release -p scant-examples --example sparse_search -- generate:300000 queries.jsonl   # documents made from the queries
//! ```
//!
//! A line is `{"id": 7, "vector": {"1012": 0.5, "2054": 1.25}}`, with term numbers as names. With `generate:N` the odd lines of the queries are
//! the seeds of N documents, and 300 of the even ones are searched for.
#![expect(clippy::print_stdout, reason = "a program that prints what it finds")]

use scant_sparse_index::{Effort, Generator, Index, IndexBuilder, SearchOptions, Vectors, Workspace, read_json_lines};
use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::time::Instant;

const K: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (ids, documents, queries) = match &args[..] {
        [] => made_up(20_000)?,
        [n, queries] if n.starts_with("generate:") => {
            let n = n["generate:".len()..].parse()?;
            from_queries(&read(queries)?.1, n)?
        }
        [documents, queries] => {
            let (ids, documents) = read(documents)?;
            (ids, documents, read(queries)?.1)
        }
        _ => return Err("give documents and queries, or nothing".into()),
    };
    describe(&documents, &queries);

    let start = Instant::now();
    let mut index = IndexBuilder::new().build(&ids, &documents)?;
    let n = ids.len() as f64;
    let bytes = index.footprint();
    println!("built in {:.2} s; {} entries fell below half a step", start.elapsed().as_secs_f64(), index.dropped());
    println!(
        "bytes a document: {:.0} postings ({:.2} a posting), {:.0} vectors ({:.2} a term), {:.1} terms, {:.1} ids",
        bytes.postings as f64 / n,
        bytes.postings as f64 / index.postings() as f64,
        bytes.forward as f64 / n,
        bytes.forward as f64 / index.postings() as f64,
        bytes.terms as f64 / n,
        bytes.ids as f64 / n
    );

    let (exact, time) = search(&index, &queries, Effort::Exact)?;
    println!("exact: {time:.0} µs a query on one thread");
    println!("dense accumulator over the same vectors, plainly: {:.0} µs", plain(&documents, &queries));
    for terms in [8, 12, 16, 24] {
        for candidates in [50, 100] {
            let (found, time) = search(&index, &queries, Effort::Cut { terms, candidates })?;
            println!("{terms} terms, {candidates} candidates: recall {:.4}, {time:.0} µs", recall(&found, &exact));
        }
    }
    // The knob: set on one half of the queries, looked at on the other.
    let (mut sample, mut rest) = (Vectors::new(), Vectors::new());
    for (i, q) in queries.iter().enumerate() {
        if i % 2 == 0 { sample.push(q)? } else { rest.push(q)? }
    }
    index.calibrate(&sample, K)?;
    let (exact, _) = search(&index, &rest, Effort::Exact)?;
    for want in [0.9, 0.95, 0.98] {
        let (found, time) = search(&index, &rest, Effort::Recall(want))?;
        println!("recall {want} asked for: {:.4}, {time:.0} µs", recall(&found, &exact));
    }
    Ok(())
}

fn read(path: &str) -> Result<(Vec<u64>, Vectors), Box<dyn Error>> {
    let file = File::open(path).map_err(|e| format!("{path}: {e}"))?;
    Ok(read_json_lines(BufReader::new(file), |name| name.parse().ok())?)
}

/// Topics of our own, and documents made of them.
fn made_up(n: u64) -> Result<(Vec<u64>, Vectors, Vectors), Box<dyn Error>> {
    let mut topics = Vectors::new();
    for i in 0..1_200u32 {
        let mut terms: Vec<(u32, f32)> =
            (0..24).map(|j| (1_000 + (i * (j + 3) * 7 + j * j * j * 11) % 9_000, 1.0 + (j % 7) as f32)).collect();
        terms.sort_by_key(|(term, _)| *term);
        terms.dedup_by_key(|(term, _)| *term);
        topics.push_unsorted(&terms)?;
    }
    from_queries(&topics, n)
}

fn from_queries(all: &Vectors, n: u64) -> Result<(Vec<u64>, Vectors, Vectors), Box<dyn Error>> {
    let (mut seeds, mut queries) = (Vectors::new(), Vectors::new());
    (0..all.len()).filter(|i| i % 2 == 1).try_for_each(|i| seeds.push(all.get(i)))?;
    (0..300).map(|i| 2 * (i * seeds.len() / 300)).try_for_each(|i| queries.push(all.get(i)))?;
    let generator = Generator::new(&seeds, all.vocabulary().max(30_522), 7)?;
    Ok(((0..n).collect(), generator.documents(0..n), queries))
}

/// What decides about speed: lengths, shared terms, frequent terms.
fn describe(documents: &Vectors, queries: &Vectors) {
    let n = documents.len() as f64;
    let mean = documents.entries() as f64 / n;
    let deviation = (documents.iter().map(|d| (d.len() as f64 - mean).powi(2)).sum::<f64>() / n).sqrt();
    let mut df = vec![0u64; documents.vocabulary().max(queries.vocabulary())];
    documents.iter().flat_map(|d| d.terms()).for_each(|term| df[*term as usize] += 1);
    let touched: u64 = queries.iter().flat_map(|q| q.terms()).map(|term| df[*term as usize]).sum();
    let shared = touched as f64 / queries.len() as f64 / n;
    df.sort_unstable_by_key(|df| std::cmp::Reverse(*df));
    let share = |rank: usize| df.get(rank - 1).map_or(0.0, |df| *df as f64 / n);
    let long = queries.entries() as f64 / queries.len() as f64;
    println!(
        "{n} documents of {mean:.1} terms (deviation {deviation:.1}); {} queries of {long:.1}, {shared:.3} terms in common",
        queries.len()
    );
    println!("a term of rank 1/10/100/1000 is in {:.3}/{:.3}/{:.3}/{:.4} of them", share(1), share(10), share(100), share(1_000));
}

/// For each query the ids found.
type Found = Vec<Vec<u64>>;

/// Ids found, and microseconds a query: the best of three rounds.
fn search(index: &Index, queries: &Vectors, effort: Effort) -> Result<(Found, f64), Box<dyn Error>> {
    let options = SearchOptions { effort, ..Default::default() };
    let mut workspace = Workspace::default();
    let (mut best, mut found) = (f64::INFINITY, vec![]);
    for _ in 0..3 {
        let start = Instant::now();
        found = vec![];
        for q in queries.iter() {
            let hits = index.search_in(q, K, &options, &mut workspace)?;
            found.push(hits.into_iter().map(|hit| hit.id).collect());
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / queries.len() as f64);
    }
    Ok((found, best))
}

/// The plain way: lists of documents and weights, and one sum for each document.
fn plain(documents: &Vectors, queries: &Vectors) -> f64 {
    let mut lists: Vec<Vec<(u32, f32)>> = vec![vec![]; documents.vocabulary().max(queries.vocabulary())];
    for (d, row) in documents.iter().zip(0..) {
        d.iter().for_each(|(term, weight)| lists[term as usize].push((row, weight)));
    }
    let mut sums = vec![0f32; documents.len()];
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let start = Instant::now();
        for q in queries.iter() {
            for (term, weight) in q.iter() {
                lists[term as usize].iter().for_each(|(row, w)| sums[*row as usize] += weight * w);
            }
            let mut top = scant_tensor_core::retrieve::TopK::new(K);
            for (sum, row) in sums.iter_mut().zip(0..) {
                if *sum > 0.0 {
                    top.push(-*sum, row);
                    *sum = 0.0;
                }
            }
            std::hint::black_box(top.into_sorted());
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / queries.len() as f64);
    }
    best
}

fn recall(found: &[Vec<u64>], exact: &[Vec<u64>]) -> f64 {
    let same: usize = found.iter().zip(exact).map(|(found, exact)| exact.iter().filter(|id| found.contains(id)).count()).sum();
    same as f64 / exact.iter().map(Vec::len).sum::<usize>() as f64
}
