//! Compression methods by name.

use scant_quant::gguf::BlockType;
use scant_quant::{Aqlm, Awq, Blocks, Gptq, Hqq, Rtn, Spqr};
use scant_tensor_core::compress::Compress;

/// Methods compared where none are named.
pub const DEFAULT: [&str; 7] = ["rtn-8-g64", "rtn-4-g64", "gptq-4-g64", "rtn-3-g64", "gptq-3-g64", "rtn-2-g64", "gptq-2-g64"];

/// The method of a name such as `rtn-8-g64`, `gptq-3-g128-act` or `q4_k`.
///
/// # Errors
/// A sentence with the name and what is wrong with it.
///
/// ```
/// use scant_examples::method::method;
/// assert_eq!(method("gptq-3-g64-act")?.name(), "gptq-3-g64-act");
/// assert_eq!(method("q4_k-plain")?.name(), "q4_k-plain");
/// assert!(method("gptx-3").is_err());
/// # Ok::<(), String>(())
/// ```
pub fn method(name: &str) -> Result<Box<dyn Compress>, String> {
    match name.split('-').next() {
        Some("rtn") => Ok(Box::new(name.parse::<Rtn>().map_err(|e| e.to_string())?)),
        Some("gptq") => Ok(Box::new(name.parse::<Gptq>().map_err(|e| e.to_string())?)),
        Some("awq") => Ok(Box::new(name.parse::<Awq>().map_err(|e| e.to_string())?)),
        Some("hqq") => Ok(Box::new(name.parse::<Hqq>().map_err(|e| e.to_string())?)),
        Some("spqr") => Ok(Box::new(name.parse::<Spqr>().map_err(|e| e.to_string())?)),
        Some("aqlm") => Ok(Box::new(name.parse::<Aqlm>().map_err(|e| e.to_string())?)),
        Some(ty) if ty.parse::<BlockType>().is_ok() => Ok(Box::new(name.parse::<Blocks>().map_err(|e| e.to_string())?)),
        _ => Err(format!(
            "method `{name}` is unknown: write rtn, gptq, awq, hqq or spqr, bits and group, such as gptq-4-g64, aqlm and codebooks, such as aqlm-2x8-g8, or a GGUF type such as q4_k"
        )),
    }
}
