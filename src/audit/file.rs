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
        let last_points =
            folder::end(&points, sign::LINE_BYTES_MAX * 4).map_err(at("read the checkpoints"))?;
        let signed =
            recover::signed(&last_points, &public, &end.chain).map_err(ArchiveFault::Disagrees)?;
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
        // One that holds nothing is made anew in its place, so that a full disk does not leave a
        // file for each retry.
        let segment = if self.log.good == 0 { self.segment } else { self.segment + 1 };
        let path = self.folder.join(folder::segment_name(segment));
        if segment == self.segment {
            std::fs::remove_file(&path).map_err(at("remove an empty segment"))?;
        }
        let log = Growing::open(path, 0).map_err(at("begin a segment"))?;
        folder::sync(&self.folder).map_err(at("make a segment durable"))?;
        self.log.replace(log);
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

#[cfg(test)]
mod tests {
    use super::{Archive, ArchiveFault};
    use crate::audit::folder::{self, Step};
    use crate::audit::verify::{Tail, Verified, verify};
    use crate::base::clock::Clock;
    use crate::config::model::Audit;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::Duration;

    /// A folder where syncing costs nothing, if the machine has one: for tests of many cases.
    fn in_memory() -> tempfile::TempDir {
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
    }

    fn open_with(folder: &Path, file_bytes: u64) -> Result<Archive, ArchiveFault> {
        let window = Duration::from_millis(20);
        let config = Audit { folder: folder.to_owned(), window, file_bytes };
        Archive::open(&config, Clock::simulated())
    }

    fn open(folder: &Path) -> Archive {
        open_with(folder, 1 << 20).unwrap()
    }

    fn batch(name: &str, records: usize) -> Vec<Vec<u8>> {
        (0..records).map(|count| format!("{{\"v\":1,\"id\":\"{name}{count}\"}}").into()).collect()
    }

    fn log(folder: &Path) -> String {
        let numbers = folder::segments(folder).unwrap();
        let read = |number: &u64| fs::read_to_string(folder.join(folder::segment_name(*number)));
        numbers.iter().map(|number| read(number).unwrap()).collect()
    }

    fn complete(folder: &Path) -> Verified {
        let verified = verify(folder).unwrap();
        assert_eq!(verified.tail, Tail::Complete);
        verified
    }

    #[test]
    fn a_log_goes_on_over_restarts_and_segments() {
        let folder = in_memory();
        for round in 0..4 {
            let mut archive = open_with(folder.path(), 300).unwrap();
            assert_eq!(archive.recovered(), None);
            archive.append(&batch("a", round + 1)).unwrap();
            archive.append(&[]).unwrap();
            archive.append(&batch("b", 2)).unwrap();
        }
        let verified = complete(folder.path());
        assert_eq!((verified.records, verified.batches), (18, 8));
        assert!(verified.files > 3, "{verified:?}");
    }

    #[test]
    fn a_log_of_many_batches_opens_by_its_last_checkpoints() {
        let folder = in_memory();
        let mut archive = open(folder.path());
        for _ in 0..40 {
            archive.append(&batch("a", 1)).unwrap();
        }
        drop(archive);
        let mut archive = open(folder.path());
        assert_eq!((archive.last_seq(), archive.recovered()), (40, None));
        archive.append(&batch("b", 1)).unwrap();
        assert_eq!(complete(folder.path()).batches, 41);
    }

    #[test]
    fn two_processes_never_hold_one_folder() {
        let folder = in_memory();
        let first = open(folder.path());
        assert_eq!(open_with(folder.path(), 1).unwrap_err(), ArchiveFault::Held);
        drop(first);
        open(folder.path());
    }

    #[test]
    fn the_key_is_its_owners_and_stays_the_logs() {
        let folder = in_memory();
        let key = folder.path().join(folder::KEY);
        open(folder.path()).append(&batch("a", 1)).unwrap();
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(open_with(folder.path(), 1).unwrap_err(), ArchiveFault::ExposedKey);
        fs::remove_file(&key).unwrap();
        assert_eq!(open_with(folder.path(), 1).unwrap_err(), ArchiveFault::MissingKey);
        folder::write_new(&key, &crate::audit::sign::new_key(&[1; 32])).unwrap();
        assert_eq!(open_with(folder.path(), 1).unwrap_err(), ArchiveFault::WrongKey);
    }

