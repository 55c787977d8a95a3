//! Sentences and small plots that carry no facts to be asked for: what lies between a statement and its question, and stories of their own.

use super::lexicon::{Kind, Lexicon, Person};
use super::text::{capitalize, fill, gap};
use scant_tensor_core::rng::Rng;

/// Single sentences. `hero` and `friend` are people, `he`, `him`, `his` go with the hero.
const SENTENCES: &[&str] = &[
    "The {adjective} {noun} was {adjective} and {adjective}.",
    "One {day} it rained, and the {noun} was {adjective}.",
    "It was a {adjective} day in {town}.",
    "The {adjective} {animal} {went} {adverb} to the {place}.",
    "In the {place} there was a {adjective} {object}.",
    "Nobody knew why the {noun} was so {adjective}.",
    "The {noun} and the {noun} {did} {adverb}.",
    "{hero} {went} to the {place} and {did} there.",
    "{hero} {made} a {adjective} {object} and was {feeling}.",
    "\"What a {adjective} {noun}!\" said {hero}.",
    "\"Did you see the {animal}?\" asked {hero}. \"It was {adjective},\" said {friend}.",
    "Behind the {place} the {noun} was {adjective}.",
    "On {day} {hero} {made} the {object} near the {place}.",
    "The {animal} {did}, and the {animal} {went} away.",
    "After the {noun} came a {adjective} {noun}.",
    "People in {town} tell a story about a {adjective} {noun}.",
    "The road from {town} to {long} is {adjective}.",
    "{hero} was {feeling}, because the {noun} was {adjective}.",
    "{friend} {did} {adverb} and {went} home.",
    "All day long {hero} {did} in the {place}.",
    "They had {food} on the table and a {adjective} {object} beside it.",
    "The {job} {made} the {object} and {did}.",
    "Every {day} the {job} {went} to {town}.",
    "\"Be {adjective}!\" said the {job}.",
    "Then the {noun} was {adjective} again.",
    "A {colour} {noun} stood near the {place} of {town}.",
    "\"I am {feeling},\" said {friend}, and {hero} {did}.",
    "Nothing in {town} is as {adjective} as the {noun} of {long}.",
    "They ate {food} and {food} until the {noun} {did}.",
    "The {adjective} {job} had {number} {adjective} stories to tell.",
];

/// Plots: each line is one step, told in one of several ways.
const PLOTS: &[&[&[&str]]] = &[
    &[
        &[
            "Once there was a {job} called {hero}.",
            "{hero} was a {adjective} {job} from {town}.",
            "Long ago {hero} lived near the {place} of {long}.",
        ],
        &[
            "One {day} {he} lost {his} {object}.",
            "One morning {his} {adjective} {object} was gone.",
            "When {he} woke up, the {object} was not there.",
        ],
        &[
            "{He} looked in the {place}, but there was only a {adjective} {animal}.",
            "{He} {went} to the {place} and saw nothing but a {noun}.",
        ],
        &["\"Have you seen my {object}?\" {he} asked {friend}.", "So {he} {went} to {friend} and asked for help."],
        &[
            "\"I have not,\" said {friend}, \"but the {animal} has been {adjective} all day.\"",
            "{friend} {did} and thought for a while. \"Ask the {job},\" said {friend}.",
        ],
        &[
            "Together they followed the {animal} to the {place}.",
            "They {went} {adverb} along the {noun}, and the {animal} {went} with them.",
        ],
        &[
            "There, behind a {adjective} {noun}, lay the {object}.",
            "And there it was: the {object}, in the {place}, as {adjective} as ever.",
        ],
        &["{hero} was so {feeling} that {he} {did}.", "\"Thank you!\" said {hero}, and {he} {did}."],
        &[
            "From then on {hero} kept the {object} near {his} bed.",
            "They ate {food} together and {did}.",
            "And {friend} never forgot that {day}.",
        ],
    ],
    &[
        &["{hero} and {friend} wanted to travel to {long}.", "In the {adjective} {noun} of that year, {hero} left {town} with {friend}."],
        &["They packed {food} and a {adjective} {object}.", "They took {food} with them, and {friend} carried the {object}."],
        &["On the first day the road was {adjective}.", "At first the {noun} was {adjective}, and they {did}."],
        &["On the second day they came to a {adjective} {noun}.", "Then a {adjective} {noun} lay before them, and nobody knew the way."],
        &["\"I am {feeling},\" said {friend}. \"Let us turn back.\"", "\"We will never get there,\" said {friend}, and {did}."],
        &["\"No,\" said {hero}, \"I can hear the {noun}.\"", "But {hero} {made} a {noun} and went on."],
        &["A {animal} showed them the way to the {place}.", "A {adjective} {job} took them to {town} in a cart."],
        &["When they saw {long} at last, the {noun} was {adjective}.", "In the evening they stood before the {place} of {long}."],
        &["They were {feeling}, and they {did} until morning.", "\"It was worth it,\" said {hero}, and {friend} {did}."],
    ],
    &[
        &["A {adjective} {animal} lived in the {place}.", "In a {place} near {long} lived a {adjective} {animal}."],
        &["Every night it {went} to the {place} and ate the {food}.", "It was always hungry, and it liked {food}."],
        &["{hero} the {job} was {feeling} about it.", "This made {hero} {feeling}, because the {food} had been for {friend}."],
        &["So {he} put a {object} before the {place} and waited.", "\"I will catch it,\" said {hero}, and {he} {made} a {object}."],
        &["At midnight the {animal} {went} {adverb} past.", "When the moon rose, something {did} behind the {object}."],
        &["\"Please let me go,\" said the {animal}. \"I am only {feeling}.\"", "The {animal} looked at {him} and {did}."],
        &[
            "{hero} {did}. \"You may have the {food} that we do not eat,\" {he} said.",
            "Then {hero} was sorry, and {he} gave it some {food}.",
        ],
        &["Since then the {animal} guards the {place}.", "From that day on they were friends, and the {object} was never used again."],
    ],
    &[
        &["The {job} of {town} had a {adjective} {object}.", "There was a {object} in the {place}, and it was {colour}."],
        &["\"How much is it?\" asked {hero}.", "{hero} saw it on {day} and wanted to have it."],
        &["\"It is {number} coins,\" said the {job}, \"and it is worth more.\"", "But {he} had only {number} coins."],
        &["{hero} counted {his} coins and was {feeling}.", "So {he} worked in the {place} until {day}."],
        &["Then {friend} said: \"Take my {object} and sell it.\"", "{friend} {did} and gave {him} what was missing."],
        &["The next morning {hero} bought the {object}.", "At noon they {went} to the {place} and paid."],
        &["At home {he} saw that it was {adjective} inside.", "It was heavy, and they carried it {adverb} home."],
        &[
            "\"It does not matter,\" said {friend}. \"It is {adjective}, and it is yours.\"",
            "Now it stands in the {place}, and all who see it are {feeling}.",
        ],
    ],
];

