//! Figures of a run, kept beside Criterion's own: bytes per second, and the share of the bandwidth of the same process.

use std::cell::RefCell;
use std::time::{Duration, Instant};

const BURST: Duration = Duration::from_micros(100);

/// One line of the table.
struct Row {
    name: String,
    bytes: u64,
    /// Bytes per second that reading alone reaches.
    bandwidth: f64,
    seconds: Vec<f64>,
}

/// What [`Results::time`] measured, in order.
#[derive(Default)]
pub struct Results(RefCell<Vec<Row>>);

impl Results {
    /// Runs `work` so many times and notes how long; `bytes` are those that one run reads. Returns the time of all, for Criterion.
    ///
    /// Runs are timed in bursts of at least 0.1 ms: on a machine that others use too, the best burst is what the code can do.
    pub fn time(&self, name: &str, bytes: u64, bandwidth: f64, iterations: u64, mut work: impl FnMut()) -> Duration {
        let (mut total, mut done, mut burst, mut seconds) = (Duration::ZERO, 0, 1, vec![]);
        while done < iterations {
            let runs = burst.min(iterations - done);
            let start = Instant::now();
            (0..runs).for_each(|_| work());
            let time = start.elapsed();
            if time < BURST {
                burst *= 2;
            } else {
                seconds.push(time.as_secs_f64() / runs as f64);
            }
            (total, done) = (total + time, done + runs);
        }
        let mut rows = self.0.borrow_mut();
        if rows.last().is_none_or(|row| row.name != name) {
            rows.push(Row { name: name.to_owned(), bytes, bandwidth, seconds: vec![] });
        }
        if let Some(row) = rows.last_mut() {
            row.seconds.append(&mut seconds);
        }
        total
    }

    /// A line per name: time of the best burst, its GB/s and percent of the bandwidth, and GB/s of the median burst.
    pub fn table(&self) -> String {
        let mut out = format!("{:<46} {:>10} {:>8} {:>6} {:>8}\n", "", "time", "GB/s", "%", "median");
        for row in self.0.borrow_mut().iter_mut().filter(|row| !row.seconds.is_empty()) {
            row.seconds.sort_by(f64::total_cmp);
            let (best, median) = (row.seconds[0], row.seconds[row.seconds.len() / 2]);
            let gbs = |s: f64| row.bytes as f64 / s / 1e9;
            let percent = 1e11 * gbs(best) / row.bandwidth;
            let time = if best < 1e-3 { format!("{:.2} µs", 1e6 * best) } else { format!("{:.2} ms", 1e3 * best) };
            out += &format!("{:<46} {time:>10} {:>8.1} {percent:>6.0} {:>8.1}\n", row.name, gbs(best), gbs(median));
        }
        out
    }
}
