//! Cuts text into tokens for the scores: each a hash, and a class of words that do the same.
//!
//! `bench/train/features.py` does the same bit for bit; a test holds both together.

use crate::guard::linear::mix;
use std::sync::LazyLock;

/// Words by class, as data.
const LEXICON: &str = include_str!("../../config/packs/lexicon.txt");
/// At least twice the number of words, so that a look-up ends soon.
const SLOTS: usize = 4096;
const SEED: u64 = 0x517C_C1B7_2722_0A95;

/// A word, a number or a mark. One that repeats the one before it is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// The hash of its lower-case letters; all numbers have the same.
    pub hash: u64,
    /// The class of words that it belongs to, from one; zero if to none.
    pub class: u8,
}

/// The hash of a word and its class; zero for none.
type Slot = (u64, u8);

/// The classes of words.
#[derive(Debug)]
struct Lexicon {
    names: Vec<&'static str>,
    slots: Box<[Slot]>,
}

static CLASSES: LazyLock<Lexicon> = LazyLock::new(|| Lexicon::read(LEXICON));

impl Lexicon {
    /// `name: word word …` on each line; a word belongs to the first class that has it.
    fn read(text: &'static str) -> Self {
        let mut own = Self { names: Vec::new(), slots: vec![(0, 0); SLOTS].into() };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let classes = lines.filter_map(|line| line.split_once(':'));
        for (class, (name, words)) in (1_u8..).zip(classes) {
            own.names.push(name);
            for word in words.split_ascii_whitespace() {
                let mut hash = Hasher::NEW;
                word.bytes().for_each(|byte| hash.push(byte));
                own.insert(hash.finish(), class);
            }
        }
        own
    }

    fn insert(&mut self, hash: u64, class: u8) {
        for at in probes(hash) {
            match self.slots.get_mut(at) {
                Some(slot) if slot.1 == 0 => {
                    *slot = (hash, class);
                    return;
                }
                Some(slot) if slot.0 == hash => return,
                Some(_) | None => {}
            }
        }
    }

    fn of(&self, hash: u64) -> u8 {
        for at in probes(hash) {
            match self.slots.get(at) {
                Some((own, class)) if *own == hash || *class == 0 => return *class,
                Some(_) | None => {}
            }
        }
        0
    }
}

fn probes(hash: u64) -> impl Iterator<Item = usize> {
    let first = usize::try_from(hash >> 52).unwrap_or_default();
    (0..SLOTS).map(move |more| (first + more) % SLOTS)
}

/// Hashes bytes by eights.
#[derive(Clone, Copy, Debug)]
struct Hasher {
    hash: u64,
    chunk: u64,
    count: u64,
}

impl Hasher {
    const NEW: Self = Self { hash: SEED, chunk: 0, count: 0 };

    fn push(&mut self, byte: u8) {
        self.chunk |= u64::from(byte) << (self.count % 8 * 8);
        self.count += 1;
        if self.count.is_multiple_of(8) {
            self.hash = mix(self.hash, self.chunk);
            self.chunk = 0;
        }
    }

    fn push_lower(&mut self, letter: char) {
        for lower in letter.to_lowercase() {
            lower.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| self.push(byte));
        }
    }

    fn finish(self) -> u64 {
        let whole = self.count.is_multiple_of(8);
        let hash = if whole { self.hash } else { mix(self.hash, self.chunk) };
        mix(hash, self.count)
    }
}

/// The tokens of a text.
pub fn tokens(said: &str) -> Vec<Token> {
    let mut out = Vec::with_capacity(said.len() / 4 + 8);
    let lexicon = &*CLASSES;
    let bytes = said.as_bytes();
    let (mut at, mut last) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        let mut hasher = Hasher::NEW;
        let is_word = match byte {
            b'a'..=b'z' | b'A'..=b'Z' => true,
            b'0'..=b'9' => {
                hasher.push(b'0');
                let rest = bytes.get(at..).unwrap_or_default();
                at += rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                false
            }
            0x80.. => match letter_at(said, at) {
                Some((letter, Kind::Ideograph)) => {
                    at += letter.len_utf8();
                    hasher.push_lower(letter);
                    false
                }
                Some((_, Kind::Letter)) => true,
                Some((letter, Kind::Other)) => {
                    at += letter.len_utf8();
                    continue;
                }
                None => break,
            },
            _ if is_mark(byte) => {
                at += 1;
                hasher.push(byte);
                false
            }
            _ => {
                at += 1;
                continue;
            }
        };
        if is_word {
            at = word(said, at, &mut hasher);
        }
        let hash = hasher.finish();
        if hash != last {
            out.push(Token { hash, class: if is_word { lexicon.of(hash) } else { 0 } });
            last = hash;
        }
    }
    out
}

