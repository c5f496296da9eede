//! The one place that says no to a caller, in the caller's own dialect.
//!
//! OpenAI's and Anthropic's clients read an error object, each its own; MCP clients read a JSON-RPC
//! error, or, where a tool call was understood and then refused, a tool result with `isError` that
//! the model itself can act on.

use crate::base::ask::{Ask, Dialect};
use crate::base::ids::RequestId;
use crate::base::numbers::to_u64;
use crate::gateway::answer::{self, Field};
use crate::gateway::decode;
use crate::gateway::exchange::Exchange;
use crate::gateway::refusal::Refusal;
use crate::gateway::route::{Leg, RouteFault};
use crate::http::head::BodyLength;
use crate::llm::error::{self, ErrorKind};
use crate::mcp::{error as mcp, transport};
use http::{Method, StatusCode};

/// JSON-RPC 2.0 §5.1: not JSON.
const PARSE_ERROR: i64 = -32_700;
/// Of the range that JSON-RPC leaves to implementations; `data.code` says more.
const REFUSED: i64 = -32_000;

/// The answer to a refused request: head and body, ready to be written.
pub fn refuse(exchange: &mut Exchange, refusal: &Refusal) -> Result<Vec<u8>, Refusal> {
    let (status, body) = match (&exchange.leg, refusal) {
        (Some(Leg::Mcp(_)), Refusal::McpEra) => {
            let id = mcp_id(exchange.ask.as_ref());
            transport::legacy_only_answer(id, &exchange.id.to_string())
        }
        (Some(Leg::Mcp(_)), _) if is_tool_result(exchange.ask.as_ref(), refusal) => {
            (StatusCode::OK, json_rpc(exchange.ask.as_ref(), refusal, &exchange.id))
        }
        (Some(Leg::Mcp(_)), _) => {
            (refusal.status(), json_rpc(exchange.ask.as_ref(), refusal, &exchange.id))
        }
        (Some(Leg::Model(api)), _) if api.dialect() == Dialect::Anthropic => {
            let (status, id) = (refusal.status(), exchange.id.to_string());
            let message = refusal.message();
            (status, error::anthropic_body(status.as_u16(), &message, refusal.code(), &id))
        }
        (Some(Leg::Model(_) | Leg::Models | Leg::Route(_) | Leg::Scan | Leg::Server) | None, _) => {
            let param = if let Refusal::Chat(fault) = refusal { fault.param } else { None };
            let status = refusal.status();
            let kind = ErrorKind::of_status(status.as_u16());
            (status, error::body(kind, &refusal.message(), refusal.code(), param))
        }
    };
    let mut ours = fields(refusal);
    if matches!(refusal, Refusal::Route(RouteFault::Encoding)) {
        ours.push(("accept-encoding", decode::accepted(exchange).into()));
    }
    if matches!(exchange.leg, Some(Leg::Model(api)) if api.dialect() == Dialect::Anthropic) {
        // Where Anthropic's clients look for it.
        ours.push(("request-id", exchange.id.to_string()));
    }
    let length = BodyLength::Exact(to_u64(body.len()));
    let mut out = answer::head(exchange, status, None, &ours, length)?;
    // RFC 9110 §9.3.2: the answer to HEAD has a length and no body.
    if exchange.method != Method::HEAD {
        exchange.bytes_out = to_u64(body.len());
        out.extend_from_slice(&body);
    }
    Ok(out)
}

/// A refusal as a JSON-RPC message: a tool result where the model can act on it, else an error.
pub fn json_rpc(ask: Option<&Ask>, refusal: &Refusal, id: &RequestId) -> Vec<u8> {
    let request = id.to_string();
    let own_id = mcp_id(ask);
    if is_tool_result(ask, refusal)
        && let Some(own_id) = own_id
    {
        return mcp::tool_error(own_id, &refusal.message(), refusal.code(), &request);
    }
    let code = if let Refusal::Mcp(fault) = refusal {
        fault.rpc_code()
    } else if matches!(refusal, Refusal::Json(_)) {
        PARSE_ERROR
    } else {
        REFUSED
    };
    mcp::error(own_id, code, &refusal.message(), refusal.code(), &request)
}

fn mcp_id(ask: Option<&Ask>) -> Option<&str> {
    if let Some(Ask::Mcp(ask)) = ask { ask.id.as_deref() } else { None }
}

/// A tool call that was understood and refused for what it asks or for what it brought.
fn is_tool_result(ask: Option<&Ask>, refusal: &Refusal) -> bool {
    let is_call = matches!(ask, Some(Ask::Mcp(ask)) if ask.tool.is_some() && ask.id.is_some());
    is_call && matches!(refusal, Refusal::Denied(_) | Refusal::Guard(_) | Refusal::GuardAnswer(_))
}

fn fields(refusal: &Refusal) -> Vec<Field> {
    let mut fields: Vec<Field> = vec![("content-type", "application/json".into())];
    if let Refusal::Exceeded(exceeded) = refusal {
        let wait = exceeded.retry_after.as_secs().max(1);
        let standing = exceeded.standing;
        fields.push(("retry-after", wait.to_string()));
        fields.push(("x-ratelimit-limit-requests", standing.limit.to_string()));
        fields.push(("x-ratelimit-remaining-requests", standing.remaining.to_string()));
        fields.push(("x-ratelimit-reset-requests", format!("{wait}s")));
    } else if matches!(refusal, Refusal::AuditDown | Refusal::Pressure | Refusal::Stopped) {
        fields.push(("retry-after", "1".into()));
    } else if matches!(refusal, Refusal::Identity(_)) {
        // RFC 9110 §11.6.1: a 401 names how to authenticate.
        fields.push(("www-authenticate", "Bearer realm=\"ringwall\"".into()));
    } else if let Refusal::Route(RouteFault::Method(allowed)) = refusal {
        // RFC 9110 §15.5.6: a 405 names what is allowed.
        fields.push(("allow", (*allowed).into()));
    }
    fields
}
