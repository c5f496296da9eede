//! Every way in which an exchange can end other than by its answer, as one enum.
//!
//! Each has a status, a stable code, the gate that said so, and a sentence that tells the caller
//! what to do. None carries a secret or a value that a guard found.

use crate::base::json::JsonError;
use crate::gateway::route::RouteFault;
use crate::guard::inspect::Blocked;
use crate::http::coding::CodingFault;
use crate::http::head::HeadFault;
use crate::identity::keys::IdentityFault;
use crate::limits::shard::{Exceeded, LimitKind};
use crate::llm::request::ChatFault;
use crate::mcp::message::McpFault;
use crate::mcp::session::SessionFault;
use crate::mcp::transport::TransportFault;
use crate::policy::rules::{Denied, DeniedWhat};
use http::StatusCode;
use std::sync::Arc;

/// The gates of the way, in order, as records and metrics name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// Which leg?
    Route,
    /// Who asks?
    Caller,
    /// What is it?
    Ask,
    /// May they?
    Permit,
    /// How much?
    Lease,
    /// Is it safe?
    Cleared,
    /// Choose, send.
    Upstream,
    /// The way back, masked.
    Relay,
}

impl Gate {
    /// The name in records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Caller => "caller",
            Self::Ask => "ask",
            Self::Permit => "permit",
            Self::Lease => "lease",
            Self::Cleared => "cleared",
            Self::Upstream => "upstream",
            Self::Relay => "relay",
        }
    }
}

/// Why an exchange has no answer.
#[derive(Debug)]
pub enum Refusal {
    /// The audit log cannot take a record.
    AuditDown,
    /// The body did not arrive in time.
    BodySlow,
    /// The body is larger than this many bytes.
    BodyTooLarge(usize),
    /// The body breaks its own framing.
    BodyUnframed,
    /// Not a chat request.
    Chat(ChatFault),
    /// The client went away; nobody hears the answer.
    ClientGone,
    /// The body is not what its content coding says.
    Coding(CodingFault),
    /// Policy says no.
    Denied(Denied),
    /// Over a limit.
    Exceeded(Exceeded),
    /// A guard blocks what was asked.
    Guard(Box<Blocked>),
    /// A guard blocks what was answered.
    GuardAnswer(Box<Blocked>),
    /// The head is not HTTP as we take it.
    Head(HeadFault),
    /// The head did not arrive in time.
    HeadSlow,
    /// Nobody we know.
    Identity(IdentityFault),
    /// The body is not JSON as we take it.
    Json(JsonError),
    /// An outside judge gave no verdict; what records call it.
    Judge(Arc<str>),
    /// Not an MCP message.
    Mcp(McpFault),
    /// The client opened in the modern era; it falls back on this.
    McpEra,
    /// The configuration promises randomness that the system does not give.
    NoRandom,
    /// Memory is short: no new work.
    Pressure,
    /// A rule allows the model, and there is none of that name.
    NoModel,
    /// The MCP server is not in the configuration (and the caller may know so).
    NoServer,
    /// No leg.
    Route(RouteFault),
    /// Not a scan; what is wrong.
    Scan(&'static str),
    /// The session is not this caller's, or not any more.
    Session(SessionFault),
    /// The process ends.
    Stopped,
    /// Not as MCP's transport asks.
    Transport(TransportFault),
    /// No upstream gave an answer that could be passed on.
    Upstream(UpstreamFault),
}

/// What was wrong with the last upstream that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamFault {
    /// Its name in the configuration.
    pub target: Arc<str>,
    /// What was wrong.
    pub kind: UpstreamFaultKind,
}

/// What can be wrong with an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamFaultKind {
    /// It closed or broke the connection.
    Broken,
    /// No connection within the deadline, or refused.
    Connect,
    /// Its answer could not be read, and so not inspected.
    Unreadable,
    /// It went quiet for too long.
    Slow,
    /// Its answer is larger than we hold.
    TooLarge,
    /// Its certificate does not fit, or TLS failed.
    Tls,
    /// Its host name has no address.
    Unresolved,
}

