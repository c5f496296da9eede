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
use std::path::PathBuf;
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
    /// The model on this machine that it is, if it is one; then it has no target.
    pub local: Option<LocalModel>,
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

/// A classifier on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalModel {
    /// The shared library of ONNX Runtime.
    pub library: PathBuf,
    /// The model.
    pub model: PathBuf,
    /// Its tokenizer.
    pub tokenizer: PathBuf,
    /// The index of the class that is blocked.
    pub label: usize,
    /// From which score on, in thousandths.
    pub threshold: u32,
    /// How many texts may wait for it.
    pub queue: usize,
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
        optional(
            "url",
            Kind::Url,
            "Where it is; `webhook` and `airs` need it. For `airs` without \
             `/v1/scan/sync/request`.",
        ),
        usual(
            "kind",
            Kind::Choice(&["webhook", "airs", "onnx"]),
            ("\"webhook\"", "our own dialect, described above"),
            "Which language it speaks. `onnx` is a classifier of yours on this machine: it runs on \
             a thread of its own, and the binary must be built with `--features onnx`.",
        ),
        optional(
            "library",
            Kind::File,
            "For `onnx`: the shared library of ONNX Runtime (1.17 or later).",
        ),
        optional(
            "model",
            Kind::File,
            "For `onnx`: a text classifier with the inputs `input_ids` and, if it has them, \
             `attention_mask` and `token_type_ids`; its first output are logits.",
        ),
        optional("tokenizer", Kind::File, "For `onnx`: its `tokenizer.json`."),
        usual(
            "label",
            Kind::Count(0, 999),
            ("1", "most have two classes, and the second is the bad one"),
            "For `onnx`: the index of the class that is blocked.",
        ),
        usual(
            "threshold",
            Kind::Count(1, 1000),
            ("900", "a model that is unsure decides nothing"),
            "For `onnx`: the score in thousandths from which on a text is blocked.",
        ),
        usual(
            "queue",
            Kind::Count(1, 65_536),
            ("64", "a second of questions at 15 ms each"),
            "For `onnx`: how many texts may wait for it. More is a failure.",
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
            Some("onnx") => Dialect::Onnx,
            _ => Dialect::Webhook,
        };
        let profile = pass.shared(&section, "profile");
        if dialect == Dialect::Airs && profile.is_none() && !section.has("profile") {
            pass.note(section.place, Mistake::Missing(section.key("profile")));
        }
        let Who { callers: only, apps, teams } = who(pass, &section, callers);
        let local = local(pass, &section, dialect);
        if dialect != Dialect::Onnx && !section.has("url") {
            pass.note(section.place, Mistake::Missing(section.key("url")));
        }
        let target_entry = (dialect != Dialect::Onnx).then(|| target(pass, &section));
        judges.push(Judge {
            name: name.map_or_else(|| Arc::from(""), |name| Arc::from(name.value)),
            target: upstreams.targets.len(),
            dialect,
            local,
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
        upstreams.targets.extend(target_entry);
    }
    judges
}

/// The keys that only a model on this machine has.
const LOCAL: [&str; 6] = ["library", "model", "tokenizer", "label", "threshold", "queue"];
/// Those that it must have.
const LOCAL_NEEDED: [&str; 3] = ["library", "model", "tokenizer"];

/// Reads the keys of a model on this machine in any case, so that a wrong value is told even where
/// the key has no place.
fn local(pass: &mut Pass<'_>, section: &Section<'_>, dialect: Dialect) -> Option<LocalModel> {
    let file = |pass: &mut Pass<'_>, key: &str| {
        pass.text(section, key).map(|spot| PathBuf::from(spot.value)).unwrap_or_default()
    };
    let model = LocalModel {
        library: file(pass, "library"),
        model: file(pass, "model"),
        tokenizer: file(pass, "tokenizer"),
        label: pass.capacity(section, "label"),
        threshold: u32::try_from(pass.capacity(section, "threshold")).unwrap_or(u32::MAX),
        queue: pass.capacity(section, "queue"),
    };
    let is_local = dialect == Dialect::Onnx;
    let (idle, why): (&[&str], _) = if is_local {
        (&["url", "key", "header"], "with `kind = \"onnx\"`")
    } else {
        (&LOCAL, "without `kind = \"onnx\"`")
    };
    for key in idle.iter().filter(|key| section.has(key)) {
        pass.note(section.at(key), Mistake::Idle(section.key(key), why));
    }
    for key in LOCAL_NEEDED.iter().filter(|key| is_local && !section.has(key)) {
        pass.note(section.place, Mistake::Missing(section.key(key)));
    }
    is_local.then_some(model)
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
