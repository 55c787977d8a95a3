//! How packed entries are made: the cache types that engines and papers know by name.

use crate::block::{Block, Expand, Matrix};
use crate::packed::{DEEPEST, Groups, Packed, Rounding};
use crate::repair::{Repair, take_outliers};
use crate::{Error, Geometry};
use ndarray::{Array2, ArrayView2};
use scant_tensor_core::isa::Isa;

/// Tokens that are packed together at least, and the tokens of the buffer that waits for them.
pub(crate) const TILE: usize = 64;

/// What an entry is stored as once it leaves the buffer.
///
/// ```
/// use scant_kvcache::Codec;
/// assert_eq!("gear2".parse(), Ok(Codec::Gear { bits: 2, group: 64, ranks: [4, 2], outliers: 0.02 }));
/// assert_eq!(Codec::Grid { bits: 4, group: 32 }.to_string(), "kivi4-g32");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Codec {
    /// Half precision.
    #[default]
    F16,
    /// 8 bits and a scale for 32 channels of a token: 8.5 bits a number.
    Q8_0,
    /// 4 bits and a scale for 32 channels of a token: 4.5 bits a number.
    Q4_0,
    /// KIVI (Liu et al. 2024): keys in groups of `group` tokens of a channel, values in groups of `group` channels of a token, each with a scale
    /// and a middle.
    Grid {
        /// 2, 3, 4 or 8.
        bits: u32,
        /// 16, 32 or 64.
        group: usize,
    },
    /// As `Grid`, with a group for all tokens of a channel that are packed together, and one for all channels of a token.
    Wide {
        /// 2, 3, 4 or 8.
        bits: u32,
    },
    /// GEAR (Kang et al. 2024): `Grid`, the main directions of what it leaves, and outliers exactly.
    Gear {
        /// 2, 3, 4 or 8.
        bits: u32,
        /// 16, 32 or 64.
        group: usize,
        /// Directions for 256 tokens of a prompt and for 64 that were decoded.
        ranks: [usize; 2],
        /// Share of numbers that are outliers, 0 to .25.
        outliers: f32,
    },
    /// TurboQuant (Zandieh et al. 2025): a rotated vector's length, and its components as a normal distribution's best levels. Without the
    /// sign bit for inner products, which makes attention worse.
    Turbo {
        /// 2, 3 or 4.
        bits: u32,
    },
}

impl std::fmt::Display for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            Codec::F16 => "f16".to_owned(),
            Codec::Q8_0 => "q8_0".to_owned(),
            Codec::Q4_0 => "q4_0".to_owned(),
            Codec::Grid { bits, group: 64 } => format!("kivi{bits}"),
            Codec::Grid { bits, group } => format!("kivi{bits}-g{group}"),
            Codec::Wide { bits } => format!("kcvt{bits}"),
            Codec::Gear { bits, group, ranks: [long, short], outliers } => {
                if Codec::gear(*bits, *outliers > 0.0) == *self {
                    format!("gear{bits}{}", if *outliers > 0.0 { "" } else { "-l" })
                } else {
                    format!("gear{bits}-g{group}-r{long}-r{short}-s{outliers}")
                }
            }
            Codec::Turbo { bits } => format!("turbo{bits}"),
        };
        f.pad(&name)
    }
}

