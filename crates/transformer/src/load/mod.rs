//! Opening a model: a GGUF file, one of our own, or a folder with `config.json` and safetensors.

mod gguf;
mod hugging_face;

use crate::model::Block;
use crate::names::{BlockPart, Part};
use crate::tokenizer::Tokenizer;
use crate::{Architecture, Config, Error, Model, SiteId, SiteKind};
use rayon::prelude::*;
use scant_tensor_core::file::{Bytes, File};
use scant_tensor_core::{Linear, Post, Pre, Site, Step, Term};
use std::path::Path;

pub use gguf::from_gguf as open_gguf;
pub use hugging_face::open_hugging_face;
pub(crate) use hugging_face::{Tensors, from_folder, json};

/// Opens the model at `path`: a GGUF file, a file of [`Model::save`], or a folder with `config.json` and `model.safetensors` (whole or
/// sharded).
///
/// Quantized tensors become grids with the same weights, half-precision ones stay as they are. Folders may be quantized by GPTQ, AWQ or
/// compressed-tensors ([`Quantization`](scant_quant::checkpoint::Quantization) says what is read).
///
/// # Errors
/// [`Error::NotAModel`] for a path that holds neither; otherwise whatever is wrong with the checkpoint, by name.
pub fn open(path: impl AsRef<Path>) -> Result<Model, Error> {
    let path = path.as_ref();
    let not = |detail: &str| Err(Error::NotAModel { path: path.to_owned(), detail: detail.to_owned() });
    if path.is_dir() {
        if path.join("config.json").exists() { from_folder(path) } else { not("a folder without config.json") }
    } else if path.is_file() {
        let bytes = Bytes::read(path)?;
        // After the length of its header, safetensors has JSON; GGUF has a count there.
        if bytes.get(8) == Some(&b'{') && !bytes.starts_with(b"GGUF") {
            let file = File::from_bytes(bytes)?;
            if path.with_file_name("config.json").exists() && file.description().is_none_or(|d| d.kind() != crate::save::KIND) {
                return not("the tensors of a Hugging Face folder; give the folder");
            }
            return Model::from_file(&file);
        }
        open_gguf(scant_quant::gguf::File::from_bytes(bytes)?)
    } else {
        not("there is nothing; give a GGUF file, or a folder with config.json and model.safetensors")
    }
}

/// A matrix as a checkpoint has it.
struct Matrix {
    term: Term,
    /// Which input each column belongs to, if columns are in an order of their own.
    order: Option<Vec<u32>>,
}

impl From<Term> for Matrix {
    fn from(term: Term) -> Matrix {
        Matrix { term, order: None }
    }
}

/// Where tensors come from.
trait Checkpoint: Sync {
    /// The matrix of `part`, `[rows, columns]`, in the row order of Hugging Face.
    fn matrix(&self, part: Part, shape: [usize; 2]) -> Result<Matrix, Error>;

    /// The bias of `part` if there is one, in the same order.
    fn bias(&self, part: Part, len: usize) -> Result<Option<Vec<f32>>, Error>;

    /// What a tensor of `part` is called.
    fn name(&self, part: Part, kind: &str) -> String;

    /// Whether the model is not itself without the bias of `part`.
    fn wants_bias(&self, part: Part) -> bool;

    /// The gain of a norm, as it is multiplied with.
    fn gain(&self, part: Part, len: usize) -> Result<Vec<f32>, Error>;
}

