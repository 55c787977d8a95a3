use super::*;
use crate::{Guess, TokenCounter};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Every cell of a decoded text, values and types; a cell that comes twice fails.
fn cells(text: &str) -> BTreeMap<Address, Key> {
    let mut cells = BTreeMap::new();
    for Entry { key, ranges } in decode(text).unwrap() {
        for r in ranges {
            for row in r.top..=r.bottom {
                for col in r.left..=r.right {
                    assert!(cells.insert(Address { row, col }, key.clone()).is_none(), "{} twice", Address { row, col });
                }
            }
        }
    }
    cells
}

fn text(compressor: &SheetCompressor, sheet: &Sheet, form: Form) -> String {
    compressor.clone().forms(&[form]).compress(sheet, &Guess).unwrap().text
}

fn fields() -> impl Strategy<Value = Vec<Vec<&'static str>>> {
    let field = prop::sample::select(vec![
        "",
        "",
        "",
        "a",
        "a",
        "total",
        "12",
        "12",
        "3.5",
        "2001",
        "2002",
        "x|y",
        "(z)",
        "line\nbreak",
        "back\\slash",
        "50%",
        "a@b.cd",
        "ünï\u{301}🙂",
        "1,2",
        "(IntNum)",
    ]);
    prop::collection::vec(prop::collection::vec(field, 0..7), 0..14)
}

fn made(fields: &[Vec<&str>], down: u32, right: u32) -> Sheet {
    let rows: Vec<&[&str]> = fields.iter().map(Vec::as_slice).collect();
    placed(&rows, down, right)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_inverted_index_gives_back_every_cell(fields in fields(), down in 0u32..5, right in 0u32..30) {
        let sheet = made(&fields, down, right);
        let decoded = cells(&text(&SheetCompressor::new().anchors(None), &sheet, Form::Inverted));
        let want: BTreeMap<_, _> = sheet.iter().map(|(at, ..)| (at, Key::Value(sheet.shown(at)))).collect();
        prop_assert_eq!(decoded, want);
    }

    #[test]
    fn types_and_values_share_out_the_cells(fields in fields()) {
        let sheet = made(&fields, 0, 0);
        let decoded = cells(&text(&SheetCompressor::new().anchors(None), &sheet, Form::InvertedAggregated));
        let there: Vec<Address> = sheet.iter().map(|(at, ..)| at).collect();
        prop_assert_eq!(decoded.keys().copied().collect::<Vec<_>>(), there);
        for (at, key) in decoded {
            match key {
                Key::Value(value) => prop_assert_eq!(value, sheet.shown(at)),
                Key::Type(name) => prop_assert!(recognise(&sheet.shown(at)).is_some_and(|t| t.to_string() == name || name == "YearData")),
            }
        }
    }

    #[test]
    fn kept_rows_and_columns_lead_back(fields in fields(), k in 0u32..4) {
        let sheet = made(&fields, 3, 2);
        let compressed = SheetCompressor::new().anchors(Some(k)).forms(&[Form::Inverted]).compress(&sheet, &Guess).unwrap();
        for (at, key) in cells(&compressed.text) {
            let original = compressed.to_original(&Range::cell(at)).unwrap();
            prop_assert_eq!(key, Key::Value(sheet.shown(Address { row: original.top, col: original.left })));
            prop_assert_eq!(compressed.to_kept(&original), Some(Range::cell(at)));
        }
        if let AxisMap::Kept(rows) = &compressed.rows {
            prop_assert!(rows.is_sorted_by(|a, b| a < b));
            let below = Range::cell(Address { row: rows.len() as u32, col: 0 });
            prop_assert!(compressed.to_original(&below).is_err());
        }
    }

    #[test]
    fn wide_anchors_keep_everything(fields in fields()) {
        let sheet = made(&fields, 0, 0);
        // From A1, so that renumbering changes nothing.
        prop_assume!(sheet.used().is_some_and(|u| (u.top, u.left) == (0, 0)));
        for form in Form::ALL {
            let (all, wide) = (SheetCompressor::new().anchors(None), SheetCompressor::new().anchors(Some(u32::MAX)));
            prop_assert_eq!(text(&all, &sheet, form), text(&wide, &sheet, form));
        }
    }

    #[test]
    fn where_a_sheet_lies_does_not_matter(fields in fields(), down in 0u32..1_000_000, right in 0u32..16_000) {
        let (here, there) = (made(&fields, 0, 0), made(&fields, down, right));
        prop_assume!(here.used().is_some());
        for form in [Form::Inverted, Form::InvertedAggregated, Form::Vanilla] {
            prop_assert_eq!(text(&SheetCompressor::new(), &here, form), text(&SheetCompressor::new(), &there, form));
        }
    }

    #[test]
    fn nothing_grows(fields in fields(), down in 0u32..100) {
        let sheet = made(&fields, down, 0);
        let compressor = SheetCompressor::new();
        let vanilla = compressor.vanilla_tokens(&sheet, &Guess).unwrap();
        let short = compressor.compress(&sheet, &Guess).unwrap();
        prop_assert!(short.tokens <= vanilla);
        prop_assert_eq!(short.tokens, Guess.count(&short.text));
        let lossless = compressor.anchors(None).forms(&[Form::Inverted, Form::Vanilla]).compress(&sheet, &Guess).unwrap();
        prop_assert!(lossless.tokens <= vanilla);
    }

    #[test]
    fn boxes_cover_their_cells(set in prop::collection::btree_set((0u32..9, 0u32..9), 0..50)) {
        let cells: Vec<(u32, u32)> = set.iter().copied().collect();
        let rectangles = rectangles::rectangles(&mut cells.clone());
        prop_assert_eq!(rectangles.iter().map(Range::area).sum::<u64>(), cells.len() as u64);
        let boxes = rectangles::boxes(&mut cells.clone());
        for &(row, col) in &cells {
            let holds = |r: &&Range| r.contains(Address { row, col });
            prop_assert_eq!(rectangles.iter().filter(holds).count(), 1);
            prop_assert_eq!(boxes.iter().filter(holds).count().min(1), 1);
        }
        // As many boxes as a flood fill finds parts.
        let (mut left, mut parts) = (set, 0);
        while let Some(start) = left.pop_first() {
            let mut stack = vec![start];
            parts += 1;
            while let Some((r, c)) = stack.pop() {
                for near in [(r + 1, c), (r.wrapping_sub(1), c), (r, c + 1), (r, c.wrapping_sub(1))] {
                    if left.remove(&near) {
                        stack.push(near);
                    }
                }
            }
        }
        prop_assert_eq!(boxes.len(), parts);
    }

    #[test]
    fn decoding_never_panics(text in "[A-Z0-9:,|()\\\\n\n ]{0,60}") {
        let _ = decode(&text);
    }
}

