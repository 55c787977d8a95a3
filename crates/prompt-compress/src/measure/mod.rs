//! Compressed length as a measure: how much two texts share, without a model.
//!
//! [`Deflate`] gives zlib's exact lengths without writing a stream. Over it, [`Nearest`] classifies by the nearest reference in normalized
//! compression distance (Cilibrasi and Vitányi 2005; DNA: arXiv 2401.14025), and [`Aligner`] picks the texts of a pool that are most like a
//! target (ZIP-FIT, arXiv 2410.18194).

mod deflate;
mod huffman;
mod nearest;
#[cfg(test)]
mod tests;
mod zipfit;

pub use deflate::Deflate;
pub use nearest::{Nearest, Neighbour};
pub use zipfit::Aligner;

use crate::Error;

/// What a stream is wrapped in: short texts feel it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// Nothing.
    Raw,
    /// 6 bytes more.
    Zlib,
    /// 18 bytes more.
    Gzip,
}

impl Container {
    /// Bytes beside the raw stream.
    pub fn overhead(self) -> u64 {
        match self {
            Container::Raw => 0,
            Container::Zlib => 6,
            Container::Gzip => 18,
        }
    }
}

/// The normalized compression distance of two texts from the lengths of both together and of each: about 0 for equal, about 1 for unrelated ones.
/// It is not symmetric, and may pass 1 by a little.
pub fn ncd(both: u64, x: u64, y: u64) -> f64 {
    (both as f64 - x.min(y) as f64) / x.max(y) as f64
}

/// Lengths of `texts` in a container, each alone.
fn alone(codec: &Deflate, container: Container, texts: &[&[u8]]) -> Vec<u64> {
    use rayon::prelude::*;
    texts.par_iter().map_init(|| codec.clone(), |codec, text| codec.len(text) + container.overhead()).collect()
}

fn not_empty(texts: &[&[u8]]) -> Result<(), Error> {
    match texts.iter().position(|t| t.is_empty()) {
        Some(index) => Err(Error::EmptyText { index }),
        None => Ok(()),
    }
}
