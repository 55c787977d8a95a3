//! Chain of Spreadsheet: first find the table, then ask about it (Dong et al. 2024, section 4).

use super::address::{Address, Range, leading_address};
use super::compress::{Compressed, SheetCompressor};
use super::grid::Sheet;
use super::tables::header_rows;
use crate::{Error, TokenCounter};

/// How a table that exceeds the budget is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slices {
    /// As many rows as the budget holds.
    #[default]
    Fill,
    /// So many rows each, as in the paper's second algorithm, where it is 3.
    Fixed(u32),
}

/// A question to a sheet, as prompts to send and answers to feed back. It calls no model itself.
///
/// ```
/// use scant_prompt_compress::Guess;
/// use scant_prompt_compress::sheet::{Chain, Limits, SheetCompressor, Workbook};
/// let book = Workbook::read(b"city,people\nTarn,1200\nFenn,800\n", &Limits::default())?;
/// let compressor = SheetCompressor::new();
/// let mut chain = Chain::new(&compressor, &book.sheets()[0], "How many people live in Fenn?", &Guess)?;
///
/// let mut model = ["The table is A1:B3.", "B3"].into_iter();
/// while let Some(_prompt) = chain.next_prompt()? {
///     chain.feed(model.next().unwrap())?;
/// }
/// assert_eq!(chain.table().unwrap().to_string(), "A1:B3");
/// assert_eq!(chain.answer(), Some("B3"));
/// # Ok::<(), scant_prompt_compress::Error>(())
/// ```
pub struct Chain<'a> {
    compressor: SheetCompressor,
    sheet: &'a Sheet,
    question: String,
    counter: &'a dyn TokenCounter,
    compressed: Compressed,
    budget_tokens: usize,
    slices: Slices,
    table: Option<Range>,
    stage: Stage,
    sent_tokens: u64,
}

enum Stage {
    Locate,
    Ask,
    /// Bodies still to ask about (last first), answers so far.
    Slice {
        header: u32,
        left: Vec<Range>,
        answers: Vec<String>,
    },
    Merge {
        answers: Vec<String>,
    },
    Done {
        answer: String,
    },
}

