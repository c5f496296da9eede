//! Reads JSON text in pieces, such as a tool call's arguments, as far as masking needs.
//!
//! It tells strings from what stands outside of them and undoes escapes, so that a value cannot
//! hide behind `\u0034`, and keeps the way back to the raw text. Text that is not JSON passes as it
//! is: this decides where to look and refuses nothing.

use std::ops::Range;

/// One character as a reader of the JSON would see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The character.
    pub letter: char,
    /// How many raw bytes it is written with.
    pub raw: usize,
    /// Whether it stands outside of strings.
    pub bare: bool,
    /// Whether it is part of the name of an object's member.
    pub key: bool,
}

impl Unit {
    /// A character of a text that is no JSON.
    pub const fn plain(letter: char) -> Self {
        Self { letter, raw: letter.len_utf8(), bare: false, key: false }
    }
}

/// Where in a JSON text one is.
#[derive(Debug, Default)]
pub struct Lexer {
    inside: bool,
    /// An escape that is not complete, with its backslash.
    escape: String,
    nesting: Nesting,
}

/// What one is within, as far as it tells names of members from values.
#[derive(Debug, Default)]
struct Nesting {
    /// A bit for each level, the innermost last: whether it is an object.
    objects: u64,
    depth: u32,
    /// Whether the next string is the name of a member, or this one is.
    key: bool,
}

impl Nesting {
    /// A character outside of strings.
    fn take(&mut self, next: char) {
        match next {
            '{' | '[' => {
                self.depth = self.depth.saturating_add(1);
                self.objects = (self.objects << 1) | u64::from(next == '{');
                self.key = next == '{';
            }
            '}' | ']' => {
                self.depth = self.depth.saturating_sub(1);
                // Deeper than 64 levels what comes back is unknown, and taken for an object.
                self.objects = (self.objects >> 1) | (1 << 63);
                self.key = false;
            }
            ',' => self.key = self.depth > 0 && self.objects & 1 == 1,
            ':' => self.key = false,
            _ => {}
        }
    }
}

/// The way from offsets in decoded text back to the raw text, as far as still needed.
#[derive(Debug)]
pub struct RawMap {
    /// From each decoded offset on, where raw and decoded text run in step from there.
    steps: Vec<(usize, usize)>,
    decoded: usize,
    raw: usize,
    /// Where names of members are, decoded.
    keys: Vec<Range<usize>>,
}

impl Lexer {
    /// Takes the next character and adds what is complete to `out`.
    pub fn take(&mut self, next: char, out: &mut Vec<Unit>) {
        if !self.escape.is_empty() {
            self.go_on(next, out);
            return;
        }
        match (self.inside, next) {
            (true, '\\') => self.escape.push(next),
            (_, '"') => {
                self.inside = !self.inside;
                out.push(self.unit(next));
            }
            (true, _) => out.push(self.unit(next)),
            (false, _) => {
                self.nesting.take(next);
                // The colon after a key separates, where it would be part of a value in a string.
                let letter = if next == ':' { ',' } else { next };
                out.push(Unit { letter, raw: next.len_utf8(), bare: true, key: false });
            }
        }
    }

    /// The text has ended: an escape that was begun is what it is.
    pub fn finish(&mut self, out: &mut Vec<Unit>) {
        let key = self.nesting.key;
        out.extend(self.escape.drain(..).map(|letter| Unit { key, ..Unit::plain(letter) }));
    }

    fn go_on(&mut self, next: char, out: &mut Vec<Unit>) {
        let fits = match self.escape.len() {
            1 => matches!(next, '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u'),
            6 => next == '\\',
            7 => next == 'u',
            _ => next.is_ascii_hexdigit(),
        };
        if !fits {
            self.give_up(out);
            self.take(next, out);
            return;
        }
        self.escape.push(next);
        let simple = match next {
            _ if self.escape.len() != 2 => None,
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'u' => None,
            other => Some(other),
        };
        let letter = match (self.escape.len(), self.code(2), self.code(8)) {
            (2, ..) => simple,
            (6, Some(0xd800..=0xdbff), _) => None,
            (6, Some(code), _) => Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
            (12, Some(high), Some(low @ 0xdc00..=0xdfff)) => {
                char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))
            }
            (12, ..) => {
                self.give_up(out);
                None
            }
            _ => None,
        };
        if let Some(letter) = letter {
            out.push(Unit { raw: self.escape.len(), ..self.unit(letter) });
            self.escape.clear();
        }
    }

    /// The escape is none: half a pair stands for something unknown, and the rest for itself.
    fn give_up(&mut self, out: &mut Vec<Unit>) {
        let escape = std::mem::take(&mut self.escape);
        let rest = if let Some((_, rest)) = escape.split_at_checked(6) {
            out.push(Unit { raw: 6, ..self.unit(char::REPLACEMENT_CHARACTER) });
            rest
        } else {
            out.push(self.unit('\\'));
            escape.get(1..).unwrap_or_default()
        };
        for letter in rest.chars() {
            self.take(letter, out);
        }
    }

    /// A character of a string.
    const fn unit(&self, letter: char) -> Unit {
        Unit { key: self.nesting.key, ..Unit::plain(letter) }
    }

    fn code(&self, at: usize) -> Option<u32> {
        u32::from_str_radix(self.escape.get(at..at + 4)?, 16).ok()
    }
}

