//! Compiles packs and the configured actions into what matchers work with; shared by all workers.
//!
//! A rule that is allowed both ways is left out, so it costs nothing.

use crate::base::hit::{Action, Mode};
use crate::config::model::Guard;
use crate::guard::checks::Checks;
use crate::guard::context::{Context, any_of};
use crate::guard::detect::Detectors;
use crate::guard::fold;
use crate::guard::hyperscan::{Database, Expression, ExpressionFault, width_max};
use crate::guard::leak::Canaries;
use crate::guard::nominator::nominator;
use crate::guard::own;
use crate::guard::pack::{
    Checksum, PackDetector, PackEntity, PackFault, PackKind, PackRule, Trigger,
};
use crate::guard::profile::{self, Act, Profiles, View};
use crate::guard::secrets::has_crc32;
use crate::guard::turned::Gates;
use crate::guard::validators::{Check, entropy};
use regex::Regex;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// The longest phrase, in bytes: as far as a stream looks back.
pub const PHRASE_BYTES_MAX: usize = 512;

/// Findings of the database from here on are words, not rules.
const WORDS_FROM: u16 = 0x8000;

/// Stands for no rule: candidates that only say that text may be turned.
pub const GATE: u16 = u16::MAX;

/// Whether a finding of the database is a word that nominates rules.
pub const fn is_word(found: u16) -> bool {
    found >= WORDS_FROM && found != GATE
}

/// All rules that do something, compiled.
#[derive(Debug)]
pub struct Rules {
    enabled: bool,
    profiles: Profiles,
    list: Vec<Rule>,
    database: Database,
    /// For each expression of a word, the rules that it nominates.
    words: Vec<Vec<u16>>,
    /// There are rules of the user's own, whose values may be short.
    has_own: bool,
    anchored: Vec<u16>,
    marked: Vec<u16>,
    phrases: Vec<u16>,
    detectors: Detectors,
    checks: Checks,
}

/// One rule, compiled.
#[derive(Debug)]
pub struct Rule {
    name: Arc<str>,
    id: Arc<str>,
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
    /// Its words, compiled.
    pub context: Option<Context>,
    /// One of its stop words.
    stop: Option<Regex>,
    /// How many bytes a match has at least: a shorter text needs no look.
    pub least: usize,
}

impl Rule {
    /// The name, such as `pii.card`.
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What other catalogues call it.
    pub const fn id(&self) -> &Arc<str> {
        &self.id
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
        let packed = if config.enabled { own::all(config)? } else { Vec::new() };
        Self::from_packs(config, packed)
    }

    /// Compiles these rules with the configured actions.
    pub fn from_packs(config: &Guard, packed: Vec<PackRule>) -> Result<Self, PackFault> {
        if packed.len() >= usize::from(WORDS_FROM) {
            return Err(PackFault::TooMany);
        }
        let (mut list, mut expressions) = (Vec::new(), Vec::new());
        let (mut words, mut stops) = (BTreeMap::new(), BTreeMap::new());
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
                    note_words(&entity, index, &mut words);
                    Kind::Entity(Box::new(compile_entity(entity, &name, &mut stops)?))
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
            list.push(Rule { name, id: pack.id.into(), acts, kind });
        }
        for (nth, text) in (0..).zip(words.keys()) {
            let text = regex::escape(text);
            expressions.push(Expression { text, caseless: true, rule: WORDS_FROM + nth });
        }
        if !list.is_empty() {
            expressions.push(Expression { text: Gates::expression(), caseless: true, rule: GATE });
            fold::prepare();
        }
        let database = database(&list, &expressions)?;
        let of = |wanted: fn(&Rule) -> bool| -> Vec<u16> {
            (0..).zip(&list).filter_map(|(index, rule)| wanted(rule).then_some(index)).collect()
        };
        let anchored = of(|rule| rule.entity().is_some_and(Entity::is_anchored));
        let marked = of(|rule| rule.entity().is_some_and(Entity::has_mark));
        let phrases = of(|rule| matches!(rule.kind, Kind::Phrase(_)));
        let detectors = Detectors::of(&list);
        let words = words.into_values().collect();
        let (enabled, profiles) = (config.enabled, Profiles::new(config));
        let checks = Checks::of(&list, canaries(config), config.sources.clone());
        let has_own = !config.rules.is_empty() || !config.packs.is_empty();
        Ok(Self {
            enabled,
            profiles,
            list,
            database,
            words,
            has_own,
            anchored,
            marked,
            phrases,
            detectors,
            checks,
        })
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

    /// Whether values shorter than keys are looked for by an anchor.
    pub const fn has_own(&self) -> bool {
        self.has_own
    }

    /// Whether any rule has words that must stand before its value.
    pub const fn has_words(&self) -> bool {
        !self.words.is_empty()
    }

    /// Adds the rules that this one of the database's findings speaks for.
    pub fn nominate(&self, found: u16, nominated: &mut Vec<u16>) {
        match found.checked_sub(WORDS_FROM) {
            Some(word) => nominated.extend(self.words.get(usize::from(word)).into_iter().flatten()),
            None => nominated.push(found),
        }
    }

