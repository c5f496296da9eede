//! Deadlines and stop for all sockets of a worker, without a timer for each operation.
//!
//! A socket holds one place. An operation writes its deadline there and leaves its waker; a task
//! of the worker calls [`Watch::tick`] every [`TICK`] and wakes what is due. So a deadline costs
//! two stores, and is kept to within one tick.

use crate::base::clock::{Clock, Mono};
use crate::wire::runtime;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How often the worker looks for what is due, and how late a deadline may fire.
pub const TICK: Duration = Duration::from_millis(50);
/// How long a socket may still write once the worker stops: the last words of a stream.
pub const LAST_WORDS: Duration = Duration::from_secs(1);

/// The watch of one worker.
#[derive(Clone)]
pub struct Watch(Rc<Inner>);

struct Inner {
    clock: Clock,
    /// Deadlines in a row of their own, so that a tick over thousands reads few cache lines.
    deadlines: RefCell<Vec<Mono>>,
    places: RefCell<Vec<Place>>,
    free: RefCell<Vec<usize>>,
    /// No deadline is earlier than this.
    earliest: Cell<Mono>,
    /// When the worker began to stop.
    stopped: Cell<Option<Mono>>,
}

#[derive(Default)]
struct Place {
    waker: Option<Waker>,
    fired: Option<Fired>,
    manner: Manner,
}

/// Why an operation was woken before it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fired {
    /// Its time passed.
    Deadline,
    /// The worker stops.
    Stopped,
}

/// What an operation waits for: a stop ends the one at once and the other soon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    /// To hear something.
    #[default]
    Listen,
    /// To have something said.
    Speak,
}

/// A socket's place on the watch; it is given back when dropped.
pub(crate) struct Seat {
    watch: Watch,
    index: usize,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Watch").field("places", &self.0.deadlines.borrow().len()).finish()
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Seat").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Watch {
    /// A watch that reads this clock.
    pub fn new(clock: Clock) -> Self {
        Self(Rc::new(Inner {
            clock,
            deadlines: RefCell::default(),
            places: RefCell::default(),
            free: RefCell::default(),
            earliest: Cell::new(NEVER),
            stopped: Cell::new(None),
        }))
    }

    /// The time by this watch's clock.
    pub fn now(&self) -> Mono {
        self.0.clock.mono()
    }

    /// Ticks for ever; a task of its own on every worker.
    #[expect(clippy::infinite_loop, reason = "the task ends with its worker")]
    pub async fn keep(self) {
        loop {
            runtime::sleep(TICK).await;
            self.tick(self.now());
        }
    }

    /// Wakes every operation whose deadline is not after `now`.
    pub fn tick(&self, now: Mono) {
        if now < self.0.earliest.get() {
            return;
        }
        let fired = if self.is_stopped() { Fired::Stopped } else { Fired::Deadline };
        self.sweep(|deadline, place| {
            if *deadline <= now {
                place.fired = Some(fired);
            }
        });
    }

    /// Ends all waiting to hear with `Stopped`, now and from now on. What has to be said may
    /// still be said within [`LAST_WORDS`].
    pub fn stop_all(&self) {
        let now = self.now();
        self.0.stopped.set(Some(now));
        self.sweep(|deadline, place| match place.manner {
            Manner::Listen => place.fired = Some(Fired::Stopped),
            Manner::Speak => *deadline = (*deadline).min(now.plus(LAST_WORDS)),
        });
    }

    /// Shows every place where something waits, wakes those that fired, and notes the earliest
    /// deadline of the others.
    fn sweep(&self, mut look: impl FnMut(&mut Mono, &mut Place)) {
        let mut earliest = NEVER;
        let mut due = Vec::new();
        let mut deadlines = self.0.deadlines.borrow_mut();
        let mut places = self.0.places.borrow_mut();
        let waiting = deadlines.iter_mut().zip(places.iter_mut());
        for (deadline, place) in waiting.filter(|(deadline, _)| **deadline != NEVER) {
            look(deadline, place);
            if place.fired.is_some() {
                *deadline = NEVER;
                due.extend(place.waker.take());
            }
            earliest = earliest.min(*deadline);
        }
        drop((deadlines, places));
        self.0.earliest.set(earliest);
        // Last, since a waker may run what looks at this watch.
        due.into_iter().for_each(Waker::wake);
    }

