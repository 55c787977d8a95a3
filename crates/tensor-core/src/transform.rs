//! What happens to an input before the terms and to the output after them: scales, permutations, Hadamard rotations.
//!
//! They make AWQ scales, act-order and incoherence rotations local to a layer, so no method needs surgery on the model.

use crate::error::Error;
use crate::rng::Rng;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};
use std::sync::Arc;

/// One step of a transform of row vectors of `n` values.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// `x[j] * scale[j]`; no scale is 0.
    Scale(Arc<[f32]>),
    /// `out[j] = x[order[j]]`
    Permute(Arc<[u32]>),
    /// A random rotation: see [`Hadamard`].
    Hadamard(Hadamard),
}

/// `x -> H (signs * x)`, where `H` is block-diagonal with normalised Hadamard matrices of the largest power of two that divides `n`.
#[derive(Clone, Debug, PartialEq)]
pub struct Hadamard {
    signs: Arc<[f32]>,
    block: usize,
}

impl Hadamard {
    /// Random signs for `n` values.
    pub fn random(n: usize, seed: u64) -> Hadamard {
        let mut rng = Rng::new(seed);
        Hadamard::from_signs((0..n).map(|_| if rng.next_u64() & 1 == 0 { 1.0 } else { -1.0 }).collect())
    }

    /// Takes signs as they are.
    pub fn from_signs(signs: Vec<f32>) -> Hadamard {
        let n = signs.len().max(1);
        Hadamard { block: 1 << n.trailing_zeros(), signs: signs.into() }
    }

    /// The signs, each 1 or -1.
    pub fn signs(&self) -> &[f32] {
        &self.signs
    }

    /// Rotates `x` in place, as many values as there are signs.
    pub fn forward(&self, x: &mut [f32]) {
        x.iter_mut().zip(self.signs.iter()).for_each(|(x, s)| *x *= s);
        self.mix(x);
    }

    /// The inverse is the transpose: rotate first, then the signs.
    pub fn inverse(&self, x: &mut [f32]) {
        self.mix(x);
        x.iter_mut().zip(self.signs.iter()).for_each(|(x, s)| *x *= s);
    }

    fn mix(&self, x: &mut [f32]) {
        let norm = 1.0 / (self.block as f32).sqrt();
        for x in x.chunks_exact_mut(self.block) {
            let mut half = 1;
            while half < self.block {
                for pair in x.chunks_exact_mut(2 * half) {
                    let (a, b) = pair.split_at_mut(half);
                    for (a, b) in a.iter_mut().zip(b) {
                        (*a, *b) = (*a + *b, *a - *b);
                    }
                }
                half *= 2;
            }
            x.iter_mut().for_each(|x| *x *= norm);
        }
    }
}

impl Step {
    /// The values it transforms.
    pub fn len(&self) -> usize {
        match self {
            Step::Scale(s) => s.len(),
            Step::Permute(p) => p.len(),
            Step::Hadamard(h) => h.signs.len(),
        }
    }

    /// Bytes that hold it: scales as f32, indices as u32, a bit per sign.
    pub fn bytes(&self) -> u64 {
        match self {
            Step::Scale(s) => 4 * s.len() as u64,
            Step::Permute(p) => 4 * p.len() as u64,
            Step::Hadamard(h) => h.signs.len().div_ceil(8) as u64,
        }
    }

    /// True if it transforms vectors of no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks scales and permutations.
    ///
    /// # Errors
    /// [`Error`] for a scale that is 0 or not finite, or an index that is missing or occurs twice.
    pub fn check(&self, what: &str) -> Result<(), Error> {
        match self {
            Step::Scale(scale) => match scale.iter().position(|s| !s.is_finite() || *s == 0.0) {
                None => Ok(()),
                Some(column) => Err(Error::NotFinite { what: format!("{what}: 1 / scale"), row: 0, column, value: 1.0 / scale[column] }),
            },
            Step::Permute(order) => {
                let mut seen = vec![false; order.len()];
                for index in order.iter().map(|i| *i as usize) {
                    match seen.get_mut(index) {
                        None => return Err(Error::Index { what: what.to_owned(), index, bound: order.len() }),
                        Some(true) => return Err(Error::Permutation { what: what.to_owned(), index }),
                        Some(seen) => *seen = true,
                    }
                }
                Ok(())
            }
            Step::Hadamard(h) => match h.signs.iter().position(|s| s.abs() != 1.0) {
                None => Ok(()),
                Some(column) => Err(Error::NotFinite { what: format!("{what}: sign"), row: 0, column, value: h.signs[column] }),
            },
        }
    }

    fn apply(&self, x: &mut [f32], spare: &mut Vec<f32>) {
        match self {
            Step::Scale(scale) => x.iter_mut().zip(scale.iter()).for_each(|(x, s)| *x *= s),
            Step::Permute(order) => {
                spare.clear();
                spare.extend_from_slice(x);
                x.iter_mut().zip(order.iter()).for_each(|(x, i)| *x = spare[*i as usize]);
            }
            Step::Hadamard(h) => h.forward(x),
        }
    }

    /// The transpose of the inverse: what a row of weights goes through so that products stay the same.
    fn apply_dual(&self, w: &mut [f32], spare: &mut Vec<f32>) {
        match self {
            Step::Scale(scale) => w.iter_mut().zip(scale.iter()).for_each(|(w, s)| *w /= s),
            // Permutations and rotations are orthogonal: the transpose of the inverse is the step itself.
            _ => self.apply(w, spare),
        }
    }

