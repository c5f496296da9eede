//! Starts a worker thread: pinned, with a loop of its own.

use crate::base::clock::Clock;
use crate::config::model::{Pinning, Process};
use crate::gateway::loads::Loads;
use crate::gateway::mail::{Batch, Mailbox, Note, ORDERS_MAX, Order};
use crate::gateway::plan::Plan;
use crate::gateway::shard::{Deployed, Shard};
use crate::wire::bell::{Bell, bell};
use crate::wire::dns::AddressBook;
use crate::wire::listen::Door;
use crate::wire::runtime::{Driver, run, spawn};
use crate::wire::watch::Watch;
use crate::worker::accept::{Floor, accept};
use crate::worker::flag::Flag;
use crate::worker::orders;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

/// What every worker begins with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Time.
    pub clock: Clock,
    /// The plan to begin with.
    pub plan: Arc<Plan>,
    /// Where its targets are.
    pub addresses: Arc<AddressBook>,
    /// Where to listen: one for each listener of the configuration.
    pub listen: Vec<Door>,
    /// `None`: whatever the kernel allows.
    pub driver: Option<Driver>,
    /// To the control thread.
    pub notes: Mailbox<Note>,
    /// To the control thread, for the archive.
    pub batches: Mailbox<Batch>,
}

/// The threads of all workers, and the way to reach them.
#[derive(Debug)]
pub struct Workers {
    /// Their mailboxes, by worker.
    pub orders: Vec<Mailbox<Order>>,
    /// Their threads, by worker. They run until the process ends.
    pub threads: Vec<JoinHandle<()>>,
}

/// Starts all workers of the plan. Each reports `Note::Started`.
pub fn start(setup: &Setup) -> io::Result<Workers> {
    let count = setup.plan.config.process.workers;
    let loads = Loads::new(count);
    let mut threads = Vec::with_capacity(count);
    let mut orders = Vec::with_capacity(count);
    let mut introductions = Vec::with_capacity(count);
    for worker in 0..count {
        // A bell can only be made on its own thread; it sends its ringer back, and then hears of
        // all the others.
        let (made, ready) = mpsc::sync_channel(1);
        let (introduce, peers) = mpsc::sync_channel(1);
        let (setup, loads) = (setup.clone(), loads.clone());
        threads.push(thread(worker, move || {
            let (ringer, bell) = match bell() {
                Ok(pair) => pair,
                Err(error) => return report_failure(&setup, worker, &error),
            };
            let own = Mailbox::new(ORDERS_MAX, ringer);
            if made.send(own.clone()).is_err() {
                return;
            }
            let Ok(peers) = peers.recv() else { return };
            begin(Newcomer { worker, setup, loads, peers, orders: own, bell });
        })?);
        let own = ready.recv().map_err(|_ended| io::Error::other("a worker ended at its start"))?;
        orders.push(own);
        introductions.push(introduce);
    }
    for introduce in introductions {
        // A worker that ended meanwhile says so by its note.
        drop(introduce.send(orders.clone()));
    }
    Ok(Workers { orders, threads })
}

fn thread(worker: usize, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("worker-{worker}")).spawn(body)
}

fn report_failure(setup: &Setup, worker: usize, error: &io::Error) {
    // Were the note lost, the control thread would give up waiting for this worker.
    drop(setup.notes.post(Note::Started(worker, Err(error.to_string()))));
}

/// A worker that knows its own things and the others.
struct Newcomer {
    worker: usize,
    setup: Setup,
    loads: Loads,
    peers: Vec<Mailbox<Order>>,
    orders: Mailbox<Order>,
    bell: Bell,
}

fn begin(newcomer: Newcomer) {
    let worker = newcomer.worker;
    if let Some(cpu) = cpu_of(worker, &newcomer.setup.plan.config.process) {
        pin(&newcomer.setup, worker, cpu);
    }
    let notes = newcomer.setup.notes.clone();
    let failure = match run(newcomer.setup.driver, |driver| live(newcomer, driver)) {
        Ok(Ok(())) => return,
        Ok(Err(failure)) => failure,
        Err(error) => error.to_string(),
    };
    drop(notes.post(Note::Started(worker, Err(failure))));
}

/// The CPU for a worker, of those that this process may use; none where there are too few.
fn cpu_of(worker: usize, process: &Process) -> Option<usize> {
    let allowed = sched_getaffinity(None).ok()?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    choose_cpu(worker, process, &cpus)
}

fn choose_cpu(worker: usize, process: &Process, cpus: &[usize]) -> Option<usize> {
    match process.pinning {
        Pinning::Off => None,
        Pinning::From(first) => Some(first + worker).filter(|cpu| cpus.contains(cpu)),
        Pinning::Last => {
            let spare = cpus.len().checked_sub(process.workers)?;
            cpus.get(spare + worker).copied()
        }
    }
}

fn pin(setup: &Setup, worker: usize, cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    if let Err(error) = sched_setaffinity(None, &set) {
        let what = format!("worker {worker}: cannot be pinned to CPU {cpu}: {error}");
        drop(setup.notes.post(Note::Log(what)));
    }
}

async fn live(newcomer: Newcomer, driver: Driver) -> Result<(), String> {
    let Newcomer { worker, setup, loads, peers, orders, bell } = newcomer;
    let deployed = Deployed::build(setup.plan, setup.addresses).map_err(|e| e.to_string())?;
    let watch = Watch::new(setup.clock.clone());
    let notes = setup.notes.clone();
    let shard = Shard::new(worker, setup.clock, watch, deployed, setup.notes, setup.batches);
    let floor = Rc::new(Floor { shard: Rc::new(shard), loads, peers, drain: Flag::default() });
    // Doors are let go of here: a Unix socket must close when the last worker stops accepting.
    for (which, door) in setup.listen.into_iter().enumerate() {
        let listener = door
            .listen()
            .map_err(|error| format!("cannot listen on {}: {error}", door.endpoint()))?;
        let broken = notes.clone();
        spawn(accept(Rc::clone(&floor), listener, which), move || {
            drop(broken.post(Note::Broken(worker, "accepting connections")));
        });
    }
    let broken = notes.clone();
    spawn(orders::tick(Rc::clone(&floor)), move || {
        drop(broken.post(Note::Broken(worker, "keeping time")));
    });
    drop(notes.post(Note::Started(worker, Ok(driver))));
    orders::obey(floor, orders, bell).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::choose_cpu;
    use crate::config::model::{Pinning, Process};
    use std::time::Duration;

    #[test]
    fn workers_take_the_last_cpus_or_those_that_were_named() {
        let with = |workers, pinning| Process { workers, pinning, drain: Duration::ZERO };
        let cpus = [0, 2, 4, 6];
        let chosen = |process: &Process| {
            (0..process.workers)
                .map(|worker| choose_cpu(worker, process, &cpus))
                .collect::<Vec<_>>()
        };
        assert_eq!(chosen(&with(3, Pinning::Last)), [Some(2), Some(4), Some(6)]);
        assert_eq!(chosen(&with(5, Pinning::Last)), [None; 5]);
        assert_eq!(chosen(&with(3, Pinning::From(2))), [Some(2), None, Some(4)]);
        assert_eq!(chosen(&with(2, Pinning::Off)), [None, None]);
    }
}
