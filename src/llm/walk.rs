//! The walk through a chat body that finds every text in it.
//!
//! Requests and answers hold the same messages, so one walk reads both. What it does not know it
//! reads as text all the same: a field that a provider adds tomorrow must not be a way around the
//! guards. Only short references (ids, roles, types) and binary data are passed over.

use crate::base::json::{Kind, Value};
use crate::base::text::{Channel, Form, Place, Source, Text, Trust};
use crate::llm::event::is_type;

/// A number with fewer digits is no card, account or phone number.
pub const NUMBER_DIGITS_MIN: usize = 8;
/// An id, a role or a type is shorter; what is longer is read as text.
const REFERENCE_BYTES_MAX: usize = 64;
/// What is shorter and looks like base64 may be a word.
const BASE64_BYTES_MIN: usize = 256;
/// Members that only refer to something.
const REFERENCES: [&str; 8] =
    ["call_id", "id", "item_id", "response_id", "role", "tool_call_id", "tool_use_id", "type"];
/// A key of letters up to this length names a field and says nothing.
const IDENTIFIER_BYTES_MAX: usize = 32;

/// Who says a text, and how far they are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    /// The channel of its segments.
    pub channel: Channel,
    /// The trust of its segments.
    pub trust: Trust,
}

/// The paths that the places of a message's texts have; `#` where an index belongs.
#[derive(Debug)]
pub struct Paths {
    arguments: &'static str,
    call: &'static str,
    content: &'static str,
    function_call: &'static str,
    message: &'static str,
    part: &'static str,
    part_text: &'static str,
    reasoning: &'static str,
    refusal: &'static str,
}

/// The paths of a request's messages.
pub static REQUEST: Paths = Paths {
    arguments: "messages[#].tool_calls[#].function.arguments",
    call: "messages[#].tool_calls[#]",
    content: "messages[#].content",
    function_call: "messages[#].function_call",
    message: "messages[#]",
    part: "messages[#].content[#]",
    part_text: "messages[#].content[#].text",
    reasoning: "messages[#].reasoning",
    refusal: "messages[#].refusal",
};

/// The paths of an answer's messages.
pub static ANSWER: Paths = Paths {
    arguments: "choices[#].message.tool_calls[#].function.arguments",
    call: "choices[#].message.tool_calls[#]",
    content: "choices[#].message.content",
    function_call: "choices[#].message.function_call",
    message: "choices[#].message",
    part: "choices[#].message.content[#]",
    part_text: "choices[#].message.content[#].text",
    reasoning: "choices[#].message.reasoning",
    refusal: "choices[#].message.refusal",
};

/// Collects the texts of one body.
#[derive(Debug, Default)]
pub struct Walk {
    text: Text,
}

impl Who {
    /// What a message's role says about its author. What nobody knows is trusted least.
    pub fn of_role(role: &str) -> Self {
        let (channel, trust) = match role {
            "system" | "developer" => (Channel::System, Trust::Caller),
            "user" => (Channel::User, Trust::Caller),
            "assistant" => (Channel::Assistant, Trust::Caller),
            "tool" | "function" => (Channel::ToolResult, Trust::Retrieved),
            _ => (Channel::User, Trust::Retrieved),
        };
        Self { channel, trust }
    }

    /// The same author on another channel.
    #[must_use]
    pub const fn on(self, channel: Channel) -> Self {
        Self { channel, trust: self.trust }
    }
}

impl Walk {
    /// All that was found, in document order.
    pub fn into_text(self) -> Text {
        self.text
    }

    /// Counts a part that holds no text, and the bytes of it that stand here.
    pub fn leave_out(&mut self, value: Value<'_>) {
        self.text.leave_out(value.inner().len());
    }

    /// Counts a part that the body only refers to.
    pub fn leave_out_elsewhere(&mut self) {
        self.text.leave_out(0);
    }

    /// Reads one message, the `index`th of its body.
    pub fn message(&mut self, message: Value<'_>, who: Who, index: usize, paths: &'static Paths) {
        for (key, value) in message.members() {
            let name = key.as_str().unwrap_or_default();
            let reasoning = who.on(Channel::Reasoning);
            let arguments = who.on(Channel::ToolArguments);
            match name {
                "content" => self.content(value, who, index, paths),
                "tool_calls" => self.calls(value, arguments, index, paths),
                "function_call" => self.call(value, arguments, place(paths.function_call, index)),
                "reasoning" | "reasoning_content" | "reasoning_details" => {
                    self.value(value, reasoning, place(paths.reasoning, index));
                }
                "refusal" => {
                    self.value(value, who.on(Channel::Refusal), place(paths.refusal, index));
                }
                "audio" => self.media(value, who, place(paths.message, index)),
                _ => self.member(key, value, who, place(paths.message, index)),
            }
        }
    }

