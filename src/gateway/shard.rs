//! What one worker owns and an exchange needs: nothing here is shared with another thread.
//!
//! Borrows of the cells end before any await; the lints hold us to it.

use crate::base::clock::Clock;
use crate::base::json::Reader;
use crate::base::random::Random;
use crate::gateway::judge::Breaker;
use crate::gateway::mail::{Batch, Mailbox, Note};
use crate::gateway::plan::Plan;
use crate::guard::inspect::Matcher;
use crate::guard::pack::PackFault;
use crate::limits::shard::Shard as LimitShard;
use crate::telemetry::meters::Meters;
use crate::wire::dns::AddressBook;
use crate::wire::pool::Pool;
use crate::wire::watch::Watch;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// Records that a worker keeps while the control thread does not take them. Beyond it new work is
/// refused: a record is never dropped. About 64 MB at a kilobyte each.
pub const RECORDS_MAX: usize = 65_536;
/// Records that travel in one batch.
const BATCH_RECORDS: usize = 256;

/// One worker's own things.
#[derive(Debug)]
pub struct Shard {
    /// Which worker.
    pub worker: usize,
    /// Time.
    pub clock: Clock,
    /// Deadlines of all its sockets.
    pub watch: Watch,
    /// Reads JSON.
    pub reader: RefCell<Reader>,
    /// Chance.
    pub random: RefCell<Random>,
    /// Counts.
    pub meters: RefCell<Meters>,
    /// Whether it drains: answers close their connections.
    pub draining: Cell<bool>,
    /// Exchanges that live.
    pub live: Cell<usize>,
    /// Of those, the ones whose answer streams.
    pub streams: Cell<usize>,
    deployed: RefCell<Rc<Deployed>>,
    records: RefCell<Vec<Vec<u8>>>,
    notes: Mailbox<Note>,
    batches: Mailbox<Batch>,
}

/// A plan with what this worker built for it.
#[derive(Debug)]
pub struct Deployed {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Scans text; its scratch space is this worker's.
    pub matcher: RefCell<Matcher>,
    /// This worker's slices of the ledger.
    pub limits: RefCell<LimitShard>,
    /// Idle connections to the targets.
    pub pool: RefCell<Pool>,
    /// Where the targets are.
    pub addresses: RefCell<Arc<AddressBook>>,
    /// How its outside judges fare.
    pub breakers: RefCell<Vec<Breaker>>,
}

impl Deployed {
    /// Builds what the plan needs on this thread.
    pub fn build(plan: Arc<Plan>, addresses: Arc<AddressBook>) -> Result<Self, PackFault> {
        let matcher = Matcher::new(Arc::clone(&plan.rules))?;
        let limits = LimitShard::new(Arc::clone(&plan.ledger), plan.config.process.workers);
        let idle = plan.config.targets.iter().map(|target| target.idle_connections).collect();
        let breakers = vec![Breaker::default(); plan.config.judges.len()];
        Ok(Self {
            plan,
            matcher: RefCell::new(matcher),
            limits: RefCell::new(limits),
            pool: RefCell::new(Pool::new(idle)),
            addresses: RefCell::new(addresses),
            breakers: RefCell::new(breakers),
        })
    }
}

impl Shard {
    /// The things of one worker, which begins with that plan.
    pub fn new(
        worker: usize,
        clock: Clock,
        watch: Watch,
        deployed: Deployed,
        notes: Mailbox<Note>,
        batches: Mailbox<Batch>,
    ) -> Self {
        let meters = Meters::new(Arc::clone(&deployed.plan.labels));
        Self {
            worker,
            clock,
            watch,
            reader: RefCell::default(),
            random: RefCell::default(),
            meters: RefCell::new(meters),
            draining: Cell::new(false),
            live: Cell::new(0),
            streams: Cell::new(0),
            deployed: RefCell::new(Rc::new(deployed)),
            records: RefCell::default(),
            notes,
            batches,
        }
    }

    /// What new exchanges are served by.
    pub fn deployed(&self) -> Rc<Deployed> {
        Rc::clone(&self.deployed.borrow())
    }

    /// From now on new exchanges are served by this; live ones end on what they began with.
    pub fn deploy(&self, next: Deployed) {
        self.meters.borrow_mut().relabel(&next.plan.labels);
        let before = self.deployed.replace(Rc::new(next));
        before.limits.borrow_mut().give_back(self.clock.mono());
        before.pool.borrow_mut().clear();
    }

    /// Whether there is room for the record of one more exchange.
    pub fn can_record(&self) -> bool {
        self.records.borrow().len() + self.live.get() < RECORDS_MAX
    }

    /// Whether there is room for the record of a refusal at least. Where there is none, connections
    /// close without an answer: an answer without a record is never given, and memory has an end.
    pub fn can_refuse(&self) -> bool {
        self.records.borrow().len() + self.live.get() < 2 * RECORDS_MAX
    }

    /// Keeps a record until the next flush, or until a batch is full.
    pub fn record(&self, line: Vec<u8>) {
        self.records.borrow_mut().push(line);
        if self.records_waiting() >= BATCH_RECORDS {
            self.flush();
        }
    }

    /// Hands kept records to the control thread; what it does not take stays, in order.
    pub fn flush(&self) {
        let mut kept = self.records.borrow_mut();
        // Looked at first: while the log is down, thousands would be moved out and in again for
        // each record.
        while !kept.is_empty() && !self.batches.is_full() {
            let most = kept.len().min(BATCH_RECORDS);
            let batch: Batch = kept.drain(..most).collect();
            if let Err(mut refused) = self.batches.post(batch) {
                refused.append(&mut kept);
                *kept = refused;
                return;
            }
        }
    }

    /// How many records wait here.
    pub fn records_waiting(&self) -> usize {
        self.records.borrow().len()
    }

    /// Tells the control thread something that may be told again later.
    pub fn tell(&self, note: Note) -> Result<(), Note> {
        self.notes.post(note)
    }
}
