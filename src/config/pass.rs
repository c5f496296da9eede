//! One pass over the tree: typed readings of its keys, and every mistake on the way.
//!
//! A reading that fails notes its mistake and yields nothing, so that the pass goes on.

use crate::base::map::Map;
use crate::config::fault::Mistake;
use crate::config::keys::{Absent, Key, TABLES, TOP, Table, UNDESCRIBED, needed};
use crate::config::kinds::Kind;
use crate::config::tree::{Entries, Node, Place, Value};
use crate::config::units::{self, UnitFault};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A look-up of an environment variable.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A look-up of a file's content.
pub type Files<'a> = dyn Fn(&Path) -> io::Result<Vec<u8>> + 'a;

/// What the pass has found so far, and where it looks secrets and files up.
pub struct Pass<'a> {
    /// The environment.
    pub environment: &'a Environment<'a>,
    /// The files.
    pub read: &'a Files<'a>,
    /// The mistakes, in the order they were found.
    pub mistakes: Vec<(Place, Mistake)>,
    /// What must not be shown.
    pub hidden: Vec<Place>,
}

/// One table of the file: its description, its place and its keys.
#[derive(Clone, Copy, Debug)]
pub struct Section<'t> {
    table: &'static Table,
    /// Its header; the top of the file where it is not there.
    pub place: Place,
    entries: Option<&'t Entries>,
}

/// A table and the name that the file gives it.
pub type Named<'t> = (Arc<str>, Section<'t>);

/// A reading and where it stands.
#[derive(Clone, Debug)]
pub struct Spot<T> {
    /// Where.
    pub place: Place,
    /// What.
    pub value: T,
}

impl std::fmt::Debug for Pass<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Pass").field("mistakes", &self.mistakes).finish_non_exhaustive()
    }
}

impl<'t> Section<'t> {
    /// The description of one of its keys.
    pub fn key(&self, name: &str) -> &'static Key {
        self.table.key(name).unwrap_or(&UNDESCRIBED)
    }

    /// The value of one of its keys, if it is there.
    pub fn node(&self, name: &str) -> Option<&'t Node> {
        Some(&self.entries?.find(name)?.node)
    }

    /// Where the key itself stands; the header where it is not there.
    pub fn at(&self, name: &str) -> Place {
        let entry = self.entries.and_then(|entries| entries.find(name));
        entry.map_or(self.place, |entry| entry.at)
    }

    /// Whether the file says this key.
    pub fn has(&self, name: &str) -> bool {
        self.node(name).is_some()
    }
}

