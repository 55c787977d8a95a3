//! Groups of 64 rows become codes with two levels of statistics, and outliers.

use half::f16;
use ndarray::Array2;
use scant_tensor_core::Error;
use scant_tensor_core::format::{Csr, Grid, GridSpec, PANEL, RowOffset, RowStat};
use scant_tensor_core::obs::{Column, Decide, InverseFactor, LANES};
use std::ops::Range;

/// Bits of scales and zero points.
pub(super) const STAT_BITS: u32 = 3;
/// A scale is at least this share of the largest one among its 16 rows.
const LEAST_SCALE: f32 = 1.0 / 16_384.0;

/// A statistic of one group of 64 rows: codes, and a step and a base for each 16 of them.
#[derive(Clone)]
struct Level {
    codes: [u8; LANES],
    step: [f16; LANES / PANEL],
    base: [f16; LANES / PANEL],
    /// As the format decodes it.
    value: Column,
}

/// Encodes the rows of one chunk, column by column.
pub(super) struct Encoder {
    rows: usize,
    top: f32,
    /// The diagonal of the inverse Gram matrix's factor.
    diagonal: Vec<f32>,
    dead: Vec<bool>,
    threshold: f32,
    scales: Vec<Level>,
    zeros: Vec<Level>,
    codes: Vec<[u8; LANES]>,
    /// The weighed squared error that each weight would have without outliers.
    errors: Vec<Column>,
    /// What is added to the value of the code: 0, but for outliers.
    rest: Vec<[f16; LANES]>,
}

impl Encoder {
    pub(super) fn new(spec: GridSpec, factor: &InverseFactor, rows: Range<usize>, threshold: f32) -> Encoder {
        Encoder {
            rows: rows.len(),
            top: ((1u32 << spec.bits) - 1) as f32,
            diagonal: factor.upper().diag().to_vec(),
            dead: (0..spec.n).map(|j| factor.is_dead(j)).collect(),
            threshold,
            scales: Vec::with_capacity(spec.groups()),
            zeros: Vec::with_capacity(spec.groups()),
            codes: Vec::with_capacity(spec.n),
            errors: Vec::with_capacity(spec.n),
            rest: Vec::with_capacity(spec.n),
        }
    }
}

impl Decide for Encoder {
    fn begin(&mut self, columns: Range<usize>, w: &[Column]) {
        let weights: Vec<f32> = columns.map(|j| if self.dead[j] { 0.0 } else { 1.0 / (self.diagonal[j] * self.diagonal[j]) }).collect();
        let mut ranges = [(0.0, 0.0); LANES];
        let mut lane = vec![0.0; w.len()];
        for (l, range) in ranges.iter_mut().enumerate().take(self.rows) {
            lane.iter_mut().zip(w).for_each(|(lane, w)| *lane = w[l]);
            *range = clean_range(&lane, &weights, self.top, self.threshold);
        }
        let scale = self.scale(&ranges);
        let mut middle = [0.0; LANES];
        for l in 0..self.rows {
            // A row of zeros is exact if its zero point is whole.
            let (lo, hi) = ranges[l];
            middle[l] = if lo < hi { 0.5 * self.top - 0.5 * (lo + hi) / scale.value[l] } else { 0.0 };
        }
        self.zeros.push(quantize(&middle, self.rows));
        self.scales.push(scale);
    }

    fn decide(&mut self, j: usize, w: &Column, chosen: &mut Column) {
        let (scale, zero) = match (self.scales.last(), self.zeros.last()) {
            (Some(scale), Some(zero)) => (&scale.value, &zero.value),
            _ => return,
        };
        let inverse = if self.dead[j] { 0.0 } else { 1.0 / self.diagonal[j] };
        let (mut codes, mut errors, mut rest) = ([0; LANES], [0.0; LANES], [f16::ZERO; LANES]);
        for l in 0..self.rows {
            let q = (w[l] / scale[l] + zero[l]).round_ties_even().clamp(0.0, self.top);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number up to 15")]
            let code = q as u8;
            let value = scale[l] * (q - zero[l]);
            let error = (w[l] - value) * inverse;
            (codes[l], errors[l], chosen[l]) = (code, error * error, value);
            if errors[l] > self.threshold {
                rest[l] = f16::from_f32(w[l] - value);
                chosen[l] = value + rest[l].to_f32();
            }
        }
        chosen[self.rows..].fill(0.0);
        self.codes.push(codes);
        self.errors.push(errors);
        self.rest.push(rest);
    }
}

impl Encoder {
    /// Scales of the ranges. A row of zeros takes the largest scale among its 16, which costs the others nothing.
    fn scale(&self, ranges: &[(f32, f32); LANES]) -> Level {
        let mut scale = [0.0; LANES];
        for (scale, (lo, hi)) in scale.iter_mut().zip(ranges) {
            *scale = (hi - lo) / self.top;
        }
        for panel in scale[..self.rows].chunks_mut(PANEL) {
            let largest = panel.iter().fold(0f32, |a, s| a.max(*s));
            let largest = if largest > 0.0 { largest } else { 1.0 };
            // f16 holds no smaller numbers than this; larger ones stay, and are refused when the term is made.
            let least = (largest * LEAST_SCALE).max(f16::MIN_POSITIVE.to_f32());
            panel.iter_mut().for_each(|s| *s = if *s > 0.0 { s.max(least) } else { largest.max(least) });
        }
        quantize(&scale, self.rows)
    }
}

