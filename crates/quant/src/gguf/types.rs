//! Tensor types: ids, names, block sizes.

use crate::Error;
use std::{fmt, str::FromStr};

/// How a GGUF tensor's weights are stored: plain floats, or blocks of codes with their scales.
///
/// `Display` and `FromStr` use ggml's names (`Q4_K`).
/// ```
/// use scant_quant::gguf::BlockType;
/// let ty: BlockType = "Q4_K".parse()?;
/// assert_eq!((ty.id(), ty.block_size(), ty.block_bytes()), (12, 256, 144));
/// assert_eq!(ty.bits_per_weight(), 4.5);
/// # Ok::<(), scant_quant::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, reason = "the underscores are part of the names that users know")]
pub enum BlockType {
    /// IEEE single.
    F32,
    /// IEEE half.
    F16,
    /// The upper half of an IEEE single.
    BF16,
    /// 32 signed bytes and a scale: `w = d q`.
    Q8_0,
    /// 32 nibbles and a scale: `w = d (q - 8)`.
    Q4_0,
    /// 32 nibbles, scale and minimum: `w = d q + m`.
    Q4_1,
    /// 32 codes of 5 bits and a scale: `w = d (q - 16)`.
    Q5_0,
    /// 32 codes of 5 bits, scale and minimum: `w = d q + m`.
    Q5_1,
    /// 256 codes of 2 bits; 16 sub-blocks with 4-bit scales and minima: `w = d s q - dmin m`.
    Q2_K,
    /// 256 codes of 3 bits; 16 sub-blocks with signed 6-bit scales: `w = d (s - 32) (q - 4)`.
    Q3_K,
    /// 256 nibbles; 8 sub-blocks with 6-bit scales and minima: `w = d s q - dmin m`.
    Q4_K,
    /// 256 codes of 5 bits; 8 sub-blocks with 6-bit scales and minima: `w = d s q - dmin m`.
    Q5_K,
    /// 256 codes of 6 bits; 16 sub-blocks with signed byte scales: `w = d s (q - 32)`.
    Q6_K,
    /// 32 nibbles into 16 values, and a scale: `w = d v[q]`.
    IQ4_NL,
    /// 256 nibbles into 16 values; 8 sub-blocks with signed 6-bit scales: `w = d (s - 32) v[q]`.
    IQ4_XS,
    /// 256 codes -1, 0, 1 with a scale, five to a byte.
    TQ1_0,
    /// 256 codes of 2 bits and a scale: `w = d (q - 1)`.
    TQ2_0,
    /// 32 floats of 4 bits with an exponent, the microscaling format of the Open Compute Project.
    MXFP4,
}

impl BlockType {
    /// Every type that this crate decodes, in the order of their ids.
    pub const ALL: [BlockType; 18] = [
        BlockType::F32,
        BlockType::F16,
        BlockType::Q4_0,
        BlockType::Q4_1,
        BlockType::Q5_0,
        BlockType::Q5_1,
        BlockType::Q8_0,
        BlockType::Q2_K,
        BlockType::Q3_K,
        BlockType::Q4_K,
        BlockType::Q5_K,
        BlockType::Q6_K,
        BlockType::IQ4_NL,
        BlockType::IQ4_XS,
        BlockType::BF16,
        BlockType::TQ1_0,
        BlockType::TQ2_0,
        BlockType::MXFP4,
    ];

    /// The id in the file.
    pub const fn id(self) -> u32 {
        match self {
            BlockType::F32 => 0,
            BlockType::F16 => 1,
            BlockType::Q4_0 => 2,
            BlockType::Q4_1 => 3,
            BlockType::Q5_0 => 6,
            BlockType::Q5_1 => 7,
            BlockType::Q8_0 => 8,
            BlockType::Q2_K => 10,
            BlockType::Q3_K => 11,
            BlockType::Q4_K => 12,
            BlockType::Q5_K => 13,
            BlockType::Q6_K => 14,
            BlockType::IQ4_NL => 20,
            BlockType::IQ4_XS => 23,
            BlockType::BF16 => 30,
            BlockType::TQ1_0 => 34,
            BlockType::TQ2_0 => 35,
            BlockType::MXFP4 => 39,
        }
    }

