//! An index file of FAISS: as an index, with full vectors behind it, as bits; and a search in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ndarray::Array2;
use scant_fuzz::{bounded, one_thread};
use scant_pq_index::{SearchOptions, faiss};

fuzz_target!(
    init: {
        one_thread();
    },
    |data: &[u8]| {
        // Blocks of 64 rows for lists of one; and ranges and centres of the most dimensions, of which a file need not have any.
        let input = data.len() + (1 << 16);
        let _ = bounded(input, 150, || faiss::read_refined(data));
        let _ = bounded(input, 150, || faiss::read_binary(data));
        let Ok(index) = bounded(input, 150, || faiss::read(data)) else { return };
        // Tables of a search are 256 numbers for each code.
        if index.dim() <= 256 {
            let _ = index.search(Array2::ones((1, index.dim())).view(), 3, &SearchOptions::default());
        }
        let _ = faiss::write(&index).map(|file| faiss::read(&file).expect("what was written is read"));
    }
);
