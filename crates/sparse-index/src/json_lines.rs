//! Vectors as lines of JSON: `{"id": 7, "vector": {"term": weight, ..}}`, the form in which Anserini and Seismic take them.

use crate::error::Error;
use crate::vector::Vectors;
use std::collections::BTreeMap;
use std::io::{BufRead, Write};

#[derive(serde::Serialize, serde::Deserialize)]
struct Line {
    id: serde_json::Value,
    vector: BTreeMap<String, f32>,
}

/// Reads ids and vectors. `term` gives the number of a term's name; a name of which it knows none is an error. Ids are numbers, or strings of
/// digits. Empty lines are passed over.
///
/// ```
/// use scant_sparse_index::read_json_lines;
/// let lines = "{\"id\": \"7\", \"vector\": {\"12\": 0.5, \"3\": 1}}\n";
/// let (ids, vectors) = read_json_lines(lines.as_bytes(), |name| name.parse().ok())?;
/// assert_eq!((ids[0], vectors.get(0).terms()), (7, &[3, 12][..]));
/// # Ok::<(), scant_sparse_index::Error>(())
/// ```
///
/// # Errors
/// [`Error::Line`] with the line's number; [`Error::Io`].
pub fn read_json_lines(from: impl BufRead, mut term: impl FnMut(&str) -> Option<u32>) -> Result<(Vec<u64>, Vectors), Error> {
    let (mut ids, mut vectors) = (vec![], Vectors::new());
    for (i, text) in from.lines().enumerate() {
        let text = text?;
        if text.trim().is_empty() {
            continue;
        }
        let wrong = |reason: String| Error::Line { line: i + 1, reason };
        let line: Line = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        let id = line.id.as_u64().or_else(|| line.id.as_str()?.parse().ok());
        let id = id.ok_or_else(|| wrong(format!("the id {} is not a number of 64 bits", line.id)))?;
        let mut entries = Vec::with_capacity(line.vector.len());
        for (name, weight) in line.vector {
            let term = term(&name).ok_or_else(|| wrong(format!("term `{name}` is not in the vocabulary")))?;
            entries.push((term, weight));
        }
        vectors.push_unsorted(&entries).map_err(|e| wrong(e.to_string()))?;
        ids.push(id);
    }
    Ok((ids, vectors))
}

/// Writes what [`read_json_lines`] reads.
///
/// # Errors
/// [`Error::Length`] unless there is an id for each vector; [`Error::Io`].
pub fn write_json_lines(mut to: impl Write, ids: &[u64], vectors: &Vectors, name: impl Fn(u32) -> String) -> Result<(), Error> {
    Error::check_len("ids of the vectors", vectors.len(), ids.len())?;
    for (id, v) in ids.iter().zip(vectors.iter()) {
        let line = Line { id: (*id).into(), vector: v.iter().map(|(term, weight)| (name(term), weight)).collect() };
        serde_json::to_writer(&mut to, &line).map_err(std::io::Error::from)?;
        to.write_all(b"\n")?;
    }
    Ok(())
}
