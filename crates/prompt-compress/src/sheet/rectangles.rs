//! Sets of cells as few rectangles.

use super::address::Range;

/// Cuts a set of cells into rectangles: runs down each column, joined with equal runs to the right. `cells` holds (row, column), each once.
/// The rectangles come in the order of their top left corners, row first.
pub(crate) fn rectangles(cells: &mut [(u32, u32)]) -> Vec<Range> {
    if let [(row, col)] = *cells {
        return vec![Range { top: row, left: col, bottom: row, right: col }];
    }
    let mut done = vec![];
    // Runs of the last column that may still grow to the right, by row.
    let mut open: Vec<Range> = vec![];
    for_each_column(cells, |runs| {
        let mut next = Vec::with_capacity(runs.len());
        let mut old = open.drain(..).peekable();
        for run in runs.iter() {
            let mut run = *run;
            while let Some(o) = old.next_if(|o| o.top <= run.top) {
                if (o.top, o.bottom, o.right + 1) == (run.top, run.bottom, run.left) {
                    run.left = o.left;
                } else {
                    done.push(o);
                }
            }
            next.push(run);
        }
        done.extend(old);
        open = next;
    });
    done.extend(open);
    done.sort_unstable();
    done
}

/// Bounding boxes of the connected parts (cells that share an edge) of a set of cells, in the order of [`rectangles`].
pub(crate) fn boxes(cells: &mut [(u32, u32)]) -> Vec<Range> {
    // Each run is a node; nodes of neighbouring columns that overlap in rows are one part.
    let mut parent: Vec<usize> = vec![];
    fn root(parent: &mut [usize], mut i: usize) -> usize {
        while parent[i] != i {
            parent[i] = parent[parent[i]];
            i = parent[i];
        }
        i
    }
    let mut last: std::ops::Range<usize> = 0..0;
    let mut all: Vec<Range> = vec![];
    for_each_column(cells, |runs| {
        let first = all.len();
        let mut o = last.start;
        for run in runs.iter() {
            let id = all.len();
            all.push(*run);
            parent.push(id);
            while o < last.end && all[o].bottom < run.top {
                o += 1;
            }
            let mut p = o;
            while p < last.end && all[p].top <= run.bottom && all[p].right + 1 == run.left {
                let (a, b) = (root(&mut parent, p), root(&mut parent, id));
                parent[a.max(b)] = a.min(b);
                p += 1;
            }
        }
        last = first..all.len();
    });
    let mut hulls = all.clone();
    for (i, run) in all.iter().enumerate() {
        let r = root(&mut parent, i);
        hulls[r] = hulls[r].hull(run);
    }
    let mut found: Vec<Range> = (0..parent.len()).filter(|&i| parent[i] == i).map(|i| hulls[i]).collect();
    found.sort_unstable();
    found
}

/// Calls `f` with each column's runs, from left to right.
fn for_each_column(cells: &mut [(u32, u32)], mut f: impl FnMut(&[Range])) {
    cells.sort_unstable_by_key(|&(row, col)| (col, row));
    let mut runs: Vec<Range> = vec![];
    for &(row, col) in cells.iter() {
        match runs.last_mut() {
            Some(run) if run.left == col && run.bottom + 1 == row => run.bottom = row,
            Some(run) if run.left == col => runs.push(Range { top: row, left: col, bottom: row, right: col }),
            last => {
                if last.is_some() {
                    f(&runs);
                    runs.clear();
                }
                runs.push(Range { top: row, left: col, bottom: row, right: col });
            }
        }
    }
    if !runs.is_empty() {
        f(&runs);
    }
}
