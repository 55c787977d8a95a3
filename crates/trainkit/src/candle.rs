//! The operations of [`ops`] as differentiable operations of candle: thin adapters that check shapes and copy results into tensors.
//!
//! Tensors are f32, on the CPU and contiguous. What the forward pass would have to keep is computed again for the gradient.
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! let x = Tensor::new(&[[1f32, 2.0]], &Device::Cpu)?;
//! let w = Var::new(&[[3f32, 4.0], [5.0, 6.0]], &Device::Cpu)?;
//! let y = scant_trainkit::candle::linear(&x, &w)?;
//! assert_eq!(y.to_vec2::<f32>()?, [[11.0, 17.0]]);
//! let gradients = y.sum_all()?.backward()?;
//! assert_eq!(gradients.get(&w).unwrap().to_vec2::<f32>()?, [[1.0, 2.0], [1.0, 2.0]]);
//! # Ok::<(), candle_core::Error>(())
//! ```

use crate::llama::{Llama, LlamaConfig};
use crate::ops::view::{matrix, matrix_mut};
use crate::ops::{self, Heads, Rope};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Device, Layout, Result, Shape, Tensor, Var, bail};
use scant_tensor_core::isa::Isa;
use std::sync::Arc;

/// `x W^T` for `x` `[n, in]` and `w` `[out, in]`.
///
/// # Errors
/// candle's, for shapes that disagree or a type other than f32.
pub fn linear(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    let ((_, i), (_, wi)) = (x.dims2()?, w.dims2()?);
    if i != wi {
        bail!("linear: rows of {i} values, weights for {wi}");
    }
    x.contiguous()?.apply_op2(&w.contiguous()?, LinearOp)
}

/// RMSNorm of the rows of `x` `[n, d]` with weights `w` `[d]`.
///
/// # Errors
/// As [`linear`].
pub fn rms_norm(x: &Tensor, w: &Tensor, eps: f32) -> Result<Tensor> {
    let ((_, d), wd) = (x.dims2()?, w.dims1()?);
    if d != wd {
        bail!("rms_norm: rows of {d} values, {wd} weights");
    }
    x.contiguous()?.apply_op2(&w.contiguous()?, RmsNormOp { eps })
}

/// SwiGLU of rows `gate | up`: `[n, 2 f]` to `[n, f]`.
///
/// # Errors
/// As [`linear`].
pub fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    if !gate_up.dims2()?.1.is_multiple_of(2) {
        bail!("swiglu: rows of {} values have no halves", gate_up.dims2()?.1);
    }
    gate_up.contiguous()?.apply_op1(SwigluOp)
}

/// Causal attention over rows `q | k | v`, sequences of `tokens` rows: rotary embedding, softmax, values; `[n, qkv_width]` to `[n, width]`.
///
/// # Errors
/// As [`linear`].
pub fn attention(qkv: &Tensor, heads: Heads, rope: &Arc<Rope>, tokens: usize) -> Result<Tensor> {
    let (n, wide) = qkv.dims2()?;
    if tokens == 0 || !n.is_multiple_of(tokens) || wide != heads.qkv_width() || tokens > rope.context() {
        bail!("attention: {n} rows of {wide} values, sequences of {tokens} of at most {}, {heads:?}", rope.context());
    }
    qkv.contiguous()?.apply_op1(AttentionOp { heads, rope: rope.clone(), tokens })
}

/// Weighted mean cross entropy of logits `[n, vocabulary]`, in nats.
///
/// # Errors
/// As [`linear`]; weights that add up to 0, targets beyond the vocabulary.
pub fn cross_entropy(logits: &Tensor, targets: &[u32], weights: &[f32]) -> Result<Tensor> {
    let (n, vocabulary) = logits.dims2()?;
    let total: f32 = weights.iter().sum();
    if n != targets.len() || n != weights.len() || targets.iter().any(|t| *t as usize >= vocabulary) || total <= 0.0 {
        bail!("cross_entropy: {n} rows of {vocabulary} logits, {} targets, {} weights of sum {total}", targets.len(), weights.len());
    }
    logits.contiguous()?.apply_op1(CrossEntropyOp { targets: targets.to_vec(), weights: weights.iter().map(|w| w / total).collect() })
}

