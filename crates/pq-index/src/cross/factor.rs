//! A Cholesky factor that grows by rows.

/// The lower triangular `L` of `K = L L^T`, in f64: entry by entry, a symmetric matrix becomes known and is solved with on the way.
#[derive(Default)]
pub(super) struct Factor {
    rows: Vec<Vec<f64>>,
}

impl Factor {
    /// Takes the next row of `K`, left of the diagonal, and the diagonal. O(n^2).
    pub(super) fn push(&mut self, mut left: Vec<f64>, diagonal: f64) {
        self.forward(&mut left);
        let rest = diagonal - left.iter().map(|v| v * v).sum::<f64>();
        // Twice the same item leaves nothing but the ridge; rounding may take even that.
        left.push(rest.max(1e-14 * diagonal).max(f64::MIN_POSITIVE).sqrt());
        self.rows.push(left);
    }

    /// `L^-1 b`
    fn forward(&self, b: &mut [f64]) {
        for (i, row) in self.rows.iter().enumerate() {
            let known: f64 = row[..i].iter().zip(&*b).map(|(l, v)| l * v).sum();
            b[i] = (b[i] - known) / row[i];
        }
    }

    /// `K^-1 b`. O(n^2).
    pub(super) fn solve(&self, mut b: Vec<f64>) -> Vec<f64> {
        self.forward(&mut b);
        for (i, row) in self.rows.iter().enumerate().rev() {
            b[i] /= row[i];
            let x = b[i];
            b[..i].iter_mut().zip(row).for_each(|(v, l)| *v -= l * x);
        }
        b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_solves_with_what_it_knows_so_far() {
        let k = [[4.0, 2.0, 1.0], [2.0, 5.0, 3.0], [1.0, 3.0, 6.0]];
        let mut factor = Factor::default();
        for n in 0..3 {
            factor.push(k[n][..n].to_vec(), k[n][n]);
            let x = factor.solve(vec![1.0; n + 1]);
            for row in &k[..=n] {
                let b: f64 = row.iter().zip(&x).map(|(k, x)| k * x).sum();
                assert!((b - 1.0).abs() < 1e-12, "{n}: {b}");
            }
        }
    }
}
