//! The loops: one body per product over the 16-lane vectors of [`simd`](crate::simd), and the doors that check shapes.

mod batch;
pub(crate) mod codebook;
pub(crate) mod csr;
pub(crate) mod dense;
pub(crate) mod expand;
pub(crate) mod grid;
pub(crate) mod prepare;
