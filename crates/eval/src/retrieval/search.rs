//! Exact search, small enough to judge encoders with: every score is computed.

use ndarray::ArrayView2;

/// For each row of `queries` `[queries, d]` the `k` rows of `documents` `[n, d]` with the largest dot products, best first; of equal scores the
/// lower index.
///
/// # Panics
/// If the widths differ.
pub fn search_dense(documents: ArrayView2<'_, f32>, queries: ArrayView2<'_, f32>, k: usize) -> Vec<Vec<usize>> {
    let scores = queries.dot(&documents.t());
    scores.rows().into_iter().map(|row| best(row.iter().copied().enumerate().collect(), k)).collect()
}

/// The same for sparse vectors, given as pairs of term and weight. Documents that share no term with a query are not found.
pub fn search_sparse(documents: &[Vec<(u32, f32)>], queries: &[Vec<(u32, f32)>], k: usize) -> Vec<Vec<usize>> {
    let terms = documents.iter().chain(queries).flatten().map(|(term, _)| *term as usize + 1).max().unwrap_or(0);
    let mut postings = vec![vec![]; terms];
    for (document, vector) in documents.iter().enumerate() {
        vector.iter().for_each(|(term, weight)| postings[*term as usize].push((document, *weight)));
    }
    let mut sums = vec![0.0; documents.len()];
    let search = |query: &Vec<(u32, f32)>| {
        sums.fill(0.0);
        for (term, q) in query {
            postings[*term as usize].iter().for_each(|(document, weight)| sums[*document] += q * weight);
        }
        best(sums.iter().copied().enumerate().filter(|(_, sum)| *sum != 0.0).collect(), k)
    };
    queries.iter().map(search).collect()
}

fn best(mut scores: Vec<(usize, f32)>, k: usize) -> Vec<usize> {
    scores.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    scores.into_iter().take(k).map(|(i, _)| i).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn ties_go_to_the_lower_index() {
        let documents = array![[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [2.0, 0.0]];
        assert_eq!(search_dense(documents.view(), array![[1.0, 0.0]].view(), 3), [[3, 0, 2]]);
        let sparse = [vec![(7, 1.0)], vec![(2, 4.0)], vec![(7, 1.0)], vec![(2, 1.0), (7, 1.5)]];
        assert_eq!(search_sparse(&sparse, &[vec![(7, 2.0)], vec![(9, 1.0)]], 3), [vec![3, 0, 2], vec![]]);
    }
}
