//! A sheet in memory: the cells that are there, row by row.

use super::address::{Address, MAX_COLS, MAX_ROWS, Range};
use super::style::Style;
use crate::Error;
use std::collections::HashMap;
use std::sync::Arc;

/// What a cell holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Nothing, but the cell may have a style.
    Empty,
    /// A number, or a date as a serial number.
    Number(f64),
    /// Text.
    Text(&'a str),
    /// A truth value.
    Bool(bool),
    /// An error such as `#DIV/0!`.
    Error(&'a str),
}

impl Value<'_> {
    /// Whether there is nothing in it; an empty text is nothing.
    pub fn is_empty(&self) -> bool {
        matches!(self, Value::Empty | Value::Text(""))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Empty,
    Number,
    Text,
    Bool,
    Error,
}

/// A cell as stored: 12 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    /// Slot of the number, id of the string, or the truth value.
    pub(crate) value: u32,
    pub(crate) col: u16,
    pub(crate) style: u16,
    pub(crate) kind: Kind,
}

/// Texts, each held once.
#[derive(Debug, Default)]
pub(crate) struct Strings {
    text: String,
    ends: Vec<usize>,
    /// The newest id of each hash, and for each id the one before it with the same hash.
    newest: HashMap<u64, u32>,
    older: Vec<Option<u32>>,
    hasher: std::hash::RandomState,
}

impl Strings {
    /// The id of `text`; ids count up in the order of first use.
    pub(crate) fn intern(&mut self, text: &str) -> u32 {
        use std::hash::BuildHasher;
        let hash = self.hasher.hash_one(text);
        let newest = self.newest.get(&hash).copied();
        let mut id = newest;
        while let Some(i) = id {
            if self.get(i) == text {
                return i;
            }
            id = self.older[i as usize];
        }
        let new = self.ends.len() as u32;
        self.text.push_str(text);
        self.ends.push(self.text.len());
        self.older.push(newest);
        self.newest.insert(hash, new);
        new
    }

    /// The text of an id that [`Strings::intern`] gave.
    pub(crate) fn get(&self, id: u32) -> &str {
        let id = id as usize;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.text[start..self.ends[id]]
    }
}

/// Whether a sheet is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    /// It is.
    #[default]
    Shown,
    /// A user can bring it back.
    Hidden,
    /// Only a program can.
    VeryHidden,
}

/// A worksheet: cells, styles, merged ranges. Only cells that a file holds take memory, whatever size it declares.
#[derive(Debug)]
pub struct Sheet {
    pub(crate) name: String,
    pub(crate) visibility: Visibility,
    pub(crate) cells: Vec<Cell>,
    /// Rows that hold cells, ascending, with the index of their first cell.
    pub(crate) rows: Vec<(u32, u32)>,
    pub(crate) numbers: Vec<f64>,
    pub(crate) strings: Arc<Strings>,
    pub(crate) styles: Arc<Vec<Style>>,
    pub(crate) merges: Vec<Range>,
    pub(crate) declared_tables: Vec<Range>,
    pub(crate) hidden_rows: Vec<u32>,
    pub(crate) hidden_cols: Vec<(u32, u32)>,
    pub(crate) formulas: Vec<(Address, u32)>,
    pub(crate) used: Option<Range>,
}

impl Sheet {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is shown.
    pub fn visibility(&self) -> Visibility {
        self.visibility
    }

    /// The smallest range around all cells that hold something; `None` for an empty sheet.
    pub fn used(&self) -> Option<Range> {
        self.used
    }

    /// Cells that hold something.
    pub fn non_empty(&self) -> usize {
        self.iter().count()
    }

    /// Merged ranges, by their first cell; the value stands in that cell.
    pub fn merges(&self) -> &[Range] {
        &self.merges
    }

    /// Ranges that the workbook itself declares as tables.
    pub fn declared_tables(&self) -> &[Range] {
        &self.declared_tables
    }

    /// The cells that hold something, in row order.
    pub fn iter(&self) -> impl Iterator<Item = (Address, Value<'_>, &Style)> {
        self.rows()
            .flat_map(|(row, cells)| cells.iter().map(move |c| (row, c)))
            .map(|(row, c)| (Address { row, col: u32::from(c.col) }, self.value(c), &self.styles[usize::from(c.style)]))
            .filter(|(_, value, _)| !value.is_empty())
    }

