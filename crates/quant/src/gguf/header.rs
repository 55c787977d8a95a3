//! The part of a GGUF file before the tensors' bytes.

use super::cursor::Cursor;
use super::types::BlockType;
use super::value::{self, Value, ValueType};
use crate::Error;
use std::ops::Range;

/// Bytes of the longest metadata key.
pub(super) const MAX_KEY: u64 = 65_535;
/// Bytes of the longest tensor name.
pub(super) const MAX_NAME: u64 = 63;
/// Dimensions of a tensor.
pub(super) const MAX_DIMS: u32 = 4;
/// Tensors start at multiples of this many bytes unless `general.alignment` says otherwise.
pub(super) const DEFAULT_ALIGNMENT: usize = 32;

/// Where everything is: positions in the file, no copies.
///
/// The heap is 44 bytes per key and 80 per tensor, of which each takes at least 10 and 25 bytes in the file (version 1,
/// shortest names): less than 5 times the file, whatever the file says.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) alignment: usize,
    pub(super) entries: Vec<Entry>,
    pub(super) tensors: Vec<TensorInfo>,
    /// Indices of `entries` and `tensors`, in the order of their names.
    by_key: Vec<u32>,
    by_name: Vec<u32>,
}

/// A metadata key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
    pub(super) value_type: ValueType,
}

/// A tensor's place and form.
#[derive(Debug)]
pub(super) struct TensorInfo {
    pub(super) name: Range<usize>,
    pub(super) type_id: u32,
    pub(super) n_dims: u32,
    pub(super) dims: [usize; MAX_DIMS as usize],
    /// Absolute. A tensor of unknown type reaches to the next one, since its length is unknown.
    pub(super) data: Range<usize>,
}

impl Header {
    /// Reads and checks everything but the tensors' bytes.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new(bytes, true);
        let version = read_version(&mut cursor)?;
        cursor.set_wide(version > 1);

        let count_bytes = cursor.count_bytes();
        // A tensor: length and byte of its name, number of dimensions, one dimension, type, offset.
        let tensor_min = count_bytes + 1 + 4 + count_bytes + 4 + 8;
        let n_tensors = cursor.count_of(tensor_min, "tensors")?;
        // An entry: length and byte of its key, type, a value of one byte.
        let n_entries = cursor.count_of(count_bytes + 1 + 4 + 1, "metadata entries")?;

        let mut entries = Vec::with_capacity(n_entries);
        for i in 0..n_entries {
            entries.push(read_entry(&mut cursor, i)?);
        }
        let by_key = sorted(bytes, &entries, |entry| &entry.key, "metadata key")?;
        let alignment = read_alignment(bytes, version, &entries, &by_key)?;

        // The smallest entries may have used up what the tensors were promised.
        cursor.expect(n_tensors, tensor_min, "tensors")?;
        let mut tensors = Vec::with_capacity(n_tensors);
        for i in 0..n_tensors {
            tensors.push(read_tensor_info(&mut cursor, i)?);
        }
        let by_name = sorted(bytes, &tensors, |tensor| &tensor.name, "tensor")?;
        if n_tensors > 0 {
            let start = cursor.pos().next_multiple_of(alignment);
            place(bytes, &mut tensors, start, alignment)?;
        }
        Ok(Header { version, alignment, entries, tensors, by_key, by_name })
    }

    pub(super) fn find_entry(&self, bytes: &[u8], key: &str) -> Option<&Entry> {
        find(bytes, &self.entries, |entry| &entry.key, &self.by_key, key)
    }

    pub(super) fn find_tensor(&self, bytes: &[u8], name: &str) -> Option<&TensorInfo> {
        find(bytes, &self.tensors, |tensor| &tensor.name, &self.by_name, name)
    }
}

impl Entry {
    pub(super) fn value<'a>(&self, bytes: &'a [u8], version: u32) -> Result<Value<'a>, Error> {
        let mut cursor = Cursor::new(&bytes[self.value.clone()], version > 1);
        let key = text(bytes, &self.key);
        value::read(&mut cursor, self.value_type, &format_args!("metadata key `{key}`"))
    }
}

