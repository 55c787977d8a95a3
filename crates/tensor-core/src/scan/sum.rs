//! How look-ups are added: in bytes, or in 16 bits.

use crate::simd::Simd;

/// The low byte of each 16-bit lane.
const LOW_BYTES: [u8; 64] = {
    let mut mask = [0; 64];
    let mut i = 0;
    while i < 64 {
        mask[i] = 0xFF;
        i += 2;
    }
    mask
};

/// Sums of 64 vectors that stop at the largest of their type.
pub(super) trait Sum: Copy {
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
    /// Of the even vectors, and of the odd.
    type Lanes<S: Simd> = [S::B; 2];
    #[inline(always)]
    fn zero<S: Simd>(s: S) -> [S::B; 2] {
        [s.splat_byte(0); 2]
    }
    #[inline(always)]
    fn add<S: Simd>(s: S, [even, odd]: [S::B; 2], found: S::B) -> [S::B; 2] {
        let low = s.load_bytes(&LOW_BYTES);
        [s.adds_u16(even, s.and(found, low)), s.adds_u16(odd, s.and(s.shr::<8>(found), low))]
    }
    #[inline(always)]
    fn at_most<S: Simd>(s: S, [even, odd]: [S::B; 2], limit: u16) -> u64 {
        s.at_most_u16(even, odd, limit)
    }
    #[inline(always)]
    fn store<S: Simd>(s: S, [even, odd]: [S::B; 2]) -> [u16; 64] {
        let mut out = [0; 64];
        s.store_u16(even, odd, &mut out);
        out
    }
}
