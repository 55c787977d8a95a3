//! Exact keys of vectors that are kept whole.

use crate::metric::Metric;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::simd::{Simd, WithSimd};

/// The keys of `rows`, which follow one another, as many as there are places in `out` at most.
pub(crate) fn keys(metric: Metric, q: &[f32], rows: &[f32], out: &mut [f32]) {
    let isa = Isa::best();
    if metric == Metric::L2 { isa.run(Keys::<true> { q, rows, out }) } else { isa.run(Keys::<false> { q, rows, out }) }
}

struct Keys<'a, const L2: bool> {
    q: &'a [f32],
    rows: &'a [f32],
    out: &'a mut [f32],
}

impl<const L2: bool> WithSimd for Keys<'_, L2> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let dim = self.q.len();
        let (q, q_tail) = self.q.as_chunks::<16>();
        let step = |acc, q, x| {
            if L2 {
                let r = s.sub(q, x);
                s.mul_add(r, r, acc)
            } else {
                s.mul_add(q, x, acc)
            }
        };
        for (row, out) in self.rows.chunks_exact(dim).zip(self.out) {
            let (x, x_tail) = row.as_chunks::<16>();
            // Two sums hide the latency of adding; the order is the same on every tier. Written out, or they would lie in memory.
            let mut acc = [s.splat(0.0); 2];
            let ((q2, q1), (x2, x1)) = (q.as_chunks::<2>(), x.as_chunks::<2>());
            for (q, x) in q2.iter().zip(x2) {
                acc[0] = step(acc[0], s.load(&q[0]), s.load(&x[0]));
                acc[1] = step(acc[1], s.load(&q[1]), s.load(&x[1]));
            }
            for (q, x) in q1.iter().zip(x1) {
                acc[0] = step(acc[0], s.load(q), s.load(x));
            }
            if !q_tail.is_empty() {
                acc[0] = step(acc[0], s.load_tail(q_tail), s.load_tail(x_tail));
            }
            let sum = s.sum(s.add(acc[0], acc[1]));
            *out = if L2 { sum } else { -sum };
        }
    }
}
