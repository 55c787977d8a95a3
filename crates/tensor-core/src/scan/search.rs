//! The exact k best of f32 look-up sums, by way of integer sums.

use super::{CodeBlocks, Lut, Sink, Tables, lut4, lut8};
use crate::Error;
use crate::isa::Isa;
use crate::retrieve::TopK;
use std::ops::Range;

/// Bits of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Two codes in a byte, the low nibble first.
    Four,
    /// One code in a byte.
    Eight,
}

impl Width {
    /// Entries of a table.
    pub fn entries(self) -> usize {
        match self {
            Width::Four => 16,
            Width::Eight => 256,
        }
    }

    /// Bytes of the tables of a column.
    pub(super) fn bytes(self) -> usize {
        match self {
            Width::Four => 32,
            Width::Eight => 256,
        }
    }
}

/// Every so many blocks one is looked at first, for a bound of the k-th key.
const SAMPLE: usize = 25;
/// Up to so many sub-quantizers the rounding of tables, half a step each, leaves enough of 254 steps.
const NARROW: usize = 64;

/// The rows with the `k` smallest f32 look-up sums of each query, in order of (sum, row): bit for bit what scoring every row would give.
///
/// `allow` has a word for every block; rows whose bit is 0 are left out. Allocates tables and buffers of each query.
///
/// # Errors
/// [`Error::Shape`] unless the tables have one width and the columns of the codes.
pub fn top_k_lut(isa: Isa, codes: &CodeBlocks, luts: &[Lut], allow: Option<&[u64]>, k: usize) -> Result<Vec<Vec<(f32, u64)>>, Error> {
    for lut in luts {
        Error::check_shape("columns of look-up tables", &[codes.columns()], &[lut.columns()])?;
        Error::check_shape("entries of look-up tables", &[luts[0].width().entries()], &[lut.width().entries()])?;
    }
    if let Some(allow) = allow {
        Error::check_shape("words of allowed rows", &[codes.blocks()], &[allow.len()])?;
    }
    let mut tables: Vec<Tables> = luts.iter().map(Tables::spanning).collect();
    let mut sample = Survivors::new(codes, luts, &tables, k, None);
    for block in (0..codes.blocks()).step_by(SAMPLE) {
        scan(isa, codes, block..block + 1, &tables, false, allow, &mut sample);
    }
    let kth = |best: Vec<(f32, u64)>| if k > 0 && best.len() == k { best[k - 1].0 } else { f32::INFINITY };
    let bounds: Vec<f32> = sample.states.into_iter().map(|s| kth(s.best.into_sorted())).collect();
    // Without a bound, u8 sums would be full at once.
    let narrow = luts.first().is_some_and(|lut| lut.m() <= NARROW) && bounds.iter().all(|tau| tau.is_finite());
    if narrow {
        tables = luts.iter().zip(&bounds).map(|(lut, tau)| Tables::up_to(lut, *tau)).collect();
    }
    let mut all = Survivors::new(codes, luts, &tables, k, Some(&bounds));
    scan(isa, codes, 0..codes.blocks(), &tables, narrow, allow, &mut all);
    Ok(all.states.into_iter().map(|s| s.best.into_sorted()).collect())
}

fn scan(
    isa: Isa,
    codes: &CodeBlocks,
    blocks: Range<usize>,
    tables: &[Tables],
    narrow: bool,
    allow: Option<&[u64]>,
    sink: &mut Survivors<'_>,
) {
    if tables.first().is_some_and(|t| !t.four().is_empty()) {
        let tables: Vec<_> = tables.iter().map(Tables::four).collect();
        if narrow {
            lut4::scan_u8(isa, codes, blocks, &tables, allow, sink)
        } else {
            lut4::scan_u16(isa, codes, blocks, &tables, allow, sink)
        }
    } else {
        let tables: Vec<_> = tables.iter().map(Tables::eight).collect();
        if narrow {
            lut8::scan_u8(isa, codes, blocks, &tables, allow, sink)
        } else {
            lut8::scan_u16(isa, codes, blocks, &tables, allow, sink)
        }
    }
}

struct State {
    best: TopK,
    tau: f32,
    threshold: u32,
}

/// Scores in f32 what passes, and lowers the thresholds by it.
struct Survivors<'a> {
    codes: &'a CodeBlocks,
    luts: &'a [Lut],
    tables: &'a [Tables],
    states: Vec<State>,
}

impl<'a> Survivors<'a> {
    fn new(codes: &'a CodeBlocks, luts: &'a [Lut], tables: &'a [Tables], k: usize, bounds: Option<&[f32]>) -> Self {
        let state = |(i, tables): (usize, &Tables)| {
            let tau = bounds.map_or(f32::INFINITY, |b| b[i]);
            State { best: TopK::new(k), tau, threshold: tables.threshold(tau) }
        };
        Survivors { codes, luts, tables, states: tables.iter().enumerate().map(state).collect() }
    }

    #[inline(never)]
    fn rescore(&mut self, query: usize, block: usize, mut mask: u64) {
        let (state, lut) = (&mut self.states[query], &self.luts[query]);
        let lines = self.codes.block(block);
        while mask != 0 {
            let lane = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            state.best.push(lut.rescore(lines, lane), (64 * block + lane) as u64);
        }
        let tau = state.best.worst();
        if tau < state.tau {
            state.tau = tau;
            state.threshold = if tau == f32::NEG_INFINITY { 0 } else { self.tables[query].threshold(tau) };
        }
    }
}

macro_rules! survivors {
    ($($t:ty)*) => { $(
        impl Sink<$t> for Survivors<'_> {
            #[inline(always)]
            fn threshold(&self, query: usize, _: usize) -> $t {
                // Sums that stop at the largest are as good as any above, so all of them must pass.
                self.states[query].threshold.min(u32::from(<$t>::MAX)) as $t
            }
            #[inline(always)]
            fn block(&mut self, query: usize, block: usize, mask: u64, _: &[$t; 64]) {
                self.rescore(query, block, mask);
            }
        }
    )* };
}
survivors!(u8 u16);
