//! Sums of look-ups by 8-bit codes: a table of 256 bytes for every column.
//!
//! On AVX-512 a table is four registers, and eight blocks are summed for each time that it is loaded.

use super::sum::Sum;
use super::{CodeBlocks, Sink, offer_lanes, wanted_of};
use crate::isa::Isa;
use crate::simd::{Simd, WithSimd};
use std::marker::PhantomData;
use std::ops::Range;

/// Bytes of codes that stay in the first cache while the queries take turns.
const TILE: usize = 32 << 10;

/// Scans with sums that stop at 255. `tables[query][column]`; blocks whose word in `allow` is 0, or not there, are left out.
///
/// # Panics
/// Unless every query has a table for every column, and the blocks are there.
pub fn scan_u8<K: Sink<u8>>(
    isa: Isa,
    codes: &CodeBlocks,
    blocks: Range<usize>,
    tables: &[&[[u8; 256]]],
    allow: Option<&[u64]>,
    sink: &mut K,
) {
    tiles::<u8, K, 8>(isa, codes, blocks, tables, allow, sink);
}

/// The same with sums that stop at 65,535: all there can be for 257 columns.
///
/// # Panics
/// As [`scan_u8`].
pub fn scan_u16<K: Sink<u16>>(
    isa: Isa,
    codes: &CodeBlocks,
    blocks: Range<usize>,
    tables: &[&[[u8; 256]]],
    allow: Option<&[u64]>,
    sink: &mut K,
) {
    tiles::<u16, K, 4>(isa, codes, blocks, tables, allow, sink);
}

/// `B` blocks at a time where there are registers.
fn tiles<T: Sum, K: Sink<T>, const B: usize>(
    isa: Isa,
    codes: &CodeBlocks,
    blocks: Range<usize>,
    tables: &[&[[u8; 256]]],
    allow: Option<&[u64]>,
    sink: &mut K,
) {
    assert!(blocks.end <= codes.blocks(), "blocks up to {} of {}", blocks.end, codes.blocks());
    for table in tables {
        assert!(table.len() == codes.columns(), "{} tables for {} columns", table.len(), codes.columns());
    }
    // One query needs no tiles.
    let tile = if tables.len() == 1 { usize::MAX } else { (TILE / (64 * codes.columns().max(1))).next_multiple_of(B).max(B) };
    let laid: Vec<Vec<[u8; 256]>> = tables.iter().map(|tables| isa.run(Lay(tables))).collect();
    let mut at = blocks.start;
    while at < blocks.end {
        let end = blocks.end.min(at.saturating_add(tile));
        for (query, table) in laid.iter().enumerate() {
            isa.run(Scan::<_, T, B> { codes, blocks: at..end, query, table, allow, sink, sums: PhantomData });
        }
        at = end;
    }
}

struct Lay<'a>(&'a [[u8; 256]]);

impl WithSimd for Lay<'_> {
    type Out = Vec<[u8; 256]>;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<[u8; 256]> {
        let mut laid = Vec::with_capacity(self.0.len());
        for table in self.0 {
            laid.push(s.lay_256(table));
        }
        laid
    }
}

struct Scan<'a, K, T, const MOST: usize> {
    codes: &'a CodeBlocks,
    blocks: Range<usize>,
    query: usize,
    table: &'a [[u8; 256]],
    allow: Option<&'a [u64]>,
    sink: &'a mut K,
    sums: PhantomData<T>,
}

impl<T: Sum, K: Sink<T>, const MOST: usize> Scan<'_, K, T, MOST> {
    #[inline(always)]
    fn group<S: Simd, const B: usize>(&mut self, s: S, first: usize) {
        let wanted = wanted_of::<B>(self.codes.rows(), self.allow, first);
        if wanted == [0; B] {
            return;
        }
        let lines: [&[[u8; 64]]; B] = self.codes.some(first);
        let mut sums = [T::zero(s); B];
        for (j, table) in self.table.iter().enumerate() {
            for b in 0..B {
                sums[b] = T::add(s, sums[b], s.look_up_256(table, s.load_bytes(&lines[b][j])));
            }
        }
        offer_lanes::<S, T, K, B>(s, self.sink, self.query, first, wanted, sums);
    }
}

impl<T: Sum, K: Sink<T>, const MOST: usize> WithSimd for Scan<'_, K, T, MOST> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let mut at = self.blocks.start;
        if S::WIDE {
            while at + MOST <= self.blocks.end {
                self.group::<S, MOST>(s, at);
                at += MOST;
            }
        }
        while at + 2 <= self.blocks.end {
            self.group::<S, 2>(s, at);
            at += 2;
        }
        while at < self.blocks.end {
            self.group::<S, 1>(s, at);
            at += 1;
        }
    }
}
