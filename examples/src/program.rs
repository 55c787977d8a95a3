//! How programs end.

use scant_tensor_core::isa::Isa;
use std::error::Error;
use std::process::ExitCode;

/// Runs `main` and prints its error, with what caused it, as a sentence instead of a type.
pub fn run<E: Into<Box<dyn Error + Send + Sync>>>(main: impl FnOnce() -> Result<(), E>) -> ExitCode {
    // Known before anything is computed.
    let result = Isa::detect().map_err(|e| format!("SCANT_ISA: {e}").into());
    let Err(error) = result.and_then(|_| main().map_err(Into::into)) else {
        return ExitCode::SUCCESS;
    };
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Many messages hold that of their cause.
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text += &format!(": {cause_text}");
        }
        source = cause.source();
    }
    eprintln!("error: {text}");
    ExitCode::FAILURE
}

/// The text of a file.
///
/// # Errors
/// A sentence that names it.
pub fn text(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("cannot read {path}: {e}"))
}
