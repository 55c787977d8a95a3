//! Methods applied to a whole model, block by block.

mod resume;

use crate::hidden::{Hidden, site_stats};
use crate::plain::Plain;
use crate::{Error, Model, SiteId, SiteKind};
use rayon::prelude::*;
use scant_tensor_core::Site;
use scant_tensor_core::compress::{Compress, LayerReport};
use scant_tensor_core::progress::Progress;
use scant_tensor_core::stats::{SiteStats, StatSet};
use scant_tensor_core::team::Team;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// What a site's statistics are gathered from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Propagation {
    /// The inputs that it has when everything before it is compressed already, site by site within a block too ("true sequential"): later
    /// sites make up for errors of the earlier ones.
    #[default]
    Sequential,
    /// The inputs that it has in the model as it was. One pass, and the sites of a block are fitted side by side.
    FromFloat,
}

impl fmt::Display for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Propagation::Sequential => "sequential",
            Propagation::FromFloat => "from-float",
        })
    }
}

impl FromStr for Propagation {
    type Err = Error;
    fn from_str(text: &str) -> Result<Propagation, Error> {
        match text {
            "sequential" => Ok(Propagation::Sequential),
            "from-float" => Ok(Propagation::FromFloat),
            _ => Err(Error::UnknownPropagation { text: text.to_owned() }),
        }
    }
}

/// What to do to a model.
pub struct CompressPlan {
    /// Applied in order to every site of every block.
    pub methods: Vec<Box<dyn Compress>>,
    /// The same for the head; empty leaves it as it is. Where the head is the embedding too, both change, after all statistics are gathered.
    pub head: Vec<Box<dyn Compress>>,
    /// Where statistics come from.
    pub propagation: Propagation,
    /// A folder in which each finished block is kept, so that an interrupted run goes on where it was.
    pub resume: Option<PathBuf>,
}

impl CompressPlan {
    /// Sequential, with the head left as it is and nothing kept for resumption.
    pub fn new(methods: Vec<Box<dyn Compress>>) -> CompressPlan {
        CompressPlan { methods, head: vec![], propagation: Propagation::Sequential, resume: None }
    }
}

impl fmt::Debug for CompressPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompressPlan")
            .field("methods", &names(&self.methods))
            .field("head", &names(&self.head))
            .field("propagation", &self.propagation)
            .field("resume", &self.resume)
            .finish()
    }
}

fn names(methods: &[Box<dyn Compress>]) -> Vec<String> {
    methods.iter().map(|m| m.name()).collect()
}

pub(crate) fn needs(methods: &[Box<dyn Compress>]) -> StatSet {
    methods.iter().fold(StatSet::NONE, |all, m| all.union(m.needs()))
}

/// Passes on the wish to stop, not the steps inside a site.
pub(crate) struct Quiet<'a>(pub(crate) &'a dyn Progress);

impl Progress for Quiet<'_> {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// The compressed model, and the reports of every site in the order of [`Model::sites`]: per site one for each method and matrix.
///
/// Methods that need no statistics run without `sequences` and without a forward pass. Otherwise the hidden states of all sequences are kept
/// (4 bytes for each token and hidden number, twice that if sequential) and taken through one block at a time, whose weights are expanded to
/// f32. The pass through blocks that [`CompressPlan::resume`] finds finished only moves the hidden states. Products of the model run on `team`,
/// fits on the current pool of `rayon`; any number of threads in either gives the same bits.
/// `progress` counts sites.
///
/// # Errors
/// [`Error::Fit`] of the first site that fails; [`Error::Cancelled`]; as [`calibrate`](crate::calibrate) for the sequences. With a folder to
/// resume from, [`Error::ResumeKey`] if methods, propagation, model, calibration or version of the crate differ from those that made its blocks,
/// and [`Error::Resume`] for a damaged block.
pub fn compress(
    model: &Model,
    sequences: &[Vec<u32>],
    plan: &CompressPlan,
    team: &Team,
    progress: &dyn Progress,
) -> Result<(Model, Vec<LayerReport>), Error> {
    let (block_needs, head_needs) = (needs(&plan.methods), needs(&plan.head));
    let layers = model.blocks().len();
    let mut driver = Driver { model, plan, progress, done: 0, out: model.clone(), reports: vec![] };
    let folder = plan.resume.as_ref().map(|path| resume::Folder::open(path, model, sequences, plan)).transpose()?;
    let resumed = match &folder {
        Some(folder) => driver.restore(folder)?,
        None => 0,
    };
    let needed = if resumed < layers { block_needs.union(head_needs) } else { head_needs };
    let mut hidden = if needed.is_empty() { None } else { Some(Hidden::new(model, sequences, team)?) };
    for layer in 0..resumed {
        if let Some(hidden) = &mut hidden {
            driver.check(SiteId::Block { layer, kind: SiteKind::Qkv })?;
            let seen = if plan.propagation == Propagation::Sequential { &driver.out } else { model };
            hidden.skip(layer, &seen.blocks()[layer])?;
        }
    }
    for layer in resumed..layers {
        let first = driver.reports.len();
        match (&mut hidden, plan.propagation) {
            (Some(hidden), Propagation::Sequential) => driver.sequential(layer, hidden, block_needs)?,
            (Some(hidden), Propagation::FromFloat) => {
                driver.begin(layer)?;
                let stats = hidden.pass(layer, &model.blocks()[layer], block_needs)?;
                driver.side_by_side(layer, stats)?;
            }
            (None, _) => {
                driver.begin(layer)?;
                let unseen = |kind| {
                    let id = SiteId::Block { layer, kind };
                    site_stats(id, model.site(id), StatSet::NONE)
                };
                driver.side_by_side(layer, SiteKind::ALL.into_iter().map(unseen).collect::<Result<_, _>>()?)?;
            }
        }
        if let Some(folder) = &folder {
            folder.save(layer, &driver.out, &driver.reports[first..])?;
        }
    }
    if !plan.head.is_empty() {
        driver.announce(SiteId::Head)?;
        let stats = match &mut hidden {
            Some(hidden) => hidden.head(head_needs)?,
            None => site_stats(SiteId::Head, model.site(SiteId::Head), StatSet::NONE)?,
        };
        let fitted = driver.fit(SiteId::Head, &stats, &plan.head)?;
        driver.put(SiteId::Head, fitted)?;
    }
    progress.step(driver.done, driver.total(), "done");
    Ok((driver.out, driver.reports))
}

