//! Indexes of bits: words compared by the bits that differ, and recurrent binary embeddings by products of their planes (BEBR, Gan and others 2023).

mod codes;
mod encoder;
mod persist;
mod store;

use crate::error::Error;
use crate::norm::{Precision, Side};
use ndarray::ArrayView2;
use rayon::prelude::*;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::retrieve::{Bitmap, Hit, Order, TopK};
use scant_tensor_core::scan::{BLOCK, Sink, lut4};
use std::collections::HashSet;
use store::{Prepared, Store, lut};

pub use codes::BinaryCodes;
pub use encoder::{BinaryEncoder, Mlp};
pub use store::Scoring;

/// Two bytes: the reciprocal of a length.
const SIDE: Precision = Precision::Half { scale: 1.0 };

/// An exhaustive index of [`BinaryCodes`]. Its scores are cosines, or bits that differ.
///
/// Beside codes of more than one plane, and beside all that queries are compared with unencoded, stands one number of two bytes, so that rows are
/// ranked by cosine: products alone would rank them by their lengths too. It is the reciprocal of the length of the code's components or, if
/// the encoder knows the vector, the better one that is right along the vector itself.
///
/// Codes know their encoder. A query of another one is an error, unless the index was told that it is [compatible](Self::accept).
///
/// ```
/// use ndarray::Array2;
/// use scant_pq_index::{BinaryEncoder, BinaryIndex, Scoring};
/// let x = Array2::from_shape_fn((300, 16), |(i, j)| (((i + 1) * (j + 2)) as f32).sin());
/// let ids: Vec<u64> = (0..300).collect();
/// let encoder = BinaryEncoder::frame(16, 32, 4, 7)?;
/// let mut index = BinaryIndex::new(&encoder, Scoring::Asymmetric);
/// index.add(&ids, &encoder.encode(x.view())?)?;
/// assert_eq!(index.bytes_per_vector(), 16 + 2 + 8); // 32 components of 4 bits
/// let hits = index.search_vectors(&encoder, x.view(), 1, None)?;
/// assert!(hits.iter().enumerate().filter(|(row, hits)| hits[0].id == *row as u64).count() > 290);
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
///
/// Words of bits, as other libraries keep them:
///
/// ```
/// use scant_pq_index::{BinaryCodes, BinaryIndex};
/// let mut index = BinaryIndex::of_words(2, "words")?;
/// index.add(&[5, 6], &BinaryCodes::from_packed(2, "words", &[0xFF, 0x01, 0x0F, 0x00])?)?;
/// let hits = index.search_hamming(&BinaryCodes::from_packed(2, "words", &[0x0F, 0x01])?, 2, None)?;
/// assert_eq!((hits[0][0].id, hits[0][0].score), (6, 1.0)); // one bit differs
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BinaryIndex {
    m: usize,
    planes: u32,
    encoder: String,
    compatible: Vec<String>,
    scoring: Scoring,
    store: Store,
    /// Makes products cosines; without it all codes are equally long.
    sides: Option<Side>,
    ids: Vec<u64>,
}

impl BinaryIndex {
    /// An empty index for the codes of an encoder.
    pub fn new(encoder: &BinaryEncoder, scoring: Scoring) -> BinaryIndex {
        BinaryIndex::empty(encoder.m(), encoder.planes(), encoder.id().to_owned(), scoring)
    }

    /// An empty index for words of `8 bytes` bits, compared by the bits that differ; `encoder` names where they come from.
    ///
    /// # Errors
    /// [`Error::BitBudget`] unless there are 1 to 4,096 bytes.
    pub fn of_words(bytes: usize, encoder: impl Into<String>) -> Result<BinaryIndex, Error> {
        codes::check(bytes.saturating_mul(8), 1)?;
        Ok(BinaryIndex::empty(8 * bytes, 1, encoder.into(), Scoring::Symmetric))
    }

    fn empty(m: usize, planes: u32, encoder: String, scoring: Scoring) -> BinaryIndex {
        let sides = (planes > 1 || scoring == Scoring::Asymmetric).then(|| Side::new(SIDE));
        BinaryIndex { m, planes, encoder, compatible: vec![], scoring, store: Store::new(scoring, m, planes), sides, ids: vec![] }
    }

