//! From what a file has to an index: codes into blocks, with the numbers beside them that searches want.

use super::bytes::Reader;
use super::quantizer::Stored;
use super::read::{Parsed, Refine};
use crate::error::Error;
use crate::index::Index;
use crate::list::List;
use crate::metric::Metric;
use crate::model::{Config, Encoded, Model, Sides};
use crate::norm::Precision;
use crate::quantizer::{Coder, RotatedGrid};
use half::{bf16, f16};
use ndarray::ArrayView2;
use scant_tensor_core::retrieve::{Bitmap, Columns};
use std::sync::Arc;

/// Rows that are taken apart at a time.
const CHUNK: usize = 1024;

impl Parsed<'_> {
    /// The index, and the full vectors behind it if there are some.
    pub(super) fn assemble(self, r: &Reader<'_>) -> Result<(Index, Option<Refine>), Error> {
        let ids = self.unique_ids(r)?;
        let (kind, rotation) = self.before.rotation().unzip();
        let config = Config {
            metric: self.header.metric,
            quantizer: self.quantizer.kind,
            rotation: kind,
            lists: self.centroids.nrows(),
            // Vectors that are kept whole are put together again below.
            residual: self.residual && self.quantizer.coder.is_some(),
            norm_factor: false,
            nprobe: self.nprobe,
        };
        let rabitq = matches!(self.quantizer.stored, Stored::RaBitQ { .. });
        let by_distance = self.quantizer.coder.as_ref().is_none_or(|coder| Model::by_distance(&config, coder));
        let sides = Sides {
            factor: rabitq.then_some(Precision::F32),
            shift: None,
            norm: (rabitq || config.metric == Metric::L2 && !by_distance).then_some(Precision::F32),
        };
        let model = Model::new(config, self.centroids, rotation, self.quantizer.coder, sides)?;
        let codes = Codes { model: &model, stored: self.quantizer.stored, residual: self.residual };
        let (mut lists, mut row) = (Vec::with_capacity(self.lists.len()), 0);
        for (l, rows) in self.lists.iter().enumerate() {
            let mut list = List::new(&model);
            for bytes in rows.codes.chunks(CHUNK * self.quantizer.code_size) {
                let bytes: Vec<&[u8]> = bytes.chunks_exact(self.quantizer.code_size).collect();
                let (encoded, full) = codes.read(r, l, row as usize, &bytes)?;
                for i in 0..bytes.len() {
                    let full = if full.is_empty() { &[] } else { &full[i * model.dim..][..model.dim] };
                    list.push(&model, row, &encoded, i, full);
                    row += 1;
                }
            }
            list.bound(0);
            lists.push(list);
        }
        let live = Bitmap::all(ids.len());
        Ok((Index::from_parts(Arc::new(model), lists, ids, live, Columns::default()), self.refine))
    }

    /// The id of each row, list after list.
    fn unique_ids(&self, r: &Reader<'_>) -> Result<Vec<u64>, Error> {
        let ids: Vec<u64> = self.lists.iter().flat_map(|list| list.ids.iter().copied()).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::DuplicateId { id: pair[0] });
        }
        if let Some(refine) = &self.refine {
            let mut refined = refine.ids.clone();
            refined.sort_unstable();
            if refined != sorted {
                return Err(r.corrupt("ids of the refining index", "those of the base index", "others"));
            }
        }
        Ok(ids)
    }
}

/// How the bytes of a list are read.
struct Codes<'a> {
    model: &'a Model,
    stored: Stored,
    residual: bool,
}

