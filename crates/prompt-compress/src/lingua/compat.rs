//! As version 0.2.2 of the Python package decides, with its faults.

use super::classifier::checked;
use super::percentile::{Number, mean, percentile};
use super::vocabulary::Word;
use super::{Lingua, NumPy, WINDOW, WordScore};
use crate::Error;

/// Drops whole contexts before words are dropped. The default keeps as many as the package does where nothing is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContextFilter {
    /// Contexts to keep.
    pub contexts: Option<u64>,
    /// Share of contexts to keep.
    pub rate: Option<f64>,
    /// Tokens that the kept contexts may have.
    pub target_tokens: Option<u64>,
    /// Contexts that stay.
    pub force: Vec<usize>,
}

/// What the package returns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The kept contexts, compressed, an empty line between two.
    pub text: String,
    /// Each of them.
    pub contexts: Vec<String>,
    /// Tokens of all contexts.
    pub tokens_in: u64,
    /// Tokens of the compressed ones.
    pub tokens_out: u64,
    /// Every word of every context, and whether it was kept.
    pub labels: Vec<(String, bool)>,
}

impl Record {
    fn ratio(&self) -> f64 {
        if self.tokens_out == 0 { 1.0 } else { self.tokens_in as f64 / self.tokens_out as f64 }
    }

    /// The package's `ratio`, as in `2.0x`.
    pub fn ratio_text(&self) -> String {
        format!("{:.1}x", self.ratio())
    }

    /// The package's `rate`, as in `50.0%`.
    pub fn rate_text(&self) -> String {
        format!("{:.1}%", 1.0 / self.ratio() * 100.0)
    }

    /// The package's `fn_labeled_original_prompt`.
    pub fn labeled(&self) -> String {
        let lines: Vec<String> = self.labels.iter().map(|(word, kept)| format!("{word} {}", u8::from(*kept))).collect();
        lines.join("\t\t|\t\t")
    }
}

/// A chunk with what the classifier said of it.
struct Chunk<'a> {
    words: Vec<Word<'a>>,
    scores: Vec<Number>,
    /// Without forcing.
    plain: Vec<Number>,
}

