//! `y += x W^T` over a [`Grid`]: a panel's codes are unpacked once in registers and used for up to eight tokens.
//!
//! A lane is a row. Per block of 32 columns and row: Fast adds `(scale * step) * sum(q x)` with an exact integer sum, Exact adds
//! `scale * sum(q x)` with two fused chains over even and odd columns; both then add `offset * sum(x)`. Scaled products and offsets have
//! an accumulator each. This order depends on the format alone, so tiers, batch sizes and thread counts give the same bits.

use crate::format::{BLOCK, Grid, PANEL, block_bytes, unpack};
use crate::prepared::{Block, Mode, Prepared};
use crate::simd::{Simd, WithSimd};
use ndarray::ArrayViewMut2;
use std::ops::Range;

/// Blocks whose statistics are decoded at a time, on the stack.
const CHUNK: usize = 16;

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

/// Scale and offset of each part of a chunk of blocks.
struct Stats {
    scale: [[f32; 16]; 2 * CHUNK],
    offset: [[f32; 16]; 2 * CHUNK],
}

/// Decodes each group once and repeats it for its parts.
struct DecodeStats<'a> {
    grid: &'a Grid,
    panel: usize,
    parts: Range<usize>,
    parts_per_group: usize,
    out: &'a mut Stats,
}

impl WithSimd for DecodeStats<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let last = self.grid.spec().groups() - 1;
        let (mut part, mut g) = (self.parts.start, self.parts.start / self.parts_per_group);
        while part < self.parts.end {
            // The padded half of the last block may lie behind the last group: its codes and inputs are 0.
            let (scale, offset) = self.grid.centred(s, self.panel, g.min(last));
            g += 1;
            let end = (g * self.parts_per_group).min(self.parts.end);
            for at in part - self.parts.start..end - self.parts.start {
                s.store(scale, &mut self.out.scale[at]);
                s.store(offset, &mut self.out.offset[at]);
            }
            part = end;
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
        let (spec, x, start) = (self.grid.spec(), self.x, self.panels.start);
        let token: [usize; T] = std::array::from_fn(|t| self.first + t.min(self.count - 1));
        let blocks: [&[Block]; T] = token.map(|t| if FAST { x.blocks(t) } else { &[] });
        let values: [&[[f32; BLOCK]]; T] = token.map(|t| x.padded_row(t).as_chunks().0);
        let sums: [&[[f32; 2]]; T] = token.map(|t| if FAST { &[] } else { x.sums(t).as_chunks().0 });
        let mut stats = Stats { scale: [[0.0; 16]; 2 * CHUNK], offset: [[0.0; 16]; 2 * CHUNK] };
        let parts_per_group = spec.group_size * PARTS / BLOCK;
        for panel in self.panels {
            let mut scaled = [s.splat(0.0); T];
            let mut offsets = [s.splat(0.0); T];
            for (chunk, codes) in self.grid.panel(panel).chunks(CHUNK * block_bytes(BITS)).enumerate() {
                let first = chunk * CHUNK;
                let parts = PARTS * first..PARTS * (first + codes.len() / block_bytes(BITS));
                x.isa().run(DecodeStats { grid: self.grid, panel, parts, parts_per_group, out: &mut stats });
                for (i, block) in codes.chunks_exact(block_bytes(BITS)).enumerate() {
                    let quads = unpack::<S, BITS>(s, block);
                    for part in 0..PARTS {
                        let at = (PARTS * i + part) % (2 * CHUNK);
                        let (scale, offset) = (s.load(&stats.scale[at]), s.load(&stats.offset[at]));
                        for t in 0..T {
                            if FAST {
                                let x = &blocks[t][first + i];
                                scaled[t] = fast::<S, BITS, PARTS>(s, &quads, part, x, scale, scaled[t]);
                                offsets[t] = s.mul_add(offset, s.splat(part_sum::<PARTS>(&x.sums, part)), offsets[t]);
                            } else {
                                scaled[t] = exact::<S, BITS, PARTS>(s, &quads, part, &values[t][first + i], scale, scaled[t]);
                                let sum = part_sum::<PARTS>(&sums[t][first + i], part);
                                offsets[t] = s.mul_add(offset, s.splat(sum), offsets[t]);
                            }
                        }
                    }
                }
            }
            let columns = (panel - start) * PANEL..((panel - start + 1) * PANEL).min(self.y.ncols());
            for t in 0..self.count {
                let mut sum = [0.0; 16];
                s.store(s.add(scaled[t], offsets[t]), &mut sum);
                let mut row = self.y.row_mut(self.first + t);
                let row = row.as_slice_mut().expect("callers give contiguous rows");
                row[columns.clone()].iter_mut().zip(sum).for_each(|(y, sum)| *y += sum);
            }
        }
    }
}

#[inline(always)]
fn part_sum<const PARTS: usize>(halves: &[f32; 2], part: usize) -> f32 {
    if PARTS == 1 { halves[0] + halves[1] } else { halves[part] }
}

/// `y + scale * step * dot`, with the dot product in integers.
#[inline(always)]
fn fast<S: Simd, const BITS: u32, const PARTS: usize>(s: S, quads: &[S::B; 8], part: usize, x: &Block, scale: S::F, y: S::F) -> S::F {
    let dot = match (PARTS, part) {
        (1, _) => s.dot::<BITS, 8>(quads, &x.codes, x.int_sums[0] + x.int_sums[1]),
        (_, 0) => s.dot::<BITS, 4>(&[quads[0], quads[1], quads[2], quads[3]], &x.codes[..16], x.int_sums[0]),
        _ => s.dot::<BITS, 4>(&[quads[4], quads[5], quads[6], quads[7]], &x.codes[16..], x.int_sums[1]),
    };
    s.mul_add(s.mul(scale, s.splat(x.step)), s.to_f32(dot), y)
}

/// `y + scale * dot`, with the dot product in two fused chains over even and odd columns.
#[inline(always)]
fn exact<S: Simd, const BITS: u32, const PARTS: usize>(
    s: S,
    quads: &[S::B; 8],
    part: usize,
    x: &[f32; BLOCK],
    scale: S::F,
    y: S::F,
) -> S::F {
    let (mut even, mut odd) = (s.splat(0.0), s.splat(0.0));
    macro_rules! quads {
        ($($q:literal)*) => { $(
            if PARTS == 1 || part == $q / 4 {
                even = s.mul_add(s.byte::<BITS, 0>(quads[$q]), s.splat(x[4 * $q]), even);
                odd = s.mul_add(s.byte::<BITS, 1>(quads[$q]), s.splat(x[4 * $q + 1]), odd);
                even = s.mul_add(s.byte::<BITS, 2>(quads[$q]), s.splat(x[4 * $q + 2]), even);
                odd = s.mul_add(s.byte::<BITS, 3>(quads[$q]), s.splat(x[4 * $q + 3]), odd);
            }
        )* };
    }
    quads!(0 1 2 3 4 5 6 7);
    s.mul_add(scale, s.add(even, odd), y)
}
