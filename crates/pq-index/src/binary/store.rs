//! Where codes lie, by how they are compared.

use super::codes::{BinaryCodes, level};
use crate::error::Error;
use crate::persist::corrupt;
use scant_tensor_core::file::{Dtype, File, Writer};
use scant_tensor_core::isa::Isa;
use scant_tensor_core::retrieve::Bitmap;
use scant_tensor_core::scan::{BLOCK, CodeBlocks, Keep, Lut, Width, dot, hamming, lut4};

/// Blocks whose integer sums are made at a time.
const RUN: usize = 32;

/// What codes are compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scoring {
    /// With codes only, in integers: bits that differ for one or two planes, products of bytes for more, which take a byte a component.
    Symmetric,
    /// With queries that are not encoded, by tables: the better ranking, and codes are packed whatever the number of planes.
    #[default]
    Asymmetric,
}

/// Codes of `m` components.
#[derive(Clone, Debug)]
pub(super) enum Store {
    /// For each plane `[rows / 8][words][8 rows]` of 64 bits.
    Planes(Vec<Vec<u64>>),
    /// `[rows / 16][m / 4][16 rows][4]`, a byte a component.
    Levels(Vec<u8>),
    /// Several components in a nibble, or one in a nibble or byte: what fits.
    Tables(CodeBlocks),
}

/// A query as a store wants it: integers that are multiplied by `weights`, or tables.
pub(super) enum Prepared {
    Words(Vec<Vec<u64>>),
    Digits(Vec<(i64, Vec<i8>)>),
    Lut(Lut),
}

/// How components share the entries of tables.
struct Sharing {
    width: Width,
    /// Components of a nibble, or of a byte.
    per: usize,
}

impl Sharing {
    fn new(planes: u32) -> Sharing {
        if planes <= 4 { Sharing { width: Width::Four, per: 4 / planes as usize } } else { Sharing { width: Width::Eight, per: 1 } }
    }

    fn columns(&self, m: usize) -> usize {
        match self.width {
            Width::Four => m.div_ceil(self.per).div_ceil(2),
            Width::Eight => m,
        }
    }
}

impl Store {
    pub(super) fn new(scoring: Scoring, m: usize, planes: u32) -> Store {
        match scoring {
            Scoring::Symmetric if planes == 2 => Store::Planes(vec![vec![]; 2]),
            // Bits that differ are looked up too, four at a time.
            _ if planes == 1 || scoring == Scoring::Asymmetric => Store::Tables(CodeBlocks::new(Sharing::new(planes).columns(m))),
            _ => Store::Levels(vec![]),
        }
    }

    /// Appends row `row`, the next one.
    pub(super) fn push(&mut self, row: usize, codes: &[u8], planes: u32) -> Result<(), Error> {
        let m = codes.len();
        match self {
            Store::Planes(stored) => {
                let words = m.div_ceil(64);
                for (t, plane) in stored.iter_mut().enumerate() {
                    if row.is_multiple_of(BLOCK) {
                        plane.resize(plane.len() + BLOCK * words, 0);
                    }
                    for (w, word) in words_of(codes, planes, t).into_iter().enumerate() {
                        plane[(row / 8 * words + w) * 8 + row % 8] = word;
                    }
                }
            }
            Store::Levels(bytes) => {
                let width = m.next_multiple_of(4);
                if row.is_multiple_of(BLOCK) {
                    bytes.resize(bytes.len() + BLOCK * width, 0);
                }
                for (j, code) in codes.iter().enumerate() {
                    bytes[row / 16 * 16 * width + j / 4 * 64 + row % 16 * 4 + j % 4] = *code;
                }
            }
            Store::Tables(blocks) => {
                let Sharing { width, per } = Sharing::new(planes);
                let entries =
                    codes.chunks(per).map(|part| part.iter().rev().fold(0u32, |entry, code| entry << planes | u32::from(*code)) as u8);
                let bytes: Vec<u8> = match width {
                    Width::Eight => entries.collect(),
                    Width::Four => {
                        let nibbles: Vec<u8> = entries.collect();
                        nibbles.chunks(2).map(|pair| pair[0] | pair.get(1).map_or(0, |high| high << 4)).collect()
                    }
                };
                blocks.push(&bytes)?;
            }
        }
        Ok(())
    }

