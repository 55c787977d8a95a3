//! Sites in a container: tensors `{matrix}.{term}.{part}`, and a descriptor of what they are (drawn in `docs/formats.md`).
//!
//! Nothing is repacked: a term lies in the file as it lies in memory, so loading shares the file's bytes.

use super::codebook::Codes;
use super::csr::Columns;
use super::dense::DenseData;
use super::{Codebook, CodebookSpec, Csr, Dense, DenseType, Grid, GridSpec, LowRank, Offset, PANEL, Palette, Pivoted, Stat, palette};
use crate::error::Error;
use crate::file::{Bytes, Dtype, File, FileError, Writer};
use crate::linear::{Linear, Term};
use crate::site::Site;
use crate::transform::{Hadamard, Post, Pre, Step};

/// Rows and columns up to here: sizes computed from them do not overflow, and no file is as long.
const MAX_SIDE: usize = 1 << 31;

/// What the tensors of a [`Site`] in a file are.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SiteDescriptor {
    /// The steps of Pre, first to last: tensors `{site}.pre.{index}`.
    pub pre: Vec<StepKind>,
    /// The matrices, in the order of their outputs.
    pub matrices: Vec<MatrixDescriptor>,
}

/// One matrix of a site.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MatrixDescriptor {
    /// What its tensors' names begin with.
    pub name: String,
    /// Rows and columns.
    pub shape: [usize; 2],
    /// The terms: tensors `{name}.{index}.{part}`.
    pub terms: Vec<TermDescriptor>,
    /// What follows the sum: tensor `{name}.post`.
    pub post: Option<StepKind>,
    /// Whether there is a tensor `{name}.bias`.
    pub bias: bool,
}

/// A step of a transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// Scales, f32.
    Scale,
    /// Indices, u32.
    Permute,
    /// Signs, a bit each: bit `j % 8` of byte `j / 8` is 1 for -1.
    Hadamard,
}

/// A term of the sum.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum TermDescriptor {
    /// A [`Dense`]: part `values`.
    Dense {
        /// Its storage type.
        dtype: DenseType,
    },
    /// A [`Grid`]: part `codes`, and those of its statistics.
    Grid {
        /// Bits of a code.
        bits: u32,
        /// Columns that share a scale.
        group_size: usize,
        /// Parts `scale`.
        scale: StatKind,
        /// Parts `offset`, unless it is symmetric.
        offset: OffsetKind,
    },
    /// A [`Palette`]: parts `codes`, `palette`, and those of its scales.
    Palette {
        /// Columns that share a scale.
        group_size: usize,
        /// Parts `scale`.
        scale: StatKind,
    },
    /// A [`Csr`]: parts `starts`, `columns`, `values`.
    Csr {
        /// Elements that are stored.
        elements: usize,
    },
    /// A [`Codebook`]: parts `codes`, `codebooks`, `scale`.
    Codebook {
        /// Codebooks, each with a code for every group.
        books: usize,
        /// Bits of a code.
        bits: u32,
        /// Columns that a code stands for.
        group_size: usize,
    },
    /// A [`LowRank`]: parts `a.…` and `b.…`, those of its factors.
    LowRank {
        /// Rows of the second factor.
        rank: usize,
        /// The first factor.
        a: Box<TermDescriptor>,
        /// The second factor.
        b: Box<TermDescriptor>,
    },
    /// A [`Pivoted`]: parts `pivots`, u64 words of a bit for each row, `z.values`, and `b.…`, those of the pivot rows.
    Pivoted {
        /// Pivots.
        rank: usize,
        /// Storage type of what makes the other rows.
        dtype: DenseType,
        /// The pivot rows.
        b: Box<TermDescriptor>,
    },
}

/// How a [`Stat`] is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum StatKind {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// Small integers.
    Codes {
        /// Width of a code.
        bits: u32,
    },
    /// Second-level quantization: the codes, with parts `{stat}.step` and `{stat}.base`.
    Levels {
        /// Width of a code.
        bits: u32,
        /// What is subtracted from a code.
        centre: u8,
        /// Groups that share a step.
        per: usize,
        /// Whether there is a base.
        base: bool,
    },
    /// Second-level quantization over 16 rows: the codes, with parts `{stat}.step` and `{stat}.base`.
    Tiles {
        /// Width of a code.
        bits: u32,
    },
}

