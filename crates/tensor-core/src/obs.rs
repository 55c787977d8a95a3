//! The second-order sweep (optimal brain surgery, column by column): what a rounded or removed weight loses is made up for by the columns
//! after it.
//!
//! For the loss `tr(D H D^T)` of an error `D` and inputs with mean `x x^T` = `H`, fixing column `j` with an error of `d` is best answered by
//! moving every later column `k` by `-d U[j, k] / U[j, j]`, where `U` is the upper Cholesky factor of `H^-1`; the loss grows by
//! `(d / U[j, j])^2`. Frantar et al. (2022, GPTQ) for grids; the same sweep with a mask is SparseGPT's. Which value a column takes is up to
//! a [`Decide`].

use crate::error::Error;
use crate::isa::Isa;
use crate::linalg::{inverse_factor, matmul};
use crate::simd::{Simd, WithSimd};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use rayon::prelude::*;
use std::ops::Range;

/// Rows that are swept together: each is a lane of a column.
pub const LANES: usize = 64;

/// One column of [`LANES`] rows. Rows beyond the matrix hold zeros.
pub type Column = [f32; LANES];

/// Columns whose errors reach the columns behind them as one product.
const BLOCK: usize = 128;

/// How often damping is raised when the matrix is not positive definite, and how much.
const RETRIES: usize = 3;
const RAISE: f32 = 10.0;

/// What the sweep needs to know of the inputs: `U` of the damped `H`, shared by all matrices of a site.
#[derive(Clone, Debug)]
pub struct InverseFactor {
    upper: Array2<f32>,
    dead: Vec<bool>,
    damping: f32,
    added: f32,
}

impl InverseFactor {
    /// Factors `gram` `[n, n]`, the mean of `x x^T`, with `damping` times the mean of its diagonal added to the diagonal. O(2 n^3 / 3).
    ///
    /// Damping that does not do is raised tenfold, three times. Inputs that are always 0 are dead: they are taken as independent of all others.
    ///
    /// # Errors
    /// [`Error::Shape`] if `gram` is not square, [`Error::NotFinite`], and [`Error::NotPositiveDefinite`] with the damping that was asked for and the last one tried.
    pub fn new(gram: ArrayView2<'_, f32>, damping: f32) -> Result<InverseFactor, Error> {
        let n = gram.nrows();
        Error::check_shape("gram matrix", &[n, n], gram.shape())?;
        Error::check_finite("gram matrix", gram)?;
        // Before damping: afterwards no input looks dead.
        let dead: Vec<bool> = gram.diag().iter().map(|x| *x == 0.0).collect();
        let live = dead.iter().filter(|d| !**d).count().max(1);
        #[expect(clippy::cast_possible_truncation, reason = "back to the type of the matrix")]
        let mean = (gram.diag().iter().map(|x| f64::from(*x)).sum::<f64>() / live as f64) as f32;
        let (asked, mut damping) = (damping, damping);
        for retries in 0.. {
            let added = damping * mean;
            let mut damped = gram.to_owned();
            for (h, dead) in damped.diag_mut().iter_mut().zip(&dead) {
                *h = if !*dead {
                    *h + added
                } else if mean > 0.0 {
                    mean
                } else {
                    1.0
                };
            }
            match inverse_factor(damped.view()) {
                Ok(upper) => return Ok(InverseFactor { upper, dead, damping, added }),
                Err(Error::NotPositiveDefinite { .. }) if retries < RETRIES => {
                    damping = if damping > 0.0 { damping * RAISE } else { 1e-4 };
                }
                Err(Error::NotPositiveDefinite { pivot, .. }) => {
                    let what = format!("gram matrix with a damping of {asked}, raised {RETRIES} times to {damping:.2}");
                    return Err(Error::NotPositiveDefinite { what, pivot, n });
                }
                Err(other) => return Err(other),
            }
        }
        unreachable!("the last retry returns")
    }

    /// Upper triangular `U` with `(H + added I)^-1 = U^T U`, `[n, n]`.
    pub fn upper(&self) -> ArrayView2<'_, f32> {
        self.upper.view()
    }

    /// Whether input `j` is always 0.
    pub fn is_dead(&self, j: usize) -> bool {
        self.dead[j]
    }

    /// Number of inputs that are always 0.
    pub fn dead_inputs(&self) -> usize {
        self.dead.iter().filter(|d| **d).count()
    }

    /// The damping that did, relative to the mean of the diagonal.
    pub fn damping(&self) -> f32 {
        self.damping
    }

    /// What was added to the diagonal.
    pub fn added(&self) -> f32 {
        self.added
    }
}

/// Decides the values of the columns for one chunk of rows: a grid, a mask, or both.
pub trait Decide: Send {
    /// A group of columns starts; `w` are its weights as they are now, with all earlier errors made up for.
    fn begin(&mut self, columns: Range<usize>, w: &[Column]);

    /// Sets `chosen` to the values that column `j` takes instead of `w`.
    fn decide(&mut self, j: usize, w: &Column, chosen: &mut Column);
}

/// What a sweep leaves: a decider for each chunk of [`LANES`] rows, in order, and the predicted loss.
#[derive(Debug)]
pub struct Swept<D> {
    /// For rows `0..64`, `64..128`, and so on.
    pub chunks: Vec<D>,
    /// The predicted loss of each row, `[m]`: `d (H + added I) d^T` of its error `d`. 0 without a factor.
    pub loss: Vec<f64>,
}

