//! The keys of guard profiles, and those that `[guard]` shares with them.

use crate::config::keys::{ACTIONS, Key, Table, optional, usual};
use crate::config::kinds::Kind;

/// What is done for some exchanges.
pub static GUARD_PROFILE: Table = Table {
    path: "guard.profile",
    many: true,
    about: "What guards do for some exchanges. The first profile of the file that fits is the \
            exchange's own; where none does, `[guard]` alone is. It fits where all of its lists \
            do; one without lists fits all. What it does not say is as `[guard]` says.",
    keys: &[
        optional("callers", Kind::Patterns, "Callers. Absent: whoever."),
        optional("apps", Kind::Patterns, "Their apps. Absent: any."),
        optional("teams", Kind::Patterns, "Their teams. Absent: any."),
        optional("metadata", Kind::Metadata, "What must be said of the caller. Absent: nothing."),
        optional(
            "models",
            Kind::Patterns,
            "Models that are asked. Absent: it is not about models.",
        ),
        optional("servers", Kind::Patterns, "MCP servers. Absent: any."),
        optional("tools", Kind::Patterns, "Tools that are called. Absent: any, or none."),
        optional("routes", Kind::Patterns, "Passthrough routes. Absent: any."),
        optional("direction", DIRECTIONS, "One way only. Absent: both."),
        optional("restore", Kind::Flag, "As in `[guard]`."),
        optional("annotate", Kind::Flag, "As in `[guard]`."),
        optional("spotlight", SPOTLIGHTS, "As in `[guard]`."),
        optional("uncovered", UNCOVEREDS, "As in `[guard]`."),
        optional("on_error", ERRORS, "As in `[guard]`."),
        optional("budget_us", BUDGETS, "As in `[guard]`."),
        optional("skip", Kind::Patterns, "As in `[guard]`."),
    ],
};

/// What rules do under a profile.
pub static GUARD_PROFILE_ACTION: Table = Table {
    path: "guard.profile.action",
    many: true,
    about: "What a guard rule does under this profile. What none of them says, `[[guard.action]]` \
            says.",
    keys: &[
        super::keys::needed("rule", Kind::RulePattern, "The rule, or a family of rules."),
        optional("request", ACTIONS, "On the way to the upstream."),
        optional("response", ACTIONS, "On the way back."),
        UNTRUSTED,
        MODE,
        STYLE,
    ],
};

const DIRECTIONS: Kind = Kind::Choice(&["request", "response"]);
const SPOTLIGHTS: Kind = Kind::Choice(&["off", "delimit", "encode"]);
const UNCOVEREDS: Kind = Kind::Choice(&["pass", "flag", "refuse"]);
const ERRORS: Kind = Kind::Choice(&["closed", "open"]);
const BUDGETS: Kind = Kind::Count(1, 10_000_000);

pub(super) const UNTRUSTED: Key = optional(
    "untrusted",
    ACTIONS,
    "Either way, in tool results, documents and whatever else nobody of the conversation wrote. \
     Absent: as in any other text.",
);
pub(super) const MODE: Key = optional(
    "mode",
    Kind::Choice(&["enforce", "shadow", "off"]),
    "`shadow`: it is recorded and counted what would have been done, and nothing is. `off`: it is \
     not looked at. Absent: as a shorter `rule` says, or `enforce`.",
);
pub(super) const STYLE: Key = optional(
    "style",
    Kind::Choice(&["fixed", "format", "hash", "pseudonym"]),
    "What masks look like. `fixed`: `[CARD]`. `format`: stars in the value's shape, with the last \
     four of long personal data. `hash`: `[CARD#…]` with a keyed digest, equal for equal values of \
     a team (or of a caller without one). `pseudonym`: `[CARD_…]`, the same, and an answer may be \
     given the value back. Absent: as a shorter `rule` says, or `fixed`.",
);
pub(super) const MASK_KEY: Key = optional(
    "mask_key",
    Kind::Secret,
    "What digests and pseudonyms are made with, at least 16 bytes; the same on every node. Absent: \
     by chance for each process, so that they change with a restart.",
);
pub(super) const CANARIES: Key = optional(
    "canaries",
    Kind::Secret,
    "Words that were hidden in system prompts, parted by blanks, each with at least 12 letters and \
     digits (`ringwall guard canary` makes one). Where an answer or the arguments of a call say \
     one, however its letters are parted, rule `leak.canary` blocks. Absent: none.",
);
pub(super) const SOURCES: Key = usual(
    "sources",
    Kind::Choice(&["all", "documents", "tool_results"]),
    ("\"all\"", "both were fetched to answer from"),
    "What an answer may be grounded in, for the rules `grounding.*`: the tool results of its own \
     request, the documents, or all of them.",
);
pub(super) const RESTORE: Key = usual(
    "restore",
    Kind::Flag,
    ("true", "it is the caller's own value"),
    "Whether a pseudonym in an answer becomes the value again that the same request held.",
);
pub(super) const ANNOTATE: Key = usual(
    "annotate",
    Kind::Flag,
    ("false", "a client may not expect the field"),
    "Whether the answer's head says in `x-ringwall-guard` which rules found what. A stream's head \
     leaves before its text, so it speaks of the request only.",
);
pub(super) const SPOTLIGHT: Key = usual(
    "spotlight",
    SPOTLIGHTS,
    ("\"off\"", "it changes what the model reads"),
    "How tool results and documents are set apart for a model: between keyed marks, or as base64 \
     with a word that says so.",
);
pub(super) const UNCOVERED: Key = usual(
    "uncovered",
    UNCOVEREDS,
    ("\"pass\"", "pictures and sounds are part of many chats"),
    "What becomes of a body with parts that no guard can see: pictures, sounds, files, encrypted \
     parts. It passes either way on record; `flag` counts it as a finding `coverage.uncovered`.",
);
pub(super) const ON_ERROR: Key = usual(
    "on_error",
    ERRORS,
    ("\"closed\"", "a guard that did not run is no pass"),
    "What becomes of a body that a guard failed on: refused, or passed unseen and so recorded. A \
     stream ends in either case.",
);
pub(super) const BUDGET: Key = optional(
    "budget_us",
    BUDGETS,
    "How many microseconds the look at one body may take before the rules of `skip` are left out; \
     all others are never. Absent: as long as it takes.",
);
pub(super) const SKIP: Key = optional(
    "skip",
    Kind::Patterns,
    "The rules that may be left out, the record says where they were. Absent: none.",
);
