//! How fast this machine reads memory, measured in the process whose figures are divided by it.

use scant_tensor_core::file::{Bytes, OwnedBytes};
use scant_tensor_core::isa::Isa;
use scant_tensor_core::simd::{Simd, WithSimd};
use scant_tensor_core::team::Team;
use std::hint::black_box;
use std::time::Instant;

/// Bytes read at a time, in as many registers: enough loads under way to wait for memory alone.
const STRIDE: usize = 512;
/// Bytes that are timed at once.
const WINDOW: usize = 32 << 20;

/// Bytes to read, on huge pages from 4 MiB on, and written once: a page that was never written is a page of zeros that all share.
pub fn buffer(len: usize) -> Bytes {
    let mut bytes = OwnedBytes::zeroed(len.next_multiple_of(STRIDE));
    bytes.iter_mut().zip(0u32..).for_each(|(b, i)| *b = (i >> 6) as u8);
    bytes.freeze()
}

/// Bytes per second of the best of many passes over `bytes`, shared out evenly to the threads of `team`.
///
/// A large buffer is read in windows of 32 MiB, each timed alone, for a reason that [`Results`](crate::results::Results) has too: whoever
/// else uses the machine must not make the bandwidth look small.
pub fn read(isa: Isa, team: &Team, bytes: &Bytes, passes: usize) -> f64 {
    let mut best = 0f64;
    for window in (0..passes).flat_map(|_| bytes.chunks(WINDOW)) {
        let parts: Vec<&[u8]> = window.chunks((window.len() / team.threads()).next_multiple_of(STRIDE)).collect();
        let repeat = (1 << 20) / window.len() + 1;
        let start = Instant::now();
        (0..repeat).for_each(|_| team.run(parts.len(), |i| _ = black_box(isa.run(Read(parts[i])))));
        best = best.max((repeat * window.len()) as f64 / start.elapsed().as_secs_f64());
    }
    best
}

struct Read<'a>(&'a [u8]);

impl WithSimd for Read<'_> {
    type Out = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let mut any = [s.splat_byte(0); STRIDE / 64];
        for stride in self.0.as_chunks::<STRIDE>().0 {
            let lines = stride.as_chunks::<64>().0;
            macro_rules! lines { ($($i:literal)*) => { $( any[$i] = s.or(any[$i], s.load_bytes(&lines[$i])); )* } }
            lines!(0 1 2 3 4 5 6 7);
        }
        s.sum(any.into_iter().fold(s.splat(0.0), |sum, any| s.add(sum, s.byte::<8, 0>(any))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_read() {
        let mut bytes = OwnedBytes::zeroed(4 * STRIDE);
        for isa in Isa::available() {
            for at in (0..bytes.len()).step_by(4) {
                bytes[at] = 1;
                // Byte 0 of each lane; 128 is taken off each.
                assert_eq!(isa.run(Read(&bytes)), 1.0 - 128.0 * 16.0 * 8.0, "{isa}");
                bytes[at] = 0;
            }
        }
    }
}
