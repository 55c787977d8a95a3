//! Forward and backward through a Llama as a chain of plain functions.

use super::batch::Batch;
use super::config::{LlamaConfig, Places, Weight};
use super::init;
use super::tape::{LOGIT_ROWS, LayerTape, Tape};
use crate::error::Error;
use crate::ops::view::{matrix, matrix_mut};
use crate::ops::{
    Rope, attention, attention_vjp, cross_entropy, cross_entropy_vjp, linear, linear_vjp, rms_norm, rms_norm_vjp, swiglu, swiglu_vjp,
};
use ndarray::ArrayView2;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::linalg::matmul;

/// A trainable Llama: all weights in one flat array, so that an optimizer is a loop and a gradient is an array of the same length.
///
/// ```
/// use scant_trainkit::llama::{Batch, Llama, LlamaConfig, Tape};
/// let config = LlamaConfig { vocab_size: 16, hidden: 8, layers: 1, heads: 2, kv_heads: 1, head_dim: 4, ffn: 8, ..LlamaConfig::EMBEDDED };
/// let model = Llama::new(config, 1)?;
/// let batch = Batch::new(1, 3, vec![1, 2, 3], vec![2, 3, 4], vec![1.0; 3])?;
/// let mut gradient = vec![0.0; model.weights().len()];
/// let loss = model.gradient(&batch, batch.weight(), &mut Tape::new(), &mut gradient)?;
/// assert!((loss - 16f64.ln()).abs() < 0.5); // an untrained model knows nothing
/// # Ok::<(), scant_trainkit::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Llama {
    config: LlamaConfig,
    places: Places,
    weights: Vec<f32>,
    rope: Rope,
    isa: Isa,
}

impl Llama {
    /// A model with random weights: normal with deviation `0.8 / sqrt(hidden)`, a fraction of it where a layer writes to the residual stream, 0.04
    /// for embeddings; norms 1.
    ///
    /// # Errors
    /// [`Error::Config`] for sizes that do not go together.
    pub fn new(config: LlamaConfig, seed: u64) -> Result<Llama, Error> {
        config.check()?;
        let places = Places::new(&config);
        let weights = init::random(&config, &places, seed);
        let rope = Rope::new(config.context, config.head_dim, config.rope_theta);
        Ok(Llama { config, places, weights, rope, isa: Isa::best() })
    }

    /// The same with heads put in that look a few tokens back and match what they find: the embedded model then looks keys up in its context after
    /// a few hundred thousand tokens, where a random one still guessed after two million.
    ///
    /// # Errors
    /// [`Error::Config`] if the model has not 3 layers, or heads narrower than 32 or not as wide together as the residual stream.
    pub fn with_matching_heads(config: LlamaConfig, seed: u64) -> Result<Llama, Error> {
        let mut model = Llama::new(config, seed)?;
        init::matching_heads(&config, &model.places, &mut model.weights, seed)?;
        Ok(model)
    }

    /// Its shapes.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// All weights, in the order of [`layout`](Self::layout).
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// All weights, to be changed.
    pub fn weights_mut(&mut self) -> &mut [f32] {
        &mut self.weights
    }

    /// Name, shape and place of each weight.
    pub fn layout(&self) -> &[Weight] {
        &self.places.weights
    }

    /// Adds the gradient of `batch`'s loss to `gradient` and returns the loss: the sum of weighted negative log-likelihoods over `total` (the
    /// weights of the whole batch of which this may be a shard).
    ///
    /// # Errors
    /// [`Error`] for sequences beyond the context or tokens beyond the vocabulary.
    ///
    /// # Panics
    /// If `gradient` is not as long as the weights.
    pub fn gradient(&self, batch: &Batch, total: f64, tape: &mut Tape, gradient: &mut [f32]) -> Result<f64, Error> {
        assert_eq!(self.weights.len(), gradient.len(), "Llama::gradient: length of the gradient");
        self.forward(batch.inputs(), batch.tokens(), tape)?;
        let loss = self.loss_and_its_gradient(batch, total, tape, gradient)?;
        self.backward(batch, tape, gradient);
        Ok(loss)
    }

    /// The loss of `batch` without its gradient: the weighted mean negative log-likelihood in nats.
    ///
    /// # Errors
    /// As [`gradient`](Self::gradient).
    pub fn loss(&self, batch: &Batch, tape: &mut Tape) -> Result<f64, Error> {
        self.check(batch.targets(), batch.tokens())?;
        let mut loss = 0.0;
        self.for_logits(batch.inputs(), batch.tokens(), tape, &mut |first, logits| {
            let rows = first..first + logits.nrows();
            let logits = logits.to_slice().expect("blocks of logits are contiguous");
            loss += cross_entropy(self.isa, logits, &batch.targets()[rows.clone()], &batch.weights()[rows]);
        })?;
        Ok(loss / batch.weight())
    }

