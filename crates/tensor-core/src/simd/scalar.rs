//! The reference: arrays of 16, written to be read.

use super::{Simd, WithSimd};
use half::{bf16, f16};
use std::cmp::Ordering;

/// The portable tier.
#[derive(Clone, Copy, Debug)]
pub struct Scalar;

#[inline(always)]
fn map<A: Copy, R>(a: [A; 16], f: impl Fn(A) -> R) -> [R; 16] {
    a.map(f)
}

#[inline(always)]
fn zip<A: Copy, B: Copy, R>(a: [A; 16], b: [B; 16], f: impl Fn(A, B) -> R) -> [R; 16] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Scalar {
    type F = [f32; 16];
    type I = [i32; 16];
    type B = [u32; 16];

    const BATCHES: bool = false;

    #[inline(never)]
    fn call<W: WithSimd>(self, work: W) -> W::Out {
        work.run(self)
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; 16]
    }
    #[inline(always)]
    fn load(self, x: &[f32; 16]) -> Self::F {
        *x
    }
    #[inline(always)]
    fn store(self, v: Self::F, out: &mut [f32; 16]) {
        *out = v;
    }
    #[inline(always)]
    fn load_f16(self, x: &[u16; 16]) -> Self::F {
        map(*x, |b| f16::from_bits(b).to_f32())
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u16; 16]) -> Self::F {
        map(*x, |b| bf16::from_bits(b).to_f32())
    }
    #[inline(always)]
    fn load_u8(self, x: &[u8; 16]) -> Self::F {
        map(*x, f32::from)
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn round_i32(self, a: Self::F) -> Self::I {
        map(a, |a| a.round_ties_even() as i32)
    }
    #[inline(always)]
    fn to_f32(self, a: Self::I) -> Self::F {
        map(a, |a| a as f32)
    }
    #[inline(always)]
    fn bits(self, a: Self::F) -> Self::I {
        map(a, |a| a.to_bits() as i32)
    }
    #[inline(always)]
    fn with_bits(self, a: Self::I) -> Self::F {
        map(a, |a| f32::from_bits(a as u32))
    }
    #[inline(always)]
    fn splat_i32(self, x: i32) -> Self::I {
        [x; 16]
    }
    #[inline(always)]
    fn add_i32(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, i32::wrapping_add)
    }
    #[inline(always)]
    fn shl_i32<const N: u32>(self, a: Self::I) -> Self::I {
        map(a, |a| a << N)
    }
    #[inline(always)]
    fn store_i32(self, v: Self::I, out: &mut [i32; 16]) {
        *out = v;
    }
    #[inline(always)]
    fn load_bytes(self, x: &[u8; 64]) -> Self::B {
        let (lanes, _) = x.as_chunks::<4>();
        std::array::from_fn(|r| u32::from_le_bytes(lanes[r]))
    }
    #[inline(always)]
    fn splat_byte(self, x: u8) -> Self::B {
        [u32::from_le_bytes([x; 4]); 16]
    }
    #[inline(always)]
    fn and(self, a: Self::B, b: Self::B) -> Self::B {
        zip(a, b, |a, b| a & b)
    }
    #[inline(always)]
    fn or(self, a: Self::B, b: Self::B) -> Self::B {
        zip(a, b, |a, b| a | b)
    }
    #[inline(always)]
    fn look_up(self, table: Self::B, at: Self::B) -> Self::B {
        map(at, |lane| u32::from_le_bytes(lane.to_le_bytes().map(|at| table[usize::from(at >> 2 & 3)].to_le_bytes()[usize::from(at & 3)])))
    }
    #[inline(always)]
    fn shr<const N: u32>(self, a: Self::B) -> Self::B {
        map(a, |a| a >> N)
    }
    #[inline(always)]
    fn shl<const N: u32>(self, a: Self::B) -> Self::B {
        map(a, |a| a << N)
    }
    #[inline(always)]
    fn store_bytes(self, v: Self::B, out: &mut [u8; 64]) {
        for (out, lane) in out.as_chunks_mut::<4>().0.iter_mut().zip(v) {
            *out = lane.to_le_bytes();
        }
    }
    #[inline(always)]
    fn adds_u8(self, a: Self::B, b: Self::B) -> Self::B {
        zip(a, b, |a, b| {
            let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
            u32::from_le_bytes(std::array::from_fn(|i| a[i].saturating_add(b[i])))
        })
    }
    #[inline(always)]
    fn add_u16(self, a: Self::B, b: Self::B) -> Self::B {
        zip(a, b, |a, b| (a >> 16).wrapping_add(b >> 16) << 16 | u32::from((a as u16).wrapping_add(b as u16)))
    }
    #[inline(always)]
    fn sub_u16(self, a: Self::B, b: Self::B) -> Self::B {
        zip(a, b, |a, b| (a >> 16).wrapping_sub(b >> 16) << 16 | u32::from((a as u16).wrapping_sub(b as u16)))
    }
    #[inline(always)]
    fn high_u16(self, a: Self::B) -> Self::B {
        a.map(|a| a >> 8 & 0x00FF_00FF)
    }
    #[inline(always)]
    fn dot<const BITS: u32, const Q: usize>(self, codes: &[Self::B; Q], x: &[i8], _minus_xsum: i32) -> Self::I {
        let mut acc = [0; 16];
        for (quad, x) in codes.iter().zip(x.as_chunks::<4>().0) {
            for (acc, lane) in acc.iter_mut().zip(quad) {
                for (code, x) in lane.to_le_bytes().into_iter().zip(x) {
                    *acc += (i32::from(code) - (1 << (BITS - 1))) * i32::from(*x);
                }
            }
        }
        acc
    }
    #[inline(always)]
    fn byte<const BITS: u32, const C: usize>(self, codes: Self::B) -> Self::F {
        map(codes, |lane| (i32::from(lane.to_le_bytes()[C]) - (1 << (BITS - 1))) as f32)
    }
    #[inline(always)]
    fn not_above(self, a: Self::F, b: Self::F) -> u16 {
        (0..16).rev().fold(0, |bits, i| bits << 1 | u16::from(a[i].partial_cmp(&b[i]) != Some(Ordering::Greater)))
    }
    #[inline(always)]
    fn zero_below(self, x: Self::F, limit: Self::F, v: Self::F) -> Self::F {
        std::array::from_fn(|i| if x[i] >= limit[i] { v[i] } else { 0.0 })
    }
}
