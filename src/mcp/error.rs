//! How a refusal is said in MCP: as a JSON-RPC error, or as the result of a tool, which the model
//! reads and can act on.

use crate::base::json::escape_into;
use crate::mcp::message::ID_BYTES_MAX;

/// JSON-RPC 2.0 §5.1: the body is not JSON.
pub const PARSE_ERROR: i64 = -32700;
/// JSON-RPC 2.0 §5.1: the JSON is no message.
pub const INVALID_REQUEST: i64 = -32600;
/// JSON-RPC 2.0 §5.1: nobody knows the method.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC 2.0 §5.1: the parameters are wrong.
pub const INVALID_PARAMS: i64 = -32602;
/// JSON-RPC 2.0 §5.1: the fault is on this side.
pub const INTERNAL_ERROR: i64 = -32603;
/// Of the range that JSON-RPC leaves to servers: a gate said no.
pub const REFUSED: i64 = -32000;

/// Room for what stands around the texts of a body.
const FRAME_BYTES: usize = 160;

/// A JSON-RPC error. `id` is the raw JSON of the request's id, `null` where none could be read;
/// `data_code` is the stable name of the reason.
pub fn error(
    id: Option<&str>,
    code: i64,
    message: &str,
    data_code: &str,
    request_id: &str,
) -> Vec<u8> {
    let mut out = begin(id, message.len());
    out.extend_from_slice(b",\"error\":{\"code\":");
    out.extend_from_slice(code.to_string().as_bytes());
    member(&mut out, ",\"message\":", message);
    member(&mut out, ",\"data\":{\"code\":", data_code);
    member(&mut out, ",\"requestId\":", request_id);
    out.extend_from_slice(b"}}}");
    out
}

/// The result of a tool that failed: words for the model, and in `_meta` the reason for programs.
pub fn tool_error(id: &str, text: &str, data_code: &str, request_id: &str) -> Vec<u8> {
    let mut out = begin(Some(id), text.len());
    member(&mut out, ",\"result\":{\"content\":[{\"type\":\"text\",\"text\":", text);
    member(&mut out, "}],\"isError\":true,\"_meta\":{\"ringwall/code\":", data_code);
    member(&mut out, ",\"ringwall/requestId\":", request_id);
    out.extend_from_slice(b"}}}");
    out
}

/// The error for a method that nobody here knows.
pub fn method_not_found(id: Option<&str>, method: &str, request_id: &str) -> Vec<u8> {
    let message = format!("there is no method {method} here");
    error(id, METHOD_NOT_FOUND, &message, "mcp_method_not_found", request_id)
}

fn begin(id: Option<&str>, text_bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(text_bytes + FRAME_BYTES + ID_BYTES_MAX);
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.unwrap_or("null").as_bytes());
    out
}

fn member(out: &mut Vec<u8>, lead: &str, text: &str) {
    out.extend_from_slice(lead.as_bytes());
    out.push(b'"');
    escape_into(text, out);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::{REFUSED, error, method_not_found, tool_error};
    use proptest::prelude::{any, proptest};
    use serde_json::{Value, from_slice, json};

    #[test]
    fn an_error_says_what_why_and_which_request() {
        let body: Value =
            from_slice(&error(Some("\"a\""), REFUSED, "say \"no\"", "why", "req_1")).unwrap();
        assert_eq!(body, {
            json!({"jsonrpc": "2.0", "id": "a", "error": {"code": -32000, "message": "say \"no\"",
                "data": {"code": "why", "requestId": "req_1"}}})
        });
        let nameless: Value = from_slice(&method_not_found(None, "x/y", "req_1")).unwrap();
        assert_eq!((&nameless["id"], &nameless["error"]["code"]), (&Value::Null, &json!(-32601)));
    }

    #[test]
    fn a_failed_tool_tells_the_model_in_words() {
        let body: Value = from_slice(&tool_error("7", "no\ncard", "why", "req_1")).unwrap();
        assert_eq!(body, {
            json!({"jsonrpc": "2.0", "id": 7, "result": {"isError": true,
                "content": [{"type": "text", "text": "no\ncard"}],
                "_meta": {"ringwall/code": "why", "ringwall/requestId": "req_1"}}})
        });
    }

    proptest! {
        #[test]
        fn any_text_makes_a_sound_body(text in any::<String>()) {
            let body: Value = from_slice(&error(None, 1, &text, &text, &text)).unwrap();
            assert_eq!(body["error"]["message"].as_str(), Some(&*text));
            let body: Value = from_slice(&tool_error("1", &text, &text, &text)).unwrap();
            assert_eq!(body["result"]["content"][0]["text"].as_str(), Some(&*text));
        }
    }
}
