//! A saved model whose checksums are right and whose description or tensors are not: the description, then the tensors as a file of somebody else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scant_fuzz::{bounded, let_tokenizers_panic, one_thread, two_files};
use scant_tensor_core::file::{Bytes, File, Writer};
use scant_transformer::Model;
use serde_json::Value;

fn signed(description: &Value, tensors: &File) -> Option<File> {
    let mut writer = Writer::new("model", 1).parameters(description).ok()?;
    for name in tensors.names() {
        let tensor = tensors.tensor(name).ok()?;
        writer.add(name, tensor.dtype, &tensor.shape, tensor.bytes.to_vec()).ok()?;
    }
    File::from_bytes(writer.to_bytes().ok()?).ok()
}

fuzz_target!(
    init: {
        one_thread();
        let_tokenizers_panic();
    },
    |data: &[u8]| {
        let Some((description, tensors)) = two_files(data) else { return };
        let Ok(description) = serde_json::from_slice(description) else { return };
        let Ok(tensors) = File::from_bytes(Bytes::from(tensors)) else { return };
        let Some(file) = signed(&description, &tensors) else { return };
        let _ = bounded(data.len(), 100, || Model::from_file(&file));
    }
);
