//! Models as GGUF files that llama.cpp runs.

mod grid;
mod imatrix;

use crate::names::{BlockPart, Part};
use crate::{Activation, Architecture, Config, Error, LayerAttention, Model, Rope, RopeScaling, SiteId, SiteKind};
use ndarray::{Array2, Axis};
use scant_quant::Imatrix;
use scant_quant::gguf::{Array, BlockType, File, Writer, rope};
use scant_tensor_core::{Post, Site, Term};
use std::path::Path;

const TOKENS: &str = "tokenizer.ggml.tokens";

/// How a model is written as a GGUF file.
///
/// ```no_run
/// use scant_quant::{Imatrix, gguf::BlockType};
/// use scant_transformer::{GgufExport, open};
/// let model = open("model.safetensors")?;
/// let importance = Imatrix::read("imatrix.gguf")?;
/// GgufExport::new(BlockType::Q4_K).importance(&importance).save(&model, "model-q4_k.gguf")?;
/// # Ok::<(), scant_transformer::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GgufExport<'a> {
    mostly: BlockType,
    like: Option<&'a File>,
    importance: Option<&'a Imatrix>,
}

impl<'a> GgufExport<'a> {
    /// Matrices of this type, which must be one with an encoder; norms and biases as F32. Matrices whose rows are no whole blocks get the type
    /// that [`BlockType::for_rows_of`] names.
    pub fn new(mostly: BlockType) -> GgufExport<'a> {
        GgufExport { mostly, like: None, importance: None }
    }

    /// Copies the tokenizer's metadata from `file`, such as the one the model was opened from.
    #[must_use]
    pub fn like(mut self, file: &'a File) -> GgufExport<'a> {
        self.like = Some(file);
        self
    }

    /// Encodes a matrix that `importance` names with the mean squares of its inputs; the others as without.
    #[must_use]
    pub fn importance(mut self, importance: &'a Imatrix) -> GgufExport<'a> {
        self.importance = Some(importance);
        self
    }

    /// Writes the file.
    ///
    /// A matrix that is one grid keeps its codes where the type is Q8_0, Q4_0, Q4_1 or a K type and can hold them; every other one is expanded and
    /// encoded. Without [`like`](GgufExport::like), a byte-level BPE is written from the model's own tokenizer.
    ///
    /// # Errors
    /// [`Error::BadKey`] for a description that GGUF cannot express, [`Error::Tokenizer`] for a vocabulary that needs `like`;
    /// [`Error::Gguf`] for numbers that the type cannot hold, types without an encoder, an importance of another number of columns, and files
    /// that cannot be written.
    pub fn save(&self, model: &Model, path: impl AsRef<Path>) -> Result<(), Error> {
        let c = model.config();
        let mut writer = Writer::new(architecture(c.architecture), self.mostly);
        describe(&mut writer, c)?;
        match (self.like, model.tokenizer()) {
            (Some(like), _) => copy_tokenizer(&mut writer, like, c.vocabulary)?,
            (None, Ok(tokenizer)) => tokenizer.write_gguf(&mut writer, c.vocabulary)?,
            (None, Err(_)) => {}
        }
        self.matrix(&mut writer, c, model.embedding(), 0, Part::Embedding)?;
        vector(&mut writer, "output_norm.weight", model.norm())?;
        if !c.tied {
            self.matrix(&mut writer, c, model.site(SiteId::Head), 0, Part::Head)?;
        }
        for (layer, block) in model.blocks().iter().enumerate() {
            for kind in SiteKind::ALL {
                for (i, part) in kind.parts().iter().enumerate() {
                    self.matrix(&mut writer, c, block.site(kind), i, Part::Block(layer, *part))?;
                }
            }
            for (part, gain) in block.gains() {
                vector(&mut writer, &format!("{}.weight", Part::Block(layer, part).gguf()), gain)?;
            }
        }
        Ok(writer.save(path)?)
    }

    /// Matrix `i` of a site with its bias, rows in the order of the file.
    fn matrix(&self, writer: &mut Writer<'_>, c: &Config, site: &Site, i: usize, part: Part) -> Result<(), Error> {
        let linear = &site.linears()[i];
        let [m, n] = linear.shape();
        let turned = c.architecture == Architecture::Llama && matches!(part, Part::Block(_, BlockPart::Q | BlockPart::K));
        let row = |r: usize| if turned { rope::half_split_row(r, c.head_dim) } else { r };
        let name = format!("{}.weight", part.gguf());
        let ty = self.mostly.for_rows_of(n);
        let blocks = match (linear.terms(), linear.post()) {
            ([Term::Grid(grid)], Post::None) if site.pre().is_none() => grid::blocks(grid, ty, row),
            _ => None,
        };
        match blocks {
            Some(blocks) => writer.tensor(&name, ty, &[n, m], blocks)?,
            None => {
                let order: Vec<usize> = (0..m).map(row).collect();
                let weights = expand(site, i).map_err(|source| Error::Tensor { name: name.clone(), source })?;
                let weights = if turned { weights.select(Axis(0), &order) } else { weights };
                let weights = weights.as_slice().expect("row order");
                match self.importance.and_then(|imatrix| imatrix.get(&name)) {
                    Some(sums) => writer.encode_weighted(&name, ty, &[n, m], weights, &sums.mean_sq())?,
                    None => writer.encode(&name, ty, &[n, m], weights)?,
                }
            }
        }
        if let Some(bias) = linear.bias() {
            let bias: Vec<f32> = (0..m).map(|r| bias[row(r)]).collect();
            vector(writer, &format!("{}.bias", part.gguf()), &bias)?;
        }
        Ok(())
    }
}

impl Model {
    /// Writes the model as a GGUF file with matrices of type `mostly`: [`GgufExport`] without an importance.
    ///
    /// # Errors
    /// Those of [`GgufExport::save`].
    pub fn export_gguf(&self, path: impl AsRef<Path>, mostly: BlockType, like: Option<&File>) -> Result<(), Error> {
        GgufExport { mostly, like, importance: None }.save(self, path)
    }
}

fn architecture(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Llama => "llama",
        Architecture::Qwen2 => "qwen2",
        Architecture::Gemma3 => "gemma3",
    }
}

