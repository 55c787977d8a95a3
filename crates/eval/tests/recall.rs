//! Recall against models that know everything, nothing, or only the newest fact.

use ndarray::{Array2, ArrayView2};
use scant_eval::{Error, LanguageModel, ModelError, RecallItem, recall};

/// Says what stood `back` tokens before the token it predicts.
struct Back(usize);

impl LanguageModel for Back {
    fn vocab_size(&self) -> usize {
        100
    }
    fn context(&self) -> usize {
        300
    }
    fn for_logits(&mut self, tokens: &[u32], f: &mut dyn FnMut(usize, ArrayView2<'_, f32>)) -> Result<(), ModelError> {
        // In blocks of 7 rows, as an engine would hand them out.
        for first in (0..tokens.len()).step_by(7) {
            let rows = 7.min(tokens.len() - first);
            let logit = |(i, v): (usize, usize)| f32::from(first + i + 1 >= self.0 && tokens[first + i + 1 - self.0] as usize == v);
            f(first, Array2::from_shape_fn((rows, 100), logit).view());
        }
        Ok(())
    }
}

fn item(distance: usize, answer: usize, candidates: usize) -> RecallItem {
    let mut tokens: Vec<u32> = (0..distance as u32 + 2).map(|i| i % 90).collect();
    tokens.extend_from_within(2..2 + answer);
    let end = tokens.len();
    tokens.push(99); // what follows the answer is not read
    RecallItem { tokens, answer: end - answer..end, distance, candidates }
}

#[test]
fn whole_answers_are_counted_per_distance_beside_guessing() {
    let items = [item(16, 1, 2), item(16, 3, 4), item(60, 2, 4), item(250, 1, 5), item(290, 1, 2)];
    let buckets = [8..32, 32..128, 128..270];
    let result = recall(&mut Back(16), &items, &buckets, &()).unwrap();
    assert_eq!(result.iter().map(|r| (r.items, r.correct)).collect::<Vec<_>>(), [(2, 2), (1, 0), (1, 0)]);
    assert_eq!(result.iter().map(|r| r.guessing).collect::<Vec<_>>(), [0.375, 0.25, 0.2]);
    let result = recall(&mut Back(60), &items, &buckets, &()).unwrap();
    assert_eq!(result.iter().map(|r| r.accuracy()).collect::<Vec<_>>(), [0.0, 1.0, 0.0]);
}

#[test]
fn an_answer_with_one_wrong_token_is_wrong() {
    let mut wrong = item(16, 3, 2);
    wrong.tokens[wrong.answer.end - 1] = 98;
    let result = recall(&mut Back(16), &[item(16, 3, 2), wrong], std::slice::from_ref(&(8..32)), &()).unwrap();
    assert_eq!((result[0].items, result[0].correct), (2, 1));
    assert!((result[0].margin() - 1.96 * (0.25f64 / 2.0).sqrt()).abs() < 1e-12);
}

#[test]
fn items_without_an_answer_inside_are_errors() {
    for answer in [0..1, 5..5, 18..30] {
        let bad = RecallItem { answer: answer.clone(), ..item(16, 1, 2) };
        let e = recall(&mut Back(16), &[bad], std::slice::from_ref(&(8..32)), &()).unwrap_err();
        assert!(matches!(e, Error::Answer { item: 0, answer: ref a, .. } if *a == answer), "{e}");
    }
    let long = item(350, 1, 2);
    assert!(matches!(
        recall(&mut Back(1), &[long], std::slice::from_ref(&(8..400)), &()),
        Err(Error::Window { window: 353, context: 300 })
    ));
}
