//! Tokens to hidden states.

use super::kernels::{AddNorm, Gelu};
use super::{Batch, Encoder, EncoderPart, EncoderSite, Norm, attention};
use crate::forward::{fit, rows};
use crate::{Error, Path};
use ndarray::{Array2, ArrayView2, ArrayViewMut1, ArrayViewMut2};
use scant_tensor_core::{Ctx, Site};
use std::ops::Range;

/// Tokens that go through all blocks together: few enough for their activations to stay in the L2 cache, enough to share the weights.
pub(super) const GROUP_TOKENS: usize = 256;

/// Buffers of an encoder's forward pass, kept from one to the next. They hold a group of sequences, not the batch: some
/// `4 (7 hidden + ffn)` bytes for each of 256 tokens or of the longest sequence.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    /// The stream, `[rows, hidden]`.
    pub(super) x: Vec<f32>,
    qkv: Vec<f32>,
    attention: Vec<f32>,
    pub(super) part: Vec<f32>,
    inner: Vec<f32>,
    pub(super) site: scant_tensor_core::Workspace,
    buffers: attention::Buffers,
    pub(super) cuts: Vec<Range<usize>>,
    pub(super) sequences: Vec<Range<usize>>,
    pub(super) pooled: Vec<f32>,
}

/// What sees the input of each site, `[rows, inputs]`.
pub(super) type Tap<'t> = dyn FnMut(EncoderSite, ArrayView2<'_, f32>) -> Result<(), Error> + 't;

/// What is called with the numbers of the sequences of a group, their states in the workspace's `x`.
pub(super) type EachGroup<'f> = dyn FnMut(Range<usize>, &mut Workspace) -> Result<(), Error> + 'f;

impl Encoder {
    /// Hidden states of all tokens, `[tokens, hidden]`, sequence after sequence.
    ///
    /// On [`Path::Panel`] a sequence gets the same bits alone and in any batch, on any tier and number of threads. [`Path::Dense`] is the path for
    /// f32 weights in [`Mode::Exact`](scant_tensor_core::Mode), equal to rounding.
    ///
    /// # Errors
    /// [`Error::Context`] for a sequence with more tokens than the encoder has positions; [`Error::Token`].
    pub fn encode(&self, ctx: &Ctx<'_>, path: Path, batch: &Batch, ws: &mut Workspace) -> Result<Array2<f32>, Error> {
        let mut out = Array2::zeros((batch.tokens(), self.config.hidden));
        let mut rest = out.as_slice_mut().expect("a new array is contiguous");
        self.each_group(ctx, path, batch, ws, &mut |_, ws| {
            let (group, behind) = std::mem::take(&mut rest).split_at_mut(ws.x.len());
            group.copy_from_slice(&ws.x);
            rest = behind;
            Ok(())
        })?;
        Ok(out)
    }

    /// Runs groups of sequences and calls `f` with the numbers of the sequences of each, their states in `ws.x`.
    pub(super) fn each_group(
        &self,
        ctx: &Ctx<'_>,
        path: Path,
        batch: &Batch,
        ws: &mut Workspace,
        f: &mut EachGroup<'_>,
    ) -> Result<(), Error> {
        self.check(batch)?;
        for group in batch.groups(GROUP_TOKENS) {
            self.group(ctx, path, batch, group.clone(), ws, &mut |_, _| Ok(()))?;
            f(group, ws)?;
        }
        Ok(())
    }

    pub(super) fn check(&self, batch: &Batch) -> Result<(), Error> {
        let c = &self.config;
        if let Some(tokens) = batch.rows().map(|r| r.len()).find(|len| *len > c.positions) {
            return Err(Error::Context { tokens, context: c.positions });
        }
        match batch.ids().iter().find(|t| **t as usize >= c.vocabulary) {
            Some(token) => Err(Error::Token { token: *token, vocabulary: c.vocabulary }),
            None => Ok(()),
        }
    }

