//! MCP over Streamable HTTP: the opening of a session, a tool call, and checks of the answers.
//! Pure.

use crate::mistake::Mistake;
use crate::prompt::Prompt;
use ringwall::http::sse::SseDecoder;
use serde::Deserialize;
use serde_json::{Value, json};

/// The revision that is asked for.
pub const REVISION: &str = "2025-11-25";
/// The id of `initialize`; calls count on from it.
const OPENING_ID: u64 = 0;
/// What the demo server's `echo` puts before the message.
const ECHO: &str = "Echo: ";
const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(Deserialize)]
struct Message {
    id: Option<Value>,
    method: Option<String>,
    result: Option<Value>,
    error: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct CallResult {
    content: Vec<Content>,
    #[serde(default, rename = "isError")]
    is_error: bool,
}

#[derive(Deserialize)]
struct Content {
    text: Option<String>,
}

/// The body that opens a session.
pub fn opening() -> Vec<u8> {
    json!({
        "jsonrpc": "2.0",
        "id": OPENING_ID,
        "method": "initialize",
        "params": {
            "protocolVersion": REVISION,
            "capabilities": {},
            "clientInfo": {"name": "ringwall-load", "version": env!("CARGO_PKG_VERSION")},
        },
    })
    .to_string()
    .into_bytes()
}

/// The body that says the session is open.
pub fn opened() -> Vec<u8> {
    json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string().into_bytes()
}

/// The body of a call.
pub fn call(tool: &str, number: u64, prompt: &Prompt) -> Vec<u8> {
    let id = call_id(number);
    let tool = Value::from(tool);
    // The prompt needs no escape, by its making.
    let message = &prompt.text;
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\
         \"params\":{{\"name\":{tool},\"arguments\":{{\"message\":\"{message}\"}}}}}}"
    )
    .into_bytes()
}

/// Checks the answer to the opening, and gives the revision that holds from here on.
pub fn check_opening(body: &[u8], is_stream: bool) -> Result<String, Mistake> {
    let result = answer(body, is_stream, OPENING_ID)?;
    let revision = result.get("protocolVersion").and_then(Value::as_str);
    revision.map(str::to_owned).ok_or(Mistake::NoAnswer)
}

/// Checks the answer to a call; `true`: it was an echo.
pub fn check(body: &[u8], is_stream: bool, number: u64, prompt: &Prompt) -> Result<bool, Mistake> {
    if prompt.has_card() {
        prompt.keeps_card(&String::from_utf8_lossy(body))?;
    }
    let result = answer(body, is_stream, call_id(number))?;
    let result: CallResult = serde_json::from_value(result).map_err(|_form| Mistake::NoAnswer)?;
    if result.is_error {
        return Err(Mistake::ToolError);
    }
    let text: String = result.content.into_iter().filter_map(|content| content.text).collect();
    prompt.judge(ECHO, &text)
}

fn call_id(number: u64) -> u64 {
    OPENING_ID + 1 + number
}

/// The result of the one answer in the body; a stream may hold notifications before it.
fn answer(body: &[u8], is_stream: bool, id: u64) -> Result<Value, Mistake> {
    if !is_stream {
        let message = serde_json::from_slice(body).map_err(|_form| Mistake::NotJson)?;
        return result(message, id);
    }
    let mut events = SseDecoder::new(EVENT_BYTES_MAX);
    events.push(body);
    let mut found = None;
    while let Some(event) = events.next().map_err(|_bound| Mistake::TooLong)? {
        if event.is_comment || event.data.is_empty() {
            continue;
        }
        if found.is_some() {
            return Err(Mistake::OutOfOrder);
        }
        let message: Message =
            serde_json::from_str(&event.data).map_err(|_form| Mistake::NotJson)?;
        if message.method.is_none() {
            found = Some(result(message, id)?);
        }
    }
    found.ok_or(Mistake::NoAnswer)
}

fn result(message: Message, id: u64) -> Result<Value, Mistake> {
    if message.error.is_some() {
        return Err(Mistake::ToolError);
    }
    if message.id != Some(Value::from(id)) {
        return Err(Mistake::WrongId);
    }
    message.result.ok_or(Mistake::NoAnswer)
}

#[cfg(test)]
mod tests {
    use super::{call, check, check_opening, opened, opening};
    use crate::mistake::Mistake;
    use crate::prompt::{Prompt, Prompts};
    use serde_json::{Value, json};

    fn prompt() -> Prompt {
        Prompts::new(1, 200, None).make(7)
    }

    fn said(text: &str) -> Value {
        json!({"jsonrpc": "2.0", "id": 8, "result": {"content": [{"type": "text", "text": text}]}})
    }

    fn judge(answer: &Value) -> Result<bool, Mistake> {
        check(answer.to_string().as_bytes(), false, 7, &prompt())
    }

    #[test]
    fn requests_are_json() {
        let id = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["id"].clone();
        assert_eq!((id(&opening()), id(&opened())), (json!(0), Value::Null));
        let call: Value = serde_json::from_slice(&call("a\"b", 7, &prompt())).unwrap();
        assert_eq!((&call["id"], &call["params"]["name"]), (&json!(8), &json!("a\"b")));
        assert_eq!(call["params"]["arguments"]["message"], prompt().text.as_str());
    }

    #[test]
    fn an_opening_names_its_revision() {
        let body = json!({"id": 0, "result": {"protocolVersion": "2025-06-18"}}).to_string();
        assert_eq!(check_opening(body.as_bytes(), false).as_deref(), Ok("2025-06-18"));
        assert_eq!(check_opening(b"{\"id\":0,\"result\":{}}", false), Err(Mistake::NoAnswer));
    }

    #[test]
    fn an_answer_is_judged() {
        assert_eq!(judge(&said(&format!("Echo: {}", prompt().text))), Ok(true));
        assert_eq!(judge(&said("42")), Ok(false));
        assert_eq!(judge(&said("Echo: other")), Err(Mistake::NonceMissing));
        let failed = json!({"id": 8, "result": {"content": [], "isError": true}});
        assert_eq!(judge(&failed), Err(Mistake::ToolError));
        assert_eq!(judge(&json!({"id": 8, "error": {"code": -32602}})), Err(Mistake::ToolError));
        assert_eq!(judge(&json!({"id": 9, "result": {"content": []}})), Err(Mistake::WrongId));
        assert_eq!(judge(&json!({"id": 8})), Err(Mistake::NoAnswer));
        assert_eq!(judge(&json!([])), Err(Mistake::NotJson));
    }

    #[test]
    fn an_answer_may_come_as_the_last_event_of_a_stream() {
        let note = "data: {\"method\":\"notifications/progress\",\"params\":{}}\n\n";
        let said = format!("event: message\ndata: {}\n\n", said("42"));
        let judge = |body: &str| check(body.as_bytes(), true, 7, &prompt());
        assert_eq!(judge(&format!("{note}{said}")), Ok(false));
        assert_eq!(judge(&format!("{said}{said}")), Err(Mistake::OutOfOrder));
        assert_eq!(judge(&format!("{said}{note}")), Err(Mistake::OutOfOrder));
        assert_eq!(judge(note), Err(Mistake::NoAnswer));
    }
}
