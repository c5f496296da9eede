//! One message of a client, as an envelope over its raw bytes: what it is, what it asks for, and
//! every text in it.
//!
//! The envelope is checked (JSON-RPC 2.0, and what MCP adds to it); fields nobody knows pass
//! untouched, and are looked at as text. Batches exist in one revision only and are refused.

use crate::base::json::{Json, Kind, Value};
use crate::base::text::{Channel, Place, Text, Trust};
use crate::mcp::walk::{Part, Shape, Walk};
use std::fmt;

/// Bytes of a request's id as it is written; clients count or use UUIDs.
pub const ID_BYTES_MAX: usize = 256;
/// Bytes of a method's name.
pub const METHOD_BYTES_MAX: usize = 128;
/// Bytes of a tool's name; the specification advises 128 characters.
pub const TOOL_BYTES_MAX: usize = 256;

/// The method that calls a tool.
pub const CALL: &str = "tools/call";

/// What a client sent.
#[derive(Debug)]
pub struct Message {
    /// Which of the three.
    pub kind: MessageKind,
    /// The raw JSON of the id; none for notifications.
    pub id: Option<String>,
    /// The method; empty for a response.
    pub method: String,
    /// The tool of a `tools/call`.
    pub tool: Option<String>,
    /// Every text of the message.
    pub text: Text,
}

/// The three messages of JSON-RPC 2.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// It wants no answer (§4.1).
    Notification,
    /// It wants an answer (§4).
    Request,
    /// It answers a request of the server's (§5).
    Response,
}

/// Why a body is not one message of MCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum McpFault {
    /// An array of messages.
    Batch,
    /// An id that is neither a string nor an integer, or too long.
    Id,
    /// A method that is no string of visible ASCII, or too long.
    Method,
    /// Both a question and an answer, or an answer that is result and error at once.
    Mixed,
    /// No method, no result and no error.
    Nothing,
    /// Not an object.
    NotAnObject,
    /// `params` that are no object.
    Params,
    /// A `tools/call` without a tool's name, or with a bad one.
    Tool,
    /// `jsonrpc` is not `"2.0"`.
    Version,
}

/// Reads the message of a body. The list has exactly one, while batches are refused.
pub fn read(raw: &[u8], json: &Json) -> Result<Vec<Message>, McpFault> {
    let root = json.root();
    if root.is_array() {
        return Err(McpFault::Batch);
    }
    if !root.is_object() {
        return Err(McpFault::NotAnObject);
    }
    if root.member("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(McpFault::Version);
    }
    let answers = [root.member("result"), root.member("error")];
    let message = match (root.member("method"), answers) {
        (Some(method), [None, None]) => question(raw, root, method),
        (None, [Some(_), None] | [None, Some(_)]) => response(raw, root),
        (None, [None, None]) => Err(McpFault::Nothing),
        (Some(_), _) | (None, [Some(_), Some(_)]) => Err(McpFault::Mixed),
    }?;
    Ok(vec![message])
}

/// The raw id of a body that is no sound message, to answer it with; none if that is bad too.
pub fn id_of(raw: &[u8], json: &Json) -> Option<String> {
    json.root().member("id").and_then(|id| raw_id(raw, id).ok())
}

fn question(raw: &[u8], root: Value<'_>, method: Value<'_>) -> Result<Message, McpFault> {
    let method = method.as_str().filter(|name| is_method(name)).ok_or(McpFault::Method)?;
    let id = root.member("id").map(|id| raw_id(raw, id)).transpose()?;
    let params = root.member("params").filter(|params| !params.is_null());
    if params.is_some_and(|params| !params.is_object()) {
        return Err(McpFault::Params);
    }
    let tool = if method == CALL {
        let name = params.and_then(|params| params.member("name")).and_then(Value::as_str);
        Some(name.filter(|name| is_tool(name)).ok_or(McpFault::Tool)?.to_owned())
    } else {
        None
    };
    let kind = if id.is_some() { MessageKind::Request } else { MessageKind::Notification };
    let mut walk = Walk::new(Trust::Caller);
    envelope(&mut walk, root);
    if let Some(params) = params {
        params_text(&mut walk, method, params);
    }
    Ok(Message { kind, id, method: method.to_owned(), tool, text: walk.text })
}

