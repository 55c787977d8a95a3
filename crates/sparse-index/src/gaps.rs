//! Ascending numbers with a code of one byte each, in about two bytes an entry.
//!
//! ```text
//! (gap, code)      code 1..255: an entry, `gap` after the one before it
//! (gap, 0)         no entry: 256 * gap further on
//! ```
//! A gap of 255 or less takes one pair, one below 65,536 two. The decoder has no branch: a pair without entry adds a code of 0 somewhere.

/// The bytes that `encode` makes.
pub(crate) fn encoded_len(entries: impl Iterator<Item = u32>) -> usize {
    let mut at = 0;
    let mut pairs = 0;
    for to in entries {
        pairs += 1 + ((to - at) >> 8).div_ceil(255) as usize;
        at = to;
    }
    2 * pairs
}

/// Appends entries, which ascend and have codes above 0.
pub(crate) fn encode(entries: impl Iterator<Item = (u32, u8)>, out: &mut Vec<u8>) {
    let mut at = 0;
    for (to, code) in entries {
        debug_assert!(code > 0, "a code of 0 is no entry");
        let mut far = (to - at) >> 8;
        while far > 0 {
            let step = far.min(255);
            out.extend([step as u8, 0]);
            far -= step;
        }
        out.extend([((to - at) & 255) as u8, code]);
        at = to;
    }
}

/// The position after a pair.
#[inline(always)]
pub(crate) fn advance(at: u32, gap: u8, code: u8) -> u32 {
    at.wrapping_add(u32::from(gap) << (u32::from(code == 0) << 3))
}

/// Entries of well-formed bytes; of others, some entries.
pub(crate) fn decode(bytes: &[u8]) -> impl Iterator<Item = (u32, u8)> {
    let mut at = 0;
    bytes.as_chunks::<2>().0.iter().filter_map(move |[gap, code]| {
        at = advance(at, *gap, *code);
        (*code > 0).then_some((at, *code))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(gaps in prop::collection::vec((0u32..4, 0u32..300, 1u8..=255), 0..80)) {
            let mut at = 0;
            let entries: Vec<(u32, u8)> = gaps.iter().map(|(kind, gap, code)| {
                at += [*gap, 255 + gap % 3, 510 + gap % 4, 1000 * gap][*kind as usize];
                (at, *code)
            }).collect();
            let mut bytes = vec![];
            encode(entries.iter().copied(), &mut bytes);
            prop_assert_eq!(encoded_len(entries.iter().map(|e| e.0)), bytes.len());
            prop_assert_eq!(decode(&bytes).collect::<Vec<_>>(), entries);
        }
    }
}
