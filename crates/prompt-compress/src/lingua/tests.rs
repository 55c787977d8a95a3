use super::*;
use crate::{Guess, Warning};
use proptest::prelude::*;

/// Splits at white space.
struct Words;

impl TokenCounter for Words {
    fn name(&self) -> &str {
        "words"
    }

    fn count(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }
}

fn vocabulary() -> Vocabulary {
    Vocabulary::from_json(doc_vocabulary().as_bytes()).unwrap()
}

fn table() -> Hashed {
    Hashed::new((0..4099).map(|i| (i * 37 % 4099) as f32 / 4099.0).collect()).unwrap()
}

#[test]
fn rates_cut_as_python_does() {
    let percents = |rate: f64| (100.0 * (1.0f64 - rate).max(0.0) + 1.0) as u32;
    let want = [(0.33, 68), (0.5, 51), (0.29, 72), (0.1, 91), (0.9, 10), (0.99, 2), (0.55, 45), (0.42, 59)];
    for (rate, percent) in want {
        assert_eq!(percents(rate), percent, "{rate}");
    }
}

#[test]
fn wrong_parameters_are_errors() {
    let (v, c) = (vocabulary(), table());
    for rate in [0.0, -1.0, 1.5, f64::NAN] {
        assert!(matches!(Lingua::new(&v, &c, &Words, LinguaParams::new(rate)), Err(Error::Parameter { name: "rate", .. })));
    }
    let params = LinguaParams { force_tokens: vec!["a".to_owned(); 101], ..LinguaParams::new(0.5) };
    assert!(matches!(Lingua::new(&v, &c, &Words, params), Err(Error::Parameter { name: "force_tokens", .. })));
}

#[test]
fn recorded_probabilities_decide() {
    let v = vocabulary();
    let id = |w: &str| v.encode(w).unwrap()[0].id;
    let mut ids = vec![v.bounds(true)[0]];
    ids.extend(["the", "cat", "sat", "on", "the", "mat"].map(id));
    ids.push(v.bounds(true)[1]);
    let mut recorded = Recorded::default();
    recorded.insert(ids, vec![0.0, 0.1, 0.9, 0.8, 0.2, 0.15, 0.7, 0.0]);
    let lingua = Lingua::new(&v, &recorded, &Words, LinguaParams::new(0.5)).unwrap();
    let record = lingua.compress_contexts(&["the cat sat on the mat"], None, true).unwrap();
    assert_eq!((&*record.text, record.tokens_in, record.tokens_out), ("cat sat mat", 6, 3));
    assert_eq!(record.labels[1], ("cat".to_owned(), true));
    assert_eq!((record.ratio_text(), record.rate_text()), ("2.0x".to_owned(), "50.0%".to_owned()));
    assert_eq!(lingua.compress("the cat sat  on the mat").unwrap().text, "cat sat mat");
    assert!(matches!(lingua.compress("the cat"), Err(Error::Backend { .. })));
}

#[test]
fn rate_one_keeps_everything_and_force_tokens_stay() {
    let (v, c) = (vocabulary(), table());
    let text = "the cat sat on the mat . the cat saw mice !\nand on";
    let whole = Lingua::new(&v, &c, &Words, LinguaParams::new(1.0)).unwrap();
    assert_eq!(whole.compress(text).unwrap().text, text);
    let params = LinguaParams { force_tokens: vec!["mice !".to_owned(), "\n".to_owned()], ..LinguaParams::new(0.2) };
    let forced = Lingua::new(&v, &c, &Words, params).unwrap();
    assert!(forced.compress(text).unwrap().text.contains("mice !"));
    let record = forced.compress_contexts(&[text], None, false).unwrap();
    assert!(record.text.contains("mice!") && record.text.contains('\n'), "{}", record.text);
}

#[test]
fn contexts_are_filtered() {
    let (v, c) = (vocabulary(), table());
    let contexts = ["the cat sat on the mat", "mice saw the cat and the mat", "on and on the cat sat"];
    let lingua = Lingua::new(&v, &c, &Words, LinguaParams::new(0.5)).unwrap();
    let one = ContextFilter { contexts: Some(1), ..ContextFilter::default() };
    assert_eq!(lingua.compress_contexts(&contexts, Some(&one), false).unwrap().contexts.len(), 1);
    let forced = ContextFilter { force: vec![0, 1, 2], ..one };
    assert_eq!(lingua.compress_contexts(&contexts, Some(&forced), false).unwrap().contexts.len(), 3);
}

#[test]
fn protected_text_beyond_the_rate_is_reported() {
    let (v, c) = (vocabulary(), table());
    let lingua = Lingua::new(&v, &c, &Guess, LinguaParams::new(0.1)).unwrap();
    let short = lingua.compress("1 2 3 4 5 6 7 8 9").unwrap();
    assert_eq!(short.text, "1 2 3 4 5 6 7 8 9");
    assert!(matches!(short.warnings[..], [Warning::ProtectedBeyondRate { .. }]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_text_is_tiled_by_spans_and_keeps_what_is_protected(
        parts in proptest::collection::vec("cat|the|mice |\\.|[ \n]|4[0-9]|[a-zé中🎉\u{301}]{1,4} |user_id |`x y`| ?\\[1, 2\\]", 0..120),
        rate in 0.05f64..1.0,
    ) {
        let text = parts.concat();
        let (v, c) = (vocabulary(), table());
        let at = |rate: f64| Lingua::new(&v, &c, &Words, LinguaParams::new(rate)).unwrap().compress(&text).unwrap();
        let short = at(rate);
        let mut end = 0;
        for span in &short.spans {
            prop_assert_eq!(span.source.start, end);
            end = span.source.end;
            prop_assert!(text.get(span.source.clone()).is_some() && short.text.get(span.output.clone()).is_some());
        }
        prop_assert_eq!(end, text.len());
        prop_assert!(short.text.len() <= text.len());
        for p in Guard::default().find(&text) {
            prop_assert!(short.text.contains(&text[p.range.clone()]), "{:?} lost {:?}", short.text, &text[p.range]);
        }
        // A higher rate drops nothing that a lower one keeps.
        let more = at((rate + 0.05).min(1.0));
        for (a, b) in short.spans.iter().zip(&more.spans) {
            prop_assert!(!a.kept || b.kept);
        }
    }
}
