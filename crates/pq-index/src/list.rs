//! The rows of one list.

use crate::beside::Spans;
use crate::model::{Encoded, Model};
use crate::norm::Side;
use crate::quantizer::Coder;
use scant_tensor_core::scan::{BLOCK, CodeBlocks};

const OF_MODEL: &str = "codes of one model have the same columns";

#[derive(Clone, Debug)]
pub(crate) struct List {
    /// The row number in the index of each place here, ascending.
    pub(crate) rows: Vec<u32>,
    pub(crate) codes: CodeBlocks,
    /// Vectors as they are, if there is no quantizer.
    pub(crate) full: Vec<f32>,
    pub(crate) factor: Option<Side>,
    pub(crate) shift: Option<Side>,
    pub(crate) norm: Option<Side>,
    /// How far codes that are summed by products are from 128 at most, of each block; empty if they are looked up.
    pub(crate) radius: Vec<f32>,
    /// How far the numbers beside the codes go.
    pub(crate) spans: Spans,
}

impl List {
    pub(crate) fn new(model: &Model) -> List {
        let sides = &model.sides;
        let [factor, shift, norm] = [sides.factor, sides.shift, sides.norm].map(|p| p.map(Side::new));
        List {
            rows: vec![],
            codes: List::blocks(model, CodeBlocks::new(List::columns(model))),
            full: vec![],
            factor,
            shift,
            norm,
            radius: vec![],
            spans: Spans::NONE,
        }
    }

    /// The key of a row whose look-ups add up to `key`; `sum` is the query's, `base` what all rows have.
    #[inline]
    pub(crate) fn key(&self, place: usize, mut key: f32, sum: f32, base: f32) -> f32 {
        if let Some(factor) = &self.factor {
            key *= factor.get(place);
        }
        if let Some(shift) = &self.shift {
            key += shift.get(place) * sum;
        }
        if let Some(norm) = &self.norm {
            key += norm.get(place);
        }
        key + base
    }

    /// Makes what bounds the rows' keys anew, from block `first` on, where rows were added.
    pub(crate) fn bound(&mut self, first: usize) {
        self.radius.truncate(first);
        if self.codes.is_in_quads() {
            self.radius.extend((first..self.codes.blocks()).map(|block| self.codes.radius(block)));
        }
        let spans = if first == 0 { Spans::NONE } else { self.spans };
        self.spans = spans.with(self, first..self.codes.blocks());
    }

    /// Whether rows differ in look-ups alone.
    pub(crate) fn is_bare(&self) -> bool {
        self.factor.is_none() && self.shift.is_none() && self.norm.is_none() && self.radius.is_empty()
    }

    pub(crate) fn columns(model: &Model) -> usize {
        model.coder.as_ref().map_or(0, |c: &Coder| c.layout().columns())
    }

    /// Blocks in the order that this model's codes are summed in.
    pub(crate) fn blocks(model: &Model, blocks: CodeBlocks) -> CodeBlocks {
        if model.coder.as_ref().is_some_and(|c| c.layout().linear) { blocks.in_quads() } else { blocks }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Appends row `i` of what was encoded (or `full`) as row `row` of the index.
    pub(crate) fn push(&mut self, model: &Model, row: u32, encoded: &Encoded, i: usize, full: &[f32]) {
        self.rows.push(row);
        let Some(coder) = &model.coder else {
            self.full.extend_from_slice(full);
            return;
        };
        let layout = coder.layout();
        let mut bytes = vec![0; layout.columns()];
        layout.pack(&encoded.codes[i * layout.tables..][..layout.tables], &mut bytes);
        self.codes.push(&bytes).expect(OF_MODEL);
        for (side, values) in [(&mut self.factor, &encoded.factor), (&mut self.shift, &encoded.shift), (&mut self.norm, &encoded.norm)] {
            if let Some(side) = side {
                side.push(values[i]);
            }
        }
    }

    /// Keeps some places, and gives their rows new numbers.
    pub(crate) fn keep(&mut self, places: &[usize], dim: usize, number: impl Fn(u32) -> u32) {
        self.rows = places.iter().map(|p| number(self.rows[*p])).collect();
        if self.full.is_empty() {
            let (mut kept, mut code) = (CodeBlocks::new(self.codes.columns()), vec![0; self.codes.columns()]);
            if self.codes.is_in_quads() {
                kept = kept.in_quads();
            }
            for place in places {
                self.codes.get(*place, &mut code).and_then(|()| kept.push(&code)).expect("a place of this list");
            }
            self.codes = kept;
        } else {
            self.full = places.iter().flat_map(|p| self.full[p * dim..][..dim].to_vec()).collect();
        }
        for side in [&mut self.factor, &mut self.shift, &mut self.norm].into_iter().flatten() {
            side.keep(places);
        }
        self.bound(0);
    }

    /// Appends another list of the same model, whose rows come after `first`.
    pub(crate) fn extend(&mut self, other: &List, first: u32) {
        let before = self.len();
        self.rows.extend(other.rows.iter().map(|row| first + row));
        self.codes.extend_from(&other.codes).expect(OF_MODEL);
        self.full.extend_from_slice(&other.full);
        let mine = [&mut self.factor, &mut self.shift, &mut self.norm];
        for (mine, theirs) in mine.into_iter().zip([&other.factor, &other.shift, &other.norm]) {
            if let (Some(mine), Some(theirs)) = (mine, theirs) {
                mine.extend(theirs);
            }
        }
        self.bound(before / BLOCK);
    }

    /// Bytes of codes, vectors and the numbers beside them, without padding of the last block.
    pub(crate) fn bytes(&self, columns: usize) -> usize {
        let sides = [&self.factor, &self.shift, &self.norm].into_iter().flatten().map(Side::bytes).sum::<usize>();
        self.len() * columns + 4 * self.full.len() + sides
    }
}
