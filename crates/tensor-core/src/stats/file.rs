//! Statistics of many sites in one container, kind `stats` (drawn in `docs/formats.md`).

use super::{SiteStats, row_start};
use crate::error::Error;
use crate::file::{File, FileError, Writer};
use std::collections::BTreeMap;
use std::path::Path;

const KIND: &str = "stats";
const VERSION: u32 = 1;

/// What a calibration pass learned: the statistics of each site by name, and where they come from.
///
/// ```
/// use ndarray::array;
/// use scant_tensor_core::stats::{ActivationStats, SiteStats, Statistic};
/// let mut site = SiteStats::new(2, Statistic::Gram.into())?;
/// site.observe(array![[1.0, -1.0]].view())?;
/// let mut all = ActivationStats::default();
/// all.about.insert("propagation".into(), "from-float".into());
/// all.sites.insert("layer 0".into(), site);
///
/// let path = std::env::temp_dir().join(format!("scant-stats-{}", std::process::id()));
/// all.save(&path)?;
/// assert_eq!(ActivationStats::open(&path)?, all);
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), scant_tensor_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActivationStats {
    /// By name of the site.
    pub sites: BTreeMap<String, SiteStats>,
    /// Model, text, propagation: whatever tells whether they fit a use.
    pub about: BTreeMap<String, String>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Parameters {
    about: BTreeMap<String, String>,
    sites: BTreeMap<String, Saved>,
}

/// Which tensors a site has besides `counts` and `sum`.
#[derive(serde::Serialize, serde::Deserialize)]
struct Saved {
    inputs: usize,
    gram: bool,
    abs: bool,
    sq: bool,
    norm: bool,
}

impl ActivationStats {
    /// Saves them through a temporary file.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let saved =
            |s: &SiteStats| Saved { inputs: s.n, gram: s.gram.is_some(), abs: s.abs.is_some(), sq: s.sq.is_some(), norm: s.norm.is_some() };
        let sites = self.sites.iter().map(|(name, s)| (name.clone(), saved(s))).collect();
        let mut writer = Writer::new(KIND, VERSION).parameters(&Parameters { about: self.about.clone(), sites })?;
        for (name, s) in &self.sites {
            let counts: Vec<u8> = [s.tokens, s.sequences].iter().flat_map(|x| x.to_le_bytes()).collect();
            writer.add(format!("{name}.counts"), crate::file::Dtype::F64, [2], counts)?;
            if let Some(gram) = &s.gram {
                writer.add_elements(format!("{name}.gram"), [gram.len()], gram)?;
            }
            for (part, vector) in [("sum", Some(&s.sum)), ("abs", s.abs.as_ref()), ("sq", s.sq.as_ref()), ("norm", s.norm.as_ref())] {
                if let Some(vector) = vector {
                    writer.add_elements(format!("{name}.{part}"), [s.n], vector)?;
                }
            }
        }
        Ok(writer.save(path)?)
    }

    /// Opens what was saved, and checks it.
    ///
    /// # Errors
    /// [`Error::File`] for a damaged or foreign file; [`Error`] for numbers that no pass can have gathered.
    pub fn open(path: impl AsRef<Path>) -> Result<ActivationStats, Error> {
        ActivationStats::from_file(&File::read(path)?)
    }

    /// As [`open`](Self::open), of a file that is open already.
    ///
    /// # Errors
    /// As there.
    pub fn from_file(file: &File) -> Result<ActivationStats, Error> {
        let Parameters { about, sites } = file.require_kind(KIND, VERSION)?.parameters()?;
        let sites = sites.into_iter().map(|(name, saved)| Ok((name.clone(), read_site(file, &name, &saved)?)));
        Ok(ActivationStats { sites: sites.collect::<Result<_, Error>>()?, about })
    }
}

fn read_site(file: &File, name: &str, saved: &Saved) -> Result<SiteStats, Error> {
    let n = saved.inputs;
    // Row starts up to here are computed without overflow; no file can be as long.
    if n == 0 || n > 1 << 31 {
        return Err(Error::Empty { what: format!("statistics of `{name}`"), shape: [n, n] });
    }
    let counts = numbers(file, &format!("{name}.counts"), 2, true)?;
    let vector = |there: bool, part: &str, positive| there.then(|| numbers(file, &format!("{name}.{part}"), n, positive)).transpose();
    let gram = if saved.gram { Some(triangle(file, &format!("{name}.gram"), n)?) } else { None };
    Ok(SiteStats {
        n,
        tokens: counts[0],
        sequences: counts[1],
        gram,
        sum: numbers(file, &format!("{name}.sum"), n, false)?,
        abs: vector(saved.abs, "abs", true)?,
        sq: vector(saved.sq, "sq", true)?,
        norm: vector(saved.norm, "norm", true)?,
    })
}

fn numbers(file: &File, name: &str, len: usize, positive: bool) -> Result<Vec<f64>, FileError> {
    let values = file.typed::<f64>(name, [len])?;
    match values.iter().position(|x| !x.is_finite() || (positive && *x < 0.0)) {
        None => Ok(values.to_vec()),
        Some(at) => Err(FileError::Value { tensor: name.to_owned(), at, value: values[at] }),
    }
}

fn triangle(file: &File, name: &str, n: usize) -> Result<Vec<f32>, FileError> {
    let values = file.typed::<f32>(name, [row_start(n)])?;
    let bad = |at: usize| FileError::Value { tensor: name.to_owned(), at, value: f64::from(values[at]) };
    if let Some(at) = values.iter().position(|x| !x.is_finite()) {
        return Err(bad(at));
    }
    match (0..n).map(|i| row_start(i) + i).find(|at| values[*at] < 0.0) {
        None => Ok(values.to_vec()),
        Some(at) => Err(bad(at)),
    }
}
