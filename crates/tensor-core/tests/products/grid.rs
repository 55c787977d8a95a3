//! Grids of 1 to 8 bits.

use crate::sample::{Form, Sample};
use crate::{MODES, assert_same, check_doubles, check_not_finite, check_one_result, check_other_views, product, random};
use ndarray::{Array2, Axis, s};
use proptest::prelude::*;
use scant_tensor_core::format::{Grid, GridSpec, Offset, RowOffset, RowStat, Stat};
use scant_tensor_core::isa::Isa;
use scant_tensor_core::rng::Rng;
use scant_tensor_core::{LinearOp, Mode};

/// Products of a sample lie within rounding of the reference, for this number of tokens.
#[track_caller]
fn check(sample: &Sample, tokens: usize, rng: &mut Rng, what: &str) {
    assert_same(sample.grid.to_dense().view(), (sample.dense() + 0.0).view(), &format!("{what}, dense"));
    let x = random(rng, (tokens, sample.spec.n));
    for mode in MODES {
        let y = check_one_result(&sample.grid, mode, x.view(), what);
        check_doubles(&sample.grid, mode, x.view(), y.view(), what);
        let want = sample.expected(mode, x.view());
        for (at, y) in y.indexed_iter() {
            let (want, bound) = (want.y[at], want.bound[at]);
            assert!((f64::from(*y) - want).abs() <= bound, "{what}, {mode}: y{at:?} = {y}, not {want} within {bound:e}");
        }
    }
}

