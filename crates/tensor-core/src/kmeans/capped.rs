//! Cells with a hard limit: rows that lose most by a second choice choose first.

use super::Nearest;
use rayon::prelude::*;

/// Rows that one task takes.
const CHUNK: usize = 1024;

/// The cell of each row where no cell takes more than `most`, with `k most >= n`; `row` writes the values of a row, relative to the centre.
///
/// Rows come in the order of what the second-best cell would cost them, the dearest first, and take the best cell that has room. O(n k d).
pub(super) fn assign(nearest: &Nearest, most: usize, row: impl Fn(usize, &mut Vec<f32>) + Sync, out: &mut [u32]) {
    let scores = |i: usize, x: &mut Vec<f32>, scores: &mut Vec<f32>| {
        x.clear();
        row(i, x);
        nearest.scores(x, scores);
    };
    let mut margins = vec![0.0f32; out.len()];
    out.par_chunks_mut(CHUNK).zip(margins.par_chunks_mut(CHUNK)).enumerate().for_each(|(chunk, (out, margins))| {
        let (mut x, mut all) = (vec![], vec![]);
        for (i, (out, margin)) in out.iter_mut().zip(margins).enumerate() {
            scores(CHUNK * chunk + i, &mut x, &mut all);
            let best = first_of_best(&all, |_| true);
            let second = first_of_best(&all, |c| c != best);
            (*out, *margin) = (best as u32, all[best] - all[second]);
        }
    });
    let mut order: Vec<u32> = (0..out.len() as u32).collect();
    order.sort_by(|a, b| margins[*b as usize].total_cmp(&margins[*a as usize]).then(a.cmp(b)));
    let mut sizes = vec![0; nearest.len()];
    let (mut x, mut all) = (vec![], vec![]);
    for i in order {
        let out = &mut out[i as usize];
        if sizes[*out as usize] >= most {
            scores(i as usize, &mut x, &mut all);
            *out = first_of_best(&all, |c| sizes[c] < most) as u32;
        }
        sizes[*out as usize] += 1;
    }
}

/// The place of the largest score among those that are asked for; 0 if there are none.
fn first_of_best(scores: &[f32], asked: impl Fn(usize) -> bool) -> usize {
    let mut best = None::<usize>;
    for (c, score) in scores.iter().enumerate() {
        if asked(c) && best.is_none_or(|best| *score > scores[best]) {
            best = Some(c);
        }
    }
    best.unwrap_or(0)
}
