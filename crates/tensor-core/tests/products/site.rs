//! Sites: several matrices over one input, shared out to threads.

use crate::sample::{Form, Sample};
use crate::{MODES, assert_same, dense, product, random};
use ndarray::{Array2, ArrayView2, Axis, concatenate, s};
use scant_tensor_core::format::{Dense, DenseType};
use scant_tensor_core::isa::Isa;
use scant_tensor_core::rng::Rng;
use scant_tensor_core::team::Team;
use scant_tensor_core::{Ctx, Linear, LinearOp, Mode, Post, Pre, Site, Term, Workspace, gather};
use std::sync::Arc;

/// q, k and v of a small model, the last one a sum of two terms.
fn site(rng: &mut Rng) -> (Site, Vec<Vec<Arc<dyn LinearOp>>>) {
    let mut grid = |m, form, bits| Arc::new(Sample::random(form, bits, 32, [m, 200], rng).grid);
    let (q, k, v) = (grid(300, Form::SymmetricF16, 8), grid(97, Form::MinF16, 4), grid(100, Form::SuperBlocks, 5));
    let rest = Arc::new(Dense::new(random(rng, (100, 200)).view(), DenseType::F16).unwrap());
    let terms: [Vec<Term>; 3] =
        [vec![Term::Grid(q.clone())], vec![Term::Grid(k.clone())], vec![Term::Grid(v.clone()), Term::Dense(rest.clone())]];
    let linears = terms.into_iter().map(|terms| Linear::new(terms, Post::None, None).unwrap()).collect();
    (Site::new(Pre::none(), linears).unwrap(), vec![vec![q as Arc<dyn LinearOp>], vec![k], vec![v, rest]])
}

fn forward(site: &Site, mode: Mode, threads: usize, x: ArrayView2<'_, f32>, dense: bool) -> Array2<f32> {
    let ctx = Ctx { isa: Isa::best(), mode, team: &Team::new(threads) };
    let mut y = Array2::from_elem((x.nrows(), site.outputs()), f32::NAN);
    // Buffers as a longer input has left them.
    let mut ws = Workspace::default();
    let mut longer = Array2::zeros((x.nrows() + 3, site.outputs()));
    let before = Array2::from_elem((x.nrows() + 3, x.ncols()), 5.0);
    site.forward(&ctx, before.view(), &mut ws, longer.view_mut()).unwrap();
    let run = if dense { Site::forward_dense } else { Site::forward };
    run(site, &ctx, x, &mut ws, y.view_mut()).unwrap();
    y
}

#[test]
fn a_site_is_its_matrices_side_by_side_on_any_number_of_threads() {
    let mut rng = Rng::new(1);
    let (site, parts) = site(&mut rng);
    for tokens in [1, 2, 5, 17] {
        let x = random(&mut rng, (tokens, 200));
        for mode in MODES {
            let parts: Vec<Array2<f32>> = parts
                .iter()
                .map(|terms| terms.iter().map(|t| product(&**t, Isa::best(), mode, x.view())).reduce(|a, b| a + b).unwrap())
                .collect();
            let want = concatenate(Axis(1), &parts.iter().map(|p| p.view()).collect::<Vec<_>>()).unwrap();
            for threads in [1, 2, 3, 5] {
                let y = forward(&site, mode, threads, x.view(), false);
                assert_same(y.view(), want.view(), &format!("{mode}, {tokens} tokens, {threads} threads"));
            }
        }
    }
}

#[test]
fn the_dense_path_is_within_rounding_on_any_number_of_threads() {
    let mut rng = Rng::new(2);
    let (site, parts) = site(&mut rng);
    let parts: Vec<Array2<f32>> = parts.iter().map(|terms| terms.iter().map(|t| dense(&**t)).reduce(|a, b| a + b).unwrap()).collect();
    let w = concatenate(Axis(0), &parts.iter().map(|p| p.view()).collect::<Vec<_>>()).unwrap();
    for tokens in [1, 5, 70] {
        let x = random(&mut rng, (tokens, 200));
        let y = forward(&site, Mode::Exact, 1, x.view(), true);
        for (y, x) in y.rows().into_iter().zip(x.rows()) {
            scant_testkit::bounds::assert_gemv(&y.to_vec(), w.as_slice().unwrap(), &x.to_vec());
        }
        for threads in [2, 3] {
            assert_same(forward(&site, Mode::Exact, threads, x.view(), true).view(), y.view(), "dense path");
        }
    }
}

