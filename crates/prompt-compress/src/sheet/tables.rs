//! Where the tables of a sheet are.
//!
//! A sheet is cut along empty columns and rows where both sides could be tables of their own, until nothing can be cut; what is left is trimmed of
//! titles and notes, which are rows of a single cell. The signs are those of the paper's boundary lines (Dong et al. 2024, section 3.2): emptiness,
//! kind of value, merged cells, borders, fill and bold type. Cuts replace the paper's candidate rectangles and their overlaps: nothing has to be
//! enumerated, so a sheet costs a few passes over its cells, however large and sparse it is.

use super::address::Range;
use super::entries::is_year;
use super::grid::{Cell, Kind, Sheet, Value};

/// What lies where in a sheet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Tables, by their first cell.
    pub tables: Vec<Range>,
    /// Titles, notes and lists: what is no table but holds something.
    pub others: Vec<Range>,
}

/// What detection looks at.
#[derive(Clone, Copy)]
struct Mark {
    col: u16,
    /// A number (not a year: those head columns) or a truth value, or a mark that stands for one.
    number: bool,
    /// Bold, filled or underlined: what sets headers apart.
    styled: bool,
}

struct Marks {
    cells: Vec<Mark>,
    /// Rows with their cells, ascending.
    rows: Vec<(u32, std::ops::Range<usize>)>,
}

/// A row of a region.
#[derive(Clone, Copy)]
struct Row {
    row: u32,
    n: u32,
    numbers: u32,
    styled: u32,
    first: u32,
    last: u32,
}

impl Row {
    /// Mostly words.
    fn is_text(&self) -> bool {
        10 * (self.n - self.numbers) >= 6 * self.n
    }
}

/// Cuts a region may be nested in each other.
const DEPTH: u32 = 48;

/// Finds tables and other contents.
///
/// ```
/// use scant_prompt_compress::sheet::{Limits, Workbook, find_tables};
/// let book = Workbook::read(b"Sales of 2024,,\n,,\nmonth,north,south\nMay,10,20\nJune,12,21\n", &Limits::default())?;
/// let layout = find_tables(&book.sheets()[0]);
/// assert_eq!(layout.tables[0].to_string(), "A3:C5");
/// assert_eq!(layout.others[0].to_string(), "A1");
/// # Ok::<(), scant_prompt_compress::Error>(())
/// ```
pub fn find_tables(sheet: &Sheet) -> Layout {
    let mut layout = Layout::default();
    let Some(used) = sheet.used() else { return layout };
    Marks::new(sheet).cut(used, DEPTH, &mut layout);
    layout.tables.sort_unstable();
    layout.others.sort_unstable();
    layout
}

/// Rows at the top of a table that are its header: up to the first row in which numbers are not the exception.
pub fn header_rows(sheet: &Sheet, table: &Range) -> u32 {
    let marks = Marks::new_in(sheet, table);
    let rows = marks.stats(table);
    let body = rows.iter().skip(1).find(|r| !r.is_text() && (r.n == 1 || r.styled < r.n));
    match body {
        Some(body) if body.row - table.top <= table.height() / 2 => body.row - table.top,
        _ => 1,
    }
}

impl Marks {
    fn new(sheet: &Sheet) -> Marks {
        let whole = Range { top: 0, left: 0, bottom: u32::MAX - 1, right: u32::MAX - 1 };
        Marks::new_in(sheet, &whole)
    }

    fn new_in(sheet: &Sheet, range: &Range) -> Marks {
        let (mut cells, mut rows) = (Vec::new(), Vec::new());
        let styled: Vec<bool> = sheet.styles.iter().map(|s| s.bold || !s.fill.is_empty()).collect();
        for (row, all) in sheet.rows_in(range.top, range.bottom) {
            let start = cells.len();
            for c in all {
                if (range.left..=range.right).contains(&u32::from(c.col)) && !sheet.value(c).is_empty() {
                    cells.push(Mark { col: c.col, number: is_number(sheet, c), styled: styled[usize::from(c.style)] });
                }
            }
            if cells.len() > start {
                rows.push((row, start..cells.len()));
            }
        }
        Marks { cells, rows }
    }

