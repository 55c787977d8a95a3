//! What is stated of sheets as short texts.

pub(crate) mod books;
pub(crate) mod hostile;
pub(crate) mod million;
pub(crate) mod saus;
