//! Words that must stand before a value: what tells a customer number from a card's check code.
//!
//! Only what stands before counts, and only so far: a stream would have to hold a value back to
//! see what follows it. A word decides by the text alone, so every split says the same.

use crate::guard::pack::PackWords;
use regex::Regex;
use std::ops::Range;

/// The greatest distance between a word and the value, in bytes.
pub const WITHIN_MAX: usize = 96;
/// The longest word, in bytes.
pub const WORD_BYTES_MAX: usize = 48;
/// How much of what stands before a value is needed: a word, its distance and its neighbour.
pub const REACH: usize = WITHIN_MAX + WORD_BYTES_MAX + 4;

/// What may stand between a word and the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// Quotes and blanks.
    Adjacent,
    /// The rest of a name and then an assignment: `my_word_2 = "value`, `<word>value`, `word is`.
    /// The word may be part of a longer one.
    Assigned,
    /// The same, where the name ends with the word: `my_word = "value`.
    Named,
    /// Anything. The word stands on its own.
    Near,
}

/// The words of one rule, compiled.
#[derive(Debug)]
pub struct Context {
    words: Regex,
    /// Words that hold capitals within: others are written in one case.
    mixed: Vec<String>,
    pack: PackWords,
    unless: Option<Regex>,
}

impl Context {
    /// Compiles; `None` if a word is empty or too long, or the distance is.
    pub fn compile(pack: &PackWords) -> Option<Self> {
        let fits = |word: &String| !word.is_empty() && word.len() <= WORD_BYTES_MAX;
        if pack.list.is_empty() || !pack.list.iter().all(fits) || pack.within > WITHIN_MAX {
            return None;
        }
        let unless = if pack.unless.is_empty() { None } else { Some(any_of(&pack.unless)?) };
        let is_mixed = |word: &&String| !is_one_case(word);
        let mixed = pack.list.iter().filter(is_mixed).cloned().collect();
        Some(Self { words: any_of(&pack.list)?, mixed, pack: pack.clone(), unless })
    }

    /// Where words end in `seen`, in ascending order.
    pub fn ends(&self, seen: &str) -> Vec<usize> {
        let (mut ends, mut at) = (Vec::new(), 0);
        while let Some(found) = self.words.find_at(seen, at) {
            if self.is_word(seen, &found.range()) && !is_masked(seen, &found.range()) {
                ends.push(found.end());
            }
            // The next one may overlap: what stands before must not decide which are seen.
            at = found.start() + seen.get(found.start()..).map_or(1, first_length);
        }
        ends.sort_unstable();
        ends
    }

    fn is_word(&self, seen: &str, found: &Range<usize>) -> bool {
        match self.pack.join {
            Join::Near => is_alone(seen, found),
            Join::Adjacent => true,
            // `SetSysctl` does not hold the word `etsy`.
            Join::Assigned | Join::Named => {
                let text = seen.get(found.clone()).unwrap_or_default();
                is_one_case(text) || self.mixed.iter().any(|word| word == text)
            }
        }
    }

    /// The first place at or after `at` where a value may begin, for these ends of words.
    pub fn next_place(&self, ends: &[usize], at: usize) -> Option<usize> {
        let before = ends.partition_point(|end| *end <= at);
        let near = before.checked_sub(1).and_then(|last| ends.get(last));
        match near {
            Some(end) if at - end <= self.pack.within => Some(at),
            Some(_) | None => ends.get(before).copied(),
        }
    }

    /// Whether what stands between the last word before `at` and `at` joins them.
    pub fn joins(&self, seen: &str, ends: &[usize], at: usize) -> bool {
        let before = ends.partition_point(|end| *end <= at);
        let near = before.checked_sub(1).and_then(|last| ends.get(last));
        let Some(end) = near.filter(|end| at - **end <= self.pack.within) else { return false };
        let gap = seen.get(*end..at).unwrap_or_default();
        let joins = match self.pack.join {
            Join::Near => true,
            Join::Adjacent => gap.len() <= OPENING_BYTES_MAX && gap.chars().all(is_adjacent),
            Join::Assigned => is_assignment(gap, false),
            Join::Named => is_assignment(without_type(gap), true),
        };
        let quoted = || gap.trim_end().ends_with(['"', '\'', '`']);
        joins && (!self.pack.quoted || quoted()) && !self.is_excepted(seen, *end, gap)
    }

