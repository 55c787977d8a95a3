//! Search: term at a time inside a window of documents.

use crate::error::Error;
use crate::index::Index;
use crate::query::Query;
use crate::vector::{SparseVec, Vectors};
use crate::windowed::{Accumulators, Block, Blocks};
use rayon::prelude::*;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::retrieve::{Bitmap, Hit, TopK};

/// How thoroughly a search looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Effort {
    /// All postings of all terms: the best documents by the stored impacts, for certain.
    #[default]
    Exact,
    /// Reads the `terms` heaviest terms only, and scores the best `candidates` in full.
    Cut {
        /// Terms that are read.
        terms: usize,
        /// Documents that are scored.
        candidates: usize,
    },
    /// The cheapest cut that found this share of the best on the queries of [`Index::calibrate`]; exact if none did.
    Recall(f32),
}

/// What a search is told besides its query.
#[derive(Clone, Copy, Debug, Default)]
pub struct SearchOptions<'a> {
    /// How thoroughly.
    pub effort: Effort,
    /// Rows that may be found, as [`Index::rows`] gives them; all without.
    pub allowed: Option<&'a Bitmap>,
    /// Terms that a document must hold.
    pub must: &'a [u32],
}

/// Memory of a search, for one thread: nothing large is allocated after the first query.
///
/// ```
/// use scant_sparse_index::{IndexBuilder, SparseVec, Vectors, Workspace};
/// let mut documents = Vectors::new();
/// documents.push(SparseVec::new(&[1], &[1.0])?)?;
/// let index = IndexBuilder::new().build(&[7], &documents)?;
/// let mut workspace = Workspace::default();
/// for _ in 0..3 {
///     assert_eq!(index.search_in(SparseVec::new(&[1], &[2.0])?, 1, &Default::default(), &mut workspace)?[0].id, 7);
/// }
/// # Ok::<(), scant_sparse_index::Error>(())
/// ```
#[derive(Debug)]
pub struct Workspace {
    isa: Isa,
    sums: Accumulators,
    table: Vec<u32>,
}

impl Default for Workspace {
    fn default() -> Workspace {
        Workspace::new(Isa::best())
    }
}

impl Workspace {
    /// With the instructions of a tier; results are the same with all.
    pub fn new(isa: Isa) -> Workspace {
        Workspace { isa, sums: Accumulators::default(), table: vec![] }
    }
}

/// A list that is read window by window.
struct Cursor<'a> {
    next: Option<Block<'a>>,
    rest: Blocks<'a>,
    weight: u32,
}

impl<'a> Cursor<'a> {
    /// The list in a window, if the next one is there.
    fn at(&self, window: usize) -> Option<Block<'a>> {
        self.next.filter(|block| block.window == window)
    }
}

/// A document costs as much to score on its own as so many postings cost in order.
const DOCUMENT: u64 = 250;

impl Index {
    /// The best `k` documents, larger scores first and of equal ones the smaller ids. Documents without a term of the query are never among
    /// them, so there may be fewer; terms that the index does not know add nothing. Scores are those of the stored impacts; how far they
    /// can lie from the vectors' is [`Index::score_bound`].
    ///
    /// # Errors
    /// [`Error::KZero`]; [`Error::Length`] for rows of another number of documents.
    pub fn search(&self, q: SparseVec<'_>, k: usize, options: &SearchOptions<'_>) -> Result<Vec<Hit>, Error> {
        self.search_in(q, k, options, &mut Workspace::default())
    }

    /// As [`search`](Self::search), for each of many queries, on all threads of the pool.
    ///
    /// # Errors
    /// As there.
    pub fn search_all(&self, queries: &Vectors, k: usize, options: &SearchOptions<'_>) -> Result<Vec<Vec<Hit>>, Error> {
        let each = |workspace: &mut Workspace, i: usize| self.search_in(queries.get(i), k, options, workspace);
        (0..queries.len()).into_par_iter().map_init(Workspace::default, each).collect()
    }

