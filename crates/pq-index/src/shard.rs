//! Parts of an index that are searched alone, and their results merged.

use crate::error::Error;
use crate::index::Index;
use crate::search::SearchOptions;
use ndarray::ArrayView2;
use rayon::prelude::*;
use scant_tensor_core::retrieve::{Hit, merge};

/// Indexes that were trained together and hold different ids. A file of one is a shard: it opens and searches alone.
///
/// ```
/// use ndarray::{Array2, s};
/// use scant_pq_index::quantizer::QuantizerKind;
/// use scant_pq_index::{IndexBuilder, Metric, Shards};
/// let x = Array2::from_shape_fn((600, 8), |(i, j)| ((i * (j + 2)) as f32).sin());
/// let trained = IndexBuilder::new(Metric::L2).quantizer(QuantizerKind::Product { m: 4, bits: 4 }).train(&x)?;
/// let (mut a, mut b, mut whole) = (trained.clone(), trained.clone(), trained);
/// whole.add_source(&x)?;
/// a.add(&(0..250).collect::<Vec<_>>(), x.slice(s![..250, ..]))?;
/// b.add(&(250..600).collect::<Vec<_>>(), x.slice(s![250.., ..]))?;
/// let shards = Shards::new(vec![a.finish(), b.finish()])?;
/// let q = x.slice(s![..20, ..]);
/// assert_eq!(shards.search(q, 10, &Default::default())?, whole.finish().search(q, 10, &Default::default())?);
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Shards {
    parts: Vec<Index>,
}

impl Shards {
    /// Of at least one part. That ids differ is for the caller to see to.
    ///
    /// # Errors
    /// [`Error::QuantizerMismatch`] if two parts were not trained together; [`Error::LengthMismatch`] without parts.
    pub fn new(parts: Vec<Index>) -> Result<Shards, Error> {
        let Some(first) = parts.first() else {
            return Err(Error::LengthMismatch { what: "shards", want: 1, got: 0 });
        };
        match parts.iter().find(|part| part.digest() != first.digest()) {
            Some(part) => Err(Error::QuantizerMismatch { want: first.digest().to_owned(), got: part.digest().to_owned() }),
            None => Ok(Shards { parts }),
        }
    }

    /// The parts.
    pub fn parts(&self) -> &[Index] {
        &self.parts
    }

    /// As [`Index::search`] of one index with all the rows.
    ///
    /// # Errors
    /// As there.
    pub fn search(&self, q: ArrayView2<'_, f32>, k: usize, options: &SearchOptions<'_>) -> Result<Vec<Vec<Hit>>, Error> {
        let partial: Vec<Vec<Vec<Hit>>> = self.parts.par_iter().map(|part| part.search_uncut(q, k, options)).collect::<Result<_, _>>()?;
        let order = self.parts[0].metric().order();
        let mut hits: Vec<Vec<Hit>> = (0..q.nrows()).map(|i| merge(partial.iter().map(|p| &p[i][..]), k, order)).collect();
        options.cut(q, &mut hits)?;
        Ok(hits)
    }
}
