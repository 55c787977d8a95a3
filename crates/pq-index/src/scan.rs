//! One pass over a list for several queries: integer sums choose the rows, f32 sums score them.
//!
//! The integer sums bound the f32 ones from below (tensor-core's [`Tables`] and [`Weights`]), and keys grow with the sums, so a row whose bound is above the k-th
//! best key so far cannot be among the best: what is found is what scoring every row would find, bit for bit.

use crate::beside::{Beside, Limit, Terms};
use crate::list::List;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::retrieve::TopK;
use scant_tensor_core::scan::{BLOCK, Bound, CodeBlocks, Lut, Sink, Tables, Weights, dot, lut4, lut8};
use std::borrow::Cow;
use std::ops::Range;

/// Of a long list every so many blocks one is read first, for a bound of the k-th key.
const SAMPLE: usize = 25;
/// Blocks of a list that is long.
const LONG: usize = 4 * SAMPLE;
/// Blocks whose numbers beside the codes are prepared at a time.
const CHUNK: usize = 128;
/// Up to so many tables the rounding, half a step each, leaves enough of 254 steps.
const NARROW: usize = 64;

/// What a query needs for every list.
pub(crate) struct Prepared<'a> {
    /// In the space of the codes.
    pub(crate) q: &'a [f32],
    pub(crate) worth: Worth,
    /// Times the shift of a row.
    pub(crate) sum: f32,
    /// The part of the key that is the same for all rows of all lists.
    pub(crate) base: f32,
}

/// What the codes of a row are worth to a query: its key, less what is beside the codes and what is the list's.
pub(crate) enum Worth {
    /// Vectors are kept as they are.
    Whole,
    /// Entries that add up, and the integers that bound them.
    Tables(Lut, Tables),
    /// Products that add up.
    Linear(Weights),
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

    fn pass(&self, visits: &mut [Visit<'_>]) {
        let narrow = self.narrow(visits);
        let mut at = self.blocks.start;
        while at < self.blocks.end {
            // What is beside the codes of a chunk stays in the second-level cache while the queries take turns.
            let beside = Beside::of(self.list, at..self.blocks.end.min(at + CHUNK), self.allow.as_deref());
            let end = if beside.is_some() { self.blocks.end.min(at + CHUNK) } else { self.blocks.end };
            self.within(at..end).chunk(beside.as_ref(), narrow.as_deref(), visits);
            at = end;
        }
    }

    fn chunk(&self, beside: Option<&Beside<'_>>, narrow: Option<&[Tables]>, visits: &mut [Visit<'_>]) {
        let mut queries = vec![];
        for (i, visit) in visits.iter_mut().enumerate() {
            let sums = match &visit.query.worth {
                Worth::Whole => return,
                Worth::Tables(lut, wide) => Sums::Tables(lut, narrow.map_or(wide, |narrow| &narrow[i])),
                Worth::Linear(weights) => Sums::Linear(weights),
            };
            queries.push(Query { visit, sums, tau: f32::INFINITY, threshold: 0, limit: Limit::default() });
        }
        queries.iter_mut().for_each(|query| query.lower(beside));
        let (isa, codes, blocks, allow) = (Isa::best(), &self.list.codes, self.blocks.clone(), self.allow.as_deref());
        let sums: Vec<Sums<'_>> = queries.iter().map(|q| q.sums).collect();
        let digits: Vec<&[i8]> = sums.iter().filter_map(Sums::digits).collect();
        let eight: Vec<&[[u8; 256]]> = sums.iter().filter_map(|s| s.tables().map(Tables::eight)).filter(|t| !t.is_empty()).collect();
        let four: Vec<&[lut4::Pair]> = sums.iter().filter_map(|s| s.tables().map(Tables::four)).filter(|t| !t.is_empty()).collect();
        let sink = &mut Survivors { rows: self, beside, queries: &mut queries };
        match (digits.is_empty(), eight.is_empty(), narrow.is_some()) {
            (false, ..) => dot(isa, codes.as_bytes(), codes.rows(), blocks, &digits, allow, sink),
            (_, false, true) => lut8::scan_u8(isa, codes, blocks, &eight, allow, sink),
            (_, false, false) => lut8::scan_u16(isa, codes, blocks, &eight, allow, sink),
            (_, _, true) => lut4::scan_u8(isa, codes, blocks, &four, allow, sink),
            (_, _, false) => lut4::scan_u16(isa, codes, blocks, &four, allow, sink),
        }
    }

