//! A sheet as a short text: anchors, inverted index, data formats (Dong et al. 2024, arXiv 2407.09025).

use super::address::Range;
use super::entries::{Index, Regions, Typing};
use super::grid::Sheet;
use super::tables::{Layout, find_tables};
use super::vanilla::{MAX_TEXT, Plain};
use super::view::{AxisMap, Values, View, bounds, original};
use crate::{Error, TokenCounter};
use std::fmt;

/// The forms of a text. All of them hold addresses, so that an answer can name cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Every cell with its address, row by row, empty ones too: `|A1,value|B1,`.
    Vanilla,
    /// Each value once, with the ranges where it stands: `value|A1,B2:B9`. Gives back every cell ([`decode`](super::decode)).
    Inverted,
    /// Ranges of one type by its name, `(IntNum)|B2:B9`, then the other cells row by row.
    Aggregated,
    /// Ranges of one type by its name, then each other value once. The numbers are gone: not for looking values up.
    InvertedAggregated,
}

impl Form {
    /// All of them.
    pub const ALL: [Form; 4] = [Form::Vanilla, Form::Inverted, Form::Aggregated, Form::InvertedAggregated];

    /// What a reader has to be told to understand the text.
    pub fn explanation(self) -> &'static str {
        match self {
            Form::Vanilla => {
                "A spreadsheet follows, one row a line. Each cell is written |address,value; a backslash stands before | and \\ inside of values, \
                 and \\n is a line break."
            }
            Form::Inverted => {
                "A spreadsheet follows, turned around: each line holds a value, then |, then the cells and ranges that contain it. Cells that are \
                 not named are empty. A backslash stands before | and \\ inside of values, and \\n is a line break."
            }
            Form::Aggregated => {
                "A spreadsheet follows. Lines that begin with a bracket give a type or number format, then |, then the ranges whose cells are of that \
                 type. After them come the other cells, one row a line, each written |address,value. Cells that are not named are empty. A backslash \
                 stands before | and \\ inside of values, and \\n is a line break."
            }
            Form::InvertedAggregated => {
                "A spreadsheet follows, turned around: each line holds a value, then |, then the cells and ranges that contain it. Lines that begin \
                 with a bracket give a type or number format in place of the values of their cells. Cells that are not named are empty. A backslash \
                 stands before | and \\ inside of values, and \\n is a line break."
            }
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Vanilla => "vanilla",
            Form::Inverted => "inverted",
            Form::Aggregated => "aggregated",
            Form::InvertedAggregated => "inverted-aggregated",
        })
    }
}

/// What a caller should know of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The sheet holds nothing that anchors rows and columns: all of it was kept.
    NoAnchors,
    /// The plain text would be too large to write, so it was no candidate.
    VanillaTooLarge {
        /// Cells of the used range.
        cells: u64,
    },
}

/// Bytes that no token has more of: the longest of common vocabularies are runs of 128 spaces.
const TOKEN_BYTES: u64 = 128;

/// Compresses sheets.
///
/// ```
/// use scant_prompt_compress::Guess;
/// use scant_prompt_compress::sheet::{Limits, SheetCompressor, Workbook};
///
/// let mut csv = String::from("day,pieces\n");
/// for day in 1..=200 {
///     csv += &format!("day {day},{}\n", day * 7 % 100);
/// }
/// let book = Workbook::read(csv.as_bytes(), &Limits::default())?;
/// let sheet = &book.sheets()[0];
///
/// let compressor = SheetCompressor::new();
/// let short = compressor.compress(sheet, &Guess)?;
/// assert!(10 * short.tokens < compressor.vanilla_tokens(sheet, &Guess)?);
/// assert_eq!(short.tables[0].to_string(), "A1:B201");
///
/// // Rows 6 to 196 were dropped: the last kept row is the 10th, and an answer about it is about row 201.
/// assert_eq!(short.to_original(&"A10:B10".parse()?)?.to_string(), "A201:B201");
/// # Ok::<(), scant_prompt_compress::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SheetCompressor {
    anchors: Option<u32>,
    forms: Vec<Form>,
    values: Values,
    regions: Regions,
    formats: bool,
    hidden: bool,
}

impl Default for SheetCompressor {
    fn default() -> SheetCompressor {
        SheetCompressor::new()
    }
}

impl SheetCompressor {
    /// Anchors with `k` = 4, the shortest of all forms, values as shown, hidden rows and columns included.
    pub fn new() -> SheetCompressor {
        SheetCompressor {
            anchors: Some(4),
            forms: Form::ALL.to_vec(),
            values: Values::Display,
            regions: Regions::Rectangles,
            formats: false,
            hidden: true,
        }
    }

