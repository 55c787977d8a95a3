//! Bounds-checked little-endian reading.

use crate::Error;
use std::fmt::Display;

/// A position in the file. Reads check what is left first, and nothing is allocated unless a read fails.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
    /// Counts, lengths and dimensions have 8 bytes (version 2 and later) instead of 4.
    wide: bool,
}

/// Longest string and largest number of array elements that are accepted.
const MAX_COUNT: u64 = 1 << 30;

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], wide: bool) -> Self {
        Cursor { bytes, pos: 0, wide }
    }

    pub(crate) fn set_wide(&mut self, wide: bool) {
        self.wide = wide;
    }

    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.pos
    }

    pub(crate) fn is_wide(&self) -> bool {
        self.wide
    }

    pub(crate) fn count_bytes(&self) -> usize {
        if self.wide { 8 } else { 4 }
    }

    pub(crate) fn take(&mut self, need: u64, what: impl Display) -> Result<&'a [u8], Error> {
        let have = self.remaining();
        if need > have as u64 {
            return Err(Error::Truncated { what: what.to_string(), offset: self.pos, need, have });
        }
        let taken = &self.bytes[self.pos..][..need as usize];
        self.pos += taken.len();
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: impl Display) -> Result<[u8; N], Error> {
        let taken = self.take(N as u64, what)?;
        Ok(taken.try_into().expect("take returns the length asked for"))
    }

    pub(crate) fn u32(&mut self, what: impl Display) -> Result<u32, Error> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, what: impl Display) -> Result<u64, Error> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A count, length or dimension: 8 bytes, or 4 in version 1.
    pub(crate) fn count(&mut self, what: impl Display) -> Result<u64, Error> {
        if self.wide { self.u64(what) } else { self.u32(what).map(u64::from) }
    }

    /// A count of things of which each takes at least `min_bytes`: refused at once when they cannot all be there, so
    /// that the number may be used for an allocation.
    pub(crate) fn count_of(&mut self, min_bytes: usize, what: impl Display) -> Result<usize, Error> {
        let count = self.count(&what)?;
        if count > MAX_COUNT {
            return Err(Error::Limit { what: what.to_string(), value: count, limit: MAX_COUNT });
        }
        self.expect(count as usize, min_bytes, what)?;
        Ok(count as usize)
    }

    /// Checks that `count` things of at least `min_bytes` each can follow.
    pub(crate) fn expect(&self, count: usize, min_bytes: usize, what: impl Display) -> Result<(), Error> {
        let need = count as u64 * min_bytes as u64;
        if need > self.remaining() as u64 {
            return Err(Error::Truncated { what: format!("{what} ({count})"), offset: self.pos, need, have: self.remaining() });
        }
        Ok(())
    }

    /// A length and that many bytes of UTF-8.
    pub(crate) fn str(&mut self, max: u64, what: impl Display) -> Result<&'a str, Error> {
        let len = self.count(format_args!("length of {what}"))?;
        let max = max.min(MAX_COUNT);
        if len > max {
            return Err(Error::Limit { what: format!("length of {what}"), value: len, limit: max });
        }
        let bytes = self.take(len, &what)?;
        std::str::from_utf8(bytes)
            .map_err(|e| Error::Corrupt { what: what.to_string(), detail: format!("not UTF-8 after {} bytes", e.valid_up_to()) })
    }
}
