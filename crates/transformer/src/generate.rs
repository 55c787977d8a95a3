//! Text that goes on from a prompt.

use crate::{Error, Sampler, Session, TextStream};

/// Tokens that follow what a session holds, one at a time; made by [`Session::generate`].
///
/// Ends after a token that ends texts (which is not given out), after the limit, or at the end of the model's context.
#[derive(Debug)]
pub struct Tokens<'s, 'm> {
    session: &'s mut Session<'m>,
    sampler: Sampler,
    left: usize,
    /// What the last logits chose, not yet run.
    next: Option<u32>,
}

impl<'m> Session<'m> {
    /// Appends `prompt` and gives up to `limit` tokens that follow it.
    ///
    /// # Errors
    /// Those of [`prefill`](Session::prefill) and [`Sampler::pick`].
    pub fn generate(&mut self, prompt: &[u32], mut sampler: Sampler, limit: usize) -> Result<Tokens<'_, 'm>, Error> {
        let next = sampler.pick(self.prefill(prompt)?)?;
        Ok(Tokens { session: self, sampler, left: limit, next: Some(next) })
    }

    /// Appends the tokens of `prompt` and gives the text that follows it, in pieces of whole characters.
    ///
    /// # Errors
    /// Those of [`generate`](Session::generate); [`Error::NoTokenizer`].
    pub fn generate_text(&mut self, prompt: &str, sampler: Sampler, limit: usize) -> Result<Text<'_, 'm>, Error> {
        let tokenizer = self.model().tokenizer()?;
        let prompt = tokenizer.encode_prompt(prompt)?;
        // Pieces depend on what precedes them: a space, for instance.
        let mut stream = tokenizer.stream();
        prompt.last().map(|t| stream.push(*t)).transpose()?;
        Ok(Text { tokens: self.generate(&prompt, sampler, limit)?, stream, done: false })
    }
}

impl Iterator for Tokens<'_, '_> {
    type Item = Result<u32, Error>;

    fn next(&mut self) -> Option<Result<u32, Error>> {
        let token = self.next.take()?;
        let ends = self.session.model().tokenizer().is_ok_and(|t| t.eos().contains(&token));
        if ends || self.left == 0 {
            return None;
        }
        self.left -= 1;
        if self.left > 0 && self.session.len() < self.session.model().config().context {
            match self.session.decode(token).and_then(|logits| self.sampler.pick(logits)) {
                Ok(next) => self.next = Some(next),
                Err(e) => return Some(Err(e)),
            }
        }
        Some(Ok(token))
    }
}

/// Text that follows a prompt; made by [`Session::generate_text`].
#[derive(Debug)]
pub struct Text<'s, 'm> {
    tokens: Tokens<'s, 'm>,
    stream: TextStream<'m>,
    done: bool,
}

impl Iterator for Text<'_, '_> {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Result<String, Error>> {
        if self.done {
            return None;
        }
        match self.tokens.next() {
            Some(token) => Some(token.and_then(|t| self.stream.push(t))),
            None => {
                self.done = true;
                Some(self.stream.finish())
            }
        }
    }
}
