//! Real workbooks as short texts: how short, and whether nothing is lost or longer.

use crate::Result;
use scant_examples::data::real;
use scant_prompt_compress::sheet::{Address, Form, Key, Sheet, SheetCompressor, Value, Workbook, decode};
use scant_prompt_compress::{Tiktoken, TokenCounter};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub(crate) const XLSX: &str = "xlsx";

/// What is stated of the median reduction on sheets of more than 5,000 cells.
const MEDIAN: f64 = 10.0;
/// What is stated of the pooled reduction on sheets of more than 8,000 tokens: all modules, and the inverted index alone.
const POOLED: [f64; 2] = [10.0, 2.0];

/// The modules, alone and together: name, `k`, form.
const MODULES: [(&str, Option<u32>, Form); 7] = [
    ("M1 anchors", Some(4), Form::Vanilla),
    ("M2 inverted index", None, Form::Inverted),
    ("M3 data formats", None, Form::Aggregated),
    ("M1 + M2", Some(4), Form::Inverted),
    ("M1 + M3", Some(4), Form::Aggregated),
    ("M2 + M3", None, Form::InvertedAggregated),
    ("all", Some(4), Form::InvertedAggregated),
];

/// A sheet's tokens.
struct Tokens {
    name: String,
    cells: usize,
    vanilla: usize,
    modules: [usize; MODULES.len()],
    auto: usize,
}

/// The workbooks' paths, sorted.
pub(crate) fn paths() -> Result<Vec<PathBuf>> {
    let mut paths = vec![];
    for entry in std::fs::read_dir(real(XLSX)?)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "xlsx") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

