//! Scans: the sums of one or several queries over blocks of 64 coded vectors, kept only where they are small enough.
//!
//! [`lut8`] and [`lut4`] add look-ups in tables of bytes (product quantizers), [`dot`](dot()) multiplies bytes by the digits of a query,
//! [`hamming`] counts bits that differ. A [`Sink`] says what is small enough, block by block, and gets the blocks that have it.
//! [`Tables`] make bytes of a [`Lut`] so that integer sums bound the f32 ones from below, and a search by them can be exact.

mod blocks;
mod dot;
mod hamming;
pub mod lut4;
pub mod lut8;
mod sum;
mod tables;
mod weights;

pub use blocks::CodeBlocks;
pub use dot::dot;
pub use hamming::hamming;
pub use tables::{Lut, Tables, Width};
pub use weights::Weights;

use crate::simd::Simd;
use sum::Sum;

/// Vectors of a block.
pub const BLOCK: usize = 64;

/// Where the sums of a scan go. Blocks come in ascending order for each query; queries take turns.
pub trait Sink<T> {
    /// The largest sum of this query that is wanted of this block. It may change from call to call.
    fn threshold(&self, query: usize, block: usize) -> T;
    /// A block with a sum that is wanted: bit `i` of `mask` says that vector `64 block + i` has one, and is there, and allowed.
    fn block(&mut self, query: usize, block: usize, mask: u64, sums: &[T; 64]);
}

/// Keeps every sum: `out[query][block - first]`.
#[derive(Debug)]
pub struct Keep<'a, T> {
    /// The first block of the scan.
    pub first: usize,
    /// The sums, by query and block. Blocks that are not allowed stay as they were.
    pub out: &'a mut [Vec<[T; 64]>],
}

macro_rules! keep {
    ($($t:ty)*) => { $(
        impl Sink<$t> for Keep<'_, $t> {
            fn threshold(&self, _: usize, _: usize) -> $t {
                <$t>::MAX
            }
            fn block(&mut self, query: usize, block: usize, _: u64, sums: &[$t; 64]) {
                self.out[query][block - self.first] = *sums;
            }
        }
    )* };
}
keep!(u8 u16 i32);

/// The vectors of a block that are there and allowed.
#[inline(always)]
fn wanted(rows: usize, allow: Option<&[u64]>, block: usize) -> u64 {
    let there = rows.saturating_sub(64 * block);
    let valid = if there >= 64 { u64::MAX } else { (1 << there) - 1 };
    valid & allow.map_or(u64::MAX, |allow| allow.get(block).copied().unwrap_or(0))
}

/// The same of `B` blocks. A loop: a closure for `from_fn` would be compiled without the tier's features, and called.
#[inline(always)]
fn wanted_of<const B: usize>(rows: usize, allow: Option<&[u64]>, first: usize) -> [u64; B] {
    let mut words = [0; B];
    for (b, word) in words.iter_mut().enumerate() {
        *word = wanted(rows, allow, first + b);
    }
    words
}

/// Offers the sums of some blocks of a query to the sink, from the registers that they were made in.
#[inline(always)]
fn offer_lanes<S: Simd, T: Sum, K: Sink<T>, const B: usize>(
    s: S,
    sink: &mut K,
    query: usize,
    first: usize,
    wanted: [u64; B],
    sums: [T::Lanes<S>; B],
) {
    for b in 0..B {
        let mask = wanted[b] & T::at_most(s, sums[b], sink.threshold(query, first + b));
        if mask != 0 {
            sink.block(query, first + b, mask, &T::store(s, sums[b]));
        }
    }
}

/// Offers the sums of one block to the sink, for the kinds whose sums lie in memory.
#[inline(always)]
fn offer<K: Sink<i32>>(sink: &mut K, query: usize, block: usize, wanted: u64, sums: &[i32; 64]) {
    let limit = sink.threshold(query, block);
    let mask = wanted & sums.iter().rev().fold(0, |mask, sum| mask << 1 | u64::from(*sum <= limit));
    if mask != 0 {
        sink.block(query, block, mask, sums);
    }
}
