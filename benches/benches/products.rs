//! `y = x W^T` for one token: bytes of the matrix per second, beside the bandwidth of reading alone.
//!
//! `cargo bench -p scant-benches --bench products`; an argument filters by name, as in `-- dram/grid-4-g64`.
//! Every product is compared with an f64 reference before it is timed. One thread.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the table is the point")]

use criterion::{BenchmarkId, Criterion, Throughput};
use half::f16;
use ndarray::Array2;
use scant_benches::{bandwidth, results::Results};
use scant_tensor_core::file::{Bytes, OwnedBytes, Typed};
use scant_tensor_core::format::{Dense, DenseType, Grid, GridSpec, Offset, Palette, Stat};
use scant_tensor_core::isa::{Isa, Level};
use scant_tensor_core::rng::Rng;
use scant_tensor_core::team::Team;
use scant_tensor_core::{LinearOp, Mode, Pre, Prepared};
use std::time::Duration;

/// Where a working set lies: bytes of a matrix, how many are taken in turn, columns.
const SETS: [(&str, usize, usize, usize); 4] =
    [("l1", 20 << 10, 1, 512), ("l2", 512 << 10, 1, 1024), ("l3", 8 << 20, 1, 2048), ("dram", 32 << 20, 9, 4096)];

/// What is multiplied with.
#[derive(Clone, Copy)]
enum Format {
    Grid { bits: u32, group_size: usize, min: bool },
    Palette { group_size: usize },
    Dense(DenseType),
}

impl Format {
    fn name(self) -> String {
        match self {
            Format::Grid { bits, group_size, min: false } => format!("grid-{bits}-g{group_size}"),
            Format::Grid { bits, group_size, min: true } => format!("grid-{bits}-g{group_size}-min"),
            Format::Palette { group_size } => format!("palette-4-g{group_size}"),
            Format::Dense(kind) => format!("dense-{kind:?}").to_lowercase(),
        }
    }

    /// A matrix of about `bytes` bytes of codes, of whole panels, at least one.
    fn random(self, bytes: usize, n: usize, rng: &mut Rng) -> Box<dyn LinearOp> {
        let rows = |bits: usize| (8 * bytes / bits / n / 16).max(1) * 16;
        match self {
            Format::Grid { bits, group_size, min } => {
                let spec = GridSpec::new([rows(bits as usize), n], bits, group_size).expect("a valid shape");
                let codes = random_bytes(spec.m * n * bits as usize / 8, rng);
                let stat = |spread: f32, rng: &mut Rng| -> Stat {
                    let value = |rng: &mut Rng| f16::from_f32(spread * (rng.uniform() - 0.5));
                    Stat::F16((0..spec.m * spec.groups()).map(|_| value(rng)).collect::<Typed<f16>>())
                };
                let scale = stat(4.0 / (1u32 << bits) as f32, rng);
                let offset = if min { Offset::Min(stat(1.0, rng)) } else { Offset::Symmetric };
                Box::new(Grid::from_panels(spec, codes, scale, offset).expect("lengths follow from the shape"))
            }
            Format::Palette { group_size } => {
                let (m, values) = (rows(4), [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]);
                let codes = random_bytes(m * n / 2, rng);
                let scale = Stat::F16((0..m * n / group_size).map(|_| f16::from_f32(0.01 * rng.uniform())).collect::<Typed<f16>>());
                Box::new(Palette::from_panels(values, [m, n], group_size, codes, scale).expect("lengths follow from the shape"))
            }
            Format::Dense(kind) => {
                let bits = if kind == DenseType::F32 { 32 } else { 16 };
                let w = Array2::from_shape_simple_fn((rows(bits), n), || rng.uniform() - 0.5);
                Box::new(Dense::new(w.view(), kind).expect("finite values"))
            }
        }
    }
}

fn random_bytes(len: usize, rng: &mut Rng) -> Bytes {
    let mut bytes = OwnedBytes::zeroed(len);
    bytes.cast_mut::<u64>().fill_with(|| rng.next_u64());
    bytes.freeze()
}

