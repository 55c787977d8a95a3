//! From a file to what an index is made of.

use super::bytes::{Header, Reader};
use super::lists::{Blocks, Rows, blocked, direct_map, inverted, rename};
use super::quantizer::Quantizer;
use super::transform::Before;
use crate::error::Error;
use crate::metric::Metric;
use ndarray::Array2;

/// Indexes within indexes.
const MOST_DEPTH: u64 = 8;
const READ: &str = "IxFI, IxF2, IxFl, IxPq, IxPQ, IxPo, IxSQ, IwFl, IwPQ, IwSq, IwSQ, IPfs, IwPf, Ixrq, Ixrr, Iwrq, Iwrr, IxPT, IxMp, IxM2 and IxRF; \
                    of binary ones IBxF, IBwF, IBMp and IBM2";

/// An index as a file has it, with codes still in the file's bytes.
pub(super) struct Parsed<'a> {
    pub(super) header: Header,
    pub(super) quantizer: Quantizer,
    /// `[lists, dim]`; one row of zeros, or the centre, without lists.
    pub(super) centroids: Array2<f32>,
    pub(super) residual: bool,
    pub(super) nprobe: usize,
    pub(super) lists: Vec<Rows<'a>>,
    pub(super) before: Before,
    pub(super) refine: Option<Refine>,
}

/// Full vectors behind an index.
pub(super) struct Refine {
    pub(super) vectors: Array2<f32>,
    /// The id of each.
    pub(super) ids: Vec<u64>,
    pub(super) k_factor: f32,
}

