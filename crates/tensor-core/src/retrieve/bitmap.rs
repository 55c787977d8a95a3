//! A set of rows.

/// A set of rows below `len`: bit `row % 64` of word `row / 64`, which is the word that a scan of blocks of 64 rows wants.
///
/// ```
/// use scant_tensor_core::retrieve::Bitmap;
/// let mut rows = Bitmap::none(100);
/// rows.insert(3);
/// rows.insert(70);
/// assert_eq!(rows.words(), [1 << 3, 1 << 6]);
/// rows.complement();
/// assert_eq!(rows.count(), 98);
/// assert_eq!(rows.iter().next(), Some(0));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap {
    words: Vec<u64>,
    len: usize,
}

impl Bitmap {
    /// No row of `len`.
    pub fn none(len: usize) -> Bitmap {
        Bitmap { words: vec![0; len.div_ceil(64)], len }
    }

    /// Every row of `len`.
    pub fn all(len: usize) -> Bitmap {
        let mut bitmap = Bitmap { words: vec![u64::MAX; len.div_ceil(64)], len };
        bitmap.clear_tail();
        bitmap
    }

    /// The rows that `keep` says.
    pub fn from_fn(len: usize, mut keep: impl FnMut(usize) -> bool) -> Bitmap {
        let mut bitmap = Bitmap::none(len);
        for (w, word) in bitmap.words.iter_mut().enumerate() {
            let rows = 64 * w..(64 * w + 64).min(len);
            *word = rows.rev().fold(0, |word, row| word << 1 | u64::from(keep(row)));
        }
        bitmap
    }

    /// Takes words as they are; `None` if there are not `len / 64` of them, rounded up, or a bit at or above `len` is set.
    pub fn from_words(len: usize, words: Vec<u64>) -> Option<Bitmap> {
        let tail = words.last().filter(|_| !len.is_multiple_of(64)).map_or(0, |word| word >> (len % 64));
        (words.len() == len.div_ceil(64) && tail == 0).then_some(Bitmap { words, len })
    }

    fn clear_tail(&mut self) {
        if let Some(last) = self.words.last_mut().filter(|_| !self.len.is_multiple_of(64)) {
            *last &= (1 << (self.len % 64)) - 1;
        }
    }

    /// Rows there are, in the set or not.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there are no rows at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A word for each 64 rows; bits past the last row are 0.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Whether a row is in the set; rows that do not exist are not.
    #[inline]
    pub fn contains(&self, row: usize) -> bool {
        self.words.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Rows in the set.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The rows in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(w, word)| {
            let rest = |word: &u64| Some(word & (word - 1)).filter(|word| *word != 0);
            std::iter::successors(Some(*word).filter(|word| *word != 0), rest).map(move |word| 64 * w + word.trailing_zeros() as usize)
        })
    }

    /// Puts a row into the set.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn insert(&mut self, row: usize) {
        assert!(row < self.len, "row {row} of {}", self.len);
        self.words[row / 64] |= 1 << (row % 64);
    }

    /// Takes a row out of the set.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn remove(&mut self, row: usize) {
        assert!(row < self.len, "row {row} of {}", self.len);
        self.words[row / 64] &= !(1 << (row % 64));
    }

    /// Appends a row.
    pub fn push(&mut self, member: bool) {
        if self.len.is_multiple_of(64) {
            self.words.push(0);
        }
        self.len += 1;
        if member {
            self.insert(self.len - 1);
        }
    }

    /// Keeps the rows that are in `other` too.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn intersect(&mut self, other: &Bitmap) {
        assert_eq!(self.len, other.len, "bitmaps of different length");
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
    }

    /// Adds the rows of `other`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn unite(&mut self, other: &Bitmap) {
        assert_eq!(self.len, other.len, "bitmaps of different length");
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
    }

    /// Swaps members and non-members.
    pub fn complement(&mut self) {
        self.words.iter_mut().for_each(|word| *word = !*word);
        self.clear_tail();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_vector_of_booleans(a in prop::collection::vec(any::<bool>(), 0..200), seed in any::<u64>()) {
            let mut rng = crate::rng::Rng::new(seed);
            let b: Vec<bool> = a.iter().map(|_| rng.next_u64() & 1 == 1).collect();
            let map = |v: &[bool]| Bitmap::from_fn(v.len(), |i| v[i]);
            let zip = |f: fn(bool, bool) -> bool| a.iter().zip(&b).map(|(a, b)| f(*a, *b)).collect::<Vec<_>>();
            let (ma, mb) = (map(&a), map(&b));
            let mut and = ma.clone();
            and.intersect(&mb);
            prop_assert_eq!(&and, &map(&zip(|a, b| a && b)));
            let mut or = ma.clone();
            or.unite(&mb);
            prop_assert_eq!(&or, &map(&zip(|a, b| a || b)));
            let mut not = ma.clone();
            not.complement();
            prop_assert_eq!(&not, &map(&zip(|a, _| !a)));
            prop_assert_eq!(ma.count() + not.count(), a.len());
            prop_assert_eq!(ma.iter().collect::<Vec<_>>(), (0..a.len()).filter(|i| a[*i]).collect::<Vec<_>>());
            let mut pushed = Bitmap::default();
            a.iter().for_each(|m| pushed.push(*m));
            prop_assert_eq!(&pushed, &ma);
            prop_assert_eq!(Bitmap::from_words(a.len(), ma.words().to_vec()), Some(ma));
        }
    }

    #[test]
    fn words_with_bits_past_the_end_are_refused() {
        assert_eq!(Bitmap::from_words(3, vec![8]), None);
        assert_eq!(Bitmap::from_words(64, vec![]), None);
        assert_eq!(Bitmap::all(65).words(), [u64::MAX, 1]);
    }
}
