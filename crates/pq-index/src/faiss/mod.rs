//! Index files of FAISS (Douze and others 2024), read and written.
//!
//! What is read becomes an index of this crate: the same codes, the same lists and ids, and the scores that exact look-ups give. `nprobe` of the
//! file is what a search reads if it does not say. What is written is read by FAISS in the same way.
//!
//! | in the file | here |
//! |---|---|
//! | `IxFI`, `IxF2`, `IxFl`, `IwFl` | vectors as they are |
//! | `IxPq`, `IxPQ`, `IxPo`, `IwPQ` of 4 and 8 bits; `IPfs`, `IwPf` | a [`ProductQuantizer`](crate::quantizer::ProductQuantizer) |
//! | `IxSQ`, `IwSq`, `IwSQ` of 4, 6 and 8 bits | a [`ScalarQuantizer`](crate::quantizer::ScalarQuantizer); f16 and bf16 become f32 |
//! | `Ixrq`, `Ixrr`, `Iwrq`, `Iwrr` | a [`RotatedGrid`](crate::quantizer::RotatedGrid) with the file's factors; queries are not quantized; read only |
//! | `IxPT` of rotations, shifts and a normalisation in front of inner products | a [`Rotation`](crate::Rotation), [`Metric::Cosine`](crate::Metric::Cosine) |
//! | `IxMp`, `IxM2` | ids |
//! | `IxRF` with flat vectors | [`Refined`]; read only |
//! | `IBxF`, `IBwF`, `IBMp`, `IBM2` | [`BinaryVectors`]; written as `IBxF` and `IBMp` |
//!
//! ```
//! use ndarray::Array2;
//! use scant_pq_index::quantizer::QuantizerKind;
//! use scant_pq_index::{IndexBuilder, Metric, faiss};
//! let x = Array2::from_shape_fn((300, 8), |(i, j)| ((i * (j + 2)) as f32).sin());
//! let mut trained = IndexBuilder::new(Metric::L2).quantizer(QuantizerKind::Product { m: 4, bits: 4 }).lists(5).residual().train(&x)?;
//! trained.add_source(&x)?;
//! let index = trained.finish();
//!
//! let file = faiss::write(&index)?; // `faiss.deserialize_index` or `read_index` in Python
//! assert_eq!(&file[..4], b"IwPQ");
//! let back = faiss::read(&file)?;
//! assert_eq!(index.search(x.view(), 5, &Default::default())?, back.search(x.view(), 5, &Default::default())?);
//! # Ok::<(), scant_pq_index::Error>(())
//! ```
//!
//! Attributes are not written, and removed vectors are left out. Of a file nothing is trusted: counts are held against the bytes that are there
//! before anything is allocated. Bytes after the index are passed over.

mod assemble;
mod binary;
mod bytes;
mod lists;
mod quantizer;
mod read;
mod refined;
#[cfg(test)]
mod tests;
mod transform;
mod write;

use crate::error::Error;
use crate::index::Index;
use bytes::Reader;
use read::{Parsed, Refine};
use scant_tensor_core::file::{Bytes, replace};
use std::path::Path;

pub use binary::BinaryVectors;
pub use refined::Refined;

/// What errors call bytes that are of no file.
const NAMELESS: &str = "FAISS index";

/// Opens a file of FAISS.
///
/// # Errors
/// As [`read()`]; [`Error::File`] if the file cannot be read.
pub fn open(path: impl AsRef<Path>) -> Result<Index, Error> {
    let path = path.as_ref();
    plain(path, &Bytes::read(path)?)
}

/// The index in the bytes of a file.
///
/// # Errors
/// [`Error::Unsupported`] for kinds of indexes, metrics, quantizers, lists and transforms that are not in the table of this module,
/// [`Error::BitsUnsupported`] for product quantizers of other widths; [`Error::NotTrained`]; [`Error::Truncated`], [`Error::Corrupt`],
/// [`Error::LimitExceeded`], [`Error::DuplicateId`] and [`Error::NonFinite`] for bytes that are no index.
pub fn read(bytes: &[u8]) -> Result<Index, Error> {
    plain(NAMELESS.as_ref(), bytes)
}

fn plain(file: &Path, bytes: &[u8]) -> Result<Index, Error> {
    match any(file, bytes)? {
        (index, None) => Ok(index),
        _ => Err(Reader::new(file, bytes).unsupported("index", "IxRF", "any without it, and this one by read_refined")),
    }
}

fn any(file: &Path, bytes: &[u8]) -> Result<(Index, Option<Refine>), Error> {
    let mut r = Reader::new(file, bytes);
    Parsed::read(&mut r, 0)?.assemble(&r)
}

/// Opens a file of FAISS whose index is refined.
///
/// # Errors
/// As [`read_refined`]; [`Error::File`] if the file cannot be read.
pub fn open_refined(path: impl AsRef<Path>) -> Result<Refined, Error> {
    let path = path.as_ref();
    Refined::read(path, &Bytes::read(path)?)
}

/// The refined index in the bytes of a file.
///
/// # Errors
/// As [`read()`]; [`Error::Unsupported`] if it is not `IxRF` with flat vectors, alone or in an `IxMp`.
pub fn read_refined(bytes: &[u8]) -> Result<Refined, Error> {
    Refined::read(NAMELESS.as_ref(), bytes)
}

/// Opens a file of FAISS with a binary index.
///
/// # Errors
/// As [`read_binary`]; [`Error::File`] if the file cannot be read.
pub fn open_binary(path: impl AsRef<Path>) -> Result<BinaryVectors, Error> {
    let path = path.as_ref();
    BinaryVectors::read(&mut Reader::new(path, &Bytes::read(path)?))
}

/// The vectors of the binary index in the bytes of a file.
///
/// # Errors
/// As [`read()`], for the binary kinds.
pub fn read_binary(bytes: &[u8]) -> Result<BinaryVectors, Error> {
    BinaryVectors::read(&mut Reader::new(NAMELESS.as_ref(), bytes))
}

/// Saves an index as FAISS would, through a temporary file beside `path`: a save that fails leaves the old file whole.
///
/// # Errors
/// As [`write()`]; [`Error::File`].
pub fn save(index: &Index, path: impl AsRef<Path>) -> Result<(), Error> {
    let bytes = write(index)?;
    Ok(replace(path, |out| out.write_all(&bytes))?)
}

/// The bytes of the file that FAISS would have for an index. Under cosine it has a normalisation in front of inner products.
///
/// # Errors
/// [`Error::NoFaissForm`] for norm factors, sub-quantizers of different lengths, and codes of other quantizers than product and scalar ones;
/// [`Error::LimitExceeded`] for ids from 2^63 on.
pub fn write(index: &Index) -> Result<Vec<u8>, Error> {
    write::index(index)
}

/// The bytes of the file that FAISS would have for binary vectors.
///
/// # Errors
/// [`Error::LengthMismatch`] if the bits are not as many as the dimensions and the ids ask for; [`Error::LimitExceeded`] for ids from 2^63 on.
pub fn write_binary(vectors: &BinaryVectors) -> Result<Vec<u8>, Error> {
    vectors.write()
}
