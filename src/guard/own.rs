//! Rules of the user's own: made from the configuration, and tried on their examples.

use crate::base::hit::{Action, Direction};
use crate::base::text::{Form, Place, Source, Text, Trust};
use crate::config::guard_rules::{GuardRule, Look};
use crate::config::model::Guard;
use crate::guard::inspect::Matcher;
use crate::guard::pack::{Edge, PACKS, PackEntity, PackFault, PackKind, PackRule, Trigger, read};
use crate::guard::rules::Rules;
use crate::guard::validators::Check;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// All rules: those that come along, those of pack files and those of the configuration. Of two
/// with one name the later is meant, in the place of the earlier.
pub fn all(config: &Guard) -> Result<Vec<PackRule>, PackFault> {
    let mut packed = Vec::new();
    for (name, text) in PACKS {
        packed.extend(read(name, text)?);
    }
    let mut places: BTreeMap<String, usize> =
        packed.iter().enumerate().map(|(at, rule)| (rule.name.clone(), at)).collect();
    for rule in own(config)? {
        let known = places.get(&rule.name).and_then(|at| packed.get_mut(*at));
        if let Some(place) = known {
            *place = rule;
        } else {
            places.insert(rule.name.clone(), packed.len());
            packed.push(rule);
        }
    }
    Ok(packed)
}

/// The user's own rules.
fn own(config: &Guard) -> Result<Vec<PackRule>, PackFault> {
    let mut own = Vec::new();
    for pack in &config.packs {
        own.extend(read(&pack.name, &pack.text)?);
    }
    own.extend(config.rules.iter().map(made));
    Ok(own)
}

/// What a rule of the configuration is in the language of packs.
fn made(rule: &GuardRule) -> PackRule {
    let text = match &rule.look {
        Look::Words(words) => {
            let words: Vec<String> = words.iter().map(|word| regex::escape(word)).collect();
            words.join("|")
        }
        Look::Pattern(text) => text.clone(),
    };
    let is_words = matches!(rule.look, Look::Words(_));
    let kind = if rule.is_phrase() {
        // A blank in a word may be any.
        let text = if is_words { text.replace(' ', r"[ \t\r\n]{1,4}") } else { text };
        PackKind::Phrase(vec![text])
    } else {
        let text = if is_words { format!("(?i:{text})") } else { text };
        PackKind::Entity(entity(rule, text, is_words))
    };
    let usual = if rule.is_phrase() { Action::Flag } else { Action::Mask };
    PackRule {
        name: rule.name.to_string(),
        id: rule.name.to_string(),
        kind,
        request: rule.request.unwrap_or(usual),
        response: rule.response.unwrap_or(usual),
        channel: crate::base::text::Channel::User,
        positive: rule.positive.clone(),
        negative: rule.negative.clone(),
    }
}

fn entity(rule: &GuardRule, text: String, is_words: bool) -> PackEntity {
    let name = rule.name.rsplit('.').next().unwrap_or_default();
    let capitals: String = name.chars().filter(|letter| !letter.is_ascii_digit()).collect();
    let capitals = format!("[{}]", capitals.to_ascii_uppercase());
    PackEntity {
        placeholder: rule.placeholder.as_deref().map_or(capitals, str::to_owned),
        trigger: Trigger::Anchor(text.clone()),
        refine: text,
        check: Check::None,
        edge: if is_words { Edge::Alphanumeric } else { Edge::Free },
        is_block: false,
        words: None,
        entropy_min: 0.0,
        stop: Vec::new(),
        stop_values: Vec::new(),
        checksum: None,
        is_last: false,
    }
}

/// An example that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExampleFault {
    /// The rule.
    pub rule: String,
    /// The example, counted from one among those of its kind.
    pub nth: usize,
    /// Whether it must hit.
    pub must_hit: bool,
    /// The rules that hit instead.
    pub others: Vec<String>,
}

impl fmt::Display for ExampleFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, nth, must_hit, .. } = self;
        let (kind, what) =
            if *must_hit { ("positive", "does not find") } else { ("negative", "finds") };
        write!(out, "rule `{rule}` {what} its {kind} example {nth}")?;
        if *must_hit && !self.others.is_empty() {
            write!(out, "; `{}` takes it", self.others.join("`, `"))?;
        }
        Ok(())
    }
}

