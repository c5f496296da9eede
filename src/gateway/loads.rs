//! How many client connections there are: of each worker, for handing new ones to the least
//! loaded, of all together, and from each address.
//!
//! Addresses are counted in a table of fixed size by a keyed hash, so that no attack from many of
//! them takes memory. Addresses that fall together count together: what is refused for it is
//! refused too early, never too late, and who shares a place cannot be chosen.

use crate::base::numbers::to_usize;
use crate::config::model::Bounds;
use crossbeam::utils::CachePadded;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Counters of addresses; a power of two. A quarter of a megabyte.
const PLACES: u32 = 1 << 16;

/// The counts of all workers; shared.
#[derive(Clone, Debug)]
pub struct Loads(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    workers: Box<[CachePadded<AtomicUsize>]>,
    addresses: Box<[AtomicU32]>,
    hasher: RandomState,
}

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub struct Counted {
    loads: Loads,
    worker: usize,
    /// Where its address counts; absent for one that has none, or has not been announced yet.
    place: Option<usize>,
}

impl Loads {
    /// For that many workers.
    pub fn new(workers: usize) -> Self {
        Self(Arc::new(Inner {
            workers: (0..workers).map(|_| CachePadded::default()).collect(),
            addresses: (0..PLACES).map(|_| AtomicU32::new(0)).collect(),
            hasher: RandomState::new(),
        }))
    }

    /// Who should take a connection that `worker` accepted: itself, unless another holds fewer.
    /// It is counted there at once, so that a burst spreads.
    pub fn choose(&self, worker: usize, from: Option<IpAddr>) -> Counted {
        let own = self.of(worker);
        let mut best = (own, worker);
        for (other, load) in self.0.workers.iter().enumerate() {
            let load = load.load(Ordering::Relaxed);
            if load < best.0 {
                best = (load, other);
            }
        }
        self.count(best.1, from)
    }

    /// Counts a connection of that worker.
    pub fn count(&self, worker: usize, from: Option<IpAddr>) -> Counted {
        // In one order with every look of every worker: of two that come at the same time at
        // least one sees the other, so a bound is never passed.
        if let Some(load) = self.0.workers.get(worker) {
            load.fetch_add(1, Ordering::SeqCst);
        }
        let mut counted = Counted { loads: self.clone(), worker, place: None };
        counted.name(from);
        counted
    }

    /// How many that worker holds.
    pub fn of(&self, worker: usize) -> usize {
        self.0.workers.get(worker).map_or(0, |load| load.load(Ordering::SeqCst))
    }

    /// How many all workers hold.
    pub fn total(&self) -> usize {
        self.0.workers.iter().map(|load| load.load(Ordering::SeqCst)).sum()
    }

    /// How many come from the addresses of that place.
    fn at(&self, place: Option<usize>) -> Option<&AtomicU32> {
        self.0.addresses.get(place?)
    }

    fn place(&self, from: IpAddr) -> usize {
        let hash = match from.to_canonical() {
            IpAddr::V4(address) => self.0.hasher.hash_one(address),
            // Who has one IPv6 address has the 64 bits below it, too.
            IpAddr::V6(address) => self.0.hasher.hash_one(address.to_bits() >> 64),
        };
        usize::try_from(hash).unwrap_or_default() & (to_usize(PLACES) - 1)
    }
}

impl Counted {
    /// Whose it is.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// From now on it counts for that address, and for no other. A peer without one, such as that
    /// of a Unix socket, is bounded by the counts of workers and of all alone.
    pub fn name(&mut self, from: Option<IpAddr>) {
        let place = from.map(|from| self.loads.place(from));
        if let Some(count) = self.loads.at(place) {
            count.fetch_add(1, Ordering::SeqCst);
        }
        if let Some(count) = self.loads.at(self.place) {
            count.fetch_sub(1, Ordering::SeqCst);
        }
        self.place = place;
    }

