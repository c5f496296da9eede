//! Gate *Cleared*: hands text to the guard, both ways, and notes what it saw.

use crate::base::ask::Ask;
use crate::base::hit::{Action, Direction, Hit, Mode};
use crate::base::mask::{Stopped, StreamKey, StreamMask};
use crate::base::numbers::to_u64;
use crate::base::splice::Splices;
use crate::base::text::{Channel, Place, Text, Unseen};
use crate::config::profile_model::{OnError, Uncovered};
use crate::gateway::exchange::{Exchange, Seen};
use crate::gateway::refusal::Refusal;
use crate::gateway::shard::Deployed;
use crate::guard::checks::Context;
use crate::guard::inspect::{Blocked, Cleared, Matcher, Spot};
use crate::guard::profile::View;
use crate::guard::restore::{Restorer, restore};
use crate::guard::spotlight;
use crate::guard::stream::{StreamForm, StreamMasker};
use crate::guard::vault::Vault;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

/// Inspects what is asked.
pub fn request(exchange: &mut Exchange, raw: &[u8], text: &Text) -> Result<Cleared, Refusal> {
    let profiles = exchange.deployed.plan.rules.profiles();
    let (caller, ask) = (exchange.caller.as_deref(), exchange.ask.as_ref());
    exchange.views = [Direction::Request, Direction::Response]
        .map(|way| View::new(way, profiles.choose(caller, ask, way)));
    let [view, answer] = exchange.views;
    exchange.context = Context::of(&exchange.deployed.plan.rules, text, answer).map(Rc::new);
    if let Some(caller) = &exchange.caller {
        let vault = Vault::new(&exchange.deployed.plan.mask_key, caller);
        exchange.vault = Rc::new(RefCell::new(vault));
    }
    let mut cleared = inspect(exchange, raw, text, view).map_err(Refusal::Guard)?;
    let plan = Rc::clone(&exchange.deployed);
    let options = plan.plan.rules.profiles().options(view.profile);
    if let (Some(options), Some(Ask::Chat(_))) = (options, &exchange.ask)
        && plan.plan.rules.is_enabled()
    {
        let vault = exchange.vault.borrow();
        spotlight::apply(options.spotlight, raw, text, &vault, cleared.edits());
    }
    Ok(cleared)
}

/// Inspects what was answered, where it is held whole; gives the masks.
pub fn answer(exchange: &mut Exchange, raw: &[u8], text: &Text) -> Result<Splices, Refusal> {
    let [_, view] = exchange.views;
    let cleared = inspect(exchange, raw, text, view).map_err(Refusal::GuardAnswer)?;
    let mut splices = cleared.into_splices();
    if restores(exchange, view) {
        restore(raw, text, &exchange.vault.borrow(), &mut splices);
    }
    Ok(splices)
}

/// Whether an answer that is looked at so is given back what its request held.
fn restores(exchange: &Exchange, view: View) -> bool {
    let profiles = exchange.deployed.plan.rules.profiles();
    profiles.options(view.profile).is_some_and(|options| options.restore)
}

/// What a scan came to that no rule blocks.
#[derive(Debug)]
pub struct Scanned {
    /// The masks.
    pub splices: Splices,
    /// What was found, each with where.
    pub hits: Vec<(Hit, Spot)>,
}

/// Inspects text for its own sake: nothing is refused, whatever is found. By the profile of that
/// name, where there is one; else by the one that fits the exchange.
pub fn scan(
    exchange: &mut Exchange,
    raw: &[u8],
    text: &Text,
    (direction, profile): (Direction, Option<&str>),
) -> Result<Scanned, Box<Blocked>> {
    let profiles = exchange.deployed.plan.rules.profiles();
    let caller = exchange.caller.as_deref();
    let chosen = || profiles.choose(caller, exchange.ask.as_ref(), direction);
    let profile = profile.and_then(|name| profiles.named(name)).unwrap_or_else(chosen);
    let cleared = inspect(exchange, raw, text, View::new(direction, profile))?;
    let matcher = exchange.deployed.matcher.borrow();
    let hits = cleared.hits().iter().cloned().zip(matcher.spots().iter().cloned()).collect();
    drop(matcher);
    Ok(Scanned { splices: cleared.into_splices(), hits })
}

