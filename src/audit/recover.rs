//! Where a log ends after a crash: its last complete batch, and what of an unfinished one follows.
//! Finding is apart from cutting, so that a log which cannot be explained is left as it is.

use crate::audit::chain::{self, Chain};
use crate::audit::folder::{self, FileEnd};
use crate::audit::sign::PublicKey;
use std::io;
use std::path::Path;

/// Where a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The chain after the last complete batch.
    pub chain: Chain,
    /// The segment that is written to next.
    pub segment: u64,
    /// Its bytes up to the end of its last complete batch.
    pub good: u64,
    /// Whole lines after that.
    pub torn_records: u64,
    /// Bytes after that.
    pub torn_bytes: u64,
}

/// Where the checkpoint file ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signed {
    /// The last checkpoint's batch and its whole lines' bytes; none where there is none.
    pub batch: u64,
    /// Bytes of whole lines.
    pub good: u64,
    /// Bytes of a line that was not finished.
    pub torn_bytes: u64,
}

/// The log is not what its last checkpoint says: this is no crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disagrees {
    /// The batch of the last checkpoint; 0 if that could not be read or none is there.
    pub signed: u64,
    /// The last complete batch of the log.
    pub found: u64,
}

/// Finds the end of the log. A batch never spans two segments, so only the last one that holds
/// anything can be torn. A power cut may tear a batch in its middle and leave its end, so the last
/// batch counts only if its hashes fit.
pub fn end(folder: &Path) -> io::Result<End> {
    let numbers = folder::segments(folder)?;
    let newest = numbers.last().copied().unwrap_or(1);
    let mut backwards = numbers.into_iter().rev();
    let mut last = None;
    for number in backwards.by_ref() {
        let bytes = folder::content(&folder.join(folder::segment_name(number)))?;
        if !bytes.is_empty() {
            last = Some((number, bytes));
            break;
        }
    }
    let (segment, bytes) = last.unwrap_or((newest, Vec::new()));
    let mut ends = ends(&bytes);
    let newest_end = ends.next();
    let before = match ends.next() {
        Some(end) => end,
        None => (end_before(folder, backwards)?, 0),
    };
    let (chain, good) = newest_end
        .filter(|(chain, good)| {
            let batch = bytes.get(before.1..*good).unwrap_or_default();
            rechain(before.0, batch).as_ref() == Some(chain)
        })
        .unwrap_or(before);
    let tail = bytes.get(good..).unwrap_or_default();
    let torn_bytes = length(tail.len());
    let torn_records = length(memchr::memchr_iter(b'\n', tail).count());
    // Behind a whole segment only empty ones can stand: the last of those is written to.
    let (segment, good) =
        if torn_bytes == 0 && segment != newest { (newest, 0) } else { (segment, length(good)) };
    Ok(End { chain, segment, good, torn_records, torn_bytes })
}

/// The last end of a batch in earlier segments.
fn end_before(folder: &Path, earlier: impl Iterator<Item = u64>) -> io::Result<Chain> {
    for number in earlier {
        let bytes = folder::content(&folder.join(folder::segment_name(number)))?;
        if let Some((chain, _)) = ends(&bytes).next() {
            return Ok(chain);
        }
    }
    Ok(Chain::default())
}

/// The ends of batches in a segment from the last backwards: the chain there, and the byte after.
fn ends(bytes: &[u8]) -> impl Iterator<Item = (Chain, usize)> {
    memchr::memrchr_iter(b'\n', bytes).filter_map(|newline| {
        let before = bytes.get(..newline)?;
        let start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let (_, chain) = chain::batch_end(before.get(start..)?)?;
        Some((chain, newline + 1))
    })
}

/// Goes through the lines of one batch: the chain at its end, if all of it fits.
fn rechain(mut chain: Chain, batch: &[u8]) -> Option<Chain> {
    let mut lines = batch.strip_suffix(b"\n")?.split(|byte| *byte == b'\n');
    let last = lines.next_back()?;
    let mut records = 0;
    for line in lines {
        let stored = chain::stored(line)?;
        let hash = chain::link(&chain.hash, chain.seq + 1, stored.rest);
        if (stored.seq, stored.hash) != (chain.seq + 1, hash) {
            return None;
        }
        chain = Chain { seq: stored.seq, hash, ..chain };
        records += 1;
    }
    chain.batch += 1;
    (chain.batch_line(records).as_bytes() == last).then_some(chain)
}

/// Finds the end of the checkpoint file, given its last bytes, and holds the log against it. A
/// crash leaves the log at most one batch ahead of its checkpoints and never behind.
pub fn signed(points: &FileEnd, key: &PublicKey, chain: &Chain) -> Result<Signed, Disagrees> {
    let bytes = &*points.bytes;
    let good = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
    let whole = bytes.get(..good.saturating_sub(1)).unwrap_or_default();
    let start = memchr::memrchr(b'\n', whole).map_or(0, |at| at + 1);
    let line = whole.get(start..).unwrap_or_default();
    let disagrees = |signed| Disagrees { signed, found: chain.batch };
    let batch = match line {
        [] if bytes.is_empty() || good == 0 => 0,
        line => {
            let point = key.open(line).ok_or_else(|| disagrees(0))?;
            if point.batch == chain.batch && !point.agrees(chain) {
                return Err(disagrees(point.batch));
            }
            point.batch
        }
    };
    if batch > chain.batch || batch + 1 < chain.batch {
        return Err(disagrees(batch));
    }
    let torn_bytes = length(bytes.len() - good);
    Ok(Signed { batch, good: points.start + length(good), torn_bytes })
}

fn length(bytes: usize) -> u64 {
    crate::base::numbers::to_u64(bytes)
}
