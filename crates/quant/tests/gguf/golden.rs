//! Decoders and encoders against the public `gguf` Python package (0.19), by hash.
//!
//! The inputs are made of integers from the seeded generator, so that the same few lines in Python make the same bytes.

use scant_quant::gguf::{BlockType, blocks};
use scant_tensor_core::rng::Rng;

/// FNV-1a, 64 bits: a few lines in any language.
fn fnv(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Random blocks: every byte `next_u64() & 255`, seed the type's id; halves and floats below the exponent of infinity.
fn random_blocks(ty: BlockType, weights: usize) -> Vec<u8> {
    let mut rng = Rng::new(ty.id().into());
    let len = ty.row_bytes(weights).unwrap();
    let mut bytes: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
    let upper_bytes: &[usize] = match ty {
        BlockType::F32 => &[3],
        BlockType::Q4_1 | BlockType::Q5_1 | BlockType::Q4_K | BlockType::Q5_K => &[1, 3],
        BlockType::Q2_K => &[81, 83],
        BlockType::Q3_K => &[109],
        BlockType::TQ1_0 => &[53],
        BlockType::TQ2_0 => &[65],
        BlockType::MXFP4 => &[0],
        BlockType::Q6_K => &[209],
        _ => &[1],
    };
    for block in bytes.chunks_exact_mut(ty.block_bytes()) {
        for &at in upper_bytes {
            block[at] &= 0xbf;
        }
    }
    bytes
}

/// 64 blocks of 32 weights: most bell-shaped, the first ones awkward.
fn awkward_weights() -> Vec<f32> {
    let mut rng = Rng::new(11);
    let mut draw = || (rng.next_u64() >> 44) as i32 - (1 << 19);
    let sums = (0..64 * 32).map(|_| draw() + draw() + draw() + draw());
    let mut weights: Vec<f32> = sums.map(|sum| sum as f32 * 2f32.powi(-22)).collect();
    for (b, block) in weights.chunks_exact_mut(32).enumerate().take(13) {
        for (i, w) in block.iter_mut().enumerate() {
            let x = i as f32;
            *w = match b {
                0 => 0.0,
                1 => 0.75,
                2 => -0.3,
                // Ties of magnitude.
                3 => [1.0, -1.0][i % 2],
                4 => [0.0, -2.5][usize::from(i == 7)],
                // Scales that are subnormal or zero as f16, and large ones.
                5 => *w * 2f32.powi(-24),
                6 => *w * 2f32.powi(-40),
                7 => *w * 2f32.powi(14),
                // Rounding ties.
                8 => x / 4.0 - 4.0,
                9 => x + 0.5,
                // All of one sign.
                10 => w.abs() + 1.0,
                11 => -w.abs() - 1.0,
                _ if i == 0 => 127.0,
                _ => (x - 16.0) * 127.0 / 32.0,
            };
        }
    }
    weights
}

#[test]
fn decoders_equal_the_python_package_bit_for_bit() {
    let golden = [
        (BlockType::F32, 0x5823acffb3226109),
        (BlockType::F16, 0x25f68da32ee38583),
        (BlockType::BF16, 0x2323c7df0218d31a),
        (BlockType::Q8_0, 0x37e989275efa863c),
        (BlockType::Q4_0, 0xc05c49ccba813c3e),
        (BlockType::Q4_1, 0x8329f65eea6774c6),
        (BlockType::Q5_0, 0x28ad8e5fdb7b2573),
        (BlockType::Q5_1, 0x35d74ebd053e3688),
        (BlockType::Q2_K, 0x37a88cc733359721),
        (BlockType::Q3_K, 0xfc96050d6c9ddebe),
        (BlockType::Q4_K, 0x1f815f4fb153ff34),
        (BlockType::Q5_K, 0x6d0a7821c02d55fb),
        (BlockType::Q6_K, 0xbdc782dfde052afb),
        (BlockType::IQ4_NL, 0x733999d21fd8ed65),
        (BlockType::IQ4_XS, 0xf87bcd7a335d52fd),
        (BlockType::TQ1_0, 0xb863caa63b6994a7),
        (BlockType::TQ2_0, 0xba96225dfb5386a3),
        (BlockType::MXFP4, 0xcf797c1d84ac4ff4),
    ];
    assert_eq!(golden.len(), BlockType::ALL.len());
    for (ty, want) in golden {
        let bytes = random_blocks(ty, 8 * 256);
        let mut weights = vec![0.0; 8 * 256];
        blocks::decode(ty, &bytes, &mut weights).unwrap();
        let hash = fnv(weights.iter().flat_map(|w| w.to_le_bytes()));
        assert_eq!(hash, want, "{ty}");
    }
}

#[test]
fn encoders_equal_the_python_package_byte_for_byte() {
    let golden = [
        (BlockType::F32, 0xf726b27fdd6a40da),
        (BlockType::F16, 0x7c684a41f4226d95),
        (BlockType::BF16, 0xc3358d1ccafdb4ff),
        (BlockType::Q8_0, 0x10bdf2027a61f153),
        (BlockType::Q4_0, 0x7c4eb779336c1dca),
        (BlockType::Q4_1, 0xaf18f8daa0038cfd),
        (BlockType::Q5_0, 0x18696d5c78f184dc),
        (BlockType::Q5_1, 0xa9d5526e5d23291b),
    ];
    assert_eq!(golden.map(|(ty, _)| ty), blocks::ENCODED[..8]);
    let weights = awkward_weights();
    for (ty, want) in golden {
        let mut bytes = vec![0; ty.row_bytes(weights.len()).unwrap()];
        blocks::encode(ty, &weights, &mut bytes).unwrap();
        assert_eq!(fnv(bytes), want, "{ty}");
    }
}