fn inspect(
    exchange: &mut Exchange,
    raw: &[u8],
    text: &Text,
    view: View,
) -> Result<Cleared, Box<Blocked>> {
    let context = exchange.context.clone().filter(|_| view.direction == Direction::Response);
    let deployed = Rc::clone(&exchange.deployed);
    let options = deployed.plan.rules.profiles().options(view.profile);
    let on_error = options.map_or(OnError::Closed, |options| options.on_error);
    let found = ward(on_error, || {
        let mut vault = exchange.vault.borrow_mut();
        deployed.matcher.borrow_mut().clear_with(raw, text, view, (context.as_deref(), &mut vault))
    });
    let Some(found) = found else {
        let body = Unseen { parts: 1, bytes: to_u64(raw.len()) };
        note(exchange, view, FAILED, Action::Flag);
        leave_out(exchange, view.direction, body, 0);
        return Ok(Matcher::waive());
    };
    let (hits, coverage, skipped) = match &found {
        Ok(cleared) => (cleared.hits(), cleared.coverage(), cleared.skipped()),
        Err(blocked) => (&*blocked.hits, &*blocked.coverage, 0),
    };
    exchange.hits.extend_from_slice(hits);
    for &(channel, bytes) in coverage {
        cover(&mut exchange.coverage, view.direction, channel, bytes);
    }
    leave_out(exchange, view.direction, text.unseen(), skipped);
    let unseen = match view.direction {
        Direction::Request => text.unseen().parts + exchange.unseen.0,
        Direction::Response => text.unseen().parts,
    };
    let policy = options.map_or(Uncovered::Pass, |options| options.uncovered);
    if found.is_ok() && unseen > 0 && deployed.plan.rules.is_enabled() {
        match policy {
            Uncovered::Pass => {}
            Uncovered::Flag => note(exchange, view, UNCOVERED, Action::Flag),
            Uncovered::Refuse => {
                note(exchange, view, UNCOVERED, Action::Block);
                let (rule, hits, coverage) = (Arc::from(UNCOVERED), Vec::new(), Box::default());
                return Err(Box::new(Blocked { rule, hits, coverage }));
            }
        }
    }
    found.map_err(Box::new)
}

/// What is found that no pack has a rule for.
pub const OWN_RULES: [&str; 2] = [UNCOVERED, FAILED];
/// A body has parts that nobody can look into.
const UNCOVERED: &str = "coverage.uncovered";
/// A guard failed, and the body passed unseen.
const FAILED: &str = "coverage.failed";
/// Findings that an answer's head tells of.
const ANNOTATED_MAX: usize = 16;

/// Acts, and gives nothing where that panics and the guard may fail open.
fn ward<T>(on_error: OnError, act: impl FnOnce() -> T) -> Option<T> {
    match on_error {
        OnError::Closed => Some(act()),
        OnError::Open => catch_unwind(AssertUnwindSafe(act)).ok(),
    }
}

fn note(exchange: &mut Exchange, view: View, rule: &'static str, action: Action) {
    let place = Place { path: "body", indexes: [0, 0] };
    let (rule, mode, channel) = (Arc::from(rule), Mode::Enforce, Channel::Document);
    let direction = view.direction;
    exchange.hits.push(Hit { rule, action, mode, channel, place, direction });
}

fn leave_out(exchange: &mut Exchange, direction: Direction, unseen: Unseen, skipped: u64) {
    let [there, back] = &mut exchange.left_out;
    let own = if direction == Direction::Request { there } else { back };
    own.unseen.parts += unseen.parts;
    own.unseen.bytes += unseen.bytes;
    own.skipped += skipped;
}

