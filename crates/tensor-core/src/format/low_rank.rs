//! A product of two thin matrices: `W = A B`, computed in two stages, `t = B x` and `y += A t`.

use crate::error::Error;
use crate::file::Bytes;
use crate::kernels;
use crate::linear::{Footprint, LinearOp, Term};
use crate::prepared::{Prepared, Wants};
use ndarray::{Array2, ArrayViewMut2};
use std::ops::Range;

/// `A B` with `A` `[m, r]` and `B` `[r, n]`, each a term of any one-stage kind: dense, or a grid of few bits.
///
/// ```
/// use ndarray::{Array2, array};
/// use scant_tensor_core::LinearOp;
/// use scant_tensor_core::format::{Dense, DenseType, LowRank};
/// let a = Dense::new(array![[1.0], [2.0]].view(), DenseType::F16)?;
/// let b = Dense::new(array![[3.0, 4.0, 5.0]].view(), DenseType::F16)?;
/// let w = LowRank::new(a, b)?;
/// let mut dense = Array2::zeros((2, 3));
/// w.add_to(dense.view_mut());
/// assert_eq!(dense, array![[3.0, 4.0, 5.0], [6.0, 8.0, 10.0]]);
/// # Ok::<(), scant_tensor_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LowRank {
    pub(crate) a: Term,
    pub(crate) b: Term,
}

/// A term that is a factor of another.
pub(super) fn check_factor(what: &str, factor: &Term) -> Result<(), Error> {
    if factor.op().staged_len() > 0 || matches!(factor, Term::Other(_)) {
        return Err(Error::Factor { what: what.to_owned(), term: format!("{factor:?}") });
    }
    Ok(())
}

impl LowRank {
    /// The product of `a` `[m, r]` and `b` `[r, n]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if they do not fit together; [`Error::Factor`] for a factor of two stages, or of the caller's own.
    pub fn new(a: impl Into<Term>, b: impl Into<Term>) -> Result<LowRank, Error> {
        let (a, b) = (a.into(), b.into());
        Error::check_shape("rows of the second factor", &[a.op().shape()[1]], &[b.op().shape()[0]])?;
        check_factor("the first factor", &a)?;
        check_factor("the second factor", &b)?;
        Ok(LowRank { a, b })
    }

    /// `A`, `[m, r]`.
    pub fn a(&self) -> &Term {
        &self.a
    }

    /// `B`, `[r, n]`.
    pub fn b(&self) -> &Term {
        &self.b
    }

    /// Rows of `B`.
    pub fn rank(&self) -> usize {
        self.b.op().shape()[0]
    }

    pub(crate) fn each_bytes(&mut self, f: &mut dyn FnMut(&mut Bytes)) {
        self.a.each_bytes(f);
        self.b.each_bytes(f);
    }
}

/// The matrix of a one-stage term.
pub(super) fn whole(term: &Term) -> Array2<f32> {
    let [m, n] = term.op().shape();
    let mut dense = Array2::zeros((m, n));
    term.op().add_to(dense.view_mut());
    dense
}

impl LinearOp for LowRank {
    fn shape(&self) -> [usize; 2] {
        [self.a.op().shape()[0], self.b.op().shape()[1]]
    }

    fn footprint(&self) -> Footprint {
        self.a.op().footprint() + self.b.op().footprint()
    }

    fn wants(&self) -> Wants {
        self.b.op().wants()
    }

    fn staged_len(&self) -> usize {
        self.rank()
    }

    fn staged_wants(&self) -> Wants {
        self.a.op().wants()
    }

    fn stage(&self, x: &Prepared, part: Range<usize>, t: ArrayViewMut2<'_, f32>) {
        // A factor has one stage: nothing is staged for it.
        self.b.op().accumulate(x, x, part, t);
    }

    fn accumulate(&self, _x: &Prepared, staged: &Prepared, rows: Range<usize>, y: ArrayViewMut2<'_, f32>) {
        self.a.op().accumulate(staged, staged, rows, y);
    }

    fn add_rows(&self, rows: Range<usize>, mut dense: ArrayViewMut2<'_, f32>) {
        let mut a = Array2::zeros((rows.len(), self.rank()));
        self.a.op().add_rows(rows, a.view_mut());
        kernels::dense::add_product(a.view(), whole(&self.b).view(), &mut dense);
    }
}
