//! The control thread's loop, from the first worker to the last record.

use crate::base::clock::Clock;
use crate::coordinator::addresses::look_up;
use crate::coordinator::archive::Link;
use crate::coordinator::control::{Control, Phase, Reread, Say, WorkerState};
use crate::coordinator::deploy;
use crate::coordinator::memory::Memory;
use crate::coordinator::signals::{self, Signalled};
use crate::gateway::mail::{BATCHES_MAX, Batch, Mailbox, NOTES_MAX, Note, Order};
use crate::gateway::plan::Plan;
use crate::wire::bell::{Bell, bell};
use crate::wire::dns::AddressBook;
use crate::wire::runtime::{Driver, sleep, spawn};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How often the ledger is rolled and the process looked after.
const TICK: Duration = Duration::from_millis(100);
/// How often names are looked up again.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);
/// How long workers have to begin.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long exchanges have to end after they were cut.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// What the control thread begins with.
pub struct Setup {
    /// Time.
    pub clock: Clock,
    /// The plan to begin with.
    pub plan: Arc<Plan>,
    /// Where its targets are.
    pub addresses: Arc<AddressBook>,
    /// The audit log, open.
    pub archive: Link,
    /// Reads the configuration anew.
    pub reread: Reread,
    /// Shows an operator a line.
    pub say: Say,
}

impl fmt::Debug for Setup {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Setup").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// The mailboxes of the control thread, for those who write to it.
#[derive(Clone, Debug)]
pub struct Inbox {
    /// For notes.
    pub notes: Mailbox<Note>,
    /// For records.
    pub batches: Mailbox<Batch>,
}

/// Runs the control thread on this thread until the process may end. False: it ended by a failure.
///
/// `start` starts the workers and gives their mailboxes; `admin` is begun beside the loop.
pub async fn run<A: Future<Output = ()> + 'static>(
    setup: Setup,
    start: impl FnOnce(Inbox) -> io::Result<Vec<Mailbox<Order>>>,
    admin: impl FnOnce(Rc<Control>) -> A,
) -> io::Result<bool> {
    let (ringer, bell) = bell()?;
    let signalled = signals::listen(ringer.clone())?;
    let inbox = Inbox {
        notes: Mailbox::new(NOTES_MAX, ringer.clone()),
        batches: Mailbox::new(BATCHES_MAX, ringer),
    };
    let workers = start(inbox.clone())?;
    let workers = workers.into_iter().map(|orders| WorkerState {
        orders,
        driver: None,
        is_drained: false,
        meters: None,
        reports: 0,
    });
    let control = Rc::new(Control {
        clock: setup.clock,
        phase: Cell::new(Phase::Starting),
        plan: RefCell::new(setup.plan),
        addresses: RefCell::new(setup.addresses),
        deploy: RefCell::new(None),
        is_building: Cell::new(false),
        reload_again: Cell::new(false),
        last_reload_ok: Cell::new(true),
        archive: Arc::clone(&setup.archive.state),
        notes: inbox.notes,
        batches: inbox.batches,
        failed: Cell::new(false),
        workers: RefCell::new(workers.collect()),
        reread: setup.reread,
        say: setup.say,
    });
    let link = setup.archive;
    spawn(hear(Rc::clone(&control), link.clone(), signalled, bell), || {});
    let admin = admin(Rc::clone(&control));
    spawn(admin, || {});
    watch_over(&control, &link).await;
    finish(&control, &link).await;
    Ok(!control.failed.get())
}

/// Reads mail and signals as they come.
async fn hear(control: Rc<Control>, link: Link, signalled: Arc<Signalled>, mut bell: Bell) {
    while bell.heard().await.is_ok() {
        while let Some(note) = control.notes.take() {
            act(&control, note);
        }
        forward(&control, &link);
        // In this order: one that comes before all workers serve is kept until they do.
        if control.phase.get() == Phase::Ready && signalled.take_reload() {
            deploy::begin(&control);
        }
        match signalled.ends() {
            0 => {}
            1 => drain(&control),
            _ => stop(&control),
        }
    }
}

/// Hands records to the archive; what it does not take waits in the queue, and the workers behind
/// it notice.
fn forward(control: &Control, link: &Link) {
    while link.has_room()
        && let Some(batch) = control.batches.take()
    {
        // Only this thread offers, so there is room still; an archive that died is the one reason
        // left, and then the process must not go on as if it recorded.
        if link.offer(batch).is_err() {
            control.say("the archive thread is gone; the process drains and ends");
            control.failed.set(true);
            drain(control);
            return;
        }
    }
}

