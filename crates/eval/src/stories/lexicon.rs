//! The word lists cut to a breadth, and a draw from each.

use super::words::{self, list};
use scant_tensor_core::rng::Rng;

/// A kind of word that a template names in braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Town,
    Object,
    Place,
    Animal,
    Food,
    Job,
    Colour,
    Adjective,
    Noun,
    Went,
    Did,
    Made,
    Adverb,
    Feeling,
    Day,
}

/// Somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) name: &'static str,
    pub(super) woman: bool,
}

impl Person {
    pub(super) fn he(&self) -> &'static str {
        if self.woman { "she" } else { "he" }
    }
    pub(super) fn him(&self) -> &'static str {
        if self.woman { "her" } else { "him" }
    }
    pub(super) fn his(&self) -> &'static str {
        if self.woman { "her" } else { "his" }
    }
}

/// Lists cut to a share of their words.
#[derive(Clone, Debug)]
pub(super) struct Lexicon {
    people: Vec<Person>,
    lists: Vec<Vec<&'static str>>,
    first_parts: Vec<&'static str>,
    second_parts: Vec<&'static str>,
    numbers: usize,
}

impl Lexicon {
    /// The first `breadth` of each list, at least 12 words of it.
    pub(super) fn new(breadth: f32) -> Lexicon {
        let count = |all: usize| ((all as f32 * breadth).ceil() as usize).clamp(12.min(all), all);
        let cut = |text: &'static str| {
            let mut words = list(text);
            words.truncate(count(words.len()));
            words
        };
        let women = cut(words::WOMEN).into_iter().map(|name| Person { name, woman: true });
        let men = cut(words::MEN).into_iter().map(|name| Person { name, woman: false });
        let texts = [
            words::TOWNS,
            words::OBJECTS,
            words::PLACES,
            words::ANIMALS,
            words::FOODS,
            words::JOBS,
            words::COLOURS,
            words::ADJECTIVES,
            words::NOUNS,
            words::WENT,
            words::DID,
            words::MADE,
            words::ADVERBS,
            words::FEELINGS,
            words::DAYS,
        ];
        Lexicon {
            people: women.zip(men).flat_map(|(a, b)| [a, b]).collect(),
            lists: texts.into_iter().map(cut).collect(),
            first_parts: cut(words::FIRST_PARTS),
            second_parts: cut(words::SECOND_PARTS),
            numbers: count(60),
        }
    }

    pub(super) fn word(&self, kind: Kind, rng: &mut Rng) -> &'static str {
        let words = &self.lists[kind as usize];
        words[rng.below(words.len())]
    }

    pub(super) fn person(&self, rng: &mut Rng) -> Person {
        self.people[rng.below(self.people.len())]
    }

    /// A number of two digits.
    pub(super) fn number(&self, rng: &mut Rng) -> usize {
        10 + rng.below(self.numbers)
    }

    /// A long name, such as Briarthorpe.
    pub(super) fn long_name(&self, rng: &mut Rng) -> String {
        let first = self.first_parts[rng.below(self.first_parts.len())];
        format!("{first}{}", self.second_parts[rng.below(self.second_parts.len())])
    }

    /// `n` different people, fewer if there are not so many.
    pub(super) fn people(&self, n: usize, rng: &mut Rng) -> Vec<Person> {
        pick(&self.people, n, rng)
    }

    /// `n` different words, fewer if there are not so many.
    pub(super) fn words(&self, kind: Kind, n: usize, rng: &mut Rng) -> Vec<&'static str> {
        pick(&self.lists[kind as usize], n, rng)
    }

    /// `n` different numbers, fewer if there are not so many.
    pub(super) fn numbers(&self, n: usize, rng: &mut Rng) -> Vec<usize> {
        pick(&(10..10 + self.numbers).collect::<Vec<_>>(), n, rng)
    }
}

/// `n` different items in random order.
fn pick<T: Copy>(from: &[T], n: usize, rng: &mut Rng) -> Vec<T> {
    let mut all = from.to_vec();
    let n = n.min(all.len());
    for i in 0..n {
        let j = i + rng.below(all.len() - i);
        all.swap(i, j);
    }
    all.truncate(n);
    all
}
