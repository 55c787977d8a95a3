//! A small plot of points and lines, as SVG text.

use std::fmt::Write as _;

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps.
    Linear,
    /// Equal factors; values must be positive.
    Log,
}

/// One series of points, joined by lines in the order given.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is called in the legend.
    pub name: String,
    /// Points: x, y, and a label or nothing.
    pub points: Vec<(f64, f64, String)>,
}

/// A plot.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Title.
    pub title: String,
    /// Name and unit of the horizontal axis; " (log scale)" is added where it is one.
    pub x: String,
    /// The same of the vertical axis.
    pub y: String,
    /// Division of the axes: horizontal, vertical.
    pub scales: (Scale, Scale),
    /// What is drawn.
    pub series: Vec<Series>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 88.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 62.0;
// Okabe and Ito's palette, which people with any colour vision tell apart.
const COLOURS: [&str; 7] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"];
// A white edge behind letters, which keeps lines away from them.
const HALO: &str = "stroke=\"#ffffff\" stroke-width=\"3\" stroke-linejoin=\"round\" paint-order=\"stroke\"";

struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Axis {
    fn new(scale: Scale, values: impl Iterator<Item = f64>) -> Axis {
        let usable = |v: &f64| v.is_finite() && (scale == Scale::Linear || *v > 0.0);
        let map = |v: f64| if scale == Scale::Log { v.log10() } else { v };
        let (low, high) = values.filter(usable).map(map).fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        let margin = ((high - low) * 0.08).max(if high == low { 0.5 } else { 0.0 });
        Axis { scale, low: low - margin, high: high + margin }
    }

    /// 0 at the low end, 1 at the high end.
    fn place(&self, v: f64) -> f64 {
        let v = if self.scale == Scale::Log { v.max(f64::MIN_POSITIVE).log10() } else { v };
        (v - self.low) / (self.high - self.low)
    }

    fn title(&self, name: &str) -> String {
        escape(name) + if self.scale == Scale::Log { " (log scale)" } else { "" }
    }

    fn ticks(&self) -> Vec<f64> {
        if self.scale == Scale::Log {
            let multiples: &[f64] = if self.high - self.low > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let decades = self.low.floor() as i32..=self.high.ceil() as i32;
            let all = decades.flat_map(|d| multiples.iter().map(move |m| m * 10f64.powi(d)));
            return all.filter(|v| (0.0..=1.0).contains(&self.place(*v))).collect();
        }
        let rough = (self.high - self.low) / 6.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        (first..).map(|i| i as f64 * step).take_while(|v| *v <= self.high).collect()
    }
}

