//! The checked form of guard profiles.

use crate::base::caller::Metadata;
use crate::base::hit::Direction;
use crate::config::guard_rules::GuardAction;
use crate::config::model::Pattern;
use std::sync::Arc;
use std::time::Duration;

/// What is done for some exchanges.
#[derive(Clone, Debug)]
pub struct GuardProfile {
    /// Its name in records.
    pub name: Arc<str>,
    /// For which. It fits where every list that is not empty does.
    pub scope: GuardScope,
    /// What rules do, before what `[[guard.action]]` says.
    pub actions: Vec<GuardAction>,
    /// What is done besides.
    pub options: GuardOptions,
}

/// Which exchanges a profile is for.
#[derive(Clone, Debug, Default)]
pub struct GuardScope {
    /// By the caller's name.
    pub callers: Vec<Pattern>,
    /// By app.
    pub apps: Vec<Pattern>,
    /// By team.
    pub teams: Vec<Pattern>,
    /// By the model that is asked.
    pub models: Vec<Pattern>,
    /// By MCP server.
    pub servers: Vec<Pattern>,
    /// By the tool that is called.
    pub tools: Vec<Pattern>,
    /// By passthrough route.
    pub routes: Vec<Pattern>,
    /// One way only.
    pub direction: Option<Direction>,
    /// What the configuration says of the caller; all of it must fit.
    pub metadata: Vec<Metadata>,
}

/// What guards do besides rules.
#[derive(Clone, Debug, Default)]
pub struct GuardOptions {
    /// Whether a pseudonym in an answer becomes the caller's own value again.
    pub restore: bool,
    /// Whether the answer's head says what was found.
    pub annotate: bool,
    /// How text of untrusted authors is set apart for the model.
    pub spotlight: Spotlight,
    /// What becomes of a body with parts that no guard can see.
    pub uncovered: Uncovered,
    /// What becomes of a body that a guard failed on.
    pub on_error: OnError,
    /// How long the look at one body may take before rules of `skip` are left out.
    pub budget: Option<Duration>,
    /// The rules that may be left out.
    pub skip: Vec<Pattern>,
}

/// What becomes of a body that a guard failed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// It is refused.
    #[default]
    Closed,
    /// It passes unseen.
    Open,
}

/// How text of untrusted authors is set apart for the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spotlight {
    /// Not at all.
    #[default]
    Off,
    /// A keyed mark stands before and behind it.
    Delimit,
    /// It is written in base64, with a word that says so.
    Encode,
}

/// What becomes of a body with parts that no guard can see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Uncovered {
    /// It passes; the record says what was not seen.
    #[default]
    Pass,
    /// The same, and it counts as a finding.
    Flag,
    /// It is refused.
    Refuse,
}
