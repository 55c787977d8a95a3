//! How far models are from a reference: KL divergence and agreement, paired window by window.

use crate::bootstrap::Estimate;
use crate::error::Error;
use crate::language_model::LanguageModel;
use crate::perplexity::check_window;
use crate::row::{argmax, soft_max_sum, weighted_difference};
use ndarray::{Array2, ArrayView2};
use scant_tensor_core::isa::Isa;
use scant_tensor_core::progress::Progress;

/// Means over the scored tokens of one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct WindowScore {
    /// KL(reference || model) in nats.
    pub kl: f64,
    /// Share of positions where both have the same most likely token.
    pub agreement: f64,
    /// Negative log-likelihood of the text under the model, in nats.
    pub nll: f64,
}

/// A model beside the reference.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Comparison {
    /// One score per window.
    pub windows: Vec<WindowScore>,
    /// Negative log-likelihood under the reference, per window.
    pub reference_nll: Vec<f64>,
}

impl Comparison {
    fn of(&self, f: impl Fn(&WindowScore) -> f64) -> Vec<f64> {
        self.windows.iter().map(f).collect()
    }

    /// Mean KL(reference || model) in nats.
    pub fn kl(&self) -> Estimate {
        Estimate::bootstrap(&self.of(|w| w.kl), 1)
    }

    /// Share of positions with the same most likely token.
    pub fn agreement(&self) -> Estimate {
        Estimate::bootstrap(&self.of(|w| w.agreement), 1)
    }

    /// Perplexity of the model.
    pub fn perplexity(&self) -> f64 {
        (self.of(|w| w.nll).iter().sum::<f64>() / self.windows.len() as f64).exp()
    }

    /// Perplexity of the reference.
    pub fn reference_perplexity(&self) -> f64 {
        (self.reference_nll.iter().sum::<f64>() / self.reference_nll.len() as f64).exp()
    }

    /// KL of this model less that of another over the same windows, paired: negative if this one is closer to the reference.
    ///
    /// # Panics
    /// If the two were not measured on the same number of windows.
    pub fn kl_less(&self, other: &Comparison) -> Estimate {
        assert_eq!(self.windows.len(), other.windows.len(), "comparisons over different windows");
        let differences: Vec<f64> = self.windows.iter().zip(&other.windows).map(|(a, b)| a.kl - b.kl).collect();
        Estimate::bootstrap(&differences, 1)
    }
}

/// Compares each of `models` with `reference` on the same windows: one pass of each model per window, and one window of the reference's logits
/// in memory.
///
/// # Errors
/// [`Error`] for windows or tokens that a model does not take, vocabularies that differ, or logits that are not finite.
pub fn compare(
    reference: &mut dyn LanguageModel,
    models: &mut [&mut dyn LanguageModel],
    windows: &[&[u32]],
    progress: &dyn Progress,
) -> Result<Vec<Comparison>, Error> {
    let isa = Isa::best();
    for (model, m) in models.iter().enumerate() {
        if m.vocab_size() != reference.vocab_size() {
            return Err(Error::Vocabulary { reference: reference.vocab_size(), model, vocabulary: m.vocab_size() });
        }
    }
    let mut results = vec![Comparison { windows: vec![], reference_nll: vec![] }; models.len()];
    let passes = (windows.len() * (models.len() + 1)) as u64;
    let mut done = 0;
    for (window, tokens) in windows.iter().enumerate() {
        if progress.cancelled() {
            return Err(Error::Cancelled { done: window, total: windows.len() });
        }
        check_window(reference, window, tokens)?;
        let truth = Truth::new(isa, reference, window, tokens)?;
        done += 1;
        progress.step(done, passes, "reference");
        for (model, result) in models.iter_mut().zip(&mut results) {
            check_window(*model, window, tokens)?;
            result.windows.push(truth.score(isa, *model, window, tokens)?);
            result.reference_nll.push(truth.nll);
            done += 1;
            progress.step(done, passes, "comparing");
        }
    }
    Ok(results)
}

/// The reference's view of one window.
struct Truth {
    logits: Array2<f32>,
    /// Max and sum of exp per row.
    norms: Vec<(f32, f64)>,
    nll: f64,
}

impl Truth {
    fn new(isa: Isa, reference: &mut dyn LanguageModel, window: usize, tokens: &[u32]) -> Result<Truth, Error> {
        let scored = tokens.len() - 1;
        let mut logits = Array2::zeros((scored, reference.vocab_size()));
        each_row(reference, window, tokens, |position, row| {
            logits.row_mut(position).assign(&ArrayView2::from_shape((1, row.len()), row).expect("a row").row(0));
            true
        })?;
        let norms: Vec<_> = logits.rows().into_iter().map(|r| soft_max_sum(isa, r.to_slice().expect("rows are contiguous"))).collect();
        let mut nll = 0.0;
        for (position, (max, sum)) in norms.iter().enumerate() {
            let x = f64::from(*max) + sum.ln() - f64::from(logits[[position, tokens[position + 1] as usize]]);
            if !x.is_finite() {
                return Err(Error::NotFinite { position, window });
            }
            nll += x;
        }
        Ok(Truth { logits, norms, nll: nll / scored as f64 })
    }

