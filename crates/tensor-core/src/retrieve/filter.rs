//! Predicates over attributes, evaluated to a set of rows.

use super::{Bitmap, Column, Columns};
use std::collections::HashSet;
use std::ops::Bound;

/// What a column is compared with.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Value {
    /// For a column of numbers. Serialized as its bits, since JSON has no infinity.
    F32(#[serde(with = "bits")] f32),
    /// For a column of integers.
    I64(i64),
    /// A category, or a tag that must be in the row's set.
    Category(u32),
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Value::F32(_) => "f32",
            Value::I64(_) => "i64",
            Value::Category(_) => "category",
        }
    }
}

/// A tree of predicates.
///
/// ```
/// use scant_tensor_core::retrieve::{Column, Columns, Filter, Value};
/// let columns = Columns::from([
///     ("price", Column::F32(vec![5.0, f32::NAN, 20.0])),
///     ("tags", Column::Tags(vec![vec![1, 2], vec![2], vec![]])),
/// ])?;
/// let cheap = Filter::at_most("price", Value::F32(10.0));
/// assert_eq!(cheap.rows(&columns, &[7, 8, 9])?.iter().collect::<Vec<_>>(), [0]);
/// let tagged = Filter::Eq("tags".into(), Value::Category(2));
/// let both = Filter::And(vec![tagged, Filter::Not(Box::new(Filter::Ids([7].into())))]);
/// assert_eq!(both.rows(&columns, &[7, 8, 9])?.iter().collect::<Vec<_>>(), [1]);
/// # Ok::<(), scant_tensor_core::retrieve::FilterError>(())
/// ```
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Filter {
    /// The column equals the value; a set of tags contains it.
    Eq(String, Value),
    /// The column equals one of the values.
    In(String, Vec<Value>),
    /// The column lies between the bounds; not for categories and tags, which have no order.
    Range(String, Bound<Value>, Bound<Value>),
    /// All hold; true without any.
    And(Vec<Filter>),
    /// One holds; false without any.
    Or(Vec<Filter>),
    /// Does not hold. Set algebra: `Not` of a comparison with a missing number is true.
    Not(Box<Filter>),
    /// The row's id is one of these.
    Ids(HashSet<u64>),
    /// The rows of a set that the caller made. It means nothing to another index, so it is not serialized.
    #[serde(skip)]
    Rows(Bitmap),
}

/// A number as its bits.
mod bits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(x: &f32, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u32(x.to_bits())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
        u32::deserialize(from).map(f32::from_bits)
    }
}

/// Why a predicate cannot be evaluated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// No such column.
    #[error("there is no attribute column `{name}`")]
    UnknownColumn {
        /// What was asked for.
        name: String,
    },
    /// A value of another type than the column's.
    #[error("attribute column `{column}` is of type {want}, the value of type {got}")]
    Type {
        /// The column.
        column: String,
        /// Its type.
        want: &'static str,
        /// The value's type.
        got: &'static str,
    },
    /// Ranges need an order.
    #[error("attribute column `{column}` is of type {kind}, which has no order for a range")]
    Unordered {
        /// The column.
        column: String,
        /// Its type.
        kind: &'static str,
    },
    /// Columns, or a set of rows, of another length.
    #[error("attribute column `{column}` has {got} rows, want {want}")]
    Rows {
        /// The column, or `(rows)` for a set of rows.
        column: String,
        /// Rows there must be.
        want: usize,
        /// Rows there are.
        got: usize,
    },
}

impl Filter {
    /// `column >= low`
    pub fn at_least(column: impl Into<String>, low: Value) -> Filter {
        Filter::Range(column.into(), Bound::Included(low), Bound::Unbounded)
    }

    /// `column <= high`
    pub fn at_most(column: impl Into<String>, high: Value) -> Filter {
        Filter::Range(column.into(), Bound::Unbounded, Bound::Included(high))
    }

    /// The rows for which it holds; `ids` are the rows' ids. O(rows) for each predicate.
    ///
    /// # Errors
    /// [`FilterError`] for a column that does not exist or is of another type.
    pub fn rows(&self, columns: &Columns, ids: &[u64]) -> Result<Bitmap, FilterError> {
        let n = ids.len();
        let column = |name: &str| {
            let column = columns.get(name)?;
            if column.len() == n { Ok(column) } else { Err(FilterError::Rows { column: name.to_owned(), want: n, got: column.len() }) }
        };
        match self {
            Filter::Eq(name, value) => equal(name, column(name)?, std::slice::from_ref(value)),
            Filter::In(name, values) => equal(name, column(name)?, values),
            Filter::Range(name, low, high) => range(name, column(name)?, low, high),
            Filter::And(parts) => parts.iter().try_fold(Bitmap::all(n), |mut rows, part| {
                rows.intersect(&part.rows(columns, ids)?);
                Ok(rows)
            }),
            Filter::Or(parts) => parts.iter().try_fold(Bitmap::none(n), |mut rows, part| {
                rows.unite(&part.rows(columns, ids)?);
                Ok(rows)
            }),
            Filter::Not(part) => {
                let mut rows = part.rows(columns, ids)?;
                rows.complement();
                Ok(rows)
            }
            Filter::Ids(wanted) => Ok(Bitmap::from_fn(n, |row| wanted.contains(&ids[row]))),
            Filter::Rows(rows) if rows.len() == n => Ok(rows.clone()),
            Filter::Rows(rows) => Err(FilterError::Rows { column: "(rows)".to_owned(), want: n, got: rows.len() }),
        }
    }
}

