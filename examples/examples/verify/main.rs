//! The project's statements about real models and data, checked one by one.
//!
//! ```text
//! cargo run --release -p scant-examples --example verify                  # what there is
//! SCANT_DATA=folder cargo run --release -p scant-examples --example verify -- golden perplexity
//! SCANT_DATA=folder cargo run --release -p scant-examples --example verify -- quick
//! ```
//!
//! `SCANT_DATA` names a folder with `wikitext-2/`, `stories260k/`, `cranfield/`, `vaswani/`, `cisi/`, `lambada/`, `boolq/`, `dna/`, `gsm8k/`,
//! `tinyshakespeare/`, `xlsx/`, `saus/`, `reference/` and `models/`
//! (`smollm2-135m.gguf`, `gemma-3-270m-q4_k_m.gguf`, and `minilm/` and `splade-tiny/` as Hugging Face has them).
//! A check whose files are missing fails; `quick` runs the short ones whose files are there, and wants at least one.
#![expect(clippy::print_stdout, reason = "a program that prints what it finds")]

mod anncur;
mod baselines;
mod checkpoints;
mod cost;
mod cutoff;
mod encoders;
mod faiss;
mod faithful;
mod fast;
mod golden;
mod kv;
mod lambada;
mod narrow;
mod off_grid;
mod package;
mod perplexity;
mod prompt;
mod sheets;
mod smollm;
mod ten_million;
mod threads;

use std::process::ExitCode;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A statement and how it is checked.
struct Check {
    name: &'static str,
    says: &'static str,
    /// Files below `SCANT_DATA`.
    needs: &'static [&'static str],
    /// Whether it is one of the short ones.
    quick: bool,
    run: fn() -> Result<()>,
}

const SMOLLM2: &str = "models/smollm2-135m.gguf";
const GEMMA: &str = "models/gemma-3-270m-q4_k_m.gguf";
const STORIES: &str = "stories260k/tinyllamas-stories-260k-f32.gguf";
const CALIBRATION: &str = "wikitext-2/valid.txt";
const TEST: &str = "wikitext-2/test.txt";
const LAMBADA: &str = "lambada/lambada_test.jsonl";
const MINILM: &str = "models/minilm";
const SPLADE: &str = "models/splade-tiny";
const BOOLQ: &str = "boolq/dev.jsonl";
const CRANFIELD: [&str; 3] = ["cranfield/cran.all.1400.xml", "cranfield/cran.qry.xml", "cranfield/cranqrel.trec.txt"];

