//! Outside judges on the way: who is asked, when, and what their verdicts come to.
//!
//! They are asked after our own rules, about what these let pass. A judge that fails again and
//! again is left alone for a while, by each worker for itself. A verdict that does not come is a
//! refusal, unless the configuration says otherwise; either is recorded.

use crate::base::ask::Ask;
use crate::base::clock::Mono;
use crate::base::hit::{Action, Direction, Hit, Mode};
use crate::base::judge::{Dialect, Event};
use crate::base::text::{Channel, Place};
use crate::config::judges::Judge;
use crate::config::model::{Config, Pattern};
use crate::gateway::errand::{self, Errand, ErrandFault};
use crate::gateway::exchange::Exchange;
use crate::gateway::refusal::Refusal;
use crate::gateway::shard::{Deployed, Shard};
use crate::guard::airs;
use crate::guard::inspect::Blocked;
use crate::guard::judge::{self, ANSWER_BYTES_MAX, Question, Verdict};
use crate::wire::runtime::spawn;
use std::cell::RefCell;
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// Where records say that a judge found something: in all that it was asked about.
const PLACE: Place = Place { path: "(judge)", indexes: [0, 0] };

/// One worker's experience with one judge.
#[derive(Clone, Copy, Debug, Default)]
pub struct Breaker {
    /// Failures in a row.
    failures: u32,
    /// Until then it is not asked.
    open_until: Mono,
}

/// One question and what became of it, as records tell it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Which judge, by its index.
    pub judge: usize,
    /// About what.
    pub event: Event,
    /// What it came to.
    pub ruling: Ruling,
    /// Why, in the judge's words, cleaned.
    pub reasons: Vec<String>,
    /// How long it took, in nanoseconds.
    pub nanos: u64,
}

/// What a question came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It may pass.
    Allow,
    /// It may not.
    Block,
    /// Without these, in bytes of the text.
    Mask(Vec<Range<usize>>),
    /// There is no verdict, and why.
    Failed(&'static str),
}

impl Ruling {
    /// The name in records.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Block => "block",
            Self::Mask(_) => "mask",
            Self::Failed(_) => "failed",
        }
    }
}

/// What a judge is asked, kept for as long as that takes.
#[derive(Clone, Debug)]
struct Case {
    id: String,
    event: Event,
    text: Rc<str>,
    user: Option<Arc<str>>,
    app: Option<Arc<str>>,
    team: Option<Arc<str>>,
    ask: Option<Ask>,
}

/// A verdict that is waited for while the request is on its way.
#[derive(Debug)]
pub struct Pending(RefCell<Waiting>);

#[derive(Debug)]
enum Waiting {
    Done(Judged),
    Open(Option<Waker>),
}

/// The judges that are to be asked about an event of this exchange, by their index.
pub fn asked(exchange: &Exchange, event: Event) -> Vec<usize> {
    let judges = exchange.deployed.plan.config.judges.iter().enumerate();
    judges.filter(|(_, judge)| fits(judge, exchange, event)).map(|(index, _)| index).collect()
}

fn fits(judge: &Judge, exchange: &Exchange, event: Event) -> bool {
    let caller = exchange.caller.as_deref();
    let any = |list: &[Pattern], name: Option<&str>| {
        list.is_empty() || name.is_some_and(|name| list.iter().any(|one| one.matches(name)))
    };
    let (model, server) = match &exchange.ask {
        Some(Ask::Chat(chat)) => (Some(&*chat.model), None),
        Some(Ask::Mcp(mcp)) => (None, Some(&*mcp.server)),
        Some(Ask::Models | Ask::Route(_) | Ask::Scan | Ask::Server) | None => (None, None),
    };
    judge.events.contains(&event)
        && any(&judge.callers, caller.map(|caller| &*caller.name))
        && any(&judge.apps, caller.and_then(|caller| caller.app.as_deref()))
        && any(&judge.teams, caller.and_then(|caller| caller.team.as_deref()))
        && any(&judge.models, model)
        && any(&judge.servers, server)
}

/// Asks about what is on its way to the upstream. The masks are in bytes of `text`. Judges that
/// read in parallel are asked by [`begin`].
pub async fn request(
    exchange: &mut Exchange,
    (index, event): (usize, Event),
    text: &str,
) -> Result<Vec<Range<usize>>, Refusal> {
    let case = case(exchange, event, text);
    let judged = put(&exchange.shard, &exchange.deployed, index, &case).await;
    rule(exchange, judged, Direction::Request, true)
}

