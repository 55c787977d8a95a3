//! Methods over a whole tiny model.

use super::*;
use scant_quant::gguf::BlockType;
use scant_quant::{Gptq, Rtn};
use scant_tensor_core::compress::{BiasFix, Compress, FitError, LayerReport, SiteFit, Weights};
use scant_tensor_core::progress::Progress;
use scant_tensor_core::stats::{SiteStats, StatSet, Statistic};
use scant_transformer::{CompressPlan, Error, Propagation, Scratch, SiteId, SiteKind, calibrate, compress};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Sequences of different lengths, one of them empty; 332 tokens.
fn sequences() -> Vec<Vec<u32>> {
    let sequence = |(i, len): (u32, u32)| (0..len).map(|t| (t * t * (i + 3) + 11 * t + 5 * i) % 50).collect();
    (0..).zip([40, 64, 1, 0, 37, 64, 64, 62]).map(sequence).collect()
}

fn gptq() -> Vec<Box<dyn Compress>> {
    vec![Box::new(Gptq::new(3, 16))]
}

fn rtn() -> Vec<Box<dyn Compress>> {
    vec![Box::new(Rtn::new(3, 16))]
}

fn plan(methods: Vec<Box<dyn Compress>>, propagation: Propagation) -> CompressPlan {
    CompressPlan { propagation, ..CompressPlan::new(methods) }
}

/// Every weight of every matrix, to the bit.
fn weights(model: &Model) -> Vec<u32> {
    let mut all = vec![];
    for id in model.sites() {
        let site = model.site(id);
        for (i, linear) in site.linears().iter().enumerate() {
            for row in 0..linear.shape()[0] {
                let mut w = ndarray::Array1::zeros(site.inputs());
                site.row(i, row, w.view_mut()).unwrap();
                all.extend(w.iter().map(|x| x.to_bits()));
            }
            all.extend(linear.bias().into_iter().flatten().map(|b| b.to_bits()));
        }
    }
    all
}

fn loss(reports: &[LayerReport]) -> f64 {
    reports.iter().map(|r| r.loss.unwrap()).sum()
}

fn in_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let model = from_gguf(&Tiny::gemma().gguf(BlockType::F32));
    for propagation in [Propagation::Sequential, Propagation::FromFloat] {
        let run = |threads| {
            in_threads(threads, || {
                let (model, mut reports) = compress(&model, &sequences(), &plan(gptq(), propagation), &Team::new(threads), &()).unwrap();
                reports.iter_mut().for_each(|r| r.seconds = 0.0);
                (weights(&model), reports)
            })
        };
        let (one, reports) = run(1);
        assert_ne!(one, weights(&model));
        for threads in [2, 3] {
            assert!(run(threads) == (one.clone(), reports.clone()), "{propagation}: {threads} threads");
        }
    }
}

/// As RTN, with the statistics for a report of the loss.
struct Measured(Rtn);

impl Compress for Measured {
    fn name(&self) -> String {
        self.0.name()
    }

    fn needs(&self) -> StatSet {
        Statistic::Gram.into()
    }

    fn fit(&self, site: &mut SiteFit, progress: &dyn Progress) -> Result<(), FitError> {
        self.0.fit(site, progress)
    }
}

#[test]
fn gptq_loses_less_than_rounding() {
    let team = Team::new(1);
    for (name, tiny) in models() {
        let model = from_gguf(&tiny.gguf(BlockType::F32));
        let of = |methods| compress(&model, &sequences(), &plan(methods, Propagation::FromFloat), &team, &()).unwrap().1;
        let (rtn, gptq) = (of(vec![Box::new(Measured(Rtn::new(3, 16)))]), of(gptq()));
        assert_eq!(rtn.len(), 7 * tiny.count("num_hidden_layers"), "{name}");
        let ratio = loss(&gptq) / loss(&rtn);
        assert!(ratio < 0.9, "{name}: {ratio}");
    }
}