fn mismatch(name: &str, column: &Column, value: &Value) -> FilterError {
    FilterError::Type { column: name.to_owned(), want: column.kind(), got: value.kind() }
}

/// The values as the column's type.
fn typed<'v, T>(
    name: &str,
    column: &Column,
    values: impl IntoIterator<Item = &'v Value>,
    take: fn(&Value) -> Option<T>,
) -> Result<Vec<T>, FilterError> {
    values.into_iter().map(|value| take(value).ok_or_else(|| mismatch(name, column, value))).collect()
}

fn f32_of(value: &Value) -> Option<f32> {
    if let Value::F32(x) = value { Some(*x) } else { None }
}

fn i64_of(value: &Value) -> Option<i64> {
    if let Value::I64(x) = value { Some(*x) } else { None }
}

fn category_of(value: &Value) -> Option<u32> {
    if let Value::Category(x) = value { Some(*x) } else { None }
}

fn equal(name: &str, column: &Column, values: &[Value]) -> Result<Bitmap, FilterError> {
    Ok(match column {
        Column::F32(x) => {
            let wanted = typed(name, column, values, f32_of)?;
            Bitmap::from_fn(x.len(), |row| wanted.contains(&x[row]))
        }
        Column::I64(x) => {
            let wanted: HashSet<i64> = typed(name, column, values, i64_of)?.into_iter().collect();
            Bitmap::from_fn(x.len(), |row| wanted.contains(&x[row]))
        }
        Column::Category(x) => {
            let wanted: HashSet<u32> = typed(name, column, values, category_of)?.into_iter().collect();
            Bitmap::from_fn(x.len(), |row| wanted.contains(&x[row]))
        }
        Column::Tags(x) => {
            let wanted: HashSet<u32> = typed(name, column, values, category_of)?.into_iter().collect();
            Bitmap::from_fn(x.len(), |row| x[row].iter().any(|tag| wanted.contains(tag)))
        }
    })
}

