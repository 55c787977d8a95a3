//! Importance matrices: what llama.cpp gathers of a model's inputs before it quantizes, read and written in both of its formats.
//!
//! For each matrix, by its GGUF name, the sum of squares of each input and the number of tokens. Files are GGUF (`general.type` is
//! `imatrix`, tensors `{name}.in_sum2` and `{name}.counts`, in some `{name}.in_sum`), or of the older form without a magic number
//! (`docs/formats.md` draws it), which keeps means only.

use crate::Error;
use crate::gguf::cursor::Cursor;
use crate::gguf::{BlockType, File, Writer};
use scant_tensor_core::file::{Bytes, replace};
use std::collections::BTreeMap;
use std::path::Path;

const CHUNKS: &str = "imatrix.chunk_count";
const CHUNK_SIZE: &str = "imatrix.chunk_size";
const DATASETS: &str = "imatrix.datasets";

/// What is known of the inputs of a model's matrices.
///
/// ```
/// use scant_quant::imatrix::{Imatrix, InputSums};
/// let mut imatrix = Imatrix::new(512);
/// imatrix.insert("blk.0.ffn_down.weight", InputSums::from_mean_sq(&[0.25, 4.0], 1024.0)?);
/// let again = Imatrix::from_bytes(imatrix.to_gguf()?)?;
/// assert_eq!(again, imatrix);
/// assert_eq!(again.get("blk.0.ffn_down.weight").unwrap().mean_sq(), [0.25, 4.0]);
/// # Ok::<(), scant_quant::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Imatrix {
    entries: BTreeMap<String, InputSums>,
    /// Names of the texts that were run.
    pub datasets: Vec<String>,
    /// Chunks of text that were run.
    pub chunks: u32,
    /// Tokens of a chunk.
    pub chunk_size: u32,
}

/// Sums over the inputs of one matrix; of several where experts share a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct InputSums {
    /// `[matrices, n]`
    sum_sq: Vec<f32>,
    /// As `sum_sq`.
    sum: Option<Vec<f32>>,
    /// Tokens, `[matrices]`; in files of the older form, chunks.
    counts: Vec<f32>,
}

impl InputSums {
    /// Sums of squares `[matrices, n]`, sums if they are known, and the number of tokens of each matrix.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] if lengths disagree, [`Error::Importance`] for squares or counts below zero and numbers that are not finite.
    pub fn new(sum_sq: Vec<f32>, sum: Option<Vec<f32>>, counts: Vec<f32>) -> Result<InputSums, Error> {
        let matrices = counts.len().max(1);
        if counts.is_empty() || sum_sq.is_empty() || !sum_sq.len().is_multiple_of(matrices) {
            let want = sum_sq.len().next_multiple_of(matrices).max(1);
            return Err(Error::ShapeMismatch { what: format!("squares of {} matrices", counts.len()), want, got: sum_sq.len() });
        }
        if let Some(sum) = sum.as_ref().filter(|sum| sum.len() != sum_sq.len()) {
            return Err(Error::ShapeMismatch { what: "sums of inputs".to_owned(), want: sum_sq.len(), got: sum.len() });
        }
        let n = sum_sq.len() / matrices;
        let bad = |x: &[f32], least: f32| x.iter().position(|x| !x.is_finite() || *x < least).map(|i| (i % n, x[i]));
        let bad = bad(&sum_sq, 0.0).or_else(|| bad(&counts, 0.0)).or_else(|| bad(sum.as_deref().unwrap_or(&[]), f32::MIN));
        if let Some((column, value)) = bad {
            return Err(Error::Importance { column, value });
        }
        Ok(InputSums { sum_sq, sum, counts })
    }

    /// The sums of one matrix whose mean squares over `tokens` tokens are known.
    ///
    /// # Errors
    /// Those of [`new`](InputSums::new).
    pub fn from_mean_sq(mean_sq: &[f32], tokens: f32) -> Result<InputSums, Error> {
        InputSums::new(mean_sq.iter().map(|x| x * tokens).collect(), None, vec![tokens])
    }

    /// Inputs of a matrix.
    pub fn inputs(&self) -> usize {
        self.sum_sq.len() / self.counts.len()
    }

    /// Matrices that share the tensor.
    pub fn matrices(&self) -> usize {
        self.counts.len()
    }

