//! The header of a safetensors file: its JSON read with suspicion, and written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::checksum::Crc32c;
use super::dtype::Dtype;
use super::error::FileError;

/// The longest header that is read or written, as in the reference implementation.
pub const MAX_HEADER_LEN: u64 = 100_000_000;

/// The most dimensions a tensor may have. numpy, too, stops at 64; a limit keeps `[1,1,1,..` from filling memory.
const MAX_RANK: usize = 64;

/// The key of the header that is not a tensor.
pub(super) const METADATA: &str = "__metadata__";

/// Bytes of the field that tells the header's length.
pub(super) const LENGTH_FIELD: usize = 8;

/// What the header tells of one tensor.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) dtype: Dtype,
    pub(super) shape: Box<[usize]>,
    /// Where it lies in the data section.
    pub(super) begin: usize,
    pub(super) end: usize,
    /// What the description says of its bytes; `None` in foreign files.
    pub(super) checksum: Option<Crc32c>,
}

/// A header whose tensors are known to fill the data section without holes or overlaps.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) tensors: BTreeMap<String, Entry>,
    /// Where the data section begins in the file.
    pub(super) data: usize,
}

impl Header {
    /// Reads the header of a file of which all bytes are given.
    ///
    /// Uses less than 16 times the header's length of heap (see the test of hostile files).
    pub(super) fn parse(file: &[u8]) -> Result<Header, FileError> {
        let cut = |header| FileError::HeaderLength { header, file: file.len() as u64 };
        let (field, rest) = file.split_first_chunk::<LENGTH_FIELD>().ok_or_else(|| cut(LENGTH_FIELD as u64))?;
        let claimed = u64::from_le_bytes(*field);
        if claimed > MAX_HEADER_LEN {
            return Err(FileError::HeaderTooLong { header: claimed });
        }
        let json = usize::try_from(claimed).ok().and_then(|len| rest.get(..len)).ok_or_else(|| cut(claimed + LENGTH_FIELD as u64))?;
        let data = LENGTH_FIELD + json.len();
        let text = std::str::from_utf8(json).map_err(FileError::HeaderText)?;
        let Raw { metadata, tensors } = serde_json::from_str(text).map_err(FileError::Header)?;
        let header = Header { metadata, tensors, data };
        header.check(file.len() - data)?;
        Ok(header)
    }

    /// Tensors in the order of their bytes.
    pub(super) fn in_order(&self) -> Vec<(&str, &Entry)> {
        let mut order: Vec<_> = self.tensors.iter().map(|(n, e)| (n.as_str(), e)).collect();
        // Empty tensors share their place with the next one; the sort is stable, so names decide.
        order.sort_by_key(|(_, entry)| (entry.begin, entry.end));
        order
    }

    /// The rules of the reference reader: in order of offset, each tensor begins where the one before ended, is as long
    /// as its shape says, and the last one ends with the file.
    fn check(&self, section: usize) -> Result<(), FileError> {
        let mut expected = 0;
        for (name, entry) in self.in_order() {
            let &Entry { begin, end, .. } = entry;
            if begin != expected || end < begin {
                return Err(FileError::Offsets { tensor: name.to_owned(), begin, end, expected });
            }
            check_len(name, entry.dtype, &entry.shape, end - begin)?;
            expected = end;
        }
        if expected != section {
            return Err(FileError::DataLength { tensors: expected, section });
        }
        Ok(())
    }
}

/// Whether `len` bytes are a tensor of this type and shape.
pub(super) fn check_len(name: &str, dtype: Dtype, shape: &[usize], len: usize) -> Result<(), FileError> {
    let want = dtype.byte_len(shape);
    if want == Some(len) {
        return Ok(());
    }
    Err(FileError::Length { tensor: name.to_owned(), dtype, shape: shape.to_vec(), want, len })
}

struct Raw {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Entry>,
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawVisitor;
        impl<'de> Visitor<'de> for RawVisitor {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let (mut metadata, mut tensors) = (None, BTreeMap::new());
                while let Some(name) = map.next_key::<String>()? {
                    if name == METADATA {
                        let Unique(entries) = map.next_value::<Option<Unique<String>>>()?.unwrap_or_default();
                        if metadata.replace(entries).is_some() {
                            return Err(twice(&name));
                        }
                        continue;
                    }
                    let entry = map.next_value::<Entry>().map_err(|e| de::Error::custom(format_args!("tensor `{name}`: {e}")))?;
                    match tensors.entry(name) {
                        std::collections::btree_map::Entry::Vacant(place) => place.insert(entry),
                        std::collections::btree_map::Entry::Occupied(place) => {
                            return Err(twice(place.key()));
                        }
                    };
                }
                Ok(Raw { metadata: metadata.unwrap_or_default(), tensors })
            }
        }
        deserializer.deserialize_map(RawVisitor)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Unknown fields pass, as they do in the reference.
        #[derive(serde::Deserialize)]
        struct Fields<'a> {
            #[serde(borrow)]
            dtype: Cow<'a, str>,
            shape: Shape,
            data_offsets: (usize, usize),
        }
        let Fields { dtype, shape: Shape(shape), data_offsets: (begin, end) } = Fields::deserialize(deserializer)?;
        let dtype = Dtype::from_code(&dtype).ok_or_else(|| de::Error::custom(format_args!("dtype `{dtype}` is none this build reads")))?;
        Ok(Entry { dtype, shape, begin, end, checksum: None })
    }
}

struct Shape(Box<[usize]>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ShapeVisitor;
        impl<'de> Visitor<'de> for ShapeVisitor {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_RANK} dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(dim) = seq.next_element()? {
                    if shape.len() == MAX_RANK {
                        return Err(de::Error::invalid_length(MAX_RANK + 1, &self));
                    }
                    shape.push(dim);
                }
                Ok(Shape(shape.into_boxed_slice()))
            }
        }
        deserializer.deserialize_seq(ShapeVisitor)
    }
}

/// A JSON object none of whose keys stands twice. (serde's own maps keep the last, other readers the first.)
pub(super) struct Unique<V>(pub(super) BTreeMap<String, V>);

impl<V> Default for Unique<V> {
    fn default() -> Self {
        Unique(BTreeMap::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Unique<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UniqueVisitor<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for UniqueVisitor<V> {
            type Value = Unique<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique<V>, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    if entries.contains_key(&key) {
                        return Err(twice(&key));
                    }
                    entries.insert(key, map.next_value()?);
                }
                Ok(Unique(entries))
            }
        }
        deserializer.deserialize_map(UniqueVisitor(PhantomData))
    }
}

fn twice<E: de::Error>(name: &str) -> E {
    E::custom(format_args!("`{name}` stands twice"))
}
