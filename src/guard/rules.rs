//! Compiles packs and the configured actions into what matchers work with; shared by all workers.
//!
//! A rule that is allowed both ways is left out, so it costs nothing.

use crate::base::hit::{Action, Mode};
use crate::config::model::Guard;
use crate::guard::detect::Detectors;
use crate::guard::hyperscan::{Database, Expression, ExpressionFault, width_max};
use crate::guard::pack::{
    PACKS, PackDetector, PackEntity, PackFault, PackKind, PackRule, Trigger, read,
};
use crate::guard::profile::{self, Act, Profiles, View};
use crate::guard::validators::Check;
use regex::Regex;
use std::sync::Arc;

/// The longest phrase, in bytes: as far as a stream looks back.
pub const PHRASE_BYTES_MAX: usize = 512;

/// All rules that do something, compiled.
#[derive(Debug)]
pub struct Rules {
    enabled: bool,
    profiles: Profiles,
    list: Vec<Rule>,
    database: Database,
    anchored: Vec<u16>,
    marked: Vec<u16>,
    phrases: Vec<u16>,
    detectors: Detectors,
}

/// One rule, compiled.
#[derive(Debug)]
pub struct Rule {
    name: Arc<str>,
    /// By profile, the one without a name first.
    acts: Box<[Act]>,
    kind: Kind,
}

/// What a compiled rule looks for.
#[derive(Debug)]
pub enum Kind {
    /// A value.
    Entity(Box<Entity>),
    /// Phrases.
    Phrase(Vec<Regex>),
    /// What a detector finds.
    Detector(PackDetector),
}

/// A value to look for, compiled.
#[derive(Debug)]
pub struct Entity {
    /// As the pack says.
    pub pack: PackEntity,
    /// `refine`, compiled.
    pub refine: Regex,
}

impl Rule {
    /// The name, such as `pii.card`.
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it does there.
    pub fn action(&self, view: View) -> Action {
        self.act(view).map_or(Action::Allow, |act| act.does(view))
    }

    /// What is told of a finding that `action` was done about: in shadow, what would have been.
    pub fn told(&self, view: View, action: Action) -> (Action, Mode) {
        match self.act(view) {
            Some(act) if act.mode() == Mode::Shadow => (act.says(view), Mode::Shadow),
            Some(_) | None => (action, Mode::Enforce),
        }
    }

    /// All that it does under the profile of that view.
    pub fn act(&self, view: View) -> Option<&Act> {
        self.acts.get(usize::from(view.profile))
    }

    /// What it looks for.
    pub const fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The value it looks for, if it looks for one.
    pub const fn entity(&self) -> Option<&Entity> {
        match &self.kind {
            Kind::Entity(entity) => Some(entity),
            Kind::Phrase(_) | Kind::Detector(_) => None,
        }
    }
}

impl Rules {
    /// Compiles the packs that come along with the configured actions; takes about half a second.
    pub fn compile(config: &Guard) -> Result<Self, PackFault> {
        let mut packed = Vec::new();
        if config.enabled {
            for (name, text) in PACKS {
                packed.extend(read(name, text)?);
            }
        }
        Self::from_packs(config, packed)
    }

