//! Fewer tokens from text, tables and passages, in process on a CPU.
//!
//! - text: [`lingua`] deletes the words that a token classifier finds least worth keeping, [`selective`] and [`tcra`] are two other ways to
//!   choose; [`guard`] finds what must survive, [`Account`] says what it brought;
//! - workbooks: [`sheet`];
//! - measures: [`measure`] compares texts by their compressed lengths, [`windows`] writes text in tokens of equal information.
#![forbid(unsafe_code)]

mod account;
mod count;
mod error;
pub mod guard;
pub mod lingua;
pub mod measure;
pub mod selective;
pub mod sheet;
pub mod tcra;
pub mod windows;
mod words;

pub use account::{Account, Compressed, Span, Warning};
#[cfg(feature = "tiktoken")]
pub use count::Tiktoken;
pub use count::{Guess, TokenCounter};
pub use error::Error;
pub use guard::Guard;