impl Default for RawMap {
    fn default() -> Self {
        Self { steps: vec![(0, 0)], decoded: 0, raw: 0, keys: Vec::new() }
    }
}

impl RawMap {
    /// A unit follows.
    pub fn push(&mut self, unit: Unit) {
        let length = unit.letter.len_utf8();
        if unit.key {
            let end = self.decoded + length;
            match self.keys.last_mut() {
                Some(last) if last.end == self.decoded => last.end = end,
                Some(_) | None => self.keys.push(self.decoded..end),
            }
        }
        self.decoded += length;
        self.raw += unit.raw;
        if length != unit.raw {
            self.steps.push((self.decoded, self.raw));
        }
    }

    /// The raw offset of a decoded one.
    pub fn raw(&self, decoded: usize) -> usize {
        let after = self.steps.partition_point(|(from, _)| *from <= decoded);
        let step = after.checked_sub(1).and_then(|index| self.steps.get(index));
        step.map_or(decoded, |(from, raw)| raw + (decoded - from))
    }

    /// Whether a decoded offset is within the name of a member.
    pub fn is_key(&self, decoded: usize) -> bool {
        let after = self.keys.partition_point(|key| key.end <= decoded);
        self.keys.get(after).is_some_and(|key| key.start <= decoded)
    }

    /// Offsets below `decoded` are not asked for any more.
    pub fn forget(&mut self, decoded: usize) {
        let after = self.steps.partition_point(|(from, _)| *from <= decoded);
        self.steps.drain(..after.saturating_sub(1));
        let over = self.keys.partition_point(|key| key.end <= decoded);
        self.keys.drain(..over);
    }
}

/// The text of a piece of JSON that stands within a string.
pub fn decoded(raw: &str) -> String {
    let mut lexer = Lexer { inside: true, ..Lexer::default() };
    let mut units = Vec::new();
    raw.chars().for_each(|next| lexer.take(next, &mut units));
    lexer.finish(&mut units);
    units.iter().map(|unit| unit.letter).collect()
}

#[cfg(test)]
mod tests {
    use super::{Lexer, RawMap, Unit};
    use proptest::prelude::{any, proptest};

    fn units(text: &str) -> Vec<Unit> {
        let (mut lexer, mut out) = (Lexer::default(), Vec::new());
        for next in text.chars() {
            lexer.take(next, &mut out);
        }
        lexer.finish(&mut out);
        out
    }

    fn letters(text: &str) -> String {
        units(text).iter().map(|unit| unit.letter).collect()
    }

    #[test]
    fn escapes_are_undone_in_strings_only() {
        assert_eq!(letters(r#"{"a\u0034\n\"\\":1}"#), "{\"a4\n\"\\\",1}");
        assert_eq!(letters(r#""\ud83d\ude00é""#), "\"😀é\"");
        assert_eq!(letters(r"\n"), r"\n");
    }

    #[test]
    fn what_is_no_escape_stands_for_itself() {
        assert_eq!(letters(r#""\x\u00g\ud83d\ud83dx"#), "\"\\x\\u00g\u{fffd}\u{fffd}x");
        assert_eq!(letters(r#""\u00"1"#), "\"\\u00\"1");
        assert_eq!(letters(r#""\ud83d\u"#), r#""\ud83d\u"#);
    }

    #[test]
    fn bare_words_are_told_from_strings() {
        let bare: String = units(r#"{"a":12,"3":null}"#)
            .iter()
            .filter(|unit| unit.bare)
            .map(|unit| unit.letter)
            .collect();
        assert_eq!(bare, "{,12,,null}");
    }

    #[test]
    fn decoded_offsets_lead_back() {
        let text = r#""a\u0034b\n""#;
        let mut map = RawMap::default();
        for unit in units(text) {
            map.push(unit);
        }
        let raw: Vec<usize> = (0..=6).map(|at| map.raw(at)).collect();
        assert_eq!(raw, [0, 1, 2, 8, 9, 11, 12]);
        map.forget(4);
        assert_eq!((map.raw(4), map.raw(5)), (9, 11));
    }

    proptest! {
        #[test]
        fn every_raw_byte_belongs_to_one_unit(
            text in r#"("|\\|u|d8|[a-f0-9]|n|é|😀|:|\{|[ -~]){0,60}"#,
            tail in any::<String>(),
        ) {
            let text = format!("{text}{tail}");
            let raw: usize = units(&text).iter().map(|unit| unit.raw).sum();
            assert_eq!(raw, text.len());
        }
    }
}
