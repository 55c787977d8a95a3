//! The last word of a passage (LAMBADA, Paperno et al. 2016): accuracy of greedy choice, and perplexity of the word.

use crate::bootstrap::Estimate;
use crate::error::Error;
use crate::language_model::LanguageModel;
use crate::perplexity::{check_window, token_nll};
use crate::row::argmax;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::progress::Progress;

/// A passage without its last word, and that word with the space before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// What is given.
    pub context: String,
    /// What is asked for.
    pub target: String,
}

/// Reads lines of `{"text": "..."}`, the form in which OpenAI published LAMBADA's test set.
///
/// ```
/// let passages = scant_eval::passages(r#"{"text": "He was as silent as the grave"}"#)?;
/// assert_eq!((passages[0].context.as_str(), passages[0].target.as_str()), ("He was as silent as the", " grave"));
/// # Ok::<(), scant_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Passage`] for a line of another form, or a text of one word.
pub fn passages(jsonl: &str) -> Result<Vec<Passage>, Error> {
    let passage = |(line, text): (usize, &str)| {
        let bad = |detail: String| Error::Passage { line: line + 1, detail };
        let json: serde_json::Value = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
        let text = json.get("text").and_then(serde_json::Value::as_str).ok_or_else(|| bad("no string `text`".to_owned()))?;
        let text = text.trim_end();
        let at = text.rfind(char::is_whitespace).filter(|at| *at > 0).ok_or_else(|| bad(format!("`{text}` is a single word")))?;
        Ok(Passage { context: text[..at].to_owned(), target: text[at..].to_owned() })
    };
    jsonl.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()).map(passage).collect()
}

/// Tokens of a passage, of which those from `target` on are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClozeItem {
    /// Context and target.
    pub tokens: Vec<u32>,
    /// Where the target begins.
    pub target: usize,
}

/// What a model makes of last words.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Cloze {
    /// Per item: every token of the target was the most likely one.
    pub correct: Vec<bool>,
    /// Per item: negative log-likelihood of the whole target, in nats.
    pub nll: Vec<f64>,
}

impl Cloze {
    /// The share of right words, with its interval.
    pub fn accuracy(&self) -> Estimate {
        let values: Vec<f64> = self.correct.iter().map(|c| f64::from(u8::from(*c))).collect();
        Estimate::bootstrap(&values, 1)
    }

    /// Mean negative log-likelihood of a word, in nats, with its interval.
    pub fn nll(&self) -> Estimate {
        Estimate::bootstrap(&self.nll, 1)
    }

    /// exp of the mean negative log-likelihood of a word (not of a token).
    pub fn perplexity(&self) -> f64 {
        self.nll().mean.exp()
    }
}

/// Asks `model` for the target of each item, given all before it. Ties of logits go to the lower token.
///
/// # Errors
/// [`Error::Answer`] for a target that is empty or has nothing before it; otherwise as [`perplexity`](crate::perplexity).
pub fn cloze(model: &mut dyn LanguageModel, items: &[ClozeItem], progress: &dyn Progress) -> Result<Cloze, Error> {
    let isa = Isa::best();
    let mut result = Cloze { correct: vec![], nll: vec![] };
    for (item, ClozeItem { tokens, target }) in items.iter().enumerate() {
        if *target == 0 || *target >= tokens.len() {
            return Err(Error::Answer { item, answer: *target..tokens.len(), tokens: tokens.len(), candidates: 1 });
        }
        check_window(model, item, tokens)?;
        if progress.cancelled() {
            return Err(Error::Cancelled { done: item, total: items.len() });
        }
        let (mut nll, mut correct, mut rows, mut bad) = (0.0, true, 0, None);
        model.for_logits_from(tokens, target - 1, &mut |first, logits| {
            rows += logits.nrows();
            for (position, row) in (first..).zip(logits.rows()).take_while(|(p, _)| p + 1 < tokens.len()) {
                let row = row.to_slice().map_or_else(|| row.to_vec().into(), std::borrow::Cow::Borrowed);
                let token = tokens[position + 1];
                correct &= argmax(&row) == token as usize;
                match token_nll(isa, &row, token) {
                    Some(x) => nll += x,
                    None => bad = bad.or(Some(position)),
                }
            }
        })?;
        if let Some(position) = bad {
            return Err(Error::NotFinite { position, window: item });
        }
        let want = tokens.len() - (target - 1);
        if rows != want {
            return Err(Error::Rows { want, got: rows });
        }
        result.correct.push(correct);
        result.nll.push(nll);
        progress.step(item as u64 + 1, items.len() as u64, "last words");
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language_model::ModelError;
    use ndarray::{Array2, ArrayView2};

    /// Gives the token after the last one log(3), all others 0: of four pieces it has probability 1/2.
    struct Next;

    impl LanguageModel for Next {
        fn vocab_size(&self) -> usize {
            4
        }
        fn context(&self) -> usize {
            8
        }
        fn for_logits(&mut self, tokens: &[u32], f: &mut dyn FnMut(usize, ArrayView2<'_, f32>)) -> Result<(), ModelError> {
            for first in (0..tokens.len()).step_by(3) {
                let some = &tokens[first..(first + 3).min(tokens.len())];
                let logit = |(row, piece): (usize, usize)| if (some[row] + 1) % 4 == piece as u32 { 3f32.ln() } else { 0.0 };
                f(first, Array2::from_shape_fn((some.len(), 4), logit).view());
            }
            Ok(())
        }
    }

    #[test]
    fn a_word_is_right_if_all_its_tokens_are() {
        let item = |tokens: &[u32], target| ClozeItem { tokens: tokens.to_vec(), target };
        let items = [item(&[3, 3, 0, 1, 2], 3), item(&[0, 0, 1, 3], 2), item(&[0, 0, 0, 0, 1], 4)];
        let result = cloze(&mut Next, &items, &()).unwrap();
        assert_eq!(result.correct, [true, false, true]);
        for (nll, p) in result.nll.iter().zip([0.25f64, 0.5 / 6.0, 0.5]) {
            assert!((nll + p.ln()).abs() < 1e-6, "{nll}, not {}", -p.ln());
        }
        assert!((result.accuracy().mean - 2.0 / 3.0).abs() < 1e-12);
        assert!((result.perplexity().powi(3) - 4.0 * 12.0 * 2.0).abs() < 1e-3);
        for bad in [item(&[0, 1], 0), item(&[0, 1], 2)] {
            assert!(cloze(&mut Next, &[bad], &()).is_err());
        }
    }

    #[test]
    fn passages_are_cut_before_the_last_word() {
        let read = passages("{\"text\": \"a b\\n\\nc'd\\n\"}\n\n{\"text\": \"x y\"}\n").unwrap();
        assert_eq!((read[0].context.as_str(), read[0].target.as_str(), read[1].target.as_str()), ("a b\n", "\nc'd", " y"));
        for (bad, says) in [("{\"text\": \"one\"}", "one"), ("{\"word\": 1}", "text"), ("{}\n{", "line 1")] {
            let e = passages(bad).unwrap_err().to_string();
            assert!(e.contains(says), "{e}");
        }
    }
}
