//! Sparse vectors: terms with weights.

use crate::error::Error;

/// Terms, strictly ascending, with a weight of 0 or more each. A document or a query.
///
/// ```
/// use scant_sparse_index::SparseVec;
/// let v = SparseVec::new(&[3, 70_000], &[0.5, 1.25])?;
/// assert_eq!(v.iter().next(), Some((3, 0.5)));
/// let error = SparseVec::new(&[3, 3], &[0.5, 1.25]).unwrap_err();
/// assert_eq!(error.to_string(), "term 3 does not come after term 3: terms ascend, each once");
/// # Ok::<(), scant_sparse_index::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SparseVec<'a> {
    terms: &'a [u32],
    weights: &'a [f32],
}

impl<'a> SparseVec<'a> {
    /// Checks and takes.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::TermOrder`], [`Error::NonFinite`], [`Error::Negative`].
    pub fn new(terms: &'a [u32], weights: &'a [f32]) -> Result<SparseVec<'a>, Error> {
        Error::check_len("weights of the terms", terms.len(), weights.len())?;
        if let Some(w) = terms.windows(2).find(|w| w[0] >= w[1]) {
            return Err(Error::TermOrder { term: w[1], before: w[0] });
        }
        for (term, weight) in terms.iter().copied().zip(weights.iter().copied()) {
            if !weight.is_finite() {
                return Err(Error::NonFinite { term, weight });
            }
            if weight < 0.0 {
                return Err(Error::Negative { term, weight });
            }
        }
        Ok(SparseVec { terms, weights })
    }

    /// The terms.
    pub fn terms(&self) -> &'a [u32] {
        self.terms
    }

    /// Their weights.
    pub fn weights(&self) -> &'a [f32] {
        self.weights
    }

    /// Terms with their weights.
    pub fn iter(&self) -> impl Iterator<Item = (u32, f32)> + use<'a> {
        self.terms.iter().copied().zip(self.weights.iter().copied())
    }

    /// Terms there are.
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// True without terms; such a vector matches nothing.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

/// Many sparse vectors, one behind the other. Entries of weight 0 are left out as they come.
///
/// ```
/// use scant_sparse_index::{SparseVec, Vectors};
/// let mut vectors = Vectors::new();
/// vectors.push(SparseVec::new(&[1, 4], &[0.5, 2.0])?)?;
/// vectors.push_unsorted(&[(9, 1.0), (2, 0.0), (4, 1.0)])?;
/// assert_eq!((vectors.len(), vectors.entries()), (2, 4));
/// assert_eq!(vectors.get(1).terms(), [4, 9]);
/// # Ok::<(), scant_sparse_index::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Vectors {
    offset: Vec<usize>,
    terms: Vec<u32>,
    weights: Vec<f32>,
}

impl Default for Vectors {
    fn default() -> Vectors {
        Vectors::new()
    }
}

impl Vectors {
    /// None yet.
    pub fn new() -> Vectors {
        Vectors { offset: vec![0], terms: vec![], weights: vec![] }
    }

    /// Appends a vector, which [`SparseVec::new`] has checked.
    ///
    /// # Errors
    /// [`Error::TermOutOfRange`] for the term 2^32 - 1, which no vocabulary can hold.
    pub fn push(&mut self, v: SparseVec<'_>) -> Result<(), Error> {
        if v.terms.last() == Some(&u32::MAX) {
            return Err(Error::TermOutOfRange { term: u32::MAX, vocabulary: u32::MAX as usize });
        }
        for (term, weight) in v.iter().filter(|(_, weight)| *weight > 0.0) {
            self.terms.push(term);
            self.weights.push(weight);
        }
        self.offset.push(self.terms.len());
        Ok(())
    }

    /// Appends a vector given in any order.
    ///
    /// # Errors
    /// As [`SparseVec::new`]: a term that comes twice is [`Error::TermOrder`].
    pub fn push_unsorted(&mut self, entries: &[(u32, f32)]) -> Result<(), Error> {
        let mut entries = entries.to_vec();
        entries.sort_by_key(|(term, _)| *term);
        let (terms, weights): (Vec<u32>, Vec<f32>) = entries.into_iter().unzip();
        self.push(SparseVec::new(&terms, &weights)?)
    }

    /// Appends what is known to be in order and above 0.
    pub(crate) fn append(&mut self, terms: &[u32], weights: &[f32]) {
        self.terms.extend_from_slice(terms);
        self.weights.extend_from_slice(weights);
        self.offset.push(self.terms.len());
    }

    /// A vector.
    ///
    /// # Panics
    /// If there is no such vector.
    pub fn get(&self, i: usize) -> SparseVec<'_> {
        let range = self.offset[i]..self.offset[i + 1];
        SparseVec { terms: &self.terms[range.clone()], weights: &self.weights[range] }
    }

    /// The vectors in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = SparseVec<'_>> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Vectors there are.
    pub fn len(&self) -> usize {
        self.offset.len() - 1
    }

    /// True without vectors.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Terms of all vectors together.
    pub fn entries(&self) -> usize {
        self.terms.len()
    }

    /// One more than the largest term.
    pub fn vocabulary(&self) -> usize {
        self.terms.iter().max().map_or(0, |term| *term as usize + 1)
    }
}

/// Keeps the heaviest terms of a vector: at most `terms` of them; of equal weights the smaller terms. Sorted by term.
///
/// A budget per document bounds the index; after 8-bit impacts it is the next, dearer way to fewer bytes.
pub fn keep_heaviest(entries: &mut Vec<(u32, f32)>, terms: usize) {
    entries.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    entries.truncate(terms);
    entries.sort_by_key(|(term, _)| *term);
}