    /// The rows of a region that hold something in it.
    fn region<'a>(&'a self, region: &'a Range) -> impl Iterator<Item = (u32, &'a [Mark])> {
        let first = self.rows.partition_point(|r| r.0 < region.top);
        self.rows[first..].iter().take_while(|r| r.0 <= region.bottom).filter_map(|(row, span)| {
            let cells = &self.cells[span.clone()];
            let from = cells.partition_point(|c| u32::from(c.col) < region.left);
            let to = cells.partition_point(|c| u32::from(c.col) <= region.right);
            (from < to).then(|| (*row, &cells[from..to]))
        })
    }

    fn stats(&self, region: &Range) -> Vec<Row> {
        let row = |(row, cells): (u32, &[Mark])| Row {
            row,
            n: cells.len() as u32,
            numbers: cells.iter().filter(|c| c.number).count() as u32,
            styled: cells.iter().filter(|c| c.styled).count() as u32,
            first: u32::from(cells[0].col),
            last: u32::from(cells[cells.len() - 1].col),
        };
        self.region(region).map(row).collect()
    }

    /// Cuts a region as far as it goes, and files what is left.
    fn cut(&self, region: Range, depth: u32, out: &mut Layout) {
        let rows = self.stats(&region);
        let Some((first, last)) = rows.first().zip(rows.last()) else { return };
        let left = rows.iter().map(|r| r.first).min().unwrap_or(region.left);
        let right = rows.iter().map(|r| r.last).max().unwrap_or(region.right);
        let region = Range { top: first.row, bottom: last.row, left, right };
        if depth > 0 {
            if let Some(col) = self.column_cut(&region) {
                self.cut(Range { right: col, ..region }, depth - 1, out);
                self.cut(Range { left: col + 1, ..region }, depth - 1, out);
                return;
            }
            let cuts = row_cuts(&rows);
            if !cuts.is_empty() {
                let mut top = region.top;
                for cut in cuts.into_iter().chain([region.bottom + 1]) {
                    self.cut(Range { top, bottom: cut - 1, ..region }, depth - 1, out);
                    top = cut;
                }
                return;
            }
        }
        file(&rows, region, out);
    }

    /// The column after which a region is cut: an empty one follows, and what lies on its sides does not run side by side.
    fn column_cut(&self, region: &Range) -> Option<u32> {
        let mut counts = vec![0u32; region.width() as usize];
        for (_, cells) in self.region(region) {
            for c in cells {
                counts[(u32::from(c.col) - region.left) as usize] += 1;
            }
        }
        let mut col = region.left;
        while col < region.right {
            let empty = counts[(col + 1 - region.left) as usize..].iter().take_while(|&&n| n == 0).count() as u32;
            if empty > 0 {
                let (a, b) = (Range { right: col, ..*region }, Range { left: col + 1 + empty, ..*region });
                if self.apart(&a, &b, empty) {
                    return Some(col);
                }
            }
            col += empty + 1;
        }
        None
    }

    /// Whether two sides of empty columns are tables of their own.
    fn apart(&self, a: &Range, b: &Range, gap: u32) -> bool {
        let extent = |range: &Range| {
            let rows = self.stats(range);
            let wide = |r: &&Row| r.n >= 2;
            let (first, last) = (rows.iter().find(wide)?, rows.iter().rev().find(wide)?);
            Some((first.row, last.row))
        };
        match (extent(a), extent(b)) {
            (Some((t1, b1)), Some((t2, b2))) => {
                let overlap = b1.min(b2).saturating_sub(t1.max(t2)) + 1;
                let longer = (b1 - t1).max(b2 - t2) + 1;
                // Spacer columns inside of a table leave its sides as tall as each other.
                t1.abs_diff(t2) + b1.abs_diff(b2) > 2 && (gap >= 2 || 10 * overlap < 8 * longer)
            }
            _ => gap >= 3,
        }
    }
}

