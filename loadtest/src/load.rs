//! A whole run: connections first, then the clock, then the report.

use crate::drive::{Shared, drive, prepare};
use crate::line::Line;
use crate::mistake::Mistake;
use crate::pace::Pace;
use crate::plan::Plan;
use crate::prompt::Prompts;
use crate::report::Report;
use crate::tally::Tally;
use crate::turnstile::Turnstile;
use hdrhistogram::CreationError;
use ringwall::base::clock::Clock;
use ringwall::base::random::{NoRandom, Random};
use ringwall::wire::runtime::{self, Driver};
use ringwall::wire::watch::Watch;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// How often it is looked whether all connections are through.
const LOOK: Duration = Duration::from_millis(2);

/// Why a run could not begin.
#[derive(Debug)]
pub enum LoadFault {
    /// No room for the histograms.
    Histogram(CreationError),
    /// No random bytes for the nonces.
    Random(NoRandom),
    /// Neither `io_uring` nor epoll could be set up.
    Runtime(io::Error),
}

impl std::fmt::Display for LoadFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Histogram(error) => write!(out, "the histograms cannot be made: {error}"),
            Self::Random(error) => write!(out, "the nonces cannot be made: {error}"),
            Self::Runtime(error) => write!(out, "the event loop cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for LoadFault {}

/// Runs a plan on this thread until its last answer came.
pub fn run(plan: Plan) -> Result<Report, LoadFault> {
    let run = Random::default().bytes::<4>().map_err(LoadFault::Random)?;
    let prompts = Prompts::new(u32::from_le_bytes(run), plan.prompt_bytes, plan.card_every);
    let tally = RefCell::new(Tally::new().map_err(LoadFault::Histogram)?);
    let watch = Watch::new(Clock::machine());
    // Nothing is due before the connections stand.
    let pace = RefCell::new(Pace::new(watch.now(), Duration::ZERO, None, 0));
    let working = Cell::new(plan.connections);
    let line_up = Turnstile::default();
    let shared = Rc::new(Shared { plan, watch, prompts, pace, line_up, tally, working });
    runtime::run(None, |driver| work(shared, driver)).map_err(LoadFault::Runtime)
}

async fn work(shared: Rc<Shared>, driver: Driver) -> Report {
    runtime::spawn(shared.watch.clone().keep(), || {});
    let lines = connect(&shared).await;
    let plan = &shared.plan;
    let start = shared.watch.now();
    shared.pace.replace(Pace::new(start, plan.duration, plan.rate, plan.requests));
    for line in lines {
        let seat = Seat(Rc::clone(&shared));
        let witness = Rc::clone(&shared);
        let task = async move {
            drive(&seat.0, line).await;
            drop(seat);
        };
        let on_panic = move || witness.tally.borrow_mut().mistake(Mistake::Panicked, 1);
        runtime::spawn(task, on_panic);
    }
    while shared.working.get() > 0 {
        runtime::sleep(LOOK).await;
    }
    let mut tally = shared.tally.borrow().clone();
    tally.mistake(Mistake::NotSent, shared.pace.borrow().left_over());
    Report::new(plan, driver, tally.last.since(start), tally)
}

/// All connections, one after the other: many at once would overflow the server's queue. From the
/// first that fails on they are left to the run, where a failure is an error that counts.
async fn connect(shared: &Shared) -> Vec<Option<Line>> {
    let mut lines = Vec::new();
    let mut fine = true;
    for _ in 0..shared.plan.connections {
        let line = if fine { prepare(shared).await.ok() } else { None };
        fine = line.is_some();
        lines.push(line);
    }
    lines
}

/// One connection among those that work; given back when dropped, by a panic too.
struct Seat(Rc<Shared>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.working.set(self.0.working.get().saturating_sub(1));
    }
}
