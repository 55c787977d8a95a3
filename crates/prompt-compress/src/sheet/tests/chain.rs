use super::*;
use crate::{Error, Guess, TokenCounter};

fn large() -> Sheet {
    let mut builder = SheetBuilder::new("large");
    builder.set(2, 1, Value::Text("item"), 0).unwrap();
    builder.set(2, 2, Value::Text("pieces"), 0).unwrap();
    for row in 3..203 {
        builder.set(row, 1, Value::Text(&format!("item {row}")), 0).unwrap();
        builder.set(row, 2, Value::Number(f64::from(row * 3)), 0).unwrap();
    }
    builder.build()
}

#[test]
fn a_large_table_is_asked_slice_by_slice_under_its_header() {
    let sheet = large();
    for (slices, at_least) in [(Slices::Fill, 2), (Slices::Fixed(3), 67)] {
        let compressor = SheetCompressor::new();
        let mut chain = Chain::new(&compressor, &sheet, "Which item has 300 pieces?", &Guess).unwrap().budget_tokens(500).slices(slices);
        let first = chain.next_prompt().unwrap().unwrap();
        assert!(first.contains("Which item"), "{first}");
        // The table is B3:C203, of which rows 3 to 7 and 199 to 203 are kept as 1 to 10.
        chain.feed("The range is A1:B10.").unwrap();
        assert_eq!(chain.table(), Some(range("B3:C203")));
        let (mut prompts, mut rows) = (vec![], vec![0; 203]);
        while let Some(prompt) = chain.next_prompt().unwrap() {
            for (row, times) in rows.iter_mut().enumerate() {
                *times += u32::from(prompt.contains(&format!("|B{},item {row}|", row + 1)));
            }
            assert!(Guess.count(&prompt) < 500 + 100);
            let answer = if prompt.contains(",item 100|") { "B101" } else { "unknown" };
            let merge = !prompt.contains("|B3,item|C3,pieces\n");
            assert!(!merge || prompt.contains("B101"));
            chain.feed(if merge { "B101" } else { answer }).unwrap();
            prompts.push(prompt);
        }
        assert!(prompts.len() > at_least);
        assert_eq!(rows[3..], [1; 200], "every row is in one slice");
        assert_eq!(chain.answer(), Some("B101"));
        let sent: usize = prompts.iter().chain([&first]).map(|p| Guess.count(p)).sum();
        assert_eq!(chain.sent_tokens(), sent as u64);
    }
}

#[test]
fn answers_that_name_no_range_of_the_sheet_are_refused() {
    let sheet = large();
    let compressor = SheetCompressor::new();
    let mut chain = Chain::new(&compressor, &sheet, "?", &Guess).unwrap();
    assert!(matches!(chain.feed("I do not know"), Err(Error::NotARange(_))));
    assert!(matches!(chain.feed("A1:B11"), Err(Error::RangeOutsideSheet { .. })));
    assert!(matches!(chain.feed("Q3 was good: 10B"), Err(Error::RangeOutsideSheet { .. })), "Q3 is an address, 10B is none");
    assert!(chain.answer().is_none() && chain.next_prompt().unwrap().is_some());
    chain.feed("**A1:B2**").unwrap();
    assert_eq!(chain.table(), Some(range("B3:C4")));
    let prompt = chain.next_prompt().unwrap().unwrap();
    assert!(prompt.contains("|B3,item|C3,pieces\n|B4,item 3|C4,9\n"), "{prompt}");
}
