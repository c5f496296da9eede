//! The record of one exchange: who asked for what, what each gate decided, what came of it.
//! Never a header, a body or a matched value. What a caller chose (a model's, tool's or method's
//! name) is cut and its control characters are replaced, so that no log reader is misled.

use crate::audit::kind::Kind;
use crate::base::ask::Ask;
use crate::base::caller::Caller;
use crate::base::hit::Hit;
use crate::base::numbers::to_u64;
use crate::base::text::Channel;
use crate::base::usage::Usage;
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// The format number of records; a change of a field's meaning raises it.
pub const VERSION: u32 = 1;
/// Characters kept of a text that a caller chose.
pub const CALLER_TEXT_MAX: usize = 200;
/// Tool names kept of a chat request.
pub const TOOLS_MAX: usize = 32;
/// What the coverage calls bytes that no guard looked at.
pub const UNSEEN: &str = "unseen";
/// What the coverage calls bytes that rules were left out on for want of time.
pub const SKIPPED: &str = "skipped";
/// Lines of hits kept; what is over is counted in `hits_dropped`.
pub const HITS_MAX: usize = 100;

/// What is known of one exchange at its end.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// [`VERSION`].
    pub v: u32,
    /// The request id.
    pub id: String,
    /// When it began, RFC 3339.
    pub time: String,
    /// Which leg.
    pub kind: Kind,
    /// Where the client is: its address and port, or `unix` for a Unix socket's peer.
    #[serde(serialize_with = "shared_option")]
    pub client: Option<Arc<str>>,
    /// Who; null before the identity gate passed.
    pub caller: Option<Who>,
    /// By what that is known: `bearer`, `x-api-key`, `mtls` or `anonymous`.
    pub identified_by: Option<&'static str>,
    /// What for; null before it was understood.
    pub ask: Option<Asked>,
    /// Each gate's decision, in order.
    pub gates: Vec<Gate>,
    /// Why not, where it was refused.
    pub refusal: Option<Refused>,
    /// What came of it.
    pub outcome: Outcome,
    /// The HTTP status that was answered; null if none was.
    pub status: Option<u16>,
    /// Tokens, in the provider's numbers.
    pub usage: Option<Tokens>,
    /// The guard profiles that it was looked at under.
    pub profiles: Profiles,
    /// What guards found.
    pub hits: Vec<HitCount>,
    /// Findings beyond [`HITS_MAX`] lines.
    pub hits_dropped: u64,
    /// What outside judges were asked, and said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub judges: Vec<Judge>,
    /// What guards saw.
    pub coverage: Vec<Coverage>,
    /// Where it went; null if nowhere.
    pub upstream: Option<Upstream>,
    /// Bytes of bodies.
    pub bytes: Bytes,
    /// From the first byte of the request to the last of the answer, microseconds.
    pub micros: u64,
    /// The trace it belongs to, 32 hex digits.
    pub trace_id: Option<String>,
}

/// Who asked.
#[derive(Clone, Debug, Serialize)]
pub struct Who {
    /// The caller's name in the configuration.
    #[serde(serialize_with = "shared")]
    pub name: Arc<str>,
    /// The human.
    #[serde(serialize_with = "shared_option")]
    pub user: Option<Arc<str>>,
    /// The service or agent.
    #[serde(serialize_with = "shared_option")]
    pub app: Option<Arc<str>>,
    /// Their team.
    #[serde(serialize_with = "shared_option")]
    pub team: Option<Arc<str>>,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Asked {
    /// A model's answer.
    Chat {
        /// The dialect it is asked in.
        dialect: &'static str,
        /// Its public name.
        model: CallerText,
        /// Whether as a stream.
        stream: bool,
        /// Names of the tools it may call, at most [`TOOLS_MAX`].
        tools: Vec<CallerText>,
        /// How many more there were.
        tools_dropped: u64,
        /// The caller's ceiling.
        max_tokens: Option<u64>,
    },
    /// An MCP message.
    Mcp {
        /// The server's name in the path.
        server: CallerText,
        /// The JSON-RPC method.
        method: CallerText,
        /// The tool of a `tools/call`.
        tool: Option<CallerText>,
    },
    /// Something that passes as it is.
    Route {
        /// The route's name.
        route: CallerText,
        /// The method and path.
        path: CallerText,
    },
    /// Something that is known by its path only.
    Path {
        /// The method and path.
        path: CallerText,
    },
}

impl Asked {
    /// What the record says of an understood request; nothing beyond its kind for the list of
    /// models.
    pub fn of(ask: &Ask) -> Option<Self> {
        match ask {
            Ask::Chat(chat) => Some(Self::Chat {
                dialect: chat.api.dialect().name(),
                model: CallerText::new(&chat.model),
                stream: chat.stream,
                tools: chat.tools.iter().take(TOOLS_MAX).map(|it| CallerText::new(it)).collect(),
                tools_dropped: to_u64(chat.tools.len().saturating_sub(TOOLS_MAX)),
                max_tokens: chat.max_tokens,
            }),
            Ask::Mcp(mcp) => Some(Self::Mcp {
                server: CallerText::new(&mcp.server),
                method: CallerText::new(&mcp.method),
                tool: mcp.tool.as_deref().map(CallerText::new),
            }),
            Ask::Models | Ask::Scan | Ask::Server => None,
            Ask::Route(route) => Some(Self::Route {
                route: CallerText::new(&route.route),
                path: CallerText::new(&format!("{} {}", route.method, route.path)),
            }),
        }
    }
}

/// A text that a caller chose: cut to [`CALLER_TEXT_MAX`] characters, without controls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CallerText(String);

impl CallerText {
    /// Cuts and cleans. A control, line or direction character becomes `\u{…}` as text; a cut
    /// text ends in an ellipsis.
    pub fn new(text: &str) -> Self {
        let mut out = String::with_capacity(text.len().min(CALLER_TEXT_MAX));
        for (count, character) in text.chars().enumerate() {
            if count == CALLER_TEXT_MAX {
                out.push('…');
                break;
            }
            if misleads(character) {
                out.extend(character.escape_unicode());
            } else {
                out.push(character);
            }
        }
        Self(out)
    }