/// The name at `range`. It was checked to be UTF-8; a file that changed under its mapping reads as nameless.
pub(super) fn text<'a>(bytes: &'a [u8], range: &Range<usize>) -> &'a str {
    std::str::from_utf8(&bytes[range.clone()]).unwrap_or_default()
}

fn read_version(cursor: &mut Cursor<'_>) -> Result<u32, Error> {
    let magic: [u8; 4] = cursor.array("the magic number")?;
    if &magic != b"GGUF" {
        return Err(Error::Magic { found: magic.escape_ascii().to_string() });
    }
    let version = cursor.u32("the version")?;
    match version {
        1..=3 => Ok(version),
        _ if (1..=0xffff).contains(&version.swap_bytes()) => Err(Error::BigEndian { version: version.swap_bytes() }),
        _ => Err(Error::UnsupportedVersion { format: "GGUF", version, supported: "1 to 3" }),
    }
}

fn read_entry(cursor: &mut Cursor<'_>, i: usize) -> Result<Entry, Error> {
    let key = cursor.str(MAX_KEY, format_args!("metadata key {i}"))?;
    let key_end = cursor.pos();
    if key.is_empty() {
        return Err(empty(format!("metadata key {i}")));
    }
    let what = format_args!("metadata key `{key}`");
    let id = cursor.u32(format_args!("type of {what}"))?;
    let value_type = ValueType::from_id(id).ok_or_else(|| value::unknown_type(id, &what))?;
    let start = cursor.pos();
    value::read(cursor, value_type, &what)?;
    Ok(Entry { key: key_end - key.len()..key_end, value: start..cursor.pos(), value_type })
}

fn read_alignment(bytes: &[u8], version: u32, entries: &[Entry], by_key: &[u32]) -> Result<usize, Error> {
    let key = "general.alignment";
    let Some(entry) = find(bytes, entries, |entry| &entry.key, by_key, key) else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    let value = entry.value(bytes, version)?;
    match <u32 as value::FromValue>::from_value(&value) {
        // Wider than any page, and padding to it cannot overflow.
        Some(alignment) if alignment.is_power_of_two() && alignment <= 1 << 20 => Ok(alignment as usize),
        _ => Err(Error::KeyType { key: key.to_string(), want: "a power of two up to 1048576".to_string(), found: value.to_string() }),
    }
}

/// Reads name, dimensions, type and offset; `data` holds the relative offset until [`place`] has seen all tensors.
fn read_tensor_info(cursor: &mut Cursor<'_>, i: usize) -> Result<TensorInfo, Error> {
    let name = cursor.str(MAX_NAME, format_args!("name of tensor {i}"))?;
    let name_end = cursor.pos();
    if name.is_empty() {
        return Err(empty(format!("name of tensor {i}")));
    }
    let n_dims = cursor.u32(format_args!("tensor `{name}`: number of dimensions"))?;
    if n_dims > MAX_DIMS {
        return Err(Error::Limit { what: format!("tensor `{name}`: number of dimensions"), value: n_dims.into(), limit: MAX_DIMS.into() });
    }
    if n_dims == 0 {
        return Err(Error::Corrupt { what: format!("tensor `{name}`"), detail: "it has no dimensions".to_string() });
    }
    let mut wide_dims = [1u64; MAX_DIMS as usize];
    for dim in &mut wide_dims[..n_dims as usize] {
        *dim = cursor.count(format_args!("tensor `{name}`: dimensions"))?;
    }
    let wide_dims = &wide_dims[..n_dims as usize];
    if wide_dims.contains(&0) {
        return Err(Error::Corrupt { what: format!("tensor `{name}`"), detail: format!("a dimension of {wide_dims:?} is zero") });
    }
    let mut dims = [1usize; MAX_DIMS as usize];
    let mut product = Some(1usize);
    for (dim, &wide) in dims.iter_mut().zip(wide_dims) {
        *dim = usize::try_from(wide).unwrap_or(usize::MAX);
        product = product.and_then(|p| p.checked_mul(*dim));
    }
    // Indices of weights fit `isize`, so that callers may compute with them.
    if product.is_none_or(|p| p > isize::MAX as usize) {
        return Err(Error::Overflow { what: format!("dimensions of tensor `{name}`"), factors: wide_dims.to_vec() });
    }
    let type_id = cursor.u32(format_args!("tensor `{name}`: type"))?;
    let offset = cursor.u64(format_args!("tensor `{name}`: offset"))?;
    let offset = usize::try_from(offset).map_err(|_| Error::Limit {
        what: format!("tensor `{name}`: offset"),
        value: offset,
        limit: usize::MAX as u64,
    })?;
    Ok(TensorInfo { name: name_end - name.len()..name_end, type_id, n_dims, dims, data: offset..offset })
}

