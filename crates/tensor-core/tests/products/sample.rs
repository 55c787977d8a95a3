//! Random grids of every kind, with what each weight is made of.

use ndarray::{Array2, ArrayView2};
use scant_tensor_core::Mode;
use scant_tensor_core::format::{Grid, GridSpec, RowOffset, RowStat};
use scant_tensor_core::rng::Rng;

/// How scales and offsets are stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    SymmetricF32,
    SymmetricF16,
    SymmetricBf16,
    ZeroCodes,
    ZeroF16,
    MinF16,
    /// As in Q4_K: six-bit scales and minima, a step of each for eight groups.
    SuperBlocks,
    /// As in Q6_K: signed scales, a step for sixteen groups.
    SignedLevels,
    /// Three-bit scales and zero points, a step and a base of each for sixteen groups.
    Bilevel,
    /// As in SpQR: the same for sixteen rows.
    Tiles,
}

impl Form {
    pub(crate) const ALL: [Form; 10] = [
        Form::SymmetricF32,
        Form::SymmetricF16,
        Form::SymmetricBf16,
        Form::ZeroCodes,
        Form::ZeroF16,
        Form::MinF16,
        Form::SuperBlocks,
        Form::SignedLevels,
        Form::Bilevel,
        Form::Tiles,
    ];
}

/// A grid and the row-major numbers it was packed from.
pub(crate) struct Sample {
    pub(crate) spec: GridSpec,
    pub(crate) codes: Array2<u8>,
    pub(crate) scale: RowStat,
    pub(crate) offset: RowOffset,
    pub(crate) grid: Grid,
}

/// Exact products, and what rounding may do to each.
pub(crate) struct Expected {
    pub(crate) y: Array2<f64>,
    pub(crate) bound: Array2<f64>,
}

impl Sample {
    pub(crate) fn random(form: Form, bits: u32, group_size: usize, [m, n]: [usize; 2], rng: &mut Rng) -> Sample {
        let spec = GridSpec::new([m, n], bits, group_size).unwrap();
        let groups = spec.groups();
        let codes = Array2::from_shape_simple_fn((m, n), || rng.below(1 << bits) as u8);
        let step = 1.0 / (1u32 << bits) as f32;
        let mut f32s = |columns: usize, centre: f32, spread: f32| {
            Array2::from_shape_simple_fn((m, columns), || centre + spread * (rng.uniform() - 0.5))
        };
        let mut f16s = |columns, centre, spread| f32s(columns, centre, spread).mapv(half::f16::from_f32);
        let middle = (1u32 << (bits - 1)) as f32;
        let (scale, offset) = match form {
            Form::SymmetricF32 => (RowStat::F32(f32s(groups, 2.0 * step, step)), RowOffset::Symmetric),
            Form::SymmetricF16 => (RowStat::F16(f16s(groups, 2.0 * step, step)), RowOffset::Symmetric),
            Form::SymmetricBf16 => (RowStat::Bf16(f32s(groups, 2.0 * step, step).mapv(half::bf16::from_f32)), RowOffset::Symmetric),
            Form::ZeroCodes => {
                let scale = RowStat::F16(f16s(groups, 2.0 * step, step));
                let codes = Array2::from_shape_simple_fn((m, groups), || rng.below(1 << bits) as u8);
                (scale, RowOffset::Zero(RowStat::Codes { bits, codes }))
            }
            Form::ZeroF16 => {
                let zero = f16s(groups, middle, middle);
                (RowStat::F16(f16s(groups, 2.0 * step, step)), RowOffset::Zero(RowStat::F16(zero)))
            }
            Form::MinF16 => {
                let min = f16s(groups, -1.0, 1.0);
                (RowStat::F16(f16s(groups, 2.0 * step, step)), RowOffset::Min(RowStat::F16(min)))
            }
            Form::SuperBlocks => {
                let (per, supers) = (8, groups.div_ceil(8));
                let (steps, min_steps) = (f16s(supers, step / 16.0, step / 32.0), f16s(supers, -1.0 / 32.0, 1.0 / 64.0));
                let mut level = |step| {
                    let codes = Array2::from_shape_simple_fn((m, groups), || rng.below(64) as u8);
                    RowStat::Levels { bits: 6, centre: 0, codes, per, step, base: None }
                };
                (level(steps), RowOffset::Min(level(min_steps)))
            }
            Form::SignedLevels => {
                let step = f16s(groups.div_ceil(16), step / 32.0, step / 64.0);
                let codes = Array2::from_shape_simple_fn((m, groups), || rng.below(256) as u8);
                (RowStat::Levels { bits: 8, centre: 128, codes, per: 16, step, base: None }, RowOffset::Symmetric)
            }
            Form::Bilevel => {
                let (per, supers) = (16, groups.div_ceil(16));
                let steps = [f16s(supers, step / 4.0, step / 8.0), f16s(supers, middle / 8.0, middle / 8.0)];
                let bases = [f16s(supers, step, step / 8.0), f16s(supers, middle / 2.0, middle / 2.0)];
                let [scale, zero] = [0, 1].map(|i| {
                    let codes = Array2::from_shape_simple_fn((m, groups), || rng.below(8) as u8);
                    RowStat::Levels { bits: 3, centre: 0, codes, per, step: steps[i].clone(), base: Some(bases[i].clone()) }
                });
                (scale, RowOffset::Zero(zero))
            }
            Form::Tiles => {
                let mut tile = |base: f32, step: f32| {
                    let mut f16s = |centre: f32| {
                        Array2::from_shape_simple_fn((m.div_ceil(16), groups), || {
                            half::f16::from_f32(centre * (0.75 + 0.5 * rng.uniform()))
                        })
                    };
                    let (step, base) = (f16s(step), f16s(base));
                    let codes = Array2::from_shape_simple_fn((m, groups), || rng.below(8) as u8);
                    RowStat::Tiles { bits: 3, codes, step, base }
                };
                (tile(step, step / 4.0), RowOffset::Zero(tile(middle / 2.0, middle / 8.0)))
            }
        };
        Sample::new(spec, codes, scale, offset)
    }

