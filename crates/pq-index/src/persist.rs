//! Saved indexes: one self-describing safetensors file.
//!
//! Kind `pq-index`. Tensors: `centroids` `[lists, dim]`, the rotation's and the quantizer's own, `list.offset` `[lists + 1]`, `list.rows` `[n]`,
//! `codes` `[blocks, columns, 64]` list after list, `full` `[n, dim]` instead of codes, `factor`, `shift`, `norm`, `ids` `[n]`, `live` (a word for
//! each 64 rows), `attr.{i}` and `attr.{i}.offset`.

use crate::error::Error;
use crate::index::Index;
use crate::list::List;
use crate::model::{Config, Model, Sides};
use crate::norm::Side;
use crate::quantizer::Coder;
use crate::rotation::Rotation;
use ndarray::{Array2, Axis};
use scant_tensor_core::file::{Crc32c, Dtype, Element, File, Writer};
use scant_tensor_core::retrieve::{Bitmap, Column, Columns};
use scant_tensor_core::scan::{BLOCK, CodeBlocks};
use std::path::Path;
use std::sync::Arc;

const KIND: &str = "pq-index";
const VERSION: u32 = 1;

/// The parameters of the file.
#[derive(serde::Serialize, serde::Deserialize)]
struct Parameters {
    dim: usize,
    rows: usize,
    config: Config,
    sides: Sides,
    columns: Vec<Attribute>,
}

#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Attribute {
    name: String,
    kind: AttributeKind,
}

#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AttributeKind {
    F32,
    I64,
    Category,
    Tags,
}

pub(crate) fn corrupt(field: &'static str, want: impl ToString, got: impl ToString) -> Error {
    Error::Corrupt { file: "index".into(), field, want: want.to_string(), got: got.to_string() }
}

/// Adds a copy: what is saved is gathered from lists anyway.
pub(crate) fn add<T: Element>(writer: &mut Writer<'_>, name: &str, shape: impl AsRef<[usize]>, values: &[T]) -> Result<(), Error> {
    Ok(writer.add(name, T::DTYPE, shape, bytemuck::cast_slice(values).to_vec())?)
}

impl Model {
    fn save(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
        let centroids: Vec<f32> = self.centroids.iter().copied().collect();
        add(writer, "centroids", self.centroids.shape(), &centroids)?;
        if let Some(rotation) = &self.rotation {
            rotation.save(writer)?;
        }
        self.coder.as_ref().map_or(Ok(()), |coder| coder.save(writer))
    }

    /// A checksum of everything that gives codes their meaning.
    pub(crate) fn compute_digest(&self) -> Result<String, Error> {
        let mut writer = Writer::new("pq-index-model", VERSION).parameters(&(&self.config, self.dim, self.sides))?;
        self.save(&mut writer)?;
        Ok(Crc32c::of(&writer.to_bytes()?).to_string())
    }

    fn load(file: &File, dim: usize, config: Config, sides: Sides) -> Result<Model, Error> {
        let lists = config.lists;
        if lists == 0 || dim == 0 || lists >= 1 << 24 {
            return Err(corrupt("lists and dimensions", "at least 1, and lists below 2^24", format!("{lists} and {dim}")));
        }
        let values = file.typed::<f32>("centroids", [lists, dim])?;
        let centroids = Array2::from_shape_fn((lists, dim), |(l, i)| values[l * dim + i]);
        Error::check_finite(centroids.view(), 0)?;
        let rotation = Rotation::load(file, dim)?;
        if rotation.is_some() != config.rotation.is_some() {
            return Err(corrupt("rotation", config.rotation.is_some(), rotation.is_some()));
        }
        let coder = Coder::load(file, config.quantizer, dim)?;
        Model::new(config, centroids, rotation, coder, sides)
    }
}

