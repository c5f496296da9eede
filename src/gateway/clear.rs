//! Gate *Cleared*: hands text to the guard, both ways, and notes what it saw.

use crate::base::hit::{Direction, Hit};
use crate::base::mask::{Stopped, StreamKey, StreamMask};
use crate::base::splice::Splices;
use crate::base::text::{Channel, Place, Text};
use crate::gateway::exchange::{Exchange, Seen};
use crate::gateway::refusal::Refusal;
use crate::gateway::shard::Deployed;
use crate::guard::inspect::{Blocked, Cleared, Matcher};
use crate::guard::stream::{StreamForm, StreamMasker};
use std::rc::Rc;
use std::sync::Arc;

/// Inspects what is asked.
pub fn request(exchange: &mut Exchange, raw: &[u8], text: &Text) -> Result<Cleared, Refusal> {
    inspect(exchange, raw, text, Direction::Request).map_err(Refusal::Guard)
}

/// Inspects what was answered, where it is held whole; gives the masks.
pub fn answer(exchange: &mut Exchange, raw: &[u8], text: &Text) -> Result<Splices, Refusal> {
    inspect(exchange, raw, text, Direction::Response)
        .map(Cleared::into_splices)
        .map_err(Refusal::GuardAnswer)
}

fn inspect(
    exchange: &mut Exchange,
    raw: &[u8],
    text: &Text,
    direction: Direction,
) -> Result<Cleared, Box<Blocked>> {
    let found = exchange.deployed.matcher.borrow_mut().clear(raw, text, direction);
    let (hits, coverage) = match &found {
        Ok(cleared) => (cleared.hits(), cleared.coverage()),
        Err(blocked) => (&*blocked.hits, &*blocked.coverage),
    };
    exchange.hits.extend_from_slice(hits);
    for &(channel, bytes) in coverage {
        cover(&mut exchange.coverage, direction, channel, bytes);
    }
    found.map_err(Box::new)
}

/// The maskers of one streamed answer, one for each run of text.
#[derive(Debug)]
pub struct StreamGuard {
    deployed: Rc<Deployed>,
    runs: Vec<(StreamKey, StreamMasker)>,
    hits: Vec<Hit>,
    seen: Vec<Seen>,
    blocked: Option<Box<Blocked>>,
}

impl StreamGuard {
    /// For an answer of an exchange that is served by `deployed`.
    pub fn new(deployed: &Rc<Deployed>) -> Self {
        Self {
            deployed: Rc::clone(deployed),
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
        self.hits.append(&mut run.take_hits());
        cover(&mut self.seen, Direction::Response, key.channel, run.seen_bytes());
    }

    fn with(
        &mut self,
        key: StreamKey,
        act: impl FnOnce(&mut StreamMasker, &mut Matcher) -> Result<(), Blocked>,
    ) -> Result<(), Stopped> {
        let index = self.runs.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            self.runs.push((key, masker(key)));
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
        self.with(key, |run, matcher| run.push(matcher, text, out))
    }

    fn finish(&mut self, key: StreamKey, out: &mut String) -> Result<(), Stopped> {
        if !self.runs.iter().any(|(known, _)| *known == key) {
            return Ok(());
        }
        let finished = self.with(key, |run, matcher| run.finish(matcher, out));
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
