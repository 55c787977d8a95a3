//! Grids as GGUF blocks, code by code: fitting the numbers anew would move them.

use half::f16;
use scant_quant::gguf::{BlockType, grid_blocks};
use scant_tensor_core::format::Grid;

/// Weights of a block of the types here.
const BLOCK: usize = 32;

/// The blocks of type `ty` with the codes of `grid` and its statistics, those of one level rounded to f16; row `i` of the result is row `row(i)`.
///
/// `None` where the type cannot hold the codes, a block has several scales, or an f16 is too coarse for one.
pub(super) fn blocks(grid: &Grid, ty: BlockType, row: impl Fn(usize) -> usize) -> Option<Vec<u8>> {
    let spec = grid.spec();
    if ty.block_size() > BLOCK {
        let (blocks, len) = (grid_blocks(grid, ty)?, ty.row_bytes(spec.n).ok()?);
        return Some((0..spec.m).flat_map(|i| &blocks[row(i) * len..][..len]).copied().collect());
    }
    let fits = matches!(ty, BlockType::Q8_0 | BlockType::Q4_0 | BlockType::Q4_1);
    if !fits || !spec.n.is_multiple_of(BLOCK) || !spec.group_size.is_multiple_of(BLOCK) {
        return None;
    }
    let [scale, zero, min] = grid.statistics();
    let codes = grid.codes();
    let mut out = Vec::with_capacity(spec.m * ty.row_bytes(spec.n).ok()?);
    for i in (0..spec.m).map(row) {
        let codes = codes.row(i);
        for (block, codes) in codes.to_slice()?.chunks_exact(BLOCK).enumerate() {
            let g = block * BLOCK / spec.group_size;
            let (d, z, m) = (scale[[i, g]], zero[[i, g]], min[[i, g]]);
            out.extend(half(d)?.to_le_bytes());
            if ty == BlockType::Q4_1 {
                // One product more than the grid has: exact where the zero point is 0.
                out.extend(half(m - d * z)?.to_le_bytes());
                nibbles(&mut out, codes, 0.0, 0)?;
            } else if m != 0.0 || z.fract() != 0.0 {
                return None;
            } else if ty == BlockType::Q4_0 {
                nibbles(&mut out, codes, z, 8)?;
            } else {
                for q in codes {
                    let q = f32::from(*q) - z;
                    if !(-128.0..=127.0).contains(&q) {
                        return None;
                    }
                    out.push(q as i8 as u8);
                }
            }
        }
    }
    Some(out)
}

/// Code j in the low, code j + 16 in the high half of byte j.
fn nibbles(out: &mut Vec<u8>, codes: &[u8], zero: f32, centre: i16) -> Option<()> {
    let nibble = |q: u8| {
        let q = f32::from(q) - zero + f32::from(centre);
        (0.0..=15.0).contains(&q).then_some(q as u8)
    };
    let (low, high) = codes.split_at(BLOCK / 2);
    for (low, high) in low.iter().zip(high) {
        out.push(nibble(*low)? | nibble(*high)? << 4);
    }
    Some(())
}

/// To the nearest f16, unless it loses more than a normal f16 does.
fn half(x: f32) -> Option<f16> {
    let h = f16::from_f32(x);
    let lost = (h.to_f32() - x).abs();
    (h.is_finite() && lost <= x.abs() / 2048.0).then_some(h)
}
