//! A layer is a sum of terms: `y = Post(sum of T_i Pre(x)) + bias`.

use crate::error::Error;
use crate::file::Bytes;
use crate::format::{Codebook, Csr, Dense, DenseType, Grid, LowRank, PANEL, Palette, Pivoted};
use crate::kernels;
use crate::prepared::{Prepared, Wants};
use crate::transform::Post;
use ndarray::{ArrayView2, ArrayViewMut1, ArrayViewMut2};
use std::ops::Range;
use std::sync::Arc;

/// Exact bytes of a term or layer, by part. What is saved weighs the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Footprint {
    /// Codes of weights, padding included.
    pub codes: u64,
    /// Scales, zero points and minima, of both levels.
    pub scales: u64,
    /// Weights kept as numbers.
    pub values: u64,
    /// Codebooks and palettes.
    pub codebooks: u64,
    /// Column indices and row pointers.
    pub indices: u64,
    /// Pre and Post.
    pub transforms: u64,
    /// Bias.
    pub bias: u64,
}

impl Footprint {
    /// All parts.
    pub fn total(&self) -> u64 {
        self.codes + self.scales + self.values + self.codebooks + self.indices + self.transforms + self.bias
    }

    /// Bits per weight of a matrix of the given shape.
    pub fn bits_per_weight(&self, shape: [usize; 2]) -> f64 {
        8.0 * self.total() as f64 / (shape[0] as f64 * shape[1] as f64)
    }
}

impl std::ops::Add for Footprint {
    type Output = Footprint;
    fn add(self, o: Footprint) -> Footprint {
        Footprint {
            codes: self.codes + o.codes,
            scales: self.scales + o.scales,
            values: self.values + o.values,
            codebooks: self.codebooks + o.codebooks,
            indices: self.indices + o.indices,
            transforms: self.transforms + o.transforms,
            bias: self.bias + o.bias,
        }
    }
}

impl std::iter::Sum for Footprint {
    fn sum<I: Iterator<Item = Footprint>>(parts: I) -> Footprint {
        parts.fold(Footprint::default(), std::ops::Add::add)
    }
}

/// A matrix `[m, n]` in some form. [`accumulate`](LinearOp::accumulate) is the operation everything else is built on.
///
/// A leaf: it starts no threads and takes no heap; scratch lives on the stack. Shapes are the caller's duty ([`Site`](crate::Site) checks them).
pub trait LinearOp: Send + Sync {
    /// Rows (outputs) and columns (inputs).
    fn shape(&self) -> [usize; 2];

    /// Exact bytes by part.
    fn footprint(&self) -> Footprint;

    /// What it needs of its input; asked once and united over the site.
    fn wants(&self) -> Wants {
        Wants::default()
    }

    /// For two-stage terms: the length of the first stage's result per token.
    fn staged_len(&self) -> usize {
        0
    }

    /// What the second stage needs of the first one's result.
    fn staged_wants(&self) -> Wants {
        Wants::default()
    }

    /// Adds `part` of the first stage to `t`, `[tokens, part.len()]` with contiguous rows: once per input, not once per row range. `part`
    /// starts at a multiple of 16 and ends at one or at the end.
    fn stage(&self, x: &Prepared, part: Range<usize>, t: ArrayViewMut2<'_, f32>) {
        let _ = (x, part, t);
    }