fn number(v: f64) -> String {
    if v == 0.0 {
        return "0".to_owned();
    }
    let digits = (2.0 - v.abs().log10().floor()).clamp(0.0, 8.0) as usize;
    let text = format!("{v:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn escape(s: &str) -> String {
    s.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Plot {
    /// The plot as an SVG document. Points that are not finite, or not positive on a log axis, are left out.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|s| &s.points);
        let (x, y) = (Axis::new(self.scales.0, points().map(|p| p.0)), Axis::new(self.scales.1, points().map(|p| p.1)));
        let px = |v: f64| LEFT + x.place(v) * (WIDTH - LEFT - RIGHT);
        let py = |v: f64| HEIGHT - BOTTOM - y.place(v) * (HEIGHT - TOP - BOTTOM);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        );
        // Writing to a String cannot fail, so results are dropped throughout.
        let mut line = |text: String| _ = writeln!(out, "{text}");
        let title = escape(&self.title);
        line(format!("<text x=\"{LEFT}\" y=\"26\" font-size=\"17\" font-weight=\"600\" fill=\"#1b1b1b\">{title}</text>"));
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for t in x.ticks() {
            let at = px(t);
            line(format!("<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#e3e3e3\"/>"));
            line(format!("<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#444\">{}</text>", bottom + 20.0, number(t)));
        }
        for t in y.ticks() {
            let at = py(t);
            line(format!("<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#e3e3e3\"/>"));
            line(format!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#444\">{}</text>", LEFT - 8.0, at + 4.5, number(t)));
        }
        let middle = (LEFT + right) / 2.0;
        line(format!("<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" fill=\"#1b1b1b\">{}</text>", HEIGHT - 16.0, x.title(&self.x)));
        let centre = (TOP + bottom) / 2.0;
        line(format!(
            "<text transform=\"translate(20 {centre}) rotate(-90)\" text-anchor=\"middle\" fill=\"#1b1b1b\">{}</text>",
            y.title(&self.y)
        ));
        let mut taken: Vec<(f64, f64, f64)> = vec![];
        // Drawn last, so that no line or point of another series covers them.
        let mut labels = vec![];
        for (i, series) in self.series.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            let drawn = |p: &&(f64, f64, String)| {
                p.0.is_finite() && p.1.is_finite() && (x.scale == Scale::Linear || p.0 > 0.0) && (y.scale == Scale::Linear || p.1 > 0.0)
            };
            let places: Vec<_> = series.points.iter().filter(drawn).map(|p| (px(p.0), py(p.1), &p.2)).collect();
            if places.len() > 1 {
                let path: Vec<String> = places.iter().map(|(x, y, _)| format!("{x:.1},{y:.1}")).collect();
                line(format!("<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>", path.join(" ")));
            }
            for (cx, cy, label) in places {
                line(format!("<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"4.5\" fill=\"{colour}\" stroke=\"#fff\"/>"));
                if label.is_empty() {
                    continue;
                }
                let width = 6.2 * label.chars().count() as f64;
                // To the left of the point where the right edge is near; lower where another label stands already.
                let start = if cx + 8.0 + width > right { cx - 8.0 - width } else { cx + 8.0 };
                let mut at = cy - 7.0;
                while taken.iter().any(|(x, y, w)| (at - y).abs() < 12.0 && start < x + w && *x < start + width) {
                    at += 12.0;
                }
                taken.push((start, at, width));
                let place = format!("x=\"{start:.1}\" y=\"{at:.1}\"");
                labels.push(format!("<text {place} font-size=\"11\" fill=\"{colour}\" {HALO}>{}</text>", escape(label)));
            }
            let (lx, ly) = (right - 150.0, TOP + 16.0 + 19.0 * i as f64);
            labels.push(format!("<circle cx=\"{lx:.1}\" cy=\"{:.1}\" r=\"4.5\" fill=\"{colour}\"/>", ly - 4.0));
            labels.push(format!("<text x=\"{:.1}\" y=\"{ly:.1}\" fill=\"#1b1b1b\" {HALO}>{}</text>", lx + 11.0, escape(&series.name)));
        }
        labels.into_iter().for_each(&mut line);
        out.push_str("</svg>\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let axis = Axis::new(Scale::Linear, [0.0, 9.7].into_iter());
        assert_eq!(axis.ticks(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        let axis = Axis::new(Scale::Log, [0.001, 0.9].into_iter());
        assert_eq!(axis.ticks().into_iter().map(number).collect::<Vec<_>>(), ["0.001", "0.01", "0.1", "1"]);
    }

    #[test]
    fn awkward_points_and_names_make_a_whole_document() {
        let points = vec![(1.0, f64::NAN, String::new()), (2.0, 0.0, "<a>".into()), (3.0, 5.0, "b&c".into())];
        let series = vec![Series { name: "\"s\"".into(), points }];
        let svg = Plot { title: "t".into(), x: "x".into(), y: "y".into(), scales: (Scale::Linear, Scale::Log), series }.svg();
        assert!(svg.ends_with("</svg>\n") && svg.contains("b&amp;c") && !svg.contains("NaN") && !svg.contains("<a>"));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert!(svg.contains(">y (log scale)<") && svg.contains(">x<"));
    }

    #[test]
    fn labels_stand_above_all_lines() {
        let series = |name: &str, y| Series { name: name.into(), points: vec![(1.0, y, format!("{name}1")), (2.0, 3.0, String::new())] };
        let all = vec![series("a", 1.0), series("b", 2.0)];
        let svg = Plot { title: "t".into(), x: "x".into(), y: "y".into(), scales: (Scale::Linear, Scale::Linear), series: all }.svg();
        let (label, line) = (svg.find(">a1<").unwrap(), svg.rfind("<polyline").unwrap());
        assert!(label > line && svg.matches("paint-order=\"stroke\"").count() == 4 && !svg.contains("log scale"));
    }
}
