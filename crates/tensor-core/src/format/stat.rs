//! One number per row and group: the scales, zero points and minima of a grid, themselves stored in several ways.

use super::PANEL;
use super::codes::{put_row_code, row_codes};
use crate::error::Error;
use crate::file::{Bytes, OwnedBytes, Typed};
use crate::simd::Simd;
use bytemuck::Pod;
use half::{bf16, f16};
use ndarray::Array2;
use std::ops::Range;

/// A statistic as an encoder makes it: row-major, `[m, groups]`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RowStat {
    /// Single precision.
    F32(Array2<f32>),
    /// Half precision.
    F16(Array2<f16>),
    /// bfloat16.
    Bf16(Array2<bf16>),
    /// Small integers of `bits` bits, such as zero points.
    Codes {
        /// Width of a code, 1 to 8.
        bits: u32,
        /// `[m, groups]`
        codes: Array2<u8>,
    },
    /// Second-level quantization: `step * (code - centre) + base`, with a step and a base for every `per` groups.
    Levels {
        /// Width of a code, 1 to 8.
        bits: u32,
        /// What is subtracted from a code: 0 for unsigned levels, `2^(bits-1)` for signed ones.
        centre: u8,
        /// `[m, groups]`
        codes: Array2<u8>,
        /// Groups that share a step.
        per: usize,
        /// `[m, ceil(groups / per)]`
        step: Array2<f16>,
        /// As `step`; absent means 0.
        base: Option<Array2<f16>>,
    },
    /// Second-level quantization over rows: `step * code + base`, with a step and a base for 16 rows of a group.
    Tiles {
        /// Width of a code, 1 to 8.
        bits: u32,
        /// `[m, groups]`
        codes: Array2<u8>,
        /// `[ceil(m / 16), groups]`
        step: Array2<f16>,
        /// As `step`.
        base: Array2<f16>,
    },
}

/// A [`RowStat`] in panels: `[panels, groups, 16]`, the last panel padded with zeros.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Stat {
    /// Single precision.
    F32(Typed<f32>),
    /// Half precision.
    F16(Typed<f16>),
    /// bfloat16.
    Bf16(Typed<bf16>),
    /// Codes of `bits` bits, 16 of them in `2 * bits` bytes.
    Codes {
        /// Width of a code.
        bits: u32,
        /// `[panels, groups, 2 * bits]`
        codes: Bytes,
    },
    /// `step * (code - centre) + base`
    Levels {
        /// Width of a code.
        bits: u32,
        /// What is subtracted from a code.
        centre: u8,
        /// `[panels, groups, 2 * bits]`
        codes: Bytes,
        /// Groups that share a step.
        per: usize,
        /// `[panels, ceil(groups / per), 16]`
        step: Typed<f16>,
        /// As `step`.
        base: Option<Typed<f16>>,
    },
    /// `step * code + base`
    Tiles {
        /// Width of a code.
        bits: u32,
        /// `[panels, groups, 2 * bits]`
        codes: Bytes,
        /// `[panels, groups]`
        step: Typed<f16>,
        /// As `step`.
        base: Typed<f16>,
    },
}

impl RowStat {
    /// Rows and groups.
    pub fn dim(&self) -> (usize, usize) {
        match self {
            RowStat::F32(x) => x.dim(),
            RowStat::F16(x) => x.dim(),
            RowStat::Bf16(x) => x.dim(),
            RowStat::Codes { codes, .. } | RowStat::Levels { codes, .. } | RowStat::Tiles { codes, .. } => codes.dim(),
        }
    }

