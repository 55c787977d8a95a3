//! Activations to 8 bits, and their sums.

use crate::format::BLOCK;
use crate::isa::Isa;
use crate::simd::{Simd, WithSimd};

/// Per block of 32 values: codes in -127..=127, the step between them (max |x| / 127) and the sums of the codes of each half.
/// A block with NaN or an infinity gets a NaN step.
pub(crate) fn quantize(isa: Isa, x: &[f32], codes: &mut [i8], step: &mut [f32], sums: &mut [i32]) {
    assert!(x.len() == codes.len() && x.len() == BLOCK * step.len() && sums.len() == 2 * step.len(), "quantize: lengths differ");
    isa.run(Quantize { x, codes, step, sums });
}

struct Quantize<'a> {
    x: &'a [f32],
    codes: &'a mut [i8],
    step: &'a mut [f32],
    sums: &'a mut [i32],
}

impl WithSimd for Quantize<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let blocks = self.x.as_chunks::<16>().0.as_chunks::<2>().0.iter();
        let codes = self.codes.as_chunks_mut::<16>().0.as_chunks_mut::<2>().0;
        let sums = self.sums.as_chunks_mut::<2>().0;
        for (((x, codes), step), sums) in blocks.zip(codes).zip(self.step).zip(sums) {
            let v = x.map(|x| s.load(&x));
            let negated = v.map(|v| s.sub(s.splat(0.0), v));
            let largest = s.max_lane(s.max(s.max(v[0], negated[0]), s.max(v[1], negated[1])));
            let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            // 0 * x is NaN for NaN and infinities, and 0 for all else.
            let poison = s.sum(s.mul(s.splat(0.0), s.add(v[0], v[1])));
            *step = largest / 127.0 + poison;
            for ((v, codes), sum) in v.into_iter().zip(codes).zip(sums) {
                let mut q = [0; 16];
                s.store_i32(s.round_i32(s.mul(v, s.splat(inverse))), &mut q);
                *codes = q.map(|q| q as i8);
                *sum = codes.iter().map(|c| i32::from(*c)).sum();
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