impl Lingua<'_> {
    /// Compresses `contexts` as the package's `compress_prompt` does with a LLMLingua-2 model.
    ///
    /// Its faults are kept: a chunk may have 511 tokens and then lose its end; unknown tokens vanish; chunks go through the decoder and back.
    ///
    /// # Errors
    /// [`Error::NoWordStart`], [`Error::NoWords`], [`Error::ZeroReserved`] where the package fails; what the classifier and tokenizer return.
    pub fn compress_contexts<S: AsRef<str>>(&self, contexts: &[S], filter: Option<&ContextFilter>, labels: bool) -> Result<Record, Error> {
        let mut record = Record::default();
        let mut chunked: Vec<Vec<String>> = vec![];
        for context in contexts {
            record.tokens_in += self.counter.count(context.as_ref()) as u64;
            chunked.push(self.chunks(context.as_ref())?);
        }
        let filter = filter.filter(|_| contexts.len() > 1);
        let rate = self.params.rate;
        if filter.is_none() {
            let rate = self.params.target_tokens.filter(|t| *t > 0).map_or(Ok(rate), |target| share(target, record.tokens_in))?;
            let chunks = if rate < 1.0 { self.classified(chunked.iter().flatten())? } else { vec![] };
            return self.finish(record, &chunked, chunks, &vec![true; contexts.len()], rate, labels);
        }
        let chunks = self.classified(chunked.iter().flatten())?;
        let kept = self.filter(filter.unwrap_or(&ContextFilter::default()), &chunked, &chunks, record.tokens_in)?;
        let rate = match self.params.target_tokens {
            None => rate,
            Some(target) => {
                let reserved = chunked.iter().zip(&kept).filter(|(_, kept)| **kept).flat_map(|(chunks, _)| chunks);
                share(target, reserved.map(|c| self.counter.count(c) as u64).sum())?
            }
        };
        self.finish(record, &chunked, chunks, &kept, rate, labels)
    }

    /// The texts of a context's chunks.
    fn chunks(&self, context: &str) -> Result<Vec<String>, Error> {
        let mut text = std::borrow::Cow::Borrowed(context);
        for i in &self.mapped {
            let token = &self.params.force_tokens[*i];
            if text.contains(token) {
                text = text.replace(token, &format!("[NEW{i}]")).into();
            }
        }
        let tokens = self.vocabulary.encode(&text)?;
        Ok(self.windows(&tokens, WINDOW - 2).into_iter().map(|window| self.vocabulary.decode_ids(&tokens[window])).collect())
    }

    /// Words and probabilities of every chunk.
    fn classified<'s>(&'s self, chunks: impl Iterator<Item = &'s String>) -> Result<Vec<Chunk<'s>>, Error> {
        let [first, last] = self.vocabulary.bounds(true);
        let sequence = |chunk: &String| {
            let tokens = self.vocabulary.encode(chunk)?;
            let mut ids = Vec::with_capacity(tokens.len() + 2);
            ids.push(first);
            ids.extend(tokens.iter().map(|t| t.id));
            ids.push(last);
            ids.truncate(WINDOW);
            Ok(ids)
        };
        let sequences = chunks.map(sequence).collect::<Result<Vec<Vec<u32>>, Error>>()?;
        let probs = checked(self.classifier, &sequences)?;
        sequences.iter().zip(&probs).enumerate().map(|(chunk, (ids, probs))| self.merge(chunk, ids, probs)).collect()
    }

    /// Tokens to words.
    fn merge<'s>(&'s self, chunk: usize, ids: &[u32], probs: &[f32]) -> Result<Chunk<'s>, Error> {
        let numpy1 = self.params.numpy == NumPy::One;
        let family = self.vocabulary.family();
        let mut words: Vec<Word<'s>> = Vec::with_capacity(ids.len());
        // For each token its probability, `None` if it is forced; where words begin in it.
        let mut tokens: Vec<Option<f32>> = Vec::with_capacity(ids.len());
        let mut starts: Vec<(usize, f32)> = Vec::with_capacity(ids.len());
        for (id, prob) in ids.iter().zip(probs) {
            let piece = self.vocabulary.piece(*id);
            if piece.special {
                continue;
            }
            let rule = self.rule(*id);
            let digit = self.params.reserve_digits && piece.digit;
            if rule.begins {
                words.push(match rule.stands_for {
                    0 => Word::Piece(*id),
                    i => Word::Forced(&self.params.force_tokens[i as usize - 1]),
                });
                starts.push((tokens.len(), *prob));
                tokens.push((!rule.forced && !digit).then_some(*prob));
                continue;
            }
            let Some(word) = words.last_mut() else {
                return Err(Error::NoWordStart { chunk, piece: piece.text.clone() });
            };
            let pure = piece.pure(family);
            match word {
                Word::Joined(text) => text.push_str(pure),
                _ => *word = Word::Joined([word.text(self.vocabulary), pure].concat()),
            }
            tokens.push((!digit).then_some(*prob));
        }
        let (mut scores, mut plain) = (Vec::with_capacity(words.len()), Vec::with_capacity(words.len()));
        for (i, (start, prob)) in starts.iter().enumerate() {
            let end = starts.get(i + 1).map_or(tokens.len(), |s| s.0);
            let n = match self.params.word_score {
                WordScore::Mean => end - start,
                WordScore::First => 1,
            };
            scores.push(mean(tokens[*start..start + n].iter().copied(), numpy1));
            // The package repeats the first token's for those that continue the word.
            plain.push(mean(std::iter::repeat_n(Some(*prob), n), numpy1));
        }
        Ok(Chunk { words, scores, plain })
    }

    /// Which contexts stay.
    fn filter(&self, filter: &ContextFilter, chunked: &[Vec<String>], chunks: &[Chunk<'_>], tokens: u64) -> Result<Vec<bool>, Error> {
        let mut rate = filter.rate.unwrap_or(1.0);
        let mut target = filter.target_tokens;
        if filter.contexts.unwrap_or(0) == 0 && rate >= 1.0 && target.unwrap_or(0) == 0 {
            match self.params.target_tokens {
                None if self.params.rate < 1.0 => rate = (self.params.rate + 1.0) / 2.0,
                None => (),
                Some(t) => target = Some(2 * t),
            }
        }
        if let Some(n) = filter.contexts {
            rate = (n as f64 / chunked.len() as f64).min(1.0);
        }
        if let Some(target) = target {
            rate = share(target, tokens)?;
        }
        let mut rest = chunks;
        let mut scores = vec![];
        for chunks in chunked {
            let (own, others) = rest.split_at(chunks.len());
            rest = others;
            let plain = own.iter().flat_map(|c| &c.plain);
            let n = plain.clone().count();
            if n == 0 {
                return Err(Error::NoWords { chunk: scores.len() });
            }
            scores.push(match self.params.numpy {
                NumPy::One => Number::wide(plain.map(|p| p.value).sum::<f64>() / n as f64),
                NumPy::Two => {
                    let mut sum = 0f32;
                    for p in plain {
                        sum += p.value as f32;
                    }
                    Number::narrow(sum / n as f32)
                }
            });
        }
        let mut sorted: Vec<(Number, u32)> = scores.iter().map(|s| (*s, 1)).collect();
        let threshold = percentile(&mut sorted, percent(100.0 * (1.0 - rate))?).ok_or(Error::Nothing("contexts"))?;
        Ok(scores.iter().enumerate().map(|(i, s)| s.value >= threshold || filter.force.contains(&i)).collect())
    }

    /// The record of the contexts that stay, at `rate`.
    fn finish(
        &self,
        mut record: Record,
        chunked: &[Vec<String>],
        chunks: Vec<Chunk<'_>>,
        kept: &[bool],
        rate: f64,
        labels: bool,
    ) -> Result<Record, Error> {
        let reduce = (1.0 - rate).max(0.0);
        let mut chunks = chunks.into_iter().enumerate();
        for (texts, kept) in chunked.iter().zip(kept) {
            let own: Vec<(usize, Chunk<'_>)> = chunks.by_ref().take(texts.len()).collect();
            if !kept {
                if labels {
                    let words = own.iter().flat_map(|(_, c)| &c.words);
                    record.labels.extend(words.map(|w| (self.label(w), false)));
                }
                continue;
            }
            let mut out = String::new();
            if reduce <= 0.0 {
                for text in texts {
                    let mut text = text.clone();
                    for i in &self.mapped {
                        text = text.replace(&format!("[NEW{i}]"), &self.params.force_tokens[*i]);
                    }
                    if labels {
                        record.labels.extend(simple_words(&text).map(|w| (w.to_owned(), true)));
                    }
                    out.push_str(&text);
                }
            }
            for (index, chunk) in own.into_iter().filter(|_| reduce > 0.0) {
                let keep = self.keep(index, &chunk, reduce)?;
                let mut first = true;
                for (word, kept) in chunk.words.iter().zip(&keep) {
                    if *kept {
                        self.vocabulary.decode_word(word, first, &mut out)?;
                        first = false;
                    }
                    if labels {
                        record.labels.push((self.label(word), *kept));
                    }
                }
            }
            record.tokens_out += self.counter.count(&out) as u64;
            record.contexts.push(out);
        }
        record.text = record.contexts.join("\n\n");
        Ok(record)
    }

    fn label(&self, word: &Word<'_>) -> String {
        word.text(self.vocabulary)
            .trim_start_matches(if self.vocabulary.family() == super::Family::SentencePiece { "▁" } else { "\0" })
            .to_owned()
    }

    /// Which words of a chunk stay.
    fn keep(&self, index: usize, chunk: &Chunk<'_>, reduce: f64) -> Result<Vec<bool>, Error> {
        let Chunk { words, scores, .. } = chunk;
        let mut scores = scores.clone();
        let forced: Vec<bool> = if self.params.drop_consecutive {
            let is = |w: &Word<'_>| self.params.force_tokens.iter().any(|t| t == w.text(self.vocabulary));
            words.iter().map(is).collect()
        } else {
            vec![]
        };
        if self.params.drop_consecutive {
            let mut sorted: Vec<(Number, u32)> = scores.iter().map(|s| (*s, 1)).collect();
            let threshold = percentile(&mut sorted, percent(100.0 * reduce)?).ok_or(Error::NoWords { chunk: index })?;
            let (mut between, mut before) = (false, None);
            for (i, word) in words.iter().enumerate() {
                let text = word.text(self.vocabulary);
                if !forced[i] {
                    between |= scores[i].value > threshold;
                    continue;
                }
                if between {
                    between = false;
                } else if before == Some(text) {
                    scores[i] = Number::wide(0.0);
                }
                before = Some(text);
            }
        }
        let mut counts = vec![];
        self.vocabulary.counts(words, self.counter, &mut counts);
        let mut list: Vec<(Number, u32)> = scores.iter().copied().zip(counts).collect();
        let threshold = percentile(&mut list, percent(100.0 * reduce + 1.0)?).ok_or(Error::NoWords { chunk: index })?;
        let mut last = None;
        let mut keep = Vec::with_capacity(words.len());
        for (i, score) in scores.iter().enumerate() {
            let mut kept = score.value > threshold || (threshold == 1.0 && score.value == 1.0);
            if self.params.drop_consecutive && kept {
                let text = words[i].text(self.vocabulary);
                kept = !(forced[i] && last == Some(text));
                last = if kept { Some(text) } else { last };
            }
            keep.push(kept);
        }
        Ok(keep)
    }
}

/// `min(part / whole, 1)`.
fn share(part: u64, whole: u64) -> Result<f64, Error> {
    if whole == 0 { Err(Error::ZeroReserved { target: part }) } else { Ok((part as f64 / whole as f64).min(1.0)) }
}

/// A percentile as Python's `int` cuts it.
fn percent(value: f64) -> Result<u32, Error> {
    if (0.0..101.0).contains(&value) {
        return Ok(value as u32);
    }
    Err(Error::Parameter { name: "rate", value: format!("so small that {value} % are to go"), must: "larger" })
}

/// Runs of letters and digits, and single signs of a list, as the package splits what it does not compress.
fn simple_words(text: &str) -> impl Iterator<Item = &str> {
    let of_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let c = rest.chars().next()?;
            let len = if of_word(c) { rest.find(|c| !of_word(c)).unwrap_or(rest.len()) } else { c.len_utf8() };
            let (word, next) = rest.split_at(len);
            rest = next;
            if of_word(c) || r#"<>=/!@#$%^&*()?":{}|\`~;_+-"#.contains(c) {
                return Some(word);
            }
        }
    })
}
