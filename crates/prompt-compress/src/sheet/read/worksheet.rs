//! A worksheet's cells.

use super::Budget;
use super::xlsx::{rich_text, unescape};
use super::xml::Xml;
use crate::Error;
use crate::sheet::address::{Address, MAX_COLS, MAX_ROWS, leading_address};
use crate::sheet::grid::{Kind, Sheet, Strings, Value};
use quick_xml::events::{BytesStart, Event};
use std::sync::Arc;

/// What a worksheet is read with.
pub(super) struct Worksheet<'a> {
    pub(super) part: &'a str,
    /// Interned ids of the shared strings.
    pub(super) shared: &'a [u32],
    /// Styles there are.
    pub(super) styles: usize,
    pub(super) strings: &'a mut Strings,
    pub(super) budget: &'a mut Budget,
}

/// The type of a cell's value.
#[derive(Clone, Copy, PartialEq)]
enum Type {
    Number,
    Shared,
    Text,
    Inline,
    Bool,
    Error,
    Date,
}

impl Worksheet<'_> {
    pub(super) fn read(mut self, name: String, text: &str) -> Result<Sheet, Error> {
        let mut sheet = Sheet::empty(name, Arc::default(), Arc::default());
        let mut xml = Xml::new(self.part, text);
        // Where the next cell is if it does not say, and the number of the last row, from 1.
        let (mut next, mut row) = (Address { row: 0, col: 0 }, 0);
        let (mut value, mut formula) = (String::new(), String::new());
        while let Some(event) = xml.next()? {
            let Event::Start(e) = &event else { continue };
            match e.local_name().as_ref() {
                "row" => {
                    row = xml.number::<u32>(e, "r")?.unwrap_or(row + 1);
                    if row == 0 || row > MAX_ROWS {
                        return Err(xml.bad_ref(&format!("row {row}")));
                    }
                    next = Address { row: row - 1, col: 0 };
                    if xml.is_true(e, "hidden")? {
                        sheet.hidden_rows.push(row - 1);
                    }
                }
                "c" => {
                    self.budget.take(1)?;
                    let at = self.cell(&mut xml, e, next, &mut sheet, &mut value, &mut formula)?;
                    next = Address { row: at.row, col: at.col + 1 };
                }
                "mergeCell" => {
                    if let Some(range) = xml.attr(e, "ref")? {
                        sheet.merges.push(range.parse().map_err(|_| xml.bad_ref(&range))?);
                    }
                }
                "col" if xml.is_true(e, "hidden")? => {
                    if let (Some(min), Some(max)) = (xml.number::<u32>(e, "min")?, xml.number::<u32>(e, "max")?)
                        && min >= 1
                    {
                        sheet.hidden_cols.push((min - 1, max.saturating_sub(1)));
                    }
                }
                _ => {}
            }
        }
        Ok(sheet)
    }

    /// Reads a cell that has just begun, up to its end.
    fn cell(
        &mut self,
        xml: &mut Xml<'_>,
        e: &BytesStart<'_>,
        next: Address,
        sheet: &mut Sheet,
        value: &mut String,
        formula: &mut String,
    ) -> Result<Address, Error> {
        let (mut at, mut style, mut kind) = (next, 0usize, Type::Number);
        for a in e.attributes().with_checks(false) {
            let a = a.map_err(|e| xml.fail(e.to_string()))?;
            match a.key.as_ref() {
                "r" => match leading_address(a.value.as_bytes()) {
                    Some((found, len)) if len == a.value.len() => at = found,
                    _ => return Err(xml.bad_ref(&a.value)),
                },
                "s" => style = a.value.parse().map_err(|_| xml.bad_ref(&a.value))?,
                "t" => {
                    kind = match &*a.value {
                        "s" => Type::Shared,
                        "str" => Type::Text,
                        "inlineStr" => Type::Inline,
                        "b" => Type::Bool,
                        "e" => Type::Error,
                        "d" => Type::Date,
                        _ => Type::Number,
                    }
                }
                _ => {}
            }
        }
        if at.col >= MAX_COLS {
            return Err(xml.bad_ref(&at.to_string()));
        }
        let Some(style) = u16::try_from(style).ok().filter(|&s| usize::from(s) < self.styles) else {
            return Err(Error::StyleIndexOutOfRange { part: xml.part().to_owned(), cell: at, style: style as u64, styles: self.styles });
        };
        value.clear();
        formula.clear();
        let mut inline = false;
        while let Some(event) = xml.next()? {
            match &event {
                Event::Start(e) => match e.local_name().as_ref() {
                    "v" => xml.text("", value)?,
                    "f" => xml.text("", formula)?,
                    "is" => {
                        rich_text(xml, "is", value)?;
                        inline = true;
                    }
                    _ => {}
                },
                Event::End(e) if e.local_name().as_ref() == "c" => break,
                _ => {}
            }
        }
        if !formula.is_empty() {
            sheet.formulas.push((at, self.strings.intern(formula)));
        }
        let kind = if inline { Type::Inline } else { kind };
        if kind == Type::Shared && !value.is_empty() {
            let id = value.trim().parse::<usize>().ok().and_then(|i| self.shared.get(i));
            let Some(&id) = id else { return Err(xml.bad_ref(&format!("shared string {value} of {}", self.shared.len()))) };
            sheet.push_raw(at, Kind::Text, id, style);
            return Ok(at);
        }
        if value.is_empty() && !formula.is_empty() {
            // Nobody has computed it yet.
            value.push('=');
            value.push_str(formula);
        }
        let text = unescape(value);
        let value = match kind {
            _ if text.is_empty() && kind != Type::Text => Value::Empty,
            Type::Number => number(value).map_or(Value::Text(&text), Value::Number),
            Type::Bool => Value::Bool(matches!(value.trim(), "1" | "true")),
            Type::Error => Value::Error(&text),
            Type::Date => super::ods::iso_date(value).map_or(Value::Text(&text), Value::Number),
            _ => Value::Text(&text),
        };
        let strings = &mut *self.strings;
        sheet.push(at.row, at.col, value, style, |t| strings.intern(t));
        Ok(at)
    }
}

/// A number; whole ones of few digits, which are most, without the general parser.
fn number(text: &str) -> Option<f64> {
    let b = text.as_bytes();
    if (1..=15).contains(&b.len()) && b.iter().all(u8::is_ascii_digit) {
        return Some(b.iter().fold(0u64, |n, d| 10 * n + u64::from(d - b'0')) as f64);
    }
    text.trim().parse::<f64>().ok().filter(|x| x.is_finite())
}