/// Begins to ask about what leaves at once; [`concluded`] waits for the verdict.
pub fn begin(exchange: &mut Exchange, (index, event): (usize, Event), text: &str) {
    let case = case(exchange, event, text);
    let (shard, deployed) = (Rc::clone(&exchange.shard), Rc::clone(&exchange.deployed));
    let pending = Rc::new(Pending(RefCell::new(Waiting::Open(None))));
    let (own, lost) = (Rc::clone(&pending), Rc::clone(&pending));
    exchange.pending.push(pending);
    let task = async move {
        let judged = put(&shard, &deployed, index, &case).await;
        own.settle(judged);
    };
    let failed = Ruling::Failed("panicked");
    let panicked = Judged { judge: index, event, ruling: failed, reasons: Vec::new(), nanos: 0 };
    spawn(task, move || lost.settle(panicked));
}

/// Waits for the verdicts that are still open; nothing of an answer may leave before.
pub async fn concluded(exchange: &mut Exchange) -> Result<(), Refusal> {
    while let Some(pending) = exchange.pending.pop() {
        let judged = pending.wait().await;
        rule(exchange, judged, Direction::Request, false)?;
    }
    Ok(())
}

/// Asks about what is on its way back. `whole`: it can still be masked.
pub async fn answer(
    exchange: &mut Exchange,
    (index, event): (usize, Event),
    text: &str,
    whole: bool,
) -> Result<Vec<Range<usize>>, Refusal> {
    let case = case(exchange, event, text);
    let judged = put(&exchange.shard, &exchange.deployed, index, &case).await;
    rule(exchange, judged, Direction::Response, whole)
}

fn case(exchange: &Exchange, event: Event, text: &str) -> Case {
    let caller = exchange.caller.as_deref();
    Case {
        id: exchange.id.to_string(),
        event,
        text: Rc::from(text),
        user: caller.and_then(|caller| caller.user.clone()),
        app: caller.and_then(|caller| caller.app.clone()),
        team: caller.and_then(|caller| caller.team.clone()),
        ask: exchange.ask.clone(),
    }
}

/// Asks one judge, unless it is left alone.
async fn put(shard: &Rc<Shard>, deployed: &Rc<Deployed>, index: usize, case: &Case) -> Judged {
    let began = shard.clock.mono();
    let said = match deployed.plan.config.judges.get(index) {
        None => Err("unknown"),
        Some(_) if case.text.is_empty() => Ok(Verdict::default()),
        Some(judge) if case.text.len() > judge.text_bytes => Err("too_large"),
        Some(judge) => question(shard, deployed, (index, judge), case).await,
    };
    let nanos = u64::try_from(shard.clock.mono().since(began).as_nanos()).unwrap_or(u64::MAX);
    let (ruling, reasons) = match said {
        Err(why) => (Ruling::Failed(why), Vec::new()),
        Ok(verdict) if verdict.block => (Ruling::Block, verdict.reasons),
        Ok(verdict) if verdict.masks.is_empty() => (Ruling::Allow, verdict.reasons),
        Ok(verdict) => (Ruling::Mask(verdict.masks), verdict.reasons),
    };
    Judged { judge: index, event: case.event, ruling, reasons, nanos }
}

async fn question(
    shard: &Rc<Shard>,
    deployed: &Rc<Deployed>,
    (index, judge): (usize, &Judge),
    case: &Case,
) -> Result<Verdict, &'static str> {
    let is_open = deployed
        .breakers
        .borrow()
        .get(index)
        .is_some_and(|breaker| breaker.open_until > shard.clock.mono());
    if is_open {
        return Err("open");
    }
    let body = judge::ask(judge.dialect, &case.question(&judge.profile));
    let errand = Errand {
        target: judge.target,
        path: match judge.dialect {
            Dialect::Airs => airs::PATH,
            Dialect::Webhook => "",
        },
        body: &body,
        limit: judge.timeout,
        answer_bytes: ANSWER_BYTES_MAX,
    };
    let said = match errand::run(shard, deployed, &errand).await {
        Ok(answer) if answer.status.is_success() => {
            judge::verdict(judge.dialect, case.event, &case.text, &answer.body)
                .map_err(|_unreadable| "unreadable")
        }
        Ok(_) => Err("status"),
        Err(ErrandFault::Broken) => Err("broken"),
        Err(ErrandFault::Stopped) => Err("stopped"),
        Err(ErrandFault::Slow) => Err("slow"),
        Err(ErrandFault::Unreachable) => Err("unreachable"),
    };
    let now = shard.clock.mono();
    if let Some(breaker) = deployed.breakers.borrow_mut().get_mut(index) {
        breaker.note(judge, said.is_ok(), now);
    }
    said
}

