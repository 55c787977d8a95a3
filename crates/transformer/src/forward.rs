//! One block over rows of activations: what prompts, tokens and calibration have in common.

use crate::kernels::{Gate, RmsNorm, RmsNormInPlace, Rotate, Softcap};
use crate::model::Block;
use crate::{Config, Error, Model, Rope, SiteId, SiteKind};
use ndarray::{Array2, ArrayView2, ArrayView3, ArrayViewMut2, ShapeBuilder};
use scant_kvcache::{DenseLayer, KvLayer};
use scant_tensor_core::{Ctx, Site};
use std::ops::Range;

/// Rows of a task of the work between products.
const ROWS: usize = 8;

/// How the products of many rows are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Path {
    /// Straight from the compressed panels, as a token is decoded: the same bits for any number of rows.
    Panel,
    /// Matrices expanded tile by tile into f32 products: faster for long prompts in [`Mode::Exact`](scant_tensor_core::Mode), equal to
    /// rounding.
    #[default]
    Dense,
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Path::Panel => "panel",
            Path::Dense => "dense",
        })
    }
}

impl std::str::FromStr for Path {
    type Err = String;
    fn from_str(s: &str) -> Result<Path, String> {
        match s {
            "panel" => Ok(Path::Panel),
            "dense" => Ok(Path::Dense),
            _ => Err(format!("path `{s}` is unknown: choose panel or dense")),
        }
    }
}

/// Buffers of a forward pass, kept from one to the next so that decode does not allocate.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    normed: Vec<f32>,
    qkv: Vec<f32>,
    pub(crate) attention: Vec<f32>,
    part: Vec<f32>,
    gate_up: Vec<f32>,
    pub(crate) gated: Vec<f32>,
    site: scant_tensor_core::Workspace,
    kv: scant_kvcache::Workspace,
    angles: Vec<Angles>,
    /// What `angles` are for.
    ropes: (usize, Vec<Rope>),
    pub(crate) cuts: Vec<Range<usize>>,
}

/// Cosines and sines of a kind of rotary positions at consecutive positions, `[positions, head_dim / 2]`.
#[derive(Clone, Debug, Default)]
struct Angles {
    frequencies: Vec<f64>,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Scratch {
    /// What a cache's own work is done in.
    pub(crate) fn cache_workspace(&mut self) -> &mut scant_kvcache::Workspace {
        &mut self.kv
    }

    /// Makes the rotations of `positions`, for every kind that the model has.
    pub(crate) fn rotate_for(&mut self, config: &Config, positions: Range<usize>) {
        // Nothing keeps a caller from taking the same buffers to another model.
        if self.ropes.0 != config.head_dim || self.ropes.1 != config.ropes {
            self.ropes = (config.head_dim, config.ropes.clone());
            let kinds = config.ropes.iter();
            self.angles = kinds.map(|r| Angles { frequencies: r.frequencies(config.head_dim), ..Angles::default() }).collect();
        }
        for kind in &mut self.angles {
            kind.cos.clear();
            kind.sin.clear();
            for position in positions.clone() {
                for f in &kind.frequencies {
                    let (sin, cos) = (position as f64 * f).sin_cos();
                    kind.cos.push(cos as f32);
                    kind.sin.push(sin as f32);
                }
            }
        }
    }
}

/// Rows of a batch that are one sequence, and what holds its keys and values.
pub(crate) struct Sequence<'a> {
    pub(crate) rows: Range<usize>,
    pub(crate) cache: &'a mut dyn KvLayer,
}

/// A block and all it needs but buffers.
pub(crate) struct Run<'a> {
    pub(crate) ctx: &'a Ctx<'a>,
    pub(crate) path: Path,
    pub(crate) config: &'a Config,
}

/// `len` numbers of a buffer that grows as needed.
pub(crate) fn fit(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    buffer.resize(len, 0.0);
    buffer
}

/// Calls `f(row, x[row])` for each row of `width` numbers, rows shared out over the team.
pub(crate) fn rows(ctx: &Ctx<'_>, cuts: &mut Vec<Range<usize>>, x: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    let rows = x.len() / width;
    if rows < 2 * ROWS {
        return x.chunks_exact_mut(width).enumerate().for_each(|(row, x)| f(row, x));
    }
    cuts.clear();
    cuts.extend((0..rows).step_by(ROWS).map(|row| row * width..(row + ROWS).min(rows) * width));
    let all = ArrayViewMut2::from_shape((1, rows * width), x).expect("one row of everything");
    ctx.team.split(all, cuts, |task, mut part| {
        let part = part.as_slice_mut().expect("one row is contiguous");
        part.chunks_exact_mut(width).enumerate().for_each(|(i, x)| f(task * ROWS + i, x));
    });
}

