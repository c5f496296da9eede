//! *settle*: the one place where an exchange becomes its record and its counts.

use crate::audit::kind::Kind;
use crate::audit::record::{
    Asked, Bytes, CallerText, Decision, Gate as GateLine, Judge as JudgeLine, Profiles, Record,
    Refused, SKIPPED, UNSEEN, Upstream, Who,
};
use crate::base::ask::Ask;
use crate::base::hit::{Direction, Mode};
use crate::base::text::Channel;
use crate::gateway::exchange::Exchange;
use crate::gateway::judge::{self, Ruling};
use crate::gateway::refusal::Refusal;
use crate::gateway::route::Leg;
use crate::guard::profile::View;
use crate::telemetry::meters::UpstreamStep;
use std::sync::Arc;
use std::time::Duration;

/// How an exchange ended.
pub type Outcome = crate::audit::record::Outcome;

/// What a refusal means for the outcome. `answering`: the answer's head was sent already.
pub fn outcome(refusal: &Refusal, answering: bool) -> Outcome {
    match refusal {
        Refusal::BodySlow | Refusal::HeadSlow => Outcome::ClientSlow,
        Refusal::ClientGone => Outcome::ClientGone,
        Refusal::GuardAnswer(_) if answering => Outcome::Cut,
        Refusal::Stopped => Outcome::Stopped,
        Refusal::Upstream(_) => Outcome::UpstreamFailed,
        Refusal::AuditDown
        | Refusal::BodyTooLarge(_)
        | Refusal::BodyUnframed
        | Refusal::Chat(_)
        | Refusal::Coding(_)
        | Refusal::Denied(_)
        | Refusal::Exceeded(_)
        | Refusal::Guard(_)
        | Refusal::GuardAnswer(_)
        | Refusal::Head(_)
        | Refusal::Identity(_)
        | Refusal::Json(_)
        | Refusal::Judge(_)
        | Refusal::Mcp(_)
        | Refusal::McpEra
        | Refusal::NoModel
        | Refusal::NoRandom
        | Refusal::NoServer
        | Refusal::Pressure
        | Refusal::Route(_)
        | Refusal::Scan(_)
        | Refusal::Session(_)
        | Refusal::Transport(_) => Outcome::Refused,
    }
}

/// Writes the record of an exchange and counts it.
pub fn settle(exchange: &mut Exchange, outcome: Outcome) {
    let micros = exchange.shard.clock.mono().since(exchange.began).as_nanos() / 1000;
    let micros = u64::try_from(micros).unwrap_or(u64::MAX);
    let mut record = Record::new(exchange.id.to_string(), exchange.wall.rfc3339(), kind(exchange));
    record.client.clone_from(&exchange.client);
    record.caller = exchange.caller.as_deref().map(Who::from);
    record.identified_by = exchange.identified_by;
    record.ask = asked(exchange);
    record.gates = gates(exchange);
    record.refusal = refused(exchange);
    record.outcome = outcome;
    record.status = exchange.status.map(|status| status.as_u16());
    record.usage = exchange.usage.map(Into::into);
    record.profiles = profiles(exchange);
    record.add_hits(&exchange.hits);
    record.judges = judges(exchange);
    for direction in [Direction::Request, Direction::Response] {
        let seen: Vec<(Channel, u64)> = exchange
            .coverage
            .iter()
            .filter(|(way, _, _)| *way == direction)
            .map(|(_, channel, bytes)| (*channel, *bytes))
            .collect();
        record.add_coverage(direction.name(), &seen);
    }
    let [there, back] = exchange.left_out;
    for (direction, out, bytes) in [
        (Direction::Request, there, exchange.unseen.0),
        (Direction::Response, back, exchange.unseen.1),
    ] {
        if out.unseen.parts > 0 || bytes > 0 {
            record.add_left_out(direction.name(), UNSEEN, out.unseen.bytes + bytes);
        }
        if out.skipped > 0 {
            record.add_left_out(direction.name(), SKIPPED, out.skipped);
        }
    }
    record.upstream = upstream(exchange);
    record.bytes = Bytes { received: exchange.bytes_in, sent: exchange.bytes_out };
    record.micros = micros;
    record.trace_id = Some(exchange.trace.trace_hex());
    count(exchange, &record);
    exchange.shard.record(record.line());
}

/// The names of the profiles that were looked under, each way.
fn profiles(exchange: &Exchange) -> Profiles {
    let profiles = exchange.deployed.plan.rules.profiles();
    let name = |view: View| profiles.name(view.profile).map(Arc::clone);
    let [request, response] = exchange.views;
    Profiles { request: name(request), response: name(response) }
}

