//! When each request is due: at once when a connection is free, or at a fixed rate.
//!
//! At a rate the schedule does not wait for answers. A request that no connection was free for
//! keeps its due time, and its latency counts from then: a server that stalls is not asked less
//! while it does, which is how other generators omit the worst of it.

use ringwall::base::clock::Mono;
use std::time::Duration;

/// How long after the end requests are still sent that were due before it.
pub const GRACE: Duration = Duration::from_secs(1);
const SECOND_NANOS: u128 = 1_000_000_000;

/// The schedule of a run, shared by its connections.
#[derive(Clone, Debug)]
pub struct Pace {
    start: Mono,
    end: Mono,
    /// Requests each second; `None`: as soon as a connection is free.
    rate: Option<u32>,
    requests: u64,
    taken: u64,
}

/// Leave to send one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// From zero, in the order of sending.
    pub number: u64,
    /// When it should be sent; `None`: now.
    pub due: Option<Mono>,
}

impl Pace {
    /// A schedule of at most so many requests within so much time.
    pub fn new(start: Mono, duration: Duration, rate: Option<u32>, requests: u64) -> Self {
        Self { start, end: start.plus(duration), rate, requests, taken: 0 }
    }

    /// The next request, unless the run is over.
    pub fn take(&mut self, now: Mono) -> Option<Ticket> {
        if self.is_over(now) {
            return None;
        }
        let ticket = Ticket { number: self.taken, due: self.due(self.taken) };
        self.taken += 1;
        Some(ticket)
    }

    /// Whether nothing more is to be sent.
    pub fn is_over(&self, now: Mono) -> bool {
        if self.taken >= self.requests {
            return true;
        }
        match self.due(self.taken) {
            None => now >= self.end,
            Some(due) => due >= self.end || now >= self.end.plus(GRACE),
        }
    }

    /// Requests that were due within the run and that nobody took.
    pub fn left_over(&self) -> u64 {
        let Some(rate) = self.rate else { return 0 };
        let nanos = self.end.since(self.start).as_nanos();
        let due = (nanos * u128::from(rate)).div_ceil(SECOND_NANOS);
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        due.min(self.requests).saturating_sub(self.taken)
    }

    /// Counted from the start each time, so that no rounding adds up.
    fn due(&self, number: u64) -> Option<Mono> {
        let nanos = u128::from(number) * SECOND_NANOS / u128::from(self.rate?.max(1));
        Some(self.start.plus(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))))
    }
}

#[cfg(test)]
mod tests {
    use super::{GRACE, Pace};
    use ringwall::base::clock::Mono;
    use std::time::Duration;

    const START: Mono = Mono(5);

    fn at(millis: u64) -> Mono {
        START.plus(Duration::from_millis(millis))
    }

    #[test]
    fn without_a_rate_every_request_is_due_at_once() {
        let mut pace = Pace::new(START, Duration::from_secs(1), None, 2);
        let taken: Vec<_> = std::iter::from_fn(|| pace.take(at(1))).collect();
        assert_eq!(
            taken.iter().map(|t| (t.number, t.due)).collect::<Vec<_>>(),
            [(0, None), (1, None)]
        );
        assert_eq!(pace.left_over(), 0);
        assert_eq!(Pace::new(START, Duration::from_secs(1), None, 2).take(at(1000)), None);
    }

    #[test]
    fn due_times_do_not_drift() {
        let mut pace = Pace::new(START, Duration::from_mins(10), Some(3), u64::MAX);
        let dues: Vec<_> = (0..=900).filter_map(|_| pace.take(START)?.due).collect();
        assert_eq!(dues[1], START.plus(Duration::from_nanos(333_333_333)));
        assert_eq!((dues[3], dues[900]), (at(1000), at(300_000)));
    }

    #[test]
    fn a_stall_moves_no_due_time() {
        let mut pace = Pace::new(START, Duration::from_secs(10), Some(10), u64::MAX);
        assert_eq!(pace.take(at(0)).unwrap().due, Some(at(0)));
        // Nobody was free for a second.
        assert_eq!(pace.take(at(1000)).unwrap().due, Some(at(100)));
    }

    #[test]
    fn what_was_due_and_not_sent_is_counted() {
        let mut pace = Pace::new(START, Duration::from_secs(1), Some(10), u64::MAX);
        for _ in 0..4 {
            pace.take(at(0)).unwrap();
        }
        assert!(pace.clone().take(at(1500)).is_some(), "within the grace");
        assert!(pace.is_over(at(1000).plus(GRACE)));
        assert_eq!(pace.left_over(), 6);
        let whole = std::iter::from_fn(|| pace.take(at(0))).count();
        assert_eq!((whole, pace.left_over()), (6, 0));
    }
}
