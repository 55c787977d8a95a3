//! BM25 on an index of impacts: what depends on the document is stored, what depends on the collection is the query's.
//!
//! An impact is the saturated term frequency alone; the inverse document frequency is computed from the index's counts when a query is made, so
//! documents that come later touch no posting. Only the mean length is fixed when the first are built.

use crate::analyze::{Analyzer, Lexicon};
use crate::error::Error;
use crate::vector::Vectors;
use std::collections::BTreeMap;

/// The six variants that are around (Kamphuis, de Vries, Boytsov, Lin 2020, without the two that differ in rounding only).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// idf `ln(1 + (N - df + .5) / (df + .5))`, document `tf / (tf + K)`.
    Lucene,
    /// The same with the factor `k1 + 1`, which changes scores and no order.
    Tantivy,
    /// idf `ln((N - df + .5) / (df + .5))`, 0 where it would be negative.
    Robertson,
    /// idf `ln(N / df)`, and the factor `k1 + 1`.
    Atire,
    /// idf `ln((N + 1) / df)`, factor `k1 + 1`, and `delta` more for every term the document holds (Lv, Zhai 2011).
    Plus,
    /// idf `ln((N + 1) / (df + .5))`, and `delta` more on the normalised frequency (Lv, Zhai 2011), for terms the document holds.
    L,
}

/// A variant with its parameters.
///
/// ```
/// use scant_sparse_index::{Analyzer, Bm25, Bm25Text, Lexicon};
/// let texts = ["the wind over a wing", "a wing in a wind tunnel", "heat"];
/// let text = Bm25Text::build(&[1, 2, 3], &texts, Bm25::default(), Analyzer::Words)?;
/// let hits = text.search("wind tunnel", 10)?;
/// assert_eq!((hits[0].id, hits[1].id, hits.len()), (2, 1, 2));
/// # Ok::<(), scant_sparse_index::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Bm25 {
    /// Which formula.
    pub variant: Variant,
    /// How slowly a term's repetitions saturate.
    pub k1: f32,
    /// How much long documents are held back, 0 to 1.
    pub b: f32,
    /// What `Plus` and `L` add.
    pub delta: f32,
}

impl Default for Bm25 {
    fn default() -> Bm25 {
        Bm25 { variant: Variant::Lucene, k1: 0.9, b: 0.4, delta: 0.5 }
    }
}

impl Bm25 {
    /// What bm25s does when it is told nothing.
    pub fn bm25s() -> Bm25 {
        Bm25 { k1: 1.5, b: 0.75, ..Bm25::default() }
    }

    /// What tantivy does, with exact lengths where it keeps them in one byte.
    pub fn tantivy() -> Bm25 {
        Bm25 { variant: Variant::Tantivy, k1: 1.2, b: 0.75, delta: 0.0 }
    }

    /// The weight of a term in a query: `n` documents, `df` of them hold it. 0 for a term in none.
    pub fn idf(&self, n: f64, df: f64) -> f64 {
        if df <= 0.0 {
            return 0.0;
        }
        match self.variant {
            Variant::Lucene | Variant::Tantivy => (1.0 + (n - df + 0.5) / (df + 0.5)).ln(),
            Variant::Robertson => ((n - df + 0.5) / (df + 0.5)).ln().max(0.0),
            Variant::Atire => (n / df).ln().max(0.0),
            Variant::Plus => ((n + 1.0) / df).ln(),
            Variant::L => ((n + 1.0) / (df + 0.5)).ln().max(0.0),
        }
    }

