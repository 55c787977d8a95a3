//! Quantized rows taken apart, without loss, into unsigned codes and the numbers that scale them: what a format needs
//! that holds GGUF weights in a layout of its own.
//!
//! [`layout`] tells how a type is built, [`RowParts::split`] takes a row apart, and [`RowParts::decode`] is the
//! definition of what the parts mean: it equals [`blocks::decode`] bit for bit.

use super::BlockType;
use super::blocks::{self, half_at};
use crate::Error;
use half::{bf16, f16};

/// How the codes of a type become weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bits of a code.
    pub bits: u32,
    /// Consecutive weights of a row that share a scale.
    pub group_size: usize,
    /// The formula.
    pub scaling: Scaling,
    /// What stands for `q - zero`, where that is not the code less a zero.
    pub palette: Option<&'static [i8; 16]>,
}

/// The formula from a code `q` to a weight. `d` and `m` are f16 but for `Exponent`, products are rounded to f32 one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// `w = d (q - zero)`, a `d` for each group.
    Symmetric {
        /// The code of weight 0.
        zero: u8,
    },
    /// As `Symmetric`; `d` is a bfloat16, a power of two.
    Exponent {
        /// The code of weight 0.
        zero: u8,
    },
    /// `w = d q + m`, a `d` and an `m` for each group.
    Min,
    /// `w = (d (s - centre)) (q - zero)`, an `s` for each group and a `d` for each 256 weights.
    BilevelSymmetric {
        /// The code of weight 0.
        zero: u8,
        /// Bits of `s`; its `centre` is half of their range.
        scale_bits: u32,
        /// Groups that share a `d`.
        per: usize,
    },
    /// `w = (d s) q - (m t)`, an `s` and a `t` for each group, a `d` and an `m` for each 256 weights.
    BilevelMin {
        /// Bits of `s` and of `t`.
        scale_bits: u32,
        /// Groups that share a `d` and an `m`.
        per: usize,
    },
}

impl Scaling {
    /// Groups that share a `d` (and `m`).
    pub const fn groups_per_d(self) -> usize {
        match self {
            Scaling::Symmetric { .. } | Scaling::Exponent { .. } | Scaling::Min => 1,
            Scaling::BilevelSymmetric { per, .. } | Scaling::BilevelMin { per, .. } => per,
        }
    }

    /// Whether there is a minimum beside the scale.
    pub const fn has_min(self) -> bool {
        matches!(self, Scaling::Min | Scaling::BilevelMin { .. })
    }

    /// Whether the groups' scales are codes, multiplied by `d`.
    pub const fn is_bilevel(self) -> bool {
        matches!(self, Scaling::BilevelSymmetric { .. } | Scaling::BilevelMin { .. })
    }
}

/// How `ty` is built, or `None` for the plain floats.
///
/// ```
/// use scant_quant::gguf::{BlockType, parts};
/// let layout = parts::layout(BlockType::Q6_K).expect("quantized");
/// assert_eq!((layout.bits, layout.group_size), (6, 16));
/// assert_eq!(layout.scaling, parts::Scaling::BilevelSymmetric { zero: 32, scale_bits: 8, per: 16 });
/// ```
pub const fn layout(ty: BlockType) -> Option<Layout> {
    let (bits, group_size, scaling) = match ty {
        BlockType::F32 | BlockType::F16 | BlockType::BF16 => return None,
        BlockType::Q4_0 => (4, 32, Scaling::Symmetric { zero: 8 }),
        BlockType::Q4_1 => (4, 32, Scaling::Min),
        BlockType::Q5_0 => (5, 32, Scaling::Symmetric { zero: 16 }),
        BlockType::Q5_1 => (5, 32, Scaling::Min),
        BlockType::Q8_0 => (8, 32, Scaling::Symmetric { zero: 128 }),
        BlockType::Q2_K => (2, 16, Scaling::BilevelMin { scale_bits: 4, per: 16 }),
        BlockType::Q3_K => (3, 16, Scaling::BilevelSymmetric { zero: 4, scale_bits: 6, per: 16 }),
        BlockType::Q4_K => (4, 32, Scaling::BilevelMin { scale_bits: 6, per: 8 }),
        BlockType::Q5_K => (5, 32, Scaling::BilevelMin { scale_bits: 6, per: 8 }),
        BlockType::Q6_K => (6, 16, Scaling::BilevelSymmetric { zero: 32, scale_bits: 8, per: 16 }),
        BlockType::IQ4_NL => (4, 32, Scaling::Symmetric { zero: 8 }),
        BlockType::IQ4_XS => (4, 32, Scaling::BilevelSymmetric { zero: 8, scale_bits: 6, per: 8 }),
        BlockType::TQ1_0 | BlockType::TQ2_0 => (2, 256, Scaling::Symmetric { zero: 1 }),
        BlockType::MXFP4 => (4, 32, Scaling::Exponent { zero: 8 }),
    };
    let palette = match ty {
        BlockType::IQ4_NL | BlockType::IQ4_XS => Some(&blocks::IQ4),
        BlockType::MXFP4 => Some(&blocks::E2M1),
        _ => None,
    };
    Some(Layout { bits, group_size, scaling, palette })
}

