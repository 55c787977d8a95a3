//! Passages: facts stated early and asked for later, lists that are recited again, stories.

use super::facts::{Fact, Relation};
use super::lexicon::Lexicon;
use super::scenes::Stage;
use super::text::{fill, gap};
use scant_tensor_core::rng::Rng;
use std::ops::Range;

/// What a passage is to be like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StoryParams {
    /// Length in characters; the last sentence may run over it.
    pub chars: usize,
    /// Share of the word lists in use, in (0, 1].
    pub breadth: f32,
    /// Share of passages that recite a list of facts again and again.
    pub recitals: f32,
    /// Share of passages that only tell a story.
    pub stories: f32,
    /// Share of sentences without facts in the other passages.
    pub filler: f32,
}

impl Default for StoryParams {
    fn default() -> Self {
        StoryParams { chars: 2000, breadth: 1.0, recitals: 0.2, stories: 0.25, filler: 0.35 }
    }
}

/// A value that can be known from what stands before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its bytes in the text.
    pub span: Range<usize>,
    /// What the fact is about.
    pub relation: Relation,
    /// Bytes from the start of the value's last mention in a statement, list or answer of the same fact to the start of `span`.
    pub distance: usize,
    /// Facts of the same relation stated so far: as many values could be meant.
    pub candidates: usize,
    /// True if the fact is the last of its relation that was stated for the first time.
    pub newest: bool,
}

/// Text and the answers in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Plain English in ASCII, one line.
    pub text: String,
    /// Answers, first to last.
    pub answers: Vec<Answer>,
}

/// How facts are stated.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    List,
    Plain,
    Mixed,
}

impl Form {
    fn draw(rng: &mut Rng) -> Form {
        [Form::List, Form::Plain, Form::Mixed][rng.below(3)]
    }
}

struct Stated {
    fact: Fact,
    last: usize,
}

/// A passage under construction.
pub(super) struct Draft<'a> {
    lexicon: &'a Lexicon,
    text: String,
    answers: Vec<Answer>,
    stated: Vec<Stated>,
}

const OPENINGS: &[&str] =
    &["Listen well.", "Remember this.", "This is what I know.", "It is said in the village:", "Here is the story.", "Let me tell you."];
const AGAIN: &[&str] = &["Again:", "Once more:", "They said it again:", "Everybody repeated:", "And again:", "So, to repeat:"];
const ASKING: &[&str] =
    &["Now answer.", "Do you remember?", "Here are the questions.", "Then the teacher asked.", "Who knows the answers?"];

