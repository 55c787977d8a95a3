//! Scans on every tier against plain loops.

use proptest::prelude::*;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::rng::Rng;
use scant_tensor_core::scan::{Bound, CodeBlocks, Keep, Lut, Sink, Tables, Width, dot, hamming, lut4, lut8};

fn codes(rows: usize, columns: usize, rng: &mut Rng) -> CodeBlocks {
    let mut codes = CodeBlocks::new(columns);
    for _ in 0..rows {
        let code: Vec<u8> = (0..columns).map(|_| rng.next_u64() as u8).collect();
        codes.push(&code).expect("a code of the right length");
    }
    codes
}

/// What a scan hands over: query, block, mask and the sums under the mask.
#[derive(Default, Debug, PartialEq, Clone)]
struct Hits {
    limit: u32,
    hits: Vec<(usize, usize, u64, Vec<u32>)>,
}

macro_rules! hits {
    ($($t:ty)*) => { $(
        impl Sink<$t> for Hits {
            fn threshold(&self, query: usize, block: usize) -> $t {
                (self.limit + (query + block) as u32 % 3).min(<$t>::MAX as u32) as $t
            }
            fn block(&mut self, query: usize, block: usize, mask: u64, sums: &[$t; 64]) {
                self.hits.push((query, block, mask, (0..64).filter(|i| mask >> i & 1 == 1).map(|i| sums[i] as u32).collect()));
            }
        }
    )* };
}
hits!(u8 u16 i32);

/// The same by definition: `sum(query, row)`.
fn by_definition(limit: u32, max: u32, queries: usize, rows: usize, allow: Option<&[u64]>, sum: impl Fn(usize, usize) -> u32) -> Hits {
    let mut out = Hits { limit, hits: vec![] };
    for query in 0..queries {
        for block in 0..rows.div_ceil(64) {
            let most = (limit + (query + block) as u32 % 3).min(max);
            let (mut mask, mut sums) = (0, vec![]);
            for row in (64 * block..rows.min(64 * block + 64)).filter(|row| allow.is_none_or(|a| a[block] >> (row % 64) & 1 == 1)) {
                let sum = sum(query, row).min(max);
                if sum <= most {
                    mask |= 1 << (row % 64);
                    sums.push(sum);
                }
            }
            if mask != 0 {
                out.hits.push((query, block, mask, sums));
            }
        }
    }
    out
}

/// As `Hits`, with the same limit for each row, or any sum of every fifth.
struct ByRow(Hits);

macro_rules! by_row {
    ($($t:ty)*) => { $(
        impl Sink<$t> for ByRow {
            fn threshold(&self, _: usize, _: usize) -> $t {
                0
            }
            fn limits(&self, query: usize, block: usize, limits: &mut [f32; 64]) -> bool {
                let limit: $t = self.0.threshold(query, block);
                *limits = std::array::from_fn(|i| if i % 5 == 0 { f32::NAN } else { limit as f32 + 0.5 });
                true
            }
            fn block(&mut self, query: usize, block: usize, mask: u64, sums: &[$t; 64]) {
                let limit: $t = self.0.threshold(query, block);
                assert!((0..64).all(|i| mask >> i & 1 == 0 || sums[i] <= limit || i % 5 == 0));
                let mask = mask & (0..64).filter(|i| sums[*i] <= limit).fold(0, |mask, i| mask | 1 << i);
                if mask != 0 {
                    self.0.block(query, block, mask, sums);
                }
            }
        }
    )* };
}
by_row!(u8 u16 i32);

fn sorted(mut hits: Hits) -> Hits {
    hits.hits.sort();
    hits
}

fn table(len: usize, most: usize, rng: &mut Rng) -> Vec<u8> {
    (0..len).map(|_| rng.below(most + 1) as u8).collect()
}

