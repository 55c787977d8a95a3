//! AWQ's tensors: `qweight` `[n, m / 8]`, `qzeros` `[groups, m / 8]`, `scales` `[groups, m]`. Nibble `i` of a word is output `8 c + ORDER[i]`.

use super::{Matrix, Packed, Parts, Quantization, Whole, zero_points};
use crate::Error;
use ndarray::Array2;
use scant_tensor_core::format::GridSpec;

/// Which of a word's outputs each nibble is, from the least on, and the inverse.
const ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];
const PLACE: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

fn nibble(word: i32, output: usize) -> u8 {
    let shifted = word.cast_unsigned() >> (4 * PLACE[output % 8]) & 15;
    u8::try_from(shifted).unwrap_or(15)
}

pub(super) fn read(q: &Quantization, parts: &Parts<'_>, [m, n]: [usize; 2]) -> Result<Matrix, Error> {
    let spec = GridSpec::new([m, n], q.bits, q.group(n))?;
    let (groups, width) = (spec.groups(), m.div_ceil(8));
    let packed = parts.typed::<i32>("qweight", &[n, width])?;
    let codes = Array2::from_shape_fn((m, n), |(i, j)| nibble(packed[j * width + i / 8], i));
    let stored = parts.typed::<i32>("qzeros", &[groups, width])?;
    let zeros = Array2::from_shape_fn((m, groups), |(i, g)| nibble(stored[g * width + i / 8], i));
    let scale = parts.scales("scales", &[groups, m], (m, groups), |i, g| g * m + i)?;
    Ok(Matrix { grid: parts.grid(spec, &codes, &scale, &zero_points(zeros))?, order: None })
}

pub(super) fn write(grid: &Whole) -> Result<Vec<Packed>, String> {
    let GridSpec { m, n, group_size, .. } = grid.spec;
    let groups = grid.spec.groups();
    if m % 8 != 0 || n % group_size.min(n) != 0 {
        return Err(format!("{m} rows and {n} columns in groups of {group_size}: rows in eights and whole groups are wanted"));
    }
    let pack = |values: Array2<u8>| {
        // [columns, m / 8] of [m, columns]
        let word = |of: usize, c: usize| {
            let nibbles = ORDER.iter().enumerate().map(|(i, o)| u32::from(values[[8 * c + o, of]]) << (4 * i));
            nibbles.sum::<u32>().cast_signed()
        };
        (0..values.ncols()).flat_map(|of| (0..m / 8).map(move |c| (of, c))).map(|(of, c)| word(of, c)).collect::<Vec<i32>>()
    };
    let scales: Vec<half::f16> = grid.scale.t().iter().copied().collect();
    Ok(vec![
        Packed::new("qweight", &[n, m / 8], &pack(grid.codes.clone())),
        Packed::new("qzeros", &[groups, m / 8], &pack(grid.zeros())),
        Packed::new("scales", &[groups, m], &scales),
    ])
}
