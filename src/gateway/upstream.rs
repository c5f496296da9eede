//! Gate *upstream*: chooses a target, sends, and gives back the answer's head.
//!
//! The only place on the data path that may send. It demands the proofs of the gates before it, so
//! a path that skips one does not compile:
//!
//! ```compile_fail
//! // A permit cannot be made up, nor a lease, nor a clearance: their fields are private and only
//! // their own gate makes them.
//! let permit = ringwall::policy::rules::Permit { rule: "mine".into() };
//! ```
//!
//! ```compile_fail
//! use ringwall::gateway::upstream::Proofs;
//! fn skip_the_guard(
//!     permit: &ringwall::policy::rules::Permit,
//!     lease: &ringwall::limits::shard::Lease,
//! ) -> usize {
//!     // Leaving out `cleared` is not a shorter call, it is no call at all.
//!     std::mem::size_of_val(&Proofs { permit, lease })
//! }
//! ```
//!
//! The same with every proof does compile:
//!
//! ```
//! use ringwall::gateway::upstream::Proofs;
//! fn all_gates(
//!     permit: &ringwall::policy::rules::Permit,
//!     lease: &ringwall::limits::shard::Lease,
//!     cleared: &ringwall::guard::inspect::Cleared,
//! ) -> usize {
//!     std::mem::size_of_val(&Proofs { permit, lease, cleared })
//! }
//! ```

use crate::base::numbers::to_u64;
use crate::config::model::{Bounds, Deadlines, Target};
use crate::gateway::client::Client;
use crate::gateway::exchange::{Exchange, UpstreamUse};
use crate::gateway::judge;
use crate::gateway::refusal::{Refusal, UpstreamFault, UpstreamFaultKind};
use crate::gateway::reply::{READ_BYTES, Reply, fault, upstream_refusal};
use crate::gateway::shard::{Deployed, Shard};
use crate::guard::inspect::Cleared;
use crate::http::encode::request_head;
use crate::http::fields::Fields;
use crate::http::head::{BodyLength, HeadBounds, Parsed};
use crate::http::response::{ResponseHead, parse_response};
use crate::limits::shard::Lease;
use crate::policy::rules::Permit;
use crate::wire::dial::{connect, connect_tls, connect_unix};
use crate::wire::error::WireError;
use crate::wire::socket::Socket;
use http::{Method, StatusCode};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Interim answers (1xx) that are skipped before the real one.
const INTERIM_MAX: usize = 8;
/// A body up to this travels in one buffer with its head.
const ONE_WRITE_BYTES: usize = 64 * 1024;

/// The proofs of the gates that a request went through.
#[derive(Clone, Copy, Debug)]
pub struct Proofs<'a> {
    /// They may.
    pub permit: &'a Permit,
    /// There is room.
    pub lease: &'a Lease,
    /// It is safe.
    pub cleared: &'a Cleared,
}

/// A header field of a request to an upstream.
pub type Field = (&'static str, Vec<u8>);

/// Where at a target a request goes.
#[derive(Clone, Copy, Debug)]
pub enum Endpoint<'a> {
    /// Below the target's own path, such as `/chat/completions`.
    Below(&'a str),
    /// This path and query, as the client wrote them.
    Whole(&'a str),
}

/// Makes the body for the n-th of the targets from what was cleared.
pub type MakeBody<'a> = dyn Fn(usize, &Cleared) -> Vec<u8> + 'a;

/// A request to be sent on.
pub struct Outbound<'a> {
    /// Its method.
    pub method: Method,
    /// Where it goes at the target.
    pub endpoint: Endpoint<'a>,
    /// Its header fields, without framing, host and credential.
    pub fields: Vec<Field>,
    /// More of them, of whatever name.
    pub passing: &'a Fields,
    /// Where it may go, best first.
    pub targets: &'a [usize],
    /// Whether it may be sent again where an upstream took it and then broke off: a tool may not
    /// run twice (RFC 9110 §9.2.2).
    pub may_repeat: bool,
    /// Its body for the n-th of the targets, made from what was cleared.
    pub body: &'a MakeBody<'a>,
}

impl fmt::Debug for Outbound<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the fields or the body: they hold what must not be printed.
        out.debug_struct("Outbound").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// A request on its way to one target.
#[derive(Clone, Copy)]
struct Trip<'a> {
    outbound: &'a Outbound<'a>,
    entry: &'a Target,
    target: usize,
    body: &'a [u8],
}

/// Sends a request to the first target that answers it.
///
/// The next target is tried where one cannot be reached, breaks off or stays silent before the
/// first byte of its answer, or answers 429 or 5xx. The last one's answer stands.
pub async fn send(
    proofs: Proofs<'_>,
    exchange: &mut Exchange,
    client: &mut Client,
    outbound: &Outbound<'_>,
) -> Result<Reply, Refusal> {
    let mut last = None;
    for (order, &target) in outbound.targets.iter().enumerate() {
        let is_last = order + 1 == outbound.targets.len();
        let body = (outbound.body)(order, proofs.cleared);
        match attempt(exchange, client, outbound, target, &body).await {
            Ok(reply) if is_last || !is_worth_another(&reply) => {
                judge::concluded(exchange).await?;
                return Ok(reply);
            }
            // Its connection closes with it: what is left of the answer is not worth reading.
            Ok(_) => {}
            Err(Refusal::Upstream(fault)) => last = Some(fault),
            Err(refusal) => return Err(refusal),
        }
    }
    let none = || fault("none", UpstreamFaultKind::Unresolved);
    Err(Refusal::Upstream(last.unwrap_or_else(none)))
}

