//! The hidden states of all calibration sequences on their way through a model, and what its sites see of them.

use crate::forward::{Run, Scratch, Sequence, fit};
use crate::model::Block;
use crate::{Error, Model, Path, SiteId, SiteKind};
use ndarray::ArrayView2;
use scant_kvcache::DenseLayer;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::stats::{SiteStats, StatSet};
use scant_tensor_core::team::Team;
use scant_tensor_core::{Ctx, Mode, Site};
use std::ops::Range;

/// Rows that go through a block together; fixed, so sums do not depend on the number of threads.
const ROWS: usize = 1024;

/// Whole sequences that go through a block together.
struct Batch {
    rows: Range<usize>,
    lengths: Vec<usize>,
}

/// Hidden states `[tokens, hidden]` in front of a block or, between [`Hidden::inputs`] of its sites, inside it.
///
/// Holds 4 bytes for each token and hidden number, and while a block is fitted site by site as many for the outputs of its heads.
pub(crate) struct Hidden<'a> {
    model: &'a Model,
    ctx: Ctx<'a>,
    batches: Vec<Batch>,
    x: Vec<f32>,
    attention: Vec<f32>,
    normed: Vec<f32>,
    scratch: Scratch,
    tokens: usize,
}

impl<'a> Hidden<'a> {
    /// Embeds all sequences.
    pub(crate) fn new(model: &'a Model, sequences: &[Vec<u32>], team: &'a Team) -> Result<Hidden<'a>, Error> {
        let c = model.config();
        let tokens = sequences.iter().map(Vec::len).sum();
        if tokens == 0 {
            return Err(Error::NoTokens);
        }
        let mut batches: Vec<Batch> = vec![];
        let mut x = vec![0.0; tokens * c.hidden];
        let mut end = 0;
        for sequence in sequences.iter().filter(|s| !s.is_empty()) {
            let len = sequence.len();
            if len > c.context {
                return Err(Error::Context { tokens: len, context: c.context });
            }
            model.embed_into(sequence, &mut x[end * c.hidden..(end + len) * c.hidden])?;
            match batches.last_mut().filter(|b| b.rows.len() + len <= ROWS) {
                Some(batch) => {
                    batch.lengths.push(len);
                    batch.rows.end += len;
                }
                None => batches.push(Batch { rows: end..end + len, lengths: vec![len] }),
            }
            end += len;
        }
        let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team };
        let mut scratch = Scratch::default();
        scratch.rotate_for(c, 0..sequences.iter().map(Vec::len).max().unwrap_or(0));
        Ok(Hidden { model, ctx, batches, x, attention: vec![], normed: vec![], scratch, tokens })
    }

    /// Statistics of the inputs of all sites of `block`, in the order of [`SiteKind::ALL`], in one pass that leaves the states behind it.
    pub(crate) fn pass(&mut self, layer: usize, block: &Block, needs: StatSet) -> Result<Vec<SiteStats>, Error> {
        let mut stats = SiteKind::ALL.iter().map(|kind| new_stats(layer, *kind, block, needs)).collect::<Result<Vec<_>, _>>()?;
        let Hidden { model, ctx, batches, x, normed, scratch, .. } = self;
        let (run, c) = (Run { ctx, path: Path::Dense, config: model.config() }, model.config());
        for batch in batches.iter() {
            let x = &mut x[batch.rows.start * c.hidden..batch.rows.end * c.hidden];
            let mut see = |kind: SiteKind, x: &[f32]| observe(&mut stats[kind as usize], SiteId::Block { layer, kind }, x, &batch.lengths);
            let normed = fit(normed, x.len());
            run.norm(&mut scratch.cuts, x, &block.attention_norm, normed);
            see(SiteKind::Qkv, normed)?;
            attend(&run, layer, block, x, &batch.lengths, scratch)?;
            see(SiteKind::Output, &scratch.attention)?;
            run.output(layer, block, x, scratch, &mut |_, _| ())?;
            run.norm(&mut scratch.cuts, x, &block.ffn_norm, normed);
            see(SiteKind::GateUp, normed)?;
            run.gate(layer, block, x, scratch, &mut |_, _| ())?;
            see(SiteKind::Down, &scratch.gated)?;
            run.down(layer, block, x, scratch, &mut |_, _| ())?;
        }
        Ok(stats)
    }

    /// Statistics of the inputs of one site, where those before it may have changed since. To be called for each of [`SiteKind::ALL`] in order,
    /// then [`Hidden::finish`]: nothing but the product of gate and up is computed twice.
    pub(crate) fn inputs(&mut self, layer: usize, block: &Block, kind: SiteKind, needs: StatSet) -> Result<SiteStats, Error> {
        let mut stats = new_stats(layer, kind, block, needs)?;
        let id = SiteId::Block { layer, kind };
        let Hidden { model, ctx, batches, x, attention, normed, scratch, tokens } = self;
        let (run, c) = (Run { ctx, path: Path::Dense, config: model.config() }, model.config());
        let q = c.heads * c.head_dim;
        let attention = fit(attention, *tokens * q);
        for batch in batches.iter() {
            let x = &mut x[batch.rows.start * c.hidden..batch.rows.end * c.hidden];
            let attention = &mut attention[batch.rows.start * q..batch.rows.end * q];
            let normed = fit(normed, x.len());
            let input = match kind {
                SiteKind::Qkv => {
                    run.norm(&mut scratch.cuts, x, &block.attention_norm, normed);
                    &*normed
                }
                SiteKind::Output => {
                    attend(&run, layer, block, x, &batch.lengths, scratch)?;
                    attention.copy_from_slice(&scratch.attention);
                    attention
                }
                SiteKind::GateUp => {
                    fit(&mut scratch.attention, attention.len()).copy_from_slice(attention);
                    run.output(layer, block, x, scratch, &mut |_, _| ())?;
                    run.norm(&mut scratch.cuts, x, &block.ffn_norm, normed);
                    normed
                }
                SiteKind::Down => {
                    run.gate(layer, block, x, scratch, &mut |_, _| ())?;
                    &scratch.gated
                }
            };
            observe(&mut stats, id, input, &batch.lengths)?;
        }
        Ok(stats)
    }

    /// Leaves the states behind a block, after [`Hidden::inputs`] of its last site.
    pub(crate) fn finish(&mut self, layer: usize, block: &Block) -> Result<(), Error> {
        let Hidden { model, ctx, batches, x, scratch, .. } = self;
        let (run, c) = (Run { ctx, path: Path::Dense, config: model.config() }, model.config());
        for batch in batches.iter() {
            let x = &mut x[batch.rows.start * c.hidden..batch.rows.end * c.hidden];
            run.gate(layer, block, x, scratch, &mut |_, _| ())?;
            run.down(layer, block, x, scratch, &mut |_, _| ())?;
        }
        Ok(())
    }

    /// Moves the states through a block that nothing is to be learned from.
    pub(crate) fn skip(&mut self, layer: usize, block: &Block) -> Result<(), Error> {
        let Hidden { model, ctx, batches, x, scratch, .. } = self;
        let (run, c) = (Run { ctx, path: Path::Dense, config: model.config() }, model.config());
        for batch in batches.iter() {
            let x = &mut x[batch.rows.start * c.hidden..batch.rows.end * c.hidden];
            attend(&run, layer, block, x, &batch.lengths, scratch)?;
            run.output(layer, block, x, scratch, &mut |_, _| ())?;
            run.gate(layer, block, x, scratch, &mut |_, _| ())?;
            run.down(layer, block, x, scratch, &mut |_, _| ())?;
        }
        Ok(())
    }

    /// Statistics of the head's inputs, behind the last block.
    pub(crate) fn head(&mut self, needs: StatSet) -> Result<SiteStats, Error> {
        let Hidden { model, ctx, batches, x, normed, scratch, .. } = self;
        let (run, c) = (Run { ctx, path: Path::Dense, config: model.config() }, model.config());
        let mut stats = site_stats(SiteId::Head, model.site(SiteId::Head), needs)?;
        for batch in batches.iter() {
            let x = &x[batch.rows.start * c.hidden..batch.rows.end * c.hidden];
            let normed = fit(normed, x.len());
            run.norm(&mut scratch.cuts, x, model.norm(), normed);
            observe(&mut stats, SiteId::Head, normed, &batch.lengths)?;
        }
        Ok(stats)
    }
}

