//! Filters over a byte for each row and attribute: numbers lie in cells, and only rows of cells that a bound cuts are compared as they are.

use scant_tensor_core::isa::Isa;
use scant_tensor_core::retrieve::{Bitmap, Column, Columns, Filter, FilterError};
use scant_tensor_core::scan::{CodeBlocks, Sink, lut8};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Cells of a column; one code more is for NaN.
const CELLS: usize = 255;

/// Columns, and the cells of those that hold numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    columns: Columns,
    cells: BTreeMap<String, NumberCells>,
}

/// Cells of about equally many rows. Equal numbers are in one cell.
#[derive(Clone, Debug)]
struct NumberCells {
    /// The least and the largest number of each cell, under the column's own name.
    least: Columns,
    most: Columns,
    /// One column of codes.
    codes: CodeBlocks,
}

/// What a row's cell says about it; sums of a scan.
const ALL: u8 = 0;
const SOME: u8 = 1;
const NONE: u8 = 2;

impl Attributes {
    pub(super) fn new(columns: Columns) -> Attributes {
        let cells = |(name, column): (&str, &Column)| NumberCells::new(name, column).map(|cells| (name.to_owned(), cells));
        Attributes { cells: columns.iter().filter_map(cells).collect(), columns }
    }

    pub(super) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Bytes of the cells.
    pub(super) fn cell_bytes(&self) -> usize {
        self.cells.values().map(|cells| cells.codes.as_bytes().len()).sum()
    }

    /// As [`Filter::rows`], and adds the bytes of cells that were looked at to `bytes`.
    pub(super) fn rows(&self, filter: &Filter, ids: &[u64], bytes: &mut u64) -> Result<Bitmap, FilterError> {
        match filter {
            Filter::Range(name, low, high) if self.cells.contains_key(name) => self.range(name, [*low, *high], filter, ids, bytes),
            Filter::Eq(name, value) if self.cells.contains_key(name) => self.range(name, [Bound::Included(*value); 2], filter, ids, bytes),
            Filter::In(name, values) if self.cells.contains_key(name) => {
                let any = values.iter().map(|value| Filter::Eq(name.clone(), *value)).collect();
                self.rows(&Filter::Or(any), ids, bytes)
            }
            Filter::And(parts) => parts.iter().try_fold(Bitmap::all(ids.len()), |mut rows, part| {
                rows.intersect(&self.rows(part, ids, bytes)?);
                Ok(rows)
            }),
            Filter::Or(parts) => parts.iter().try_fold(Bitmap::none(ids.len()), |mut rows, part| {
                rows.unite(&self.rows(part, ids, bytes)?);
                Ok(rows)
            }),
            Filter::Not(part) => {
                let mut rows = self.rows(part, ids, bytes)?;
                rows.complement();
                Ok(rows)
            }
            _ => filter.rows(&self.columns, ids),
        }
    }

    fn range(
        &self,
        name: &str,
        [low, high]: [Bound<scant_tensor_core::retrieve::Value>; 2],
        filter: &Filter,
        ids: &[u64],
        bytes: &mut u64,
    ) -> Result<Bitmap, FilterError> {
        let cells = &self.cells[name];
        let count = cells.least.rows();
        let none = vec![0; count];
        let above = |cells: &Columns| Filter::Range(name.to_owned(), low, Bound::Unbounded).rows(cells, &none);
        let below = |cells: &Columns| Filter::Range(name.to_owned(), Bound::Unbounded, high).rows(cells, &none);
        // A cell can match if its largest number is high enough and its least low enough; all of it does if the least is and the largest is.
        let (mut some, mut all) = (above(&cells.most)?, above(&cells.least)?);
        some.intersect(&below(&cells.least)?);
        all.intersect(&below(&cells.most)?);
        let mut table = [NONE; 256];
        for (cell, entry) in table.iter_mut().enumerate().take(count) {
            *entry = if all.contains(cell) {
                ALL
            } else if some.contains(cell) {
                SOME
            } else {
                NONE
            };
        }
        let mut found = Matches { words: vec![0; cells.codes.blocks()], unsure: vec![] };
        lut8::scan_u8(Isa::best(), &cells.codes, 0..cells.codes.blocks(), &[&[table]], None, &mut found);
        *bytes += cells.codes.as_bytes().len() as u64;
        let mut rows = Bitmap::from_words(ids.len(), found.words).expect("a word for each block, without rows that are not there");
        if !found.unsure.is_empty() {
            let theirs: Vec<u64> = found.unsure.iter().map(|row| ids[*row]).collect();
            let exact = filter.rows(&self.columns.gather(&found.unsure), &theirs)?;
            found.unsure.iter().enumerate().filter(|(i, _)| !exact.contains(*i)).for_each(|(_, row)| rows.remove(*row));
        }
        Ok(rows)
    }
}

