//! A whole answer: the texts in it that a guard must see, and what it cost.
//!
//! It takes any JSON, since a provider's errors come the same way and may repeat the prompt.

use crate::base::json::{Json, Value};
use crate::base::splice::Splices;
use crate::base::text::{Channel, Text, Trust};
use crate::base::usage::Usage;
use crate::llm::walk::{ANSWER, Walk, Who, place};

/// What a provider answered, whether it is a completion or an error.
#[derive(Debug)]
pub struct Answer {
    /// Every text in it.
    pub text: Text,
    /// The provider's own count, if it gave one.
    pub usage: Option<Usage>,
}

const UPSTREAM: Who = Who { channel: Channel::Assistant, trust: Trust::Upstream };

/// Reads an answer. It takes any document: an answer of another shape, such as a provider's error,
/// is read as text all through.
pub fn read(json: &Json) -> Answer {
    let mut walk = Walk::default();
    let mut counted = None;
    let root = json.root();
    if !root.is_object() {
        walk.value(root, UPSTREAM, place("answer", 0));
    }
    for (key, value) in root.members() {
        match key.as_str().unwrap_or_default() {
            "choices" if value.is_array() => {
                for (index, choice) in value.items().enumerate() {
                    read_choice(choice, index, &mut walk);
                }
            }
            "usage" => counted = usage(value),
            "id" | "object" | "created" | "model" | "system_fingerprint" | "service_tier" => {}
            "error" => walk.value(value, UPSTREAM, place("error", 0)),
            _ => walk.value(value, UPSTREAM, place("answer", 0)),
        }
    }
    Answer { text: walk.into_text(), usage: counted }
}

/// Takes the token probabilities out of an answer.
///
/// `logprobs` repeats the answer token by token, with bytes and with the tokens that were not
/// chosen: a masked value would still stand there, in pieces that no rule can see. So wherever
/// guards mask, `logprobs` is `null`, which the dialect allows and every client knows.
pub fn hide_logprobs(json: &Json, splices: &mut Splices) {
    for choice in json.root().member("choices").into_iter().flat_map(Value::items) {
        hide_logprobs_of(choice, splices);
    }
}

/// As [`hide_logprobs`], for one choice.
pub fn hide_logprobs_of(choice: Value<'_>, splices: &mut Splices) {
    if let Some(value) = choice.member("logprobs").filter(|value| !value.is_null()) {
        splices.replace(value.span(), b"null".as_slice());
    }
}

/// The provider's count in a `usage` member. A missing or odd number is nought; `null` is no count.
pub fn usage(value: Value<'_>) -> Option<Usage> {
    if !value.is_object() {
        return None;
    }
    let number = |value: Option<Value<'_>>| value.and_then(Value::as_u64).unwrap_or(0);
    let input_tokens = number(value.member("prompt_tokens"));
    let cached =
        value.member("prompt_tokens_details").and_then(|details| details.member("cached_tokens"));
    Some(Usage {
        input_tokens,
        output_tokens: number(value.member("completion_tokens")),
        cached_tokens: number(cached).min(input_tokens),
    })
}

