//! GGUF: codecs against golden values, files written and read again, damaged files.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use scant_testkit::alloc::CountingAllocator;

mod damage;
mod golden;
mod quality;
mod round_trip;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;
