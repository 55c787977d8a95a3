//! Real workbooks, damaged.

use super::books::paths;
use crate::Result;
use scant_prompt_compress::Guess;
use scant_prompt_compress::sheet::{Limits, SheetCompressor, Workbook};
use std::time::Instant;

/// Damaged copies of each workbook.
const COPIES: u32 = 60;
/// Workbooks up to this size are damaged.
const BYTES: usize = 60_000;

pub(crate) fn run() -> Result<()> {
    let (mut read, mut refused, mut slowest) = (0, 0, 0.0f64);
    let mut state = 1u32;
    let mut next = |n: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 4) as usize % n
    };
    for path in paths()? {
        let bytes = std::fs::read(&path)?;
        if bytes.len() > BYTES {
            continue;
        }
        for copy in 0..COPIES {
            let mut damaged = bytes.clone();
            if copy % 4 == 0 {
                damaged.truncate(next(bytes.len()));
            }
            // The directory of the archive is where a flipped bit is not caught by a checksum.
            for _ in 0..1 + next(4) {
                let at = if copy % 2 == 0 { next(bytes.len()) } else { bytes.len() - 1 - next(bytes.len().min(3000)) };
                if let Some(b) = damaged.get_mut(at) {
                    *b ^= 1 << next(8);
                }
            }
            let start = Instant::now();
            match Workbook::read(&damaged, &Limits::default()) {
                Ok(book) => {
                    read += 1;
                    for sheet in book.sheets() {
                        SheetCompressor::new().compress(sheet, &Guess)?;
                    }
                }
                Err(_) => refused += 1,
            }
            slowest = slowest.max(start.elapsed().as_secs_f64());
        }
    }
    println!("   {read} damaged workbooks read and compressed, {refused} refused, none in more than {slowest:.2} s");
    if refused == 0 || slowest > 10.0 {
        return Err("damage is found, and costs no more than 10 s".into());
    }
    Ok(())
}