impl Pass<'_> {
    /// Notes a mistake, if there are not far too many already.
    pub fn note(&mut self, place: Place, mistake: Mistake) {
        if self.mistakes.len() < MISTAKES_MOST {
            self.mistakes.push((place, mistake));
        }
    }

    /// The top of the file.
    pub fn top<'t>(&mut self, entries: &'t Entries) -> Section<'t> {
        self.section_of(&TOP, Place::default(), entries)
    }

    /// The table of that path; an empty one where the file has none.
    pub fn section<'t>(&mut self, above: &Section<'t>, table: &'static Table) -> Section<'t> {
        let empty = Section { table, place: above.place, entries: None };
        let Some(node) = above.node(last(table.path)) else { return empty };
        let Value::Table(entries) = &node.value else {
            self.note(node.place, Mistake::NotTable(table.path.to_owned()));
            self.hide(node);
            return empty;
        };
        self.section_of(table, node.place, entries)
    }

    /// The tables of that path, in the order of the file.
    pub fn sections<'t>(&mut self, above: &Section<'t>, table: &'static Table) -> Vec<Section<'t>> {
        let Some(node) = above.node(last(table.path)) else { return Vec::new() };
        let Value::List(items) = &node.value else {
            self.note(node.place, Mistake::NotTables(table.path.to_owned()));
            self.hide(node);
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(items.len());
        for item in items {
            if let Value::Table(entries) = &item.value {
                sections.push(self.section_of(table, item.place, entries));
            } else {
                self.note(item.place, Mistake::NotTables(table.path.to_owned()));
                self.hide(item);
            }
        }
        sections
    }

    /// The tables of that path that have names of their own, in the order of the file.
    pub fn named<'t>(&mut self, above: &Section<'t>, table: &'static Table) -> Vec<Named<'t>> {
        let Some(node) = above.node(last(table.path)) else { return Vec::new() };
        let Value::Table(all) = &node.value else {
            self.note(node.place, Mistake::NotTable(table.header()));
            self.hide(node);
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(all.0.len());
        for entry in &all.0 {
            let Value::Table(entries) = &entry.node.value else {
                self.note(entry.node.place, Mistake::NotTable(table.header()));
                self.hide(&entry.node);
                continue;
            };
            if !is_name(&entry.name, Kind::Name) {
                self.note(entry.at, Mistake::Invalid(&NAMED));
            }
            sections.push((entry.at, Arc::from(&*entry.name), entries));
        }
        // A table of TOML has no order of its own.
        sections.sort_by_key(|(place, ..)| *place);
        let of = |(place, name, entries)| (name, self.section_of(table, place, entries));
        sections.into_iter().map(of).collect()
    }

    fn section_of<'t>(
        &mut self,
        table: &'static Table,
        place: Place,
        entries: &'t Entries,
    ) -> Section<'t> {
        for entry in &entries.0 {
            let name = &*entry.name;
            if table.key(name).is_some() || table.children().any(|(child, _)| child == name) {
                continue;
            }
            let known = table.keys.iter().map(|key| key.name);
            let known = known.chain(table.children().map(|(child, _)| child)).collect();
            let mut others = TABLES.iter().filter(|other| other.key(name).is_some());
            let elsewhere = match (others.next(), others.next()) {
                (Some(only), None) => Some(format!("`{}`", only.header())),
                _ => None,
            };
            let name = name.to_owned();
            self.note(entry.at, Mistake::UnknownKey { name, table, known, elsewhere });
            if !matches!(entry.node.value, Value::Number(_) | Value::Flag(_)) {
                self.hide(&entry.node);
            }
        }
        for key in table.keys {
            if key.absent == Absent::Refused && entries.find(key.name).is_none() {
                self.note(place, Mistake::Missing(key));
            }
        }
        Section { table, place, entries: Some(entries) }
    }

    /// Keeps every value below this from being shown.
    pub fn hide(&mut self, node: &Node) {
        match &node.value {
            Value::List(items) => items.iter().for_each(|item| self.hide(item)),
            Value::Table(entries) => entries.0.iter().for_each(|entry| self.hide(&entry.node)),
            Value::Text(_) | Value::Number(_) | Value::Float | Value::Flag(_) | Value::Date(_) => {
                self.hidden.push(node.place);
            }
        }
    }

    /// Notes that a value is not of the key's type.
    pub fn wrong_type(&mut self, node: &Node, key: &'static Key) {
        self.note(node.place, Mistake::WrongType(key, node.value.noun()));
        if key.kind.is_sensitive() {
            self.hide(node);
        }
    }

    /// The text of a key that takes one.
    pub fn text<'t>(&mut self, section: &Section<'t>, name: &str) -> Option<Spot<&'t str>> {
        let (key, node) = (section.key(name), section.node(name)?);
        let Value::Text(value) = &node.value else {
            self.wrong_type(node, key);
            return None;
        };
        let fits = if matches!(key.kind, Kind::Name | Kind::ModelName) {
            is_name(value, key.kind)
        } else {
            !value.is_empty() && (key.kind != Kind::Text || value.chars().count() <= TEXT_MOST)
        };
        if !fits {
            self.note(node.place, Mistake::Invalid(key));
            return None;
        }
        Some(Spot { place: node.place, value })
    }

    /// A text to share.
    pub fn shared(&mut self, section: &Section<'_>, name: &str) -> Option<Arc<str>> {
        self.text(section, name).map(|spot| Arc::from(spot.value))
    }

    /// The path of a key; its default where it is absent.
    pub fn path(&mut self, section: &Section<'_>, name: &str) -> Option<Spot<PathBuf>> {
        if !section.has(name) {
            let usual = usual(section.key(name)).trim_matches('"');
            let value = PathBuf::from(usual);
            return (!usual.is_empty()).then_some(Spot { place: section.place, value });
        }
        let spot = self.text(section, name)?;
        Some(Spot { place: spot.place, value: PathBuf::from(spot.value) })
    }

    /// The texts of a key that takes a list of them. Nothing where the key is absent.
    pub fn texts<'t>(&mut self, section: &Section<'t>, name: &str) -> Vec<Spot<&'t str>> {
        let (key, Some(node)) = (section.key(name), section.node(name)) else {
            return Vec::new();
        };
        let Value::List(items) = &node.value else {
            self.wrong_type(node, key);
            return Vec::new();
        };
        if items.is_empty() {
            self.note(node.place, Mistake::EmptyList(key));
        }
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            if let Value::Text(value) = &item.value {
                texts.push(Spot { place: item.place, value: &**value });
                continue;
            }
            self.note(item.place, Mistake::InvalidItem(key));
            if key.kind.is_sensitive() {
                self.hide(item);
            }
        }
        texts
    }

    /// The flag of a key that has a default.
    pub fn flag(&mut self, section: &Section<'_>, name: &str) -> bool {
        let key = section.key(name);
        let usual = usual(key) == "true";
        let Some(node) = section.node(name) else { return usual };
        if let Value::Flag(flag) = node.value {
            return flag;
        }
        self.wrong_type(node, key);
        usual
    }

    /// The whole number of a key; its default where it is absent.
    pub fn count(&mut self, section: &Section<'_>, name: &str) -> Option<u64> {
        let key = section.key(name);
        let Some(node) = section.node(name) else { return usual(key).parse().ok() };
        let Value::Number(number) = node.value else {
            self.wrong_type(node, key);
            return None;
        };
        let Kind::Count(least, most) = key.kind else {
            self.note(node.place, Mistake::Invalid(key));
            return None;
        };
        let fitting = number.and_then(|number| u64::try_from(number).ok());
        let fitting = fitting.filter(|number| (least..=most).contains(number));
        if fitting.is_none() {
            self.note(node.place, Mistake::OutOfRange(key));
        }
        fitting
    }

    /// The whole number of a key as an index or capacity.
    pub fn capacity(&mut self, section: &Section<'_>, name: &str) -> usize {
        self.count(section, name).and_then(|count| usize::try_from(count).ok()).unwrap_or_default()
    }

    /// The whole number of a key as a limit.
    pub fn limit(&mut self, section: &Section<'_>, name: &str) -> Option<u32> {
        self.count(section, name).and_then(|count| u32::try_from(count).ok())
    }

    /// The size of a key in bytes; its default where it is absent.
    pub fn size(&mut self, section: &Section<'_>, name: &str) -> u64 {
        let Kind::Size(least, most) = section.key(name).kind else { return 0 };
        self.quantity(section, name, units::size, (least, most))
    }

    /// The size of a key as a buffer's bound.
    pub fn bytes(&mut self, section: &Section<'_>, name: &str) -> usize {
        usize::try_from(self.size(section, name)).unwrap_or(usize::MAX)
    }

    /// The duration of a key; its default where it is absent.
    pub fn span(&mut self, section: &Section<'_>, name: &str) -> Duration {
        let Kind::Span(least, most) = section.key(name).kind else { return Duration::ZERO };
        self.quantity(section, name, units::duration, (least, most))
    }

    fn quantity<T: Default + PartialOrd>(
        &mut self,
        section: &Section<'_>,
        name: &str,
        parse: Parse<T>,
        (least, most): (&str, &str),
    ) -> T {
        let key = section.key(name);
        let Some(node) = section.node(name) else {
            return parse(usual(key).trim_matches('"')).unwrap_or_default();
        };
        // A number without a unit was probably meant in the unit of the default.
        let unit = usual(key).trim_matches(|each: char| each.is_ascii_digit() || each == '"');
        let is_low = |value: &T| parse(least).is_ok_and(|least| *value < least);
        let is_high = |value: &T| parse(most).is_ok_and(|most| *value > most);
        let mistake = match &node.value {
            Value::Text(text) => match parse(text) {
                Ok(value) if !is_low(&value) && !is_high(&value) => return value,
                Ok(_) | Err(UnitFault::TooLarge) => Mistake::OutOfRange(key),
                Err(UnitFault::NoNumber) => Mistake::Invalid(key),
                Err(UnitFault::NoUnit(number)) => Mistake::NoUnit(key, format!("{number}{unit}")),
                Err(UnitFault::UnknownUnit(meant)) => Mistake::UnknownUnit(key, meant),
            },
            Value::Number(Some(number @ 0..)) => Mistake::NoUnit(key, format!("{number}{unit}")),
            Value::Number(_)
            | Value::Float
            | Value::Flag(_)
            | Value::Date(_)
            | Value::List(_)
            | Value::Table(_) => Mistake::WrongType(key, node.value.noun()),
        };
        self.note(node.place, mistake);
        T::default()
    }

    /// One of a key's few words.
    pub fn choice(&mut self, section: &Section<'_>, name: &str) -> Option<&'static str> {
        let (key, spot) = (section.key(name), self.text(section, name)?);
        let Kind::Choice(words) = key.kind else { return None };
        let chosen = words.iter().find(|word| **word == spot.value);
        if chosen.is_none() {
            self.note(spot.place, Mistake::UnknownWord(key, spot.value.to_owned()));
        }
        chosen.copied()
    }
}

