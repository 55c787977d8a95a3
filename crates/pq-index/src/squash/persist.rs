//! Saved as one safetensors file.
//!
//! Kind `pq-index/squash`. Tensors: `centroids` `[partitions, d]`, `ids` `[n]`, `attr.{i}` as in other indexes, and for each partition `p`
//! `{p}.rows` (row numbers, ascending), `{p}.mean` `[d]` and `{p}.axes` `[d, d]` of its transform, `{p}.bits` and `{p}.cells` `[d]`, `{p}.bounds`
//! and `{p}.centroids` of the cells one dimension after the other, `{p}.radius`, `{p}.sides` `[d, 2]`, `{p}.signs` and `{p}.codes`
//! `[blocks, columns, 64]`. Cells of attributes are made again when it is opened.

use super::Squash;
use super::attributes::Attributes;
use super::partition::Partition;
use crate::error::Error;
use crate::metric::Metric;
use crate::persist::{Attribute, add, corrupt, describe_columns, load_columns, save_columns};
use ndarray::Array2;
use scant_tensor_core::file::{Bytes, File, Writer};
use scant_tensor_core::retrieve::Bitmap;
use std::path::Path;

const KIND: &str = "pq-index/squash";
const VERSION: u32 = 1;

#[derive(serde::Serialize, serde::Deserialize)]
struct Parameters {
    dim: usize,
    rows: usize,
    metric: Metric,
    partitions: usize,
    columns: Vec<Attribute>,
}

impl Squash {
    /// Saves through a temporary file beside `path`: a save that fails leaves the old file whole.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.writer()?.save(path)?)
    }

    /// The bytes of a saved index: the same for the same index, opened or built.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn to_bytes(&self) -> Result<Bytes, Error> {
        Ok(self.writer()?.to_bytes()?)
    }

    /// Opens a saved index, reading and checking all of it.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is damaged or of another kind, [`Error::Corrupt`] for one that contradicts itself.
    pub fn open(path: impl AsRef<Path>) -> Result<Squash, Error> {
        Squash::from_file(&File::read(path)?)
    }

    fn writer(&self) -> Result<Writer<'static>, Error> {
        let columns = self.attributes.columns();
        let parameters = Parameters {
            dim: self.dim(),
            rows: self.len(),
            metric: self.metric,
            partitions: self.partitions.len(),
            columns: describe_columns(columns),
        };
        let mut writer = Writer::new(KIND, VERSION).parameters(&parameters)?;
        let centroids: Vec<f32> = self.centroids.iter().copied().collect();
        add(&mut writer, "centroids", self.centroids.shape(), &centroids)?;
        add(&mut writer, "ids", [self.len()], &self.ids)?;
        save_columns(columns, &mut writer)?;
        for (p, partition) in self.partitions.iter().enumerate() {
            partition.save(&format!("{p}."), &mut writer)?;
        }
        Ok(writer)
    }

    /// The index in an opened file, which may be mapped: codes stay in the file's bytes. Nothing is trusted.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_file(file: &File) -> Result<Squash, Error> {
        let Parameters { dim, rows, metric, partitions, columns } = file.require_kind(KIND, VERSION)?.parameters()?;
        if partitions == 0 || dim == 0 || metric == Metric::InnerProduct {
            return Err(corrupt(
                "partitions, dimensions and metric",
                "at least 1, and no inner product",
                format!("{partitions}, {dim} and {metric}"),
            ));
        }
        let all = file.typed::<f32>("centroids", [partitions, dim])?;
        let centroids = Array2::from_shape_fn((partitions, dim), |(p, i)| all[p * dim + i]);
        Error::check_finite(centroids.view(), 0)?;
        let ids = file.typed::<u64>("ids", [rows])?.to_vec();
        let mut seen = Bitmap::none(rows);
        let mut loaded = vec![];
        for p in 0..partitions {
            let partition = Partition::load(&format!("{p}."), file, dim)?;
            let mut last = None;
            for row in &partition.rows {
                if *row as usize >= rows || seen.contains(*row as usize) || last.is_some_and(|last| last >= *row) {
                    let want = format!("ascending, below {rows}, once");
                    return Err(corrupt("a row number of a partition", want, format!("{row} in partition {p}")));
                }
                seen.insert(*row as usize);
                last = Some(*row);
            }
            loaded.push(partition);
        }
        if seen.count() != rows {
            return Err(corrupt("rows in partitions", rows, seen.count()));
        }
        let attributes = Attributes::new(load_columns(file, columns, rows)?);
        Ok(Squash { metric, centroids, partitions: loaded, ids, attributes })
    }
}
