//! Weighted cross entropy of logits.

use scant_tensor_core::isa::Isa;
use scant_tensor_core::simd::{Simd, WithSimd};

/// The sum over rows of `weight * -log softmax(logits)[target]`; logits `[targets.len(), vocabulary]`.
///
/// # Panics
/// If the lengths disagree or a target is beyond the row.
pub fn cross_entropy(isa: Isa, logits: &[f32], targets: &[u32], weights: &[f32]) -> f64 {
    let vocabulary = width(logits.len(), targets, weights);
    let rows = logits.chunks_exact(vocabulary).zip(targets.iter().zip(weights));
    rows.map(|(row, (target, weight))| {
        let (max, sum) = isa.run(MaxSum(row));
        f64::from(*weight) * (f64::from(max) + f64::from(sum).ln() - f64::from(row[*target as usize]))
    })
    .sum()
}

/// Turns logits into their gradient times `g`, in place, and returns the value of [`cross_entropy`].
///
/// # Panics
/// As [`cross_entropy`].
pub fn cross_entropy_vjp(isa: Isa, logits: &mut [f32], targets: &[u32], weights: &[f32], g: f32) -> f64 {
    let vocabulary = width(logits.len(), targets, weights);
    let mut loss = 0.0;
    for (row, (target, weight)) in logits.chunks_exact_mut(vocabulary).zip(targets.iter().zip(weights)) {
        let logit = row[*target as usize];
        let (max, sum) = isa.run(MaxSum(row));
        loss += f64::from(*weight) * (f64::from(max) + f64::from(sum).ln() - f64::from(logit));
        isa.run(ScaledExp { x: row, max, scale: g * weight / sum });
        row[*target as usize] -= g * weight;
    }
    loss
}

fn width(logits: usize, targets: &[u32], weights: &[f32]) -> usize {
    assert_eq!(targets.len(), weights.len(), "cross_entropy: targets and weights");
    assert!(!targets.is_empty() && logits.is_multiple_of(targets.len()), "cross_entropy: {logits} logits, {} targets", targets.len());
    logits / targets.len()
}

struct MaxSum<'a>(&'a [f32]);

impl WithSimd for MaxSum<'_> {
    type Out = (f32, f32);
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> (f32, f32) {
        let (lanes, tail) = self.0.as_chunks::<16>();
        let mut max = tail.iter().fold(f32::NEG_INFINITY, |m, x| if *x > m { *x } else { m });
        if let Some(x) = lanes.first() {
            let mut m = s.load(x);
            for x in lanes {
                m = s.max(m, s.load(x));
            }
            max = max.max(s.max_lane(m));
        }
        let mut sum = s.splat(0.0);
        for x in lanes {
            sum = s.add(sum, s.exp(s.sub(s.load(x), s.splat(max))));
        }
        (max, s.sum(sum) + tail.iter().map(|x| (x - max).exp()).sum::<f32>())
    }
}

/// `x = scale e^(x - max)`
struct ScaledExp<'a> {
    x: &'a mut [f32],
    max: f32,
    scale: f32,
}

impl WithSimd for ScaledExp<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (lanes, tail) = self.x.as_chunks_mut::<16>();
        for x in lanes {
            let e = s.exp(s.sub(s.load(x), s.splat(self.max)));
            s.store(s.mul(e, s.splat(self.scale)), x);
        }
        for x in tail {
            *x = (*x - self.max).exp() * self.scale;
        }
    }
}