    /// Accepts queries of another encoder, one that was trained to be compared with the codes here.
    pub fn accept(&mut self, encoder: impl Into<String>) {
        let encoder = encoder.into();
        if !self.compatible.contains(&encoder) {
            self.compatible.push(encoder);
        }
    }

    /// Vectors.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True without vectors.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The id of the encoder of the codes.
    pub fn encoder(&self) -> &str {
        &self.encoder
    }

    /// Bytes of code, side number and id.
    pub fn bytes_per_vector(&self) -> usize {
        self.store.row_bytes(self.m) + self.sides.as_ref().map_or(0, |_| SIDE.size()) + 8
    }

    /// Adds codes under their ids. All or none.
    ///
    /// # Errors
    /// [`Error::EncoderMismatch`] unless they are the index's encoder's, [`Error::DimMismatch`], [`Error::LengthMismatch`],
    /// [`Error::DuplicateId`].
    pub fn add(&mut self, ids: &[u64], codes: &BinaryCodes) -> Result<(), Error> {
        if codes.encoder() != self.encoder {
            return Err(Error::EncoderMismatch { index: self.encoder.clone(), query: codes.encoder().to_owned() });
        }
        self.check_shape(codes)?;
        Error::check_len("ids of the codes", codes.len(), ids.len())?;
        let mut seen: HashSet<u64> = self.ids.iter().copied().collect();
        if let Some(id) = ids.iter().find(|id| !seen.insert(**id)) {
            return Err(Error::DuplicateId { id: *id });
        }
        let unit = self.unit();
        for (i, id) in ids.iter().enumerate() {
            self.store.push(self.ids.len(), codes.row(i), self.planes)?;
            self.ids.push(*id);
            let known = codes.factors.as_ref().filter(|_| self.scoring == Scoring::Asymmetric).map(|factors| factors[i]);
            if let Some(sides) = &mut self.sides {
                sides.push(known.unwrap_or_else(|| unit / codes.norm(i)));
            }
        }
        Ok(())
    }

    /// What levels are divided by.
    fn unit(&self) -> f32 {
        (1u32 << (self.planes - 1)) as f32
    }

    fn check_shape(&self, codes: &BinaryCodes) -> Result<(), Error> {
        Error::check_dim("components of codes", self.m, codes.m())?;
        Error::check_len("planes of codes", self.planes as usize, codes.planes() as usize)
    }

    fn check_query(&self, encoder: &str, k: usize, allow: Option<&Bitmap>) -> Result<(), Error> {
        if encoder != self.encoder && !self.compatible.iter().any(|c| c == encoder) {
            return Err(Error::EncoderMismatch { index: self.encoder.clone(), query: encoder.to_owned() });
        }
        if k == 0 {
            return Err(Error::KZero);
        }
        allow.map_or(Ok(()), |allow| Error::check_len("rows of the filter", self.len(), allow.len()))
    }

    /// The best `k` by the cosine of codes with codes, of the rows in `allow`, if there is one. Symmetric: exact in integers up to the length.
    ///
    /// # Errors
    /// [`Error::EncoderMismatch`], [`Error::DimMismatch`], [`Error::KZero`], [`Error::LengthMismatch`] for a filter of another number of rows.
    pub fn search(&self, q: &BinaryCodes, k: usize, allow: Option<&Bitmap>) -> Result<Vec<Vec<Hit>>, Error> {
        self.check_query(q.encoder(), k, allow)?;
        self.check_shape(q)?;
        if self.planes == 1 && self.scoring == Scoring::Symmetric {
            let cosine = |hit: Hit| Hit { score: 1.0 - 2.0 * hit.score / self.m as f32, ..hit };
            let hits = self.search_hamming(q, k, allow)?;
            return Ok(hits.into_iter().map(|hits| hits.into_iter().map(cosine).collect()).collect());
        }
        (0..q.len()).into_par_iter().map(|i| Ok(self.best(&self.store.prepare(q, i)?, q.norm(i), k, allow))).collect()
    }

