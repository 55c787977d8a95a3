//! A GGUF file: metadata, every tensor, and the model in it. Seeds have no vocabulary: that is `gguf_vocabulary`, which takes much longer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scant_fuzz::{bounded, let_tokenizers_panic, one_thread};
use scant_quant::gguf::File;
use scant_tensor_core::file::Bytes;

fuzz_target!(
    init: {
        one_thread();
        let_tokenizers_panic();
    },
    |data: &[u8]| {
        let bytes = Bytes::from(data);
        let Ok(file) = bounded(data.len(), 5, || File::from_bytes(bytes)) else { return };
        for key in file.keys() {
            if let Ok(Some(value)) = file.value(key) {
                let _ = value.to_string();
            }
        }
        for tensor in file.tensors() {
            // A weight of two bits becomes one of 32.
            let _ = bounded(tensor.bytes().len(), 16, || tensor.to_f32());
        }
        let _ = bounded(data.len(), 100, || scant_transformer::open_gguf(file));
    }
);
