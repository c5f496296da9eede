//! The way of a request, as one list. Read this first.
//!
//! ```text
//!    route ─▶ Caller ─▶ Ask ─▶ Permit ─▶ Lease ─▶ Cleared ─▶ upstream ─▶ relay ─▶ settle
//!    which    who       what    may       how      is it      choose,     the way   record,
//!    leg?     asks?     is it?  they?     much?    safe?      send        back      always
//! ```
//!
//! Each gate hands back a proof that only it can make and a later one demands. Whatever goes wrong
//! is a `Refusal`, answered once, in `conclude`.

use crate::base::ask::{Ask, McpAsk, McpVerb};
use crate::base::hit::Direction;
use crate::base::judge::Event;
use crate::base::numbers::to_u64;
use crate::base::splice::Splices;
use crate::base::text::{Channel, Text};
use crate::gateway::answer;
use crate::gateway::clear;
use crate::gateway::client::Client;
use crate::gateway::decode;
use crate::gateway::exchange::Exchange;
use crate::gateway::finish::{self, Outcome};
use crate::gateway::judge;
use crate::gateway::llm::{self, Chat};
use crate::gateway::mcp::{self, Call};
use crate::gateway::passthrough::{self, Passage};
use crate::gateway::refusal::{Gate, Refusal};
use crate::gateway::respond;
use crate::gateway::route::{Leg, ROUTE_METHODS, Table};
use crate::gateway::said::Said;
use crate::gateway::scan::{self, ScanAsk};
use crate::gateway::shard::Shard;
use crate::gateway::upstream::Proofs;
use crate::guard::airs;
use crate::guard::inspect::Cleared;
use crate::http::head::BodyLength;
use crate::http::request::RequestHead;
use crate::identity::keys::{Identified, IdentityFault, Presented};
use crate::limits::shard::Lease;
use crate::llm::api;
use crate::llm::models;
use crate::llm::request::{ChatFault, ChatRequest};
use crate::mcp::message::{self, MessageKind};
use crate::mcp::session::Claims;
use crate::mcp::transport::{self, Era};
use crate::policy::rules::Permit;
use http::{Method, StatusCode};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What happens to the client's connection next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It breaks, without any of the signs of a proper end: what was said of an answer is not all
    /// of it, and its end was to be the connection's (RFC 9112 §8, RFC 8446 §6.1).
    Break,
    /// It closes.
    Close,
    /// It may bring another request.
    KeepAlive,
}

/// A refusal that comes before the body was read reads up to this much of it first, so that the
/// connection can live on.
const DRAIN_BYTES_MAX: usize = 64 * 1024;
/// How long it waits for that.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// What an outside judge reads of a prompt: what came from outside, and neither what the operator
/// wrote nor what the model said before.
const SAID: &[Channel] = &[Channel::Document, Channel::ToolResult, Channel::User];

/// What is asked, with the body it came in.
struct Asked {
    raw: Vec<u8>,
    form: Form,
}

enum Form {
    Chat(Box<ChatRequest>),
    Mcp { ask: Box<McpAsk>, text: Box<Text>, session: Option<Claims> },
    Models,
    Scan(Box<ScanAsk>),
    Server,
    Route { index: usize, text: Box<Text>, is_decoded: bool },
}

/// Walks one request from its head to its record.
pub async fn walk(shard: &Rc<Shard>, client: &mut Client, head: &RequestHead) -> After {
    let mut exchange = Exchange::begin(shard, head);
    exchange.client = Some(Arc::clone(&client.origin().address));
    match way(&mut exchange, client, head).await {
        Ok(()) => {
            exchange.settle(Outcome::Answered);
            after(&exchange)
        }
        Err(refusal) => Box::pin(conclude(exchange, client, Some(head), refusal)).await,
    }
}

/// Answers and records what never became a request.
pub async fn turn_away(shard: &Rc<Shard>, client: &mut Client, refusal: Refusal) -> After {
    let mut exchange = Exchange::blank(shard);
    exchange.client = Some(Arc::clone(&client.origin().address));
    Box::pin(conclude(exchange, client, None, refusal)).await
}

