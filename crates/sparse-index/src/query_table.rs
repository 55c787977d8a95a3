//! Queries without a model: tokens, and one weight for each (Geng, Ru, Wang, Yang 2024).

use crate::error::Error;
use crate::vector::Vectors;
use std::collections::BTreeSet;

/// The weight of each token in a query: learned with a document encoder, or from the collection's own document frequencies.
///
/// ```
/// use scant_sparse_index::QueryTable;
/// // Three documents as token ids; token 0 is in all of them.
/// let table = QueryTable::from_documents(4, [&[0, 1][..], &[0, 2, 2], &[0]])?;
/// let query = table.encode(&[2, 0, 2]);
/// assert_eq!(query.get(0).terms(), [0, 2]); // a set: order and repetition do not matter
/// assert!(query.get(0).weights()[1] > query.get(0).weights()[0]);
/// # Ok::<(), scant_sparse_index::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct QueryTable {
    weights: Vec<f32>,
}

impl QueryTable {
    /// Given weights, one for each token of the vocabulary; negative ones, which learning can leave, count as 0.
    ///
    /// # Errors
    /// [`Error::NonFinite`].
    pub fn new(weights: Vec<f32>) -> Result<QueryTable, Error> {
        match weights.iter().zip(0..).find(|(weight, _)| !weight.is_finite()) {
            Some((weight, term)) => Err(Error::NonFinite { term, weight: *weight }),
            None => Ok(QueryTable { weights: weights.into_iter().map(|w| w.max(0.0)).collect() }),
        }
    }

    /// `ln(1 + (N - df + .5) / (df + .5))` over the tokens of the documents' texts (not of their expanded vectors).
    ///
    /// # Errors
    /// [`Error::TermOutOfRange`].
    pub fn from_documents<'a>(vocabulary: usize, documents: impl IntoIterator<Item = &'a [u32]>) -> Result<QueryTable, Error> {
        let mut df = vec![0u32; vocabulary];
        let mut n = 0u32;
        for tokens in documents {
            n += 1;
            for term in tokens.iter().copied().collect::<BTreeSet<u32>>() {
                *df.get_mut(term as usize).ok_or(Error::TermOutOfRange { term, vocabulary })? += 1;
            }
        }
        let idf = |df: &u32| (1.0 + (f64::from(n - df) + 0.5) / (f64::from(*df) + 0.5)).ln() as f32;
        QueryTable::new(df.iter().map(idf).collect())
    }

    /// Takes tokens out of all queries: padding, separators and the like.
    pub fn without(mut self, tokens: &[u32]) -> QueryTable {
        for token in tokens {
            if let Some(weight) = self.weights.get_mut(*token as usize) {
                *weight = 0.0;
            }
        }
        self
    }

    /// The query of a text's tokens: each once, with its weight. Tokens beyond the table weigh 1.
    pub fn encode(&self, tokens: &[u32]) -> Vectors {
        let set: BTreeSet<u32> = tokens.iter().copied().collect();
        let weighed = set.into_iter().map(|t| (t, self.weights.get(t as usize).copied().unwrap_or(1.0)));
        let (terms, weights): (Vec<u32>, Vec<f32>) = weighed.filter(|(_, weight)| *weight > 0.0).unzip();
        let mut query = Vectors::new();
        query.append(&terms, &weights);
        query
    }
}
