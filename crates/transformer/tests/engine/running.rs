//! The same tokens in other portions, on other tiers and threads, through other doors.

use super::*;
use scant_quant::gguf::BlockType;
use scant_tensor_core::format::{Dense, DenseType};
use scant_tensor_core::{Linear, Pre, Site};
use scant_testkit::alloc::measure;
use scant_transformer::{Error, Sampler, Sampling, Scorer, Scratch, SiteId, SiteKind};

fn small_chunks(options: Options) -> Options {
    Options { chunk: 4, ..options }
}

#[test]
fn portions_tiers_and_threads_do_not_change_a_bit() {
    let half = Options { kv: KvType::F16, ..PANEL };
    for (name, tiny) in models() {
        // Rows of 32 columns are quantized, the others stay in f32.
        let model = from_gguf(&tiny.gguf(BlockType::Q4_0));
        for mode in [Mode::Exact, Mode::Fast] {
            for options in [PANEL, half] {
                let alone = Team::new(1);
                let want = logits(&model, Ctx { isa: Isa::best(), mode, team: &alone }, options, &tokens());
                for isa in Isa::available() {
                    for threads in [1, 2] {
                        let team = Team::new(threads);
                        let ctx = Ctx { isa, mode, team: &team };
                        assert_eq!(logits(&model, ctx, options, &tokens()), want, "{name}, {mode}, {isa}, {threads} threads");
                        assert_eq!(logits(&model, ctx, small_chunks(options), &tokens()), want, "{name}, {mode}, {isa}, in chunks");
                    }
                }
                let ctx = Ctx { isa: Isa::best(), mode, team: &alone };
                let mut session = Session::new(&model, ctx, options).unwrap();
                assert_eq!(session.prefill(&tokens()[..10]).unwrap(), want.row(9).to_slice().unwrap());
                for (i, token) in tokens().into_iter().enumerate().skip(10) {
                    assert_eq!(session.decode(token).unwrap(), want.row(i).to_slice().unwrap(), "{name}, {mode}, token {i}");
                }
            }
        }
    }
}

#[test]
fn the_dense_path_agrees_to_rounding() {
    let team = Team::new(2);
    for (name, tiny) in models() {
        let model = from_gguf(&tiny.gguf(BlockType::Q4_0));
        let want = logits(&model, exact(&team), PANEL, &tokens());
        let dense = Options { path: Path::Dense, ..PANEL };
        for options in [dense, small_chunks(dense)] {
            let got = logits(&model, exact(&team), options, &tokens());
            let difference = largest_difference(&got, &want);
            assert!(difference > 0.0 && difference < 1e-4, "{name}: {difference}");
        }
    }
}

#[test]
fn a_half_precision_cache_is_close() {
    let team = Team::new(1);
    let model = from_gguf(&Tiny::gemma().gguf(BlockType::F32));
    let want = logits(&model, exact(&team), PANEL, &tokens());
    let got = logits(&model, exact(&team), Options { kv: KvType::F16, ..PANEL }, &tokens());
    let difference = largest_difference(&got, &want);
    assert!(difference > 0.0 && difference < 0.02, "{difference}");
}

#[test]
fn truncating_takes_tokens_back() {
    let team = Team::new(1);
    let model = from_gguf(&Tiny::gemma().gguf(BlockType::F32));
    let mut session = Session::new(&model, exact(&team), PANEL).unwrap();
    session.prefill(&tokens()).unwrap();
    session.truncate(12).unwrap();
    let again = session.decode(tokens()[12]).unwrap();
    assert_eq!(again, logits(&model, exact(&team), PANEL, &tokens()).row(12).to_slice().unwrap());
}

