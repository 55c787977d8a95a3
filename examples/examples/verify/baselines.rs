//! Whether methods that know more are nearer to the model, window by window.

use crate::Result;
use scant_eval::stories::{CALIBRATION_SEEDS, HELD_OUT_SEEDS};
use scant_examples::bar::Bar;
use scant_examples::judge::{Judged, judge};
use scant_examples::method::methods;
use scant_examples::table::Table;
use scant_examples::{data, sequences};
use scant_tensor_core::team::Team;
use scant_transformer::{CompressPlan, Model, compress, open};

/// A method and the one that it should be nearer than.
pub(crate) type Pair = (&'static str, &'static str);

const GRIDS: [Pair; 6] = [
    ("gptq-4-g64", "rtn-4-g64"),
    ("awq-4-g64", "rtn-4-g64"),
    ("gptq-3-g64", "rtn-3-g64"),
    ("awq-3-g64", "rtn-3-g64"),
    // Where steps are coarse: at 4 bits there is little for a better zero point to win.
    ("hqq-3-g64", "rtn-3-g64"),
    ("hqq-2-g64", "rtn-2-g64"),
];
const BLOCKS: [Pair; 5] =
    [("q2_k", "q2_k-plain"), ("q3_k", "q3_k-plain"), ("q4_k", "q4_k-plain"), ("q5_k", "q5_k-plain"), ("q4_0", "q4_0-plain")];

pub(crate) fn embedded() -> Result<()> {
    let model = open(data::embedded_model())?;
    let tokenizer = model.tokenizer()?;
    let calibration = sequences::of_stories(tokenizer, CALIBRATION_SEEDS, 64, 512)?;
    run(&model, &calibration, &sequences::of_stories(tokenizer, HELD_OUT_SEEDS, 200, 512)?, &[&GRIDS[..], &BLOCKS[..]].concat())
}

pub(crate) fn run(model: &Model, calibration: &[Vec<u32>], test: &[Vec<u32>], pairs: &[Pair]) -> Result<()> {
    let threads = std::thread::available_parallelism()?.get();
    let team = Team::new(threads);
    let mut names: Vec<&str> = vec![];
    for name in pairs.iter().flat_map(|(better, worse)| [*worse, *better]) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let fit =
        |name: &&str| -> Result<Model> { Ok(compress(model, calibration, &CompressPlan::new(methods(name)?), &team, &Bar::new(*name))?.0) };
    let models = names.iter().map(fit).collect::<Result<Vec<_>>>()?;
    let judged: Vec<_> = models.iter().map(Judged::exact).collect();
    let quality = judge(Judged::exact(model), &judged, test, threads, &Bar::new("quality"))?;
    let of = |name: &str| names.iter().position(|n| *n == name).map(|i| &quality[i]).ok_or_else(|| format!("{name} was not judged"));

    let mut table = Table::new(["nearer", "than", "KL", "KL", "difference [95 %]"]);
    let mut unclear = vec![];
    for (better, worse) in pairs {
        let (a, b) = (of(better)?, of(worse)?);
        let less = a.kl_less(b);
        table.row([
            (*better).to_owned(),
            (*worse).to_owned(),
            format!("{:.5}", a.kl().mean),
            format!("{:.5}", b.kl().mean),
            format!("{less:.5}"),
        ]);
        if !(less.mean < 0.0 && less.excludes_zero()) {
            unclear.push(format!("{better} than {worse}: {less:.5}"));
        }
    }
    print!("{table}");
    println!(
        "   {} windows of {} tokens, calibrated on {} sequences, Exact mode",
        test.len(),
        test.first().map_or(0, Vec::len),
        calibration.len()
    );
    if unclear.is_empty() { Ok(()) } else { Err(format!("not clearly nearer: {}", unclear.join("; ")).into()) }
}
