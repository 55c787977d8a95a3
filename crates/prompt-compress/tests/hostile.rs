//! Workbooks that want more than they are: errors, within stated bounds of heap.

#[path = "../src/sheet/tests/archive.rs"]
mod archive;

use archive::{xlsx, zip};
use scant_prompt_compress::sheet::{Form, Limits, SheetCompressor, Warning, Workbook};
use scant_prompt_compress::{Error, Guess};
use scant_testkit::alloc::{CountingAllocator, measure};
use scant_testkit::corrupt;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const MIB: usize = 1 << 20;

fn read(bytes: &[u8]) -> Result<Workbook, Error> {
    Workbook::read(bytes, &Limits::default())
}

fn sheet_of(data: &str) -> Vec<u8> {
    xlsx(&format!("<sheetData>{data}</sheetData>"), "<si><t>x</t></si>", "", "")
}

#[test]
fn parts_that_unpack_to_too_much_are_bombs() {
    // 64 MiB of zeros weigh 64 KiB: a thousand to one.
    let bomb = xlsx(&" ".repeat(64 * MIB), "", "", "");
    let (result, heap) = measure(|| read(&bomb));
    assert!(matches!(result, Err(Error::ZipBomb { .. })), "{:?}", result.err());
    assert!(heap.peak < 20 * MIB, "{}", heap.peak);
    // A liar: its directory says 100 bytes, which is where unpacking may not stop.
    let mut liar = bomb.clone();
    let entry = liar.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    liar[entry + 24..entry + 28].copy_from_slice(&100u32.to_le_bytes());
    let (result, heap) = measure(|| read(&liar));
    assert!(matches!(result, Err(Error::ZipBomb { .. })), "{:?}", result.err());
    assert!(heap.peak < 50 * MIB, "{}", heap.peak);
    // Many parts, each small enough.
    let limits = Limits { unpacked: 1000, ..Limits::default() };
    assert!(matches!(Workbook::read(&sheet_of(&" ".repeat(2000)), &limits), Err(Error::ZipBomb { .. })));
    assert!(Workbook::read(&bomb, &Limits { ratio: 2000, ..Limits::default() }).is_ok(), "limits can be raised");
}

