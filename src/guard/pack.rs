//! Reads packs: rules as data, in the TOML files of `config/packs`.
//!
//! A pack begins with `[pack]`: its `name`, its `version` and, if it is not `enforce`, its `mode`
//! (`shadow`: found and told, nothing is done; `off`). `[stop]` has lists of words under a name.
//!
//! An *entity* rule says what nominates a place (`anchor`: a Hyperscan expression with a literal
//! that each match contains; or `digits`: how many; or `at`: an `@`; or nothing but its words),
//! what the value looks like (`refine`, its first group if it has one), which `check` makes it a
//! hit and what may not stand beside it (`edge`). Its words must stand before the value, at most
//! `within` bytes: `context` anywhere near, `keywords` in what the value is assigned to (`join` is
//! `named` where the name ends with the word, `adjacent` where nothing but quotes stands between;
//! `quoted` asks for a quote; `unless` has words that rule it out in the name). `entropy`
//! is the least Shannon entropy in bits a character, `stop` names lists of which no word may be
//! in the value, `stop_values` are values that everybody knows, a right `checksum` needs
//! none of these, and `last` takes what other rules leave. A *phrase* rule has `phrases` only. A
//! *detector* names code that looks. All bring examples.

use crate::base::hit::Action;
use crate::base::text::Channel;
use crate::guard::context::{Join, WITHIN_MAX, WORD_BYTES_MAX};
use crate::guard::detect::Detector;
use crate::guard::validators::Check;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

/// The packs that come with Ringwall.
pub const PACKS: [(&str, &str); 12] = [
    ("pii", include_str!("../../config/packs/pii.toml")),
    ("secrets", include_str!("../../config/packs/secrets.toml")),
    ("injection", include_str!("../../config/packs/injection.toml")),
    ("conversation", include_str!("../../config/packs/conversation.toml")),
    ("scores", include_str!("../../config/packs/scores.toml")),
    ("structure", include_str!("../../config/packs/structure.toml")),
    ("code", include_str!("../../config/packs/code.toml")),
    ("url", include_str!("../../config/packs/url.toml")),
    ("toxicity", include_str!("../../config/packs/toxicity.toml")),
    ("topic", include_str!("../../config/packs/topic.toml")),
    ("brand", include_str!("../../config/packs/brand.toml")),
    ("answer", include_str!("../../config/packs/answer.toml")),
];

/// What blanks and dashes within numbers are, inside a character class of `refine`.
const SHORTHANDS: [(&str, &str); 2] =
    [("BLANK", r" \t\x{A0}\x{2007}\x{2009}\x{202F}"), ("DASH", r"\-\x{2010}-\x{2014}")];

/// A rule as its pack says it, checked for shape.
#[derive(Clone, Debug)]
pub struct PackRule {
    /// Its name, such as `pii.card`.
    pub name: String,
    /// What other catalogues call it; its name if they do not.
    pub id: String,
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
    /// The words that must stand before it, if any must.
    pub words: Option<PackWords>,
    /// The least entropy, in bits for each character; zero asks for none.
    pub entropy_min: f64,
    /// No value holds one of these words.
    pub stop: Vec<String>,
    /// No value is one of these.
    pub stop_values: Vec<String>,
    /// The sum that a value may carry: one that does needs no entropy and no list.
    pub checksum: Option<Checksum>,
    /// Whether it takes only what other rules leave.
    pub is_last: bool,
}

/// A sum that a value carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// CRC-32 in six digits of base 62 at the end.
    Crc32,
}

