use super::*;
use crate::rng::Rng;

/// Replaces a column by `keep` times itself and remembers what it chose.
struct Shrink<'a> {
    keep: &'a [f32],
    rows: usize,
    chosen: Vec<Column>,
    begun: Vec<Range<usize>>,
}

impl Decide for Shrink<'_> {
    fn begin(&mut self, columns: Range<usize>, w: &[Column]) {
        assert_eq!(columns.len(), w.len());
        self.begun.push(columns);
    }

    fn decide(&mut self, j: usize, w: &Column, chosen: &mut Column) {
        *chosen = w.map(|w| w * self.keep[j]);
        self.chosen.push(*chosen);
    }
}

fn case(m: usize, n: usize) -> (Array2<f32>, Array2<f32>) {
    let mut rng = Rng::new(21);
    let w = Array2::from_shape_fn((m, n), |_| rng.normal());
    let mut x = Array2::from_shape_fn((4 * n, n), |_| rng.normal());
    let common = x.column(0).to_owned();
    x.columns_mut().into_iter().for_each(|mut c| c.scaled_add(0.7, &common));
    (w, x.t().dot(&x) / (4 * n) as f32)
}

fn swept(w: &Array2<f32>, factor: &InverseFactor, keep: &[f32], group: usize, block: usize) -> (Array2<f32>, Vec<f64>, Vec<Range<usize>>) {
    let new = |rows: Range<usize>| Shrink { keep, rows: rows.len(), chosen: vec![], begun: vec![] };
    let swept = sweep_blocks(w.view(), Some(factor), group, block, new).unwrap();
    let mut out = Array2::zeros(w.dim());
    for (i, chunk) in swept.chunks.iter().enumerate() {
        for lane in 0..chunk.rows {
            chunk.chosen.iter().enumerate().for_each(|(j, c)| out[[i * LANES + lane, j]] = c[lane]);
        }
    }
    (out, swept.loss, swept.chunks[0].begun.clone())
}

fn loss(d: &Array2<f32>, h: &Array2<f32>) -> f64 {
    let (d, h) = (d.mapv(f64::from), h.mapv(f64::from));
    (d.dot(&h) * &d).sum()
}

#[test]
fn one_removed_column_is_made_up_for_by_the_closed_form() {
    let (w, h) = case(5, 40);
    let factor = InverseFactor::new(h.view(), 0.0).unwrap();
    let mut keep = [1.0; 40];
    keep[0] = 0.0;
    let (got, predicted, _) = swept(&w, &factor, &keep, 16, BLOCK);
    // w - w_0 Hinv[0, ..] / Hinv[0, 0]: the least squares solution with the first weight held at 0 (LeCun et al., Hassibi et al.).
    let inverse = crate::linalg::spd_inverse(h.view()).unwrap();
    for ((i, j), got) in got.indexed_iter() {
        let want = w[[i, j]] - w[[i, 0]] * inverse[[0, j]] / inverse[[0, 0]];
        assert!((got - want).abs() < 1e-4, "({i}, {j}): {got}, want {want}");
    }
    for (i, predicted) in predicted.iter().enumerate() {
        let want = f64::from(w[[i, 0]]).powi(2) / f64::from(inverse[[0, 0]]);
        assert!((predicted - want).abs() < 1e-4 * want, "row {i}: {predicted}, want {want}");
    }
}

#[test]
fn the_predicted_loss_is_the_measured_one() {
    let (w, h) = case(70, 200);
    let keep: Vec<f32> = (0..200).map(|j| if j % 3 == 0 { 0.0 } else { 0.9 }).collect();
    let factor = InverseFactor::new(h.view(), 0.01).unwrap();
    let (got, predicted, _) = swept(&w, &factor, &keep, 32, BLOCK);
    let d = &got - &w;
    let mut damped = h.clone();
    damped.diag_mut().iter_mut().for_each(|x| *x += factor.added());
    let (measured, predicted) = (loss(&d, &damped), predicted.iter().sum::<f64>());
    assert!((measured / predicted - 1.0).abs() < 1e-3, "{measured} {predicted}");
    let uncompensated = loss(&(&w * &ndarray::ArrayView1::from(&keep) - &w), &damped);
    assert!(measured < 0.7 * uncompensated, "{measured} {uncompensated}");
}

#[test]
fn block_size_and_group_size_change_only_rounding() {
    let (w, h) = case(3, 300);
    let keep: Vec<f32> = (0..300).map(|j| (j % 7) as f32 / 7.0).collect();
    let factor = InverseFactor::new(h.view(), 0.01).unwrap();
    let (want, want_loss, _) = swept(&w, &factor, &keep, 1, 1);
    for (group, block) in [(1, 7), (16, 128), (48, 128), (144, 128), (300, 128), (300, 300), (1000, 64)] {
        let (got, got_loss, begun) = swept(&w, &factor, &keep, group, block);
        let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-4, "groups of {group}, blocks of {block}: {worst}");
        assert!(got_loss.iter().zip(&want_loss).all(|(a, b)| (a / b - 1.0).abs() < 1e-4));
        let starts: Vec<usize> = (0..300).step_by(group).collect();
        assert_eq!(begun, starts.into_iter().map(|s| s..(s + group).min(300)).collect::<Vec<_>>());
    }
}

