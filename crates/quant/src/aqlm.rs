//! AQLM: groups of weights are sums of codewords, fitted to the error of the outputs.

mod search;
mod update;

use crate::error::Error;
use crate::gptq;
use half::f16;
use ndarray::{Array2, ArrayView2};
use scant_tensor_core::compress::{Compress, FitError, SiteFit};
use scant_tensor_core::format::{Codebook, CodebookSpec};
use scant_tensor_core::kmeans::{KMeans, Nearest};
use scant_tensor_core::linalg::matmul;
use scant_tensor_core::progress::Progress;
use scant_tensor_core::stats::{StatSet, Statistic};
use std::fmt;
use std::str::FromStr;

/// Rows that are worked on together; fixed, so sums do not depend on the number of threads.
const ROWS: usize = 64;
/// Wider codes are for matrices with many more weights than words, and their search takes minutes for each million weights.
const WIDTHS: [u32; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
/// Share of the mean of the Gram matrix's diagonal that is added to it.
const DAMPING: f32 = 0.01;
/// Rounds end once one lowers the loss by less than this share.
const TOLERANCE: f64 = 0.01;

/// Writes each group of 4, 8 or 16 weights of a row as the sum of a codeword from each of some codebooks, times a scale of the row
/// (Egiazarian et al., 2024, AQLM).
///
/// Codebooks start as k-means of what the ones before them leave. Then in turn, codes are searched with a beam, group after group of a row with
/// its others fixed; codebooks are fitted to the codes; and scales to both: each lowers `tr(D H D^T)`, so the loss never rises. Unlike the
/// published code, codebooks are the least squares' answer by conjugate gradients instead of steps of Adam, the scale of a row is its root mean
/// square to begin with, and no block is tuned afterwards.
///
/// ```
/// use scant_quant::Aqlm;
/// let method = Aqlm::new(2, 8, 8); // 2 codebooks of 2^8 words of 8 weights: 2 bits a weight, and the words
/// assert_eq!(method.to_string(), "aqlm-2x8-g8");
/// assert_eq!("aqlm-2x8-g8".parse::<Aqlm>()?, method);
/// # Ok::<(), scant_quant::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aqlm {
    /// Codebooks.
    pub books: usize,
    /// Bits of a code, 1 to 8.
    pub bits: u32,
    /// Weights of a codeword: 4, 8 or 16.
    pub group_size: usize,
    /// Rounds of search and update at most; 0 leaves the start.
    pub rounds: usize,
}

impl Aqlm {
    /// `books` codebooks of `2^bits` words of `group_size` weights, up to 6 rounds.
    pub fn new(books: usize, bits: u32, group_size: usize) -> Aqlm {
        Aqlm { books, bits, group_size, rounds: 6 }
    }

    /// Sets the most rounds.
    #[must_use]
    pub fn rounds(mut self, rounds: usize) -> Aqlm {
        self.rounds = rounds;
        self
    }
}

/// A matrix being fitted. Behind the scales, rows are of magnitude 1.
pub(crate) struct State<'a> {
    /// `[m, n]`
    w: ArrayView2<'a, f32>,
    /// `[n, n]`, damped.
    gram: &'a Array2<f32>,
    spec: CodebookSpec,
    /// `[m, groups, books]`
    codes: Vec<u16>,
    /// `[books, words, group_size]`
    words: Vec<f32>,
    /// `[m]`
    scale: Vec<f32>,
}

impl<'a> State<'a> {
    /// Residual k-means, book after book.
    fn start(w: ArrayView2<'a, f32>, gram: &'a Array2<f32>, spec: CodebookSpec) -> Result<State<'a>, scant_tensor_core::Error> {
        let rms = |row: ndarray::ArrayView1<'_, f32>| (row.dot(&row) / spec.n as f32).sqrt();
        let scale: Vec<f32> = w.rows().into_iter().map(rms).map(|s| if s > 0.0 { s } else { 1.0 }).collect();
        let mut rest: Vec<f32> =
            w.rows().into_iter().zip(&scale).flat_map(|(row, s)| row.iter().map(|w| w / *s).collect::<Vec<_>>()).collect();
        let count = spec.m * spec.groups();
        let mut codes = vec![0u16; count * spec.books];
        let mut words = Vec::with_capacity(spec.books * spec.words() * spec.group_size);
        for book in 0..spec.books {
            let vectors = ArrayView2::from_shape((count, spec.group_size), &rest).expect("whole groups");
            let centroids = KMeans::new(spec.words()).seed(book as u64).fit(vectors)?.centroids;
            let mut nearest = vec![0u32; count];
            Nearest::new(centroids.view()).assign(vectors, &mut nearest);
            for (i, code) in nearest.into_iter().enumerate() {
                let word = centroids.row(code as usize);
                rest[i * spec.group_size..][..spec.group_size].iter_mut().zip(word).for_each(|(rest, w)| *rest -= w);
                #[expect(clippy::cast_possible_truncation, reason = "words have 8 bits at most")]
                let code = code as u16;
                codes[i * spec.books + book] = code;
            }
            words.extend(centroids.iter());
        }
        Ok(State { w, gram, spec, codes, words, scale })
    }

    /// The words that row `i` names, summed: `out` is `[n]`.
    fn unscaled(&self, words: &[f32], i: usize, out: &mut [f32]) {
        let CodebookSpec { books, group_size, .. } = self.spec;
        let per_row = self.spec.groups() * books;
        let codes = &self.codes[i * per_row..][..per_row];
        for (codes, out) in codes.chunks_exact(books).zip(out.chunks_exact_mut(group_size)) {
            out.fill(0.0);
            for (c, code) in codes.iter().enumerate() {
                let word = &words[(c * self.spec.words() + usize::from(*code)) * group_size..][..group_size];
                out.iter_mut().zip(word).for_each(|(out, w)| *out += w);
            }
        }
    }

    /// What is left of rows from `first` on, and that times the Gram matrix: `[rows, n]` each.
    fn rest(&self, first: usize) -> [Array2<f32>; 2] {
        let rows = ROWS.min(self.spec.m - first);
        let mut rest = Array2::zeros((rows, self.spec.n));
        for (i, mut row) in (first..).zip(rest.rows_mut()) {
            self.unscaled(&self.words, i, row.as_slice_mut().expect("made in row order"));
            row.iter_mut().zip(self.w.row(i)).for_each(|(r, w)| *r = w - self.scale[i] * *r);
        }
        let mut times = Array2::zeros(rest.dim());
        matmul(1.0, rest.view(), self.gram.view(), false, times.view_mut());
        [rest, times]
    }

    /// Starts of the chunks of rows.
    fn chunks(&self) -> Vec<usize> {
        (0..self.spec.m).step_by(ROWS).collect()
    }

    /// Codebooks and scales as they will be stored.
    fn round(&mut self) {
        let half = |x: &mut f32| *x = f16::from_f32(*x).to_f32();
        self.words.iter_mut().for_each(half);
        self.scale.iter_mut().for_each(half);
    }

    fn pack(&self) -> Result<Codebook, scant_tensor_core::Error> {
        let halves = |x: &[f32]| x.iter().map(|x| f16::from_f32(*x)).collect();
        Codebook::pack(self.spec, &self.codes, halves(&self.words), halves(&self.scale))
    }
}

