//! An opened container: tensors by name, checked before they are believed.

use std::collections::BTreeMap;
use std::path::Path;

use bytemuck::Pod;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::bytes::Bytes;
use super::checksum::Crc32c;
use super::description::Description;
use super::dtype::{Dtype, Element};
use super::error::FileError;
use super::header::{Entry, Header};
use super::typed::Typed;

/// An opened safetensors file, ours or foreign. What is taken from it shares its bytes and outlives it.
///
/// ```
/// use half::f16;
/// use scant_tensor_core::file::{Dtype, File, Writer};
/// let mut writer = Writer::new("example", 1);
/// writer.add("layer.codes", Dtype::U8, [2, 3], vec![1, 2, 3, 4, 5, 6])?;
/// writer.add_elements("layer.scales", [2], &[f16::ONE, f16::NEG_ONE])?;
/// let file = File::from_bytes(writer.to_bytes()?)?;
///
/// file.require_kind("example", 1)?;
/// let codes = file.expect("layer.codes", Dtype::U8, [2, 3])?;
/// let scales = file.typed::<f16>("layer.scales", [2])?;
/// assert_eq!((codes[5], scales[1]), (6, f16::NEG_ONE));
///
/// let error = file.expect("layer.scales", Dtype::F32, [2]).unwrap_err();
/// assert_eq!(error.to_string(), "tensor `layer.scales`: want f32 [2], file has f16 [2]");
/// # Ok::<(), scant_tensor_core::file::FileError>(())
/// ```
#[derive(Clone, Debug)]
pub struct File {
    bytes: Bytes,
    header: Header,
    description: Option<Description>,
}

/// A tensor of a [`File`]: row-major, little-endian, sharing the file's bytes.
#[derive(Clone, Debug)]
pub struct TensorView {
    /// The name, for messages.
    pub name: String,
    /// The element type.
    pub dtype: Dtype,
    /// The shape; empty for a single number.
    pub shape: Vec<usize>,
    /// The elements' bytes, at any alignment.
    pub bytes: Bytes,
}

impl File {
    /// Reads a file and verifies all there is to verify: the header, and every checksum if the file is ours.
    ///
    /// A foreign safetensors file opens as well, with no [`description`](Self::description).
    /// The heap used is the file's length (in pages of their own from 4 MiB on) and less than 16 times the header's.
    ///
    /// # Errors
    /// [`FileError`], for a file that cannot be read or is damaged.
    pub fn read(path: impl AsRef<Path>) -> Result<File, FileError> {
        File::from_bytes(Bytes::read(path)?)
    }

    /// As [`read`](Self::read), of bytes that are already here (for example from `include_bytes!`).
    ///
    /// # Errors
    /// [`FileError`], for bytes that are damaged.
    pub fn from_bytes(bytes: Bytes) -> Result<File, FileError> {
        let file = File::from_bytes_unverified(bytes)?;
        file.verify()?;
        Ok(file)
    }

    pub(super) fn from_bytes_unverified(bytes: Bytes) -> Result<File, FileError> {
        let mut header = Header::parse(&bytes)?;
        let description = Description::take(&mut header)?;
        Ok(File { bytes, header, description })
    }

    /// Verifies every tensor's checksum, reading the whole file; [`read`](Self::read) has done so already.
    ///
    /// A foreign file has no checksums, and passes.
    ///
    /// # Errors
    /// [`FileError::Checksum`], for the first tensor in the file that was changed.
    pub fn verify(&self) -> Result<(), FileError> {
        for (name, entry) in self.header.in_order() {
            let Some(stored) = entry.checksum else {
                continue;
            };
            let computed = Crc32c::of(&self.bytes_of(entry));
            if stored != computed {
                return Err(FileError::Checksum { tensor: name.to_owned(), stored, computed });
            }
        }
        Ok(())
    }

    /// What the file says of itself; `None` for a foreign file.
    pub fn description(&self) -> Option<&Description> {
        self.description.as_ref()
    }

