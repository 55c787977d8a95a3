//! Vectors become an index.

use crate::error::Error;
use crate::forward::{Forward, ranks};
use crate::gaps;
use crate::index::Index;
use crate::vector::Vectors;
use crate::windowed::{MAX_WINDOW, Postings, encode};
use rayon::prelude::*;
use scant_tensor_core::retrieve::Bitmap;
use std::sync::OnceLock;

/// How an index is built.
///
/// ```
/// use scant_sparse_index::{IndexBuilder, SparseVec, Vectors};
/// let mut documents = Vectors::new();
/// documents.push(SparseVec::new(&[1, 5], &[0.5, 2.0])?)?;
/// documents.push(SparseVec::new(&[5, 6], &[1.0, 3.0])?)?;
/// let index = IndexBuilder::new().build(&[10, 20], &documents)?;
/// let hits = index.search(SparseVec::new(&[5], &[1.0])?, 10, &Default::default())?;
/// assert_eq!((hits[0].id, hits[1].id), (10, 20));
/// # Ok::<(), scant_sparse_index::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct IndexBuilder {
    scales: Option<Vec<f32>>,
    pub(crate) window: usize,
}

impl Default for IndexBuilder {
    fn default() -> IndexBuilder {
        IndexBuilder::new()
    }
}

/// A scale for each term, the largest weight over 255, so that 8-bit codes of these vectors lose at most half a scale.
pub fn scales(vectors: &Vectors) -> Vec<f32> {
    let mut scale = vec![0.0f32; vectors.vocabulary()];
    for (term, weight) in vectors.iter().flat_map(|v| v.iter()) {
        scale[term as usize] = scale[term as usize].max(weight / 255.0);
    }
    scale
}

impl IndexBuilder {
    /// With scales from the vectors.
    pub fn new() -> IndexBuilder {
        IndexBuilder { scales: None, window: MAX_WINDOW }
    }

    /// With given scales, one for each term of the vocabulary: shards of one index share them, and their scores are equal to the bit. A weight
    /// above 255 scales is cut to it.
    pub fn scales(mut self, scales: Vec<f32>) -> IndexBuilder {
        self.scales = Some(scales);
        self
    }

    /// Builds: 8-bit codes, postings by window, and the forward index. Weights below half a scale are dropped and
    /// [counted](Index::dropped). Uses all threads of the pool; the bytes do not depend on how many.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is an id for each vector; [`Error::DuplicateId`]; [`Error::TermOutOfRange`] beyond given scales;
    /// [`Error::Parameter`] for a scale that is negative or not finite; [`Error::TooMany`] for postings of 4 GiB and more.
    pub fn build(&self, ids: &[u64], vectors: &Vectors) -> Result<Index, Error> {
        Error::check_len("ids of the vectors", vectors.len(), ids.len())?;
        let scale = match &self.scales {
            Some(given) => given.clone(),
            None => scales(vectors),
        };
        if let Some(bad) = scale.iter().find(|s| !s.is_finite() || **s < 0.0) {
            return Err(Error::Parameter { name: "scales", value: bad.to_string(), must: "0 or more, and finite" });
        }
        if vectors.vocabulary() > scale.len() {
            return Err(Error::TermOutOfRange { term: vectors.vocabulary() as u32 - 1, vocabulary: scale.len() });
        }
        let rows = ids.len();
        let most = self.window << 16;
        if rows > most {
            return Err(Error::TooMany { what: "documents", got: rows, most });
        }
        // Codes, and how many documents hold each term.
        let mut df = vec![0u32; scale.len()];
        let mut codes = Vec::with_capacity(vectors.entries());
        for (term, weight) in vectors.iter().flat_map(|v| v.iter()) {
            let code = code_of(weight, scale[term as usize]);
            df[term as usize] += u32::from(code > 0);
            codes.push(code);
        }
        let dropped = codes.iter().filter(|code| **code == 0).count();
        let forward = forward(vectors, &codes, &df)?;
        let postings = self.postings(vectors, &codes, &df)?;
        let index = Index {
            scale: scale.into(),
            df: df.into(),
            postings,
            forward,
            ids: ids.to_vec().into(),
            live: Bitmap::all(rows),
            dropped: dropped as u64,
            ladder: vec![],
            places: OnceLock::new(),
        };
        index.check_ids()?;
        Ok(index)
    }

    fn postings(&self, vectors: &Vectors, codes: &[u8], df: &[u32]) -> Result<Postings, Error> {
        // Term after term: a counting sort, in which rows come in order.
        let mut place: Vec<usize> = df.iter().scan(0, |sum, n| Some(std::mem::replace(sum, *sum + *n as usize))).collect();
        let total = codes.iter().filter(|code| **code > 0).count();
        let (mut rows, mut sorted) = (vec![0u32; total], vec![0u8; total]);
        let mut at = codes.iter();
        for (v, row) in vectors.iter().zip(0..) {
            for (term, code) in v.terms().iter().zip(at.by_ref()).filter(|(_, code)| **code > 0) {
                let place = &mut place[*term as usize];
                (rows[*place], sorted[*place]) = (row, *code);
                *place += 1;
            }
        }
        // Now each `place` is where its term ends.
        const TERMS: usize = 256;
        let parts: Vec<(Vec<u8>, Vec<usize>)> = (0..df.len().div_ceil(TERMS))
            .into_par_iter()
            .map(|part| {
                let (mut bytes, mut lengths) = (vec![], vec![]);
                for term in part * TERMS..(part * TERMS + TERMS).min(df.len()) {
                    let range = place[term] - df[term] as usize..place[term];
                    let before = bytes.len();
                    encode(&rows[range.clone()], &sorted[range], self.window, vectors.len(), &mut bytes);
                    lengths.push(bytes.len() - before);
                }
                (bytes, lengths)
            })
            .collect();
        let (mut start, mut sum) = (vec![0u32], 0usize);
        for length in parts.iter().flat_map(|(_, lengths)| lengths) {
            sum += length;
            start.push(u32::try_from(sum).map_err(|_| too_long("bytes of postings", sum))?);
        }
        let mut blocks = Vec::with_capacity(sum);
        parts.iter().for_each(|(bytes, _)| blocks.extend_from_slice(bytes));
        Ok(Postings { window: self.window, start: start.into(), blocks: blocks.into() })
    }
}

fn too_long(what: &'static str, got: usize) -> Error {
    Error::TooMany { what, got, most: u32::MAX as usize }
}

fn code_of(weight: f32, scale: f32) -> u8 {
    if scale > 0.0 { (weight / scale).round().min(255.0) as u8 } else { 0 }
}

fn forward(vectors: &Vectors, codes: &[u8], df: &[u32]) -> Result<Forward, Error> {
    let rank = ranks(df);
    let (mut offset, mut pairs) = (vec![0u32], vec![]);
    let mut at = codes.iter();
    let mut entries: Vec<(u32, u8)> = vec![];
    for v in vectors.iter() {
        entries.clear();
        let coded = v.terms().iter().zip(at.by_ref()).filter(|(_, code)| **code > 0);
        entries.extend(coded.map(|(term, code)| (rank[*term as usize], *code)));
        entries.sort_unstable_by_key(|(rank, _)| *rank);
        gaps::encode(entries.iter().copied(), &mut pairs);
        let end = pairs.len() / 2;
        offset.push(u32::try_from(end).map_err(|_| too_long("pairs of the forward index", end))?);
    }
    Ok(Forward { offset: offset.into(), pairs: pairs.into(), rank: rank.into() })
}