impl Refusal {
    /// The gate that refused.
    pub const fn gate(&self) -> Gate {
        match self {
            Self::AuditDown | Self::Head(_) | Self::HeadSlow | Self::Pressure | Self::Route(_) => {
                Gate::Route
            }
            Self::Identity(_) => Gate::Caller,
            Self::BodySlow
            | Self::BodyTooLarge(_)
            | Self::BodyUnframed
            | Self::Chat(_)
            | Self::Coding(_)
            | Self::Json(_)
            | Self::Mcp(_)
            | Self::McpEra
            | Self::NoModel
            | Self::NoServer
            | Self::Scan(_)
            | Self::Session(_)
            | Self::Transport(_) => Gate::Ask,
            Self::Denied(_) => Gate::Permit,
            Self::Exceeded(_) => Gate::Lease,
            Self::Guard(_) | Self::Judge(_) => Gate::Cleared,
            Self::Upstream(_) | Self::NoRandom => Gate::Upstream,
            Self::ClientGone | Self::GuardAnswer(_) | Self::Stopped => Gate::Relay,
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::AuditDown | Self::Judge(_) | Self::NoRandom | Self::Pressure | Self::Stopped => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::BodySlow | Self::HeadSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge(_) | Self::Coding(CodingFault::Ratio) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::BodyUnframed
            | Self::Chat(_)
            | Self::ClientGone
            | Self::Coding(_)
            | Self::Guard(_)
            | Self::GuardAnswer(_)
            | Self::Json(_)
            | Self::Mcp(_)
            | Self::McpEra
            | Self::Scan(_)
            | Self::Route(RouteFault::Ambiguous) => StatusCode::BAD_REQUEST,
            Self::Denied(denied) => match denied.what {
                DeniedWhat::Model | DeniedWhat::Route | DeniedWhat::Server | DeniedWhat::Tool => {
                    StatusCode::FORBIDDEN
                }
            },
            Self::Exceeded(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Head(fault) => fault.status(),
            Self::Identity(_) => StatusCode::UNAUTHORIZED,
            Self::Transport(fault) => match fault {
                TransportFault::AcceptBoth | TransportFault::AcceptEvents => {
                    StatusCode::NOT_ACCEPTABLE
                }
                TransportFault::Origin => StatusCode::FORBIDDEN,
                TransportFault::Revision => StatusCode::BAD_REQUEST,
            },
            Self::NoModel
            | Self::NoServer
            | Self::Route(RouteFault::NotFound)
            | Self::Session(_) => StatusCode::NOT_FOUND,
            Self::Route(RouteFault::Method(_)) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Route(RouteFault::MediaType | RouteFault::Encoding) => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::Upstream(fault) => match fault.kind {
                UpstreamFaultKind::Slow => StatusCode::GATEWAY_TIMEOUT,
                UpstreamFaultKind::Connect | UpstreamFaultKind::Unresolved => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                UpstreamFaultKind::Broken
                | UpstreamFaultKind::Unreadable
                | UpstreamFaultKind::TooLarge
                | UpstreamFaultKind::Tls => StatusCode::BAD_GATEWAY,
            },
        }
    }

    /// The stable code that programs may look at.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AuditDown => "audit_unavailable",
            Self::BodySlow | Self::HeadSlow => "request_timeout",
            Self::BodyTooLarge(_) => "request_too_large",
            Self::BodyUnframed | Self::Head(_) => "bad_request",
            Self::Chat(fault) => fault.code,
            Self::ClientGone => "client_gone",
            Self::Coding(_) => "invalid_encoding",
            Self::Denied(_) => "policy_denied",
            Self::Exceeded(_) => "rate_limited",
            Self::Guard(_) | Self::GuardAnswer(_) => "guard_blocked",
            Self::Identity(fault) => identity_code(*fault),
            Self::Json(_) => "invalid_json",
            Self::Judge(_) => "guard_unavailable",
            Self::Mcp(_) => "invalid_message",
            Self::Transport(fault) => match fault {
                TransportFault::AcceptBoth | TransportFault::AcceptEvents => "not_acceptable",
                TransportFault::Origin => "origin_not_allowed",
                TransportFault::Revision => "unsupported_protocol_version",
            },
            Self::McpEra => "unsupported_protocol_version",
            Self::NoRandom => "internal_error",
            Self::Pressure => "overloaded",
            Self::NoModel => "model_not_found",
            Self::NoServer => "unknown_server",
            Self::Route(fault) => match fault {
                RouteFault::Ambiguous => "ambiguous_path",
                RouteFault::Encoding | RouteFault::MediaType => "unsupported_media_type",
                RouteFault::Method(_) => "method_not_allowed",
                RouteFault::NotFound => "not_found",
            },
            Self::Scan(_) => "invalid_scan",
            Self::Session(_) => "session_not_found",
            Self::Stopped => "shutting_down",
            Self::Upstream(fault) => match fault.kind {
                UpstreamFaultKind::Slow => "upstream_timeout",
                UpstreamFaultKind::Connect | UpstreamFaultKind::Unresolved => "no_healthy_upstream",
                UpstreamFaultKind::Broken
                | UpstreamFaultKind::Unreadable
                | UpstreamFaultKind::TooLarge
                | UpstreamFaultKind::Tls => "upstream_error",
            },
        }
    }

    /// The rule of the configuration or of a pack that decided, if one did.
    pub fn rule(&self) -> Option<Arc<str>> {
        if let Self::Denied(denied) = self {
            return denied.rule.clone();
        }
        if let Self::Judge(name) = self {
            return Some(Arc::clone(name));
        }
        if let Self::Guard(blocked) | Self::GuardAnswer(blocked) = self {
            return Some(Arc::clone(&blocked.rule));
        }
        None
    }

    /// What is wrong and what to do, for the caller.
    pub fn message(&self) -> String {
        match self {
            Self::AuditDown => "The gateway cannot write its audit log and serves nothing \
                until it can. Try again later."
                .into(),
            Self::BodySlow => "The request body did not arrive in time. Send it faster.".into(),
            Self::BodyTooLarge(most) => {
                format!("The request body is larger than {most} bytes. Send a smaller one.")
            }
            Self::BodyUnframed => "The request body breaks its own framing.".into(),
            Self::Chat(fault) => fault.message.clone(),
            Self::ClientGone => "The client closed the connection.".into(),
            Self::Coding(fault) => format!("The request body cannot be decoded: {fault}."),
            Self::Denied(denied) => denied_message(denied),
            Self::Exceeded(exceeded) => exceeded_message(exceeded),
            Self::Guard(blocked) => format!(
                "The guard rule `{}` blocks this request. Remove what it looks for and send it \
                 again.",
                blocked.rule
            ),
            Self::GuardAnswer(blocked) if blocked.rule.starts_with("grounding.") => format!(
                "The answer is not supported by the sources that it should be drawn from (rule \
                 `{}`).",
                blocked.rule
            ),
            Self::GuardAnswer(blocked) => {
                format!("The guard rule `{}` blocks this answer.", blocked.rule)
            }
            Self::Head(fault) => format!("The request is not valid HTTP: {fault}."),
            Self::HeadSlow => "The request head did not arrive in time.".into(),
            Self::Identity(fault) => fault.to_string(),
            Self::Json(error) => format!("Not readable: {error}. Send one valid JSON value."),
            Self::Judge(name) => format!(
                "The guard `{name}` gave no verdict, and nothing passes without it. Try again \
                 later."
            ),
            Self::Mcp(fault) => fault.to_string(),
            Self::Transport(fault) => fault.to_string(),
            Self::McpEra => "This endpoint speaks MCP revisions up to 2025-11-25: open with \
                `initialize`."
                .into(),
            Self::NoRandom => "The system gives no random numbers.".into(),
            Self::Pressure => "The gateway is short of memory and takes no new work just now. Try \
                again shortly."
                .into(),
            Self::NoModel => "There is no model of that name. `GET /v1/models` lists those that \
                you may use."
                .into(),
            Self::NoServer => "There is no MCP server of that name.".into(),
            Self::Route(fault) => route_message(*fault),
            Self::Scan(fault) => format!("Not a scan: {fault}."),
            Self::Session(_) => "The session is unknown or has ended: initialize again.".into(),
            Self::Stopped => "The gateway shuts down. Try again.".into(),
            Self::Upstream(fault) => upstream_message(fault),
        }
    }
}

