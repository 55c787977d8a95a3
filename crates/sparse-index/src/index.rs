//! The index: what it holds, and what one document of it is.

use crate::error::Error;
use crate::forward::Forward;
use crate::query::Query;
use crate::vector::{SparseVec, Vectors};
use crate::windowed::Postings;
use scant_tensor_core::file::Typed;
use scant_tensor_core::retrieve::{Bitmap, Columns, Filter};
use std::collections::HashMap;
use std::sync::OnceLock;

/// Sparse vectors in 8-bit impacts, searched exactly: postings by term, the vectors themselves beside them, and ids.
///
/// Built by [`IndexBuilder`](crate::IndexBuilder); see [`search`](Index::search).
#[derive(Clone, Debug)]
pub struct Index {
    /// Weight of one step of a term's code.
    pub(crate) scale: Typed<f32>,
    /// Documents that hold a term, removed ones included.
    pub(crate) df: Typed<u32>,
    pub(crate) postings: Postings,
    pub(crate) forward: Forward,
    pub(crate) ids: Typed<u64>,
    /// Rows that were not removed.
    pub(crate) live: Bitmap,
    pub(crate) dropped: u64,
    /// Cuts with the recall they had, cheapest first: see `calibrate`.
    pub(crate) ladder: Vec<crate::recall::Rung>,
    /// Row of each live id; made when first asked for.
    pub(crate) places: OnceLock<HashMap<u64, u32>>,
}

/// One term's part of a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// The term.
    pub term: u32,
    /// Its weight in the query.
    pub query: f32,
    /// Its weight in the document, as stored.
    pub document: f32,
    /// Their product.
    pub product: f32,
}

/// Bytes by part, exactly those of the saved tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Lists with their headers.
    pub postings: usize,
    /// Scales, frequencies and beginnings of the terms' lists.
    pub terms: usize,
    /// The documents' own vectors, and the terms' ranks.
    pub forward: usize,
    /// Ids, and which are live.
    pub ids: usize,
}

impl Footprint {
    /// All of them.
    pub fn total(&self) -> usize {
        self.postings + self.terms + self.forward + self.ids
    }
}

impl Index {
    /// Documents that can be found.
    pub fn len(&self) -> usize {
        self.live.count()
    }

    /// True without such documents.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Terms that a document can have.
    pub fn vocabulary(&self) -> usize {
        self.scale.len()
    }

    /// Postings, those of removed documents included.
    pub fn postings(&self) -> u64 {
        self.df.iter().map(|df| u64::from(*df)).sum()
    }

    /// Documents that hold a term; removed ones count until the index is built again.
    pub fn document_frequency(&self, term: u32) -> u32 {
        self.df.get(term as usize).copied().unwrap_or(0)
    }

    /// Entries that were less than half a step of their term's scale, and are not there.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The terms' scales, for shards of the same index.
    pub fn scales(&self) -> &[f32] {
        &self.scale
    }

    /// Bytes by part.
    pub fn footprint(&self) -> Footprint {
        let rows = self.ids.len();
        Footprint {
            postings: self.postings.blocks.len(),
            terms: 4 * (self.scale.len() + self.df.len() + self.postings.start.len()),
            forward: self.forward.pairs.len() + 4 * (self.forward.offset.len() + self.forward.rank.len()),
            ids: 8 * rows + 8 * self.live.words().len(),
        }
    }

    /// How far a score of this query can lie from that of the f32 vectors: half a step of each of its terms.
    pub fn score_bound(&self, q: SparseVec<'_>) -> f32 {
        Query::new(q, &self.scale).bound
    }

    /// The rows for which a predicate over attributes holds, for [`SearchOptions`](crate::SearchOptions). Rows of the columns are documents in
    /// the order in which they were built in.
    ///
    /// # Errors
    /// [`Error::Filter`].
    pub fn rows(&self, filter: &Filter, columns: &Columns) -> Result<Bitmap, Error> {
        Ok(filter.rows(columns, &self.ids)?)
    }

