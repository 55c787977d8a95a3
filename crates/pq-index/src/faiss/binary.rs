//! Indexes of bits.

use super::bytes::{Output, Reader};
use super::lists::{Rows, direct_map, inverted};
use crate::error::Error;
use std::collections::HashSet;

/// Vectors of bits, as a binary index has them: [`BinaryIndex::of_words`](crate::BinaryIndex::of_words) and
/// [`BinaryCodes::from_packed`](crate::BinaryCodes::from_packed) make an index of them.
///
/// ```
/// use scant_pq_index::faiss::{BinaryVectors, read_binary, write_binary};
/// let vectors = BinaryVectors { dim: 16, ids: vec![5, 3], bits: vec![1, 2, 3, 4] };
/// assert_eq!(read_binary(&write_binary(&vectors)?)?, vectors);
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryVectors {
    /// Bits of a vector, a multiple of 8.
    pub dim: usize,
    /// The id of each vector.
    pub ids: Vec<u64>,
    /// `[n, dim / 8]`, row after row; bit `i` is bit `i % 8` of byte `i / 8`.
    pub bits: Vec<u8>,
}

struct Header {
    dim: usize,
    rows: usize,
}

fn header(r: &mut Reader<'_>) -> Result<Header, Error> {
    let dim = r.dim("bits of a vector")?;
    let size = r.i32()?;
    r.agree("bits that do not fill a byte", 0, dim % 8)?;
    r.agree("bytes of a vector", (dim / 8) as i64, i64::from(size))?;
    let rows = r.rows()?;
    r.trained()?;
    r.metric()?; // without a meaning
    Ok(Header { dim, rows })
}

impl BinaryVectors {
    pub(super) fn read(r: &mut Reader<'_>) -> Result<BinaryVectors, Error> {
        let (dim, lists) = read(r, 0)?;
        let ids: Vec<u64> = lists.iter().flat_map(|list| list.ids.iter().copied()).collect();
        let mut seen = HashSet::with_capacity(ids.len());
        if let Some(id) = ids.iter().find(|id| !seen.insert(**id)) {
            return Err(Error::DuplicateId { id: *id });
        }
        Ok(BinaryVectors { dim, ids, bits: lists.iter().flat_map(|list| list.codes.iter().copied()).collect() })
    }

    pub(super) fn write(&self) -> Result<Vec<u8>, Error> {
        let (rows, size) = (self.ids.len(), self.dim / 8);
        Error::check_len("bits of a binary vector that fill a byte", self.dim - self.dim % 8, self.dim)?;
        Error::check_len("bytes of binary vectors", rows.saturating_mul(size), self.bits.len())?;
        if let Some(id) = self.ids.iter().find(|id| i64::try_from(**id).is_err()) {
            return Err(Error::LimitExceeded { what: "an id", value: *id, limit: i64::MAX as u64 });
        }
        let mut out = Output::default();
        let header = |out: &mut Output| {
            out.dim(self.dim)?;
            out.i32(size as i32);
            out.u64(rows);
            out.put([1]);
            out.i32(1);
            Ok::<(), Error>(())
        };
        let mapped = self.ids.iter().zip(0..).any(|(id, row)| *id != row);
        if mapped {
            out.fourcc(b"IBMp");
            header(&mut out)?;
        }
        out.fourcc(b"IBxF");
        header(&mut out)?;
        out.u64(self.bits.len());
        out.0.extend_from_slice(&self.bits);
        if mapped {
            out.words(self.ids.iter().copied());
        }
        Ok(out.0)
    }
}

/// The dimensions and the rows of the binary index that begins here.
fn read<'a>(r: &mut Reader<'a>, depth: u64) -> Result<(usize, Vec<Rows<'a>>), Error> {
    if depth > 2 {
        return Err(Error::LimitExceeded { what: "indexes within indexes", value: depth, limit: 2 });
    }
    match &r.fourcc()? {
        b"IBxF" => {
            let Header { dim, rows } = header(r)?;
            let bits = r.exactly("bytes of binary vectors", rows.saturating_mul(dim / 8), 1)?;
            Ok((dim, vec![Rows::numbered(bits, rows)]))
        }
        b"IBwF" => {
            let Header { dim, rows } = header(r)?;
            let (lists, _nprobe) = (r.u64()?, r.u64()?);
            let (coarse_dim, coarse) = read(r, depth + 1)?;
            let centroids: usize = coarse.iter().map(|list| list.ids.len()).sum();
            r.agree("dimensions of the coarse quantizer", dim, coarse_dim)?;
            r.agree("lists", lists, centroids as u64)?;
            direct_map(r)?;
            Ok((dim, inverted(r, centroids, dim / 8, rows)?))
        }
        b"IBMp" | b"IBM2" => {
            let Header { dim, rows } = header(r)?;
            let (inner_dim, mut lists) = read(r, depth + 1)?;
            r.agree("dimensions of the inner index", dim, inner_dim)?;
            r.agree("vectors of the inner index", rows, lists.iter().map(|list| list.ids.len()).sum())?;
            let map = r.ids("ids of the map", rows)?;
            super::lists::rename(r, lists.iter_mut().flat_map(|list| &mut list.ids), &map)?;
            Ok((dim, lists))
        }
        other => Err(r.unsupported("binary index", other.escape_ascii(), "IBxF, IBwF, IBMp and IBM2")),
    }
}
