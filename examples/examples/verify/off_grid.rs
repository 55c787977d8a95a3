//! What moving a model off its grid does to its weights, and does not do to its logits.

use crate::{Result, SMOLLM2, smollm};
use ndarray::Array2;
use scant_eval::LanguageModel;
use scant_examples::data::real;
use scant_kvcache::KvType;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::team::Team;
use scant_tensor_core::{Ctx, Mode};
use scant_transformer::{Model, Options, Scorer, SiteId, open};

/// Weights of a block of the stored format, and how many values its codes can tell apart.
const BLOCK: usize = 32;
const VALUES: usize = 16;
/// Largest difference of a logit.
const NEAR: f32 = 2e-3;

pub(crate) fn run() -> Result<()> {
    let (stored, moved) = (open(real(SMOLLM2)?)?, smollm::off_grid()?);
    let (before, after) = (on_grid(&stored)?, on_grid(&moved)?);
    let window = &smollm::test(stored.tokenizer()?)?[0][..128];
    let (a, b) = (logits(&stored, window)?, logits(&moved, window)?);
    let largest = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!(
        "   blocks of {BLOCK} with at most {VALUES} values: {:.2} % as stored, {:.2} % moved; largest difference of a logit {largest:.1e}",
        100.0 * before,
        100.0 * after
    );
    if before < 0.9 || after > 0.01 {
        return Err(format!("{:.2} % and {:.2} % of blocks: above 90 % and below 1 % are wanted", 100.0 * before, 100.0 * after).into());
    }
    if largest.is_nan() || largest > NEAR {
        return Err(format!("logits differ by {largest}, at most {NEAR} is wanted").into());
    }
    Ok(())
}

/// Share of the blocks of all matrices but the head's that have few values.
fn on_grid(model: &Model) -> Result<f64> {
    let (mut few, mut all) = (0_u64, 0_u64);
    for site in model.sites().filter(|id| *id != SiteId::Head).map(|id| model.site(id)) {
        let mut row = vec![0.0; site.inputs()];
        for (i, linear) in site.linears().iter().enumerate() {
            for r in 0..linear.shape()[0] {
                site.row(i, r, ndarray::ArrayViewMut1::from(&mut row[..]))?;
                for block in row.chunks_exact(BLOCK) {
                    let mut bits: Vec<u32> = block.iter().map(|x| x.to_bits()).collect();
                    bits.sort_unstable();
                    bits.dedup();
                    few += u64::from(bits.len() <= VALUES);
                    all += 1;
                }
            }
        }
    }
    Ok(few as f64 / all as f64)
}

fn logits(model: &Model, tokens: &[u32]) -> Result<Array2<f32>> {
    let team = Team::new(std::thread::available_parallelism()?.get());
    let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &team };
    let mut all = Array2::zeros((tokens.len(), model.config().vocabulary));
    Scorer::new(model, ctx, Options { kv: KvType::F32, ..Options::default() })?.for_logits(tokens, &mut |first, logits| {
        all.slice_mut(ndarray::s![first..first + logits.nrows(), ..]).assign(&logits);
    })?;
    Ok(all)
}
