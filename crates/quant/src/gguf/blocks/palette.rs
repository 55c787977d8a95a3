//! The types whose codes stand for values of uneven spacing (IQ4_NL, IQ4_XS, MXFP4), and the ternary ones (TQ1_0, TQ2_0).

use super::half_at;
use super::kquant::codes_q2;
use super::legacy::codes_q4;

/// The values of IQ4_NL and IQ4_XS.
pub(in crate::gguf) const IQ4: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Twice the values of a 4-bit float with two bits of exponent and one of mantissa.
pub(in crate::gguf) const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Bits of the bfloat16 that an MXFP4 exponent stands for: half of `2^(e - 127)`, since [`E2M1`] is doubled.
pub(in crate::gguf) fn half_exponent(e: u8) -> u16 {
    match e {
        // Below the normal numbers.
        0 => 0x20,
        1 => 0x40,
        _ => u16::from(e - 1) << 7,
    }
}

/// The eight 6-bit scales of an IQ4_XS block: 32 more than what multiplies.
pub(in crate::gguf) fn scales_iq4_xs(block: &[u8; 136]) -> [u8; 8] {
    let high = u16::from_le_bytes([block[2], block[3]]);
    std::array::from_fn(|j| block[4 + j / 2] >> (4 * (j % 2)) & 15 | ((high >> (2 * j) & 3) as u8) << 4)
}

/// Eight sub-blocks of 32 nibbles, as those of Q4_0.
pub(in crate::gguf) fn codes_iq4_xs(block: &[u8; 136], codes: &mut [u8; 256]) {
    let (nibbles, _) = block[8..].as_chunks();
    for (nibbles, codes) in nibbles.iter().zip(codes.as_chunks_mut().0) {
        codes_q4(nibbles, codes);
    }
}

/// Five codes to a byte, as the first five digits of the fraction `byte / 256` in base 3: 32 bytes, then 16, hold each digit of theirs
/// in turn, and 4 more bytes four digits.
pub(in crate::gguf) fn codes_tq1_0(block: &[u8; 54], codes: &mut [u8; 256]) {
    let mut at = 0;
    for (bytes, digits) in [(0..32, 5), (32..48, 5), (48..52, 4)] {
        let mut power = 1u8;
        for _ in 0..digits {
            for byte in &block[bytes.clone()] {
                codes[at] = ((u16::from(byte.wrapping_mul(power)) * 3) >> 8) as u8;
                at += 1;
            }
            power = power.wrapping_mul(3);
        }
    }
}

pub(in crate::gguf) fn codes_tq2_0(block: &[u8; 66], codes: &mut [u8; 256]) {
    codes_q2(&block[..64], codes);
}

pub(super) fn decode_iq4_nl(block: &[u8; 18], out: &mut [f32; 32]) {
    from_nibbles(half_at(block, 0).to_f32(), &IQ4, &block[2..], out);
}

pub(super) fn decode_mxfp4(block: &[u8; 17], out: &mut [f32; 32]) {
    from_nibbles(f32::from_bits(u32::from(half_exponent(block[0])) << 16), &E2M1, &block[1..], out);
}

pub(super) fn decode_iq4_xs(block: &[u8; 136], out: &mut [f32; 256]) {
    let d = half_at(block, 0).to_f32();
    for ((scale, nibbles), out) in scales_iq4_xs(block).into_iter().zip(block[8..].chunks_exact(16)).zip(out.as_chunks_mut().0) {
        from_nibbles(d * f32::from(i16::from(scale) - 32), &IQ4, nibbles, out);
    }
}

fn from_nibbles(scale: f32, values: &[i8; 16], nibbles: &[u8], out: &mut [f32; 32]) {
    let mut codes = [0; 32];
    codes_q4(nibbles.try_into().expect("16 bytes of nibbles"), &mut codes);
    for (q, w) in codes.into_iter().zip(out) {
        *w = scale * f32::from(values[usize::from(q)]);
    }
}

pub(super) fn decode_tq1_0(block: &[u8; 54], out: &mut [f32; 256]) {
    let mut codes = [0; 256];
    codes_tq1_0(block, &mut codes);
    ternary(half_at(block, 52).to_f32(), &codes, out);
}

pub(super) fn decode_tq2_0(block: &[u8; 66], out: &mut [f32; 256]) {
    let mut codes = [0; 256];
    codes_tq2_0(block, &mut codes);
    ternary(half_at(block, 64).to_f32(), &codes, out);
}

fn ternary(d: f32, codes: &[u8; 256], out: &mut [f32; 256]) {
    for (&q, w) in codes.iter().zip(out) {
        *w = d * f32::from(i16::from(q) - 1);
    }
}
