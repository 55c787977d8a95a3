//! The index against a plain scan of the same codes.

use crate::*;
use proptest::prelude::*;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::retrieve::{Bitmap, Hit};
use scant_tensor_core::rng::Rng;

/// Vectors with skewed frequencies and many ties.
fn vectors(n: usize, vocabulary: usize, longest: usize, seed: u64) -> Vectors {
    let mut rng = Rng::new(seed);
    let mut all = Vectors::new();
    for _ in 0..n {
        let mut entries = std::collections::BTreeMap::new();
        for _ in 0..rng.below(longest + 1) {
            let term = (rng.uniform() * rng.uniform() * rng.uniform() * vocabulary as f32) as u32;
            entries.insert(term, (1 + rng.below(6)) as f32 * 0.25);
        }
        all.push_unsorted(&entries.into_iter().collect::<Vec<_>>()).unwrap();
    }
    all
}

/// The integer scores by the definition, from the vectors.
fn brute_force(index: &Index, documents: &Vectors, q: SparseVec<'_>, k: usize, keep: impl Fn(usize) -> bool) -> Vec<Hit> {
    let query = crate::query::Query::new(q, index.scales());
    let weights: std::collections::HashMap<u32, u32> = query.terms.iter().copied().collect();
    let mut hits: Vec<(u32, u64)> = vec![];
    for (row, document) in documents.iter().enumerate().filter(|(row, _)| keep(*row)) {
        let code = |(term, weight): (u32, f32)| (weight / index.scales()[term as usize]).round().min(255.0) as u32;
        let score = document.iter().map(|e| code(e) * weights.get(&e.0).copied().unwrap_or(0)).sum();
        if score > 0 {
            hits.push((score, index.ids()[row]));
        }
    }
    hits.sort_by_key(|(score, id)| (std::cmp::Reverse(*score), *id));
    hits.truncate(k);
    hits.into_iter().map(|(score, id)| Hit { id, score: score as f32 * query.factor }).collect()
}

fn ids(n: usize, seed: u64) -> Vec<u64> {
    let mut ids: Vec<u64> = (0..n as u64).map(|i| i * 1_000_000_007).collect();
    Rng::new(seed).shuffle(&mut ids);
    ids
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn exact_search_is_brute_force(n in 0usize..150, vocabulary in 1usize..60, window in 2u32..8, k in 1usize..30, seed in any::<u64>()) {
        let documents = vectors(n, vocabulary, 12, seed);
        let mut builder = IndexBuilder::new();
        builder.window = 1 << window;
        let mut index = builder.build(&ids(n, seed), &documents)?;
        let mut rng = Rng::new(seed ^ 1);
        let dead: Vec<usize> = (0..n).filter(|_| rng.below(8) == 0).collect();
        index.remove(&dead.iter().map(|row| index.ids()[*row]).collect::<Vec<_>>())?;
        let queries = vectors(4, vocabulary + 3, 8, seed ^ 2);
        let allowed = Bitmap::from_fn(n, |_| rng.below(3) > 0);
        for q in queries.iter() {
            let want = brute_force(&index, &documents, q, k, |row| !dead.contains(&row));
            for isa in Isa::available() {
                let mut workspace = Workspace::new(isa);
                prop_assert_eq!(&index.search_in(q, k, &Default::default(), &mut workspace)?, &want);
            }
            let options = SearchOptions { allowed: Some(&allowed), ..Default::default() };
            let want = brute_force(&index, &documents, q, k, |row| !dead.contains(&row) && allowed.contains(row));
            prop_assert_eq!(&index.search(q, k, &options)?, &want);
            let must = [q.terms().first().copied().unwrap_or(0)];
            let options = SearchOptions { must: &must, ..Default::default() };
            let want = brute_force(&index, &documents, q, k, |row| !dead.contains(&row) && documents.get(row).terms().contains(&must[0]));
            prop_assert_eq!(&index.search(q, k, &options)?, &want);
            // All terms of the query and all documents as candidates: nothing is cut.
            let options = SearchOptions { effort: Effort::Cut { terms: 1, candidates: n.max(1) }, must: &must, ..Default::default() };
            prop_assert!(index.search(q, k, &options)?.len() <= want.len());
            for hit in index.search(q, k, &Default::default())? {
                prop_assert_eq!(index.score(q, &[hit.id])?, [hit.score]);
                let parts: f32 = index.explain(q, hit.id)?.iter().map(|share| share.product).sum();
                prop_assert!((parts - hit.score).abs() <= index.score_bound(q));
            }
        }
    }
}

