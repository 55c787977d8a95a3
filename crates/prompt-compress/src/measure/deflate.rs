//! The length that zlib's deflate would write, without writing it.
//!
//! zlib follows chains of places with the same hash of three bytes, which are long in text of few letters. Where no chain can reach zlib's limit,
//! the longest match, the nearest of equals, is found here by hashes of 3 to 8 bytes, longest first; elsewhere the chains are followed as zlib
//! does. Either way the choices, and so the lengths, are zlib's.

use super::huffman::Histogram;
use crate::Error;

const MIN: usize = 3;
const MAX: usize = 258;
const WINDOW: usize = 1 << 15;
const LOOKAHEAD: usize = MAX + MIN + 1;
const MAX_DISTANCE: usize = WINDOW - LOOKAHEAD;
/// A match of three bytes from farther away is none.
const TOO_FAR: usize = 4096;
/// Symbols of a block.
const BLOCK: u32 = (1 << 14) - 1;
/// Hashes of 3 to 8 bytes.
const LEVELS: usize = 6;
const BITS: u32 = 12;

/// zlib's tuning of a level.
#[derive(Clone, Copy, Debug)]
struct Tuning {
    good: usize,
    lazy: usize,
    nice: usize,
    chain: usize,
}

const TUNING: [Tuning; 9] = {
    const fn t(good: usize, lazy: usize, nice: usize, chain: usize) -> Tuning {
        Tuning { good, lazy, nice, chain }
    }
    [
        t(4, 4, 8, 4),
        t(4, 5, 16, 8),
        t(4, 6, 32, 32),
        t(4, 4, 16, 16),
        t(8, 16, 32, 32),
        t(8, 16, 128, 128),
        t(8, 32, 128, 256),
        t(32, 128, 258, 1024),
        t(32, 258, 258, 4096),
    ]
};

/// Where a parse stands.
#[derive(Clone, Debug)]
struct State {
    at: usize,
    block_start: usize,
    /// What the window has slid by.
    base: usize,
    length: usize,
    start: usize,
    pending: bool,
    histogram: Histogram,
    bits: u64,
}

/// Counts the bytes of raw deflate streams at one level, reusing its memory.
///
/// ```
/// let mut deflate = scant_prompt_compress::measure::Deflate::new(9)?;
/// assert_eq!(deflate.len(b""), 2);
/// assert!(deflate.len(&b"ACGT".repeat(1000)) < 40);
/// # Ok::<(), scant_prompt_compress::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Deflate {
    tuning: Tuning,
    lazy: bool,
    /// zlib's chains: the last place with a hash, and the one before each place.
    head: Vec<u32>,
    prev: Vec<u32>,
    /// The same for hashes of 4 to 8 bytes, one table after the other; `older[LEVELS * at + level]`, with zlib's at level 0.
    heads: Vec<u32>,
    older: Vec<u32>,
    /// How often a hash of three bytes was met.
    met: Vec<u32>,
    buffer: Vec<u8>,
    /// The parse up to where it does not depend on what follows the prefix.
    prefix: Option<(usize, State)>,
}

impl Deflate {
    /// At a level from 1 to 9.
    ///
    /// # Errors
    /// [`Error::LevelUnsupported`].
    pub fn new(level: u32) -> Result<Deflate, Error> {
        let i = (level as usize).wrapping_sub(1);
        let tuning = *TUNING.get(i).ok_or(Error::LevelUnsupported { codec: "deflate", level, there: "it has 1 to 9" })?;
        Ok(Deflate {
            tuning,
            lazy: level > 3,
            head: vec![0; 1 << 15],
            prev: vec![],
            heads: vec![0; LEVELS << BITS],
            older: vec![],
            met: vec![0; 1 << 15],
            buffer: vec![],
            prefix: None,
        })
    }

    /// Bytes of the raw stream for `text`.
    pub fn len(&mut self, text: &[u8]) -> u64 {
        self.set_prefix(b"");
        self.len_after(text)
    }

