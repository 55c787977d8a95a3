//! A layer whose entries are packed, thinned out and merged.

use crate::attend::{self, Held, Source};
use crate::block::Block;
use crate::codec::TILE;
use crate::dense::{Stored, padded};
use crate::kernels::Dense;
use crate::policy::{Entry, HeadState, Place, WINDOW};
use crate::{Codec, Error, Geometry, KvLayer, LayerBytes, Spec, Workspace};
use half::f16;
use ndarray::{Array2, Array3, ArrayView3, ArrayViewMut2, Axis, s};
use scant_tensor_core::{Ctx, Hadamard};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Queries of a prompt's part that are looked at for the attention its entries get.
const SAMPLED: usize = 256;
/// Tokens that are decoded from one thinning out to the next.
const SLACK: usize = 32;

/// Keys and values of [`TILE`] tokens of a head as they came, in f16.
#[derive(Clone)]
struct Tile {
    /// `[TILE / 16, key_dim, 16]`
    keys: Box<[f16]>,
    /// `[TILE, padded value_dim]`
    values: Box<[f16]>,
}

/// What is held of one key/value head: packed entries, then the buffer.
#[derive(Clone, Default)]
struct Head {
    blocks: VecDeque<Block>,
    /// Entries in `blocks`.
    packed: usize,
    tiles: VecDeque<Tile>,
    /// Entries in `tiles`.
    buffered: usize,
    /// Entries that left through the window.
    dropped: usize,
    /// One for each entry, or none where all are kept.
    entries: Vec<Entry>,
    /// Logarithm of the tokens that an entry stands for, or nothing.
    bias: Vec<f32>,
}

/// One layer's keys and values in the form that a [`Spec`] describes: recent ones in f16, older ones packed by a [`Codec`], and of those that
/// a [`Policy`](crate::Policy) picks as many as it has places for.
///
/// [`extend`](KvLayer::extend) answers from the block as it came, then packs what has left the buffer. A policy thins out what a prompt left
/// when [`compress`](KvLayer::compress) says that the prompt is complete, and again every 32 tokens of decoding.
///
/// ```
/// use ndarray::{Array2, Array3};
/// use scant_kvcache::{CompressedLayer, Geometry, KvLayer, Workspace};
/// use scant_tensor_core::{Ctx, Mode, isa::Isa, team::Team};
/// let mut layer = CompressedLayer::new(Geometry::new(4, 2, 64)?, "q4_0".parse().expect("a codec"))?;
/// let (q, kv) = (Array3::ones((600, 4, 64)), Array3::ones((600, 2, 64)));
/// let mut out = Array2::zeros((600, 256));
/// let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &Team::new(1) };
/// layer.extend(&ctx, [q.view(), kv.view(), kv.view()], &mut Workspace::default(), out.view_mut())?;
/// assert!(layer.bytes().total() < 600 * 2 * 128 * 2 / 2); // less than half of f16
/// # Ok::<(), scant_kvcache::Error>(())
/// ```
#[derive(Clone)]
pub struct CompressedLayer {
    geometry: Geometry,
    spec: Spec,
    heads: Vec<Head>,
    len: usize,
    /// Positions from here on can be taken back.
    fixed: usize,
    /// Of keys and of values.
    rotations: Option<[Hadamard; 2]>,
    place: Place,
    /// Queries of the last tokens of a prompt, `[tokens, heads, key_dim]`.
    queries: Vec<f32>,
    /// Tokens since the last thinning out.
    since: usize,
}

impl std::fmt::Debug for CompressedLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CompressedLayer({:?}, {}, {} tokens)", self.geometry, self.spec, self.len)
    }
}

impl CompressedLayer {
    /// An empty layer.
    ///
    /// # Errors
    /// [`Error`] for a geometry, codec or budget that cannot be; [`Error::Windowed`] for a policy on a layer with a window.
    pub fn new(geometry: Geometry, spec: Spec) -> Result<CompressedLayer, Error> {
        geometry.check()?;
        spec.codec.check(&geometry)?;
        if let Some(policy) = spec.policy {
            policy.check(&geometry)?;
        }
        let rotate = |dim: usize, seed: u64| Hadamard::random(dim, seed);
        let rotations = (spec.rotate || spec.codec.rotates()).then(|| [rotate(geometry.key_dim, 1), rotate(geometry.value_dim, 2)]);
        let heads = vec![Head::default(); geometry.kv_heads];
        Ok(CompressedLayer { geometry, spec, heads, len: 0, fixed: 0, rotations, place: Place::default(), queries: vec![], since: 0 })
    }

