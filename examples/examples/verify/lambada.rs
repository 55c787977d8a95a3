//! Last words of LAMBADA with SmolLM2, in f32, with 8-bit activations, and with matrices in 4 bits.

use crate::smollm;
use crate::{CALIBRATION, LAMBADA, Result, SMOLLM2};
use scant_eval::{Cloze, ClozeItem, Estimate, cloze, passages};
use scant_examples::data::real;
use scant_quant::Gptq;
use scant_tensor_core::progress::Progress;
use scant_tensor_core::{Ctx, Mode, isa::Isa, team::Team};
use scant_transformer::{CompressPlan, Model, Options, Path, Scorer, compress, open};

/// Passages, from the first on; more where `SCANT_LAMBADA` says so.
const PASSAGES: usize = 200;
/// Sequences that the 4-bit model is calibrated on.
const SEQUENCES: usize = 16;

pub(crate) fn run() -> Result<()> {
    let team = Team::new(std::thread::available_parallelism()?.get());
    let ctx = |mode| Ctx { isa: Isa::best(), mode, team: &team };
    let model = open(real(SMOLLM2)?)?;
    let count = std::env::var("SCANT_LAMBADA").ok().map_or(Ok(PASSAGES), |n| n.parse())?;
    let items = items(&model, count)?;
    let exact = judge("as it is, exact", &model, &items, ctx(Mode::Exact), Path::Dense)?;
    let fast = judge("as it is, fast", &model, &items, ctx(Mode::Fast), Path::Panel)?;
    // Off its grid first: on it, 4 bits would only find what the file has.
    let sequences = smollm::calibration(model.tokenizer()?)?;
    let plan = CompressPlan::new(vec![Box::new(Gptq::new(4, 64))]);
    let (small, _) = compress(&smollm::off_grid()?, &sequences[..SEQUENCES], &plan, &team, &Quiet)?;
    let four = judge("gptq-4-g64 off its grid, exact", &small, &items, ctx(Mode::Exact), Path::Dense)?;
    println!("   calibrated on {SEQUENCES} sequences of {CALIBRATION}");

    let gained = |other: &Cloze| {
        let right = |c: bool| f64::from(u8::from(c));
        let differences: Vec<f64> = exact.correct.iter().zip(&other.correct).map(|(a, b)| right(*b) - right(*a)).collect();
        Estimate::bootstrap(&differences, 1)
    };
    let (of_fast, of_four) = (gained(&fast), gained(&four));
    println!("   8-bit activations: accuracy {of_fast:.3}, paired");
    println!("   4-bit weights: accuracy {of_four:.3}, paired; what they cost, without a bound");
    if exact.accuracy().mean < 0.25 {
        return Err(format!("accuracy is {}, and a model of this size has 0.25 or more", exact.accuracy()).into());
    }
    if of_fast.high < 0.0 { Err(format!("8-bit activations lose more than chance: {of_fast:.3}").into()) } else { Ok(()) }
}

struct Quiet;
impl Progress for Quiet {}

/// The whole passage is encoded at once; the target is what is longer than its context.
fn items(model: &Model, count: usize) -> Result<Vec<ClozeItem>> {
    let tokenizer = model.tokenizer()?;
    let text = std::fs::read_to_string(real(LAMBADA)?)?;
    let item = |p: scant_eval::Passage| {
        let target = tokenizer.encode(&p.context)?.len();
        Ok(ClozeItem { tokens: tokenizer.encode(&(p.context + &p.target))?, target })
    };
    passages(&text)?.into_iter().take(count).map(item).collect()
}

fn judge(name: &str, model: &Model, items: &[ClozeItem], ctx: Ctx<'_>, path: Path) -> Result<Cloze> {
    let mut scorer = Scorer::new(model, ctx, Options { path, ..Options::default() })?;
    let result = cloze(&mut scorer, items, &())?;
    println!("   {name}: accuracy {:.3}, perplexity of a word {:.2} over {} passages", result.accuracy(), result.perplexity(), items.len());
    Ok(result)
}
