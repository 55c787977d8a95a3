//! XML events of a part, with errors that say where.

use crate::Error;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};
use std::borrow::Cow;

/// Reads a part's events. Empty elements come as a start and an end; comments, declarations and instructions do not come at all; document types,
/// which could define entities, are refused.
pub(super) struct Xml<'a> {
    reader: quick_xml::Reader<&'a [u8]>,
    part: &'a str,
    depth: usize,
}

impl<'a> Xml<'a> {
    pub(super) fn new(part: &'a str, text: &'a str) -> Xml<'a> {
        let mut reader = quick_xml::Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Xml { reader, part, depth: 0 }
    }

    pub(super) fn part(&self) -> &'a str {
        self.part
    }

    pub(super) fn at(&self) -> u64 {
        self.reader.buffer_position()
    }

    pub(super) fn fail(&self, why: impl Into<String>) -> Error {
        Error::Part { part: self.part.to_owned(), at: self.at(), why: why.into() }
    }

    pub(super) fn bad_ref(&self, text: &str) -> Error {
        Error::BadRef { part: self.part.to_owned(), at: self.at(), text: text.chars().take(40).collect() }
    }

    /// The next event; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Event<'a>>, Error> {
        loop {
            match self.reader.read_event() {
                Ok(Event::Eof) if self.depth > 0 => return Err(self.fail(format!("it ends inside of {} elements", self.depth))),
                Ok(Event::Eof) => return Ok(None),
                Ok(Event::DocType(_)) => return Err(self.fail("document types are not read")),
                Ok(Event::Comment(_) | Event::Decl(_) | Event::PI(_)) => {}
                Ok(event) => {
                    match &event {
                        Event::Start(_) => self.depth += 1,
                        Event::End(_) => self.depth -= 1,
                        _ => {}
                    }
                    return Ok(Some(event));
                }
                Err(e) => {
                    let at = self.reader.error_position();
                    return Err(Error::Part { part: self.part.to_owned(), at, why: e.to_string() });
                }
            }
        }
    }

    /// The text inside the element that has just begun, up to its end; elements called `skip` are left out with all that is in them.
    pub(super) fn text(&mut self, skip: &str, out: &mut String) -> Result<(), Error> {
        let (mut depth, mut skipping) = (1usize, None);
        while depth > 0 {
            match self.next()?.ok_or_else(|| self.fail("an element does not end"))? {
                Event::Start(e) => {
                    depth += 1;
                    if !skip.is_empty() && skipping.is_none() && e.local_name().as_ref() == skip {
                        skipping = Some(depth);
                    }
                }
                Event::End(_) => {
                    if skipping == Some(depth) {
                        skipping = None;
                    }
                    depth -= 1;
                }
                event if skipping.is_none() => self.append(&event, out)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Appends the text of an event that has some.
    pub(super) fn append(&self, event: &Event<'_>, out: &mut String) -> Result<(), Error> {
        match event {
            Event::Text(t) => out.push_str(&t.xml10_content()),
            Event::CData(t) => out.push_str(&t.xml10_content()),
            Event::GeneralRef(r) => out.push(self.resolve(r)?),
            _ => {}
        }
        Ok(())
    }

    fn resolve(&self, r: &BytesRef<'_>) -> Result<char, Error> {
        if let Some(c) = r.resolve_char_ref().map_err(|e| self.fail(e.to_string()))? {
            return Ok(c);
        }
        let name = r.borrow().into_inner();
        Ok(match &*name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => return Err(self.fail(format!("the entity `{}` is not defined", name.chars().take(40).collect::<String>()))),
        })
    }

    /// An attribute, whatever its prefix.
    pub(super) fn attr<'e>(&self, e: &'e BytesStart<'_>, name: &str) -> Result<Option<Cow<'e, str>>, Error> {
        for a in e.attributes().with_checks(false) {
            let a = a.map_err(|e| self.fail(e.to_string()))?;
            if a.key.local_name().as_ref() == name {
                return a.normalized_value(XmlVersion::Implicit1_0).map(Some).map_err(|e| self.fail(e.to_string()));
            }
        }
        Ok(None)
    }

    /// An attribute that is a number; anything else counts as absent.
    pub(super) fn number<T: std::str::FromStr>(&self, e: &BytesStart<'_>, name: &str) -> Result<Option<T>, Error> {
        Ok(self.attr(e, name)?.and_then(|v| v.trim().parse().ok()))
    }

    /// An attribute that is a truth value.
    pub(super) fn is_true(&self, e: &BytesStart<'_>, name: &str) -> Result<bool, Error> {
        Ok(matches!(self.attr(e, name)?.as_deref(), Some("1" | "true" | "on")))
    }
}
