//! Checks a whole log: every record's hash, every batch's end, every signed checkpoint.
//!
//! What follows the last complete batch and was never signed is a torn tail, which a crash leaves
//! and nobody was told it was written; anything else that does not fit is tampering. A tail cut off
//! together with its checkpoints is seen only against a copy of a checkpoint kept elsewhere.

use crate::audit::chain::{self, Chain};
use crate::audit::folder;
use crate::audit::sign::{self, Checkpoint, PublicKey};
use crate::base::numbers::to_u64;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// A log in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Records in complete batches.
    pub records: u64,
    /// Complete batches.
    pub batches: u64,
    /// Segments.
    pub files: u64,
    /// The number of the last record in a complete batch; 0 if there is none.
    pub last_seq: u64,
    /// How it ends.
    pub tail: Tail,
}

/// How a log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With a complete batch.
    Complete,
    /// With a part of a batch that was being written when the process died.
    Torn {
        /// In which file.
        file: String,
        /// Where in it the last complete batch ends.
        byte: u64,
        /// Whole lines after that.
        records_after: u64,
    },
}

/// A log that is not what was written, and the first place that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyFault {
    /// The file's name.
    pub file: String,
    /// The line in it, from 1; 0 for the file as a whole.
    pub line: u64,
    /// The number of the record that was expected there.
    pub seq: u64,
    /// What is wrong.
    pub kind: FaultKind,
}

/// What can be wrong with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A checkpoint is not what the key signed.
    BadSignature,
    /// Records or lines are missing in the middle.
    Dropped,
    /// A byte was changed.
    Flipped,
    /// The log is consistent in itself but not what was signed: it was written anew.
    Forked,
    /// A line that was never written here, or once only.
    Inserted,
    /// The public key is missing or no key.
    NoKey,
    /// Lines changed places.
    Reordered,
    /// The log ends before its last checkpoint, or the checkpoints before the log.
    Truncated,
    /// A file cannot be read.
    Unreadable(io::ErrorKind),
}

/// Checks the log of a folder against the folder's own public key.
pub fn verify(folder: &Path) -> Result<Verified, VerifyFault> {
    let bytes = read(folder, folder::PUBLIC_KEY)?;
    let key =
        PublicKey::read(&bytes).ok_or_else(|| fault(folder::PUBLIC_KEY, 0, 0, FaultKind::NoKey))?;
    verify_by(folder, &key)
}

/// Checks the log of a folder against a public key that was kept elsewhere.
pub fn verify_by(folder: &Path, key: &PublicKey) -> Result<Verified, VerifyFault> {
    let numbers = folder::segments(folder)
        .map_err(|error| fault("", 0, 0, FaultKind::Unreadable(error.kind())))?;
    let source = folder::reader(&folder.join(folder::CHECKPOINTS))
        .map_err(|error| fault(folder::CHECKPOINTS, 0, 0, FaultKind::Unreadable(error.kind())))?;
    let mut walk = Walk::new(Points { source, key, line: 0, next: 1 });
    let mut stop = None;
    for number in &numbers {
        let name = folder::segment_name(*number);
        let segment = read(folder, &name)?;
        walk.file = name;
        if let Some(torn) = walk.segment(&segment)? {
            stop = Some(torn);
        }
    }
    walk.finish(to_u64(numbers.len()), stop)
}

/// The way through a log.
struct Walk<'a> {
    points: Points<'a>,
    file: String,
    line: u64,
    chain: Chain,
    /// Records since the last batch's end.
    open: u64,
    /// The chain at the last batch's end.
    complete: Chain,
    /// What did not fit after the last complete batch; tampering if anything comes after it.
    broken: Option<VerifyFault>,
}

/// What is wrong with a line.
enum Wrong {
    /// It does not follow; if no other batch comes after it and it was never signed, it is torn.
    Line(FaultKind),
    /// No tail explains it.
    Surely(VerifyFault),
}

impl<'a> Walk<'a> {
    fn new(points: Points<'a>) -> Self {
        let chain = Chain::default();
        let (file, line, open) = (String::new(), 0, 0);
        Self { points, file, line, chain, open, complete: chain, broken: None }
    }

