//! Saved indexes: one self-describing safetensors file, used in place when it is mapped.
//!
//! Kind `sparse-index`. Tensors: `terms.scale` `[V]`, `terms.df` `[V]`, `terms.start` `[V + 1]` (bytes of `postings`), `postings`, `forward.offset`
//! `[N + 1]` (pairs of `forward.pairs`), `forward.pairs` `[pairs, 2]`, `forward.rank` `[V]`, `ids` `[N]`, `live` (a word for each 64 rows).

use crate::error::Error;
use crate::forward::Forward;
use crate::index::Index;
use crate::recall::Rung;
use crate::windowed::{MAX_WINDOW, Postings};
use scant_tensor_core::file::{Bytes, Dtype, File, Writer};
use scant_tensor_core::retrieve::Bitmap;
use std::path::Path;
use std::sync::OnceLock;

const KIND: &str = "sparse-index";
const VERSION: u32 = 1;

#[derive(serde::Serialize, serde::Deserialize)]
struct Parameters {
    documents: usize,
    vocabulary: usize,
    window: usize,
    dropped: u64,
    ladder: Vec<Rung>,
}

fn corrupt(field: &'static str, want: impl ToString, got: impl ToString) -> Error {
    Error::Corrupt { field, want: want.to_string(), got: got.to_string() }
}

/// Offsets that begin at 0, never fall, and end at `last`.
fn check_offsets(field: &'static str, offsets: &[u32], last: usize) -> Result<(), Error> {
    let ok = offsets.first() == Some(&0) && offsets.last().map(|o| *o as usize) == Some(last) && offsets.is_sorted();
    if ok { Ok(()) } else { Err(corrupt(field, format!("0 to {last}, ascending"), "other numbers")) }
}