#[test]
fn scores_lie_within_the_reported_bound_of_the_vectors() {
    let mut rng = Rng::new(3);
    let mut documents = Vectors::new();
    for _ in 0..500 {
        let entries: Vec<(u32, f32)> =
            (0..40).filter(|_| rng.below(3) == 0).collect::<Vec<u32>>().into_iter().map(|t| (t, rng.uniform() * 3.0)).collect();
        documents.push_unsorted(&entries).unwrap();
    }
    let names: Vec<u64> = (0..500).collect();
    let index = IndexBuilder::new().build(&names, &documents).unwrap();
    for i in 0..50 {
        let q = documents.get(i);
        let scores = index.score(q, &names).unwrap();
        let weights: std::collections::HashMap<u32, f32> = q.iter().collect();
        for (row, score) in scores.into_iter().enumerate() {
            let exact: f32 = documents.get(row).iter().map(|(t, w)| w * weights.get(&t).unwrap_or(&0.0)).sum();
            assert!((score - exact).abs() <= index.score_bound(q) * 1.0001, "{score} and {exact}");
        }
    }
}

#[test]
fn several_large_windows_dense_lists_and_few_allowed_rows() {
    let n = 40_000;
    let documents = vectors(n, 3_000, 30, 5);
    let names = ids(n, 5);
    let mut index = IndexBuilder::new().build(&names, &documents).unwrap();
    let mut rng = Rng::new(9);
    let queries = vectors(20, 3_000, 25, 6);
    for share in [1usize, 2, 20, 200, 2_000] {
        let allowed = Bitmap::from_fn(n, |_| rng.below(share) == 0);
        let options = SearchOptions { allowed: Some(&allowed), ..Default::default() };
        let found = index.search_all(&queries, 10, &options).unwrap();
        for (q, found) in queries.iter().zip(found) {
            assert_eq!(found, brute_force(&index, &documents, q, 10, |row| allowed.contains(row)));
        }
    }
    let ladder = index.calibrate(&queries, 10).unwrap();
    assert!(ladder.iter().any(|rung| rung.recall > 0.99));
    let options = SearchOptions { effort: Effort::Recall(0.9), ..Default::default() };
    let (near, exact) = (index.search_all(&queries, 10, &options).unwrap(), index.search_all(&queries, 10, &Default::default()).unwrap());
    let same: usize = near.iter().zip(&exact).map(|(a, b)| b.iter().filter(|hit| a.contains(hit)).count()).sum();
    assert!(same * 10 >= exact.iter().map(Vec::len).sum::<usize>() * 9);
}

#[test]
fn bad_input_is_refused_by_name() {
    let message = |r: Result<SparseVec<'_>, Error>| r.unwrap_err().to_string();
    assert_eq!(message(SparseVec::new(&[4], &[f32::NAN])), "the weight of term 4 is NaN, which is not finite");
    assert_eq!(message(SparseVec::new(&[4], &[-1.0])), "the weight of term 4 is -1: weights are 0 or more");
    assert_eq!(message(SparseVec::new(&[4], &[])), "weights of the terms: want 1, got 0");
    let documents = vectors(3, 10, 5, 1);
    assert!(matches!(IndexBuilder::new().build(&[1, 2, 1], &documents), Err(Error::DuplicateId { id: 1 })));
    assert!(matches!(IndexBuilder::new().scales(vec![1.0]).build(&[1, 2, 3], &documents), Err(Error::TermOutOfRange { .. })));
    let mut index = IndexBuilder::new().build(&[1, 2, 3], &documents).unwrap();
    assert!(matches!(index.search(documents.get(0), 0, &Default::default()), Err(Error::KZero)));
    assert!(matches!(index.remove(&[1, 9]), Err(Error::UnknownId { id: 9 })));
    assert_eq!(index.len(), 3);
    index.remove(&[1, 2, 3]).unwrap();
    assert!(index.search(documents.get(0), 5, &Default::default()).unwrap().is_empty());
    assert!(index.search(SparseVec::default(), 5, &Default::default()).unwrap().is_empty());
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let documents = vectors(2_000, 900, 30, 8);
    let build = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| IndexBuilder::new().build(&ids(2_000, 1), &documents).unwrap())
    };
    let (one, four) = (build(1), build(4));
    assert_eq!(one.postings.blocks, four.postings.blocks);
    assert_eq!(one.forward.pairs, four.forward.pairs);
}
