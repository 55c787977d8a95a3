//! Finished blocks in a folder, so that an interrupted run goes on where it was.

use super::CompressPlan;
use crate::plain::Plain;
use crate::{Error, Model, SiteId, SiteKind};
use scant_tensor_core::Site;
use scant_tensor_core::compress::LayerReport;
use scant_tensor_core::file::{Crc32c, File, FileError, Writer};
use scant_tensor_core::format::SiteDescriptor;
use std::path::{Path, PathBuf};

const KIND: &str = "compressed-block";
const VERSION: u32 = 1;

/// All that determines what becomes of a block. The same key, the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Key {
    methods: Vec<String>,
    propagation: String,
    model: String,
    calibration: String,
    version: String,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Parameters {
    key: Key,
    layer: usize,
    /// In the order of [`SiteKind::ALL`].
    sites: [SiteDescriptor; 4],
    reports: Vec<LayerReport>,
}

/// The sites of a block, in the order of [`SiteKind::ALL`], and their reports.
type Finished = (Vec<Site>, Vec<LayerReport>);

/// A folder of blocks that one key has made.
pub(super) struct Folder {
    path: PathBuf,
    key: Key,
}

impl Folder {
    /// Makes the folder if there is none.
    pub(super) fn open(path: &Path, model: &Model, sequences: &[Vec<u32>], plan: &CompressPlan) -> Result<Folder, Error> {
        std::fs::create_dir_all(path).map_err(|source| FileError::Io { action: "make", path: path.to_owned(), source })?;
        // Methods that see no statistics give the same whatever the text.
        let calibration = if super::needs(&plan.methods).is_empty() { "none".to_owned() } else { checksum_of(sequences).to_string() };
        let key = Key {
            methods: super::names(&plan.methods),
            propagation: plan.propagation.to_string(),
            model: model.checksum()?.to_string(),
            calibration,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Ok(Folder { path: path.to_owned(), key })
    }

    fn file(&self, layer: usize) -> PathBuf {
        self.path.join(format!("block-{layer}.safetensors"))
    }

    /// What was kept of a block; `None` if it is not there.
    pub(super) fn load(&self, layer: usize) -> Result<Option<Finished>, Error> {
        let path = self.file(layer);
        if !path.exists() {
            return Ok(None);
        }
        let read = || -> Result<(File, Parameters), FileError> {
            let file = File::read(&path)?;
            let parameters: Parameters = file.require_kind(KIND, VERSION)?.parameters()?;
            Ok((file, parameters))
        };
        let (file, saved) = read().map_err(|source| Error::Resume { path: path.clone(), source: Box::new(Error::File(source)) })?;
        self.compare(&saved.key)?;
        if saved.layer != layer {
            return Err(self.other("layer", saved.layer.to_string(), layer.to_string()));
        }
        let load = |(kind, descriptor)| {
            let id = SiteId::Block { layer, kind };
            let site = Site::load_from(&file, &id.to_string(), descriptor);
            let wrong = |source| Error::Resume { path: path.clone(), source: Box::new(Error::Site { site: id, source }) };
            site.map_err(wrong)
        };
        let sites = SiteKind::ALL.into_iter().zip(&saved.sites).map(load).collect::<Result<_, _>>()?;
        Ok(Some((sites, saved.reports)))
    }

    /// Keeps a block of `model` through a temporary file.
    pub(super) fn save(&self, layer: usize, model: &Model, reports: &[LayerReport]) -> Result<(), Error> {
        let mut writer = Writer::new(KIND, VERSION);
        let save = |kind| {
            let id = SiteId::Block { layer, kind };
            let saved = model.site(id).save_into(&mut writer, &id.to_string(), &model.matrix_names(id));
            saved.map_err(|source| Error::Site { site: id, source })
        };
        let [qkv, output, gate_up, down] = SiteKind::ALL.map(save);
        let sites = [qkv?, output?, gate_up?, down?];
        writer.parameters(&Parameters { key: self.key.clone(), layer, sites, reports: reports.to_vec() })?.save(self.file(layer))?;
        Ok(())
    }

    fn compare(&self, saved: &Key) -> Result<(), Error> {
        let list = |key: &Key| key.methods.join(" + ");
        let parts = [
            ("methods", list(saved), list(&self.key)),
            ("propagation", saved.propagation.clone(), self.key.propagation.clone()),
            ("model", saved.model.clone(), self.key.model.clone()),
            ("calibration", saved.calibration.clone(), self.key.calibration.clone()),
            ("version", saved.version.clone(), self.key.version.clone()),
        ];
        match parts.into_iter().find(|(_, saved, wanted)| saved != wanted) {
            None => Ok(()),
            Some((what, saved, wanted)) => Err(self.other(what, saved, wanted)),
        }
    }

    fn other(&self, what: &'static str, saved: String, wanted: String) -> Error {
        Error::ResumeKey { folder: self.path.clone(), what, saved, wanted }
    }
}

fn checksum_of(sequences: &[Vec<u32>]) -> Crc32c {
    let numbers = |sum: Crc32c, s: &Vec<u32>| sum.append(&(s.len() as u64).to_le_bytes()).append(bytemuck::cast_slice(s));
    sequences.iter().fold(Crc32c::of(b""), numbers)
}

impl Model {
    /// Of the description and all numbers as they are computed with, one matrix in f32 at a time.
    fn checksum(&self) -> Result<Crc32c, Error> {
        let mut sum = Crc32c::of(format!("{:?}", self.config()).as_bytes());
        let embedding = self.own_embedding().map(|site| (SiteId::Head, site));
        for (id, site) in self.sites().map(|id| (id, self.site(id))).chain(embedding) {
            let plain = Plain::of(id, site)?;
            for (matrix, bias) in plain.matrices.iter().zip(&plain.biases) {
                sum = sum.append(bytemuck::cast_slice(matrix.as_slice().expect("made in row order")));
                sum = bias.iter().fold(sum, |sum, bias| sum.append(bytemuck::cast_slice(bias)));
            }
        }
        let gains = self.blocks().iter().flat_map(crate::model::Block::gains).map(|(_, gain)| gain).chain([self.norm()]);
        Ok(gains.fold(sum, |sum, gain| sum.append(bytemuck::cast_slice(gain))))
    }
}
