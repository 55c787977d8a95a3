//! Block codecs: stored bytes to f32 and back.
//!
//! Decoding is f32 arithmetic without fused steps, in the order of the `gguf` Python package, and equals it bit for bit;
//! so do the bytes of the encoders. The block layouts are drawn in `docs/formats.md`.

mod kquant;
mod legacy;

use super::BlockType;
use crate::Error;
use half::{bf16, f16};

pub(super) use kquant::{codes_q4_k, codes_q5_k, codes_q6_k, scales_and_mins};
pub(super) use legacy::{codes_q4, codes_q5};

/// The types that [`encode`] writes.
pub const ENCODED: [BlockType; 8] =
    [BlockType::F32, BlockType::F16, BlockType::BF16, BlockType::Q8_0, BlockType::Q4_0, BlockType::Q4_1, BlockType::Q5_0, BlockType::Q5_1];

/// Decodes whole blocks of `ty` into `out`.
///
/// ```
/// use scant_quant::gguf::{BlockType, blocks};
/// let mut bytes = vec![0u8; 18];
/// blocks::encode(BlockType::Q4_0, &[-8.0; 32], &mut bytes)?;
/// let mut weights = [0.0; 32];
/// blocks::decode(BlockType::Q4_0, &bytes, &mut weights)?;
/// assert_eq!(weights, [-8.0; 32]);
/// # Ok::<(), scant_quant::Error>(())
/// ```
///
/// # Errors
/// [`Error::BlockDoesNotDivide`] if `out` is not a whole number of blocks, [`Error::ShapeMismatch`] if `bytes` has not
/// their size.
pub fn decode(ty: BlockType, bytes: &[u8], out: &mut [f32]) -> Result<(), Error> {
    check_sizes(ty, out.len(), bytes.len())?;
    match ty {
        BlockType::F32 => each(bytes, out, |b, w: &mut [f32; 1]| w[0] = f32::from_le_bytes(*b)),
        BlockType::F16 => each(bytes, out, |b, w: &mut [f32; 1]| w[0] = f16::from_le_bytes(*b).to_f32()),
        BlockType::BF16 => each(bytes, out, |b, w: &mut [f32; 1]| w[0] = bf16::from_le_bytes(*b).to_f32()),
        BlockType::Q8_0 => each(bytes, out, legacy::decode_q8_0),
        BlockType::Q4_0 => each(bytes, out, legacy::decode_q4_0),
        BlockType::Q4_1 => each(bytes, out, legacy::decode_q4_1),
        BlockType::Q5_0 => each(bytes, out, legacy::decode_q5_0),
        BlockType::Q5_1 => each(bytes, out, legacy::decode_q5_1),
        BlockType::Q4_K => each(bytes, out, kquant::decode_q4_k),
        BlockType::Q5_K => each(bytes, out, kquant::decode_q5_k),
        BlockType::Q6_K => each(bytes, out, kquant::decode_q6_k),
    }
    Ok(())
}

/// Encodes `weights`, whole blocks of `ty`, into `out`.
///
/// Scales are fitted in f32 and stored in f16; codes are computed with the f32 scale, as the format's own tools do.
///
/// # Errors
/// [`Error::NoEncoder`] for types that are only read; [`Error::Unrepresentable`] for NaN, infinities, and values or
/// scales beyond the stored float's range; [`Error::BlockDoesNotDivide`] and [`Error::ShapeMismatch`] as for [`decode`].
pub fn encode(ty: BlockType, weights: &[f32], out: &mut [u8]) -> Result<(), Error> {
    check_sizes(ty, weights.len(), out.len())?;
    if let Some(index) = weights.iter().position(|w| !w.is_finite()) {
        return Err(unrepresentable(ty, weights, index));
    }
    let result = match ty {
        BlockType::F32 => each_back(weights, out, |w: &[f32; 1], b| {
            *b = w[0].to_le_bytes();
            true
        }),
        BlockType::F16 => each_back(weights, out, |w: &[f32; 1], b| {
            *b = f16::from_f32(w[0]).to_le_bytes();
            f16::from_le_bytes(*b).is_finite()
        }),
        BlockType::BF16 => each_back(weights, out, |w: &[f32; 1], b| {
            *b = bf16::from_f32(w[0]).to_le_bytes();
            bf16::from_le_bytes(*b).is_finite()
        }),
        BlockType::Q8_0 => each_back(weights, out, legacy::encode_q8_0),
        BlockType::Q4_0 => each_back(weights, out, legacy::encode_q4_0),
        BlockType::Q4_1 => each_back(weights, out, legacy::encode_q4_1),
        BlockType::Q5_0 => each_back(weights, out, legacy::encode_q5_0),
        BlockType::Q5_1 => each_back(weights, out, legacy::encode_q5_1),
        BlockType::Q4_K | BlockType::Q5_K | BlockType::Q6_K => {
            return Err(Error::NoEncoder { block_type: ty.to_string(), supported: ENCODED.map(|ty| ty.to_string()).join(", ") });
        }
    };
    result.map_err(|block| {
        let start = block * ty.block_size();
        let block = &weights[start..][..ty.block_size()];
        let magnitude = |i: &usize| block[*i].abs();
        let largest = (0..block.len()).max_by(|a, b| magnitude(a).total_cmp(&magnitude(b))).unwrap_or(0);
        unrepresentable(ty, weights, start + largest)
    })
}

fn unrepresentable(ty: BlockType, weights: &[f32], index: usize) -> Error {
    Error::Unrepresentable { index, value: weights[index], block_type: ty.to_string() }
}

pub(super) fn check_sizes(ty: BlockType, weights: usize, bytes: usize) -> Result<(), Error> {
    let want = ty.row_bytes(weights)?;
    if bytes != want {
        return Err(Error::ShapeMismatch { what: format!("bytes of {weights} weights of {ty}"), want, got: bytes });
    }
    Ok(())
}

/// Applies `f` to each block of `B` bytes and its `W` weights.
fn each<const B: usize, const W: usize>(bytes: &[u8], out: &mut [f32], f: impl Fn(&[u8; B], &mut [f32; W])) {
    let (blocks, _) = bytes.as_chunks();
    let (weights, _) = out.as_chunks_mut();
    for (block, weights) in blocks.iter().zip(weights) {
        f(block, weights);
    }
}

/// As [`each`], the other way round; `f` tells whether the block could be encoded, and the first that could not is the error.
fn each_back<const B: usize, const W: usize>(
    weights: &[f32],
    out: &mut [u8],
    f: impl Fn(&[f32; W], &mut [u8; B]) -> bool,
) -> Result<(), usize> {
    let (weights, _) = weights.as_chunks();
    let (blocks, _) = out.as_chunks_mut();
    for (i, (weights, block)) in weights.iter().zip(blocks).enumerate() {
        if !f(weights, block) {
            return Err(i);
        }
    }
    Ok(())
}

/// The f16 stored at byte `at`.
pub(super) fn half_at(block: &[u8], at: usize) -> f16 {
    f16::from_le_bytes([block[at], block[at + 1]])
}
