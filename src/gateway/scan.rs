//! The scan leg: our guard as a service, in the shape of the Prisma AIRS scan API, so that what
//! speaks to that can use Ringwall as a local layer. `POST /v1/scan/sync/request`.
//!
//! Prompts, contexts and tools' inputs are looked at as requests are, responses and tools' outputs
//! as answers. A rule that blocks makes the action `block`; one that masks gives masked data.

use crate::base::hit::{Action, Direction, Hit};
use crate::base::json::{Json, Value};
use crate::base::numbers::to_u64;
use crate::base::text::{Channel, Form, Place, Source, Text, Trust};
use crate::gateway::answer;
use crate::gateway::clear;
use crate::gateway::client::Client;
use crate::gateway::exchange::Exchange;
use crate::gateway::refusal::Refusal;
use crate::guard::airs::{Detected, Entries, Entry, Masked, Pattern, Report, Tool, ToolMetadata};
use crate::guard::inspect::{Blocked, Spot};
use crate::http::head::BodyLength;
use http::StatusCode;

/// Contents of one scan.
const CONTENTS_MAX: usize = 100;
/// Which detection a rule belongs to, by the beginning of its name.
const DETECTIONS: [(&str, &str); 11] = [
    ("pii.", "dlp"),
    ("secret.", "dlp"),
    ("brand.", "topic_violation"),
    ("topic.", "topic_violation"),
    ("toxicity.", "toxic_content"),
    ("url.", "url_cats"),
    ("code.", "malicious_code"),
    ("grounding.", "ungrounded"),
    ("injection.", "injection"),
    ("structure.", "injection"),
    ("conversation.", "agent"),
];

/// A scan, understood.
#[derive(Debug, Default)]
pub struct ScanAsk {
    tr_id: Option<String>,
    session_id: Option<String>,
    profile_id: Option<String>,
    profile_name: Option<String>,
    tool: Option<ToolMetadata>,
    /// What is looked at as a request is, and as an answer.
    asked: Text,
    answered: Text,
}

/// One field of a content.
struct Part {
    path: &'static str,
    names: &'static [&'static str],
    direction: Direction,
    channel: Channel,
    trust: Trust,
}

const fn part(
    path: &'static str,
    names: &'static [&'static str],
    direction: Direction,
    (channel, trust): (Channel, Trust),
) -> Part {
    Part { path, names, direction, channel, trust }
}

const PROMPT: &[&str] = &["prompt"];
const RESPONSE: &[&str] = &["response"];
const INPUT: &[&str] = &["tool_event", "input"];
const OUTPUT: &[&str] = &["tool_event", "output"];

const PARTS: [Part; 7] = [
    part("contents[#].prompt", PROMPT, Direction::Request, (Channel::User, Trust::Caller)),
    part(
        "contents[#].code_prompt",
        &["code_prompt"],
        Direction::Request,
        (Channel::User, Trust::Caller),
    ),
    part(
        "contents[#].context",
        &["context"],
        Direction::Request,
        (Channel::Document, Trust::Retrieved),
    ),
    part(
        "contents[#].tool_event.input",
        INPUT,
        Direction::Request,
        (Channel::ToolArguments, Trust::Caller),
    ),
    part(
        "contents[#].response",
        RESPONSE,
        Direction::Response,
        (Channel::Assistant, Trust::Upstream),
    ),
    part(
        "contents[#].code_response",
        &["code_response"],
        Direction::Response,
        (Channel::Assistant, Trust::Upstream),
    ),
    part(
        "contents[#].tool_event.output",
        OUTPUT,
        Direction::Response,
        (Channel::ToolResult, Trust::Upstream),
    ),
];

