//! Dot products along rows: `y += x W^T` for a row-major matrix.
//!
//! Sixty-four columns at a time go into four accumulators of 16 lanes, summed as a tree at the end: the same order on every tier and for
//! every number of tokens.

use crate::format::{Dense, DenseData, Element};
use crate::isa::Isa;
use crate::prepared::Prepared;
use crate::simd::{Simd, WithSimd};
use ndarray::{ArrayView2, ArrayViewMut2};
use std::ops::Range;

/// `y[.., rows] += x W[rows]^T`; `y` is `[tokens, rows.len()]` with contiguous rows.
pub(crate) fn accumulate(w: &Dense, x: &Prepared, rows: Range<usize>, y: &mut ArrayViewMut2<'_, f32>) {
    kinds(w, x, rows, To { columns: None, first: 0 }, y);
}

/// The same for rows of `W` that are spread over the columns of `y`: row `rows.start + i` adds to column `columns[i] - first`.
pub(crate) fn scatter(w: &Dense, x: &Prepared, rows: Range<usize>, columns: &[u32], first: usize, y: &mut ArrayViewMut2<'_, f32>) {
    debug_assert_eq!(rows.len(), columns.len());
    kinds(w, x, rows, To { columns: Some(columns), first }, y);
}

/// The column of `y` for each row.
#[derive(Clone, Copy)]
struct To<'a> {
    columns: Option<&'a [u32]>,
    first: usize,
}

fn kinds(w: &Dense, x: &Prepared, rows: Range<usize>, to: To<'_>, y: &mut ArrayViewMut2<'_, f32>) {
    let n = w.shape[1];
    let range = rows.start * n..rows.end * n;
    match &w.data {
        DenseData::F32(w) => tokens(&w[range], n, x, to, y),
        DenseData::F16(w) => tokens(&w[range], n, x, to, y),
        DenseData::Bf16(w) => tokens(&w[range], n, x, to, y),
    }
}

fn tokens<E: Element>(w: &[E], n: usize, x: &Prepared, to: To<'_>, y: &mut ArrayViewMut2<'_, f32>) {
    let mut first = 0;
    while first < x.tokens() {
        if x.tokens() - first >= 4 {
            x.isa().run(Rows::<'_, '_, E, 4> { w, n, x, first, to, y });
            first += 4;
        } else {
            x.isa().run(Rows::<'_, '_, E, 1> { w, n, x, first, to, y });
            first += 1;
        }
    }
}

struct Rows<'a, 'y, E, const T: usize> {
    w: &'a [E],
    n: usize,
    x: &'a Prepared,
    first: usize,
    to: To<'a>,
    y: &'a mut ArrayViewMut2<'y, f32>,
}

impl<E: Element, const T: usize> WithSimd for Rows<'_, '_, E, T> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x: [&[f32]; T] = std::array::from_fn(|t| self.x.row(self.first + t));
        let x64 = x.map(|x| x.as_chunks::<16>().0.as_chunks::<4>().0);
        for (i, w) in self.w.chunks_exact(self.n).enumerate() {
            let mut acc = [[s.splat(0.0); 4]; T];
            let (w64, tail) = w.as_chunks::<64>();
            for (b, w) in w64.iter().enumerate() {
                for (a, w) in w.as_chunks::<16>().0.iter().enumerate() {
                    let w = E::load(s, w);
                    for t in 0..T {
                        acc[t][a] = s.mul_add(w, s.load(&x64[t][b][a]), acc[t][a]);
                    }
                }
            }
            let at = 64 * w64.len();
            for (a, w) in tail.chunks(16).enumerate() {
                let mut padded = [E::default(); 16];
                padded[..w.len()].copy_from_slice(w);
                let lanes = E::load(s, &padded);
                for t in 0..T {
                    acc[t][a] = s.mul_add(lanes, s.load_tail(&x[t][at + 16 * a..][..w.len()]), acc[t][a]);
                }
            }
            let column = self.to.columns.map_or(i, |columns| columns[i] as usize - self.to.first);
            for (t, acc) in acc.into_iter().enumerate() {
                self.y[[self.first + t, column]] += s.sum(s.add(s.add(acc[0], acc[1]), s.add(acc[2], acc[3])));
            }
        }
    }
}

/// `dense += W[rows]`.
pub(crate) fn add_rows(w: &Dense, rows: Range<usize>, dense: &mut ArrayViewMut2<'_, f32>) {
    let n = w.shape[1];
    let range = rows.start * n..rows.end * n;
    // Every tier gives the same bits, so the caller need not say which.
    let isa = Isa::best();
    match &w.data {
        DenseData::F32(w) => isa.run(AddRows { w: &w[range], n, dense }),
        DenseData::F16(w) => isa.run(AddRows { w: &w[range], n, dense }),
        DenseData::Bf16(w) => isa.run(AddRows { w: &w[range], n, dense }),
    }
}

struct AddRows<'a, 'd, E> {
    w: &'a [E],
    n: usize,
    dense: &'a mut ArrayViewMut2<'d, f32>,
}

impl<E: Element> WithSimd for AddRows<'_, '_, E> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (w, mut out) in self.w.chunks_exact(self.n).zip(self.dense.rows_mut()) {
            for (i, w) in w.chunks(16).enumerate() {
                let mut padded = [E::default(); 16];
                padded[..w.len()].copy_from_slice(w);
                let mut lanes = [0.0; 16];
                s.store(E::load(s, &padded), &mut lanes);
                match out.as_slice_mut() {
                    Some(out) => out[16 * i..].iter_mut().zip(lanes).for_each(|(out, w)| *out += w),
                    None => out.iter_mut().skip(16 * i).zip(lanes).for_each(|(out, w)| *out += w),
                }
            }
        }
    }
}

/// `dense += a b` for `a` `[p, r]` and `b` `[r, n]`: a chain of fused additions for each element in the order of `r`, then one addition, so that
/// rows come out the same whether alone or with others.
pub(crate) fn add_product(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, dense: &mut ArrayViewMut2<'_, f32>) {
    Isa::best().run(AddProduct { a, b, dense });
}

struct AddProduct<'a, 'd, 'v> {
    a: ArrayView2<'a, f32>,
    b: ArrayView2<'a, f32>,
    dense: &'d mut ArrayViewMut2<'v, f32>,
}

/// Vectors of a row that are summed at a time.
const WIDE: usize = 4;

impl WithSimd for AddProduct<'_, '_, '_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (rows, n) = self.dense.dim();
        for row in 0..rows {
            for first in (0..n).step_by(16 * WIDE) {
                let columns = first..(first + 16 * WIDE).min(n);
                let mut acc = [s.splat(0.0); WIDE];
                for (j, b) in self.b.rows().into_iter().enumerate() {
                    let a = s.splat(self.a[[row, j]]);
                    let b = b.to_slice().map_or(&[][..], |b| &b[columns.clone()]);
                    let (whole, tail) = b.as_chunks::<16>();
                    for (acc, b) in acc.iter_mut().zip(whole) {
                        *acc = s.mul_add(a, s.load(b), *acc);
                    }
                    if !tail.is_empty() {
                        acc[whole.len()] = s.mul_add(a, s.load_tail(tail), acc[whole.len()]);
                    }
                }
                let mut sums = [[0.0; 16]; WIDE];
                for (sums, acc) in sums.iter_mut().zip(acc) {
                    s.store(acc, sums);
                }
                for (i, sum) in columns.zip(sums.as_flattened()) {
                    self.dense[[row, i]] += sum;
                }
            }
        }
    }
}
