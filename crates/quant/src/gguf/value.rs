//! Metadata values, and their conversion to the types that callers want.

use super::cursor::Cursor;
use crate::Error;
use std::borrow::Cow;
use std::fmt;

/// The type of a metadata value or of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is the Rust type of its name")]
pub enum ValueType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl ValueType {
    const ALL: [ValueType; 13] = [
        ValueType::U8,
        ValueType::I8,
        ValueType::U16,
        ValueType::I16,
        ValueType::U32,
        ValueType::I32,
        ValueType::F32,
        ValueType::Bool,
        ValueType::String,
        ValueType::Array,
        ValueType::U64,
        ValueType::I64,
        ValueType::F64,
    ];

    /// The id in the file.
    pub const fn id(self) -> u32 {
        self as u32
    }

    pub(super) fn from_id(id: u32) -> Option<Self> {
        Self::ALL.get(id as usize).copied()
    }

    /// Bytes of a value, or `None` for strings and arrays.
    pub(super) const fn width(self) -> Option<usize> {
        match self {
            ValueType::U8 | ValueType::I8 | ValueType::Bool => Some(1),
            ValueType::U16 | ValueType::I16 => Some(2),
            ValueType::U32 | ValueType::I32 | ValueType::F32 => Some(4),
            ValueType::U64 | ValueType::I64 | ValueType::F64 => Some(8),
            ValueType::String | ValueType::Array => None,
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ValueType::U8 => "u8",
            ValueType::I8 => "i8",
            ValueType::U16 => "u16",
            ValueType::I16 => "i16",
            ValueType::U32 => "u32",
            ValueType::I32 => "i32",
            ValueType::F32 => "f32",
            ValueType::Bool => "bool",
            ValueType::String => "string",
            ValueType::Array => "array",
            ValueType::U64 => "u64",
            ValueType::I64 => "i64",
            ValueType::F64 => "f64",
        })
    }
}

/// One metadata value; strings and arrays borrow from the file.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant is the Rust type of its name")]
pub enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(&'a str),
    Array(Array<'a>),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl Value<'_> {
    /// The value's type.
    pub fn value_type(&self) -> ValueType {
        match self {
            Value::U8(_) => ValueType::U8,
            Value::I8(_) => ValueType::I8,
            Value::U16(_) => ValueType::U16,
            Value::I16(_) => ValueType::I16,
            Value::U32(_) => ValueType::U32,
            Value::I32(_) => ValueType::I32,
            Value::F32(_) => ValueType::F32,
            Value::Bool(_) => ValueType::Bool,
            Value::String(_) => ValueType::String,
            Value::Array(_) => ValueType::Array,
            Value::U64(_) => ValueType::U64,
            Value::I64(_) => ValueType::I64,
            Value::F64(_) => ValueType::F64,
        }
    }

    /// The value of an integer of any width, else `None`.
    fn integer(&self) -> Option<i128> {
        Some(match *self {
            Value::U8(v) => v.into(),
            Value::I8(v) => v.into(),
            Value::U16(v) => v.into(),
            Value::I16(v) => v.into(),
            Value::U32(v) => v.into(),
            Value::I32(v) => v.into(),
            Value::U64(v) => v.into(),
            Value::I64(v) => v.into(),
            _ => return None,
        })
    }

    /// Appends the value as version 3 stores it, without its type id.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::U8(v) => out.push(*v),
            Value::I8(v) => out.extend(v.to_le_bytes()),
            Value::U16(v) => out.extend(v.to_le_bytes()),
            Value::I16(v) => out.extend(v.to_le_bytes()),
            Value::U32(v) => out.extend(v.to_le_bytes()),
            Value::I32(v) => out.extend(v.to_le_bytes()),
            Value::F32(v) => out.extend(v.to_le_bytes()),
            Value::Bool(v) => out.push(u8::from(*v)),
            Value::String(v) => write_str(out, v),
            Value::Array(v) => v.write(out),
            Value::U64(v) => out.extend(v.to_le_bytes()),
            Value::I64(v) => out.extend(v.to_le_bytes()),
            Value::F64(v) => out.extend(v.to_le_bytes()),
        }
    }
}

/// Type, and for scalars the value: `u32 7`, `array of 3 string`.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ty = self.value_type();
        match self {
            Value::F32(v) => write!(f, "{ty} {v}"),
            Value::F64(v) => write!(f, "{ty} {v}"),
            Value::Bool(v) => write!(f, "{ty} {v}"),
            // A string may be as long as the file.
            Value::String(v) => write!(f, "{ty} of {} bytes", v.len()),
            Value::Array(v) => write!(f, "{ty} of {} {}", v.len, v.element_type),
            _ => write!(f, "{ty} {}", self.integer().unwrap_or_default()),
        }
    }
}