    /// What a cell holds.
    pub fn get(&self, at: Address) -> Value<'_> {
        self.find(at).map_or(Value::Empty, |c| self.value(c))
    }

    /// A cell's style; the default where the file holds no such cell.
    pub fn style(&self, at: Address) -> &Style {
        &self.styles[self.find(at).map_or(0, |c| usize::from(c.style))]
    }

    /// A cell's formula, without the sign `=`; of a shared formula, only the first cell has the text.
    pub fn formula(&self, at: Address) -> Option<&str> {
        let found = self.formulas.binary_search_by_key(&at, |f| f.0).ok()?;
        Some(self.strings.get(self.formulas[found].1))
    }

    /// What a cell shows: its value under its number format.
    pub fn shown(&self, at: Address) -> String {
        let mut out = String::new();
        if let Some(cell) = self.find(at) {
            self.show(cell, &mut out);
        }
        out
    }

    /// Whether a row is hidden.
    pub fn row_is_hidden(&self, row: u32) -> bool {
        self.hidden_rows.binary_search(&row).is_ok()
    }

    /// Whether a column is hidden.
    pub fn col_is_hidden(&self, col: u32) -> bool {
        self.hidden_cols.iter().any(|&(a, b)| (a..=b).contains(&col))
    }

    /// Bytes it takes, texts and styles shared with its workbook left out.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.cells[..])
            + size_of_val(&self.rows[..])
            + size_of_val(&self.numbers[..])
            + size_of_val(&self.merges[..])
            + size_of_val(&self.formulas[..])
    }

    /// Rows that hold cells.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (u32, &[Cell])> {
        self.rows_from(0)
    }

    fn rows_from(&self, first: usize) -> impl Iterator<Item = (u32, &[Cell])> {
        (first..self.rows.len()).map(|i| (self.rows[i].0, &self.cells[self.row_span(i)]))
    }

    /// Rows from `top` to `bottom` that hold cells.
    pub(crate) fn rows_in(&self, top: u32, bottom: u32) -> impl Iterator<Item = (u32, &[Cell])> {
        self.rows_from(self.rows.partition_point(|r| r.0 < top)).take_while(move |r| r.0 <= bottom)
    }

    fn row_span(&self, i: usize) -> std::ops::Range<usize> {
        self.rows[i].1 as usize..self.rows.get(i + 1).map_or(self.cells.len(), |r| r.1 as usize)
    }

    fn find(&self, at: Address) -> Option<&Cell> {
        let row = self.rows.binary_search_by_key(&at.row, |r| r.0).ok()?;
        let cells = &self.cells[self.row_span(row)];
        Some(&cells[cells.binary_search_by_key(&at.col, |c| u32::from(c.col)).ok()?])
    }

    pub(crate) fn value(&self, cell: &Cell) -> Value<'_> {
        match cell.kind {
            Kind::Empty => Value::Empty,
            Kind::Number => Value::Number(self.numbers[cell.value as usize]),
            Kind::Text => Value::Text(self.strings.get(cell.value)),
            Kind::Bool => Value::Bool(cell.value != 0),
            Kind::Error => Value::Error(self.strings.get(cell.value)),
        }
    }

    pub(crate) fn show(&self, cell: &Cell, out: &mut String) {
        match self.value(cell) {
            Value::Empty => {}
            Value::Number(x) => self.styles[usize::from(cell.style)].format.show(x, out),
            Value::Text(t) => self.styles[usize::from(cell.style)].format.show_text(t, out),
            Value::Error(t) => out.push_str(t),
            Value::Bool(b) => out.push_str(if b { "TRUE" } else { "FALSE" }),
        }
    }
}

/// Puts a sheet together cell by cell; of two at one place the later stays.
///
/// ```
/// use scant_prompt_compress::sheet::{SheetBuilder, Style, Value};
/// let mut sheet = SheetBuilder::new("stock");
/// let bold = sheet.style(Style { bold: true, ..Style::default() })?;
/// sheet.set(0, 0, Value::Text("item"), bold)?;
/// sheet.set(0, 1, Value::Text("pieces"), bold)?;
/// sheet.set(1, 0, Value::Text("bolts"), 0)?;
/// sheet.set(1, 1, Value::Number(1200.0), 0)?;
/// let sheet = sheet.build();
/// assert_eq!(sheet.used().unwrap().to_string(), "A1:B2");
/// assert_eq!(sheet.shown("B2".parse()?), "1200");
/// # Ok::<(), scant_prompt_compress::Error>(())
/// ```
#[derive(Debug)]
pub struct SheetBuilder {
    sheet: Sheet,
    strings: Strings,
    styles: Vec<Style>,
}

impl SheetBuilder {
    /// An empty sheet; style 0 is the default.
    pub fn new(name: impl Into<String>) -> SheetBuilder {
        let sheet = Sheet::empty(name.into(), Arc::default(), Arc::default());
        SheetBuilder { sheet, strings: Strings::default(), styles: vec![Style::default()] }
    }

