//! An append-only journal: a record that was appended is on the disk.
//!
//! Numbers are little-endian of 64 bits, checksums are CRC32C in eight hexadecimal digits.
//!
//! ```text
//! "scantjnl"  version  digest of the index's quantizer (8 bytes)  checksum of these 24 bytes
//! number  length  checksum of these 16 bytes  checksum of the payload  payload       from here as often as there are records
//! ```
//!
//! Records are numbered without gaps. A process that is killed leaves a prefix of the file, a machine that loses power a last record of which
//! any part may be missing: either ends in bytes that are no record, and with no record behind them. That is what [`Journal::open`] drops.

use crate::error::Error;
use scant_tensor_core::file::{Bytes, Crc32c};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"scantjnl";
const VERSION: u64 = 1;
const START: usize = 32;
const HEAD: usize = 32;

/// The file of a journal, made if it was not there: as long as it is locked, nobody else can open it.
#[derive(Debug)]
pub(crate) struct Locked {
    path: PathBuf,
    file: File,
}

impl Locked {
    /// # Errors
    /// [`Error::Locked`], [`Error::Io`].
    pub(crate) fn new(path: PathBuf) -> Result<Locked, Error> {
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|source| Error::Io { file: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Locked { path, file }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { file: path }),
            Err(TryLockError::Error(source)) => Err(Error::Io { file: path, source }),
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing is not enough while a child process that was just forked still holds its copy of the file.
        let _ = self.file.unlock();
    }
}

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    locked: Locked,
    /// Where the next record goes, and its number.
    end: u64,
    next: u64,
    /// A write failed: what is on the disk is not known.
    failed: bool,
}

impl Journal {
    /// Reads a journal, or begins one, and returns what was appended after record number `applied`.
    ///
    /// # Errors
    /// [`Error::QuantizerMismatch`] for the journal of another index; [`Error::Corrupt`] for a file that is no journal, is damaged before its end, or
    /// begins later than after `applied`; [`Error::Io`].
    pub(crate) fn open(locked: Locked, digest: &str, applied: u64) -> Result<(Journal, Vec<Bytes>), Error> {
        let path = &locked.path;
        let mut file = &locked.file;
        let io = |source| Error::Io { file: path.clone(), source };
        let mut bytes = vec![];
        file.read_to_end(&mut bytes).map_err(io)?;
        let bytes = Bytes::from(bytes);
        let start = start(digest);
        if bytes.len() < START && start.starts_with(&bytes) {
            // New, or died while it was made: before the first record.
            file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
            file.write_all(&start).and_then(|()| file.sync_all()).map_err(io)?;
            sync_folder(path);
            return Ok((Journal { locked, end: START as u64, next: applied + 1, failed: false }, vec![]));
        }
        check_start(path, &bytes, digest)?;
        let (records, end) = records(&bytes).map_err(|at| corrupt(path, "a record", "whole", format!("damaged at byte {at}")))?;
        if let Some((first, _)) = records.first().filter(|(first, _)| *first > applied + 1) {
            return Err(corrupt(path, "the first record", &format!("number {} or before", applied + 1), first.to_string()));
        }
        if end < bytes.len() {
            file.set_len(end as u64).and_then(|()| file.sync_all()).map_err(io)?;
        }
        let next = records.last().map_or(0, |(number, _)| *number).max(applied) + 1;
        let mut journal = Journal { locked, end: end as u64, next, failed: false };
        let after: Vec<Bytes> = records.into_iter().filter(|(n, _)| *n > applied).map(|(_, payload)| bytes.slice(payload)).collect();
        if after.is_empty() {
            // Died between a checkpoint and the end of its journal.
            journal.clear()?;
        }
        Ok((journal, after))
    }

    /// The number of the last record.
    pub(crate) fn last(&self) -> u64 {
        self.next - 1
    }

