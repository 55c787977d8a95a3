//! The types with super-blocks of 256 weights: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K.

use super::half_at;
use half::f16;

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

/// The sixteen 6-bit scales of a Q3_K block: 32 more than what multiplies.
pub(in crate::gguf) fn scales_q3_k(block: &[u8; 110]) -> [u8; 16] {
    let (low, high) = block[96..108].split_at(8);
    std::array::from_fn(|k| low[k % 8] >> (4 * (k / 8)) & 15 | (high[k % 4] >> (2 * (k / 4)) & 3) << 4)
}

/// Each half of 128 weights has 32 bytes, which hold weights `32 t..32 t + 32` of the half at bit `2 t`.
pub(in crate::gguf) fn codes_q2(bytes: &[u8], codes: &mut [u8; 256]) {
    for (bytes, codes) in bytes.chunks_exact(32).zip(codes.chunks_exact_mut(128)) {
        for (t, codes) in codes.chunks_exact_mut(32).enumerate() {
            for (byte, code) in bytes.iter().zip(codes) {
                *code = byte >> (2 * t) & 3;
            }
        }
    }
}

/// As [`codes_q2`]; bit `j` of the first 32 bytes is the third bit of weights `32 j..32 j + 32`.
pub(in crate::gguf) fn codes_q3_k(block: &[u8; 110], codes: &mut [u8; 256]) {
    codes_q2(&block[32..96], codes);
    for (j, codes) in codes.chunks_exact_mut(32).enumerate() {
        for (code, third) in codes.iter_mut().zip(&block[..32]) {
            *code |= (third >> j & 1) << 2;
        }
    }
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

pub(super) fn decode_q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let mut codes = [0; 256];
    codes_q2(&block[16..80], &mut codes);
    let d = half_at(block, 80).to_f32();
    let dmin = half_at(block, 82).to_f32();
    for ((codes, out), pair) in codes.chunks_exact(16).zip(out.chunks_exact_mut(16)).zip(&block[..16]) {
        affine(d * f32::from(pair & 15), dmin * f32::from(pair >> 4), codes, out);
    }
}

pub(super) fn decode_q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let mut codes = [0; 256];
    codes_q3_k(block, &mut codes);
    let d = half_at(block, 108).to_f32();
    for ((codes, out), scale) in codes.chunks_exact(16).zip(out.chunks_exact_mut(16)).zip(scales_q3_k(block)) {
        symmetric(d * f32::from(i16::from(scale) - 32), 4, codes, out);
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
        affine(d * f32::from(scales[j]), dmin * f32::from(mins[j]), codes, out);
    }
}

fn affine(scale: f32, min: f32, codes: &[u8], out: &mut [f32]) {
    for (&q, w) in codes.iter().zip(out) {
        *w = scale * f32::from(q) - min;
    }
}

fn symmetric(scale: f32, zero: i16, codes: &[u8], out: &mut [f32]) {
    for (&q, w) in codes.iter().zip(out) {
        *w = scale * f32::from(i16::from(q) - zero);
    }
}

pub(super) fn decode_q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let mut codes = [0; 256];
    codes_q6_k(block, &mut codes);
    let d = half_at(block, 208).to_f32();
    let groups = codes.chunks_exact(16).zip(out.chunks_exact_mut(16));
    for ((codes, out), &scale) in groups.zip(&block[192..208]) {
        symmetric(d * f32::from(scale as i8), 32, codes, out);
    }
}

/// What a Q4_K or Q5_K block holds.
pub(in crate::gguf) struct PairBlock {
    pub(in crate::gguf) d: f16,
    pub(in crate::gguf) dmin: f16,
    pub(in crate::gguf) scales: [u8; 8],
    pub(in crate::gguf) mins: [u8; 8],
    pub(in crate::gguf) codes: [u8; 256],
}

impl PairBlock {
    /// The inverse of [`scales_and_mins`], after `d` and `dmin`.
    fn pack_stats(&self, out: &mut [u8]) {
        put_halves(self.d, self.dmin, out);
        let (s, t, out) = (&self.scales, &self.mins, &mut out[4..]);
        for j in 0..4 {
            out[j] = s[j] & 63 | (s[j + 4] >> 4) << 6;
            out[j + 4] = t[j] & 63 | (t[j + 4] >> 4) << 6;
            out[j + 8] = s[j + 4] & 15 | (t[j + 4] & 15) << 4;
        }
    }
}

