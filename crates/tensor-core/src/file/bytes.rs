//! Immutable shared bytes: on the heap, on huge pages, or mapped from a file.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::ops::{Bound, Deref, DerefMut, RangeBounds};
use std::path::Path;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::error::FileError;
use super::mmap::{FileMap, Pages};

/// From this size on, owned bytes lie in pages of their own, for which huge ones are asked: fewer faults to fill them
/// (a file of 256 MiB from the page cache is read in 74 ms where `std::fs::read` takes 290), fewer TLB misses to stream them.
const PAGES_FROM: usize = 4 << 20;

/// One cache line; a vector of these is aligned for every load there is.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

enum Buffer {
    Lines { lines: Vec<Line>, len: usize },
    Pages(Pages),
    File(FileMap),
    Static(&'static [u8]),
}

impl Buffer {
    fn as_slice(&self) -> &[u8] {
        match self {
            Buffer::Lines { lines, len } => &bytemuck::cast_slice(lines)[..*len],
            Buffer::Pages(pages) => pages,
            Buffer::File(map) => map,
            Buffer::Static(bytes) => bytes,
        }
    }
}

/// Opens a regular file and tells its length. A folder has none, a device or a pipe does not know its own.
pub(super) fn open_regular(path: &Path) -> io::Result<(fs::File, u64)> {
    // Asked by name, not of the opened file: opening a pipe waits for its other end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let file = fs::File::open(path)?;
    let len = file.metadata()?.len();
    Ok((file, len))
}

/// Immutable bytes that are cheap to clone and to cut: the clone and the part share the owner.
///
/// Everything read from files, and every stored format, lies in one of these: so a matrix does not know, nor care,
/// whether it was computed, read or mapped. Owned bytes start at a multiple of 64; a slice starts where it is cut.
///
/// ```
/// use scant_tensor_core::file::Bytes;
/// let all = Bytes::from(vec![1u8, 2, 3, 4, 5, 6, 7, 8]);
/// let part = all.slice(4..);
/// assert_eq!(part[..], [5, 6, 7, 8]);
/// assert_eq!(part.cast::<u32>()?, [0x08070605]);
/// # Ok::<(), scant_tensor_core::file::FileError>(())
/// ```
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<Buffer>,
    begin: usize,
    end: usize,
}

impl Bytes {
    fn whole(buffer: Buffer) -> Self {
        let end = buffer.as_slice().len();
        Bytes { owner: Arc::new(buffer), begin: 0, end }
    }

    pub(super) fn from_map(map: FileMap) -> Self {
        Bytes::whole(Buffer::File(map))
    }

    /// Bytes that are part of the program, as from `include_bytes!`; nothing is copied, and the alignment is what it is.
    pub fn from_static(bytes: &'static [u8]) -> Self {
        Bytes::whole(Buffer::Static(bytes))
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// [`FileError::Io`] if it cannot be read, is not a regular file, or does not fit in memory.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        Self::read_whole(path).map_err(|source| FileError::io("read", path, source))
    }

    fn read_whole(path: &Path) -> io::Result<Self> {
        let (mut file, len) = open_regular(path)?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = OwnedBytes::try_zeroed(len)?;
        file.read_exact(&mut bytes)?;
        Ok(bytes.freeze())
    }

