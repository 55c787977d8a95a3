//! Activations to 8 bits, and their sums.

use crate::format::BLOCK;
use crate::isa::Isa;
use crate::prepared::Block;
use crate::simd::{Simd, WithSimd};

/// Per block of 32 values: codes in -127..=127, the step between them (max |x| / 127) and the sums of the codes of each half.
/// A block with NaN or an infinity gets a NaN step.
pub(crate) fn quantize(isa: Isa, x: &[f32], blocks: &mut [Block]) {
    assert_eq!(x.len(), BLOCK * blocks.len(), "quantize: lengths differ");
    isa.run(Quantize { x, blocks });
}

struct Quantize<'a> {
    x: &'a [f32],
    blocks: &'a mut [Block],
}

impl WithSimd for Quantize<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (x, block) in self.x.as_chunks::<16>().0.as_chunks::<2>().0.iter().zip(self.blocks) {
            let (a, b) = (s.load(&x[0]), s.load(&x[1]));
            let zero = s.splat(0.0);
            let largest = s.max_lane(s.max(s.max(a, s.sub(zero, a)), s.max(b, s.sub(zero, b))));
            let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            // 0 * x is NaN for NaN and infinities, and 0 for all else.
            let poison = s.sum(s.mul(zero, s.add(a, b)));
            block.step = largest / 127.0 + poison;
            let halves = block.codes.as_chunks_mut::<16>().0;
            for ((v, codes), half) in [a, b].iter().zip(halves).zip(0..2) {
                let mut q = [0; 16];
                s.store_i32(s.round_i32(s.mul(*v, s.splat(inverse))), &mut q);
                let mut sum = 0;
                for (code, q) in codes.iter_mut().zip(&q) {
                    *code = *q as i8;
                    sum += i32::from(*code);
                }
                block.int_sums[half] = sum;
                block.sums[half] = block.step * sum as f32;
            }
        }
    }
}

/// The sum of every 16 values.
pub(crate) fn sums(isa: Isa, x: &[f32], sums: &mut [f32]) {
    assert_eq!(x.len(), 16 * sums.len(), "sums: lengths differ");
    isa.run(Sums { x, sums });
}

struct Sums<'a> {
    x: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for Sums<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (x, sum) in self.x.as_chunks::<16>().0.iter().zip(self.sums) {
            *sum = s.sum(s.load(x));
        }
    }
}
