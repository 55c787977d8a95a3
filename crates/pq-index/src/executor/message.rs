//! Messages between processes: a length of four bytes, little end first, then so many bytes.

use super::Task;
use crate::error::Error;
use crate::index::Index;
use ndarray::Array2;
use scant_tensor_core::retrieve::{Filter, Hit, Order};
use std::io::{Read, Write};

/// What a task is, but for its queries.
#[derive(serde::Serialize, serde::Deserialize)]
struct Header {
    rows: usize,
    dim: usize,
    k: usize,
    nprobe: Option<usize>,
    filter: Option<Filter>,
}

/// What a worker says of the shard that it opened.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Opened {
    pub(super) digest: String,
    pub(super) order: Order,
}

/// An answer: what was asked for, or why not.
#[derive(serde::Serialize, serde::Deserialize)]
enum Status {
    Done,
    Failed(String),
}

fn bad(what: impl std::fmt::Display) -> Error {
    Error::Message { what: what.to_string() }
}

pub(super) fn send(to: &mut impl Write, bytes: &[u8]) -> std::io::Result<()> {
    let len =
        u32::try_from(bytes.len()).map_err(|_| std::io::Error::other(format!("{} bytes are more than a message holds", bytes.len())))?;
    to.write_all(&len.to_le_bytes())?;
    to.write_all(bytes)?;
    to.flush()
}

/// The next message; `None` at the end. Takes no more memory than there are bytes.
pub(super) fn receive(from: &mut impl Read) -> std::io::Result<Option<Vec<u8>>> {
    let mut len = [0; 4];
    match from.read(&mut len[..1])? {
        0 => return Ok(None),
        _ => from.read_exact(&mut len[1..])?,
    }
    let len = u32::from_le_bytes(len);
    let mut bytes = vec![];
    from.take(len.into()).read_to_end(&mut bytes)?;
    if bytes.len() < len as usize {
        return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, format!("{} of {len} bytes of a message", bytes.len())));
    }
    Ok(Some(bytes))
}

/// JSON, then bytes.
fn join(json: &impl serde::Serialize, rest: &[u8]) -> Result<Vec<u8>, Error> {
    let json = serde_json::to_vec(json).map_err(bad)?;
    Ok([&(json.len() as u32).to_le_bytes()[..], &json, rest].concat())
}

fn split<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), Error> {
    let (len, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| bad(format!("{} bytes have no length", bytes.len())))?;
    let len = u32::from_le_bytes(*len) as usize;
    let (json, rest) = rest.split_at_checked(len).ok_or_else(|| bad(format!("a header of {len} bytes in {}", rest.len())))?;
    Ok((serde_json::from_slice(json).map_err(bad)?, rest))
}

impl Task {
    /// As a message.
    ///
    /// # Errors
    /// [`Error::Message`] for a filter that holds row numbers.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let (rows, dim) = self.queries.dim();
        let header = Header { rows, dim, k: self.k, nprobe: self.nprobe, filter: self.filter.clone() };
        let queries: Vec<u8> = self.queries.iter().flat_map(|v| v.to_le_bytes()).collect();
        join(&header, &queries)
    }

    /// From a message.
    ///
    /// # Errors
    /// [`Error::Message`] says what is wrong with it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Task, Error> {
        let (header, rest): (Header, _) = split(bytes)?;
        let Header { rows, dim, k, nprobe, filter } = header;
        if rows.checked_mul(dim).and_then(|n| n.checked_mul(4)) != Some(rest.len()) {
            return Err(bad(format!("{rows} queries of {dim} dimensions in {} bytes", rest.len())));
        }
        let values = rest.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let queries = Array2::from_shape_vec((rows, dim), values).map_err(bad)?;
        Ok(Task { queries, k, nprobe, filter })
    }
}

fn answer(found: Result<Vec<Vec<Hit>>, Error>) -> Result<Vec<u8>, Error> {
    match found {
        Err(error) => join(&Status::Failed(error.to_string()), &[]),
        Ok(hits) => {
            let mut bytes = vec![];
            for hits in hits {
                bytes.extend_from_slice(&(hits.len() as u32).to_le_bytes());
                for hit in hits {
                    bytes.extend_from_slice(&hit.id.to_le_bytes());
                    bytes.extend_from_slice(&hit.score.to_le_bytes());
                }
            }
            join(&Status::Done, &bytes)
        }
    }
}

/// The hits of an answer; the inner error is the worker's.
pub(super) fn hits(bytes: &[u8], queries: usize) -> Result<Result<Vec<Vec<Hit>>, String>, Error> {
    let (status, mut rest): (Status, _) = split(bytes)?;
    if let Status::Failed(why) = status {
        return Ok(Err(why));
    }
    let mut all = vec![];
    for query in 0..queries {
        let short = || bad(format!("an answer ends within query {query} of {queries}"));
        let (len, after) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let len = (u32::from_le_bytes(*len) as usize).checked_mul(12).ok_or_else(short)?;
        let (own, after) = after.split_at_checked(len).ok_or_else(short)?;
        let hit = |b: &[u8; 12]| Hit {
            id: u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
            score: f32::from_le_bytes([b[8], b[9], b[10], b[11]]),
        };
        all.push(own.as_chunks().0.iter().map(hit).collect());
        rest = after;
    }
    Ok(Ok(all))
}

pub(super) fn opened(bytes: &[u8]) -> Result<Result<Opened, String>, Error> {
    let (status, rest): (Status, _) = split(bytes)?;
    match status {
        Status::Failed(why) => Ok(Err(why)),
        Status::Done => serde_json::from_slice(rest).map(Ok).map_err(bad),
    }
}

/// The life of a worker: the first message names the file of a shard, each one after it is a [`Task`]. Ends with its input.
///
/// # Errors
/// [`Error::Message`] if one cannot be read or written. What is wrong with the shard or a task is the answer to it.
pub fn serve(mut input: impl Read, mut output: impl Write) -> Result<(), Error> {
    let Some(path) = receive(&mut input).map_err(bad)? else { return Ok(()) };
    let index = String::from_utf8(path).map_err(bad).and_then(Index::open);
    let said = match &index {
        Err(error) => join(&Status::Failed(error.to_string()), &[])?,
        Ok(index) => {
            let opened = Opened { digest: index.digest().to_owned(), order: index.metric().order() };
            join(&Status::Done, &serde_json::to_vec(&opened).map_err(bad)?)?
        }
    };
    send(&mut output, &said).map_err(bad)?;
    let Ok(index) = index else { return Ok(()) };
    while let Some(task) = receive(&mut input).map_err(bad)? {
        send(&mut output, &answer(Task::from_bytes(&task).and_then(|task| task.run(&index)))?).map_err(bad)?;
    }
    Ok(())
}