/// The list.
async fn way(
    exchange: &mut Exchange,
    client: &mut Client,
    head: &RequestHead,
) -> Result<(), Refusal> {
    let leg = route(exchange, client, head)?;
    let identified = caller(exchange, client, head)?;
    let asked = Box::pin(ask(exchange, client, head, leg)).await?;
    let permit = permit(exchange, &identified)?;
    let lease = lease(exchange, &identified)?;
    let nothing = Text::default();
    let cleared = clear::request(exchange, &asked.raw, asked.text(&nothing))?;
    let (asked, cleared) = Box::pin(judged(exchange, head, asked, cleared)).await?;
    exchange.pass(Gate::Cleared, None);
    let proofs = Proofs { permit: &permit, lease: &lease, cleared: &cleared };
    let Asked { raw, form } = asked;
    // Each step is boxed, and what was asked is let go of once it is sent: an answer that streams
    // for minutes holds what it needs, and no more.
    match form {
        Form::Chat(request) => {
            let chat = Chat { head, raw: &raw, request: &request };
            let reply = Box::pin(llm::ask(proofs, exchange, client, &chat)).await?;
            drop((request, raw, cleared));
            Box::pin(llm::answer(exchange, client, reply)).await?;
        }
        Form::Mcp { ask, session, text } => {
            let call = Call { head, raw: &raw, session: session.as_ref() };
            let reply = Box::pin(mcp::ask(proofs, exchange, client, &ask, call)).await?;
            drop((text, raw, cleared));
            Box::pin(mcp::answer(exchange, client, reply, (*ask, session))).await?;
        }
        Form::Models => Box::pin(list_models(exchange, client, &identified)).await?,
        Form::Scan(ask) => Box::pin(scan::serve(exchange, client, &raw, &ask)).await?,
        Form::Server => Box::pin(say_methods(exchange, client)).await?,
        Form::Route { index, is_decoded, text } => {
            let passage = Passage { head, raw: &raw, is_decoded, route: index };
            let reply = Box::pin(passthrough::send_on(proofs, exchange, client, passage)).await?;
            drop((text, raw, cleared));
            Box::pin(passthrough::answer(exchange, client, reply, &head.method)).await?;
        }
    }
    exchange.pass(Gate::Relay, None);
    Ok(())
}

fn route(exchange: &mut Exchange, client: &Client, head: &RequestHead) -> Result<Leg, Refusal> {
    let deployed = Rc::clone(&exchange.deployed);
    let table = Table { routes: &deployed.plan.config.routes, listener: client.listener() };
    // A refusal further down is answered in the dialect of the path, whatever else is wrong.
    exchange.leg = table.leg_of(&head.path);
    if !exchange.shard.can_record() {
        return Err(Refusal::AuditDown);
    }
    if exchange.deployed.plan.pressure.is_high() {
        return Err(Refusal::Pressure);
    }
    let leg = table.find(head).map_err(Refusal::Route)?;
    exchange.pass(Gate::Route, None);
    Ok(leg)
}

fn caller(
    exchange: &mut Exchange,
    client: &Client,
    head: &RequestHead,
) -> Result<Identified, Refusal> {
    let now = exchange.wall;
    let given_twice = |name: &str| head.fields.count(name) > 1;
    let key = if exchange.leg == Some(Leg::Scan) { airs::KEY_HEADER } else { "x-api-key" };
    if given_twice("authorization") || given_twice(key) {
        return Err(Refusal::Identity(IdentityFault::Conflicting));
    }
    let presented = Presented {
        authorization: head.fields.get("authorization"),
        api_key: head.fields.get(key).or_else(|| head.fields.get("x-api-key")),
        certificate: &client.origin().names,
    };
    let keys = &exchange.deployed.plan.keys;
    let identified = keys.identify(presented, now).map_err(Refusal::Identity)?;
    exchange.caller = Some(Arc::clone(identified.caller()));
    exchange.identified_by = Some(identified.method());
    exchange.pass(Gate::Caller, None);
    Ok(identified)
}