/// What a [`Grid`] adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OffsetKind {
    /// Half of the range is subtracted from a code.
    Symmetric,
    /// A zero point is.
    Zero(StatKind),
    /// A minimum is added.
    Min(StatKind),
}

impl Site {
    /// Adds the tensors of this site to `writer`. `site` names it, `names` its matrices.
    ///
    /// ```
    /// use ndarray::array;
    /// use scant_tensor_core::file::{File, Writer};
    /// use scant_tensor_core::format::{Dense, DenseType};
    /// use scant_tensor_core::{Linear, Pre, Site};
    /// let w = Dense::new(array![[1.0, 2.0]].view(), DenseType::F16)?;
    /// let site = Site::new(Pre::none(), vec![Linear::from_term(w)?])?;
    /// let mut writer = Writer::new("example", 1);
    /// let descriptor = site.save_into(&mut writer, "down", &["down_proj".to_owned()])?;
    /// let file = File::from_bytes(writer.to_bytes()?)?;
    /// assert!(file.contains("down_proj.0.values"));
    /// assert_eq!(Site::load_from(&file, "down", &descriptor)?.linears()[0].shape(), [1, 2]);
    /// # Ok::<(), scant_tensor_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotSaved`] for a term of the caller's own, [`Error::Shape`] unless there is a name for each matrix,
    /// [`Error::File`] if a name is taken.
    pub fn save_into<'a>(&'a self, writer: &mut Writer<'a>, site: &str, names: &[String]) -> Result<SiteDescriptor, Error> {
        Error::check_shape("names of the site's matrices", &[self.linears().len()], &[names.len()])?;
        // Before anything is added: a site is saved whole or not at all.
        for (linear, name) in self.linears().iter().zip(names) {
            if let Some(term) = linear.terms.iter().position(|t| matches!(t, Term::Other(_))) {
                return Err(Error::NotSaved { name: name.clone(), term });
            }
        }
        let steps = self.pre().steps().iter().enumerate();
        let pre = steps.map(|(i, step)| save_step(writer, format!("{site}.pre.{i}"), step)).collect::<Result<_, _>>()?;
        let matrices = self.linears().iter().zip(names).map(|(l, name)| save_linear(writer, name, l)).collect::<Result<_, _>>()?;
        Ok(SiteDescriptor { pre, matrices })
    }

    /// Takes the site that `descriptor` describes out of `file`; its terms share the file's bytes. Nothing is trusted.
    ///
    /// # Errors
    /// [`Error`] for tensors that are missing or of another shape, and for numbers that no site has.
    pub fn load_from(file: &File, site: &str, descriptor: &SiteDescriptor) -> Result<Site, Error> {
        let linears = descriptor.matrices.iter().map(|m| load_linear(file, m)).collect::<Result<Vec<_>, _>>()?;
        let inputs = descriptor.matrices.first().map_or(0, |m| m.shape[1]);
        let steps = descriptor.pre.iter().enumerate();
        let steps = steps.map(|(i, kind)| load_step(file, &format!("{site}.pre.{i}"), *kind, inputs)).collect::<Result<_, _>>()?;
        Site::new(Pre::new(steps)?, linears)
    }
}

fn save_step<'a>(writer: &mut Writer<'a>, name: String, step: &'a Step) -> Result<StepKind, FileError> {
    Ok(match step {
        Step::Scale(scale) => {
            writer.add_elements(name, [scale.len()], scale)?;
            StepKind::Scale
        }
        Step::Permute(order) => {
            writer.add_elements(name, [order.len()], order)?;
            StepKind::Permute
        }
        Step::Hadamard(h) => {
            let byte = |signs: &[f32]| signs.iter().rev().fold(0u8, |byte, s| byte << 1 | u8::from(*s < 0.0));
            let bits: Vec<u8> = h.signs().chunks(8).map(byte).collect();
            writer.add(name, Dtype::U8, [bits.len()], bits)?;
            StepKind::Hadamard
        }
    })
}

