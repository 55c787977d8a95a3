//! The postings: term after term, and within a term window after window of documents.
//!
//! A window is a run of rows whose accumulators stay in the cache nearest to the core. The blocks of a term lie behind each other, so a query
//! reads one forward stream for each of its terms.
//!
//! ```text
//! block:   window u16 | largest code u8 | form u8 | length u16 | the list
//! form 0:  `length` pairs of gap and code (see gaps.rs): about two bytes a posting
//! form 1:  a code for each of `length` rows, 0 where the term is absent: for terms in more than half of a window
//! ```

use crate::gaps;
use scant_tensor_core::file::Typed;
use scant_tensor_core::simd::{Simd, WithSimd};
use std::ops::Range;

/// Rows of the largest window: 64 KiB of accumulators.
pub(crate) const MAX_WINDOW: usize = 16_384;
const HEADER: usize = 6;
const GAPS: u8 = 0;
const DENSE: u8 = 1;

/// Appends the blocks of one term. `rows` ascend, and `codes` are above 0.
pub(crate) fn encode(rows: &[u32], codes: &[u8], window: usize, total: usize, out: &mut Vec<u8>) {
    let mut from = 0;
    while from < rows.len() {
        let number = rows[from] as usize / window;
        let base = number * window;
        let to = from + rows[from..].partition_point(|row| (*row as usize) < base + window);
        let (part, part_codes) = (&rows[from..to], &codes[from..to]);
        let most = part_codes.iter().copied().max().unwrap_or(0);
        let offsets = || part.iter().map(|row| row - base as u32);
        let dense = window.min(total - base);
        let pairs = gaps::encoded_len(offsets()) / 2;
        let (form, len) = if dense < 2 * pairs { (DENSE, dense) } else { (GAPS, pairs) };
        out.extend((number as u16).to_le_bytes());
        out.extend([most, form]);
        out.extend((len as u16).to_le_bytes());
        if form == DENSE {
            let begin = out.len();
            out.resize(begin + dense, 0);
            offsets().zip(part_codes).for_each(|(offset, code)| out[begin + offset as usize] = *code);
        } else {
            gaps::encode(offsets().zip(part_codes.iter().copied()), out);
        }
        from = to;
    }
}

/// A list of one term in one window.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) window: usize,
    /// The largest code.
    pub(crate) most: u8,
    form: u8,
    list: &'a [u8],
}

impl<'a> Block<'a> {
    /// The block at the beginning, and what comes after it. `None` at the end, and for bytes that are no block.
    fn first(bytes: &'a [u8]) -> Option<(Block<'a>, &'a [u8])> {
        let ([w0, w1, most, form, n0, n1], rest) = bytes.split_first_chunk::<HEADER>()?;
        let len = usize::from(u16::from_le_bytes([*n0, *n1])) * if *form == DENSE { 1 } else { 2 };
        let (list, rest) = rest.split_at_checked(len)?;
        Some((Block { window: usize::from(u16::from_le_bytes([*w0, *w1])), most: *most, form: *form, list }, rest))
    }

    /// Offsets in the window, with codes.
    fn for_each(&self, mut f: impl FnMut(u32, u8)) {
        if self.form == DENSE {
            self.list.iter().zip(0..).filter(|(code, _)| **code > 0).for_each(|(code, offset)| f(offset, *code));
        } else {
            gaps::decode(self.list).for_each(|(offset, code)| f(offset, code));
        }
    }
}

/// The blocks of one term, in order.
#[derive(Clone)]
pub(crate) struct Blocks<'a>(&'a [u8]);

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        let (block, rest) = Block::first(self.0)?;
        self.0 = rest;
        Some(block)
    }
}

/// All postings of an index.
#[derive(Clone, Debug)]
pub(crate) struct Postings {
    /// Rows of a window.
    pub(crate) window: usize,
    /// For each term the byte at which its blocks begin; one more for the end.
    pub(crate) start: Typed<u32>,
    pub(crate) blocks: Typed<u8>,
}

impl Postings {
    pub(crate) fn of(&self, term: usize) -> Blocks<'_> {
        Blocks(self.blocks.get(self.start[term] as usize..self.start[term + 1] as usize).unwrap_or(&[]))
    }

    /// Rows of a term, ascending.
    pub(crate) fn rows(&self, term: usize) -> Vec<usize> {
        let mut rows = vec![];
        for block in self.of(term) {
            block.for_each(|offset, _| rows.push(block.window * self.window + offset as usize));
        }
        rows
    }
}

/// Accumulators of one window. All are 0 between windows.
pub(crate) struct Accumulators(Box<[u32; MAX_WINDOW]>);

impl Default for Accumulators {
    fn default() -> Accumulators {
        Accumulators(Box::new([0; MAX_WINDOW]))
    }
}

impl std::fmt::Debug for Accumulators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Accumulators")
    }
}

impl Accumulators {
    /// What adds a block's codes times `weight`.
    pub(crate) fn add<'a>(&'a mut self, block: Block<'a>, weight: u32) -> Add<'a> {
        Add { acc: &mut self.0, block, weight }
    }

    /// What gives `f` the rows whose sum is at least `least` (1 or more), and sets all to 0. `f` returns the next `least`.
    pub(crate) fn collect<F: FnMut(usize, u32) -> u32>(&mut self, rows: Range<usize>, least: u32, f: F) -> Collect<'_, F> {
        Collect { acc: &mut self.0, rows, least, f }
    }
}

/// One list into the accumulators. The sum of a row stays below 2^24, by the weights' scale.
pub(crate) struct Add<'a> {
    acc: &'a mut [u32; MAX_WINDOW],
    block: Block<'a>,
    weight: u32,
}

impl WithSimd for Add<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Add { acc, block, weight } = self;
        if block.form == DENSE {
            for (sum, code) in acc.iter_mut().zip(block.list) {
                *sum = sum.wrapping_add(weight * u32::from(*code));
            }
            return;
        }
        let mut at = 0u32;
        for [gap, code] in block.list.as_chunks::<2>().0 {
            at = gaps::advance(at, *gap, *code);
            // The mask keeps a damaged list inside.
            let sum = &mut acc[at as usize % MAX_WINDOW];
            *sum = sum.wrapping_add(weight * u32::from(*code));
        }
    }
}

pub(crate) struct Collect<'a, F> {
    acc: &'a mut [u32; MAX_WINDOW],
    /// Of the index; the first belongs to the first accumulator.
    rows: Range<usize>,
    least: u32,
    f: F,
}

impl<F: FnMut(usize, u32) -> u32> WithSimd for Collect<'_, F> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Collect { acc, rows, mut least, mut f } = self;
        let (lines, _) = acc.as_chunks_mut::<64>();
        for (line, first) in lines.iter_mut().zip(rows.clone().step_by(64)) {
            let mut most = 0;
            for sum in line.iter() {
                most = most.max(*sum);
            }
            if most >= least {
                for (sum, row) in line.iter().zip(first..rows.end) {
                    if *sum >= least {
                        least = f(row, *sum).max(1);
                    }
                }
            }
            if most > 0 {
                line.fill(0);
            }
        }
    }
}
