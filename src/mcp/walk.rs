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
        for (key, value) in object.members() {
            self.key(key, part);
            match key.as_str() {
                Some("data" | "blob") if !free && holds_binary(object) && is_base64(value) => {
                    self.text.leave_out(value.inner().len());
                }
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
        if is_long(digits) && part.shape != Shape::Definition {
            let source = Source { raw: value.span(), form: Form::Number };
            self.text.push(digits, source, part.channel, self.trust, part.place);
        }
    }
}

/// A fraction names nobody, so only the digits before the point count; but with an exponent the
/// point may stand anywhere.
fn is_long(number: &str) -> bool {
    let exact = number.split(['e', 'E']).next().unwrap_or_default();
    let counted = if exact.len() == number.len() {
        exact.split('.').next().unwrap_or_default()
    } else {
        exact
    };
    counted.bytes().filter(u8::is_ascii_digit).count() >= NUMBER_DIGITS_MIN
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

#[cfg(test)]
pub(crate) mod tests {
    use super::{Part, Shape, Walk, is_long};
    use crate::base::json::Reader;
    use crate::base::text::{Channel, Form, Place, Text, Trust};
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
    use serde_json::{Value, json};

    /// What the protocol says, so that random documents meet it.
    const WORDS: [&str; 24] = [
        "2.0",
        "_meta",
        "arguments",
        "blob",
        "code",
        "content",
        "data",
        "error",
        "id",
        "image",
        "jsonrpc",
        "message",
        "method",
        "name",
        "nextCursor",
        "params",
        "progressToken",
        "resource",
        "result",
        "size",
        "text",
        "tools",
        "tools/call",
        "type",
    ];

    /// JSON of any shape, with the words of the protocol in it.
    pub(crate) fn any_json() -> impl Strategy<Value = Value> {
        let words = || prop::sample::select(WORDS.to_vec());
        let leaf = prop_oneof![
            words().prop_map(|word| json!(word)),
            any::<String>().prop_map(|text| json!(text)),
            any::<i64>().prop_map(|number| json!(number)),
            any::<f64>().prop_map(|number| json!(number)),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 32, 6, move |inner| {
            let key = prop_oneof![words().prop_map(str::to_owned), any::<String>()];
            let members = prop::collection::vec((key, inner.clone()), 0..6);
            prop_oneof![
                prop::collection::vec(inner, 0..6).prop_map(Value::Array),
                members.prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Every segment must stand in the raw text where it says, in the form that it says.
    pub(crate) fn assert_in_place(text: &Text, raw: &str) {
        for segment in text.segments() {
            let decoded = text.joined().get(segment.at.clone()).unwrap();
            let written = raw.get(segment.source.raw.clone()).unwrap();
            if segment.source.form == Form::EscapedString {
                let unescaped: String = serde_json::from_str(&format!("\"{written}\"")).unwrap();
                assert_eq!(unescaped, decoded);
            } else {
                assert_eq!(written, decoded);
            }
        }
    }

    fn walked(raw: &str, shape: Shape) -> Text {
        let json = Reader::default().read(raw.as_bytes()).unwrap();
        let mut walk = Walk::new(Trust::Caller);
        let place = Place { path: "x", indexes: [0; 2] };
        walk.value(json.root(), Part { channel: Channel::User, place, shape });
        walk.text
    }

    fn strings(value: &Value, out: &mut Vec<String>) {
        match value {
            Value::String(text) => out.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| strings(item, out)),
            Value::Object(members) => members.iter().for_each(|(key, value)| {
                out.push(key.clone());
                strings(value, out);
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    #[test]
    fn numbers_count_by_the_digits_that_could_name_somebody() {
        for long in ["12345678", "-12345678", "12345678.5", "4.111111111111111e15", "1.2345678E7"] {
            assert!(is_long(long), "{long}");
        }
        for short in ["1234567", "0.30000000000000004", "-1234567.12345678", "1e300", "1.5E-10"] {
            assert!(!is_long(short), "{short}");
        }
    }

    #[test]
    fn base64_is_left_out_only_where_the_protocol_puts_it() {
        let image = r#"{"type":"image","data":"QUJD"}"#;
        assert_eq!(walked(image, Shape::Protocol).joined(), "");
        assert_eq!(walked(image, Shape::Free).joined(), "type\0image\0data\0QUJD");
        let sentence = r#"{"type":"image","data":"not base64"}"#;
        assert_eq!(walked(sentence, Shape::Protocol).joined(), "not base64");
        let other = r#"{"type":"text","data":"QUJD"}"#;
        assert_eq!(walked(other, Shape::Protocol).joined(), "QUJD");
    }

    proptest! {
        #[test]
        fn every_segment_of_any_document_lies_where_it_says(value in any_json()) {
            let raw = value.to_string();
            for shape in [Shape::Definition, Shape::Free, Shape::Protocol] {
                assert_in_place(&walked(&raw, shape), &raw);
            }
        }

        #[test]
        fn of_free_data_every_string_and_key_is_text(value in any_json()) {
            let mut expected = Vec::new();
            strings(&value, &mut expected);
            expected.retain(|text| !text.is_empty());
            let text = walked(&value.to_string(), Shape::Free);
            let strings = text.segments().iter().filter(|one| one.source.form != Form::Number);
            let found = strings.map(|one| text.joined().get(one.at.clone()).unwrap().to_owned());
            assert_eq!(found.collect::<Vec<_>>(), expected);
        }
    }
}
