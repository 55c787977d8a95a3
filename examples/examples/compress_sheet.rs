//! A workbook becomes a prompt: what a language model has to read of it, before and after.
//!
//! ```text
//! cargo run --release -p scant-examples --example compress_sheet                        # a workbook made on the spot
//! cargo run --release -p scant-examples --example compress_sheet -- book.xlsx           # yours: xlsx, xlsm, ods or csv
//! cargo run --release -p scant-examples --example compress_sheet -- book.xlsx --lossless --out texts.txt
//! ```
#![expect(clippy::print_stdout, reason = "a program that prints what it finds")]

use rust_xlsxwriter::{Format, FormatBorder, Workbook as Writer};
use scant_examples::args::{Args, Opt};
use scant_examples::table::Table;
use scant_prompt_compress::sheet::{Chain, Form, Limits, SheetCompressor, Workbook};
use scant_prompt_compress::{Tiktoken, TokenCounter};
use std::time::Instant;

const OPTIONS: &[Opt] = &[
    Opt { name: "k", value: "N", help: "rows and columns kept around the edges of tables (default 4)" },
    Opt {
        name: "lossless",
        value: "",
        help: "keep all rows, columns and values: the inverted index, or vanilla text where that is shorter",
    },
    Opt { name: "encoding", value: "NAME", help: "count tokens of cl100k_base (default) or o200k_base" },
    Opt { name: "question", value: "TEXT", help: "print the prompts that a question to the first sheet begins with" },
    Opt { name: "out", value: "FILE", help: "write the texts of all sheets" },
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse("compress_sheet [WORKBOOK]: a workbook as a short prompt", OPTIONS);
    let counter = Tiktoken::new(args.value("encoding").unwrap_or("cl100k_base"))?;

    let start = Instant::now();
    let book = match args.words.first() {
        Some(path) => Workbook::open(path)?,
        None => Workbook::read(&workbook()?, &Limits::default())?,
    };
    let seconds = start.elapsed().as_secs_f64();
    let cells: usize = book.sheets().iter().map(|s| s.non_empty()).sum();
    println!("{} sheets, {cells} cells, read in {seconds:.3} s; tokens of {}\n", book.sheets().len(), counter.name());

    // A compressor is its options. By default it keeps what is near the edges of tables, tries every form, and takes the shortest.
    let mut compressor = SheetCompressor::new().anchors(Some(args.get("k", 4)?));
    if args.flag("lossless") {
        compressor = compressor.anchors(None).forms(&[Form::Inverted, Form::Vanilla]);
    }
    let mut table = Table::new(["sheet", "used", "cells", "before", "after", "times", "form", "tables"]);
    let (mut before, mut after, mut texts) = (0, 0, String::new());
    let start = Instant::now();
    for sheet in book.sheets() {
        let Some(used) = sheet.used() else { continue };
        let compressed = compressor.compress(sheet, &counter)?;
        let vanilla = compressor.vanilla_tokens(sheet, &counter)?;
        let tables: Vec<String> = compressed.tables.iter().take(3).map(ToString::to_string).collect();
        table.row([
            sheet.name().to_owned(),
            used.to_string(),
            sheet.non_empty().to_string(),
            vanilla.to_string(),
            compressed.tokens.to_string(),
            format!("{:.1}", vanilla as f64 / compressed.tokens.max(1) as f64),
            compressed.form.to_string(),
            format!("{}{}", tables.join(" "), if compressed.tables.len() > 3 { " ..." } else { "" }),
        ]);
        before += vanilla;
        after += compressed.tokens;
        texts += &format!("# {}\n{}\n{}\n", sheet.name(), compressed.form.explanation(), compressed.text);
    }
    println!("{table}");
    let times = before as f64 / f64::from(u32::try_from(after.max(1))?);
    println!("{before} tokens became {after}: {times:.1} times fewer, in {:.2} s with counting\n", start.elapsed().as_secs_f64());

    // Before and after, side by side: the first lines of one sheet. Addresses on the right are those of what was kept; `to_original` leads back.
    let Some((sheet, used)) = book.sheets().iter().find_map(|s| Some((s, s.used()?))) else { return Ok(()) };
    let compressed = compressor.compress(sheet, &counter)?;
    println!("Before, {}:\n{}\n", sheet.name(), head(&compressor.vanilla(sheet, &used)?));
    println!("After:\n{}\n", head(&compressed.text));
    if let Some(kept) = compressed.tables.first().and_then(|t| compressed.to_kept(t)) {
        println!("Its table is called {kept} there, which is {} in the sheet.\n", compressed.to_original(&kept)?);
    }
    if let Some(out) = args.value("out") {
        std::fs::write(out, &texts)?;
        println!("Wrote {out}.");
    }

    // Values that the compressed text left out are found in a second step: a model names the table, then sees it in full.
    if let Some(question) = args.value("question") {
        let mut chain = Chain::new(&compressor, sheet, question, &counter)?;
        if let Some(prompt) = chain.next_prompt()? {
            println!("First prompt:\n{prompt}");
        }
        if let Some(kept) = compressed.tables.first().and_then(|t| compressed.to_kept(t)) {
            chain.feed(&kept.to_string())?;
            if let Some(prompt) = chain.next_prompt()? {
                println!("With the answer {kept}, second prompt:\n{}", head(&prompt));
            }
        }
    }
    Ok(())
}