#[test]
fn groups_begin_with_weights_that_are_up_to_date() {
    /// Checks that what a group begins with is what its columns are when their own turn comes, if none of the group changes.
    struct Begin(Vec<Column>, usize);
    impl Decide for Begin {
        fn begin(&mut self, columns: Range<usize>, w: &[Column]) {
            (self.0, self.1) = (w.to_vec(), columns.start);
        }
        fn decide(&mut self, j: usize, w: &Column, chosen: &mut Column) {
            let at_start = self.0[j - self.1];
            let second = self.1 > 0;
            assert!(!second || w.iter().zip(&at_start).all(|(a, b)| a == b), "column {j} moved after its group began");
            *chosen = if second { *w } else { [0.0; LANES] };
        }
    }
    let (w, h) = case(2, 300);
    let factor = InverseFactor::new(h.view(), 0.01).unwrap();
    for group in [48, 100, 144, 160, 200] {
        sweep(w.view(), Some(&factor), group, |_| Begin(vec![], 0)).unwrap();
    }
}

#[test]
fn dead_inputs_are_found_before_damping_and_touch_nothing() {
    let (w, mut h) = case(4, 20);
    let alive = InverseFactor::new(h.view(), 0.01).unwrap();
    assert_eq!(alive.dead_inputs(), 0);
    h.row_mut(5).fill(0.0);
    h.column_mut(5).fill(0.0);
    let factor = InverseFactor::new(h.view(), 0.01).unwrap();
    assert!(factor.is_dead(5) && factor.dead_inputs() == 1);
    let (got, _, _) = swept(&w, &factor, &[0.5; 20], 4, BLOCK);
    assert!(got.column(5).iter().all(|w| *w == 0.0), "a dead input's weights are dropped");
    let mut changed = w.clone();
    changed.column_mut(5).fill(1e6);
    assert_eq!(swept(&changed, &factor, &[0.5; 20], 4, BLOCK).0, got, "and reach no other column");
    let none = InverseFactor::new(Array2::zeros((3, 3)).view(), 0.01).unwrap();
    assert_eq!(none.upper(), Array2::<f32>::eye(3));
}

#[test]
fn damping_is_raised_until_it_does() {
    // Rank one: without damping there is no factor.
    let h = Array2::from_elem((6, 6), 1.0);
    let factor = InverseFactor::new(h.view(), 0.0).unwrap();
    assert!(factor.damping() > 0.0 && factor.damping() <= 0.01, "{}", factor.damping());
    let hopeless = Array2::from_shape_fn((3, 3), |(i, j)| if i == j { 1.0 } else { 1e4 });
    let error = InverseFactor::new(hopeless.view(), 0.01).unwrap_err().to_string();
    assert!(error.starts_with("gram matrix with a damping of 0.01, raised 3 times to 10.00: pivot 1 of 3 is not positive"), "{error}");
    assert!(InverseFactor::new(Array2::zeros((2, 3)).view(), 0.01).is_err());
    assert!(matches!(InverseFactor::new(Array2::from_elem((2, 2), f32::NAN).view(), 0.01), Err(Error::NotFinite { .. })));
}

#[test]
fn rows_and_threads_are_independent() {
    let (w, h) = case(150, 70);
    let factor = InverseFactor::new(h.view(), 0.01).unwrap();
    let keep: Vec<f32> = (0..70).map(|j| (j % 5) as f32 / 5.0).collect();
    let run = |threads: usize, w: &Array2<f32>| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| swept(w, &factor, &keep, 16, BLOCK).0)
    };
    let want = run(1, &w);
    assert_eq!(run(2, &w), want);
    let reversed = w.slice(s![..;-1, ..]).to_owned();
    assert_eq!(run(2, &reversed), want.slice(s![..;-1, ..]));
}

#[test]
fn bad_input_is_an_error() {
    let (w, h) = case(2, 8);
    let factor = InverseFactor::new(h.view(), 0.01).unwrap();
    let new = |rows: Range<usize>| Shrink { keep: &[1.0; 9], rows: rows.len(), chosen: vec![], begun: vec![] };
    assert!(matches!(sweep(Array2::zeros((2, 9)).view(), Some(&factor), 4, new), Err(Error::Shape { .. })));
    assert!(matches!(sweep(Array2::zeros((0, 8)).view(), Some(&factor), 4, new), Err(Error::Empty { .. })));
    let mut bad = w;
    bad[[1, 3]] = f32::INFINITY;
    assert!(matches!(sweep(bad.view(), None, 4, new), Err(Error::NotFinite { row: 1, column: 3, .. })));
}
