//! What it costs to share out one step of a token: nothing to do, and 20 µs of work in 40 tasks.
//!
//! `cargo bench -p scant-benches --bench team`. A model of 30 layers makes about 150 such steps a token.
#![forbid(unsafe_code)]

use criterion::{Criterion, criterion_group, criterion_main};
use scant_tensor_core::team::Team;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Half a microsecond of arithmetic in one chain.
fn work() {
    let start = black_box(0x9E37_79B9u64);
    black_box((0..450).fold(start, |x, i| (x ^ i).wrapping_mul(0x9E37_79B9_7F4A_7C15)));
}

fn forks(c: &mut Criterion) {
    let mut group = c.benchmark_group("fork");
    for threads in [1, 2] {
        let team = Team::new(threads);
        group.bench_function(format!("empty/team-{threads}"), |b| b.iter(|| team.run(2, |i| _ = black_box(i))));
        group.bench_function(format!("40 tasks/team-{threads}"), |b| b.iter(|| team.run(40, |_| work())));
        // As in decode: a serial part of some microseconds between steps, in which workers wait. The part itself is taken off.
        group.bench_function(format!("empty after 5 µs/team-{threads}"), |b| {
            b.iter_custom(|iterations| {
                (0..iterations)
                    .map(|_| {
                        let serial = Instant::now();
                        while serial.elapsed() < Duration::from_micros(5) {}
                        let start = Instant::now();
                        team.run(2, |i| _ = black_box(i));
                        start.elapsed()
                    })
                    .sum()
            });
        });
    }
    group.bench_function("empty/rayon join", |b| b.iter(|| rayon::join(|| _ = black_box(0), || _ = black_box(1))));
    group.bench_function("empty/scoped thread", |b| {
        b.iter(|| {
            std::thread::scope(|s| _ = s.spawn(|| _ = black_box(1)));
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1)).sample_size(50);
    targets = forks
}
criterion_main!(benches);
