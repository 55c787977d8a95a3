//! Trains the embedded model from nothing: text from a seed, a tokenizer, a Llama of 2.9 million weights, a Hugging Face folder.
//!
//! `--quick` takes seconds; the model of this repository takes about an hour of two cores. The run can be stopped at any time and resumed; a file
//! named `finish` in the run's folder sends it into its last phase.

use scant_eval::stories::{self, HELD_OUT_SEEDS, RowParams, StoryParams, TRAIN_SEEDS};
use scant_eval::{perplexity, recall, windows};
use scant_examples::args::{Args, Opt};
use scant_tensor_core::isa::Isa;
use scant_train_embedded::log::{DISTANCES, Point, markdown};
use scant_train_embedded::text::{BOS, EOS, LINE, Measured, encode, questions, train_tokenizer};
use scant_trainkit::llama::{Batch, Llama, LlamaConfig, Tape};
use scant_trainkit::{AdamW, Schedule, Trainer};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tokenizers::Tokenizer;

const OPTIONS: &[Opt] = &[
    Opt { name: "run", value: "FOLDER", help: "checkpoints, tokenizer and log (models/embedded-train)" },
    Opt { name: "export", value: "FOLDER", help: "write the newest checkpoint as a Hugging Face folder and stop" },
    Opt { name: "tokens", value: "N", help: "tokens before the last phase, in millions (12.5)" },
    Opt { name: "minutes", value: "N", help: "minutes of computing before the last phase, pauses not counted" },
    Opt { name: "resume", value: "", help: "go on from the newest checkpoint" },
    Opt { name: "quick", value: "", help: "a few steps into a temporary folder, and a check that the loss fell" },
];

/// Rate, batches and text up to a number of tokens. Short rows full of lists first: there the heads that match keys settle.
#[derive(Clone, Copy)]
struct Stage {
    until: f64,
    rate: f32,
    tokens: usize,
    rows: usize,
    breadth: f32,
    recitals: f32,
    stories: f32,
    filler: f32,
    lines: f32,
}

const FIRST: Stage =
    Stage { until: 0.6e6, rate: 2e-3, tokens: 64, rows: 16, breadth: 0.3, recitals: 0.8, stories: 0.05, filler: 0.05, lines: 0.0 };
const FULL: Stage = Stage { until: 1.2e6, breadth: 1.0, recitals: 0.6, filler: 0.1, ..FIRST };
const STAGES: &[Stage] = &[
    FIRST,
    FULL,
    Stage { until: 3.0e6, tokens: 128, rows: 8, recitals: 0.4, stories: 0.15, filler: 0.2, ..FULL },
    Stage { until: 3.2e6, ..MIDDLE },
    Stage { until: 6.5e6, rate: 1e-3, ..MIDDLE },
    Stage { until: 10.0e6, tokens: 512, rows: 4, ..LAST },
    LAST,
];
const MIDDLE: Stage = Stage { tokens: 256, rows: 4, recitals: 0.3, stories: 0.2, filler: 0.3, lines: 0.5, ..FULL };
const LAST: Stage =
    Stage { until: f64::INFINITY, rate: 1e-3, tokens: 1024, rows: 2, breadth: 1.0, recitals: 0.2, stories: 0.25, filler: 0.35, lines: 0.5 };
const SHARDS: usize = 2;
const SEED: u64 = 3;
const WARM_UP: u64 = 200_000;
const CLIP: f64 = 1.0;
const ANSWER_WEIGHT: f32 = 4.0;
/// Characters a token stands for, about.
const CHARS_PER_TOKEN: f32 = 4.2;
/// Share of the tokens seen that the last phase adds.
const LAST_PHASE: f64 = 0.1;

/// What a checkpoint remembers besides the weights.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
struct Note {
    rows: u64,
    seconds: f64,
    decay: Option<(u64, u64)>,
    curve: Vec<Point>,
}

fn main() -> std::process::ExitCode {
    scant_examples::program::run(train)
}