#[test]
fn every_width_group_and_form_is_a_product() {
    let mut rng = Rng::new(1);
    let shapes = [[1, 1], [19, 31], [16, 33], [33, 100], [5, 576], [48, 96], [17, 320]];
    let mut round = 0;
    for bits in 1..=8 {
        for group_size in [16, 32, 48, 64, usize::MAX] {
            for form in Form::ALL {
                let shape: [usize; 2] = shapes[round % shapes.len()];
                let sample = Sample::random(form, bits, group_size.min(shape[1].next_multiple_of(16)), shape, &mut rng);
                let tokens = 1 + round % 9;
                check(&sample, tokens, &mut rng, &format!("{form:?}, {bits} bits, groups of {group_size}, {shape:?}, {tokens} tokens"));
                round += 1;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_shape_is_a_product(
        (bits, sixteens, form) in (1u32..=8, 1usize..12, 0..Form::ALL.len()),
        (m, n, tokens, seed) in (1usize..70, 1usize..700, 1usize..20, any::<u64>()),
    ) {
        let mut rng = Rng::new(seed);
        let sample = Sample::random(Form::ALL[form], bits, 16 * sixteens, [m, n], &mut rng);
        check(&sample, tokens, &mut rng, "random shape");
    }
}

#[test]
fn the_longest_rows_do_not_overflow() {
    // Every code and every activation at its largest: the integer sums are the largest there are.
    for bits in 1..=8 {
        for (group_size, code) in [(16, 0), (32, (1u32 << bits) - 1)] {
            let spec = GridSpec::new([16, 4096], bits, group_size).unwrap();
            let scale = RowStat::F32(Array2::ones((16, spec.groups())));
            let grid = Grid::pack(spec, Array2::from_elem((16, 4096), code as u8).view(), &scale, &RowOffset::Symmetric).unwrap();
            let weight = f64::from(code) - f64::from(1u32 << (bits - 1));
            for (isa, x) in Isa::available().into_iter().flat_map(|isa| [(isa, 127.0f32), (isa, -127.0)]) {
                let y = product(&grid, isa, Mode::Fast, Array2::from_elem((1, 4096), x).view());
                let want = 4096.0 * weight * f64::from(x);
                assert!(y.iter().all(|y| f64::from(*y) == want), "{bits} bits on {isa}: {y} is not {want}");
            }
        }
    }
}

#[test]
fn fast_errs_by_half_a_step_of_the_input() {
    let mut rng = Rng::new(2);
    let n = 1024;
    let sample = Sample::random(Form::SymmetricF16, 4, 64, [512, n], &mut rng);
    let x = random(&mut rng, (1, n));
    let exact = product(&sample.grid, Isa::best(), Mode::Exact, x.view());
    let fast = product(&sample.grid, Isa::best(), Mode::Fast, x.view());
    let norm = |v: ndarray::ArrayView1<'_, f32>| v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    // Relative to ||w|| ||x|| / sqrt(n), the size of a typical term's share.
    let w = sample.grid.to_dense();
    let relative: Vec<f64> =
        (0..512).map(|i| f64::from(exact[[0, i]] - fast[[0, i]]) * (n as f64).sqrt() / (norm(w.row(i)) * norm(x.row(0)))).collect();
    let rms = (relative.iter().map(|e| e * e).sum::<f64>() / 512.0).sqrt();
    assert!((0.002..0.01).contains(&rms), "{rms}");
}

#[test]
fn zeros_stay_zeros_and_constants_constant() {
    let mut rng = Rng::new(3);
    let x = random(&mut rng, (3, 100));
    for bits in 1..=8 {
        let spec = GridSpec::new([20, 100], bits, 32).unwrap();
        let middle = 1u8 << (bits - 1);
        let constant = |code: u8, offset: RowOffset| {
            Sample::new(spec, Array2::from_elem((20, 100), code), RowStat::F32(Array2::from_elem((20, 4), 0.75)), offset)
        };
        let zero = constant(middle, RowOffset::Symmetric);
        assert!(zero.grid.to_dense().iter().all(|w| *w == 0.0));
        // As integer zero points, minima and half-precision zero points write them: sums that cancel, but for rounding.
        let codes = |code| RowStat::Codes { bits, codes: Array2::from_elem((20, 4), code) };
        let min = |min: f32| RowStat::F32(Array2::from_elem((20, 4), min));
        let zeros = [constant(0, RowOffset::Zero(codes(0))), constant(1, RowOffset::Min(min(-0.75)))];
        for mode in MODES {
            let y = check_one_result(&zero.grid, mode, x.view(), "zero");
            assert!(y.iter().all(|y| *y == 0.0), "{bits} bits: {y}");
            for zero in &zeros {
                assert!(zero.grid.to_dense().iter().all(|w| *w == 0.0));
                let y = check_one_result(&zero.grid, mode, x.view(), "zero");
                let bound = zero.expected(mode, x.view()).bound;
                assert!(y.iter().zip(&bound).all(|(y, bound)| f64::from(y.abs()) <= *bound), "{bits} bits: {y}");
            }
        }
        check(&constant(0, RowOffset::Min(min(0.3))), 3, &mut rng, "constant");
        check(&constant(((1u32 << bits) - 1) as u8, RowOffset::Zero(codes(0))), 3, &mut rng, "constant");
    }
}

#[test]
fn a_huge_entry_costs_no_other_row_its_digits() {
    let mut rng = Rng::new(4);
    let mut sample = Sample::random(Form::SymmetricF32, 4, 32, [20, 128], &mut rng);
    if let RowStat::F32(scale) = &mut sample.scale {
        scale[[7, 2]] = 1e30;
    }
    let sample = Sample::new(sample.spec, sample.codes, sample.scale, sample.offset);
    check(&sample, 3, &mut rng, "a huge weight");
    // In the input, it takes the digits of its own block of 32 columns alone.
    let mut x = random(&mut rng, (1, 128));
    x[[0, 70]] = 1e6;
    for mode in MODES {
        let y = check_one_result(&sample.grid, mode, x.view(), "a huge input");
        let want = sample.expected(mode, x.view());
        for (at, y) in y.indexed_iter() {
            assert!((f64::from(*y) - want.y[at]).abs() <= want.bound[at], "{mode}: y{at:?} = {y}, not {}", want.y[at]);
        }
    }
}

#[test]
fn awkward_inputs_have_one_result() {
    let mut rng = Rng::new(5);
    let n = 96;
    for (name, x) in scant_testkit::floats::blocks(n) {
        let x = Array2::from_shape_vec((1, n), x).unwrap();
        for form in [Form::SymmetricF16, Form::MinF16] {
            for group_size in [16, 32] {
                let sample = Sample::random(form, 4, group_size, [16, n], &mut rng);
                for mode in MODES {
                    let y = check_one_result(&sample.grid, mode, x.view(), name);
                    // Products may overflow where the input ends f32; else they are finite.
                    let largest = x.iter().fold(0f32, |a, x| a.max(x.abs()));
                    assert!(largest > 1e30 || y.iter().all(|y| y.is_finite()), "{name}: {y}");
                }
            }
        }
    }
}

#[test]
fn what_is_not_finite_is_answered_so() {
    let mut rng = Rng::new(6);
    for (form, bits, group_size) in [(Form::SymmetricF16, 4, 32), (Form::MinF16, 3, 16), (Form::ZeroCodes, 8, 64)] {
        let sample = Sample::random(form, bits, group_size, [17, 100], &mut rng);
        check_not_finite(&sample.grid, &mut rng, &format!("{form:?}"));
        // Weights of 0 as well: 0 * NaN is NaN.
        let zeros = Array2::from_elem((17, 100), 1u8 << (bits - 1));
        let zero = Grid::pack(sample.spec, zeros.view(), &sample.scale, &RowOffset::Symmetric).unwrap();
        check_not_finite(&zero, &mut rng, "zeros");
    }
}

#[test]
fn rows_go_their_own_ways() {
    let mut rng = Rng::new(7);
    for form in [Form::SymmetricF16, Form::SuperBlocks, Form::Bilevel] {
        let sample = Sample::random(form, 5, 32, [37, 300], &mut rng);
        let mut order: Vec<usize> = (0..37).collect();
        rng.shuffle(&mut order);
        let stat = |stat: &RowStat| match stat {
            RowStat::F16(x) => RowStat::F16(x.select(Axis(0), &order)),
            RowStat::Levels { bits, centre, codes, per, step, base } => RowStat::Levels {
                bits: *bits,
                centre: *centre,
                codes: codes.select(Axis(0), &order),
                per: *per,
                step: step.select(Axis(0), &order),
                base: base.as_ref().map(|base| base.select(Axis(0), &order)),
            },
            _ => unreachable!("forms of this test"),
        };
        let offset = match &sample.offset {
            RowOffset::Zero(zero) => RowOffset::Zero(stat(zero)),
            RowOffset::Min(min) => RowOffset::Min(stat(min)),
            _ => RowOffset::Symmetric,
        };
        let permuted = Sample::new(sample.spec, sample.codes.select(Axis(0), &order), stat(&sample.scale), offset);
        let x = random(&mut rng, (2, 300));
        for mode in MODES {
            let (y, permuted) = (product(&sample.grid, Isa::best(), mode, x.view()), product(&permuted.grid, Isa::best(), mode, x.view()));
            assert_same(permuted.view(), y.select(Axis(1), &order).view(), "permuted");
        }
    }
}

#[test]
fn rows_adjoints_and_sums_are_those_of_the_dense_matrix() {
    let mut rng = Rng::new(8);
    for form in Form::ALL {
        for (bits, group_size, shape) in [(3, 16, [37, 100]), (4, 64, [150, 33]), (8, 48, [16, 576])] {
            let sample = Sample::random(form, bits, group_size, shape, &mut rng);
            check_other_views(&sample.grid, &mut rng, &format!("{form:?}"));
            assert_eq!(sample.grid.codes(), sample.codes);
            assert_eq!(sample.grid.scale().unpack([shape[0], sample.spec.groups()]), sample.scale);
        }
    }
}

#[test]
fn footprints_are_the_bytes_that_are_held() {
    let mut rng = Rng::new(9);
    let (shape, rows, columns) = ([37, 100], 48, 128);
    for bits in 1..=8u32 {
        for form in Form::ALL {
            let sample = Sample::random(form, bits, 16, shape, &mut rng);
            // Seven groups a row; the last panel is padded. Levels of b bits take 2 b bytes for 16 rows.
            let (groups, bits) = (7, bits as usize);
            let want = match form {
                Form::SymmetricF32 => rows * groups * 4,
                Form::SymmetricF16 | Form::SymmetricBf16 => rows * groups * 2,
                Form::ZeroCodes => rows * groups * 2 + rows * groups * bits / 8,
                Form::ZeroF16 | Form::MinF16 => rows * groups * 4,
                Form::SuperBlocks => 2 * (rows * groups * 6 / 8 + rows * 2),
                Form::SignedLevels => rows * groups + rows * 2,
                Form::Bilevel => 2 * (rows * groups * 3 / 8 + rows * 4),
                Form::Tiles => 2 * (rows * groups * 3 / 8 + rows / 16 * groups * 4),
            };
            let footprint = sample.grid.footprint();
            assert_eq!(footprint.scales, want as u64, "{form:?}, {bits} bits");
            assert_eq!(footprint.codes, (rows * columns * bits / 8) as u64);
            assert_eq!(footprint.codes, sample.grid.packed_codes().len() as u64);
            assert_eq!(footprint.total(), footprint.codes + footprint.scales);
        }
    }
}

#[test]
fn a_group_as_long_as_the_row_is_one_group() {
    let mut rng = Rng::new(10);
    for n in [1, 31, 100, 576] {
        let sample = Sample::random(Form::MinF16, 4, n, [16, n], &mut rng);
        assert_eq!(sample.spec.groups(), 1);
        check(&sample, 2, &mut rng, "one group");
        let w = sample.grid.to_dense();
        let mut levels: Vec<u32> = w.slice(s![0, ..]).iter().map(|w| w.to_bits()).collect();
        levels.sort_unstable();
        levels.dedup();
        assert!(levels.len() <= 16);
    }
}

#[test]
fn panels_go_out_and_in_and_wrong_ones_are_named() {
    let mut rng = Rng::new(11);
    for form in Form::ALL {
        let sample = Sample::random(form, 3, 32, [37, 100], &mut rng);
        let (spec, grid) = (sample.spec, sample.grid);
        let again = Grid::from_panels(spec, grid.packed_codes().clone(), grid.scale().clone(), grid.offset().clone()).unwrap();
        assert_eq!(again, grid);
        let build = |codes, scale| Grid::from_panels(spec, codes, scale, grid.offset().clone()).unwrap_err().to_string();
        let short = build(grid.packed_codes().slice(1..), grid.scale().clone());
        assert_eq!(short, "bytes of grid codes: want [2304], got [2303]");
        let wide = GridSpec { n: 200, ..spec };
        let err = Grid::from_panels(wide, vec![0u8; 4032].as_slice().into(), grid.scale().clone(), Offset::Symmetric).unwrap_err();
        assert!(err.to_string().starts_with("grid scales: want ["), "{err}");
        if let Stat::F16(scale) = grid.scale() {
            let mut scale = scale.to_vec();
            scale[(4 + 2) * 16 + 5] = half::f16::NAN; // panel 1, group 2, lane 5
            let err = build(grid.packed_codes().clone(), Stat::F16(scale.into()));
            assert_eq!(err, "grid scales: NaN at row 21, column 2 is not finite");
        }
    }
}