    /// A query that is a code.
    pub(super) fn prepare(&self, codes: &BinaryCodes, i: usize) -> Result<Prepared, Error> {
        let planes = codes.planes();
        Ok(match self {
            Store::Planes(_) => Prepared::Words((0..planes as usize).map(|t| words_of(codes.row(i), planes, t)).collect()),
            Store::Levels(_) => {
                let mut levels: Vec<i32> = codes.levels(i).collect();
                levels.resize(codes.m().next_multiple_of(4), 0);
                let digits = |f: fn(i32) -> i32| levels.iter().map(|l| f(*l) as i8).collect();
                // Levels of seven planes and eight are no digits that `dot` takes.
                Prepared::Digits(if planes < 7 {
                    vec![(1, digits(|l| l))]
                } else {
                    vec![(16, digits(|l| l / 16)), (1, digits(|l| l % 16))]
                })
            }
            Store::Tables(_) => Prepared::Lut(lut(&codes.levels(i).map(|l| l as f32).collect::<Vec<_>>(), planes)?),
        })
    }

    /// Gives `take` the product of the query with the levels of every allowed row.
    pub(super) fn products(
        &self,
        query: &Prepared,
        m: usize,
        planes: u32,
        rows: usize,
        allow: Option<&Bitmap>,
        mut take: impl FnMut(usize, f64),
    ) {
        let (isa, words, blocks) = (Isa::best(), allow.map(Bitmap::words), rows.div_ceil(BLOCK));
        let mut each = |block: usize, sums: &mut dyn FnMut(usize) -> f64| {
            let there = u64::MAX >> (BLOCK - (rows - block * BLOCK).min(BLOCK));
            let mut rest = there & words.map_or(u64::MAX, |words| words[block]);
            while rest != 0 {
                let lane = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                take(block * BLOCK + lane, sums(lane));
            }
        };
        match (self, query) {
            (Store::Planes(stored), Prepared::Words(query)) => {
                let query: Vec<&[u64]> = query.iter().map(Vec::as_slice).collect();
                let top = planes as usize - 1;
                for first in (0..blocks).step_by(RUN) {
                    let run = first..blocks.min(first + RUN);
                    let mut sums = vec![[0i64; BLOCK]; run.len()];
                    for (s, plane) in stored.iter().enumerate() {
                        let mut keep = Keep { first, out: &mut vec![vec![[0i32; BLOCK]; run.len()]; query.len()] };
                        hamming(isa, plane, rows, run.clone(), &query, words, &mut keep);
                        for (t, differ) in keep.out.iter().enumerate() {
                            let weight = 1i64 << (2 * top - s - t);
                            for (sums, differ) in sums.iter_mut().zip(differ) {
                                sums.iter_mut().zip(differ).for_each(|(sum, h)| *sum += weight * (m as i64 - 2 * i64::from(*h)));
                            }
                        }
                    }
                    run.clone().for_each(|block| each(block, &mut |lane| sums[block - first][lane] as f64));
                }
            }
            (Store::Levels(bytes), Prepared::Digits(query)) => {
                let digits: Vec<&[i8]> = query.iter().map(|(_, digits)| digits.as_slice()).collect();
                // 2 code - top is the level of a row.
                let top = (1i64 << planes) - 1;
                let own: i64 = query.iter().map(|(w, d)| w * d.iter().map(|d| i64::from(*d)).sum::<i64>()).sum();
                for first in (0..blocks).step_by(RUN) {
                    let run = first..blocks.min(first + RUN);
                    let mut keep = Keep { first, out: &mut vec![vec![[0i32; BLOCK]; run.len()]; query.len()] };
                    dot(isa, bytes, rows, run.clone(), &digits, words, &mut keep);
                    for block in run {
                        let sum = |lane: usize| -> i64 {
                            query.iter().zip(keep.out.iter()).map(|((w, _), sums)| w * i64::from(sums[block - first][lane])).sum()
                        };
                        each(block, &mut |lane| (2 * sum(lane) - top * own) as f64);
                    }
                }
            }
            (Store::Tables(codes), Prepared::Lut(lut)) => {
                for block in 0..blocks {
                    if words.is_none_or(|words| words[block] != 0) {
                        let sums = lut.sums(codes.block(block));
                        each(block, &mut |lane| f64::from(sums[lane]));
                    }
                }
            }
            _ => unreachable!("a query is prepared by the store that it is for"),
        }
    }

