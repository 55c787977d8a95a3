//! Compression methods by name.

use scant_quant::{Gptq, Rtn};
use scant_tensor_core::compress::Compress;

/// Methods compared where none are named.
pub const DEFAULT: [&str; 7] = ["rtn-8-g64", "rtn-4-g64", "gptq-4-g64", "rtn-3-g64", "gptq-3-g64", "rtn-2-g64", "gptq-2-g64"];

/// The method of a name such as `rtn-8-g64` or `gptq-3-g128-act`.
///
/// # Errors
/// A sentence with the name and what is wrong with it.
///
/// ```
/// use scant_examples::method::method;
/// assert_eq!(method("gptq-3-g64-act")?.name(), "gptq-3-g64-act");
/// assert!(method("gptx-3").is_err());
/// # Ok::<(), String>(())
/// ```
pub fn method(name: &str) -> Result<Box<dyn Compress>, String> {
    match name.split('-').next() {
        Some("rtn") => Ok(Box::new(name.parse::<Rtn>().map_err(|e| e.to_string())?)),
        Some("gptq") => Ok(Box::new(name.parse::<Gptq>().map_err(|e| e.to_string())?)),
        _ => Err(format!("method `{name}` is unknown: write rtn or gptq, bits and group, such as gptq-4-g64")),
    }
}