fn new_stats(layer: usize, kind: SiteKind, block: &Block, needs: StatSet) -> Result<SiteStats, Error> {
    site_stats(SiteId::Block { layer, kind }, block.site(kind), needs)
}

/// Nothing seen yet of a site's inputs.
pub(crate) fn site_stats(id: SiteId, site: &Site, needs: StatSet) -> Result<SiteStats, Error> {
    SiteStats::new(site.inputs(), needs).map_err(|source| Error::Site { site: id, source })
}

/// Adds the rows of each sequence on its own, as statistics over sequences want it.
fn observe(stats: &mut SiteStats, id: SiteId, x: &[f32], lengths: &[usize]) -> Result<(), Error> {
    let n = stats.inputs();
    let mut rest = x;
    for len in lengths {
        let (sequence, behind) = rest.split_at(len * n);
        let view = ArrayView2::from_shape((*len, n), sequence).expect("cut to whole rows");
        stats.observe(view).map_err(|source| Error::Site { site: id, source })?;
        rest = behind;
    }
    Ok(())
}

/// Attention of whole sequences, each in a cache that ends with the call.
fn attend(run: &Run<'_>, layer: usize, block: &Block, x: &[f32], lengths: &[usize], scratch: &mut Scratch) -> Result<(), Error> {
    let mut positions = Vec::with_capacity(x.len() / run.config.hidden);
    lengths.iter().for_each(|len| positions.extend(0..*len));
    let cache = |_| DenseLayer::<f32>::new(run.config.geometry(layer)?).map_err(Error::from);
    let mut caches = lengths.iter().map(cache).collect::<Result<Vec<_>, _>>()?;
    let mut end = 0;
    let mut sequences = lengths.iter().zip(&mut caches).map(|(len, cache)| {
        end += len;
        Sequence { rows: end - len..end, cache }
    });
    run.attend(layer, block, x, &mut sequences, &|row| positions[row], scratch, &mut |_, _| ())
}