/// An error may come without an id, or with `null`, where the request's could not be read.
fn response(raw: &[u8], root: Value<'_>) -> Result<Message, McpFault> {
    let given = root.member("id").filter(|id| !id.is_null());
    let id = given.map(|id| raw_id(raw, id)).transpose()?;
    if id.is_none() && root.member("error").is_none() {
        return Err(McpFault::Id);
    }
    let mut walk = Walk::new(Trust::Caller);
    envelope(&mut walk, root);
    if let Some(result) = root.member("result") {
        result_text(&mut walk, result);
    }
    if let Some(error) = root.member("error") {
        walk.value(error, part("error", Channel::User, Shape::Free));
    }
    let (kind, method) = (MessageKind::Response, String::new());
    Ok(Message { kind, id, method, tool: None, text: walk.text })
}

/// Members of the envelope that JSON-RPC does not know.
fn envelope(walk: &mut Walk, root: Value<'_>) {
    let unknown = part("(envelope)", Channel::User, Shape::Free);
    for (key, value) in root.members() {
        let known = ["jsonrpc", "id", "method", "params", "result", "error"];
        if !key.as_str().is_some_and(|key| known.contains(&key)) {
            walk.key(key, unknown);
            walk.value(value, unknown);
        }
    }
}

fn params_text(walk: &mut Walk, method: &str, params: Value<'_>) {
    for (key, value) in params.members() {
        let name = key.as_str().unwrap_or_default();
        if is_plumbing(method, name, value) {
            continue;
        }
        let free = |path, channel| part(path, channel, Shape::Free);
        match name {
            "arguments" => {
                walk.value(value, free("params.arguments", Channel::ToolArguments));
            }
            "argument" => walk.value(value, free("params.argument", Channel::ToolArguments)),
            "uri" => walk.value(value, free("params.uri", Channel::ToolArguments)),
            "_meta" => meta_text(walk, value),
            _ => {
                let other = free("params", Channel::User);
                walk.key(key, other);
                walk.value(value, other);
            }
        }
    }
}

fn meta_text(walk: &mut Walk, meta: Value<'_>) {
    let other = part("params._meta", Channel::User, Shape::Free);
    if !meta.is_object() {
        walk.value(meta, other);
    }
    for (key, value) in meta.members() {
        if key.as_str() != Some("progressToken") {
            walk.key(key, other);
            walk.value(value, other);
        }
    }
}

/// The client's part of a conversation that the server began: a sampled message, what the user
/// filled in, its folders.
fn result_text(walk: &mut Walk, result: Value<'_>) {
    if !result.is_object() {
        walk.value(result, part("result", Channel::User, Shape::Free));
    }
    for (key, value) in result.members() {
        // What the user filled in is an object; what a model said is a block or a list of them.
        let filled = value.is_object() && value.member("type").and_then(Value::as_str).is_none();
        let (path, shape) = match key.as_str() {
            Some("content") if filled => ("result.content", Shape::Free),
            Some("content") => ("result.content", Shape::Protocol),
            Some("roots") => ("result.roots", Shape::Protocol),
            Some(_) | None => ("result", Shape::Protocol),
        };
        walk.key(key, part("result", Channel::User, Shape::Protocol));
        walk.value(value, part(path, Channel::User, shape));
    }
}

/// Fields of `params` that mean something to the protocol and nothing to anybody else. The names of
/// a tool and a prompt are among them: policy decides over them, and a mask would change what it
/// decided over.
fn is_plumbing(method: &str, name: &str, value: Value<'_>) -> bool {
    match name {
        "name" => matches!(method, CALL | "prompts/get") && value.kind() == Kind::String,
        "protocolVersion" | "clientInfo" | "capabilities" => method == "initialize",
        "cursor" => method.ends_with("/list"),
        "progressToken" | "progress" | "total" => method == "notifications/progress",
        "requestId" => method == "notifications/cancelled",
        _ => false,
    }
}

