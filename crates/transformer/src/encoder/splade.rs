//! Sparse vectors over the vocabulary, without the matrix of logits.
//!
//! Formal et al. (2021), SPLADE with max pooling: the weight of a term is `log(1 + relu(max over positions of its logit))`. The maximum comes
//! first, then one logarithm per term; the bias is the same at all positions and is added in between.

use super::forward::{Products, Tap};
use super::kernels::Gelu;
use super::{Batch, Encoder, EncoderSite, Workspace};
use crate::forward::{fit, rows};
use crate::{Error, Path};
use ndarray::{ArrayView2, ArrayViewMut2};
use scant_tensor_core::isa::Level;
use scant_tensor_core::simd::{Simd, WithSimd};
use scant_tensor_core::{Ctx, Post, Prepared, Site, Wants};
use std::ops::Range;

/// Terms with weights above 0, in ascending order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseVector {
    /// Ids of the vocabulary.
    pub terms: Vec<u32>,
    /// As many weights.
    pub weights: Vec<f32>,
}

impl SparseVector {
    /// The sum of products over common terms.
    ///
    /// ```
    /// use scant_transformer::encoder::SparseVector;
    /// let a = SparseVector { terms: vec![2, 5], weights: vec![1.0, 0.5] };
    /// let b = SparseVector { terms: vec![3, 5], weights: vec![4.0, 2.0] };
    /// assert_eq!(a.dot(&b), 1.0);
    /// ```
    pub fn dot(&self, other: &SparseVector) -> f32 {
        let (mut i, mut sum) = (0, 0.0);
        for (term, weight) in self.terms.iter().zip(&self.weights) {
            i += other.terms[i..].partition_point(|t| t < term);
            if other.terms.get(i) == Some(term) {
                sum += weight * other.weights[i];
            }
        }
        sum
    }
}

/// Terms of a tile on the panel path.
const TILE: usize = 96;

impl Encoder {
    /// The sparse vector of each sequence. `[CLS]` and `[SEP]` count as positions and not as terms.
    ///
    /// The vocabulary goes through in tiles with a running maximum, so memory is `4 texts vocabulary` bytes for each group of about 256 tokens and
    /// the bits do not depend on the tiles.
    ///
    /// # Errors
    /// [`Error::NoHead`] if the encoder has no masked-language head; otherwise as [`Encoder::encode`] and [`Encoder::tokenizer`].
    pub fn splade(&self, ctx: &Ctx<'_>, path: Path, batch: &Batch, ws: &mut Workspace) -> Result<Vec<SparseVector>, Error> {
        self.splade_tiled(ctx, path, batch, ws, TILE)
    }

    /// The head's transform of `ws.x`, into `ws.part`: what the product with the vocabulary reads.
    pub(super) fn transform(&self, ctx: &Ctx<'_>, path: Path, ws: &mut Workspace, tap: &mut Tap<'_>) -> Result<(), Error> {
        let (head, decoder, _) = self.head()?;
        let hidden = self.config.hidden;
        let Workspace { x, part, site, cuts, .. } = ws;
        let part = fit(part, x.len());
        let rows_of = x.len() / hidden;
        let view = |x| ArrayView2::from_shape((rows_of, hidden), x).expect("whole rows");
        tap(EncoderSite::Transform, view(x))?;
        Products { ctx, path }.product(EncoderSite::Transform, &head.transform, x, site, part)?;
        rows(ctx, cuts, part, hidden, |_, row| ctx.isa.run(Gelu(row)));
        self.norm(ctx, cuts, part, &[], &head.norm);
        tap(decoder, view(part))
    }

    fn splade_tiled(&self, ctx: &Ctx<'_>, path: Path, batch: &Batch, ws: &mut Workspace, tile: usize) -> Result<Vec<SparseVector>, Error> {
        let (_, id, decoder) = self.head()?;
        let (first, last) = self.bounds()?;
        let vocabulary = self.config.vocabulary;
        let mut out = Vec::with_capacity(batch.len());
        let mut head_ws = HeadBuffers::default();
        self.each_group(ctx, path, batch, ws, &mut |_, ws| {
            self.transform(ctx, path, ws, &mut |_, _| Ok(()))?;
            let Workspace { part, sequences, pooled, .. } = ws;
            let most = fit(pooled, sequences.len() * vocabulary);
            let pool = MaxPool { ctx, site: decoder, sequences, tile };
            pool.run(path, part, &mut head_ws, most).map_err(|source| Error::EncoderSite { site: id, source })?;
            out.extend(most.chunks_exact(vocabulary).map(|most| sparse(most, [first, last])));
            Ok(())
        })?;
        Ok(out)
    }
}

