//! The same decisions on the source's own bytes: nothing is lost, what must survive does.

use super::classifier::checked;
use super::percentile::{Number, percentile};
use super::{Lingua, WINDOW, WordScore};
use crate::words::{Piece, apart, join, protect};
use crate::{Account, Compressed, Error, Warning};
use std::ops::Range;

impl Lingua<'_> {
    /// Compresses one text. Words are pieces of the source, with a space or line break where the source has one or where words between were dropped.
    ///
    /// What the guard finds and the force tokens stay whole, with the white space in them. Windows have at most 510 tokens, each is seen whole,
    /// and unknown tokens are words like others. The rate is that of the tokens, protected ones included, by window.
    ///
    /// # Errors
    /// What the classifier and the tokenizer return; [`Error::ZeroReserved`] for a target on a text without tokens.
    pub fn compress(&self, text: &str) -> Result<Compressed, Error> {
        let tokens = self.vocabulary.encode(text)?;
        let windows = self.windows(&tokens, WINDOW - 3);
        let [first, last] = self.vocabulary.bounds(false);
        let sequence = |w: &Range<usize>| std::iter::once(first).chain(tokens[w.clone()].iter().map(|t| t.id)).chain([last]).collect();
        let sequences: Vec<Vec<u32>> = windows.iter().map(sequence).collect();
        let probs = checked(self.classifier, &sequences)?;
        let protected = self.protected(text);

        let rate = match self.params.target_tokens {
            None => self.params.rate,
            Some(target) => match self.counter.count(text) as u64 {
                0 => return Err(Error::ZeroReserved { target }),
                all => (target as f64 / all as f64).min(1.0),
            },
        };
        let reduce = (1.0 - rate).max(0.0);
        let (mut words, mut keep) = (vec![], vec![]);
        let (mut asked, mut forced) = (0.0, 0);
        for (window, probs) in windows.iter().zip(&probs) {
            let pieces = self.pieces(text, &tokens[window.clone()], &probs[1..probs.len() - 1], &protected);
            let counts: Vec<u32> =
                pieces.iter().map(|p| u32::try_from(self.counter.count(&text[p.range.clone()])).unwrap_or(u32::MAX)).collect();
            asked += counts.iter().map(|c| f64::from(*c)).sum::<f64>() * rate;
            forced += pieces.iter().zip(&counts).filter(|(p, _)| p.protected).map(|(_, c)| u64::from(*c)).sum::<u64>();
            let score = |p: &Piece| Number::narrow(if p.protected { 1.0 } else { p.score.min(1.0 - f32::EPSILON) });
            let mut list: Vec<(Number, u32)> = pieces.iter().map(score).zip(counts).collect();
            let threshold = if reduce > 0.0 { percentile(&mut list, ((100.0 * reduce + 1.0) as u32).min(100)) } else { None };
            keep.extend(pieces.iter().map(|p| p.protected || threshold.is_none_or(|t| score(p).value > t)));
            words.extend(pieces);
        }
        let mut warnings = vec![];
        if forced as f64 > asked.ceil() {
            warnings.push(Warning::ProtectedBeyondRate { protected: forced, asked: asked.ceil() as u64 });
        }
        let (out, spans) = join(text, &words, &keep, &protected);
        Ok(Compressed { account: Account::of(self.counter, text, &out), text: out, spans, warnings })
    }

    /// Ranges of bytes that stay, in order, apart.
    fn protected(&self, text: &str) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = self.params.guard.find(text).into_iter().map(|p| p.range).collect();
        // Line breaks are kept by joining.
        for token in self.params.force_tokens.iter().filter(|t| !t.trim().is_empty()) {
            ranges.extend(text.match_indices(token.as_str()).map(|(at, _)| at..at + token.len()));
        }
        if self.params.reserve_digits {
            let digits = text.char_indices().filter(|(_, c)| super::vocabulary::is_decimal(*c));
            ranges.extend(digits.map(|(at, c)| at..at + c.len_utf8()));
        }
        apart(ranges)
    }

    /// The words of a window, in the source's bytes.
    fn pieces(&self, text: &str, tokens: &[super::vocabulary::Token], probs: &[f32], protected: &[Range<usize>]) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = vec![];
        let (mut sum, mut n) = (0.0, 0u32);
        for (token, prob) in tokens.iter().zip(probs) {
            let range = token.start as usize..token.end as usize;
            // Tokens of the same bytes (a character in several pieces) belong together, as does what continues a word without white space before it.
            let continues =
                pieces.last().is_some_and(|p| range.start < p.range.end || (range.start == p.range.end && !self.rule(token.id).begins));
            if !continues || pieces.is_empty() {
                (sum, n) = (0.0, 0);
                pieces.push(Piece { range: range.clone(), score: *prob, protected: false });
            }
            sum += prob;
            n += 1;
            if let Some(piece) = pieces.last_mut() {
                piece.range.end = piece.range.end.max(range.end);
                if self.params.word_score == WordScore::Mean {
                    piece.score = sum / n as f32;
                }
            }
        }
        pieces.retain(|p| text.get(p.range.clone()).is_some_and(|s| !s.is_empty()));
        protect(&mut pieces, protected);
        pieces
    }
}
