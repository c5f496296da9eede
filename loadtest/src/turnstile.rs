//! One at a time, in the order of asking: who waits for the next due time.
//!
//! Only the connection that is next looks at the clock. If all that are free did, they would take
//! the very time away that the answers of the others need.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// Lets one through at a time.
#[derive(Debug, Default)]
pub struct Turnstile {
    is_taken: Cell<bool>,
    /// Numbers that were drawn.
    drawn: Cell<u64>,
    /// Whose turn it is, from when that was decided to when they notice.
    called: Cell<Option<u64>>,
    waiting: RefCell<VecDeque<Waiting>>,
}

/// One in the line.
#[derive(Debug)]
struct Waiting {
    number: u64,
    waker: Waker,
}

/// A turn; the next in line has theirs when it is dropped.
#[derive(Debug)]
pub struct Turn<'a>(&'a Turnstile);

impl Turnstile {
    /// Waits for a turn.
    pub async fn enter(&self) -> Turn<'_> {
        if self.is_taken.replace(true) {
            let number = self.drawn.get();
            self.drawn.set(number + 1);
            poll_fn(|context| self.poll(number, context)).await;
        }
        Turn(self)
    }

    fn poll(&self, number: u64, context: &mut Context<'_>) -> Poll<()> {
        if self.called.get() == Some(number) {
            self.called.set(None);
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        let mut waiting = self.waiting.borrow_mut();
        match waiting.iter_mut().find(|other| other.number == number) {
            Some(old) => old.waker = waker,
            None => waiting.push_back(Waiting { number, waker }),
        }
        Poll::Pending
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let next = self.0.waiting.borrow_mut().pop_front();
        match next {
            Some(Waiting { number, waker }) => {
                self.0.called.set(Some(number));
                waker.wake();
            }
            None => self.0.is_taken.set(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Turnstile;
    use ringwall::wire::runtime::{self, spawn, yield_now};
    use std::cell::RefCell;
    use std::rc::Rc;

    /// Takes two turns, and lets all others run within each.
    async fn pass(name: char, turnstile: Rc<Turnstile>, seen: Rc<RefCell<String>>) {
        for _ in 0..2 {
            let turn = turnstile.enter().await;
            seen.borrow_mut().push(name);
            yield_now().await;
            yield_now().await;
            seen.borrow_mut().push(name);
            drop(turn);
        }
    }

    #[test]
    fn turns_come_in_order_and_one_at_a_time() {
        let seen = runtime::run(None, async |_| {
            let turnstile = Rc::new(Turnstile::default());
            let seen = Rc::new(RefCell::new(String::new()));
            for name in ['a', 'b', 'c'] {
                spawn(pass(name, Rc::clone(&turnstile), Rc::clone(&seen)), || {});
            }
            while Rc::strong_count(&seen) > 1 {
                yield_now().await;
            }
            drop(turnstile.enter().await);
            seen.take()
        });
        assert_eq!(seen.unwrap(), "aabbccaabbcc");
    }
}
