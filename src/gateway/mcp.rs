//! The tool leg: MCP over Streamable HTTP (legacy era, revisions up to 2025-11-25).
//!
//! The session id that a client holds is a sealed token around the upstream's own, so any worker
//! serves any request. Every message of the server, whole or as an event, is one JSON-RPC message
//! and is inspected as such; tools that the caller may not call are cut out of lists.

use crate::base::ask::{Ask, McpAsk, McpVerb};
use crate::base::json::Json;
use crate::base::judge::Event;
use crate::gateway::answer::Field;
use crate::gateway::clear;
use crate::gateway::client::Client;
use crate::gateway::exchange::Exchange;
use crate::gateway::llm;
use crate::gateway::refusal::{Gate, Refusal, UpstreamFault, UpstreamFaultKind};
use crate::gateway::relay::{Dialect, relay};
use crate::gateway::reply::Reply;
use crate::gateway::respond;
use crate::gateway::said::Said;
use crate::gateway::upstream::{self, Endpoint, Outbound, Proofs, send};
use crate::guard::inspect::Cleared;
use crate::http::fields::Fields;
use crate::http::request::RequestHead;
use crate::http::sse::SseEvent;
use crate::mcp::answer;
use crate::mcp::error;
use crate::mcp::session::Claims;
use http::{Method, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// How long a session may live, whatever its upstream says.
pub const SESSION_AGE_MAX: Duration = Duration::from_hours(24 * 7);

/// An MCP request, ready to go.
#[derive(Debug)]
pub struct Call<'a> {
    /// The head it came with.
    pub head: &'a RequestHead,
    /// Its body as it came; empty for GET and DELETE.
    pub raw: &'a [u8],
    /// The upstream's session, from the sealed id.
    pub session: Option<Claims>,
}

/// Opens the sealed session id of a request, if it has one.
pub fn session(
    exchange: &Exchange,
    head: &RequestHead,
    server: &str,
) -> Result<Option<Claims>, Refusal> {
    let Some(token) = head.fields.text("mcp-session-id") else { return Ok(None) };
    let caller = exchange.caller.as_ref().map_or("", |caller| &caller.name);
    let now = exchange.shard.clock.wall();
    let seal = &exchange.deployed.plan.seal;
    seal.open(token, caller, server, now, SESSION_AGE_MAX).map(Some).map_err(Refusal::Session)
}

/// Sends a message to its server and relays the answer.
pub async fn serve(
    proofs: Proofs<'_>,
    exchange: &mut Exchange,
    client: &mut Client,
    ask: &McpAsk,
    call: Call<'_>,
) -> Result<(), Refusal> {
    let plan = Arc::clone(&exchange.deployed.plan);
    let server = plan.server(&ask.server).ok_or(Refusal::NoServer)?;
    let targets = [server.target];
    let name = plan.config.targets.get(server.target).map(|target| Arc::clone(&target.name));
    let body = |_order: usize, cleared: &Cleared| cleared.splices().clone().apply(call.raw);
    let outbound = Outbound {
        method: match ask.verb {
            McpVerb::Post => Method::POST,
            McpVerb::Get => Method::GET,
            McpVerb::Delete => Method::DELETE,
        },
        endpoint: Endpoint::Below(""),
        fields: fields(exchange, call.head, ask, call.session.as_ref()),
        passing: &Fields::default(),
        targets: &targets,
        may_repeat: ask.tool.is_none(),
        body: &body,
    };
    let reply = send(proofs, exchange, client, &outbound).await?;
    exchange.pass(Gate::Upstream, None);
    let mut dialect = McpDialect {
        ask: ask.clone(),
        session: call.session,
        target: name.unwrap_or_else(|| Arc::from("none")),
        heard: None,
    };
    relay(exchange, client, reply, &mut dialect).await
}

fn fields(
    exchange: &Exchange,
    head: &RequestHead,
    ask: &McpAsk,
    session: Option<&Claims>,
) -> Vec<upstream::Field> {
    let mut fields = llm::fields(exchange, head, false);
    let accept: &[u8] = match ask.verb {
        McpVerb::Get => b"text/event-stream",
        McpVerb::Post | McpVerb::Delete => b"application/json, text/event-stream",
    };
    fields.retain(|(name, _)| {
        *name != "accept" && (ask.verb == McpVerb::Post || *name != "content-type")
    });
    fields.push(("accept", accept.to_vec()));
    for name in ["mcp-protocol-version", "last-event-id"] {
        if let Some(value) = head.fields.get(name) {
            fields.push((name, value.to_vec()));
        }
    }
    if let Some(id) = session.and_then(|claims| claims.upstream.as_ref()) {
        fields.push(("mcp-session-id", id.clone().into_bytes()));
    }
    fields
}

