//! Passages as rows of tokens, with a weight for each token.

use super::{Answer, Passage, StoryParams};
use scant_tensor_core::rng::Rng;
use std::ops::Range;

/// A text cut into tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Tokens.
    pub ids: Vec<u32>,
    /// The bytes of each token in the text.
    pub offsets: Vec<(usize, usize)>,
}

impl Encoded {
    /// The tokens that hold any byte of `span`.
    pub fn tokens_of(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.offsets.partition_point(|(_, end)| *end <= span.start);
        let end = self.offsets.partition_point(|(begin, _)| *begin < span.end);
        start..end.max(start)
    }

    /// The tokens of an answer, and the tokens from its value's last mention to it.
    pub fn answer(&self, answer: &Answer) -> (Range<usize>, usize) {
        let tokens = self.tokens_of(&answer.span);
        let mention = answer.span.start - answer.distance;
        let distance = tokens.start - self.tokens_of(&(mention..mention + 1)).start;
        (tokens, distance)
    }
}

/// How rows are made of passages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowParams {
    /// What passages are like; their length is drawn for each, between a quarter of the row and all of it.
    pub story: StoryParams,
    /// Tokens of a row.
    pub tokens: usize,
    /// Characters a token stands for, roughly.
    pub chars_per_token: f32,
    /// The piece before each passage.
    pub bos: u32,
    /// The piece after each passage.
    pub eos: u32,
    /// The piece of a line break.
    pub line: u32,
    /// Share of passages that end in a line break instead, with the next one right behind it: as in text that is read from a file.
    pub lines: f32,
    /// Weight of a token of an answer; others weigh 1.
    pub answer_weight: f32,
}

/// Seeds that a row may use: passages of row `i` have the seeds `i * SEEDS_PER_ROW ..`.
pub const SEEDS_PER_ROW: u64 = 256;

/// `tokens + 1` tokens and the weight of each, made of the passages of row `row` behind `first_seed`.
///
/// One row in four lacks its first piece, since text that is measured in windows begins anywhere.
pub fn row<E>(p: &RowParams, first_seed: u64, row: u64, encode: impl Fn(&str) -> Result<Encoded, E>) -> Result<(Vec<u32>, Vec<f32>), E> {
    let seeds = first_seed + row * SEEDS_PER_ROW;
    let rng = &mut Rng::new(seeds ^ 0x5EED);
    let (mut ids, mut weights) = (Vec::with_capacity(p.tokens + 1), Vec::with_capacity(p.tokens + 1));
    let (skip, mut joined) = (usize::from(rng.below(4) == 0), false);
    for seed in seeds..seeds + SEEDS_PER_ROW {
        if ids.len() > p.tokens + skip {
            break;
        }
        let share = 0.25f32.powf(rng.uniform() * 1.2 - 0.2).min(1.1);
        let chars = (p.tokens as f32 * p.chars_per_token * share) as usize;
        let Passage { text, answers } = StoryParams { chars, ..p.story }.passage(seed);
        let encoded = encode(&text)?;
        if !joined {
            ids.push(p.bos);
        }
        let at = ids.len();
        ids.extend_from_slice(&encoded.ids);
        joined = p.lines > 0.0 && rng.uniform() < p.lines;
        ids.push(if joined { p.line } else { p.eos });
        weights.resize(ids.len(), 1.0);
        for answer in &answers {
            let tokens = encoded.tokens_of(&answer.span);
            weights[at + tokens.start..at + tokens.end].fill(p.answer_weight);
        }
    }
    let cut = |len: usize| skip..(skip + p.tokens + 1).min(len);
    Ok((ids[cut(ids.len())].to_vec(), weights[cut(weights.len())].to_vec()))
}
