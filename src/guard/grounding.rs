//! Whether what an answer claims stands in the sources that were given with the request.
//!
//! Each sentence is held against the sources' words: how many of its own it finds there, in which
//! order, in one sentence or scattered, and whether one of both denies. That tells claims that
//! nothing in the sources speaks of. It does not tell a wrong relation between right words, nor a
//! conclusion that follows, nor a paraphrase in other words: it is a flag for unsupported claims
//! and no check of facts. A number or a name that the sources do not have is exact.
//!
//! The weights were set by hand and not fitted: no corpus at hand has a licence to train on.

use crate::base::map::Map;
use crate::base::numbers::{to_f64, to_u64};
use crate::guard::sentences::{Word, is_function_word, is_negation, sentences, stem, words};
use std::collections::HashSet;
use std::ops::Range;

/// So many bytes of the sources are read; where there is more, nothing is called unsupported,
/// since it may stand in the rest.
pub const EVIDENCE_BYTES_MAX: usize = 1024 * 1024;

/// A sentence with fewer words of meaning claims too little to judge.
const CLAIM_WORDS_MIN: usize = 3;

/// The most that is looked at of one sentence.
const CLAIM_WORDS_MAX: usize = 96;

/// In how many sentences of the sources, those that have most of its words, a claim's order of
/// words is looked for.
const NEAREST: usize = 3;

/// What a request gives to ground an answer in.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The stems of each sentence of the sources.
    sentences: Vec<Said>,
    /// Which sentences say a stem.
    places: Map<u64, Vec<u32>>,
    /// Three stems in a row.
    triples: HashSet<u64>,
    /// Numbers and names that may be repeated: of the sources, and of everybody else's text.
    known: HashSet<u64>,
    bytes: usize,
}

#[derive(Debug)]
struct Said {
    stems: Vec<u64>,
    denies: bool,
}

/// What became of one sentence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// How far the sources support it, from 0 to 1; nothing if it claims nothing.
    pub support: Option<f64>,
    /// The first number that the sources do not have.
    pub number: Option<Range<usize>>,
    /// The first name that the sources do not have.
    pub name: Option<Range<usize>>,
}

/// What nobody said.
#[derive(Default)]
struct Unknown {
    number: Option<Range<usize>>,
    name: Option<Range<usize>>,
}

/// A sentence of an answer, taken apart.
struct Claim {
    /// All stems, in order.
    stems: Vec<u64>,
    /// Those with a meaning of their own.
    content: Vec<u64>,
    denies: bool,
    /// It speaks of the speaker, or asks.
    is_personal: bool,
}

impl Evidence {
    /// Adds a source.
    pub fn add(&mut self, text: &str) {
        self.bytes += text.len();
        if self.bytes > EVIDENCE_BYTES_MAX {
            return;
        }
        for sentence in sentences(text) {
            let index = u32::try_from(self.sentences.len()).unwrap_or(u32::MAX);
            let mut said = Said { stems: Vec::new(), denies: false };
            for word in words(&sentence.text) {
                said.denies |= is_negation(&word.text.to_lowercase());
                let stem = hash(&stem(word.text));
                said.stems.push(stem);
                let places = self.places.entry(stem).or_default();
                if places.last() != Some(&index) {
                    places.push(index);
                }
            }
            for three in said.stems.windows(3) {
                self.triples.insert(mix(three));
            }
            self.sentences.push(said);
        }
        self.allow(text);
    }

    /// Adds a text whose numbers and names an answer may repeat, such as the question.
    pub fn allow(&mut self, text: &str) {
        let all: Vec<Word<'_>> = words(text).collect();
        for word in &all {
            self.known.insert(hash(&stem(word.text)));
            for number in numbers(word.text) {
                self.known.insert(hash(&number));
            }
            let spelt = SPELT.iter().find(|(spelt, _)| word.text.eq_ignore_ascii_case(spelt));
            if let Some((_, digits)) = spelt {
                self.known.insert(hash(digits));
            }
        }
        // `10, 000` and `1. 3` are written so in texts that were taken apart before.
        for pair in all.windows(2) {
            let [one, two] = pair else { continue };
            let between = text.get(one.at.end..two.at.start);
            let is_number = |word: &Word<'_>| word.text.bytes().all(|byte| byte.is_ascii_digit());
            if matches!(between, Some(", " | ". ")) && is_number(one) && is_number(two) {
                let point = if between == Some(". ") { "." } else { "" };
                self.known.insert(hash(&format!("{}{point}{}", one.text, two.text)));
            }
        }
    }

    /// Whether all of the sources was read.
    pub const fn is_whole(&self) -> bool {
        self.bytes <= EVIDENCE_BYTES_MAX
    }

