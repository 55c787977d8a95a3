//! From settings to an index: train, add, finish. An untrained index cannot be written down.

use crate::error::Error;
use crate::index::Index;
use crate::metric::Metric;
use crate::model::{Config, Model, Sides};
use crate::norm::Precision;
use crate::opq::train_opq;
use crate::quantizer::{Coder, Levels, QuantizerKind, Scaling};
use crate::rotation::{Rotation, RotationKind};
use crate::source::{VectorSource, gather, read_rows};
use ndarray::{Array2, ArrayView2, Axis};
use scant_tensor_core::kmeans::{KMeans, Nearest};
use scant_tensor_core::linalg;
use scant_tensor_core::progress::Progress;
use scant_tensor_core::retrieve::Columns;
use scant_tensor_core::rng::Rng;
use std::sync::Arc;

/// Training rows for each centroid of the lists; the codebooks have at most 65,536 rows.
const ROWS_PER_LIST: usize = 64;
const ROWS: usize = 1 << 16;
/// Dimensions from which on signs alone tell neighbours.
const SIGNS: usize = 100;
/// Rows that are added at a time.
const CHUNK: usize = 1 << 14;

/// Settings of an index.
///
/// ```
/// use ndarray::Array2;
/// use scant_pq_index::quantizer::QuantizerKind;
/// use scant_pq_index::{IndexBuilder, Metric};
/// let x = Array2::from_shape_fn((300, 8), |(i, j)| ((i * (j + 3)) as f32).sin());
/// let mut trained = IndexBuilder::new(Metric::L2).quantizer(QuantizerKind::Scalar { bits: 8 }).train(&x)?;
/// trained.add_source(&x)?; // ids are row numbers
/// let index = trained.finish();
/// let hits = index.search(x.view(), 1, &Default::default())?;
/// assert!(hits.iter().enumerate().all(|(row, hits)| hits[0].id == row as u64));
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct IndexBuilder {
    config: Config,
    balance: f32,
    seed: u64,
}

impl IndexBuilder {
    /// A flat index of f32 vectors, until something else is said.
    pub fn new(metric: Metric) -> IndexBuilder {
        let config =
            Config { metric, quantizer: QuantizerKind::Full, rotation: None, lists: 1, residual: false, norm_factor: false, nprobe: 8 };
        IndexBuilder { config, balance: 0.0, seed: 1234 }
    }

    /// A flat index in at most this many bytes for each vector of `dim` components, what stands beside the codes included; ids and codebooks are not.
    ///
    /// Whole vectors where they fit; else a byte for each component; 4 to 1 bits on a rotated grid, which needs no training; and product codes of 8 bits
    /// below that, or where a grid of signs has too few dimensions to be right on average.
    ///
    /// # Errors
    /// [`Error::LengthMismatch`] for less than can be.
    ///
    /// ```
    /// use ndarray::Array2;
    /// use scant_pq_index::{IndexBuilder, Metric};
    /// let x = Array2::from_shape_fn((300, 128), |(i, j)| ((i * (j + 3)) as f32).sin());
    /// let mut trained = IndexBuilder::for_budget(Metric::Cosine, 128, 70)?.train(&x)?;
    /// trained.add_source(&x)?;
    /// let bytes = trained.finish().bytes_per_vector();
    /// assert!(bytes.codes + bytes.sides <= 70.0);
    /// # Ok::<(), scant_pq_index::Error>(())
    /// ```
    pub fn for_budget(metric: Metric, dim: usize, bytes: usize) -> Result<IndexBuilder, Error> {
        let builder = IndexBuilder::new(metric);
        if bytes >= 4 * dim {
            return Ok(builder);
        }
        if bytes >= dim + if metric == Metric::L2 { size_of::<f32>() } else { 0 } {
            return Ok(builder.quantizer(QuantizerKind::Scalar { bits: 8 }));
        }
        // A factor, and a norm under L2, of two bytes each at most.
        let beside = if metric == Metric::L2 { 4 } else { 2 };
        let fits = |bits: &u32| (dim * *bits as usize).div_ceil(8) + beside <= bytes && (*bits > 1 || dim >= SIGNS);
        if let Some(bits) = [4, 3, 2, 1].into_iter().find(fits) {
            let levels = if bits == 3 { Levels::Uniform } else { Levels::LloydMax };
            return Ok(builder.quantizer(QuantizerKind::Rotated { bits, levels }).rotation(RotationKind::Hadamard));
        }
        // Distances gain nothing from a factor, products and cosines more than from as many codes.
        let (builder, beside) = if metric == Metric::L2 { (builder, 0) } else { (builder.norm_factor(), 2) };
        if bytes <= beside {
            return Err(Error::LengthMismatch { what: "bytes for a vector, at least", want: beside + 1, got: bytes });
        }
        Ok(builder.quantizer(QuantizerKind::Product { m: dim.min(bytes - beside), bits: 8 }))
    }

    /// How vectors become codes.
    pub fn quantizer(mut self, quantizer: QuantizerKind) -> Self {
        self.config.quantizer = quantizer;
        self
    }

