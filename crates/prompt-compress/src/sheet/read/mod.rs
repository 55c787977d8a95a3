//! Workbooks read from files: xlsx and xlsm, ods, csv.

mod csv;
mod ods;
mod parts;
mod styles;
mod worksheet;
mod xlsx;
mod xml;

use super::grid::{Sheet, Strings};
use super::style::Style;
use crate::Error;
use parts::Parts;
use std::path::Path;
use std::sync::Arc;

/// Bounds on what a file may make of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A part may unpack to so many times its packed size; parts below 16 MiB are free.
    pub ratio: u64,
    /// Bytes that all parts together may unpack to.
    pub unpacked: u64,
    /// Cells in all sheets together.
    pub cells: u64,
}

impl Limits {
    /// Unpacked bytes that no part is asked about.
    const FREE: u64 = 16 << 20;
}

impl Default for Limits {
    /// 200 times, 4 GiB, 50 million cells.
    fn default() -> Limits {
        Limits { ratio: 200, unpacked: 4 << 30, cells: 50_000_000 }
    }
}

/// The sheets of a workbook.
///
/// ```
/// use scant_prompt_compress::sheet::{Limits, Workbook};
/// let book = Workbook::read(b"city,people\nTarn,1200\nFenn,800\n", &Limits::default())?;
/// let sheet = &book.sheets()[0];
/// assert_eq!(sheet.used().unwrap().to_string(), "A1:B3");
/// assert_eq!(sheet.shown("B3".parse()?), "800");
/// # Ok::<(), scant_prompt_compress::Error>(())
/// ```
#[derive(Debug)]
pub struct Workbook {
    sheets: Vec<Sheet>,
}

impl Workbook {
    /// Reads a file with the default limits; text that is no archive is read as csv.
    ///
    /// # Errors
    /// It cannot be read, is no workbook, is damaged, or exceeds the limits.
    pub fn open(path: impl AsRef<Path>) -> Result<Workbook, Error> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.display().to_string(), source })?;
        Workbook::read(&bytes, &Limits::default())
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// They are no workbook, are damaged, or exceed the limits.
    pub fn read(bytes: &[u8], limits: &Limits) -> Result<Workbook, Error> {
        if bytes.starts_with(b"\xD0\xCF\x11\xE0") {
            return Err(Error::CompoundFile);
        }
        if !bytes.starts_with(b"PK") {
            return csv::read(bytes, limits);
        }
        let parts = Parts::new(bytes, *limits)?;
        if parts.has("content.xml") { ods::read(parts, limits) } else { xlsx::read(parts, limits) }
    }

    /// Its sheets, in order, hidden ones too.
    pub fn sheets(&self) -> &[Sheet] {
        &self.sheets
    }

    /// The sheet of a name.
    ///
    /// # Errors
    /// There is none.
    pub fn sheet(&self, name: &str) -> Result<&Sheet, Error> {
        self.sheets.iter().find(|s| s.name == name).ok_or_else(|| Error::SheetNotFound {
            name: name.to_owned(),
            there: self.sheets.iter().map(Sheet::name).collect::<Vec<_>>().join(", "),
        })
    }

    /// Joins sheets with what they share.
    fn new(mut sheets: Vec<Sheet>, strings: Strings, styles: Vec<Style>) -> Workbook {
        let (strings, styles) = (Arc::new(strings), Arc::new(styles));
        for sheet in &mut sheets {
            sheet.strings = strings.clone();
            sheet.styles = styles.clone();
            sheet.finish();
        }
        Workbook { sheets }
    }
}

/// Counts cells against the limit.
struct Budget {
    used: u64,
    cap: u64,
}

impl Budget {
    fn take(&mut self, n: u64) -> Result<(), Error> {
        self.used = self.used.saturating_add(n);
        if self.used > self.cap {
            return Err(Error::TooManyCells { what: "the workbook".to_owned(), n: self.used, cap: self.cap });
        }
        Ok(())
    }
}
