//! Perplexity of held-out text.

use crate::bootstrap::Estimate;
use crate::error::Error;
use crate::language_model::LanguageModel;
use crate::row::soft_max_sum;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::progress::Progress;

/// What a model makes of a text.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Perplexity {
    /// Mean negative log-likelihood of a scored token, in nats, per window.
    pub window_nll: Vec<f64>,
    /// Scored tokens of each window.
    pub scored: usize,
}

impl Perplexity {
    /// Mean negative log-likelihood in nats with its interval.
    pub fn nll(&self) -> Estimate {
        Estimate::bootstrap(&self.window_nll, 1)
    }

    /// exp of the mean negative log-likelihood.
    pub fn perplexity(&self) -> f64 {
        (self.window_nll.iter().sum::<f64>() / self.window_nll.len() as f64).exp()
    }

    /// Bits per character, for scored tokens that stand for `characters` characters: comparable between tokenizers.
    pub fn bits_per_character(&self, characters: usize) -> f64 {
        self.window_nll.iter().sum::<f64>() * self.scored as f64 / std::f64::consts::LN_2 / characters as f64
    }
}

/// Scores every token but the first of each window (spec 0.11 of the project: non-overlapping windows).
///
/// # Errors
/// [`Error`] for a window the model does not take, a token it does not know or logits that are not finite.
///
/// ```
/// use ndarray::{Array2, ArrayView2};
/// use scant_eval::{LanguageModel, ModelError, perplexity, windows};
/// struct Even(usize); // every piece is equally likely
/// impl LanguageModel for Even {
///     fn vocab_size(&self) -> usize { self.0 }
///     fn context(&self) -> usize { 1024 }
///     fn for_logits(&mut self, tokens: &[u32], f: &mut dyn FnMut(usize, ArrayView2<'_, f32>)) -> Result<(), ModelError> {
///         f(0, Array2::zeros((tokens.len(), self.0)).view());
///         Ok(())
///     }
/// }
/// let result = perplexity(&mut Even(50), &windows(&[1, 2, 3, 4], 4)?, &())?;
/// assert!((result.perplexity() - 50.0).abs() < 1e-4);
/// # Ok::<(), scant_eval::Error>(())
/// ```
pub fn perplexity(model: &mut dyn LanguageModel, windows: &[&[u32]], progress: &dyn Progress) -> Result<Perplexity, Error> {
    let isa = Isa::best();
    let mut result = Perplexity { window_nll: vec![], scored: 0 };
    for (window, tokens) in windows.iter().enumerate() {
        check_window(model, window, tokens)?;
        if progress.cancelled() {
            return Err(Error::Cancelled { done: window, total: windows.len() });
        }
        let (mut nll, mut rows, mut bad) = (0.0, 0, None);
        model.for_logits(tokens, &mut |first, logits| {
            rows += logits.nrows();
            for (position, row) in (first..).zip(logits.rows()) {
                if position + 1 >= tokens.len() {
                    break; // what follows the last token is not known
                }
                let row = row.to_slice().map_or_else(|| row.to_vec().into(), std::borrow::Cow::Borrowed);
                match token_nll(isa, &row, tokens[position + 1]) {
                    Some(x) => nll += x,
                    None => bad = bad.or(Some(position)),
                }
            }
        })?;
        if let Some(position) = bad {
            return Err(Error::NotFinite { position, window });
        }
        if rows != tokens.len() {
            return Err(Error::Rows { want: tokens.len(), got: rows });
        }
        result.scored = tokens.len() - 1;
        result.window_nll.push(nll / result.scored as f64);
        progress.step(window as u64 + 1, windows.len() as u64, "perplexity");
    }
    Ok(result)
}

/// Negative log-likelihood of `token`, or nothing if it is not finite.
pub(crate) fn token_nll(isa: Isa, row: &[f32], token: u32) -> Option<f64> {
    let (max, sum) = soft_max_sum(isa, row);
    let nll = f64::from(max) + sum.ln() - f64::from(row[token as usize]);
    nll.is_finite().then_some(nll)
}

pub(crate) fn check_window(model: &dyn LanguageModel, window: usize, tokens: &[u32]) -> Result<(), Error> {
    let (context, vocabulary) = (model.context(), model.vocab_size());
    if tokens.len() < 2 || tokens.len() > context {
        return Err(Error::Window { window: tokens.len(), context });
    }
    match tokens.iter().position(|t| *t as usize >= vocabulary) {
        None => Ok(()),
        Some(position) => Err(Error::Token { token: tokens[position], position, window, vocabulary }),
    }
}
