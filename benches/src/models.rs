//! The models that benches run: the embedded one always, real ones where `SCANT_DATA` names the folder that holds them.

use scant_transformer::{Error, Model, open};
use std::path::{Path, PathBuf};

/// Real models, below `SCANT_DATA`.
const REAL: [(&str, &str); 2] = [("smollm2", "models/smollm2-135m.gguf"), ("gemma3", "models/gemma-3-270m-q4_k_m.gguf")];

/// A model and where it came from.
pub struct Opened {
    /// A short name.
    pub name: &'static str,
    /// Its file or folder.
    pub path: PathBuf,
    /// The model.
    pub model: Model,
}

/// Opens them all; says what is left out for want of `SCANT_DATA`.
///
/// # Errors
/// The first model that cannot be opened.
pub fn all() -> Result<Vec<Opened>, Error> {
    let mut paths = vec![("embedded", Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded"))];
    match std::env::var_os("SCANT_DATA") {
        Some(root) => paths.extend(REAL.map(|(name, path)| (name, Path::new(&root).join(path)))),
        None => eprintln!("SCANT_DATA is not set: the embedded model alone; with it also {}", REAL.map(|(_, path)| path).join(", ")),
    }
    paths.into_iter().map(|(name, path)| Ok(Opened { name, model: open(&path)?, path })).collect()
}