/// A [`Llama`] as a graph of candle: slower than [`Llama::gradient`], but open to other losses and parts.
#[derive(Clone, Debug)]
pub struct LlamaGraph {
    config: LlamaConfig,
    rope: Arc<Rope>,
    embedding: Var,
    layers: Vec<[Var; 6]>,
    norm: Var,
}

impl LlamaGraph {
    /// The model's weights as variables; q, k, v and gate, up are one each.
    ///
    /// # Errors
    /// candle's.
    pub fn new(model: &Llama) -> Result<LlamaGraph> {
        let c = *model.config();
        let var = |names: &[&str], layer: Option<usize>| -> Result<Var> {
            let found = model.layout().iter().filter(|w| {
                names
                    .iter()
                    .any(|n| w.name == layer.map_or_else(|| format!("model.{n}.weight"), |i| format!("model.layers.{i}.{n}.weight")))
            });
            let (mut values, mut rows, mut columns) = (vec![], 0, None);
            for weight in found {
                values.extend_from_slice(&model.weights()[weight.range.clone()]);
                rows += weight.shape[0];
                columns = weight.shape.get(1).copied();
            }
            let shape = columns.map_or_else(|| Shape::from(rows), |c| Shape::from((rows, c)));
            Var::from_vec(values, shape, &Device::Cpu)
        };
        let layer = |i| -> Result<[Var; 6]> {
            Ok([
                var(&["input_layernorm"], Some(i))?,
                var(&["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], Some(i))?,
                var(&["self_attn.o_proj"], Some(i))?,
                var(&["post_attention_layernorm"], Some(i))?,
                var(&["mlp.gate_proj", "mlp.up_proj"], Some(i))?,
                var(&["mlp.down_proj"], Some(i))?,
            ])
        };
        Ok(LlamaGraph {
            config: c,
            rope: Arc::new(Rope::new(c.context, c.head_dim, c.rope_theta)),
            embedding: var(&["embed_tokens"], None)?,
            layers: (0..c.layers).map(layer).collect::<Result<_>>()?,
            norm: var(&["norm"], None)?,
        })
    }

    /// All variables, in the order of [`Llama::layout`] with those that are multiplied as one matrix as one.
    pub fn variables(&self) -> Vec<&Var> {
        [&self.embedding].into_iter().chain(self.layers.iter().flatten()).chain([&self.norm]).collect()
    }

    /// Logits `[n, vocabulary]` of `inputs`, sequences of `tokens`.
    ///
    /// # Errors
    /// candle's.
    pub fn logits(&self, inputs: &[u32], tokens: usize) -> Result<Tensor> {
        let (c, ids) = (&self.config, Tensor::from_slice(inputs, inputs.len(), &Device::Cpu)?);
        let mut x = self.embedding.index_select(&ids, 0)?;
        for [attention_norm, qkv, out, ffn_norm, gate_up, down] in &self.layers {
            let y = linear(&rms_norm(&x, attention_norm, c.rms_eps)?, qkv)?;
            x = (x + linear(&attention(&y, c.attention(), &self.rope, tokens)?, out)?)?;
            let y = linear(&rms_norm(&x, ffn_norm, c.rms_eps)?, gate_up)?;
            x = (x + linear(&swiglu(&y)?, down)?)?;
        }
        linear(&rms_norm(&x, &self.norm, c.rms_eps)?, &self.embedding)
    }
}

/// The values of a contiguous f32 tensor.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("the tensor of shape {:?} is not contiguous", layout.shape()),
    }
}

/// A copy of a tensor's values.
fn copy(x: &Tensor) -> Result<Vec<f32>> {
    match x.dtype() {
        DType::F32 => x.flatten_all()?.to_vec1(),
        other => bail!("f32 is wanted, the tensor is {other:?}"),
    }
}

fn tensor(values: Vec<f32>, like: &Tensor) -> Result<Option<Tensor>> {
    Ok(Some(Tensor::from_vec(values, like.shape(), &Device::Cpu)?))
}

struct LinearOp;

