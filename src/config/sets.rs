//! `--set path.to.key=value`: lays one value over the tree, with its own place.

use crate::config::fault::Mistake;
use crate::config::keys;
use crate::config::tree::{self, Entries, Entry, Node, Place, Value};
use toml::de::DeValue;

/// A `--set` that cannot be laid over the tree, and where it says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Where in the text.
    pub place: Place,
    /// Why.
    pub mistake: Mistake,
}

/// Lays a text's value over the tree.
pub fn apply(top: &mut Entries, source: usize, text: &str) -> Result<(), Box<Refused>> {
    let whole = Place::new(source, &(0..text.len()));
    let (steps, from) =
        split(text, source).ok_or_else(|| Refused::new(whole, Mistake::SetShape))?;
    put(top, "", &steps, value(text, from, source)?)
}

/// One part of a path.
#[derive(Clone, Copy, Debug)]
struct Step<'a> {
    name: &'a str,
    at: Place,
}

impl Refused {
    #[expect(clippy::unnecessary_box_returns, reason = "every result holds it boxed")]
    fn new(place: Place, mistake: Mistake) -> Box<Self> {
        Box::new(Self { place, mistake })
    }
}

fn put(
    table: &mut Entries,
    path: &str,
    steps: &[Step<'_>],
    value: Node,
) -> Result<(), Box<Refused>> {
    let Some((first, rest)) = steps.split_first() else { return Ok(()) };
    let below = below(path, first.name);
    let position = table.0.iter().position(|entry| entry.name == first.name);
    if rest.is_empty() {
        let entry = Entry { name: first.name.to_owned(), at: first.at, node: value };
        match position.and_then(|position| table.0.get_mut(position)) {
            Some(old) => *old = entry,
            None => table.0.push(entry),
        }
        return Ok(());
    }
    if position.is_none() {
        let is_list = keys::table(&below).is_some_and(|table| table.many && !table.is_named());
        let value =
            if is_list { Value::List(Vec::new()) } else { Value::Table(Entries::default()) };
        let node = Node { place: first.at, value };
        table.0.push(Entry { name: first.name.to_owned(), at: first.at, node });
    }
    let position = position.unwrap_or_else(|| table.0.len().saturating_sub(1));
    let Some(entry) = table.0.get_mut(position) else { return Ok(()) };
    match &mut entry.node.value {
        Value::Table(inner) => put(inner, &below, rest, value),
        Value::List(items) => put_item(items, &below, rest, value),
        Value::Text(_) | Value::Number(_) | Value::Float | Value::Flag(_) | Value::Date(_) => {
            Err(Refused::new(first.at, Mistake::SetThrough(below)))
        }
    }
}

/// The path of what stands there. Of a table whose tables have names of their own the path ends
/// in a slash where the name was said.
fn below(path: &str, name: &str) -> String {
    let is_named = keys::table(path).is_some_and(keys::Table::is_named);
    match path.strip_suffix('/') {
        _ if path.is_empty() => name.to_owned(),
        _ if is_named => format!("{path}/"),
        Some(table) => format!("{table}.{name}"),
        None => format!("{path}.{name}"),
    }
}

/// An entry of a list is named by its `name` (a guard action: its `rule`) or by its number; the
/// number after the last makes a new one.
fn put_item(
    items: &mut Vec<Node>,
    path: &str,
    steps: &[Step<'_>],
    value: Node,
) -> Result<(), Box<Refused>> {
    let Some((which, rest)) = steps.split_first() else { return Ok(()) };
    let by_name = items.iter().position(|item| name_of(item) == Some(which.name));
    let position = by_name.or_else(|| which.name.parse().ok()).filter(|at| *at <= items.len());
    let Some(position) = position else {
        let named = items.iter().filter_map(name_of).map(str::to_owned);
        let numbers = (0..=items.len()).map(|number| number.to_string());
        let known = named.chain(numbers).collect();
        let name = which.name.to_owned();
        return Err(Refused::new(which.at, Mistake::SetNowhere { name, known }));
    };
    if position == items.len() {
        items.push(Node { place: which.at, value: Value::Table(Entries::default()) });
    }
    let Some(item) = items.get_mut(position) else { return Ok(()) };
    if rest.is_empty() {
        *item = value;
        return Ok(());
    }
    let Value::Table(inner) = &mut item.value else {
        return Err(Refused::new(which.at, Mistake::SetThrough(format!("{path}.{}", which.name))));
    };
    put(inner, path, rest, value)
}

fn name_of(item: &Node) -> Option<&str> {
    let Value::Table(entries) = &item.value else { return None };
    let entry = entries.find("name").or_else(|| entries.find("rule"))?;
    if let Value::Text(name) = &entry.node.value { Some(name) } else { None }
}

/// The parts of a path, and where the value begins.
type Split<'a> = (Vec<Step<'a>>, usize);

/// The parts of the path, and where the value begins. A part in quotes may hold dots and equals
/// signs.
fn split(text: &str, source: usize) -> Option<Split<'_>> {
    let mut steps = Vec::new();
    let mut start = 0;
    loop {
        let rest = text.get(start..)?;
        let quote = rest.chars().next().filter(|first| matches!(first, '"' | '\''));
        let (name, end) = if let Some(quote) = quote {
            let inner = rest.get(1..)?;
            let length = inner.find(quote)?;
            (inner.get(..length)?, start + length + 2)
        } else {
            let length = rest.find(['.', '='])?;
            (rest.get(..length)?.trim(), start + length)
        };
        if name.is_empty() {
            return None;
        }
        steps.push(Step { name, at: Place::new(source, &(start..end)) });
        match text.as_bytes().get(end)? {
            b'.' => start = end + 1,
            b'=' => return Some((steps, end + 1)),
            _ => return None,
        }
    }
}

