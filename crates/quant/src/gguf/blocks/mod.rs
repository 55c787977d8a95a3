//! Block codecs: stored bytes to f32 and back.
//!
//! Decoding is f32 arithmetic without fused steps, in the order of the `gguf` Python package, and equals it bit for bit; so do the
//! bytes of the encoders of F32 to Q8_0. Those of the K types, and those that are told how much each column matters,
//! search: their error is not above llama.cpp's. The block layouts are drawn in `docs/formats.md`.

mod kquant;
mod legacy;
mod palette;
mod search;
mod superblock;
mod weighted;

use super::BlockType;
use crate::Error;
use half::{bf16, f16};
use rayon::prelude::*;
use weighted::Columns;

pub(super) use kquant::{PairBlock, pack_q2_k, pack_q3_k, pack_q4_k, pack_q5_k, pack_q6_k};
pub(super) use kquant::{codes_q2, codes_q3_k, codes_q4_k, codes_q5_k, codes_q6_k, scales_and_mins, scales_q3_k};
pub(super) use legacy::{codes_q4, codes_q5};
pub(super) use palette::{E2M1, IQ4, codes_iq4_xs, codes_tq1_0, codes_tq2_0, half_exponent, scales_iq4_xs};

/// The types that [`encode`] writes.
pub const ENCODED: [BlockType; 13] = [
    BlockType::F32,
    BlockType::F16,
    BlockType::BF16,
    BlockType::Q8_0,
    BlockType::Q4_0,
    BlockType::Q4_1,
    BlockType::Q5_0,
    BlockType::Q5_1,
    BlockType::Q2_K,
    BlockType::Q3_K,
    BlockType::Q4_K,
    BlockType::Q5_K,
    BlockType::Q6_K,
];

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
        BlockType::Q2_K => each(bytes, out, kquant::decode_q2_k),
        BlockType::Q3_K => each(bytes, out, kquant::decode_q3_k),
        BlockType::Q4_K => each(bytes, out, kquant::decode_q4_k),
        BlockType::Q5_K => each(bytes, out, kquant::decode_q5_k),
        BlockType::Q6_K => each(bytes, out, kquant::decode_q6_k),
        BlockType::IQ4_NL => each(bytes, out, palette::decode_iq4_nl),
        BlockType::IQ4_XS => each(bytes, out, palette::decode_iq4_xs),
        BlockType::TQ1_0 => each(bytes, out, palette::decode_tq1_0),
        BlockType::TQ2_0 => each(bytes, out, palette::decode_tq2_0),
        BlockType::MXFP4 => each(bytes, out, palette::decode_mxfp4),
    }
    Ok(())
}

