//! Text in codes of equal information: every 16-bit token stands for a string that a small byte model finds about as likely as any other's.
//!
//! After Equal-Info Windows (Lester et al. 2024, arXiv 2404.03626), where a model and its arithmetic coder start anew with each window of 16 bits:
//! such a window can only be one of 65,536 strings, so the coder is a dictionary. Here the dictionary is filled by probability, each string with
//! all its beginnings, and text is cut into the longest entries (Tunstall 1967). Every byte is an entry, so any bytes come back as they were.
//!
//! ```
//! use scant_prompt_compress::windows::Windows;
//! let windows = Windows::fit(&b"the cat sat on the mat and the cat slept. ".repeat(50))?;
//! let text = b"the cat sat on a \xff mat";
//! let tokens = windows.encode(text);
//! assert!(tokens.len() < text.len() / 2);
//! let mut back = vec![];
//! windows.decode(&tokens, &mut back);
//! assert_eq!(back, text);
//! # Ok::<(), scant_prompt_compress::Error>(())
//! ```

use crate::Error;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

/// Tokens of 16 bits.
const TOKENS: usize = 1 << 16;
/// Bytes of the longest entry.
const LONGEST: usize = 15;
/// Bytes before that the model sees.
const ORDER: usize = 5;

/// Interpolated Witten–Bell estimates of the next byte.
struct ByteModel {
    /// Contexts with the bytes that follow them, by the context's bytes with their number above.
    counts: [HashMap<u64, Vec<(u8, u32)>>; ORDER + 1],
}

impl ByteModel {
    fn fit(text: &[u8]) -> ByteModel {
        let mut counts: [HashMap<u64, Vec<(u8, u32)>>; ORDER + 1] = std::array::from_fn(|_| HashMap::new());
        for at in 0..text.len() {
            for (order, counts) in counts.iter_mut().enumerate().take(at + 1) {
                let after = counts.entry(key(&text[at - order..at])).or_default();
                match after.iter_mut().find(|(b, _)| *b == text[at]) {
                    Some((_, n)) => *n = n.saturating_add(1),
                    None => after.push((text[at], 1)),
                }
            }
        }
        ByteModel { counts }
    }

    /// The probability of each byte after `text`.
    fn next(&self, text: &[u8]) -> [f64; 256] {
        let mut p = [1.0 / 256.0; 256];
        for order in 0..=ORDER.min(text.len()) {
            let Some(after) = self.counts[order].get(&key(&text[text.len() - order..])) else { break };
            let n: f64 = after.iter().map(|(_, n)| f64::from(*n)).sum();
            let kinds = after.len() as f64;
            for p in &mut p {
                *p *= kinds / (n + kinds);
            }
            for (byte, count) in after {
                p[*byte as usize] += f64::from(*count) / (n + kinds);
            }
        }
        p
    }
}

fn key(context: &[u8]) -> u64 {
    context.iter().fold(0, |k, b| k << 8 | u64::from(*b))
}

/// A string that may become an entry.
struct Candidate {
    probability: f64,
    parent: u32,
    byte: u8,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Candidate) -> Ordering {
        self.probability.total_cmp(&other.probability).then_with(|| (other.parent, other.byte).cmp(&(self.parent, self.byte)))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Candidate) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Candidate) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

/// What a token stands for: its bytes, and their number in the last one, so that a cache line holds four.
#[derive(Clone, Copy, Debug)]
#[repr(align(16))]
struct Entry([u8; LONGEST + 1]);

impl Entry {
    fn len(&self) -> usize {
        self.0[LONGEST] as usize
    }

    fn bytes(&self) -> &[u8] {
        &self.0[..self.len()]
    }
}

/// A place of the double array: its children lie at `base + byte`, and it is the child of `parent`.
#[derive(Clone, Copy, Debug)]
struct Slot {
    base: u32,
    parent: u32,
}

const FREE: Slot = Slot { base: 0, parent: u32::MAX };
/// The place before the first byte: nothing's parent.
const NOTHING: u32 = 256;

/// Runs of a text that are encoded in turn.
const LANES: usize = 4;
/// Bytes of each.
const RUN: usize = 1024;

/// A dictionary of 65,536 strings.
#[derive(Clone, Debug)]
pub struct Windows {
    entries: Box<[Entry; TOKENS]>,
    /// The first 256 are the single bytes.
    slots: Vec<Slot>,
    tokens: Vec<u16>,
}