    /// Says which of a model's layers this is, for policies that give layers different budgets, and with which frequencies its keys are
    /// rotated (radians a token, `[key_dim / 2]`, pairs being `i` and `i + key_dim / 2`), for policies that merge keys.
    #[must_use]
    pub fn at(mut self, layer: usize, layers: usize, frequencies: Arc<[f32]>) -> CompressedLayer {
        self.place = Place { layer, layers, frequencies };
        self
    }

    /// Entries of a head.
    ///
    /// # Panics
    /// If there is no such head.
    pub fn entries(&self, head: usize) -> usize {
        self.heads[head].packed + self.heads[head].buffered
    }

    /// Positions of a head's entries, ascending; a merged entry is where its centre was.
    ///
    /// # Panics
    /// If there is no such head.
    pub fn positions(&self, head: usize) -> Vec<u32> {
        let h = &self.heads[head];
        match self.spec.policy {
            Some(_) => h.entries.iter().map(|e| e.position).collect(),
            None => (h.dropped as u32..self.len as u32).collect(),
        }
    }

    /// What a head holds, unpacked: keys `[entries, key_dim]` and values `[entries, value_dim]`, as they were appended but for rounding.
    ///
    /// # Panics
    /// If there is no such head.
    pub fn unpacked(&self, head: usize) -> [Array2<f32>; 2] {
        let mut both = self.held(head);
        if let Some(rotations) = &self.rotations {
            for (x, rotation) in both.iter_mut().zip(rotations) {
                x.rows_mut().into_iter().for_each(|mut row| rotation.inverse(row.as_slice_mut().expect("a new array is contiguous")));
            }
        }
        both
    }

    /// As [`unpacked`](CompressedLayer::unpacked), rotated as it is held.
    fn held(&self, head: usize) -> [Array2<f32>; 2] {
        let (g, h) = (&self.geometry, &self.heads[head]);
        let entries = self.entries(head);
        let (mut keys, mut values) = (Array2::zeros((entries, g.key_dim)), Array2::zeros((entries, g.value_dim)));
        let mut at = 0;
        for block in &h.blocks {
            let rows = s![at..at + block.tokens(), ..];
            let [k, v] = block.unpacked();
            keys.slice_mut(rows).assign(&k);
            values.slice_mut(rows).assign(&v);
            at += block.tokens();
        }
        let [k, v] = self.buffered(head, 0..h.buffered);
        keys.slice_mut(s![at.., ..]).assign(&k);
        values.slice_mut(s![at.., ..]).assign(&v);
        [keys, values]
    }

    /// Entries of the buffer.
    fn buffered(&self, head: usize, entries: Range<usize>) -> [Array2<f32>; 2] {
        let (g, tiles) = (&self.geometry, &self.heads[head].tiles);
        let key = |(i, c): (usize, usize)| {
            let t = entries.start + i;
            tiles[t / TILE].keys[(t % TILE / 16 * g.key_dim + c) * 16 + t % 16].to_f32()
        };
        let value = |(i, c): (usize, usize)| {
            let t = entries.start + i;
            tiles[t / TILE].values[t % TILE * padded(g) + c].to_f32()
        };
        [Array2::from_shape_fn((entries.len(), g.key_dim), key), Array2::from_shape_fn((entries.len(), g.value_dim), value)]
    }

    /// Puts an entry into the buffer of a head.
    fn put(&mut self, head: usize, k: impl IntoIterator<Item = f32>, v: impl IntoIterator<Item = f32>) {
        let (g, h) = (&self.geometry, &mut self.heads[head]);
        let at = h.buffered;
        if at == h.tiles.len() * TILE {
            let make = |width: usize| vec![f16::ZERO; TILE * width].into_boxed_slice();
            h.tiles.push_back(Tile { keys: make(g.key_dim), values: make(padded(g)) });
        }
        let (tile, t) = (&mut h.tiles[at / TILE], at % TILE);
        let panel = &mut tile.keys[t / 16 * 16 * g.key_dim..][..16 * g.key_dim];
        panel.iter_mut().skip(t % 16).step_by(16).zip(k).for_each(|(lane, x)| *lane = f16::from_f32(x));
        tile.values[t * padded(g)..][..g.value_dim].iter_mut().zip(v).for_each(|(lane, x)| *lane = f16::from_f32(x));
        h.buffered += 1;
    }