    pub(crate) fn new(spec: GridSpec, codes: Array2<u8>, scale: RowStat, offset: RowOffset) -> Sample {
        let grid = Grid::pack(spec, codes.view(), &scale, &offset).unwrap();
        Sample { spec, codes, scale, offset, grid }
    }

    /// Scale, zero point and minimum of a weight.
    fn stats(&self, i: usize, j: usize) -> [f32; 3] {
        let g = j / self.spec.group_size;
        let scale = value(&self.scale, i, g);
        match &self.offset {
            RowOffset::Zero(zero) => [scale, value(zero, i, g), 0.0],
            RowOffset::Min(min) => [scale, 0.0, value(min, i, g)],
            _ => [scale, (1u32 << (self.spec.bits - 1)) as f32, 0.0],
        }
    }

    /// The matrix by its definition, `scale * (q - zero) + min` in f32.
    pub(crate) fn dense(&self) -> Array2<f32> {
        Array2::from_shape_fn(self.codes.dim(), |(i, j)| {
            let [scale, zero, min] = self.stats(i, j);
            scale * (f32::from(self.codes[[i, j]]) - zero) + min
        })
    }

    /// `x W^T` in f64, of the input as the mode sees it.
    ///
    /// A kernel sums products with centred codes and, apart from them, centred offsets; these may be larger than the weights they add up
    /// to, and the bound speaks of them: `(n + 8) eps sum (|scale (q - c)| + |offset|) |x|`.
    pub(crate) fn expected(&self, mode: Mode, x: ArrayView2<'_, f32>) -> Expected {
        let seen = match mode {
            Mode::Exact => x.mapv(f64::from),
            Mode::Fast => rounded(x),
        };
        let w = self.grid.to_dense().mapv(f64::from);
        let centre = f64::from(1u32 << (self.spec.bits - 1));
        let size = Array2::from_shape_fn(w.dim(), |(i, j)| {
            let [scale, zero, min] = self.stats(i, j).map(f64::from);
            (scale * (f64::from(self.codes[[i, j]]) - centre)).abs() + (scale * (centre - zero) + min).abs()
        });
        let eps = (self.spec.n + 8) as f64 * f64::from(f32::EPSILON);
        Expected { y: seen.dot(&w.t()), bound: seen.mapv(f64::abs).dot(&size.t()).mapv(|s| eps * s) }
    }
}

fn value(stat: &RowStat, i: usize, g: usize) -> f32 {
    match stat {
        RowStat::F32(x) => x[[i, g]],
        RowStat::F16(x) => x[[i, g]].to_f32(),
        RowStat::Bf16(x) => x[[i, g]].to_f32(),
        RowStat::Codes { codes, .. } => f32::from(codes[[i, g]]),
        RowStat::Levels { centre, codes, per, step, base, .. } => {
            let level = f32::from(codes[[i, g]]) - f32::from(*centre);
            level * step[[i, g / per]].to_f32() + base.as_ref().map_or(0.0, |base| base[[i, g / per]].to_f32())
        }
        RowStat::Tiles { codes, step, base, .. } => f32::from(codes[[i, g]]) * step[[i / 16, g]].to_f32() + base[[i / 16, g]].to_f32(),
        _ => unreachable!("no other statistics exist"),
    }
}

/// The input as Fast products see it: per 32 columns, whole multiples of `max |x| / 127`.
pub(crate) fn rounded(x: ArrayView2<'_, f32>) -> Array2<f64> {
    let mut out = Array2::zeros(x.dim());
    for (x, mut out) in x.rows().into_iter().zip(out.rows_mut()) {
        for start in (0..x.len()).step_by(32) {
            let columns = start..(start + 32).min(x.len());
            let largest = columns.clone().fold(0f32, |a, j| a.max(x[j].abs()));
            if largest > 0.0 {
                let (step, inverse) = (largest / 127.0, 127.0 / largest);
                columns.for_each(|j| out[j] = f64::from((x[j] * inverse).round_ties_even()) * f64::from(step));
            }
        }
    }
    out
}
