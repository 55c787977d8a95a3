//! What every kind of index shares.

mod top_k;

pub use top_k::TopK;
