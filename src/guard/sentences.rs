//! Cuts a text into sentences and words, the same way however the text arrives.
//!
//! A sentence is what one claim is judged by. It ends at a full stop, question or exclamation mark
//! that a blank follows, at a line's end, or where it is too long. Lines of code between fences are
//! no sentences.

use std::ops::Range;

/// A sentence is cut there, at the latest.
pub const SENTENCE_BYTES_MAX: usize = 1024;

/// Takes a text piece by piece and hands out whole sentences.
#[derive(Debug, Default)]
pub struct Sentences {
    /// What belongs to no whole sentence yet.
    open: String,
    /// Where that begins in the text.
    from: usize,
    is_code: bool,
}

/// One whole sentence.
#[derive(Debug, PartialEq, Eq)]
pub struct Sentence {
    /// What it says.
    pub text: String,
    /// Where it begins in the text.
    pub from: usize,
}

impl Sentences {
    /// Takes more of the text.
    pub fn push(&mut self, text: &str, out: &mut Vec<Sentence>) {
        for next in text.chars() {
            let is_full = self.open.len() >= SENTENCE_BYTES_MAX;
            if is_full || next.is_whitespace() && ends_sentence(&self.open) {
                self.close(out);
            }
            self.open.push(next);
            if matches!(next, '\n' | '。' | '！' | '？') {
                self.close(out);
            }
        }
    }

    /// The text has ended.
    pub fn finish(&mut self, out: &mut Vec<Sentence>) {
        self.close(out);
    }

    /// Up to where all sentences were handed out.
    pub const fn judged(&self) -> usize {
        self.from
    }

    fn close(&mut self, out: &mut Vec<Sentence>) {
        let text = std::mem::take(&mut self.open);
        let from = self.from;
        self.from += text.len();
        let is_fence = text.trim_start().starts_with("```");
        self.is_code ^= is_fence;
        if !self.is_code && !is_fence && !text.trim().is_empty() {
            out.push(Sentence { text, from });
        }
    }
}

/// All sentences of a whole text.
pub fn sentences(text: &str) -> Vec<Sentence> {
    let (mut cutter, mut all) = (Sentences::default(), Vec::new());
    cutter.push(text, &mut all);
    cutter.finish(&mut all);
    all
}

/// Whether a blank behind this text ends a sentence. A point behind an initial or a short title
/// does not.
fn ends_sentence(text: &str) -> bool {
    let closed = text.trim_end_matches(['"', '\'', ')', ']', '”', '’', '»']);
    if closed.ends_with(['!', '?']) {
        return true;
    }
    let Some(before) = closed.strip_suffix('.') else { return false };
    let start = before.rfind(|c: char| !c.is_alphabetic() && c != '.').map_or(0, |at| at + 1);
    let last = before.get(before.ceil_char_boundary(start)..).unwrap_or_default();
    let is_initial = last.chars().count() == 1 && last.chars().all(char::is_uppercase);
    !is_initial && !TITLES.contains(&last)
}

const TITLES: [&str; 12] =
    ["Mr", "Mrs", "Ms", "Dr", "Prof", "St", "vs", "e.g", "i.e", "Jr", "Sr", "approx"];

/// A word or a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    /// As it stands there.
    pub text: &'a str,
    /// Where.
    pub at: Range<usize>,
}

/// All words of a text. A letter of a script that is written without blanks is a word of its own.
pub fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (start, first) = rest.find(|(_, letter)| letter.is_alphanumeric())?;
        let mut end = start + first.len_utf8();
        while let Some((at, next)) = rest.peek().copied().filter(|_| !is_unspaced(first)) {
            let joins = next.is_alphanumeric() && !is_unspaced(next)
                || matches!(next, '\'' | '’') && follows_letter(text, at, next)
                || matches!(next, '.' | ',') && is_within_number(text, at);
            if !joins {
                break;
            }
            end = at + next.len_utf8();
            rest.next();
        }
        Some(Word { text: text.get(start..end)?, at: start..end })
    })
}

/// Han, kana and Thai are written without blanks.
const fn is_unspaced(letter: char) -> bool {
    matches!(letter, '\u{e00}'..='\u{e7f}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}')
}

fn follows_letter(text: &str, at: usize, mark: char) -> bool {
    let after = text.get(at + mark.len_utf8()..).and_then(|rest| rest.chars().next());
    after.is_some_and(char::is_alphabetic)
}

fn is_within_number(text: &str, at: usize) -> bool {
    let is_digit = |at: Option<usize>| {
        at.and_then(|at| text.as_bytes().get(at)).is_some_and(u8::is_ascii_digit)
    };
    is_digit(at.checked_sub(1)) && is_digit(Some(at + 1))
}