    fn undo_dual(&self, w: &mut [f32], spare: &mut Vec<f32>) {
        match self {
            Step::Scale(scale) => w.iter_mut().zip(scale.iter()).for_each(|(w, s)| *w *= s),
            Step::Permute(order) => {
                spare.clear();
                spare.extend_from_slice(w);
                order.iter().zip(spare.iter()).for_each(|(i, v)| w[*i as usize] = *v);
            }
            Step::Hadamard(h) => h.inverse(w),
        }
    }
}

/// Steps applied to the input of a site, first to last. With `x' = Pre x`, weights become `W' = W Pre^-1` and the Gram matrix
/// `H' = Pre H Pre^T`.
///
/// ```
/// use ndarray::array;
/// use scant_tensor_core::{Pre, Step};
/// let pre = Pre::new(vec![Step::Scale([2.0, 4.0].into())])?;
/// let mut w = array![[1.0, 1.0]];
/// pre.into_weights(w.view_mut())?;
/// assert_eq!(w, array![[0.5, 0.25]]);
/// # Ok::<(), scant_tensor_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pre(Vec<Step>);

impl Pre {
    /// The identity.
    pub fn none() -> Pre {
        Pre(vec![])
    }

    /// Steps in order.
    ///
    /// # Errors
    /// [`Error`] if a step is not invertible or its length differs from the first one's.
    pub fn new(steps: Vec<Step>) -> Result<Pre, Error> {
        for step in &steps {
            step.check("pre")?;
            Error::check_shape("pre", &[steps[0].len()], &[step.len()])?;
        }
        Ok(Pre(steps))
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// True for the identity.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Fails unless it is for `n` columns.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn check(&self, n: usize) -> Result<(), Error> {
        self.0.first().map_or(Ok(()), |s| Error::check_shape("columns of pre and input", &[s.len()], &[n]))
    }

    pub(crate) fn apply(&self, x: &[f32], out: &mut [f32]) {
        // The first step may copy and permute at once, which is all that act-order needs.
        let rest = match self.0.split_first() {
            Some((Step::Permute(order), rest)) => {
                out.iter_mut().zip(order.iter()).for_each(|(out, i)| *out = x[*i as usize]);
                rest
            }
            _ => {
                out.copy_from_slice(x);
                &self.0[..]
            }
        };
        let mut spare = vec![];
        rest.iter().for_each(|step| step.apply(out, &mut spare));
    }

    /// `w <- w Pre^-1`, for weights `[m, n]` in row order.
    ///
    /// # Errors
    /// [`Error::Shape`] if `w` has another number of columns.
    pub fn into_weights(&self, w: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        self.each_row(w, |step, row, spare| step.apply_dual(row, spare), false)
    }

    /// `w <- w Pre`: undoes [`Pre::into_weights`].
    ///
    /// # Errors
    /// As there.
    pub fn out_of_weights(&self, w: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        self.each_row(w, |step, row, spare| step.undo_dual(row, spare), true)
    }

    /// `Pre H Pre^T` for a Gram matrix `[n, n]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if `h` is not `[n, n]`.
    pub fn gram(&self, h: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        let mut h = h.as_standard_layout().into_owned();
        for _ in 0..2 {
            self.each_row(h.view_mut(), |step, row, spare| step.apply(row, spare), false)?;
            h = h.reversed_axes().as_standard_layout().into_owned();
        }
        Ok(h)
    }

    /// Applies it to a vector of statistics of the input that is linear in it, such as its mean.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn vector(&self, x: &[f32]) -> Result<Vec<f32>, Error> {
        self.check(x.len())?;
        let mut out = vec![0.0; x.len()];
        self.apply(x, &mut out);
        Ok(out)
    }

    fn each_row(&self, mut w: ArrayViewMut2<'_, f32>, f: impl Fn(&Step, &mut [f32], &mut Vec<f32>), reverse: bool) -> Result<(), Error> {
        self.check(w.ncols())?;
        if self.is_none() {
            return Ok(()); // an embedding is read for every token: no copy of its row
        }
        let mut spare = vec![];
        for mut row in w.axis_iter_mut(Axis(0)) {
            let mut values = row.to_vec();
            if reverse {
                self.0.iter().rev().for_each(|step| f(step, &mut values, &mut spare));
            } else {
                self.0.iter().for_each(|step| f(step, &mut values, &mut spare));
            }
            row.iter_mut().zip(values).for_each(|(w, v)| *w = v);
        }
        Ok(())
    }
}

/// What happens to the output of a layer after its terms, before the bias.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Post {
    /// Nothing.
    #[default]
    None,
    /// A transform of the `m` outputs.
    Step(Step),
}

impl Post {
    /// Row `i` as weights of the rows before it: the transpose, applied to a unit vector.
    pub(crate) fn row(&self, m: usize, i: usize) -> Vec<(usize, f32)> {
        let Post::Step(step) = self else { return vec![(i, 1.0)] };
        let mut unit = vec![0.0; m];
        unit[i] = 1.0;
        step.undo_dual(&mut unit, &mut vec![]);
        unit.into_iter().enumerate().filter(|(_, c)| *c != 0.0).collect()
    }

    pub(crate) fn apply(&self, y: &mut [f32]) {
        if let Post::Step(step) = self {
            step.apply(y, &mut vec![]);
        }
    }
}
