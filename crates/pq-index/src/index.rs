//! The rows of an index: added, removed, updated, packed together again.

use crate::error::Error;
use crate::list::List;
use crate::metric::Metric;
use crate::model::Model;
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use scant_tensor_core::retrieve::{Bitmap, Columns};
use scant_tensor_core::scan::BLOCK;
use std::collections::HashMap;
use std::sync::Arc;

/// Rows that one task encodes.
const TILE: usize = 1024;

/// Vectors as codes, in one list (flat) or several (inverted file), under ids of 64 bits.
///
/// ```
/// use ndarray::{Array2, s};
/// use scant_pq_index::quantizer::QuantizerKind;
/// use scant_pq_index::{IndexBuilder, Metric};
/// let x = Array2::from_shape_fn((400, 6), |(i, j)| ((i * (2 * j + 1)) as f32).cos());
/// let mut trained = IndexBuilder::new(Metric::Cosine).quantizer(QuantizerKind::Scalar { bits: 8 }).lists(4).train(&x)?;
/// trained.add_source(&x)?;
/// let mut index = trained.finish();
/// index.remove(&[0, 1])?;
/// index.update(&[2], x.slice(s![7..8, ..]))?; // id 2 is now where id 7 is
/// let hits = index.search(x.slice(s![7..8, ..]), 2, &Default::default())?;
/// assert_eq!([hits[0][0].id, hits[0][1].id], [2, 7]); // a tie: the smaller id first
/// index.compact();
/// assert_eq!(index.len(), 398);
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Index {
    pub(crate) model: Arc<Model>,
    /// Clones share rows until one of them adds to its own.
    pub(crate) lists: Arc<Vec<List>>,
    /// The id of each row, removed ones included.
    pub(crate) ids: Arc<Vec<u64>>,
    pub(crate) live: Bitmap,
    pub(crate) columns: Arc<Columns>,
    /// Rows by id; made when it is first needed, since searching does not.
    by_id: Option<HashMap<u64, u32>>,
}

/// Bytes for each vector, by what they are for. A table of the whole index, such as codebooks, is in none of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BytesPerVector {
    /// Codes or f32 values.
    pub codes: f64,
    /// Factors, norms, shifts.
    pub sides: f64,
    /// Ids, row numbers in lists, marks of removed rows.
    pub ids: f64,
}

impl BytesPerVector {
    /// All of them.
    pub fn total(&self) -> f64 {
        self.codes + self.sides + self.ids
    }
}

impl Index {
    pub(crate) fn empty(model: Arc<Model>) -> Index {
        let lists = (0..model.config.lists).map(|_| List::new(&model)).collect();
        Index::from_parts(model, lists, vec![], Bitmap::default(), Columns::default())
    }

    pub(crate) fn from_parts(model: Arc<Model>, lists: Vec<List>, ids: Vec<u64>, live: Bitmap, columns: Columns) -> Index {
        Index { model, lists: Arc::new(lists), ids: Arc::new(ids), live, columns: Arc::new(columns), by_id: None }
    }

    /// A clone to search: it shares all rows, and has its own marks of removed ones. O(n / 8) bytes.
    pub(crate) fn share(&self) -> Index {
        Index {
            model: self.model.clone(),
            lists: self.lists.clone(),
            ids: self.ids.clone(),
            live: self.live.clone(),
            columns: self.columns.clone(),
            by_id: None,
        }
    }

    /// Vectors that can be found.
    pub fn len(&self) -> usize {
        self.live.count()
    }

    /// True without vectors.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Components of a vector.
    pub fn dim(&self) -> usize {
        self.model.dim
    }

    /// The measure.
    pub fn metric(&self) -> Metric {
        self.model.config.metric
    }

    /// Lists; 1 for a flat index.
    pub fn lists(&self) -> usize {
        self.lists.len()
    }

    /// Names what was trained: indexes with the same digest have codes of the same meaning.
    pub fn digest(&self) -> &str {
        &self.model.digest
    }

    /// Whether an id is there.
    pub fn contains(&mut self, id: u64) -> bool {
        self.by_id().contains_key(&id)
    }

    /// Bytes that each vector takes.
    pub fn bytes_per_vector(&self) -> BytesPerVector {
        let n = self.ids.len().max(1) as f64;
        let columns = List::columns(&self.model);
        let all: usize = self.lists.iter().map(|l| l.bytes(columns)).sum();
        let sides = self.model.sides.bytes() as f64;
        let row = if self.lists.len() > 1 { 4.0 } else { 0.0 };
        BytesPerVector { codes: all as f64 / n - sides, sides, ids: 8.0 + row + 0.125 }
    }

