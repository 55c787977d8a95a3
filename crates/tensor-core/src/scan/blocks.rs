//! Codes in blocks of 64 vectors.

use crate::Error;
use crate::file::Bytes;
use bytemuck::{Pod, Zeroable};

/// One column of a block.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

#[derive(Clone)]
enum Store {
    Owned(Vec<Line>),
    Shared(Bytes),
}

/// Rows of byte codes, stored `[block][column][64 vectors]`: byte `v` of a line is the column's code of vector `v`.
///
/// [In quads](Self::in_quads) the bytes of a block are in the order of products instead. The last block is padded with code 0. Opened from a file, the bytes stay where they are until the first change.
///
/// ```
/// use scant_tensor_core::scan::CodeBlocks;
/// let mut codes = CodeBlocks::new(2);
/// codes.push(&[3, 4])?;
/// codes.push(&[5, 6])?;
/// assert_eq!((codes.rows(), codes.blocks()), (2, 1));
/// assert_eq!(codes.block(0)[1][..3], [4, 6, 0]);
/// # Ok::<(), scant_tensor_core::Error>(())
/// ```
#[derive(Clone)]
pub struct CodeBlocks {
    rows: usize,
    columns: usize,
    quads: bool,
    store: Store,
}

impl CodeBlocks {
    /// No rows, of `columns` bytes each.
    pub fn new(columns: usize) -> CodeBlocks {
        CodeBlocks { rows: 0, columns, quads: false, store: Store::Owned(Vec::new()) }
    }

    /// Blocks as [`as_bytes`](Self::as_bytes) gave them.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there are `columns * 64` bytes for every block.
    pub fn from_bytes(rows: usize, columns: usize, bytes: impl Into<Bytes>) -> Result<CodeBlocks, Error> {
        let bytes = bytes.into();
        let want = columns.checked_mul(64).and_then(|line| line.checked_mul(rows.div_ceil(64))).unwrap_or(usize::MAX);
        Error::check_shape("bytes of code blocks", &[want], &[bytes.len()])?;
        Ok(CodeBlocks { rows, columns, quads: false, store: Store::Shared(bytes) })
    }

    /// Takes the bytes for `[block][4][columns / 4][16 vectors][4 columns]`, as [`dot`](super::dot()) reads them.
    ///
    /// # Panics
    /// Unless the columns are a multiple of 4.
    pub fn in_quads(mut self) -> CodeBlocks {
        assert!(self.columns.is_multiple_of(4), "{} columns in quads: want a multiple of 4", self.columns);
        self.quads = true;
        self
    }

    /// Whether the bytes are in the order of products.
    pub fn is_in_quads(&self) -> bool {
        self.quads
    }

    /// Line of a block and byte of the line where the code of a row is.
    #[inline]
    fn place(&self, row: usize, column: usize) -> (usize, usize) {
        if self.quads { (row / 16 % 4 * (self.columns / 4) + column / 4, row % 16 * 4 + column % 4) } else { (column, row % 64) }
    }

