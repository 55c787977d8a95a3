//! An importance matrix, in either form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scant_fuzz::bounded;
use scant_quant::imatrix::Imatrix;
use scant_tensor_core::file::Bytes;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::from(data);
    let Ok(imatrix) = bounded(data.len(), 20, || Imatrix::from_bytes(bytes)) else { return };
    for (_, sums) in imatrix.iter() {
        let _ = (sums.mean_sq(), sums.mean());
    }
    let _ = (imatrix.to_gguf(), imatrix.to_dat());
});