#[test]
fn inputs_and_outputs_of_other_strides_do() {
    let mut rng = Rng::new(3);
    let (site, _) = site(&mut rng);
    let wide = random(&mut rng, (4, 400));
    let x = wide.slice(s![.., ..;2]);
    let ctx = Ctx { isa: Isa::best(), mode: Mode::Fast, team: &Team::new(2) };
    let mut y = Array2::zeros((4, 600));
    site.forward(&ctx, x, &mut Workspace::default(), y.slice_mut(s![.., 50..50 + site.outputs()])).unwrap();
    let want = forward(&site, Mode::Fast, 1, x.to_owned().view(), false);
    assert_same(y.slice(s![.., 50..50 + site.outputs()]), want.view(), "strided");
    let mut columns = Array2::zeros((site.outputs(), 4)).reversed_axes();
    site.forward(&ctx, x, &mut Workspace::default(), columns.view_mut()).unwrap();
    assert_same(columns.view(), want.view(), "column by column");
    columns.fill(7.0);
    site.forward_dense(&ctx, x, &mut Workspace::default(), columns.view_mut()).unwrap();
    assert_same(columns.view(), forward(&site, Mode::Fast, 1, x.to_owned().view(), true).view(), "column by column, dense");
    for run in [Site::forward, Site::forward_dense] {
        run(&site, &ctx, x.slice(s![..0, ..]), &mut Workspace::default(), columns.slice_mut(s![..0, ..])).unwrap();
    }
    assert!(y.slice(s![.., ..50]).iter().chain(y.slice(s![.., 50 + site.outputs()..])).all(|y| *y == 0.0));
}

#[test]
fn shapes_that_disagree_are_named() {
    let mut rng = Rng::new(4);
    let (site, _) = site(&mut rng);
    let ctx = Ctx { isa: Isa::best(), mode: Mode::Fast, team: &Team::new(1) };
    let run = |x: [usize; 2], y: [usize; 2]| {
        let (x, mut y) = (Array2::zeros(x), Array2::zeros(y));
        site.forward(&ctx, x.view(), &mut Workspace::default(), y.view_mut()).unwrap_err().to_string()
    };
    assert_eq!(run([2, 199], [2, 497]), "site input: want [2, 200], got [2, 199]");
    assert_eq!(run([2, 200], [3, 497]), "site output: want [2, 497], got [3, 497]");
    let dense = |n| Linear::from_term(Dense::new(Array2::zeros((3, n)).view(), DenseType::F32).unwrap()).unwrap();
    let err = Site::new(Pre::none(), vec![dense(4), dense(5)]).unwrap_err().to_string();
    assert!(err.contains("[4]") && err.contains("[5]"), "{err}");
}

#[test]
fn gathered_matrices_lie_together_and_give_the_same_bits() {
    let mut rng = Rng::new(5);
    let (first, _) = site(&mut rng);
    // The second shares its matrix with the first, as a tied head and embedding may.
    let shared = Site::new(Pre::none(), vec![first.linears()[2].clone()]).unwrap();
    let mut sites = [first, shared];
    let x = random(&mut rng, (3, 200));
    let before = sites.clone().map(|site| (forward(&site, Mode::Fast, 2, x.view(), false), site.footprint()));
    gather(&mut sites);
    let mut at = vec![];
    for (site, (y, footprint)) in sites.iter().zip(before) {
        assert_same(forward(site, Mode::Fast, 2, x.view(), false).view(), y.view(), "gathered");
        assert_eq!(site.footprint(), footprint);
        for term in site.linears().iter().flat_map(|l| l.terms()) {
            if let Term::Grid(grid) = term {
                at.push((grid.packed_codes().as_ptr().addr(), grid.packed_codes().len()));
            }
        }
    }
    // q, k, v and v again; between them scales and minima.
    assert_eq!(at[2], at[3]);
    for pair in at[..3].windows(2) {
        let [(start, len), (next, _)] = pair else { unreachable!("pairs") };
        assert!(start % 64 == 0 && start + len < *next && next - (start + len) < 8192, "{start} + {len}, {next}");
    }
}
