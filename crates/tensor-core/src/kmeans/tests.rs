//! The statements of the specification: the objective falls, bytes do not depend on threads or tiers, degenerate data has an answer.

use super::*;
use crate::isa::Isa;
use crate::rng::Rng;
use proptest::prelude::*;

fn rows(n: usize, d: usize, seed: u64) -> Array2<f32> {
    let mut rng = Rng::new(seed);
    let centres = Array2::from_shape_simple_fn((7, d), || 3.0 * rng.normal());
    Array2::from_shape_fn((n, d), |(i, j)| centres[(i * i % 7, j)] + rng.normal())
}

fn on_threads<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

fn bits(x: &Array2<f32>) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_nearest_is_the_nearest_and_equal_on_every_tier(
        n in 1usize..40, k in 1usize..200, d in prop_oneof![1usize..20, Just(130usize)], shift in prop_oneof![Just(0.0f32), Just(1000.0)], seed in any::<u64>(),
    ) {
        let (x, c) = (rows(n, d, seed) + shift, rows(k, d, seed ^ 1) + shift);
        let nearest = Nearest::new(c.view());
        let mut want = vec![0; n];
        nearest.assign_on(Isa::available()[0], x.view(), &mut want);
        for isa in Isa::available() {
            let mut cells = vec![u32::MAX; n];
            nearest.assign_on(isa, x.view(), &mut cells);
            prop_assert_eq!(&cells, &want, "{}", isa);
        }
        for (row, cell) in x.outer_iter().zip(want) {
            let exact = |at: usize| row.iter().zip(c.row(at)).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            let best = (0..k).map(exact).fold(f64::INFINITY, f64::min);
            prop_assert!(exact(cell as usize) <= best * (1.0 + 1e-4) + 1e-4, "{} against {}", exact(cell as usize), best);
        }
    }
}

#[test]
fn several_passes_over_many_centroids_take_the_lowest_of_equal_ones() {
    // 300 panels of 64 at d = 16 are more than one pass; every centroid occurs twice.
    let half = rows(9600, 16, 3);
    let c = ndarray::concatenate![Axis(0), half, half];
    let mut cells = vec![0; 100];
    Nearest::new(c.view()).assign(half.slice_axis(Axis(0), (9500..9600).into()), &mut cells);
    assert_eq!(cells, (9500..9600).collect::<Vec<u32>>());
}

#[test]
fn the_objective_does_not_rise_and_bytes_do_not_depend_on_threads() {
    let x = rows(3000, 12, 5);
    let params = KMeans::new(32).iters(30).seed(9).tolerance(0.0);
    let one = on_threads(1, || params.fit(x.view())).unwrap();
    for threads in [2, 7] {
        let other = on_threads(threads, || params.fit(x.view())).unwrap();
        assert_eq!(bits(&one.centroids), bits(&other.centroids));
        assert_eq!(one, other);
    }
    assert!(one.objective.windows(2).all(|w| w[1] <= w[0] * (1.0 + 1e-6)), "{:?}", one.objective);
    // From rows at random it falls further than from what the parts of the sample have found.
    let cold = params.fit_from(x.view(), x.slice_axis(Axis(0), (0..32).into())).unwrap();
    assert!(cold.objective.windows(2).all(|w| w[1] <= w[0] * (1.0 + 1e-6)), "{:?}", cold.objective);
    assert!(cold.objective.last().unwrap() < &(0.95 * cold.objective[0]), "{:?}", cold.objective);
    // Noise of unit variance in 12 dimensions around 7 centres: 32 centroids explain all but the noise, and some of that.
    assert!(*one.objective.last().unwrap() < 12.0, "{:?}", one.objective);
}

#[test]
fn all_equal_rows_k_equal_to_n_and_too_few_different_rows_have_an_answer() {
    let equal = Array2::from_elem((50, 3), 7.5f32);
    let found = KMeans::new(4).fit(equal.view()).unwrap();
    assert!(found.centroids.iter().all(|v| (v - 7.5).abs() < 0.02), "{:?}", found.centroids);
    assert_eq!(found.objective.last(), Some(&0.0));

    let x = rows(20, 3, 1);
    let own = KMeans::new(20).fit(x.view()).unwrap();
    assert_eq!((own.objective.last(), own.sizes), (Some(&0.0), vec![1; 20]));

    let two = Array2::from_shape_fn((40, 2), |(i, _)| (i % 2) as f32);
    let found = KMeans::new(8).fit(two.view()).unwrap();
    assert!(found.centroids.iter().all(|v| v.is_finite()));
    assert_eq!(found.objective.last(), Some(&0.0));

    let few = KMeans::new(21).fit(x.view()).unwrap_err();
    assert_eq!(few.to_string(), "k-means with 21 centroids: 20 rows, and at least 21 are needed");
    let mut bad = x.clone();
    bad[(3, 1)] = f32::NAN;
    assert!(matches!(KMeans::new(2).fit(bad.view()), Err(Error::NotFinite { row: 3, column: 1, .. })));
    assert!(KMeans::new(0).fit(x.view()).is_err());
}

