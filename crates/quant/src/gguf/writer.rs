//! Writing version 3.

use super::header::{DEFAULT_ALIGNMENT, MAX_DIMS, MAX_KEY, MAX_NAME};
use super::value::{Value, write_str};
use super::{BlockType, blocks};
use crate::Error;
use scant_tensor_core::file::replace;
use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;

/// Collects metadata and tensors, then writes a GGUF file of version 3 with alignment 32.
///
/// `general.architecture`, `general.quantization_version` (2) and `general.file_type` come first, from the arguments of
/// [`new`](Writer::new); all else in the order of the calls.
#[derive(Debug)]
pub struct Writer<'a> {
    /// Keys and their encoded types and values.
    metadata: Vec<(String, Vec<u8>)>,
    names: HashSet<String>,
    tensors: Vec<Entry<'a>>,
}

#[derive(Debug)]
struct Entry<'a> {
    name: String,
    block_type: BlockType,
    dims: Vec<usize>,
    data: Cow<'a, [u8]>,
}

const ALIGNMENT_KEY: &str = "general.alignment";
const VERSION_KEY: &str = "general.quantization_version";
const FILE_TYPE_KEY: &str = "general.file_type";
const QUANTIZATION_VERSION: u32 = 2;

impl<'a> Writer<'a> {
    /// A file of the given architecture (`llama`, `gemma3`) whose matrices are mostly of type `mostly`.
    pub fn new(architecture: &str, mostly: BlockType) -> Self {
        let mut writer = Self::empty();
        writer.put("general.architecture", &architecture.into());
        writer.put(VERSION_KEY, &QUANTIZATION_VERSION.into());
        writer.put(FILE_TYPE_KEY, &mostly.file_type().into());
        writer
    }

    /// A file with the metadata of `file`, value by value (but for `general.alignment`, which is 32 again), so that files
    /// of version 1 are brought up to date. Where `file` has no quantization version or file type, they are added.
    ///
    /// # Errors
    /// [`Error::MissingKey`] if `file` has no `general.architecture`, which readers need; [`Error::UnknownGgmlType`] if
    /// the file type is to be found and a tensor is of no known type.
    pub fn like(file: &super::File) -> Result<Self, Error> {
        file.get::<&str>("general.architecture")?;
        let mut writer = Self::empty();
        for key in file.keys().filter(|key| *key != ALIGNMENT_KEY) {
            if let Some(value) = file.value(key)? {
                writer.put(key, &value);
            }
        }
        if file.value(VERSION_KEY)?.is_none() {
            writer.put(VERSION_KEY, &QUANTIZATION_VERSION.into());
        }
        if file.value(FILE_TYPE_KEY)?.is_none() {
            let mut weights = [0; BlockType::ALL.len()];
            for tensor in file.tensors() {
                let ty = tensor.block_type()?;
                let count = weights.iter_mut().zip(BlockType::ALL).find(|(_, t)| *t == ty);
                if let Some((count, _)) = count {
                    *count += tensor.rows() * tensor.columns();
                }
            }
            let most = BlockType::ALL.into_iter().zip(weights).max_by_key(|(_, count)| *count);
            writer.put(FILE_TYPE_KEY, &most.map_or(BlockType::F32, |(ty, _)| ty).file_type().into());
        }
        Ok(writer)
    }

    /// A file that is no model and says nothing of itself.
    pub(crate) fn bare() -> Self {
        Self::empty()
    }

    fn empty() -> Self {
        Writer { metadata: Vec::new(), names: HashSet::new(), tensors: Vec::new() }
    }