    /// `y[.., rows] += x W[rows]^T`. `y` is `[tokens, rows.len()]` with contiguous rows; `rows` starts at a multiple of 16 and ends at
    /// one or at `m`; `staged` holds the first stage's result, `[tokens, staged_len]`, where there is one.
    fn accumulate(&self, x: &Prepared, staged: &Prepared, rows: Range<usize>, y: ArrayViewMut2<'_, f32>);

    /// `dense += W[rows]`, `[rows.len(), n]`: residuals are subtractions.
    fn add_rows(&self, rows: Range<usize>, dense: ArrayViewMut2<'_, f32>);

    /// `dense += W`, `[m, n]`.
    fn add_to(&self, dense: ArrayViewMut2<'_, f32>) {
        self.add_rows(0..self.shape()[0], dense);
    }

    /// `out += W[i]`, `[n]`: tied embeddings read the same storage.
    fn add_row(&self, i: usize, out: ArrayViewMut1<'_, f32>) {
        self.add_rows(i..i + 1, out.insert_axis(ndarray::Axis(0)));
    }

    /// `dx += g W` for gradients `g` `[tokens, m]` and `dx` `[tokens, n]`: the adjoint, for training.
    fn accumulate_t(&self, g: ArrayView2<'_, f32>, mut dx: ArrayViewMut2<'_, f32>) {
        let [m, n] = self.shape();
        let mut w = ndarray::Array2::zeros((m.min(64), n));
        for start in (0..m).step_by(64) {
            let rows = start..(start + 64).min(m);
            let mut tile = w.slice_mut(ndarray::s![..rows.len(), ..]);
            tile.fill(0.0);
            self.add_rows(rows.clone(), tile.view_mut());
            ndarray::linalg::general_mat_mul(1.0, &g.slice(ndarray::s![.., rows]), &tile, 1.0, &mut dx);
        }
    }
}

/// One term of the sum. The set is closed, so that saving and footprints know every format; `Other` is the door for the user's own.
#[derive(Clone)]
#[non_exhaustive]
pub enum Term {
    /// The matrix itself.
    Dense(Arc<Dense>),
    /// Small codes with scales.
    Grid(Arc<Grid>),
    /// Codes into a palette with scales.
    Palette(Arc<Palette>),
    /// Few elements, each with its column.
    Csr(Arc<Csr>),
    /// Codes of groups of weights into codebooks.
    Codebook(Arc<Codebook>),
    /// A product of two thin matrices.
    LowRank(Arc<LowRank>),
    /// The same, where some rows are the second matrix as it is.
    Pivoted(Arc<Pivoted>),
    /// The caller's own; runs, but is not saved.
    Other(Arc<dyn LinearOp>),
}

impl std::fmt::Debug for Term {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self {
            Term::Dense(_) => "Dense",
            Term::Grid(_) => "Grid",
            Term::Palette(_) => "Palette",
            Term::Csr(_) => "Csr",
            Term::Codebook(_) => "Codebook",
            Term::LowRank(_) => "LowRank",
            Term::Pivoted(_) => "Pivoted",
            Term::Other(_) => "Other",
        };
        write!(f, "{kind}{:?}", self.op().shape())
    }
}

impl From<Dense> for Term {
    fn from(t: Dense) -> Term {
        Term::Dense(Arc::new(t))
    }
}

impl From<Grid> for Term {
    fn from(t: Grid) -> Term {
        Term::Grid(Arc::new(t))
    }
}

impl From<Palette> for Term {
    fn from(t: Palette) -> Term {
        Term::Palette(Arc::new(t))
    }
}

impl From<Csr> for Term {
    fn from(t: Csr) -> Term {
        Term::Csr(Arc::new(t))
    }
}

impl From<Codebook> for Term {
    fn from(t: Codebook) -> Term {
        Term::Codebook(Arc::new(t))
    }
}

impl From<LowRank> for Term {
    fn from(t: LowRank) -> Term {
        Term::LowRank(Arc::new(t))
    }
}

impl From<Pivoted> for Term {
    fn from(t: Pivoted) -> Term {
        Term::Pivoted(Arc::new(t))
    }
}

impl Term {
    /// The operation.
    pub fn op(&self) -> &dyn LinearOp {
        match self {
            Term::Dense(t) => &**t,
            Term::Grid(t) => &**t,
            Term::Palette(t) => &**t,
            Term::Csr(t) => &**t,
            Term::Codebook(t) => &**t,
            Term::LowRank(t) => &**t,
            Term::Pivoted(t) => &**t,
            Term::Other(t) => &**t,
        }
    }

