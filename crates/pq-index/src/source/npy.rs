//! Matrices that NumPy saved.

use super::{VectorSource, io, read_at};
use crate::error::Error;
use ndarray::ArrayViewMut2;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Longer headers are refused before they are read.
const MAX_HEADER: usize = 1 << 16;

/// A `.npy` file of a matrix in row order: `<f4`, `<f2`, `<f8`, `|u1` or `|i1`, which are read as f32.
#[derive(Debug)]
pub struct Npy {
    file: Mutex<std::fs::File>,
    path: PathBuf,
    data: u64,
    rows: usize,
    dim: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    F4,
    F2,
    F8,
    U1,
    I1,
}

impl Kind {
    fn size(self) -> usize {
        match self {
            Kind::F4 => 4,
            Kind::F2 => 2,
            Kind::F8 => 8,
            Kind::U1 | Kind::I1 => 1,
        }
    }

    fn read(self, bytes: &[u8]) -> f32 {
        fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
            let mut out = [0; N];
            out.copy_from_slice(bytes);
            out
        }
        match self {
            Kind::F4 => f32::from_le_bytes(array(bytes)),
            Kind::F2 => half::f16::from_le_bytes(array(bytes)).to_f32(),
            #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what a source does")]
            Kind::F8 => f64::from_le_bytes(array(bytes)) as f32,
            Kind::U1 => f32::from(bytes[0]),
            Kind::I1 => f32::from(bytes[0].cast_signed()),
        }
    }
}

impl Npy {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for another type, order or number of axes; [`Error::Truncated`] unless the file is as long as its header says.
    pub fn open(path: impl AsRef<Path>) -> Result<Npy, Error> {
        let path = path.as_ref().to_owned();
        let mut file = std::fs::File::open(&path).map_err(|e| io(&path, e))?;
        let have = file.metadata().map_err(|e| io(&path, e))?.len();
        let corrupt = |field, want: &str, got: String| Error::Corrupt { file: path.clone(), field, want: want.to_owned(), got };
        let mut start = vec![];
        file.by_ref().take(12).read_to_end(&mut start).map_err(|e| io(&path, e))?;
        if start.len() < 12 {
            return Err(Error::Truncated { file: path, need: 12, have });
        }
        if !start.starts_with(MAGIC) {
            return Err(corrupt("the magic number", "\\x93NUMPY", format!("{:?}", &start[..6])));
        }
        // Version 1 has a length of two bytes, so two bytes of the header have been read already.
        let (length, mut header) = match start[6] {
            1 => (usize::from(u16::from_le_bytes([start[8], start[9]])), start[10..].to_vec()),
            2 | 3 => (u32::from_le_bytes([start[8], start[9], start[10], start[11]]) as usize, vec![]),
            other => return Err(corrupt("the version", "1, 2 or 3", other.to_string())),
        };
        if length > MAX_HEADER || length < header.len() {
            return Err(corrupt("the header's length", "2 to 65536", length.to_string()));
        }
        file.by_ref().take((length - header.len()) as u64).read_to_end(&mut header).map_err(|e| io(&path, e))?;
        let data = if start[6] == 1 { 10 } else { 12 } + length as u64;
        if header.len() < length {
            return Err(Error::Truncated { file: path, need: data, have });
        }
        let header = String::from_utf8_lossy(&header).into_owned();
        let kind = match field(&header, "descr").trim_matches(['\'', '"']) {
            "<f4" => Kind::F4,
            "<f2" => Kind::F2,
            "<f8" => Kind::F8,
            "|u1" => Kind::U1,
            "|i1" => Kind::I1,
            other => return Err(corrupt("descr", "<f4, <f2, <f8, |u1 or |i1", other.to_owned())),
        };
        match field(&header, "fortran_order") {
            "False" => {}
            other => return Err(corrupt("fortran_order", "False (save numpy.ascontiguousarray(x))", other.to_owned())),
        }
        let shape = field(&header, "shape");
        let sides: Vec<Option<usize>> = shape.trim_matches(['(', ')']).split(',').map(|s| s.trim().parse().ok()).collect();
        let [Some(rows), Some(dim)] = sides[..] else {
            return Err(corrupt("shape", "(rows, columns)", shape.to_owned()));
        };
        let bytes = rows.checked_mul(dim).and_then(|n| n.checked_mul(kind.size())).and_then(|n| data.checked_add(n as u64));
        match bytes {
            Some(need) if need == have => Ok(Npy { file: Mutex::new(file), path, data, rows, dim, kind }),
            need => Err(Error::Truncated { file: path, need: need.unwrap_or(u64::MAX), have }),
        }
    }
}

/// The text of an entry of a Python dictionary, up to the comma or brace that ends it.
fn field<'a>(header: &'a str, name: &str) -> &'a str {
    let Some(at) = header.find(&format!("'{name}':")) else { return "missing" };
    let rest = header[at + name.len() + 3..].trim_start();
    let end = if rest.starts_with('(') { rest.find(')').map(|i| i + 1) } else { rest.find([',', '}']) };
    rest[..end.unwrap_or(rest.len())].trim()
}

impl VectorSource for Npy {
    fn len(&self) -> usize {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn read(&self, rows: Range<usize>, mut out: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        let size = self.kind.size();
        let mut bytes = vec![0; rows.len() * self.dim * size];
        read_at(&self.file, &self.path, self.data + (rows.start * self.dim * size) as u64, &mut bytes)?;
        out.iter_mut().zip(bytes.chunks_exact(size)).for_each(|(out, bytes)| *out = self.kind.read(bytes));
        Ok(())
    }
}
