//! Product quantization under a loss that weighs what is lost along the vector more than across it (ScaNN, Guo et al. 2020, arXiv 1908.10396).

use super::{Layout, ProductQuantizer, Quantizer};
use crate::error::Error;
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use scant_tensor_core::file::{File, Writer};

/// Rounds of training: codes, then codebooks.
const ROUNDS: usize = 8;
/// Passes over the parts of a vector at most; most need two.
const SWEEPS: usize = 10;
/// Rows that are worked on together, whatever the number of threads.
const CHUNK: usize = 1024;

/// Codebooks for parts of the vector, with codes and centroids that minimise `|r|^2 + (eta - 1) <x / |x|, r>^2` of what is lost, `r`: an error along
/// the vector changes its large products, one across it mostly small ones.
///
/// Where a byte can be kept beside the codes, a [factor](crate::IndexBuilder::norm_factor) does better.
#[derive(Clone, Debug)]
pub struct Anisotropic {
    pq: ProductQuantizer,
    eta: u32,
}

impl Anisotropic {
    /// Trains on the rows of `x`, from plain codebooks; an `eta` of 1 leaves those.
    ///
    /// # Errors
    /// As [`ProductQuantizer::train`]; [`Error::LengthMismatch`] for an `eta` of 0.
    pub fn train(x: ArrayView2<'_, f32>, m: usize, bits: u32, eta: u32, seed: u64) -> Result<Anisotropic, Error> {
        let mut quantizer = Anisotropic::of(ProductQuantizer::train(x, m, bits, seed)?, eta)?;
        if eta > 1 {
            for _ in 0..ROUNDS {
                let mut codes = vec![0; x.nrows() * m];
                quantizer.encode(x, &mut codes);
                quantizer.update(x, &codes)?;
            }
        }
        Ok(quantizer)
    }

    fn of(pq: ProductQuantizer, eta: u32) -> Result<Anisotropic, Error> {
        if eta == 0 {
            return Err(Error::LengthMismatch { what: "the weight of errors along the vector, at least", want: 1, got: 0 });
        }
        Ok(Anisotropic { pq, eta })
    }

    pub(super) fn save(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
        self.pq.save(writer)
    }

    pub(super) fn load(file: &File, dim: usize, m: usize, bits: u32, eta: u32) -> Result<Anisotropic, Error> {
        Anisotropic::of(ProductQuantizer::load(file, dim, m, bits)?, eta)
    }

    /// The codebooks: files of others hold them as those of a product quantizer.
    pub(crate) fn product(&self) -> &ProductQuantizer {
        &self.pq
    }

    fn extra(&self) -> f32 {
        (self.eta - 1) as f32
    }

    /// Coordinate descent over the parts of one vector, from its nearest codes.
    fn improve(&self, x: &[f32], unit: &[f32], codes: &mut [u8]) {
        let extra = self.extra();
        let along =
            |(begin, end): (usize, usize), centroid: &[f32]| -> f32 { (begin..end).zip(centroid).map(|(i, c)| unit[i] * (x[i] - c)).sum() };
        let own = |j: usize, code: u8| along(self.pq.range(j), self.pq.centroid(j, code));
        let mut total: f32 = codes.iter().enumerate().map(|(j, code)| own(j, *code)).sum();
        for _ in 0..SWEEPS {
            let mut changed = false;
            for (j, held) in codes.iter_mut().enumerate() {
                let (begin, end) = self.pq.range(j);
                let rest = total - own(j, *held);
                let mut best = (f32::INFINITY, *held, 0.0);
                for code in 0..self.pq.entries() {
                    let code = code as u8;
                    let centroid = self.pq.centroid(j, code);
                    let error: f32 = (begin..end).zip(centroid).map(|(i, c)| (x[i] - c) * (x[i] - c)).sum();
                    let part = along((begin, end), centroid);
                    let loss = error + extra * (rest + part) * (rest + part);
                    // Of equal losses the code it has stays.
                    if loss < best.0 || (loss == best.0 && code == *held) {
                        best = (loss, code, part);
                    }
                }
                changed |= best.1 != *held;
                *held = best.1;
                total = rest + best.2;
            }
            if !changed {
                return;
            }
        }
    }

