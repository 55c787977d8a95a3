//! The generator of text: same seed same text, answers where it says, and nothing but the key that gives them away.

use scant_eval::stories::{
    CALIBRATION_SEEDS, Encoded, HELD_OUT_SEEDS, Passage, Relation, RowParams, SEEDS_PER_ROW, StoryParams, TRAIN_SEEDS, question, row, text,
};
use std::collections::BTreeSet;
use std::convert::Infallible;

fn passages(n: u64) -> impl Iterator<Item = Passage> {
    (0..n).map(|i| StoryParams { chars: 200 + 40 * i as usize, ..StoryParams::default() }.passage(HELD_OUT_SEEDS.start + i))
}

#[test]
fn same_seed_same_text_other_seed_other_text() {
    let p = StoryParams::default();
    assert_eq!(p.passage(5), p.passage(5));
    assert_eq!(question(4, 50, 5), question(4, 50, 5));
    let all: BTreeSet<String> = (0..200).map(|seed| p.passage(seed).text).collect();
    assert_eq!(all.len(), 200);
    const { assert!(TRAIN_SEEDS.end <= HELD_OUT_SEEDS.start && HELD_OUT_SEEDS.end <= CALIBRATION_SEEDS.start) };
}

#[test]
fn every_answer_repeats_a_value_that_was_stated_before_with_its_key() {
    let mut answers = 0;
    for passage in passages(100) {
        let Passage { text, answers: found } = passage;
        assert!(text.is_ascii() && !text.contains('\n') && !text.contains("  ") && !text.contains(['{', '}']), "{text}");
        let mut end = 0;
        for answer in found {
            assert!(answer.span.start >= end && answer.span.end <= text.len());
            end = answer.span.end;
            let value = &text[answer.span.clone()];
            let mention = answer.span.start - answer.distance;
            assert_eq!(&text[mention..mention + value.len()], value, "{text}");
            assert!(value.chars().all(char::is_alphanumeric) && answer.candidates >= 1);
            answers += 1;
        }
    }
    assert!(answers > 1000, "{answers}");
}

#[test]
fn any_candidate_is_asked_for_equally_often() {
    for candidates in [2, 4, 8] {
        let n = 2000;
        let newest = (0..n).filter(|seed| {
            let passage = question(candidates, 40, HELD_OUT_SEEDS.start + seed);
            let last = passage.answers.last().unwrap();
            assert_eq!((passage.answers.len(), last.candidates), (1, candidates));
            last.newest
        });
        let (share, expected) = (newest.count() as f64 / n as f64, 1.0 / candidates as f64);
        assert!((share - expected).abs() < 0.035, "{candidates} candidates: the newest is asked for in {share} of all");
    }
    // In long passages too the newest fact is one of many.
    let of_several: Vec<bool> = passages(100).flat_map(|p| p.answers).filter(|a| a.candidates >= 4).map(|a| a.newest).collect();
    let share = of_several.iter().filter(|n| **n).count() as f64 / of_several.len() as f64;
    assert!(of_several.len() > 500 && share < 0.25, "{share}");
}

#[test]
fn all_relations_are_asked_for_and_distances_follow_the_pause() {
    let asked: BTreeSet<Relation> = (0..200).map(|seed| question(3, 0, seed).answers[0].relation).collect();
    assert_eq!(asked.len(), Relation::ALL.len());
    let mean = |pause| (0..200).map(|seed| question(3, pause, seed).answers[0].distance).sum::<usize>() as f64 / 200.0;
    let (near, far) = (mean(0), mean(1000));
    assert!(near < 150.0 && (far - near - 1000.0).abs() < 100.0, "{near} {far}");
}

