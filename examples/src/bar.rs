//! A progress bar on the terminal; a line every few seconds where there is none.

use indicatif::{ProgressBar, ProgressStyle};
use scant_tensor_core::progress::Progress;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_secs(5);

/// Shows where long work is.
#[derive(Debug)]
pub struct Bar {
    title: String,
    bar: Option<ProgressBar>,
    last: Mutex<Instant>,
}

impl Bar {
    /// A bar with a title in front.
    pub fn new(title: impl Into<String>) -> Bar {
        let title = title.into();
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix:<28} {bar:30} {pos}/{len} {msg}").expect("the template is a constant");
            ProgressBar::new(0).with_style(style).with_prefix(title.clone())
        });
        Bar { title, bar, last: Mutex::new(Instant::now()) }
    }
}

impl Progress for Bar {
    fn step(&self, done: u64, total: u64, what: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(total);
                bar.set_message(what.to_owned());
                bar.set_position(done);
            }
            None => {
                let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if last.elapsed() > PAUSE {
                    *last = Instant::now();
                    eprintln!("{}: {done}/{total} {what}", self.title);
                }
            }
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
