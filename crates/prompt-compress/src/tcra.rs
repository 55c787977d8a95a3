//! TCRA: words whose absence moves a passage's embedding least go (Liu et al. 2023, arXiv 2310.15556).
//!
//! ```
//! use scant_prompt_compress::{Guess, tcra::{SemanticParams, WordVectors}};
//! let vectors = WordVectors::new(2, [("comet", vec![9.0, 1.0]), ("the", vec![1.0, 1.0]), ("rose", vec![0.0, 8.0])].map(|(w, v)| (w.to_owned(), v)))?;
//! let short = SemanticParams::new(34).compress_static("the comet rose", &vectors, &Guess)?;
//! assert_eq!(short.text, "comet rose");
//! # Ok::<(), scant_prompt_compress::Error>(())
//! ```

use crate::lingua::percentile::{Number, percentile};
use crate::selective::sentences;
use crate::words::{Piece, join, words};
use crate::{Account, Compressed, Error, Guard, TokenCounter};
use ndarray::{Array2, ArrayView1};
use std::collections::HashMap;

/// Words that turn a sentence round, and move its embedding little.
const PROTECTED: [&str; 8] = ["not", "no", "never", "without", "none", "nor", "cannot", "neither"];

/// Gives texts vectors of equal length.
pub trait SentenceEmbedder {
    /// A row for each text.
    ///
    /// # Errors
    /// [`Error::Backend`].
    fn embed(&self, texts: &[&str]) -> Result<Array2<f32>, Error>;
}

/// Vectors of words; a text's is the mean of its words', unknown ones left out.
#[derive(Clone, Debug)]
pub struct WordVectors {
    dim: usize,
    vectors: HashMap<String, Vec<f32>>,
}

impl WordVectors {
    /// From words in lower case with their vectors of `dim` numbers.
    ///
    /// # Errors
    /// [`Error::Line`] for a vector of another length, by its place.
    pub fn new(dim: usize, words: impl IntoIterator<Item = (String, Vec<f32>)>) -> Result<WordVectors, Error> {
        let mut vectors = HashMap::new();
        for (i, (word, vector)) in words.into_iter().enumerate() {
            if vector.len() != dim {
                return Err(Error::Line { line: i + 1, why: format!("`{word}` has {} numbers, not {dim}", vector.len()) });
            }
            vectors.insert(word, vector);
        }
        Ok(WordVectors { dim, vectors })
    }

    fn get(&self, word: &str) -> Option<&[f32]> {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        self.vectors.get(&word).map(Vec::as_slice)
    }

    /// How far the mean of `words` moves without each: `|mean - v| / (n - 1)`, 0 for unknown words.
    fn moves(&self, words: &[&str]) -> Vec<f32> {
        let vectors: Vec<Option<&[f32]>> = words.iter().map(|w| self.get(w)).collect();
        let known = vectors.iter().flatten().count();
        let mut mean = vec![0f64; self.dim];
        for v in vectors.iter().flatten() {
            mean.iter_mut().zip(*v).for_each(|(m, x)| *m += f64::from(*x) / known as f64);
        }
        let moved = |v: &Option<&[f32]>| match v {
            Some(v) if known > 1 => {
                (mean.iter().zip(*v).map(|(m, x)| (m - f64::from(*x)).powi(2)).sum::<f64>().sqrt() / (known - 1) as f64) as f32
            }
            Some(_) => f32::MAX,
            None => 0.0,
        };
        vectors.iter().map(moved).collect()
    }
}

/// What goes and what stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SemanticParams {
    /// Words of a sentence below this percentile of what their absence moves go.
    pub percentile: u32,
    /// Stays. Negations stay too.
    pub guard: Guard,
}

impl SemanticParams {
    /// With the guard on; the paper cuts at 20 to 50.
    pub fn new(percentile: u32) -> SemanticParams {
        SemanticParams { percentile, guard: Guard::default() }
    }

    /// Compresses by an embedder: `n + 1` texts for a sentence of `n` words.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a percentile above 100, [`Error::EmptyText`], what the embedder returns.
    pub fn compress(&self, text: &str, embedder: &dyn SentenceEmbedder, counter: &dyn TokenCounter) -> Result<Compressed, Error> {
        self.run(text, counter, |words| {
            let without = |i: usize| [&words[..i], &words[i + 1..]].concat().join(" ");
            let texts: Vec<String> = std::iter::once(words.join(" ")).chain((0..words.len()).map(without)).collect();
            let rows = embedder.embed(&texts.iter().map(String::as_str).collect::<Vec<_>>())?;
            if rows.nrows() != texts.len() {
                return Err(Error::ProbLength { sequence: 0, want: texts.len(), got: rows.nrows() });
            }
            let distance =
                |a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>| a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f32>().sqrt();
            Ok((1..texts.len()).map(|i| distance(rows.row(0), rows.row(i))).collect())
        })
    }