/// Encodes `weights`, whole blocks of `ty`, into `out`, on all of rayon's threads if they are many.
///
/// The bytes of the types up to Q8_0 are those of the format's own tools: scales are fitted in f32 and stored in f16, codes
/// are computed with the f32 scale. The K types take the least squared error of a search, in which an element weighs what
/// it does in llama.cpp: `x^2` in Q3_K and Q6_K, `|x|` in Q2_K, that and the root mean square of its 32 in Q4_K and Q5_K.
///
/// # Errors
/// [`Error::NoEncoder`] for types that are only read; [`Error::Unrepresentable`] for NaN, infinities, and values or scales beyond the stored float's range;
/// [`Error::BlockDoesNotDivide`] and [`Error::ShapeMismatch`] as for [`decode`].
pub fn encode(ty: BlockType, weights: &[f32], out: &mut [u8]) -> Result<(), Error> {
    check_sizes(ty, weights.len(), out.len())?;
    check_finite(ty, weights)?;
    match ty {
        BlockType::F32 => each_back(weights, out, |_, w: &[f32; 1], b| {
            *b = w[0].to_le_bytes();
            true
        }),
        BlockType::F16 => each_back(weights, out, |_, w: &[f32; 1], b| {
            *b = f16::from_f32(w[0]).to_le_bytes();
            f16::from_le_bytes(*b).is_finite()
        }),
        BlockType::BF16 => each_back(weights, out, |_, w: &[f32; 1], b| {
            *b = bf16::from_f32(w[0]).to_le_bytes();
            bf16::from_le_bytes(*b).is_finite()
        }),
        BlockType::Q8_0 => each_back(weights, out, |_, w, b| legacy::encode_q8_0(w, b)),
        BlockType::Q4_0 => each_back(weights, out, |_, w, b| legacy::encode_q4_0(w, b)),
        BlockType::Q4_1 => each_back(weights, out, |_, w, b| legacy::encode_q4_1(w, b)),
        BlockType::Q5_0 => each_back(weights, out, |_, w, b| legacy::encode_q5_0(w, b)),
        BlockType::Q5_1 => each_back(weights, out, |_, w, b| legacy::encode_q5_1(w, b)),
        BlockType::Q2_K => each_back(weights, out, |_, w, b| superblock::encode_q2_k(w, None, b)),
        BlockType::Q3_K => each_back(weights, out, |_, w, b| superblock::encode_q3_k(w, None, b)),
        BlockType::Q4_K => each_back(weights, out, |_, w, b| superblock::encode_q4_k(w, None, b)),
        BlockType::Q5_K => each_back(weights, out, |_, w, b| superblock::encode_q5_k(w, None, b)),
        BlockType::Q6_K => each_back(weights, out, |_, w, b| superblock::encode_q6_k(w, None, b)),
        BlockType::IQ4_NL | BlockType::IQ4_XS | BlockType::TQ1_0 | BlockType::TQ2_0 | BlockType::MXFP4 => return Err(no_encoder(ty)),
    }
    .map_err(|block| bad_block(ty, weights, block))
}

/// As [`encode`], for rows whose columns matter differently: `importance` is what an importance matrix says of each column,
/// usually the mean square of the inputs that it multiplies, and as long as a row.
///
/// An element `x` of column `j` weighs `importance[j] sqrt(k mean(x^2) + x^2)`; the mean is over the row for Q4_0, Q4_1,
/// Q5_0 and Q5_1 (`k` = 1), else over the 256 of the block (`k` = 1 for Q2_K, 2 for Q3_K, Q4_K and Q5_K). In Q6_K it weighs
/// `importance[j]`. F32, F16, BF16 and Q8_0 stay as they are.
///
/// ```
/// use scant_quant::gguf::{BlockType, blocks};
/// let row: Vec<f32> = (0..32).map(|i| (i as f32).sin()).collect();
/// let importance: Vec<f32> = (0..32).map(|i| if i == 5 { 100.0 } else { 1.0 }).collect();
/// let (mut bytes, mut read) = ([0; 18], [0.0; 32]);
/// blocks::encode_weighted(BlockType::Q4_0, &row, &importance, &mut bytes)?;
/// blocks::decode(BlockType::Q4_0, &bytes, &mut read)?;
/// assert!((read[5] - row[5]).abs() < 0.01);
/// # Ok::<(), scant_quant::Error>(())
/// ```
///
/// # Errors
/// Those of [`encode`]; [`Error::ShapeMismatch`] if `weights` are no whole rows, [`Error::Importance`] for an importance
/// below zero, infinite or NaN.
pub fn encode_weighted(ty: BlockType, weights: &[f32], importance: &[f32], out: &mut [u8]) -> Result<(), Error> {
    check_sizes(ty, weights.len(), out.len())?;
    check_finite(ty, weights)?;
    let n = importance.len();
    ty.row_bytes(n)?;
    if n == 0 || !weights.len().is_multiple_of(n) {
        let want = weights.len().next_multiple_of(n.max(1));
        return Err(Error::ShapeMismatch { what: format!("weights in rows of {n}"), want, got: weights.len() });
    }
    if let Some((column, value)) = importance.iter().enumerate().find(|(_, v)| !v.is_finite() || **v < 0.0) {
        return Err(Error::Importance { column, value: *value });
    }
    let of = |block: usize| {
        let (blocks, _) = importance.as_chunks::<256>();
        Some(&blocks[block % blocks.len()])
    };
    let (narrow, _) = importance.as_chunks::<32>();
    let mean = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>() / n as f32;
    let means: Vec<f32> = if ty.block_size() == 32 { weights.par_chunks_exact(n).map(mean).collect() } else { vec![] };
    let columns = |block: usize| Columns { importance: &narrow[block % narrow.len()], mean_square: means[block / narrow.len()] };
    match ty {
        BlockType::F32 | BlockType::F16 | BlockType::BF16 | BlockType::Q8_0 => return encode(ty, weights, out),
        BlockType::IQ4_NL | BlockType::IQ4_XS | BlockType::TQ1_0 | BlockType::TQ2_0 | BlockType::MXFP4 => return Err(no_encoder(ty)),
        BlockType::Q4_0 => each_back(weights, out, |i, w, b| weighted::encode_q4_0(w, &columns(i), b)),
        BlockType::Q4_1 => each_back(weights, out, |i, w, b| weighted::encode_q4_1(w, &columns(i), b)),
        BlockType::Q5_0 => each_back(weights, out, |i, w, b| weighted::encode_q5_0(w, &columns(i), b)),
        BlockType::Q5_1 => each_back(weights, out, |i, w, b| weighted::encode_q5_1(w, &columns(i), b)),
        BlockType::Q2_K => each_back(weights, out, |i, w, b| superblock::encode_q2_k(w, of(i), b)),
        BlockType::Q3_K => each_back(weights, out, |i, w, b| superblock::encode_q3_k(w, of(i), b)),
        BlockType::Q4_K => each_back(weights, out, |i, w, b| superblock::encode_q4_k(w, of(i), b)),
        BlockType::Q5_K => each_back(weights, out, |i, w, b| superblock::encode_q5_k(w, of(i), b)),
        BlockType::Q6_K => each_back(weights, out, |i, w, b| superblock::encode_q6_k(w, of(i), b)),
    }
    .map_err(|block| bad_block(ty, weights, block))
}