fn identity_code(fault: IdentityFault) -> &'static str {
    match fault {
        IdentityFault::Missing => "missing_api_key",
        IdentityFault::Expired => "expired_api_key",
        IdentityFault::Malformed | IdentityFault::Unknown { .. } | IdentityFault::Conflicting => {
            "invalid_api_key"
        }
    }
}

fn route_message(fault: RouteFault) -> String {
    match fault {
        RouteFault::Ambiguous => "Servers read this path in different ways: send it in its plain \
            form."
            .into(),
        RouteFault::Encoding => "This content coding is not taken. Send the body without, or with \
            one that `accept-encoding` of this answer names."
            .into(),
        RouteFault::MediaType => {
            "Send the body as JSON, with `content-type: application/json`.".into()
        }
        RouteFault::Method(allowed) => format!("This path takes {allowed} only."),
        RouteFault::NotFound => "There is nothing at this path. Ringwall serves \
            /v1/chat/completions, /v1/responses, /v1/messages, /v1/completions, /v1/embeddings, \
            /v1/models and /mcp/{server}."
            .into(),
    }
}

fn denied_message(denied: &Denied) -> String {
    let what = match denied.what {
        DeniedWhat::Model => "this model",
        DeniedWhat::Route => "this path",
        DeniedWhat::Server => "this MCP server",
        DeniedWhat::Tool => "this tool",
    };
    match &denied.rule {
        Some(rule) => format!("The rule `{rule}` does not let you use {what}."),
        None => format!("No rule lets you use {what}. Ask whoever runs the gateway to allow it."),
    }
}

