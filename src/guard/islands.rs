//! Cuts text into islands by its content alone: no maskable value reaches over a border.
//!
//! An island is a run of characters that values are made of. Over a short gap it goes on where the
//! left part could be an unfinished number, account number, key header, row of even groups or line
//! of base64, and the right one begins like its continuation; the left part and one character are
//! all that is looked at. So a stream needs to hold back one island at most, and prose one word.

use crate::guard::encoded::{TOKEN_MIN, is_break, sextet};
use crate::guard::groups::{BYTES_MAX, DIGITS_MAX, GAP_MAX, GROUP_MAX, JOINED_MAX, is_hex_byte};
use std::ops::Range;

/// A longer island is looked at in windows of this many bytes, counted from its beginning.
pub const WINDOW: usize = 1024;
/// How far windows overlap: a bounded value is at most this long.
pub const OVERLAP: usize = 256;

/// What is remembered about the island that grows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cutter {
    /// Its last groups could be those of an IBAN.
    iban: bool,
    /// A PEM header has begun and not ended.
    header: bool,
    groups: Groups,
    /// What may follow the gap behind it.
    over: Over,
}

/// A row of groups of capitals and digits, all as long as the first.
#[derive(Clone, Copy, Debug, Default)]
struct Groups {
    size: usize,
    total: usize,
    /// They could all be bytes of text, in hexadecimal.
    is_bytes: bool,
    is_over: bool,
}

/// What an island may go on with, over the gap that follows.
#[derive(Clone, Copy, Debug, Default)]
struct Over {
    /// The gap is one blank.
    is_blank: bool,
    /// The gap is the end of a line.
    is_line: bool,
    /// So many characters of a gap were seen.
    length: usize,
    kinds: Kinds,
}

/// What the part before a gap could be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Kinds {
    bits: u8,
}

const NUMBER: u8 = 1;
const WORDS: u8 = 2;
const GROUPED: u8 = 4;
const LINES: u8 = 8;

/// Whether an island goes on after a character was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// It may.
    Open,
    /// A PEM header is complete: what follows is an island of its own.
    HeaderDone,
}

impl Kinds {
    const fn has(self, kind: u8) -> bool {
        self.bits & kind != 0
    }
}

impl Cutter {
    /// Nothing has been seen.
    pub const NEW: Self = Self {
        iban: false,
        header: false,
        groups: Groups { size: 0, total: 0, is_bytes: false, is_over: false },
        over: Over { is_blank: false, is_line: true, length: 0, kinds: Kinds { bits: 0 } },
    };

    /// Whether nothing hangs on this letter or digit, if it is the next one.
    pub const fn is_open(&self, next: char) -> bool {
        !self.header && next != 'N'
    }

    /// `held` has just grown by its last character.
    pub fn grown(&mut self, held: &str) -> Growth {
        let bytes = held.as_bytes();
        match bytes.last() {
            Some(b'N') if bytes.ends_with(b"-----BEGIN") => self.header = true,
            Some(b'-') if self.header => {
                let tail = bytes.get(bytes.len().saturating_sub(6)..).unwrap_or_default();
                if tail.ends_with(b"-----") && tail.first() != Some(&b'-') {
                    self.header = false;
                    return Growth::HeaderDone;
                }
            }
            Some(byte) if self.header => {
                self.header = byte.is_ascii_uppercase() || byte.is_ascii_digit();
            }
            _ => {}
        }
        Growth::Open
    }

    /// Whether the island may go on after a gap that begins with `next`.
    pub fn may_join(&mut self, held: &str, next: char) -> bool {
        let bytes = held.as_bytes();
        let run = alphanumeric_tail(bytes);
        let begins = matches!(run, [a, b, c, d, ..]
            if a.is_ascii_uppercase() && b.is_ascii_uppercase()
                && c.is_ascii_digit() && d.is_ascii_digit());
        let upper = run.iter().all(|byte| !byte.is_ascii_lowercase());
        let before = bytes.len().checked_sub(run.len() + 1).and_then(|at| bytes.get(at));
        let continues =
            self.iban && run.len() == 4 && before.is_none_or(|byte| is_blank_byte(*byte));
        self.iban = upper && (begins || continues);
        self.groups.add(run);
        let kind = |is: bool, kind: u8| if is { kind } else { 0 };
        let bits = kind(ends_number(bytes), NUMBER)
            | kind(self.iban || self.header, WORDS)
            | kind(!self.groups.is_over, GROUPED)
            | kind(ends_line(bytes), LINES);
        self.over = Over { is_blank: false, is_line: true, length: 0, kinds: Kinds { bits } };
        self.goes_on(next)
    }

