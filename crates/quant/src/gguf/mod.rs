//! GGUF, the single-file model format of llama.cpp: read versions 1 to 3, write version 3.
//!
//! A file is metadata (typed values under string keys), a list of tensors, and the tensors' bytes. [`File`] reads one,
//! [`Writer`] makes one; [`blocks`] turns tensors' bytes into f32 and back, bit for bit as the public `gguf` Python
//! package does; [`parts`] takes the quantized types apart into codes and scales, for formats that hold them without
//! loss. `docs/formats.md` draws the bytes.
//!
//! A GGUF has no checksum: a damaged file can be a valid one. What is promised for any bytes is an error or a
//! well-formed file, and, when opened, heap below 5 times the file's size.
//!
//! ```
//! use scant_quant::gguf::{BlockType, File, Writer, blocks};
//!
//! let weights: Vec<f32> = (0..64).map(|i| (i as f32 * 0.7).sin()).collect();
//! let mut writer = Writer::new("llama", BlockType::Q8_0);
//! writer.set("llama.block_count", 1u32)?;
//! writer.encode("blk.0.attn_q.weight", BlockType::Q8_0, &[32, 2], &weights)?;
//!
//! let file = File::from_bytes(writer.to_bytes())?;
//! assert_eq!(file.get::<u32>("llama.block_count")?, 1);
//! let tensor = file.tensor("blk.0.attn_q.weight")?;
//! assert_eq!((tensor.rows(), tensor.columns()), (2, 32));
//! let read = tensor.to_f32()?;
//! assert!(weights.iter().zip(&read).all(|(a, b)| (a - b).abs() < 1.0 / 127.0));
//! # Ok::<(), scant_quant::Error>(())
//! ```

pub mod blocks;
pub(crate) mod cursor;
mod header;
pub mod parts;
pub mod rope;
mod terms;
mod types;
mod value;
mod writer;

pub use terms::{grid_blocks, quantized_term};
pub use types::BlockType;
pub use value::{Array, FromValue, Value, ValueType};
pub use writer::Writer;

use crate::Error;
use header::{Header, TensorInfo};
use scant_tensor_core::file::Bytes;
use std::path::Path;

/// An opened GGUF file: all but the tensors' bytes has been read and checked.
///
/// Metadata is read with [`get`](File::get), tensors with [`tensor`](File::tensor).
#[derive(Debug)]
pub struct File {
    bytes: Bytes,
    header: Header,
}

impl File {
    /// Reads the file at `path` into memory.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read, and those of [`from_bytes`](File::from_bytes).
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_bytes(Bytes::read(path)?)
    }

    /// Opens a file whose bytes are at hand, owned or mapped ([`Bytes::map`]).
    ///
    /// # Errors
    /// [`Error::Magic`], [`Error::BigEndian`], [`Error::UnsupportedVersion`] for files of another kind;
    /// [`Error::Truncated`], [`Error::Corrupt`], [`Error::Limit`], [`Error::Overflow`], [`Error::Duplicate`] for
    /// damaged ones. A tensor of unknown type is no error until it is decoded.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self, Error> {
        let bytes = bytes.into();
        let header = Header::parse(&bytes)?;
        Ok(File { bytes, header })
    }

    /// The format's version: 1, 2 or 3.
    pub fn version(&self) -> u32 {
        self.header.version
    }

    /// Tensors start at multiples of this many bytes.
    pub fn alignment(&self) -> usize {
        self.header.alignment
    }

    /// The metadata value under `key`.
    ///
    /// # Errors
    /// [`Error::MissingKey`]; [`Error::KeyType`] if the value is of another type or out of range.
    pub fn get<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T, Error> {
        self.get_optional(key)?.ok_or_else(|| Error::MissingKey { key: key.to_string() })
    }

    /// The metadata value under `key`, or `None` without such a key.
    ///
    /// # Errors
    /// [`Error::KeyType`] if the value is of another type or out of range.
    pub fn get_optional<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>, Error> {
        let Some(value) = self.value(key)? else {
            return Ok(None);
        };
        match T::from_value(&value) {
            Some(value) => Ok(Some(value)),
            None => Err(Error::KeyType { key: key.to_string(), want: T::want(), found: value.to_string() }),
        }
    }

    /// The metadata value under `key` as it is stored, or `None` without such a key.
    ///
    /// # Errors
    /// None, unless the file changed under its mapping.
    pub fn value(&self, key: &str) -> Result<Option<Value<'_>>, Error> {
        self.header.find_entry(&self.bytes, key).map(|entry| entry.value(&self.bytes, self.header.version)).transpose()
    }

    /// The metadata keys, in the order of the file.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        let entries = self.header.entries.iter();
        entries.map(|entry| header::text(&self.bytes, &entry.key))
    }

    /// The tensor `name`.
    ///
    /// # Errors
    /// [`Error::MissingTensor`].
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>, Error> {
        match self.header.find_tensor(&self.bytes, name) {
            Some(info) => Ok(self.view(info)),
            None => Err(Error::MissingTensor { name: name.to_string() }),
        }
    }

    /// The tensors, in the order of the file.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = Tensor<'_>> {
        self.header.tensors.iter().map(|info| self.view(info))
    }

    fn view<'a>(&'a self, info: &'a TensorInfo) -> Tensor<'a> {
        Tensor { file: &self.bytes, info }
    }
}

