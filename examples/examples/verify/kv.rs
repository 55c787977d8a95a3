//! What compressed caches cost in quality, and what they weigh.

use crate::{GEMMA, Result, SMOLLM2, TEST};
use ndarray::ArrayView2;
use scant_eval::{Comparison, LanguageModel, compare, needle};
use scant_examples::bar::Bar;
use scant_examples::data::real;
use scant_examples::sequences::of_text;
use scant_examples::table::Table;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::team::Team;
use scant_tensor_core::{Ctx, Mode};
use scant_transformer::{Model, Options, Scorer, Session, open};

/// Tokens that go through the model together: what is attended to from farther away is read from the packed cache.
const CHUNK: usize = 64;

fn options(kv: &str, chunk: usize) -> Result<Options> {
    Ok(Options { kv: kv.parse()?, chunk, ..Options::default() })
}

/// Bytes of a cache after a text.
fn bytes(model: &Model, ctx: Ctx<'_>, kv: &str, text: &[u32]) -> Result<f64> {
    let mut session = Session::new(model, ctx, options(kv, CHUNK)?)?;
    session.prefill(text)?;
    Ok(session.cache_bytes().total() as f64)
}

/// Each codec beside the f16 cache on windows of WikiText-2, in the order of the codecs.
fn codecs(file: &str, codecs: &[&str], windows: usize, window: usize) -> Result<Vec<Comparison>> {
    let model = open(real(file)?)?;
    let team = Team::new(std::thread::available_parallelism()?.get());
    let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &team };
    let texts = of_text(model.tokenizer()?, &std::fs::read_to_string(real(TEST)?)?, windows, window)?;
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let mut reference = Scorer::new(&model, ctx, options("f16", CHUNK)?)?;
    let mut scorers = codecs.iter().map(|kv| Ok(Scorer::new(&model, ctx, options(kv, CHUNK)?)?)).collect::<Result<Vec<_>>>()?;
    let mut scorers: Vec<&mut dyn LanguageModel> = scorers.iter_mut().map(|s| s as &mut dyn LanguageModel).collect();
    let found = compare(&mut reference, &mut scorers, &texts, &Bar::new(file))?;
    // What a whole window weighs in f16, without spare memory.
    let c = model.config();
    let held = |l: usize| c.layers[l].window.map_or(window, |w| w.min(window)) * c.kv_heads * c.head_dim * 4;
    let whole = (0..c.layers.len()).map(held).sum::<usize>() as f64;
    let mut table = Table::new(["cache", "% of f16", "KL", "top-1 %", "perplexity", "+ %"]);
    for (kv, found) in codecs.iter().zip(&found) {
        table.row([
            (*kv).to_owned(),
            format!("{:.1}", 100.0 * bytes(&model, ctx, kv, texts[0])? / whole),
            format!("{:.5}", found.kl()),
            format!("{:.2}", 100.0 * found.agreement().mean),
            format!("{:.3}", found.perplexity()),
            format!("{:+.2}", 100.0 * (found.perplexity() / found.reference_perplexity() - 1.0)),
        ]);
    }
    print!("   {file}: {} windows of {window} tokens, f16 perplexity {:.3}\n{table}", texts.len(), found[0].reference_perplexity());
    Ok(found)
}

const CODECS: [&str; 15] = [
    "q8_0",
    "q4_0",
    "rot-q4_0",
    "kivi4",
    "kcvt4",
    "gear4-l",
    "gear4",
    "turbo4",
    "turbo3",
    "turbo2",
    "kivi2",
    "kivi2-g32",
    "gear2-l",
    "gear2",
    "gear2-g32-r4-r4-s0.02",
];

pub(crate) fn smollm2() -> Result<()> {
    let found = codecs(SMOLLM2, &CODECS, 3, 1024)?;
    let perplexity = |kv: &str| CODECS.iter().position(|c| *c == kv).map_or(f64::NAN, |i| found[i].perplexity());
    let f16 = found[0].reference_perplexity();
    let claims = [
        ("gear4 is more than .5 % above f16", perplexity("gear4") <= 1.005 * f16),
        ("gear2 closes less than half of what kivi2 loses", perplexity("gear2") - f16 <= 0.5 * (perplexity("kivi2") - f16)),
        ("q8_0 is more than .1 % above f16", perplexity("q8_0") <= 1.001 * f16),
    ];
    let wrong: Vec<&str> = claims.iter().filter(|(_, holds)| !holds).map(|(what, _)| *what).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ").into()) }
}

pub(crate) fn gemma() -> Result<()> {
    codecs(GEMMA, &["q8_0", "q4_0", "rot-q4_0", "kivi4", "gear4", "turbo4", "kivi2", "gear2"], 2, 1024).map(drop)
}

