//! The map's parameters, predicted from the query.

use super::map::{Map, Theta, sigmoid};
use super::network::{HIDDEN, Network, parts};
use crate::error::Error;
use crate::metric::Metric;
use ndarray::{Array2, ArrayView1};
use scant_tensor_core::file::{Bytes, File, Writer};
use std::path::Path;

const KIND: &str = "pq-index/cutoff";
const VERSION: u32 = 1;

/// The least slope, so that no map is flat.
const LEAST_SLOPE: f64 = 1e-3;
/// Scores from which the features of a list are taken.
pub(super) const TOP: usize = 20;
/// Features of a list: the best score, mean and deviation of the first [`TOP`], the first drop.
pub(super) const OF_SCORES: usize = 4;

/// A trained Cosine Adapter: see [the module](super). Made by [`AdapterParams`](super::AdapterParams), used as [`Cutoff::Adapter`](super::Cutoff::Adapter).
///
/// It belongs to the encoder whose queries it was trained on, which it names by a digest of the caller's choice.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    pub(super) map: Map,
    pub(super) dim: usize,
    pub(super) inputs: Inputs,
    pub(super) network: Network,
    /// A logit.
    pub(super) threshold: f64,
    pub(super) encoder: String,
}

/// What the network sees.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Inputs {
    /// The query at length 1.
    Query,
    /// A few numbers, for few training queries: principal components of the query, then those of the scores; each less its mean, divided by its
    /// deviation.
    Features {
        /// `[components, dim]`
        axes: Array2<f32>,
        mean: Vec<f32>,
        deviation: Vec<f32>,
    },
}

impl Inputs {
    /// Components of the query and features of the scores, not yet scaled. `q` has length 1.
    pub(super) fn features(axes: &Array2<f32>, q: &[f32], scores: &[f32]) -> Vec<f32> {
        let mut all: Vec<f32> = axes.dot(&ArrayView1::from(q)).to_vec();
        let top = &scores[..scores.len().min(TOP)];
        let n = top.len().max(1) as f32;
        let mean = top.iter().sum::<f32>() / n;
        let deviation = (top.iter().map(|s| (s - mean).powi(2)).sum::<f32>() / n).sqrt();
        all.extend([top.first().copied().unwrap_or(0.0), mean, deviation, top.get(1).map_or(0.0, |second| top[0] - second)]);
        all
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Parameters {
    map: Map,
    dim: usize,
    /// Principal components of the query; `None` if the network sees the query itself.
    components: Option<usize>,
    encoder: String,
}

impl Adapter {
    /// The map's form.
    pub fn map(&self) -> Map {
        self.map
    }

    /// The probability of relevance, as the adapter sees it, from which on a candidate is kept.
    pub fn threshold(&self) -> f64 {
        sigmoid(self.threshold)
    }

    /// The digest of the encoder.
    pub fn encoder(&self) -> &str {
        &self.encoder
    }

    /// The probability of relevance of each of a query's scores, which are in the order of a search.
    ///
    /// # Errors
    /// As [`Cutoff::apply`](super::Cutoff::apply).
    pub fn probabilities(&self, q: ArrayView1<'_, f32>, scores: &[f32]) -> Result<Vec<f64>, Error> {
        Ok(self.logits(&q.to_vec(), scores)?.into_iter().map(sigmoid).collect())
    }

    pub(super) fn with_threshold(&self, threshold: f64) -> Adapter {
        Adapter { threshold, ..self.clone() }
    }

    /// Whether the map depends on the scores besides the query.
    pub(super) fn needs_scores(&self) -> bool {
        matches!(self.inputs, Inputs::Features { .. })
    }

    pub(super) fn logits(&self, q: &[f32], scores: &[f32]) -> Result<Vec<f64>, Error> {
        let theta = self.theta(&self.network.forward(&self.input(q, scores)?).1);
        Ok(scores.iter().map(|score| theta.logit(*score)).collect())
    }

    /// The score from which on a candidate is kept.
    pub(super) fn radius(&self, q: &[f32], scores: &[f32]) -> Result<f32, Error> {
        Ok(self.theta(&self.network.forward(&self.input(q, scores)?).1).radius(self.threshold))
    }

    /// What the network sees of a query and its scores.
    pub(super) fn input(&self, q: &[f32], scores: &[f32]) -> Result<Vec<f32>, Error> {
        let q = unit(q, self.dim)?;
        Ok(match &self.inputs {
            Inputs::Query => q,
            Inputs::Features { axes, mean, deviation } => {
                let all = Inputs::features(axes, &q, scores);
                all.iter().zip(mean).zip(deviation).map(|((v, mean), deviation)| (v - mean) / deviation).collect()
            }
        })
    }

    /// The network's outputs as parameters of the map.
    pub(super) fn theta(&self, output: &[f32]) -> Theta {
        let exponent = self.map.exponent().unwrap_or_else(|| (2.0 * sigmoid(f64::from(output[2]))).max(1e-3));
        Theta { a: softplus(f64::from(output[0])) + LEAST_SLOPE, b: f64::from(output[1]), exponent }
    }

    /// The outputs whose parameters are a slope, an intercept and, for a power, an exponent of 1.
    pub(super) fn outputs(map: Map, slope: f64, intercept: f64) -> Vec<f32> {
        // The inverse of softplus; of a large number, the number.
        let a = (slope - LEAST_SLOPE).max(1e-6);
        let alpha = if a > 30.0 { a } else { a.exp_m1().ln() };
        let all = [alpha as f32, intercept as f32, 0.0];
        all[..if map == Map::Power { 3 } else { 2 }].to_vec()
    }

    /// Saves through a temporary file beside `path`.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.with_writer(|writer| Ok(writer.save(path)?))
    }

    /// The bytes of a saved adapter.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn to_bytes(&self) -> Result<Bytes, Error> {
        self.with_writer(|writer| Ok(writer.to_bytes()?))
    }

