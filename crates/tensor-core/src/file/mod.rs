//! Files: everything saved is a safetensors file that describes itself and notices damage.
//!
//! [`Writer`] gathers tensors and saves them, [`File`] reads or maps them back, [`Bytes`] and [`Typed`] are what stored
//! formats are made of: shared and immutable, owned or mapped. The layout, byte by byte, is in `docs/formats.md`.
//!
//! ```
//! use scant_tensor_core::file::{Dtype, File, Writer};
//! let mut writer = Writer::new("example", 1);
//! writer.add_elements("weights", [2, 2], &[1.0f32, 2.0, 3.0, 4.0])?;
//! let bytes = writer.to_bytes()?;
//! let file = File::from_bytes(bytes.clone())?;
//! assert_eq!(file.tensor("weights")?.to_f32()?, [1.0, 2.0, 3.0, 4.0]);
//!
//! // One bit of the last weight:
//! let mut damaged = bytes.to_vec();
//! *damaged.last_mut().unwrap() ^= 1;
//! let error = File::from_bytes(damaged.into()).unwrap_err();
//! assert!(error.to_string().starts_with("tensor `weights`: stored checksum "));
//! # Ok::<(), scant_tensor_core::file::FileError>(())
//! ```

#[cfg(target_endian = "big")]
compile_error!("stored tensors are little-endian and used in place: big-endian machines are not supported");

mod bytes;
mod checksum;
mod container;
mod description;
mod dtype;
mod error;
mod header;
mod mmap;
mod replace;
mod typed;
mod writer;

pub use bytes::{Bytes, OwnedBytes};
pub use checksum::{Crc32c, NotAChecksum};
pub use container::{File, TensorView};
pub use description::Description;
pub use dtype::{Dtype, Element, NotADtype};
pub use error::FileError;
pub use header::MAX_HEADER_LEN;
pub use replace::replace;
pub use typed::Typed;
pub use writer::{Data, Writer};