impl<'a> Chain<'a> {
    /// Begins: compresses the sheet.
    ///
    /// # Errors
    /// Those of [`SheetCompressor::compress`].
    pub fn new(compressor: &SheetCompressor, sheet: &'a Sheet, question: &str, counter: &'a dyn TokenCounter) -> Result<Chain<'a>, Error> {
        Ok(Chain {
            compressor: compressor.clone(),
            sheet,
            question: question.to_owned(),
            counter,
            compressed: compressor.compress(sheet, counter)?,
            budget_tokens: 4096,
            slices: Slices::Fill,
            table: None,
            stage: Stage::Locate,
            sent_tokens: 0,
        })
    }

    /// Tokens of a table in one prompt; 4,096 unless set.
    #[must_use]
    pub fn budget_tokens(self, budget_tokens: usize) -> Chain<'a> {
        Chain { budget_tokens, ..self }
    }

    /// How larger tables are cut.
    #[must_use]
    pub fn slices(self, slices: Slices) -> Chain<'a> {
        Chain { slices, ..self }
    }

    /// The table that was named, in the sheet's own addresses.
    pub fn table(&self) -> Option<Range> {
        self.table
    }

    /// The last answer, once there is nothing more to ask.
    pub fn answer(&self) -> Option<&str> {
        if let Stage::Done { answer } = &self.stage { Some(answer) } else { None }
    }

    /// Tokens of all prompts so far.
    pub fn sent_tokens(&self) -> u64 {
        self.sent_tokens
    }

    /// The next prompt to send; `None` when the answer is there.
    ///
    /// # Errors
    /// A table is too large to be written.
    pub fn next_prompt(&mut self) -> Result<Option<String>, Error> {
        let prompt = match &self.stage {
            Stage::Done { .. } => return Ok(None),
            Stage::Locate => format!(
                "{}\nFind the one table that answers the question, header included, and answer with its range alone, such as B2:F14.\n\n{}\nQuestion: {}\n",
                self.compressed.form.explanation(),
                self.compressed.text,
                self.question
            ),
            Stage::Ask => self.about(&self.compressor.vanilla(self.sheet, &self.whole())?),
            Stage::Slice { header, left, .. } => {
                let table = self.whole();
                let mut text = self.compressor.vanilla(self.sheet, &Range { bottom: table.top + header - 1, ..table })?;
                if let Some(body) = left.last() {
                    text += &self.compressor.vanilla(self.sheet, body)?;
                }
                self.about(&text)
            }
            Stage::Merge { answers } => {
                let list: String = answers.iter().enumerate().map(|(i, a)| format!("{}. {}\n", i + 1, a.trim())).collect();
                format!(
                    "A question was put to each part of a table in turn. Join the parts' answers to one, a cell address or a formula alone; parts \
                     that know nothing do not count.\n\n{list}\nQuestion: {}\n",
                    self.question
                )
            }
        };
        self.sent_tokens += self.counter.count(&prompt) as u64;
        Ok(Some(prompt))
    }

    /// Takes the answer to the last prompt.
    ///
    /// # Errors
    /// The answer to the first prompt names no range, or one outside of what was sent; the same prompt can be sent again.
    pub fn feed(&mut self, answer: &str) -> Result<(), Error> {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Locate) {
            Stage::Locate => {
                let range = find_range(answer).ok_or_else(|| Error::NotARange(answer.chars().take(80).collect()))?;
                let table = self.compressed.to_original(&range)?;
                let inside = self.sheet.used().unwrap_or(table);
                if !inside.encloses(&table) {
                    return Err(Error::RangeOutsideSheet { range: table, inside });
                }
                self.table = Some(table);
                self.plan(table)?
            }
            Stage::Slice { header, mut left, mut answers } => {
                left.pop();
                answers.push(answer.to_owned());
                if left.is_empty() { Stage::Merge { answers } } else { Stage::Slice { header, left, answers } }
            }
            Stage::Ask | Stage::Merge { .. } => Stage::Done { answer: answer.trim().to_owned() },
            done @ Stage::Done { .. } => done,
        };
        Ok(())
    }

    fn whole(&self) -> Range {
        self.table.unwrap_or(Range::cell(Address { row: 0, col: 0 }))
    }

    fn about(&self, text: &str) -> String {
        let explanation = super::Form::Vanilla.explanation();
        let question = &self.question;
        format!(
            "{explanation}\nAnswer with the address of the cell that holds the answer, or with a formula, alone.\n\n{text}\nQuestion: {question}\n"
        )
    }

    /// Asks at once if the table fits, else slice by slice below the header.
    fn plan(&self, table: Range) -> Result<Stage, Error> {
        let tokens = |range: Range| Ok::<_, Error>(self.counter.count(&self.compressor.vanilla(self.sheet, &range)?));
        if table.height() < 2 || tokens(table)? <= self.budget_tokens {
            return Ok(Stage::Ask);
        }
        let header = header_rows(self.sheet, &table).clamp(1, table.height() - 1);
        let room = self.budget_tokens.saturating_sub(tokens(Range { bottom: table.top + header - 1, ..table })?);
        let (mut left, mut top) = (vec![], table.top + header);
        while top <= table.bottom {
            let mut bottom = top;
            match self.slices {
                Slices::Fixed(n) => bottom = top.saturating_add(n.max(1) - 1).min(table.bottom),
                Slices::Fill => {
                    let mut used = tokens(Range { top, bottom, ..table })?;
                    while bottom < table.bottom {
                        used += tokens(Range { top: bottom + 1, bottom: bottom + 1, ..table })?;
                        if used > room {
                            break;
                        }
                        bottom += 1;
                    }
                }
            }
            left.push(Range { top, bottom, ..table });
            top = bottom + 1;
        }
        left.reverse();
        Ok(Stage::Slice { header, left, answers: vec![] })
    }
}

/// The first range in a text, or else its first address.
fn find_range(text: &str) -> Option<Range> {
    let bytes = text.as_bytes();
    let mut first = None;
    let mut at = 0;
    while at < bytes.len() {
        // An address is a word of its own.
        let starts = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        if let Some((from, len)) = leading_address(&bytes[at..]).filter(|_| starts) {
            let rest = &bytes[at + len..];
            let ends = |rest: &[u8]| !rest.first().is_some_and(u8::is_ascii_alphanumeric);
            if let Some((to, more)) = rest.strip_prefix(b":").and_then(leading_address)
                && ends(&rest[1 + more..])
            {
                return Some(Range::cell(from).hull(&Range::cell(to)));
            }
            if ends(rest) && first.is_none() {
                first = Some(Range::cell(from));
            }
            at += len;
        } else {
            at += 1;
        }
    }
    first
}
