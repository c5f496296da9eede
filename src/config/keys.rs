//! Every key of the configuration, described once: what it takes, what it is when absent, what it
//! means and why. The reader, the did-you-mean, the reference and the JSON Schema are made of this.

use crate::config::guard_rules::{GUARD_RULE, PACKS};
use crate::config::judges::JUDGE;
use crate::config::kinds::Kind;
use crate::config::listener_keys::{
    CA, CLIENT_CERTIFICATE, CLIENT_KEY, LISTENER, LISTENER_SNI, ROOTS, SERVER_NAME,
};
use crate::config::profile_keys::{
    ANNOTATE, BUDGET, CANARIES, GUARD_PROFILE, GUARD_PROFILE_ACTION, MASK_KEY, MODE, ON_ERROR,
    RESTORE, SKIP, SOURCES, SPOTLIGHT, STYLE, UNCOVERED, UNTRUSTED,
};
use crate::config::quantities::{BOUNDS, DEADLINES};
use crate::config::routes::ROUTE;

/// A table of the file.
#[derive(Debug, PartialEq)]
pub struct Table {
    /// Its name in the file; empty for the top of the file.
    pub path: &'static str,
    /// Whether there may be many: `[[name]]`.
    pub many: bool,
    /// What it is for.
    pub about: &'static str,
    /// Its keys, in the order of the reference.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug, PartialEq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is when absent.
    pub absent: Absent,
    /// What it means.
    pub about: &'static str,
}

/// What a key is when the file does not say it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Absent {
    /// It must be said.
    Refused,
    /// Nothing: the sentence says what that means.
    Nothing,
    /// This, as the file would write it, and why.
    Is(&'static str, &'static str),
}

impl Table {
    /// The key of that name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// As the file writes its header.
    pub fn header(&self) -> String {
        match (self.path, self.many) {
            ("", _) => "the top of the file".to_owned(),
            (path, _) if path == GUARD_PROFILE.path => format!("[{path}.NAME]"),
            (path, _) if path == GUARD_PROFILE_ACTION.path => {
                "[[guard.profile.NAME.action]]".to_owned()
            }
            (path, true) => format!("[[{path}]]"),
            (path, false) => format!("[{path}]"),
        }
    }

    /// Whether its tables have names of the file's own: `[guard.profile.NAME]`.
    pub fn is_named(&self) -> bool {
        self.path == GUARD_PROFILE.path
    }

    /// The names of the tables right below this one, with how they are written.
    pub fn children(&self) -> impl Iterator<Item = (&'static str, &'static Self)> {
        TABLES.iter().filter_map(|table| {
            let (parent, name) = table.path.rsplit_once('.').unwrap_or(("", table.path));
            (parent == self.path && !name.is_empty()).then_some((name, *table))
        })
    }
}

/// The table of that path.
pub fn table(path: &str) -> Option<&'static Table> {
    TABLES.iter().copied().find(|table| table.path == path)
}

/// A key that a reader asks for and no table describes: a mistake of ours, made loud by any load.
pub static UNDESCRIBED: Key = needed("undescribed", Kind::Text, "Not a key.");

pub(super) const fn needed(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, kind, absent: Absent::Refused, about }
}

pub(super) const fn optional(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, kind, absent: Absent::Nothing, about }
}

pub(super) const fn usual(
    name: &'static str,
    kind: Kind,
    absent: (&'static str, &'static str),
    about: &'static str,
) -> Key {
    Key { name, kind, absent: Absent::Is(absent.0, absent.1), about }
}

/// Longest wait that any deadline may be: a day, after which nobody is still there.
pub(super) const LONGEST: &str = "1d";
pub(super) const ACTIONS: Kind = Kind::Choice(&["allow", "flag", "mask", "block"]);

/// All tables, in the order of the reference.
pub static TABLES: &[&Table] = &[
    &TOP,
    &GATEWAY,
    &LISTENER,
    &LISTENER_SNI,
    &BOUNDS,
    &DEADLINES,
    &CALLER,
    &RULE,
    &PROVIDER,
    &MODEL,
    &MCP_SERVER,
    &ROUTE,
    &GUARD,
    &GUARD_ACTION,
    &GUARD_RULE,
    &GUARD_PROFILE,
    &GUARD_PROFILE_ACTION,
    &JUDGE,
    &AUDIT,
];

/// The keys before any table.
pub static TOP: Table = Table {
    path: "",
    many: false,
    about: "The file begins with the version of its language.",
    keys: &[needed(
        "version",
        Kind::Count(1, 1),
        "The version of this language. There is one so far; a later one will still read it.",
    )],
};

