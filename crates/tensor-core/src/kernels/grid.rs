//! `y += x W^T` over a [`Grid`] or a [`Palette`]: a panel's codes are unpacked once in registers for all tokens that are taken together:
//! one or, in Exact, four here; eight in [`batch`].
//!
//! A lane is a row. Over a group of columns and per row: Fast sums `step * sum(q x)` of its blocks of 32, each an exact integer sum,
//! Exact sums two fused chains over the even and odd columns of each block. The group then adds `scale *` that sum and, in an accumulator
//! of its own, `offset * sum(x)`. This order depends on the format alone, so tiers, batch sizes and thread counts give the same bits.

use super::batch;
use crate::format::{BLOCK, Grid, Groups, Offset, PANEL, Palette, Stat, block_bytes, values};
use crate::isa::Level;
use crate::prepared::{BATCH, Block, Mode, Prepared};
use crate::simd::{Simd, WithSimd};
use ndarray::ArrayViewMut2;
use std::ops::Range;

/// Groups whose statistics are decoded at a time, on the stack. Even, so that they are whole blocks; few, since the codes are not read
/// meanwhile and their stream from memory runs dry.
pub(super) const CHUNK: usize = 8;

/// A loop over the tokens of a batch, written out: accumulators of a loop that is not unrolled would live in memory.
macro_rules! each {
    ($count:ident, |$t:ident| $body:block) => {
        each!($count, $t, $body, 0 1 2 3)
    };
    ($count:ident, $t:ident, $body:block, $($i:literal)*) => { $(
        if $i < $count {
            let $t = $i;
            $body
        }
    )* };
}

/// `y[.., rows] += x W[rows]^T`; `rows` starts at a panel, `y` is `[tokens, rows.len()]` with contiguous rows.
pub(crate) fn accumulate(grid: &Grid, x: &Prepared, rows: Range<usize>, y: &mut ArrayViewMut2<'_, f32>) {
    match grid.spec().bits {
        1 => modes::<1, 1>(grid, [0; 16], x, rows, y),
        2 => modes::<2, 2>(grid, [0; 16], x, rows, y),
        3 => modes::<3, 3>(grid, [0; 16], x, rows, y),
        4 => modes::<4, 4>(grid, [0; 16], x, rows, y),
        5 => modes::<5, 5>(grid, [0; 16], x, rows, y),
        6 => modes::<6, 6>(grid, [0; 16], x, rows, y),
        7 => modes::<7, 7>(grid, [0; 16], x, rows, y),
        _ => modes::<8, 8>(grid, [0; 16], x, rows, y),
    }
}

/// As [`accumulate`].
pub(crate) fn accumulate_palette(palette: &Palette, x: &Prepared, rows: Range<usize>, y: &mut ArrayViewMut2<'_, f32>) {
    modes::<4, 8>(palette.grid(), palette.table(), x, rows, y);
}

/// Codes of `BITS`, which `table` makes `VALUE_BITS` wide where the two differ.
fn modes<const BITS: u32, const VALUE_BITS: u32>(
    grid: &Grid,
    table: [u8; 16],
    x: &Prepared,
    rows: Range<usize>,
    y: &mut ArrayViewMut2<'_, f32>,
) {
    let panels = rows.start / PANEL..rows.end.div_ceil(PANEL);
    let whole = grid.spec().group_size.is_multiple_of(BLOCK);
    let form = Form { grid, table };
    match (x.mode(), whole) {
        (Mode::Fast, true) => fast_tokens::<BITS, VALUE_BITS, 1>(form, x, panels, y),
        (Mode::Fast, false) => fast_tokens::<BITS, VALUE_BITS, 2>(form, x, panels, y),
        (Mode::Exact, true) => exact_tokens::<BITS, VALUE_BITS, 1>(form, x, panels, y),
        (Mode::Exact, false) => exact_tokens::<BITS, VALUE_BITS, 2>(form, x, panels, y),
    }
}

/// What is multiplied: codes with their statistics, and what a palette makes of a code.
#[derive(Clone, Copy)]
pub(super) struct Form<'a> {
    pub(super) grid: &'a Grid,
    pub(super) table: [u8; 16],
}

/// Tokens in batches of eight; one or two left over go alone. The reference takes each alone.
fn fast_tokens<const BITS: u32, const VALUE_BITS: u32, const PARTS: usize>(
    form: Form<'_>,
    x: &Prepared,
    panels: Range<usize>,
    y: &mut ArrayViewMut2<'_, f32>,
) {
    let batches = if x.isa().level() == Level::Scalar { 0 } else { x.batches() };
    for (batch, first) in (0..batches).zip((0..).step_by(BATCH)) {
        let (batch, panels, count) = (x.batch(batch), panels.clone(), (x.tokens() - first).min(BATCH));
        x.isa().run(batch::Panels::<'_, '_, BITS, VALUE_BITS, PARTS> { form, batch, panels, first, count, y });
    }
    for first in BATCH * batches..x.tokens() {
        x.isa().run(Panels::<'_, '_, BITS, VALUE_BITS, PARTS, true, 1> { form, x, panels: panels.clone(), first, count: 1, y });
    }
}

