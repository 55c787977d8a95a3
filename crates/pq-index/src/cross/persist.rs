//! Saved anchor scores: kind `pq-index/cur`, tensors `cur.scores` `[anchor queries, items]`, less `cur.mean` `[items]`, `cur.anchors` `[items]`
//! in the order in which they are scored, and `cur.ridge` `[1]`.

use super::Cur;
use crate::error::Error;
use ndarray::Array2;
use scant_tensor_core::file::{Bytes, File, Writer};
use scant_tensor_core::retrieve::Bitmap;
use std::path::Path;

const KIND: &str = "pq-index/cur";
const VERSION: u32 = 1;

#[derive(serde::Serialize, serde::Deserialize)]
struct Parameters {
    queries: usize,
    items: usize,
}

impl Cur {
    /// Saves through a temporary file beside `path`.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.with_writer(|writer| Ok(writer.save(path)?))
    }

    /// The bytes of a saved one.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn to_bytes(&self) -> Result<Bytes, Error> {
        self.with_writer(|writer| Ok(writer.to_bytes()?))
    }

    fn with_writer<T>(&self, write: impl FnOnce(Writer<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let (queries, items) = self.scores.dim();
        let mut writer = Writer::new(KIND, VERSION).parameters(&Parameters { queries, items })?;
        let ridge = [self.ridge];
        writer.add_elements("cur.scores", [queries, items], self.scores.as_slice().unwrap_or_default())?;
        writer.add_elements("cur.mean", [items], &self.mean)?;
        writer.add_elements("cur.anchors", [items], &self.anchors)?;
        writer.add_elements("cur.ridge", [1], &ridge)?;
        write(writer)
    }

    /// Opens a saved one.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is damaged or of another kind; [`Error::NonFinite`], [`Error::OutOfRange`] or [`Error::Corrupt`] for one whose
    /// numbers cannot be.
    pub fn open(path: impl AsRef<Path>) -> Result<Cur, Error> {
        Cur::from_file(&File::read(path)?)
    }

    /// The one in an opened file.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_file(file: &File) -> Result<Cur, Error> {
        let Parameters { queries, items } = file.require_kind(KIND, VERSION)?.parameters()?;
        if queries == 0 || items == 0 || u32::try_from(items).is_err() {
            return Err(corrupt("anchor queries and items", "at least 1 each, items below 2^32", format!("{queries} and {items}")));
        }
        let values = file.typed::<f32>("cur.scores", [queries, items])?;
        let scores = Array2::from_shape_fn((queries, items), |(q, i)| values[q * items + i]);
        Error::check_finite(scores.view(), 0)?;
        let mean = file.typed::<f32>("cur.mean", [items])?.to_vec();
        Error::check_finite(ndarray::aview1(&mean).insert_axis(ndarray::Axis(0)), 0)?;
        let anchors = file.typed::<u32>("cur.anchors", [items])?.to_vec();
        let mut seen = Bitmap::none(items);
        for item in &anchors {
            if *item as usize >= items || seen.contains(*item as usize) {
                return Err(corrupt("an item in cur.anchors", "each item once", item.to_string()));
            }
            seen.insert(*item as usize);
        }
        let ridge = file.typed::<f64>("cur.ridge", [1])?[0];
        if !(ridge > 0.0 && ridge.is_finite()) {
            return Err(Error::OutOfRange { what: "the ridge", value: ridge, range: "above 0" });
        }
        Ok(Cur::from_parts(scores, mean, anchors, ridge))
    }
}

fn corrupt(field: &'static str, want: &str, got: String) -> Error {
    Error::Corrupt { file: "anchor scores".into(), field, want: want.to_owned(), got }
}
