//! Attention over a dense layer against a naive reference in f64, and against itself cut in other ways.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use half::f16;
use ndarray::{Array2, Array3, ArrayView3, s};
use proptest::prelude::*;
use scant_kvcache::{DenseLayer, Error, Geometry, KvLayer, Stored, Workspace};
use scant_tensor_core::rng::Rng;
use scant_tensor_core::{Ctx, Mode, isa::Isa, team::Team};

/// Keys and values are on the f16 grid, so that both stores hold the same numbers.
struct Case {
    geometry: Geometry,
    q: Array3<f32>,
    k: Array3<f32>,
    v: Array3<f32>,
}

fn normal(rng: &mut Rng, shape: (usize, usize, usize)) -> Array3<f32> {
    Array3::from_shape_simple_fn(shape, || f16::from_f32(rng.normal()).to_f32())
}

impl Case {
    fn new(geometry: Geometry, tokens: usize, seed: u64) -> Case {
        let mut rng = Rng::new(seed);
        let g = geometry;
        Case {
            geometry,
            q: normal(&mut rng, (tokens, g.heads, g.key_dim)),
            k: normal(&mut rng, (tokens, g.kv_heads, g.key_dim)),
            v: normal(&mut rng, (tokens, g.kv_heads, g.value_dim)),
        }
    }

    fn tokens(&self) -> usize {
        self.q.dim().0
    }

    /// Every query head has its own copy of its keys: what grouping must not change.
    fn reference(&self) -> Array2<f64> {
        let g = &self.geometry;
        let mut out = Array2::zeros((self.tokens(), g.heads * g.value_dim));
        for t in 0..self.tokens() {
            for h in 0..g.heads {
                let shared = h / (g.heads / g.kv_heads);
                let seen: Vec<usize> = (0..=t).filter(|i| g.window.is_none_or(|w| t - i < w)).collect();
                let score = |i: &usize| {
                    let dot: f64 = (0..g.key_dim).map(|j| f64::from(self.q[[t, h, j]]) * f64::from(self.k[[*i, shared, j]])).sum();
                    let scaled = dot * f64::from(g.scale);
                    g.softcap.map_or(scaled, |cap| f64::from(cap) * (scaled / f64::from(cap)).tanh())
                };
                let scores: Vec<f64> = seen.iter().map(score).collect();
                let max = scores.iter().copied().fold(f64::MIN, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for j in 0..g.value_dim {
                    let total: f64 = seen.iter().zip(&weights).map(|(i, w)| w * f64::from(self.v[[*i, shared, j]])).sum();
                    out[[t, h * g.value_dim + j]] = total / sum;
                }
            }
        }
        out
    }

    /// Runs the case in blocks of the given sizes, the last one repeated.
    fn run<T: Stored>(&self, isa: Isa, threads: usize, blocks: &[usize]) -> Array2<f32> {
        let team = Team::new(threads);
        let ctx = Ctx { isa, mode: Mode::Exact, team: &team };
        let mut layer = DenseLayer::<T>::new(self.geometry).unwrap();
        let mut ws = Workspace::default();
        let mut out = Array2::zeros((self.tokens(), self.geometry.heads * self.geometry.value_dim));
        let (mut first, mut sizes) = (0, blocks.iter());
        let mut size = 1;
        while first < self.tokens() {
            size = *sizes.next().unwrap_or(&size);
            let rows = s![first..(first + size).min(self.tokens()), .., ..];
            let part = |x: &'_ Array3<f32>| x.slice(rows).to_owned();
            let (q, k, v) = (part(&self.q), part(&self.k), part(&self.v));
            let end = first + q.dim().0;
            layer.extend(&ctx, [q.view(), k.view(), v.view()], &mut ws, out.slice_mut(s![first..end, ..])).unwrap();
            first = end;
        }
        out
    }

    fn check(&self) {
        let want = self.reference();
        let got = self.run::<f32>(Isa::best(), 1, &[self.tokens()]);
        for ((at, got), want) in got.indexed_iter().zip(&want) {
            assert!((f64::from(*got) - want).abs() < 2e-5, "{:?} at {at:?}: {got}, not {want}", self.geometry);
        }
        for isa in Isa::available() {
            for threads in [1, 2, 3] {
                assert_eq!(self.run::<f32>(isa, threads, &[self.tokens()]), got, "{isa}, {threads} threads, whole");
                assert_eq!(self.run::<f16>(isa, threads, &[7, 1, 30, 1, 17]), got, "{isa}, {threads} threads, in blocks");
            }
            assert_eq!(self.run::<f16>(isa, 2, &[1]), got, "{isa}, token by token");
        }
    }
}

#[test]
fn grouped_heads_attend_like_expanded_ones() {
    for (heads, kv_heads) in [(1, 1), (2, 1), (3, 1), (9, 3), (8, 1), (5, 5)] {
        Case::new(Geometry::new(heads, kv_heads, 16).unwrap(), 40, heads as u64).check();
    }
}

#[test]
fn any_width_and_any_length() {
    for (dim, tokens) in [(8, 1), (1, 16), (3, 17), (64, 33), (80, 15), (256, 20)] {
        Case::new(Geometry::new(2, 1, dim).unwrap(), tokens, dim as u64).check();
    }
    Case::new(Geometry::new(2, 2, 12).unwrap().value_dim(37), 30, 1).check();
}

#[test]
fn entries_beyond_one_slab() {
    Case::new(Geometry::new(2, 1, 8).unwrap(), 600, 2).check();
}

#[test]
fn windows_hide_what_is_too_old() {
    for window in [1, 2, 16, 40, 255, 256, 300] {
        Case::new(Geometry::new(2, 1, 4).unwrap().window(window), 700, window as u64).check();
    }
}

#[test]
fn scores_are_scaled_and_capped() {
    let geometry = Geometry::new(2, 1, 16).unwrap();
    Case::new(geometry.scale(1.5), 50, 3).check();
    Case::new(geometry.scale(2.0).softcap(5.0), 50, 4).check();
    Case::new(geometry.scale(2.0).softcap(5.0).window(9), 50, 5).check();
}

#[test]
fn truncated_is_as_never_appended() {
    let case = Case::new(Geometry::new(4, 2, 16).unwrap(), 300, 6);
    let other = Case::new(case.geometry, 300, 7);
    let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &Team::new(1) };
    let mut ws = Workspace::default();
    let mut layer = DenseLayer::<f16>::new(case.geometry).unwrap();
    layer.append(case.k.view(), case.v.view()).unwrap();
    let whole = layer.fork();
    layer.truncate(120).unwrap();
    layer.append(other.k.view(), other.v.view()).unwrap();
    layer.truncate(120).unwrap();
    let rest = |x: &Array3<f32>| x.slice(s![120.., .., ..]).to_owned();
    layer.append(rest(&case.k).view(), rest(&case.v).view()).unwrap();
    let mut attend = |mut layer: Box<dyn KvLayer>| {
        let mut out = Array2::zeros((300, 64));
        layer.attend(&ctx, case.q.view(), 0, &mut ws, out.view_mut()).unwrap();
        out
    };
    assert_eq!(attend(layer.fork()), attend(whole));
    assert!(matches!(layer.truncate(301), Err(Error::NotTruncatable { requested: 301, len: 300, held_from: 0 })));
}

