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

/// What integer sums say of the f32 sums of the same rows: such a row is worth at least `bias - rest radius + step sum`, where no code of it is
/// farther than the radius from 128 (in length; of look-ups the rest is 0).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// What a sum of 0 stands for.
    pub bias: f64,
    /// What 1 stands for.
    pub step: f64,
    /// What the radius is multiplied by.
    pub rest: f64,
}

/// Where the sums of a scan go. Blocks come in ascending order for each query; queries take turns.
pub trait Sink<T> {
    /// The largest sum of this query that is wanted of this block. It may change from call to call.
    fn threshold(&self, query: usize, block: usize) -> T;
    /// Where rows have limits of their own: fills in the largest sum that is wanted of each row of this block, NaN for any, and says so; the
    /// threshold is not asked for then.
    #[inline(always)]
    fn limits(&self, query: usize, block: usize, limits: &mut [f32; 64]) -> bool {
        let _ = (query, block, limits);
        false
    }
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
    let mut limits = [0.0; 64];
    for b in 0..B {
        if wanted[b] == 0 {
            continue;
        }
        if sink.limits(query, first + b, &mut limits) {
            let sums = T::store(s, sums[b]);
            let mut rows = [0.0; 64];
            for (row, sum) in rows.iter_mut().zip(sums) {
                *row = sum.into();
            }
            let mask = wanted[b] & not_above(s, &rows, &limits);
            if mask != 0 {
                sink.block(query, first + b, mask, &sums);
            }
            continue;
        }
        let mask = wanted[b] & T::at_most(s, sums[b], sink.threshold(query, first + b));
        if mask != 0 {
            sink.block(query, first + b, mask, &T::store(s, sums[b]));
        }
    }
}

/// The rows whose number is not above its limit.
#[inline(always)]
fn not_above<S: Simd>(s: S, rows: &[f32; 64], limits: &[f32; 64]) -> u64 {
    let mut mask = 0;
    let (rows, limits) = (rows.as_chunks().0, limits.as_chunks().0);
    for i in 0..4 {
        mask |= u64::from(s.not_above(s.load(&rows[i]), s.load(&limits[i]))) << (16 * i);
    }
    mask
}

/// Offers the sums of one block to the sink, for the kinds whose sums lie in memory.
#[inline(always)]
fn offer<S: Simd, K: Sink<i32>>(s: S, sink: &mut K, query: usize, block: usize, wanted: u64, sums: &[i32; 64]) {
    let mut limits = [0.0; 64];
    let mask = if sink.limits(query, block, &mut limits) {
        let mut rows = [0.0; 64];
        for (row, sum) in rows.iter_mut().zip(sums) {
            *row = *sum as f32;
        }
        not_above(s, &rows, &limits)
    } else {
        let limit = sink.threshold(query, block);
        sums.iter().rev().fold(0, |mask, sum| mask << 1 | u64::from(*sum <= limit))
    };
    if mask & wanted != 0 {
        sink.block(query, block, mask & wanted, sums);
    }
}
