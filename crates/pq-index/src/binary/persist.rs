//! Saved as one safetensors file.
//!
//! Kind `pq-index/binary`. Tensors: `ids` `[n]`, `side` (f16 as bytes), and `plane.{t}` or `codes` in the layouts of the scans, whole blocks of 64 rows.

use super::codes::check;
use super::store::{Scoring, Store};
use super::{BinaryIndex, SIDE};
use crate::error::Error;
use crate::norm::Side;
use crate::persist::add;
use scant_tensor_core::file::{Bytes, File, Writer};
use std::path::Path;

const KIND: &str = "pq-index/binary";
const VERSION: u32 = 2;

#[derive(serde::Serialize, serde::Deserialize)]
struct Parameters {
    m: usize,
    planes: u32,
    rows: usize,
    scoring: Scoring,
    encoder: String,
    compatible: Vec<String>,
}

impl BinaryIndex {
    /// Saves through a temporary file beside `path`: a save that fails leaves the old file whole.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.writer()?.save(path)?)
    }

    /// The bytes of a saved index.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn to_bytes(&self) -> Result<Bytes, Error> {
        Ok(self.writer()?.to_bytes()?)
    }

    /// Opens a saved index, reading and checking all of it.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is damaged or of another kind, [`Error::Corrupt`] for one that contradicts itself.
    pub fn open(path: impl AsRef<Path>) -> Result<BinaryIndex, Error> {
        BinaryIndex::from_file(&File::read(path)?)
    }

    fn writer(&self) -> Result<Writer<'static>, Error> {
        let parameters = Parameters {
            m: self.m,
            planes: self.planes,
            rows: self.len(),
            scoring: self.scoring,
            encoder: self.encoder.clone(),
            compatible: self.compatible.clone(),
        };
        let mut writer = Writer::new(KIND, VERSION).parameters(&parameters)?;
        add(&mut writer, "ids", [self.len()], &self.ids)?;
        if let Some(sides) = &self.sides {
            Side::save(std::iter::once(sides), "side", &mut writer)?;
        }
        self.store.save(&mut writer)?;
        Ok(writer)
    }

    /// The index in an opened file. Nothing is trusted.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_file(file: &File) -> Result<BinaryIndex, Error> {
        let Parameters { m, planes, rows, scoring, encoder, compatible } = file.require_kind(KIND, VERSION)?.parameters()?;
        check(m, planes)?;
        let mut index = BinaryIndex::empty(m, planes, encoder, scoring);
        index.compatible = compatible;
        index.ids = file.typed::<u64>("ids", [rows])?.to_vec();
        index.store = Store::load(file, scoring, m, planes, rows)?;
        if let Some(sides) = &mut index.sides {
            *sides = Side::part(&Side::load(file, "side", SIDE, rows)?, SIDE, 0, rows);
        }
        Ok(index)
    }
}
