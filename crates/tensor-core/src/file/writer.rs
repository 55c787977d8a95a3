//! Writing a container.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::bytes::{Bytes, OwnedBytes};
use super::checksum::Crc32c;
use super::description::{DESCRIPTION, HEADER_CHECKSUM, description_text, header_checksum};
use super::dtype::{Dtype, Element};
use super::error::FileError;
use super::header::{LENGTH_FIELD, MAX_HEADER_LEN, METADATA, check_len};
use super::replace::replace;

/// Where the data section begins, and where every tensor whose length is a multiple of it lies.
const ALIGNMENT: usize = 64;

/// The bytes of a tensor to be written: borrowed, shared or handed over.
pub enum Data<'a> {
    /// Borrowed until the file is written.
    Slice(&'a [u8]),
    /// Shared with whoever holds them.
    Bytes(Bytes),
    /// Handed over.
    Vec(Vec<u8>),
}

impl Data<'_> {
    fn as_slice(&self) -> &[u8] {
        match self {
            Data::Slice(bytes) => bytes,
            Data::Bytes(bytes) => bytes,
            Data::Vec(bytes) => bytes,
        }
    }
}

impl<'a> From<&'a [u8]> for Data<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Data::Slice(bytes)
    }
}

impl From<Bytes> for Data<'_> {
    fn from(bytes: Bytes) -> Self {
        Data::Bytes(bytes)
    }
}

impl From<&Bytes> for Data<'_> {
    fn from(bytes: &Bytes) -> Self {
        Data::Bytes(bytes.clone())
    }
}

impl From<Vec<u8>> for Data<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Data::Vec(bytes)
    }
}

struct Tensor<'a> {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    data: Data<'a>,
}

/// Gathers tensors and writes them as one safetensors file with a description.
///
/// Tensors are named `{layer}.{term}.{part}`. Those whose length is a multiple of 64 bytes come first, in the order they
/// were added, then the others by falling element size: so everything large starts at a multiple of 64, everything else
/// at a multiple of its element, and there are no holes. The same content in the same order gives the same bytes.
///
/// ```
/// use scant_tensor_core::file::{Dtype, File, Writer};
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Parameters { bits: u8, group_size: usize }
///
/// let path = std::env::temp_dir().join(format!("scant-writer-{}", std::process::id()));
/// let mut writer = Writer::new("grid", 1).parameters(&Parameters { bits: 4, group_size: 32 })?;
/// writer.add("codes", Dtype::U8, [2, 2], vec![1, 2, 3, 4])?;
/// writer.save(&path)?;
///
/// let file = File::read(&path)?;
/// let parameters: Parameters = file.require_kind("grid", 1)?.parameters()?;
/// assert_eq!((parameters.bits, parameters.group_size), (4, 32));
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), scant_tensor_core::file::FileError>(())
/// ```
pub struct Writer<'a> {
    kind: String,
    version: u32,
    parameters: serde_json::Value,
    metadata: BTreeMap<String, String>,
    tensors: Vec<Tensor<'a>>,
    names: BTreeSet<String>,
}

impl<'a> Writer<'a> {
    /// A file of this kind and version (from 1), so far without parameters and tensors.
    pub fn new(kind: impl Into<String>, version: u32) -> Self {
        Writer {
            kind: kind.into(),
            version,
            parameters: serde_json::Value::Object(serde_json::Map::new()),
            metadata: BTreeMap::new(),
            tensors: Vec::new(),
            names: BTreeSet::new(),
        }
    }

    /// Sets the parameters: what a reader must know besides the tensors.
    ///
    /// # Errors
    /// [`FileError::Description`] if they have no JSON form (map keys that are no strings, for example).
    pub fn parameters(mut self, parameters: &impl Serialize) -> Result<Self, FileError> {
        self.parameters = serde_json::to_value(parameters).map_err(FileError::Description)?;
        // Already sorted, unless some other crate has turned on serde_json's `preserve_order`: bytes must not depend on that.
        self.parameters.sort_all_objects();
        Ok(self)
    }

