//! NEON: a value is four 128-bit registers, lanes 0..4, 4..8, 8..12 and 12..16. With dot products and without.
#![expect(unsafe_code, reason = "intrinsics and the entry into the tier; `Neon` is only made after the CPU was asked")]
// One reason for every block: trait methods cannot carry `target_feature`, and a `Neon` exists only inside `run_neon` or
// `run_neon_dot`, which need an `Isa` of that level, so the CPU has the instructions; loads and stores go through array
// references.
#![expect(clippy::undocumented_unsafe_blocks, reason = "the reason above holds for each block")]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "value intrinsics, unsafe only for want of `target_feature`")]

use super::{Simd, WithSimd};
use crate::isa::{Isa, Level};
use std::arch::aarch64::*;
use std::arch::asm;

/// Proof of being inside `run_neon`, or inside `run_neon_dot` if `SDOT`.
#[derive(Clone, Copy)]
pub(crate) struct Neon<const SDOT: bool>(());

#[target_feature(enable = "neon")]
fn enter<W: WithSimd>(work: W) -> W::Out {
    work.run(Neon::<false>(()))
}

#[target_feature(enable = "neon,dotprod")]
fn enter_dot<W: WithSimd>(work: W) -> W::Out {
    work.run(Neon::<true>(()))
}

#[target_feature(enable = "neon")]
#[inline(never)]
fn enter_apart<W: WithSimd>(work: W) -> W::Out {
    work.run(Neon::<false>(()))
}

#[target_feature(enable = "neon,dotprod")]
#[inline(never)]
fn enter_dot_apart<W: WithSimd>(work: W) -> W::Out {
    work.run(Neon::<true>(()))
}

#[inline]
pub(crate) fn run_neon<W: WithSimd>(isa: Isa, work: W) -> W::Out {
    assert!(isa.level() == Level::Neon);
    // SAFETY: `isa` proves that this CPU has every feature that `enter` enables.
    unsafe { enter(work) }
}

#[inline]
pub(crate) fn run_neon_dot<W: WithSimd>(isa: Isa, work: W) -> W::Out {
    assert!(isa.level() == Level::NeonDot);
    // SAFETY: `isa` proves that this CPU has every feature that `enter_dot` enables.
    unsafe { enter_dot(work) }
}

// `array::map` is not sure to be inlined with four closures' worth of code, so these are spelled out.
#[inline(always)]
fn map<A: Copy, R>(a: [A; 4], f: impl Fn(A) -> R) -> [R; 4] {
    [f(a[0]), f(a[1]), f(a[2]), f(a[3])]
}

#[inline(always)]
fn zip<A: Copy, B: Copy, R>(a: [A; 4], b: [B; 4], f: impl Fn(A, B) -> R) -> [R; 4] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

#[inline(always)]
fn quarters<T>(x: &[T; 16]) -> [&[T; 4]; 4] {
    let (chunks, _) = x.as_chunks::<4>();
    [&chunks[0], &chunks[1], &chunks[2], &chunks[3]]
}

/// Adds to each i32 lane of `acc` the four products of its bytes of `code` with quad `QUAD` of `x`.
///
/// `vdotq_laneq_s32` in assembly, for it is unstable in this Rust. Only for code inside `enter_dot`.
#[inline(always)]
fn sdot<const QUAD: usize>(acc: int32x4_t, code: int8x16_t, x: int8x16_t) -> int32x4_t {
    let mut sum = acc;
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sum:v}.4s, {code:v}.16b, {x:v}.4b[{quad}]",
            sum = inout(vreg) sum,
            code = in(vreg) code,
            x = in(vreg) x,
            quad = const QUAD,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// Codes as signed bytes: below 8 bits as they are, 8 bits less 128.
#[inline(always)]
fn signed<const BITS: u32>(code: uint8x16_t) -> int8x16_t {
    unsafe { vreinterpretq_s8_u8(if BITS == 8 { veorq_u8(code, vdupq_n_u8(0x80)) } else { code }) }
}

