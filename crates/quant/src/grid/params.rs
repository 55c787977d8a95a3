//! How a grid is chosen: bits, groups, what stands for zero, and how the range is found.

use crate::error::Error;
use scant_tensor_core::compress::FitError;
use scant_tensor_core::format::GridSpec;
use std::fmt;
use std::str::FromStr;

/// Columns that share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupSize {
    /// This many consecutive columns, a multiple of 16; the last group of a row may be shorter.
    Columns(usize),
    /// The whole row.
    Row,
}

impl From<usize> for GroupSize {
    fn from(columns: usize) -> GroupSize {
        GroupSize::Columns(columns)
    }
}

/// What a grid adds to `scale * q`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Zero {
    /// An integer zero point of as many bits as a code, so 0 is always a value of the grid.
    #[default]
    Int,
    /// The least value of the group in f16: finer than an integer zero point, 16 bits a group instead of `bits`.
    Min,
    /// Nothing: the code `2^(bits-1)` is 0, and the weight of largest magnitude has code 0, as in GGUF's Q4_0. The scale may be negative.
    Symmetric,
}

/// How the range of a group is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Search {
    /// From its least to its largest weight.
    #[default]
    MinMax,
    /// The best of 80 ranges, shrunk by a hundredth each, by the sum of `|error|^2.5`: a few clipped weights buy smaller steps for the others.
    /// (GPTQ's code uses an exponent of 2.4; a half is a square root.)
    Shrink,
}

/// The grid that a method fits: bits per code, group size, zero and search. Scales are f16.
///
/// ```
/// use scant_quant::grid::{GridParams, Zero};
/// let params = GridParams::new(4, 64).zero(Zero::Min).shrink();
/// assert_eq!(params.to_string(), "4-g64-min-shrink");
/// assert_eq!("4-g64-min-shrink".parse::<GridParams>()?, params);
/// # Ok::<(), scant_quant::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GridParams {
    /// 2, 3, 4, 5, 6 or 8.
    pub bits: u32,
    /// Columns that share a scale.
    pub group: GroupSize,
    /// What the grid adds.
    pub zero: Zero,
    /// How a group's range is found.
    pub search: Search,
}

const BITS: [u32; 6] = [2, 3, 4, 5, 6, 8];

impl GridParams {
    /// An integer zero point and the whole range.
    pub fn new(bits: u32, group: impl Into<GroupSize>) -> GridParams {
        GridParams { bits, group: group.into(), zero: Zero::default(), search: Search::default() }
    }

    /// Sets what the grid adds.
    #[must_use]
    pub fn zero(mut self, zero: Zero) -> GridParams {
        self.zero = zero;
        self
    }

    /// Shrinks ranges where that lowers the error.
    #[must_use]
    pub fn shrink(mut self) -> GridParams {
        self.search = Search::Shrink;
        self
    }

    /// The format's parameters for a matrix `[m, n]`.
    pub(crate) fn spec(&self, method: &str, matrix: &str, shape: [usize; 2]) -> Result<GridSpec, FitError> {
        if !BITS.contains(&self.bits) {
            return Err(FitError::UnsupportedBits { method: method.to_owned(), bits: self.bits, allowed: &BITS });
        }
        let group_size = match self.group {
            GroupSize::Columns(columns) => columns,
            GroupSize::Row => shape[1],
        };
        GridSpec::new(shape, self.bits, group_size).map_err(FitError::at(matrix))
    }
}

impl fmt::Display for GridParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bits)?;
        match self.group {
            GroupSize::Columns(columns) => write!(f, "-g{columns}")?,
            GroupSize::Row => f.write_str("-row")?,
        }
        f.write_str(match self.zero {
            Zero::Int => "",
            Zero::Min => "-min",
            Zero::Symmetric => "-sym",
        })?;
        f.write_str(match self.search {
            Search::MinMax => "",
            Search::Shrink => "-shrink",
        })
    }
}

impl FromStr for GridParams {
    type Err = Error;
    fn from_str(s: &str) -> Result<GridParams, Error> {
        parse(s, s, |_| false)
    }
}

/// Reads `4-g64-min`, the part of the name `whole` after the method; `other` takes the words that are the method's own.
pub(crate) fn parse(whole: &str, s: &str, mut other: impl FnMut(&str) -> bool) -> Result<GridParams, Error> {
    let bad = |detail: String| Error::MethodName { name: whole.to_owned(), detail };
    let mut words = s.split('-');
    let bits = words.next().unwrap_or_default();
    let bits = bits.parse().map_err(|_| bad(format!("`{bits}` stands where the number of bits should")))?;
    if !BITS.contains(&bits) {
        return Err(bad(format!("{bits} bits are not to be had; there are {BITS:?}")));
    }
    let group = words.next().unwrap_or_default();
    let group = match (group, group.strip_prefix('g').map(str::parse)) {
        ("row", _) => GroupSize::Row,
        (_, Some(Ok(columns))) if columns > 0 && columns % 16 == 0 => GroupSize::Columns(columns),
        (_, Some(Ok(columns))) => return Err(bad(format!("groups of {columns} columns are not to be had: take a multiple of 16, or row"))),
        _ => return Err(bad(format!("`{group}` stands where the group should: g and a number of columns, or row"))),
    };
    let mut params = GridParams::new(bits, group);
    for word in words {
        match word {
            "min" | "sym" if params.zero != Zero::default() => return Err(bad(format!("`{word}` contradicts another word"))),
            "min" => params.zero = Zero::Min,
            "sym" => params.zero = Zero::Symmetric,
            "shrink" => params.search = Search::Shrink,
            _ if other(word) => {}
            _ => return Err(bad(format!("`{word}` is no option"))),
        }
    }
    Ok(params)
}
