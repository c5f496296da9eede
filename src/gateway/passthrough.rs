//! The passthrough leg: what Ringwall does not model passes as it is, by the same gates.
//!
//! Method, path, query and body are the client's. Who asks is told by headers that only we write:
//! what a client sends under such a name, or under one that a server could take for it, stays
//! here, and so do its credentials. Answers pass chunk by chunk, the next one read when the client
//! has taken the last, so that nothing piles up in between.

use crate::base::ask::{Ask, RouteAsk};
use crate::base::caller::Caller;
use crate::base::numbers::to_u64;
use crate::base::spare;
use crate::base::text::{Channel, Place, Text, Trust};
use crate::config::model::{CallerPart, Route, Target};
use crate::gateway::answer::{self, Field};
use crate::gateway::client::Client;
use crate::gateway::exchange::Exchange;
use crate::gateway::refusal::{Gate, Refusal};
use crate::gateway::reply::Reply;
use crate::gateway::route::RouteFault;
use crate::gateway::upstream::{Endpoint, Outbound, Proofs, send};
use crate::guard::inspect::Cleared;
use crate::http::encode::{chunk, last_chunk};
use crate::http::fields::Fields;
use crate::http::head::BodyLength;
use crate::http::request::RequestHead;
use crate::mcp::walk::{Part, Shape, Walk};
use http::Method;
use std::sync::Arc;

/// Who asks, as every upstream of a route is told.
const USER: &str = "x-ringwall-user";
/// Names that are ours or end here, written with `-` for all but letters and digits.
const WITHHELD: &[&str] = &[
    "authorization",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "traceparent",
    "via",
    "x-api-key",
    "x-real-ip",
    "x-request-id",
];
/// Beginnings of such names.
const WITHHELD_PREFIXES: &[&str] = &["x-ringwall-", "x-forwarded-"];
/// Names that frame a message.
const FRAMING: &[&str] = &["content-length", "transfer-encoding"];
/// Names that are about a body with its content codings on.
const OF_CODING: &[&str] =
    &["content-digest", "content-encoding", "content-md5", "digest", "repr-digest"];
/// Fields of an answer that are withheld from other legs and belong to the content here.
const OF_CONTENT: &[&str] = &["content-encoding", "date"];

/// A request that passes, ready to go.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a> {
    /// The head it came with.
    pub head: &'a RequestHead,
    /// Its body, as it came but for the content codings that were taken off.
    pub raw: &'a [u8],
    /// Whether some were.
    pub is_decoded: bool,
    /// Which route.
    pub route: usize,
}

/// Notes what is asked, before a body is read.
pub fn ask(exchange: &mut Exchange, head: &RequestHead, index: usize) -> Result<(), Refusal> {
    let plan = Arc::clone(&exchange.deployed.plan);
    let route = route(&plan.config.routes, index)?;
    exchange.ask = Some(Ask::Route(RouteAsk {
        route: route.name.to_string(),
        method: head.method.to_string(),
        path: head.path.clone(),
    }));
    Ok(())
}

/// The text of a body that is JSON, where the route has a guard; else what passes unseen is noted.
pub fn read(
    exchange: &mut Exchange,
    head: &RequestHead,
    raw: &[u8],
    index: usize,
) -> Result<Text, Refusal> {
    let plan = Arc::clone(&exchange.deployed.plan);
    let looked_at = route(&plan.config.routes, index)?.guard && plan.config.guard.enabled;
    let mut walk = Walk::new(Trust::Caller);
    if looked_at && !raw.is_empty() {
        let read = exchange.shard.reader.borrow_mut().read(raw);
        let json = match read {
            Ok(json) => Some(json),
            Err(error) if is_json(head) => return Err(Refusal::Json(error)),
            Err(_) => None,
        };
        if let Some(json) = json {
            let place = Place { path: "body", indexes: [0, 0] };
            walk.value(json.root(), Part { channel: Channel::User, place, shape: Shape::Free });
            return Ok(walk.text);
        }
    }
    exchange.unseen.0 = to_u64(raw.len());
    Ok(walk.text)
}

