//! From vectors to planes of bits.

use super::codes::{BinaryCodes, check};
use crate::error::Error;
use crate::flat::keys;
use crate::metric::Metric;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;
use scant_spectra::principal;
use scant_tensor_core::file::{Crc32c, Dtype, File, Writer};
use scant_tensor_core::linalg::{cross, matmul};
use scant_tensor_core::rng::Rng;
use std::path::Path;

const KIND: &str = "pq-index/binary-encoder";
const VERSION: u32 = 1;
/// The steps of the best equal-step quantizers of a Gaussian of variance 1, for 1 to 8 bits (Max 1960).
const STEPS: [f32; 8] = [1.596, 0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308];

/// Linear layers with ReLU between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Mlp {
    layers: Vec<(Array2<f32>, Array1<f32>)>,
}

impl Mlp {
    /// Weights `[out, in]` and biases `[out]`, at least one layer; a batch normalisation is folded into them.
    ///
    /// # Errors
    /// [`Error::DimMismatch`] where layers do not fit together, [`Error::NonFinite`], [`Error::EmptyTraining`] without layers.
    pub fn new(layers: Vec<(Array2<f32>, Array1<f32>)>) -> Result<Mlp, Error> {
        if layers.is_empty() || layers.iter().any(|(weight, _)| weight.is_empty()) {
            return Err(Error::EmptyTraining);
        }
        for (weight, bias) in &layers {
            Error::check_dim("bias of a layer", weight.nrows(), bias.len())?;
            Error::check_finite(weight.view(), 0)?;
            Error::check_finite(bias.view().insert_axis(Axis(0)), 0)?;
        }
        for pair in layers.windows(2) {
            Error::check_dim("input of a layer", pair[0].0.nrows(), pair[1].0.ncols())?;
        }
        let layers = layers.into_iter().map(|(weight, bias)| (weight.as_standard_layout().into_owned(), bias)).collect();
        Ok(Mlp { layers })
    }

    fn inputs(&self) -> usize {
        self.layers[0].0.ncols()
    }

    fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].0.nrows()
    }

    /// Of one vector, so that its bits do not depend on how many there are.
    fn apply(&self, x: &[f32]) -> Vec<f32> {
        let mut x = x.to_vec();
        for (i, (weight, bias)) in self.layers.iter().enumerate() {
            let mut y = vec![0.0; weight.nrows()];
            keys(Metric::InnerProduct, &x, weight.as_slice().unwrap_or_default(), &mut y);
            y.iter_mut().zip(bias).for_each(|(y, b)| *y = b - *y);
            if i + 1 < self.layers.len() {
                y.iter_mut().for_each(|y| *y = y.max(0.0));
            }
            x = y;
        }
        x
    }

    fn save(&self, name: &str, writer: &mut Writer<'_>) -> Result<(), Error> {
        for (i, (weight, bias)) in self.layers.iter().enumerate() {
            let values = |a: Vec<f32>| bytemuck::cast_slice(&a).to_vec();
            writer.add(format!("{name}.{i}.weight"), Dtype::F32, weight.shape(), values(weight.iter().copied().collect()))?;
            writer.add(format!("{name}.{i}.bias"), Dtype::F32, bias.shape(), values(bias.to_vec()))?;
        }
        Ok(())
    }

    fn load(name: &str, file: &File) -> Result<Mlp, Error> {
        let mut layers = vec![];
        while file.contains(&format!("{name}.{}.weight", layers.len())) {
            let weight = file.tensor(&format!("{name}.{}.weight", layers.len()))?;
            let [outputs, inputs] = weight.shape[..] else {
                return Err(Error::DimMismatch { what: "axes of a weight", want: 2, got: weight.shape.len() });
            };
            let values = weight.to_f32()?;
            let bias = file.typed::<f32>(&format!("{name}.{}.bias", layers.len()), [outputs])?;
            layers.push((Array2::from_shape_fn((outputs, inputs), |(r, c)| values[r * inputs + c]), Array1::from(bias.to_vec())));
        }
        Mlp::new(layers)
    }
}

