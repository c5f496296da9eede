//! Reads packs: rules as data, in the TOML files of `config/packs`.
//!
//! An *entity* rule says what nominates a place (`anchor`: a Hyperscan expression with a literal
//! that each match contains; or `digits`: how many; or `at`: an `@`), what the value looks like
//! (`refine`, its first group if it has one), which check makes it a hit and what may not stand
//! beside it. A *phrase* rule has `phrases` only. A *detector* rule names code that looks
//! (`detector`), with an optional `threshold`. All bring examples, which a test runs.

use crate::base::hit::Action;
use crate::base::text::Channel;
use crate::guard::detect::Detector;
use crate::guard::validators::Check;
use serde::Deserialize;
use std::fmt;

/// The packs that come with Ringwall.
pub const PACKS: [(&str, &str); 4] = [
    ("pii", include_str!("../../config/packs/pii.toml")),
    ("secrets", include_str!("../../config/packs/secrets.toml")),
    ("injection", include_str!("../../config/packs/injection.toml")),
    ("structure", include_str!("../../config/packs/structure.toml")),
];

/// What blanks and dashes within numbers are, inside a character class of `refine`.
const SHORTHANDS: [(&str, &str); 2] =
    [("BLANK", r" \t\x{A0}\x{2007}\x{2009}\x{202F}"), ("DASH", r"\-\x{2010}-\x{2014}")];

/// A rule as its pack says it, checked for shape.
#[derive(Clone, Debug)]
pub struct PackRule {
    /// Its name, such as `pii.card`.
    pub name: String,
    /// What it looks for.
    pub kind: PackKind,
    /// What is done on the way to the upstream, unless the configuration says otherwise.
    pub request: Action,
    /// What is done on the way back.
    pub response: Action,
    /// Whose texts the examples are; the user's, unless the rule says otherwise.
    pub channel: Channel,
    /// Texts in which it must hit.
    pub positive: Vec<String>,
    /// Texts in which it must not.
    pub negative: Vec<String>,
}

/// What a rule looks for.
#[derive(Clone, Debug)]
pub enum PackKind {
    /// A value, which can be masked.
    Entity(PackEntity),
    /// Any of these expressions; found, never masked.
    Phrase(Vec<String>),
    /// What this code finds; found, never masked.
    Detector(PackDetector),
}

/// Code that looks, and from when on it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackDetector {
    /// Which.
    pub detector: Detector,
    /// From which score on, where it is not the detector's own choice.
    pub threshold: Option<i32>,
}

/// A value that can be masked.
#[derive(Clone, Debug)]
pub struct PackEntity {
    /// What stands in its place.
    pub placeholder: String,
    /// What makes a place worth a look.
    pub trigger: Trigger,
    /// What the value looks like.
    pub refine: String,
    /// What makes it a hit.
    pub check: Check,
    /// What may not stand beside it.
    pub edge: Edge,
    /// Whether it opens a block that is masked up to its end.
    pub is_block: bool,
}

/// What makes an island worth a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A Hyperscan expression that each match contains.
    Anchor(String),
    /// An `@`.
    At,
    /// So many digits.
    Digits(usize),
}

/// What may not stand beside a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// A letter or digit.
    Alphanumeric,
    /// A digit.
    Digit,
    /// Anything may.
    Free,
    /// A letter, a digit, a plus, or a point or dash that a digit stands behind.
    Number,
}

/// Why a pack, or what the configuration makes of it, is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackFault {
    /// A rule's expression does not compile, or matches nothing at all.
    Expression(Box<str>),
    /// There is no memory for the scratch of a worker.
    Memory,
    /// A phrase or detector rule is told to mask. It can flag or block: by the time a phrase is
    /// complete, its beginning has left.
    PhraseMask(Box<str>),
    /// A rule says too much, too little or a word that does not exist.
    Shape(Box<str>),
    /// A pack is not TOML of the right form.
    Syntax(Box<str>),
    /// More than 65,535 rules.
    TooMany,
    /// A phrase has no bound on its length, or a bound that streams cannot look back over.
    Unbounded(Box<str>),
}