/// Reads a quantity.
type Parse<T> = fn(&str) -> Result<T, UnitFault>;

/// The names of one sort that were seen, each with where it was first.
#[derive(Debug, Default)]
pub struct Names {
    seen: Map<Arc<str>, Spot<usize>>,
    order: Vec<String>,
}

impl Names {
    /// Remembers a name, or notes that it is there twice. `index` is what it stands for.
    pub fn add(&mut self, pass: &mut Pass<'_>, what: &'static str, name: &str, at: (Place, usize)) {
        if let Some(first) = self.seen.get(name) {
            pass.note(at.0, Mistake::Twice(what, first.place));
        } else {
            self.seen.insert(Arc::from(name), Spot { place: at.0, value: at.1 });
            self.order.push(name.to_owned());
        }
    }

    /// What a name stands for, or a note that there is no such.
    pub fn find(
        &self,
        pass: &mut Pass<'_>,
        what: &'static str,
        spot: &Spot<&str>,
    ) -> Option<usize> {
        let found = self.seen.get(spot.value).map(|found| found.value);
        if found.is_none() {
            self.refuse(pass, what, spot);
        }
        found
    }

    /// Notes that there is no such name.
    pub fn refuse(&self, pass: &mut Pass<'_>, what: &'static str, spot: &Spot<&str>) {
        let known = self.order.iter().take(KNOWN_MOST).cloned().collect();
        pass.note(spot.place, Mistake::NoSuch { what, name: spot.value.to_owned(), known });
    }

