//! Many centroids through few: the nearest of the cells first, then the nearest of the centroids around it.

use super::rows::{Part, Rows};
use super::{KMeans, Nearest};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

/// Cells that look at a centroid: the nearest to it. A row near a centroid lies in one of them, or is as far from all as from others.
const CELLS: usize = 16;

/// Cells of centroids, each with those that count it among their nearest.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    top: Nearest,
    near: Vec<(Nearest, Vec<u32>)>,
}

impl Levels {
    /// Of at least 16 centroids, all relative to `centre`.
    pub(super) fn new(centre: &[f32], centroids: ArrayView2<'_, f32>) -> Option<Levels> {
        let k = centroids.nrows();
        let cells = KMeans::new(2 * k.isqrt()).fit(centroids).ok()?.centroids;
        let top = Nearest::around(centre.to_vec(), cells.view());
        let mut near = vec![vec![]; cells.nrows()];
        let (mut scores, mut order) = (vec![], (0..cells.nrows()).collect::<Vec<_>>());
        for (c, centroid) in centroids.axis_iter(Axis(0)).enumerate() {
            let row: Vec<f32> = centroid.iter().zip(centre).map(|(v, m)| v - m).collect();
            top.scores(&row, &mut scores);
            order.sort_unstable_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
            order.iter().take(CELLS).for_each(|cell| near[*cell].push(c as u32));
        }
        let near = near.into_par_iter().map(|near: Vec<u32>| {
            // A cell that is nobody's looks at all.
            let near = if near.is_empty() { (0..k as u32).collect() } else { near };
            let rows: Array2<f32> = centroids.select(Axis(0), &near.iter().map(|c| *c as usize).collect::<Vec<_>>());
            (Nearest::around(centre.to_vec(), rows.view()), near)
        });
        Some(Levels { near: near.collect(), top })
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
