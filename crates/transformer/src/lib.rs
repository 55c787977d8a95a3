//! A small decoder engine over compressed matrices: load, run, calibrate and compress whole models.
#![forbid(unsafe_code)]
