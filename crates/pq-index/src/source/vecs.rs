//! The files of the TEXMEX benchmarks: before each row an i32 with its length.

use super::{VectorSource, io, read_at};
use crate::error::Error;
use ndarray::{Array2, ArrayViewMut2};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A `.fvecs` (f32) or `.bvecs` (u8) file, told apart by the name.
#[derive(Debug)]
pub struct Vecs {
    file: Mutex<std::fs::File>,
    path: PathBuf,
    rows: usize,
    dim: usize,
    /// Bytes of a component.
    width: usize,
}

impl Vecs {
    /// Opens a file and checks every row's length, which reads it once.
    ///
    /// # Errors
    /// [`Error::Truncated`] if the last row is not whole; [`Error::Corrupt`] if rows differ in length, or it is negative.
    pub fn open(path: impl AsRef<Path>) -> Result<Vecs, Error> {
        let path = path.as_ref();
        let width = if path.extension().is_some_and(|e| e == "bvecs") { 1 } else { 4 };
        let (file, rows, dim) = check(path, width)?;
        Ok(Vecs { file: Mutex::new(file), path: path.to_owned(), rows, dim, width })
    }
}

fn check(path: &Path, width: usize) -> Result<(std::fs::File, usize, usize), Error> {
    let mut file = std::fs::File::open(path).map_err(|e| io(path, e))?;
    let have = file.metadata().map_err(|e| io(path, e))?.len();
    if have == 0 {
        return Ok((file, 0, 0));
    }
    let mut start = [0; 4];
    if have < 4 {
        return Err(Error::Truncated { file: path.to_owned(), need: 4, have });
    }
    file.read_exact(&mut start).map_err(|e| io(path, e))?;
    let first = i32::from_le_bytes(start);
    let corrupt = |want: String, got: i32| Error::Corrupt { file: path.to_owned(), field: "a row's length", want, got: got.to_string() };
    let dim = usize::try_from(first).ok().filter(|d| (1..=1 << 20).contains(d)).ok_or_else(|| corrupt("1 to 1048576".to_owned(), first))?;
    let stride = 4 + (dim * width) as u64;
    if !have.is_multiple_of(stride) {
        return Err(Error::Truncated { file: path.to_owned(), need: have.next_multiple_of(stride), have });
    }
    let rows = (have / stride) as usize;
    file.seek(SeekFrom::Start(0)).map_err(|e| io(path, e))?;
    let mut reader = BufReader::with_capacity(1 << 20, &file);
    for _ in 0..rows {
        reader.read_exact(&mut start).map_err(|e| io(path, e))?;
        if start != first.to_le_bytes() {
            return Err(corrupt(dim.to_string(), i32::from_le_bytes(start)));
        }
        reader.seek_relative((dim * width) as i64).map_err(|e| io(path, e))?;
    }
    Ok((file, rows, dim))
}

impl VectorSource for Vecs {
    fn len(&self) -> usize {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn read(&self, rows: Range<usize>, mut out: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        let stride = 4 + self.dim * self.width;
        let mut bytes = vec![0; rows.len() * stride];
        read_at(&self.file, &self.path, (rows.start * stride) as u64, &mut bytes)?;
        for (mut out, row) in out.rows_mut().into_iter().zip(bytes.chunks_exact(stride)) {
            if self.width == 1 {
                out.iter_mut().zip(&row[4..]).for_each(|(out, b)| *out = f32::from(*b));
            } else {
                out.iter_mut().zip(row[4..].as_chunks().0).for_each(|(out, b)| *out = f32::from_le_bytes(*b));
            }
        }
        Ok(())
    }
}

/// Reads an `.ivecs` file, the form of exact neighbours: `[rows, neighbours]`.
///
/// # Errors
/// As [`Vecs::open`].
pub fn read_ivecs(path: impl AsRef<Path>) -> Result<Array2<i32>, Error> {
    let path = path.as_ref();
    let (mut file, rows, dim) = check(path, 4)?;
    let mut bytes = vec![];
    file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes)).map_err(|e| io(path, e))?;
    let words = bytes.as_chunks::<4>().0;
    if words.len() != rows * (dim + 1) {
        return Err(Error::Truncated { file: path.to_owned(), need: (rows * (dim + 1) * 4) as u64, have: bytes.len() as u64 });
    }
    Ok(Array2::from_shape_fn((rows, dim), |(r, c)| i32::from_le_bytes(words[r * (dim + 1) + c + 1])))
}
