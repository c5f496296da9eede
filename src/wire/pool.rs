//! Idle upstream connections of one worker, by target.

use crate::base::clock::Mono;
use crate::wire::socket::Socket;
use std::collections::VecDeque;
use std::time::Duration;

/// A connection that idled longer is not used again: its upstream is about to close it.
pub const IDLE_MAX: Duration = Duration::from_mins(1);

/// The pool of one worker.
#[derive(Debug)]
pub struct Pool {
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Target {
    limit: usize,
    /// Oldest first.
    idle: VecDeque<(Socket, Mono)>,
}

impl Pool {
    /// A pool that keeps at most `limits[target]` connections for each target.
    pub fn new(limits: Vec<usize>) -> Self {
        let targets = limits
            .into_iter()
            .map(|limit| Target { limit, idle: VecDeque::with_capacity(limit.min(16)) })
            .collect();
        Self { targets }
    }

    /// The connection that idled shortest; the ones that idled too long are closed.
    pub fn take(&mut self, target: usize, now: Mono) -> Option<Socket> {
        let target = self.targets.get_mut(target)?;
        target.expire(now);
        target.idle.pop_back().map(|(socket, _)| socket)
    }

    /// Keeps a connection whose last answer was read to its end. One that was spent, or holds
    /// bytes that nobody asked for, is closed; so is the oldest where there are too many.
    pub fn put(&mut self, target: usize, socket: Socket, now: Mono) {
        let Some(target) = self.targets.get_mut(target) else { return };
        target.expire(now);
        if target.limit == 0 || !socket.is_reusable() {
            return;
        }
        if target.idle.len() >= target.limit {
            target.idle.pop_front();
        }
        target.idle.push_back((socket, now));
    }

    /// Closes what idled too long. A target that nobody asks for any more would keep its
    /// connections open otherwise, long after their upstream closed them.
    pub fn tidy(&mut self, now: Mono) {
        for target in &mut self.targets {
            target.expire(now);
        }
    }

    /// Closes the connection that idled longest, where file descriptors ran out. False: none idles.
    pub fn shed(&mut self) -> bool {
        let since = |target: &&mut Target| target.idle.front().map(|(_, since)| *since);
        let targets = self.targets.iter_mut().filter(|target| !target.idle.is_empty());
        let oldest = targets.min_by_key(since);
        oldest.and_then(|target| target.idle.pop_front()).is_some()
    }

    /// Closes everything: the worker stops, or its plan changed.
    pub fn clear(&mut self) {
        for target in &mut self.targets {
            target.idle.clear();
        }
    }

    /// How many connections idle.
    pub fn idle(&self) -> usize {
        self.targets.iter().map(|target| target.idle.len()).sum()
    }
}

impl Target {
    fn expire(&mut self, now: Mono) {
        while self.idle.front().is_some_and(|(_, since)| now.since(*since) > IDLE_MAX) {
            self.idle.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{IDLE_MAX, Pool};
    use crate::base::clock::Clock;
    use crate::wire::error::WireError;
    use crate::wire::runtime;
    use crate::wire::socket::Socket;
    use crate::wire::watch::Watch;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    /// Runs a test with a way to make sockets, whose peer's address tells them apart.
    fn with_sockets(test: impl Fn(&dyn Fn() -> (Socket, TcpStream), &Clock)) {
        let clock = Clock::simulated();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        runtime::run(None, async |_| {
            let watch = Watch::new(clock.clone());
            let make = || {
                let near = TcpStream::connect(address).unwrap();
                let (far, _) = listener.accept().unwrap();
                (Socket::adopt(far, &watch).unwrap(), near)
            };
            test(&make, &clock);
        })
        .unwrap();
    }

    #[test]
    fn the_freshest_is_taken_and_the_stale_are_dropped() {
        with_sockets(|socket, clock| {
            let mut pool = Pool::new(vec![4, 4]);
            let (old, _a) = socket();
            let (new, _b) = socket();
            let fresh = new.peer();
            pool.put(0, old, clock.mono());
            clock.advance(SECOND);
            pool.put(0, new, clock.mono());
            assert!(pool.take(1, clock.mono()).is_none());
            assert_eq!(pool.take(0, clock.mono()).unwrap().peer(), fresh);
            clock.advance(IDLE_MAX);
            assert!(pool.take(0, clock.mono()).is_none());
            assert_eq!(pool.idle(), 0);
        });
    }

    #[test]
    fn the_oldest_makes_room_and_unknown_targets_keep_nothing() {
        with_sockets(|socket, clock| {
            let mut pool = Pool::new(vec![1, 0]);
            let (first, _a) = socket();
            let (second, _b) = socket();
            let kept = second.peer();
            pool.put(0, first, clock.mono());
            pool.put(0, second, clock.mono());
            pool.put(1, socket().0, clock.mono());
            pool.put(9, socket().0, clock.mono());
            assert_eq!(pool.idle(), 1);
            assert_eq!(pool.take(0, clock.mono()).unwrap().peer(), kept);
            pool.put(0, socket().0, clock.mono());
            pool.clear();
            assert_eq!(pool.idle(), 0);
        });
    }

    #[test]
    fn what_idles_too_long_is_closed_though_nobody_asks_for_it() {
        with_sockets(|socket, clock| {
            let mut pool = Pool::new(vec![4]);
            let (kept, _far) = socket();
            pool.put(0, kept, clock.mono());
            clock.advance(IDLE_MAX);
            pool.tidy(clock.mono());
            assert_eq!(pool.idle(), 1);
            clock.advance(SECOND);
            pool.tidy(clock.mono());
            assert_eq!(pool.idle(), 0);
        });
    }

    #[test]
    fn the_one_that_idled_longest_is_shed_first() {
        with_sockets(|socket, clock| {
            let mut pool = Pool::new(vec![2, 2]);
            assert!(!pool.shed());
            let kept = [socket(), socket()].map(|(socket, other)| {
                clock.advance(SECOND);
                let peer = socket.peer();
                pool.put(1 - pool.idle(), socket, clock.mono());
                (peer, other)
            });
            assert!(pool.shed());
            assert!(pool.take(1, clock.mono()).is_none());
            assert_eq!(pool.take(0, clock.mono()).unwrap().peer(), kept[1].0);
        });
    }

    #[test]
    fn a_spent_connection_is_not_kept() {
        let spent = runtime::run(None, async |_| {
            let watch = Watch::new(Clock::machine());
            let other = TcpListener::bind("127.0.0.1:0").unwrap();
            let _near = TcpStream::connect(other.local_addr().unwrap()).unwrap();
            let mut far = Socket::adopt(other.accept().unwrap().0, &watch).unwrap();
            watch.stop_all();
            let mut into = Vec::new();
            assert_eq!(far.read(&mut into, 9, SECOND).await, Err(WireError::Stopped));
            let mut pool = Pool::new(vec![1]);
            pool.put(0, far, watch.now());
            pool.idle()
        });
        assert_eq!(spent.unwrap(), 0);
    }
}