    /// Remembers the parse of `prefix` for [`Deflate::len_after`].
    pub fn set_prefix(&mut self, prefix: &[u8]) {
        self.head.fill(0);
        self.heads.fill(0);
        self.met.fill(0);
        self.buffer.clear();
        self.buffer.extend_from_slice(prefix);
        let mut state =
            State { at: 0, block_start: 0, base: 0, length: MIN - 1, start: 0, pending: false, histogram: Histogram::default(), bits: 0 };
        // A prefix that fills the window is parsed anew each time.
        if self.lazy && prefix.len() <= MAX_DISTANCE {
            self.grow(prefix.len());
            let buffer = std::mem::take(&mut self.buffer);
            self.parse::<true>(&buffer, &mut state, true);
            self.buffer = buffer;
        }
        self.prefix = Some((prefix.len(), state));
    }

    /// Bytes of the raw stream for the prefix and `text`: exactly what [`Deflate::len`] says of the two together.
    pub fn len_after(&mut self, text: &[u8]) -> u64 {
        let Some((prefix, state)) = self.prefix.take() else { return self.len(text) };
        self.buffer.truncate(prefix);
        self.buffer.extend_from_slice(text);
        let buffer = std::mem::take(&mut self.buffer);
        let mut parsed = state.clone();
        if self.lazy && buffer.len() <= MAX_DISTANCE {
            self.grow(buffer.len());
            self.parse::<true>(&buffer, &mut parsed, false);
            self.forget(&buffer, state.at);
        } else {
            parsed = State {
                at: 0,
                block_start: 0,
                base: 0,
                length: MIN - 1,
                start: 0,
                pending: false,
                histogram: Histogram::default(),
                bits: 0,
            };
            self.head.fill(0);
            self.prev.resize(WINDOW, 0);
            if self.lazy {
                self.parse::<false>(&buffer, &mut parsed, false);
            } else {
                self.parse_fast(&buffer, &mut parsed);
            }
            self.head.fill(0);
        }
        self.buffer = buffer;
        self.prefix = Some((prefix, state));
        parsed.bits.div_ceil(8)
    }

    fn grow(&mut self, len: usize) {
        if self.older.len() < LEVELS * len {
            self.older.resize(LEVELS * len, 0);
        }
    }

    /// Takes back what was noted from place `from` on.
    fn forget(&mut self, text: &[u8], from: usize) {
        for at in (from..(text.len() + 1).saturating_sub(MIN)).rev() {
            let hash = hash3(text, at);
            self.met[hash] -= 1;
            self.head[hash] = self.older[LEVELS * at];
            let keys = keys(text, at);
            for (level, key) in keys.iter().enumerate().skip(1) {
                self.heads[(level << BITS) + key] = self.older[LEVELS * at + level];
            }
        }
    }