    /// Reads every text inside a value of any shape.
    pub fn value(&mut self, value: Value<'_>, who: Who, place: Place) {
        match value.kind() {
            Kind::String => self.string(value, who, place),
            Kind::Unsigned(number) => self.number(number, value, who, place),
            Kind::Array => {
                for item in value.items() {
                    self.value(item, who, place);
                }
            }
            Kind::Object => {
                for (key, value) in value.members() {
                    self.member(key, value, who, place);
                }
            }
            Kind::Bool(_) | Kind::Float | Kind::Null => {}
        }
    }

    /// Reads a member of an object whose meaning is not known.
    pub fn member(&mut self, key: Value<'_>, value: Value<'_>, who: Who, place: Place) {
        if key.as_str() == Some("encrypted_content") && value.as_str().is_some() {
            self.text.leave_out(value.inner().len());
        }
        if !is_identifier(key.as_str().unwrap_or_default()) {
            self.string(key, who, place);
        }
        if !is_reference(key, value) && !is_sealed(key, value) {
            self.value(value, who, place);
        }
    }

    fn content(&mut self, value: Value<'_>, who: Who, index: usize, paths: &'static Paths) {
        if !value.is_array() {
            self.value(value, who, place(paths.content, index));
            return;
        }
        // The texts of a content are read as one, whatever stands between them.
        let mut earlier = None;
        for (order, part) in value.items().enumerate() {
            if !part.is_object() {
                self.value(part, who, place2(paths.part, index, order));
            }
            for (key, value) in part.members() {
                let at = place2(paths.part, index, order);
                match key.as_str().unwrap_or_default() {
                    "text" => {
                        let at = place2(paths.part_text, index, order);
                        earlier = self.part_text(value, earlier, (who, at));
                    }
                    "refusal" => self.value(value, who.on(Channel::Refusal), at),
                    "thinking" => self.value(value, who.on(Channel::Reasoning), at),
                    "image_url" => self.image(value, who, at),
                    "input_audio" => self.media(value, who, at),
                    "file" => self.file(value, at),
                    _ => self.member(key, value, who, at),
                }
            }
        }
    }

    /// Reads the text of a part, which is read on from an earlier one; gives the one to read on
    /// from.
    pub fn part_text(
        &mut self,
        value: Value<'_>,
        earlier: Option<usize>,
        (who, place): (Who, Place),
    ) -> Option<usize> {
        let index = self.text.segments().len();
        self.value(value, who, place);
        if value.as_str().is_none() || self.text.segments().len() == index {
            return earlier;
        }
        if let Some(earlier) = earlier {
            self.text.last_follows(earlier);
        }
        Some(index)
    }

    /// A link is text, since it can carry a secret out; the picture itself is not.
    pub fn image(&mut self, value: Value<'_>, who: Who, place: Place) {
        let url = value.member("url").unwrap_or(value);
        self.text.leave_out(if is_binary(url) { url.inner().len() } else { 0 });
        if is_binary(value) {
            return;
        }
        if value.as_str().is_some() {
            self.string(value, who, place);
        }
        for (key, value) in value.members() {
            if !is_binary(value) {
                self.member(key, value, who, place);
            }
        }
    }

    /// Sound: all but its samples, such as the transcript.
    pub fn media(&mut self, value: Value<'_>, who: Who, place: Place) {
        for (key, value) in value.members() {
            match key.as_str() {
                Some("data") => self.text.leave_out(value.inner().len()),
                Some("expires_at") => {}
                Some(_) | None => self.member(key, value, who, place),
            }
        }
    }

    /// A document that somebody attached: its name, and its content where that is text.
    pub fn file(&mut self, value: Value<'_>, place: Place) {
        let who = Who { channel: Channel::Document, trust: Trust::Retrieved };
        for (key, value) in value.members() {
            if is_binary(value) {
                self.text.leave_out(value.inner().len());
                continue;
            }
            if key.as_str() == Some("file_id") {
                self.text.leave_out(0);
            }
            self.member(key, value, who, place);
        }
    }

