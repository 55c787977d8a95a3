//! Monotone maps from a cosine to a logit.

/// The form of the map `F(x) = a sgn(x) |x|^e + b`, whose `a > 0` and `b` belong to the query. It never changes the order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Map {
    /// `e` is 1.
    Linear,
    /// `e` is 1/2.
    SquareRoot,
    /// `e` is 2.
    Quadratic,
    /// `e` belongs to the query too, between 0 and 2.
    Power,
}

impl Map {
    /// Every form.
    pub const ALL: [Map; 4] = [Map::Linear, Map::SquareRoot, Map::Quadratic, Map::Power];

    /// The exponent, if it is the same for all queries.
    pub(super) fn exponent(self) -> Option<f64> {
        match self {
            Map::Linear => Some(1.0),
            Map::SquareRoot => Some(0.5),
            Map::Quadratic => Some(2.0),
            Map::Power => None,
        }
    }
}

/// The map of one query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Theta {
    pub(super) a: f64,
    pub(super) b: f64,
    pub(super) exponent: f64,
}

impl Theta {
    /// `sgn(x) |x|^e`
    pub(super) fn power(&self, x: f32) -> f64 {
        let x = f64::from(x);
        x.signum() * x.abs().powf(self.exponent)
    }

    pub(super) fn logit(&self, x: f32) -> f64 {
        self.a * self.power(x) + self.b
    }

    /// The smallest finite x whose logit is at least `threshold`, infinite if there is none. Found by halving the ordered bits of f32 rather than by
    /// the inverse formula, so that a cut at the radius and a cut at the logit are the same cut to the last bit.
    pub(super) fn radius(&self, threshold: f64) -> f32 {
        // Integers in the order of the floats they stand for; the transformation is its own inverse.
        let ordered = |bits: i32| bits ^ (((bits >> 31) as u32) >> 1) as i32;
        let float = |place: i32| f32::from_bits(ordered(place) as u32);
        let (mut low, mut high) = (ordered(f32::MIN.to_bits() as i32), ordered(f32::INFINITY.to_bits() as i32));
        while low < high {
            let middle = (i64::from(low) + i64::from(high)).div_euclid(2) as i32;
            if self.logit(float(middle)) >= threshold {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        float(low)
    }
}

pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use scant_tensor_core::rng::Rng;

    #[test]
    fn the_radius_is_where_the_logit_reaches_the_threshold() {
        let mut rng = Rng::new(3);
        for _ in 0..2000 {
            let exponent = [1.0, 0.5, 2.0, 0.01 + 1.98 * f64::from(rng.uniform())][rng.below(4)];
            let theta = Theta { a: f64::from(30.0 * rng.uniform()) + 1e-3, b: f64::from(5.0 * rng.normal()), exponent };
            // A threshold that some float meets exactly gives that float back.
            let x = 2.0 * rng.uniform() - 1.0;
            let radius = theta.radius(theta.logit(x));
            assert!(radius <= x && theta.logit(radius) == theta.logit(x));
            assert!(theta.logit(radius.next_down()) < theta.logit(x));
        }
        let flat = Theta { a: 1.0, b: 3.0, exponent: 2.0 };
        assert_eq!(flat.radius(f64::INFINITY), f32::INFINITY);
        assert_eq!(flat.radius(f64::NEG_INFINITY), f32::MIN);
        assert!((flat.radius(2.0) + 1.0).abs() < 1e-6);
    }

    #[test]
    fn every_map_is_monotone() {
        let mut rng = Rng::new(4);
        for _ in 0..500 {
            let theta = Theta { a: 1e-3 + f64::from(rng.uniform()), b: f64::from(rng.normal()), exponent: 2.0 * f64::from(rng.uniform()) };
            let mut x: Vec<f32> = (0..20).map(|_| 2.0 * rng.uniform() - 1.0).collect();
            x.sort_by(f32::total_cmp);
            assert!(x.windows(2).all(|w| theta.logit(w[0]) <= theta.logit(w[1])));
        }
    }
}