/// Whether the body says of itself that it is JSON; any of its media types counts.
fn is_json(head: &RequestHead) -> bool {
    let types = head.fields.iter().filter(|(name, _)| *name == "content-type");
    types.into_iter().any(|(_, value)| {
        let bare = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let bare = bare.to_ascii_lowercase();
        bare.ends_with(b"/json") || bare.ends_with(b"+json")
    })
}

/// Sends what passes to its upstream.
pub async fn send_on(
    proofs: Proofs<'_>,
    exchange: &mut Exchange,
    client: &mut Client,
    passage: Passage<'_>,
) -> Result<Box<Reply>, Refusal> {
    let plan = Arc::clone(&exchange.deployed.plan);
    let route = route(&plan.config.routes, passage.route)?;
    let target = plan.config.targets.get(route.target);
    let head = passage.head;
    let whole = match &head.query {
        Some(query) => format!("{}?{query}", head.path),
        None => head.path.clone(),
    };
    let body = |_order: usize, cleared: &Cleared| cleared.splices().clone().apply(passage.raw);
    let outbound = Outbound {
        method: head.method.clone(),
        endpoint: Endpoint::Whole(&whole),
        fields: vec![
            ("x-request-id", exchange.id.to_string().into_bytes()),
            ("traceparent", exchange.trace.to_string().into_bytes()),
        ],
        passing: &passing(passage, exchange.caller.as_deref(), route, target),
        may_repeat: head.method.is_idempotent(),
        targets: &[route.target],
        body: &body,
    };
    let reply = send(proofs, exchange, client, &outbound).await?;
    exchange.pass(Gate::Upstream, None);
    Ok(Box::new(reply))
}

/// Relays the answer to a request of that method.
pub async fn answer(
    exchange: &mut Exchange,
    client: &mut Client,
    reply: Box<Reply>,
    method: &Method,
) -> Result<(), Refusal> {
    let relayed = relay(exchange, client, reply, method).await;
    // Where an answer broke off, the end of the connection is how the client sees it.
    relayed.inspect_err(|_| exchange.close |= exchange.is_answering())
}

fn route(routes: &[Route], index: usize) -> Result<&Route, Refusal> {
    routes.get(index).ok_or(Refusal::Route(RouteFault::NotFound))
}

/// The client's fields that pass, and then who asks.
fn passing(
    Passage { head, is_decoded, .. }: Passage<'_>,
    caller: Option<&Caller>,
    route: &Route,
    target: Option<&Target>,
) -> Fields {
    let credential = target.and_then(|target| target.credential.as_ref());
    let ours: Vec<String> = std::iter::once(USER)
        .chain(route.identity.iter().map(|header| header.name.as_str()))
        .chain(credential.map(|credential| credential.header.as_str()))
        .map(mapped)
        .collect();
    let mut fields = Fields::default();
    for (name, value) in head.fields.end_to_end() {
        let mapped = mapped(name);
        let ends_here = ours.contains(&mapped)
            || is_withheld(&mapped)
            || is_decoded && OF_CODING.contains(&&*mapped)
            || FRAMING.iter().any(|framing| seems(name, framing));
        if !ends_here {
            fields.push(name, value);
        }
    }
    let Some(caller) = caller else { return fields };
    fields.push(USER, caller.user.as_ref().unwrap_or(&caller.name).as_bytes());
    for header in &route.identity {
        let part = match header.part {
            CallerPart::App => caller.app.as_ref(),
            CallerPart::Name => Some(&caller.name),
            CallerPart::Team => caller.team.as_ref(),
            CallerPart::User => caller.user.as_ref(),
        };
        if let Some(part) = part {
            fields.push(header.name.as_str(), part.as_bytes());
        }
    }
    fields
}