    fn by_id(&mut self) -> &mut HashMap<u64, u32> {
        let (live, ids) = (&self.live, &self.ids);
        self.by_id.get_or_insert_with(|| live.iter().map(|row| (ids[row], row as u32)).collect())
    }

    /// Adds rows under their ids. All or none; O(n d K) for codebooks of K, in parallel.
    ///
    /// # Errors
    /// [`Error::DuplicateId`], [`Error::NonFinite`], [`Error::ZeroVector`], [`Error::DimMismatch`], [`Error::LengthMismatch`];
    /// [`Error::Filter`] if the index has attributes.
    pub fn add(&mut self, ids: &[u64], x: ArrayView2<'_, f32>) -> Result<(), Error> {
        self.add_rows(ids, x.to_owned(), None, 0)
    }

    /// As [`add`](Self::add), with attributes: the same columns each time, from the first.
    ///
    /// # Errors
    /// As there; [`Error::Filter`] for other columns, [`Error::LengthMismatch`] for another number of rows.
    pub fn add_with(&mut self, ids: &[u64], x: ArrayView2<'_, f32>, columns: &Columns) -> Result<(), Error> {
        self.add_rows(ids, x.to_owned(), Some(columns), 0)
    }

    pub(crate) fn add_rows(&mut self, ids: &[u64], x: Array2<f32>, columns: Option<&Columns>, first: usize) -> Result<(), Error> {
        Error::check_len("ids of the vectors", x.nrows(), ids.len())?;
        let rows = self.ids.len() + ids.len();
        if u32::try_from(rows).is_err() {
            return Err(Error::TooManyRows { rows });
        }
        let none = Columns::default();
        let columns = columns.unwrap_or(&none);
        if !columns.is_empty() || !self.columns.is_empty() {
            Error::check_len("rows of the attributes", x.nrows(), columns.rows())?;
            if self.columns.is_empty() {
                // Rows from before would have no attributes.
                Error::check_len("rows that were added without attributes", 0, self.ids.len())?;
            } else {
                self.columns.check(columns)?;
            }
        }
        let mut fresh = HashMap::with_capacity(ids.len());
        let known = self.by_id();
        if let Some(id) = ids.iter().find(|id| known.contains_key(id) || fresh.insert(**id, ()).is_some()) {
            return Err(Error::DuplicateId { id: *id });
        }
        // Everything that can fail comes before the first change.
        let model = self.model.clone();
        let mut x = x.as_standard_layout().into_owned();
        let parts: Result<Vec<_>, Error> = x
            .axis_chunks_iter_mut(Axis(0), TILE)
            .collect::<Vec<_>>()
            .into_par_iter()
            .enumerate()
            .map(|(i, mut x)| {
                model.admit(x.view_mut(), first + i * TILE)?;
                Ok(model.encode(x.view()))
            })
            .collect();
        let parts = parts?;
        if !columns.is_empty() {
            Arc::make_mut(&mut self.columns).append(columns)?;
        }
        let before: Vec<usize> = self.lists.iter().map(List::len).collect();
        let lists = Arc::make_mut(&mut self.lists);
        let mut row = self.ids.len() as u32;
        for (part, encoded) in parts.iter().enumerate() {
            for (i, list) in encoded.list.iter().enumerate() {
                let full = x.row(part * TILE + i);
                lists[*list as usize].push(&model, row, encoded, i, full.as_slice().unwrap_or_default());
                row += 1;
            }
        }
        for (list, before) in lists.iter_mut().zip(before).filter(|(list, before)| list.len() > *before) {
            list.bound(before / BLOCK);
        }
        let first = self.ids.len() as u32;
        self.by_id().extend(ids.iter().zip(first..).map(|(id, row)| (*id, row)));
        Arc::make_mut(&mut self.ids).extend_from_slice(ids);
        ids.iter().for_each(|_| self.live.push(true));
        Ok(())
    }

