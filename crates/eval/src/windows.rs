//! Text cut into windows.

use crate::error::Error;

/// Non-overlapping windows of `window` tokens; what is left at the end is dropped. Every token but the first of a window is scored.
///
/// # Errors
/// [`Error::TooShort`] if there is not one whole window; [`Error::Window`] if `window` is below 2.
///
/// ```
/// let text = [1, 2, 3, 4, 5, 6, 7];
/// assert_eq!(scant_eval::windows(&text, 3)?, [[1, 2, 3], [4, 5, 6]]);
/// # Ok::<(), scant_eval::Error>(())
/// ```
pub fn windows(tokens: &[u32], window: usize) -> Result<Vec<&[u32]>, Error> {
    if window < 2 {
        return Err(Error::Window { window, context: tokens.len() });
    }
    if tokens.len() < window {
        return Err(Error::TooShort { tokens: tokens.len(), window });
    }
    Ok(tokens.chunks_exact(window).collect())
}