impl std::str::FromStr for Codec {
    type Err = String;
    fn from_str(s: &str) -> Result<Codec, String> {
        let unknown = || {
            format!(
                "cache codec `{s}` is unknown: choose f16, q8_0, q4_0, kivi2 to kivi8 (kivi2-g32), kcvt4, gear2, gear2-l (or \
                 gear2-g32-r4-r2-s0.02), turbo2 to turbo4"
            )
        };
        let mut words = s.split('-');
        let head = words.next().unwrap_or_default();
        let bits = |name: &str| head.strip_prefix(name).and_then(|bits| bits.parse::<u32>().ok());
        let rest: Vec<&str> = words.collect();
        let number = |word: &str, key: char| word.strip_prefix(key).and_then(|x| x.parse::<usize>().ok());
        let codec = match (head, &rest[..]) {
            ("f16", []) => Some(Codec::F16),
            ("q8_0", []) => Some(Codec::Q8_0),
            ("q4_0", []) => Some(Codec::Q4_0),
            (_, []) if bits("kivi").is_some() => bits("kivi").map(|bits| Codec::Grid { bits, group: 64 }),
            (_, [g]) if bits("kivi").is_some() => bits("kivi").zip(number(g, 'g')).map(|(bits, group)| Codec::Grid { bits, group }),
            (_, []) if bits("kcvt").is_some() => bits("kcvt").map(|bits| Codec::Wide { bits }),
            (_, []) if bits("turbo").is_some() => bits("turbo").map(|bits| Codec::Turbo { bits }),
            (_, []) if bits("gear").is_some() => bits("gear").map(|bits| Codec::gear(bits, true)),
            (_, ["l"]) if bits("gear").is_some() => bits("gear").map(|bits| Codec::gear(bits, false)),
            (_, [g, long, short, outliers]) => {
                let outliers = outliers.strip_prefix('s').and_then(|x| x.parse().ok());
                match (bits("gear"), number(g, 'g'), number(long, 'r'), number(short, 'r'), outliers) {
                    (Some(bits), Some(group), Some(long), Some(short), Some(outliers)) => {
                        Some(Codec::Gear { bits, group, ranks: [long, short], outliers })
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        codec.ok_or_else(unknown)
    }
}

impl Codec {
    /// The paper's settings, with outliers or without: groups of 64, 4 directions for prompts and 2 while decoding, 2 % outliers (1 % from 4
    /// bits on).
    pub fn gear(bits: u32, outliers: bool) -> Codec {
        let share = if bits < 4 { 0.02 } else { 0.01 };
        Codec::Gear { bits, group: 64, ranks: [4, 2], outliers: if outliers { share } else { 0.0 } }
    }

    /// Whether it wants rotated vectors.
    pub(crate) fn rotates(self) -> bool {
        matches!(self, Codec::Turbo { .. })
    }

    /// Fails for numbers that cannot be, alone or with this geometry.
    pub(crate) fn check(self, g: &Geometry) -> Result<(), Error> {
        if self == Codec::F16 {
            return Ok(());
        }
        let most = if matches!(self, Codec::Gear { .. }) { 256 } else { DEEPEST };
        for (what, dim) in [("width of a key", g.key_dim), ("width of a value", g.value_dim)] {
            if dim > most {
                return Err(Error::TooWide { what, dim, most });
            }
        }
        match self {
            Codec::Grid { bits, .. } | Codec::Wide { bits } | Codec::Gear { bits, .. } if ![2, 3, 4, 8].contains(&bits) => {
                return Err(Error::UnsupportedBits { bits });
            }
            Codec::Turbo { bits } if ![2, 3, 4].contains(&bits) => return Err(Error::UnsupportedBits { bits }),
            _ => {}
        }
        if let Codec::Grid { group, .. } | Codec::Gear { group, .. } = self
            && ![16, 32, 64].contains(&group)
        {
            return Err(Error::GroupSize { group });
        }
        if let Codec::Gear { ranks, outliers, .. } = self {
            let most = TILE.min(g.key_dim).min(g.value_dim) / 4;
            if let Some(rank) = ranks.into_iter().find(|rank| *rank > most) {
                return Err(Error::RankTooLarge { rank, most });
            }
            if !(0.0..=0.25).contains(&outliers) {
                return Err(Error::OutlierShare { share: outliers });
            }
        }
        Ok(())
    }

    /// Packs keys `[tokens, key_dim]` and values `[tokens, value_dim]`.
    pub(crate) fn pack(self, keys: &Array2<f32>, values: &Array2<f32>, seed: u64) -> Block {
        let (tokens, key_dim, value_dim) = (keys.nrows(), keys.ncols(), values.ncols());
        let of = |x: ArrayView2<'_, f32>, bits: u32, rounding: Rounding, groups: Groups| Matrix {
            packed: Packed::new(x, bits, rounding, groups),
            repair: None,
        };
        let (k, v) = (keys.view(), values.t());
        let all = |n: usize| Groups::OfLanes(n.next_multiple_of(16));
        let (keys, values) = match self {
            Codec::F16 => unreachable!("f16 entries stay in the buffer"),
            Codec::Q8_0 => (of(k, 8, Rounding::Symmetric, Groups::OfDepth(32)), of(v, 8, Rounding::Symmetric, Groups::OfLanes(32))),
            Codec::Q4_0 => (of(k, 4, Rounding::Symmetric, Groups::OfDepth(32)), of(v, 4, Rounding::Symmetric, Groups::OfLanes(32))),
            Codec::Grid { bits, group } => {
                let groups = Groups::OfLanes(group);
                (of(k, bits, Rounding::MinMax, groups), of(v, bits, Rounding::MinMax, groups))
            }
            Codec::Wide { bits } => (of(k, bits, Rounding::MinMax, all(tokens)), of(v, bits, Rounding::MinMax, all(value_dim))),
            Codec::Turbo { bits } => {
                (of(k, bits, Rounding::Normal, Groups::OfDepth(key_dim)), of(v, bits, Rounding::Normal, all(value_dim)))
            }
            Codec::Gear { bits, group, ranks, outliers } => {
                let rank = ranks[usize::from(tokens < 4 * TILE)];
                let groups = Groups::OfLanes(group);
                (gear(k, bits, groups, rank, outliers, seed), gear(v, bits, groups, rank, outliers, seed ^ 1))
            }
        };
        Block { keys, values, key_dim, value_dim }
    }
}

/// Outliers are those of a channel among the tokens for keys, and of a token among the channels for values: those of a column either way.
fn gear(x: ArrayView2<'_, f32>, bits: u32, groups: Groups, rank: usize, outliers: f32, seed: u64) -> Matrix {
    let (lanes, depth) = x.dim();
    let mut filled = x.as_standard_layout().into_owned();
    // Rounded to the nearest: half of 2 % of 64 is one, where the paper's floor would leave none.
    let count = (outliers / 2.0 * lanes as f32).round() as usize;
    let at = take_outliers(filled.view_mut(), count);
    let packed = Packed::new(filled.view(), bits, Rounding::MinMax, groups);
    let deep = packed.deep();
    let mut matrix = Matrix { packed, repair: None };
    let mut columns = vec![0.0; lanes.next_multiple_of(16) * depth];
    let wide = lanes.next_multiple_of(16);
    Isa::best().run(Expand { matrix: &matrix, out: &mut columns, panel: 16, step: wide, depth });
    let kept = Array2::from_shape_fn((lanes, depth), |(i, k)| columns[k * wide + i]);
    matrix.repair = Some(Repair::new(x, &kept, at, rank, deep, seed));
    matrix
}
