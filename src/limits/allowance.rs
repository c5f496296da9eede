//! The counter of one caller, shared by all workers and exact: never more than the limit within
//! any sixty seconds, whatever the threads do. Atomics only.
//!
//! # How it counts
//!
//! Time is cut into *buckets*, numbered by an epoch. What is left to take and the open epoch live
//! in one word, `state`, so both are seen and changed together. A worker takes a slice by one
//! compare-and-swap and books it as used in the epoch it took it in. It spends the slice only while
//! that epoch is open; a rest of it is refunded. [`Allowance::roll`], called by the control thread,
//! closes the open bucket once it is a second old and in the same swap gives back what was booked
//! in buckets that ended sixty seconds ago.
//!
//! # Why it is exact
//!
//! At any moment: left + booked in buckets not yet given back + on the way between the two =
//! limit. An admission's time `at` is the later of the worker's reading and the opening of the
//! epoch it was decided in; it lies within the call.
//!
//! 1. *Nothing is admitted in a bucket after its end.* A slice is spent only if the word shows its
//!    epoch still open, so the decision precedes the swap that closes it. The swap can come long
//!    after the control thread read the clock, so the end is the reading of the roll *after* it.
//! 2. *Nothing that came back is admitted less than sixty seconds after the end of its bucket.* It
//!    comes back in the swap that opens an epoch, whose opening time is that roll's reading and
//!    was stored before; whoever takes it took it in that epoch or a later one.
//! 3. Take any sixty seconds and the last admission in them. By 1 and 2 every other one in them
//!    was, at that moment, still booked or on the way; so with it they are at most the limit.
//!
//! The slow worker: between its swap and its booking a bucket may close, end and even be given
//! back. A bucket's word carries its epoch, so a late booking sees that the bucket is gone and
//! books into the open one: it comes back later, never earlier. A late refund sees it too, and
//! drops: the roll has given it back. A late roll only gives back later.

use crate::base::clock::Mono;
use crate::base::numbers::to_usize;
use crate::config::model::Limits;
use crossbeam::utils::CachePadded;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The span that a limit of requests is meant for.
pub const WINDOW: Duration = Duration::from_mins(1);
/// The least age of a bucket when it is closed; the window is exact, this only delays giving back.
pub const BUCKET: Duration = Duration::from_secs(1);
/// Requests that a worker takes at once, at most.
pub const SLICE_MAX: u32 = 64;
/// Buckets kept: those of a window, the open one, and those that wait for a roll.
const BUCKETS: u32 = 64;
/// In place of a bucket's end while it is not known.
const UNKNOWN: u64 = u64::MAX;
/// In place of a maximum where there is none.
const UNBOUNDED: u32 = u32::MAX;

/// What one caller may still ask for.
#[derive(Debug)]
pub struct Allowance {
    /// `epoch << 32 | left`.
    state: CachePadded<AtomicU64>,
    /// Requests that run now.
    live: CachePadded<AtomicU32>,
    live_max: AtomicU32,
    /// Streams that are open now.
    streams: AtomicU32,
    /// The requests per minute that `state` and the buckets add up to.
    limit: AtomicU32,
    /// Whether that limit holds.
    bounded: AtomicBool,
    /// After a limit was lowered: what must come back before anything is left again.
    debt: AtomicU32,
    /// When the oldest use comes back, about.
    frees: AtomicU64,
    buckets: [Bucket; to_usize(BUCKETS)],
    /// The first epoch that was not given back. The roll's own.
    oldest: AtomicU32,
    rolling: AtomicBool,
}

#[derive(Debug)]
struct Bucket {
    /// `epoch << 32 | used`.
    used: AtomicU64,
    opened: AtomicU64,
    ended: AtomicU64,
}

/// What a worker took and may spend while its epoch is open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slice {
    epoch: u32,
    opened: u64,
    rest: u32,
}

impl Slice {
    /// How many requests of it are left.
    pub const fn rest(self) -> u32 {
        self.rest
    }
}

impl Allowance {
    /// A counter with nothing used.
    pub fn new(limits: Limits) -> Self {
        let bucket = |index: usize| Bucket {
            used: AtomicU64::new(join(u32::try_from(index).unwrap_or_default(), 0)),
            opened: AtomicU64::new(0),
            ended: AtomicU64::new(UNKNOWN),
        };
        let own = Self {
            state: CachePadded::new(AtomicU64::new(0)),
            live: CachePadded::new(AtomicU32::new(0)),
            live_max: AtomicU32::new(UNBOUNDED),
            streams: AtomicU32::new(0),
            limit: AtomicU32::new(0),
            bounded: AtomicBool::new(false),
            debt: AtomicU32::new(0),
            frees: AtomicU64::new(0),
            buckets: std::array::from_fn(bucket),
            oldest: AtomicU32::new(0),
            rolling: AtomicBool::new(false),
        };
        own.adapt(limits);
        own
    }