const CHECKS: &[Check] = &[
    Check { name: "golden", says: "stories260K tells the known story, word by word", needs: &[STORIES], quick: true, run: golden::run },
    Check {
        name: "threads",
        says: "GPTQ of the embedded model gives the same file with 1 and 2 threads",
        needs: &[],
        quick: true,
        run: threads::run,
    },
    Check {
        name: "perplexity",
        says: "SmolLM2 and Gemma 3 in Exact mode are within 0.2 % of the reference perplexities, token by token",
        needs: &[SMOLLM2, GEMMA, "reference/smollm2-135m.json", "reference/gemma-3-270m.json"],
        quick: true,
        run: perplexity::run,
    },
    Check {
        name: "off-grid",
        says: "SmolLM2 moved off its grid has few blocks of 16 values left, and the same logits",
        needs: &[SMOLLM2, TEST],
        quick: true,
        run: off_grid::run,
    },
    Check {
        name: "fast",
        says: "8-bit activations move SmolLM2 and Gemma 3 by less than .01 nats a token",
        needs: &[SMOLLM2, GEMMA, TEST],
        quick: false,
        run: fast::run,
    },
    Check {
        name: "encoders",
        says: "MiniLM and SPLADE-tiny rank Cranfield as the reference does within 0.002 nDCG@10, and in 8 bits within 0.005 of that",
        needs: &[MINILM, SPLADE, CRANFIELD[0], CRANFIELD[1], CRANFIELD[2]],
        quick: true,
        run: encoders::run,
    },
    Check {
        name: "encoders-shapes",
        says: "SPLADE-tiny's vectors of three collections have as many terms as the reference's, and rank as well",
        needs: &[SPLADE, CRANFIELD[0], "vaswani/doc-text.trec", "cisi/CISI.ALL"],
        quick: false,
        run: encoders::shapes,
    },
    Check {
        name: "lambada",
        says: "SmolLM2 knows last words of LAMBADA, with 8-bit activations not fewer by more than chance; and what GPTQ at 4 bits costs",
        needs: &[SMOLLM2, CALIBRATION, LAMBADA],
        quick: false,
        run: lambada::run,
    },
    Check {
        name: "gguf",
        says: "tensors of both GGUF models equal those of the public gguf Python package bit for bit",
        needs: &[SMOLLM2, GEMMA],
        quick: false,
        run: package::read,
    },
    Check {
        name: "written",
        says: "files written as F32, F16, Q8_0, Q4_0 and Q4_1 are read by that package with equal values",
        needs: &[STORIES],
        quick: false,
        run: package::written,
    },
    Check {
        name: "checkpoints",
        says: "matrices packed by auto-gptq, autoawq and compressed-tensors have the packages' weights here, and are written with their bytes",
        needs: &[],
        quick: false,
        run: checkpoints::run,
    },
    Check {
        name: "faiss",
        says: "files written by the public faiss Python package give the same neighbours here, and ours the same there",
        needs: &[],
        quick: false,
        run: faiss::run,
    },
    Check {
        name: "faithful-embedded",
        says: "GPTQ beats RTN in KL at 2, 3 and 4 bits on the embedded model, interval without 0",
        needs: &[],
        quick: false,
        run: faithful::embedded,
    },
    Check {
        name: "faithful-smollm2",
        says: "the same on SmolLM2 moved off its grid, WikiText-2",
        needs: &[SMOLLM2, CALIBRATION, TEST],
        quick: false,
        run: faithful::smollm2,
    },
    Check {
        name: "baselines-embedded",
        says: "GPTQ, AWQ and HQQ beat RTN, and an importance beats none, in KL on the embedded model, interval without 0",
        needs: &[],
        quick: false,
        run: baselines::embedded,
    },
    Check {
        name: "narrow-embedded",
        says: "SpQR and AQLM beat GPTQ in KL on the embedded model at no more bits a weight, interval without 0",
        needs: &[],
        quick: false,
        run: narrow::embedded,
    },
    Check {
        name: "narrow-smollm2",
        says: "the same on SmolLM2 moved off its grid, WikiText-2",
        needs: &[SMOLLM2, CALIBRATION, TEST],
        quick: false,
        run: narrow::smollm2,
    },
    Check {
        name: "anncur",
        says: "late interaction over MiniLM's tokens is searched on Cranfield with few calls: rounds and a ridge beat the pseudo-inverse",
        needs: &[MINILM, CRANFIELD[0], CRANFIELD[1], CRANFIELD[2]],
        quick: false,
        run: anncur::run,
    },
    Check {
        name: "cutoff",
        says: "a cut that sees the query separates relevant passages of BoolQ better than cuts by cosine, share, gap or rank, at the recall asked for",
        needs: &[MINILM, BOOLQ],
        quick: false,
        run: cutoff::run,
    },
    Check {
        name: "kv-smollm2",
        says: "SmolLM2 with its cache in 4-bit GEAR is within .5 % of f16, and 2-bit GEAR closes half of what 2-bit KIVI loses",
        needs: &[SMOLLM2, TEST],
        quick: false,
        run: kv::smollm2,
    },
    Check { name: "kv-gemma", says: "the same codecs on Gemma 3, windows and all", needs: &[GEMMA, TEST], quick: false, run: kv::gemma },
    Check {
        name: "kv-policies",
        says: "at 128 entries a head, EMS is nearer to the full cache of SmolLM2 than StreamingLLM, H2O and SnapKV",
        needs: &[SMOLLM2, TEST],
        quick: false,
        run: kv::policies,
    },
    Check {
        name: "kv-needles",
        says: "keys in a text that SmolLM2 recalls from a full cache, recalled from smaller ones",
        needs: &[SMOLLM2, TEST],
        quick: false,
        run: kv::needles,
    },
    Check {
        name: "sheets-tables",
        says: "tables of the Statistical Abstract are found: F1 of .75 with borders off by two at most, 95 % of borders within 4 of an anchor",
        needs: &[sheets::saus::SAUS],
        quick: true,
        run: sheets::saus::run,
    },
    Check {
        name: "sheets-tokens",
        says: "workbooks become a tenth of their tokens and less, no sheet grows, and inverted indexes give back every cell",
        needs: &[sheets::books::XLSX],
        quick: false,
        run: sheets::books::run,
    },
    Check {
        name: "sheets-calamine",
        says: "values, dates and merged ranges of workbooks are those that calamine reads, on 99.9 % of cells",
        needs: &[sheets::books::XLSX],
        quick: true,
        run: sheets::books::calamine,
    },
    Check {
        name: "sheets-hostile",
        says: "workbooks with flipped and missing bytes are read or give an error, within memory bounds",
        needs: &[sheets::books::XLSX],
        quick: false,
        run: sheets::hostile::run,
    },
    Check {
        name: "sheets-million",
        says: "a sheet of a million cells is read and compressed in under 1.5 s on one core",
        needs: &[],
        quick: true,
        run: sheets::million::run,
    },
    Check {
        name: "lingua",
        says: "LLMLingua-2's decisions are those of the public Python package on 2,200 passages and two vocabularies, given the same probabilities",
        needs: &[BOOLQ],
        quick: false,
        run: prompt::lingua,
    },
    Check {
        name: "dna",
        says: "the nearest gene by gzip's lengths has the right family for 98 % of the chimpanzee's and 97 % of the dog's sequences",
        needs: &["dna/chimp_data.txt", "dna/dog_data.txt"],
        quick: false,
        run: prompt::dna,
    },
    Check {
        name: "zipfit",
        says: "of a pool of plays, articles and word problems, 95 % of the best tenth for plays are plays",
        needs: &["tinyshakespeare/input.txt", CALIBRATION, "gsm8k/train.jsonl"],
        quick: false,
        run: prompt::zipfit,
    },
    Check {
        name: "gptq-cost",
        says: "GPTQ of SmolLM2 on 128 x 512 tokens takes under 10 minutes and 3 times its f32 size",
        needs: &[SMOLLM2, CALIBRATION],
        quick: false,
        run: cost::run,
    },
    Check {
        name: "ten-million",
        says: "an index of 10 million x 128 vectors that stream from a file (5 GB, temporary) is built in under 10 minutes and 3 GiB of memory",
        needs: &[],
        quick: false,
        run: ten_million::run,
    },
];

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    if names.is_empty() {
        println!("verify CHECK...: checks statements on real data; `quick` for the short ones, `all` for every one\n");
        for check in CHECKS {
            let needs = if check.needs.is_empty() { String::new() } else { format!(" [{}]", check.needs.join(", ")) };
            println!("  {:18} {}{}{needs}", check.name, check.says, if check.quick { " (quick)" } else { "" });
        }
        println!(
            "\nFiles in brackets are looked for below the folder SCANT_DATA. `gguf`, `written`, `faiss` and `lingua` run SCANT_PYTHON (default python3)."
        );
        return ExitCode::SUCCESS;
    }
    match chosen(&names) {
        Ok(checks) => run(&checks),
        Err(e) => {
            eprintln!("{e}");
            ExitCode::from(2)
        }
    }
}