/// Least and largest weight of a row's group without those whose removal would lower its error by more than the threshold.
///
/// Only the two ends change the grid of the others, so these are refitted; for the rest the gain is their own error. A group of equal weights
/// gets a range from 0.
fn clean_range(w: &[f32], weights: &[f32], top: f32, threshold: f32) -> (f32, f32) {
    let range = |skip: &dyn Fn(usize) -> bool| {
        let kept = w.iter().enumerate().filter(|(i, _)| !skip(*i));
        kept.fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), (_, w)| (lo.min(*w), hi.max(*w)))
    };
    let open = |(lo, hi): (f32, f32)| if lo < hi { (lo, hi) } else { (lo.min(0.0), hi.max(0.0)) };
    let all = range(&|_| false);
    if threshold == f32::INFINITY || w.len() < 3 {
        return open(all);
    }
    let error = |i: usize, (lo, hi): (f32, f32)| {
        let scale = (hi - lo) / top;
        let value = if scale > 0.0 { lo + scale * ((w[i] - lo) / scale).round_ties_even().clamp(0.0, top) } else { lo };
        (w[i] - value) * (w[i] - value) * weights[i]
    };
    let errors: Vec<f32> = (0..w.len()).map(|i| error(i, all)).collect();
    let total: f32 = errors.iter().sum();
    let mut outlier: Vec<bool> = errors.iter().map(|e| *e > threshold).collect();
    for end in [all.0, all.1] {
        let Some(k) = w.iter().position(|w| *w == end) else { continue };
        let without = range(&|i| i == k);
        let left: f32 = (0..w.len()).filter(|i| *i != k).map(|i| error(i, without)).sum();
        outlier[k] = total - left > threshold;
    }
    let cleaned = range(&|i| outlier[i]);
    open(if cleaned.0 <= cleaned.1 { cleaned } else { all })
}

/// The second level: for each 16 rows the range of their values in `2^3` steps.
fn quantize(values: &Column, rows: usize) -> Level {
    let top = ((1u32 << STAT_BITS) - 1) as f32;
    let panels = LANES / PANEL;
    let mut level = Level { codes: [0; LANES], step: [f16::ZERO; LANES / PANEL], base: [f16::ZERO; LANES / PANEL], value: [0.0; LANES] };
    for p in 0..panels.min(rows.div_ceil(PANEL)) {
        let lanes = p * PANEL..((p + 1) * PANEL).min(rows);
        let (lo, hi) = values[lanes.clone()].iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), v| (lo.min(*v), hi.max(*v)));
        let base = f16::from_f32(lo);
        let step = f16::from_f32((hi - base.to_f32()).max(0.0) / top);
        (level.step[p], level.base[p]) = (step, base);
        let (step, base) = (step.to_f32(), base.to_f32());
        for l in lanes {
            let code = if step > 0.0 { ((values[l] - base) / step).round_ties_even().clamp(0.0, top) } else { 0.0 };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number up to 7")]
            let whole = code as u8;
            level.codes[l] = whole;
            level.value[l] = code * step + base;
        }
    }
    level
}

/// The share of outliers, and the threshold above which the wanted share of these errors lies.
pub(super) fn threshold(chunks: &[Encoder], want: f32) -> (f64, f32) {
    let of = |chunk: &Encoder| chunk.errors.iter().flat_map(|e| &e[..chunk.rows]).copied().collect::<Vec<f32>>();
    let mut errors: Vec<f32> = chunks.iter().flat_map(of).collect();
    let limit = chunks.first().map_or(f32::INFINITY, |c| c.threshold);
    let share = errors.iter().filter(|e| **e > limit).count() as f64 / errors.len().max(1) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let at = (((1.0 - f64::from(want)) * errors.len() as f64) as usize).min(errors.len().saturating_sub(1));
    let next = if errors.is_empty() { f32::INFINITY } else { *errors.select_nth_unstable_by(at, f32::total_cmp).1 };
    (share, next)
}

/// Joins the chunks of a matrix into a grid and, if there are any, its outliers.
pub(super) fn assemble(spec: GridSpec, chunks: &[Encoder]) -> Result<(Grid, Option<Csr>), Error> {
    let mut codes = Array2::zeros((spec.m, spec.n));
    let mut rest = Array2::zeros((spec.m, spec.n));
    let stat = || (Array2::zeros((spec.m, spec.groups())), [(); 2].map(|()| Array2::from_elem((spec.panels(), spec.groups()), f16::ZERO)));
    let [mut scale, mut zero] = [stat(), stat()];
    for (i, chunk) in chunks.iter().enumerate() {
        for (j, (column, left)) in chunk.codes.iter().zip(&chunk.rest).enumerate() {
            for lane in 0..chunk.rows {
                codes[[i * LANES + lane, j]] = column[lane];
                rest[[i * LANES + lane, j]] = left[lane].to_f32();
            }
        }
        for (stat, levels) in [(&mut scale, &chunk.scales), (&mut zero, &chunk.zeros)] {
            let (codes, [steps, bases]) = stat;
            for (g, level) in levels.iter().enumerate() {
                (0..chunk.rows).for_each(|lane| codes[[i * LANES + lane, g]] = level.codes[lane]);
                for p in 0..chunk.rows.div_ceil(PANEL) {
                    let panel = i * LANES / PANEL + p;
                    (steps[[panel, g]], bases[[panel, g]]) = (level.step[p], level.base[p]);
                }
            }
        }
    }
    let [scale, zero] = [scale, zero].map(|(codes, [step, base])| RowStat::Tiles { bits: STAT_BITS, codes, step, base });
    let grid = Grid::pack(spec, codes.view(), &scale, &RowOffset::Zero(zero))?;
    let outliers = if rest.iter().any(|r| *r != 0.0) { Some(Csr::from_dense(rest.view())?) } else { None };
    Ok((grid, outliers))
}
