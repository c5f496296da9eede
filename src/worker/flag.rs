//! A signal within one thread: raised once, seen by all who wait.
//!
//! Every connection waits here between two requests, so a wait that ends gives its place back.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Raised once and for ever.
#[derive(Debug, Default)]
pub struct Flag {
    raised: Cell<bool>,
    places: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<usize>>,
}

/// A wait for a flag.
#[derive(Debug)]
pub struct Wait<'a> {
    flag: &'a Flag,
    place: Option<usize>,
}

impl Flag {
    /// Raises it; all who wait go on.
    pub fn raise(&self) {
        self.raised.set(true);
        let waiting: Vec<Waker> =
            self.places.borrow_mut().iter_mut().filter_map(Option::take).collect();
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Whether it is raised.
    pub fn is_raised(&self) -> bool {
        self.raised.get()
    }

    /// Waits until it is raised.
    pub fn wait(&self) -> Wait<'_> {
        Wait { flag: self, place: None }
    }

    fn leave_waker(&self, place: Option<usize>, waker: &Waker) -> usize {
        let mut places = self.places.borrow_mut();
        let place = place.or_else(|| self.free.borrow_mut().pop()).unwrap_or_else(|| {
            places.push(None);
            places.len() - 1
        });
        if let Some(known) = places.get_mut(place) {
            match known {
                Some(known) => known.clone_from(waker),
                None => *known = Some(waker.clone()),
            }
        }
        place
    }
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.flag.is_raised() {
            return Poll::Ready(());
        }
        self.place = Some(self.flag.leave_waker(self.place, context.waker()));
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let left = self.flag.places.borrow_mut().get_mut(place).and_then(Option::take);
        self.flag.free.borrow_mut().push(place);
        // Last, since it may be what keeps a task in memory.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::Flag;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn all_who_wait_are_woken_once_and_who_comes_later_does_not_wait() {
        let (flag, count) = (Flag::default(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        let mut context = Context::from_waker(&waker);
        let (mut first, mut second) = (pin!(flag.wait()), pin!(flag.wait()));
        assert_eq!(first.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(second.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(second.as_mut().poll(&mut context), Poll::Pending);
        flag.raise();
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
        assert_eq!(first.as_mut().poll(&mut context), Poll::Ready(()));
        assert_eq!(pin!(flag.wait()).poll(&mut context), Poll::Ready(()));
    }

    #[test]
    fn a_wait_that_ended_leaves_nothing_behind() {
        let (flag, count) = (Flag::default(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        for _ in 0..1000 {
            let mut wait = pin!(flag.wait());
            assert_eq!(wait.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        }
        assert_eq!(flag.places.borrow().len(), 1, "places pile up");
        // This test's own, and the waker's: a task's memory is held by no waker left behind.
        assert_eq!(Arc::strong_count(&count), 2, "wakers pile up");
    }
}
