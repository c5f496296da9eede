//! The model leg: what a chat request becomes on its way to a provider, and its answer on its way
//! back.

use crate::base::ask::{Api, Ask, ChatAsk, Dialect};
use crate::base::judge::Event;
use crate::base::splice::Splices;
use crate::base::text::Channel;
use crate::config::model::ModelRoute;
use crate::gateway::answer::Field;
use crate::gateway::clear::{self, StreamGuard};
use crate::gateway::client::Client;
use crate::gateway::exchange::Exchange;
use crate::gateway::refusal::{Gate, Refusal, UpstreamFault, UpstreamFaultKind};
use crate::gateway::relay::{self, relay};
use crate::gateway::reply::Reply;
use crate::gateway::said::Said;
use crate::gateway::upstream::{self, Endpoint, Outbound, Proofs, send};
use crate::guard::inspect::Cleared;
use crate::http::fields::Fields;
use crate::http::request::RequestHead;
use crate::http::sse::SseEvent;
use crate::llm::api::{self, AnswerStream};
use crate::llm::error::{self, ErrorKind};
use crate::llm::request::ChatRequest;
use crate::llm::stream::Flow;
use http::{Method, StatusCode};
use std::sync::Arc;

/// What an outside judge reads of an answer.
const ANSWERED: &[Channel] =
    &[Channel::Assistant, Channel::Reasoning, Channel::Refusal, Channel::ToolArguments];
/// A comment of an event stream, with nothing in it.
const KEEP_ALIVE: &[u8] = b":\n\n";
/// How we name ourselves to upstreams.
const USER_AGENT: &str = concat!("ringwall/", env!("CARGO_PKG_VERSION"));

/// A chat request, ready to go.
#[derive(Debug)]
pub struct Chat<'a> {
    /// The head it came with.
    pub head: &'a RequestHead,
    /// Its body as it came.
    pub raw: &'a [u8],
    /// What it says.
    pub request: &'a ChatRequest,
}

/// Sends a chat to the first route of its model that answers.
pub async fn ask(
    proofs: Proofs<'_>,
    exchange: &mut Exchange,
    client: &mut Client,
    chat: &Chat<'_>,
) -> Result<Box<Reply>, Refusal> {
    let plan = Arc::clone(&exchange.deployed.plan);
    let api = chat.request.ask.api;
    let routes: &[ModelRoute] =
        plan.model(&chat.request.ask.model).map_or(&[], |model| &model.routes);
    // What a provider does not speak it would not understand, or take for something else.
    let routes: Vec<&ModelRoute> =
        routes.iter().filter(|route| plan.target_speaks(route.target, api.dialect())).collect();
    let targets: Vec<usize> = routes.iter().map(|route| route.target).collect();
    let body = |order: usize, cleared: &Cleared| {
        let mut splices: Splices = cleared.splices().clone();
        if let Some(route) = routes.get(order) {
            chat.request.rewrite(&route.upstream_model, &mut splices);
        }
        splices.apply(chat.raw)
    };
    let outbound = Outbound {
        method: Method::POST,
        endpoint: Endpoint::Below(api.path()),
        fields: fields(exchange, chat.head, chat.request.ask.stream),
        passing: &Fields::default(),
        targets: &targets,
        may_repeat: true,
        body: &body,
    };
    let reply = send(proofs, exchange, client, &outbound).await?;
    exchange.pass(Gate::Upstream, None);
    Ok(Box::new(reply))
}

/// Relays the answer to a chat.
pub async fn answer(
    exchange: &mut Exchange,
    client: &mut Client,
    reply: Box<Reply>,
) -> Result<(), Refusal> {
    let mut dialect = ModelDialect::new(exchange);
    relay(exchange, client, reply, &mut dialect).await
}

/// The fields of a request to an upstream: ours, and the few of the client's that pass.
pub fn fields(exchange: &Exchange, head: &RequestHead, stream: bool) -> Vec<upstream::Field> {
    let accept: &[u8] = if stream { b"text/event-stream" } else { b"application/json" };
    let mut fields = vec![
        ("content-type", b"application/json".to_vec()),
        ("accept", accept.to_vec()),
        ("accept-encoding", b"identity".to_vec()),
        ("user-agent", USER_AGENT.into()),
        ("x-request-id", exchange.id.to_string().into_bytes()),
        ("traceparent", exchange.trace.to_string().into_bytes()),
    ];
    let dialect = match &exchange.ask {
        Some(Ask::Chat(ask)) => ask.api.dialect(),
        Some(Ask::Mcp(_) | Ask::Models | Ask::Route(_) | Ask::Scan | Ask::Server) | None => {
            Dialect::OpenAi
        }
    };
    for name in api::passing(dialect) {
        if let Some(value) = head.fields.get(name) {
            fields.push((name, value.to_vec()));
        }
    }
    fields
}