#[test]
fn the_vocabulary_has_thousands_of_words_and_breadth_narrows_it() {
    let words = |breadth| {
        let p = StoryParams { breadth, ..StoryParams::default() };
        let sample = text(&p, TRAIN_SEEDS, 3_000_000);
        sample.split(|c: char| !c.is_alphabetic()).map(str::to_owned).collect::<BTreeSet<_>>().len()
    };
    let (all, few) = (words(1.0), words(0.05));
    assert!(all > 2000 && few < 700, "{all} {few}");
}

#[test]
fn lengths_are_kept_and_odd_parameters_give_text() {
    for chars in [0, 1, 500, 6000] {
        for kind in [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)] {
            let p = StoryParams { chars, recitals: kind.0, stories: kind.1, ..StoryParams::default() };
            let len = p.passage(3).text.len();
            assert!(len >= chars && len < chars + 700, "{chars} {kind:?}: {len}");
        }
    }
    for breadth in [-1.0, 0.0, 7.0, f32::NAN] {
        assert!(!StoryParams { breadth, chars: 300, ..StoryParams::default() }.passage(1).text.is_empty());
    }
    assert!(!StoryParams { filler: 50.0, chars: 300, ..StoryParams::default() }.passage(1).text.is_empty());
}

/// A token for each byte; 256 and 257 are the pieces around a passage.
fn bytes(text: &str) -> Result<Encoded, Infallible> {
    Ok(Encoded { ids: text.bytes().map(u32::from).collect(), offsets: (0..text.len()).map(|i| (i, i + 1)).collect() })
}

#[test]
fn rows_have_their_length_and_weights_lie_on_answers() {
    let p = RowParams {
        story: StoryParams { recitals: 1.0, ..StoryParams::default() },
        tokens: 600,
        chars_per_token: 1.0,
        bos: 256,
        eos: 257,
        line: 10,
        lines: 0.5,
        answer_weight: 4.0,
    };
    let (mut begun, mut ended) = ([0; 2], [0; 2]);
    for i in 0..100 {
        let (ids, weights) = row(&p, TRAIN_SEEDS.start, i, bytes).unwrap();
        assert_eq!((ids.len(), weights.len()), (601, 601));
        assert_eq!((ids.clone(), weights.clone()), row(&p, TRAIN_SEEDS.start, i, bytes).unwrap());
        begun[usize::from(ids[0] == 256)] += 1;
        for pair in ids.windows(2) {
            match pair {
                [257, next] => assert_eq!(*next, 256),
                [last, 256] => assert_eq!(*last, 257),
                _ => {}
            }
        }
        ended[0] += ids.iter().filter(|t| **t == 257).count();
        ended[1] += ids.iter().filter(|t| **t == 10).count();
        // In a list the value stands between ": " and a comma or a point.
        for at in (1..600).filter(|at| weights[*at] == 4.0 && weights[at - 1] == 1.0) {
            assert!(ids[at - 1] == u32::from(b' '), "{at}");
        }
        assert!(weights.iter().filter(|w| **w == 4.0).count() > 30);
    }
    assert!(begun[0] > 10 && begun[0] < 45, "a quarter of the rows begins in the middle: {begun:?}");
    assert!(ended[0] > 50 && ended[1] > 50, "{ended:?}");
    // Rows do not share passages.
    assert_eq!(TRAIN_SEEDS.end % SEEDS_PER_ROW, 0);
    assert_ne!(row(&p, TRAIN_SEEDS.start, 1, bytes).unwrap().0, row(&p, TRAIN_SEEDS.start, 2, bytes).unwrap().0);
}

#[test]
fn tokens_of_a_span_are_those_that_touch_it() {
    let encoded = Encoded { ids: vec![1, 2, 3, 4], offsets: vec![(0, 4), (4, 9), (9, 10), (10, 15)] };
    assert_eq!(encoded.tokens_of(&(5..9)), 1..2); // " Tarn" without its space
    assert_eq!(encoded.tokens_of(&(8..11)), 1..4);
    assert_eq!(encoded.tokens_of(&(4..9)), 1..2);
}
