//! AVX2 with FMA and F16C: a value is two ymm registers, lanes 0..8 and 8..16.
#![expect(unsafe_code, reason = "intrinsics and the entry into the tier; `Avx2` is only made after the CPU was asked")]
// One reason for every block: trait methods cannot carry `target_feature`, and an `Avx2` exists only inside `run_avx2`,
// which needs an `Isa` of that level, so the CPU has the instructions; loads and stores go through array references.
#![expect(clippy::undocumented_unsafe_blocks, reason = "the reason above holds for each block")]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "value intrinsics, unsafe only for want of `target_feature`")]

use super::{Simd, WithSimd};
use crate::isa::{Isa, Level};
use std::arch::x86_64::*;

/// Proof of being inside `run_avx2`.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

macro_rules! features {
    ($($f:tt)*) => {
        pub(crate) fn has_avx2() -> bool { $(std::is_x86_feature_detected!($f))&&* }

        $(#[target_feature(enable = $f)])*
        fn enter<W: WithSimd>(work: W) -> W::Out { work.run(Avx2(())) }

        $(#[target_feature(enable = $f)])*
        #[inline(never)]
        fn enter_apart<W: WithSimd>(work: W) -> W::Out { work.run(Avx2(())) }
    };
}
features!("avx2" "fma" "f16c");

#[inline]
pub(crate) fn run_avx2<W: WithSimd>(isa: Isa, work: W) -> W::Out {
    assert!(isa.level() == Level::Avx2);
    // SAFETY: `isa` proves that this CPU has every feature in the list that `enter` enables.
    unsafe { enter(work) }
}

#[inline(always)]
fn zip<A: Copy, B: Copy, R>(a: [A; 2], b: [B; 2], f: impl Fn(A, B) -> R) -> [R; 2] {
    [f(a[0], b[0]), f(a[1], b[1])]
}

// Not `array::map`: the standard library's functions are compiled without this tier's features, so intrinsics in a closure would become
// calls inside them unless the compiler happens to inline them first.
#[inline(always)]
fn map<A: Copy, R>(a: [A; 2], f: impl Fn(A) -> R) -> [R; 2] {
    [f(a[0]), f(a[1])]
}

#[inline(always)]
fn halves<T, const N: usize>(x: &[T; 16]) -> [&[T; N]; 2] {
    let (chunks, _) = x.as_chunks::<N>();
    [&chunks[0], &chunks[1]]
}

/// Lane `i` plus `i + 4`, then `+ 2`, then `+ 1`. Only for code inside a tier that has AVX.
#[inline(always)]
pub(super) fn sum8(v: __m256) -> f32 {
    unsafe {
        let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
        let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
        _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
    }
}

/// The largest of eight lanes. As [`sum8`].
#[inline(always)]
pub(super) fn max8(v: __m256) -> f32 {
    unsafe {
        let v = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
        let v = _mm_max_ps(v, _mm_movehl_ps(v, v));
        _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)))
    }
}

/// The wrapping sum of eight lanes. As [`sum8`].
#[inline(always)]
pub(super) fn sum8_i32(v: __m256i) -> i32 {
    unsafe {
        let v = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
        let v = _mm_add_epi32(v, _mm_shuffle_epi32::<0b00_00_11_10>(v));
        _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32::<0b00_00_00_01>(v)))
    }
}

impl Simd for Avx2 {
    type F = [__m256; 2];
    type I = [__m256i; 2];
    type B = [__m256i; 2];

