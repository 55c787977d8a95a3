//! DKM and eDKM: k-means that gradients pass through, on the distinct values of the weights.

use crate::error::Error;
use half::bf16;

/// Rounds of Lloyd's k-means for the first centroids; it ends sooner.
const LLOYD: usize = 300;

/// Clusters weights softly while a model is trained (Cho et al., 2021, DKM): each weight becomes a mixture of centroids by how near they are,
/// centroids are means by the same shares, and both are differentiated.
///
/// Weights count by their bfloat16 value (Cho et al., 2023, eDKM): of millions of weights a few thousand values are distinct, and equal
/// weights have equal shares. So a pass costs `O(distinct values * centroids)`, and 2 bytes a weight say which value it has; not even the
/// table of shares is kept, they are computed again where they are needed. The published code clamps shares from below; here a centroid
/// that no weight is near stays where it is.
///
/// A pair of plain functions: [`Dkm::cluster`] and [`Clusters::gradient`]; what trains calls them.
///
/// ```
/// use scant_quant::dkm::Dkm;
/// let weights = [-1.0, -0.9, 0.1, 0.9, 1.1, 1.0];
/// let start = Dkm::start(&weights, 3)?;
/// let clusters = Dkm { temperature: 0.01, rounds: 3 }.cluster(&weights, &start)?;
/// assert_eq!(clusters.codes(), [0, 0, 1, 2, 2, 2]);
/// let mut soft = [0.0; 6];
/// clusters.soft(&mut soft);
/// assert!((soft[3] - 1.0).abs() < 0.01);
/// # Ok::<(), scant_quant::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dkm {
    /// What squared distances are divided by before the softmax: 0.001 to 0.1 of the weights' variance, falling while training.
    pub temperature: f64,
    /// Rounds of sharing out and averaging; the paper takes 3 and starts from the centroids of the step before.
    pub rounds: usize,
}

/// What [`Dkm::cluster`] found, and what its gradient needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// Distinct weights, rising, and how often each is there.
    values: Vec<f64>,
    counts: Vec<f64>,
    /// The value of each weight.
    index: Vec<u16>,
    /// Centroids before each round, and at the end.
    passes: Vec<Vec<f64>>,
    /// Squared distances are divided by it.
    temperature: f64,
}

/// Distinct values in rising order with their counts, and which of them each weight has.
struct Distinct {
    values: Vec<f64>,
    counts: Vec<f64>,
    index: Vec<u16>,
}

fn distinct(weights: &[f32]) -> Result<Distinct, Error> {
    let bad = |detail: String| Error::Clusters { detail };
    if weights.is_empty() {
        return Err(bad("there are no weights".to_owned()));
    }
    if let Some(i) = weights.iter().position(|w| !bf16::from_f32(*w).is_finite()) {
        return Err(bad(format!("weight {i} is {}", weights[i])));
    }
    // Keys that rise with the numbers; both zeros are one.
    let key = |w: &f32| {
        let bits = (bf16::from_f32(*w).to_f32() + 0.0).to_bits() >> 16;
        (if bits & 0x8000 == 0 { bits | 0x8000 } else { !bits & 0xFFFF }) as usize
    };
    // How often a key is there, and then its place among those that are.
    let mut table = vec![0u32; 1 << 16];
    weights.iter().for_each(|w| table[key(w)] += 1);
    let (mut values, mut counts) = (vec![], vec![]);
    for (key, entry) in table.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
        counts.push(f64::from(*entry));
        *entry = u32::try_from(values.len()).unwrap_or(u32::MAX);
        #[expect(clippy::cast_possible_truncation, reason = "keys have 16 bits")]
        let key = key as u16;
        values.push(bf16::from_bits(if key & 0x8000 == 0 { !key } else { key & 0x7FFF }).to_f64());
    }
    #[expect(clippy::cast_possible_truncation, reason = "there are as many places as keys at most")]
    let index = weights.iter().map(|w| table[key(w)] as u16).collect();
    Ok(Distinct { values, counts, index })
}

