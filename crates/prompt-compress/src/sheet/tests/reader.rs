use super::archive::{xlsx, zip};
use super::*;
use crate::{Error, Guess};

fn read(bytes: &[u8]) -> Result<Workbook, Error> {
    Workbook::read(bytes, &Limits::default())
}

fn one(sheet: &str, strings: &str, styles: &str, properties: &str) -> Workbook {
    read(&xlsx(sheet, strings, styles, properties)).unwrap()
}

#[test]
fn values_of_every_type() {
    let strings = r#"<si><t>plain</t></si><si><r><rPr><b/></rPr><t xml:space="preserve">rich </t></r><r><t> text &amp; more </t></r>
        <rPh sb="0" eb="1"><t>phonetic</t></rPh></si><si><t>tab_x0009_</t></si>"#;
    let sheet = r#"<dimension ref="A1:XFD1048576"/><sheetData><row r="1">
        <c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c><c t="s"><v>2</v></c><c r="D1"><v>-1.5e3</v></c></row>
        <row><c t="b"><v>1</v></c><c t="e"><v>#DIV/0!</v></c><c t="inlineStr"><is><t>in</t><r><t>line</t></r></is></c>
        <c t="str"><f>A1&amp;"x"</f><v>plainx</v></c><c><f>SUM(D1)</f></c><c t="d"><v>2024-01-01T12:00:00</v></c><c s="0"/></row>
        <row r="9" hidden="1"><c r="C9"><v>7</v></c></row></sheetData>
        <cols><col min="3" max="4" hidden="1"/></cols><mergeCells count="1"><mergeCell ref="A1:B1"/></mergeCells>"#;
    let book = one(sheet, strings, "", "");
    let sheet = book.sheet("one").unwrap();
    let get = |at: &str| sheet.get(at.parse().unwrap());
    assert_eq!(get("A1"), Value::Text("plain"));
    assert_eq!(get("B1"), Value::Text("rich text & more"));
    assert_eq!(get("C1"), Value::Text("tab\t"));
    assert_eq!(get("D1"), Value::Number(-1500.0));
    assert_eq!(get("A2"), Value::Bool(true));
    assert_eq!(get("B2"), Value::Error("#DIV/0!"));
    assert_eq!(get("C2"), Value::Text("inline"));
    assert_eq!(get("D2"), Value::Text("plainx"));
    assert_eq!(get("E2"), Value::Text("=SUM(D1)"), "a formula that nobody computed is shown itself");
    assert_eq!(get("F2"), Value::Number(45292.5));
    assert_eq!(get("C9"), Value::Number(7.0));
    assert_eq!(sheet.formula("D2".parse().unwrap()), Some("A1&\"x\""));
    assert_eq!(sheet.merges(), [range("A1:B1")]);
    assert_eq!(sheet.used(), Some(range("A1:F9")), "the declared range is not believed");
    assert!(sheet.row_is_hidden(8) && !sheet.row_is_hidden(0) && sheet.col_is_hidden(3) && !sheet.col_is_hidden(4));
    let shown = SheetCompressor::new().anchors(None).hidden(false).forms(&[Form::Inverted]).compress(sheet, &Guess).unwrap();
    assert!(!shown.text.contains("-1500") && shown.text.contains("2024") | shown.text.contains("45292.5"));
    assert!(matches!(book.sheet("two"), Err(Error::SheetNotFound { .. })));
}

