//! Every small damage a file can take.
//!
//! ```
//! use scant_testkit::corrupt;
//! // A reader of two digits that trusts its input: `file[1]` would panic on a cut file.
//! let read = |file: &[u8]| Some((*file.first()?, *file.get(1)?));
//! for (damage, file) in corrupt::every_way(b"42") {
//!     let answer = read(&file);
//!     assert!(answer.is_none() || file.len() == 2, "{damage}");
//! }
//! ```

use std::fmt;

/// What was done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Only this many bytes are left.
    Cut(usize),
    /// One bit of one byte was flipped.
    Flip {
        /// The byte.
        byte: usize,
        /// The bit, 0 the least significant.
        bit: u32,
    },
}

impl Damage {
    /// The damaged file.
    ///
    /// # Panics
    /// If the damage is not within `file`.
    pub fn apply(self, file: &[u8]) -> Vec<u8> {
        match self {
            Damage::Cut(len) => file[..len].to_vec(),
            Damage::Flip { byte, bit } => {
                let mut file = file.to_vec();
                file[byte] ^= 1 << bit;
                file
            }
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Cut(len) => write!(f, "cut to {len} bytes"),
            Damage::Flip { byte, bit } => write!(f, "bit {bit} of byte {byte} flipped"),
        }
    }
}

/// `file` cut to every length from 0 to one less than it has.
pub fn cuts(file: &[u8]) -> impl Iterator<Item = (Damage, Vec<u8>)> {
    (0..file.len()).map(move |len| (Damage::Cut(len), Damage::Cut(len).apply(file)))
}

/// `file` with every single bit flipped in turn.
pub fn flips(file: &[u8]) -> impl Iterator<Item = (Damage, Vec<u8>)> {
    (0..file.len()).flat_map(|byte| (0..8).map(move |bit| Damage::Flip { byte, bit })).map(move |flip| (flip, flip.apply(file)))
}

/// [`cuts`], then [`flips`]: quadratic in the file's length, so for files of a few KiB.
pub fn every_way(file: &[u8]) -> impl Iterator<Item = (Damage, Vec<u8>)> {
    cuts(file).chain(flips(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_damage_is_another_and_none_is_the_file() {
        let file = b"safe";
        let damaged: HashSet<Vec<u8>> = every_way(file).map(|(_, file)| file).collect();
        assert_eq!(damaged.len(), 4 + 4 * 8);
        assert!(!damaged.contains(&file[..]));
    }
}