impl Dkm {
    /// The first centroids of `k` clusters, rising: Lloyd's k-means from quantiles.
    ///
    /// # Errors
    /// [`Error::Clusters`] for no weights, one that is not finite in bfloat16, or fewer distinct ones than clusters.
    pub fn start(weights: &[f32], k: usize) -> Result<Vec<f32>, Error> {
        let Distinct { values, counts, .. } = distinct(weights)?;
        if k == 0 || k > values.len().min(256) {
            return Err(Error::Clusters {
                detail: format!("{k} clusters of {} distinct weights: take 1 to as many, and 256 at most", values.len()),
            });
        }
        // Values between equal shares of the weights; each is another one.
        let (mut centroids, mut seen, mut at) = (Vec::with_capacity(k), 0.0, 0);
        for j in 0..k {
            let share = (j as f64 + 0.5) / k as f64 * weights.len() as f64;
            while (seen + counts[at] < share || at < j) && at + 1 < values.len() - (k - 1 - j) {
                seen += counts[at];
                at += 1;
            }
            centroids.push(values[at]);
            seen += counts[at];
            at += 1;
        }
        for _ in 0..LLOYD {
            let mut sums = vec![(0.0, 0.0); k];
            for (value, count) in values.iter().zip(&counts) {
                let sum = &mut sums[nearest(&centroids, *value)];
                *sum = (sum.0 + count, sum.1 + count * value);
            }
            let next: Vec<f64> = sums.iter().zip(&centroids).map(|((n, sum), c)| if *n > 0.0 { sum / n } else { *c }).collect();
            if next == centroids {
                break;
            }
            centroids = next;
        }
        #[expect(clippy::cast_possible_truncation, reason = "back to the type of the weights")]
        let centroids = centroids.into_iter().map(|c| c as f32).collect();
        Ok(centroids)
    }

    /// Shares `weights` out among `centroids` and moves these to their means, [`rounds`](Dkm::rounds) times.
    ///
    /// # Errors
    /// [`Error::Clusters`] as in [`Dkm::start`], for centroids that are none or not finite, and for a temperature that is not above 0.
    pub fn cluster(&self, weights: &[f32], centroids: &[f32]) -> Result<Clusters, Error> {
        let Distinct { values, counts, index } = distinct(weights)?;
        let bad = |detail: String| Error::Clusters { detail };
        if !(1..=256).contains(&centroids.len()) {
            return Err(bad(format!("{} centroids: take 1 to 256", centroids.len())));
        }
        if let Some(j) = centroids.iter().position(|c| !c.is_finite()) {
            return Err(bad(format!("centroid {j} is {}", centroids[j])));
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(bad(format!("a temperature of {}: take a number above 0", self.temperature)));
        }
        let start = centroids.iter().map(|c| f64::from(*c)).collect();
        let mut clusters = Clusters { values, counts, index, passes: vec![start], temperature: self.temperature };
        for round in 0..self.rounds {
            let next = clusters.means(round).into_iter().zip(&clusters.passes[round]);
            let next = next.map(|((weight, sum), old)| if weight > 0.0 { sum / weight } else { *old }).collect();
            clusters.passes.push(next);
        }
        Ok(clusters)
    }
}

/// The nearest of some centroids, the first of equals.
fn nearest(centroids: &[f64], value: f64) -> usize {
    let mut best = 0;
    for (j, c) in centroids.iter().enumerate() {
        if (value - c).abs() < (value - centroids[best]).abs() {
            best = j;
        }
    }
    best
}

impl Clusters {
    /// The centroids as they are now.
    pub fn centroids(&self) -> Vec<f32> {
        #[expect(clippy::cast_possible_truncation, reason = "back to the type of the weights")]
        let centroids = self.last().iter().map(|c| *c as f32).collect();
        centroids
    }

    fn last(&self) -> &[f64] {
        self.passes.last().map_or(&[], |c| &c[..])
    }

    /// The nearest centroid of each weight: what remains after training.
    pub fn codes(&self) -> Vec<u8> {
        #[expect(clippy::cast_possible_truncation, reason = "a palette has at most 256 entries")]
        let codes: Vec<u8> = self.values.iter().map(|v| nearest(self.last(), *v) as u8).collect();
        self.index.iter().map(|i| codes[usize::from(*i)]).collect()
    }

    /// Each weight as the mixture that training sees.
    ///
    /// # Panics
    /// If `out` is not as long as the weights.
    pub fn soft(&self, out: &mut [f32]) {
        assert_eq!(out.len(), self.index.len(), "weights and their mixtures");
        let mut shares = vec![0.0; self.last().len()];
        let mixed: Vec<f64> = self.values.iter().map(|v| self.mixture(*v, &mut shares)).collect();
        #[expect(clippy::cast_possible_truncation, reason = "back to the type of the weights")]
        out.iter_mut().zip(&self.index).for_each(|(out, i)| *out = mixed[usize::from(*i)] as f32);
    }