    /// Whether a gap goes on with `next`, and the island may still behind it.
    pub fn goes_on(&mut self, next: char) -> bool {
        let Over { length, kinds, .. } = self.over;
        let is_gap = is_gap(next) && length < GAP_MAX;
        self.over.is_blank = length == 0 && is_blank(next);
        self.over.is_line &= next.is_ascii() && is_break(u8::try_from(next).unwrap_or(0));
        self.over.length += 1;
        is_gap
            && (kinds.has(GROUPED)
                || (self.over.is_blank && kinds.has(NUMBER | WORDS))
                || (self.over.is_line && kinds.has(LINES)))
    }

    /// Whether `next`, after the gap, continues `held`, what stands before the gap; asked after
    /// `may_join` said yes.
    pub fn joins(&self, held: &str, next: char) -> bool {
        let Over { is_blank, is_line, kinds, .. } = self.over;
        let is_letter = next.is_ascii() && sextet(u8::try_from(next).unwrap_or(0)).is_some();
        let over_gap = match next {
            '0'..='9' => kinds.has(GROUPED) || (is_blank && kinds.has(NUMBER | WORDS)),
            '(' => is_blank && held.as_bytes().last().is_some_and(u8::is_ascii_digit),
            'A'..='Z' => kinds.has(GROUPED) || (is_blank && kinds.has(WORDS)),
            _ => false,
        };
        over_gap || (is_line && is_letter && kinds.has(LINES))
    }
}

impl Groups {
    /// One more group, before a gap.
    fn add(&mut self, group: &[u8]) {
        if self.size == 0 {
            self.size = group.len();
            self.is_bytes = true;
        }
        self.is_bytes &= is_hex_byte(group);
        let is_capital = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        let is_group = (1..=GROUP_MAX).contains(&group.len())
            && (self.is_bytes || group.iter().all(is_capital));
        self.total += group.len();
        let most = match group.iter().all(u8::is_ascii_digit) {
            _ if self.is_bytes => BYTES_MAX,
            true => DIGITS_MAX,
            false => JOINED_MAX,
        };
        self.is_over = self.is_over || !is_group || self.size != group.len() || self.total >= most;
    }
}

/// Whether a character belongs to islands.
pub const fn is_member(next: char) -> bool {
    match next {
        '"' | '\'' | '`' | '<' | '>' | '{' | '}' | '[' | ']' | '|' | ',' | ';' | '\\' => false,
        '!'..='~' => true,
        // Hyphens and dashes: models write phone and card numbers with them.
        '\u{2010}'..='\u{2014}' => true,
        _ => false,
    }
}

/// Whether it is a blank that an island can go on after.
pub const fn is_blank(next: char) -> bool {
    matches!(next, ' ' | '\t' | '\u{a0}' | '\u{2007}' | '\u{2009}' | '\u{202f}')
}

/// Whether it can stand in a gap: no letter of any script, and not what parts segments.
fn is_gap(next: char) -> bool {
    !is_member(next) && next != '\0' && (next.is_ascii() || !next.is_alphanumeric())
}

/// The last place in `within`, at or before its end, where an island begins whatever stands before.
///
/// `within.start` must itself be such a place.
pub fn border_before(text: &str, within: Range<usize>) -> usize {
    let part = text.get(within.clone()).unwrap_or_default();
    let mut end = part.len();
    while let Some(place) = member_before(part, end) {
        let left = part.get(..place).unwrap_or_default();
        if left.is_empty() {
            break;
        }
        let next = part.get(place..).and_then(|rest| rest.chars().next()).unwrap_or(' ');
        if !may_reach(left, next) {
            return within.start + place;
        }
        end = place;
    }
    within.start
}

/// The last place before `end` where a run of members begins.
fn member_before(text: &str, end: usize) -> Option<usize> {
    let mut begun = None;
    for (at, here) in text.get(..end)?.char_indices().rev() {
        match (is_member(here), begun) {
            (true, _) => begun = Some(at),
            (false, Some(_)) => break,
            (false, None) => {}
        }
    }
    begun
}

/// Whether an island that ends in `left` could go on with `next` for all that is known.
fn may_reach(left: &str, next: char) -> bool {
    let gap = left.chars().rev().take(GAP_MAX + 1).take_while(|here| !is_member(*here)).count();
    let gap_bytes: usize = left.chars().rev().take(gap).map(char::len_utf8).sum();
    let (before, between) = left.split_at(left.len() - gap_bytes);
    if gap > GAP_MAX || !between.chars().all(is_gap) {
        return false;
    }
    let is_line = between.bytes().all(is_break)
        && next.is_ascii()
        && sextet(u8::try_from(next).unwrap_or(0)).is_some()
        && token_tail(before.as_bytes()) >= TOKEN_MIN;
    let last = before.as_bytes().last().copied().unwrap_or(b' ');
    let is_byte = matches!(before.as_bytes(), [.., b'0'..=b'9', b'a'..=b'f']);
    let may_end = last.is_ascii_uppercase() || last.is_ascii_digit() || last == b')' || is_byte;
    is_line || (may_end && matches!(next, '0'..='9' | '(' | 'A'..='Z'))
}

fn ends_number(bytes: &[u8]) -> bool {
    matches!(bytes, [.., b'0'..=b'9'] | [.., b'0'..=b'9', b')'])
}