    /// The description, if the file is of `kind` and of a version from 1 to `newest`.
    ///
    /// # Errors
    /// [`FileError::Kind`] or [`FileError::Version`].
    pub fn require_kind(&self, kind: &str, newest: u32) -> Result<&Description, FileError> {
        let description = self
            .description
            .as_ref()
            .filter(|description| description.kind() == kind)
            .ok_or_else(|| FileError::Kind { want: kind.to_owned(), found: self.description.as_ref().map(|d| d.kind().to_owned()) })?;
        let version = description.version();
        if !(1..=newest).contains(&version) {
            return Err(FileError::Version { kind: kind.to_owned(), version, newest });
        }
        Ok(description)
    }

    /// The metadata besides our own entries, such as `format: pt`.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.header.metadata
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.header.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.header.tensors.contains_key(name)
    }

    /// Bytes of the whole file, header and all.
    pub fn file_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// A tensor, of whatever type and shape it is.
    ///
    /// # Errors
    /// [`FileError::Missing`].
    pub fn tensor(&self, name: &str) -> Result<TensorView, FileError> {
        let entry = self.entry(name)?;
        Ok(TensorView { name: name.to_owned(), dtype: entry.dtype, shape: entry.shape.to_vec(), bytes: self.bytes_of(entry) })
    }

    /// The bytes of a tensor that must be of this type and shape.
    ///
    /// # Errors
    /// [`FileError::Missing`] or [`FileError::Unexpected`].
    pub fn expect(&self, name: &str, dtype: Dtype, shape: impl AsRef<[usize]>) -> Result<Bytes, FileError> {
        let (entry, shape) = (self.entry(name)?, shape.as_ref());
        if entry.dtype != dtype || *entry.shape != *shape {
            return Err(FileError::Unexpected {
                tensor: name.to_owned(),
                want: dtype,
                want_shape: shape.to_vec(),
                found: entry.dtype,
                found_shape: entry.shape.to_vec(),
            });
        }
        Ok(self.bytes_of(entry))
    }

    /// The elements of a tensor that must be of type `T` and of this shape; in place, or copied if they are not aligned.
    ///
    /// # Errors
    /// [`FileError::Missing`] or [`FileError::Unexpected`].
    pub fn typed<T: Element>(&self, name: &str, shape: impl AsRef<[usize]>) -> Result<Typed<T>, FileError> {
        Typed::new(self.expect(name, T::DTYPE, shape)?)
    }

    fn entry(&self, name: &str) -> Result<&Entry, FileError> {
        self.header.tensors.get(name).ok_or_else(|| FileError::Missing { tensor: name.to_owned() })
    }

    fn bytes_of(&self, entry: &Entry) -> Bytes {
        // Within the file: `Header::parse` has checked that the tensors fill the data section.
        self.bytes.slice(self.header.data + entry.begin..self.header.data + entry.end)
    }
}

impl TensorView {
    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// The elements, if they are of type `T`; in place, or copied if they are not aligned.
    ///
    /// # Errors
    /// [`FileError::Unexpected`] if they are of another type.
    pub fn typed<T: Element>(&self) -> Result<Typed<T>, FileError> {
        if self.dtype != T::DTYPE {
            return Err(FileError::Unexpected {
                tensor: self.name.clone(),
                want: T::DTYPE,
                want_shape: self.shape.clone(),
                found: self.dtype,
                found_shape: self.shape.clone(),
            });
        }
        Typed::new(self.bytes.clone())
    }

    /// The elements as f32, of a tensor of f16, bf16, f32 or f64 (the last one rounded). NaN and Inf pass.
    ///
    /// # Errors
    /// [`FileError::NotFloat`] for any other type: integers are codes, whose meaning only their format knows.
    pub fn to_f32(&self) -> Result<Vec<f32>, FileError> {
        Ok(match self.dtype {
            Dtype::F32 => elements::<f32>(&self.bytes)?.to_vec(),
            Dtype::F16 => elements::<f16>(&self.bytes)?.to_f32_vec(),
            Dtype::Bf16 => elements::<bf16>(&self.bytes)?.to_f32_vec(),
            Dtype::F64 => {
                #[expect(clippy::cast_possible_truncation, reason = "rounding is what was asked for")]
                let round = |&x: &f64| x as f32;
                elements::<f64>(&self.bytes)?.iter().map(round).collect()
            }
            dtype => {
                return Err(FileError::NotFloat { tensor: self.name.clone(), dtype });
            }
        })
    }
}

fn elements<T: Pod>(bytes: &Bytes) -> Result<Typed<T>, FileError> {
    Typed::new(bytes.clone())
}
