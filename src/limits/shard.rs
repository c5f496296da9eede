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

/// A place among a caller's open streams, as long as it is kept.
#[derive(Debug)]
pub struct Stream(Rc<Local>);

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
    /// Streams at the same time.
    Streams,
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

    /// Lets a caller open one more stream, of at most so many over all workers.
    pub fn open_stream(&self, caller: usize, most: u32) -> Result<Stream, Exceeded> {
        let full = Exceeded { limit: LimitKind::Streams, ..Exceeded::in_flight(most) };
        let local = self.callers.get(caller).ok_or(full)?;
        if local.allowance.open_stream(most) { Ok(Stream(Rc::clone(local))) } else { Err(full) }
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

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.allowance.close_stream();
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
            LimitKind::Streams => "streams at the same time",
        };
        write!(out, "the limit of {} {what} is reached", self.standing.limit)
    }
}

impl std::error::Error for Exceeded {}

fn whole_seconds(wait: Duration) -> Duration {
    let rounded = if wait.subsec_nanos() > 0 { wait.as_secs() + 1 } else { wait.as_secs() };
    Duration::from_secs(rounded)
}

#[cfg(test)]
mod tests {
    use super::{Exceeded, LimitKind, Shard};
    use crate::base::clock::{Clock, Mono};
    use crate::config::model::Limits;
    use crate::limits::ledger::Ledger;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Duration;

    const SECOND: u64 = 1_000_000_000;
    const WORKERS: usize = 4;

    fn ledger(per_minute: Option<u32>, in_flight: Option<u32>) -> Arc<Ledger> {
        let limits = Limits { requests_per_minute: per_minute, in_flight };
        Arc::new(Ledger::named(&[(Arc::from("one"), limits)]))
    }

    /// The most in any half-open sixty seconds.
    fn most_in_a_minute(times: &mut [u64]) -> usize {
        times.sort_unstable();
        let end = |start: &u64| times.partition_point(|at| *at < start + 60 * SECOND);
        times.iter().enumerate().map(|(index, start)| end(start) - index).max().unwrap_or(0)
    }

    /// A worker that asks without pause until it is stopped; the times of what passed.
    fn ask(ledger: &Arc<Ledger>, clock: &Clock, stop: &AtomicBool, asked: &AtomicU64) -> Vec<u64> {
        let mut shard = Shard::new(Arc::clone(ledger), WORKERS);
        let mut times = Vec::new();
        while !stop.load(Ordering::Acquire) {
            let before = clock.mono();
            if let Ok(lease) = shard.admit(0, before) {
                assert!(before <= lease.at() && lease.at() <= clock.mono());
                times.push(lease.at().0);
            }
            if asked.fetch_add(1, Ordering::AcqRel).is_multiple_of(16) {
                shard.give_back(clock.mono());
                std::thread::yield_now();
            }
        }
        times
    }

