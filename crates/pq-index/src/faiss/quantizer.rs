//! Quantizers: what the code of a vector is, and what it stands for.

use super::bytes::{Header, Reader};
use crate::error::Error;
use crate::quantizer::{Coder, Levels, ProductQuantizer, QuantizerKind, RotatedGrid, ScalarQuantizer};

/// A quantizer as a file has it.
pub(super) struct Quantizer {
    pub(super) kind: QuantizerKind,
    pub(super) coder: Option<Coder>,
    pub(super) stored: Stored,
    /// Bytes of a vector.
    pub(super) code_size: usize,
}

/// What the bytes of a vector are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    F32,
    F16,
    Bf16,
    /// As [`Layout::pack`](crate::quantizer::Layout::pack) makes them.
    Codes,
    /// Signs, factors, and with more than one bit the other bits and their factors.
    RaBitQ {
        bits: u32,
    },
}

impl Quantizer {
    /// None.
    pub(super) fn full(dim: usize) -> Quantizer {
        Quantizer { kind: QuantizerKind::Full, coder: None, stored: Stored::F32, code_size: 4 * dim }
    }

    fn codes(kind: QuantizerKind, coder: Coder) -> Quantizer {
        let code_size = coder.layout().bytes();
        Quantizer { kind, coder: Some(coder), stored: Stored::Codes, code_size }
    }

    /// A product quantizer: `d`, `M`, `nbits` and centroids `[M, 2^nbits, d / M]`.
    pub(super) fn product(r: &mut Reader<'_>, header: Header) -> Result<Quantizer, Error> {
        let dim = header.dim;
        let (d, m, bits) = (r.u64()?, r.count("sub-quantizers", dim as u64)?, r.u64()?);
        r.agree("dimensions of the product quantizer", dim as u64, d)?;
        r.agree("dimensions that are left over by the sub-quantizers", 0, dim % m)?;
        let bits = u32::try_from(bits).unwrap_or(u32::MAX);
        if ![4, 8].contains(&bits) {
            return Err(Error::BitsUnsupported { bits, allowed: &[4, 8] });
        }
        let centroids = r.floats("numbers in the codebooks", dim << bits)?;
        let pq = ProductQuantizer::from_codebooks(dim, m, bits, &centroids)?;
        Ok(Quantizer::codes(QuantizerKind::Product { m, bits }, Coder::Product(pq)))
    }

    /// A scalar quantizer. Values lie in the middle of their cells: code `c` of `n` stands for `vmin + vdiff (c + 1/2) / n`.
    pub(super) fn scalar(r: &mut Reader<'_>, header: Header) -> Result<Quantizer, Error> {
        let dim = header.dim;
        let kind = r.i32()?;
        r.take(8)?; // how the ranges were found
        let (d, code_size) = (r.u64()?, r.u64()?);
        r.agree("dimensions of the scalar quantizer", dim as u64, d)?;
        let halves = |stored| Quantizer { stored, code_size: 2 * dim, ..Quantizer::full(dim) };
        let grid = |bits: u32, low: Vec<f32>, step: Vec<f32>| {
            let sq = ScalarQuantizer::from_ranges(bits, low, step)?;
            Ok::<_, Error>(Quantizer::codes(QuantizerKind::Scalar { bits }, Coder::Scalar(sq)))
        };
        let quantizer = match kind {
            0..=3 | 6 => {
                let bits = match kind {
                    0 | 2 => 8,
                    1 | 3 => 4,
                    _ => 6,
                };
                let ranges = if matches!(kind, 2 | 3) { 1 } else { dim };
                let trained = r.floats("numbers in the ranges", 2 * ranges)?;
                let (vmin, vdiff) = trained.split_at(ranges);
                let cells = f64::from((1u32 << bits) - 1);
                let low = vmin.iter().zip(vdiff).map(|(min, diff)| (f64::from(*min) + f64::from(*diff) / (2.0 * cells)) as f32);
                let step = vdiff.iter().map(|diff| (f64::from(*diff) / cells) as f32);
                // The uniform kinds have one range for all dimensions.
                let all = |values: Vec<f32>| values.into_iter().cycle().take(dim).collect();
                grid(bits, all(low.collect()), all(step.collect()))?
            }
            4 | 5 | 7 | 8 => {
                r.floats("numbers in the ranges", 0)?;
                match kind {
                    4 => halves(Stored::F16),
                    7 => halves(Stored::Bf16),
                    // Bytes that are the values, without or with a sign.
                    5 => grid(8, vec![0.0; dim], vec![1.0; dim])?,
                    _ => grid(8, vec![-128.0; dim], vec![1.0; dim])?,
                }
            }
            other => {
                let supported = "0 to 8 (8, 4 and 6 bits, f16, bf16 and bytes as they are)";
                return Err(r.unsupported("kind of scalar quantizer", other, supported));
            }
        };
        r.agree("code_size of the scalar quantizer", quantizer.code_size as u64, code_size)?;
        Ok(quantizer)
    }

    /// RaBitQ, of `bits` as the file says or of one.
    pub(super) fn rabitq(r: &mut Reader<'_>, header: Header, several: bool) -> Result<Quantizer, Error> {
        let dim = header.dim;
        let (d, code_size, metric) = (r.u64()?, r.u64()?, r.metric()?);
        r.agree("dimensions of RaBitQ", dim as u64, d)?;
        r.agree("metric of RaBitQ", header.metric, metric)?;
        let bits = if several { u32::try_from(r.u64()?).unwrap_or(u32::MAX) } else { 1 };
        let kind = QuantizerKind::Rotated { bits, levels: Levels::Uniform };
        let coder = Coder::Rotated(RotatedGrid::new(dim, bits, Levels::Uniform)?);
        let size = if bits == 1 { dim.div_ceil(8) + 8 } else { dim.div_ceil(8) + 12 + (dim * (bits as usize - 1)).div_ceil(8) + 8 };
        r.agree("code_size of RaBitQ", size as u64, code_size)?;
        Ok(Quantizer { kind, coder: Some(coder), stored: Stored::RaBitQ { bits }, code_size: size })
    }
}
