//! Scans of codes: bytes of codes per second, beside the bandwidth of reading alone and the same scan in the second-level cache.
//!
//! `cargo bench -p scant-benches --bench scans`; an argument filters by name, as in `-- dram/lut4`. One thread; nothing is found, so it is the
//! scan alone. A figure for several queries counts the bytes once for each. Every scan's sums are tested against their definition in
//! `tensor-core/tests/scans`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the table is the point")]

use criterion::{BenchmarkId, Criterion, Throughput};
use scant_benches::{bandwidth, results::Results};
use scant_tensor_core::file::{Bytes, OwnedBytes};
use scant_tensor_core::isa::{Isa, Level};
use scant_tensor_core::rng::Rng;
use scant_tensor_core::scan::{CodeBlocks, Sink, dot, hamming, lut4, lut8};
use scant_tensor_core::team::Team;
use std::hint::black_box;
use std::time::Duration;

/// Where the codes lie, and how many bytes there are. The first name is what the table of results calls the bound by instructions.
const SETS: [(&str, usize); 3] = [("l1", 256 << 10), ("l3", 8 << 20), ("dram", 256 << 20)];

/// What is scanned: a name, columns of codes.
const SCANS: [(Scan, usize); 9] = [
    (Scan::Lut8Narrow, 16),
    (Scan::Lut8Narrow, 32),
    (Scan::Lut8Wide, 16),
    (Scan::Lut4Narrow, 16),
    (Scan::Lut4Narrow, 32),
    (Scan::Lut4Wide, 16),
    (Scan::Lut4Wide, 64),
    (Scan::Dot, 128),
    (Scan::Hamming, 16),
];

#[derive(Clone, Copy)]
enum Scan {
    Lut8Narrow,
    Lut8Wide,
    Lut4Narrow,
    Lut4Wide,
    Dot,
    Hamming,
}

impl Scan {
    fn name(self, columns: usize) -> String {
        match self {
            Scan::Lut8Narrow => format!("lut8-u8-m{columns}"),
            Scan::Lut8Wide => format!("lut8-u16-m{columns}"),
            Scan::Lut4Narrow => format!("lut4-u8-m{}", 2 * columns),
            Scan::Lut4Wide => format!("lut4-u16-m{}", 2 * columns),
            Scan::Dot => format!("dot-d{columns}"),
            Scan::Hamming => format!("hamming-{}", 8 * columns),
        }
    }
}

/// Nothing is small enough, and the compiler must not know.
struct Nothing;

macro_rules! nothing {
    ($($t:ty)*) => { $(
        impl Sink<$t> for Nothing {
            #[inline(always)]
            fn threshold(&self, _: usize, _: usize) -> $t {
                <$t>::MIN
            }
            #[inline(always)]
            fn block(&mut self, _: usize, _: usize, mask: u64, _: &[$t; 64]) {
                black_box(mask);
            }
        }
    )* };
}
nothing!(u8 u16 i32);

/// The query's side of every kind of scan.
struct Query {
    eight: Vec<[u8; 256]>,
    four: Vec<lut4::Pair>,
    digits: Vec<i8>,
    words: Vec<u64>,
}

impl Query {
    /// Entries above 0, so that no sum passes.
    fn new(columns: usize, rng: &mut Rng) -> Query {
        let mut byte = || 1 + rng.below(255) as u8;
        Query {
            eight: (0..columns).map(|_| std::array::from_fn(|_| byte())).collect(),
            four: (0..columns).map(|_| [0; 2].map(|_| std::array::from_fn(|_| byte()))).collect(),
            digits: (0..columns).map(|_| (byte() / 2) as i8).collect(),
            words: (0..columns / 8).map(|_| u64::from(byte()) << 32).collect(),
        }
    }
}

fn run(isa: Isa, scan: Scan, codes: &CodeBlocks, words: &[u64], queries: &[Query]) {
    let (blocks, sink) = (0..codes.blocks(), &mut Nothing);
    let eight: Vec<_> = queries.iter().map(|q| &q.eight[..]).collect();
    let four: Vec<_> = queries.iter().map(|q| &q.four[..]).collect();
    match scan {
        Scan::Lut8Narrow => lut8::scan_u8(isa, codes, blocks, &eight, None, sink),
        Scan::Lut8Wide => lut8::scan_u16(isa, codes, blocks, &eight, None, sink),
        Scan::Lut4Narrow => lut4::scan_u8(isa, codes, blocks, &four, None, sink),
        Scan::Lut4Wide => lut4::scan_u16(isa, codes, blocks, &four, None, sink),
        Scan::Dot => {
            let digits: Vec<_> = queries.iter().map(|q| &q.digits[..]).collect();
            dot(isa, codes.as_bytes(), codes.rows(), blocks, &digits, None, sink);
        }
        Scan::Hamming => {
            let of: Vec<_> = queries.iter().map(|q| &q.words[..]).collect();
            hamming(isa, words, codes.rows(), blocks, &of, None, sink);
        }
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(250))
        .nresamples(1000)
        .configure_from_args();
    let (results, one, mut rng) = (Results::default(), Team::new(1), Rng::new(1));
    for (set, bytes) in SETS {
        let mut memory = OwnedBytes::zeroed(bytes);
        memory.cast_mut::<u64>().fill_with(|| rng.next_u64());
        let memory: Bytes = memory.freeze();
        for (scan, columns) in SCANS {
            let mut group = criterion.benchmark_group(format!("{set}/{}", scan.name(columns)));
            let rows = bytes / columns / 64 * 64;
            let codes = CodeBlocks::from_bytes(rows, columns, memory.slice(0..rows * columns)).expect("whole blocks");
            let words: &[u64] = bytemuck::cast_slice(codes.as_bytes());
            let queries: Vec<Query> = (0..8).map(|_| Query::new(columns, &mut rng)).collect();
            for isa in Isa::available() {
                // The scalar tier computes, it does not stream: one size says all.
                if isa.level() == Level::Scalar && set != "l1" {
                    continue;
                }
                let bandwidth = bandwidth::read(isa, &one, &memory, 3);
                for count in [1, 8] {
                    let name = format!("{set}/{}/{isa}/{count}", scan.name(columns));
                    let total = (count * rows * columns) as u64;
                    group.throughput(Throughput::Bytes(total));
                    group.bench_function(BenchmarkId::new(isa.to_string(), count), |b| {
                        b.iter_custom(|iterations| {
                            results.time(&name, total, bandwidth, iterations, || run(isa, scan, &codes, words, &queries[..count]))
                        });
                    });
                }
            }
        }
    }
    criterion.final_summary();
    println!(
        "\nbytes of codes per second and query (codes per second: divided by the bytes of a code), and their share of either bound: reading a buffer \
         of that size, and the same scan in the second-level cache\n\n{}",
        results.table()
    );
}
