//! Element types of stored tensors.

use std::fmt;
use std::str::FromStr;

use bytemuck::Pod;
use half::{bf16, f16};

/// The element type of a stored tensor: the safetensors types of one byte and more.
///
/// `Display` writes what Rust calls the type (`f16`), and `FromStr` reads that back; [`Dtype::code`] is the name in files.
///
/// ```
/// use scant_tensor_core::file::Dtype;
/// assert_eq!(Dtype::F16.to_string(), "f16");
/// assert_eq!("f16".parse(), Ok(Dtype::F16));
/// assert_eq!((Dtype::F16.code(), Dtype::F16.size()), ("F16", 2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE double.
    F64,
    /// IEEE single.
    F32,
    /// IEEE half.
    F16,
    /// The upper half of an IEEE single.
    Bf16,
    /// Signed, 64 bits.
    I64,
    /// Signed, 32 bits.
    I32,
    /// Signed, 16 bits.
    I16,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 64 bits.
    U64,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 8 bits; packed codes, too.
    U8,
    /// One byte, 0 or 1.
    Bool,
}

impl Dtype {
    /// Every element type.
    pub const ALL: [Dtype; 13] = [
        Dtype::F64,
        Dtype::F32,
        Dtype::F16,
        Dtype::Bf16,
        Dtype::I64,
        Dtype::I32,
        Dtype::I16,
        Dtype::I8,
        Dtype::U64,
        Dtype::U32,
        Dtype::U16,
        Dtype::U8,
        Dtype::Bool,
    ];

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Dtype::F64 | Dtype::I64 | Dtype::U64 => 8,
            Dtype::F32 | Dtype::I32 | Dtype::U32 => 4,
            Dtype::F16 | Dtype::Bf16 | Dtype::I16 | Dtype::U16 => 2,
            Dtype::I8 | Dtype::U8 | Dtype::Bool => 1,
        }
    }

    /// The name in a safetensors header.
    pub fn code(self) -> &'static str {
        match self {
            Dtype::F64 => "F64",
            Dtype::F32 => "F32",
            Dtype::F16 => "F16",
            Dtype::Bf16 => "BF16",
            Dtype::I64 => "I64",
            Dtype::I32 => "I32",
            Dtype::I16 => "I16",
            Dtype::I8 => "I8",
            Dtype::U64 => "U64",
            Dtype::U32 => "U32",
            Dtype::U16 => "U16",
            Dtype::U8 => "U8",
            Dtype::Bool => "BOOL",
        }
    }

    /// The type a safetensors header calls `code`.
    pub fn from_code(code: &str) -> Option<Dtype> {
        Dtype::ALL.into_iter().find(|dtype| dtype.code() == code)
    }

    /// Bytes of a tensor of this type and `shape`; `None` if that is more than a `usize` can say.
    pub fn byte_len(self, shape: &[usize]) -> Option<usize> {
        shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim))?.checked_mul(self.size())
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dtype::F64 => "f64",
            Dtype::F32 => "f32",
            Dtype::F16 => "f16",
            Dtype::Bf16 => "bf16",
            Dtype::I64 => "i64",
            Dtype::I32 => "i32",
            Dtype::I16 => "i16",
            Dtype::I8 => "i8",
            Dtype::U64 => "u64",
            Dtype::U32 => "u32",
            Dtype::U16 => "u16",
            Dtype::U8 => "u8",
            Dtype::Bool => "bool",
        })
    }
}

/// A text that names no element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an element type: one of f64 f32 f16 bf16 i64 i32 i16 i8 u64 u32 u16 u8 bool")]
pub struct NotADtype;

impl FromStr for Dtype {
    type Err = NotADtype;

    fn from_str(text: &str) -> Result<Self, NotADtype> {
        Dtype::ALL.into_iter().find(|dtype| dtype.to_string() == text).ok_or(NotADtype)
    }
}

/// A Rust type whose memory is a tensor element's.
///
/// `bool` is missing on purpose: a stored byte may be 2. Read such tensors as bytes.
pub trait Element: Pod {
    /// What a file calls this type.
    const DTYPE: Dtype;
}

macro_rules! elements {
    ($($t:ty = $dtype:ident),* $(,)?) => {
        $(impl Element for $t {
            const DTYPE: Dtype = Dtype::$dtype;
        })*
    };
}

elements! {
    f64 = F64, f32 = F32, f16 = F16, bf16 = Bf16,
    i64 = I64, i32 = I32, i16 = I16, i8 = I8,
    u64 = U64, u32 = U32, u16 = U16, u8 = U8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for dtype in Dtype::ALL {
            assert_eq!(dtype.to_string().parse(), Ok(dtype));
            assert_eq!(Dtype::from_code(dtype.code()), Some(dtype));
        }
        assert_eq!(Dtype::from_code("F8_E4M3"), None);
        assert_eq!("F16".parse::<Dtype>(), Err(NotADtype));
    }

    #[test]
    fn byte_lengths_are_counted_with_care() {
        assert_eq!(Dtype::F16.byte_len(&[3, 5]), Some(30));
        assert_eq!(Dtype::F64.byte_len(&[]), Some(8));
        assert_eq!(Dtype::F64.byte_len(&[usize::MAX, 0]), Some(0));
        assert_eq!(Dtype::F64.byte_len(&[1 << 62]), None);
        assert_eq!(Dtype::U8.byte_len(&[1 << 33, 1 << 33]), None);
    }
}
