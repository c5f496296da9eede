//! One event of a stream, as all dialects write it.

use crate::base::json::Value;
use crate::llm::stream::StreamFault;

/// Longest name of an event, and longest reference that is kept of one.
const NAME_BYTES_MAX: usize = 64;

/// Writes an event. A line break in its data, which can only stand between two tokens of the JSON,
/// begins a data line of its own.
pub fn write_event(name: Option<&str>, data: &[u8], out: &mut Vec<u8>) {
    out.reserve(data.len() + 64);
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
}

/// The type of an event, which is also its name where it has one: clients go by the one or the
/// other.
pub fn type_of<'a>(root: Value<'a>, name: Option<&str>) -> Result<&'a str, StreamFault> {
    if !root.is_object() {
        return Err(StreamFault::Shape("an event must be an object"));
    }
    let kind = root.member("type").and_then(Value::as_str).unwrap_or_default();
    if !is_type(kind) {
        return Err(StreamFault::Shape("an event must have a type"));
    }
    if name.is_some_and(|name| name != kind) {
        return Err(StreamFault::Shape("an event's name must be its type"));
    }
    Ok(kind)
}

/// A number that says to what an event belongs; nought where it is absent.
pub fn index_of(root: Value<'_>, name: &str) -> Result<u32, StreamFault> {
    let value = root.member(name).filter(|value| !value.is_null());
    let Some(value) = value else { return Ok(0) };
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number.filter(|number| *number < u32::MAX).ok_or(StreamFault::Shape("an index is no index"))
}

/// Whether a text can be the type of an event and nothing else: what we do not know passes by its
/// type, so that must say nothing.
pub fn is_type(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::{is_type, write_event};

    #[test]
    fn lines_of_data_stay_lines() {
        let mut out = Vec::new();
        write_event(Some("ping"), b"{\n\"type\":\r\"ping\"}", &mut out);
        write_event(None, b"[DONE]", &mut out);
        let expected = "event: ping\ndata: {\ndata: \"type\":\ndata: \"ping\"}\n\ndata: [DONE]\n\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_type_is_a_word_and_carries_nothing() {
        for name in ["ping", "content_block_delta", "response.output_text.done"] {
            assert!(is_type(name), "{name}");
        }
        for name in ["", "4111111111111111", "a b", "A", &"a".repeat(65)] {
            assert!(!is_type(name), "{name}");
        }
    }
}