fn is_number(sheet: &Sheet, cell: &Cell) -> bool {
    match cell.kind {
        Kind::Number => !matches!(sheet.value(cell), Value::Number(x) if is_year(x)),
        Kind::Bool => true,
        Kind::Text => match sheet.value(cell) {
            // Marks for missing numbers, such as (NA), (Z), -, ...
            Value::Text(t) => {
                t.len() <= 5 && !t.bytes().any(|b| b.is_ascii_lowercase()) && t.starts_with(['(', '-', '.', '*', '<', '>', 'X', '–'])
            }
            _ => false,
        },
        _ => false,
    }
}

/// Rows at which a region is cut: the first of each lower part.
fn row_cuts(rows: &[Row]) -> Vec<u32> {
    let mut cuts = vec![];
    // The part so far: rows of numbers in it, and its columns.
    let (mut bodies, mut span): (u32, Option<(u32, u32)>) = (0, None);
    let mut last_wide: Option<usize> = None;
    for (i, r) in rows.iter().enumerate().filter(|(_, r)| r.n >= 2) {
        if let (Some(last), Some((left, right))) = (last_wide, span) {
            let between = r.row - rows[last].row - 1;
            let narrow = (i - last - 1) as u32;
            let empty = between - narrow;
            let next = rows[i + 1..].iter().find(|r| r.n >= 2);
            // A header: words above a row of numbers, or set apart by its style from the row below.
            let header = r.is_text() && next.is_some_and(|n| (!n.is_text() && n.row - r.row <= 6) || (r.styled == r.n && n.styled < n.n));
            let disjoint = r.last < left || r.first > right;
            if between > 0 && ((empty > 0 && bodies > 0 && header) || (empty > 0 && disjoint)) {
                // Narrow rows right above the header are its title.
                let mut first = i;
                while first > last + 1 && rows[first].row - rows[first - 1].row == 1 {
                    first -= 1;
                }
                cuts.push(rows[first].row);
                (bodies, span) = (0, None);
            }
        }
        bodies += u32::from(!r.is_text());
        span = Some(span.map_or((r.first, r.last), |(a, b)| (a.min(r.first), b.max(r.last))));
        last_wide = Some(i);
    }
    cuts
}

/// Files a region that cannot be cut: its rows of several cells as a table if they make one, the rest beside it.
fn file(rows: &[Row], region: Range, out: &mut Layout) {
    let wide = |r: &Row| r.n >= 2;
    let (Some(first), Some(last)) = (rows.iter().position(wide), rows.iter().rposition(wide)) else {
        return other(rows, &region, out);
    };
    // A single cell right above, away from the first column, heads some of the columns.
    let mut top = first;
    while top > 0 && rows[top].row - rows[top - 1].row == 1 && rows[top - 1].first > region.left {
        top -= 1;
    }
    let inside = &rows[top..=last];
    let left = inside.iter().map(|r| r.first).min().unwrap_or(region.left);
    let right = inside.iter().map(|r| r.last).max().unwrap_or(region.right);
    let table = Range { top: rows[top].row, bottom: rows[last].row, left, right };
    let cells: u64 = inside.iter().map(|r| u64::from(r.n)).sum();
    let rows_filled = inside.len() as u64;
    // Empty rows between header and body, or between sections, count half.
    let dense = 10 * cells >= 3 * rows_filled * u64::from(table.width());
    if table.height() >= 2 && table.width() >= 2 && cells >= 4 && dense {
        out.tables.push(table);
    } else {
        other(inside, &table, out);
    }
    other(&rows[..top], &region, out);
    other(&rows[last + 1..], &region, out);
}

/// Files rows that are no table, parts with empty rows between them apart.
fn other(rows: &[Row], region: &Range, out: &mut Layout) {
    for part in rows.chunk_by(|a, b| b.row - a.row == 1) {
        let left = part.iter().map(|r| r.first).min().unwrap_or(region.left);
        let right = part.iter().map(|r| r.last).max().unwrap_or(region.right);
        if let (Some(a), Some(b)) = (part.first(), part.last()) {
            out.others.push(Range { top: a.row, bottom: b.row, left, right });
        }
    }
}