/// Reads a scan; the error says what is missing or too much.
pub fn read(json: &Json) -> Result<ScanAsk, &'static str> {
    let root = json.root();
    let contents = root.member("contents").filter(|contents| contents.is_array());
    let contents = contents.ok_or("`contents` must be a list of texts to scan")?;
    let text = |at: Option<Value<'_>>, name: &str| {
        at.and_then(|at| at.member(name)).and_then(Value::as_str).map(str::to_owned)
    };
    let profile = root.member("ai_profile");
    let mut ask = ScanAsk {
        tr_id: text(Some(root), "tr_id"),
        session_id: text(Some(root), "session_id"),
        profile_id: text(profile, "profile_id"),
        profile_name: text(profile, "profile_name"),
        ..ScanAsk::default()
    };
    for (order, content) in contents.items().enumerate() {
        if order == CONTENTS_MAX {
            return Err("`contents` may hold at most 100 texts");
        }
        let index = u16::try_from(order).unwrap_or(u16::MAX);
        for part in &PARTS {
            let found = member(content, part.names);
            let Some(value) = found.filter(|value| !value.is_null()) else { continue };
            let said = value.as_str().ok_or("a text to scan must be a string")?;
            let form = if value.is_escaped() { Form::EscapedString } else { Form::PlainString };
            let source = Source { raw: value.inner(), form };
            let place = Place { path: part.path, indexes: [index, 0] };
            let into = match part.direction {
                Direction::Request => &mut ask.asked,
                Direction::Response => &mut ask.answered,
            };
            into.push(said, source, part.channel, part.trust, place);
        }
        let event = content.member("tool_event").and_then(|event| event.member("metadata"));
        if let Some(event) = event {
            ask.tool = Some(ToolMetadata {
                ecosystem: text(Some(event), "ecosystem").unwrap_or_default(),
                method: text(Some(event), "method").unwrap_or_default(),
                server_name: text(Some(event), "server_name").unwrap_or_default(),
                tool_invoked: text(Some(event), "tool_invoked"),
            });
        }
    }
    Ok(ask)
}

fn member<'a>(content: Value<'a>, names: &[&str]) -> Option<Value<'a>> {
    names.iter().try_fold(content, |at, name| at.member(name))
}

/// A finding, and where in its text, where a rule speaks of a part of it.
type Placed = (Hit, Option<[u64; 2]>);

/// What one side of a scan came to.
#[derive(Default)]
struct Side {
    blocked: bool,
    hits: Vec<Placed>,
    /// The body with its masks, where it has any.
    masked: Option<Vec<u8>>,
}

/// Scans and reports.
pub async fn serve(
    exchange: &mut Exchange,
    client: &mut Client,
    raw: &[u8],
    ask: &ScanAsk,
) -> Result<(), Refusal> {
    let profile = ask.profile_name.as_deref();
    let asked = clear::scan(exchange, raw, &ask.asked, (Direction::Request, profile));
    let asked = side(raw, &ask.asked, asked);
    let answered = clear::scan(exchange, raw, &ask.answered, (Direction::Response, profile));
    let answered = side(raw, &ask.answered, answered);
    let report = report(exchange, ask, &asked, &answered)?;
    let body = serde_json::to_vec(&report).unwrap_or_default();
    let ours = [("content-type", "application/json".to_owned())];
    let length = BodyLength::Exact(to_u64(body.len()));
    let mut out = answer::head(exchange, StatusCode::OK, None, &ours, length)?;
    exchange.bytes_out = to_u64(body.len());
    out.extend_from_slice(&body);
    let limit = exchange.deployed.plan.config.deadlines.write;
    client.send(out, limit).await?;
    Ok(())
}

fn side(raw: &[u8], text: &Text, scanned: Result<clear::Scanned, Box<Blocked>>) -> Side {
    match scanned {
        Ok(scanned) => {
            let is_masked = !scanned.splices.is_empty();
            let masked = is_masked.then(|| scanned.splices.apply(raw));
            let hits = scanned.hits.into_iter().map(|(hit, spot)| (hit, place(text, &spot)));
            Side { blocked: false, hits: hits.collect(), masked }
        }
        Err(blocked) => {
            let hits = blocked.hits.into_iter().map(|hit| (hit, None)).collect();
            Side { blocked: true, hits, masked: None }
        }
    }
}

/// A place in code points of its own text, as the API counts.
fn place(text: &Text, spot: &Spot) -> Option<[u64; 2]> {
    let (segment, span) = (text.segments().get(spot.segment)?, spot.span.clone()?);
    let said = text.joined().get(segment.at.clone())?;
    let before = said.get(..span.start)?.chars().count();
    let length = said.get(span)?.chars().count();
    Some([to_u64(before), to_u64(before + length)])
}