pub(crate) fn run() -> Result<()> {
    let counter = Tiktoken::new("cl100k_base")?;
    let (mut all, mut failed, mut large) = (vec![], 0, 0);
    let paths = paths()?;
    for path in &paths {
        let name = path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let book = match Workbook::open(path) {
            Ok(book) => book,
            Err(e) => {
                println!("   {name}: {e}");
                failed += 1;
                continue;
            }
        };
        for sheet in book.sheets().iter().filter(|s| s.used().is_some()) {
            round_trip(sheet).map_err(|e| format!("{name}, sheet {}: {e}", sheet.name()))?;
            match tokens(format!("{name} / {}", sheet.name()), sheet, &counter)? {
                Some(tokens) => all.push(tokens),
                None => large += 1,
            }
        }
    }
    println!(
        "   {} workbooks, {failed} not read; {} sheets, {large} too large for vanilla text; tokens of {}",
        paths.len(),
        all.len(),
        counter.name()
    );
    for t in &all {
        if t.auto > t.vanilla {
            return Err(format!("{} grew from {} to {} tokens", t.name, t.vanilla, t.auto).into());
        }
    }
    type Group = (&'static str, fn(&Tokens) -> bool);
    let groups: [Group; 3] = [
        ("fewer than 50 cells", |t| t.cells < 50),
        ("50 cells and more", |t| t.cells >= 50),
        ("more than 8,000 tokens", |t| t.vanilla > 8000),
    ];
    let mut last = [0.0; 2];
    for (what, group) in groups {
        let of = |f: &dyn Fn(&Tokens) -> usize| all.iter().filter(|t| group(t)).map(f).sum::<usize>();
        let vanilla = of(&|t| t.vanilla);
        let ratio = |n: usize| vanilla as f64 / n.max(1) as f64;
        print!("   {what} ({} sheets): vanilla {vanilla}", all.iter().filter(|t| group(t)).count());
        for (i, (module, ..)) in MODULES.iter().enumerate() {
            print!("; {module} {:.2}", ratio(of(&|t| t.modules[i])));
        }
        println!("; chosen for each sheet {:.2}", ratio(of(&|t| t.auto)));
        last = [ratio(of(&|t| t.modules[6])), ratio(of(&|t| t.modules[1]))];
    }
    let mut ratios: Vec<f64> = all.iter().filter(|t| t.cells > 5000).map(|t| t.vanilla as f64 / t.auto as f64).collect();
    ratios.sort_by(f64::total_cmp);
    for t in all.iter().filter(|t| t.cells > 5000) {
        println!("     {}: {} cells, {} tokens, {:.1} times fewer", t.name, t.cells, t.vanilla, t.vanilla as f64 / t.auto as f64);
    }
    let median = ratios[ratios.len() / 2];
    println!("   {} sheets of more than 5,000 cells: {median:.1} times fewer tokens (median)", ratios.len());
    if median < MEDIAN || last[0] < POOLED[0] || last[1] < POOLED[1] {
        return Err(format!("a median of {MEDIAN}, and {} and {} pooled, are stated", POOLED[0], POOLED[1]).into());
    }
    Ok(())
}

fn tokens(name: String, sheet: &Sheet, counter: &Tiktoken) -> Result<Option<Tokens>> {
    let Ok(vanilla) = SheetCompressor::new().vanilla_tokens(sheet, counter) else { return Ok(None) };
    let mut modules = [0; MODULES.len()];
    for (tokens, (_, k, form)) in modules.iter_mut().zip(MODULES) {
        *tokens = SheetCompressor::new().anchors(k).forms(&[form]).compress(sheet, counter)?.tokens;
    }
    let auto = SheetCompressor::new().compress(sheet, counter)?.tokens;
    Ok(Some(Tokens { name, cells: sheet.non_empty(), vanilla, modules, auto }))
}

/// Decodes the inverted index of the whole sheet, and compares it cell by cell.
fn round_trip(sheet: &Sheet) -> Result<()> {
    let compressed = SheetCompressor::new().anchors(None).forms(&[Form::Inverted]).compress(sheet, &scant_prompt_compress::Guess)?;
    let mut cells = BTreeMap::new();
    for entry in decode(&compressed.text)? {
        let Key::Value(value) = entry.key else { return Err("a type in an inverted index".into()) };
        for r in entry.ranges {
            for row in r.top..=r.bottom {
                for col in r.left..=r.right {
                    if cells.insert(Address { row, col }, value.clone()).is_some() {
                        return Err(format!("{} twice", Address { row, col }).into());
                    }
                }
            }
        }
    }
    for (at, ..) in sheet.iter() {
        match cells.remove(&at) {
            Some(value) if value == sheet.shown(at) => {}
            other => return Err(format!("{at} is {:?}, decoded {other:?}", sheet.shown(at)).into()),
        }
    }
    if let Some((at, value)) = cells.pop_first() {
        return Err(format!("{at} is empty, decoded {value:?}").into());
    }
    Ok(())
}

/// Values and merged cells against calamine's.
#[expect(deprecated, reason = "the replacement answers per sheet by another way; one call loads all")]
pub(crate) fn calamine() -> Result<()> {
    use calamine::{Data, Reader};
    let (mut same, mut formulas, mut other) = (0u64, 0u64, 0u64);
    let (mut merges, mut merge_differences) = (0usize, 0usize);
    for path in paths()? {
        let name = path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let mut theirs: calamine::Xlsx<_> = match calamine::open_workbook(&path) {
            Ok(book) => book,
            Err(e) => {
                let ours = Workbook::open(&path).map(|b| b.sheets().len());
                println!("   {name}: calamine says {e}; here {ours:?}");
                continue;
            }
        };
        let book = match Workbook::open(&path) {
            Ok(book) => book,
            Err(e) => {
                println!("   {name}: {e}");
                continue;
            }
        };
        let merged_ok = theirs.load_merged_regions().is_ok();
        for sheet in book.sheets() {
            let Ok(range) = theirs.worksheet_range(sheet.name()) else {
                println!("   {name}, sheet {}: calamine does not read it; {} cells here", sheet.name(), sheet.non_empty());
                continue;
            };
            if merged_ok {
                let theirs = theirs.merged_regions_by_sheet(sheet.name()).len();
                merges += theirs.max(sheet.merges().len());
                merge_differences += theirs.abs_diff(sheet.merges().len());
            }
            let start = range.start().unwrap_or((0, 0));
            for (r, c, data) in range.used_cells() {
                let at = Address { row: start.0 + r as u32, col: start.1 + c as u32 };
                let ours = sheet.get(at);
                let equal = match (data, ours) {
                    (Data::Int(a), Value::Number(b)) => *a as f64 == b,
                    (Data::Float(a), Value::Number(b)) => *a == b,
                    (Data::DateTime(a), Value::Number(b)) => a.as_f64() == b,
                    (Data::String(a), Value::Text(b)) => a == b,
                    (Data::Bool(a), Value::Bool(b)) => *a == b,
                    (Data::Error(a), Value::Error(b)) => a.to_string() == b,
                    (Data::String(a), b) if a.is_empty() => b.is_empty(),
                    _ => false,
                };
                if equal {
                    same += 1;
                } else if sheet.formula(at).is_some() {
                    formulas += 1;
                } else {
                    other += 1;
                    if other <= 20 {
                        println!("   {name}, sheet {}, {at}: calamine {data:?}, here {ours:?}", sheet.name());
                    }
                }
            }
            let more = sheet.iter().filter(|(at, ..)| range.get_value((at.row, at.col)).is_none_or(|d| *d == Data::Empty));
            for (at, value, _) in more {
                if sheet.formula(at).is_some() {
                    formulas += 1;
                } else {
                    other += 1;
                    if other <= 20 {
                        println!("   {name}, sheet {}, {at}: calamine nothing, here {value:?}", sheet.name());
                    }
                }
            }
        }
    }
    let total = same + formulas + other;
    println!(
        "   {same} of {total} cells equal calamine's; {formulas} others hold formulas without a value; {merge_differences} of {merges} merged ranges differ"
    );
    if (formulas + other) as f64 > 0.001 * total as f64 || merge_differences > 0 {
        return Err("at least 99.9 % and every merged range are stated".into());
    }
    Ok(())
}