async fn ask(
    exchange: &mut Exchange,
    client: &mut Client,
    head: &RequestHead,
    leg: Leg,
) -> Result<Asked, Refusal> {
    let plan = &exchange.deployed.plan;
    let (most, limit) = (plan.config.bounds.body_bytes, plan.config.deadlines.body);
    if matches!(leg, Leg::Mcp(_)) {
        mcp::check_transport(head).map_err(Refusal::Transport)?;
    }
    if let Leg::Route(index) = leg {
        passthrough::ask(exchange, head, index)?;
    }
    let codings = decode::codings(exchange, head, &leg)?;
    exchange.body_read = true;
    let raw = client.body(head, most, limit).await.inspect_err(|_| exchange.close = true)?;
    exchange.bytes_in = to_u64(raw.len());
    let raw = decode::body(raw, &codings, most)?;
    let form = form(exchange, head, (&leg, !codings.is_empty()), &raw)?;
    exchange.pass(Gate::Ask, None);
    Ok(Asked { raw, form })
}

/// What a body asks for on that leg.
fn form(
    exchange: &mut Exchange,
    head: &RequestHead,
    (leg, is_decoded): (&Leg, bool),
    raw: &[u8],
) -> Result<Form, Refusal> {
    Ok(match leg {
        Leg::Models => {
            exchange.ask = Some(Ask::Models);
            Form::Models
        }
        Leg::Scan => {
            exchange.ask = Some(Ask::Scan);
            let json = exchange.shard.reader.borrow_mut().read(raw).map_err(Refusal::Json)?;
            Form::Scan(Box::new(scan::read(&json).map_err(Refusal::Scan)?))
        }
        Leg::Server => {
            exchange.ask = Some(Ask::Server);
            Form::Server
        }
        Leg::Model(endpoint) => {
            let json = exchange.shard.reader.borrow_mut().read(raw).map_err(Refusal::Json)?;
            let request = api::read(*endpoint, raw, &json).map_err(Refusal::Chat)?;
            exchange.ask = Some(Ask::Chat(request.ask.clone()));
            Form::Chat(Box::new(request))
        }
        Leg::Mcp(server) => ask_mcp(exchange, head, server, raw)?,
        Leg::Route(index) => {
            let text = Box::new(passthrough::read(exchange, head, raw, *index)?);
            Form::Route { index: *index, text, is_decoded }
        }
    })
}

/// Asks the outside judges about what our own rules let pass. What these and each judge mask is
/// edited at once, so that the next one reads what the upstream will.
async fn judged(
    exchange: &mut Exchange,
    head: &RequestHead,
    asked: Asked,
    cleared: Cleared,
) -> Result<(Asked, Cleared), Refusal> {
    let Some(event) = asked.event(exchange) else { return Ok((asked, cleared)) };
    let judges = judge::asked(exchange, event);
    if judges.is_empty() {
        return Ok((asked, cleared));
    }
    let splices = cleared.splices().clone();
    let mut asked = asked.edited(exchange, head, splices)?;
    let plan = Arc::clone(&exchange.deployed.plan);
    let is_parallel =
        |index: &usize| plan.config.judges.get(*index).is_some_and(|judge| judge.parallel);
    let (parallel, before): (Vec<usize>, Vec<usize>) = judges.into_iter().partition(is_parallel);
    for index in before {
        let said = asked.said(exchange, event)?;
        let masks = judge::request(exchange, (index, event), &said.text).await?;
        if !masks.is_empty() {
            let splices = said.splices(&asked.raw, &masks);
            let edited = asked.edited(exchange, head, splices);
            asked = edited.map_err(|_broken| judge::block(exchange, index, Direction::Request))?;
        }
    }
    for index in parallel {
        let said = asked.said(exchange, event)?;
        judge::begin(exchange, (index, event), &said.text);
    }
    Ok((asked, cleared.edited()))
}