    /// Entities that Hyperscan nominates.
    pub fn anchored(&self) -> &[u16] {
        &self.anchored
    }

    /// Entities that a digit or an `@` nominates.
    pub fn marked(&self) -> &[u16] {
        &self.marked
    }

    /// The rules about answers, which are held against their requests.
    pub const fn checks(&self) -> &Checks {
        &self.checks
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
        matches!(self.pack.trigger, Trigger::Anchor(_) | Trigger::Words)
    }

    const fn has_mark(&self) -> bool {
        matches!(self.pack.trigger, Trigger::At | Trigger::Digits(_))
    }

    /// Whether a value has the entropy, and none of the words, that the rule asks for.
    pub fn accepts(&self, value: &str) -> bool {
        let known = |known: &String| known.eq_ignore_ascii_case(value);
        let is_summed = match self.pack.checksum {
            Some(Checksum::Crc32) => has_crc32(value),
            None => false,
        };
        if is_summed {
            return true;
        }
        (self.pack.entropy_min <= 0.0 || entropy(value) >= self.pack.entropy_min)
            && !self.pack.stop_values.iter().any(known)
            && !self.stop.as_ref().is_some_and(|stop| stop.is_match(value))
    }

    /// Whether a text with so many digits, with or without an `@`, is worth a look.
    pub const fn is_marked(&self, digits: usize, at: bool) -> bool {
        match self.pack.trigger {
            Trigger::Anchor(_) | Trigger::Words => false,
            Trigger::At => at,
            Trigger::Digits(least) => digits >= least,
        }
    }

    /// Whether more than the match may belong to it: a token without an upper limit, or a run.
    pub const fn explores(&self) -> bool {
        matches!(self.pack.check, Check::Card)
    }
}

fn canaries(config: &Guard) -> Canaries {
    let all =
        config.canaries.as_ref().map(|all| String::from_utf8_lossy(all.expose()).into_owned());
    let all = all.unwrap_or_default();
    Canaries::new(&all.split_whitespace().collect::<Vec<_>>())
}

fn anchor(entity: &PackEntity, rule: u16) -> Option<Expression> {
    match &entity.trigger {
        Trigger::Anchor(text) => Some(Expression { text: text.clone(), caseless: false, rule }),
        Trigger::At | Trigger::Digits(_) | Trigger::Words => None,
    }
}

/// Notes which words nominate the rule.
fn note_words(entity: &PackEntity, rule: u16, words: &mut BTreeMap<String, Vec<u16>>) {
    if entity.trigger != Trigger::Words {
        return;
    }
    for word in entity.words.iter().flat_map(|words| &words.list) {
        let rules = words.entry(word.to_lowercase()).or_default();
        if rules.last() != Some(&rule) {
            rules.push(rule);
        }
    }
}

fn compile_entity(
    pack: PackEntity,
    name: &str,
    stops: &mut BTreeMap<String, Regex>,
) -> Result<Entity, PackFault> {
    let fault = || PackFault::Expression(name.into());
    let refine = Regex::new(&pack.refine).ok().ok_or_else(fault)?;
    if refine.is_match("") {
        return Err(fault());
    }
    let context = match &pack.words {
        Some(words) => {
            let built = Context::compile(words);
            Some(built.ok_or_else(fault)?)
        }
        None => None,
    };
    let stop = match pack.stop.as_slice() {
        [] => None,
        // Rules share their lists, and so what is made of them.
        words => Some(match stops.entry(words.join("|")) {
            Entry::Occupied(built) => built.get().clone(),
            Entry::Vacant(place) => place.insert(any_of(words).ok_or_else(fault)?).clone(),
        }),
    };
    let parsed = regex_syntax::parse(&pack.refine).ok().ok_or_else(fault)?;
    let least = parsed.properties().minimum_len().unwrap_or(0);
    Ok(Entity { pack, refine, context, stop, least })
}

fn bounded(texts: &[String], rule: u16, name: &str) -> Result<Vec<Expression>, PackFault> {
    let expression = |text: String| Expression { text, caseless: true, rule };
    let short = |text: &String| {
        width_max(&expression(text.clone())).is_some_and(|width| width <= PHRASE_BYTES_MAX)
    };
    if !texts.iter().all(short) {
        return Err(PackFault::Unbounded(name.into()));
    }
    let part = |text: &String| nominator(text).unwrap_or_else(|| text.clone());
    Ok(texts.iter().map(|text| expression(part(text))).collect())
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
    use crate::config::guard_rules::GuardAction;
    use crate::config::model::{Guard, Pattern};
    use crate::guard::hyperscan::Scratch;
    use crate::guard::pack::{PackFault, Trigger};
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
            // What stands before the value nominates these.
            if rule.entity().unwrap().pack.trigger == Trigger::Words {
                continue;
            }
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