    /// A rotation in front of the quantizer.
    pub fn rotation(mut self, rotation: RotationKind) -> Self {
        self.config.rotation = Some(rotation);
        self
    }

    /// An inverted file of this many lists (4 to 16 times the root of the number of vectors is usual).
    pub fn lists(mut self, lists: usize) -> Self {
        self.config.lists = lists;
        self
    }

    /// Encodes what the list's centroid leaves; in a flat index, what the mean leaves.
    pub fn residual(mut self) -> Self {
        self.config.residual = true;
        self
    }

    /// Keeps a factor for each vector that makes its estimate exact along the vector itself: one byte, and one more
    /// under L2; two each where the training rows' range is too wide for steps of 1 %.
    pub fn norm_factor(mut self) -> Self {
        self.config.norm_factor = true;
        self
    }

    /// Lists that a search reads if it does not say; 8 by default.
    pub fn nprobe(mut self, nprobe: usize) -> Self {
        self.config.nprobe = nprobe.max(1);
        self
    }

    /// Evens out the lists: see [`KMeans::balance`].
    pub fn balance(mut self, balance: f32) -> Self {
        self.balance = balance;
        self
    }

    /// The seed of all that is drawn.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    fn check(&self, dim: usize, have: usize) -> Result<(), Error> {
        let Config { quantizer, rotation, lists, norm_factor, .. } = self.config;
        if dim == 0 || have == 0 {
            return Err(Error::EmptyTraining);
        }
        if lists == 0 || lists > have {
            return Err(Error::TooFewVectors { have, need: lists.max(1) });
        }
        let combination = |what, with| Err(Error::Combination { what, with });
        match (quantizer, rotation) {
            (QuantizerKind::Full, Some(_)) => combination("a rotation", "vectors that are kept whole"),
            (QuantizerKind::Full, None) if norm_factor => combination("a norm factor", "vectors that are kept whole"),
            (QuantizerKind::Lvq { .. }, _) if norm_factor => combination("a norm factor", "lvq, which has a step for each vector"),
            (QuantizerKind::Product { .. } | QuantizerKind::Anisotropic { .. }, _) => Ok(()),
            (_, Some(RotationKind::Opq)) => combination("opq", "a quantizer other than the product quantizer"),
            _ => Ok(()),
        }
    }

    /// Finds lists, rotation and codebooks on a seeded sample of `source`.
    ///
    /// # Errors
    /// [`Error::EmptyTraining`], [`Error::TooFewVectors`], [`Error::NonFinite`], [`Error::ZeroVector`], [`Error::Combination`], and what the
    /// quantizer says.
    pub fn train(&self, source: &dyn VectorSource) -> Result<Trained, Error> {
        let mut config = self.config.clone();
        self.check(source.dim(), source.len())?;
        if config.quantizer == QuantizerKind::Full {
            config.residual = false;
        }
        let dim = source.dim();
        let mut x = self.sample(source, ROWS.max(ROWS_PER_LIST * config.lists))?;
        let codebook_rows = x.nrows().min(ROWS);
        let rotation = self.rotation_of(x.slice_axis(Axis(0), (0..codebook_rows).into()))?;
        if let Some(rotation) = &rotation {
            rotation.apply(x.view_mut());
        }
        let centroids = self.centroids(x.view())?;
        let mut model = Model {
            dim,
            nearest: Nearest::approximate(centroids.view()),
            centroids,
            rotation,
            coder: None,
            sides: Sides::default(),
            digest: String::new(),
            config,
        };
        let x = x.slice_axis(Axis(0), (0..codebook_rows).into());
        let mut list = vec![0; x.nrows()];
        if model.config.lists > 1 {
            model.nearest.assign(x, &mut list);
        }
        let left = model.residuals(x, &list);
        model.coder = Coder::train(model.config.quantizer, left.view(), self.seed)?;
        model.sides = sides(&model, left.view());
        model.digest = model.compute_digest()?;
        Ok(Trained { index: Index::empty(Arc::new(model)) })
    }

    /// Rows of the source in a seeded order, so that the first ones are a sample too; admitted, not rotated.
    fn sample(&self, source: &dyn VectorSource, count: usize) -> Result<Array2<f32>, Error> {
        let mut rng = Rng::new(self.seed);
        let mut rows: Vec<usize> = (0..source.len()).collect();
        if count < rows.len() {
            rng.shuffle(&mut rows);
            rows.truncate(count);
            rows.sort_unstable();
        }
        let mut x = gather(source, &rows)?;
        for (mut row, number) in x.rows_mut().into_iter().zip(&rows) {
            if let Some(row) = row.as_slice_mut() {
                self.config.metric.admit(*number, row)?;
            }
        }
        let mut order: Vec<usize> = (0..rows.len()).collect();
        rng.shuffle(&mut order);
        Ok(x.select(Axis(0), &order))
    }

    fn rotation_of(&self, x: ArrayView2<'_, f32>) -> Result<Option<Rotation>, Error> {
        let parts = match self.config.quantizer {
            QuantizerKind::Product { m, .. } | QuantizerKind::Anisotropic { m, .. } => m.clamp(1, x.ncols()),
            _ => 1,
        };
        Ok(match self.config.rotation {
            None => None,
            Some(RotationKind::Hadamard) => Some(Rotation::hadamard(x.ncols(), self.seed)),
            Some(RotationKind::Random) => Some(Rotation::random(x.ncols(), self.seed)),
            Some(RotationKind::Pca) => Some(Rotation::pca(x, parts)),
            Some(RotationKind::Opq) => match self.config.quantizer {
                QuantizerKind::Product { m, bits } | QuantizerKind::Anisotropic { m, bits, .. } => Some(train_opq(x, m, bits, self.seed)?),
                _ => return Err(Error::Combination { what: "opq", with: "a quantizer other than the product quantizer" }),
            },
        })
    }

    fn centroids(&self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        if self.config.lists > 1 {
            let kmeans = KMeans::new(self.config.lists).seed(self.seed).rows_per_centroid(ROWS_PER_LIST).iters(12).balance(self.balance);
            let kmeans = if self.config.metric == Metric::Cosine { kmeans.spherical() } else { kmeans };
            return Ok(kmeans.fit(x)?.centroids);
        }
        let mean = linalg::mean(x).insert_axis(Axis(0));
        Ok(if self.config.residual { mean } else { Array2::zeros(mean.dim()) })
    }
}

