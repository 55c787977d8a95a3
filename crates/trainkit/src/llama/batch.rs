//! Sequences of equal length with what follows each token.

use crate::error::Error;

/// `rows` sequences of `tokens`: inputs, targets, and the weight of each target in the loss.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    rows: usize,
    tokens: usize,
    inputs: Vec<u32>,
    targets: Vec<u32>,
    weights: Vec<f32>,
}

impl Batch {
    /// A batch; the arrays hold one row behind the other.
    ///
    /// # Errors
    /// [`Error::Batch`] for arrays of another length; [`Error::Weights`] for weights that are negative, not finite or all 0.
    pub fn new(rows: usize, tokens: usize, inputs: Vec<u32>, targets: Vec<u32>, weights: Vec<f32>) -> Result<Batch, Error> {
        for (what, got) in [("inputs", inputs.len()), ("targets", targets.len()), ("weights", weights.len())] {
            if got != rows * tokens || got == 0 {
                return Err(Error::Batch { what, got, rows, tokens });
            }
        }
        let batch = Batch { rows, tokens, inputs, targets, weights };
        let sum = batch.weight();
        if !(sum.is_finite() && sum > 0.0 && batch.weights.iter().all(|w| *w >= 0.0)) {
            return Err(Error::Weights { sum });
        }
        Ok(batch)
    }

    /// Sequences.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Tokens of a sequence.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Tokens that go in.
    pub fn inputs(&self) -> &[u32] {
        &self.inputs
    }

    /// Tokens that follow.
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// How much each target counts.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The sum of the weights.
    pub fn weight(&self) -> f64 {
        self.weights.iter().map(|w| f64::from(*w)).sum()
    }

    /// The batch cut into `shards` of equal rows. A shard's weights may all be 0: `gradient` divides by the whole batch's.
    ///
    /// # Errors
    /// [`Error::Shards`] if the rows do not split evenly.
    pub fn split(&self, shards: usize) -> Result<Vec<Batch>, Error> {
        if shards == 0 || !self.rows.is_multiple_of(shards) {
            return Err(Error::Shards { rows: self.rows, shards });
        }
        let rows = self.rows / shards;
        let part = |i: usize| i * rows * self.tokens..(i + 1) * rows * self.tokens;
        let shard = |i| Batch {
            rows,
            tokens: self.tokens,
            inputs: self.inputs[part(i)].to_vec(),
            targets: self.targets[part(i)].to_vec(),
            weights: self.weights[part(i)].to_vec(),
        };
        Ok((0..shards).map(shard).collect())
    }
}
