//! GGUF: codecs against golden values, files written and read again, damaged files.

mod damage;
mod golden;
mod quality;
mod round_trip;
