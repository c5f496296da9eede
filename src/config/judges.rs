//! Outside judges: who is asked about which texts, and what holds where they do not answer.

use crate::base::judge::{Dialect, Event};
use crate::config::fault::Mistake;
use crate::config::keys::{IDLE, Table, needed, optional, usual};
use crate::config::kinds::Kind;
use crate::config::listener_keys::{CA, CLIENT_CERTIFICATE, CLIENT_KEY, ROOTS, SERVER_NAME};
use crate::config::model::Pattern;
use crate::config::pass::{Names, Pass, Section};
use crate::config::people::{Callers, Who, patterns, who};
use crate::config::tree::Place;
use crate::config::upstreams::{Upstreams, target};
use std::sync::Arc;
use std::time::Duration;

/// Somebody outside who is asked whether a text may pass.
#[derive(Clone, Debug)]
pub struct Judge {
    /// Its name in records, as `judge.NAME`.
    pub name: Arc<str>,
    /// Index into `Config::targets`.
    pub target: usize,
    /// Which language it speaks.
    pub dialect: Dialect,
    /// The profile at its side; empty where it has none.
    pub profile: Arc<str>,
    /// What it is asked about.
    pub events: Vec<Event>,
    /// Whether a prompt leaves while it reads.
    pub parallel: bool,
    /// Whether a text passes where it fails.
    pub fails_open: bool,
    /// How long an answer may take.
    pub timeout: Duration,
    /// The largest text that it is asked about.
    pub text_bytes: usize,
    /// How much of a stream is judged at once.
    pub window_bytes: usize,
    /// Failures in a row after which it is left alone.
    pub failures_max: u32,
    /// For how long.
    pub cooldown: Duration,
    /// Whose exchanges, by the caller's name. Every list that is not empty must match.
    pub callers: Vec<Pattern>,
    /// Whose, by app.
    pub apps: Vec<Pattern>,
    /// Whose, by team.
    pub teams: Vec<Pattern>,
    /// About which models.
    pub models: Vec<Pattern>,
    /// About which MCP servers.
    pub servers: Vec<Pattern>,
}

/// Somebody outside who is asked whether a text may pass.
pub static JUDGE: Table = Table {
    path: "judge",
    many: true,
    about: "Somebody outside who is asked whether a text may pass, after our own rules: Prisma \
            AIRS, or a webhook of yours. It reads what our rules have masked already. All that fit \
            an exchange are asked, in the order of the file; the strictest answer counts. A text \
            that is larger than `bytes`, a late answer and one that cannot be read are failures, \
            and `on_error` says what holds then. \
            \
            A `webhook` is sent one JSON object by `POST`: `version` (1), `id`, `event`, `text`, \
            `profile`, `user`, `app`, `team`, `model`, `server`, `method`, `tool`, with `null` for \
            what is not known. It answers 200 with `{\"action\": \"allow\" | \"block\" | \"mask\", \
            \"reasons\": [\"…\"], \"spans\": [[start, end]]}`; spans count code points of `text`.",
    keys: &[
        needed("name", Kind::Name, "Its name in records and metrics, as `judge.NAME`. Unique."),
        needed("url", Kind::Url, "Where it is. For `airs` without `/v1/scan/sync/request`."),
        usual(
            "kind",
            Kind::Choice(&["webhook", "airs"]),
            ("\"webhook\"", "our own dialect, described above"),
            "Which language it speaks.",
        ),
        optional("key", Kind::Secret, "What proves us to it, if anything must."),
        usual(
            "header",
            Kind::Header,
            ("\"authorization\"", "what most take; AIRS takes `x-pan-token`"),
            "The header that carries the key.",
        ),
        optional("profile", Kind::Text, "The profile at its side; AIRS needs one."),
        optional(
            "events",
            Kind::Patterns,
            "What it is asked about: `prompt`, `response`, `tool_input`, `tool_output`. Absent: \
             all.",
        ),
        usual(
            "mode",
            Kind::Choice(&["before", "parallel"]),
            ("\"before\"", "what is blocked has not left"),
            "Whether a prompt or a tool's input waits for the verdict, or leaves while the judge \
             reads and only the answer waits. In parallel what it would mask is blocked, since it \
             has left.",
        ),
        usual(
            "on_error",
            Kind::Choice(&["closed", "open"]),
            ("\"closed\"", "a guard that did not run is no pass"),
            "What holds where it fails: `closed` refuses, `open` passes. Both are recorded.",
        ),
        usual(
            "timeout",
            Kind::Span("10ms", "1m"),
            ("\"2s\"", "several times what AIRS needs"),
            "How long an answer may take, the connection included.",
        ),
        usual(
            "bytes",
            Kind::Size("1 KiB", "16 MiB"),
            ("\"1 MiB\"", "AIRS takes two, as JSON"),
            "The largest text that it is asked about.",
        ),
        usual(
            "window",
            Kind::Size("64 B", "1 MiB"),
            ("\"2 KiB\"", "a few sentences are held back, not the answer"),
            "How much of a streamed answer is judged at once. What is not judged is held back.",
        ),
        usual(
            "failures",
            Kind::Count(1, 1000),
            ("5", "one lost packet opens nothing"),
            "After so many failures in a row it is not asked for `cooldown`; each worker counts \
             for itself.",
        ),
        usual(
            "cooldown",
            Kind::Span("100ms", "1h"),
            ("\"10s\"", "long enough to restart what it runs on"),
            "How long it is left alone then; the next question tries it again.",
        ),
        optional("callers", Kind::Patterns, "Only for these callers. Absent: for all."),
        optional("apps", Kind::Patterns, "Only for these apps. Absent: for all."),
        optional("teams", Kind::Patterns, "Only for these teams. Absent: for all."),
        optional("models", Kind::Patterns, "Only for these models. Absent: for all."),
        optional("servers", Kind::Patterns, "Only for these MCP servers. Absent: for all."),
        CA,
        ROOTS,
        CLIENT_CERTIFICATE,
        CLIENT_KEY,
        SERVER_NAME,
        IDLE,
    ],
};