fn ask_mcp(
    exchange: &mut Exchange,
    head: &RequestHead,
    server: &str,
    raw: &[u8],
) -> Result<Form, Refusal> {
    let mut ask = McpAsk { server: server.to_owned(), ..McpAsk::default() };
    let mut text = Text::default();
    let revision = head.fields.text("mcp-protocol-version");
    match head.method {
        Method::GET => ask.verb = McpVerb::Get,
        Method::DELETE => ask.verb = McpVerb::Delete,
        _ => {
            exchange.ask = Some(Ask::Mcp(ask.clone()));
            let json = exchange.shard.reader.borrow_mut().read(raw).map_err(Refusal::Json)?;
            let said = message::read(raw, &json).map_err(Refusal::Mcp)?;
            let era = transport::era(revision, &json);
            for one in said {
                if one.kind == MessageKind::Request {
                    ask.id = one.id;
                }
                ask.method = one.method;
                ask.tool = one.tool;
                text = one.text;
            }
            exchange.ask = Some(Ask::Mcp(ask.clone()));
            if era == Era::Modern {
                return Err(Refusal::McpEra);
            }
        }
    }
    // Whatever the verb: the field goes on to the server as it came.
    transport::revision(revision).map_err(Refusal::Transport)?;
    exchange.ask = Some(Ask::Mcp(ask.clone()));
    let session = mcp::session(exchange, head, server)?;
    Ok(Form::Mcp { ask: Box::new(ask), text: Box::new(text), session })
}

fn permit(exchange: &mut Exchange, identified: &Identified) -> Result<Permit, Refusal> {
    let ask = exchange.ask.as_ref().unwrap_or(&Ask::Models);
    let policy = &exchange.deployed.plan.policy;
    let permit = policy.permit(identified.caller(), ask).map_err(Refusal::Denied)?;
    // Only who may use a name learns that there is nothing behind it.
    let plan = &exchange.deployed.plan;
    match ask {
        Ask::Chat(chat) => match plan.model(&chat.model) {
            None => return Err(Refusal::NoModel),
            Some(model) if !plan.speaks(model, chat.api.dialect()) => {
                return Err(Refusal::Chat(ChatFault::unspoken(chat)));
            }
            Some(_) => {}
        },
        Ask::Mcp(mcp) if plan.server(&mcp.server).is_none() => return Err(Refusal::NoServer),
        Ask::Mcp(_) | Ask::Models | Ask::Route(_) | Ask::Scan | Ask::Server => {}
    }
    exchange.pass(Gate::Permit, Some(Arc::clone(permit.rule())));
    Ok(permit)
}

fn lease(exchange: &mut Exchange, identified: &Identified) -> Result<Lease, Refusal> {
    let now = exchange.shard.clock.mono();
    let index = identified.caller().index;
    let lease = exchange.deployed.limits.borrow_mut().admit(index, now);
    let lease = lease.map_err(Refusal::Exceeded)?;
    exchange.standing = lease.standing();
    if is_stream(exchange.ask.as_ref()) {
        exchange.open_stream()?;
    }
    exchange.pass(Gate::Lease, None);
    Ok(lease)
}

/// Whether the answer is to be a stream, as far as the request says.
fn is_stream(ask: Option<&Ask>) -> bool {
    match ask {
        Some(Ask::Chat(chat)) => chat.stream,
        Some(Ask::Mcp(mcp)) => mcp.verb == McpVerb::Get,
        Some(Ask::Models | Ask::Route(_) | Ask::Scan | Ask::Server) | None => false,
    }
}

/// `GET /v1/models`: the models that this caller may use.
async fn list_models(
    exchange: &mut Exchange,
    client: &mut Client,
    identified: &Identified,
) -> Result<(), Refusal> {
    let plan = Arc::clone(&exchange.deployed.plan);
    let caller = identified.caller();
    let visible = plan
        .config
        .models
        .iter()
        .filter(|model| plan.policy.may_use_model(caller, &model.name))
        .map(|model| &*model.name);
    let body = models::list(visible, exchange.wall.0 / 1000);
    let length = BodyLength::Exact(to_u64(body.len()));
    let ours = [("content-type", "application/json".to_owned())];
    let mut out = answer::head(exchange, StatusCode::OK, None, &ours, length)?;
    exchange.bytes_out = to_u64(body.len());
    out.extend_from_slice(&body);
    client.send(out, plan.config.deadlines.write).await?;
    Ok(())
}

