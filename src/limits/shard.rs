//! A worker's part of the limits: slices of each caller's allowance, spent without a shared write.
//! What it admits is a [`Lease`], the limits gate's proof, which ends with the request.

use crate::base::clock::Mono;
use crate::base::numbers::to_u32;
use crate::limits::allowance::{Allowance, Slice};
use crate::limits::ledger::Ledger;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A slice that nothing was spent of for so long goes back, for other workers to take.
pub const IDLE: Duration = Duration::from_millis(100);
/// The least that a refused caller is told to wait.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// One worker's slices. Made on the worker's own thread, for one plan.
#[derive(Debug)]
pub struct Shard {
    callers: Vec<Rc<Local>>,
    /// Callers of which a slice is held.
    holding: Vec<usize>,
    workers: u32,
}

#[derive(Debug)]
struct Local {
    allowance: Arc<Allowance>,
    slice: Cell<Slice>,
    spent: Cell<Mono>,
    /// Whether it stands in the shard's list of holdings.
    listed: Cell<bool>,
}

/// The right to one request, as long as it runs. Only a [`Shard`] makes it.
#[derive(Debug)]
pub struct Lease {
    local: Rc<Local>,
    at: Mono,
}

/// How a caller stands with one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The limit.
    pub limit: u32,
    /// What is left of it, about: other workers may hold a little more.
    pub remaining: u32,
    /// Until some of what is used comes back, in whole seconds.
    pub reset: Duration,
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// Requests at the same time.
    InFlight,
    /// Requests in sixty seconds.
    RequestsPerMinute,
}

/// A limit was reached; nothing of it was used by this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Which.
    pub limit: LimitKind,
    /// How the caller stands with it.
    pub standing: Standing,
    /// How long to wait, in whole seconds, at least one.
    pub retry_after: Duration,
}

impl Shard {
    /// The shard of one of `workers` workers.
    #[expect(clippy::needless_pass_by_value, reason = "the worker's own handle ends here")]
    pub fn new(ledger: Arc<Ledger>, workers: usize) -> Self {
        let local = |allowance: &Arc<Allowance>| {
            Rc::new(Local {
                allowance: Arc::clone(allowance),
                slice: Cell::default(),
                spent: Cell::default(),
                listed: Cell::default(),
            })
        };
        Self {
            callers: ledger.allowances().map(local).collect(),
            holding: Vec::new(),
            workers: to_u32(workers).max(1),
        }
    }

    /// Lets a request of this caller pass, or says why not. A caller that the plan does not know
    /// may ask for nothing.
    pub fn admit(&mut self, caller: usize, now: Mono) -> Result<Lease, Exceeded> {
        let Some(local) = self.callers.get(caller) else { return Err(Exceeded::in_flight(0)) };
        local.allowance.enter().map_err(Exceeded::in_flight)?;
        // From here on the lease's end undoes the entry.
        let mut lease = Lease { local: Rc::clone(local), at: now };
        if let Some(limit) = local.allowance.limit() {
            lease.at = local.draw(self.workers, now).ok_or_else(|| local.exceeded(limit, now))?;
            if local.slice.get().rest() > 0 && !local.listed.replace(true) {
                self.holding.push(caller);
            }
        }
        Ok(lease)
    }

    /// Gives back slices that are stale or idle. The worker calls it on its tick.
    pub fn give_back(&mut self, now: Mono) {
        let callers = &self.callers;
        self.holding.retain(|index| callers.get(*index).is_some_and(|local| local.keep(now)));
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        for local in self.holding.iter().filter_map(|index| self.callers.get(*index)) {
            local.refund();
        }
    }
}

impl Local {
    /// Spends one of the held slice, or of a new one.
    fn draw(&self, workers: u32, now: Mono) -> Option<Mono> {
        let mut slice = self.slice.get();
        if slice.rest() > 0 {
            if let Some(at) = self.allowance.spend(&mut slice, now) {
                self.slice.set(slice);
                self.spent.set(now);
                return Some(at);
            }
            self.refund();
        }
        let (slice, at) = self.allowance.take(workers, now)?;
        self.slice.set(slice);
        self.spent.set(now);
        Some(at)
    }

    fn refund(&self) {
        let slice = self.slice.take();
        if slice.rest() > 0 {
            self.allowance.refund(slice);
        }
    }

    /// Whether a slice is still held after those that are of no more use went back.
    fn keep(&self, now: Mono) -> bool {
        let slice = self.slice.get();
        if self.allowance.is_stale(slice) || now.since(self.spent.get()) >= IDLE {
            self.refund();
        }
        let held = self.slice.get().rest() > 0;
        self.listed.set(held);
        held
    }

    fn standing(&self, limit: u32, now: Mono) -> Standing {
        let remaining = self.allowance.left().saturating_add(self.slice.get().rest()).min(limit);
        let reset = match remaining {
            all if all == limit => Duration::ZERO,
            _ => whole_seconds(self.allowance.frees().since(now)),
        };
        Standing { limit, remaining, reset }
    }

    fn exceeded(&self, limit: u32, now: Mono) -> Exceeded {
        let standing = self.standing(limit, now);
        let retry_after = standing.reset.max(RETRY_MIN);
        Exceeded { limit: LimitKind::RequestsPerMinute, standing, retry_after }
    }
}

impl Lease {
    /// When it was admitted: within the call, and the time for which the limit is exact.
    pub const fn at(&self) -> Mono {
        self.at
    }

    /// How the caller stands with its requests per minute, if they are limited.
    pub fn standing(&self) -> Option<Standing> {
        let limit = self.local.allowance.limit()?;
        Some(self.local.standing(limit, self.at))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.local.allowance.leave();
    }
}

impl Exceeded {
    fn in_flight(limit: u32) -> Self {
        let standing = Standing { limit, remaining: 0, reset: RETRY_MIN };
        Self { limit: LimitKind::InFlight, standing, retry_after: RETRY_MIN }
    }
}

impl std::fmt::Display for Exceeded {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.limit {
            LimitKind::InFlight => "requests at the same time",
            LimitKind::RequestsPerMinute => "requests per minute",
        };
        write!(out, "the limit of {} {what} is reached", self.standing.limit)
    }
}

impl std::error::Error for Exceeded {}

fn whole_seconds(wait: Duration) -> Duration {
    let rounded = if wait.subsec_nanos() > 0 { wait.as_secs() + 1 } else { wait.as_secs() };
    Duration::from_secs(rounded)
}
