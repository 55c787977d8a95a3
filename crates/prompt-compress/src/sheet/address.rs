//! Addresses and ranges in A1 notation.

use crate::Error;
use std::fmt;
use std::str::FromStr;

/// Rows that a sheet can have.
pub const MAX_ROWS: u32 = 1 << 20;
/// Columns that a sheet can have.
pub const MAX_COLS: u32 = 1 << 14;

/// A cell's place; row and column count from 0, the text form (`B7`) from 1. Ordered by row, then column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Row, from 0.
    pub row: u32,
    /// Column, from 0.
    pub col: u32,
}

/// A rectangle of cells, all four edges inside. Its text form is `B2:D9`, or `B2` for a single cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// First row.
    pub top: u32,
    /// First column.
    pub left: u32,
    /// Last row.
    pub bottom: u32,
    /// Last column.
    pub right: u32,
}

impl Range {
    /// The rectangle of a single cell.
    pub fn cell(at: Address) -> Range {
        Range { top: at.row, left: at.col, bottom: at.row, right: at.col }
    }

    /// Rows it spans.
    pub fn height(&self) -> u32 {
        self.bottom - self.top + 1
    }

    /// Columns it spans.
    pub fn width(&self) -> u32 {
        self.right - self.left + 1
    }

    /// Cells in it.
    pub fn area(&self) -> u64 {
        u64::from(self.height()) * u64::from(self.width())
    }

    /// Whether `at` lies in it.
    pub fn contains(&self, at: Address) -> bool {
        (self.top..=self.bottom).contains(&at.row) && (self.left..=self.right).contains(&at.col)
    }

    /// Whether the whole of `other` lies in it.
    pub fn encloses(&self, other: &Range) -> bool {
        self.top <= other.top && other.bottom <= self.bottom && self.left <= other.left && other.right <= self.right
    }

    /// The smallest rectangle around both.
    pub fn hull(&self, other: &Range) -> Range {
        Range {
            top: self.top.min(other.top),
            left: self.left.min(other.left),
            bottom: self.bottom.max(other.bottom),
            right: self.right.max(other.right),
        }
    }
}

/// Appends a column's letters: 0 is `A`, 26 is `AA`.
pub(crate) fn push_column(out: &mut String, col: u32) {
    let mut letters = [0u8; 7];
    let (mut n, mut at) = (u64::from(col) + 1, letters.len());
    while n > 0 {
        at -= 1;
        letters[at] = b'A' + ((n - 1) % 26) as u8;
        n = (n - 1) / 26;
    }
    out.extend(letters[at..].iter().map(|&b| char::from(b)));
}

/// Appends a number's decimal digits.
fn push_number(out: &mut String, mut n: u32) {
    let mut digits = [0u8; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend(digits[at..].iter().map(|&b| char::from(b)));
}

/// Appends an address, faster than by `Display`.
pub(crate) fn push_address(out: &mut String, row: u32, col: u32) {
    push_column(out, col);
    push_number(out, row + 1);
}

/// Appends a range, faster than by `Display`.
pub(crate) fn push_range(out: &mut String, range: &Range) {
    push_address(out, range.top, range.left);
    if (range.top, range.left) != (range.bottom, range.right) {
        out.push(':');
        push_address(out, range.bottom, range.right);
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        push_address(&mut text, self.row, self.col);
        f.write_str(&text)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        push_range(&mut text, self);
        f.write_str(&text)
    }
}

/// Reads an address off the start of `text` (`$` may stand before either part): it and its length in bytes.
pub(crate) fn leading_address(text: &[u8]) -> Option<(Address, usize)> {
    let mut at = usize::from(text.first() == Some(&b'$'));
    let mut col = 0u32;
    let letters = at;
    while let Some(c) = text.get(at).filter(|c| c.is_ascii_alphabetic()) {
        col = col.checked_mul(26)?.checked_add(u32::from(c.to_ascii_uppercase() - b'A') + 1)?;
        at += 1;
    }
    if at == letters || col > MAX_COLS {
        return None;
    }
    at += usize::from(text.get(at) == Some(&b'$'));
    let digits = at;
    let mut row = 0u32;
    while let Some(c) = text.get(at).filter(|c| c.is_ascii_digit()) {
        row = row.checked_mul(10)?.checked_add(u32::from(c - b'0'))?;
        at += 1;
    }
    (at > digits && (1..=MAX_ROWS).contains(&row)).then(|| (Address { row: row - 1, col: col - 1 }, at))
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Address, Error> {
        match leading_address(text.as_bytes()) {
            Some((at, len)) if len == text.len() => Ok(at),
            _ => Err(Error::NotARange(text.to_owned())),
        }
    }
}

impl FromStr for Range {
    type Err = Error;

    fn from_str(text: &str) -> Result<Range, Error> {
        let (a, b) = text.split_once(':').unwrap_or((text, text));
        let (a, b): (Address, Address) = match (a.parse(), b.parse()) {
            (Ok(a), Ok(b)) => (a, b),
            _ => return Err(Error::NotARange(text.to_owned())),
        };
        Ok(Range::cell(a).hull(&Range::cell(b)))
    }
}