/// The parts of one row (or of any whole number of blocks). The buffers are kept from one row to the next.
#[derive(Clone, Debug, Default)]
pub struct RowParts {
    /// One code a weight, below `2^bits`.
    pub codes: Vec<u8>,
    /// Bits of the scales `d`: one for each [`groups_per_d`](Scaling::groups_per_d) groups.
    pub d: Vec<u16>,
    /// Bits of the f16 minima `m`, as many as `d`; empty where the formula has none.
    pub m: Vec<u16>,
    /// The groups' scale codes `s`; empty unless bilevel.
    pub scale_codes: Vec<u8>,
    /// The groups' minimum codes `t`; empty unless bilevel with minimum.
    pub min_codes: Vec<u8>,
}

impl RowParts {
    /// Takes apart `bytes`, which hold `n` weights of `ty`, and returns the type's layout.
    ///
    /// # Errors
    /// [`Error::NotQuantized`] for the plain floats; [`Error::BlockDoesNotDivide`] if `n` is not a whole number of
    /// blocks, [`Error::ShapeMismatch`] if `bytes` has not their size.
    pub fn split(&mut self, ty: BlockType, bytes: &[u8], n: usize) -> Result<Layout, Error> {
        let Some(layout) = layout(ty) else {
            return Err(Error::NotQuantized { block_type: ty.to_string() });
        };
        blocks::check_sizes(ty, n, bytes.len())?;
        self.codes.clear();
        self.codes.resize(n, 0);
        for part in [&mut self.d, &mut self.m] {
            part.clear();
        }
        for part in [&mut self.scale_codes, &mut self.min_codes] {
            part.clear();
        }
        match ty {
            BlockType::F32 | BlockType::F16 | BlockType::BF16 => {}
            BlockType::Q8_0 => self.each(bytes, |parts, block: &[u8; 34], codes: &mut [u8; 32]| {
                for (code, byte) in codes.iter_mut().zip(&block[2..]) {
                    *code = byte ^ 0x80;
                }
                parts.push_d(block, 0);
            }),
            BlockType::Q4_0 => self.each(bytes, |parts, block: &[u8; 18], codes| {
                blocks::codes_q4(tail(block), codes);
                parts.push_d(block, 0);
            }),
            BlockType::Q4_1 => self.each(bytes, |parts, block: &[u8; 20], codes| {
                blocks::codes_q4(tail(block), codes);
                parts.push_d(block, 0);
                parts.push_m(block, 2);
            }),
            BlockType::Q5_0 => self.each(bytes, |parts, block: &[u8; 22], codes| {
                let fifth = [block[2], block[3], block[4], block[5]];
                blocks::codes_q5(fifth, tail(block), codes);
                parts.push_d(block, 0);
            }),
            BlockType::Q5_1 => self.each(bytes, |parts, block: &[u8; 24], codes| {
                let fifth = [block[4], block[5], block[6], block[7]];
                blocks::codes_q5(fifth, tail(block), codes);
                parts.push_d(block, 0);
                parts.push_m(block, 2);
            }),
            BlockType::Q2_K => self.each(bytes, |parts, block: &[u8; 84], codes| {
                blocks::codes_q2(&block[16..80], codes);
                parts.push_d(block, 80);
                parts.push_m(block, 82);
                parts.scale_codes.extend(block[..16].iter().map(|pair| pair & 15));
                parts.min_codes.extend(block[..16].iter().map(|pair| pair >> 4));
            }),
            BlockType::Q3_K => self.each(bytes, |parts, block: &[u8; 110], codes| {
                blocks::codes_q3_k(block, codes);
                parts.push_d(block, 108);
                parts.scale_codes.extend(blocks::scales_q3_k(block));
            }),
            BlockType::Q4_K => self.each(bytes, |parts, block: &[u8; 144], codes| {
                blocks::codes_q4_k(block, codes);
                parts.push_pairs(block);
            }),
            BlockType::Q5_K => self.each(bytes, |parts, block: &[u8; 176], codes| {
                blocks::codes_q5_k(block, codes);
                parts.push_pairs(block);
            }),
            BlockType::Q6_K => self.each(bytes, |parts, block: &[u8; 210], codes| {
                blocks::codes_q6_k(block, codes);
                parts.push_d(block, 208);
                parts.scale_codes.extend(block[192..208].iter().map(|s| s ^ 0x80));
            }),
            BlockType::IQ4_NL => self.each(bytes, |parts, block: &[u8; 18], codes| {
                blocks::codes_q4(tail(block), codes);
                parts.push_d(block, 0);
            }),
            BlockType::MXFP4 => self.each(bytes, |parts, block: &[u8; 17], codes| {
                blocks::codes_q4(tail(block), codes);
                parts.d.push(blocks::half_exponent(block[0]));
            }),
            BlockType::IQ4_XS => self.each(bytes, |parts, block: &[u8; 136], codes| {
                blocks::codes_iq4_xs(block, codes);
                parts.push_d(block, 0);
                parts.scale_codes.extend(blocks::scales_iq4_xs(block));
            }),
            BlockType::TQ1_0 => self.each(bytes, |parts, block: &[u8; 54], codes| {
                blocks::codes_tq1_0(block, codes);
                parts.push_d(block, 52);
            }),
            BlockType::TQ2_0 => self.each(bytes, |parts, block: &[u8; 66], codes| {
                blocks::codes_tq2_0(block, codes);
                parts.push_d(block, 64);
            }),
        }
        Ok(layout)
    }

