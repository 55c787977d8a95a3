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
            // Below 4e-37 the inverse overflows, and what it multiplies would leave i32; zeros are as near as Fast comes to such inputs.
            let inverse = 127.0 / largest;
            let inverse = if inverse.is_finite() { inverse } else { 0.0 };
            // 0 * x is NaN for NaN and infinities, and 0 for all else.
            let poison = s.sum(s.mul_add(zero, a, s.mul(zero, b)));
            block.step = largest / 127.0 + poison;
            if block.step.is_nan() {
                *block = Block { step: f32::NAN, sum: f32::NAN, sums: [f32::NAN; 2], ..Block::default() };
                continue;
            }
            let halves = block.codes.as_chunks_mut::<16>().0;
            for ((v, codes), half) in [a, b].iter().zip(halves).zip(0..2) {
                let q = s.round_i32(s.mul(*v, s.splat(inverse)));
                s.store_low_bytes(q, codes);
                let sum = s.sum_i32(q);
                block.minus_int_sums[half] = -sum;
                block.sums[half] = block.step * sum as f32;
            }
            block.minus_int_sum = block.minus_int_sums[0] + block.minus_int_sums[1];
            block.sum = block.step * -block.minus_int_sum as f32;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Level;

    #[test]
    fn codes_lie_within_half_a_step_and_are_the_same_on_every_tier() {
        let scalar = Isa::best().lower(Level::Scalar).unwrap();
        let mut inputs = scant_testkit::floats::blocks(64);
        inputs.push(("near the end of f32's inverses", (0..64).map(|i| (i - 31) as f32 * 1e-39).collect()));
        inputs.push(("normal", scant_testkit::floats::normals(1, 64)));
        for (name, x) in inputs {
            let mut want = [Block::default(); 2];
            quantize(scalar, &x, &mut want);
            for (x, block) in x.chunks(32).zip(&want) {
                for (x, code) in x.iter().zip(block.codes) {
                    let err = (f64::from(*x) - f64::from(block.step) * f64::from(code)).abs();
                    assert!(err <= 0.500_1 * f64::from(block.step) || err < 4e-37, "{name}: {x} as {code} times {}", block.step);
                }
                for (half, codes) in block.codes.chunks(16).enumerate() {
                    let sum: i32 = codes.iter().map(|c| i32::from(*c)).sum();
                    assert_eq!((block.minus_int_sums[half], block.sums[half]), (-sum, block.step * sum as f32), "{name}");
                }
                let sum: i32 = block.codes.iter().map(|c| i32::from(*c)).sum();
                assert_eq!((block.minus_int_sum, block.sum), (-sum, block.step * sum as f32), "{name}");
            }
            for isa in Isa::available() {
                let mut got = [Block::default(); 2];
                quantize(isa, &x, &mut got);
                assert_eq!(format!("{got:?}"), format!("{want:?}"), "{name} on {isa}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_poisons_the_step_of_its_block_alone() {
        for isa in Isa::available() {
            for bad in scant_testkit::floats::not_finite() {
                let mut x = scant_testkit::floats::normals(1, 96);
                x[40] = bad;
                let mut blocks = [Block::default(); 3];
                quantize(isa, &x, &mut blocks);
                assert_eq!(blocks.map(|b| b.step.is_finite()), [true, false, true], "{bad} on {isa}");
                assert_eq!(blocks.map(|b| b.sums.iter().all(|s| s.is_nan())), [false, true, false], "{bad} on {isa}");
            }
        }
    }
}