    /// Bytes of a row.
    pub(super) fn row_bytes(&self, m: usize) -> usize {
        match self {
            Store::Planes(planes) => 8 * m.div_ceil(64) * planes.len(),
            Store::Levels(_) => m.next_multiple_of(4),
            Store::Tables(codes) => codes.columns(),
        }
    }

    pub(super) fn save(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
        match self {
            Store::Planes(planes) => {
                for (t, plane) in planes.iter().enumerate() {
                    writer.add(format!("plane.{t}"), Dtype::U64, [plane.len()], bytemuck::cast_slice(plane).to_vec())?;
                }
                Ok(())
            }
            Store::Levels(bytes) => Ok(writer.add("codes", Dtype::U8, [bytes.len()], bytes.clone())?),
            Store::Tables(codes) => Ok(writer.add("codes", Dtype::U8, [codes.as_bytes().len()], codes.as_bytes().to_vec())?),
        }
    }

    pub(super) fn load(file: &File, scoring: Scoring, m: usize, planes: u32, rows: usize) -> Result<Store, Error> {
        let empty = Store::new(scoring, m, planes);
        let size = |of_row: usize| {
            let blocks = rows.div_ceil(BLOCK);
            blocks.checked_mul(BLOCK * of_row).ok_or_else(|| corrupt("rows of codes", "as many as memory holds", rows))
        };
        Ok(match empty {
            Store::Planes(_) => {
                let len = size(m.div_ceil(64))?;
                let plane = |t: u32| Ok(file.typed::<u64>(&format!("plane.{t}"), [len])?.to_vec());
                Store::Planes((0..planes).map(plane).collect::<Result<_, Error>>()?)
            }
            Store::Levels(_) => Store::Levels(file.expect("codes", Dtype::U8, [size(m.next_multiple_of(4))?])?.to_vec()),
            Store::Tables(codes) => {
                let bytes = file.expect("codes", Dtype::U8, [size(codes.columns())?])?;
                Store::Tables(CodeBlocks::from_bytes(rows, codes.columns(), bytes)?)
            }
        })
    }
}

/// Tables of pairs of nibbles whose entries add up to the bits that differ from a code of one plane.
pub(super) fn bits_that_differ(codes: &[u8]) -> Vec<lut4::Pair> {
    let nibble = |part: &[u8]| part.iter().rev().fold(0, |nibble, bit| nibble << 1 | bit);
    let table = |part: &[u8]| std::array::from_fn(|other| (other as u8 ^ nibble(part)).count_ones() as u8);
    codes.chunks(8).map(|byte| [table(&byte[..byte.len().min(4)]), table(byte.get(4..).unwrap_or_default())]).collect()
}

/// Plane `t` of a code, the signs first, as words.
pub(super) fn words_of(codes: &[u8], planes: u32, t: usize) -> Vec<u64> {
    let bit = |code: u8| u64::from(code >> (planes as usize - 1 - t) & 1);
    codes.chunks(64).map(|part| part.iter().rev().fold(0, |word, code| word << 1 | bit(*code))).collect()
}

/// Tables whose entries add up to the product of `q` with the levels of a row.
pub(super) fn lut(q: &[f32], planes: u32) -> Result<Lut, Error> {
    let Sharing { width, per } = Sharing::new(planes);
    let mask = ((1u16 << planes) - 1) as u8;
    let mut values = Vec::with_capacity(q.len().div_ceil(per) * width.entries());
    for part in q.chunks(per) {
        let entry = |code: usize| {
            part.iter().enumerate().map(|(i, q)| q * level((code >> (planes as usize * i)) as u8 & mask, planes) as f32).sum::<f32>()
        };
        values.extend((0..width.entries()).map(entry));
    }
    Ok(Lut::new(width, values)?)
}
