//! How look-ups are added: in bytes, or in 16 bits.

use crate::simd::Simd;

/// The high byte of each 16-bit lane.
const HIGH_BYTES: [u8; 64] = {
    let mut mask = [0; 64];
    let mut i = 1;
    while i < 64 {
        mask[i] = 0xFF;
        i += 2;
    }
    mask
};

/// Sums of 64 vectors: bytes stop at 255; 16 bits must not be exceeded.
pub(super) trait Sum: Copy + Into<f32> {
    /// The sums in registers.
    type Lanes<S: Simd>: Copy;
    /// Zeros.
    fn zero<S: Simd>(s: S) -> Self::Lanes<S>;
    /// Adds a byte to each.
    fn add<S: Simd>(s: S, sums: Self::Lanes<S>, found: S::B) -> Self::Lanes<S>;
    /// Which are at most `limit`, a bit each.
    fn at_most<S: Simd>(s: S, sums: Self::Lanes<S>, limit: Self) -> u64;
    /// To memory, in the order of the vectors.
    fn store<S: Simd>(s: S, sums: Self::Lanes<S>) -> [Self; 64];
}

impl Sum for u8 {
    type Lanes<S: Simd> = S::B;
    #[inline(always)]
    fn zero<S: Simd>(s: S) -> S::B {
        s.splat_byte(0)
    }
    #[inline(always)]
    fn add<S: Simd>(s: S, sums: S::B, found: S::B) -> S::B {
        s.adds_u8(sums, found)
    }
    #[inline(always)]
    fn at_most<S: Simd>(s: S, sums: S::B, limit: u8) -> u64 {
        s.at_most_u8(sums, limit)
    }
    #[inline(always)]
    fn store<S: Simd>(s: S, sums: S::B) -> [u8; 64] {
        let mut out = [0; 64];
        s.store_bytes(sums, &mut out);
        out
    }
}

impl Sum for u16 {
    /// In each 16-bit lane what both of its bytes add, the odd one times 256; and what the odd one adds.
    type Lanes<S: Simd> = [S::B; 2];
    #[inline(always)]
    fn zero<S: Simd>(s: S) -> [S::B; 2] {
        [s.splat_byte(0); 2]
    }
    #[inline(always)]
    fn add<S: Simd>(s: S, [both, odd]: [S::B; 2], found: S::B) -> [S::B; 2] {
        [s.add_u16(both, found), s.add_u16(odd, s.high_u16(found))]
    }
    #[inline(always)]
    fn at_most<S: Simd>(s: S, [both, odd]: [S::B; 2], limit: u16) -> u64 {
        s.at_most_u16(even(s, both, odd), odd, limit)
    }
    #[inline(always)]
    fn store<S: Simd>(s: S, [both, odd]: [S::B; 2]) -> [u16; 64] {
        let mut out = [0; 64];
        s.store_u16(even(s, both, odd), odd, &mut out);
        out
    }
}

/// What the even bytes add, where it is below 2^16.
#[inline(always)]
fn even<S: Simd>(s: S, both: S::B, odd: S::B) -> S::B {
    s.sub_u16(both, s.and(s.shl::<8>(odd), s.load_bytes(&HIGH_BYTES)))
}
