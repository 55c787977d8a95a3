//! ZIP-FIT: which texts of a pool are most like a target (Obbad et al. 2024, arXiv 2410.18194).

use super::{Container, Deflate, alone, ncd, not_empty};
use crate::Error;
use rayon::prelude::*;

/// Scores texts by their alignment with target texts: `1 - mean over targets of NCD(text ⊕ target)`.
///
/// ```
/// use scant_prompt_compress::measure::{Aligner, Container};
/// let aligner = Aligner::new(6, Container::Gzip, &[b"fn main() { println!(\"hello\"); }"])?;
/// let pool: [&[u8]; 2] = [b"It was a dark and stormy night, and the rain fell.", b"fn other() { println!(\"hello again\"); }"];
/// assert_eq!(aligner.rank(&pool, 1)?[0].0, 1);
/// # Ok::<(), scant_prompt_compress::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Aligner<'a> {
    codec: Deflate,
    container: Container,
    targets: Vec<&'a [u8]>,
    lengths: Vec<u64>,
}

impl<'a> Aligner<'a> {
    /// With deflate at `level`; compresses every target once.
    ///
    /// # Errors
    /// [`Error::Nothing`] without targets, [`Error::EmptyText`], [`Error::LevelUnsupported`].
    pub fn new(level: u32, container: Container, targets: &[&'a [u8]]) -> Result<Aligner<'a>, Error> {
        if targets.is_empty() {
            return Err(Error::Nothing("targets"));
        }
        not_empty(targets)?;
        let codec = Deflate::new(level)?;
        let lengths = alone(&codec, container, targets);
        Ok(Aligner { codec, container, targets: targets.to_vec(), lengths })
    }

    /// The alignment of each text, in order, whatever the number of threads.
    ///
    /// # Errors
    /// [`Error::EmptyText`].
    pub fn scores(&self, texts: &[&[u8]]) -> Result<Vec<f64>, Error> {
        not_empty(texts)?;
        Ok(texts.par_iter().map_init(|| self.codec.clone(), |codec, text| self.score_with(codec, text)).collect())
    }

    /// The `k` best of `texts` with their scores, best first, of equals the first.
    ///
    /// # Errors
    /// [`Error::EmptyText`]; [`Error::Parameter`] if there are fewer than `k`.
    pub fn rank(&self, texts: &[&[u8]], k: usize) -> Result<Vec<(usize, f64)>, Error> {
        if k > texts.len() {
            return Err(Error::Parameter { name: "k", value: k.to_string(), must: "at most the number of texts" });
        }
        let mut ranked: Vec<(usize, f64)> = self.scores(texts)?.into_iter().enumerate().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        ranked.truncate(k);
        Ok(ranked)
    }

    fn score_with(&self, codec: &mut Deflate, text: &[u8]) -> f64 {
        let own = codec.len(text) + self.container.overhead();
        codec.set_prefix(text);
        let mut sum = 0.0;
        for (target, length) in self.targets.iter().zip(&self.lengths) {
            sum += ncd(codec.len_after(target) + self.container.overhead(), own, *length);
        }
        1.0 - sum / self.targets.len() as f64
    }
}
