//! One vector type per tier: 16 lanes of f32 or i32 and 64 bytes, whatever the registers are.
//!
//! A panel of weights has 16 rows, so a lane is a row and no kernel adds across lanes: every tier does the same f32 operations
//! in the same order, and results agree bit for bit. On AVX-512 a value is one register, on AVX2 two, on NEON four.

use std::sync::atomic::{Ordering::SeqCst, compiler_fence};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

#[cfg(target_arch = "aarch64")]
pub(crate) use neon::{run_neon, run_neon_dot};
pub use scalar::Scalar;
#[cfg(target_arch = "x86_64")]
pub(crate) use {
    avx2::{has_avx2, run_avx2},
    avx512::{has_avx512, run_avx512},
};

/// Keeps loads before it before those after it, at no cost at run time.
///
/// Left alone, the compiler shuffles the loads of a loop body, and where they no longer ascend the hardware sees no stream: a matrix that
/// does not fit the caches then comes at half the speed (8-bit codes on AVX-512: 14 GB/s, in order 33).
#[inline(always)]
pub(crate) fn in_order() {
    compiler_fence(SeqCst);
}

/// Work that is written once over [`Simd`] and compiled for each tier; `run` must be `#[inline(always)]`.
pub trait WithSimd {
    /// What the work returns.
    type Out;
    /// Does the work with the vectors of `s`.
    fn run<S: Simd>(self, s: S) -> Self::Out;
}

/// Sixteen lanes. Every implementation is exact where the scalar one is: f32 operations round once, `mul_add` is fused.
pub trait Simd: Copy {
    /// 16 lanes of f32.
    type F: Copy;
    /// 16 lanes of i32.
    type I: Copy;
    /// 64 bytes; byte `4 r + c` belongs to lane `r`.
    type B: Copy;

    /// Whether kernels take several tokens at a time. The reference does not, which saves a third of this crate's compile time.
    const BATCHES: bool = true;

    /// Whether there are registers for 16 sums and more beside what they are made of.
    const WIDE: bool = false;

    /// Does `work` as a function of its own, compiled once for this tier, where [`WithSimd::run`] would be inlined at every place.
    fn call<W: WithSimd>(self, work: W) -> W::Out;

    /// Asks for the cache line at `x`, which will be read soon. Changes no result; by default it does nothing.
    #[inline(always)]
    fn prefetch<T>(self, x: &T) {
        let _ = x;
    }

    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::F;
    /// Lanes from memory.
    fn load(self, x: &[f32; 16]) -> Self::F;
    /// Lanes from two places, eight from each.
    #[inline(always)]
    fn load_halves(self, low: &[f32; 8], high: &[f32; 8]) -> Self::F {
        let mut t = [0.0; 16];
        t[..8].copy_from_slice(low);
        t[8..].copy_from_slice(high);
        self.load(&t)
    }
    /// Lanes to memory.
    fn store(self, v: Self::F, out: &mut [f32; 16]);
    /// Lanes widened from the bits of IEEE half precision.
    fn load_f16(self, x: &[u16; 16]) -> Self::F;
    /// Lanes widened from the bits of bfloat16.
    fn load_bf16(self, x: &[u16; 16]) -> Self::F;
    /// Lanes converted from bytes.
    fn load_u8(self, x: &[u8; 16]) -> Self::F;
    /// `a + b`
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a - b`
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b`
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a / b`
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The larger of each lane. Lanes that hold NaN are unspecified.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// The smaller of each lane. Lanes that hold NaN are unspecified.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// Rounds each lane to the nearest integer, ties to even, and gives it as i32. Lanes must lie within i32.
    fn round_i32(self, a: Self::F) -> Self::I;
    /// i32 lanes as f32, rounded to nearest even.
    fn to_f32(self, a: Self::I) -> Self::F;
    /// The bits of f32 lanes.
    fn bits(self, a: Self::F) -> Self::I;
    /// Bits as f32 lanes.
    fn with_bits(self, a: Self::I) -> Self::F;
    /// `x` in every lane.
    fn splat_i32(self, x: i32) -> Self::I;
    /// Wrapping `a + b`
    fn add_i32(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a << N`
    fn shl_i32<const N: u32>(self, a: Self::I) -> Self::I;
    /// i32 lanes to memory.
    fn store_i32(self, v: Self::I, out: &mut [i32; 16]);
    /// The low byte of each i32 lane to memory.
    #[inline(always)]
    fn store_low_bytes(self, v: Self::I, out: &mut [i8; 16]) {
        let mut t = [0; 16];
        self.store_i32(v, &mut t);
        for (out, t) in out.iter_mut().zip(t) {
            *out = t as i8;
        }
    }
    /// The wrapping sum of i32 lanes.
    #[inline(always)]
    fn sum_i32(self, v: Self::I) -> i32 {
        let mut t = [0; 16];
        self.store_i32(v, &mut t);
        t.into_iter().fold(0, i32::wrapping_add)
    }

