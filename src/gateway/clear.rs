//! Gate *Cleared*: hands text to the guard, both ways, and notes what it saw.

use crate::base::hit::{Direction, Hit};
use crate::base::mask::{Stopped, StreamKey, StreamMask};
use crate::base::splice::Splices;
use crate::base::text::{Channel, Place, Text};
use crate::gateway::exchange::{Exchange, Seen};
use crate::gateway::refusal::Refusal;
use crate::gateway::shard::Deployed;
use crate::guard::inspect::{Blocked, Cleared, Matcher, Spot};
use crate::guard::profile::View;
use crate::guard::stream::{StreamForm, StreamMasker};
use std::rc::Rc;
use std::sync::Arc;

/// Inspects what is asked.
pub fn request(exchange: &mut Exchange, raw: &[u8], text: &Text) -> Result<Cleared, Refusal> {
    let profiles = exchange.deployed.plan.rules.profiles();
    let (caller, ask) = (exchange.caller.as_deref(), exchange.ask.as_ref());
    exchange.views = [Direction::Request, Direction::Response]
        .map(|way| View::new(way, profiles.choose(caller, ask, way)));
    let [view, _] = exchange.views;
    inspect(exchange, raw, text, view).map_err(Refusal::Guard)
}

/// Inspects what was answered, where it is held whole; gives the masks.
pub fn answer(exchange: &mut Exchange, raw: &[u8], text: &Text) -> Result<Splices, Refusal> {
    let [_, view] = exchange.views;
    inspect(exchange, raw, text, view).map(Cleared::into_splices).map_err(Refusal::GuardAnswer)
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
    let found = exchange.deployed.matcher.borrow_mut().clear(raw, text, view);
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

/// The maskers of one streamed answer, one for each run of text.
#[derive(Debug)]
pub struct StreamGuard {
    deployed: Rc<Deployed>,
    view: View,
    runs: Vec<(StreamKey, StreamMasker)>,
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
        Self { view, ..Self::new(&exchange.deployed) }
    }

    /// For an answer that no profile with a name is for.
    pub fn new(deployed: &Rc<Deployed>) -> Self {
        Self {
            deployed: Rc::clone(deployed),
            view: View::new(Direction::Response, 0),
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
        self.held = self.held.saturating_sub(run.held_bytes());
        self.hits.append(&mut run.take_hits());
        cover(&mut self.seen, Direction::Response, key.channel, run.seen_bytes());
    }

    fn with(
        &mut self,
        key: StreamKey,
        act: impl FnOnce(&mut StreamMasker, &mut Matcher) -> Result<(), Blocked>,
    ) -> Result<(), Stopped> {
        let index = self.runs.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            self.runs.push((key, masker(key).under(self.view.profile)));
            self.runs.len() - 1
        });
        let Some((_, run)) = self.runs.get_mut(index) else { return Ok(()) };
        let before = run.held_bytes();
        act(run, &mut self.deployed.matcher.borrow_mut()).map_err(|blocked| {
            let rule = Arc::clone(&blocked.rule);
            self.blocked = Some(Box::new(blocked));
            Stopped { rule }
        })?;
        self.held = (self.held + run.held_bytes()).saturating_sub(before);
        if self.held > self.deployed.plan.config.bounds.held_bytes {
            // No rule blocks: the upstream writes more at once than anything that answers does.
            return Err(Stopped { rule: Arc::from("bounds.held") });
        }
        Ok(())
    }
}

impl StreamMask for StreamGuard {
    fn push(&mut self, key: StreamKey, text: &str, out: &mut String) -> Result<(), Stopped> {
        let from = out.len();
        let pushed = self.with(key, |run, matcher| run.push(matcher, text, out));
        self.hear(out.get(from..));
        pushed
    }

    fn finish(&mut self, key: StreamKey, out: &mut String) -> Result<(), Stopped> {
        if !self.runs.iter().any(|(known, _)| *known == key) {
            return Ok(());
        }
        let from = out.len();
        let finished = self.with(key, |run, matcher| run.finish(matcher, out));
        self.hear(out.get(from..));
        self.close(key);
        finished
    }
}

fn masker(key: StreamKey) -> StreamMasker {
    let choice = u16::try_from(key.choice).unwrap_or(u16::MAX);
    let tool = key.tool.map_or(0, |tool| u16::try_from(tool).unwrap_or(u16::MAX));
    let form = if key.json { StreamForm::Json } else { StreamForm::Text };
    StreamMasker::new(form, key.channel, Place { path: key.path, indexes: [choice, tool] })
}

fn cover(coverage: &mut Vec<Seen>, direction: Direction, channel: Channel, bytes: u64) {
    let known = coverage.iter_mut().find(|(way, known, _)| *way == direction && *known == channel);
    match known {
        Some((_, _, seen)) => *seen = seen.saturating_add(bytes),
        None => coverage.push((direction, channel, bytes)),
    }
}
