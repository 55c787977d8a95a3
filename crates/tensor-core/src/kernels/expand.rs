//! A [`Grid`] back to f32: panels of 16 rows are decoded lane by lane and turned into rows.

use crate::format::{BLOCK, Grid, Offset, PANEL, Stat, block_bytes, unpack};
use crate::isa::Isa;
use crate::simd::{Simd, WithSimd};
use ndarray::ArrayViewMut2;

/// `dense += W` for the rows of `panel` that exist, at row `at` of `dense`: each weight is `scale * (q - zero) + min`, rounded at each step.
///
/// The same bits on every tier, and as `Grid::each` gives.
pub(crate) fn add_panel(grid: &Grid, panel: usize, at: usize, dense: &mut ArrayViewMut2<'_, f32>) {
    // Every tier gives the same bits, so the caller need not say which.
    let isa = Isa::best();
    match grid.spec().bits {
        1 => isa.run(Expand::<'_, '_, 1> { grid, panel, at, dense }),
        2 => isa.run(Expand::<'_, '_, 2> { grid, panel, at, dense }),
        3 => isa.run(Expand::<'_, '_, 3> { grid, panel, at, dense }),
        4 => isa.run(Expand::<'_, '_, 4> { grid, panel, at, dense }),
        5 => isa.run(Expand::<'_, '_, 5> { grid, panel, at, dense }),
        6 => isa.run(Expand::<'_, '_, 6> { grid, panel, at, dense }),
        7 => isa.run(Expand::<'_, '_, 7> { grid, panel, at, dense }),
        _ => isa.run(Expand::<'_, '_, 8> { grid, panel, at, dense }),
    }
}

struct Expand<'a, 'd, const BITS: u32> {
    grid: &'a Grid,
    panel: usize,
    at: usize,
    dense: &'a mut ArrayViewMut2<'d, f32>,
}

impl<const BITS: u32> WithSimd for Expand<'_, '_, BITS> {
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
        let centre = s.splat((1u32 << (BITS - 1)) as f32);
        let mut group = usize::MAX;
        let [mut scale, mut zero, mut min] = [s.splat(0.0); 3];
        for (b, block) in self.grid.panel(self.panel).chunks_exact(block_bytes(BITS)).enumerate() {
            let quads = unpack::<S, BITS>(s, block);
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
                    quads!(weight 4 * $q, s.byte::<BITS, 0>(quads[$q]));
                    quads!(weight 4 * $q + 1, s.byte::<BITS, 1>(quads[$q]));
                    quads!(weight 4 * $q + 2, s.byte::<BITS, 2>(quads[$q]));
                    quads!(weight 4 * $q + 3, s.byte::<BITS, 3>(quads[$q]));
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
