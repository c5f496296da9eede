//! The audit folder: what its files are called, who holds it, and writing that is durable.

use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file of signed checkpoints.
pub const CHECKPOINTS: &str = "checkpoints.jsonl";
/// The private signing key, PKCS#8.
pub const KEY: &str = "signing.key";
/// The public signing key, hex.
pub const PUBLIC_KEY: &str = "signing.pub";
const LOCK: &str = "lock";

/// The name of the n-th segment of the log.
pub fn segment_name(number: u64) -> String {
    format!("audit-{number:06}.jsonl")
}

/// The numbers of the segments there are, in order.
pub fn segments(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in folder.read_dir()? {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix("audit-")?.strip_suffix(".jsonl"))
            .and_then(|digits| digits.parse::<u64>().ok())
            .filter(|number| *name == *segment_name(*number));
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes the folder, readable by its owner only, if it is not there.
pub fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Takes the folder for this process until the file is dropped; fails with `WouldBlock` if another
/// process holds it.
pub fn lock(folder: &Path) -> io::Result<File> {
    let file = options().write(true).create(true).truncate(false).open(folder.join(LOCK))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Makes the folder's own entries durable: files that were made in it.
pub fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A whole file; empty if it is not there.
pub fn content(path: &Path) -> io::Result<Vec<u8>> {
    #[expect(clippy::disallowed_methods, reason = "the archive thread and `cli` may block")]
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// The last bytes of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileEnd {
    /// Where in the file they begin.
    pub start: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The end of a file, at most so many bytes of it; empty if it is not there.
pub fn end(path: &Path, most: u64) -> io::Result<FileEnd> {
    let Some(mut file) = reader(path)? else { return Ok(FileEnd::default()) };
    let start = file.get_ref().metadata()?.len().saturating_sub(most);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(FileEnd { start, bytes })
}

/// A file from its beginning; none if it is not there.
pub fn reader(path: &Path) -> io::Result<Option<BufReader<File>>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(file) => Ok(Some(BufReader::new(file))),
    }
}

/// Writes a new file, durable when this returns. Fails if there is one of that name.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = options().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A file that grows by whole pieces, of which each is durable or cut off again.
#[derive(Debug)]
pub struct Growing {
    file: File,
    /// Bytes that are durable.
    pub good: u64,
    /// What is to fail next, in tests.
    #[cfg(test)]
    pub fail: Option<Step>,
}

/// Where a write can fail.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// After so many bytes.
    Write(usize),
    /// In `fdatasync`.
    Sync,
    /// When cutting off.
    Cut,
}

impl Growing {
    /// Opens a file at its end, which must be where `good` says; makes it if it is not there.
    pub fn open(path: PathBuf, good: u64) -> io::Result<Self> {
        let file = options().append(true).create(true).open(path)?;
        let own = Self {
            file,
            good,
            #[cfg(test)]
            fail: None,
        };
        if own.file.metadata()?.len() != good {
            own.file.set_len(good)?;
            own.file.sync_all()?;
        }
        Ok(own)
    }

    /// Goes on with another file; what is to fail in a test fails there too.
    pub fn replace(&mut self, next: Self) {
        self.file = next.file;
        self.good = next.good;
    }

    /// Appends and makes durable. After an error the file may hold a part, until [`Self::cut`].
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        #[cfg(test)]
        if let Some(Step::Write(count)) = self.fail {
            self.file.write_all(&bytes[..count.min(bytes.len())])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_all(bytes)?;
        #[cfg(test)]
        if self.fail == Some(Step::Sync) {
            return Err(io::ErrorKind::Other.into());
        }
        self.file.sync_data()?;
        Ok(self.good + u64::try_from(bytes.len()).unwrap_or(u64::MAX))
    }

    /// Cuts off whatever a failed append left behind, durably.
    pub fn cut(&mut self) -> io::Result<()> {
        #[cfg(test)]
        if self.fail == Some(Step::Cut) {
            return Err(io::ErrorKind::Other.into());
        }
        self.file.set_len(self.good)?;
        self.file.sync_all()
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}
