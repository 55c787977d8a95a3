//! Documents made from real queries: they share terms as texts of one topic do. For speed, bytes and recall against exact search; they have no
//! text and no relevance, and say nothing about quality.

use crate::error::Error;
use crate::vector::Vectors;
use rayon::prelude::*;

/// SplitMix64 (Steele, Lea, Flood 2014) from a bare state.
struct Stream(u64);

impl Stream {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let u = 1.0 - self.uniform();
        let v = self.uniform();
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    fn below(&mut self, n: usize) -> usize {
        ((self.uniform() * n as f64) as usize).min(n - 1)
    }
}

/// Makes documents of topics, the seeds, whose terms occur together; the rest of a document is background.
///
/// ```
/// use scant_sparse_index::{Generator, Vectors};
/// let mut seeds = Vectors::new();
/// for i in 0..60u32 {
///     let terms: Vec<(u32, f32)> = (0..12).map(|j| (1000 + (i * 7 + j * j * 5) % 200, 1.0 + j as f32)).collect();
///     let mut terms = terms;
///     terms.sort_by_key(|t| t.0);
///     terms.dedup_by_key(|t| t.0);
///     seeds.push_unsorted(&terms)?;
/// }
/// let generator = Generator::new(&seeds, 2_000, 7)?;
/// let documents = generator.documents(0..100);
/// assert_eq!(documents, generator.documents(0..100));
/// assert_eq!(documents.get(42), generator.documents(42..43).get(0)); // a document depends on the seed and its number alone
/// # Ok::<(), scant_sparse_index::Error>(())
/// ```
#[derive(Debug)]
pub struct Generator {
    seed: u64,
    /// Terms of each seed with weights relative to the heaviest.
    seeds: Vec<Vec<(u32, f64)>>,
    /// For each term the seeds that hold it.
    lists: Vec<Vec<u32>>,
    background: Vec<u32>,
    /// Of `background`, cumulative, ending at 1.
    cumulative: Vec<f64>,
}

impl Generator {
    /// From seeds over a vocabulary. Ids below 999 (special and unused word pieces) are background only if seeds hold them.
    ///
    /// # Errors
    /// [`Error::Length`] without seeds; [`Error::TermOutOfRange`].
    pub fn new(queries: &Vectors, vocabulary: usize, seed: u64) -> Result<Generator, Error> {
        let mut stream = Stream(seed);
        let mut seeds: Vec<Vec<(u32, f64)>> = queries
            .iter()
            .filter(|q| !q.is_empty())
            .map(|q| {
                let most = q.weights().iter().fold(0.0f32, |a, b| a.max(*b));
                q.iter().map(|(term, weight)| (term, f64::from(weight / most))).collect()
            })
            .collect();
        if seeds.is_empty() {
            return Err(Error::Length { what: "seeds with terms", want: 1, got: 0 });
        }
        if queries.vocabulary() > vocabulary {
            return Err(Error::TermOutOfRange { term: queries.vocabulary() as u32 - 1, vocabulary });
        }
        for i in (1..seeds.len()).rev() {
            let j = (stream.next() % (i as u64 + 1)) as usize;
            seeds.swap(i, j);
        }
        let mut lists = vec![vec![]; vocabulary];
        for (i, terms) in seeds.iter().enumerate() {
            terms.iter().for_each(|(term, _)| lists[*term as usize].push(i as u32));
        }
        let (mut background, mut mass) = (vec![], vec![]);
        for (term, list) in lists.iter().enumerate().filter(|(_, list)| !list.is_empty()) {
            background.push(term as u32);
            mass.push((list.len() as f64).powf(0.75));
        }
        let held = mass.len();
        let mut others: Vec<u32> = (999..vocabulary).filter(|t| lists[*t].is_empty()).map(|t| t as u32).collect();
        for i in (1..others.len()).rev() {
            let j = (stream.next() % (i as u64 + 1)) as usize;
            others.swap(i, j);
        }
        mass.extend((0..others.len()).map(|rank| 1.0 / (rank as f64 + 20.0)));
        background.extend(others);
        let sums = [mass[..held].iter().sum::<f64>(), mass[held..].iter().sum::<f64>()];
        let shares = if held == mass.len() { [1.0, 0.0] } else { [0.9, 0.1] };
        let mut total = 0.0;
        let cumulative = mass
            .iter()
            .enumerate()
            .map(|(i, m)| {
                let part = usize::from(i >= held);
                total += m / sums[part] * shares[part];
                total
            })
            .collect();
        Ok(Generator { seed, seeds, lists, background, cumulative })
    }

    /// Documents by number, the same for any number of threads.
    pub fn documents(&self, range: std::ops::Range<u64>) -> Vectors {
        let made: Vec<Vec<(u32, f32)>> = range.into_par_iter().map(|d| self.document(d)).collect();
        let mut vectors = Vectors::new();
        for entries in made {
            let (terms, weights): (Vec<u32>, Vec<f32>) = entries.into_iter().unzip();
            vectors.append(&terms, &weights);
        }
        vectors
    }

    fn document(&self, d: u64) -> Vec<(u32, f32)> {
        let state = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0xD1B5_4A32_D192_ED03u64.wrapping_mul(d.wrapping_add(1)));
        let mut s = Stream(state);
        s.next();
        let length = (119.0 * (0.38 * s.normal() - 0.0722).exp()).round().clamp(16.0, 320.0) as usize;
        let length = length.min(self.background.len());
        let n = self.seeds.len();
        let first = ((n as f64 * s.uniform() * s.uniform()) as usize).min(n - 1);
        let mut terms: Vec<(u32, f64)> = vec![];
        let mut place = std::collections::HashMap::new();
        let mut topic = first;
        for j in 0..12 {
            if terms.len() as f64 >= 0.7 * length as f64 {
                break;
            }
            let a = if j == 0 { 1.0 } else { 0.85 * (-0.12 * f64::from(j)).exp() };
            let keep = if j == 0 { 0.85 } else { 0.6 };
            for (term, r) in &self.seeds[topic] {
                if s.uniform() >= keep {
                    continue;
                }
                let mut y = 2.05 * a * r.powf(0.55) * (0.30 * s.normal()).exp();
                if y > 2.8 {
                    y = 2.8 - 0.2 * s.uniform();
                }
                let at = *place.entry(*term).or_insert(terms.len());
                if at == terms.len() {
                    terms.push((*term, y));
                } else {
                    terms[at].1 = terms[at].1.max(y);
                }
            }
            let of = &self.seeds[first];
            let mut heaviest = of[s.below(of.len())];
            for _ in 0..2 {
                let other = of[s.below(of.len())];
                if other.1 > heaviest.1 {
                    heaviest = other;
                }
            }
            let list = &self.lists[heaviest.0 as usize];
            topic = list[s.below(list.len())] as usize;
        }
        while terms.len() < length {
            let u = s.uniform();
            let i = self.cumulative.partition_point(|c| *c <= u).min(self.background.len() - 1);
            let term = self.background[i];
            if let std::collections::hash_map::Entry::Vacant(free) = place.entry(term) {
                free.insert(terms.len());
                terms.push((term, (-0.5 * (1.0 - s.uniform()).ln()).clamp(0.01, 2.6)));
            }
        }
        terms.sort_by_key(|(term, _)| *term);
        terms.into_iter().map(|(term, y)| (term, y as f32)).collect()
    }
}
