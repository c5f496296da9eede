//! Undoes the escapes of other notations, one layer of them: percent, HTML entities, backslashes.
//!
//! It takes characters one by one and holds no more of them than the longest escape has. What is no
//! escape after all stands for itself.

use crate::guard::arguments::Unit;

/// A character that is not seen, as it goes through: its raw bytes count and it is no letter.
pub const GONE: char = '\0';

/// More than this is no escape that anybody reads.
const ESCAPE_LETTERS_MAX: usize = 24;
/// More bytes that are not seen, behind one letter of an escape, end it.
const GONE_BYTES_MAX: usize = 64;
/// The longest name of a character reference.
const NAME_MAX: usize = 14;
/// Backslashes before an escape, as each time a text is put into a string doubles them.
const BACKSLASHES_MAX: usize = 8;

/// One layer.
#[derive(Debug, Default)]
pub struct Unescape {
    /// An escape that is not complete.
    pending: Pending,
    /// Something was undone.
    pub is_changed: bool,
}

/// Some letters of an escape.
#[derive(Clone, Copy, Debug)]
struct Pending {
    letters: [char; ESCAPE_LETTERS_MAX],
    raw: [usize; ESCAPE_LETTERS_MAX],
    length: usize,
}

/// What the beginning of an escape may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is this letter.
    Done(char),
    /// It was this letter, and ended before the last character.
    Ended(char),
    /// It may become one.
    More,
    /// It is none.
    No,
}

/// Whether an escape may begin with this.
pub const fn is_opener(letter: char) -> bool {
    matches!(letter, '%' | '&' | '\\')
}

impl Default for Pending {
    fn default() -> Self {
        Self { letters: [GONE; ESCAPE_LETTERS_MAX], raw: [0; ESCAPE_LETTERS_MAX], length: 0 }
    }
}

impl Pending {
    /// Adds a letter, unless it is full.
    fn push(&mut self, unit: Unit) -> bool {
        let places = self.letters.get_mut(self.length).zip(self.raw.get_mut(self.length));
        let is_room = places.is_some();
        if let Some((letter, raw)) = places {
            (*letter, *raw) = (unit.letter, unit.raw);
            self.length += 1;
        }
        is_room
    }

    fn letters(&self) -> &[char] {
        self.letters.get(..self.length).unwrap_or_default()
    }

    fn units(&self) -> impl Iterator<Item = Unit> {
        let raw = self.raw.iter().copied();
        self.letters().iter().zip(raw).map(|(letter, raw)| Unit {
            letter: *letter,
            raw,
            bare: false,
            key: false,
        })
    }
}

impl Unescape {
    /// Whether nothing is held.
    pub const fn is_idle(&self) -> bool {
        self.pending.length == 0
    }

    /// Takes the next character and adds what is complete to `out`.
    pub fn take(&mut self, next: Unit, out: &mut Vec<Unit>) {
        if self.is_idle() {
            if next.bare || !is_opener(next.letter) {
                out.push(next);
            } else {
                self.pending.push(next);
            }
            return;
        }
        if next.letter == GONE {
            // It belongs to the letter that it stands behind, unless there is too much of it.
            match self.pending.raw.get_mut(self.pending.length - 1) {
                Some(last) if *last < GONE_BYTES_MAX => *last += next.raw,
                Some(_) | None => {
                    self.give_up(out);
                    self.take(next, out);
                }
            }
            return;
        }
        if next.bare || !self.pending.push(next) {
            self.give_up(out);
            self.take(next, out);
            return;
        }
        match parse(self.pending.letters(), false) {
            Verdict::More => {}
            Verdict::Done(letter) => self.emit(letter, out),
            Verdict::Ended(letter) => {
                self.pending.length -= 1;
                self.emit(letter, out);
                self.take(next, out);
            }
            Verdict::No => self.give_up(out),
        }
    }

    /// The text has ended: an escape that was begun is what it is.
    pub fn finish(&mut self, out: &mut Vec<Unit>) {
        while !self.is_idle() {
            match parse(self.pending.letters(), true) {
                Verdict::Done(letter) | Verdict::Ended(letter) => self.emit(letter, out),
                Verdict::More | Verdict::No => self.give_up(out),
            }
        }
    }

    fn emit(&mut self, letter: char, out: &mut Vec<Unit>) {
        self.is_changed = true;
        let raw = self.pending.raw.iter().take(self.pending.length).sum();
        self.pending.length = 0;
        out.push(Unit { raw, ..Unit::plain(letter) });
    }

    /// The first letter stands for itself; another escape may begin behind it.
    fn give_up(&mut self, out: &mut Vec<Unit>) {
        let pending = std::mem::take(&mut self.pending);
        let mut units = pending.units();
        out.extend(units.next());
        units.for_each(|unit| self.take(unit, out));
    }
}