    /// The requests per minute, if they are limited.
    pub fn limit(&self) -> Option<u32> {
        self.bounded.load(Ordering::Acquire).then(|| self.limit.load(Ordering::Acquire))
    }

    /// What no worker has taken yet.
    pub fn left(&self) -> u32 {
        split(self.state.load(Ordering::Acquire)).1
    }

    /// When the oldest use comes back, about.
    pub fn frees(&self) -> Mono {
        Mono(self.frees.load(Ordering::Acquire))
    }

    /// Counts one more running request, or says how many may run at most.
    pub fn enter(&self) -> Result<(), u32> {
        let most = self.live_max.load(Ordering::Acquire);
        let entered = self.live.fetch_update(Ordering::AcqRel, Ordering::Acquire, |live| {
            if live < most { live.checked_add(1) } else { None }
        });
        entered.map(drop).map_err(|_full| most)
    }

    /// One running request less.
    pub fn leave(&self) {
        self.live.fetch_sub(1, Ordering::AcqRel);
    }

    /// Counts one more open stream; false where `most` are open.
    pub fn open_stream(&self, most: u32) -> bool {
        let opened = self.streams.fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
            if open < most { open.checked_add(1) } else { None }
        });
        opened.is_ok()
    }

    /// One open stream less.
    pub fn close_stream(&self) {
        self.streams.fetch_sub(1, Ordering::AcqRel);
    }

    /// Requests that run now.
    pub fn live(&self) -> u32 {
        self.live.load(Ordering::Acquire)
    }

    /// Takes a slice and spends one of it: the rest, and the time of the admission. `None`:
    /// nothing is left.
    pub fn take(&self, workers: u32, now: Mono) -> Option<(Slice, Mono)> {
        let seized = self.seize(workers)?;
        let rest = self.book(seized.epoch, seized.rest).map_or(0, |()| seized.rest - 1);
        Some((Slice { rest, ..seized }, Mono(now.0.max(seized.opened))))
    }

    /// The first half of taking: out of what is left, not yet in a bucket.
    fn seize(&self, workers: u32) -> Option<Slice> {
        let mut seen = self.state.load(Ordering::Acquire);
        loop {
            let (epoch, left) = split(seen);
            if left == 0 {
                return None;
            }
            // Smaller as less is left, so that near the end nothing is stranded at an idle worker.
            let rest = (left / workers.saturating_mul(2).max(1)).clamp(1, SLICE_MAX);
            // Read before the swap: while the epoch is open its bucket is not used anew.
            let opened = self.bucket(epoch)?.opened.load(Ordering::Acquire);
            let taken = join(epoch, left - rest);
            let swap =
                self.state.compare_exchange_weak(seen, taken, Ordering::AcqRel, Ordering::Acquire);
            match swap {
                Ok(_) => return Some(Slice { epoch, opened, rest }),
                Err(other) => seen = other,
            }
        }
    }

    /// Spends one of a slice whose epoch is still open: the time of the admission.
    pub fn spend(&self, slice: &mut Slice, now: Mono) -> Option<Mono> {
        let open = split(self.state.load(Ordering::Acquire)).0 == slice.epoch;
        let rest = slice.rest.checked_sub(1).filter(|_| open)?;
        slice.rest = rest;
        Some(Mono(now.0.max(slice.opened)))
    }

    /// Whether the epoch of a slice has passed, so that it can only be refunded.
    pub fn is_stale(&self, slice: Slice) -> bool {
        split(self.state.load(Ordering::Acquire)).0 != slice.epoch
    }

    /// Gives the rest of a slice back. Where its bucket was given back already, so was the rest.
    pub fn refund(&self, slice: Slice) {
        let Some(bucket) = self.bucket(slice.epoch) else { return };
        let changed = bucket.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let (epoch, used) = split(word);
            (epoch == slice.epoch).then(|| join(epoch, used.saturating_sub(slice.rest)))
        });
        if changed.is_ok() {
            let left = self.pay(slice.rest);
            self.state.fetch_add(u64::from(left), Ordering::AcqRel);
        }
    }

    /// Sets the limits without a fresh budget: what was used stays used. A lowered limit admits
    /// nothing until use has come down to it. What is asked while there is no limit is not counted.
    /// For the control thread.
    pub fn adapt(&self, limits: Limits) {
        let live_max = limits.in_flight.unwrap_or(UNBOUNDED);
        if limits.requests_per_minute == self.limit()
            && self.live_max.load(Ordering::Acquire) == live_max
        {
            return;
        }
        self.live_max.store(live_max, Ordering::Release);
        let Some(new) = limits.requests_per_minute else {
            self.bounded.store(false, Ordering::Release);
            return;
        };
        let old = self.limit.swap(new, Ordering::AcqRel);
        if new > old {
            let left = self.pay(new - old);
            self.state.fetch_add(u64::from(left), Ordering::AcqRel);
        } else if new < old {
            self.collect(old - new);
        }
        self.bounded.store(true, Ordering::Release);
    }

    /// Takes `count` out of what is left; what is missing becomes debt.
    fn collect(&self, count: u32) {
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let (epoch, left) = split(word);
            Some(join(epoch, left.saturating_sub(count)))
        });
        let (_, left) = split(before.unwrap_or_default());
        self.debt.fetch_add(count.saturating_sub(left), Ordering::AcqRel);
    }

    /// Closes the open bucket when it is old enough, and gives back what a window ago was used.
    /// One thread calls this, with a reading that it took after the call before returned.
    pub fn roll(&self, now: Mono) {
        if self.rolling.swap(true, Ordering::Acquire) {
            return;
        }
        let (epoch, _) = split(self.state.load(Ordering::Acquire));
        self.end_last(epoch, now);
        let old_enough = self
            .bucket(epoch)
            .is_some_and(|open| now.since(Mono(open.opened.load(Ordering::Acquire))) >= BUCKET);
        if old_enough {
            self.advance(epoch, now);
        }
        self.forecast(now);
        self.rolling.store(false, Ordering::Release);
    }

    /// The bucket that an earlier roll closed has surely ended by this reading.
    fn end_last(&self, epoch: u32, now: Mono) {
        if self.oldest.load(Ordering::Acquire) == epoch {
            return;
        }
        if let Some(last) = self.bucket(epoch.wrapping_sub(1))
            && last.ended.load(Ordering::Acquire) == UNKNOWN
        {
            last.ended.store(now.0.max(last.opened.load(Ordering::Acquire)), Ordering::Release);
        }
    }

    /// Opens the next epoch with what came back. Nothing used and nothing back: nothing to do.
    fn advance(&self, epoch: u32, now: Mono) {
        let back = self.reclaim(epoch, now);
        let used = self.bucket(epoch).map_or(0, Bucket::count);
        let next = epoch.wrapping_add(1);
        let Some(bucket) = self.bucket(next) else { return };
        // The ring is full only if rolls came late; the open bucket then grows, which is safe.
        // Nothing was reclaimed in that case: the first to be is what fills the next place.
        let free = split(bucket.used.load(Ordering::Acquire)).0 == next;
        if !free || (back == 0 && used == 0) {
            return;
        }
        bucket.ended.store(UNKNOWN, Ordering::Release);
        bucket.opened.store(now.0, Ordering::Release);
        let left = self.pay(back);
        // Without fail: the closure always gives a word.
        let opened = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            Some(join(next, split(word).1.saturating_add(left)))
        });
        debug_assert!(opened.is_ok(), "an update that always gives a word succeeds");
    }

    /// Empties the buckets that ended a window ago and counts what was used in them.
    fn reclaim(&self, open: u32, now: Mono) -> u32 {
        let mut back = 0_u32;
        let mut epoch = self.oldest.load(Ordering::Acquire);
        while epoch != open {
            let Some(bucket) = self.bucket(epoch) else { break };
            let ended = bucket.ended.load(Ordering::Acquire);
            if ended == UNKNOWN || Mono(ended).plus(WINDOW) > now {
                break;
            }
            let emptied = join(epoch.wrapping_add(BUCKETS), 0);
            back = back.saturating_add(split(bucket.used.swap(emptied, Ordering::AcqRel)).1);
            epoch = epoch.wrapping_add(1);
        }
        self.oldest.store(epoch, Ordering::Release);
        back
    }

    /// Notes when the oldest use comes back: a window after its bucket's end, with the next epoch.
    fn forecast(&self, now: Mono) {
        let (open, _) = split(self.state.load(Ordering::Acquire));
        let mut epoch = self.oldest.load(Ordering::Acquire);
        while epoch != open && self.bucket(epoch).is_some_and(|bucket| bucket.count() == 0) {
            epoch = epoch.wrapping_add(1);
        }
        let ended = self.bucket(epoch).map_or(UNKNOWN, |it| it.ended.load(Ordering::Acquire));
        let ended = match ended {
            UNKNOWN if epoch == open => now.plus(BUCKET),
            UNKNOWN => now,
            known => Mono(known),
        };
        self.frees.store(ended.plus(WINDOW).plus(BUCKET).0, Ordering::Release);
    }

    /// Books a slice as used in its epoch; `None` if that is gone and the open one took it.
    fn book(&self, own: u32, count: u32) -> Option<()> {
        let mut target = own;
        loop {
            let bucket = self.bucket(target)?;
            let booked = bucket.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                let (epoch, used) = split(word);
                (epoch == target).then(|| join(epoch, used.saturating_add(count)))
            });
            if booked.is_ok() {
                return (target == own).then_some(());
            }
            target = split(self.state.load(Ordering::Acquire)).0;
        }
    }

    /// Pays the debt with what comes back, and says what is over.
    fn pay(&self, count: u32) -> u32 {
        let before = self.debt.fetch_update(Ordering::AcqRel, Ordering::Acquire, |debt| {
            (debt > 0).then(|| debt.saturating_sub(count))
        });
        before.map_or(count, |debt| count.saturating_sub(debt))
    }

    fn bucket(&self, epoch: u32) -> Option<&Bucket> {
        self.buckets.get(to_usize(epoch % BUCKETS))
    }
}

