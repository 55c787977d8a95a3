use super::*;
use proptest::prelude::*;

/// A little of everything: runs, few letters, noise.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        proptest::collection::vec(proptest::sample::select(b"ACGT".to_vec()), 0..400),
        proptest::collection::vec(any::<u8>(), 0..200),
        (any::<u8>(), 0..600usize).prop_map(|(b, n)| vec![b; n]),
        Just(b"the quick brown fox jumps over the lazy dog ".repeat(6)),
    ];
    proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_prefix_changes_nothing(x in text(), y in text(), z in text(), level in 1u32..10) {
        let mut codec = Deflate::new(level).unwrap();
        let whole = [codec.len(&[&x[..], &y].concat()), codec.len(&[&x[..], &z].concat())];
        codec.set_prefix(&x);
        // Twice, since what follows must be forgotten.
        prop_assert_eq!([codec.len_after(&y), codec.len_after(&z)], whole);
        prop_assert_eq!(codec.len_after(&y), whole[0]);
    }
}

#[test]
fn lengths_are_those_of_zlib() {
    // Written by zlib 1.2.13: 20,000 of four letters, then 12,000 of six words, from a linear congruence.
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    };
    let dna: Vec<u8> = (0..20_000).map(|_| b"ACGT"[(next() % 4) as usize]).collect();
    let words: Vec<u8> =
        (0..12_000).flat_map(|_| [&b"in "[..], b"on ", b"under ", b"tree ", b"house ", b"x"][(next() % 6) as usize].to_vec()).collect();
    let want =
        [[6679, 9767], [6424, 9117], [6247, 8166], [6218, 7812], [6147, 7388], [6194, 6834], [6252, 6629], [6275, 6446], [6275, 6438]];
    for (level, [a, b]) in (1..=9).zip(want) {
        let mut codec = Deflate::new(level).unwrap();
        assert_eq!([codec.len(&dna), codec.len(&words)], [a, b], "level {level}");
    }
}

#[test]
fn wrong_levels_and_empty_texts_are_errors() {
    assert!(matches!(Deflate::new(0), Err(Error::LevelUnsupported { level: 0, .. })));
    assert!(matches!(Deflate::new(10), Err(Error::LevelUnsupported { level: 10, .. })));
    assert!(matches!(Nearest::new(9, Container::Raw, b"", &[]), Err(Error::Nothing(_))));
    assert!(matches!(Aligner::new(9, Container::Raw, &[b"a", b""]), Err(Error::EmptyText { index: 1 })));
}

#[test]
fn a_text_among_the_references_is_its_own_nearest_and_the_first_of_copies_wins() {
    let mut state = 7u32;
    let mut letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b"ACGT"[(state >> 30) as usize]
    };
    let texts: Vec<Vec<u8>> = (0..12).map(|_| (0..400).map(|_| letter()).collect()).collect();
    let mut references: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
    references.push(&texts[3]);
    let nearest = Nearest::new(9, Container::Gzip, b" ", &references).unwrap();
    assert_eq!(nearest.find(&texts[3], None).unwrap().index, 3);
    let pruned = nearest.find(&texts[3], Some(0.05)).unwrap();
    assert_eq!(pruned.index, 3);
    assert!(pruned.compared <= 13);
}
