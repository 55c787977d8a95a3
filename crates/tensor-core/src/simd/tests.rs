//! Every tier against the scalar one, operation by operation.

use super::{Scalar, Simd, WithSimd};
use crate::isa::Isa;
use crate::rng::Rng;

/// What one round of operations gives, as bits.
#[derive(PartialEq, Debug)]
struct Results {
    floats: Vec<[u32; 16]>,
    ints: Vec<[i32; 16]>,
}

#[derive(Clone)]
struct Round {
    a: [f32; 16],
    b: [f32; 16],
    c: [f32; 16],
    half: [u16; 16],
    bytes: [[u8; 64]; 8],
    x: [i8; 32],
}

impl Round {
    fn dots<S: Simd, const BITS: u32>(&self, s: S, r: &mut Results) {
        let mask = s.splat_byte(((1u32 << BITS) - 1) as u8);
        let codes = self.bytes.map(|b| s.and(s.load_bytes(&b), mask));
        let minus_xsum = -self.x.iter().map(|x| i32::from(*x)).sum::<i32>();
        let mut out = [0; 16];
        s.store_i32(s.dot::<BITS, 8>(&codes, &self.x, minus_xsum), &mut out);
        r.ints.push(out);
        let minus_half = -self.x[..16].iter().map(|x| i32::from(*x)).sum::<i32>();
        s.store_i32(s.dot::<BITS, 4>(&[codes[0], codes[1], codes[2], codes[3]], &self.x[..16], minus_half), &mut out);
        r.ints.push(out);
        for v in [s.byte::<BITS, 0>(codes[0]), s.byte::<BITS, 1>(codes[0]), s.byte::<BITS, 2>(codes[0]), s.byte::<BITS, 3>(codes[0])] {
            let mut out = [0.0; 16];
            s.store(v, &mut out);
            r.floats.push(out.map(f32::to_bits));
        }
    }
}

impl WithSimd for Round {
    type Out = Results;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Results {
        let mut r = Results { floats: vec![], ints: vec![] };
        let (a, b, c) = (s.load(&self.a), s.load(&self.b), s.load(&self.c));
        let positive = s.mul(b, b);
        for v in [
            s.add(a, b),
            s.sub(a, b),
            s.mul(a, b),
            s.div(a, s.add(positive, s.splat(1.0))),
            s.mul_add(a, b, c),
            s.max(a, b),
            s.min(a, b),
            s.to_f32(s.round_i32(a)),
            s.exp(a),
            s.exp(s.mul(a, s.splat(20.0))),
            s.load_f16(&self.half),
            s.load_bf16(&self.half),
            s.zero_below(a, b, c),
        ] {
            let mut out = [0.0; 16];
            s.store(v, &mut out);
            r.floats.push(out.map(f32::to_bits));
        }
        for (a, b) in [(a, b), (b, a), (a, a), (s.splat(f32::NAN), b), (a, s.splat(f32::NAN))] {
            r.floats.push([u32::from(s.not_above(a, b)); 16]);
        }
        let bytes = s.load_bytes(&self.bytes[0]);
        let mask = s.splat_byte(0x33);
        let mixed = s.or(s.and(s.shr::<2>(bytes), mask), s.shl::<2>(s.and(bytes, mask)));
        let mut out = [0.0; 16];
        s.store(s.byte::<8, 3>(mixed), &mut out);
        r.floats.push(out.map(f32::to_bits));
        let table = std::array::from_fn(|i| self.bytes[1][i]);
        let found = s.look_up(s.table(&table), s.and(bytes, s.splat_byte(15)));
        for v in [s.byte::<8, 0>(found), s.byte::<8, 1>(found), s.byte::<8, 2>(found), s.byte::<8, 3>(found)] {
            s.store(v, &mut out);
            r.floats.push(out.map(f32::to_bits));
        }
        r.floats.push([s.sum(a).to_bits(); 16]);
        r.floats.push([s.max_lane(a).to_bits(); 16]);
        let ints = s.round_i32(s.mul(a, s.splat(1e4)));
        r.ints.push([s.sum_i32(ints); 16]);
        let mut low = [0; 16];
        s.store_low_bytes(ints, &mut low);
        r.ints.push(low.map(i32::from));
        self.dots::<S, 1>(s, &mut r);
        self.dots::<S, 2>(s, &mut r);
        self.dots::<S, 3>(s, &mut r);
        self.dots::<S, 4>(s, &mut r);
        self.dots::<S, 5>(s, &mut r);
        self.dots::<S, 6>(s, &mut r);
        self.dots::<S, 7>(s, &mut r);
        self.dots::<S, 8>(s, &mut r);
        r
    }
}