/// Reads the judges; each adds a target.
pub fn read(
    pass: &mut Pass<'_>,
    top: &Section<'_>,
    callers: &Callers,
    upstreams: &mut Upstreams,
) -> Vec<Judge> {
    let (mut judges, mut names): (Vec<Judge>, _) = (Vec::new(), Names::default());
    for section in pass.sections(top, &JUDGE) {
        let name = pass.text(&section, "name");
        if let Some(name) = &name {
            names.add(pass, "judge", name.value, (name.place, judges.len()));
        }
        let dialect = match pass.choice(&section, "kind") {
            Some("airs") => Dialect::Airs,
            _ => Dialect::Webhook,
        };
        let profile = pass.shared(&section, "profile");
        if dialect == Dialect::Airs && profile.is_none() && !section.has("profile") {
            pass.note(section.place, Mistake::Missing(section.key("profile")));
        }
        let Who { callers: only, apps, teams } = who(pass, &section, callers);
        let target_entry = target(pass, &section);
        judges.push(Judge {
            name: name.map_or_else(|| Arc::from(""), |name| Arc::from(name.value)),
            target: upstreams.targets.len(),
            dialect,
            profile: profile.unwrap_or_else(|| Arc::from("")),
            events: events(pass, &section),
            parallel: pass.choice(&section, "mode") == Some("parallel"),
            fails_open: pass.choice(&section, "on_error") == Some("open"),
            timeout: pass.span(&section, "timeout"),
            text_bytes: pass.bytes(&section, "bytes"),
            window_bytes: pass.bytes(&section, "window"),
            failures_max: u32::try_from(pass.capacity(&section, "failures")).unwrap_or(u32::MAX),
            cooldown: pass.span(&section, "cooldown"),
            callers: only,
            apps,
            teams,
            models: patterns(pass, &section, "models", Some(("model", &upstreams.model_names))),
            servers: patterns(
                pass,
                &section,
                "servers",
                Some(("MCP server", &upstreams.server_names)),
            ),
        });
        upstreams.targets.push(target_entry);
    }
    judges
}

fn events(pass: &mut Pass<'_>, section: &Section<'_>) -> Vec<Event> {
    let mut known = Names::default();
    for event in Event::ALL {
        known.add(pass, "event", event.name(), (Place::default(), 0));
    }
    let named: Vec<Pattern> = patterns(pass, section, "events", Some(("event", &known)));
    let is_named = |event: &Event| named.iter().any(|pattern| pattern.matches(event.name()));
    Event::ALL.into_iter().filter(|event| !section.has("events") || is_named(event)).collect()
}
