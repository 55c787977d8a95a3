//! One unit vector for each text.

use super::{Batch, Encoder, Workspace};
use crate::{Error, Path};
use ndarray::Array2;
use scant_tensor_core::Ctx;

impl Encoder {
    /// The mean of the hidden states of each sequence, all its tokens counted, scaled to length 1: `[texts, hidden]`, as MiniLM and most sentence
    /// encoders are trained. Their dot products are cosines. A mean of length 0 stays 0.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn embed(&self, ctx: &Ctx<'_>, path: Path, batch: &Batch, ws: &mut Workspace) -> Result<Array2<f32>, Error> {
        let hidden = self.config.hidden;
        let mut out = Array2::zeros((batch.len(), hidden));
        self.each_group(ctx, path, batch, ws, &mut |group, ws| {
            for (i, rows) in group.zip(&ws.sequences) {
                let mut mean = out.row_mut(i);
                let mean = mean.as_slice_mut().expect("rows are contiguous");
                for state in ws.x[rows.start * hidden..rows.end * hidden].chunks_exact(hidden) {
                    mean.iter_mut().zip(state).for_each(|(mean, x)| *mean += x);
                }
                normalise(mean);
            }
            Ok(())
        })?;
        Ok(out)
    }
}

/// To length 1; the scale of what comes in does not matter.
fn normalise(x: &mut [f32]) {
    let length = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        #[expect(clippy::cast_possible_truncation, reason = "f32 is what is computed with")]
        x.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
}