    #[inline(always)]
    fn call<W: WithSimd>(self, work: W) -> W::Out {
        unsafe { enter_apart(work) }
    }
    #[inline(always)]
    fn prefetch<T>(self, x: &T) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(x).cast()) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [unsafe { _mm256_set1_ps(x) }; 2]
    }
    #[inline(always)]
    fn load(self, x: &[f32; 16]) -> Self::F {
        map(halves::<f32, 8>(x), |x| unsafe { _mm256_loadu_ps(x.as_ptr()) })
    }
    #[inline(always)]
    fn load_halves(self, low: &[f32; 8], high: &[f32; 8]) -> Self::F {
        unsafe { [_mm256_loadu_ps(low.as_ptr()), _mm256_loadu_ps(high.as_ptr())] }
    }
    #[inline(always)]
    fn store(self, v: Self::F, out: &mut [f32; 16]) {
        let (out, _) = out.as_chunks_mut::<8>();
        unsafe {
            _mm256_storeu_ps(out[0].as_mut_ptr(), v[0]);
            _mm256_storeu_ps(out[1].as_mut_ptr(), v[1]);
        }
    }
    #[inline(always)]
    fn load_f16(self, x: &[u16; 16]) -> Self::F {
        map(halves::<u16, 8>(x), |x| unsafe { _mm256_cvtph_ps(_mm_loadu_si128(x.as_ptr().cast())) })
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u16; 16]) -> Self::F {
        halves::<u16, 8>(x)
            .map(|x| unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(x.as_ptr().cast())))) })
    }
    #[inline(always)]
    fn load_u8(self, x: &[u8; 16]) -> Self::F {
        map(halves::<u8, 8>(x), |x| unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(x.as_ptr().cast()))) })
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| unsafe { _mm256_add_ps(a, b) })
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| unsafe { _mm256_sub_ps(a, b) })
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| unsafe { _mm256_mul_ps(a, b) })
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| unsafe { _mm256_div_ps(a, b) })
    }
    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| unsafe { _mm256_max_ps(a, b) })
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| unsafe { _mm256_min_ps(a, b) })
    }
    #[inline(always)]
    fn round_i32(self, a: Self::F) -> Self::I {
        map(a, |a| unsafe { _mm256_cvtps_epi32(a) })
    }
    #[inline(always)]
    fn to_f32(self, a: Self::I) -> Self::F {
        map(a, |a| unsafe { _mm256_cvtepi32_ps(a) })
    }
    #[inline(always)]
    fn bits(self, a: Self::F) -> Self::I {
        map(a, |a| unsafe { _mm256_castps_si256(a) })
    }
    #[inline(always)]
    fn with_bits(self, a: Self::I) -> Self::F {
        map(a, |a| unsafe { _mm256_castsi256_ps(a) })
    }
    #[inline(always)]
    fn splat_i32(self, x: i32) -> Self::I {
        [unsafe { _mm256_set1_epi32(x) }; 2]
    }
    #[inline(always)]
    fn add_i32(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, |a, b| unsafe { _mm256_add_epi32(a, b) })
    }
    #[inline(always)]
    fn shl_i32<const N: u32>(self, a: Self::I) -> Self::I {
        self.shl::<N>(a)
    }
    #[inline(always)]
    fn store_i32(self, v: Self::I, out: &mut [i32; 16]) {
        let (out, _) = out.as_chunks_mut::<8>();
        unsafe {
            _mm256_storeu_si256(out[0].as_mut_ptr().cast(), v[0]);
            _mm256_storeu_si256(out[1].as_mut_ptr().cast(), v[1]);
        }
    }
    #[inline(always)]
    fn store_low_bytes(self, v: Self::I, out: &mut [i8; 16]) {
        unsafe {
            // The low byte of each lane into the low word of each half, then the halves together.
            let low = _mm256_setr_epi8(
                0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
            );
            let words = map(v, |v| _mm256_shuffle_epi8(v, low));
            let words = map(words, |v| _mm_unpacklo_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v)));
            _mm_storeu_si128(out.as_mut_ptr().cast(), _mm_unpacklo_epi64(words[0], words[1]));
        }
    }
    #[inline(always)]
    fn sum_i32(self, v: Self::I) -> i32 {
        sum8_i32(unsafe { _mm256_add_epi32(v[0], v[1]) })
    }
    #[inline(always)]
    fn load_bytes(self, x: &[u8; 64]) -> Self::B {
        let (x, _) = x.as_chunks::<32>();
        unsafe { [_mm256_loadu_si256(x[0].as_ptr().cast()), _mm256_loadu_si256(x[1].as_ptr().cast())] }
    }
    #[inline(always)]
    fn splat_byte(self, x: u8) -> Self::B {
        [unsafe { _mm256_set1_epi8(x as i8) }; 2]
    }
    #[inline(always)]
    fn and(self, a: Self::B, b: Self::B) -> Self::B {
        zip(a, b, |a, b| unsafe { _mm256_and_si256(a, b) })
    }
    #[inline(always)]
    fn or(self, a: Self::B, b: Self::B) -> Self::B {
        zip(a, b, |a, b| unsafe { _mm256_or_si256(a, b) })
    }
    #[inline(always)]
    fn table(self, x: &[u8; 16]) -> Self::B {
        [unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(x.as_ptr().cast())) }; 2]
    }
    #[inline(always)]
    fn look_up(self, table: Self::B, at: Self::B) -> Self::B {
        zip(table, at, |table, at| unsafe { _mm256_shuffle_epi8(table, at) })
    }
    #[inline(always)]
    fn shr<const N: u32>(self, a: Self::B) -> Self::B {
        map(a, |a| unsafe { _mm256_srl_epi32(a, _mm_cvtsi32_si128(N as i32)) })
    }
    #[inline(always)]
    fn shl<const N: u32>(self, a: Self::B) -> Self::B {
        map(a, |a| unsafe { _mm256_sll_epi32(a, _mm_cvtsi32_si128(N as i32)) })
    }
    #[inline(always)]
    fn store_bytes(self, v: Self::B, out: &mut [u8; 64]) {
        let (out, _) = out.as_chunks_mut::<32>();
        unsafe {
            _mm256_storeu_si256(out[0].as_mut_ptr().cast(), v[0]);
            _mm256_storeu_si256(out[1].as_mut_ptr().cast(), v[1]);
        }
    }
    #[inline(always)]
    fn adds_u8(self, a: Self::B, b: Self::B) -> Self::B {
        zip(a, b, |a, b| unsafe { _mm256_adds_epu8(a, b) })
    }
    #[inline(always)]
    fn add_u16(self, a: Self::B, b: Self::B) -> Self::B {
        zip(a, b, |a, b| unsafe { _mm256_add_epi16(a, b) })
    }
    #[inline(always)]
    fn sub_u16(self, a: Self::B, b: Self::B) -> Self::B {
        zip(a, b, |a, b| unsafe { _mm256_sub_epi16(a, b) })
    }
    #[inline(always)]
    fn high_u16(self, a: Self::B) -> Self::B {
        map(a, |a| unsafe { _mm256_srli_epi16::<8>(a) })
    }
    /// Each row of 16 less the one before it, in each half.
    #[inline(always)]
    fn lay_256(self, table: &[u8; 256]) -> [u8; 256] {
        std::array::from_fn(|i| if i % 128 < 16 { table[i] } else { table[i] ^ table[i - 16] })
    }
    #[inline(always)]
    fn look_up_256(self, table: &[u8; 256], at: Self::B) -> Self::B {
        let mut found = self.splat_byte(0);
        // A shuffle gives 0 where bit 7 is set, and looks at the low nibble otherwise. So with 16 less from row to row, which stops at -128,
        // all rows up to a code's own answer, and the differences add up to that one. Codes above 127 are negative in the first half of the
        // rows; in the second the others are.
        for (half, flip) in table.as_chunks::<128>().0.iter().zip([0, -128]) {
            let mut at = map(at, |at| unsafe { _mm256_xor_si256(at, _mm256_set1_epi8(flip)) });
            for row in half.as_chunks::<16>().0 {
                let row = unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(row.as_ptr().cast())) };
                found = zip(found, map(at, |at| unsafe { _mm256_shuffle_epi8(row, at) }), |a, b| unsafe { _mm256_xor_si256(a, b) });
                at = map(at, |at| unsafe { _mm256_subs_epi8(at, _mm256_set1_epi8(16)) });
            }
        }
        found
    }
    #[inline(always)]
    fn at_most_u8(self, a: Self::B, limit: u8) -> u64 {
        let limit = self.splat_byte(limit);
        let m = zip(a, limit, |a, limit| unsafe { _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_min_epu8(a, limit), a)) as u32 });
        u64::from(m[0]) | u64::from(m[1]) << 32
    }
    #[inline(always)]
    fn at_most_u16(self, even: Self::B, odd: Self::B, limit: u16) -> u64 {
        let m = zip(even, odd, |even, odd| unsafe {
            let limit = _mm256_set1_epi16(limit as i16);
            let even = _mm256_cmpeq_epi16(_mm256_min_epu16(even, limit), even);
            let odd = _mm256_cmpeq_epi16(_mm256_min_epu16(odd, limit), odd);
            // The low byte of each pair from the one, the high byte from the other: back in the order of the bytes.
            _mm256_movemask_epi8(_mm256_blendv_epi8(even, odd, _mm256_set1_epi16(0xFF00u16 as i16))) as u32
        });
        u64::from(m[0]) | u64::from(m[1]) << 32
    }
    #[inline(always)]
    fn dot<const BITS: u32, const Q: usize>(self, codes: &[Self::B; Q], x: &[i8], minus_xsum: i32) -> Self::I {
        // `maddubs` adds two products into i16: 2 * 127 * code. So many of them fit before they must widen to i32.
        let fit: usize = match BITS {
            0..=4 => 8, // 8 * 2 * 15 * 127 = 30,480
            5 => 4,
            6 => 2,
            _ => 1, // 7 bits: 32,258; 8 bits: by signed codes, 2 * 128 * 127 = 32,512
        };
        // Signed 8-bit codes are centred already.
        let start = if BITS == 8 { 0 } else { minus_xsum << (BITS - 1) };
        let mut acc = self.splat_i32(start);
        let (x, _) = x.as_chunks::<4>();
        for (codes, x) in codes.chunks(fit).zip(x.chunks(fit)) {
            let mut sum = [unsafe { _mm256_setzero_si256() }; 2];
            for (code, x) in codes.iter().zip(x) {
                let x = unsafe { _mm256_set1_epi32(i32::from_le_bytes(x.map(|x| x as u8))) };
                sum = zip(sum, *code, |sum, code| unsafe {
                    let pairs = if BITS == 8 {
                        let signed = _mm256_xor_si256(code, _mm256_set1_epi8(-128));
                        _mm256_maddubs_epi16(_mm256_abs_epi8(signed), _mm256_sign_epi8(x, signed))
                    } else {
                        _mm256_maddubs_epi16(code, x)
                    };
                    _mm256_add_epi16(sum, pairs)
                });
            }
            acc = zip(acc, sum, |acc, sum| unsafe { _mm256_add_epi32(acc, _mm256_madd_epi16(sum, _mm256_set1_epi16(1))) });
        }
        acc
    }
    #[inline(always)]
    fn dot_bytes<const Q: usize>(self, codes: &[Self::B; Q], x: &[i8]) -> Self::I {
        let mut acc = self.splat_i32(0);
        for (code, x) in codes.iter().zip(x.as_chunks::<4>().0) {
            let x = unsafe { _mm256_set1_epi32(i32::from_le_bytes(x.map(|x| x as u8))) };
            acc = zip(acc, *code, |acc, code| unsafe {
                // 2 * 255 * 63 = 32,130 fits i16.
                let pairs = _mm256_maddubs_epi16(code, x);
                _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
            });
        }
        acc
    }
    #[inline(always)]
    fn byte<const BITS: u32, const C: usize>(self, codes: Self::B) -> Self::F {
        let centre = (1i32 << (BITS - 1)) as f32;
        map(codes, |codes| unsafe {
            let shifted = match C {
                0 => codes,
                1 => _mm256_srli_epi32::<8>(codes),
                2 => _mm256_srli_epi32::<16>(codes),
                _ => _mm256_srli_epi32::<24>(codes),
            };
            // The byte becomes the low mantissa of 2^23, so that one subtraction converts and centres it.
            let f = _mm256_or_si256(_mm256_and_si256(shifted, _mm256_set1_epi32(0xFF)), _mm256_set1_epi32(0x4B00_0000));
            _mm256_sub_ps(_mm256_castsi256_ps(f), _mm256_set1_ps(8_388_608.0 + centre))
        })
    }
    #[inline(always)]
    fn sum(self, v: Self::F) -> f32 {
        sum8(unsafe { _mm256_add_ps(v[0], v[1]) })
    }
    #[inline(always)]
    fn max_lane(self, v: Self::F) -> f32 {
        max8(unsafe { _mm256_max_ps(v[0], v[1]) })
    }
    #[inline(always)]
    fn not_above(self, a: Self::F, b: Self::F) -> u16 {
        let m = zip(a, b, |a, b| unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NGT_UQ>(a, b)) as u16 });
        m[0] | m[1] << 8
    }
    #[inline(always)]
    fn zero_below(self, x: Self::F, limit: Self::F, v: Self::F) -> Self::F {
        let keep = zip(x, limit, |x, limit| unsafe { _mm256_cmp_ps::<_CMP_GE_OQ>(x, limit) });
        zip(keep, v, |keep, v| unsafe { _mm256_and_ps(keep, v) })
    }
}
