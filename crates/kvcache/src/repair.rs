//! What GEAR (Kang et al. 2024) adds to a matrix in few bits: the main directions of its error, and its outliers exactly.

use crate::packed::DEEPEST;
use half::f16;
use half::slice::HalfFloatSliceExt;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use scant_tensor_core::linalg::low_rank;
use scant_tensor_core::simd::Simd;
use std::ops::Range;

/// Rounds of power iteration, as in the paper's scripts.
const LOOPS: usize = 3;

/// `left right^T` for lanes by depth, in 8 bits, and a list of single numbers.
#[derive(Clone, Debug)]
pub(crate) struct Repair {
    rank: usize,
    /// `[panels, rank, 16]`, 128 standing for 0.
    left: Box<[u8]>,
    /// `[rank, padded depth]`
    right: Box<[u8]>,
    /// Of each direction.
    scale: Box<[f32]>,
    /// Lane and depth of each outlier, in the order of depth, and what is added there.
    at: Box<[[u8; 2]]>,
    delta: Box<[f16]>,
}

/// Places of the `count` least and `count` greatest numbers of each column, which are replaced by the mean of the others.
pub(crate) fn take_outliers(mut x: ArrayViewMut2<'_, f32>, count: usize) -> Vec<[u8; 2]> {
    let mut at = vec![];
    if count == 0 {
        return at;
    }
    for (k, mut column) in x.columns_mut().into_iter().enumerate() {
        let mut order: Vec<usize> = (0..column.len()).collect();
        order.sort_unstable_by(|a, b| column[*a].total_cmp(&column[*b]).then(a.cmp(b)));
        let (count, n) = (count.min(order.len() / 4), order.len());
        let mean = order[count..n - count].iter().map(|i| column[*i]).sum::<f32>() / (n - 2 * count) as f32;
        let mut lanes: Vec<usize> = order[..count].iter().chain(&order[n - count..]).copied().collect();
        lanes.sort_unstable();
        for lane in lanes {
            column[lane] = mean;
            at.push([lane as u8, k as u8]);
        }
    }
    at
}

impl Repair {
    /// For `x` `[lanes, depth]` of which `packed` was kept, with the given places as outliers. `deep` is the padded depth.
    pub(crate) fn new(x: ArrayView2<'_, f32>, packed: &Array2<f32>, at: Vec<[u8; 2]>, rank: usize, deep: usize, seed: u64) -> Repair {
        let (lanes, depth) = x.dim();
        let mut rest = &x - packed;
        at.iter().for_each(|[lane, k]| rest[[usize::from(*lane), usize::from(*k)]] = 0.0);
        let (a, b) = low_rank(rest.view(), rank, LOOPS, seed);
        let mut repair = Repair {
            rank,
            left: vec![128; lanes.next_multiple_of(16) * rank].into(),
            right: vec![128; deep * rank].into(),
            scale: vec![0.0; rank].into(),
            at: at.into(),
            delta: Box::default(),
        };
        for j in 0..rank {
            let unit = |x: &Array2<f32>| x.column(j).iter().fold(0.0f32, |most, x| most.max(x.abs())) / 127.0;
            let (ua, ub) = (unit(&a), unit(&b));
            if ua > 0.0 && ub > 0.0 {
                let byte = |x: f32, unit: f32| ((x / unit).round() as i16 + 128) as u8;
                (0..lanes).for_each(|i| repair.left[(i / 16 * rank + j) * 16 + i % 16] = byte(a[[i, j]], ua));
                (0..depth).for_each(|k| repair.right[j * deep + k] = byte(b[[k, j]], ub));
                repair.scale[j] = ua * ub;
            }
        }
        let left_out = |[lane, k]: &[u8; 2]| {
            let (lane, k) = (usize::from(*lane), usize::from(*k));
            let along = |j: usize| {
                let (l, r) = (repair.left[(lane / 16 * rank + j) * 16 + lane % 16], repair.right[j * deep + k]);
                (f32::from(l) - 128.0) * (f32::from(r) - 128.0) * repair.scale[j]
            };
            let delta = x[[lane, k]] - packed[[lane, k]] - (0..rank).map(along).sum::<f32>();
            f16::from_f32(delta.clamp(-65504.0, 65504.0))
        };
        repair.delta = repair.at.iter().map(left_out).collect();
        repair
    }

    /// Bytes of everything.
    pub(crate) fn bytes(&self) -> u64 {
        (self.left.len() + self.right.len() + 4 * self.scale.len() + 4 * self.at.len()) as u64
    }

    /// `out[r * stride + 16 p ..] += ` the lanes of panel `p` times row `r` of `x`, for the given panels.
    #[inline(always)]
    pub(crate) fn add_products<S: Simd, const R: usize>(
        &self,
        s: S,
        x: &[[f32; DEEPEST]; R],
        panels: Range<usize>,
        out: &mut [f32],
        stride: usize,
    ) {
        let zero = s.splat(128.0);
        for (j, right) in self.right.chunks_exact(self.right.len() / self.rank.max(1)).enumerate() {
            let mut along = [s.splat(0.0); R];
            for (i, right) in right.as_chunks::<16>().0.iter().enumerate() {
                let right = s.sub(s.load_u8(right), zero);
                for r in 0..R {
                    along[r] = s.mul_add(right, s.load(x[r][16 * i..].first_chunk().expect("rows are deeper")), along[r]);
                }
            }
            for r in 0..R {
                let z = s.splat(s.sum(along[r]) * self.scale[j]);
                for panel in panels.clone() {
                    let left = self.left[(panel * self.rank + j) * 16..].first_chunk().expect("whole panels");
                    let out = out[r * stride + 16 * panel..].first_chunk_mut().expect("room for each panel");
                    s.store(s.mul_add(s.sub(s.load_u8(left), zero), z, s.load(out)), out);
                }
            }
        }
        let (at, delta) = (self.at.chunks(16), self.delta.chunks(16));
        for (at, delta) in at.zip(delta) {
            let mut bits = [0; 16];
            bits[..delta.len()].copy_from_slice(delta.reinterpret_cast());
            let mut deltas = [0.0; 16];
            s.store(s.load_f16(&bits), &mut deltas);
            for ([lane, k], delta) in at.iter().zip(deltas) {
                for r in 0..R {
                    out[r * stride + usize::from(*lane)] += x[r][usize::from(*k)] * delta;
                }
            }
        }
    }

    /// Adds itself to lane `i` of panel `p` at depth `k`, which is `out[p * panel + k * step + i]`.
    #[inline(always)]
    pub(crate) fn expand<S: Simd>(&self, s: S, out: &mut [f32], panel: usize, step: usize, depth: usize) {
        let zero = s.splat(128.0);
        let deep = self.right.len() / self.rank.max(1);
        for (p, left) in self.left.chunks_exact(16 * self.rank.max(1)).enumerate() {
            for (j, left) in left.as_chunks().0.iter().enumerate() {
                let left = s.mul(s.sub(s.load_u8(left), zero), s.splat(self.scale[j]));
                for k in 0..depth {
                    let out = out[p * panel + k * step..].first_chunk_mut().expect("room for each lane");
                    let right = f32::from(self.right[j * deep + k]) - 128.0;
                    s.store(s.mul_add(left, s.splat(right), s.load(out)), out);
                }
            }
        }
        for ([lane, k], delta) in self.at.iter().zip(&self.delta) {
            let (lane, k) = (usize::from(*lane), usize::from(*k));
            out[lane / 16 * panel + k * step + lane % 16] += delta.to_f32();
        }
    }
}
