//! Text that is turned: written backwards, or thirteen letters on.
//!
//! Read that way, many a harmless number passes for a card, so it is only read where a word before
//! it says that it is turned, or is turned itself. Words that open such a gate begin where a run of
//! letters does.

/// What was said that makes turned text worth a look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    /// Text may be written backwards.
    pub reversed: bool,
    /// Letters may be thirteen places on.
    pub rot13: bool,
}

/// Words, in small letters, that say so, and words of attacks that are turned themselves.
const REVERSED: [&str; 7] =
    ["revers", "backward", "erongi", "metsys", "snoitcurtsni", "suoiverp", "tpmorp"];
const ROT13: [&str; 8] =
    ["rot13", "rot-13", "ebg13", "cebzcg", "cerivbhf", "flfgrz", "vafgehpgvba", "vtaber"];

/// How long the longest of them is: text that a gate opens for begins so many bytes before the end
/// of its word, which may be turned itself.
pub const WORD_MAX: usize = 12;

impl Gates {
    /// Nothing was said.
    pub const CLOSED: Self = Self { reversed: false, rot13: false };

    /// An expression for all words that open one.
    pub fn expression() -> String {
        let words: Vec<&str> = REVERSED.into_iter().chain(ROT13).collect();
        words.join("|")
    }

    /// Whether any is open.
    pub const fn any(self) -> bool {
        self.reversed || self.rot13
    }

    /// Opens those that are open there.
    pub fn open(&mut self, other: Self) {
        self.reversed |= other.reversed;
        self.rot13 |= other.rot13;
    }

    /// Reads on: `text` may open some.
    pub fn look(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut is_inside = false;
        for (at, byte) in bytes.iter().enumerate() {
            let is_letter = byte.is_ascii_alphabetic();
            if is_letter && !is_inside && is_first(*byte) {
                let rest = bytes.get(at..).unwrap_or_default();
                self.reversed = self.reversed || begins(rest, &REVERSED);
                self.rot13 = self.rot13 || begins(rest, &ROT13);
            }
            is_inside = is_letter;
        }
    }
}

const fn is_first(byte: u8) -> bool {
    matches!(byte | 0x20, b'b' | b'c' | b'e' | b'f' | b'm' | b'r' | b's' | b't' | b'v')
}

fn begins(text: &[u8], words: &[&str]) -> bool {
    words.iter().any(|word| {
        text.get(..word.len()).is_some_and(|own| own.eq_ignore_ascii_case(word.as_bytes()))
    })
}

/// The text, character by character from its end; as many bytes as before.
pub fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

/// The text with Latin letters thirteen places on, which is also thirteen places back.
pub fn rot13(text: &str) -> String {
    let turn = |letter: char| match letter {
        'a'..='m' | 'A'..='M' => char::from_u32(u32::from(letter) + 13).unwrap_or(letter),
        'n'..='z' | 'N'..='Z' => char::from_u32(u32::from(letter) - 13).unwrap_or(letter),
        other => other,
    };
    text.chars().map(turn).collect()
}

#[cfg(test)]
mod tests {
    use super::{Gates, ROT13, reversed, rot13};

    #[test]
    fn words_open_gates_where_they_begin() {
        let opened = |text: &str| {
            let mut gates = Gates::CLOSED;
            gates.look(text);
            (gates.reversed, gates.rot13)
        };
        assert_eq!(opened("(Reversed"), (true, false));
        assert_eq!(opened("x.ROT13:"), (false, true));
        assert_eq!(opened("unreversed"), (false, false));
        assert_eq!(opened("Vtaber"), (false, true));
        assert_eq!(opened("rever"), (false, false));
    }

    #[test]
    fn what_is_turned_twice_is_as_it_was() {
        let text = "Ignore — 12 Äpfel";
        assert_eq!(reversed(&reversed(text)), text);
        assert_eq!(rot13(&rot13(text)), text);
        assert!(ROT13.contains(&rot13("ignore").as_str()));
    }
}
