//! What training finds: everything of an index but its rows.

use crate::error::Error;
use crate::flat::keys;
use crate::metric::Metric;
use crate::norm::{Precision, Side};
use crate::quantizer::{Coder, QuantizerKind, Scaling};
use crate::rotation::{Rotation, RotationKind};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};
use scant_tensor_core::kmeans::Nearest;

/// Centroids that are compared with queries at a time.
const CENTROIDS: usize = 32;

/// Settings that outlive training.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Config {
    pub(crate) metric: Metric,
    pub(crate) quantizer: QuantizerKind,
    pub(crate) rotation: Option<RotationKind>,
    /// 1 for a flat index.
    pub(crate) lists: usize,
    /// Codes are of what the list's centroid leaves.
    pub(crate) residual: bool,
    /// A factor for each vector, where the quantizer does not ask for one itself.
    pub(crate) norm_factor: bool,
    /// Lists that a search reads if it does not say.
    pub(crate) nprobe: usize,
}

/// Which numbers stand beside a code, and how they are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Sides {
    pub(crate) factor: Option<Precision>,
    pub(crate) shift: Option<Precision>,
    /// What a distance needs besides the product.
    pub(crate) norm: Option<Precision>,
}

impl Sides {
    pub(crate) fn bytes(&self) -> usize {
        [self.factor, self.shift, self.norm].iter().flatten().map(|p| p.size()).sum()
    }
}

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) config: Config,
    pub(crate) dim: usize,
    /// `[lists, dim]`, in the rotated space.
    pub(crate) centroids: Array2<f32>,
    pub(crate) nearest: Nearest,
    pub(crate) rotation: Option<Rotation>,
    pub(crate) coder: Option<Coder>,
    pub(crate) sides: Sides,
    pub(crate) digest: String,
}

/// Codes and numbers of some rows.
pub(crate) struct Encoded {
    pub(crate) list: Vec<u32>,
    /// A byte for each code, `[rows, tables]`.
    pub(crate) codes: Vec<u8>,
    pub(crate) factor: Vec<f32>,
    pub(crate) shift: Vec<f32>,
    pub(crate) norm: Vec<f32>,
}

impl Model {
    /// Out of what was trained or read; the dimensions must fit.
    pub(crate) fn new(
        config: Config,
        centroids: Array2<f32>,
        rotation: Option<Rotation>,
        coder: Option<Coder>,
        sides: Sides,
    ) -> Result<Model, Error> {
        let (dim, nearest) = (centroids.ncols(), Nearest::approximate(centroids.view()));
        let mut model = Model { config, dim, centroids, nearest, rotation, coder, sides, digest: String::new() };
        model.digest = model.compute_digest()?;
        Ok(model)
    }

    /// True if look-ups give squared distances by themselves.
    pub(crate) fn by_distance(config: &Config, coder: &Coder) -> bool {
        let splits = match coder {
            Coder::Product(_) | Coder::Anisotropic(_) | Coder::Osq(_) => true,
            Coder::Scalar(_) => !matches!(config.quantizer, QuantizerKind::Scalar { bits: 6 | 8 }),
            _ => false,
        };
        config.metric == Metric::L2 && splits && !config.norm_factor && (config.lists == 1 || !config.residual)
    }

    /// True if the query is taken relative to the only centroid.
    pub(crate) fn relative(&self) -> bool {
        self.config.metric == Metric::L2 && self.config.residual && self.config.lists == 1
    }

    pub(crate) fn scaling(config: &Config, coder: &Coder) -> Scaling {
        match coder.quantizer().scaling() {
            Scaling::None if config.norm_factor => Scaling::Factor,
            other => other,
        }
    }

    /// Checks rows and takes them to the space of the codes: normalised under cosine, rotated.
    pub(crate) fn admit(&self, mut x: ArrayViewMut2<'_, f32>, first: usize) -> Result<(), Error> {
        Error::check_dim("vectors", self.dim, x.ncols())?;
        Error::check_finite(x.view(), first)?;
        for (i, mut row) in x.rows_mut().into_iter().enumerate() {
            if let Some(row) = row.as_slice_mut() {
                self.config.metric.admit(first + i, row)?;
            }
        }
        if let Some(rotation) = &self.rotation {
            rotation.apply(x);
        }
        Ok(())
    }

