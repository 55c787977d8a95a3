//! Methods applied to a whole encoder.

use super::{Batch, Encoder, EncoderSite, Workspace};
use crate::compress::{Quiet, needs};
use crate::plain::Plain;
use crate::{Error, Path};
use rayon::prelude::*;
use scant_tensor_core::compress::{Compress, LayerReport};
use scant_tensor_core::isa::Isa;
use scant_tensor_core::progress::Progress;
use scant_tensor_core::stats::{ActivationStats, SiteStats, StatSet};
use scant_tensor_core::team::Team;
use scant_tensor_core::{Ctx, Mode, Site};
use std::fmt;

/// What to do to an encoder.
pub struct EncoderPlan {
    /// Applied in order to every site of every block, and to the head's transform.
    pub methods: Vec<Box<dyn Compress>>,
    /// The same for the tables of words and positions and the head's matrix; empty leaves them as they are. Only what the head multiplies with
    /// has inputs, so elsewhere methods that need statistics fail.
    pub tables: Vec<Box<dyn Compress>>,
}

impl fmt::Debug for EncoderPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |methods: &[Box<dyn Compress>]| methods.iter().map(|m| m.name()).collect::<Vec<_>>();
        f.debug_struct("EncoderPlan").field("methods", &names(&self.methods)).field("tables", &names(&self.tables)).finish()
    }
}

impl Encoder {
    /// Statistics of the inputs of every site that multiplies, over the sequences of `batch` run through the encoder as it is, by the names
    /// of [`EncoderSite`]s.
    ///
    /// Sums are gathered sequence by sequence in order, so any number of threads gives the same bits.
    ///
    /// # Errors
    /// As [`Encoder::encode`]; [`Error::EncoderSite`] at the first input that is not finite; [`Error::Cancelled`].
    pub fn calibrate(&self, batch: &Batch, needs: StatSet, team: &Team, progress: &dyn Progress) -> Result<ActivationStats, Error> {
        let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team };
        let mut all = ActivationStats::default();
        let mut ws = Workspace::default();
        self.check(batch)?;
        for group in batch.groups(super::forward::GROUP_TOKENS) {
            if progress.cancelled() {
                return Err(Error::Cancelled { before: format!("sequence {}", group.start) });
            }
            progress.step(group.start as u64, batch.len() as u64, "calibration");
            let lengths: Vec<usize> = group.clone().map(|i| batch.sequence(i).len()).collect();
            let mut see = |site: EncoderSite, x: ndarray::ArrayView2<'_, f32>| {
                let at = |source| Error::EncoderSite { site, source };
                let stats = match all.sites.entry(site.to_string()) {
                    std::collections::btree_map::Entry::Occupied(old) => old.into_mut(),
                    std::collections::btree_map::Entry::Vacant(new) => new.insert(SiteStats::new(x.ncols(), needs).map_err(at)?),
                };
                let mut start = 0;
                for len in &lengths {
                    stats.observe(x.slice_axis(ndarray::Axis(0), (start..start + len).into())).map_err(at)?;
                    start += len;
                }
                Ok(())
            };
            self.group(&ctx, Path::Dense, batch, group, &mut ws, &mut see)?;
            if self.has_head() {
                self.transform(&ctx, Path::Dense, &mut ws, &mut see)?;
            }
        }
        progress.step(batch.len() as u64, batch.len() as u64, "calibration");
        all.about.insert("sequences".to_owned(), batch.len().to_string());
        all.about.insert("tokens".to_owned(), batch.tokens().to_string());
        Ok(all)
    }

    /// The compressed encoder, and the reports of every site in the order of [`Encoder::sites`]: per site one for each method and matrix.
    ///
    /// Statistics are those of the encoder as it is over `calibration`; methods that need none do without. Sites are fitted side by side on
    /// the current pool of `rayon`, products run on `team`; any number of threads in either gives the same bits.
    ///
    /// ```no_run
    /// use scant_quant::Rtn;
    /// use scant_tensor_core::team::Team;
    /// use scant_transformer::encoder::{Encoder, EncoderPlan};
    /// let encoder = Encoder::open("all-MiniLM-L6-v2")?;
    /// let int8 = || vec![Box::new(Rtn::new(8, 32)) as Box<dyn scant_tensor_core::compress::Compress>];
    /// let plan = EncoderPlan { methods: int8(), tables: int8() };
    /// let (small, _) = encoder.compress(None, &plan, &Team::new(1), &())?;
    /// assert!(3 * small.footprint().total() < encoder.footprint().total());
    /// # Ok::<(), scant_transformer::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Fit`] of the first site that fails, a missing statistic included; otherwise as [`Encoder::calibrate`].
    pub fn compress(
        &self,
        calibration: Option<&Batch>,
        plan: &EncoderPlan,
        team: &Team,
        progress: &dyn Progress,
    ) -> Result<(Encoder, Vec<LayerReport>), Error> {
        let needs = needs(&plan.methods).union(needs(&plan.tables));
        let stats = match calibration.filter(|_| !needs.is_empty()) {
            Some(batch) => self.calibrate(batch, needs, team, progress)?,
            None => ActivationStats::default(),
        };
        let fit = |id: EncoderSite| {
            let table = matches!(id, EncoderSite::Words | EncoderSite::Positions | EncoderSite::Head);
            let methods = if table { &plan.tables } else { &plan.methods };
            let site = self.site(id).expect("one of the encoder's own");
            if methods.is_empty() {
                return Ok(None);
            }
            let at = |source| Error::EncoderSite { site: id, source };
            let weights = Plain::read(site).map_err(at)?.into_weights(self.matrix_names(id));
            let unseen = SiteStats::new(site.inputs(), StatSet::NONE).map_err(at)?;
            let stats = stats.sites.get(&id.to_string()).unwrap_or(&unseen);
            let fitted = scant_tensor_core::compress::compress(&id.to_string(), weights, stats, methods, &Quiet(progress))?;
            Ok::<Option<(Site, Vec<LayerReport>)>, Error>(Some(fitted))
        };
        let sites = self.sites();
        let fitted: Vec<_> = sites.par_iter().map(|id| fit(*id)).collect();
        let (mut out, mut reports) = (self.clone(), vec![]);
        // In order, so that the error is that of the first site.
        for (id, fitted) in sites.into_iter().zip(fitted) {
            if let Some((site, of_site)) = fitted? {
                out.set_site(id, site)?;
                reports.extend(of_site);
            }
        }
        Ok((out, reports))
    }
}
