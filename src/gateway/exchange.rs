//! One exchange: what is known of it so far, and the promise of exactly one record.
//!
//! Whatever happens to the future that drives it, its `Drop` settles it: a panic leaves a record
//! too.

use crate::base::ask::Ask;
use crate::base::caller::Caller;
use crate::base::clock::{Mono, Wall};
use crate::base::hit::{Direction, Hit};
use crate::base::ids::{RequestId, TraceContext};
use crate::base::text::{Channel, Unseen};
use crate::base::usage::Usage;
use crate::gateway::finish::{self, Outcome};
use crate::gateway::judge::{Judged, Pending};
use crate::gateway::refusal::{Gate, Refusal};
use crate::gateway::route::Leg;
use crate::gateway::shard::{Deployed, Shard};
use crate::guard::checks::Context;
use crate::guard::profile::View;
use crate::guard::vault::Vault;
use crate::http::request::RequestHead;
use crate::limits::shard::{Standing, Stream};
use http::{Method, StatusCode, Version};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// How many bytes of which channel guards saw, one way.
pub type Seen = (Direction, Channel, u64);

/// Bytes of a request's body, and of its answer's.
pub type Bodies = (u64, u64);

/// What guards did not look at within bodies that they saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeftOut {
    /// Parts without text.
    pub unseen: Unseen,
    /// Bytes that some rules were left out on for want of time.
    pub skipped: u64,
}

/// Everything that an exchange gathers on its way.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not one state")]
pub struct Exchange {
    /// The worker's things.
    pub shard: Rc<Shard>,
    /// What it is served by, to its end.
    pub deployed: Rc<Deployed>,
    /// Its name.
    pub id: RequestId,
    /// The trace it belongs to, with our own span as parent for the next hop.
    pub trace: TraceContext,
    /// The client's HTTP version.
    pub version: Version,
    /// The client's method.
    pub method: Method,
    /// The client's path.
    pub path: String,
    /// Bytes of bodies that passed without a guard's look: of the request, of the answer.
    pub unseen: Bodies,
    /// Which leg, once known.
    pub leg: Option<Leg>,
    /// Where the client is.
    pub client: Option<Arc<str>>,
    /// Who, once known.
    pub caller: Option<Arc<Caller>>,
    /// By what that is known.
    pub identified_by: Option<&'static str>,
    /// What, once known.
    pub ask: Option<Ask>,
    /// What the caller has left of its limit.
    pub standing: Option<Standing>,
    /// Its place among the caller's streams, once its answer is one or is to be.
    pub stream: Option<Stream>,
    /// The gates passed.
    pub passed: Vec<Passed>,
    /// How guards look at it: what is asked, and what is answered.
    pub views: [View; 2],
    /// What guards did not look at within bodies that they saw, each way.
    pub left_out: [LeftOut; 2],
    /// The names that masked values go by.
    pub vault: Rc<RefCell<Vault>>,
    /// What guards found, both ways.
    pub hits: Vec<Hit>,
    /// What of the request its answer is held against.
    pub context: Option<Rc<Context>>,
    /// How many bytes of which channel guards saw.
    pub coverage: Vec<Seen>,
    /// What outside judges were asked, and said.
    pub judged: Vec<Judged>,
    /// Verdicts that are still waited for.
    pub pending: Vec<Rc<Pending>>,
    /// The upstream that was used.
    pub upstream: Option<UpstreamUse>,
    /// Tokens, in the provider's numbers.
    pub usage: Option<Usage>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body, as written to the client.
    pub bytes_out: u64,
    /// The status that was sent, once one was.
    pub status: Option<StatusCode>,
    /// Why it ended without (or within) its answer.
    pub refusal: Option<Refusal>,
    /// How long the refusing gate took, in nanoseconds.
    pub refused_nanos: u64,
    /// Whether the request's body was read, or tried to.
    pub body_read: bool,
    /// Whether the client's connection must close after it.
    pub close: bool,
    /// Whether the answer that was begun ends with the connection, and by nothing else.
    pub ends_by_close: bool,
    /// When it began.
    pub began: Mono,
    /// When it began, on the wall.
    pub wall: Wall,
    marked: Mono,
    settled: bool,
}

/// A gate that was passed.
#[derive(Clone, Debug)]
pub struct Passed {
    /// Which.
    pub gate: Gate,
    /// The rule that let it pass, where a rule does.
    pub rule: Option<Arc<str>>,
    /// How long it took, in nanoseconds.
    pub nanos: u64,
}

