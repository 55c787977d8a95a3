//! Means over windows with intervals from resampling the windows.

use scant_tensor_core::rng::Rng;

const ROUNDS: usize = 2000;

/// A mean with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Estimate {
    /// The mean over windows.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Estimate {
    /// The mean of one value per window, with the interval of 2,000 bootstrap rounds; a function of `values` and `seed` alone.
    ///
    /// For a paired comparison of two methods, give the differences of their values window by window.
    ///
    /// ```
    /// use scant_eval::Estimate;
    /// let e = Estimate::bootstrap(&[1.0, 2.0, 3.0, 2.0], 7);
    /// assert_eq!(e.mean, 2.0);
    /// assert!(e.low < e.mean && e.mean < e.high);
    /// ```
    pub fn bootstrap(values: &[f64], seed: u64) -> Estimate {
        let n = values.len();
        if n == 0 {
            return Estimate { mean: f64::NAN, low: f64::NAN, high: f64::NAN };
        }
        let mut rng = Rng::new(seed);
        let mut means: Vec<f64> = (0..ROUNDS).map(|_| (0..n).map(|_| values[rng.below(n)]).sum::<f64>() / n as f64).collect();
        means.sort_by(f64::total_cmp);
        let at = |share: f64| means[(share * (ROUNDS - 1) as f64).round() as usize];
        Estimate { mean: values.iter().sum::<f64>() / n as f64, low: at(0.025), high: at(0.975) }
    }

    /// True if the interval leaves out 0: the sign of the mean can be claimed.
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

impl std::fmt::Display for Estimate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not `pad`: there a precision is the longest text, and would cut the interval off.
        let p = f.precision().unwrap_or(4);
        write!(f, "{:.p$} [{:.p$}, {:.p$}]", self.mean, self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_is_digits_of_all_three_numbers() {
        let e = Estimate { mean: -0.000_742, low: -0.000_8, high: -0.000_7 };
        assert_eq!(format!("{e:.5}"), "-0.00074 [-0.00080, -0.00070]");
        assert_eq!(e.to_string(), "-0.0007 [-0.0008, -0.0007]");
    }

    #[test]
    fn the_interval_covers_the_true_mean_about_as_often_as_it_says() {
        let mut rng = Rng::new(5);
        let covered = (0..200)
            .filter(|seed| {
                let values: Vec<f64> = (0..100).map(|_| f64::from(rng.normal())).collect();
                let e = Estimate::bootstrap(&values, *seed);
                e.low <= 0.0 && 0.0 <= e.high
            })
            .count();
        assert!((180..=199).contains(&covered), "{covered} of 200");
    }
}
