//! One bit for each axis: which side of the mean a row lies on.

use crate::error::Error;
use ndarray::ArrayView2;
use scant_tensor_core::file::{Dtype, File, Writer};
use scant_tensor_core::isa::Isa;
use scant_tensor_core::retrieve::TopK;
use scant_tensor_core::scan::lut4::{self, Pair};
use scant_tensor_core::scan::{BLOCK, CodeBlocks, Lut, Sink, Tables, Width};
use std::iter::Sum;

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

    /// Bytes of a row.
    pub(super) fn columns(&self) -> usize {
        self.codes.columns()
    }

    /// The `keep` rows of `allow` that compare best with a transformed query, in no order of use: sums of bytes are near enough here.
    pub(super) fn best(&self, y: &[f32], how: Coarse, allow: &[u64], keep: usize) -> Result<Vec<u64>, Error> {
        let tables = match how {
            Coarse::Hamming => pairs(y.len(), |nibble, code| four(y.len(), nibble, code, |j, side| u8::from((y[j] >= 0.0) != (side == 1)))),
            Coarse::Asymmetric => {
                let distance = |j: usize, side: usize| (y[j] - self.means[j][side]).powi(2);
                let values = (0..16 * y.len().div_ceil(4)).map(|i| four(y.len(), i / 16, i % 16, distance)).collect();
                Tables::spanning(&Lut::new(Width::Four, values)?).four().to_vec()
            }
        };
        let mut closest = Closest(TopK::new(keep));
        lut4::scan_u16(Isa::best(), &self.codes, 0..self.codes.blocks(), &[&tables], Some(allow), &mut closest);
        Ok(closest.0.into_sorted().into_iter().map(|(_, row)| row).collect())
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

/// The sum of what the components of a nibble give for the sides that it names.
fn four<T: Sum>(dim: usize, nibble: usize, code: usize, term: impl Fn(usize, usize) -> T) -> T {
    (4 * nibble..dim.min(4 * nibble + 4)).map(|j| term(j, code >> (j % 4) & 1)).sum()
}

/// Tables of bytes, two for each column.
fn pairs(dim: usize, entry: impl Fn(usize, usize) -> u8) -> Vec<Pair> {
    let table = |nibble: usize| std::array::from_fn(|code| entry(nibble, code));
    (0..dim.div_ceil(8)).map(|column| [table(2 * column), table(2 * column + 1)]).collect()
}

/// Keeps the smallest sums.
struct Closest(TopK);

impl Sink<u16> for Closest {
    fn threshold(&self, _: usize, _: usize) -> u16 {
        // Infinity becomes the largest.
        self.0.worst() as u16
    }

    fn block(&mut self, _: usize, block: usize, mask: u64, sums: &[u16; 64]) {
        let mut rest = mask;
        while rest != 0 {
            let lane = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            self.0.push(f32::from(sums[lane]), (BLOCK * block + lane) as u64);
        }
    }
}
