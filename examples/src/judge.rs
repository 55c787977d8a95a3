//! How good and how fast models are: comparisons on all cores, and tokens per second.

use scant_eval::{Comparison, LanguageModel, compare};
use scant_kvcache::KvType;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::progress::Progress;
use scant_tensor_core::team::Team;
use scant_tensor_core::{Ctx, Mode};
use scant_transformer::{Model, Options, Path, Scorer, Session};
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A model in a mode.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// The model.
    pub model: &'a Model,
    /// How its products are computed.
    pub mode: Mode,
}

impl<'a> Judged<'a> {
    /// A model in [`Mode::Exact`], in which figures of quality are measured.
    pub fn exact(model: &'a Model) -> Judged<'a> {
        Judged { model, mode: Mode::Exact }
    }
}

/// Compares `models` with `reference`, windows shared out over `threads`; small models keep one core busy and not more. The cache holds f32.
///
/// The result does not depend on the number of threads.
///
/// # Errors
/// Those of [`compare`] and of the models.
pub fn judge(
    reference: Judged<'_>,
    models: &[Judged<'_>],
    windows: &[Vec<u32>],
    threads: usize,
    progress: &dyn Progress,
) -> Result<Vec<Comparison>, Box<dyn Error + Send + Sync>> {
    let threads = threads.clamp(1, windows.len().max(1));
    let done = AtomicU64::new(0);
    let total = (windows.len() * (models.len() + 1)) as u64;
    let part = |windows: &[Vec<u32>]| -> Result<Vec<Comparison>, Box<dyn Error + Send + Sync>> {
        let team = Team::new(1);
        let mut first = scorer(reference, &team)?;
        let mut others = models.iter().map(|m| scorer(*m, &team)).collect::<Result<Vec<_>, _>>()?;
        let mut others: Vec<&mut dyn LanguageModel> = others.iter_mut().map(|m| m as &mut dyn LanguageModel).collect();
        let windows: Vec<&[u32]> = windows.iter().map(Vec::as_slice).collect();
        let share = Share { whole: progress, done: &done, total };
        Ok(compare(&mut first, &mut others, &windows, &share)?)
    };
    let part = &part;
    let mut parts = std::thread::scope(|scope| {
        let share = windows.len().div_ceil(threads).max(1);
        let running: Vec<_> = windows.chunks(share).map(|w| scope.spawn(move || part(w))).collect();
        let join = |t: std::thread::ScopedJoinHandle<'_, _>| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        running.into_iter().map(join).collect::<Result<Vec<_>, _>>()
    })?
    .into_iter();
    let mut all = parts.next().ok_or("no windows were given")?;
    for part in parts {
        for (all, part) in all.iter_mut().zip(part) {
            all.windows.extend(part.windows);
            all.reference_nll.extend(part.reference_nll);
        }
    }
    Ok(all)
}

fn scorer<'a>(judged: Judged<'a>, team: &'a Team) -> Result<Scorer<'a>, scant_transformer::Error> {
    let ctx = Ctx { isa: Isa::best(), mode: judged.mode, team };
    // Expanded products are of f32 weights and inputs: they would not show what fast mode does.
    let path = if judged.mode == Mode::Exact { Path::Dense } else { Path::Panel };
    Scorer::new(judged.model, ctx, Options { path, kv: KvType::F32, ..Options::default() })
}

/// A thread's share of the progress of all.
struct Share<'a> {
    whole: &'a dyn Progress,
    done: &'a AtomicU64,
    total: u64,
}

impl Progress for Share<'_> {
    fn step(&self, _: u64, _: u64, what: &str) {
        // Each call stands for one more pass.
        self.whole.step(self.done.fetch_add(1, Ordering::Relaxed) + 1, self.total, what);
    }

    fn cancelled(&self) -> bool {
        self.whole.cancelled()
    }
}

/// Tokens per second.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Of a prompt.
    pub prefill: f64,
    /// Of tokens one after the other behind it.
    pub decode: f64,
}

/// Speed over a prompt and the tokens of `text` behind it: the best of `rounds`, for whatever else the machine does only slows it down.
///
/// # Errors
/// The model's.
pub fn speed(model: &Model, ctx: Ctx<'_>, prompt: &[u32], text: &[u32], rounds: usize) -> Result<Speed, scant_transformer::Error> {
    let mut session = Session::new(model, ctx, Options { path: Path::Panel, ..Options::default() })?;
    session.reserve(prompt.len() + text.len());
    let mut best = Speed { prefill: 0.0, decode: 0.0 };
    for _ in 0..rounds {
        session.truncate(0)?;
        let start = Instant::now();
        session.prefill(prompt)?;
        best.prefill = best.prefill.max(prompt.len() as f64 / start.elapsed().as_secs_f64());
        let start = Instant::now();
        for token in text {
            session.decode(*token)?;
        }
        best.decode = best.decode.max(text.len() as f64 / start.elapsed().as_secs_f64());
    }
    Ok(best)
}
