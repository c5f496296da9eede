//! Takes content codings off bodies before anything looks at them, or refuses them: one switch.

use crate::config::model::Encodings;
use crate::gateway::exchange::Exchange;
use crate::gateway::refusal::Refusal;
use crate::gateway::route::{Leg, RouteFault};
use crate::http::coding::{self, Coding, CodingFault};
use crate::http::head::BodyLength;
use crate::http::request::RequestHead;

/// The codings to take off a request's body, where they are ones that we take. What passes a route
/// without a guard keeps its own: nobody looks into it.
pub fn codings(exchange: &Exchange, head: &RequestHead, leg: &Leg) -> Result<Vec<Coding>, Refusal> {
    let routes = &exchange.deployed.plan.config.routes;
    if let Leg::Route(index) = leg
        && routes.get(*index).is_some_and(|route| !route.guard)
    {
        return Ok(Vec::new());
    }
    if matches!(head.body, BodyLength::Empty | BodyLength::Exact(0)) {
        return Ok(Vec::new());
    }
    let codings = coding::listed(&head.fields);
    let codings = codings.map_err(|_unknown| Refusal::Route(RouteFault::Encoding))?;
    let switch = exchange.deployed.plan.config.bounds.encodings;
    if switch == Encodings::Refuse && !codings.is_empty() {
        return Err(Refusal::Route(RouteFault::Encoding));
    }
    Ok(codings)
}

/// A request's body without its codings.
pub fn body(raw: Vec<u8>, codings: &[Coding], most: usize) -> Result<Vec<u8>, Refusal> {
    if codings.is_empty() {
        return Ok(raw);
    }
    match coding::whole(codings, &raw, most) {
        Ok(decoded) => Ok(decoded),
        Err(CodingFault::TooLarge) => Err(Refusal::BodyTooLarge(most)),
        Err(fault) => Err(Refusal::Coding(fault)),
    }
}

/// What a 415 tells the client that it may send (RFC 9110 §15.5.16).
pub fn accepted(exchange: &Exchange) -> &'static str {
    match exchange.deployed.plan.config.bounds.encodings {
        Encodings::Decode => coding::ACCEPTED,
        Encodings::Refuse => "identity",
    }
}