fn no_encoder(ty: BlockType) -> Error {
    Error::NoEncoder { block_type: ty.to_string(), supported: ENCODED.map(|ty| ty.to_string()).join(", ") }
}

fn check_finite(ty: BlockType, weights: &[f32]) -> Result<(), Error> {
    match weights.iter().position(|w| !w.is_finite()) {
        None => Ok(()),
        Some(index) => Err(unrepresentable(ty, weights, index)),
    }
}

/// A block that an f16 is too small for: its largest weight is named.
fn bad_block(ty: BlockType, weights: &[f32], block: usize) -> Error {
    let start = block * ty.block_size();
    let block = &weights[start..][..ty.block_size()];
    let magnitude = |i: &usize| block[*i].abs();
    let largest = (0..block.len()).max_by(|a, b| magnitude(a).total_cmp(&magnitude(b))).unwrap_or(0);
    unrepresentable(ty, weights, start + largest)
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

/// Weights that a thread takes at a time.
const SHARE: usize = 1 << 14;

/// As [`each`], the other way round and with the number of the block, by all threads; `f` tells whether the block could be
/// encoded, and the first that could not is the error.
fn each_back<const B: usize, const W: usize>(
    weights: &[f32],
    out: &mut [u8],
    f: impl Fn(usize, &[f32; W], &mut [u8; B]) -> bool + Sync,
) -> Result<(), usize> {
    let (weights, _) = weights.as_chunks();
    let (blocks, _) = out.as_chunks_mut();
    let share = SHARE / W;
    let run = |first: usize, weights: &[[f32; W]], blocks: &mut [[u8; B]]| {
        weights.iter().zip(blocks).enumerate().find_map(|(i, (w, b))| (!f(first + i, w, b)).then_some(first + i))
    };
    let bad = if weights.len() <= share {
        run(0, weights, blocks)
    } else {
        let shares = weights.par_chunks(share).zip(blocks.par_chunks_mut(share)).enumerate();
        shares.filter_map(|(i, (weights, blocks))| run(i * share, weights, blocks)).min()
    };
    bad.map_or(Ok(()), Err)
}

/// The f16 stored at byte `at`.
pub(super) fn half_at(block: &[u8], at: usize) -> f16 {
    f16::from_le_bytes([block[at], block[at + 1]])
}
