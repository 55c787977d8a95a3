//! Training of an adapter: cross entropy over lists, by hand-written gradients.

use super::adapter::{Adapter, Inputs, unit};
use super::map::{Map, Theta, sigmoid};
use super::network::{Adam, Network, parts};
use super::{Cutoff, Judged, pr_auc};
use crate::error::Error;
use ndarray::{Array2, Axis};
use scant_spectra::principal;
use scant_tensor_core::linalg::covariance;
use scant_tensor_core::rng::Rng;

/// Queries in a step.
const BATCH: usize = 32;
/// Decay of the weights of both layers.
const DECAY: f32 = 1e-4;
/// Epochs without a better dev set after which training ends.
const PATIENCE: usize = 12;
/// Principal components of the query among the features.
const COMPONENTS: usize = 8;

/// Settings for training an [`Adapter`].
///
/// The last layer starts at zero weights and the global logistic fit (Platt 1999) as its bias, so that the adapter starts as the global
/// threshold; what is returned is the epoch that ranked the dev lists best, that start included.
///
/// ```
/// use scant_pq_index::cutoff::{AdapterParams, Cutoff, Judged, Map, Target};
/// // Queries of two kinds: the relevant candidates of one score .8, of the other .4, where the first has its irrelevant ones.
/// let lists: Vec<Judged> = (0..60)
///     .map(|i| {
///         let kind = (i % 2) as f32;
///         let query = [1.0 - kind, kind];
///         let candidates = (0..10).map(|c| (0.8 - 0.4 * kind - 0.4 * (c > 2) as u8 as f32 + 0.01 * (c as f32), (c <= 2) as u8 as f32));
///         Judged::new(&query, candidates.collect())
///     })
///     .collect::<Result<_, _>>()?;
/// let (train, dev) = lists.split_at(40);
/// let adapter = AdapterParams::new(Map::Linear, "encoder-1").rate(0.01).fit(train, dev)?;
/// let adapter = Cutoff::Adapter(Box::new(adapter)).tuned(dev, Target::Recall(0.95))?;
/// let global = Cutoff::Global(0.0).tuned(dev, Target::Recall(0.95))?;
/// assert!(adapter.report(dev)?.precision > 0.99 && global.report(dev)?.precision < 0.5);
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AdapterParams {
    map: Map,
    encoder: String,
    features: bool,
    epochs: usize,
    rate: f32,
    seed: u64,
}

impl AdapterParams {
    /// A map of this form for queries of the encoder with this digest.
    pub fn new(map: Map, encoder: impl Into<String>) -> AdapterParams {
        AdapterParams { map, encoder: encoder.into(), features: false, epochs: 200, rate: 1e-3, seed: 1234 }
    }

    /// Lets the network see a dozen features (principal components of the query, the first scores) in place of the query: for fewer than about
    /// 2,000 training queries, of which it would else learn the identity. The scores of a search for at least 20 are needed then.
    pub fn features(mut self) -> Self {
        self.features = true;
        self
    }

    /// Passes over the training lists, at most; 200 by default, 0 for the global fit alone.
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// Adam's rate; 0.001 by default.
    pub fn rate(mut self, rate: f32) -> Self {
        self.rate = rate;
        self
    }

    /// The seed of weights and order.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Trains on some lists, stops by others. The threshold is a probability of one half, until [`Cutoff::tuned`] sets it.
    ///
    /// # Errors
    /// [`Error::EmptyTraining`]; [`Error::MissingClass`] if one of both has no relevant or no irrelevant candidate; [`Error::DimMismatch`] or
    /// [`Error::ZeroVector`] for a query.
    pub fn fit(&self, train: &[Judged], dev: &[Judged]) -> Result<Adapter, Error> {
        let dim = train.first().map_or(0, |list| list.query.len());
        if dim == 0 {
            return Err(Error::EmptyTraining);
        }
        check_classes(train)?;
        check_classes(dev)?;
        let inputs = if self.features { features(train, dim, self.seed)? } else { Inputs::Query };
        let n = match &inputs {
            Inputs::Query => dim,
            Inputs::Features { mean, .. } => mean.len(),
        };
        let (slope, intercept) = platt(train, self.map.exponent().unwrap_or(1.0));
        let network = Network::constant(n, &Adapter::outputs(self.map, slope, intercept), self.seed);
        let mut adapter = Adapter { map: self.map, dim, inputs, network, threshold: 0.0, encoder: self.encoder.clone() };

        let inputs: Vec<Vec<f32>> = train.iter().map(|list| adapter.input(&list.query, &list.scores)).collect::<Result<_, _>>()?;
        let mut adam = Adam::new(self.rate, adapter.network.weights.len());
        let mut rng = Rng::new(self.seed);
        let mut order: Vec<usize> = (0..train.len()).collect();
        let mut best = (dev_area(&adapter, dev)?, 0, adapter.network.clone());
        for epoch in 1..=self.epochs {
            rng.shuffle(&mut order);
            for batch in order.chunks(BATCH) {
                let mut gradient = vec![0.0; adapter.network.weights.len()];
                for i in batch {
                    let (hidden, output) = adapter.network.forward(&inputs[*i]);
                    let of_output = gradient_of(&adapter, &output, &train[*i]).map(|g| (g / batch.len() as f64) as f32);
                    adapter.network.backward(&inputs[*i], &hidden, &of_output[..output.len()], &mut gradient);
                }
                decay(&adapter.network, &mut gradient);
                adam.step(&mut adapter.network.weights, &gradient);
            }
            let area = dev_area(&adapter, dev)?;
            if area > best.0 {
                best = (area, epoch, adapter.network.clone());
            } else if epoch - best.1 >= PATIENCE {
                break;
            }
        }
        adapter.network = best.2;
        Ok(adapter)
    }
}

