//! Whether an answer tells what the system prompt says, or a canary that was hidden in it.
//!
//! The prompt is remembered as hashes of five words in a row, without case and punctuation. Words
//! that others of the request said as well are not counted, since they are no secret. A prompt
//! that is told in other words, in another language or encoded is not seen; a canary is, whatever
//! its letters are parted by.

use crate::base::text::{Channel, Text};
use crate::config::guards::CANARY_LETTERS_LEAST;
use std::collections::HashSet;

/// How many words in a row are one shingle.
const WORDS: usize = 5;

/// So many shingles of a prompt are remembered, from its beginning.
const SHINGLES_MAX: usize = 16 * 1024;

/// Fewer of them in an answer are a turn of phrase, and no leak.
const SHINGLES_MIN: usize = 8;

/// From so many shingles on, or the whole of a shorter prompt, a leak is complete.
const SHINGLES_ALL: usize = 100;

/// What the system prompt says and nobody else does.
#[derive(Debug)]
pub struct Prompt {
    shingles: HashSet<u64>,
}

impl Prompt {
    /// That of a request; nothing if it has none that is long enough to be told.
    pub fn of(request: &Text) -> Option<Self> {
        let mut shingles = HashSet::new();
        let of = |wanted: fn(Channel) -> bool| {
            let own = request.segments().iter().filter(move |one| wanted(one.channel));
            own.filter_map(|segment| request.joined().get(segment.at.clone()))
        };
        for said in of(|channel| channel == Channel::System) {
            Words::default().push(said, |shingle| {
                if shingles.len() < SHINGLES_MAX {
                    shingles.insert(shingle);
                }
            });
        }
        if shingles.len() < SHINGLES_MIN {
            return None;
        }
        for said in of(|channel| matches!(channel, Channel::User | Channel::Document)) {
            Words::default().push(said, |shingle| {
                shingles.remove(&shingle);
            });
        }
        (shingles.len() >= SHINGLES_MIN).then_some(Self { shingles })
    }
}

/// Follows one text and counts what of a prompt it tells.
#[derive(Debug, Default)]
pub struct Trace {
    words: Words,
    told: HashSet<u64>,
}

impl Trace {
    /// Takes more of the text; how much of the prompt it has told by now, in percent.
    pub fn push(&mut self, text: &str, prompt: &Prompt) -> usize {
        let told = &mut self.told;
        self.words.push(text, |shingle| {
            if prompt.shingles.contains(&shingle) {
                told.insert(shingle);
            }
        });
        self.percent(prompt)
    }

    /// The text has ended, and with it its last word.
    pub fn finish(&mut self, prompt: &Prompt) -> usize {
        self.push(" ", prompt)
    }

    fn percent(&self, prompt: &Prompt) -> usize {
        if self.told.len() < SHINGLES_MIN {
            return 0;
        }
        let all = prompt.shingles.len().clamp(1, SHINGLES_ALL);
        (self.told.len() * 100 / all).min(100)
    }
}

/// The latest words of a text, as hashes.
#[derive(Debug, Default)]
struct Words {
    /// The word that is not over yet; zero if there is none.
    open: u64,
    latest: [u64; WORDS],
    count: usize,
}

impl Words {
    fn push(&mut self, text: &str, mut each: impl FnMut(u64)) {
        for letter in text.chars() {
            if letter.is_ascii_alphanumeric() {
                // What follows says the same for it, at ten times the cost.
                self.add(letter.to_ascii_lowercase());
                continue;
            }
            if letter.is_alphanumeric() {
                letter.to_lowercase().for_each(|lower| self.add(lower));
                continue;
            }
            if self.open == 0 || letter == '\'' || letter == '’' {
                continue;
            }
            self.latest.rotate_left(1);
            if let Some(last) = self.latest.last_mut() {
                *last = std::mem::take(&mut self.open);
            }
            self.count += 1;
            if self.count >= WORDS {
                each(self.latest.iter().fold(0, |sum, word| (sum ^ word).wrapping_mul(PRIME)));
            }
        }
    }

    /// One more letter of the open word.
    fn add(&mut self, letter: char) {
        self.open = (self.open ^ u64::from(u32::from(letter))).wrapping_mul(PRIME).max(1);
    }
}

/// FNV's, for 64 bits.
const PRIME: u64 = 0x100_0000_01b3;

/// Words that nobody may say: they were hidden where only a leak finds them.
#[derive(Debug, Default)]
pub struct Canaries {
    /// Their letters and digits alone, in lower case.
    folded: Vec<String>,
    longest: usize,
}

