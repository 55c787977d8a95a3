//! Attention over a dense layer, cut into tasks by heads, queries and slabs.

use crate::dense::{DenseLayer, SLAB, Stored, padded};
use crate::kernels::{Finish, HEAD, Merge, ROWS, Tile};
use crate::{KvLayer, Workspace};
use ndarray::{ArrayView3, ArrayViewMut2, Axis};
use scant_tensor_core::Ctx;
use std::ops::Range;

/// Query tokens of a task.
const QUERIES: usize = 16;
/// How one call is cut: tasks are (head, block of queries), and for a single block (head, slab). Either way partial results are merged
/// slab by slab in order, so both give the same bits.
struct Plan<'a, T> {
    layer: &'a DenseLayer<T>,
    ctx: &'a Ctx<'a>,
    q: ArrayView3<'a, f32>,
    /// Position of the first query.
    first: usize,
    /// Indices of the slabs that any query sees.
    slabs: Range<usize>,
    /// Blocks of queries.
    blocks: usize,
    /// Numbers of one query's state.
    width: usize,
}

pub(crate) fn attend<T: Stored>(
    layer: &DenseLayer<T>,
    ctx: &Ctx<'_>,
    q: ArrayView3<'_, f32>,
    first: usize,
    ws: &mut Workspace,
    mut out: ArrayViewMut2<'_, f32>,
) {
    let g = layer.geometry();
    let tokens = q.dim().0;
    if tokens == 0 {
        return;
    }
    let slabs = g.sees_from(first) / SLAB..(first + tokens).div_ceil(SLAB);
    let plan = Plan { layer, ctx, q, first, slabs, blocks: tokens.div_ceil(QUERIES), width: HEAD + padded(g) };
    let pieces = if plan.blocks == 1 { plan.slabs.len() } else { 1 };
    let (tasks, share) = (g.kv_heads * plan.blocks * pieces, plan.share());
    ws.cuts.clear();
    ws.cuts.extend((0..tasks).map(|i| i * share..(i + 1) * share));
    ws.scratch.resize(tasks * share, 0.0);
    let scratch = ArrayViewMut2::from_shape((1, tasks * share), &mut ws.scratch).expect("it was sized for it");
    ctx.team.split(scratch, &ws.cuts, |task, mut share| {
        let share = share.as_slice_mut().expect("one row is contiguous");
        let (head, block) = (task / pieces / plan.blocks, task / pieces % plan.blocks);
        let slab = plan.slabs.start + task % pieces;
        plan.run(head, block, if pieces == 1 { plan.slabs.clone() } else { slab..slab + 1 }, share);
    });
    for (task, shares) in ws.scratch.chunks_exact_mut(pieces * share).enumerate() {
        let (head, block) = (task / plan.blocks, task % plan.blocks);
        let (total, others) = shares.split_at_mut(share);
        for row in 0..plan.rows(block) {
            let state = plan.state(total, row);
            for other in others.chunks_exact_mut(share) {
                ctx.isa.run(Merge { state, partial: plan.state(other, row) });
            }
            let (token, query_head) = plan.query(head, block, row);
            let mut out = out.index_axis_mut(Axis(0), token);
            let out = out.as_slice_mut().expect("the caller checked that rows are contiguous");
            ctx.isa.run(Finish { state, out: &mut out[query_head * g.value_dim..][..g.value_dim] });
        }
    }
}

impl<T: Stored> Plan<'_, T> {
    fn group(&self) -> usize {
        self.layer.geometry().group()
    }

    /// Numbers that a task owns: scores, a partial result, its queries side by side in eights, and their states.
    fn share(&self) -> usize {
        ROWS * (SLAB + self.width) + self.queries() + self.rows(0) * self.width
    }

    /// Numbers of a task's queries.
    fn queries(&self) -> usize {
        self.rows(0).next_multiple_of(ROWS) * self.layer.geometry().key_dim
    }

    /// Queries of a block: tokens times the heads that share keys.
    fn rows(&self, block: usize) -> usize {
        QUERIES.min(self.q.dim().0 - block * QUERIES) * self.group()
    }

    /// Token, counted from the first query, and query head of a row of a block.
    fn query(&self, head: usize, block: usize, row: usize) -> (usize, usize) {
        (block * QUERIES + row / self.group(), head * self.group() + row % self.group())
    }

    /// The state of query `row` of a task's share.
    fn state<'s>(&self, share: &'s mut [f32], row: usize) -> &'s mut [f32] {
        &mut share[ROWS * (SLAB + self.width) + self.queries() + row * self.width..][..self.width]
    }

    /// The queries of a block and of the heads that share `head`, over some slabs: leaves their states in `share`.
    fn run(&self, head: usize, block: usize, slabs: Range<usize>, share: &mut [f32]) {
        let (rows, key_dim) = (self.rows(block), self.layer.geometry().key_dim);
        let (queries, states) = share[ROWS * (SLAB + self.width)..].split_at_mut(self.queries());
        states.fill(0.0);
        let queries = queries.as_chunks_mut::<ROWS>().0;
        for row in 0..rows {
            let (token, query_head) = self.query(head, block, row);
            let q = self.q.index_axis(Axis(0), token);
            let q = q.index_axis(Axis(0), query_head);
            queries[row / ROWS * key_dim..].iter_mut().zip(q).for_each(|(side_by_side, q)| side_by_side[row % ROWS] = *q);
        }
        let last = self.first + self.query(head, block, rows - 1).0;
        let from = self.layer.geometry().sees_from(self.first + block * QUERIES) / SLAB;
        for slab in slabs.start.max(from)..slabs.end.min(last / SLAB + 1) {
            for row in (0..rows).step_by(ROWS) {
                match rows - row {
                    1 => self.tile::<1>(head, block, row, slab, share),
                    2 => self.tile::<2>(head, block, row, slab, share),
                    3 => self.tile::<3>(head, block, row, slab, share),
                    4 => self.tile::<4>(head, block, row, slab, share),
                    _ => self.tile::<ROWS>(head, block, row, slab, share),
                }
            }
        }
    }

    /// `R` queries from `row` on over one slab.
    fn tile<const R: usize>(&self, head: usize, block: usize, row: usize, slab: usize, share: &mut [f32]) {
        let g = self.layer.geometry();
        let start = slab * SLAB;
        let (scores, rest) = share.split_at_mut(ROWS * SLAB);
        let scores = scores.as_chunks_mut().0.first_chunk_mut().expect("room for the scores of `ROWS` queries");
        let (partial, rest) = rest.split_at_mut(ROWS * self.width);
        let (queries, states) = rest.split_at_mut(self.queries());
        let partial = &mut partial[..R * self.width];
        let sees = std::array::from_fn(|r| {
            // Places behind the last query stay empty: they see nothing.
            if row + r >= self.rows(block) {
                return 0..0;
            }
            let position = self.first + self.query(head, block, row + r).0;
            let clip = |position: usize| position.clamp(start, start + SLAB) - start;
            clip(g.sees_from(position))..clip(position + 1)
        });
        let slab = self.layer.slab(start);
        self.ctx.isa.run(Tile::<'_, T, R> {
            q: &queries.as_chunks().0[row / ROWS * g.key_dim..],
            sees,
            keys: slab.keys(g, head),
            values: slab.values(g, head),
            key_dim: g.key_dim,
            scale: g.scale,
            softcap: g.softcap,
            scores,
            partial,
        });
        let states = states[row * self.width..].chunks_exact_mut(self.width);
        for (state, partial) in states.zip(partial.chunks_exact(self.width)) {
            self.ctx.isa.run(Merge { state, partial });
        }
    }
}
