//! Accepts connections and gives each to the least loaded worker.

use crate::gateway::loads::{Counted, Loads};
use crate::gateway::mail::{Accepted, Mailbox, Order};
use crate::gateway::shard::Shard;
use crate::wire::listen::Listener;
use crate::wire::runtime::{Either, race, sleep};
use crate::worker::flag::Flag;
use crate::worker::serve;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

/// How long accepting rests when the kernel lacks something, such as file descriptors.
const SHORTAGE_REST: Duration = Duration::from_millis(50);

/// How long the runtime has to let go of a listening socket that nobody waits on any more.
const FORGET: Duration = Duration::from_millis(5);

/// What accepting and serving need besides the shard.
#[derive(Debug)]
pub struct Floor {
    /// The worker's things.
    pub shard: Rc<Shard>,
    /// Connections of all workers.
    pub loads: Loads,
    /// The mailboxes of all workers.
    pub peers: Vec<Mailbox<Order>>,
    /// Raised when the worker drains.
    pub drain: Flag,
}

/// Accepts on one listener until the worker drains; then takes what the kernel accepted already.
pub async fn accept(floor: Rc<Floor>, mut listener: Listener, which: usize) {
    loop {
        let next = race(listener.accept(), floor.drain.wait()).await;
        match next {
            Either::First(Ok((stream, peer))) => {
                place(&floor, Accepted { stream, peer, listener: which });
            }
            Either::First(Err(_shortage)) => {
                // An idle connection to an upstream is worth less than a client that waits.
                floor.shard.deployed().pool.borrow_mut().shed();
                sleep(SHORTAGE_REST).await;
            }
            Either::Second(()) => break,
        }
    }
    listener.end_waiting();
    sleep(FORGET).await;
    // Closing a listening socket resets what waits in its backlog: serve that first.
    while let Some((stream, peer)) = listener.accept_now() {
        let accepted = Accepted { stream, peer, listener: which };
        let counted = floor.loads.count(floor.shard.worker, known(&floor, &accepted));
        begin(&floor, accepted, counted);
    }
}

/// The client's address, where it is known already: behind a proxy it is announced later.
fn known(floor: &Floor, accepted: &Accepted) -> Option<IpAddr> {
    let deployed = floor.shard.deployed();
    let listener = deployed.plan.config.listeners.get(accepted.listener);
    let is_proxied = listener.is_some_and(|listener| listener.proxy.is_some());
    if is_proxied { None } else { accepted.peer.map(|peer| peer.ip()) }
}
/// Serves a connection here, or hands it to the worker that holds the fewest.
fn place(floor: &Rc<Floor>, accepted: Accepted) {
    let from = known(floor, &accepted);
    let counted = floor.loads.choose(floor.shard.worker, from);
    let chosen = counted.worker();
    if chosen == floor.shard.worker {
        begin(floor, accepted, counted);
        return;
    }
    let posted = match floor.peers.get(chosen) {
        Some(peer) => peer.post(Order::Connection(accepted, counted)),
        None => Err(Order::Connection(accepted, counted)),
    };
    // A full mailbox: this worker is less busy than that one after all.
    if let Err(Order::Connection(accepted, _elsewhere)) = posted {
        let counted = floor.loads.count(floor.shard.worker, from);
        begin(floor, accepted, counted);
    }
}

/// Begins to serve a connection on this worker, unless there are as many as there may be.
pub fn begin(floor: &Rc<Floor>, accepted: Accepted, counted: Counted) {
    if !counted.fits(&floor.shard.deployed().plan.config.bounds) {
        floor.shard.meters.borrow_mut().counts().turned_away += 1;
        return;
    }
    floor.shard.meters.borrow_mut().counts().accepted += 1;
    serve::start(Rc::clone(floor), accepted, counted);
}
