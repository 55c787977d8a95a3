//! GGUF: codecs against golden values, files written and read again, damaged files.

use scant_testkit::alloc::CountingAllocator;

mod damage;
mod golden;
mod quality;
mod round_trip;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;
