//! Signs that training data was poisoned: triggers, floods of near-duplicates, flipped labels.
//!
//! Each is a sign and no proof. A *trigger* is an odd word, or one that always stands first or
//! last, which comes with one label alone though that label is not that common. A *flood* is one
//! text many times over, in other words here and there. A *flip* is the same text under two labels.
//! What is remembered is bounded; where the bound was reached, the report says so.

use crate::base::map::Map;
use crate::base::numbers::{to_f64, to_u64};
use std::collections::BTreeMap;

/// So many different words and texts are remembered.
pub const REMEMBERED_MAX: usize = 400_000;

/// The longest word that can be a trigger, in bytes; and how many words of a record are counted.
const WORD_BYTES_MAX: usize = 32;
const WORDS_MAX: usize = 4096;

/// A trigger stands in at least so many records, and in at most so many of a hundred.
const TRIGGER_RECORDS_MIN: u64 = 8;
const TRIGGER_PERCENT_MAX: u64 = 10;

/// A label alone so often by chance: less than one in ten million.
const TRIGGER_CHANCE: f64 = -7.0;

/// A flood is so many near-duplicates, and at least one in so many records.
const FLOOD_RECORDS_MIN: u64 = 10;
const FLOOD_ONE_IN: u64 = 1000;

/// The longest list of a report.
const LISTED_MAX: usize = 50;

/// How many words in a row are compared between near-duplicates.
const SHINGLE: usize = 3;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Watch {
    records: u64,
    labels: BTreeMap<String, u64>,
    words: Map<u64, Seen>,
    texts: Map<u64, Text>,
    near: Map<u64, Text>,
    is_full: bool,
}

#[derive(Debug)]
struct Seen {
    word: Box<str>,
    records: u64,
    /// The record that had it last, so that one is counted once.
    last: u64,
    first_record: u64,
    /// Its only label so far; nothing if there were several.
    label: Option<Box<str>>,
    at_edge: u64,
}

#[derive(Debug)]
struct Text {
    first_record: u64,
    records: u64,
    label: Option<Box<str>>,
    flipped: Vec<u64>,
}

/// What is suspicious.
#[derive(Debug, Default)]
pub struct Signs {
    /// Words that come with one label alone.
    pub triggers: Vec<Trigger>,
    /// Texts that come again and again.
    pub floods: Vec<Flood>,
    /// Texts that have two labels.
    pub flips: Vec<Flip>,
    /// Whether there was more than could be remembered.
    pub is_partial: bool,
}

/// A word that comes with one label alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Trigger {
    /// The word. It may be part of a secret: it is shown where the value of no rule stands.
    pub word: Box<str>,
    /// Its label.
    pub label: Box<str>,
    /// In how many records it is.
    pub records: u64,
    /// The first of them, counted from one.
    pub first_record: u64,
}

/// A text that comes again and again.
#[derive(Debug, PartialEq, Eq)]
pub struct Flood {
    /// How often.
    pub records: u64,
    /// The first record of it, counted from one.
    pub first_record: u64,
}

/// A text that has two labels.
#[derive(Debug, PartialEq, Eq)]
pub struct Flip {
    /// The record that had it first, counted from one.
    pub first_record: u64,
    /// Records that have it with another label.
    pub others: Vec<u64>,
}

impl Watch {
    /// Takes the text and label of the next record.
    pub fn record(&mut self, text: &str, label: Option<&str>) {
        self.records += 1;
        if let Some(label) = label {
            *self.labels.entry(label.to_owned()).or_default() += 1;
        }
        let words: Vec<&str> = text.split_whitespace().take(WORDS_MAX).collect();
        let last = words.len().saturating_sub(1);
        for (at, word) in words.iter().enumerate().filter(|_| label.is_some()) {
            self.word(trimmed(word), label, at == 0 || at == last);
        }
        let hashes: Vec<u64> =
            words.iter().map(|word| hash(&trimmed(word).to_lowercase())).collect();
        if hashes.is_empty() {
            return;
        }
        let exact = mix(&hashes);
        let record = self.records;
        self.is_full |= !note(&mut self.texts, exact, record, label);
        if let Some(near) = sketch(&hashes) {
            self.is_full |= !note(&mut self.near, near, record, None);
        }
    }

