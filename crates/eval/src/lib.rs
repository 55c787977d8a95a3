//! Perplexity, KL divergence, agreement, bootstrap intervals, and seeded stories to measure them on.
#![forbid(unsafe_code)]
