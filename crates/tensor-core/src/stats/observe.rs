//! One pass over the inputs of a sequence: sums of vectors in f64, the Gram matrix through dense products.

use super::{SiteStats, row_start};
use crate::error::Error;
use crate::isa::Isa;
use crate::linalg::matmul;
use crate::simd::{Simd, WithSimd};
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

/// Inputs of one task: rows of the Gram matrix that are computed together. Fixed, so results do not depend on the number of threads.
const COLUMNS: usize = 64;
/// Tokens whose products are added in f32 before they meet the sum.
const CHUNK: usize = 4096;
/// Tokens whose values are added in f32 before they meet the f64 sums.
const SHORT: usize = 32;

/// The parts of the statistics that belong to the inputs of one task.
struct Part<'a> {
    columns: std::ops::Range<usize>,
    sum: &'a mut [f64],
    abs: Option<&'a mut [f64]>,
    sq: Option<&'a mut [f64]>,
    norm: Option<&'a mut [f64]>,
    gram: Option<&'a mut [f32]>,
}

impl SiteStats {
    /// Adds the inputs of one sequence, `x` `[tokens, n]`. O(tokens * n^2 / 2) with a Gram matrix, parallel over its rows; any number of
    /// threads gives the same bits.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x` has another number of columns; [`Error::NotFinite`]. Nothing has been added then.
    pub fn observe(&mut self, x: ArrayView2<'_, f32>) -> Result<(), Error> {
        Error::check_shape("observed inputs", &[x.nrows(), self.n], x.shape())?;
        let x = x.as_standard_layout();
        if x.as_slice().is_some_and(|x| x.iter().any(|x| !x.is_finite())) {
            Error::check_finite("observed inputs", x.view())?;
        }
        if x.nrows() == 0 {
            return Ok(());
        }
        let isa = Isa::best();
        let mut parts: Vec<Part<'_>> = vec![];
        let mut abs = self.abs.as_mut().map(|v| v.chunks_mut(COLUMNS));
        let mut sq = self.sq.as_mut().map(|v| v.chunks_mut(COLUMNS));
        let mut norm = self.norm.as_mut().map(|v| v.chunks_mut(COLUMNS));
        let mut gram = self.gram.as_deref_mut();
        for (i, sum) in self.sum.chunks_mut(COLUMNS).enumerate() {
            let columns = i * COLUMNS..i * COLUMNS + sum.len();
            let gram = gram.take().map(|g| {
                let (mine, rest) = g.split_at_mut(row_start(columns.end) - row_start(columns.start));
                gram = Some(rest);
                mine
            });
            let next = |v: &mut Option<_>| v.as_mut().and_then(Iterator::next);
            parts.push(Part { columns, sum, abs: next(&mut abs), sq: next(&mut sq), norm: next(&mut norm), gram });
        }
        parts.into_par_iter().for_each(|part| part.observe(isa, x.view()));
        self.tokens += x.nrows() as f64;
        self.sequences += 1.0;
        Ok(())
    }
}

impl Part<'_> {
    fn observe(self, isa: Isa, x: ArrayView2<'_, f32>) {
        let width = self.columns.len();
        let mut totals = [[0.0f64; COLUMNS]; 3];
        for tokens in (0..x.nrows()).step_by(SHORT) {
            let tokens = tokens..(tokens + SHORT).min(x.nrows());
            isa.run(Sums { x: x.slice(s![tokens, self.columns.clone()]), totals: &mut totals });
        }
        let [sum, abs, sq] = totals;
        let add = |to: &mut [f64], from: &[f64]| to.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        add(self.sum, &sum[..width]);
        self.abs.into_iter().for_each(|v| add(v, &abs[..width]));
        self.norm.into_iter().for_each(|v| add(v, &sq.map(f64::sqrt)[..width]));
        self.sq.into_iter().for_each(|v| add(v, &sq[..width]));
        let Some(gram) = self.gram else {
            return;
        };
        let mut product = Array2::zeros((width, self.columns.end));
        for tokens in (0..x.nrows()).step_by(CHUNK) {
            let x = x.slice(s![tokens..(tokens + CHUNK).min(x.nrows()), ..self.columns.end]);
            matmul(1.0, x.slice(s![.., self.columns.clone()]).t(), x, false, product.view_mut());
            let mut row = &mut gram[..];
            for (i, product) in self.columns.clone().zip(product.rows()) {
                let (mine, rest) = row.split_at_mut(i + 1);
                mine.iter_mut().zip(product).for_each(|(a, b)| *a += b);
                row = rest;
            }
        }
    }
}

/// Adds `x`, `|x|` and `x^2` of a few tokens to f64 totals, through f32 sums.
struct Sums<'a> {
    x: ArrayView2<'a, f32>,
    totals: &'a mut [[f64; COLUMNS]; 3],
}

impl WithSimd for Sums<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let mut sums = [[0.0f32; COLUMNS]; 3];
        for row in self.x.rows() {
            let row = row.to_slice().expect("rows of a standard layout are contiguous");
            let mut x = [0.0; COLUMNS];
            x[..row.len()].copy_from_slice(row);
            for j in 0..COLUMNS {
                sums[0][j] += x[j];
                sums[1][j] += x[j].abs();
                sums[2][j] += x[j] * x[j];
            }
        }
        for (totals, sums) in self.totals.iter_mut().zip(&sums) {
            totals.iter_mut().zip(sums).for_each(|(a, b)| *a += f64::from(*b));
        }
    }
}