    /// Tokens of each matrix.
    pub fn counts(&self) -> &[f32] {
        &self.counts
    }

    /// The mean square of each input, `[matrices, n]`; 1 for a matrix that no token has reached.
    pub fn mean_sq(&self) -> Vec<f32> {
        self.means(&self.sum_sq, 1.0)
    }

    /// The mean of each input, `[matrices, n]`, where it is known; 0 for a matrix that no token has reached.
    pub fn mean(&self) -> Option<Vec<f32>> {
        self.sum.as_deref().map(|sum| self.means(sum, 0.0))
    }

    fn means(&self, sums: &[f32], unseen: f32) -> Vec<f32> {
        let n = self.inputs();
        sums.iter().enumerate().map(|(i, sum)| if self.counts[i / n] > 0.0 { sum / self.counts[i / n] } else { unseen }).collect()
    }
}

impl Imatrix {
    /// Nothing yet, from text in chunks of this many tokens.
    pub fn new(chunk_size: u32) -> Imatrix {
        Imatrix { entries: BTreeMap::new(), datasets: vec![], chunks: 0, chunk_size }
    }

    /// Sets what is known of a matrix, by its name in a GGUF file, such as `blk.0.ffn_down.weight`.
    pub fn insert(&mut self, name: impl Into<String>, sums: InputSums) {
        self.entries.insert(name.into(), sums);
    }

    /// What is known of a matrix.
    pub fn get(&self, name: &str) -> Option<&InputSums> {
        self.entries.get(name)
    }

    /// All matrices in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &InputSums)> {
        self.entries.iter().map(|(name, sums)| (name.as_str(), sums))
    }

    /// Reads a file of either form.
    ///
    /// # Errors
    /// [`Error::File`], and those of [`from_bytes`](Imatrix::from_bytes).
    pub fn read(path: impl AsRef<Path>) -> Result<Imatrix, Error> {
        Imatrix::from_bytes(Bytes::read(path)?)
    }

    /// Reads either form from memory.
    ///
    /// # Errors
    /// [`Error`] for damaged files and GGUF files that are no importance matrix.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Imatrix, Error> {
        let bytes = bytes.into();
        if bytes.starts_with(b"GGUF") { from_gguf(&File::from_bytes(bytes)?) } else { from_dat(&bytes) }
    }

    /// As a GGUF file.
    ///
    /// # Errors
    /// [`Error::Unwritable`] for names of more than 54 bytes.
    pub fn to_gguf(&self) -> Result<Vec<u8>, Error> {
        let mut writer = Writer::bare();
        writer.set("general.type", "imatrix")?;
        let datasets: Vec<&str> = self.datasets.iter().map(String::as_str).collect();
        writer.set(DATASETS, &datasets[..])?;
        writer.set(CHUNKS, self.chunks)?;
        writer.set(CHUNK_SIZE, self.chunk_size)?;
        for (name, sums) in &self.entries {
            let dims = [sums.inputs(), sums.matrices()];
            writer.encode(&format!("{name}.in_sum2"), BlockType::F32, &dims, &sums.sum_sq)?;
            writer.encode(&format!("{name}.counts"), BlockType::F32, &[1, sums.matrices()], &sums.counts)?;
            if let Some(sum) = &sums.sum {
                writer.encode(&format!("{name}.in_sum"), BlockType::F32, &dims, sum)?;
            }
        }
        Ok(writer.to_bytes())
    }

    /// In the older form: means times the number of chunks. Sums of inputs, and counts that differ between the matrices of a tensor, are lost.
    ///
    /// # Errors
    /// [`Error::Unwritable`] for more than the form can count.
    pub fn to_dat(&self) -> Result<Vec<u8>, Error> {
        let mut out = vec![];
        let int = |what: &str, x: usize| match i32::try_from(x) {
            Ok(x) => Ok(x.to_le_bytes()),
            Err(_) => Err(Error::Unwritable { what: what.to_owned(), detail: format!("{x} is beyond 32 bits") }),
        };
        out.extend(int("number of matrices", self.entries.len())?);
        for (name, sums) in &self.entries {
            let largest = sums.counts.iter().fold(0f32, |max, c| max.max(*c));
            // A share of a chunk counts as one.
            let calls = (f64::from(largest) / f64::from(self.chunk_size.max(1))).ceil().clamp(1.0, f64::from(i32::MAX));
            #[expect(clippy::cast_possible_truncation, reason = "a whole number within the range")]
            let calls = calls as i32;
            out.extend(int("length of a name", name.len())?);
            out.extend(name.as_bytes());
            out.extend(calls.to_le_bytes());
            out.extend(int("number of inputs", sums.sum_sq.len())?);
            out.extend(sums.mean_sq().iter().flat_map(|mean| (mean * calls as f32).to_le_bytes()));
        }
        let dataset = self.datasets.last().map_or("", String::as_str);
        out.extend(int("number of chunks", self.chunks as usize)?);
        out.extend(int("length of a data set's name", dataset.len())?);
        out.extend(dataset.as_bytes());
        Ok(out)
    }

    /// Writes a GGUF file, whole or not at all.
    ///
    /// # Errors
    /// Those of [`to_gguf`](Imatrix::to_gguf), and [`Error::File`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let bytes = self.to_gguf()?;
        Ok(replace(path, |out| out.write_all(&bytes))?)
    }
}

