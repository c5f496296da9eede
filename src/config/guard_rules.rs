//! Guard rules of the user's own: written in the configuration, or in pack files that it names.
//!
//! Shape is checked here, with its place; what a pack file says is read by `guard`, which knows
//! the language of packs.

use crate::base::hit::{Action, Mode, Style};
use crate::config::fault::Mistake;
use crate::config::keys::{ACTIONS, Absent, Key, Table, needed, optional};
use crate::config::kinds::Kind;
use crate::config::model::Pattern;
use crate::config::pass;
use crate::config::pass::{Pass, Section};
use std::path::Path;
use std::sync::Arc;

/// What one rule, or a family of rules, does. What it does not say, a shorter name says.
#[derive(Clone, Debug)]
pub struct GuardAction {
    /// The rule's name, or a prefix of names.
    pub rule: Pattern,
    /// On the way to the upstream.
    pub request: Option<Action>,
    /// On the way back.
    pub response: Option<Action>,
    /// Either way, in text that nobody of the conversation wrote: tool results and documents.
    pub untrusted: Option<Action>,
    /// Whether it does so, or only tells.
    pub mode: Option<Mode>,
    /// What its masks look like.
    pub style: Option<Style>,
}

impl GuardAction {
    /// One for that rule that says nothing yet.
    pub const fn new(rule: Pattern) -> Self {
        Self { rule, request: None, response: None, untrusted: None, mode: None, style: None }
    }
}

