//! The parts of a zip archive, unpacked within limits.

use super::Limits;
use crate::Error;
use std::collections::BTreeMap;
use std::io::Read;

struct Entry {
    name: String,
    method: u16,
    crc: u32,
    packed: u64,
    unpacked: u64,
    /// Of its local header.
    offset: u64,
}

/// An archive in memory.
pub(super) struct Parts<'a> {
    file: &'a [u8],
    /// By lower-case path: producers do not agree on case.
    entries: BTreeMap<String, Entry>,
    limits: Limits,
    left: u64,
}

fn u16_at(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(b.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(b.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(b: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(b.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

fn damaged(at: usize, why: &str) -> Error {
    Error::Part { part: "archive".to_owned(), at: at as u64, why: why.to_owned() }
}

impl<'a> Parts<'a> {
    /// Reads the central directory.
    pub(super) fn new(file: &'a [u8], limits: Limits) -> Result<Parts<'a>, Error> {
        let from = file.len().saturating_sub(22 + 65_535);
        let end = file[from..].windows(4).rposition(|w| w == b"PK\x05\x06").map(|p| from + p);
        let end = end.ok_or_else(|| damaged(file.len(), "the end of the zip directory is missing"))?;
        let (mut count, mut at) = match (u16_at(file, end + 10), u32_at(file, end + 16)) {
            (Some(n), Some(at)) => (u64::from(n), u64::from(at)),
            _ => return Err(damaged(end, "the end of the zip directory is cut off")),
        };
        // Archives with 64-bit fields say so just before.
        if (count == 0xFFFF || at == 0xFFFF_FFFF)
            && let Some(locator) = end.checked_sub(20).filter(|&l| file[l..].starts_with(b"PK\x06\x07"))
        {
            let wide = u64_at(file, locator + 8).and_then(|w| usize::try_from(w).ok());
            let fields = wide.filter(|&w| file.get(w..).is_some_and(|f| f.starts_with(b"PK\x06\x06")));
            let fields = fields.and_then(|w| Some((u64_at(file, w + 32)?, u64_at(file, w + 48)?)));
            (count, at) = fields.ok_or_else(|| damaged(locator, "the 64-bit zip directory is not where it should be"))?;
        }
        let mut entries = BTreeMap::new();
        let mut at = usize::try_from(at).map_err(|_| damaged(end, "the zip directory lies outside of the file"))?;
        for _ in 0..count {
            let (entry, next) = Entry::read(file, at).ok_or_else(|| damaged(at, "an entry of the zip directory is damaged"))?;
            at = next;
            entries.insert(entry.name.to_lowercase(), entry);
        }
        Ok(Parts { file, entries, limits, left: limits.unpacked })
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.entries.contains_key(&path.to_lowercase())
    }

    /// The text of a part; `None` if there is no such part.
    pub(super) fn text(&mut self, path: &str) -> Result<Option<String>, Error> {
        let Some(bytes) = self.unpack(path)? else { return Ok(None) };
        let part = |at: usize, why: &str| Error::Part { part: path.to_owned(), at: at as u64, why: why.to_owned() };
        if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
            return Err(part(0, "it is UTF-16; UTF-8 is read"));
        }
        String::from_utf8(bytes).map(Some).map_err(|e| part(e.utf8_error().valid_up_to(), "it is not UTF-8"))
    }

    fn unpack(&mut self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(entry) = self.entries.get(&path.to_lowercase()) else { return Ok(None) };
        let fail = |at: u64, why: String| Error::Part { part: path.to_owned(), at, why };
        let header = usize::try_from(entry.offset).ok().filter(|&h| self.file.get(h..).is_some_and(|f| f.starts_with(b"PK\x03\x04")));
        let header = header.ok_or_else(|| fail(entry.offset, "its header is not where the directory says".to_owned()))?;
        let data = (|| {
            let names = usize::from(u16_at(self.file, header + 26)?) + usize::from(u16_at(self.file, header + 28)?);
            let start = header.checked_add(30 + names)?;
            self.file.get(start..start.checked_add(usize::try_from(entry.packed).ok()?)?)
        })();
        let data = data.ok_or_else(|| fail(entry.offset, format!("its {} bytes reach past the end of the file", entry.packed)))?;
        let limit = self.left.min(Limits::FREE.max(self.limits.ratio.saturating_mul(entry.packed)));
        let bomb = || Error::ZipBomb { part: path.to_owned(), packed: entry.packed, limit };
        // What the directory declares is believed only as far as the limit reaches.
        if entry.unpacked > limit {
            return Err(bomb());
        }
        let mut bytes = Vec::new();
        match entry.method {
            0 => {
                if data.len() as u64 > limit {
                    return Err(bomb());
                }
                bytes.extend_from_slice(data);
            }
            8 => {
                // Deflate cannot do better than 1032:1, so an honest size is at most that.
                bytes.reserve_exact(entry.unpacked.min(1032 * entry.packed) as usize + 1);
                let read = flate2::read::DeflateDecoder::new(data).take(limit + 1).read_to_end(&mut bytes);
                read.map_err(|e| fail(bytes.len() as u64, format!("its compressed data are damaged: {e}")))?;
                if bytes.len() as u64 > limit {
                    return Err(bomb());
                }
            }
            n => return Err(fail(0, format!("it is compressed by method {n}; 0 (stored) and 8 (deflate) are read"))),
        }
        let mut crc = flate2::Crc::new();
        crc.update(&bytes);
        if crc.sum() != entry.crc {
            return Err(fail(0, format!("stored checksum {:08x}, computed {:08x}", entry.crc, crc.sum())));
        }
        self.left -= bytes.len() as u64;
        Ok(Some(bytes))
    }
}

impl Entry {
    /// The directory's entry at a byte, and where the next one starts.
    fn read(file: &[u8], at: usize) -> Option<(Entry, usize)> {
        if !file.get(at..)?.starts_with(b"PK\x01\x02") {
            return None;
        }
        let (name, extra, comment) = (u16_at(file, at + 28)?, u16_at(file, at + 30)?, u16_at(file, at + 32)?);
        let name_end = at + 46 + usize::from(name);
        let extra_end = name_end + usize::from(extra);
        let mut entry = Entry {
            name: String::from_utf8_lossy(file.get(at + 46..name_end)?).replace('\\', "/"),
            method: u16_at(file, at + 10)?,
            crc: u32_at(file, at + 16)?,
            packed: u64::from(u32_at(file, at + 20)?),
            unpacked: u64::from(u32_at(file, at + 24)?),
            offset: u64::from(u32_at(file, at + 42)?),
        };
        // 64-bit fields stand in extra field 1, only those whose 32 bits are full, in this order.
        let mut extra = file.get(name_end..extra_end)?;
        while let (Some(id), Some(len)) = (u16_at(extra, 0), u16_at(extra, 2)) {
            let body = extra.get(4..4 + usize::from(len))?;
            if id == 1 {
                let mut fields = 0;
                for field in [&mut entry.unpacked, &mut entry.packed, &mut entry.offset] {
                    if *field == 0xFFFF_FFFF {
                        *field = u64_at(body, fields)?;
                        fields += 8;
                    }
                }
            }
            extra = &extra[4 + usize::from(len)..];
        }
        Some((entry, extra_end + usize::from(comment)))
    }
}
