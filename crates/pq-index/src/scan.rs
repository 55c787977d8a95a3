//! One pass over a list for several queries: integer sums of look-ups choose the rows, f32 look-ups score them.
//!
//! The integer sums bound the f32 ones from below (tensor-core's [`Tables`]), and keys grow with the sums, so a row whose bound is above the k-th
//! best key so far cannot be among the best: what is found is what scoring every row would find, bit for bit.

use crate::list::{Extremes, List};
use scant_tensor_core::isa::Isa;
use scant_tensor_core::retrieve::TopK;
use scant_tensor_core::scan::{BLOCK, Lut, Sink, Tables, lut4, lut8};
use std::borrow::Cow;
use std::ops::Range;

/// Of a long list every so many blocks one is read first, for a bound of the k-th key.
const SAMPLE: usize = 25;
/// Blocks of a list that is long.
const LONG: usize = 4 * SAMPLE;
/// Up to so many tables the rounding, half a step each, leaves enough of 254 steps.
const NARROW: usize = 64;

/// What a query needs for every list.
pub(crate) struct Prepared<'a> {
    /// In the space of the codes.
    pub(crate) q: &'a [f32],
    /// Entries that add up to the key, less what is the row's and the list's. None if vectors are kept as they are.
    pub(crate) lut: Option<(Lut, Tables)>,
    /// Times the shift of a row.
    pub(crate) sum: f32,
    /// The part of the key that is the same for all rows of all lists.
    pub(crate) base: f32,
}

/// A query at a list.
pub(crate) struct Visit<'a> {
    pub(crate) query: &'a Prepared<'a>,
    /// The part of the key that is the same for all rows of the list.
    pub(crate) base: f32,
    pub(crate) best: &'a mut TopK,
}

/// Rows of a list, and which of them may be found.
pub(crate) struct Rows<'a> {
    pub(crate) list: &'a List,
    /// The id of each row of the index.
    pub(crate) ids: &'a [u64],
    /// A word for each block.
    pub(crate) allow: Option<Cow<'a, [u64]>>,
    pub(crate) blocks: Range<usize>,
}

