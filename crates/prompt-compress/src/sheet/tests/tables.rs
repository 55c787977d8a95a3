use super::*;

fn found(sheet: &Sheet) -> Vec<String> {
    find_tables(sheet).tables.iter().map(ToString::to_string).collect()
}

#[test]
fn titles_and_notes_are_no_part_of_a_table() {
    let sheet = sheet(&[
        &["Sales by month"],
        &[],
        &["month", "north", "south"],
        &[],
        &["May", "10", "20"],
        &["June", "11", "21"],
        &[],
        &["Source: books"],
        &["of the workshop"],
    ]);
    let layout = find_tables(&sheet);
    assert_eq!(layout.tables, [range("A3:C6")]);
    assert_eq!(layout.others, [range("A1"), range("A8:A9")]);
}

#[test]
fn a_heading_over_some_columns_belongs_to_the_table() {
    let sheet = sheet(&[&["", "2023", ""], &["town", "Q1", "Q2"], &["Tarn", "1.5", "2"], &["Fenn", "3", "4"]]);
    assert_eq!(found(&sheet), ["A1:C4"]);
}

#[test]
fn tables_of_different_height_side_by_side_are_two() {
    let mut rows: Vec<Vec<&str>> = vec![vec!["item", "pieces", "", "", "town", "km"]];
    for i in 0..9 {
        rows.push(if i < 3 { vec!["bolt", "12", "", "", "Tarn", "80"] } else { vec!["bolt", "12"] });
    }
    let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
    assert_eq!(found(&sheet(&rows)), ["A1:B10", "E1:F4"]);
}

#[test]
fn a_header_below_numbers_begins_a_new_table() {
    let sheet =
        sheet(&[&["item", "pieces"], &["bolt", "1"], &["nut", "2"], &[], &["Towns"], &["town", "km"], &["Tarn", "80"], &["Fenn", "12"]]);
    assert_eq!(found(&sheet), ["A1:B3", "A6:B8"]);
}

#[test]
fn sections_of_a_table_stay_together() {
    let sheet = sheet(&[&["item", "pieces"], &["bolt", "1"], &["nut", "2"], &[], &["OLD STOCK"], &["pin", "80"], &["clip", "12"]]);
    assert_eq!(found(&sheet), ["A1:B7"]);
}

#[test]
fn a_list_is_no_table() {
    let layout = find_tables(&sheet(&[&["one"], &["two"], &["three"]]));
    assert_eq!((layout.tables.len(), layout.others), (0, vec![range("A1:A3")]));
    assert_eq!(find_tables(&sheet(&[])), Layout::default());
}

#[test]
fn headers_end_at_the_first_row_of_numbers() {
    let made = sheet(&[&["", "2023", "2024"], &["town", "Q1", "Q1"], &["Tarn", "1.5", "2"], &["Fenn", "3", "4"]]);
    assert_eq!(header_rows(&made, &range("A1:C4")), 2);
    assert_eq!(header_rows(&sheet(&[&["a", "b"], &["c", "d"], &["e", "f"]]), &range("A1:B3")), 1);
}
