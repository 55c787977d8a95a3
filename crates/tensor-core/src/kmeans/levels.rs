//! Many centroids through few: the nearest of the cells first, then the nearest of the centroids around it.

use super::rows::{Part, Rows};
use super::{KMeans, Nearest};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

/// Centroids that are looked at, as a part of all: as many as eight cells have.
const CELLS: usize = 8;

/// Cells of centroids, each with those that are nearest to it.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    top: Nearest,
    near: Vec<(Nearest, Vec<u32>)>,
}

impl Levels {
    /// Of at least four centroids, all relative to `centre`.
    pub(super) fn new(centre: &[f32], centroids: ArrayView2<'_, f32>) -> Option<Levels> {
        let k = centroids.nrows();
        let cells = KMeans::new(k.isqrt()).fit(centroids).ok()?.centroids;
        let near = (0..cells.nrows()).into_par_iter().map(|cell| {
            let cell = cells.row(cell);
            let distance = |c: &u32| -> f32 { centroids.row(*c as usize).iter().zip(cell).map(|(a, b)| (a - b) * (a - b)).sum() };
            let mut order: Vec<(f32, u32)> = (0..k as u32).map(|c| (distance(&c), c)).collect();
            order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let mut near: Vec<u32> = order.into_iter().take(CELLS * k.div_ceil(cells.nrows())).map(|(_, c)| c).collect();
            near.sort_unstable();
            let rows: Array2<f32> = centroids.select(Axis(0), &near.iter().map(|c| *c as usize).collect::<Vec<_>>());
            (Nearest::around(centre.to_vec(), rows.view()), near)
        });
        Some(Levels { near: near.collect(), top: Nearest::around(centre.to_vec(), cells.view()) })
    }

    /// The nearest of the centroids around the nearest cell.
    pub(super) fn assign(&self, rows: Part<'_>, out: &mut [u32]) {
        self.top.assign_packed(rows, out);
        let mut members = vec![vec![]; self.near.len()];
        (0u32..).zip(&*out).for_each(|(row, cell)| members[*cell as usize].push(row));
        let found = members.into_par_iter().zip(&self.near).map(|(members, (nearest, near))| {
            let mut found = vec![0; members.len()];
            nearest.assign_packed(Rows::gather(rows, &members).all(), &mut found);
            found.iter_mut().for_each(|c| *c = near[*c as usize]);
            (members, found)
        });
        for (members, found) in found.collect::<Vec<_>>() {
            members.iter().zip(found).for_each(|(row, c)| out[*row as usize] = c);
        }
    }
}
