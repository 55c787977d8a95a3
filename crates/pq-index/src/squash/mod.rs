//! Filtered search over partitions in stages of rising cost (SQUASH, Ding and others 2025).

mod attributes;
mod partition;
mod persist;
mod search;
mod signs;

use crate::error::Error;
use crate::metric::Metric;
use crate::osq::Osq;
use crate::source::{VectorSource, gather, read_rows};
use attributes::Attributes;
use ndarray::{Array2, Axis};
use partition::Partition;
use rayon::prelude::*;
use scant_tensor_core::kmeans::{KMeans, Nearest};
use scant_tensor_core::retrieve::Columns;
use std::collections::HashSet;

pub use search::{SquashOptions, StageReport, Stages};
pub use signs::Coarse;

/// Rows for each partition that the centroids are fitted to.
const ROWS_PER_PARTITION: usize = 4096;
/// Rows that are assigned at a time.
const CHUNK: usize = 1 << 14;

/// Settings of a [`Squash`] index.
#[derive(Clone, Debug)]
pub struct SquashBuilder {
    partitions: usize,
    bits: usize,
    metric: Metric,
    seed: u64,
}

/// An index for filters: every partition has its own principal axes, an [`Osq`] and one sign for each axis, so that stages of few bits decide
/// which vectors the next one looks at. The last one reads whole vectors, from memory or from a file; the index holds none.
///
/// Squared distances, or cosine. A search returns `min(k, matching rows)` hits, all of which match, or, if asked, exactly the nearest ones.
/// Unlike the paper's system it resolves the filter before the scan, so that no row needs to be dropped at the end; it partitions vectors as
/// they are, since a rotation of all of them changes no distance; it visits more partitions under a strict filter; and it compares signs with
/// the query itself unless told otherwise.
///
/// ```
/// use ndarray::Array2;
/// use scant_pq_index::{FullVectors, SquashBuilder, SquashOptions};
/// use scant_tensor_core::retrieve::{Column, Columns, Filter, Value};
/// let x = Array2::from_shape_fn((2000, 16), |(i, j)| ((i * (j + 2)) as f32).sin());
/// let ids: Vec<u64> = (0..2000).collect();
/// let prices = Columns::from([("price", Column::F32((0..2000).map(|i| (i % 100) as f32).collect()))])?;
/// let squash = SquashBuilder::new(4, 64).build(&ids, &x, &prices)?;
/// assert_eq!(squash.bytes_per_vector(), 8.0 + 2.0 + 12.0 + 1.0); // codes, signs, ids and row numbers, a cell
///
/// let cheap = Filter::at_most("price", Value::F32(9.0));
/// let vectors = FullVectors::new(&x);
/// let options = SquashOptions { filter: Some(&cheap), ..Default::default() };
/// let (hits, stages) = squash.search(x.view(), 5, &vectors, &options)?;
/// assert!(hits.iter().all(|hits| hits.len() == 5 && hits.iter().all(|hit| hit.id % 100 <= 9)));
/// assert_eq!((stages.filter.rows_in, stages.filter.rows_out), (2000, 200));
/// assert!(stages.refine.rows_in <= 2000 * 4 * 2 * 5); // of each query: twice k in each partition at most
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Squash {
    metric: Metric,
    /// `[partitions, d]`
    centroids: Array2<f32>,
    partitions: Vec<Partition>,
    ids: Vec<u64>,
    attributes: Attributes,
}

impl SquashBuilder {
    /// At most so many partitions, with codes of `bits` bits a vector (4 for each dimension is usual), for squared distances.
    pub fn new(partitions: usize, bits: usize) -> SquashBuilder {
        SquashBuilder { partitions, bits, metric: Metric::L2, seed: 1234 }
    }

    /// The measure: not the inner product, which no distance to a partition bounds.
    pub fn metric(mut self, metric: Metric) -> Self {
        self.metric = metric;
        self
    }