/// Weights above 0 from the largest logits.
fn sparse(most: &[f32], left_out: [u32; 2]) -> SparseVector {
    let mut out = SparseVector::default();
    for (term, most) in (0..).zip(most) {
        if *most > 0.0 && !left_out.contains(&term) {
            out.terms.push(term);
            out.weights.push(most.ln_1p());
        }
    }
    out
}

/// What the head needs besides its result.
#[derive(Default)]
struct HeadBuffers {
    prepared: Prepared,
    site: scant_tensor_core::Workspace,
    /// Tokens of each sequence in blocks, a column after the other.
    blocks: Vec<f32>,
}

/// The largest output over the positions of each sequence, for each row of a site's one matrix.
struct MaxPool<'a> {
    ctx: &'a Ctx<'a>,
    site: &'a Site,
    sequences: &'a [Range<usize>],
    tile: usize,
}

impl MaxPool<'_> {
    /// `most` is `[sequences, rows of the matrix]`.
    fn run(&self, path: Path, x: &[f32], buffers: &mut HeadBuffers, most: &mut [f32]) -> Result<(), scant_tensor_core::Error> {
        let n = self.site.inputs();
        let x = ArrayView2::from_shape((x.len() / n, n), x).expect("whole rows");
        let most = ArrayViewMut2::from_shape((self.sequences.len(), self.site.outputs()), most).expect("callers size the buffer");
        let plain = *self.site.linears()[0].post() == Post::None;
        match (path, self.ctx.isa.level()) {
            (Path::Panel, _) => self.panels(x, buffers, most),
            // Terms behind a Post are no rows.
            (Path::Dense, _) if !plain => self.panels(x, buffers, most),
            (Path::Dense, Level::Avx512) => self.dense::<12, 2>(x, buffers, most),
            (Path::Dense, _) => self.dense::<6, 1>(x, buffers, most),
        }
    }

    /// Tile by tile through the site's own kernels.
    fn panels(
        &self,
        x: ArrayView2<'_, f32>,
        buffers: &mut HeadBuffers,
        most: ArrayViewMut2<'_, f32>,
    ) -> Result<(), scant_tensor_core::Error> {
        self.site.forward_tiles(self.ctx, x, &mut buffers.site, self.tile, most, |products, mut most| {
            for (rows, mut most) in self.sequences.iter().zip(most.rows_mut()) {
                let most = most.as_slice_mut().expect("rows are contiguous");
                most.fill(f32::NEG_INFINITY);
                for row in rows.clone() {
                    let products = products.row(row);
                    let products = products.to_slice().expect("rows are contiguous");
                    most.iter_mut().zip(products).for_each(|(most, x)| *most = if *x > *most { *x } else { *most });
                }
            }
        })
    }

    /// Rows of the matrix in panels of 16 lanes, `T` tokens at a time, the maxima in registers.
    fn dense<const T: usize, const P: usize>(
        &self,
        x: ArrayView2<'_, f32>,
        buffers: &mut HeadBuffers,
        most: ArrayViewMut2<'_, f32>,
    ) -> Result<(), scant_tensor_core::Error> {
        let (n, vocabulary) = (self.site.inputs(), self.site.outputs());
        let HeadBuffers { prepared, blocks, .. } = buffers;
        prepared.fill(self.ctx.isa, self.ctx.mode, self.site.pre(), Wants::default(), x)?;
        blocks.clear();
        let mut counts = vec![];
        for rows in self.sequences {
            for first in rows.clone().step_by(T) {
                let at = blocks.len();
                blocks.resize(at + n * T, 0.0);
                for t in 0..T {
                    // A spare place repeats the last token, which changes no maximum.
                    let row = prepared.row((first + t).min(rows.end - 1));
                    blocks[at + t..].iter_mut().step_by(T).zip(row).for_each(|(to, from)| *to = *from);
                }
            }
            counts.push(rows.len().div_ceil(T));
        }
        let step = self.tile.next_multiple_of(16 * P);
        let cuts: Vec<Range<usize>> = (0..vocabulary).step_by(step).map(|start| start..(start + step).min(vocabulary)).collect();
        let linear = &self.site.linears()[0];
        self.ctx.team.split(most, &cuts, |i, mut most| {
            let cut = &cuts[i];
            let mut rows = ndarray::Array2::<f32>::zeros((16 * P, n));
            let mut panels = vec![0.0; 16 * P * n];
            for first in cut.clone().step_by(16 * P) {
                let end = (first + 16 * P).min(cut.end);
                rows.fill(0.0);
                let mut some = rows.slice_axis_mut(ndarray::Axis(0), (0..end - first).into());
                linear.terms().iter().for_each(|t| t.op().add_rows(first..end, some.view_mut()));
                for (lane, row) in rows.rows().into_iter().enumerate() {
                    panels[lane..].iter_mut().step_by(16 * P).zip(row).for_each(|(to, from)| *to = *from);
                }
                let columns = first - cut.start..end - cut.start;
                let mut blocks = &blocks[..];
                for (count, mut most) in counts.iter().zip(most.rows_mut()) {
                    let (mine, rest) = blocks.split_at(count * n * T);
                    blocks = rest;
                    let most = &mut most.as_slice_mut().expect("rows are contiguous")[columns.clone()];
                    self.ctx.isa.run(Max::<'_, T, P> { blocks: mine, n, panels: &panels, most });
                    if let Some(bias) = linear.bias() {
                        most.iter_mut().zip(&bias[first..end]).for_each(|(most, b)| *most += b);
                    }
                }
            }
        });
        Ok(())
    }
}