impl Windows {
    /// Fills a dictionary from a model of `text`. The same text gives the same dictionary.
    ///
    /// # Errors
    /// [`Error::EmptyText`].
    pub fn fit(text: &[u8]) -> Result<Windows, Error> {
        if text.is_empty() {
            return Err(Error::EmptyText { index: 0 });
        }
        let model = ByteModel::fit(text);
        let first = model.next(b"");
        let mut entries: Vec<Entry> = Vec::with_capacity(TOKENS);
        let mut children: Vec<Vec<(u8, u16)>> = vec![vec![]; TOKENS];
        let mut heap = BinaryHeap::new();
        let offer = |entry: &Entry, parent: u32, probability: f64, heap: &mut BinaryHeap<Candidate>| {
            if entry.len() < LONGEST {
                let next = model.next(entry.bytes());
                heap.extend((0..=255u8).map(|byte| Candidate { probability: probability * next[byte as usize], parent, byte }));
            }
        };
        for byte in 0..=255u8 {
            let mut entry = Entry([0; LONGEST + 1]);
            (entry.0[0], entry.0[LONGEST]) = (byte, 1);
            entries.push(entry);
            offer(&entry, u32::from(byte), first[byte as usize], &mut heap);
        }
        while let Some(best) = heap.pop().filter(|_| entries.len() < TOKENS) {
            let mut entry = entries[best.parent as usize];
            entry.0[entry.len()] = best.byte;
            entry.0[LONGEST] += 1;
            let token = entries.len();
            children[best.parent as usize].push((best.byte, token as u16));
            entries.push(entry);
            offer(&entry, token as u32, best.probability, &mut heap);
        }
        let (slots, tokens) = double_array(&children);
        // The heap does not run dry: every entry offers 256 candidates.
        let full = |entries: Vec<Entry>| Error::Coded { at: entries.len(), why: format!("a dictionary has {TOKENS} entries") };
        Ok(Windows { entries: entries.into_boxed_slice().try_into().map_err(|e: Box<[Entry]>| full(e.into_vec()))?, slots, tokens })
    }

    /// The string of a token.
    pub fn entry(&self, token: u16) -> &[u8] {
        self.entries[token as usize].bytes()
    }

    /// Cuts `text` into the longest entries, from its beginning on. Any bytes can be encoded.
    pub fn encode(&self, text: &[u8]) -> Vec<u16> {
        let mut tokens = Vec::with_capacity(text.len() / 2 + 1);
        let push = |tokens: &mut Vec<u16>, slot: u32| {
            // Nothing comes before the first byte.
            if slot != NOTHING {
                tokens.push(self.tokens[slot as usize]);
            }
        };
        let mut slot = NOTHING;
        let mut found = vec![[0; LANES]; RUN];
        let (blocks, rest) = text.as_chunks::<{ LANES * RUN }>();
        for block in blocks {
            let runs: &[[u8; RUN]; LANES] = block.as_chunks().0.first_chunk().expect("a block has `LANES` runs");
            // One step waits for the one before it, so several runs take theirs in turn. Each but the first starts as if a token began there.
            let mut ends = [NOTHING; LANES];
            let mut counts = [0; LANES];
            ends[0] = slot;
            #[expect(clippy::needless_range_loop, reason = "the same place of every run")]
            for at in 0..RUN {
                for lane in 0..LANES {
                    let (next, fresh) = self.step(ends[lane], runs[lane][at]);
                    found[counts[lane]][lane] = ends[lane];
                    counts[lane] += usize::from(fresh);
                    ends[lane] = next;
                }
            }
            for lane in 0..LANES {
                // From where a run's guess and the truth agree on, they agree to its end.
                let (mut guess, mut skipped) = (if lane == 0 { slot } else { NOTHING }, 0);
                let mut bytes = runs[lane].iter();
                while slot != guess
                    && let Some(byte) = bytes.next()
                {
                    let (next, fresh) = self.step(slot, *byte);
                    if fresh {
                        push(&mut tokens, slot);
                    }
                    slot = next;
                    let (next, fresh) = self.step(guess, *byte);
                    skipped += usize::from(fresh);
                    guess = next;
                }
                if slot == guess {
                    found[skipped..counts[lane]].iter().for_each(|found| push(&mut tokens, found[lane]));
                    slot = ends[lane];
                }
            }
        }
        for byte in rest {
            let (next, fresh) = self.step(slot, *byte);
            if fresh {
                push(&mut tokens, slot);
            }
            slot = next;
        }
        push(&mut tokens, slot);
        tokens
    }

    /// Where `byte` leads from a place, and whether a token ends before it.
    #[inline(always)]
    fn step(&self, slot: u32, byte: u8) -> (u32, bool) {
        let next = self.slots[slot as usize].base + u32::from(byte);
        let fresh = self.slots[next as usize].parent != slot;
        (if fresh { u32::from(byte) } else { next }, fresh)
    }

