//! Recall of a stated fact by distance: does the model give the whole value when asked, and how much better than by guessing?

use crate::error::Error;
use crate::language_model::LanguageModel;
use crate::perplexity::check_window;
use crate::row::argmax;
use scant_tensor_core::progress::Progress;
use std::ops::Range;

/// A text that ends in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecallItem {
    /// Tokens up to the end of the answer; what follows is not read.
    pub tokens: Vec<u32>,
    /// The tokens of the answer: at least one, not the first of the text.
    pub answer: Range<usize>,
    /// Tokens from the value's last mention to the answer.
    pub distance: usize,
    /// Values that could be meant.
    pub candidates: usize,
}

/// Recall of the items within a range of distances.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Recall {
    /// Distances in tokens.
    pub distance: Range<usize>,
    /// Items.
    pub items: usize,
    /// Items of which every token of the answer was the likeliest.
    pub correct: usize,
    /// Expected share of correct answers of somebody who knows the candidates and guesses among them.
    pub guessing: f64,
}

impl Recall {
    /// Share of correct answers; NaN without items.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.items as f64
    }

    /// Half the width of the 95 % interval of the share (normal approximation).
    pub fn margin(&self) -> f64 {
        let p = self.accuracy();
        1.96 * (p * (1.0 - p) / self.items as f64).sqrt()
    }
}

/// Accuracy per range of `distances`, each token of an answer predicted from the true ones before it. Items outside all ranges are not run.
///
/// # Errors
/// [`Error::Answer`] for an item whose answer is empty or beyond its tokens; [`Error`] for what the model does not take.
///
/// ```
/// use ndarray::{Array2, ArrayView2};
/// use scant_eval::{LanguageModel, ModelError, RecallItem, recall};
/// struct Again; // says what was said three tokens ago
/// impl LanguageModel for Again {
///     fn vocab_size(&self) -> usize { 10 }
///     fn context(&self) -> usize { 64 }
///     fn for_logits(&mut self, tokens: &[u32], f: &mut dyn FnMut(usize, ArrayView2<'_, f32>)) -> Result<(), ModelError> {
///         f(0, Array2::from_shape_fn((tokens.len(), 10), |(i, v)| f32::from(i >= 2 && tokens[i - 2] == v as u32)).view());
///         Ok(())
///     }
/// }
/// let item = |tokens: [u32; 4]| RecallItem { tokens: tokens.to_vec(), answer: 3..4, distance: 3, candidates: 2 };
/// let result = recall(&mut Again, &[item([7, 1, 2, 7]), item([7, 1, 2, 5])], &[0..16, 16..64], &())?;
/// assert_eq!((result[0].correct, result[0].items, result[0].guessing, result[1].items), (1, 2, 0.5, 0));
/// # Ok::<(), scant_eval::Error>(())
/// ```
pub fn recall(
    model: &mut dyn LanguageModel,
    items: &[RecallItem],
    distances: &[Range<usize>],
    progress: &dyn Progress,
) -> Result<Vec<Recall>, Error> {
    let mut result: Vec<_> = distances.iter().map(|d| Recall { distance: d.clone(), items: 0, correct: 0, guessing: 0.0 }).collect();
    for (i, item) in items.iter().enumerate() {
        if progress.cancelled() {
            return Err(Error::Cancelled { done: i, total: items.len() });
        }
        let RecallItem { tokens, answer, candidates, .. } = item;
        if answer.start == 0 || answer.is_empty() || answer.end > tokens.len() || *candidates == 0 {
            return Err(Error::Answer { item: i, answer: answer.clone(), tokens: tokens.len(), candidates: *candidates });
        }
        let Some(bucket) = result.iter_mut().find(|r| r.distance.contains(&item.distance)) else { continue };
        check_window(model, i, &tokens[..answer.end])?;
        let (mut right, mut rows) = (true, 0);
        model.for_logits(&tokens[..answer.end], &mut |first, logits| {
            rows += logits.nrows();
            for (position, row) in (first..).zip(logits.rows()) {
                if answer.contains(&(position + 1)) {
                    let row = row.to_slice().map_or_else(|| row.to_vec().into(), std::borrow::Cow::Borrowed);
                    right &= argmax(&row) == tokens[position + 1] as usize;
                }
            }
        })?;
        if rows != answer.end {
            return Err(Error::Rows { want: answer.end, got: rows });
        }
        bucket.items += 1;
        bucket.correct += usize::from(right);
        bucket.guessing += 1.0 / *candidates as f64;
        progress.step(i as u64 + 1, items.len() as u64, "recall");
    }
    for bucket in &mut result {
        bucket.guessing /= bucket.items.max(1) as f64;
    }
    Ok(result)
}
