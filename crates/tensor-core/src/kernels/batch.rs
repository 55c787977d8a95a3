//! Fast products of a grid or palette with eight tokens at a time: prompts and batches.
//!
//! The tokens' blocks lie side by side, so that a panel's codes are unpacked once for all of them, and of a token there are only its integer
//! dots, a conversion and a fused step in the inner loop. What the offsets add needs the inputs' sums alone and follows after each chunk of
//! groups. Every f32 operation is the one of [`super::grid`] in the same order: eight tokens and one give the same bits.

use super::grid::{CHUNK, Form, Source};
use crate::format::{BLOCK, Offset, PANEL, block_bytes, values};
use crate::prepared::{BATCH, Batch, Minus};
use crate::simd::{Simd, WithSimd};
use ndarray::ArrayViewMut2;
use std::ops::Range;

/// A loop over the tokens, written out: accumulators of a loop that is not unrolled would live in memory.
macro_rules! each_token {
    (|$t:ident| $body:block) => { each_token!($t, $body, 0 1 2 3 4 5 6 7) };
    ($t:ident, $body:block, $($i:literal)*) => { $({
        let $t: usize = $i;
        $body
    })* };
}

/// A range of panels times a batch, of which the first `count` tokens are added to `y` from token `first` on.
pub(super) struct Panels<'a, 'y, const BITS: u32, const VALUE_BITS: u32, const PARTS: usize> {
    pub(super) form: Form<'a>,
    pub(super) batch: &'a [Batch],
    pub(super) panels: Range<usize>,
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) y: &'a mut ArrayViewMut2<'y, f32>,
}

impl<const BITS: u32, const VALUE_BITS: u32, const PARTS: usize> WithSimd for Panels<'_, '_, BITS, VALUE_BITS, PARTS> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if !S::BATCHES {
            return; // never called: nothing to compile
        }
        let (grid, start) = (self.form.grid, self.panels.start);
        let table = s.table(&self.form.table);
        let (all, centre) = (grid.spec().groups(), s.splat((1u32 << (BITS - 1)) as f32));
        let mut scales = Source::new(grid.scale(), all);
        let (mut offsets_from, is_zero) = match grid.offset() {
            Offset::Symmetric => (None, false),
            Offset::Zero(stat) => (Some(Source::new(stat, all)), true),
            Offset::Min(stat) => (Some(Source::new(stat, all)), false),
        };
        let parts_per_group = grid.spec().group_size * PARTS / BLOCK;
        let blocks_per_chunk = CHUNK * parts_per_group / PARTS;
        // Per group of a chunk, what its offset multiplies.
        let mut sums = [[0.0; BATCH]; CHUNK];
        for panel in self.panels {
            let mut scaled = [s.splat(0.0); BATCH];
            let mut offsets = [[0.0; PANEL]; BATCH];
            let chunks = grid.panel(panel).chunks(blocks_per_chunk * block_bytes(BITS)).zip(self.batch.chunks(blocks_per_chunk));
            for (chunk, (codes, inputs)) in chunks.enumerate() {
                let open = chunk * CHUNK..((chunk + 1) * CHUNK).min(all);
                // The padded half of the last block may lie behind the last group: its codes and inputs are 0.
                let last = open.len() - 1;
                let scales = scales.open(s, panel, open.clone());
                // Of the open group: its number, parts to come, sum of products.
                let (mut g, mut left) = (0, parts_per_group);
                let mut products = [s.splat(0.0); BATCH];
                macro_rules! close_group {
                    () => {
                        let scale = scales.load(s, g.min(last));
                        each_token!(|t| {
                            scaled[t] = s.mul_add(scale, products[t], scaled[t]);
                            products[t] = s.splat(0.0);
                        });
                        (g, left) = (g + 1, parts_per_group);
                    };
                }
                for (block, x) in codes.chunks_exact(block_bytes(BITS)).zip(inputs) {
                    let quads = values::<S, BITS, VALUE_BITS>(s, table, block);
                    for part in 0..PARTS {
                        let dots = dots::<S, VALUE_BITS, PARTS>(s, &quads, part, x);
                        each_token!(|t| { products[t] = s.mul_add(dots[t], s.splat(x.step[t]), products[t]) });
                        if offsets_from.is_some() {
                            let more = if PARTS == 1 { &x.sum } else { &x.sums[part] };
                            sums[g.min(last)].iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                        }
                        left -= 1;
                        if left == 0 {
                            close_group!();
                        }
                    }
                }
                if left < parts_per_group {
                    close_group!();
                }
                let _ = (g, left, products); // the last group leaves them ready for another
                if let Some(source) = &mut offsets_from {
                    let stats = source.open(s, panel, open.clone());
                    let mut sum = offsets.map(|_| s.splat(0.0));
                    each_token!(|t| { sum[t] = s.load(&offsets[t]) });
                    for (g, sums) in sums.iter().enumerate().take(open.len()) {
                        // For codes from which the centre has been subtracted.
                        let stat = stats.load(s, g);
                        let offset = if is_zero {
                            s.mul(scales.load(s, g), s.sub(centre, stat))
                        } else {
                            s.mul_add(scales.load(s, g), centre, stat)
                        };
                        each_token!(|t| { sum[t] = s.mul_add(offset, s.splat(sums[t]), sum[t]) });
                    }
                    each_token!(|t| { s.store(sum[t], &mut offsets[t]) });
                    sums = [[0.0; BATCH]; CHUNK];
                }
            }
            let columns = (panel - start) * PANEL..((panel - start + 1) * PANEL).min(self.y.ncols());
            each_token!(|t| {
                if t < self.count {
                    let mut sum = [0.0; PANEL];
                    s.store(s.add(scaled[t], s.load(&offsets[t])), &mut sum);
                    let mut row = self.y.row_mut(self.first + t);
                    let row = row.as_slice_mut().expect("callers give contiguous rows");
                    row[columns.clone()].iter_mut().zip(sum).for_each(|(y, sum)| *y += sum);
                }
            });
        }
    }
}

/// The dot products of the tokens with a part of a block, in integers.
#[inline(always)]
fn dots<S: Simd, const BITS: u32, const PARTS: usize>(s: S, quads: &[S::B; 8], part: usize, x: &Batch) -> [S::F; BATCH] {
    let [a, b, c, d, e, f, g, h] = *quads;
    let Minus { float, times_128 } = if PARTS == 1 { &x.minus } else { &x.minus_halves[part] };
    match (PARTS, part) {
        (1, _) => s.dots::<BITS, 8, 0>(quads, &x.codes, times_128, float),
        (_, 0) => s.dots::<BITS, 4, 0>(&[a, b, c, d], &x.codes, times_128, float),
        _ => s.dots::<BITS, 4, 16>(&[e, f, g, h], &x.codes, times_128, float),
    }
}