impl CustomOp2 for LinearOp {
    fn name(&self) -> &'static str {
        "scant-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((n, i), (o, _)) = (lx.shape().dims2()?, lw.shape().dims2()?);
        let mut y = vec![0.0; n * o];
        ops::linear(matrix(values(x, lx)?, i), matrix(values(w, lw)?, i), matrix_mut(&mut y, o));
        Ok((CpuStorage::F32(y), Shape::from((n, o))))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (i, o) = (x.dim(1)?, w.dim(0)?);
        let (mut dx, mut dw) = (vec![0.0; x.elem_count()], vec![0.0; w.elem_count()]);
        let (x_values, w_values, dy) = (copy(x)?, copy(w)?, copy(dy)?);
        ops::linear_vjp(matrix(&x_values, i), matrix(&w_values, i), matrix(&dy, o), matrix_mut(&mut dx, i), matrix_mut(&mut dw, i));
        Ok((tensor(dx, x)?, tensor(dw, w)?))
    }
}

struct RmsNormOp {
    eps: f32,
}

impl CustomOp2 for RmsNormOp {
    fn name(&self) -> &'static str {
        "scant-rms-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut y = vec![0.0; lx.shape().elem_count()];
        ops::rms_norm(Isa::best(), values(x, lx)?, values(w, lw)?, self.eps, &mut y);
        Ok((CpuStorage::F32(y), lx.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (mut dx, mut dw) = (vec![0.0; x.elem_count()], vec![0.0; w.elem_count()]);
        ops::rms_norm_vjp(Isa::best(), &copy(x)?, &copy(w)?, self.eps, &copy(dy)?, &mut dx, &mut dw);
        Ok((tensor(dx, x)?, tensor(dw, w)?))
    }
}

struct SwigluOp;

impl CustomOp1 for SwigluOp {
    fn name(&self) -> &'static str {
        "scant-swiglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, wide) = lx.shape().dims2()?;
        let mut y = vec![0.0; n * wide / 2];
        ops::swiglu(Isa::best(), values(x, lx)?, wide / 2, &mut y);
        Ok((CpuStorage::F32(y), Shape::from((n, wide / 2))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let mut dx = vec![0.0; x.elem_count()];
        ops::swiglu_vjp(Isa::best(), &copy(x)?, x.dim(1)? / 2, &copy(dy)?, &mut dx);
        tensor(dx, x)
    }
}

struct AttentionOp {
    heads: Heads,
    rope: Arc<Rope>,
    tokens: usize,
}

impl AttentionOp {
    /// The rotated input, the probabilities and the result.
    fn forward(&self, x: &[f32]) -> [Vec<f32>; 3] {
        let (heads, tokens) = (self.heads, self.tokens);
        let rows = x.len() / heads.qkv_width();
        let (mut qkv, mut p) = (x.to_vec(), vec![0.0; heads.probabilities(rows / tokens, tokens)]);
        let mut y = vec![0.0; rows * heads.width()];
        self.rope.rotate(&mut qkv, heads.qkv_width(), heads.heads + heads.kv_heads, tokens);
        ops::attention(Isa::best(), heads, tokens, &qkv, &mut p, &mut y);
        [qkv, p, y]
    }
}

impl CustomOp1 for AttentionOp {
    fn name(&self) -> &'static str {
        "scant-attention"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        let [_, _, y] = self.forward(values(x, lx)?);
        Ok((CpuStorage::F32(y), Shape::from((lx.shape().dims2()?.0, self.heads.width()))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let [qkv, p, _] = self.forward(&copy(x)?);
        let mut dx = vec![0.0; qkv.len()];
        ops::attention_vjp(Isa::best(), self.heads, self.tokens, &qkv, &p, &copy(dy)?, &mut dx, &mut vec![]);
        self.rope.rotate_vjp(&mut dx, self.heads.qkv_width(), self.heads.heads + self.heads.kv_heads, self.tokens);
        tensor(dx, x)
    }
}

struct CrossEntropyOp {
    targets: Vec<u32>,
    weights: Vec<f32>,
}

impl CustomOp1 for CrossEntropyOp {
    fn name(&self) -> &'static str {
        "scant-cross-entropy"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        let loss = ops::cross_entropy(Isa::best(), values(x, lx)?, &self.targets, &self.weights);
        Ok((CpuStorage::F32(vec![loss as f32]), Shape::from(())))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let mut dx = copy(x)?;
        ops::cross_entropy_vjp(Isa::best(), &mut dx, &self.targets, &self.weights, dy.to_scalar()?);
        tensor(dx, x)
    }
}