    fn with_writer<T>(&self, write: impl FnOnce(Writer<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let components = match &self.inputs {
            Inputs::Query => None,
            Inputs::Features { axes, .. } => Some(axes.nrows()),
        };
        let parameters = Parameters { map: self.map, dim: self.dim, components, encoder: self.encoder.clone() };
        let (n, outputs) = (self.network.inputs, self.network.outputs);
        let threshold = [self.threshold];
        let axes: Vec<f32> = match &self.inputs {
            Inputs::Query => vec![],
            Inputs::Features { axes, .. } => axes.iter().copied().collect(),
        };
        let mut writer = Writer::new(KIND, VERSION).parameters(&parameters)?;
        let shapes: [&[usize]; 4] = [&[HIDDEN, n], &[HIDDEN], &[outputs, HIDDEN], &[outputs]];
        for ((name, shape), values) in NAMES.into_iter().zip(shapes).zip(self.network.parts()) {
            writer.add_elements(name, shape, values)?;
        }
        writer.add_elements("cutoff.threshold", [1], &threshold)?;
        if let Inputs::Features { axes: matrix, mean, deviation } = &self.inputs {
            writer.add_elements("cutoff.axes", matrix.shape(), &axes)?;
            writer.add_elements("cutoff.mean", [mean.len()], mean)?;
            writer.add_elements("cutoff.deviation", [deviation.len()], deviation)?;
        }
        write(writer)
    }

    /// Opens a saved adapter for the encoder that is in use.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::EncoderMismatch`] for an adapter of another encoder; [`Error::Corrupt`] or [`Error::NonFinite`] for numbers that cannot be.
    pub fn open(path: impl AsRef<Path>, encoder: &str) -> Result<Adapter, Error> {
        Adapter::from_file(&File::read(path)?, encoder)
    }

    /// The adapter in an opened file.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_file(file: &File, encoder: &str) -> Result<Adapter, Error> {
        let stored: Parameters = file.require_kind(KIND, VERSION)?.parameters()?;
        if stored.encoder != encoder {
            return Err(Error::EncoderMismatch { index: stored.encoder, query: encoder.to_owned() });
        }
        let outputs = if stored.map == Map::Power { 3 } else { 2 };
        let vector = |name: &str, shape: &[usize]| {
            let values = file.typed::<f32>(name, shape)?.to_vec();
            Error::check_finite(ndarray::aview1(&values).insert_axis(ndarray::Axis(0)), 0)?;
            Ok::<_, Error>(values)
        };
        let inputs = match stored.components {
            None => Inputs::Query,
            Some(components) => {
                let axes = vector("cutoff.axes", &[components, stored.dim])?;
                let count = components.saturating_add(OF_SCORES);
                let deviation = vector("cutoff.deviation", &[count])?;
                if let Some(value) = deviation.iter().find(|v| **v <= 0.0) {
                    return Err(Error::OutOfRange { what: "a deviation", value: f64::from(*value), range: "above 0" });
                }
                Inputs::Features {
                    axes: Array2::from_shape_fn((components, stored.dim), |(c, i)| axes[c * stored.dim + i]),
                    mean: vector("cutoff.mean", &[count])?,
                    deviation,
                }
            }
        };
        let n = stored.components.map_or(stored.dim, |c| c.saturating_add(OF_SCORES));
        let shapes: [&[usize]; 4] = [&[HIDDEN, n], &[HIDDEN], &[outputs, HIDDEN], &[outputs]];
        let weights: Vec<Vec<f32>> = NAMES.iter().zip(shapes).map(|(name, shape)| vector(name, shape)).collect::<Result<_, _>>()?;
        let weights = weights.concat();
        if n == 0 || weights.len() != parts(n, outputs).iter().sum::<usize>() {
            return Err(Error::OutOfRange { what: "inputs of the network", value: n as f64, range: "at least 1" });
        }
        let threshold = file.typed::<f64>("cutoff.threshold", [1])?[0];
        if threshold.is_nan() {
            return Err(Error::OutOfRange { what: "the threshold", value: threshold, range: "a number" });
        }
        let network = Network { inputs: n, outputs, weights };
        Ok(Adapter { map: stored.map, dim: stored.dim, inputs, network, threshold, encoder: stored.encoder })
    }
}

const NAMES: [&str; 4] = ["cutoff.hidden.weight", "cutoff.hidden.bias", "cutoff.output.weight", "cutoff.output.bias"];

/// The query at length 1.
pub(super) fn unit(q: &[f32], dim: usize) -> Result<Vec<f32>, Error> {
    Error::check_dim("query of the cutoff", dim, q.len())?;
    Error::check_finite(ndarray::aview1(q).insert_axis(ndarray::Axis(0)), 0)?;
    let mut q = q.to_vec();
    Metric::Cosine.admit(0, &mut q)?;
    Ok(q)
}

fn softplus(x: f64) -> f64 {
    if x > 30.0 { x } else { x.exp().ln_1p() }
}
