//! The documents' own vectors, compressed: for re-scoring, explaining, and building again.
//!
//! Terms are numbered by how many documents hold them, so that the gaps of a document are short: about 2.5 bytes a term. Codes are those of
//! the postings, so both give the same integer score.

use crate::gaps;
use scant_tensor_core::file::Typed;

#[derive(Clone, Debug)]
pub(crate) struct Forward {
    /// For each row the pair at which it begins; one more for the end.
    pub(crate) offset: Typed<u32>,
    /// Pairs of gap and code over ranks (see gaps.rs).
    pub(crate) pairs: Typed<u8>,
    /// Rank of each term, 0 the one in most documents.
    pub(crate) rank: Typed<u32>,
}

impl Forward {
    fn row(&self, row: usize) -> &[u8] {
        self.pairs.get(2 * self.offset[row] as usize..2 * self.offset[row + 1] as usize).unwrap_or(&[])
    }

    /// The entries of a row: rank and code, ascending.
    pub(crate) fn entries(&self, row: usize) -> impl Iterator<Item = (u32, u8)> {
        gaps::decode(self.row(row))
    }

    /// The terms by rank.
    pub(crate) fn terms(&self) -> Vec<u32> {
        let mut terms = vec![0; self.rank.len()];
        self.rank.iter().zip(0..).for_each(|(rank, term)| terms[*rank as usize] = term);
        terms
    }

    /// The integer score of a row. `table` holds the query's weights by rank, and 0 elsewhere; its length is a power of two.
    pub(crate) fn score(&self, row: usize, table: &[u32]) -> u32 {
        let (mut at, mut sum) = (0, 0u32);
        for [gap, code] in self.row(row).as_chunks::<2>().0 {
            at = gaps::advance(at, *gap, *code);
            sum = sum.wrapping_add(table[at as usize & (table.len() - 1)] * u32::from(*code));
        }
        sum
    }
}

/// Ranks of terms by document frequency, larger first; of equal ones the smaller term.
pub(crate) fn ranks(df: &[u32]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..df.len() as u32).collect();
    order.sort_by_key(|term| (std::cmp::Reverse(df[*term as usize]), *term));
    let mut rank = vec![0; df.len()];
    order.iter().zip(0..).for_each(|(term, r)| rank[*term as usize] = r);
    rank
}