    /// The cleaned text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character can end a line, move a cursor or turn the direction of what follows.
fn misleads(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(character, '\u{e0000}'..='\u{e007f}')
}

/// One gate's decision.
#[derive(Clone, Debug, Serialize)]
pub struct Gate {
    /// Its name: `route`, `caller`, `ask`, `permit`, `lease`, `cleared`, …
    pub gate: &'static str,
    /// What it said.
    pub decision: Decision,
    /// The rule that decided, if one did.
    #[serde(serialize_with = "shared_option")]
    pub rule: Option<Arc<str>>,
    /// How long it took, microseconds.
    pub micros: u64,
}

/// One question to an outside judge.
#[derive(Clone, Debug, Serialize)]
pub struct Judge {
    /// Which: `judge.NAME`.
    #[serde(serialize_with = "shared")]
    pub judge: Arc<str>,
    /// What it was asked about.
    pub event: &'static str,
    /// What it said: `allow`, `block`, `mask`, or `failed`.
    pub ruling: &'static str,
    /// Why, in its words, cleaned; or how it failed.
    pub reasons: Vec<String>,
    /// How long it took, microseconds.
    pub micros: u64,
}

/// What a gate can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Go on.
    Pass,
    /// No.
    Refuse,
}

/// Why an exchange was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// By which gate.
    pub gate: &'static str,
    /// The stable code that the caller read.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
}

/// What came of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The upstream's answer was passed on whole.
    Answered,
    /// The client went away.
    ClientGone,
    /// A deadline passed on the client's side.
    ClientSlow,
    /// A guard or a budget ended an answer that had begun.
    Cut,
    /// A fault of ours; the exchange was caught and ended.
    Panicked,
    /// A gate said no.
    Refused,
    /// The process drained before it was done.
    Stopped,
    /// Every target failed, or one did after its answer had begun.
    UpstreamFailed,
}

/// Tokens of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// Of the prompt.
    pub input: u64,
    /// Of the answer.
    pub output: u64,
    /// Of the prompt, those that the provider had cached.
    pub cached: u64,
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        Self { input: usage.input_tokens, output: usage.output_tokens, cached: usage.cached_tokens }
    }
}

/// The names of the guard profiles of an exchange; null for the one without a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Profiles {
    /// Of what was asked.
    #[serde(serialize_with = "shared_option")]
    pub request: Option<Arc<str>>,
    /// Of what was answered.
    #[serde(serialize_with = "shared_option")]
    pub response: Option<Arc<str>>,
}

/// Equal findings, counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HitCount {
    /// The rule.
    #[serde(serialize_with = "shared")]
    pub rule: Arc<str>,
    /// What was done; in shadow, what would have been.
    pub action: &'static str,
    /// `enforce`, or `shadow`.
    pub mode: &'static str,
    /// Which way the text went.
    pub direction: &'static str,
    /// Whose text it was.
    pub channel: &'static str,
    /// Where in the body, with `#` for any index.
    pub place: &'static str,
    /// How often.
    pub count: u64,
}

