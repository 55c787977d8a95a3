//! The layers of one sequence.

use crate::{Codec, CompressedLayer, DenseLayer, Error, Geometry, KvLayer, LayerBytes, Spec, Workspace};
use half::f16;
use scant_tensor_core::Ctx;
use std::sync::Arc;

/// How a cache stores its numbers.
///
/// ```
/// use scant_kvcache::KvType;
/// for word in ["f16", "f32", "q8_0", "gear2", "ems:256+kivi4", "rot-q4_0"] {
///     assert_eq!(word.parse::<KvType>()?.to_string(), word);
/// }
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum KvType {
    /// Half precision: the usual cache.
    #[default]
    F16,
    /// Single precision: for references.
    F32,
    /// Packed, thinned out, or both.
    Compressed(Spec),
}

impl std::fmt::Display for KvType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KvType::F16 => f.pad("f16"),
            KvType::F32 => f.pad("f32"),
            KvType::Compressed(spec) => spec.fmt(f),
        }
    }
}

impl std::str::FromStr for KvType {
    type Err = String;
    fn from_str(s: &str) -> Result<KvType, String> {
        match s {
            "f16" => Ok(KvType::F16),
            "f32" => Ok(KvType::F32),
            _ => s.parse().map(KvType::Compressed),
        }
    }
}

/// A [`KvLayer`] for each layer of a model, all of the same length between two tokens.
///
/// ```
/// use scant_kvcache::{Cache, Geometry, KvType};
/// let layers = [Geometry::new(4, 2, 64)?; 3];
/// let cache = Cache::of(&layers, KvType::F16, &[])?;
/// assert_eq!((cache.layers().len(), cache.len()), (3, 0));
/// # Ok::<(), scant_kvcache::Error>(())
/// ```
pub struct Cache {
    layers: Vec<Box<dyn KvLayer>>,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cache({} layers of {} tokens)", self.layers.len(), self.len())
    }
}

impl Clone for Cache {
    fn clone(&self) -> Cache {
        Cache { layers: self.layers.iter().map(|l| l.fork()).collect() }
    }
}

impl Cache {
    /// Layers of any kind.
    pub fn new(layers: Vec<Box<dyn KvLayer>>) -> Cache {
        Cache { layers }
    }

    /// Layers of these shapes. `frequencies` are those of each layer's rotary positions, for policies that merge keys, or none.
    ///
    /// A policy leaves out layers with windows: what they hold is bounded.
    ///
    /// # Errors
    /// Those of [`DenseLayer::new`] and [`CompressedLayer::new`].
    pub fn of(layers: &[Geometry], kind: KvType, frequencies: &[Arc<[f32]>]) -> Result<Cache, Error> {
        let layer = |(i, g): (usize, &Geometry)| -> Result<Box<dyn KvLayer>, Error> {
            Ok(match kind {
                KvType::F32 => Box::new(DenseLayer::<f32>::new(*g)?),
                KvType::F16 => Box::new(DenseLayer::<f16>::new(*g)?),
                KvType::Compressed(mut spec) => {
                    spec.policy = spec.policy.filter(|_| g.window.is_none());
                    if spec.codec == Codec::F16 && spec.policy.is_none() {
                        Box::new(DenseLayer::<f16>::new(*g)?)
                    } else {
                        let frequencies = frequencies.get(i).cloned().unwrap_or_default();
                        Box::new(CompressedLayer::new(*g, spec)?.at(i, layers.len(), frequencies))
                    }
                }
            })
        };
        Ok(Cache { layers: layers.iter().enumerate().map(layer).collect::<Result<_, _>>()? })
    }

    /// The layers.
    pub fn layers(&self) -> &[Box<dyn KvLayer>] {
        &self.layers
    }

    /// Layer `i`.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn layer(&mut self, i: usize) -> &mut dyn KvLayer {
        &mut *self.layers[i]
    }

    /// Tokens in every layer.
    pub fn len(&self) -> usize {
        self.layers.iter().map(|l| l.len()).min().unwrap_or(0)
    }

    /// True before the first token.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes back everything from position `len` on, also where only some of the layers have it.
    ///
    /// # Errors
    /// [`Error::NotTruncatable`].
    pub fn truncate(&mut self, len: usize) -> Result<(), Error> {
        self.layers.iter_mut().try_for_each(|l| l.truncate(len))
    }

    /// Says that a prompt is complete: policies thin out what it left.
    ///
    /// # Errors
    /// Those of [`KvLayer::compress`].
    pub fn compress(&mut self, ctx: &Ctx<'_>, ws: &mut Workspace) -> Result<(), Error> {
        self.layers.iter_mut().try_for_each(|l| l.compress(ctx, ws))
    }

    /// Takes memory for `tokens` in all now.
    pub fn reserve(&mut self, tokens: usize) {
        self.layers.iter_mut().for_each(|l| l.reserve(tokens));
    }

    /// Heap of all layers, by part.
    pub fn bytes(&self) -> LayerBytes {
        self.layers.iter().map(|l| l.bytes()).sum()
    }
}