/// A pack file.
#[derive(Clone, Debug)]
pub struct GuardPack {
    /// Its path, as the configuration names it.
    pub name: Arc<str>,
    /// What it says.
    pub text: Arc<str>,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct GuardRule {
    /// Its name, such as `brand.codename`.
    pub name: Arc<str>,
    /// What it looks for.
    pub look: Look,
    /// What stands in the place of what it finds.
    pub placeholder: Option<Arc<str>>,
    /// What it does on the way to the upstream.
    pub request: Option<Action>,
    /// What it does on the way back.
    pub response: Option<Action>,
    /// Texts in which it must hit.
    pub positive: Vec<String>,
    /// Texts in which it must not.
    pub negative: Vec<String>,
}

/// What a rule looks for.
#[derive(Clone, Debug)]
pub enum Look {
    /// Any of these words, in any case.
    Words(Vec<String>),
    /// What this expression matches.
    Pattern(String),
}

impl GuardRule {
    /// Whether it can find what blanks stand in: that cannot be masked, since its beginning has
    /// left a stream before its end is seen.
    pub fn is_phrase(&self) -> bool {
        match &self.look {
            Look::Words(words) => words.iter().any(|word| word.contains(char::is_whitespace)),
            Look::Pattern(text) => text.contains(' ') || text.contains(r"\s"),
        }
    }
}

/// Rules of the user's own.
pub static GUARD_RULE: Table = Table {
    path: "guard.rule",
    many: true,
    about: "A guard rule of your own: words, or an expression. One with the name of a rule that \
            comes along takes its place. What it finds is masked, unless blanks stand in it; \
            that is flagged, and can be blocked. A pack file can say more: `src/guard/pack.rs`.",
    keys: &[
        needed("name", Kind::RuleName, "What records and actions call it."),
        optional("words", Kind::Texts, "Words to find, in any case. This or `pattern`."),
        optional("pattern", Kind::Expression, "An expression of what to find. This or `words`."),
        optional(
            "placeholder",
            Kind::Placeholder,
            "What stands in the place of what is found. Absent: the rule's name, in capitals.",
        ),
        optional("request", ACTIONS, "On the way to the upstream. Absent: mask, or flag."),
        optional("response", ACTIONS, "On the way back. Absent: mask, or flag."),
        optional("positive", Kind::Texts, "Texts that it must find; `ringwall check` tries them."),
        optional("negative", Kind::Texts, "Texts that it must not find; tried as well."),
    ],
};

/// The pack files.
pub const PACKS: Key = Key {
    name: "packs",
    kind: Kind::Files,
    absent: Absent::Nothing,
    about: "Pack files with rules of your own. They add to the rules that come along; one with \
            the same name takes its place. They are read again at a reload.",
};

/// Reads the pack files that are named.
pub fn packs(pass: &mut Pass<'_>, guard: &Section<'_>) -> Vec<GuardPack> {
    let mut packs = Vec::new();
    for spot in pass.texts(guard, PACKS.name) {
        match (pass.read)(Path::new(spot.value)).map(String::from_utf8) {
            Ok(Ok(text)) => packs.push(GuardPack { name: spot.value.into(), text: text.into() }),
            Ok(Err(_)) => pass.note(spot.place, Mistake::InvalidItem(guard.key(PACKS.name))),
            Err(error) => pass.note(spot.place, Mistake::PemUnreadable(error.kind())),
        }
    }
    packs
}

/// Reads the rules.
pub fn rules(pass: &mut Pass<'_>, guard: &Section<'_>) -> Vec<GuardRule> {
    let items = pass.sections(guard, &GUARD_RULE);
    items.iter().filter_map(|item| rule(pass, item)).collect()
}

fn rule(pass: &mut Pass<'_>, item: &Section<'_>) -> Option<GuardRule> {
    let name = checked(pass, item, "name", is_rule_name);
    let placeholder = checked(pass, item, "placeholder", is_placeholder);
    let pattern = checked(pass, item, "pattern", is_expression);
    let words = texts(pass, item, "words");
    let request = action(pass, item, "request");
    let response = action(pass, item, "response");
    let positive = texts(pass, item, "positive");
    let negative = texts(pass, item, "negative");
    if item.has("words") == item.has("pattern") {
        if item.has("words") {
            let mistake = Mistake::Idle(item.key("pattern"), "the rule has `words`");
            pass.note(item.at("pattern"), mistake);
        } else {
            pass.note(item.place, Mistake::Missing(item.key("words")));
        }
        return None;
    }
    let look = match pattern {
        Some(pattern) => Look::Pattern(pattern.to_string()),
        None if words.is_empty() => return None,
        None => Look::Words(words),
    };
    let rule = GuardRule { name: name?, look, placeholder, request, response, positive, negative };
    for (way, action) in [("request", request), ("response", response)] {
        if action == Some(Action::Mask) && rule.is_phrase() {
            pass.note(item.at(way), Mistake::MaskedPhrase(rule.name.to_string()));
        }
    }
    Some(rule)
}

fn action(pass: &mut Pass<'_>, item: &Section<'_>, way: &str) -> Option<Action> {
    let word = pass.choice(item, way)?;
    let all = [Action::Allow, Action::Flag, Action::Mask, Action::Block];
    all.into_iter().find(|action| action.name() == word)
}

fn checked(
    pass: &mut Pass<'_>,
    item: &Section<'_>,
    name: &str,
    is_right: fn(&str) -> bool,
) -> Option<Arc<str>> {
    let spot = pass.text(item, name)?;
    if !is_right(spot.value) {
        pass.note(spot.place, Mistake::Invalid(item.key(name)));
        return None;
    }
    Some(spot.value.into())
}

fn texts(pass: &mut Pass<'_>, item: &Section<'_>, name: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for spot in pass.texts(item, name) {
        if (1..=pass::TEXT_MOST).contains(&spot.value.chars().count()) {
            texts.push(spot.value.to_owned());
        } else {
            pass.note(spot.place, Mistake::InvalidItem(item.key(name)));
        }
    }
    texts
}

fn is_rule_name(text: &str) -> bool {
    let part = |part: &str| {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        !part.is_empty() && part.len() <= 48 && part.bytes().all(fits)
    };
    text.split_once('.').is_some_and(|(family, name)| part(family) && part(name))
}

fn is_placeholder(text: &str) -> bool {
    let name = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or_default();
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

fn is_expression(text: &str) -> bool {
    regex::Regex::new(text).is_ok_and(|built| !built.is_match(""))
}

#[cfg(test)]
mod tests {
    use super::{is_expression, is_placeholder, is_rule_name};

    #[test]
    fn names_placeholders_and_expressions_have_a_shape() {
        assert!(is_rule_name("brand.codename") && is_placeholder("[PROJECT_X]"));
        for name in ["codename", "brand.", ".x", "Brand.x", "a.b.c"] {
            assert!(!is_rule_name(name), "{name}");
        }
        for text in ["PROJECT", "[project]", "[]"] {
            assert!(!is_placeholder(text), "{text}");
        }
        assert!(is_expression("FAL-[0-9]{4}"));
        assert!(!is_expression("a(") && !is_expression("a*") && !is_expression("(?=a)b"));
    }
}
