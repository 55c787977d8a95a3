//! Memory the operating system hands out by the page: anonymous and huge, or the file itself.
//!
//! The `unsafe` of `file` is all here: mapping a file, which is sound only while nobody changes it.
#![expect(unsafe_code, reason = "mapping a file is unsafe, and so are the functions that pass this on")]

use std::ops::{Deref, DerefMut};
use std::path::Path;

use memmap2::{Mmap, MmapMut};

use super::bytes::{Bytes, open_regular};
use super::container::File;
use super::error::FileError;

/// Anonymous zeroed pages.
pub(super) struct Pages(MmapMut);

impl Pages {
    /// `None` where the system has no such thing, or no memory: the caller then asks the heap.
    pub(super) fn zeroed(len: usize) -> Option<Self> {
        let pages = MmapMut::map_anon(len).ok()?;
        // A wish: a kernel without transparent huge pages refuses, and small pages work as well, only slower.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        Some(Pages(pages))
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// A whole file, mapped for reading.
pub(super) struct FileMap(Mmap);

impl Deref for FileMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Bytes {
    /// Maps a whole file: nothing is read until it is touched, and the page cache is shared between processes.
    ///
    /// # Errors
    /// [`FileError::Io`] if the file cannot be opened or mapped, or is not a regular file.
    ///
    /// # Safety
    /// Nobody, in this process or another, may change or shorten the file while these bytes or a part of them live.
    /// Replacing the file by a rename, as [`Writer::save`](super::Writer::save) does, is no change: the map keeps the old one.
    pub unsafe fn map(path: impl AsRef<Path>) -> Result<Bytes, FileError> {
        let path = path.as_ref();
        let map = || {
            let (file, len) = open_regular(path)?;
            if len == 0 {
                // The system refuses to map nothing.
                return Ok(Bytes::default());
            }
            // SAFETY: the caller promises that the file stays as it is.
            let map = unsafe { Mmap::map(&file) }?;
            Ok(Bytes::from_map(FileMap(map)))
        };
        map().map_err(|source| FileError::io("map", path, source))
    }
}

impl File {
    /// Maps a file and verifies its header; the tensors are verified by [`verify`](File::verify), which reads them all.
    ///
    /// # Errors
    /// As [`read`](File::read), except for the tensors' checksums.
    ///
    /// # Safety
    /// As [`Bytes::map`]: nobody may change or shorten the file while this value or a tensor of it lives.
    pub unsafe fn map(path: impl AsRef<Path>) -> Result<File, FileError> {
        // SAFETY: the caller promises what `Bytes::map` asks for.
        let bytes = unsafe { Bytes::map(path) }?;
        File::from_bytes_unverified(bytes)
    }
}
