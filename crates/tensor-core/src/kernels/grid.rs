//! `y += x W^T` over a [`Grid`]: a panel's codes are unpacked once in registers and used for up to eight tokens.
//!
//! A lane is a row. Per block of 32 columns and row: Fast adds `(scale * step) * sum(q x)` with an exact integer sum, Exact adds
//! `scale * sum(q x)` with two fused chains over even and odd columns; both then add `offset * sum(x)`. Scaled products and offsets have
//! an accumulator each. This order depends on the format alone, so tiers, batch sizes and thread counts give the same bits.

use crate::format::{BLOCK, Grid, PANEL, block_bytes, unpack};
use crate::prepared::{Mode, Prepared};
use crate::simd::{Simd, WithSimd};
use ndarray::ArrayViewMut2;
use std::ops::Range;

/// Groups whose statistics are decoded at a time, on the stack.
const CHUNK: usize = 32;

/// `y[.., rows] += x W[rows]^T`; `rows` starts at a panel, `y` is `[tokens, rows.len()]` with contiguous rows.
pub(crate) fn accumulate(grid: &Grid, x: &Prepared, rows: Range<usize>, y: &mut ArrayViewMut2<'_, f32>) {
    let panels = rows.start / PANEL..rows.end.div_ceil(PANEL);
    let whole = grid.spec().group_size.is_multiple_of(BLOCK);
    macro_rules! run {
        ($bits:literal) => {
            match (x.mode(), whole) {
                (Mode::Fast, true) => tokens::<$bits, 1, true, 8>(grid, x, panels, y),
                (Mode::Fast, false) => tokens::<$bits, 2, true, 8>(grid, x, panels, y),
                (Mode::Exact, true) => tokens::<$bits, 1, false, 4>(grid, x, panels, y),
                (Mode::Exact, false) => tokens::<$bits, 2, false, 4>(grid, x, panels, y),
            }
        };
    }
    match grid.spec().bits {
        1 => run!(1),
        2 => run!(2),
        3 => run!(3),
        4 => run!(4),
        5 => run!(5),
        6 => run!(6),
        7 => run!(7),
        _ => run!(8),
    }
}

/// Tokens in batches of `T`; one or two left over go alone, more fill a batch whose spare places repeat the last token.
fn tokens<const BITS: u32, const PARTS: usize, const FAST: bool, const T: usize>(
    grid: &Grid,
    x: &Prepared,
    panels: Range<usize>,
    y: &mut ArrayViewMut2<'_, f32>,
) {
    let mut first = 0;
    while first < x.tokens() {
        let count = (x.tokens() - first).min(T);
        if count <= 2 {
            for token in first..first + count {
                x.isa().run(Panels::<'_, '_, BITS, PARTS, FAST, 1> { grid, x, panels: panels.clone(), first: token, count: 1, y });
            }
        } else {
            x.isa().run(Panels::<'_, '_, BITS, PARTS, FAST, T> { grid, x, panels: panels.clone(), first, count, y });
        }
        first += count;
    }
}

/// Scale and offset of a chunk of groups.
struct Stats {
    scale: [[f32; 16]; CHUNK],
    offset: [[f32; 16]; CHUNK],
}

struct DecodeStats<'a> {
    grid: &'a Grid,
    panel: usize,
    groups: Range<usize>,
    out: &'a mut Stats,
}

impl WithSimd for DecodeStats<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for ((g, scale), offset) in self.groups.zip(&mut self.out.scale).zip(&mut self.out.offset) {
            let (a, b) = self.grid.centred(s, self.panel, g);
            s.store(a, scale);
            s.store(b, offset);
        }
    }
}

/// A range of panels times `T` tokens; a block is cut into `PARTS` parts where groups are no whole blocks.
struct Panels<'a, 'y, const BITS: u32, const PARTS: usize, const FAST: bool, const T: usize> {
    grid: &'a Grid,
    x: &'a Prepared,
    panels: Range<usize>,
    first: usize,
    count: usize,
    y: &'a mut ArrayViewMut2<'y, f32>,
}