fn load_step(file: &File, name: &str, kind: StepKind, len: usize) -> Result<Step, Error> {
    Ok(match kind {
        StepKind::Scale => Step::Scale(file.typed::<f32>(name, [len])?[..].into()),
        StepKind::Permute => Step::Permute(file.typed::<u32>(name, [len])?[..].into()),
        StepKind::Hadamard => {
            let bits = file.expect(name, Dtype::U8, [len.div_ceil(8)])?;
            let sign = |j: usize| if bits[j / 8] >> (j % 8) & 1 == 1 { -1.0 } else { 1.0 };
            Step::Hadamard(Hadamard::from_signs((0..len).map(sign).collect()))
        }
    })
}

fn save_linear<'a>(writer: &mut Writer<'a>, name: &str, linear: &'a Linear) -> Result<MatrixDescriptor, Error> {
    let term = |(i, term): (usize, &'a Term)| match save_term(writer, &format!("{name}.{i}"), term)? {
        Some(descriptor) => Ok(descriptor),
        None => Err(Error::NotSaved { name: name.to_owned(), term: i }),
    };
    let terms = linear.terms.iter().enumerate().map(term).collect::<Result<_, _>>()?;
    let post = match &linear.post {
        Post::None => None,
        Post::Step(step) => Some(save_step(writer, format!("{name}.post"), step)?),
    };
    if let Some(bias) = linear.bias() {
        writer.add_elements(format!("{name}.bias"), [bias.len()], bias)?;
    }
    Ok(MatrixDescriptor { name: name.to_owned(), shape: linear.shape(), terms, post, bias: linear.bias().is_some() })
}

/// None for a term of the caller's own.
fn save_term<'a>(writer: &mut Writer<'a>, part: &str, term: &'a Term) -> Result<Option<TermDescriptor>, FileError> {
    Ok(Some(match term {
        Term::Dense(dense) => save_dense(writer, part, dense)?,
        Term::Grid(grid) => save_grid(writer, part, grid)?,
        Term::Palette(palette) => save_palette(writer, part, palette)?,
        Term::Csr(csr) => save_csr(writer, part, csr)?,
        Term::Codebook(codebook) => save_codebook(writer, part, codebook)?,
        Term::LowRank(term) => {
            let (a, b) = (save_term(writer, &format!("{part}.a"), &term.a)?, save_term(writer, &format!("{part}.b"), &term.b)?);
            let (Some(a), Some(b)) = (a, b) else { return Ok(None) };
            TermDescriptor::LowRank { rank: term.rank(), a: a.into(), b: b.into() }
        }
        Term::Pivoted(term) => {
            let words = term.bitmap();
            writer.add(
                format!("{part}.pivots"),
                Dtype::U64,
                [words.len()],
                words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>(),
            )?;
            save_dense(writer, &format!("{part}.z"), &term.z)?;
            let Some(b) = save_term(writer, &format!("{part}.b"), &term.b)? else { return Ok(None) };
            TermDescriptor::Pivoted { rank: term.rank(), dtype: term.z.kind(), b: b.into() }
        }
        Term::Other(_) => return Ok(None),
    }))
}

fn load_term(file: &File, part: &str, shape: [usize; 2], term: &TermDescriptor) -> Result<Term, Error> {
    let within = |rank: usize| {
        let most = shape[0].min(shape[1]);
        if rank == 0 || rank > most {
            Err(Error::Index { what: format!("rank of `{part}`"), index: rank, bound: most + 1 })
        } else {
            Ok(())
        }
    };
    // Factors have no factors, so a description cannot nest.
    let factor = |name: &str, shape: [usize; 2], term: &TermDescriptor| match term {
        TermDescriptor::LowRank { .. } | TermDescriptor::Pivoted { .. } => {
            Err(Error::Factor { what: format!("{part}.{name}"), term: "low rank".to_owned() })
        }
        _ => load_term(file, &format!("{part}.{name}"), shape, term),
    };
    Ok(match term {
        TermDescriptor::Dense { dtype } => load_dense(file, part, shape, *dtype)?.into(),
        TermDescriptor::Grid { bits, group_size, scale, offset } => {
            load_grid(file, part, GridSpec::new(shape, *bits, *group_size)?, *scale, *offset)?.into()
        }
        TermDescriptor::Palette { group_size, scale } => load_palette(file, part, shape, *group_size, *scale)?.into(),
        TermDescriptor::Csr { elements } => load_csr(file, part, shape, *elements)?.into(),
        TermDescriptor::Codebook { books, bits, group_size } => {
            load_codebook(file, part, CodebookSpec::new(shape, *books, *bits, *group_size)?)?.into()
        }
        TermDescriptor::LowRank { rank, a, b } => {
            within(*rank)?;
            LowRank::new(factor("a", [shape[0], *rank], a)?, factor("b", [*rank, shape[1]], b)?)?.into()
        }
        TermDescriptor::Pivoted { rank, dtype, b } => {
            within(*rank)?;
            let words = file.expect(&format!("{part}.pivots"), Dtype::U64, [shape[0].div_ceil(64)])?;
            let bit = |row: usize| words[row / 8] >> (row % 8) & 1 == 1;
            let pivots: Vec<usize> = (0..64 * shape[0].div_ceil(64)).filter(|row| bit(*row)).collect();
            let z = load_dense(file, &format!("{part}.z"), [shape[0] - rank, *rank], *dtype)?;
            Pivoted::new(&pivots, z, factor("b", [*rank, shape[1]], b)?)?.into()
        }
    })
}

