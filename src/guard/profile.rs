//! Profiles: what each rule does in each of them, which one an exchange has, and how a rule is
//! looked at: which way the text goes, under which profile, and whom it comes from.
//!
//! What a rule does is settled when the rules are compiled: the profile's own actions come before
//! `[[guard.action]]`, which come before what the pack says; among those of one place the longest
//! name that fits and speaks of it wins. What is left out is a look into a small table.

use crate::base::ask::Ask;
use crate::base::caller::Caller;
use crate::base::hit::{Action, Direction, Mode, Style};
use crate::base::text::{Channel, Segment, Trust};
use crate::config::guard_rules::GuardAction;
use crate::config::model::{Guard, Pattern};
use crate::config::profile_model::{GuardOptions, GuardScope};
use std::sync::Arc;

/// Where a rule is asked what it does. The same rule may do one thing here and another there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Which way the text goes.
    pub direction: Direction,
    /// The index of the profile; 0 is the one without a name.
    pub profile: u16,
    /// Whether nobody vouches for the text: see [`is_untrusted`].
    pub untrusted: bool,
    /// Whether time is short: rules that may be left out are.
    pub hurried: bool,
}

impl View {
    /// Text that the caller or the upstream itself says, under that profile.
    pub const fn new(direction: Direction, profile: u16) -> Self {
        Self { direction, profile, untrusted: false, hurried: false }
    }

    /// The same for the text of one segment.
    #[must_use]
    pub const fn on(self, segment: &Segment) -> Self {
        Self { untrusted: is_untrusted(segment.channel, segment.trust), ..self }
    }
}

impl From<Direction> for View {
    fn from(direction: Direction) -> Self {
        Self::new(direction, 0)
    }
}

/// Whether nobody who takes part in the conversation wrote it: a tool's result, a document, what
/// was fetched from somewhere.
pub const fn is_untrusted(channel: Channel, trust: Trust) -> bool {
    matches!(trust, Trust::Retrieved) || matches!(channel, Channel::Document | Channel::ToolResult)
}

/// What one rule does under one profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Act {
    request: Action,
    response: Action,
    untrusted: Option<Action>,
    mode: Mode,
    /// What its masks look like.
    pub style: Style,
    /// Whether it may be left out when time is short.
    pub may_skip: bool,
}

impl Act {
    /// What the rule would do there if it is enforced.
    pub fn says(&self, view: View) -> Action {
        let trusted = match view.direction {
            Direction::Request => self.request,
            Direction::Response => self.response,
        };
        let action = self.untrusted.filter(|_| view.untrusted).unwrap_or(trusted);
        let is_left_out = self.mode == Mode::Off || (view.hurried && self.may_skip);
        if is_left_out { Action::Allow } else { action }
    }

    /// What the rule does there. In shadow it finds and tells, and changes nothing.
    pub fn does(&self, view: View) -> Action {
        let says = self.says(view);
        if self.mode == Mode::Shadow { says.min(Action::Flag) } else { says }
    }

    /// Whether what it says is done.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether it does nothing anywhere.
    pub fn is_silent(&self) -> bool {
        let all = [Some(self.request), Some(self.response), self.untrusted];
        self.mode == Mode::Off || all.into_iter().flatten().all(|action| action == Action::Allow)
    }

    /// Whether it masks anywhere, enforced or not.
    pub fn masks(&self) -> bool {
        let all = [Some(self.request), Some(self.response), self.untrusted];
        all.contains(&Some(Action::Mask))
    }
}

/// What a rule of that name does in each profile, the one without a name first. `usual` is what
/// its pack says: on the way there, and on the way back.
pub fn acts(config: &Guard, name: &str, usual: [Action; 2]) -> Box<[Act]> {
    let named = config.profiles.iter().map(|profile| (&*profile.actions, &profile.options));
    let all = std::iter::once((&[][..], &config.options)).chain(named);
    all.map(|(own, options)| {
        let layers = [own, &config.actions];
        Act {
            request: said(layers, name, |action| action.request).unwrap_or(usual[0]),
            response: said(layers, name, |action| action.response).unwrap_or(usual[1]),
            untrusted: said(layers, name, |action| action.untrusted),
            mode: said(layers, name, |action| action.mode).unwrap_or_default(),
            style: said(layers, name, |action| action.style).unwrap_or_default(),
            may_skip: options.skip.iter().any(|pattern| pattern.matches(name)),
        }
    })
    .collect()
}

