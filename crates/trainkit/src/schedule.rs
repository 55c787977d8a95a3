//! The rate of learning: warm-up, a long flat part, and a decay that may be asked for at any time.

/// Warm-up, flat, linear decay (WSD: Hu et al. 2024). All of it counts tokens, so that pauses of the machine change nothing.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Schedule {
    /// The rate of the flat part.
    pub peak: f32,
    /// Tokens of the linear warm-up.
    pub warmup: u64,
    /// Where the decay begins and ends, once that is known.
    pub decay: Option<(u64, u64)>,
}

impl Schedule {
    /// The rate after `tokens`.
    ///
    /// ```
    /// use scant_trainkit::Schedule;
    /// let s = Schedule { peak: 1.0, warmup: 100, decay: Some((1000, 1100)) };
    /// assert_eq!([50, 500, 1025, 1100].map(|t| s.rate(t)), [0.5, 1.0, 0.75, 0.0]);
    /// ```
    pub fn rate(&self, tokens: u64) -> f32 {
        let up = if tokens < self.warmup { tokens as f64 / self.warmup as f64 } else { 1.0 };
        let down = match self.decay {
            Some((start, end)) if tokens > start => end.saturating_sub(tokens) as f64 / (end - start).max(1) as f64,
            _ => 1.0,
        };
        (f64::from(self.peak) * up * down) as f32
    }

    /// True once the decay has ended.
    pub fn finished(&self, tokens: u64) -> bool {
        self.decay.is_some_and(|(_, end)| tokens >= end)
    }
}