#[test]
fn a_window_gives_up_slabs_and_says_so() {
    let geometry = Geometry::new(1, 1, 16).unwrap().window(100);
    let mut layer = DenseLayer::<f16>::new(geometry).unwrap();
    let one = Array3::ones((1, 1, 16));
    for _ in 0..2000 {
        layer.append(one.view(), one.view()).unwrap();
    }
    let bytes = layer.bytes();
    assert!(bytes.total() < 2 * 256 * 2 * 32 + 256, "{bytes:?}"); // two slabs of 256 keys and values of 32 bytes
    layer.truncate(1995).unwrap();
    let Err(Error::NotTruncatable { held_from, .. }) = layer.truncate(1200) else { panic!("1200 tokens are not there any more") };
    assert_eq!((held_from, layer.len()), (1792, 1995));
    // Starting again from nothing needs nothing.
    layer.truncate(0).unwrap();
    assert!(layer.is_empty());
    for x in [1.0, 3.0] {
        let one = Array3::from_elem((1, 1, 16), x);
        layer.append(one.view(), one.view()).unwrap();
    }
    let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &Team::new(1) };
    let mut out = Array2::zeros((1, 16));
    layer.attend(&ctx, Array3::zeros((1, 1, 16)).view(), 1, &mut Workspace::default(), out.view_mut()).unwrap();
    assert!(out.iter().all(|x| *x == 2.0), "{out}");
}

