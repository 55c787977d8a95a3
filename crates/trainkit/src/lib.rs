//! candle helpers for training small models on a CPU: fused operations with gradients, AdamW, losses, a trainable Llama.
#![forbid(unsafe_code)]