/// `OPTIONS *`: the methods that something here takes.
async fn say_methods(exchange: &mut Exchange, client: &mut Client) -> Result<(), Refusal> {
    let limit = exchange.deployed.plan.config.deadlines.write;
    let ours = [("allow", ROUTE_METHODS.to_owned())];
    let status = StatusCode::NO_CONTENT;
    let head = answer::head(exchange, status, None, &ours, BodyLength::Empty)?;
    client.send(head, limit).await?;
    Ok(())
}

/// Says no where no was said, settles, and tells what becomes of the connection.
async fn conclude(
    mut exchange: Exchange,
    client: &mut Client,
    head: Option<&RequestHead>,
    refusal: Refusal,
) -> After {
    exchange.refused_nanos = exchange.lap();
    let outcome = finish::outcome(&refusal, exchange.is_answering());
    let nobody_reads = matches!(refusal, Refusal::ClientGone);
    if !nobody_reads && !exchange.is_answering() {
        drain(&mut exchange, client, head).await;
        let limit = exchange.deployed.plan.config.deadlines.write;
        let sent = match respond::refuse(&mut exchange, &refusal) {
            Ok(answer) => client.send(answer, limit).await,
            Err(unwritable) => Err(unwritable),
        };
        exchange.close |= sent.is_err();
    }
    exchange.close |= nobody_reads;
    // The guard's own end is one that the client is told in words.
    let is_cut = exchange.ends_by_close && !matches!(refusal, Refusal::GuardAnswer(_));
    exchange.refusal = Some(refusal);
    exchange.settle(outcome);
    if is_cut { After::Break } else { after(&exchange) }
}

fn after(exchange: &Exchange) -> After {
    if exchange.close { After::Close } else { After::KeepAlive }
}

/// Reads a small body that nobody looked at, or else lets the connection close.
async fn drain(exchange: &mut Exchange, client: &mut Client, head: Option<&RequestHead>) {
    let Some(head) = head else {
        exchange.close = true;
        return;
    };
    let is_empty = matches!(head.body, BodyLength::Empty);
    if exchange.body_read || is_empty {
        return;
    }
    exchange.close |=
        head.expects_continue || client.body(head, DRAIN_BYTES_MAX, DRAIN_LIMIT).await.is_err();
}

impl Asked {
    /// What an outside judge would be asked about, if it is anything.
    fn event(&self, exchange: &Exchange) -> Option<Event> {
        match (&self.form, &exchange.ask) {
            (Form::Chat(_), _) => Some(Event::Prompt),
            (Form::Mcp { .. }, Some(Ask::Mcp(ask))) if ask.tool.is_some() => Some(Event::ToolInput),
            (
                Form::Mcp { .. } | Form::Models | Form::Route { .. } | Form::Scan(_) | Form::Server,
                _,
            ) => None,
        }
    }

    /// The same with these edits made.
    fn edited(
        self,
        exchange: &mut Exchange,
        head: &RequestHead,
        splices: Splices,
    ) -> Result<Self, Refusal> {
        let Some(leg) = exchange.leg.clone().filter(|_| !splices.is_empty()) else {
            return Ok(self);
        };
        let raw = splices.apply(&self.raw);
        let form = form(exchange, head, (&leg, false), &raw)?;
        Ok(Self { raw, form })
    }

    /// What a judge reads of it.
    fn said(&self, exchange: &Exchange, event: Event) -> Result<Said, Refusal> {
        let nothing = Text::default();
        if event != Event::ToolInput {
            return Ok(Said::of(self.text(&nothing), SAID));
        }
        let json = exchange.shard.reader.borrow_mut().read(&self.raw).map_err(Refusal::Json)?;
        Ok(Said::member(&self.raw, &json, &["params", "arguments"]))
    }

    fn text<'a>(&'a self, nothing: &'a Text) -> &'a Text {
        match &self.form {
            Form::Chat(request) => &request.text,
            Form::Mcp { text, .. } | Form::Route { text, .. } => text,
            Form::Models | Form::Scan(_) | Form::Server => nothing,
        }
    }
}
