//! What is stated of sheets, on sheets made here.

mod archive;
mod chain;
mod encodings;
mod formats;
mod reader;
mod tables;

use super::*;

/// A sheet from rows of fields: numbers where they parse, nothing where they are empty.
pub(super) fn sheet(rows: &[&[&str]]) -> Sheet {
    placed(rows, 0, 0)
}

/// The same, moved down and right.
pub(super) fn placed(rows: &[&[&str]], down: u32, right: u32) -> Sheet {
    let mut builder = SheetBuilder::new("made");
    for (r, fields) in rows.iter().enumerate() {
        for (c, field) in fields.iter().enumerate() {
            let value = match field.parse::<f64>() {
                _ if field.is_empty() => continue,
                Ok(x) => Value::Number(x),
                Err(_) => Value::Text(field),
            };
            builder.set(r as u32 + down, c as u32 + right, value, 0).unwrap();
        }
    }
    builder.build()
}

pub(super) fn range(text: &str) -> Range {
    text.parse().unwrap()
}
