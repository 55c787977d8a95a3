//! Small English stories and lists of facts from a seed, with the places of answers that can be known from the text before them.
//!
//! A passage states facts ("Mira lives in Tarn.") about several people or things in the same relation, and later asks for a random one of them,
//! so that neither the newest nor the most frequent value is the answer: only matching the key finds it. Everything is made of word lists and
//! templates in this module; nothing is quoted. The same seed and parameters give the same text on every machine.
//!
//! ```
//! use scant_eval::stories::{StoryParams, TRAIN_SEEDS};
//! let passage = StoryParams { chars: 400, ..StoryParams::default() }.passage(TRAIN_SEEDS.start + 7);
//! for answer in &passage.answers {
//!     let value = &passage.text[answer.span.clone()];
//!     assert!(passage.text[..answer.span.start].contains(value)); // stated before
//! }
//! ```

mod facts;
mod lexicon;
mod passage;
mod rows;
mod scenes;
mod text;
mod words;

pub use facts::Relation;
pub use passage::{Answer, Passage, StoryParams};
pub use rows::{Encoded, RowParams, SEEDS_PER_ROW, row};

use lexicon::Lexicon;
use passage::Draft;
use scant_tensor_core::rng::Rng;
use std::ops::Range;

/// Seeds of text that models are trained on.
pub const TRAIN_SEEDS: Range<u64> = 0..1 << 40;
/// Seeds of text that no model of this project was trained on: for measurements.
pub const HELD_OUT_SEEDS: Range<u64> = 1 << 40..1 << 41;
/// Seeds of text for calibration: neither trained on nor measured.
pub const CALIBRATION_SEEDS: Range<u64> = 1 << 41..1 << 42;

impl StoryParams {
    /// The passage of `seed`.
    ///
    /// `breadth` is held to (0, 1], a length of 0 gives a few sentences.
    pub fn passage(&self, seed: u64) -> Passage {
        let rng = &mut Rng::new(seed);
        let lexicon = Lexicon::new(self.breadth);
        let mut draft = Draft::new(&lexicon);
        let kind = rng.uniform();
        if kind < self.recitals {
            draft.recital(self, rng);
        } else if kind < self.recitals + self.stories {
            draft.story(self, rng);
        } else {
            draft.questions(self, rng);
        }
        draft.finish()
    }
}

/// A passage that ends in one question and its answer: `candidates` facts of one relation (2 or more), then `pause` characters without facts.
///
/// ```
/// let passage = scant_eval::stories::question(4, 100, 1);
/// let last = passage.answers.last().unwrap();
/// assert_eq!(last.candidates, 4);
/// ```
pub fn question(candidates: usize, pause: usize, seed: u64) -> Passage {
    let rng = &mut Rng::new(seed);
    let lexicon = Lexicon::new(1.0);
    let mut draft = Draft::new(&lexicon);
    draft.one_question(candidates.max(2), pause, rng);
    draft.finish()
}

/// Passages of consecutive `seeds` on lines of their own, at least `chars` characters: text for perplexity or calibration.
pub fn text(params: &StoryParams, seeds: Range<u64>, chars: usize) -> String {
    let mut out = String::with_capacity(chars + params.chars);
    for seed in seeds {
        if out.len() >= chars {
            break;
        }
        out.push_str(&params.passage(seed).text);
        out.push('\n');
    }
    out
}