/// Whether it could be a line of base64 that goes on in the next one: whole groups of four.
fn ends_line(bytes: &[u8]) -> bool {
    let tail = token_tail(bytes);
    tail >= TOKEN_MIN && tail.is_multiple_of(4)
}

/// How many letters of base64 a text ends with, as far as anybody asks.
fn token_tail(bytes: &[u8]) -> usize {
    bytes.iter().rev().take(WINDOW).take_while(|byte| sextet(**byte).is_some()).count()
}

fn alphanumeric_tail(bytes: &[u8]) -> &[u8] {
    let length = bytes.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    bytes.get(bytes.len() - length..).unwrap_or_default()
}

/// The last byte of any blank; others that end so are no island characters either.
const fn is_blank_byte(byte: u8) -> bool {
    !byte.is_ascii_graphic()
}

#[cfg(test)]
mod tests {
    use super::{Cutter, Growth, border_before, is_member};
    use proptest::prelude::proptest;

    #[derive(Default)]
    struct Islands {
        all: Vec<String>,
        held: String,
        gap: String,
        cutter: Cutter,
    }

    impl Islands {
        fn close(&mut self) {
            let held = std::mem::take(&mut self.held);
            self.all.extend((!held.is_empty()).then_some(held));
            self.gap.clear();
            self.cutter = Cutter::NEW;
        }

        fn take(&mut self, next: char) {
            if !self.gap.is_empty() {
                if self.cutter.joins(&self.held, next) {
                    self.held.push_str(&std::mem::take(&mut self.gap));
                } else if self.cutter.goes_on(next) {
                    self.gap.push(next);
                    return;
                } else {
                    self.close();
                }
            }
            if is_member(next) {
                self.held.push(next);
                let growth = self.cutter.grown(&self.held);
                (growth == Growth::HeaderDone).then(|| self.close());
            } else if !self.held.is_empty() && self.cutter.may_join(&self.held, next) {
                self.gap.push(next);
            } else {
                self.close();
            }
        }
    }

    /// Islands of a text without limits, as `run` cuts them.
    fn islands(text: &str) -> Vec<String> {
        let mut islands = Islands::default();
        text.chars().for_each(|next| islands.take(next));
        islands.close();
        islands.all
    }

    #[test]
    fn prose_is_cut_at_every_word() {
        assert_eq!(islands("The Quick, brown fox"), ["The", "Quick", "brown", "fox"]);
        assert_eq!(islands("in 2024 we met"), ["in", "2024", "we", "met"]);
        assert_eq!(islands("四1111二"), ["1111"]);
    }

    #[test]
    fn numbers_and_account_numbers_stay_whole() {
        assert_eq!(islands("pay 4111 1111 1111 1111 now"), ["pay", "4111 1111 1111 1111", "now"]);
        assert_eq!(islands("call +1 (555) 123-4567."), ["call", "+1 (555) 123-4567."]);
        assert_eq!(
            islands("to (GB29 NWBK 6016 1331 9268 19 AND more"),
            ["to", "(GB29 NWBK 6016 1331 9268 19", "AND", "more"]
        );
        assert_eq!(islands("a 4012, 8888,\n8881 and"), ["a", "4012, 8888,\n8881", "and"]);
        assert_eq!(islands("AKIA IOSF 7EXA MPLE or"), ["AKIA IOSF 7EXA MPLE", "or"]);
        assert_eq!(islands("THE QUICK fox"), ["THE QUICK", "fox"]);
        assert_eq!(islands("4111    1111"), ["4111", "1111"]);
    }

    #[test]
    fn a_key_header_is_an_island_that_ends_with_itself() {
        assert_eq!(
            islands("k=-----BEGIN RSA PRIVATE KEY-----MIIE -----END"),
            ["k=-----BEGIN RSA PRIVATE KEY-----", "MIIE", "-----END"]
        );
    }

    #[test]
    fn a_border_found_backwards_is_a_border_of_the_cut() {
        let text = "the sum 12 (34) A1 B\nGB29 NWBK 60 X zebra 4111 1111";
        for at in 0..=text.len() {
            let border = border_before(text, 0..at);
            let (left, right) = text.split_at(border);
            let mut parts = islands(left);
            parts.extend(islands(right));
            assert_eq!(parts, islands(text), "{border} before {at}");
        }
    }

    proptest! {
        #[test]
        fn borders_found_backwards_are_borders_of_the_cut(
            text in "([A-C]{1,3}|[0-9]{1,4}|[ab]{1,2}|[ ,/|(\n-]{1,3}|[A-Za-z]{16}\n?|-----BEGIN |é|四){0,24}",
        ) {
            for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
                let border = border_before(&text, 0..at);
                let (left, right) = text.split_at(border);
                let mut parts = islands(left);
                parts.extend(islands(right));
                assert_eq!(parts, islands(&text), "{border} before {at}");
            }
        }
    }
}
