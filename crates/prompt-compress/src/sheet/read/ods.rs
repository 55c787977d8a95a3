//! OpenDocument spreadsheets (ISO/IEC 26300): values, merged cells, and what automatic styles say of weight, fill and borders. Number formats
//! follow the type of the value (date, time, percentage, currency), not the document's own.

use super::parts::Parts;
use super::xml::Xml;
use super::{Budget, Limits, Workbook};
use crate::Error;
use crate::sheet::address::{MAX_COLS, MAX_ROWS, Range};
use crate::sheet::grid::{Kind, Sheet, Strings, Value, Visibility};
use crate::sheet::number_format::{NumberFormat, serial};
use crate::sheet::style::{Style, border};
use quick_xml::events::{BytesStart, Event};
use std::collections::HashMap;
use std::sync::Arc;

const CONTENT: &str = "content.xml";

/// A cell of a row, before the row is repeated.
struct Found {
    col: u32,
    times: u32,
    kind: Kind,
    value: u32,
    number: f64,
    style: u16,
}

struct Reader<'a> {
    xml: Xml<'a>,
    strings: Strings,
    /// Looks of the automatic cell styles, by name.
    looks: HashMap<String, Style>,
    /// Looks joined with number formats, by the names of both.
    styles: Vec<Style>,
    ids: HashMap<(String, &'static str), u16>,
    budget: Budget,
}

pub(super) fn read(mut parts: Parts<'_>, limits: &Limits) -> Result<Workbook, Error> {
    if let Some(manifest) = parts.text("META-INF/manifest.xml")?
        && manifest.contains("encryption-data")
    {
        return Err(Error::NotAWorkbook("an encrypted OpenDocument file".to_owned()));
    }
    let Some(text) = parts.text(CONTENT)? else {
        return Err(Error::NotAWorkbook(format!("an archive without `{CONTENT}`")));
    };
    let mut reader = Reader {
        xml: Xml::new(CONTENT, &text),
        strings: Strings::default(),
        looks: HashMap::new(),
        styles: vec![Style::default()],
        ids: HashMap::new(),
        budget: Budget { used: 0, cap: limits.cells },
    };
    let mut sheets = vec![];
    while let Some(event) = reader.xml.next()? {
        let Event::Start(e) = &event else { continue };
        match e.local_name().as_ref() {
            "style" if reader.xml.attr(e, "family")?.as_deref() == Some("table-cell") => reader.look(e)?,
            "table" => {
                let name = reader.xml.attr(e, "name")?.unwrap_or_default().into_owned();
                sheets.push(reader.table(name)?);
            }
            _ => {}
        }
    }
    if sheets.is_empty() {
        return Err(Error::NotAWorkbook("an OpenDocument file without tables".to_owned()));
    }
    Ok(Workbook::new(sheets, reader.strings, reader.styles))
}

