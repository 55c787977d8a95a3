//! A recall knob: cuts that were tried on sample queries.

use crate::error::Error;
use crate::index::Index;
use crate::query::Query;
use crate::search::{Effort, SearchOptions};
use crate::vector::{SparseVec, Vectors};
use scant_tensor_core::retrieve::Hit;

/// A cut, and what it did on the sample.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Rung {
    /// Heaviest terms that are read.
    pub terms: usize,
    /// Candidates for each document that is asked for.
    pub candidates: usize,
    /// Mean share of the best that was found.
    pub recall: f32,
    /// Standard error of that mean.
    pub error: f32,
    /// Mean postings read, with a candidate counted as the postings that cost the same.
    pub cost: f32,
}

const TERMS: [usize; 8] = [3, 4, 6, 8, 12, 16, 24, 32];
const CANDIDATES: [usize; 3] = [3, 5, 10];
/// Postings that cost as much as one candidate.
const CANDIDATE: f32 = 250.0;

impl Index {
    /// Tries cuts on sample queries and keeps what they found of the best `k`, for [`Effort::Recall`]. The promise is about queries like these.
    ///
    /// # Errors
    /// [`Error::Length`] without a query that finds anything; as [`Index::search`].
    pub fn calibrate(&mut self, queries: &Vectors, k: usize) -> Result<&[Rung], Error> {
        let exact = self.search_all(queries, k, &SearchOptions::default())?;
        let mut ladder = vec![];
        for terms in TERMS {
            for candidates in CANDIDATES {
                let options = SearchOptions { effort: Effort::Cut { terms, candidates: candidates * k }, ..Default::default() };
                let found = self.search_all(queries, k, &options)?;
                let share = |(found, exact): (&Vec<Hit>, &Vec<Hit>)| {
                    exact.iter().filter(|hit| found.contains(hit)).count() as f32 / exact.len() as f32
                };
                let shares: Vec<f32> = found.iter().zip(&exact).filter(|(_, exact)| !exact.is_empty()).map(share).collect();
                let n = shares.len() as f32;
                if shares.is_empty() {
                    return Err(Error::Length { what: "sample queries that find something", want: 1, got: 0 });
                }
                let recall = shares.iter().sum::<f32>() / n;
                let variance = shares.iter().map(|s| (s - recall).powi(2)).sum::<f32>() / n;
                let read: f32 = queries.iter().map(|q| self.read(q, terms) as f32).sum::<f32>() / queries.len() as f32;
                let cost = read + CANDIDATE * (candidates * k) as f32;
                ladder.push(Rung { terms, candidates, recall, error: (variance / n).sqrt(), cost });
            }
        }
        ladder.sort_by(|a, b| a.cost.total_cmp(&b.cost));
        self.ladder = ladder;
        Ok(&self.ladder)
    }

    fn read(&self, q: SparseVec<'_>, terms: usize) -> u64 {
        let query = Query::new(q, &self.scale);
        query.terms.iter().take(terms).map(|(term, _)| u64::from(self.df[*term as usize])).sum()
    }

    pub(crate) fn cut_for(&self, recall: f32, k: usize) -> Effort {
        let rung = self.ladder.iter().find(|rung| rung.recall >= recall + rung.error);
        rung.map_or(Effort::Exact, |rung| Effort::Cut { terms: rung.terms, candidates: rung.candidates * k })
    }
}
