//! The curve of a training run, and the page that tells how the embedded model came about.

use scant_eval::Recall;
use std::fmt::Write;

/// Named distances of recall and the tokens that each stands for.
pub const DISTANCES: [(usize, std::ops::Range<usize>); 3] = [(16, 8..32), (64, 32..128), (256, 128..512)];

/// A point of the curve.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Point {
    /// Tokens seen.
    pub tokens: u64,
    /// Seconds of computing.
    pub seconds: f64,
    /// Mean training loss since the point before, in nats, answers weighted.
    pub loss: f64,
    /// Perplexity of held-out text.
    pub perplexity: f64,
    /// Bits per character of held-out text.
    pub bits_per_character: f64,
    /// Recall for each of [`DISTANCES`].
    pub recall: Vec<Recall>,
}

impl Point {
    /// A row of the curve's table.
    pub fn row(&self) -> String {
        let recall = self.recall.iter().map(|r| format!("{:.0} % ({:.0} %)", 100.0 * r.accuracy(), 100.0 * r.guessing));
        format!(
            "| {:.1} | {:.0} | {:.3} | {:.2} | {:.3} | {} |",
            self.tokens as f64 / 1e6,
            self.seconds / 60.0,
            self.loss,
            self.perplexity,
            self.bits_per_character,
            recall.collect::<Vec<_>>().join(" | ")
        )
    }
}

/// The log as Markdown: what the model is, how it was trained, what it can do now, and how it got there.
pub fn markdown(settings: &[(&str, String)], curve: &[Point], last: &Point, windows: usize) -> String {
    let mut out =
        String::from("# How the embedded model was trained\n\nWritten by `examples/train_embedded`.\n\n| setting | value |\n|---|---|\n");
    let mut line = |text: std::fmt::Arguments<'_>| writeln!(out, "{text}").expect("writing to a string does not fail");
    for (name, value) in settings {
        line(format_args!("| {name} | {value} |"));
    }
    line(format_args!("\n## Held-out text\n"));
    line(format_args!(
        "Perplexity {:.3}, {:.4} bits per character, over {windows} windows of 512 tokens (every token but the first of a window). The text has \
         some entropy that no model can remove: which fact comes next is drawn at random.\n",
        last.perplexity, last.bits_per_character
    ));
    line(format_args!("## Recall\n"));
    line(format_args!(
        "A passage states 3 to 6 facts of one relation, goes on about other things, and asks for one of them at random; the whole answer must be \
         the likeliest, token for token. Distance: tokens from the value's last mention to the answer. Guessing: one of the values at hand.\n"
    ));
    line(format_args!("| distance | tokens | items | right | 95 % | guessing |\n|---|---|---|---|---|---|"));
    for ((name, range), r) in DISTANCES.iter().zip(&last.recall) {
        line(format_args!(
            "| {name} | {} to {} | {} | {:.1} % | ± {:.1} | {:.1} % |",
            range.start,
            range.end - 1,
            r.items,
            100.0 * r.accuracy(),
            100.0 * r.margin(),
            100.0 * r.guessing
        ));
    }
    line(format_args!(
        "\n## Curve\n\nMinutes are of computing; loss is in nats with answers weighted, of the text of its time. Smaller samples than above.\n"
    ));
    line(format_args!("| M tokens | minutes | loss | perplexity | bits per character | recall at 16 (guessing) | at 64 | at 256 |"));
    line(format_args!("|---|---|---|---|---|---|---|---|"));
    for point in curve {
        line(format_args!("{}", point.row()));
    }
    out
}
