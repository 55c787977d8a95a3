use super::*;

#[test]
fn numbers_are_shown_as_spreadsheets_show_them() {
    let cases: &[(&str, f64, &str)] = &[
        ("", 1234.5, "1234.5"),
        ("General", 0.1 + 0.2, "0.3"),
        ("General", -12.0, "-12"),
        ("General", 1e11, "1E+11"),
        ("General", 123_456_789_012.0, "1.23457E+11"),
        ("General", 1.0 / 3.0, "0.333333333"),
        ("General", 12_345.678_912_3, "12345.67891"),
        ("General", 1e-10, "1E-10"),
        ("General", 0.0, "0"),
        ("0", 2.5, "3"),
        ("0.00", 1.005, "1.01"),
        ("0.00", -0.001, "0.00"),
        ("0.00", 999.999, "1000.00"),
        ("#,##0", 1_234_567.0, "1,234,567"),
        ("#,##0", 0.0, "0"),
        ("#,###", 0.0, ""),
        ("#.##", 0.5, ".5"),
        ("00000", 42.0, "00042"),
        ("000-00-0000", 123_456_789.0, "123-45-6789"),
        ("0.0#", 1.5, "1.5"),
        ("0.0#", 1.25, "1.25"),
        ("0%", 0.125, "13%"),
        ("0.0%", 1.0, "100.0%"),
        ("$#,##0.00", 1234.5, "$1,234.50"),
        ("[$€-407] #,##0.00", 7.0, "€ 7.00"),
        ("#,##0.00 \"kg\"", 7.0, "7.00 kg"),
        ("#,##0,", 1_234_567.0, "1,235"),
        ("0.0,,\"M\"", 12_345_678.0, "12.3M"),
        ("0.00E+00", 12345.0, "1.23E+04"),
        ("0.00E+00", 0.00012, "1.20E-04"),
        ("##0.0E+0", 12345.0, "12.3E+3"),
        ("#,##0;(#,##0)", -1500.0, "(1,500)"),
        ("#,##0;[Red]-#,##0;\"none\"", 0.0, "none"),
        ("[<10]\"few\";[>=100]\"many\";0", 3.0, "few"),
        ("[<10]\"few\";[>=100]\"many\";0", 50.0, "50"),
        ("[<10]\"few\";[>=100]\"many\";0", 150.0, "many"),
        ("_(* #,##0.00_);_(* (#,##0.00);_(* \"-\"??_);_(@_)", 12.0, "12.00"),
        ("_(* #,##0.00_);_(* (#,##0.00);_(* \"-\"??_);_(@_)", 0.0, "-"),
        ("# ?/?", 1.5, "1 1/2"),
        ("# ?/?", 3.0, "3"),
        ("?/8", 0.375, "3/8"),
        ("# ??/??", 0.333_333, "1/3"),
        ("yyyy-mm-dd", 60.0, "1900-02-29"),
        ("yyyy-mm-dd", 59.0, "1900-02-28"),
        ("yyyy-mm-dd", 61.0, "1900-03-01"),
        ("d-mmm-yy", 45292.0, "1-Jan-24"),
        ("dddd, mmmm d, yyyy", 45292.0, "Monday, January 1, 2024"),
        ("h:mm AM/PM", 0.5, "12:00 PM"),
        ("hh:mm:ss", 0.999_999, "00:00:00"),
        ("[h]:mm", 1.25, "30:00"),
        ("mm:ss.0", 0.000_694_5, "01:00.0"),
        ("m/d/yyyy h:mm", 45000.25, "3/15/2023 6:00"),
        ("yyyy-mm-dd", -1.0, "-1"),
    ];
    let show = |code: &str, x: f64| {
        let mut shown = String::new();
        NumberFormat::new(code, false).show(x, &mut shown);
        shown
    };
    let wrong: Vec<_> =
        cases.iter().map(|&(code, x, want)| (code, x, want, show(code, x))).filter(|(_, _, want, got)| want != got).collect();
    assert!(wrong.is_empty(), "format, number, wanted, shown: {wrong:#?}");
}

#[test]
fn days_count_from_1904_where_the_workbook_says_so() {
    let mut shown = String::new();
    NumberFormat::new("yyyy-mm-dd", true).show(0.0, &mut shown);
    assert_eq!(shown, "1904-01-01");
}

#[test]
fn texts_have_a_section_of_their_own() {
    let mut shown = String::new();
    NumberFormat::new("0;0;0;\"<\"@\">\"", false).show_text("x", &mut shown);
    assert_eq!(shown, "<x>");
}

#[test]
fn formats_tell_what_they_show() {
    let shows = |code: &str| NumberFormat::new(code, false).shows();
    assert_eq!(shows("yyyy/mm/dd"), Shows::Date);
    assert_eq!(shows("h:mm"), Shows::Time);
    assert_eq!(shows("[mm]:ss"), Shows::Time);
    assert_eq!(shows("0.0%"), Shows::Percent);
    assert_eq!(shows("0E+0"), Shows::Scientific);
    assert_eq!(shows("[$€-407]0.00"), Shows::Currency);
    assert_eq!(shows("#,##0"), Shows::Number);
    assert_eq!(shows("@"), Shows::Anything);
    assert_eq!(shows("General"), Shows::Anything);
}

#[test]
fn looks_are_recognised() {
    use DataType::*;
    let cases = [
        ("a.b@mail.example", Some(Email)),
        ("a@b", None),
        ("12%", Some(Percentage)),
        ("$1,200.50", Some(Currency)),
        ("-€3", Some(Currency)),
        ("30 EUR", Some(Currency)),
        ("1.5e10", Some(Scientific)),
        ("2E-3", Some(Scientific)),
        ("5/1/2024", Some(Date)),
        ("1 May 2024", Some(Date)),
        ("May 1, 2024", Some(Date)),
        ("1-Jan-24", Some(Date)),
        ("2024-05-01 10:30", Some(Date)),
        ("10:30 PM", Some(Time)),
        ("25:00", None),
        ("1,234", Some(Integer)),
        ("1,23", None),
        ("007", None),
        ("-3.5", Some(Float)),
        (".", None),
        ("Q1", None),
        ("", None),
    ];
    for (text, want) in cases {
        assert_eq!(recognise(text), want, "{text}");
    }
}
