//! An index that is searched while it changes, and keeps every change that it has confirmed.

use crate::error::Error;
use crate::index::Index;
use crate::journal::{Journal, Locked};
use crate::persist::{Attribute, describe_columns, load_columns, save_columns};
use crate::search::SearchOptions;
use crate::shard::Shards;
use ndarray::{Array2, ArrayView2};
use scant_tensor_core::file::{Bytes, File, Writer};
use scant_tensor_core::retrieve::{Columns, Hit};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

const KIND: &str = "pq-index/change";
const VERSION: u32 = 1;
/// Metadata of the base file: the number of the last change that is in it.
const CHANGES: &str = "pq-index.changes";
/// A segment takes over those behind it that have at least this share of its rows: so there are few of them, and a row is copied a few times.
const SHARE: usize = 8;
/// A segment of which more than one row in so many is dead is packed.
const DEAD: usize = 5;

/// One index with many readers and, at a time, one writer; a file with a journal beside it.
///
/// Searches take the newest [`snapshot`](Self::snapshot) and hold no lock while they scan; each sees all of a change or nothing of it. A change
/// returns when it is in the journal `<file>.journal` on the disk: a process that is killed at any time opens again with every confirmed change,
/// and perhaps the one it was about to confirm. [`checkpoint`](Self::checkpoint) writes the changes into the file.
///
/// New rows form segments beside the base, which are merged as they grow, so that a change costs its own rows' size and not the index's. An
/// inverted file reads `nprobe` lists in each segment: at least what one index would read.
///
/// ```
/// use ndarray::{Array2, s};
/// use scant_pq_index::quantizer::QuantizerKind;
/// use scant_pq_index::{IndexBuilder, LiveIndex, Metric};
/// let x = Array2::from_shape_fn((400, 6), |(i, j)| ((i * (2 * j + 1)) as f32).cos());
/// let trained = IndexBuilder::new(Metric::L2).quantizer(QuantizerKind::Scalar { bits: 8 }).train(&x)?;
/// # let folder = std::env::temp_dir().join(format!("scant-live-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// let path = folder.join("vectors.index");
/// let live = LiveIndex::create(&path, trained.finish())?;
/// live.add(&[1, 2, 3], x.slice(s![1..4, ..]))?;
/// let before = live.snapshot();
/// live.update(&[2], x.slice(s![50..51, ..]))?;
/// live.remove(&[3])?;
/// let q = x.slice(s![50..51, ..]);
/// assert_eq!(live.search(q, 1, &Default::default())?[0][0].id, 2);
/// assert_eq!(before.search(q, 9, &Default::default())?[0].len(), 3); // what was, as long as somebody looks at it
/// drop(live); // or the power fails
/// let live = LiveIndex::open(&path)?;
/// assert_eq!(live.len(), 2);
/// live.checkpoint()?;
/// # std::fs::remove_dir_all(folder).unwrap();
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Debug)]
pub struct LiveIndex {
    path: PathBuf,
    writer: Mutex<Segments>,
    /// Locked only to take or to change the pointer.
    published: RwLock<Arc<Shards>>,
}

/// What the writer works on: the base, then segments of rows that came later, and the journal of all that is not in the file.
#[derive(Debug)]
struct Segments {
    all: Vec<Index>,
    journal: Journal,
}

#[derive(Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Add,
    Remove,
    Update,
}

/// A change, as it is journalled: a container with `ids` `[rows]`, `vectors` `[rows, dim]` and attributes; ids alone of a removal.
struct Change {
    kind: Kind,
    ids: Vec<u64>,
    vectors: Array2<f32>,
    columns: Columns,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Parameters {
    change: Kind,
    rows: usize,
    dim: usize,
    columns: Vec<Attribute>,
}

/// A change that cannot fail any more.
struct Ready {
    /// Ids to be removed from each segment.
    removed: Vec<Vec<u64>>,
    added: Option<Index>,
}

impl LiveIndex {
    /// Saves an index as the base of a new file.
    ///
    /// # Errors
    /// [`Error::Io`] if the file or its journal exists; [`Error::File`].
    pub fn create(path: impl AsRef<Path>, index: Index) -> Result<LiveIndex, Error> {
        let path = path.as_ref();
        for path in [path, &journal_of(path)] {
            if path.exists() {
                return Err(Error::Io { file: path.to_owned(), source: std::io::ErrorKind::AlreadyExists.into() });
            }
        }
        index.save(path)?;
        LiveIndex::open(path)
    }

