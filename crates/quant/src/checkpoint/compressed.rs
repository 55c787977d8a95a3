//! compressed-tensors: `weight_packed` along the inputs of a row, `weight_scale` `[m, groups]`, `weight_shape`, and where there are zero points
//! `weight_zero_point` packed along the outputs. Codes are signed and stored with half of their range added, which makes them a grid's.

use super::{Matrix, Packed, Parts, Quantization, Whole, words, zero_points};
use crate::Error;
use ndarray::Array2;
use scant_tensor_core::file::Dtype;
use scant_tensor_core::format::{GridSpec, RowOffset};

/// Where number `i` of a row of words stands: in a contiguous stream, or with whole numbers in each word.
fn get(word: impl Fn(usize) -> i32, bits: u32, dense: bool, i: usize) -> u8 {
    if dense {
        return words::get(word, bits, i);
    }
    let per = 32 / bits as usize;
    // The word by itself is a stream.
    words::get(|_| word(i / per), bits, i % per)
}

/// Words of `count` numbers.
fn len(bits: u32, dense: bool, count: usize) -> usize {
    if dense { words::len(bits, count) } else { count.div_ceil(32 / bits as usize) }
}

/// Which of the two packings has `got` words for `count` numbers.
fn packing(q: &Quantization, told: Option<bool>, parts: &Parts<'_>, part: &str, count: usize, got: usize) -> Result<bool, Error> {
    let [dense, whole] = [true, false].map(|dense| len(q.bits, dense, count) == got);
    match (dense, whole, told) {
        (true, false, _) => Ok(true),
        (false, true, _) => Ok(false),
        (true, true, Some(told)) => Ok(told),
        // Where the width divides 32 both are the same.
        (true, true, None) if 32 % q.bits == 0 => Ok(true),
        (true, true, None) => {
            let detail = format!("{got} words fit both packings of {count} codes of {} bits, and the configuration has no version", q.bits);
            Err(parts.bad(part, detail))
        }
        (false, false, _) => {
            let want = [true, false].map(|dense| len(q.bits, dense, count));
            Err(parts.bad(part, format!("{got} words for {count} codes of {} bits: want {} or {}", q.bits, want[0], want[1])))
        }
    }
}

/// The shape that the file says a matrix has.
fn check_shape(parts: &Parts<'_>, want: [usize; 2]) -> Result<(), Error> {
    let Some(tensor) = parts.find("weight_shape") else {
        return Ok(());
    };
    let got: Vec<i64> = match tensor.dtype {
        Dtype::I32 => tensor.typed::<i32>()?.iter().map(|x| i64::from(*x)).collect(),
        _ => tensor.typed::<i64>()?.to_vec(),
    };
    if got.iter().map(|x| usize::try_from(*x).ok()).eq(want.map(Some)) {
        Ok(())
    } else {
        Err(parts.bad("weight_shape", format!("want {want:?}, got {got:?}")))
    }
}

pub(super) fn packed(q: &Quantization, told: Option<bool>, parts: &Parts<'_>, [m, n]: [usize; 2]) -> Result<Matrix, Error> {
    check_shape(parts, [m, n])?;
    let (bits, group) = (q.bits, q.group(n));
    let spec = GridSpec::new([m, n], bits, group)?;
    let groups = spec.groups();
    let order = match parts.find("weight_g_idx") {
        None => None,
        Some(_) => parts.order("weight_g_idx", &parts.typed::<i32>("weight_g_idx", &[n])?, group)?,
    };
    let tensor = parts.tensor("weight_packed")?;
    let [rows, width] = tensor.shape[..] else {
        return Err(parts.bad("weight_packed", format!("want two dimensions, got {:?}", tensor.shape)));
    };
    if rows != m {
        return Err(parts.bad("weight_packed", format!("want {m} rows, got {rows}")));
    }
    let dense = packing(q, told, parts, "weight_packed", n, width)?;
    let stored = tensor.typed::<i32>()?;
    let column = |j: usize| order.as_ref().map_or(j, |order| order[j] as usize);
    let codes = Array2::from_shape_fn((m, n), |(i, j)| get(|w| stored[i * width + w], bits, dense, column(j)));
    let scale = parts.scales("weight_scale", &[m, groups], (m, groups), |i, g| i * groups + g)?;
    let offset = if q.symmetric { RowOffset::Symmetric } else { zero_points(zeros(q, dense, parts, [m, groups])?) };
    Ok(Matrix { grid: parts.grid(spec, &codes, &scale, &offset)?, order })
}

