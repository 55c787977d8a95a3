//! Table ranges on sheets of the US Statistical Abstract whose cells were labelled by hand.

use crate::Result;
use scant_examples::data::real;
use scant_prompt_compress::sheet::{Range, Sheet, SheetBuilder, Style, Value, border, find_tables};
use serde_json::Value as Json;
use std::io::BufRead;

pub(crate) const SAUS: &str = "saus/saus.jl.gz";

/// What is stated of F1 where every border may be off by two.
const F1: f64 = 0.75;
/// What is stated of the share of true borders within four of a kept row or column.
const NEAR: f64 = 0.95;

/// A sheet and its table: the box around header, attributes, data and derived cells.
fn read() -> Result<Vec<(Sheet, Range)>> {
    let file = std::io::BufReader::new(flate2::read::MultiGzDecoder::new(std::fs::File::open(real(SAUS)?)?));
    let mut sheets = vec![];
    for line in file.lines() {
        let json: Json = serde_json::from_str(&line?)?;
        let list = |name: &str| json[name].as_array().ok_or_else(|| format!("a sheet has no list `{name}`"));
        let names: Vec<&str> = list("feature_names")?.iter().filter_map(Json::as_str).collect();
        let mut table: Option<Range> = None;
        let mut builder = SheetBuilder::new(json["file_name"].as_str().unwrap_or(""));
        for (r, ((texts, labels), features)) in
            list("table_array")?.iter().zip(list("annotations")?).zip(list("feature_array")?).enumerate()
        {
            let cells = |row: &'_ Json| row.as_array().cloned().unwrap_or_default();
            for (c, ((text, label), features)) in cells(texts).iter().zip(cells(labels)).zip(cells(features)).enumerate() {
                let (row, col) = (r as u32, c as u32);
                if matches!(label.as_str(), Some("header" | "attributes" | "data" | "derived")) {
                    let cell = Range { top: row, left: col, bottom: row, right: col };
                    table = Some(table.map_or(cell, |t| t.hull(&cell)));
                }
                let text = text.as_str().unwrap_or("").trim();
                let style = builder.style(style(&names, &cells(&features)))?;
                let value = match text.parse::<f64>() {
                    _ if text.is_empty() => Value::Empty,
                    Ok(x) if x.is_finite() => Value::Number(x),
                    _ => Value::Text(text),
                };
                builder.set(row, col, value, style)?;
            }
        }
        if let Some(table) = table {
            sheets.push((builder.build(), table));
        }
    }
    Ok(sheets)
}

fn style(names: &[&str], features: &[Json]) -> Style {
    let mut style = Style::default();
    for (name, value) in names.iter().zip(features) {
        if value.as_f64() != Some(1.0) {
            continue;
        }
        match name.split_once('=').unwrap_or((name, "")) {
            ("is_bold", _) => style.bold = true,
            ("fill_patern", n) if n != "0" => style.fill = n.to_owned(),
            ("border_top_type", n) if n != "0" => style.borders |= border::TOP,
            ("border_bottom_type", n) if n != "0" => style.borders |= border::BOTTOM,
            ("border_left_type", n) if n != "0" => style.borders |= border::LEFT,
            ("border_right_type", n) if n != "0" => style.borders |= border::RIGHT,
            _ => {}
        }
    }
    style
}

/// Whether every border of `a` is within `by` of that of `b`.
fn agree(a: &Range, b: &Range, by: u32) -> bool {
    [(a.top, b.top), (a.left, b.left), (a.bottom, b.bottom), (a.right, b.right)].iter().all(|(x, y)| x.abs_diff(*y) <= by)
}

/// Detected, true and common tables.
#[derive(Clone, Copy, Default)]
struct Score {
    found: u32,
    truth: u32,
    hits: u32,
}

impl Score {
    fn f1(&self) -> f64 {
        2.0 * f64::from(self.hits) / f64::from(self.found + self.truth)
    }
}

pub(crate) fn run() -> Result<()> {
    let sheets = read()?;
    let mut scores = [Score::default(); 2];
    let (mut near, mut borders) = (0u32, 0u32);
    for (sheet, truth) in &sheets {
        let layout = find_tables(sheet);
        for (score, by) in scores.iter_mut().zip([2, 0]) {
            score.truth += 1;
            score.found += layout.tables.len() as u32;
            score.hits += u32::from(layout.tables.iter().any(|t| agree(t, truth, by)));
        }
        if std::env::var_os("SAUS_MISSES").is_some() && !layout.tables.iter().any(|t| agree(t, truth, 2)) {
            let found: Vec<_> = layout.tables.iter().map(ToString::to_string).collect();
            println!("   {} has {truth}; found {}", sheet.name(), found.join(", "));
        }
        let edges: Vec<&Range> = layout.tables.iter().chain(&layout.others).collect();
        let close = |x: u32, of: &dyn Fn(&Range) -> [u32; 2]| edges.iter().flat_map(|e| of(e)).any(|e| e.abs_diff(x) <= 4);
        for row in [truth.top, truth.bottom] {
            near += u32::from(close(row, &|e| [e.top, e.bottom]));
        }
        for col in [truth.left, truth.right] {
            near += u32::from(close(col, &|e| [e.left, e.right]));
        }
        borders += 4;
    }
    let share = f64::from(near) / f64::from(borders);
    println!(
        "   {} sheets with a table, {} found: F1 {:.3} (EoB-2), {:.3} (EoB-0); {:.1} % of {borders} borders within 4 of an anchor",
        scores[0].truth,
        scores[0].found,
        scores[0].f1(),
        scores[1].f1(),
        100.0 * share
    );
    if scores[0].f1() < F1 || share < NEAR {
        return Err(format!("F1 of at least {F1} and {:.0} % of borders are stated", 100.0 * NEAR).into());
    }
    Ok(())
}