/// Addresses and threads.
pub static GATEWAY: Table = Table {
    path: "gateway",
    many: false,
    about: "Where Ringwall listens and how many threads it uses.",
    keys: &[
        usual(
            "listen",
            Kind::Endpoints,
            ("[\"127.0.0.1:8080\"]", "nobody else can reach it until you say so"),
            "Where clients connect without TLS. With `[[listener]]` tables and no `listen`, only \
             those are opened.",
        ),
        usual(
            "admin",
            Kind::Address,
            ("\"127.0.0.1:9090\"", "health and metrics have no login"),
            "Where operators and probes connect: `/healthz`, `/readyz`, `/metrics`.",
        ),
        Key {
            name: "workers",
            kind: Kind::Count(1, 1024),
            absent: Absent::Is(
                "cores less one",
                "one core is left to the control and archive threads; at least one worker",
            ),
            about: "Threads that serve connections.",
        },
        usual(
            "pin",
            Kind::Flag,
            ("true", "a worker that moves between cores takes cold caches along"),
            "Whether each worker is bound to a CPU of its own. More workers than CPUs are not.",
        ),
        optional(
            "pin_from",
            Kind::Count(0, 4095),
            "First CPU to pin workers to; the n-th worker takes the n-th CPU after it. Absent: the \
             last of the CPUs that the process may use, so that the first are left to others.",
        ),
        usual(
            "drain",
            Kind::Span("0s", LONGEST),
            ("\"30s\"", "what Kubernetes grants a pod before it kills it"),
            "How long SIGTERM waits for live exchanges and streams.",
        ),
    ],
};

/// Who may ask.
pub static CALLER: Table = Table {
    path: "caller",
    many: true,
    about: "Someone who may ask: a person, a service, an agent. API keys are kept as digests only.",
    keys: &[
        needed("name", Kind::Name, "Its name in rules, records and `--set`. Unique."),
        optional("user", Kind::Text, "The human behind it."),
        optional("app", Kind::Text, "The service or agent."),
        optional("team", Kind::Text, "The team both belong to."),
        optional("expires", Kind::Date, "When its keys stop working. Absent: never."),
        optional("metadata", Kind::Metadata, "Anything else that records should say of it."),
        optional(
            "keys",
            Kind::Digests,
            "Digests of its API keys; any of them is valid, so that a key can be rotated.",
        ),
        optional(
            "certificates",
            Kind::CertificateNames,
            "Names in its client certificates, any of which is enough: a SPIFFE id, a DNS name or \
             the subject's common name. They count on listeners with `client_ca`.",
        ),
        optional(
            "requests_per_minute",
            Kind::Count(1, 4_294_967_295),
            "Requests in any sixty seconds. Absent: no limit.",
        ),
        optional(
            "in_flight",
            Kind::Count(1, 4_294_967_295),
            "Requests at the same time. Absent: no limit.",
        ),
        usual(
            "anonymous",
            Kind::Flag,
            ("false", "deny is the default"),
            "Whoever presents nothing is this caller. At most one caller, and nothing proves it.",
        ),
    ],
};

/// Who may ask for what.
pub static RULE: Table = Table {
    path: "rule",
    many: true,
    about: "Who may ask for what. What no rule allows is denied, and a `deny` wins over every \
            `allow`. A rule applies to whoever every list of it that is not empty fits.",
    keys: &[
        needed("name", Kind::Name, "Its name in records and refusals. Unique."),
        needed("effect", Kind::Choice(&["allow", "deny"]), "What it says."),
        optional("callers", Kind::Patterns, "Callers by name. Absent: all."),
        optional("apps", Kind::Patterns, "Callers by app. Absent: all."),
        optional("teams", Kind::Patterns, "Callers by team. Absent: all."),
        optional("models", Kind::Patterns, "Models. Absent: the rule is not about models."),
        optional("servers", Kind::Patterns, "MCP servers. Absent: it is not about servers."),
        optional("tools", Kind::Patterns, "Tools of those servers. Absent: all of them."),
        optional("routes", Kind::Patterns, "Passthrough routes. Absent: it is not about routes."),
    ],
};

/// Upstreams of models.
pub static PROVIDER: Table = Table {
    path: "provider",
    many: true,
    about: "An upstream that serves models. What is asked in one dialect is only sent to providers \
            that speak it: nothing is translated.",
    keys: &[
        needed("name", Kind::Name, "Its name in routes, records and metrics. Unique."),
        needed(
            "url",
            Kind::Url,
            "Where it is, with the path before `/chat/completions`, `/responses` or `/messages`: \
             as a rule it ends in `/v1`.",
        ),
        usual(
            "dialects",
            Kind::Words(&["openai", "anthropic"]),
            ("[\"openai\"]", "what most providers speak"),
            "What it speaks: `openai` for chat completions, responses, completions and embeddings, \
             `anthropic` for messages and their token counts. Anthropic itself takes its key with \
             `header = \"x-api-key\"`.",
        ),
        optional(
            "key",
            Kind::Secret,
            "Its API key, swapped in at the last step; the caller's own never travels.",
        ),
        HEADER,
        CA,
        ROOTS,
        CLIENT_CERTIFICATE,
        CLIENT_KEY,
        SERVER_NAME,
        IDLE,
    ],
};

