//! Whether SpQR and AQLM are nearer to the model than GPTQ at no more bits.

use crate::baselines::{Pair, run};
use crate::{Result, smollm};
use scant_eval::stories::{CALIBRATION_SEEDS, HELD_OUT_SEEDS};
use scant_examples::{data, sequences};
use scant_transformer::open;

/// Of the embedded model, whose matrices of 256 columns pay an eighth of a bit for SpQR's row pointers and a quarter for the smallest codebook.
/// On the left no more bits than on the right: 4.07 and 4.08, 3.91 and 4.19, 2.27 and 2.28.
const EMBEDDED: [Pair; 4] =
    [("spqr-3-g16-o1", "gptq-4-row"), ("gptq-4-row", "rtn-4-row"), ("spqr-3-g16-o0.5", "gptq-3-g16"), ("aqlm-1x8-g4", "gptq-2-g64")];
/// Of SmolLM2: 3.95 and 4.03, 3.95 and 4.19, 2.11 and 2.28.
const SMOLLM2: [Pair; 3] = [("spqr-3-g16-o0.8", "gptq-4-row"), ("spqr-3-g16-o0.8", "gptq-3-g16"), ("aqlm-2x8-g8", "gptq-2-g64")];

pub(crate) fn embedded() -> Result<()> {
    let model = open(data::embedded_model())?;
    let tokenizer = model.tokenizer()?;
    let calibration = sequences::of_stories(tokenizer, CALIBRATION_SEEDS, 64, 512)?;
    run(&model, &calibration, &sequences::of_stories(tokenizer, HELD_OUT_SEEDS, 200, 512)?, &EMBEDDED)
}

pub(crate) fn smollm2() -> Result<()> {
    let model = smollm::off_grid()?;
    let tokenizer = model.tokenizer()?;
    run(&model, &smollm::calibration(tokenizer)?, &smollm::test(tokenizer)?, &SMOLLM2)
}
