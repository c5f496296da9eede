//! From a checked configuration to running threads, and back to an exit code.

use crate::admin;
use crate::audit::file::Archive;
use crate::base::clock::Clock;
use crate::base::endpoint::Endpoint;
use crate::base::random::Random;
use crate::cli::print;
use crate::config::model::{self, Config};
use crate::coordinator::addresses::{Resolve, look_up};
use crate::coordinator::archive;
use crate::coordinator::control::Reread;
use crate::coordinator::run::{Inbox, Setup, run};
use crate::gateway::plan::Plan;
use crate::mcp::session::Seal;
use crate::wire::dns;
use crate::wire::listen::{Door, Listener, remove};
use crate::wire::runtime;
use crate::worker::start::{self, Setup as WorkerSetup};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::disable_transparent_huge_pages;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

/// What a gateway that could not begin exits with (`sysexits.h`).
const UNAVAILABLE: u8 = 69;

/// Why the gateway could not begin, or ended.
#[derive(Debug)]
pub enum ServeFault {
    /// An address cannot be listened on, or a thread not started.
    Begin(String),
    /// Something failed while it served; it was said when it happened.
    Ended,
}

/// Says why the gateway ended, if not by request. 69 (`EX_UNAVAILABLE`): it could not begin.
pub fn exit_code(ended: Result<(), ServeFault>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(ServeFault::Begin(why)) => {
            print::err(&format!("error: {why}\n"));
            ExitCode::from(UNAVAILABLE)
        }
        Err(ServeFault::Ended) => ExitCode::FAILURE,
    }
}

/// A panic is said by its place alone: its message may hold what must not be printed.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        print::note(&format!("a panic at {place}; this is a fault of ours, please report it"));
    }));
}

/// Serves until the process is told to end.
pub fn serve(config: Config, reread: Reread) -> Result<(), ServeFault> {
    quiet_panics();
    raise_file_limit();
    refuse_huge_pages();
    let clock = Clock::machine();
    let begin =
        |what: &str, error: &dyn std::fmt::Display| ServeFault::Begin(format!("{what}: {error}"));
    let key = Random::default().bytes().map_err(|error| begin("sessions", &error))?;
    let seal = Arc::new(Seal::new(key));
    let plan = Plan::compile(config, seal, None).map_err(|error| begin("configuration", &error))?;
    let plan = Arc::new(plan);
    let log = Archive::open(&plan.config.audit, clock.clone())
        .map_err(|error| begin("audit log", &error))?;
    let (link, archive) = archive::start(log).map_err(|error| begin("audit log", &error))?;
    let resolve: Resolve = Arc::new(dns::resolve);
    let addresses = Arc::new(look_up(&plan.config, None, &resolve));
    let setup = Setup {
        clock: clock.clone(),
        plan: Arc::clone(&plan),
        addresses: Arc::clone(&addresses),
        archive: link,
        reread,
        resolve,
        say: Box::new(print::note),
    };
    let (listen, reserved) = reserve(&plan.config).map_err(|error| begin("listen", &error))?;
    let opened: Vec<Endpoint> = listen.iter().map(|door| door.endpoint().clone()).collect();
    let admin = Listener::bind(plan.config.admin).map_err(|error| begin("admin", &error))?;
    announce(&opened, &admin);
    // Workers listen on the same addresses; nothing may wait on a socket that nobody reads.
    drop(reserved);
    let start = |inbox: Inbox| {
        let setup = WorkerSetup {
            clock,
            plan,
            addresses,
            listen,
            driver: None,
            notes: inbox.notes,
            batches: inbox.batches,
        };
        Ok(start::start(&setup)?.orders)
    };
    let ran = runtime::run(None, |_driver| {
        run(setup, start, |control| admin::serve::serve(control, admin))
    });
    let is_well = ran.and_then(|ended| ended).map_err(|error| begin("control", &error))?;
    opened.iter().for_each(remove);
    let wrote = archive.join().is_ok();
    if is_well && wrote { Ok(()) } else { Err(ServeFault::Ended) }
}

/// Doors, and what holds their ports.
type Reserved = (Vec<Door>, Vec<Option<Listener>>);

/// Binds each address once, so that one that is taken is said before anything starts, and a port
/// that the system chooses is the same for all workers.
fn reserve(config: &Config) -> io::Result<Reserved> {
    let open = |listener: &model::Listener| {
        Door::open(&listener.address, listener.mode)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", listener.address)))
    };
    config.listeners.iter().map(open).collect()
}

fn announce(listen: &[Endpoint], admin: &Listener) {
    for address in listen {
        print::note(&format!("listening on {address}"));
    }
    print::note(&format!("admin on {}", admin.local()));
}

/// The allocator asks for pages of two megabytes, of which a buffer that grows by kilobytes makes
/// all resident. With small ones the process holds what it uses.
fn refuse_huge_pages() {
    // Where a kernel has none of them there is nothing to refuse.
    disable_transparent_huge_pages(true).unwrap_or_default();
}

/// Every connection is a file: takes what the system grants at most.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_err() {
        print::note("the limit of open files stays as it is");
    }
}
