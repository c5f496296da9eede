//! What is wrong with a configuration: each mistake, what would be right, and a hint.
//!
//! No mistake carries a value that may be secret; sources are kept with such values taken out.

use crate::config::keys::{Key, Table};
use crate::config::kinds::Kind;
use crate::config::tree::Place;
use crate::config::units::{SIZE_UNITS, SPAN_UNITS};
use std::fmt;
use std::io::ErrorKind;
use std::ops::Range;

/// Every mistake of one pass, in the order of the text.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The file, then the `--set` texts; what may be secret is blanked.
    pub sources: Vec<Source>,
    /// The mistakes; never empty when this is an error.
    pub list: Vec<Fault>,
}

/// A text that a mistake points into.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file's name, or `--set`.
    pub name: String,
    /// Its text, with what may be secret blanked; every offset is as in the original.
    pub text: String,
}

/// One mistake and its place.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which of [`Faults::sources`].
    pub source: usize,
    /// Bytes of it.
    pub span: Range<usize>,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
    /// The offending text, with what may be secret blanked; one line of it at most.
    pub text: String,
    /// What is wrong.
    pub mistake: Mistake,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Mistake {
    /// The file cannot be read.
    Unreadable(ErrorKind),
    /// The file is larger than any configuration; holds the bytes allowed.
    TooLarge(usize),
    /// The file is not UTF-8.
    NotText,
    /// It is not TOML; the parser's own words.
    Syntax(String),
    /// There are more mistakes than are listed.
    TooMany(usize),
    /// `--set` without `=` or with a path that cannot be.
    SetShape,
    /// A `--set` path goes through something that holds no keys.
    SetThrough(String),
    /// A `--set` path names an entry that is not there.
    SetNowhere {
        /// What it says.
        name: String,
        /// The entries that are there.
        known: Vec<String>,
    },
    /// A key that is none.
    UnknownKey {
        /// What it says.
        name: String,
        /// The table it is in.
        table: &'static Table,
        /// What the table takes.
        known: Vec<&'static str>,
        /// The header of a table that has such a key.
        elsewhere: Option<String>,
    },
    /// Something else where a table must be.
    NotTable(String),
    /// One table, or something else, where `[[name]]` must be.
    NotTables(String),
    /// A key that must be there is not.
    Missing(&'static Key),
    /// A value of the wrong type; holds what was found.
    WrongType(&'static Key, &'static str),
    /// A value of the right type that says nothing the key takes.
    Invalid(&'static Key),
    /// A value of a list or table that says nothing the key takes.
    InvalidItem(&'static Key),
    /// A quantity without a unit; holds how it may have been meant.
    NoUnit(&'static Key, String),
    /// A unit that is none; holds how it may have been meant.
    UnknownUnit(&'static Key, Option<String>),
    /// A number, size or duration beyond its bounds.
    OutOfRange(&'static Key),
    /// A word that is none of a few; holds it.
    UnknownWord(&'static Key, String),
    /// A list that must hold something.
    EmptyList(&'static Key),
    /// The same name or value for two things; holds what, and where the first is.
    Twice(&'static str, Place),
    /// A name that nothing has.
    NoSuch {
        /// What it should be the name of.
        what: &'static str,
        /// What it says.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A secret in the file itself.
    LiteralSecret(&'static Key),
    /// An API key itself where its digest belongs.
    LiteralKey,
    /// A secret of fewer bytes than this.
    SecretShort(usize),
    /// The environment has no such variable.
    SecretUnset(String),
    /// A secret's file cannot be read.
    SecretUnreadable(ErrorKind),
    /// A secret that is empty, or holds what no header can.
    SecretUnusable,
    /// A URL with a name and password in it.
    UrlCredentials,
    /// A key that does nothing there; holds why.
    Idle(&'static Key, &'static str),
    /// A certificate without its key, or the other way round.
    HalfTls(&'static Key),
    /// A PEM file that cannot be read.
    PemUnreadable(ErrorKind),
    /// A file without what its key takes.
    NotPem(&'static Key),
    /// A caller that nothing proves.
    Unprovable,
    /// A caller without a key that has keys.
    AnonymousWithKeys,
    /// A second caller for those without a key; holds where the first is.
    AnonymousTwice(Place),
    /// A rule about neither models nor servers nor routes.
    RuleAboutNothing,
    /// Tools of no server.
    ToolsWithoutServers,
    /// A guard action that says nothing.
    ActionWithoutEffect,
    /// A guard action that would mask a phrase; holds the rule that finds it.
    MaskedPhrase(String),
}

impl Mistake {
    /// What is wrong, in a sentence without its end.
    pub fn what(&self) -> String {
        match self {
            Self::Unreadable(kind) => unread("the file", *kind),
            Self::TooLarge(_) => "the file is too large for a configuration".to_owned(),
            Self::NotText => "the file is not UTF-8 text".to_owned(),
            Self::Syntax(words) => format!("this is not TOML: {words}"),
            Self::TooMany(shown) => format!("there are more mistakes than these {shown}"),
            Self::SetShape => "`--set` takes a path and a value".to_owned(),
            Self::SetThrough(path) => format!("`{path}` holds no keys"),
            Self::SetNowhere { name, .. } => format!("there is no entry `{name}`"),
            Self::UnknownKey { name, table: Table { path: "", .. }, .. } => {
                format!("unknown key `{name}` at the top of the file")
            }
            Self::UnknownKey { name, table, .. } => {
                format!("unknown key `{name}` in `{}`", table.header())
            }
            Self::NotTable(name) => format!("`{name}` is a table"),
            Self::NotTables(name) => format!("`{name}` is a list of tables"),
            Self::Missing(key) => format!("the key `{}` is missing", key.name),
            Self::WrongType(key, found) => {
                format!("`{}` takes {}, not {found}", key.name, key.kind.noun())
            }
            Self::Invalid(key) => format!("this is not {}", key.kind.noun()),
            Self::InvalidItem(key) => format!("this is not {}", key.kind.item()),
            Self::NoUnit(key, _) => format!("`{}` has no unit", key.name),
            Self::UnknownUnit(key, _) => format!("`{}` has an unknown unit", key.name),
            Self::OutOfRange(key) => format!("`{}` is out of range", key.name),
            Self::UnknownWord(key, word) => format!("`{}` does not know `{word}`", key.name),
            Self::EmptyList(key) => format!("`{}` is empty", key.name),
            Self::Twice(what, _) => format!("this {what} is there twice"),
            Self::NoSuch { what, name, .. } => format!("there is no {what} `{name}`"),
            Self::LiteralSecret(key) => format!("`{}` holds the secret itself", key.name),
            Self::LiteralKey => "this is not the digest of an API key".to_owned(),
            Self::SecretShort(_) => "the secret can be guessed".to_owned(),
            Self::SecretUnset(name) => format!("the environment variable `{name}` is not set"),
            Self::SecretUnreadable(kind) => unread("the secret's file", *kind),
            Self::SecretUnusable => "the secret is empty or cannot be sent in a header".to_owned(),
            Self::UrlCredentials => "the URL holds credentials".to_owned(),
            Self::Idle(key, why) => format!("`{}` does nothing {why}", key.name),
            Self::HalfTls(key) => format!("TLS needs `{}` as well", key.name),
            Self::PemUnreadable(kind) => unread("the file", *kind),
            Self::NotPem(key) => format!("the file is not {}", key.kind.noun()),
            Self::Unprovable => "nothing proves this caller".to_owned(),
            Self::AnonymousWithKeys => "an anonymous caller has proofs".to_owned(),
            Self::AnonymousTwice(_) => "a second anonymous caller".to_owned(),
            Self::RuleAboutNothing => "the rule is about nothing".to_owned(),
            Self::ToolsWithoutServers => "`tools` without `servers` are no server's".to_owned(),
            Self::ActionWithoutEffect => "the guard action says nothing".to_owned(),
            Self::MaskedPhrase(rule) => {
                format!("`{rule}` finds phrases, which cannot be masked")
            }
        }
    }

    /// What is allowed there, where a list or a shape can say it.
    pub fn allowed(&self) -> Option<String> {
        match self {
            Self::SecretShort(least) => Some(format!("at least {least} bytes")),
            Self::TooLarge(bytes) => Some(format!("at most {bytes} bytes")),
            Self::SetShape => Some("`path.to.key=value`, such as `gateway.workers=2`".to_owned()),
            Self::SetNowhere { known, .. } | Self::NoSuch { known, .. } => Some(listed(known)),
            Self::UnknownKey { known, .. } => Some(listed(known)),
            Self::Missing(key)
            | Self::WrongType(key, _)
            | Self::Invalid(key)
            | Self::InvalidItem(key)
            | Self::NoUnit(key, _)
            | Self::UnknownUnit(key, _)
            | Self::OutOfRange(key)
            | Self::UnknownWord(key, _)
            | Self::EmptyList(key)
            | Self::LiteralSecret(key)
            | Self::HalfTls(key)
            | Self::NotPem(key) => Some(key.kind.allowed()),
            Self::LiteralKey => Some(Kind::Digests.allowed()),
            Self::UrlCredentials => Some(Kind::Url.allowed()),
            Self::Unreadable(_)
            | Self::NotText
            | Self::Syntax(_)
            | Self::TooMany(_)
            | Self::SetThrough(_)
            | Self::NotTable(_)
            | Self::NotTables(_)
            | Self::Twice(..)
            | Self::SecretUnset(_)
            | Self::SecretUnreadable(_)
            | Self::SecretUnusable
            | Self::Idle(..)
            | Self::PemUnreadable(_)
            | Self::Unprovable
            | Self::AnonymousWithKeys
            | Self::AnonymousTwice(_)
            | Self::RuleAboutNothing
            | Self::ToolsWithoutServers
            | Self::ActionWithoutEffect
            | Self::MaskedPhrase(_) => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { elsewhere: Some(table), name, .. } => {
                Some(format!("`{name}` is a key of {table}"))
            }
            Self::UnknownKey { name, known, .. } => meant(name, known),
            Self::SetNowhere { name, known } | Self::NoSuch { name, known, .. } => {
                meant(name, known)
            }
            Self::UnknownWord(key, word) => {
                if let Kind::Choice(words) = key.kind {
                    meant(word, words)
                } else {
                    None
                }
            }
            Self::NoUnit(_, text) | Self::UnknownUnit(_, Some(text)) => {
                Some(format!("did you mean `\"{text}\"`?"))
            }
            Self::UnknownUnit(key, None) => {
                let is_size = matches!(key.kind, Kind::Size(..));
                Some(format!("the units are {}", if is_size { SIZE_UNITS } else { SPAN_UNITS }))
            }
            Self::Unreadable(_)
            | Self::TooLarge(_)
            | Self::NotText
            | Self::Syntax(_)
            | Self::TooMany(_)
            | Self::SetShape
            | Self::SetThrough(_)
            | Self::NotTable(_)
            | Self::NotTables(_)
            | Self::Missing(_)
            | Self::WrongType(..)
            | Self::Invalid(_)
            | Self::InvalidItem(_)
            | Self::OutOfRange(_)
            | Self::EmptyList(_)
            | Self::Twice(..)
            | Self::LiteralSecret(_)
            | Self::LiteralKey
            | Self::SecretShort(_)
            | Self::SecretUnset(_)
            | Self::SecretUnreadable(_)
            | Self::SecretUnusable
            | Self::UrlCredentials
            | Self::Idle(..)
            | Self::HalfTls(_)
            | Self::PemUnreadable(_)
            | Self::NotPem(_)
            | Self::Unprovable
            | Self::AnonymousWithKeys
            | Self::AnonymousTwice(_)
            | Self::RuleAboutNothing
            | Self::ToolsWithoutServers
            | Self::ActionWithoutEffect
            | Self::MaskedPhrase(_) => self.advice().map(str::to_owned),
        }
    }

    /// Where the first of two things is, of which this is the second.
    pub const fn first(&self) -> Option<Place> {
        if let Self::Twice(_, place) | Self::AnonymousTwice(place) = self {
            return Some(*place);
        }
        None
    }

    /// Whether this is only known because something was not seen: not to be believed where a part
    /// of the text could not be parsed.
    pub(crate) const fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::Missing(_)
                | Self::NoSuch { .. }
                | Self::SetNowhere { .. }
                | Self::Unprovable
                | Self::RuleAboutNothing
                | Self::ToolsWithoutServers
                | Self::ActionWithoutEffect
                | Self::HalfTls(_)
        )
    }
}

impl Mistake {
    /// What to do about a mistake that is always mended the same way.
    fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unreadable(_) => "name a file that this user may read",
            Self::NotText => "save it as UTF-8",
            Self::TooMany(_) => "mend these and check again",
            Self::SetShape => "quote it for the shell: `--set 'caller.alice.in_flight=3'`",
            Self::SetThrough(_) => "set a key of a table, or an entry of a list of tables",
            Self::NotTable(_) => "write it as `[name]` with its keys below",
            Self::NotTables(_) => "write each of them as `[[name]]` with its keys below",
            Self::Missing(Key { name: "version", .. }) => "begin the file with `version = 1`",
            Self::WrongType(_, "a number" | "a date") => "put it in quotes",
            Self::Twice(..) => "rename or remove one of them",
            Self::LiteralSecret(_) => {
                "put it into an environment variable or a file and refer to that; if this file \
                 was shared, revoke the secret"
            }
            Self::LiteralKey => {
                "`ringwall key new` prints a key for the caller and its digest for this file"
            }
            Self::SecretShort(_) => "make one with `openssl rand -hex 32`",
            Self::SecretUnset(_) => "set it where Ringwall is started, or use `\"file:PATH\"`",
            Self::SecretUnreadable(_) | Self::PemUnreadable(_) => {
                "a relative path begins where Ringwall is started"
            }
            Self::SecretUnusable => "it must be one line of visible characters",
            Self::UrlCredentials => "give the secret as `key = \"env:NAME\"`",
            Self::Idle(..) => "remove it, or say what it goes with",
            Self::NotPem(_) => "convert it with `openssl` if it is in DER or PKCS #12",
            Self::Unprovable => "give it `keys`, `certificates`, or `anonymous = true`",
            Self::AnonymousWithKeys => "make two callers of it, or remove one of the two",
            Self::AnonymousTwice(_) => "one caller can be whoever presents no key",
            Self::RuleAboutNothing => {
                "say `models = [\"*\"]`, `servers = [\"*\"]` or `routes = [\"*\"]`"
            }
            Self::ToolsWithoutServers => "say `servers = [\"*\"]` for the tools of every server",
            Self::MaskedPhrase(_) => {
                "flag or block it, or give its family an action of its own: a phrase's beginning \
                 has left before its end is seen"
            }
            Self::ActionWithoutEffect => "say `request = \"mask\"`, `response = \"flag\"` or both",
            Self::TooLarge(_)
            | Self::Syntax(_)
            | Self::SetNowhere { .. }
            | Self::UnknownKey { .. }
            | Self::Missing(_)
            | Self::WrongType(..)
            | Self::Invalid(_)
            | Self::InvalidItem(_)
            | Self::NoUnit(..)
            | Self::UnknownUnit(..)
            | Self::OutOfRange(_)
            | Self::UnknownWord(..)
            | Self::EmptyList(_)
            | Self::NoSuch { .. }
            | Self::HalfTls(_) => return None,
        })
    }
}

impl Faults {
    /// Whether the file could not even be read, so that nothing is known of its content.
    pub fn is_unreadable(&self) -> bool {
        self.list.iter().any(|fault| matches!(fault.mistake, Mistake::Unreadable(_)))
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.list.iter().enumerate() {
            let name = self.sources.get(fault.source).map_or("", |source| &source.name);
            let end = if number == 0 { "" } else { "\n" };
            write!(out, "{end}{name}:{}:{}: {}", fault.line, fault.column, fault.mistake.what())?;
            if !fault.text.is_empty() {
                write!(out, ": `{}`", fault.text)?;
            }
            if let Some(allowed) = fault.mistake.allowed() {
                write!(out, "; allowed: {allowed}")?;
            }
            if let Some(hint) = fault.mistake.hint() {
                write!(out, "; hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Why a file cannot be read, in the words of whoever wrote its name.
fn unread(what: &str, kind: ErrorKind) -> String {
    if kind == ErrorKind::NotFound {
        format!("{what} is not there")
    } else if kind == ErrorKind::PermissionDenied {
        format!("{what} may not be read by this user")
    } else if kind == ErrorKind::IsADirectory {
        format!("{what} is a folder")
    } else {
        format!("{what} cannot be read: {kind}")
    }
}

/// Names that a message lists before it says how many more there are.
const LISTED: usize = 24;

fn listed<T: AsRef<str>>(names: &[T]) -> String {
    if names.is_empty() {
        return "nothing, since there is none".to_owned();
    }
    let shown: Vec<_> =
        names.iter().take(LISTED).map(|name| format!("`{}`", name.as_ref())).collect();
    let more = names.len().saturating_sub(LISTED);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{rest}", shown.join(", "))
}

/// The nearest of the names, if one is near: at most a third of the letters differ.
fn meant<T: AsRef<str>>(name: &str, known: &[T]) -> Option<String> {
    let lower = name.to_lowercase();
    let distance = |other: &T| strsim::damerau_levenshtein(&lower, &other.as_ref().to_lowercase());
    let nearest = known.iter().min_by_key(|other| distance(other))?;
    let most = (name.chars().count() / 3).max(1);
    let begins = |other: &T| name.len() >= 3 && other.as_ref().to_lowercase().starts_with(&lower);
    let chosen = if distance(nearest) <= most {
        nearest
    } else {
        known.iter().find(|other| begins(other))?
    };
    Some(format!("did you mean `{}`?", chosen.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::{listed, meant};

    #[test]
    fn a_near_name_is_offered_and_a_far_one_is_not() {
        let known = ["workers", "pin_from", "requests_per_minute"];
        assert_eq!(meant("worker", &known).unwrap(), "did you mean `workers`?");
        assert_eq!(meant("Workers", &known).unwrap(), "did you mean `workers`?");
        assert_eq!(meant("pin_form", &known).unwrap(), "did you mean `pin_from`?");
        assert_eq!(meant("requests", &known).unwrap(), "did you mean `requests_per_minute`?");
        assert_eq!(meant("colour", &known), None);
        assert_eq!(meant::<&str>("x", &[]), None);
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<_> = (0..30).map(|number| number.to_string()).collect();
        assert!(listed(&names).ends_with("and 6 more"));
        assert_eq!(listed(&["a", "b"]), "`a`, `b`");
    }
}