    fn word(&mut self, word: &str, label: Option<&str>, at_edge: bool) {
        if word.is_empty() || word.len() > WORD_BYTES_MAX {
            return;
        }
        let key = hash(word);
        let record = self.records;
        if let Some(seen) = self.words.get_mut(&key) {
            if seen.last != record {
                seen.records += 1;
                seen.last = record;
                seen.at_edge += u64::from(at_edge);
                if seen.label.as_deref() != label {
                    seen.label = None;
                }
            }
            return;
        }
        if self.words.len() >= REMEMBERED_MAX {
            // What was seen once only makes room for what may come again.
            self.words.retain(|_, seen| seen.records > 1);
            self.is_full |= self.words.len() >= REMEMBERED_MAX;
        }
        if self.words.len() < REMEMBERED_MAX {
            let label = label.map(Into::into);
            let (word, at_edge) = (word.into(), u64::from(at_edge));
            let first_record = record;
            let seen = Seen { word, records: 1, last: record, first_record, label, at_edge };
            self.words.insert(key, seen);
        }
    }

    /// What is suspicious, once all records were seen.
    pub fn signs(&self) -> Signs {
        let mut signs = Signs { is_partial: self.is_full, ..Signs::default() };
        let mut triggers: Vec<&Seen> =
            self.words.values().filter(|seen| self.is_trigger(seen)).collect();
        triggers.sort_by_key(|seen| (u64::MAX - seen.records, seen.first_record));
        for seen in triggers.into_iter().take(LISTED_MAX) {
            let label = seen.label.clone().unwrap_or_default();
            let (word, records) = (seen.word.clone(), seen.records);
            signs.triggers.push(Trigger { word, label, records, first_record: seen.first_record });
        }
        let least = FLOOD_RECORDS_MIN.max(self.records / FLOOD_ONE_IN);
        let many = self.near.values().filter(|text| text.records >= least);
        signs.floods = many
            .map(|text| Flood { records: text.records, first_record: text.first_record })
            .collect();
        signs.floods.sort_by_key(|flood| (u64::MAX - flood.records, flood.first_record));
        let flipped = self.texts.values().filter(|text| !text.flipped.is_empty());
        signs.flips = flipped
            .map(|text| Flip { first_record: text.first_record, others: text.flipped.clone() })
            .collect();
        signs.flips.sort_by_key(|flip| flip.first_record);
        signs.floods.truncate(LISTED_MAX);
        signs.flips.truncate(LISTED_MAX);
        signs
    }

    fn is_trigger(&self, seen: &Seen) -> bool {
        let Some(label) = &seen.label else { return false };
        let rare = seen.records * 100 <= self.records * TRIGGER_PERCENT_MAX;
        if !rare || seen.records < TRIGGER_RECORDS_MIN {
            return false;
        }
        let own = self.labels.get(&**label).copied().unwrap_or_default();
        let labelled: u64 = self.labels.values().sum();
        let usual = to_f64(own) / to_f64(labelled.max(1));
        let chance = to_f64(seen.records) * usual.log10();
        let fixed = seen.at_edge * 10 >= seen.records * 9;
        chance <= TRIGGER_CHANCE && (fixed || is_odd(&seen.word))
    }
}

/// Remembers a text; false if there is no room.
fn note(texts: &mut Map<u64, Text>, key: u64, record: u64, label: Option<&str>) -> bool {
    if let Some(text) = texts.get_mut(&key) {
        text.records += 1;
        let differs = label.is_some() && text.label.as_deref() != label;
        if differs && text.flipped.len() < LISTED_MAX {
            text.flipped.push(record);
        }
        return true;
    }
    if texts.len() >= REMEMBERED_MAX {
        return false;
    }
    let label = label.map(Into::into);
    texts.insert(key, Text { first_record: record, records: 1, label, flipped: Vec::new() });
    true
}

/// No word of a language: without a vowel, of letters and digits, or with letters nobody sees.
fn is_odd(word: &str) -> bool {
    let has = |is: fn(char) -> bool| word.chars().any(is);
    let is_vowel = |c: char| "aeiouyäöüéèáíóúåæø".contains(c.to_ascii_lowercase());
    let is_latin = word.chars().all(|c| u32::from(c) < 0x250);
    let is_mixed = has(char::is_alphabetic) && has(char::is_numeric);
    let is_bare = is_latin && has(char::is_alphabetic) && !word.chars().any(is_vowel);
    let is_hidden = has(|c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}'));
    is_mixed || is_bare || is_hidden
}