/// Tokens in batches of four, whose spare places repeat the last token.
fn exact_tokens<const BITS: u32, const VALUE_BITS: u32, const PARTS: usize>(
    form: Form<'_>,
    x: &Prepared,
    panels: Range<usize>,
    y: &mut ArrayViewMut2<'_, f32>,
) {
    let batch = if x.isa().level() == Level::Scalar { 1 } else { 4 };
    for first in (0..x.tokens()).step_by(batch) {
        let (panels, count) = (panels.clone(), (x.tokens() - first).min(batch));
        if count == 1 {
            x.isa().run(Panels::<'_, '_, BITS, VALUE_BITS, PARTS, false, 1> { form, x, panels, first, count, y });
        } else {
            x.isa().run(Panels::<'_, '_, BITS, VALUE_BITS, PARTS, false, 4> { form, x, panels, first, count, y });
        }
    }
}

/// Decodes statistics that cannot be loaded as they lie.
struct Decode<'a> {
    stat: &'a Stat,
    all: usize,
    panel: usize,
    groups: Range<usize>,
    out: &'a mut [[f32; PANEL]; CHUNK],
}

impl WithSimd for Decode<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.stat.decode(s, self.all, self.panel, self.groups, self.out);
    }
}

/// A statistic of a grid, and room to decode it.
pub(super) struct Source<'a> {
    stat: &'a Stat,
    in_place: Option<Groups<'a>>,
    all: usize,
    spare: [[f32; PANEL]; CHUNK],
}

impl<'a> Source<'a> {
    #[inline(always)]
    pub(super) fn new(stat: &'a Stat, all: usize) -> Source<'a> {
        Source { stat, in_place: stat.in_place(), all, spare: [[0.0; PANEL]; CHUNK] }
    }

    /// The values of up to `CHUNK` groups of a panel.
    #[inline(always)]
    pub(super) fn open<S: Simd>(&mut self, s: S, panel: usize, groups: Range<usize>) -> Groups<'_> {
        match self.in_place {
            Some(places) => {
                let groups = places.slice(panel * self.all + groups.start..panel * self.all + groups.end);
                groups.prefetch(s);
                groups
            }
            None => {
                s.call(Decode { stat: self.stat, all: self.all, panel, groups, out: &mut self.spare });
                Groups::F32(&self.spare)
            }
        }
    }
}

/// A range of panels times `T` tokens. A block is one part; or two, where groups are no whole blocks.
struct Panels<'a, 'y, const BITS: u32, const VALUE_BITS: u32, const PARTS: usize, const FAST: bool, const T: usize> {
    form: Form<'a>,
    x: &'a Prepared,
    panels: Range<usize>,
    first: usize,
    count: usize,
    y: &'a mut ArrayViewMut2<'y, f32>,
}

