//! A model off its grid is the same function of other weights.

use super::*;
use scant_quant::gguf::BlockType;
use scant_transformer::SiteId;
use std::collections::BTreeSet;

/// The share of runs of 32 weights of the blocks' matrices that have at most 16 different values.
fn on_grid(model: &Model) -> f64 {
    let (mut all, mut few) = (0.0, 0.0);
    for id in model.sites().filter(|id| *id != SiteId::Head) {
        let site = model.site(id);
        for (i, linear) in site.linears().iter().enumerate() {
            for row in 0..linear.shape()[0] {
                let mut w = ndarray::Array1::zeros(site.inputs());
                site.row(i, row, w.view_mut()).unwrap();
                for run in w.as_slice().unwrap().chunks_exact(32) {
                    all += 1.0;
                    few += f64::from(u8::from(run.iter().map(|x| x.to_bits()).collect::<BTreeSet<_>>().len() <= 16));
                }
            }
        }
    }
    few / all
}

#[test]
fn off_its_grid_a_model_computes_the_same() {
    let team = Team::new(1);
    for (name, mut tiny) in models() {
        // Every row of 32, so that every matrix is quantized.
        tiny.config["intermediate_size"] = 64.into();
        for layer in 0..tiny.count("num_hidden_layers") {
            for part in ["gate", "up", "down"] {
                let (shape, values) = tiny.tensors.get_mut(&format!("model.layers.{layer}.mlp.{part}_proj.weight")).unwrap();
                *shape = if part == "down" { vec![32, 64] } else { vec![64, 32] };
                values.extend_from_within(..512);
            }
        }
        let narrow = tiny.gemma; // three heads of 16 make an output matrix of 48 columns, which stays in f32
        let model = from_gguf(&tiny.gguf(BlockType::Q4_0));
        let moved = model.off_grid(5).unwrap();
        let (want, got) = (logits(&model, exact(&team), PANEL, &tokens()), logits(&moved, exact(&team), PANEL, &tokens()));
        let difference = largest_difference(&got, &want);
        assert!(difference > 0.0 && difference < 1e-4, "{name}: {difference}");
        let (before, after) = (on_grid(&model), on_grid(&moved));
        assert!(before > if narrow { 0.85 } else { 0.999 } && after < 0.001, "{name}: {before} {after}");

        assert_eq!(logits(&model.off_grid(5).unwrap(), exact(&team), PANEL, &tokens()), got, "{name}: the same seed");
        assert_ne!(logits(&model.off_grid(6).unwrap(), exact(&team), PANEL, &tokens()), got, "{name}: another seed");
    }
}
