//! SmolLM2 as comparisons need it: off its grid, with sequences of WikiText-2.

use crate::{CALIBRATION, Result, SMOLLM2, TEST};
use scant_examples::data::real;
use scant_examples::sequences;
use scant_transformer::{Model, Tokenizer, open};

/// Moved off the 4-bit grid that its file is on: there any 4-bit method would only find it again.
pub(crate) fn off_grid() -> Result<Model> {
    Ok(open(real(SMOLLM2)?)?.off_grid(1)?)
}

/// 128 sequences of 512 tokens of the validation text.
pub(crate) fn calibration(tokenizer: &Tokenizer) -> Result<Vec<Vec<u32>>> {
    wikitext(CALIBRATION, tokenizer, 128)
}

/// 200 windows of 512 tokens of the test text.
pub(crate) fn test(tokenizer: &Tokenizer) -> Result<Vec<Vec<u32>>> {
    wikitext(TEST, tokenizer, 200)
}

/// Plain text instead of the collection's marks.
fn wikitext(file: &str, tokenizer: &Tokenizer, count: usize) -> Result<Vec<Vec<u32>>> {
    let text = std::fs::read_to_string(real(file)?)?;
    let text = text.replace("<unk>", "unknown").replace(" @-@ ", "-").replace(" ,", ",").replace(" .", ".");
    let sequences = sequences::of_text(tokenizer, &text, count, 512)?;
    if sequences.len() == count {
        Ok(sequences)
    } else {
        Err(format!("{file} gave {} sequences, {count} are wanted", sequences.len()).into())
    }
}
