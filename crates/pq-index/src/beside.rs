//! What stands beside the codes of some blocks, in the form that bounds the integer sums of their rows.

use crate::list::List;
use crate::scan::Visit;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::scan::{BLOCK, Bound};
use scant_tensor_core::simd::{Simd, WithSimd};
use std::ops::Range;

/// The key of a row is `worth factor + shift sum + norm + base`. It is at most `tau` where
/// `worth <= (tau - base) / factor - norm / factor - sum shift / factor`: a product and two sums a row, for every query.
pub(crate) struct Beside<'a> {
    first: usize,
    /// `1 / factor` of each row; empty if there are no factors.
    inverse: Vec<[f32; BLOCK]>,
    /// `-norm / factor`.
    norm: Vec<[f32; BLOCK]>,
    /// `-shift / factor`.
    shift: Vec<[f32; BLOCK]>,
    /// How far a row's codes are from 128 at most, of each block; empty if codes are looked up.
    radius: &'a [f32],
    spans: Spans,
}

/// The least and the largest of each.
struct Spans {
    inverse: [f32; 2],
    norm: [f32; 2],
    shift: [f32; 2],
    radius: f32,
}

/// The largest integer sums that a query wants, as a function of what is beside a row.
#[derive(Clone, Copy, Default)]
pub(crate) struct Limit {
    inverse: f32,
    norm: f32,
    shift: f32,
    radius: f32,
    constant: f32,
}

/// What a query's limits are made of.
pub(crate) struct Terms {
    /// The key that a row may have at most.
    pub(crate) tau: f32,
    /// What all rows of the list add to it.
    pub(crate) base: f32,
    /// What shifts are multiplied by.
    sum: f32,
    bound: Bound,
}

impl Terms {
    pub(crate) fn of(visit: &Visit<'_>, bound: Bound) -> Terms {
        Terms { tau: visit.best.worst(), base: visit.base, sum: visit.query.sum, bound }
    }
}