    /// Four workers ask while `drive` moves the clock; the times of what passed.
    fn race(ledger: &Arc<Ledger>, drive: impl FnOnce(&Clock, &AtomicU64)) -> Vec<u64> {
        let clock = Clock::simulated();
        let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let worker = || ask(ledger, &clock, &stop, &asked);
            let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
            drive(&clock, &asked);
            stop.store(true, Ordering::Release);
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        })
    }

    /// The control thread: so many steps of `period`, in each of which workers ask so often.
    fn drive(ledger: &Ledger, clock: &Clock, asked: &AtomicU64, (steps, period): (u64, u64)) {
        for _ in 0..steps {
            clock.advance(Duration::from_millis(period));
            ledger.roll(clock.mono());
            wait_for(asked, 100);
        }
    }

    fn wait_for(asked: &AtomicU64, more: u64) {
        let goal = asked.load(Ordering::Acquire) + more;
        while asked.load(Ordering::Acquire) < goal {
            std::thread::yield_now();
        }
    }

    #[test]
    fn of_ten_thousand_requests_of_four_workers_a_thousand_pass() {
        let ledger = ledger(Some(1000), None);
        let mut times = race(&ledger, |clock, asked| {
            drive(&ledger, clock, asked, (500, 100));
            assert!(asked.load(Ordering::Acquire) >= 10_000);
        });
        assert_eq!(times.len(), 1000, "all of the limit and no more within fifty seconds");
        assert_eq!(most_in_a_minute(&mut times), 1000);
        assert_eq!(ledger.live(), 0);
    }

    #[test]
    fn sustained_overload_uses_the_limit_and_never_exceeds_it() {
        for period in [170, 250] {
            let ledger = ledger(Some(1000), None);
            let mut times = race(&ledger, |clock, asked| {
                drive(&ledger, clock, asked, (200_000 / period, period));
            });
            assert!(most_in_a_minute(&mut times) <= 1000, "every {period} ms");
            // From the first of the first thousand to the first of the fourth.
            let minutes = Duration::from_nanos(times[3000] - times[0]).as_secs_f64() / 60.0;
            assert!(3.0 / minutes >= 0.95, "three limits in {minutes} minutes, every {period} ms");
        }
    }

    #[test]
    fn bursts_and_idle_times_with_a_clock_that_leaps_never_exceed_it() {
        let ledger = ledger(Some(300), None);
        let mut times = race(&ledger, |clock, asked| {
            // No waiting for the workers in most rounds: they are overtaken in mid-step.
            let leaps = [1, 20, 100, 250, 999, 1000, 1001, 30_000, 59_000, 60_000, 61_000, 64_000];
            for round in 0..20_000_usize {
                clock.advance(Duration::from_millis(leaps[round * 7 % (1 + round % 12)]));
                ledger.roll(clock.mono());
                wait_for(asked, 500 * u64::from(round % 97 == 0));
            }
        });
        assert!(times.len() > 300, "more than one budget was used");
        assert!(most_in_a_minute(&mut times) <= 300);
        assert_eq!(ledger.live(), 0);
    }

    #[test]
    fn the_second_minute_of_a_caller_that_was_idle_is_no_larger() {
        let ledger = ledger(Some(60), None);
        let mut shard = Shard::new(Arc::clone(&ledger), 1);
        let mut times = Vec::new();
        for tenth in 1..3000_u64 {
            let now = Mono(tenth * SECOND / 10);
            ledger.roll(now);
            // Asks only at the ends and beginnings of minutes.
            if (500..700).contains(&(tenth % 600)) || tenth % 600 < 100 {
                times.extend(shard.admit(0, now).ok().map(|lease| lease.at().0));
            }
        }
        assert_eq!(most_in_a_minute(&mut times), 60);
    }

    #[test]
    fn in_flight_never_exceeds_its_maximum_and_comes_back_to_nothing() {
        let ledger = ledger(None, Some(3));
        let worker = || {
            let mut shard = Shard::new(Arc::clone(&ledger), WORKERS);
            for round in 0..5000 {
                let both = (shard.admit(0, Mono(round)), shard.admit(0, Mono(round)));
                assert!(ledger.live() <= 3);
                drop(both);
            }
        };
        std::thread::scope(|scope| {
            (0..WORKERS).for_each(|_| drop(scope.spawn(worker)));
        });
        assert_eq!(ledger.live(), 0);
    }

    #[test]
    fn a_panic_gives_its_lease_back() {
        let ledger = ledger(Some(5), Some(1));
        let mut shard = Shard::new(Arc::clone(&ledger), 1);
        let lease = shard.admit(0, Mono(1)).unwrap();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = lease;
            std::panic::resume_unwind(Box::new("in the exchange"));
        }));
        assert!(caught.is_err());
        assert_eq!(ledger.live(), 0);
    }

    #[test]
    fn a_refusal_says_which_limit_and_how_long_and_uses_nothing() {
        let ledger = ledger(Some(2), Some(1));
        let mut shard = Shard::new(Arc::clone(&ledger), 1);
        ledger.roll(Mono(SECOND));
        let lease = shard.admit(0, Mono(SECOND)).unwrap();
        let standing = lease.standing().unwrap();
        assert_eq!((standing.limit, standing.remaining), (2, 1));
        let busy = shard.admit(0, Mono(SECOND)).unwrap_err();
        assert_eq!((busy.limit, busy.retry_after), (LimitKind::InFlight, Duration::from_secs(1)));
        drop(lease);
        drop(shard.admit(0, Mono(SECOND)).unwrap());
        let spent = shard.admit(0, Mono(SECOND)).unwrap_err();
        assert_eq!((spent.limit, spent.standing.remaining), (LimitKind::RequestsPerMinute, 0));
        assert!((60..=63).contains(&spent.retry_after.as_secs()), "{spent:?}");
        let ready = SECOND + spent.retry_after.as_secs() * SECOND;
        (SECOND..=ready).step_by(250_000_000).for_each(|now| ledger.roll(Mono(now)));
        drop(shard.admit(0, Mono(ready)).expect("what was promised holds"));
        shard.admit(7, Mono(ready)).expect_err("a caller that nobody knows");
        assert_eq!(ledger.live(), 0);
    }

    #[test]
    fn idle_and_dropped_shards_strand_nothing() {
        let ledger = ledger(Some(1000), None);
        ledger.roll(Mono(SECOND));
        let mut idle = Shard::new(Arc::clone(&ledger), WORKERS);
        let mut gone = Shard::new(Arc::clone(&ledger), WORKERS);
        assert!(idle.admit(0, Mono(SECOND)).is_ok() && gone.admit(0, Mono(SECOND)).is_ok());
        let left = || ledger.allowances().next().unwrap().left();
        assert!(left() < 950, "both hold a slice");
        drop(gone);
        idle.give_back(Mono(SECOND));
        assert!(left() < 998, "a slice in use is kept");
        idle.give_back(Mono(SECOND + SECOND / 5));
        assert_eq!(left(), 998);
        for now in 0..100 {
            drop(idle.admit(0, Mono((10 + now) * SECOND)).unwrap());
            idle.give_back(Mono((10 + now) * SECOND));
        }
        assert!(idle.holding.len() <= 1, "listed once however often it is taken");
    }

    #[test]
    fn a_caller_that_stays_keeps_its_use_and_its_running_requests() {
        let limits = |count| Limits { requests_per_minute: Some(count), in_flight: Some(2) };
        let named = |count| [(Arc::from("new"), limits(1)), (Arc::from("one"), limits(count))];
        let old = ledger(Some(3), Some(2));
        let mut shard = Shard::new(Arc::clone(&old), 1);
        let running = shard.admit(0, Mono(1)).unwrap();
        let new = Arc::new(Ledger::succeed(&old, &named(4)));
        assert_eq!(old.allowances().next().unwrap().limit(), Some(3), "not yet committed");
        new.roll(Mono(2));
        assert_eq!(new.live(), 1, "the old lease counts in the new ledger");
        let mut next = Shard::new(Arc::clone(&new), 1);
        let passed = (0..9).filter(|_| next.admit(1, Mono(2)).is_ok()).count();
        assert_eq!(passed, 3, "four, less the one that was used");
        let refused = |result: Result<_, Exceeded>| result.err().map(|it| it.limit);
        assert_eq!(refused(next.admit(1, Mono(2))), Some(LimitKind::RequestsPerMinute));
        drop((running, shard));
        assert_eq!(new.live(), 0);
    }
}
