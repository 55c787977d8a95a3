//! Vectors in columns of Parquet files, behind the feature `parquet`.

use super::{VectorSource, io};
use crate::error::Error;
use half::f16;
use ndarray::ArrayViewMut2;
use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A column of lists that are all of one length, of f32, f64 or f16: what pyarrow writes for `list_(float32())` and for lists of fixed size,
/// plain or packed with Snappy, gzip or LZ4. Read row group by row group.
///
/// ```no_run
/// use scant_pq_index::source::{Parquet, VectorSource};
/// let source = Parquet::open("embeddings.parquet", Some("embedding"))?;
/// let ids = source.ids("id")?;
/// assert_eq!(ids.len(), source.len());
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
pub struct Parquet {
    /// Clones of a file share its place, so one read at a time.
    reader: Mutex<SerializedFileReader<File>>,
    path: PathBuf,
    leaf: usize,
    dim: usize,
    /// Where each row group begins, and the end.
    starts: Vec<usize>,
}

impl std::fmt::Debug for Parquet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parquet").field("path", &self.path).field("leaf", &self.leaf).field("dim", &self.dim).finish_non_exhaustive()
    }
}

impl Parquet {
    /// Opens the column `column`, or the only one that holds vectors. Their dimension is that of the first.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] for what is no Parquet file, names no such column, or leaves a choice.
    pub fn open(path: impl AsRef<Path>, column: Option<&str>) -> Result<Parquet, Error> {
        let path = path.as_ref().to_owned();
        let file = File::open(&path).map_err(|e| io(&path, e))?;
        let reader = SerializedFileReader::new(file).map_err(|e| corrupt(&path, "the file", "Parquet", e))?;
        let leaf = vectors(&reader, &path, column)?;
        let mut starts = vec![0usize];
        for group in reader.metadata().row_groups() {
            let rows = usize::try_from(group.num_rows()).map_err(|_| corrupt(&path, "rows of a group", "0 or more", group.num_rows()))?;
            let end = starts[starts.len() - 1].checked_add(rows).ok_or_else(|| corrupt(&path, "rows", "a number of 64 bits", rows))?;
            starts.push(end);
        }
        let mut open = Parquet { reader: Mutex::new(reader), path, leaf, dim: 0, starts };
        if !open.is_empty() {
            let group = (0..open.starts.len() - 1).find(|g| open.starts[*g] < open.starts[g + 1]).unwrap_or(0);
            let mut first = vec![];
            open.values(group, 0, 1, &mut |values| first.extend_from_slice(values))?;
            open.dim = first.len();
        }
        Ok(open)
    }

    /// The numbers in the column `column` of 64-bit integers: an id for each row.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if there is no such column, or a row without a number.
    pub fn ids(&self, column: &str) -> Result<Vec<u64>, Error> {
        let reader = self.lock();
        let leaf = (0..reader.metadata().file_metadata().schema_descr().num_columns())
            .find(|leaf| is_ids(&reader.metadata().file_metadata().schema_descr().column(*leaf), column))
            .ok_or_else(|| corrupt(&self.path, "columns", &format!("64-bit integers named {column}"), "none"))?;
        let mut ids = vec![];
        for group in 0..reader.num_row_groups() {
            let rows = self.starts[group + 1] - self.starts[group];
            let group = reader.get_row_group(group).map_err(|e| self.unreadable(e))?;
            let ColumnReader::Int64ColumnReader(mut column) = group.get_column_reader(leaf).map_err(|e| self.unreadable(e))? else {
                return Err(corrupt(&self.path, "ids", "64-bit integers", "another type"));
            };
            let before = ids.len();
            let mut read: Vec<i64> = vec![];
            while ids.len() + read.len() < before + rows {
                let wanted = (before + rows - ids.len() - read.len()).min(BATCH);
                let (_, found, _) = column.read_records(wanted, None, None, &mut read).map_err(|e| self.unreadable(e))?;
                if found == 0 {
                    return Err(corrupt(&self.path, "ids", &format!("{rows} in a group"), read.len()));
                }
            }
            ids.extend(read.into_iter().map(i64::cast_unsigned));
        }
        Ok(ids)
    }