/// The number of that class of words; zero if there is none.
pub fn class(name: &str) -> u8 {
    CLASSES.names.iter().zip(1..).find(|(own, _)| **own == name).map_or(0, |(_, class)| class)
}

/// Takes the letters from `at` on; gives the place behind them.
fn word(said: &str, mut at: usize, hasher: &mut Hasher) -> usize {
    let bytes = said.as_bytes();
    loop {
        match bytes.get(at) {
            Some(byte) if byte.is_ascii_alphabetic() => {
                hasher.push(byte | 0x20);
                at += 1;
            }
            Some(b'\'') if is_letter_at(said, at + 1) => at += 1,
            Some(0x80..) => match letter_at(said, at) {
                Some((letter, Kind::Letter)) => {
                    hasher.push_lower(letter);
                    at += letter.len_utf8();
                }
                Some(('\u{2019}', _)) if is_letter_at(said, at + 3) => at += 3,
                Some(_) | None => return at,
            },
            Some(_) | None => return at,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ideograph,
    Letter,
    Other,
}

fn letter_at(said: &str, at: usize) -> Option<(char, Kind)> {
    let letter = said.get(at..)?.chars().next()?;
    Some((letter, kind(letter)))
}

fn is_letter_at(said: &str, at: usize) -> bool {
    letter_at(said, at).is_some_and(|(letter, kind)| {
        letter.is_ascii_alphabetic() || (!letter.is_ascii() && kind == Kind::Letter)
    })
}

/// Outside of ASCII: what is no sign, blank or picture is a letter.
const fn kind(letter: char) -> Kind {
    match letter {
        '\u{aa}'
        | '\u{b5}'
        | '\u{ba}'
        | '\u{c0}'..='\u{d6}'
        | '\u{d8}'..='\u{f6}'
        | '\u{f8}'..='\u{1fff}'
        | '\u{2c00}'..='\u{2dff}'
        | '\u{a000}'..='\u{d7ff}'
        | '\u{fb00}'..='\u{fdff}'
        | '\u{fe70}'..='\u{fefe}'
        | '\u{ff10}'..='\u{ffdc}'
        | '\u{10000}'..='\u{1efff}' => Kind::Letter,
        '\u{3005}'..='\u{3007}'
        | '\u{3021}'..='\u{3029}'
        | '\u{3031}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}' => Kind::Ideograph,
        _ => Kind::Other,
    }
}

const fn is_mark(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'"'
            | b'#'
            | b'$'
            | b'%'
            | b'*'
            | b'.'
            | b'/'
            | b':'
            | b';'
            | b'<'
            | b'='
            | b'>'
            | b'?'
            | b'@'
            | b'['
            | b'\\'
            | b']'
            | b'`'
            | b'{'
            | b'|'
            | b'}'
            | b'\n'
    )
}

#[cfg(test)]
mod tests {
    use super::{Token, tokens};
    use proptest::prelude::{any, proptest};

    fn cut(said: &str) -> Vec<Token> {
        tokens(said)
    }

    #[test]
    fn words_are_the_same_however_they_are_written() {
        let plain = cut("dont forget 12 rules");
        assert_eq!(cut("Don't FORGET 7 rules rules"), plain);
        assert_eq!(cut("don\u{2019}t, forget 34 (rules)"), plain);
        assert_eq!(cut("VERGISS Précédentes").len(), 2);
        assert!(cut("vergiss Précédentes").iter().all(|token| token.class != 0));
        assert_eq!(cut("ignorE")[0].class, cut("disregard")[0].class);
        assert_eq!(cut("windows table")[0].class, 0);
        assert_eq!(cut("忽略 abc").len(), 3);
        assert_eq!(cut("'a' 'b").len(), 2);
    }

    proptest! {
        #[test]
        fn any_text_is_cut_and_has_no_more_tokens_than_bytes(said in any::<String>()) {
            assert!(cut(&said).len() <= said.len());
        }
    }
}
