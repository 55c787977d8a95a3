//! Figures of a run, kept beside Criterion's own: bytes per second, and the share of the bandwidth of the same process.

use std::cell::RefCell;
use std::collections::BTreeMap;
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

    /// A line per name: time of the best burst, its GB/s, its percent of the bandwidth and of what its instructions allow, and GB/s of the median
    /// burst. What instructions allow is the figure of the same name in front of whose first `/` stands `l1`, where memory costs nothing.
    pub fn table(&self) -> String {
        let mut out = format!("{:<46} {:>10} {:>8} {:>8} {:>8} {:>8}\n", "", "time", "GB/s", "% bytes", "% instr", "median");
        let mut rows = self.0.borrow_mut();
        rows.retain(|row| !row.seconds.is_empty());
        rows.iter_mut().for_each(|row| row.seconds.sort_by(f64::total_cmp));
        let gbs = |row: &Row, s: f64| row.bytes as f64 / s / 1e9;
        let rest = |row: &Row| row.name.split_once('/').map(|(_, rest)| rest.to_owned());
        let nearest = rows.iter().filter(|row| row.name.starts_with("l1/"));
        let allowed: BTreeMap<_, _> = nearest.map(|row| (rest(row), gbs(row, row.seconds[0]))).collect();
        for row in rows.iter() {
            let (best, median) = (row.seconds[0], row.seconds[row.seconds.len() / 2]);
            let percent = 1e11 * gbs(row, best) / row.bandwidth;
            let of_instructions = allowed.get(&rest(row)).map_or(String::new(), |most| format!("{:.0}", 100.0 * gbs(row, best) / most));
            let time = if best < 1e-3 { format!("{:.2} µs", 1e6 * best) } else { format!("{:.2} ms", 1e3 * best) };
            let (best, median) = (gbs(row, best), gbs(row, median));
            out += &format!("{:<46} {time:>10} {best:>8.1} {percent:>8.0} {of_instructions:>8} {median:>8.1}\n", row.name);
        }
        out
    }
}