/// A string, or an integer; never `null` (MCP, "Requests").
fn raw_id(raw: &[u8], id: Value<'_>) -> Result<String, McpFault> {
    let integer = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if id.kind() != Kind::String && !id.number_text().is_some_and(integer) {
        return Err(McpFault::Id);
    }
    let text = raw.get(id.span()).and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.filter(|text| text.len() <= ID_BYTES_MAX).map(str::to_owned).ok_or(McpFault::Id)
}

fn is_method(name: &str) -> bool {
    (1..=METHOD_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_tool(name: &str) -> bool {
    (1..=TOOL_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

fn part(path: &'static str, channel: Channel, shape: Shape) -> Part {
    Part { channel, place: Place { path, indexes: [0; 2] }, shape }
}

impl McpFault {
    /// The JSON-RPC code (§5.1) to answer with.
    pub const fn rpc_code(self) -> i64 {
        match self {
            Self::Batch
            | Self::Id
            | Self::Method
            | Self::Mixed
            | Self::Nothing
            | Self::NotAnObject
            | Self::Version => -32600,
            Self::Params | Self::Tool => -32602,
        }
    }

    /// The name in answers, records and metrics; stable.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Batch => "mcp_batch",
            Self::Id => "mcp_bad_id",
            Self::Method => "mcp_bad_method",
            Self::Mixed => "mcp_mixed_message",
            Self::Nothing => "mcp_empty_message",
            Self::NotAnObject => "mcp_not_an_object",
            Self::Params => "mcp_bad_params",
            Self::Tool => "mcp_bad_tool_name",
            Self::Version => "mcp_bad_jsonrpc",
        }
    }
}

impl fmt::Display for McpFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Batch => "batches are not supported: send each message in a request of its own",
            Self::Id => "id must be a string or an integer of at most 256 bytes",
            Self::Method => "method must be a name of at most 128 visible ASCII characters",
            Self::Mixed => "a message must have one of method, result and error, not several",
            Self::Nothing => "a message must have a method, a result or an error",
            Self::NotAnObject => "a message must be a JSON object",
            Self::Params => "params must be an object",
            Self::Tool => "params.name must be a tool's name of at most 256 bytes",
            Self::Version => "jsonrpc must be \"2.0\"",
        })
    }
}

impl std::error::Error for McpFault {}

#[cfg(test)]
mod tests {
    use super::{McpFault, Message, MessageKind, id_of, read};
    use crate::base::json::Reader;
    use crate::base::text::{Channel, Form, Trust};
    use crate::mcp::walk::tests::{any_json, assert_in_place};
    use proptest::prelude::proptest;
    use serde_json::json;

    fn message(raw: &str) -> Result<Message, McpFault> {
        let json = Reader::default().read(raw.as_bytes()).unwrap();
        let [message] = read(raw.as_bytes(), &json)?.try_into().unwrap();
        Ok(message)
    }

    fn fault(raw: &str) -> McpFault {
        message(raw).expect_err(raw)
    }

    fn texts(raw: &str) -> Vec<String> {
        let joined = message(raw).unwrap().text;
        joined.joined().split('\0').map(str::to_owned).collect()
    }

