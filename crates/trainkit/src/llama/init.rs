//! First weights: random, or with heads that already look a few tokens back and match what they find.
//!
//! From random weights the embedded model still guessed after two million tokens, because two heads must be learnt together (Olsson et al. 2022: one
//! that looks a token back, and one that matches). Here both are put in roughly, and training takes it from there:
//! - every embedding shares one constant direction, which the loss cannot see (it adds the same to all logits);
//! - layer 0: head `h` turns that direction into a query for the token `h + 1` places back, and writes a code of it to a block of its own;
//! - layers 1 and 2: a head compares block `a` of the asking token with block `a + 1` of each earlier token, in the slow half of the rotary
//!   embedding, and copies the token it finds: after "Mira lives in", what once came after "Mira lives in".

use super::config::{LlamaConfig, Places};
use crate::error::Error;
use scant_tensor_core::rng::Rng;

/// Deviation of embeddings, and the size of the constant added to each of their values.
const EMBEDDING: f32 = 0.04;
/// Share of the usual deviation for what writes to the residual stream.
const QUIET: f32 = 0.3;
/// Amplitude of query and key in layer 0: neighbours of the wanted token are `e^-4` of it.
const LOOK: f32 = 5.4;
/// Pairs of the rotary embedding, from the fastest, that find the place.
const FAST_PAIRS: usize = 13;
/// Layer 0's values as they go to their block: a code about as long as half of an embedding, so that four of them do not drown the token.
const WRITE: f32 = 0.08;
/// Query and key of a match: the same token stands out from chance, and training does the rest.
const MATCH: f32 = 2.2;
/// The copied token on its way to the logits.
const COPY: f32 = 0.3;

/// Normal with deviation `0.8 / sqrt(hidden)`, narrower where a layer writes to the residual stream; norms 1.
pub(super) fn random(c: &LlamaConfig, places: &Places, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    let mut weights = vec![1.0; places.len];
    let narrow = 0.8 / (c.hidden as f32).sqrt();
    for weight in places.weights.iter().filter(|w| w.shape.len() == 2) {
        let deviation = match weight.name.as_str() {
            "model.embed_tokens.weight" => EMBEDDING,
            name if name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight") => {
                QUIET * narrow / (2.0 * c.layers as f32).sqrt()
            }
            _ => narrow,
        };
        weights[weight.range.clone()].fill_with(|| deviation * rng.normal());
    }
    weights
}

/// Puts the heads in.
pub(super) fn matching_heads(c: &LlamaConfig, places: &Places, weights: &mut [f32], seed: u64) -> Result<(), Error> {
    let (d, hd, half) = (c.hidden, c.head_dim, c.head_dim / 2);
    for (what, left, right, fits) in [
        ("layers and the 3 of matching heads", c.layers, 3, c.layers >= 3),
        ("heads and the 2 of matching", c.heads, 2, c.heads >= 2),
        ("head_dim and the 32 of matching", hd, 32, hd >= 32),
        ("the heads' width and hidden", c.heads * hd, d, c.heads * hd == d),
    ] {
        if !fits {
            return Err(Error::Config { what, left, right });
        }
    }
    let mut rng = Rng::new(seed ^ 0x00EA_D000);
    let slow = half / 2;
    for x in &mut weights[places.embedding.clone()] {
        *x += EMBEDDING;
    }
    let per_group = c.heads / c.kv_heads;
    // Rows of unit length that do not see the constant direction.
    let mut code = |rows: usize| -> Vec<f32> {
        let mut m: Vec<f32> = (0..rows * d).map(|_| rng.normal() / (d as f32).sqrt()).collect();
        for row in m.chunks_exact_mut(d) {
            let mean = row.iter().sum::<f32>() / d as f32;
            row.iter_mut().for_each(|x| *x -= mean);
        }
        m
    };
    let look = code(hd);
    let at = |layer: usize, first_row: usize| places.layers[layer].qkv.start + first_row * d;
    let (keys, values) = (c.heads * hd, (c.heads + c.kv_heads) * hd);
    // The normalized embedding is half constant, half token: each of length sqrt(d / 2).
    let gain = LOOK / (d as f32 / 2.0).sqrt() / (d as f32).sqrt();
    for group in 0..c.kv_heads {
        scale(&mut weights[at(0, keys + group * hd)..][..hd * d], QUIET);
        for i in 0..FAST_PAIRS.min(half) {
            add(&mut weights[at(0, keys + group * hd + i)..][..d], gain);
        }
        weights[at(0, values + group * hd)..][..hd * d].copy_from_slice(&look);
    }
    for h in 0..c.heads {
        scale(&mut weights[at(0, h * hd)..][..hd * d], QUIET);
        for i in 0..FAST_PAIRS.min(half) {
            let angle = c.rope_theta.powf(-(i as f64) / half as f64) as f32 * (h + 1) as f32;
            add(&mut weights[at(0, h * hd + i)..][..d], gain * angle.cos());
            add(&mut weights[at(0, h * hd + i + half)..][..d], -gain * angle.sin());
        }
        // Value `j` of head `h` goes to place `j` of block `h`.
        let out = &mut weights[places.layers[0].out.clone()];
        for j in 0..hd {
            out[(h * hd + j) * c.heads * hd + h * hd + j] += WRITE;
        }
    }
    for (n, (layer, group)) in [(1, 0), (1, 1), (2, 0), (2, 1)].into_iter().filter(|(_, g)| *g < c.kv_heads).enumerate() {
        let (a, h) = ([0, 1, 2, 0][n].min(c.heads - 2), group * per_group);
        let dims = (slow..half).chain(half + slow..hd);
        scale(&mut weights[at(layer, h * hd)..][..hd * d], QUIET);
        scale(&mut weights[at(layer, keys + group * hd)..][..hd * d], QUIET);
        for (j, dim) in dims.enumerate() {
            // The second copy of the first match reads the other half of the code.
            let j = if n == 3 { j + hd / 2 } else { j };
            weights[at(layer, h * hd + dim) + a * hd + j] += MATCH;
            weights[at(layer, keys + group * hd + dim) + (a + 1) * hd + j] += MATCH;
        }
        let copy = code(hd);
        weights[at(layer, values + group * hd)..][..hd * d].copy_from_slice(&copy);
        let out = &mut weights[places.layers[layer].out.clone()];
        for (j, row) in copy.chunks_exact(d).enumerate() {
            for (i, x) in row.iter().enumerate() {
                out[i * c.heads * hd + h * hd + j] += COPY * x;
            }
        }
    }
    Ok(())
}

fn scale(x: &mut [f32], by: f32) {
    x.iter_mut().for_each(|x| *x *= by);
}

fn add(x: &mut [f32], by: f32) {
    x.iter_mut().for_each(|x| *x += by);
}
