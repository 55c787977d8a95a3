//! Products of byte codes with the signed digits of queries.

use super::{Sink, offer, wanted};
use crate::isa::Isa;
use crate::simd::{Simd, WithSimd};
use std::ops::Range;

/// Scans products: the sum over `i` of `code[i] * query[i]`, exactly.
///
/// `codes` is `[rows / 16][d / 4][16 vectors][4]`, in whole blocks of 64 rows, `d` a multiple of 4; queries hold `d` digits in -63..=63.
///
/// # Panics
/// Unless all queries have the same length, a multiple of 4 and not 0, and `codes` holds blocks of 64 rows of it up to `blocks.end`.
pub fn dot<K: Sink<i32>>(
    isa: Isa,
    codes: &[u8],
    rows: usize,
    blocks: Range<usize>,
    queries: &[&[i8]],
    allow: Option<&[u64]>,
    sink: &mut K,
) {
    let Some(d) = queries.first().map(|q| q.len()) else { return };
    assert!(d > 0 && d % 4 == 0 && queries.iter().all(|q| q.len() == d), "queries of {d} digits: want one length, a multiple of 4");
    assert!(blocks.end <= codes.len() / (64 * d), "blocks up to {} of {}", blocks.end, codes.len() / (64 * d));
    isa.run(Dot { codes, d, rows, blocks, queries, allow, sink });
}

/// Lines that are asked for ahead of the first query: left to itself, the hardware follows too late (lists in memory came at a tenth of its speed).
const AHEAD: usize = 48;

struct Dot<'a, K> {
    codes: &'a [u8],
    d: usize,
    rows: usize,
    blocks: Range<usize>,
    queries: &'a [&'a [i8]],
    allow: Option<&'a [u64]>,
    sink: &'a mut K,
}

impl<K: Sink<i32>> Dot<'_, K> {
    #[inline(always)]
    fn group<S: Simd, const Q: usize>(&mut self, s: S, query: usize, block: usize, wanted: u64) {
        let mut sums = [[0; 64]; Q];
        let x: [&[i8]; Q] = std::array::from_fn(|q| self.queries[query + q]);
        for panel in 0..4 {
            let rest = &self.codes[(4 * block + panel) * 16 * self.d..];
            let quads = rest[..16 * self.d].as_chunks::<64>().0;
            let ahead = if query == 0 { rest.as_chunks::<64>().0.get(AHEAD..).unwrap_or_default() } else { &[] };
            let mut acc = [s.splat_i32(0); Q];
            let (fours, rest) = quads.as_chunks::<4>();
            for (i, four) in fours.iter().enumerate() {
                let mut codes = [s.splat_byte(0); 4];
                for c in 0..4 {
                    codes[c] = s.load_bytes(&four[c]);
                    if let Some(line) = ahead.get(4 * i + c) {
                        s.prefetch(line);
                    }
                }
                for q in 0..Q {
                    acc[q] = s.add_i32(acc[q], s.dot_bytes(&codes, &x[q][16 * i..16 * i + 16]));
                }
            }
            for (r, quad) in rest.iter().enumerate() {
                let codes = [s.load_bytes(quad)];
                for q in 0..Q {
                    acc[q] = s.add_i32(acc[q], s.dot_bytes(&codes, &x[q][16 * fours.len() + 4 * r..][..4]));
                }
            }
            for q in 0..Q {
                s.store_i32(acc[q], &mut sums[q].as_chunks_mut::<16>().0[panel]);
            }
        }
        for (q, sums) in sums.iter().enumerate() {
            offer(s, self.sink, query + q, block, wanted, sums);
        }
    }
}

impl<K: Sink<i32>> WithSimd for Dot<'_, K> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        for block in self.blocks.clone() {
            let wanted = wanted(self.rows, self.allow, block);
            if wanted == 0 {
                continue;
            }
            let mut query = 0;
            while query + 4 <= self.queries.len() {
                self.group::<S, 4>(s, query, block, wanted);
                query += 4;
            }
            while query < self.queries.len() {
                self.group::<S, 1>(s, query, block, wanted);
                query += 1;
            }
        }
    }
}