    /// The best centroids for these codes: for each a system of as many equations as its part has dimensions.
    fn update(&mut self, x: ArrayView2<'_, f32>, codes: &[u8]) -> Result<(), Error> {
        let (m, k, extra) = (self.pq.layout().tables, self.pq.entries(), f64::from(self.extra()));
        let lost: Vec<f32> = (0..x.nrows())
            .into_par_iter()
            .map(|row| {
                let (row, codes) = (x.row(row), &codes[row * m..][..m]);
                let length = row.dot(&row).sqrt().max(f32::MIN_POSITIVE);
                let part = |j: usize| {
                    let (begin, end) = self.pq.range(j);
                    (begin..end).zip(self.pq.centroid(j, codes[j])).map(|(i, c)| row[i] / length * (row[i] - c)).sum::<f32>()
                };
                (0..m).map(part).sum()
            })
            .collect();
        let parts: Vec<Vec<f32>> = (0..m)
            .into_par_iter()
            .map(|j| {
                let (begin, end) = self.pq.range(j);
                let d = end - begin;
                let mut systems = vec![Array2::<f64>::zeros((d, d + 1)); k];
                let mut counts = vec![0u32; k];
                for (i, row) in x.rows().into_iter().enumerate() {
                    let code = usize::from(codes[i * m + j]);
                    let (system, length) = (&mut systems[code], row.dot(&row).sqrt().max(f32::MIN_POSITIVE));
                    let centroid = self.pq.centroid(j, codes[i * m + j]);
                    let unit: Vec<f64> = (begin..end).map(|c| f64::from(row[c] / length)).collect();
                    let own: f64 = unit.iter().zip(begin..end).zip(centroid).map(|((u, c), g)| u * f64::from(row[c] - g)).sum();
                    // What the other parts lose along the vector, and what this one has along it.
                    let target = f64::from(lost[i]) - own + unit.iter().zip(begin..end).map(|(u, c)| u * f64::from(row[c])).sum::<f64>();
                    for a in 0..d {
                        for b in 0..d {
                            system[[a, b]] += extra * unit[a] * unit[b];
                        }
                        system[[a, a]] += 1.0;
                        system[[a, d]] += f64::from(row[begin + a]) + extra * target * unit[a];
                    }
                    counts[code] += 1;
                }
                let mut centroids = vec![];
                for (code, system) in systems.iter().enumerate() {
                    let (left, right) = system.view().split_at(Axis(1), d);
                    let solved = (counts[code] > 0).then(|| scant_spectra::solve(left, right)).flatten();
                    match solved {
                        Some(solved) => centroids.extend(solved.iter().map(|v| *v as f32)),
                        None => centroids.extend_from_slice(self.pq.centroid(j, code as u8)),
                    }
                }
                centroids
            })
            .collect();
        self.pq = ProductQuantizer::from_codebooks(self.pq.dim(), m, self.pq.layout().bits, &parts.concat())?;
        Ok(())
    }
}

impl Quantizer for Anisotropic {
    fn dim(&self) -> usize {
        self.pq.dim()
    }

    fn layout(&self) -> Layout {
        self.pq.layout()
    }

    fn encode(&self, x: ArrayView2<'_, f32>, codes: &mut [u8]) {
        self.pq.encode(x, codes);
        if self.eta == 1 {
            return;
        }
        let m = self.layout().tables;
        codes.par_chunks_mut(CHUNK * m).zip(x.axis_chunks_iter(Axis(0), CHUNK).collect::<Vec<_>>()).for_each(|(codes, x)| {
            for (codes, row) in codes.chunks_exact_mut(m).zip(x.rows()) {
                let row = row.to_vec();
                let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
                if length > 0.0 {
                    let unit: Vec<f32> = row.iter().map(|v| v / length).collect();
                    self.improve(&row, &unit, codes);
                }
            }
        });
    }

    fn decode(&self, codes: &[u8], g: &mut [f32]) {
        self.pq.decode(codes, g);
    }

    fn products(&self, q: &[f32], tables: &mut [f32]) {
        self.pq.products(q, tables);
    }

    fn distances(&self, q: &[f32], tables: &mut [f32]) -> bool {
        self.pq.distances(q, tables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scant_tensor_core::rng::Rng;

    /// The loss, and the plain squared error, over all rows.
    fn losses(q: &Anisotropic, x: &Array2<f32>, eta: u32) -> [f64; 2] {
        let m = q.layout().tables;
        let mut codes = vec![0; x.nrows() * m];
        q.encode(x.view(), &mut codes);
        let mut sums = [0.0; 2];
        for (row, codes) in x.rows().into_iter().zip(codes.chunks(m)) {
            let mut g = vec![0.0; x.ncols()];
            q.decode(codes, &mut g);
            let length = row.dot(&row).sqrt();
            let error: f32 = row.iter().zip(&g).map(|(x, g)| (x - g) * (x - g)).sum();
            let along: f32 = row.iter().zip(&g).map(|(x, g)| x / length * (x - g)).sum();
            sums[0] += f64::from(error + (eta - 1) as f32 * along * along);
            sums[1] += f64::from(error);
        }
        sums
    }

    #[test]
    fn its_own_loss_is_lower_and_the_plain_one_higher() {
        let mut rng = Rng::new(1);
        let x = Array2::from_shape_simple_fn((2000, 12), || rng.normal());
        let plain = Anisotropic::train(x.view(), 4, 4, 1, 1).unwrap();
        let mut last = losses(&plain, &x, 4);
        for eta in [2, 4, 16] {
            let own = Anisotropic::train(x.view(), 4, 4, eta, 1).unwrap();
            assert!(losses(&own, &x, eta)[0] < losses(&plain, &x, eta)[0], "{eta}");
            let error = losses(&own, &x, eta);
            assert!(error[1] >= last[1], "eta {eta}: {error:?} after {last:?}");
            last = error;
        }
        assert!(Anisotropic::train(x.view(), 4, 4, 0, 1).is_err());
    }
}