    /// The seed of the partitions.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Builds the index of all rows of `source`, which is read three times, with their ids and attributes (no columns for none).
    ///
    /// Partitions of fewer than two rows are dissolved, so that there may be fewer than asked for.
    ///
    /// # Errors
    /// [`Error::TooFewVectors`] for fewer than two rows or than partitions, [`Error::LengthMismatch`], [`Error::DuplicateId`],
    /// [`Error::NonFinite`], [`Error::ZeroVector`], [`Error::Combination`] for inner products, [`Error::BitBudget`], [`Error::TooManyRows`].
    pub fn build(&self, ids: &[u64], source: &dyn VectorSource, columns: &Columns) -> Result<Squash, Error> {
        let (n, dim) = (source.len(), source.dim());
        if self.metric == Metric::InnerProduct {
            return Err(Error::Combination { what: "the inner product", with: "partitions chosen by distance" });
        }
        Error::check_len("ids of the vectors", n, ids.len())?;
        if !columns.is_empty() {
            Error::check_len("rows of the attributes", n, columns.rows())?;
        }
        if n < 2.max(self.partitions) || self.partitions == 0 {
            return Err(Error::TooFewVectors { have: n, need: 2.max(self.partitions) });
        }
        if u32::try_from(n).is_err() {
            return Err(Error::TooManyRows { rows: n });
        }
        let mut seen = HashSet::with_capacity(n);
        if let Some(id) = ids.iter().find(|id| !seen.insert(**id)) {
            return Err(Error::DuplicateId { id: *id });
        }
        if dim == 0 {
            return Err(Error::EmptyTraining);
        }
        let (centroids, members) = self.partition(source)?;
        let build = |rows: Vec<u32>| {
            let numbers: Vec<usize> = rows.iter().map(|row| *row as usize).collect();
            let mut x = gather(source, &numbers)?;
            self.admit(&mut x, |i| numbers[i])?;
            Partition::build(rows, x.view(), self.bits)
        };
        let partitions = members.into_par_iter().map(build).collect::<Result<_, _>>()?;
        let attributes = Attributes::new(columns.clone());
        Ok(Squash { metric: self.metric, centroids, partitions, ids: ids.to_vec(), attributes })
    }

    fn admit(&self, x: &mut Array2<f32>, number: impl Fn(usize) -> usize) -> Result<(), Error> {
        for (i, mut row) in x.rows_mut().into_iter().enumerate() {
            if let Some(row) = row.as_slice_mut() {
                self.metric.admit(number(i), row)?;
            }
        }
        Ok(())
    }

    /// Centroids, and the rows that are nearest to each, at least two.
    fn partition(&self, source: &dyn VectorSource) -> Result<(Array2<f32>, Vec<Vec<u32>>), Error> {
        let n = source.len();
        let count = n.min(self.partitions.saturating_mul(ROWS_PER_PARTITION));
        let rows: Vec<usize> = (0..count).map(|i| (i as u64 * n as u64 / count as u64) as usize).collect();
        let mut sample = gather(source, &rows)?;
        self.admit(&mut sample, |i| rows[i])?;
        let kmeans = KMeans::new(self.partitions).iters(30).seed(self.seed).balance(0.3).rows_per_centroid(ROWS_PER_PARTITION);
        let mut centroids = kmeans.fit(sample.view())?.centroids;
        loop {
            let nearest = Nearest::new(centroids.view());
            let mut members = vec![vec![]; nearest.len()];
            for begin in (0..n).step_by(CHUNK) {
                let mut x = read_rows(source, begin..n.min(begin + CHUNK))?;
                self.admit(&mut x, |i| begin + i)?;
                let mut cells = vec![0; x.nrows()];
                nearest.assign(x.view(), &mut cells);
                cells.iter().zip(begin as u32..).for_each(|(cell, row)| members[*cell as usize].push(row));
            }
            // One row has no variance to share bits out by.
            let keep: Vec<usize> = (0..members.len()).filter(|p| members[*p].len() >= 2).collect();
            if keep.len() == members.len() {
                return Ok((centroids, members));
            }
            // Where every partition is a single row, one of them takes all.
            centroids = if keep.is_empty() { centroids.select(Axis(0), &[0]) } else { centroids.select(Axis(0), &keep) };
        }
    }
}

impl Squash {
    /// Vectors.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Never true: there are at least two vectors.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Components of a vector.
    pub fn dim(&self) -> usize {
        self.centroids.ncols()
    }

    /// The measure.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The rows of each partition.
    pub fn sizes(&self) -> Vec<usize> {
        self.partitions.iter().map(|p| p.rows.len()).collect()
    }

    /// The quantizer of each partition.
    pub fn quantizers(&self) -> impl Iterator<Item = &Osq> {
        self.partitions.iter().map(|p| &p.osq)
    }

    /// Resident bytes for each vector: codes, signs, id and row number, cells of attributes; not axes and cells of the partitions, see
    /// [`Osq::table_bytes`], nor the attributes themselves, nor the padding of last blocks.
    pub fn bytes_per_vector(&self) -> f64 {
        let codes: usize = self.partitions.iter().map(|p| p.rows.len() * (p.codes.columns() + self.dim().div_ceil(8))).sum();
        let cells = (self.attributes.cell_bytes() / 64 * 64) as f64 / (self.len().div_ceil(64) * 64) as f64;
        codes as f64 / self.len() as f64 + 12.0 + cells
    }
}

#[cfg(test)]
mod tests;
