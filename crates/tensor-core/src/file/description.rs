//! What a file of ours says of itself: kind, version, parameters, and checksums of everything.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::checksum::Crc32c;
use super::dtype::Dtype;
use super::error::FileError;
use super::header::{Header, Unique};

/// The metadata key of the description.
pub(super) const DESCRIPTION: &str = "scant";

/// The metadata key of the header's checksum.
pub(super) const HEADER_CHECKSUM: &str = "scant_crc32c";

/// Kind, version and parameters of a file of ours.
///
/// The parameters are whatever the kind of file needs to be understood: each kind has a struct for them.
#[derive(Clone, Debug)]
pub struct Description {
    kind: String,
    version: u32,
    /// Kept as text: a parsed JSON tree can be 16 times as large as what it was parsed from.
    text: String,
}

impl Description {
    /// What the file holds, such as `model` or `pq-index`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The version of that kind of file, from 1.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The parameters, as the struct that belongs to this kind of file (or as a [`serde_json::Value`]).
    ///
    /// # Errors
    /// [`FileError::Description`] if they are not those of `P`. That they are in range is for the caller to check.
    pub fn parameters<P: DeserializeOwned>(&self) -> Result<P, FileError> {
        #[derive(Deserialize)]
        struct Parameters<P> {
            parameters: P,
        }
        let Parameters { parameters } = serde_json::from_str(&self.text).map_err(FileError::Description)?;
        Ok(parameters)
    }

    /// Takes the description out of a header and lays its checksums beside the tensors; `None` for a foreign file.
    pub(super) fn take(header: &mut Header) -> Result<Option<Description>, FileError> {
        let stored = header.metadata.remove(HEADER_CHECKSUM);
        let text = header.metadata.remove(DESCRIPTION);
        let (text, stored) = match (text, stored) {
            (Some(text), Some(stored)) => (text, stored),
            (None, None) => return Ok(None),
            (text, _) => {
                let (present, missing) = match text {
                    Some(_) => (DESCRIPTION, HEADER_CHECKSUM),
                    None => (HEADER_CHECKSUM, DESCRIPTION),
                };
                return Err(FileError::Metadata { present, missing });
            }
        };
        let stored: Crc32c = stored.parse().map_err(|e| FileError::Description(serde::de::Error::custom(e)))?;
        let tensors = header.tensors.iter().map(|(name, entry)| (name.as_str(), entry.dtype, &entry.shape[..]));
        let computed = header_checksum(&text, &header.metadata, tensors);
        if stored != computed {
            return Err(FileError::HeaderChecksum { stored, computed });
        }

        let Fields { kind, version, parameters: _, crc32c: Unique(mut checksums) } =
            serde_json::from_str(&text).map_err(FileError::Description)?;
        for (name, entry) in &mut header.tensors {
            entry.checksum = checksums.remove(name);
            if entry.checksum.is_none() {
                return Err(FileError::TensorList { tensor: name.clone(), stored: true });
            }
        }
        if let Some((tensor, _)) = checksums.pop_first() {
            return Err(FileError::TensorList { tensor, stored: false });
        }
        Ok(Some(Description { kind, version, text }))
    }
}

#[derive(Deserialize)]
struct Fields {
    kind: String,
    version: u32,
    #[expect(dead_code, reason = "only its presence is checked here")]
    parameters: IgnoredAny,
    crc32c: Unique<Crc32c>,
}

/// The JSON text of a description.
pub(super) fn description_text(
    kind: &str,
    version: u32,
    parameters: &serde_json::Value,
    checksums: &BTreeMap<&str, Crc32c>,
) -> Result<String, FileError> {
    #[derive(Serialize)]
    struct Text<'a> {
        kind: &'a str,
        version: u32,
        parameters: &'a serde_json::Value,
        crc32c: &'a BTreeMap<&'a str, Crc32c>,
    }
    serde_json::to_string(&Text { kind, version, parameters, crc32c: checksums }).map_err(FileError::Description)
}

/// The checksum of all that a header says, whatever its JSON looks like: the description, the other metadata in order of
/// key, the tensors in order of name; each text followed by a zero byte. So a file that another program has read and
/// saved again in its own order, with the metadata, is still ours.
///
/// The description alone would not do: a flipped bit that turns the shape `[0, 4]` into `[0, 5]` changes no length.
pub(super) fn header_checksum<'a>(
    description: &str,
    metadata: &BTreeMap<String, String>,
    tensors: impl Iterator<Item = (&'a str, Dtype, &'a [usize])>,
) -> Crc32c {
    let text = |sum: Crc32c, text: &str| sum.append(text.as_bytes()).append(&[0]);
    let mut sum = text(Crc32c::default(), description);
    for (key, value) in metadata {
        sum = text(text(sum, key), value);
    }
    for (name, dtype, shape) in tensors {
        sum = text(text(sum, name), dtype.code());
        sum = text(sum, &format!("{shape:?}"));
    }
    sum
}