fn train() -> Result<(), Box<dyn Error + Send + Sync>> {
    keep_pages();
    let args = Args::parse("Trains the embedded model.", OPTIONS);
    if args.flag("quick") {
        return quick();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded-train");
    let run = Run::open(args.value("run").map_or(root, PathBuf::from), 6_000_000)?;
    if let Some(folder) = args.value("export") {
        let mut trainer = run.trainer()?;
        let note = serde_json::from_value(trainer.resume(run.checkpoint())?)?;
        return run.export(&trainer, &note, Path::new(folder), 10);
    }
    let most = (args.get("tokens", 12.5)? * 1e6, args.get("minutes", f64::INFINITY)? * 60.0);
    run.train(most, args.flag("resume"))
}

/// glibc gives large freed blocks back to the system and takes them again, which costs a third of the time; its settings are read at start only.
fn keep_pages() {
    const SETTINGS: [(&str, &str); 2] = [("MALLOC_MMAP_MAX_", "0"), ("MALLOC_TRIM_THRESHOLD_", "16000000000")];
    if cfg!(not(target_env = "gnu")) || std::env::var_os(SETTINGS[0].0).is_some() {
        return;
    }
    #[cfg(unix)]
    if let Ok(program) = std::env::current_exe() {
        use std::os::unix::process::CommandExt;
        let e = std::process::Command::new(program).args(std::env::args_os().skip(1)).envs(SETTINGS).exec();
        eprintln!("going on without the allocator's settings: {e}");
    }
}

/// A folder with a tokenizer, checkpoints, and later a log.
struct Run {
    folder: PathBuf,
    tokenizer: Tokenizer,
}

impl Run {
    /// The run in `folder`; a tokenizer is trained on `chars` characters if there is none.
    fn open(folder: PathBuf, chars: usize) -> Result<Run, Box<dyn Error + Send + Sync>> {
        std::fs::create_dir_all(&folder)?;
        let path = folder.join("tokenizer.json");
        if !path.exists() {
            let tokenizer = train_tokenizer(LlamaConfig::EMBEDDED.vocab_size, chars).map_err(|e| e.to_string())?;
            tokenizer.save(&path, true).map_err(|e| e.to_string())?;
        }
        let tokenizer = Tokenizer::from_file(path).map_err(|e| e.to_string())?;
        Ok(Run { folder, tokenizer })
    }

    fn checkpoint(&self) -> PathBuf {
        self.folder.join("checkpoint.safetensors")
    }

    fn trainer(&self) -> Result<Trainer, Box<dyn Error + Send + Sync>> {
        Ok(Trainer::new(Llama::with_matching_heads(LlamaConfig::EMBEDDED, SEED)?, AdamW::default(), CLIP, SHARDS))
    }

    fn piece(&self, piece: &str) -> Result<u32, Box<dyn Error + Send + Sync>> {
        Ok(self.tokenizer.token_to_id(piece).ok_or_else(|| format!("the tokenizer has no piece {piece}"))?)
    }

    /// Rows `first..` of the training text as a batch; each shard's rows are made on a thread of their own.
    fn batch(&self, stage: &Stage, first: u64) -> Result<Batch, Box<dyn Error + Send + Sync>> {
        let story =
            StoryParams { chars: 0, breadth: stage.breadth, recitals: stage.recitals, stories: stage.stories, filler: stage.filler };
        let (bos, eos) = (self.piece(BOS)?, self.piece(EOS)?);
        let params = RowParams {
            story,
            tokens: stage.tokens,
            chars_per_token: CHARS_PER_TOKEN,
            bos,
            eos,
            line: self.piece(LINE)?,
            lines: stage.lines,
            answer_weight: ANSWER_WEIGHT,
        };
        let row = |i: u64| stories::row(&params, TRAIN_SEEDS.start, i, |text| encode(&self.tokenizer, text));
        let part = stage.rows / SHARDS;
        let make = |shard| (0..part).map(|i| row(first + (shard * part + i) as u64)).collect::<Vec<_>>();
        let rows: Vec<_> = std::thread::scope(|scope| {
            let make = &make;
            let threads: Vec<_> = (0..SHARDS).map(|shard| scope.spawn(move || make(shard))).collect();
            threads.into_iter().flat_map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let (mut inputs, mut targets, mut weights) = (vec![], vec![], vec![]);
        for row in rows {
            let (ids, w) = row.map_err(|e| e.to_string())?;
            inputs.extend_from_slice(&ids[..stage.tokens]);
            targets.extend_from_slice(&ids[1..]);
            weights.extend_from_slice(&w[1..]);
        }
        Ok(Batch::new(stage.rows, stage.tokens, inputs, targets, weights)?)
    }

    /// Trains until `most` tokens or seconds, then through the last phase.
    fn train(&self, most: (f64, f64), resume: bool) -> Result<(), Box<dyn Error + Send + Sync>> {
        let (mut trainer, mut note) = (self.trainer()?, Note::default());
        if resume {
            note = serde_json::from_value(trainer.resume(self.checkpoint())?)?;
        }
        let (mut losses, mut last_line, mut last_point) = (Mean::default(), note.seconds, trainer.tokens());
        let mut schedule = Schedule { peak: 1.0, warmup: WARM_UP, decay: note.decay };
        while !schedule.finished(trainer.tokens()) {
            let start = Instant::now();
            let seen = trainer.tokens();
            let over = seen as f64 >= most.0 || note.seconds >= most.1 || self.folder.join("finish").exists();
            if schedule.decay.is_none() && over {
                schedule.decay = Some((seen, seen + (seen as f64 * LAST_PHASE) as u64));
                note.decay = schedule.decay;
            }
            // The last phase is at full context whenever it begins.
            let stage = STAGES.iter().find(|s| (seen as f64) < s.until && note.decay.is_none()).unwrap_or(&STAGES[STAGES.len() - 1]);
            let batch = self.batch(stage, note.rows)?;
            note.rows += stage.rows as u64;
            let report = trainer.step(&batch, stage.rate * schedule.rate(seen))?;
            losses.add(report.loss);
            // A run that was stopped for a while has not been computing.
            note.seconds += start.elapsed().as_secs_f64().min(5.0);
            if note.seconds - last_line > 20.0 {
                let speed = (trainer.tokens() as f64 / note.seconds, trainer.steps());
                eprintln!(
                    "{:.2} M tokens, step {}, {} x {}: loss {:.3}, norm {:.2}, {:.0} tokens/s overall",
                    trainer.tokens() as f64 / 1e6,
                    speed.1,
                    stage.rows,
                    stage.tokens,
                    losses.peek(),
                    report.norm,
                    speed.0
                );
                last_line = note.seconds;
            }
            if trainer.tokens() - last_point >= 500_000 {
                last_point = trainer.tokens();
                let (point, _) = self.measure(&trainer, losses.take(), note.seconds, 1)?;
                eprintln!("{}", point.row());
                note.curve.push(point);
                trainer.save(self.checkpoint(), serde_json::to_value(&note)?)?;
            }
        }
        trainer.save(self.checkpoint(), serde_json::to_value(&note)?)?;
        self.export(&trainer, &note, &self.folder.join("export"), 10)
    }

    /// Perplexity and recall on held-out text, `effort` times a quick look; and the windows of the former.
    fn measure(&self, trainer: &Trainer, loss: f64, seconds: f64, effort: usize) -> Result<(Point, usize), Box<dyn Error + Send + Sync>> {
        let model = &mut Measured { model: trainer.model(), tape: Tape::new() };
        let text = stories::text(&StoryParams::default(), HELD_OUT_SEEDS, 40_000 * effort);
        let ids = encode(&self.tokenizer, &text).map_err(|e| e.to_string())?.ids;
        let windows = windows(&ids, 512)?;
        let result = perplexity(model, &windows, &())?;
        let mut characters = 0;
        for window in &windows {
            characters += self.tokenizer.decode(&window[1..], true).map_err(|e| e.to_string())?.len();
        }
        let items = questions(&self.tokenizer, 100 * effort).map_err(|e| e.to_string())?;
        let recall = recall(model, &items, &DISTANCES.map(|(_, d)| d), &())?;
        let (perplexity, bits_per_character) = (result.perplexity(), result.bits_per_character(characters));
        Ok((Point { tokens: trainer.tokens(), seconds, loss, perplexity, bits_per_character, recall }, windows.len()))
    }

    /// The model, its tokenizer and the log of its training.
    fn export(&self, trainer: &Trainer, note: &Note, folder: &Path, effort: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
        trainer.model().export(folder, self.piece(BOS)?, self.piece(EOS)?)?;
        self.tokenizer.save(folder.join("tokenizer.json"), true).map_err(|e| e.to_string())?;
        let loss = note.curve.last().map_or(f64::NAN, |p| p.loss);
        let (point, windows) = self.measure(trainer, loss, note.seconds, effort)?;
        let c = trainer.model().config();
        let lengths: Vec<_> = STAGES.iter().map(|s| format!("{} x {} at {} to {:.1} M", s.rows, s.tokens, s.rate, s.until / 1e6)).collect();
        let optimizer = AdamW::default();
        let decay = note
            .decay
            .map_or("not yet".to_owned(), |(a, b)| format!("linear to 0 from {:.2} M to {:.2} M", a as f64 / 1e6, b as f64 / 1e6));
        let settings = [
            ("weights", format!("{} (stored in f16, trained in f32)", trainer.model().weights().len())),
            (
                "shape",
                format!(
                    "hidden {}, {} layers, {} heads, {} key/value heads, feed-forward {}, vocabulary {} (tied), context {}",
                    c.hidden, c.layers, c.heads, c.kv_heads, c.ffn, c.vocab_size, c.context
                ),
            ),
            (
                "text",
                format!("`scant_eval::stories`, training seeds from {}, held-out seeds from {}", TRAIN_SEEDS.start, HELD_OUT_SEEDS.start),
            ),
            ("tokens seen", format!("{} in {} steps", trainer.tokens(), trainer.steps())),
            (
                "time",
                format!(
                    "{:.0} minutes of computing, {SHARDS} threads, {} tier, machine shared with other work",
                    note.seconds / 60.0,
                    Isa::best().level()
                ),
            ),
            (
                "optimizer",
                format!(
                    "AdamW, betas {} and {}, weight decay {}, gradients clipped to norm {CLIP}",
                    optimizer.beta1, optimizer.beta2, optimizer.weight_decay
                ),
            ),
            ("rate", format!("as below, {:.1} M tokens of warm-up; decay: {decay}", WARM_UP as f64 / 1e6)),
            ("batches (rows x tokens at rate)", format!("{}, and all of the last phase", lengths.join(", "))),
            ("weight of an answer's token", format!("{ANSWER_WEIGHT}")),
            ("seed", format!("{SEED}")),
        ];
        std::fs::write(folder.join("training_log.md"), markdown(&settings, &note.curve, &point, windows))?;
        eprintln!("{}\nexported to {}", point.row(), folder.display());
        Ok(())
    }
}

#[derive(Default)]
struct Mean(f64, f64);

impl Mean {
    fn add(&mut self, x: f64) {
        *self = Mean(self.0 + x, self.1 + 1.0);
    }
    fn peek(&self) -> f64 {
        self.0 / self.1
    }
    fn take(&mut self) -> f64 {
        let mean = self.peek();
        *self = Mean::default();
        mean
    }
}

/// Thirty steps with a tokenizer of little text: the loss must fall.
fn quick() -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder = std::env::temp_dir().join(format!("scant-train-embedded-{}", std::process::id()));
    let run = Run::open(folder.clone(), 600_000)?;
    let (mut trainer, mut losses) = (run.trainer()?, vec![]);
    for step in 0..30 {
        let batch = run.batch(&STAGES[0], step * STAGES[0].rows as u64)?;
        losses.push(trainer.step(&batch, 1e-3 * ((step + 1) as f32 / 10.0).min(1.0))?.loss);
    }
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    eprintln!("loss {first:.3} -> {last:.3} in {} steps", losses.len());
    run.export(&trainer, &Note::default(), &folder.join("export"), 1)?;
    std::fs::remove_dir_all(&folder)?;
    if last < first - 1.0 { Ok(()) } else { Err(format!("the loss fell from {first:.3} to {last:.3} only").into()) }
}