    /// Goes through a segment. What stands unfinished at its end is a tail, if nothing follows.
    fn segment(&mut self, bytes: &[u8]) -> Result<Option<Tail>, VerifyFault> {
        self.line = 0;
        if bytes.is_empty() {
            return Ok(None);
        }
        // A segment before left a batch unfinished, and yet the log goes on.
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        let mut at = 0;
        let mut good = 0;
        for newline in memchr::memchr_iter(b'\n', bytes) {
            self.line += 1;
            let line = bytes.get(at..newline).unwrap_or_default();
            let after = bytes.get(newline + 1..).unwrap_or_default();
            at = newline + 1;
            match self.step(line, after) {
                Ok(true) => good = at,
                Ok(false) => {}
                Err(Wrong::Surely(fault)) => return Err(fault),
                Err(Wrong::Line(kind)) => {
                    let fault = fault(&self.file, self.line, self.chain.seq + 1, kind);
                    self.suspect(fault, line, after)?;
                    break;
                }
            }
        }
        let tail = bytes.get(good..).unwrap_or_default();
        if tail.is_empty() {
            return Ok(None);
        }
        if self.broken.is_none() {
            let cut = fault(&self.file, self.line + 1, self.chain.seq + 1, FaultKind::Truncated);
            self.broken = Some(cut);
        }
        let records_after = to_u64(memchr::memchr_iter(b'\n', tail).count());
        Ok(Some(Tail::Torn { file: self.file.clone(), byte: to_u64(good), records_after }))
    }

    /// Keeps a fault that a power cut may explain: it can tear one batch, even in its middle.
    /// Whether that was signed is asked at the end.
    fn suspect(
        &mut self,
        fault: VerifyFault,
        line: &[u8],
        after: &[u8],
    ) -> Result<(), VerifyFault> {
        let ends = lines(after).chain([line]).filter(|line| chain::ends_batch(line));
        if ends.count() > 1 {
            return Err(fault);
        }
        self.broken = Some(fault);
        Ok(())
    }

    /// Takes one line; true if it ends a batch.
    fn step(&mut self, line: &[u8], after: &[u8]) -> Result<bool, Wrong> {
        if chain::ends_batch(line) {
            self.end_batch(line)?;
            return Ok(true);
        }
        let stored = chain::stored(line).ok_or(Wrong::Line(FaultKind::Flipped))?;
        let seq = self.chain.seq + 1;
        let hash = chain::link(&self.chain.hash, seq, stored.rest);
        if hash == stored.hash && seq == stored.seq {
            self.chain.seq = seq;
            self.chain.hash = hash;
            self.open += 1;
            return Ok(false);
        }
        let kind = match stored.seq {
            _ if hash == stored.hash => FaultKind::Flipped,
            found if found == seq => FaultKind::Flipped,
            found if found < seq => FaultKind::Inserted,
            _ if numbers(after).any(|later| later == seq) => FaultKind::Reordered,
            _ => FaultKind::Dropped,
        };
        Err(Wrong::Line(kind))
    }

    fn end_batch(&mut self, line: &[u8]) -> Result<(), Wrong> {
        let (records, end) = chain::batch_end(line).ok_or(Wrong::Line(FaultKind::Flipped))?;
        let expected = Chain { batch: self.chain.batch + 1, ..self.chain };
        if end != expected || records != self.open {
            let kind = match (end.seq, end.batch) {
                (seq, _) if seq > self.chain.seq => FaultKind::Dropped,
                (_, batch) if batch > expected.batch => FaultKind::Dropped,
                (_, batch) if batch < expected.batch => FaultKind::Inserted,
                _ => FaultKind::Flipped,
            };
            return Err(Wrong::Line(kind));
        }
        let place = fault(&self.file, self.line, end.seq, FaultKind::Forked);
        self.points.hold(&end, place).map_err(Wrong::Surely)?;
        self.chain = end;
        self.complete = end;
        self.open = 0;
        Ok(())
    }

    fn finish(mut self, files: u64, tail: Option<Tail>) -> Result<Verified, VerifyFault> {
        // A batch that was signed had been written whole: what is missing of it was taken away.
        if self.points.has_more()? {
            let cut = fault(&self.file, self.line, self.chain.seq + 1, FaultKind::Truncated);
            return Err(self.broken.unwrap_or(cut));
        }
        Ok(Verified {
            records: self.complete.seq,
            batches: self.complete.batch,
            files,
            last_seq: self.complete.seq,
            tail: tail.unwrap_or(Tail::Complete),
        })
    }
}

/// The way through the checkpoints, beside that through the log.
struct Points<'a> {
    source: Option<BufReader<File>>,
    key: &'a PublicKey,
    line: u64,
    /// The batch of which the next must be.
    next: u64,
}