    /// Whether the name is there.
    pub fn has(&self, name: &str) -> bool {
        self.seen.contains_key(name)
    }

    /// Whether any name begins so.
    pub fn any_begins(&self, prefix: &str) -> bool {
        self.order.iter().any(|name| name.starts_with(prefix))
    }
}

/// The name in a table's own header.
static NAMED: Key = needed("NAME", Kind::Name, "The name in the header of a table.");

/// Mistakes that are kept; fewer are shown.
const MISTAKES_MOST: usize = 1000;
/// Names that a mistake keeps for its hint.
const KNOWN_MOST: usize = 1000;
/// Characters of a free text.
const TEXT_MOST: usize = 256;
/// Characters of a name.
const NAME_MOST: usize = 64;
/// Characters of a model's name, which may hold an organisation's.
const MODEL_NAME_MOST: usize = 128;

/// Whether a text can be a name of that kind.
pub fn is_name(text: &str, kind: Kind) -> bool {
    let is_model = kind == Kind::ModelName;
    let most = if is_model { MODEL_NAME_MOST } else { NAME_MOST };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.@:".contains(&byte);
    (1..=most).contains(&text.len())
        && text.bytes().all(|byte| fits(byte) || (is_model && byte == b'/'))
}

/// What the file would say if it said what is so anyway.
fn usual(key: &Key) -> &'static str {
    match key.absent {
        Absent::Is(text, _) => text,
        Absent::Refused | Absent::Nothing => "",
    }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}