/// Words that must stand before a value.
#[derive(Clone, Debug)]
pub struct PackWords {
    /// The words, in any case.
    pub list: Vec<String>,
    /// How many bytes may stand between.
    pub within: usize,
    /// What these may be.
    pub join: Join,
    /// Whether a quote must stand before the value.
    pub quoted: bool,
    /// Words that rule the value out where they stand in the name.
    pub unless: Vec<String>,
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
    /// One of its words, before it.
    Words,
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
    /// A letter, a digit, or a sign that tokens go on with: `_ - + / ~ %`.
    Token,
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
    /// A pack does not say its name, or its version is zero.
    Header(Box<str>),
    /// A rule says too much, too little or a word that does not exist.
    Shape {
        /// The rule.
        rule: Box<str>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A pack is not TOML of the right form.
    Syntax {
        /// The pack.
        pack: Box<str>,
        /// Where, counted from one.
        line: usize,
        /// Where in the line, counted from one.
        column: usize,
        /// What the reader of TOML says.
        why: Box<str>,
    },
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
            Self::Header(pack) => {
                write!(out, "pack `{pack}` has no name, or a version that is not 1 or more")
            }
            Self::Shape { rule, why } => write!(out, "rule `{rule}`: {why}"),
            Self::Syntax { pack, line, column, why } => {
                write!(out, "pack `{pack}`, line {line}, column {column}: {why}")
            }
            Self::TooMany => out.write_str("there are more than 65,535 rules"),
            Self::Unbounded(rule) => write!(out, "a phrase of rule `{rule}` has no short bound"),
        }
    }
}

impl std::error::Error for PackFault {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPack {
    pack: RawHeader,
    #[serde(default)]
    stop: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    rule: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHeader {
    name: String,
    version: u32,
    #[serde(default)]
    mode: Mode,
}

/// What a whole pack does.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// What its rules say.
    #[default]
    Enforce,
    /// What its rules find is told; nothing is masked or blocked.
    Shadow,
    /// Nothing.
    Off,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "as the file has them")]
struct RawRule {
    name: String,
    id: Option<String>,
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
    #[serde(default)]
    context: Vec<String>,
    #[serde(default)]
    keywords: Vec<String>,
    within: Option<usize>,
    join: Option<String>,
    #[serde(default)]
    quoted: bool,
    #[serde(default)]
    unless: Vec<String>,
    #[serde(default)]
    entropy: f64,
    #[serde(default)]
    stop: Vec<String>,
    #[serde(default)]
    stop_values: Vec<String>,
    checksum: Option<String>,
    #[serde(default)]
    last: bool,
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
    let raw: RawPack = toml::from_str(text).map_err(|fault| syntax(pack, text, &fault))?;
    if raw.pack.name.is_empty() || raw.pack.version == 0 {
        return Err(PackFault::Header(pack.into()));
    }
    let mode = raw.pack.mode;
    let rules = raw.rule.into_iter().map(|rule| read_rule(rule, &raw.stop, mode));
    let rules: Result<Vec<PackRule>, PackFault> = rules.collect();
    Ok(if mode == Mode::Off { Vec::new() } else { rules? })
}

/// Where a pack cannot be read and why, without a word of what it says there.
fn syntax(pack: &str, text: &str, fault: &toml::de::Error) -> PackFault {
    let at = fault.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
    PackFault::Syntax { pack: pack.into(), line, column, why: fault.message().into() }
}

fn read_rule(
    raw: RawRule,
    stop: &BTreeMap<String, Vec<String>>,
    mode: Mode,
) -> Result<PackRule, PackFault> {
    let fault = |why: &'static str| PackFault::Shape { rule: raw.name.as_str().into(), why };
    let kind = kind(&raw, stop).map_err(fault)?;
    let usual = match kind {
        PackKind::Entity(_) => Action::Mask,
        PackKind::Phrase(_) | PackKind::Detector(_) => Action::Flag,
    };
    let action = |name: &Option<String>| {
        let action = match name.as_deref() {
            None => usual,
            Some("allow") => Action::Allow,
            Some("flag") => Action::Flag,
            Some("mask") => Action::Mask,
            Some("block") => Action::Block,
            Some(_) => return Err("an action is none of `allow`, `flag`, `mask` and `block`"),
        };
        Ok(if mode == Mode::Shadow { action.min(Action::Flag) } else { action })
    };
    let request = action(&raw.request).map_err(fault)?;
    let response = action(&raw.response).map_err(fault)?;
    let channel = match raw.channel.as_deref() {
        None => Some(Channel::User),
        Some(name) => Channel::ALL.into_iter().find(|channel| channel.name() == name),
    };
    let channel = channel.ok_or("there is no such `channel`").map_err(fault)?;
    let plain = |texts: &[String]| texts.iter().map(|text| text.replace('¦', "")).collect();
    let (positive, negative) = (plain(&raw.positive), plain(&raw.negative));
    let id = raw.id.unwrap_or_else(|| raw.name.clone());
    Ok(PackRule { name: raw.name, id, kind, request, response, channel, positive, negative })
}