/// What the head of an answer says of what was found so far, where the profile has it so:
/// `pii.card=mask, injection.secrecy=flag`.
pub fn annotation(exchange: &Exchange) -> Option<String> {
    let [view, _] = exchange.views;
    let options = exchange.deployed.plan.rules.profiles().options(view.profile)?;
    if !options.annotate {
        return None;
    }
    let mut told: Vec<String> = Vec::new();
    for hit in exchange.hits.iter().filter(|hit| hit.mode == Mode::Enforce) {
        let one = format!("{}={}", hit.rule, hit.action.name());
        let is_plain = one.bytes().all(|byte| byte.is_ascii_graphic());
        if is_plain && told.len() < ANNOTATED_MAX && !told.contains(&one) {
            told.push(one);
        }
    }
    Some(if told.is_empty() { "none".to_owned() } else { told.join(", ") })
}

/// One run of text: masked, and then given back what it names.
#[derive(Debug)]
struct StreamRun {
    masker: StreamMasker,
    restorer: Option<Restorer>,
}

impl StreamRun {
    /// Passes masked text on, with what the request held where it is named.
    fn give(&mut self, masked: &str, vault: &Vault, out: &mut String) {
        match &mut self.restorer {
            Some(restorer) => restorer.push(masked, vault, out),
            None => out.push_str(masked),
        }
    }
}

/// The maskers of one streamed answer, one for each run of text.
#[derive(Debug)]
pub struct StreamGuard {
    deployed: Rc<Deployed>,
    context: Option<Rc<Context>>,
    view: View,
    vault: Rc<RefCell<Vault>>,
    restores: bool,
    runs: Vec<(StreamKey, StreamRun)>,
    hits: Vec<Hit>,
    seen: Vec<Seen>,
    blocked: Option<Box<Blocked>>,
    /// What was released since somebody fetched it, where somebody does.
    heard: Option<String>,
    /// Bytes that all runs together hold back.
    held: usize,
}

impl StreamGuard {
    /// For an answer of this exchange.
    pub fn of(exchange: &Exchange) -> Self {
        let [_, view] = exchange.views;
        let context = exchange.context.clone();
        let (vault, restores) = (Rc::clone(&exchange.vault), restores(exchange, view));
        Self { context, view, vault, restores, ..Self::new(&exchange.deployed) }
    }

    /// For an answer that no profile with a name is for, and that is held against no request.
    pub fn new(deployed: &Rc<Deployed>) -> Self {
        Self {
            deployed: Rc::clone(deployed),
            view: View::new(Direction::Response, 0),
            context: None,
            vault: Rc::default(),
            restores: false,
            runs: Vec::new(),
            hits: Vec::new(),
            seen: Vec::new(),
            blocked: None,
            held: 0,
            heard: None,
        }
    }

    /// Keeps what is released, for [`StreamGuard::take_heard`].
    pub fn listen(&mut self) {
        self.heard = Some(String::new());
    }