    /// Into panels.
    ///
    /// # Errors
    /// [`Error`] naming `what`, if shapes disagree, a code does not fit or a number is not finite.
    pub fn pack(&self, what: &str) -> Result<Stat, Error> {
        let (m, groups) = self.dim();
        let finite = |x: Array2<f32>| Error::check_finite(what, x.view());
        let pack_codes = |bits: u32, codes: &Array2<u8>| {
            if !(1..=8).contains(&bits) {
                return Err(Error::Bits { what: what.to_owned(), bits });
            }
            let width = 2 * bits as usize;
            let mut packed = OwnedBytes::zeroed(m.div_ceil(PANEL) * groups * width);
            for ((row, column), code) in codes.indexed_iter() {
                if u32::from(*code) >> bits != 0 {
                    return Err(Error::Code { what: what.to_owned(), code: *code, row, column, bits });
                }
                let at = (row / PANEL * groups + column) * width;
                put_row_code(&mut packed[at..at + width], bits, row % PANEL, *code);
            }
            Ok(packed.freeze())
        };
        Ok(match self {
            RowStat::F32(x) => {
                finite(x.clone())?;
                Stat::F32(panels(x))
            }
            RowStat::F16(x) => {
                finite(x.mapv(f32::from))?;
                Stat::F16(panels(x))
            }
            RowStat::Bf16(x) => {
                finite(x.mapv(f32::from))?;
                Stat::Bf16(panels(x))
            }
            RowStat::Codes { bits, codes } => Stat::Codes { bits: *bits, codes: pack_codes(*bits, codes)? },
            RowStat::Levels { bits, centre, codes, per, step, base } => {
                let supers = groups.div_ceil((*per).max(1));
                for x in std::iter::once(step).chain(base) {
                    Error::check_shape(what, &[m, supers], x.shape())?;
                    finite(x.mapv(f32::from))?;
                }
                let codes = pack_codes(*bits, codes)?;
                Stat::Levels {
                    bits: *bits,
                    centre: *centre,
                    codes,
                    per: (*per).max(1),
                    step: panels(step),
                    base: base.as_ref().map(panels),
                }
            }
            RowStat::Tiles { bits, codes, step, base } => {
                for x in [step, base] {
                    Error::check_shape(what, &[m.div_ceil(PANEL), groups], x.shape())?;
                    finite(x.mapv(f32::from))?;
                }
                let [step, base] = [step, base].map(|x| x.iter().copied().collect());
                Stat::Tiles { bits: *bits, codes: pack_codes(*bits, codes)?, step, base }
            }
        })
    }
}

fn panels<T: Pod>(x: &Array2<T>) -> Typed<T> {
    let (m, groups) = x.dim();
    let mut bytes = OwnedBytes::zeroed(m.div_ceil(PANEL) * groups * PANEL * size_of::<T>());
    let out = bytes.cast_mut::<T>();
    for ((row, g), v) in x.indexed_iter() {
        out[(row / PANEL * groups + g) * PANEL + row % PANEL] = *v;
    }
    Typed::new(bytes.freeze()).expect("whole elements, aligned to 64")
}

/// The inverse of [`panels`].
fn rows<T: Pod>(x: &[T], [m, groups]: [usize; 2]) -> Array2<T> {
    Array2::from_shape_fn((m, groups), |(row, g)| x[(row / PANEL * groups + g) * PANEL + row % PANEL])
}

impl Stat {
    /// Fails unless it is for that many panels and groups, and finite.
    pub(super) fn check(&self, what: &str, panels: usize, groups: usize) -> Result<(), Error> {
        let len = |what: &str, rows: usize, columns: usize, got: usize| {
            let want = panels.checked_mul(rows).and_then(|r| r.checked_mul(columns)).unwrap_or(usize::MAX);
            Error::check_shape(what, &[want], &[got])
        };
        let finite = |columns: usize, x: &mut dyn Iterator<Item = f32>| match x.enumerate().find(|(_, v)| !v.is_finite()) {
            None => Ok(()),
            Some((i, value)) => {
                let (panel, column, lane) = (i / PANEL / columns, i / PANEL % columns, i % PANEL);
                Err(Error::NotFinite { what: what.to_owned(), row: panel * PANEL + lane, column, value })
            }
        };
        let codes = |bits: u32, codes: &Bytes| {
            if !(1..=8).contains(&bits) {
                return Err(Error::Bits { what: what.to_owned(), bits });
            }
            len(what, groups, 2 * bits as usize, codes.len())
        };
        match self {
            Stat::F32(x) => len(what, groups, PANEL, x.len()).and(finite(groups, &mut x.iter().copied())),
            Stat::F16(x) => len(what, groups, PANEL, x.len()).and(finite(groups, &mut x.iter().map(|x| x.to_f32()))),
            Stat::Bf16(x) => len(what, groups, PANEL, x.len()).and(finite(groups, &mut x.iter().map(|x| x.to_f32()))),
            Stat::Codes { bits, codes: c } => codes(*bits, c),
            Stat::Levels { bits, codes: c, per, step, base, .. } => {
                codes(*bits, c)?;
                if *per == 0 {
                    return Err(Error::GroupSize { group_size: 0, columns: groups });
                }
                let supers = groups.div_ceil(*per);
                std::iter::once(step).chain(base).try_for_each(|x| {
                    len(what, supers, PANEL, x.len())?;
                    finite(supers, &mut x.iter().map(|x| x.to_f32()))
                })
            }
            Stat::Tiles { bits, codes: c, step, base } => {
                codes(*bits, c)?;
                [step, base].into_iter().try_for_each(|x| {
                    len(what, 1, groups, x.len())?;
                    match x.iter().position(|x| !x.is_finite()) {
                        None => Ok(()),
                        Some(i) => {
                            let (row, column, value) = (i / groups * PANEL, i % groups, x[i].to_f32());
                            Err(Error::NotFinite { what: what.to_owned(), row, column, value })
                        }
                    }
                })
            }
        }
    }

