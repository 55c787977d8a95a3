//! Changes are kept, whole and in order, whatever kills the process; searches beside a writer see no half of one.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use ndarray::{Array2, Axis, s};
use scant_pq_index::quantizer::QuantizerKind;
use scant_pq_index::{Error, Index, IndexBuilder, LiveIndex, Metric, SearchOptions, Trained};
use scant_tensor_core::retrieve::{Column, Columns, Filter, Hit, Value};
use scant_tensor_core::rng::Rng;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

const DIM: usize = 6;

fn vectors(n: usize, seed: u64) -> Array2<f32> {
    let mut rng = Rng::new(seed);
    Array2::from_shape_simple_fn((n, DIM), || rng.normal())
}

fn trained(lists: usize) -> Trained {
    IndexBuilder::new(Metric::L2).quantizer(QuantizerKind::Scalar { bits: 8 }).lists(lists).train(&vectors(300, 1)).unwrap()
}

/// A folder of the test's own, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("scant-live-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("vectors.index")
    }

    fn journal(&self) -> PathBuf {
        self.0.join("vectors.index.journal")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn everything<'a>() -> SearchOptions<'a> {
    SearchOptions { nprobe: Some(usize::MAX), ..Default::default() }
}

/// All there is, as searches for a few queries see it.
fn seen(live: &LiveIndex) -> Vec<Vec<Hit>> {
    live.search(vectors(4, 99).view(), 10_000, &everything()).unwrap()
}

fn seen_in(index: &Index) -> Vec<Vec<Hit>> {
    index.search(vectors(4, 99).view(), 10_000, &everything()).unwrap()
}

/// A seeded history of changes on both an index that is simply changed and one that is journalled.
fn history(live: &LiveIndex, plain: &mut Index, steps: usize, mut after: impl FnMut(usize, &mut Index)) {
    let mut rng = Rng::new(7);
    let mut ids: Vec<u64> = vec![];
    let mut next = 0;
    for step in 0..steps {
        let count = 1 + rng.below(5);
        let x = vectors(count, 1000 + step as u64);
        match rng.below(4) {
            0 if ids.len() > 10 => {
                rng.shuffle(&mut ids);
                let gone = ids.split_off(ids.len() - count);
                live.remove(&gone).unwrap();
                plain.remove(&gone).unwrap();
            }
            1 if ids.len() > 10 => {
                rng.shuffle(&mut ids);
                live.update(&ids[..count], x.view()).unwrap();
                plain.update(&ids[..count], x.view()).unwrap();
            }
            _ => {
                let new: Vec<u64> = (next..next + count as u64).collect();
                next += count as u64;
                live.add(&new, x.view()).unwrap();
                plain.add(&new, x.view()).unwrap();
                ids.extend(new);
            }
        }
        after(step, plain);
    }
}

#[test]
fn segments_and_checkpoints_change_no_result() {
    for lists in [1, 4] {
        let folder = Folder::new(&format!("same-{lists}"));
        let live = LiveIndex::create(folder.file(), trained(lists).finish()).unwrap();
        let mut plain = trained(lists).finish();
        history(&live, &mut plain, 120, |step, plain| {
            assert_eq!(seen(&live), seen_in(plain), "step {step}");
            if step % 50 == 49 {
                live.checkpoint().unwrap();
                assert_eq!(seen(&live), seen_in(plain));
                assert_eq!(seen_in(&Index::open(folder.file()).unwrap()), seen_in(plain), "the file alone");
                assert_eq!(fs::metadata(folder.journal()).unwrap().len(), 32);
            }
        });
        assert!(live.snapshot().parts().len() <= 6);
        drop(live);
        assert_eq!(seen(&LiveIndex::open(folder.file()).unwrap()), seen_in(&plain));
    }
}

#[test]
fn any_prefix_of_the_journal_is_a_committed_state() {
    let folder = Folder::new("prefix");
    let live = LiveIndex::create(folder.file(), trained(1).finish()).unwrap();
    // The state and the length of the journal after each change.
    let mut states = vec![(fs::metadata(folder.journal()).unwrap().len(), seen(&live))];
    history(&live, &mut trained(1).finish(), 9, |_, plain| states.push((fs::metadata(folder.journal()).unwrap().len(), seen_in(plain))));
    drop(live);
    let journal = fs::read(folder.journal()).unwrap();
    let ends: Vec<usize> = states.iter().map(|s| s.0 as usize).collect();
    // Every byte around the ends of records, and some of those between; the parser's own test takes every one.
    let near = |len: &usize| ends.iter().any(|end| end.abs_diff(*len) < 40) || len.is_multiple_of(41);
    for len in (0..=journal.len()).filter(near) {
        fs::write(folder.journal(), &journal[..len]).unwrap();
        let live = LiveIndex::open(folder.file()).unwrap();
        let committed = states.iter().rev().find(|(end, _)| *end as usize <= len).map_or(&states[0].1, |s| &s.1);
        assert_eq!(&seen(&live), committed, "{len} of {} bytes", journal.len());
        // What is torn is gone for good: the next change follows the last whole one.
        live.add(&[77_777], vectors(1, 5).view()).unwrap();
        let with = seen(&live);
        drop(live);
        assert_eq!(seen(&LiveIndex::open(folder.file()).unwrap()), with);
    }
    for byte in (32..ends[8]).step_by(97) {
        let mut damaged = journal.clone();
        damaged[byte] ^= 1;
        fs::write(folder.journal(), &damaged).unwrap();
        assert!(matches!(LiveIndex::open(folder.file()), Err(Error::Corrupt { .. })), "byte {byte}");
        assert_eq!(fs::read(folder.journal()).unwrap(), damaged, "a damaged journal is left as it is");
    }
}

#[test]
fn a_checkpoint_that_is_killed_leaves_the_old_state_or_the_new_one() {
    let folder = Folder::new("checkpoint");
    let live = LiveIndex::create(folder.file(), trained(4).finish()).unwrap();
    history(&live, &mut trained(4).finish(), 30, |_, _| ());
    let state = seen(&live);
    let (base, journal) = (fs::read(folder.file()).unwrap(), fs::read(folder.journal()).unwrap());
    live.checkpoint().unwrap();
    let new_base = fs::read(folder.file()).unwrap();
    drop(live);
    // Before the rename: the old base, the journal, and a part of the temporary file.
    fs::write(folder.file(), &base).unwrap();
    fs::write(folder.journal(), &journal).unwrap();
    fs::write(folder.0.join(".vectors.index.1-0.partial"), &new_base[..new_base.len() / 2]).unwrap();
    assert_eq!(seen(&LiveIndex::open(folder.file()).unwrap()), state);
    // After it: the new base, whose changes are all in the journal still.
    fs::write(folder.file(), &new_base).unwrap();
    let live = LiveIndex::open(folder.file()).unwrap();
    assert_eq!(seen(&live), state);
    live.add(&[90_000], vectors(1, 3).view()).unwrap();
    let state = seen(&live);
    drop(live);
    assert_eq!(seen(&LiveIndex::open(folder.file()).unwrap()), state);
    // The old base with the new journal: changes between them are missing.
    fs::write(folder.file(), &base).unwrap();
    assert!(matches!(LiveIndex::open(folder.file()), Err(Error::Corrupt { field: "the first record", .. })));
}

#[test]
fn readers_beside_a_writer_see_whole_changes() {
    const GROUP: u64 = 8;
    let folder = Folder::new("readers");
    let live = LiveIndex::create(folder.file(), trained(4).finish()).unwrap();
    let done = AtomicBool::new(false);
    // The groups' vectors of a step are all the same, so a torn state shows as two kinds of distance among the ids of a group.
    let of = |step: u64| {
        let one = vectors(1, step);
        ndarray::concatenate(Axis(0), &vec![one.view(); GROUP as usize]).unwrap()
    };
    let ids: Vec<u64> = (0..GROUP).collect();
    live.add(&ids, of(0).view()).unwrap();
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (live, done) = (&live, &done);
            scope.spawn(move || {
                let q = vectors(1, 500 + reader);
                let mut searches = 0;
                while !done.load(Ordering::Relaxed) || searches < 20 {
                    let hits = &live.search(q.view(), 10_000, &everything()).unwrap()[0];
                    let group: Vec<f32> = hits.iter().filter(|hit| hit.id < GROUP).map(|hit| hit.score).collect();
                    assert_eq!(group.len(), GROUP as usize);
                    assert!(group.iter().all(|score| *score == group[0]), "{group:?}");
                    let added: Vec<u64> = hits.iter().map(|hit| hit.id).filter(|id| *id >= 100).collect();
                    assert!(added.len().is_multiple_of(3), "{added:?}");
                    searches += 1;
                }
            });
        }
        for step in 1..60 {
            live.update(&ids, of(step).view()).unwrap();
            live.add(&[100 * step, 100 * step + 1, 100 * step + 2], vectors(3, 2000 + step).view()).unwrap();
            if step % 7 == 0 {
                live.remove(&[100 * step - 100, 100 * step - 99, 100 * step - 98]).unwrap();
            }
            if step % 20 == 0 {
                live.checkpoint().unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn attributes_are_journalled_too() {
    let folder = Folder::new("attributes");
    let live = LiveIndex::create(folder.file(), trained(1).finish()).unwrap();
    let years = |years: &[i64]| {
        let tags = years.iter().map(|y| vec![*y as u32, 1]).collect();
        Columns::from([("year", Column::I64(years.to_vec())), ("tags", Column::Tags(tags))]).unwrap()
    };
    live.add_with(&[1, 2, 3], vectors(3, 1).view(), &years(&[1999, 2005, 2024])).unwrap();
    live.update_with(&[1], vectors(1, 2).view(), &years(&[2025])).unwrap();
    // Other attributes, or none, are refused, and then nothing was journalled.
    assert!(matches!(live.add(&[4], vectors(1, 3).view()), Err(Error::LengthMismatch { .. })));
    let other = Columns::from([("price", Column::I64(vec![3]))]).unwrap();
    assert!(matches!(live.add_with(&[4], vectors(1, 3).view(), &other), Err(Error::Filter(_))));
    for _ in 0..2 {
        let recent = Filter::at_least("year", Value::I64(2010));
        let found = |live: &LiveIndex| {
            let options = SearchOptions { filter: Some(&recent), ..everything() };
            let mut ids: Vec<u64> = live.search(vectors(1, 9).view(), 9, &options).unwrap()[0].iter().map(|h| h.id).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(found(&live), [1, 3]);
        live.checkpoint().unwrap();
    }
    drop(live);
    let live = LiveIndex::open(folder.file()).unwrap();
    live.remove(&[1, 2, 3]).unwrap();
    let recent = Filter::at_least("year", Value::I64(2010));
    let options = SearchOptions { filter: Some(&recent), ..everything() };
    assert!(live.search(vectors(1, 9).view(), 9, &options).unwrap()[0].is_empty());
    assert!(live.is_empty());
}

#[test]
fn refused_changes_change_nothing() {
    let folder = Folder::new("refused");
    let live = LiveIndex::create(folder.file(), trained(1).finish()).unwrap();
    assert!(matches!(LiveIndex::create(folder.file(), trained(1).finish()), Err(Error::Io { .. })));
    assert!(matches!(LiveIndex::open(folder.file()), Err(Error::Locked { .. })));
    live.add(&[1, 2], vectors(2, 1).view()).unwrap();
    let (state, bytes) = (seen(&live), fs::read(folder.journal()).unwrap());
    let mut nan = vectors(1, 2);
    nan[(0, 1)] = f32::NAN;
    let x = vectors(2, 3);
    assert!(matches!(live.add(&[2, 3], x.view()), Err(Error::DuplicateId { id: 2 })));
    assert!(matches!(live.add(&[3, 3], x.view()), Err(Error::DuplicateId { id: 3 })));
    assert!(matches!(live.add(&[3], nan.view()), Err(Error::NonFinite { .. })));
    assert!(matches!(live.add(&[3], x.view()), Err(Error::LengthMismatch { .. })));
    assert!(matches!(live.add(&[3, 4], x.slice(s![.., ..4])), Err(Error::DimMismatch { .. })));
    assert!(matches!(live.remove(&[1, 9]), Err(Error::UnknownId { id: 9 })));
    assert!(matches!(live.remove(&[1, 1]), Err(Error::UnknownId { id: 1 })));
    assert!(matches!(live.update(&[1, 9], x.view()), Err(Error::UnknownId { id: 9 })));
    assert!(matches!(live.update(&[1], nan.view()), Err(Error::NonFinite { .. })));
    live.remove(&[]).unwrap();
    assert_eq!((seen(&live), fs::read(folder.journal()).unwrap()), (state, bytes));
    assert!(matches!(LiveIndex::open(folder.0.join("none")), Err(Error::Io { .. })));
    assert!(!folder.0.join("none.journal").exists());
}

/// Not a test by itself: what the next one kills.
#[test]
fn killed_child() {
    let Some(path) = std::env::var_os("SCANT_LIVE_CHILD") else { return };
    let live = LiveIndex::open(path).unwrap();
    let first = live.len() as u64 / 2;
    for step in first.. {
        live.add(&[2 * step, 2 * step + 1], vectors(2, step).view()).unwrap();
        // The test harness catches `println!`.
        use std::io::Write;
        writeln!(std::io::stderr(), "{step}").unwrap();
        if step % 5 == 4 {
            live.checkpoint().unwrap();
        }
    }
}

#[test]
fn killed_at_any_time_it_opens_with_all_that_was_confirmed() {
    let folder = Folder::new("killed");
    drop(LiveIndex::create(folder.file(), trained(1).finish()).unwrap());
    let mut rng = Rng::new(1);
    let mut confirmed: Option<u64> = None;
    for _ in 0..12 {
        let mut child = child(&folder.file());
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        for _ in 0..1 + rng.below(9) {
            confirmed = lines.next().map(|line| line.unwrap().parse().unwrap()).or(confirmed);
        }
        std::thread::sleep(std::time::Duration::from_micros(rng.below(3000) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        confirmed = lines.map_while(Result::ok).filter_map(|line| line.parse().ok()).last().or(confirmed);
        let live = LiveIndex::open(folder.file()).unwrap();
        let pairs = live.len() as u64 / 2;
        let least = confirmed.map_or(0, |step| step + 1);
        assert!(live.len().is_multiple_of(2) && (least..=least + 1).contains(&pairs), "{pairs} of {least}");
        let mut plain = trained(1).finish();
        (0..pairs).for_each(|step| plain.add(&[2 * step, 2 * step + 1], vectors(2, step).view()).unwrap());
        assert_eq!(seen(&live), seen_in(&plain));
    }
    assert!(confirmed > Some(11));
}

fn child(path: &Path) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "killed_child", "--nocapture"]).env("SCANT_LIVE_CHILD", path);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}