/// What [`Config::from_gguf`] reads.
fn describe(writer: &mut Writer<'_>, c: &Config) -> Result<(), Error> {
    let name = architecture(c.architecture);
    let key = |k: &str| format!("{name}.{k}");
    let counts = [
        ("context_length", c.context),
        ("embedding_length", c.hidden),
        ("block_count", c.layers.len()),
        ("feed_forward_length", c.ffn),
        ("vocab_size", c.vocabulary),
        ("attention.head_count", c.heads),
        ("attention.head_count_kv", c.kv_heads),
        ("attention.key_length", c.head_dim),
        ("attention.value_length", c.head_dim),
        ("rope.dimension_count", c.head_dim),
    ];
    for (k, value) in counts {
        writer.set(&key(k), number(k, value)?)?;
    }
    writer.set(&key("attention.layer_norm_rms_epsilon"), c.norm_eps)?;
    if c.attention_scale != 1.0 / (c.head_dim as f32).sqrt() {
        writer.set(&key("attention.scale"), c.attention_scale)?;
    }
    for (k, cap) in [("attn_logit_softcapping", c.attention_softcap), ("final_logit_softcapping", c.logit_softcap)] {
        if let Some(cap) = cap {
            writer.set(&key(k), cap)?;
        }
    }
    let gemma = c.architecture == Architecture::Gemma3;
    let activation = if gemma { Activation::GeluTanh } else { Activation::Silu };
    if c.activation != activation {
        return Err(unsaid("activation", format!("{:?}", c.activation), name));
    }
    if c.embedding_scale != if gemma { (c.hidden as f32).sqrt() } else { 1.0 } {
        return Err(unsaid("embedding_scale", c.embedding_scale.to_string(), name));
    }
    let rope = if gemma { describe_gemma_layers(writer, c)? } else { describe_like_layers(writer, c, name)? };
    writer.set(&key("rope.freq_base"), rope.base)?;
    match &rope.scaling {
        RopeScaling::None => {}
        RopeScaling::Linear(factor) => {
            writer.set(&key("rope.scaling.type"), "linear")?;
            writer.set(&key("rope.scaling.factor"), *factor)?;
        }
        RopeScaling::Divisors(divisors) => vector(writer, "rope_freqs.weight", divisors)?,
        RopeScaling::Llama3 { .. } => {
            let plain = Rope { base: rope.base, scaling: RopeScaling::None }.frequencies(c.head_dim);
            let divisors: Vec<f32> = plain.iter().zip(rope.frequencies(c.head_dim)).map(|(plain, f)| (plain / f) as f32).collect();
            vector(writer, "rope_freqs.weight", &divisors)?;
        }
    }
    Ok(())
}

