//! What guards do: the actions of the file, checked against the rules that the binary carries.
//!
//! An action for a rule that is not there guards nothing, and a phrase cannot be masked: both are
//! told here, with their place, and not when the gateway begins.

use crate::base::hit::Action;
use crate::base::secret::Secret;
use crate::base::text::Channel;
use crate::config::fault::Mistake;
use crate::config::guard_rules::GuardAction;
use crate::config::guard_rules::{self, GuardPack, GuardRule};
use crate::config::keys::{GUARD, GUARD_ACTION};
use crate::config::model::{Guard, Pattern};
use crate::config::pass::{Names, Pass, Section, Spot};
use crate::config::profile_model::GuardOptions;
use crate::config::profiles::{self, Known};
use crate::config::tree::Place;
use crate::config::{people, upstreams};
use std::collections::BTreeSet;
use std::sync::Arc;
use toml::de::DeTable;

/// The rules that there are, for those who name them.
#[derive(Debug)]
pub struct RuleNames {
    /// Their names.
    pub names: Names,
    carried: Vec<Carried>,
}

/// Reads whether guards run, what they do, and the profiles of it.
pub fn read(pass: &mut Pass<'_>, top: &Section<'_>, known: Known<'_>) -> Guard {
    let section = pass.section(top, &GUARD);
    let enabled = pass.flag(&section, "enabled");
    let (packs, own) = (guard_rules::packs(pass, &section), guard_rules::rules(pass, &section));
    let mut rules = RuleNames { names: Names::default(), carried: all(&packs, &own) };
    for rule in &rules.carried {
        rules.names.add(pass, "guard rule", &rule.name, (Place::default(), 0));
    }
    let items = pass.sections(&section, &GUARD_ACTION);
    let actions = actions(pass, items, &rules);
    let usual = GuardOptions { restore: true, ..GuardOptions::default() };
    let options = profiles::options(pass, &section, &rules, &usual);
    let profiles = profiles::read(pass, &section, known, &rules, &options);
    let mask_key = mask_key(pass, &section);
    let (canaries, sources) = (canaries(pass, &section), sources(pass, &section));
    Guard { enabled, mask_key, canaries, sources, options, profiles, actions, packs, rules: own }
}

/// A canary with fewer letters and digits could be said by chance.
pub const CANARY_LETTERS_LEAST: usize = 12;

fn canaries(pass: &mut Pass<'_>, section: &Section<'_>) -> Option<Secret> {
    let spot = upstreams::secret(pass, section, "canaries")?;
    let letters = |word: &[u8]| word.iter().filter(|byte| byte.is_ascii_alphanumeric()).count();
    let mut words = spot.value.expose().split(u8::is_ascii_whitespace);
    if words.any(|word| !word.is_empty() && letters(word) < CANARY_LETTERS_LEAST) {
        pass.note(spot.place, Mistake::SecretShort(CANARY_LETTERS_LEAST));
    }
    Some(spot.value)
}

fn sources(pass: &mut Pass<'_>, section: &Section<'_>) -> Vec<Channel> {
    match pass.choice(section, "sources") {
        Some("documents") => vec![Channel::Document],
        Some("tool_results") => vec![Channel::ToolResult],
        _ => vec![Channel::Document, Channel::ToolResult],
    }
}

/// Bytes of a key for masks: fewer can be guessed.
const MASK_KEY_BYTES_LEAST: usize = 16;

fn mask_key(pass: &mut Pass<'_>, section: &Section<'_>) -> Option<Secret> {
    let spot = upstreams::secret(pass, section, "mask_key")?;
    if spot.value.expose().len() < MASK_KEY_BYTES_LEAST {
        pass.note(spot.place, Mistake::SecretShort(MASK_KEY_BYTES_LEAST));
    }
    Some(spot.value)
}