    /// Calls `f(first, logits)` for consecutive blocks of rows of `inputs`, sequences of `tokens`.
    ///
    /// # Errors
    /// As [`gradient`](Self::gradient).
    pub fn for_logits(
        &self,
        inputs: &[u32],
        tokens: usize,
        tape: &mut Tape,
        f: &mut dyn FnMut(usize, ArrayView2<'_, f32>),
    ) -> Result<(), Error> {
        self.forward(inputs, tokens, tape)?;
        let (d, vocabulary) = (self.config.hidden, self.config.vocab_size);
        let embedding = matrix(&self.weights[self.places.embedding.clone()], d);
        for (block, x) in tape.normed.chunks(LOGIT_ROWS * d).enumerate() {
            let logits = &mut tape.logits[..x.len() / d * vocabulary];
            linear(matrix(x, d), embedding, matrix_mut(logits, vocabulary));
            f(block * LOGIT_ROWS, matrix(logits, vocabulary));
        }
        Ok(())
    }

    fn check(&self, ids: &[u32], tokens: usize) -> Result<(), Error> {
        let LlamaConfig { vocab_size: vocabulary, context, .. } = self.config;
        if tokens == 0 || tokens > context {
            return Err(Error::Context { tokens, context });
        }
        if ids.is_empty() || !ids.len().is_multiple_of(tokens) {
            return Err(Error::Batch { what: "tokens", got: ids.len(), rows: ids.len().div_ceil(tokens), tokens });
        }
        match ids.iter().position(|t| *t as usize >= vocabulary) {
            Some(position) => Err(Error::Token { token: ids[position], position, vocabulary }),
            None => Ok(()),
        }
    }

    fn forward(&self, inputs: &[u32], tokens: usize, tape: &mut Tape) -> Result<(), Error> {
        self.check(inputs, tokens)?;
        let c = &self.config;
        tape.fit(c, inputs.len() / tokens, tokens);
        let embedding = &self.weights[self.places.embedding.clone()];
        let first = tape.layers.first_mut().map_or(&mut tape.last, |layer| &mut layer.x);
        for (x, id) in first.chunks_exact_mut(c.hidden).zip(inputs) {
            x.copy_from_slice(&embedding[*id as usize * c.hidden..][..c.hidden]);
        }
        for i in 0..c.layers {
            let (done, rest) = tape.layers.split_at_mut(i + 1);
            let next = rest.first_mut().map_or(&mut tape.last, |layer| &mut layer.x);
            self.forward_layer(i, tokens, &mut done[i], next);
        }
        rms_norm(self.isa, &tape.last, &self.weights[self.places.norm.clone()], c.rms_eps, &mut tape.normed);
        Ok(())
    }

    fn forward_layer(&self, i: usize, tokens: usize, t: &mut LayerTape, next: &mut [f32]) {
        let (c, at, heads) = (&self.config, &self.places.layers[i], self.config.attention());
        let w = |range: &std::ops::Range<usize>| &self.weights[range.clone()];
        let (d, wide) = (c.hidden, heads.qkv_width());
        rms_norm(self.isa, &t.x, w(&at.attention_norm), c.rms_eps, &mut t.normed);
        linear(matrix(&t.normed, d), matrix(w(&at.qkv), d), matrix_mut(&mut t.qkv, wide));
        self.rope.rotate(&mut t.qkv, wide, heads.heads + heads.kv_heads, tokens);
        attention(self.isa, heads, tokens, &t.qkv, &mut t.p, &mut t.attended);
        t.mid.copy_from_slice(&t.x);
        let out = matrix(w(&at.out), heads.width()).reversed_axes();
        matmul(1.0, matrix(&t.attended, heads.width()), out, true, matrix_mut(&mut t.mid, d));
        rms_norm(self.isa, &t.mid, w(&at.ffn_norm), c.rms_eps, &mut t.mid_normed);
        linear(matrix(&t.mid_normed, d), matrix(w(&at.gate_up), d), matrix_mut(&mut t.gate_up, 2 * c.ffn));
        swiglu(self.isa, &t.gate_up, c.ffn, &mut t.hidden);
        next.copy_from_slice(&t.mid);
        let down = matrix(w(&at.down), c.ffn).reversed_axes();
        matmul(1.0, matrix(&t.hidden, c.ffn), down, true, matrix_mut(next, d));
    }

    /// Logits, loss and the gradient of the last norm's result, a block of rows at a time.
    fn loss_and_its_gradient(&self, batch: &Batch, total: f64, tape: &mut Tape, gradient: &mut [f32]) -> Result<f64, Error> {
        self.check(batch.targets(), batch.tokens())?;
        let (d, vocabulary) = (self.config.hidden, self.config.vocab_size);
        let at = self.places.embedding.clone();
        let (embedding, d_embedding) = (matrix(&self.weights[at.clone()], d), &mut gradient[at]);
        let mut loss = 0.0;
        let blocks = tape.normed.chunks(LOGIT_ROWS * d).zip(tape.d_normed.chunks_mut(LOGIT_ROWS * d));
        let wanted = batch.targets().chunks(LOGIT_ROWS).zip(batch.weights().chunks(LOGIT_ROWS));
        for ((x, dx), (targets, weights)) in blocks.zip(wanted) {
            let logits = &mut tape.logits[..targets.len() * vocabulary];
            linear(matrix(x, d), embedding, matrix_mut(logits, vocabulary));
            loss += cross_entropy_vjp(self.isa, logits, targets, weights, (1.0 / total) as f32);
            linear_vjp(matrix(x, d), embedding, matrix(logits, vocabulary), matrix_mut(dx, d), matrix_mut(d_embedding, d));
        }
        Ok(loss / total)
    }

    fn backward(&self, batch: &Batch, tape: &mut Tape, gradient: &mut [f32]) {
        let c = &self.config;
        let (norm, at) = (&self.weights[self.places.norm.clone()], self.places.norm.clone());
        rms_norm_vjp(self.isa, &tape.last, norm, c.rms_eps, &tape.d_normed, &mut tape.dx, &mut gradient[at]);
        for i in (0..c.layers).rev() {
            self.backward_layer(i, batch.tokens(), tape, gradient);
        }
        let d_embedding = &mut gradient[self.places.embedding.clone()];
        for (dx, id) in tape.dx.chunks_exact(c.hidden).zip(batch.inputs()) {
            add(&mut d_embedding[*id as usize * c.hidden..][..c.hidden], dx);
        }
    }

    fn backward_layer(&self, i: usize, tokens: usize, tape: &mut Tape, gradient: &mut [f32]) {
        let (c, at, heads) = (&self.config, &self.places.layers[i], self.config.attention());
        let w = |range: &std::ops::Range<usize>| &self.weights[range.clone()];
        let (d, wide, n) = (c.hidden, heads.qkv_width(), tape.dx.len() / c.hidden);
        let t = &tape.layers[i];

        let d_hidden = &mut tape.d_narrow[..n * c.ffn];
        let d_down = matrix_mut(&mut gradient[at.down.clone()], c.ffn);
        linear_vjp(matrix(&t.hidden, c.ffn), matrix(w(&at.down), c.ffn), matrix(&tape.dx, d), matrix_mut(d_hidden, c.ffn), d_down);
        let d_gate_up = &mut tape.d_wide[..n * 2 * c.ffn];
        swiglu_vjp(self.isa, &t.gate_up, c.ffn, d_hidden, d_gate_up);
        let (dy, d_gate_up_w) = (matrix(d_gate_up, 2 * c.ffn), matrix_mut(&mut gradient[at.gate_up.clone()], d));
        linear_vjp(matrix(&t.mid_normed, d), matrix(w(&at.gate_up), d), dy, matrix_mut(&mut tape.d_normed, d), d_gate_up_w);
        self.norm_into_stream(&t.mid, &at.ffn_norm, &tape.d_normed, &mut tape.d_wide, &mut tape.dx, gradient);

        let d_attended = &mut tape.d_narrow[..n * heads.width()];
        let d_out = matrix_mut(&mut gradient[at.out.clone()], heads.width());
        let (x, out) = (matrix(&t.attended, heads.width()), matrix(w(&at.out), heads.width()));
        linear_vjp(x, out, matrix(&tape.dx, d), matrix_mut(d_attended, heads.width()), d_out);
        let d_qkv = &mut tape.d_wide[..n * wide];
        attention_vjp(self.isa, heads, tokens, &t.qkv, &t.p, d_attended, d_qkv, &mut tape.scratch);
        self.rope.rotate_vjp(d_qkv, wide, heads.heads + heads.kv_heads, tokens);
        let (dy, d_qkv_w) = (matrix(d_qkv, wide), matrix_mut(&mut gradient[at.qkv.clone()], d));
        linear_vjp(matrix(&t.normed, d), matrix(w(&at.qkv), d), dy, matrix_mut(&mut tape.d_normed, d), d_qkv_w);
        self.norm_into_stream(&t.x, &at.attention_norm, &tape.d_normed, &mut tape.d_wide, &mut tape.dx, gradient);
    }

    /// The gradient through a norm, added to that of the residual stream beside it.
    fn norm_into_stream(
        &self,
        x: &[f32],
        at: &std::ops::Range<usize>,
        dy: &[f32],
        scratch: &mut [f32],
        dx: &mut [f32],
        gradient: &mut [f32],
    ) {
        let branch = &mut scratch[..dx.len()];
        rms_norm_vjp(self.isa, x, &self.weights[at.clone()], self.config.rms_eps, dy, branch, &mut gradient[at.clone()]);
        add(dx, branch);
    }
}

fn add(to: &mut [f32], x: &[f32]) {
    for (to, x) in to.iter_mut().zip(x) {
        *to += x;
    }
}
