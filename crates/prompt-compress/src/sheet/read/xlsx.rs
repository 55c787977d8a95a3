//! The parts of an Office Open XML workbook (ECMA-376), xlsx or xlsm.

use super::parts::Parts;
use super::worksheet::Worksheet;
use super::xml::Xml;
use super::{Budget, Limits, Workbook, styles};
use crate::Error;
use crate::sheet::address::Range;
use crate::sheet::grid::{Strings, Visibility};
use crate::sheet::style::Style;
use quick_xml::events::Event;

/// A relation of a part to another.
struct Relation {
    id: String,
    kind: String,
    target: String,
}

pub(super) fn read(mut parts: Parts<'_>, limits: &Limits) -> Result<Workbook, Error> {
    let main = relations(&mut parts, "")?.into_iter().find(|r| r.kind == "officeDocument").map(|r| r.target);
    let main = main.unwrap_or_else(|| "xl/workbook.xml".to_owned());
    if main.to_lowercase().ends_with(".bin") {
        return Err(Error::NotAWorkbook("a binary workbook (xlsb)".to_owned()));
    }
    let Some(text) = parts.text(&main)? else {
        return Err(Error::NotAWorkbook(format!("an archive without `{main}` or `content.xml`")));
    };
    let (listed, from_1904) = workbook(&main, &text)?;
    let related = relations(&mut parts, &main)?;
    let target = |kind: &str| related.iter().find(|r| r.kind == kind).map(|r| r.target.clone());

    let styles = match target("styles") {
        Some(part) => match parts.text(&part)? {
            Some(text) => styles::read(&part, &text, from_1904)?,
            None => vec![Style::default()],
        },
        None => vec![Style::default()],
    };
    let mut strings = Strings::default();
    let shared = match target("sharedStrings") {
        Some(part) => match parts.text(&part)? {
            Some(text) => shared_strings(&part, &text, &mut strings)?,
            None => vec![],
        },
        None => vec![],
    };
    let mut budget = Budget { used: 0, cap: limits.cells };
    let mut sheets = vec![];
    for (name, id, visibility) in listed {
        // Sheets of charts and dialogs hold no cells.
        let Some(relation) = related.iter().find(|r| r.id == id) else {
            return Err(Error::BadRef { part: main, at: 0, text: id });
        };
        if relation.kind != "worksheet" {
            continue;
        }
        let part = &relation.target;
        let Some(text) = parts.text(part)? else {
            return Err(Error::BadRef { part: main, at: 0, text: part.clone() });
        };
        let reader = Worksheet { part, shared: &shared, styles: styles.len(), strings: &mut strings, budget: &mut budget };
        let mut sheet = reader.read(name, &text)?;
        drop(text);
        sheet.visibility = visibility;
        for table in relations(&mut parts, part)?.into_iter().filter(|r| r.kind == "table") {
            if let Some(text) = parts.text(&table.target)? {
                sheet.declared_tables.extend(declared_table(&table.target, &text)?);
            }
        }
        sheets.push(sheet);
    }
    Ok(Workbook::new(sheets, strings, styles))
}

/// Names, relation ids and visibility of the sheets, and whether days count from 1904.
type Listed = (Vec<(String, String, Visibility)>, bool);

fn workbook(part: &str, text: &str) -> Result<Listed, Error> {
    let mut xml = Xml::new(part, text);
    let (mut sheets, mut from_1904) = (vec![], false);
    while let Some(event) = xml.next()? {
        let Event::Start(e) = &event else { continue };
        match e.local_name().as_ref() {
            "workbookPr" => from_1904 = xml.is_true(e, "date1904")?,
            "sheet" => {
                let visibility = match xml.attr(e, "state")?.as_deref() {
                    Some("hidden") => Visibility::Hidden,
                    Some("veryHidden") => Visibility::VeryHidden,
                    _ => Visibility::Shown,
                };
                let name = xml.attr(e, "name")?.unwrap_or_default().into_owned();
                let id = xml.attr(e, "id")?.ok_or_else(|| xml.fail("a sheet has no relation id"))?.into_owned();
                sheets.push((name, id, visibility));
            }
            _ => {}
        }
    }
    Ok((sheets, from_1904))
}