impl Points<'_> {
    /// The next checkpoint. A line without an end is one that a crash tore.
    fn next(&mut self) -> Result<Option<Checkpoint>, VerifyFault> {
        let Some(source) = &mut self.source else { return Ok(None) };
        let mut line = Vec::new();
        let read = source.take(sign::LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let wrong = |kind, seq| fault(folder::CHECKPOINTS, self.line + 1, seq, kind);
        read.map_err(|error| wrong(FaultKind::Unreadable(error.kind()), 0))?;
        let Some(line) = line.strip_suffix(b"\n") else {
            return if is_torn(&line) { Ok(None) } else { Err(wrong(FaultKind::BadSignature, 0)) };
        };
        let point = self.key.open(line).ok_or_else(|| wrong(FaultKind::BadSignature, 0))?;
        if point.batch < self.next {
            return Err(wrong(FaultKind::Inserted, point.seq));
        }
        if point.batch > self.next {
            return Err(wrong(FaultKind::Dropped, point.seq));
        }
        self.line += 1;
        self.next += 1;
        Ok(Some(point))
    }

    /// Holds the end of a batch against its checkpoint. Only the last batch may be without one.
    fn hold(&mut self, end: &Chain, place: VerifyFault) -> Result<(), VerifyFault> {
        match self.next()? {
            Some(point) if point.agrees(end) => Ok(()),
            Some(_) => Err(place),
            None if end.batch == self.next => Ok(()),
            None => Err(fault(folder::CHECKPOINTS, self.line + 1, end.seq, FaultKind::Truncated)),
        }
    }

    fn has_more(&mut self) -> Result<bool, VerifyFault> {
        Ok(self.next()?.is_some())
    }
}

/// Whether an unfinished line can be what a crash tore: a line's beginning, nothing behind its end.
fn is_torn(line: &[u8]) -> bool {
    let end = memchr::memmem::find(line, b"\"}").map(|at| at + 2);
    to_u64(line.len()) < sign::LINE_BYTES_MAX && end.is_none_or(|end| end == line.len())
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n')
}

/// The sequence numbers of the records in a text.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    lines(bytes).filter_map(chain::stored).map(|stored| stored.seq)
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, VerifyFault> {
    folder::content(&folder.join(name))
        .map_err(|error| fault(name, 0, 0, FaultKind::Unreadable(error.kind())))
}

fn fault(file: &str, line: u64, seq: u64, kind: FaultKind) -> VerifyFault {
    VerifyFault { file: file.to_owned(), line, seq, kind }
}

impl fmt::Display for VerifyFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, seq, kind } = self;
        write!(out, "{file}:{line}: at record {seq}: ")?;
        match kind {
            FaultKind::BadSignature => out.write_str("a checkpoint that the key did not sign"),
            FaultKind::Dropped => out.write_str("something before this was removed"),
            FaultKind::Flipped => out.write_str("this was changed"),
            FaultKind::Forked => out.write_str("this is not what was signed"),
            FaultKind::Inserted => out.write_str("this was put in"),
            FaultKind::NoKey => out.write_str("there is no public key to verify with"),
            FaultKind::Reordered => out.write_str("lines changed places"),
            FaultKind::Truncated => out.write_str("the end was cut off"),
            FaultKind::Unreadable(kind) => write!(out, "cannot be read: {kind}"),
        }
    }
}

impl std::error::Error for VerifyFault {}

#[cfg(test)]
mod tests {
    use super::{FaultKind, Tail, verify, verify_by};
    use crate::audit::file::Archive;
    use crate::audit::folder;
    use crate::audit::sign::{Signer, new_key};
    use crate::base::clock::Clock;
    use crate::config::model::Audit;
    use std::fs;
    use std::path::Path;
    use std::time::Duration;
    use tempfile::TempDir;

    /// Four batches of two records in two segments.
    fn sample(flavour: &str) -> TempDir {
        // In memory, if the machine has it: syncing costs nothing there.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let window = Duration::from_millis(20);
        let config = Audit { folder: folder.path().to_owned(), window, file_bytes: 500 };
        let mut archive = Archive::open(&config, Clock::simulated()).unwrap();
        for batch in 0..4 {
            let record = |name| format!("{{\"v\":1,\"{name}\":\"{flavour}{batch}\"}}").into_bytes();
            archive.append(&[record("a"), record("b")]).unwrap();
        }
        assert_eq!(folder::segments(folder.path()).unwrap(), [1, 2]);
        folder
    }

    fn lines(path: &Path) -> Vec<String> {
        fs::read_to_string(path).unwrap().lines().map(ToOwned::to_owned).collect()
    }

    /// Changes the lines of a file of a fresh log; what `verify` says then.
    fn after(name: &str, change: impl FnOnce(&mut Vec<String>)) -> (FaultKind, String, u64, u64) {
        let folder = sample("x");
        let path = folder.path().join(name);
        let mut lines = lines(&path);
        change(&mut lines);
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        fs::write(&path, text).unwrap();
        let fault = verify(folder.path()).unwrap_err();
        (fault.kind, fault.file, fault.line, fault.seq)
    }

