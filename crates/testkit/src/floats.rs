//! Floats that break careless code, and plain ones to compare with.

use half::f16;

/// Finite values at the edges of f32 and f16: both zeros, subnormals, the smallest and largest normal numbers, ties of
/// rounding to f16, integers at which the mantissa ends.
pub fn finite() -> Vec<f32> {
    let positive = [
        0.0,
        f32::from_bits(1),           // smallest subnormal
        f32::from_bits(0x007f_ffff), // largest subnormal
        f32::MIN_POSITIVE,
        f32::EPSILON,
        1.0,
        1.0 + f32::EPSILON,
        f32::MAX,
        16_777_216.0, // 2^24: the next integer is missing
        2_147_483_648.0,
        f16::MIN_POSITIVE_SUBNORMAL.to_f32(),
        f16::MIN_POSITIVE_SUBNORMAL.to_f32() / 2.0, // tie between 0 and the smallest f16
        f16::MAX_SUBNORMAL.to_f32(),
        f16::MIN_POSITIVE.to_f32(),
        f16::EPSILON.to_f32(),
        f16::MAX.to_f32(),
        65_520.0, // the first value that rounds to infinity in f16
        65_519.996,
        1.0 + f16::EPSILON.to_f32() / 2.0, // tie between two f16
        127.5,                             // ties of rounding to int8
        128.5,
        0.5,
        1.5,
        1.0 / 3.0,
    ];
    positive.iter().flat_map(|&x| [x, -x]).collect()
}

/// Both infinities and four NaNs: quiet, signalling, negative, with a payload.
pub fn not_finite() -> Vec<f32> {
    let nans = [0x7fc0_0000, 0x7f80_0001, 0xffc0_0000, 0x7fc1_2345].map(f32::from_bits);
    [f32::INFINITY, f32::NEG_INFINITY].into_iter().chain(nans).collect()
}

/// Blocks of `n` finite values on which scales and offsets go wrong, each with a name for messages: all zero, constant
/// (positive, negative, tiny, huge), one outlier, one sign only, alternating signs, huge differences of magnitude.
pub fn blocks(n: usize) -> Vec<(&'static str, Vec<f32>)> {
    let each = |f: &dyn Fn(usize) -> f32| (0..n).map(f).collect::<Vec<f32>>();
    let sign = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
    let some = |i: usize| (i as f32 * 0.7).sin();
    vec![
        ("zeros", each(&|_| 0.0)),
        ("negative zeros", each(&|_| -0.0)),
        ("ones", each(&|_| 1.0)),
        ("minus ones", each(&|_| -1.0)),
        ("constant subnormal", each(&|_| f32::from_bits(3))),
        ("constant below f16", each(&|_| 1e-9)),
        ("constant above f16", each(&|_| 1e6)),
        ("constant huge", each(&|_| f32::MAX)),
        ("one outlier", each(&|i| if i == n / 2 { 1e4 } else { 0.01 * some(i) })),
        ("one value", each(&|i| if i == 0 { -3.0 } else { 0.0 })),
        ("positive only", each(&|i| 5.0 + some(i))),
        ("negative only", each(&|i| -5.0 - some(i))),
        ("alternating", each(&|i| sign(i) * 2.0)),
        ("both ends of f32", each(&|i| sign(i) * f32::MAX)),
        ("all magnitudes", each(&|i| sign(i) * 10f32.powi((i % 60) as i32 - 30))),
        ("f16 extremes", each(&|i| sign(i) * if i.is_multiple_of(3) { 65_504.0 } else { 6e-8 })),
        ("ordinary", each(&some)),
    ]
}

/// `n` normal values of mean 0 and deviation 1; the same `seed` gives the same values.
pub fn normals(seed: u64, n: usize) -> Vec<f32> {
    // SplitMix64 again, since tensor-core's generator is tested with this crate.
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..n)
        .map(|_| {
            let (u, v) = (1.0 - next(), next());
            ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_what_they_promise() {
        assert!(finite().iter().all(|x| x.is_finite()));
        assert!(finite().iter().any(|x| x.is_subnormal()));
        assert!(finite().iter().any(|&x| x == 0.0 && x.is_sign_negative()));
        assert!(finite().contains(&65_504.0));
        assert!(not_finite().iter().all(|x| !x.is_finite()));
        for n in [1, 2, 32, 100] {
            for (name, block) in blocks(n) {
                assert_eq!(block.len(), n, "{name}");
                assert!(block.iter().all(|x| x.is_finite()), "{name}");
            }
        }
    }

    #[test]
    fn rounding_to_f16_ends_where_it_is_said_to() {
        assert_eq!(f16::from_f32(65_520.0), f16::INFINITY);
        assert_eq!(f16::from_f32(65_519.996), f16::MAX);
    }

    #[test]
    fn normals_are_normal_and_seeded() {
        let x = normals(5, 50_000);
        assert_eq!(x[..10], normals(5, 10)[..]);
        assert_ne!(x[..10], normals(6, 10)[..]);
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / 50_000.0;
        let square = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 50_000.0;
        assert!(mean.abs() < 0.02 && (square - 1.0).abs() < 0.03, "{mean} {square}");
    }
}
