//! What of a body an outside judge is asked about, and the way back from what it would mask.

use crate::base::json::{Json, Value};
use crate::base::splice::Splices;
use crate::base::text::{Channel, Segment, Text};
use crate::guard::mask::Masks;
use std::ops::Range;

/// What stands where a judge would mask.
const PLACEHOLDER: &str = "[MASKED]";
/// Between two segments, in the text of a question.
const BETWEEN: char = '\n';

/// Text of a body, for a judge.
#[derive(Debug, Default)]
pub struct Said {
    /// The text.
    pub text: String,
    parts: Parts,
}

/// Where it came from.
#[derive(Debug)]
enum Parts {
    /// The body itself, from there on.
    Raw(usize),
    /// Segments of it, each with where it begins in the text.
    Segments(Vec<(Segment, usize)>),
}

impl Default for Parts {
    fn default() -> Self {
        Self::Segments(Vec::new())
    }
}

impl Said {
    /// What was said on these channels.
    pub fn of(text: &Text, channels: &[Channel]) -> Self {
        let (mut all, mut parts) = (String::new(), Vec::new());
        for segment in text.segments() {
            let said = text.joined().get(segment.at.clone()).unwrap_or_default();
            if said.is_empty() || !channels.contains(&segment.channel) {
                continue;
            }
            if !all.is_empty() {
                all.push(BETWEEN);
            }
            parts.push((segment.clone(), all.len()));
            all.push_str(said);
        }
        Self { text: all, parts: Parts::Segments(parts) }
    }

    /// A member of a body, as JSON text: `path` leads there from its top.
    pub fn member(raw: &[u8], json: &Json, path: &[&str]) -> Self {
        let found = path.iter().try_fold(json.root(), |at, name| at.member(name));
        let span = found.map(Value::span).unwrap_or_default();
        let text = raw.get(span.clone()).map(String::from_utf8_lossy).unwrap_or_default();
        Self { text: text.into_owned(), parts: Parts::Raw(span.start) }
    }

    /// The edits of the body `raw` that these masks, in bytes of the text, come to.
    pub fn splices(&self, raw: &[u8], masks: &[Range<usize>]) -> Splices {
        let mut splices = Splices::default();
        match &self.parts {
            Parts::Raw(from) => {
                for mask in masks {
                    splices.replace(from + mask.start..from + mask.end, PLACEHOLDER);
                }
            }
            Parts::Segments(parts) => {
                for (segment, start) in parts {
                    let end = start + segment.at.len();
                    let cut = |mask: &Range<usize>| mask.start.max(*start)..mask.end.min(end);
                    let within = masks.iter().map(cut).filter(|part| !part.is_empty());
                    let mut own = Masks::new(segment, raw);
                    within.for_each(|part| {
                        let part = part.start - start..part.end - start;
                        own.write(&part, PLACEHOLDER, false, &mut splices);
                    });
                }
            }
        }
        splices
    }
}

#[cfg(test)]
mod tests {
    use super::Said;
    use crate::base::ask::Api;
    use crate::base::json::Reader;
    use crate::base::text::Channel;
    use crate::llm::api;
    use std::ops::Range;

    fn one(mask: Range<usize>) -> [Range<usize>; 1] {
        [mask]
    }

    const CHAT: &str = r#"{"model":"m","messages":[{"role":"system","content":"be brief"},
        {"role":"user","content":"card \u0034111"},{"role":"user","content":"and 42"}]}"#;

    #[test]
    fn a_mask_lands_on_the_raw_text_of_each_segment_it_touches() {
        let json = Reader::default().read(CHAT.as_bytes()).unwrap();
        let request = api::read(Api::Chat, CHAT.as_bytes(), &json).unwrap();
        let said = Said::of(&request.text, &[Channel::User]);
        assert_eq!(said.text, "card 4111\nand 42");
        let masked = said.splices(CHAT.as_bytes(), &[5..9, 14..16]).apply(CHAT.as_bytes());
        let masked = String::from_utf8(masked).unwrap();
        assert!(masked.contains(r#""card [MASKED]""#) && masked.contains(r#""and [MASKED]""#));
        assert!(masked.contains("be brief"));
        let across = said.splices(CHAT.as_bytes(), &one(5..13)).apply(CHAT.as_bytes());
        assert!(String::from_utf8(across).unwrap().contains(r#""[MASKED] 42""#));
    }

    #[test]
    fn a_member_is_its_raw_text() {
        let raw = br#"{"params":{"arguments":{"a":"4111"}}}"#;
        let json = Reader::default().read(raw).unwrap();
        let said = Said::member(raw, &json, &["params", "arguments"]);
        assert_eq!(said.text, r#"{"a":"4111"}"#);
        let masked = said.splices(raw, &one(6..10)).apply(raw);
        assert_eq!(masked, br#"{"params":{"arguments":{"a":"[MASKED]"}}}"#);
        assert_eq!(Said::member(raw, &json, &["result"]).text, "");
    }
}