#[test]
fn every_tier_gives_the_bits_of_the_scalar_one() {
    let mut rng = Rng::new(1);
    for round in 0..300 {
        let extreme = round % 3 == 0;
        let round = Round {
            a: std::array::from_fn(|_| rng.normal() * 4.0),
            b: std::array::from_fn(|_| rng.normal()),
            c: std::array::from_fn(|_| rng.normal() * 1e3),
            // Finite halves only: how NaN is quieted may differ between tiers.
            half: std::array::from_fn(|_| (rng.next_u64() as u16) & 0xBBFF),
            bytes: std::array::from_fn(|_| std::array::from_fn(|_| if extreme { 0xFF } else { rng.next_u64() as u8 })),
            x: std::array::from_fn(|_| if extreme { 127 } else { rng.below(255) as i32 as u8 as i8 }.max(-127)),
        };
        let want = round.clone().run(Scalar);
        for isa in Isa::available() {
            assert_eq!(isa.run(round.clone()), want, "{isa}");
        }
    }
}

struct Widen([u16; 16]);

impl WithSimd for Widen {
    type Out = [[u32; 16]; 2];
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Out {
        [s.load_f16(&self.0), s.load_bf16(&self.0)].map(|v| {
            let mut out = [0.0; 16];
            s.store(v, &mut out);
            out.map(f32::to_bits)
        })
    }
}

#[test]
fn every_half_widens_exactly() {
    for isa in Isa::available() {
        for start in (0..1 << 16).step_by(16) {
            let bits: [u16; 16] = std::array::from_fn(|i| (start + i) as u16);
            let [f16, bf16] = isa.run(Widen(bits));
            for i in 0..16 {
                let half = half::f16::from_bits(bits[i]);
                if !half.is_nan() {
                    // Sign, exponent and mantissa by their definition.
                    let (e, m) = ((bits[i] >> 10) & 31, f64::from(bits[i] & 1023));
                    let size = match e {
                        0 => m * 2f64.powi(-24),
                        31 => f64::INFINITY,
                        _ => (1024.0 + m) * 2f64.powi(i32::from(e) - 25),
                    };
                    let want = if bits[i] >> 15 == 1 { -size } else { size } as f32;
                    assert_eq!(f16[i], want.to_bits(), "{isa}: f16 {:#06x}", bits[i]);
                }
                let brain = u32::from(bits[i]) << 16;
                if !f32::from_bits(brain).is_nan() {
                    assert_eq!(bf16[i], brain, "{isa}: bf16 {:#06x}", bits[i]);
                }
            }
        }
    }
}

#[test]
fn exp_is_within_two_units_in_the_last_place() {
    for i in -8700..8800 {
        let x = i as f32 / 100.0;
        let mut out = [0.0; 16];
        Scalar.store(Scalar.exp(Scalar.splat(x)), &mut out);
        let want = f64::from(x).exp();
        assert!((f64::from(out[0]) / want - 1.0).abs() < 2.4e-7, "{x}: {} {want}", out[0]);
    }
    let mut out = [1.0; 16];
    Scalar.store(Scalar.exp(Scalar.splat(f32::NEG_INFINITY)), &mut out);
    assert_eq!(out, [0.0; 16]);
}