fn report(
    exchange: &Exchange,
    ask: &ScanAsk,
    asked: &Side,
    answered: &Side,
) -> Result<Report, Refusal> {
    let detected = |side: &Side, tools: bool| -> Detected {
        let own = side.hits.iter().map(|(hit, _)| hit).filter(|hit| is_tool(hit) == tools);
        own.filter_map(|hit| detection(&hit.rule)).map(|name| (name.to_owned(), true)).collect()
    };
    let blocked = asked.blocked || answered.blocked;
    let found = !asked.hits.is_empty() || !answered.hits.is_empty();
    let entry = |side: &Side, names: &[&str]| -> Result<Option<Entries>, Refusal> {
        let detections = detected(side, true);
        let masked_data = masked(exchange, side, names, true)?;
        let tool_invoked = ask.tool.as_ref().and_then(|tool| tool.tool_invoked.clone());
        let entry = Entry { tool_invoked, detections, masked_data };
        let is_something = !entry.detections.is_empty() || entry.masked_data.is_some();
        Ok(is_something.then(|| Entries { detection_entries: vec![entry] }))
    };
    let verdict = |found: bool| if found { "malicious" } else { "benign" }.to_owned();
    let tool = ask.tool.as_ref().map(|metadata| -> Result<Tool, Refusal> {
        let (input, output) = (entry(asked, INPUT)?, entry(answered, OUTPUT)?);
        Ok(Tool {
            verdict: Some(verdict(input.is_some() || output.is_some())),
            metadata: Some(metadata.clone()),
            input_detected: input,
            output_detected: output,
        })
    });
    let id = exchange.id.to_string();
    Ok(Report {
        action: if blocked { "block" } else { "allow" }.to_owned(),
        category: verdict(found),
        report_id: format!("R{id}"),
        scan_id: id,
        tr_id: ask.tr_id.clone(),
        session_id: ask.session_id.clone(),
        profile_id: ask.profile_id.clone(),
        profile_name: ask.profile_name.clone(),
        prompt_detected: detected(asked, false),
        response_detected: detected(answered, false),
        prompt_masked_data: masked(exchange, asked, PROMPT, false)?,
        response_masked_data: masked(exchange, answered, RESPONSE, false)?,
        tool_detected: tool.transpose()?.unwrap_or_default(),
        timeout: false,
        error: false,
        errors: Vec::new(),
    })
}

/// The first text of that name with its masks, where it has any.
fn masked(
    exchange: &Exchange,
    side: &Side,
    names: &[&str],
    tools: bool,
) -> Result<Option<Masked>, Refusal> {
    let Some(raw) = &side.masked else { return Ok(None) };
    let json = exchange.shard.reader.borrow_mut().read(raw).map_err(Refusal::Json)?;
    let contents = json.root().member("contents");
    let mut said = contents.into_iter().flat_map(Value::items);
    let data = said.find_map(|content| member(content, names).and_then(Value::as_str));
    let masks = side.hits.iter().filter(|(hit, _)| {
        hit.action == Action::Mask && is_tool(hit) == tools && ends_with(hit.place, names)
    });
    let mut patterns: Vec<Pattern> = Vec::new();
    for (hit, place) in masks {
        let known = patterns.iter().position(|pattern| *pattern.pattern == *hit.rule);
        let index = known.unwrap_or_else(|| {
            patterns.push(Pattern { pattern: hit.rule.to_string(), locations: Vec::new() });
            patterns.len() - 1
        });
        if let (Some(pattern), Some(place)) = (patterns.get_mut(index), place) {
            pattern.locations.push(*place);
        }
    }
    Ok(data
        .filter(|_| !patterns.is_empty())
        .map(|data| Masked { data: data.to_owned(), pattern_detections: patterns }))
}

fn is_tool(hit: &Hit) -> bool {
    matches!(hit.channel, Channel::ToolArguments | Channel::ToolResult)
}

/// Whether a place is that text of the first content.
fn ends_with(place: Place, names: &[&str]) -> bool {
    let last = names.last().copied().unwrap_or_default();
    place.indexes == [0, 0] && place.path.rsplit('.').next() == Some(last)
}

fn detection(rule: &str) -> Option<&'static str> {
    DETECTIONS.iter().find(|(start, _)| rule.starts_with(start)).map(|(_, name)| *name)
}
