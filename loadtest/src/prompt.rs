//! What is asked, and whether what comes back is an answer to it.
//!
//! Each prompt begins and ends with a nonce of its own, so that neither a cached nor another
//! connection's answer passes; now and then it holds the number of a test card. An echo must be
//! the prompt to the last byte, but for the card: of that nothing may come back. Pure.

use crate::mistake::Mistake;

/// Shorter prompts have no room for two nonces and a card.
pub const BYTES_MIN: usize = 128;
/// Longer ones are no prompt that anybody sends.
pub const BYTES_MAX: usize = 1024 * 1024;
/// Numbers of payment companies' test pages, in every way that people write them. All of them pass
/// the Luhn check; none was ever issued.
const CARDS: [&str; 5] = [
    "4242 4242 4242 4242",
    "4111111111111111",
    "5555-5555-5555-4444",
    "378282246310005",
    "6011 1111 1111 1117",
];
/// A mask is a word, not a text that something else could hide in.
const MASK_BYTES_MAX: usize = 64;
/// Plain words without anything that a guard looks for or that the demo model obeys.
const FILLER: &str = "The harbour was quiet in the morning, and the boats lay in a row along the \
    wall. A baker carried bread over the square while the bells rang for the first hour. ";
/// Letters only: digits in a row could pass for a number of some kind.
const NONCE_LETTERS: [char; 16] =
    ['b', 'c', 'd', 'f', 'g', 'h', 'j', 'k', 'l', 'm', 'n', 'p', 'q', 'r', 's', 't'];

/// Makes the prompts of a run.
#[derive(Debug)]
pub struct Prompts {
    run: String,
    filler: String,
    bytes: usize,
    card_every: Option<u64>,
}

/// One prompt.
#[derive(Debug)]
pub struct Prompt {
    /// The whole text: ASCII without anything that JSON would escape.
    pub text: String,
    nonce: String,
    card: Option<Planted>,
}

/// Where in the prompt the card stands, and which one it is.
#[derive(Debug)]
struct Planted {
    number: &'static str,
    from: usize,
    to: usize,
}

impl Prompts {
    /// Prompts of so many bytes, each `card_every`th with a card. `run` tells this run's nonces
    /// from those of all others.
    pub fn new(run: u32, bytes: usize, card_every: Option<u64>) -> Self {
        let bytes = bytes.clamp(BYTES_MIN, BYTES_MAX);
        let filler = FILLER.chars().cycle().take(bytes).collect();
        Self { run: letters(u64::from(run)), filler, bytes, card_every }
    }

    /// The prompt of that number.
    pub fn make(&self, number: u64) -> Prompt {
        let nonce = format!("q-{}-{}", self.run, letters(number));
        let every = self.card_every.filter(|every| number.is_multiple_of((*every).max(1)));
        let card = every.and_then(|every| {
            let turn = usize::try_from(number / every.max(1)).unwrap_or_default();
            CARDS.get(turn % CARDS.len()).copied()
        });
        let mut text = String::with_capacity(self.bytes);
        text.push_str(&nonce);
        text.push(' ');
        let around = 2 * (nonce.len() + 1) + card.map_or(0, |card| card.len() + 2);
        let fill = self.bytes.saturating_sub(around);
        let before = if card.is_some() { fill / 2 } else { fill };
        text.push_str(self.filler.get(..before).unwrap_or_default());
        let planted = card.map(|number| {
            text.push(' ');
            let from = text.len();
            text.push_str(number);
            let to = text.len();
            text.push(' ');
            text.push_str(self.filler.get(..fill - before).unwrap_or_default());
            Planted { number, from, to }
        });
        text.push(' ');
        text.push_str(&nonce);
        Prompt { text, nonce, card: planted }
    }
}

impl Prompt {
    /// Whether it holds a card.
    pub fn has_card(&self) -> bool {
        self.card.is_some()
    }

    /// Judges the text of an answer; `true`: it was an echo, and sound. An echo begins with
    /// `prefix`; of any other text only the card is asked.
    pub fn judge(&self, prefix: &str, text: &str) -> Result<bool, Mistake> {
        self.keeps_card(text)?;
        let Some(echo) = text.strip_prefix(prefix) else { return Ok(false) };
        if !echo.contains(&self.nonce) {
            return Err(Mistake::NonceMissing);
        }
        if self.is_echo(echo) { Ok(true) } else { Err(Mistake::EchoDiffers) }
    }