#[derive(Clone, Debug)]
enum Kind {
    /// Products with the rows of a tight frame, `[m, d]`, over the deviation that they have.
    Frame(Array2<f32>),
    /// For each plane what makes its bits, and for each but the last what makes vectors of the bits so far.
    Network { planes: Vec<Mlp>, recon: Vec<Mlp> },
}

/// Makes [`BinaryCodes`] of vectors. Only their directions count.
///
/// ```
/// use ndarray::array;
/// use scant_pq_index::BinaryEncoder;
/// let encoder = BinaryEncoder::frame(2, 8, 4, 1)?;
/// let codes = encoder.encode(array![[1.0, 0.0], [0.9, 0.1], [-1.0, 0.0]].view())?;
/// assert!(codes.product(0, &codes, 1) > 0 && codes.product(0, &codes, 2) < 0);
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BinaryEncoder {
    m: usize,
    planes: u32,
    id: String,
    kind: Kind,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Parameters {
    dim: usize,
    m: usize,
    planes: u32,
    network: bool,
}

impl BinaryEncoder {
    /// The encoder that needs no training: random directions that form a tight frame, the products with them as binary fractions. `m` may be
    /// more than `dim`; if it is less, what the directions do not span is lost.
    ///
    /// # Errors
    /// [`Error::BitsUnsupported`] unless there are 1 to 8 planes, [`Error::BitBudget`] unless `m` is 1 to 32,768, [`Error::EmptyTraining`]
    /// without dimensions.
    pub fn frame(dim: usize, m: usize, planes: u32, seed: u64) -> Result<BinaryEncoder, Error> {
        check(m, planes)?;
        if dim == 0 {
            return Err(Error::EmptyTraining);
        }
        let frame = tight_frame(m, dim, seed);
        BinaryEncoder::identified(m, planes, Kind::Frame(frame))
    }

    /// A learned encoder (BEBR): plane 0 is the signs of `planes[0]` of the vector, and each further one the signs of its network on what
    /// the reconstruction of the planes before leaves of the vector. Reconstructions and vectors are normalised; the sign of 0 is positive.
    ///
    /// # Errors
    /// [`Error::LengthMismatch`] unless there is one reconstruction fewer than planes, [`Error::DimMismatch`] where networks do not fit together,
    /// and those of [`frame`](Self::frame).
    pub fn network(planes: Vec<Mlp>, recon: Vec<Mlp>) -> Result<BinaryEncoder, Error> {
        let Some(first) = planes.first() else { return Err(Error::EmptyTraining) };
        let (dim, m) = (first.inputs(), first.outputs());
        check(m, planes.len() as u32)?;
        Error::check_len("reconstructions", planes.len() - 1, recon.len())?;
        for mlp in &planes {
            Error::check_dim("input of a plane", dim, mlp.inputs())?;
            Error::check_dim("output of a plane", m, mlp.outputs())?;
        }
        for mlp in &recon {
            Error::check_dim("input of a reconstruction", m, mlp.inputs())?;
            Error::check_dim("output of a reconstruction", dim, mlp.outputs())?;
        }
        BinaryEncoder::identified(m, planes.len() as u32, Kind::Network { planes, recon })
    }

    fn identified(m: usize, planes: u32, kind: Kind) -> Result<BinaryEncoder, Error> {
        let mut encoder = BinaryEncoder { m, planes, id: String::new(), kind };
        encoder.id = Crc32c::of(&encoder.writer()?.to_bytes()?).to_string();
        Ok(encoder)
    }

    /// Names the encoder: a checksum of all its numbers. Codes carry it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Components of a code.
    pub fn m(&self) -> usize {
        self.m
    }

    /// Bits of a component.
    pub fn planes(&self) -> u32 {
        self.planes
    }

    /// Components of a vector.
    pub fn dim(&self) -> usize {
        match &self.kind {
            Kind::Frame(frame) => frame.ncols(),
            Kind::Network { planes, .. } => planes[0].inputs(),
        }
    }

    /// The codes of the rows of `x` `[n, dim]`, in parallel. O(m dim) a row and plane.
    ///
    /// # Errors
    /// [`Error::DimMismatch`], [`Error::NonFinite`], [`Error::ZeroVector`].
    pub fn encode(&self, x: ArrayView2<'_, f32>) -> Result<BinaryCodes, Error> {
        let x = self.directions(x)?;
        let one = |x: ndarray::ArrayView1<'_, f32>| match &self.kind {
            Kind::Frame(frame) => self.fractions(&products(frame, &x.to_vec())),
            Kind::Network { planes, recon } => (residual_signs(planes, recon, &x.to_vec()), 1.0),
        };
        let rows: Vec<(Vec<u8>, f32)> = (0..x.nrows()).into_par_iter().map(|i| one(x.row(i))).collect();
        let (codes, factors): (Vec<Vec<u8>>, Vec<f32>) = rows.into_iter().unzip();
        let mut codes = BinaryCodes::new(self.m, self.planes, self.id.clone(), codes.concat())?;
        codes.factors = matches!(self.kind, Kind::Frame(_)).then_some(factors);
        Ok(codes)
    }

    /// Vectors in the space of the components, `[n, m]`, to be compared with codes without being encoded.
    ///
    /// # Errors
    /// As [`encode`](Self::encode); [`Error::Combination`] for a learned encoder, whose components only exist as bits.
    pub fn project(&self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        let Kind::Frame(frame) = &self.kind else {
            return Err(Error::Combination { what: "a query that is not encoded", with: "a learned encoder: encode it" });
        };
        let x = self.directions(x)?;
        let mut out = Array2::zeros((x.nrows(), self.m));
        for (x, mut out) in x.rows().into_iter().zip(out.rows_mut()) {
            out.assign(&Array1::from(products(frame, &x.to_vec())));
        }
        Ok(out)
    }

    fn directions(&self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        Error::check_dim("vectors", self.dim(), x.ncols())?;
        Error::check_finite(x, 0)?;
        let mut x = x.as_standard_layout().into_owned();
        for (i, mut row) in x.rows_mut().into_iter().enumerate() {
            Metric::Cosine.admit(i, row.as_slice_mut().unwrap_or_default())?;
        }
        Ok(x)
    }

    /// Each product as a binary fraction, and the factor that makes their product with the vector its length.
    fn fractions(&self, z: &[f32]) -> (Vec<u8>, f32) {
        let (half, top) = ((1u32 << (self.planes - 1)) as f32, ((1u32 << self.planes) - 1) as f32);
        let step = STEPS[self.planes as usize - 1] / (self.dim().max(self.m) as f32).sqrt();
        let codes: Vec<u8> = z.iter().map(|z| (z / step + half).floor().clamp(0.0, top) as u8).collect();
        let along: f32 = z.iter().zip(&codes).map(|(z, c)| z * super::codes::level(*c, self.planes) as f32 / half).sum();
        let norm = z.iter().map(|z| z * z).sum::<f32>().sqrt();
        // Signs agree, so the product is positive, unless the frame does not see the vector at all.
        (codes, if along > 0.0 { norm / along } else { 0.0 })
    }

    fn writer(&self) -> Result<Writer<'static>, Error> {
        let network = matches!(self.kind, Kind::Network { .. });
        let parameters = Parameters { dim: self.dim(), m: self.m, planes: self.planes, network };
        let mut writer = Writer::new(KIND, VERSION).parameters(&parameters)?;
        match &self.kind {
            Kind::Frame(frame) => {
                let values: Vec<f32> = frame.iter().copied().collect();
                writer.add("frame", Dtype::F32, frame.shape(), bytemuck::cast_slice(&values).to_vec())?;
            }
            Kind::Network { planes, recon } => {
                for (t, mlp) in planes.iter().enumerate() {
                    mlp.save(&format!("bebr.w{t}"), &mut writer)?;
                }
                for (t, mlp) in recon.iter().enumerate() {
                    mlp.save(&format!("bebr.r{t}"), &mut writer)?;
                }
            }
        }
        Ok(writer)
    }

    /// Saves it: kind `pq-index/binary-encoder`, with `frame` `[m, dim]`, or `bebr.w{plane}.{layer}.weight` `[out, in]` and `.bias`, and
    /// `bebr.r{plane}` for the reconstructions.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.writer()?.save(path)?)
    }

    /// The bytes of a saved encoder.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn to_bytes(&self) -> Result<scant_tensor_core::file::Bytes, Error> {
        Ok(self.writer()?.to_bytes()?)
    }

    /// The encoder in an opened file.
    ///
    /// # Errors
    /// [`Error::File`] for another kind of file or tensors of other shapes, and those of the constructors.
    pub fn from_file(file: &File) -> Result<BinaryEncoder, Error> {
        let Parameters { dim, m, planes, network } = file.require_kind(KIND, VERSION)?.parameters()?;
        check(m, planes)?;
        if network {
            let load = |name: &str, count: u32| (0..count).map(|t| Mlp::load(&format!("bebr.{name}{t}"), file)).collect::<Result<_, _>>();
            return BinaryEncoder::network(load("w", planes)?, load("r", planes - 1)?);
        }
        if dim == 0 {
            return Err(Error::EmptyTraining);
        }
        let values = file.typed::<f32>("frame", [m, dim])?;
        let frame = Array2::from_shape_fn((m, dim), |(r, c)| values[r * dim + c]);
        Error::check_finite(frame.view(), 0)?;
        BinaryEncoder::identified(m, planes, Kind::Frame(frame))
    }
}

