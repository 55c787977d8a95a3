//! Terms of two stages: plain factors of every kind, and pivoted ones.

use crate::{MODES, check_one_result, check_other_views, dense, random};
use ndarray::{Array2, ArrayView2};
use scant_tensor_core::file::{File, Writer};
use scant_tensor_core::format::{Dense, DenseType, Grid, GridSpec, LowRank, Pivoted, RowOffset, RowStat};
use scant_tensor_core::isa::Isa;
use scant_tensor_core::rng::Rng;
use scant_tensor_core::team::Team;
use scant_tensor_core::{Ctx, Error, Linear, LinearOp, Mode, Pre, Site, Term, Workspace};

fn half(w: &Array2<f32>) -> Dense {
    Dense::new(w.view(), DenseType::F16).unwrap()
}

fn grid(w: &Array2<f32>, bits: u32) -> Grid {
    let (m, n) = w.dim();
    let spec = GridSpec::new([m, n], bits, 16).unwrap();
    let top = (1 << (bits - 1)) as f32;
    let scale = RowStat::F32(Array2::from_elem((m, spec.groups()), 4.0 / top));
    let codes = w.mapv(|w| (w * top / 4.0 + top).round().clamp(0.0, 2.0 * top - 1.0) as u8);
    Grid::pack(spec, codes.view(), &scale, &RowOffset::Symmetric).unwrap()
}

/// A pivoted matrix, and its rows by definition.
fn pivoted(rng: &mut Rng, m: usize, n: usize, r: usize) -> (Pivoted, Array2<f32>) {
    let mut rows: Vec<usize> = (0..m).collect();
    rng.shuffle(&mut rows);
    let mut pivots = rows[..r].to_vec();
    pivots.sort_unstable();
    let (z, b) = (half(&random(rng, (m - r, r))), half(&random(rng, (r, n))));
    let (z_all, b_all) = (dense(&z), dense(&b));
    let made = z_all.dot(&b_all);
    let (mut pivot, mut other) = (b_all.rows().into_iter(), made.rows().into_iter());
    let mut w = Array2::zeros((m, n));
    for (i, mut row) in w.rows_mut().into_iter().enumerate() {
        row.assign(&if pivots.contains(&i) { pivot.next() } else { other.next() }.unwrap());
    }
    (Pivoted::new(&pivots, z, b).unwrap(), w)
}

#[track_caller]
fn near(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, bound: f32, what: &str) {
    let size = b.iter().fold(1.0f32, |m, v| m.max(v.abs()));
    for ((at, a), b) in a.indexed_iter().zip(b) {
        assert!((a - b).abs() <= bound * size, "{what} at {at:?}: {a} and {b}");
    }
}

#[test]
fn two_stages_are_the_product_of_the_factors() {
    let mut rng = Rng::new(1);
    for (m, n, r, tokens) in [(1, 1, 1, 1), (19, 33, 1, 3), (40, 70, 15, 2), (48, 64, 16, 9), (100, 96, 17, 5), (33, 130, 33, 4)] {
        let (a, b) = (random(&mut rng, (m, r)), random(&mut rng, (r, n)));
        let x = random(&mut rng, (tokens, n));
        let kinds: [(&str, Term, Term); 3] = [
            ("f16", half(&a).into(), half(&b).into()),
            ("grids", grid(&a, 4).into(), grid(&b, 8).into()),
            ("mixed", Dense::new(a.view(), DenseType::F32).unwrap().into(), grid(&b, 4).into()),
        ];
        for (what, a, b) in kinds {
            let w = LowRank::new(a, b).unwrap();
            let all = dense(w.a().op()).dot(&dense(w.b().op()));
            near(dense(&w).view(), all.view(), 1e-5, what);
            check_other_views(&w, &mut rng, what);
            for mode in MODES {
                let y = check_one_result(&w, mode, x.view(), what);
                near(y.view(), x.dot(&all.t()).view(), if mode == Mode::Exact { 1e-4 } else { 0.05 }, what);
            }
            assert_eq!(w.footprint(), w.a().op().footprint() + w.b().op().footprint());
        }
        if r < m {
            let (w, all) = pivoted(&mut rng, m, n, r);
            near(dense(&w).view(), all.view(), 1e-5, "pivoted");
            check_other_views(&w, &mut rng, "pivoted");
            for mode in MODES {
                let y = check_one_result(&w, mode, x.view(), "pivoted");
                near(y.view(), x.dot(&all.t()).view(), 1e-4, "pivoted");
            }
            assert_eq!(w.footprint().total() as usize, 2 * (r * n + (m - r) * r) + 8 * m.div_ceil(64));
        }
    }
}

