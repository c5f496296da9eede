//! What the demo MCP server understands: one JSON-RPC message in, one reply out. Pure.
//!
//! It speaks the legacy era only (revisions up to 2025-11-25): a client that opens with
//! `server/discover` is refused in the way that makes it fall back to `initialize`.

use crate::demo::chat::{LEAK, quote};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;

/// Revisions that `initialize` accepts, newest first.
const REVISIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
/// Steps of one count-down.
const STEPS_MAX: u64 = 1000;

/// JSON-RPC: not JSON.
pub const PARSE_ERROR: i32 = -32700;
/// JSON-RPC: JSON, but no request; also what the official servers say for a missing session.
pub const INVALID_REQUEST: i32 = -32600;
/// Official servers: no session where one is needed, or one that is unknown.
pub const NO_SESSION: i32 = -32000;
const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;

/// One message, read as far as answering needs it.
#[derive(Debug, Deserialize)]
pub struct Message<'a> {
    /// Absent from notifications.
    #[serde(borrow)]
    pub id: Option<&'a RawValue>,
    /// Absent from responses.
    #[serde(borrow)]
    pub method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

/// What is to be sent back.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing but `202 Accepted`.
    Accepted,
    /// One message.
    One(Vec<u8>),
    /// Messages of a stream of events, the answer last.
    Stream(Vec<Vec<u8>>),
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    arguments: Option<Value>,
    #[serde(borrow, rename = "_meta")]
    meta: Option<Meta<'a>>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Hello<'a> {
    #[serde(borrow, rename = "protocolVersion")]
    revision: Cow<'a, str>,
}

impl Message<'_> {
    /// Whether it opens a session.
    pub fn is_initialize(&self) -> bool {
        self.method.as_deref() == Some("initialize")
    }

    /// The answer.
    pub fn reply(&self) -> Reply {
        let (Some(id), Some(method)) = (self.id, self.method.as_deref()) else {
            return Reply::Accepted;
        };
        let params = self.params.map_or("{}", RawValue::get);
        match method {
            "initialize" => Reply::One(hello(id, params)),
            "ping" => Reply::One(result(id, "{}")),
            "tools/list" => Reply::One(result(id, &catalog().to_string())),
            "tools/call" => match serde_json::from_str::<Call<'_>>(params) {
                Ok(call) => call.reply(id),
                Err(_) => Reply::One(error(Some(id), INVALID_PARAMS, "no tool is named")),
            },
            _ => Reply::One(error(Some(id), METHOD_NOT_FOUND, "Method not found")),
        }
    }
}

impl Call<'_> {
    fn reply(&self, id: &RawValue) -> Reply {
        let said = match &*self.name {
            "echo" => match self.argument("message").and_then(Value::as_str) {
                Some(message) => text_result(&format!("Echo: {message}")),
                None => return invalid(id, "`message` must be a string"),
            },
            "add" => match (self.number("a"), self.number("b")) {
                (Some(a), Some(b)) => text_result(&format!("{}", a + b)),
                _ => return invalid(id, "`a` and `b` must be numbers"),
            },
            "lookup_customer" => record(self.argument("name").and_then(Value::as_str)),
            "leak" => text_result(LEAK),
            "delete_everything" => text_result("Everything is deleted (it is only a demo)."),
            "count_down" => {
                let from = self.argument("from").and_then(Value::as_u64).unwrap_or(3);
                return self.count_down(id, from.min(STEPS_MAX));
            }
            _ => return invalid(id, &format!("Unknown tool: {}", self.name)),
        };
        Reply::One(result(id, &said))
    }

    fn argument(&self, name: &str) -> Option<&Value> {
        self.arguments.as_ref()?.get(name)
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.argument(name).and_then(Value::as_f64)
    }

    /// A stream: one progress notification for each step, to whoever asked for progress.
    fn count_down(&self, id: &RawValue, from: u64) -> Reply {
        let token = self.meta.as_ref().and_then(|meta| meta.progress_token);
        let mut messages: Vec<Vec<u8>> = Vec::new();
        if let Some(token) = token {
            messages.extend((1..=from).map(|step| progress(token, step, from)));
        }
        messages.push(result(id, &text_result("lift-off")));
        Reply::Stream(messages)
    }
}

/// A JSON-RPC error.
pub fn error(id: Option<&RawValue>, code: i32, message: &str) -> Vec<u8> {
    let id = id.map_or("null", RawValue::get);
    let mut out =
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{code},\"message\":")
            .into_bytes();
    quote(message, &mut out);
    out.extend_from_slice(b"}}");
    out
}

fn invalid(id: &RawValue, message: &str) -> Reply {
    Reply::One(error(Some(id), INVALID_PARAMS, message))
}

fn result(id: &RawValue, result: &str) -> Vec<u8> {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{result}}}", id.get()).into_bytes()
}

fn text_result(text: &str) -> String {
    format!("{{\"content\":[{{\"type\":\"text\",\"text\":{}}}],\"isError\":false}}", json!(text))
}

fn record(name: Option<&str>) -> String {
    let record = json!({
        "name": name.unwrap_or("Ada"),
        "email": "ada@example.com",
        "card": "4242 4242 4242 4242",
        "city": "London",
    });
    let content = json!([{"type": "text", "text": record.to_string()}]);
    json!({"content": content, "structuredContent": record, "isError": false}).to_string()
}

