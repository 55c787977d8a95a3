//! Pre and Post: what goes into the weights comes out of them, and products do not notice.

use crate::{assert_same, random};
use ndarray::{Array1, Array2, ArrayView2, Axis, array, s};
use scant_tensor_core::format::{Dense, DenseType};
use scant_tensor_core::isa::Isa;
use scant_tensor_core::rng::Rng;
use scant_tensor_core::team::Team;
use scant_tensor_core::{Ctx, Hadamard, Linear, Mode, Post, Pre, Site, Step, Workspace};

fn steps(n: usize, rng: &mut Rng) -> [Step; 3] {
    let scale: Vec<f32> = (0..n).map(|j| if j % 2 == 0 { 0.5 + rng.uniform() } else { -0.5 - rng.uniform() }).collect();
    let mut order: Vec<u32> = (0..n as u32).collect();
    rng.shuffle(&mut order);
    [Step::Scale(scale.into()), Step::Permute(order.into()), Step::Hadamard(Hadamard::random(n, rng.next_u64()))]
}

/// Each step alone, and several in one order and the other.
fn pres(n: usize, rng: &mut Rng) -> Vec<Pre> {
    let [scale, permute, hadamard] = steps(n, rng);
    let lists = [
        vec![scale.clone()],
        vec![permute.clone()],
        vec![hadamard.clone()],
        vec![scale.clone(), permute.clone(), hadamard.clone()],
        vec![hadamard.clone(), permute.clone(), scale.clone()],
        vec![permute, hadamard, scale],
    ];
    lists.into_iter().map(|steps| Pre::new(steps).unwrap()).collect()
}

fn close(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, what: &str) {
    let largest = b.iter().fold(1f32, |a, b| a.max(b.abs()));
    for ((at, a), b) in a.indexed_iter().zip(b) {
        assert!((a - b).abs() <= 1e-5 * largest, "{what} at {at:?}: {a} and {b}");
    }
}

fn forward(site: &Site, x: ArrayView2<'_, f32>) -> Array2<f32> {
    let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &Team::new(1) };
    let mut y = Array2::zeros((x.nrows(), site.outputs()));
    site.forward(&ctx, x, &mut Workspace::default(), y.view_mut()).unwrap();
    y
}

#[test]
fn weights_return_and_products_stay() {
    let mut rng = Rng::new(1);
    for n in [1, 6, 24, 64, 100, 576] {
        let (w, x) = (random(&mut rng, (20, n)), random(&mut rng, (3, n)));
        for pre in pres(n, &mut rng) {
            let mut moved = w.clone();
            pre.into_weights(moved.view_mut()).unwrap();
            let mut back = moved.clone();
            pre.out_of_weights(back.view_mut()).unwrap();
            close(back.view(), w.view(), "weights there and back");
            let term = |w: &Array2<f32>| Linear::from_term(Dense::new(w.view(), DenseType::F32).unwrap()).unwrap();
            let site = Site::new(pre.clone(), vec![term(&moved)]).unwrap();
            let plain = Site::new(Pre::none(), vec![term(&w)]).unwrap();
            close(forward(&site, x.view()).view(), forward(&plain, x.view()).view(), "products");
            let mut row = Array1::zeros(n);
            site.row(0, 13, row.view_mut()).unwrap();
            close(row.view().insert_axis(Axis(0)), w.slice(s![13..14, ..]), "a row");
        }
    }
}

#[test]
fn statistics_move_along() {
    let mut rng = Rng::new(2);
    let n = 24;
    let x = random(&mut rng, (50, n));
    for pre in pres(n, &mut rng) {
        let mut moved = Array2::zeros(x.dim());
        for (x, mut moved) in x.rows().into_iter().zip(moved.rows_mut()) {
            moved.assign(&Array1::from(pre.vector(&x.to_vec()).unwrap()));
        }
        close(pre.gram(x.t().dot(&x).view()).unwrap().view(), moved.t().dot(&moved).view(), "Gram matrix");
    }
}

#[test]
fn permutations_and_scales_by_powers_of_two_lose_nothing() {
    let mut rng = Rng::new(3);
    let w = random(&mut rng, (5, 40));
    let [_, permute, _] = steps(40, &mut rng);
    let scale = Step::Scale((0..40).map(|j| if j % 2 == 0 { 4.0 } else { -0.25 }).collect());
    let pre = Pre::new(vec![permute, scale]).unwrap();
    let mut there = w.clone();
    pre.into_weights(there.view_mut()).unwrap();
    assert_ne!(there, w);
    pre.out_of_weights(there.view_mut()).unwrap();
    assert_same(there.view(), w.view(), "there and back");
}

#[test]
fn a_rotation_spreads_one_value_over_its_block() {
    // 576 = 9 * 64: blocks of 64.
    let hadamard = Hadamard::random(576, 5);
    let mut x = vec![0.0; 576];
    x[70] = 8.0;
    let y = Pre::new(vec![Step::Hadamard(hadamard)]).unwrap().vector(&x).unwrap();
    assert!((0..576).all(|j| y[j].abs() == if (64..128).contains(&j) { 1.0 } else { 0.0 }));
}

#[test]
fn post_and_bias_come_after_the_sum() {
    let w = array![[1.0f32, 2.0], [3.0, 4.0], [5.0, 6.0]];
    let x = array![[1.0f32, 1.0], [2.0, -1.0]];
    let dense = || Dense::new(w.view(), DenseType::F32).unwrap().into();
    let site = |step: Step| {
        let linear = Linear::new(vec![dense()], Post::Step(step), Some(vec![10.0, 20.0, 30.0])).unwrap();
        Site::new(Pre::none(), vec![linear]).unwrap()
    };
    let scaled = forward(&site(Step::Scale([1.0, 2.0, -1.0].into())), x.view());
    assert_eq!(scaled, array![[13.0, 34.0, 19.0], [10.0, 24.0, 26.0]]);
    let permuted = forward(&site(Step::Permute([2, 0, 1].into())), x.view());
    assert_eq!(permuted, array![[21.0, 23.0, 37.0], [14.0, 20.0, 32.0]]);
}

#[test]
fn rows_are_those_of_the_whole_layer() {
    // Row i of Post W Pre, whatever Post is: the product with a unit vector, turned round.
    let mut rng = Rng::new(4);
    let (m, n) = (24, 40);
    let w = random(&mut rng, (m, n));
    let posts = steps(m, &mut rng).map(Post::Step).into_iter().chain([Post::None]);
    for post in posts {
        for pre in pres(n, &mut rng) {
            let terms = || vec![Dense::new(w.view(), DenseType::F32).unwrap().into()];
            let site = Site::new(pre, vec![Linear::new(terms(), post.clone(), None).unwrap()]).unwrap();
            let columns = forward(&site, Array2::eye(n).view());
            for i in 0..m {
                let mut row = Array1::ones(n);
                site.row(0, i, row.view_mut()).unwrap();
                close(row.view().insert_axis(Axis(0)), columns.slice(s![.., i..i + 1]).t(), &format!("{post:?}"));
            }
            let err = site.row(0, m, Array1::zeros(n).view_mut()).unwrap_err().to_string();
            assert!(err.contains("24"), "{err}");
        }
    }
}