    /// The impact of a term that comes `tf` times in a document of `length` tokens, where `mean` is usual.
    pub fn impact(&self, tf: f64, length: f64, mean: f64) -> f64 {
        let (k1, b, delta) = (f64::from(self.k1), f64::from(self.b), f64::from(self.delta));
        let norm = 1.0 - b + b * length / mean;
        match self.variant {
            Variant::Lucene | Variant::Robertson => tf / (tf + k1 * norm),
            Variant::Tantivy | Variant::Atire => (k1 + 1.0) * tf / (tf + k1 * norm),
            Variant::Plus => (k1 + 1.0) * tf / (tf + k1 * norm) + delta,
            Variant::L => {
                let c = tf / norm + delta;
                (k1 + 1.0) * c / (k1 + c)
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        let numbers = [("k1", self.k1, f32::MAX), ("b", self.b, 1.0), ("delta", self.delta, f32::MAX)];
        match numbers.into_iter().find(|(_, x, most)| !(0.0..=*most).contains(x)) {
            Some((name, x, _)) => Err(Error::Parameter { name, value: x.to_string(), must: "0 or more and finite, and b at most 1" }),
            None => Ok(()),
        }
    }

    /// Impacts of documents that are given as terms with their counts.
    ///
    /// # Errors
    /// [`Error::Parameter`]; as [`Vectors::push_unsorted`].
    pub fn impacts(&self, counts: &[BTreeMap<u32, u32>]) -> Result<Vectors, Error> {
        self.check()?;
        let lengths: Vec<f64> = counts.iter().map(|c| c.values().map(|tf| f64::from(*tf)).sum()).collect();
        let mean = lengths.iter().sum::<f64>() / lengths.len().max(1) as f64;
        let mean = if mean > 0.0 { mean } else { 1.0 };
        let mut vectors = Vectors::new();
        for (counts, length) in counts.iter().zip(lengths) {
            let entry = |(term, tf): (&u32, &u32)| (*term, self.impact(f64::from(*tf), length, mean) as f32);
            vectors.push_unsorted(&counts.iter().map(entry).collect::<Vec<_>>())?;
        }
        Ok(vectors)
    }
}

/// A searchable set of texts: analyzer, words, and an index of impacts.
#[derive(Debug)]
pub struct Bm25Text {
    bm25: Bm25,
    analyzer: Analyzer,
    lexicon: Lexicon,
    index: crate::Index,
}

impl Bm25Text {
    /// Analyzes and builds.
    ///
    /// # Errors
    /// [`Error::Parameter`]; as [`IndexBuilder::build`](crate::IndexBuilder::build).
    pub fn build<T: AsRef<str>>(ids: &[u64], texts: &[T], bm25: Bm25, analyzer: Analyzer) -> Result<Bm25Text, Error> {
        let mut lexicon = Lexicon::default();
        let mut counts = Vec::with_capacity(texts.len());
        for text in texts {
            let mut of = BTreeMap::new();
            analyzer.each(text.as_ref(), |word| *of.entry(lexicon.add(word)).or_insert(0) += 1);
            counts.push(of);
        }
        let index = crate::IndexBuilder::new().build(ids, &bm25.impacts(&counts)?)?;
        Ok(Bm25Text { bm25, analyzer, lexicon, index })
    }

    /// The index of impacts.
    pub fn index(&self) -> &crate::Index {
        &self.index
    }

    /// A text as a query: each known word's idf times how often it comes.
    pub fn query(&self, text: &str) -> Vectors {
        let mut weights: BTreeMap<u32, f32> = BTreeMap::new();
        let n = self.index.ids().len() as f64;
        self.analyzer.each(text, |word| {
            if let Some(term) = self.lexicon.get(word) {
                let df = f64::from(self.index.document_frequency(term));
                *weights.entry(term).or_default() += self.bm25.idf(n, df) as f32;
            }
        });
        weights.retain(|_, weight| *weight > 0.0);
        let (terms, weights): (Vec<u32>, Vec<f32>) = weights.into_iter().unzip();
        let mut query = Vectors::new();
        query.append(&terms, &weights);
        query
    }

    /// The best `k` texts.
    ///
    /// # Errors
    /// [`Error::KZero`].
    pub fn search(&self, text: &str, k: usize) -> Result<Vec<scant_tensor_core::retrieve::Hit>, Error> {
        self.index.search(self.query(text).get(0), k, &Default::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scant_tensor_core::rng::Rng;

    /// The textbook: every formula written out once more, in f64, over every document.
    #[test]
    fn scores_are_the_textbooks() {
        let mut rng = Rng::new(2);
        let texts: Vec<String> = (0..300)
            .map(|_| (0..5 + rng.below(60)).map(|_| format!("w{} ", (rng.uniform() * rng.uniform() * 90.0) as u32)).collect())
            .collect();
        let ids: Vec<u64> = (0..300).collect();
        let split = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let documents: Vec<Vec<String>> = texts.iter().map(|t| split(t)).collect();
        let n = documents.len() as f64;
        let mean = documents.iter().map(Vec::len).sum::<usize>() as f64 / n;
        for variant in [Variant::Lucene, Variant::Tantivy, Variant::Robertson, Variant::Atire, Variant::Plus, Variant::L] {
            let bm25 = Bm25 { variant, k1: 1.2, b: 0.75, delta: 0.5 };
            let text = Bm25Text::build(&ids, &texts, bm25, Analyzer::Words).unwrap();
            let query = "w1 w30 w77 w30 unheard";
            let bound = text.index.score_bound(text.query(query).get(0));
            for hit in text.search(query, 300).unwrap() {
                let d = &documents[hit.id as usize];
                let mut want = 0.0;
                for word in split(query) {
                    let tf = d.iter().filter(|w| **w == word).count() as f64;
                    let df = documents.iter().filter(|d| d.contains(&word)).count() as f64;
                    if tf > 0.0 {
                        want += bm25.idf(n, df) * bm25.impact(tf, d.len() as f64, mean);
                    }
                }
                assert!((f64::from(hit.score) - want).abs() <= f64::from(bound) * 1.001, "{variant:?}: {} and {want}", hit.score);
            }
        }
        assert!(Bm25Text::build(&ids, &texts, Bm25 { b: f32::NAN, ..Bm25::default() }, Analyzer::Words).is_err());
    }
}