impl Index {
    /// Saves through a temporary file beside `path`: a save that fails leaves the old file whole.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.writer()?.save(path)?)
    }

    /// The bytes of a saved index: the same for the same index, opened or built.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn to_bytes(&self) -> Result<scant_tensor_core::file::Bytes, Error> {
        Ok(self.writer()?.to_bytes()?)
    }

    /// Opens a saved index, reading and checking all of it.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is damaged or of another kind, [`Error::Corrupt`] for one that contradicts itself.
    pub fn open(path: impl AsRef<Path>) -> Result<Index, Error> {
        Index::from_file(&File::read(path)?)
    }

    pub(crate) fn writer(&self) -> Result<Writer<'static>, Error> {
        let (model, rows) = (&*self.model, self.ids.len());
        let parameters =
            Parameters { dim: model.dim, rows, config: model.config.clone(), sides: model.sides, columns: describe_columns(&self.columns) };
        let mut writer = Writer::new(KIND, VERSION).parameters(&parameters)?;
        model.save(&mut writer)?;
        let mut offset = vec![0u64];
        offset.extend(self.lists.iter().scan(0u64, |sum, list| {
            *sum += list.len() as u64;
            Some(*sum)
        }));
        add(&mut writer, "list.offset", [offset.len()], &offset)?;
        let of_lists: Vec<u32> = self.lists.iter().flat_map(|l| l.rows.iter().copied()).collect();
        add(&mut writer, "list.rows", [rows], &of_lists)?;
        if model.coder.is_some() {
            let columns = List::columns(model);
            let codes: Vec<u8> = self.lists.iter().flat_map(|l| l.codes.as_bytes().iter().copied()).collect();
            writer.add("codes", Dtype::U8, [codes.len() / (BLOCK * columns), columns, BLOCK], codes)?;
        } else {
            let full: Vec<f32> = self.lists.iter().flat_map(|l| l.full.iter().copied()).collect();
            add(&mut writer, "full", [rows, model.dim], &full)?;
        }
        Side::save(self.lists.iter().filter_map(|l| l.factor.as_ref()), "factor", &mut writer)?;
        Side::save(self.lists.iter().filter_map(|l| l.shift.as_ref()), "shift", &mut writer)?;
        Side::save(self.lists.iter().filter_map(|l| l.norm.as_ref()), "norm", &mut writer)?;
        add(&mut writer, "ids", [rows], &self.ids)?;
        add(&mut writer, "live", [self.live.words().len()], self.live.words())?;
        save_columns(&self.columns, &mut writer)?;
        Ok(writer)
    }

    /// The index in an opened file, which may be mapped: codes stay in the file's bytes until they are changed. Nothing is trusted.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_file(file: &File) -> Result<Index, Error> {
        let Parameters { dim, rows, config, sides, columns } = file.require_kind(KIND, VERSION)?.parameters()?;
        let (lists, model) = (config.lists, Model::load(file, dim, config, sides)?);
        check_sides(&model)?;
        let offset = offsets(&file.typed::<u64>("list.offset", [lists + 1])?, rows, "list.offset")?;
        let of_lists = file.typed::<u32>("list.rows", [rows])?;
        let mut seen = Bitmap::none(rows);
        for (l, range) in offset.windows(2).enumerate() {
            let mut last = None;
            for row in &of_lists[range[0]..range[1]] {
                // In a flat index the place is the row, which the filter relies on; and each row has one place.
                if *row as usize >= rows || seen.contains(*row as usize) || last.is_some_and(|last| last >= *row) {
                    return Err(corrupt(
                        "a row number in list.rows",
                        format!("ascending, below {rows}, once"),
                        format!("{row} in list {l}"),
                    ));
                }
                seen.insert(*row as usize);
                last = Some(*row);
            }
        }
        let width = List::columns(&model);
        let blocks = |l: usize| (offset[l + 1] - offset[l]).div_ceil(BLOCK);
        let all_blocks: usize = (0..lists).map(blocks).sum();
        let codes = match model.coder {
            Some(_) => Some(file.expect("codes", Dtype::U8, [all_blocks, width, BLOCK])?),
            None => None,
        };
        let full = match model.coder {
            Some(_) => None,
            None => Some(file.typed::<f32>("full", [rows, dim])?),
        };
        if let Some(full) = &full {
            Error::check_finite(ndarray::aview1(&full[..]).insert_axis(Axis(0)), 0)?;
        }
        let side = |name: &str, precision: Option<crate::norm::Precision>| {
            precision.map(|p| Side::load(file, name, p, rows).map(|bytes| (bytes, p))).transpose()
        };
        let (factor, shift, norm) = (side("factor", sides.factor)?, side("shift", sides.shift)?, side("norm", sides.norm)?);
        let mut begin = 0;
        let mut loaded = vec![];
        for l in 0..lists {
            let (first, last) = (offset[l], offset[l + 1]);
            let part = |side: &Option<(scant_tensor_core::file::Bytes, crate::norm::Precision)>| {
                side.as_ref().map(|(bytes, p)| Side::part(bytes, *p, first, last))
            };
            let end = begin + blocks(l) * BLOCK * width;
            let mut list = List {
                rows: of_lists[first..last].to_vec(),
                codes: match &codes {
                    Some(codes) => List::blocks(&model, CodeBlocks::from_bytes(last - first, width, codes.slice(begin..end))?),
                    None => CodeBlocks::new(width),
                },
                full: full.as_ref().map_or(vec![], |full| full[first * dim..last * dim].to_vec()),
                factor: part(&factor),
                shift: part(&shift),
                norm: part(&norm),
                radius: vec![],
                spans: crate::beside::Spans::NONE,
            };
            list.bound(0);
            loaded.push(list);
            begin = end;
        }
        let ids = file.typed::<u64>("ids", [rows])?.to_vec();
        let words = file.typed::<u64>("live", [rows.div_ceil(64)])?.to_vec();
        let live = Bitmap::from_words(rows, words).ok_or_else(|| corrupt("live", "no bit past the last row", "one"))?;
        Ok(Index::from_parts(Arc::new(model), loaded, ids, live, load_columns(file, columns, rows)?))
    }
}