fn load_linear(file: &File, matrix: &MatrixDescriptor) -> Result<Linear, Error> {
    let MatrixDescriptor { name, shape, terms, post, bias } = matrix;
    if let Some(side) = shape.iter().find(|side| **side > MAX_SIDE) {
        return Err(Error::Index { what: format!("rows or columns of `{name}`"), index: *side, bound: MAX_SIDE + 1 });
    }
    let term = |(i, term): (usize, &TermDescriptor)| load_term(file, &format!("{name}.{i}"), *shape, term);
    let terms = terms.iter().enumerate().map(term).collect::<Result<_, _>>()?;
    let post = match post {
        None => Post::None,
        Some(kind) => Post::Step(load_step(file, &format!("{name}.post"), *kind, shape[0])?),
    };
    let bias = bias.then(|| file.typed::<f32>(&format!("{name}.bias"), [shape[0]])).transpose()?;
    Linear::new(terms, post, bias.map(|b| b.to_vec()))
}

fn save_dense<'a>(writer: &mut Writer<'a>, part: &str, dense: &'a Dense) -> Result<TermDescriptor, FileError> {
    let (dtype, bytes) = match &dense.data {
        DenseData::F32(x) => (Dtype::F32, x.as_bytes()),
        DenseData::F16(x) => (Dtype::F16, x.as_bytes()),
        DenseData::Bf16(x) => (Dtype::Bf16, x.as_bytes()),
    };
    writer.add(format!("{part}.values"), dtype, dense.shape, bytes)?;
    Ok(TermDescriptor::Dense { dtype: dense.kind() })
}

fn load_dense(file: &File, part: &str, shape: [usize; 2], dtype: DenseType) -> Result<Dense, Error> {
    let name = format!("{part}.values");
    let data = match dtype {
        DenseType::F32 => DenseData::F32(file.typed(&name, shape)?),
        DenseType::F16 => DenseData::F16(file.typed(&name, shape)?),
        DenseType::Bf16 => DenseData::Bf16(file.typed(&name, shape)?),
    };
    Dense::from_data(shape, data)
}

fn save_grid<'a>(writer: &mut Writer<'a>, part: &str, grid: &'a Grid) -> Result<TermDescriptor, FileError> {
    let spec = grid.spec();
    writer.add(format!("{part}.codes"), Dtype::U8, [spec.panels(), spec.panel_bytes()], grid.packed_codes())?;
    let scale = save_stat(writer, &format!("{part}.scale"), spec, grid.scale())?;
    let name = format!("{part}.offset");
    let offset = match grid.offset() {
        Offset::Symmetric => OffsetKind::Symmetric,
        Offset::Zero(zero) => OffsetKind::Zero(save_stat(writer, &name, spec, zero)?),
        Offset::Min(min) => OffsetKind::Min(save_stat(writer, &name, spec, min)?),
    };
    Ok(TermDescriptor::Grid { bits: spec.bits, group_size: spec.group_size, scale, offset })
}

