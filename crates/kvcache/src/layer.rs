//! The seam between an engine and what holds its keys and values.

use crate::{Error, Geometry};
use ndarray::{ArrayView3, ArrayViewMut2};
use scant_tensor_core::Ctx;
use std::ops::Range;

/// One layer's keys and values of one sequence: what an engine drives, whatever the entries are made of and whoever decides which stay.
///
/// Positions are counted by the layer: the first token appended has position 0, the next one 1. Keys come with their positions already
/// in them (rotated). Arrays are `[tokens, heads, dim]` with any strides between tokens and heads and contiguous components, so the outputs
/// of a matrix product go in as they are.
pub trait KvLayer: Send + Sync {
    /// The shape of the layer.
    fn geometry(&self) -> &Geometry;

    /// Tokens appended so far, kept or not: the position of the next one.
    fn len(&self) -> usize;

    /// True before anything was appended.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends keys `[tokens, kv_heads, key_dim]` and values `[tokens, kv_heads, value_dim]`.
    ///
    /// # Errors
    /// [`Error::Shape`]; [`Error::NotFinite`] for a component that is no number or does not fit the stored type.
    fn append(&mut self, k: ArrayView3<'_, f32>, v: ArrayView3<'_, f32>) -> Result<(), Error>;

    /// Attention of queries `[tokens, heads, key_dim]` at positions `first..first + tokens` over all held entries at or before each: `out`
    /// is `[tokens, heads * value_dim]`. Takes `&mut self` because a policy may count what was attended to.
    ///
    /// # Errors
    /// [`Error::Shape`]; [`Error::Position`] if a position was not appended yet.
    fn attend(
        &mut self,
        ctx: &Ctx<'_>,
        q: ArrayView3<'_, f32>,
        first: usize,
        ws: &mut Workspace,
        out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), Error>;

    /// Appends a block and attends from it: what an engine calls for a prompt and for a token. A cache whose entries lose precision
    /// may answer from the block as it came.
    ///
    /// # Errors
    /// Those of [`append`](KvLayer::append) and [`attend`](KvLayer::attend).
    fn extend(
        &mut self,
        ctx: &Ctx<'_>,
        qkv: [ArrayView3<'_, f32>; 3],
        ws: &mut Workspace,
        out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), Error> {
        let [q, k, v] = qkv;
        let first = self.len();
        self.append(k, v)?;
        self.attend(ctx, q, first, ws, out)
    }

    /// Says that a prompt is complete: a layer with a policy gives up what the policy says. Others do nothing.
    ///
    /// # Errors
    /// The layer's.
    fn compress(&mut self, ctx: &Ctx<'_>, ws: &mut Workspace) -> Result<(), Error> {
        let _ = (ctx, ws);
        Ok(())
    }

    /// Takes back everything from position `len` on, as if it had never been appended.
    ///
    /// # Errors
    /// [`Error::NotTruncatable`] if `len` is beyond the cache's, or what a query there would see has been given up.
    fn truncate(&mut self, len: usize) -> Result<(), Error>;

    /// Takes memory for `tokens` in all now, so that appending up to there takes none.
    fn reserve(&mut self, tokens: usize);

    /// Heap that the layer owns, by part.
    fn bytes(&self) -> LayerBytes;

    /// A copy that goes its own way from here.
    fn fork(&self) -> Box<dyn KvLayer>;
}

/// Heap of a layer, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerBytes {
    /// Keys that are held as they came.
    pub keys: u64,
    /// Values that are held as they came.
    pub values: u64,
    /// Codes of packed keys and values.
    pub codes: u64,
    /// Their scales and middles.
    pub scales: u64,
    /// Low-rank factors and outliers.
    pub repairs: u64,
    /// Positions and scores of entries, and queries that wait to be scored with.
    pub scores: u64,
    /// Memory taken for tokens to come, padding and book-keeping.
    pub spare: u64,
}

impl LayerBytes {
    /// All parts.
    pub fn total(&self) -> u64 {
        self.payload() + self.spare
    }

    /// All but what is spare.
    pub fn payload(&self) -> u64 {
        self.keys + self.values + self.codes + self.scales + self.repairs + self.scores
    }
}

impl std::iter::Sum for LayerBytes {
    fn sum<I: Iterator<Item = LayerBytes>>(parts: I) -> LayerBytes {
        parts.fold(LayerBytes::default(), |a, b| LayerBytes {
            keys: a.keys + b.keys,
            values: a.values + b.values,
            codes: a.codes + b.codes,
            scales: a.scales + b.scales,
            repairs: a.repairs + b.repairs,
            scores: a.scores + b.scores,
            spare: a.spare + b.spare,
        })
    }
}

/// Buffers of attention, kept from one call to the next so that decode does not allocate. One serves all layers.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    pub(crate) scratch: Vec<f32>,
    pub(crate) cuts: Vec<Range<usize>>,
}