/// Tries the user's own rules on their examples; the examples of the packs that come along hold,
/// by a test.
pub fn failing_examples(config: &Guard) -> Result<Vec<ExampleFault>, PackFault> {
    let own: BTreeSet<String> = own(config)?.into_iter().map(|rule| rule.name).collect();
    if own.is_empty() {
        return Ok(Vec::new());
    }
    let packed = all(config)?;
    let (rules, packs) = (config.rules.clone(), config.packs.clone());
    let plain = Guard { packs, rules, ..Guard::default() };
    let mut matcher = Matcher::new(Arc::new(Rules::from_packs(&plain, packed.clone())?))?;
    let mut failing = Vec::new();
    for rule in packed.iter().filter(|rule| own.contains(&rule.name)) {
        if rule.request == Action::Allow {
            continue;
        }
        for (texts, must_hit) in [(&rule.positive, true), (&rule.negative, false)] {
            for (nth, said) in (1..).zip(texts) {
                let hits = hits(&mut matcher, rule, said);
                if hits.contains(&rule.name) != must_hit {
                    let (rule, others) = (rule.name.clone(), hits);
                    failing.push(ExampleFault { rule, nth, must_hit, others });
                }
            }
        }
    }
    Ok(failing)
}

/// The rules that find something in an example.
fn hits(matcher: &mut Matcher, rule: &PackRule, said: &str) -> Vec<String> {
    let mut text = Text::default();
    let source = Source { raw: 0..said.len(), form: Form::PlainString };
    let place = Place { path: "example", indexes: [0, 0] };
    text.push(said, source, rule.channel, Trust::Caller, place);
    let hits = match matcher.clear(said.as_bytes(), &text, Direction::Request) {
        Ok(cleared) => cleared.hits().to_vec(),
        Err(blocked) => blocked.hits,
    };
    hits.iter().map(|hit| hit.rule.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::{all, failing_examples};
    use crate::base::hit::Action;
    use crate::config::guard_rules::{GuardPack, GuardRule, Look};
    use crate::config::model::Guard;
    use crate::guard::pack::{PackFault, PackKind};

    fn rule(name: &str, look: Look, positive: &[&str], negative: &[&str]) -> GuardRule {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        GuardRule {
            name: name.into(),
            look,
            placeholder: None,
            request: None,
            response: None,
            positive: owned(positive),
            negative: owned(negative),
        }
    }

    fn words(all: &[&str]) -> Look {
        Look::Words(all.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn rules_of_ones_own_find_what_they_say() {
        let rules = vec![
            rule("brand.bird", words(&["Falconry"]), &["the FALCONRY plan"], &["falconrys"]),
            rule(
                "brand.code",
                Look::Pattern("FAL-[0-9]{4}".into()),
                &["see FAL-1234."],
                &["FAL-1"],
            ),
            rule("topic.plan", words(&["Project Falcon"]), &["a project  falcon, so"], &["falcon"]),
        ];
        let config = Guard { rules, ..Guard::default() };
        assert_eq!(failing_examples(&config).unwrap(), []);
        let packed = all(&config).unwrap();
        let of = |name: &str| packed.iter().find(|rule| rule.name == name).unwrap();
        assert_eq!(of("brand.bird").request, Action::Mask);
        assert_eq!(of("topic.plan").request, Action::Flag);
        let PackKind::Entity(entity) = &of("brand.bird").kind else { panic!("no value") };
        assert_eq!(entity.placeholder, "[BIRD]");
    }

    #[test]
    fn an_example_that_does_not_hold_is_named() {
        let wrong = rule("brand.bird", words(&["Falconry"]), &["hawk"], &["a falconry"]);
        let config = Guard { rules: vec![wrong], ..Guard::default() };
        let faults = failing_examples(&config).unwrap();
        let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "rule `brand.bird` does not find its positive example 1",
                "rule `brand.bird` finds its negative example 1",
            ]
        );
    }

    #[test]
    fn a_pack_file_takes_the_place_of_a_rule_and_its_mistakes_have_a_place() {
        let text = "[pack]\nname = \"mine\"\nversion = 1\n[[rule]]\nname = \"pii.email\"\n\
                    phrases = ['at example']\npositive = [\"mail at example.\"]\nnegative = []\n";
        let pack = |text: &str| GuardPack { name: "mine.toml".into(), text: text.into() };
        let config = Guard { packs: vec![pack(text)], ..Guard::default() };
        let packed = all(&config).unwrap();
        let named: Vec<_> = packed.iter().filter(|rule| rule.name == "pii.email").collect();
        assert!(matches!(named.as_slice(), [one] if matches!(one.kind, PackKind::Phrase(_))));
        assert_eq!(failing_examples(&config).unwrap(), []);
        let config =
            Guard { packs: vec![pack(&text.replace("name = \"pii", "nome = \"pii"))], ..config };
        let Err(PackFault::Syntax { line, .. }) = all(&config) else { panic!("it was read") };
        assert_eq!(line, 5);
    }
}