/// Reads the actions of the file, or of one profile.
pub fn actions(
    pass: &mut Pass<'_>,
    items: Vec<Section<'_>>,
    rules: &RuleNames,
) -> Vec<GuardAction> {
    let (mut actions, mut names) = (Vec::with_capacity(items.len()), Names::default());
    let mut places = Vec::with_capacity(items.len());
    for item in items {
        let rule = pass.text(&item, "rule");
        let says = ["request", "response", "untrusted", "mode", "style"];
        if !says.into_iter().any(|key| item.has(key)) {
            pass.note(item.place, Mistake::ActionWithoutEffect);
        }
        let rule = rule.and_then(|spot| {
            names.add(pass, "guard rule", spot.value, (spot.place, actions.len()));
            let rule = people::pattern(pass, &spot, item.key("rule"))?;
            people::refuse_unknown(pass, "guard rule", &rules.names, (&rule, &spot));
            Some(rule)
        });
        // Its words are read in any case, for the mistakes that they hold.
        let nothing = || Pattern::Exact(Arc::from(""));
        let action = profiles::action(pass, &item, rule.clone().unwrap_or_else(nothing));
        if rule.is_some() {
            places.push(["request", "response", "untrusted"].map(|way| item.at(way)));
            actions.push(action);
        }
    }
    for rule in rules.carried.iter().filter(|rule| rule.is_noted) {
        refuse_masked_phrases(pass, &actions, &places, &rule.name);
    }
    actions
}

/// A rule that the binary carries.
#[derive(Debug)]
struct Carried {
    name: String,
    /// It finds phrases, whose beginning has left before their end is seen, or what a detector
    /// says of a whole text.
    is_noted: bool,
}

/// The packs that `guard` compiles.
const PACKS: [&str; 12] = [
    include_str!("../../config/packs/pii.toml"),
    include_str!("../../config/packs/secrets.toml"),
    include_str!("../../config/packs/injection.toml"),
    include_str!("../../config/packs/conversation.toml"),
    include_str!("../../config/packs/scores.toml"),
    include_str!("../../config/packs/structure.toml"),
    include_str!("../../config/packs/code.toml"),
    include_str!("../../config/packs/url.toml"),
    include_str!("../../config/packs/toxicity.toml"),
    include_str!("../../config/packs/topic.toml"),
    include_str!("../../config/packs/brand.toml"),
    include_str!("../../config/packs/answer.toml"),
];

/// The rules that come along and the user's own; of two with one name the later is meant.
fn all(packs: &[GuardPack], own: &[GuardRule]) -> Vec<Carried> {
    let texts: Vec<&str> = packs.iter().map(|pack| &*pack.text).collect();
    let mut all = carried(&texts);
    all.extend(
        own.iter().map(|rule| Carried { name: rule.name.to_string(), is_noted: rule.is_phrase() }),
    );
    let mut seen = BTreeSet::new();
    all.reverse();
    all.retain(|rule| seen.insert(rule.name.clone()));
    all.reverse();
    all
}

fn carried(more: &[&str]) -> Vec<Carried> {
    let mut carried = Vec::new();
    for pack in PACKS.into_iter().chain(more.iter().copied()) {
        let (table, _) = DeTable::parse_recoverable(pack);
        let rules = table.get_ref().get("rule").and_then(|rules| rules.get_ref().as_array());
        for rule in rules.into_iter().flat_map(|rules| rules.iter()) {
            let name = rule.get_ref().get("name").and_then(|name| name.get_ref().as_str());
            let has = |key: &str| rule.get_ref().get(key).is_some();
            let is_noted = has("phrases") || has("detector");
            carried.extend(name.map(|name| Carried { name: name.to_owned(), is_noted }));
        }
    }
    carried
}

/// Notes the action that would mask a phrase: of those that fit, the longest decides.
fn refuse_masked_phrases(
    pass: &mut Pass<'_>,
    actions: &[GuardAction],
    places: &[[Place; 3]],
    name: &str,
) {
    for way in 0..3 {
        let said = actions.iter().zip(places).filter_map(|(action, places)| {
            let what = [action.request, action.response, action.untrusted];
            let what = what.get(way).copied().flatten();
            let rank = match &action.rule {
                Pattern::Exact(own) => (own.len(), true),
                Pattern::Prefix(own) => (own.len(), false),
            };
            let what = what.filter(|_| action.rule.matches(name))?;
            Some(Spot { place: *places.get(way)?, value: (rank, what) })
        });
        let Some(decides) = said.max_by_key(|spot| spot.value.0) else { continue };
        if decides.value.1 == Action::Mask {
            pass.note(decides.place, Mistake::MaskedPhrase(name.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::carried;

    #[test]
    fn the_carried_rules_are_known() {
        let carried = carried(&[]);
        assert!(carried.len() >= 25, "{}", carried.len());
        let find = |name: &str| carried.iter().find(|rule| rule.name == name).unwrap().is_noted;
        assert!(find("injection.fake_turn") && !find("pii.card"));
    }
}