impl<const BITS: u32, const VALUE_BITS: u32, const PARTS: usize, const FAST: bool, const T: usize> WithSimd
    for Panels<'_, '_, BITS, VALUE_BITS, PARTS, FAST, T>
{
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if T > 1 && !S::BATCHES {
            return; // never called: nothing to compile
        }
        let (grid, x, start) = (self.form.grid, self.x, self.panels.start);
        let table = s.table(&self.form.table);
        let token: [usize; T] = std::array::from_fn(|t| self.first + t.min(self.count - 1));
        let blocks: [&[Block]; T] = token.map(|t| if FAST { x.blocks(t) } else { &[] });
        let inputs: [&[[f32; BLOCK]]; T] = token.map(|t| x.padded_row(t).as_chunks().0);
        let halves: [&[[f32; 2]]; T] = token.map(|t| if FAST { &[] } else { x.sums(t).as_chunks().0 });
        let (all, centre) = (grid.spec().groups(), s.splat((1u32 << (BITS - 1)) as f32));
        let mut scales = Source::new(grid.scale(), all);
        let (mut offsets_from, is_zero) = match grid.offset() {
            Offset::Symmetric => (None, false),
            Offset::Zero(stat) => (Some(Source::new(stat, all)), true),
            Offset::Min(stat) => (Some(Source::new(stat, all)), false),
        };
        let parts_per_group = grid.spec().group_size * PARTS / BLOCK;
        let blocks_per_chunk = CHUNK * parts_per_group / PARTS;
        for panel in self.panels {
            let mut scaled = [s.splat(0.0); T];
            let mut offsets = [s.splat(0.0); T];
            for (chunk, codes) in grid.panel(panel).chunks(blocks_per_chunk * block_bytes(BITS)).enumerate() {
                let open = chunk * CHUNK..((chunk + 1) * CHUNK).min(all);
                // The padded half of the last block may lie behind the last group: its codes and inputs are 0.
                let last = open.len() - 1;
                let scales = scales.open(s, panel, open.clone());
                #[expect(clippy::manual_map, reason = "intrinsics in a closure handed to the standard library become calls")]
                let stats = match &mut offsets_from {
                    None => None,
                    Some(source) => Some(source.open(s, panel, open)),
                };
                // Of the open group: its number, parts to come, sum of products, sum of inputs.
                let (mut g, mut left) = (0, parts_per_group);
                let mut products = [s.splat(0.0); T];
                let mut sums = [0.0; T];
                macro_rules! close_group {
                    () => {
                        let scale = scales.load(s, g.min(last));
                        each!(T, |t| {
                            scaled[t] = s.mul_add(scale, products[t], scaled[t]);
                            products[t] = s.splat(0.0);
                        });
                        if let Some(stats) = &stats {
                            // For codes from which the centre has been subtracted.
                            let stat = stats.load(s, g.min(last));
                            let offset = if is_zero { s.mul(scale, s.sub(centre, stat)) } else { s.mul_add(scale, centre, stat) };
                            each!(T, |t| { offsets[t] = s.mul_add(offset, s.splat(sums[t]), offsets[t]) });
                        }
                        sums = [0.0; T];
                        (g, left) = (g + 1, parts_per_group);
                    };
                }
                for (i, block) in codes.chunks_exact(block_bytes(BITS)).enumerate() {
                    let quads = values::<S, BITS, VALUE_BITS>(s, table, block);
                    let at = chunk * blocks_per_chunk + i;
                    for part in 0..PARTS {
                        if FAST {
                            each!(T, |t| {
                                let x = &blocks[t][at];
                                products[t] = fast::<S, VALUE_BITS, PARTS>(s, &quads, part, x, products[t]);
                                sums[t] += if PARTS == 1 { x.sum } else { x.sums[part] };
                            });
                        } else {
                            exact::<S, VALUE_BITS, PARTS, T>(s, &quads, part, std::array::from_fn(|t| &inputs[t][at]), &mut products);
                            each!(T, |t| {
                                let x = &halves[t][at];
                                sums[t] += if PARTS == 1 { x[0] + x[1] } else { x[part] };
                            });
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
                let _ = (g, left, products, sums); // the last group leaves them ready for another
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

/// `y + step * dot`, with the dot product in integers.
#[inline(always)]
fn fast<S: Simd, const BITS: u32, const PARTS: usize>(s: S, quads: &[S::B; 8], part: usize, x: &Block, y: S::F) -> S::F {
    let dot = match (PARTS, part) {
        (1, _) => s.dot::<BITS, 8>(quads, &x.codes, x.minus_int_sum),
        (_, 0) => s.dot::<BITS, 4>(&[quads[0], quads[1], quads[2], quads[3]], &x.codes[..16], x.minus_int_sums[0]),
        _ => s.dot::<BITS, 4>(&[quads[4], quads[5], quads[6], quads[7]], &x.codes[16..], x.minus_int_sums[1]),
    };
    s.mul_add(s.to_f32(dot), s.splat(x.step), y)
}

/// Adds to `y` dot products, each in two fused chains over even and odd columns. A column of weights is converted once for all tokens.
#[inline(always)]
fn exact<S: Simd, const BITS: u32, const PARTS: usize, const T: usize>(
    s: S,
    quads: &[S::B; 8],
    part: usize,
    x: [&[f32; BLOCK]; T],
    y: &mut [S::F; T],
) {
    let (mut even, mut odd) = ([s.splat(0.0); T], [s.splat(0.0); T]);
    macro_rules! column {
        ($sum:ident $column:expr, $w:expr) => {
            let w = $w;
            each!(T, |t| { $sum[t] = s.mul_add(w, s.splat(x[t][$column]), $sum[t]) });
        };
    }
    macro_rules! quads {
        ($($q:literal)*) => { $(
            if PARTS == 1 || part == $q / 4 {
                column!(even 4 * $q, s.byte::<BITS, 0>(quads[$q]));
                column!(odd 4 * $q + 1, s.byte::<BITS, 1>(quads[$q]));
                column!(even 4 * $q + 2, s.byte::<BITS, 2>(quads[$q]));
                column!(odd 4 * $q + 3, s.byte::<BITS, 3>(quads[$q]));
            }
        )* };
    }
    quads!(0 1 2 3 4 5 6 7);
    each!(T, |t| { y[t] = s.add(y[t], s.add(even[t], odd[t])) });
}