/// The value: TOML where it is, else the words as they stand. What begins like a list, a table or
/// a quoted string is meant as TOML, so its mistakes are told.
fn value(text: &str, from: usize, source: usize) -> Result<Node, Box<Refused>> {
    let words = text.get(from..).unwrap_or_default();
    let lead = words.len() - words.trim_start().len();
    let (base, words) = (from + lead, words.trim());
    match DeValue::parse(words) {
        Ok(value) => Ok(tree::node(&value, source, base)),
        Err(error) if words.starts_with(['[', '{', '"', '\'']) => {
            let span = error.span().unwrap_or(0..words.len());
            let place = Place::new(source, &(span.start + base..span.end + base));
            Err(Refused::new(place, Mistake::Syntax(error.message().to_owned())))
        }
        Err(_) => Ok(Node {
            place: Place::new(source, &(base..base + words.len())),
            value: Value::Text(words.to_owned()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{apply, split};
    use crate::config::fault::Mistake;
    use crate::config::tree::{Entries, Value, entries};
    use proptest::prelude::{any, prop_assert, proptest};
    use toml::de::DeTable;

    fn tree(text: &str) -> Entries {
        entries(DeTable::parse(text).unwrap().get_ref(), 0, 0)
    }

    /// The value at a path of names and numbers, printed.
    fn at(top: &Entries, path: &str) -> String {
        let mut value = Value::Table(top.clone());
        for step in path.split('.') {
            if let Value::List(items) = &value {
                value = items[step.parse::<usize>().unwrap()].value.clone();
            } else if let Value::Table(table) = &value {
                value = table.find(step).unwrap().node.value.clone();
            }
        }
        format!("{value:?}")
    }

    #[test]
    fn values_are_toml_and_bare_words_are_strings() {
        let mut top = tree("[gateway]\nworkers = 1\n");
        for set in [
            "gateway.workers=2",
            "gateway.drain=30s",
            "gateway.listen=[\"a\"]",
            "guard.enabled=false",
            "gateway.admin = 127.0.0.1:9",
        ] {
            apply(&mut top, 1, set).unwrap();
        }
        assert_eq!(at(&top, "gateway.workers"), "Number(Some(2))");
        assert_eq!(at(&top, "gateway.drain"), "Text(\"30s\")");
        assert_eq!(at(&top, "guard.enabled"), "Flag(false)");
        assert_eq!(at(&top, "gateway.listen.0"), "Text(\"a\")");
        assert_eq!(at(&top, "gateway.admin"), "Text(\"127.0.0.1:9\")");
    }

    #[test]
    fn entries_are_found_by_name_or_number_and_the_next_is_new() {
        let mut top = tree("[[caller]]\nname = \"alice\"\n[[caller]]\nname = \"b.c\"\n");
        for set in [
            "caller.alice.in_flight=3",
            "caller.'b.c'.in_flight=4",
            "caller.2.name=dan",
            "caller.dan.in_flight=5",
            "guard.action.0.rule='pii.*'",
            "guard.profile.x.uncovered=flag",
            "guard.profile.x.action.0.rule='pii.*'",
        ] {
            apply(&mut top, 1, set).unwrap();
        }
        assert_eq!(at(&top, "caller.0.in_flight"), "Number(Some(3))");
        assert_eq!(at(&top, "caller.1.in_flight"), "Number(Some(4))");
        assert_eq!(at(&top, "caller.2.in_flight"), "Number(Some(5))");
        assert_eq!(at(&top, "guard.action.0.rule"), "Text(\"pii.*\")");
        assert_eq!(at(&top, "guard.profile.x.uncovered"), "Text(\"flag\")");
        assert_eq!(at(&top, "guard.profile.x.action.0.rule"), "Text(\"pii.*\")");
    }

    #[test]
    fn what_cannot_be_set_is_refused_at_its_place() {
        let mut top = tree("version = 1\n[[caller]]\nname = \"alice\"\n");
        let mut refusal = |set: &str| {
            let refused = apply(&mut top, 1, set).unwrap_err();
            (refused.place.start..refused.place.end, refused.mistake)
        };
        assert_eq!(refusal("workers").1, Mistake::SetShape);
        assert_eq!(refusal("a..b=1").1, Mistake::SetShape);
        assert_eq!(refusal("version.x=1"), (0..7, Mistake::SetThrough("version".to_owned())));
        let (span, mistake) = refusal("caller.bob.user=x");
        assert!(matches!(mistake, Mistake::SetNowhere { .. }) && span == (7..10));
        assert!(matches!(refusal("caller.9.user=x").1, Mistake::SetNowhere { .. }));
        let (span, mistake) = refusal("gateway.listen=[1");
        assert!(matches!(mistake, Mistake::Syntax(_)) && span.start >= 15);
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_splitting(text in any::<String>()) {
            if let Some((steps, from)) = split(&text, 1) {
                prop_assert!(!steps.is_empty() && text.as_bytes()[from - 1] == b'=');
            }
        }
    }
}