impl fmt::Display for PackFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expression(rule) => write!(out, "an expression of rule `{rule}` is not valid"),
            Self::Memory => out.write_str("no memory for the guard's working space"),
            Self::PhraseMask(rule) => {
                write!(out, "rule `{rule}` finds no value that could be masked: flag or block it")
            }
            Self::Shape(rule) => write!(out, "rule `{rule}` is not complete or contradicts itself"),
            Self::Syntax(pack) => write!(out, "pack `{pack}` cannot be read"),
            Self::TooMany => out.write_str("there are more than 65,535 rules"),
            Self::Unbounded(rule) => write!(out, "a phrase of rule `{rule}` has no short bound"),
        }
    }
}

impl std::error::Error for PackFault {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPack {
    rule: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    name: String,
    placeholder: Option<String>,
    anchor: Option<String>,
    digits: Option<usize>,
    #[serde(default)]
    at: bool,
    refine: Option<String>,
    check: Option<String>,
    edge: Option<String>,
    block: Option<String>,
    #[serde(default)]
    phrases: Vec<String>,
    detector: Option<String>,
    threshold: Option<i32>,
    channel: Option<String>,
    request: Option<String>,
    response: Option<String>,
    positive: Vec<String>,
    negative: Vec<String>,
}

/// Reads one pack.
pub fn read(pack: &str, text: &str) -> Result<Vec<PackRule>, PackFault> {
    let raw: RawPack = toml::from_str(text).ok().ok_or_else(|| PackFault::Syntax(pack.into()))?;
    raw.rule.into_iter().map(rule).collect()
}

fn rule(raw: RawRule) -> Result<PackRule, PackFault> {
    let fault = || PackFault::Shape(raw.name.as_str().into());
    let kind = kind(&raw).ok_or_else(fault)?;
    let usual = match kind {
        PackKind::Entity(_) => Action::Mask,
        PackKind::Phrase(_) | PackKind::Detector(_) => Action::Flag,
    };
    let action = |name: &Option<String>| match name.as_deref() {
        None => Some(usual),
        Some("allow") => Some(Action::Allow),
        Some("flag") => Some(Action::Flag),
        Some("mask") => Some(Action::Mask),
        Some("block") => Some(Action::Block),
        Some(_) => None,
    };
    let request = action(&raw.request).ok_or_else(fault)?;
    let response = action(&raw.response).ok_or_else(fault)?;
    let channel = match raw.channel.as_deref() {
        None => Some(Channel::User),
        Some(name) => Channel::ALL.into_iter().find(|channel| channel.name() == name),
    };
    let channel = channel.ok_or_else(fault)?;
    let plain = |texts: &[String]| texts.iter().map(|text| text.replace('¦', "")).collect();
    let (positive, negative) = (plain(&raw.positive), plain(&raw.negative));
    Ok(PackRule { name: raw.name, kind, request, response, channel, positive, negative })
}

fn kind(raw: &RawRule) -> Option<PackKind> {
    if let Some(name) = &raw.detector {
        return detector(raw, name).map(PackKind::Detector);
    }
    if raw.threshold.is_some() {
        return None;
    }
    let Some(refine) = &raw.refine else {
        let only = raw.anchor.is_none() && raw.digits.is_none() && !raw.at && raw.check.is_none();
        let phrases = !raw.phrases.is_empty() && raw.placeholder.is_none();
        let spaced = || raw.phrases.iter().map(|phrase| spaced(phrase)).collect();
        return (only && phrases).then(|| PackKind::Phrase(spaced()));
    };
    let trigger = match (&raw.anchor, raw.digits, raw.at) {
        (Some(anchor), None, false) => Trigger::Anchor(anchor.clone()),
        (None, Some(digits), false) => Trigger::Digits(digits),
        (None, None, true) => Trigger::At,
        _ => return None,
    };
    let edge = match raw.edge.as_deref() {
        Some("alnum") => Edge::Alphanumeric,
        Some("digit") => Edge::Digit,
        Some("none") => Edge::Free,
        Some("number") => Edge::Number,
        _ => return None,
    };
    let check = match &raw.check {
        Some(name) => Check::named(name)?,
        None => Check::None,
    };
    let is_block = match raw.block.as_deref() {
        None => false,
        Some("pem") => true,
        Some(_) => return None,
    };
    let placeholder = raw.placeholder.clone()?;
    if !raw.phrases.is_empty() || !is_placeholder(&placeholder) {
        return None;
    }
    let refine =
        SHORTHANDS.iter().fold(refine.clone(), |refine, (name, class)| refine.replace(name, class));
    Some(PackKind::Entity(PackEntity { placeholder, trigger, refine, check, edge, is_block }))
}

fn detector(raw: &RawRule, name: &str) -> Option<PackDetector> {
    let values = raw.anchor.is_some() || raw.refine.is_some() || raw.placeholder.is_some();
    let marks = raw.at || raw.digits.is_some() || raw.check.is_some() || raw.edge.is_some();
    if values || marks || raw.block.is_some() || !raw.phrases.is_empty() {
        return None;
    }
    Some(PackDetector { detector: Detector::named(name)?, threshold: raw.threshold })
}

/// A space in a phrase stands for up to four blanks or line ends.
fn spaced(phrase: &str) -> String {
    let mut out = String::with_capacity(phrase.len() * 2);
    let mut rest = phrase.chars().peekable();
    while let Some(letter) = rest.next() {
        if letter != ' ' {
            out.push(letter);
            continue;
        }
        out.push_str(r"[ \t\r\n]");
        if !matches!(rest.peek(), Some('?' | '{')) {
            out.push_str("{1,4}");
        }
    }
    out
}

/// `[NAME]`: it needs no escape in any form, ends islands on both sides and matches no rule.
fn is_placeholder(text: &str) -> bool {
    let name = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or_default();
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::{PACKS, PackFault, PackKind, read};

    const RULE: &str = "[[rule]]\nname = \"a.b\"\npositive = []\nnegative = []\n";

    #[test]
    fn the_packs_that_come_along_are_read_and_have_examples() {
        let mut entities = 0;
        for (name, text) in PACKS {
            for rule in read(name, text).unwrap() {
                entities += usize::from(matches!(rule.kind, PackKind::Entity(_)));
                assert!(!rule.positive.is_empty() && !rule.negative.is_empty(), "{}", rule.name);
            }
        }
        assert!(entities >= 25, "{entities}");
    }

    #[test]
    fn rules_that_say_too_much_or_too_little_are_refused_by_name() {
        let entity = "placeholder = \"[A]\"\nrefine = 'a'\nedge = \"none\"\n";
        read("p", &format!("{RULE}{entity}at = true")).unwrap();
        let wrong = [
            String::new(),
            entity.to_owned(),
            format!("{entity}at = true\ndigits = 3"),
            format!("{entity}at = true\nphrases = ['x']"),
            format!("{entity}at = true\ncheck = \"luck\""),
            format!("{entity}at = true\nrequest = \"drop\""),
            entity.replace("[A]", "<a>") + "at = true",
            "phrases = ['x']\nat = true".to_owned(),
            "phrases = ['x']\nthreshold = 3".to_owned(),
            "detector = \"structure.luck\"".to_owned(),
            "phrases = ['x']\nchannel = \"dreams\"".to_owned(),
            "detector = \"structure.hidden_unicode\"\nat = true".to_owned(),
        ];
        for text in wrong {
            let fault = read("p", &format!("{RULE}{text}")).unwrap_err();
            assert_eq!(fault, PackFault::Shape("a.b".into()), "{text}");
        }
        let fault = read("p", &format!("{RULE}{entity}colour = 1")).unwrap_err();
        assert_eq!(fault, PackFault::Syntax("p".into()));
    }
}