fn load_grid(file: &File, part: &str, spec: GridSpec, scale: StatKind, offset: OffsetKind) -> Result<Grid, Error> {
    let codes = file.expect(&format!("{part}.codes"), Dtype::U8, [spec.panels(), spec.panel_bytes()])?;
    let scale = load_stat(file, &format!("{part}.scale"), spec, scale)?;
    let name = format!("{part}.offset");
    let offset = match offset {
        OffsetKind::Symmetric => Offset::Symmetric,
        OffsetKind::Zero(kind) => Offset::Zero(load_stat(file, &name, spec, kind)?),
        OffsetKind::Min(kind) => Offset::Min(load_stat(file, &name, spec, kind)?),
    };
    Grid::from_panels(spec, codes, scale, offset)
}

fn save_palette<'a>(writer: &mut Writer<'a>, part: &str, palette: &'a Palette) -> Result<TermDescriptor, FileError> {
    let spec = palette.spec();
    writer.add(format!("{part}.codes"), Dtype::U8, [spec.panels(), spec.panel_bytes()], palette.packed_codes())?;
    writer.add(format!("{part}.palette"), Dtype::I8, [palette.values().len()], palette.values().map(i8::cast_unsigned).to_vec())?;
    let scale = save_stat(writer, &format!("{part}.scale"), spec, palette.scale())?;
    Ok(TermDescriptor::Palette { group_size: spec.group_size, scale })
}

fn load_palette(file: &File, part: &str, shape: [usize; 2], group_size: usize, scale: StatKind) -> Result<Palette, Error> {
    let spec = GridSpec::new(shape, palette::BITS, group_size)?;
    let codes = file.expect(&format!("{part}.codes"), Dtype::U8, [spec.panels(), spec.panel_bytes()])?;
    let mut values = [0; 16];
    let stored = file.expect(&format!("{part}.palette"), Dtype::I8, [values.len()])?;
    values.iter_mut().zip(&stored[..]).for_each(|(value, byte)| *value = byte.cast_signed());
    let scale = load_stat(file, &format!("{part}.scale"), spec, scale)?;
    Palette::from_panels(values, shape, group_size, codes, scale)
}

fn save_csr<'a>(writer: &mut Writer<'a>, part: &str, csr: &'a Csr) -> Result<TermDescriptor, FileError> {
    let elements = csr.values().len();
    writer.add(format!("{part}.starts"), Dtype::U32, [csr.starts().len()], csr.starts().as_bytes())?;
    let (dtype, columns) = match csr.columns() {
        Columns::U16(x) => (Dtype::U16, x.as_bytes()),
        Columns::U32(x) => (Dtype::U32, x.as_bytes()),
    };
    writer.add(format!("{part}.columns"), dtype, [elements], columns)?;
    writer.add(format!("{part}.values"), Dtype::F16, [elements], csr.values().as_bytes())?;
    Ok(TermDescriptor::Csr { elements })
}

fn load_csr(file: &File, part: &str, shape: [usize; 2], elements: usize) -> Result<Csr, Error> {
    let name = format!("{part}.columns");
    let columns = if Columns::are_short(shape[1]) {
        Columns::U16(file.typed(&name, [elements])?)
    } else {
        Columns::U32(file.typed(&name, [elements])?)
    };
    let starts = file.typed(&format!("{part}.starts"), [shape[0] + 1])?;
    Csr::from_parts(shape, starts, columns, file.typed(&format!("{part}.values"), [elements])?)
}

fn save_codebook<'a>(writer: &mut Writer<'a>, part: &str, codebook: &'a Codebook) -> Result<TermDescriptor, FileError> {
    let CodebookSpec { m, books, bits, group_size, .. } = codebook.spec();
    let shape = [m, codebook.spec().groups(), books];
    match codebook.codes() {
        Codes::U8(x) => writer.add(format!("{part}.codes"), Dtype::U8, shape, x.as_bytes())?,
        Codes::U16(x) => writer.add(format!("{part}.codes"), Dtype::U16, shape, x.as_bytes())?,
    }
    writer.add(format!("{part}.codebooks"), Dtype::F16, [books, 1 << bits, group_size], codebook.codebooks().as_bytes())?;
    writer.add(format!("{part}.scale"), Dtype::F16, [m], codebook.scale().as_bytes())?;
    Ok(TermDescriptor::Codebook { books, bits, group_size })
}

