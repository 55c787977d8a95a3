//! The same bytes on any number of threads.

use crate::Result;
use scant_eval::stories::CALIBRATION_SEEDS;
use scant_examples::bar::Bar;
use scant_examples::method::methods;
use scant_examples::{data, sequences};
use scant_tensor_core::team::Team;
use scant_transformer::{CompressPlan, compress, open};

pub(crate) fn run() -> Result<()> {
    let model = open(data::embedded_model())?;
    let calibration = sequences::of_stories(model.tokenizer()?, CALIBRATION_SEEDS, 16, 256)?;
    let saved = |threads: usize| -> Result<Vec<u8>> {
        // Products run on the team, fits on the pool.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let plan = CompressPlan::new(methods("gptq-3-g64-act")?);
        let bar = Bar::new(format!("{threads} threads"));
        let (compressed, _) = pool.install(|| compress(&model, &calibration, &plan, &Team::new(threads), &bar))?;
        Ok(compressed.to_bytes()?.to_vec())
    };
    let (one, two) = (saved(1)?, saved(2)?);
    if one != two {
        let at = one.iter().zip(&two).take_while(|(a, b)| a == b).count();
        return Err(format!("files of {} and {} bytes differ from byte {at} on", one.len(), two.len()).into());
    }
    println!("   gptq-3-g64-act: {} equal bytes", one.len());
    Ok(())
}