    /// The ids, in the order of rows; also those that were removed.
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }

    pub(crate) fn places(&self) -> &HashMap<u64, u32> {
        self.places.get_or_init(|| self.live.iter().map(|row| (self.ids[row], row as u32)).collect())
    }

    pub(crate) fn check_ids(&self) -> Result<(), Error> {
        let mut ids = self.ids.to_vec();
        ids.sort_unstable();
        ids.windows(2).find(|w| w[0] == w[1]).map_or(Ok(()), |w| Err(Error::DuplicateId { id: w[0] }))
    }

    pub(crate) fn row(&self, id: u64) -> Result<usize, Error> {
        self.places().get(&id).map(|row| *row as usize).ok_or(Error::UnknownId { id })
    }

    /// Removes documents, all or none. They are never found again; their bytes stay until the index is built again.
    ///
    /// # Errors
    /// [`Error::UnknownId`], also for an id that comes twice.
    pub fn remove(&mut self, ids: &[u64]) -> Result<(), Error> {
        let mut rows = ids.iter().map(|id| self.row(*id)).collect::<Result<Vec<_>, _>>()?;
        rows.sort_unstable();
        if let Some(twice) = rows.windows(2).find(|w| w[0] == w[1]) {
            return Err(Error::UnknownId { id: self.ids[twice[0]] });
        }
        rows.into_iter().for_each(|row| self.live.remove(row));
        if let Some(places) = self.places.get_mut() {
            ids.iter().for_each(|id| {
                places.remove(id);
            });
        }
        Ok(())
    }

    /// The live documents as they are stored: ids, and vectors of codes times scales.
    pub fn documents(&self) -> (Vec<u64>, Vectors) {
        let terms = self.forward.terms();
        let (mut ids, mut vectors) = (vec![], Vectors::new());
        for row in self.live.iter() {
            let mut entries = self.stored(row, &terms);
            entries.sort_unstable_by_key(|(term, _)| *term);
            let (terms, weights): (Vec<u32>, Vec<f32>) = entries.into_iter().unzip();
            vectors.append(&terms, &weights);
            ids.push(self.ids[row]);
        }
        (ids, vectors)
    }

    fn stored(&self, row: usize, terms: &[u32]) -> Vec<(u32, f32)> {
        let entries = self.forward.entries(row).filter_map(|(rank, code)| Some((*terms.get(rank as usize)?, code)));
        entries.map(|(term, code)| (term, f32::from(code) * self.scale[term as usize])).collect()
    }

    /// Scores of given documents, as a search would give them; 0 for one that shares no term. The way to re-rank the candidates of another
    /// retriever, and all there is to TILDEv2 (Zhuang, Zuccon 2021), whose query weighs a token by how often it comes.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn score(&self, q: SparseVec<'_>, ids: &[u64]) -> Result<Vec<f32>, Error> {
        let query = Query::new(q, &self.scale);
        let mut table = vec![];
        self.fill(&query, &mut table);
        ids.iter().map(|id| Ok(self.forward.score(self.row(*id)?, &table) as f32 * query.factor)).collect()
    }

    /// Puts a query's weights by rank into a table for [`Forward::score`].
    pub(crate) fn fill(&self, query: &Query, table: &mut Vec<u32>) {
        table.resize(self.scale.len().next_power_of_two(), 0);
        query.terms.iter().for_each(|(term, weight)| table[self.forward.rank[*term as usize] as usize] = *weight);
    }

    /// Which terms a score is made of, the largest product first.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn explain(&self, q: SparseVec<'_>, id: u64) -> Result<Vec<Share>, Error> {
        let weights: HashMap<u32, f32> = q.iter().collect();
        let stored = self.stored(self.row(id)?, &self.forward.terms());
        let mut shares: Vec<Share> = stored
            .into_iter()
            .filter_map(|(term, document)| {
                let query = *weights.get(&term)?;
                Some(Share { term, query, document, product: query * document })
            })
            .collect();
        shares.sort_by(|a, b| b.product.total_cmp(&a.product).then(a.term.cmp(&b.term)));
        Ok(shares)
    }
}
