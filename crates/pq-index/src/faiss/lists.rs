//! The rows of an index: codes and ids, in one list or many, plain or in the blocks of fast scans.

use super::bytes::Reader;
use crate::error::Error;
use std::borrow::Cow;

/// The rows of one list.
pub(super) struct Rows<'a> {
    /// Row after row.
    pub(super) codes: Cow<'a, [u8]>,
    pub(super) ids: Vec<u64>,
}

impl<'a> Rows<'a> {
    /// Rows without ids of their own.
    pub(super) fn numbered(codes: impl Into<Cow<'a, [u8]>>, rows: usize) -> Rows<'a> {
        Rows { codes: codes.into(), ids: (0..rows as u64).collect() }
    }
}

/// Replaces row numbers by the ids that a map has for them.
pub(super) fn rename<'i>(r: &Reader<'_>, ids: impl Iterator<Item = &'i mut u64>, map: &[u64]) -> Result<(), Error> {
    for id in ids {
        let new = usize::try_from(*id).ok().and_then(|row| map.get(row));
        *id = *new.ok_or_else(|| r.corrupt("an id behind a map", format!("below {}", map.len()), *id))?;
    }
    Ok(())
}

/// Passes over the table that finds the place of an id.
pub(super) fn direct_map(r: &mut Reader<'_>) -> Result<(), Error> {
    let kind = r.u8()?;
    r.entries(8)?;
    match kind {
        0 | 1 => Ok(()),
        2 => r.entries(16).map(drop),
        other => Err(r.corrupt("the kind of the direct map", "0 to 2", other)),
    }
}

/// Lists of codes of `code_size` bytes, `total` rows together.
pub(super) fn inverted<'a>(r: &mut Reader<'a>, lists: usize, code_size: usize, total: usize) -> Result<Vec<Rows<'a>>, Error> {
    match &r.fourcc()? {
        b"il00" => {
            r.agree("vectors of an index without lists", 0, total)?;
            return Ok((0..lists).map(|_| Rows::numbered(vec![], 0)).collect());
        }
        b"ilar" => {}
        other => return Err(r.unsupported("kind of lists", other.escape_ascii(), "ilar, ilbl and il00")),
    }
    let (stored_lists, stored_size) = (r.u64()?, r.u64()?);
    r.agree("lists", lists as u64, stored_lists)?;
    r.agree("bytes of a code in the lists", code_size as u64, stored_size)?;
    let mut sizes = vec![0u64; lists];
    match &r.fourcc()? {
        b"full" => {
            let stored = r.exactly("sizes of lists", lists, 8)?;
            sizes.iter_mut().zip(stored.as_chunks().0).for_each(|(size, b)| *size = u64::from_le_bytes(*b));
        }
        b"sprs" => {
            // Pairs of a list and its size, as so many single numbers.
            let pairs = r.entries(8)?.as_chunks::<8>().0;
            let mut last = None;
            for pair in pairs.chunks(2) {
                let [list, size] = pair else { return Err(r.corrupt("numbers in the sizes of lists", "pairs", pairs.len())) };
                let (list, size) = (u64::from_le_bytes(*list), u64::from_le_bytes(*size));
                if list >= lists as u64 || last.is_some_and(|last| last >= list) {
                    return Err(r.corrupt("a list in the sizes of lists", format!("ascending, below {lists}"), list));
                }
                sizes[list as usize] = size;
                last = Some(list);
            }
        }
        other => return Err(r.corrupt("the form of the sizes of lists", "full or sprs", other.escape_ascii())),
    }
    let all = sizes.iter().fold(0u64, |sum, size| sum.saturating_add(*size));
    r.agree("rows of all lists", total as u64, all)?;
    let mut rows = Vec::with_capacity(lists);
    for size in sizes {
        let codes = r.take(size.saturating_mul(code_size as u64))?;
        let ids = r.take(size.saturating_mul(8))?;
        rows.push(Rows { codes: codes.into(), ids: r.ids_in(ids)? });
    }
    Ok(rows)
}

/// Lists of 4-bit codes in blocks, `total` rows together.
pub(super) fn blocked<'a>(r: &mut Reader<'a>, lists: usize, blocks: Blocks, total: usize) -> Result<Vec<Rows<'a>>, Error> {
    match &r.fourcc()? {
        b"ilbl" => {}
        other => return Err(r.unsupported("kind of lists of a fast scan", other.escape_ascii(), "ilbl")),
    }
    // The bytes of a code stand for nothing here, and are mostly the largest number there is.
    let (stored_lists, _, rows, bytes) = (r.u64()?, r.u64()?, r.u64()?, r.u64()?);
    r.agree("lists", lists as u64, stored_lists)?;
    r.agree("rows of a block", blocks.rows as u64, rows)?;
    r.agree("bytes of a block", (blocks.rows * blocks.columns) as u64, bytes)?;
    let (mut out, mut all) = (Vec::with_capacity(lists), 0);
    for _ in 0..lists {
        let ids = r.entries(8)?;
        let ids = r.ids_in(ids)?;
        let codes = r.exactly("bytes of codes in blocks", blocks.padded(ids.len()) * blocks.columns, 1)?;
        all += ids.len();
        out.push(Rows { codes: blocks.unpack(codes, ids.len()).into(), ids });
    }
    r.agree("rows of all lists", total, all)?;
    Ok(out)
}

/// Where a nibble of a block is: the vector of the low half of byte `t` of 16; that of the high half is 16 later.
const ORDER: [usize; 16] = [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15];

/// Blocks of 4-bit codes, made for shuffles (André, Kermarrec, Le Scouarnec 2015): for each pair of sub-quantizers and each 32 vectors, 16 bytes
/// with the first one's codes and 16 with the second one's.
#[derive(Clone, Copy)]
pub(super) struct Blocks {
    rows: usize,
    /// Bytes of a vector.
    columns: usize,
}

impl Blocks {
    /// Blocks of `rows` vectors of `m` codes, of which the file says that they are padded to `padded_m`.
    pub(super) fn new(r: &Reader<'_>, rows: i32, m: usize, padded_m: u64) -> Result<Blocks, Error> {
        r.agree("sub-quantizers, padded to an even number", m.next_multiple_of(2) as u64, padded_m)?;
        match usize::try_from(rows) {
            Ok(rows) if rows > 0 && rows.is_multiple_of(32) && rows <= 1 << 16 => Ok(Blocks { rows, columns: m.div_ceil(2) }),
            _ => Err(r.corrupt("rows of a block", "a multiple of 32 up to 2^16", rows)),
        }
    }

    /// Rows with the padding of the last block.
    pub(super) fn padded(&self, rows: usize) -> usize {
        rows.next_multiple_of(self.rows)
    }

    /// The codes of `rows` vectors, row after row, two to a byte.
    pub(super) fn unpack(&self, packed: &[u8], rows: usize) -> Vec<u8> {
        let mut codes = vec![0; rows * self.columns];
        for (row, code) in codes.chunks_exact_mut(self.columns).enumerate() {
            let (block, place) = (row / self.rows, row % self.rows);
            let (high, byte) = (place / 16 % 2, ORDER.iter().position(|v| *v == place % 16).unwrap_or_default());
            for (column, code) in code.iter_mut().enumerate() {
                let at = (block * self.columns + column) * self.rows + place / 32 * 32 + byte;
                let nibble = |at: usize| packed[at] >> (4 * high) & 15;
                *code = nibble(at) | nibble(at + 16) << 4;
            }
        }
        codes
    }
}
