//! Steps of training over shards of a batch, and checkpoints.

use crate::adamw::{AdamW, Moments};
use crate::error::Error;
use crate::llama::{Batch, Llama, LlamaConfig, Tape};
use scant_tensor_core::file::{File, Writer};
use std::path::Path;

const KIND: &str = "train-checkpoint";
const VERSION: u32 = 1;

/// A model in training: weights, moments of AdamW, and a fixed number of shards.
///
/// Each shard is a thread with buffers and a gradient of its own; gradients are added in the order of the shards. So the same batches give the
/// same weights whenever the threads run.
#[derive(Debug)]
pub struct Trainer {
    model: Llama,
    optimizer: AdamW,
    clip: f64,
    moments: Moments,
    shards: Vec<Shard>,
    tokens: u64,
}

#[derive(Debug)]
struct Shard {
    tape: Tape,
    gradient: Vec<f32>,
}

/// What a step saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Weighted mean negative log-likelihood in nats.
    pub loss: f64,
    /// Norm of the gradient before clipping.
    pub norm: f64,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct State {
    config: LlamaConfig,
    tokens: u64,
    steps: u64,
    note: serde_json::Value,
}

impl Trainer {
    /// Trains `model` with gradients clipped to norm `clip`, batches cut into `shards`.
    pub fn new(model: Llama, optimizer: AdamW, clip: f64, shards: usize) -> Trainer {
        let len = model.weights().len();
        let shards = (0..shards).map(|_| Shard { tape: Tape::new(), gradient: vec![0.0; len] }).collect();
        Trainer { model, optimizer, clip, moments: Moments::new(len), shards, tokens: 0 }
    }

    /// The model as it is now.
    pub fn model(&self) -> &Llama {
        &self.model
    }

    /// Tokens seen.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.moments.steps
    }

    /// One step at `rate`.
    ///
    /// # Errors
    /// [`Error`] for a batch that does not fit the model or the shards; [`Error::Diverged`] if loss or gradient are not finite, the weights as before.
    pub fn step(&mut self, batch: &Batch, rate: f32) -> Result<StepReport, Error> {
        let (parts, total, model) = (batch.split(self.shards.len())?, batch.weight(), &self.model);
        let losses: Vec<Result<f64, Error>> = std::thread::scope(|scope| {
            let run = |(shard, part): (&'_ mut Shard, Batch)| {
                shard.gradient.fill(0.0);
                model.gradient(&part, total, &mut shard.tape, &mut shard.gradient)
            };
            let threads: Vec<_> = self.shards.iter_mut().zip(parts).map(|work| scope.spawn(move || run(work))).collect();
            threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let loss = losses.into_iter().sum::<Result<f64, Error>>()?;
        let (first, others) = self.shards.split_first_mut().expect("Batch::split refuses 0 shards");
        let gradient = &mut first.gradient;
        for other in others.iter() {
            for (g, x) in gradient.iter_mut().zip(&other.gradient) {
                *g += x;
            }
        }
        let norm = gradient.chunks(4096).map(|g| f64::from(g.iter().map(|x| x * x).sum::<f32>())).sum::<f64>().sqrt();
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(Error::Diverged { step: self.moments.steps, loss, norm });
        }
        let scale = (self.clip / norm.max(self.clip)) as f32;
        let ranges: Vec<_> = self.model.layout().iter().map(|w| (w.range.clone(), w.shape.len() == 2)).collect();
        let mut step = self.optimizer.step(&mut self.moments, rate);
        for (range, decays) in ranges {
            step.update(range, self.model.weights_mut(), gradient, scale, decays);
        }
        self.tokens += (batch.rows() * batch.tokens()) as u64;
        Ok(StepReport { loss, norm })
    }

    /// Writes weights, moments and `note` (whatever the program must know to go on) through a temporary file.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, path: impl AsRef<Path>, note: serde_json::Value) -> Result<(), Error> {
        let state = State { config: *self.model.config(), tokens: self.tokens, steps: self.moments.steps, note };
        let mut writer = Writer::new(KIND, VERSION).parameters(&state)?;
        let len = self.model.weights().len();
        for (name, values) in [("weights", self.model.weights()), ("mean", &self.moments.mean), ("square", &self.moments.square)] {
            writer.add_elements(name, [len], values)?;
        }
        Ok(writer.save(path)?)
    }

    /// Goes on from a checkpoint and returns its note.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::OtherModel`] if it was written by a model of other shapes.
    pub fn resume(&mut self, path: impl AsRef<Path>) -> Result<serde_json::Value, Error> {
        let file = File::read(path)?;
        let state: State = file.require_kind(KIND, VERSION)?.parameters()?;
        if state.config != *self.model.config() {
            return Err(Error::OtherModel { found: Box::new(state.config), want: Box::new(*self.model.config()) });
        }
        let len = self.model.weights().len();
        self.model.weights_mut().copy_from_slice(&file.typed::<f32>("weights", [len])?);
        self.moments.mean.copy_from_slice(&file.typed::<f32>("mean", [len])?);
        self.moments.square.copy_from_slice(&file.typed::<f32>("square", [len])?);
        (self.moments.steps, self.tokens) = (state.steps, state.tokens);
        Ok(state.note)
    }
}