    fn calls(&mut self, calls: Value<'_>, who: Who, index: usize, paths: &'static Paths) {
        if !calls.is_array() {
            self.value(calls, who, place(paths.message, index));
        }
        for (order, call) in calls.items().enumerate() {
            let at = place2(paths.call, index, order);
            let inside = place2(paths.arguments, index, order);
            if !call.is_object() {
                self.value(call, who, at);
            }
            for (key, value) in call.members() {
                match key.as_str() {
                    Some("function") => self.call(value, who, inside),
                    _ => self.member(key, value, who, at),
                }
            }
        }
    }

    /// `{"name","arguments"}`, whose arguments are JSON within a string.
    fn call(&mut self, call: Value<'_>, who: Who, place: Place) {
        if !call.is_object() {
            self.value(call, who, place);
        }
        for (key, value) in call.members() {
            if key.as_str() == Some("arguments") && value.as_str().is_some() {
                self.arguments(value, who, place);
            } else {
                self.member(key, value, who, place);
            }
        }
    }

    /// JSON within a string, such as a call's arguments; anything else as a value.
    pub fn arguments(&mut self, value: Value<'_>, who: Who, place: Place) {
        if value.as_str().is_none() {
            self.value(value, who, place);
            return;
        }
        let form = if value.is_escaped() { Form::EscapedJson } else { Form::PlainJson };
        self.push(value, form, who, place);
    }

    fn string(&mut self, value: Value<'_>, who: Who, place: Place) {
        let form = if value.is_escaped() { Form::EscapedString } else { Form::PlainString };
        self.push(value, form, who, place);
    }

    fn push(&mut self, value: Value<'_>, form: Form, who: Who, place: Place) {
        let source = Source { raw: value.inner(), form };
        self.text.push(value.as_str().unwrap_or_default(), source, who.channel, who.trust, place);
    }

    fn number(&mut self, number: u64, value: Value<'_>, who: Who, place: Place) {
        let digits = number.to_string();
        if digits.len() >= NUMBER_DIGITS_MIN {
            let source = Source { raw: value.span(), form: Form::Number };
            self.text.push(&digits, source, who.channel, who.trust, place);
        }
    }
}

/// A place with one index. Beyond 65,535 it says the last one it can.
pub fn place(path: &'static str, index: usize) -> Place {
    place2(path, index, 0)
}

/// A place with two indexes.
pub fn place2(path: &'static str, index: usize, second: usize) -> Place {
    let short = |index: usize| u16::try_from(index).unwrap_or(u16::MAX);
    Place { path, indexes: [short(index), short(second)] }
}

/// Whether a member only refers to something: both sides must read the very same id.
pub fn is_reference(key: Value<'_>, value: Value<'_>) -> bool {
    matches!(key.as_str(), Some(name) if REFERENCES.contains(&name))
        && value.as_str().is_some_and(|text| text.len() <= REFERENCE_BYTES_MAX)
}

/// Whether a member is encrypted or a signature: a change would make it worthless, and it is no
/// text. What is named so and does not look so is text all the same.
pub fn is_sealed(key: Value<'_>, value: Value<'_>) -> bool {
    matches!(
        key.as_str(),
        Some("embedding" | "encrypted_content" | "encrypted_index" | "signature")
    ) && is_base64(value)
}

/// Whether a string could be base64 of something that is no text: long, without a space.
pub fn is_base64(value: Value<'_>) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte);
    value.as_str().is_some_and(|text| {
        text.is_empty() || (text.len() >= BASE64_BYTES_MIN && text.bytes().all(is_digit))
    })
}

/// Whether a member only says which of a few words fits.
pub fn is_setting(key: Value<'_>, value: Value<'_>) -> bool {
    matches!(key.as_str(), Some("object" | "phase" | "service_tier" | "status" | "stop_reason"))
        && value.as_str().is_some_and(is_type)
}

/// Whether a key only names a field.
pub fn is_identifier(key: &str) -> bool {
    key.len() <= IDENTIFIER_BYTES_MAX
        && key.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
}

/// Whether a string is a `data:` URI (RFC 2397) of something that is not text.
pub fn is_binary(value: Value<'_>) -> bool {
    let Some(rest) = value.as_str().and_then(|text| text.strip_prefix("data:")) else {
        return false;
    };
    rest.split_once(',')
        .is_some_and(|(head, _)| head.ends_with(";base64") && !head.starts_with("text/"))
}