    /// Tables for sums that stop at 255, in steps that reach the k-th key, where every query has one.
    fn narrow(&self, visits: &[Visit<'_>]) -> Option<Vec<Tables>> {
        if self.blocks.len() < LONG {
            return None;
        }
        let of = |visit: &Visit<'_>| match &visit.query.worth {
            Worth::Tables(lut, wide) if lut.m() <= NARROW => {
                let terms = Terms::of(visit, wide.bound());
                let most = if self.list.is_bare() { most(&terms) } else { self.list.spans.most(&terms) };
                most.is_finite().then(|| Tables::up_to(lut, most))
            }
            _ => None,
        };
        visits.iter().map(of).collect()
    }
}

/// The largest worth with which a row may have a key of at most `tau`, where rows differ in look-ups alone.
fn most(terms: &Terms) -> f64 {
    let [tau, base] = [terms.tau, terms.base].map(f64::from);
    // With the largest sum the key is about tau, so no partial result is above twice this, and each rounding loses half a unit of one.
    tau - base + 8.0 * (tau.abs() + base.abs()) * f64::from(f32::EPSILON)
}

/// How the codes of a row are summed.
#[derive(Clone, Copy)]
enum Sums<'a> {
    Tables(&'a Lut, &'a Tables),
    Linear(&'a Weights),
}

impl<'a> Sums<'a> {
    fn tables(&self) -> Option<&'a Tables> {
        if let Sums::Tables(_, tables) = self { Some(tables) } else { None }
    }

    fn digits(&self) -> Option<&'a [i8]> {
        if let Sums::Linear(weights) = self { Some(weights.digits()) } else { None }
    }

    fn bound(&self) -> Bound {
        match self {
            Sums::Tables(_, tables) => tables.bound(),
            Sums::Linear(weights) => weights.bound(),
        }
    }

    /// What a row is worth.
    #[inline]
    fn score(&self, codes: &CodeBlocks, place: usize) -> f32 {
        match self {
            Sums::Tables(lut, _) => lut.rescore(codes.block(place / BLOCK), place % BLOCK),
            Sums::Linear(weights) => weights.score(codes, place),
        }
    }
}

/// A query, and what its integer sums may be.
struct Query<'a, 'v> {
    visit: &'a mut Visit<'v>,
    sums: Sums<'a>,
    /// The k-th key so far.
    tau: f32,
    /// The largest sum that may belong to it, where rows differ in look-ups alone; else what gives that of each row.
    threshold: u32,
    limit: Limit,
}

impl Query<'_, '_> {
    fn lower(&mut self, beside: Option<&Beside<'_>>) {
        let terms = Terms::of(self.visit, self.sums.bound());
        self.tau = terms.tau;
        match (beside, self.sums.tables()) {
            (Some(beside), _) => self.limit = beside.limit(&terms),
            (None, Some(tables)) => self.threshold = tables.threshold(most(&terms)),
            (None, None) => {}
        }
    }
}

/// Scores in f32 what passes, and lowers the thresholds by it.
struct Survivors<'a, 'q, 'v> {
    rows: &'a Rows<'a>,
    beside: Option<&'a Beside<'a>>,
    queries: &'a mut [Query<'q, 'v>],
}

impl Survivors<'_, '_, '_> {
    #[inline(never)]
    fn score(&mut self, query: usize, block: usize, mut mask: u64) {
        let (query, list) = (&mut self.queries[query], self.rows.list);
        let (sum, base) = (query.visit.query.sum, query.visit.base);
        while mask != 0 {
            let place = BLOCK * block + mask.trailing_zeros() as usize;
            mask &= mask - 1;
            let key = list.key(place, query.sums.score(&list.codes, place), sum, base);
            // The id is two reads far from here, which few of the rows are worth.
            if key <= query.visit.best.worst() {
                query.visit.best.push(key, self.rows.ids[list.rows[place] as usize]);
            }
        }
        if query.visit.best.worst() < query.tau {
            query.lower(self.beside);
        }
    }
}

