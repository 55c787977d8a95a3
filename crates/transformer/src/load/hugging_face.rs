//! Tensors of a Hugging Face folder: `model.safetensors`, or shards named by an index.

use super::{Checkpoint, Matrix, always_biased, assemble, finite};
use crate::names::Part;
use crate::tokenizer::Tokenizer;
use crate::{Architecture, Config, Error, Model};
use half::{bf16, f16};
use ndarray::{Array2, ArrayView2};
use scant_quant::checkpoint::Quantization;
use scant_tensor_core::Term;
use scant_tensor_core::file::{Dtype, File, TensorView, Typed};
use scant_tensor_core::format::{Dense, DenseType};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const QUANTIZATION: &str = "quantization_config";
const SUPPORTED: &str = "F32, F16 and BF16";

/// Opens a folder with `config.json`.
pub(crate) fn from_folder(folder: &Path) -> Result<Model, Error> {
    let mut description = json(&folder.join("config.json"))?;
    // Where GPTQ used to describe itself.
    let beside = folder.join("quantize_config.json");
    if let Some(object) = description.as_object_mut()
        && object.get(QUANTIZATION).is_none_or(Value::is_null)
        && beside.exists()
    {
        object.insert(QUANTIZATION.to_owned(), json(&beside)?);
    }
    let config = Config::from_hugging_face(&description)?;
    let tensors = HuggingFace::new(&description, Tensors::of_folder(folder)?, config.architecture)?;
    assemble(config, &tensors, || Tokenizer::from_folder(folder))
}

/// The model of a Hugging Face folder whose files are open already, from memory for instance: what `config.json` says, the safetensors file
/// or its shards, and the tokenizer if there is one.
///
/// # Errors
/// Whatever is wrong with them, by name.
pub fn open_hugging_face(config: &Value, tensors: Vec<File>, tokenizer: Option<Tokenizer>) -> Result<Model, Error> {
    let description = config;
    let config = Config::from_hugging_face(description)?;
    let tensors = HuggingFace::new(description, Tensors(tensors), config.architecture)?;
    let none = || Error::NoTokenizer { looked_for: "none was given".to_owned() };
    assemble(config, &tensors, || tokenizer.ok_or_else(none))
}

pub(crate) fn json(path: &Path) -> Result<Value, Error> {
    let bytes = scant_tensor_core::file::Bytes::read(path)?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Json { path: path.to_owned(), source })
}

fn files(folder: &Path) -> Result<Vec<File>, Error> {
    let (whole, index) = (folder.join("model.safetensors"), folder.join("model.safetensors.index.json"));
    if whole.exists() {
        return Ok(vec![File::read(whole)?]);
    }
    if !index.exists() {
        let detail = "a folder without model.safetensors and model.safetensors.index.json".to_owned();
        return Err(Error::NotAModel { path: folder.to_owned(), detail });
    }
    let read = json(&index)?;
    let map = read.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| Error::MissingKey { key: format!("weight_map of {}", index.display()) })?;
    // An index may not lead out of the folder.
    let shards: Option<BTreeSet<&str>> = map.values().map(|v| v.as_str().filter(|s| is_file_name(s))).collect();
    let shards = shards.ok_or_else(|| Error::BadKey {
        key: "weight_map".to_owned(),
        value: "an entry".to_owned(),
        want: "each should be the name of a file in the folder".to_owned(),
    })?;
    shards.into_iter().map(|shard| Ok(File::read(folder.join(shard))?)).collect()
}

fn is_file_name(name: &str) -> bool {
    PathBuf::from(name).file_name().is_some_and(|f| f == name)
}

/// The tensors of a folder, by name.
pub(crate) struct Tensors(Vec<File>);

