//! The control thread's state: what the workers told, what is deployed, how the process fares.
//!
//! The admin listener lives on the same thread and reads it.

use crate::base::clock::Clock;
use crate::config::model::Config;
use crate::coordinator::addresses::Resolve;
use crate::coordinator::archive;
use crate::coordinator::deploy::Deploy;
use crate::coordinator::names::Names;
use crate::gateway::mail::{Batch, Mailbox, Note, Order};
use crate::gateway::plan::Plan;
use crate::telemetry::meters::{Merged, Meters};
use crate::wire::dns::AddressBook;
use crate::wire::runtime::{Driver, sleep};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long a scrape waits for the workers' counts.
const REPORT_PATIENCE: Duration = Duration::from_millis(500);
/// How often it looks.
const REPORT_LOOK: Duration = Duration::from_millis(2);

/// Reads the configuration anew; the error is ready to be shown.
pub type Reread = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;
/// Shows an operator a line.
pub type Say = Box<dyn Fn(&str)>;

/// The phases of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not all workers serve yet.
    Starting,
    /// All serve.
    Ready,
    /// No new work; live exchanges end.
    Draining,
    /// Live exchanges are cut.
    Stopping,
    /// Nothing lives any more.
    Ended,
}

/// The control thread's own things.
pub struct Control {
    /// Time.
    pub clock: Clock,
    /// Where the process is.
    pub phase: Cell<Phase>,
    /// What is deployed.
    pub plan: RefCell<Arc<Plan>>,
    /// Where its targets are.
    pub addresses: RefCell<Arc<AddressBook>>,
    /// A deploy that is under way.
    pub deploy: RefCell<Option<Deploy>>,
    /// Whether a configuration is being compiled.
    pub is_building: Cell<bool>,
    /// Whether a reload was asked for while another was under way.
    pub reload_again: Cell<bool>,
    /// How the last reload ended; a start counts as one that succeeded.
    pub last_reload_ok: Cell<bool>,
    /// The archive.
    pub archive: Arc<archive::State>,
    /// To this thread.
    pub notes: Mailbox<Note>,
    /// To this thread, for the archive.
    pub batches: Mailbox<Batch>,
    /// Something failed that ends the process with an error.
    pub failed: Cell<bool>,
    pub(super) workers: RefCell<Vec<WorkerState>>,
    /// The names that are looked up again and again.
    pub(super) names: RefCell<Names>,
    pub(super) reread: Reread,
    pub(super) resolve: Resolve,
    pub(super) say: Say,
}

/// What is known of one worker.
#[derive(Debug)]
pub(super) struct WorkerState {
    pub(super) orders: Mailbox<Order>,
    pub(super) driver: Option<Driver>,
    pub(super) is_drained: bool,
    pub(super) meters: Option<Box<Meters>>,
    pub(super) reports: u64,
}

impl fmt::Debug for Control {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Control").field("phase", &self.phase).finish_non_exhaustive()
    }
}

impl Control {
    /// Shows an operator a line.
    pub fn say(&self, line: &str) {
        (self.say)(line);
    }

    /// Gives every worker an order. One whose mailbox is full is left out, and named.
    pub fn order_all(&self, order: impl Fn() -> Order) -> Vec<usize> {
        let workers = self.workers.borrow();
        let left_out = workers
            .iter()
            .enumerate()
            .filter(|(_, worker)| worker.orders.post(order()).is_err())
            .map(|(index, _)| index);
        left_out.collect()
    }

    /// How many workers there are.
    pub fn worker_count(&self) -> usize {
        self.workers.borrow().len()
    }

    /// The counts of all workers, merged, as fresh as they answer in time.
    pub async fn meters(&self) -> Merged {
        let before: Vec<u64> = self.workers.borrow().iter().map(|worker| worker.reports).collect();
        drop(self.order_all(|| Order::Report));
        let began = self.clock.mono();
        while self.clock.mono().since(began) < REPORT_PATIENCE {
            let all = self
                .workers
                .borrow()
                .iter()
                .zip(&before)
                .all(|(worker, before)| worker.reports > *before);
            if all {
                break;
            }
            sleep(REPORT_LOOK).await;
        }
        let mut merged = Merged::default();
        for worker in self.workers.borrow().iter() {
            if let Some(meters) = &worker.meters {
                merged.absorb(meters);
            }
        }
        merged
    }

    /// How many orders wait for each worker.
    pub fn order_depths(&self) -> Vec<usize> {
        self.workers.borrow().iter().map(|worker| worker.orders.depth()).collect()
    }
}
