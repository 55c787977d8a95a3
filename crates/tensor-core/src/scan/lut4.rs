//! Sums of look-ups by 4-bit codes, two in a byte: a pair of tables of 16 bytes for every column, low nibble first.
//!
//! The nibbles of a block are taken apart once for four queries, and a table is loaded once for four blocks.

use super::{CodeBlocks, Sink, wanted};
use crate::isa::Isa;
use crate::simd::{Simd, WithSimd};
use std::ops::Range;

/// The low byte of each 16-bit lane.
pub(super) const LOW_BYTES: [u8; 64] = {
    let mut mask = [0; 64];
    let mut i = 0;
    while i < 64 {
        mask[i] = 0xFF;
        i += 2;
    }
    mask
};

/// The two tables of a column.
pub type Pair = [[u8; 16]; 2];

/// Scans with sums that stop at 255. `tables[query][column]`; blocks whose word in `allow` is 0, or not there, are left out.
///
/// # Panics
/// Unless every query has a pair of tables for every column, and the blocks are there.
pub fn scan_u8<K: Sink<u8>>(isa: Isa, codes: &CodeBlocks, blocks: Range<usize>, tables: &[&[Pair]], allow: Option<&[u64]>, sink: &mut K) {
    check(codes, &blocks, tables);
    isa.run(Scan::<_, false> { codes, blocks, tables, allow, sink });
}

/// The same with sums that stop at 65,535.
///
/// # Panics
/// As [`scan_u8`].
pub fn scan_u16<K: Sink<u16>>(isa: Isa, codes: &CodeBlocks, blocks: Range<usize>, tables: &[&[Pair]], allow: Option<&[u64]>, sink: &mut K) {
    check(codes, &blocks, tables);
    isa.run(Scan::<_, true> { codes, blocks, tables, allow, sink });
}

fn check(codes: &CodeBlocks, blocks: &Range<usize>, tables: &[&[Pair]]) {
    assert!(blocks.end <= codes.blocks(), "blocks up to {} of {}", blocks.end, codes.blocks());
    for table in tables {
        assert!(table.len() == codes.columns(), "{} pairs of tables for {} columns", table.len(), codes.columns());
    }
}

struct Scan<'a, K, const U16: bool> {
    codes: &'a CodeBlocks,
    blocks: Range<usize>,
    tables: &'a [&'a [Pair]],
    allow: Option<&'a [u64]>,
    sink: &'a mut K,
}

impl<K, const U16: bool> Scan<'_, K, U16> {
    #[inline(always)]
    fn wanted<const B: usize>(&self, first: usize) -> [u64; B] {
        std::array::from_fn(|b| wanted(self.codes.rows(), self.allow, first + b))
    }
}

impl<K: Sink<u8>> Scan<'_, K, false> {
    #[inline(always)]
    fn group<S: Simd, const Q: usize, const B: usize>(&mut self, s: S, query: usize, first: usize) {
        let wanted = self.wanted::<B>(first);
        if wanted == [0; B] {
            return;
        }
        let columns = self.codes.columns();
        let lines: [&[[u8; 64]]; B] = std::array::from_fn(|b| &self.codes.block(first + b)[..columns]);
        let tables: [&[Pair]; Q] = std::array::from_fn(|q| &self.tables[query + q][..columns]);
        let nibble = s.splat_byte(15);
        let mut sums = [[s.splat_byte(0); B]; Q];
        for j in 0..columns {
            let mut at = [[s.splat_byte(0); 2]; B];
            for b in 0..B {
                let code = s.load_bytes(&lines[b][j]);
                at[b] = [s.and(code, nibble), s.and(s.shr::<4>(code), nibble)];
            }
            for q in 0..Q {
                for half in 0..2 {
                    let table = s.table(&tables[q][j][half]);
                    for b in 0..B {
                        sums[q][b] = s.adds_u8(sums[q][b], s.look_up(table, at[b][half]));
                    }
                }
            }
        }
        for (q, sums) in sums.into_iter().enumerate() {
            for b in 0..B {
                let mask = wanted[b] & s.at_most_u8(sums[b], self.sink.threshold(query + q, first + b));
                if mask != 0 {
                    let mut out = [0; 64];
                    s.store_bytes(sums[b], &mut out);
                    self.sink.block(query + q, first + b, mask, &out);
                }
            }
        }
    }

    #[inline(always)]
    fn queries<S: Simd, const FOUR: usize, const B: usize>(&mut self, s: S, at: usize) {
        let mut query = 0;
        while query + FOUR <= self.tables.len() {
            self.group::<S, FOUR, B>(s, query, at);
            query += FOUR;
        }
        while query < self.tables.len() {
            self.group::<S, 1, B>(s, query, at);
            query += 1;
        }
    }
}

impl<K: Sink<u8>> WithSimd for Scan<'_, K, false> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let mut at = self.blocks.start;
        if S::WIDE {
            while at + 4 <= self.blocks.end {
                self.queries::<S, 4, 4>(s, at);
                at += 4;
            }
        }
        while at < self.blocks.end {
            self.queries::<S, 2, 1>(s, at);
            at += 1;
        }
    }
}

impl<K: Sink<u16>> WithSimd for Scan<'_, K, true> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let nibble = s.splat_byte(15);
        let low = s.load_bytes(&LOW_BYTES);
        for block in self.blocks.clone() {
            let [wanted] = self.wanted::<1>(block);
            if wanted == 0 {
                continue;
            }
            for (query, table) in self.tables.iter().enumerate() {
                let (mut even, mut odd) = ([s.splat_byte(0); 2], [s.splat_byte(0); 2]);
                for (line, table) in self.codes.block(block).iter().zip(*table) {
                    let code = s.load_bytes(line);
                    let at = [s.and(code, nibble), s.and(s.shr::<4>(code), nibble)];
                    for half in 0..2 {
                        let found = s.look_up(s.table(&table[half]), at[half]);
                        even[half] = s.adds_u16(even[half], s.and(found, low));
                        odd[half] = s.adds_u16(odd[half], s.and(s.shr::<8>(found), low));
                    }
                }
                let (even, odd) = (s.adds_u16(even[0], even[1]), s.adds_u16(odd[0], odd[1]));
                let mask = wanted & s.at_most_u16(even, odd, self.sink.threshold(query, block));
                if mask != 0 {
                    let mut out = [0; 64];
                    s.store_u16(even, odd, &mut out);
                    self.sink.block(query, block, mask, &out);
                }
            }
        }
    }
}