    /// All blocks over the sequences `group` of `batch`, which has been checked.
    pub(super) fn group(
        &self,
        ctx: &Ctx<'_>,
        path: Path,
        batch: &Batch,
        group: Range<usize>,
        ws: &mut Workspace,
        tap: &mut Tap<'_>,
    ) -> Result<(), Error> {
        let c = &self.config;
        let Workspace { x, qkv, attention, part, inner, site: site_ws, buffers, cuts, sequences, .. } = ws;
        sequences.clear();
        for i in group {
            let start = sequences.last().map_or(0, |s: &Range<usize>| s.end);
            let ids = batch.sequence(i);
            sequences.push(start..start + ids.len());
            fit(x, (start + ids.len()) * c.hidden);
            self.look_up(ids, &mut x[start * c.hidden..], part)?;
        }
        let n = x.len() / c.hidden;
        self.norm(ctx, cuts, x, &[], &self.norm);
        let run = Products { ctx, path };
        for (layer, block) in self.blocks.iter().enumerate() {
            let id = |part| EncoderSite::Block { layer, part };
            let mut product = |part: EncoderPart, x: &[f32], y: &mut [f32]| {
                let site = &block.sites[part as usize];
                tap(id(part), ArrayView2::from_shape((n, site.inputs()), x).expect("buffers are sized for their sites"))?;
                run.product(id(part), site, x, site_ws, y)
            };
            let (qkv, attention) = (fit(qkv, 3 * n * c.hidden), fit(attention, n * c.hidden));
            let (part, inner) = (fit(part, n * c.hidden), fit(inner, n * c.ffn));
            product(EncoderPart::Qkv, x, qkv)?;
            attention::attend(ctx, c.heads, sequences, qkv, buffers, attention);
            product(EncoderPart::Output, attention, part)?;
            self.norm(ctx, cuts, x, part, &block.attention_norm);
            product(EncoderPart::Intermediate, x, inner)?;
            rows(ctx, cuts, inner, c.ffn, |_, row| ctx.isa.run(Gelu(row)));
            product(EncoderPart::Down, inner, part)?;
            self.norm(ctx, cuts, x, part, &block.ffn_norm);
        }
        Ok(())
    }

    /// Sums of the three embeddings of each token, before their norm.
    fn look_up(&self, ids: &[u32], x: &mut [f32], row: &mut Vec<f32>) -> Result<(), Error> {
        let row = fit(row, self.config.hidden);
        for (position, (id, x)) in ids.iter().zip(x.chunks_exact_mut(self.config.hidden)).enumerate() {
            let at = |site, source| Error::EncoderSite { site, source };
            self.words.row(0, *id as usize, ArrayViewMut1::from(&mut *x)).map_err(|e| at(EncoderSite::Words, e))?;
            self.positions.row(0, position, ArrayViewMut1::from(&mut *row)).map_err(|e| at(EncoderSite::Positions, e))?;
            for ((x, position), kind) in x.iter_mut().zip(&*row).zip(&self.token_type) {
                *x += position + kind;
            }
        }
        Ok(())
    }

    /// `x = norm(x + part)`, row by row.
    pub(super) fn norm(&self, ctx: &Ctx<'_>, cuts: &mut Vec<Range<usize>>, x: &mut [f32], part: &[f32], norm: &Norm) {
        let (n, eps) = (self.config.hidden, self.config.norm_eps);
        rows(ctx, cuts, x, n, |row, x| {
            let part = if part.is_empty() { part } else { &part[row * n..(row + 1) * n] };
            ctx.isa.run(AddNorm { x, part, gain: &norm.gain, bias: &norm.bias, eps });
        });
    }
}

/// How products are computed.
pub(super) struct Products<'a> {
    pub(super) ctx: &'a Ctx<'a>,
    pub(super) path: Path,
}

impl Products<'_> {
    pub(super) fn product(
        &self,
        id: EncoderSite,
        site: &Site,
        x: &[f32],
        ws: &mut scant_tensor_core::Workspace,
        y: &mut [f32],
    ) -> Result<(), Error> {
        let n = x.len() / site.inputs();
        let x = ArrayView2::from_shape((n, site.inputs()), x).expect("buffers are sized for their sites");
        let y = ArrayViewMut2::from_shape((n, site.outputs()), y).expect("buffers are sized for their sites");
        let result = match self.path {
            Path::Panel => site.forward(self.ctx, x, ws, y),
            Path::Dense => site.forward_dense(self.ctx, x, ws, y),
        };
        result.map_err(|source| Error::EncoderSite { site: id, source })
    }
}