    /// 64 bytes from memory.
    fn load_bytes(self, x: &[u8; 64]) -> Self::B;
    /// `x` in every byte.
    fn splat_byte(self, x: u8) -> Self::B;
    /// Bitwise and.
    fn and(self, a: Self::B, b: Self::B) -> Self::B;
    /// Bitwise or.
    fn or(self, a: Self::B, b: Self::B) -> Self::B;
    /// 16 bytes as a table for [`look_up`](Simd::look_up).
    #[inline(always)]
    fn table(self, x: &[u8; 16]) -> Self::B {
        let mut repeated = [0; 64];
        for place in repeated.as_chunks_mut::<16>().0 {
            *place = *x;
        }
        self.load_bytes(&repeated)
    }
    /// Each byte, which is below 16, replaced by that entry of the [`table`](Simd::table).
    fn look_up(self, table: Self::B, at: Self::B) -> Self::B;
    /// Shifts each 32-bit lane right by `N` bits.
    fn shr<const N: u32>(self, a: Self::B) -> Self::B;
    /// Shifts each 32-bit lane left by `N` bits.
    fn shl<const N: u32>(self, a: Self::B) -> Self::B;

    /// 64 bytes to memory.
    fn store_bytes(self, v: Self::B, out: &mut [u8; 64]);
    /// `min(a + b, 255)` of each byte.
    fn adds_u8(self, a: Self::B, b: Self::B) -> Self::B;
    /// Wrapping `a + b` of each 16-bit lane.
    fn add_u16(self, a: Self::B, b: Self::B) -> Self::B;
    /// Wrapping `a - b` of each 16-bit lane.
    fn sub_u16(self, a: Self::B, b: Self::B) -> Self::B;
    /// `a >> 8` of each 16-bit lane.
    fn high_u16(self, a: Self::B) -> Self::B;
    /// A table in the form that [`look_up_256`](Simd::look_up_256) wants.
    #[inline(always)]
    fn lay_256(self, table: &[u8; 256]) -> [u8; 256] {
        *table
    }
    /// Each byte replaced by that entry of a table that [`lay_256`](Simd::lay_256) laid out. By default one at a time.
    #[inline(always)]
    fn look_up_256(self, table: &[u8; 256], at: Self::B) -> Self::B {
        let mut t = [0; 64];
        self.store_bytes(at, &mut t);
        for t in &mut t {
            *t = table[usize::from(*t)];
        }
        self.load_bytes(&t)
    }
    /// Bit `i` says whether byte `i` of `a` is at most `limit`. By default one at a time.
    #[inline(always)]
    fn at_most_u8(self, a: Self::B, limit: u8) -> u64 {
        let mut t = [0; 64];
        self.store_bytes(a, &mut t);
        t.iter().rev().fold(0, |mask, a| mask << 1 | u64::from(*a <= limit))
    }
    /// The 16-bit lanes of `even` and `odd` in turn, to memory.
    #[inline(always)]
    fn store_u16(self, even: Self::B, odd: Self::B, out: &mut [u16; 64]) {
        let (mut e, mut o) = ([0; 64], [0; 64]);
        self.store_bytes(even, &mut e);
        self.store_bytes(odd, &mut o);
        for (out, (e, o)) in out.as_chunks_mut::<2>().0.iter_mut().zip(e.as_chunks::<2>().0.iter().zip(o.as_chunks::<2>().0)) {
            *out = [u16::from_le_bytes(*e), u16::from_le_bytes(*o)];
        }
    }
    /// Bit `2 i` says whether 16-bit lane `i` of `even` is at most `limit`, bit `2 i + 1` the same of `odd`. By default one at a time.
    #[inline(always)]
    fn at_most_u16(self, even: Self::B, odd: Self::B, limit: u16) -> u64 {
        let mut t = [0; 64];
        self.store_u16(even, odd, &mut t);
        t.iter().rev().fold(0, |mask, a| mask << 1 | u64::from(*a <= limit))
    }

