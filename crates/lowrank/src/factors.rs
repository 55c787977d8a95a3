//! From factors in f64 to terms: how they are stored, and what rounding one of them teaches the other.

use crate::error::Error;
use crate::fit::Fit;
use crate::weighting::Weighting;
use half::f16;
use ndarray::{Array2, Axis};
use scant_tensor_core::Term;
use scant_tensor_core::format::{Dense, DenseType, Grid, GridSpec, LowRank, Pivoted, RowOffset, RowStat};

/// How the numbers of factors are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factors {
    /// As they are, in f32 or half precision.
    Dense(DenseType),
    /// In a grid of so many bits: groups of 64 in the second factor, of 16 in the first.
    Grid(u32),
}

/// The form of a low-rank term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Two factors.
    Plain,
    /// Some rows as they are, the others made of them: fewer numbers, for factors that are not in a grid.
    Pivoted,
}

/// Columns of a group of the second factor, and of the first.
const GROUPS: [usize; 2] = [64, 16];
/// What is added to a matrix before it is solved with, of its mean diagonal.
const RIDGE: f64 = 1e-9;

impl Factors {
    /// Bits of a number in a group of so many columns.
    fn bits(self, group: usize) -> f64 {
        match self {
            Factors::Dense(DenseType::F32) => 32.0,
            Factors::Dense(_) => 16.0,
            Factors::Grid(bits) => f64::from(bits) + (16.0 + f64::from(bits)) / group as f64,
        }
    }

    /// Bits per weight of a plain term of rank `r` of an `[m, n]` matrix.
    pub fn bits_per_weight(self, [m, n]: [usize; 2], r: usize) -> f64 {
        r as f64 * (self.bits(GROUPS[0]) * n as f64 + self.bits(GROUPS[1]) * m as f64) / (m as f64 * n as f64)
    }

    fn store(self, x: &Array2<f64>, group: usize) -> Result<Term, Error> {
        let x = x.mapv(|v| v as f32);
        match self {
            Factors::Dense(kind) => Ok(Dense::new(x.view(), kind)?.into()),
            Factors::Grid(bits) => Ok(rounded(&x, bits, group)?.into()),
        }
    }
}

/// The nearest grid: f16 scales and integer zero points over the range of each group, 0 within it.
fn rounded(x: &Array2<f32>, bits: u32, group: usize) -> Result<Grid, Error> {
    let spec = GridSpec::new([x.nrows(), x.ncols()], bits, group)?;
    let top = ((1u32 << bits) - 1) as f32;
    let shape = (x.nrows(), spec.groups());
    let (mut scale, mut zero) = (Array2::from_elem(shape, f16::ZERO), Array2::zeros(shape));
    let mut codes = Array2::zeros(x.dim());
    for (i, row) in x.rows().into_iter().enumerate() {
        for (g, part) in row.axis_chunks_iter(Axis(0), spec.group_size).enumerate() {
            let (low, high) = part.iter().fold((0.0f32, 0.0f32), |(l, h), v| (l.min(*v), h.max(*v)));
            let step = f16::from_f32(((high - low) / top).max(f16::MIN_POSITIVE.to_f32()));
            let offset = (-low / step.to_f32()).round().clamp(0.0, top);
            (scale[[i, g]], zero[[i, g]]) = (step, offset as u8);
            for (j, v) in part.iter().enumerate() {
                codes[[i, g * spec.group_size + j]] = (v / step.to_f32() + offset).round().clamp(0.0, top) as u8;
            }
        }
    }
    Ok(Grid::pack(spec, codes.view(), &RowStat::F16(scale), &RowOffset::Zero(RowStat::Codes { bits, codes: zero }))?)
}

fn whole(term: &Term) -> Array2<f64> {
    let [m, n] = term.op().shape();
    let mut dense = Array2::zeros((m, n));
    term.op().add_to(dense.view_mut());
    dense.mapv(f64::from)
}

impl Fit {
    /// The term of rank `r`. The second factor is rounded first; the other is then fitted to what it has become. A pivoted form whose pivots
    /// cannot be solved with falls back to the plain one.
    ///
    /// # Errors
    /// [`Error::Rank`]; [`Error::Core`] for a width that there is not, or numbers beyond half precision.
    pub fn term(&self, r: usize, weighting: &Weighting, factors: Factors, storage: Storage) -> Result<Term, Error> {
        let (a, b) = self.factors(r)?;
        let m = a.nrows();
        if let (Storage::Pivoted, Factors::Dense(kind), true) = (storage, factors, r < m) {
            let mut pivots = scant_spectra::pivots(a.t());
            pivots.truncate(r);
            pivots.sort_unstable();
            let others: Vec<usize> = (0..m).filter(|i| pivots.binary_search(i).is_err()).collect();
            let rows = a.select(Axis(0), &pivots).dot(&b);
            let stored = factors.store(&rows, GROUPS[0])?;
            let own = self.matrix.select(Axis(0), &others);
            if let Some(z) = regression(&own, &whole(&stored), weighting) {
                let z = Dense::new(z.mapv(|v| v as f32).view(), kind)?;
                return Ok(Pivoted::new(&pivots, z, stored)?.into());
            }
        }
        let b = factors.store(&b, GROUPS[0])?;
        let a = regression(&self.matrix, &whole(&b), weighting).unwrap_or(a);
        Ok(LowRank::new(factors.store(&a, GROUPS[1])?, b)?.into())
    }
}

/// The `A` with the least loss of `M - A B`: `M C B^T (B C B^T)^-1`.
fn regression(m: &Array2<f64>, b: &Array2<f64>, weighting: &Weighting) -> Option<Array2<f64>> {
    let bc = weighting.apply(b);
    let mut system = bc.dot(&b.t());
    let level = RIDGE * system.diag().sum() / b.nrows() as f64;
    system.diag_mut().iter_mut().for_each(|v| *v += level);
    // The system is symmetric: A^T solves it with the transposed right side.
    scant_spectra::solve(system.view(), bc.dot(&m.t()).view()).map(Array2::reversed_axes)
}
