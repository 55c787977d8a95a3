//! From an index to a file.

use super::bytes::{Header, Output};
use super::transform;
use crate::error::Error;
use crate::index::Index;
use crate::list::List;
use crate::metric::Metric;
use crate::model::Model;
use crate::quantizer::{Coder, ProductQuantizer, Quantizer, QuantizerKind, ScalarQuantizer, Scaling};

/// The bytes of an index that FAISS has a form for.
pub(super) fn index(index: &Index) -> Result<Vec<u8>, Error> {
    let model = &*index.model;
    has_form(model)?;
    let cosine = model.config.metric == Metric::Cosine;
    let metric = if cosine { Metric::InnerProduct } else { model.config.metric };
    let header = Header { dim: model.dim, rows: index.len(), metric };
    let lists: Vec<Live<'_>> = index.lists.iter().map(|list| Live::new(index, list)).collect();
    // FAISS has a centre for lists only: one list with a centroid is an inverted file.
    let flat = model.config.lists == 1 && !model.config.residual;
    if let Some(id) = lists.iter().flat_map(|list| &list.ids).find(|id| i64::try_from(**id).is_err()) {
        return Err(Error::LimitExceeded { what: "an id", value: *id, limit: i64::MAX as u64 });
    }
    let mut out = Output::default();
    let mapped = flat && lists[0].ids.iter().zip(0..).any(|(id, row)| *id != row);
    if mapped {
        out.fourcc(b"IxMp");
        out.header(header)?;
    }
    if cosine || model.rotation.is_some() {
        out.fourcc(b"IxPT");
        out.header(header)?;
        transform::write(&mut out, model.dim, cosine, model.rotation.as_ref())?;
    }
    if flat {
        write_flat(&mut out, model, header, &lists[0])?
    } else {
        write_inverted(&mut out, model, header, &lists)?
    }
    if mapped {
        out.words(lists[0].ids.iter().copied());
    }
    Ok(out.0)
}

/// Fails for what would be lost or would not be understood.
fn has_form(model: &Model) -> Result<(), Error> {
    let no = |what| Err(Error::NoFaissForm { what });
    match (&model.coder, model.config.quantizer) {
        (None, _) => Ok(()),
        (Some(coder), QuantizerKind::Product { .. } | QuantizerKind::Anisotropic { .. } | QuantizerKind::Scalar { .. }) => {
            if Model::scaling(&model.config, coder) != Scaling::None {
                return no("a norm factor; build without it");
            }
            match model.config.quantizer {
                QuantizerKind::Product { m, .. } | QuantizerKind::Anisotropic { m, .. } if !model.dim.is_multiple_of(m) => {
                    no("sub-quantizers of different lengths")
                }
                _ => Ok(()),
            }
        }
        _ => no("codes other than those of product and scalar quantizers"),
    }
}

/// The rows of a list that can be found.
struct Live<'a> {
    list: &'a List,
    places: Vec<usize>,
    ids: Vec<u64>,
}

