//! The log on disk: appends batches durably, signs after each, and never skips one.
//!
//! After an error the archive is *down*: the batch that failed is not in the log, and the next
//! append first cuts off what was left of it and begins a new segment, since a file whose sync
//! failed once cannot be trusted to take more. The caller keeps the batch and tries again, or
//! refuses work.

use crate::audit::chain::{Chain, NoRecord};
use crate::audit::folder::{self, Growing};
use crate::audit::record::VERSION;
use crate::audit::recover::{self, Disagrees, End, Signed};
use crate::audit::sign::{self, PublicKey, Signer};
use crate::base::clock::Clock;
use crate::base::random::{NoRandom, Random};
use crate::base::secret::Secret;
use crate::config::model::Audit;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Names that are tried for a torn tail.
const TORN_NAMES_MAX: u32 = 1000;

/// The open log of this process.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
    file_bytes: u64,
    clock: Clock,
    signer: Signer,
    chain: Chain,
    segment: u64,
    log: Growing,
    checkpoints: Growing,
    down: bool,
    recovered: Option<Recovered>,
    /// Held, not read: another process cannot open the folder meanwhile.
    _lock: File,
}

/// What the last crash had torn, and where it was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The file that it was moved to; none if only a checkpoint was torn.
    pub file: Option<String>,
    /// Whole records of the unfinished batch.
    pub records: u64,
    /// Bytes of the unfinished batch.
    pub bytes: u64,
    /// Bytes of an unfinished checkpoint.
    pub checkpoint_bytes: u64,
}

/// The log cannot be opened or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveFault {
    /// The log does not fit its signed checkpoints; `audit verify` says more.
    Disagrees(Disagrees),
    /// Others than its owner can read the signing key.
    ExposedKey,
    /// Another process writes this folder.
    Held,
    /// The operating system said no.
    Io {
        /// What was tried.
        step: &'static str,
        /// What it said.
        kind: io::ErrorKind,
    },
    /// There is a log but not the key that signs it.
    MissingKey,
    /// The operating system gave no random bytes for a key.
    NoRandom,
    /// A record is not one JSON object on one line, or is too long; nothing was written.
    NoRecord,
    /// The signing key's file holds no Ed25519 key, or not the one of `signing.pub`.
    WrongKey,
}

impl Archive {
    /// Opens the folder, which is made if it is not there, with a key of its own. What a crash left
    /// of an unfinished batch is moved aside, and a `recovered` record says so.
    pub fn open(config: &Audit, clock: Clock) -> Result<Self, ArchiveFault> {
        let folder = config.folder.clone();
        folder::make(&folder).map_err(at("make the folder"))?;
        let lock = folder::lock(&folder).map_err(|error| {
            let held = error.kind() == io::ErrorKind::WouldBlock;
            if held { ArchiveFault::Held } else { at("lock the folder")(error) }
        })?;
        let (signer, public) = signer(&folder)?;
        let end = recover::end(&folder).map_err(at("read the log"))?;
        let points = folder.join(folder::CHECKPOINTS);
        let bytes = folder::content(&points).map_err(at("read the checkpoints"))?;
        let signed =
            recover::signed(&bytes, &public, &end.chain).map_err(ArchiveFault::Disagrees)?;
        let recovered = move_aside(&folder, &end, &signed, &clock)?;
        let path = folder.join(folder::segment_name(end.segment));
        let log = Growing::open(path, end.good).map_err(at("open the log"))?;
        let checkpoints = Growing::open(points, signed.good).map_err(at("open the checkpoints"))?;
        folder::sync(&folder).map_err(at("make the folder durable"))?;
        let mut own = Self {
            folder,
            file_bytes: config.file_bytes,
            clock,
            signer,
            chain: end.chain,
            segment: end.segment,
            log,
            checkpoints,
            down: false,
            recovered,
            _lock: lock,
        };
        own.resume(signed.batch)?;
        Ok(own)
    }

    /// Signs the batch that a crash left without a checkpoint, and records what was torn.
    fn resume(&mut self, signed: u64) -> Result<(), ArchiveFault> {
        if signed < self.chain.batch {
            self.checkpoints.good = self.sign(self.chain)?;
        }
        let Some(recovered) = &self.recovered else { return Ok(()) };
        let record = serde_json::json!({
            "v": VERSION,
            "kind": "recovered",
            "time": self.clock.wall().rfc3339(),
            "file": recovered.file,
            "records": recovered.records,
            "bytes": recovered.bytes,
            "checkpoint_bytes": recovered.checkpoint_bytes,
        });
        self.append(&[record.to_string().into_bytes()])
    }