impl Tensors {
    pub(crate) fn of_folder(folder: &Path) -> Result<Tensors, Error> {
        files(folder).map(Tensors)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|f| f.contains(name))
    }

    fn find(&self, name: &str) -> Option<TensorView> {
        self.0.iter().find(|f| f.contains(name)).and_then(|f| f.tensor(name).ok())
    }

    /// A vector if it is there.
    pub(crate) fn vector(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>, Error> {
        let Some(tensor) = self.find(name) else {
            return Ok(None);
        };
        check(&tensor, &[len])?;
        finite(name, tensor.to_f32()?).map(Some)
    }

    /// A matrix in the type that it is stored in.
    pub(crate) fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<Term, Error> {
        let tensor = self.find(name).ok_or_else(|| Error::MissingTensor { name: name.to_owned() })?;
        check(&tensor, &shape)?;
        let dense = match tensor.dtype {
            Dtype::F16 => Dense::from_f16(matrix(&tensor.typed::<f16>()?, shape)),
            Dtype::Bf16 => Dense::from_bf16(matrix(&tensor.typed::<bf16>()?, shape)),
            _ => {
                let values = tensor.typed::<f32>()?;
                Dense::new(ArrayView2::from_shape(shape, &values).expect("the shape was checked"), DenseType::F32)
            }
        };
        dense.map(Term::from).map_err(|source| Error::Tensor { name: name.to_owned(), source })
    }
}

fn check(tensor: &TensorView, want: &[usize]) -> Result<(), Error> {
    if !matches!(tensor.dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16) {
        return Err(Error::TensorType { name: tensor.name.clone(), found: tensor.dtype.to_string(), supported: SUPPORTED });
    }
    if tensor.shape != want {
        return Err(Error::TensorShape { name: tensor.name.clone(), want: want.to_vec(), got: tensor.shape.clone() });
    }
    Ok(())
}

struct HuggingFace {
    tensors: Tensors,
    architecture: Architecture,
    quantization: Option<Quantization>,
}

impl HuggingFace {
    fn new(description: &Value, tensors: Tensors, architecture: Architecture) -> Result<HuggingFace, Error> {
        let quantization = description.get(QUANTIZATION).filter(|v| !v.is_null()).map(Quantization::parse).transpose()?;
        Ok(HuggingFace { tensors, architecture, quantization })
    }
}

impl Checkpoint for HuggingFace {
    fn name(&self, part: Part, kind: &str) -> String {
        format!("{}.{kind}", part.hugging_face(self.architecture))
    }

    fn wants_bias(&self, part: Part) -> bool {
        always_biased(self.architecture, part)
    }

    fn matrix(&self, part: Part, shape: [usize; 2]) -> Result<Matrix, Error> {
        let whole = self.name(part, "weight");
        // Some matrices of a quantized checkpoint are left as they were.
        let plain = self.tensors.find(&whole).is_some_and(|t| t.dtype != Dtype::I8);
        match &self.quantization {
            Some(quantization) if !plain => {
                let name = part.hugging_face(self.architecture);
                let read = quantization.read(&name, shape, &|name| self.tensors.find(name))?;
                Ok(Matrix { term: read.grid.into(), order: read.order })
            }
            _ => self.tensors.matrix(&whole, shape).map(Matrix::from),
        }
    }

    fn bias(&self, part: Part, len: usize) -> Result<Option<Vec<f32>>, Error> {
        self.tensors.vector(&self.name(part, "bias"), len)
    }

    fn gain(&self, part: Part, len: usize) -> Result<Vec<f32>, Error> {
        let name = self.name(part, "weight");
        let mut gain = self.tensors.vector(&name, len)?.ok_or(Error::MissingTensor { name })?;
        if self.architecture == Architecture::Gemma3 {
            // Stored around 0; GGUF files have the 1 in them.
            gain.iter_mut().for_each(|g| *g += 1.0);
        }
        Ok(gain)
    }
}

fn matrix<T: bytemuck::Pod>(values: &Typed<T>, shape: [usize; 2]) -> Array2<T> {
    Array2::from_shape_vec(shape, values.to_vec()).expect("the shape was checked")
}
