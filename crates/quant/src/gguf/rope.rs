//! The order of query and key rows in llama-architecture files.
//!
//! Rotary embeddings turn pairs of rows of each head. Hugging Face checkpoints pair row `i` with row `i + d/2`
//! (half-split); GGUF files of architecture `llama` pair row `2 i` with row `2 i + 1` (interleaved), so their `attn_q` and
//! `attn_k` rows are permuted. Other architectures (gemma3) keep the half-split order.

/// The half-split (Hugging Face) row that is row `row` of the interleaved (GGUF llama) matrix.
///
/// ```
/// use scant_quant::gguf::rope;
/// let order: Vec<usize> = (0..8).map(|row| rope::half_split_row(row, 4)).collect();
/// assert_eq!(order, [0, 2, 1, 3, 4, 6, 5, 7]);
/// assert!((0..8).all(|row| rope::interleaved_row(rope::half_split_row(row, 4), 4) == row));
/// ```
///
/// # Panics
/// If `head_dim` is odd or 0.
pub fn half_split_row(row: usize, head_dim: usize) -> usize {
    let (head, in_head) = split(row, head_dim);
    head + in_head % 2 * (head_dim / 2) + in_head / 2
}

/// The interleaved (GGUF llama) row that is row `row` of the half-split (Hugging Face) matrix: the inverse of
/// [`half_split_row`].
///
/// # Panics
/// If `head_dim` is odd or 0.
pub fn interleaved_row(row: usize, head_dim: usize) -> usize {
    let (head, in_head) = split(row, head_dim);
    let half = head_dim / 2;
    head + in_head % half * 2 + in_head / half
}

/// First row of the head, and the row within it.
fn split(row: usize, head_dim: usize) -> (usize, usize) {
    assert!(head_dim > 0 && head_dim.is_multiple_of(2), "rotary pairs need an even head dimension, got {head_dim}");
    (row - row % head_dim, row % head_dim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_orders_are_inverse_and_keep_to_their_heads() {
        for head_dim in [2, 4, 8, 64, 80] {
            for row in 0..3 * head_dim {
                let half = half_split_row(row, head_dim);
                assert_eq!(interleaved_row(half, head_dim), row);
                assert_eq!(half / head_dim, row / head_dim);
                if row % 2 == 0 {
                    assert_eq!(half_split_row(row + 1, head_dim), half + head_dim / 2);
                }
            }
        }
    }
}
