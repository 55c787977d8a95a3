//! A Hugging Face folder: the description, then the tensors.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scant_fuzz::{bounded, one_thread, two_files};
use scant_tensor_core::file::{Bytes, File};

fuzz_target!(
    init: one_thread(),
    |data: &[u8]| {
        let Some((config, tensors)) = two_files(data) else { return };
        let Ok(config) = serde_json::from_slice(config) else { return };
        let Ok(tensors) = File::from_bytes(Bytes::from(tensors)) else { return };
        let _ = bounded(data.len(), 100, || scant_transformer::open_hugging_face(&config, vec![tensors], None));
    }
);