    /// What was released since the last time, all runs together.
    pub fn take_heard(&mut self) -> String {
        self.heard.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn hear(&mut self, released: Option<&str>) {
        if let (Some(heard), Some(released)) = (&mut self.heard, released) {
            heard.push_str(released);
        }
    }

    /// Why the stream was stopped, if it was.
    pub fn blocked(&mut self) -> Option<Box<Blocked>> {
        self.blocked.take()
    }

    /// Notes on the exchange what was seen and found.
    pub fn report(&mut self, exchange: &mut Exchange) {
        while let Some((key, _)) = self.runs.first() {
            self.close(*key);
        }
        exchange.hits.append(&mut self.hits);
        for (direction, channel, bytes) in self.seen.drain(..) {
            cover(&mut exchange.coverage, direction, channel, bytes);
        }
    }

    /// A run is over: its masker goes, and a later push of its key begins anew.
    fn close(&mut self, key: StreamKey) {
        let Some(index) = self.runs.iter().position(|(known, _)| *known == key) else { return };
        let (_, mut run) = self.runs.swap_remove(index);
        self.held = self.held.saturating_sub(run.masker.held_bytes());
        self.hits.append(&mut run.masker.take_hits());
        cover(&mut self.seen, Direction::Response, key.channel, run.masker.seen_bytes());
    }

    /// A run of text as it begins.
    fn begin(&self, key: StreamKey) -> StreamRun {
        let (form, place) = place(key);
        let masker = StreamMasker::new(form, key.channel, place).under(self.view.profile);
        let masker = masker.naming(Rc::clone(&self.vault));
        let masker = masker.held_against(self.context.clone(), &self.deployed.plan.rules);
        let restores = self.restores && self.vault.borrow().has_own();
        StreamRun { masker, restorer: restores.then(|| Restorer::new(form)) }
    }

    fn with(
        &mut self,
        key: StreamKey,
        act: impl FnOnce(&mut StreamRun, &mut Matcher) -> Result<(), Blocked>,
    ) -> Result<(), Stopped> {
        let index = self.runs.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            let run = self.begin(key);
            // Most answers have one: no room for four of them.
            self.runs.reserve_exact(1);
            self.runs.push((key, run));
            self.runs.len() - 1
        });
        let Some((_, run)) = self.runs.get_mut(index) else { return Ok(()) };
        let before = run.masker.held_bytes();
        act(run, &mut self.deployed.matcher.borrow_mut()).map_err(|blocked| {
            let rule = Arc::clone(&blocked.rule);
            self.blocked = Some(Box::new(blocked));
            Stopped { rule }
        })?;
        self.held = (self.held + run.masker.held_bytes()).saturating_sub(before);
        if self.held > self.deployed.plan.config.bounds.held_bytes {
            // No rule blocks: the upstream writes more at once than anything that answers does.
            return Err(Stopped { rule: Arc::from("bounds.held") });
        }
        Ok(())
    }
}

impl StreamMask for StreamGuard {
    fn push(&mut self, key: StreamKey, text: &str, out: &mut String) -> Result<(), Stopped> {
        let vault = Rc::clone(&self.vault);
        let mut masked = String::new();
        let pushed = self.with(key, |run, matcher| {
            let pushed = run.masker.push(matcher, text, &mut masked);
            run.give(&masked, &vault.borrow(), out);
            pushed
        });
        self.hear(Some(&masked));
        pushed
    }

    fn finish(&mut self, key: StreamKey, out: &mut String) -> Result<(), Stopped> {
        if !self.runs.iter().any(|(known, _)| *known == key) {
            return Ok(());
        }
        let vault = Rc::clone(&self.vault);
        let mut masked = String::new();
        let finished = self.with(key, |run, matcher| {
            let finished = run.masker.finish(matcher, &mut masked);
            run.give(&masked, &vault.borrow(), out);
            if let Some(restorer) = &mut run.restorer {
                restorer.finish(&vault.borrow(), out);
            }
            finished
        });
        self.hear(Some(&masked));
        self.close(key);
        finished
    }
}

/// What a run is made up of, and where it stands.
fn place(key: StreamKey) -> (StreamForm, Place) {
    let choice = u16::try_from(key.choice).unwrap_or(u16::MAX);
    let tool = key.tool.map_or(0, |tool| u16::try_from(tool).unwrap_or(u16::MAX));
    let form = if key.json { StreamForm::Json } else { StreamForm::Text };
    (form, Place { path: key.path, indexes: [choice, tool] })
}

fn cover(coverage: &mut Vec<Seen>, direction: Direction, channel: Channel, bytes: u64) {
    let known = coverage.iter_mut().find(|(way, known, _)| *way == direction && *known == channel);
    match known {
        Some((_, _, seen)) => *seen = seen.saturating_add(bytes),
        None => coverage.push((direction, channel, bytes)),
    }
}
