//! Hugging Face folders that are quantized already.

use super::*;
use half::f16;
use ndarray::Array2;
use scant_quant::checkpoint::{Format, Packed, Quantization};
use scant_tensor_core::file::{Dtype, Writer};
use scant_tensor_core::format::{Grid, GridSpec, RowOffset, RowStat};
use scant_transformer::SiteId;
use serde_json::json;

const GROUP: usize = 16;

/// The checkpoint in this format, and the same model in f32. With `mixed`, columns take turns between groups.
fn quantized(tiny: &Tiny, q: &Quantization, mixed: bool) -> (Folder, Tiny) {
    let (folder, mut plain) = (Folder::new(), tiny.clone());
    let mut config = tiny.config.clone();
    config["quantization_config"] = q.to_json();
    folder.write("config.json", &serde_json::to_vec(&config).unwrap());
    let mut writer = Writer::new("tiny", 1);
    for (name, (shape, values)) in &mut plain.tensors {
        let Some(matrix) = name.strip_suffix("_proj.weight") else {
            let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            writer.add(name.as_str(), Dtype::F32, shape.as_slice(), bytes).unwrap();
            continue;
        };
        let matrix = format!("{matrix}_proj");
        let [m, n] = shape[..] else { panic!("{name} is a matrix") };
        let groups = n / GROUP;
        let group = |j: usize| if mixed { j % groups } else { j / GROUP };
        let codes = Array2::from_shape_fn((m, n), |(i, j)| (16.0 * values[i * n + j] + 8.0).round().clamp(0.0, 15.0) as u8);
        let scale = Array2::from_shape_fn((m, groups), |(i, g)| f16::from_f32((1 + g + i % 3) as f32 / 32.0));
        for ((i, j), code) in codes.indexed_iter() {
            values[i * n + j] = scale[[i, group(j)]].to_f32() * (f32::from(*code) - 8.0);
        }
        let spec = GridSpec::new([m, n], 4, GROUP).unwrap();
        let grid = Grid::pack(spec, codes.view(), &RowStat::F16(scale), &RowOffset::Symmetric).unwrap();
        for Packed { part, dtype, shape, bytes } in q.write(&matrix, &grid).unwrap() {
            writer.add(format!("{matrix}.{part}"), dtype, shape, bytes).unwrap();
        }
        if mixed {
            let g_idx: Vec<u8> = (0..n).flat_map(|j| (group(j) as i32).to_le_bytes()).collect();
            writer.add(format!("{matrix}.weight_g_idx"), Dtype::I32, [n], g_idx).unwrap();
        }
    }
    folder.write("model.safetensors", &writer.to_bytes().unwrap());
    (folder, plain)
}

#[test]
fn they_compute_what_their_weights_say() {
    let team = Team::new(1);
    let mut wide = Tiny::llama();
    // GPTQ packs outputs by 32.
    wide.config["num_key_value_heads"] = json!(4);
    wide.config["intermediate_size"] = json!(96);
    for layer in 0..2 {
        for (part, shape) in
            [("self_attn.k", [32, 32]), ("self_attn.v", [32, 32]), ("mlp.gate", [96, 32]), ("mlp.up", [96, 32]), ("mlp.down", [32, 96])]
        {
            let (old, values) = wide.tensors.get_mut(&format!("model.layers.{layer}.{part}_proj.weight")).unwrap();
            values.extend_from_within(..);
            *old = shape.to_vec();
        }
    }
    let q = |format| Quantization { format, bits: 4, group_size: Some(GROUP), symmetric: true };
    for (tiny, format, mixed) in [
        (&Tiny::llama(), Format::Awq, false),
        (&Tiny::llama_with_biases(), Format::Packed { dense: None }, false),
        (&Tiny::llama(), Format::Packed { dense: None }, true),
        (&wide, Format::Gptq { v2: false }, false),
        (&wide, Format::Gptq { v2: true }, false),
    ] {
        let (folder, plain) = quantized(tiny, &q(format), mixed);
        let model = open(folder.path()).unwrap();
        assert_eq!(model.sites().filter(|id| !model.site(*id).pre().is_none()).count() > 0, mixed);
        let want = logits(&open(plain.folder(Dtype::F32, 1).path()).unwrap(), exact(&team), PANEL, &tokens());
        let got = logits(&model, exact(&team), PANEL, &tokens());
        assert!(largest_difference(&got, &want) < 1e-4, "{format:?}: {}", largest_difference(&got, &want));
        // It is saved like any other.
        let path = folder.path().join("saved");
        model.save(&path).unwrap();
        assert_eq!(logits(&open(&path).unwrap(), exact(&team), PANEL, &tokens()), got);
        assert!(model.site(SiteId::Head).footprint().codes == 0);
    }
}

#[test]
fn a_description_beside_the_configuration_counts() {
    let q = Quantization { format: Format::Awq, bits: 4, group_size: Some(GROUP), symmetric: true };
    let (folder, _) = quantized(&Tiny::llama(), &q, false);
    folder.write("config.json", &serde_json::to_vec(&Tiny::llama().config).unwrap());
    assert!(open(folder.path()).unwrap_err().to_string().contains("q_proj.weight"));
    folder.write("quantize_config.json", &serde_json::to_vec(&q.to_json()).unwrap());
    assert!(open(folder.path()).is_ok());
}
