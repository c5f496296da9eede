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
