//! Comma-separated values (RFC 4180); semicolons and tabs separate too, if the first line has more of them.

use super::{Budget, Limits, Workbook};
use crate::Error;
use crate::sheet::address::{MAX_COLS, MAX_ROWS};
use crate::sheet::grid::{Sheet, Strings, Value};
use crate::sheet::style::Style;
use std::sync::Arc;

pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Workbook, Error> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes)
        .map_err(|e| Error::NotAWorkbook(format!("no archive, and not UTF-8 text either (byte {})", e.valid_up_to())))?;
    if text.contains('\0') {
        return Err(Error::NotAWorkbook("no archive, and not text either (it holds a NUL)".to_owned()));
    }
    let separator = separator(text);
    let (mut sheet, mut strings) = (Sheet::empty("csv".to_owned(), Arc::default(), Arc::default()), Strings::default());
    let mut budget = Budget { used: 0, cap: limits.cells };
    let (mut row, mut col) = (0u32, 0u32);
    let (mut rest, mut field) = (text, String::new());
    while !rest.is_empty() {
        field.clear();
        let quoted = rest.starts_with('"');
        if quoted {
            rest = &rest[1..];
            loop {
                // A quote that never ends takes the rest of the file.
                let end = rest.find('"').unwrap_or(rest.len());
                field.push_str(&rest[..end]);
                rest = rest.get(end + 1..).unwrap_or("");
                match rest.strip_prefix('"') {
                    Some(after) => rest = after,
                    None => break,
                }
                field.push('"');
            }
        }
        let end = rest.find([separator, '\n']).unwrap_or(rest.len());
        field.push_str(rest[..end].strip_suffix('\r').unwrap_or(&rest[..end]));
        if !field.is_empty() {
            budget.take(1)?;
            let value = match number(&field) {
                Some(x) if !quoted => Value::Number(x),
                _ => Value::Text(&field),
            };
            if row >= MAX_ROWS || col >= MAX_COLS {
                return Err(Error::NotAWorkbook(format!(
                    "line {}, field {}: sheets have 1048576 rows and 16384 columns",
                    row + 1,
                    col + 1
                )));
            }
            sheet.push(row, col, value, 0, |t| strings.intern(t));
        }
        if rest[end..].starts_with(separator) {
            col += 1;
        } else {
            (row, col) = (row + 1, 0);
        }
        rest = rest.get(end + 1..).unwrap_or("");
    }
    Ok(Workbook::new(vec![sheet], strings, vec![Style::default()]))
}

fn separator(text: &str) -> char {
    let line = text.lines().next().unwrap_or("");
    let count = |c: char| line.matches(c).count();
    [',', ';', '\t'].into_iter().rev().max_by_key(|&c| count(c)).unwrap_or(',')
}

/// A number, if its general form is the text itself: `007`, `1e5` and `12345678901234567890` are texts.
fn number(text: &str) -> Option<f64> {
    if text.len() > 16 || !text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        return None;
    }
    let x: f64 = text.parse().ok()?;
    let mut shown = String::new();
    crate::sheet::number_format::NumberFormat::default().show(x, &mut shown);
    (shown == text || format!("{x}") == text).then_some(x)
}
