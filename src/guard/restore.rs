//! Gives the values of a request back where its answer says their pseudonyms: in whole texts and in
//! streams, whatever the pieces, and within JSON in strings.
//!
//! It comes after the masks of an answer, and knows only names that the same exchange has given.

use crate::base::json::escape_into;
use crate::base::splice::Splices;
use crate::base::text::{Form, Text};
use crate::guard::arguments::{Lexer, Unit};
use crate::guard::mask::Masks;
use crate::guard::stream::StreamForm;
use crate::guard::vault::{Lookup, Vault};
use std::ops::Range;

/// Gives values back in one run of text. What could still become a name is held back.
#[derive(Debug)]
pub struct Restorer {
    finder: Finder,
    /// Raw text that has not left, and where it begins.
    raw: String,
    from: usize,
}

impl Restorer {
    /// Begins a run of text.
    pub fn new(form: StreamForm) -> Self {
        Self { finder: Finder::new(form == StreamForm::Json), raw: String::new(), from: 0 }
    }

    /// Takes the next piece and appends what may leave to `out`.
    pub fn push(&mut self, text: &str, vault: &Vault, out: &mut String) {
        if !vault.has_own() {
            out.push_str(text);
            return;
        }
        self.raw.push_str(text);
        let mut found = Vec::new();
        self.finder.take(text, vault, &mut found);
        self.release(found, out);
    }

    /// The text has ended: appends what was still held back.
    pub fn finish(&mut self, vault: &Vault, out: &mut String) {
        let mut found = Vec::new();
        self.finder.finish(vault, &mut found);
        self.release(found, out);
    }

    fn release(&mut self, found: Vec<Given>, out: &mut String) {
        let (mut sent, from) = (self.from, self.from);
        for Given { span, value } in found {
            out.push_str(self.raw.get(sent - from..span.start - from).unwrap_or_default());
            out.push_str(&self.finder.written(value));
            sent = span.end;
        }
        let until = self.finder.decided().max(sent);
        out.push_str(self.raw.get(sent - from..until - from).unwrap_or_default());
        self.raw.drain(..until - from);
        self.from = until;
    }
}

/// Gives values back in the text of the body that it was read from.
pub fn restore(raw: &[u8], text: &Text, vault: &Vault, splices: &mut Splices) {
    if !vault.has_own() {
        return;
    }
    for segment in text.segments() {
        let said = text.joined().get(segment.at.clone()).unwrap_or_default();
        let is_json = matches!(segment.source.form, Form::PlainJson | Form::EscapedJson);
        let may_name = said.contains('[') || (is_json && said.contains('\\'));
        if !may_name {
            continue;
        }
        let (mut finder, mut found) = (Finder::new(is_json), Vec::new());
        finder.take(said, vault, &mut found);
        finder.finish(vault, &mut found);
        let mut masks = Masks::new(segment, raw);
        for Given { span, value } in found {
            masks.write_value(&span, &finder.written(value), splices);
        }
    }
}

/// A value that goes where its name stands.
struct Given {
    /// Where, in the text.
    span: Range<usize>,
    value: String,
}

/// Looks for names character by character. A name holds one `[`, at its beginning.
#[derive(Debug)]
struct Finder {
    /// For JSON: undoes escapes.
    lexer: Option<Lexer>,
    /// What was taken of a name that has begun.
    begun: String,
    /// Where that begins.
    start: usize,
    /// How far all is taken.
    taken: usize,
}

impl Finder {
    fn new(is_json: bool) -> Self {
        let lexer = is_json.then(Lexer::default);
        Self { lexer, begun: String::new(), start: 0, taken: 0 }
    }

    /// Up to where no name can begin any more.
    const fn decided(&self) -> usize {
        if self.begun.is_empty() { self.taken } else { self.start }
    }

    /// How a value is written in the text.
    fn written(&self, value: String) -> String {
        if self.lexer.is_none() { value } else { escaped(&value) }
    }

    fn take(&mut self, text: &str, vault: &Vault, found: &mut Vec<Given>) {
        let mut units = Vec::new();
        match &mut self.lexer {
            Some(lexer) => text.chars().for_each(|next| lexer.take(next, &mut units)),
            None => units.extend(text.chars().map(Unit::plain)),
        }
        for unit in units {
            self.unit(unit, vault, found);
        }
    }

    fn finish(&mut self, vault: &Vault, found: &mut Vec<Given>) {
        let mut units = Vec::new();
        if let Some(lexer) = &mut self.lexer {
            lexer.finish(&mut units);
        }
        for unit in units {
            self.unit(unit, vault, found);
        }
        self.begun.clear();
    }

    fn unit(&mut self, unit: Unit, vault: &Vault, found: &mut Vec<Given>) {
        let at = self.taken;
        self.taken += unit.raw;
        if unit.bare || unit.letter == '[' {
            self.begun.clear();
        }
        if unit.bare || (self.begun.is_empty() && unit.letter != '[') {
            return;
        }
        if self.begun.is_empty() {
            self.start = at;
        }
        self.begun.push(unit.letter);
        match vault.look_up(&self.begun) {
            Lookup::Begun => {}
            Lookup::None => self.begun.clear(),
            Lookup::Value(value) => {
                found.push(Given { span: self.start..self.taken, value: value.to_owned() });
                self.begun.clear();
            }
        }
    }
}

