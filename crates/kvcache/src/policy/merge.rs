//! What becomes of entries that leave: added to neighbours (CaM), or merged with what is most like them (D2O, EMS).

use super::{HeadState, MergeKeys, Place, spread};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};
use scant_tensor_core::linalg::matmul;
use std::ops::Range;

/// Entries that share the value of one that leaves.
const HEIRS: usize = 32;
/// An entry less like every centre than this is dropped.
const ALIKE: f32 = 0.6;
/// Entries considered for merging, in multiples of those that stay.
const REACH: usize = 8;

/// Values of what leaves go to the next entries that stay, with the expectation of the paper's draw.
pub(super) fn cam(head: &mut HeadState, kept: &[usize]) {
    // Attention per query that could see the entry.
    let end = head.entries.last().map_or(0, |e| e.position) + 1;
    let mean = |i: usize| head.entries[i].global / (end - head.entries[i].position) as f32;
    let mut gains = vec![];
    for (i, next) in leaving(kept, head.entries.len()) {
        let heirs = &kept[next..kept.len().min(next + HEIRS)];
        let theirs = heirs.iter().map(|h| mean(*h)).sum::<f32>() / heirs.len().max(1) as f32;
        if theirs > 0.0 {
            let share = (mean(i) / theirs).clamp(0.0, 1.0) / heirs.len() as f32;
            heirs.iter().for_each(|h| gains.push((i, *h, share)));
        }
    }
    let before = head.values.clone();
    for (from, to, share) in gains {
        head.values.row_mut(to).scaled_add(share, &before.row(from));
    }
}

/// Indices that are not kept, each with the number of kept ones before it.
fn leaving(kept: &[usize], n: usize) -> Vec<(usize, usize)> {
    let mut result = vec![];
    let mut before = 0;
    for i in 0..n {
        if kept.get(before) == Some(&i) {
            before += 1;
        } else {
            result.push((i, before));
        }
    }
    result
}

/// Rows divided by their length; a row of zeros stays.
fn directions(x: ArrayView2<'_, f32>, rows: &[usize]) -> Array2<f32> {
    let mut x = x.select(Axis(0), rows);
    for mut row in x.rows_mut() {
        let norm = row.dot(&row).sqrt();
        if norm > 0.0 {
            row.mapv_inplace(|v| v / norm);
        }
    }
    x
}

/// Cosines of rows `a` with rows `b`.
fn cosines(x: ArrayView2<'_, f32>, a: &[usize], b: &[usize]) -> Array2<f32> {
    let (a, b) = (directions(x, a), directions(x, b));
    let mut out = Array2::zeros((a.nrows(), b.nrows()));
    matmul(1.0, a.view(), b.t(), false, out.view_mut());
    out
}

/// The largest element; ties go to the lower index.
fn largest(row: ArrayView1<'_, f32>) -> (usize, f32) {
    row.iter().enumerate().fold((0, f32::MIN), |(at, most), (i, x)| if *x > most { (i, *x) } else { (at, most) })
}

/// An entry that leaves is merged with the kept one whose key is most similar, if it is as similar as those that leave are on average.
pub(super) fn d2o(head: &mut HeadState, kept: &[usize]) {
    let gone: Vec<usize> = leaving(kept, head.entries.len()).into_iter().map(|(i, _)| i).collect();
    let found: Vec<(usize, f32)> = cosines(head.keys.view(), &gone, kept).rows().into_iter().map(largest).collect();
    let threshold = found.iter().map(|(_, alike)| *alike).sum::<f32>() / found.len().max(1) as f32;
    let mut weights = vec![1.0; kept.len()];
    let (keys, values) = (head.keys.clone(), head.values.clone());
    for (from, (to, alike)) in gone.iter().zip(found) {
        if alike >= threshold && alike > 0.0 {
            weights[to] += alike;
            head.keys.row_mut(kept[to]).scaled_add(alike, &keys.row(*from));
            head.values.row_mut(kept[to]).scaled_add(alike, &values.row(*from));
            absorb(head, *from, kept[to]);
        }
    }
    for (to, weight) in kept.iter().zip(weights) {
        head.keys.row_mut(*to).mapv_inplace(|x| x / weight);
        head.values.row_mut(*to).mapv_inplace(|x| x / weight);
    }
}