    /// Appends a batch of records, each one line of JSON. When this returns, it is durable and
    /// signed, or not in the log at all.
    pub fn append(&mut self, batch: &[Vec<u8>]) -> Result<(), ArchiveFault> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut chain = self.chain;
        let mut lines = Vec::with_capacity(batch.iter().map(|record| record.len() + 128).sum());
        for record in batch {
            chain.append(record, &mut lines).map_err(|NoRecord| ArchiveFault::NoRecord)?;
        }
        chain.end_batch(crate::base::numbers::to_u64(batch.len()), &mut lines);
        if self.down {
            self.repair()?;
        } else if self.log.good >= self.file_bytes && self.log.good > 0 {
            self.next_segment()?;
        }
        self.down = true;
        let good = self.log.append(&lines).map_err(at("append to the log"))?;
        self.checkpoints.good = self.sign(chain)?;
        self.log.good = good;
        self.chain = chain;
        self.down = false;
        Ok(())
    }

    /// Whether the last append failed, so that nothing can be recorded until one succeeds.
    pub const fn is_down(&self) -> bool {
        self.down
    }

    /// The number of the last durable record.
    pub const fn last_seq(&self) -> u64 {
        self.chain.seq
    }

    /// What the last crash had torn, if it had.
    pub const fn recovered(&self) -> Option<&Recovered> {
        self.recovered.as_ref()
    }

    /// Appends the checkpoint of a chain; the bytes of the file that are good then.
    fn sign(&mut self, chain: Chain) -> Result<u64, ArchiveFault> {
        let line = self.signer.checkpoint(&chain, self.clock.wall());
        self.checkpoints.append(line.as_bytes()).map_err(at("append a checkpoint"))
    }

    /// Cuts off what a failed append left, checkpoint first: none may speak of more than there is.
    fn repair(&mut self) -> Result<(), ArchiveFault> {
        self.checkpoints.cut().map_err(at("cut a failed checkpoint"))?;
        self.log.cut().map_err(at("cut a failed batch"))?;
        self.next_segment()
    }

    fn next_segment(&mut self) -> Result<(), ArchiveFault> {
        let segment = self.segment + 1;
        let path = self.folder.join(folder::segment_name(segment));
        let log = Growing::open(path, 0).map_err(at("begin a segment"))?;
        folder::sync(&self.folder).map_err(at("make a segment durable"))?;
        self.log = log;
        self.segment = segment;
        Ok(())
    }
}

/// The key pair of the folder, made at the first start.
fn signer(folder: &Path) -> Result<(Signer, PublicKey), ArchiveFault> {
    let (key, public) = (folder.join(folder::KEY), folder.join(folder::PUBLIC_KEY));
    let mut bytes = Secret::new(folder::content(&key).map_err(at("read the signing key"))?);
    if bytes.expose().is_empty() {
        let logged = folder::segments(folder).map_err(at("read the folder"))?;
        if !logged.is_empty() {
            return Err(ArchiveFault::MissingKey);
        }
        let seed = Random::default().bytes().map_err(|NoRandom| ArchiveFault::NoRandom)?;
        bytes = Secret::new(sign::new_key(&seed));
        folder::write_new(&key, bytes.expose()).map_err(at("write the signing key"))?;
    }
    let mode = key.metadata().map_err(at("read the signing key"))?.mode();
    if mode & 0o077 != 0 {
        return Err(ArchiveFault::ExposedKey);
    }
    let signer = Signer::read(bytes.expose()).ok_or(ArchiveFault::WrongKey)?;
    let known = folder::content(&public).map_err(at("read the public key"))?;
    if known.is_empty() {
        let line = signer.public().line();
        folder::write_new(&public, line.as_bytes()).map_err(at("write the public key"))?;
    } else if PublicKey::read(&known) != Some(signer.public()) {
        return Err(ArchiveFault::WrongKey);
    }
    let own = signer.public();
    Ok((signer, own))
}

/// Copies a torn tail to a file of its own, durably; only then may it be cut off.
fn move_aside(
    folder: &Path,
    end: &End,
    signed: &Signed,
    clock: &Clock,
) -> Result<Option<Recovered>, ArchiveFault> {
    if end.torn_bytes == 0 && signed.torn_bytes == 0 {
        return Ok(None);
    }
    let mut recovered = Recovered {
        file: None,
        records: end.torn_records,
        bytes: end.torn_bytes,
        checkpoint_bytes: signed.torn_bytes,
    };
    if end.torn_bytes > 0 {
        let path = folder.join(folder::segment_name(end.segment));
        let bytes = folder::content(&path).map_err(at("read the log"))?;
        let good = usize::try_from(end.good).unwrap_or(usize::MAX);
        let time = clock.wall().rfc3339().replace(':', "-");
        // Several within one millisecond happen only in tests; were all taken, `write_new` fails.
        let name = (0..TORN_NAMES_MAX)
            .map(|count| match count {
                0 => format!("torn-{time}.jsonl"),
                count => format!("torn-{time}.{count}.jsonl"),
            })
            .find(|name| !folder.join(name).exists())
            .unwrap_or_default();
        folder::write_new(&folder.join(&name), bytes.get(good..).unwrap_or_default())
            .map_err(at("write the torn tail"))?;
        recovered.file = Some(name);
    }
    folder::sync(folder).map_err(at("make the torn tail durable"))?;
    Ok(Some(recovered))
}

fn at(step: &'static str) -> impl Fn(io::Error) -> ArchiveFault {
    move |error| ArchiveFault::Io { step, kind: error.kind() }
}

impl fmt::Display for ArchiveFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disagrees(Disagrees { signed, found }) => write!(
                out,
                "the audit log ends with batch {found}, but its last signed checkpoint is of batch \
                 {signed}: run `ringwall audit verify`, and move the folder away to begin a new log"
            ),
            Self::ExposedKey => {
                write!(out, "`{}` can be read by others: set its mode to 0600", folder::KEY)
            }
            Self::Held => out.write_str("another process writes this audit folder"),
            Self::Io { step, kind } => write!(out, "the audit log failed to {step}: {kind}"),
            Self::MissingKey => {
                write!(out, "the audit folder holds a log but no `{}`", folder::KEY)
            }
            Self::NoRandom => out.write_str("the operating system gave no random bytes for a key"),
            Self::NoRecord => NoRecord.fmt(out),
            Self::WrongKey => write!(
                out,
                "`{}` is not the Ed25519 key that belongs to `{}`",
                folder::KEY,
                folder::PUBLIC_KEY
            ),
        }
    }
}

impl std::error::Error for ArchiveFault {}