    fn score(&self, isa: Isa, model: &mut dyn LanguageModel, window: usize, tokens: &[u32]) -> Result<WindowScore, Error> {
        let mut score = WindowScore::default();
        each_row(model, window, tokens, |position, row| {
            let truth = self.logits.row(position);
            let truth = truth.to_slice().expect("rows are contiguous");
            let ((max, sum), (model_max, model_sum)) = (self.norms[position], soft_max_sum(isa, row));
            let (log_z, model_log_z) = (f64::from(max) + sum.ln(), f64::from(model_max) + model_sum.ln());
            let kl = weighted_difference(isa, truth, row, max) / sum - log_z + model_log_z;
            score.kl += kl;
            score.agreement += f64::from(u8::from(argmax(truth) == argmax(row)));
            score.nll += model_log_z - f64::from(row[tokens[position + 1] as usize]);
            kl.is_finite()
        })?;
        let scored = (tokens.len() - 1) as f64;
        Ok(WindowScore { kl: score.kl / scored, agreement: score.agreement / scored, nll: score.nll / scored })
    }
}

/// Calls `f` for each scored position; `f` says whether what it saw was finite.
fn each_row(model: &mut dyn LanguageModel, window: usize, tokens: &[u32], mut f: impl FnMut(usize, &[f32]) -> bool) -> Result<(), Error> {
    let (mut rows, mut bad) = (0, None);
    model.for_logits(tokens, &mut |first, logits| {
        rows += logits.nrows();
        for (position, row) in (first..tokens.len() - 1).zip(logits.rows()) {
            let row = row.to_slice().map_or_else(|| row.to_vec().into(), std::borrow::Cow::Borrowed);
            if !f(position, &row) {
                bad = bad.or(Some(position));
            }
        }
    })?;
    match (bad, rows == tokens.len()) {
        (Some(position), _) => Err(Error::NotFinite { position, window }),
        (None, false) => Err(Error::Rows { want: tokens.len(), got: rows }),
        (None, true) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language_model::ModelError;
    use crate::{perplexity, windows};
    use scant_tensor_core::rng::Rng;

    /// What follows depends on the last token alone.
    struct Bigram {
        table: Array2<f32>,
        block: usize,
    }

    impl LanguageModel for Bigram {
        fn vocab_size(&self) -> usize {
            self.table.ncols()
        }
        fn context(&self) -> usize {
            64
        }
        fn for_logits(&mut self, tokens: &[u32], f: &mut dyn FnMut(usize, ArrayView2<'_, f32>)) -> Result<(), ModelError> {
            for (i, block) in tokens.chunks(self.block).enumerate() {
                let rows: Vec<usize> = block.iter().map(|t| *t as usize).collect();
                f(i * self.block, self.table.select(ndarray::Axis(0), &rows).view());
            }
            Ok(())
        }
    }

    fn bigram(seed: u64, vocab: usize, scale: f32) -> Bigram {
        let mut rng = Rng::new(seed);
        Bigram { table: Array2::from_shape_fn((vocab, vocab), |_| rng.normal() * scale), block: 7 }
    }

    fn log_softmax(row: ndarray::ArrayView1<'_, f32>) -> Vec<f64> {
        let z = row.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
        row.iter().map(|x| f64::from(*x) - z).collect()
    }

    #[test]
    fn scores_equal_the_definitions_in_f64() {
        let vocab = 1500; // more than one stretch, and a tail
        let (mut a, mut b) = (bigram(1, vocab, 1.0), bigram(2, vocab, 1.0));
        b.table = &a.table + &(&b.table * 0.1);
        let mut rng = Rng::new(3);
        let text: Vec<u32> = (0..100).map(|_| rng.below(vocab) as u32).collect();
        let windows = windows(&text, 20).unwrap();
        let (reference, model) = (a.table.clone(), b.table.clone());
        let got = &compare(&mut a, &mut [&mut b], &windows, &()).unwrap()[0];
        assert_eq!(got.windows.len(), 5);
        for (w, tokens) in windows.iter().enumerate() {
            let (mut kl, mut nll) = (0.0, 0.0);
            for pair in tokens.windows(2) {
                let (p, q) = (log_softmax(reference.row(pair[0] as usize)), log_softmax(model.row(pair[0] as usize)));
                kl += p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>() / 19.0;
                nll -= q[pair[1] as usize] / 19.0;
            }
            assert!((got.windows[w].kl - kl).abs() < 1e-6, "{} {kl}", got.windows[w].kl);
            assert!((got.windows[w].nll - nll).abs() < 1e-5, "{} {nll}", got.windows[w].nll);
        }
        let direct = perplexity(&mut b, &windows, &()).unwrap();
        assert!((direct.perplexity() / got.perplexity() - 1.0).abs() < 1e-6);
        assert!(got.kl_less(&Comparison { windows: vec![WindowScore::default(); 5], ..got.clone() }).excludes_zero());
    }

    #[test]
    fn a_model_equals_itself() {
        let (mut a, mut b) = (bigram(1, 40, 3.0), bigram(1, 40, 3.0));
        let got = compare(&mut a, &mut [&mut b], &[&[1, 2, 3, 4, 39]], &()).unwrap();
        assert!(got[0].kl().mean.abs() < 1e-7 && got[0].agreement().mean == 1.0);
    }

    #[test]
    fn bad_input_is_named() {
        let (mut a, mut b) = (bigram(1, 40, 1.0), bigram(1, 30, 1.0));
        let text = |e: Error| e.to_string();
        assert!(text(compare(&mut a, &mut [&mut b], &[&[1, 2]], &()).unwrap_err()).contains("40"));
        assert!(text(perplexity(&mut a, &[&[1, 99]], &()).unwrap_err()).contains("token 99 at position 1"));
        assert!(text(perplexity(&mut a, &[&[1; 65]], &()).unwrap_err()).contains("65"));
        a.table[[3, 5]] = f32::NAN;
        assert!(text(perplexity(&mut a, &[&[1, 3, 2]], &()).unwrap_err()).contains("position 1 of window 0"));
        assert!(matches!(windows(&[1, 2], 3), Err(Error::TooShort { tokens: 2, window: 3 })));
    }
}