    #[test]
    fn a_bad_record_writes_nothing_and_is_no_downtime() {
        let folder = in_memory();
        let mut archive = open(folder.path());
        let bad = vec![b"{\"v\":1}".to_vec(), b"no record".to_vec()];
        assert_eq!(archive.append(&bad), Err(ArchiveFault::NoRecord));
        assert!(!archive.is_down());
        archive.append(&batch("a", 1)).unwrap();
        assert_eq!(complete(folder.path()).records, 1);
    }

    fn fail(archive: &mut Archive, in_log: bool, step: Option<Step>) {
        let file = if in_log { &mut archive.log } else { &mut archive.checkpoints };
        file.fail = step;
    }

    /// Every step of an append fails once; then the same batch is tried again.
    #[test]
    fn after_an_error_a_retry_keeps_the_chain_and_doubles_nothing() {
        let steps = (0..220).step_by(11).map(Step::Write).chain([Step::Sync]);
        for (step, in_log) in steps.flat_map(|step| [(step, true), (step, false)]) {
            let folder = in_memory();
            let mut archive = open(folder.path());
            archive.append(&batch("a", 2)).unwrap();
            fail(&mut archive, in_log, Some(step));
            assert!(matches!(archive.append(&batch("b", 1)), Err(ArchiveFault::Io { .. })));
            assert!(archive.is_down());
            fail(&mut archive, in_log, Some(Step::Cut));
            assert!(archive.append(&batch("b", 1)).is_err() && archive.is_down());
            fail(&mut archive, in_log, None);
            archive.append(&batch("b", 1)).unwrap();
            assert!(!archive.is_down());
            archive.append(&batch("c", 1)).unwrap();
            let verified = complete(folder.path());
            assert_eq!((verified.records, verified.batches), (4, 3), "{step:?}");
            assert_eq!(log(folder.path()).matches("\"id\":\"b0\"").count(), 1);
        }
    }

    #[test]
    fn a_disk_that_stays_full_does_not_fill_the_folder() {
        let folder = in_memory();
        let mut archive = open(folder.path());
        for round in 0..3 {
            archive.log.fail = Some(Step::Write(9));
            for _ in 0..5 {
                archive.append(&batch("a", 1)).unwrap_err();
            }
            archive.log.fail = None;
            archive.append(&batch("a", 1)).unwrap();
            assert_eq!(folder::segments(folder.path()).unwrap().len(), round + 1);
        }
        assert_eq!(complete(folder.path()).records, 3);
    }

    #[test]
    fn a_process_that_dies_while_down_leaves_a_log_that_opens() {
        let folder = in_memory();
        let mut archive = open(folder.path());
        archive.append(&batch("a", 2)).unwrap();
        archive.log.fail = Some(Step::Write(40));
        archive.append(&batch("b", 1)).unwrap_err();
        drop(archive);
        let archive = open(folder.path());
        let recovered = archive.recovered().unwrap();
        assert_eq!((recovered.records, recovered.bytes), (0, 40));
        assert_eq!(complete(folder.path()).records, 3);
    }