fn kind(raw: &RawRule, stop: &BTreeMap<String, Vec<String>>) -> Result<PackKind, &'static str> {
    if let Some(name) = &raw.detector {
        return detector(raw, name).map(PackKind::Detector);
    }
    if raw.threshold.is_some() {
        return Err("it has a `threshold` and no `detector`");
    }
    let Some(refine) = &raw.refine else {
        let only = raw.anchor.is_none() && raw.digits.is_none() && !raw.at && raw.check.is_none();
        let bare = raw.context.is_empty() && raw.keywords.is_empty() && raw.stop.is_empty();
        if raw.phrases.is_empty() {
            return Err("it has neither `refine` nor `phrases`");
        }
        if !only || !bare || raw.placeholder.is_some() {
            return Err("a rule with `phrases` has no other way to look");
        }
        return Ok(PackKind::Phrase(raw.phrases.iter().map(|phrase| spaced(phrase)).collect()));
    };
    if !raw.phrases.is_empty() {
        return Err("it has both `refine` and `phrases`");
    }
    let placeholder = raw.placeholder.clone().unwrap_or_default();
    if !is_placeholder(&placeholder) {
        return Err("its `placeholder` is not `[NAME]`, in capitals");
    }
    let words = words(raw)?;
    let edge = match raw.edge.as_deref() {
        Some("alnum") => Edge::Alphanumeric,
        Some("digit") => Edge::Digit,
        Some("none") => Edge::Free,
        Some("number") => Edge::Number,
        Some("token") => Edge::Token,
        _ => return Err("its `edge` is none of `alnum`, `digit`, `none`, `number` and `token`"),
    };
    let check = match &raw.check {
        Some(name) => Check::named(name).ok_or("there is no such `check`")?,
        None => Check::None,
    };
    let is_block = match raw.block.as_deref() {
        None => false,
        Some("pem") => true,
        Some(_) => return Err("its `block` is not `pem`"),
    };
    let checksum = match raw.checksum.as_deref() {
        None => None,
        Some("crc32") => Some(Checksum::Crc32),
        Some(_) => return Err("its `checksum` is not `crc32`"),
    };
    let mut stops = Vec::new();
    for list in &raw.stop {
        stops
            .extend(stop.get(list).ok_or("it names a list of `[stop]` that is not there")?.clone());
    }
    Ok(PackKind::Entity(PackEntity {
        placeholder,
        trigger: trigger(raw, words.is_some())?,
        refine: SHORTHANDS
            .iter()
            .fold(refine.clone(), |text, (name, class)| text.replace(name, class)),
        check,
        edge,
        is_block,
        words,
        entropy_min: raw.entropy,
        stop: stops,
        stop_values: raw.stop_values.iter().map(|value| value.replace('¦', "")).collect(),
        checksum,
        is_last: raw.last,
    }))
}

fn trigger(raw: &RawRule, has_words: bool) -> Result<Trigger, &'static str> {
    match (&raw.anchor, raw.digits, raw.at) {
        (Some(anchor), None, false) => Ok(Trigger::Anchor(anchor.clone())),
        (None, Some(digits), false) => Ok(Trigger::Digits(digits)),
        (None, None, true) => Ok(Trigger::At),
        (None, None, false) if has_words => Ok(Trigger::Words),
        (None, None, false) => Err("nothing nominates it: `anchor`, `digits`, `at` or words"),
        _ => Err("it has more than one of `anchor`, `digits` and `at`"),
    }
}

