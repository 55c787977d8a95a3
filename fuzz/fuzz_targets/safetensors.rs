//! A safetensors file, and a saved model.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scant_fuzz::bounded;
use scant_tensor_core::file::{Bytes, File};
use scant_transformer::Model;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::from(data);
    let Ok(file) = bounded(data.len(), 20, || File::from_bytes(bytes)) else { return };
    for name in file.names() {
        if let Ok(tensor) = file.tensor(name) {
            let _ = bounded(data.len(), 8, || tensor.to_f32());
        }
    }
    let _ = bounded(data.len(), 100, || Model::from_file(&file));
});