fn read_choice(choice: Value<'_>, index: usize, walk: &mut Walk) {
    if !choice.is_object() {
        walk.value(choice, UPSTREAM, place("choices[#]", index));
    }
    for (key, value) in choice.members() {
        match key.as_str().unwrap_or_default() {
            "message" if value.is_object() => walk.message(value, UPSTREAM, index, &ANSWER),
            "index" | "finish_reason" | "logprobs" => {}
            _ => walk.value(value, UPSTREAM, place("choices[#]", index)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{hide_logprobs, read};
    use crate::base::json::{Json, Reader};
    use crate::base::splice::Splices;
    use crate::base::text::Segment;
    use crate::base::usage::Usage;

    fn json(text: &str) -> Json {
        Reader::default().read(text.as_bytes()).unwrap()
    }

    /// Each segment as `channel place: text`.
    fn segments(text: &str) -> Vec<String> {
        let text = read(&json(text)).text;
        let words = text.joined().split('\0');
        let line =
            |(one, word): (&Segment, &str)| format!("{} {}: {word}", one.channel.name(), one.place);
        text.segments().iter().zip(words).map(line).collect()
    }

    #[test]
    fn every_text_of_every_choice_is_found() {
        let found = segments(
            r#"{"id":"chatcmpl-1","object":"chat.completion","model":"m","choices":[
            {"index":0,"message":{"role":"assistant","content":"one","refusal":null,
              "reasoning_content":"hm","annotations":[{"type":"url_citation",
              "url_citation":{"url":"https://a.example","title":"A"}}],
              "tool_calls":[{"id":"call_1","type":"function",
                "function":{"name":"mail","arguments":"{\"to\":1}"}}]},"finish_reason":"stop"},
            {"index":1,"message":{"role":"assistant","content":[{"type":"text","text":"two"}],
              "refusal":"no","audio":{"id":"a","data":"QUJD","transcript":"said"},
              "function_call":{"name":"f","arguments":"{}"}},"finish_reason":"stop"}]}"#,
        );
        for expected in [
            "assistant choices[0].message.content: one",
            "reasoning choices[0].message.reasoning: hm",
            "assistant choices[0].message: https://a.example",
            "tool_arguments choices[0].message.tool_calls[0].function.arguments: {\"to\":1}",
            "assistant choices[1].message.content[0].text: two",
            "refusal choices[1].message.refusal: no",
            "assistant choices[1].message: said",
            "tool_arguments choices[1].message.function_call: {}",
        ] {
            assert!(found.iter().any(|one| one == expected), "{expected} in {found:#?}");
        }
        assert!(!found.iter().any(|one| one.ends_with("QUJD") || one.ends_with("call_1")));
    }

    #[test]
    fn an_answer_of_another_shape_is_read_all_through() {
        let found = segments(r#"{"error":{"message":"bad key sk-1","type":"x"}}"#);
        assert_eq!(found[0], "assistant error: bad key sk-1");
        assert_eq!(segments(r#"["a",{"b":"c"},41111111111]"#).len(), 3);
        assert_eq!(segments(r#"{"choices":{"odd":"x"}}"#), ["assistant answer: x"]);
    }

    #[test]
    fn odd_usage_counts_as_nought() {
        let usage = |text: &str| read(&json(text)).usage;
        assert_eq!(usage("{}"), None);
        assert_eq!(usage(r#"{"usage":null}"#), None);
        assert_eq!(usage(r#"{"usage":{}}"#), Some(Usage::default()));
        let full = r#"{"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,
            "prompt_tokens_details":{"cached_tokens":8}}}"#;
        let counted = Usage { input_tokens: 9, output_tokens: 4, cached_tokens: 8 };
        assert_eq!(usage(full), Some(counted));
        let odd = r#"{"usage":{"prompt_tokens":-1,"completion_tokens":"4",
            "prompt_tokens_details":{"cached_tokens":1e30}}}"#;
        assert_eq!(usage(odd), Some(Usage::default()));
        let large = r#"{"usage":{"prompt_tokens":2,
            "prompt_tokens_details":{"cached_tokens":18446744073709551615}}}"#;
        assert_eq!(usage(large).map(|usage| usage.cached_tokens), Some(2));
    }

    #[test]
    fn logprobs_become_null_and_nothing_else_changes() {
        let text = r#"{"choices":[ {"logprobs":{"content":[{"token":"s"}]},"index":0},
            {"logprobs":null},{}] }"#;
        let mut splices = Splices::default();
        hide_logprobs(&json(text), &mut splices);
        assert_eq!(
            String::from_utf8(splices.apply(text.as_bytes())).unwrap(),
            text.replace(r#"{"content":[{"token":"s"}]}"#, "null")
        );
    }
}
