//! Values and the ranges where they stand: the inverted index, and ranges of one format (Dong et al. 2024, sections 3.3 and 3.4).

use super::address::{Range, push_range};
use super::grid::{Cell, Strings, Value};
use super::number_format::Shows;
use super::recognise::{DataType, recognise};
use super::rectangles::{boxes, rectangles};
use super::vanilla::{MAX_TEXT, escape, unescape};
use super::view::{Text, View};
use crate::Error;
use std::collections::HashMap;

/// How ranges of one type are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Regions {
    /// Cut into rectangles, so that every typed cell is in exactly one and no other cell is.
    #[default]
    Rectangles,
    /// The bounding box of each connected part, as in the paper; it may cover cells of other types.
    Boxes,
}

/// A value, or a type that stands for the values of its cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The text of a value.
    Value(String),
    /// A type or a number format.
    Type(String),
}

/// A key and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value or type.
    pub key: Key,
    /// Where, in the numbers of the text.
    pub ranges: Vec<Range>,
}

/// Types of cells: by the number format if it says something, else by the look of the shown value.
pub(crate) struct Typing<'a> {
    view: &'a View<'a>,
    /// For each style, the label of numbers under it; `None` asks the value.
    by_style: Vec<Option<&'a str>>,
}

impl<'a> Typing<'a> {
    pub(crate) fn new(view: &'a View<'a>) -> Typing<'a> {
        let label = |shows: Shows, code: &'a str| (shows != Shows::Anything).then_some(code);
        let by_style = view.sheet.styles.iter().map(|s| label(s.format.shows(), s.format.code())).collect();
        Typing { view, by_style }
    }

    /// The label of a cell's type, `None` for one that stays as it is. `shown` is scratch.
    pub(crate) fn label(&self, cell: &Cell, row: u32, col: u32, shown: &mut String) -> Option<std::borrow::Cow<'a, str>> {
        let value = self.view.sheet.value(cell);
        let found = match value {
            Value::Number(x) => {
                if let Some(code) = self.by_style[usize::from(cell.style)] {
                    return Some(code.into());
                }
                if is_year(x) && self.among_years(row, col) {
                    Some(DataType::Year)
                } else if x.fract() == 0.0 && x.abs() < 1e11 {
                    Some(DataType::Integer)
                } else {
                    shown.clear();
                    self.view.write(cell, shown);
                    recognise(shown)
                }
            }
            Value::Text(text) => recognise(text),
            _ => None,
        };
        found.map(|t| t.to_string().into())
    }

    /// Whether a neighbour in the sheet is a year, or a text that speaks of one.
    fn among_years(&self, row: u32, col: u32) -> bool {
        let (Some(row), Some(col)) = (self.view.rows.original(row), self.view.cols.original(col)) else { return false };
        let near = [(row, col.wrapping_sub(1)), (row, col + 1), (row.wrapping_sub(1), col), (row + 1, col)];
        near.iter().any(|&(row, col)| match self.view.sheet.get(super::Address { row, col }) {
            Value::Number(x) => is_year(x),
            Value::Text(t) => t.len() <= 40 && t.to_lowercase().contains("year"),
            _ => false,
        })
    }
}

/// Whether a number could be a year.
pub(crate) fn is_year(x: f64) -> bool {
    x.fract() == 0.0 && (1900.0..=2100.0).contains(&x)
}

/// Collects cells under their keys.
#[derive(Default)]
pub(crate) struct Index {
    keys: Strings,
    is_type: Vec<bool>,
    ids: HashMap<(bool, u32), u32>,
    cells: Vec<(u32, u32, u32)>,
}

impl Index {
    /// Adds a cell under a value or a type.
    pub(crate) fn add(&mut self, key: &str, is_type: bool, row: u32, col: u32) {
        let text = self.keys.intern(key);
        let new = self.is_type.len() as u32;
        let id = *self.ids.entry((is_type, text)).or_insert(new);
        if id == new {
            self.is_type.push(is_type);
        }
        self.cells.push((id, row, col));
    }

    /// The text: a line `key|ranges` for each key, types first (`(type)|ranges`), then by the first cell.
    pub(crate) fn text(self, view: &View<'_>, regions: Regions) -> Result<String, Error> {
        let mut names = vec![""; self.is_type.len()];
        for (&(_, text), &id) in &self.ids {
            names[id as usize] = self.keys.get(text);
        }
        // Cells by key: counted, then placed; keys were numbered by their first cell.
        let mut starts = vec![0usize; names.len() + 1];
        for &(id, ..) in &self.cells {
            starts[id as usize + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut placed = vec![(0, 0); self.cells.len()];
        let mut at = starts.clone();
        for &(id, row, col) in &self.cells {
            placed[at[id as usize]] = (row, col);
            at[id as usize] += 1;
        }
        let mut text = Text::new(view.sheet, MAX_TEXT);
        for wanted in [true, false] {
            for id in (0..names.len()).filter(|&id| self.is_type[id] == wanted) {
                write_key(names[id], wanted, &mut text.out);
                let cells = &mut placed[starts[id]..starts[id + 1]];
                let ranges = if wanted && regions == Regions::Boxes { boxes(cells) } else { rectangles(cells) };
                for (i, range) in ranges.iter().enumerate() {
                    text.out.push(if i == 0 { '|' } else { ',' });
                    push_range(&mut text.out, range);
                }
                text.out.push('\n');
                text.check()?;
            }
        }
        Ok(text.out)
    }
}

fn write_key(key: &str, is_type: bool, out: &mut String) {
    if is_type {
        out.push('(');
        escape(key, out);
        out.push(')');
        return;
    }
    // A bracket in front marks a type, so one of a value is escaped.
    if key.starts_with('(') {
        out.push('\\');
    }
    escape(key, out);
}

/// Reads an inverted index back; the inverse of the texts of [`Form::Inverted`](super::Form::Inverted) and, types included, of the aggregated one.
///
/// ```
/// use scant_prompt_compress::sheet::{Key, decode};
/// let entries = decode("(IntNum)|B2:B9\nnone|C2,C4:C5\n")?;
/// assert_eq!(entries[0].key, Key::Type("IntNum".into()));
/// assert_eq!(entries[1].ranges[1].to_string(), "C4:C5");
/// # Ok::<(), scant_prompt_compress::Error>(())
/// ```
///
/// # Errors
/// A line has no `|`, a range is none, or a backslash stands alone.
pub fn decode(text: &str) -> Result<Vec<Entry>, Error> {
    let mut entries = vec![];
    for (line, content) in text.split_terminator('\n').enumerate() {
        let fail = |why: &str| Error::Encoding { line: line + 1, why: why.to_owned() };
        let (key, ranges) = content.rsplit_once('|').ok_or_else(|| fail("it has no `|`"))?;
        let ranges: Result<Vec<Range>, Error> = ranges.split(',').map(str::parse).collect();
        let ranges = ranges.map_err(|e| fail(&e.to_string()))?;
        let plain = |key: &str| unescape(key).ok_or_else(|| fail("a backslash stands alone at its end"));
        let key = match key.strip_prefix('(').and_then(|k| k.strip_suffix(')')) {
            Some(inside) => Key::Type(plain(inside)?),
            None => Key::Value(plain(key)?),
        };
        entries.push(Entry { key, ranges });
    }
    Ok(entries)
}