/// The dot product of `Simd::dot` before centring, four products at a time.
#[inline(always)]
fn dot_four<const BITS: u32>(codes: &[[uint8x16_t; 4]], x: &[i8]) -> [int32x4_t; 4] {
    // Two chains, since `sdot` takes 3 to 4 cycles; integers may be added in any order.
    let zero = [unsafe { vdupq_n_s32(0) }; 4];
    let (mut even, mut odd) = (zero, zero);
    let (blocks, rest) = x.as_chunks::<16>();
    let (code_blocks, code_rest) = codes.as_chunks::<4>();
    for (codes, x) in code_blocks.iter().zip(blocks) {
        let x = unsafe { vld1q_s8(x.as_ptr()) };
        let codes = map(*codes, |code| map(code, signed::<BITS>));
        even = zip(even, codes[0], |acc, code| sdot::<0>(acc, code, x));
        odd = zip(odd, codes[1], |acc, code| sdot::<1>(acc, code, x));
        even = zip(even, codes[2], |acc, code| sdot::<2>(acc, code, x));
        odd = zip(odd, codes[3], |acc, code| sdot::<3>(acc, code, x));
    }
    for (code, x) in code_rest.iter().zip(rest.as_chunks::<4>().0) {
        let x = broadcast(*x);
        even = zip(even, *code, |acc, code| sdot::<0>(acc, signed::<BITS>(code), x));
    }
    zip(even, odd, |a, b| unsafe { vaddq_s32(a, b) })
}

/// The dot product of `Simd::dot` before centring, by widening products.
#[inline(always)]
fn dot_wide<const BITS: u32>(codes: &[[uint8x16_t; 4]], x: &[i8]) -> [int32x4_t; 4] {
    // `smlal` adds single products of at most 127 * code into i16. So many of them fit before they must widen to i32.
    let fit: usize = match BITS {
        0..=5 => 8, // 8 * 31 * 127 = 31,496
        6 => 4,     // 4 * 63 * 127 = 32,004
        _ => 2,     // 7 bits: 2 * 127 * 127 = 32,258; 8 bits, signed: 2 * 128 * 127 = 32,512
    };
    // Of each register the products of its low and of its high 8 bytes; a lane's four lie side by side in one of them.
    let zero = [unsafe { vdupq_n_s32(0) }; 4];
    let (mut low, mut high) = (zero, zero);
    let (x, _) = x.as_chunks::<4>();
    for (codes, x) in codes.chunks(fit).zip(x.chunks(fit)) {
        let zero = [unsafe { vdupq_n_s16(0) }; 4];
        let (mut low_sum, mut high_sum) = (zero, zero);
        for (code, x) in codes.iter().zip(x) {
            let x = broadcast(*x);
            let code = map(*code, signed::<BITS>);
            low_sum = zip(low_sum, code, |sum, code| unsafe { vmlal_s8(sum, vget_low_s8(code), vget_low_s8(x)) });
            high_sum = zip(high_sum, code, |sum, code| unsafe { vmlal_high_s8(sum, code, x) });
        }
        low = zip(low, low_sum, |acc, sum| unsafe { vpadalq_s16(acc, sum) });
        high = zip(high, high_sum, |acc, sum| unsafe { vpadalq_s16(acc, sum) });
    }
    zip(low, high, |low, high| unsafe { vpaddq_s32(low, high) })
}

/// Four bytes in every lane.
#[inline(always)]
fn broadcast(x: [i8; 4]) -> int8x16_t {
    unsafe { vreinterpretq_s8_s32(vdupq_n_s32(i32::from_le_bytes(x.map(|x| x as u8)))) }
}

impl<const SDOT: bool> Simd for Neon<SDOT> {
    type F = [float32x4_t; 4];
    type I = [int32x4_t; 4];
    type B = [uint8x16_t; 4];