impl Reader<'_> {
    /// Reads an automatic style that has just begun.
    fn look(&mut self, e: &BytesStart<'_>) -> Result<(), Error> {
        let name = self.xml.attr(e, "name")?.unwrap_or_default().into_owned();
        let mut style = Style::default();
        while let Some(event) = self.xml.next()? {
            match &event {
                Event::Start(e) => {
                    for a in e.attributes().with_checks(false) {
                        let a = a.map_err(|e| self.xml.fail(e.to_string()))?;
                        let drawn = if &*a.value == "none" { 0 } else { u8::MAX };
                        match a.key.local_name().as_ref() {
                            "font-weight" => style.bold = matches!(&*a.value, "bold" | "600" | "700" | "800" | "900"),
                            "color" if &*a.value != "#000000" => style.color = a.value.into_owned(),
                            "background-color" if &*a.value != "transparent" => style.fill = a.value.into_owned(),
                            "border" => style.borders = drawn & (border::TOP | border::BOTTOM | border::LEFT | border::RIGHT),
                            "border-top" => style.borders |= drawn & border::TOP,
                            "border-bottom" => style.borders |= drawn & border::BOTTOM,
                            "border-left" => style.borders |= drawn & border::LEFT,
                            "border-right" => style.borders |= drawn & border::RIGHT,
                            _ => {}
                        }
                    }
                }
                Event::End(e) if e.local_name().as_ref() == "style" => break,
                _ => {}
            }
        }
        self.looks.insert(name, style);
        Ok(())
    }

    /// The number of a look with a number format.
    fn style(&mut self, look: &str, code: &'static str) -> Result<u16, Error> {
        let look = if self.looks.contains_key(look) { look } else { "" };
        if look.is_empty() && code.is_empty() {
            return Ok(0);
        }
        let key = (look.to_owned(), code);
        if let Some(&id) = self.ids.get(&key) {
            return Ok(id);
        }
        let id = u16::try_from(self.styles.len()).map_err(|_| self.xml.fail("there are more than 65536 cell styles"))?;
        let mut style = self.looks.get(look).cloned().unwrap_or_default();
        style.format = Arc::new(NumberFormat::new(code, false));
        self.styles.push(style);
        self.ids.insert(key, id);
        Ok(id)
    }

    /// Reads a table that has just begun, up to its end.
    fn table(&mut self, name: String) -> Result<Sheet, Error> {
        let mut sheet = Sheet::empty(name, Arc::default(), Arc::default());
        sheet.visibility = Visibility::Shown;
        let (mut row, mut col, mut times) = (0u32, 0u32, 1u32);
        let mut cells: Vec<Found> = vec![];
        while let Some(event) = self.xml.next()? {
            match &event {
                Event::Start(e) => match e.local_name().as_ref() {
                    "table-row" => {
                        (col, times) = (0, self.xml.number(e, "number-rows-repeated")?.unwrap_or(1).max(1));
                        if matches!(self.xml.attr(e, "visibility")?.as_deref(), Some("collapse" | "filter")) {
                            sheet.hidden_rows.extend(row..row.saturating_add(times).min(MAX_ROWS));
                        }
                    }
                    "table-cell" | "covered-table-cell" => col = self.cell(e, row, col, &mut sheet, &mut cells)?,
                    _ => {}
                },
                Event::End(e) => match e.local_name().as_ref() {
                    "table-row" => {
                        self.repeat(&mut sheet, row, times, &cells)?;
                        cells.clear();
                        row = row.saturating_add(times);
                    }
                    "table" => break,
                    _ => {}
                },
                _ => {}
            }
        }
        Ok(sheet)
    }

    /// Puts a row's cells into the sheet, as often as the row is repeated.
    fn repeat(&mut self, sheet: &mut Sheet, row: u32, times: u32, cells: &[Found]) -> Result<(), Error> {
        if cells.is_empty() {
            return Ok(());
        }
        let per_row: u64 = cells.iter().map(|c| u64::from(c.times)).sum();
        self.budget.take(per_row.saturating_mul(u64::from(times)))?;
        if row.saturating_add(times) > MAX_ROWS {
            return Err(self.xml.bad_ref(&format!("row {}", u64::from(row) + u64::from(times))));
        }
        for row in row..row + times {
            for cell in cells {
                for col in cell.col..cell.col + cell.times {
                    let at = crate::sheet::Address { row, col };
                    if cell.kind == Kind::Number {
                        sheet.push(row, col, Value::Number(cell.number), cell.style, |_| 0);
                    } else {
                        sheet.push_raw(at, cell.kind, cell.value, cell.style);
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads a cell that has just begun: the column after it.
    fn cell(&mut self, e: &BytesStart<'_>, row: u32, col: u32, sheet: &mut Sheet, cells: &mut Vec<Found>) -> Result<u32, Error> {
        let times: u32 = self.xml.number(e, "number-columns-repeated")?.unwrap_or(1).max(1);
        let mut spans = [1u32; 2];
        let (mut kind, mut value, mut text, mut formula, mut look) = (String::new(), String::new(), None, None, String::new());
        for a in e.attributes().with_checks(false) {
            let a = a.map_err(|e| self.xml.fail(e.to_string()))?;
            let content = a.normalized_value(quick_xml::XmlVersion::Implicit1_0).map_err(|e| self.xml.fail(e.to_string()))?;
            match a.key.local_name().as_ref() {
                "value-type" if kind.is_empty() => kind = content.into_owned(),
                "value" | "date-value" | "time-value" | "boolean-value" => value = content.into_owned(),
                "string-value" => text = Some(content.into_owned()),
                "formula" => formula = Some(content.into_owned()),
                "style-name" => look = content.into_owned(),
                "number-rows-spanned" => spans[0] = content.parse().unwrap_or(1).max(1),
                "number-columns-spanned" => spans[1] = content.parse().unwrap_or(1).max(1),
                _ => {}
            }
        }
        let shown = self.paragraphs()?;
        let end = col.saturating_add(times);
        let inside = row < MAX_ROWS && end <= MAX_COLS;
        if spans != [1, 1] && inside {
            let (bottom, right) = (row.saturating_add(spans[0] - 1).min(MAX_ROWS - 1), col.saturating_add(spans[1] - 1).min(MAX_COLS - 1));
            sheet.merges.push(Range { top: row, left: col, bottom, right });
        }
        let (code, number) = match kind.as_str() {
            "float" => ("", value.parse().ok()),
            "percentage" => ("0.00%", value.parse().ok()),
            "currency" => ("#,##0.00", value.parse().ok()),
            "date" if value.contains('T') => ("yyyy-mm-dd hh:mm:ss", iso_date(&value)),
            "date" => ("yyyy-mm-dd", iso_date(&value)),
            "time" => ("[h]:mm:ss", duration(&value)),
            _ => ("", None),
        };
        let text = text.unwrap_or(shown);
        let number = number.filter(|x: &f64| x.is_finite());
        if number.is_none() && kind != "boolean" && text.is_empty() {
            return Ok(end);
        }
        if !inside {
            return Err(self.xml.bad_ref(&format!("row {}, column {end}", u64::from(row) + 1)));
        }
        if let Some(formula) = formula {
            let formula = formula.split_once('=').map_or(&*formula, |f| f.1);
            sheet.formulas.push((crate::sheet::Address { row, col }, self.strings.intern(formula)));
        }
        let style = self.style(&look, code)?;
        let (kind, value) = match number {
            Some(_) => (Kind::Number, 0),
            None if kind == "boolean" => (Kind::Bool, u32::from(value == "true")),
            None if text.starts_with('#') && text.ends_with(['!', '?', 'A']) => (Kind::Error, self.strings.intern(&text)),
            None => (Kind::Text, self.strings.intern(&text)),
        };
        cells.push(Found { col, times, kind, value, number: number.unwrap_or(0.0), style });
        Ok(end)
    }

    /// The paragraphs inside the cell that has just begun, up to its end; notes and tables in it are left out.
    fn paragraphs(&mut self) -> Result<String, Error> {
        let (mut out, mut depth, mut left_out, mut paragraph) = (String::new(), 1, None, false);
        while depth > 0 {
            let Some(event) = self.xml.next()? else { return Err(self.xml.fail("a cell does not end")) };
            match &event {
                Event::Start(e) => {
                    depth += 1;
                    match e.local_name().as_ref() {
                        "annotation" | "table" | "shapes" if left_out.is_none() => left_out = Some(depth),
                        "p" if left_out.is_none() => {
                            if paragraph {
                                out.push('\n');
                            }
                            paragraph = true;
                        }
                        "s" if left_out.is_none() => {
                            let n: usize = self.xml.number(e, "c")?.unwrap_or(1);
                            // No cell is wider than 32,767 characters.
                            out.extend(std::iter::repeat_n(' ', n.min(32_767)));
                        }
                        "tab" if left_out.is_none() => out.push('\t'),
                        "line-break" if left_out.is_none() => out.push('\n'),
                        _ => {}
                    }
                }
                Event::End(_) => {
                    if left_out == Some(depth) {
                        left_out = None;
                    }
                    depth -= 1;
                }
                event if left_out.is_none() && paragraph && depth > 1 => self.xml.append(event, &mut out)?,
                _ => {}
            }
        }
        Ok(out)
    }
}

/// The serial number of `2024-05-01` or `2024-05-01T10:30:00`.
pub(super) fn iso_date(text: &str) -> Option<f64> {
    let (day, time) = text.trim().trim_end_matches('Z').split_once(['T', ' ']).unwrap_or((text.trim(), "0:0:0"));
    let mut day = day.split('-').map(str::parse::<u32>);
    let (year, month, date) = (day.next()?.ok()?, day.next()?.ok()?, day.next()?.ok()?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&date) || !(1900..=9999).contains(&year) {
        return None;
    }
    let mut seconds = 0.0;
    for (part, unit) in time.split(':').zip([3600.0, 60.0, 1.0]) {
        seconds += part.parse::<f64>().ok()? * unit;
    }
    Some(serial(i64::from(year), month, date) as f64 + seconds / 86_400.0)
}

/// Days of a duration such as `PT10H30M00S`.
fn duration(text: &str) -> Option<f64> {
    let (mut seconds, mut number) = (0.0, String::new());
    for c in text.strip_prefix("PT")?.chars() {
        let unit = match c {
            'H' => 3600.0,
            'M' => 60.0,
            'S' => 1.0,
            _ => {
                number.push(c);
                continue;
            }
        };
        seconds += number.parse::<f64>().ok()? * unit;
        number.clear();
    }
    Some(seconds / 86_400.0)
}