    /// Holds one sentence of an answer against the sources.
    pub fn judge(&self, sentence: &str) -> Judged {
        if !self.is_whole() {
            return Judged::default();
        }
        let unknown = self.unknown(sentence);
        let claim = Claim::of(sentence);
        let is_claim = claim.content.len() >= CLAIM_WORDS_MIN && !sentence.trim().ends_with('?');
        let support = is_claim.then(|| self.support(&claim, &unknown));
        Judged { support, number: unknown.number, name: unknown.name }
    }

    /// How far the sources support a whole answer, from 0 to 1: the mean of its sentences.
    pub fn support_of(&self, answer: &str) -> f64 {
        let mut sum = (0.0, 0.0);
        for sentence in sentences(answer) {
            let unknown = self.unknown(&sentence.text);
            let claim = Claim::of(&sentence.text);
            let weight = to_f64(to_u64(claim.stems.len()));
            sum.0 += weight * self.support(&claim, &unknown);
            sum.1 += weight;
        }
        if sum.1 > 0.0 { sum.0 / sum.1 } else { 0.0 }
    }

    /// The first number and the first name that nobody said.
    fn unknown(&self, sentence: &str) -> Unknown {
        let Unknown { mut number, mut name } = Unknown::default();
        for (index, word) in words(sentence).enumerate() {
            let is_known = |said: &str| self.known.contains(&hash(said));
            if number.is_none() && numbers(word.text).any(|number| !is_known(&number)) {
                number = Some(word.at.clone());
            }
            let mut letters = word.text.chars();
            let is_name = index > 0
                && letters.next().is_some_and(char::is_uppercase)
                && letters.next().is_some()
                && !is_placeholder(sentence, &word.at)
                && !is_function_word(&word.text.to_lowercase());
            if name.is_none() && is_name && !is_known(&stem(word.text)) {
                name = Some(word.at.clone());
            }
        }
        Unknown { number, name }
    }

    fn support(&self, claim: &Claim, unknown: &Unknown) -> f64 {
        let content = to_f64(to_u64(claim.content.len())).max(1.0);
        let mut counts: Map<u32, u32> = Map::default();
        let mut covered = 0_u32;
        for stem in &claim.content {
            let places = self.places.get(stem).map_or(&[][..], Vec::as_slice);
            covered += u32::from(!places.is_empty());
            // A word that stands nearly everywhere tells no sentence from another.
            for place in places.iter().take(PLACES_MAX) {
                *counts.entry(*place).or_default() += 1;
            }
        }
        let mut nearest: Vec<(u32, u32)> =
            counts.into_iter().map(|(place, count)| (count, place)).collect();
        nearest.sort_unstable_by_key(|(count, place)| (u32::MAX - count, *place));
        nearest.truncate(NEAREST);
        let best = nearest.first().map_or(0.0, |(count, _)| f64::from(*count) / content);
        let near = || nearest.iter().filter_map(|(_, place)| self.said(*place));
        let ordered = near().map(|said| common(&claim.stems, &said.stems)).max().unwrap_or(0);
        let ordered = to_f64(to_u64(ordered)) / to_f64(to_u64(claim.stems.len())).max(1.0);
        let triples = claim.stems.windows(3);
        let wanted = to_f64(to_u64(triples.len())).max(1.0);
        let triples = triples.filter(|three| self.triples.contains(&mix(three))).count();
        let mut support = 0.25 * (f64::from(covered) / content)
            + 0.3 * best
            + 0.3 * ordered
            + 0.15 * (to_f64(to_u64(triples)) / wanted);
        let denied = claim.denies && !near().any(|said| said.denies);
        let against = [denied, claim.is_personal, unknown.number.is_some(), unknown.name.is_some()];
        support -= 0.1 * to_f64(to_u64(against.into_iter().filter(|is| *is).count()));
        support.clamp(0.0, 1.0)
    }

    fn said(&self, place: u32) -> Option<&Said> {
        self.sentences.get(usize::try_from(place).ok()?)
    }
}

/// In so many sentences a word is looked up; with [`CLAIM_WORDS_MAX`] it bounds what a claim costs.
const PLACES_MAX: usize = 256;

impl Claim {
    fn of(sentence: &str) -> Self {
        let mut claim =
            Self { stems: Vec::new(), content: Vec::new(), denies: false, is_personal: false };
        for word in words(sentence).take(CLAIM_WORDS_MAX) {
            let lower = word.text.to_lowercase();
            let stem = hash(&stem(word.text));
            claim.stems.push(stem);
            let denies = is_negation(&lower);
            claim.denies |= denies;
            claim.is_personal |= PERSONAL.contains(&&*lower);
            if !denies && !is_function_word(&lower) && !is_placeholder(sentence, &word.at) {
                claim.content.push(stem);
            }
        }
        claim.is_personal |= sentence.contains('?');
        claim
    }
}