    fn lock(&self) -> MutexGuard<'_, SerializedFileReader<File>> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unreadable(&self, error: ParquetError) -> Error {
        corrupt(&self.path, "a row group", "pages that can be read", error)
    }

    /// Hands `rows` vectors of a group from `first` on to `take`, some at a time. Checks their length once it is known.
    fn values(&self, group: usize, first: usize, rows: usize, take: &mut dyn FnMut(&[f32])) -> Result<(), Error> {
        let reader = self.lock();
        let column = reader.metadata().file_metadata().schema_descr().column(self.leaf);
        let reader: Box<dyn RowGroupReader + '_> = reader.get_row_group(group).map_err(|e| self.unreadable(e))?;
        let place = Place { file: self, row: self.starts[group] + first, skip: first, rows, def: column.max_def_level() };
        match reader.get_column_reader(self.leaf).map_err(|e| self.unreadable(e))? {
            ColumnReader::FloatColumnReader(column) => place.read(column, |v| *v, take),
            #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what a source does")]
            ColumnReader::DoubleColumnReader(column) => place.read(column, |v| *v as f32, take),
            ColumnReader::FixedLenByteArrayColumnReader(column) => place.read(column, half, take),
            _ => Err(corrupt(&self.path, "vectors", "f32, f64 or f16", "another type")),
        }
    }
}

/// Rows that are read at a time.
const BATCH: usize = 4096;

/// Some rows of a column.
struct Place<'a> {
    file: &'a Parquet,
    /// The number of the first in the file.
    row: usize,
    skip: usize,
    rows: usize,
    /// The level of a value that is there.
    def: i16,
}

impl Place<'_> {
    fn read<T: DataType>(
        self,
        mut column: ColumnReaderImpl<T>,
        to_f32: impl Fn(&T::T) -> f32,
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<(), Error> {
        let file = self.file;
        let wrong = |row: usize, want: String, got: String| corrupt(&file.path, "a vector", &want, format!("{got} in row {row}"));
        let skipped = column.skip_records(self.skip).map_err(|e| file.unreadable(e))?;
        if skipped < self.skip {
            return Err(wrong(self.row, format!("{} rows before it", self.skip), skipped.to_string()));
        }
        let mut done = 0;
        while done < self.rows {
            let (mut defs, mut reps, mut values) = (vec![], vec![], vec![]);
            let wanted = (self.rows - done).min(BATCH);
            let (records, ..) =
                column.read_records(wanted, Some(&mut defs), Some(&mut reps), &mut values).map_err(|e| file.unreadable(e))?;
            if records == 0 {
                return Err(wrong(self.row + done, format!("{} rows", self.rows), done.to_string()));
            }
            let mut starts: Vec<usize> = reps.iter().enumerate().filter(|(_, rep)| **rep == 0).map(|(at, _)| at).collect();
            starts.push(reps.len());
            for (i, ends) in starts.windows(2).enumerate() {
                let row = self.row + done + i;
                if defs[ends[0]..ends[1]].iter().any(|def| *def < self.def) {
                    return Err(wrong(row, "numbers".to_owned(), "null".to_owned()));
                }
                if file.dim > 0 && ends[1] - ends[0] != file.dim {
                    return Err(wrong(row, format!("{} numbers", file.dim), (ends[1] - ends[0]).to_string()));
                }
            }
            take(&values.iter().map(&to_f32).collect::<Vec<_>>());
            done += records;
        }
        Ok(())
    }
}

fn half(bytes: &FixedLenByteArray) -> f32 {
    let bytes: &ByteArray = bytes;
    match bytes.data() {
        [low, high] => f16::from_le_bytes([*low, *high]).to_f32(),
        _ => f32::NAN,
    }
}

/// The column of vectors.
fn vectors(reader: &SerializedFileReader<File>, path: &Path, name: Option<&str>) -> Result<usize, Error> {
    let schema = reader.metadata().file_metadata().schema_descr();
    let holds = |column: &ColumnDescriptor| {
        let float = match column.physical_type() {
            Type::FLOAT | Type::DOUBLE => true,
            Type::FIXED_LEN_BYTE_ARRAY => column.type_length() == 2,
            _ => false,
        };
        float && column.max_rep_level() == 1
    };
    let leaves: Vec<usize> = (0..schema.num_columns()).filter(|leaf| holds(&schema.column(*leaf))).collect();
    let names: Vec<&str> = leaves.iter().map(|leaf| schema.get_column_root(*leaf).name()).collect();
    match (name, &leaves[..]) {
        (None, [leaf]) => Ok(*leaf),
        (None, _) => Err(corrupt(path, "columns of vectors", "one, or its name", format!("{names:?}"))),
        (Some(name), _) => match names.iter().position(|n| *n == name) {
            Some(at) => Ok(leaves[at]),
            None => Err(corrupt(path, "columns of vectors", name, format!("{names:?}"))),
        },
    }
}

fn is_ids(column: &ColumnDescriptor, name: &str) -> bool {
    column.physical_type() == Type::INT64 && column.max_rep_level() == 0 && column.name() == name
}

fn corrupt(path: &Path, field: &'static str, want: &str, got: impl std::fmt::Display) -> Error {
    Error::Corrupt { file: path.to_owned(), field, want: want.to_owned(), got: got.to_string() }
}