    /// Opens the file of an index, also one of [`Index::save`], with the changes of its journal. A change that was cut off while it was written
    /// is dropped.
    ///
    /// # Errors
    /// As [`Index::open`]; [`Error::Locked`] if it is open elsewhere; [`Error::QuantizerMismatch`] or [`Error::Corrupt`] for a journal that is not this
    /// file's, or was damaged before its end; [`Error::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<LiveIndex, Error> {
        let path = path.as_ref();
        std::fs::metadata(path).map_err(|source| Error::Io { file: path.to_owned(), source })?;
        // Before the base is read: else a checkpoint of another process could come between the two.
        let locked = Locked::new(journal_of(path))?;
        let file = File::read(path)?;
        let changes = file.metadata().get(CHANGES).map_or(Ok(0), |text| text.parse());
        let applied: u64 = changes.map_err(|_| Error::Corrupt {
            file: path.to_owned(),
            field: CHANGES,
            want: "a number".to_owned(),
            got: "something else".to_owned(),
        })?;
        let base = Index::from_file(&file)?;
        let (journal, records) = Journal::open(locked, base.digest(), applied)?;
        let mut segments = Segments { all: vec![base], journal };
        for record in records {
            let change = Change::from_bytes(record)?;
            let ready = segments.prepare(&change)?;
            segments.apply(ready)?;
        }
        let published = RwLock::new(Arc::new(segments.snapshot()?));
        Ok(LiveIndex { path: path.to_owned(), writer: Mutex::new(segments), published })
    }

    /// The rows as they are now, for any number of searches.
    pub fn snapshot(&self) -> Arc<Shards> {
        // A pointer cannot be half written, whatever happened to the one who held the lock.
        self.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As [`Index::search`], of the newest snapshot.
    ///
    /// # Errors
    /// As there.
    pub fn search(&self, q: ArrayView2<'_, f32>, k: usize, options: &SearchOptions<'_>) -> Result<Vec<Vec<Hit>>, Error> {
        self.snapshot().search(q, k, options)
    }

    /// Vectors that can be found.
    pub fn len(&self) -> usize {
        self.snapshot().parts().iter().map(Index::len).sum()
    }

    /// True without vectors.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds rows under their ids, all or none.
    ///
    /// # Errors
    /// As [`Index::add`]; [`Error::Io`] if the journal cannot be written, after which all changes fail with [`Error::JournalFailed`] until the index
    /// is opened again.
    pub fn add(&self, ids: &[u64], x: ArrayView2<'_, f32>) -> Result<(), Error> {
        self.add_with(ids, x, &Columns::default())
    }

    /// Adds rows with attributes, all or none.
    ///
    /// # Errors
    /// As [`add`](Self::add) and [`Index::add_with`].
    pub fn add_with(&self, ids: &[u64], x: ArrayView2<'_, f32>, columns: &Columns) -> Result<(), Error> {
        self.change(Change { kind: Kind::Add, ids: ids.to_vec(), vectors: x.to_owned(), columns: columns.clone() })
    }

    /// Removes ids, all or none.
    ///
    /// # Errors
    /// As [`Index::remove`] and [`add`](Self::add).
    pub fn remove(&self, ids: &[u64]) -> Result<(), Error> {
        self.change(Change { kind: Kind::Remove, ids: ids.to_vec(), vectors: Array2::zeros((0, 0)), columns: Columns::default() })
    }

    /// Gives ids new vectors, all or none: no search sees an id twice, or not at all.
    ///
    /// # Errors
    /// As [`Index::update`] and [`add`](Self::add).
    pub fn update(&self, ids: &[u64], x: ArrayView2<'_, f32>) -> Result<(), Error> {
        self.update_with(ids, x, &Columns::default())
    }

    /// Gives ids new vectors and attributes, all or none.
    ///
    /// # Errors
    /// As [`update`](Self::update) and [`add_with`](Self::add_with).
    pub fn update_with(&self, ids: &[u64], x: ArrayView2<'_, f32>, columns: &Columns) -> Result<(), Error> {
        self.change(Change { kind: Kind::Update, ids: ids.to_vec(), vectors: x.to_owned(), columns: columns.clone() })
    }

    /// Writes a new base with all changes, without the removed rows, and empties the journal. Searches go on, changes wait. Killed on the way,
    /// it leaves the old base with its journal, or the new one.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Io`] if the disk refuses; then nothing is lost.
    pub fn checkpoint(&self) -> Result<(), Error> {
        let mut segments = self.lock()?;
        let mut base = segments.all[0].share();
        for segment in &segments.all[1..] {
            base.merge(segment)?;
        }
        base.compact();
        let changes = segments.journal.last().to_string();
        base.writer()?.metadata(CHANGES, changes)?.save(&self.path)?;
        segments.all = vec![base];
        self.publish(&segments)?;
        // Records that are still there after a crash are known by their numbers.
        segments.journal.clear()
    }

    fn change(&self, change: Change) -> Result<(), Error> {
        let mut segments = self.lock()?;
        let ready = segments.prepare(&change)?;
        if change.ids.is_empty() {
            return Ok(());
        }
        segments.journal.append(&change.to_bytes()?)?;
        segments.apply(ready)?;
        self.publish(&segments)
    }

    fn lock(&self) -> Result<std::sync::MutexGuard<'_, Segments>, Error> {
        // A writer that panicked may have left a change half made in memory. On the disk it is whole.
        self.writer.lock().map_err(|_| Error::JournalFailed { file: journal_of(&self.path) })
    }