    /// zlib's lazy evaluation. `SMALL` text fits the window whole. Stops where what follows matters if it is a `prefix`.
    fn parse<const SMALL: bool>(&mut self, text: &[u8], state: &mut State, prefix: bool) {
        let len = text.len();
        let mut s = state.clone();
        loop {
            if prefix && s.at + LOOKAHEAD + 8 > len {
                break;
            }
            slide(&mut s, len);
            if s.at >= len {
                break;
            }
            let (mut head, mut met) = (0, 0);
            if s.at + MIN <= len {
                (head, met) = self.note::<SMALL>(text, s.at);
            }
            let (before, before_start) = (s.length, s.start);
            s.length = MIN - 1;
            if before < self.tuning.lazy {
                let chain = if before >= self.tuning.good { self.tuning.chain >> 2 } else { self.tuning.chain };
                let found = if SMALL && met as usize <= chain {
                    self.longest(text, s.at, before)
                } else if head > s.base && s.at - head <= MAX_DISTANCE {
                    Some(self.follow::<SMALL>(text, &s, head, before, before_start))
                } else {
                    None
                };
                if let Some((length, start)) = found {
                    (s.length, s.start) = (length, start);
                    if s.length == MIN && s.at - s.start > TOO_FAR {
                        s.length = MIN - 1;
                    }
                }
            }
            if before >= MIN && s.length <= before {
                s.histogram.matched(before, s.at - 1 - before_start);
                let end = s.at - 1 + before;
                for at in s.at + 1..end {
                    if at + MIN <= len {
                        self.note::<SMALL>(text, at);
                    }
                }
                s.at = end;
                s.pending = false;
                s.length = MIN - 1;
                flush_full(&mut s);
            } else {
                if s.pending {
                    s.histogram.literal(text[s.at - 1]);
                    // The byte here is not part of the block.
                    flush_full(&mut s);
                }
                s.pending = true;
                s.at += 1;
            }
        }
        if !prefix {
            if s.pending {
                s.histogram.literal(text[s.at - 1]);
            }
            let bytes = (len - s.block_start) as u64;
            s.bits = s.histogram.flush(s.bits, bytes, s.block_start >= s.base);
        }
        *state = s;
    }

    /// zlib's greedy evaluation of levels 1 to 3.
    fn parse_fast(&mut self, text: &[u8], s: &mut State) {
        let len = text.len();
        loop {
            slide(s, len);
            if s.at >= len {
                break;
            }
            let mut found = (0, 0);
            if s.at + MIN <= len {
                let (head, _) = self.note::<false>(text, s.at);
                if head > s.base && s.at - head <= MAX_DISTANCE {
                    found = self.follow::<false>(text, s, head, MIN - 1, 0);
                }
            }
            let (length, start) = found;
            if length >= MIN {
                s.histogram.matched(length, s.at - start);
                let end = s.at + length;
                if length <= self.tuning.lazy && len - end >= MIN {
                    for at in s.at + 1..end {
                        self.note::<false>(text, at);
                    }
                }
                s.at = end;
            } else {
                s.histogram.literal(text[s.at]);
                s.at += 1;
            }
            if s.histogram.symbols == BLOCK {
                flush_at(s, s.at);
            }
        }
        let bytes = (len - s.block_start) as u64;
        s.bits = s.histogram.flush(s.bits, bytes, s.block_start >= s.base);
    }

    /// Notes the place; returns the last one with the same three bytes' hash, and how many there were.
    #[inline]
    fn note<const SMALL: bool>(&mut self, text: &[u8], at: usize) -> (usize, u32) {
        let hash = hash3(text, at);
        if SMALL {
            let keys = keys(text, at);
            let older = &mut self.older[LEVELS * at..LEVELS * at + LEVELS];
            older[0] = std::mem::replace(&mut self.head[hash], at as u32);
            for level in 1..LEVELS {
                let slot = &mut self.heads[(level << BITS) + keys[level]];
                older[level] = *slot;
                *slot = at as u32;
            }
            let met = &mut self.met[hash];
            *met += 1;
            return (older[0] as usize, *met);
        }
        let head = self.head[hash] as usize;
        self.prev[at % WINDOW] = head as u32;
        self.head[hash] = at as u32;
        (head, 0)
    }

    /// The longest match of more than `before` bytes, the nearest of equals; place 0 is none, as in zlib.
    #[inline]
    fn longest(&self, text: &[u8], at: usize, before: usize) -> Option<(usize, usize)> {
        let most = MAX.min(text.len() - at);
        let mut best = (before, usize::MAX);
        if before >= most {
            return None;
        }
        // The longest hash finds candidates of any greater length; the shorter ones need the nearest that is one.
        for level in (0..LEVELS).rev() {
            let k = level + MIN;
            if k > most {
                continue;
            }
            if k <= before && level + 1 < LEVELS {
                break;
            }
            let mut place = self.older[LEVELS * at + level] as usize;
            while place > 0 {
                if text[place + best.0] == text[at + best.0] {
                    let n = common(text, place, at, most);
                    if n > best.0 && n >= k {
                        best = (n, place);
                        if n >= self.tuning.nice.min(most) || level + 1 < LEVELS {
                            return Some(best);
                        }
                    }
                }
                place = self.older[LEVELS * place + level] as usize;
            }
            if best.1 != usize::MAX {
                return Some(best);
            }
        }
        None
    }