/// Decides which numbers stand beside the codes, and takes their ranges from the training rows.
fn sides(model: &Model, left: ArrayView2<'_, f32>) -> Sides {
    let Some(coder) = &model.coder else { return Sides::default() };
    let scaling = Model::scaling(&model.config, coder);
    let mut sides = Sides::default();
    let needs_norm = model.config.metric == Metric::L2 && !Model::by_distance(&model.config, coder);
    match scaling {
        Scaling::None => {}
        Scaling::Affine => (sides.factor, sides.shift) = (Some(Precision::F32), Some(Precision::F32)),
        Scaling::Factor => {
            let quantizer = coder.quantizer();
            let mut codes = vec![0; left.nrows() * coder.layout().tables];
            quantizer.encode(left, &mut codes);
            let mut g = vec![0.0; model.dim];
            let factors: Vec<f32> = left
                .rows()
                .into_iter()
                .zip(codes.chunks_exact(coder.layout().tables))
                .map(|(row, codes)| {
                    quantizer.decode(codes, &mut g);
                    quantizer.scale(&row.to_vec(), &g).0
                })
                .collect();
            sides.factor = Some(Precision::logarithmic(&factors));
        }
    }
    if needs_norm {
        let squared: Vec<f32> = left.rows().into_iter().map(|row| row.iter().map(|v| v * v).sum()).collect();
        let plain = scaling == Scaling::Factor && !(model.config.residual && model.config.lists > 1);
        // Where the number is the exact length of a reconstruction, or has the centroid's product in it, a byte would not do.
        sides.norm = Some(if plain { Precision::logarithmic(&squared) } else { Precision::F32 });
    }
    sides
}

/// A trained index that takes vectors. Clones share what was trained, so that they become shards of one index.
#[derive(Clone, Debug)]
pub struct Trained {
    index: Index,
}

impl Trained {
    /// Adds rows under their ids. All or none.
    ///
    /// # Errors
    /// As [`Index::add`].
    pub fn add(&mut self, ids: &[u64], x: ArrayView2<'_, f32>) -> Result<(), Error> {
        self.index.add(ids, x)
    }

    /// Adds rows with attributes.
    ///
    /// # Errors
    /// As [`Index::add_with`].
    pub fn add_with(&mut self, ids: &[u64], x: ArrayView2<'_, f32>, columns: &Columns) -> Result<(), Error> {
        self.index.add_with(ids, x, columns)
    }

    /// Adds a whole source, a part at a time, under its row numbers.
    ///
    /// # Errors
    /// As [`Index::add`]; parts before the one that failed stay.
    pub fn add_source(&mut self, source: &dyn VectorSource) -> Result<(), Error> {
        self.add_source_with(source, 0, &())
    }

    /// As [`add_source`](Self::add_source), with ids from `first_id`, reporting after each part.
    ///
    /// # Errors
    /// As there; [`Error::Cancelled`].
    pub fn add_source_with(&mut self, source: &dyn VectorSource, first_id: u64, progress: &dyn Progress) -> Result<(), Error> {
        for begin in (0..source.len()).step_by(CHUNK) {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let end = (begin + CHUNK).min(source.len());
            let x = read_rows(source, begin..end)?;
            let ids: Vec<u64> = (begin as u64..end as u64).map(|row| first_id + row).collect();
            self.index.add_rows(&ids, x, None, begin)?;
            progress.step(end as u64, source.len() as u64, "vectors");
        }
        Ok(())
    }

    /// The index.
    pub fn finish(self) -> Index {
        self.index
    }
}