    #[inline(always)]
    fn call<W: WithSimd>(self, work: W) -> W::Out {
        unsafe { if SDOT { enter_dot_apart(work) } else { enter_apart(work) } }
    }
    #[inline(always)]
    fn prefetch<T>(self, x: &T) {
        // `_prefetch` is unstable in this Rust.
        unsafe { asm!("prfm pldl1keep, [{x}]", x = in(reg) std::ptr::from_ref(x), options(readonly, nostack, preserves_flags)) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [unsafe { vdupq_n_f32(x) }; 4]
    }
    #[inline(always)]
    fn load(self, x: &[f32; 16]) -> Self::F {
        map(quarters(x), |x| unsafe { vld1q_f32(x.as_ptr()) })
    }
    #[inline(always)]
    fn store(self, v: Self::F, out: &mut [f32; 16]) {
        let (out, _) = out.as_chunks_mut::<4>();
        unsafe {
            vst1q_f32(out[0].as_mut_ptr(), v[0]);
            vst1q_f32(out[1].as_mut_ptr(), v[1]);
            vst1q_f32(out[2].as_mut_ptr(), v[2]);
            vst1q_f32(out[3].as_mut_ptr(), v[3]);
        }
    }
    #[inline(always)]
    fn load_f16(self, x: &[u16; 16]) -> Self::F {
        map(quarters(x), |x| unsafe { vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(x.as_ptr()))) })
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u16; 16]) -> Self::F {
        map(quarters(x), |x| unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(x.as_ptr()))) })
    }
    #[inline(always)]
    fn load_u8(self, x: &[u8; 16]) -> Self::F {
        unsafe {
            let x = vld1q_u8(x.as_ptr());
            let (low, high) = (vmovl_u8(vget_low_u8(x)), vmovl_high_u8(x));
            [
                vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))),
                vcvtq_f32_u32(vmovl_high_u16(low)),
                vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))),
                vcvtq_f32_u32(vmovl_high_u16(high)),
            ]
        }
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| unsafe { vaddq_f32(a, b) })
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| unsafe { vsubq_f32(a, b) })
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| unsafe { vmulq_f32(a, b) })
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| unsafe { vdivq_f32(a, b) })
    }
    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        unsafe { [vfmaq_f32(c[0], a[0], b[0]), vfmaq_f32(c[1], a[1], b[1]), vfmaq_f32(c[2], a[2], b[2]), vfmaq_f32(c[3], a[3], b[3])] }
    }
    // Compare and select, not `fmax`: that one orders -0 below +0 and keeps NaN, the other tiers give `b`.
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) })
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| unsafe { vbslq_f32(vcltq_f32(a, b), a, b) })
    }
    #[inline(always)]
    fn round_i32(self, a: Self::F) -> Self::I {
        map(a, |a| unsafe { vcvtnq_s32_f32(a) })
    }
    #[inline(always)]
    fn to_f32(self, a: Self::I) -> Self::F {
        map(a, |a| unsafe { vcvtq_f32_s32(a) })
    }
    #[inline(always)]
    fn bits(self, a: Self::F) -> Self::I {
        map(a, |a| unsafe { vreinterpretq_s32_f32(a) })
    }
    #[inline(always)]
    fn with_bits(self, a: Self::I) -> Self::F {
        map(a, |a| unsafe { vreinterpretq_f32_s32(a) })
    }
    #[inline(always)]
    fn splat_i32(self, x: i32) -> Self::I {
        [unsafe { vdupq_n_s32(x) }; 4]
    }
    #[inline(always)]
    fn add_i32(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, |a, b| unsafe { vaddq_s32(a, b) })
    }
    #[inline(always)]
    fn shl_i32<const N: u32>(self, a: Self::I) -> Self::I {
        map(a, |a| unsafe { vshlq_s32(a, vdupq_n_s32(N as i32)) })
    }
    #[inline(always)]
    fn store_i32(self, v: Self::I, out: &mut [i32; 16]) {
        let (out, _) = out.as_chunks_mut::<4>();
        unsafe {
            vst1q_s32(out[0].as_mut_ptr(), v[0]);
            vst1q_s32(out[1].as_mut_ptr(), v[1]);
            vst1q_s32(out[2].as_mut_ptr(), v[2]);
            vst1q_s32(out[3].as_mut_ptr(), v[3]);
        }
    }
    #[inline(always)]
    fn load_bytes(self, x: &[u8; 64]) -> Self::B {
        let (x, _) = x.as_chunks::<16>();
        unsafe { [vld1q_u8(x[0].as_ptr()), vld1q_u8(x[1].as_ptr()), vld1q_u8(x[2].as_ptr()), vld1q_u8(x[3].as_ptr())] }
    }
    #[inline(always)]
    fn splat_byte(self, x: u8) -> Self::B {
        [unsafe { vdupq_n_u8(x) }; 4]
    }
    #[inline(always)]
    fn and(self, a: Self::B, b: Self::B) -> Self::B {
        zip(a, b, |a, b| unsafe { vandq_u8(a, b) })
    }
    #[inline(always)]
    fn or(self, a: Self::B, b: Self::B) -> Self::B {
        zip(a, b, |a, b| unsafe { vorrq_u8(a, b) })
    }
    #[inline(always)]
    fn look_up(self, table: Self::B, at: Self::B) -> Self::B {
        zip(table, at, |table, at| unsafe { vqtbl1q_u8(table, at) })
    }
    #[inline(always)]
    fn shr<const N: u32>(self, a: Self::B) -> Self::B {
        // A shift by a negative count is one to the right.
        map(a, |a| unsafe {
            let count = vdupq_n_s32(-(N as i32));
            vreinterpretq_u8_u32(vshlq_u32(vreinterpretq_u32_u8(a), count))
        })
    }
    #[inline(always)]
    fn shl<const N: u32>(self, a: Self::B) -> Self::B {
        map(a, |a| unsafe {
            let count = vdupq_n_s32(N as i32);
            vreinterpretq_u8_u32(vshlq_u32(vreinterpretq_u32_u8(a), count))
        })
    }
    #[inline(always)]
    fn store_bytes(self, v: Self::B, out: &mut [u8; 64]) {
        for (out, v) in out.as_chunks_mut::<16>().0.iter_mut().zip(v) {
            unsafe { vst1q_u8(out.as_mut_ptr(), v) }
        }
    }
    #[inline(always)]
    fn adds_u8(self, a: Self::B, b: Self::B) -> Self::B {
        zip(a, b, |a, b| unsafe { vqaddq_u8(a, b) })
    }
    #[inline(always)]
    fn add_u16(self, a: Self::B, b: Self::B) -> Self::B {
        zip(a, b, |a, b| unsafe { vreinterpretq_u8_u16(vaddq_u16(vreinterpretq_u16_u8(a), vreinterpretq_u16_u8(b))) })
    }
    #[inline(always)]
    fn sub_u16(self, a: Self::B, b: Self::B) -> Self::B {
        zip(a, b, |a, b| unsafe { vreinterpretq_u8_u16(vsubq_u16(vreinterpretq_u16_u8(a), vreinterpretq_u16_u8(b))) })
    }
    #[inline(always)]
    fn high_u16(self, a: Self::B) -> Self::B {
        map(a, |a| unsafe { vreinterpretq_u8_u16(vshrq_n_u16::<8>(vreinterpretq_u16_u8(a))) })
    }
    #[inline(always)]
    fn dot<const BITS: u32, const Q: usize>(self, codes: &[Self::B; Q], x: &[i8], minus_xsum: i32) -> Self::I {
        let products = if SDOT { dot_four::<BITS>(codes, x) } else { dot_wide::<BITS>(codes, x) };
        if BITS == 8 {
            products // of signed codes, which are centred already
        } else {
            self.add_i32(products, self.splat_i32(minus_xsum << (BITS - 1)))
        }
    }
    #[inline(always)]
    fn byte<const BITS: u32, const C: usize>(self, codes: Self::B) -> Self::F {
        let centre = (1i32 << (BITS - 1)) as f32;
        map(codes, |codes| unsafe {
            let codes = vreinterpretq_u32_u8(codes);
            let shifted = match C {
                0 => codes,
                1 => vshrq_n_u32::<8>(codes),
                2 => vshrq_n_u32::<16>(codes),
                _ => vshrq_n_u32::<24>(codes),
            };
            // The byte becomes the low mantissa of 2^23, so that one subtraction converts and centres it.
            let f = vbslq_u32(vdupq_n_u32(0xFF), shifted, vdupq_n_u32(0x4B00_0000));
            vsubq_f32(vreinterpretq_f32_u32(f), vdupq_n_f32(8_388_608.0 + centre))
        })
    }
    #[inline(always)]
    fn not_above(self, a: Self::F, b: Self::F) -> u16 {
        let m = zip(a, b, |a, b| unsafe {
            let above = vcgtq_f32(a, b);
            vaddvq_u32(vbicq_u32(vld1q_u32([1, 2, 4, 8].as_ptr()), above)) as u16
        });
        m[0] | m[1] << 4 | m[2] << 8 | m[3] << 12
    }
    #[inline(always)]
    fn zero_below(self, x: Self::F, limit: Self::F, v: Self::F) -> Self::F {
        let keep = zip(x, limit, |x, limit| unsafe { vcgeq_f32(x, limit) });
        zip(keep, v, |keep, v| unsafe { vreinterpretq_f32_u32(vandq_u32(keep, vreinterpretq_u32_f32(v))) })
    }
}
