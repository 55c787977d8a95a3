//! What a compressed layer is made of, as one value and one word.

use crate::codec::TILE;
use crate::{Codec, Policy};

/// A codec, and who stays before it.
///
/// As a word it is `policy:entries+codec`, either part alone, and `rot-` before a codec for rotated vectors.
///
/// ```
/// use scant_kvcache::{Codec, Spec};
/// let spec: Spec = "snapkv:256+rot-q4_0".parse()?;
/// assert_eq!((spec.codec, spec.rotate, spec.policy.map(|p| p.budget)), (Codec::Q4_0, true, Some(256)));
/// assert_eq!(spec.to_string(), "snapkv:256+rot-q4_0");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Spec {
    /// What entries are stored as once they leave the buffer.
    pub codec: Codec,
    /// Whether keys and values are rotated by random signs and a Hadamard matrix first, which spreads outliers over all channels.
    pub rotate: bool,
    /// Who stays; all if `None`.
    pub policy: Option<Policy>,
    /// Tokens that stay in f16 until as many and 64 more are there.
    pub buffer: usize,
}

impl Spec {
    /// All entries, in this codec.
    pub fn new(codec: Codec) -> Spec {
        Spec { codec, rotate: false, policy: None, buffer: TILE }
    }

    /// A policy before it.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Spec {
        self.policy = Some(policy);
        self
    }

    /// Rotated vectors.
    #[must_use]
    pub fn rotate(mut self) -> Spec {
        self.rotate = true;
        self
    }

    /// Another buffer.
    #[must_use]
    pub fn buffer(mut self, tokens: usize) -> Spec {
        self.buffer = tokens;
        self
    }
}

impl From<Codec> for Spec {
    fn from(codec: Codec) -> Spec {
        Spec::new(codec)
    }
}

impl std::fmt::Display for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let codec = format!("{}{}", if self.rotate { "rot-" } else { "" }, self.codec);
        f.pad(&match self.policy {
            None => codec,
            Some(policy) if codec == "f16" => policy.to_string(),
            Some(policy) => format!("{policy}+{codec}"),
        })
    }
}

impl std::str::FromStr for Spec {
    type Err = String;
    fn from_str(s: &str) -> Result<Spec, String> {
        let (policy, codec) = match s.split_once('+') {
            Some((policy, codec)) => (Some(policy.parse()?), codec),
            None if s.contains(':') => (Some(s.parse()?), "f16"),
            None => (None, s),
        };
        let (rotate, codec) = codec.strip_prefix("rot-").map_or((false, codec), |codec| (true, codec));
        Ok(Spec { rotate, policy, ..Spec::new(codec.parse()?) })
    }
}
