//! How the lines of the log depend on each other: each record's hash takes in the one before.
//!
//! A stored record is the record's JSON object with two members put in front:
//! `{"seq":7,"chain":"<64 hex>",` and then what followed the record's `{`. Its chain value is
//! SHA-256 of 0x00, the previous chain value (32 bytes), the sequence number (8 bytes, big endian)
//! and the record's bytes as they were before. The first previous value is [`GENESIS`].
//! A batch ends in `{"batch":n,"records":k,"seq":last,"chain":"<64 hex>"}` with the last record's
//! chain value; every character of it follows from what stands before.

use data_encoding::HEXLOWER;
use ring::digest::{Context, SHA256};

/// A chain value.
pub type Hash = [u8; 32];

/// The value before the first record.
pub const GENESIS: Hash = *b"ringwall audit log, version one.";
/// Bytes of a record, at most; a longer one is refused.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

const SEQ: &[u8] = b"{\"seq\":";
const CHAIN: &[u8] = b",\"chain\":\"";
const BATCH: &[u8] = b"{\"batch\":";

/// Where the chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The number of the last record; 0 before the first.
    pub seq: u64,
    /// The chain value of the last record.
    pub hash: Hash,
    /// The number of the last finished batch.
    pub batch: u64,
}

/// A text is no record: not one line holding one JSON object, or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRecord;

/// The parts of a stored record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Its number.
    pub seq: u64,
    /// Its chain value.
    pub hash: Hash,
    /// What follows: the record's bytes without its `{`.
    pub rest: &'a [u8],
}

impl Default for Chain {
    fn default() -> Self {
        Self { seq: 0, hash: GENESIS, batch: 0 }
    }
}

impl Chain {
    /// Appends a record's stored line, newline included, and moves on.
    pub fn append(&mut self, record: &[u8], out: &mut Vec<u8>) -> Result<(), NoRecord> {
        let rest = record.strip_prefix(b"{").ok_or(NoRecord)?;
        let proper = record.len() <= RECORD_BYTES_MAX
            && rest.starts_with(b"\"")
            && rest.ends_with(b"}")
            && rest.iter().all(|byte| *byte >= b' ');
        if !proper {
            return Err(NoRecord);
        }
        let seq = self.seq + 1;
        let hash = link(&self.hash, seq, rest);
        out.extend_from_slice(SEQ);
        out.extend_from_slice(seq.to_string().as_bytes());
        out.extend_from_slice(CHAIN);
        out.extend_from_slice(HEXLOWER.encode(&hash).as_bytes());
        out.extend_from_slice(b"\",");
        out.extend_from_slice(rest);
        out.push(b'\n');
        self.seq = seq;
        self.hash = hash;
        Ok(())
    }

    /// Appends the line that ends a batch of so many records, newline included, and moves on.
    pub fn end_batch(&mut self, records: u64, out: &mut Vec<u8>) {
        self.batch += 1;
        out.extend_from_slice(self.batch_line(records).as_bytes());
        out.push(b'\n');
    }

    /// The line that ends the current batch, without the newline.
    pub fn batch_line(&self, records: u64) -> String {
        let chain = HEXLOWER.encode(&self.hash);
        format!(
            "{{\"batch\":{},\"records\":{records},\"seq\":{},\"chain\":\"{chain}\"}}",
            self.batch, self.seq
        )
    }
}

/// The chain value of a record, given as its bytes without the leading `{`.
pub fn link(previous: &Hash, seq: u64, rest: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(previous);
    context.update(&seq.to_be_bytes());
    context.update(b"{");
    context.update(rest);
    let mut hash = Hash::default();
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Whether a line looks like the end of a batch.
pub fn ends_batch(line: &[u8]) -> bool {
    line.starts_with(BATCH)
}

/// Reads a stored record's line, without the newline. Only the one way of writing it is read.
pub fn stored(line: &[u8]) -> Option<Stored<'_>> {
    let (seq, line) = number(line.strip_prefix(SEQ)?)?;
    let line = line.strip_prefix(CHAIN)?;
    let (hash, line) = line.split_at_checked(64)?;
    let rest = line.strip_prefix(b"\",")?;
    Some(Stored { seq, hash: unhex(hash)?, rest })
}

/// Reads a batch's end, without the newline: its number, count of records, and the chain after it.
pub fn batch_end(line: &[u8]) -> Option<(u64, Chain)> {
    let (batch, rest) = number(line.strip_prefix(BATCH)?)?;
    let (records, rest) = number(rest.strip_prefix(b",\"records\":")?)?;
    let (seq, rest) = number(rest.strip_prefix(b",\"seq\":")?)?;
    let hash = rest.strip_prefix(CHAIN)?.strip_suffix(b"\"}")?;
    let chain = Chain { seq, hash: unhex(hash)?, batch };
    (chain.batch_line(records).as_bytes() == line).then_some((records, chain))
}

/// A number and what follows it.
type Numbered<'a> = (u64, &'a [u8]);

/// The number at the beginning, written without leading zeros, and what follows.
fn number(text: &[u8]) -> Option<Numbered<'_>> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(digits)?;
    let proper = !digits.starts_with(b"0") || digits == b"0";
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    proper.then_some((number, rest))
}

fn unhex(text: &[u8]) -> Option<Hash> {
    HEXLOWER.decode(text).ok()?.try_into().ok()
}

impl std::fmt::Display for NoRecord {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("an audit record must be one JSON object on one line, of bounded length")
    }
}

impl std::error::Error for NoRecord {}

#[cfg(test)]
mod tests {
    use super::{Chain, RECORD_BYTES_MAX, batch_end, link, stored};

    #[test]
    fn lines_read_back_as_they_were_written() {
        let mut chain = Chain::default();
        let mut lines = Vec::new();
        chain.append(br#"{"v":1,"id":"a"}"#, &mut lines).unwrap();
        chain.append(br#"{"v":1,"id":"b"}"#, &mut lines).unwrap();
        chain.end_batch(2, &mut lines);
        let text = String::from_utf8(lines).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let one = stored(lines[0].as_bytes()).unwrap();
        assert_eq!((one.seq, one.rest), (1, &br#""v":1,"id":"a"}"#[..]));
        let two = stored(lines[1].as_bytes()).unwrap();
        assert_eq!(two.hash, link(&one.hash, 2, two.rest));
        assert_eq!(batch_end(lines[2].as_bytes()), Some((2, chain)));
        assert!(lines.iter().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
        let padded = lines[2].replace("\"records\":2", "\"records\":02");
        assert_eq!(batch_end(padded.as_bytes()), None);
    }

    #[test]
    fn the_hash_of_the_first_record_is_what_the_format_says() {
        let mut chain = Chain::default();
        chain.append(br#"{"v":1}"#, &mut Vec::new()).unwrap();
        let mut bytes = vec![0];
        bytes.extend_from_slice(b"ringwall audit log, version one.");
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
        bytes.extend_from_slice(br#"{"v":1}"#);
        let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
        assert_eq!(chain.hash, digest.as_ref());
    }

    #[test]
    fn what_is_no_record_is_refused_and_moves_nothing() {
        let long = format!("{{\"v\":\"{}\"}}", "x".repeat(RECORD_BYTES_MAX));
        for bad in ["", "{}", "[1]", "{\"v\":1", "{\"v\":\n1}", "{\"v\":1}\n", &long] {
            let (mut chain, mut out) = (Chain::default(), Vec::new());
            chain.append(bad.as_bytes(), &mut out).unwrap_err();
            assert_eq!((chain, out.len()), (Chain::default(), 0));
        }
    }
}
