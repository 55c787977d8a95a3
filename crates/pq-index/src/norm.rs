//! Numbers that stand beside codes: the factor and the norm of a vector, in one byte or in four.

use crate::error::Error;
use half::f16;
use half::slice::HalfFloatSliceExt;
use scant_tensor_core::file::{Bytes, Dtype, File, Writer};
use scant_tensor_core::scan::BLOCK;

/// How a number is stored.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", tag = "stored")]
pub(crate) enum Precision {
    F32,
    /// Half precision, of the number over a scale, for ranges too wide for a byte.
    Half {
        scale: f32,
    },
    /// A byte on a logarithmic grid between two positive bounds.
    Log8 {
        low: f32,
        high: f32,
    },
}

impl Precision {
    /// A byte each, for positive numbers like these, or two where the steps of a byte would be above 1 %; those outside their range are held at
    /// its ends.
    pub(crate) fn logarithmic(values: &[f32]) -> Precision {
        let positive = values.iter().copied().filter(|v| *v > 0.0 && v.is_finite());
        let (low, high) = positive.fold((f32::INFINITY, 0.0f32), |(l, h), v| (l.min(v), h.max(v)));
        if low > high {
            return Precision::Log8 { low: 1.0, high: 1.0 };
        }
        let step = (f64::from(high).ln() - f64::from(low).ln()) / 255.0;
        let scale = high / 32768.0;
        if step > 0.01 && scale.is_normal() { Precision::Half { scale } } else { Precision::Log8 { low, high } }
    }

    pub(crate) fn size(self) -> usize {
        match self {
            Precision::F32 => 4,
            Precision::Half { .. } => 2,
            Precision::Log8 { .. } => 1,
        }
    }

    pub(crate) fn check(self, file: &str) -> Result<(), Error> {
        match self {
            Precision::Log8 { low, high } if !(low > 0.0 && low <= high && high.is_finite()) => Err(Error::Corrupt {
                file: file.into(),
                field: "the bounds of a logarithmic grid",
                want: "0 < low <= high".to_owned(),
                got: format!("{low} and {high}"),
            }),
            Precision::Half { scale } if !(scale > 0.0 && scale.is_finite()) => Err(Error::Corrupt {
                file: file.into(),
                field: "the scale of half-precision numbers",
                want: "a positive number".to_owned(),
                got: scale.to_string(),
            }),
            _ => Ok(()),
        }
    }

    fn table(self) -> Vec<f32> {
        match self {
            Precision::F32 | Precision::Half { .. } => vec![],
            Precision::Log8 { low, high } => {
                let (low, span) = (f64::from(low).ln(), f64::from(high).ln() - f64::from(low).ln());
                (0..256).map(|i| (low + span * f64::from(i) / 255.0).exp() as f32).collect()
            }
        }
    }
}

/// A number for each row of a list.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    precision: Precision,
    table: Vec<f32>,
    data: Vec<u8>,
}

impl Side {
    pub(crate) fn new(precision: Precision) -> Side {
        Side { precision, table: precision.table(), data: vec![] }
    }

    pub(crate) fn push(&mut self, value: f32) {
        match self.precision {
            Precision::F32 => self.data.extend_from_slice(&value.to_le_bytes()),
            Precision::Half { scale } => {
                let stored = f16::from_f32((value / scale).clamp(-65504.0, 65504.0));
                self.data.extend_from_slice(&stored.to_le_bytes());
            }
            Precision::Log8 { low, high } => {
                let span = f64::from(high).ln() - f64::from(low).ln();
                let place = if span > 0.0 { (f64::from(value.clamp(low, high)).ln() - f64::from(low).ln()) / span } else { 0.0 };
                self.data.push((255.0 * place).round() as u8);
            }
        }
    }

    /// What was pushed, as far as it was kept.
    #[inline]
    pub(crate) fn get(&self, row: usize) -> f32 {
        match self.precision {
            Precision::F32 => self.data.as_chunks().0.get(row).map_or(0.0, |b| f32::from_le_bytes(*b)),
            Precision::Half { scale } => self.data.as_chunks().0.get(row).map_or(0.0, |b| f16::from_le_bytes(*b).to_f32() * scale),
            Precision::Log8 { .. } => self.table[usize::from(self.data[row])],
        }
    }

    /// The numbers of a block of rows, those past the last one as they were.
    #[inline(always)]
    pub(crate) fn fill(&self, first: usize, out: &mut [f32; BLOCK]) {
        let data = &self.data[first * self.precision.size()..];
        match self.precision {
            Precision::F32 => out.iter_mut().zip(data.as_chunks().0).for_each(|(out, b)| *out = f32::from_le_bytes(*b)),
            Precision::Half { scale } => {
                let mut halves = [f16::ZERO; BLOCK];
                halves.iter_mut().zip(data.as_chunks().0).for_each(|(half, b)| *half = f16::from_le_bytes(*b));
                halves.convert_to_f32_slice(out);
                out.iter_mut().for_each(|out| *out *= scale);
            }
            Precision::Log8 { .. } => {
                let Some(table) = self.table.first_chunk::<256>() else { return };
                out.iter_mut().zip(data).for_each(|(out, code)| *out = table[usize::from(*code)]);
            }
        }
    }

    pub(crate) fn keep(&mut self, rows: &[usize]) {
        let size = self.precision.size();
        self.data = rows.iter().flat_map(|row| self.data[row * size..][..size].to_vec()).collect();
    }

    pub(crate) fn extend(&mut self, other: &Side) {
        self.data.extend_from_slice(&other.data);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Writes those of all lists, one after the other.
    pub(crate) fn save<'a>(sides: impl Iterator<Item = &'a Side>, name: &str, writer: &mut Writer<'_>) -> Result<(), Error> {
        let data: Vec<u8> = sides.flat_map(|side| side.data.iter().copied()).collect();
        Ok(writer.add(name, Dtype::U8, [data.len()], data)?)
    }

    pub(crate) fn load(file: &File, name: &str, precision: Precision, rows: usize) -> Result<Bytes, Error> {
        precision.check(name)?;
        Ok(file.expect(name, Dtype::U8, [rows.saturating_mul(precision.size())])?)
    }

    /// The rows of one list, out of what [`load`](Self::load) gave.
    pub(crate) fn part(bytes: &Bytes, precision: Precision, begin: usize, end: usize) -> Side {
        let size = precision.size();
        Side { precision, table: precision.table(), data: bytes[begin * size..end * size].to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_on_the_logarithmic_grid_is_within_a_percent_and_two_bytes_where_it_would_not_be() {
        for growth in [1.002f32, 1.01] {
            let values: Vec<f32> = (0..1000).map(|i| 0.5 * growth.powi(i)).collect();
            let mut side = Side::new(Precision::logarithmic(&values));
            values.iter().for_each(|v| side.push(*v));
            for (row, v) in values.iter().enumerate() {
                assert!((side.get(row) / v - 1.0).abs() < 0.01, "{v}");
            }
            assert_eq!(side.bytes(), if growth == 1.002 { 1000 } else { 2000 });
        }
        let mut one = Side::new(Precision::logarithmic(&[]));
        one.push(7.0);
        assert_eq!(one.get(0), 1.0);
    }
}