    /// Adds a style: its number for [`SheetBuilder::set`].
    ///
    /// # Errors
    /// There are 65,536 already.
    pub fn style(&mut self, style: Style) -> Result<u16, Error> {
        let found = self.styles.iter().position(|s| *s == style);
        let id = found.unwrap_or(self.styles.len());
        let Ok(number) = u16::try_from(id) else {
            return Err(Error::Parameter { name: "styles", value: id.to_string(), must: "at most 65536" });
        };
        if found.is_none() {
            self.styles.push(style);
        }
        Ok(number)
    }

    /// Adds a cell; row order is the fastest.
    ///
    /// # Errors
    /// It lies outside of a sheet, or its style is unknown.
    pub fn set(&mut self, row: u32, col: u32, value: Value<'_>, style: u16) -> Result<(), Error> {
        if usize::from(style) >= self.styles.len() {
            return Err(Error::Parameter { name: "style", value: style.to_string(), must: "one that `style` gave" });
        }
        if row >= MAX_ROWS || col >= MAX_COLS {
            let value = format!("row {row}, column {col}");
            return Err(Error::Parameter { name: "cell", value, must: "in 1048576 rows and 16384 columns" });
        }
        let strings = &mut self.strings;
        self.sheet.push(row, col, value, style, |text| strings.intern(text));
        Ok(())
    }

    /// Merges a range.
    pub fn merge(&mut self, range: Range) {
        self.sheet.merges.push(range);
    }

    /// The sheet.
    pub fn build(self) -> Sheet {
        let mut sheet = self.sheet;
        sheet.strings = Arc::new(self.strings);
        sheet.styles = Arc::new(self.styles);
        sheet.finish();
        sheet
    }
}

impl Sheet {
    pub(crate) fn empty(name: String, strings: Arc<Strings>, styles: Arc<Vec<Style>>) -> Sheet {
        Sheet {
            name,
            visibility: Visibility::Shown,
            cells: vec![],
            rows: vec![],
            numbers: vec![],
            strings,
            styles,
            merges: vec![],
            declared_tables: vec![],
            hidden_rows: vec![],
            hidden_cols: vec![],
            formulas: vec![],
            used: None,
        }
    }

    /// Adds a cell; [`Sheet::finish`] puts them in order. `intern` gives the ids of texts.
    pub(crate) fn push(&mut self, row: u32, col: u32, value: Value<'_>, style: u16, mut intern: impl FnMut(&str) -> u32) {
        let (kind, value) = match value {
            Value::Empty => (Kind::Empty, 0),
            Value::Number(x) => {
                self.numbers.push(x);
                (Kind::Number, self.numbers.len() as u32 - 1)
            }
            Value::Text(t) => (Kind::Text, intern(t)),
            Value::Bool(b) => (Kind::Bool, u32::from(b)),
            Value::Error(t) => (Kind::Error, intern(t)),
        };
        self.push_raw(Address { row, col }, kind, value, style);
    }

    /// Adds a cell whose value is stored already; the caller has checked that it lies in a sheet.
    pub(crate) fn push_raw(&mut self, at: Address, kind: Kind, value: u32, style: u16) {
        if self.rows.last().is_none_or(|r| r.0 != at.row) {
            self.rows.push((at.row, self.cells.len() as u32));
        }
        self.cells.push(Cell { value, col: at.col as u16, style, kind });
    }

    /// Puts cells in order if the file has not; of two at one place the later stays.
    fn sort(&mut self) {
        let rows_sorted = self.rows.is_sorted_by(|a, b| a.0 < b.0);
        if rows_sorted && self.rows().all(|(_, cells)| cells.is_sorted_by(|a, b| a.col < b.col)) {
            return;
        }
        let mut all: Vec<(u32, Cell)> = self.rows().flat_map(|(row, cells)| cells.iter().map(move |c| (row, *c))).collect();
        all.sort_by_key(|(row, c)| (*row, c.col));
        (self.cells, self.rows) = (vec![], vec![]);
        for (i, (row, cell)) in all.iter().enumerate() {
            if all.get(i + 1).is_none_or(|(r, c)| (*r, c.col) != (*row, cell.col)) {
                self.push_raw(Address { row: *row, col: u32::from(cell.col) }, cell.kind, cell.value, cell.style);
            }
        }
    }

    /// Sorts what is looked up, and finds the used range.
    pub(crate) fn finish(&mut self) {
        self.sort();
        self.merges.sort_unstable();
        self.hidden_rows.sort_unstable();
        self.hidden_rows.dedup();
        self.formulas.sort_unstable();
        let mut used: Option<Range> = None;
        for (row, cells) in self.rows() {
            let mut filled = cells.iter().filter(|c| !self.value(c).is_empty());
            if let Some(first) = filled.next() {
                let last = filled.next_back().unwrap_or(first);
                let here = Range { top: row, bottom: row, left: u32::from(first.col), right: u32::from(last.col) };
                used = Some(used.map_or(here, |u| u.hull(&here)));
            }
        }
        self.used = used;
    }
}