impl<'a> Live<'a> {
    fn new(index: &Index, list: &'a List) -> Live<'a> {
        let places: Vec<usize> = (0..list.len()).filter(|place| index.live.contains(list.rows[*place] as usize)).collect();
        let ids = places.iter().map(|place| index.ids[list.rows[*place] as usize]).collect();
        Live { list, places, ids }
    }

    /// Codes, or vectors, row after row.
    fn bytes(&self, model: &Model) -> Vec<u8> {
        let Some(coder) = &model.coder else {
            let rows = self.places.iter().map(|place| &self.list.full[place * model.dim..][..model.dim]);
            return rows.flatten().flat_map(|v| v.to_le_bytes()).collect();
        };
        let (own, mut code) = (coder.layout().bytes(), vec![0; coder.layout().columns()]);
        let mut bytes = Vec::with_capacity(self.places.len() * own);
        for place in &self.places {
            self.list.codes.get(*place, &mut code).expect("a place of this list");
            bytes.extend_from_slice(&code[..own]);
        }
        bytes
    }
}

fn write_flat(out: &mut Output, model: &Model, header: Header, rows: &Live<'_>) -> Result<(), Error> {
    let bytes = rows.bytes(model);
    let Some(coder) = &model.coder else { return vectors(out, header, &bytes) };
    out.fourcc(if matches!(coder, Coder::Scalar(_)) { b"IxSQ" } else { b"IxPq" });
    out.header(header)?;
    quantizer(out, coder, header.dim);
    out.u64(bytes.len());
    out.0.extend_from_slice(&bytes);
    if let Coder::Product(_) | Coder::Anisotropic(_) = coder {
        // Searched by look-ups, without signs, and the threshold of Hamming distances that FAISS begins with.
        let layout = coder.layout();
        out.i32(0);
        out.put([0]);
        out.i32((layout.tables * layout.bits as usize) as i32 + 1);
    }
    Ok(())
}

fn write_inverted(out: &mut Output, model: &Model, header: Header, lists: &[Live<'_>]) -> Result<(), Error> {
    let code_size = model.coder.as_ref().map_or(4 * header.dim, |coder| coder.layout().bytes());
    out.fourcc(match &model.coder {
        None => b"IwFl",
        Some(Coder::Scalar(_)) => b"IwSq",
        Some(_) => b"IwPQ",
    });
    out.header(header)?;
    out.u64(lists.len());
    out.u64(model.config.nprobe.min(lists.len()));
    let centroids: Vec<u8> = model.centroids.iter().flat_map(|v| v.to_le_bytes()).collect();
    vectors(out, Header { rows: lists.len(), ..header }, &centroids)?;
    out.put([0]); // no table of ids
    out.u64(0);
    let residual = u8::from(model.config.residual);
    match &model.coder {
        None => {}
        Some(coder @ Coder::Scalar(_)) => {
            quantizer(out, coder, header.dim);
            out.u64(code_size);
            out.put([residual]);
        }
        Some(coder) => {
            out.put([residual]);
            out.u64(code_size);
            quantizer(out, coder, header.dim);
        }
    }
    out.fourcc(b"ilar");
    out.u64(lists.len());
    out.u64(code_size);
    out.fourcc(b"full");
    out.words(lists.iter().map(|list| list.ids.len() as u64));
    for list in lists {
        out.0.extend_from_slice(&list.bytes(model));
        list.ids.iter().for_each(|id| out.put(id.to_le_bytes()));
    }
    Ok(())
}

/// A flat index of the bytes of vectors.
fn vectors(out: &mut Output, header: Header, bytes: &[u8]) -> Result<(), Error> {
    out.fourcc(if header.metric == Metric::L2 { b"IxF2" } else { b"IxFI" });
    out.header(header)?;
    out.u64(bytes.len() / 4);
    out.0.extend_from_slice(bytes);
    Ok(())
}

fn quantizer(out: &mut Output, coder: &Coder, dim: usize) {
    match coder {
        Coder::Scalar(sq) => scalar(out, sq, dim, coder.layout().bytes()),
        Coder::Product(pq) => product(out, pq, dim),
        Coder::Anisotropic(q) => product(out, q.product(), dim),
        _ => {}
    }
}

fn product(out: &mut Output, pq: &ProductQuantizer, dim: usize) {
    let layout = pq.layout();
    out.u64(dim);
    out.u64(layout.tables);
    out.u64(layout.bits as usize);
    out.floats(&pq.codebooks());
}

/// Ranges whose cells have our values in their middles.
fn scalar(out: &mut Output, sq: &ScalarQuantizer, dim: usize, code_size: usize) {
    let (low, step) = sq.ranges();
    let cells = f64::from((1u32 << sq.bits()) - 1);
    out.i32(match sq.bits() {
        8 => 0,
        4 => 1,
        _ => 6,
    });
    out.i32(0); // ranges are from the least to the largest value
    out.put(0.0f32.to_le_bytes());
    out.u64(dim);
    out.u64(code_size);
    let vmin = low.iter().zip(step).map(|(low, step)| (f64::from(*low) - f64::from(*step) / 2.0) as f32);
    let vdiff = step.iter().map(|step| (f64::from(*step) * cells) as f32);
    out.floats(&vmin.chain(vdiff).collect::<Vec<_>>());
}