fn is_worth_another(reply: &Reply) -> bool {
    reply.head.status.as_u16() == 429 || reply.head.status.is_server_error()
}

/// One target: over a connection that was kept alive, and once more over a new one where the old
/// one turns out to be dead before it answered a byte.
async fn attempt(
    exchange: &mut Exchange,
    client: &mut Client,
    outbound: &Outbound<'_>,
    target: usize,
    body: &[u8],
) -> Result<Reply, Refusal> {
    let deployed = Arc::clone(&exchange.deployed.plan);
    let Some(entry) = deployed.config.targets.get(target) else {
        return Err(Refusal::Upstream(fault("none", UpstreamFaultKind::Unresolved)));
    };
    let trip = Trip { outbound, entry, target, body };
    let deadlines = &deployed.config.deadlines;
    if let Some(socket) = kept(exchange, outbound, target).await {
        note_attempt(exchange, target, None);
        match exchange_heads(exchange, client, trip, socket).await {
            Err(Refusal::Upstream(UpstreamFault { kind: UpstreamFaultKind::Broken, .. }))
                if outbound.may_repeat => {}
            // Said to a connection that idled too long, not to this request (RFC 9110 §15.5.9).
            Ok(reply) if reply.head.status == StatusCode::REQUEST_TIMEOUT => {}
            other => return other,
        }
    }
    let before = exchange.shard.clock.mono();
    let socket = dial(exchange, entry, target, deadlines).await?;
    let spent = exchange.shard.clock.mono().since(before);
    note_attempt(exchange, target, u64::try_from(spent.as_nanos()).ok());
    exchange_heads(exchange, client, trip, socket).await
}

/// A connection that was kept alive. What must not be sent twice gets only one that lives, as far
/// as the kernel knows, and what passes as it is one on which nothing was said since: the client
/// would take it for its own answer. For all else, whose answers are read and inspected, a look
/// would cost more than the rare second try.
async fn kept(exchange: &Exchange, outbound: &Outbound<'_>, target: usize) -> Option<Socket> {
    let now = exchange.shard.clock.mono();
    let may_skip = outbound.may_repeat && matches!(outbound.endpoint, Endpoint::Below(_));
    loop {
        let socket = exchange.deployed.pool.borrow_mut().take(target, now)?;
        if may_skip || socket.is_quiet().await {
            return Some(socket);
        }
    }
}

fn note_attempt(exchange: &mut Exchange, target: usize, connect_nanos: Option<u64>) {
    let attempts = exchange.upstream.as_ref().map_or(0, |used| used.attempts) + 1;
    let began = exchange.shard.clock.mono();
    exchange.upstream = Some(UpstreamUse {
        target,
        attempts,
        status: None,
        connect_nanos,
        first_byte_nanos: None,
        began,
    });
}

async fn dial(
    exchange: &mut Exchange,
    entry: &Target,
    target: usize,
    deadlines: &Deadlines,
) -> Result<Socket, Refusal> {
    let opened =
        open(&exchange.shard, &exchange.deployed, (target, entry), deadlines.connect).await;
    match opened {
        Ok(socket) => Ok(socket),
        Err(None) => Err(Refusal::Stopped),
        Err(Some(kind)) => {
            note_attempt(exchange, target, None);
            Err(Refusal::Upstream(fault(&entry.name, kind)))
        }
    }
}

/// A new connection to a target, at the first of its addresses that takes one. No kind of fault:
/// the worker ends.
pub(super) async fn open(
    shard: &Shard,
    deployed: &Deployed,
    (target, entry): (usize, &Target),
    limit: Duration,
) -> Result<Socket, Option<UpstreamFaultKind>> {
    let addresses = deployed.addresses.borrow().get(target).map(Arc::clone);
    let tls = deployed.plan.target_tls.get(target).cloned().flatten();
    let watch = shard.watch.clone();
    let mut last = UpstreamFaultKind::Unresolved;
    if let Some(path) = &entry.socket {
        match connect_unix(path, &watch, limit).await {
            Ok(socket) => return Ok(socket),
            Err(WireError::Stopped) => return Err(None),
            Err(_) => last = UpstreamFaultKind::Connect,
        }
    }
    let name = entry.tls.as_ref().and_then(|tls| tls.name.as_ref()).unwrap_or(&entry.host);
    for address in addresses.iter().flat_map(|known| known.iter()) {
        let tried = match &tls {
            None => connect(*address, &watch, limit).await,
            Some(config) => connect_tls(*address, &watch, limit, Arc::clone(config), name).await,
        };
        match tried {
            Ok(socket) => return Ok(socket),
            Err(WireError::Stopped) => return Err(None),
            Err(WireError::Tls(_)) => last = UpstreamFaultKind::Tls,
            Err(_) => last = UpstreamFaultKind::Connect,
        }
    }
    Err(Some(last))
}

