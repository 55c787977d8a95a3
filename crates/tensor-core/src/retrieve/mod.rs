//! What every kind of index shares: hits, the best k of many, exact merging, sets of rows, and predicates over attributes.
//!
//! One total order holds everywhere: the key, smaller first, by [`f32::total_cmp`], then the id. So ties are decided, and the result of a
//! search does not depend on how the work was divided.

mod bitmap;
mod column;
mod filter;
mod merge;
mod top_k;

pub use bitmap::Bitmap;
pub use column::{Column, Columns};
pub use filter::{Filter, FilterError, Value};
pub use merge::{Hit, Order, merge};
pub use top_k::TopK;