fn from_gguf(file: &File) -> Result<Imatrix, Error> {
    let kind: &str = file.get("general.type")?;
    if kind != "imatrix" {
        return Err(Error::Corrupt { what: "importance matrix".to_owned(), detail: format!("`general.type` is `{kind}`, not `imatrix`") });
    }
    let mut imatrix = Imatrix::new(file.get_optional(CHUNK_SIZE)?.unwrap_or(0));
    imatrix.chunks = file.get_optional(CHUNKS)?.unwrap_or(0);
    imatrix.datasets = file.get_optional::<Vec<&str>>(DATASETS)?.unwrap_or_default().into_iter().map(str::to_owned).collect();
    for tensor in file.tensors() {
        let Some(name) = tensor.name().strip_suffix(".in_sum2") else { continue };
        let counts = file.tensor(&format!("{name}.counts"))?;
        let sum = match file.tensor(&format!("{name}.in_sum")) {
            Ok(tensor) => Some(tensor.to_f32()?),
            Err(Error::MissingTensor { .. }) => None,
            Err(e) => return Err(e),
        };
        imatrix.insert(name, InputSums::new(tensor.to_f32()?, sum, counts.to_f32()?)?);
    }
    Ok(imatrix)
}

fn from_dat(bytes: &[u8]) -> Result<Imatrix, Error> {
    let mut cursor = Cursor::new(bytes, false);
    let count = |cursor: &mut Cursor<'_>, what: &str, least: u32| {
        let value = cursor.u32(what)?;
        // These are i32 in the file.
        if value < least || i32::try_from(value).is_err() {
            let detail = format!("{} is not a number from {least}", value.cast_signed());
            return Err(Error::Corrupt { what: what.to_owned(), detail });
        }
        Ok(value)
    };
    let text = |cursor: &mut Cursor<'_>, what: &str, least: u32| {
        let len = count(cursor, what, least)?;
        let text = std::str::from_utf8(cursor.take(len.into(), what)?);
        text.map(str::to_owned).map_err(|e| Error::Corrupt { what: what.to_owned(), detail: e.to_string() })
    };
    let mut imatrix = Imatrix::new(0);
    for _ in 0..count(&mut cursor, "number of matrices", 1)? {
        let name = text(&mut cursor, "name of a matrix", 1)?;
        let calls = count(&mut cursor, "number of chunks of a matrix", 0)?;
        let inputs = count(&mut cursor, "number of inputs", 1)?;
        let values = cursor.take(4 * u64::from(inputs), "mean squares")?.as_chunks().0;
        let values = values.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if imatrix.entries.contains_key(&name) {
            return Err(Error::Duplicate { what: "matrix", name });
        }
        // The oldest files count no chunks and hold the means themselves.
        imatrix.insert(name, InputSums::new(values, None, vec![if calls == 0 { 1.0 } else { calls as f32 }])?);
    }
    // What was run came later to the form.
    if cursor.remaining() > 0 {
        imatrix.chunks = count(&mut cursor, "number of chunks", 0)?;
        imatrix.datasets = vec![text(&mut cursor, "name of the data set", 0)?];
    }
    Ok(imatrix)
}
