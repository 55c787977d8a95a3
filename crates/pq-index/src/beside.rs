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

/// The least and the largest of each, of all rows of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spans {
    inverse: [f32; 2],
    norm: [f32; 2],
    shift: [f32; 2],
    radius: f32,
}

impl Spans {
    /// Of no row.
    pub(crate) const NONE: Spans = Spans { inverse: Spans::EMPTY, norm: Spans::EMPTY, shift: Spans::EMPTY, radius: 0.0 };
    const EMPTY: [f32; 2] = [f32::INFINITY, f32::NEG_INFINITY];
    /// Blocks that are looked at together.
    const STEP: usize = 64;

    /// With the rows of some blocks of a list, whose radii are there already.
    pub(crate) fn with(mut self, list: &List, blocks: Range<usize>) -> Spans {
        for (side, span, absent) in
            [(&list.factor, &mut self.inverse, 1.0), (&list.norm, &mut self.norm, 0.0), (&list.shift, &mut self.shift, 0.0)]
        {
            if side.is_none() {
                *span = [absent; 2];
            }
        }
        self.radius = list.radius.iter().copied().fold(self.radius, f32::max);
        for first in blocks.clone().step_by(Spans::STEP) {
            if let Some(beside) = Beside::of(list, first..blocks.end.min(first + Spans::STEP), None) {
                let found = [(&beside.inverse, &mut self.inverse), (&beside.norm, &mut self.norm), (&beside.shift, &mut self.shift)];
                found.into_iter().for_each(|(values, span)| widen(span, values));
            }
        }
        self
    }

    /// The largest worth with which a row may have a key of at most `tau`.
    pub(crate) fn most(&self, terms: &Terms) -> f64 {
        let [inverse, norm, shift] = [self.inverse, self.norm, self.shift].map(|s| s.map(f64::from));
        let (left, sum) = (f64::from(terms.tau) - f64::from(terms.base), f64::from(terms.sum));
        let most = (left * inverse[0]).max(left * inverse[1]) + norm[1] + (shift[0] * sum).max(shift[1] * sum);
        most + self.rounding(terms)
    }

    /// What rounding may have added to a key, in worth.
    fn rounding(&self, terms: &Terms) -> f64 {
        let largest = |span: [f32; 2]| f64::from(span[0].abs().max(span[1].abs()));
        let size = f64::from(terms.tau.abs()) + f64::from(terms.base.abs());
        let size = largest(self.inverse) * size + largest(self.norm) + largest(self.shift) * f64::from(terms.sum.abs());
        16.0 * f64::from(f32::EPSILON) * size
    }
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
        if list.is_bare() {
            return None;
        }
        let radius = list.radius.get(blocks.clone()).unwrap_or_default();
        let room = |side: bool| Vec::with_capacity(if side { blocks.len() } else { 0 });
        let [inverse, norm, shift] = [&list.factor, &list.norm, &list.shift].map(|side| room(side.is_some()));
        let mut of = Beside { first: blocks.start, inverse, norm, shift, radius, spans: list.spans };
        Isa::best().run(Fill { of: &mut of, list, blocks, allow });
        Some(of)
    }

    #[inline(always)]
    fn fill(&mut self, list: &List, blocks: Range<usize>, allow: Option<&[u64]>) {
        for block in blocks {
            let wanted = allow.is_none_or(|allow| allow[block] != 0);
            let mut factor = [1.0; BLOCK];
            if let Some(side) = &list.factor {
                factor = [f32::NAN; BLOCK];
                if wanted {
                    side.fill(block * BLOCK, &mut factor);
                }
                // A factor that is not positive bounds nothing: such a row is wanted whatever its sum.
                for factor in &mut factor {
                    *factor = if *factor > 0.0 { 1.0 / *factor } else { f32::NAN };
                }
                self.inverse.push(factor);
            }
            for (side, values) in [(&list.norm, &mut self.norm), (&list.shift, &mut self.shift)] {
                if let Some(side) = side {
                    let mut beside = [f32::NAN; BLOCK];
                    if wanted {
                        side.fill(block * BLOCK, &mut beside);
                    }
                    for (beside, inverse) in beside.iter_mut().zip(&factor) {
                        *beside *= -inverse;
                    }
                    values.push(beside);
                }
            }
        }
    }

    /// What the rows' limits are made of.
    pub(crate) fn limit(&self, terms: &Terms) -> Limit {
        let Bound { bias, step, rest } = terms.bound;
        let inside = (bias.abs() + rest * f64::from(self.spans.radius)) / step;
        // One more for the integers, and some units of what the f32 sums here can lose.
        let constant = (self.spans.rounding(terms) - bias) / step + 1.0 + 8.0 * f64::from(f32::EPSILON) * inside;
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

/// Takes in every number that is not NaN; a lane at a time, for the vector unit.
fn widen(span: &mut [f32; 2], values: &[[f32; BLOCK]]) {
    for value in values.as_flattened() {
        span[0] = if *value < span[0] { *value } else { span[0] };
        span[1] = if *value > span[1] { *value } else { span[1] };
    }
}