    /// Appends a record and waits until it is on the disk. After an error nothing was appended, and nothing will be any more.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::JournalFailed`] if there was one before.
    pub(crate) fn append(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.check()?;
        let record = [&head(self.next, payload)[..], payload].concat();
        let (end, mut file) = (self.end, &self.locked.file);
        let written = file.seek(SeekFrom::Start(end)).and_then(|_| file.write_all(&record)).and_then(|()| file.sync_data());
        if let Err(source) = written {
            // If even this fails the next to open the file sees a record that was not promised, or a torn one.
            let _ = file.set_len(end).and_then(|()| file.sync_all());
            return self.fail(source);
        }
        self.end += record.len() as u64;
        self.next += 1;
        Ok(())
    }

    /// Removes all records; the numbers go on.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub(crate) fn clear(&mut self) -> Result<(), Error> {
        self.check()?;
        let file = &self.locked.file;
        if let Err(source) = file.set_len(START as u64).and_then(|()| file.sync_all()) {
            return self.fail(source);
        }
        self.end = START as u64;
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        if self.failed { Err(Error::JournalFailed { file: self.locked.path.clone() }) } else { Ok(()) }
    }

    fn fail(&mut self, source: io::Error) -> Result<(), Error> {
        self.failed = true;
        Err(Error::Io { file: self.locked.path.clone(), source })
    }
}

fn corrupt(path: &Path, field: &'static str, want: &str, got: String) -> Error {
    Error::Corrupt { file: path.to_owned(), field, want: want.to_owned(), got }
}

fn start(digest: &str) -> Vec<u8> {
    let mut start = [&MAGIC[..], &VERSION.to_le_bytes(), digest.as_bytes()].concat();
    start.extend(Crc32c::of(&start).to_string().bytes());
    start
}

fn check_start(path: &Path, bytes: &[u8], digest: &str) -> Result<(), Error> {
    if bytes.len() < START || &bytes[..8] != MAGIC || sum_at(bytes, 24) != Some(Crc32c::of(&bytes[..24])) {
        return Err(corrupt(path, "the beginning", "that of a journal", "something else".to_owned()));
    }
    let version = number_at(bytes, 8);
    if version != Some(VERSION) {
        return Err(corrupt(path, "the version", &VERSION.to_string(), version.unwrap_or(0).to_string()));
    }
    if &bytes[16..24] == digest.as_bytes() {
        return Ok(());
    }
    Err(Error::QuantizerMismatch { want: digest.to_owned(), got: String::from_utf8_lossy(&bytes[16..24]).into_owned() })
}

fn head(number: u64, payload: &[u8]) -> Vec<u8> {
    let mut head = [number.to_le_bytes(), (payload.len() as u64).to_le_bytes()].concat();
    let sums = [Crc32c::of(&head), Crc32c::of(payload)];
    sums.iter().for_each(|sum| head.extend(sum.to_string().bytes()));
    head
}

fn number_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b))
}

fn sum_at(bytes: &[u8], at: usize) -> Option<Crc32c> {
    std::str::from_utf8(bytes.get(at..)?.first_chunk::<8>()?).ok()?.parse().ok()
}

/// Number and payload of the record at a byte, if there is a whole one.
fn record_at(bytes: &[u8], at: usize) -> Option<(u64, Range<usize>)> {
    if sum_at(bytes, at + 16)? != Crc32c::of(&bytes[at..at + 16]) {
        return None;
    }
    let (number, len) = (number_at(bytes, at)?, usize::try_from(number_at(bytes, at + 8)?).ok()?);
    let payload = at + HEAD..(at + HEAD).checked_add(len)?;
    (sum_at(bytes, at + 24)? == Crc32c::of(bytes.get(payload.clone())?)).then_some((number, payload))
}

/// Number and bytes of a record.
type Record = (u64, Range<usize>);

