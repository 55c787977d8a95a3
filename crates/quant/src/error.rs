//! What can go wrong in this crate.

use scant_tensor_core::file::FileError;

/// The crate's error. Every message names the thing and, where two values disagree, both.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file ends inside something it announced.
    #[error("truncated: {what} needs {need} bytes at offset {offset}, and {have} are left")]
    Truncated {
        /// What was being read.
        what: String,
        /// Where it starts in the file.
        offset: usize,
        /// Bytes it announces.
        need: u64,
        /// Bytes left in the file.
        have: usize,
    },
    /// The file does not start with `GGUF`.
    #[error("not a GGUF file: it starts with {found:?} instead of \"GGUF\"")]
    Magic {
        /// The first four bytes, as text.
        found: String,
    },
    /// A version that this build does not read.
    #[error("{format} version {version}: this build reads {supported}")]
    UnsupportedVersion {
        /// The file format.
        format: &'static str,
        /// The version in the file.
        version: u32,
        /// The versions that can be read.
        supported: &'static str,
    },
    /// The bytes of the version number are swapped.
    #[error("big-endian GGUF file of version {version}: convert it to little-endian first")]
    BigEndian {
        /// The version, read in the file's byte order.
        version: u32,
    },
    /// The file contradicts itself.
    #[error("corrupt: {what}: {detail}")]
    Corrupt {
        /// The key, tensor or field.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A number in the file is beyond what the format or this build allows.
    #[error("{what} is {value}, above the limit of {limit}")]
    Limit {
        /// The number's name.
        what: String,
        /// Its value.
        value: u64,
        /// The largest value allowed.
        limit: u64,
    },
    /// A product of sizes does not fit the machine's word.
    #[error("{what}: the product of {factors:?} overflows")]
    Overflow {
        /// What has these sizes.
        what: String,
        /// The sizes.
        factors: Vec<u64>,
    },
    /// Two things of the same name.
    #[error("{what} `{name}` appears twice")]
    Duplicate {
        /// "metadata key" or "tensor".
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A metadata key that is needed and absent.
    #[error("no metadata key `{key}`")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A metadata value of another type, or out of the wanted type's range.
    #[error("metadata key `{key}` should be {want}, found {found}")]
    KeyType {
        /// The key.
        key: String,
        /// The type asked for.
        want: String,
        /// The type, and for scalars the value, in the file.
        found: String,
    },
    /// A tensor that is needed and absent.
    #[error("no tensor `{name}`")]
    MissingTensor {
        /// The name asked for.
        name: String,
    },
    /// A block type that this build does not know.
    #[error("tensor `{tensor}` has ggml type {id}; supported are {supported}")]
    UnknownGgmlType {
        /// The type id in the file.
        id: u32,
        /// The tensor.
        tensor: String,
        /// The supported names and ids.
        supported: String,
    },
    /// A name that is none of the known ones.
    #[error("unknown {what} `{name}`; known are {known}")]
    UnknownName {
        /// What was to be named.
        what: &'static str,
        /// The name given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A method's name that does not parse.
    #[error("method `{name}`: {detail}")]
    MethodName {
        /// The name.
        name: String,
        /// What is wrong with it.
        detail: String,
    },
    /// An importance that weighs nothing: below zero, infinite or NaN.
    #[error("importance of column {column} is {value}: it must be finite and not below zero")]
    Importance {
        /// The column.
        column: usize,
        /// Its importance.
        value: f32,
    },
    /// A block type that can be read and not written.
    #[error("cannot encode {block_type}: the encoder writes {supported}")]
    NoEncoder {
        /// The type asked for.
        block_type: String,
        /// The types with an encoder.
        supported: String,
    },
    /// Plain floats where a quantized type is needed.
    #[error("{block_type} has no codes: only quantized types split into codes and scales")]
    NotQuantized {
        /// The type given.
        block_type: String,
    },
    /// A quantized checkpoint in a form that this build does not read.
    #[error("{kind} is not supported: {hint}")]
    UnsupportedCheckpoint {
        /// What it has.
        kind: String,
        /// What there is instead.
        hint: &'static str,
    },
    /// Weights, centroids or a temperature that clusters cannot be made with.
    #[error("clusters: {detail}")]
    Clusters {
        /// What is wrong, and what would do.
        detail: String,
    },
    /// Two sizes that should agree.
    #[error("{what}: {want} expected, {got} given")]
    ShapeMismatch {
        /// What is measured, with its unit.
        what: String,
        /// The size it should have.
        want: usize,
        /// The size it has.
        got: usize,
    },
    /// A row that does not split into blocks.
    #[error("rows of {n} weights do not split into {block_type} blocks of {block_size}{hint}")]
    BlockDoesNotDivide {
        /// Columns.
        n: usize,
        /// The block type.
        block_type: String,
        /// Weights per block.
        block_size: usize,
        /// A type that fits, if there is one.
        hint: String,
    },
    /// A weight that the target type cannot hold: NaN, infinite, or its scale beyond f16.
    #[error("weight {index} is {value}: {block_type} cannot hold it")]
    Unrepresentable {
        /// Index of the (largest) weight concerned.
        index: usize,
        /// Its value.
        value: f32,
        /// The target type.
        block_type: String,
    },
    /// A name, key or value that the format cannot express.
    #[error("cannot write {what}: {detail}")]
    Unwritable {
        /// The key or tensor.
        what: String,
        /// Why.
        detail: String,
    },
    /// Numbers that no term holds.
    #[error(transparent)]
    Term(#[from] scant_tensor_core::Error),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}
