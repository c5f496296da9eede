//! The rules of who may use which model, server and tool, and the proof that one allows it.
//!
//! Deny is the default, and a denying rule that applies wins over every allowing one. Names are
//! compared exactly, upper and lower case apart. A decision allocates nothing.

use crate::base::ask::{Ask, McpAsk};
use crate::base::caller::Caller;
use crate::config::model::{Effect, Pattern, Rule};
use std::fmt;
use std::sync::Arc;

/// What the permit to list models is called in records; the list itself is filtered.
pub const LIST_RULE: &str = "list_models";
/// What the permit to ask for the server's methods is called in records.
pub const SERVER_RULE: &str = "server_options";
/// What the permit to have texts scanned is called in records: whoever is known may, within limits.
pub const SCAN_RULE: &str = "scan";
/// The MCP method that calls a tool.
const CALL: &str = "tools/call";

/// All rules, sorted by what they speak of and what they say.
#[derive(Debug)]
pub struct Policy {
    models: Sides<Vec<Pattern>>,
    servers: Sides<Reach>,
    routes: Sides<Vec<Pattern>>,
    list: Arc<str>,
    server_rule: Arc<str>,
    scan_rule: Arc<str>,
}

/// The proof that a rule allows what is asked. The next gate demands it, and only
/// [`Policy::permit`] can make it:
///
/// ```
/// use ringwall::policy::rules::Permit;
/// fn next_gate(permit: &Permit) -> &str {
///     permit.rule()
/// }
/// ```
///
/// Written by anybody else it does not compile, because its field is private:
///
/// ```compile_fail,E0451
/// use ringwall::policy::rules::Permit;
/// let forged = Permit { rule: "mine".into() };
/// ```
#[derive(Clone, Debug)]
pub struct Permit {
    rule: Arc<str>,
}

/// Nothing allows it, or something forbids it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The rule that forbids it; none where no rule allows it.
    pub rule: Option<Arc<str>>,
    /// What may not be used.
    pub what: DeniedWhat,
}

/// What may not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeniedWhat {
    /// The model.
    Model,
    /// The passthrough route.
    Route,
    /// The MCP server as a whole.
    Server,
    /// The tool.
    Tool,
}

/// The rules that speak of one kind of thing.
#[derive(Debug)]
struct Sides<T> {
    allow: Vec<Side<T>>,
    deny: Vec<Side<T>>,
}

/// One rule, as far as it speaks of one kind of thing.
#[derive(Debug)]
struct Side<T> {
    name: Arc<str>,
    who: Who,
    what: T,
}

/// The rule that allows, or the one that forbids, or none.
type Decision<'a> = Result<&'a Arc<str>, Option<Arc<str>>>;

/// Whom a rule means. An empty list means everyone.
#[derive(Debug)]
struct Who {
    everyone: bool,
    callers: Vec<Pattern>,
    apps: Vec<Pattern>,
    teams: Vec<Pattern>,
}

/// Which servers, and which of their tools. Empty tools: all of them.
#[derive(Debug)]
struct Reach {
    servers: Vec<Pattern>,
    tools: Vec<Pattern>,
}

impl Policy {
    /// Sorts the rules. An allowing rule gives what its lists name: models by `models`, servers by
    /// `servers`, `tools` narrowing the latter. A denying rule that names tools but no servers
    /// means them on every server, and one that names nothing at all means everything.
    pub fn new(rules: &[Rule]) -> Self {
        let mut policy = Self {
            models: Sides { allow: Vec::new(), deny: Vec::new() },
            servers: Sides { allow: Vec::new(), deny: Vec::new() },
            routes: Sides { allow: Vec::new(), deny: Vec::new() },
            list: LIST_RULE.into(),
            server_rule: SERVER_RULE.into(),
            scan_rule: SCAN_RULE.into(),
        };
        for rule in rules {
            match rule.effect {
                Effect::Allow => policy.add_allow(rule),
                Effect::Deny => policy.add_deny(rule),
            }
        }
        policy
    }