    /// Per lane `r`: the sum over `q < Q` and `c < 4` of `(codes[q][4 r + c] - 2^(BITS-1)) * x[4 q + c]`, exactly.
    ///
    /// Codes are below `2^BITS`, `x` lies in -127..=127 and `minus_xsum` is minus its sum. Fits i32 for every `Q` up to 8.
    fn dot<const BITS: u32, const Q: usize>(self, codes: &[Self::B; Q], x: &[i8], minus_xsum: i32) -> Self::I;
    /// Per lane `r`: the sum over `q < Q` and `c < 4` of `codes[q][4 r + c] * x[4 q + c]`, exactly, for any codes and `x` in -63..=63.
    #[inline(always)]
    fn dot_bytes<const Q: usize>(self, codes: &[Self::B; Q], x: &[i8]) -> Self::I {
        let sum: i32 = x.iter().map(|x| i32::from(*x)).sum();
        self.add_i32(self.dot::<8, Q>(codes, x, -sum), self.splat_i32(128 * sum))
    }
    /// [`dot`](Simd::dot) as f32 for eight tokens side by side, with a `Q` of 4 or 8, where that is exact. Of each token's codes those from `FROM` on count;
    /// minus their sum comes times 128 too, and a tier takes what costs it less.
    #[inline(always)]
    fn dots<const BITS: u32, const Q: usize, const FROM: usize>(
        self,
        codes: &[Self::B; Q],
        x: &[[i8; 32]; 8],
        times_128: &[i32; 8],
        minus_xsum: &[f32; 8],
    ) -> [Self::F; 8] {
        let _ = minus_xsum;
        macro_rules! each_token {
            ($($t:literal)*) => { [$(self.to_f32(self.dot::<BITS, Q>(codes, &x[$t][FROM..], times_128[$t] >> 7))),*] };
        }
        each_token!(0 1 2 3 4 5 6 7)
    }
    /// Byte `C` of each lane as f32, less `2^(BITS-1)`. Bytes are below `2^BITS`.
    fn byte<const BITS: u32, const C: usize>(self, codes: Self::B) -> Self::F;

    /// The sum of the lanes as a tree: lane `i` with `i + 8`, then `+ 4`, `+ 2`, `+ 1`.
    #[inline(always)]
    fn sum(self, v: Self::F) -> f32 {
        let mut t = [0.0; 16];
        self.store(v, &mut t);
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                t[i] += t[i + half];
            }
        }
        t[0]
    }

    /// The largest lane.
    #[inline(always)]
    fn max_lane(self, v: Self::F) -> f32 {
        let mut t = [0.0; 16];
        self.store(v, &mut t);
        t.into_iter().fold(t[0], |a, b| if b > a { b } else { a })
    }

    /// Up to 16 values, then zeros.
    #[inline(always)]
    fn load_tail(self, x: &[f32]) -> Self::F {
        let mut t = [0.0; 16];
        t[..x.len()].copy_from_slice(x);
        self.load(&t)
    }

    /// e^x in each lane to 2 ulp; below -87 it is 0, above 88 it is held at e^88.
    #[inline(always)]
    fn exp(self, x: Self::F) -> Self::F {
        // 2^k * e^f with |f| <= ln 2 / 2; ln 2 in two parts keeps f exact (Cody and Waite).
        let low = self.splat(-87.0);
        let clamped = self.min(self.max(x, low), self.splat(88.0));
        let k = self.round_i32(self.mul(clamped, self.splat(std::f32::consts::LOG2_E)));
        let kf = self.to_f32(k);
        let f = self.mul_add(kf, self.splat(-355.0 / 512.0), clamped);
        let f = self.mul_add(kf, self.splat(2.121_944_4e-4), f);
        let mut p = self.splat(1.987_569_1e-4);
        for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            p = self.mul_add(p, f, self.splat(c));
        }
        let p = self.add(self.mul_add(p, self.mul(f, f), f), self.splat(1.0));
        // p lies in [0.7, 1.42]: adding k to its exponent cannot leave the normal range for k in -126..=127.
        let e = self.with_bits(self.add_i32(self.bits(p), self.shl_i32::<23>(k)));
        self.zero_below(x, low, e)
    }

    /// Bit `i` unless lane `i` of `a` is above that of `b`: also where one is NaN.
    fn not_above(self, a: Self::F, b: Self::F) -> u16;

    /// `v` where `x >= limit`, else 0.
    fn zero_below(self, x: Self::F, limit: Self::F, v: Self::F) -> Self::F;
}

#[cfg(test)]
mod tests;