#[test]
fn blocks_over_a_batch_of_sequences_are_a_forward_pass() {
    let team = Team::new(2);
    let lengths = [11, 1, 18];
    for (name, tiny) in models() {
        let model = from_gguf(&tiny.gguf(BlockType::F32));
        let mut x = model.embed(&tokens()).unwrap();
        let (mut scratch, mut seen) = (Scratch::default(), vec![]);
        for layer in 0..model.config().layers.len() {
            let before = x.clone();
            let tap = &mut |id: SiteId, input: ndarray::ArrayView2<'_, f32>| {
                assert_eq!(input.dim(), (30, model.site(id).inputs()), "{name} {id}");
                if id == (SiteId::Block { layer, kind: SiteKind::Qkv }) {
                    // A norm: each row is a multiple of the stream's, component by component.
                    let gain = |t: usize| &input.row(t) / &before.row(t) * before.row(t).mapv(|x| x * x).mean().unwrap().sqrt();
                    let difference = (&gain(0) - &gain(29)).mapv(f32::abs).fold(0.0, |a: f32, b| a.max(*b));
                    assert!(difference < 1e-3, "{name}: gains differ by {difference}");
                }
                seen.push(id);
            };
            model.block(&exact(&team), Path::Dense, layer, x.view_mut(), &lengths, &mut scratch, tap).unwrap();
        }
        assert_eq!(seen, model.sites().filter(|id| *id != SiteId::Head).collect::<Vec<_>>());

        // What the last block leaves, through norm and head, are the logits of each sequence on its own.
        let mut first = 0;
        for len in lengths {
            let alone = logits(&model, exact(&team), PANEL, &tokens()[first..first + len]);
            let whole = model.logits(&exact(&team), Path::Dense, x.slice(ndarray::s![first..first + len, ..]), &mut scratch).unwrap();
            let difference = largest_difference(&alone, &whole);
            assert!(difference < 1e-4, "{name}: {difference}");
            first += len;
        }
    }
}

#[test]
fn a_model_with_another_site_is_another_model() {
    let team = Team::new(1);
    let mut model = from_gguf(&Tiny::llama().gguf(BlockType::F32));
    let old = logits(&model, exact(&team), PANEL, &tokens());
    let id = SiteId::Block { layer: 1, kind: SiteKind::GateUp };
    let dense = |w: Array2<f32>| Linear::from_term(Dense::new(w.view(), DenseType::F32).unwrap()).unwrap();
    let matrices = |site: &Site, factor: f32| -> Vec<Linear> {
        let scaled = |l: &Linear| {
            let [m, n] = l.shape();
            let mut w = Array2::zeros((m, n));
            l.terms()[0].op().add_to(w.view_mut());
            dense(w * factor)
        };
        site.linears().iter().map(scaled).collect()
    };
    let same = Site::new(Pre::none(), matrices(model.site(id), 1.0)).unwrap();
    model.set_site(id, same).unwrap();
    assert_eq!(logits(&model, exact(&team), PANEL, &tokens()), old);
    let half = Site::new(Pre::none(), matrices(model.site(id), 0.5)).unwrap();
    model.set_site(id, half).unwrap();
    assert!(largest_difference(&logits(&model, exact(&team), PANEL, &tokens()), &old) > 0.01);

    // A tied head is the embedding too: the stream of doubled rows, before any block.
    let before = model.embed(&[3, 4]).unwrap();
    let twice = Site::new(Pre::none(), matrices(model.site(SiteId::Head), 2.0)).unwrap();
    model.set_site(SiteId::Head, twice).unwrap();
    assert_eq!(model.embed(&[3, 4]).unwrap(), before * 2.0);

    let one = Site::new(Pre::none(), vec![dense(Array2::ones((48, 32)))]).unwrap();
    assert!(matches!(model.set_site(id, one), Err(Error::SiteMatrices { want: 2, got: 1, .. })));
    let wrong = Site::new(Pre::none(), vec![dense(Array2::ones((48, 32))), dense(Array2::ones((47, 32)))]).unwrap();
    let message = model.set_site(id, wrong).unwrap_err().to_string();
    assert!(message.contains("1.gate-up") && message.contains("[48, 32]") && message.contains("[47, 32]"), "{message}");
    let there = Site::new(Pre::none(), vec![dense(Array2::ones((32, 48)))]).unwrap();
    let nowhere = SiteId::Block { layer: 2, kind: SiteKind::Down };
    assert!(matches!(model.set_site(nowhere, there), Err(Error::SiteMatrices { want: 0, .. })));
}