    /// Shows `f` each stretch of memory that it lies in, to be put elsewhere.
    pub(crate) fn each_bytes(&mut self, f: &mut dyn FnMut(&mut Bytes)) {
        match self {
            Term::Dense(t) => Arc::make_mut(t).each_bytes(f),
            Term::Grid(t) => Arc::make_mut(t).each_bytes(f),
            Term::Palette(t) => Arc::make_mut(t).each_bytes(f),
            Term::Csr(t) => Arc::make_mut(t).each_bytes(f),
            Term::Codebook(t) => Arc::make_mut(t).each_bytes(f),
            Term::LowRank(t) => Arc::make_mut(t).each_bytes(f),
            Term::Pivoted(t) => Arc::make_mut(t).each_bytes(f),
            Term::Other(_) => {}
        }
    }
}

/// A sum of terms with what follows it. Overwrites its output, so it is no [`LinearOp`].
#[derive(Clone, Debug)]
pub struct Linear {
    pub(crate) terms: Vec<Term>,
    pub(crate) post: Post,
    pub(crate) bias: Option<Arc<[f32]>>,
}

impl Linear {
    /// A sum of at least one term.
    ///
    /// # Errors
    /// [`Error::Shape`] if terms, `post` and `bias` disagree; [`Error::Empty`] without terms.
    pub fn new(terms: Vec<Term>, post: Post, bias: Option<Vec<f32>>) -> Result<Linear, Error> {
        let Some(first) = terms.first() else {
            return Err(Error::Empty { what: "sum of terms".to_owned(), shape: [0, 0] });
        };
        let [m, n] = first.op().shape();
        for term in &terms {
            Error::check_shape("term", &[m, n], &term.op().shape())?;
        }
        if let Post::Step(step) = &post {
            step.check("post")?;
            Error::check_shape("post", &[m], &[step.len()])?;
        }
        if let Some(bias) = &bias {
            Error::check_shape("bias", &[m], &[bias.len()])?;
            Error::check_finite("bias", ArrayView2::from_shape((1, m), bias).expect("the length was checked"))?;
        }
        Ok(Linear { terms, post, bias: bias.map(Into::into) })
    }

    /// One term and nothing else.
    ///
    /// # Errors
    /// None for terms of this crate, which have elements.
    pub fn from_term(term: impl Into<Term>) -> Result<Linear, Error> {
        Linear::new(vec![term.into()], Post::None, None)
    }

    /// Outputs and inputs.
    pub fn shape(&self) -> [usize; 2] {
        self.terms[0].op().shape()
    }

    /// The terms.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// What follows the sum.
    pub fn post(&self) -> &Post {
        &self.post
    }

    /// The bias.
    pub fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }

    /// Bytes of terms, Post and bias.
    pub fn footprint(&self) -> Footprint {
        let terms: Footprint = self.terms.iter().map(|t| t.op().footprint()).sum();
        let transforms = match &self.post {
            Post::None => 0,
            Post::Step(step) => step.bytes(),
        };
        terms + Footprint { transforms, bias: self.bias.as_ref().map_or(0, |b| 4 * b.len() as u64), ..Footprint::default() }
    }
}

impl LinearOp for Grid {
    fn shape(&self) -> [usize; 2] {
        [self.spec().m, self.spec().n]
    }

    fn footprint(&self) -> Footprint {
        Footprint { codes: self.packed_codes().len() as u64, scales: self.scale().bytes() + self.offset_bytes(), ..Footprint::default() }
    }

    fn wants(&self) -> Wants {
        Wants { blocks: true }
    }

    fn accumulate(&self, x: &Prepared, _staged: &Prepared, rows: Range<usize>, mut y: ArrayViewMut2<'_, f32>) {
        kernels::grid::accumulate(self, x, rows, &mut y);
    }

    fn add_rows(&self, rows: Range<usize>, dense: ArrayViewMut2<'_, f32>) {
        add_codes(self, None, rows, dense);
    }
}

impl LinearOp for Palette {
    fn shape(&self) -> [usize; 2] {
        self.grid().shape()
    }

    fn footprint(&self) -> Footprint {
        Footprint { codebooks: self.values().len() as u64, ..self.grid().footprint() }
    }

    fn wants(&self) -> Wants {
        self.grid().wants()
    }

