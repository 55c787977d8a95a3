//! What the examples share: arguments, tables, SVG plots, progress bars, and where real data is.
#![forbid(unsafe_code)]

pub mod args;
pub mod bar;
pub mod data;
pub mod judge;
pub mod method;
pub mod program;
pub mod sequences;
pub mod svg;
pub mod table;

/// The README's example is a doc test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