impl Index {
    /// Saves through a temporary file beside `path`: a save that fails leaves the old file whole.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.writer()?.save(path)?)
    }

    /// The bytes of a saved index: the same for the same index, opened or built.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn to_bytes(&self) -> Result<Bytes, Error> {
        Ok(self.writer()?.to_bytes()?)
    }

    /// Opens a saved index, reading and checking all of it.
    ///
    /// # Errors
    /// As [`Index::from_file`].
    pub fn open(path: impl AsRef<Path>) -> Result<Index, Error> {
        Index::from_file(&File::read(path)?)
    }

    fn writer(&self) -> Result<Writer<'_>, Error> {
        let parameters = Parameters {
            documents: self.ids.len(),
            vocabulary: self.scale.len(),
            window: self.postings.window,
            dropped: self.dropped,
            ladder: self.ladder.clone(),
        };
        let mut writer = Writer::new(KIND, VERSION).parameters(&parameters)?;
        writer.add_elements("terms.scale", [self.scale.len()], &self.scale)?;
        writer.add_elements("terms.df", [self.df.len()], &self.df)?;
        writer.add_elements("terms.start", [self.postings.start.len()], &self.postings.start)?;
        writer.add("postings", Dtype::U8, [self.postings.blocks.len()], &self.postings.blocks[..])?;
        writer.add_elements("forward.offset", [self.forward.offset.len()], &self.forward.offset)?;
        writer.add("forward.pairs", Dtype::U8, [self.forward.pairs.len() / 2, 2], &self.forward.pairs[..])?;
        writer.add_elements("forward.rank", [self.forward.rank.len()], &self.forward.rank)?;
        writer.add_elements("ids", [self.ids.len()], &self.ids)?;
        writer.add_elements("live", [self.live.words().len()], self.live.words())?;
        Ok(writer)
    }

    /// Takes an opened file; of a mapped one the postings, vectors and ids stay where they are, so this costs the terms' tables only.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is damaged or of another kind, [`Error::Corrupt`] for one that contradicts itself. A list that is no list
    /// ends where it stops making sense.
    pub fn from_file(file: &File) -> Result<Index, Error> {
        let Parameters { documents, vocabulary, window, dropped, ladder } = file.require_kind(KIND, VERSION)?.parameters()?;
        if !window.is_power_of_two() || window > MAX_WINDOW {
            return Err(corrupt("window", format!("a power of two up to {MAX_WINDOW}"), window));
        }
        let limit = u32::MAX as usize;
        if documents >= limit || vocabulary >= limit {
            return Err(corrupt("size", format!("below {limit}"), format!("{documents} documents, {vocabulary} terms")));
        }
        let scale = file.typed::<f32>("terms.scale", [vocabulary])?;
        if let Some(bad) = scale.iter().find(|s| !s.is_finite() || **s < 0.0) {
            return Err(corrupt("scale", "0 or more, and finite", bad));
        }
        let start = file.typed::<u32>("terms.start", [vocabulary + 1])?;
        let blocks = file.tensor("postings")?.typed::<u8>()?;
        check_offsets("beginnings of lists", &start, blocks.len())?;
        let offset = file.typed::<u32>("forward.offset", [documents + 1])?;
        let pairs = file.tensor("forward.pairs")?.typed::<u8>()?;
        check_offsets("beginnings of vectors", &offset, pairs.len() / 2)?;
        let rank = file.typed::<u32>("forward.rank", [vocabulary])?;
        let mut seen = Bitmap::none(vocabulary);
        rank.iter().filter(|rank| (**rank as usize) < vocabulary).for_each(|rank| seen.insert(*rank as usize));
        if seen.count() < vocabulary {
            return Err(corrupt("ranks", "each number below the vocabulary once", "other numbers"));
        }
        let words = file.typed::<u64>("live", [documents.div_ceil(64)])?.to_vec();
        let live = Bitmap::from_words(documents, words).ok_or_else(|| corrupt("live rows", documents, "a row beyond"))?;
        Ok(Index {
            scale,
            df: file.typed::<u32>("terms.df", [vocabulary])?,
            postings: Postings { window, start, blocks },
            forward: Forward { offset, pairs, rank },
            ids: file.typed::<u64>("ids", [documents])?,
            live,
            dropped,
            ladder,
            places: OnceLock::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IndexBuilder, SparseVec, Vectors};
    use scant_testkit::corrupt;

    fn index(n: u32) -> Index {
        let mut documents = Vectors::new();
        for i in 0..n {
            documents.push(SparseVec::new(&[i % 3, 3 + i % 7, 40 + i], &[1.0, 0.5, 0.1 * i as f32]).unwrap()).unwrap();
        }
        IndexBuilder::new().build(&(0..u64::from(n)).map(|i| 7 * i).collect::<Vec<_>>(), &documents).unwrap()
    }

    #[test]
    fn a_saved_index_is_the_same_and_its_bytes_are_the_footprint() {
        let mut index = index(200);
        index.remove(&[7, 70]).unwrap();
        let bytes = index.to_bytes().unwrap();
        let file = File::from_bytes(bytes.clone()).unwrap();
        let opened = Index::from_file(&file).unwrap();
        assert_eq!(opened.to_bytes().unwrap(), bytes);
        let q = SparseVec::new(&[1, 5, 50], &[1.0, 1.0, 1.0]).unwrap();
        assert_eq!(opened.search(q, 20, &Default::default()).unwrap(), index.search(q, 20, &Default::default()).unwrap());
        assert!(opened.row(7).is_err());
        let tensors: usize = file.names().map(|name| file.tensor(name).unwrap()).map(|t| t.typed::<u8>().map_or(0, |t| t.len())).sum();
        assert!(tensors > 0 && index.footprint().total() <= bytes.len());
    }

    #[test]
    fn every_damage_is_refused() {
        let bytes = index(12).to_bytes().unwrap();
        for (damage, file) in corrupt::every_way(&bytes) {
            let opened = File::from_bytes(file.into()).map_err(Error::from).and_then(|file| Index::from_file(&file));
            // A checksum in capitals is the same checksum.
            assert!(opened.is_err() || opened.is_ok_and(|same| same.to_bytes().is_ok_and(|b| b == bytes)), "{damage}");
        }
    }

    #[test]
    fn lists_that_are_no_lists_do_no_harm() {
        let mut rng = scant_tensor_core::rng::Rng::new(4);
        let whole = index(60);
        for _ in 0..10_000 {
            let mut damaged = whole.clone();
            let mut blocks = damaged.postings.blocks.to_vec();
            let mut pairs = damaged.forward.pairs.to_vec();
            for _ in 0..4 {
                let (i, j) = (rng.below(blocks.len()), rng.below(pairs.len()));
                blocks[i] = rng.next_u64() as u8;
                pairs[j] = rng.next_u64() as u8;
            }
            damaged.postings.blocks = blocks.into();
            damaged.forward.pairs = pairs.into();
            let q = SparseVec::new(&[0, 1, 4, 5, 45], &[1.0; 5]).unwrap();
            let _ = damaged.search(q, 5, &Default::default());
            let _ = damaged.score(q, &[0, 7]);
            let _ = damaged.explain(q, 14);
            let _ = damaged.search(q, 5, &crate::SearchOptions { must: &[1], ..Default::default() });
        }
    }
}
