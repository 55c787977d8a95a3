//! Which statistics there are, and sets of them.

use std::fmt;

/// One thing that a calibration pass learns about the inputs of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum Statistic {
    /// The mean of `x x^T`, `[n, n]`.
    Gram,
    /// The mean of `x`, `[n]`.
    Mean,
    /// The mean of `|x|`, `[n]`.
    MeanAbs,
    /// The mean of `x^2`, `[n]`; the diagonal of the Gram matrix.
    MeanSq,
    /// The mean over sequences of the L2 norm of an input over the sequence's tokens, `[n]`.
    SeqNorm,
}

impl Statistic {
    /// Every statistic.
    pub const ALL: [Statistic; 5] = [Statistic::Gram, Statistic::Mean, Statistic::MeanAbs, Statistic::MeanSq, Statistic::SeqNorm];
}

impl fmt::Display for Statistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Statistic::Gram => "gram",
            Statistic::Mean => "mean",
            Statistic::MeanAbs => "mean_abs",
            Statistic::MeanSq => "mean_sq",
            Statistic::SeqNorm => "seq_norm",
        })
    }
}

/// A set of statistics: what a method needs, or what there is.
///
/// ```
/// use scant_tensor_core::stats::{StatSet, Statistic};
/// let needs = StatSet::NONE.with(Statistic::Gram).with(Statistic::Mean);
/// assert_eq!(needs.to_string(), "gram, mean");
/// assert_eq!(needs.without(Statistic::Gram.into()), Statistic::Mean.into());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StatSet(u8);

impl StatSet {
    /// The empty set.
    pub const NONE: StatSet = StatSet(0);

    /// This set and one more.
    #[must_use]
    pub const fn with(self, s: Statistic) -> StatSet {
        StatSet(self.0 | 1 << s as u8)
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: StatSet) -> StatSet {
        StatSet(self.0 | other.0)
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub const fn without(self, other: StatSet) -> StatSet {
        StatSet(self.0 & !other.0)
    }

    /// Whether `s` is in it.
    pub const fn contains(self, s: Statistic) -> bool {
        self.0 & 1 << s as u8 != 0
    }

    /// Whether nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its members, in the order of [`Statistic::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Statistic> {
        Statistic::ALL.into_iter().filter(move |s| self.contains(*s))
    }
}

impl From<Statistic> for StatSet {
    fn from(s: Statistic) -> StatSet {
        StatSet::NONE.with(s)
    }
}

impl FromIterator<Statistic> for StatSet {
    fn from_iter<I: IntoIterator<Item = Statistic>>(all: I) -> StatSet {
        all.into_iter().fold(StatSet::NONE, StatSet::with)
    }
}

impl fmt::Display for StatSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(|s| s.to_string()).collect();
        f.pad(&if names.is_empty() { "none".to_owned() } else { names.join(", ") })
    }
}
