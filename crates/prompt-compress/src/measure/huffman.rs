//! What a deflate block costs, with the very trees that zlib builds.

/// Literals, the end of a block, lengths.
pub(super) const LITERALS: usize = 286;
pub(super) const DISTANCES: usize = 30;
const END: usize = 256;
/// Nodes that the largest tree can have, and one.
const HEAP: usize = 2 * LITERALS + 1;
const CODE_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Which length code, counted from 257, a match length from 3 to 258 has.
pub(super) fn length_code(length: usize) -> usize {
    match length - 3 {
        255 => 28,
        n @ 0..8 => n,
        n => {
            let bits = n.ilog2() as usize;
            4 * (bits - 1) + ((n >> (bits - 2)) & 3)
        }
    }
}

fn length_extra(code: usize) -> u64 {
    if !(8..28).contains(&code) { 0 } else { code as u64 / 4 - 1 }
}

/// Which code a distance from 1 on has.
pub(super) fn distance_code(distance: usize) -> usize {
    match distance - 1 {
        n @ 0..4 => n,
        n => {
            let bits = n.ilog2() as usize;
            2 * bits + ((n >> (bits - 1)) & 1)
        }
    }
}

fn distance_extra(code: usize) -> u64 {
    (code as u64 / 2).saturating_sub(1)
}

/// How often each symbol occurs in a block.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    pub(super) literals: [u32; LITERALS],
    pub(super) distances: [u32; DISTANCES],
    /// Symbols, matches counted once.
    pub(super) symbols: u32,
}

impl Default for Histogram {
    fn default() -> Histogram {
        let mut literals = [0; LITERALS];
        literals[END] = 1;
        Histogram { literals, distances: [0; DISTANCES], symbols: 0 }
    }
}

impl Histogram {
    pub(super) fn literal(&mut self, byte: u8) {
        self.literals[byte as usize] += 1;
        self.symbols += 1;
    }

    pub(super) fn matched(&mut self, length: usize, distance: usize) {
        self.literals[END + 1 + length_code(length)] += 1;
        self.distances[distance_code(distance)] += 1;
        self.symbols += 1;
    }

    /// Bits after this block if there were `bits` before; `stored` is the number of its bytes, if they could be stored as they are.
    pub(super) fn flush(&self, bits: u64, bytes: u64, can_store: bool) -> u64 {
        let literals = tree(&self.literals, LITERALS, 15);
        let distances = tree(&self.distances, DISTANCES, 15);
        let mut codes = [0; 19];
        scan(&literals.lengths[..=literals.last], &mut codes);
        scan(&distances.lengths[..=distances.last], &mut codes);
        let header = tree(&codes, 19, 7);
        let sent = (3..19).rev().find(|i| header.lengths[CODE_ORDER[*i]] != 0).unwrap_or(2);
        let mut dynamic = literals.bits + distances.bits + header.bits + 3 * (sent as u64 + 1) + 14;
        dynamic += 2 * u64::from(codes[16]) + 3 * u64::from(codes[17]) + 7 * u64::from(codes[18]);
        let mut fixed = 0;
        for (symbol, n) in self.literals.iter().enumerate() {
            let length = match symbol {
                0..144 => 8,
                144..256 => 9,
                256..280 => 7,
                _ => 8,
            };
            fixed += u64::from(*n) * length;
        }
        let extra: u64 = self.literals[END + 1..].iter().enumerate().map(|(c, n)| u64::from(*n) * length_extra(c)).sum::<u64>()
            + self.distances.iter().enumerate().map(|(c, n)| u64::from(*n) * distance_extra(c)).sum::<u64>();
        fixed += extra + 5 * self.distances.iter().map(|n| u64::from(*n)).sum::<u64>();
        dynamic += extra;
        let best = ((dynamic + 10) / 8).min((fixed + 10) / 8);
        if bytes + 4 <= best && can_store {
            return (bits + 3).next_multiple_of(8) + 32 + 8 * bytes;
        }
        bits + 3 + if (fixed + 10) / 8 == best { fixed } else { dynamic }
    }
}

struct Tree {
    lengths: [u8; LITERALS],
    /// The last symbol that has a code.
    last: usize,
    /// Bits of all symbols, without extra bits.
    bits: u64,
}