fn words(raw: &RawRule) -> Result<Option<PackWords>, &'static str> {
    let (list, join, usual) = match (raw.context.is_empty(), raw.keywords.is_empty()) {
        (true, true) => return Ok(None),
        (false, true) => (&raw.context, Join::Near, CONTEXT_WITHIN),
        (true, false) => (&raw.keywords, Join::Assigned, KEYWORDS_WITHIN),
        (false, false) => return Err("it has both `context` and `keywords`"),
    };
    let join = match (raw.join.as_deref(), join) {
        (None, join) => join,
        (Some("named"), Join::Assigned) => Join::Named,
        (Some("adjacent"), Join::Assigned) => Join::Adjacent,
        _ => return Err("its `join` is neither `named` nor `adjacent`, or it has no `keywords`"),
    };
    let within = raw.within.unwrap_or(usual);
    let fits = |word: &String| (1..=WORD_BYTES_MAX).contains(&word.len());
    if within > WITHIN_MAX || !list.iter().all(fits) {
        return Err("its words are up to 48 bytes long and up to 96 bytes away");
    }
    let (list, unless) = (list.clone(), raw.unless.clone());
    Ok(Some(PackWords { list, within, join, quoted: raw.quoted, unless }))
}

/// How far words are looked for before a value, in bytes, unless the rule says otherwise.
const CONTEXT_WITHIN: usize = 40;
/// How far what a value is assigned to may reach, in bytes.
const KEYWORDS_WITHIN: usize = 64;

fn detector(raw: &RawRule, name: &str) -> Result<PackDetector, &'static str> {
    let values = raw.anchor.is_some() || raw.refine.is_some() || raw.placeholder.is_some();
    let marks = raw.at || raw.digits.is_some() || raw.check.is_some() || raw.edge.is_some();
    if values || marks || raw.block.is_some() || !raw.phrases.is_empty() {
        return Err("a rule with a `detector` has no other way to look");
    }
    let detector = Detector::named(name).ok_or("there is no such `detector`")?;
    Ok(PackDetector { detector, threshold: raw.threshold })
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

    const RULE: &str = "[pack]\nname = \"p\"\nversion = 1\n[stop]\nlist = [\"none\"]\n\
                        [[rule]]\nname = \"a.b\"\npositive = []\nnegative = []\n";

    #[test]
    fn the_packs_that_come_along_are_read_and_have_examples() {
        let mut entities = 0;
        for (name, text) in PACKS {
            for rule in read(name, text).unwrap() {
                entities += usize::from(matches!(rule.kind, PackKind::Entity(_)));
                // What takes several turns has no example of one.
                let is_turns = rule.name.starts_with("conversation.");
                assert!(!rule.positive.is_empty() || is_turns, "{}", rule.name);
                assert!(!rule.negative.is_empty(), "{}", rule.name);
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
            "phrases = ['x']\ncontext = ['y']".to_owned(),
            format!("{entity}context = ['a']\nkeywords = ['b']"),
            format!("{entity}context = ['a']\nwithin = 97"),
            format!("{entity}context = ['']"),
            format!("{entity}at = true\nstop = ['no such list']"),
            "phrases = ['x']\nthreshold = 3".to_owned(),
            "detector = \"structure.luck\"".to_owned(),
            "phrases = ['x']\nchannel = \"dreams\"".to_owned(),
            "detector = \"structure.hidden_unicode\"\nat = true".to_owned(),
        ];
        for text in wrong {
            let fault = read("p", &format!("{RULE}{text}")).unwrap_err();
            let is_named = matches!(&fault, PackFault::Shape { rule, .. } if **rule == *"a.b");
            assert!(is_named, "{fault}: {text}");
        }
        let fault = read("p", &format!("{RULE}{entity}colour = 1")).unwrap_err();
        let PackFault::Syntax { line, column, why, .. } = &fault else { panic!("{fault}") };
        assert_eq!((*line, *column), (13, 1), "{why}");
    }
}