impl<'a> Parsed<'a> {
    fn flat(header: Header, quantizer: Quantizer, codes: Rows<'a>) -> Parsed<'a> {
        let centroids = Array2::zeros((1, header.dim));
        Parsed { header, quantizer, centroids, residual: false, nprobe: 1, lists: vec![codes], before: Before::default(), refine: None }
    }

    /// The index that begins here, `depth` levels deep.
    pub(super) fn read(r: &mut Reader<'a>, depth: u64) -> Result<Parsed<'a>, Error> {
        if depth > MOST_DEPTH {
            return Err(Error::LimitExceeded { what: "indexes within indexes", value: depth, limit: MOST_DEPTH });
        }
        let name = r.fourcc()?;
        match &name {
            b"IxFI" | b"IxF2" | b"IxFl" => {
                let header = r.header()?;
                let codes = r.exactly("numbers in the vectors", header.rows * header.dim, 4)?;
                Ok(Parsed::flat(header, Quantizer::full(header.dim), Rows::numbered(codes, header.rows)))
            }
            b"IxPq" | b"IxPQ" | b"IxPo" => {
                let mut header = r.header()?;
                let pq = Quantizer::product(r, header)?;
                let codes = flat_codes(r, header, pq.code_size)?;
                if &name != b"IxPQ" {
                    // How it is searched: with Hamming distances, or by signs. The codes mean the same.
                    r.take(4)?;
                    r.bool("encode_signs")?;
                    r.take(4)?;
                }
                if &name != b"IxPq" {
                    // The old ones all say inner product, and are of L2.
                    header.metric = Metric::L2;
                }
                Ok(Parsed::flat(header, pq, codes))
            }
            b"IxSQ" => {
                let header = r.header()?;
                let sq = Quantizer::scalar(r, header)?;
                let codes = flat_codes(r, header, sq.code_size)?;
                Ok(Parsed::flat(header, sq, codes))
            }
            b"IPfs" => Parsed::fast_scan(r),
            b"Ixrq" | b"Ixrr" => {
                let header = r.header()?;
                let rabitq = Quantizer::rabitq(r, header, &name == b"Ixrr")?;
                let codes = flat_codes(r, header, rabitq.code_size)?;
                let centre = r.floats("numbers in the centre of RaBitQ", header.dim)?;
                r.take(1)?; // bits of a query; here queries stay as they are
                let centroids = Array2::from_shape_fn((1, header.dim), |(_, i)| centre[i]);
                Ok(Parsed { centroids, residual: true, ..Parsed::flat(header, rabitq, codes) })
            }
            b"IwFl" | b"IwPQ" | b"IwSq" | b"IwSQ" | b"IwPf" | b"Iwrq" | b"Iwrr" => Parsed::inverted_file(r, &name, depth),
            b"IxPT" => Parsed::transformed(r, depth),
            b"IxMp" | b"IxM2" => Parsed::mapped(r, depth),
            b"IxRF" => Parsed::refined(r, depth),
            other => Err(r.unsupported("index", other.escape_ascii(), READ)),
        }
    }

    fn fast_scan(r: &mut Reader<'a>) -> Result<Parsed<'a>, Error> {
        let header = r.header()?;
        let pq = four_bits(r, header)?;
        r.take(4)?; // which kernel
        let block_rows = r.i32()?;
        r.take(4)?; // queries together
        let (padded, padded_m) = (r.u64()?, r.u64()?);
        let blocks = Blocks::new(r, block_rows, tables(&pq), padded_m)?;
        r.agree("vectors, padded to whole blocks", blocks.padded(header.rows) as u64, padded)?;
        let codes = r.exactly("bytes of codes in blocks", blocks.padded(header.rows) * pq.code_size, 1)?;
        Ok(Parsed::flat(header, pq, Rows::numbered(blocks.unpack(codes, header.rows), header.rows)))
    }

    fn inverted_file(r: &mut Reader<'a>, name: &[u8; 4], depth: u64) -> Result<Parsed<'a>, Error> {
        let header = r.header()?;
        let (lists, nprobe) = (r.u64()?, r.u64()?);
        let coarse = Parsed::read(r, depth + 1)?;
        let centroids = coarse.into_centroids(r, header, lists)?;
        let lists = centroids.nrows();
        direct_map(r)?;
        let code_size = |r: &mut Reader<'_>, want: usize| {
            let got = r.u64()?;
            r.agree("code_size of the lists", want as u64, got)
        };
        let inverted = |r: &mut Reader<'a>, quantizer: &Quantizer| inverted(r, lists, quantizer.code_size, header.rows);
        let (quantizer, residual, rows) = match name {
            b"IwFl" => {
                let full = Quantizer::full(header.dim);
                let rows = inverted(r, &full)?;
                (full, false, rows)
            }
            b"IwPQ" => {
                let residual = r.bool("by_residual")?;
                let size = r.u64()?;
                let pq = Quantizer::product(r, header)?;
                r.agree("code_size of the lists", pq.code_size as u64, size)?;
                let rows = inverted(r, &pq)?;
                (pq, residual, rows)
            }
            b"IwPf" => {
                let (residual, size, block_rows, padded_m) = (r.bool("by_residual")?, r.u64()?, r.i32()?, r.u64()?);
                r.take(12)?; // which kernel, queries together
                let pq = four_bits(r, header)?;
                r.agree("code_size of the lists", pq.code_size as u64, size)?;
                let blocks = Blocks::new(r, block_rows, tables(&pq), padded_m)?;
                let rows = blocked(r, lists, blocks, header.rows)?;
                (pq, residual, rows)
            }
            b"Iwrq" | b"Iwrr" => {
                let rabitq = Quantizer::rabitq(r, header, name == b"Iwrr")?;
                code_size(r, rabitq.code_size)?;
                let residual = r.bool("by_residual")?;
                r.agree("by_residual of RaBitQ", true, residual)?;
                r.take(1)?; // bits of a query
                let rows = inverted(r, &rabitq)?;
                (rabitq, residual, rows)
            }
            _ => {
                let sq = Quantizer::scalar(r, header)?;
                code_size(r, sq.code_size)?;
                // The older form has no choice.
                let residual = name == b"IwSQ" || r.bool("by_residual")?;
                let rows = inverted(r, &sq)?;
                (sq, residual, rows)
            }
        };
        let nprobe = usize::try_from(nprobe).unwrap_or(usize::MAX).clamp(1, lists);
        Ok(Parsed { header, quantizer, centroids, residual, nprobe, lists: rows, before: Before::default(), refine: None })
    }

    /// As the centroids of `lists` lists.
    fn into_centroids(self, r: &Reader<'_>, header: Header, lists: u64) -> Result<Array2<f32>, Error> {
        if header.metric != self.header.metric {
            let got = format!("of {} in an index of {}", self.header.metric, header.metric);
            return Err(r.unsupported("coarse quantizer", got, "one of the same metric"));
        }
        r.agree("lists", lists, self.header.rows as u64)?;
        r.in_range("lists", lists, (1 << 24) - 1)?;
        r.agree("dimensions of the coarse quantizer", header.dim, self.header.dim)?;
        self.into_vectors(r)
    }

    /// The vectors of a flat index.
    fn into_vectors(self, r: &Reader<'_>) -> Result<Array2<f32>, Error> {
        let plain = self.quantizer.coder.is_none() && !self.before.any() && self.refine.is_none();
        let [Rows { codes, ids }] = &self.lists[..] else {
            return Err(r.unsupported("inner index", "one of several lists", "a flat one"));
        };
        if !plain || codes.len() != 4 * self.header.rows * self.header.dim || ids.iter().zip(0..).any(|(id, row)| *id != row) {
            return Err(r.unsupported("inner index", "one that is coded or mapped", "a flat one"));
        }
        let values = r.finite("vectors of a flat index", codes)?;
        let dim = self.header.dim;
        Ok(Array2::from_shape_fn((self.header.rows, dim), |(i, j)| values[i * dim + j]))
    }

    fn transformed(r: &mut Reader<'a>, depth: u64) -> Result<Parsed<'a>, Error> {
        let header = r.header()?;
        let before = Before::read(r, header.dim)?;
        let inner = Parsed::read(r, depth + 1)?;
        r.agree("dimensions of the inner index", header.dim, inner.header.dim)?;
        r.agree("vectors of the inner index", header.rows, inner.header.rows)?;
        r.agree("metric of the inner index", header.metric, inner.header.metric)?;
        if inner.refine.is_some() || inner.before.any() {
            return Err(r.unsupported("inner index", "IxPT or IxRF behind a transform", "any other"));
        }
        let metric = match inner.header.metric {
            Metric::L2 if before.normalise => {
                return Err(r.unsupported("transform", "VNrm in front of an index of l2", "VNrm in front of one of inner products"));
            }
            _ if before.normalise => Metric::Cosine,
            other => other,
        };
        Ok(Parsed { header: Header { metric, ..header }, before, ..inner })
    }

    fn mapped(r: &mut Reader<'a>, depth: u64) -> Result<Parsed<'a>, Error> {
        let header = r.header()?;
        let mut inner = Parsed::read(r, depth + 1)?;
        r.agree("dimensions of the inner index", header.dim, inner.header.dim)?;
        r.agree("vectors of the inner index", header.rows, inner.header.rows)?;
        let map = r.ids("ids of the map", header.rows)?;
        let refined = inner.refine.iter_mut().map(|refine| &mut refine.ids);
        rename(r, inner.lists.iter_mut().map(|list| &mut list.ids).chain(refined).flatten(), &map)?;
        Ok(inner)
    }

    fn refined(r: &mut Reader<'a>, depth: u64) -> Result<Parsed<'a>, Error> {
        let header = r.header()?;
        let mut base = Parsed::read(r, depth + 1)?;
        let fine = Parsed::read(r, depth + 1)?;
        let k_factor = r.f32()?;
        if base.refine.is_some() || base.before.normalise {
            return Err(r.unsupported("inner index", "IxRF, or VNrm, in IxRF", "any other"));
        }
        for index in [&base, &fine] {
            r.agree("vectors of the inner index", header.rows, index.header.rows)?;
            r.agree("dimensions of the inner index", header.dim, index.header.dim)?;
            r.agree("metric of the inner index", header.metric, index.header.metric)?;
        }
        if !(1.0..=1000.0).contains(&k_factor) {
            return Err(r.corrupt("k_factor", "1 to 1000", k_factor));
        }
        let ids = (0..header.rows as u64).collect();
        base.refine = Some(Refine { vectors: fine.into_vectors(r)?, ids, k_factor });
        Ok(base)
    }
}

fn flat_codes<'a>(r: &mut Reader<'a>, header: Header, code_size: usize) -> Result<Rows<'a>, Error> {
    let codes = r.exactly("bytes of codes", header.rows.saturating_mul(code_size), 1)?;
    Ok(Rows::numbered(codes, header.rows))
}

/// A product quantizer that fast scans take.
fn four_bits(r: &mut Reader<'_>, header: Header) -> Result<Quantizer, Error> {
    let pq = Quantizer::product(r, header)?;
    match pq.coder.as_ref().map(|coder| coder.layout().bits) {
        Some(4) => Ok(pq),
        other => Err(Error::BitsUnsupported { bits: other.unwrap_or_default(), allowed: &[4] }),
    }
}

fn tables(pq: &Quantizer) -> usize {
    pq.coder.as_ref().map_or(0, |coder| coder.layout().tables)
}