    /// The best `k` by the cosine of the vectors of `q` themselves with codes.
    ///
    /// # Errors
    /// As [`search`](Self::search), and [`BinaryEncoder::project`]; [`Error::Combination`] for an index of symmetric scoring.
    pub fn search_vectors(
        &self,
        encoder: &BinaryEncoder,
        q: ArrayView2<'_, f32>,
        k: usize,
        allow: Option<&Bitmap>,
    ) -> Result<Vec<Vec<Hit>>, Error> {
        self.check_query(encoder.id(), k, allow)?;
        Error::check_dim("components of codes", self.m, encoder.m())?;
        if self.scoring == Scoring::Symmetric {
            return Err(Error::Combination { what: "a query that is not encoded", with: "symmetric scoring" });
        }
        let z = encoder.project(q)?;
        let one = |i: usize| {
            let z = z.row(i);
            let prepared = Prepared::Lut(lut(&z.to_vec(), self.planes)?);
            Ok(self.best(&prepared, z.dot(&z).sqrt(), k, allow))
        };
        (0..z.nrows()).into_par_iter().map(one).collect()
    }

    fn best(&self, query: &Prepared, norm: f32, k: usize, allow: Option<&Bitmap>) -> Vec<Hit> {
        let mut best = TopK::new(k);
        let unit = f64::from(self.unit());
        // A query of no length has no direction, and ranks by id.
        let norm = if norm > 0.0 { f64::from(norm) } else { 1.0 };
        self.store.products(query, self.m, self.planes, self.len(), allow, |row, product| {
            let side = self.sides.as_ref().map_or(1.0, |sides| f64::from(sides.get(row)));
            best.push(-(product * side / (unit * norm)) as f32, self.ids[row]);
        });
        best.into_sorted().into_iter().map(|(key, id)| Hit { id, score: Order::LargerFirst.key(key) }).collect()
    }

    /// The `k` words with the fewest bits that differ from each of `q`; the score is their number.
    ///
    /// # Errors
    /// As [`search`](Self::search); [`Error::Combination`] unless there is one plane, of symmetric scoring.
    pub fn search_hamming(&self, q: &BinaryCodes, k: usize, allow: Option<&Bitmap>) -> Result<Vec<Vec<Hit>>, Error> {
        self.check_query(q.encoder(), k, allow)?;
        self.check_shape(q)?;
        let (Store::Tables(codes), 1, Scoring::Symmetric) = (&self.store, self.planes, self.scoring) else {
            return Err(Error::Combination { what: "bits that differ", with: "more planes than one, or unencoded queries" });
        };
        let (isa, blocks, allow) = (Isa::best(), 0..codes.blocks(), allow.map(Bitmap::words));
        let group = GROUP.min(q.len().div_ceil(rayon::current_num_threads())).max(1);
        let some = |first: usize| {
            let queries = first..q.len().min(first + group);
            let tables: Vec<Vec<lut4::Pair>> = queries.map(|i| store::bits_that_differ(q.row(i))).collect();
            let tables: Vec<&[lut4::Pair]> = tables.iter().map(Vec::as_slice).collect();
            let mut best = Closest { best: vec![TopK::new(k); tables.len()], ids: &self.ids };
            if self.m <= usize::from(u8::MAX) {
                lut4::scan_u8(isa, codes, blocks.clone(), &tables, allow, &mut best);
            } else {
                lut4::scan_u16(isa, codes, blocks.clone(), &tables, allow, &mut best);
            }
            let hits = |best: TopK| best.into_sorted().into_iter().map(|(key, id)| Hit { id, score: key }).collect();
            best.best.into_iter().map(hits).collect::<Vec<Vec<Hit>>>()
        };
        Ok((0..q.len()).step_by(group).collect::<Vec<_>>().into_par_iter().map(some).collect::<Vec<_>>().concat())
    }
}

/// Queries that are compared with a block while it is at hand.
const GROUP: usize = 32;

/// Keeps the k smallest counts of each query.
struct Closest<'a> {
    best: Vec<TopK>,
    ids: &'a [u64],
}

macro_rules! closest {
    ($($t:ty)*) => { $(
        impl Sink<$t> for Closest<'_> {
            #[inline(always)]
            fn threshold(&self, query: usize, _: usize) -> $t {
                // Infinity becomes the largest integer.
                self.best[query].worst() as $t
            }

            fn block(&mut self, query: usize, block: usize, mask: u64, sums: &[$t; 64]) {
                let mut rest = mask;
                while rest != 0 {
                    let lane = rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    self.best[query].push(f32::from(sums[lane]), self.ids[block * BLOCK + lane]);
                }
            }
        }
    )* };
}
closest!(u8 u16);

#[cfg(test)]
mod tests;