#[test]
fn a_token_takes_no_heap() {
    let team = Team::new(1);
    for (name, tiny) in models() {
        let model = from_gguf(&tiny.gguf(BlockType::Q4_0));
        for mode in [Mode::Exact, Mode::Fast] {
            let mut session = Session::new(&model, Ctx { isa: Isa::best(), mode, team: &team }, Options::default()).unwrap();
            session.reserve(64);
            session.prefill(&tokens()[..5]).unwrap();
            session.decode(1).unwrap();
            let ((), heap) = measure(|| (0..40).for_each(|t| assert_eq!(session.decode(t).unwrap().len(), 50)));
            assert_eq!((heap.allocations, session.len()), (0, 46), "{name}, {mode}");
        }
    }
}

#[test]
fn perplexity_is_that_of_the_reference() {
    let team = Team::new(2);
    let (text, tiny) = (tokens(), Tiny::gemma());
    let model = from_gguf(&tiny.gguf(BlockType::F32));
    let windows = scant_eval::windows(&text, 10).unwrap();
    let mut scorer = Scorer::new(&model, exact(&team), PANEL).unwrap();
    let got = scant_eval::perplexity(&mut scorer, &windows, &()).unwrap();
    let mut want = 0.0;
    for window in &windows {
        for (logits, next) in reference::logits(&tiny, window).iter().zip(&window[1..]) {
            want += logits.iter().map(|x| x.exp()).sum::<f64>().ln() - logits[*next as usize];
        }
    }
    let want = (want / 27.0).exp();
    assert!((got.perplexity() / want - 1.0).abs() < 1e-5, "{} {want}", got.perplexity());
}

#[test]
fn greedy_tokens_are_the_largest_logits_and_end_at_the_context() {
    let team = Team::new(1);
    let model = from_gguf(&Tiny::llama().gguf(BlockType::F32));
    let mut session = Session::new(&model, exact(&team), PANEL).unwrap();
    let greedy = Sampler::new(Sampling::greedy()).unwrap();
    let got: Vec<u32> = session.generate(&tokens(), greedy.clone(), 100).unwrap().map(Result::unwrap).collect();
    assert_eq!((got.len(), session.len()), (35, 64)); // 64 are in the cache, and the last logits still chose one
    let mut all = tokens();
    for token in &got {
        let last = logits(&model, exact(&team), PANEL, &all).row(all.len() - 1).to_vec();
        let best = last.iter().enumerate().fold(0, |b, (i, x)| if *x > last[b] { i } else { b });
        assert_eq!(*token, best as u32);
        all.push(*token);
        if all.len() > 40 {
            break; // enough: each costs a whole pass
        }
    }
    session.truncate(30).unwrap();
    assert_eq!(session.generate(&[1], greedy.clone(), 3).unwrap().count(), 3);
    assert_eq!(session.generate(&[1], greedy, 0).unwrap().count(), 0);
}

#[test]
fn buffers_may_go_from_model_to_model_and_batches_may_have_nothing_in_them() {
    let team = Team::new(1);
    let mut other = Tiny::llama();
    other.config["rope_theta"] = 50.0.into();
    let models = [Tiny::llama(), other, Tiny::gemma()].map(|tiny| from_gguf(&tiny.gguf(BlockType::F32)));
    let mut shared = Scratch::default();
    let x = ndarray::Array2::from_shape_fn((6, 32), |(i, j)| ((i * 32 + j) as f32 * 0.7).sin());
    for model in &models {
        let run = |lengths: &[usize], scratch: &mut Scratch| {
            let mut x = x.clone();
            model.block(&exact(&team), Path::Panel, 0, x.view_mut(), lengths, scratch, &mut |_, _| ()).unwrap();
            x
        };
        let want = run(&[4, 2], &mut Scratch::default());
        assert_eq!(run(&[4, 2], &mut shared), want);
        assert_eq!(run(&[0, 4, 0, 2, 0], &mut shared), want);
        let mut none = ndarray::Array2::zeros((0, 32));
        model.block(&exact(&team), Path::Dense, 0, none.view_mut(), &[], &mut shared, &mut |_, _| ()).unwrap();
    }
}