fn is_withheld(mapped: &str) -> bool {
    WITHHELD.contains(&mapped) || WITHHELD_PREFIXES.iter().any(|prefix| mapped.starts_with(prefix))
}

/// A name as CGI and its heirs fold it: letters and digits stay, everything else is one thing.
fn mapped(name: &str) -> String {
    let plain =
        |byte: u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    name.bytes().map(|byte| char::from(plain(byte))).collect()
}

/// Whether a server that overlooks what is no letter reads the one name as the other.
fn seems(name: &str, other: &str) -> bool {
    let counts = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'-';
    name.bytes().filter(counts).eq(other.bytes())
}

/// Passes the answer on as it comes.
async fn relay(
    exchange: &mut Exchange,
    client: &mut Client,
    mut reply: Box<Reply>,
    method: &Method,
) -> Result<(), Refusal> {
    let deadlines = exchange.deployed.plan.config.deadlines;
    if reply.head.fields.media_type().is_some_and(|media| media == "text/event-stream") {
        exchange.open_stream()?;
    }
    // What arrived with the head is read before anything is said, so that a broken beginning is an
    // error of its own and no broken answer.
    let mut raw = Vec::new();
    let mut done =
        reply.is_ready() && reply.read(&mut raw, client, deadlines.upstream_idle).await?;
    let length = length(exchange, &reply, method);
    let chunked = length == BodyLength::Chunked;
    exchange.close |= length == BodyLength::UntilClose;
    let theirs = &reply.head.fields;
    let ours: Vec<Field> = OF_CONTENT
        .iter()
        .filter_map(|name| theirs.text(name).map(|value| (*name, value.to_owned())))
        .collect();
    let mut ready = answer::head(exchange, reply.head.status, Some(theirs), &ours, length)?;
    loop {
        exchange.bytes_out += to_u64(raw.len());
        exchange.unseen.1 += to_u64(raw.len());
        if chunked {
            chunk(&mut ready, &raw);
        } else {
            ready.extend_from_slice(&raw);
        }
        spare::clear(&mut raw);
        if done && chunked && *method != Method::HEAD {
            last_chunk(&mut ready);
        }
        if !ready.is_empty() {
            ready = client.send(ready, deadlines.write).await?;
            spare::give_back(&mut ready);
        }
        if done {
            break;
        }
        done = reply.read(&mut raw, client, deadlines.upstream_idle).await?;
    }
    reply.give_back(exchange);
    Ok(())
}

/// How the answer is framed for the client: as it came, but in chunks where its end is not known
/// before, and up to the close for a client that reads no chunks.
fn length(exchange: &Exchange, reply: &Reply, method: &Method) -> BodyLength {
    let open = if exchange.takes_chunks() { BodyLength::Chunked } else { BodyLength::UntilClose };
    match reply.head.body {
        BodyLength::Exact(length) => BodyLength::Exact(length),
        BodyLength::Chunked | BodyLength::UntilClose => open,
        // An answer to HEAD says how long the body would be (RFC 9110 §8.6).
        BodyLength::Empty if *method == Method::HEAD => {
            let said = reply.head.fields.text("content-length");
            said.and_then(|digits| digits.parse().ok()).map_or(open, BodyLength::Exact)
        }
        BodyLength::Empty => BodyLength::Empty,
    }
}

#[cfg(test)]
mod tests {
    use super::{Passage, is_json, passing};
    use crate::base::caller::Caller;
    use crate::base::secret::Secret;
    use crate::config::model::{CallerPart, Credential, IdentityHeader, Route, Target};
    use crate::http::head::{HeadBounds, Parsed};
    use crate::http::request::{RequestHead, parse_request};

    fn head(fields: &str) -> RequestHead {
        let text = format!("PUT /f HTTP/1.1\r\nhost: x\r\n{fields}\r\n");
        let bounds = HeadBounds { bytes: 4096, count: 40 };
        match parse_request(text.as_bytes(), &bounds).unwrap() {
            Parsed::Complete { head, .. } => head,
            Parsed::Partial => panic!("partial"),
        }
    }