    /// Compiles these rules with the configured actions.
    pub fn from_packs(config: &Guard, packed: Vec<PackRule>) -> Result<Self, PackFault> {
        if u16::try_from(packed.len()).is_err() {
            return Err(PackFault::TooMany);
        }
        let (mut list, mut expressions) = (Vec::new(), Vec::new());
        for pack in packed {
            let acts = profile::acts(config, &pack.name, [pack.request, pack.response]);
            if acts.iter().all(Act::is_silent) {
                continue;
            }
            let index = u16::try_from(list.len()).unwrap_or(u16::MAX);
            let name: Arc<str> = pack.name.as_str().into();
            let kind = match pack.kind {
                PackKind::Entity(entity) => {
                    expressions.extend(anchor(&entity, index));
                    Kind::Entity(Box::new(compile_entity(entity, &name)?))
                }
                PackKind::Phrase(_) | PackKind::Detector(_) if acts.iter().any(Act::masks) => {
                    return Err(PackFault::PhraseMask((&*name).into()));
                }
                PackKind::Phrase(texts) => {
                    expressions.extend(bounded(&texts, index, &name)?);
                    Kind::Phrase(compile_phrases(&texts, &name)?)
                }
                PackKind::Detector(detector) => Kind::Detector(detector),
            };
            list.push(Rule { name, acts, kind });
        }
        let database = database(&list, &expressions)?;
        let of = |wanted: fn(&Rule) -> bool| -> Vec<u16> {
            (0..).zip(&list).filter_map(|(index, rule)| wanted(rule).then_some(index)).collect()
        };
        let anchored = of(|rule| rule.entity().is_some_and(Entity::is_anchored));
        let marked = of(|rule| rule.entity().is_some_and(|entity| !entity.is_anchored()));
        let phrases = of(|rule| matches!(rule.kind, Kind::Phrase(_)));
        let detectors = Detectors::of(&list);
        let (enabled, profiles) = (config.enabled, Profiles::new(config));
        Ok(Self { enabled, profiles, list, database, anchored, marked, phrases, detectors })
    }

    /// The names of all rules that do something.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.list.iter().map(Rule::name)
    }

    /// How many rules do something.
    pub const fn count(&self) -> usize {
        self.list.len()
    }

    /// Whether guards run at all.
    pub const fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The profiles that there are.
    pub const fn profiles(&self) -> &Profiles {
        &self.profiles
    }

    /// The rule of that index.
    pub fn get(&self, index: u16) -> Option<&Rule> {
        self.list.get(usize::from(index))
    }

    /// What stands in the place of that rule's values.
    pub fn placeholder(&self, index: u16) -> &str {
        let entity = self.get(index).and_then(Rule::entity);
        entity.map_or("[MASKED]", |entity| &entity.pack.placeholder)
    }

    /// The expressions of all of them.
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Entities that Hyperscan nominates.
    pub fn anchored(&self) -> &[u16] {
        &self.anchored
    }

    /// Entities that a digit or an `@` nominates.
    pub fn marked(&self) -> &[u16] {
        &self.marked
    }

    /// The rules that are detectors.
    pub const fn detectors(&self) -> &Detectors {
        &self.detectors
    }

    /// Phrase rules.
    pub fn phrases(&self) -> &[u16] {
        &self.phrases
    }
}

impl Entity {
    const fn is_anchored(&self) -> bool {
        matches!(self.pack.trigger, Trigger::Anchor(_))
    }

    /// Whether a text with so many digits, with or without an `@`, is worth a look.
    pub const fn is_marked(&self, digits: usize, at: bool) -> bool {
        match self.pack.trigger {
            Trigger::Anchor(_) => false,
            Trigger::At => at,
            Trigger::Digits(least) => digits >= least,
        }
    }

    /// Whether more than the match may belong to it: a token without an upper limit, or a run.
    pub const fn explores(&self) -> bool {
        matches!(self.pack.check, Check::Card)
    }
}

fn anchor(entity: &PackEntity, rule: u16) -> Option<Expression> {
    match &entity.trigger {
        Trigger::Anchor(text) => Some(Expression { text: text.clone(), caseless: false, rule }),
        Trigger::At | Trigger::Digits(_) => None,
    }
}

fn compile_entity(pack: PackEntity, name: &str) -> Result<Entity, PackFault> {
    let fault = || PackFault::Expression(name.into());
    let refine = Regex::new(&pack.refine).ok().ok_or_else(fault)?;
    if refine.is_match("") {
        return Err(fault());
    }
    Ok(Entity { pack, refine })
}

fn bounded(texts: &[String], rule: u16, name: &str) -> Result<Vec<Expression>, PackFault> {
    let all: Vec<Expression> =
        texts.iter().map(|text| Expression { text: text.clone(), caseless: true, rule }).collect();
    let short = |one: &Expression| width_max(one).is_some_and(|width| width <= PHRASE_BYTES_MAX);
    if all.iter().all(short) { Ok(all) } else { Err(PackFault::Unbounded(name.into())) }
}