/// Draws everything a template may name.
pub(super) struct Stage<'a> {
    pub(super) lexicon: &'a Lexicon,
    pub(super) hero: Person,
    pub(super) friend: Person,
}

impl<'a> Stage<'a> {
    pub(super) fn new(lexicon: &'a Lexicon, rng: &mut Rng) -> Stage<'a> {
        let mut cast = lexicon.people(2, rng).into_iter();
        let hero = cast.next().unwrap_or_else(|| lexicon.person(rng));
        Stage { lexicon, hero, friend: cast.next().unwrap_or(hero) }
    }

    fn word(&self, name: &str, rng: &mut Rng) -> String {
        let kind = match name {
            "hero" => return self.hero.name.into(),
            "friend" => return self.friend.name.into(),
            "he" => return self.hero.he().into(),
            "He" => return if self.hero.woman { "She" } else { "He" }.into(),
            "him" => return self.hero.him().into(),
            "his" => return self.hero.his().into(),
            "long" => return self.lexicon.long_name(rng),
            "number" => return self.lexicon.number(rng).to_string(),
            "town" => Kind::Town,
            "object" => Kind::Object,
            "place" => Kind::Place,
            "animal" => Kind::Animal,
            "food" => Kind::Food,
            "job" => Kind::Job,
            "colour" => Kind::Colour,
            "adjective" => Kind::Adjective,
            "noun" => Kind::Noun,
            "went" => Kind::Went,
            "did" => Kind::Did,
            "made" => Kind::Made,
            "adverb" => Kind::Adverb,
            "feeling" => Kind::Feeling,
            _ => Kind::Day,
        };
        self.lexicon.word(kind, rng).into()
    }

    fn tell(&self, text: &mut String, template: &str, rng: &mut Rng) {
        gap(text);
        let at = text.len();
        let mut sentence = String::new();
        fill(&mut sentence, template, &mut |name| self.word(name, rng), &mut vec![]);
        text.push_str(&articles(&sentence));
        capitalize(text, at);
    }

    /// One sentence.
    pub(super) fn sentence(&self, text: &mut String, rng: &mut Rng) {
        self.tell(text, SENTENCES[rng.below(SENTENCES.len())], rng);
    }

    /// A whole plot. Objects, animals and places are drawn once, so that the story speaks of the same ones throughout.
    pub(super) fn plot(&self, text: &mut String, rng: &mut Rng) {
        let plot = PLOTS[rng.below(PLOTS.len())];
        let mut props: Vec<(String, String)> = Vec::new();
        for ways in plot {
            let template = ways[rng.below(ways.len())];
            gap(text);
            let at = text.len();
            let mut sentence = String::new();
            let mut word = |name: &str| {
                if !matches!(name, "object" | "animal" | "long" | "food" | "town") {
                    return self.word(name, rng);
                }
                if let Some((_, w)) = props.iter().find(|(kind, _)| kind == name) {
                    return w.clone();
                }
                let w = self.word(name, rng);
                props.push((name.to_owned(), w.clone()));
                w
            };
            fill(&mut sentence, template, &mut word, &mut vec![]);
            text.push_str(&articles(&sentence));
            capitalize(text, at);
        }
    }
}

/// "a old" becomes "an old".
fn articles(sentence: &str) -> String {
    let mut out = String::with_capacity(sentence.len() + 4);
    let mut words = sentence.split(' ').peekable();
    while let Some(word) = words.next() {
        out.push_str(word);
        let vowel = words.peek().is_some_and(|w| w.starts_with(['a', 'e', 'i', 'o', 'u']) && !w.starts_with("use"));
        if vowel && matches!(word, "a" | "A" | "\"A") {
            out.push('n');
        }
        if words.peek().is_some() {
            out.push(' ');
        }
    }
    out
}
