//! Fewer tokens from text, tables and passages, in process on a CPU.
//!
//! [`lingua`] deletes the words that a token classifier finds least worth keeping. [`guard`] finds what must survive, [`Account`] says what it
//! brought. [`measure`] compares texts by their compressed lengths, [`selective`]
//! and [`tcra`] are two other ways to choose words, [`windows`] writes text in tokens of equal information.
#![forbid(unsafe_code)]

mod error;

pub use error::Error;

mod account;
mod count;
pub mod guard;
pub mod lingua;
pub mod measure;
pub mod selective;
pub mod tcra;
pub mod windows;
mod words;

pub use account::{Account, Compressed, Span, Warning};
#[cfg(feature = "tiktoken")]
pub use count::Tiktoken;
pub use count::{Guess, TokenCounter};
pub use guard::Guard;
