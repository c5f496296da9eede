//! The Streamable HTTP transport of MCP, as far as it can be checked without a socket: what a
//! client accepts, which revision it speaks, and to which era its message belongs.
//!
//! Only the legacy era is spoken so far. A client that opens with the modern one is answered so
//! that it falls back to `initialize`.

use crate::base::json::{Json, Value};
use crate::mcp::error::{INVALID_REQUEST, error};
use http::StatusCode;
use std::fmt;

/// The legacy revisions with this transport, oldest first.
pub const LEGACY_REVISIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
/// What a client speaks that does not say (2025-06-18, "Protocol Version Header").
pub const ASSUMED_REVISION: &str = "2025-03-26";
/// The first revision without sessions.
pub const MODERN_REVISION: &str = "2026-07-28";
/// The field of `params._meta` by which every modern request says its revision.
const MODERN_FIELD: &str = "io.modelcontextprotocol/protocolVersion";
/// The request that a modern client begins with.
const MODERN_GREETING: &str = "server/discover";
const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// The two ways MCP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// With `initialize` and sessions: revisions up to 2025-11-25.
    Legacy,
    /// Each request for itself: revision 2026-07-28 and later.
    Modern,
}

/// Why a request does not fit the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportFault {
    /// A `GET` whose client does not accept an event stream: 406.
    AcceptEvents,
    /// A `POST` whose client does not accept both JSON and an event stream: 406.
    AcceptBoth,
    /// A browser sent it from a page that is not on this machine: 403.
    Origin,
    /// An `MCP-Protocol-Version` that nobody here knows: 400.
    Revision,
}

/// Whether a `POST` may be answered as the server likes: the client must accept JSON and an event
/// stream ("Sending Messages to the Server"). No `accept` at all means anything (RFC 9110 §12.5.1).
pub fn check_post(accept: Option<&str>) -> Result<(), TransportFault> {
    let both = accept.is_none_or(|value| accepts(value, JSON) && accepts(value, EVENTS));
    both.then_some(()).ok_or(TransportFault::AcceptBoth)
}

/// Whether a `GET` may be answered with an event stream ("Listening for Messages").
pub fn check_get(accept: Option<&str>) -> Result<(), TransportFault> {
    let events = accept.is_none_or(|value| accepts(value, EVENTS));
    events.then_some(()).ok_or(TransportFault::AcceptEvents)
}

/// Whether the page that a browser sends a message from may do so ("Security Warning": servers must
/// look, since a page can make its own name lead here by DNS rebinding). Clients that are no
/// browsers send no `origin`; pages are let in from this machine only.
pub fn check_origin(origin: Option<&str>) -> Result<(), TransportFault> {
    origin.is_none_or(is_local_page).then_some(()).ok_or(TransportFault::Origin)
}

fn is_local_page(origin: &str) -> bool {
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        let hosts = ["localhost", "127.0.0.1", "[::1]"];
        let port = hosts.into_iter().find_map(|host| rest.strip_prefix(host));
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        port.is_some_and(|port| port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
    })
}

/// The legacy revision that a request's `MCP-Protocol-Version` names.
pub fn revision(header: Option<&str>) -> Result<&'static str, TransportFault> {
    let Some(named) = header else { return Ok(ASSUMED_REVISION) };
    let known = LEGACY_REVISIONS.into_iter().find(|known| *known == named.trim_ascii());
    known.ok_or(TransportFault::Revision)
}

/// To which era a `POST` belongs, by its `MCP-Protocol-Version` and its message. `initialize` that
/// does not say otherwise in its body is legacy.
pub fn era(header: Option<&str>, json: &Json) -> Era {
    let root = json.root();
    let method = root.member("method").and_then(Value::as_str);
    let params = root.member("params");
    let meta = params.and_then(|params| params.member("_meta"));
    let says = meta.and_then(|meta| meta.member(MODERN_FIELD)).is_some();
    let header_says = method != Some("initialize") && header.is_some_and(is_modern);
    let modern = says || header_says || method == Some(MODERN_GREETING);
    if modern { Era::Modern } else { Era::Legacy }
}

/// What a modern request is answered while only the legacy era is spoken: status and body. It has
/// none of the codes by which a modern server is known (-32020 to -32022), so clients that speak
/// both eras take it for a legacy server and send `initialize`. Not 404, which in the legacy era
/// means that a session has ended.
pub fn legacy_only_answer(id: Option<&str>, request_id: &str) -> (StatusCode, Vec<u8>) {
    let message = "MCP revisions up to 2025-11-25 are spoken here: begin with initialize";
    let body = error(id, INVALID_REQUEST, message, "mcp_legacy_only", request_id);
    (StatusCode::BAD_REQUEST, body)
}

/// Revisions are dates, so later ones sort after: those are modern too.
fn is_modern(revision: &str) -> bool {
    let revision = revision.trim_ascii();
    let date = revision.len() == MODERN_REVISION.len()
        && revision.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    date && revision >= MODERN_REVISION
}

/// Whether one of the ranges of an `accept` value takes a media type (RFC 9110 §12.5.1). Where
/// several do, the most precise one counts; a weight of zero means no.
fn accepts(value: &str, wanted: &str) -> bool {
    let precise = |range: &str| {
        let major = wanted.split('/').next().unwrap_or_default();
        let family = range.strip_suffix("/*");
        match range {
            _ if range.eq_ignore_ascii_case(wanted) => Some(3_u8),
            "*/*" => Some(1),
            _ if family.is_some_and(|family| family.eq_ignore_ascii_case(major)) => Some(2),
            _ => None,
        }
    };
    let best = value.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let precise = precise(parts.next().unwrap_or_default())?;
        Some((precise, !parts.any(is_zero_weight)))
    });
    best.max().is_some_and(|(_, taken)| taken)
}