/// What the first layer that speaks of it says; in one layer the longest pattern that fits.
fn said<T: Copy>(
    layers: [&[GuardAction]; 2],
    name: &str,
    of: impl Fn(&GuardAction) -> Option<T>,
) -> Option<T> {
    layers.into_iter().find_map(|layer| {
        let fitting = layer.iter().filter(|action| action.rule.matches(name));
        let spoken = fitting.filter_map(|action| Some((rank(&action.rule), of(action)?)));
        spoken.max_by_key(|(rank, _)| *rank).map(|(_, said)| said)
    })
}

fn rank(pattern: &Pattern) -> (usize, bool) {
    match pattern {
        Pattern::Exact(own) => (own.len(), true),
        Pattern::Prefix(own) => (own.len(), false),
    }
}

/// The profiles of a configuration, to choose from.
#[derive(Debug, Default)]
pub struct Profiles {
    list: Vec<Profile>,
}

#[derive(Debug)]
struct Profile {
    /// None for the one that is there without being named.
    name: Option<Arc<str>>,
    scope: GuardScope,
    options: GuardOptions,
}

impl Profiles {
    /// Those of a configuration.
    pub fn new(config: &Guard) -> Self {
        let named = config.profiles.iter().map(|profile| Profile {
            name: Some(Arc::clone(&profile.name)),
            scope: profile.scope.clone(),
            options: profile.options.clone(),
        });
        let (scope, options) = (GuardScope::default(), config.options.clone());
        let unnamed = Profile { name: None, scope, options };
        Self { list: std::iter::once(unnamed).chain(named).collect() }
    }

    /// The index of the profile of that exchange, that way: the first that fits, or 0.
    pub fn choose(&self, caller: Option<&Caller>, ask: Option<&Ask>, direction: Direction) -> u16 {
        let named = self.list.iter().skip(1);
        let mut fitting = (1..).zip(named).filter(|(_, Profile { scope, .. })| {
            fits(scope, caller, ask) && scope.direction.is_none_or(|own| own == direction)
        });
        fitting.next().map_or(0, |(index, _)| index)
    }

    /// The index of the profile of that name.
    pub fn named(&self, name: &str) -> Option<u16> {
        let mut all = (0..).zip(&self.list);
        all.find(|(_, own)| own.name.as_deref() == Some(name)).map(|(index, _)| index)
    }

    /// Its name, if it has one.
    pub fn name(&self, profile: u16) -> Option<&Arc<str>> {
        self.list.get(usize::from(profile)).and_then(|own| own.name.as_ref())
    }

    /// What is done under it besides rules.
    pub fn options(&self, profile: u16) -> Option<&GuardOptions> {
        self.list.get(usize::from(profile)).map(|own| &own.options)
    }
}

fn fits(scope: &GuardScope, caller: Option<&Caller>, ask: Option<&Ask>) -> bool {
    let one = |patterns: &[Pattern], name: Option<&str>| {
        let fits = |name| patterns.iter().any(|pattern| pattern.matches(name));
        patterns.is_empty() || name.is_some_and(fits)
    };
    let (mut model, mut server, mut tool, mut route) = (None, None, None, None);
    match ask {
        Some(Ask::Chat(chat)) => model = Some(&*chat.model),
        Some(Ask::Mcp(mcp)) => {
            server = Some(&*mcp.server);
            tool = mcp.tool.as_deref();
        }
        Some(Ask::Route(asked)) => route = Some(&*asked.route),
        Some(Ask::Models | Ask::Scan | Ask::Server) | None => {}
    }
    let is_said = |(name, value): &(Arc<str>, Arc<str>)| {
        let own = caller.map_or(&[][..], |caller| &caller.metadata);
        own.iter().any(|(known, said)| known == name && said == value)
    };
    one(&scope.callers, caller.map(|caller| &*caller.name))
        && one(&scope.apps, caller.and_then(|caller| caller.app.as_deref()))
        && one(&scope.teams, caller.and_then(|caller| caller.team.as_deref()))
        && one(&scope.models, model)
        && one(&scope.servers, server)
        && one(&scope.tools, tool)
        && one(&scope.routes, route)
        && scope.metadata.iter().all(is_said)
}

#[cfg(test)]
mod tests {
    use super::{Act, Profiles, View, acts};
    use crate::base::ask::{Ask, ChatAsk, McpAsk};
    use crate::base::caller::Caller;
    use crate::base::hit::{Action, Direction, Mode, Style};
    use crate::config::guard_rules::GuardAction;
    use crate::config::model::{Guard, Pattern};
    use crate::config::profile_model::{GuardOptions, GuardProfile, GuardScope};
    use std::sync::Arc;

