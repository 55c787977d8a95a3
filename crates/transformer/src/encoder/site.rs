//! Where the matrices of an encoder are.

use super::EncoderConfig;
use std::fmt;

/// An input of a block and the matrices that read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EncoderPart {
    /// Queries, keys and values.
    Qkv,
    /// What follows attention.
    Output,
    /// Into the feed-forward part.
    Intermediate,
    /// Out of it.
    Down,
}

impl EncoderPart {
    /// In the order in which a block runs them.
    pub const ALL: [EncoderPart; 4] = [EncoderPart::Qkv, EncoderPart::Output, EncoderPart::Intermediate, EncoderPart::Down];

    /// What follows `encoder.layer.{layer}.` in Hugging Face's names, in the order of the site's matrices.
    fn hugging_face(self) -> &'static [&'static str] {
        match self {
            EncoderPart::Qkv => &["attention.self.query", "attention.self.key", "attention.self.value"],
            EncoderPart::Output => &["attention.output.dense"],
            EncoderPart::Intermediate => &["intermediate.dense"],
            EncoderPart::Down => &["output.dense"],
        }
    }
}

/// A site of an [`Encoder`](super::Encoder). Ordered as a forward pass meets them.
///
/// ```
/// use scant_transformer::encoder::{EncoderPart, EncoderSite};
/// assert_eq!(EncoderSite::Block { layer: 3, part: EncoderPart::Down }.to_string(), "3.down");
/// assert_eq!(EncoderSite::Words.to_string(), "words");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EncoderSite {
    /// The table of words; with a tied head, the head's matrix and bias too.
    Words,
    /// The table of positions.
    Positions,
    /// One of the four sites of a block.
    Block {
        /// The block, from 0.
        layer: usize,
        /// Which of its sites.
        part: EncoderPart,
    },
    /// Of the head: what comes before the product with the vocabulary.
    Transform,
    /// The head's matrix where it is not the word table.
    Head,
}

impl fmt::Display for EncoderSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncoderSite::Words => f.pad("words"),
            EncoderSite::Positions => f.pad("positions"),
            EncoderSite::Block { layer, part } => {
                let part = match part {
                    EncoderPart::Qkv => "qkv",
                    EncoderPart::Output => "output",
                    EncoderPart::Intermediate => "intermediate",
                    EncoderPart::Down => "down",
                };
                f.pad(&format!("{layer}.{part}"))
            }
            EncoderSite::Transform => f.pad("transform"),
            EncoderSite::Head => f.pad("head"),
        }
    }
}

impl EncoderSite {
    /// Names and shapes of the site's matrices; names as in Hugging Face, without `bert.` and `.weight`.
    pub(crate) fn matrices(self, c: &EncoderConfig) -> Vec<(String, [usize; 2])> {
        let one = |name: &str, shape| vec![(name.to_owned(), shape)];
        match self {
            EncoderSite::Words => one("embeddings.word_embeddings", [c.vocabulary, c.hidden]),
            EncoderSite::Positions => one("embeddings.position_embeddings", [c.positions, c.hidden]),
            EncoderSite::Block { layer, part } => {
                let shape = match part {
                    EncoderPart::Qkv | EncoderPart::Output => [c.hidden, c.hidden],
                    EncoderPart::Intermediate => [c.ffn, c.hidden],
                    EncoderPart::Down => [c.hidden, c.ffn],
                };
                part.hugging_face().iter().map(|name| (format!("encoder.layer.{layer}.{name}"), shape)).collect()
            }
            EncoderSite::Transform => one("cls.predictions.transform.dense", [c.hidden, c.hidden]),
            EncoderSite::Head => one("cls.predictions.decoder", [c.vocabulary, c.hidden]),
        }
    }
}
