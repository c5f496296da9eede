//! What the threads say to each other: *orders* to a worker, *notes* to the control thread.
//!
//! Both travel in bounded lock-free queues; a bell wakes the reader. A full queue is an answer, not
//! a wait: the sender keeps what it has and says so.

use crate::gateway::loads::Counted;
use crate::gateway::plan::Plan;
use crate::telemetry::meters::Meters;
use crate::wire::bell::Ringer;
use crate::wire::dns::{AddressBook, Found, Name};
use crate::wire::runtime::Driver;
use crate::wire::stream::Raw;
use crossbeam::queue::ArrayQueue;
use std::net::SocketAddr;
use std::sync::Arc;

/// Orders that may wait for one worker. Connections that are handed over are among them.
pub const ORDERS_MAX: usize = 4096;
/// Notes that may wait for the control thread.
pub const NOTES_MAX: usize = 1024;
/// Batches of records that may wait for the control thread, which hands them to the archive.
pub const BATCHES_MAX: usize = 256;

/// Audit records of exchanges that ended, as lines, oldest first.
pub type Batch = Vec<Vec<u8>>;

/// What a worker is told.
#[derive(Debug)]
pub enum Order {
    /// Forget the prepared plan of that generation.
    Abort(u64),
    /// Where the targets of the plan of that generation are now.
    Addresses(u64, Arc<AddressBook>),
    /// Serve new exchanges by the prepared plan of that generation.
    Commit(u64),
    /// A client that another worker accepted, counted as this worker's.
    Connection(Accepted, Counted),
    /// Stop accepting, finish what lives, then report `Note::Drained`.
    Drain,
    /// Build what a plan needs on this worker and report `Note::Prepared`.
    Prepare(Arc<Plan>, Arc<AddressBook>),
    /// Send `Note::Meters`.
    Report,
    /// The drain took too long: end every exchange now.
    Stop,
}

/// A client's connection, accepted and not yet read.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: Raw,
    /// Who connected; nothing is known of a Unix socket's peer.
    pub peer: Option<SocketAddr>,
    /// Which listener of the configuration took it.
    pub listener: usize,
}

/// What the control thread is told.
#[derive(Debug)]
pub enum Note {
    /// A worker's own machinery failed: the process must drain and end.
    Broken(usize, &'static str),
    /// A new configuration was compiled, or why not.
    Built(Result<Built, String>),
    /// A worker has nothing live any more.
    Drained(usize),
    /// A name was looked up.
    Found(Name, Found),
    /// A worker's counts since it began.
    Meters(usize, Box<Meters>),
    /// A worker is ready for the plan of that generation, or why not.
    Prepared(usize, u64, Result<(), String>),
    /// Something an operator should read.
    Log(String),
    /// A worker serves, or could not begin to.
    Started(usize, Result<Driver, String>),
}

/// A plan that was compiled, and where its targets are.
pub type Built = (Arc<Plan>, Arc<AddressBook>);

/// A queue with the bell of its reader.
#[derive(Debug)]
pub struct Mailbox<T> {
    queue: Arc<ArrayQueue<T>>,
    ringer: Ringer,
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), ringer: self.ringer.clone() }
    }
}

impl<T> Mailbox<T> {
    /// A queue for at most `most` messages, whose reader hears `ringer`.
    pub fn new(most: usize, ringer: Ringer) -> Self {
        Self { queue: Arc::new(ArrayQueue::new(most)), ringer }
    }

    /// Puts a message in, or gives it back where the queue is full.
    pub fn post(&self, message: T) -> Result<(), T> {
        self.queue.push(message)?;
        self.ringer.ring();
        Ok(())
    }

    /// The oldest message.
    pub fn take(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Whether it takes no more.
    pub fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// How many wait.
    pub fn depth(&self) -> usize {
        self.queue.len()
    }
}
