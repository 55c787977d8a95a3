//! Time and memory of GPTQ on SmolLM2.

use crate::{Result, smollm};
use scant_examples::bar::Bar;
use scant_examples::method::methods;
use scant_tensor_core::team::Team;
use scant_transformer::{CompressPlan, compress};
use std::time::Instant;

const SECONDS: f64 = 600.0;

pub(crate) fn run() -> Result<()> {
    let model = smollm::off_grid()?;
    let f32_bytes = 4 * model.parameters();
    let calibration = smollm::calibration(model.tokenizer()?)?;
    let team = Team::new(std::thread::available_parallelism()?.get());
    let start = Instant::now();
    let (compressed, reports) = compress(&model, &calibration, &CompressPlan::new(methods("gptq-3-g64")?), &team, &Bar::new("gptq-3-g64"))?;
    let seconds = start.elapsed().as_secs_f64();
    let peak = peak_bytes()?;
    println!(
        "   gptq-3-g64 of {} matrices on {} x 512 tokens, {} threads: {seconds:.0} s; peak memory {:.0} MB, {:.2} times {:.0} MB; {:.1} MB result",
        reports.len(),
        calibration.len(),
        team.threads(),
        peak as f64 / 1e6,
        peak as f64 / f32_bytes as f64,
        f32_bytes as f64 / 1e6,
        compressed.footprint().total() as f64 / 1e6,
    );
    if seconds > SECONDS {
        return Err(format!("it took {seconds:.0} s, at most {SECONDS:.0} s are stated").into());
    }
    if peak > 3 * f32_bytes {
        return Err(format!("peak memory was {peak} bytes, at most {} are stated", 3 * f32_bytes).into());
    }
    Ok(())
}

/// The most memory that this process has had.
pub(crate) fn peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|e| format!("/proc/self/status: {e}"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).ok_or("/proc/self/status has no line VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(1024 * kib)
}
