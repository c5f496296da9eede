//! Outside judges: what they are asked and what they say, whichever dialect they speak.
//!
//! A judge is asked about text that our own rules have cleared, so it never reads what they mask.
//! Asking takes a network, which is the gateway's; here is only what the bytes mean.

use crate::base::judge::{Dialect, Event};
use crate::guard::{airs, webhook};
use std::fmt;
use std::ops::Range;

/// Bytes of a judge's answer that are read.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Characters of a reason that are kept: it goes to records, and a judge is a stranger.
const REASON_CHARS_MAX: usize = 64;
/// Reasons that are kept.
const REASONS_MAX: usize = 16;
/// Between two masked places this many characters that stayed the same belong to the mask.
const GAP_CHARS: usize = 2;

/// What a judge is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The exchange's id, by which both sides can find it again.
    pub id: &'a str,
    /// What the text is.
    pub event: Event,
    /// The text, as far as our own rules let it pass.
    pub text: &'a str,
    /// The profile at the judge's side, if it has any.
    pub profile: &'a str,
    /// The human, where known.
    pub user: Option<&'a str>,
    /// The service or agent, where known.
    pub app: Option<&'a str>,
    /// The team, where known.
    pub team: Option<&'a str>,
    /// The model, for prompts and responses.
    pub model: Option<&'a str>,
    /// The MCP server, for tools.
    pub server: Option<&'a str>,
    /// The MCP method, for tools.
    pub method: Option<&'a str>,
    /// The tool's name.
    pub tool: Option<&'a str>,
}

/// What a judge says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// It must not pass.
    pub block: bool,
    /// Why, as words of the judge's: cut, and without anything but letters, digits and `_-. `.
    pub reasons: Vec<String>,
    /// What of the text must be masked, in bytes of it, in order and apart from each other.
    pub masks: Vec<Range<usize>>,
}

/// The answer is not what the dialect promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the judge's answer cannot be read")
    }
}

impl std::error::Error for Unreadable {}

/// The body of a question.
pub fn ask(dialect: Dialect, question: &Question<'_>) -> Vec<u8> {
    match dialect {
        Dialect::Airs => airs::ask(question),
        Dialect::Webhook => webhook::ask(question),
    }
}

/// What the body of an answer to a question about `text` says.
pub fn verdict(
    dialect: Dialect,
    event: Event,
    text: &str,
    body: &[u8],
) -> Result<Verdict, Unreadable> {
    match dialect {
        Dialect::Airs => airs::verdict(event, text, body),
        Dialect::Webhook => webhook::verdict(text, body),
    }
}

/// A reason of the judge's as a record may hold it.
pub fn reason(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-. ".contains(letter);
    text.chars().filter(|letter| plain(*letter)).take(REASON_CHARS_MAX).collect()
}

/// The first reasons that are something, as records may hold them.
pub fn reasons<T: AsRef<str>>(texts: impl Iterator<Item = T>) -> Vec<String> {
    texts
        .map(|text| reason(text.as_ref()))
        .filter(|text| !text.is_empty())
        .take(REASONS_MAX)
        .collect()
}

/// Where a text differs from its masked form.
///
/// Of the same length: each run of characters that changed. Else everything between what both
/// begin and end with: more than need be, never less.
pub fn differences(text: &str, masked: &str) -> Vec<Range<usize>> {
    if text.chars().count() != masked.chars().count() {
        return between(text, masked).into_iter().collect();
    }
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut same = 0;
    for ((at, own), other) in text.char_indices().zip(masked.chars()) {
        if own == other {
            same += 1;
            continue;
        }
        let end = at + own.len_utf8();
        match found.last_mut() {
            Some(last) if same <= GAP_CHARS => last.end = end,
            _ => found.push(at..end),
        }
        same = 0;
    }
    found
}

fn between(text: &str, masked: &str) -> Option<Range<usize>> {
    let pairs = || text.chars().zip(masked.chars());
    let start: usize =
        pairs().take_while(|(own, other)| own == other).map(|(own, _)| own.len_utf8()).sum();
    let (own, other) = (text.get(start..)?, masked.get(start..)?);
    let ends = own.chars().rev().zip(other.chars().rev());
    let end: usize =
        ends.take_while(|(own, other)| own == other).map(|(own, _)| own.len_utf8()).sum();
    // Text that was put in changes nothing of ours: what stands beside it goes.
    let end = (text.len() - end).max(start);
    let whole = if start == end { 0..text.len() } else { start..end };
    (!whole.is_empty()).then_some(whole)
}

