//! Products with sparse rows: sixteen elements at a time meet the inputs of their columns.
//!
//! Inputs are fetched one by one on every tier: a gather instruction is no faster where it exists. Lane `l` sums elements `l`, `l + 16`, ..,
//! fused, and the lanes are summed as a tree, so tiers and batch sizes agree bit for bit.

use crate::format::{Columns, Csr};
use crate::prepared::Prepared;
use crate::simd::{Simd, WithSimd};
use ndarray::ArrayViewMut2;
use std::ops::Range;

/// `y[.., rows] += x W[rows]^T`; `y` is `[tokens, rows.len()]` with contiguous rows.
pub(crate) fn accumulate(w: &Csr, x: &Prepared, rows: Range<usize>, y: &mut ArrayViewMut2<'_, f32>) {
    match w.columns() {
        Columns::U16(columns) => x.isa().run(Rows { w, columns, x, rows, y }),
        Columns::U32(columns) => x.isa().run(Rows { w, columns, x, rows, y }),
    }
}

/// A column of 16 or 32 bits.
trait Column: Copy {
    fn place(self) -> usize;
}

impl Column for u16 {
    #[inline(always)]
    fn place(self) -> usize {
        usize::from(self)
    }
}

impl Column for u32 {
    #[inline(always)]
    fn place(self) -> usize {
        self as usize
    }
}

struct Rows<'a, 'y, C> {
    w: &'a Csr,
    columns: &'a [C],
    x: &'a Prepared,
    rows: Range<usize>,
    y: &'a mut ArrayViewMut2<'y, f32>,
}

impl<C: Column> WithSimd for Rows<'_, '_, C> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let values: &[u16] = bytemuck::cast_slice(self.w.values());
        for t in 0..self.x.tokens() {
            let x = self.x.row(t);
            for (out, i) in self.rows.clone().enumerate() {
                let row = self.w.row(i);
                if row.is_empty() {
                    continue;
                }
                let (values, tail) = values[row.clone()].as_chunks::<16>();
                let (columns, tail_columns) = self.columns[row].as_chunks::<16>();
                let mut acc = s.splat(0.0);
                for (values, columns) in values.iter().zip(columns) {
                    let mut at = [0.0; 16];
                    for (at, column) in at.iter_mut().zip(columns) {
                        *at = x[column.place()];
                    }
                    acc = s.mul_add(s.load_f16(values), s.load(&at), acc);
                }
                if !tail.is_empty() {
                    let (mut last, mut at) = ([0; 16], [0.0; 16]);
                    for (l, (value, column)) in tail.iter().zip(tail_columns).enumerate() {
                        (last[l], at[l]) = (*value, x[column.place()]);
                    }
                    acc = s.mul_add(s.load_f16(&last), s.load(&at), acc);
                }
                self.y[[t, out]] += s.sum(acc);
            }
        }
    }
}