/// Adds the book-keeping of one entry to another's.
fn absorb(head: &mut HeadState, from: usize, to: usize) {
    let gone = head.entries[from];
    let entry = &mut head.entries[to];
    entry.count = entry.count.saturating_add(gone.count);
    entry.global += gone.global;
    entry.local += gone.local;
}

/// Evict, then merge: `kept` within `middle` are centres. The entries next in score join the centre most like them in key and value, or are
/// dropped if none is like enough; the rest is dropped.
pub(super) fn ems(head: &mut HeadState, kept: &[usize], scores: &[f32], middle: Range<usize>, how: MergeKeys, place: &Place) {
    let centres: Vec<usize> = kept.iter().copied().filter(|i| middle.contains(i)).collect();
    let last = head.entries.len() - middle.end;
    let reach = spread(scores, middle.start, last).clamp(centres.len(), REACH * centres.len());
    let mut merged = super::best(scores, middle, reach);
    merged.retain(|i| centres.binary_search(i).is_err());
    let (of_keys, of_values) = (cosines(head.keys.view(), &merged, &centres), cosines(head.values.view(), &merged, &centres));
    let mut classes: Vec<Vec<usize>> = vec![vec![]; centres.len()];
    for ((i, k), v) in merged.iter().zip(of_keys.rows()).zip(of_values.rows()) {
        let alike: Array1<f32> = k.iter().zip(v).map(|(k, v)| if *k > 0.0 && *v > 0.0 { k * v } else { 0.0 }).collect();
        let (to, most) = largest(alike.view());
        // The virtual centre comes last, so that a tie goes to a real one.
        if most >= ALIKE {
            classes[to].push(*i);
        }
    }
    for (centre, mut class) in centres.into_iter().zip(classes) {
        if class.is_empty() {
            continue;
        }
        class.push(centre);
        let total: f32 = class.iter().map(|i| scores[*i]).sum();
        let weight = |i: usize| if total > 0.0 { scores[i] / total } else { 1.0 / class.len() as f32 };
        let mut value = Array1::zeros(head.values.ncols());
        let mut direction = Array1::<f32>::zeros(head.keys.ncols());
        for i in &class {
            value.scaled_add(weight(*i), &head.values.row(*i));
            let mut key = head.keys.row(*i).to_owned();
            let norm = key.dot(&key).sqrt();
            if norm > 0.0 {
                if how == MergeKeys::Aligned {
                    turn(&mut key, f64::from(head.entries[centre].position) - f64::from(head.entries[*i].position), &place.frequencies);
                }
                direction.scaled_add(weight(*i) / norm, &key);
            }
        }
        head.values.row_mut(centre).assign(&value);
        let mut key = head.keys.row_mut(centre);
        let (norm, length) = (key.dot(&key).sqrt(), direction.dot(&direction).sqrt());
        if how != MergeKeys::Kept && length > 1e-6 {
            key.assign(&(direction * (norm / length)));
        }
        class.pop();
        class.iter().for_each(|i| absorb(head, *i, centre));
    }
}

/// Moves a rotated key by a number of positions.
pub(super) fn turn(key: &mut Array1<f32>, by: f64, frequencies: &[f32]) {
    let half = frequencies.len();
    if by == 0.0 || half == 0 {
        return;
    }
    let (mut a, mut b) = key.multi_slice_mut((s![..half], s![half..2 * half]));
    for ((a, b), frequency) in a.iter_mut().zip(&mut b).zip(frequencies) {
        let (sin, cos) = (by * f64::from(*frequency)).sin_cos();
        let (x, y) = (f64::from(*a), f64::from(*b));
        *a = (x * cos - y * sin) as f32;
        *b = (x * sin + y * cos) as f32;
    }
}