fn is_zero_weight(parameter: &str) -> bool {
    let weight = parameter.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("q"));
    weight.is_some_and(|(_, value)| value.parse() == Ok(0.0_f32))
}

impl TransportFault {
    /// The status to answer with.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::AcceptBoth | Self::AcceptEvents => StatusCode::NOT_ACCEPTABLE,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::Revision => StatusCode::BAD_REQUEST,
        }
    }

    /// The name in answers, records and metrics; stable.
    pub const fn code(self) -> &'static str {
        match self {
            Self::AcceptBoth | Self::AcceptEvents => "mcp_not_acceptable",
            Self::Origin => "mcp_foreign_origin",
            Self::Revision => "mcp_unknown_revision",
        }
    }
}

impl fmt::Display for TransportFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::AcceptEvents => "accept must take text/event-stream",
            Self::AcceptBoth => "accept must take both application/json and text/event-stream",
            Self::Origin => "pages of other machines may not send messages here",
            Self::Revision => {
                "mcp-protocol-version must be 2024-11-05, 2025-03-26, 2025-06-18 or 2025-11-25"
            }
        })
    }
}

impl std::error::Error for TransportFault {}

#[cfg(test)]
mod tests {
    use super::{
        Era, TransportFault, check_get, check_origin, check_post, era, legacy_only_answer, revision,
    };
    use crate::base::json::Reader;
    use proptest::prelude::{any, proptest};

    #[test]
    fn a_post_takes_both_kinds_of_answer() {
        for good in [
            "application/json, text/event-stream",
            "text/event-stream;q=0.5,APPLICATION/JSON;charset=utf-8",
            "*/*",
            "application/*, text/*",
            "text/html, */*;q=0.1",
        ] {
            assert_eq!(check_post(Some(good)), Ok(()), "{good}");
        }
        assert_eq!(check_post(None), Ok(()));
        for bad in [
            "",
            "application/json",
            "text/event-stream",
            "text/*",
            "*/*, application/json;q=0",
            "application/json, text/event-stream; q=0.000",
            "application/jsonl, text/event-stream",
        ] {
            assert_eq!(check_post(Some(bad)), Err(TransportFault::AcceptBoth), "{bad}");
        }
        assert_eq!(check_get(Some("text/event-stream")), Ok(()));
        assert_eq!(check_get(Some("application/json")), Err(TransportFault::AcceptEvents));
    }

    #[test]
    fn only_pages_of_this_machine_may_send_messages() {
        let good =
            ["http://localhost", "https://localhost:6274", "http://[::1]:1", "http://127.0.0.1:80"];
        for origin in good {
            assert_eq!(check_origin(Some(origin)), Ok(()), "{origin}");
        }
        assert_eq!(check_origin(None), Ok(()));
        for origin in [
            "",
            "null",
            "https://evil.example",
            "http://localhost.evil.example",
            "http://localhost:80.evil.example",
            "http://127.0.0.1.evil.example",
            "file://localhost",
        ] {
            assert_eq!(check_origin(Some(origin)), Err(TransportFault::Origin), "{origin}");
        }
    }

    #[test]
    fn only_known_revisions_are_spoken() {
        assert_eq!(revision(None), Ok("2025-03-26"));
        assert_eq!(revision(Some(" 2025-11-25 ")), Ok("2025-11-25"));
        for bad in ["", "2026-07-28", "2025-11-26", "1.0"] {
            assert_eq!(revision(Some(bad)), Err(TransportFault::Revision), "{bad}");
        }
    }

    #[test]
    fn the_era_is_told_by_header_or_message() {
        let of = |header, raw: &str| era(header, &Reader::default().read(raw.as_bytes()).unwrap());
        let list = r#"{"method":"tools/list"}"#;
        let stamped = r#"{"method":"tools/list","params":{"_meta":{
            "io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        let initialize = r#"{"method":"initialize","params":{}}"#;
        assert_eq!(of(None, list), Era::Legacy);
        assert_eq!(of(Some("2025-11-25"), list), Era::Legacy);
        assert_eq!(of(Some("2026-07-28"), list), Era::Modern);
        assert_eq!(of(Some("2027-01-01"), list), Era::Modern);
        assert_eq!(of(Some("zzzz-zz-zz"), list), Era::Legacy);
        assert_eq!(of(None, stamped), Era::Modern);
        assert_eq!(of(None, r#"{"method":"server/discover"}"#), Era::Modern);
        assert_eq!(of(Some("2026-07-28"), initialize), Era::Legacy);
        assert_eq!(of(None, "[]"), Era::Legacy);
    }

    #[test]
    fn a_modern_client_is_told_to_begin_again() {
        let (status, body) = legacy_only_answer(Some("0"), "req_1");
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status, 400);
        assert_eq!(body["id"], 0);
        assert_eq!(body["error"]["code"], -32600, "none of the modern codes");
    }

    proptest! {
        #[test]
        fn any_header_gets_an_answer(text in any::<String>()) {
            let (post, get) = (check_post(Some(&text)), check_get(Some(&text)));
            assert!(get.is_ok() || post.is_err(), "who takes both takes events");
            revision(Some(&format!("{text}!"))).unwrap_err();
        }
    }
}
