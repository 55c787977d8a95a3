//! The shape of a layer's attention.

use crate::Error;

/// Heads, widths and the form of the scores of one layer.
///
/// ```
/// use scant_kvcache::Geometry;
/// let layer = Geometry::new(9, 3, 64)?.window(512);
/// assert_eq!((layer.group(), layer.scale), (3, 0.125));
/// assert!(Geometry::new(9, 2, 64).is_err());
/// # Ok::<(), scant_kvcache::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Geometry {
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; consecutive query heads share one.
    pub kv_heads: usize,
    /// Width of a query and of a key.
    pub key_dim: usize,
    /// Width of a value.
    pub value_dim: usize,
    /// What a dot product of query and key is multiplied with.
    pub scale: f32,
    /// Scores become `cap * tanh(score / cap)`.
    pub softcap: Option<f32>,
    /// A query sees itself and the `window - 1` tokens before it.
    pub window: Option<usize>,
}

impl Geometry {
    /// Causal attention over all that came before, scores scaled by `1 / sqrt(head_dim)`.
    ///
    /// # Errors
    /// [`Error::Zero`]; [`Error::HeadsNotDivisible`].
    pub fn new(heads: usize, kv_heads: usize, head_dim: usize) -> Result<Geometry, Error> {
        for (what, value) in [("number of query heads", heads), ("number of key/value heads", kv_heads), ("head dimension", head_dim)] {
            if value == 0 {
                return Err(Error::Zero { what, value: value.to_string() });
            }
        }
        if !heads.is_multiple_of(kv_heads) {
            return Err(Error::HeadsNotDivisible { heads, kv_heads });
        }
        let scale = 1.0 / (head_dim as f32).sqrt();
        Ok(Geometry { heads, kv_heads, key_dim: head_dim, value_dim: head_dim, scale, softcap: None, window: None })
    }

    /// Values of another width than keys.
    #[must_use]
    pub fn value_dim(mut self, value_dim: usize) -> Geometry {
        self.value_dim = value_dim;
        self
    }

    /// Another scale.
    #[must_use]
    pub fn scale(mut self, scale: f32) -> Geometry {
        self.scale = scale;
        self
    }

    /// Bounded scores.
    #[must_use]
    pub fn softcap(mut self, cap: f32) -> Geometry {
        self.softcap = Some(cap);
        self
    }

    /// A sliding window of this many tokens, the query's own included.
    #[must_use]
    pub fn window(mut self, tokens: usize) -> Geometry {
        self.window = Some(tokens);
        self
    }

    /// Query heads that share a key/value head.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Position of the first token that a query at `position` sees.
    pub fn sees_from(&self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }

    /// Fails on numbers that the setters let through.
    ///
    /// # Errors
    /// [`Error::Zero`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |what, value| Err(Error::Zero { what, value });
        if self.value_dim == 0 {
            return refuse("width of a value", self.value_dim.to_string());
        }
        if self.window == Some(0) {
            return refuse("window", "0 tokens".to_owned());
        }
        for (what, value) in [("scale of the scores", Some(self.scale)), ("cap of the scores", self.softcap)] {
            if let Some(value) = value.filter(|v| v.is_nan() || *v <= 0.0) {
                return refuse(what, value.to_string());
            }
        }
        Ok(())
    }
}