    /// Whether a word that rules the value out stands in the name, or between it and the value.
    fn is_excepted(&self, seen: &str, end: usize, gap: &str) -> bool {
        let Some(unless) = &self.unless else { return false };
        let from = seen.ceil_char_boundary(end.saturating_sub(WORD_BYTES_MAX));
        let name = seen.get(from..end).unwrap_or_default();
        let name = name.rsplit(|letter: char| !is_name(letter) || letter == ' ').next();
        unless.is_match(name.unwrap_or_default()) || unless.is_match(gap)
    }
}

/// Whether a word is part of a placeholder: what was masked says nothing of what stands behind it.
fn is_masked(seen: &str, word: &Range<usize>) -> bool {
    let is_of = |letter: char| letter.is_ascii_uppercase() || letter == '_';
    let before = seen.get(..word.start).unwrap_or_default().trim_end_matches(is_of);
    let after = seen.get(word.end..).unwrap_or_default().trim_start_matches(is_of);
    before.ends_with('[') && after.starts_with(']')
}

/// Thai, Lao, Burmese, Khmer, and all from the Japanese signs on.
const fn is_unspaced(letter: char) -> bool {
    matches!(letter, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}')
        || letter >= '\u{3000}'
}

/// An expression for any of these words, in any case; the longest first.
pub fn any_of(words: &[String]) -> Option<Regex> {
    let mut sorted: Vec<&String> = words.iter().collect();
    sorted.sort_by_key(|word| usize::MAX - word.len());
    let escaped: Vec<String> = sorted.iter().map(|word| regex::escape(word)).collect();
    regex::RegexBuilder::new(&escaped.join("|")).case_insensitive(true).build().ok()
}

/// Whether a word is in small letters, in capitals, or begins with a capital.
fn is_one_case(word: &str) -> bool {
    let mut rest = word.chars();
    let small = |letter: char| !letter.is_uppercase();
    let large = |letter: char| !letter.is_lowercase();
    let all_large = word.chars().all(large);
    rest.next();
    all_large || rest.all(small)
}

/// Whether a word is no part of a longer one; `cardCvv` and `card_cvv` hold the word `cvv`.
fn is_alone(seen: &str, word: &Range<usize>) -> bool {
    let before = seen.get(..word.start).and_then(|left| left.chars().next_back());
    let after = seen.get(word.end..).and_then(|right| right.chars().next());
    let first = seen.get(word.start..).and_then(|word| word.chars().next());
    let camel = before.is_some_and(char::is_lowercase) && first.is_some_and(char::is_uppercase);
    // Scripts without blanks between words have no border to ask for.
    let spaced = !first.is_some_and(is_unspaced);
    let left = camel || !before.is_some_and(char::is_alphabetic);
    // Where another word begins: `cvvCode`.
    let last = seen.get(..word.end).and_then(|left| left.chars().next_back());
    let hump = last.is_some_and(char::is_lowercase) && after.is_some_and(char::is_uppercase);
    let right = hump || !after.is_some_and(char::is_alphabetic);
    !spaced || (left && right)
}

/// The rest of a name and what closes it, an operator, and what opens a value.
fn is_assignment(gap: &str, named: bool) -> bool {
    let rest = gap.trim_start_matches(is_name);
    let said = gap.get(..gap.len() - rest.len()).unwrap_or_default();
    let value = rest.trim_start_matches(is_operator);
    let operator = rest.get(..rest.len() - value.len()).unwrap_or_default();
    let is_said = || SAID.iter().any(|word| said.trim_end_matches(is_opening).ends_with(word));
    let name = said.trim_end_matches(is_opening);
    let opens = value.len() <= OPENING_BYTES_MAX && value.chars().all(is_opening);
    let joined = if operator.is_empty() { is_said() } else { operator.len() <= 4 };
    // Nothing goes on with the name, but what is said in place of an operator.
    let ends = || operator.is_empty() && name.len() <= SAID_BYTES_MAX;
    let bare = || !name.contains(|letter: char| letter.is_ascii_alphanumeric());
    opens && joined && name.len() <= NAME_BYTES_MAX && (!named || ends() || bare())
}

/// Without the type that some languages write behind a name.
fn without_type(gap: &str) -> &str {
    let rest = gap.trim_start_matches([':', ' ']);
    ["string", "String", "str"].iter().find_map(|kind| rest.strip_prefix(kind)).unwrap_or(gap)
}

/// The longest of what is said in place of an operator, in bytes.
const SAID_BYTES_MAX: usize = 5;
/// The longest rest of a name, in bytes.
const NAME_BYTES_MAX: usize = 40;
/// How much may open a value: quotes, blanks and an indent.
const OPENING_BYTES_MAX: usize = 24;
/// What a person says in place of an operator.
const SAID: [&str; 6] = [" is", " was", " =", " ist", " es", " est"];