fn unsaid(key: &str, value: String, architecture: &str) -> Error {
    Error::BadKey { key: key.to_owned(), value, want: format!("a GGUF file of architecture `{architecture}` cannot say that") }
}

/// As the file's 32 bits.
fn number(key: &str, value: usize) -> Result<u32, Error> {
    let want = format!("it must be at most {} in a GGUF file", u32::MAX);
    u32::try_from(value).map_err(|_| Error::BadKey { key: key.to_owned(), value: value.to_string(), want })
}

/// All layers alike. Returns their positions.
fn describe_like_layers<'c>(writer: &mut Writer<'_>, c: &'c Config, name: &str) -> Result<&'c Rope, Error> {
    let first = c.layers[0];
    if let Some(other) = c.layers.iter().find(|l| **l != first) {
        return Err(unsaid("layers", format!("{first:?} and {other:?}"), name));
    }
    if let Some(window) = first.window {
        if c.architecture != Architecture::Llama {
            return Err(unsaid("window", window.to_string(), name));
        }
        writer.set("llama.attention.sliding_window", number("llama.attention.sliding_window", window)?)?;
    }
    Ok(&c.ropes[first.rope])
}

/// Every `pattern`-th layer without a window and with other positions, which are returned.
fn describe_gemma_layers<'c>(writer: &mut Writer<'_>, c: &'c Config) -> Result<&'c Rope, Error> {
    let [local, global] = &c.ropes[..] else {
        return Err(unsaid("ropes", format!("{} kinds", c.ropes.len()), "gemma3"));
    };
    if local.scaling != RopeScaling::None {
        return Err(unsaid("ropes", format!("{:?} in layers with a window", local.scaling), "gemma3"));
    }
    // Without a layer that has one, any window is as good.
    let window = c.layers.iter().find_map(|l| l.window).unwrap_or(c.context);
    let layer = |i: usize, pattern: usize| {
        let global = (i + 1).is_multiple_of(pattern);
        LayerAttention { window: (!global).then_some(window), rope: usize::from(global) }
    };
    // The usual one first: few layers may fit several.
    let mut patterns = std::iter::once(6).chain(1..=c.layers.len() + 1);
    let pattern = patterns.find(|pattern| c.layers.iter().enumerate().all(|(i, l)| *l == layer(i, *pattern)));
    let pattern = pattern.ok_or_else(|| unsaid("layers", format!("{:?}", c.layers), "gemma3"))?;
    writer.set("gemma3.attention.sliding_window", number("gemma3.attention.sliding_window", window)?)?;
    writer.set("gemma3.attention.sliding_window_pattern", number("gemma3.attention.sliding_window_pattern", pattern)?)?;
    writer.set("gemma3.rope.freq_base_swa", local.base)?;
    Ok(global)
}

fn copy_tokenizer(writer: &mut Writer<'_>, like: &File, vocabulary: usize) -> Result<(), Error> {
    if let Some(tokens) = like.get_optional::<Array<'_>>(TOKENS)?
        && tokens.len() != vocabulary
    {
        let want = format!("the model's vocabulary has {vocabulary} pieces");
        return Err(Error::BadKey { key: TOKENS.to_owned(), value: format!("{} pieces", tokens.len()), want });
    }
    for key in like.keys().filter(|key| key.starts_with("tokenizer.")) {
        if let Some(value) = like.value(key)? {
            writer.set(key, value)?;
        }
    }
    Ok(())
}

fn vector(writer: &mut Writer<'_>, name: &str, values: &[f32]) -> Result<(), Error> {
    Ok(writer.encode(name, BlockType::F32, &[values.len()], values)?)
}

/// The matrix between the site's input and the output, transforms included.
fn expand(site: &Site, i: usize) -> Result<Array2<f32>, scant_tensor_core::Error> {
    let linear = &site.linears()[i];
    let [m, n] = linear.shape();
    let mut weights = Array2::zeros((m, n));
    if *linear.post() == Post::None {
        linear.terms().iter().for_each(|t| t.op().add_to(weights.view_mut()));
        site.pre().out_of_weights(weights.view_mut())?;
    } else {
        weights.rows_mut().into_iter().enumerate().try_for_each(|(r, out)| site.row(i, r, out))?;
    }
    Ok(weights)
}
