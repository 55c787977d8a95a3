//! Compression methods by name.

use scant_lowrank::Factorize;
use scant_quant::gguf::BlockType;
use scant_quant::{Aqlm, Awq, Blocks, Gptq, Hqq, Rtn, Spqr};
use scant_tensor_core::compress::{BiasFix, Compress, Keep};
use scant_tensor_core::format::DenseType;

/// Methods compared where none are named.
pub const DEFAULT: [&str; 7] = ["rtn-8-g64", "rtn-4-g64", "gptq-4-g64", "rtn-3-g64", "gptq-3-g64", "rtn-2-g64", "gptq-2-g64"];

/// The methods of a name such as `rtn-8-g64`, `gptq-3-g128-act` or `q4_k`; several in a row are joined by `+`, each on what the ones before it
/// left over: `rtn-3-g64+eora-b0.25+bias`.
///
/// # Errors
/// A sentence with the name and what is wrong with it.
///
/// ```
/// use scant_examples::method::methods;
/// assert_eq!(methods("gptq-3-g64-act")?[0].name(), "gptq-3-g64-act");
/// assert_eq!(methods("q4_k-plain")?[0].name(), "q4_k-plain");
/// assert_eq!(methods("rtn-3-g64+eora-b0.25+bias")?.len(), 3);
/// assert!(methods("gptx-3").is_err());
/// # Ok::<(), String>(())
/// ```
pub fn methods(name: &str) -> Result<Vec<Box<dyn Compress>>, String> {
    name.split('+').map(method).collect()
}

fn method(name: &str) -> Result<Box<dyn Compress>, String> {
    match name.split('-').next() {
        Some("rtn") => Ok(Box::new(name.parse::<Rtn>().map_err(|e| e.to_string())?)),
        Some("gptq") => Ok(Box::new(name.parse::<Gptq>().map_err(|e| e.to_string())?)),
        Some("awq") => Ok(Box::new(name.parse::<Awq>().map_err(|e| e.to_string())?)),
        Some("hqq") => Ok(Box::new(name.parse::<Hqq>().map_err(|e| e.to_string())?)),
        Some("spqr") => Ok(Box::new(name.parse::<Spqr>().map_err(|e| e.to_string())?)),
        Some("aqlm") => Ok(Box::new(name.parse::<Aqlm>().map_err(|e| e.to_string())?)),
        Some("svd" | "asvd" | "svdllm" | "eora" | "lord") => Ok(Box::new(name.parse::<Factorize>().map_err(|e| e.to_string())?)),
        Some("bias") if name == "bias" => Ok(Box::new(BiasFix)),
        Some("f16") if name == "f16" => Ok(Box::new(Keep(DenseType::F16))),
        Some(ty) if ty.parse::<BlockType>().is_ok() => Ok(Box::new(name.parse::<Blocks>().map_err(|e| e.to_string())?)),
        _ => Err(format!(
            "method `{name}` is unknown: write rtn, gptq, awq, hqq or spqr, bits and group, such as gptq-4-g64; aqlm and codebooks, such as \
             aqlm-2x8-g8; a GGUF type such as q4_k; svd, asvd, svdllm, lord or eora and a size, such as eora-b0.25; bias; or several joined by +"
        )),
    }
}
