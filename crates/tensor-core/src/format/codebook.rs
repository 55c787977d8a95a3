//! Additive codebooks: every group of consecutive weights of a row is a sum of codewords, one of each codebook, times the row's scale.

use crate::error::Error;
use crate::file::{Bytes, Typed};
use half::f16;
use ndarray::Array2;

/// Most codebooks of a term.
const MOST_BOOKS: usize = 16;
/// Columns that a code may stand for.
const GROUPS: [usize; 3] = [4, 8, 16];

/// The parameters of a [`Codebook`] that do not depend on the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodebookSpec {
    /// Rows.
    pub m: usize,
    /// Columns.
    pub n: usize,
    /// Codebooks, each with a code for every group.
    pub books: usize,
    /// Bits of a code, 1 to 16; up to 8 they take a byte, else two.
    pub bits: u32,
    /// Columns that a code stands for: 4, 8 or 16.
    pub group_size: usize,
}

impl CodebookSpec {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::CodebookBits`]; [`Error::Index`] for 0 or more than 16 codebooks; [`Error::CodebookGroup`] unless groups are
    /// of 4, 8 or 16 columns and rows are whole groups.
    pub fn new(shape: [usize; 2], books: usize, bits: u32, group_size: usize) -> Result<CodebookSpec, Error> {
        let [m, n] = shape;
        if m == 0 || n == 0 {
            return Err(Error::Empty { what: "codebook term".to_owned(), shape });
        }
        if !(1..=16).contains(&bits) {
            return Err(Error::CodebookBits { bits });
        }
        if books == 0 || books > MOST_BOOKS {
            return Err(Error::Index { what: "codebooks less one".to_owned(), index: books.wrapping_sub(1), bound: MOST_BOOKS });
        }
        if !GROUPS.contains(&group_size) || !n.is_multiple_of(group_size) {
            return Err(Error::CodebookGroup { group_size, columns: n });
        }
        Ok(CodebookSpec { m, n, books, bits, group_size })
    }

    /// Groups of a row.
    pub fn groups(&self) -> usize {
        self.n / self.group_size
    }

    /// Codewords of a codebook.
    pub fn words(&self) -> usize {
        1 << self.bits
    }
}

/// Codes of a [`Codebook`], `[m, groups, books]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Codes {
    /// Of up to 8 bits.
    U8(Typed<u8>),
    /// Of 9 to 16 bits.
    U16(Typed<u16>),
}

impl Codes {
    /// The bytes as they are saved.
    pub fn as_bytes(&self) -> &Bytes {
        match self {
            Codes::U8(x) => x.as_bytes(),
            Codes::U16(x) => x.as_bytes(),
        }
    }

    fn at(&self, i: usize) -> usize {
        match self {
            Codes::U8(x) => usize::from(x[i]),
            Codes::U16(x) => usize::from(x[i]),
        }
    }

    fn len(&self) -> usize {
        match self {
            Codes::U8(x) => x.len(),
            Codes::U16(x) => x.len(),
        }
    }
}

/// A matrix of codes into additive codebooks (Egiazarian et al., 2024, AQLM): `w[i, g] = scale[i] * sum over c of codebooks[c][code[i, g, c]]`.
///
/// Codes and codebooks lie as the published checkpoints have them. In memory the codewords are there once more in f32, which is what products
/// read; that copy is not part of the footprint.
///
/// ```
/// use half::f16;
/// use scant_tensor_core::format::{Codebook, CodebookSpec};
/// let spec = CodebookSpec::new([2, 8], 1, 1, 4)?; // one codebook of two words of four weights
/// let words = [1.0, 2.0, 3.0, 4.0, -1.0, -1.0, -1.0, -1.0].map(f16::from_f32);
/// let codebook = Codebook::pack(spec, &[0, 1, 1, 0], words.to_vec(), [1.0, 2.0].map(f16::from_f32).to_vec())?;
/// assert_eq!(codebook.to_dense().row(1).to_vec(), [-2.0, -2.0, -2.0, -2.0, 2.0, 4.0, 6.0, 8.0]);
/// # Ok::<(), scant_tensor_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Codebook {
    spec: CodebookSpec,
    codes: Codes,
    codebooks: Typed<f16>,
    scale: Typed<f16>,
    words: Typed<f32>,
}

