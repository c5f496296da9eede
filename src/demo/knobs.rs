//! What a prompt may ask of the demo model's behaviour, between `[demo` and `]`.
//!
//! The gateway forwards no header of a caller's that it does not know, so tests turn the knobs in
//! the text itself: `[demo status=503]`, `[demo delay_ms=50]`, `[demo cut=3]`,
//! `[demo chunks=100 gap_ms=20]`. An unknown knob is ignored, a number too large is lowered.

use http::StatusCode;
use std::time::Duration;

/// Longest wait before an answer, and between two chunks of one.
const WAIT_MS_MAX: u64 = 60_000;
/// Most chunks of one stream.
const CHUNKS_MAX: u32 = 100_000;
const OPENING: &str = "[demo ";

/// How the next answer is to behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Knobs {
    /// Answer with this status and an error object.
    pub status: Option<StatusCode>,
    /// Wait before the head of the answer.
    pub delay: Duration,
    /// Close the connection after so many chunks, without an end.
    pub cut: Option<u32>,
    /// Stretch the text to so many chunks.
    pub chunks: Option<u32>,
    /// Wait between two chunks.
    pub gap: Duration,
}

impl Knobs {
    /// Takes the knobs out of a prompt: what they say, and the prompt without them.
    pub fn take(prompt: &str) -> (Self, String) {
        let mut knobs = Self::default();
        let mut rest = prompt;
        let mut text = String::with_capacity(prompt.len());
        while let Some((before, opened)) = rest.split_once(OPENING) {
            let Some((inside, after)) = opened.split_once(']') else { break };
            text.push_str(before);
            for word in inside.split_ascii_whitespace() {
                knobs.turn(word);
            }
            rest = after;
        }
        text.push_str(rest);
        (knobs, text)
    }

    fn turn(&mut self, word: &str) {
        let Some((name, value)) = word.split_once('=') else { return };
        let Ok(number) = value.parse::<u64>() else { return };
        let count = u32::try_from(number).unwrap_or(u32::MAX).min(CHUNKS_MAX);
        let wait = Duration::from_millis(number.min(WAIT_MS_MAX));
        match name {
            "status" => self.status = u16::try_from(number).ok().and_then(refusal),
            "delay_ms" => self.delay = wait,
            "cut" => self.cut = Some(count),
            "chunks" => self.chunks = Some(count),
            "gap_ms" => self.gap = wait,
            _ => {}
        }
    }
}

/// Only statuses that end an exchange: a 1xx would promise another head.
fn refusal(number: u16) -> Option<StatusCode> {
    (200..600).contains(&number).then(|| StatusCode::from_u16(number).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::Knobs;
    use http::StatusCode;
    use std::time::Duration;

    #[test]
    fn knobs_are_taken_out_of_the_prompt() {
        let (knobs, text) = Knobs::take("a[demo status=503 delay_ms=5] b [demo cut=3]");
        assert_eq!(text, "a b ");
        assert_eq!(knobs.status, Some(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!((knobs.delay, knobs.cut), (Duration::from_millis(5), Some(3)));
    }

    #[test]
    fn what_is_no_knob_stays_or_is_ignored() {
        assert_eq!(Knobs::take("[demo ").1, "[demo ");
        assert_eq!(Knobs::take("[other status=1]"), (Knobs::default(), "[other status=1]".into()));
        let (knobs, text) = Knobs::take("[demo status=100 colour=3 cut=x]ok");
        assert_eq!((knobs, text.as_str()), (Knobs::default(), "ok"));
    }

    #[test]
    fn numbers_are_bounded() {
        let knobs = Knobs::take("[demo chunks=4294967296 gap_ms=99999999]").0;
        assert_eq!((knobs.chunks, knobs.gap), (Some(100_000), Duration::from_mins(1)));
    }
}
