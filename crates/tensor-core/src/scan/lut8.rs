//! Sums of look-ups by 8-bit codes: a table of 256 bytes for every column.
//!
//! On AVX-512 a table is four registers, and eight blocks are summed for each time that it is loaded.

use super::{CodeBlocks, Sink, wanted};
use crate::isa::Isa;
use crate::simd::{Simd, WithSimd};
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
    tiles(codes, blocks, tables, 8, |blocks, query| isa.run(Narrow { codes, blocks, query, table: tables[query], allow, sink }));
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
    tiles(codes, blocks, tables, 4, |blocks, query| isa.run(Wide { codes, blocks, query, table: tables[query], allow, sink }));
}

fn tiles(codes: &CodeBlocks, blocks: Range<usize>, tables: &[&[[u8; 256]]], least: usize, mut scan: impl FnMut(Range<usize>, usize)) {
    assert!(blocks.end <= codes.blocks(), "blocks up to {} of {}", blocks.end, codes.blocks());
    for table in tables {
        assert!(table.len() == codes.columns(), "{} tables for {} columns", table.len(), codes.columns());
    }
    // One query needs no tiles.
    let tile = if tables.len() == 1 { usize::MAX } else { (TILE / (64 * codes.columns().max(1))).next_multiple_of(least).max(least) };
    let mut at = blocks.start;
    while at < blocks.end {
        let end = blocks.end.min(at.saturating_add(tile));
        (0..tables.len()).for_each(|query| scan(at..end, query));
        at = end;
    }
}

struct Narrow<'a, K> {
    codes: &'a CodeBlocks,
    blocks: Range<usize>,
    query: usize,
    table: &'a [[u8; 256]],
    allow: Option<&'a [u64]>,
    sink: &'a mut K,
}

impl<K: Sink<u8>> Narrow<'_, K> {
    #[inline(always)]
    fn group<S: Simd, const B: usize>(&mut self, s: S, first: usize) {
        let wanted: [u64; B] = std::array::from_fn(|b| wanted(self.codes.rows(), self.allow, first + b));
        if wanted == [0; B] {
            return;
        }
        let lines: [&[[u8; 64]]; B] = std::array::from_fn(|b| &self.codes.block(first + b)[..self.table.len()]);
        let mut sums = [s.splat_byte(0); B];
        for (j, table) in self.table.iter().enumerate() {
            for b in 0..B {
                sums[b] = s.adds_u8(sums[b], s.look_up_256(table, s.load_bytes(&lines[b][j])));
            }
        }
        for b in 0..B {
            let mask = wanted[b] & s.at_most_u8(sums[b], self.sink.threshold(self.query, first + b));
            if mask != 0 {
                let mut out = [0; 64];
                s.store_bytes(sums[b], &mut out);
                self.sink.block(self.query, first + b, mask, &out);
            }
        }
    }
}

impl<K: Sink<u8>> WithSimd for Narrow<'_, K> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let mut at = self.blocks.start;
        if S::WIDE {
            while at + 8 <= self.blocks.end {
                self.group::<S, 8>(s, at);
                at += 8;
            }
        }
        while at < self.blocks.end {
            self.group::<S, 1>(s, at);
            at += 1;
        }
    }
}

struct Wide<'a, K> {
    codes: &'a CodeBlocks,
    blocks: Range<usize>,
    query: usize,
    table: &'a [[u8; 256]],
    allow: Option<&'a [u64]>,
    sink: &'a mut K,
}

impl<K: Sink<u16>> Wide<'_, K> {
    #[inline(always)]
    fn group<S: Simd, const B: usize>(&mut self, s: S, first: usize) {
        let wanted: [u64; B] = std::array::from_fn(|b| wanted(self.codes.rows(), self.allow, first + b));
        if wanted == [0; B] {
            return;
        }
        let lines: [&[[u8; 64]]; B] = std::array::from_fn(|b| &self.codes.block(first + b)[..self.table.len()]);
        let low = s.load_bytes(&super::lut4::LOW_BYTES);
        let (mut even, mut odd) = ([s.splat_byte(0); B], [s.splat_byte(0); B]);
        for (j, table) in self.table.iter().enumerate() {
            for b in 0..B {
                let found = s.look_up_256(table, s.load_bytes(&lines[b][j]));
                even[b] = s.adds_u16(even[b], s.and(found, low));
                odd[b] = s.adds_u16(odd[b], s.and(s.shr::<8>(found), low));
            }
        }
        for b in 0..B {
            let mask = wanted[b] & s.at_most_u16(even[b], odd[b], self.sink.threshold(self.query, first + b));
            if mask != 0 {
                let mut out = [0; 64];
                s.store_u16(even[b], odd[b], &mut out);
                self.sink.block(self.query, first + b, mask, &out);
            }
        }
    }
}

impl<K: Sink<u16>> WithSimd for Wide<'_, K> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let mut at = self.blocks.start;
        if S::WIDE {
            while at + 4 <= self.blocks.end {
                self.group::<S, 4>(s, at);
                at += 4;
            }
        }
        while at < self.blocks.end {
            self.group::<S, 1>(s, at);
            at += 1;
        }
    }
}