#[test]
fn texts_of_each_form() {
    let sheet = sheet(&[&["item", "pieces", "price"], &["bolt", "12", "0.5"], &["nut", "12", ""], &["a|b", "7", "1.25"]]);
    let compressor = SheetCompressor::new().anchors(None);
    assert_eq!(
        text(&compressor, &sheet, Form::Vanilla),
        "|A1,item|B1,pieces|C1,price\n|A2,bolt|B2,12|C2,0.5\n|A3,nut|B3,12|C3,\n|A4,a\\|b|B4,7|C4,1.25\n"
    );
    assert_eq!(
        text(&compressor, &sheet, Form::Inverted),
        "item|A1\npieces|B1\nprice|C1\nbolt|A2\n12|B2:B3\n0.5|C2\nnut|A3\na\\|b|A4\n7|B4\n1.25|C4\n"
    );
    assert_eq!(
        text(&compressor, &sheet, Form::InvertedAggregated),
        "(IntNum)|B2:B4\n(FloatNum)|C2,C4\nitem|A1\npieces|B1\nprice|C1\nbolt|A2\nnut|A3\na\\|b|A4\n"
    );
    assert_eq!(
        text(&compressor, &sheet, Form::Aggregated),
        "(IntNum)|B2:B4\n(FloatNum)|C2,C4\n|A1,item|B1,pieces|C1,price\n|A2,bolt\n|A3,nut\n|A4,a\\|b\n"
    );
}

#[test]
fn number_formats_come_before_looks() {
    let mut builder = SheetBuilder::new("styled");
    let format = |code: &str| Style { format: std::sync::Arc::new(NumberFormat::new(code, false)), ..Style::default() };
    let (date, text_format) = (builder.style(format("yyyy-mm-dd")).unwrap(), builder.style(format("@")).unwrap());
    builder.set(0, 0, Value::Number(45000.0), date).unwrap();
    builder.set(1, 0, Value::Number(45001.0), date).unwrap();
    builder.set(2, 0, Value::Text("n/a"), date).unwrap();
    builder.set(3, 0, Value::Number(7.0), text_format).unwrap();
    let sheet = builder.build();
    let all = SheetCompressor::new().anchors(None);
    assert_eq!(text(&all, &sheet, Form::InvertedAggregated), "(yyyy-mm-dd)|A1:A2\n(IntNum)|A4\nn/a|A3\n");
    assert_eq!(text(&all, &sheet, Form::Inverted), "2023-03-15|A1\n2023-03-16|A2\nn/a|A3\n7|A4\n");
    assert_eq!(text(&all.clone().values(Values::Raw), &sheet, Form::Inverted), "45000|A1\n45001|A2\nn/a|A3\n7|A4\n");
    assert_eq!(
        text(&all.formats(true), &sheet, Form::Vanilla),
        "|A1,2023-03-15,yyyy-mm-dd\n|A2,2023-03-16,yyyy-mm-dd\n|A3,n/a,yyyy-mm-dd\n|A4,7,@\n"
    );
}

#[test]
fn boxes_are_the_paper_s_regions() {
    let sheet = sheet(&[&["1", "2"], &["a", "3"], &["", ""], &["4", ""]]);
    let boxes = SheetCompressor::new().anchors(None).regions(Regions::Boxes);
    assert_eq!(text(&boxes, &sheet, Form::InvertedAggregated), "(IntNum)|A1:B2,A4\na|A2\n");
    assert_eq!(text(&boxes.regions(Regions::Rectangles), &sheet, Form::InvertedAggregated), "(IntNum)|A1,B1:B2,A4\na|A2\n");
}

#[test]
fn a_sheet_without_contents_is_an_empty_text() {
    let short = SheetCompressor::new().compress(&sheet(&[]), &Guess).unwrap();
    assert_eq!((short.text.as_str(), short.tokens, short.tables.len()), ("", 0, 0));
    assert!(SheetCompressor::new().forms(&[]).compress(&sheet(&[]), &Guess).is_err());
}

#[test]
fn addresses_and_ranges_round_trip() {
    for text in ["A1", "Z9", "AA10", "AZ1", "XFD1048576", "B2:D9"] {
        assert_eq!(range(text).to_string(), text);
    }
    assert_eq!(range("$B$2:D9"), range("B2:D9"));
    assert_eq!(range("D9:B2"), range("B2:D9"));
    for text in ["", "A0", "A", "1", "XFE1", "A1048577", "A1:", "A1:B", "A-1", "AAAAAAAAAAAA1", "A99999999999"] {
        assert!(text.parse::<Range>().is_err(), "{text}");
    }
}
