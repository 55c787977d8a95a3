//! One pass of calibration text through a model: what the inputs of its sites are like.

use crate::hidden::Hidden;
use crate::{Error, Model, SiteId, SiteKind};
use scant_tensor_core::progress::Progress;
use scant_tensor_core::stats::{ActivationStats, StatSet};
use scant_tensor_core::team::Team;

/// Statistics of the inputs of every site, the head's included, over `sequences` of token ids run through `model` as it is. Named by
/// [`SiteId`]s; `about` tells the propagation and the numbers of sequences and tokens. Empty sequences are passed over.
///
/// Block by block over all sequences, so memory is 4 bytes for each token and hidden number besides the statistics: with a Gram matrix
/// `2 n (n + 1)` bytes a site of `n` inputs. Products of the model run on `team`, those of the Gram matrices on the current pool of `rayon`;
/// any number of threads in either gives the same bits.
///
/// # Errors
/// [`Error::NoTokens`], [`Error::Token`] and [`Error::Context`] for sequences that are not the model's; [`Error::Cancelled`]; [`Error::Site`] at
/// the first input that is not finite.
pub fn calibrate(
    model: &Model,
    sequences: &[Vec<u32>],
    needs: StatSet,
    team: &Team,
    progress: &dyn Progress,
) -> Result<ActivationStats, Error> {
    let mut hidden = Hidden::new(model, sequences, team)?;
    let mut all = ActivationStats::default();
    let total = model.blocks().len() as u64;
    for (layer, block) in model.blocks().iter().enumerate() {
        let ids = SiteKind::ALL.map(|kind| SiteId::Block { layer, kind }.to_string());
        if progress.cancelled() {
            return Err(Error::Cancelled { before: ids[0].clone() });
        }
        progress.step(layer as u64, total, &ids[0]);
        all.sites.extend(ids.into_iter().zip(hidden.pass(layer, block, needs)?));
    }
    all.sites.insert(SiteId::Head.to_string(), hidden.head(needs)?);
    progress.step(total, total, &SiteId::Head.to_string());
    let tokens: usize = sequences.iter().map(Vec::len).sum();
    let about = [
        ("propagation", "from-float".to_owned()),
        ("sequences", sequences.iter().filter(|s| !s.is_empty()).count().to_string()),
        ("tokens", tokens.to_string()),
    ];
    all.about.extend(about.map(|(key, value)| (key.to_owned(), value)));
    Ok(all)
}