const fn is_name(next: char) -> bool {
    next.is_ascii_alphanumeric()
        || matches!(next, '_' | '.' | '-' | ' ' | '\t')
        || matches!(next, '"' | '\'' | '`' | ')' | '[' | ']' | '\\' | '*' | '$')
}

const fn is_operator(next: char) -> bool {
    matches!(next, '=' | ':' | '>' | '|' | ',' | '?' | '~')
}

const fn is_opening(next: char) -> bool {
    matches!(next, '"' | '\'' | '`' | ' ' | '\t' | '\r' | '\n' | '=' | '\\' | '(' | '*')
}

const fn is_adjacent(next: char) -> bool {
    is_opening(next) || matches!(next, ':' | '{')
}

fn first_length(text: &str) -> usize {
    text.chars().next().map_or(1, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::{Context, Join};
    use crate::guard::pack::PackWords;

    fn pack(words: &[&str], join: Join) -> PackWords {
        let list = words.iter().map(|word| (*word).to_owned()).collect();
        PackWords { list, within: 40, join, quoted: false, unless: Vec::new() }
    }

    fn allowed(pack: &PackWords, text: &str) -> bool {
        let context = Context::compile(pack).unwrap();
        let at = text.find('§').unwrap();
        context.joins(text, &context.ends(text), at)
    }

    fn allows(words: &[&str], join: Join, text: &str) -> bool {
        allowed(&pack(words, join), text)
    }

    #[test]
    fn a_word_near_stands_on_its_own() {
        for text in ["CVV: §", "cardCvv §", "card_cvv=§", "cvv2 §", "cvvCode §", "Prüfziffer, §"]
        {
            assert!(allows(&["cvv", "prüfziffer"], Join::Near, text), "{text}");
        }
        let far = format!("cvv{}§", " ".repeat(41));
        for text in ["uncvvy §", "§ cvv", "xcvv §", far.as_str()] {
            assert!(!allows(&["cvv"], Join::Near, text), "{text}");
        }
        assert!(allows(&["身份证"], Join::Near, "我的身份证号是§"));
    }

    #[test]
    fn an_assignment_is_seen_in_every_way_it_is_written() {
        let all = [
            "acmeToken = \"§",
            "acme_token: '§",
            "ACME_API_KEY=§",
            "String acmeKey := `§",
            "System.setProperty(\"ACME_TOKEN\", \"§",
            "<acmeToken>\n    §",
            "{\"acme\": \"§",
            "my acme key is §",
            "acme[\"key\"] => §",
        ];
        for text in all {
            assert!(allows(&["acme"], Join::Assigned, text), "{text}");
        }
        for text in ["acme §", "acme corp; key = §", "acme\nkey §", "ac me = §", "aCme = §"] {
            assert!(!allows(&["acme"], Join::Assigned, text), "{text}");
        }
    }

    #[test]
    fn a_name_that_ends_with_the_word_is_told_from_one_that_goes_on() {
        for text in ["api_token = \"§", "apiToken: §", "var token string = \"§", "the token is §"]
        {
            assert!(allows(&["token"], Join::Named, text), "{text}");
        }
        for text in ["token_count = \"§", "token limit: §", "tokenizer = §"] {
            assert!(!allows(&["token"], Join::Named, text), "{text}");
        }
        assert!(allows(&["bearer"], Join::Adjacent, "Bearer  '§"));
        assert!(!allows(&["bearer"], Join::Adjacent, "Bearer of §"));
    }

    #[test]
    fn words_in_the_name_and_missing_quotes_rule_out() {
        let mut words = pack(&["token"], Join::Named);
        words.unless = vec!["public".to_owned()];
        assert!(!allowed(&words, "publicToken = §"));
        assert!(allowed(&words, "the public said token = §"));
        words.quoted = true;
        assert!(!allowed(&words, "token = §"));
        assert!(allowed(&words, "token = \"§"));
    }

    #[test]
    fn words_and_distances_have_bounds() {
        let compile = |word: String, within| {
            let mut words = pack(&[&word], Join::Near);
            words.within = within;
            Context::compile(&words)
        };
        assert!(compile("a".repeat(48), 96).is_some());
        assert!(compile("a".repeat(49), 96).is_none());
        assert!(compile("a".to_owned(), 97).is_none());
        assert!(compile(String::new(), 5).is_none());
    }
}