    /// The bytes in `range`, sharing this owner.
    ///
    /// # Panics
    /// If `range` is not within `0..self.len()`; [`try_slice`](Self::try_slice) is for ranges that come from outside.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Bytes {
        self.try_slice(range).expect("Bytes::slice: range within the bytes")
    }

    /// The bytes in `range`, sharing this owner; `None` if there are not that many.
    #[must_use]
    pub fn try_slice(&self, range: impl RangeBounds<usize>) -> Option<Bytes> {
        let begin = match range.start_bound() {
            Bound::Included(&i) => i,
            Bound::Excluded(&i) => i.checked_add(1)?,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&i) => i.checked_add(1)?,
            Bound::Excluded(&i) => i,
            Bound::Unbounded => self.len(),
        };
        (begin <= end && end <= self.len()).then(|| Bytes {
            owner: Arc::clone(&self.owner),
            begin: self.begin + begin,
            end: self.begin + end,
        })
    }

    /// These bytes seen as elements, in place.
    ///
    /// # Errors
    /// [`FileError::Cast`] if they are not a whole number of elements or not aligned for them. [`Typed`](super::Typed)
    /// copies instead when only the alignment is wrong.
    pub fn cast<T: Pod>(&self) -> Result<&[T], FileError> {
        bytemuck::try_cast_slice(self).map_err(|reason| FileError::Cast {
            len: self.len(),
            alignment: 1 << (self.as_ptr().addr() | 64).trailing_zeros(),
            element: std::any::type_name::<T>(),
            reason,
        })
    }

    /// Whether they lie on the heap among others, not on pages of their own nor in a file.
    pub(crate) fn is_small(&self) -> bool {
        matches!(*self.owner, Buffer::Lines { .. })
    }

    /// Whether they are mapped from a file (then they cost no memory of this process until touched).
    pub fn is_mapped(&self) -> bool {
        matches!(*self.owner, Buffer::File(_))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.owner.as_slice()[self.begin..self.end]
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Default for Bytes {
    /// No bytes, at an address aligned as that of all owned ones.
    fn default() -> Self {
        OwnedBytes(Owned::Lines { lines: Vec::new(), len: 0 }).freeze()
    }
}

impl From<&[u8]> for Bytes {
    /// Copies, so that owned bytes are aligned.
    fn from(bytes: &[u8]) -> Self {
        let mut owned = OwnedBytes::zeroed(bytes.len());
        owned.copy_from_slice(bytes);
        owned.freeze()
    }
}

impl From<Vec<u8>> for Bytes {
    /// Copies, so that owned bytes are aligned.
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(&bytes[..])
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Bytes {}

impl fmt::Debug for Bytes {
    /// The length and a few bytes, not megabytes of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.len().min(8);
        write!(f, "Bytes({} bytes: {:?}", self.len(), &self[..shown])?;
        f.write_str(if shown < self.len() { " ..)" } else { ")" })
    }
}

/// Zeroed bytes to be filled, then frozen into [`Bytes`] without a copy.
///
/// ```
/// use scant_tensor_core::file::OwnedBytes;
/// let mut bytes = OwnedBytes::zeroed(8);
/// bytes.cast_mut::<f32>()[1] = 1.0;
/// let bytes = bytes.freeze();
/// assert_eq!(bytes.cast::<f32>()?, [0.0, 1.0]);
/// # Ok::<(), scant_tensor_core::file::FileError>(())
/// ```
pub struct OwnedBytes(Owned);

enum Owned {
    Lines { lines: Vec<Line>, len: usize },
    Pages(Pages),
}

impl OwnedBytes {
    /// `len` zero bytes, aligned to 64; from 4 MiB on in pages of their own, huge ones where the system gives them.
    ///
    /// # Panics
    /// If there is no memory left, as `vec![0; len]` does.
    pub fn zeroed(len: usize) -> Self {
        Self::try_zeroed(len).expect("OwnedBytes::zeroed: out of memory")
    }

    /// As [`zeroed`](Self::zeroed), for a length that comes from outside: an error instead of a panic.
    pub(super) fn try_zeroed(len: usize) -> io::Result<Self> {
        if len >= PAGES_FROM
            && let Some(pages) = Pages::zeroed(len)
        {
            return Ok(OwnedBytes(Owned::Pages(pages)));
        }
        let count = len.div_ceil(size_of::<Line>());
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).map_err(|_| io::ErrorKind::OutOfMemory)?;
        lines.resize(count, Line::zeroed());
        Ok(OwnedBytes(Owned::Lines { lines, len }))
    }

    /// These bytes seen as elements.
    ///
    /// # Panics
    /// If their number is not a multiple of the element's size.
    pub fn cast_mut<T: Pod>(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(self)
    }

    /// Makes the bytes immutable and shareable. Costs nothing.
    pub fn freeze(self) -> Bytes {
        Bytes::whole(match self.0 {
            Owned::Lines { lines, len } => Buffer::Lines { lines, len },
            Owned::Pages(pages) => Buffer::Pages(pages),
        })
    }
}

