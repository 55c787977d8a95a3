//! What a measurement needs of a model, and nothing else.

use ndarray::{ArrayView2, Axis};

/// An error of the model's own.
pub type ModelError = Box<dyn std::error::Error + Send + Sync>;

/// A causal language model that scores a whole window at once.
pub trait LanguageModel {
    /// Pieces of the vocabulary.
    fn vocab_size(&self) -> usize;

    /// The longest window it takes, in tokens.
    fn context(&self) -> usize;

    /// Calls `f(first, logits)` for consecutive blocks of positions of `tokens`, first to last: row `i` of `logits` `[rows, vocab_size]` predicts
    /// what follows position `first + i`. Blocks keep memory small: a window of 512 tokens over 262,144 pieces would be half a gigabyte.
    ///
    /// # Errors
    /// Whatever stops the model.
    fn for_logits(&mut self, tokens: &[u32], f: &mut dyn FnMut(usize, ArrayView2<'_, f32>)) -> Result<(), ModelError>;

    /// As [`for_logits`](LanguageModel::for_logits), for the positions from `from` on alone. A model that can leave out the others' logits should:
    /// with a small model, most of the work is in them.
    ///
    /// # Errors
    /// As there.
    fn for_logits_from(&mut self, tokens: &[u32], from: usize, f: &mut dyn FnMut(usize, ArrayView2<'_, f32>)) -> Result<(), ModelError> {
        self.for_logits(tokens, &mut |first, logits| {
            let skip = from.saturating_sub(first).min(logits.nrows());
            if skip < logits.nrows() {
                f(first + skip, logits.slice_axis(Axis(0), (skip..).into()));
            }
        })
    }
}