/// The numbers beside codes must be those that this quantizer and metric use.
fn check_sides(model: &Model) -> Result<(), Error> {
    use crate::quantizer::Scaling;
    let sides = &model.sides;
    let (factor, shift, norm) = match &model.coder {
        None => (false, false, false),
        Some(coder) => {
            let scaling = Model::scaling(&model.config, coder);
            let norm = match model.config.metric {
                crate::metric::Metric::L2 => !Model::by_distance(&model.config, coder),
                // Those of FAISS's RaBitQ have it: see `Model::norm`.
                _ => sides.norm.is_some() && scaling == Scaling::Factor && model.config.residual,
            };
            (scaling != Scaling::None, scaling == Scaling::Affine, norm)
        }
    };
    let got = (sides.factor.is_some(), sides.shift.is_some(), sides.norm.is_some());
    if got == (factor, shift, norm) {
        Ok(())
    } else {
        Err(corrupt("factor, shift and norm", format!("{:?}", (factor, shift, norm)), format!("{got:?}")))
    }
}

/// Offsets that start at 0, do not fall, and end at `last`.
fn offsets(stored: &[u64], last: usize, field: &'static str) -> Result<Vec<usize>, Error> {
    let ok = stored.first() == Some(&0) && stored.last() == Some(&(last as u64)) && stored.windows(2).all(|w| w[0] <= w[1]);
    if ok {
        Ok(stored.iter().map(|o| *o as usize).collect())
    } else {
        Err(corrupt(field, format!("0 to {last}, ascending"), "other numbers"))
    }
}

/// Names and types of attributes, in the order in which they are saved.
pub(crate) fn describe_columns(columns: &Columns) -> Vec<Attribute> {
    let kind = |column: &Column| match column {
        Column::F32(_) => AttributeKind::F32,
        Column::I64(_) => AttributeKind::I64,
        Column::Category(_) => AttributeKind::Category,
        _ => AttributeKind::Tags,
    };
    columns.iter().map(|(name, column)| Attribute { name: name.to_owned(), kind: kind(column) }).collect()
}

/// Adds the tensors `attr.{i}` and `attr.{i}.offset`.
pub(crate) fn save_columns(columns: &Columns, writer: &mut Writer<'_>) -> Result<(), Error> {
    for (i, (_, column)) in columns.iter().enumerate() {
        let name = format!("attr.{i}");
        match column {
            Column::F32(x) => add(writer, &name, [columns.rows()], x)?,
            Column::I64(x) => add(writer, &name, [columns.rows()], x)?,
            Column::Category(x) => add(writer, &name, [columns.rows()], x)?,
            Column::Tags(x) => {
                let tags: Vec<u32> = x.iter().flatten().copied().collect();
                let mut offset = vec![0u64];
                offset.extend(x.iter().scan(0u64, |sum, tags| {
                    *sum += tags.len() as u64;
                    Some(*sum)
                }));
                add(writer, &name, [tags.len()], &tags)?;
                add(writer, &format!("{name}.offset"), [columns.rows() + 1], &offset)?;
            }
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn load_columns(file: &File, described: Vec<Attribute>, rows: usize) -> Result<Columns, Error> {
    let mut named = vec![];
    for (i, Attribute { name, kind }) in described.into_iter().enumerate() {
        named.push((name, load_column(file, &format!("attr.{i}"), kind, rows)?));
    }
    Ok(Columns::from(named)?)
}

fn load_column(file: &File, name: &str, kind: AttributeKind, rows: usize) -> Result<Column, Error> {
    Ok(match kind {
        AttributeKind::F32 => Column::F32(file.typed::<f32>(name, [rows])?.to_vec()),
        AttributeKind::I64 => Column::I64(file.typed::<i64>(name, [rows])?.to_vec()),
        AttributeKind::Category => Column::Category(file.typed::<u32>(name, [rows])?.to_vec()),
        AttributeKind::Tags => {
            let tags = file.tensor(name)?.typed::<u32>()?;
            let stored = file.typed::<u64>(&format!("{name}.offset"), [rows + 1])?;
            let offset = offsets(&stored, tags.len(), "the offsets of tags")?;
            Column::Tags(offset.windows(2).map(|w| tags[w[0]..w[1]].to_vec()).collect())
        }
    })
}