fn act(control: &Control, note: Note) {
    match note {
        Note::Addresses(generation, book) => {
            if control.plan.borrow().generation == generation {
                control.addresses.replace(Arc::clone(&book));
                drop(control.order_all(|| Order::Addresses(generation, Arc::clone(&book))));
            }
        }
        Note::Broken(worker, what) => {
            control.say(&format!("worker {worker}: {what} failed; the process drains and ends"));
            control.failed.set(true);
            drain(control);
        }
        Note::Built(built) => deploy::built(control, built),
        Note::Drained(worker) => {
            if let Some(state) = control.workers.borrow_mut().get_mut(worker) {
                state.is_drained = true;
            }
        }
        Note::Log(line) => control.say(&line),
        Note::Meters(worker, meters) => {
            if let Some(state) = control.workers.borrow_mut().get_mut(worker) {
                state.meters = Some(meters);
                state.reports += 1;
            }
        }
        Note::Prepared(worker, generation, answer) => {
            deploy::prepared(control, worker, generation, answer);
        }
        Note::Started(worker, Ok(driver)) => started(control, worker, driver),
        Note::Started(worker, Err(why)) => {
            control.say(&format!("worker {worker}: {why}"));
            control.failed.set(true);
            drain(control);
        }
    }
}

fn started(control: &Control, worker: usize, driver: Driver) {
    let mut workers = control.workers.borrow_mut();
    if let Some(state) = workers.get_mut(worker) {
        state.driver = Some(driver);
    }
    if driver == Driver::Epoll && worker == 0 {
        control.say("io_uring is not allowed here: serving over epoll, with more system calls");
    }
    let all = workers.iter().all(|state| state.driver.is_some());
    if all && control.phase.get() == Phase::Starting {
        control.phase.set(Phase::Ready);
        control.say("ready");
    }
}

/// Rolls the ledger and looks after the process until it has drained, or must not wait for it.
async fn watch_over(control: &Rc<Control>, link: &Link) {
    let began = control.clock.mono();
    let mut looked_up = began;
    let mut since = began;
    let mut phase = Phase::Starting;
    let memory = Memory::open();
    loop {
        let now = control.clock.mono();
        control.plan.borrow().ledger.roll(now);
        let changed = memory.look(&control.plan.borrow());
        if let Some(line) = changed {
            control.say(&line);
        }
        forward(control, link);
        if control.phase.get() != phase {
            phase = control.phase.get();
            since = now;
        }
        let spent = now.since(since);
        match phase {
            Phase::Starting if spent > START_PATIENCE => {
                control.say("not all workers began in time");
                control.failed.set(true);
                return;
            }
            Phase::Starting => {}
            Phase::Ready => {
                deploy::give_up(control, now);
                if now.since(looked_up) >= LOOK_UP_EVERY {
                    looked_up = now;
                    look_up_again(control);
                }
            }
            Phase::Draining if is_drained(control) => return,
            Phase::Draining => {
                if spent >= control.plan.borrow().config.process.drain {
                    control.say("the drain took too long: live exchanges are cut");
                    stop(control);
                }
            }
            Phase::Stopping if is_drained(control) || spent > STOP_PATIENCE => return,
            Phase::Stopping => {}
            Phase::Ended => return,
        }
        sleep(TICK).await;
    }
}

fn look_up_again(control: &Control) {
    let plan = Arc::clone(&control.plan.borrow());
    let book = Arc::clone(&control.addresses.borrow());
    let notes = control.notes.clone();
    let looking = std::thread::Builder::new().name("dns".into()).spawn(move || {
        let next = look_up(&plan.config, Some(&book));
        if next != *book {
            // Were it lost, the next look would find the same.
            drop(notes.post(Note::Addresses(plan.generation, Arc::new(next))));
        }
    });
    if looking.is_err() {
        control.say("no thread to look up names on; the addresses stay");
    }
}

fn drain(control: &Control) {
    if control.phase.get() >= Phase::Draining {
        return;
    }
    control.phase.set(Phase::Draining);
    control.say("draining: no new work, live exchanges end");
    drop(control.order_all(|| Order::Drain));
}

fn stop(control: &Control) {
    if control.phase.get() >= Phase::Stopping {
        return;
    }
    drain(control);
    control.phase.set(Phase::Stopping);
    drop(control.order_all(|| Order::Stop));
}

fn is_drained(control: &Control) -> bool {
    // A worker that never began has nothing to drain.
    control.workers.borrow().iter().all(|state| state.is_drained || state.driver.is_none())
}

/// Writes the last records and ends the archive.
async fn finish(control: &Control, link: &Link) {
    control.phase.set(Phase::Ended);
    let began = control.clock.mono();
    while control.batches.depth() > 0 && control.clock.mono().since(began) < STOP_PATIENCE {
        forward(control, link);
        sleep(Duration::from_millis(1)).await;
    }
    if !link.end() {
        control.say("the audit log cannot be written; records are lost");
        control.failed.set(true);
    }
    control.say("ended");
}