/// The work on one model.
struct Driver<'a> {
    model: &'a Model,
    plan: &'a CompressPlan,
    progress: &'a dyn Progress,
    /// Sites.
    done: u64,
    out: Model,
    reports: Vec<LayerReport>,
}

impl Driver<'_> {
    fn total(&self) -> u64 {
        (self.model.blocks().len() * SiteKind::ALL.len()) as u64 + u64::from(!self.plan.head.is_empty())
    }

    /// Puts the blocks that are finished already, as far as they go without a gap, and tells how many.
    fn restore(&mut self, folder: &resume::Folder) -> Result<usize, Error> {
        for layer in 0..self.model.blocks().len() {
            let Some((sites, reports)) = folder.load(layer)? else {
                return Ok(layer);
            };
            for (kind, site) in SiteKind::ALL.into_iter().zip(sites) {
                self.put(SiteId::Block { layer, kind }, (site, vec![]))?;
            }
            self.reports.extend(reports);
        }
        Ok(self.model.blocks().len())
    }

    fn check(&self, next: SiteId) -> Result<(), Error> {
        if self.progress.cancelled() { Err(Error::Cancelled { before: next.to_string() }) } else { Ok(()) }
    }

    fn announce(&self, id: SiteId) -> Result<(), Error> {
        self.check(id)?;
        self.progress.step(self.done, self.total(), &id.to_string());
        Ok(())
    }

    fn begin(&self, layer: usize) -> Result<(), Error> {
        self.announce(SiteId::Block { layer, kind: SiteKind::Qkv })
    }

    fn sequential(&mut self, layer: usize, hidden: &mut Hidden<'_>, needs: StatSet) -> Result<(), Error> {
        for kind in SiteKind::ALL {
            let id = SiteId::Block { layer, kind };
            self.announce(id)?;
            let stats = hidden.inputs(layer, &self.out.blocks()[layer], kind, needs)?;
            let fitted = self.fit(id, &stats, &self.plan.methods)?;
            self.put(id, fitted)?;
        }
        hidden.finish(layer, &self.out.blocks()[layer])
    }

    /// Fits all sites of a block at once. `stats` are in the order of [`SiteKind::ALL`].
    fn side_by_side(&mut self, layer: usize, stats: Vec<SiteStats>) -> Result<(), Error> {
        let sites: Vec<_> = SiteKind::ALL.into_iter().map(|kind| SiteId::Block { layer, kind }).zip(stats).collect();
        let fitted: Vec<_> = sites.par_iter().map(|(id, stats)| self.fit(*id, stats, &self.plan.methods)).collect();
        // In order, so that the error is that of the first site.
        sites.iter().zip(fitted).try_for_each(|((id, _), fitted)| self.put(*id, fitted?))
    }

    fn fit(&self, id: SiteId, stats: &SiteStats, methods: &[Box<dyn Compress>]) -> Result<(Site, Vec<LayerReport>), Error> {
        let weights = Plain::of(id, self.model.site(id))?.into_weights(self.model.matrix_names(id));
        Ok(scant_tensor_core::compress::compress(&id.to_string(), weights, stats, methods, &Quiet(self.progress))?)
    }

    fn put(&mut self, id: SiteId, (site, reports): (Site, Vec<LayerReport>)) -> Result<(), Error> {
        self.out.set_site(id, site)?;
        self.reports.extend(reports);
        self.done += 1;
        Ok(())
    }
}
