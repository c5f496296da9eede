//! The archive thread: writes batches of records as they come, and never drops one.
//!
//! While the log cannot be written (a full disk, say), batches wait here and then in the queues
//! before it, until workers refuse new requests; the meter says so from the first failure on.

use crate::audit::file::Archive;
use crate::gateway::mail::Batch;
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Batches that may wait for the disk.
const WAITING_MAX: usize = 64;
/// Records that one write takes at most, so that a write stays below a few megabytes.
const WRITE_RECORDS_MAX: usize = 4096;
/// How long the end of the process waits for the archive to take its last order.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// How often a write is tried again at the end of the process.
const END_TRIES: u32 = 20;
/// How long a log that cannot be written is left alone.
const RETRY: Duration = Duration::from_millis(250);

/// The way to the archive thread.
#[derive(Clone, Debug)]
pub struct Link {
    work: Sender<Work>,
    /// How it fares.
    pub state: Arc<State>,
}

/// The way to a thread, and the thread.
pub type Started = (Link, JoinHandle<()>);

/// What the archive thread is given.
#[derive(Debug)]
enum Work {
    /// Records to be written.
    Batch(Batch),
    /// Nothing more comes.
    End,
}

/// How the archive fares; read by metrics and readiness.
#[derive(Debug, Default)]
pub struct State {
    /// Records that are on the disk.
    pub records: AtomicU64,
    /// Batches that are on the disk.
    pub batches: AtomicU64,
    /// Writes that failed.
    pub failures: AtomicU64,
    /// Whether the last write failed.
    pub is_down: AtomicBool,
}

/// Starts the archive thread with a log that is open. The thread ends after [`Link::end`].
pub fn start(archive: Archive) -> io::Result<Started> {
    let (work, waiting) = bounded(WAITING_MAX);
    let state = Arc::new(State::default());
    let own = Arc::clone(&state);
    let thread = std::thread::Builder::new()
        .name("archive".into())
        .spawn(move || write(archive, &waiting, &own))?;
    Ok((Link { work, state }, thread))
}

impl Link {
    /// Hands a batch over, or gives it back where too many wait.
    pub fn offer(&self, batch: Batch) -> Result<(), Batch> {
        match self.work.try_send(Work::Batch(batch)) {
            Err(
                TrySendError::Full(Work::Batch(batch))
                | TrySendError::Disconnected(Work::Batch(batch)),
            ) => Err(batch),
            Ok(()) | Err(TrySendError::Full(Work::End) | TrySendError::Disconnected(Work::End)) => {
                Ok(())
            }
        }
    }

    /// Whether it takes another batch now.
    pub fn has_room(&self) -> bool {
        !self.work.is_full()
    }

    /// Nothing more comes: the thread writes what waits and ends. False: it does not even take
    /// this in time, since its disk does not take the batches before.
    pub fn end(&self) -> bool {
        self.work.send_timeout(Work::End, END_PATIENCE).is_ok()
    }
}

fn write(mut archive: Archive, waiting: &Receiver<Work>, state: &State) {
    let mut is_ending = false;
    while !is_ending && let Ok(Work::Batch(mut batch)) = waiting.recv() {
        while batch.len() < WRITE_RECORDS_MAX {
            match waiting.try_recv() {
                Ok(Work::Batch(mut more)) => batch.append(&mut more),
                Ok(Work::End) => {
                    is_ending = true;
                    break;
                }
                Err(_) => break,
            }
        }
        let mut tries = 0_u32;
        while archive.append(&batch).is_err() {
            state.failures.fetch_add(1, Ordering::Relaxed);
            state.is_down.store(true, Ordering::Release);
            tries += 1;
            if is_ending && tries > END_TRIES {
                return;
            }
            std::thread::sleep(RETRY);
        }
        state.is_down.store(false, Ordering::Release);
        state.batches.fetch_add(1, Ordering::Relaxed);
        let count = crate::base::numbers::to_u64(batch.len());
        state.records.fetch_add(count, Ordering::Relaxed);
    }
}
