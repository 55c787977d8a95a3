use super::*;
use scant_tensor_core::rng::Rng;

/// By definition, on each weight by itself.
fn naive(w: &[f64], start: &[f64], temperature: f64, rounds: usize) -> (Vec<f64>, Vec<f64>) {
    let shares = |w: f64, c: &[f64]| {
        let e: Vec<f64> = c.iter().map(|c| (-(w - c) * (w - c) / temperature).exp()).collect();
        let sum: f64 = e.iter().sum();
        e.into_iter().map(|e| e / sum).collect::<Vec<f64>>()
    };
    let mut c = start.to_vec();
    for _ in 0..rounds {
        let all: Vec<Vec<f64>> = w.iter().map(|w| shares(*w, &c)).collect();
        let mean = |j: usize| {
            let (weight, sum) = all.iter().zip(w).fold((0.0, 0.0), |(n, s), (a, w)| (n + a[j], s + a[j] * w));
            sum / weight
        };
        c = (0..c.len()).map(mean).collect();
    }
    let soft = w.iter().map(|w| shares(*w, &c).iter().zip(&c).map(|(a, c)| a * c).sum()).collect();
    (soft, c)
}

/// Weights of few distinct values.
fn weights(rng: &mut Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| bf16::from_f32((rng.normal() * 16.0).round() / 16.0).to_f32()).collect()
}

#[test]
fn distinct_values_give_what_all_weights_give() {
    let mut rng = Rng::new(1);
    for (len, k, temperature, rounds) in [(5, 2, 0.1, 1), (300, 4, 0.02, 3), (1000, 8, 0.5, 3), (40, 1, 0.1, 2), (40, 3, 0.05, 0)] {
        let w = weights(&mut rng, len);
        let start = Dkm::start(&w, k).unwrap();
        let clusters = Dkm { temperature, rounds }.cluster(&w, &start).unwrap();
        let [w64, start64] = [&w, &start].map(|x| x.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>());
        let (soft, centroids) = naive(&w64, &start64, temperature, rounds);
        let mut got = vec![0.0; len];
        clusters.soft(&mut got);
        let near = |a: f32, b: f64| assert!((f64::from(a) - b).abs() <= 1e-6 * b.abs().max(1.0), "{a} and {b}");
        got.iter().zip(&soft).for_each(|(a, b)| near(*a, *b));
        clusters.centroids().iter().zip(&centroids).for_each(|(a, b)| near(*a, *b));

        // The gradient against differences, weight by weight: equal weights are moved alone.
        let g: Vec<f32> = (0..len).map(|_| rng.normal()).collect();
        let loss = |w: &[f64]| naive(w, &start64, temperature, rounds).0.iter().zip(&g).map(|(w, g)| w * f64::from(*g)).sum::<f64>();
        let mut dw = vec![1.0; len];
        clusters.gradient(&g, &mut dw);
        for i in (0..len).step_by(len.div_ceil(40)) {
            let mut moved = w64.clone();
            let h = 1e-5;
            moved[i] += h;
            let up = loss(&moved);
            moved[i] -= 2.0 * h;
            let want = 1.0 + (up - loss(&moved)) / (2.0 * h);
            assert!((f64::from(dw[i]) - want).abs() < 1e-4 * want.abs().max(1.0), "{len} weights, weight {i}: {} and {want}", dw[i]);
        }
    }
}

#[test]
fn cold_clusters_are_k_means() {
    let mut rng = Rng::new(2);
    let w: Vec<f32> = (0..100_000).map(|_| rng.normal()).collect();
    // Least mean square errors of a normal number.
    for (k, want) in [(2, 0.3634), (4, 0.1175), (8, 0.03454), (16, 0.009497)] {
        let start = Dkm::start(&w, k).unwrap();
        let clusters = Dkm { temperature: 1e-7, rounds: 5 }.cluster(&w, &start).unwrap();
        start.iter().zip(clusters.centroids()).for_each(|(a, b)| assert!((a - b).abs() < 1e-4, "{a} and {b}"));
        let centroids = clusters.centroids();
        let errors = w.iter().zip(clusters.codes()).map(|(w, code)| f64::from(w - centroids[usize::from(code)]).powi(2));
        let error = errors.sum::<f64>() / w.len() as f64;
        assert!((error / want - 1.0).abs() < 0.02, "{k}: {error}");
        // Codes and mixtures agree once it is cold.
        let mut soft = vec![0.0; w.len()];
        clusters.soft(&mut soft);
        let far = soft.iter().zip(clusters.codes()).filter(|(s, code)| (**s - centroids[usize::from(*code)]).abs() > 1e-3).count();
        assert!(far < w.len() / 500, "{far}");
    }
}

#[test]
fn a_centroid_far_from_everything_stays() {
    let w = [-1.0, -1.0, 1.0, 1.0];
    let clusters = Dkm { temperature: 1e-3, rounds: 2 }.cluster(&w, &[-1.0, 1.0, 50.0]).unwrap();
    assert_eq!(clusters.centroids(), [-1.0, 1.0, 50.0]);
    let mut dw = [0.0; 4];
    clusters.gradient(&[1.0; 4], &mut dw);
    assert!(dw.iter().all(|d| d.is_finite()));
    assert_eq!(Dkm::start(&[0.0, -0.0, 2.0, 2.0], 2).unwrap(), [0.0, 2.0]);
}

#[test]
fn what_makes_no_clusters_is_an_error() {
    let says = |error: Result<Clusters, Error>, text: &str| {
        let error = error.unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    let dkm = Dkm { temperature: 0.1, rounds: 1 };
    says(dkm.cluster(&[], &[0.0]), "no weights");
    says(dkm.cluster(&[1.0, f32::NAN], &[0.0]), "weight 1 is NaN");
    says(dkm.cluster(&[1.0, 2.0], &[]), "0 centroids");
    says(dkm.cluster(&[1.0, 2.0], &[f32::INFINITY]), "centroid 0 is inf");
    says(Dkm { temperature: 0.0, rounds: 1 }.cluster(&[1.0, 2.0], &[1.0]), "temperature of 0");
    assert!(Dkm::start(&[1.0, 1.0, 2.0], 3).unwrap_err().to_string().contains("3 clusters of 2 distinct weights"));
}
