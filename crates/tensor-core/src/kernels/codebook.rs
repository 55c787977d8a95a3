//! Products with additive codebooks: the codewords that a row names are multiplied with the input as they are fetched.
//!
//! A codeword of eight weights is half of the lanes, so two groups make one multiplication, and 2 codebooks of 256 words stay in the first
//! cache. Tables of all words' products would cost `2^bits` products a group before the first row, more than matrices of a thousand rows
//! have codes there. Even and odd pairs and codebooks have sums of their own, added in a fixed order: tiers and batch sizes agree bit for bit.

use crate::format::{Codebook, Codes};
use crate::prepared::Prepared;
use crate::simd::{Simd, WithSimd};
use ndarray::ArrayViewMut2;
use std::ops::Range;

/// `y[.., rows] += x W[rows]^T`; `y` is `[tokens, rows.len()]` with contiguous rows.
pub(crate) fn accumulate(w: &Codebook, x: &Prepared, rows: Range<usize>, y: &mut ArrayViewMut2<'_, f32>) {
    match (w.codes(), w.spec().group_size) {
        (Codes::U8(codes), 4) => x.isa().run(Rows::<'_, '_, u8, 4> { w, codes, x, rows, y }),
        (Codes::U8(codes), 8) => x.isa().run(Rows::<'_, '_, u8, 8> { w, codes, x, rows, y }),
        (Codes::U8(codes), _) => x.isa().run(Rows::<'_, '_, u8, 16> { w, codes, x, rows, y }),
        (Codes::U16(codes), 4) => x.isa().run(Rows::<'_, '_, u16, 4> { w, codes, x, rows, y }),
        (Codes::U16(codes), 8) => x.isa().run(Rows::<'_, '_, u16, 8> { w, codes, x, rows, y }),
        (Codes::U16(codes), _) => x.isa().run(Rows::<'_, '_, u16, 16> { w, codes, x, rows, y }),
    }
}

/// A code of 8 or 16 bits.
trait Code: Copy {
    fn place(self) -> usize;
}

impl Code for u8 {
    #[inline(always)]
    fn place(self) -> usize {
        usize::from(self)
    }
}

impl Code for u16 {
    #[inline(always)]
    fn place(self) -> usize {
        usize::from(self)
    }
}

struct Rows<'a, 'y, C, const G: usize> {
    w: &'a Codebook,
    codes: &'a [C],
    x: &'a Prepared,
    rows: Range<usize>,
    y: &'a mut ArrayViewMut2<'y, f32>,
}

impl<C: Code, const G: usize> WithSimd for Rows<'_, '_, C, G> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let spec = self.w.spec();
        let per_row = spec.groups() * spec.books;
        let (words, _) = self.w.words().as_chunks::<G>();
        for t in 0..self.x.tokens() {
            let (x, _) = self.x.padded_row(t).as_chunks::<16>();
            for (out, i) in self.rows.clone().enumerate() {
                let codes = &self.codes[i * per_row..][..per_row];
                let mut acc = [[s.splat(0.0); 2]; 2];
                let mut book = 0;
                while book < spec.books {
                    let of = |book: usize| &words[book * spec.words()..][..spec.words()];
                    if book + 1 < spec.books {
                        acc = row::<S, C, G, 2>(s, [of(book), of(book + 1)], &codes[book..], spec.books, x, acc);
                        book += 2;
                    } else {
                        acc = row::<S, C, G, 1>(s, [of(book); 2], &codes[book..], spec.books, x, acc);
                        book += 1;
                    }
                }
                let sum = s.add(s.add(acc[0][0], acc[0][1]), s.add(acc[1][0], acc[1][1]));
                self.y[[t, out]] += self.w.scale()[i].to_f32() * s.sum(sum);
            }
        }
    }
}

/// What `BOOKS` codebooks add to the sums of a row. `stride` codes belong to a group, of which the first are these codebooks'.
#[inline(always)]
fn row<S: Simd, C: Code, const G: usize, const BOOKS: usize>(
    s: S,
    books: [&[[f32; G]]; 2],
    codes: &[C],
    stride: usize,
    x: &[[f32; 16]],
    mut acc: [[S::F; 2]; 2],
) -> [[S::F; 2]; 2] {
    let groups = codes.len().div_ceil(stride);
    // Codes of 16 columns.
    let (step, whole) = (16 / G * stride, groups / (16 / G));
    macro_rules! columns {
        ($p:expr, $parity:literal) => {
            let (codes, x) = (&codes[$p * step..], s.load(&x[$p]));
            acc[0][$parity] = s.mul_add(words::<S, C, G>(s, books[0], codes, stride), x, acc[0][$parity]);
            if BOOKS == 2 {
                acc[1][$parity] = s.mul_add(words::<S, C, G>(s, books[1], &codes[1..], stride), x, acc[1][$parity]);
            }
        };
    }
    for pair in 0..whole / 2 {
        columns!(2 * pair, 0);
        columns!(2 * pair + 1, 1);
    }
    if whole % 2 == 1 {
        columns!(whole - 1, 0);
    }
    let rest = groups - whole * (16 / G);
    if rest > 0 {
        for b in 0..BOOKS {
            let mut tail = [0.0; 16];
            for k in 0..rest {
                tail[k * G..][..G].copy_from_slice(&books[b][codes[whole * step + k * stride + b].place()]);
            }
            acc[b][1] = s.mul_add(s.load(&tail), s.load(&x[whole]), acc[b][1]);
        }
    }
    acc
}

/// The words of 16 columns side by side.
#[inline(always)]
fn words<S: Simd, C: Code, const G: usize>(s: S, book: &[[f32; G]], codes: &[C], stride: usize) -> S::F {
    let mut joined = [0.0; 16];
    if G == 8 {
        let (low, high) = (&book[codes[0].place()], &book[codes[stride].place()]);
        if let (Some(low), Some(high)) = (low.first_chunk(), high.first_chunk()) {
            return s.load_halves(low, high);
        }
    }
    for k in 0..16 / G {
        joined[k * G..][..G].copy_from_slice(&book[codes[k * stride].place()]);
    }
    s.load(&joined)
}
