//! Compressed sparse rows: each row lists the elements that are not zero, with their columns.

use crate::error::Error;
use crate::file::{Bytes, Typed};
use half::f16;
use ndarray::ArrayView2;
use std::ops::Range;

/// Columns of the elements of a [`Csr`].
#[derive(Clone, Debug, PartialEq)]
pub enum Columns {
    /// Of matrices with up to 65,536 columns.
    U16(Typed<u16>),
    /// Of wider ones.
    U32(Typed<u32>),
}

impl Columns {
    /// Whether columns of a matrix of width `n` take 16 bits.
    pub fn are_short(n: usize) -> bool {
        n <= 1 << 16
    }

    /// The bytes as they are saved.
    pub fn as_bytes(&self) -> &Bytes {
        match self {
            Columns::U16(x) => x.as_bytes(),
            Columns::U32(x) => x.as_bytes(),
        }
    }

    /// The column of element `i`.
    #[inline]
    fn at(&self, i: usize) -> usize {
        match self {
            Columns::U16(x) => usize::from(x[i]),
            Columns::U32(x) => x[i] as usize,
        }
    }

    fn len(&self) -> usize {
        match self {
            Columns::U16(x) => x.len(),
            Columns::U32(x) => x.len(),
        }
    }
}

/// A matrix with few elements, in f16 with a column of 16 or 32 bits each. In both modes it is multiplied with the f32 input.
///
/// Holds what a coarser term beside it cannot: SpQR's outliers, weights that a pruner leaves.
///
/// ```
/// use ndarray::array;
/// use scant_tensor_core::LinearOp;
/// use scant_tensor_core::format::Csr;
/// let csr = Csr::from_dense(array![[0.0, 1.5, 0.0], [0.0, 0.0, 0.0], [-2.0, 0.0, 3.0]].view())?;
/// assert_eq!((&csr.starts()[..], csr.values().len()), (&[0, 1, 1, 3][..], 3));
/// assert_eq!(csr.footprint().total(), 4 * 4 + 3 * (2 + 2));
/// # Ok::<(), scant_tensor_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Csr {
    shape: [usize; 2],
    starts: Typed<u32>,
    columns: Columns,
    values: Typed<f16>,
}

impl Csr {
    /// The elements of `w` `[m, n]` that are not 0 in f16.
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::NotFinite`] for elements that f16 cannot hold; [`Error::Index`] for 2^32 elements or more.
    pub fn from_dense(w: ArrayView2<'_, f32>) -> Result<Csr, Error> {
        let (mut starts, mut columns, mut values) = (vec![0u32], vec![], vec![]);
        for row in w.rows() {
            for (j, w) in row.iter().enumerate() {
                let value = f16::from_f32(*w);
                if value != f16::ZERO {
                    columns.push(j);
                    values.push(value);
                }
            }
            starts.push(small(values.len(), "elements of a sparse matrix")?);
        }
        let columns = if Columns::are_short(w.ncols()) {
            Columns::U16(columns.into_iter().filter_map(|j| u16::try_from(j).ok()).collect())
        } else {
            Columns::U32(columns.into_iter().map(|j| small(j, "column")).collect::<Result<Typed<u32>, _>>()?)
        };
        Csr::from_parts([w.nrows(), w.ncols()], starts.into(), columns, values.into())
    }

    /// Takes the arrays as [`Csr::starts`], [`Csr::columns`] and [`Csr::values`] give them, without a copy: row `i` has the elements from
    /// `starts[i]` to `starts[i + 1]`, by rising column.
    ///
    /// # Errors
    /// [`Error`] if lengths disagree, starts fall, columns do not rise or lie outside, or a value is not finite.
    pub fn from_parts(shape: [usize; 2], starts: Typed<u32>, columns: Columns, values: Typed<f16>) -> Result<Csr, Error> {
        let [m, n] = shape;
        if m == 0 || n == 0 {
            return Err(Error::Empty { what: "sparse matrix".to_owned(), shape });
        }
        Error::check_shape("starts of sparse rows", &[m + 1], &[starts.len()])?;
        Error::check_shape("columns of sparse elements", &[values.len()], &[columns.len()])?;
        let ends = [starts[0] as usize, starts[m] as usize];
        Error::check_shape("first and last start of sparse rows", &[0, values.len()], &ends)?;
        for row in 0..m {
            let (start, end) = (starts[row] as usize, starts[row + 1] as usize);
            if start > end || end > values.len() {
                return Err(Error::Index { what: format!("start of sparse row {row}"), index: start, bound: end.min(values.len()) + 1 });
            }
            let mut least = 0;
            for i in start..end {
                let column = columns.at(i);
                if column >= n {
                    return Err(Error::Index { what: format!("column in sparse row {row}"), index: column, bound: n });
                }
                if column < least {
                    return Err(Error::NotRising { what: format!("columns of sparse row {row}"), index: column, before: least - 1 });
                }
                least = column + 1;
                if !values[i].is_finite() {
                    return Err(Error::NotFinite { what: "sparse matrix".to_owned(), row, column, value: values[i].to_f32() });
                }
            }
        }
        Ok(Csr { shape, starts, columns, values })
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Where each row starts among the elements, and their number at the end: `[m + 1]`.
    pub fn starts(&self) -> &Typed<u32> {
        &self.starts
    }

    /// The column of each element.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The elements.
    pub fn values(&self) -> &Typed<f16> {
        &self.values
    }

    /// Elements of row `i`.
    #[inline(always)]
    pub(crate) fn row(&self, i: usize) -> Range<usize> {
        self.starts[i] as usize..self.starts[i + 1] as usize
    }

    /// Calls `f(row, column, w)` for the elements of `rows`.
    pub(crate) fn each(&self, rows: Range<usize>, mut f: impl FnMut(usize, usize, f32)) {
        for i in rows {
            self.row(i).for_each(|e| f(i, self.columns.at(e), self.values[e].to_f32()));
        }
    }

    /// Shows `f` each stretch of memory that holds it, to be put elsewhere.
    pub(crate) fn each_bytes(&mut self, f: &mut dyn FnMut(&mut Bytes)) {
        self.starts.each_bytes(f);
        match &mut self.columns {
            Columns::U16(x) => x.each_bytes(f),
            Columns::U32(x) => x.each_bytes(f),
        }
        self.values.each_bytes(f);
    }
}

fn small(index: usize, what: &str) -> Result<u32, Error> {
    u32::try_from(index).map_err(|_| Error::Index { what: what.to_owned(), index, bound: 1 << 32 })
}
