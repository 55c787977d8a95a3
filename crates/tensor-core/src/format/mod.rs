//! How a term of the sum lies in memory: one format per file.

mod codebook;
pub mod codes;
mod csr;
mod dense;
mod grid;
mod low_rank;
mod palette;
mod persist;
mod pivoted;
mod stat;

pub use codebook::{Codebook, CodebookSpec, Codes};
pub use csr::{Columns, Csr};
pub use dense::{Dense, DenseType};
pub use grid::{Grid, GridSpec, Offset, RowOffset};
pub use low_rank::LowRank;
pub use palette::Palette;
pub use persist::{MatrixDescriptor, OffsetKind, SiteDescriptor, StatKind, StepKind, TermDescriptor};
pub use pivoted::Pivoted;
pub use stat::{RowStat, Stat};

pub(crate) use codes::{block_bytes, values};
pub(crate) use dense::{DenseData, Element};
pub(crate) use stat::Groups;

/// Rows of a panel: one per lane.
pub const PANEL: usize = 16;
/// Columns of a code block: eight quads of four.
pub const BLOCK: usize = 32;