    fn add_allow(&mut self, rule: &Rule) {
        if !rule.models.is_empty() {
            self.models.allow.push(side(rule, rule.models.clone()));
        }
        if !rule.servers.is_empty() {
            let reach = Reach { servers: rule.servers.clone(), tools: rule.tools.clone() };
            self.servers.allow.push(side(rule, reach));
        }
        if !rule.routes.is_empty() {
            self.routes.allow.push(side(rule, rule.routes.clone()));
        }
    }

    fn add_deny(&mut self, rule: &Rule) {
        let everything = [&rule.models, &rule.servers, &rule.tools, &rule.routes]
            .iter()
            .all(|list| list.is_empty());
        if everything || !rule.models.is_empty() {
            self.models.deny.push(side(rule, or_all(&rule.models)));
        }
        if everything || !rule.servers.is_empty() || !rule.tools.is_empty() {
            let reach = Reach { servers: or_all(&rule.servers), tools: rule.tools.clone() };
            self.servers.deny.push(side(rule, reach));
        }
        if everything || !rule.routes.is_empty() {
            self.routes.deny.push(side(rule, or_all(&rule.routes)));
        }
    }

    /// Whether the caller may have what is asked. Listing models is always permitted: the list
    /// holds only what [`Policy::may_use_model`] lets through. `OPTIONS *` asks for nothing.
    pub fn permit(&self, caller: &Caller, ask: &Ask) -> Result<Permit, Denied> {
        let rule = match ask {
            Ask::Chat(chat) => self.model(caller, &chat.model)?,
            Ask::Mcp(mcp) => self.message(caller, mcp)?,
            Ask::Models => &self.list,
            Ask::Scan => &self.scan_rule,
            Ask::Server => &self.server_rule,
            Ask::Route(ask) => self.route(caller, &ask.route)?,
        };
        Ok(Permit { rule: Arc::clone(rule) })
    }

    /// Whether the caller may use the model, and so see it.
    pub fn may_use_model(&self, caller: &Caller, model: &str) -> bool {
        self.model(caller, model).is_ok()
    }

    /// Whether the caller may call the tool, and so see it.
    pub fn may_see_tool(&self, caller: &Caller, server: &str, tool: &str) -> bool {
        self.tool(caller, server, Some(tool)).is_ok()
    }

    fn model(&self, caller: &Caller, model: &str) -> Result<&Arc<str>, Denied> {
        let applies = |side: &Side<Vec<Pattern>>| any(&side.what, model) && side.who.means(caller);
        self.models
            .decide(applies, applies)
            .map_err(|rule| Denied { rule, what: DeniedWhat::Model })
    }

    fn route(&self, caller: &Caller, route: &str) -> Result<&Arc<str>, Denied> {
        let applies = |side: &Side<Vec<Pattern>>| any(&side.what, route) && side.who.means(caller);
        self.routes
            .decide(applies, applies)
            .map_err(|rule| Denied { rule, what: DeniedWhat::Route })
    }

    fn message(&self, caller: &Caller, ask: &McpAsk) -> Result<&Arc<str>, Denied> {
        let server = self.server(caller, &ask.server)?;
        if ask.method == CALL {
            return self.tool(caller, &ask.server, ask.tool.as_deref());
        }
        Ok(server)
    }

    /// Any message at all: a rule must give the server, be it for some of its tools only, and none
    /// may forbid the server as a whole.
    fn server(&self, caller: &Caller, server: &str) -> Result<&Arc<str>, Denied> {
        let allows = |side: &Side<Reach>| any(&side.what.servers, server) && side.who.means(caller);
        let denies = |side: &Side<Reach>| side.what.tools.is_empty() && allows(side);
        let decided = self.servers.decide(allows, denies);
        decided.map_err(|rule| Denied { rule, what: DeniedWhat::Server })
    }

    /// A call: a rule must give this tool, and none may forbid it or its server. A call without a
    /// name is given only where all tools are, and forbidden where any is.
    fn tool(&self, caller: &Caller, server: &str, tool: Option<&str>) -> Result<&Arc<str>, Denied> {
        let applies = |side: &Side<Reach>, unnamed: bool| {
            any(&side.what.servers, server)
                && (side.what.tools.is_empty()
                    || tool.map_or(unnamed, |tool| any(&side.what.tools, tool)))
                && side.who.means(caller)
        };
        let decided = self.servers.decide(|side| applies(side, false), |side| applies(side, true));
        decided.map_err(|rule| Denied { rule, what: DeniedWhat::Tool })
    }
}

