//! Additive codebooks.

use crate::{MODES, check_doubles, check_not_finite, check_one_result, check_other_views, random};
use half::f16;
use ndarray::Array2;
use proptest::prelude::*;
use scant_tensor_core::LinearOp;
use scant_tensor_core::format::{Codebook, CodebookSpec};
use scant_tensor_core::rng::Rng;

fn halves(rng: &mut Rng, len: usize) -> Vec<f16> {
    (0..len).map(|_| f16::from_f32(rng.normal())).collect()
}

/// A random one, and the matrix by its definition.
fn sample(rng: &mut Rng, spec: CodebookSpec) -> (Codebook, Array2<f64>) {
    let CodebookSpec { m, n, books, group_size, .. } = spec;
    let codes: Vec<u16> = (0..m * spec.groups() * books).map(|_| rng.below(spec.words()) as u16).collect();
    let (words, scale) = (halves(rng, books * spec.words() * group_size), halves(rng, m));
    let w = Array2::from_shape_fn((m, n), |(i, j)| {
        let word = |c: usize| {
            let code = usize::from(codes[(i * spec.groups() + j / group_size) * books + c]);
            words[(c * spec.words() + code) * group_size + j % group_size].to_f64()
        };
        scale[i].to_f64() * (0..books).map(word).sum::<f64>()
    });
    (Codebook::pack(spec, &codes, words, scale).unwrap(), w)
}

fn check(rng: &mut Rng, spec: CodebookSpec, tokens: usize) {
    let (codebook, w) = sample(rng, spec);
    let x = random(rng, (tokens, spec.n));
    let x64 = x.mapv(f64::from);
    let want = x64.dot(&w.t());
    // Words may be larger than the weights they add up to.
    let bound = 64.0 * (spec.n + 8) as f64 * f64::from(f32::EPSILON) * spec.books as f64;
    for mode in MODES {
        let y = check_one_result(&codebook, mode, x.view(), "codebook");
        check_doubles(&codebook, mode, x.view(), y.view(), "codebook");
        for (at, y) in y.indexed_iter() {
            assert!((f64::from(*y) - want[at]).abs() <= bound, "{mode}: y{at:?} = {y}, not {} ({spec:?})", want[at]);
        }
    }
}

#[test]
fn products_of_every_kind() {
    let mut rng = Rng::new(1);
    for (books, bits) in [(1, 8), (2, 8), (3, 4), (2, 10), (1, 16), (8, 8)] {
        for group_size in [4, 8, 16] {
            for (m, groups) in [(1, 1), (19, 7), (33, 12)] {
                check(&mut rng, CodebookSpec::new([m, groups * group_size], books, bits, group_size).unwrap(), 1 + m % 4);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_codes_are_a_product(
        (m, groups, tokens, books) in (1usize..40, 1usize..40, 1usize..5, 1usize..5),
        (bits, group, seed) in (1u32..10, 0usize..3, any::<u64>()),
    ) {
        let group_size = [4, 8, 16][group];
        check(&mut Rng::new(seed), CodebookSpec::new([m, groups * group_size], books, bits, group_size).unwrap(), tokens);
    }
}

#[test]
fn other_views_and_numbers_that_are_none() {
    let mut rng = Rng::new(2);
    for (books, group_size, shape) in [(2, 8, [37, 104]), (1, 4, [150, 36]), (3, 16, [16, 48])] {
        let (codebook, _) = sample(&mut rng, CodebookSpec::new(shape, books, 8, group_size).unwrap());
        check_other_views(&codebook, &mut rng, "codebook");
        check_not_finite(&codebook, &mut rng, "codebook");
    }
}

#[test]
fn it_weighs_its_codes_words_and_scales() {
    let bits_per_weight = |[m, n]: [usize; 2], books: usize, bits: u32| {
        let spec = CodebookSpec::new([m, n], books, bits, 8).unwrap();
        let (codebook, _) = sample(&mut Rng::new(3), spec);
        codebook.footprint().bits_per_weight([m, n])
    };
    // The specification's figures of SmolLM2's matrices: 2x8 in groups of 8, and 1x16 that does not pay there.
    for (shape, want) in [([576, 576], 2.23), ([192, 576], 2.62), ([1536, 576], 2.10), ([576, 1536], 2.08)] {
        assert!((bits_per_weight(shape, 2, 8) - want).abs() < 0.005, "{shape:?}: {}", bits_per_weight(shape, 2, 8));
    }
    assert!((bits_per_weight([576, 576], 1, 16) - 27.3).abs() < 0.05);
}

#[test]
fn what_does_not_fit_is_named() {
    let message = |spec: Result<CodebookSpec, scant_tensor_core::Error>| spec.map(drop).unwrap_err().to_string();
    assert!(message(CodebookSpec::new([2, 20], 1, 8, 8)).contains("codewords of 8 weights for rows of 20"));
    assert!(message(CodebookSpec::new([2, 20], 1, 8, 5)).contains("codewords of 5 weights"));
    assert!(message(CodebookSpec::new([2, 16], 0, 8, 8)).contains("codebooks"));
    assert!(message(CodebookSpec::new([2, 16], 1, 17, 8)).contains("17 bits"));
    let spec = CodebookSpec::new([2, 16], 1, 4, 8).unwrap();
    let pack = |codes: &[u16], words: usize, scale: usize| {
        Codebook::pack(spec, codes, vec![f16::ONE; words], vec![f16::ONE; scale]).map(drop).map_err(|e| e.to_string())
    };
    assert!(pack(&[0, 1, 15, 3], 128, 2).is_ok());
    assert_eq!(pack(&[0, 1, 16, 3], 128, 2).unwrap_err(), "code of row 1, group 0: index 16 is not below 16");
    assert!(pack(&[0, 1, 300, 3], 128, 2).unwrap_err().contains("index 300"));
    assert!(pack(&[0, 1, 15], 128, 2).unwrap_err().contains("want [4], got [3]"));
    assert!(pack(&[0, 1, 15, 3], 127, 2).unwrap_err().contains("codewords: want [128]"));
    assert!(pack(&[0, 1, 15, 3], 128, 3).unwrap_err().contains("scales of rows"));
}
