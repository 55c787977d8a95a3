//! Where the code of a weight lies: panels of 16 rows, blocks of 32 columns, quads of 4.
//!
//! A block of `b`-bit codes is `64 b` bytes: its bit planes of width 8, 4, 2 and 1 (the binary digits of `b`), the widest first and
//! holding the low bits of the code. A plane of width `w` is `w` registers of 64 bytes; byte `4 r + c` of register `k % w` holds, at
//! bit `w * (k / w)`, the plane's bits of row `r` and column `4 k + c`, for the quads `k = 0..8`.
//!
//! ```text
//! 4 bits: 4 registers   byte 4r+c of register k:   [quad k+4 | quad k    ]
//! 3 bits: 2 registers   byte 4r+c of register k:   [quad k+6 | k+4 | k+2 | k]   bits 0 and 1 of the codes
//!       + 1 register    byte 4r+c:                 [quad 7 | 6 | 5 | 4 | 3 | 2 | 1 | 0]   bit 2
//! ```

use super::{BLOCK, PANEL};
use crate::simd::{Simd, in_order};

const WIDTHS: [u32; 4] = [8, 4, 2, 1];

/// Bytes of a block of 16 rows and 32 columns.
pub const fn block_bytes(bits: u32) -> usize {
    PANEL * BLOCK / 8 * bits as usize
}

/// Calls `f(byte, shift, width, position)` for each plane of the code at (`row`, `column`) of a panel.
fn planes(bits: u32, row: usize, column: usize, mut f: impl FnMut(usize, u32, u32, u32)) {
    let (block, quad, c) = (column / BLOCK, column % BLOCK / 4, column % 4);
    let mut plane = block * block_bytes(bits);
    let mut position = 0;
    for width in WIDTHS {
        if bits & width != 0 {
            let w = width as usize;
            f(plane + 64 * (quad % w) + 4 * row + c, width * (quad / w) as u32, width, position);
            plane += 64 * w;
            position += width;
        }
    }
}

/// The code at (`row`, `column`) of a panel.
pub(super) fn get(panel: &[u8], bits: u32, row: usize, column: usize) -> u8 {
    let mut code = 0u32;
    planes(bits, row, column, |byte, shift, width, position| {
        code |= (u32::from(panel[byte]) >> shift & ((1 << width) - 1)) << position;
    });
    code as u8
}

/// Sets the code at (`row`, `column`) of a zeroed panel of 1- to 8-bit codes, which is a row of blocks.
pub fn put(panel: &mut [u8], bits: u32, row: usize, column: usize, code: u8) {
    planes(bits, row, column, |byte, shift, width, position| {
        panel[byte] |= ((u32::from(code) >> position & ((1 << width) - 1)) << shift) as u8;
    });
}

/// The eight quads of a block as one byte per code.
#[inline(always)]
fn unpack<S: Simd, const BITS: u32>(s: S, block: &[u8]) -> [S::B; 8] {
    let (lines, _) = block.as_chunks::<64>();
    let mut registers = [s.splat_byte(0); 8];
    let mut quads = registers;
    let (mut plane, mut position) = (0, 0);
    // All loops are written out, so that every shift is a constant and the vectors stay in registers.
    macro_rules! load {
        ($($i:literal)*) => { $(
            if $i < BITS as usize {
                registers[$i] = s.load_bytes(&lines[$i]);
                in_order();
            }
        )* };
    }
    macro_rules! planes {
        ($($width:literal)*) => { $(
            if BITS & $width != 0 {
                planes!(quads $width 0 1 2 3 4 5 6 7);
                plane += $width;
                position += $width;
            }
        )* };
        (quads $width:literal $($k:literal)*) => { $({
            let (width, k): (usize, usize) = ($width, $k);
            let register = registers[plane + k % width];
            let from = (width * (k / width)) as u32;
            let moved = if from >= position { shr(s, register, from - position) } else { shl(s, register, position - from) };
            let bits = if $width == 8 { moved } else { s.and(moved, s.splat_byte((((1u32 << $width) - 1) << position) as u8)) };
            quads[$k] = if position == 0 { bits } else { s.or(quads[$k], bits) };
        })* };
    }
    load!(0 1 2 3 4 5 6 7);
    planes!(8 4 2 1);
    let _ = (plane, position); // the last plane leaves them one further
    quads
}

/// The eight quads of a block as one byte per value: the codes themselves, or where values are wider than codes the entries of `table`.
///
/// # Panics
/// If `block` is shorter than [`block_bytes`].
#[inline(always)]
pub fn values<S: Simd, const BITS: u32, const VALUE_BITS: u32>(s: S, table: S::B, block: &[u8]) -> [S::B; 8] {
    let mut quads = unpack::<S, BITS>(s, block);
    if BITS != VALUE_BITS {
        macro_rules! look_up {
            ($($k:literal)*) => { $( quads[$k] = s.look_up(table, quads[$k]); )* };
        }
        look_up!(0 1 2 3 4 5 6 7);
    }
    quads
}

/// `by` is a constant where this is inlined.
#[inline(always)]
fn shr<S: Simd>(s: S, v: S::B, by: u32) -> S::B {
    match by {
        0 => v,
        1 => s.shr::<1>(v),
        2 => s.shr::<2>(v),
        3 => s.shr::<3>(v),
        4 => s.shr::<4>(v),
        5 => s.shr::<5>(v),
        6 => s.shr::<6>(v),
        _ => s.shr::<7>(v),
    }
}

