//! Token by token against an independent program in float32.

use crate::{GEMMA, Result, SMOLLM2};
use scant_eval::LanguageModel;
use scant_examples::data::real;
use scant_examples::table::Table;
use scant_kvcache::KvType;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::team::Team;
use scant_tensor_core::{Ctx, Mode};
use scant_transformer::{Options, Path, Scorer, open};

/// Largest relative difference of the perplexity.
const NEAR: f64 = 0.002;
/// Largest difference in nats at any one token: the reference is written with five decimals, sums in f32 differ by their order.
const NEAR_TOKEN: f64 = 0.01;

/// What `reference/*.json` hold.
#[derive(serde::Deserialize)]
struct Reference {
    ids: Vec<u32>,
    nll: Vec<f64>,
    perplexity: f64,
}

pub(crate) fn run() -> Result<()> {
    let mut table = Table::new(["model", "path", "perplexity", "reference", "difference %", "largest at a token (nats)"]);
    let mut wrong = vec![];
    for (file, reference) in [(SMOLLM2, "reference/smollm2-135m.json"), (GEMMA, "reference/gemma-3-270m.json")] {
        let known: Reference = serde_json::from_str(&std::fs::read_to_string(real(reference)?)?)?;
        let model = open(real(file)?)?;
        let team = Team::new(std::thread::available_parallelism()?.get());
        for path in [Path::Panel, Path::Dense] {
            let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &team };
            let nll = losses(&mut Scorer::new(&model, ctx, Options { path, kv: KvType::F32, ..Options::default() })?, &known.ids)?;
            if nll.len() != known.nll.len() {
                return Err(format!("{file}: {} tokens were scored, the reference has {}", nll.len(), known.nll.len()).into());
            }
            let perplexity = (nll.iter().sum::<f64>() / nll.len() as f64).exp();
            let difference = perplexity / known.perplexity - 1.0;
            let largest = nll.iter().zip(&known.nll).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            table.row([
                file.to_owned(),
                path.to_string(),
                format!("{perplexity:.5}"),
                format!("{:.5}", known.perplexity),
                format!("{:+.4}", 100.0 * difference),
                format!("{largest:.5}"),
            ]);
            // NaN is not near either.
            if !(difference.abs() <= NEAR && largest <= NEAR_TOKEN) {
                wrong.push(format!("{file}, {path}"));
            }
        }
    }
    print!("{table}");
    if wrong.is_empty() { Ok(()) } else { Err(format!("too far from the reference: {}", wrong.join("; ")).into()) }
}

/// Negative log-likelihood of every token but the first.
fn losses(model: &mut dyn LanguageModel, ids: &[u32]) -> Result<Vec<f64>> {
    let mut losses = Vec::with_capacity(ids.len());
    model.for_logits(ids, &mut |first, logits| {
        for (next, row) in ids[first + 1..].iter().zip(logits.rows()) {
            let max = row.iter().copied().fold(f32::MIN, f32::max);
            let sum: f64 = row.iter().map(|x| f64::from(x - max).exp()).sum();
            losses.push(f64::from(max) + sum.ln() - f64::from(row[*next as usize]));
        }
    })?;
    Ok(losses)
}