fn progress(token: &RawValue, step: u64, total: u64) -> Vec<u8> {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":\
         {{\"progressToken\":{},\"progress\":{step},\"total\":{total},\"message\":\"{}\"}}}}",
        token.get(),
        total - step + 1
    )
    .into_bytes()
}

fn hello(id: &RawValue, params: &str) -> Vec<u8> {
    let wanted = serde_json::from_str::<Hello<'_>>(params).ok();
    let wanted = wanted.as_ref().map(|hello| &*hello.revision);
    let [latest, ..] = REVISIONS;
    let revision = REVISIONS.into_iter().find(|own| Some(*own) == wanted).unwrap_or(latest);
    let hello = json!({
        "protocolVersion": revision,
        "capabilities": {"tools": {"listChanged": false}},
        "serverInfo": {"name": "ringwall-demo", "version": env!("CARGO_PKG_VERSION")},
        "instructions": "Tools to try a gateway with.",
    });
    result(id, &hello.to_string())
}

fn catalog() -> Value {
    let tool = |name: &str, description: &str, properties: Value, required: &[&str]| {
        json!({
            "name": name,
            "description": description,
            "inputSchema": {"type": "object", "properties": properties, "required": required},
        })
    };
    let string = json!({"type": "string"});
    let number = json!({"type": "number"});
    let mut lookup = tool(
        "lookup_customer",
        "Finds a customer: name, e-mail, card and city",
        json!({"name": string}),
        &["name"],
    );
    if let Some(object) = lookup.as_object_mut() {
        let properties = json!({"name": string, "email": string, "card": string, "city": string});
        object.insert("outputSchema".into(), json!({"type": "object", "properties": properties}));
    }
    json!({"tools": [
        tool("echo", "Says what it was told", json!({"message": string}), &["message"]),
        tool("add", "Adds two numbers", json!({"a": number, "b": number}), &["a", "b"]),
        lookup,
        tool("leak", "Gives away a test card", json!({}), &[]),
        tool("delete_everything", "Deletes everything, without asking", json!({}), &[]),
        tool(
            "count_down",
            "Counts down, with progress on a stream",
            json!({"from": {"type": "integer"}}),
            &[],
        ),
    ]})
}

#[cfg(test)]
mod tests {
    use super::{Message, Reply};
    use serde_json::{Value, json};

    fn reply(method: &str, params: &Value) -> Reply {
        let ask = json!({"jsonrpc": "2.0", "id": "a-1", "method": method, "params": params});
        serde_json::from_str::<Message<'_>>(&ask.to_string()).unwrap().reply()
    }

    fn one(method: &str, params: &Value) -> Value {
        let Reply::One(bytes) = reply(method, params) else { panic!("{method} answers at once") };
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn initialize_agrees_on_a_revision() {
        for (asked, given) in [("2025-03-26", "2025-03-26"), ("2026-07-28", "2025-11-25")] {
            let answer = one("initialize", &json!({"protocolVersion": asked}));
            assert_eq!(answer["result"]["protocolVersion"], given);
            assert_eq!(answer["id"], "a-1");
        }
    }

    #[test]
    fn tools_answer() {
        let echo = one("tools/call", &json!({"name": "echo", "arguments": {"message": "a\"b"}}));
        assert_eq!(echo["result"]["content"][0]["text"], "Echo: a\"b");
        let sum = one("tools/call", &json!({"name": "add", "arguments": {"a": 2, "b": 40}}));
        assert_eq!(sum["result"]["content"][0]["text"], "42");
        let record = one("tools/call", &json!({"name": "lookup_customer", "arguments": {}}));
        assert_eq!(record["result"]["structuredContent"]["card"], "4242 4242 4242 4242");
    }

    #[test]
    fn every_listed_tool_can_be_called() {
        let tools = one("tools/list", &json!({}))["result"]["tools"].clone();
        let arguments = json!({"message": "m", "a": 1, "b": 2, "name": "n", "from": 1});
        for tool in tools.as_array().unwrap() {
            let call = reply("tools/call", &json!({"name": tool["name"], "arguments": arguments}));
            let last = match call {
                Reply::One(bytes) => bytes,
                Reply::Stream(mut messages) => messages.pop().unwrap(),
                Reply::Accepted => panic!("a call is answered"),
            };
            let answer: Value = serde_json::from_slice(&last).unwrap();
            assert!(answer["result"]["content"].is_array(), "{answer}");
        }
    }

    #[test]
    fn progress_is_told_to_whoever_asks_for_it() {
        let call = json!({"name": "count_down", "arguments": {"from": 3}});
        assert!(matches!(reply("tools/call", &call), Reply::Stream(all) if all.len() == 1));
        let meta = json!({"progressToken": 7});
        let call = json!({"name": "count_down", "arguments": {"from": 3}, "_meta": meta});
        let Reply::Stream(all) = reply("tools/call", &call) else { panic!("it streams") };
        let told: Value = serde_json::from_slice(&all[0]).unwrap();
        assert_eq!((all.len(), &told["params"]["progressToken"]), (4, &json!(7)));
    }

    #[test]
    fn what_it_cannot_do_is_an_error() {
        assert_eq!(one("resources/list", &json!({}))["error"]["code"], -32601);
        assert_eq!(one("tools/call", &json!({"name": "none"}))["error"]["code"], -32602);
        assert_eq!(one("tools/call", &json!({}))["error"]["code"], -32602);
        let note = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}";
        let note: Message<'_> = serde_json::from_str(note).unwrap();
        assert_eq!(note.reply(), Reply::Accepted);
    }
}