#[test]
fn a_penalty_evens_out_the_cells() {
    // A normal distribution: cells in the middle hold more.
    let mut rng = Rng::new(2);
    let x = Array2::from_shape_simple_fn((8000, 2), || rng.normal());
    let plain = KMeans::new(16).fit(x.view()).unwrap();
    let even = KMeans::new(16).balance(1.0).tolerance(0.0).fit(x.view()).unwrap();
    assert!(even.imbalance() - 1.0 < 0.6 * (plain.imbalance() - 1.0), "{} {}", even.imbalance(), plain.imbalance());
    assert!(even.imbalance() >= 1.0);
}

#[test]
fn spherical_centroids_are_unit_vectors_and_a_warm_start_is_kept() {
    let x = rows(500, 6, 4);
    let found = KMeans::new(8).spherical().fit(x.view()).unwrap();
    assert!(found.centroids.outer_iter().all(|c| (c.dot(&c) - 1.0).abs() < 1e-5));
    let first = KMeans::new(8).iters(20).tolerance(0.0).fit(x.view()).unwrap();
    let again = KMeans::new(8).iters(1).fit_from(x.view(), first.centroids.view()).unwrap();
    assert!(again.objective[0] <= first.objective.last().unwrap() * (1.0 + 1e-6));
    assert!(KMeans::new(7).fit_from(x.view(), first.centroids.view()).is_err());
}

#[test]
fn no_cell_is_larger_than_its_cap_and_the_cap_costs_little() {
    let x = rows(2000, 4, 6);
    let plain = KMeans::new(12).seed(3).fit(x.view()).unwrap();
    for share in [0.0, 0.1, 0.5] {
        let capped = KMeans::new(12).seed(3).cap(share).fit(x.view()).unwrap();
        let most = (2000.0 / 12.0 * (1.0 + share)).ceil() as u32;
        assert_eq!(capped.sizes.iter().sum::<u32>(), 2000);
        assert!(capped.sizes.iter().all(|n| *n <= most), "{share}: {:?}", capped.sizes);
        // The hard limit moves rows across: never better than without, and not twice as bad where there is room.
        let (with, without) = (capped.objective.last().unwrap(), plain.objective.last().unwrap());
        assert!(share < 0.1 || *with < 2.0 * without, "{share}: {with} {without}");
        let mut cells = vec![0; 2000];
        Nearest::new(capped.centroids.view()).assign_capped(x.view(), share, &mut cells);
        assert!((0..12).all(|c| cells.iter().filter(|cell| **cell == c).count() <= most as usize));
    }
    let wide = Nearest::new(plain.centroids.view());
    let (mut free, mut roomy) = (vec![0; 2000], vec![0; 2000]);
    wide.assign(x.view(), &mut free);
    wide.assign_capped(x.view(), 11.0, &mut roomy); // room for all in each
    assert_eq!(free, roomy);
}

#[test]
fn many_centroids_are_found_through_cells_nearly_as_well() {
    let x = rows(10_000, 4, 7);
    let params = KMeans::new(4096).iters(3);
    let one = on_threads(1, || params.fit(x.view())).unwrap();
    let two = on_threads(2, || params.fit(x.view())).unwrap();
    assert_eq!(bits(&one.centroids), bits(&two.centroids));
    assert_eq!(one.repeated, 0);
    assert!((0.0..0.02).contains(&one.shortcut), "{}", one.shortcut);
    assert_eq!(one.sizes.iter().sum::<u32>(), 10_000);
    let distance = |nearest: Nearest| {
        let mut cells = vec![0; x.nrows()];
        nearest.assign(x.view(), &mut cells);
        x.outer_iter().zip(cells).map(|(row, c)| (&row - &one.centroids.row(c as usize)).mapv(|v| f64::from(v * v)).sum()).sum::<f64>()
    };
    let (exact, found) = (distance(Nearest::new(one.centroids.view())), distance(Nearest::approximate(one.centroids.view())));
    assert!(exact <= found && found < 1.02 * exact, "{exact} {found}");
}

#[test]
fn centroids_are_shared_out_by_size() {
    assert_eq!(start::shares(&[10, 0, 30, 5], 9), [2, 0, 6, 1]);
    assert_eq!(start::shares(&[3, 3, 3], 9), [3, 3, 3]);
    assert_eq!(start::shares(&[1, 1, 98], 10), [0, 0, 10]);
}
