//! Vectors as planes of bits.

use crate::error::Error;

/// Components of a code at most: products of two codes are then exact in 32 bits.
pub(super) const WIDEST: usize = 1 << 15;

/// Codes of some vectors: `m` components of one to eight planes of bits.
///
/// A component is an odd number over a power of two: `level / 2^(planes - 1)`, with `level = 2 code - (2^planes - 1)`. The first plane is its
/// sign, and each further one halves the step: a recurrent binary embedding (Gan and others, BEBR, 2023). With one plane a code is a word of bits.
///
/// ```
/// use scant_pq_index::BinaryCodes;
/// let codes = BinaryCodes::new(3, 2, "example", vec![0, 3, 2, 1, 3, 3])?; // two vectors
/// assert_eq!(codes.levels(0).collect::<Vec<_>>(), [-3, 3, 1]);
/// assert_eq!(codes.product(0, &codes, 1), 3 + 9 + 3);
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryCodes {
    m: usize,
    planes: u32,
    encoder: String,
    codes: Vec<u8>,
    /// What makes the product of a vector with the components a cosine that is right along the vector itself.
    pub(super) factors: Option<Vec<f32>>,
}

/// Checks the shape of codes.
pub(super) fn check(m: usize, planes: u32) -> Result<(), Error> {
    crate::quantizer::check_bits(planes, &[1, 2, 3, 4, 5, 6, 7, 8])?;
    let (asked, most) = (m.saturating_mul(planes as usize), WIDEST * planes as usize);
    if (1..=WIDEST).contains(&m) { Ok(()) } else { Err(Error::BitBudget { asked, most }) }
}

impl BinaryCodes {
    /// Codes `[n, m]`, a byte each and below `2^planes`, made by the encoder of this id.
    ///
    /// # Errors
    /// [`Error::BitsUnsupported`] unless there are 1 to 8 planes, [`Error::BitBudget`] unless there are 1 to 32,768 components,
    /// [`Error::LengthMismatch`] unless `codes` is whole rows, [`Error::Combination`] for a code that the planes cannot hold.
    pub fn new(m: usize, planes: u32, encoder: impl Into<String>, codes: Vec<u8>) -> Result<BinaryCodes, Error> {
        check(m, planes)?;
        Error::check_len("components of codes, in whole rows", codes.len().div_ceil(m) * m, codes.len())?;
        if codes.iter().any(|code| u32::from(*code) >> planes != 0) {
            return Err(Error::Combination { what: "a code", with: "fewer planes than it has bits" });
        }
        Ok(BinaryCodes { m, planes, encoder: encoder.into(), codes, factors: None })
    }

    /// Words of `8 bytes` bits each, one plane: bit `i % 8` of byte `i / 8` is component `i`. As other libraries pack them; for distances
    /// between words the order of bits does not matter.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_packed(bytes: usize, encoder: impl Into<String>, packed: &[u8]) -> Result<BinaryCodes, Error> {
        check(8 * bytes, 1)?;
        BinaryCodes::new(8 * bytes, 1, encoder, packed.iter().flat_map(|byte| (0..8).map(move |i| byte >> i & 1)).collect())
    }

    /// Vectors.
    pub fn len(&self) -> usize {
        self.codes.len() / self.m
    }

    /// True without vectors.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// Components of each.
    pub fn m(&self) -> usize {
        self.m
    }

    /// Bits of each component.
    pub fn planes(&self) -> u32 {
        self.planes
    }

    /// The id of the encoder that made them.
    pub fn encoder(&self) -> &str {
        &self.encoder
    }

    /// The codes of a vector.
    ///
    /// # Panics
    /// If there is no such vector.
    pub fn row(&self, i: usize) -> &[u8] {
        &self.codes[i * self.m..][..self.m]
    }

    /// The odd numbers that the codes of a vector stand for, before they are divided by `2^(planes - 1)`.
    ///
    /// # Panics
    /// If there is no such vector.
    pub fn levels(&self, i: usize) -> impl Iterator<Item = i32> {
        self.row(i).iter().map(|code| level(*code, self.planes))
    }

    /// The product of the levels of two vectors, exactly.
    ///
    /// # Panics
    /// If there is no such vector, or components differ in number.
    pub fn product(&self, i: usize, other: &BinaryCodes, j: usize) -> i64 {
        assert_eq!(self.m, other.m, "components of codes");
        self.levels(i).zip(other.levels(j)).map(|(a, b)| i64::from(a * b)).sum()
    }

    /// The length of a vector's levels.
    pub(super) fn norm(&self, i: usize) -> f32 {
        self.levels(i).map(|l| f64::from(l * l)).sum::<f64>().sqrt() as f32
    }
}

pub(super) fn level(code: u8, planes: u32) -> i32 {
    2 * i32::from(code) - ((1 << planes) - 1)
}
