//! Files of FAISS beside ours: those that its Python package writes are read here, ours are read there, and both find the same.

use crate::Result;
use ndarray::{Array2, ArrayView2};
use scant_pq_index::quantizer::QuantizerKind;
use scant_pq_index::{Index, IndexBuilder, Metric, RotationKind, SearchOptions, faiss};
use scant_tensor_core::retrieve::Hit;
use scant_tensor_core::rng::Rng;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = include_str!("faiss_side.py");
const DIM: usize = 24;
const ROWS: usize = 1000;
const QUERIES: usize = 20;
const K: usize = 10;
/// Of the largest score of a query.
const TOLERANCE: f32 = 1e-5;

pub(crate) fn run() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("scant-verify-faiss-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = both(&folder);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn both(folder: &Path) -> Result<()> {
    // Vectors around 40 centres, and queries near some of them.
    let mut rng = Rng::new(5);
    let centres = Array2::from_shape_simple_fn((40, DIM), || rng.normal());
    let mut near = |row: usize, spread: f32| centres.row(row % 40).mapv(|c| c + spread * rng.normal()).to_vec();
    let mut matrix = |rows: usize, spread: f32| {
        let values: Vec<f32> = (0..rows).flat_map(|row| near(row, spread)).collect();
        Array2::from_shape_vec((rows, DIM), values)
    };
    let (x, q) = (matrix(ROWS, 0.5)?, matrix(QUERIES, 0.6)?);
    for (name, values) in [("base", &x), ("queries", &q)] {
        std::fs::write(folder.join(name), values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())?;
    }
    python(folder, "make")?;
    let mut failed = theirs(folder, q.view())?;
    println!("   --- written here, searched by FAISS");
    failed += ours(folder, x.view(), q.view())?;
    if failed == 0 { Ok(()) } else { Err(format!("{failed} files are not understood alike").into()) }
}

fn python(folder: &Path, job: &str) -> Result<()> {
    let python = std::env::var("SCANT_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let arguments = [DIM.to_string(), K.to_string()];
    let run = Command::new(&python).arg("-c").arg(PROGRAM).arg(job).arg(folder).args(arguments).output();
    let output = run.map_err(|e| format!("SCANT_PYTHON: {python}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or("nothing");
    Err(format!("{python} with the packages faiss and numpy ({}): {last}", output.status).into())
}

/// Files with an ending, by name.
fn files(folder: &Path, ending: &str) -> Result<Vec<(String, PathBuf)>> {
    let mut files = vec![];
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if let (Some(stem), Some(true)) = (path.file_stem(), path.extension().map(|e| e == ending)) {
            files.push((stem.to_string_lossy().into_owned(), path));
        }
    }
    files.sort();
    Ok(files)
}

/// The neighbours that FAISS has found.
fn found(folder: &Path, name: &str) -> Result<Vec<Vec<Hit>>> {
    let ids = std::fs::read(folder.join(format!("{name}.ids")))?;
    let scores = std::fs::read(folder.join(format!("{name}.scores")))?;
    let ids = ids.as_chunks().0.iter().map(|b| u64::from_le_bytes(*b));
    let scores = scores.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b));
    let hits: Vec<Hit> = ids.zip(scores).map(|(id, score)| Hit { id, score }).collect();
    // Places that stay empty have the id -1.
    Ok(hits.chunks(hits.len() / QUERIES).map(|hits| hits.iter().copied().filter(|hit| hit.id != u64::MAX).collect()).collect())
}

/// Prints how far two lists of neighbours agree; true if they do but for ties.
fn compare(name: &str, kind: &str, got: &[Vec<Hit>], want: &[Vec<Hit>]) -> bool {
    let (mut same, mut all, mut far, mut ok) = (0, 0, 0.0f32, true);
    for (got, want) in got.iter().zip(want) {
        let largest = want.iter().fold(f32::MIN_POSITIVE, |most, hit| most.max(hit.score.abs()));
        let score: HashMap<u64, f32> = got.iter().map(|hit| (hit.id, hit.score)).collect();
        let last = want.last().map_or(0.0, |hit| hit.score);
        ok &= got.len() == want.len();
        for (got, want) in got.iter().zip(want) {
            // The same score at the same rank; and another id only where its score is the same, or it fell to just behind the last.
            let away = (got.score - want.score).abs() / largest;
            let of_id = score.get(&want.id).map_or((want.score - last).abs(), |score| (score - want.score).abs()) / largest;
            far = far.max(away).max(of_id);
            same += usize::from(got.id == want.id);
            all += 1;
        }
    }
    ok &= far <= TOLERANCE;
    println!(
        "   {name:30} {kind:4} {same:6} of {all:6} ids at the same rank, scores within {far:.1e}{}",
        if ok { "" } else { "   DIFFERS" }
    );
    ok
}