/// The checks of the given names.
fn chosen(names: &[String]) -> std::result::Result<Vec<&'static Check>, String> {
    let mut checks = vec![];
    for name in names {
        match name.as_str() {
            "all" => checks.extend(CHECKS),
            "quick" => {
                let root = std::env::var_os("SCANT_DATA").ok_or("SCANT_DATA is not set: `quick` wants the folder with real data")?;
                let exists = |file: &&str| std::path::Path::new(&root).join(file).exists();
                let (run, left): (Vec<_>, Vec<_>) = CHECKS.iter().filter(|c| c.quick).partition(|c| c.needs.iter().all(&exists));
                for check in left {
                    let missing: Vec<_> = check.needs.iter().copied().filter(|f| !exists(f)).collect();
                    println!("{}: left out, {} is not in SCANT_DATA", check.name, missing.join(" and "));
                }
                if run.iter().all(|c| c.needs.is_empty()) {
                    return Err(format!("{} holds no file that a quick check wants", root.display()));
                }
                checks.extend(run);
            }
            _ => {
                // `faithful` stands for both of its models.
                let named = |c: &&Check| c.name.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
                let found: Vec<_> = CHECKS.iter().filter(named).collect();
                if found.is_empty() {
                    let known: Vec<_> = CHECKS.iter().map(|c| c.name).collect();
                    return Err(format!("there is no check `{name}`; there are quick, all, {}", known.join(", ")));
                }
                checks.extend(found);
            }
        }
    }
    Ok(checks)
}

fn run(checks: &[&Check]) -> ExitCode {
    let mut failed = vec![];
    for check in checks {
        println!("== {}: {}", check.name, check.says);
        let start = Instant::now();
        let result = check.needs.iter().try_for_each(|file| scant_examples::data::real(file).map(drop));
        let result = result.map_err(Into::into).and_then(|()| (check.run)());
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => println!("   holds ({seconds:.1} s)"),
            Err(e) => {
                println!("   FAILED ({seconds:.1} s): {e}");
                failed.push(check.name);
            }
        }
    }
    if failed.is_empty() {
        println!("{} statements hold", checks.len());
        return ExitCode::SUCCESS;
    }
    println!("{} of {} failed: {}", failed.len(), checks.len(), failed.join(", "));
    ExitCode::FAILURE
}
