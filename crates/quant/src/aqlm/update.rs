//! Codebooks and scales for given codes: both are least squares.

use super::State;
use ndarray::{Array2, Axis};
use rayon::prelude::*;
use scant_tensor_core::linalg::matmul;

/// Steps of conjugate gradients: each costs a product with the Gram matrix.
const STEPS: usize = 8;

/// Moves the codebooks towards the least loss that these codes can have: conjugate gradients on the normal equations, preconditioned by how
/// much input each word meets. The loss does not rise.
pub(super) fn codebooks(state: &mut State<'_>) {
    let weight = weights(state);
    let precondition = |r: &[f32]| r.iter().zip(&weight).map(|(r, w)| if *w > 0.0 { r / w } else { 0.0 }).collect::<Vec<f32>>();
    let mut left = gather(state, |first| state.rest(first)[1].clone());
    let mut z = precondition(&left);
    let mut direction = z.clone();
    let mut size = dot(&left, &z);
    let mut words = state.words.clone();
    for _ in 0..STEPS {
        if size <= 0.0 {
            break;
        }
        let times = gather(state, |first| times_gram(state, &direction, first));
        let curvature = dot(&direction, &times);
        if curvature <= 0.0 {
            break;
        }
        #[expect(clippy::cast_possible_truncation, reason = "back to the type of the words")]
        let by = (size / curvature) as f32;
        for ((w, l), (d, t)) in words.iter_mut().zip(&mut left).zip(direction.iter().zip(&times)) {
            *w += by * d;
            *l -= by * t;
        }
        z = precondition(&left);
        let next = dot(&left, &z);
        #[expect(clippy::cast_possible_truncation, reason = "back to the type of the words")]
        let keep = (next / size) as f32;
        direction.iter_mut().zip(&z).for_each(|(d, z)| *d = z + keep * *d);
        size = next;
    }
    state.words = words;
}

/// Sets every row's scale to the best one for its words, and returns the loss of the whole.
pub(super) fn scales(state: &mut State<'_>) -> f64 {
    let chunk = |first: usize| {
        let rows = state.w.slice_axis(Axis(0), (first..(first + super::ROWS).min(state.spec.m)).into());
        let mut sums = Array2::zeros(rows.dim());
        for (i, mut row) in (first..).zip(sums.rows_mut()) {
            state.unscaled(&state.words, i, row.as_slice_mut().expect("made in row order"));
        }
        let [mut sums_h, mut rows_h] = [(); 2].map(|()| Array2::<f32>::zeros(sums.dim()));
        matmul(1.0, sums.view(), state.gram.view(), false, sums_h.view_mut());
        matmul(1.0, rows, state.gram.view(), false, rows_h.view_mut());
        let dot = |a: ndarray::ArrayView1<'_, f32>, b: ndarray::ArrayView1<'_, f32>| {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
        };
        let one = |i: usize| {
            let (uu, wu, ww) = (dot(sums.row(i), sums_h.row(i)), dot(rows.row(i), sums_h.row(i)), dot(rows.row(i), rows_h.row(i)));
            let scale = if uu > 0.0 { wu / uu } else { f64::from(state.scale[first + i]) };
            (scale, ww - 2.0 * scale * wu + scale * scale * uu)
        };
        (0..rows.nrows()).map(one).collect::<Vec<(f64, f64)>>()
    };
    let all: Vec<Vec<(f64, f64)>> = state.chunks().into_par_iter().map(chunk).collect();
    let mut total = 0.0;
    for (scale, (best, loss)) in state.scale.iter_mut().zip(all.into_iter().flatten()) {
        #[expect(clippy::cast_possible_truncation, reason = "back to the type of the scales")]
        let best = best as f32;
        *scale = best;
        total += loss;
    }
    total
}

/// What stands for a word's part in the normal equations: the squares of its rows' scales times the mean square of its inputs.
fn weights(state: &State<'_>) -> Vec<f32> {
    let spec = state.spec;
    let mut weight = vec![0.0f64; state.words.len()];
    let diagonal = state.gram.diag();
    for (i, codes) in state.codes.chunks_exact(spec.groups() * spec.books).enumerate() {
        let square = f64::from(state.scale[i]).powi(2);
        for (j, codes) in codes.chunks_exact(spec.books).enumerate() {
            for (c, code) in codes.iter().enumerate() {
                let word = (c * spec.words() + usize::from(*code)) * spec.group_size;
                for k in 0..spec.group_size {
                    weight[word + k] += square * f64::from(diagonal[j * spec.group_size + k]);
                }
            }
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "a preconditioner may be rounded")]
    let rounded = weight.into_iter().map(|w| w as f32).collect();
    rounded
}

/// The rows from `first` on that these words make, times the Gram matrix.
fn times_gram(state: &State<'_>, words: &[f32], first: usize) -> Array2<f32> {
    let rows = super::ROWS.min(state.spec.m - first);
    let mut made = Array2::zeros((rows, state.spec.n));
    for (i, mut row) in (first..).zip(made.rows_mut()) {
        state.unscaled(words, i, row.as_slice_mut().expect("made in row order"));
        row.iter_mut().for_each(|w| *w *= state.scale[i]);
    }
    let mut times = Array2::zeros(made.dim());
    matmul(1.0, made.view(), state.gram.view(), false, times.view_mut());
    times
}

/// The adjoint of making rows of words: what `rows` gives for each chunk is added up for each word, times the rows' scales. In order of chunks.
fn gather(state: &State<'_>, rows: impl Fn(usize) -> Array2<f32> + Sync) -> Vec<f32> {
    let spec = state.spec;
    let chunk = |first: usize| {
        let mut sums = vec![0.0f32; state.words.len()];
        for (i, row) in (first..).zip(rows(first).rows()) {
            let row = row.as_slice().expect("made in row order");
            let codes = &state.codes[i * spec.groups() * spec.books..][..spec.groups() * spec.books];
            for (codes, part) in codes.chunks_exact(spec.books).zip(row.chunks_exact(spec.group_size)) {
                for (c, code) in codes.iter().enumerate() {
                    let word = (c * spec.words() + usize::from(*code)) * spec.group_size;
                    let sums = &mut sums[word..][..spec.group_size];
                    sums.iter_mut().zip(part).for_each(|(sum, p)| *sum += state.scale[i] * p);
                }
            }
        }
        sums
    };
    let all: Vec<Vec<f32>> = state.chunks().into_par_iter().map(chunk).collect();
    let mut sums = vec![0.0; state.words.len()];
    all.into_iter().for_each(|part| sums.iter_mut().zip(part).for_each(|(sum, p)| *sum += p));
    sums
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
