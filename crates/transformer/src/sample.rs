//! One token out of the logits.

use crate::Error;
use scant_tensor_core::rng::Rng;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// How a token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; 0 takes the most likely token always.
    pub temperature: f32,
    /// Only the `k` most likely tokens; 0 for all.
    pub top_k: usize,
    /// Only the most likely tokens that together have this probability; 1 for all.
    pub top_p: f32,
    /// The same seed and logits give the same tokens.
    pub seed: u64,
}

impl Sampling {
    /// The most likely token, always.
    pub fn greedy() -> Sampling {
        Sampling { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0 }
    }
}

/// Chooses token after token.
///
/// ```
/// use scant_transformer::{Sampler, Sampling};
/// let logits = [0.0, 3.0, 1.0, 3.0];
/// assert_eq!(Sampler::new(Sampling::greedy())?.pick(&logits)?, 1); // the first of equals
/// let mut sampler = Sampler::new(Sampling { temperature: 0.7, top_k: 2, top_p: 1.0, seed: 1 })?;
/// assert!((0..100).all(|_| [1, 3].contains(&sampler.pick(&logits).unwrap())));
/// # Ok::<(), scant_transformer::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    rng: Rng,
    candidates: Vec<Candidate>,
}

/// The larger logit is the larger candidate, of equals the one with the lower token.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Candidate {
    logit: f32,
    token: u32,
}

impl Eq for Candidate {}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.logit.total_cmp(&other.logit).then(other.token.cmp(&self.token))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Sampler {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Sampling`].
    pub fn new(sampling: Sampling) -> Result<Sampler, Error> {
        let bad = |what, value: f32, want| Err(Error::Sampling { what, value: value.to_string(), want });
        if !(sampling.temperature.is_finite() && sampling.temperature >= 0.0) {
            return bad("the temperature", sampling.temperature, "0 or more");
        }
        if !(sampling.top_p > 0.0 && sampling.top_p <= 1.0) {
            return bad("top-p", sampling.top_p, "above 0, at most 1");
        }
        Ok(Sampler { sampling, rng: Rng::new(sampling.seed), candidates: vec![] })
    }

    /// A token by its logit's share.
    ///
    /// # Errors
    /// [`Error::Logits`] if there are none, or one is not finite.
    pub fn pick(&mut self, logits: &[f32]) -> Result<u32, Error> {
        if let Some(token) = logits.iter().position(|x| !x.is_finite()) {
            return Err(Error::Logits { detail: format!("that of token {token} is {}", logits[token]) });
        }
        let all = logits.iter().zip(0..).map(|(logit, token)| Candidate { logit: *logit, token });
        let Some(best) = all.clone().max() else {
            return Err(Error::Logits { detail: "there are none".to_owned() });
        };
        let Sampling { temperature, top_k, top_p, .. } = self.sampling;
        if temperature == 0.0 {
            return Ok(best.token);
        }
        self.candidates.clear();
        self.candidates.extend(all);
        if top_k > 0 && top_k < self.candidates.len() {
            self.candidates.select_nth_unstable_by(top_k - 1, |a, b| b.cmp(a));
            self.candidates.truncate(top_k);
            self.candidates.sort_unstable_by(|a, b| b.cmp(a));
        }
        let weight = |c: &Candidate| (f64::from(c.logit - best.logit) / f64::from(temperature)).exp();
        let mut total: f64 = self.candidates.iter().map(weight).sum();
        if top_p < 1.0 {
            // Best first, until they have their share; only those are put in order.
            let mut heap = BinaryHeap::from(std::mem::take(&mut self.candidates));
            let share = total * f64::from(top_p);
            total = 0.0;
            while let Some(next) = heap.pop() {
                total += weight(&next);
                self.candidates.push(next);
                if total >= share {
                    break;
                }
            }
        }
        let mut left = f64::from(self.rng.uniform()) * total;
        for candidate in &self.candidates {
            left -= weight(candidate);
            if left < 0.0 {
                return Ok(candidate.token);
            }
        }
        // Rounding has left a hair over.
        Ok(self.candidates.last().map_or(best.token, |c| c.token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(sampling: Sampling, logits: &[f32]) -> Vec<f64> {
        let mut sampler = Sampler::new(sampling).unwrap();
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[sampler.pick(logits).unwrap() as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn tokens_come_by_their_probability() {
        let logits = [1.0f32, 0.0, 2.0, -1.0];
        for (temperature, top_k, top_p, kept) in [(1.0, 0, 1.0, 4), (0.5, 0, 1.0, 4), (1.0, 2, 1.0, 2), (1.0, 0, 0.8, 2), (2.0, 3, 0.9, 3)]
        {
            let got = shares(Sampling { temperature, top_k, top_p, seed: 7 }, &logits);
            let mut order: Vec<usize> = (0..4).collect();
            order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
            let weight = |i: usize| f64::from(logits[i] / temperature).exp();
            let sum: f64 = order[..kept].iter().map(|i| weight(*i)).sum();
            for (place, i) in order.into_iter().enumerate() {
                let want = if place < kept { weight(i) / sum } else { 0.0 };
                assert!((got[i] - want).abs() < 0.015, "{temperature} {top_k} {top_p}: token {i} {} {want}", got[i]);
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_tokens() {
        let logits: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).sin()).collect();
        let run = |seed| {
            let mut sampler = Sampler::new(Sampling { temperature: 1.0, top_k: 0, top_p: 0.9, seed }).unwrap();
            (0..20).map(|_| sampler.pick(&logits).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
    }

    #[test]
    fn bad_settings_and_logits_are_named() {
        let new = |temperature, top_p| Sampler::new(Sampling { temperature, top_k: 0, top_p, seed: 0 });
        assert!(new(-1.0, 1.0).unwrap_err().to_string().contains("temperature is -1"));
        assert!(new(f32::NAN, 1.0).is_err() && new(1.0, 0.0).is_err() && new(1.0, 1.1).is_err());
        let mut sampler = new(1.0, 1.0).unwrap();
        assert!(sampler.pick(&[0.0, f32::NAN]).unwrap_err().to_string().contains("token 1 is NaN"));
        assert!(sampler.pick(&[]).is_err());
    }
}