impl Rows<'_> {
    /// Some of the blocks.
    pub(crate) fn within(&self, blocks: Range<usize>) -> Rows<'_> {
        Rows { list: self.list, ids: self.ids, allow: self.allow.as_deref().map(Cow::Borrowed), blocks }
    }

    /// Offers the rows to the queries, which have look-up tables.
    pub(crate) fn scan(&self, visits: &mut [Visit<'_>]) {
        if self.blocks.len() >= LONG && visits.iter().any(|v| v.best.worst() == f32::INFINITY) {
            self.sampled(visits).pass(visits);
        } else {
            self.pass(visits);
        }
    }

    /// Offers every so many blocks, for bounds of the k-th keys; what is left are the others.
    pub(crate) fn sampled(&self, visits: &mut [Visit<'_>]) -> Rows<'_> {
        let masked = |keep: fn(usize) -> bool| {
            let word = |block: usize| self.allow.as_deref().map_or(u64::MAX, |allow| allow[block]);
            let words = (0..self.blocks.end).map(|block| if keep(block) { word(block) } else { 0 }).collect();
            Rows { list: self.list, ids: self.ids, allow: Some(Cow::Owned(words)), blocks: self.blocks.clone() }
        };
        masked(|block| block % SAMPLE == 0).pass(visits);
        visits.iter_mut().for_each(|v| v.best.tighten());
        masked(|block| block % SAMPLE != 0)
    }

    /// With sums that stop at 255, in steps that reach the k-th key, where there is one and rows differ in their codes alone; else with wide sums.
    fn pass(&self, visits: &mut [Visit<'_>]) {
        let mut narrow = vec![];
        if self.blocks.len() >= LONG && self.list.extremes.is_empty() {
            for visit in visits.iter() {
                let Some((lut, _)) = &visit.query.lut else { return };
                let most = most(&Extremes::NONE, visit, visit.best.worst());
                if lut.m() <= NARROW && most.is_finite() {
                    narrow.push(Tables::up_to(lut, most));
                }
            }
        }
        let is_narrow = narrow.len() == visits.len();
        let mut queries: Vec<Query<'_, '_>> = vec![];
        for (i, visit) in visits.iter_mut().enumerate() {
            let Some((lut, wide)) = &visit.query.lut else { return };
            let tables = if is_narrow { &narrow[i] } else { wide };
            queries.push(Query { visit, lut, tables, tau: f32::INFINITY, threshold: 0 });
        }
        queries.iter_mut().for_each(Query::lower);
        let (isa, codes, blocks, allow) = (Isa::best(), &self.list.codes, self.blocks.clone(), self.allow.as_deref());
        let tables: Vec<&Tables> = queries.iter().map(|q| q.tables).collect();
        let mut sink = Survivors { rows: self, queries: &mut queries };
        if tables.first().is_some_and(|t| !t.four().is_empty()) {
            let tables: Vec<_> = tables.iter().map(|t| t.four()).collect();
            if is_narrow {
                lut4::scan_u8(isa, codes, blocks, &tables, allow, &mut sink)
            } else {
                lut4::scan_u16(isa, codes, blocks, &tables, allow, &mut sink)
            }
        } else {
            let tables: Vec<_> = tables.iter().map(|t| t.eight()).collect();
            if is_narrow {
                lut8::scan_u8(isa, codes, blocks, &tables, allow, &mut sink)
            } else {
                lut8::scan_u16(isa, codes, blocks, &tables, allow, &mut sink)
            }
        }
    }
}

/// The largest sum of look-ups with which a row of the block may have a key of at most `tau`.
fn most(block: &Extremes, visit: &Visit<'_>, tau: f32) -> f64 {
    let [tau, base, sum] = [tau, visit.base, visit.query.sum].map(f64::from);
    let shift = block.shift.map(|shift| f64::from(shift) * sum);
    let beside = f64::from(block.norm[0]) + shift[0].min(shift[1]);
    // With the largest sum the key is about tau, so no partial result is above twice this, and each of five roundings loses half a unit of one.
    let size = tau.abs() + base.abs() + f64::from(block.norm[0].abs().max(block.norm[1].abs())) + shift[0].abs().max(shift[1].abs());
    let left = tau - base - beside + 8.0 * size * f64::from(f32::EPSILON);
    let factor = f64::from(if left < 0.0 { block.factor[1] } else { block.factor[0] });
    // Without a positive factor the sums say nothing.
    if factor > 0.0 && !left.is_nan() { left / factor } else { f64::INFINITY }
}

/// A query, and what its integer sums may be.
struct Query<'a, 'v> {
    visit: &'a mut Visit<'v>,
    lut: &'a Lut,
    tables: &'a Tables,
    /// The k-th key so far.
    tau: f32,
    /// The largest sum that may belong to it, of rows that differ in their codes alone.
    threshold: u32,
}

impl Query<'_, '_> {
    fn lower(&mut self) {
        self.tau = self.visit.best.worst();
        self.threshold = self.tables.threshold(most(&Extremes::NONE, self.visit, self.tau));
    }
}

/// Scores in f32 what passes, and lowers the thresholds by it.
struct Survivors<'a, 'q, 'v> {
    rows: &'a Rows<'a>,
    queries: &'a mut [Query<'q, 'v>],
}

impl Survivors<'_, '_, '_> {
    #[inline]
    fn threshold_of(&self, query: usize, block: usize) -> u32 {
        let query = &self.queries[query];
        match self.rows.list.extremes.get(block) {
            None => query.threshold,
            Some(extremes) => query.tables.threshold(most(extremes, query.visit, query.tau)),
        }
    }

    #[inline(never)]
    fn score(&mut self, query: usize, block: usize, mut mask: u64) {
        let (query, list) = (&mut self.queries[query], self.rows.list);
        let lines = list.codes.block(block);
        while mask != 0 {
            let lane = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            let place = BLOCK * block + lane;
            let key = list.key(place, query.lut.rescore(lines, lane), query.visit.query.sum, query.visit.base);
            query.visit.best.push(key, self.rows.ids[list.rows[place] as usize]);
        }
        if query.visit.best.worst() < query.tau {
            query.lower();
        }
    }
}

macro_rules! survivors {
    ($($t:ty)*) => { $(
        impl Sink<$t> for Survivors<'_, '_, '_> {
            #[inline(always)]
            fn threshold(&self, query: usize, block: usize) -> $t {
                // Sums that stop at the largest are as good as any above, so all of them must pass.
                self.threshold_of(query, block).min(u32::from(<$t>::MAX)) as $t
            }
            #[inline(always)]
            fn block(&mut self, query: usize, block: usize, mask: u64, _: &[$t; 64]) {
                self.score(query, block, mask);
            }
        }
    )* };
}
survivors!(u8 u16);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::{Precision, Side};
    use proptest::prelude::*;
    use scant_tensor_core::rng::Rng;
    use scant_tensor_core::scan::{CodeBlocks, Width};

    fn luts(width: Width, m: usize, queries: usize, kind: usize, rng: &mut Rng) -> Vec<Lut> {
        let value = |rng: &mut Rng| match kind {
            0 => rng.normal(),
            1 => rng.normal().powi(2) * 1e3,
            2 => rng.below(3) as f32,                                  // ties
            3 => 1e7 + rng.uniform(),                                  // rounding
            4 => 0.5,                                                  // all equal
            5 => rng.normal() * 10f32.powi(rng.below(60) as i32 - 30), // one table rules
            _ => f32::from_bits(rng.below(1000) as u32),               // subnormal
        };
        (0..queries).map(|_| Lut::new(width, (0..m * width.entries()).map(|_| value(rng)).collect()).unwrap()).collect()
    }

    fn list(rows: usize, columns: usize, sides: [bool; 3], rng: &mut Rng) -> List {
        let mut codes = CodeBlocks::new(columns);
        let mut code = vec![0; columns];
        let side = |there: bool, spread: f32, rng: &mut Rng| {
            there.then(|| {
                let mut side = Side::new(Precision::F32);
                (0..rows).for_each(|_| side.push((1.0 + spread * rng.normal()).abs()));
                side
            })
        };
        let [factor, shift, norm] = sides;
        let (factor, shift, norm) = (side(factor, 0.1, rng), side(shift, 1.0, rng), side(norm, 3.0, rng));
        for _ in 0..rows {
            code.iter_mut().for_each(|c| *c = rng.next_u64() as u8);
            codes.push(&code).unwrap();
        }
        let mut list = List { rows: (0..rows as u32).collect(), codes, full: vec![], factor, shift, norm, extremes: vec![] };
        list.bound(0);
        list
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn the_scan_is_scoring_every_row(
            m in prop_oneof![1usize..70, 120usize..140], rows in prop_oneof![0usize..300, 6300usize..9000], k in 1usize..120,
            queries in 1usize..6, kind in 0usize..7, eight: bool, filter: bool, worst_first: bool, sides: [bool; 3], seed: u64,
        ) {
            let mut rng = Rng::new(seed);
            let luts = luts(if eight { Width::Eight } else { Width::Four }, m, queries, kind, &mut rng);
            let mut list = list(rows, luts[0].columns(), sides, &mut rng);
            if worst_first {
                let mut order: Vec<usize> = (0..rows).collect();
                order.sort_by(|a, b| luts[0].score(&list.codes, *b).total_cmp(&luts[0].score(&list.codes, *a)));
                list.keep(&order, 1, |row| row);
                list.rows = (0..rows as u32).collect();
            }
            let ids: Vec<u64> = (0..rows as u64).collect();
            let words: Vec<u64> = (0..list.codes.blocks()).map(|_| rng.next_u64()).collect();
            let allow = filter.then_some(&words[..]);
            let prepared: Vec<Prepared<'_>> = luts
                .into_iter()
                .map(|lut| Prepared { q: &[], sum: rng.normal(), base: 0.0, lut: Some((lut.clone(), Tables::spanning(&lut))) })
                .collect();
            let mut best: Vec<TopK> = prepared.iter().map(|_| TopK::new(k)).collect();
            let mut visits: Vec<Visit<'_>> =
                prepared.iter().zip(&mut best).map(|(query, best)| Visit { query, base: 0.5, best }).collect();
            Rows { list: &list, ids: &ids, allow: allow.map(Cow::Borrowed), blocks: 0..list.codes.blocks() }.scan(&mut visits);
            for (query, best) in prepared.iter().zip(best) {
                let lut = &query.lut.as_ref().unwrap().0;
                let mut want = TopK::new(k);
                for row in (0..rows).filter(|row| allow.is_none_or(|a| a[row / 64] >> (row % 64) & 1 == 1)) {
                    want.push(list.key(row, lut.score(&list.codes, row), query.sum, 0.5), row as u64);
                }
                let bits = |best: TopK| best.into_sorted().into_iter().map(|(key, id)| (key.to_bits(), id)).collect::<Vec<_>>();
                prop_assert_eq!(bits(best), bits(want));
            }
        }
    }
}