    /// Whether the worker stops.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.get().is_some()
    }

    /// How many sockets it has had at once.
    pub fn places(&self) -> usize {
        self.0.deadlines.borrow().len()
    }

    /// A place for one socket.
    pub(crate) fn sit(&self) -> Seat {
        let index = self.0.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut places = self.0.places.borrow_mut();
            places.push(Place::default());
            self.0.deadlines.borrow_mut().push(NEVER);
            places.len() - 1
        });
        Seat { watch: self.clone(), index }
    }
}

impl Seat {
    /// The time by this watch's clock.
    pub(crate) fn now(&self) -> Mono {
        self.watch.now()
    }

    /// Runs an operation until it is done, its deadline passes, or the worker stops. What is done
    /// counts, even when the deadline passed at the same time.
    pub(crate) async fn guard<T>(
        &self,
        manner: Manner,
        deadline: Mono,
        operation: impl Future<Output = T>,
    ) -> Result<T, Fired> {
        self.arm(manner, deadline);
        // Disarms even where this future is dropped.
        let armed = Armed(self);
        let mut operation = std::pin::pin!(operation);
        let result = std::future::poll_fn(|context| self.poll(operation.as_mut(), context)).await;
        drop(armed);
        result
    }

    fn poll<T>(
        &self,
        operation: Pin<&mut impl Future<Output = T>>,
        context: &mut Context<'_>,
    ) -> Poll<Result<T, Fired>> {
        if let Poll::Ready(done) = operation.poll(context) {
            return Poll::Ready(Ok(done));
        }
        let mut places = self.watch.0.places.borrow_mut();
        let Some(place) = places.get_mut(self.index) else { return Poll::Pending };
        if let Some(fired) = place.fired {
            return Poll::Ready(Err(fired));
        }
        match &mut place.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    fn arm(&self, manner: Manner, deadline: Mono) {
        let inner = &self.watch.0;
        let (deadline, fired) = match (inner.stopped.get(), manner) {
            (None, _) => (deadline, None),
            (Some(_), Manner::Listen) => (NEVER, Some(Fired::Stopped)),
            (Some(since), Manner::Speak) => (deadline.min(since.plus(LAST_WORDS)), None),
        };
        if let Some(place) = inner.places.borrow_mut().get_mut(self.index) {
            *place = Place { waker: None, fired, manner };
        }
        self.set(deadline);
        inner.earliest.set(inner.earliest.get().min(deadline));
    }

    fn set(&self, deadline: Mono) {
        if let Some(place) = self.watch.0.deadlines.borrow_mut().get_mut(self.index) {
            *place = deadline;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.set(NEVER);
        if let Some(place) = self.watch.0.places.borrow_mut().get_mut(self.index) {
            *place = Place::default();
        }
        self.watch.0.free.borrow_mut().push(self.index);
    }
}

struct Armed<'a>(&'a Seat);

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        self.0.set(NEVER);
        // The waker goes too: it would keep its task's memory.
        let waker = match self.0.watch.0.places.borrow_mut().get_mut(self.0.index) {
            Some(place) => place.waker.take(),
            None => None,
        };
        drop(waker);
    }
}

/// The deadline of a place where nothing waits.
const NEVER: Mono = Mono(u64::MAX);

#[cfg(test)]
mod tests {
    use super::{Fired, LAST_WORDS, Manner, Seat, Watch};
    use crate::base::clock::{Clock, Mono};
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn wait(
        seat: &Seat,
        manner: Manner,
        deadline: Mono,
    ) -> impl Future<Output = Result<(), Fired>> {
        seat.guard(manner, deadline, std::future::pending())
    }

