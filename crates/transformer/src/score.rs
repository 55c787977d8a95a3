//! A model as `eval` measures it.

use crate::{Error, Model, Options, Session};
use ndarray::ArrayView2;
use scant_eval::{LanguageModel, ModelError};
use scant_tensor_core::Ctx;

/// Numbers of a block of logits: 64 MiB.
const BLOCK: usize = 16 << 20;

/// Scores windows of text, each on its own, with a model.
#[derive(Debug)]
pub struct Scorer<'m> {
    session: Session<'m>,
}

impl<'m> Scorer<'m> {
    /// Scores with the mode and the team of `ctx` and the path and cache of `options`.
    ///
    /// # Errors
    /// Those of [`Session::new`].
    pub fn new(model: &'m Model, ctx: Ctx<'m>, options: Options) -> Result<Scorer<'m>, Error> {
        Ok(Scorer { session: Session::new(model, ctx, options)? })
    }
}

impl LanguageModel for Scorer<'_> {
    fn vocab_size(&self) -> usize {
        self.session.model().config().vocabulary
    }

    fn context(&self) -> usize {
        self.session.model().config().context
    }

    fn for_logits(&mut self, tokens: &[u32], f: &mut dyn FnMut(usize, ArrayView2<'_, f32>)) -> Result<(), ModelError> {
        self.for_logits_from(tokens, 0, f)
    }

    fn for_logits_from(&mut self, tokens: &[u32], from: usize, f: &mut dyn FnMut(usize, ArrayView2<'_, f32>)) -> Result<(), ModelError> {
        self.session.truncate(0)?;
        let block = (BLOCK / self.vocab_size()).max(1);
        Ok(self.session.score_from(tokens, from, block, f)?)
    }
}