/// Reads the beginning of an escape; `is_end` says that nothing follows.
fn parse(letters: &[char], is_end: bool) -> Verdict {
    match letters {
        ['%', 'u' | 'U', code @ ..] => hex_code(code, 4),
        ['%', rest @ ..] => percent(rest),
        ['&', '#', 'x' | 'X', rest @ ..] => number(rest, 16, is_end),
        ['&', '#', rest @ ..] => number(rest, 10, is_end),
        ['&', rest @ ..] => named(rest),
        ['\\', rest @ ..] => backslash(rest),
        _ => Verdict::No,
    }
}

fn hex(letters: &[char]) -> Option<u32> {
    let mut all = letters.iter().map(|letter| letter.to_digit(16));
    all.try_fold(0_u32, |sum, digit| Some(sum.saturating_mul(16).saturating_add(digit?)))
}

/// So many hexadecimal digits.
fn hex_code(letters: &[char], wanted: usize) -> Verdict {
    match hex(letters) {
        None => Verdict::No,
        Some(_) if letters.len() < wanted => Verdict::More,
        Some(code) => done(code),
    }
}

fn done(code: u32) -> Verdict {
    // A letter that is not seen has a name of its own here.
    match char::from_u32(code) {
        Some(GONE) | None => Verdict::No,
        Some(letter) => Verdict::Done(letter),
    }
}

/// The bytes of one letter in UTF-8, two digits each (RFC 3986 section 2.1).
fn percent(rest: &[char]) -> Verdict {
    let mut bytes = [0_u8; 4];
    let mut count = 0;
    for (index, part) in rest.chunks(3).enumerate() {
        let (digits, mark) = part.split_at(part.len().min(2));
        if !mark.is_empty() && mark != ['%'] {
            return Verdict::No;
        }
        match (hex(digits).and_then(|code| u8::try_from(code).ok()), bytes.get_mut(index)) {
            (Some(byte), Some(place)) if digits.len() == 2 => *place = byte,
            (Some(_), Some(_)) => return Verdict::More,
            _ => return Verdict::No,
        }
        count = index + 1;
    }
    let wanted = match bytes.first() {
        _ if count == 0 => return Verdict::More,
        Some(0..=0x7f) => 1,
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        Some(_) | None => return Verdict::No,
    };
    if count < wanted {
        return Verdict::More;
    }
    let decoded = bytes.get(..wanted).and_then(|bytes| str::from_utf8(bytes).ok());
    let letter = decoded.and_then(|decoded| decoded.chars().next());
    letter.map_or(Verdict::No, |letter| done(u32::from(letter)))
}

/// A numeric character reference; readers do without its semicolon.
fn number(rest: &[char], radix: u32, is_end: bool) -> Verdict {
    let digits = rest.iter().take_while(|letter| letter.is_digit(radix)).count();
    let mut values = rest.iter().take(digits).filter_map(|letter| letter.to_digit(radix));
    let code = values.try_fold(0_u32, |sum, digit| sum.checked_mul(radix)?.checked_add(digit));
    let code = code.filter(|_| digits > 0);
    let letter = code.map(done);
    match (rest.get(digits), letter) {
        (None, None) if digits == 0 && !is_end => Verdict::More,
        (None, Some(letter)) if is_end => letter,
        (None, _) if digits <= 8 && !is_end => Verdict::More,
        (Some(';'), Some(letter)) => letter,
        (Some(_), Some(Verdict::Done(letter))) => Verdict::Ended(letter),
        _ => Verdict::No,
    }
}

/// Named references that could stand in or between what rules look for.
fn named(rest: &[char]) -> Verdict {
    const NAMES: [(&str, char); 34] = [
        ("ZeroWidthSpace", '\u{200b}'),
        ("amp", '&'),
        ("apos", '\''),
        ("bsol", '\\'),
        ("colon", ':'),
        ("comma", ','),
        ("commat", '@'),
        ("dash", '-'),
        ("dollar", '$'),
        ("emsp", ' '),
        ("ensp", ' '),
        ("equals", '='),
        ("excl", '!'),
        ("gt", '>'),
        ("hyphen", '-'),
        ("lbrack", '['),
        ("lowbar", '_'),
        ("lpar", '('),
        ("lt", '<'),
        ("nbsp", ' '),
        ("num", '#'),
        ("percnt", '%'),
        ("period", '.'),
        ("plus", '+'),
        ("quest", '?'),
        ("quot", '"'),
        ("rbrack", ']'),
        ("rpar", ')'),
        ("semi", ';'),
        ("shy", '\u{ad}'),
        ("sol", '/'),
        ("thinsp", ' '),
        ("zwj", '\u{200d}'),
        ("zwnj", '\u{200c}'),
    ];
    let (name, is_whole) = match rest {
        [name @ .., ';'] => (name, true),
        name => (name, false),
    };
    let mut bytes = [0_u8; NAME_MAX];
    for (place, letter) in bytes.iter_mut().zip(name) {
        *place = u8::try_from(*letter).unwrap_or(0);
    }
    let name = match bytes.get(..name.len()).map(str::from_utf8) {
        Some(Ok(name)) if name.bytes().all(|byte| byte.is_ascii_alphabetic()) => name,
        Some(_) | None => return Verdict::No,
    };
    // The names are in order, so those that begin with this one stand together.
    let at = NAMES.partition_point(|(known, _)| *known < name);
    match NAMES.get(at) {
        Some((known, letter)) if is_whole && *known == name => Verdict::Done(*letter),
        Some((known, _)) if !is_whole && known.starts_with(name) => Verdict::More,
        Some(_) | None => Verdict::No,
    }
}