    /// Removes ids: they are never found again. Their bytes stay until [`compact`](Self::compact). All or none.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn remove(&mut self, ids: &[u64]) -> Result<(), Error> {
        let known = self.by_id();
        let mut rows = HashMap::with_capacity(ids.len());
        for id in ids {
            let row = *known.get(id).ok_or(Error::UnknownId { id: *id })?;
            if rows.insert(*id, row).is_some() {
                return Err(Error::UnknownId { id: *id }); // twice in one call
            }
        }
        for (id, row) in rows {
            self.by_id().remove(&id);
            self.live.remove(row as usize);
        }
        Ok(())
    }

    /// Gives ids new vectors. All or none. An index with attributes wants [`remove`](Self::remove) and [`add_with`](Self::add_with).
    ///
    /// # Errors
    /// [`Error::UnknownId`], and those of [`add`](Self::add).
    pub fn update(&mut self, ids: &[u64], x: ArrayView2<'_, f32>) -> Result<(), Error> {
        let before = (self.live.clone(), self.by_id().clone());
        self.remove(ids)?;
        self.add(ids, x).inspect_err(|_| {
            self.live = before.0;
            self.by_id = Some(before.1);
        })
    }

    /// Gives the bytes of removed rows back. Changes no result.
    pub fn compact(&mut self) {
        let rows: Vec<usize> = self.live.iter().collect();
        if rows.len() == self.ids.len() {
            return;
        }
        let mut number = vec![0u32; self.ids.len()];
        rows.iter().zip(0..).for_each(|(row, new)| number[*row] = new);
        for list in Arc::make_mut(&mut self.lists) {
            let places: Vec<usize> = (0..list.len()).filter(|p| self.live.contains(list.rows[*p] as usize)).collect();
            list.keep(&places, self.model.dim, |row| number[row as usize]);
        }
        self.ids = Arc::new(rows.iter().map(|row| self.ids[*row]).collect());
        if !self.columns.is_empty() {
            self.columns = Arc::new(self.columns.gather(&rows));
        }
        self.live = Bitmap::all(rows.len());
        self.by_id = None;
    }

    /// Takes over the rows of an index that was trained with this one.
    ///
    /// # Errors
    /// [`Error::QuantizerMismatch`], [`Error::DuplicateId`], [`Error::TooManyRows`]; [`Error::Filter`] for other attributes.
    pub fn merge(&mut self, other: &Index) -> Result<(), Error> {
        if self.digest() != other.digest() {
            return Err(Error::QuantizerMismatch { want: self.digest().to_owned(), got: other.digest().to_owned() });
        }
        let rows = self.ids.len() + other.ids.len();
        if u32::try_from(rows).is_err() {
            return Err(Error::TooManyRows { rows });
        }
        let known = self.by_id();
        if let Some(row) = other.live.iter().find(|row| known.contains_key(&other.ids[*row])) {
            return Err(Error::DuplicateId { id: other.ids[row] });
        }
        if self.columns.is_empty() != other.columns.is_empty() && !self.ids.is_empty() && !other.ids.is_empty() {
            Error::check_len("rows of the attributes", self.columns.rows(), other.columns.rows())?;
        }
        Arc::make_mut(&mut self.columns).append(&other.columns)?;
        let first = self.ids.len() as u32;
        for (mine, theirs) in Arc::make_mut(&mut self.lists).iter_mut().zip(&*other.lists) {
            mine.extend(theirs, first);
        }
        Arc::make_mut(&mut self.ids).extend_from_slice(&other.ids);
        (0..other.ids.len()).for_each(|row| self.live.push(other.live.contains(row)));
        self.by_id = None;
        Ok(())
    }

    /// What is kept of the vector of an id: the decoded vector, under cosine of length about 1.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn reconstruct(&self, id: u64) -> Result<Vec<f32>, Error> {
        let row = self.live.iter().find(|row| self.ids[*row] == id).ok_or(Error::UnknownId { id })? as u32;
        let found = self.lists.iter().enumerate().find_map(|(l, list)| list.rows.binary_search(&row).ok().map(|place| (l, place)));
        let (l, place) = found.ok_or(Error::UnknownId { id })?;
        let (list, dim) = (&self.lists[l], self.model.dim);
        let mut x = Array2::<f32>::zeros((1, dim));
        if let Some(coder) = &self.model.coder {
            let layout = coder.layout();
            let (mut bytes, mut codes, mut g) = (vec![0; layout.columns()], vec![0; layout.tables], vec![0.0; dim]);
            list.codes.get(place, &mut bytes).expect("a place of this list");
            layout.unpack(&bytes, &mut codes);
            coder.quantizer().decode(&codes, &mut g);
            let factor = list.factor.as_ref().map_or(1.0, |s| s.get(place));
            let shift = list.shift.as_ref().map_or(0.0, |s| s.get(place));
            for (i, (x, g)) in x.iter_mut().zip(&g).enumerate() {
                let centroid = if self.model.config.residual { self.model.centroids[(l, i)] } else { 0.0 };
                *x = centroid + factor * g + shift;
            }
        } else {
            x.iter_mut().zip(&list.full[place * dim..]).for_each(|(x, full)| *x = *full);
        }
        if let Some(rotation) = &self.model.rotation {
            rotation.undo(x.view_mut());
        }
        Ok(x.into_raw_vec_and_offset().0)
    }
}