    /// Whether it and all that are counted stay within the bounds.
    pub fn fits(&self, bounds: &Bounds) -> bool {
        let from_there = self.loads.at(self.place).map_or(0, |count| count.load(Ordering::SeqCst));
        self.loads.of(self.worker) <= bounds.connections
            && self.loads.total() <= bounds.connections_total
            && from_there <= bounds.connections_per_address
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(load) = self.loads.0.workers.get(self.worker) {
            load.fetch_sub(1, Ordering::SeqCst);
        }
        self.name(None);
    }
}

#[cfg(test)]
mod tests {
    use super::Loads;
    use crate::config::load::parse;
    use crate::config::model::Bounds;
    use std::io;
    use std::net::IpAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn ip(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    fn bounds(connections: usize, total: usize, per_address: u32) -> Bounds {
        let absent = |_: &std::path::Path| Err(io::Error::from(io::ErrorKind::NotFound));
        let config = parse("test", "version = 1", &[], &|_| None, &absent).unwrap();
        Bounds {
            connections,
            connections_total: total,
            connections_per_address: per_address,
            ..config.bounds
        }
    }

    #[test]
    fn a_burst_on_one_listener_spreads_over_all_workers() {
        let loads = Loads::new(4);
        let held: Vec<_> = (0..16).map(|_| loads.choose(2, ip("10.0.0.1"))).collect();
        assert_eq!((0..4).map(|worker| loads.of(worker)).collect::<Vec<_>>(), [4, 4, 4, 4]);
        assert_eq!(loads.total(), 16);
        drop(held);
        assert_eq!(loads.total(), 0);
    }

    #[test]
    fn an_address_and_all_together_have_their_bounds() {
        let loads = Loads::new(2);
        let bounds = bounds(3, 4, 2);
        let one = [loads.count(0, ip("10.0.0.1")), loads.count(0, ip("::ffff:10.0.0.1"))];
        assert!(one.iter().all(|counted| counted.fits(&bounds)));
        assert!(!loads.count(1, ip("10.0.0.1")).fits(&bounds), "three from one address");
        let other = loads.count(0, ip("10.0.0.2"));
        assert!(other.fits(&bounds));
        assert!(!loads.count(0, ip("10.0.0.3")).fits(&bounds), "four of one worker");
        let last = loads.count(1, ip("10.0.0.3"));
        assert!(last.fits(&bounds));
        assert!(!loads.count(1, ip("10.0.0.4")).fits(&bounds), "five of all");
        drop(one);
        assert!(loads.count(1, ip("10.0.0.1")).fits(&bounds));
    }

    #[test]
    fn who_stands_behind_a_proxy_counts_for_its_own_address_once_that_is_known() {
        let loads = Loads::new(1);
        let bounds = bounds(9, 9, 1);
        let mut held = [loads.count(0, None), loads.count(0, None)];
        assert!(held.iter().all(|counted| counted.fits(&bounds)), "no address, no bound");
        for counted in &mut held {
            counted.name(ip("192.0.2.7"));
        }
        assert!(held.iter().all(|counted| !counted.fits(&bounds)), "two from one");
        held[0].name(ip("192.0.2.8"));
        assert!(held.iter().all(|counted| counted.fits(&bounds)));
        drop(held);
        assert!(loads.count(0, ip("192.0.2.7")).fits(&bounds));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let loads = Loads::new(1);
        let bounds = bounds(9, 9, 1);
        let _one = loads.count(0, ip("2001:db8::1"));
        assert!(!loads.count(0, ip("2001:db8::ffff:2")).fits(&bounds));
        assert!(loads.count(0, ip("2001:db8:0:1::1")).fits(&bounds));
    }

    #[test]
    fn workers_that_count_at_once_never_pass_the_bound() {
        let loads = Loads::new(4);
        let bounds = bounds(1000, 5, 3);
        let live = AtomicUsize::new(0);
        let visit = |worker| {
            let counted = loads.count(worker, ip("192.0.2.7"));
            if counted.fits(&bounds) {
                assert!(live.fetch_add(1, Ordering::SeqCst) < 3);
                live.fetch_sub(1, Ordering::SeqCst);
            }
        };
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let visit = &visit;
                scope.spawn(move || (0..2000).for_each(|_| visit(worker)));
            }
        });
        assert_eq!(loads.total(), 0);
    }
}