impl Bucket {
    fn count(&self) -> u32 {
        split(self.used.load(Ordering::Acquire)).1
    }
}

fn join(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn split(word: u64) -> (u32, u32) {
    #[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "the two halves")]
    {
        ((word >> 32) as u32, word as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::{Allowance, BUCKETS, Slice, split};
    use crate::base::clock::Mono;
    use crate::config::model::Limits;
    use proptest::prelude::{Strategy, prop_oneof, proptest};
    use std::sync::atomic::Ordering;

    const SECOND: u64 = 1_000_000_000;

    fn limits(per_minute: u32) -> Limits {
        Limits { requests_per_minute: Some(per_minute), in_flight: None }
    }

    /// Left, booked and owed: at rest they add up to the limit.
    fn accounted(allowance: &Allowance) -> i64 {
        let booked: u32 = allowance.buckets.iter().map(super::Bucket::count).sum();
        let debt = allowance.debt.load(Ordering::Acquire);
        i64::from(allowance.left()) + i64::from(booked) - i64::from(debt)
    }

    fn roll_until(allowance: &Allowance, from: u64, to: u64) {
        (from..=to).step_by(250_000_000).for_each(|now| allowance.roll(Mono(now)));
    }

    #[test]
    fn what_was_used_comes_back_after_a_minute_and_no_sooner() {
        let allowance = Allowance::new(limits(3));
        allowance.roll(Mono(SECOND));
        for _ in 0..3 {
            assert!(allowance.take(1, Mono(SECOND)).is_some());
        }
        roll_until(&allowance, SECOND, 61 * SECOND);
        assert!(allowance.take(1, Mono(61 * SECOND)).is_none());
        let promised = allowance.frees().0;
        roll_until(&allowance, 61 * SECOND, promised);
        assert_eq!(allowance.left(), 3, "the forecast {promised} holds");
        assert!(promised <= 64 * SECOND, "{promised}");
    }

    #[test]
    fn a_booking_later_than_its_bucket_comes_back_later_and_leaks_nothing() {
        let allowance = Allowance::new(limits(10));
        allowance.roll(Mono(SECOND));
        let seized = allowance.seize(1).unwrap();
        // Others use the bucket, so that it is closed, ended and given back.
        assert!(allowance.take(1, Mono(SECOND)).is_some());
        roll_until(&allowance, SECOND, 70 * SECOND);
        assert_eq!(allowance.book(seized.epoch, seized.rest), None);
        assert_eq!(accounted(&allowance), 10);
        assert!(allowance.left() <= 5, "the late booking counts as used now");
        roll_until(&allowance, 70 * SECOND, 140 * SECOND);
        assert_eq!(allowance.left(), 10);
    }

    #[test]
    fn a_refund_later_than_its_bucket_is_not_given_twice() {
        let allowance = Allowance::new(limits(100));
        allowance.roll(Mono(SECOND));
        let (slice, _) = allowance.take(1, Mono(SECOND)).unwrap();
        roll_until(&allowance, SECOND, 70 * SECOND);
        assert_eq!(allowance.left(), 100);
        allowance.refund(slice);
        assert_eq!((allowance.left(), accounted(&allowance)), (100, 100));
    }

    #[test]
    fn a_slice_is_not_spent_after_its_epoch() {
        let allowance = Allowance::new(limits(100));
        allowance.roll(Mono(SECOND));
        let (mut slice, _) = allowance.take(1, Mono(SECOND)).unwrap();
        assert!(allowance.spend(&mut slice, Mono(SECOND)).is_some());
        allowance.roll(Mono(2 * SECOND));
        // Even for a reading from before.
        assert!(allowance.spend(&mut slice, Mono(SECOND)).is_none());
        allowance.refund(slice);
        assert_eq!(allowance.left(), 98);
    }

    #[test]
    fn rolls_that_come_late_or_never_only_give_back_later() {
        let allowance = Allowance::new(limits(2));
        assert!(allowance.take(1, Mono(SECOND)).is_some());
        assert!(allowance.take(1, Mono(SECOND)).is_some());
        assert!(allowance.take(1, Mono(500 * SECOND)).is_none(), "no roll, nothing back");
        // Nobody can know when the two passed before this roll.
        roll_until(&allowance, 500 * SECOND, 560 * SECOND);
        assert!(allowance.take(1, Mono(560 * SECOND)).is_none());
        roll_until(&allowance, 560 * SECOND, 565 * SECOND);
        assert_eq!(allowance.left(), 2);
    }

    #[test]
    fn a_control_thread_that_sleeps_between_reading_and_roll_gives_back_no_sooner() {
        let allowance = Allowance::new(limits(2));
        allowance.roll(Mono(SECOND));
        for _ in 0..2 {
            assert!(allowance.take(9, Mono(5 * SECOND)).is_some());
        }
        allowance.roll(Mono(4 * SECOND));
        roll_until(&allowance, 5 * SECOND, 65 * SECOND - 1);
        assert!(allowance.take(1, Mono(65 * SECOND - 1)).is_none(), "a minute is not over");
        roll_until(&allowance, 65 * SECOND, 67 * SECOND);
        assert_eq!(allowance.left(), 2);
    }

    #[test]
    fn an_old_reading_is_admitted_when_its_epoch_opened() {
        let allowance = Allowance::new(limits(6));
        allowance.roll(Mono(SECOND));
        while allowance.take(1, Mono(SECOND)).is_some() {}
        roll_until(&allowance, SECOND, 70 * SECOND);
        let (mut slice, first) = allowance.take(1, Mono(2 * SECOND)).unwrap();
        let second = allowance.spend(&mut slice, Mono(2 * SECOND)).unwrap();
        assert!(first >= Mono(61 * SECOND) && second >= Mono(61 * SECOND));
    }

    #[test]
    fn changed_limits_bring_no_fresh_budget() {
        let allowance = Allowance::new(limits(10));
        allowance.roll(Mono(SECOND));
        for _ in 0..4 {
            assert!(allowance.take(9, Mono(SECOND)).is_some());
        }
        allowance.adapt(limits(3));
        assert_eq!((allowance.left(), accounted(&allowance)), (0, 3));
        allowance.adapt(limits(5));
        assert_eq!((allowance.left(), accounted(&allowance)), (1, 5));
        allowance.adapt(Limits::default());
        assert_eq!(allowance.limit(), None);
        allowance.adapt(limits(5));
        assert_eq!((allowance.left(), allowance.limit()), (1, Some(5)));
        allowance.adapt(limits(2));
        roll_until(&allowance, SECOND, 70 * SECOND);
        assert_eq!((allowance.left(), accounted(&allowance)), (2, 2));
    }

    #[test]
    fn the_ring_outlasts_a_minute_of_the_shortest_buckets_and_many_minutes() {
        let allowance = Allowance::new(limits(1_000_000));
        for now in 1..=u64::from(BUCKETS) * 4 {
            allowance.roll(Mono(now * SECOND));
            assert!(allowance.take(1000, Mono(now * SECOND)).is_some());
        }
        let (epoch, _) = split(allowance.state.load(Ordering::Acquire));
        assert_eq!(epoch, BUCKETS * 4 - 1, "a bucket each second, never for want of a place");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Advance(u64),
        Book(usize),
        Limit(u32),
        Refund(usize),
        Roll(u64),
        Seize(usize, u64),
        Spend(usize, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let stale = || prop_oneof![4 => 0..1_u64, 1 => 0..90 * SECOND];
        prop_oneof![
            4 => prop_oneof![
                3 => 0..SECOND / 2,
                6 => 0..3 * SECOND,
                2 => 20 * SECOND..58 * SECOND,
                1 => 58 * SECOND..70 * SECOND,
            ]
                .prop_map(Step::Advance),
            8 => stale().prop_map(Step::Roll),
            8 => (0..3_usize, stale()).prop_map(|(worker, age)| Step::Seize(worker, age)),
            8 => (0..3_usize).prop_map(Step::Book),
            8 => (0..3_usize, stale()).prop_map(|(worker, age)| Step::Spend(worker, age)),
            3 => (0..3_usize).prop_map(Step::Refund),
            1 => (0..50_u32).prop_map(Step::Limit),
        ]
    }

    #[derive(Default)]
    struct Worker {
        seized: Option<Slice>,
        slice: Slice,
    }

    impl Worker {
        fn seize(&mut self, allowance: &Allowance, reading: u64) -> Option<u64> {
            if self.seized.is_some() || self.slice.rest > 0 {
                return None;
            }
            self.seized = allowance.seize(1);
            self.seized.map(|seized| reading.max(seized.opened))
        }

        fn book(&mut self, allowance: &Allowance) {
            let Some(seized) = self.seized.take() else { return };
            let booked = allowance.book(seized.epoch, seized.rest);
            self.slice = Slice { rest: booked.map_or(0, |()| seized.rest - 1), ..seized };
        }

        fn spend(&mut self, allowance: &Allowance, reading: u64) -> Option<u64> {
            allowance.spend(&mut self.slice, Mono(reading)).map(|at| at.0)
        }
    }

    /// Any order of the half steps of three workers and the control thread, with readings that are
    /// up to ninety seconds old. The bound is the highest limit that there was.
    fn run(steps: Vec<Step>) {
        let allowance = Allowance::new(limits(24));
        let mut workers = [Worker::default(), Worker::default(), Worker::default()];
        let (mut now, mut limit, mut highest) = (SECOND, 24, 24);
        let mut rolled = 0;
        let mut admitted: Vec<u64> = Vec::new();
        for step in steps {
            let at = match step {
                Step::Advance(by) => {
                    now += by;
                    None
                }
                Step::Roll(age) => {
                    // The thread may sleep between its reading and the roll, not before it.
                    allowance.roll(Mono(now.saturating_sub(age).max(rolled)));
                    rolled = now;
                    None
                }
                Step::Limit(new) => {
                    allowance.adapt(limits(new));
                    (limit, highest) = (new, highest.max(new));
                    None
                }
                Step::Seize(index, age) => {
                    workers[index].seize(&allowance, now.saturating_sub(age))
                }
                Step::Book(index) => {
                    workers[index].book(&allowance);
                    None
                }
                Step::Spend(index, age) => {
                    workers[index].spend(&allowance, now.saturating_sub(age))
                }
                Step::Refund(index) => {
                    allowance.refund(std::mem::take(&mut workers[index].slice));
                    None
                }
            };
            assert!(at.is_none_or(|at| at <= now));
            admitted.extend(at);
        }
        admitted.sort_unstable();
        for (index, start) in admitted.iter().enumerate() {
            let end = admitted.partition_point(|at| *at < start + 60 * SECOND);
            assert!(end - index <= highest.try_into().unwrap(), "{admitted:?}");
        }
        for worker in &mut workers {
            worker.book(&allowance);
        }
        assert_eq!(accounted(&allowance), i64::from(limit), "nothing leaks");
        roll_until(&allowance, now, now + 130 * SECOND);
        assert_eq!(allowance.left(), limit, "all comes back");
    }

    proptest! {
        #![proptest_config(proptest::test_runner::Config {
            cases: 2000,
            failure_persistence: None,
            ..proptest::test_runner::Config::default()
        })]
        #[test]
        fn no_order_of_steps_admits_more_than_the_limit_in_a_minute(
            steps in proptest::collection::vec(step(), 1..300)
        ) {
            run(steps);
        }
    }
}