fn put_halves(d: f16, dmin: f16, out: &mut [u8]) {
    out[..2].copy_from_slice(&d.to_le_bytes());
    out[2..4].copy_from_slice(&dmin.to_le_bytes());
}

pub(in crate::gguf) fn pack_q2_k(d: f16, dmin: f16, scales: &[u8; 16], mins: &[u8; 16], codes: &[u8; 256], out: &mut [u8; 84]) {
    for (pair, (s, t)) in out.iter_mut().zip(scales.iter().zip(mins)) {
        *pair = s & 15 | t << 4;
    }
    pack_q2(codes, &mut out[16..80]);
    put_halves(d, dmin, &mut out[80..]);
}

pub(in crate::gguf) fn pack_q3_k(d: f16, scales: &[u8; 16], codes: &[u8; 256], out: &mut [u8; 110]) {
    pack_bit(codes, 2, &mut out[..32]);
    pack_q2(codes, &mut out[32..96]);
    for k in 0..8 {
        out[96 + k] = scales[k] & 15 | (scales[k + 8] & 15) << 4;
    }
    for k in 0..4 {
        let high = |i: usize| (scales[k + 4 * i] >> 4) << (2 * i);
        out[104 + k] = high(0) | high(1) | high(2) | high(3);
    }
    out[108..].copy_from_slice(&d.to_le_bytes());
}

pub(in crate::gguf) fn pack_q4_k(fit: &PairBlock, out: &mut [u8; 144]) {
    fit.pack_stats(&mut out[..16]);
    pack_nibbles(&fit.codes, &mut out[16..]);
}

pub(in crate::gguf) fn pack_q5_k(fit: &PairBlock, out: &mut [u8; 176]) {
    fit.pack_stats(&mut out[..16]);
    pack_bit(&fit.codes, 4, &mut out[16..48]);
    pack_nibbles(&fit.codes, &mut out[48..]);
}

pub(in crate::gguf) fn pack_q6_k(d: f16, scales: &[u8; 16], codes: &[u8; 256], out: &mut [u8; 210]) {
    for (h, codes) in codes.chunks_exact(128).enumerate() {
        for l in 0..32 {
            let q = [codes[l], codes[l + 32], codes[l + 64], codes[l + 96]];
            out[64 * h + l] = q[0] & 15 | (q[2] & 15) << 4;
            out[64 * h + l + 32] = q[1] & 15 | (q[3] & 15) << 4;
            out[128 + 32 * h + l] = q[0] >> 4 | (q[1] >> 4) << 2 | (q[2] >> 4) << 4 | (q[3] >> 4) << 6;
        }
    }
    for (byte, s) in out[192..208].iter_mut().zip(scales) {
        *byte = s ^ 0x80;
    }
    out[208..].copy_from_slice(&d.to_le_bytes());
}

/// The inverse of [`codes_q2`], for the low two bits.
fn pack_q2(codes: &[u8; 256], out: &mut [u8]) {
    for (out, codes) in out.chunks_exact_mut(32).zip(codes.chunks_exact(128)) {
        for (l, byte) in out.iter_mut().enumerate() {
            *byte = (0..4).fold(0, |byte, t| byte | (codes[32 * t + l] & 3) << (2 * t));
        }
    }
}

/// Bit `bit` of weights `32 j..32 j + 32`, at bit `j` of 32 bytes.
fn pack_bit(codes: &[u8; 256], bit: u32, out: &mut [u8]) {
    for (l, byte) in out.iter_mut().enumerate() {
        *byte = (0..8).fold(0, |byte, j| byte | (codes[32 * j + l] >> bit & 1) << j);
    }
}

/// The inverse of [`nibbles`], for the low four bits.
fn pack_nibbles(codes: &[u8; 256], out: &mut [u8]) {
    for (out, codes) in out.chunks_exact_mut(32).zip(codes.chunks_exact(64)) {
        for (l, byte) in out.iter_mut().enumerate() {
            *byte = codes[l] & 15 | codes[l + 32] << 4;
        }
    }
}