/// Fits each site of `model` on its own, to statistics gathered with `seen`.
fn site_by_site(model: &Model, seen: &Model, team: &Team) -> Model {
    let stats = calibrate(seen, &sequences(), Statistic::Gram.into(), team, &()).unwrap();
    let mut out = model.clone();
    for id in model.sites().filter(|id| *id != SiteId::Head) {
        let site = model.site(id);
        let matrix = |(i, name): (usize, String)| {
            let linear = &site.linears()[i];
            let mut w = Array2::zeros((linear.shape()[0], site.inputs()));
            w.rows_mut().into_iter().enumerate().for_each(|(row, out)| site.row(i, row, out).unwrap());
            Weights { name, weights: w, bias: linear.bias().map(<[f32]>::to_vec) }
        };
        let matrices = model.matrix_names(id).into_iter().enumerate().map(matrix).collect();
        let name = id.to_string();
        let (site, _) = scant_tensor_core::compress::compress(&name, matrices, &stats.sites[&name], &gptq(), &()).unwrap();
        out.set_site(id, site).unwrap();
    }
    out
}

#[test]
fn statistics_are_those_of_the_model_as_it_was_or_as_it_became() {
    let team = Team::new(1);
    for (name, tiny) in models() {
        let model = from_gguf(&tiny.gguf(BlockType::F32));
        let of = |propagation| compress(&model, &sequences(), &plan(gptq(), propagation), &team, &()).unwrap().0;
        let (float, sequential) = (of(Propagation::FromFloat), of(Propagation::Sequential));
        assert!(weights(&float) == weights(&site_by_site(&model, &model, &team)), "{name}");
        // Everything before a site is compressed when it is fitted, so its inputs are those that it has in the end.
        assert!(weights(&sequential) == weights(&site_by_site(&model, &sequential, &team)), "{name}");
        assert!(weights(&float) != weights(&sequential), "{name}");
    }
}

#[test]
fn calibration_sees_what_each_sequence_shows_alone() {
    let team = Team::new(1);
    for (name, tiny) in models() {
        let model = from_gguf(&tiny.gguf(BlockType::F32));
        let got = calibrate(&model, &sequences(), Statistic::Gram.into(), &team, &()).unwrap();
        assert_eq!(got.sites.len(), model.sites().count());
        assert_eq!(got.about["tokens"], "332");
        let mut want: BTreeMap<String, SiteStats> =
            model.sites().map(|id| (id.to_string(), SiteStats::new(model.site(id).inputs(), Statistic::Gram.into()).unwrap())).collect();
        for sequence in sequences().iter().filter(|s| !s.is_empty()) {
            let mut x = model.embed(sequence).unwrap();
            for layer in 0..tiny.count("num_hidden_layers") {
                let mut tap = |id: SiteId, x: ndarray::ArrayView2<'_, f32>| want.get_mut(&id.to_string()).unwrap().observe(x).unwrap();
                let scratch = &mut Scratch::default();
                model.block(&exact(&team), Path::Panel, layer, x.view_mut(), &[sequence.len()], scratch, &mut tap).unwrap();
            }
        }
        for (site, want) in want.iter().filter(|(site, _)| *site != "head") {
            let got = &got.sites[site];
            assert_eq!((got.tokens(), got.sequences()), (332.0, 7.0));
            let (got, want) = ((got.gram().unwrap(), got.seq_norm().unwrap()), (want.gram().unwrap(), want.seq_norm().unwrap()));
            let scale = want.0.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            assert!(largest_difference(&got.0, &want.0) < 1e-4 * scale, "{name} {site}");
            assert!(got.1.iter().zip(&want.1).all(|(a, b)| (a - b).abs() < 1e-4 * b), "{name} {site}");
        }
        assert_eq!(got.sites["head"].tokens(), 332.0);
    }
}

