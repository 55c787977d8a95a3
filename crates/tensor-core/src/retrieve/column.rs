//! Attributes of rows, column by column.

use super::filter::FilterError;
use std::collections::BTreeMap;

/// The attribute of every row.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Column {
    /// Numbers; NaN stands for none and matches nothing.
    F32(Vec<f32>),
    /// Integers.
    I64(Vec<i64>),
    /// A category each, as the caller's own number.
    Category(Vec<u32>),
    /// A set of tags each.
    Tags(Vec<Vec<u32>>),
}

impl Column {
    /// Rows.
    pub fn len(&self) -> usize {
        match self {
            Column::F32(x) => x.len(),
            Column::I64(x) => x.len(),
            Column::Category(x) => x.len(),
            Column::Tags(x) => x.len(),
        }
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type's name in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Column::F32(_) => "f32",
            Column::I64(_) => "i64",
            Column::Category(_) => "category",
            Column::Tags(_) => "tags",
        }
    }

    /// An empty column of the same type.
    fn empty(&self) -> Column {
        match self {
            Column::F32(_) => Column::F32(vec![]),
            Column::I64(_) => Column::I64(vec![]),
            Column::Category(_) => Column::Category(vec![]),
            Column::Tags(_) => Column::Tags(vec![]),
        }
    }

    /// Rows in the order of `rows`.
    fn gather(&self, rows: &[usize]) -> Column {
        fn of<T: Clone>(x: &[T], rows: &[usize]) -> Vec<T> {
            rows.iter().map(|i| x[*i].clone()).collect()
        }
        match self {
            Column::F32(x) => Column::F32(of(x, rows)),
            Column::I64(x) => Column::I64(of(x, rows)),
            Column::Category(x) => Column::Category(of(x, rows)),
            Column::Tags(x) => Column::Tags(of(x, rows)),
        }
    }
}

/// Columns of equal length, by name.
///
/// ```
/// use scant_tensor_core::retrieve::{Column, Columns};
/// let mut columns = Columns::default();
/// columns.append(&Columns::from([("year", Column::I64(vec![1999, 2024]))])?)?;
/// assert_eq!(columns.rows(), 2);
/// # Ok::<(), scant_tensor_core::retrieve::FilterError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    columns: BTreeMap<String, Column>,
    rows: usize,
}

impl Columns {
    /// Named columns.
    ///
    /// # Errors
    /// [`FilterError::Rows`] if lengths differ.
    pub fn from<N: Into<String>>(columns: impl IntoIterator<Item = (N, Column)>) -> Result<Columns, FilterError> {
        let columns: BTreeMap<String, Column> = columns.into_iter().map(|(name, column)| (name.into(), column)).collect();
        let rows = columns.values().next().map_or(0, Column::len);
        match columns.iter().find(|(_, column)| column.len() != rows) {
            Some((name, column)) => Err(FilterError::Rows { column: name.clone(), want: rows, got: column.len() }),
            None => Ok(Columns { columns, rows }),
        }
    }

    /// Rows of each column; 0 without columns.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// True without columns.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Names and columns, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Column)> {
        self.columns.iter().map(|(name, column)| (name.as_str(), column))
    }

    /// A column.
    ///
    /// # Errors
    /// [`FilterError::UnknownColumn`].
    pub fn get(&self, name: &str) -> Result<&Column, FilterError> {
        self.columns.get(name).ok_or_else(|| FilterError::UnknownColumn { name: name.to_owned() })
    }

    /// Appends the rows of `other`, which must have the same columns; without rows here, takes it over.
    ///
    /// # Errors
    /// [`FilterError::UnknownColumn`] or [`FilterError::Type`]; then nothing was appended.
    pub fn append(&mut self, other: &Columns) -> Result<(), FilterError> {
        if self.columns.is_empty() && self.rows == 0 {
            *self = Columns { columns: other.columns.iter().map(|(name, c)| (name.clone(), c.empty())).collect(), rows: 0 };
        }
        self.check(other)?;
        for (mine, theirs) in self.columns.values_mut().zip(other.columns.values()) {
            match (mine, theirs) {
                (Column::F32(a), Column::F32(b)) => a.extend_from_slice(b),
                (Column::I64(a), Column::I64(b)) => a.extend_from_slice(b),
                (Column::Category(a), Column::Category(b)) => a.extend_from_slice(b),
                (Column::Tags(a), Column::Tags(b)) => a.extend_from_slice(b),
                _ => {} // `check` has compared the types
            }
        }
        self.rows += other.rows;
        Ok(())
    }

    /// Fails unless `other` has the same columns of the same types.
    ///
    /// # Errors
    /// [`FilterError::UnknownColumn`] or [`FilterError::Type`].
    pub fn check(&self, other: &Columns) -> Result<(), FilterError> {
        for (name, column) in &self.columns {
            let theirs = other.get(name)?;
            if std::mem::discriminant(theirs) != std::mem::discriminant(column) {
                return Err(FilterError::Type { column: name.clone(), want: column.kind(), got: theirs.kind() });
            }
        }
        other.columns.keys().try_for_each(|name| self.get(name).map(|_| ()))
    }

    /// The rows `rows`, in that order.
    ///
    /// # Panics
    /// If one does not exist.
    pub fn gather(&self, rows: &[usize]) -> Columns {
        let columns = self.columns.iter().map(|(name, column)| (name.clone(), column.gather(rows))).collect::<BTreeMap<_, _>>();
        let rows = if columns.is_empty() { 0 } else { rows.len() };
        Columns { columns, rows }
    }
}