/// Turns relative offsets into byte ranges: aligned, in the order of the list, without overlap, inside the file.
fn place(bytes: &[u8], tensors: &mut [TensorInfo], start: usize, alignment: usize) -> Result<(), Error> {
    let mut previous_end = start;
    for i in 0..tensors.len() {
        let next_offset = tensors.get(i + 1).map(|next| next.data.start);
        let tensor = &mut tensors[i];
        let name = text(bytes, &tensor.name);
        let corrupt = |detail| Error::Corrupt { what: format!("tensor `{name}`"), detail };
        let offset = tensor.data.start;
        if !offset.is_multiple_of(alignment) {
            return Err(corrupt(format!("offset {offset} is not a multiple of the alignment, {alignment}")));
        }
        let overflow = || Error::Overflow {
            what: format!("tensor `{name}`: offset and size of {:?}", tensor.dims),
            factors: vec![start as u64, offset as u64],
        };
        let begin = start.checked_add(offset).ok_or_else(overflow)?;
        if begin < previous_end {
            return Err(corrupt(format!("it starts at byte {begin}, and what lies before it ends at {previous_end}")));
        }
        let end = match BlockType::from_id(tensor.type_id) {
            Some(ty) => {
                let rows: usize = tensor.dims[1..].iter().product();
                let len = ty.row_bytes(tensor.dims[0]).map_err(|e| corrupt(e.to_string()))?.checked_mul(rows).ok_or_else(overflow)?;
                begin.checked_add(len).ok_or_else(overflow)?
            }
            None => match next_offset {
                Some(next) => start.saturating_add(next).max(begin),
                None => bytes.len().max(begin),
            },
        };
        if end > bytes.len() {
            return Err(Error::Truncated {
                what: format!("tensor `{name}`"),
                offset: begin,
                need: (end - begin) as u64,
                have: bytes.len().saturating_sub(begin),
            });
        }
        tensor.data = begin..end;
        previous_end = end;
    }
    Ok(())
}

/// The order of `items` by name, which must differ.
fn sorted<T>(bytes: &[u8], items: &[T], name: impl Fn(&T) -> &Range<usize>, what: &'static str) -> Result<Vec<u32>, Error> {
    // At least 10 bytes of the file stand behind each item, and at most 2^30 items are read.
    let mut order: Vec<u32> = (0..items.len() as u32).collect();
    let of = |i: u32| &bytes[name(&items[i as usize]).clone()];
    order.sort_unstable_by_key(|&i| of(i));
    match order.windows(2).find(|pair| of(pair[0]) == of(pair[1])) {
        Some(pair) => Err(Error::Duplicate { what, name: text(bytes, name(&items[pair[0] as usize])).to_string() }),
        None => Ok(order),
    }
}

fn find<'h, T>(bytes: &[u8], items: &'h [T], name: impl Fn(&T) -> &Range<usize>, order: &[u32], want: &str) -> Option<&'h T> {
    let of = |i: u32| &bytes[name(&items[i as usize]).clone()];
    let at = order.binary_search_by(|&i| of(i).cmp(want.as_bytes())).ok()?;
    Some(&items[order[at] as usize])
}

fn empty(what: String) -> Error {
    Error::Corrupt { what, detail: "it is empty".to_string() }
}
