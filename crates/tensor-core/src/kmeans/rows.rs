//! Rows as the inner loops read them: sixteen beside each other.

use ndarray::{ArrayView2, Axis};

/// Rows beside each other, one in each lane.
pub(super) const LANES: usize = 16;

/// Rows in sixteens: `[n / 16, d, 16]`, zero past the last row.
///
/// They are relative to a centre since a squared distance is found as a difference of large numbers, which would keep few bits far from zero.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    n: usize,
    d: usize,
    tiles: Vec<[f32; LANES]>,
}

impl Rows {
    /// The rows of `x` `[n, d]` whose numbers `order` gives, less `centre`.
    pub(super) fn pack(x: ArrayView2<'_, f32>, order: impl ExactSizeIterator<Item = usize>, centre: &[f32]) -> Rows {
        let mut rows = Rows::zeros(order.len(), centre.len());
        for (i, row) in order.enumerate() {
            rows.set(i, x.row(row).iter().zip(centre).map(|(v, m)| v - m));
        }
        rows
    }

    /// Some of the rows that are packed already.
    pub(super) fn gather(from: Part<'_>, order: &[u32]) -> Rows {
        let mut rows = Rows::zeros(order.len(), from.d);
        for (i, row) in order.iter().enumerate() {
            rows.set(i, from.row(*row as usize));
        }
        rows
    }

    fn zeros(n: usize, d: usize) -> Rows {
        Rows { n, d, tiles: vec![[0.0; LANES]; n.div_ceil(LANES) * d] }
    }

    fn set(&mut self, i: usize, row: impl Iterator<Item = f32>) {
        let tile = &mut self.tiles[i / LANES * self.d..][..self.d];
        tile.iter_mut().zip(row).for_each(|(lanes, v)| lanes[i % LANES] = v);
    }

    /// All of them.
    pub(super) fn all(&self) -> Part<'_> {
        Part { n: self.n, d: self.d, tiles: &self.tiles }
    }

    /// The lanes alone.
    pub(super) fn into_tiles(self) -> Vec<[f32; LANES]> {
        self.tiles
    }
}

/// Rows of which the first is the first of a tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) n: usize,
    pub(super) d: usize,
    pub(super) tiles: &'a [[f32; LANES]],
}

impl<'a> Part<'a> {
    /// Up to `n` rows from `begin`, which is a multiple of 16.
    pub(super) fn slice(self, begin: usize, n: usize) -> Part<'a> {
        let n = n.min(self.n - begin);
        Part { n, d: self.d, tiles: &self.tiles[begin / LANES * self.d..][..n.div_ceil(LANES) * self.d] }
    }

    /// The values of a row.
    pub(super) fn row(self, row: usize) -> impl Iterator<Item = f32> + 'a {
        self.tiles[row / LANES * self.d..][..self.d].iter().map(move |lanes| lanes[row % LANES])
    }

    /// The sum of all squares.
    pub(super) fn squared(self) -> f64 {
        let mut sums = [0.0f64; LANES];
        for lanes in self.tiles {
            sums.iter_mut().zip(lanes).for_each(|(sum, v)| *sum += f64::from(*v) * f64::from(*v));
        }
        sums.iter().sum()
    }
}

/// The mean of each column.
pub(super) fn mean(x: ArrayView2<'_, f32>) -> Vec<f32> {
    let mut sums = vec![0.0f64; x.ncols()];
    for row in x.axis_iter(Axis(0)) {
        sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(*v));
    }
    sums.into_iter().map(|sum| (sum / x.nrows().max(1) as f64) as f32).collect()
}