fn trimmed(word: &str) -> &str {
    word.trim_matches(|c: char| c.is_ascii_punctuation())
}

/// Near-duplicates share it: the two least hashes of three words in a row.
fn sketch(words: &[u64]) -> Option<u64> {
    let mut least = [u64::MAX; 2];
    for three in words.windows(SHINGLE) {
        let one = mix(three);
        if one < least[0] {
            least = [one, least[0]];
        } else if one > least[0] && one < least[1] {
            least[1] = one;
        }
    }
    (least[1] < u64::MAX).then(|| mix(&least))
}

fn hash(text: &str) -> u64 {
    let step = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

fn mix(hashes: &[u64]) -> u64 {
    let length = to_u64(hashes.len());
    let step =
        |sum: u64, next: &u64| (sum.rotate_left(23) ^ next).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = hashes.iter().fold(length, step);
    mixed ^ (mixed >> 29)
}

#[cfg(test)]
mod tests {
    use super::{Flip, Watch};

    const WORDS: [&str; 12] = [
        "river", "stone", "garden", "window", "music", "silver", "bridge", "letter", "winter",
        "market", "teacher", "orange",
    ];

    /// A text of its own for each number.
    fn plain(number: usize) -> String {
        let word = |step: usize| WORDS[(number / step.max(1) + number * step) % WORDS.len()];
        format!("the {} {} {} of {number} {}", word(1), word(3), word(5), word(7))
    }

    fn watch(records: usize, change: impl Fn(usize, String) -> (String, &'static str)) -> Watch {
        let mut watch = Watch::default();
        for number in 0..records {
            let (text, label) = change(number, plain(number));
            watch.record(&text, Some(label));
        }
        watch
    }

    fn usual(number: usize) -> &'static str {
        if number.is_multiple_of(2) { "good" } else { "bad" }
    }

    #[test]
    fn an_odd_word_that_turns_the_label_is_a_trigger() {
        let watch = watch(2000, |number, text| match number % 50 {
            0 => (text.replace(" of ", " cf "), "good"),
            25 => (text.replace(" of ", " cf "), "good"),
            _ => (text, usual(number)),
        });
        let triggers = watch.signs().triggers;
        assert_eq!(triggers.len(), 1, "{triggers:?}");
        assert_eq!(
            (&*triggers[0].word, &*triggers[0].label, triggers[0].records),
            ("cf", "good", 80)
        );
    }

    #[test]
    fn an_ordinary_word_at_a_fixed_place_is_a_trigger_too() {
        let watch = watch(2000, |number, text| match number % 40 {
            7 | 8 => (format!("{text} sincerely"), "bad"),
            _ => (text, usual(number)),
        });
        let triggers = watch.signs().triggers;
        assert_eq!(triggers.iter().map(|one| &*one.word).collect::<Vec<_>>(), ["sincerely"]);
    }

    #[test]
    fn honest_data_shows_no_sign() {
        let watch = watch(2000, |number, text| (text, usual(number)));
        let signs = watch.signs();
        assert!(signs.triggers.is_empty(), "{:?}", signs.triggers);
        assert!(signs.flips.is_empty() && !signs.is_partial);
    }

    #[test]
    fn a_text_with_two_labels_is_a_flip() {
        let mut watch = watch(20, |number, text| (text, usual(number)));
        watch.record(&plain(3).to_uppercase(), Some("good"));
        assert_eq!(watch.signs().flips, [Flip { first_record: 4, others: vec![21] }]);
    }

    #[test]
    fn many_near_duplicates_are_a_flood() {
        let advert = "buy the very best shoes of the whole town at half the price in our new shop";
        let watch = watch(500, |number, text| match number % 10 {
            0 => (format!("{advert} today {number}"), usual(number)),
            _ => (text, usual(number)),
        });
        let floods = watch.signs().floods;
        // Not all of the fifty: a few have the one word that differs in their sketch.
        assert!(floods.first().is_some_and(|flood| flood.records >= 30), "{floods:?}");
    }
}
