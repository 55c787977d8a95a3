//! A matrix of rank r by r of its own rows and what makes the others of them.

use super::Dense;
use super::low_rank::{check_factor, whole};
use crate::error::Error;
use crate::file::Bytes;
use crate::kernels;
use crate::linear::{Footprint, LinearOp, Term};
use crate::prepared::{Prepared, Wants};
use ndarray::{Array2, ArrayViewMut2};
use std::ops::Range;

/// A matrix of rank r whose pivot rows are those of `B` `[r, n]`, in ascending order, and whose other rows are those of `Z B`, `Z`
/// `[m - r, r]`: `r (m + n - r)` numbers where two plain factors take `r (m + n)`, and always fewer than `m n`.
///
/// ```
/// use ndarray::{Array2, array};
/// use scant_tensor_core::LinearOp;
/// use scant_tensor_core::format::{Dense, DenseType, Pivoted};
/// let b = Dense::new(array![[3.0, 4.0, 5.0]].view(), DenseType::F16)?;
/// let z = Dense::new(array![[2.0], [-1.0]].view(), DenseType::F16)?;
/// let w = Pivoted::new(&[1], z, b)?;
/// let mut dense = Array2::zeros((3, 3));
/// w.add_to(dense.view_mut());
/// assert_eq!(dense, array![[6.0, 8.0, 10.0], [3.0, 4.0, 5.0], [-3.0, -4.0, -5.0]]);
/// # Ok::<(), scant_tensor_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pivoted {
    /// Ascending.
    pivots: Vec<u32>,
    /// The other rows, ascending.
    others: Vec<u32>,
    pub(crate) z: Dense,
    pub(crate) b: Term,
}

impl Pivoted {
    /// Rows `pivots`, ascending, are those of `b` `[r, n]`; the others are those of `z b`.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there is a pivot for each row of `b` and a column of `z`; [`Error::Index`] if they do not ascend, or one is not
    /// below the number of rows; [`Error::Factor`] for a `b` of two stages, or of the caller's own.
    pub fn new(pivots: &[usize], z: Dense, b: impl Into<Term>) -> Result<Pivoted, Error> {
        let b = b.into();
        let r = b.op().shape()[0];
        let m = z.shape()[0] + r;
        Error::check_shape("columns of what makes the other rows", &[r], &[z.shape()[1]])?;
        Error::check_shape("pivots", &[r], &[pivots.len()])?;
        check_factor("the rows of a pivoted matrix", &b)?;
        let mut pivot = vec![false; m];
        let mut least = 0;
        for row in pivots {
            if *row < least || *row >= m {
                return Err(Error::Index { what: "pivot, which must be above the one before it:".to_owned(), index: *row, bound: m });
            }
            least = row + 1;
            pivot[*row] = true;
        }
        let (pivots, others) = (0..m as u32).partition(|row| pivot[*row as usize]);
        Ok(Pivoted { pivots, others, z, b })
    }

    /// The rows that `b` holds, ascending.
    pub fn pivots(&self) -> impl Iterator<Item = usize> + '_ {
        self.pivots.iter().map(|row| *row as usize)
    }

    /// What makes the other rows of them, `[m - r, r]`.
    pub fn z(&self) -> &Dense {
        &self.z
    }

    /// The pivot rows, `[r, n]`.
    pub fn b(&self) -> &Term {
        &self.b
    }

    /// Rows of `b`.
    pub fn rank(&self) -> usize {
        self.pivots.len()
    }

    /// Which rows are pivots, a bit each: bit `i % 64` of word `i / 64`.
    pub(crate) fn bitmap(&self) -> Vec<u64> {
        let mut words = vec![0; self.shape()[0].div_ceil(64)];
        self.pivots.iter().for_each(|row| words[*row as usize / 64] |= 1 << (row % 64));
        words
    }

    pub(crate) fn each_bytes(&mut self, f: &mut dyn FnMut(&mut Bytes)) {
        self.z.each_bytes(f);
        self.b.each_bytes(f);
    }

    /// Which of a list's entries lie in `rows`.
    fn within(list: &[u32], rows: &Range<usize>) -> Range<usize> {
        list.partition_point(|row| (*row as usize) < rows.start)..list.partition_point(|row| (*row as usize) < rows.end)
    }
}

impl LinearOp for Pivoted {
    fn shape(&self) -> [usize; 2] {
        [self.pivots.len() + self.others.len(), self.b.op().shape()[1]]
    }

    fn footprint(&self) -> Footprint {
        let bitmap = Footprint { indices: 8 * self.shape()[0].div_ceil(64) as u64, ..Footprint::default() };
        self.z.footprint() + self.b.op().footprint() + bitmap
    }

    fn wants(&self) -> Wants {
        self.b.op().wants()
    }

    fn staged_len(&self) -> usize {
        self.rank()
    }

    fn stage(&self, x: &Prepared, part: Range<usize>, t: ArrayViewMut2<'_, f32>) {
        self.b.op().accumulate(x, x, part, t);
    }

    fn accumulate(&self, _x: &Prepared, staged: &Prepared, rows: Range<usize>, mut y: ArrayViewMut2<'_, f32>) {
        for place in Pivoted::within(&self.pivots, &rows) {
            let at = self.pivots[place] as usize - rows.start;
            for token in 0..staged.tokens() {
                y[[token, at]] += staged.row(token)[place];
            }
        }
        let places = Pivoted::within(&self.others, &rows);
        kernels::dense::scatter(&self.z, staged, places.clone(), &self.others[places], rows.start, &mut y);
    }

    fn add_rows(&self, rows: Range<usize>, mut dense: ArrayViewMut2<'_, f32>) {
        let b = whole(&self.b);
        for place in Pivoted::within(&self.pivots, &rows) {
            let mut row = dense.row_mut(self.pivots[place] as usize - rows.start);
            row += &b.row(place);
        }
        let places = Pivoted::within(&self.others, &rows);
        let mut z = Array2::zeros((places.len(), self.rank()));
        self.z.add_rows(places.clone(), z.view_mut());
        let mut made = Array2::zeros((places.len(), b.ncols()));
        kernels::dense::add_product(z.view(), b.view(), &mut made.view_mut());
        for (made, row) in made.rows().into_iter().zip(&self.others[places]) {
            let mut row = dense.row_mut(*row as usize - rows.start);
            row += &made;
        }
    }
}
