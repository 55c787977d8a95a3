//! Where to cut a list: a cosine adapter against rules that do not see the query, on questions and passages.

use crate::{BOOLQ, MINILM, Result};
use ndarray::{Array2, ArrayView2, Axis};
use scant_eval::retrieval::search_dense;
use scant_examples::data::real;
use scant_pq_index::cutoff::{AdapterParams, Cutoff, Judged, Map, Target, pr_auc};
use scant_tensor_core::rng::Rng;
use scant_tensor_core::{Ctx, Mode, isa::Isa, team::Team};
use scant_transformer::Path;
use scant_transformer::encoder::{Encoder, Workspace};

/// Passages of a part, each with one question; every part is a collection of its own.
const PART: usize = 375;
/// Results of a search.
const TOP: usize = 100;
const RECALL: f64 = 0.95;
const ROUNDS: usize = 500;

pub(crate) fn run() -> Result<()> {
    let (questions, passages) = boolq(4 * PART)?;
    let encoder = Encoder::open(real(MINILM)?)?;
    let team = Team::new(std::thread::available_parallelism()?.get());
    let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &team };
    let mut ws = Workspace::default();
    let mut embed = |texts: &[String]| encoder.embed(&ctx, Path::Dense, &encoder.batch(texts, 128)?, &mut ws);
    let (questions, passages) = (embed(&questions)?, embed(&passages)?);
    let part = |x: &Array2<f32>, i: usize| x.slice_axis(Axis(0), (i * PART..(i + 1) * PART).into()).to_owned();
    let lists: Vec<Vec<Judged>> = (0..4).map(|i| judged(part(&questions, i).view(), part(&passages, i).view())).collect::<Result<_>>()?;
    let (train, dev, test) = (lists[..2].concat(), &lists[2], &lists[3]);

    let mut adapters = vec![];
    for features in [false, true] {
        for map in Map::ALL {
            let params = AdapterParams::new(map, "minilm");
            let params = if features { params.features() } else { params };
            let adapter = Cutoff::Adapter(Box::new(params.fit(&train, dev)?)).tuned(dev, Target::Recall(RECALL))?;
            let name = format!("adapter, {map:?} of {}", if features { "features" } else { "the query" });
            adapters.push((adapter.report(dev)?.pr_auc, name, adapter));
        }
    }
    println!("   {:36} PR-AUC  recall precision filtered  empty", "");
    let print = |name: &str, cutoff: &Cutoff| -> Result<f64> {
        let r = cutoff.report(test)?;
        let calibration = r.calibration.map_or(String::new(), |c| format!(", calibration error {c:.4}"));
        println!(
            "   {name:36} {:.4}   {:.3}    {:.3}     {:.3}   {:.3}{calibration}",
            r.pr_auc, r.recall, r.precision, r.filtered, r.empty
        );
        Ok(r.recall)
    };
    for (_, name, adapter) in &adapters {
        print(name, adapter)?;
    }
    let (_, name, best) = adapters.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).ok_or("no adapter")?;
    let global = Cutoff::Global(0.0).tuned(dev, Target::Recall(RECALL))?;
    let relative = Cutoff::Relative(0.0).tuned(dev, Target::Recall(RECALL))?;
    let mut recalls = vec![("the adapter", print(&name, &best)?)];
    recalls.push(("the cosine", print("cosine", &global)?));
    recalls.push(("the share of the best cosine", print("share of the best", &relative)?));
    print("largest gap", &Cutoff::Gap)?;

    println!("   {name} ranked the dev lists best; it against the others, with 95 % intervals over questions:");
    let rank = |list: &Judged| -> Result<Vec<(f64, f32)>> {
        Ok(global.ranking(list)?.into_iter().enumerate().map(|(place, (_, label))| (-(place as f64), label)).collect())
    };
    let ours = rankings(test, |list| Ok(best.ranking(list)?))?;
    let others = [
        ("the cosine", rankings(test, |list| Ok(global.ranking(list)?))?),
        ("the share of the best cosine", rankings(test, |list| Ok(relative.ranking(list)?))?),
        ("the largest gap", rankings(test, |list| Ok(Cutoff::Gap.ranking(list)?))?),
        ("the rank", rankings(test, rank)?),
    ];
    let mut worse = vec![];
    for (name, theirs) in &others {
        let (mean, [low, high]) = difference(&ours, theirs);
        println!("   PR-AUC {mean:+.4} [{low:+.4}, {high:+.4}] over {name}");
        if mean < 0.0 {
            worse.push(*name);
        }
    }
    if !worse.is_empty() {
        return Err(format!("the adapter is worse than {}", worse.join(" and ")).into());
    }
    match recalls.iter().find(|(_, recall)| (recall - RECALL).abs() > 0.03) {
        None => Ok(()),
        Some((name, recall)) => Err(format!("{name}: recall {recall:.3} where {RECALL} within .03 was asked for").into()),
    }
}

/// Different passages with a question each, in a seeded order.
fn boolq(count: usize) -> Result<(Vec<String>, Vec<String>)> {
    #[derive(serde::Deserialize)]
    struct Line {
        question: String,
        passage: String,
    }
    let text = std::fs::read_to_string(real(BOOLQ)?)?;
    let mut lines: Vec<Line> = text.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
    lines.sort_by(|a, b| a.passage.cmp(&b.passage));
    lines.dedup_by(|a, b| a.passage == b.passage);
    Rng::new(1).shuffle(&mut lines);
    if lines.len() < count {
        return Err(format!("{} passages, and {count} are needed", lines.len()).into());
    }
    Ok(lines.into_iter().take(count).map(|line| (line.question, line.passage)).unzip())
}

/// What a search finds for each question, and its own passage.
fn judged(questions: ArrayView2<'_, f32>, passages: ArrayView2<'_, f32>) -> Result<Vec<Judged>> {
    let found = search_dense(passages, questions, TOP);
    let list = |(i, mut found): (usize, Vec<usize>)| {
        if !found.contains(&i) {
            found.push(i);
        }
        let q = questions.row(i);
        let candidates = found.into_iter().map(|p| (q.dot(&passages.row(p)), f32::from(u8::from(p == i))));
        Ok(Judged::new(&q.to_vec(), candidates.collect())?)
    };
    found.into_iter().enumerate().map(list).collect()
}

type Ranking = Vec<(f64, f32)>;

fn rankings(lists: &[Judged], rank: impl Fn(&Judged) -> Result<Ranking>) -> Result<Vec<Ranking>> {
    lists.iter().map(rank).collect()
}

/// How much more area the first rankings have, pooled, with the interval of drawing the queries again.
fn difference(ours: &[Ranking], theirs: &[Ranking]) -> (f64, [f64; 2]) {
    let area =
        |rankings: &[Ranking], queries: &[usize]| pr_auc(&queries.iter().flat_map(|q| rankings[*q].iter().copied()).collect::<Vec<_>>());
    let of = |queries: &[usize]| area(ours, queries) - area(theirs, queries);
    let mut rng = Rng::new(2);
    let mut drawn: Vec<f64> = (0..ROUNDS).map(|_| of(&ours.iter().map(|_| rng.below(ours.len())).collect::<Vec<_>>())).collect();
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| drawn[(share * (ROUNDS - 1) as f64).round() as usize];
    (of(&(0..ours.len()).collect::<Vec<_>>()), [at(0.025), at(0.975)])
}