/// Puts a model together; tensors are read in parallel.
fn assemble(config: Config, tensors: &dyn Checkpoint, tokenizer: impl FnOnce() -> Result<Tokenizer, Error> + Send) -> Result<Model, Error> {
    let c = &config;
    let vocabulary = [c.vocabulary, c.hidden];
    let head = || site(SiteId::Head, tensors, &[(Part::Head, vocabulary)]);
    let embedding = || site(SiteId::Head, tensors, &[(Part::Embedding, vocabulary)]);
    let blocks = || (0..c.layers.len()).into_par_iter().map(|layer| block(c, tensors, layer)).collect::<Result<Vec<_>, Error>>();
    // A tied embedding is the head.
    let ends = || if c.tied { (Ok(None), embedding()) } else { rayon::join(|| embedding().map(Some), head) };
    let (((embedding, head), blocks), tokenizer) = rayon::join(|| rayon::join(ends, blocks), tokenizer);
    let norm = tensors.gain(Part::FinalNorm, c.hidden)?;
    let mut model = Model::new(embedding?, blocks?, norm, head?, tokenizer, config)?;
    model.gather();
    Ok(model)
}

fn block(c: &Config, tensors: &dyn Checkpoint, layer: usize) -> Result<Block, Error> {
    let part = |part| Part::Block(layer, part);
    let gain = |p, len| tensors.gain(part(p), len);
    let four = |p, len| if c.has_four_norms() { gain(p, len).map(Some) } else { Ok(None) };
    let sites = SiteKind::ALL.into_par_iter().map(|kind| {
        let parts: Vec<_> = kind.parts().iter().map(|p| (part(*p), c.shape(*p))).collect();
        site(SiteId::Block { layer, kind }, tensors, &parts)
    });
    Ok(Block {
        sites: sites.collect::<Result<Vec<_>, Error>>()?,
        attention_norm: gain(BlockPart::AttentionNorm, c.hidden)?,
        post_attention_norm: four(BlockPart::PostAttentionNorm, c.hidden)?,
        ffn_norm: gain(BlockPart::FfnNorm, c.hidden)?,
        post_ffn_norm: four(BlockPart::PostFfnNorm, c.hidden)?,
        q_norm: four(BlockPart::QNorm, c.head_dim)?,
        k_norm: four(BlockPart::KNorm, c.head_dim)?,
    })
}

fn site(id: SiteId, tensors: &dyn Checkpoint, parts: &[(Part, [usize; 2])]) -> Result<Site, Error> {
    let at = |source| Error::Site { site: id, source };
    let linear = |(part, shape): &(Part, [usize; 2])| {
        let (Matrix { term, order }, bias) = (tensors.matrix(*part, *shape)?, tensors.bias(*part, shape[0])?);
        if bias.is_none() && tensors.wants_bias(*part) {
            return Err(Error::MissingTensor { name: tensors.name(*part, "bias") });
        }
        Ok((Linear::new(vec![term], Post::None, bias).map_err(at)?, order))
    };
    let (linears, mut orders): (Vec<_>, Vec<_>) = parts.par_iter().map(linear).collect::<Result<Vec<_>, Error>>()?.into_iter().unzip();
    // Matrices that read the same input were sorted by the same activations.
    let order = orders.swap_remove(0);
    if orders.iter().any(|other| *other != order) {
        let what = format!("{id}: matrices of one input with their columns in different orders");
        return Err(Error::Gguf(scant_quant::Error::UnsupportedCheckpoint { kind: what, hint: "quantize them without desc_act" }));
    }
    let steps = order.map(|order| Step::Permute(order.into())).into_iter().collect();
    Site::new(Pre::new(steps).map_err(at)?, linears).map_err(at)
}

/// Biases that a family has always.
fn always_biased(architecture: Architecture, part: Part) -> bool {
    architecture == Architecture::Qwen2 && matches!(part, Part::Block(_, BlockPart::Q | BlockPart::K | BlockPart::V))
}

/// Fails on a number of a vector that is not finite.
pub(crate) fn finite(name: &str, values: Vec<f32>) -> Result<Vec<f32>, Error> {
    let view = ndarray::ArrayView2::from_shape((1, values.len()), &values).expect("one row");
    match scant_tensor_core::Error::check_finite("vector", view) {
        Ok(()) => Ok(values),
        Err(source) => Err(Error::Tensor { name: name.to_owned(), source }),
    }
}
