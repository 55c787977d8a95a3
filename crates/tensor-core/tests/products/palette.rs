//! Palettes: values of any spacing behind 4-bit codes.

use crate::sample::rounded;
use crate::{MODES, check_doubles, check_not_finite, check_one_result, check_other_views, product, random};
use half::{bf16, f16};
use ndarray::{Array2, ArrayView2};
use proptest::prelude::*;
use scant_tensor_core::format::{Grid, GridSpec, Palette, RowOffset, RowStat};
use scant_tensor_core::isa::Isa;
use scant_tensor_core::rng::Rng;
use scant_tensor_core::{LinearOp, Mode};

/// Doubled values of the 4-bit floats of MXFP4.
const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Half-precision scales, those of a power of two, and six-bit ones with a step for eight groups.
fn scales(rng: &mut Rng, (m, groups): (usize, usize)) -> [RowStat; 3] {
    let step = Array2::from_shape_simple_fn((m, groups.div_ceil(8)), || f16::from_f32(0.01 * (0.5 + rng.uniform())));
    let codes = Array2::from_shape_simple_fn((m, groups), || rng.below(64) as u8);
    [
        RowStat::F16(Array2::from_shape_simple_fn((m, groups), || f16::from_f32(rng.normal()))),
        RowStat::Bf16(Array2::from_shape_simple_fn((m, groups), || bf16::from_f32(2f32.powi(rng.below(8) as i32 - 6)))),
        RowStat::Levels { bits: 6, centre: 32, codes, per: 8, step, base: None },
    ]
}

/// The matrix by its definition.
fn by_hand(values: &[i8; 16], codes: &Array2<u8>, group_size: usize, scale: &RowStat) -> Array2<f32> {
    Array2::from_shape_fn(codes.dim(), |(i, j)| {
        let g = j / group_size;
        let scale = match scale {
            RowStat::F16(x) => x[[i, g]].to_f32(),
            RowStat::Bf16(x) => x[[i, g]].to_f32(),
            RowStat::Levels { codes, step, .. } => (f32::from(codes[[i, g]]) - 32.0) * step[[i, g / 8]].to_f32(),
            _ => unreachable!("no other scales here"),
        };
        scale * f32::from(values[usize::from(codes[[i, j]])])
    })
}

#[track_caller]
fn check(values: [i8; 16], shape: [usize; 2], group_size: usize, tokens: usize, rng: &mut Rng) {
    let [m, n] = shape;
    let group_size = group_size.min(n.next_multiple_of(32));
    let codes = Array2::from_shape_simple_fn((m, n), || rng.below(16) as u8);
    let x = random(rng, (tokens, n));
    for scale in scales(rng, (m, n.div_ceil(group_size))) {
        let palette = Palette::pack(values, codes.view(), group_size, &scale).unwrap();
        let w = by_hand(&values, &codes, group_size, &scale);
        assert_eq!(palette.to_dense(), w);
        assert_eq!(palette.codes(), codes);
        for mode in MODES {
            let y = check_one_result(&palette, mode, x.view(), "palette");
            check_doubles(&palette, mode, x.view(), y.view(), "palette");
            within(&w, mode, x.view(), &y);
        }
    }
}

#[track_caller]
fn within(w: &Array2<f32>, mode: Mode, x: ArrayView2<'_, f32>, y: &Array2<f32>) {
    let seen = match mode {
        Mode::Exact => x.mapv(f64::from),
        Mode::Fast => rounded(x),
    };
    let w = w.mapv(f64::from);
    let want = seen.dot(&w.t());
    let size = seen.mapv(f64::abs).dot(&w.mapv(f64::abs).t());
    let eps = (x.ncols() + 8) as f64 * f64::from(f32::EPSILON);
    for (at, y) in y.indexed_iter() {
        assert!((f64::from(*y) - want[at]).abs() <= eps * size[at], "{mode}: y{at:?} = {y}, not {}", want[at]);
    }
}

#[test]
fn every_group_is_a_product() {
    let mut rng = Rng::new(1);
    let shapes = [[1, 1], [19, 31], [16, 33], [33, 100], [5, 576], [17, 320]];
    for (round, group_size) in [16, 32, 48, 64, usize::MAX, 32, 16].into_iter().enumerate() {
        check(E2M1, shapes[round % shapes.len()], group_size, 1 + round % 9, &mut rng);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_sixteen_values_are_a_product(
        (values, sixteens) in (any::<[i8; 16]>(), 1usize..8),
        (m, n, tokens, seed) in (1usize..50, 1usize..500, 1usize..12, any::<u64>()),
    ) {
        check(values, [m, n], 16 * sixteens, tokens, &mut Rng::new(seed));
    }
}

#[test]
fn equally_spaced_values_are_a_grid() {
    let mut rng = Rng::new(2);
    let codes = Array2::from_shape_simple_fn((40, 160), || rng.below(16) as u8);
    let [scale, ..] = scales(&mut rng, (40, 5));
    let palette = Palette::pack(std::array::from_fn(|i| i as i8 - 8), codes.view(), 32, &scale).unwrap();
    let grid = Grid::pack(GridSpec::new([40, 160], 4, 32).unwrap(), codes.view(), &scale, &RowOffset::Symmetric).unwrap();
    let x = random(&mut rng, (5, 160));
    for mode in MODES {
        let (a, b) = (product(&palette, Isa::best(), mode, x.view()), product(&grid, Isa::best(), mode, x.view()));
        assert!(a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()), "{mode}");
    }
}

#[test]
fn the_longest_rows_do_not_overflow() {
    for value in [-128, 127] {
        let scale = RowStat::F32(Array2::ones((16, 128)));
        let palette = Palette::pack([value; 16], Array2::zeros((16, 4096)).view(), 32, &scale).unwrap();
        for isa in Isa::available() {
            let y = product(&palette, isa, Mode::Fast, Array2::from_elem((1, 4096), -127.0).view());
            assert!(y.iter().all(|y| *y == 4096.0 * -127.0 * f32::from(value)), "{isa}: {y}");
        }
    }
}

#[test]
fn rows_adjoints_and_numbers_that_are_none() {
    let mut rng = Rng::new(3);
    for (group_size, shape) in [(16, [37, 100]), (64, [150, 33])] {
        let codes = Array2::from_shape_simple_fn((shape[0], shape[1]), || rng.below(16) as u8);
        for scale in scales(&mut rng, (shape[0], shape[1].div_ceil(group_size.min(shape[1].next_multiple_of(32))))) {
            let palette = Palette::pack(E2M1, codes.view(), group_size, &scale).unwrap();
            check_other_views(&palette, &mut rng, "palette");
            check_not_finite(&palette, &mut rng, "palette");
        }
    }
}

#[test]
fn it_weighs_its_codes_scales_and_values() {
    let codes = Array2::zeros((37, 100));
    let scale = RowStat::F16(Array2::from_elem((37, 4), f16::ONE));
    let footprint = Palette::pack(E2M1, codes.view(), 32, &scale).unwrap().footprint();
    assert_eq!((footprint.codes, footprint.scales, footprint.codebooks), (48 * 128 / 2, 48 * 4 * 2, 16));
    let error = Palette::pack(E2M1, Array2::from_elem((37, 100), 16).view(), 32, &scale).unwrap_err().to_string();
    assert!(error.contains("code 16") && error.contains("4 bits"), "{error}");
}
