//! What a checkpoint says of its quantization.

use crate::Error;
use serde_json::{Value, json};

/// How matrices are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// AutoGPTQ and GPTQModel: streams along the inputs. The first version stores zero points less 1.
    Gptq {
        /// Whether zero points are stored as they are.
        v2: bool,
    },
    /// AutoAWQ's "gemm": eight outputs in a word, in an order of its own. 4 bits.
    Awq,
    /// pack-quantized of compressed-tensors: streams along the inputs of a row.
    Packed {
        /// Whether codes cross from one word to the next where their width does not divide 32; absent if the file's shapes must tell.
        dense: Option<bool>,
    },
    /// int-quantized of compressed-tensors: bytes.
    Int8,
}

/// The quantization of a checkpoint, as its `config.json` has it under `quantization_config`.
///
/// ```
/// use scant_quant::checkpoint::{Format, Quantization};
/// let config = serde_json::json!({ "quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": false, "sym": true });
/// let q = Quantization::parse(&config)?;
/// assert_eq!((q.format, q.bits, q.group_size), (Format::Gptq { v2: false }, 4, Some(128)));
/// # Ok::<(), scant_quant::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantization {
    /// How matrices are packed.
    pub format: Format,
    /// Bits of a code: 2, 3, 4 or 8.
    pub bits: u32,
    /// Columns that share a scale; absent for one scale a row.
    pub group_size: Option<usize>,
    /// Whether there are no zero points but the middle of the range.
    pub symmetric: bool,
}

impl Quantization {
    /// Reads the object; one without `quant_method` is a `quantize_config.json` of GPTQ.
    ///
    /// # Errors
    /// [`Error::UnsupportedCheckpoint`] with what is not read.
    pub fn parse(config: &Value) -> Result<Quantization, Error> {
        match config.get("quant_method").and_then(Value::as_str).unwrap_or("gptq") {
            "gptq" => gptq(config),
            "awq" => awq(config),
            "compressed-tensors" => compressed(config),
            other => Err(unsupported(format!("quant_method {other}"), "gptq, awq and compressed-tensors are read")),
        }
    }

    /// The object that describes it in a `config.json`.
    pub fn to_json(&self) -> Value {
        let group = self.group_size.map_or(json!(-1), |g| json!(g));
        match self.format {
            Format::Gptq { v2 } => json!({
                "quant_method": "gptq", "bits": self.bits, "group_size": group, "sym": self.symmetric, "desc_act": false,
                "checkpoint_format": if v2 { "gptq_v2" } else { "gptq" },
            }),
            Format::Awq => json!({
                "quant_method": "awq", "bits": 4, "group_size": group, "zero_point": true, "version": "gemm", "modules_to_not_convert": null,
            }),
            Format::Packed { .. } | Format::Int8 => {
                let strategy = if self.group_size.is_some() { "group" } else { "channel" };
                let weights = json!({
                    "num_bits": self.bits, "type": "int", "symmetric": self.symmetric, "strategy": strategy, "group_size": self.group_size,
                });
                let format = if self.format == Format::Int8 { "int-quantized" } else { "pack-quantized" };
                json!({
                    "quant_method": "compressed-tensors", "format": format, "quantization_status": "compressed", "ignore": ["lm_head"],
                    "config_groups": { "group_0": { "targets": ["Linear"], "weights": weights } },
                })
            }
        }
    }
}

fn unsupported(kind: String, hint: &'static str) -> Error {
    Error::UnsupportedCheckpoint { kind, hint }
}

fn bits(value: Option<&Value>) -> Result<u32, Error> {
    match value.and_then(Value::as_u64) {
        Some(bits @ (2 | 3 | 4 | 8)) => Ok(bits as u32),
        _ => {
            let found = value.map_or("no number of bits".to_owned(), |v| format!("{v} bits"));
            Err(unsupported(found, "2, 3, 4 and 8 bits are read"))
        }
    }
}