/// As it stands between the quotes of a JSON string.
pub fn escaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    escape_into(text, &mut out);
    // What was text before is text after: escapes are ASCII.
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Restorer, restore};
    use crate::base::json::Reader;
    use crate::base::splice::Splices;
    use crate::base::text::{Channel, Form, Place, Source, Text, Trust};
    use crate::guard::stream::StreamForm;
    use crate::guard::vault::tests::vault;
    use crate::guard::vault::{Purpose, Vault};
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    const VALUES: [&str; 4] = ["a@b.org", "say \"hi\" \\ there", "one\ntwo", "é[x]"];

    fn named() -> (Vault, Vec<String>) {
        let mut vault = vault();
        let name = |value| vault.name("[EMAIL]", value, Purpose::Pseudonym).unwrap();
        let names = VALUES.map(name).to_vec();
        (vault, names)
    }

    fn streamed(vault: &Vault, form: StreamForm, text: &str, lengths: &[usize]) -> String {
        let (mut restorer, mut out) = (Restorer::new(form), String::new());
        let mut letters = text.chars().peekable();
        for length in lengths.iter().copied().cycle() {
            if letters.peek().is_none() {
                break;
            }
            let piece: String = letters.by_ref().take(length.max(1)).collect();
            restorer.push(&piece, vault, &mut out);
        }
        restorer.finish(vault, &mut out);
        out
    }

    /// The content of the only string of a body.
    fn whole(vault: &Vault, is_json: bool, said: &str) -> String {
        let raw = serde_json::to_string(said).unwrap();
        let document = Reader::default().read(raw.as_bytes()).unwrap();
        let form = match (document.root().is_escaped(), is_json) {
            (false, false) => Form::PlainString,
            (true, false) => Form::EscapedString,
            (false, true) => Form::PlainJson,
            (true, true) => Form::EscapedJson,
        };
        let mut text = Text::default();
        let source = Source { raw: 1..raw.len() - 1, form };
        let place = Place { path: "choices[#].message.content", indexes: [0, 0] };
        text.push(said, source, Channel::Assistant, Trust::Upstream, place);
        let mut splices = Splices::default();
        restore(raw.as_bytes(), &text, vault, &mut splices);
        serde_json::from_slice(&splices.apply(raw.as_bytes())).unwrap()
    }

    #[test]
    fn a_name_in_arguments_becomes_a_value_with_the_escapes_of_its_place() {
        let (vault, names) = named();
        for (name, value) in names.iter().zip(VALUES) {
            let inner = serde_json::json!({ "to": format!("<{name}>") }).to_string();
            let wanted = serde_json::json!({ "to": format!("<{value}>") }).to_string();
            assert_eq!(whole(&vault, true, &inner), wanted);
            assert_eq!(streamed(&vault, StreamForm::Json, &inner, &[1]), wanted);
            // However the model writes the letters of the name.
            let odd = inner.replace("[E", "\\u005b\\u0045");
            assert_eq!(streamed(&vault, StreamForm::Json, &odd, &[3]), wanted);
            assert_eq!(whole(&vault, true, &odd), wanted);
        }
    }

    #[test]
    fn what_is_no_name_of_this_exchange_stays() {
        let (vault, names) = named();
        let said = "[EMAIL_] [[EMAIL] [EMAIL_bcdfghjkl] [1] [EMAIL_";
        assert_eq!(whole(&vault, false, said), said);
        let said = format!("{said} {}", names[0].trim_end_matches(']'));
        assert_eq!(streamed(&vault, StreamForm::Text, &said, &[1]), said);
        let others = Vault::default();
        assert_eq!(streamed(&others, StreamForm::Text, &names[0], &[1]), names[0]);
    }

    proptest! {
        #[test]
        fn any_text_with_names_gets_its_values_at_any_split(
            parts in prop::collection::vec((any::<String>(), 0_usize..8), 0..6),
            lengths in prop::collection::vec(1_usize..7, 1..5),
        ) {
            let (vault, names) = named();
            let (mut said, mut wanted) = (String::new(), String::new());
            for (text, which) in &parts {
                // A bracket of its own could make a name of what was none.
                let text = text.replace('[', "(");
                said.extend([&*text, names.get(*which).map_or("", |name| name)]);
                wanted.extend([&*text, VALUES.get(*which).copied().unwrap_or("")]);
            }
            prop_assert_eq!(&whole(&vault, false, &said), &wanted);
            prop_assert_eq!(&streamed(&vault, StreamForm::Text, &said, &lengths), &wanted);
            let inner = serde_json::json!({ "a": [said, 1], "b": { "c": said } }).to_string();
            let wanted = serde_json::json!({ "a": [wanted, 1], "b": { "c": wanted } }).to_string();
            let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            let given = streamed(&vault, StreamForm::Json, &inner, &lengths);
            prop_assert_eq!(read(&given), read(&wanted));
            prop_assert_eq!(read(&whole(&vault, true, &inner)), read(&wanted));
        }
    }
}