#[inline(always)]
fn shl<S: Simd>(s: S, v: S::B, by: u32) -> S::B {
    match by {
        1 => s.shl::<1>(v),
        2 => s.shl::<2>(v),
        3 => s.shl::<3>(v),
        4 => s.shl::<4>(v),
        5 => s.shl::<5>(v),
        6 => s.shl::<6>(v),
        _ => s.shl::<7>(v),
    }
}

/// 16 codes of `bits` in `2 * bits` bytes: the planes of a block, one code per row: at bit `w * (r / 2w)` of byte `r % 2w`.
pub(super) fn put_row_code(packed: &mut [u8], bits: u32, row: usize, code: u8) {
    row_planes(bits, row, |byte, shift, width, position| {
        packed[byte] |= ((u32::from(code) >> position & ((1 << width) - 1)) << shift) as u8;
    });
}

/// The inverse of [`put_row_code`], for all 16 rows. `packed` is `2 * bits` bytes.
///
/// Eight rows at a time in the bytes of a u64: this runs once per group beside a product that takes few cycles per group.
#[inline(always)]
pub(super) fn row_codes(packed: &[u8], bits: u32) -> [u8; 16] {
    let (mut low, mut high) = (0u64, 0u64);
    let (mut plane, mut position) = (packed, 0);
    if bits & 8 != 0
        && let Some((bytes, rest)) = plane.split_first_chunk::<16>()
    {
        let x = u128::from_le_bytes(*bytes);
        (low, high) = (x as u64, (x >> 64) as u64);
        (plane, position) = (rest, 8);
    }
    if bits & 4 != 0
        && let Some((bytes, rest)) = plane.split_first_chunk::<8>()
    {
        let x = u64::from_le_bytes(*bytes);
        low |= (x & 0x0F0F_0F0F_0F0F_0F0F) << position;
        high |= (x >> 4 & 0x0F0F_0F0F_0F0F_0F0F) << position;
        (plane, position) = (rest, position + 4);
    }
    if bits & 2 != 0
        && let Some((bytes, rest)) = plane.split_first_chunk::<4>()
    {
        let x = u64::from(u32::from_le_bytes(*bytes));
        let four = |k: u32| x >> (2 * k) & 0x0303_0303;
        low |= (four(0) | four(1) << 32) << position;
        high |= (four(2) | four(3) << 32) << position;
        (plane, position) = (rest, position + 2);
    }
    if bits & 1 != 0
        && let Some((bytes, _)) = plane.split_first_chunk::<2>()
    {
        let x = u64::from(u16::from_le_bytes(*bytes));
        let two = |k: u32| x >> k & 0x0101;
        low |= (two(0) | two(1) << 16 | two(2) << 32 | two(3) << 48) << position;
        high |= (two(4) | two(5) << 16 | two(6) << 32 | two(7) << 48) << position;
    }
    (u128::from(low) | u128::from(high) << 64).to_le_bytes()
}

#[inline(always)]
fn row_planes(bits: u32, row: usize, mut f: impl FnMut(usize, u32, u32, u32)) {
    let (mut plane, mut position) = (0, 0);
    for width in WIDTHS {
        if bits & width != 0 {
            let bytes = 2 * width as usize;
            f(plane + row % bytes, width * (row / bytes) as u32, width, position);
            plane += bytes;
            position += width;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::rng::Rng;
    use crate::simd::WithSimd;

    struct Unpack<'a, const BITS: u32>(&'a [u8]);

    impl<const BITS: u32> WithSimd for Unpack<'_, BITS> {
        type Out = Vec<f32>;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<f32> {
            let mut values = vec![];
            for quad in unpack::<S, BITS>(s, self.0) {
                for v in [s.byte::<8, 0>(quad), s.byte::<8, 1>(quad), s.byte::<8, 2>(quad), s.byte::<8, 3>(quad)] {
                    let mut lanes = [0.0; 16];
                    s.store(v, &mut lanes);
                    values.extend(lanes.map(|x| x + 128.0));
                }
            }
            values
        }
    }

    fn check<const BITS: u32>(rng: &mut Rng) {
        let mut block = vec![0; block_bytes(BITS)];
        let codes: Vec<u8> = (0..512).map(|_| rng.below(1 << BITS) as u8).collect();
        for (i, code) in codes.iter().enumerate() {
            put(&mut block, BITS, i % 16, i / 16, *code);
        }
        for (i, code) in codes.iter().enumerate() {
            assert_eq!(get(&block, BITS, i % 16, i / 16), *code, "{BITS} bits, code {i}");
        }
        let want: Vec<f32> = codes.iter().map(|c| f32::from(*c)).collect();
        for isa in Isa::available() {
            assert_eq!(isa.run(Unpack::<BITS>(&block)), want, "{BITS} bits, {isa}");
        }
        let mut packed = vec![0; 2 * BITS as usize];
        (0..16).for_each(|r| put_row_code(&mut packed, BITS, r, codes[r]));
        assert_eq!(row_codes(&packed, BITS), codes[..16]);
    }

    #[test]
    fn what_is_put_is_unpacked_on_every_tier() {
        let mut rng = Rng::new(3);
        check::<1>(&mut rng);
        check::<2>(&mut rng);
        check::<3>(&mut rng);
        check::<4>(&mut rng);
        check::<5>(&mut rng);
        check::<6>(&mut rng);
        check::<7>(&mut rng);
        check::<8>(&mut rng);
    }
}