#[test]
fn strides_of_both_orders_are_taken() {
    let case = Case::new(Geometry::new(4, 2, 16).unwrap(), 20, 8);
    let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &Team::new(1) };
    let run = |q: ArrayView3<'_, f32>, k: ArrayView3<'_, f32>, v: ArrayView3<'_, f32>| {
        let mut out = Array2::zeros((20, 64));
        DenseLayer::<f32>::new(case.geometry).unwrap().extend(&ctx, [q, k, v], &mut Workspace::default(), out.view_mut()).unwrap();
        out
    };
    // [head][token][dim] in memory, and components that are not contiguous
    let by_head = |x: &Array3<f32>| x.view().permuted_axes([1, 0, 2]).as_standard_layout().into_owned();
    let reversed = |x: &Array3<f32>| x.view().permuted_axes([2, 1, 0]).as_standard_layout().into_owned();
    let want = run(case.q.view(), case.k.view(), case.v.view());
    let [q, k, v] = [&case.q, &case.k, &case.v].map(by_head);
    let axes = [1, 0, 2];
    assert_eq!(run(q.view().permuted_axes(axes), k.view().permuted_axes(axes), v.view().permuted_axes(axes)), want);
    let [q, k, v] = [&case.q, &case.k, &case.v].map(reversed);
    let axes = [2, 1, 0];
    assert_eq!(run(q.view().permuted_axes(axes), k.view().permuted_axes(axes), v.view().permuted_axes(axes)), want);
}

#[test]
fn bad_input_is_named_and_changes_nothing() {
    let mut layer = DenseLayer::<f16>::new(Geometry::new(2, 1, 4).unwrap()).unwrap();
    let good = Array3::ones((3, 1, 4));
    layer.append(good.view(), good.view()).unwrap();
    for (value, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (7e4, "70000")] {
        let mut bad = good.clone();
        bad[[1, 0, 2]] = value;
        let error = layer.append(good.view(), bad.view()).unwrap_err().to_string();
        assert!(error.contains("value of token 4") && error.contains(word), "{error}");
    }
    assert!(matches!(layer.append(Array3::ones((3, 2, 4)).view(), good.view()), Err(Error::Shape { what: "keys", .. })));
    assert!(matches!(layer.append(good.view(), Array3::ones((2, 1, 4)).view()), Err(Error::Shape { what: "values", .. })));
    assert_eq!(layer.len(), 3);
    let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &Team::new(1) };
    let mut out = Array2::zeros((2, 8));
    let error = layer.attend(&ctx, Array3::ones((2, 2, 4)).view(), 2, &mut Workspace::default(), out.view_mut()).unwrap_err();
    assert_eq!(error, Error::Position { first: 2, end: 4, len: 3 });
    assert!(matches!(Geometry::new(3, 2, 4), Err(Error::HeadsNotDivisible { heads: 3, kv_heads: 2 })));
    let geometry = Geometry::new(1, 1, 4).unwrap();
    for bad in [geometry.window(0), geometry.scale(f32::NAN), geometry.softcap(-1.0), geometry.value_dim(0)] {
        assert!(matches!(DenseLayer::<f32>::new(bad), Err(Error::Zero { .. })), "{bad:?}");
    }
}

#[test]
fn nan_in_a_query_gives_nan_there_alone() {
    let mut case = Case::new(Geometry::new(2, 1, 16).unwrap(), 20, 9);
    case.q[[5, 1, 3]] = f32::NAN;
    for isa in Isa::available() {
        let out = case.run::<f16>(isa, 1, &[20]);
        for ((t, j), x) in out.indexed_iter() {
            assert_eq!(x.is_nan(), t == 5 && j >= 16, "{isa} {t} {j}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_cut_of_any_shape_is_the_same(
        (group, kv_heads, dim, tokens) in (1..6usize, 1..4usize, 1..70usize, 1..90usize),
        window in proptest::option::of(1..60usize),
        blocks in proptest::collection::vec(1..40usize, 1..6),
    ) {
        let mut geometry = Geometry::new(group * kv_heads, kv_heads, dim).unwrap();
        geometry.window = window;
        let case = Case::new(geometry, tokens, dim as u64);
        let want = case.reference();
        let got = case.run::<f16>(Isa::best(), 2, &blocks);
        for (got, want) in got.iter().zip(&want) {
            prop_assert!((f64::from(*got) - want).abs() < 2e-5, "{} {}", got, want);
        }
        prop_assert_eq!(got, case.run::<f32>(Isa::best(), 1, &[tokens]));
    }
}