impl Codebook {
    /// From codes `[m, groups, books]`, codebooks `[books, 2^bits, group_size]` and a scale for each row.
    ///
    /// # Errors
    /// As [`Codebook::from_parts`].
    pub fn pack(spec: CodebookSpec, codes: &[u16], codebooks: Vec<f16>, scale: Vec<f16>) -> Result<Codebook, Error> {
        let codes = if spec.bits <= 8 {
            let byte = |(i, code): (usize, &u16)| u8::try_from(*code).map_err(|_| bad_code(spec, i, usize::from(*code)));
            Codes::U8(codes.iter().enumerate().map(byte).collect::<Result<_, _>>()?)
        } else {
            Codes::U16(codes.into())
        };
        Codebook::from_parts(spec, codes, codebooks.into(), scale.into())
    }

    /// Takes the arrays as [`Codebook::codes`], [`Codebook::codebooks`] and [`Codebook::scale`] give them, without a copy.
    ///
    /// # Errors
    /// [`Error`] if a length differs from what `spec` says, a code has no word or a number is not finite.
    pub fn from_parts(spec: CodebookSpec, codes: Codes, codebooks: Typed<f16>, scale: Typed<f16>) -> Result<Codebook, Error> {
        let spec = CodebookSpec::new([spec.m, spec.n], spec.books, spec.bits, spec.group_size)?;
        let short = matches!(codes, Codes::U8(_));
        Error::check_shape("bytes of a code", &[if spec.bits <= 8 { 1 } else { 2 }], &[if short { 1 } else { 2 }])?;
        let want = spec.m.checked_mul(spec.groups()).and_then(|x| x.checked_mul(spec.books));
        Error::check_shape("codes into codebooks", &[want.unwrap_or(usize::MAX)], &[codes.len()])?;
        Error::check_shape("codewords", &[spec.books * spec.words() * spec.group_size], &[codebooks.len()])?;
        Error::check_shape("scales of rows", &[spec.m], &[scale.len()])?;
        if spec.bits != 8
            && spec.bits != 16
            && let Some(i) = (0..codes.len()).find(|i| codes.at(*i) >= spec.words())
        {
            return Err(bad_code(spec, i, codes.at(i)));
        }
        for (what, numbers, width) in [("codewords", &codebooks, spec.group_size), ("scales of rows", &scale, 1)] {
            if let Some(i) = numbers.iter().position(|x| !x.is_finite()) {
                return Err(Error::NotFinite { what: what.to_owned(), row: i / width, column: i % width, value: numbers[i].to_f32() });
            }
        }
        let words = codebooks.iter().map(|x| x.to_f32()).collect();
        Ok(Codebook { spec, codes, codebooks, scale, words })
    }

    /// Shape, codebooks, bits and group size.
    pub fn spec(&self) -> CodebookSpec {
        self.spec
    }

    /// The codes, `[m, groups, books]`.
    pub fn codes(&self) -> &Codes {
        &self.codes
    }

    /// The codewords, `[books, 2^bits, group_size]`.
    pub fn codebooks(&self) -> &Typed<f16> {
        &self.codebooks
    }

    /// The scale of each row.
    pub fn scale(&self) -> &Typed<f16> {
        &self.scale
    }

    /// The codewords in f32.
    #[inline(always)]
    pub(crate) fn words(&self) -> &[f32] {
        &self.words
    }

    /// The matrix as f32 `[m, n]`.
    pub fn to_dense(&self) -> Array2<f32> {
        let mut w = Array2::zeros((self.spec.m, self.spec.n));
        crate::linear::LinearOp::add_to(self, w.view_mut());
        w
    }

    /// Row `i`, `[n]`.
    pub(crate) fn decode_row(&self, i: usize, out: &mut [f32]) {
        let CodebookSpec { books, group_size, .. } = self.spec;
        let scale = self.scale[i].to_f32();
        for (g, out) in out.chunks_exact_mut(group_size).enumerate() {
            out.fill(0.0);
            for c in 0..books {
                let code = self.codes.at((i * self.spec.groups() + g) * books + c);
                let word = &self.words[(c * self.spec.words() + code) * group_size..][..group_size];
                out.iter_mut().zip(word).for_each(|(out, w)| *out += w);
            }
            out.iter_mut().for_each(|w| *w *= scale);
        }
    }

    /// Shows `f` each stretch of memory that holds it, to be put elsewhere.
    pub(crate) fn each_bytes(&mut self, f: &mut dyn FnMut(&mut Bytes)) {
        match &mut self.codes {
            Codes::U8(x) => x.each_bytes(f),
            Codes::U16(x) => x.each_bytes(f),
        }
        self.words.each_bytes(f);
        self.codebooks.each_bytes(f);
        self.scale.each_bytes(f);
    }
}

fn bad_code(spec: CodebookSpec, i: usize, code: usize) -> Error {
    let (row, group) = (i / (spec.groups() * spec.books), i / spec.books % spec.groups());
    Error::Index { what: format!("code of row {row}, group {group}"), index: code, bound: spec.words() }
}