#[test]
fn styles_formats_and_both_calendars() {
    let styles = r#"<numFmts><numFmt numFmtId="164" formatCode="yyyy\-mm\-dd"/></numFmts>
        <fonts><font/><font><b/><color rgb="FFFF0000"/></font><font><b val="0"/></font></fonts>
        <fills><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="solid"><fgColor theme="4"/></patternFill></fill></fills>
        <borders><border><left/><right/></border><border><left style="thin"/><bottom style="double"/></border></borders>
        <cellStyleXfs><xf xfId="0"/></cellStyleXfs>
        <cellXfs><xf numFmtId="0"/><xf numFmtId="164" fontId="1" fillId="1" borderId="1" xfId="99"/><xf numFmtId="10" fontId="2"/></cellXfs>"#;
    let sheet = r#"<sheetData><row><c s="1"><v>1</v></c><c s="2"><v>0.256</v></c></row></sheetData>"#;
    for (properties, day) in [("", "1900-01-01"), (r#"<workbookPr date1904="1"/>"#, "1904-01-02")] {
        let book = one(sheet, "", styles, properties);
        let sheet = &book.sheets()[0];
        let (a1, b1) = ("A1".parse().unwrap(), "B1".parse().unwrap());
        assert_eq!(sheet.shown(a1), day);
        assert_eq!(sheet.shown(b1), "25.60%");
        let style = sheet.style(a1);
        assert!(style.bold && !sheet.style(b1).bold);
        assert_eq!((style.color.as_str(), style.fill.as_str()), ("rgbFFFF0000", "solid theme4"));
        assert_eq!(style.borders, border::LEFT | border::BOTTOM);
    }
}

#[test]
fn cells_out_of_order_are_put_in_order() {
    let sheet = r#"<sheetData><row r="2"><c r="B2"><v>4</v></c><c r="A2"><v>3</v></c></row>
        <row r="1"><c r="A1"><v>9</v></c><c r="A1"><v>1</v></c></row></sheetData>"#;
    let book = one(sheet, "", "", "");
    let all: Vec<_> = book.sheets()[0].iter().map(|(at, v, _)| (at.to_string(), v)).collect();
    let want = [("A1", 1.0), ("A2", 3.0), ("B2", 4.0)].map(|(at, x)| (at.to_owned(), Value::Number(x)));
    assert_eq!(all, want);
}

#[test]
fn the_order_of_shared_strings_does_not_matter() {
    let cells = |ids: [u32; 3]| {
        let rows: String = (0..9).map(|r| format!(r#"<row><c t="s"><v>{}</v></c><c><v>{r}</v></c></row>"#, ids[r % 3])).collect();
        format!("<sheetData>{rows}</sheetData>")
    };
    let a = one(&cells([0, 1, 2]), "<si><t>x</t></si><si><t>y</t></si><si><t>z</t></si>", "", "");
    let b = one(&cells([2, 0, 3]), "<si><t>y</t></si><si><t>unused</t></si><si><t>x</t></si><si><t>z</t></si>", "", "");
    for form in Form::ALL {
        let text = |book: &Workbook| SheetCompressor::new().forms(&[form]).compress(&book.sheets()[0], &Guess).unwrap().text;
        assert_eq!(text(&a), text(&b));
    }
}

const CONTENT: &str = r##"<office:document-content xmlns:office="o" xmlns:table="t" xmlns:text="x" xmlns:style="s" xmlns:fo="f">
    <office:automatic-styles><style:style style:name="ce1" style:family="table-cell"><style:text-properties fo:font-weight="bold"/>
    <style:table-cell-properties fo:border-bottom="1pt solid" fo:background-color="#ffff00"/></style:style></office:automatic-styles>
    <office:body><office:spreadsheet><table:table table:name="first">
    <table:table-row><table:table-cell table:style-name="ce1" office:value-type="string" table:number-columns-spanned="2"><text:p>two</text:p>
    <text:p>lines<text:s text:c="2"/>&amp;</text:p><office:annotation><text:p>a note</text:p></office:annotation></table:table-cell>
    <table:covered-table-cell/><table:table-cell office:value-type="date" office:date-value="2024-01-01"><text:p>x</text:p></table:table-cell></table:table-row>
    <table:table-row table:number-rows-repeated="2"><table:table-cell table:number-columns-repeated="2" office:value-type="float" office:value="7"/>
    <table:table-cell office:value-type="percentage" office:value="0.5"/><table:table-cell office:value-type="boolean" office:boolean-value="true"/>
    <table:table-cell table:number-columns-repeated="16380"/></table:table-row>
    <table:table-row table:number-rows-repeated="1048570"><table:table-cell table:number-columns-repeated="16384"/></table:table-row>
    </table:table></office:spreadsheet></office:body></office:document-content>"##;

#[test]
fn open_document_spreadsheets() {
    let book = read(&zip(&[("content.xml", CONTENT.as_bytes())])).unwrap();
    let sheet = book.sheet("first").unwrap();
    let shown = |at: &str| sheet.shown(at.parse().unwrap());
    assert_eq!(shown("A1"), "two\nlines  &");
    assert_eq!(shown("C1"), "2024-01-01");
    assert_eq!((shown("A2"), shown("B3"), shown("C3"), shown("D2")), ("7".into(), "7".into(), "50.00%".into(), "TRUE".into()));
    assert_eq!(sheet.merges(), [range("A1:B1")]);
    assert_eq!(sheet.used(), Some(range("A1:D3")));
    let style = sheet.style("A1".parse().unwrap());
    assert!(style.bold && style.borders == border::BOTTOM && style.fill == "#ffff00");
}

#[test]
fn comma_separated_values() {
    let book = read(b"\xEF\xBB\xBFname;note\r\n\"a;\"\"b\"\"\nc\";007\r\n;-1.5\nlast;1e5").unwrap();
    let sheet = &book.sheets()[0];
    let get = |at: &str| sheet.get(at.parse().unwrap());
    assert_eq!(get("A1"), Value::Text("name"));
    assert_eq!(get("A2"), Value::Text("a;\"b\"\nc"));
    assert_eq!(get("B2"), Value::Text("007"));
    assert_eq!((get("A3"), get("B3")), (Value::Empty, Value::Number(-1.5)));
    assert_eq!(get("B4"), Value::Text("1e5"));
    assert_eq!(read(b"a\tb\n1\t2\n").unwrap().sheets()[0].used(), Some(range("A1:B2")));
    assert!(read(b"").unwrap().sheets()[0].used().is_none());
}

#[test]
fn what_is_no_workbook_is_said_to_be_none() {
    assert!(matches!(read(b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"), Err(Error::CompoundFile)));
    assert!(matches!(read(&zip(&[("a.txt", b"x")])), Err(Error::NotAWorkbook(_))));
    assert!(matches!(read(b"\xFF\xD8\xFF"), Err(Error::NotAWorkbook(_))));
    let rels = br#"<Relationships><Relationship Id="r" Type="x/officeDocument" Target="xl/workbook.bin"/></Relationships>"#;
    assert!(matches!(read(&zip(&[("_rels/.rels", rels)])), Err(Error::NotAWorkbook(_))));
}