/// Spans in code points as spans in bytes, in order and joined where they meet; one that lies
/// outside of the text, or holds nothing, is a fault.
pub fn bytes_of(text: &str, spans: &[[u64; 2]]) -> Result<Vec<Range<usize>>, Unreadable> {
    let mut spans: Vec<[u64; 2]> = spans.to_vec();
    spans.sort_unstable();
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let place = |at: u64| usize::try_from(at).ok().and_then(|at| places.get(at)).copied();
    let mut found: Vec<Range<usize>> = Vec::new();
    for [start, end] in spans {
        let (start, end) = place(start).zip(place(end)).ok_or(Unreadable)?;
        if start >= end {
            return Err(Unreadable);
        }
        match found.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ => found.push(start..end),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{Unreadable, bytes_of, differences, reason};
    use crate::base::numbers::to_u64;
    use proptest::prelude::proptest;

    fn shown<'a>(text: &'a str, masked: &str) -> Vec<&'a str> {
        differences(text, masked).into_iter().filter_map(|span| text.get(span)).collect()
    }

    #[test]
    fn what_a_judge_masked_is_found_by_comparing() {
        assert_eq!(shown("card 4111-1111, é 42", "card XXXX-XXXX, é 42"), ["4111-1111"]);
        assert_eq!(shown("a 12 and some 34", "a XX and some XX"), ["12", "34"]);
        assert_eq!(shown("call 555-0100 now", "call [PHONE] now"), ["555-0100"]);
        assert_eq!(shown("né 12", "né [MASK]"), ["12"]);
        assert_eq!(shown("same", "same"), Vec::<&str>::new());
        assert_eq!(shown("ab", "a*b"), ["ab"], "what was put in says nothing of its place");
        assert_eq!(shown("all", ""), ["all"]);
        assert_eq!(shown("", "x"), Vec::<&str>::new());
    }

    #[test]
    fn spans_in_code_points_become_spans_in_bytes() {
        let text = "é12ü34";
        let shown = |spans: &[[u64; 2]]| {
            bytes_of(text, spans).map(|found| {
                found.into_iter().filter_map(|span| text.get(span)).collect::<Vec<_>>()
            })
        };
        assert_eq!(shown(&[[1, 3], [4, 6]]), Ok(vec!["12", "34"]));
        assert_eq!(shown(&[[4, 6], [0, 1]]), Ok(vec!["é", "34"]));
        assert_eq!(shown(&[[0, 3], [1, 4]]), Ok(vec!["é12ü"]));
        assert_eq!(shown(&[[0, 2], [2, 3]]), Ok(vec!["é12"]));
        assert_eq!(shown(&[]), Ok(vec![]));
        assert_eq!(shown(&[[3, 3]]), Err(Unreadable));
        assert_eq!(shown(&[[4, 7]]), Err(Unreadable));
    }

    #[test]
    fn a_judges_words_cannot_mislead_who_reads_the_log() {
        assert_eq!(reason("dlp\n\u{1b}[31m{\"x\":1}"), "dlp31mx1");
        assert_eq!(reason(&"a".repeat(500)).len(), 64);
    }

    proptest! {
        #[test]
        fn whatever_was_changed_lies_in_what_is_masked(
            text in "[a-cé ]{0,20}", masked in "[a-cé X]{0,20}",
        ) {
            let spans = differences(&text, &masked);
            let mut rest = String::new();
            let mut at = 0;
            for span in &spans {
                assert!(at <= span.start && span.start < span.end, "{spans:?}");
                rest.push_str(text.get(at..span.start).unwrap());
                at = span.end;
            }
            rest.push_str(text.get(at..).unwrap());
            // What stays is in the masked form too, in the same order.
            let mut letters = masked.chars();
            assert!(rest.chars().all(|own| letters.any(|other| other == own)), "{spans:?}");
        }

        #[test]
        fn any_spans_are_read_or_refused(
            text in ".{0,12}", spans in proptest::collection::vec([0_u64..16, 0_u64..16], 0..6),
        ) {
            let valid = spans.iter().all(|[start, end]| {
                start < end && *end <= to_u64(text.chars().count())
            });
            match bytes_of(&text, &spans) {
                Ok(found) => {
                    assert!(found.iter().all(|span| text.get(span.clone()).is_some()));
                    let covered: usize =
                        found.iter().map(|span| text.get(span.clone()).unwrap().chars().count()).sum();
                    let wanted = (0..16_u64)
                        .filter(|at| spans.iter().any(|[start, end]| (*start..*end).contains(at)))
                        .count();
                    assert!(valid);
                    assert_eq!(covered, wanted);
                }
                Err(Unreadable) => assert!(!valid, "{text:?} {spans:?}"),
            }
        }
    }
}