impl Canaries {
    /// These; one with too few letters is left out, the configuration refuses it.
    pub fn new(all: &[&str]) -> Self {
        let all =
            all.iter().map(|one| fold(one)).filter(|folded| folded.len() >= CANARY_LETTERS_LEAST);
        let folded: Vec<String> = all.collect();
        let longest = folded.iter().map(String::len).max().unwrap_or(0);
        Self { folded, longest }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.folded.is_empty()
    }
}

/// Follows one text and looks for canaries.
#[derive(Debug, Default)]
pub struct Perch {
    /// The latest letters and digits.
    tail: String,
}

impl Perch {
    /// Takes more of the text; whether a canary was said.
    pub fn push(&mut self, text: &str, canaries: &Canaries) -> bool {
        let letters = text.chars().filter(|letter| letter.is_alphanumeric());
        self.tail.extend(letters.flat_map(char::to_lowercase));
        let is_said = canaries.folded.iter().any(|canary| self.tail.contains(canary.as_str()));
        let keep = canaries.longest.saturating_sub(1);
        let cut = self.tail.floor_char_boundary(self.tail.len().saturating_sub(keep));
        self.tail.drain(..cut);
        is_said
    }
}

/// The letters and digits of a text alone, in lower case.
pub fn fold(text: &str) -> String {
    text.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::{Canaries, Perch, Prompt, Trace};
    use crate::base::text::{Channel, Form, Place, Source, Text, Trust};
    use proptest::prelude::{prop, proptest};

    const SYSTEM: &str = "You are Ada, the assistant of Example Bank. Never tell anybody the \
        internal rate of 4.2 percent. Answer in two sentences, and hand angry customers over to \
        the team lead of the day without asking them twice.";

    fn request(segments: &[(Channel, &str)]) -> Text {
        let mut text = Text::default();
        for (channel, said) in segments {
            let source = Source { raw: 0..said.len(), form: Form::PlainString };
            let place = Place { path: "messages[#].content", indexes: [0, 0] };
            text.push(said, source, *channel, Trust::Caller, place);
        }
        text
    }

    fn told(answer: &str, user: &str) -> Option<usize> {
        let request = request(&[(Channel::System, SYSTEM), (Channel::User, user)]);
        let prompt = Prompt::of(&request)?;
        let mut trace = Trace::default();
        trace.push(answer, &prompt);
        Some(trace.finish(&prompt))
    }

    #[test]
    fn a_prompt_that_is_told_is_seen_whatever_its_case_and_marks() {
        assert_eq!(told(SYSTEM, "hi"), Some(100));
        let shouted = SYSTEM.to_uppercase().replace(['.', ','], " -- ");
        assert_eq!(told(&shouted, "hi"), Some(100));
        let half: String = SYSTEM.chars().take(120).collect();
        assert!((30..70).contains(&told(&half, "hi").unwrap()));
    }

    #[test]
    fn a_turn_of_phrase_is_no_leak() {
        assert_eq!(told("I am the assistant of Example Bank. Never tell anybody!", "hi"), Some(0));
        assert_eq!(told("", "hi"), Some(0));
    }

    #[test]
    fn what_the_user_said_as_well_is_no_secret() {
        assert_eq!(told(SYSTEM, SYSTEM), None);
        assert!(Prompt::of(&request(&[(Channel::System, "Be kind to all.")])).is_none());
        assert!(Prompt::of(&request(&[(Channel::User, SYSTEM)])).is_none());
    }

    #[test]
    fn a_canary_is_seen_however_it_is_parted() {
        let canaries = Canaries::new(&["cn-7Kq2-Xw9p-Lm4t", "short"]);
        let said = |text: &str| Perch::default().push(text, &canaries);
        assert!(said("it is CN7KQ2XW9PLM4T."));
        assert!(said("c n-7\nk.q/2xw9plm4t"));
        assert!(!said("cn-7Kq2-Xw9p-Lm4"));
        assert!(!said("short"), "it could be said by chance");
    }

    proptest! {
        #[test]
        fn what_is_told_does_not_depend_on_how_it_is_cut(
            lengths in prop::collection::vec(1_usize..9, 1..12),
        ) {
            let request = request(&[(Channel::System, SYSTEM)]);
            let prompt = Prompt::of(&request).unwrap();
            let canaries = Canaries::new(&["team lead of the day"]);
            let (mut trace, mut perch, mut is_said) = (Trace::default(), Perch::default(), false);
            let mut letters = SYSTEM.chars().peekable();
            for length in lengths.into_iter().cycle() {
                if letters.peek().is_none() {
                    break;
                }
                let piece: String = letters.by_ref().take(length).collect();
                trace.push(&piece, &prompt);
                is_said |= perch.push(&piece, &canaries);
            }
            assert_eq!(trace.finish(&prompt), 100);
            assert!(is_said);
        }
    }
}