/// Logits of a continuation behind a prompt that the cache has thinned out.
fn behind(model: &Model, ctx: Ctx<'_>, kv: &str, prompt: &[u32], text: &[u32]) -> Result<(Vec<Vec<f32>>, f64)> {
    let mut session = Session::new(model, ctx, options(kv, 512)?)?;
    session.prefill(prompt)?;
    let bytes = session.cache_bytes().total() as f64;
    let mut rows = vec![];
    session.score(text, 64, &mut |_, logits: ArrayView2<'_, f32>| rows.extend(logits.rows().into_iter().map(|r| r.to_vec())))?;
    Ok((rows, bytes))
}

fn kl(truth: &[f32], model: &[f32]) -> f64 {
    let log_z = |x: &[f32]| {
        let max = x.iter().copied().fold(f32::MIN, f32::max);
        f64::from(max) + x.iter().map(|x| f64::from(x - max).exp()).sum::<f64>().ln()
    };
    let (a, b) = (log_z(truth), log_z(model));
    truth.iter().zip(model).map(|(p, q)| (f64::from(*p) - a).exp() * (f64::from(*p) - a - f64::from(*q) + b)).sum()
}

const POLICIES: [&str; 14] = [
    "random",
    "streaming",
    "h2o",
    "snapkv",
    "pyramid",
    "adakv",
    "cam",
    "d2o",
    "ems-evict",
    "ems-aligned",
    "ems-stored",
    "ems-kept",
    "ems-aligned-mass",
    "ems",
];

pub(crate) fn policies() -> Result<()> {
    const PROMPT: usize = 1792;
    const BEHIND: usize = 128;
    const BUDGET: usize = 128;
    let model = open(real(SMOLLM2)?)?;
    let team = Team::new(std::thread::available_parallelism()?.get());
    let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &team };
    let texts = of_text(model.tokenizer()?, &std::fs::read_to_string(real(TEST)?)?, 3, PROMPT + BEHIND)?;
    let mut sums = vec![(0.0, 0.0); POLICIES.len()];
    let mut whole = 0.0;
    for text in &texts {
        let (truth, bytes) = behind(&model, ctx, "f16", &text[..PROMPT], &text[PROMPT..])?;
        whole += bytes;
        for (policy, sum) in POLICIES.iter().zip(&mut sums) {
            let (rows, bytes) = behind(&model, ctx, &format!("{policy}:{BUDGET}"), &text[..PROMPT], &text[PROMPT..])?;
            sum.0 += truth.iter().zip(&rows).map(|(a, b)| kl(a, b)).sum::<f64>() / truth.len() as f64 / texts.len() as f64;
            sum.1 += bytes;
        }
    }
    let mut table = Table::new(["policy", "% of f16", "KL"]);
    for (policy, (kl, bytes)) in POLICIES.iter().zip(&sums) {
        table.row([format!("{policy}:{BUDGET}"), format!("{:.1}", 100.0 * bytes / whole), format!("{kl:.4}")]);
    }
    print!("   {SMOLLM2}: {BEHIND} tokens behind {PROMPT}, {} texts\n{table}", texts.len());
    let of = |name: &str| POLICIES.iter().position(|p| *p == name).map_or(f64::NAN, |i| sums[i].0);
    let others = ["streaming", "h2o", "snapkv"];
    let beaten = others.into_iter().all(|other| of("ems") < of(other));
    if beaten { Ok(()) } else { Err(format!("EMS does not beat each of {}", others.join(", ")).into()) }
}

pub(crate) fn needles() -> Result<()> {
    const ITEMS: u64 = 8;
    const CACHES: [&str; 9] = ["f16", "q8_0", "rot-q4_0", "gear2", "kivi2", "streaming:256", "snapkv:256", "h2o:256", "ems:256"];
    let model = open(real(SMOLLM2)?)?;
    let tokenizer = model.tokenizer()?;
    let team = Team::new(std::thread::available_parallelism()?.get());
    let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &team };
    let filler = std::fs::read_to_string(real(TEST)?)?;
    let mut right = [0; CACHES.len()];
    for seed in 0..ITEMS {
        let start = (seed as usize * 9000..).find(|i| filler.is_char_boundary(*i)).unwrap_or(0);
        let end = (start + 4500..).find(|i| filler.is_char_boundary(*i)).unwrap_or(filler.len());
        let item = needle(&filler[start..end], 1, seed);
        let prompt = tokenizer.encode_prompt(&item.context)?;
        let question = tokenizer.encode(&item.question)?;
        let answer = tokenizer.encode(&format!(" {}", item.answer))?;
        let text = [&question[..], &answer[..]].concat();
        let mut known = false;
        for (cache, right) in CACHES.iter().zip(&mut right) {
            let (rows, _) = behind(&model, ctx, cache, &prompt, &text)?;
            let best = |row: &Vec<f32>| row.iter().enumerate().fold((0, f32::MIN), |m, (i, x)| if *x > m.1 { (i, *x) } else { m }).0;
            let all = rows[question.len() - 1..].iter().zip(&answer).all(|(row, token)| best(row) == *token as usize);
            known |= all && *cache == "f16";
            *right += u32::from(all && known);
        }
    }
    let mut table = Table::new(["cache", "right", "of those that f16 answers"]);
    CACHES.iter().zip(right).for_each(|(cache, n)| table.row([(*cache).to_owned(), n.to_string(), right[0].to_string()]));
    print!("   {SMOLLM2}: {ITEMS} keys of 12 characters in some 1,200 tokens of WikiText-2\n{table}");
    if right[0] > 0 { Ok(()) } else { Err("the full cache answers none".into()) }
}
