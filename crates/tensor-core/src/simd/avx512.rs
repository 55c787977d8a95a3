//! AVX-512: a value is one zmm register.
#![expect(unsafe_code, reason = "intrinsics and the entry into the tier; `Avx512` is only made after the CPU was asked")]
// One reason for every block: trait methods cannot carry `target_feature`, and an `Avx512` exists only inside `run_avx512`,
// which needs an `Isa` of that level, so the CPU has the instructions; loads and stores go through array references.
#![expect(clippy::undocumented_unsafe_blocks, reason = "the reason above holds for each block")]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "value intrinsics, unsafe only for want of `target_feature`")]

use super::{Simd, WithSimd};
use crate::isa::{Isa, Level};
use std::arch::x86_64::*;

/// Proof of being inside `run_avx512`.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

macro_rules! features {
    ($($f:tt)*) => {
        pub(crate) fn has_avx512() -> bool { $(std::is_x86_feature_detected!($f))&&* }

        $(#[target_feature(enable = $f)])*
        #[target_feature(enable = "avx2,fma,f16c")]
        fn enter<W: WithSimd>(work: W) -> W::Out { work.run(Avx512(())) }

        $(#[target_feature(enable = $f)])*
        #[target_feature(enable = "avx2,fma,f16c")]
        #[inline(never)]
        fn enter_apart<W: WithSimd>(work: W) -> W::Out { work.run(Avx512(())) }
    };
}
features!("avx512f" "avx512bw" "avx512vl" "avx512dq" "avx512vnni" "avx512vbmi" "avx512vpopcntdq");

#[inline]
pub(crate) fn run_avx512<W: WithSimd>(isa: Isa, work: W) -> W::Out {
    assert!(isa.level() == Level::Avx512);
    // SAFETY: `isa` proves that this CPU has every feature in the list that `enter` enables.
    unsafe { enter(work) }
}

impl Simd for Avx512 {
    type F = __m512;
    type I = __m512i;
    type B = __m512i;
    const WIDE: bool = true;

    #[inline(always)]
    fn call<W: WithSimd>(self, work: W) -> W::Out {
        unsafe { enter_apart(work) }
    }
    #[inline(always)]
    fn prefetch<T>(self, x: &T) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(x).cast()) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn load(self, x: &[f32; 16]) -> __m512 {
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }
    #[inline(always)]
    fn load_halves(self, low: &[f32; 8], high: &[f32; 8]) -> __m512 {
        unsafe { _mm512_insertf32x8::<1>(_mm512_castps256_ps512(_mm256_loadu_ps(low.as_ptr())), _mm256_loadu_ps(high.as_ptr())) }
    }
    #[inline(always)]
    fn store(self, v: __m512, out: &mut [f32; 16]) {
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn load_f16(self, x: &[u16; 16]) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u16; 16]) -> __m512 {
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(x.as_ptr().cast())))) }
    }
    #[inline(always)]
    fn load_u8(self, x: &[u8; 16]) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(x.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn round_i32(self, a: __m512) -> __m512i {
        unsafe { _mm512_cvtps_epi32(a) }
    }
    #[inline(always)]
    fn to_f32(self, a: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(a) }
    }
    #[inline(always)]
    fn bits(self, a: __m512) -> __m512i {
        unsafe { _mm512_castps_si512(a) }
    }
    #[inline(always)]
    fn with_bits(self, a: __m512i) -> __m512 {
        unsafe { _mm512_castsi512_ps(a) }
    }
    #[inline(always)]
    fn splat_i32(self, x: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    fn add_i32(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    fn shl_i32<const N: u32>(self, a: __m512i) -> __m512i {
        unsafe { _mm512_slli_epi32::<N>(a) }
    }
    #[inline(always)]
    fn store_i32(self, v: __m512i, out: &mut [i32; 16]) {
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), v) }
    }
    #[inline(always)]
    fn store_low_bytes(self, v: __m512i, out: &mut [i8; 16]) {
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(v)) }
    }
    #[inline(always)]
    fn sum_i32(self, v: __m512i) -> i32 {
        unsafe { super::avx2::sum8_i32(_mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64::<1>(v))) }
    }
    #[inline(always)]
    fn load_bytes(self, x: &[u8; 64]) -> __m512i {
        unsafe { _mm512_loadu_si512(x.as_ptr().cast()) }
    }
    #[inline(always)]
    fn splat_byte(self, x: u8) -> __m512i {
        unsafe { _mm512_set1_epi8(x as i8) }
    }
    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    fn table(self, x: &[u8; 16]) -> __m512i {
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(x.as_ptr().cast())) }
    }
    #[inline(always)]
    fn look_up(self, table: __m512i, at: __m512i) -> __m512i {
        unsafe { _mm512_shuffle_epi8(table, at) }
    }
    #[inline(always)]
    fn shr<const N: u32>(self, a: __m512i) -> __m512i {
        unsafe { _mm512_srli_epi32::<N>(a) }
    }
    #[inline(always)]
    fn shl<const N: u32>(self, a: __m512i) -> __m512i {
        unsafe { _mm512_slli_epi32::<N>(a) }
    }
    #[inline(always)]
    fn store_bytes(self, v: __m512i, out: &mut [u8; 64]) {
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), v) }
    }
    #[inline(always)]
    fn adds_u8(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_adds_epu8(a, b) }
    }
    #[inline(always)]
    fn add_u16(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi16(a, b) }
    }
    #[inline(always)]
    fn sub_u16(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_sub_epi16(a, b) }
    }
    #[inline(always)]
    fn high_u16(self, a: __m512i) -> __m512i {
        unsafe { _mm512_srli_epi16::<8>(a) }
    }
    #[inline(always)]
    fn look_up_256(self, table: &[u8; 256], at: __m512i) -> __m512i {
        let (t, _) = table.as_chunks::<64>();
        unsafe {
            // The low seven bits select among two registers; the eighth, between the two results.
            let low = _mm512_permutex2var_epi8(self.load_bytes(&t[0]), at, self.load_bytes(&t[1]));
            let high = _mm512_permutex2var_epi8(self.load_bytes(&t[2]), at, self.load_bytes(&t[3]));
            _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high)
        }
    }
    #[inline(always)]
    fn at_most_u8(self, a: __m512i, limit: u8) -> u64 {
        unsafe { _mm512_cmple_epu8_mask(a, _mm512_set1_epi8(limit as i8)) }
    }
    #[inline(always)]
    fn at_most_u16(self, even: __m512i, odd: __m512i, limit: u16) -> u64 {
        unsafe {
            let limit = _mm512_set1_epi16(limit as i16);
            let even = _mm512_movm_epi16(_mm512_cmple_epu16_mask(even, limit));
            let odd = _mm512_movm_epi16(_mm512_cmple_epu16_mask(odd, limit));
            // The low byte of each pair from the one, the high byte from the other: back in the order of the bytes.
            _mm512_movepi8_mask(_mm512_mask_blend_epi8(0xAAAA_AAAA_AAAA_AAAA, even, odd))
        }
    }
    #[inline(always)]
    fn dot<const BITS: u32, const Q: usize>(self, codes: &[__m512i; Q], x: &[i8], minus_xsum: i32) -> __m512i {
        // Two chains, since VNNI takes 4 to 5 cycles to add; integers may be added in any order.
        let mut acc = [self.splat_i32(minus_xsum << (BITS - 1)), self.splat_i32(0)];
        for (q, (code, x)) in codes.iter().zip(x.as_chunks::<4>().0).enumerate() {
            let x = self.splat_i32(i32::from_le_bytes(x.map(|x| x as u8)));
            acc[q % 2] = unsafe { _mm512_dpbusd_epi32(acc[q % 2], *code, x) };
        }
        self.add_i32(acc[0], acc[1])
    }
    #[inline(always)]
    fn dots<const BITS: u32, const Q: usize, const FROM: usize>(
        self,
        codes: &[__m512i; Q],
        x: &[[i8; 32]; 8],
        times_128: &[i32; 8],
        minus_xsum: &[f32; 8],
    ) -> [__m512; 8] {
        macro_rules! each_token {
            ($t:ident, $body:expr) => { each_token!($t, $body, 0 1 2 3 4 5 6 7) };
            ($t:ident, $body:expr, $($i:literal)*) => { [$({ let $t: usize = $i; $body }),*] };
        }
        // Token after token within a quad: eight chains side by side hide the 4 to 5 cycles that VNNI takes to add.
        let mut acc = each_token!(t, if BITS == 8 { self.splat_i32(times_128[t]) } else { self.splat_i32(0) });
        for (q, code) in codes.iter().enumerate() {
            acc = each_token!(t, {
                let x = x[t][FROM..].as_chunks::<4>().0[q];
                unsafe { _mm512_dpbusd_epi32(acc[t], *code, self.splat_i32(i32::from_le_bytes(x.map(|x| x as u8)))) }
            });
        }
        let products = each_token!(t, self.to_f32(acc[t]));
        if BITS == 8 {
            return products;
        }
        // Below 2^24, so every step is exact; the sum comes straight from memory, where a shifted one would cross over from a register.
        let centre = self.splat((1u32 << (BITS - 1)) as f32);
        each_token!(t, self.mul_add(centre, self.splat(minus_xsum[t]), products[t]))
    }
    #[inline(always)]
    fn byte<const BITS: u32, const C: usize>(self, codes: __m512i) -> __m512 {
        let centre = (1i32 << (BITS - 1)) as f32;
        let shifted = unsafe {
            match C {
                0 => codes,
                1 => _mm512_srli_epi32::<8>(codes),
                2 => _mm512_srli_epi32::<16>(codes),
                _ => _mm512_srli_epi32::<24>(codes),
            }
        };
        if BITS <= 4 {
            // A look-up reads the low 4 bits of a lane, so the bytes above need no mask.
            let table: [f32; 16] = std::array::from_fn(|i| i as f32 - centre);
            unsafe { _mm512_permutexvar_ps(shifted, self.load(&table)) }
        } else {
            // The byte becomes the low mantissa of 2^23, so that one subtraction converts and centres it.
            let magic = self.splat_i32(0x4B00_0000);
            let f = unsafe { _mm512_ternarylogic_epi32::<0xF8>(magic, shifted, self.splat_i32(0xFF)) };
            self.sub(self.with_bits(f), self.splat(8_388_608.0 + centre))
        }
    }
    #[inline(always)]
    fn sum(self, v: __m512) -> f32 {
        unsafe {
            let v = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
            super::avx2::sum8(v)
        }
    }
    #[inline(always)]
    fn max_lane(self, v: __m512) -> f32 {
        unsafe { super::avx2::max8(_mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v))) }
    }
    #[inline(always)]
    fn not_above(self, a: __m512, b: __m512) -> u16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_NGT_UQ>(a, b) }
    }
    #[inline(always)]
    fn zero_below(self, x: __m512, limit: __m512, v: __m512) -> __m512 {
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(x, limit), v) }
    }
}