#[test]
fn a_site_stages_once_saves_and_loads() {
    let mut rng = Rng::new(2);
    let (m, n, r) = (150, 96, 70);
    let base = Dense::new(random(&mut rng, (m, n)).view(), DenseType::F32).unwrap();
    let low = LowRank::new(grid(&random(&mut rng, (m, r)), 4), grid(&random(&mut rng, (r, n)), 4)).unwrap();
    let (cut, _) = pivoted(&mut rng, m, n, 40);
    let linears = vec![
        Linear::new(vec![base.into(), low.into()], Default::default(), None).unwrap(),
        Linear::from_term(cut).unwrap(),
        Linear::from_term(half(&random(&mut rng, (32, n)))).unwrap(),
    ];
    let site = Site::new(Pre::none(), linears).unwrap();
    let mut w = Array2::zeros((site.outputs(), n));
    for i in 0..m {
        site.row(0, i, w.row_mut(i)).unwrap();
        site.row(1, i, w.row_mut(m + i)).unwrap();
    }
    (0..32).for_each(|i| site.row(2, i, w.row_mut(2 * m + i)).unwrap());
    let x = random(&mut rng, (5, n));
    let run = |site: &Site, mode, threads, dense: bool| {
        let (team, mut ws, mut y) = (Team::new(threads), Workspace::default(), Array2::zeros((5, site.outputs())));
        let ctx = Ctx { isa: Isa::best(), mode, team: &team };
        let pass = if dense { Site::forward_dense } else { Site::forward };
        pass(site, &ctx, x.view(), &mut ws, y.view_mut()).unwrap();
        y
    };
    let want = x.dot(&w.t());
    near(run(&site, Mode::Exact, 1, false).view(), want.view(), 1e-4, "exact");
    near(run(&site, Mode::Exact, 1, true).view(), want.view(), 1e-4, "dense path");
    near(run(&site, Mode::Fast, 1, false).view(), want.view(), 0.05, "fast");

    let mut writer = Writer::new("example", 1);
    let names = ["a", "b", "c"].map(str::to_owned);
    let descriptor = site.save_into(&mut writer, "site", &names).unwrap();
    let saved = writer.to_bytes().unwrap();
    let file = File::from_bytes(saved).unwrap();
    let loaded = Site::load_from(&file, "site", &descriptor).unwrap();
    for mode in MODES {
        assert_eq!(run(&site, mode, 1, false), run(&loaded, mode, 2, false), "{mode}");
    }
    let stored: u64 = ["a.1.a.codes", "a.1.b.codes", "b.0.pivots"].iter().map(|name| file.tensor(name).unwrap().bytes.len() as u64).sum();
    let parts = [site.linears()[0].terms()[1].op().footprint().codes, site.linears()[1].footprint().indices];
    assert_eq!(stored, parts.iter().sum::<u64>());
}

#[test]
fn what_does_not_fit_is_an_error() {
    let f = |m, n| half(&Array2::ones((m, n)));
    let text = LowRank::new(f(4, 3), f(2, 5)).unwrap_err().to_string();
    assert!(text.contains('3') && text.contains('2'), "{text}");
    let nested = LowRank::new(f(4, 2), f(2, 4)).unwrap();
    assert!(matches!(LowRank::new(nested, f(4, 4)), Err(Error::Factor { .. })));
    for (pivots, z, b) in [
        (&[0][..], f(2, 2), f(2, 5)),
        (&[1, 1], f(2, 2), f(2, 5)),
        (&[2, 1], f(2, 2), f(2, 5)),
        (&[0, 4], f(2, 2), f(2, 5)),
        (&[0, 1], f(2, 1), f(2, 5)),
    ] {
        assert!(Pivoted::new(pivots, z, b).is_err(), "{pivots:?}");
    }
}
