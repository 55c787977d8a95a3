//! The rows near one centroid, with axes, cells and signs of their own.

use super::signs::{Coarse, Signs};
use crate::error::Error;
use crate::osq::Osq;
use crate::quantizer::Quantizer;
use ndarray::ArrayView2;
use scant_tensor_core::file::{Dtype, File, Writer};
use scant_tensor_core::retrieve::{Bitmap, TopK};
use scant_tensor_core::scan::{BLOCK, CodeBlocks};

#[derive(Clone, Debug)]
pub(super) struct Partition {
    /// The row number in the index of each place here, ascending.
    pub(super) rows: Vec<u32>,
    pub(super) osq: Osq,
    /// Packed.
    pub(super) codes: CodeBlocks,
    signs: Signs,
}

/// Candidates: what they scored, less is better, and their places.
pub(super) type Candidates = Vec<(f32, u64)>;

impl Partition {
    /// `x` holds the rows of `rows`, at least two.
    pub(super) fn build(rows: Vec<u32>, x: ArrayView2<'_, f32>, bits: usize) -> Result<Partition, Error> {
        let osq = Osq::train(x, bits)?;
        let y = osq.transformed(x);
        let (mut code, mut packed) = (vec![0; osq.layout().columns()], vec![0; osq.packed_bytes()]);
        let mut codes = CodeBlocks::new(packed.len());
        for row in y.rows() {
            osq.encode_transformed(row.as_slice().unwrap_or_default(), &mut code);
            osq.pack(&code, &mut packed);
            codes.push(&packed)?;
        }
        Ok(Partition { rows, codes, signs: Signs::new(y.view())?, osq })
    }

    /// The places of allowed rows.
    pub(super) fn allowed(&self, allowed: &Bitmap) -> Bitmap {
        Bitmap::from_fn(self.rows.len(), |place| allowed.contains(self.rows[place] as usize))
    }

    /// The best `keep` of the allowed places by their signs, and the bytes that were looked at; all of them, unseen, if there are no more.
    pub(super) fn coarse(&self, y: &[f32], how: Coarse, allowed: &Bitmap, keep: usize) -> Result<(Vec<u64>, u64), Error> {
        if allowed.count() <= keep {
            return Ok((allowed.iter().map(|place| place as u64).collect(), 0));
        }
        let blocks = allowed.words().iter().filter(|word| **word != 0).count();
        Ok((self.signs.best(y, how, allowed.words(), keep)?, (blocks * BLOCK * self.signs.columns()) as u64))
    }

    /// The best `keep` of some places by the distances to the centroids of their cells.
    pub(super) fn look_up(&self, y: &[f32], mut places: Vec<u64>, keep: usize) -> Result<Candidates, Error> {
        let (lut, mut best, mut block) = (self.osq.lut_of(y)?, TopK::new(keep), vec![]);
        places.sort_unstable();
        for places in places.chunk_by(|a, b| a / BLOCK as u64 == b / BLOCK as u64) {
            self.osq.unpack(self.codes.block(places[0] as usize / BLOCK), &mut block);
            places.iter().for_each(|place| best.push(lut.rescore(&block, *place as usize % BLOCK), *place));
        }
        Ok(best.into_sorted())
    }

    pub(super) fn save(&self, prefix: &str, writer: &mut Writer<'_>) -> Result<(), Error> {
        writer.add(format!("{prefix}rows"), Dtype::U32, [self.rows.len()], bytemuck::cast_slice(&self.rows).to_vec())?;
        self.osq.save(prefix, writer)?;
        self.signs.save(prefix, writer)?;
        let shape = [self.codes.blocks(), self.codes.columns(), BLOCK];
        Ok(writer.add(format!("{prefix}codes"), Dtype::U8, shape, self.codes.as_bytes().to_vec())?)
    }

    /// Codes stay in the file's bytes. Which rows there are is for the caller to check.
    pub(super) fn load(prefix: &str, file: &File, dim: usize) -> Result<Partition, Error> {
        let rows = file.tensor(&format!("{prefix}rows"))?.typed::<u32>()?.to_vec();
        let osq = Osq::load(prefix, file, dim)?;
        let columns = osq.packed_bytes();
        let codes = file.expect(&format!("{prefix}codes"), Dtype::U8, [rows.len().div_ceil(BLOCK), columns, BLOCK])?;
        let codes = CodeBlocks::from_bytes(rows.len(), columns, codes)?;
        Ok(Partition { signs: Signs::load(prefix, file, rows.len(), dim)?, rows, osq, codes })
    }
}
