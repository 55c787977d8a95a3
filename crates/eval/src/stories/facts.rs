//! Relations between a key and a value, and the ways to state and to ask for one.

use super::lexicon::{Kind, Lexicon};
use scant_tensor_core::rng::Rng;

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Relation {
    /// The town a person lives in.
    Home,
    /// What a person works as.
    Job,
    /// What a person likes to eat best.
    Food,
    /// The animal a person keeps.
    Pet,
    /// A person's best friend.
    Friend,
    /// Where an object lies.
    Spot,
    /// What an object costs, in coins.
    Price,
    /// The colour of an object.
    Colour,
    /// Whose an object is.
    Owner,
}

impl Relation {
    /// All of them.
    pub const ALL: [Relation; 9] = [
        Relation::Home,
        Relation::Job,
        Relation::Food,
        Relation::Pet,
        Relation::Friend,
        Relation::Spot,
        Relation::Price,
        Relation::Colour,
        Relation::Owner,
    ];

    /// True if the key is a person, false for an object.
    pub(super) fn of_person(self) -> bool {
        matches!(self, Relation::Home | Relation::Job | Relation::Food | Relation::Pet | Relation::Friend)
    }

    /// Different values, at most `n`; `keys` are not among them.
    pub(super) fn values(self, lexicon: &Lexicon, keys: &[String], n: usize, rng: &mut Rng) -> Vec<String> {
        let words = |kind, rng: &mut Rng| lexicon.words(kind, n, rng).into_iter().map(str::to_owned).collect();
        match self {
            Relation::Home => words(Kind::Town, rng),
            Relation::Job => words(Kind::Job, rng),
            Relation::Food => words(Kind::Food, rng),
            Relation::Pet => words(Kind::Animal, rng),
            Relation::Spot => words(Kind::Place, rng),
            Relation::Colour => words(Kind::Colour, rng),
            Relation::Price => lexicon.numbers(n, rng).into_iter().map(|n| n.to_string()).collect(),
            Relation::Friend | Relation::Owner => {
                let people = lexicon.people(n + keys.len(), rng).into_iter().map(|p| p.name.to_owned());
                people.filter(|p| !keys.contains(p)).take(n).collect()
            }
        }
    }

    /// How a list of these facts is announced.
    pub(super) fn title(self) -> &'static [&'static str] {
        match self {
            Relation::Home => &["Where they live.", "The towns they live in.", "Homes."],
            Relation::Job => &["What they work as.", "Who does what in the village.", "Jobs."],
            Relation::Food => &["What they like best.", "The food that each of them likes.", "Food."],
            Relation::Pet => &["Their animals.", "Who has which animal.", "Pets."],
            Relation::Friend => &["Best friends.", "Who is whose friend."],
            Relation::Spot => &["Where things are.", "Where to find what.", "Things and places."],
            Relation::Price => &["Prices in coins.", "What things cost.", "At the market."],
            Relation::Colour => &["Colours.", "What colour the things are."],
            Relation::Owner => &["Whose things they are.", "Owners."],
        }
    }

    /// Statements with the key before the value; the first has the key right before it.
    pub(super) fn statements(self) -> &'static [&'static str] {
        match self {
            Relation::Home => &[
                "{k} lives in {v}.",
                "{k} has a house in {v}.",
                "The home of {k} is in {v}.",
                "\"Where do you live?\" they asked {k}. \"In {v},\" said {k}.",
                "Long ago {k} moved to {v}.",
            ],
            Relation::Job => &[
                "{k} works as a {v}.",
                "{k} is the {v} of the village.",
                "Everybody knows that {k} is a {v}.",
                "\"What is your work?\" they asked {k}. \"I am a {v},\" said {k}.",
            ],
            Relation::Food => {
                &["{k} likes {v} best.", "{k} would eat {v} every day.", "For the feast {k} brought {v}.", "\"I like {v},\" said {k}."]
            }
            Relation::Pet => {
                &["{k} has a {v}.", "{k} keeps a {v} at home.", "The animal of {k} is a {v}.", "\"Look at my {v}!\" said {k}."]
            }
            Relation::Friend => &[
                "{k} has a friend called {v}.",
                "{k} is the best friend of {v}.",
                "Every day {k} played with {v}.",
                "The best friend of {k} is {v}.",
            ],
            Relation::Spot => &[
                "The {k} is in the {v}.",
                "Somebody put the {k} in the {v}.",
                "They found the {k} in the {v}.",
                "\"Where is the {k}?\" \"It is in the {v}.\"",
            ],
            Relation::Price => &[
                "The {k} costs {v} coins.",
                "At the market the {k} costs {v} coins.",
                "They sold the {k} for {v} coins.",
                "\"How much is the {k}?\" \"It is {v} coins.\"",
            ],
            Relation::Colour => &["The {k} is {v}.", "Somebody painted the {k} {v}.", "The colour of the {k} is {v}."],
            Relation::Owner => &[
                "The {k} belongs to {v}.",
                "The {k} was a gift for {v}.",
                "They gave the {k} to {v}.",
                "\"Whose is the {k}?\" \"It is mine,\" said {v}.",
            ],
        }
    }

    /// Questions; each goes with every answer.
    pub(super) fn questions(self) -> &'static [&'static str] {
        match self {
            Relation::Home => &["Where does {k} live?", "In which town is the home of {k}?"],
            Relation::Job => &["What does {k} work as?", "What is the work of {k}?"],
            Relation::Food => &["What does {k} like best?", "Which food does {k} like?"],
            Relation::Pet => &["Which animal does {k} have?", "What animal is at home with {k}?"],
            Relation::Friend => &["Who is the best friend of {k}?", "With whom does {k} play?"],
            Relation::Spot => &["Where is the {k}?", "Where did they find the {k}?"],
            Relation::Price => &["How much is the {k}?", "What does the {k} cost?"],
            Relation::Colour => &["What colour is the {k}?", "Which colour does the {k} have?"],
            Relation::Owner => &["Whose is the {k}?", "To whom does the {k} belong?"],
        }
    }

    /// Answers; the first states the fact in full, with the key right before the value.
    pub(super) fn answers(self) -> &'static [&'static str] {
        match self {
            Relation::Home => &["{k} lives in {v}.", "In {v}."],
            Relation::Job => &["{k} works as a {v}.", "As a {v}."],
            Relation::Food => &["{k} likes {v} best.", "The answer is {v}."],
            Relation::Pet => &["{k} has a {v}.", "It is a {v}."],
            Relation::Friend => &["{k} has a friend called {v}.", "It is {v}."],
            Relation::Spot => &["The {k} is in the {v}.", "It is in the {v}."],
            Relation::Price => &["The {k} costs {v} coins.", "It is {v} coins."],
            Relation::Colour => &["The {k} is {v}.", "It is {v}."],
            Relation::Owner => &["The {k} belongs to {v}.", "It belongs to {v}."],
        }
    }
}

/// A fact of a passage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) relation: Relation,
    pub(super) key: String,
    pub(super) value: String,
}

impl Fact {
    /// At most `n` facts of a relation, keys and values all different.
    pub(super) fn draw(relation: Relation, lexicon: &Lexicon, n: usize, rng: &mut Rng) -> Vec<Fact> {
        let keys: Vec<String> = if relation.of_person() {
            lexicon.people(n, rng).into_iter().map(|p| p.name.to_owned()).collect()
        } else {
            lexicon.words(Kind::Object, n, rng).into_iter().map(str::to_owned).collect()
        };
        let values = relation.values(lexicon, &keys, n, rng);
        keys.into_iter().zip(values).map(|(key, value)| Fact { relation, key, value }).collect()
    }
}
