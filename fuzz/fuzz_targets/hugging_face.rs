//! A Hugging Face folder: the description, then the tensors.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scant_fuzz::bounded;
use std::path::PathBuf;
use std::sync::LazyLock;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("scant-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the input");
    folder
});

fuzz_target!(|data: &[u8]| {
    let Some((len, rest)) = data.split_first_chunk() else { return };
    let Some((config, tensors)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len))) else { return };
    std::fs::write(FOLDER.join("config.json"), config).expect("room for the description");
    std::fs::write(FOLDER.join("model.safetensors"), tensors).expect("room for the tensors");
    let _ = bounded(data.len(), 100, || scant_transformer::open(&*FOLDER));
});