impl VectorSource for Parquet {
    fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or_default()
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn read(&self, rows: Range<usize>, mut out: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        let mut out = out.iter_mut();
        for group in 0..self.starts.len() - 1 {
            let (first, last) = (rows.start.max(self.starts[group]), rows.end.min(self.starts[group + 1]));
            if first < last {
                self.values(group, first - self.starts[group], last - first, &mut |values| {
                    values.iter().zip(&mut out).for_each(|(v, out)| *out = *v);
                })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{open, read_rows};
    use ndarray::Array2;
    use parquet::data_type::{DoubleType, FixedLenByteArrayType, FloatType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use std::sync::Arc;

    const SCHEMA: &str = "message m {
        required int64 id;
        optional group x (LIST) { repeated group list { optional float element; } }
        optional group y (LIST) { repeated group list { optional double element; } }
        optional group z (LIST) { repeated group list { optional fixed_len_byte_array(2) element (FLOAT16); } }
    }";

    /// Rows of `x`, `y` and `z`, `None` for null, in groups.
    fn write(path: &Path, rows: &[Vec<Option<f32>>], group: usize) {
        let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
        let properties = Arc::new(WriterProperties::builder().set_compression(parquet::basic::Compression::SNAPPY).build());
        let mut file = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
        for (at, rows) in rows.chunks(group).enumerate() {
            let mut writer = file.next_row_group().unwrap();
            let ids: Vec<i64> = (0..rows.len()).map(|i| 100 + (at * group + i) as i64).collect();
            let mut column = writer.next_column().unwrap().unwrap();
            column.typed::<Int64Type>().write_batch(&ids, None, None).unwrap();
            column.close().unwrap();
            let defs: Vec<i16> = rows.iter().flatten().map(|v| if v.is_some() { 3 } else { 2 }).collect();
            let reps: Vec<i16> = rows.iter().flat_map(|row| (0..row.len()).map(|i| i16::from(i > 0))).collect();
            let values: Vec<f32> = rows.iter().flatten().copied().flatten().collect();
            let mut column = writer.next_column().unwrap().unwrap();
            column.typed::<FloatType>().write_batch(&values, Some(&defs), Some(&reps)).unwrap();
            column.close().unwrap();
            let mut column = writer.next_column().unwrap().unwrap();
            let wide: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
            column.typed::<DoubleType>().write_batch(&wide, Some(&defs), Some(&reps)).unwrap();
            column.close().unwrap();
            let mut column = writer.next_column().unwrap().unwrap();
            let halves: Vec<FixedLenByteArray> =
                values.iter().map(|v| ByteArray::from(f16::from_f32(*v).to_le_bytes().to_vec()).into()).collect();
            column.typed::<FixedLenByteArrayType>().write_batch(&halves, Some(&defs), Some(&reps)).unwrap();
            column.close().unwrap();
            writer.close().unwrap();
        }
        file.close().unwrap();
    }

    #[test]
    fn lists_are_vectors_and_what_is_wrong_with_them_is_said() {
        let folder = std::env::temp_dir().join(format!("scant-parquet-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("x.parquet");
        // Halves hold these exactly.
        let x = Array2::from_shape_fn((1000, 6), |(i, j)| (i * 7 + j) as f32 / 4.0 % 64.0);
        let mut rows: Vec<Vec<Option<f32>>> = x.rows().into_iter().map(|row| row.iter().copied().map(Some).collect()).collect();
        write(&path, &rows, 300);
        for column in ["x", "y", "z"] {
            let source = Parquet::open(&path, Some(column)).unwrap();
            assert_eq!((source.len(), source.dim()), (1000, 6));
            for range in [0..1000, 0..1, 299..301, 250..950, 999..1000, 5..5] {
                assert_eq!(read_rows(&source, range.clone()).unwrap(), x.slice_axis(ndarray::Axis(0), range.into()));
            }
            assert_eq!(source.ids("id").unwrap(), (100..1100).collect::<Vec<u64>>());
            assert!(source.ids("x").is_err());
        }
        let error = open(&path).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(r#"["x", "y", "z"]"#), "{error}");
        assert!(Parquet::open(&path, Some("id")).is_err());

        for (bad, says) in [(vec![Some(1.0); 5], "6 numbers"), (vec![None; 6], "null"), (vec![Some(f32::NAN); 6], "finite")] {
            rows[700] = bad;
            write(&path, &rows, 300);
            let source = Parquet::open(&path, Some("x")).unwrap();
            assert!(read_rows(&source, 0..700).is_ok());
            let error = read_rows(&source, 650..800).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("700"), "{error}");
        }
        let bytes = std::fs::read(&path).unwrap();
        for len in [0, 3, 4, 100, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..len]).unwrap();
            assert!(Parquet::open(&path, Some("x")).is_err(), "{len} bytes");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
