//! Gate *Cleared*: hands text to the guard, both ways, and notes what it saw.

use crate::base::hit::{Direction, Hit};
use crate::base::mask::{Stopped, StreamKey, StreamMask};
use crate::base::splice::Splices;
use crate::base::text::{Channel, Place, Text};
use crate::gateway::exchange::{Exchange, Seen};
use crate::gateway::refusal::Refusal;
use crate::gateway::shard::Deployed;
use crate::guard::inspect::{Blocked, Cleared, Matcher};
use crate::guard::profile::View;
use crate::guard::restore::{Restorer, restore};
use crate::guard::stream::{StreamForm, StreamMasker};
use crate::guard::vault::Vault;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Inspects what is asked.
pub fn request(exchange: &mut Exchange, raw: &[u8], text: &Text) -> Result<Cleared, Refusal> {
    let profiles = exchange.deployed.plan.rules.profiles();
    let (caller, ask) = (exchange.caller.as_deref(), exchange.ask.as_ref());
    exchange.views = [Direction::Request, Direction::Response]
        .map(|way| View::new(way, profiles.choose(caller, ask, way)));
    let [view, _] = exchange.views;
    if let Some(caller) = &exchange.caller {
        let vault = Vault::new(&exchange.deployed.plan.mask_key, caller);
        exchange.vault = Rc::new(RefCell::new(vault));
    }
    inspect(exchange, raw, text, view).map_err(Refusal::Guard)
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

fn inspect(
    exchange: &mut Exchange,
    raw: &[u8],
    text: &Text,
    view: View,
) -> Result<Cleared, Box<Blocked>> {
    let mut vault = exchange.vault.borrow_mut();
    let mut matcher = exchange.deployed.matcher.borrow_mut();
    let found = matcher.clear_with(raw, text, view, &mut vault);
    drop((vault, matcher));
    let (hits, coverage) = match &found {
        Ok(cleared) => (cleared.hits(), cleared.coverage()),
        Err(blocked) => (&*blocked.hits, &*blocked.coverage),
    };
    exchange.hits.extend_from_slice(hits);
    for &(channel, bytes) in coverage {
        cover(&mut exchange.coverage, view.direction, channel, bytes);
    }
    found.map_err(Box::new)
}

/// One run of text: masked, and then given back what it names.
#[derive(Debug)]
struct StreamRun {
    masker: StreamMasker,
    restorer: Option<Restorer>,
}

/// The maskers of one streamed answer, one for each run of text.
#[derive(Debug)]
pub struct StreamGuard {
    deployed: Rc<Deployed>,
    view: View,
    vault: Rc<RefCell<Vault>>,
    restores: bool,
    runs: Vec<(StreamKey, StreamRun)>,
    hits: Vec<Hit>,
    seen: Vec<Seen>,
    blocked: Option<Box<Blocked>>,
}

impl StreamGuard {
    /// For an answer of this exchange.
    pub fn of(exchange: &Exchange) -> Self {
        let [_, view] = exchange.views;
        let (vault, restores) = (Rc::clone(&exchange.vault), restores(exchange, view));
        Self { view, vault, restores, ..Self::new(&exchange.deployed) }
    }

    /// For an answer that no profile with a name is for.
    pub fn new(deployed: &Rc<Deployed>) -> Self {
        Self {
            deployed: Rc::clone(deployed),
            view: View::new(Direction::Response, 0),
            vault: Rc::default(),
            restores: false,
            runs: Vec::new(),
            hits: Vec::new(),
            seen: Vec::new(),
            blocked: None,
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
        self.hits.append(&mut run.masker.take_hits());
        cover(&mut self.seen, Direction::Response, key.channel, run.masker.seen_bytes());
    }

    /// A run of text as it begins.
    fn begin(&self, key: StreamKey) -> StreamRun {
        let (form, place) = place(key);
        let masker = StreamMasker::new(form, key.channel, place).under(self.view.profile);
        let masker = masker.naming(Rc::clone(&self.vault));
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
            self.runs.push((key, run));
            self.runs.len() - 1
        });
        let Some((_, run)) = self.runs.get_mut(index) else { return Ok(()) };
        act(run, &mut self.deployed.matcher.borrow_mut()).map_err(|blocked| {
            let rule = Arc::clone(&blocked.rule);
            self.blocked = Some(Box::new(blocked));
            Stopped { rule }
        })
    }
}

impl StreamMask for StreamGuard {
    fn push(&mut self, key: StreamKey, text: &str, out: &mut String) -> Result<(), Stopped> {
        let vault = Rc::clone(&self.vault);
        self.with(key, |run, matcher| {
            let Some(restorer) = &mut run.restorer else {
                return run.masker.push(matcher, text, out);
            };
            let mut masked = String::new();
            let pushed = run.masker.push(matcher, text, &mut masked);
            restorer.push(&masked, &vault.borrow(), out);
            pushed
        })
    }

    fn finish(&mut self, key: StreamKey, out: &mut String) -> Result<(), Stopped> {
        if !self.runs.iter().any(|(known, _)| *known == key) {
            return Ok(());
        }
        let vault = Rc::clone(&self.vault);
        let finished = self.with(key, |run, matcher| {
            let Some(restorer) = &mut run.restorer else {
                return run.masker.finish(matcher, out);
            };
            let mut masked = String::new();
            run.masker.finish(matcher, &mut masked)?;
            restorer.push(&masked, &vault.borrow(), out);
            restorer.finish(&vault.borrow(), out);
            Ok(())
        });
        self.close(key);
        finished
    }
}

/// What a run is made up of, and where it stands.
fn place(key: StreamKey) -> (StreamForm, Place) {
    let choice = u16::try_from(key.choice).unwrap_or(u16::MAX);
    let tool = key.tool.map_or(0, |tool| u16::try_from(tool).unwrap_or(u16::MAX));
    let (form, path) = match key.channel {
        Channel::ToolArguments => {
            (StreamForm::Json, "choices[#].delta.tool_calls[#].function.arguments")
        }
        Channel::Reasoning => (StreamForm::Text, "choices[#].delta.reasoning_content"),
        Channel::Refusal => (StreamForm::Text, "choices[#].delta.refusal"),
        Channel::Assistant
        | Channel::Document
        | Channel::System
        | Channel::ToolDefinition
        | Channel::ToolResult
        | Channel::User => (StreamForm::Text, "choices[#].delta.content"),
    };
    (form, Place { path, indexes: [choice, tool] })
}

fn cover(coverage: &mut Vec<Seen>, direction: Direction, channel: Channel, bytes: u64) {
    let known = coverage.iter_mut().find(|(way, known, _)| *way == direction && *known == channel);
    match known {
        Some((_, _, seen)) => *seen = seen.saturating_add(bytes),
        None => coverage.push((direction, channel, bytes)),
    }
}
