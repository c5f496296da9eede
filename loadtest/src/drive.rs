//! The loop of one connection: take the next request, send it when it is due, judge the answer.
//!
//! The question is written before it is due and the answer judged after its time was taken, so
//! that neither counts as the server's. Only what a stream says is read while its clock runs.

use crate::chat::{self, StreamCheck};
use crate::line::{Line, Session};
use crate::mcp;
use crate::mistake::Mistake;
use crate::pace::{Pace, Ticket};
use crate::plan::{Plan, Work};
use crate::prompt::{Prompt, Prompts};
use crate::tally::{Sound, Tally};
use crate::turnstile::{Turn, Turnstile};
use http::{Method, StatusCode};
use ringwall::base::clock::Mono;
use ringwall::base::numbers::to_u64;
use ringwall::http::encode;
use ringwall::http::head::BodyLength;
use ringwall::http::response::ResponseHead;
use ringwall::wire::runtime;
use ringwall::wire::watch::Watch;
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// Timers are kept to a millisecond or two; the last of a wait is spent looking at the clock.
const SPIN: Duration = Duration::from_millis(2);
/// After a connection that failed, where no rate says when to try again.
const BACK_OFF: Duration = Duration::from_millis(10);
const SESSION: &str = "mcp-session-id";

/// A header field of a request.
type Field<'a> = (&'a str, &'a [u8]);

/// What the connections of a run share.
#[derive(Debug)]
pub struct Shared {
    /// What is to be done.
    pub plan: Plan,
    /// Deadlines, and the clock.
    pub watch: Watch,
    /// What is asked.
    pub prompts: Prompts,
    /// When.
    pub pace: RefCell<Pace>,
    /// Who waits for the next due time.
    pub line_up: Turnstile,
    /// What came of it.
    pub tally: RefCell<Tally>,
    /// Connections that still work.
    pub working: Cell<u32>,
}

/// Sends requests on one connection until the run is over; a connection that fails is replaced.
pub async fn drive(shared: &Shared, mut line: Option<Line>) {
    while !shared.is_over() {
        let ready = match line.take().filter(Line::is_ready) {
            Some(line) => Ok(line),
            None => prepare(shared).await,
        };
        let turn = match shared.plan.rate {
            Some(_) => Some(shared.line_up.enter().await),
            None => None,
        };
        let ticket = shared.pace.borrow_mut().take(shared.watch.now());
        let Some(ticket) = ticket else { return };
        let prompt = shared.prompts.make(ticket.number);
        shared.tally.borrow_mut().cards += u64::from(prompt.has_card());
        let answer = match ready {
            Ok(mut ready) => {
                let answer = exchange(shared, &mut ready, (ticket, turn), &prompt).await;
                line = Some(ready);
                answer
            }
            // The request that could not be sent is an error of its own.
            Err(mistake) => {
                match ticket.due {
                    Some(due) => wait_until(&shared.watch, due).await,
                    None => runtime::sleep(BACK_OFF).await,
                }
                Err(mistake)
            }
        };
        shared.settle(answer);
    }
}

/// A new connection, and on it a session where the work needs one.
pub async fn prepare(shared: &Shared) -> Result<Line, Mistake> {
    let mut line = Line::open(shared.plan.target.address, &shared.watch).await?;
    if matches!(shared.plan.work, Work::Mcp { .. }) {
        open_session(&shared.plan, &mut line).await?;
    }
    Ok(line)
}

async fn open_session(plan: &Plan, line: &mut Line) -> Result<(), Mistake> {
    write_request(plan, line, &mcp::opening())?;
    let head = line.ask().await?;
    let body = line.whole(&head, StatusCode::OK).await?;
    let revision = mcp::check_opening(&body, is_stream(&head)?)?;
    let id = head.fields.text(SESSION).ok_or(Mistake::NoSession)?.to_owned();
    line.session = Some(Session { id, revision });
    write_request(plan, line, &mcp::opened())?;
    let head = line.ask().await?;
    line.whole(&head, StatusCode::ACCEPTED).await.map(drop)
}