/// The largest product of any token with `16 P` rows.
struct Max<'a, const T: usize, const P: usize> {
    /// `[blocks, n, T]`
    blocks: &'a [f32],
    n: usize,
    /// `[n, P, 16]`
    panels: &'a [f32],
    /// Up to `16 P`.
    most: &'a mut [f32],
}

/// A loop over the tokens of a block, written out: accumulators of a loop that is not unrolled would live in memory.
macro_rules! each {
    ($count:ident, |$t:ident| $body:block) => {
        each!($count, $t, $body, 0 1 2 3 4 5 6 7 8 9 10 11)
    };
    ($count:ident, $t:ident, $body:block, $($i:literal)*) => { $(
        if $i < $count {
            let $t = $i;
            $body
        }
    )* };
}

impl<const T: usize, const P: usize> WithSimd for Max<'_, T, P> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let panels = self.panels.as_chunks::<16>().0.as_chunks::<P>().0;
        let mut most = [s.splat(f32::NEG_INFINITY); P];
        for block in self.blocks.chunks_exact(self.n * T) {
            let mut acc = [[s.splat(0.0); P]; T];
            for (w, x) in panels.iter().zip(block.as_chunks::<T>().0) {
                let mut lanes = [s.splat(0.0); P];
                for (lane, w) in lanes.iter_mut().zip(w) {
                    *lane = s.load(w);
                }
                each!(T, |t| {
                    let x = s.splat(x[t]);
                    for (acc, lane) in acc[t].iter_mut().zip(&lanes) {
                        *acc = s.mul_add(*lane, x, *acc);
                    }
                });
            }
            each!(T, |t| {
                for (most, acc) in most.iter_mut().zip(&acc[t]) {
                    *most = s.max(*most, *acc);
                }
            });
        }
        for (most, out) in most.into_iter().zip(self.most.chunks_mut(16)) {
            let mut lanes = [0.0; 16];
            s.store(most, &mut lanes);
            out.copy_from_slice(&lanes[..out.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use scant_tensor_core::format::{Dense, DenseType};
    use scant_tensor_core::isa::Isa;
    use scant_tensor_core::rng::Rng;
    use scant_tensor_core::team::Team;
    use scant_tensor_core::{Linear, Mode, Pre};

    #[test]
    fn maxima_are_right_and_the_same_bits_for_every_tile_tier_and_team() {
        let (terms, n) = (203, 40);
        let mut rng = Rng::new(1);
        let w = Array2::from_shape_simple_fn((terms, n), || rng.normal());
        let bias: Vec<f32> = (0..terms).map(|_| rng.normal()).collect();
        let x = Array2::from_shape_simple_fn((45, n), || rng.normal());
        let linear = Linear::new(vec![Dense::new(w.view(), DenseType::F32).unwrap().into()], Post::None, Some(bias.clone())).unwrap();
        let site = Site::new(Pre::none(), vec![linear]).unwrap();
        let sequences = [0..1, 1..14, 14..45];
        let mut want = vec![];
        for rows in &sequences {
            for term in 0..terms {
                let dot = |row: usize| (0..n).map(|j| f64::from(x[[row, j]]) * f64::from(w[[term, j]])).sum::<f64>();
                want.push(rows.clone().map(dot).fold(f64::NEG_INFINITY, f64::max) + f64::from(bias[term]));
            }
        }
        for path in [Path::Dense, Path::Panel] {
            let mut first: Option<Vec<f32>> = None;
            for isa in Isa::available() {
                for (tile, threads) in [(1, 2), (16, 1), (48, 2), (100, 1), (4096, 2)] {
                    let ctx = Ctx { isa, mode: Mode::Exact, team: &Team::new(threads) };
                    let mut most = vec![f32::NAN; 3 * terms];
                    let pool = MaxPool { ctx: &ctx, site: &site, sequences: &sequences, tile };
                    pool.run(path, x.as_slice().unwrap(), &mut HeadBuffers::default(), &mut most).unwrap();
                    assert!(most.iter().zip(&want).all(|(got, want)| (f64::from(*got) - want).abs() < 1e-5), "{path}, {isa}, {tile}");
                    assert_eq!(*first.get_or_insert(most.clone()), most, "{path}, {isa}, tiles of {tile}");
                }
            }
        }
    }
}