impl Run<'_> {
    /// `y = site(x)`, `[rows, outputs]`.
    pub(crate) fn product(
        &self,
        id: SiteId,
        site: &Site,
        x: ArrayView2<'_, f32>,
        ws: &mut scant_tensor_core::Workspace,
        y: &mut [f32],
    ) -> Result<(), Error> {
        let y = ArrayViewMut2::from_shape((x.nrows(), site.outputs()), y).expect("callers size the buffer");
        let result = match self.path {
            Path::Panel => site.forward(self.ctx, x, ws, y),
            Path::Dense => site.forward_dense(self.ctx, x, ws, y),
        };
        result.map_err(|source| Error::Site { site: id, source })
    }

    /// Calls `f(row, x[row])` for each row of `width` numbers, rows shared out over the team.
    pub(crate) fn rows(&self, cuts: &mut Vec<Range<usize>>, x: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
        rows(self.ctx, cuts, x, width, f);
    }

    /// `out = norm(x)` row by row.
    pub(crate) fn norm(&self, cuts: &mut Vec<Range<usize>>, x: &[f32], gain: &[f32], out: &mut [f32]) {
        let width = gain.len();
        self.rows(cuts, out, width, |row, out| {
            self.ctx.isa.run(RmsNorm { x: &x[row * width..][..width], gain, eps: self.config.norm_eps, out });
        });
    }

    /// `x += norm(part)`, or `x += part` without a norm.
    fn add(&self, cuts: &mut Vec<Range<usize>>, x: &mut [f32], part: &mut [f32], gain: Option<&Vec<f32>>) {
        let width = self.config.hidden;
        if let Some(gain) = gain {
            let eps = self.config.norm_eps;
            self.rows(cuts, part, width, |_, x| self.ctx.isa.run(RmsNormInPlace { x, gain, eps }));
        }
        let part = &*part;
        self.rows(cuts, x, width, |row, x| x.iter_mut().zip(&part[row * width..]).for_each(|(x, p)| *x += p));
    }

    /// Norm and head over whole rows of the stream.
    pub(crate) fn head(&self, model: &Model, x: &[f32], scratch: &mut Scratch, logits: &mut [f32]) -> Result<(), Error> {
        let c = self.config;
        let Scratch { normed, site: ws, cuts, .. } = scratch;
        let normed = fit(normed, x.len());
        self.norm(cuts, x, model.norm(), normed);
        let view = ArrayView2::from_shape((x.len() / c.hidden, c.hidden), &*normed).expect("whole rows");
        self.product(SiteId::Head, model.site(SiteId::Head), view, ws, logits)?;
        if let Some(cap) = c.logit_softcap {
            self.rows(cuts, logits, c.vocabulary, |_, x| self.ctx.isa.run(Softcap { x, cap }));
        }
        Ok(())
    }

    /// One block over `x` `[rows, hidden]`, in place. `position(row)` counts from the first of the scratch's rotations. Calls `tap` with the
    /// input of each site.
    #[expect(clippy::too_many_arguments, reason = "what a block is made of, each of another kind")]
    pub(crate) fn block(
        &self,
        layer: usize,
        block: &Block,
        x: &mut [f32],
        sequences: &mut dyn Iterator<Item = Sequence<'_>>,
        position: &(dyn Fn(usize) -> usize + Sync),
        scratch: &mut Scratch,
        tap: &mut dyn FnMut(SiteId, ArrayView2<'_, f32>),
    ) -> Result<(), Error> {
        self.attend(layer, block, x, sequences, position, scratch, tap)?;
        self.output(layer, block, x, scratch, tap)?;
        self.gate(layer, block, x, scratch, tap)?;
        self.down(layer, block, x, scratch, tap)
    }

    /// The first part of a block: leaves what the heads gather in `scratch.attention`.
    #[expect(clippy::too_many_arguments, reason = "what a block is made of, each of another kind")]
    pub(crate) fn attend(
        &self,
        layer: usize,
        block: &Block,
        x: &[f32],
        sequences: &mut dyn Iterator<Item = Sequence<'_>>,
        position: &(dyn Fn(usize) -> usize + Sync),
        scratch: &mut Scratch,
        tap: &mut dyn FnMut(SiteId, ArrayView2<'_, f32>),
    ) -> Result<(), Error> {
        let c = self.config;
        let rows = x.len() / c.hidden;
        let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
        let Scratch { normed, qkv, attention, site: ws, kv: kv_ws, angles, cuts, .. } = scratch;
        let normed = fit(normed, rows * c.hidden);
        let qkv = fit(qkv, rows * (q + 2 * kv));
        let attention = fit(attention, rows * q);

        self.norm(cuts, x, &block.attention_norm, normed);
        self.apply(layer, block, SiteKind::Qkv, normed, ws, qkv, tap)?;
        let angles = &angles[c.layers[layer].rope];
        let half = c.head_dim / 2;
        self.rows(cuts, qkv, q + 2 * kv, |row, qkv| {
            let at = position(row) * half;
            let (cos, sin) = (&angles.cos[at..][..half], &angles.sin[at..][..half]);
            let (queries, rest) = qkv.split_at_mut(q);
            for (part, norm) in [(queries, &block.q_norm), (&mut rest[..kv], &block.k_norm)] {
                for head in part.chunks_exact_mut(c.head_dim) {
                    if let Some(gain) = norm {
                        self.ctx.isa.run(RmsNormInPlace { x: head, gain, eps: c.norm_eps });
                    }
                    self.ctx.isa.run(Rotate { head, cos, sin });
                }
            }
        });
        for sequence in sequences {
            let rows = sequence.rows;
            let qkv = &qkv[rows.start * (q + 2 * kv)..rows.end * (q + 2 * kv)];
            let view = |from: usize, heads: usize| {
                let shape = (rows.len(), heads, c.head_dim).strides((q + 2 * kv, c.head_dim, 1));
                ArrayView3::from_shape(shape, &qkv[from.min(qkv.len())..]).expect("rows hold all heads")
            };
            let out = ArrayViewMut2::from_shape((rows.len(), q), &mut attention[rows.start * q..rows.end * q]).expect("whole rows");
            sequence.cache.extend(self.ctx, [view(0, c.heads), view(q, c.kv_heads), view(q + kv, c.kv_heads)], kv_ws, out)?;
        }
        Ok(())
    }

    /// The second: adds the output of attention, from `scratch.attention`, to `x`.
    pub(crate) fn output(
        &self,
        layer: usize,
        block: &Block,
        x: &mut [f32],
        scratch: &mut Scratch,
        tap: &mut dyn FnMut(SiteId, ArrayView2<'_, f32>),
    ) -> Result<(), Error> {
        let Scratch { attention, part, site: ws, cuts, .. } = scratch;
        let part = fit(part, x.len());
        self.apply(layer, block, SiteKind::Output, attention, ws, part, tap)?;
        self.add(cuts, x, part, block.post_attention_norm.as_ref());
        Ok(())
    }

    /// The third: leaves the gated activations in `scratch.gated`.
    pub(crate) fn gate(
        &self,
        layer: usize,
        block: &Block,
        x: &[f32],
        scratch: &mut Scratch,
        tap: &mut dyn FnMut(SiteId, ArrayView2<'_, f32>),
    ) -> Result<(), Error> {
        let c = self.config;
        let rows = x.len() / c.hidden;
        let Scratch { normed, gate_up, gated, site: ws, cuts, .. } = scratch;
        let normed = fit(normed, x.len());
        let gate_up = fit(gate_up, rows * 2 * c.ffn);
        let gated = fit(gated, rows * c.ffn);
        self.norm(cuts, x, &block.ffn_norm, normed);
        self.apply(layer, block, SiteKind::GateUp, normed, ws, gate_up, tap)?;
        let gate_up = &*gate_up;
        self.rows(cuts, gated, c.ffn, |row, out| {
            let gate_up = &gate_up[row * 2 * c.ffn..][..2 * c.ffn];
            self.ctx.isa.run(Gate { gate_up, activation: c.activation, out });
        });
        Ok(())
    }

    /// The last: adds what comes of `scratch.gated` to `x`.
    pub(crate) fn down(
        &self,
        layer: usize,
        block: &Block,
        x: &mut [f32],
        scratch: &mut Scratch,
        tap: &mut dyn FnMut(SiteId, ArrayView2<'_, f32>),
    ) -> Result<(), Error> {
        let Scratch { gated, part, site: ws, cuts, .. } = scratch;
        let part = fit(part, x.len());
        self.apply(layer, block, SiteKind::Down, gated, ws, part, tap)?;
        self.add(cuts, x, part, block.post_ffn_norm.as_ref());
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "a site, where it is, and its buffers")]
    fn apply(
        &self,
        layer: usize,
        block: &Block,
        kind: SiteKind,
        x: &[f32],
        ws: &mut scant_tensor_core::Workspace,
        y: &mut [f32],
        tap: &mut dyn FnMut(SiteId, ArrayView2<'_, f32>),
    ) -> Result<(), Error> {
        let id = SiteId::Block { layer, kind };
        let site = block.site(kind);
        let x = ArrayView2::from_shape((x.len() / site.inputs(), site.inputs()), x).expect("buffers are sized for their sites");
        tap(id, x);
        self.product(id, site, x, ws, y)
    }
}

impl Model {
    /// Embeddings of `tokens`, `[tokens, hidden]`: what enters the first block.
    ///
    /// # Errors
    /// [`Error::Token`].
    pub fn embed(&self, tokens: &[u32]) -> Result<Array2<f32>, Error> {
        let mut x = Array2::zeros((tokens.len(), self.config().hidden));
        self.embed_into(tokens, x.as_slice_mut().expect("a new array is contiguous"))?;
        Ok(x)
    }

    pub(crate) fn embed_into(&self, tokens: &[u32], x: &mut [f32]) -> Result<(), Error> {
        let (c, embedding) = (self.config(), self.embedding());
        for (token, x) in tokens.iter().zip(x.chunks_exact_mut(c.hidden)) {
            if *token as usize >= c.vocabulary {
                return Err(Error::Token { token: *token, vocabulary: c.vocabulary });
            }
            let row = embedding.row(0, *token as usize, ndarray::ArrayViewMut1::from(&mut *x));
            row.map_err(|source| Error::Site { site: SiteId::Head, source })?;
            if c.embedding_scale != 1.0 {
                x.iter_mut().for_each(|x| *x *= c.embedding_scale);
            }
        }
        Ok(())
    }

    /// Runs block `layer` over `x` `[rows, hidden]` in place, for calibration: the rows are whole sequences of the given `lengths`, one after
    /// another, each attending to itself alone, in f32. `tap` gets the input of each site, `[rows, inputs]`, before it is applied.
    ///
    /// The buffers take some `4 (3 hidden + 2 q + 2 kv + 3 ffn)` bytes a row: give a few thousand rows at a time.
    ///
    /// # Errors
    /// [`Error::Lengths`] if the lengths do not make up the rows; [`Error::Context`] for a sequence that is too long; [`Error::Site`] if `x` has
    /// another width.
    ///
    /// # Panics
    /// If there is no such layer.
    #[expect(clippy::too_many_arguments, reason = "what a block is made of, each of another kind")]
    pub fn block(
        &self,
        ctx: &Ctx<'_>,
        path: Path,
        layer: usize,
        mut x: ArrayViewMut2<'_, f32>,
        lengths: &[usize],
        scratch: &mut Scratch,
        tap: &mut dyn FnMut(SiteId, ArrayView2<'_, f32>),
    ) -> Result<(), Error> {
        let c = self.config();
        let rows = x.nrows();
        let sum = lengths.iter().fold(0, |sum: usize, len| sum.saturating_add(*len));
        if sum != rows {
            return Err(Error::Lengths { lengths: sum, rows });
        }
        let site = SiteId::Block { layer, kind: SiteKind::Qkv };
        scant_tensor_core::Error::check_shape("stream", &[rows, c.hidden], x.shape()).map_err(|source| Error::Site { site, source })?;
        let longest = lengths.iter().copied().max().unwrap_or(0);
        if longest > c.context {
            return Err(Error::Context { tokens: longest, context: c.context });
        }
        if rows == 0 {
            return Ok(());
        }
        scratch.rotate_for(c, 0..longest);
        let lengths = || lengths.iter().filter(|len| **len > 0);
        let mut positions = Vec::with_capacity(rows);
        lengths().for_each(|len| positions.extend(0..*len));
        let mut caches =
            lengths().map(|_| DenseLayer::<f32>::new(c.geometry(layer)?).map_err(Error::from)).collect::<Result<Vec<_>, _>>()?;
        let mut end = 0;
        let mut sequences = lengths().zip(&mut caches).map(|(len, cache)| {
            end += len;
            Sequence { rows: end - len..end, cache }
        });
        let run = Run { ctx, path, config: c };
        let mut go = |x: &mut [f32]| run.block(layer, &self.blocks()[layer], x, &mut sequences, &|row| positions[row], scratch, tap);
        match x.as_slice_mut() {
            Some(x) => go(x),
            None => {
                let mut rows = x.as_standard_layout().into_owned();
                go(rows.as_slice_mut().expect("standard layout is contiguous"))?;
                x.assign(&rows);
                Ok(())
            }
        }
    }

    /// Logits `[rows, vocabulary]` of rows that the last block has left.
    ///
    /// # Errors
    /// [`Error::Site`] if `x` is not `[rows, hidden]`.
    pub fn logits(&self, ctx: &Ctx<'_>, path: Path, x: ArrayView2<'_, f32>, scratch: &mut Scratch) -> Result<Array2<f32>, Error> {
        let c = self.config();
        let shape = scant_tensor_core::Error::check_shape("stream", &[x.nrows(), c.hidden], x.shape());
        shape.map_err(|source| Error::Site { site: SiteId::Head, source })?;
        let x = x.as_standard_layout();
        let mut logits = Array2::zeros((x.nrows(), c.vocabulary));
        let out = logits.as_slice_mut().expect("a new array is contiguous");
        Run { ctx, path, config: c }.head(self, x.as_slice().expect("standard layout is contiguous"), scratch, out)?;
        Ok(logits)
    }
}