impl Codes<'_> {
    /// Rows of list `l`, of which the first is row `first`: as codes, or as vectors.
    fn read(&self, r: &Reader<'_>, l: usize, first: usize, rows: &[&[u8]]) -> Result<(Encoded, Vec<f32>), Error> {
        let mut encoded = Encoded { list: vec![], codes: vec![], factor: vec![], shift: vec![], norm: vec![] };
        let mut full = vec![];
        match (&self.model.coder, self.stored) {
            (Some(Coder::Rotated(grid)), Stored::RaBitQ { bits }) => {
                for row in rows {
                    self.rabitq(r, grid, bits as usize, l, row, &mut encoded)?;
                }
            }
            (Some(coder), _) => {
                for row in rows {
                    self.codes(coder, l, row, &mut encoded);
                }
            }
            (None, stored) => {
                full.extend(rows.iter().flat_map(|row| floats(stored, row)));
                if self.residual {
                    let centroid = self.model.centroids.row(l);
                    full.chunks_exact_mut(self.model.dim).for_each(|x| x.iter_mut().zip(centroid).for_each(|(x, c)| *x += c));
                }
                let view = ArrayView2::from_shape((rows.len(), self.model.dim), &full);
                Error::check_finite(view.expect("rows of the model's dimension"), first)?;
            }
        }
        Ok((encoded, full))
    }

    fn codes(&self, coder: &Coder, l: usize, row: &[u8], out: &mut Encoded) {
        let layout = coder.layout();
        let begin = out.codes.len();
        out.codes.resize(begin + layout.tables, 0);
        layout.unpack(row, &mut out.codes[begin..]);
        if self.model.sides.norm.is_some() {
            let mut g = vec![0.0; self.model.dim];
            coder.quantizer().decode(&out.codes[begin..], &mut g);
            let own = g.iter().map(|v| f64::from(*v).powi(2)).sum();
            out.norm.push(self.model.norm(l, own, &g));
        }
    }

    /// Signs, factors, the other bits and their factors. `F` turns the grid's values into the estimate of what the centroid leaves, `r`.
    fn rabitq(&self, reader: &Reader<'_>, grid: &RotatedGrid, bits: usize, l: usize, row: &[u8], out: &mut Encoded) -> Result<(), Error> {
        let (dim, more) = (self.model.dim, bits - 1);
        let bit = |from: &[u8], at: usize| from[at / 8] >> (at % 8) & 1;
        let number = |at: usize| row[at..].first_chunk().map_or(f32::NAN, |b| f32::from_le_bytes(*b));
        let factors = dim.div_ceil(8);
        let (signs, others) = (&row[..factors], &row[factors..]);
        let l2 = self.model.config.metric == Metric::L2;
        // `own` is |r|^2 under L2 and <c, r> under the inner product.
        let (own, factor) = if more == 0 {
            let (squared, times) = (f64::from(number(factors)), number(factors + 4));
            let c = || self.model.centroids.row(l).iter().map(|c| f64::from(*c).powi(2)).sum::<f64>();
            // There the file has |r|^2 - |r + c|^2.
            let own = if l2 { squared } else { -(squared + c()) / 2.0 };
            (own, (2.0 * f64::from(times) / (dim as f64).sqrt()) as f32)
        } else {
            let at = row.len() - 8;
            (f64::from(number(at)), if l2 { -number(at + 4) / 2.0 } else { number(at + 4) })
        };
        if !own.is_finite() || !factor.is_finite() {
            return Err(reader.corrupt("the factors of a RaBitQ code", "finite numbers", format!("{own} and {factor}")));
        }
        let begin = out.codes.len();
        out.codes.resize(begin + Coder::Rotated(grid.clone()).layout().tables, 0);
        for i in 0..dim {
            // Three numbers of the one-bit estimate stand before the other bits.
            let low = (0..more).rev().fold(0, |code, k| code << 1 | bit(&others[12..], more * i + k));
            grid.put(&mut out.codes[begin..], i, bit(signs, i) << more | low);
        }
        let mut g = vec![0.0; dim];
        crate::quantizer::Quantizer::decode(grid, &out.codes[begin..], &mut g);
        g.iter_mut().for_each(|g| *g *= factor);
        out.factor.push(factor);
        out.norm.push(self.model.norm(l, own, &g));
        Ok(())
    }
}

fn floats(stored: Stored, row: &[u8]) -> Vec<f32> {
    match stored {
        Stored::F16 => row.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Stored::Bf16 => row.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        _ => row.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
    }
}
