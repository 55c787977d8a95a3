//! Text of tokens as they come, whole characters at a time.

use super::Tokenizer;
use crate::Error;

/// Turns a stream of tokens into text. Bytes of a character that is not complete yet are held back.
#[derive(Clone, Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    /// Tokens since the last place where text was whole, with one before it, as spaces depend on what precedes.
    recent: Vec<u32>,
    /// How many of them have been given out, and their text.
    told: usize,
    told_text: String,
}

impl<'a> TextStream<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer) -> Self {
        TextStream { tokenizer, recent: vec![], told: 0, told_text: String::new() }
    }

    /// The text that `token` completes; empty while a character is incomplete.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn push(&mut self, token: u32) -> Result<String, Error> {
        self.recent.push(token);
        let text = self.tokenizer.decode(&self.recent)?;
        // A character of UTF-8 has at most four bytes, each at worst a token: what is not whole by then never will be.
        if text.ends_with('\u{fffd}') && self.recent.len() - self.told < 4 {
            return Ok(String::new());
        }
        self.take(&text)
    }

    /// What is left, complete or not.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn finish(&mut self) -> Result<String, Error> {
        let text = self.tokenizer.decode(&self.recent)?;
        self.take(&text)
    }

    fn take(&mut self, text: &str) -> Result<String, Error> {
        let new = match text.strip_prefix(&self.told_text) {
            Some(new) => new.to_owned(),
            // Bytes that make no character can spoil those before them, which have been told.
            None => self.tokenizer.decode(&self.recent[self.told..])?,
        };
        // Keep the tokens just told as what precedes the next ones.
        self.recent.drain(..self.told);
        self.told = self.recent.len();
        self.told_text = self.tokenizer.decode(&self.recent)?;
        Ok(new)
    }
}
