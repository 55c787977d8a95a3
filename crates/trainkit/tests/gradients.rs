//! Gradients against differences of the loss, for each operation and for the whole model.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use ndarray::ArrayView2;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::rng::Rng;
use scant_trainkit::llama::{Batch, Llama, LlamaConfig, Tape};
use scant_trainkit::ops::*;

fn normal(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..n).map(|_| rng.normal()).collect()
}

/// Compares `gradient` with central differences of `f` at `x`, on a spread of at most 60 coordinates.
fn agrees(what: &str, x: &[f32], gradient: &[f32], f: impl Fn(&[f32]) -> f64) {
    const STEP: f32 = 3e-3;
    let scale = gradient.iter().fold(0f32, |m, g| m.max(g.abs()));
    assert!(scale > 0.0, "{what}: no gradient");
    for at in (0..x.len()).step_by(x.len().div_ceil(60)) {
        let moved = |by: f32| {
            let mut x = x.to_vec();
            x[at] += by;
            f(&x)
        };
        let difference = ((moved(STEP) - moved(-STEP)) / (2.0 * f64::from(STEP))) as f32;
        let error = (difference - gradient[at]).abs();
        assert!(error < 0.01 * scale, "{what} at {at}: difference {difference}, gradient {}", gradient[at]);
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn matrix(x: &[f32], columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((x.len() / columns, columns), x).unwrap()
}

#[test]
fn linear_and_its_gradient() {
    let (n, i, o) = (5, 7, 3);
    let (x, w, dy) = (normal(n * i, 1), normal(o * i, 2), normal(n * o, 3));
    let forward = |x: &[f32], w: &[f32]| {
        let mut y = ndarray::Array2::zeros((n, o));
        linear(matrix(x, i), matrix(w, i), y.view_mut());
        dot(y.as_slice().unwrap(), &dy)
    };
    // `dx` is overwritten, `dw` added to.
    let (mut dx, mut dw) = (ndarray::Array2::from_elem((n, i), 9.0), ndarray::Array2::ones((o, i)));
    linear_vjp(matrix(&x, i), matrix(&w, i), matrix(&dy, o), dx.view_mut(), dw.view_mut());
    agrees("linear dx", &x, dx.as_slice().unwrap(), |x| forward(x, &w));
    agrees("linear dw", &w, (dw - 1.0).as_slice().unwrap(), |w| forward(&x, w));
}

#[test]
fn rms_norm_and_its_gradient() {
    let isa = Isa::best();
    for d in [5, 16, 37] {
        let (x, w, dy) = (normal(3 * d, 1), normal(d, 2), normal(3 * d, 3));
        let forward = |x: &[f32], w: &[f32]| {
            let mut y = vec![0.0; x.len()];
            rms_norm(isa, x, w, 1e-5, &mut y);
            dot(&y, &dy)
        };
        let (mut dx, mut dw) = (vec![9.0; 3 * d], vec![0.0; d]);
        rms_norm_vjp(isa, &x, &w, 1e-5, &dy, &mut dx, &mut dw);
        agrees("rms_norm dx", &x, &dx, |x| forward(x, &w));
        agrees("rms_norm dw", &w, &dw, |w| forward(&x, w));
    }
}

#[test]
fn swiglu_and_its_gradient() {
    let isa = Isa::best();
    for width in [3, 16, 21] {
        let (x, dy) = (normal(4 * width, 1), normal(2 * width, 2));
        let mut dx = vec![9.0; x.len()];
        swiglu_vjp(isa, &x, width, &dy, &mut dx);
        agrees("swiglu", &x, &dx, |x| {
            let mut y = vec![0.0; dy.len()];
            swiglu(isa, x, width, &mut y);
            dot(&y, &dy)
        });
    }
}

#[test]
fn attention_with_rotation_and_its_gradient() {
    let (isa, heads, rows) = (Isa::best(), Heads { heads: 4, kv_heads: 2, head_dim: 8 }, 2);
    let wide = heads.qkv_width();
    // One block, a block and a bit, and a single token.
    for tokens in [1, 5, 70] {
        let rope = Rope::new(tokens, heads.head_dim, 10_000.0);
        let x = normal(rows * tokens * wide, 1);
        let dy = normal(rows * tokens * heads.width(), 2);
        let forward = |x: &[f32], p: &mut [f32]| {
            let (mut qkv, mut y) = (x.to_vec(), vec![0.0; dy.len()]);
            rope.rotate(&mut qkv, wide, heads.heads + heads.kv_heads, tokens);
            attention(isa, heads, tokens, &qkv, p, &mut y);
            (qkv, dot(&y, &dy))
        };
        let mut p = vec![0.0; heads.probabilities(rows, tokens)];
        let (qkv, _) = forward(&x, &mut p);
        let mut dx = vec![9.0; x.len()];
        attention_vjp(isa, heads, tokens, &qkv, &p, &dy, &mut dx, &mut vec![]);
        rope.rotate_vjp(&mut dx, wide, heads.heads + heads.kv_heads, tokens);
        agrees("attention", &x, &dx, |x| forward(x, &mut vec![0.0; p.len()]).1);
    }
}

#[test]
fn attention_is_causal_and_rotation_knows_only_distance() {
    let (isa, heads) = (Isa::best(), Heads { heads: 2, kv_heads: 1, head_dim: 8 });
    let (tokens, wide) = (80, heads.qkv_width());
    let run = |qkv: &[f32]| {
        let (mut p, mut y) = (vec![f32::NAN; heads.probabilities(1, tokens)], vec![0.0; tokens * heads.width()]);
        attention(isa, heads, tokens, qkv, &mut p, &mut y);
        y
    };
    let mut qkv = normal(tokens * wide, 1);
    let before = run(&qkv);
    qkv[50 * wide..].fill(7.0);
    let after = run(&qkv);
    assert_eq!(before[..50 * heads.width()], after[..50 * heads.width()]);
    assert_ne!(before[50 * heads.width()..], after[50 * heads.width()..]);

    let rope = Rope::new(64, 8, 10_000.0);
    let (q, k) = (normal(8, 2), normal(8, 3));
    let score = |at: usize, distance: usize| {
        let place = |x: &[f32], at: usize| {
            let mut rows = vec![0.0; 64 * 8];
            rows[at * 8..][..8].copy_from_slice(x);
            rope.rotate(&mut rows, 8, 1, 64);
            rows[at * 8..][..8].to_vec()
        };
        dot(&place(&q, at + distance), &place(&k, at))
    };
    assert!((score(0, 9) - score(40, 9)).abs() < 1e-4);
    assert!((score(0, 9) - score(0, 2)).abs() > 1e-1, "{} {}", score(0, 9), score(0, 2));
}

#[test]
fn cross_entropy_and_its_gradient() {
    let isa = Isa::best();
    let (targets, weights) = ([3, 0, 18], [1.0, 4.0, 0.0]);
    let x = normal(3 * 19, 1);
    let mut dx = x.clone();
    let loss = cross_entropy_vjp(isa, &mut dx, &targets, &weights, 0.5);
    assert!((loss - cross_entropy(isa, &x, &targets, &weights)).abs() < 1e-6);
    assert!(dx[2 * 19..].iter().all(|g| *g == 0.0), "a row of weight 0 has no gradient");
    agrees("cross entropy", &x, &dx, |x| 0.5 * cross_entropy(isa, x, &targets, &weights));
    // Equal logits: log of the number of pieces, per unit of weight.
    assert!((cross_entropy(isa, &[2.0; 57], &targets, &weights) - 5.0 * 19f64.ln()).abs() < 1e-5);
}

fn small() -> (Llama, Batch) {
    let config =
        LlamaConfig { vocab_size: 40, hidden: 16, layers: 2, heads: 4, kv_heads: 2, head_dim: 4, ffn: 24, ..LlamaConfig::EMBEDDED };
    let model = Llama::new(config, 5).unwrap();
    let ids: Vec<u32> = (0..2 * 21).map(|i| (i * i * 7 + i) % 37).collect();
    let weights = (0..2 * 20).map(|i| if i % 5 == 0 { 4.0 } else { 1.0 }).collect();
    let part = |from: usize| [&ids[from..from + 20], &ids[21 + from..21 + from + 20]].concat();
    (model, Batch::new(2, 20, part(0), part(1), weights).unwrap())
}

#[test]
fn every_weight_of_the_model_gets_its_gradient() {
    let (model, batch) = small();
    let mut gradient = vec![0.0; model.weights().len()];
    let loss = model.gradient(&batch, batch.weight(), &mut Tape::new(), &mut gradient).unwrap();
    assert!((loss - model.loss(&batch, &mut Tape::new()).unwrap()).abs() < 1e-6);
    for weight in model.layout() {
        let range = weight.range.clone();
        agrees(&weight.name, &model.weights()[range.clone()], &gradient[range.clone()], |part| {
            let mut moved = model.clone();
            moved.weights_mut()[range.clone()].copy_from_slice(part);
            moved.loss(&batch, &mut Tape::new()).unwrap()
        });
    }
}
