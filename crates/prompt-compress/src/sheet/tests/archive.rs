//! Workbooks written by hand, part by part.

use std::io::Write;

/// A zip archive of deflated parts.
pub(crate) fn zip(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (vec![], vec![]);
    for (name, content) in parts {
        let mut packer = flate2::write::DeflateEncoder::new(vec![], flate2::Compression::new(6));
        packer.write_all(content).expect("a vector takes everything");
        let packed = packer.finish().expect("a vector takes everything");
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let offset = file.len() as u32;
        let mut fields = vec![20, 0, 0, 0, 8, 0, 0, 0, 0, 0];
        for n in [crc.sum(), packed.len() as u32, content.len() as u32] {
            fields.extend(n.to_le_bytes());
        }
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0, 0]);
        file.extend(b"PK\x03\x04");
        file.extend(&fields);
        file.extend(name.as_bytes());
        file.extend(&packed);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&fields);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, n) = (file.len() as u32, parts.len() as u16);
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend(n.to_le_bytes());
    file.extend(n.to_le_bytes());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0, 0]);
    file
}

/// A workbook of one sheet, with shared strings, styles and the inside of `<workbook>`'s properties as given.
pub(crate) fn xlsx(sheet: &str, strings: &str, styles: &str, properties: &str) -> Vec<u8> {
    let rel = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let root = format!(r#"<Relationships><Relationship Id="r1" Type="{rel}/officeDocument" Target="xl/workbook.xml"/></Relationships>"#);
    let book = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><workbook xmlns:r="{rel}">{properties}<sheets><sheet name="one" sheetId="1" r:id="r1"/></sheets></workbook>"#
    );
    let relations = format!(
        r#"<Relationships><Relationship Id="r1" Type="{rel}/worksheet" Target="worksheets/sheet1.xml"/>
        <Relationship Id="r2" Type="{rel}/sharedStrings" Target="/xl/sharedStrings.xml"/>
        <Relationship Id="r3" Type="{rel}/styles" Target="styles.xml"/></Relationships>"#
    );
    let sheet = format!("<worksheet>{sheet}</worksheet>");
    let (strings, styles) = (format!("<sst>{strings}</sst>"), format!("<styleSheet>{styles}</styleSheet>"));
    zip(&[
        ("_rels/.rels", root.as_bytes()),
        ("xl/workbook.xml", book.as_bytes()),
        ("xl/_rels/workbook.xml.rels", relations.as_bytes()),
        ("xl/sharedStrings.xml", strings.as_bytes()),
        ("xl/styles.xml", styles.as_bytes()),
        ("xl/worksheets/sheet1.xml", sheet.as_bytes()),
    ])
}