    /// `kill -9` at every byte of the last batch, and at every byte of its checkpoint.
    #[test]
    fn a_cut_at_every_byte_is_told_recovered_and_then_verifies() {
        let folder = in_memory();
        let segment = folder.path().join(folder::segment_name(1));
        let points = folder.path().join(folder::CHECKPOINTS);
        let mut archive = open(folder.path());
        archive.append(&batch("a", 2)).unwrap();
        let (log_before, points_before) =
            (folder::content(&segment).unwrap(), folder::content(&points).unwrap());
        archive.append(&batch("b", 3)).unwrap();
        drop(archive);
        let (whole, signed) =
            (folder::content(&segment).unwrap(), folder::content(&points).unwrap());
        let in_log = (log_before.len()..=whole.len()).map(|cut| (cut, points_before.len()));
        let in_points = (points_before.len()..=signed.len()).map(|cut| (whole.len(), cut));
        for (log_cut, points_cut) in in_log.chain(in_points) {
            let copy = in_memory();
            for name in [folder::KEY, folder::PUBLIC_KEY] {
                fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
            }
            let segment = copy.path().join(folder::segment_name(1));
            fs::write(&segment, &whole[..log_cut]).unwrap();
            fs::write(copy.path().join(folder::CHECKPOINTS), &signed[..points_cut]).unwrap();
            let verified = verify(copy.path()).unwrap();
            let torn = log_cut != log_before.len() && log_cut != whole.len();
            let lines = memchr::memchr_iter(b'\n', &whole[log_before.len()..log_cut]).count();
            let expected = Tail::Torn {
                file: folder::segment_name(1),
                byte: log_before.len().try_into().unwrap(),
                records_after: lines.try_into().unwrap(),
            };
            assert_eq!(verified.tail, if torn { expected } else { Tail::Complete });
            let mut archive = open(copy.path());
            archive.append(&batch("c", 1)).unwrap();
            let in_whole = if log_cut == whole.len() { 5 } else { 2 };
            let torn_point = points_cut != points_before.len() && points_cut != signed.len();
            let told = usize::from(torn || torn_point);
            assert_eq!(archive.recovered().is_some(), told == 1);
            assert_eq!(log(copy.path()).matches("\"kind\":\"recovered\"").count(), told);
            drop(archive);
            let records = complete(copy.path()).records;
            assert_eq!(records, u64::try_from(in_whole + told + 1).unwrap());
            if torn {
                let moved = fs::read_dir(copy.path()).unwrap().map(|it| it.unwrap().path());
                let moved = moved.filter(|it| it.to_string_lossy().contains("torn-"));
                let moved: Vec<_> = moved.map(|path| folder::content(&path).unwrap()).collect();
                assert_eq!(moved, [&whole[log_before.len()..log_cut]], "nothing is lost");
            }
        }
    }

    #[test]
    fn a_batch_that_a_power_cut_tore_in_its_middle_does_not_count() {
        let folder = in_memory();
        let segment = folder.path().join(folder::segment_name(1));
        let points = folder.path().join(folder::CHECKPOINTS);
        let mut archive = open(folder.path());
        archive.append(&batch("a", 2)).unwrap();
        let (good, signed) =
            (folder::content(&segment).unwrap().len(), folder::content(&points).unwrap());
        archive.append(&batch("b", 3)).unwrap();
        drop(archive);
        let mut bytes = folder::content(&segment).unwrap();
        bytes[good + 5..good + 60].fill(0);
        fs::write(&segment, bytes).unwrap();
        // With its checkpoint it had been durable: this is no power cut.
        let fault = open_with(folder.path(), 1 << 20).unwrap_err();
        assert!(matches!(fault, ArchiveFault::Disagrees(_)), "{fault}");
        verify(folder.path()).unwrap_err();
        fs::write(&points, signed).unwrap();
        assert!(matches!(verify(folder.path()).unwrap().tail, Tail::Torn { .. }));
        assert_eq!(open(folder.path()).recovered().unwrap().records, 4);
        assert_eq!(complete(folder.path()).records, 3);
    }

    #[test]
    fn a_log_that_is_shorter_than_its_checkpoint_is_not_opened() {
        let folder = in_memory();
        let mut archive = open(folder.path());
        archive.append(&batch("a", 1)).unwrap();
        let segment = folder.path().join(folder::segment_name(1));
        let before = folder::content(&segment).unwrap();
        archive.append(&batch("b", 1)).unwrap();
        drop(archive);
        fs::write(&segment, before).unwrap();
        let fault = open_with(folder.path(), 1 << 20).unwrap_err();
        assert!(fault.to_string().contains("ends with batch 1"), "{fault}");
    }
}