    /// The type with this id, if this crate decodes it.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|ty| ty.id() == id)
    }

    /// Weights in a block.
    pub const fn block_size(self) -> usize {
        match self {
            BlockType::F32 | BlockType::F16 | BlockType::BF16 => 1,
            BlockType::Q4_0 | BlockType::Q4_1 | BlockType::Q5_0 | BlockType::Q5_1 | BlockType::Q8_0 => 32,
            BlockType::IQ4_NL | BlockType::MXFP4 => 32,
            _ => 256,
        }
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            BlockType::F32 => 4,
            BlockType::F16 | BlockType::BF16 => 2,
            BlockType::Q4_0 => 18,
            BlockType::Q4_1 => 20,
            BlockType::Q5_0 => 22,
            BlockType::Q5_1 => 24,
            BlockType::Q8_0 => 34,
            BlockType::Q2_K => 84,
            BlockType::Q3_K => 110,
            BlockType::Q4_K => 144,
            BlockType::Q5_K => 176,
            BlockType::Q6_K => 210,
            BlockType::IQ4_NL => 18,
            BlockType::IQ4_XS => 136,
            BlockType::TQ1_0 => 54,
            BlockType::TQ2_0 => 66,
            BlockType::MXFP4 => 17,
        }
    }

    /// Stored bits per weight, scales included.
    pub fn bits_per_weight(self) -> f64 {
        8.0 * self.block_bytes() as f64 / self.block_size() as f64
    }

    /// Bytes of a row of `n` weights.
    ///
    /// # Errors
    /// [`Error::BlockDoesNotDivide`], naming the type that GGUF tools fall back to, if `n` is not a whole number of
    /// blocks; [`Error::Overflow`] beyond the machine's word.
    pub fn row_bytes(self, n: usize) -> Result<usize, Error> {
        if !n.is_multiple_of(self.block_size()) {
            let fallback = self.for_rows_of(n);
            return Err(Error::BlockDoesNotDivide {
                n,
                block_type: self.to_string(),
                block_size: self.block_size(),
                hint: format!(" ({fallback} would fit)"),
            });
        }
        (n / self.block_size()).checked_mul(self.block_bytes()).ok_or_else(|| Error::Overflow {
            what: format!("a row of {self} blocks, in bytes"),
            factors: vec![(n / self.block_size()) as u64, self.block_bytes() as u64],
        })
    }

    /// The type that GGUF tools take for rows of `n` weights where this one is wanted: itself if whole blocks fill a row,
    /// else one of a few more bits with blocks of 32, else F16.
    pub const fn for_rows_of(self, n: usize) -> BlockType {
        if n.is_multiple_of(self.block_size()) {
            return self;
        }
        match self {
            _ if !n.is_multiple_of(32) => BlockType::F16,
            BlockType::Q2_K | BlockType::Q3_K | BlockType::IQ4_XS | BlockType::TQ1_0 | BlockType::TQ2_0 => BlockType::Q4_0,
            BlockType::Q4_K => BlockType::Q5_0,
            BlockType::Q5_K => BlockType::Q5_1,
            _ => BlockType::Q8_0,
        }
    }

    /// The value of `general.file_type` for a file mostly of this type. Those of the K types are the "medium" mixtures.
    pub const fn file_type(self) -> u32 {
        match self {
            BlockType::F32 => 0,
            BlockType::F16 => 1,
            BlockType::Q4_0 => 2,
            BlockType::Q4_1 => 3,
            BlockType::Q8_0 => 7,
            BlockType::Q5_0 => 8,
            BlockType::Q5_1 => 9,
            BlockType::Q2_K => 10,
            BlockType::Q3_K => 12,
            BlockType::Q4_K => 15,
            BlockType::Q5_K => 17,
            BlockType::Q6_K => 18,
            BlockType::IQ4_NL => 25,
            BlockType::IQ4_XS => 30,
            BlockType::BF16 => 32,
            BlockType::TQ1_0 => 36,
            BlockType::TQ2_0 => 37,
            BlockType::MXFP4 => 38,
        }
    }

    /// "F32 0, F16 1, ...": for messages.
    pub(crate) fn supported() -> String {
        Self::ALL.map(|ty| format!("{ty} {}", ty.id())).join(", ")
    }
}

impl fmt::Display for BlockType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl FromStr for BlockType {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let upper = name.to_ascii_uppercase();
        Self::ALL.into_iter().find(|ty| ty.to_string() == upper).ok_or_else(|| Error::UnknownName {
            what: "block type",
            name: name.to_string(),
            known: Self::supported(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_round_trip() {
        for ty in BlockType::ALL {
            assert_eq!(ty.to_string().parse::<BlockType>().unwrap(), ty);
            assert_eq!(BlockType::from_id(ty.id()), Some(ty));
        }
        assert_eq!(BlockType::from_id(4), None);
        assert!("Q4_2".parse::<BlockType>().is_err());
    }

    #[test]
    fn bits_are_those_of_the_format() {
        use BlockType::*;
        let bits = [
            (F32, 32.0),
            (F16, 16.0),
            (BF16, 16.0),
            (Q8_0, 8.5),
            (Q4_0, 4.5),
            (Q4_1, 5.0),
            (Q5_0, 5.5),
            (Q5_1, 6.0),
            (Q2_K, 2.625),
            (Q3_K, 3.4375),
            (Q4_K, 4.5),
            (Q5_K, 5.5),
            (Q6_K, 6.5625),
            (IQ4_NL, 4.5),
            (IQ4_XS, 4.25),
            (TQ1_0, 1.6875),
            (TQ2_0, 2.0625),
            (MXFP4, 4.25),
        ];
        for (ty, want) in bits {
            assert_eq!(ty.bits_per_weight(), want, "{ty}");
        }
    }

    #[test]
    fn a_row_that_does_not_fit_names_the_fallback() {
        let error = BlockType::Q4_K.row_bytes(576).unwrap_err().to_string();
        assert!(error.contains("576") && error.contains("Q5_0"), "{error}");
        let error = BlockType::Q8_0.row_bytes(48).unwrap_err().to_string();
        assert!(error.contains("F16"), "{error}");
        assert_eq!(BlockType::Q4_1.row_bytes(576).unwrap(), 360);
    }
}
