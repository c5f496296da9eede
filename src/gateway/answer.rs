//! Heads of answers to the client: what passes from the upstream's, and what is ours.

use crate::gateway::clear;
use crate::gateway::exchange::Exchange;
use crate::gateway::refusal::Refusal;
use crate::http::encode::response_head;
use crate::http::fields::Fields;
use crate::http::head::BodyLength;
use http::StatusCode;

/// Fields of an upstream's answer that never pass: they speak of the hop behind us, or we write our
/// own. Hop-by-hop fields are gone already.
const WITHHELD: &[&str] = &[
    "alt-svc",
    "content-encoding",
    "content-length",
    "date",
    "mcp-session-id",
    "server",
    "strict-transport-security",
    "x-request-id",
    "x-ringwall-guard",
    "x-accel-buffering",
];

/// A field of an answer, of ours.
pub type Field = (&'static str, String);

/// Writes the head of an answer and notes its status on the exchange.
///
/// `theirs` are the upstream's fields, of which all that speaks of the content passes.
pub fn head(
    exchange: &mut Exchange,
    status: StatusCode,
    theirs: Option<&Fields>,
    ours: &[Field],
    length: BodyLength,
) -> Result<Vec<u8>, Refusal> {
    let mut all: Vec<Field> = vec![("x-request-id", exchange.id.to_string())];
    if let Some(standing) = exchange.standing {
        all.push(("x-ratelimit-limit-requests", standing.limit.to_string()));
        all.push(("x-ratelimit-remaining-requests", standing.remaining.to_string()));
        all.push(("x-ratelimit-reset-requests", format!("{}s", standing.reset.as_secs().max(1))));
    }
    all.extend(clear::annotation(exchange).map(|note| ("x-ringwall-guard", note)));
    all.extend_from_slice(ours);
    let own = all.iter().map(|(name, value)| (*name, value.as_bytes()));
    let passing = theirs
        .into_iter()
        .flat_map(Fields::end_to_end)
        .filter(|(name, _)| !WITHHELD.contains(name) && !all.iter().any(|(own, _)| own == name));
    let keep_alive = !exchange.close && !exchange.shard.draining.get();
    exchange.close = !keep_alive;
    let mut out = Vec::with_capacity(512);
    response_head(&mut out, status, passing.chain(own), length, keep_alive)
        .map_err(|_unwritable| Refusal::Stopped)?;
    exchange.status = Some(status);
    exchange.ends_by_close = length == BodyLength::UntilClose;
    Ok(out)
}
