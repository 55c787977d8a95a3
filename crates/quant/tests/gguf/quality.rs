//! What the types cost in precision, and which weights they refuse.

use scant_quant::Error;
use scant_quant::gguf::{BlockType, blocks};
use scant_tensor_core::rng::Rng;

fn encode(ty: BlockType, weights: &[f32]) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; ty.row_bytes(weights.len())?];
    blocks::encode(ty, weights, &mut bytes)?;
    Ok(bytes)
}

fn decode(ty: BlockType, bytes: &[u8]) -> Vec<f32> {
    let mut weights = vec![0.0; bytes.len() / ty.block_bytes() * ty.block_size()];
    blocks::decode(ty, bytes, &mut weights).unwrap();
    weights
}

fn gaussian(n: usize) -> Vec<f32> {
    let mut rng = Rng::new(5);
    (0..n).map(|_| rng.normal()).collect()
}

#[test]
fn errors_on_gaussian_weights_are_those_of_the_table() {
    let weights = gaussian(1 << 17);
    // The table's figures for the K types are those of encoders without a search for the integers.
    let table = [
        (BlockType::Q8_0, 2.87e-5, 0.95),
        (BlockType::Q6_K, 3.15e-4, 0.9),
        (BlockType::Q5_K, 1.32e-3, 0.9),
        (BlockType::Q4_K, 5.17e-3, 0.9),
        (BlockType::Q5_1, 1.43e-3, 0.95),
        (BlockType::Q5_0, 1.83e-3, 0.95),
        (BlockType::Q4_1, 6.11e-3, 0.95),
        (BlockType::Q4_0, 7.39e-3, 0.95),
    ];
    for (ty, want, least) in table {
        let read = decode(ty, &encode(ty, &weights).unwrap());
        let relative = relative_error(&weights, &read, |_| 1.0);
        assert!((least..1.05).contains(&(relative / want)), "{ty}: {relative:.3e}, table {want:.3e}");
    }
}

/// Squared error over squares, both weighted by column.
fn relative_error(weights: &[f32], read: &[f32], importance: impl Fn(usize) -> f32) -> f64 {
    let square = |(i, x): (usize, f32)| f64::from(importance(i)) * f64::from(x) * f64::from(x);
    let error: f64 = weights.iter().zip(read).map(|(a, b)| a - b).enumerate().map(square).sum();
    error / weights.iter().copied().enumerate().map(square).sum::<f64>()
}

#[test]
fn columns_that_matter_are_kept_better() {
    let weights = gaussian(1 << 15);
    // One column in eight matters much more.
    let importance: Vec<f32> = (0..512).map(|j| if j % 8 == 3 { 50.0 } else { 1.0 }).collect();
    let of = |i: usize| importance[i % 512];
    for ty in blocks::ENCODED.into_iter().filter(|ty| ty.block_size() > 1 && *ty != BlockType::Q8_0) {
        let mut bytes = vec![0; ty.row_bytes(weights.len()).unwrap()];
        blocks::encode_weighted(ty, &weights, &importance, &mut bytes).unwrap();
        let with = relative_error(&weights, &decode(ty, &bytes), of);
        let without = relative_error(&weights, &decode(ty, &encode(ty, &weights).unwrap()), of);
        assert!(with < 0.9 * without, "{ty}: {with:.3e} with, {without:.3e} without");
    }
}

#[test]
fn importances_that_weigh_nothing_are_refused_by_column() {
    let weights = gaussian(512);
    for bad in [-1.0, f32::NAN, f32::INFINITY] {
        let mut importance = vec![1.0; 256];
        importance[7] = bad;
        let error = blocks::encode_weighted(BlockType::Q4_K, &weights, &importance, &mut [0; 288]).unwrap_err();
        assert!(matches!(error, Error::Importance { column: 7, .. }), "{error}");
    }
    let error = blocks::encode_weighted(BlockType::Q4_0, &weights, &[1.0; 96], &mut [0; 288]).unwrap_err();
    assert!(matches!(error, Error::ShapeMismatch { .. }), "{error}");
    // Nothing matters: as if all did alike.
    let mut bytes = [0; 288];
    blocks::encode_weighted(BlockType::Q4_K, &weights, &[0.0; 256], &mut bytes).unwrap();
    assert!(relative_error(&weights, &decode(BlockType::Q4_K, &bytes), |_| 1.0) < 6e-3);
}

#[test]
fn decoding_and_encoding_again_gives_the_same_bytes() {
    let weights = gaussian(1 << 15);
    for ty in [BlockType::Q8_0, BlockType::Q4_0, BlockType::F16, BlockType::BF16, BlockType::F32] {
        let bytes = encode(ty, &weights).unwrap();
        assert_eq!(encode(ty, &decode(ty, &bytes)).unwrap(), bytes, "{ty}");
    }
}

#[test]
fn one_weight_in_a_block_survives_with_its_sign() {
    for ty in blocks::ENCODED {
        for value in [1.0, -1.0] {
            let mut weights = [0.0; 256];
            weights[9] = value;
            let read = decode(ty, &encode(ty, &weights).unwrap());
            for (i, (got, want)) in read.iter().zip(weights).enumerate() {
                assert!((got - want).abs() < 2e-3, "{ty}, weight {i}: {got}, not {want}");
            }
        }
    }
}

#[test]
fn weights_beyond_the_type_are_refused_by_index() {
    for ty in blocks::ENCODED {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut weights = [0.5; 256];
            weights[40] = bad;
            let error = encode(ty, &weights).unwrap_err();
            assert!(matches!(error, Error::Unrepresentable { index: 40, .. }), "{ty}: {error}");
        }
        if ty != BlockType::F32 {
            let mut weights = [0.5; 256];
            weights[33] = -3.4e38;
            let error = encode(ty, &weights).unwrap_err();
            assert!(matches!(error, Error::Unrepresentable { index: 33, .. }), "{ty}: {error}");
        }
    }
}

#[test]
fn scales_too_small_for_f16_give_zeros() {
    for ty in blocks::ENCODED.into_iter().filter(|ty| ty.block_size() > 1) {
        for tiny in [f32::from_bits(1), f32::MIN_POSITIVE, 1e-30] {
            let weights: Vec<f32> = (0..256).map(|i| tiny * [1.0, -1.0, 0.0][i % 3]).collect();
            let read = decode(ty, &encode(ty, &weights).unwrap());
            assert!(read.iter().all(|&w| w == 0.0), "{ty}, {tiny:e}: {read:?}");
        }
    }
}

#[test]
fn wrong_sizes_and_types_are_refused() {
    let error = encode(BlockType::Q4_0, &[0.0; 31]).unwrap_err();
    assert!(matches!(error, Error::BlockDoesNotDivide { n: 31, block_size: 32, .. }), "{error}");
    let error = blocks::decode(BlockType::Q8_0, &[0; 33], &mut [0.0; 32]).unwrap_err();
    assert!(matches!(error, Error::ShapeMismatch { want: 34, got: 33, .. }), "{error}");
    let error = encode(BlockType::IQ4_NL, &[0.0; 256]).unwrap_err();
    assert!(matches!(error, Error::NoEncoder { .. }), "{error}");
    // Nothing is a whole number of blocks.
    for ty in BlockType::ALL {
        blocks::decode(ty, &[], &mut []).unwrap();
    }
}
