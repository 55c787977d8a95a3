//! The plain encoding: every cell of the used range with its address, row by row (Dong et al. 2024, section 3.1).

use super::address::{Range, push_address};
use super::grid::Cell;
use super::view::{Text, View};
use crate::Error;

/// Cells that a plain text may have, empty ones included.
pub(crate) const MAX_CELLS: u64 = 50_000_000;
/// Bytes that a text may have.
pub(crate) const MAX_TEXT: u64 = 1 << 30;

/// What a plain text holds.
pub(crate) struct Plain<'a> {
    pub(crate) view: &'a View<'a>,
    /// In the view's numbers.
    pub(crate) range: Range,
    /// Number formats beside the values.
    pub(crate) formats: bool,
    /// Whether empty cells are written.
    pub(crate) empty: bool,
    /// Bytes that the text may have.
    pub(crate) cap: u64,
}

impl Plain<'_> {
    /// `|A1,value|B1,value` and a line break for each row. `skip` leaves out cells (in the order of [`View::for_each`]) that another part holds.
    pub(crate) fn text(&self, mut skip: impl FnMut(u32, u32, &Cell) -> bool) -> Result<String, Error> {
        let Range { top, left, bottom, right } = self.range;
        if self.empty && self.range.area() > MAX_CELLS {
            let what = format!("the plain text of sheet `{}`", self.view.sheet.name());
            return Err(Error::TooManyCells { what, n: self.range.area(), cap: MAX_CELLS });
        }
        let mut text = Text::new(self.view.sheet, self.cap);
        let (mut row, mut col, mut value, mut failed) = (top, left, String::new(), None);
        // The cells that are there, and between them the empty ones.
        let fill = |text: &mut Text<'_>, row: &mut u32, col: &mut u32, to: (u32, u32)| {
            while (*row, *col) < to && text.check().is_ok() {
                if *col > right {
                    text.out.push('\n');
                    (*row, *col) = (*row + 1, left);
                    continue;
                }
                if self.empty {
                    text.out.push('|');
                    push_address(&mut text.out, *row, *col);
                    text.out.push(',');
                    *col += 1;
                } else {
                    *col = if *row == to.0 { to.1.min(right + 1) } else { right + 1 };
                }
            }
        };
        self.view.for_each(|r, c, cell| {
            let inside = (top..=bottom).contains(&r) && (left..=right).contains(&c);
            if failed.is_some() || !inside || skip(r, c, cell) {
                return;
            }
            fill(&mut text, &mut row, &mut col, (r, c));
            text.out.push('|');
            push_address(&mut text.out, r, c);
            text.out.push(',');
            value.clear();
            self.view.write(cell, &mut value);
            escape(&value, &mut text.out);
            let code = self.view.sheet.styles[usize::from(cell.style)].format.code();
            if self.formats && !code.is_empty() && !code.eq_ignore_ascii_case("general") {
                text.out.push(',');
                escape(code, &mut text.out);
            }
            col = c + 1;
            failed = text.check().err();
        });
        if let Some(e) = failed {
            return Err(e);
        }
        fill(&mut text, &mut row, &mut col, (bottom, right + 1));
        text.out.push('\n');
        text.check()?;
        Ok(text.out)
    }
}

/// Writes a value so that `|` and line breaks can only be ours.
pub(crate) fn escape(value: &str, out: &mut String) {
    if !value.contains(['|', '\\', '\n', '\r']) {
        return out.push_str(value);
    }
    for c in value.chars() {
        match c {
            '|' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            _ => out.push(c),
        }
    }
}

/// Undoes [`escape`]; `None` if a backslash stands alone.
pub(crate) fn unescape(text: &str) -> Option<String> {
    let (mut out, mut chars) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                c => c,
            },
            c => c,
        });
    }
    Some(out)
}
