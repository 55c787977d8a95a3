//! Where vectors come from: arrays, and files that are read a part at a time.

mod npy;
#[cfg(feature = "parquet")]
mod parquet;
mod vecs;

use crate::error::Error;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};
use scant_tensor_core::file::{Dtype, File, TensorView};
use std::ops::Range;
use std::path::Path;

pub use npy::Npy;
#[cfg(feature = "parquet")]
pub use parquet::Parquet;
pub use vecs::{Vecs, read_ivecs};

/// Rows of vectors, read in parts, so that a source may be larger than memory.
///
/// ```
/// use ndarray::{Array2, array};
/// use scant_pq_index::source::{VectorSource, read_rows};
/// let x = array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
/// let source: &dyn VectorSource = &x.view();
/// assert_eq!((source.len(), source.dim()), (3, 2));
/// assert_eq!(read_rows(source, 1..3)?, array![[3.0, 4.0], [5.0, 6.0]]);
///
/// let bad = array![[1.0, f32::NAN]];
/// let error = read_rows(&bad.view(), 0..1).unwrap_err();
/// assert_eq!(error.to_string(), "row 0, column 1: NaN is not finite");
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
pub trait VectorSource: Sync {
    /// Rows.
    fn len(&self) -> usize;

    /// Components of each.
    fn dim(&self) -> usize;

    /// Fills `out` with `rows`; values are as stored, NaN included.
    ///
    /// # Errors
    /// [`Error`] for a file that cannot be read.
    fn read(&self, rows: Range<usize>, out: ArrayViewMut2<'_, f32>) -> Result<(), Error>;

    /// True without rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Rows of a source, which must be finite.
///
/// # Errors
/// [`Error::NonFinite`] with the number of the row in the source; what reading gives; [`Error::LengthMismatch`] past the end.
pub fn read_rows(source: &dyn VectorSource, rows: Range<usize>) -> Result<Array2<f32>, Error> {
    if rows.end > source.len() {
        return Err(Error::LengthMismatch { what: "rows of the source", want: rows.end, got: source.len() });
    }
    let mut out = Array2::zeros((rows.len(), source.dim()));
    source.read(rows.clone(), out.view_mut())?;
    Error::check_finite(out.view(), rows.start)?;
    Ok(out)
}

/// Ascending rows of a source, read in runs; finite.
pub(crate) fn gather(source: &dyn VectorSource, rows: &[usize]) -> Result<Array2<f32>, Error> {
    let mut out = Array2::zeros((rows.len(), source.dim()));
    let mut at = 0;
    while at < rows.len() {
        // A gap is read with its neighbours as long as a read stays short.
        let end = at + rows[at..].iter().take_while(|row| **row < rows[at] + 4096).count();
        let part = read_rows(source, rows[at]..rows[end - 1] + 1)?;
        for i in at..end {
            out.row_mut(i).assign(&part.row(rows[i] - rows[at]));
        }
        at = end;
    }
    Ok(out)
}

impl VectorSource for ArrayView2<'_, f32> {
    fn len(&self) -> usize {
        self.nrows()
    }

    fn dim(&self) -> usize {
        self.ncols()
    }

    fn read(&self, rows: Range<usize>, mut out: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        out.assign(&self.slice_axis(Axis(0), rows.into()));
        Ok(())
    }
}

impl VectorSource for Array2<f32> {
    fn len(&self) -> usize {
        self.nrows()
    }

    fn dim(&self) -> usize {
        self.ncols()
    }

    fn read(&self, rows: Range<usize>, out: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        self.view().read(rows, out)
    }
}

/// A matrix of a safetensors file: f32, f16 or bf16.
#[derive(Clone, Debug)]
pub struct Tensor {
    view: TensorView,
    rows: usize,
    dim: usize,
}

impl Tensor {
    /// The tensor `name` of `file`.
    ///
    /// # Errors
    /// [`Error::File`] if there is none or it is not of a floating type; [`Error::DimMismatch`] if it is no matrix.
    pub fn open(file: &File, name: &str) -> Result<Tensor, Error> {
        let view = file.tensor(name)?;
        let [rows, dim] = view.shape[..] else {
            return Err(Error::DimMismatch { what: "axes of the tensor", want: 2, got: view.shape.len() });
        };
        if !matches!(view.dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16) {
            return Err(scant_tensor_core::file::FileError::NotFloat { tensor: name.to_owned(), dtype: view.dtype }.into());
        }
        Ok(Tensor { view, rows, dim })
    }
}

impl VectorSource for Tensor {
    fn len(&self) -> usize {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn read(&self, rows: Range<usize>, mut out: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        let stride = self.dim * self.view.dtype.size();
        let part = TensorView {
            name: self.view.name.clone(),
            dtype: self.view.dtype,
            shape: vec![rows.len(), self.dim],
            bytes: self.view.bytes.slice(rows.start * stride..rows.end * stride),
        };
        out.iter_mut().zip(part.to_f32()?).for_each(|(out, v)| *out = v);
        Ok(())
    }
}

/// Opens `.npy`, `.fvecs` and `.bvecs` files by their names' ends; with the feature `parquet`, `.parquet` files with one column of vectors too.
///
/// # Errors
/// [`Error::Corrupt`] for another ending, and what opening gives.
pub fn open(path: impl AsRef<Path>) -> Result<Box<dyn VectorSource>, Error> {
    let path = path.as_ref();
    match path.extension().and_then(|e| e.to_str()) {
        Some("npy") => Ok(Box::new(Npy::open(path)?)),
        Some("fvecs" | "bvecs") => Ok(Box::new(Vecs::open(path)?)),
        #[cfg(feature = "parquet")]
        Some("parquet") => Ok(Box::new(Parquet::open(path, None)?)),
        other => Err(Error::Corrupt {
            file: path.to_owned(),
            field: "the ending of the name",
            want: if cfg!(feature = "parquet") {
                "npy, fvecs, bvecs or parquet"
            } else {
                "npy, fvecs or bvecs (parquet with the feature of that name)"
            }
            .to_owned(),
            got: other.unwrap_or("missing").to_owned(),
        }),
    }
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io { file: path.to_owned(), source }
}

/// Reads exactly `out` at `offset`, on any thread.
fn read_at(file: &std::sync::Mutex<std::fs::File>, path: &Path, offset: u64, out: &mut [u8]) -> Result<(), Error> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(out)).map_err(|source| io(path, source))
}