    /// Keeps rows and columns within `k` of an edge of a table, a list or a note; `None` keeps all.
    #[must_use]
    pub fn anchors(self, k: Option<u32>) -> SheetCompressor {
        SheetCompressor { anchors: k, ..self }
    }

    /// The forms to choose from: the one with the fewest tokens is taken, of equals the first.
    #[must_use]
    pub fn forms(self, forms: &[Form]) -> SheetCompressor {
        SheetCompressor { forms: forms.to_vec(), ..self }
    }

    /// How values are written.
    #[must_use]
    pub fn values(self, values: Values) -> SheetCompressor {
        SheetCompressor { values, ..self }
    }

    /// How ranges of one type are written.
    #[must_use]
    pub fn regions(self, regions: Regions) -> SheetCompressor {
        SheetCompressor { regions, ..self }
    }

    /// Whether vanilla text has number formats beside values, which costs tokens and makes models worse (Table 5 of the paper).
    #[must_use]
    pub fn formats(self, formats: bool) -> SheetCompressor {
        SheetCompressor { formats, ..self }
    }

    /// Whether hidden rows and columns are included.
    #[must_use]
    pub fn hidden(self, hidden: bool) -> SheetCompressor {
        SheetCompressor { hidden, ..self }
    }

    /// Compresses a sheet. With [`Form::Vanilla`] among the forms, the result is never longer than the vanilla text of the whole sheet.
    ///
    /// # Errors
    /// There are no forms, or a text would be larger than 1 GiB (or vanilla text go through more than 50 million cells, if no other form is allowed).
    pub fn compress(&self, sheet: &Sheet, counter: &dyn TokenCounter) -> Result<Compressed, Error> {
        if self.forms.is_empty() {
            return Err(Error::Parameter { name: "forms", value: "empty".to_owned(), must: "at least one form" });
        }
        let layout = find_tables(sheet);
        let mut warnings = vec![];
        let anchored = self.view(sheet, &layout, &mut warnings);
        let whole = View::whole(sheet, self.values);
        let mut best: Option<(usize, Form, bool, String)> = None;
        // The short forms first: vanilla text is only counted as far as it could win.
        let mut candidates: Vec<(Form, bool)> = self.forms.iter().filter(|&&f| f != Form::Vanilla).map(|&f| (f, false)).collect();
        if self.forms.contains(&Form::Vanilla) {
            candidates.extend([(Form::Vanilla, false)]);
            if anchored.rows != AxisMap::All && self.hidden {
                candidates.push((Form::Vanilla, true));
            }
        }
        for (form, full) in candidates {
            let view = if full { &whole } else { &anchored };
            // A text of more bytes has more tokens.
            let cap = best.as_ref().map_or(MAX_TEXT, |b| MAX_TEXT.min(TOKEN_BYTES.saturating_mul(b.0 as u64)));
            let text = match self.text(view, form, cap) {
                Err(Error::TooManyCells { n, .. }) if self.forms.len() > 1 => {
                    let warning = Warning::VanillaTooLarge { cells: n };
                    if !warnings.contains(&warning) {
                        warnings.push(warning);
                    }
                    continue;
                }
                // Another form may still be short enough.
                Err(Error::TextTooLong { .. }) if best.is_some() => continue,
                text => text?,
            };
            let limit = best.as_ref().map_or(usize::MAX, |b| b.0);
            if let Some(tokens) = count_below(&text, limit, counter) {
                best = Some((tokens, form, full, text));
            }
        }
        let Some((tokens, form, full, text)) = best else {
            // Every form was vanilla text that is too large.
            self.text(&anchored, self.forms[0], MAX_TEXT)?;
            return Err(Error::TextTooLong { sheet: sheet.name().to_owned(), cap: MAX_TEXT });
        };
        let View { rows, cols, .. } = if full { whole } else { anchored };
        Ok(Compressed { text, form, rows, cols, tables: layout.tables, tokens, warnings })
    }

    /// Tokens of the whole sheet's vanilla text, without formats: what [`SheetCompressor::compress`] is measured against.
    ///
    /// # Errors
    /// The text would go through more than 50 million cells or be larger than 1 GiB.
    pub fn vanilla_tokens(&self, sheet: &Sheet, counter: &dyn TokenCounter) -> Result<usize, Error> {
        let plain = SheetCompressor { formats: false, ..self.clone() };
        Ok(counter.count(&plain.text(&View::whole(sheet, self.values), Form::Vanilla, MAX_TEXT)?))
    }

    /// A range of the sheet as vanilla text, with original addresses.
    ///
    /// # Errors
    /// It has more than 50 million cells, or the text would be larger than 1 GiB.
    pub fn vanilla(&self, sheet: &Sheet, range: &Range) -> Result<String, Error> {
        let view = View::whole(sheet, self.values);
        Plain { view: &view, range: *range, formats: self.formats, empty: true, cap: MAX_TEXT }.text(|_, _, _| false)
    }

