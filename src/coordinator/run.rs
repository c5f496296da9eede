//! The control thread's loop, from the first worker to the last record.

use crate::base::clock::Clock;
use crate::coordinator::addresses::{Resolve, look_up};
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
use std::sync::atomic::Ordering;
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
    /// Looks names up.
    pub resolve: Resolve,
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
        is_looking: Arc::default(),
        reread: setup.reread,
        resolve: setup.resolve,
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
    let resolve = Arc::clone(&control.resolve);
    if control.is_looking.swap(true, Ordering::AcqRel) {
        control.say("names: the look before this one still waits; the addresses stay");
        return;
    }
    let is_looking = Arc::clone(&control.is_looking);
    let looking = std::thread::Builder::new().name("dns".into()).spawn(move || {
        let next = look_up(&plan.config, Some(&book), &resolve);
        is_looking.store(false, Ordering::Release);
        if next != *book {
            // Were it lost, the next look would find the same.
            drop(notes.post(Note::Addresses(plan.generation, Arc::new(next))));
        }
    });
    if looking.is_err() {
        control.is_looking.store(false, Ordering::Release);
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

#[cfg(test)]
mod tests {
    use super::{Control, LOOK_UP_EVERY, Setup, run};
    use crate::audit::file::Archive;
    use crate::base::clock::Clock;
    use crate::cli::demo::quickstart;
    use crate::coordinator::addresses::Resolve;
    use crate::coordinator::archive;
    use crate::gateway::mail::{Mailbox, Note, ORDERS_MAX, Order};
    use crate::gateway::plan::Plan;
    use crate::mcp::session::Seal;
    use crate::wire::bell::bell;
    use crate::wire::runtime::{self, Driver, sleep};
    use crossbeam::channel::{Sender, unbounded};
    use std::io;
    use std::net::SocketAddr;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// What the resolver is told to answer, when it is told.
    type Answer = io::Result<Vec<SocketAddr>>;

    /// A resolver that hangs until a test speaks for it, and counts how often it was asked.
    type Puppet = (Resolve, Sender<Answer>, Arc<AtomicUsize>);

    fn puppet() -> Puppet {
        let (speak, hear) = unbounded::<Answer>();
        let asked = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&asked);
        let resolve: Resolve = Arc::new(move |_, _| {
            count.fetch_add(1, Ordering::AcqRel);
            hear.recv().unwrap()
        });
        (resolve, speak, asked)
    }

    async fn until(mut is_so: impl FnMut() -> bool) {
        for _ in 0..5000 {
            if is_so() {
                return;
            }
            sleep(Duration::from_millis(2)).await;
        }
        panic!("it does not come to that");
    }

    /// The addresses that the worker is given next.
    fn given(orders: &Mailbox<Order>) -> Option<Vec<SocketAddr>> {
        while let Some(order) = orders.take() {
            if let Order::Addresses(_, book) = order {
                return Some(book.iter().flat_map(|known| known.to_vec()).collect());
            }
        }
        None
    }

    #[test]
    fn a_resolver_that_hangs_fails_or_changes_its_mind_holds_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = quickstart(&[]).unwrap_or_else(|faults| panic!("{:?}", faults.list));
        config.audit.folder = folder.path().join("audit");
        let targets = config.targets.len();
        let clock = Clock::simulated();
        let log = Archive::open(&config.audit, clock.clone()).unwrap();
        let (link, thread) = archive::start(log).unwrap();
        let plan = Arc::new(Plan::compile(config, Arc::new(Seal::new([7; 32])), None).unwrap());
        let (resolve, speak, asked) = puppet();
        let setup = Setup {
            clock: clock.clone(),
            plan,
            addresses: Arc::new(vec![Arc::from([]); targets]),
            archive: link,
            reread: Arc::new(|| Err("not here".into())),
            resolve,
            say: Box::new(|_| {}),
        };
        let (ringer, _bell) = bell().unwrap();
        let orders = Mailbox::new(ORDERS_MAX, ringer);
        let workers = vec![orders.clone()];
        let play = async move |control: Rc<Control>| {
            let address = |port| SocketAddr::from(([10, 0, 0, 1], port));
            control.notes.post(Note::Started(0, Ok(Driver::Epoll))).unwrap();
            // It hangs: the control thread rolls on, and asks nobody else meanwhile.
            clock.advance(LOOK_UP_EVERY);
            until(|| asked.load(Ordering::Acquire) == 1).await;
            for _ in 0..3 {
                clock.advance(LOOK_UP_EVERY);
                control.notes.post(Note::Log("still here".into())).unwrap();
                until(|| control.notes.depth() == 0).await;
                sleep(super::TICK * 2).await;
            }
            assert_eq!(asked.load(Ordering::Acquire), 1, "threads pile up behind a resolver");
            assert_eq!(given(&orders), None);
            // It answers after all: workers are told.
            (0..targets).for_each(|_| speak.send(Ok(vec![address(1)])).unwrap());
            let mut found = None;
            until(|| {
                found = found.take().or_else(|| given(&orders));
                found.is_some()
            })
            .await;
            assert_eq!(found.unwrap(), vec![address(1); targets]);
            // It fails, or finds nothing: what was known stays, and nobody is told anything.
            for answer in [|| Err(io::ErrorKind::NotFound.into()), || Ok(Vec::new())] {
                let answer: fn() -> Answer = answer;
                let before = asked.load(Ordering::Acquire);
                (0..targets).for_each(|_| speak.send(answer()).unwrap());
                clock.advance(LOOK_UP_EVERY);
                until(|| asked.load(Ordering::Acquire) == before + targets).await;
                sleep(super::TICK * 2).await;
                assert_eq!(given(&orders), None);
                assert_eq!(control.addresses.borrow().concat(), vec![address(1); targets]);
            }
            // It changes its mind.
            (0..targets).for_each(|_| speak.send(Ok(vec![address(2)])).unwrap());
            clock.advance(LOOK_UP_EVERY);
            until(|| control.addresses.borrow().concat() == vec![address(2); targets]).await;
            assert_eq!(given(&orders), Some(vec![address(2); targets]));
            control.notes.post(Note::Broken(0, "the test")).unwrap();
            control.notes.post(Note::Drained(0)).unwrap();
        };
        let ran = runtime::run(None, |_| run(setup, |_| Ok(workers), play));
        assert!(!ran.unwrap().unwrap(), "it ends by the failure that the test made up");
        thread.join().unwrap();
    }
}