    /// The largest distance of a row's codes from 128 in a block.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn radius(&self, block: usize) -> f32 {
        let lines = self.block(block);
        let squared = |row: usize| {
            let code = |column: usize| {
                let (line, byte) = self.place(row, column);
                i64::from(lines[line][byte]) - 128
            };
            (0..self.columns).map(|column| code(column) * code(column)).sum::<i64>()
        };
        (0..(self.rows - 64 * block).min(64)).map(squared).max().map_or(0.0, |most| (most as f64).sqrt() as f32).next_up()
    }

    /// Vectors.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of a vector.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Blocks, the last of which may be padded.
    pub fn blocks(&self) -> usize {
        self.rows.div_ceil(64)
    }

    /// All blocks as they are saved.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.store {
            Store::Owned(lines) => bytemuck::cast_slice(lines),
            Store::Shared(bytes) => bytes,
        }
    }

    /// The columns of blocks `blocks`, one after another.
    #[inline]
    pub(super) fn lines(&self, blocks: std::ops::Range<usize>) -> &[[u8; 64]] {
        &self.as_bytes().as_chunks::<64>().0[blocks.start * self.columns..blocks.end * self.columns]
    }

    /// The columns of at most `count` blocks from `first` on, as far as they are there.
    #[inline(always)]
    pub(super) fn ahead(&self, first: usize, count: usize) -> &[[u8; 64]] {
        let end = (first + count).min(self.blocks());
        self.lines(first.min(end)..end)
    }

    /// The columns of blocks `first..first + B`.
    #[inline(always)]
    pub(super) fn some<const B: usize>(&self, first: usize) -> [&[[u8; 64]]; B] {
        let all = self.lines(first..first + B);
        let mut lines: [&[[u8; 64]]; B] = [&[]; B];
        for b in 0..B {
            lines[b] = &all[b * self.columns..][..self.columns];
        }
        lines
    }

    /// The columns of block `i`.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn block(&self, i: usize) -> &[[u8; 64]] {
        self.lines(i..i + 1)
    }

    fn owned(&mut self) -> &mut Vec<Line> {
        if let Store::Shared(bytes) = &self.store {
            self.store = Store::Owned(bytes.as_chunks::<64>().0.iter().map(|line| Line(*line)).collect());
        }
        match &mut self.store {
            Store::Owned(lines) => lines,
            Store::Shared(_) => unreachable!("just made owned"),
        }
    }

    /// Appends a row.
    ///
    /// # Errors
    /// [`Error::Shape`] unless `code` has a byte for every column.
    pub fn push(&mut self, code: &[u8]) -> Result<(), Error> {
        Error::check_shape("code", &[self.columns], &[code.len()])?;
        let (columns, row) = (self.columns, self.rows);
        if row % 64 == 0 {
            let lines = self.owned();
            lines.resize(lines.len() + columns, Line([0; 64]));
        }
        self.rows += 1;
        self.set(row, code)
    }

    /// Replaces a row.
    ///
    /// # Errors
    /// [`Error::Shape`] unless `code` has a byte for every column; [`Error::Index`] if there is no such row.
    pub fn set(&mut self, row: usize, code: &[u8]) -> Result<(), Error> {
        Error::check_shape("code", &[self.columns], &[code.len()])?;
        self.check_row(row)?;
        let first = row / 64 * self.columns;
        for (column, code) in code.iter().enumerate() {
            let (line, byte) = self.place(row, column);
            self.owned()[first + line].0[byte] = *code;
        }
        Ok(())
    }

    /// Reads a row.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn get(&self, row: usize, code: &mut [u8]) -> Result<(), Error> {
        Error::check_shape("code", &[self.columns], &[code.len()])?;
        self.check_row(row)?;
        let lines = self.block(row / 64);
        for (column, code) in code.iter_mut().enumerate() {
            let (line, byte) = self.place(row, column);
            *code = lines[line][byte];
        }
        Ok(())
    }

    /// Appends the rows of another.
    ///
    /// # Errors
    /// [`Error::Shape`] unless both have the same columns.
    pub fn extend_from(&mut self, other: &CodeBlocks) -> Result<(), Error> {
        Error::check_shape("columns of code blocks", &[self.columns], &[other.columns])?;
        if self.rows.is_multiple_of(64) {
            self.owned().extend(other.lines(0..other.blocks()).iter().map(|line| Line(*line)));
            self.rows += other.rows;
            return Ok(());
        }
        let mut code = vec![0; self.columns];
        for row in 0..other.rows {
            other.get(row, &mut code)?;
            self.push(&code)?;
        }
        Ok(())
    }

    fn check_row(&self, row: usize) -> Result<(), Error> {
        if row < self.rows { Ok(()) } else { Err(Error::Index { what: "row of code blocks".to_owned(), index: row, bound: self.rows }) }
    }
}

impl std::fmt::Debug for CodeBlocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeBlocks").field("rows", &self.rows).field("columns", &self.columns).finish_non_exhaustive()
    }
}
