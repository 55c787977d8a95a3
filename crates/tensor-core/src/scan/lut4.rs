//! Sums of look-ups by 4-bit codes, two in a byte: a pair of tables of 16 bytes for every column, low nibble first.
//!
//! The nibbles of a block are taken apart once for four queries, and a table is loaded once for four blocks.

use super::sum::Sum;
use super::{CodeBlocks, Sink, offer_lanes, wanted_of};
use crate::isa::Isa;
use crate::simd::{Simd, WithSimd};
use std::marker::PhantomData;
use std::ops::Range;

/// The two tables of a column.
pub type Pair = [[u8; 16]; 2];

/// Scans with sums that stop at 255. `tables[query][column]`; blocks whose word in `allow` is 0, or not there, are left out.
///
/// # Panics
/// Unless every query has a pair of tables for every column, and the blocks are there.
pub fn scan_u8<K: Sink<u8>>(isa: Isa, codes: &CodeBlocks, blocks: Range<usize>, tables: &[&[Pair]], allow: Option<&[u64]>, sink: &mut K) {
    scan::<u8, K, 4, 4, 4>(isa, codes, blocks, tables, allow, sink);
}

/// The same with sums of 16 bits, which must not be exceeded; 257 tables cannot.
///
/// # Panics
/// As [`scan_u8`].
pub fn scan_u16<K: Sink<u16>>(isa: Isa, codes: &CodeBlocks, blocks: Range<usize>, tables: &[&[Pair]], allow: Option<&[u64]>, sink: &mut K) {
    scan::<u16, K, 4, 2, 2>(isa, codes, blocks, tables, allow, sink);
}

/// `Q` queries and `B` blocks at a time where there are registers, else `N` queries and one block.
fn scan<T: Sum, K: Sink<T>, const Q: usize, const B: usize, const N: usize>(
    isa: Isa,
    codes: &CodeBlocks,
    blocks: Range<usize>,
    tables: &[&[Pair]],
    allow: Option<&[u64]>,
    sink: &mut K,
) {
    assert!(blocks.end <= codes.blocks(), "blocks up to {} of {}", blocks.end, codes.blocks());
    for table in tables {
        assert!(table.len() == codes.columns(), "{} pairs of tables for {} columns", table.len(), codes.columns());
    }
    isa.run(Scan::<_, T, Q, B, N> { codes, blocks, tables, allow, sink, sums: PhantomData });
}

struct Scan<'a, K, T, const QUERIES: usize, const BLOCKS: usize, const NARROW: usize> {
    codes: &'a CodeBlocks,
    blocks: Range<usize>,
    tables: &'a [&'a [Pair]],
    allow: Option<&'a [u64]>,
    sink: &'a mut K,
    sums: PhantomData<T>,
}

impl<T: Sum, K: Sink<T>, const QUERIES: usize, const BLOCKS: usize, const NARROW: usize> Scan<'_, K, T, QUERIES, BLOCKS, NARROW> {
    #[inline(always)]
    fn group<S: Simd, const Q: usize, const B: usize>(&mut self, s: S, query: usize, first: usize) {
        let wanted = wanted_of::<B>(self.codes.rows(), self.allow, first);
        if wanted == [0; B] {
            return;
        }
        let columns = self.codes.columns();
        let lines: [&[[u8; 64]]; B] = self.codes.some(first);
        let mut tables: [&[Pair]; Q] = [&[]; Q];
        for (own, table) in tables.iter_mut().zip(&self.tables[query..query + Q]) {
            *own = &table[..columns];
        }
        // Lines that the first query's turn at these blocks asks for: two streams at once are more than the hardware sees coming.
        let ahead = self.codes.ahead(first + 2 * B, if query == 0 { B } else { 0 });
        let nibble = s.splat_byte(15);
        let mut sums = [[T::zero(s); B]; Q];
        for j in 0..columns {
            let mut at = [[nibble; 2]; B];
            for b in 0..B {
                let code = s.load_bytes(&lines[b][j]);
                if let Some(line) = ahead.get(B * j + b) {
                    s.prefetch(line);
                }
                at[b] = [s.and(code, nibble), s.and(s.shr::<4>(code), nibble)];
            }
            for q in 0..Q {
                for half in 0..2 {
                    let table = s.table(&tables[q][j][half]);
                    for b in 0..B {
                        sums[q][b] = T::add(s, sums[q][b], s.look_up(table, at[b][half]));
                    }
                }
            }
        }
        for (q, sums) in sums.into_iter().enumerate() {
            offer_lanes::<S, T, K, B>(s, self.sink, query + q, first, wanted, sums);
        }
    }

    #[inline(always)]
    fn queries<S: Simd, const Q: usize, const B: usize>(&mut self, s: S, at: usize) {
        let mut query = 0;
        while query + Q <= self.tables.len() {
            self.group::<S, Q, B>(s, query, at);
            query += Q;
        }
        while query < self.tables.len() {
            self.group::<S, 1, B>(s, query, at);
            query += 1;
        }
    }
}

impl<T: Sum, K: Sink<T>, const QUERIES: usize, const BLOCKS: usize, const NARROW: usize> WithSimd
    for Scan<'_, K, T, QUERIES, BLOCKS, NARROW>
{
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let mut at = self.blocks.start;
        if S::WIDE {
            while at + BLOCKS <= self.blocks.end {
                self.queries::<S, QUERIES, BLOCKS>(s, at);
                at += BLOCKS;
            }
        }
        // One query alone leaves registers for a second block, which shares its tables.
        while self.tables.len() == 1 && at + 2 <= self.blocks.end {
            self.group::<S, 1, 2>(s, 0, at);
            at += 2;
        }
        while at < self.blocks.end {
            self.queries::<S, NARROW, 1>(s, at);
            at += 1;
        }
    }
}