    /// Shows `f` each stretch of memory that holds it, to be put elsewhere.
    pub(crate) fn each_bytes(&mut self, f: &mut dyn FnMut(&mut Bytes)) {
        match self {
            Stat::F32(x) => x.each_bytes(f),
            Stat::F16(x) => x.each_bytes(f),
            Stat::Bf16(x) => x.each_bytes(f),
            Stat::Codes { codes, .. } => f(codes),
            Stat::Levels { codes, step, base, .. } => {
                f(codes);
                step.each_bytes(f);
                base.iter_mut().for_each(|base| base.each_bytes(f));
            }
            Stat::Tiles { codes, step, base, .. } => {
                f(codes);
                step.each_bytes(f);
                base.each_bytes(f);
            }
        }
    }

    /// The inverse of [`RowStat::pack`], for `m` rows of `groups` groups.
    ///
    /// # Panics
    /// If it is for fewer.
    pub fn unpack(&self, [m, groups]: [usize; 2]) -> RowStat {
        let codes = |bits: u32, codes: &Bytes| {
            let width = 2 * bits as usize;
            let packed = |row: usize, g: usize| &codes[(row / PANEL * groups + g) * width..][..width];
            Array2::from_shape_fn((m, groups), |(row, g)| row_codes(packed(row, g), bits)[row % PANEL])
        };
        match self {
            Stat::F32(x) => RowStat::F32(rows(x, [m, groups])),
            Stat::F16(x) => RowStat::F16(rows(x, [m, groups])),
            Stat::Bf16(x) => RowStat::Bf16(rows(x, [m, groups])),
            Stat::Codes { bits, codes: c } => RowStat::Codes { bits: *bits, codes: codes(*bits, c) },
            Stat::Levels { bits, centre, codes: c, per, step, base } => {
                let shape = [m, groups.div_ceil(*per)];
                RowStat::Levels {
                    bits: *bits,
                    centre: *centre,
                    codes: codes(*bits, c),
                    per: *per,
                    step: rows(step, shape),
                    base: base.as_ref().map(|base| rows(base, shape)),
                }
            }
            Stat::Tiles { bits, codes: c, step, base } => {
                let tiles = |x: &[f16]| Array2::from_shape_fn((m.div_ceil(PANEL), groups), |(panel, g)| x[panel * groups + g]);
                RowStat::Tiles { bits: *bits, codes: codes(*bits, c), step: tiles(step), base: tiles(base) }
            }
        }
    }

    /// Bytes that hold it.
    pub fn bytes(&self) -> u64 {
        (match self {
            Stat::F32(x) => 4 * x.len(),
            Stat::F16(x) => 2 * x.len(),
            Stat::Bf16(x) => 2 * x.len(),
            Stat::Codes { codes, .. } => codes.len(),
            Stat::Levels { codes, step, base, .. } => codes.len() + 2 * step.len() + 2 * base.as_ref().map_or(0, |base| base.len()),
            Stat::Tiles { codes, step, base, .. } => codes.len() + 2 * (step.len() + base.len()),
        }) as u64
    }

