//! The text as an own tree: every key and value with its place, in whichever source it stands.
//!
//! TOML's own tree knows one source only, but a value may also come from `--set`. This tree takes
//! both, so that a mistake in either points at the words that the operator wrote.

use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where something stands: bytes of one of the sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which source: 0 is the file, the others are `--set` texts in their order.
    pub source: usize,
    /// Its first byte.
    pub start: usize,
    /// After its last byte.
    pub end: usize,
}

impl Place {
    /// These bytes of that source.
    pub const fn new(source: usize, span: &Range<usize>) -> Self {
        Self { source, start: span.start, end: span.end }
    }
}

/// A value and its place. A table's place is its header.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string.
    Text(String),
    /// A whole number; `None` where it does not fit 64 bits.
    Number(Option<i64>),
    /// A number with a fraction; no key takes one.
    Float,
    /// `true` or `false`.
    Flag(bool),
    /// A date or time, as TOML writes it.
    Date(String),
    /// A list; `[[name]]` tables are one as well.
    List(Vec<Node>),
    /// A table.
    Table(Entries),
}

impl Value {
    /// What a message calls it.
    pub const fn noun(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Number(_) => "a number",
            Self::Float => "a number with a fraction",
            Self::Flag(_) => "true or false",
            Self::Date(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// The keys of a table.
#[derive(Clone, Debug, Default)]
pub struct Entries(pub Vec<Entry>);

impl Entries {
    /// The entry of that name.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.name == name)
    }
}

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub name: String,
    /// Where the key stands.
    pub at: Place,
    /// Its value.
    pub node: Node,
}

/// The tree of a parsed table of that source.
pub fn entries(table: &DeTable<'_>, source: usize, base: usize) -> Entries {
    let entry = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| Entry {
        name: str::to_owned(AsRef::<std::borrow::Cow<'_, str>>::as_ref(name)),
        at: place(name.span(), source, base),
        node: node(value, source, base),
    };
    Entries(table.iter().map(entry).collect())
}

/// The tree of a parsed value; `base` is where its text begins in the source.
pub fn node(value: &Spanned<DeValue<'_>>, source: usize, base: usize) -> Node {
    let converted = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(number) => {
            Value::Number(i64::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Float(_) => Value::Float,
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| node(item, source, base)).collect())
        }
        DeValue::Table(table) => Value::Table(entries(table, source, base)),
    };
    Node { place: place(value.span(), source, base), value: converted }
}

fn place(span: Range<usize>, source: usize, base: usize) -> Place {
    Place { source, start: span.start + base, end: span.end + base }
}