    /// Sets a metadata value: a number, a string, or a slice of either. A key that is there keeps its place and gets
    /// the new value.
    ///
    /// # Errors
    /// [`Error::Unwritable`] for an empty key, one beyond 65535 bytes, and `general.alignment`, which is always 32.
    pub fn set<'v>(&mut self, key: &str, value: impl Into<Value<'v>>) -> Result<(), Error> {
        let refuse = |detail: &str| Err(Error::Unwritable { what: format!("metadata key `{key}`"), detail: detail.to_string() });
        if key.is_empty() || key.len() as u64 > MAX_KEY {
            return refuse("keys have 1 to 65535 bytes");
        }
        if key == ALIGNMENT_KEY {
            return refuse("this writer aligns to 32 bytes");
        }
        self.put(key, &value.into());
        Ok(())
    }

    fn put(&mut self, key: &str, value: &Value<'_>) {
        let mut bytes = value.value_type().id().to_le_bytes().to_vec();
        value.write(&mut bytes);
        match self.metadata.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = bytes,
            None => self.metadata.push((key.to_string(), bytes)),
        }
    }

    /// Adds a tensor whose bytes are at hand, owned or borrowed. `dims` are fastest first: `[n, m]` for `m` rows of `n`
    /// weights.
    ///
    /// # Errors
    /// [`Error::Duplicate`] if the name is taken; [`Error::Unwritable`] for a name that is empty or longer than 63 bytes,
    /// or dimensions that are none, more than 4, or zero; [`Error::BlockDoesNotDivide`], [`Error::Overflow`];
    /// [`Error::ShapeMismatch`] if `data` has not the size that type and dimensions ask for.
    pub fn tensor(&mut self, name: &str, block_type: BlockType, dims: &[usize], data: impl Into<Cow<'a, [u8]>>) -> Result<(), Error> {
        let want = self.check(name, block_type, dims)?;
        let data = data.into();
        if data.len() != want {
            return Err(Error::ShapeMismatch { what: format!("bytes of tensor `{name}` ({block_type} {dims:?})"), want, got: data.len() });
        }
        self.names.insert(name.to_string());
        self.tensors.push(Entry { name: name.to_string(), block_type, dims: dims.to_vec(), data });
        Ok(())
    }

    /// Encodes `weights` as `block_type` and adds them; `dims` as for [`tensor`](Writer::tensor).
    ///
    /// # Errors
    /// Those of [`tensor`](Writer::tensor), and of [`blocks::encode`] with the tensor's name.
    pub fn encode(&mut self, name: &str, block_type: BlockType, dims: &[usize], weights: &[f32]) -> Result<(), Error> {
        self.encode_with(name, block_type, dims, weights, None)
    }

    /// As [`encode`](Writer::encode), with an importance of each column: see [`blocks::encode_weighted`].
    ///
    /// # Errors
    /// Those of [`encode`](Writer::encode); [`Error::ShapeMismatch`] unless `importance` is as long as a row.
    pub fn encode_weighted(
        &mut self,
        name: &str,
        block_type: BlockType,
        dims: &[usize],
        weights: &[f32],
        importance: &[f32],
    ) -> Result<(), Error> {
        self.encode_with(name, block_type, dims, weights, Some(importance))
    }

    fn encode_with(
        &mut self,
        name: &str,
        block_type: BlockType,
        dims: &[usize],
        weights: &[f32],
        importance: Option<&[f32]>,
    ) -> Result<(), Error> {
        let len = self.check(name, block_type, dims)?;
        let want: usize = dims.iter().product();
        if weights.len() != want {
            return Err(Error::ShapeMismatch { what: format!("weights of tensor `{name}` {dims:?}"), want, got: weights.len() });
        }
        if let Some(got) = importance.map(<[f32]>::len).filter(|len| *len != dims[0]) {
            return Err(Error::ShapeMismatch { what: format!("importance of the columns of `{name}`"), want: dims[0], got });
        }
        let mut data = vec![0; len];
        let encoded = match importance {
            Some(importance) => blocks::encode_weighted(block_type, weights, importance, &mut data),
            None => blocks::encode(block_type, weights, &mut data),
        };
        encoded.map_err(|e| Error::Unwritable { what: format!("tensor `{name}`"), detail: e.to_string() })?;
        self.tensor(name, block_type, dims, data)
    }

    /// Checks name and dimensions, and returns the tensor's size in bytes.
    fn check(&self, name: &str, block_type: BlockType, dims: &[usize]) -> Result<usize, Error> {
        let refuse = |detail: String| Err(Error::Unwritable { what: format!("tensor `{name}`"), detail });
        if name.is_empty() || name.len() as u64 > MAX_NAME {
            return refuse(format!("names have 1 to {MAX_NAME} bytes, this one {}", name.len()));
        }
        if self.names.contains(name) {
            return Err(Error::Duplicate { what: "tensor", name: name.to_string() });
        }
        if dims.is_empty() || dims.len() > MAX_DIMS as usize || dims.contains(&0) {
            return refuse(format!("it needs 1 to {MAX_DIMS} dimensions above zero, not {dims:?}"));
        }
        let row = block_type.row_bytes(dims[0])?;
        dims[1..].iter().try_fold(row, |len, &dim| len.checked_mul(dim)).ok_or_else(|| Error::Overflow {
            what: format!("size of tensor `{name}`"),
            factors: dims.iter().map(|&dim| dim as u64).collect(),
        })
    }

    /// Writes the file into `out`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let mut head = b"GGUF".to_vec();
        head.extend(3u32.to_le_bytes());
        head.extend((self.tensors.len() as u64).to_le_bytes());
        head.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            write_str(&mut head, key);
            head.extend_from_slice(value);
        }
        let mut offset = 0;
        for tensor in &self.tensors {
            write_str(&mut head, &tensor.name);
            head.extend((tensor.dims.len() as u32).to_le_bytes());
            for &dim in &tensor.dims {
                head.extend((dim as u64).to_le_bytes());
            }
            head.extend(tensor.block_type.id().to_le_bytes());
            head.extend((offset as u64).to_le_bytes());
            offset += tensor.data.len().next_multiple_of(DEFAULT_ALIGNMENT);
        }
        head.resize(head.len().next_multiple_of(DEFAULT_ALIGNMENT), 0);
        out.write_all(&head)?;
        for tensor in &self.tensors {
            out.write_all(&tensor.data)?;
            let padding = tensor.data.len().next_multiple_of(DEFAULT_ALIGNMENT) - tensor.data.len();
            out.write_all(&[0; DEFAULT_ALIGNMENT][..padding])?;
        }
        Ok(())
    }

    /// The file in memory.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_to(&mut out).expect("a Vec takes all bytes");
        out
    }

    /// Writes the file at `path`, whole or not at all: see [`replace`].
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(replace(path, |out| self.write_to(out))?)
    }
}
