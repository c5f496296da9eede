//! What a worker does on orders of the control thread, and by itself as time passes.

use crate::base::numbers::to_u64;
use crate::gateway::mail::{Mailbox, Note, Order};
use crate::gateway::plan::Plan;
use crate::gateway::shard::Deployed;
use crate::wire::bell::Bell;
use crate::wire::dns::AddressBook;
use crate::wire::runtime::{sleep, spawn};
use crate::worker::accept::{Floor, begin};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Deadlines fire at most this late.
const TICK_MAX: Duration = Duration::from_millis(50);
/// How often a draining worker looks whether it is done.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// Hears orders until the worker's loop ends.
pub async fn obey(floor: Rc<Floor>, orders: Mailbox<Order>, mut bell: Bell) {
    let prepared: RefCell<Option<Deployed>> = RefCell::new(None);
    while bell.heard().await.is_ok() {
        while let Some(order) = orders.take() {
            act(&floor, &prepared, order);
        }
    }
}

/// Fires deadlines, hands records on, gives unused slices of limits back, closes connections that
/// idled too long.
#[expect(clippy::infinite_loop, reason = "it ends with the worker's loop")]
pub async fn tick(floor: Rc<Floor>) {
    let shard = &floor.shard;
    loop {
        let window = shard.deployed().plan.config.audit.window;
        sleep(window.clamp(Duration::from_millis(1), TICK_MAX)).await;
        let now = shard.clock.mono();
        shard.watch.tick(now);
        shard.flush();
        let deployed = shard.deployed();
        deployed.limits.borrow_mut().give_back(now);
        deployed.pool.borrow_mut().tidy(now);
    }
}

fn act(floor: &Rc<Floor>, prepared: &RefCell<Option<Deployed>>, order: Order) {
    let shard = &floor.shard;
    match order {
        Order::Connection(accepted, counted) => begin(floor, accepted, counted),
        Order::Prepare(plan, addresses) => prepare(floor, prepared, plan, addresses),
        Order::Commit(generation) => {
            if let Some(next) = prepared.take().filter(|next| next.plan.generation == generation) {
                shard.deploy(next);
            }
        }
        Order::Abort(_generation) => drop(prepared.take()),
        Order::Addresses(generation, book) => {
            let deployed = shard.deployed();
            if deployed.plan.generation == generation {
                deployed.relocate(book);
            }
        }
        Order::Report => report(floor),
        Order::Drain => drain(floor),
        Order::Stop => shard.watch.stop_all(),
    }
}

fn prepare(
    floor: &Floor,
    prepared: &RefCell<Option<Deployed>>,
    plan: Arc<Plan>,
    addresses: Arc<AddressBook>,
) {
    let generation = plan.generation;
    let built = Deployed::build(plan, addresses);
    let answer = match built {
        Ok(next) => {
            prepared.replace(Some(next));
            Ok(())
        }
        Err(fault) => Err(fault.to_string()),
    };
    let note = Note::Prepared(floor.shard.worker, generation, answer);
    // Were it lost, the control thread's patience would end and the deploy be aborted.
    drop(floor.shard.tell(note));
}

fn report(floor: &Floor) {
    let shard = &floor.shard;
    let mut meters = Box::new(shard.meters.borrow().clone());
    let counts = meters.counts();
    counts.connections = to_u64(floor.loads.of(shard.worker));
    counts.streams = to_u64(shard.streams.get());
    counts.records_queued = to_u64(shard.records_waiting());
    drop(shard.tell(Note::Meters(shard.worker, meters)));
}

fn drain(floor: &Rc<Floor>) {
    if floor.drain.is_raised() {
        return;
    }
    floor.shard.draining.set(true);
    floor.drain.raise();
    let floor = Rc::clone(floor);
    let watch = async move {
        let shard = &floor.shard;
        let mut told = false;
        while !told {
            sleep(DRAIN_LOOK).await;
            if floor.loads.of(shard.worker) == 0 && shard.live.get() == 0 {
                shard.flush();
                told =
                    shard.records_waiting() == 0 && shard.tell(Note::Drained(shard.worker)).is_ok();
            }
        }
    };
    spawn(watch, || {});
}
