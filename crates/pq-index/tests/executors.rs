//! Shards in child processes find what one index finds, also when a process dies. A program of its own, which is its workers too.
#![expect(clippy::print_stdout, reason = "a test program says what it did")]

use ndarray::{Array2, s};
use scant_pq_index::executor::{Processes, Task, Tree, search, serve};
use scant_pq_index::quantizer::QuantizerKind;
use scant_pq_index::{Error, IndexBuilder, Metric, SearchOptions, Shards};
use scant_tensor_core::retrieve::{Column, Columns, Filter, Value};
use std::io::Read;
use std::path::Path;
use std::process::Command;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn worker(mode: &'static str) -> impl Fn() -> Command + Send + Sync + 'static {
    move || {
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.arg(mode);
        command
    }
}

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("worker") => return Ok(serve(std::io::stdin().lock(), std::io::stdout().lock())?),
        // Opens its shard and dies of the first task.
        Some("mortal") => {
            let mut input = std::io::stdin().lock();
            let mut first = [0; 4];
            input.read_exact(&mut first)?;
            let mut path = vec![0; u32::from_le_bytes(first) as usize];
            input.read_exact(&mut path)?;
            return Ok(serve(&[&first[..], &path].concat()[..], std::io::stdout().lock())?);
        }
        _ => {}
    }
    let folder = std::env::temp_dir().join(format!("scant-executors-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let done = check(&folder);
    std::fs::remove_dir_all(&folder)?;
    done?;
    println!("test result: ok. 1 passed; 0 failed");
    Ok(())
}

fn check(folder: &Path) -> Result<()> {
    let x = Array2::from_shape_fn((900, 12), |(i, j)| ((i * (j + 2)) as f32).sin() + (i % 7) as f32);
    let builder = IndexBuilder::new(Metric::L2).quantizer(QuantizerKind::Product { m: 6, bits: 8 }).lists(8);
    let trained = builder.train(&x)?;
    let columns = |rows: std::ops::Range<usize>| Columns::from([("year", Column::I64(rows.map(|i| 2000 + i as i64 % 20).collect()))]);
    let mut files = vec![];
    let mut parts = vec![];
    for rows in [0..300, 300..500, 500..900] {
        let mut part = trained.clone();
        let ids: Vec<u64> = rows.clone().map(|row| row as u64).collect();
        part.add_with(&ids, x.slice(s![rows.clone(), ..]), &columns(rows)?)?;
        let part = part.finish();
        files.push(folder.join(format!("{}.safetensors", files.len())));
        part.save(&files[files.len() - 1])?;
        parts.push(part);
    }
    let mut whole = trained.clone();
    whole.add_with(&(0..900).collect::<Vec<_>>(), x.view(), &columns(0..900)?)?;
    let whole = whole.finish();

    let filter = Filter::And(vec![Filter::at_least("year", Value::I64(2005)), Filter::Not(Box::new(Filter::Ids([3, 700].into())))]);
    let task = Task { nprobe: Some(3), filter: Some(filter.clone()), ..Task::new(x.slice(s![..9, ..]).to_owned(), 7) };
    assert_eq!(Task::from_bytes(&task.to_bytes()?)?, task);
    // A filter reads more lists until it has enough rows, which each shard decides alone: all lists make them agree.
    let task = Task { nprobe: Some(8), ..task };
    let want = whole.search(task.queries.view(), 7, &SearchOptions { nprobe: Some(8), filter: Some(&filter), ..Default::default() })?;
    let shards = Shards::new(parts)?;
    assert_eq!(search(&shards, &task)?, want);

    let workers = Processes::start(&files, worker("worker"))?;
    assert_eq!(search(&workers, &task)?, want);
    assert_eq!(search(&workers, &task)?, want);
    let counts = workers.counts();
    assert_eq!((counts.starts, counts.warm), (3, 6));

    // A process that was killed is started again.
    let id = workers.ids()[1].expect("it runs");
    assert!(Command::new("kill").args(["-9", &id.to_string()]).status()?.success());
    assert_eq!(search(&workers, &task)?, want);
    assert_eq!(workers.counts().starts, 4);

    // A tree of 20 nodes, most of which have one query or none, also when a process is killed under it; warm workers read nothing again.
    let tree = Tree::new(4, 2)?;
    assert_eq!(tree.search(&shards, &task)?, want);
    assert_eq!(tree.search(&workers, &task)?, want);
    assert_eq!(workers.counts().starts, 4);
    let id = workers.ids()[2].expect("it runs");
    assert!(Command::new("kill").args(["-9", &id.to_string()]).status()?.success());
    assert_eq!(tree.search(&workers, &task)?, want);
    assert_eq!(workers.counts().starts, 5);

    // One that dies of every task is an error, after a second try.
    let mortal = Processes::start(&files[..1], worker("mortal"))?;
    let error = search(&mortal, &task).expect_err("nobody answers");
    assert!(matches!(error, Error::Worker { .. }) && error.to_string().contains("0.safetensors"), "{error}");
    assert_eq!(mortal.counts().starts, 2);
    let error = tree.search(&mortal, &task).expect_err("nobody answers").to_string();
    assert!(error.contains("0.safetensors"), "{error}");

    // What a shard says of a task, and of its file.
    let short = Task::new(Array2::zeros((1, 5)), 3);
    let error = search(&workers, &short).expect_err("5 dimensions").to_string();
    assert!(error.contains("12") && error.contains('5'), "{error}");
    std::fs::write(&files[0], b"not an index")?;
    assert!(matches!(Processes::start(&files, worker("worker")), Err(Error::Worker { .. })));
    assert!(matches!(Processes::start(&files, || Command::new("/no/such/program")), Err(Error::Worker { .. })));
    assert!(Processes::start::<&Path>([], worker("worker")).is_err());

    // Another quantizer than the first's.
    let mut other = IndexBuilder::new(Metric::L2).quantizer(QuantizerKind::Product { m: 4, bits: 8 }).train(&x)?;
    other.add(&[1], x.slice(s![..1, ..]))?;
    other.finish().save(&files[0])?;
    assert!(matches!(Processes::start(&files, worker("worker")), Err(Error::QuantizerMismatch { .. })));

    // Damaged messages.
    let bytes = task.to_bytes()?;
    for len in 0..bytes.len() {
        assert!(Task::from_bytes(&bytes[..len]).is_err(), "{len} bytes");
    }
    assert!(Task { filter: Some(Filter::Rows(Default::default())), ..task }.to_bytes().is_err());
    Ok(())
}