/// Random rows whose columns are orthonormal, or the other way round if there are fewer rows: `[m, dim]`. O(m dim min(m, dim)).
fn tight_frame(m: usize, dim: usize, seed: u64) -> Array2<f32> {
    let (long, short) = (m.max(dim), m.min(dim));
    let mut rng = Rng::new(seed);
    let mut g = Array2::from_shape_simple_fn((long, short), || rng.normal());
    // The polar factor G (G^T G)^(-1/2) of a Gaussian is uniform. A square one may be ill-conditioned, which the repetition mends.
    for _ in 0..3 {
        let Some((values, axes)) = principal(cross(g.view(), g.view()).view()) else { break };
        let least = 1e-12 * values.first().copied().unwrap_or(0.0) + f64::MIN_POSITIVE;
        let mut scaled = axes.clone();
        for (mut axis, value) in scaled.rows_mut().into_iter().zip(values) {
            axis *= value.max(least).sqrt().recip() as f32;
        }
        let mut root = Array2::zeros((short, short));
        matmul(1.0, axes.t(), scaled.view(), false, root.view_mut());
        let mut next = Array2::zeros(g.dim());
        matmul(1.0, g.view(), root.view(), false, next.view_mut());
        g = next;
    }
    if m >= dim { g } else { g.t().as_standard_layout().into_owned() }
}

fn products(frame: &Array2<f32>, x: &[f32]) -> Vec<f32> {
    let mut z = vec![0.0; frame.nrows()];
    keys(Metric::InnerProduct, x, frame.as_slice().unwrap_or_default(), &mut z);
    z.iter_mut().for_each(|z| *z = -*z);
    z
}

fn residual_signs(planes: &[Mlp], recon: &[Mlp], x: &[f32]) -> Vec<u8> {
    let mut codes = vec![0u8; planes[0].outputs()];
    let mut left = x.to_vec();
    for (t, plane) in planes.iter().enumerate() {
        for (code, z) in codes.iter_mut().zip(plane.apply(&left)) {
            *code = *code << 1 | u8::from(z >= 0.0);
        }
        if let Some(recon) = recon.get(t) {
            let bits = t as u32 + 1;
            let b: Vec<f32> = codes.iter().map(|c| super::codes::level(*c, bits) as f32 / (1u32 << t) as f32).collect();
            let mut guess = recon.apply(&b);
            // A guess of no direction is none.
            let _ = Metric::Cosine.admit(0, &mut guess);
            left = x.iter().zip(&guess).map(|(x, g)| x - g).collect();
        }
    }
    codes
}