    /// Calls `f` for each block and its codes.
    fn each<const B: usize, const W: usize>(&mut self, bytes: &[u8], f: impl Fn(&mut Self, &[u8; B], &mut [u8; W])) {
        let mut codes = std::mem::take(&mut self.codes);
        let (blocks, _) = bytes.as_chunks();
        for (block, codes) in blocks.iter().zip(codes.as_chunks_mut().0) {
            f(self, block, codes);
        }
        self.codes = codes;
    }

    fn push_d(&mut self, block: &[u8], at: usize) {
        self.d.push(half_at(block, at).to_bits());
    }

    fn push_m(&mut self, block: &[u8], at: usize) {
        self.m.push(half_at(block, at).to_bits());
    }

    /// `d`, `dmin` and the 6-bit pairs that open a Q4_K or Q5_K block.
    fn push_pairs(&mut self, block: &[u8]) {
        let packed = block[4..16].try_into().expect("12 bytes");
        let (scales, mins) = blocks::scales_and_mins(packed);
        self.push_d(block, 0);
        self.push_m(block, 2);
        self.scale_codes.extend(scales);
        self.min_codes.extend(mins);
    }

    /// The weights that the parts stand for.
    ///
    /// # Panics
    /// If `out` has not as many weights as there are codes, or the parts are not of this layout.
    pub fn decode(&self, layout: Layout, out: &mut [f32]) {
        assert_eq!(self.codes.len(), out.len(), "RowParts::decode: lengths differ");
        let scaling = layout.scaling;
        let half = |bits: u16| f16::from_bits(bits).to_f32();
        let groups = self.codes.chunks_exact(layout.group_size);
        for (g, (codes, out)) in groups.zip(out.chunks_exact_mut(layout.group_size)).enumerate() {
            let i = g / scaling.groups_per_d();
            let mut scale = half(self.d[i]);
            let (zero, min) = match scaling {
                Scaling::Symmetric { zero } => (zero, 0.0),
                Scaling::Exponent { zero } => {
                    scale = bf16::from_bits(self.d[i]).to_f32();
                    (zero, 0.0)
                }
                Scaling::Min => (0, half(self.m[i])),
                Scaling::BilevelSymmetric { zero, scale_bits, .. } => {
                    scale *= f32::from(i16::from(self.scale_codes[g]) - (1 << (scale_bits - 1)));
                    (zero, 0.0)
                }
                Scaling::BilevelMin { .. } => {
                    scale *= f32::from(self.scale_codes[g]);
                    (0, -(half(self.m[i]) * f32::from(self.min_codes[g])))
                }
            };
            for (&q, w) in codes.iter().zip(out) {
                *w = scale
                    * match layout.palette {
                        None => f32::from(i16::from(q) - i16::from(zero)),
                        Some(values) => f32::from(values[usize::from(q)]),
                    };
                // Adding a zero minimum would turn -0 into +0.
                if scaling.has_min() {
                    *w += min;
                }
            }
        }
    }
}