fn load_codebook(file: &File, part: &str, spec: CodebookSpec) -> Result<Codebook, Error> {
    let CodebookSpec { m, books, bits, group_size, .. } = spec;
    let (name, shape) = (format!("{part}.codes"), [m, spec.groups(), books]);
    let codes = if bits <= 8 { Codes::U8(file.typed(&name, shape)?) } else { Codes::U16(file.typed(&name, shape)?) };
    let codebooks = file.typed(&format!("{part}.codebooks"), [books, 1 << bits, group_size])?;
    Codebook::from_parts(spec, codes, codebooks, file.typed(&format!("{part}.scale"), [m])?)
}

fn save_stat<'a>(writer: &mut Writer<'a>, name: &str, spec: GridSpec, stat: &'a Stat) -> Result<StatKind, FileError> {
    let (panels, groups) = (spec.panels(), spec.groups());
    let mut add = |name: &str, dtype, shape: [usize; 3], bytes: &'a Bytes| writer.add(name, dtype, shape, bytes);
    let codes = |bits: u32| [panels, groups, 2 * bits as usize];
    Ok(match stat {
        Stat::F32(x) => add(name, Dtype::F32, [panels, groups, PANEL], x.as_bytes()).map(|()| StatKind::F32)?,
        Stat::F16(x) => add(name, Dtype::F16, [panels, groups, PANEL], x.as_bytes()).map(|()| StatKind::F16)?,
        Stat::Bf16(x) => add(name, Dtype::Bf16, [panels, groups, PANEL], x.as_bytes()).map(|()| StatKind::Bf16)?,
        Stat::Codes { bits, codes: x } => add(name, Dtype::U8, codes(*bits), x).map(|()| StatKind::Codes { bits: *bits })?,
        Stat::Levels { bits, centre, codes: x, per, step, base } => {
            let shape = [panels, groups.div_ceil(*per), PANEL];
            add(name, Dtype::U8, codes(*bits), x)?;
            add(&format!("{name}.step"), Dtype::F16, shape, step.as_bytes())?;
            if let Some(base) = base {
                add(&format!("{name}.base"), Dtype::F16, shape, base.as_bytes())?;
            }
            StatKind::Levels { bits: *bits, centre: *centre, per: *per, base: base.is_some() }
        }
        Stat::Tiles { bits, codes: x, step, base } => {
            add(name, Dtype::U8, codes(*bits), x)?;
            writer.add(format!("{name}.step"), Dtype::F16, [panels, groups], step.as_bytes())?;
            writer.add(format!("{name}.base"), Dtype::F16, [panels, groups], base.as_bytes())?;
            StatKind::Tiles { bits: *bits }
        }
    })
}

/// [`Grid::from_panels`] checks what the numbers are.
fn load_stat(file: &File, name: &str, spec: GridSpec, kind: StatKind) -> Result<Stat, FileError> {
    let (panels, groups) = (spec.panels(), spec.groups());
    let numbers = [panels, groups, PANEL];
    let codes = |bits: u32| file.expect(name, Dtype::U8, [panels, groups, 2 * bits as usize]);
    Ok(match kind {
        StatKind::F32 => Stat::F32(file.typed(name, numbers)?),
        StatKind::F16 => Stat::F16(file.typed(name, numbers)?),
        StatKind::Bf16 => Stat::Bf16(file.typed(name, numbers)?),
        StatKind::Codes { bits } => Stat::Codes { bits, codes: codes(bits)? },
        StatKind::Levels { bits, centre, per, base } => {
            // A `per` of 0 is refused with the numbers.
            let shape = [panels, groups.div_ceil(per.max(1)), PANEL];
            let step = file.typed(&format!("{name}.step"), shape)?;
            let base = base.then(|| file.typed(&format!("{name}.base"), shape)).transpose()?;
            Stat::Levels { bits, centre, codes: codes(bits)?, per, step, base }
        }
        StatKind::Tiles { bits } => {
            let level = |part: &str| file.typed(&format!("{name}.{part}"), [panels, groups]);
            Stat::Tiles { bits, codes: codes(bits)?, step: level("step")?, base: level("base")? }
        }
    })
}