    /// Keys and values into the buffer; nothing is packed.
    fn push(&mut self, k: ArrayView3<'_, f32>, v: ArrayView3<'_, f32>) -> Result<(), Error> {
        let g = self.geometry;
        let tokens = k.dim().0;
        Error::check_shape("keys", &[tokens, g.kv_heads, g.key_dim], k.shape())?;
        Error::check_shape("values", &[tokens, g.kv_heads, g.value_dim], v.shape())?;
        let (k, v) = match &self.rotations {
            None => (k.as_standard_layout(), v.as_standard_layout()),
            Some([of_keys, of_values]) => (rotated(k, of_keys).into(), rotated(v, of_values).into()),
        };
        for (what, x) in [("key", &k), ("value", &v)] {
            if let Some(((token, head, _), value)) = x.indexed_iter().find(|(_, x)| x.is_nan() || x.abs() > f16::LIMIT) {
                return Err(Error::NotFinite { what, token: self.len + token, head, value: *value, stored: f16::NAME });
            }
        }
        for (token, (k, v)) in k.outer_iter().zip(v.outer_iter()).enumerate() {
            for head in 0..g.kv_heads {
                self.put(head, k.row(head).iter().copied(), v.row(head).iter().copied());
                if self.spec.policy.is_some() {
                    self.heads[head].entries.push(Entry::new((self.len + token) as u32));
                    if !self.heads[head].bias.is_empty() {
                        self.heads[head].bias.push(0.0);
                    }
                }
            }
        }
        self.len += tokens;
        self.since += tokens;
        Ok(())
    }

    /// Packs what has left the buffer, whole tiles at a time, and lets go of what no later query sees.
    fn settle(&mut self) {
        if self.spec.codec == Codec::F16 {
            return;
        }
        for head in 0..self.heads.len() {
            let mut tiles = self.heads[head].buffered.saturating_sub(self.spec.buffer) / TILE;
            while tiles > 0 {
                let together = if tiles >= 4 { 4 } else { 1 };
                let [k, v] = self.buffered(head, 0..together * TILE);
                let h = &mut self.heads[head];
                // The place in the sequence and the head: the same for any number of threads.
                let seed = ((h.dropped + h.packed) as u64) << 16 | head as u64;
                h.blocks.push_back(self.spec.codec.pack(&k, &v, seed));
                h.packed += together * TILE;
                h.buffered -= together * TILE;
                h.tiles.drain(..together);
                tiles -= together;
            }
            let h = &mut self.heads[head];
            let needed = self.geometry.sees_from(self.len);
            while let Some(first) = h.blocks.front()
                && h.entries.is_empty()
                && h.dropped + first.tokens() <= needed
            {
                h.dropped += first.tokens();
                h.packed -= first.tokens();
                h.blocks.pop_front();
            }
            self.fixed = self.fixed.max(self.len - h.buffered.min(self.len));
        }
    }

    /// Adds to the entries' scores what the queries pay to them.
    fn observe(&mut self, ctx: &Ctx<'_>, q: ArrayView3<'_, f32>, first: usize, norms: &[[f32; 2]], ws: &mut Workspace) {
        let tokens = q.dim().0;
        let paid = attend::columns(self, ctx, q, first, norms, tokens.div_ceil(SAMPLED).max(1), ws);
        // One token replaces a share of the window before it.
        let fade = 0.5f32.powf(tokens as f32 / WINDOW as f32);
        for (h, paid) in self.heads.iter_mut().zip(paid) {
            for (entry, paid) in h.entries.iter_mut().zip(paid) {
                entry.global += paid;
                entry.local = entry.local * fade + paid;
            }
        }
        if tokens > 1 {
            let width = self.geometry.heads * self.geometry.key_dim;
            self.queries.extend(q.slice(s![tokens.saturating_sub(WINDOW).., .., ..]).iter());
            let surplus = self.queries.len().saturating_sub(WINDOW * width);
            self.queries.drain(..surplus);
        } else {
            self.queries = vec![];
        }
    }