fn exceeded_message(exceeded: &Exceeded) -> String {
    let limit = exceeded.standing.limit;
    match exceeded.limit {
        LimitKind::RequestsPerMinute => format!(
            "Over your limit of {limit} requests a minute. Try again in {} s.",
            exceeded.retry_after.as_secs().max(1)
        ),
        LimitKind::InFlight => {
            format!("Over your limit of {limit} requests at the same time. Wait for one to end.")
        }
        LimitKind::Streams => {
            format!("Over the limit of {limit} streams at the same time. Close one first.")
        }
    }
}

fn upstream_message(fault: &UpstreamFault) -> String {
    let target = &fault.target;
    match fault.kind {
        UpstreamFaultKind::Broken => format!("The upstream `{target}` broke the connection."),
        UpstreamFaultKind::Connect => format!("The upstream `{target}` cannot be reached."),
        UpstreamFaultKind::Unreadable => {
            format!("The upstream `{target}` gave an answer that cannot be inspected.")
        }
        UpstreamFaultKind::Slow => format!("The upstream `{target}` did not answer in time."),
        UpstreamFaultKind::TooLarge => {
            format!("The upstream `{target}` gave an answer that is too large.")
        }
        UpstreamFaultKind::Tls => format!("TLS with the upstream `{target}` failed."),
        UpstreamFaultKind::Unresolved => {
            format!("The upstream `{target}` has no address at the moment.")
        }
    }
}
