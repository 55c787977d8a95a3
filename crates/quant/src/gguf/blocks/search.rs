//! The best scale of a sub-block for given weights of its elements: a search over how far the range is stretched, a
//! weighted least-squares fit for the codes of each stretch, then a few rounds of codes and fit in turn.

/// Sums run in this many lanes, so that they can be vectors without changing their order.
const LANES: usize = 8;

/// Adding and subtracting it rounds to the nearest integer, ties to even, below `2^22`: one vector instruction each,
/// where `round_ties_even` is a call on machines of the baseline.
const ROUND: f32 = 12_582_912.0;

/// The inverse, or 0 where that is no number.
pub(super) fn inverse(x: f32) -> f32 {
    let inverse = 1.0 / x;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// Smallest and largest code.
#[derive(Clone, Copy)]
pub(super) struct Codes {
    pub(super) low: f32,
    pub(super) high: f32,
}

impl Codes {
    /// `0..=high`
    pub(super) fn up_to(high: u8) -> Codes {
        Codes { low: 0.0, high: f32::from(high) }
    }

    /// `-half..half`
    pub(super) fn around(half: u8) -> Codes {
        Codes { low: -f32::from(half), high: f32::from(half) - 1.0 }
    }

    /// The code of `x`. Comparisons instead of `clamp`, which treats NaN apart.
    #[inline(always)]
    pub(super) fn nearest(self, x: f32) -> f32 {
        let x = if x > self.low { x } else { self.low };
        let x = if x < self.high { x } else { self.high };
        (x + ROUND) - ROUND
    }
}

/// Sums of a sub-block over its elements `x`, weights `w` and codes `q`.
#[derive(Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) w: f32,
    pub(super) wx: f32,
    pub(super) wq: f32,
    pub(super) wqq: f32,
    pub(super) wqx: f32,
}

/// The sums for codes `q = nearest((x - min) * inverse)`.
#[inline(always)]
pub(super) fn sums<const N: usize>(x: &[f32; N], w: &[f32; N], inverse: f32, min: f32, codes: Codes) -> Sums {
    let mut lanes = [[0f32; LANES]; 5];
    for (x, w) in x.as_chunks::<LANES>().0.iter().zip(w.as_chunks::<LANES>().0) {
        for l in 0..LANES {
            let q = codes.nearest((x[l] - min) * inverse);
            let wq = w[l] * q;
            lanes[0][l] += w[l];
            lanes[1][l] += w[l] * x[l];
            lanes[2][l] += wq;
            lanes[3][l] += wq * q;
            lanes[4][l] += wq * x[l];
        }
    }
    let [w, wx, wq, wqq, wqx] = lanes.map(|lanes| lanes.iter().sum());
    Sums { w, wx, wq, wqq, wqx }
}

/// `sum w (x - scale q - min)^2` for the nearest codes.
#[inline(always)]
pub(super) fn error<const N: usize>(x: &[f32; N], w: &[f32; N], scale: f32, min: f32, codes: Codes) -> f32 {
    let inverse = inverse(scale);
    let mut lanes = [0f32; LANES];
    for (x, w) in x.as_chunks::<LANES>().0.iter().zip(w.as_chunks::<LANES>().0) {
        for l in 0..LANES {
            let q = codes.nearest((x[l] - min) * inverse);
            let r = x[l] - (scale * q + min);
            lanes[l] += w[l] * r * r;
        }
    }
    lanes.iter().sum()
}

impl Sums {
    /// Scale and minimum of least error for these codes, and by how much they lower it from `sum w x^2`.
    fn affine(&self, min: Minimum) -> (f32, f32, f32) {
        let det = self.w * self.wqq - self.wq * self.wq;
        if det > 0.0 {
            let scale = (self.w * self.wqx - self.wx * self.wq) / det;
            let offset = (self.wqq * self.wx - self.wq * self.wqx) / det;
            if offset <= 0.0 || min == Minimum::Any {
                return (scale, offset, scale * self.wqx + offset * self.wx);
            }
        }
        let (scale, gain) = self.symmetric();
        (scale, 0.0, gain)
    }

    fn symmetric(&self) -> (f32, f32) {
        let scale = self.wqx * inverse(self.wqq);
        (scale, scale * self.wqx)
    }
}

/// What a format can hold as the minimum of a sub-block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Minimum {
    /// Zero or less: the K types subtract an unsigned number.
    NotPositive,
    Any,
}

/// Rounds of codes and fit in turn after the search.
const ROUNDS: usize = 2;

/// Scale and minimum of least weighted error: `x` is about `scale q + min`. All zero gives zeros.
///
/// Tries `steps` + 1 stretches of the range, evenly from `first` to `last` codes beyond it.
pub(super) fn affine<const N: usize>(
    x: &[f32; N],
    w: &[f32; N],
    max_code: u8,
    minimum: Minimum,
    [first, last]: [f32; 2],
    steps: usize,
) -> (f32, f32) {
    let codes = Codes::up_to(max_code);
    let (mut low, mut high) = (x[0], x[0]);
    for x in x {
        (low, high) = (low.min(*x), high.max(*x));
    }
    if minimum == Minimum::NotPositive {
        low = low.min(0.0);
    }
    let unit = inverse(high - low);
    if unit == 0.0 {
        return (0.0, low);
    }
    let mut best = (0.0, low, f32::MIN);
    let consider = |inverse: f32, min: f32, best: &mut (f32, f32, f32)| {
        let fit = sums(x, w, inverse, min, codes).affine(minimum);
        // A scale below zero would turn the order of the codes round.
        if fit.0 > 0.0 && fit.2 > best.2 {
            *best = fit;
        }
    };
    for step in 0..=steps {
        let stretch = first + (last - first) * step as f32 / steps as f32;
        consider((codes.high + stretch) * unit, low, &mut best);
    }
    for _ in 0..ROUNDS {
        consider(inverse(best.0), best.1, &mut best);
    }
    (best.0, best.1)
}

/// The signed scale of least weighted error: `x` is about `scale q`, `-half <= q < half`. All zero gives zero.
pub(super) fn symmetric<const N: usize>(x: &[f32; N], w: &[f32; N], half: u8) -> f32 {
    let codes = Codes::around(half);
    let extreme = x.iter().fold(0f32, |e, x| if x.abs() > e.abs() { *x } else { e });
    let unit = -inverse(extreme);
    let mut best = (0.0, 0.0);
    let consider = |inverse: f32, best: &mut (f32, f32)| {
        let fit = sums(x, w, inverse, 0.0, codes).symmetric();
        if fit.1 > best.1 {
            *best = fit;
        }
    };
    for step in -9i8..=9 {
        consider((f32::from(half) + 0.1 * f32::from(step)) * unit, &mut best);
    }
    for _ in 0..ROUNDS {
        consider(inverse(best.0), &mut best);
    }
    best.0
}