    /// Looks for the card in whatever came back, in any spelling.
    pub fn keeps_card(&self, text: &str) -> Result<(), Mistake> {
        let Some(card) = &self.card else { return Ok(()) };
        if compact(text).contains(&compact(card.number)) {
            return Err(Mistake::CardCameBack);
        }
        Ok(())
    }

    fn is_echo(&self, echo: &str) -> bool {
        let Some(card) = &self.card else { return echo == self.text };
        let before = self.text.get(..card.from).unwrap_or_default();
        let after = self.text.get(card.to..).unwrap_or_default();
        echo.strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .is_some_and(|mask| mask.len() <= MASK_BYTES_MAX)
    }
}

/// Without what people put between the digits of a card.
fn compact(text: &str) -> String {
    text.chars().filter(|letter| !matches!(letter, ' ' | '-')).collect()
}

/// A number in letters, at least eight of them.
fn letters(number: u64) -> String {
    format!("{number:08x}")
        .chars()
        .filter_map(|digit| {
            let place = usize::try_from(digit.to_digit(16)?).ok()?;
            NONCE_LETTERS.get(place).copied()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MIN, CARDS, Prompts, compact};
    use crate::mistake::Mistake;

    fn luhn(number: &str) -> bool {
        let digits = number.chars().filter_map(|c| c.to_digit(10)).rev().enumerate();
        let sum: u32 = digits
            .map(|(at, digit)| if at % 2 == 0 { digit } else { digit * 2 / 10 + digit * 2 % 10 })
            .sum();
        sum.is_multiple_of(10)
    }

    #[test]
    fn every_card_passes_the_luhn_check() {
        assert!(CARDS.iter().all(|card| luhn(card)));
        assert!(!luhn("4242 4242 4242 4241"));
    }

    #[test]
    fn a_prompt_has_its_length_and_needs_no_escape() {
        for (bytes, card_every) in [(BYTES_MIN, None), (BYTES_MIN, Some(1)), (2048, Some(1))] {
            for number in 0..6 {
                let prompt = Prompts::new(u32::MAX, bytes, card_every).make(number);
                assert_eq!(prompt.text.len(), bytes, "{card_every:?}");
                assert!(
                    prompt.text.bytes().all(|b| (32..127).contains(&b) && b != b'"' && b != b'\\')
                );
                assert_eq!(prompt.has_card(), card_every.is_some());
            }
        }
    }

    #[test]
    fn cards_are_planted_at_their_turn() {
        let prompts = Prompts::new(1, 256, Some(3));
        let planted: Vec<bool> = (0..7).map(|number| prompts.make(number).has_card()).collect();
        assert_eq!(planted, [true, false, false, true, false, false, true]);
        let kinds: std::collections::BTreeSet<_> =
            (0..15).filter_map(|number| Some(prompts.make(number).card?.number)).collect();
        assert_eq!(kinds.len(), CARDS.len());
    }

    #[test]
    fn a_sound_echo_passes_and_every_other_is_told_apart() {
        let prompts = Prompts::new(1, 256, None);
        let (prompt, other) = (prompts.make(1), prompts.make(2));
        let judge = |echo: &str| prompt.judge("You said: ", echo);
        let text = &prompt.text;
        assert_eq!(judge(&format!("You said: {text}")), Ok(true));
        assert_eq!(judge("Something else"), Ok(false));
        assert_eq!(judge(&format!("You said: {}", other.text)), Err(Mistake::NonceMissing));
        assert_eq!(judge(&format!("You said: {text}!")), Err(Mistake::EchoDiffers));
        assert_eq!(
            judge(&format!("You said: {}", text.get(..255).unwrap())),
            Err(Mistake::EchoDiffers)
        );
        assert_eq!(judge("You said: "), Err(Mistake::NonceMissing));
    }

    #[test]
    fn a_masked_card_passes_and_a_spelt_one_does_not() {
        for turn in 0..5 {
            let prompt = Prompts::new(1, 256, Some(1)).make(turn);
            let card = CARDS[usize::try_from(turn).unwrap()];
            let echo =
                |by: &str| prompt.judge("E: ", &format!("E: {}", prompt.text.replace(card, by)));
            assert_eq!(echo("[CARD]"), Ok(true));
            assert_eq!(echo(&"x".repeat(65)), Err(Mistake::EchoDiffers));
            for spelling in [card, &compact(card), &compact(card).replace("11", "1-1 ")] {
                let leaked = prompt.judge("E: ", &format!("Take {spelling}."));
                let has_it = compact(spelling) == compact(card);
                assert_eq!(leaked, if has_it { Err(Mistake::CardCameBack) } else { Ok(false) });
                assert_eq!(echo(spelling).is_err(), has_it);
            }
        }
    }
}
