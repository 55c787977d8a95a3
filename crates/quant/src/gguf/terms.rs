//! Quantized matrices as terms with exactly their weights, and back.

use super::BlockType;
use super::blocks::{PairBlock, pack_q2_k, pack_q3_k, pack_q4_k, pack_q5_k, pack_q6_k};
use super::parts::{Layout, RowParts, Scaling, layout};
use crate::Error;
use half::{bf16, f16};
use ndarray::Array2;
use scant_tensor_core::Term;
use scant_tensor_core::format::{Grid, GridSpec, Offset, Palette, RowOffset, RowStat};

/// Codes and statistics of all rows, as the parts of a row come.
struct Parts {
    codes: Array2<u8>,
    d: Array2<u16>,
    m: Array2<f16>,
    scale_codes: Array2<u8>,
    min_codes: Array2<u8>,
}

/// A matrix `[m, n]` of a quantized type as a grid, or as a palette where its values are unevenly spaced; `row(i)` gives the bytes of row `i`.
///
/// ```
/// use scant_quant::gguf::{BlockType, blocks, quantized_term};
/// let weights: Vec<f32> = (0..256).map(|i| (i as f32).cos()).collect();
/// let mut bytes = [0; 144];
/// blocks::encode(BlockType::Q4_K, &weights, &mut bytes)?;
/// let term = quantized_term(BlockType::Q4_K, [1, 256], |_| Ok(&bytes))?;
/// let (mut read, mut dense) = (vec![0.0; 256], ndarray::Array2::zeros((1, 256)));
/// blocks::decode(BlockType::Q4_K, &bytes, &mut read)?;
/// term.op().add_to(dense.view_mut());
/// assert_eq!(dense.into_raw_vec_and_offset().0, read);
/// # Ok::<(), scant_quant::Error>(())
/// ```
///
/// # Errors
/// [`Error::NotQuantized`] for the plain floats; [`Error::BlockDoesNotDivide`] and [`Error::ShapeMismatch`] for rows of other sizes;
/// [`Error::Term`] for scales that are not finite; those of `row`.
pub fn quantized_term<'a>(ty: BlockType, [m, n]: [usize; 2], row: impl Fn(usize) -> Result<&'a [u8], Error>) -> Result<Term, Error> {
    let mut parts = RowParts::default();
    let layout = parts.split(ty, row(0)?, n)?;
    let mut all = Parts {
        codes: Array2::zeros((m, n)),
        d: Array2::default((m, parts.d.len())),
        m: Array2::default((m, parts.m.len())),
        scale_codes: Array2::zeros((m, parts.scale_codes.len())),
        min_codes: Array2::zeros((m, parts.min_codes.len())),
    };
    for i in 0..m {
        parts.split(ty, row(i)?, n)?;
        copy(&mut all.codes, i, parts.codes.iter().copied());
        copy(&mut all.d, i, parts.d.iter().copied());
        // A minimum is subtracted where there are two levels, and added where there is one.
        let sign = if layout.scaling.is_bilevel() { 0x8000 } else { 0 };
        copy(&mut all.m, i, parts.m.iter().map(|bits| f16::from_bits(bits ^ sign)));
        copy(&mut all.scale_codes, i, parts.scale_codes.iter().copied());
        copy(&mut all.min_codes, i, parts.min_codes.iter().copied());
    }
    let (codes, scale, offset) = statistics(layout, all);
    Ok(match layout.palette {
        Some(values) => Palette::pack(*values, codes.view(), layout.group_size, &scale)?.into(),
        None => Grid::pack(GridSpec::new([m, n], layout.bits, layout.group_size)?, codes.view(), &scale, &offset)?.into(),
    })
}

fn copy<T>(to: &mut Array2<T>, i: usize, from: impl Iterator<Item = T>) {
    to.row_mut(i).iter_mut().zip(from).for_each(|(to, from)| *to = from);
}