/// What guards saw of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Which way.
    pub direction: &'static str,
    /// Whose text.
    pub channel: &'static str,
    /// How many bytes of it.
    pub bytes: u64,
}

/// Where an exchange went.
#[derive(Clone, Debug, Serialize)]
pub struct Upstream {
    /// The target that answered, or was tried last.
    #[serde(serialize_with = "shared")]
    pub target: Arc<str>,
    /// How many targets were tried.
    pub attempts: u32,
    /// The status that it answered.
    pub status: Option<u16>,
    /// Connecting, TLS included; null on a connection that was open.
    pub connect_micros: Option<u64>,
    /// From the request to the first byte of the answer.
    pub first_byte_micros: Option<u64>,
}

/// Bytes of bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bytes {
    /// From the client.
    #[serde(rename = "in")]
    pub received: u64,
    /// To the client.
    #[serde(rename = "out")]
    pub sent: u64,
}

impl Record {
    /// A record of which nothing is known yet but its name and beginning.
    pub fn new(id: String, time: String, kind: Kind) -> Self {
        Self {
            v: VERSION,
            id,
            time,
            kind,
            client: None,
            caller: None,
            identified_by: None,
            ask: None,
            gates: Vec::new(),
            refusal: None,
            outcome: Outcome::Panicked,
            status: None,
            usage: None,
            profiles: Profiles::default(),
            hits: Vec::new(),
            hits_dropped: 0,
            judges: Vec::new(),
            coverage: Vec::new(),
            upstream: None,
            bytes: Bytes::default(),
            micros: 0,
            trace_id: None,
        }
    }

    /// Counts findings with those of the same rule, action and place; indexes in a place do not
    /// tell two apart, so that a long conversation stays a short record.
    pub fn add_hits(&mut self, hits: &[Hit]) {
        for hit in hits {
            let (action, direction) = (hit.action.name(), hit.direction.name());
            let mode = hit.mode.name();
            let (channel, place) = (hit.channel.name(), hit.place.path);
            let same = self.hits.iter_mut().find(|known| {
                known.rule == hit.rule
                    && (known.action, known.mode) == (action, mode)
                    && known.direction == direction
                    && (known.channel, known.place) == (channel, place)
            });
            if let Some(same) = same {
                same.count += 1;
            } else if self.hits.len() < HITS_MAX {
                let rule = Arc::clone(&hit.rule);
                let count = 1;
                let hit = HitCount { rule, action, mode, direction, channel, place, count };
                self.hits.push(hit);
            } else {
                self.hits_dropped += 1;
            }
        }
    }

    /// Adds what guards saw in one direction.
    pub fn add_coverage(&mut self, direction: &'static str, seen: &[(Channel, u64)]) {
        for (channel, bytes) in seen {
            let channel = channel.name();
            let same = self
                .coverage
                .iter_mut()
                .find(|known| (known.direction, known.channel) == (direction, channel));
            match same {
                Some(same) => same.bytes += bytes,
                None => self.coverage.push(Coverage { direction, channel, bytes: *bytes }),
            }
        }
    }

    /// Adds what was not looked at one way: [`UNSEEN`] or [`SKIPPED`].
    pub fn add_left_out(&mut self, direction: &'static str, channel: &'static str, bytes: u64) {
        self.coverage.push(Coverage { direction, channel, bytes });
    }

    /// The record as one line of JSON, without the newline.
    pub fn line(&self) -> Vec<u8> {
        // Only a map with keys that are no strings could fail; there is none in it.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl From<&Caller> for Who {
    fn from(caller: &Caller) -> Self {
        Self {
            name: Arc::clone(&caller.name),
            user: caller.user.clone(),
            app: caller.app.clone(),
            team: caller.team.clone(),
        }
    }
}

fn shared<S: Serializer>(text: &Arc<str>, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(text)
}

#[expect(clippy::ref_option, reason = "the shape that serde asks for")]
fn shared_option<S: Serializer>(text: &Option<Arc<str>>, out: S) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(out)
}

#[cfg(test)]
mod tests {
    use super::{
        Asked, CALLER_TEXT_MAX, CallerText, Decision, Gate, HITS_MAX, Outcome, Record, TOOLS_MAX,
        Who,
    };
    use crate::audit::kind::Kind;
    use crate::base::ask::{Ask, ChatAsk};
    use crate::base::hit::{Action, Direction, Hit, Mode};
    use crate::base::text::{Channel, Place};
    use std::sync::Arc;