/// The lengths of a Huffman code of at most `most` bits, with zlib's ties.
fn tree(counts: &[u32], elements: usize, most: usize) -> Tree {
    let mut freq = [0u32; HEAP];
    let mut depth = [0u8; HEAP];
    let mut dad = [0u16; HEAP];
    let mut len = [0u8; HEAP];
    let mut heap = [0u16; HEAP + 1];
    let (mut heap_len, mut last) = (0usize, 0usize);
    let mut any = false;
    for (n, count) in counts.iter().enumerate() {
        freq[n] = *count;
        if *count != 0 {
            heap_len += 1;
            heap[heap_len] = n as u16;
            last = n;
            any = true;
        }
    }
    // A tree has two codes at least; they cost nothing, since nothing uses them.
    let mut forced = [usize::MAX; 2];
    let mut max_code = if any { last as isize } else { -1 };
    for slot in &mut forced {
        if heap_len >= 2 {
            break;
        }
        let node = if max_code < 2 {
            max_code += 1;
            max_code as usize
        } else {
            0
        };
        heap_len += 1;
        heap[heap_len] = node as u16;
        freq[node] = 1;
        *slot = node;
    }
    let last = max_code as usize;
    let smaller = |freq: &[u32; HEAP], depth: &[u8; HEAP], a: u16, b: u16| {
        let (a, b) = (a as usize, b as usize);
        freq[a] < freq[b] || (freq[a] == freq[b] && depth[a] <= depth[b])
    };
    let down = |heap: &mut [u16; HEAP + 1], heap_len: usize, freq: &[u32; HEAP], depth: &[u8; HEAP], mut k: usize| {
        let v = heap[k];
        let mut j = 2 * k;
        while j <= heap_len {
            if j < heap_len && smaller(freq, depth, heap[j + 1], heap[j]) {
                j += 1;
            }
            if smaller(freq, depth, v, heap[j]) {
                break;
            }
            heap[k] = heap[j];
            k = j;
            j *= 2;
        }
        heap[k] = v;
    };
    for k in (1..=heap_len / 2).rev() {
        down(&mut heap, heap_len, &freq, &depth, k);
    }
    let mut sorted = [0u16; HEAP];
    let mut top = HEAP;
    let mut node = elements;
    loop {
        let n = heap[1];
        heap[1] = heap[heap_len];
        heap_len -= 1;
        down(&mut heap, heap_len, &freq, &depth, 1);
        let m = heap[1];
        sorted[top - 1] = n;
        sorted[top - 2] = m;
        top -= 2;
        let (n, m) = (n as usize, m as usize);
        freq[node] = freq[n] + freq[m];
        depth[node] = depth[n].max(depth[m]) + 1;
        dad[n] = node as u16;
        dad[m] = node as u16;
        heap[1] = node as u16;
        node += 1;
        down(&mut heap, heap_len, &freq, &depth, 1);
        if heap_len < 2 {
            break;
        }
    }
    top -= 1;
    sorted[top] = heap[1];

    let mut by_length = [0i32; 16];
    let mut overflow = 0i32;
    len[sorted[top] as usize] = 0;
    for n in &sorted[top + 1..] {
        let n = *n as usize;
        let mut bits = len[dad[n] as usize] as usize + 1;
        if bits > most {
            bits = most;
            overflow += 1;
        }
        len[n] = bits as u8;
        if n <= last {
            by_length[bits] += 1;
        }
    }
    if overflow > 0 {
        while overflow > 0 {
            let mut bits = most - 1;
            while by_length[bits] == 0 {
                bits -= 1;
            }
            by_length[bits] -= 1;
            by_length[bits + 1] += 2;
            by_length[most] -= 1;
            overflow -= 2;
        }
        let mut h = HEAP;
        for bits in (1..=most).rev() {
            let mut n = by_length[bits];
            while n > 0 {
                h -= 1;
                let m = sorted[h] as usize;
                if m <= last {
                    len[m] = bits as u8;
                    n -= 1;
                }
            }
        }
    }
    let mut lengths = [0; LITERALS];
    lengths[..=last].copy_from_slice(&len[..=last]);
    let bits = counts.iter().enumerate().map(|(n, count)| u64::from(*count) * u64::from(len[n])).sum();
    Tree { lengths, last, bits }
}

/// Counts the codes that write `lengths`.
fn scan(lengths: &[u8], codes: &mut [u32; 19]) {
    let (mut at, mut before) = (0, u8::MAX);
    while at < lengths.len() {
        let length = lengths[at];
        let most = match length {
            0 => 138,
            l if l == before => 6,
            _ => 7,
        };
        let run = lengths[at..].iter().take(most).take_while(|l| **l == length).count();
        let least = if length != 0 && length != before { 4 } else { 3 };
        if run < least {
            codes[length as usize] += run as u32;
        } else if length != 0 {
            codes[length as usize] += u32::from(length != before);
            codes[16] += 1;
        } else if run <= 10 {
            codes[17] += 1;
        } else {
            codes[18] += 1;
        }
        before = length;
        at += run;
    }
}
