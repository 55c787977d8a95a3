//! What is compared: from whole vectors down to two bits a dimension.

use scant_pq_index::quantizer::{Levels, QuantizerKind};
use scant_pq_index::{Index, IndexBuilder, Metric, RotationKind};

/// An index, by name.
pub(crate) struct Configuration {
    pub(crate) name: String,
    pub(crate) builder: IndexBuilder,
    /// Candidates that full vectors score again, besides a search without.
    rerank: bool,
}

/// A way to search it.
pub(crate) struct Stage {
    pub(crate) nprobe: Option<usize>,
    pub(crate) candidates: Option<usize>,
}

impl Stage {
    /// What is added to the configuration's name.
    pub(crate) fn name(&self) -> String {
        let probe = self.nprobe.map_or(String::new(), |p| format!(", {p} lists read"));
        probe + &self.candidates.map_or(String::new(), |c| format!(", {c} re-ranked"))
    }
}

impl Configuration {
    /// One for a flat index, several for lists, and one with re-ranking where that is asked for.
    pub(crate) fn stages(&self, index: &Index) -> Vec<Stage> {
        if index.lists() > 1 {
            let probes = [1, 4, 16, 64].into_iter().filter(|p| *p <= index.lists());
            return probes.map(|p| Stage { nprobe: Some(p), candidates: None }).collect();
        }
        let plain = Stage { nprobe: None, candidates: None };
        if self.rerank { vec![plain, Stage { nprobe: None, candidates: Some(100) }] } else { vec![plain] }
    }
}

/// Those that fit the dimension and the number of vectors.
pub(crate) fn configurations(metric: Metric, dim: usize, n: usize, lists: usize) -> Vec<Configuration> {
    let mut all = vec![];
    let mut add = |name: String, builder: IndexBuilder, rerank| all.push(Configuration { name, builder, rerank });
    let b = |q| IndexBuilder::new(metric).quantizer(q);
    let product = |m, bits| QuantizerKind::Product { m, bits };
    add("f32".to_owned(), b(QuantizerKind::Full), false);
    for bits in [8, 6, 4] {
        add(format!("scalar {bits} bits"), b(QuantizerKind::Scalar { bits }), false);
    }
    add("lvq 8 bits".to_owned(), b(QuantizerKind::Lvq { bits: 8 }).residual(), false);
    for (levels, bits) in [(Levels::LloydMax, 4), (Levels::LloydMax, 2), (Levels::Uniform, 4)] {
        let rotated = b(QuantizerKind::Rotated { bits, levels }).rotation(RotationKind::Hadamard).residual();
        let name = if levels == Levels::Uniform { "rotated, uniform" } else { "rotated" };
        add(format!("{name} {bits} bits"), rotated, false);
    }
    let (half, fifth) = ((dim / 2).max(1), (dim / 5).max(1));
    for (m, bits) in [(half, 8), (half, 4), (fifth, 8), (dim, 4)] {
        if n < 256 && bits == 8 {
            continue;
        }
        add(format!("pq {m} x {bits}"), b(product(m, bits)), m == fifth);
        add(format!("pq {m} x {bits} + factor"), b(product(m, bits)).norm_factor(), false);
    }
    add(format!("opq {half} x 4 + factor"), b(product(half, 4)).rotation(RotationKind::Opq).norm_factor(), false);
    if lists > 1 {
        add(format!("{lists} lists, scalar 8 bits"), b(QuantizerKind::Scalar { bits: 8 }).lists(lists), false);
        add(format!("{lists} lists, pq {half} x 4 + factor"), b(product(half, 4)).lists(lists).residual().norm_factor(), false);
    }
    all
}