impl Breaker {
    /// One more answer, or none.
    fn note(&mut self, judge: &Judge, answered: bool, now: Mono) {
        self.failures = if answered { 0 } else { self.failures.saturating_add(1) };
        if self.failures >= judge.failures_max {
            self.open_until = now.plus(judge.cooldown);
        }
    }
}

impl Case {
    fn question<'a>(&'a self, profile: &'a str) -> Question<'a> {
        let (model, mcp) = match &self.ask {
            Some(Ask::Chat(chat)) => (Some(&*chat.model), None),
            Some(Ask::Mcp(mcp)) => (None, Some(mcp)),
            Some(Ask::Models | Ask::Route(_) | Ask::Scan | Ask::Server) | None => (None, None),
        };
        Question {
            id: &self.id,
            event: self.event,
            text: &self.text,
            profile,
            user: self.user.as_deref(),
            app: self.app.as_deref(),
            team: self.team.as_deref(),
            model,
            server: mcp.map(|mcp| &*mcp.server),
            method: mcp.map(|mcp| &*mcp.method),
            tool: mcp.and_then(|mcp| mcp.tool.as_deref()),
        }
    }
}

impl Pending {
    fn settle(&self, judged: Judged) {
        let before = self.0.replace(Waiting::Done(judged));
        if let Waiting::Open(Some(waker)) = before {
            waker.wake();
        }
    }

    async fn wait(&self) -> Judged {
        poll_fn(|context| match &mut *self.0.borrow_mut() {
            Waiting::Done(judged) => Poll::Ready(judged.clone()),
            Waiting::Open(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

/// Notes a ruling and says what it comes to: masks, nothing, or a refusal.
fn rule(
    exchange: &mut Exchange,
    judged: Judged,
    direction: Direction,
    can_mask: bool,
) -> Result<Vec<Range<usize>>, Refusal> {
    let plan = Arc::clone(&exchange.deployed.plan);
    let name = rule_name(&plan.config, judged.judge);
    let fails_open = plan.config.judges.get(judged.judge).is_some_and(|judge| judge.fails_open);
    let channel = channel(judged.event);
    let ruling = judged.ruling.clone();
    exchange.judged.push(judged);
    let mut hit = |action: Action| {
        let rule = Arc::clone(&name);
        exchange.hits.push(Hit {
            rule,
            action,
            mode: Mode::Enforce,
            channel,
            place: PLACE,
            direction,
        });
    };
    match ruling {
        Ruling::Allow => Ok(Vec::new()),
        Ruling::Mask(masks) if can_mask => {
            hit(Action::Mask);
            Ok(masks)
        }
        Ruling::Failed(_) if fails_open => {
            hit(Action::Flag);
            Ok(Vec::new())
        }
        Ruling::Failed("stopped") => Err(Refusal::Stopped),
        Ruling::Failed(_) if direction == Direction::Request => Err(Refusal::Judge(name)),
        Ruling::Block | Ruling::Mask(_) | Ruling::Failed(_) => {
            hit(Action::Block);
            Err(refusal(name, direction))
        }
    }
}

/// That judge's word is no, since what it would mask cannot be.
pub fn block(exchange: &mut Exchange, index: usize, direction: Direction) -> Refusal {
    let rule = rule_name(&exchange.deployed.plan.config, index);
    let channel = channel(exchange.judged.last().map_or(Event::Prompt, |judged| judged.event));
    exchange.hits.push(Hit {
        rule: Arc::clone(&rule),
        action: Action::Block,
        mode: Mode::Enforce,
        channel,
        place: PLACE,
        direction,
    });
    refusal(rule, direction)
}

fn refusal(rule: Arc<str>, direction: Direction) -> Refusal {
    let blocked = Box::new(Blocked { rule, hits: Vec::new(), coverage: Box::default() });
    match direction {
        Direction::Request => Refusal::Guard(blocked),
        Direction::Response => Refusal::GuardAnswer(blocked),
    }
}

/// What a judge is called in records and metrics.
pub fn rule_name(config: &Config, index: usize) -> Arc<str> {
    let name = config.judges.get(index).map_or("unknown", |judge| &judge.name);
    format!("judge.{name}").into()
}

const fn channel(event: Event) -> Channel {
    match event {
        Event::Prompt => Channel::User,
        Event::Response => Channel::Assistant,
        Event::ToolInput => Channel::ToolArguments,
        Event::ToolOutput => Channel::ToolResult,
    }
}