    /// Sets a metadata entry for other readers, such as `format: pt` for Hugging Face transformers.
    ///
    /// # Errors
    /// [`FileError::Taken`] for a key that is already set or is one of our own two.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Result<Self, FileError> {
        let key = key.into();
        if key == DESCRIPTION || key == HEADER_CHECKSUM || self.metadata.contains_key(&key) {
            return Err(FileError::Taken { name: key });
        }
        self.metadata.insert(key, value.into());
        Ok(self)
    }

    /// Adds a tensor: its elements row by row, little-endian.
    ///
    /// # Errors
    /// [`FileError::Length`] if `data` is not as long as type and shape say; [`FileError::Taken`] if there is a tensor of
    /// this name, or the name is safetensors' own `__metadata__`.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        dtype: Dtype,
        shape: impl AsRef<[usize]>,
        data: impl Into<Data<'a>>,
    ) -> Result<(), FileError> {
        let (name, shape, data) = (name.into(), shape.as_ref(), data.into());
        check_len(&name, dtype, shape, data.as_slice().len())?;
        if name == METADATA || !self.names.insert(name.clone()) {
            return Err(FileError::Taken { name });
        }
        self.tensors.push(Tensor { name, dtype, shape: shape.to_vec(), data });
        Ok(())
    }

    /// Adds a tensor of borrowed elements.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_elements<T: Element>(
        &mut self,
        name: impl Into<String>,
        shape: impl AsRef<[usize]>,
        elements: &'a [T],
    ) -> Result<(), FileError> {
        self.add(name, T::DTYPE, shape, bytemuck::cast_slice(elements))
    }

    /// Writes the file through a temporary one beside it: a save that fails leaves the old file whole.
    ///
    /// # Errors
    /// [`FileError::Io`]; [`FileError::HeaderTooLong`] if names, shapes and parameters take more than 100 MB.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), FileError> {
        let order = self.order();
        let header = self.header(&order)?;
        replace(path, |out| write_all(&header, &order, out))
    }

    /// The whole file in memory.
    ///
    /// # Errors
    /// [`FileError::HeaderTooLong`].
    pub fn to_bytes(&self) -> Result<Bytes, FileError> {
        let order = self.order();
        let header = self.header(&order)?;
        let len = header.len() + order.iter().map(|t| t.data.as_slice().len()).sum::<usize>();
        let mut bytes = OwnedBytes::zeroed(len);
        write_all(&header, &order, &mut &mut bytes[..]).map_err(|e| FileError::io("write", Path::new("to memory"), e))?;
        Ok(bytes.freeze())
    }

    fn order(&self) -> Vec<&Tensor<'a>> {
        let mut order: Vec<_> = self.tensors.iter().collect();
        order.sort_by_key(|tensor| {
            if tensor.data.as_slice().len().is_multiple_of(ALIGNMENT) { (false, 0) } else { (true, usize::MAX - tensor.dtype.size()) }
        });
        order
    }

    /// Everything before the data section: length field, JSON, spaces.
    fn header(&self, order: &[&Tensor<'a>]) -> Result<Vec<u8>, FileError> {
        #[derive(Serialize)]
        struct Entry<'b> {
            dtype: &'static str,
            shape: &'b [usize],
            data_offsets: [usize; 2],
        }
        let sums = order.iter().map(|t| (t.name.as_str(), Crc32c::of(t.data.as_slice())));
        let text = description_text(&self.kind, self.version, &self.parameters, &sums.collect())?;
        let mut by_name: Vec<_> = order.iter().map(|t| (t.name.as_str(), t.dtype, &t.shape[..])).collect();
        by_name.sort_unstable_by_key(|&(name, ..)| name);
        let checksum = header_checksum(&text, &self.metadata, by_name.into_iter()).to_string();
        let mut metadata: BTreeMap<&str, &str> = self.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        metadata.insert(DESCRIPTION, &text);
        metadata.insert(HEADER_CHECKSUM, &checksum);

        let mut header = vec![0; LENGTH_FIELD];
        header.push(b'{');
        member(&mut header, METADATA, &metadata)?;
        let mut begin = 0;
        for tensor in order {
            let end = begin + tensor.data.as_slice().len();
            let entry = Entry { dtype: tensor.dtype.code(), shape: &tensor.shape, data_offsets: [begin, end] };
            header.push(b',');
            member(&mut header, &tensor.name, &entry)?;
            begin = end;
        }
        header.push(b'}');
        header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
        let len = (header.len() - LENGTH_FIELD) as u64;
        if len > MAX_HEADER_LEN {
            return Err(FileError::HeaderTooLong { header: len });
        }
        header[..LENGTH_FIELD].copy_from_slice(&len.to_le_bytes());
        Ok(header)
    }
}

fn member(json: &mut Vec<u8>, key: &str, value: &impl Serialize) -> Result<(), FileError> {
    serde_json::to_writer(&mut *json, key).map_err(FileError::Header)?;
    json.push(b':');
    serde_json::to_writer(json, value).map_err(FileError::Header)
}

fn write_all(header: &[u8], order: &[&Tensor<'_>], out: &mut dyn Write) -> io::Result<()> {
    out.write_all(header)?;
    order.iter().try_for_each(|tensor| out.write_all(tensor.data.as_slice()))
}
