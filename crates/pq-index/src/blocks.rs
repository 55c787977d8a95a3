//! Codes as a scan reads them: blocks of 64 vectors, in each a row of 64 bytes for every byte of a code.

use crate::error::Error;
use crate::quantizer::Layout;
use scant_tensor_core::file::Bytes;

/// Vectors of a block.
pub(crate) const BLOCK: usize = 64;

/// Codes `[blocks, columns, 64]`, zero past the last row.
#[derive(Clone, Debug)]
pub(crate) struct CodeBlocks {
    columns: usize,
    rows: usize,
    store: Store,
}

#[derive(Clone, Debug)]
enum Store {
    Owned(Vec<u8>),
    /// Of a file, perhaps mapped; copied when it is first changed.
    Shared(Bytes),
}

impl CodeBlocks {
    pub(crate) fn new(columns: usize) -> CodeBlocks {
        CodeBlocks { columns, rows: 0, store: Store::Owned(vec![]) }
    }

    /// Codes of a file.
    pub(crate) fn from_bytes(columns: usize, rows: usize, bytes: Bytes) -> Result<CodeBlocks, Error> {
        Error::check_len("bytes of codes", rows.div_ceil(BLOCK) * BLOCK * columns, bytes.len())?;
        Ok(CodeBlocks { columns, rows, store: Store::Shared(bytes) })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.store {
            Store::Owned(v) => v,
            Store::Shared(b) => b,
        }
    }

    fn make_mut(&mut self) -> &mut Vec<u8> {
        if let Store::Shared(bytes) = &self.store {
            self.store = Store::Owned(bytes.to_vec());
        }
        match &mut self.store {
            Store::Owned(v) => v,
            Store::Shared(_) => unreachable!("made its own above"),
        }
    }

    /// Appends a code of `columns` bytes.
    pub(crate) fn push(&mut self, code: &[u8]) {
        let (columns, row) = (self.columns, self.rows);
        let bytes = self.make_mut();
        if row.is_multiple_of(BLOCK) {
            bytes.resize(bytes.len() + BLOCK * columns, 0);
        }
        let block = &mut bytes[row / BLOCK * BLOCK * columns..];
        block[row % BLOCK..].iter_mut().step_by(BLOCK).zip(code).for_each(|(to, from)| *to = *from);
        self.rows += 1;
    }

    /// The code of a row.
    pub(crate) fn get(&self, row: usize, code: &mut [u8]) {
        let block = &self.as_bytes()[row / BLOCK * BLOCK * self.columns..];
        code.iter_mut().zip(block[row % BLOCK..].iter().step_by(BLOCK)).for_each(|(to, from)| *to = *from);
    }

    /// The blocks, `[columns, 64]` each.
    pub(crate) fn blocks(&self) -> impl ExactSizeIterator<Item = &[[u8; BLOCK]]> {
        self.as_bytes().as_chunks::<BLOCK>().0.chunks(self.columns.max(1))
    }

    pub(crate) fn keep(&mut self, rows: &[usize]) {
        let mut kept = CodeBlocks::new(self.columns);
        let mut code = vec![0; self.columns];
        for row in rows {
            self.get(*row, &mut code);
            kept.push(&code);
        }
        *self = kept;
    }

    pub(crate) fn extend(&mut self, other: &CodeBlocks) {
        let mut code = vec![0; self.columns];
        for row in 0..other.rows {
            other.get(row, &mut code);
            self.push(&code);
        }
    }
}

/// Codes, a byte each, as the bytes that are stored: two codes of 4 bits share one, the first in the low half.
pub(crate) fn pack(layout: Layout, codes: &[u8], bytes: &mut [u8]) {
    if layout.bits == 8 {
        bytes.copy_from_slice(codes);
    } else {
        bytes.iter_mut().zip(codes.chunks(2)).for_each(|(byte, pair)| *byte = pair[0] | pair.get(1).map_or(0, |high| high << 4));
    }
}

/// Undoes [`pack`].
pub(crate) fn unpack(layout: Layout, bytes: &[u8], codes: &mut [u8]) {
    if layout.bits == 8 {
        codes.copy_from_slice(bytes);
    } else {
        codes.iter_mut().enumerate().for_each(|(j, code)| *code = bytes[j / 2] >> (4 * (j % 2)) & 15);
    }
}

/// The sum of the selected entries for each vector of a block, table after table, in f32.
pub(crate) fn sums(layout: Layout, tables: &[f32], block: &[[u8; BLOCK]]) -> [f32; BLOCK] {
    let mut sums = [0.0f32; BLOCK];
    if layout.bits == 8 {
        for (table, row) in tables.as_chunks::<256>().0.iter().zip(block) {
            sums.iter_mut().zip(row).for_each(|(sum, code)| *sum += table[usize::from(*code)]);
        }
    } else {
        for (j, table) in tables.as_chunks::<16>().0.iter().enumerate() {
            let shift = 4 * (j % 2);
            sums.iter_mut().zip(&block[j / 2]).for_each(|(sum, code)| *sum += table[usize::from(code >> shift & 15)]);
        }
    }
    sums
}
