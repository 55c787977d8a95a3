//! GPTQ against RTN, window by window.

use crate::{Result, smollm};
use scant_eval::stories::{CALIBRATION_SEEDS, HELD_OUT_SEEDS};
use scant_examples::bar::Bar;
use scant_examples::judge::{Judged, judge};
use scant_examples::method::methods;
use scant_examples::table::Table;
use scant_examples::{data, sequences};
use scant_tensor_core::team::Team;
use scant_transformer::{CompressPlan, Model, compress, open};

pub(crate) fn embedded() -> Result<()> {
    let model = open(data::embedded_model())?;
    let tokenizer = model.tokenizer()?;
    let calibration = sequences::of_stories(tokenizer, CALIBRATION_SEEDS, 128, 512)?;
    run(&model, &calibration, &sequences::of_stories(tokenizer, HELD_OUT_SEEDS, 200, 512)?)
}

pub(crate) fn smollm2() -> Result<()> {
    let model = smollm::off_grid()?;
    let tokenizer = model.tokenizer()?;
    run(&model, &smollm::calibration(tokenizer)?, &smollm::test(tokenizer)?)
}

fn run(model: &Model, calibration: &[Vec<u32>], test: &[Vec<u32>]) -> Result<()> {
    let threads = std::thread::available_parallelism()?.get();
    let team = Team::new(threads);
    let fit =
        |name: &str| -> Result<Model> { Ok(compress(model, calibration, &CompressPlan::new(methods(name)?), &team, &Bar::new(name))?.0) };
    let mut table = Table::new(["bits", "KL of RTN", "KL of GPTQ", "GPTQ - RTN [95 %]", "perplexity", "RTN", "GPTQ"]);
    let mut unclear = vec![];
    for bits in [4, 3, 2] {
        let (rtn, gptq) = (fit(&format!("rtn-{bits}-g64"))?, fit(&format!("gptq-{bits}-g64"))?);
        let both = [Judged::exact(&rtn), Judged::exact(&gptq)];
        let [rtn, gptq] = &judge(Judged::exact(model), &both, test, threads, &Bar::new(format!("{bits} bits")))?[..] else {
            return Err("two models gave another number of comparisons".into());
        };
        let less = gptq.kl_less(rtn);
        table.row([
            bits.to_string(),
            format!("{:.5}", rtn.kl().mean),
            format!("{:.5}", gptq.kl().mean),
            format!("{less:.5}"),
            format!("{:.3}", rtn.reference_perplexity()),
            format!("{:.3}", rtn.perplexity()),
            format!("{:.3}", gptq.perplexity()),
        ]);
        if !(less.mean < 0.0 && less.excludes_zero()) {
            unclear.push(format!("{bits} bits: {less:.5}"));
        }
    }
    print!("{table}");
    println!("   {} windows of {} tokens, Exact mode, groups of 64", test.len(), test.first().map_or(0, Vec::len));
    if unclear.is_empty() { Ok(()) } else { Err(format!("GPTQ is not clearly nearer at {}", unclear.join("; ")).into()) }
}