async fn exchange(
    shared: &Shared,
    line: &mut Line,
    (ticket, turn): (Ticket, Option<Turn<'_>>),
    prompt: &Prompt,
) -> Result<Sound, Mistake> {
    let Shared { plan, watch, .. } = shared;
    let body = match &plan.work {
        Work::Chat { model, is_stream } => chat::body(model, prompt, *is_stream),
        Work::Mcp { tool } => mcp::call(tool, ticket.number, prompt),
    };
    write_request(plan, line, &body)?;
    if let Some(due) = ticket.due {
        wait_until(watch, due).await;
    }
    drop(turn);
    let sent = watch.now();
    let from = ticket.due.unwrap_or(sent);
    if ticket.due.is_some() {
        shared.tally.borrow_mut().delayed(sent.since(from));
    }
    let head = line.ask().await?;
    let (first, to, is_echo) = match &plan.work {
        Work::Chat { is_stream: true, .. } => hear_stream(watch, line, &head, prompt).await?,
        Work::Chat { is_stream: false, .. } => {
            let body = line.whole(&head, StatusCode::OK).await?;
            let to = watch.now();
            if is_stream(&head)? {
                return Err(Mistake::ContentType);
            }
            (None, to, chat::check(&body, prompt)?)
        }
        Work::Mcp { .. } => {
            let body = line.whole(&head, StatusCode::OK).await?;
            let to = watch.now();
            (None, to, mcp::check(&body, is_stream(&head)?, ticket.number, prompt)?)
        }
    };
    if plan.expect_echo && !is_echo {
        return Err(Mistake::NotEchoed);
    }
    Ok(Sound { from, first, to, is_echo })
}

async fn hear_stream(
    watch: &Watch,
    line: &mut Line,
    head: &ResponseHead,
    prompt: &Prompt,
) -> Result<(Option<Mono>, Mono, bool), Mistake> {
    if head.status != StatusCode::OK {
        line.whole(head, StatusCode::OK).await?;
    }
    if !is_stream(head)? {
        return Err(Mistake::ContentType);
    }
    let mut check = StreamCheck::default();
    let mut first = None;
    let take = |piece: &[u8]| {
        check.push(piece, prompt)?;
        if first.is_none() && check.has_text() {
            first = Some(watch.now());
        }
        Ok(())
    };
    line.body(head, take).await?;
    let to = watch.now();
    Ok((first, to, check.finish(prompt)?))
}

/// Whether the answer is a stream of events; `ContentType` where it is no JSON either.
fn is_stream(head: &ResponseHead) -> Result<bool, Mistake> {
    let kind = head.fields.media_type().unwrap_or_default();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(false);
    }
    if kind.eq_ignore_ascii_case("text/event-stream") {
        Ok(true)
    } else {
        Err(Mistake::ContentType)
    }
}

fn write_request(plan: &Plan, line: &mut Line, body: &[u8]) -> Result<(), Mistake> {
    let bearer = plan.key.as_ref().map(|key| [b"Bearer ", key.expose()].concat());
    let mut fields: Vec<Field<'_>> = vec![
        ("content-type", b"application/json"),
        ("accept", b"application/json, text/event-stream"),
    ];
    fields.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    if let Some(session) = &line.session {
        fields.push((SESSION, session.id.as_bytes()));
        fields.push(("mcp-protocol-version", session.revision.as_bytes()));
    }
    let length = BodyLength::Exact(to_u64(body.len()));
    let target = &plan.target;
    line.outbox.clear();
    encode::request_head(
        &mut line.outbox,
        &Method::POST,
        &target.path,
        &target.host,
        fields.into_iter(),
        length,
    )
    .map_err(|_fault| Mistake::Head)?;
    line.outbox.extend_from_slice(body);
    Ok(())
}

async fn wait_until(watch: &Watch, due: Mono) {
    let long = due.since(watch.now()).saturating_sub(SPIN);
    if !long.is_zero() {
        runtime::sleep(long).await;
    }
    while watch.now() < due {
        runtime::yield_now().await;
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.pace.borrow().is_over(self.watch.now())
    }

    fn settle(&self, answer: Result<Sound, Mistake>) {
        let mut tally = self.tally.borrow_mut();
        match answer {
            Ok(sound) => tally.sound(sound),
            Err(mistake) => tally.mistake(mistake, 1),
        }
        tally.last = self.watch.now();
    }
}