fn product(w: &dyn LinearOp, x: &Prepared, y: &mut Array2<f32>) {
    w.accumulate(x, x, 0..w.shape()[0], y.view_mut());
}

/// Up to 64 rows of the product against f64; Fast may be off by its rounding of the input.
fn check(w: &dyn LinearOp, mode: Mode, x: &[f32], y: &Array2<f32>, name: &str) {
    let rows = w.shape()[0].min(64);
    let mut dense = Array2::zeros((rows, x.len()));
    w.add_rows(0..rows, dense.view_mut());
    let tolerance = if mode == Mode::Fast { 0.05 } else { 1e-5 };
    for (w, y) in dense.rows().into_iter().zip(y.row(0)) {
        let want: f64 = w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
        let size: f64 = w.iter().zip(x).map(|(w, x)| (f64::from(*w) * f64::from(*x)).powi(2)).sum::<f64>().sqrt();
        assert!((f64::from(*y) - want).abs() <= tolerance * size, "{name}: {y} is not {want}");
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(250))
        .nresamples(1000)
        .configure_from_args();
    let results = Results::default();
    let mut rng = Rng::new(1);
    let memory = bandwidth::buffer(288 << 20);
    let (one, two) = (Team::new(1), Team::new(2));
    let best = Isa::best();
    let reads = [&one, &two].map(|team| bandwidth::read(best, team, &memory, 5) / 1e9);
    println!("reading memory: {:.1} GB/s with one thread, {:.1} with two", reads[0], reads[1]);

    let grid = |bits| Format::Grid { bits, group_size: 64, min: false };
    let mut formats: Vec<Format> = [2, 3, 4, 5, 6, 8].map(grid).to_vec();
    formats.push(Format::Grid { bits: 4, group_size: 32, min: false });
    formats.push(Format::Grid { bits: 4, group_size: 32, min: true });
    formats.push(Format::Palette { group_size: 32 });
    formats.extend([DenseType::F16, DenseType::F32].map(Format::Dense));
    for (set, bytes, count, n) in SETS {
        for format in &formats {
            let mut group = criterion.benchmark_group(format!("{set}/{}", format.name()));
            let matrices: Vec<_> = (0..count).map(|_| format.random(bytes, n, &mut rng)).collect();
            let total = matrices[0].footprint().total();
            let small = if count == 1 { bandwidth::buffer(total as usize) } else { memory.clone() };
            let x = Array2::from_shape_simple_fn((1, n), || rng.normal());
            let mut y = Array2::zeros((1, matrices[0].shape()[0]));
            for isa in Isa::available() {
                // The scalar tier computes, it does not stream: one size says all.
                if isa.level() == Level::Scalar && set != "l1" {
                    continue;
                }
                let bandwidth = bandwidth::read(isa, &one, &small, 5);
                let modes: &[Mode] = if matches!(format, Format::Dense(_)) { &[Mode::Exact] } else { &[Mode::Fast, Mode::Exact] };
                for mode in modes {
                    let mut prepared = Prepared::new();
                    prepared.fill(isa, *mode, &Pre::none(), matrices[0].wants(), x.view()).expect("the shapes fit");
                    let name = format!("{set}/{}/{isa}/{mode}", format.name());
                    y.fill(0.0);
                    product(&*matrices[0], &prepared, &mut y);
                    check(&*matrices[0], *mode, x.as_slice().expect("one row"), &y, &name);
                    group.throughput(Throughput::Bytes(total));
                    group.bench_function(BenchmarkId::new(isa.to_string(), mode), |b| {
                        let mut next = matrices.iter().cycle();
                        b.iter_custom(|iterations| {
                            results.time(&name, total, bandwidth, iterations, || {
                                product(&**next.next().expect("at least one matrix"), &prepared, &mut y);
                            })
                        });
                    });
                }
            }
        }
    }
    criterion.final_summary();
    println!(
        "\nbytes of the matrix per second, and their share of either bound: reading a buffer of that size, and the same product in L1\n\n{}",
        results.table()
    );
}
