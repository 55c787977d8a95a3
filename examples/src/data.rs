//! Where the embedded model and real data are.

use scant_transformer::Model;
use std::path::{Path, PathBuf};

/// A beginning that suits the embedded model: it knows stories in which facts are stated and asked for.
pub const PROMPT: &str = "Listen well. Mira lives in Tarn. Jonas lives in Fenn. Now answer. Where does Mira live?";

/// The embedded model's folder in the repository.
pub fn embedded_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded")
}

/// Opens a model.
///
/// # Errors
/// A sentence with its path and what is wrong.
pub fn open(path: &Path) -> Result<Model, String> {
    scant_transformer::open(path).map_err(|e| {
        let (text, name) = (e.to_string(), path.display().to_string());
        // Some messages begin with it.
        if text.starts_with(&name) { text } else { format!("cannot open {}: {text}", shown(path)) }
    })
}

/// A path as one would type it here.
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok().and_then(|d| d.canonicalize().ok());
    let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let short = here.and_then(|here| full.strip_prefix(here).map(Path::to_owned).ok()).unwrap_or(full);
    short.display().to_string()
}

/// A file or folder below the one that the environment variable `SCANT_DATA` names.
///
/// # Errors
/// A sentence that says what the variable is for, or which file is missing.
pub fn real(path: &str) -> Result<PathBuf, String> {
    let Some(root) = std::env::var_os("SCANT_DATA") else {
        return Err(format!(
            "SCANT_DATA is not set: it names the folder with real models and data (models/*.gguf, wikitext-2/, stories260k/, reference/); \
             this check wants {path} from it"
        ));
    };
    let full = Path::new(&root).join(path);
    if full.exists() { Ok(full) } else { Err(format!("{} is missing: SCANT_DATA should hold {path}", full.display())) }
}