macro_rules! survivors {
    ($($t:ty)*) => { $(
        impl Sink<$t> for Survivors<'_, '_, '_> {
            #[inline(always)]
            fn threshold(&self, query: usize, _: usize) -> $t {
                // Sums that stop at the largest are as good as any above, so all of them must pass.
                self.queries[query].threshold.min(<$t>::MAX as u32) as $t
            }
            #[inline(always)]
            fn limits(&self, query: usize, block: usize, limits: &mut [f32; BLOCK]) -> bool {
                let Some(beside) = self.beside else { return false };
                beside.limits(block, &self.queries[query].limit, limits);
                true
            }
            #[inline(always)]
            fn block(&mut self, query: usize, block: usize, mask: u64, _: &[$t; BLOCK]) {
                self.score(query, block, mask);
            }
        }
    )* };
}
survivors!(u8 u16 i32);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::{Precision, Side};
    use proptest::prelude::*;
    use scant_tensor_core::rng::Rng;
    use scant_tensor_core::scan::Width;

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

    fn list(rows: usize, columns: usize, linear: bool, sides: [bool; 3], rng: &mut Rng) -> List {
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
        if linear {
            codes = codes.in_quads();
        }
        for _ in 0..rows {
            code.iter_mut().for_each(|c| *c = rng.next_u64() as u8);
            codes.push(&code).unwrap();
        }
        let mut list = List {
            rows: (0..rows as u32).collect(),
            codes,
            full: vec![],
            factor,
            shift,
            norm,
            radius: vec![],
            spans: crate::beside::Spans::NONE,
        };
        list.bound(0);
        list
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn the_scan_is_scoring_every_row(
            m in prop_oneof![1usize..70, 120usize..140], rows in prop_oneof![0usize..300, 6300usize..9000], k in 1usize..120,
            queries in 1usize..6, kind in 0usize..7, eight: bool, linear: bool, filter: bool, worst_first: bool, sides: [bool; 3], seed: u64,
        ) {
            let mut rng = Rng::new(seed);
            let luts = luts(if eight { Width::Eight } else { Width::Four }, m, queries, kind, &mut rng);
            let columns = if linear { m.next_multiple_of(4) } else { luts[0].columns() };
            let mut list = list(rows, columns, linear, sides, &mut rng);
            if worst_first && !linear {
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
                .map(|lut| {
                    let worth = if linear {
                        let weights: Vec<f32> = (0..columns).map(|_| rng.normal() * if kind == 5 { 1e20 } else { 0.1 }).collect();
                        Worth::Linear(Weights::new(rng.normal(), &weights).unwrap())
                    } else {
                        Worth::Tables(lut.clone(), Tables::spanning(&lut))
                    };
                    Prepared { q: &[], sum: rng.normal(), base: 0.0, worth }
                })
                .collect();
            let mut best: Vec<TopK> = prepared.iter().map(|_| TopK::new(k)).collect();
            let mut visits: Vec<Visit<'_>> =
                prepared.iter().zip(&mut best).map(|(query, best)| Visit { query, base: 0.5, best }).collect();
            Rows { list: &list, ids: &ids, allow: allow.map(Cow::Borrowed), blocks: 0..list.codes.blocks() }.scan(&mut visits);
            for (query, best) in prepared.iter().zip(best) {
                let score = |row: usize| match &query.worth {
                    Worth::Tables(lut, _) => lut.score(&list.codes, row),
                    Worth::Linear(weights) => weights.score(&list.codes, row),
                    Worth::Whole => 0.0,
                };
                let mut want = TopK::new(k);
                for row in (0..rows).filter(|row| allow.is_none_or(|a| a[row / 64] >> (row % 64) & 1 == 1)) {
                    want.push(list.key(row, score(row), query.sum, 0.5), row as u64);
                }
                let bits = |best: TopK| best.into_sorted().into_iter().map(|(key, id)| (key.to_bits(), id)).collect::<Vec<_>>();
                prop_assert_eq!(bits(best), bits(want));
            }
        }
    }
}