fn check_luts(m: usize, rows: usize, queries: usize, most: usize, filter: bool, seed: u64) {
    let mut rng = Rng::new(seed);
    // No sum may exceed 16 bits.
    let most = most.min(65535 / (2 * m));
    let codes = codes(rows, m, &mut rng);
    let allow: Vec<u64> = (0..codes.blocks()).map(|_| if rng.below(3) == 0 { 0 } else { rng.next_u64() }).collect();
    let allow = filter.then_some(&allow[..]);
    let eight: Vec<Vec<u8>> = (0..queries).map(|_| table(256 * m, most, &mut rng)).collect();
    let four: Vec<Vec<u8>> = (0..queries).map(|_| table(32 * m, most, &mut rng)).collect();
    let byte = |row: usize, j: usize| usize::from(codes.block(row / 64)[j][row % 64]);
    let sum8 = |q: usize, row: usize| (0..m).map(|j| u32::from(eight[q][256 * j + byte(row, j)])).sum::<u32>();
    let sum4 = |q: usize, row: usize| {
        (0..m)
            .map(|j| u32::from(four[q][32 * j + (byte(row, j) & 15)]) + u32::from(four[q][32 * j + 16 + (byte(row, j) >> 4)]))
            .sum::<u32>()
    };
    let eight: Vec<&[[u8; 256]]> = eight.iter().map(|t| t.as_chunks().0).collect();
    let four: Vec<&[lut4::Pair]> = four.iter().map(|t| t.as_chunks::<16>().0.as_chunks().0).collect();
    // Half the mean, the mean, all.
    let mean = (m * most / 2) as u32;
    for limit in [mean / 2, mean, 2 * mean, u32::from(u16::MAX)] {
        let want8 = [255, 65535].map(|max| sorted(by_definition(limit, max, queries, rows, allow, sum8)));
        let want4 = [255, 65535].map(|max| sorted(by_definition(limit, max, queries, rows, allow, sum4)));
        for isa in Isa::available() {
            let new = || Hits { limit, hits: vec![] };
            let mut got = [new(), new(), new(), new()];
            lut8::scan_u8(isa, &codes, 0..codes.blocks(), &eight, allow, &mut got[0]);
            lut8::scan_u16(isa, &codes, 0..codes.blocks(), &eight, allow, &mut got[1]);
            lut4::scan_u8(isa, &codes, 0..codes.blocks(), &four, allow, &mut got[2]);
            lut4::scan_u16(isa, &codes, 0..codes.blocks(), &four, allow, &mut got[3]);
            let by_row = || ByRow(new());
            let mut by_rows = [by_row(), by_row(), by_row(), by_row()];
            lut8::scan_u8(isa, &codes, 0..codes.blocks(), &eight, allow, &mut by_rows[0]);
            lut8::scan_u16(isa, &codes, 0..codes.blocks(), &eight, allow, &mut by_rows[1]);
            lut4::scan_u8(isa, &codes, 0..codes.blocks(), &four, allow, &mut by_rows[2]);
            lut4::scan_u16(isa, &codes, 0..codes.blocks(), &four, allow, &mut by_rows[3]);
            let got = got.map(sorted);
            assert!(by_rows.map(|hits| sorted(hits.0)) == got, "{isa}, m {m}, {rows} rows, limits of rows");
            for (got, want) in got.iter().zip([&want8[0], &want8[1], &want4[0], &want4[1]]) {
                assert!(got == want, "{isa}, m {m}, {rows} rows, limit {limit}");
            }
        }
    }
}

#[test]
fn every_number_of_columns_and_queries() {
    for m in 1..=260 {
        let rows = [1, 63, 64, 65, 130][m % 5] + if m % 40 == 0 { 600 } else { 0 };
        check_luts(m, rows, 1 + m % 6, [3, 20, 255][m % 3], m % 2 == 0, m as u64);
    }
}

#[test]
fn every_number_of_blocks_in_a_group() {
    for rows in (1..1300).step_by(61) {
        check_luts(5, rows, 9, 40, rows % 2 == 0, rows as u64);
    }
}

#[test]
fn products_and_distances_are_exact() {
    let mut rng = Rng::new(3);
    for round in 0..60 {
        let (quads, rows, queries) = (1 + round % 19, [1usize, 64, 65, 200][round % 4], 1 + round % 16);
        let (d, blocks) = (4 * quads, rows.div_ceil(64));
        let extreme = round % 3 == 0;
        let codes: Vec<u8> = (0..64 * blocks * d).map(|_| if extreme { 255 } else { rng.next_u64() as u8 }).collect();
        let x: Vec<Vec<i8>> =
            (0..queries).map(|_| (0..d).map(|_| if extreme { 63 } else { rng.below(127) as i8 - 63 }).collect()).collect();
        let x: Vec<&[i8]> = x.iter().map(|x| &x[..]).collect();
        let bits: Vec<u64> = (0..64 * blocks * quads).map(|_| rng.next_u64()).collect();
        let y: Vec<Vec<u64>> = (0..queries).map(|_| (0..quads).map(|_| rng.next_u64()).collect()).collect();
        let y: Vec<&[u64]> = y.iter().map(|y| &y[..]).collect();
        for isa in Isa::available() {
            let mut products = vec![vec![[0; 64]; blocks]; queries];
            dot(isa, &codes, rows, 0..blocks, &x, None, &mut Keep { first: 0, out: &mut products });
            let mut distances = vec![vec![[0; 64]; blocks]; queries];
            hamming(isa, &bits, rows, 0..blocks, &y, None, &mut Keep { first: 0, out: &mut distances });
            for q in 0..queries {
                for row in 0..rows {
                    let code = |i: usize| i32::from(codes[((row / 16) * quads + i / 4) * 64 + row % 16 * 4 + i % 4]);
                    let want: i32 = (0..d).map(|i| code(i) * i32::from(x[q][i])).sum();
                    assert_eq!(products[q][row / 64][row % 64], want, "{isa}, d {d}, row {row}");
                    let want: u32 = (0..quads).map(|w| (bits[(row / 8 * quads + w) * 8 + row % 8] ^ y[q][w]).count_ones()).sum();
                    assert_eq!(distances[q][row / 64][row % 64], want as i32, "{isa}, {quads} words, row {row}");
                }
            }
        }
    }
}