#[test]
fn rounding_takes_no_text_and_the_head_only_if_told() {
    let team = Team::new(1);
    let model = from_gguf(&Tiny::llama_with_biases().gguf(BlockType::F32));
    let (rounded, reports) = compress(&model, &[], &CompressPlan::new(rtn()), &team, &()).unwrap();
    assert!(reports.iter().all(|r| r.loss.is_none() && r.tokens == 0.0 && r.relative_error > 0.01));
    assert_eq!(rounded.site(SiteId::Head).footprint(), model.site(SiteId::Head).footprint());
    let output = SiteId::Block { layer: 1, kind: SiteKind::Output };
    assert_eq!(rounded.site(output).linears()[0].bias(), model.site(output).linears()[0].bias());
    let names: Vec<_> = reports.iter().map(|r| r.name.clone()).collect();
    let want: Vec<_> = model.sites().filter(|id| *id != SiteId::Head).flat_map(|id| model.matrix_names(id)).collect();
    assert_eq!(names, want);

    let mut both = CompressPlan::new(rtn());
    both.head = vec![Box::new(Gptq::new(4, 16)), Box::new(BiasFix)];
    let (compressed, reports) = compress(&model, &sequences(), &both, &team, &()).unwrap();
    assert!(compressed.site(SiteId::Head).footprint().total() < model.site(SiteId::Head).footprint().total());
    assert!(compressed.site(SiteId::Head).linears()[0].bias().is_some());
    let last = &reports[reports.len() - 2..];
    assert_eq!([&last[0].method[..], &last[1].method], ["gptq-4-g16", "bias"]);
    assert!(last[1].loss < last[0].loss);
}

/// Stops when `limit` steps have been reported, and checks that they count sites.
struct Limit {
    limit: usize,
    total: u64,
    steps: AtomicUsize,
}

impl Progress for Limit {
    fn step(&self, done: u64, total: u64, what: &str) {
        assert!(done <= total && total == self.total, "{done} of {total}: {what}");
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.steps.load(Ordering::Relaxed) >= self.limit
    }
}

#[test]
fn it_stops_when_told_and_says_where() {
    let team = Team::new(1);
    let model = from_gguf(&Tiny::llama().gguf(BlockType::F32));
    let stop = |propagation, limit| {
        let progress = Limit { limit, total: 8, steps: AtomicUsize::new(0) };
        compress(&model, &sequences(), &plan(gptq(), propagation), &team, &progress).unwrap_err()
    };
    // A matrix of the site whose step was the last, since methods ask between matrices.
    for (propagation, limit, want) in [
        (Propagation::Sequential, 0, "0.qkv"),
        (Propagation::Sequential, 6, "model.layers.1.self_attn.o_proj"),
        (Propagation::FromFloat, 2, "model.layers.1.self_attn.q_proj"),
    ] {
        let error = stop(propagation, limit);
        assert!(matches!(&error, Error::Cancelled { before } if before == want), "{error}");
        assert_eq!(error.to_string(), format!("cancelled before `{want}`"));
    }
    let limit = Limit { limit: 0, total: 2, steps: AtomicUsize::new(0) };
    let error = calibrate(&model, &sequences(), StatSet::NONE, &team, &limit).unwrap_err();
    assert_eq!(error.to_string(), "cancelled before `0.qkv`");
}

#[test]
fn errors_name_the_sequence_or_site() {
    let team = Team::new(1);
    let model = from_gguf(&Tiny::llama().gguf(BlockType::F32));
    let error = |sequences: &[Vec<u32>]| compress(&model, sequences, &CompressPlan::new(gptq()), &team, &()).unwrap_err();
    assert!(matches!(error(&[]), Error::NoTokens));
    assert!(matches!(error(&[vec![], vec![]]), Error::NoTokens));
    assert!(matches!(error(&[vec![1; 65]]), Error::Context { tokens: 65, context: 64 }));
    assert!(matches!(error(&[vec![1], vec![50]]), Error::Token { token: 50, vocabulary: 50 }));
    let few = error(&[vec![1, 2, 3]]).to_string();
    assert!(few.contains("0.qkv: 3 calibration tokens for 32 inputs"), "{few}");
    let unknown = "float".parse::<Propagation>().unwrap_err().to_string();
    assert_eq!(unknown, "propagation `float` is unknown: choose sequential or from-float");
    for propagation in [Propagation::Sequential, Propagation::FromFloat] {
        assert_eq!(propagation.to_string().parse::<Propagation>().unwrap(), propagation);
    }
}

