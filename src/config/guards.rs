//! What guards do: the actions of the file, checked against the rules that the binary carries.
//!
//! An action for a rule that is not there guards nothing, and a phrase cannot be masked: both are
//! told here, with their place, and not when the gateway begins.

use crate::base::hit::Action;
use crate::config::fault::Mistake;
use crate::config::keys::{GUARD, GUARD_ACTION};
use crate::config::model::{Guard, GuardAction, Pattern};
use crate::config::pass::{Names, Pass, Section, Spot};
use crate::config::people;
use crate::config::tree::Place;
use toml::de::DeTable;

/// Reads whether guards run and what they do.
pub fn read(pass: &mut Pass<'_>, top: &Section<'_>) -> Guard {
    let section = pass.section(top, &GUARD);
    let enabled = pass.flag(&section, "enabled");
    let items = pass.sections(&section, &GUARD_ACTION);
    let mut guard = Guard { enabled, actions: Vec::with_capacity(items.len()) };
    if items.is_empty() {
        return guard;
    }
    let (carried, mut names, mut known) = (carried(), Names::default(), Names::default());
    for rule in &carried {
        known.add(pass, "guard rule", &rule.name, (Place::default(), 0));
    }
    let mut places = Vec::with_capacity(items.len());
    for item in items {
        let rule = pass.text(&item, "rule");
        let request = action(pass, &item, "request");
        let response = action(pass, &item, "response");
        if !item.has("request") && !item.has("response") {
            pass.note(item.place, Mistake::ActionWithoutEffect);
        }
        let Some(spot) = rule else { continue };
        names.add(pass, "guard rule", spot.value, (spot.place, guard.actions.len()));
        let Some(rule) = people::pattern(pass, &spot, item.key("rule")) else { continue };
        people::refuse_unknown(pass, "guard rule", &known, (&rule, &spot));
        guard.actions.push(GuardAction { rule, request, response });
        places.push([item.at("request"), item.at("response")]);
    }
    for rule in carried.iter().filter(|rule| rule.is_noted) {
        refuse_masked_phrases(pass, &guard.actions, &places, &rule.name);
    }
    guard
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
const PACKS: [&str; 5] = [
    include_str!("../../config/packs/pii.toml"),
    include_str!("../../config/packs/secrets.toml"),
    include_str!("../../config/packs/injection.toml"),
    include_str!("../../config/packs/structure.toml"),
    include_str!("../../config/packs/answer.toml"),
];

fn carried() -> Vec<Carried> {
    let mut carried = Vec::new();
    for pack in PACKS {
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
    places: &[[Place; 2]],
    name: &str,
) {
    for way in 0..2 {
        let said = actions.iter().zip(places).filter_map(|(action, places)| {
            let what = if way == 0 { action.request } else { action.response };
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

/// What is done about a match.
fn action(pass: &mut Pass<'_>, section: &Section<'_>, name: &str) -> Option<Action> {
    let word = pass.choice(section, name)?;
    [Action::Allow, Action::Flag, Action::Mask, Action::Block]
        .into_iter()
        .find(|action| action.name() == word)
}

#[cfg(test)]
mod tests {
    use super::carried;

    #[test]
    fn the_carried_rules_are_known() {
        let carried = carried();
        assert!(carried.len() >= 25, "{}", carried.len());
        let find = |name: &str| carried.iter().find(|rule| rule.name == name).unwrap().is_noted;
        assert!(find("injection.fake_turn") && !find("pii.card"));
    }
}