impl<T> Sides<T> {
    /// The allowing rule that applies, unless a denying one does: then that, or none.
    fn decide(
        &self,
        allows: impl Fn(&Side<T>) -> bool,
        denies: impl Fn(&Side<T>) -> bool,
    ) -> Decision<'_> {
        if let Some(side) = self.deny.iter().find(|side| denies(side)) {
            return Err(Some(Arc::clone(&side.name)));
        }
        self.allow.iter().find(|side| allows(side)).map(|side| &side.name).ok_or(None)
    }
}

impl Who {
    fn means(&self, caller: &Caller) -> bool {
        self.everyone
            || (fits(&self.callers, Some(&caller.name))
                && fits(&self.apps, caller.app.as_ref())
                && fits(&self.teams, caller.team.as_ref()))
    }
}

impl Permit {
    /// The rule that allows it, for records.
    pub fn rule(&self) -> &Arc<str> {
        &self.rule
    }
}

impl DeniedWhat {
    /// The name in answers, records and metrics; stable.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Model => "model_not_allowed",
            Self::Route => "route_not_allowed",
            Self::Server => "server_not_allowed",
            Self::Tool => "tool_not_allowed",
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            DeniedWhat::Model => "model",
            DeniedWhat::Route => "path",
            DeniedWhat::Server => "MCP server",
            DeniedWhat::Tool => "tool",
        };
        match &self.rule {
            Some(rule) => write!(out, "rule {rule} forbids you this {what}"),
            None => write!(out, "no rule allows you this {what}"),
        }?;
        out.write_str(": use another, or ask the gateway's operator")
    }
}

impl std::error::Error for Denied {}

fn side<T>(rule: &Rule, what: T) -> Side<T> {
    let who = Who {
        everyone: rule.callers.is_empty() && rule.apps.is_empty() && rule.teams.is_empty(),
        callers: rule.callers.clone(),
        apps: rule.apps.clone(),
        teams: rule.teams.clone(),
    };
    Side { name: Arc::clone(&rule.name), who, what }
}

fn or_all(patterns: &[Pattern]) -> Vec<Pattern> {
    if patterns.is_empty() { vec![Pattern::Prefix("".into())] } else { patterns.to_vec() }
}

