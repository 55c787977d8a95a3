//! The layers of one sequence.

use crate::{DenseLayer, Error, Geometry, KvLayer, LayerBytes};
use half::f16;

/// How a dense cache stores its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KvType {
    /// Half precision: the usual cache.
    #[default]
    F16,
    /// Single precision: for references.
    F32,
}

impl std::fmt::Display for KvType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            KvType::F16 => "f16",
            KvType::F32 => "f32",
        })
    }
}

impl std::str::FromStr for KvType {
    type Err = String;
    fn from_str(s: &str) -> Result<KvType, String> {
        match s {
            "f16" => Ok(KvType::F16),
            "f32" => Ok(KvType::F32),
            _ => Err(format!("cache type `{s}` is unknown: choose f16 or f32")),
        }
    }
}

/// A [`KvLayer`] for each layer of a model, all of the same length between two tokens.
///
/// ```
/// use scant_kvcache::{Cache, Geometry, KvType};
/// let layers = [Geometry::new(4, 2, 64)?; 3];
/// let cache = Cache::dense(&layers, KvType::F16)?;
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

    /// Dense layers of these shapes.
    ///
    /// # Errors
    /// Those of [`DenseLayer::new`].
    pub fn dense(layers: &[Geometry], kind: KvType) -> Result<Cache, Error> {
        let layer = |g: &Geometry| -> Result<Box<dyn KvLayer>, Error> {
            Ok(match kind {
                KvType::F16 => Box::new(DenseLayer::<f16>::new(*g)?),
                KvType::F32 => Box::new(DenseLayer::<f32>::new(*g)?),
            })
        };
        Ok(Cache { layers: layers.iter().map(layer).collect::<Result<_, _>>()? })
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

    /// Takes memory for `tokens` in all now.
    pub fn reserve(&mut self, tokens: usize) {
        self.layers.iter_mut().for_each(|l| l.reserve(tokens));
    }

    /// Heap of all layers, by part.
    pub fn bytes(&self) -> LayerBytes {
        self.layers.iter().map(|l| l.bytes()).sum()
    }
}