/// An array of a metadata value, kept in its stored form: no heap however many elements it has.
#[derive(Clone, Debug)]
pub struct Array<'a> {
    element_type: ValueType,
    len: usize,
    bytes: Cow<'a, [u8]>,
    /// Lengths of strings have 8 bytes (version 2 and later) instead of 4.
    wide: bool,
}

impl Array<'_> {
    /// The type of the elements.
    pub fn element_type(&self) -> ValueType {
        self.element_type
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the array has no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'_>> {
        elements(&self.bytes, self.element_type, self.len, self.wide)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.element_type.id().to_le_bytes());
        out.extend((self.len as u64).to_le_bytes());
        if self.wide {
            out.extend_from_slice(&self.bytes);
        } else {
            self.iter().for_each(|value| value.write(out));
        }
    }
}

/// Equal if the elements are, whichever version of the format they come from.
impl PartialEq for Array<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.element_type == other.element_type && self.len == other.len && self.iter().eq(other.iter())
    }
}

/// Walks `len` stored elements. The bytes were checked when the file was opened; should they have changed under a
/// mapping since, the walk ends early.
fn elements(bytes: &[u8], ty: ValueType, len: usize, wide: bool) -> impl Iterator<Item = Value<'_>> {
    let mut cursor = Cursor::new(bytes, wide);
    (0..len).map_while(move |_| scalar(&mut cursor, ty, &"array element").ok())
}

/// Reads a value that is not an array.
pub(super) fn scalar<'a>(cursor: &mut Cursor<'a>, ty: ValueType, what: &dyn fmt::Display) -> Result<Value<'a>, Error> {
    Ok(match ty {
        ValueType::U8 => Value::U8(cursor.take(1, what)?[0]),
        ValueType::I8 => Value::I8(cursor.take(1, what)?[0] as i8),
        ValueType::U16 => Value::U16(u16::from_le_bytes(cursor.array(what)?)),
        ValueType::I16 => Value::I16(i16::from_le_bytes(cursor.array(what)?)),
        ValueType::U32 => Value::U32(cursor.u32(what)?),
        ValueType::I32 => Value::I32(i32::from_le_bytes(cursor.array(what)?)),
        ValueType::F32 => Value::F32(f32::from_le_bytes(cursor.array(what)?)),
        ValueType::Bool => match cursor.take(1, what)?[0] {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            byte => {
                return Err(Error::Corrupt { what: what.to_string(), detail: format!("bool is {byte}, not 0 or 1") });
            }
        },
        ValueType::String => Value::String(cursor.str(u64::MAX, what)?),
        ValueType::U64 => Value::U64(cursor.u64(what)?),
        ValueType::I64 => Value::I64(i64::from_le_bytes(cursor.array(what)?)),
        ValueType::F64 => Value::F64(f64::from_le_bytes(cursor.array(what)?)),
        ValueType::Array => return Err(nested(what)),
    })
}

/// Reads a value of any type, checking every element.
pub(super) fn read<'a>(cursor: &mut Cursor<'a>, ty: ValueType, what: &dyn fmt::Display) -> Result<Value<'a>, Error> {
    if ty != ValueType::Array {
        return scalar(cursor, ty, what);
    }
    let element_type = element_type(cursor, what)?;
    if element_type == ValueType::Array {
        return Err(nested(what));
    }
    let min_bytes = element_type.width().unwrap_or(cursor.count_bytes());
    let len = cursor.count_of(min_bytes, format_args!("elements of {what}"))?;
    let wide = cursor.is_wide();
    let bytes = match element_type.width() {
        Some(width) if element_type != ValueType::Bool => cursor.take((len * width) as u64, what)?,
        _ => {
            let mut ahead = cursor.clone();
            for _ in 0..len {
                scalar(&mut ahead, element_type, what)?;
            }
            cursor.take((ahead.pos() - cursor.pos()) as u64, what)?
        }
    };
    Ok(Value::Array(Array { element_type, len, bytes: Cow::Borrowed(bytes), wide }))
}

fn nested(what: &dyn fmt::Display) -> Error {
    Error::Corrupt { what: what.to_string(), detail: "an array of arrays, which GGUF readers do not support".to_string() }
}

fn element_type(cursor: &mut Cursor<'_>, what: &dyn fmt::Display) -> Result<ValueType, Error> {
    let id = cursor.u32(format_args!("element type of {what}"))?;
    ValueType::from_id(id).ok_or_else(|| unknown_type(id, &format_args!("elements of {what}")))
}

