//! What 8-bit activations change.

use crate::{GEMMA, Result, SMOLLM2, smollm};
use scant_examples::bar::Bar;
use scant_examples::data::real;
use scant_examples::judge::{Judged, judge};
use scant_tensor_core::Mode;
use scant_transformer::open;

/// Windows of 512 tokens.
const WINDOWS: usize = 20;
/// Nats a token.
const NEAR: f64 = 0.01;

pub(crate) fn run() -> Result<()> {
    let threads = std::thread::available_parallelism()?.get();
    let mut far = vec![];
    for file in [SMOLLM2, GEMMA] {
        let model = open(real(file)?)?;
        let test = smollm::test(model.tokenizer()?)?;
        let fast = [Judged { model: &model, mode: Mode::Fast }];
        let found = judge(Judged::exact(&model), &fast, &test[..WINDOWS], threads, &Bar::new(file))?;
        let found = found.first().ok_or("nothing was compared")?;
        let kl = found.kl();
        println!(
            "   {file}: KL {kl:.5}, top-1 agreement {:.2} %, perplexity {:.3} against {:.3}, {WINDOWS} windows of {} tokens",
            100.0 * found.agreement().mean,
            found.perplexity(),
            found.reference_perplexity(),
            test[0].len()
        );
        if kl.mean.is_nan() || kl.mean >= NEAR {
            far.push(format!("{file}: {:.5}", kl.mean));
        }
    }
    if far.is_empty() { Ok(()) } else { Err(format!("KL is {NEAR} nats or more: {}", far.join("; ")).into()) }
}
