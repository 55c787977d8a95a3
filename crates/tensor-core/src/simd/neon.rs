//! NEON: a value is four 128-bit registers.
