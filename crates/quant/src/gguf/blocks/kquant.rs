//! The types with super-blocks of 256 weights: Q4_K, Q5_K, Q6_K.

use super::half_at;

/// The eight 6-bit scales and eight 6-bit minima of a Q4_K or Q5_K block, packed in the 12 bytes `s`.
pub(in crate::gguf) fn scales_and_mins(s: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let (mut scales, mut mins) = ([0; 8], [0; 8]);
    for j in 0..4 {
        scales[j] = s[j] & 63;
        mins[j] = s[j + 4] & 63;
        scales[j + 4] = s[j + 8] & 15 | (s[j] >> 6) << 4;
        mins[j + 4] = s[j + 8] >> 4 | (s[j + 4] >> 6) << 4;
    }
    (scales, mins)
}

/// 32 bytes hold sub-block `2 c` in their low and `2 c + 1` in their high nibbles.
pub(in crate::gguf) fn codes_q4_k(block: &[u8; 144], codes: &mut [u8; 256]) {
    nibbles(&block[16..], codes);
}

/// As [`codes_q4_k`]; bit `j` of the 32 bytes at 16 is the fifth bit of sub-block `j`.
pub(in crate::gguf) fn codes_q5_k(block: &[u8; 176], codes: &mut [u8; 256]) {
    nibbles(&block[48..], codes);
    for (j, sub_block) in codes.chunks_exact_mut(32).enumerate() {
        for (code, fifth) in sub_block.iter_mut().zip(&block[16..48]) {
            *code |= (fifth >> j & 1) << 4;
        }
    }
}

fn nibbles(bytes: &[u8], codes: &mut [u8; 256]) {
    for (bytes, codes) in bytes.chunks_exact(32).zip(codes.chunks_exact_mut(64)) {
        let (low, high) = codes.split_at_mut(32);
        for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
            *low = byte & 15;
            *high = byte >> 4;
        }
    }
}

/// Each half of 128 weights has 64 bytes of nibbles and 32 bytes of upper bit pairs: weights `0..64` in the low nibbles,
/// `64..128` in the high ones, with the bit pairs of weights `32 k..32 k + 32` at bit `2 k`.
pub(in crate::gguf) fn codes_q6_k(block: &[u8; 210], codes: &mut [u8; 256]) {
    for (h, codes) in codes.chunks_exact_mut(128).enumerate() {
        let low = &block[64 * h..][..64];
        let high = &block[128 + 32 * h..][..32];
        for l in 0..32 {
            codes[l] = low[l] & 15 | (high[l] & 3) << 4;
            codes[l + 32] = low[l + 32] & 15 | (high[l] >> 2 & 3) << 4;
            codes[l + 64] = low[l] >> 4 | (high[l] >> 4 & 3) << 4;
            codes[l + 96] = low[l + 32] >> 4 | (high[l] >> 6) << 4;
        }
    }
}

pub(super) fn decode_q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let mut codes = [0; 256];
    codes_q4_k(block, &mut codes);
    with_mins(&block[..16], &codes, out);
}

pub(super) fn decode_q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let mut codes = [0; 256];
    codes_q5_k(block, &mut codes);
    with_mins(&block[..16], &codes, out);
}

fn with_mins(stats: &[u8], codes: &[u8; 256], out: &mut [f32; 256]) {
    let d = half_at(stats, 0).to_f32();
    let dmin = half_at(stats, 2).to_f32();
    let packed = stats[4..].try_into().expect("12 bytes of scales follow d and dmin");
    let (scales, mins) = scales_and_mins(packed);
    for (j, (codes, out)) in codes.chunks_exact(32).zip(out.chunks_exact_mut(32)).enumerate() {
        let scale = d * f32::from(scales[j]);
        let min = dmin * f32::from(mins[j]);
        for (&q, w) in codes.iter().zip(out) {
            *w = scale * f32::from(q) - min;
        }
    }
}

pub(super) fn decode_q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let mut codes = [0; 256];
    codes_q6_k(block, &mut codes);
    let d = half_at(block, 208).to_f32();
    let groups = codes.chunks_exact(16).zip(out.chunks_exact_mut(16));
    for ((codes, out), &scale) in groups.zip(&block[192..208]) {
        let scale = d * f32::from(scale as i8);
        for (&q, w) in codes.iter().zip(out) {
            *w = scale * f32::from(i16::from(q) - 32);
        }
    }
}