struct ModelDialect {
    api: Api,
    stream: AnswerStream,
    guard: StreamGuard,
    target: Arc<str>,
}

impl ModelDialect {
    fn new(exchange: &Exchange) -> Self {
        let nothing = ChatAsk::default();
        let ask = if let Some(Ask::Chat(ask)) = &exchange.ask { ask } else { &nothing };
        let target = exchange
            .upstream
            .as_ref()
            .and_then(|used| exchange.deployed.plan.config.targets.get(used.target));
        let guarded = exchange.deployed.plan.config.guard.enabled;
        Self {
            api: ask.api,
            stream: AnswerStream::new(ask, guarded),
            guard: StreamGuard::of(exchange),
            target: target.map_or_else(|| Arc::from("none"), |entry| Arc::clone(&entry.name)),
        }
    }

    fn unreadable(&self) -> Refusal {
        let target = Arc::clone(&self.target);
        Refusal::Upstream(UpstreamFault { target, kind: UpstreamFaultKind::Unreadable })
    }

    /// A stream fault is the guard's where the guard stopped it, else the upstream's.
    fn blame(&mut self) -> Refusal {
        match self.guard.blocked() {
            Some(blocked) => Refusal::GuardAnswer(blocked),
            None => self.unreadable(),
        }
    }
}

impl relay::Dialect for ModelDialect {
    fn whole(&mut self, exchange: &mut Exchange, raw: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let json = exchange.shard.reader.borrow_mut().read(&raw);
        let json = json.map_err(|_unreadable| self.unreadable())?;
        let read = api::answer(self.api, &json);
        exchange.usage = read.usage;
        let mut splices = clear::answer(exchange, &raw, &read.text)?;
        if splices.is_empty() {
            return Ok(raw);
        }
        api::hide_logprobs(self.api, &json, &mut splices);
        Ok(splices.apply(&raw))
    }

    fn event(
        &mut self,
        exchange: &mut Exchange,
        event: SseEvent,
        out: &mut Vec<u8>,
    ) -> Result<bool, Refusal> {
        if event.is_comment {
            // It keeps connections alive; its text is read by nobody and inspected by no guard.
            out.extend_from_slice(KEEP_ALIVE);
            return Ok(false);
        }
        let mut reader = exchange.shard.reader.borrow_mut();
        match self.stream.event(&event, &mut reader, &mut self.guard, out) {
            Ok(Flow::Continue) => Ok(false),
            Ok(Flow::Done) => Ok(true),
            Err(_fault) => Err(self.blame()),
        }
    }

    fn end(&mut self, _exchange: &mut Exchange, out: &mut Vec<u8>) -> Result<(), Refusal> {
        self.stream.finish(&mut self.guard, out).map_err(|_fault| self.blame())
    }

    fn cut(&mut self, _exchange: &mut Exchange, refusal: &Refusal, out: &mut Vec<u8>) {
        self.stream.cut(refusal.code(), &refusal.message(), out);
    }

    fn fields(&mut self, _exchange: &mut Exchange, _reply: &Reply) -> Result<Vec<Field>, Refusal> {
        Ok(Vec::new())
    }

    fn opaque(&mut self, exchange: &Exchange, status: StatusCode) -> Vec<u8> {
        let message = format!("The upstream `{}` answered {}.", self.target, status.as_u16());
        if self.api.dialect() == Dialect::Anthropic {
            let id = exchange.id.to_string();
            return error::anthropic_body(status.as_u16(), &message, "upstream_error", &id);
        }
        let kind = ErrorKind::of_status(status.as_u16());
        error::body(kind, &message, "upstream_error", None)
    }

    fn report(&mut self, exchange: &mut Exchange) {
        exchange.usage = self.stream.usage().or(exchange.usage);
        self.guard.report(exchange);
    }

    fn judged_as(&self) -> Option<Event> {
        Some(Event::Response)
    }

    fn said(&self, exchange: &Exchange, body: &[u8]) -> Result<Said, Refusal> {
        let json = exchange.shard.reader.borrow_mut().read(body);
        let json = json.map_err(|_unreadable| self.unreadable())?;
        Ok(Said::of(&api::answer(self.api, &json).text, ANSWERED))
    }

    fn listen(&mut self) {
        self.guard.listen();
    }

    fn take_heard(&mut self) -> String {
        self.guard.take_heard()
    }
}