/// Zero points: packed along the outputs in newer files, signed bytes in older ones.
fn zeros(q: &Quantization, dense: bool, parts: &Parts<'_>, [m, groups]: [usize; 2]) -> Result<Array2<u8>, Error> {
    let part = "weight_zero_point";
    if parts.tensor(part)?.dtype == Dtype::I8 {
        return bytes(q, parts, [m, groups]);
    }
    let stored = parts.typed::<i32>(part, &[len(q.bits, dense, m), groups])?;
    Ok(Array2::from_shape_fn((m, groups), |(i, g)| get(|w| stored[w * groups + g], q.bits, dense, i)))
}

fn bytes(q: &Quantization, parts: &Parts<'_>, [m, groups]: [usize; 2]) -> Result<Array2<u8>, Error> {
    let stored = parts.typed::<i8>("weight_zero_point", &[m, groups])?;
    let half = 1i16 << (q.bits - 1);
    let mut zeros = Array2::zeros((m, groups));
    for (at, zero) in zeros.indexed_iter_mut() {
        let value = i16::from(stored[at.0 * groups + at.1]) + half;
        let bad = || parts.bad("weight_zero_point", format!("{} at {at:?} does not fit {} bits", value - half, q.bits));
        *zero = u8::try_from(value).ok().filter(|z| i16::from(*z) < 2 * half).ok_or_else(bad)?;
    }
    Ok(zeros)
}

/// Bytes instead of words.
pub(super) fn int8(q: &Quantization, parts: &Parts<'_>, [m, n]: [usize; 2]) -> Result<Matrix, Error> {
    let spec = GridSpec::new([m, n], q.bits, q.group(n))?;
    let groups = spec.groups();
    let stored = parts.typed::<i8>("weight", &[m, n])?;
    let codes = Array2::from_shape_fn((m, n), |(i, j)| stored[i * n + j].cast_unsigned() ^ 0x80);
    let scale = parts.scales("weight_scale", &[m, groups], (m, groups), |i, g| i * groups + g)?;
    let offset = if q.symmetric { RowOffset::Symmetric } else { zero_points(bytes(q, parts, [m, groups])?) };
    Ok(Matrix { grid: parts.grid(spec, &codes, &scale, &offset)?, order: None })
}

pub(super) fn write(q: &Quantization, grid: &Whole) -> Result<Vec<Packed>, String> {
    let (bits, GridSpec { m, n, .. }) = (q.bits, grid.spec);
    let groups = grid.spec.groups();
    if q.symmetric != grid.zero.is_none() {
        let has = if grid.zero.is_some() { "has" } else { "lacks" };
        return Err(format!("it {has} zero points, and the checkpoint is {}symmetric", if q.symmetric { "" } else { "not " }));
    }
    let width = words::len(bits, n);
    let mut codes = vec![0; m * width];
    for ((i, j), code) in grid.codes.indexed_iter() {
        words::put(&mut codes, |w| i * width + w, bits, j, *code);
    }
    let scale: Vec<half::f16> = grid.scale.iter().copied().collect();
    let shape = [m, n].map(|x| i64::try_from(x).unwrap_or(i64::MAX));
    let mut all = vec![
        Packed::new("weight_packed", &[m, width], &codes),
        Packed::new("weight_scale", &[m, groups], &scale),
        Packed::new("weight_shape", &[2], &shape),
    ];
    if let Some(zero) = &grid.zero {
        let rows = words::len(bits, m);
        let mut zeros = vec![0; rows * groups];
        for ((i, g), z) in zero.indexed_iter() {
            words::put(&mut zeros, |w| w * groups + g, bits, i, *z);
        }
        all.push(Packed::new("weight_zero_point", &[rows, groups], &zeros));
    }
    Ok(all)
}
