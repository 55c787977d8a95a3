//! Prompts and compressed lengths: decisions beside the public LLMLingua package, DNA by compression, ZIP-FIT.

use crate::Result;
use scant_examples::data::real;
use scant_prompt_compress::TokenCounter;
use scant_prompt_compress::lingua::{ContextFilter, Hashed, Lingua, LinguaParams, Vocabulary, WordScore};
use scant_prompt_compress::measure::{Aligner, Container, Nearest};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const PROGRAM: &str = include_str!("lingua.py");
const PASSAGES: usize = 2200;

/// The stand-in for the reader's tokenizer, on both sides.
struct Words;

impl TokenCounter for Words {
    fn name(&self) -> &str {
        "words"
    }

    fn count(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }
}

pub(crate) fn lingua() -> Result<()> {
    let passages = passages()?;
    let folder = std::env::temp_dir().join(format!("scant-verify-lingua-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("passages.json"), serde_json::to_vec(&passages)?)?;
    let python = std::env::var("SCANT_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let run = Command::new(&python).arg("-c").arg(PROGRAM).arg(&folder).output().map_err(|e| format!("SCANT_PYTHON: {python}: {e}"))?;
    if !run.status.success() {
        let said = String::from_utf8_lossy(&run.stderr);
        let last = said.lines().last().unwrap_or_default();
        return Err(format!("{python} with the packages llmlingua, torch and transformers ({}): {last}", run.status).into());
    }
    let result = compare(&folder, &passages);
    std::fs::remove_dir_all(&folder)?;
    result
}

/// Passages of BoolQ, each once, in order; every tenth with its neighbours, so that some have several windows.
fn passages() -> Result<Vec<String>> {
    let mut passages: Vec<String> = vec![];
    for line in std::fs::read_to_string(real("boolq/dev.jsonl")?)?.lines() {
        let passage = serde_json::from_str::<Value>(line)?["passage"].as_str().ok_or("a line without a passage")?.to_owned();
        if passages.last() != Some(&passage) {
            passages.push(passage);
        }
    }
    passages.truncate(PASSAGES);
    for i in (0..passages.len().saturating_sub(8)).step_by(10) {
        passages[i] = passages[i..i + 8].join("\n");
    }
    Ok(passages)
}

fn compare(folder: &Path, passages: &[String]) -> Result<()> {
    let table = std::fs::read(folder.join("table.f32"))?;
    let table = Hashed::new(table.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())?;
    let open = |family: &str| -> Result<Vocabulary> { Ok(Vocabulary::from_json(&std::fs::read(folder.join(format!("{family}.json")))?)?) };
    let vocabularies = [("wordpiece", open("wordpiece")?), ("unigram", open("unigram")?)];
    let (mut runs, mut different, mut failures) = ([0; 2], 0, 0);
    let mut spent = [Duration::ZERO; 2];
    for line in BufReader::new(std::fs::File::open(folder.join("cases.jsonl"))?).lines() {
        let case: Value = serde_json::from_str(&line?)?;
        let f = vocabularies.iter().position(|(name, _)| case["family"] == *name).ok_or("an unknown family")?;
        let (family, vocabulary) = &vocabularies[f];
        if let Some(seconds) = case["seconds"].as_f64() {
            let ours = spent[f].as_secs_f64();
            println!(
                "{family}: {} runs; outside of the model {seconds:.2} s there, {ours:.3} s here, {:.1} times faster",
                runs[f],
                seconds / ours
            );
            continue;
        }
        let c = &case["config"];
        let which = case["contexts"].as_array().ok_or("no contexts")?;
        let contexts: Vec<&str> = which.iter().filter_map(|i| Some(&*passages[i.as_u64()? as usize])).collect();
        let forced = c["force_tokens"].as_array().ok_or("no force tokens")?;
        let params = LinguaParams {
            force_tokens: forced.iter().filter_map(|t| Some(t.as_str()?.to_owned())).collect(),
            reserve_digits: c["force_reserve_digit"] == true,
            drop_consecutive: c["drop_consecutive"] == true,
            target_tokens: c["target_token"].as_u64(),
            word_score: if c["token_to_word"] == "first" { WordScore::First } else { WordScore::Mean },
            ..LinguaParams::new(c["rate"].as_f64().ok_or("no rate")?)
        };
        let filter = (c["use_context_level_filter"] == true).then(ContextFilter::default);
        let lingua = Lingua::new(vocabulary, &table, &Words, params)?;
        let start = Instant::now();
        let record = lingua.compress_contexts(&contexts, filter.as_ref(), true);
        spent[f] += start.elapsed();
        runs[f] += 1;
        let want = &case["result"];
        let same = match &record {
            Err(_) => {
                failures += 1;
                want.get("error").is_some()
            }
            Ok(r) => {
                want["compressed_prompt"] == *r.text
                    && want["compressed_prompt_list"] == Value::from(r.contexts.clone())
                    && want["origin_tokens"] == r.tokens_in
                    && want["compressed_tokens"] == r.tokens_out
                    && want["ratio"] == *r.ratio_text()
                    && want["rate"] == *r.rate_text()
                    && want["fn_labeled_original_prompt"] == *r.labeled()
            }
        };
        if !same {
            different += 1;
            if different <= 3 {
                println!("{family} {c} {which:?}\n  there {want}\n  here  {record:?}");
            }
        }
    }
    println!("{} runs, {different} with other results, {failures} that fail on both sides", runs[0] + runs[1]);
    if different > 0 || runs[0].min(runs[1]) < 2000 {
        return Err("not at least 2,000 equal results for each family".into());
    }
    Ok(())
}

/// The paper's protocol on one species: a fifth of the sequences, drawn with a seed, by their nearest of the others.
/// The paper pools the species, a fifth for questions. The human's genes, which were the most of its references, are not public with these files.
pub(crate) fn dna() -> Result<()> {
    const SPECIES: [(&str, f64); 2] = [("chimp", 0.98), ("dog", 0.97)];
    let text = |(species, _)| Ok(std::fs::read_to_string(real(&format!("dna/{species}_data.txt"))?)?);
    let texts = SPECIES.into_iter().map(text).collect::<Result<Vec<String>>>()?;
    let mut rows: Vec<(&[u8], &str, usize)> = vec![];
    for (species, text) in texts.iter().enumerate() {
        rows.extend(text.lines().skip(1).filter_map(|l| l.split_once('\t')).map(|(s, class)| (s.as_bytes(), class.trim(), species)));
    }
    let mut state = 42u64;
    for i in (1..rows.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        rows.swap(i, ((state >> 33) % (i as u64 + 1)) as usize);
    }
    let (queries, references) = rows.split_at(rows.len().div_ceil(5));
    let reference_texts: Vec<&[u8]> = references.iter().map(|r| r.0).collect();
    let query_texts: Vec<&[u8]> = queries.iter().map(|r| r.0).collect();
    let nearest = Nearest::new(9, Container::Gzip, b" ", &reference_texts)?;
    let (mut all, mut low) = (vec![], vec![]);
    for slack in [None, Some(0.01)] {
        let start = Instant::now();
        let found = nearest.find_all(&query_texts, slack)?;
        let seconds = start.elapsed().as_secs_f64();
        let compared: usize = found.iter().map(|n| n.compared).sum();
        let name = slack.map_or("every pair".to_owned(), |s| format!("pruned, slack {s}"));
        println!("   gzip 9, {name}: {compared} pairs in {seconds:.2} s, {:.1} us a pair", 1e6 * seconds / compared as f64);
        for (species, (name, least)) in SPECIES.iter().enumerate() {
            let of = || found.iter().zip(queries).filter(|(_, q)| q.2 == species);
            let right = of().filter(|(n, q)| references[n.index].1 == q.1).count();
            let accuracy = right as f64 / of().count() as f64;
            println!("   {name}: {right} of {} right, accuracy {accuracy:.4}", of().count());
            if accuracy < *least && slack.is_none() {
                low.push(format!("{name}: accuracy {accuracy:.4}, stated is {least}"));
            }
        }
        all.push(found);
    }
    let agree = all[0].iter().zip(&all[1]).filter(|(a, b)| references[a.index].1 == references[b.index].1).count();
    println!("   pruned and unpruned labels agree on {agree} of {}", queries.len());
    if (agree as f64) < 0.999 * queries.len() as f64 {
        low.push("pruning changed labels".to_owned());
    }
    if low.is_empty() { Ok(()) } else { Err(low.join("; ").into()) }
}

/// A pool of three kinds of text, of which the target is one: pieces of plays, of encyclopedia articles, of word problems.
pub(crate) fn zipfit() -> Result<()> {
    let pieces = |path: &str, n: usize| -> Result<Vec<Vec<u8>>> {
        let text = std::fs::read(real(path)?)?;
        let step = text.len() / n;
        Ok((0..n).map(|i| text[i * step..(i * step + 1000).min((i + 1) * step)].to_vec()).collect())
    };
    let plays = pieces("tinyshakespeare/input.txt", 1050)?;
    let articles = pieces("wikitext-2/valid.txt", 1000)?;
    let problems = pieces("gsm8k/train.jsonl", 1000)?;
    let (targets, plays) = plays.split_at(50);
    let targets: Vec<&[u8]> = targets.iter().map(Vec::as_slice).collect();
    let pool: Vec<&[u8]> = [plays, &articles, &problems].into_iter().flatten().map(Vec::as_slice).collect();
    let start = Instant::now();
    let ranked = Aligner::new(6, Container::Gzip, &targets)?.rank(&pool, pool.len())?;
    let seconds = start.elapsed().as_secs_f64();
    let share = |k: usize| ranked[..k].iter().filter(|(i, _)| *i < plays.len()).count() as f64 / k as f64;
    let pairs = pool.len() * targets.len();
    println!(
        "{pairs} pairs in {seconds:.2} s; from the target's kind: {:.3} of the best tenth, {:.3} of the best third",
        share(pool.len() / 10),
        share(pool.len() / 3)
    );
    if share(pool.len() / 10) < 0.95 {
        return Err("fewer than 95 % of the best tenth are from the target's kind".into());
    }
    Ok(())
}
