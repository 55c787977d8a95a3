//! The nearest reference in compression distance.

use super::{Container, Deflate, alone, ncd, not_empty};
use crate::Error;
use rayon::prelude::*;

/// A reference and how far it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Its place among the references.
    pub index: usize,
    /// Its distance.
    pub distance: f64,
    /// References that were compared; fewer than all where the rest could not win.
    pub compared: usize,
}

/// Finds the reference `r` with the least distance of `query ⊕ separator ⊕ r`, the first of equals.
///
/// ```
/// use scant_prompt_compress::measure::{Container, Nearest};
/// let references: [&[u8]; 2] = [b"the cat sat on the mat and slept", b"ACGTACGTTAGACCAGATTACAGATTACA"];
/// let nearest = Nearest::new(9, Container::Gzip, b" ", &references)?;
/// assert_eq!(nearest.find(b"GATTACAGATTACCAGACGT", None)?.index, 1);
/// # Ok::<(), scant_prompt_compress::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Nearest<'a> {
    codec: Deflate,
    container: Container,
    references: Vec<&'a [u8]>,
    lengths: Vec<u64>,
    separator: Vec<u8>,
}

impl<'a> Nearest<'a> {
    /// With deflate at `level`. Compresses every reference once.
    ///
    /// # Errors
    /// [`Error::Nothing`] without references, [`Error::EmptyText`], [`Error::LevelUnsupported`].
    pub fn new(level: u32, container: Container, separator: &[u8], references: &[&'a [u8]]) -> Result<Nearest<'a>, Error> {
        if references.is_empty() {
            return Err(Error::Nothing("references"));
        }
        not_empty(references)?;
        let codec = Deflate::new(level)?;
        let lengths = alone(&codec, container, references);
        Ok(Nearest { codec, container, references: references.to_vec(), lengths, separator: separator.to_vec() })
    }

    /// The nearest reference. With a `slack`, references whose distance cannot be the least are not compressed, assuming that the length of two
    /// texts together is at least `1 - slack` of that of the longer one; without, all are.
    ///
    /// # Errors
    /// [`Error::EmptyText`].
    pub fn find(&self, query: &[u8], slack: Option<f64>) -> Result<Neighbour, Error> {
        self.find_with(&mut self.codec.clone(), query, slack)
    }

    /// As [`Nearest::find`], for many queries in parallel.
    ///
    /// # Errors
    /// [`Error::EmptyText`].
    pub fn find_all(&self, queries: &[&[u8]], slack: Option<f64>) -> Result<Vec<Neighbour>, Error> {
        not_empty(queries)?;
        queries.par_iter().map_init(|| self.codec.clone(), |codec, query| self.find_with(codec, query, slack)).collect()
    }

    fn find_with(&self, codec: &mut Deflate, query: &[u8], slack: Option<f64>) -> Result<Neighbour, Error> {
        if query.is_empty() {
            return Err(Error::EmptyText { index: 0 });
        }
        let own = codec.len(query) + self.container.overhead();
        let mut prefix = query.to_vec();
        prefix.extend(&self.separator);
        codec.set_prefix(&prefix);
        let mut best = Neighbour { index: 0, distance: f64::INFINITY, compared: 0 };
        let mut compare = |index: usize, best: &mut Neighbour| {
            let both = codec.len_after(self.references[index]) + self.container.overhead();
            let distance = ncd(both, own, self.lengths[index]);
            best.compared += 1;
            if distance < best.distance || (distance == best.distance && index < best.index) {
                (best.index, best.distance) = (index, distance);
            }
        };
        let Some(slack) = slack else {
            (0..self.references.len()).for_each(|i| compare(i, &mut best));
            return Ok(best);
        };
        // The best that a reference of a length can do; those of like length can do best, so they come first.
        let bound = |i: usize| {
            let (a, b) = (own.min(self.lengths[i]) as f64, own.max(self.lengths[i]) as f64);
            1.0 - slack - a / b
        };
        let mut order: Vec<usize> = (0..self.references.len()).collect();
        order.sort_by(|a, b| bound(*a).total_cmp(&bound(*b)).then(a.cmp(b)));
        for i in order {
            if bound(i) > best.distance {
                break;
            }
            compare(i, &mut best);
        }
        Ok(best)
    }
}
