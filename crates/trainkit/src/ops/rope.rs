//! Rotary position embedding (Su et al. 2021), half-split as in Hugging Face: dimension `i` is paired with `i + head_dim / 2`.

/// Cosines and sines of positions `0..context`.
#[derive(Clone, Debug)]
pub struct Rope {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rope {
    /// Angles `position * theta^(-2 i / head_dim)`, computed in f64.
    ///
    /// # Panics
    /// If `head_dim` is odd.
    pub fn new(context: usize, head_dim: usize, theta: f64) -> Rope {
        assert!(head_dim.is_multiple_of(2), "Rope: head_dim {head_dim} is odd");
        let half = head_dim / 2;
        let angle = |i: usize| (i / half) as f64 * theta.powf(-((i % half) as f64) / half as f64);
        let table = |f: fn(f64) -> f64| (0..context * half).map(|i| f(angle(i)) as f32).collect();
        Rope { half, cos: table(f64::cos), sin: table(f64::sin) }
    }

    /// Positions in the table.
    pub fn context(&self) -> usize {
        self.cos.len() / self.half
    }

    /// Rotates the first `heads` heads of each row of `x` (rows of `width`, `tokens` of them a sequence), in place.
    ///
    /// # Panics
    /// If `tokens` is beyond the table, or the heads do not fit the rows.
    pub fn rotate(&self, x: &mut [f32], width: usize, heads: usize, tokens: usize) {
        self.turn(x, width, heads, tokens, 1.0);
    }

    /// The gradient of [`rotate`](Self::rotate), in place: the rotation back.
    ///
    /// # Panics
    /// As [`rotate`](Self::rotate).
    pub fn rotate_vjp(&self, x: &mut [f32], width: usize, heads: usize, tokens: usize) {
        self.turn(x, width, heads, tokens, -1.0);
    }

    fn turn(&self, x: &mut [f32], width: usize, heads: usize, tokens: usize, sign: f32) {
        let half = self.half;
        assert!(tokens <= self.context(), "Rope: {tokens} tokens, the table has {}", self.context());
        assert!(2 * half * heads <= width && x.len().is_multiple_of(width), "Rope: {heads} heads of {} in rows of {width}", 2 * half);
        for (r, row) in x.chunks_exact_mut(width).enumerate() {
            let at = (r % tokens) * half;
            let (cos, sin) = (&self.cos[at..][..half], &self.sin[at..][..half]);
            for head in row.chunks_exact_mut(2 * half).take(heads) {
                let (a, b) = head.split_at_mut(half);
                for (((a, b), c), s) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                    let s = s * sign;
                    (*a, *b) = (*a * c - *b * s, *a * s + *b * c);
                }
            }
        }
    }
}