pub(super) fn unknown_type(id: u32, what: &dyn fmt::Display) -> Error {
    Error::Corrupt { what: what.to_string(), detail: format!("value type {id} is unknown; known are 0 to 12") }
}

pub(super) fn write_str(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

macro_rules! scalar_values {
    ($($ty:ty => $variant:ident),*) => { $(
        impl From<$ty> for Value<'_> {
            fn from(v: $ty) -> Self {
                Value::$variant(v)
            }
        }
        impl From<&[$ty]> for Value<'_> {
            fn from(values: &[$ty]) -> Self {
                let mut bytes = Vec::with_capacity(size_of_val(values));
                values.iter().for_each(|&v| Value::from(v).write(&mut bytes));
                array(ValueType::$variant, values.len(), bytes)
            }
        }
    )* };
}
scalar_values!(u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, f32 => F32, bool => Bool,
    u64 => U64, i64 => I64, f64 => F64);

impl<'a> From<&'a str> for Value<'a> {
    fn from(v: &'a str) -> Self {
        Value::String(v)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(v: &'a String) -> Self {
        Value::String(v)
    }
}

impl From<&[String]> for Value<'_> {
    fn from(values: &[String]) -> Self {
        strings(values.iter().map(String::as_str))
    }
}

impl From<&[&str]> for Value<'_> {
    fn from(values: &[&str]) -> Self {
        strings(values.iter().copied())
    }
}

fn strings<'a, 's>(values: impl ExactSizeIterator<Item = &'s str>) -> Value<'a> {
    let mut bytes = Vec::new();
    let len = values.len();
    values.for_each(|v| write_str(&mut bytes, v));
    array(ValueType::String, len, bytes)
}

fn array<'a>(element_type: ValueType, len: usize, bytes: Vec<u8>) -> Value<'a> {
    Value::Array(Array { element_type, len, bytes: Cow::Owned(bytes), wide: true })
}

/// Types that a metadata value converts to. Integers convert when the value fits, whatever width the file chose.
pub trait FromValue<'a>: Sized {
    /// The wanted type, for messages: `u32`, `an array of f32`.
    fn want() -> String;

    /// The value in this type, or `None`.
    fn from_value(value: &Value<'a>) -> Option<Self>;
}

macro_rules! integers {
    ($($ty:ty)*) => { $(
        impl<'a> FromValue<'a> for $ty {
            fn want() -> String {
                stringify!($ty).to_string()
            }
            fn from_value(value: &Value<'a>) -> Option<Self> {
                value.integer()?.try_into().ok()
            }
        }
    )* };
}
integers!(u8 i8 u16 i16 u32 i32 u64 i64 usize);

impl<'a> FromValue<'a> for f32 {
    fn want() -> String {
        "f32".to_string()
    }
    fn from_value(value: &Value<'a>) -> Option<Self> {
        match value {
            Value::F32(v) => Some(*v),
            Value::F64(v) => Some(*v as f32),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for bool {
    fn want() -> String {
        "bool".to_string()
    }
    fn from_value(value: &Value<'a>) -> Option<Self> {
        match value {
            Value::Bool(v) => Some(*v),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a str {
    fn want() -> String {
        "string".to_string()
    }
    fn from_value(value: &Value<'a>) -> Option<Self> {
        match value {
            Value::String(v) => Some(v),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for String {
    fn want() -> String {
        "string".to_string()
    }
    fn from_value(value: &Value<'a>) -> Option<Self> {
        <&str>::from_value(value).map(str::to_string)
    }
}

impl<'a> FromValue<'a> for Array<'a> {
    fn want() -> String {
        "an array".to_string()
    }
    fn from_value(value: &Value<'a>) -> Option<Self> {
        match value {
            Value::Array(array) => Some(array.clone()),
            _ => None,
        }
    }
}

/// Collects an array. Every element has taken at least its type's bytes in the file (a string 8, or 4 in version 1), so
/// the heap used is a small multiple of the file.
impl<'a, T: FromValue<'a>> FromValue<'a> for Vec<T> {
    fn want() -> String {
        format!("an array of {}", T::want())
    }
    fn from_value(value: &Value<'a>) -> Option<Self> {
        let Value::Array(Array { element_type, len, bytes, wide }) = value else {
            return None;
        };
        // Only a borrowed array can hand out strings that live as long as the file.
        let Cow::Borrowed(bytes) = bytes else {
            return None;
        };
        let mut out = Vec::with_capacity(*len);
        for element in elements(bytes, *element_type, *len, *wide) {
            out.push(T::from_value(&element)?);
        }
        (out.len() == *len).then_some(out)
    }
}