    #[test]
    fn the_three_kinds_are_told_apart() {
        let request = message(r#"{"jsonrpc":"2.0","id":"a\n1","method":"ping"}"#).unwrap();
        assert_eq!((request.kind, &*request.method), (MessageKind::Request, "ping"));
        assert_eq!(request.id.as_deref(), Some(r#""a\n1""#), "as it was written");
        let note = message(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).unwrap();
        assert_eq!((note.kind, note.id), (MessageKind::Notification, None));
        let response = message(r#"{"jsonrpc":"2.0","id":-3,"result":{}}"#).unwrap();
        assert_eq!((response.kind, &*response.method), (MessageKind::Response, ""));
        assert_eq!(response.id.as_deref(), Some("-3"));
        let error = message(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"no"}}"#);
        assert_eq!(error.unwrap().id, None);
    }

    #[test]
    fn what_is_no_message_is_refused_with_its_reason() {
        for (raw, expected) in [
            ("[]", McpFault::Batch),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, McpFault::Batch),
            ("7", McpFault::NotAnObject),
            (r#"{"id":1,"method":"ping"}"#, McpFault::Version),
            (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, McpFault::Version),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, McpFault::Id),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, McpFault::Id),
            (r#"{"jsonrpc":"2.0","id":1e3,"method":"ping"}"#, McpFault::Id),
            (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, McpFault::Id),
            (r#"{"jsonrpc":"2.0","result":{}}"#, McpFault::Id),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, McpFault::Method),
            (r#"{"jsonrpc":"2.0","id":1,"method":""}"#, McpFault::Method),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a b"}"#, McpFault::Method),
            (r#"{"jsonrpc":"2.0","id":1}"#, McpFault::Nothing),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, McpFault::Mixed),
            (r#"{"jsonrpc":"2.0","id":1,"error":{},"result":{}}"#, McpFault::Mixed),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, McpFault::Params),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, McpFault::Tool),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}"#, {
                McpFault::Tool
            }),
            (r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a\u0000b"}}"#, {
                McpFault::Tool
            }),
        ] {
            assert_eq!(fault(raw), expected, "{raw}");
        }
        let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "1".repeat(300));
        assert_eq!(fault(&long), McpFault::Id);
    }

    #[test]
    fn a_bad_message_is_answered_by_its_id_if_that_is_sound() {
        let id =
            |raw: &str| id_of(raw.as_bytes(), &Reader::default().read(raw.as_bytes()).unwrap());
        assert_eq!(id(r#"{"id":7,"method":7}"#).as_deref(), Some("7"));
        assert_eq!(id(r#"{"id":[7]}"#), None);
        assert_eq!(id("[]"), None);
    }

    #[test]
    fn a_calls_arguments_are_text_with_their_keys_and_long_numbers() {
        let raw = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay",
            "arguments":{"card":4111111111111111,"n":42,"to":["a\nb",{"x@y.z":12345678.5}],
            "type":"text","neg":-123456789}, "_meta":{"progressToken":12345678901,"v":"w"}}}"#;
        let message = message(raw).unwrap();
        assert_eq!(message.tool.as_deref(), Some("pay"));
        let (arguments, meta): (Vec<_>, Vec<_>) =
            message.text.segments().iter().partition(|s| s.place.path == "params.arguments");
        let shown = |s: &&crate::base::text::Segment| {
            message.text.joined().get(s.at.clone()).unwrap().to_owned()
        };
        assert_eq!(
            arguments.iter().map(shown).collect::<Vec<_>>(),
            [
                "card",
                "4111111111111111",
                "n",
                "to",
                "a\nb",
                "x@y.z",
                "12345678.5",
                "type",
                "text",
                "neg",
                "-123456789"
            ]
        );
        assert_eq!(meta.iter().map(shown).collect::<Vec<_>>(), ["v", "w"]);
        for segment in &arguments {
            assert_eq!(segment.channel, Channel::ToolArguments);
            assert_eq!(segment.trust, Trust::Caller);
        }
        let card = arguments[1];
        assert_eq!((card.source.form, raw.get(card.source.raw.clone()).unwrap()), {
            (Form::Number, "4111111111111111")
        });
        let escaped = arguments[4];
        assert_eq!((escaped.source.form, raw.get(escaped.source.raw.clone()).unwrap()), {
            (Form::EscapedString, r"a\nb")
        });
    }

    #[test]
    fn nothing_hides_in_fields_that_nobody_knows() {
        let raw = r#"{"jsonrpc":"2.0","id":1,"method":"x/y","extra":{"k":"one"},
            "params":{"name":"two","cursor":"three","_meta":"four","deep":[[["five"]]]}}"#;
        assert_eq!(
            texts(raw),
            ["extra", "k", "one", "name", "two", "cursor", "three", "four", "deep", "five"]
        );
    }

    #[test]
    fn plumbing_is_no_text_where_it_is_plumbing() {
        let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{
            "protocolVersion":"2025-11-25","capabilities":{"roots":{}},
            "clientInfo":{"name":"c"}}}"#;
        assert_eq!(texts(initialize), [""]);
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"MTIz"}}"#;
        assert_eq!(texts(list), [""]);
        let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{
            "progressToken":1234567890,"progress":12345678,"message":"half"}}"#;
        assert_eq!(texts(progress), ["message", "half"]);
    }

    #[test]
    fn prompts_completions_and_resources_are_asked_with_text_too() {
        let prompt = r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"p",
            "arguments":{"who":"ada"}}}"#;
        assert_eq!(texts(prompt), ["who", "ada"]);
        let complete = r#"{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{
            "ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"n","value":"v"}}}"#;
        assert!(texts(complete).contains(&"v".to_owned()));
        let resource = r#"{"jsonrpc":"2.0","id":1,"method":"resources/read",
            "params":{"uri":"file:///a"}}"#;
        assert_eq!(texts(resource), ["file:///a"]);
    }

    #[test]
    fn a_clients_answers_are_text() {
        let sampled = r#"{"jsonrpc":"2.0","id":1,"result":{"role":"assistant","model":"m",
            "content":{"type":"text","text":"said"},"stopReason":"endTurn"}}"#;
        assert_eq!(texts(sampled), ["model", "m", "said", "stopReason"]);
        let filled = r#"{"jsonrpc":"2.0","id":1,"result":{"action":"accept",
            "content":{"size":12345678,"text":"text"}}}"#;
        assert_eq!(texts(filled), ["action", "size", "12345678", "text", "text"]);
        let roots =
            r#"{"jsonrpc":"2.0","id":1,"result":{"roots":[{"uri":"file:///h","name":"n"}]}}"#;
        assert_eq!(texts(roots), ["roots", "file:///h", "n"]);
        let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no","data":"why"}}"#;
        assert!(texts(error).contains(&"why".to_owned()));
    }

    proptest! {
        #[test]
        fn any_json_is_read_and_every_segment_lies_where_it_says(
            value in any_json(),
            frame in 0_usize..6,
        ) {
            let raw = match frame {
                0 => value,
                1 => json!({"jsonrpc": "2.0", "method": "x", "params": {"x": value}}),
                2 => json!({"jsonrpc": "2.0", "id": 1, "result": value}),
                3 => json!({"jsonrpc": "2.0", "id": 1, "error": value}),
                4 => json!({"jsonrpc": "2.0", "id": value, "method": value, "params": value}),
                _ => json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                    "params": {"name": "t", "arguments": value, "_meta": value}}),
            };
            let raw = raw.to_string();
            let json = Reader::default().read(raw.as_bytes()).unwrap();
            let read = read(raw.as_bytes(), &json);
            let sound = [1, 2, 3, 5].contains(&frame);
            assert!(read.is_ok() || !sound, "{raw}: {read:?}");
            read.iter().flatten().for_each(|message| assert_in_place(&message.text, &raw));
        }

        #[test]
        fn every_string_of_an_unknown_method_is_seen(secret in "[a-z]{12}", depth in 0_usize..5) {
            let value = format!("{}\"{secret}\"{}", "[".repeat(depth), "]".repeat(depth));
            let raw = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"{secret}x":{value}}}}}"#
            );
            assert_eq!(texts(&raw), [format!("{secret}x"), secret]);
        }
    }
}