impl<const BITS: u32, const PARTS: usize, const FAST: bool, const T: usize> WithSimd for Panels<'_, '_, BITS, PARTS, FAST, T> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (spec, x) = (self.grid.spec(), self.x);
        let (blocks, groups, start) = (spec.blocks(), spec.groups(), self.panels.start);
        let token: [usize; T] = std::array::from_fn(|t| self.first + t.min(self.count - 1));
        let values = token.map(|t| x.padded_row(t).as_chunks::<BLOCK>().0);
        let sums = token.map(|t| x.sums(t).as_chunks::<2>().0);
        let fast = FAST.then(|| {
            let codes = token.map(|t| x.codes(t).as_chunks::<BLOCK>().0);
            (codes, token.map(|t| x.int_sums(t).as_chunks::<2>().0), token.map(|t| x.step(t)))
        });
        let mut stats = Stats { scale: [[0.0; 16]; CHUNK], offset: [[0.0; 16]; CHUNK] };
        let parts_per_group = spec.group_size / (BLOCK / PARTS);
        for panel in self.panels {
            let codes = self.grid.panel(panel);
            let mut scaled = [s.splat(0.0); T];
            let mut offsets = [s.splat(0.0); T];
            let mut decoded = 0..0;
            // Counters instead of a division: the group of this part, and the parts left in it.
            let (mut g, mut left) = (0, parts_per_group);
            for (b, block) in codes.chunks_exact(block_bytes(BITS)).enumerate().take(blocks) {
                let quads = unpack::<S, BITS>(s, block);
                for part in 0..PARTS {
                    if left == 0 {
                        (g, left) = (g + 1, parts_per_group);
                    }
                    left -= 1;
                    if g >= groups {
                        break; // the padded half of the last block
                    }
                    if g >= decoded.end {
                        decoded = g..(g + CHUNK).min(groups);
                        x.isa().run(DecodeStats { grid: self.grid, panel, groups: decoded.clone(), out: &mut stats });
                    }
                    let at = (g - decoded.start) % CHUNK;
                    let (scale, offset) = (s.load(&stats.scale[at]), s.load(&stats.offset[at]));
                    for t in 0..T {
                        let sum = if PARTS == 1 { sums[t][b][0] + sums[t][b][1] } else { sums[t][b][part] };
                        if let Some((codes, int_sums, step)) = &fast {
                            let (codes, int_sums) = (&codes[t][b], &int_sums[t][b]);
                            let dot = if PARTS == 1 {
                                s.dot::<BITS, 8>(&quads, codes, int_sums[0] + int_sums[1])
                            } else {
                                let half = std::array::from_fn::<_, 4, _>(|q| quads[4 * part + q]);
                                s.dot::<BITS, 4>(&half, &codes[16 * part..16 * part + 16], int_sums[part])
                            };
                            let scale = s.mul(scale, s.splat(step[t][b]));
                            scaled[t] = s.mul_add(scale, s.to_f32(dot), scaled[t]);
                        } else {
                            let x = &values[t][b];
                            let mut chains = [s.splat(0.0); 2];
                            for q in 8 / PARTS * part..8 / PARTS * (part + 1) {
                                chains[0] = s.mul_add(s.byte::<BITS, 0>(quads[q]), s.splat(x[4 * q]), chains[0]);
                                chains[1] = s.mul_add(s.byte::<BITS, 1>(quads[q]), s.splat(x[4 * q + 1]), chains[1]);
                                chains[0] = s.mul_add(s.byte::<BITS, 2>(quads[q]), s.splat(x[4 * q + 2]), chains[0]);
                                chains[1] = s.mul_add(s.byte::<BITS, 3>(quads[q]), s.splat(x[4 * q + 3]), chains[1]);
                            }
                            scaled[t] = s.mul_add(scale, s.add(chains[0], chains[1]), scaled[t]);
                        }
                        offsets[t] = s.mul_add(offset, s.splat(sum), offsets[t]);
                    }
                }
            }
            let columns = (panel - start) * PANEL..((panel - start + 1) * PANEL).min(self.y.ncols());
            for t in 0..self.count {
                let mut sum = [0.0; 16];
                s.store(s.add(scaled[t], offsets[t]), &mut sum);
                let mut row = self.y.row_mut(self.first + t);
                for (y, sum) in row.as_slice_mut().expect("the door checks that rows are contiguous")[columns.clone()].iter_mut().zip(sum) {
                    *y += sum;
                }
            }
        }
    }
}