/// The same numbers in a grid's terms.
fn statistics(layout: Layout, parts: Parts) -> (Array2<u8>, RowStat, RowOffset) {
    let Parts { codes, d, m, scale_codes, min_codes } = parts;
    let groups = (codes.nrows(), codes.ncols() / layout.group_size);
    let halves = |d: &Array2<u16>| d.mapv(f16::from_bits);
    let per = layout.scaling.groups_per_d();
    let levels = |bits, centre, codes, step| RowStat::Levels { bits, centre, codes, per, step, base: None };
    let middle = 1 << (layout.bits - 1);
    // Most zero codes are the middle of the range, as a symmetric grid has it; a palette has none.
    let offset = |zero: u8| match zero == middle || layout.palette.is_some() {
        true => RowOffset::Symmetric,
        false => RowOffset::Zero(RowStat::Codes { bits: layout.bits, codes: Array2::from_elem(groups, zero) }),
    };
    match layout.scaling {
        Scaling::Symmetric { zero } => (codes, RowStat::F16(halves(&d)), offset(zero)),
        Scaling::Exponent { zero } => (codes, RowStat::Bf16(d.mapv(bf16::from_bits)), offset(zero)),
        Scaling::Min => (codes, RowStat::F16(halves(&d)), RowOffset::Min(RowStat::F16(m))),
        Scaling::BilevelSymmetric { zero, scale_bits, .. } => {
            (codes, levels(scale_bits, 1 << (scale_bits - 1), scale_codes, halves(&d)), offset(zero))
        }
        Scaling::BilevelMin { scale_bits, .. } => {
            let min = levels(scale_bits, 0, min_codes, m);
            (codes, levels(scale_bits, 0, scale_codes, halves(&d)), RowOffset::Min(min))
        }
    }
}

/// The blocks of a K type that `grid` is made of, row by row: the inverse of [`quantized_term`]. `None` unless codes, groups and both levels of
/// its statistics are those of the type.
pub fn grid_blocks(grid: &Grid, ty: BlockType) -> Option<Vec<u8>> {
    let (spec, layout) = (grid.spec(), layout(ty)?);
    let fits = ty.block_size() == 256 && spec.n.is_multiple_of(256) && (spec.bits, spec.group_size) == (layout.bits, layout.group_size);
    if !fits {
        return None;
    }
    let shape = [spec.m, spec.groups()];
    let (scale_bits, middle, min) = match (layout.scaling, grid.offset()) {
        (Scaling::BilevelSymmetric { scale_bits, .. }, Offset::Symmetric) => (scale_bits, 1 << (scale_bits - 1), None),
        (Scaling::BilevelMin { scale_bits, .. }, Offset::Min(min)) => {
            (scale_bits, 0, Some(levels(min.unpack(shape), layout, scale_bits, 0)?))
        }
        _ => return None,
    };
    let (scales, d) = levels(grid.scale().unpack(shape), layout, scale_bits, middle)?;
    let codes = grid.codes();
    let blocks = spec.n / 256;
    let mut out = vec![0; spec.m * ty.row_bytes(spec.n).ok()?];
    for (at, block) in out.chunks_exact_mut(ty.block_bytes()).enumerate() {
        let (row, b) = (at / blocks, at % blocks);
        let codes = codes.row(row);
        let codes = codes.to_slice()?.as_chunks().0.get(b)?;
        let (s, d) = (scales.row(row), d[[row, b]]);
        match (ty, &min) {
            (BlockType::Q3_K, None) => pack_q3_k(d, s.to_slice()?.as_chunks().0.get(b)?, codes, block.try_into().ok()?),
            (BlockType::Q6_K, None) => pack_q6_k(d, s.to_slice()?.as_chunks().0.get(b)?, codes, block.try_into().ok()?),
            (_, Some((mins, m))) => {
                let (t, dmin) = (mins.row(row), -m[[row, b]]);
                let (s, t) = (s.to_slice()?, t.to_slice()?);
                if ty == BlockType::Q2_K {
                    pack_q2_k(d, dmin, s.as_chunks().0.get(b)?, t.as_chunks().0.get(b)?, codes, block.try_into().ok()?);
                    continue;
                }
                let fit = PairBlock { d, dmin, scales: *s.as_chunks().0.get(b)?, mins: *t.as_chunks().0.get(b)?, codes: *codes };
                match ty {
                    BlockType::Q4_K => pack_q4_k(&fit, block.try_into().ok()?),
                    _ => pack_q5_k(&fit, block.try_into().ok()?),
                }
            }
            _ => return None,
        }
    }
    Some(out)
}

/// Codes and steps of a statistic, if its two levels are those of the layout.
fn levels(stat: RowStat, layout: Layout, scale_bits: u32, middle: u8) -> Option<(Array2<u8>, Array2<f16>)> {
    match stat {
        RowStat::Levels { bits, centre, codes, per, step, base: None }
            if bits == scale_bits && centre == middle && per == layout.scaling.groups_per_d() =>
        {
            Some((codes, step))
        }
        _ => None,
    }
}
