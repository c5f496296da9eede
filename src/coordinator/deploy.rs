//! A new configuration, in two phases: *prepared* on every worker, then *committed* on all, or
//! aborted on all. The last good one stays until then.

use crate::base::clock::Mono;
use crate::config::model::{Config, Listener};
use crate::coordinator::addresses::{Resolve, look_up};
use crate::coordinator::control::{Control, Phase};
use crate::coordinator::names;
use crate::gateway::mail::{Built, Note, Order};
use crate::gateway::plan::Plan;
use crate::wire::dns::AddressBook;
use std::sync::Arc;
use std::time::Duration;

/// A plan that workers are preparing.
#[derive(Debug)]
pub struct Deploy {
    plan: Arc<Plan>,
    addresses: Arc<AddressBook>,
    waiting: Vec<usize>,
    began: Mono,
}

/// How long workers have to prepare a plan.
const PREPARE_PATIENCE: Duration = Duration::from_secs(30);

/// Begins a reload: reads and compiles on a thread of its own, which ends with a note.
pub fn begin(control: &Control) {
    if control.is_building.get() || control.deploy.borrow().is_some() {
        control.reload_again.set(true);
        control.say("reload: one is under way already; the file is read again after it");
        return;
    }
    let reread = Arc::clone(&control.reread);
    let before = Arc::clone(&control.plan.borrow());
    let book = Arc::clone(&control.addresses.borrow());
    let notes = control.notes.clone();
    let resolve = Arc::clone(&control.resolve);
    let built = std::thread::Builder::new().name("deploy".into()).spawn(move || {
        let built = reread().and_then(|config| compile(config, &before, &book, &resolve));
        // Were the note lost, the next reload would be refused and say why.
        drop(notes.post(Note::Built(built)));
    });
    control.is_building.set(built.is_ok());
    if let Err(error) = built {
        fail(control, &format!("no thread to compile on: {error}"));
    }
}

fn compile(
    config: Config,
    before: &Plan,
    book: &AddressBook,
    resolve: &Resolve,
) -> Result<Built, String> {
    check_fixed(&config, &before.config)?;
    // Addresses are by index, which another configuration may use for another host.
    let known: AddressBook = config
        .targets
        .iter()
        .map(|target| {
            let same = before
                .config
                .targets
                .iter()
                .position(|old| old.host == target.host && old.port == target.port)
                .filter(|_| target.socket.is_none());
            same.and_then(|index| book.get(index)).map_or_else(|| Arc::from([]), Arc::clone)
        })
        .collect();
    let addresses = look_up(&config, Some(&known), resolve);
    let seal = Arc::clone(&before.seal);
    let plan = Plan::compile(config, seal, Some(before)).map_err(|fault| fault.to_string())?;
    Ok((Arc::new(plan), Arc::new(addresses)))
}

/// What a running process cannot change is refused, and not silently left as it was.
fn check_fixed(next: &Config, now: &Config) -> Result<(), String> {
    let listens = |config: &Config| -> Vec<_> {
        // Whether a listener has TLS is no slip of the hand either: clients would notice late.
        let fixed = |listener: &Listener| {
            let speaks = (listener.tls.is_some(), listener.proxy.is_some());
            (listener.address.clone(), listener.mode, speaks)
        };
        config.listeners.iter().map(fixed).collect()
    };
    let fixed = [
        ("the listeners", listens(next) != listens(now)),
        ("the admin address", next.admin != now.admin),
        ("the number of workers", next.process.workers != now.process.workers),
        ("the audit folder", next.audit.folder != now.audit.folder),
    ];
    match fixed.iter().find(|(_, changed)| *changed) {
        Some((what, _)) => Err(format!("{what} changed, which needs a restart")),
        None => Ok(()),
    }
}

/// A configuration was compiled, or not: phase one begins.
pub fn built(control: &Control, built: Result<Built, String>) {
    control.is_building.set(false);
    let (plan, addresses) = match built {
        Ok(built) => built,
        Err(why) => return fail(control, &why),
    };
    let waiting: Vec<usize> = (0..control.worker_count()).collect();
    let left_out = control.order_all(|| Order::Prepare(Arc::clone(&plan), Arc::clone(&addresses)));
    let generation = plan.generation;
    control.deploy.replace(Some(Deploy { plan, addresses, waiting, began: control.clock.mono() }));
    if let Some(worker) = left_out.first() {
        abort(control, generation, &format!("worker {worker} has too many orders waiting"));
    }
}

/// A worker is prepared, or cannot be: when all are, phase two.
pub fn prepared(control: &Control, worker: usize, generation: u64, answer: Result<(), String>) {
    let mut deploy = control.deploy.borrow_mut();
    let Some(current) = deploy.as_mut().filter(|deploy| deploy.plan.generation == generation)
    else {
        return;
    };
    if let Err(why) = answer {
        drop(deploy);
        return abort(control, generation, &format!("worker {worker}: {why}"));
    }
    current.waiting.retain(|waiting| *waiting != worker);
    if !current.waiting.is_empty() {
        return;
    }
    let Some(done) = deploy.take() else { return };
    drop(deploy);
    // Mailboxes hold thousands and were just read: a full one here is a worker that hangs.
    let left_out = control.order_all(|| Order::Commit(generation));
    control.plan.replace(done.plan);
    control.addresses.replace(done.addresses);
    names::begin_with(control);
    control.last_reload_ok.set(left_out.is_empty());
    control.say(&format!("reload: configuration {generation} serves"));
    again(control);
}

/// A deploy that some worker never answered for must not hold all later ones up.
pub fn give_up(control: &Control, now: Mono) {
    let late = control.deploy.borrow().as_ref().and_then(|deploy| {
        let is_late = now.since(deploy.began) > PREPARE_PATIENCE;
        deploy.waiting.first().filter(|_| is_late).map(|worker| (deploy.plan.generation, *worker))
    });
    if let Some((generation, worker)) = late {
        abort(control, generation, &format!("worker {worker} did not prepare in time"));
    }
}

/// What was asked for while a deploy was under way: the file may have changed since it was read.
fn again(control: &Control) {
    if control.reload_again.take() && control.phase.get() == Phase::Ready {
        begin(control);
    }
}

fn abort(control: &Control, generation: u64, why: &str) {
    drop(control.deploy.take());
    drop(control.order_all(|| Order::Abort(generation)));
    fail(control, why);
}

fn fail(control: &Control, why: &str) {
    control.last_reload_ok.set(false);
    control.say(&format!("reload: refused, the last good configuration stays: {why}"));
    again(control);
}
