//! Where the matrices of a model are: the inputs that several of them share.

use crate::Error;
use crate::names::BlockPart;
use std::fmt;
use std::str::FromStr;

/// An input of a block and the matrices that read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SiteKind {
    /// Queries, keys and values.
    Qkv,
    /// What follows attention.
    Output,
    /// The two matrices into the feed-forward part.
    GateUp,
    /// The one out of it.
    Down,
}

impl SiteKind {
    /// In the order in which a block runs them.
    pub const ALL: [SiteKind; 4] = [SiteKind::Qkv, SiteKind::Output, SiteKind::GateUp, SiteKind::Down];

    fn name(self) -> &'static str {
        match self {
            SiteKind::Qkv => "qkv",
            SiteKind::Output => "output",
            SiteKind::GateUp => "gate-up",
            SiteKind::Down => "down",
        }
    }

    /// The matrices, in the order of their outputs.
    pub(crate) fn parts(self) -> &'static [BlockPart] {
        match self {
            SiteKind::Qkv => &[BlockPart::Q, BlockPart::K, BlockPart::V],
            SiteKind::Output => &[BlockPart::Output],
            SiteKind::GateUp => &[BlockPart::Gate, BlockPart::Up],
            SiteKind::Down => &[BlockPart::Down],
        }
    }
}

/// A site of a model. Ordered as a forward pass meets them.
///
/// ```
/// use scant_transformer::{SiteId, SiteKind};
/// let site = SiteId::Block { layer: 3, kind: SiteKind::GateUp };
/// assert_eq!(site.to_string(), "3.gate-up");
/// assert_eq!("3.gate-up".parse::<SiteId>()?, site);
/// assert!(site < SiteId::Head);
/// # Ok::<(), scant_transformer::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SiteId {
    /// One of the four sites of a block.
    Block {
        /// The block, from 0.
        layer: usize,
        /// Which of its sites.
        kind: SiteKind,
    },
    /// The matrix of the vocabulary; where it is tied, the embedding too.
    Head,
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SiteId::Block { layer, kind } => f.pad(&format!("{layer}.{}", kind.name())),
            SiteId::Head => f.pad("head"),
        }
    }
}

impl FromStr for SiteId {
    type Err = Error;
    fn from_str(text: &str) -> Result<SiteId, Error> {
        let parse = || {
            let (layer, name) = text.split_once('.')?;
            let kind = SiteKind::ALL.into_iter().find(|k| k.name() == name)?;
            // `+3` and `03` would parse as well and print differently.
            let layer = layer.parse().ok().filter(|l: &usize| l.to_string() == layer)?;
            Some(SiteId::Block { layer, kind })
        };
        if text == "head" { Ok(SiteId::Head) } else { parse().ok_or_else(|| Error::UnknownSite { text: text.to_owned() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        for layer in [0, 7, 31] {
            for kind in SiteKind::ALL {
                let id = SiteId::Block { layer, kind };
                assert_eq!(id.to_string().parse::<SiteId>().unwrap(), id);
            }
        }
        for bad in ["", "qkv", "3", "3.", "x.qkv", "+3.qkv", "03.qkv", "3.q", "Head"] {
            assert!(bad.parse::<SiteId>().unwrap_err().to_string().contains(bad));
        }
    }
}