fn theirs(folder: &Path, q: ArrayView2<'_, f32>) -> Result<usize> {
    let mut failed = 0;
    for (name, path) in files(folder, "theirs")? {
        let want = found(folder, &name)?;
        let k = want.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let refined = name.contains("refined");
        let got = if refined {
            faiss::open_refined(&path).and_then(|refined| refined.search(q, k))
        } else {
            faiss::open(&path).and_then(|index| index.search(q, k, &SearchOptions::default()))
        };
        let kind = String::from_utf8_lossy(&std::fs::read(&path)?[..4]).into_owned();
        let agree = match got {
            Ok(mut got) if name.ends_with("RaBitQ1-l2") => {
                // What a single bit estimates below 0 is held at 0 there.
                got.iter_mut().flatten().for_each(|hit| hit.score = hit.score.max(0.0));
                compare(&name, &kind, &got, &want)
            }
            Ok(got) => compare(&name, &kind, &got, &want),
            Err(e) => {
                println!("   {name:30} {kind:4} FAILED: {e}");
                false
            }
        };
        failed += usize::from(!agree);
    }
    let bits = std::fs::read(folder.join("bits"))?;
    for (name, path) in files(folder, "bits")? {
        let read = faiss::open_binary(&path)?;
        let row = |id: u64| if name == "map" { ROWS - 1 - id as usize } else { id as usize };
        let size = DIM / 8;
        let same = read.ids.iter().zip(read.bits.chunks(size)).filter(|(id, b)| *b == &bits[row(**id) * size..][..size]).count();
        println!("   binary {name:23} {same} of {ROWS} vectors are the same");
        failed += usize::from(read.dim != DIM || read.ids.len() != ROWS || same != ROWS);
        let again = faiss::write_binary(&read)?;
        failed += usize::from(faiss::read_binary(&again)? != read);
    }
    for (name, path) in files(folder, "refused")? {
        match faiss::open(&path) {
            Ok(_) => {
                println!("   {name:30} READ, and should be refused");
                failed += 1;
            }
            Err(e) => println!("   {name:30} refused: {}", e.to_string().rsplit('/').next().unwrap_or_default()),
        }
    }
    Ok(failed)
}

fn ours(folder: &Path, x: ArrayView2<'_, f32>, q: ArrayView2<'_, f32>) -> Result<usize> {
    let mut want = HashMap::new();
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        for (name, builder) in builders(metric) {
            let name = format!("{name}-{metric}");
            let index = built(&builder, x)?;
            faiss::save(&index, folder.join(format!("{name}.ours")))?;
            want.insert(name, index.search(q, K, &SearchOptions::default())?);
        }
    }
    python(folder, "search")?;
    let mut failed = 0;
    for (name, path) in files(folder, "ours")? {
        let kind = String::from_utf8_lossy(&std::fs::read(&path)?[..4]).into_owned();
        failed += usize::from(!compare(&name, &kind, &found(folder, &name)?, &want[&name]));
    }
    Ok(failed)
}

/// With ids of its own, and some vectors removed.
fn built(builder: &IndexBuilder, x: ArrayView2<'_, f32>) -> Result<Index> {
    let mut trained = builder.train(&x)?;
    let ids: Vec<u64> = (0..ROWS as u64).map(|row| 3 * row + 100).collect();
    trained.add(&ids, x)?;
    let mut index = trained.finish();
    index.remove(&ids[..40])?;
    Ok(index)
}

fn builders(metric: Metric) -> Vec<(String, IndexBuilder)> {
    let new = || IndexBuilder::new(metric);
    let mut all = vec![
        ("flat".to_owned(), new()),
        ("lists-flat".to_owned(), new().lists(16).nprobe(4)),
        ("opq-PQ8x4".to_owned(), new().quantizer(QuantizerKind::Product { m: 8, bits: 4 }).rotation(RotationKind::Opq)),
        ("pca-lists-PQ8x8".to_owned(), new().quantizer(QuantizerKind::Product { m: 8, bits: 8 }).rotation(RotationKind::Pca).lists(16)),
        ("hadamard-SQ8".to_owned(), new().quantizer(QuantizerKind::Scalar { bits: 8 }).rotation(RotationKind::Hadamard)),
        ("random-lists-SQ4".to_owned(), new().quantizer(QuantizerKind::Scalar { bits: 4 }).rotation(RotationKind::Random).lists(9)),
    ];
    let product = |bits| (format!("PQ8x{bits}"), QuantizerKind::Product { m: 8, bits });
    let scalar = |bits| (format!("SQ{bits}"), QuantizerKind::Scalar { bits });
    for (name, quantizer) in [product(8), product(4), scalar(8), scalar(6), scalar(4)] {
        all.push((name.clone(), new().quantizer(quantizer)));
        all.push((format!("mean-{name}"), new().quantizer(quantizer).residual()));
        all.push((format!("lists-{name}"), new().quantizer(quantizer).lists(16).nprobe(4)));
        all.push((format!("residual-{name}"), new().quantizer(quantizer).lists(16).nprobe(4).residual()));
    }
    all
}