fn count(exchange: &Exchange, record: &Record) {
    let mut meters = exchange.shard.meters.borrow_mut();
    let took = exchange.shard.clock.mono().since(exchange.began);
    meters.request(record.kind.name(), record.status, took);
    for passed in &exchange.passed {
        meters.gate(passed.gate.name(), Duration::from_nanos(passed.nanos));
    }
    if let Some(refused) = &record.refusal {
        let rule = exchange.refusal.as_ref().and_then(Refusal::rule);
        meters.refusal(refused.gate, refused.code, rule.as_deref());
    }
    for hit in &exchange.hits {
        match hit.mode {
            Mode::Enforce => meters.hit(&hit.rule, hit.action, hit.direction),
            Mode::Shadow | Mode::Off => {
                meters.shadow_hit(&hit.rule, hit.action, hit.direction);
            }
        }
    }
    if let (Some(Ask::Chat(ask)), Some(usage)) = (&exchange.ask, &exchange.usage) {
        meters.tokens(&ask.model, usage);
    }
    if let Some(used) = &exchange.upstream {
        if let Some(nanos) = used.connect_nanos {
            meters.upstream(used.target, UpstreamStep::Connect, Duration::from_nanos(nanos));
        }
        if let Some(nanos) = used.first_byte_nanos {
            meters.upstream(used.target, UpstreamStep::FirstByte, Duration::from_nanos(nanos));
        }
        if record.outcome == Outcome::Answered {
            let took = exchange.shard.clock.mono().since(used.began);
            meters.upstream(used.target, UpstreamStep::Total, took);
        }
        if matches!(exchange.refusal, Some(Refusal::Upstream(_))) {
            meters.upstream_failed(used.target);
        }
    }
    let counts = meters.counts();
    counts.bytes_in += exchange.bytes_in;
    counts.bytes_out += exchange.bytes_out;
    counts.panics += u64::from(record.outcome == Outcome::Panicked);
}

fn kind(exchange: &Exchange) -> Kind {
    match exchange.leg {
        Some(Leg::Model(api)) => Kind::of(api),
        Some(Leg::Mcp(_)) => Kind::Mcp,
        Some(Leg::Models) => Kind::Models,
        Some(Leg::Scan) => Kind::Scan,
        Some(Leg::Route(_)) => Kind::Route,
        Some(Leg::Server) | None => Kind::Other,
    }
}

fn asked(exchange: &Exchange) -> Option<Asked> {
    match &exchange.ask {
        Some(ask) => Asked::of(ask),
        None if exchange.path.is_empty() => None,
        None => {
            let path = format!("{} {}", exchange.method, exchange.path);
            Some(Asked::Path { path: CallerText::new(&path) })
        }
    }
}

fn gates(exchange: &Exchange) -> Vec<GateLine> {
    let passed = exchange.passed.iter().map(|passed| GateLine {
        gate: passed.gate.name(),
        decision: Decision::Pass,
        rule: passed.rule.clone(),
        micros: passed.nanos / 1000,
    });
    let refused = exchange.refusal.as_ref().map(|refusal| GateLine {
        gate: refusal.gate().name(),
        decision: Decision::Refuse,
        rule: refusal.rule(),
        micros: exchange.refused_nanos / 1000,
    });
    passed.chain(refused).collect()
}

fn refused(exchange: &Exchange) -> Option<Refused> {
    let refusal = exchange.refusal.as_ref()?;
    let status = refusal.status().as_u16();
    Some(Refused { gate: refusal.gate().name(), code: refusal.code(), status })
}

fn judges(exchange: &Exchange) -> Vec<JudgeLine> {
    let config = &exchange.deployed.plan.config;
    let lines = exchange.judged.iter().map(|judged| JudgeLine {
        judge: judge::rule_name(config, judged.judge),
        event: judged.event.name(),
        ruling: judged.ruling.name(),
        reasons: match judged.ruling {
            Ruling::Failed(why) => vec![why.to_owned()],
            Ruling::Allow | Ruling::Block | Ruling::Mask(_) => judged.reasons.clone(),
        },
        micros: judged.nanos / 1000,
    });
    lines.collect()
}

fn upstream(exchange: &Exchange) -> Option<Upstream> {
    let used = exchange.upstream.as_ref()?;
    let target = exchange.deployed.plan.config.targets.get(used.target)?;
    Some(Upstream {
        target: Arc::clone(&target.name),
        attempts: used.attempts,
        status: used.status.map(|status| status.as_u16()),
        connect_micros: used.connect_nanos.map(|nanos| nanos / 1000),
        first_byte_micros: used.first_byte_nanos.map(|nanos| nanos / 1000),
    })
}