impl Deref for OwnedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Owned::Lines { lines, len } => &bytemuck::cast_slice(lines)[..*len],
            Owned::Pages(pages) => pages,
        }
    }
}

impl DerefMut for OwnedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Owned::Lines { lines, len } => &mut bytemuck::cast_slice_mut(lines)[..*len],
            Owned::Pages(pages) => pages,
        }
    }
}

impl fmt::Debug for OwnedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnedBytes({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owned_bytes_are_aligned_at_every_size() {
        for len in [0, 1, 63, 64, 65, 1000, PAGES_FROM - 1, PAGES_FROM, PAGES_FROM + 3] {
            let mut bytes = OwnedBytes::zeroed(len);
            assert_eq!(bytes.len(), len);
            assert!(bytes.iter().all(|&b| b == 0));
            if let Some(last) = bytes.last_mut() {
                *last = 7;
            }
            let frozen = bytes.freeze();
            assert_eq!(frozen.as_ptr().addr() % 64, 0);
            assert_eq!(frozen.last(), (len > 0).then_some(&7));
        }
    }

    #[test]
    fn slices_of_slices_share_the_owner() {
        let all = Bytes::from((0..100u8).collect::<Vec<_>>());
        let part = all.slice(10..=59).slice(5..10);
        assert_eq!(part[..], [15, 16, 17, 18, 19]);
        assert!(Arc::ptr_eq(&part.owner, &all.owner));
        assert_eq!(all.slice(100..).len(), 0);
        assert_eq!(part.try_slice(..6), None);
        assert_eq!(part.try_slice(usize::MAX..), None);
        assert_eq!(part.try_slice(..=usize::MAX), None);
        #[expect(clippy::reversed_empty_ranges, reason = "what is tested")]
        let reversed = part.try_slice(3..2);
        assert_eq!(reversed, None);
    }

    #[test]
    fn casts_say_what_is_wrong() {
        let bytes = Bytes::from(vec![0u8; 16]);
        assert_eq!(bytes.cast::<u64>().unwrap(), [0, 0]);
        let text = bytes.slice(1..9).cast::<u32>().unwrap_err().to_string();
        assert!(text.starts_with("8 bytes at an address of alignment 1 are no u32s"), "{text}");
        let text = bytes.slice(..6).cast::<f32>().unwrap_err().to_string();
        assert!(text.starts_with("6 bytes at an address of alignment 64"), "{text}");
    }

    #[test]
    fn large_files_are_read_whole_into_pages() {
        let path = std::env::temp_dir().join(format!("scant-pages-{}", std::process::id()));
        let want: Vec<u8> = (0..PAGES_FROM + 77).map(|i| (i % 251) as u8).collect();
        fs::write(&path, &want).unwrap();
        let bytes = Bytes::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(bytes[..] == want[..]);
        assert!(!bytes.is_mapped() && matches!(*bytes.owner, Buffer::Pages(_)));
        // Shared between threads, and alive as long as any part is.
        let part = bytes.slice(PAGES_FROM..);
        drop(bytes);
        let same = || part[..] == want[PAGES_FROM..];
        assert!(std::thread::scope(|s| s.spawn(same).join().unwrap()));
    }

    #[test]
    fn what_is_not_a_file_is_an_error() {
        let text = Bytes::read(std::env::temp_dir()).unwrap_err().to_string();
        assert!(text.starts_with("cannot read "), "{text}");
        assert!(Bytes::read("no/such/file").is_err());
        #[cfg(unix)]
        assert!(Bytes::read("/dev/zero").is_err());
    }

    #[test]
    fn debug_is_short() {
        assert_eq!(format!("{:?}", Bytes::from(vec![1u8, 2])), "Bytes(2 bytes: [1, 2])");
        assert_eq!(format!("{:?}", Bytes::from(vec![0u8; 9])), "Bytes(9 bytes: [0, 0, 0, 0, 0, 0, 0, 0] ..)");
    }
}
