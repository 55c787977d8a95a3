//! Unpublished test helpers: every ISA tier, error bounds, awkward floats, a file corrupter, a counting allocator.
