//! GGUF's quantizers as methods.

use crate::{INPUTS, dense, fit, stats, unseen, weights};
use scant_quant::Blocks;
use scant_quant::gguf::{BlockType, blocks, grid_blocks};
use scant_tensor_core::Term;
use scant_tensor_core::compress::{Compress, FitError, SiteFit, Weights};
use scant_tensor_core::rng::Rng;
use scant_tensor_core::stats::{SiteStats, StatSet};

#[test]
fn terms_are_the_blocks_that_the_encoder_writes() {
    let mut rng = Rng::new(1);
    let w = ndarray::Array2::from_shape_simple_fn((32, 512), || rng.normal());
    let unseen = SiteStats::new(512, StatSet::NONE).unwrap();
    for ty in blocks::ENCODED {
        let (term, pre, report) = fit(Blocks::new(ty).plain(), &w, &unseen);
        assert!(pre.is_none());
        assert_eq!(report.bits_per_weight, ty.bits_per_weight(), "{ty}");
        let mut bytes = vec![0; ty.row_bytes(w.len()).unwrap()];
        let mut want = w.clone();
        blocks::encode(ty, w.as_slice().unwrap(), &mut bytes).unwrap();
        blocks::decode(ty, &bytes, want.as_slice_mut().unwrap()).unwrap();
        assert_eq!(dense(&term), want, "{ty}");
        // Of the K types, which have two levels, the blocks come back.
        if let (Term::Grid(grid), 256) = (&term, ty.block_size()) {
            assert_eq!(grid_blocks(grid, ty).unwrap(), bytes, "{ty}");
            let others = blocks::ENCODED.into_iter().filter(|other| *other != ty);
            assert!(others.into_iter().all(|other| grid_blocks(grid, other).is_none()), "{ty}");
        }
    }
}

#[test]
fn statistics_lower_the_loss() {
    let w = weights(2, 64);
    for ty in [BlockType::Q4_0, BlockType::Q4_1, BlockType::Q5_0, BlockType::Q5_1] {
        let [with, without] = [Blocks::new(ty), Blocks::new(ty).plain()].map(|m| fit(m, &w, &stats()).2.loss.unwrap());
        assert!(with < 0.9 * without, "{ty}: {with} with, {without} without");
    }
}

#[test]
fn an_importance_needs_statistics() {
    let methods: Vec<Box<dyn Compress>> = vec![Box::new(Blocks::new(BlockType::Q4_0))];
    let error = SiteFit::new("site", vec![Weights::new("w", weights(6, 16))], &unseen(), &methods).unwrap_err();
    assert!(matches!(error, FitError::MissingStat { .. }), "{error}");
}

#[test]
fn rows_that_are_no_whole_blocks_get_another_type() {
    let (_, _, report) = fit(Blocks::new(BlockType::Q4_K).plain(), &weights(3, 16), &unseen());
    assert_eq!((report.n, report.bits_per_weight), (INPUTS, 5.5));
    let mut rng = Rng::new(4);
    let w = ndarray::Array2::from_shape_simple_fn((16, 40), || rng.normal());
    let (term, ..) = fit(Blocks::new(BlockType::Q4_0).plain(), &w, &SiteStats::new(40, StatSet::NONE).unwrap());
    assert!(matches!(term, Term::Dense(_)));
}

#[test]
fn types_that_are_only_read_are_refused() {
    let methods: Vec<Box<dyn Compress>> = vec![Box::new("iq4_nl-plain".parse::<Blocks>().unwrap())];
    let mut site = SiteFit::new("site", vec![Weights::new("w", weights(5, 16))], &unseen(), &methods).unwrap();
    let error = site.apply(&*methods[0], &()).unwrap_err();
    assert!(matches!(error, FitError::Method { .. }) && error.to_string().contains("IQ4_NL"), "{error}");
}

#[test]
fn names_parse_back() {
    for ty in BlockType::ALL {
        for method in [Blocks::new(ty), Blocks::new(ty).plain()] {
            assert_eq!(method.to_string().parse::<Blocks>().unwrap(), method);
        }
    }
    assert!("q4_z".parse::<Blocks>().is_err());
}
