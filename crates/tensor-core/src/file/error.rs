//! What can be wrong with a file.

use std::io;
use std::path::{Path, PathBuf};

use super::checksum::Crc32c;
use super::dtype::Dtype;
use super::header::MAX_HEADER_LEN;

/// Why a file could not be read, checked or written. Messages name the thing and the two values that disagree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `map`, `write`, `replace`.
        action: &'static str,
        /// The file it was tried on.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// The file is shorter than its header, or than the eight bytes that tell the header's length.
    #[error("header of {header} bytes in a file of {file} bytes: the file is cut or not safetensors")]
    HeaderLength {
        /// Bytes of the header with its length field.
        header: u64,
        /// Bytes of the file.
        file: u64,
    },

    /// The header is longer than any reader accepts.
    #[error("header of {header} bytes: readers accept up to {MAX_HEADER_LEN}")]
    HeaderTooLong {
        /// Bytes of the header.
        header: u64,
    },

    /// The header is not the JSON it should be.
    #[error("header: {0}")]
    Header(#[source] serde_json::Error),

    /// The header is not UTF-8.
    #[error("header: {0}")]
    HeaderText(#[source] std::str::Utf8Error),

    /// The header was changed after it was written.
    #[error("header: stored checksum {stored}, computed {computed}")]
    HeaderChecksum {
        /// From the file.
        stored: Crc32c,
        /// From what was read.
        computed: Crc32c,
    },

    /// A tensor does not start where the one before it ends, or ends before it starts.
    #[error("tensor `{tensor}`: bytes {begin} to {end} where byte {expected} should be next")]
    Offsets {
        /// Its name.
        tensor: String,
        /// First byte in the data section.
        begin: usize,
        /// One past the last byte.
        end: usize,
        /// Where the tensor before it ends.
        expected: usize,
    },

    /// A tensor's shape and its number of bytes disagree.
    #[error("tensor `{tensor}`: {dtype} {shape:?} takes {}, given are {len}", count(*want))]
    Length {
        /// Its name.
        tensor: String,
        /// Its element type.
        dtype: Dtype,
        /// Its shape.
        shape: Vec<usize>,
        /// Bytes of that shape; `None` if more than a `usize` can say.
        want: Option<usize>,
        /// Bytes there are.
        len: usize,
    },

    /// The tensors end before or after the file does.
    #[error("tensors of {tensors} bytes in a data section of {section} bytes: the file is cut or has a tail")]
    DataLength {
        /// Bytes of all tensors.
        tensors: usize,
        /// Bytes after the header.
        section: usize,
    },

    /// A tensor's bytes were changed after they were written.
    #[error("tensor `{tensor}`: stored checksum {stored}, computed {computed}")]
    Checksum {
        /// Its name.
        tensor: String,
        /// From the description.
        stored: Crc32c,
        /// From what was read.
        computed: Crc32c,
    },

    /// Only one of the two metadata entries that every file of ours has is there.
    #[error("metadata has `{present}` but not `{missing}`")]
    Metadata {
        /// The key that is there.
        present: &'static str,
        /// The key that is not.
        missing: &'static str,
    },

    /// The description is not the JSON it should be, or its parameters are not those of this kind of file.
    #[error("description: {0}")]
    Description(#[source] serde_json::Error),

    /// The description lists other tensors than the file holds.
    #[error("tensor `{tensor}` is in {} but not in {}", side(*stored), side(!*stored))]
    TensorList {
        /// The tensor that only one side has.
        tensor: String,
        /// Whether the file holds it (then the description does not list it).
        stored: bool,
    },

    /// The file is of another kind, or not ours at all.
    #[error("want a {want} file, this is {}", kind(found.as_deref()))]
    Kind {
        /// The kind asked for.
        want: String,
        /// The kind of the file; `None` for a file without description.
        found: Option<String>,
    },

    /// The file is of a version that this build does not know.
    #[error("{kind} file of version {version}: this build reads 1 to {newest}")]
    Version {
        /// The kind of the file.
        kind: String,
        /// The version of the file.
        version: u32,
        /// The newest version this build reads.
        newest: u32,
    },

    /// The file holds no tensor of this name.
    #[error("tensor `{tensor}` is missing")]
    Missing {
        /// The name asked for.
        tensor: String,
    },

    /// A tensor is of another type or shape than its reader needs.
    #[error("tensor `{tensor}`: want {want} {want_shape:?}, file has {found} {found_shape:?}")]
    Unexpected {
        /// Its name.
        tensor: String,
        /// The element type asked for.
        want: Dtype,
        /// The shape asked for.
        want_shape: Vec<usize>,
        /// The element type in the file.
        found: Dtype,
        /// The shape in the file.
        found_shape: Vec<usize>,
    },

    /// A tensor of integers was asked for as floats.
    #[error("tensor `{tensor}`: {dtype} does not convert to f32")]
    NotFloat {
        /// Its name.
        tensor: String,
        /// The element type in the file.
        dtype: Dtype,
    },

    /// A number that its reader cannot use: NaN, infinite, or outside its range.
    #[error("tensor `{tensor}`: element {at} is {value}")]
    Value {
        /// Its name.
        tensor: String,
        /// Index in row order.
        at: usize,
        /// The number.
        value: f64,
    },

    /// Bytes cannot be seen as elements: not a whole number of them, or not aligned for them.
    #[error("{len} bytes at an address of alignment {alignment} are no {element}s: {reason}")]
    Cast {
        /// Bytes given.
        len: usize,
        /// The largest power of two, up to 64, that divides their address.
        alignment: usize,
        /// The element type asked for.
        element: &'static str,
        /// What the cast said.
        reason: bytemuck::PodCastError,
    },

    /// A name was given twice, or is one the format uses itself.
    #[error("`{name}` is already in the file")]
    Taken {
        /// The name.
        name: String,
    },
}

impl FileError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        FileError::Io { action, path: path.to_owned(), source }
    }
}

fn count(len: Option<usize>) -> String {
    len.map_or_else(|| "more bytes than can be counted".to_owned(), |len| format!("{len} bytes"))
}

fn side(stored: bool) -> &'static str {
    if stored { "the file" } else { "its description" }
}

fn kind(found: Option<&str>) -> String {
    found.map_or_else(|| "a file without description".to_owned(), |kind| format!("a {kind} file"))
}