fn range(name: &str, column: &Column, low: &Bound<Value>, high: &Bound<Value>) -> Result<Bitmap, FilterError> {
    /// The bound as the column's type.
    fn bound<T>(name: &str, column: &Column, bound: &Bound<Value>, take: fn(&Value) -> Option<T>) -> Result<Bound<T>, FilterError> {
        let take = |value: &Value| take(value).ok_or_else(|| mismatch(name, column, value));
        Ok(match bound {
            Bound::Included(value) => Bound::Included(take(value)?),
            Bound::Excluded(value) => Bound::Excluded(take(value)?),
            Bound::Unbounded => Bound::Unbounded,
        })
    }
    /// Plain comparisons, so that NaN in a row or in a bound matches nothing.
    fn within<T: PartialOrd>(x: &[T], low: &Bound<T>, high: &Bound<T>) -> Bitmap {
        #[expect(clippy::eq_op, reason = "false for NaN, which no open bound may let through")]
        Bitmap::from_fn(x.len(), |row| {
            let x = &x[row];
            let above = match low {
                Bound::Included(low) => x >= low,
                Bound::Excluded(low) => x > low,
                Bound::Unbounded => x == x,
            };
            let below = match high {
                Bound::Included(high) => x <= high,
                Bound::Excluded(high) => x < high,
                Bound::Unbounded => x == x,
            };
            above && below
        })
    }
    match column {
        Column::F32(x) => Ok(within(x, &bound(name, column, low, f32_of)?, &bound(name, column, high, f32_of)?)),
        Column::I64(x) => Ok(within(x, &bound(name, column, low, i64_of)?, &bound(name, column, high, i64_of)?)),
        _ => Err(FilterError::Unordered { column: name.to_owned(), kind: column.kind() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn columns(n: usize, seed: u64) -> (Columns, Vec<u64>) {
        let mut rng = crate::rng::Rng::new(seed);
        let f = (0..n).map(|_| if rng.below(5) == 0 { f32::NAN } else { rng.below(4) as f32 }).collect();
        let i = (0..n).map(|_| rng.below(4) as i64 - 2).collect();
        let c = (0..n).map(|_| rng.below(3) as u32).collect();
        let t = (0..n).map(|_| (0..rng.below(3)).map(|_| rng.below(3) as u32).collect()).collect();
        let named = [("f", Column::F32(f)), ("i", Column::I64(i)), ("c", Column::Category(c)), ("t", Column::Tags(t))];
        (Columns::from(named).unwrap(), (0..n as u64).map(|i| 10 * i).collect())
    }

    fn leaf() -> impl Strategy<Value = Filter> {
        prop_oneof![
            (0u8..4).prop_map(|v| Filter::Eq("f".into(), Value::F32(v.into()))),
            (-2i64..2).prop_map(|v| Filter::at_least("i", Value::I64(v))),
            (0u8..4).prop_map(|v| Filter::Range("f".into(), Bound::Excluded(Value::F32(v.into())), Bound::Unbounded)),
            Just(Filter::Range("f".into(), Bound::Unbounded, Bound::Unbounded)),
            prop::collection::vec(0u32..3, 0..3).prop_map(|v| Filter::In("c".into(), v.into_iter().map(Value::Category).collect())),
            (0u32..3).prop_map(|v| Filter::Eq("t".into(), Value::Category(v))),
            prop::collection::hash_set((0u64..80).prop_map(|i| 10 * i), 0..20).prop_map(Filter::Ids),
        ]
    }

    /// The meaning, row by row.
    fn holds(filter: &Filter, columns: &Columns, row: usize, id: u64) -> bool {
        let f = |name| if let Ok(Column::F32(x)) = columns.get(name) { x[row] } else { panic!() };
        match filter {
            Filter::And(parts) => parts.iter().all(|p| holds(p, columns, row, id)),
            Filter::Or(parts) => parts.iter().any(|p| holds(p, columns, row, id)),
            Filter::Not(part) => !holds(part, columns, row, id),
            Filter::Ids(ids) => ids.contains(&id),
            Filter::Eq(name, Value::F32(v)) => f(name) == *v,
            Filter::Eq(_, Value::Category(v)) => matches!(columns.get("t"), Ok(Column::Tags(t)) if t[row].contains(v)),
            Filter::In(_, v) => matches!(columns.get("c"), Ok(Column::Category(c)) if v.contains(&Value::Category(c[row]))),
            Filter::Range(_, Bound::Included(Value::I64(v)), _) => matches!(columns.get("i"), Ok(Column::I64(x)) if x[row] >= *v),
            Filter::Range(name, Bound::Excluded(Value::F32(v)), _) => f(name) > *v,
            Filter::Range(name, ..) => !f(name).is_nan(),
            _ => panic!("{filter:?}"),
        }
    }

    proptest! {
        #[test]
        fn it_is_the_algebra_of_sets(
            filter in leaf().prop_recursive(3, 12, 3, |inner| prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Filter::And),
                prop::collection::vec(inner.clone(), 0..3).prop_map(Filter::Or),
                inner.prop_map(|f| Filter::Not(Box::new(f))),
            ]),
            n in 0usize..80,
            seed in any::<u64>(),
        ) {
            let (columns, ids) = columns(n, seed);
            let rows = filter.rows(&columns, &ids).unwrap();
            prop_assert_eq!(rows, Bitmap::from_fn(n, |row| holds(&filter, &columns, row, ids[row])));
        }
    }

    #[test]
    fn a_missing_number_matches_nothing_and_types_are_checked() {
        let columns = Columns::from([("x", Column::F32(vec![f32::NAN])), ("c", Column::Category(vec![1]))]).unwrap();
        let none = Bitmap::none(1);
        assert_eq!(Filter::Eq("x".into(), Value::F32(f32::NAN)).rows(&columns, &[0]), Ok(none.clone()));
        assert_eq!(Filter::Range("x".into(), Bound::Unbounded, Bound::Unbounded).rows(&columns, &[0]), Ok(none));
        let error = Filter::Eq("y".into(), Value::I64(1)).rows(&columns, &[0]).unwrap_err();
        assert_eq!(error, FilterError::UnknownColumn { name: "y".into() });
        let error = Filter::Eq("x".into(), Value::I64(1)).rows(&columns, &[0]).unwrap_err();
        assert_eq!(error.to_string(), "attribute column `x` is of type f32, the value of type i64");
        assert!(matches!(Filter::at_most("c", Value::Category(1)).rows(&columns, &[0]), Err(FilterError::Unordered { .. })));
        assert!(matches!(Filter::Rows(Bitmap::all(2)).rows(&columns, &[0]), Err(FilterError::Rows { want: 1, got: 2, .. })));
    }
}
