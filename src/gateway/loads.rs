//! How many client connections each worker holds, for handing new ones to the least loaded.

use crossbeam::utils::CachePadded;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The counts of all workers; shared.
#[derive(Clone, Debug)]
pub struct Loads(Arc<[CachePadded<AtomicUsize>]>);

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub struct Counted {
    loads: Loads,
    worker: usize,
}

impl Loads {
    /// For that many workers.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| CachePadded::default()).collect())
    }

    /// Who should take a connection that `worker` accepted: itself, unless another holds fewer.
    /// It is counted there at once, so that a burst spreads.
    pub fn choose(&self, worker: usize) -> Counted {
        let own = self.of(worker);
        let mut best = (own, worker);
        for (other, load) in self.0.iter().enumerate() {
            let load = load.load(Ordering::Relaxed);
            if load < best.0 {
                best = (load, other);
            }
        }
        self.count(best.1)
    }

    /// Counts a connection of that worker.
    pub fn count(&self, worker: usize) -> Counted {
        if let Some(load) = self.0.get(worker) {
            load.fetch_add(1, Ordering::Relaxed);
        }
        Counted { loads: self.clone(), worker }
    }

    /// How many that worker holds.
    pub fn of(&self, worker: usize) -> usize {
        self.0.get(worker).map_or(0, |load| load.load(Ordering::Relaxed))
    }
}

impl Counted {
    /// Whose it is.
    pub fn worker(&self) -> usize {
        self.worker
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(load) = self.loads.0.get(self.worker) {
            load.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Loads;

    #[test]
    fn a_burst_on_one_listener_spreads_over_all_workers() {
        let loads = Loads::new(4);
        let held: Vec<_> = (0..16).map(|_| loads.choose(2)).collect();
        assert_eq!((0..4).map(|worker| loads.of(worker)).collect::<Vec<_>>(), [4, 4, 4, 4]);
        drop(held);
        assert_eq!(loads.of(2), 0);
    }
}