/// Writes the request and reads the answer's head.
async fn exchange_heads(
    exchange: &mut Exchange,
    client: &mut Client,
    trip: Trip<'_>,
    mut socket: Socket,
) -> Result<Reply, Refusal> {
    let Trip { outbound, entry, target, body } = trip;
    let deadlines = exchange.deployed.plan.config.deadlines;
    let bounds = head_bounds(&exchange.deployed.plan.config.bounds);
    let before = exchange.shard.clock.mono();
    let head = encode(outbound, entry, body)?;
    let blame = |error: WireError| upstream_refusal(error, &entry.name);
    if body.len() <= ONE_WRITE_BYTES {
        let mut all = head;
        all.extend_from_slice(body);
        socket.write(all, deadlines.write).await.map_err(blame)?;
    } else {
        socket.write(head, deadlines.write).await.map_err(blame)?;
        socket.write(body.to_vec(), deadlines.write).await.map_err(blame)?;
    }
    let mut ahead = Vec::new();
    let head =
        read_head(&mut socket, &mut ahead, client, (deadlines.first_byte, bounds), trip).await?;
    let spent = exchange.shard.clock.mono().since(before);
    if let Some(used) = &mut exchange.upstream {
        used.status = Some(head.status);
        used.first_byte_nanos = u64::try_from(spent.as_nanos()).ok();
    }
    Ok(Reply::begin(head, (target, &entry.name), socket, ahead))
}

fn encode(outbound: &Outbound<'_>, entry: &Target, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let path = match outbound.endpoint {
        Endpoint::Below(endpoint) => format!("{}{endpoint}", entry.path),
        Endpoint::Whole(target) => target.to_owned(),
    };
    let host = host_of(entry);
    let credential = entry
        .credential
        .iter()
        .map(|credential| (credential.header.as_str(), credential.value.expose()));
    let ours = outbound.fields.iter().map(|(name, value)| (*name, &**value));
    let fields = outbound.passing.iter().chain(ours).chain(credential);
    let length = if body.is_empty() && outbound.method != Method::POST {
        BodyLength::Empty
    } else {
        BodyLength::Exact(to_u64(body.len()))
    };
    let mut head = Vec::with_capacity(512);
    let path = if path.is_empty() { "/" } else { &path };
    request_head(&mut head, &outbound.method, path, &host, fields, length)
        .map_err(|_unwritable| Refusal::Upstream(fault(&entry.name, UpstreamFaultKind::Broken)))?;
    Ok(head)
}

/// What the `Host` field names: the port only where it is not the scheme's own.
pub(super) fn host_of(entry: &Target) -> String {
    let standard = if entry.tls.is_some() { 443 } else { 80 };
    if entry.port == standard {
        entry.host.to_string()
    } else {
        format!("{}:{}", entry.host, entry.port)
    }
}

async fn read_head(
    socket: &mut Socket,
    ahead: &mut Vec<u8>,
    client: &mut Client,
    (limit, bounds): (Duration, HeadBounds),
    Trip { outbound, entry, .. }: Trip<'_>,
) -> Result<ResponseHead, Refusal> {
    let mut interim = 0;
    loop {
        match parse_response(ahead, &bounds, &outbound.method) {
            Err(_) => {
                return Err(Refusal::Upstream(fault(&entry.name, UpstreamFaultKind::Unreadable)));
            }
            Ok(Parsed::Complete { head, length }) => {
                ahead.drain(..length);
                if !head.status.is_informational() {
                    return Ok(head);
                }
                interim += 1;
                if interim > INTERIM_MAX || head.status.as_u16() == 101 {
                    let kind = UpstreamFaultKind::Unreadable;
                    return Err(Refusal::Upstream(fault(&entry.name, kind)));
                }
            }
            Ok(Parsed::Partial) => {
                let got = socket.read_while(ahead, READ_BYTES, limit, client.socket()).await;
                match got {
                    Ok(0) if ahead.is_empty() => {
                        let kind = UpstreamFaultKind::Broken;
                        return Err(Refusal::Upstream(fault(&entry.name, kind)));
                    }
                    // A head that breaks off is no sign of a stale connection.
                    Ok(0) => {
                        let kind = UpstreamFaultKind::Unreadable;
                        return Err(Refusal::Upstream(fault(&entry.name, kind)));
                    }
                    Ok(_) => {}
                    Err(error) => return Err(upstream_refusal(error, &entry.name)),
                }
            }
        }
    }
}

fn head_bounds(bounds: &Bounds) -> HeadBounds {
    HeadBounds { bytes: bounds.upstream_head_bytes, count: bounds.upstream_header_count }
}