    fn exact(name: &str) -> Pattern {
        Pattern::Exact(name.into())
    }

    fn profile(name: &str, scope: GuardScope, actions: Vec<GuardAction>) -> GuardProfile {
        GuardProfile { name: name.into(), scope, actions, options: GuardOptions::default() }
    }

    fn caller(team: &str) -> Caller {
        Caller {
            name: "alice".into(),
            index: 0,
            user: None,
            app: Some("cli".into()),
            team: Some(team.into()),
            expires: None,
            metadata: vec![("cost".into(), "4711".into())],
        }
    }

    #[test]
    fn the_first_profile_that_fits_in_all_its_lists_is_chosen_each_way() {
        let scope = GuardScope::default;
        let config = Guard {
            profiles: vec![
                profile(
                    "back",
                    GuardScope {
                        direction: Some(Direction::Response),
                        models: vec![exact("m")],
                        ..scope()
                    },
                    Vec::new(),
                ),
                profile(
                    "core",
                    GuardScope {
                        teams: vec![exact("core")],
                        models: vec![Pattern::Prefix("m".into())],
                        metadata: vec![(Arc::from("cost"), Arc::from("4711"))],
                        ..scope()
                    },
                    Vec::new(),
                ),
                profile("tool", GuardScope { tools: vec![exact("read")], ..scope() }, Vec::new()),
            ],
            ..Guard::default()
        };
        let profiles = Profiles::new(&config);
        let chat = Ask::Chat(ChatAsk { model: "m".into(), ..ChatAsk::default() });
        let tool = Some("read".to_owned());
        let call = Ask::Mcp(McpAsk { tool, ..McpAsk::default() });
        let name = |team: &str, ask: &Ask, way| {
            let index = profiles.choose(Some(&caller(team)), Some(ask), way);
            profiles.name(index).map(ToString::to_string)
        };
        assert_eq!(name("core", &chat, Direction::Request).as_deref(), Some("core"));
        assert_eq!(name("core", &chat, Direction::Response).as_deref(), Some("back"));
        assert_eq!(name("other", &chat, Direction::Request), None);
        assert_eq!(name("other", &call, Direction::Request).as_deref(), Some("tool"));
        assert_eq!(name("core", &Ask::Models, Direction::Request), None);
        assert_eq!(profiles.choose(None, None, Direction::Request), 0);
    }

    #[test]
    fn what_a_profile_says_comes_before_all_else_and_each_word_on_its_own() {
        let own = GuardAction {
            request: Some(Action::Flag),
            mode: Some(Mode::Shadow),
            ..GuardAction::new(Pattern::Prefix("pii.".into()))
        };
        let all = vec![GuardAction {
            request: Some(Action::Block),
            response: Some(Action::Block),
            untrusted: Some(Action::Block),
            style: Some(Style::Hash),
            ..GuardAction::new(exact("pii.card"))
        }];
        let profiles = vec![profile("soft", GuardScope::default(), vec![own])];
        let config = Guard { actions: all, profiles, ..Guard::default() };
        let [usual, soft] = *acts(&config, "pii.card", [Action::Mask; 2]) else { panic!("two") };
        let (there, back): (View, View) = (Direction::Request.into(), Direction::Response.into());
        let said = |act: Act, view| (act.says(view), act.does(view));
        assert_eq!(said(usual, there), (Action::Block, Action::Block));
        assert_eq!(said(soft, there), (Action::Flag, Action::Flag));
        assert_eq!(said(soft, back), (Action::Block, Action::Flag), "in shadow it only tells");
        assert_eq!(said(soft, View { untrusted: true, ..there }).0, Action::Block);
        assert_eq!((usual.mode(), soft.mode()), (Mode::Enforce, Mode::Shadow));
        assert_eq!(soft.style, Style::Hash);
    }

    #[test]
    fn a_rule_that_is_off_is_silent_whatever_it_says() {
        let off =
            GuardAction { mode: Some(Mode::Off), ..GuardAction::new(Pattern::Prefix("".into())) };
        let config = Guard { actions: vec![off], ..Guard::default() };
        let acts = acts(&config, "pii.card", [Action::Block; 2]);
        assert!(acts.iter().all(Act::is_silent));
        assert_eq!(acts[0].does(Direction::Request.into()), Action::Allow);
    }
}