    /// Thins out every head.
    fn thin(&mut self, ctx: &Ctx<'_>, ws: &mut Workspace) -> Result<(), Error> {
        let Some(policy) = self.spec.policy else { return Ok(()) };
        let g = self.geometry;
        if !self.queries.is_empty() {
            let tokens = self.queries.len() / (g.heads * g.key_dim);
            let q = Array3::from_shape_vec((tokens, g.heads, g.key_dim), std::mem::take(&mut self.queries)).expect("whole tokens");
            let (mut norms, mut out) = (vec![], Array2::zeros((tokens, g.heads * g.value_dim)));
            let first = self.len - tokens;
            attend::attend(self, ctx, q.view(), first, ws, out.view_mut(), Some(&mut norms));
            let paid = attend::columns(self, ctx, q.view(), first, &norms, 1, ws);
            for (h, paid) in self.heads.iter_mut().zip(paid) {
                h.entries.iter_mut().zip(paid).for_each(|(entry, paid)| entry.local = paid);
            }
        }
        let mut states: Vec<HeadState> = (0..g.kv_heads)
            .map(|head| {
                let [keys, values] = self.held(head);
                HeadState { keys, values, entries: std::mem::take(&mut self.heads[head].entries) }
            })
            .collect();
        // Keys are merged as they were before any rotation for packing.
        if let Some([of_keys, _]) = &self.rotations {
            each_row(&mut states, |row| of_keys.inverse(row));
        }
        let changed = policy.apply(&mut states, &self.place);
        if let Some([of_keys, _]) = &self.rotations {
            each_row(&mut states, |row| of_keys.forward(row));
        }
        self.since = 0;
        for (head, state) in states.into_iter().enumerate() {
            if !changed {
                self.heads[head].entries = state.entries;
                continue;
            }
            self.heads[head] = Head::default();
            for (k, v) in state.keys.rows().into_iter().zip(state.values.rows()) {
                self.put(head, k.iter().copied(), v.iter().copied());
            }
            if policy.counts_mass() {
                self.heads[head].bias = state.entries.iter().map(|e| (e.count as f32).ln()).collect();
            }
            self.heads[head].entries = state.entries;
            self.fixed = self.len;
        }
        self.settle();
        Ok(())
    }
}

fn each_row(states: &mut [HeadState], f: impl Fn(&mut [f32])) {
    for state in states {
        state.keys.rows_mut().into_iter().for_each(|mut row| f(row.as_slice_mut().expect("a new array is contiguous")));
    }
}

fn rotated(x: ArrayView3<'_, f32>, rotation: &Hadamard) -> Array3<f32> {
    let mut x = x.as_standard_layout().into_owned();
    for mut row in x.lanes_mut(Axis(2)) {
        rotation.forward(row.as_slice_mut().expect("components are contiguous"));
    }
    x
}

impl Source for CompressedLayer {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn pieces(&self) -> usize {
        self.heads.iter().map(|h| h.blocks.len() + h.buffered.div_ceil(TILE)).max().unwrap_or(0)
    }

    fn piece(&self, head: usize, i: usize) -> Option<(Range<usize>, Held<'_>)> {
        let h = &self.heads[head];
        if let Some(block) = h.blocks.get(i) {
            let start = h.blocks.iter().take(i).map(Block::tokens).sum();
            return Some((start..start + block.tokens(), Held::Packed(block)));
        }
        let i = i - h.blocks.len();
        let entries = i * TILE..h.buffered.min((i + 1) * TILE);
        let tile = h.tiles.get(i).filter(|_| !entries.is_empty())?;
        let dense = Dense { keys: &tile.keys, values: &tile.values, key_dim: self.geometry.key_dim };
        Some((h.packed + entries.start..h.packed + entries.end, Held::F16(dense)))
    }

    fn sees(&self, head: usize, position: usize) -> Range<usize> {
        let h = &self.heads[head];
        if self.spec.policy.is_some() {
            return 0..h.entries.partition_point(|e| e.position as usize <= position);
        }
        self.geometry.sees_from(position).saturating_sub(h.dropped)..position + 1 - h.dropped
    }

    fn bias(&self, head: usize) -> &[f32] {
        &self.heads[head].bias
    }

    fn packs(&self) -> bool {
        self.spec.codec != Codec::F16
    }
}

impl KvLayer for CompressedLayer {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn len(&self) -> usize {
        self.len
    }

    fn append(&mut self, k: ArrayView3<'_, f32>, v: ArrayView3<'_, f32>) -> Result<(), Error> {
        self.settle();
        self.push(k, v)
    }

    fn attend(
        &mut self,
        ctx: &Ctx<'_>,
        q: ArrayView3<'_, f32>,
        first: usize,
        ws: &mut Workspace,
        mut out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), Error> {
        let g = self.geometry;
        let tokens = q.dim().0;
        Error::check_shape("queries", &[tokens, g.heads, g.key_dim], q.shape())?;
        Error::check_shape("output of attention", &[tokens, g.heads * g.value_dim], out.shape())?;
        let end = first + tokens;
        if end > self.len || tokens > 0 && self.heads.iter().any(|h| g.sees_from(first) < h.dropped) {
            return Err(Error::Position { first, end, len: self.len });
        }
        let q = match &self.rotations {
            None => q.as_standard_layout(),
            Some([of_keys, _]) => rotated(q, of_keys).into(),
        };
        let mut rows = Array2::zeros(out.dim());
        let mut norms = vec![];
        let wanted = self.spec.policy.is_some_and(|p| p.wants_scores());
        attend::attend(self, ctx, q.view(), first, ws, rows.view_mut(), wanted.then_some(&mut norms));
        if wanted && tokens > 0 {
            self.observe(ctx, q.view(), first, &norms, ws);
        }
        if let Some([_, of_values]) = &self.rotations {
            let rows = rows.as_slice_mut().expect("a new array is contiguous");
            rows.chunks_exact_mut(g.value_dim).for_each(|head| of_values.inverse(head));
        }
        out.assign(&rows);
        Ok(())
    }