    fn route() -> Route {
        let name = http::HeaderName::from_static("x-gw-team");
        Route {
            name: "r".into(),
            prefix: "".into(),
            target: 0,
            guard: true,
            listeners: Vec::new(),
            identity: vec![IdentityHeader { name, part: CallerPart::Team }],
        }
    }

    fn sent(fields: &str, team: Option<&str>) -> Vec<(String, String)> {
        passed(fields, team, false)
    }

    fn passed(fields: &str, team: Option<&str>, is_decoded: bool) -> Vec<(String, String)> {
        let caller = Caller {
            name: "bot".into(),
            index: 0,
            user: None,
            app: None,
            team: team.map(Into::into),
            expires: None,
            metadata: Vec::new(),
        };
        let header = http::HeaderName::from_static("api-key");
        let target = Target {
            name: "t".into(),
            tls: None,
            socket: None,
            host: "h".into(),
            port: 80,
            path: "".into(),
            credential: Some(Credential { header, value: Secret::new(b"k") }),
            idle_connections: 0,
            dialects: Vec::new(),
        };
        let passage = Passage { head: &head(fields), raw: b"", is_decoded, route: 0 };
        let fields = passing(passage, Some(&caller), &route(), Some(&target));
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        fields.iter().map(|(name, value)| (name.to_owned(), text(value))).collect()
    }

    #[test]
    fn the_clients_own_fields_pass() {
        let sent = sent("Content-Type: a/b\r\nrange: bytes=1-\r\ncookie: c=1\r\n", Some("red"));
        let expected = [
            ("content-type", "a/b"),
            ("range", "bytes=1-"),
            ("cookie", "c=1"),
            ("x-ringwall-user", "bot"),
            ("x-gw-team", "red"),
        ];
        let expected: Vec<_> = expected.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        assert_eq!(sent, expected);
    }

    #[test]
    fn no_client_says_who_it_is_or_how_its_body_ends() {
        for name in [
            "X-Gw-Team",
            "x.gw.team",
            "x-gw~team",
            "X-Ringwall-User",
            "x!ringwall!user",
            "x-ringwall-anything",
            "api-key",
            "api.key",
            "Authorization",
            "x-api-key",
            "X-Forwarded-For",
            "x.forwarded.user",
            "forwarded",
            "Via",
            "x-request-id",
            "transfer-encoding~",
            "content-length!",
            "1content-length",
            "proxy-connection",
            "Keep-Alive",
            "te",
            "upgrade",
        ] {
            let sent = sent(&format!("{name}: eve\r\n"), None);
            let all = [("x-ringwall-user".to_owned(), "bot".to_owned())];
            assert_eq!(sent, all, "{name}");
        }
        let nominated =
            sent("connection: x-gw-team, x-a, x-ringwall-user\r\nx-a: 1\r\n", Some("red"));
        let names: Vec<_> = nominated.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-ringwall-user", "x-gw-team"]);
    }

    #[test]
    fn what_is_about_a_coding_goes_with_it() {
        let fields = "content-encoding: gzip\r\ncontent.encoding: gzip\r\nDigest: sha-256=x\r\n\
            content-digest: x\r\ncontent-md5: x\r\nrepr-digest: x\r\n";
        let names = |is_decoded| passed(fields, None, is_decoded).len();
        assert_eq!((names(false), names(true)), (7, 1));
    }

    #[test]
    fn any_json_type_is_json() {
        for (fields, expected) in [
            ("content-type: application/json\r\n", true),
            ("content-type: Text/JSON; charset=x\r\n", true),
            ("content-type: a/b\r\ncontent-type: application/ld+json\r\n", true),
            ("content-type: application/jsonl\r\n", false),
            ("", false),
        ] {
            assert_eq!(is_json(&head(fields)), expected, "{fields}");
        }
    }
}