const PERSONAL: [&str; 7] = ["i", "my", "me", "we", "i'm", "i've", "i'd"];

const SPELT: [(&str, &str); 17] = [
    ("zero", "0"),
    ("one", "1"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
    ("eleven", "11"),
    ("twelve", "12"),
    ("twenty", "20"),
    ("thirty", "30"),
    ("fifty", "50"),
    ("hundred", "100"),
];

/// The numbers within a word, in one form: `1,234` and `1234`, `21st` and `21`, `007` and `7`.
fn numbers(word: &str) -> impl Iterator<Item = String> {
    word.split(|c: char| !c.is_ascii_digit() && c != '.' && c != ',')
        .map(|part| part.trim_matches(['.', ',']).replace(',', ""))
        .filter(|part| !part.is_empty())
        .map(|part| {
            let short = part.trim_start_matches('0');
            if short.is_empty() || short.starts_with('.') {
                format!("0{short}")
            } else {
                short.to_owned()
            }
        })
}

/// `[CARD]` stands for something that nobody may see; it is no name.
fn is_placeholder(sentence: &str, at: &Range<usize>) -> bool {
    let bytes = sentence.as_bytes();
    let before = at.start.checked_sub(1).and_then(|before| bytes.get(before));
    matches!(before, Some(b'[' | b'_')) || bytes.get(at.end) == Some(&b'_')
}

/// The length of the longest common subsequence.
fn common(one: &[u64], two: &[u64]) -> usize {
    let mut row = vec![0_usize; two.len() + 1];
    for word in one {
        let mut diagonal = 0;
        let mut left = 0;
        for (other, cell) in two.iter().zip(row.iter_mut().skip(1)) {
            let above = *cell;
            *cell = if word == other { diagonal + 1 } else { above.max(left) };
            diagonal = above;
            left = *cell;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// FNV-1a: what is looked up was said in the same request, so a collision harms its author only.
fn hash(text: &str) -> u64 {
    let step = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

fn mix(stems: &[u64]) -> u64 {
    stems
        .iter()
        .fold(0, |sum: u64, stem| (sum.rotate_left(21) ^ stem).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::{EVIDENCE_BYTES_MAX, Evidence};

    const SOURCE: &str = "The Harbour Bridge was opened to traffic on 19 March 1932. It carries \
        eight lanes and 160,000 vehicles a day. The bridge is not open to heavy lorries at night.";

    fn evidence() -> Evidence {
        let mut evidence = Evidence::default();
        evidence.add(SOURCE);
        evidence.allow("When was the bridge opened, asks Ada?");
        evidence
    }

    fn support(sentence: &str) -> f64 {
        evidence().judge(sentence).support.unwrap()
    }

    #[test]
    fn what_the_source_says_is_supported_and_what_it_does_not_say_is_not() {
        assert!(support("The Harbour Bridge opened to traffic in March 1932.") > 0.7);
        assert!(support("It carries 160,000 vehicles each day.") > 0.6);
        assert!(support("Tickets for the museum cost twelve dollars.") < 0.2);
        assert!(support("The bridge does not carry vehicles over its lanes.") < 0.7);
    }

    #[test]
    fn numbers_and_names_that_nobody_gave_are_found_exactly() {
        let unknown = |sentence: &str| {
            let judged = evidence().judge(sentence);
            let text = |span: Option<std::ops::Range<usize>>| {
                span.and_then(|span| sentence.get(span)).map(str::to_owned)
            };
            (text(judged.number), text(judged.name))
        };
        assert_eq!(unknown("It opened in 1937, Ada."), (Some("1937".into()), None));
        assert_eq!(unknown("It has 8 lanes for 160000 cars on the 19th."), (None, None));
        assert_eq!(unknown("It was designed by Bradfield."), (None, Some("Bradfield".into())));
        assert_eq!(unknown("Write to [EMAIL] or [IP_ADDRESS] today."), (None, None));
    }

    #[test]
    fn what_claims_nothing_is_not_judged() {
        for sentence in ["Sure!", "Is the bridge open at night?", "Here you are."] {
            assert_eq!(evidence().judge(sentence).support, None, "{sentence}");
        }
    }

    #[test]
    fn without_a_source_no_claim_is_supported() {
        let judged = Evidence::default().judge("The bridge opened in the spring.");
        assert!(judged.support.unwrap() < 0.01);
    }

    #[test]
    fn where_a_source_was_not_read_whole_nothing_is_called_unsupported() {
        let mut evidence = evidence();
        evidence.add(&"x ".repeat(EVIDENCE_BYTES_MAX / 2));
        let judged = evidence.judge("Tickets for the museum cost 12 dollars.");
        assert_eq!((judged.support, judged.number), (None, None));
    }
}
