//! What a cell looks like, as far as the encoders ask.

use super::number_format::NumberFormat;
use std::sync::Arc;

/// Border bits of a [`Style`].
pub mod border {
    /// A line above.
    pub const TOP: u8 = 1;
    /// A line below.
    pub const BOTTOM: u8 = 2;
    /// A line on the left.
    pub const LEFT: u8 = 4;
    /// A line on the right.
    pub const RIGHT: u8 = 8;
}

/// A cell's look: number format, font, fill, borders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Style {
    /// How numbers are shown.
    pub format: Arc<NumberFormat>,
    /// Bold type.
    pub bold: bool,
    /// Colour of the type, whatever the workbook calls it; empty for the default.
    pub color: String,
    /// Pattern and colour behind the cell; empty for none.
    pub fill: String,
    /// Bits of [`border`].
    pub borders: u8,
}