/// Escapes of JSON, JavaScript, C, Python and Rust, however often they were put into strings.
fn backslash(rest: &[char]) -> Verdict {
    let more = rest.iter().take_while(|letter| **letter == '\\').count();
    let rest = rest.get(more..).unwrap_or_default();
    if more >= BACKSLASHES_MAX {
        return Verdict::No;
    }
    match rest {
        [] => Verdict::More,
        ['u', '{', code @ .., '}'] => hex(code).map_or(Verdict::No, done),
        ['u', '{', code @ ..] if code.len() <= 6 => {
            hex(code).map_or(Verdict::No, |_| Verdict::More)
        }
        ['u', code @ ..] => utf16(code),
        ['U', code @ ..] => hex_code(code, 8),
        ['x', code @ ..] => hex_code(code, 2),
        ['n' | 'r'] => Verdict::Done('\n'),
        ['t'] => Verdict::Done(' '),
        ['/' | '"' | '\'' | '-' | '_' | '.' | '@' | '*' | ':' | '=' | '+'] => {
            rest.first().map_or(Verdict::No, |letter| Verdict::Done(*letter))
        }
        ['0'..='3', code @ ..] if code.len() <= 2 => octal(rest),
        _ => Verdict::No,
    }
}

fn octal(digits: &[char]) -> Verdict {
    let mut all = digits.iter().map(|letter| letter.to_digit(8));
    match all.try_fold(0, |sum, digit| Some(sum * 8 + digit?)) {
        Some(_) if digits.len() < 3 => Verdict::More,
        Some(code) => done(code),
        None => Verdict::No,
    }
}

/// Four digits, or twice four with `\u` between for letters beyond them (RFC 8259 section 7).
fn utf16(code: &[char]) -> Verdict {
    let (high, rest) = code.split_at(code.len().min(4));
    let Some(first) = hex(high) else { return Verdict::No };
    if high.len() < 4 {
        return Verdict::More;
    }
    if !(0xd800..=0xdbff).contains(&first) {
        return done(first);
    }
    let slashes = rest.iter().take_while(|letter| **letter == '\\').count();
    let low = match rest.get(slashes..).unwrap_or_default() {
        [] if slashes < BACKSLASHES_MAX => return Verdict::More,
        ['u', low @ ..] if slashes > 0 && low.len() <= 4 => low,
        _ => return Verdict::No,
    };
    match hex(low) {
        Some(_) if low.len() < 4 => Verdict::More,
        Some(second @ 0xdc00..=0xdfff) => {
            done(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
        }
        Some(_) | None => Verdict::No,
    }
}

#[cfg(test)]
mod tests {
    use super::Unescape;
    use crate::guard::arguments::Unit;
    use proptest::prelude::{any, proptest};

    fn units(text: &str) -> Vec<Unit> {
        let (mut layer, mut out) = (Unescape::default(), Vec::new());
        for letter in text.chars() {
            layer.take(Unit::plain(letter), &mut out);
        }
        layer.finish(&mut out);
        out
    }

    fn undone(text: &str) -> String {
        units(text).iter().map(|unit| unit.letter).collect()
    }

    #[test]
    fn escapes_of_all_notations_are_undone() {
        let cases = [
            ("%34%30", "40"),
            ("%e2%80%8b1", "\u{200b}1"),
            ("%u0034", "4"),
            ("&#52;&#x30;&#49&#50", "4012"),
            ("a&commat;b&period;org", "a@b.org"),
            ("&amp;&amp", "&&amp"),
            (r"\u0034\\u0030\x31\062\u{38}", "40128"),
            (r"\ud835\udfd2\\ud835\\udfce", "𝟒𝟎"),
            (r"4\n0\t1\/2\-3", "4\n0 1/2-3"),
        ];
        for (said, wanted) in cases {
            assert_eq!(undone(said), wanted, "{said}");
        }
    }

    #[test]
    fn what_is_no_escape_stands_for_itself() {
        let cases = [
            "100% of",
            "a & b",
            "?a=b&c=d",
            "%%",
            "&&#",
            "%zz%3",
            r"C:\Windows\dir",
            "&unknown;",
            r"\\\\\\\\\\\\",
            "%ff%fe",
            r"\ud800x",
            r"\u12",
            "&#99999999999;",
            "%e2%80",
        ];
        for said in cases {
            assert_eq!(undone(said), said);
        }
    }

    proptest! {
        #[test]
        fn every_raw_byte_belongs_to_one_unit(
            text in r"(%|&|#|;|amp|\\|u|x|d8|[a-f0-9]|n|é){0,60}",
            tail in any::<String>(),
        ) {
            let text = format!("{text}{tail}");
            let raw: usize = units(&text).iter().map(|unit| unit.raw).sum();
            assert_eq!(raw, text.len());
        }
    }
}