/// The nibbles at the end of a block.
fn tail(block: &[u8]) -> &[u8; 16] {
    block.last_chunk().expect("every block is longer than 16 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use scant_tensor_core::rng::Rng;

    #[test]
    fn parts_decode_to_the_bits_of_the_block_decoder() {
        let mut rng = Rng::new(3);
        let mut parts = RowParts::default();
        for ty in BlockType::ALL {
            let n = 4 * 256;
            let len = ty.row_bytes(n).unwrap();
            for round in 0..50 {
                let mut bytes: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
                let Some(layout) = layout(ty) else {
                    assert!(parts.split(ty, &bytes, n).is_err());
                    continue;
                };
                // Random bytes hold infinite and NaN scales too; half of the rounds keep to finite ones.
                if round % 2 == 0 {
                    make_scales_finite(ty, &mut bytes);
                }
                let mut want = vec![0.0; n];
                blocks::decode(ty, &bytes, &mut want).unwrap();
                assert_eq!(parts.split(ty, &bytes, n).unwrap(), layout);
                let mut got = vec![0.0; n];
                parts.decode(layout, &mut got);
                let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                assert!(want.iter().zip(&got).all(same), "{ty}");
                assert!(parts.codes.iter().all(|q| u32::from(*q) < 1 << layout.bits), "{ty}");
                let groups = n / layout.group_size;
                assert_eq!(parts.d.len(), groups / layout.scaling.groups_per_d(), "{ty}");
                let counts = [parts.m.len(), parts.scale_codes.len(), parts.min_codes.len()];
                let has = [layout.scaling.has_min(), layout.scaling.is_bilevel(), layout.scaling.is_bilevel() && layout.scaling.has_min()];
                let want = [parts.d.len(), groups, groups];
                for i in 0..3 {
                    assert_eq!(counts[i], if has[i] { want[i] } else { 0 }, "{ty}");
                }
            }
        }
    }

    fn make_scales_finite(ty: BlockType, bytes: &mut [u8]) {
        let halves: &[usize] = match ty {
            BlockType::Q2_K => &[81, 83],
            BlockType::Q3_K => &[109],
            BlockType::TQ1_0 => &[53],
            BlockType::TQ2_0 => &[65],
            BlockType::MXFP4 => &[],
            BlockType::Q6_K => &[209],
            BlockType::Q4_1 | BlockType::Q5_1 | BlockType::Q4_K | BlockType::Q5_K => &[1, 3],
            _ => &[1],
        };
        for block in bytes.chunks_exact_mut(ty.block_bytes()) {
            for &at in halves {
                block[at] &= 0xbf;
            }
        }
    }
}
