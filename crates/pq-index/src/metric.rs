//! How alike two vectors are.

use crate::error::Error;
use scant_tensor_core::retrieve::Order;
use std::fmt;
use std::str::FromStr;

/// The measure of an index. Inside, a key is always smaller-is-better; a hit's score has the measure's own sign.
///
/// ```
/// use scant_pq_index::Metric;
/// assert_eq!("cosine".parse(), Ok(Metric::Cosine));
/// assert_eq!(Metric::L2.to_string(), "l2");
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The squared Euclidean distance.
    L2,
    /// The inner product.
    InnerProduct,
    /// The inner product of vectors that are normalised on the way in. A zero vector is refused.
    Cosine,
}

impl Metric {
    const ALL: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];

    /// Which scores are better.
    pub fn order(self) -> Order {
        match self {
            Metric::L2 => Order::SmallerFirst,
            Metric::InnerProduct | Metric::Cosine => Order::LargerFirst,
        }
    }

    /// Makes a finite row what the index works with.
    pub(crate) fn admit(self, row: usize, x: &mut [f32]) -> Result<(), Error> {
        if self == Metric::Cosine {
            let norm = x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            if norm == 0.0 {
                return Err(Error::ZeroVector { row });
            }
            x.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
        }
        Ok(())
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Metric::L2 => "l2",
            Metric::InnerProduct => "ip",
            Metric::Cosine => "cosine",
        })
    }
}

/// The name is no metric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metric `{name}` is unknown: choose l2, ip or cosine")]
pub struct UnknownMetric {
    name: String,
}

impl FromStr for Metric {
    type Err = UnknownMetric;
    fn from_str(s: &str) -> Result<Metric, UnknownMetric> {
        Metric::ALL.into_iter().find(|m| m.to_string() == s).ok_or_else(|| UnknownMetric { name: s.to_owned() })
    }
}