    /// What is kept of a sheet.
    fn view<'a>(&self, sheet: &'a Sheet, layout: &Layout, warnings: &mut Vec<Warning>) -> View<'a> {
        let mut view = View::whole(sheet, self.values);
        let Some(used) = sheet.used() else { return view };
        let blocks = || layout.tables.iter().chain(&layout.others);
        let k = match self.anchors {
            Some(_) if blocks().next().is_none() => {
                warnings.push(Warning::NoAnchors);
                None
            }
            k => k,
        };
        if k.is_none() && self.hidden {
            return view;
        }
        let near = |from: u32, to: u32, edges: &mut dyn Iterator<Item = u32>, hidden: &dyn Fn(u32) -> bool| {
            let mut kept: Vec<u32> = match k {
                Some(k) => edges.flat_map(|e| e.saturating_sub(k).max(from)..=e.saturating_add(k).min(to)).collect(),
                None => (from..=to).collect(),
            };
            kept.sort_unstable();
            kept.dedup();
            if !self.hidden {
                kept.retain(|&i| !hidden(i));
            }
            AxisMap::Kept(kept)
        };
        view.rows = near(used.top, used.bottom, &mut blocks().flat_map(|b| [b.top, b.bottom]), &|r| sheet.row_is_hidden(r));
        view.cols = near(used.left, used.right, &mut blocks().flat_map(|b| [b.left, b.right]), &|c| sheet.col_is_hidden(c));
        view
    }

    fn text(&self, view: &View<'_>, form: Form, cap: u64) -> Result<String, Error> {
        let Some(range) = view.range() else { return Ok(String::new()) };
        let plain = |empty| Plain { view, range, formats: self.formats, empty, cap };
        if form == Form::Vanilla {
            return plain(true).text(|_, _, _| false);
        }
        let typing = matches!(form, Form::Aggregated | Form::InvertedAggregated).then(|| Typing::new(view));
        let inverted = form != Form::Aggregated;
        let (mut index, mut shown, mut scratch) = (Index::default(), String::new(), String::new());
        view.for_each(|row, col, cell| {
            let label = typing.as_ref().and_then(|t| t.label(cell, row, col, &mut scratch));
            if let Some(label) = label {
                index.add(&label, true, row, col);
            } else if inverted {
                shown.clear();
                view.write(cell, &mut shown);
                index.add(&shown, false, row, col);
            }
        });
        let mut text = index.text(view, self.regions)?;
        if let (Some(typing), false) = (&typing, inverted) {
            text.push_str(&plain(false).text(|row, col, cell| typing.label(cell, row, col, &mut scratch).is_some())?);
        }
        Ok(text)
    }
}

/// The tokens of a text, `None` if they are not fewer than `limit`. Lines are counted one by one first, so that a text far too long costs little.
fn count_below(text: &str, limit: usize, counter: &dyn TokenCounter) -> Option<usize> {
    let mut lines = 0usize;
    if limit < usize::MAX {
        for line in text.split_inclusive('\n') {
            lines += counter.count(line);
            // Tokens across line ends make the sum of lines larger than the whole, by at most one each.
            if lines / 2 > limit {
                return None;
            }
        }
    }
    let tokens = counter.count(text);
    (tokens < limit).then_some(tokens)
}

/// A compressed sheet.
#[derive(Clone, Debug)]
pub struct Compressed {
    /// The text for a prompt, without [`Form::explanation`].
    pub text: String,
    /// Its form.
    pub form: Form,
    /// Rows that were kept.
    pub rows: AxisMap,
    /// Columns that were kept.
    pub cols: AxisMap,
    /// Tables that were found, in the sheet's own addresses.
    pub tables: Vec<Range>,
    /// Tokens of the text, by the counter that was given.
    pub tokens: usize,
    /// What the caller should know.
    pub warnings: Vec<Warning>,
}

impl Compressed {
    /// A range of the text as a range of the sheet.
    ///
    /// # Errors
    /// It reaches outside of what was kept.
    pub fn to_original(&self, range: &Range) -> Result<Range, Error> {
        let outside = || Error::RangeOutsideSheet { range: *range, inside: bounds(&self.rows, &self.cols) };
        original(&self.rows, &self.cols, range).ok_or_else(outside)
    }

    /// A range of the sheet as a range of the text; `None` if one of its edges was dropped.
    pub fn to_kept(&self, range: &Range) -> Option<Range> {
        Some(Range {
            top: self.rows.kept(range.top)?,
            left: self.cols.kept(range.left)?,
            bottom: self.rows.kept(range.bottom)?,
            right: self.cols.kept(range.right)?,
        })
    }
}