    /// As [`search`](Self::search), in memory that the caller keeps.
    ///
    /// # Errors
    /// As there.
    pub fn search_in(&self, q: SparseVec<'_>, k: usize, options: &SearchOptions<'_>, ws: &mut Workspace) -> Result<Vec<Hit>, Error> {
        if k == 0 {
            return Err(Error::KZero);
        }
        let query = Query::new(q, &self.scale);
        let allowed = self.allowed(options)?;
        let allowed = allowed.as_ref();
        let effort = match options.effort {
            Effort::Recall(recall) => self.cut_for(recall, k),
            effort => effort,
        };
        let touched: u64 = query.terms.iter().map(|(term, _)| u64::from(self.df[*term as usize])).sum();
        let few = allowed.filter(|rows| rows.count() as u64 * DOCUMENT < touched);
        let best = match (few, effort) {
            (Some(rows), _) => self.rescore(&query, rows.iter(), k, ws),
            (None, Effort::Cut { terms, candidates }) if terms < query.terms.len() => {
                let found = self.scan(&query.terms[..terms], candidates.max(k), allowed, |row| row as u64, ws).into_sorted();
                self.rescore(&query, found.into_iter().map(|(_, row)| row as usize), k, ws)
            }
            _ => self.scan(&query.terms, k, allowed, |row| self.ids[row], ws),
        };
        Ok(best.into_sorted().into_iter().map(|(key, id)| Hit { id, score: -key * query.factor }).collect())
    }

    /// Rows that may be found; `None` if all may.
    fn allowed(&self, options: &SearchOptions<'_>) -> Result<Option<Bitmap>, Error> {
        let rows = self.ids.len();
        let dead = self.live.count() < rows;
        if !dead && options.allowed.is_none() && options.must.is_empty() {
            return Ok(None);
        }
        let mut allowed = self.live.clone();
        if let Some(given) = options.allowed {
            Error::check_len("rows that may be found", rows, given.len())?;
            allowed.intersect(given);
        }
        for term in options.must {
            let mut holds = Bitmap::none(rows);
            if (*term as usize) < self.scale.len() {
                self.postings.rows(*term as usize).into_iter().filter(|row| *row < rows).for_each(|row| holds.insert(row));
            }
            allowed.intersect(&holds);
        }
        Ok(Some(allowed))
    }

    fn rescore(&self, query: &Query, rows: impl Iterator<Item = usize>, k: usize, ws: &mut Workspace) -> TopK {
        let mut best = TopK::new(k.min(self.ids.len()));
        self.fill(query, &mut ws.table);
        for row in rows {
            let score = self.forward.score(row, &ws.table);
            if score > 0 {
                best.push(-(score as f32), self.ids[row]);
            }
        }
        query.terms.iter().for_each(|(term, _)| ws.table[self.forward.rank[*term as usize] as usize] = 0);
        best
    }

    fn scan(&self, terms: &[(u32, u32)], k: usize, allowed: Option<&Bitmap>, name: impl Fn(usize) -> u64, ws: &mut Workspace) -> TopK {
        let (rows, window) = (self.ids.len(), self.postings.window);
        let mut cursors: Vec<Cursor<'_>> = terms
            .iter()
            .map(|(term, weight)| {
                let mut rest = self.postings.of(*term as usize);
                Cursor { next: rest.next(), rest, weight: *weight }
            })
            .collect();
        let mut best = TopK::new(k.min(rows));
        let mut least = 1;
        for number in 0..rows.div_ceil(window) {
            let range = number * window..(number * window + window).min(rows);
            let bound: u32 = cursors.iter().filter_map(|c| c.at(number).map(|block| u32::from(block.most) * c.weight)).sum();
            let wanted = bound >= least && allowed.is_none_or(|allowed| holds_any(allowed, &range));
            for cursor in &mut cursors {
                let Some(block) = cursor.at(number) else { continue };
                if wanted {
                    ws.isa.run(ws.sums.add(block, cursor.weight));
                }
                cursor.next = cursor.rest.next();
            }
            if wanted {
                ws.isa.run(ws.sums.collect(range, least, |row, score| {
                    if allowed.is_none_or(|allowed| allowed.contains(row)) {
                        best.push(-(score as f32), name(row));
                    }
                    least_of(&best)
                }));
                best.tighten();
                least = least_of(&best);
            }
        }
        best
    }
}

/// The lowest score that can still be among the best.
fn least_of(best: &TopK) -> u32 {
    if best.worst().is_finite() { (-best.worst()) as u32 } else { 1 }
}

/// Whether a row of the range is in the set.
fn holds_any(rows: &Bitmap, range: &std::ops::Range<usize>) -> bool {
    rows.words()[range.start / 64..range.end.div_ceil(64)].iter().any(|word| *word != 0)
}
