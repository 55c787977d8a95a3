//! Shared bytes with an element type.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, Range};

use bytemuck::{Pod, PodCastError};

use super::bytes::{Bytes, OwnedBytes};
use super::error::FileError;

/// Immutable shared elements: [`Bytes`] that are known to be whole and aligned elements of type `T`.
///
/// Dereferences to `[T]`; cloning and slicing share the owner.
///
/// ```
/// use half::f16;
/// use scant_tensor_core::file::{Bytes, Typed};
/// let scales: Typed<f16> = [1.0, 2.0, 3.0].map(f16::from_f32).to_vec().into();
/// assert_eq!(scales[2].to_f32(), 3.0);
/// assert_eq!(scales.slice(1..3).len(), 2);
///
/// let odd = Bytes::from(vec![0u8, 0, 0, 0x80, 0x3f]).slice(1..);
/// assert_eq!(Typed::<f32>::new(odd)?[..], [1.0]);   // not aligned: copied once, here
/// # Ok::<(), scant_tensor_core::file::FileError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Typed<T> {
    bytes: Bytes,
    element: PhantomData<T>,
}

impl<T: Pod> Typed<T> {
    /// Sees `bytes` as elements: in place if they are aligned for `T`, else copied once.
    ///
    /// # Errors
    /// [`FileError::Cast`] if they are not a whole number of elements.
    pub fn new(bytes: Bytes) -> Result<Self, FileError> {
        let bytes = match bytes.cast::<T>() {
            Ok(_) => bytes,
            Err(FileError::Cast { reason: PodCastError::TargetAlignmentGreaterAndInputNotAligned, .. })
                if bytes.len().is_multiple_of(size_of::<T>().max(1)) =>
            {
                Bytes::from(&bytes[..])
            }
            Err(error) => return Err(error),
        };
        // Owned bytes are aligned to 64; an element that wants more is refused here rather than in `deref`.
        bytes.cast::<T>()?;
        Ok(Typed { bytes, element: PhantomData })
    }

    /// The elements in `range`, sharing this owner.
    ///
    /// # Panics
    /// If `range` is not within `0..self.len()`.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len(), "Typed::slice: {range:?} of {} elements", self.len());
        Typed { bytes: self.bytes.slice(range.start * size_of::<T>()..range.end * size_of::<T>()), element: PhantomData }
    }
}

impl<T> Typed<T> {
    /// The elements as they lie in memory, for saving them.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl<T: Pod> Typed<T> {
    /// Lets `f` put the same bytes elsewhere, aligned to 64.
    pub(crate) fn each_bytes(&mut self, f: &mut dyn FnMut(&mut Bytes)) {
        let len = self.bytes.len();
        f(&mut self.bytes);
        assert!(self.bytes.len() == len && self.bytes.cast::<T>().is_ok(), "Typed::each_bytes: the same bytes, aligned");
    }
}

impl<T: Pod> Deref for Typed<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(&self.bytes)
    }
}

impl<T> Default for Typed<T> {
    fn default() -> Self {
        Typed { bytes: Bytes::default(), element: PhantomData }
    }
}

impl<T: Pod> From<&[T]> for Typed<T> {
    /// Copies.
    fn from(elements: &[T]) -> Self {
        let mut bytes = OwnedBytes::zeroed(size_of_val(elements));
        bytes.cast_mut::<T>().copy_from_slice(elements);
        Typed { bytes: bytes.freeze(), element: PhantomData }
    }
}

impl<T: Pod> From<Vec<T>> for Typed<T> {
    /// Copies.
    fn from(elements: Vec<T>) -> Self {
        Typed::from(&elements[..])
    }
}

impl<T: Pod> FromIterator<T> for Typed<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        elements.into_iter().collect::<Vec<T>>().into()
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for Typed<T> {
    /// The length and a few elements.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.len().min(8);
        write!(f, "Typed({} elements: {:?}", self.len(), &self[..shown])?;
        f.write_str(if shown < self.len() { " ..)" } else { ")" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_bytes_are_seen_in_place_and_others_copied() {
        let bytes = Bytes::from((0..24u8).collect::<Vec<_>>());
        for begin in 0..16 {
            let part = bytes.slice(begin..begin + 8);
            let typed = Typed::<u32>::new(part.clone()).unwrap();
            let want: Vec<u32> = part.chunks(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
            assert_eq!(typed[..], want);
            assert_eq!(typed.as_bytes().as_ptr() == part.as_ptr(), begin % 4 == 0);
        }
        for len in [1, 2, 3, 5, 7] {
            assert!(Typed::<u32>::new(bytes.slice(..len)).is_err(), "{len}");
            assert!(Typed::<u32>::new(bytes.slice(1..=len)).is_err(), "{len}");
        }
    }

    #[test]
    fn empty_is_empty_at_any_address() {
        assert_eq!(Typed::<f64>::default().len(), 0);
        assert_eq!(Typed::<f64>::new(Bytes::default()).unwrap().len(), 0);
        let bytes = Bytes::from(vec![0u8; 3]);
        assert_eq!(Typed::<f64>::new(bytes.slice(3..)).unwrap().len(), 0);
    }
}
