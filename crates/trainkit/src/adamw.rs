//! AdamW (Loshchilov and Hutter 2019).

/// Settings of AdamW.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AdamW {
    /// Decay of the running mean.
    pub beta1: f32,
    /// Decay of the running square.
    pub beta2: f32,
    /// Added to the root.
    pub eps: f32,
    /// Decay of weights per step, times the rate; norms are left out by the caller.
    pub weight_decay: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        AdamW { beta1: 0.9, beta2: 0.98, eps: 1e-8, weight_decay: 0.1 }
    }
}

/// Running mean and square of the gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Steps taken.
    pub steps: u64,
    /// Running mean.
    pub mean: Vec<f32>,
    /// Running square.
    pub square: Vec<f32>,
}

impl Moments {
    /// Moments of `len` weights before the first step.
    pub fn new(len: usize) -> Moments {
        Moments { steps: 0, mean: vec![0.0; len], square: vec![0.0; len] }
    }
}

impl AdamW {
    /// Starts a step: the returned value updates any range of the weights, each once.
    pub fn step(self, moments: &mut Moments, rate: f32) -> Step<'_> {
        moments.steps += 1;
        let correct = |beta: f32| 1.0 - f64::from(beta).powf(moments.steps as f64);
        let (mean, square) = (correct(self.beta1), correct(self.beta2));
        Step { settings: self, rate, mean_rate: (f64::from(rate) / mean) as f32, square_scale: (1.0 / square) as f32, moments }
    }
}

/// A step under way.
#[derive(Debug)]
pub struct Step<'a> {
    settings: AdamW,
    rate: f32,
    mean_rate: f32,
    square_scale: f32,
    moments: &'a mut Moments,
}

impl Step<'_> {
    /// Updates the weights of `range` with the gradient times `scale`; `decays` for matrices, not for norms.
    ///
    /// # Panics
    /// If the range is beyond an array.
    pub fn update(&mut self, range: std::ops::Range<usize>, weights: &mut [f32], gradient: &[f32], scale: f32, decays: bool) {
        let AdamW { beta1, beta2, eps, weight_decay } = self.settings;
        let keep = if decays { 1.0 - self.rate * weight_decay } else { 1.0 };
        let moments = self.moments.mean[range.clone()].iter_mut().zip(&mut self.moments.square[range.clone()]);
        for ((w, g), (m, v)) in weights[range.clone()].iter_mut().zip(&gradient[range]).zip(moments) {
            let g = g * scale;
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            *w = *w * keep - self.mean_rate * *m / ((*v * self.square_scale).sqrt() + eps);
        }
    }
}