/// A number of columns; -1, null and nothing mean the row.
fn group(value: Option<&Value>) -> Result<Option<usize>, Error> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(v) if v.as_i64() == Some(-1) => Ok(None),
        Some(v) => match v.as_u64().and_then(|g| usize::try_from(g).ok()).filter(|g| *g > 0) {
            Some(columns) => Ok(Some(columns)),
            None => Err(unsupported(format!("group_size {v}"), "a number of columns, or -1 for the row, is read")),
        },
    }
}

fn gptq(config: &Value) -> Result<Quantization, Error> {
    let v2 = match config.get("checkpoint_format").and_then(Value::as_str).unwrap_or("gptq") {
        "gptq" => false,
        "gptq_v2" => true,
        other => return Err(unsupported(format!("checkpoint_format {other}"), "gptq and gptq_v2 are read: convert it to one of them")),
    };
    let symmetric = config.get("sym").and_then(Value::as_bool).unwrap_or(true);
    Ok(Quantization {
        format: Format::Gptq { v2 },
        bits: bits(config.get("bits"))?,
        group_size: group(config.get("group_size"))?,
        symmetric,
    })
}

fn awq(config: &Value) -> Result<Quantization, Error> {
    let version = config.get("version").and_then(Value::as_str).unwrap_or("gemm");
    if !version.eq_ignore_ascii_case("gemm") {
        return Err(unsupported(format!("AWQ version {version}"), "gemm is read: convert it"));
    }
    let bits = bits(config.get("bits").or(config.get("w_bit")))?;
    if bits != 4 {
        return Err(unsupported(format!("AWQ of {bits} bits"), "4 bits are read"));
    }
    let group_size = group(config.get("group_size").or(config.get("q_group_size")))?;
    Ok(Quantization { format: Format::Awq, bits, group_size, symmetric: false })
}

fn compressed(config: &Value) -> Result<Quantization, Error> {
    let name = config.get("format").and_then(Value::as_str).unwrap_or("dense");
    let format = match name {
        "pack-quantized" => {
            // Up to 0.12 words held whole codes only; where the shapes do not tell, the version does.
            let version = config.get("version").and_then(Value::as_str).and_then(|v| {
                let mut parts = v.split('.').map(|p| p.parse::<u32>().ok());
                Some((parts.next()??, parts.next()??))
            });
            Format::Packed { dense: version.map(|v| v >= (0, 13)) }
        }
        "int-quantized" => Format::Int8,
        other => return Err(unsupported(format!("compressed-tensors format {other}"), "pack-quantized and int-quantized are read")),
    };
    let groups = config.get("config_groups").and_then(Value::as_object);
    let mut schemes = groups.into_iter().flat_map(|g| g.values()).filter_map(|g| g.get("weights")).filter(|w| !w.is_null());
    let Some(weights) = schemes.next() else {
        return Err(unsupported("compressed-tensors without a scheme for weights".to_owned(), "one is wanted under config_groups"));
    };
    if schemes.any(|other| other != weights) {
        return Err(unsupported("compressed-tensors with several schemes for weights".to_owned(), "one for all matrices is read"));
    }
    if weights.get("type").and_then(Value::as_str).unwrap_or("int") != "int" {
        return Err(unsupported(format!("weights of type {}", weights["type"]), "int is read"));
    }
    let group_size = match weights.get("strategy").and_then(Value::as_str) {
        Some("group") => group(weights.get("group_size"))?,
        Some("channel") => None,
        None => group(weights.get("group_size"))?,
        Some(other) => return Err(unsupported(format!("strategy {other}"), "group and channel are read")),
    };
    let bits = bits(weights.get("num_bits"))?;
    if format == Format::Int8 && bits != 8 {
        return Err(unsupported(format!("int-quantized of {bits} bits"), "8 bits are read"));
    }
    let symmetric = weights.get("symmetric").and_then(Value::as_bool).unwrap_or(true);
    Ok(Quantization { format, bits, group_size, symmetric })
}
