//! Small numbers in 32-bit words, from the least bit on.

/// Number `i` of a contiguous stream of `bits`-bit numbers.
pub(super) fn get(words: impl Fn(usize) -> i32, bits: u32, i: usize) -> u8 {
    let bit = i * bits as usize;
    let low = u64::from(words(bit / 32).cast_unsigned());
    let high = if bit % 32 + bits as usize > 32 { u64::from(words(bit / 32 + 1).cast_unsigned()) } else { 0 };
    #[expect(clippy::cast_possible_truncation, reason = "the mask leaves 8 bits at most")]
    let value = ((low | high << 32) >> (bit % 32) & ((1 << bits) - 1)) as u8;
    value
}

/// Puts number `i` into a stream of zeroed words, of which `at(k)` is the place of word `k`.
pub(super) fn put(words: &mut [i32], at: impl Fn(usize) -> usize, bits: u32, i: usize, value: u8) {
    let bit = i * bits as usize;
    let shifted = u64::from(value) << (bit % 32);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let halves = [shifted as u32, (shifted >> 32) as u32];
    words[at(bit / 32)] |= halves[0].cast_signed();
    if halves[1] != 0 {
        words[at(bit / 32 + 1)] |= halves[1].cast_signed();
    }
}

/// Words of a stream of `count` numbers.
pub(super) fn len(bits: u32, count: usize) -> usize {
    (count * bits as usize).div_ceil(32)
}
