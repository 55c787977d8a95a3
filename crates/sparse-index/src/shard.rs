//! Parts of an index that are searched alone, and their results merged.

use crate::error::Error;
use crate::index::Index;
use crate::search::SearchOptions;
use crate::vector::SparseVec;
use rayon::prelude::*;
use scant_tensor_core::retrieve::{Hit, Order, merge};

/// Indexes with the same scales and different ids. A file of one is a shard: it opens and searches alone.
///
/// ```
/// use scant_sparse_index::{IndexBuilder, Shards, SparseVec, Vectors, scales};
/// let (mut all, mut parts) = (Vectors::new(), [Vectors::new(), Vectors::new()]);
/// for i in 0..40u32 {
///     let weights = [1.0 + i as f32, 2.0];
///     let terms = [i % 5, 5 + i % 3];
///     let v = SparseVec::new(&terms, &weights)?;
///     all.push(v)?;
///     parts[i as usize / 20].push(v)?;
/// }
/// let builder = IndexBuilder::new().scales(scales(&all));
/// let ids: Vec<u64> = (0..40).collect();
/// let shards = Shards::new(vec![builder.build(&ids[..20], &parts[0])?, builder.build(&ids[20..], &parts[1])?])?;
/// let q = SparseVec::new(&[2, 6], &[1.0, 3.0])?;
/// assert_eq!(shards.search(q, 7, &Default::default())?, builder.build(&ids, &all)?.search(q, 7, &Default::default())?);
/// # Ok::<(), scant_sparse_index::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Shards {
    parts: Vec<Index>,
}

impl Shards {
    /// Of at least one part. That ids differ is for the caller to see to.
    ///
    /// # Errors
    /// [`Error::StatsMismatch`] if two parts have other scales; [`Error::Length`] without parts.
    pub fn new(parts: Vec<Index>) -> Result<Shards, Error> {
        let Some(first) = parts.first() else {
            return Err(Error::Length { what: "shards", want: 1, got: 0 });
        };
        match parts.iter().position(|part| part.scales() != first.scales()) {
            Some(shard) => Err(Error::StatsMismatch { shard, what: "scales" }),
            None => Ok(Shards { parts }),
        }
    }

    /// The parts.
    pub fn parts(&self) -> &[Index] {
        &self.parts
    }

    /// As [`Index::search`] of one index with all the documents. Rows that may be found are a single index's, so they cannot be given here.
    ///
    /// # Errors
    /// As there.
    pub fn search(&self, q: SparseVec<'_>, k: usize, options: &SearchOptions<'_>) -> Result<Vec<Hit>, Error> {
        let found: Vec<Vec<Hit>> = self.parts.par_iter().map(|part| part.search(q, k, options)).collect::<Result<_, _>>()?;
        Ok(merge(found.iter().map(|hits| &hits[..]), k, Order::LargerFirst))
    }
}
