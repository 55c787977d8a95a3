//! Workbooks as short texts: SpreadsheetLLM's SheetCompressor and Chain of Spreadsheet (Dong et al. 2024, arXiv 2407.09025).
//!
//! ```text
//! bytes --Workbook--> Sheet --find_tables--> ranges --k rows and columns around their edges--> what is kept, renumbered
//!   kept --Form--> vanilla | inverted index | types of ranges | both --fewest tokens--> Compressed: text, maps back
//!   Chain: compressed sheet -> the model names a table -> the table in full, in slices if need be -> an address or a formula
//! ```
//!
//! [`SheetCompressor`] is the door; its example shows a sheet's way. What a file declares is never believed: only cells that it holds take memory.

mod address;
mod chain;
mod compress;
mod entries;
mod grid;
mod number_format;
mod read;
mod recognise;
mod rectangles;
mod style;
mod tables;
mod vanilla;
mod view;

#[cfg(test)]
mod tests;

pub use address::{Address, MAX_COLS, MAX_ROWS, Range};
pub use chain::{Chain, Slices};
pub use compress::{Compressed, Form, SheetCompressor, Warning};
pub use entries::{Entry, Key, Regions, decode};
pub use grid::{Sheet, SheetBuilder, Value, Visibility};
pub use number_format::{NumberFormat, Shows};
pub use read::{Limits, Workbook};
pub use recognise::{DataType, recognise};
pub use style::{Style, border};
pub use tables::{Layout, find_tables, header_rows};
pub use view::{AxisMap, Values};
