//! The matrices of a small model, one after the other as a token meets them: SmolLM2-135M's shapes, 4-bit codes with a scale and a minimum
//! for every 32 columns, an 8-bit head. Decode of one token and prefill of 512; no attention, no norms.
//!
//! `cargo bench -p scant-benches --bench sites`; an argument filters by name, as in `-- prefill`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the table is the point")]

use criterion::{BenchmarkId, Criterion, Throughput};
use half::f16;
use ndarray::Array2;
use scant_benches::{bandwidth, results::Results};
use scant_tensor_core::file::{OwnedBytes, Typed};
use scant_tensor_core::format::{Grid, GridSpec, Offset, Stat};
use scant_tensor_core::isa::{Isa, Level};
use scant_tensor_core::rng::Rng;
use scant_tensor_core::team::Team;
use scant_tensor_core::{Ctx, Linear, Mode, Pre, Site, Workspace};
use std::time::Duration;

const LAYERS: usize = 30;
/// Inputs and outputs of the four sites of a layer: q, k, v; attention output; gate and up; down.
const SITES: [(usize, &[usize]); 4] = [(576, &[576, 192, 192]), (576, &[576]), (576, &[1536, 1536]), (1536, &[576])];
const VOCABULARY: usize = 49_152;

fn linear(m: usize, n: usize, bits: u32, min: bool, rng: &mut Rng) -> Linear {
    let spec = GridSpec::new([m, n], bits, 32).expect("a valid shape");
    let mut codes = OwnedBytes::zeroed(m * n * bits as usize / 8);
    codes.cast_mut::<u64>().fill_with(|| rng.next_u64());
    let mut stat = |size: f32| Stat::F16((0..m * spec.groups()).map(|_| f16::from_f32(size * rng.uniform())).collect::<Typed<f16>>());
    let (scale, min) = (stat(0.02), if min { Offset::Min(stat(-0.1)) } else { Offset::Symmetric });
    Linear::from_term(Grid::from_panels(spec, codes.freeze(), scale, min).expect("lengths follow from the shape")).expect("one term")
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_secs(1))
        .nresamples(1000)
        .configure_from_args();
    let results = Results::default();
    let mut rng = Rng::new(1);
    let mut layer = || {
        SITES.map(|(n, rows)| Site::new(Pre::none(), rows.iter().map(|m| linear(*m, n, 4, true, &mut rng)).collect()).expect("one input"))
    };
    let layers: Vec<_> = (0..LAYERS).map(|_| layer()).collect();
    let head = Site::new(Pre::none(), vec![linear(VOCABULARY, 576, 8, false, &mut rng)]).expect("one matrix");
    let bytes: u64 = layers.iter().flatten().chain([&head]).map(|s| s.footprint().total()).sum();
    let memory = bandwidth::buffer(288 << 20);

    for tokens in [1, 512] {
        // A prompt needs the logits of its last token alone, so prefill leaves the head out.
        let sites: Vec<&Site> = layers.iter().flatten().chain((tokens == 1).then_some(&head)).collect();
        let mut group = criterion.benchmark_group(if tokens == 1 { "decode" } else { "prefill" });
        let inputs: Vec<Array2<f32>> = [576, 1536].map(|n| Array2::from_shape_simple_fn((tokens, n), || rng.normal())).to_vec();
        let mut outputs: Vec<Array2<f32>> = sites.iter().map(|s| Array2::zeros((tokens, s.outputs()))).collect();
        for threads in [1, 2] {
            let team = Team::new(threads);
            for isa in Isa::available().into_iter().filter(|isa| isa.level() != Level::Scalar) {
                let bandwidth = bandwidth::read(isa, &team, &memory, 5);
                for (mode, dense) in [(Mode::Fast, false), (Mode::Exact, false), (Mode::Exact, true)] {
                    if dense && tokens == 1 {
                        continue;
                    }
                    let ctx = Ctx { isa, mode, team: &team };
                    let path = if dense { "dense".to_owned() } else { mode.to_string() };
                    let name = format!("{}/{path}/{isa}/{threads}", if tokens == 1 { "decode" } else { "prefill" });
                    let mut ws = Workspace::default();
                    let mut token = || {
                        for (site, y) in sites.iter().zip(&mut outputs) {
                            let x = &inputs[usize::from(site.inputs() != 576)];
                            let run = if dense { Site::forward_dense } else { Site::forward };
                            run(site, &ctx, x.view(), &mut ws, y.view_mut()).expect("shapes fit");
                        }
                    };
                    group.throughput(if tokens == 1 { Throughput::Bytes(bytes) } else { Throughput::Elements(tokens as u64) });
                    group.bench_function(BenchmarkId::new(format!("{path}/{isa}"), threads), |b| {
                        b.iter_custom(|iterations| results.time(&name, bytes, bandwidth, iterations, &mut token));
                    });
                }
            }
        }
    }
    criterion.final_summary();
    println!(
        "\nall matrices once; bytes per second, and their share of the bandwidth of reading memory with as many threads\n\n{}",
        results.table()
    );
}
