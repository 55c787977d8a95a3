//! An allocator that counts, for tests that say how much heap something takes.
//!
//! ```
//! use scant_testkit::alloc::{CountingAllocator, measure};
//!
//! #[global_allocator]
//! static ALLOCATOR: CountingAllocator = CountingAllocator;
//!
//! let (list, heap) = measure(|| vec![0u8; 1000]);
//! assert_eq!((heap.peak, heap.kept), (1000, 1000));
//! drop(list);
//! ```
#![expect(unsafe_code, reason = "a global allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counting for each thread what it takes and gives back.
///
/// Counts are per thread, so that tests may run beside each other. Memory given back by another thread than took it is
/// counted where it happens: measure single-threaded code. Pages mapped directly are not seen.
pub struct CountingAllocator;

thread_local! {
    // Without a destructor and a lazy start, the allocator may touch it at any time.
    static COUNT: Cell<Count> = const { Cell::new(Count { now: 0, peak: 0, allocations: 0 }) };
}

#[derive(Clone, Copy)]
struct Count {
    now: isize,
    peak: isize,
    allocations: usize,
}

fn count(bytes: isize) {
    // Fails only while the thread dies.
    let _ = COUNT.try_with(|cell| {
        let mut count = cell.get();
        count.now += bytes;
        count.peak = count.peak.max(count.now);
        count.allocations += usize::from(bytes > 0);
        cell.set(count);
    });
}

/// A layout's size is at most `isize::MAX` by definition.
fn signed(bytes: usize) -> isize {
    bytes.cast_signed()
}

// SAFETY: everything is passed on to `System`, which keeps the contract; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for CountingAllocator {
    /// # Safety
    /// The contract of [`GlobalAlloc::alloc`].
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        let pointer = unsafe { System.alloc(layout) };
        if !pointer.is_null() {
            count(signed(layout.size()));
        }
        pointer
    }

    /// # Safety
    /// The contract of [`GlobalAlloc::alloc_zeroed`].
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        let pointer = unsafe { System.alloc_zeroed(layout) };
        if !pointer.is_null() {
            count(signed(layout.size()));
        }
        pointer
    }

    /// # Safety
    /// The contract of [`GlobalAlloc::dealloc`].
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) };
        count(-signed(layout.size()));
    }

    /// # Safety
    /// The contract of [`GlobalAlloc::realloc`].
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `realloc`.
        let new = unsafe { System.realloc(pointer, layout, new_size) };
        if !new.is_null() {
            // For a moment both may be there: counted as the worst case.
            count(signed(new_size));
            count(-signed(layout.size()));
        }
        new
    }
}

/// The heap a piece of code used, in bytes as asked for, on its own thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heap {
    /// The most at one time, above what was there before.
    pub peak: usize,
    /// What is still held afterwards, its result included; negative if it freed what was there before.
    pub kept: isize,
    /// How often it asked for memory.
    pub allocations: usize,
}

/// Runs `code` and tells the heap it used. Zeros where [`CountingAllocator`] is not the global allocator.
pub fn measure<T>(code: impl FnOnce() -> T) -> (T, Heap) {
    let before = COUNT.get();
    COUNT.set(Count { now: 0, peak: 0, allocations: 0 });
    let value = code();
    let after = COUNT.get();
    // Measurements may be nested: the outer one must see what the inner one saw.
    COUNT.set(Count {
        now: before.now + after.now,
        peak: before.peak.max(before.now + after.peak),
        allocations: before.allocations + after.allocations,
    });
    let heap = Heap { peak: after.peak.unsigned_abs(), kept: after.now, allocations: after.allocations };
    (value, heap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: CountingAllocator = CountingAllocator;

    #[test]
    fn peak_kept_and_number_are_counted() {
        let ((), heap) = measure(|| {
            drop(vec![0u8; 3000]);
            drop(vec![0u8; 1000]);
        });
        assert_eq!((heap.peak, heap.kept, heap.allocations), (3000, 0, 2));

        let (_list, heap) = measure(|| vec![1u8; 10]);
        assert_eq!((heap.peak, heap.kept, heap.allocations), (10, 10, 1));
    }

    #[test]
    fn growing_counts_both_copies() {
        let (_, heap) = measure(|| {
            let mut list = Vec::<u8>::with_capacity(100);
            list.reserve_exact(200);
            list
        });
        assert_eq!((heap.peak, heap.kept), (300, 200));
    }

    #[test]
    fn measurements_nest() {
        let ((_, inner), outer) = measure(|| {
            let held = vec![0u8; 50];
            (held, measure(|| drop(vec![0u8; 7])).1)
        });
        assert_eq!((inner.peak, outer.peak, outer.kept), (7, 57, 50));
    }

    #[test]
    fn freeing_older_memory_is_negative() {
        let old = vec![0u8; 40];
        let ((), heap) = measure(|| drop(old));
        assert_eq!((heap.peak, heap.kept), (0, -40));
    }
}