/// Sweeps `w` `[m, n]` from the first column to the last. `group` columns begin together; a last group may be shorter. `new` makes the
/// decider of a chunk of rows. Without a factor nothing is made up for: each column is decided as it is.
///
/// O(m n^2), parallel over chunks of rows; any number of threads gives the same bits. Columns are worked off in blocks that hold whole groups
/// or lie inside one, so [`Decide::begin`] always sees weights that are up to date.
///
/// # Errors
/// [`Error::Shape`] if the factor is for another number of columns, [`Error::Empty`], [`Error::NotFinite`].
pub fn sweep<D: Decide>(
    w: ArrayView2<'_, f32>,
    factor: Option<&InverseFactor>,
    group: usize,
    new: impl Fn(Range<usize>) -> D + Sync,
) -> Result<Swept<D>, Error> {
    sweep_blocks(w, factor, group, BLOCK, new)
}

fn sweep_blocks<D: Decide>(
    w: ArrayView2<'_, f32>,
    factor: Option<&InverseFactor>,
    group: usize,
    block: usize,
    new: impl Fn(Range<usize>) -> D + Sync,
) -> Result<Swept<D>, Error> {
    let (m, n) = w.dim();
    if m == 0 || n == 0 {
        return Err(Error::Empty { what: "swept matrix".to_owned(), shape: [m, n] });
    }
    Error::check_finite("swept matrix", w)?;
    if let Some(factor) = factor {
        Error::check_shape("inverse factor", &[n, n], factor.upper.shape())?;
    }
    let (isa, group) = (Isa::best(), group.clamp(1, n));
    let chunk = |start: usize| {
        let rows = start..(start + LANES).min(m);
        let mut decider = new(rows.clone());
        let mut columns = columns_of(w.slice(s![rows.clone(), ..]));
        let loss = match factor {
            None => plain(&mut columns, group, &mut decider),
            Some(factor) => second_order(isa, &mut columns, factor, group, block, &mut decider),
        };
        (decider, loss[..rows.len()].to_vec())
    };
    let starts: Vec<usize> = (0..m).step_by(LANES).collect();
    let done: Vec<(D, Vec<f64>)> = starts.into_par_iter().map(chunk).collect();
    let (chunks, loss): (Vec<D>, Vec<Vec<f64>>) = done.into_iter().unzip();
    Ok(Swept { chunks, loss: loss.concat() })
}

/// Rows become lanes.
fn columns_of(w: ArrayView2<'_, f32>) -> Vec<Column> {
    let mut columns = vec![[0.0; LANES]; w.ncols()];
    for (lane, row) in w.rows().into_iter().enumerate() {
        columns.iter_mut().zip(row).for_each(|(column, w)| column[lane] = *w);
    }
    columns
}

fn plain<D: Decide>(columns: &mut [Column], group: usize, decider: &mut D) -> [f64; LANES] {
    let mut chosen = [0.0; LANES];
    for (g, w) in columns.chunks(group).enumerate() {
        let first = g * group;
        decider.begin(first..first + w.len(), w);
        w.iter().enumerate().for_each(|(j, w)| decider.decide(first + j, w, &mut chosen));
    }
    [0.0; LANES]
}

fn second_order<D: Decide>(
    isa: Isa,
    columns: &mut [Column],
    factor: &InverseFactor,
    group: usize,
    block: usize,
    decider: &mut D,
) -> [f64; LANES] {
    let n = columns.len();
    for (column, dead) in columns.iter_mut().zip(&factor.dead) {
        if *dead {
            *column = [0.0; LANES];
        }
    }
    let mut loss = [0.0; LANES];
    let mut errors = vec![[0.0; LANES]; block];
    let mut chosen = [0.0; LANES];
    let mut start = 0;
    while start < n {
        let end = block_end(start, group, block).min(n);
        for j in start..end {
            if j % group == 0 {
                let group = j..(j + group).min(n);
                decider.begin(group.clone(), &columns[group]);
            }
            decider.decide(j, &columns[j], &mut chosen);
            let error = &mut errors[j - start];
            let u = factor.upper.row(j);
            let u = &u.to_slice().expect("the factor is in row order")[j..end];
            isa.run(Push { columns: &mut columns[j..end], chosen: &chosen, u, error });
            if !factor.dead[j] {
                loss.iter_mut().zip(&*error).for_each(|(loss, e)| *loss += f64::from(*e) * f64::from(*e));
            }
        }
        if end < n {
            let errors = ArrayView2::from_shape((end - start, LANES), errors[..end - start].as_flattened()).expect("sized for it");
            let behind = ArrayViewMut2::from_shape((n - end, LANES), columns[end..].as_flattened_mut()).expect("sized for it");
            matmul(-1.0, factor.upper.slice(s![start..end, end..]).t(), errors, true, behind);
        }
        start = end;
    }
    loss
}

/// A block holds as many whole groups as fit, or lies inside one group: then `begin` never sees columns that wait for a block's errors.
fn block_end(start: usize, group: usize, block: usize) -> usize {
    if group <= block { start + block / group * group } else { (start + block).min((start / group + 1) * group) }
}

/// Error of the first column, pushed onto the other columns of its block.
struct Push<'a> {
    columns: &'a mut [Column],
    chosen: &'a Column,
    u: &'a [f32],
    error: &'a mut Column,
}

impl WithSimd for Push<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (first, rest) = self.columns.split_first_mut().expect("a block has a column");
        let mut error = [0.0; LANES];
        for (l, e) in error.iter_mut().enumerate() {
            *e = (first[l] - self.chosen[l]) / self.u[0];
        }
        for (column, u) in rest.iter_mut().zip(&self.u[1..]) {
            for (w, e) in column.iter_mut().zip(&error) {
                *w -= e * u;
            }
        }
        *self.error = error;
    }
}

#[cfg(test)]
mod tests;
