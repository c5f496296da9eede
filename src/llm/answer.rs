//! A whole answer: the texts in it that a guard must see, and what it cost.

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