fn compile_phrases(texts: &[String], name: &str) -> Result<Vec<Regex>, PackFault> {
    let compile = |text: &String| {
        let built = regex::RegexBuilder::new(text).case_insensitive(true).build();
        built.ok().ok_or_else(|| PackFault::Expression(name.into()))
    };
    texts.iter().map(compile).collect()
}

fn database(list: &[Rule], expressions: &[Expression]) -> Result<Database, PackFault> {
    Database::compile(expressions).map_err(|ExpressionFault { rule }| {
        let named = rule.and_then(|rule| list.get(usize::from(rule)));
        PackFault::Expression(named.map_or("all together", |rule| &rule.name).into())
    })
}

#[cfg(test)]
mod tests {
    use super::Rules;
    use crate::base::hit::{Action, Direction};
    use crate::config::model::{Guard, GuardAction, Pattern};
    use crate::guard::hyperscan::Scratch;
    use crate::guard::pack::PackFault;
    use proptest::strategy::{Strategy as _, ValueTree as _};
    use proptest::string::string_regex;
    use proptest::test_runner::TestRunner;

    fn action(rule: Pattern, request: Option<Action>, response: Option<Action>) -> GuardAction {
        GuardAction { request, response, ..GuardAction::new(rule) }
    }

    #[test]
    fn the_longest_pattern_decides_each_way_on_its_own() {
        let actions = vec![
            action(Pattern::Prefix("pii.".into()), Some(Action::Flag), Some(Action::Block)),
            action(Pattern::Exact("pii.card".into()), Some(Action::Block), None),
            action(Pattern::Prefix("injection.".into()), Some(Action::Allow), Some(Action::Allow)),
        ];
        let rules = Rules::compile(&Guard { enabled: true, actions, ..Guard::default() }).unwrap();
        let of = |name: &str| {
            let rule = rules.list.iter().find(|rule| **rule.name() == *name).unwrap();
            (rule.action(Direction::Request.into()), rule.action(Direction::Response.into()))
        };
        assert_eq!(of("pii.card"), (Action::Block, Action::Block));
        assert_eq!(of("pii.email"), (Action::Flag, Action::Block));
        assert_eq!(of("secret.jwt"), (Action::Mask, Action::Mask));
        assert!(rules.phrases().is_empty());
        assert!(rules.names().all(|name| !name.starts_with("injection.")));
    }

    #[test]
    fn a_phrase_that_should_be_masked_is_refused_by_name() {
        let actions =
            vec![action(Pattern::Exact("injection.secrecy".into()), Some(Action::Mask), None)];
        let fault =
            Rules::compile(&Guard { enabled: true, actions, ..Guard::default() }).unwrap_err();
        assert_eq!(fault, PackFault::PhraseMask("injection.secrecy".into()));
    }

    #[test]
    fn whatever_an_expression_matches_is_nominated_by_its_anchor() {
        let rules =
            Rules::compile(&Guard { enabled: true, actions: Vec::new(), ..Guard::default() })
                .unwrap();
        let scratch = Scratch::of(&rules.database).unwrap();
        let mut runner = TestRunner::deterministic();
        for &index in rules.anchored() {
            let rule = rules.get(index).unwrap();
            let values = string_regex(rule.entity().unwrap().refine.as_str()).unwrap();
            for _ in 0..100 {
                let value = values.new_tree(&mut runner).unwrap().current();
                let mut found = Vec::new();
                rules.database.scan(&value, &scratch, &mut found);
                let is_nominated = found.iter().any(|candidate| candidate.rule == index);
                assert!(is_nominated, "{}: {value}", rule.name());
            }
        }
    }

    #[test]
    fn a_guard_that_is_off_has_no_rules() {
        let rules =
            Rules::compile(&Guard { enabled: false, actions: Vec::new(), ..Guard::default() })
                .unwrap();
        assert_eq!((rules.count(), rules.is_enabled()), (0, false));
    }
}
