//! Who says how much a token is worth keeping.

use crate::Error;
use std::collections::HashMap;

/// Gives every token of a sequence the probability that it should be kept: `softmax(logits)[1]` of a two-class head.
pub trait TokenClassifier: Sync {
    /// One probability for each id of each sequence, `[CLS]` and `[SEP]` included.
    ///
    /// # Errors
    /// [`Error::Backend`].
    fn keep_probs(&self, sequences: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, Error>;
}

/// Probabilities that were computed elsewhere, found by the sequence of ids.
#[derive(Clone, Debug, Default)]
pub struct Recorded(HashMap<Vec<u32>, Vec<f32>>);

impl Recorded {
    /// Keeps the probabilities of a sequence.
    pub fn insert(&mut self, ids: Vec<u32>, probs: Vec<f32>) {
        self.0.insert(ids, probs);
    }
}

impl TokenClassifier for Recorded {
    fn keep_probs(&self, sequences: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, Error> {
        let missing = |ids: &Vec<u32>| Error::Backend {
            backend: "recorded classifier",
            source: format!("nothing was recorded for the sequence of {} ids that begins with {:?}", ids.len(), &ids[..ids.len().min(8)])
                .into(),
        };
        sequences.iter().map(|ids| self.0.get(ids).cloned().ok_or_else(|| missing(ids))).collect()
    }
}

/// A stand-in without a model: the probability is looked up by a hash of id and position, `(2654435761 id + 40503 position) mod n` for a table of
/// `n` values. It decides nothing sensible, but the same in any program that holds the table.
#[derive(Clone, Debug)]
pub struct Hashed(Vec<f32>);

impl Hashed {
    /// With the given table.
    ///
    /// # Errors
    /// [`Error::Parameter`] for an empty one.
    pub fn new(table: Vec<f32>) -> Result<Hashed, Error> {
        if table.is_empty() {
            return Err(Error::Parameter { name: "table", value: "empty".to_owned(), must: "of at least one probability" });
        }
        Ok(Hashed(table))
    }
}

impl TokenClassifier for Hashed {
    fn keep_probs(&self, sequences: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, Error> {
        let n = self.0.len() as u64;
        let one = |(position, id): (usize, &u32)| self.0[((u64::from(*id) * 2_654_435_761 + position as u64 * 40_503) % n) as usize];
        Ok(sequences.iter().map(|ids| ids.iter().enumerate().map(one).collect()).collect())
    }
}

/// Asks for the probabilities and checks them.
pub(super) fn checked(classifier: &dyn TokenClassifier, sequences: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, Error> {
    let probs = classifier.keep_probs(sequences)?;
    for (sequence, ids) in sequences.iter().enumerate() {
        let got = probs.get(sequence).map_or(0, Vec::len);
        if got != ids.len() {
            return Err(Error::ProbLength { sequence, want: ids.len(), got });
        }
        if let Some((at, value)) = probs[sequence].iter().enumerate().find(|(_, p)| !p.is_finite()) {
            return Err(Error::ProbNotFinite { sequence, at, value: *value });
        }
    }
    Ok(probs)
}