struct McpDialect {
    ask: McpAsk,
    session: Option<Claims>,
    target: Arc<str>,
    /// Messages that were released since a judge fetched them, where one does.
    heard: Option<String>,
}

impl McpDialect {
    fn unreadable(&self) -> Refusal {
        let target = Arc::clone(&self.target);
        Refusal::Upstream(UpstreamFault { target, kind: UpstreamFaultKind::Unreadable })
    }

    /// One message of the server's: inspected, masked, and without the tools that the caller may
    /// not call.
    fn message(&self, exchange: &mut Exchange, raw: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let json = exchange.shard.reader.borrow_mut().read(&raw);
        let json: Json = json.map_err(|_unreadable| self.unreadable())?;
        let text = answer::read(&json);
        let mut splices = clear::answer(exchange, &raw, &text)?;
        if let Some(caller) = exchange.caller.clone() {
            let plan = &exchange.deployed.plan;
            let mut may_see =
                |tool: &str| plan.policy.may_see_tool(&caller, &self.ask.server, tool);
            answer::hide_tools(&raw, &json, &mut may_see, &mut splices);
        }
        if splices.is_empty() { Ok(raw) } else { Ok(splices.apply(&raw)) }
    }
}

impl Dialect for McpDialect {
    fn whole(&mut self, exchange: &mut Exchange, raw: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        self.message(exchange, raw)
    }

    fn event(
        &mut self,
        exchange: &mut Exchange,
        mut event: SseEvent,
        out: &mut Vec<u8>,
    ) -> Result<bool, Refusal> {
        if event.is_comment {
            // What no guard inspects does not pass; the id and the delay, which clients need, do.
            event.data.clear();
        }
        // An event without data primes the client's resumption; it says nothing.
        if !event.is_comment && !event.data.is_empty() {
            let data = std::mem::take(&mut event.data).into_bytes();
            let data = self.message(exchange, data)?;
            event.data = String::from_utf8(data).map_err(|_not_text| self.unreadable())?;
            if let Some(heard) = &mut self.heard {
                heard.push_str(&event.data);
                heard.push('\n');
            }
        }
        event.encode(out);
        Ok(false)
    }

    fn end(&mut self, _exchange: &mut Exchange, _out: &mut Vec<u8>) -> Result<(), Refusal> {
        Ok(())
    }

    fn cut(&mut self, exchange: &mut Exchange, refusal: &Refusal, out: &mut Vec<u8>) {
        let body = respond::json_rpc(Some(&Ask::Mcp(self.ask.clone())), refusal, &exchange.id);
        let data = String::from_utf8(body).unwrap_or_default();
        let event = SseEvent {
            event: Some("message".into()),
            id: None,
            retry: None,
            data,
            is_comment: false,
        };
        event.encode(out);
    }

    fn fields(&mut self, exchange: &mut Exchange, reply: &Reply) -> Result<Vec<Field>, Refusal> {
        let theirs = reply.head.fields.text("mcp-session-id").map(ToOwned::to_owned);
        let known = self.session.as_ref().and_then(|claims| claims.upstream.clone());
        let (Some(upstream), Some(caller)) = (theirs, &exchange.caller) else {
            return Ok(Vec::new());
        };
        if known.as_ref() == Some(&upstream) {
            return Ok(Vec::new());
        }
        let claims = Claims {
            caller: caller.name.to_string(),
            server: self.ask.server.clone(),
            upstream: Some(upstream),
            issued: exchange.shard.clock.wall(),
        };
        let nonce = exchange.shard.random.borrow_mut().bytes();
        let nonce = nonce.map_err(|_none| Refusal::NoRandom)?;
        let token = exchange.deployed.plan.seal.seal(&claims, nonce);
        let token = token.map_err(|_unfit| reply.refuse(UpstreamFaultKind::Unreadable))?;
        Ok(vec![("mcp-session-id", token)])
    }

    fn opaque(&mut self, exchange: &Exchange, status: StatusCode) -> Vec<u8> {
        let message = format!("The MCP server `{}` answered {}.", self.ask.server, status.as_u16());
        error::error(
            self.ask.id.as_deref(),
            -32_000,
            &message,
            "upstream_error",
            &exchange.id.to_string(),
        )
    }

    fn report(&mut self, _exchange: &mut Exchange) {}

    fn judged_as(&self) -> Option<Event> {
        self.ask.tool.is_some().then_some(Event::ToolOutput)
    }

    fn said(&self, exchange: &Exchange, body: &[u8]) -> Result<Said, Refusal> {
        let json = exchange.shard.reader.borrow_mut().read(body);
        let json = json.map_err(|_unreadable| self.unreadable())?;
        Ok(Said::member(body, &json, &["result"]))
    }

    fn listen(&mut self) {
        self.heard = Some(String::new());
    }

    fn take_heard(&mut self) -> String {
        self.heard.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
