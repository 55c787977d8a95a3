//! Operations and their gradients, as pairs of plain functions `op` and `op_vjp` over slices and views, on the calling thread.
//!
//! One convention: a `vjp` **overwrites** gradients of inputs and **adds to** gradients of weights, since a weight may be used twice.
//! [`candle`](crate::candle) makes the same functions differentiable operations of candle.

mod attention;
mod cross_entropy;
mod linear;
mod rms_norm;
mod rope;
mod swiglu;
pub(crate) mod view;

pub use attention::{Heads, attention, attention_vjp};
pub use cross_entropy::{cross_entropy, cross_entropy_vjp};
pub use linear::{linear, linear_vjp};
pub use rms_norm::{rms_norm, rms_norm_vjp};
pub use rope::Rope;
pub use swiglu::{swiglu, swiglu_vjp};