    fn publish(&self, segments: &Segments) -> Result<(), Error> {
        let snapshot = Arc::new(segments.snapshot()?);
        let old = std::mem::replace(&mut *self.published.write().unwrap_or_else(PoisonError::into_inner), snapshot);
        // Not under the lock: what nobody looks at any more is freed here.
        drop(old);
        Ok(())
    }
}

fn journal_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".journal");
    name.into()
}

impl Segments {
    /// Checks a change and encodes its vectors; changes nothing.
    fn prepare(&mut self, change: &Change) -> Result<Ready, Error> {
        let mut removed = vec![vec![]; self.all.len()];
        let mut seen = HashMap::with_capacity(change.ids.len());
        for id in &change.ids {
            let twice = seen.insert(*id, ()).is_some();
            let place = self.all.iter_mut().position(|segment| segment.contains(*id));
            match (change.kind, place) {
                (Kind::Add, None) if !twice => {}
                (Kind::Add, _) => return Err(Error::DuplicateId { id: *id }),
                (_, Some(segment)) if !twice => removed[segment].push(*id),
                _ => return Err(Error::UnknownId { id: *id }),
            }
        }
        if change.kind == Kind::Remove {
            return Ok(Ready { removed, added: None });
        }
        let rows = self.all.iter().map(|segment| segment.ids.len()).sum::<usize>() + change.ids.len();
        if u32::try_from(rows).is_err() {
            return Err(Error::TooManyRows { rows });
        }
        if let Some(first) = self.all.iter().find(|segment| !segment.ids.is_empty() || !segment.columns.is_empty()) {
            if first.columns.is_empty() || change.columns.is_empty() {
                let want = if first.columns.is_empty() { 0 } else { change.ids.len() };
                Error::check_len("rows of the attributes", want, change.columns.rows())?;
            } else {
                first.columns.check(&change.columns)?;
            }
        }
        let mut added = Index::empty(self.all[0].model.clone());
        added.add_rows(&change.ids, change.vectors.clone(), Some(&change.columns), 0)?;
        Ok(Ready { removed, added: Some(added) })
    }

    fn apply(&mut self, ready: Ready) -> Result<(), Error> {
        for (segment, ids) in self.all.iter_mut().zip(&ready.removed) {
            segment.remove(ids)?;
        }
        let Some(added) = ready.added else { return Ok(()) };
        self.all.push(added);
        while let [_, .., before, last] = &self.all[..]
            && before.ids.len() <= SHARE * last.ids.len()
        {
            let Some(last) = self.all.pop() else { break };
            let Some(before) = self.all.last_mut() else { break };
            before.merge(&last)?;
            if DEAD * (before.ids.len() - before.len()) > before.ids.len() {
                before.compact();
            }
        }
        Ok(())
    }

    /// What can be searched: segments with rows, or the base if there are none.
    fn snapshot(&self) -> Result<Shards, Error> {
        let mut parts: Vec<Index> = self.all.iter().filter(|segment| !segment.is_empty()).map(Index::share).collect();
        if parts.is_empty() {
            parts.push(self.all[0].share());
        }
        Shards::new(parts)
    }
}

impl Change {
    fn to_bytes(&self) -> Result<Bytes, Error> {
        let (rows, dim) = (self.ids.len(), self.vectors.ncols());
        let parameters = Parameters { change: self.kind, rows, dim, columns: describe_columns(&self.columns) };
        let mut writer = Writer::new(KIND, VERSION).parameters(&parameters)?;
        writer.add_elements("ids", [rows], &self.ids)?;
        let vectors: Vec<f32> = self.vectors.iter().copied().collect();
        writer.add_elements("vectors", self.vectors.shape(), &vectors)?;
        save_columns(&self.columns, &mut writer)?;
        Ok(writer.to_bytes()?)
    }

    fn from_bytes(bytes: Bytes) -> Result<Change, Error> {
        let file = File::from_bytes(bytes)?;
        let Parameters { change: kind, rows, dim, columns } = file.require_kind(KIND, VERSION)?.parameters()?;
        let ids = file.typed::<u64>("ids", [rows])?.to_vec();
        let shape = if kind == Kind::Remove { (0, dim) } else { (rows, dim) };
        let values = file.typed::<f32>("vectors", [shape.0, shape.1])?;
        let vectors = Array2::from_shape_fn(shape, |(i, j)| values[i * dim + j]);
        Ok(Change { kind, ids, vectors, columns: load_columns(&file, columns, rows)? })
    }
}