    #[test]
    fn a_deadline_fires_at_its_tick_and_not_before() {
        let clock = Clock::simulated();
        let watch = Watch::new(clock.clone());
        let seats = [watch.sit(), watch.sit()];
        let mut early = pin!(wait(&seats[0], Manner::Listen, watch.now().plus(SECOND)));
        let mut late = pin!(wait(&seats[1], Manner::Speak, watch.now().plus(SECOND * 2)));
        assert_eq!(poll(early.as_mut()), Poll::Pending);
        assert_eq!(poll(late.as_mut()), Poll::Pending);
        watch.tick(watch.now());
        assert_eq!(poll(early.as_mut()), Poll::Pending);
        clock.advance(SECOND);
        watch.tick(watch.now());
        assert_eq!(poll(early.as_mut()), Poll::Ready(Err(Fired::Deadline)));
        assert_eq!(poll(late.as_mut()), Poll::Pending);
        clock.advance(SECOND);
        watch.tick(watch.now());
        assert_eq!(poll(late.as_mut()), Poll::Ready(Err(Fired::Deadline)));
    }

    #[test]
    fn what_is_done_counts_even_when_it_is_late() {
        let watch = Watch::new(Clock::simulated());
        let seat = watch.sit();
        let done = std::cell::Cell::new(false);
        let operation =
            std::future::poll_fn(|_| if done.get() { Poll::Ready(7) } else { Poll::Pending });
        let mut guarded = pin!(seat.guard(Manner::Listen, watch.now(), operation));
        assert_eq!(poll(guarded.as_mut()), Poll::Pending);
        watch.tick(watch.now());
        done.set(true);
        assert_eq!(poll(guarded.as_mut()), Poll::Ready(Ok(7)));
    }

    #[test]
    fn a_stop_ends_listening_at_once_and_speaking_soon() {
        let clock = Clock::simulated();
        let watch = Watch::new(clock.clone());
        let seats = [watch.sit(), watch.sit(), watch.sit()];
        let far = watch.now().plus(SECOND * 100);
        let mut listen = pin!(wait(&seats[0], Manner::Listen, far));
        let mut speak = pin!(wait(&seats[1], Manner::Speak, far));
        assert_eq!(poll(listen.as_mut()), Poll::Pending);
        assert_eq!(poll(speak.as_mut()), Poll::Pending);
        watch.stop_all();
        assert_eq!(poll(listen.as_mut()), Poll::Ready(Err(Fired::Stopped)));
        assert_eq!(poll(speak.as_mut()), Poll::Pending);
        let mut later = pin!(wait(&seats[2], Manner::Listen, far));
        assert_eq!(poll(later.as_mut()), Poll::Ready(Err(Fired::Stopped)));
        let mut words = pin!(wait(&seats[0], Manner::Speak, far));
        assert_eq!(poll(words.as_mut()), Poll::Pending);
        clock.advance(LAST_WORDS);
        watch.tick(watch.now());
        assert_eq!(poll(speak.as_mut()), Poll::Ready(Err(Fired::Stopped)));
        assert_eq!(poll(words.as_mut()), Poll::Ready(Err(Fired::Stopped)));
    }

    #[test]
    fn places_are_used_again_and_remember_nothing() {
        let watch = Watch::new(Clock::simulated());
        let seat = watch.sit();
        {
            let mut wait = pin!(wait(&seat, Manner::Listen, watch.now()));
            assert_eq!(poll(wait.as_mut()), Poll::Pending);
            watch.tick(watch.now());
        }
        let index = seat.index;
        drop(seat);
        let seat = watch.sit();
        assert_eq!(seat.index, index);
        let mut fresh = pin!(wait(&seat, Manner::Listen, watch.now().plus(SECOND)));
        assert_eq!(poll(fresh.as_mut()), Poll::Pending);
    }

    #[test]
    fn a_dropped_wait_is_not_fired() {
        let clock = Clock::simulated();
        let watch = Watch::new(clock.clone());
        let seat = watch.sit();
        {
            let mut wait = pin!(wait(&seat, Manner::Listen, watch.now().plus(SECOND)));
            assert_eq!(poll(wait.as_mut()), Poll::Pending);
        }
        clock.advance(SECOND * 9);
        watch.tick(watch.now());
        assert!(watch.0.places.borrow()[seat.index].fired.is_none());
        assert!(watch.0.places.borrow()[seat.index].waker.is_none());
    }
}