#[test]
fn declared_sizes_are_not_believed() {
    let corners = r#"<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>2</v></c></row>"#;
    let book = xlsx(&format!(r#"<dimension ref="A1:XFD1048576"/><sheetData>{corners}</sheetData>"#), "", "", "");
    let (short, heap) = measure(|| {
        let book = read(&book).unwrap();
        SheetCompressor::new().anchors(None).compress(&book.sheets()[0], &Guess).unwrap()
    });
    assert_eq!(short.warnings, [Warning::VanillaTooLarge { cells: 1 << 34 }]);
    assert_eq!(short.text, "1|A1\n2|XFD1048576\n");
    assert!(heap.peak < 4 * MIB, "{}", heap.peak);
    let book = read(&book).unwrap();
    let vanilla = SheetCompressor::new().anchors(None).forms(&[Form::Vanilla]).compress(&book.sheets()[0], &Guess);
    assert!(matches!(vanilla, Err(Error::TooManyCells { .. })));
}

#[test]
fn styled_columns_of_empty_cells_are_no_contents() {
    let row: String = (1..500).map(|r| format!(r#"<row r="{r}"><c r="XFD{r}" s="0"/></row>"#)).collect();
    let book = read(&sheet_of(&row)).unwrap();
    assert!(book.sheets()[0].used().is_none());
}

#[test]
fn a_large_shared_string_is_held_once() {
    let cells: String = (0..5000).map(|_| r#"<row><c t="s"><v>0</v></c><c t="s"><v>0</v></c></row>"#).collect();
    let book = xlsx(&format!("<sheetData>{cells}</sheetData>"), &format!("<si><t>{}</t></si>", "ab ".repeat(300_000)), "", "");
    let (short, heap) = measure(|| {
        let book = read(&book).unwrap();
        SheetCompressor::new().anchors(None).compress(&book.sheets()[0], &Guess).unwrap()
    });
    assert_eq!(short.form, Form::Inverted);
    // Vanilla text would have 9 GB: it is given up where it can no longer be the shorter one.
    assert!(heap.peak < 150 * MIB, "{}", heap.peak);
}

#[test]
fn repeated_cells_count_against_the_limit() {
    let content = |times: u64, rows: u64| {
        format!(
            r#"<c><table name="t"><table-row number-rows-repeated="{rows}"><table-cell number-columns-repeated="{times}" value-type="float" value="1"/>
            </table-row></table></c>"#
        )
    };
    for (times, rows) in [(16_384, 1_048_576), (4_000_000_000, 1), (1, 4_000_000_000), (16_385, 1)] {
        let (result, heap) = measure(|| read(&zip(&[("content.xml", content(times, rows).as_bytes())])));
        assert!(matches!(result, Err(Error::TooManyCells { .. } | Error::BadRef { .. })), "{times} x {rows}: {result:?}");
        assert!(heap.peak < MIB, "{}", heap.peak);
    }
}

#[test]
fn broken_parts_are_named() {
    let cases = [
        (r#"<row><c r="A1"><v>1</v></c>"#, "expected `</row>`"),
        (r#"<row r="0"/>"#, "row 0"),
        (r#"<row r="1048577"/>"#, "row 1048577"),
        (r#"<row><c r="XFE1"/></row>"#, "XFE1"),
        (r#"<row><c r="1A"/></row>"#, "1A"),
        (r#"<row><c s="7"/></row>"#, "style 7"),
        (r#"<row><c s="-1"/></row>"#, "-1"),
        (r#"<row><c t="s"><v>5</v></c></row>"#, "shared string 5"),
        (r#"<row><c t="s"><v>-5</v></c></row>"#, "shared string -5"),
        (r#"<row><c t="str"><v>&nope;</v></c></row>"#, "nope"),
        (r#"<row><c r="A1></row>"#, ""),
        ("</sheetData></worksheet></wrong>", ""),
        (r#"<!DOCTYPE x [<!ENTITY a "b">]>"#, "document types"),
    ];
    for (data, says) in cases {
        let error = read(&sheet_of(data)).err().unwrap_or_else(|| panic!("{data} was read"));
        let text = error.to_string();
        assert!(text.contains(says) && text.contains("sheet1.xml"), "{data}: {text}");
    }
    let merge = read(&xlsx(r#"<mergeCells><mergeCell ref="A1:A"/></mergeCells>"#, "", "", ""));
    assert!(matches!(merge, Err(Error::BadRef { .. })));
}

#[test]
fn too_many_fonts_are_refused_and_parents_are_not_followed() {
    let fonts = format!("<fonts>{}</fonts>", "<font/>".repeat(70_000));
    assert!(matches!(read(&xlsx("", "", &fonts, "")), Err(Error::Part { .. })));
    // Styles that inherit from each other in a circle are read as they stand.
    let circle = r#"<cellStyleXfs><xf xfId="1"/><xf xfId="0"/></cellStyleXfs><cellXfs><xf xfId="0" fontId="999999999999"/></cellXfs>"#;
    assert!(read(&xlsx("", "", circle, "")).is_ok());
}

#[test]
fn deep_nesting_ends() {
    let deep = format!("{}{}", "<a>".repeat(200_000), "</a>".repeat(200_000));
    assert!(read(&sheet_of(&deep)).is_ok());
    let open = "<a>".repeat(200_000);
    assert!(read(&sheet_of(&open)).is_err());
}

#[test]
fn heap_is_a_small_multiple_of_the_unpacked_parts() {
    let rows: String = (1..=3000)
        .map(|r| {
            let cells: String =
                (0..10).map(|c| format!(r#"<c r="{}{r}"><v>{}.5</v></c>"#, char::from(b'A' + c), r * 10 + u32::from(c))).collect();
            format!(r#"<row r="{r}">{cells}</row>"#)
        })
        .collect();
    let book = sheet_of(&rows);
    let (_book, heap) = measure(|| read(&book).unwrap());
    assert!(heap.peak < 6 * rows.len(), "{} for {} bytes of XML", heap.peak, rows.len());
    assert!(heap.kept < 3 * rows.len() as isize, "{}", heap.kept);
}

#[test]
fn damaged_workbooks_are_read_or_refused() {
    let data =
        r#"<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1"><f>1+1</f><v>2</v></c></row><row><c t="inlineStr"><is><t>y</t></is></c></row>"#;
    let file = sheet_of(data);
    let (mut read_anyway, mut refused) = (0, 0);
    for (_, damaged) in corrupt::every_way(&file) {
        let (result, heap) = measure(|| read(&damaged));
        assert!(heap.peak < 20 * MIB, "{}", heap.peak);
        match result {
            Ok(book) => {
                read_anyway += 1;
                for sheet in book.sheets() {
                    SheetCompressor::new().compress(sheet, &Guess).unwrap();
                }
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > read_anyway, "{refused} {read_anyway}");
    // The same without checksums in the way: flips in the XML itself.
    let xml = format!("<worksheet><sheetData>{data}</sheetData></worksheet>");
    for (_, damaged) in corrupt::every_way(xml.as_bytes()) {
        let inside = String::from_utf8_lossy(&damaged);
        let _ = read(&xlsx(inside.trim_start_matches("<worksheet>").trim_end_matches("</worksheet>"), "<si><t>x</t></si>", "", ""));
    }
}
