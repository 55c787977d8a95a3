//! Attention over what a layer holds, cut into tasks by heads, queries and pieces.

use crate::block::Block;
use crate::dense::{SLAB, padded};
use crate::kernels::{Columns, Dense, Finish, HEAD, Merge, Piece, Queries, ROWS, Tile};
use crate::{Geometry, Workspace};
use half::f16;
use ndarray::{ArrayView3, ArrayViewMut2, Axis};
use scant_tensor_core::Ctx;
use std::ops::Range;

/// Query tokens of a task.
const QUERIES: usize = 16;

/// Entries of one head, at most [`SLAB`].
pub(crate) enum Held<'a> {
    F16(Dense<'a, f16>),
    F32(Dense<'a, f32>),
    Packed(&'a Block),
}

/// Where the entries of a layer are.
pub(crate) trait Source: Sync {
    fn geometry(&self) -> &Geometry;

    /// Pieces of the head that has most.
    fn pieces(&self) -> usize;

    /// Entries of piece `i`, counted over the whole head, and what holds them; `None` if the head has not so many pieces.
    fn piece(&self, head: usize, i: usize) -> Option<(Range<usize>, Held<'_>)>;

    /// Entries of a head that a query sees.
    fn sees(&self, head: usize, position: usize) -> Range<usize>;

    /// Added to the score of each entry of a head, or nothing.
    fn bias(&self, head: usize) -> &[f32];

    /// Whether there are packed pieces.
    fn packs(&self) -> bool;
}

/// How one call is cut: tasks are (head, block of queries), and for a single block (head, piece). Either way partial results are merged
/// piece by piece in order, so both give the same bits.
struct Plan<'a> {
    source: &'a dyn Source,
    ctx: &'a Ctx<'a>,
    q: ArrayView3<'a, f32>,
    /// Position of the first query.
    first: usize,
    /// From a query to the next that is looked at.
    stride: usize,
    /// Blocks of queries.
    blocks: usize,
    /// Numbers of one query's state.
    width: usize,
}

impl<'a> Plan<'a> {
    fn new(source: &'a dyn Source, ctx: &'a Ctx<'a>, q: ArrayView3<'a, f32>, first: usize, stride: usize) -> Plan<'a> {
        let blocks = q.dim().0.div_ceil(stride).div_ceil(QUERIES);
        Plan { source, ctx, q, first, stride, blocks, width: HEAD + padded(source.geometry()) }
    }
}

/// Attention of `q` at positions from `first` on. Leaves the largest score and the sum of weights of each query and head in `norms`, if given.
pub(crate) fn attend(
    source: &dyn Source,
    ctx: &Ctx<'_>,
    q: ArrayView3<'_, f32>,
    first: usize,
    ws: &mut Workspace,
    mut out: ArrayViewMut2<'_, f32>,
    mut norms: Option<&mut Vec<[f32; 2]>>,
) {
    let g = source.geometry();
    let tokens = q.dim().0;
    if tokens == 0 {
        return;
    }
    let plan = Plan::new(source, ctx, q, first, 1);
    let pieces = if plan.blocks == 1 { source.pieces() } else { 1 };
    let (tasks, share) = (g.kv_heads * plan.blocks * pieces, plan.share());
    ws.cuts.clear();
    ws.cuts.extend((0..tasks).map(|i| i * share..(i + 1) * share));
    ws.scratch.resize(tasks * share, 0.0);
    let scratch = ArrayViewMut2::from_shape((1, tasks * share), &mut ws.scratch).expect("it was sized for it");
    ctx.team.split(scratch, &ws.cuts, |task, mut share| {
        let share = share.as_slice_mut().expect("one row is contiguous");
        let (head, block) = (task / pieces / plan.blocks, task / pieces % plan.blocks);
        let piece = task % pieces;
        plan.run(head, block, if pieces == 1 { 0..source.pieces() } else { piece..piece + 1 }, share);
    });
    if let Some(norms) = &mut norms {
        norms.resize(tokens * g.heads, [0.0; 2]);
    }
    for (task, shares) in ws.scratch.chunks_exact_mut(pieces * share).enumerate() {
        let (head, block) = (task / plan.blocks, task % plan.blocks);
        let (total, others) = shares.split_at_mut(share);
        for row in 0..plan.rows(block) {
            let state = plan.state(total, row);
            for other in others.chunks_exact_mut(share) {
                ctx.isa.run(Merge { state, partial: plan.state(other, row) });
            }
            let (token, query_head) = plan.query(head, block, row);
            if let Some(norms) = &mut norms {
                norms[token * g.heads + query_head] = [state[0], state[1]];
            }
            let mut out = out.index_axis_mut(Axis(0), token);
            let out = out.as_slice_mut().expect("the caller checked that rows are contiguous");
            ctx.isa.run(Finish { state, out: &mut out[query_head * g.value_dim..][..g.value_dim] });
        }
    }
}

/// Attention paid to each entry, summed over the queries and averaged over the heads that share it: one list for each key/value head. `norms` is
/// what [`attend`] left for the same queries. Every `stride`-th query is looked at and counts for as many.
pub(crate) fn columns(
    source: &dyn Source,
    ctx: &Ctx<'_>,
    q: ArrayView3<'_, f32>,
    first: usize,
    norms: &[[f32; 2]],
    stride: usize,
    ws: &mut Workspace,
) -> Vec<Vec<f32>> {
    let g = source.geometry();
    let plan = Plan::new(source, ctx, q, first, stride);
    let entries = source.pieces() * SLAB;
    let share = plan.share() + entries;
    ws.cuts.clear();
    ws.cuts.extend((0..g.kv_heads).map(|i| i * share..(i + 1) * share));
    ws.scratch.resize(g.kv_heads * share, 0.0);
    let scratch = ArrayViewMut2::from_shape((1, g.kv_heads * share), &mut ws.scratch).expect("it was sized for it");
    ctx.team.split(scratch, &ws.cuts, |head, mut share| {
        let share = share.as_slice_mut().expect("one row is contiguous");
        let (sums, share) = share.split_at_mut(entries);
        sums.fill(0.0);
        for block in 0..plan.blocks {
            plan.gather(head, block, share);
            plan.count(head, block, norms, sums, share);
        }
    });
    let held = |head: usize| (0..source.pieces()).filter_map(|i| source.piece(head, i)).map(|(range, _)| range.end).max().unwrap_or(0);
    ws.scratch.chunks_exact(share).enumerate().map(|(head, share)| share[..held(head)].to_vec()).collect()
}

impl Plan<'_> {
    fn group(&self) -> usize {
        self.source.geometry().group()
    }

    /// Numbers that a task owns: scores, a partial result, its queries side by side in eights, their states, and room to expand packed entries.
    fn share(&self) -> usize {
        ROWS * (SLAB + self.width) + self.queries() + self.rows(0) * self.width + self.room()
    }

    /// Numbers of a task's queries.
    fn queries(&self) -> usize {
        self.rows(0).next_multiple_of(ROWS) * self.source.geometry().key_dim
    }

    /// Many queries are worth unpacking for, a few are not.
    fn room(&self) -> usize {
        let g = self.source.geometry();
        if self.source.packs() && self.rows(0) > ROWS { Block::dense_len(SLAB, g.key_dim, g.value_dim) } else { 0 }
    }

    /// Queries of a block: tokens times the heads that share keys.
    fn rows(&self, block: usize) -> usize {
        QUERIES.min(self.q.dim().0.div_ceil(self.stride) - block * QUERIES) * self.group()
    }

    /// Token, counted from the first query, and query head of a row of a block.
    fn query(&self, head: usize, block: usize, row: usize) -> (usize, usize) {
        ((block * QUERIES + row / self.group()) * self.stride, head * self.group() + row % self.group())
    }

    /// The state of query `row` of a task's share.
    fn state<'s>(&self, share: &'s mut [f32], row: usize) -> &'s mut [f32] {
        &mut share[ROWS * (SLAB + self.width) + self.queries() + row * self.width..][..self.width]
    }

    /// Entries that any query of a block sees.
    fn seen(&self, head: usize, block: usize) -> Range<usize> {
        let (first, last) = (self.query(head, block, 0).0, self.query(head, block, self.rows(block) - 1).0);
        self.source.sees(head, self.first + first).start..self.source.sees(head, self.first + last).end
    }

    /// Puts the queries of a block side by side.
    fn gather(&self, head: usize, block: usize, share: &mut [f32]) {
        let key_dim = self.source.geometry().key_dim;
        let queries = share[ROWS * (SLAB + self.width)..][..self.queries()].as_chunks_mut::<ROWS>().0;
        for row in 0..self.rows(block) {
            let (token, query_head) = self.query(head, block, row);
            let q = self.q.index_axis(Axis(0), token);
            let q = q.index_axis(Axis(0), query_head);
            queries[row / ROWS * key_dim..].iter_mut().zip(q).for_each(|(side_by_side, q)| side_by_side[row % ROWS] = *q);
        }
    }

    /// The queries of a block and of the heads that share `head`, over some pieces: leaves their states in `share`.
    fn run(&self, head: usize, block: usize, pieces: Range<usize>, share: &mut [f32]) {
        let rows = self.rows(block);
        self.gather(head, block, share);
        let (share, room) = share.split_at_mut(self.share() - self.room());
        share[ROWS * (SLAB + self.width) + self.queries()..].fill(0.0);
        let seen = self.seen(head, block);
        for i in pieces {
            let Some((range, held)) = self.source.piece(head, i) else { break };
            if range.end <= seen.start || seen.end <= range.start {
                continue;
            }
            match held {
                Held::F16(piece) => self.tiles(head, block, rows, &range, piece, share),
                Held::F32(piece) => self.tiles(head, block, rows, &range, piece, share),
                Held::Packed(piece) if room.is_empty() => self.tiles(head, block, rows, &range, piece, share),
                Held::Packed(piece) => self.tiles(head, block, rows, &range, piece.expand(self.ctx.isa, room), share),
            }
        }
    }

    /// The queries of a block over one piece.
    fn tiles<P: Piece>(&self, head: usize, block: usize, rows: usize, range: &Range<usize>, piece: P, share: &mut [f32]) {
        for row in (0..rows).step_by(ROWS) {
            match rows - row {
                1 => self.tile::<P, 1>(head, block, row, range, piece, share),
                2 => self.tile::<P, 2>(head, block, row, range, piece, share),
                3 => self.tile::<P, 3>(head, block, row, range, piece, share),
                4 => self.tile::<P, 4>(head, block, row, range, piece, share),
                _ => self.tile::<P, ROWS>(head, block, row, range, piece, share),
            }
        }
    }

    /// What `R` queries from `row` on have to do with a piece.
    fn ask<'s, P: Piece, const R: usize>(
        &'s self,
        (head, block, row): (usize, usize, usize),
        range: &Range<usize>,
        piece: P,
        queries: &'s [f32],
        scores: &'s mut [f32],
    ) -> Queries<'s, P, R> {
        let g = self.source.geometry();
        let sees = std::array::from_fn(|r| {
            // Places behind the last query stay empty: they see nothing.
            if row + r >= self.rows(block) {
                return 0..0;
            }
            let sees = self.source.sees(head, self.first + self.query(head, block, row + r).0);
            let clip = |entry: usize| entry.clamp(range.start, range.end) - range.start;
            clip(sees.start)..clip(sees.end)
        });
        Queries {
            piece,
            q: &queries.as_chunks().0[row / ROWS * g.key_dim..],
            sees,
            scale: g.scale,
            softcap: g.softcap,
            bias: self.source.bias(head).get(range.clone()).unwrap_or(&[]),
            scores: scores.as_chunks_mut().0.first_chunk_mut().expect("room for the scores of `ROWS` queries"),
        }
    }

    /// `R` queries from `row` on over one piece.
    fn tile<P: Piece, const R: usize>(&self, head: usize, block: usize, row: usize, range: &Range<usize>, piece: P, share: &mut [f32]) {
        let (scores, rest) = share.split_at_mut(ROWS * SLAB);
        let (partial, rest) = rest.split_at_mut(ROWS * self.width);
        let (queries, states) = rest.split_at_mut(self.queries());
        let partial = &mut partial[..R * self.width];
        let queries = self.ask::<P, R>((head, block, row), range, piece, queries, scores);
        self.ctx.isa.run(Tile { queries, partial });
        let states = states[row * self.width..].chunks_exact_mut(self.width);
        for (state, partial) in states.zip(partial.chunks_exact(self.width)) {
            self.ctx.isa.run(Merge { state, partial });
        }
    }

    /// Adds to `sums` what the queries of a block pay to the entries of a head.
    fn count(&self, head: usize, block: usize, norms: &[[f32; 2]], sums: &mut [f32], share: &mut [f32]) {
        for i in 0..self.source.pieces() {
            let Some((range, held)) = self.source.piece(head, i) else { break };
            for row in (0..self.rows(block)).step_by(ROWS) {
                let sums = &mut sums[range.start..];
                match &held {
                    Held::F16(piece) => self.count_piece(head, block, row, &range, *piece, norms, sums, share),
                    Held::F32(piece) => self.count_piece(head, block, row, &range, *piece, norms, sums, share),
                    Held::Packed(piece) => self.count_piece(head, block, row, &range, *piece, norms, sums, share),
                }
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "where, over what, and into what")]
    fn count_piece<P: Piece>(
        &self,
        head: usize,
        block: usize,
        row: usize,
        range: &Range<usize>,
        piece: P,
        norms: &[[f32; 2]],
        sums: &mut [f32],
        share: &mut [f32],
    ) {
        let g = self.source.geometry();
        let (scores, rest) = share.split_at_mut(ROWS * SLAB);
        let queries = self.ask::<P, ROWS>((head, block, row), range, piece, &rest[ROWS * self.width..][..self.queries()], scores);
        let mut mine = [[0.0; 2]; ROWS];
        for (r, norm) in mine.iter_mut().enumerate().take(self.rows(block) - row) {
            let (token, query_head) = self.query(head, block, row + r);
            *norm = norms[token * g.heads + query_head];
        }
        self.ctx.isa.run(Columns { queries, norms: mine, weight: self.stride as f32 / self.group() as f32, sums });
    }
}