impl Compress for Aqlm {
    fn name(&self) -> String {
        self.to_string()
    }

    fn needs(&self) -> StatSet {
        Statistic::Gram.into()
    }

    fn fit(&self, site: &mut SiteFit, progress: &dyn Progress) -> Result<(), FitError> {
        if !WIDTHS.contains(&self.bits) {
            return Err(FitError::UnsupportedBits { method: self.to_string(), bits: self.bits, allowed: &WIDTHS });
        }
        gptq::check(&self.to_string(), site, DAMPING)?;
        let mut gram = (*site.gram()?).clone();
        let added = DAMPING * gram.diag().mean().unwrap_or(0.0);
        gram.diag_mut().iter_mut().for_each(|h| *h += added);
        let total = site.matrices().len() as u64;
        for (matrix, done) in site.matrices_mut().iter_mut().zip(0..) {
            let cancelled = || FitError::Cancelled { matrix: matrix.name().to_owned() };
            if progress.cancelled() {
                return Err(cancelled());
            }
            progress.step(done, total, matrix.name());
            let at = FitError::at(matrix.name());
            let spec = CodebookSpec::new(matrix.shape(), self.books, self.bits, self.group_size).map_err(&at)?;
            let mut state = State::start(matrix.residual(), &gram, spec).map_err(&at)?;
            let mut loss = f64::INFINITY;
            let mut rounds = 0;
            for _ in 0..self.rounds {
                if progress.cancelled() {
                    return Err(cancelled());
                }
                search::sweep(&mut state);
                update::codebooks(&mut state);
                let now = update::scales(&mut state);
                rounds += 1;
                if now > (1.0 - TOLERANCE) * loss {
                    break;
                }
                loss = now;
            }
            state.round();
            if self.rounds > 0 {
                // The codes of the numbers that are stored.
                search::sweep(&mut state);
            }
            let term = state.pack().map_err(&at)?;
            drop(at);
            matrix.push(term)?;
            matrix.note("rounds", f64::from(rounds));
        }
        Ok(())
    }
}

impl fmt::Display for Aqlm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = if self.rounds == 6 { String::new() } else { format!("-r{}", self.rounds) };
        f.pad(&format!("aqlm-{}x{}-g{}{rounds}", self.books, self.bits, self.group_size))
    }
}

impl FromStr for Aqlm {
    type Err = Error;
    fn from_str(s: &str) -> Result<Aqlm, Error> {
        let bad = |detail: String| Error::MethodName { name: s.to_owned(), detail };
        let rest = s.strip_prefix("aqlm-").ok_or_else(|| bad("it does not start with `aqlm-`".to_owned()))?;
        let mut words = rest.split('-');
        let books = words.next().unwrap_or_default();
        let pair = books.split_once('x').and_then(|(m, b)| Some((m.parse().ok()?, b.parse().ok()?)));
        let (count, bits) = pair.ok_or_else(|| bad(format!("`{books}` stands where codebooks and bits should, such as 2x8")))?;
        if !WIDTHS.contains(&bits) || !(1..=16).contains(&count) {
            return Err(bad(format!("{count} codebooks of {bits} bits are not to be had: take 1 to 16 of 1 to 8 bits")));
        }
        let mut aqlm = Aqlm::new(count, bits, 8);
        for word in words {
            match (word.strip_prefix('g').map(str::parse), word.strip_prefix('r').map(str::parse)) {
                (Some(Ok(columns)), _) if [4, 8, 16].contains(&columns) => aqlm.group_size = columns,
                (Some(Ok(columns)), _) => return Err(bad(format!("codewords of {columns} weights are not to be had: take 4, 8 or 16"))),
                (_, Some(Ok(rounds))) => aqlm.rounds = rounds,
                _ => return Err(bad(format!("`{word}` is no option"))),
            }
        }
        Ok(aqlm)
    }
}

#[cfg(test)]
mod tests;