pub(crate) const HEADER: Key = usual(
    "header",
    Kind::Header,
    ("\"authorization\"", "what the OpenAI API takes"),
    "The header that carries the key. In `authorization` it is written `Bearer KEY`, in any other \
     as it is.",
);
pub(super) const IDLE: Key = usual(
    "idle_connections",
    Kind::Count(0, 10_000),
    ("64", "a busy worker's streams end and begin again without a handshake"),
    "Idle connections to it that each worker keeps.",
);

/// Public model names.
pub static MODEL: Table = Table {
    path: "model",
    many: true,
    about: "A model name that clients may use, and where it leads.",
    keys: &[
        needed("name", Kind::ModelName, "The name that clients send. Unique."),
        needed(
            "routes",
            Kind::Routes,
            "Where it leads, best first. The next is tried on a connect error, 429 or 5xx before \
             the first byte.",
        ),
    ],
};

/// MCP servers.
pub static MCP_SERVER: Table = Table {
    path: "mcp_server",
    many: true,
    about: "An MCP server that clients reach at `/mcp/NAME`.",
    keys: &[
        needed("name", Kind::Name, "Its name in the path, in rules and records. Unique."),
        needed("url", Kind::Url, "Its Streamable HTTP endpoint."),
        optional("key", Kind::Secret, "What proves us to it, if anything must."),
        HEADER,
        CA,
        ROOTS,
        CLIENT_CERTIFICATE,
        CLIENT_KEY,
        SERVER_NAME,
        IDLE,
    ],
};

/// Whether guards run.
pub static GUARD: Table = Table {
    path: "guard",
    many: false,
    about: "What is looked for in requests and answers.",
    keys: &[
        usual(
            "enabled",
            Kind::Flag,
            ("true", "a guard that did not run is no pass"),
            "Whether anything is inspected at all.",
        ),
        PACKS,
        MASK_KEY,
        CANARIES,
        SOURCES,
        RESTORE,
        ANNOTATE,
        SPOTLIGHT,
        UNCOVERED,
        ON_ERROR,
        BUDGET,
        SKIP,
    ],
};

/// What guards do.
pub static GUARD_ACTION: Table = Table {
    path: "guard.action",
    many: true,
    about: "What a guard rule does, where it should do something else than its pack says. The \
            longest `rule` that fits wins.",
    keys: &[
        needed("rule", Kind::RulePattern, "The rule, or a family of rules."),
        optional("request", ACTIONS, "On the way to the upstream. Absent: as the pack says."),
        optional("response", ACTIONS, "On the way back. Absent: as the pack says."),
        UNTRUSTED,
        MODE,
        STYLE,
    ],
};

/// The log.
pub static AUDIT: Table = Table {
    path: "audit",
    many: false,
    about: "The hash-chained log of every exchange.",
    keys: &[
        usual(
            "folder",
            Kind::Folder,
            ("\"audit\"", "beside where Ringwall is started"),
            "The folder of its files.",
        ),
        usual(
            "window",
            Kind::Span("1ms", "10s"),
            ("\"20ms\"", "one disk flush serves the requests of that time"),
            "How long a record may wait for its batch: what a crash may lose.",
        ),
        usual(
            "file_size",
            Kind::Size("1 MiB", "1 TiB"),
            ("\"64 MiB\"", "small enough to ship, large enough to be few"),
            "Bytes of a file before the next is begun.",
        ),
    ],
};

#[cfg(test)]
mod tests {
    use super::{Absent, TABLES, table};
    use std::collections::BTreeSet;

    #[test]
    fn every_key_is_described_once_and_in_full_sentences() {
        let mut seen = BTreeSet::new();
        for table in TABLES {
            assert!(table.about.ends_with('.'), "{}", table.path);
            for key in table.keys {
                assert!(seen.insert((table.path, key.name)), "{} twice", key.name);
                assert!(key.about.ends_with('.'), "{}", key.name);
                assert!(
                    !matches!(key.absent, Absent::Is("", _) | Absent::Is(_, "")),
                    "{}",
                    key.name
                );
            }
        }
    }

    #[test]
    fn tables_know_those_below_them() {
        let below = |path: &str| -> Vec<&str> {
            table(path).unwrap().children().map(|(name, _)| name).collect()
        };
        assert!(below("").contains(&"gateway") && !below("").contains(&"guard.action"));
        assert_eq!(below("guard"), ["action", "rule", "profile"]);
        assert!(below("caller").is_empty());
    }
}