impl<'a> Draft<'a> {
    pub(super) fn new(lexicon: &'a Lexicon) -> Draft<'a> {
        Draft { lexicon, text: String::new(), answers: vec![], stated: vec![] }
    }

    pub(super) fn finish(self) -> Passage {
        Passage { text: self.text, answers: self.answers }
    }

    fn say(&mut self, sentences: &[&str], rng: &mut Rng) {
        gap(&mut self.text);
        self.text.push_str(sentences[rng.below(sentences.len())]);
    }

    /// A fact by a template. The value is an answer if the fact was stated before.
    fn tell(&mut self, i: usize, template: &str) {
        let (fact, mut values) = (self.stated[i].fact.clone(), vec![]);
        let mut word = |name: &str| if name == "k" { fact.key.clone() } else { fact.value.clone() };
        fill(&mut self.text, template, &mut word, &mut values);
        for span in values {
            let last = std::mem::replace(&mut self.stated[i].last, span.start);
            if last == usize::MAX {
                continue; // the first mention is news, not an answer
            }
            let same: Vec<_> =
                self.stated.iter().enumerate().filter(|(_, s)| s.fact.relation == fact.relation && s.last != usize::MAX).collect();
            let newest = same.last().is_some_and(|(newest, _)| *newest == i);
            self.answers.push(Answer { distance: span.start - last, span, relation: fact.relation, candidates: same.len(), newest });
        }
    }

    fn add(&mut self, fact: Fact) -> usize {
        self.stated.push(Stated { fact, last: usize::MAX });
        self.stated.len() - 1
    }

    fn state(&mut self, i: usize, form: Form, rng: &mut Rng) {
        gap(&mut self.text);
        let ways = self.stated[i].fact.relation.statements();
        match form {
            Form::List => self.tell(i, "{k}: {v}."),
            Form::Plain => self.tell(i, ways[0]),
            Form::Mixed => self.tell(i, ways[rng.below(ways.len())]),
        }
    }

    /// A question and its answer: as a list entry, with an answer in full, or with a short one.
    fn ask(&mut self, i: usize, form: Form, rng: &mut Rng) {
        gap(&mut self.text);
        let relation = self.stated[i].fact.relation;
        if form == Form::List {
            return self.tell(i, "{k}: {v}.");
        }
        let (questions, answers) = (relation.questions(), relation.answers());
        let (question, answer) = match form {
            Form::Plain => (questions[0], answers[0]),
            _ => (questions[rng.below(questions.len())], answers[rng.below(answers.len())]),
        };
        self.tell(i, question);
        self.text.push(' ');
        self.tell(i, answer);
    }

    /// All of `which` as one list: `Mira: Tarn, Tobin: Oss.`
    fn recite(&mut self, which: &[usize]) {
        for (n, i) in which.iter().enumerate() {
            self.tell(*i, if n == 0 { " {k}: {v}" } else { ", {k}: {v}" });
        }
        self.text.push('.');
    }

    /// One list of facts, recited until the text is long enough.
    pub(super) fn recital(&mut self, p: &StoryParams, rng: &mut Rng) {
        let relation = Relation::ALL[rng.below(Relation::ALL.len())];
        let most = (p.chars / 45).clamp(3, 16);
        let facts = Fact::draw(relation, self.lexicon, 2 + rng.below(most - 1), rng);
        let mut all: Vec<usize> = facts.into_iter().map(|f| self.add(f)).collect();
        let stage = Stage::new(self.lexicon, rng);
        let (pauses, shuffled) = (rng.uniform() < 0.4, rng.uniform() < 0.75);
        self.say(relation.title(), rng);
        self.recite(&all);
        while self.text.len() < p.chars {
            if pauses {
                for _ in 0..rng.below(1 + (p.chars / 300).min(6)) {
                    stage.sentence(&mut self.text, rng);
                }
            }
            if shuffled {
                rng.shuffle(&mut all);
            }
            self.say(AGAIN, rng);
            let part = if shuffled { 1 + rng.below(all.len()) } else { all.len() };
            self.recite(&all[..part]);
        }
    }

    /// A story without facts to be asked for.
    pub(super) fn story(&mut self, p: &StoryParams, rng: &mut Rng) {
        while self.text.len() < p.chars {
            let stage = Stage::new(self.lexicon, rng);
            if p.chars - self.text.len() > 400 {
                stage.plot(&mut self.text, rng);
            } else {
                stage.sentence(&mut self.text, rng);
            }
        }
    }

    /// Facts of one or two relations among other sentences, and questions about any of them.
    pub(super) fn questions(&mut self, p: &StoryParams, rng: &mut Rng) {
        let stage = Stage::new(self.lexicon, rng);
        if rng.uniform() < 0.5 {
            self.say(OPENINGS, rng);
        } else {
            stage.sentence(&mut self.text, rng);
        }
        let most = (p.chars / 70).clamp(2, 20);
        let mut facts: Vec<Fact> = Vec::new();
        for _ in 0..if rng.uniform() < 0.65 { 1 } else { 2 } {
            let relation = Relation::ALL[rng.below(Relation::ALL.len())];
            if facts.iter().all(|f| f.relation != relation) {
                // A key of two relations could not be asked for in a list.
                let more = Fact::draw(relation, self.lexicon, 2 + rng.below(most - 1), rng);
                let new: Vec<Fact> = more.into_iter().filter(|f| facts.iter().all(|g| g.key != f.key)).collect();
                facts.extend(new);
            }
        }
        rng.shuffle(&mut facts);
        let (form, asked) = (Form::draw(rng), Form::draw(rng));
        let filler = p.filler * 1.6 * rng.uniform();
        // All facts first, or questions in between.
        let early = if rng.uniform() < 0.5 { 0.0 } else { 0.4 };
        let mut facts = facts.into_iter().peekable();
        let mut announced = false;
        while self.text.len() < p.chars {
            let ask = self.stated.len() >= 2 && (facts.peek().is_none() || rng.uniform() < early);
            if rng.uniform() < filler {
                stage.sentence(&mut self.text, rng);
            } else if ask {
                if facts.peek().is_none() && !announced && rng.uniform() < 0.5 {
                    self.say(ASKING, rng);
                }
                announced = true;
                self.ask(rng.below(self.stated.len()), asked, rng);
            } else if let Some(fact) = facts.next() {
                let i = self.add(fact);
                self.state(i, form, rng);
            }
        }
    }

    /// `candidates` facts of one relation, `pause` characters of other sentences, one question and its answer at the very end.
    pub(super) fn one_question(&mut self, candidates: usize, pause: usize, rng: &mut Rng) {
        let stage = Stage::new(self.lexicon, rng);
        self.say(OPENINGS, rng);
        let relation = Relation::ALL[rng.below(Relation::ALL.len())];
        let form = Form::draw(rng);
        for fact in Fact::draw(relation, self.lexicon, candidates, rng) {
            let i = self.add(fact);
            self.state(i, form, rng);
        }
        let stop = self.text.len() + pause;
        while self.text.len() < stop {
            stage.sentence(&mut self.text, rng);
        }
        self.ask(rng.below(self.stated.len()), Form::draw(rng), rng);
    }
}