    /// Encodes admitted rows.
    pub(crate) fn encode(&self, x: ArrayView2<'_, f32>) -> Encoded {
        let mut list = vec![0; x.nrows()];
        if self.config.lists > 1 {
            self.nearest.assign(x, &mut list);
        }
        let mut out = Encoded { list, codes: vec![], factor: vec![], shift: vec![], norm: vec![] };
        let Some(coder) = &self.coder else { return out };
        let left = self.residuals(x, &out.list);
        let (quantizer, scaling) = (coder.quantizer(), Model::scaling(&self.config, coder));
        let tables = coder.layout().tables;
        out.codes = vec![0; x.nrows() * tables];
        quantizer.encode(left.view(), &mut out.codes);
        if self.sides == Sides::default() {
            return out;
        }
        let mut g = vec![0.0f32; self.dim];
        let mut factors = self.sides.factor.map(Side::new);
        for (i, (row, codes)) in left.rows().into_iter().zip(out.codes.chunks_exact(tables)).enumerate() {
            quantizer.decode(codes, &mut g);
            let row = row.to_vec();
            let (mut factor, shift) = if scaling == Scaling::None { (1.0, 0.0) } else { quantizer.scale(&row, &g) };
            if let Some(factors) = &mut factors {
                // What will be read back, so that the norm fits to it.
                factors.push(factor);
                factor = factors.get(i);
            }
            g.iter_mut().for_each(|g| *g = factor * *g + shift);
            let squared = |v: &[f32]| v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
            out.factor.push(factor);
            out.shift.push(shift);
            if self.sides.norm.is_some() {
                let list = out.list[i] as usize;
                let own = match self.config.metric {
                    Metric::L2 if scaling == Scaling::Factor => squared(&row),
                    Metric::L2 => squared(&g),
                    _ => self.with_centroid(list, &row),
                };
                out.norm.push(self.norm(list, own, &g));
            }
        }
        out
    }

    fn with_centroid(&self, list: usize, x: &[f32]) -> f64 {
        self.centroids.row(list).iter().zip(x).map(|(c, x)| f64::from(*c) * f64::from(*x)).sum()
    }

    /// What the key of a vector needs besides the query's product with `g`, the scaled part that its codes stand for. Under L2 `own` is the
    /// squared length of what the centroid leaves. Under the inner product it is that part's product with the centroid, whose estimate
    /// through `g` it takes the place of.
    pub(crate) fn norm(&self, list: usize, own: f64, g: &[f32]) -> f32 {
        let norm = match self.config.metric {
            Metric::L2 if self.config.residual && self.config.lists > 1 => own + 2.0 * self.with_centroid(list, g),
            Metric::L2 => own,
            _ => self.with_centroid(list, g) - own,
        };
        norm as f32
    }

    /// What the centroids leave of each row; the row itself if codes are direct.
    pub(crate) fn residuals(&self, x: ArrayView2<'_, f32>, list: &[u32]) -> Array2<f32> {
        let mut left = x.as_standard_layout().into_owned();
        if self.config.residual {
            for (mut row, list) in left.axis_iter_mut(Axis(0)).zip(list) {
                row -= &self.centroids.row(*list as usize);
            }
        }
        left
    }

    /// The key of each centroid for each query: lists are read in this order.
    pub(crate) fn list_keys(&self, queries: &[&[f32]]) -> Vec<Vec<f32>> {
        let mut found = vec![vec![0.0; self.centroids.nrows()]; queries.len()];
        let centroids = self.centroids.as_standard_layout();
        // A tile stays in the first cache while the queries take turns.
        for (tile, rows) in centroids.as_slice().unwrap_or_default().chunks(CENTROIDS * self.dim).enumerate() {
            for (q, found) in queries.iter().zip(&mut found) {
                keys(self.config.metric, q, rows, &mut found[tile * CENTROIDS..]);
            }
        }
        found
    }
}