/// How an upstream was used.
#[derive(Clone, Debug)]
pub struct UpstreamUse {
    /// Which target of the plan.
    pub target: usize,
    /// How many targets and connections were tried.
    pub attempts: u32,
    /// The status it answered with.
    pub status: Option<StatusCode>,
    /// Nanoseconds for a new connection; none where one was kept alive.
    pub connect_nanos: Option<u64>,
    /// Nanoseconds from the request to the answer's head.
    pub first_byte_nanos: Option<u64>,
    /// When the last attempt began.
    pub began: Mono,
}

impl Exchange {
    /// Begins an exchange with a head that was read.
    pub fn begin(shard: &Rc<Shard>, head: &RequestHead) -> Self {
        let mut exchange = Self::blank(shard);
        exchange.version = head.version;
        exchange.method = head.method.clone();
        exchange.path.clone_from(&head.path);
        // An answer is always written as HTTP/1.1; who speaks 1.0 sees its end by the close.
        exchange.close = !head.keep_alive || head.version < Version::HTTP_11;
        if let Some(theirs) = head.fields.text("traceparent").and_then(TraceContext::parse) {
            exchange.trace = theirs.child(exchange.trace.parent);
        }
        exchange
    }

    /// Begins an exchange of which nothing could be read; the connection closes after it.
    pub fn blank(shard: &Rc<Shard>) -> Self {
        let mut random = shard.random.borrow_mut();
        // Without chance the ids are zero, and the way refuses: see `way::walk`.
        let id = RequestId(random.bytes().unwrap_or_default());
        let trace = TraceContext {
            trace: random.bytes().unwrap_or_default(),
            parent: random.bytes().unwrap_or_default(),
            flags: 0,
        };
        drop(random);
        let now = shard.clock.mono();
        shard.live.set(shard.live.get() + 1);
        Self {
            shard: Rc::clone(shard),
            deployed: shard.deployed(),
            id,
            trace,
            version: Version::HTTP_11,
            method: Method::GET,
            path: String::new(),
            unseen: (0, 0),
            leg: None,
            client: None,
            caller: None,
            identified_by: None,
            ask: None,
            standing: None,
            stream: None,
            passed: Vec::with_capacity(8),
            views: [View::new(Direction::Request, 0), View::new(Direction::Response, 0)],
            left_out: [LeftOut::default(); 2],
            vault: Rc::default(),
            hits: Vec::new(),
            context: None,
            coverage: Vec::new(),
            judged: Vec::new(),
            pending: Vec::new(),
            upstream: None,
            usage: None,
            bytes_in: 0,
            bytes_out: 0,
            status: None,
            refusal: None,
            refused_nanos: 0,
            body_read: false,
            close: true,
            ends_by_close: false,
            began: now,
            wall: shard.clock.wall(),
            marked: now,
            settled: false,
        }
    }

    /// Marks a gate as passed, with the time since the one before.
    pub fn pass(&mut self, gate: Gate, rule: Option<Arc<str>>) {
        let nanos = self.lap();
        self.passed.push(Passed { gate, rule, nanos });
    }

    /// Nanoseconds since the last mark, which moves here.
    pub fn lap(&mut self) -> u64 {
        let now = self.shard.clock.mono();
        let nanos = now.0.saturating_sub(self.marked.0);
        self.marked = now;
        nanos
    }

    /// Takes a place among the caller's streams, if it has none yet.
    pub fn open_stream(&mut self) -> Result<(), Refusal> {
        if let (None, Some(caller)) = (&self.stream, &self.caller) {
            let most = self.deployed.plan.config.bounds.streams_per_caller;
            let opened = self.deployed.limits.borrow().open_stream(caller.index, most);
            self.stream = Some(opened.map_err(Refusal::Exceeded)?);
        }
        Ok(())
    }

    /// Whether the answer's head went out already.
    pub fn is_answering(&self) -> bool {
        self.status.is_some()
    }

    /// Whether the client reads chunked bodies.
    pub fn takes_chunks(&self) -> bool {
        self.version >= Version::HTTP_11
    }

    /// Settles the exchange: its record is written and its counts are made, once.
    pub fn settle(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        finish::settle(self, outcome);
        self.shard.live.set(self.shard.live.get().saturating_sub(1));
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.settled {
            self.settle(Outcome::Panicked);
        }
    }
}
