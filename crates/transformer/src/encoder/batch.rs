//! Token ids of several texts, one after the other.

use super::Encoder;
use crate::Error;
use ndarray::ArrayView2;
use std::ops::Range;

/// Sequences of token ids, without padding.
///
/// ```
/// use scant_transformer::encoder::Batch;
/// let batch = Batch::new(&[vec![101, 7592, 102], vec![101, 102]])?;
/// let padded = Batch::padded(
///     ndarray::array![[101, 7592, 102, 0], [101, 102, 0, 0]].view(),
///     ndarray::array![[1, 1, 1, 0], [1, 1, 0, 0]].view(),
/// )?;
/// assert_eq!((batch.len(), batch.tokens()), (2, 5));
/// assert_eq!(batch, padded);
/// # Ok::<(), scant_transformer::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    ids: Vec<u32>,
    ends: Vec<usize>,
}

impl Batch {
    /// One sequence for each of `sequences`.
    ///
    /// # Errors
    /// [`Error::NoTokens`] without sequences, [`Error::EmptySequence`].
    pub fn new(sequences: &[Vec<u32>]) -> Result<Batch, Error> {
        if sequences.is_empty() {
            return Err(Error::NoTokens);
        }
        let (mut ids, mut ends) = (vec![], vec![]);
        for (index, sequence) in sequences.iter().enumerate() {
            if sequence.is_empty() {
                return Err(Error::EmptySequence { index });
            }
            ids.extend(sequence);
            ends.push(ids.len());
        }
        Ok(Batch { ids, ends })
    }

    /// The rows of `ids` `[texts, length]` as far as `mask` is 1: what padded batches are elsewhere.
    ///
    /// # Errors
    /// As [`Batch::new`]; [`Error::Mask`] if the shapes differ or a 1 follows a 0, since positions count from the first column.
    pub fn padded(ids: ArrayView2<'_, u32>, mask: ArrayView2<'_, u8>) -> Result<Batch, Error> {
        if ids.dim() != mask.dim() {
            return Err(Error::Mask { detail: format!("ids have shape {:?}, the mask {:?}", ids.shape(), mask.shape()) });
        }
        let row = |(row, (ids, mask)): (usize, (ndarray::ArrayView1<'_, u32>, ndarray::ArrayView1<'_, u8>))| {
            let len = mask.iter().take_while(|m| **m != 0).count();
            match mask.iter().skip(len).position(|m| *m != 0) {
                None => Ok(ids.iter().take(len).copied().collect()),
                Some(gap) => Err(Error::Mask { detail: format!("row {row} is masked at column {len} and not at {}", len + gap) }),
            }
        };
        let rows = ids.rows().into_iter().zip(mask.rows()).enumerate().map(row);
        Batch::new(&rows.collect::<Result<Vec<_>, _>>()?)
    }

    /// Number of sequences; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Where each sequence lies among the tokens.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Range<usize>> {
        self.ends.iter().enumerate().map(|(i, end)| if i == 0 { 0 } else { self.ends[i - 1] }..*end)
    }

    /// The ids of a sequence.
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn sequence(&self, i: usize) -> &[u32] {
        &self.ids[if i == 0 { 0 } else { self.ends[i - 1] }..self.ends[i]]
    }

    pub(crate) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Consecutive sequences of at most `tokens` tokens together, or a single longer one.
    pub(crate) fn groups(&self, tokens: usize) -> Vec<Range<usize>> {
        let mut groups: Vec<Range<usize>> = vec![];
        let mut filled = 0;
        for (i, rows) in self.rows().enumerate() {
            match groups.last_mut().filter(|_| filled + rows.len() <= tokens) {
                Some(group) => {
                    group.end += 1;
                    filled += rows.len();
                }
                None => {
                    groups.push(i..i + 1);
                    filled = rows.len();
                }
            }
        }
        groups
    }
}

impl Encoder {
    /// Token ids of `texts`, each between `[CLS]` and `[SEP]` and cut to `max_tokens`, these two included.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`]; [`Error::Tokenizer`] if the vocabulary lacks one of the two; [`Error::Context`] if `max_tokens` is more than the
    /// encoder has positions; [`Error::NoTokens`] without texts.
    pub fn batch<T: AsRef<str>>(&self, texts: &[T], max_tokens: usize) -> Result<Batch, Error> {
        if max_tokens > self.config.positions {
            return Err(Error::Context { tokens: max_tokens, context: self.config.positions });
        }
        let tokenizer = self.tokenizer()?;
        let (first, last) = self.bounds()?;
        let sequence = |text: &T| {
            let tokens = tokenizer.encode(text.as_ref())?;
            let kept = tokens.iter().take(max_tokens.saturating_sub(2)).copied();
            Ok(std::iter::once(first).chain(kept).chain([last]).collect())
        };
        Batch::new(&texts.iter().map(sequence).collect::<Result<Vec<Vec<u32>>, Error>>()?)
    }

    /// `[CLS]` and `[SEP]`.
    pub(crate) fn bounds(&self) -> Result<(u32, u32), Error> {
        let tokenizer = self.tokenizer()?;
        let id =
            |piece: &str| tokenizer.id(piece).ok_or_else(|| Error::Tokenizer { detail: format!("the vocabulary has no piece `{piece}`") });
        Ok((id("[CLS]")?, id("[SEP]")?))
    }
}
