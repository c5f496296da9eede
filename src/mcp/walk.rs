//! Gathers the texts of a JSON value of any shape, so that nothing hides in a field nobody knows.
//!
//! Every string, every key and every number long enough to be somebody's is text. Left out are the
//! protocol's own words, and base64 of images and the like, which no guard of text can read.

use crate::base::json::Value;
use crate::base::text::{Channel, Form, Place, Source, Text, Trust};

/// A number with fewer digits names nobody: no card, account or telephone number is shorter.
pub const NUMBER_DIGITS_MIN: usize = 8;

/// What is gathered, and as what.
#[derive(Debug)]
pub struct Walk {
    /// What was found so far.
    pub text: Text,
    trust: Trust,
}

/// How the values of one part of a message are to be read.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Whose text it is.
    pub channel: Channel,
    /// Where the part is in the message.
    pub place: Place,
    /// Whose shape it has.
    pub shape: Shape,
}

/// Whose shape a part has, and so which of its fields mean something to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A tool's, prompt's or resource's definition: long numbers are bounds of a schema or sizes.
    Definition,
    /// The user's or the tool's own: every key, string and long number is text.
    Free,
    /// The protocol's: content blocks and their like.
    Protocol,
}

impl Walk {
    /// Begins with nothing.
    pub fn new(trust: Trust) -> Self {
        Self { text: Text::default(), trust }
    }

    /// Gathers a value and all it holds. Documents are at most `json::DEPTH_MAX` deep, so the
    /// recursion is too.
    pub fn value(&mut self, value: Value<'_>, part: Part) {
        if let Some(text) = value.as_str() {
            self.string(value, text, part);
        } else if let Some(digits) = value.number_text() {
            self.number(value, digits, part);
        } else if value.is_object() {
            self.object(value, part);
        } else {
            value.items().for_each(|item| self.value(item, part));
        }
    }

    /// Gathers a key, unless it is one of the protocol's.
    pub fn key(&mut self, key: Value<'_>, part: Part) {
        let Some(text) = key.as_str() else { return };
        if part.shape == Shape::Free || !is_protocol_key(text) {
            self.push(key, text, part);
        }
    }

    fn object(&mut self, object: Value<'_>, part: Part) {
        let free = part.shape == Shape::Free;
        let binary = !free && holds_binary(object);
        for (key, value) in object.members() {
            self.key(key, part);
            match key.as_str() {
                Some("data" | "blob") if binary && is_base64(value) => {}
                Some("size") if !free && value.is_number() => {}
                Some("resource") if !free => {
                    let channel = document_of(part.channel);
                    self.value(value, Part { channel, ..part });
                }
                Some(_) | None => self.value(value, part),
            }
        }
    }

    fn string(&mut self, value: Value<'_>, text: &str, part: Part) {
        if part.shape == Shape::Free || !is_protocol_word(text) {
            self.push(value, text, part);
        }
    }

    fn push(&mut self, value: Value<'_>, text: &str, part: Part) {
        let form = if value.is_escaped() { Form::EscapedString } else { Form::PlainString };
        let source = Source { raw: value.inner(), form };
        self.text.push(text, source, part.channel, self.trust, part.place);
    }

    fn number(&mut self, value: Value<'_>, digits: &str, part: Part) {
        let long = digits.bytes().filter(u8::is_ascii_digit).count() >= NUMBER_DIGITS_MIN;
        if long && part.shape != Shape::Definition {
            let source = Source { raw: value.span(), form: Form::Number };
            self.text.push(digits, source, part.channel, self.trust, part.place);
        }
    }
}

/// What a tool embeds is a document; in any other channel it stays what it is.
fn document_of(channel: Channel) -> Channel {
    if channel == Channel::ToolResult { Channel::Document } else { channel }
}

/// An image or sound block, or the contents of a resource: what may carry base64.
fn holds_binary(object: Value<'_>) -> bool {
    let kind = object.member("type").and_then(Value::as_str);
    matches!(kind, Some("image" | "audio")) || object.member("blob").is_some()
}

/// RFC 4648 §4, by its alphabet: a sentence has spaces and does not pass for it.
fn is_base64(value: Value<'_>) -> bool {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    value.as_str().is_some_and(|text| text.bytes().all(sound))
}

/// Values that are the protocol's own, or a schema's, whoever writes them.
fn is_protocol_word(text: &str) -> bool {
    matches!(
        text,
        "accept"
            | "application/json"
            | "array"
            | "assistant"
            | "audio"
            | "boolean"
            | "cancel"
            | "decline"
            | "endTurn"
            | "image"
            | "integer"
            | "null"
            | "number"
            | "object"
            | "resource"
            | "resource_link"
            | "string"
            | "text"
            | "text/plain"
            | "tool_result"
            | "tool_use"
            | "user"
    )
}

/// Keys that are the protocol's own, or a schema's.
fn is_protocol_key(text: &str) -> bool {
    matches!(
        text,
        "$schema"
            | "_meta"
            | "additionalProperties"
            | "annotations"
            | "arguments"
            | "audience"
            | "blob"
            | "content"
            | "contents"
            | "data"
            | "default"
            | "description"
            | "destructiveHint"
            | "enum"
            | "execution"
            | "icons"
            | "id"
            | "idempotentHint"
            | "inputSchema"
            | "isError"
            | "items"
            | "message"
            | "messages"
            | "mimeType"
            | "name"
            | "openWorldHint"
            | "outputSchema"
            | "priority"
            | "properties"
            | "readOnlyHint"
            | "required"
            | "resource"
            | "role"
            | "size"
            | "structuredContent"
            | "text"
            | "title"
            | "type"
            | "uri"
            | "version"
    )
}
