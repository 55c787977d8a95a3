//! What the targets share: a bound on heap, and the seeds that the project makes.

use scant_testkit::alloc::{CountingAllocator, measure};

pub mod seeds;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Runs `read` and fails if it took more heap than `multiple` times the input and a constant that covers messages and tables.
pub fn bounded<T>(input: usize, multiple: usize, read: impl FnOnce() -> T) -> T {
    let (result, heap) = measure(read);
    let most = multiple * input + (1 << 20);
    assert!(heap.peak <= most, "{} bytes of heap for an input of {input}", heap.peak);
    result
}
