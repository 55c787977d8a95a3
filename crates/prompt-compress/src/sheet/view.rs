//! What is kept of a sheet, renumbered from A1, and the way back.

use super::address::{MAX_COLS, MAX_ROWS, Range};
use super::grid::{Cell, Sheet, Value};
use crate::Error;

/// Rows or columns that were kept: the n-th kept one is called n.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AxisMap {
    /// Everything was, under its own number.
    All,
    /// These, ascending.
    Kept(Vec<u32>),
}

impl AxisMap {
    /// The original number of a kept row or column.
    pub fn original(&self, kept: u32) -> Option<u32> {
        match self {
            AxisMap::All => Some(kept),
            AxisMap::Kept(list) => list.get(kept as usize).copied(),
        }
    }

    /// The new number of an original row or column; `None` if it was dropped.
    pub fn kept(&self, original: u32) -> Option<u32> {
        match self {
            AxisMap::All => Some(original),
            AxisMap::Kept(list) => list.binary_search(&original).ok().map(|i| i as u32),
        }
    }
}

/// How values are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Values {
    /// As a user sees them: under their number formats.
    #[default]
    Display,
    /// As stored: numbers with all their digits, dates as serial numbers.
    Raw,
}

/// A sheet, or what is kept of it.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) sheet: &'a Sheet,
    pub(crate) rows: AxisMap,
    pub(crate) cols: AxisMap,
    pub(crate) values: Values,
}

impl<'a> View<'a> {
    /// The whole of a sheet.
    pub(crate) fn whole(sheet: &'a Sheet, values: Values) -> View<'a> {
        View { sheet, rows: AxisMap::All, cols: AxisMap::All, values }
    }

    /// Calls `f` with new row, new column and cell, for kept cells that hold something, in row order.
    pub(crate) fn for_each(&self, mut f: impl FnMut(u32, u32, &'a Cell)) {
        // A look-up per cell, not a search.
        let cols: Option<Vec<u32>> = match &self.cols {
            AxisMap::All => None,
            AxisMap::Kept(list) => {
                let mut new = vec![u32::MAX; list.last().map_or(0, |&l| l as usize + 1)];
                for (i, &col) in list.iter().enumerate() {
                    new[col as usize] = i as u32;
                }
                Some(new)
            }
        };
        for (row, cells) in self.sheet.rows() {
            let Some(row) = self.rows.kept(row) else { continue };
            for cell in cells {
                let col = u32::from(cell.col);
                let col = cols.as_ref().map_or(col, |new| new.get(col as usize).copied().unwrap_or(u32::MAX));
                if col != u32::MAX && !self.sheet.value(cell).is_empty() {
                    f(row, col, cell);
                }
            }
        }
    }

    /// The smallest range, in new numbers, that vanilla text goes through.
    pub(crate) fn range(&self) -> Option<Range> {
        let used = self.sheet.used()?;
        let axis = |map: &AxisMap, from: u32, to: u32| match map {
            AxisMap::All => Some((from, to)),
            AxisMap::Kept(list) => Some((0, u32::try_from(list.len()).ok()?.checked_sub(1)?)),
        };
        let (top, bottom) = axis(&self.rows, used.top, used.bottom)?;
        let (left, right) = axis(&self.cols, used.left, used.right)?;
        Some(Range { top, left, bottom, right })
    }

    /// Appends a cell's value.
    pub(crate) fn write(&self, cell: &Cell, out: &mut String) {
        match (self.values, self.sheet.value(cell)) {
            (Values::Raw, Value::Number(x)) => raw(x, out),
            _ => self.sheet.show(cell, out),
        }
    }
}

pub(crate) fn original(rows: &AxisMap, cols: &AxisMap, range: &Range) -> Option<Range> {
    Some(Range {
        top: rows.original(range.top)?,
        left: cols.original(range.left)?,
        bottom: rows.original(range.bottom)?,
        right: cols.original(range.right)?,
    })
}

/// The range that an answer in kept numbers could name.
pub(crate) fn bounds(rows: &AxisMap, cols: &AxisMap) -> Range {
    let last = |map: &AxisMap, max: u32| match map {
        AxisMap::All => max - 1,
        AxisMap::Kept(list) => (list.len() as u32).saturating_sub(1),
    };
    Range { top: 0, left: 0, bottom: last(rows, MAX_ROWS), right: last(cols, MAX_COLS) }
}

/// All digits that tell a number from its neighbours.
fn raw(x: f64, out: &mut String) {
    use std::fmt::Write;
    // Writing to a string cannot fail.
    let _ = if x != 0.0 && !(1e-5..1e15).contains(&x.abs()) { write!(out, "{x:E}") } else { write!(out, "{x}") };
}

/// Text that grows up to a limit.
pub(crate) struct Text<'a> {
    pub(crate) out: String,
    sheet: &'a str,
    cap: u64,
}

impl<'a> Text<'a> {
    pub(crate) fn new(sheet: &'a Sheet, cap: u64) -> Text<'a> {
        Text { out: String::new(), sheet: sheet.name(), cap }
    }

    /// Fails once the limit is exceeded; called after every cell or entry.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.out.len() as u64 > self.cap {
            return Err(Error::TextTooLong { sheet: self.sheet.to_owned(), cap: self.cap });
        }
        Ok(())
    }
}