    fn record() -> Record {
        Record::new("req_1".to_owned(), "2026-11-25T09:53:00.000Z".to_owned(), Kind::Chat)
    }

    fn hit(rule: &str, index: u16) -> Hit {
        let place = Place { path: "messages[#].content", indexes: [index, 0] };
        let (action, mode, direction) = (Action::Mask, Mode::Enforce, Direction::Request);
        Hit { rule: Arc::from(rule), action, mode, channel: Channel::User, place, direction }
    }

    #[test]
    fn a_record_is_one_line_with_fixed_names() {
        let mut record = record();
        let name = Arc::from("alice");
        record.client = Some(Arc::from("192.0.2.7:1"));
        record.caller = Some(Who { name, user: None, app: Some(Arc::from("cli")), team: None });
        record.identified_by = Some("mtls");
        record.ask = Some(Asked::Mcp {
            server: CallerText::new("files"),
            method: CallerText::new("tools/call"),
            tool: Some(CallerText::new("read")),
        });
        record.gates =
            vec![Gate { gate: "caller", decision: Decision::Pass, rule: None, micros: 3 }];
        record.outcome = Outcome::Answered;
        record.status = Some(200);
        let expected = concat!(
            r#"{"v":1,"id":"req_1","time":"2026-11-25T09:53:00.000Z","kind":"chat","#,
            r#""client":"192.0.2.7:1","caller":{"name":"alice","user":null,"app":"cli","#,
            r#""team":null},"identified_by":"mtls","#,
            r#""ask":{"server":"files","method":"tools/call","tool":"read"},"#,
            r#""gates":[{"gate":"caller","decision":"pass","rule":null,"micros":3}],"#,
            r#""refusal":null,"outcome":"answered","status":200,"usage":null,"#,
            r#""profiles":{"request":null,"response":null},"hits":[],"#,
            r#""hits_dropped":0,"coverage":[],"upstream":null,"bytes":{"in":0,"out":0},"#,
            r#""micros":0,"trace_id":null}"#
        );
        assert_eq!(String::from_utf8(record.line()).unwrap(), expected);
    }

    #[test]
    fn what_a_caller_wrote_can_neither_break_a_line_nor_hide_one() {
        let cleaned = CallerText::new("gpt\n{\"v\":1}\u{1b}[2K\u{202e}x\u{2028}\u{7f}é");
        let expected = "gpt\\u{a}{\"v\":1}\\u{1b}[2K\\u{202e}x\\u{2028}\\u{7f}é";
        assert_eq!(cleaned.as_str(), expected);
        let long = CallerText::new(&"é".repeat(CALLER_TEXT_MAX + 1));
        assert_eq!(long.as_str().chars().count(), CALLER_TEXT_MAX + 1);
        assert!(long.as_str().ends_with('…'));
        let mut record = record();
        record.ask = Some(Asked::Path { path: cleaned });
        assert!(record.line().iter().all(|byte| *byte >= b' ' && *byte != 0x7f));
    }

    #[test]
    fn a_request_with_many_tools_stays_a_short_record() {
        let tools = (0..TOOLS_MAX + 3).map(|tool| tool.to_string()).collect();
        let chat = ChatAsk { model: "m\n".to_owned(), tools, ..ChatAsk::default() };
        let Some(Asked::Chat { model, tools, tools_dropped, .. }) = Asked::of(&Ask::Chat(chat))
        else {
            panic!("a chat is recorded as one");
        };
        assert_eq!(model.as_str(), "m\\u{a}");
        assert_eq!((tools.len(), tools_dropped), (TOOLS_MAX, 3));
        assert!(Asked::of(&Ask::Models).is_none());
    }

    #[test]
    fn findings_are_counted_over_indexes_and_bounded() {
        let mut record = record();
        record.add_hits(&[hit("pii.card", 0), hit("pii.card", 7), hit("pii.email", 0)]);
        let counts: Vec<u64> = record.hits.iter().map(|hit| hit.count).collect();
        assert_eq!(counts, [2, 1]);
        let many: Vec<Hit> = (0..HITS_MAX).map(|rule| hit(&rule.to_string(), 0)).collect();
        record.add_hits(&many);
        assert_eq!((record.hits.len(), record.hits_dropped), (HITS_MAX, 2));
        record.add_coverage("request", &[(Channel::User, 5), (Channel::System, 2)]);
        record.add_coverage("request", &[(Channel::User, 5)]);
        let seen: Vec<_> = record.coverage.iter().map(|it| (it.channel, it.bytes)).collect();
        assert_eq!(seen, [("user", 10), ("system", 2)]);
    }
}