/// The relations of a part (`""`: of the archive), targets as paths from the root.
fn relations(parts: &mut Parts<'_>, of: &str) -> Result<Vec<Relation>, Error> {
    let (folder, file) = of.rsplit_once('/').unwrap_or(("", of));
    let slash = if folder.is_empty() { "" } else { "/" };
    let part = format!("{folder}{slash}_rels/{file}.rels");
    let Some(text) = parts.text(&part)? else { return Ok(vec![]) };
    let mut xml = Xml::new(&part, &text);
    let mut found = vec![];
    while let Some(event) = xml.next()? {
        let Event::Start(e) = &event else { continue };
        if e.local_name().as_ref() != "Relationship" || xml.attr(e, "TargetMode")?.as_deref() == Some("External") {
            continue;
        }
        if let (Some(id), Some(kind), Some(target)) = (xml.attr(e, "Id")?, xml.attr(e, "Type")?, xml.attr(e, "Target")?) {
            let kind = kind.rsplit('/').next().unwrap_or("").to_owned();
            found.push(Relation { id: id.into_owned(), kind, target: resolve(folder, &target) });
        }
    }
    Ok(found)
}

/// A target's path from the root, without `.` and `..`.
fn resolve(folder: &str, target: &str) -> String {
    let target = target.replace('\\', "/");
    let mut path: Vec<&str> = if target.starts_with('/') { vec![] } else { folder.split('/').filter(|s| !s.is_empty()).collect() };
    for step in target.split('/') {
        match step {
            "" | "." => {}
            ".." => {
                path.pop();
            }
            _ => path.push(step),
        }
    }
    path.join("/")
}

/// Shared strings: the interned id of each, in the order of the file. Runs of rich text are joined, phonetic ones left out.
fn shared_strings(part: &str, text: &str, strings: &mut Strings) -> Result<Vec<u32>, Error> {
    let mut xml = Xml::new(part, text);
    let (mut ids, mut string) = (vec![], String::new());
    while let Some(event) = xml.next()? {
        if matches!(&event, Event::Start(e) if e.local_name().as_ref() == "si") {
            string.clear();
            rich_text(&mut xml, "si", &mut string)?;
            ids.push(strings.intern(&unescape(&string)));
        }
    }
    Ok(ids)
}

/// The texts `t` inside an element that has just begun, up to its end.
pub(super) fn rich_text(xml: &mut Xml<'_>, element: &str, out: &mut String) -> Result<(), Error> {
    let (mut phonetic, mut text) = (0u32, String::new());
    while let Some(event) = xml.next()? {
        match &event {
            Event::Start(e) => match e.local_name().as_ref() {
                "t" if phonetic == 0 => {
                    // Spaces at the ends count only where the file says so.
                    let kept = xml.attr(e, "space")?.as_deref() == Some("preserve");
                    text.clear();
                    xml.text("", &mut text)?;
                    out.push_str(if kept { &text } else { text.trim_matches([' ', '\t', '\r', '\n']) });
                }
                "rPh" => phonetic += 1,
                _ => {}
            },
            Event::End(e) => match e.local_name().as_ref() {
                "rPh" => phonetic = phonetic.saturating_sub(1),
                name if name == element => break,
                _ => {}
            },
            _ => {}
        }
    }
    Ok(())
}

/// Characters that XML cannot hold stand as `_x000D_`.
pub(super) fn unescape(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains("_x") {
        return text.into();
    }
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("_x") {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 2..at + 6).filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()) && rest[at + 6..].starts_with('_'));
        match code.and_then(|h| u32::from_str_radix(h, 16).ok()).and_then(char::from_u32) {
            Some(c) => {
                out.push(c);
                rest = &rest[at + 7..];
            }
            None => {
                out.push_str("_x");
                rest = &rest[at + 2..];
            }
        }
    }
    out.push_str(rest);
    out.into()
}

fn declared_table(part: &str, text: &str) -> Result<Option<Range>, Error> {
    let mut xml = Xml::new(part, text);
    while let Some(event) = xml.next()? {
        if let Event::Start(e) = &event
            && e.local_name().as_ref() == "table"
            && let Some(range) = xml.attr(e, "ref")?
        {
            return range.parse().map(Some).map_err(|_| xml.bad_ref(&range));
        }
    }
    Ok(None)
}