    fn accumulate(&self, x: &Prepared, _staged: &Prepared, rows: Range<usize>, mut y: ArrayViewMut2<'_, f32>) {
        kernels::grid::accumulate_palette(self, x, rows, &mut y);
    }

    fn add_rows(&self, rows: Range<usize>, dense: ArrayViewMut2<'_, f32>) {
        add_codes(self.grid(), Some(self), rows, dense);
    }
}

/// `dense += W[rows]` for the codes of `grid`, through the palette if there is one.
fn add_codes(grid: &Grid, palette: Option<&Palette>, rows: Range<usize>, mut dense: ArrayViewMut2<'_, f32>) {
    for panel in rows.start / PANEL..rows.end.div_ceil(PANEL) {
        let first = panel * PANEL;
        let inside = rows.start.max(first) - first..rows.end.min(first + PANEL) - first;
        if inside.len() == PANEL.min(grid.spec().m - first) {
            let table = palette.map(Palette::table);
            kernels::expand::add_panel(grid, table.as_ref(), panel, first - rows.start, &mut dense);
            continue;
        }
        grid.each(panel, inside, palette.map(Palette::values), |r, j, w| dense[[first + r - rows.start, j]] += w);
    }
}

impl LinearOp for Dense {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn footprint(&self) -> Footprint {
        let bytes = if self.kind() == DenseType::F32 { 4 } else { 2 };
        Footprint { values: bytes * self.shape[0] as u64 * self.shape[1] as u64, ..Footprint::default() }
    }

    fn accumulate(&self, x: &Prepared, _staged: &Prepared, rows: Range<usize>, mut y: ArrayViewMut2<'_, f32>) {
        kernels::dense::accumulate(self, x, rows, &mut y);
    }

    fn add_rows(&self, rows: Range<usize>, mut dense: ArrayViewMut2<'_, f32>) {
        kernels::dense::add_rows(self, rows, &mut dense);
    }
}

impl LinearOp for Csr {
    fn shape(&self) -> [usize; 2] {
        self.shape()
    }

    fn footprint(&self) -> Footprint {
        let indices = self.starts().as_bytes().len() + self.columns().as_bytes().len();
        Footprint { values: self.values().as_bytes().len() as u64, indices: indices as u64, ..Footprint::default() }
    }

    fn accumulate(&self, x: &Prepared, _staged: &Prepared, rows: Range<usize>, mut y: ArrayViewMut2<'_, f32>) {
        kernels::csr::accumulate(self, x, rows, &mut y);
    }

    fn add_rows(&self, rows: Range<usize>, mut dense: ArrayViewMut2<'_, f32>) {
        self.each(rows.clone(), |i, j, w| dense[[i - rows.start, j]] += w);
    }

    fn accumulate_t(&self, g: ArrayView2<'_, f32>, mut dx: ArrayViewMut2<'_, f32>) {
        for (g, mut dx) in g.rows().into_iter().zip(dx.rows_mut()) {
            self.each(0..self.shape()[0], |i, j, w| dx[j] += g[i] * w);
        }
    }
}

impl LinearOp for Codebook {
    fn shape(&self) -> [usize; 2] {
        [self.spec().m, self.spec().n]
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            codes: self.codes().as_bytes().len() as u64,
            scales: self.scale().as_bytes().len() as u64,
            codebooks: self.codebooks().as_bytes().len() as u64,
            ..Footprint::default()
        }
    }

    fn accumulate(&self, x: &Prepared, _staged: &Prepared, rows: Range<usize>, mut y: ArrayViewMut2<'_, f32>) {
        kernels::codebook::accumulate(self, x, rows, &mut y);
    }

    fn add_rows(&self, rows: Range<usize>, mut dense: ArrayViewMut2<'_, f32>) {
        let mut row = vec![0.0; self.spec().n];
        for (i, mut out) in rows.zip(dense.rows_mut()) {
            self.decode_row(i, &mut row);
            out.iter_mut().zip(&row).for_each(|(out, w)| *out += w);
        }
    }
}