/// The first lines of a text, each cut.
fn head(text: &str) -> String {
    let cut = |line: &str| if line.chars().count() > 130 { line.chars().take(127).chain("...".chars()).collect() } else { line.to_owned() };
    text.lines().take(8).map(cut).collect::<Vec<String>>().join("\n")
}

/// A workbook of a small workshop: orders, two tables side by side, a report with merged headings and notes, shifts with many equal cells.
fn workbook() -> Result<Vec<u8>, rust_xlsxwriter::XlsxError> {
    const ITEMS: [&str; 8] = ["hinge", "latch", "bracket", "handle", "spring", "washer", "dowel", "castor"];
    const TOWNS: [&str; 6] = ["Tarn", "Fenn", "Ostrow", "Lind", "Marsh", "Velden"];
    let mut state = 11u32;
    let mut next = |n: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % n
    };
    let bold = Format::new().set_bold().set_border_bottom(FormatBorder::Thin);
    let (date, money) = (Format::new().set_num_format("yyyy-mm-dd"), Format::new().set_num_format("#,##0.00"));
    let percent = Format::new().set_num_format("0.0%");
    let mut writer = Writer::new();

    let sheet = writer.add_worksheet().set_name("orders")?;
    for (col, name) in ["order", "day", "town", "item", "pieces", "price", "state"].iter().enumerate() {
        sheet.write_with_format(0, col as u16, *name, &bold)?;
    }
    for row in 1..=2400 {
        sheet.write(row, 0, format!("W-{:05}", 10_000 + row))?;
        sheet.write_with_format(row, 1, 45_000 + row / 8, &date)?;
        sheet.write(row, 2, TOWNS[next(6) as usize])?;
        sheet.write(row, 3, ITEMS[next(8) as usize])?;
        sheet.write(row, 4, 1 + next(200))?;
        sheet.write_with_format(row, 5, f64::from(200 + next(90_000)) / 100.0, &money)?;
        sheet.write(row, 6, if next(10) == 0 { "open" } else { "paid" })?;
    }

    let sheet = writer.add_worksheet().set_name("stock")?;
    sheet.write_with_format(0, 0, "Stock on hand", &bold)?;
    for (col, name) in ["item", "shelf", "pieces"].iter().enumerate() {
        sheet.write_with_format(2, col as u16, *name, &bold)?;
    }
    for (col, name) in ["town", "km", "van"].iter().enumerate() {
        sheet.write_with_format(2, col as u16 + 5, *name, &bold)?;
    }
    for row in 0..160 {
        sheet.write(row + 3, 0, format!("{} {} mm", ITEMS[row as usize % 8], 4 + row / 8))?;
        sheet.write(row + 3, 1, format!("{}{}", char::from(b'A' + (row % 6) as u8), row % 9))?;
        sheet.write(row + 3, 2, next(5000))?;
    }
    for (row, town) in TOWNS.iter().enumerate() {
        sheet.write(row as u32 + 3, 5, *town)?;
        sheet.write(row as u32 + 3, 6, 10 + next(80))?;
        sheet.write(row as u32 + 3, 7, if row % 2 == 0 { "yes" } else { "no" })?;
    }

    let sheet = writer.add_worksheet().set_name("report")?;
    sheet.merge_range(0, 0, 0, 8, "Sales by town and quarter", &bold)?;
    sheet.merge_range(2, 1, 2, 4, "2023", &bold)?;
    sheet.merge_range(2, 5, 2, 8, "2024", &bold)?;
    for col in 0..8u16 {
        sheet.write_with_format(3, col + 1, format!("Q{}", col % 4 + 1), &bold)?;
    }
    for (row, town) in TOWNS.iter().enumerate() {
        sheet.write(row as u32 + 4, 0, *town)?;
        for col in 1..9 {
            sheet.write_with_format(row as u32 + 4, col, f64::from(next(1000)) / 1000.0, &percent)?;
        }
    }
    sheet.write(12, 0, "Shares of each town's best quarter. Velden joined in 2024.")?;

    let sheet = writer.add_worksheet().set_name("shifts")?;
    for day in 0..60u16 {
        sheet.write_with_format(0, day + 1, 45_292 + u32::from(day), &date)?;
    }
    for person in 1..=50u32 {
        sheet.write(person, 0, format!("person {person}"))?;
        for day in 0..60u32 {
            sheet.write(person, day as u16 + 1, ["early", "late", "off"][((person + day) / 5 % 3) as usize])?;
        }
    }
    writer.save_to_buffer()
}
