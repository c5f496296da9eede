//! Cuts text into islands by its content alone: no maskable value reaches over a border.
//!
//! An island is a run of characters that values are made of. Over one single blank it goes on where
//! the left part could be an unfinished number, account number or key header and the right one
//! begins like its continuation; the left part and one character are all that is looked at. So a
//! stream needs to hold back one island at most, and prose one word.

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
}

/// Whether an island goes on after a character was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// It may.
    Open,
    /// A PEM header is complete: what follows is an island of its own.
    HeaderDone,
}

impl Cutter {
    /// Nothing has been seen.
    pub const NEW: Self = Self { iban: false, header: false };

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

    /// Whether the island may go on after a blank that follows it.
    pub fn may_join(&mut self, held: &str) -> bool {
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
        self.iban || self.header || ends_number(bytes)
    }

    /// Whether `next`, after one blank, continues `held`; asked after `may_join` said yes.
    pub fn joins(&self, held: &str, next: char) -> bool {
        let bytes = held.as_bytes();
        match next {
            '0'..='9' => self.iban || ends_number(bytes),
            '(' => bytes.last().is_some_and(u8::is_ascii_digit),
            'A'..='Z' => self.iban || self.header,
            _ => false,
        }
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

/// Whether an island that ends with a blank could go on with this character at all.
const fn may_continue(next: char) -> bool {
    matches!(next, '0'..='9' | '(' | 'A'..='Z')
}

/// The last place in `within`, at or before its end, where an island begins whatever stands before.
///
/// `within.start` must itself be such a place.
pub fn border_before(text: &str, within: Range<usize>) -> usize {
    let part = text.get(within.clone()).unwrap_or_default();
    let mut right: Option<(usize, char)> = None;
    let mut blank_after: Option<(usize, char)> = None;
    for (at, here) in part.char_indices().rev() {
        // `here`, one blank, `next`: joined only where both could belong together.
        if let Some((place, next)) = blank_after.take()
            && !(is_member(here) && may_continue(next))
        {
            return within.start + place;
        }
        match right {
            Some((_, next)) if !is_member(next) || is_member(here) => {}
            Some((place, _)) if !is_blank(here) => return within.start + place,
            edge => blank_after = edge,
        }
        right = Some((at, here));
    }
    within.start
}

fn ends_number(bytes: &[u8]) -> bool {
    matches!(bytes, [.., b'0'..=b'9'] | [.., b'0'..=b'9', b')'])
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
    use super::{Cutter, Growth, border_before, is_blank, is_member};

    #[derive(Default)]
    struct Islands {
        all: Vec<String>,
        held: String,
        blank: Option<char>,
        cutter: Cutter,
    }

    impl Islands {
        fn close(&mut self) {
            let held = std::mem::take(&mut self.held);
            self.all.extend((!held.is_empty()).then_some(held));
            (self.blank, self.cutter) = (None, Cutter::NEW);
        }

        fn take(&mut self, next: char) {
            match self.blank.take() {
                Some(gap) if self.cutter.joins(&self.held, next) => self.held.push(gap),
                Some(_) => self.close(),
                None => {}
            }
            if is_member(next) {
                self.held.push(next);
                let growth = self.cutter.grown(&self.held);
                (growth == Growth::HeaderDone).then(|| self.close());
                return;
            }
            let joins = is_blank(next) && self.cutter.may_join(&self.held);
            if joins && !self.held.is_empty() {
                self.blank = Some(next);
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
        assert_eq!(islands("4111  1111"), ["4111", "1111"]);
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
}