fn luts(width: Width, m: usize, queries: usize, kind: usize, rng: &mut Rng) -> Vec<Lut> {
    let value = |rng: &mut Rng| match kind {
        0 => rng.normal(),
        1 => rng.normal().powi(2) * 1e3,
        2 => rng.below(3) as f32,                                  // ties
        3 => 1e7 + rng.uniform(),                                  // rounding
        4 => 0.5,                                                  // all equal
        5 => rng.normal() * 10f32.powi(rng.below(60) as i32 - 30), // one table rules
        _ => f32::from_bits(rng.below(1000) as u32),               // subnormal
    };
    (0..queries).map(|_| Lut::new(width, (0..m * width.entries()).map(|_| value(rng)).collect()).expect("whole tables")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn integer_sums_bound_the_sums_of_f32(m in 1usize..260, kind in 0usize..7, eight: bool, share in 0f32..1.0, seed: u64) {
        let mut rng = Rng::new(seed);
        let lut = &luts(if eight { Width::Eight } else { Width::Four }, m, 1, kind, &mut rng)[0];
        let codes = codes(100, lut.columns(), &mut rng);
        let mut keys: Vec<f32> = (0..100).map(|row| lut.score(&codes, row)).collect();
        keys.sort_by(f32::total_cmp);
        let tau = keys[(99.0 * share) as usize];
        for tables in [Tables::spanning(lut), Tables::up_to(lut, tau.into())] {
            for row in 0..100 {
                let (block, lane, key) = (codes.block(row / 64), row % 64, lut.score(&codes, row));
                let eight = tables.eight().iter().zip(block).map(|(t, line)| u32::from(t[usize::from(line[lane])])).sum::<u32>();
                let four = tables.four().iter().zip(block).map(|(t, line)| {
                    u32::from(t[0][usize::from(line[lane] & 15)]) + u32::from(t[1][usize::from(line[lane] >> 4)])
                }).sum::<u32>();
                let sum = eight + four;
                let Bound { bias, step, .. } = tables.bound();
                prop_assert!(bias + step * f64::from(sum) <= f64::from(key), "{bias} + {step} * {sum} > {key}");
                prop_assert!(key > tau || sum <= tables.threshold(tau.into()));
            }
        }
    }
}

#[test]
fn blocks_keep_rows_through_changes_and_bytes() {
    let mut rng = Rng::new(5);
    let (mut a, b) = (codes(70, 3, &mut rng), codes(130, 3, &mut rng));
    a.extend_from(&b).unwrap();
    a.set(199, &[9, 8, 7]).unwrap();
    let mut opened = CodeBlocks::from_bytes(200, 3, a.as_bytes().to_vec()).unwrap();
    let (mut x, mut y) = ([0; 3], [0; 3]);
    for row in 0..199 {
        opened.get(row, &mut x).unwrap();
        if row >= 70 {
            b.get(row - 70, &mut y).unwrap();
            assert_eq!(x, y, "row {row}");
        }
    }
    opened.get(199, &mut x).unwrap();
    assert_eq!(x, [9, 8, 7]);
    opened.set(0, &[1, 2, 3]).unwrap();
    opened.get(0, &mut x).unwrap();
    assert_eq!(x, [1, 2, 3]);
    let text = CodeBlocks::from_bytes(200, 3, vec![0; 767]).unwrap_err().to_string();
    assert!(text.contains("768") && text.contains("767"), "{text}");
    assert!(opened.set(200, &[0; 3]).unwrap_err().to_string().contains("200"));
    assert!(opened.push(&[0; 4]).is_err());
}