/// Rows of cells that match, in part or in whole.
struct Matches {
    words: Vec<u64>,
    /// Rows of cells that match in part.
    unsure: Vec<usize>,
}

impl Sink<u8> for Matches {
    fn threshold(&self, _: usize, _: usize) -> u8 {
        SOME
    }

    fn block(&mut self, _: usize, block: usize, mask: u64, sums: &[u8; 64]) {
        self.words[block] = mask;
        let lanes = (0..64).filter(|lane| mask >> lane & 1 == 1 && sums[*lane] == SOME);
        self.unsure.extend(lanes.map(|lane| 64 * block + lane));
    }
}

impl NumberCells {
    /// `None` for a column that holds no numbers.
    fn new(name: &str, column: &Column) -> Option<NumberCells> {
        match column {
            Column::F32(x) => Some(NumberCells::of(name, x, |a, b| a.total_cmp(b), |v| v.is_nan(), Column::F32)),
            Column::I64(x) => Some(NumberCells::of(name, x, |a, b| a.cmp(b), |_| false, Column::I64)),
            _ => None,
        }
    }

    fn of<T: Copy + PartialOrd>(
        name: &str,
        x: &[T],
        order: fn(&T, &T) -> std::cmp::Ordering,
        missing: fn(&T) -> bool,
        column: fn(Vec<T>) -> Column,
    ) -> NumberCells {
        let mut sorted: Vec<T> = x.iter().copied().filter(|v| !missing(v)).collect();
        sorted.sort_unstable_by(order);
        let (mut least, mut most) = (vec![], vec![]);
        for cell in 1..=CELLS {
            let end = cell * sorted.len() / CELLS;
            // Only where something new begins, so that equal numbers stay together.
            let begin = most.last().map_or(0, |last| sorted.partition_point(|v| v <= last));
            if end > begin {
                least.push(sorted[begin]);
                most.push(sorted[end - 1]);
            }
        }
        let mut codes = CodeBlocks::new(1);
        for v in x {
            let cell = if missing(v) { CELLS } else { most.partition_point(|most| most < v) };
            codes.push(&[cell as u8]).expect("one column");
        }
        let named = |values| Columns::from([(name, column(values))]).expect("one column has one length");
        NumberCells { least: named(least), most: named(most), codes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use scant_tensor_core::retrieve::Value;
    use scant_tensor_core::rng::Rng;

    proptest! {
        #[test]
        fn cells_change_no_result(n in 0usize..900, spread in 1usize..2000, seed in any::<u64>()) {
            let mut rng = Rng::new(seed);
            let mut number = || rng.below(spread) as f32 - 0.5 * spread as f32;
            let f = (0..n).map(|i| if i % 7 == 3 { f32::NAN } else { number() }).collect();
            let i = (0..n).map(|_| number() as i64).collect();
            let c = (0..n).map(|i| i as u32 % 3).collect();
            let columns = Columns::from([("f", Column::F32(f)), ("i", Column::I64(i)), ("c", Column::Category(c))]).unwrap();
            let ids: Vec<u64> = (0..n as u64).collect();
            let attributes = Attributes::new(columns.clone());
            let (a, b) = (number(), number());
            let filters = [
                Filter::Range("f".into(), Bound::Excluded(Value::F32(a)), Bound::Included(Value::F32(b))),
                Filter::Range("i".into(), Bound::Included(Value::I64(a as i64)), Bound::Excluded(Value::I64(b as i64))),
                Filter::In("i".into(), vec![Value::I64(a as i64), Value::I64(b as i64)]),
                Filter::Eq("f".into(), Value::F32(f32::NAN)),
                Filter::Range("f".into(), Bound::Unbounded, Bound::Unbounded),
                Filter::Eq("c".into(), Value::Category(1)),
            ];
            let all = [Filter::And(filters[..2].to_vec()), Filter::Or(filters.to_vec()), Filter::Not(Box::new(filters[0].clone()))];
            for filter in filters.iter().chain(&all) {
                let mut bytes = 0;
                prop_assert_eq!(attributes.rows(filter, &ids, &mut bytes), filter.rows(&columns, &ids), "{:?}", filter);
            }
        }
    }

    #[test]
    fn a_wrong_type_is_refused_as_without_cells() {
        let columns = Columns::from([("f", Column::F32(vec![1.0]))]).unwrap();
        let filter = Filter::Eq("f".into(), Value::I64(1));
        let error = Attributes::new(columns.clone()).rows(&filter, &[0], &mut 0).unwrap_err();
        assert_eq!(Err(error), filter.rows(&columns, &[0]));
    }
}
