//! `styles.xml`: number formats, fonts, fills and borders, and the cell formats that join them.

use super::xml::Xml;
use crate::Error;
use crate::sheet::number_format::NumberFormat;
use crate::sheet::style::{Style, border};
use quick_xml::events::Event;
use std::collections::HashMap;
use std::sync::Arc;

/// Cell formats, fonts, fills or borders that a workbook may have.
const MAX: usize = 1 << 16;

#[derive(Clone, Default)]
struct Font {
    bold: bool,
    color: String,
}

/// The styles of cells, in the order of the file.
pub(super) fn read(part: &str, text: &str, from_1904: bool) -> Result<Vec<Style>, Error> {
    let mut xml = Xml::new(part, text);
    let mut codes: HashMap<u32, String> = HashMap::new();
    let mut formats: HashMap<u32, Arc<NumberFormat>> = HashMap::new();
    let (mut fonts, mut fills, mut borders, mut styles) = (vec![], vec![], vec![], vec![]);
    let mut section = String::new();
    let mut pattern = String::new();
    while let Some(event) = xml.next()? {
        match &event {
            Event::Start(e) => {
                let name = e.local_name();
                let full = fonts.len().max(fills.len()).max(borders.len()).max(styles.len()) >= MAX;
                if full && matches!(name.as_ref(), "font" | "fill" | "border" | "xf") {
                    return Err(xml.fail("there are more than 65536 fonts, fills, borders or cell formats"));
                }
                match (&*section, name.as_ref()) {
                    (_, s @ ("numFmts" | "fonts" | "fills" | "borders" | "cellXfs" | "cellStyleXfs" | "dxfs")) => section = s.to_owned(),
                    ("numFmts", "numFmt") => {
                        if let (Some(id), Some(code)) = (xml.number(e, "numFmtId")?, xml.attr(e, "formatCode")?) {
                            codes.insert(id, code.into_owned());
                        }
                    }
                    ("fonts", "font") => fonts.push(Font::default()),
                    ("fonts", "b") => {
                        let off = matches!(xml.attr(e, "val")?.as_deref(), Some("0" | "false"));
                        if let Some(font) = fonts.last_mut() {
                            font.bold = !off;
                        }
                    }
                    ("fonts", "color") => {
                        let color = color(&xml, e)?;
                        if let Some(font) = fonts.last_mut() {
                            font.color = color;
                        }
                    }
                    ("fills", "fill") => fills.push(String::new()),
                    ("fills", "patternFill") => {
                        pattern = xml.attr(e, "patternType")?.map_or_else(String::new, |p| p.into_owned());
                        if let Some(fill) = fills.last_mut().filter(|_| pattern != "none") {
                            fill.clone_from(&pattern);
                        }
                    }
                    ("fills", "fgColor") if pattern != "none" => {
                        let color = color(&xml, e)?;
                        if let Some(fill) = fills.last_mut().filter(|f| !f.is_empty()) {
                            fill.push(' ');
                            fill.push_str(&color);
                        }
                    }
                    ("fills", "gradientFill") => {
                        if let Some(fill) = fills.last_mut() {
                            fill.push_str("gradient");
                        }
                    }
                    ("borders", "border") => borders.push(0u8),
                    ("borders", side) => {
                        let bit = match side {
                            "top" => border::TOP,
                            "bottom" => border::BOTTOM,
                            "left" | "start" => border::LEFT,
                            "right" | "end" => border::RIGHT,
                            _ => 0,
                        };
                        let drawn = xml.attr(e, "style")?.is_some_and(|s| s != "none");
                        if let Some(bits) = borders.last_mut().filter(|_| drawn) {
                            *bits |= bit;
                        }
                    }
                    ("cellXfs", "xf") => {
                        let id: u32 = xml.number(e, "numFmtId")?.unwrap_or(0);
                        let format = formats.entry(id).or_insert_with(|| {
                            let code = codes.get(&id).map(String::as_str).or(NumberFormat::built_in(id)).unwrap_or("");
                            Arc::new(NumberFormat::new(code, from_1904))
                        });
                        let index = |name| Ok::<_, Error>(xml.number::<usize>(e, name)?.unwrap_or(0));
                        let font: Font = fonts.get(index("fontId")?).cloned().unwrap_or_default();
                        styles.push(Style {
                            format: format.clone(),
                            bold: font.bold,
                            color: font.color,
                            fill: fills.get(index("fillId")?).cloned().unwrap_or_default(),
                            borders: borders.get(index("borderId")?).copied().unwrap_or(0),
                        });
                    }
                    _ => {}
                }
            }
            Event::End(e) if e.local_name().as_ref() == section => section.clear(),
            _ => {}
        }
    }
    if styles.is_empty() {
        styles.push(Style::default());
    }
    Ok(styles)
}

/// A colour, whatever it is given by; the default of black type and of automatic colours is empty.
fn color(xml: &Xml<'_>, e: &quick_xml::events::BytesStart<'_>) -> Result<String, Error> {
    for (name, default) in [("rgb", "FF000000"), ("theme", "1"), ("indexed", "64")] {
        if let Some(value) = xml.attr(e, name)? {
            return Ok(if value == default { String::new() } else { format!("{name}{value}") });
        }
    }
    Ok(String::new())
}
