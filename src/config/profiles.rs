//! Guard profiles: for which exchanges they are, and what is done then.

use crate::base::hit::{Action, Direction, Mode, Style};
use crate::config::fault::Mistake;
use crate::config::guards::RuleNames;

use crate::config::guard_rules::GuardAction;
use crate::config::model::Pattern;
use crate::config::pass::{Pass, Section};
use crate::config::people::{self, Callers};
use crate::config::profile_keys::{GUARD_PROFILE, GUARD_PROFILE_ACTION};
use crate::config::profile_model::{
    GuardOptions, GuardProfile, GuardScope, OnError, Spotlight, Uncovered,
};
use crate::config::routes::Routes;
use crate::config::upstreams::Upstreams;
use std::time::Duration;

/// The names that profiles may use.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Callers, apps and teams.
    pub callers: &'a Callers,
    /// Models and MCP servers.
    pub upstreams: &'a Upstreams,
    /// Passthrough routes.
    pub routes: &'a Routes,
}

/// Reads the profiles, in the order of the file.
pub fn read(
    pass: &mut Pass<'_>,
    guard: &Section<'_>,
    known: Known<'_>,
    rules: &RuleNames,
    usual: &GuardOptions,
) -> Vec<GuardProfile> {
    let mut profiles = Vec::new();
    for (name, section) in pass.named(guard, &GUARD_PROFILE) {
        let scope = scope(pass, &section, known);
        let items = pass.sections(&section, &GUARD_PROFILE_ACTION);
        let actions = super::guards::actions(pass, items, rules);
        let options = options(pass, &section, rules, usual);
        profiles.push(GuardProfile { name, scope, actions, options });
    }
    profiles
}

fn scope(pass: &mut Pass<'_>, section: &Section<'_>, known: Known<'_>) -> GuardScope {
    let Known { callers, upstreams, routes } = known;
    let mut list = |name: &str, names| people::patterns(pass, section, name, names);
    GuardScope {
        callers: list("callers", Some(("caller", &callers.names))),
        apps: list("apps", Some(("app", &callers.apps))),
        teams: list("teams", Some(("team", &callers.teams))),
        models: list("models", Some(("model", &upstreams.model_names))),
        servers: list("servers", Some(("MCP server", &upstreams.server_names))),
        tools: list("tools", None),
        routes: list("routes", Some(("route", &routes.names))),
        direction: match pass.choice(section, "direction") {
            Some("request") => Some(Direction::Request),
            Some("response") => Some(Direction::Response),
            Some(_) | None => None,
        },
        metadata: people::metadata(pass, section),
    }
}

/// Reads what is done besides rules; what is absent is as usual.
pub fn options(
    pass: &mut Pass<'_>,
    section: &Section<'_>,
    rules: &RuleNames,
    usual: &GuardOptions,
) -> GuardOptions {
    let mut options = usual.clone();
    for (name, own) in [("restore", &mut options.restore), ("annotate", &mut options.annotate)] {
        if section.has(name) {
            *own = pass.flag(section, name);
        }
    }
    match pass.choice(section, "spotlight") {
        Some("delimit") => options.spotlight = Spotlight::Delimit,
        Some("encode") => options.spotlight = Spotlight::Encode,
        Some(_) => options.spotlight = Spotlight::Off,
        None => {}
    }
    match pass.choice(section, "uncovered") {
        Some("flag") => options.uncovered = Uncovered::Flag,
        Some("refuse") => options.uncovered = Uncovered::Refuse,
        Some(_) => options.uncovered = Uncovered::Pass,
        None => {}
    }
    if let Some(word) = pass.choice(section, "on_error") {
        options.on_error = if word == "open" { OnError::Open } else { OnError::Closed };
    }
    if section.has("budget_us") {
        options.budget = pass.count(section, "budget_us").map(Duration::from_micros);
    }
    if section.has("skip") {
        options.skip = skippable(pass, section, rules);
    }
    if section.has("skip") && options.budget.is_none() {
        let key = section.key("skip");
        pass.note(section.at("skip"), Mistake::Idle(key, "without `budget_us`"));
    }
    options
}

fn skippable(pass: &mut Pass<'_>, section: &Section<'_>, rules: &RuleNames) -> Vec<Pattern> {
    let mut skip = Vec::new();
    for spot in pass.texts(section, "skip") {
        let Some(pattern) = people::pattern(pass, &spot, section.key("skip")) else { continue };
        people::refuse_unknown(pass, "guard rule", &rules.names, (&pattern, &spot));
        skip.push(pattern);
    }
    skip
}

/// Reads one action but for its rule.
pub fn action(pass: &mut Pass<'_>, section: &Section<'_>, rule: Pattern) -> GuardAction {
    let mut way = |name| {
        let word = pass.choice(section, name)?;
        let all = [Action::Allow, Action::Flag, Action::Mask, Action::Block];
        all.into_iter().find(|action| action.name() == word)
    };
    let (request, response, untrusted) = (way("request"), way("response"), way("untrusted"));
    let mode = pass.choice(section, "mode").and_then(|word| {
        [Mode::Enforce, Mode::Shadow, Mode::Off].into_iter().find(|mode| mode.name() == word)
    });
    let style = match pass.choice(section, "style") {
        Some("fixed") => Some(Style::Fixed),
        Some("format") => Some(Style::Format),
        Some("hash") => Some(Style::Hash),
        Some("pseudonym") => Some(Style::Pseudonym),
        Some(_) | None => None,
    };
    GuardAction { rule, request, response, untrusted, mode, style }
}
