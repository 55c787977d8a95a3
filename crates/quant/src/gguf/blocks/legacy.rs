//! The types with blocks of 32 weights: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.

use super::half_at;
use half::f16;

/// 32 nibbles: byte `j` holds weight `j` low and weight `j + 16` high.
pub(in crate::gguf) fn codes_q4(nibbles: &[u8; 16], codes: &mut [u8; 32]) {
    let (low, high) = codes.split_at_mut(16);
    for ((byte, low), high) in nibbles.iter().zip(low).zip(high) {
        *low = byte & 15;
        *high = byte >> 4;
    }
}

/// Nibbles as in [`codes_q4`]; bit `j` of `fifth` is the fifth bit of weight `j`.
pub(in crate::gguf) fn codes_q5(fifth: [u8; 4], nibbles: &[u8; 16], codes: &mut [u8; 32]) {
    codes_q4(nibbles, codes);
    let fifth = u32::from_le_bytes(fifth);
    for (j, code) in codes.iter_mut().enumerate() {
        *code |= ((fifth >> j & 1) as u8) << 4;
    }
}

pub(super) fn decode_q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = half_at(block, 0).to_f32();
    for (&q, w) in block[2..].iter().zip(out) {
        *w = f32::from(q as i8) * d;
    }
}

pub(super) fn decode_q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    symmetric(half_at(block, 0), 8, &q4(&block[2..]), out);
}

pub(super) fn decode_q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    with_min(half_at(block, 0), half_at(block, 2), &q4(&block[4..]), out);
}

pub(super) fn decode_q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    symmetric(half_at(block, 0), 16, &q5(&block[2..]), out);
}

pub(super) fn decode_q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    with_min(half_at(block, 0), half_at(block, 2), &q5(&block[4..]), out);
}

fn q4(nibbles: &[u8]) -> [u8; 32] {
    let mut codes = [0; 32];
    let nibbles = nibbles.try_into().expect("a block ends with 16 bytes of nibbles");
    codes_q4(nibbles, &mut codes);
    codes
}

fn q5(bits: &[u8]) -> [u8; 32] {
    let mut codes = [0; 32];
    let (fifth, nibbles) = bits.split_first_chunk().expect("4 bytes of fifth bits come first");
    let nibbles = nibbles.try_into().expect("a block ends with 16 bytes of nibbles");
    codes_q5(*fifth, nibbles, &mut codes);
    codes
}

fn symmetric(d: f16, zero: i16, codes: &[u8; 32], out: &mut [f32; 32]) {
    let d = d.to_f32();
    for (&q, w) in codes.iter().zip(out) {
        *w = d * f32::from(i16::from(q) - zero);
    }
}

fn with_min(d: f16, m: f16, codes: &[u8; 32], out: &mut [f32; 32]) {
    let (d, m) = (d.to_f32(), m.to_f32());
    for (&q, w) in codes.iter().zip(out) {
        *w = d * f32::from(q) + m;
    }
}

/// `d = max|w| / 127`; codes round half away from zero. False if `d` overflows f16.
pub(super) fn encode_q8_0(weights: &[f32; 32], block: &mut [u8; 34]) -> bool {
    let d = weights.iter().fold(0f32, |max, w| max.max(w.abs())) / 127.0;
    let inverse = inverse(d);
    for (w, byte) in weights.iter().zip(&mut block[2..]) {
        *byte = (w * inverse).round() as i8 as u8;
    }
    store(d, &mut block[..2])
}

pub(super) fn encode_q4_0(weights: &[f32; 32], block: &mut [u8; 18]) -> bool {
    let (d, codes) = quantize_symmetric(weights, 8);
    pack_nibbles(&codes, &mut block[2..]);
    store(d, &mut block[..2])
}

pub(super) fn encode_q4_1(weights: &[f32; 32], block: &mut [u8; 20]) -> bool {
    let (d, m, codes) = quantize_with_min(weights, 15);
    pack_nibbles(&codes, &mut block[4..]);
    store(d, &mut block[..2]) & store(m, &mut block[2..4])
}

pub(super) fn encode_q5_0(weights: &[f32; 32], block: &mut [u8; 22]) -> bool {
    let (d, codes) = quantize_symmetric(weights, 16);
    block[2..6].copy_from_slice(&fifth_bits(&codes));
    pack_nibbles(&codes, &mut block[6..]);
    store(d, &mut block[..2])
}

pub(super) fn encode_q5_1(weights: &[f32; 32], block: &mut [u8; 24]) -> bool {
    let (d, m, codes) = quantize_with_min(weights, 31);
    block[4..8].copy_from_slice(&fifth_bits(&codes));
    pack_nibbles(&codes, &mut block[8..]);
    store(d, &mut block[..2]) & store(m, &mut block[2..4])
}

/// The element of largest magnitude (the first of several) becomes code 0, so that the side which needs it has the
/// extra code; the others are `trunc(w / d + zero + 1/2)`.
fn quantize_symmetric(weights: &[f32; 32], zero: u8) -> (f32, [u8; 32]) {
    let mut extreme = weights[0];
    for &w in &weights[1..] {
        if w.abs() > extreme.abs() {
            extreme = w;
        }
    }
    let d = extreme / -f32::from(zero);
    let inverse = inverse(d);
    let half_up = f32::from(zero) + 0.5;
    // The cast truncates and saturates.
    let codes = weights.map(|w| ((w * inverse + half_up) as u8).min(2 * zero - 1));
    (d, codes)
}

/// `d = (max - min) / max_code`, codes `trunc((w - min) / d + 1/2)`.
fn quantize_with_min(weights: &[f32; 32], max_code: u8) -> (f32, f32, [u8; 32]) {
    let (mut min, mut max) = (weights[0], weights[0]);
    for &w in weights {
        (min, max) = (min.min(w), max.max(w));
    }
    let d = (max - min) / f32::from(max_code);
    let inverse = inverse(d);
    let codes = weights.map(|w| (((w - min) * inverse + 0.5) as u8).min(max_code));
    (d, min, codes)
}

/// `1 / d`, or 0 where that is no number: for `d` zero, and so small that the inverse overflows. Such a scale is stored
/// as 0, so that the codes do not matter, but must not be made of NaN.
fn inverse(d: f32) -> f32 {
    let inverse = 1.0 / d;
    if inverse.is_finite() { inverse } else { 0.0 }
}

pub(super) fn pack_nibbles(codes: &[u8; 32], out: &mut [u8]) {
    for (j, byte) in out.iter_mut().enumerate() {
        *byte = codes[j] & 15 | codes[j + 16] << 4;
    }
}

pub(super) fn fifth_bits(codes: &[u8; 32]) -> [u8; 4] {
    let bits = codes.iter().rev();
    bits.fold(0u32, |bits, code| bits << 1 | u32::from(code >> 4 & 1)).to_le_bytes()
}

/// Stores `value` as f16; false if it overflows.
fn store(value: f32, out: &mut [u8]) -> bool {
    let stored = f16::from_f32(value);
    out.copy_from_slice(&stored.to_le_bytes());
    stored.is_finite()
}
