//! Distances between words of bits.

use super::{Sink, offer, wanted};
use crate::isa::Isa;
use crate::simd::{Simd, WithSimd};
use std::ops::Range;

/// Scans Hamming distances: how many bits of a vector differ from the query's.
///
/// `codes` is `[rows / 8][words][8 vectors]`, in whole blocks of 64 rows.
///
/// # Panics
/// Unless all queries have the same number of words, not 0, and `codes` holds blocks of 64 rows of it up to `blocks.end`.
pub fn hamming<K: Sink<i32>>(
    isa: Isa,
    codes: &[u64],
    rows: usize,
    blocks: Range<usize>,
    queries: &[&[u64]],
    allow: Option<&[u64]>,
    sink: &mut K,
) {
    let Some(words) = queries.first().map(|q| q.len()) else { return };
    assert!(words > 0 && queries.iter().all(|q| q.len() == words), "queries of {words} words: want one length");
    assert!(blocks.end <= codes.len() / (64 * words), "blocks up to {} of {}", blocks.end, codes.len() / (64 * words));
    isa.run(Hamming { codes, rows, blocks, queries, allow, sink });
}

struct Hamming<'a, K> {
    codes: &'a [u64],
    rows: usize,
    blocks: Range<usize>,
    queries: &'a [&'a [u64]],
    allow: Option<&'a [u64]>,
    sink: &'a mut K,
}

impl<K: Sink<i32>> WithSimd for Hamming<'_, K> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for block in self.blocks {
            let wanted = wanted(self.rows, self.allow, block);
            if wanted == 0 {
                continue;
            }
            for (query, x) in self.queries.iter().enumerate() {
                let mut sums = [0; 64];
                let groups = self.codes[64 * block * x.len()..][..64 * x.len()].as_chunks::<8>().0;
                for (sums, group) in sums.as_chunks_mut::<8>().0.iter_mut().zip(groups.chunks_exact(x.len())) {
                    // Written for the compiler: it counts in vectors wherever the tier can.
                    let mut counts = [0u64; 8];
                    for (codes, x) in group.iter().zip(*x) {
                        for i in 0..8 {
                            counts[i] += u64::from((codes[i] ^ x).count_ones());
                        }
                    }
                    for i in 0..8 {
                        sums[i] = counts[i] as i32;
                    }
                }
                offer(s, self.sink, query, block, wanted, &sums);
            }
        }
    }
}
