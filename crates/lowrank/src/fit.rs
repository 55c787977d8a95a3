//! The closed form: the best matrix of every rank at once.

use crate::error::Error;
use crate::weighting::Weighting;
use ndarray::{Array2, ArrayView2, Axis, s};

/// Eigenvalues below this share of the largest are zeros.
const ZERO: f64 = 1e-14;

/// The best approximations of a matrix in the loss `tr(D C D^T)`, of all ranks: with the eigenvectors `P` of `M C M^T`, largest first, that of
/// rank r is `P_r P_r^T M`, and its loss the sum of the eigenvalues after the r-th (Eckart and Young 1936, in the space of `C`'s root; no
/// inverse of `C` is taken).
///
/// ```
/// use ndarray::array;
/// use scant_lowrank::{Fit, Weighting};
/// let w = array![[3.0, 0.0], [0.0, 1.0]];
/// // The second input is a hundred times as large.
/// let fit = Fit::new(w.view(), &Weighting::diagonal(&[1.0, 100.0]))?;
/// assert_eq!((fit.loss(1), fit.loss(2)), (9.0, 0.0));
/// assert_eq!(fit.captured(1), 100.0 / 109.0);
/// # Ok::<(), scant_lowrank::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Fit {
    pub(crate) matrix: Array2<f64>,
    /// `[m, max_rank]`, orthonormal columns.
    axes: Array2<f64>,
    values: Vec<f64>,
}

impl Fit {
    /// Solves for `matrix` `[m, n]`, in O(min(m, n)^3) and products.
    ///
    /// # Errors
    /// [`Error::Inputs`] for a weighting of another size; [`Error::Eigen`].
    pub fn new(matrix: ArrayView2<'_, f32>, weighting: &Weighting) -> Result<Fit, Error> {
        let (m, n) = matrix.dim();
        if n != weighting.inputs() {
            return Err(Error::Inputs { matrix: n, weighting: weighting.inputs() });
        }
        scant_tensor_core::Error::check_finite("a matrix to be factored", matrix)?;
        let matrix = matrix.mapv(f64::from);
        let (values, axes) = if m <= n {
            let (values, axes) = eigen(weighting.apply(&matrix).dot(&matrix.t()))?;
            (values, axes.reversed_axes())
        } else {
            // The same from the side of the inputs: with C = S^T S, the eigenvectors of S M^T M S^T.
            let spread = match weighting.root()? {
                None => matrix.clone(),
                Some(root) => matrix.dot(&root.t()),
            };
            let (values, axes) = eigen(spread.t().dot(&spread))?;
            let top = values.first().copied().unwrap_or(0.0);
            let rank = values.iter().take_while(|v| **v > ZERO * top).count().max(1);
            let mut own = spread.dot(&axes.slice(s![..rank, ..]).t());
            orthonormalize(&mut own);
            (values, own)
        };
        Ok(Fit { matrix, axes, values })
    }

    /// The largest rank there is something to gain by.
    pub fn max_rank(&self) -> usize {
        self.axes.ncols()
    }

    /// The loss that rank `r` leaves.
    pub fn loss(&self, r: usize) -> f64 {
        self.values.iter().skip(r).sum()
    }

    /// The share of the loss that rank `r` takes away.
    pub fn captured(&self, r: usize) -> f64 {
        let all = self.loss(0);
        if all > 0.0 { 1.0 - self.loss(r) / all } else { 1.0 }
    }

    /// Whether a term of rank `r` that costs so many bits per weight takes more of the loss away than as many bits of a finer uniform grid
    /// would: each divides it by four.
    pub fn beats_grid(&self, r: usize, bits_per_weight: f64) -> bool {
        self.captured(r) > 1.0 - 4f64.powf(-bits_per_weight)
    }

    /// `P_r` `[m, r]` and `P_r^T M` `[r, n]`.
    ///
    /// # Errors
    /// [`Error::Rank`] for 0, or more than [`max_rank`](Self::max_rank).
    pub fn factors(&self, r: usize) -> Result<(Array2<f64>, Array2<f64>), Error> {
        if r == 0 || r > self.max_rank() {
            return Err(Error::Rank { rank: r, max: self.max_rank() });
        }
        let a = self.axes.slice(s![.., ..r]).to_owned();
        let b = a.t().dot(&self.matrix);
        Ok((a, b))
    }
}

/// Eigenvalues from the largest, none below 0, and eigenvectors as rows.
fn eigen(m: Array2<f64>) -> Result<(Vec<f64>, Array2<f64>), Error> {
    let symmetric = (&m + &m.t()) / 2.0;
    let size = m.nrows();
    let (values, axes) = scant_spectra::eigen(symmetric.view()).ok_or(Error::Eigen { size })?;
    Ok((values.into_iter().map(|v| v.max(0.0)).collect(), axes))
}

/// Columns that are nearly orthogonal become so, and of length 1 (Gram and Schmidt, modified).
fn orthonormalize(a: &mut Array2<f64>) {
    for j in 0..a.ncols() {
        let (before, mut rest) = a.view_mut().split_at(Axis(1), j);
        let mut column = rest.column_mut(0);
        for other in before.axis_iter(Axis(1)) {
            let along = other.dot(&column);
            column.scaled_add(-along, &other);
        }
        let length = column.dot(&column).sqrt();
        column /= length.max(f64::MIN_POSITIVE);
    }
}