impl<'a> Beside<'a> {
    /// Of some blocks, those whose word in `allow` is 0 left out; `None` if rows differ in look-ups alone.
    pub(crate) fn of(list: &'a List, blocks: Range<usize>, allow: Option<&[u64]>) -> Option<Beside<'a>> {
        if list.factor.is_none() && list.shift.is_none() && list.norm.is_none() && list.radius.is_empty() {
            return None;
        }
        let radius = list.radius.get(blocks.clone()).unwrap_or_default();
        let mut of = Beside {
            first: blocks.start,
            inverse: vec![],
            norm: vec![],
            shift: vec![],
            radius,
            spans: Spans { inverse: [1.0; 2], norm: [0.0; 2], shift: [0.0; 2], radius: radius.iter().copied().fold(0.0, f32::max) },
        };
        let empty = |side: bool| if side { vec![[f32::NAN; BLOCK]; blocks.len()] } else { vec![] };
        (of.inverse, of.norm, of.shift) = (empty(list.factor.is_some()), empty(list.norm.is_some()), empty(list.shift.is_some()));
        Isa::best().run(Fill { of: &mut of, list, blocks, allow });
        Some(of)
    }

    #[inline(always)]
    fn fill(&mut self, list: &List, blocks: Range<usize>, allow: Option<&[u64]>) {
        for (i, block) in blocks.enumerate() {
            if allow.is_some_and(|allow| allow[block] == 0) {
                continue;
            }
            let mut factor = [1.0; BLOCK];
            if let Some(side) = &list.factor {
                side.fill(block * BLOCK, &mut factor);
                // A factor that is not positive bounds nothing: such a row is wanted whatever its sum.
                for factor in &mut factor {
                    *factor = if *factor > 0.0 { 1.0 / *factor } else { f32::NAN };
                }
                self.inverse[i] = factor;
            }
            for (side, values) in [(&list.norm, &mut self.norm), (&list.shift, &mut self.shift)] {
                if let Some(side) = side {
                    let beside = &mut values[i];
                    side.fill(block * BLOCK, beside);
                    for (beside, inverse) in beside.iter_mut().zip(&factor) {
                        *beside *= -inverse;
                    }
                }
            }
        }
        for (values, span) in
            [(&self.inverse, &mut self.spans.inverse), (&self.norm, &mut self.spans.norm), (&self.shift, &mut self.spans.shift)]
        {
            if !values.is_empty() {
                *span = extremes(values);
            }
        }
    }

    /// The largest worth with which a row may have a key of at most `tau`.
    pub(crate) fn most(&self, terms: &Terms) -> f64 {
        let [inverse, norm, shift] = [self.spans.inverse, self.spans.norm, self.spans.shift].map(|s| s.map(f64::from));
        let (left, sum) = (f64::from(terms.tau) - f64::from(terms.base), f64::from(terms.sum));
        let most = (left * inverse[0]).max(left * inverse[1]) + norm[1] + (shift[0] * sum).max(shift[1] * sum);
        most + self.rounding(terms)
    }

    /// What rounding may have added to a key, in worth.
    fn rounding(&self, terms: &Terms) -> f64 {
        let largest = |span: [f32; 2]| f64::from(span[0].abs().max(span[1].abs()));
        let size = f64::from(terms.tau.abs()) + f64::from(terms.base.abs());
        let spans = &self.spans;
        let size = largest(spans.inverse) * size + largest(spans.norm) + largest(spans.shift) * f64::from(terms.sum.abs());
        16.0 * f64::from(f32::EPSILON) * size
    }

    /// What the rows' limits are made of.
    pub(crate) fn limit(&self, terms: &Terms) -> Limit {
        let Bound { bias, step, rest } = terms.bound;
        let inside = (bias.abs() + rest * f64::from(self.spans.radius)) / step;
        // One more for the integers, and some units of what the f32 sums here can lose.
        let constant = (self.rounding(terms) - bias) / step + 1.0 + 8.0 * f64::from(f32::EPSILON) * inside;
        Limit {
            // Not below the least number there is: a product with it would bound too much.
            inverse: (((f64::from(terms.tau) - f64::from(terms.base)) / step) as f32).max(f32::MIN),
            norm: (1.0 / step) as f32,
            shift: (f64::from(terms.sum) / step) as f32,
            radius: (rest / step) as f32,
            constant: constant as f32,
        }
    }

    /// The limit of each row of a block; NaN for one that is wanted whatever its sum.
    #[inline(always)]
    pub(crate) fn limits(&self, block: usize, limit_of: &Limit, limits: &mut [f32; BLOCK]) {
        let block = block - self.first;
        let constant = limit_of.constant + self.radius.get(block).map_or(0.0, |radius| limit_of.radius * radius);
        match self.inverse.get(block) {
            None => *limits = [limit_of.inverse + constant; BLOCK],
            Some(inverse) => {
                for (limit, inverse) in limits.iter_mut().zip(inverse) {
                    *limit = limit_of.inverse * inverse + constant;
                }
            }
        }
        if let Some(norm) = self.norm.get(block) {
            for (limit, norm) in limits.iter_mut().zip(norm) {
                *limit += limit_of.norm * norm;
            }
        }
        if let Some(shift) = self.shift.get(block) {
            for (limit, shift) in limits.iter_mut().zip(shift) {
                *limit += limit_of.shift * shift;
            }
        }
    }
}

/// In the registers that this CPU has.
struct Fill<'f, 'a> {
    of: &'f mut Beside<'a>,
    list: &'f List,
    blocks: Range<usize>,
    allow: Option<&'f [u64]>,
}

impl WithSimd for Fill<'_, '_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        self.of.fill(self.list, self.blocks, self.allow);
    }
}

/// The least and the largest number that is not NaN; a lane at a time, for the vector unit.
#[inline(always)]
fn extremes(values: &[[f32; BLOCK]]) -> [f32; 2] {
    let (mut low, mut high) = ([f32::INFINITY; BLOCK], [f32::NEG_INFINITY; BLOCK]);
    for row in values {
        for i in 0..BLOCK {
            low[i] = if row[i] < low[i] { row[i] } else { low[i] };
            high[i] = if row[i] > high[i] { row[i] } else { high[i] };
        }
    }
    [low.into_iter().fold(f32::INFINITY, f32::min), high.into_iter().fold(f32::NEG_INFINITY, f32::max)]
}