/// The word without case and the commonest English endings; other languages keep theirs.
pub fn stem(word: &str) -> String {
    let lower = word.to_lowercase().replace('’', "'");
    let mut stem = lower.strip_suffix("'s").unwrap_or(&lower).to_owned();
    for (ending, instead) in ENDINGS {
        let Some(rest) = stem.strip_suffix(ending).filter(|rest| rest.len() >= 3) else { continue };
        stem = format!("{rest}{instead}");
        break;
    }
    let mut back = stem.chars().rev();
    if stem.len() > 3 && back.next() == back.next() {
        stem.pop();
    }
    stem
}

const ENDINGS: [(&str, &str); 11] = [
    ("ingly", ""),
    ("edly", ""),
    ("ing", ""),
    ("ies", "y"),
    ("ied", "y"),
    ("ed", ""),
    ("es", ""),
    ("ly", ""),
    ("er", ""),
    ("s", ""),
    ("e", ""),
];

/// Words that say nothing by themselves.
pub fn is_function_word(lower: &str) -> bool {
    FUNCTION_WORDS.contains(&lower)
}

/// Words that turn a claim around.
pub fn is_negation(lower: &str) -> bool {
    lower.ends_with("n't") || NEGATIONS.contains(&lower)
}

const NEGATIONS: [&str; 11] = [
    "no", "not", "never", "none", "nobody", "nothing", "neither", "nor", "without", "cannot",
    "nicht",
];

const FUNCTION_WORDS: [&str; 94] = [
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "for", "from", "had", "has",
    "have", "he", "her", "hers", "him", "his", "i", "if", "in", "into", "is", "it", "its", "me",
    "my", "of", "on", "or", "our", "out", "she", "so", "than", "that", "the", "their", "them",
    "then", "there", "these", "they", "this", "those", "to", "up", "us", "was", "we", "were",
    "what", "when", "which", "who", "will", "with", "would", "you", "your", "do", "does", "did",
    "am", "can", "could", "should", "about", "also", "just", "very", "more", "most", "some", "any",
    "all", "because", "how", "why", "yes", "oh", "well", "like", "know", "think", "really", "i'm",
    "it's", "that's", "i've", "you're", "they're",
];

#[cfg(test)]
mod tests {
    use super::{Sentences, sentences, stem, words};
    use proptest::prelude::{prop, proptest};

    fn texts(said: &str) -> Vec<String> {
        sentences(said).into_iter().map(|one| one.text.trim().to_owned()).collect()
    }

    #[test]
    fn sentences_end_where_a_reader_would_end_them() {
        let said = "Dr. A. Smith came (in 1.5 hours). \"Why?\" he asked!\nNext line 东京很大。好";
        let wanted = [
            "Dr. A. Smith came (in 1.5 hours).",
            "\"Why?\"",
            "he asked!",
            "Next line 东京很大。",
            "好",
        ];
        assert_eq!(texts(said), wanted);
    }

    #[test]
    fn code_between_fences_is_no_sentence() {
        assert_eq!(texts("See:\n```rust\nlet a = 1.\n```\nDone."), ["See:", "Done."]);
    }

    #[test]
    fn words_keep_their_numbers_and_apostrophes() {
        let all: Vec<&str> = words("It's 1,234.5 km—don't! 東京").map(|word| word.text).collect();
        assert_eq!(all, ["It's", "1,234.5", "km", "don't", "東", "京"]);
    }

    #[test]
    fn endings_go_and_short_words_stay() {
        let all = ["running", "cities", "bus", "is", "Falls", "made"].map(stem);
        assert_eq!(all, ["run", "city", "bus", "is", "fal", "mad"]);
    }

    proptest! {
        #[test]
        fn sentences_do_not_depend_on_how_the_text_is_cut(
            said in "([A-Za-z]{1,4}[.!?]{0,2}[ \n]{0,2}|```\n|。|1\\.5|x{300}){0,40}",
            lengths in prop::collection::vec(1_usize..30, 1..10),
        ) {
            let (mut cutter, mut all) = (Sentences::default(), Vec::new());
            let mut letters = said.chars().peekable();
            for length in lengths.into_iter().cycle() {
                if letters.peek().is_none() {
                    break;
                }
                let piece: String = letters.by_ref().take(length).collect();
                cutter.push(&piece, &mut all);
            }
            cutter.finish(&mut all);
            assert_eq!(all, sentences(&said));
            assert_eq!(cutter.judged(), said.len());
        }
    }
}
