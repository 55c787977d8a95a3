//! How much heap differentiable clusters take.

use scant_quant::dkm::Dkm;
use scant_tensor_core::rng::Rng;
use scant_testkit::alloc::{CountingAllocator, measure};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn clusters_take_two_bytes_a_weight_and_a_table_of_the_distinct_ones() {
    const WEIGHTS: usize = 1536 * 576;
    const K: usize = 16;
    let mut rng = Rng::new(1);
    let w: Vec<f32> = (0..WEIGHTS).map(|_| 0.05 * rng.normal()).collect();
    let mut bits: Vec<u32> = w.iter().map(|w| half::bf16::from_f32(*w).to_bits().into()).collect();
    bits.sort_unstable();
    bits.dedup();
    let start = Dkm::start(&w, K).unwrap();
    let (g, mut dw) = (vec![1.0; WEIGHTS], vec![0.0; WEIGHTS]);
    let ((), heap) = measure(|| Dkm { temperature: 1e-5, rounds: 3 }.cluster(&w, &start).unwrap().gradient(&g, &mut dw));
    let bound = WEIGHTS * 22 / 10 + 4 * bits.len() * K;
    // Shares of every weight and round, 2 bytes each.
    let naive = 2 * WEIGHTS * K * 3;
    assert!(heap.peak <= bound, "{} bytes, at most {bound} for {} distinct weights", heap.peak, bits.len());
    assert!(20 * heap.peak <= naive, "{} bytes, {naive} without distinct values", heap.peak);
}