    /// Follows a chain as zlib does.
    fn follow<const SMALL: bool>(&self, text: &[u8], s: &State, head: usize, before: usize, start: usize) -> (usize, usize) {
        let most = MAX.min(text.len() - s.at);
        let nice = self.tuning.nice.min(text.len() - s.at);
        let mut chain = if before >= self.tuning.good { self.tuning.chain >> 2 } else { self.tuning.chain };
        let limit = s.base + (s.at - s.base).saturating_sub(MAX_DISTANCE);
        let (mut best, mut place) = ((before, start), head);
        loop {
            // Beyond the end nothing is longer.
            if best.0 < most && text[place + best.0 - 1..=place + best.0] == text[s.at + best.0 - 1..=s.at + best.0] {
                let n = common(text, place, s.at, most);
                if n > best.0 {
                    best = (n, place);
                    if n >= nice {
                        break;
                    }
                }
            }
            place = if SMALL { self.older[LEVELS * place] } else { self.prev[place % WINDOW] } as usize;
            chain -= 1;
            if place <= limit || chain == 0 {
                break;
            }
        }
        (best.0.min(text.len() - s.at), best.1)
    }
}

/// Slides the window where zlib refills it.
fn slide(s: &mut State, len: usize) {
    let end = len.min(s.base + 2 * WINDOW);
    if end - s.at < LOOKAHEAD && s.at - s.base >= WINDOW + MAX_DISTANCE {
        s.base += WINDOW;
    }
}

fn flush_full(s: &mut State) {
    if s.histogram.symbols == BLOCK {
        flush_at(s, s.at);
    }
}

/// Ends a block before the byte `at`.
fn flush_at(s: &mut State, at: usize) {
    s.bits = s.histogram.flush(s.bits, (at - s.block_start) as u64, s.block_start >= s.base);
    s.block_start = at;
    s.histogram = Histogram::default();
}

#[inline]
fn hash3(text: &[u8], at: usize) -> usize {
    let b = &text[at..at + 3];
    ((usize::from(b[0]) << 10) ^ (usize::from(b[1]) << 5) ^ usize::from(b[2])) & 0x7fff
}

/// Hashes of 4 to 8 bytes; the first is not used.
#[inline]
fn keys(text: &[u8], at: usize) -> [usize; LEVELS] {
    let mut bytes = [0; 8];
    let n = (text.len() - at).min(8);
    bytes[..n].copy_from_slice(&text[at..at + n]);
    let word = u64::from_le_bytes(bytes);
    let mut keys = [0; LEVELS];
    for (level, key) in keys.iter_mut().enumerate().skip(1) {
        let k = 8 * (level + MIN) as u32;
        *key = ((word << (64 - k)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS)) as usize;
    }
    keys
}

/// Equal bytes at two places, at most `most`.
#[inline]
fn common(text: &[u8], a: usize, b: usize, most: usize) -> usize {
    let (x, y) = (&text[a..a + most], &text[b..b + most]);
    let mut n = 0;
    for (p, q) in x.chunks_exact(8).zip(y.chunks_exact(8)) {
        let word = |c: &[u8]| c.iter().rev().fold(0u64, |w, b| w << 8 | u64::from(*b));
        let d = word(p) ^ word(q);
        if d != 0 {
            return n + d.trailing_zeros() as usize / 8;
        }
        n += 8;
    }
    n + x[n..].iter().zip(&y[n..]).take_while(|(p, q)| p == q).count()
}
