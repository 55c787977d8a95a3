//! Texts become words.

use std::collections::HashMap;

/// How a text is cut into words. None stems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Analyzer {
    /// Runs of letters and digits, in lower case, up to 40 bytes: tantivy's default.
    Words,
    /// Runs of two and more letters, digits and underscores, in lower case: bm25s's, without its stop words.
    LongWords,
}

impl Analyzer {
    /// Calls `f` with each word in order.
    pub fn each(self, text: &str, mut f: impl FnMut(&str)) {
        let text = text.to_lowercase();
        match self {
            Analyzer::Words => text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty() && w.len() <= 40).for_each(f),
            Analyzer::LongWords => {
                let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
                words.filter(|w| w.chars().nth(1).is_some()).for_each(&mut f);
            }
        }
    }
}

/// Words by number, in the order in which they came.
///
/// ```
/// use scant_sparse_index::Lexicon;
/// let mut lexicon = Lexicon::default();
/// assert_eq!((lexicon.add("wing"), lexicon.add("wind"), lexicon.add("wing")), (0, 1, 0));
/// assert_eq!(lexicon.get("heat"), None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Lexicon {
    numbers: HashMap<String, u32>,
}

impl Lexicon {
    /// The number of a word, a new one if it is new.
    pub fn add(&mut self, word: &str) -> u32 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        let number = self.numbers.len() as u32;
        self.numbers.insert(word.to_owned(), number);
        number
    }

    /// The number of a word that is there.
    pub fn get(&self, word: &str) -> Option<u32> {
        self.numbers.get(word).copied()
    }
}