/// One tensor of a [`File`].
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    file: &'a Bytes,
    info: &'a TensorInfo,
}

impl<'a> Tensor<'a> {
    /// The tensor's name.
    pub fn name(&self) -> &'a str {
        header::text(self.file, &self.info.name)
    }

    /// The dimensions as the file lists them: fastest first, so a matrix of `m` rows and `n` columns has `[n, m]`.
    pub fn dims(&self) -> &'a [usize] {
        &self.info.dims[..self.info.n_dims as usize]
    }

    /// Weights in a row: the first dimension.
    pub fn columns(&self) -> usize {
        self.info.dims[0]
    }

    /// Rows: the product of all dimensions but the first.
    pub fn rows(&self) -> usize {
        self.info.dims[1..].iter().product()
    }

    /// The type's id in the file, known or not.
    pub fn type_id(&self) -> u32 {
        self.info.type_id
    }

    /// The type.
    ///
    /// # Errors
    /// [`Error::UnknownGgmlType`], naming the tensor and the supported ids.
    pub fn block_type(&self) -> Result<BlockType, Error> {
        BlockType::from_id(self.info.type_id).ok_or_else(|| Error::UnknownGgmlType {
            id: self.info.type_id,
            tensor: self.name().to_string(),
            supported: BlockType::supported(),
        })
    }

    /// The stored bytes. For an unknown type they reach to the next tensor, padding included.
    pub fn bytes(&self) -> &'a [u8] {
        &self.file[self.info.data.clone()]
    }

    /// The stored bytes, sharing the file's owner: they may outlive the [`File`].
    pub fn shared_bytes(&self) -> Bytes {
        self.file.slice(self.info.data.clone())
    }

    /// The stored bytes of row `i`.
    ///
    /// # Errors
    /// [`Error::UnknownGgmlType`].
    ///
    /// # Panics
    /// If `i` is not below [`rows`](Tensor::rows).
    pub fn row_bytes(&self, i: usize) -> Result<&'a [u8], Error> {
        let len = self.block_type()?.row_bytes(self.columns())?;
        Ok(&self.bytes()[i * len..][..len])
    }

    /// Decodes row `i` into `out`, [`columns`](Tensor::columns) weights.
    ///
    /// # Errors
    /// [`Error::UnknownGgmlType`]; [`Error::ShapeMismatch`] if `out` has another length.
    ///
    /// # Panics
    /// If `i` is not below [`rows`](Tensor::rows).
    pub fn decode_row(&self, i: usize, out: &mut [f32]) -> Result<(), Error> {
        blocks::decode(self.block_type()?, self.row_bytes(i)?, out)
    }

    /// All weights as f32, row by row.
    ///
    /// # Errors
    /// [`Error::UnknownGgmlType`].
    pub fn to_f32(&self) -> Result<Vec<f32>, Error> {
        let ty = self.block_type()?;
        let mut out = vec![0.0; self.rows() * self.columns()];
        blocks::decode(ty, self.bytes(), &mut out)?;
        Ok(out)
    }
}