    /// `dw += gradient of the loss by the weights`, for `g` by the mixtures of [`Clusters::soft`]. The first centroids count as constants.
    ///
    /// # Panics
    /// If `g` or `dw` is not as long as the weights.
    pub fn gradient(&self, g: &[f32], dw: &mut [f32]) {
        assert_eq!([g.len(), dw.len()], [self.index.len(); 2], "weights and gradients");
        let (k, rounds) = (self.last().len(), self.passes.len() - 1);
        let mut summed = vec![0.0; self.values.len()];
        g.iter().zip(&self.index).for_each(|(g, i)| summed[usize::from(*i)] += f64::from(*g));
        // What a weight's own mixture does for it, per unit of its gradient; and what it does through the centroids, alike for equal weights.
        let (mut own, mut shared) = (vec![0.0; self.values.len()], vec![0.0; self.values.len()]);
        let (mut shares, mut by_share) = (vec![0.0; k], vec![0.0; k]);
        let mut by_centroid = vec![0.0; k];
        for (u, v) in self.values.iter().enumerate() {
            let mixture = self.mixture(*v, &mut shares);
            for j in 0..k {
                let c = self.last()[j];
                let by_distance = shares[j] * (c - mixture) / self.temperature;
                own[u] -= 2.0 * (v - c) * by_distance;
                by_centroid[j] += summed[u] * (shares[j] + 2.0 * (v - c) * by_distance);
            }
        }
        for round in (0..rounds).rev() {
            let (before, after) = (&self.passes[round], &self.passes[round + 1]);
            let weights = self.means(round);
            let mut next = vec![0.0; k];
            for (u, v) in self.values.iter().enumerate() {
                self.shares(*v, before, &mut shares);
                let mut mean = 0.0;
                for j in 0..k {
                    let scale = if weights[j].0 > 0.0 { by_centroid[j] / weights[j].0 } else { 0.0 };
                    by_share[j] = scale * (v - after[j]);
                    mean += shares[j] * by_share[j];
                    shared[u] += shares[j] * scale;
                }
                for j in 0..k {
                    let by_distance = shares[j] * (by_share[j] - mean) / self.temperature;
                    shared[u] -= 2.0 * (v - before[j]) * by_distance;
                    next[j] += self.counts[u] * 2.0 * (v - before[j]) * by_distance;
                }
            }
            for j in 0..k {
                // A centroid that stayed passes on what it gets.
                next[j] += if weights[j].0 > 0.0 { 0.0 } else { by_centroid[j] };
            }
            by_centroid = next;
        }
        for ((dw, g), i) in dw.iter_mut().zip(g).zip(&self.index) {
            let u = usize::from(*i);
            #[expect(clippy::cast_possible_truncation, reason = "back to the type of the weights")]
            let gradient = (f64::from(*g) * own[u] + shared[u]) as f32;
            *dw += gradient;
        }
    }

    /// The mixture of value `v`, and its shares.
    fn mixture(&self, v: f64, shares: &mut [f64]) -> f64 {
        self.shares(v, self.last(), shares);
        shares.iter().zip(self.last()).map(|(a, c)| a * c).sum()
    }

    /// Softmax of minus the squared distances over the temperature.
    fn shares(&self, v: f64, centroids: &[f64], shares: &mut [f64]) {
        let least = centroids.iter().fold(f64::INFINITY, |least, c| least.min((v - c) * (v - c)));
        let mut sum = 0.0;
        for (share, c) in shares.iter_mut().zip(centroids) {
            *share = ((least - (v - c) * (v - c)) / self.temperature).exp();
            sum += *share;
        }
        shares.iter_mut().for_each(|share| *share /= sum);
    }

    /// For each centroid before a round: the sum of shares of all weights, and that of the weights by their shares.
    fn means(&self, round: usize) -> Vec<(f64, f64)> {
        let centroids = &self.passes[round];
        let (mut shares, mut sums) = (vec![0.0; centroids.len()], vec![(0.0, 0.0); centroids.len()]);
        for (v, n) in self.values.iter().zip(&self.counts) {
            self.shares(*v, centroids, &mut shares);
            for (sum, share) in sums.iter_mut().zip(&shares) {
                *sum = (sum.0 + n * share, sum.1 + n * share * v);
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests;