    #[test]
    fn every_flipped_byte_of_the_log_and_of_its_checkpoints_is_found() {
        let folder = sample("x");
        assert_eq!(verify(folder.path()).unwrap().records, 8);
        for name in [&folder::segment_name(1), &folder::segment_name(2), folder::CHECKPOINTS] {
            let path = folder.path().join(name);
            let bytes = folder::content(&path).unwrap();
            for (at, bit) in (0..bytes.len()).flat_map(|at| [(at, 0x01), (at, 0x20)]) {
                let mut changed = bytes.clone();
                changed[at] ^= bit;
                fs::write(&path, changed).unwrap();
                let fault = verify(folder.path());
                assert!(fault.is_err(), "byte {at} of {name}, bit {bit}: {fault:?}");
            }
            fs::write(&path, bytes).unwrap();
        }
        assert_eq!(verify(folder.path()).unwrap().tail, Tail::Complete);
    }

    #[test]
    fn each_kind_of_change_is_named_with_its_place() {
        let (one, two) = (folder::segment_name(1), folder::segment_name(2));
        let points = folder::CHECKPOINTS;
        let line = |kind, file: &str, line, seq| (kind, file.to_owned(), line, seq);
        let changed = |text: &mut String| *text = text.replace("x0", "y0");
        assert_eq!(after(&one, |it| changed(&mut it[1])), line(FaultKind::Flipped, &one, 2, 2));
        let dropped = after(&one, |it| drop(it.remove(1)));
        assert_eq!(dropped, line(FaultKind::Dropped, &one, 2, 2));
        let first = after(&one, |it| drop(it.remove(0)));
        assert_eq!(first, line(FaultKind::Dropped, &one, 1, 1));
        let swapped = after(&one, |it| it.swap(0, 1));
        assert_eq!(swapped, line(FaultKind::Reordered, &one, 1, 1));
        let doubled = after(&one, |it| it.insert(1, it[0].clone()));
        assert_eq!(doubled, line(FaultKind::Inserted, &one, 2, 2));
        let unended = after(&one, |it| drop(it.remove(2)));
        assert_eq!(unended.0, FaultKind::Dropped, "{unended:?}");
        let batch = after(&two, |it| drop(it.drain(0..3)));
        assert_eq!(batch, line(FaultKind::Dropped, &two, 1, 5));
        let cut = after(&two, |it| it.truncate(it.len() - 3));
        assert_eq!(cut.0, FaultKind::Truncated, "{cut:?}");
        let half = after(&two, |it| it.truncate(it.len() - 1));
        assert_eq!(half.0, FaultKind::Truncated, "{half:?}");
        let unsigned = after(points, |it| it.truncate(2));
        assert_eq!(unsigned, line(FaultKind::Truncated, points, 3, 8));
        let missing = after(points, |it| drop(it.remove(1)));
        assert_eq!(missing.0, FaultKind::Dropped, "{missing:?}");
        let forged = after(points, |it| it[3] = it[3].replace("\"seq\":8", "\"seq\":9"));
        assert_eq!(forged, line(FaultKind::BadSignature, points, 4, 0));
    }

    #[test]
    fn a_lost_segment_a_splice_and_a_log_written_anew_are_found() {
        let folder = sample("x");
        let second = folder.path().join(folder::segment_name(2));
        let kept = folder::content(&second).unwrap();
        fs::remove_file(&second).unwrap();
        assert_eq!(verify(folder.path()).unwrap_err().kind, FaultKind::Truncated);
        fs::write(&second, b"").unwrap();
        assert_eq!(verify(folder.path()).unwrap_err().kind, FaultKind::Truncated);
        let other = sample("z");
        fs::copy(other.path().join(folder::segment_name(2)), &second).unwrap();
        assert_eq!(verify(folder.path()).unwrap_err().kind, FaultKind::Flipped);
        fs::write(&second, kept).unwrap();
        verify(folder.path()).unwrap();
        // A whole consistent log of other content under the same signatures.
        for number in [1, 2] {
            let name = folder::segment_name(number);
            fs::copy(other.path().join(&name), folder.path().join(&name)).unwrap();
        }
        assert_eq!(verify(folder.path()).unwrap_err().kind, FaultKind::Forked);
    }

    #[test]
    fn only_the_right_key_verifies() {
        let folder = sample("x");
        let other = Signer::read(&new_key(&[9; 32])).unwrap().public();
        assert_eq!(verify_by(folder.path(), &other).unwrap_err().kind, FaultKind::BadSignature);
        fs::remove_file(folder.path().join(folder::PUBLIC_KEY)).unwrap();
        assert_eq!(verify(folder.path()).unwrap_err().kind, FaultKind::NoKey);
    }

    #[test]
    fn an_empty_log_is_in_order_and_a_missing_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let window = Duration::from_millis(20);
        let config = Audit { folder: folder.path().to_owned(), window, file_bytes: 1 };
        drop(Archive::open(&config, Clock::simulated()).unwrap());
        assert_eq!(verify(folder.path()).unwrap().batches, 0);
        let nowhere = folder.path().join("nowhere");
        assert_eq!(verify(&nowhere).unwrap_err().kind, FaultKind::NoKey);
    }
}
