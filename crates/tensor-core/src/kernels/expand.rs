//! A [`Grid`] back to f32: panels of 16 rows are decoded lane by lane and turned into rows.

use crate::format::{BLOCK, Grid, Offset, PANEL, Stat, block_bytes, values};
use crate::isa::Isa;
use crate::simd::{Simd, WithSimd};
use ndarray::ArrayViewMut2;

/// `dense += W` for the rows of `panel` that exist, at row `at` of `dense`: each weight is `scale * (q - zero) + min`, rounded at each step.
/// With the table of a palette, its entry less 128 stands for `q - zero`.
///
/// The same bits on every tier, and as `Grid::each` gives.
pub(crate) fn add_panel(grid: &Grid, table: Option<&[u8; 16]>, panel: usize, at: usize, dense: &mut ArrayViewMut2<'_, f32>) {
    // Every tier gives the same bits, so the caller need not say which.
    let isa = Isa::best();
    macro_rules! run {
        ($bits:literal, $value_bits:literal, $table:expr) => {
            isa.run(Expand::<'_, '_, $bits, $value_bits> { grid, table: $table, panel, at, dense })
        };
    }
    match (table, grid.spec().bits) {
        (Some(table), _) => run!(4, 8, *table),
        (None, 1) => run!(1, 1, [0; 16]),
        (None, 2) => run!(2, 2, [0; 16]),
        (None, 3) => run!(3, 3, [0; 16]),
        (None, 4) => run!(4, 4, [0; 16]),
        (None, 5) => run!(5, 5, [0; 16]),
        (None, 6) => run!(6, 6, [0; 16]),
        (None, 7) => run!(7, 7, [0; 16]),
        (None, _) => run!(8, 8, [0; 16]),
    }
}

/// Codes of `BITS`, which a table makes `VALUE_BITS` wide where the two differ.
struct Expand<'a, 'd, const BITS: u32, const VALUE_BITS: u32> {
    grid: &'a Grid,
    table: [u8; 16],
    panel: usize,
    at: usize,
    dense: &'a mut ArrayViewMut2<'d, f32>,
}

impl<const BITS: u32, const VALUE_BITS: u32> WithSimd for Expand<'_, '_, BITS, VALUE_BITS> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let spec = self.grid.spec();
        let rows = PANEL.min(spec.m - self.panel * PANEL);
        let stat = |stat: &Stat, g: usize| {
            let mut out = [[0.0; PANEL]];
            stat.decode(s, spec.groups(), self.panel, g..g + 1, &mut out);
            s.load(&out[0])
        };
        let centre = s.splat((1u32 << (VALUE_BITS - 1)) as f32);
        let table = s.table(&self.table);
        let mut group = usize::MAX;
        let [mut scale, mut zero, mut min] = [s.splat(0.0); 3];
        for (b, block) in self.grid.panel(self.panel).chunks_exact(block_bytes(BITS)).enumerate() {
            let quads = values::<S, BITS, VALUE_BITS>(s, table, block);
            let mut tile = [[0.0; PANEL]; BLOCK];
            // Written out, as everywhere, for the quads to stay in registers.
            macro_rules! quads {
                ($($q:literal)*) => { $(
                    // Groups are whole half blocks.
                    if $q % 4 == 0 && group != ((BLOCK * b + 4 * $q) / spec.group_size).min(spec.groups() - 1) {
                        group = ((BLOCK * b + 4 * $q) / spec.group_size).min(spec.groups() - 1);
                        scale = stat(self.grid.scale(), group);
                        (zero, min) = match self.grid.offset() {
                            Offset::Symmetric => (centre, s.splat(0.0)),
                            Offset::Zero(zero) => (stat(zero, group), s.splat(0.0)),
                            Offset::Min(min) => (s.splat(0.0), stat(min, group)),
                        };
                    }
                    quads!(weight 4 * $q, s.byte::<VALUE_BITS, 0>(quads[$q]));
                    quads!(weight 4 * $q + 1, s.byte::<VALUE_BITS, 1>(quads[$q]));
                    quads!(weight 4 * $q + 2, s.byte::<VALUE_BITS, 2>(quads[$q]));
                    quads!(weight 4 * $q + 3, s.byte::<VALUE_BITS, 3>(quads[$q]));
                )* };
                (weight $column:expr, $centred:expr) => {
                    let q = s.add($centred, centre);
                    s.store(s.add(s.mul(scale, s.sub(q, zero)), min), &mut tile[$column]);
                };
            }
            quads!(0 1 2 3 4 5 6 7);
            let columns = BLOCK * b..(BLOCK * (b + 1)).min(spec.n);
            for r in 0..rows {
                let mut row = self.dense.row_mut(self.at + r);
                match row.as_slice_mut() {
                    Some(row) => row[columns.clone()].iter_mut().zip(&tile).for_each(|(out, column)| *out += column[r]),
                    None => columns.clone().zip(&tile).for_each(|(j, column)| row[j] += column[r]),
                }
            }
        }
    }
}
