//! The primitives: little-endian numbers without padding, vectors behind their number of entries, and the header of every index.

use crate::error::Error;
use crate::metric::Metric;
use std::path::Path;

/// Dimensions: FAISS allows 2^20, but some files of a hundred bytes would then ask for as many numbers.
const MOST_DIM: u64 = 1 << 16;
const MOST_ROWS: u64 = 1 << 40;

/// A file, and how far it was read.
pub(super) struct Reader<'a> {
    file: &'a Path,
    bytes: &'a [u8],
    at: usize,
}

/// What every index says first.
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub(super) dim: usize,
    pub(super) rows: usize,
    pub(super) metric: Metric,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a Path, bytes: &'a [u8]) -> Reader<'a> {
        Reader { file, bytes, at: 0 }
    }

    pub(super) fn corrupt(&self, field: &'static str, want: impl ToString, got: impl ToString) -> Error {
        Error::Corrupt { file: self.file.into(), field, want: want.to_string(), got: got.to_string() }
    }

    pub(super) fn unsupported(&self, what: &'static str, got: impl ToString, supported: &'static str) -> Error {
        Error::Unsupported { file: self.file.into(), what, got: got.to_string(), supported }
    }

    /// Fails unless two numbers of the file agree.
    pub(super) fn agree<T: PartialEq + ToString>(&self, field: &'static str, want: T, got: T) -> Result<(), Error> {
        if want == got { Ok(()) } else { Err(self.corrupt(field, want, got)) }
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: u64) -> Result<&'a [u8], Error> {
        let end = (self.at as u64).saturating_add(len);
        let taken = usize::try_from(end).ok().and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| Error::Truncated { file: self.file.into(), need: end, have: self.bytes.len() as u64 })?;
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    pub(super) fn fourcc(&mut self) -> Result<[u8; 4], Error> {
        self.array()
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn bool(&mut self, field: &'static str) -> Result<bool, Error> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.corrupt(field, "0 or 1", other)),
        }
    }

    pub(super) fn i32(&mut self) -> Result<i32, Error> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn f32(&mut self) -> Result<f32, Error> {
        Ok(f32::from_le_bytes(self.array()?))
    }

    /// A number from 1 to `limit`.
    pub(super) fn count(&mut self, what: &'static str, limit: u64) -> Result<usize, Error> {
        let value = self.u64()?;
        self.in_range(what, value, limit)
    }

    pub(super) fn in_range(&self, what: &'static str, value: u64, limit: u64) -> Result<usize, Error> {
        if value == 0 {
            return Err(self.corrupt(what, "at least 1", 0));
        }
        if value > limit { Err(Error::LimitExceeded { what, value, limit }) } else { Ok(value as usize) }
    }

    /// A vector of entries of `size` bytes: their bytes.
    pub(super) fn entries(&mut self, size: u64) -> Result<&'a [u8], Error> {
        let count = self.u64()?;
        self.take(count.saturating_mul(size))
    }

    /// A vector of `count` entries of `size` bytes: their bytes.
    pub(super) fn exactly(&mut self, field: &'static str, count: usize, size: usize) -> Result<&'a [u8], Error> {
        let got = self.u64()?;
        self.agree(field, count as u64, got)?;
        self.take(got.saturating_mul(size as u64))
    }

    /// A vector of `count` finite numbers.
    pub(super) fn floats(&mut self, field: &'static str, count: usize) -> Result<Vec<f32>, Error> {
        let bytes = self.exactly(field, count, 4)?;
        self.finite(field, bytes)
    }

    /// Bytes as finite numbers.
    pub(super) fn finite(&self, field: &'static str, bytes: &[u8]) -> Result<Vec<f32>, Error> {
        let floats: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        match floats.iter().find(|v| !v.is_finite()) {
            Some(bad) => Err(self.corrupt(field, "finite numbers", bad)),
            None => Ok(floats),
        }
    }

    /// A vector of `count` ids.
    pub(super) fn ids(&mut self, field: &'static str, count: usize) -> Result<Vec<u64>, Error> {
        let bytes = self.exactly(field, count, 8)?;
        self.ids_in(bytes)
    }

    /// Ids, which are signed in the file but never below 0.
    pub(super) fn ids_in(&self, bytes: &[u8]) -> Result<Vec<u64>, Error> {
        let ids = bytes.as_chunks().0.iter().map(|b| {
            let id = i64::from_le_bytes(*b);
            u64::try_from(id).map_err(|_| self.corrupt("an id", "0 or more", id))
        });
        ids.collect()
    }

    pub(super) fn dim(&mut self, what: &'static str) -> Result<usize, Error> {
        let dim = self.i32()?;
        let value = u64::try_from(dim).map_err(|_| self.corrupt(what, "at least 1", dim))?;
        self.in_range(what, value, MOST_DIM)
    }

    pub(super) fn rows(&mut self) -> Result<usize, Error> {
        let rows = self.u64()?;
        if rows > MOST_ROWS {
            return Err(Error::LimitExceeded { what: "vectors", value: rows, limit: MOST_ROWS });
        }
        if rows >= u64::from(u32::MAX) { Err(Error::TooManyRows { rows: rows as usize }) } else { Ok(rows as usize) }
    }

    pub(super) fn trained(&mut self) -> Result<(), Error> {
        if self.bool("is_trained")? { Ok(()) } else { Err(Error::NotTrained { file: self.file.into() }) }
    }

    pub(super) fn metric(&mut self) -> Result<Metric, Error> {
        match self.i32()? {
            0 => Ok(Metric::InnerProduct),
            1 => Ok(Metric::L2),
            other => Err(self.unsupported("metric", other, "0 (inner product) and 1 (l2)")),
        }
    }

    pub(super) fn header(&mut self) -> Result<Header, Error> {
        let (dim, rows) = (self.dim("dimensions")?, self.rows()?);
        self.take(16)?; // two numbers without a meaning
        self.trained()?;
        Ok(Header { dim, rows, metric: self.metric()? })
    }
}

/// Bytes of a file in the making.
#[derive(Default)]
pub(super) struct Output(pub(super) Vec<u8>);

impl Output {
    pub(super) fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.0.extend_from_slice(&bytes);
    }

    pub(super) fn fourcc(&mut self, name: &[u8; 4]) {
        self.put(*name);
    }

    pub(super) fn i32(&mut self, v: i32) {
        self.put(v.to_le_bytes());
    }

    pub(super) fn u64(&mut self, v: usize) {
        self.put((v as u64).to_le_bytes());
    }

    pub(super) fn floats(&mut self, values: &[f32]) {
        self.u64(values.len());
        values.iter().for_each(|v| self.put(v.to_le_bytes()));
    }

    pub(super) fn words(&mut self, values: impl ExactSizeIterator<Item = u64>) {
        self.u64(values.len());
        values.for_each(|v| self.put(v.to_le_bytes()));
    }

    /// Dimensions are 32-bit numbers with a sign.
    pub(super) fn dim(&mut self, dim: usize) -> Result<(), Error> {
        if dim as u64 > MOST_DIM {
            return Err(Error::LimitExceeded { what: "dimensions", value: dim as u64, limit: MOST_DIM });
        }
        self.i32(dim as i32);
        Ok(())
    }

    pub(super) fn header(&mut self, header: Header) -> Result<(), Error> {
        self.dim(header.dim)?;
        self.u64(header.rows);
        self.u64(1 << 20);
        self.u64(1 << 20);
        self.put([1]);
        self.i32(if header.metric == Metric::L2 { 1 } else { 0 });
        Ok(())
    }
}
