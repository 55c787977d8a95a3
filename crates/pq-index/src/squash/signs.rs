//! One bit for each axis: which side of the mean a row lies on.

use crate::error::Error;
use ndarray::ArrayView2;
use scant_tensor_core::file::{Dtype, File, Writer};
use scant_tensor_core::scan::{BLOCK, CodeBlocks, Lut, Width};

/// How signs are compared with a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coarse {
    /// With the signs of the query, as published: how many differ.
    Hamming,
    /// With the query itself: the squared distance to the means of the sides. Better at the same bytes and nearly the same time.
    #[default]
    Asymmetric,
}

/// The signs of some transformed rows: bit `j % 8` of byte `j / 8` is set where component `j` is 0 or more, so that a nibble is four components
/// and selects an entry of a table of 16.
#[derive(Clone, Debug)]
pub(super) struct Signs {
    /// The mean of each component below 0, and of 0 or more.
    means: Vec<[f32; 2]>,
    codes: CodeBlocks,
}

impl Signs {
    pub(super) fn new(y: ArrayView2<'_, f32>) -> Result<Signs, Error> {
        let dim = y.ncols();
        let (mut sums, mut counts) = (vec![[0.0f64; 2]; dim], vec![[0u32; 2]; dim]);
        let mut codes = CodeBlocks::new(dim.div_ceil(8));
        for row in y.rows() {
            let mut code = vec![0u8; dim.div_ceil(8)];
            for (j, v) in row.iter().enumerate() {
                let side = usize::from(*v >= 0.0);
                sums[j][side] += f64::from(*v);
                counts[j][side] += 1;
                code[j / 8] |= (side as u8) << (j % 8);
            }
            codes.push(&code)?;
        }
        let mean = |j: usize, side: usize| (sums[j][side] / f64::from(counts[j][side].max(1))) as f32;
        Ok(Signs { means: (0..dim).map(|j| [mean(j, 0), mean(j, 1)]).collect(), codes })
    }

    pub(super) fn codes(&self) -> &CodeBlocks {
        &self.codes
    }

    /// Tables of a transformed query: sums are counts of signs that differ, or squared distances.
    pub(super) fn lut(&self, y: &[f32], how: Coarse) -> Result<Lut, Error> {
        let term = |j: usize, side: usize| match how {
            Coarse::Hamming => f32::from(u8::from((y[j] >= 0.0) != (side == 1))),
            Coarse::Asymmetric => (y[j] - self.means[j][side]).powi(2),
        };
        let four = |nibble: usize, code: usize| (4 * nibble..y.len().min(4 * nibble + 4)).map(|j| term(j, code >> (j % 4) & 1)).sum();
        let nibbles = y.len().div_ceil(4);
        Ok(Lut::new(Width::Four, (0..16 * nibbles).map(|i| four(i / 16, i % 16)).collect())?)
    }

    pub(super) fn save(&self, prefix: &str, writer: &mut Writer<'_>) -> Result<(), Error> {
        let means = bytemuck::cast_slice(&self.means).to_vec();
        writer.add(format!("{prefix}sides"), Dtype::F32, [self.means.len(), 2], means)?;
        let shape = [self.codes.blocks(), self.codes.columns(), BLOCK];
        Ok(writer.add(format!("{prefix}signs"), Dtype::U8, shape, self.codes.as_bytes().to_vec())?)
    }

    pub(super) fn load(prefix: &str, file: &File, rows: usize, dim: usize) -> Result<Signs, Error> {
        let means = file.typed::<f32>(&format!("{prefix}sides"), [dim, 2])?.as_chunks().0.to_vec();
        Error::check_finite(ndarray::aview2(&means), 0)?;
        let columns = dim.div_ceil(8);
        let codes = file.expect(&format!("{prefix}signs"), Dtype::U8, [rows.div_ceil(BLOCK), columns, BLOCK])?;
        Ok(Signs { means, codes: CodeBlocks::from_bytes(rows, columns, codes)? })
    }
}