    /// Compresses by vectors of words, in one pass: exactly what embedding every sentence without each word would give.
    ///
    /// # Errors
    /// As [`SemanticParams::compress`].
    pub fn compress_static(&self, text: &str, vectors: &WordVectors, counter: &dyn TokenCounter) -> Result<Compressed, Error> {
        self.run(text, counter, |words| Ok(vectors.moves(words)))
    }

    fn run(&self, text: &str, counter: &dyn TokenCounter, moves: impl Fn(&[&str]) -> Result<Vec<f32>, Error>) -> Result<Compressed, Error> {
        if self.percentile > 100 {
            return Err(Error::Parameter { name: "percentile", value: self.percentile.to_string(), must: "at most 100" });
        }
        let (mut pieces, protected) = words(text, self.guard);
        if pieces.is_empty() {
            return Err(Error::EmptyText { index: 0 });
        }
        let mut keep = vec![true; pieces.len()];
        let mut first = 0;
        for sentence in sentences(text) {
            let n = pieces[first..].iter().take_while(|p| p.range.start < sentence.end).count();
            let own: &mut [Piece] = &mut pieces[first..first + n];
            let words: Vec<&str> = own.iter().map(|p| &text[p.range.clone()]).collect();
            let moved = moves(&words)?;
            let mut sorted: Vec<(Number, u32)> = moved.iter().map(|m| (Number::narrow(*m), 1)).collect();
            let threshold = percentile(&mut sorted, self.percentile).unwrap_or(0.0);
            for (i, piece) in own.iter_mut().enumerate() {
                piece.score = moved[i];
                let core = words[i].trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
                let negation = PROTECTED.contains(&&*core) || core.ends_with("n't");
                keep[first + i] = piece.protected || negation || self.percentile == 0 || f64::from(moved[i]) >= threshold;
            }
            first += n;
        }
        let (out, spans) = join(text, &pieces, &keep, &protected);
        Ok(Compressed { account: Account::of(counter, text, &out), text: out, spans, warnings: vec![] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Guess;

    /// The mean of word vectors as any embedder would give it.
    impl SentenceEmbedder for WordVectors {
        fn embed(&self, texts: &[&str]) -> Result<Array2<f32>, Error> {
            let mut rows = Array2::zeros((texts.len(), self.dim));
            for (mut row, text) in rows.rows_mut().into_iter().zip(texts) {
                let known: Vec<&[f32]> = text.split_whitespace().filter_map(|w| self.get(w)).collect();
                for v in &known {
                    row.iter_mut().zip(*v).for_each(|(r, x)| *r += x / known.len() as f32);
                }
            }
            Ok(rows)
        }
    }

    fn vectors() -> WordVectors {
        let words = "the cat sat on mat and dog saw it run far away from home one two three".split(' ');
        let vector = |i: usize| (0..8).map(|j| ((i * 37 + j * 101) % 59) as f32 / 59.0).collect();
        WordVectors::new(8, words.enumerate().map(|(i, w)| (w.to_owned(), vector(i)))).unwrap()
    }

    #[test]
    fn one_pass_is_what_leaving_out_each_word_gives() {
        let text = "The cat sat on the mat, and it saw the dog run far away. One dog saw it run home from three cats.";
        let v = vectors();
        let params = SemanticParams::new(40);
        let (fast, slow) = (params.compress_static(text, &v, &Guess).unwrap(), params.compress(text, &v, &Guess).unwrap());
        assert_eq!(fast.text, slow.text);
        assert!(fast.text.len() < text.len());
        for (a, b) in fast.spans.iter().zip(&slow.spans) {
            assert!((a.score - b.score).abs() < 1e-5, "{} {}", a.score, b.score);
        }
    }

    #[test]
    fn nothing_goes_at_percentile_0_and_negations_and_numbers_never() {
        let v = vectors();
        let text = "the cat is not on mat 7 and it can't run";
        assert_eq!(SemanticParams::new(0).compress_static(text, &v, &Guess).unwrap().text, text);
        let short = SemanticParams::new(100).compress_static(text, &v, &Guess).unwrap().text;
        assert!(["not", "7", "can't"].iter().all(|w| short.contains(w)), "{short}");
    }
}