fn resumed(methods: Vec<Box<dyn Compress>>, propagation: Propagation, folder: &Folder) -> CompressPlan {
    CompressPlan { resume: Some(folder.path().join("blocks")), ..plan(methods, propagation) }
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_model() {
    let team = Team::new(1);
    let model = from_gguf(&Tiny::gemma().gguf(BlockType::F32));
    for propagation in [Propagation::Sequential, Propagation::FromFloat] {
        let (want, want_reports) = compress(&model, &sequences(), &plan(gptq(), propagation), &team, &()).unwrap();
        let folder = Folder::new();
        let plan = resumed(gptq(), propagation, &folder);
        // In the third block of four, whatever counts as a step.
        let limit = if propagation == Propagation::Sequential { 10 } else { 3 };
        let stop = Limit { limit, total: 16, steps: AtomicUsize::new(0) };
        assert!(matches!(compress(&model, &sequences(), &plan, &team, &stop).unwrap_err(), Error::Cancelled { .. }));
        let files = std::fs::read_dir(folder.path().join("blocks")).unwrap().count();
        assert_eq!(files, 2, "{propagation}");

        let third = Limit { limit: usize::MAX, total: 16, steps: AtomicUsize::new(0) };
        let (got, reports) = compress(&model, &sequences(), &plan, &team, &third).unwrap();
        assert!(weights(&got) == weights(&want), "{propagation}");
        assert_eq!(got.footprint(), want.footprint());
        assert_eq!(reports.len(), want_reports.len());
        for (got, want) in reports.iter().zip(&want_reports) {
            assert_eq!((&got.name, &got.method, got.footprint), (&want.name, &want.method, want.footprint));
            // JSON gives a double back to its last digit or so.
            let (got, want) = (got.loss.unwrap(), want.loss.unwrap());
            assert!((got - want).abs() <= 1e-12 * want, "{got}, not {want}");
        }
        let steps = if propagation == Propagation::Sequential { 8 + 1 } else { 2 + 1 };
        assert_eq!(third.steps.into_inner(), steps, "{propagation}: only the last two blocks are done again");

        // When all is there, not even the text is looked at but for the key.
        let (again, _) = compress(&model, &sequences(), &plan, &team, &Limit { limit: 1, total: 16, steps: AtomicUsize::new(0) }).unwrap();
        assert!(weights(&again) == weights(&want), "{propagation}");
    }
}

#[test]
fn blocks_of_another_run_or_damaged_ones_are_refused() {
    let team = Team::new(1);
    let model = from_gguf(&Tiny::llama().gguf(BlockType::F32));
    let folder = Folder::new();
    let sequential = Propagation::Sequential;
    compress(&model, &sequences(), &resumed(gptq(), sequential, &folder), &team, &()).unwrap();
    let refused = |model: &Model, sequences: &[Vec<u32>], plan: &CompressPlan| {
        let error = compress(model, sequences, plan, &team, &()).unwrap_err();
        match &error {
            Error::ResumeKey { what, saved, wanted, .. } => {
                let text = error.to_string();
                assert!(saved != wanted && text.contains(&**saved) && text.contains(&**wanted), "{text}");
                *what
            }
            _ => panic!("{error}"),
        }
    };
    let same = || resumed(gptq(), sequential, &folder);
    let mut two = gptq();
    two.push(Box::new(BiasFix));
    assert_eq!(refused(&model, &sequences(), &resumed(two, sequential, &folder)), "methods");
    assert_eq!(refused(&model, &sequences(), &resumed(gptq(), Propagation::FromFloat, &folder)), "propagation");
    assert_eq!(refused(&model, &sequences()[..7], &same()), "calibration");
    // The same tokens, cut elsewhere.
    let mut cut = sequences();
    let moved = cut[1].pop().unwrap();
    cut[2].insert(0, moved);
    assert_eq!(refused(&model, &cut, &same()), "calibration");
    let mut other = Tiny::llama();
    other.tensors.get_mut("model.layers.1.input_layernorm.weight").unwrap().1[3] += 0.25;
    assert_eq!(refused(&from_gguf(&other.gguf(BlockType::F32)), &sequences(), &same()), "model");

    let block = folder.path().join("blocks/block-1.safetensors");
    let mut bytes = std::fs::read(&block).unwrap();
    let at = bytes.len() - 100;
    bytes[at] ^= 4;
    std::fs::write(&block, &bytes).unwrap();
    let error = compress(&model, &sequences(), &same(), &team, &()).unwrap_err();
    assert!(matches!(&error, Error::Resume { path, .. } if *path == block), "{error}");
    std::fs::remove_file(&block).unwrap();
    compress(&model, &sequences(), &same(), &team, &()).unwrap();
    assert!(block.exists());
}
