//! What the targets share: a bound on heap, one thread, and the seeds that the project makes.

use scant_testkit::alloc::{CountingAllocator, measure};
use std::panic;

pub mod seeds;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// The most bytes of a text: of a long one, most executions would be the same work over again.
pub const MOST_TEXT: usize = 48;

/// Runs `read` and fails if it took more heap than `multiple` times the input and a constant that covers messages and tables.
pub fn bounded<T>(input: usize, multiple: usize, read: impl FnOnce() -> T) -> T {
    let (result, heap) = measure(read);
    let most = multiple * input + (1 << 20);
    assert!(heap.peak <= most, "{} bytes of heap for an input of {input}", heap.peak);
    result
}

/// Makes this thread the only one that works: handing a tiny model to another costs more than reading it, and heap is counted per thread.
pub fn one_thread() {
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().expect("the first pool");
}

/// Lets panics inside the crate `tokenizers`, or those that only it calls, unwind: the library must catch them. All others end the target as before,
/// and so do those that come out.
pub fn let_tokenizers_panic() {
    const THEIRS: [&str; 4] = ["/tokenizers-", "/spm_precompiled-", "/daachorse-", "/unicode-normalization-alignments-"];
    let abort = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let theirs = info.location().is_some_and(|at| THEIRS.iter().any(|name| at.file().contains(name)));
        if !theirs {
            abort(info);
        }
    }));
}

/// The two files of an input: the length of the first in two bytes, then both.
pub fn two_files(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = data.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))
}
