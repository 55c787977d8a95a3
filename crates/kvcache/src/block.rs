//! Compressed entries of one head: a few panels of tokens that were packed together.

use crate::dense::SLAB;
use crate::kernels::{Dense, HEAD, Piece, ROWS};
use crate::packed::{DEEPEST, Digits, Packed};
use crate::repair::Repair;
use ndarray::Array2;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::simd::{Simd, WithSimd};
use std::ops::Range;

/// A matrix in few bits and what repairs it.
#[derive(Clone, Debug)]
pub(crate) struct Matrix {
    pub(crate) packed: Packed,
    pub(crate) repair: Option<Repair>,
}

impl Matrix {
    #[inline(always)]
    fn products<S: Simd, const R: usize>(&self, s: S, x: &[[f32; DEEPEST]; R], panels: Range<usize>, out: &mut [f32], stride: usize) {
        let mut digits = [const { Digits::ZERO }; R];
        self.packed.products(s, x, &mut digits, panels.clone(), out, stride);
        if let Some(repair) = &self.repair {
            repair.add_products(s, x, panels, out, stride);
        }
    }
}

/// Keys and values of a number of tokens that is a multiple of 32 and at most [`SLAB`].
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// Tokens by channels.
    pub(crate) keys: Matrix,
    /// Channels by tokens.
    pub(crate) values: Matrix,
    pub(crate) key_dim: usize,
    pub(crate) value_dim: usize,
}

impl Block {
    pub(crate) fn tokens(&self) -> usize {
        self.keys.packed.lanes()
    }

    /// Numbers of the block in the layout of a dense piece: keys, then values.
    pub(crate) fn dense_len(tokens: usize, key_dim: usize, value_dim: usize) -> usize {
        tokens * (key_dim + value_dim.next_multiple_of(16))
    }

    /// Unpacks into `room` of [`dense_len`](Block::dense_len).
    pub(crate) fn expand<'a>(&self, isa: Isa, room: &'a mut [f32]) -> Dense<'a, f32> {
        let (keys, values) = room.split_at_mut(self.tokens() * self.key_dim);
        let width = self.value_dim.next_multiple_of(16);
        let values = &mut values[..self.tokens() * width];
        isa.run(Expand { matrix: &self.keys, out: keys, panel: 16 * self.key_dim, step: 16, depth: self.key_dim });
        isa.run(Expand { matrix: &self.values, out: values, panel: 16, step: width, depth: self.tokens() });
        Dense { keys, values, key_dim: self.key_dim }
    }

    /// Keys `[tokens, key_dim]` and values `[tokens, value_dim]`.
    pub(crate) fn unpacked(&self) -> [Array2<f32>; 2] {
        let mut room = vec![0.0; Block::dense_len(self.tokens(), self.key_dim, self.value_dim)];
        let dense = self.expand(Isa::best(), &mut room);
        let width = self.value_dim.next_multiple_of(16);
        let key = |(t, c): (usize, usize)| dense.keys[(t / 16 * self.key_dim + c) * 16 + t % 16];
        let value = |(t, c): (usize, usize)| dense.values[t * width + c];
        [Array2::from_shape_fn((self.tokens(), self.key_dim), key), Array2::from_shape_fn((self.tokens(), self.value_dim), value)]
    }
}

impl Piece for &Block {
    #[inline(always)]
    fn scores<S: Simd, const R: usize>(self, s: S, q: &[[f32; ROWS]], panels: Range<usize>, out: &mut [[f32; SLAB]; R]) {
        let mut x = [[0.0; DEEPEST]; R];
        for r in 0..R {
            for (x, q) in x[r].iter_mut().zip(&q[..self.key_dim]) {
                *x = q[r];
            }
        }
        self.keys.products(s, &x, panels, out.as_flattened_mut(), SLAB);
    }

    #[inline(always)]
    fn sums<S: Simd, const R: usize>(self, s: S, weights: &[[f32; SLAB]; R], _: Range<usize>, partial: &mut [f32]) {
        let width = partial.len() / R;
        let mut x = [[0.0; DEEPEST]; R];
        for r in 0..R {
            x[r][..SLAB].copy_from_slice(&weights[r]);
        }
        self.values.products(s, &x, 0..width / 16 - HEAD / 16, &mut partial[HEAD..], width);
    }
}

/// A matrix unpacked into one of the dense layouts.
pub(crate) struct Expand<'a> {
    pub(crate) matrix: &'a Matrix,
    pub(crate) out: &'a mut [f32],
    /// From a panel of lanes to the next, and from a column to the next.
    pub(crate) panel: usize,
    pub(crate) step: usize,
    pub(crate) depth: usize,
}

impl WithSimd for Expand<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.matrix.packed.expand(s, self.out, self.panel, self.step);
        if let Some(repair) = &self.matrix.repair {
            repair.expand(s, self.out, self.panel, self.step, self.depth);
        }
    }
}
