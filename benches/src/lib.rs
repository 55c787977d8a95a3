//! What the benches share: the bandwidth a figure is held against, and the table of figures at the end.
#![forbid(unsafe_code)]

pub mod bandwidth;
pub mod models;
pub mod results;