    fn extend(
        &mut self,
        ctx: &Ctx<'_>,
        [q, k, v]: [ArrayView3<'_, f32>; 3],
        ws: &mut Workspace,
        out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), Error> {
        let (first, tokens) = (self.len, k.dim().0);
        Error::check_shape("queries", &[tokens, self.geometry.heads, self.geometry.key_dim], q.shape())?;
        self.push(k, v)?;
        self.attend(ctx, q, first, ws, out)?;
        let policy = self.spec.policy;
        if policy.is_some_and(|p| tokens == 1 && self.since >= SLACK && (0..self.heads.len()).any(|h| self.entries(h) >= p.budget + SLACK))
        {
            return self.thin(ctx, ws);
        }
        // What a policy will look at whole stays as it came until then.
        if policy.is_none() || self.fixed > 0 {
            self.settle();
        }
        Ok(())
    }

    fn compress(&mut self, ctx: &Ctx<'_>, ws: &mut Workspace) -> Result<(), Error> {
        self.thin(ctx, ws)
    }

    fn truncate(&mut self, len: usize) -> Result<(), Error> {
        let g = &self.geometry;
        let lost = len > 0 && len < self.len && (len < self.fixed || self.heads.iter().any(|h| g.sees_from(len) < h.dropped));
        if len > self.len || lost {
            return Err(Error::NotTruncatable { requested: len, len: self.len, held_from: self.fixed });
        }
        if len == 0 {
            self.heads = vec![Head::default(); g.kv_heads];
            (self.len, self.fixed, self.since, self.queries) = (0, 0, 0, vec![]);
            return Ok(());
        }
        let back = self.len - len;
        for h in &mut self.heads {
            h.buffered -= back;
            h.tiles.truncate(h.buffered.div_ceil(TILE));
            h.entries.truncate(h.entries.len().saturating_sub(back));
            h.bias.truncate(h.bias.len().saturating_sub(back));
        }
        // Queries of what was taken back say nothing about what follows.
        let width = g.heads * g.key_dim;
        self.queries.truncate(self.queries.len().saturating_sub(back * width));
        self.len = len;
        self.since = self.since.saturating_sub(back);
        Ok(())
    }

    /// Memory is taken a tile at a time: there is nothing to reserve.
    fn reserve(&mut self, _: usize) {}

    fn bytes(&self) -> LayerBytes {
        let g = &self.geometry;
        let mut bytes = LayerBytes::default();
        let tile = (2 * TILE * (g.key_dim + padded(g))) as u64;
        for h in &self.heads {
            for block in &h.blocks {
                for matrix in [&block.keys, &block.values] {
                    let [codes, scales] = matrix.packed.bytes();
                    bytes.codes += codes;
                    bytes.scales += scales;
                    bytes.repairs += matrix.repair.as_ref().map_or(0, |r| r.bytes());
                }
            }
            let (keys, values) = ((2 * h.buffered * g.key_dim) as u64, (2 * h.buffered * g.value_dim) as u64);
            bytes.keys += keys;
            bytes.values += values;
            bytes.scores += (h.entries.len() * size_of::<Entry>() + 4 * h.bias.len()) as u64;
            let spare = (h.entries.capacity() - h.entries.len()) * size_of::<Entry>() + 4 * (h.bias.capacity() - h.bias.len());
            let lists = h.blocks.capacity() * size_of::<Block>() + h.tiles.capacity() * size_of::<Tile>();
            bytes.spare += (spare + lists) as u64 + h.tiles.len() as u64 * tile - keys - values;
        }
        bytes.scores += 4 * self.queries.capacity() as u64;
        // Signs are shared with forks, behind two counts.
        let signs = |dim: usize| (4 * dim + 2 * size_of::<usize>()) as u64;
        bytes.spare += self.rotations.as_ref().map_or(0, |_| signs(g.key_dim) + signs(g.value_dim));
        bytes.spare += (self.heads.capacity() * size_of::<Head>()) as u64;
        bytes
    }

    fn fork(&self) -> Box<dyn KvLayer> {
        Box::new(self.clone())
    }
}