/// Records from the start on, and where they end. What follows is torn if no record is in it; otherwise the file was damaged at the byte that
/// is returned.
fn records(bytes: &[u8]) -> Result<(Vec<Record>, usize), usize> {
    let (mut records, mut at) = (Vec::<(u64, Range<usize>)>::new(), START);
    while let Some((number, payload)) = record_at(bytes, at) {
        if records.last().is_some_and(|(last, _)| last.checked_add(1) != Some(number)) {
            return Err(at);
        }
        at = payload.end;
        records.push((number, payload));
    }
    if (at + 1..bytes.len()).any(|later| record_at(bytes, later).is_some()) { Err(at) } else { Ok((records, at)) }
}

/// A new file's name is kept by its folder. Some file systems cannot flush folders; the file is whole either way.
fn sync_folder(path: &Path) {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = start("0123abcd");
        for (payload, number) in payloads.iter().zip(8..) {
            bytes.extend(head(number, payload));
            bytes.extend_from_slice(payload);
        }
        bytes
    }

    const PAYLOADS: [&[u8]; 4] = [b"one", b"", b"three 3", &[0; 40]];

    #[test]
    fn every_prefix_holds_its_whole_records() {
        let all = written(&PAYLOADS);
        let ends: Vec<usize> = (0..=4).map(|n| written(&PAYLOADS[..n]).len()).collect();
        for len in START..=all.len() {
            let (found, end) = records(&all[..len]).unwrap();
            let whole = ends.iter().filter(|end| **end <= len).count() - 1;
            assert_eq!((found.len(), end), (whole, ends[whole]));
            // What a crash of the machine may leave: the length of the record, and zeros.
            let mut zeros = all[..len].to_vec();
            zeros.resize(all.len() + 100, 0);
            assert_eq!(records(&zeros).unwrap().1, end.max(if len >= ends[3] + HEAD { all.len() } else { 0 }), "{len}");
        }
    }

    #[test]
    fn damage_before_the_last_record_is_not_taken_for_its_end() {
        let all = written(&PAYLOADS);
        let last = written(&PAYLOADS[..3]).len();
        for byte in START..all.len() {
            for bit in 0..8 {
                let mut damaged = all.clone();
                damaged[byte] ^= 1 << bit;
                match records(&damaged) {
                    Err(at) => assert!(at <= byte && byte < last, "{byte}"),
                    // A letter of a checksum may change its case, which says the same.
                    Ok((found, _)) => assert!(found.len() == 4 || (byte >= last && found.len() == 3), "{byte}"),
                }
            }
        }
    }

    #[test]
    fn opened_again_it_goes_on() {
        let path = std::env::temp_dir().join(format!("scant-journal-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        let of = |digest: &str, applied| Journal::open(Locked::new(path.clone())?, digest, applied);
        let open = |applied| of("0123abcd", applied);
        let (mut journal, none) = open(3).unwrap();
        assert!(none.is_empty());
        assert!(matches!(open(3), Err(Error::Locked { .. })));
        journal.append(b"four").unwrap();
        journal.append(b"five").unwrap();
        drop(journal);
        let (journal, records) = open(4).unwrap();
        assert_eq!((records.len(), &records[0][..], journal.last()), (1, &b"five"[..], 5));
        drop(journal);
        assert!(matches!(open(2), Err(Error::Corrupt { field: "the first record", .. })));
        assert!(matches!(of("ffffffff", 3), Err(Error::QuantizerMismatch { .. })));
        // All of it is in the base: it starts anew, behind the last number.
        let (mut journal, records) = open(5).unwrap();
        assert_eq!((records.len(), journal.last()), (0, 5));
        journal.append(b"six").unwrap();
        journal.clear().unwrap();
        journal.append(b"seven").unwrap();
        drop(journal);
        assert_eq!(&open(6).unwrap().1[0][..], b"seven");
        for cut in 0..START {
            fs::write(&path, &start("0123abcd")[..cut]).unwrap();
            assert!(open(0).unwrap().1.is_empty());
        }
        fs::write(&path, b"a text of somebody else").unwrap();
        assert!(matches!(open(0), Err(Error::Corrupt { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"a text of somebody else");
        fs::remove_file(&path).unwrap();
    }
}