fn dev_area(adapter: &Adapter, dev: &[Judged]) -> Result<f64, Error> {
    Ok(pr_auc(&Cutoff::Adapter(Box::new(adapter.clone())).pairs(dev)?))
}

fn check_classes(lists: &[Judged]) -> Result<(), Error> {
    let labels = || lists.iter().flat_map(|list| &list.labels);
    match (labels().any(|l| *l > 0.0), labels().any(|l| *l < 1.0)) {
        (true, true) => Ok(()),
        (false, _) => Err(Error::MissingClass { class: "relevant" }),
        (_, false) => Err(Error::MissingClass { class: "irrelevant" }),
    }
}

/// The gradient of the list's mean cross entropy with respect to the network's outputs.
fn gradient_of(adapter: &Adapter, output: &[f32], list: &Judged) -> [f64; 3] {
    let theta = adapter.theta(output);
    let n = list.scores.len().max(1) as f64;
    let (mut a, mut b, mut exponent) = (0.0, 0.0, 0.0);
    for (x, label) in list.scores.iter().zip(&list.labels) {
        let power = theta.power(*x);
        let g = (sigmoid(theta.a * power + theta.b) - f64::from(*label)) / n;
        a += g * power;
        b += g;
        if *x != 0.0 {
            exponent += g * theta.a * power * f64::from(x.abs()).ln();
        }
    }
    // Behind softplus and the sigmoid.
    let half = theta.exponent / 2.0;
    [a * sigmoid(f64::from(output[0])), b, exponent * 2.0 * half * (1.0 - half)]
}

/// Adds what pulls weights, not biases, to zero.
fn decay(network: &Network, gradient: &mut [f32]) {
    let [w, w_bias, v, _] = parts(network.inputs, network.outputs);
    for range in [0..w, w + w_bias..w + w_bias + v] {
        gradient[range.clone()].iter_mut().zip(&network.weights[range]).for_each(|(g, w)| *g += DECAY * w);
    }
}

/// Slope and intercept of the logistic regression of labels on `sgn(x) |x|^exponent`, every list counting the same: Newton's method, with a
/// little ridge so that separable lists have an end.
fn platt(lists: &[Judged], exponent: f64) -> (f64, f64) {
    let form = Theta { a: 1.0, b: 0.0, exponent };
    let (mut a, mut b) = (1.0, 0.0);
    for _ in 0..50 {
        let ridge = 1e-6;
        let (mut ga, mut gb, mut haa, mut hab, mut hbb) = (ridge * a, ridge * b, ridge, 0.0, ridge);
        for list in lists {
            let weight = 1.0 / (list.scores.len() * lists.len()) as f64;
            for (x, label) in list.scores.iter().zip(&list.labels) {
                let x = form.power(*x);
                let p = sigmoid(a * x + b);
                let (g, h) = (weight * (p - f64::from(*label)), weight * p * (1.0 - p));
                (ga, gb) = (ga + g * x, gb + g);
                (haa, hab, hbb) = (haa + h * x * x, hab + h * x, hbb + h);
            }
        }
        let determinant = haa * hbb - hab * hab;
        let (da, db) = ((hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant);
        // Steps of bounded length: far out the curvature vanishes.
        let shrink = (10.0 / da.abs().max(db.abs()).max(1e-300)).min(1.0);
        (a, b) = (a - shrink * da, b - shrink * db);
        if da.abs() < 1e-9 * (1.0 + a.abs()) && db.abs() < 1e-9 * (1.0 + b.abs()) {
            break;
        }
    }
    // A map may not fall, whatever the lists say.
    (a.max(0.01), b)
}

/// Axes and scales of the features, from the training lists.
fn features(train: &[Judged], dim: usize, seed: u64) -> Result<Inputs, Error> {
    let mut queries = Array2::<f32>::zeros((train.len(), dim));
    for (mut row, list) in queries.rows_mut().into_iter().zip(train) {
        row.assign(&ndarray::aview1(&unit(&list.query, dim)?));
    }
    let components = COMPONENTS.min(dim);
    let axes = match principal(covariance(queries.view()).view()) {
        Some((_, axes)) => axes.slice_axis(Axis(0), (..components).into()).to_owned(),
        // Without a decomposition any directions will do.
        None => {
            let mut rng = Rng::new(seed);
            Array2::from_shape_simple_fn((components, dim), || rng.normal() / (dim as f32).sqrt())
        }
    };
    let rows: Vec<Vec<f32>> =
        queries.rows().into_iter().zip(train).map(|(q, list)| Inputs::features(&axes, &q.to_vec(), &list.scores)).collect();
    let n = rows.len() as f32;
    let mean: Vec<f32> = (0..rows[0].len()).map(|i| rows.iter().map(|row| row[i]).sum::<f32>() / n).collect();
    let deviation = |i: usize| (rows.iter().map(|row| (row[i] - mean[i]).powi(2)).sum::<f32>() / n).sqrt();
    // A feature that is constant says nothing, and must not be blown up.
    let deviation = (0..mean.len()).map(|i| if deviation(i) > 1e-6 { deviation(i) } else { 1.0 }).collect();
    Ok(Inputs::Features { axes, mean, deviation })
}