    /// All values by panel and group, where they can be loaded as they lie.
    #[inline(always)]
    pub(crate) fn in_place(&self) -> Option<Groups<'_>> {
        match self {
            Stat::F32(x) => Some(Groups::F32(x.as_chunks().0)),
            Stat::F16(x) => Some(Groups::F16(cast(x))),
            _ => None,
        }
    }

    /// The 16 values of each of `groups` of a panel, of `all` groups, into `out`.
    #[inline(always)]
    pub(crate) fn decode<S: Simd>(&self, s: S, all: usize, panel: usize, groups: Range<usize>, out: &mut [[f32; PANEL]]) {
        let first = panel * all + groups.start;
        let places = first..first + groups.len();
        match self {
            // Loops and not `for_each`, whose closure would be compiled without the tier's instructions.
            Stat::F32(x) => {
                for (out, x) in out.iter_mut().zip(&x.as_chunks().0[places]) {
                    *out = *x;
                }
            }
            Stat::F16(x) => {
                for (out, x) in out.iter_mut().zip(&cast(x)[places]) {
                    s.store(s.load_f16(x), out);
                }
            }
            Stat::Bf16(x) => {
                for (out, x) in out.iter_mut().zip(&bytemuck::cast_slice::<bf16, u16>(x).as_chunks().0[places]) {
                    s.store(s.load_bf16(x), out);
                }
            }
            Stat::Codes { bits, codes } => {
                let width = 2 * *bits as usize;
                let codes = codes[places.start * width..places.end * width].chunks_exact(width);
                for (out, codes) in out.iter_mut().zip(codes) {
                    s.store(s.load_u8(&row_codes(codes, *bits)), out);
                }
            }
            Stat::Levels { bits, centre, codes, per, step, base } => {
                let width = 2 * *bits as usize;
                let codes = codes[places.start * width..places.end * width].chunks_exact(width);
                let (step, base) = (cast(step), base.as_deref().map(cast));
                let supers = panel * all.div_ceil(*per);
                for ((out, codes), g) in out.iter_mut().zip(codes).zip(groups) {
                    let at = supers + g / per;
                    let level = s.sub(s.load_u8(&row_codes(codes, *bits)), s.splat(f32::from(*centre)));
                    let scaled = s.mul(level, s.load_f16(&step[at]));
                    let value = match base {
                        None => scaled,
                        Some(base) => s.add(scaled, s.load_f16(&base[at])),
                    };
                    s.store(value, out);
                }
            }
            Stat::Tiles { bits, codes, step, base } => {
                let width = 2 * *bits as usize;
                let codes = codes[places.start * width..places.end * width].chunks_exact(width);
                let levels = step[places.clone()].iter().zip(&base[places]);
                for ((out, codes), (step, base)) in out.iter_mut().zip(codes).zip(levels) {
                    let scaled = s.mul(s.load_u8(&row_codes(codes, *bits)), s.splat(step.to_f32()));
                    s.store(s.add(scaled, s.splat(base.to_f32())), out);
                }
            }
        }
    }
}

/// Values of groups, ready to load.
#[derive(Clone, Copy)]
pub(crate) enum Groups<'a> {
    F32(&'a [[f32; PANEL]]),
    F16(&'a [[u16; PANEL]]),
}

impl<'a> Groups<'a> {
    /// Some of the groups.
    #[inline(always)]
    pub(crate) fn slice(self, groups: Range<usize>) -> Groups<'a> {
        match self {
            Groups::F32(x) => Groups::F32(&x[groups]),
            Groups::F16(x) => Groups::F16(&x[groups]),
        }
    }

    /// Asks for all of them at once. Left to be read bit by bit beside the codes, such a thin stream stays unnoticed by the hardware, and
    /// each of its lines is waited for: 22 GB/s instead of 30 for a 4-bit grid with scales and minima for every 32 columns.
    #[inline(always)]
    pub(crate) fn prefetch<S: Simd>(&self, s: S) {
        match self {
            Groups::F32(x) => {
                for x in *x {
                    s.prefetch(x);
                }
            }
            Groups::F16(x) => {
                for x in x.iter().step_by(2) {
                    s.prefetch(x);
                }
            }
        }
    }

    #[inline(always)]
    pub(crate) fn load<S: Simd>(&self, s: S, g: usize) -> S::F {
        match self {
            Groups::F32(x) => s.load(&x[g]),
            Groups::F16(x) => s.load_f16(&x[g]),
        }
    }
}

/// Half-precision values by panel and group, as bits.
fn cast(x: &[f16]) -> &[[u16; PANEL]] {
    bytemuck::cast_slice::<f16, u16>(x).as_chunks().0
}
