//! GPTQ's tensors: `qweight` `[n b / 32, m]` along the inputs, `qzeros` `[groups, m b / 32]` along the outputs, `scales` `[groups, m]`, `g_idx` `[n]`.

use super::{Matrix, Packed, Parts, Quantization, Whole, words, zero_points};
use crate::Error;
use ndarray::Array2;
use scant_tensor_core::format::GridSpec;

pub(super) fn read(q: &Quantization, v2: bool, parts: &Parts<'_>, [m, n]: [usize; 2]) -> Result<Matrix, Error> {
    let (bits, group) = (q.bits, q.group(n));
    let spec = GridSpec::new([m, n], bits, group)?;
    let groups = spec.groups();
    let order = match parts.find("g_idx") {
        None => None,
        Some(_) => parts.order("g_idx", &parts.typed::<i32>("g_idx", &[n])?, group)?,
    };
    let packed = parts.typed::<i32>("qweight", &[words::len(bits, n), m])?;
    let column = |j: usize| order.as_ref().map_or(j, |order| order[j] as usize);
    let codes = Array2::from_shape_fn((m, n), |(i, j)| words::get(|w| packed[w * m + i], bits, column(j)));
    let scale = parts.scales("scales", &[groups, m], (m, groups), |i, g| g * m + i)?;
    let width = words::len(bits, m);
    let stored = parts.typed::<i32>("qzeros", &[groups, width])?;
    let zeros = Array2::from_shape_fn((m, groups), |(i, g)| {
        let stored = words::get(|w| stored[g * width + w], bits, i);
        // What is stored less 1 wraps around, but for 3 bits, where the published decoder does not.
        match (v2, bits) {
            (true, _) => stored,
            (false, 3) => stored + 1,
            (false, 8) => stored.wrapping_add(1),
            (false, _) => (stored + 1) & ((1 << bits) - 1),
        }
    });
    Ok(Matrix { grid: parts.grid(spec, &codes, &scale, &zero_points(zeros))?, order })
}

pub(super) fn write(q: &Quantization, v2: bool, grid: &Whole) -> Result<Vec<Packed>, String> {
    let (bits, GridSpec { m, n, group_size, .. }) = (q.bits, grid.spec);
    let (groups, group) = (grid.spec.groups(), group_size.min(n));
    if m % 32 != 0 || n % 32 != 0 || n % group != 0 {
        return Err(format!("{m} rows and {n} columns in groups of {group}: whole words want multiples of 32, and whole groups"));
    }
    let mut qweight = vec![0; words::len(bits, n) * m];
    for ((i, j), code) in grid.codes.indexed_iter() {
        words::put(&mut qweight, |w| w * m + i, bits, j, *code);
    }
    let width = words::len(bits, m);
    let mut qzeros = vec![0; groups * width];
    for ((i, g), zero) in grid.zeros().indexed_iter() {
        if !v2 && bits == 3 && *zero == 0 {
            return Err(format!("zero point 0 at row {i}, group {g} has no form in 3 bits of the first version: take gptq_v2"));
        }
        let stored = if v2 { *zero } else { zero.wrapping_sub(1) & (0xFF >> (8 - bits)) };
        words::put(&mut qzeros, |w| g * width + w, bits, i, stored);
    }
    let scales: Vec<half::f16> = grid.scale.t().iter().copied().collect();
    let g_idx: Vec<i32> = (0..n).map(|j| i32::try_from(j / group).unwrap_or(i32::MAX)).collect();
    Ok(vec![
        Packed::new("qweight", &[words::len(bits, n), m], &qweight),
        Packed::new("qzeros", &[groups, width], &qzeros),
        Packed::new("scales", &[groups, m], &scales),
        Packed::new("g_idx", &[n], &g_idx),
    ])
}