    /// Appends the bytes of `tokens` to `out`. Any tokens decode.
    pub fn decode(&self, tokens: &[u16], out: &mut Vec<u8>) {
        let mut at = out.len();
        let len = at + tokens.iter().map(|t| self.entries[*t as usize].len()).sum::<usize>();
        // Each entry is written whole; the next one overwrites what is not of it.
        out.resize(len + LONGEST + 1, 0);
        for token in tokens {
            let entry = &self.entries[*token as usize];
            out[at..at + LONGEST + 1].copy_from_slice(&entry.0);
            at += entry.len();
        }
        out.truncate(len);
    }
}

/// Lays the trie out so that a step is one addition and one comparison.
fn double_array(children: &[Vec<(u8, u16)>]) -> (Vec<Slot>, Vec<u16>) {
    let mut slots = vec![FREE; TOKENS + 512];
    let mut tokens = vec![0; TOKENS + 512];
    let mut place = vec![0u32; TOKENS];
    for byte in 0..256 {
        // Their own parents: nobody's children, and taken.
        slots[byte] = Slot { base: 0, parent: u32::MAX - 1 };
        tokens[byte] = byte as u16;
        place[byte] = byte as u32;
    }
    slots[NOTHING as usize] = Slot { base: 0, parent: u32::MAX - 1 };
    let mut lowest = 257;
    // Parents come before their children.
    for (token, edges) in children.iter().enumerate().filter(|(_, edges)| !edges.is_empty()) {
        let parent = place[token];
        while slots[lowest].parent != u32::MAX {
            lowest += 1;
        }
        let first = edges.iter().map(|(b, _)| *b as usize).min().unwrap_or(0);
        let mut base = lowest.saturating_sub(first).max(1);
        let mut misses = 0;
        loop {
            if base + 512 > slots.len() {
                slots.resize(base + 1024, FREE);
                tokens.resize(base + 1024, 0);
            }
            if edges.iter().all(|(b, _)| slots[base + *b as usize].parent == u32::MAX) {
                break;
            }
            base += 1;
            misses += 1;
        }
        // Crowded places are not searched again.
        if misses > 512 {
            lowest += 1;
        }
        slots[parent as usize].base = base as u32;
        for (byte, child) in edges {
            let slot = base + *byte as usize;
            slots[slot].parent = parent;
            tokens[slot] = *child;
            place[*child as usize] = slot as u32;
        }
    }
    // Any base with any byte stays inside.
    let reach = slots.iter().map(|s| s.base as usize + 256).max().unwrap_or(0);
    let len = slots.len().max(reach);
    slots.resize(len, FREE);
    tokens.resize(len, 0);
    (slots, tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static WINDOWS: LazyLock<Windows> =
        LazyLock::new(|| Windows::fit(&b"the cat sat on the mat, and the dog saw it sit. one two three four. ".repeat(40)).unwrap());

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..400), words in "[a-z ,.]{0,300}") {
            for text in [&bytes[..], words.as_bytes()] {
                let tokens = WINDOWS.encode(text);
                let pieces: Vec<u8> = tokens.iter().flat_map(|t| WINDOWS.entry(*t).to_vec()).collect();
                prop_assert_eq!(&pieces, text);
                let mut back = b"before".to_vec();
                WINDOWS.decode(&tokens, &mut back);
                prop_assert_eq!(&back[6..], text);
            }
        }
    }

    #[test]
    fn runs_taken_in_turn_give_what_one_walk_gives() {
        let mut state = 1u32;
        let mut word = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ["the ", "cat ", "sat ", "two, ", "zzzz"][(state >> 24) as usize % 5]
        };
        let words: String = (0..9000).map(|_| word()).collect();
        let noise: Vec<u8> = (0..5 * LANES * RUN).map(|i| ((i * i) >> 7) as u8).collect();
        for text in [words.as_bytes(), &noise, &[b't'; 3 * LANES * RUN + 5], &words.as_bytes()[..LANES * RUN]] {
            let mut want = vec![];
            let mut slot = u32::from(text[0]);
            for byte in &text[1..] {
                let (next, fresh) = WINDOWS.step(slot, *byte);
                if fresh {
                    want.push(WINDOWS.tokens[slot as usize]);
                }
                slot = next;
            }
            want.push(WINDOWS.tokens[slot as usize]);
            assert_eq!(WINDOWS.encode(text), want);
        }
    }

    #[test]
    fn entries_are_different_and_hold_their_beginnings() {
        let all: std::collections::HashMap<&[u8], usize> = WINDOWS.entries.iter().enumerate().map(|(i, e)| (e.bytes(), i)).collect();
        assert_eq!(all.len(), TOKENS);
        for (i, entry) in WINDOWS.entries.iter().enumerate().skip(256) {
            let bytes = entry.bytes();
            assert!(all[&bytes[..bytes.len() - 1]] < i);
        }
        assert!(matches!(Windows::fit(b""), Err(Error::EmptyText { .. })));
    }
}