fn any(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

/// A list that names something does not fit a caller that has no such name.
fn fits(patterns: &[Pattern], name: Option<&Arc<str>>) -> bool {
    patterns.is_empty() || name.is_some_and(|name| any(patterns, name))
}

#[cfg(test)]
mod tests {
    use super::{Denied, DeniedWhat, LIST_RULE, Policy};
    use crate::base::ask::{Ask, ChatAsk, McpAsk, RouteAsk};
    use crate::base::caller::Caller;
    use crate::config::model::{Effect, Pattern, Rule};

    fn caller(name: &str, app: Option<&str>, team: Option<&str>) -> Caller {
        Caller {
            name: name.into(),
            index: 0,
            user: None,
            app: app.map(Into::into),
            team: team.map(Into::into),
            expires: None,
            metadata: Vec::new(),
        }
    }

    fn patterns(names: &str) -> Vec<Pattern> {
        let pattern = |name: &str| match name.strip_suffix('*') {
            Some(start) => Pattern::Prefix(start.into()),
            None => Pattern::Exact(name.into()),
        };
        names.split_whitespace().map(pattern).collect()
    }

    /// `callers= apps= teams= models= servers= tools=`, each a list with spaces.
    fn rule(name: &str, effect: Effect, lists: &[(&str, &str)]) -> Rule {
        let of = |kind: &str| {
            let found = lists.iter().find(|(list, _)| *list == kind);
            found.map(|(_, names)| patterns(names)).unwrap_or_default()
        };
        Rule {
            name: name.into(),
            effect,
            callers: of("callers"),
            apps: of("apps"),
            teams: of("teams"),
            models: of("models"),
            servers: of("servers"),
            tools: of("tools"),
            routes: of("routes"),
        }
    }

    fn chat(model: &str) -> Ask {
        Ask::Chat(ChatAsk { model: model.to_owned(), ..ChatAsk::default() })
    }

    fn mcp(server: &str, method: &str, tool: Option<&str>) -> Ask {
        Ask::Mcp(McpAsk {
            server: server.to_owned(),
            method: method.to_owned(),
            tool: tool.map(str::to_owned),
            ..McpAsk::default()
        })
    }

    fn denied(rule: Option<&str>, what: DeniedWhat) -> Denied {
        Denied { rule: rule.map(Into::into), what }
    }

    #[test]
    fn without_rules_nothing_is_allowed_but_an_empty_list() {
        let policy = Policy::new(&[]);
        let ada = caller("ada", None, None);
        let no = |ask: &Ask| policy.permit(&ada, ask).unwrap_err();
        assert_eq!(no(&chat("gpt-4o")), denied(None, DeniedWhat::Model));
        assert_eq!(no(&mcp("git", "ping", None)), denied(None, DeniedWhat::Server));
        assert_eq!(&**policy.permit(&ada, &Ask::Models).unwrap().rule(), LIST_RULE);
        assert!(!policy.may_use_model(&ada, "gpt-4o"));
    }

    #[test]
    fn a_rule_applies_where_all_its_subjects_fit() {
        let lists = [("callers", "ada bob"), ("apps", "desk*"), ("teams", "red"), ("models", "*")];
        let policy = Policy::new(&[rule("r", Effect::Allow, &lists)]);
        let may = |name, app, team| policy.may_use_model(&caller(name, app, team), "m");
        assert!(may("ada", Some("desktop"), Some("red")));
        assert!(!may("eve", Some("desktop"), Some("red")));
        assert!(!may("ada", Some("phone"), Some("red")));
        assert!(!may("ada", Some("desktop"), None));
        assert!(!may("ada", None, Some("red")));
        assert!(!may("Ada", Some("desktop"), Some("red")), "names are exact");
    }

    #[test]
    fn a_rule_that_denies_wins_wherever_it_stands() {
        let allow = rule("open", Effect::Allow, &[("models", "gpt-*")]);
        let deny = rule("no-big", Effect::Deny, &[("callers", "bob"), ("models", "gpt-5*")]);
        for rules in [[allow.clone(), deny.clone()], [deny, allow]] {
            let policy = Policy::new(&rules);
            let no = policy.permit(&caller("bob", None, None), &chat("gpt-5-pro")).unwrap_err();
            assert_eq!(no, denied(Some("no-big"), DeniedWhat::Model));
            let yes = policy.permit(&caller("ada", None, None), &chat("gpt-5-pro")).unwrap();
            assert_eq!(&**yes.rule(), "open");
            assert!(policy.may_use_model(&caller("bob", None, None), "gpt-4o"));
        }
    }

    #[test]
    fn tools_narrow_calls_and_what_is_listed_but_not_other_messages() {
        let lists = [("servers", "git"), ("tools", "log show_*")];
        let policy = Policy::new(&[rule("read", Effect::Allow, &lists)]);
        let ada = caller("ada", None, None);
        let no = |ask: &Ask| policy.permit(&ada, ask).err();
        assert_eq!(no(&mcp("git", "initialize", None)), None);
        assert_eq!(no(&mcp("git", "", None)), None);
        assert_eq!(no(&mcp("git", "tools/call", Some("show_diff"))), None);
        let tool = Some(denied(None, DeniedWhat::Tool));
        assert_eq!(no(&mcp("git", "tools/call", Some("push"))), tool);
        assert_eq!(no(&mcp("git", "tools/call", None)), tool);
        let other = no(&mcp("hub", "tools/call", Some("log")));
        assert_eq!(other, Some(denied(None, DeniedWhat::Server)));
        assert!(policy.may_see_tool(&ada, "git", "log"));
        assert!(!policy.may_see_tool(&ada, "git", "Log"));
        assert!(!policy.may_see_tool(&ada, "hub", "log"));
    }

    #[test]
    fn a_denied_tool_leaves_its_server_and_a_denied_server_leaves_nothing() {
        let allow = rule("all", Effect::Allow, &[("servers", "*")]);
        let push = rule("no-push", Effect::Deny, &[("servers", "git"), ("tools", "push")]);
        let hub = rule("no-hub", Effect::Deny, &[("servers", "hub")]);
        let drop = rule("no-drop", Effect::Deny, &[("tools", "drop_*")]);
        let policy = Policy::new(&[allow, push, hub, drop]);
        let ada = caller("ada", None, None);
        let no = |ask: &Ask| policy.permit(&ada, ask).err();
        assert_eq!(no(&mcp("git", "tools/list", None)), None);
        assert_eq!(no(&mcp("git", "tools/call", Some("log"))), None);
        let call = |server, tool| no(&mcp(server, "tools/call", tool));
        let push = Some(denied(Some("no-push"), DeniedWhat::Tool));
        assert_eq!(call("git", Some("push")), push);
        assert_eq!(call("git", None), push, "a call that hides its name is not let through");
        let hub = Some(denied(Some("no-hub"), DeniedWhat::Server));
        assert_eq!(no(&mcp("hub", "tools/list", None)), hub);
        assert!(!policy.may_see_tool(&ada, "hub", "log"));
        let drop = Some(denied(Some("no-drop"), DeniedWhat::Tool));
        assert_eq!(call("db", Some("drop_table")), drop);
        assert_eq!(no(&mcp("db", "ping", None)), None);
    }

    #[test]
    fn a_rule_without_things_denies_everything_and_allows_nothing() {
        let everything = [("models", "*"), ("servers", "*")];
        let open = rule("open", Effect::Allow, &everything);
        let ban = rule("ban", Effect::Deny, &[("callers", "eve")]);
        let policy = Policy::new(&[open, ban]);
        let eve = caller("eve", None, None);
        let no = |ask: &Ask| policy.permit(&eve, ask).unwrap_err();
        assert_eq!(no(&chat("m")), denied(Some("ban"), DeniedWhat::Model));
        assert_eq!(no(&mcp("git", "ping", None)), denied(Some("ban"), DeniedWhat::Server));
        assert!(policy.may_use_model(&caller("ada", None, None), "m"));
        let bare = Policy::new(&[rule("bare", Effect::Allow, &[("tools", "x")])]);
        assert!(!bare.may_use_model(&eve, "m"));
        assert!(!bare.may_see_tool(&eve, "git", "x"));
    }

    #[test]
    fn routes_are_allowed_and_denied_by_name() {
        let open = rule("open", Effect::Allow, &[("routes", "*")]);
        let no = rule("no-admin", Effect::Deny, &[("routes", "admin")]);
        let policy = Policy::new(&[open, no]);
        let ada = caller("ada", None, None);
        let may = |route: &str| {
            let ask = RouteAsk { route: route.to_owned(), ..RouteAsk::default() };
            policy.permit(&ada, &Ask::Route(ask)).map(|permit| permit.rule().to_string())
        };
        assert_eq!(may("files"), Ok("open".to_owned()));
        assert_eq!(may("admin"), Err(denied(Some("no-admin"), DeniedWhat::Route)));
        assert!(!policy.may_use_model(&ada, "m"), "a rule about routes gives no model");
        let models = Policy::new(&[rule("m", Effect::Allow, &[("models", "*")])]);
        let ask = Ask::Route(RouteAsk { route: "files".to_owned(), ..RouteAsk::default() });
        assert_eq!(models.permit(&ada, &ask).unwrap_err(), denied(None, DeniedWhat::Route));
        let ban = rule("ban", Effect::Deny, &[]);
        let banned = Policy::new(&[rule("open", Effect::Allow, &[("routes", "*")]), ban]);
        let denial = banned.permit(&ada, &ask).unwrap_err();
        assert_eq!(denial, denied(Some("ban"), DeniedWhat::Route));
    }

    #[test]
    fn a_denial_of_models_does_not_touch_tools() {
        let open = rule("open", Effect::Allow, &[("models", "*"), ("servers", "*")]);
        let small = rule("small", Effect::Deny, &[("models", "big")]);
        let policy = Policy::new(&[open, small]);
        let ada = caller("ada", None, None);
        assert!(!policy.may_use_model(&ada, "big"));
        assert!(policy.may_see_tool(&ada, "git", "log"));
    }
}
