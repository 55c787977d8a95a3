//! Retrieval over collections with judgements: readers, exact search, and what a ranking is worth.
//!
//! ```
//! use scant_eval::retrieval::{Collection, Gain, search_dense};
//! let collection = Collection::trec(
//!     "<DOC><DOCNO>a</DOCNO>red apples</DOC><DOC><DOCNO>b</DOCNO>green pears</DOC>",
//!     "<top><num>1</num><title>pears</title></top>",
//!     "1 0 b 1",
//! )?;
//! assert_eq!(collection.documents[1].text, "green pears");
//! // Vectors of documents and queries from any encoder:
//! let [documents, queries] = [ndarray::array![[1.0, 0.1], [0.2, 1.0]], ndarray::array![[0.0, 1.0]]];
//! let ranked = search_dense(documents.view(), queries.view(), 10);
//! assert_eq!(ranked[0], [1, 0]);
//! assert_eq!(collection.ndcg(&ranked, 10, Gain::Binary)?.mean, 1.0);
//! # Ok::<(), scant_eval::Error>(())
//! ```

mod collection;
mod measures;
mod search;

pub use collection::{Collection, Document};
pub use measures::{Gain, ndcg_at, recall_at, reciprocal_rank};
pub use search::{search_dense, search_sparse};
