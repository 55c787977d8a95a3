//! The forward pass once more, in f64 and as the papers write it: one token at a time, every head with its own copy of its keys.

use crate::tiny::Tiny;

type Row = Vec<f64>;

fn get<'a>(tiny: &'a Tiny, name: &str) -> Option<&'a (Vec<usize>, Vec<f32>)> {
    tiny.tensors.get(name)
}

fn product(tiny: &Tiny, name: &str, x: &[f64]) -> Row {
    let (shape, w) = get(tiny, &format!("{name}.weight")).unwrap();
    let bias = get(tiny, &format!("{name}.bias"));
    let row = |i: usize| {
        let dot: f64 = w[i * shape[1]..][..shape[1]].iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum();
        dot + bias.map_or(0.0, |(_, b)| f64::from(b[i]))
    };
    (0..shape[0]).map(row).collect()
}

fn norm(tiny: &Tiny, name: &str, x: &[f64]) -> Row {
    let (_, gain) = get(tiny, &format!("{name}.weight")).unwrap();
    let one = if tiny.gemma { 1.0 } else { 0.0 };
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    let scale = 1.0 / (mean + tiny.config["rms_norm_eps"].as_f64().unwrap()).sqrt();
    x.iter().zip(gain).map(|(x, g)| x * scale * (one + f64::from(*g))).collect()
}

fn rotate(head: &[f64], position: usize, base: f64) -> Row {
    let half = head.len() / 2;
    let mut out = head.to_vec();
    for i in 0..half {
        let angle = position as f64 * base.powf(-(i as f64) / half as f64);
        out[i] = head[i] * angle.cos() - head[i + half] * angle.sin();
        out[i + half] = head[i + half] * angle.cos() + head[i] * angle.sin();
    }
    out
}

fn cap(x: f64, cap: Option<f64>) -> f64 {
    cap.map_or(x, |cap| cap * (x / cap).tanh())
}

/// Logits of every position.
pub(crate) fn logits(tiny: &Tiny, tokens: &[u32]) -> Vec<Row> {
    let float = |key: &str| tiny.config[key].as_f64();
    let (hidden, dim) = (tiny.count("hidden_size"), tiny.head_dim());
    let (heads, kv_heads) = (tiny.count("num_attention_heads"), tiny.count("num_key_value_heads"));
    let (_, embedding) = get(tiny, "model.embed_tokens.weight").unwrap();
    let scale = if tiny.gemma { (hidden as f64).sqrt() } else { 1.0 };
    let embed = |t: &u32| embedding[*t as usize * hidden..][..hidden].iter().map(|x| f64::from(*x) * scale).collect();
    let mut stream: Vec<Row> = tokens.iter().map(embed).collect();
    for layer in 0..tiny.count("num_hidden_layers") {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        let window = tiny.gemma && tiny.config["layer_types"][layer] == "sliding_attention";
        let base = if window { float("rope_local_base_freq") } else { float("rope_theta") }.unwrap();
        let project = |x: &Row, part: &str, count: usize, at: usize| -> Vec<Row> {
            let all = product(tiny, &name(&format!("self_attn.{part}_proj")), x);
            let split = (0..count).map(|h| all[h * dim..][..dim].to_vec());
            if part == "v" {
                return split.collect();
            }
            let normed = split.map(|h| if tiny.gemma { norm(tiny, &name(&format!("self_attn.{part}_norm")), &h) } else { h });
            normed.map(|h| rotate(&h, at, base)).collect()
        };
        let (mut keys, mut values) = (vec![], vec![]);
        for (at, x) in stream.iter_mut().enumerate() {
            let normed = norm(tiny, &name("input_layernorm"), x);
            keys.push(project(&normed, "k", kv_heads, at));
            values.push(project(&normed, "v", kv_heads, at));
            let mut mixed = vec![];
            for (h, q) in project(&normed, "q", heads, at).iter().enumerate() {
                let shared = h / (heads / kv_heads);
                let first = if window { (at + 1).saturating_sub(tiny.count("sliding_window")) } else { 0 };
                let temper = float("query_pre_attn_scalar").unwrap_or(dim as f64).sqrt();
                let score = |i: usize| {
                    let dot: f64 = q.iter().zip(&keys[i][shared]).map(|(q, k)| q * k).sum();
                    cap(dot / temper, float("attn_logit_softcapping")).exp()
                };
                let weights: Vec<f64> = (first..=at).map(score).collect();
                let sum: f64 = weights.iter().sum();
                mixed.extend((0..dim).map(|j| weights.iter().zip(first..).map(|(w, i)| w / sum * values[i][shared][j]).sum::<f64>()));
            }
            let mut out = product(tiny, &name("self_attn.o_proj"), &mixed);
            if tiny.gemma {
                out = norm(tiny, &name("post_attention_layernorm"), &out);
            }
            x.iter_mut().zip(out).for_each(|(x, o)| *x += o);

            let before = if tiny.gemma { "pre_feedforward_layernorm" } else { "post_attention_layernorm" };
            let normed = norm(tiny, &name(before), x);
            let gate = product(tiny, &name("mlp.gate_proj"), &normed);
            let up = product(tiny, &name("mlp.up_proj"), &normed);
            let act = |g: f64| {
                if tiny.gemma {
                    0.5 * g * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (g + 0.044715 * g.powi(3))).tanh())
                } else {
                    g / (1.0 + (-g).exp())
                }
            };
            let gated: Row = gate.iter().zip(up).map(|(g, u)| act(*g) * u).collect();
            let mut out = product(tiny, &name("mlp.down_proj"), &gated);
            if tiny.gemma {
                out = norm(tiny, &name("post_feedforward_layernorm"), &out);
            }
            x.iter_mut().zip(out).for_each(|(x, o)| *x += o);
        }
    }
    let head = if get(tiny, "lm_head.weight").is_some() { "lm_head" } else { "model.embed_tokens" };
    let last = |x: &Row| product(tiny, head, &norm(tiny, "model.norm", x)).into_iter().map(|x| cap(x, float("final_logit_softcapping")));
    stream.iter().map(|x| last(x).collect()).collect()
}
